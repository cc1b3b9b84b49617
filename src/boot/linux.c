/*
 * linux.c - Linux bzImage by the 32-bit and 64-bit boot protocols.
 *
 * Source: Linux, Documentation/arch/x86/boot.rst (protocol 2.06 and later) and
 * zero-page.rst. Left out: the real-mode entry, EFI hand-over.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "boot/boot.h"
#include "util/util.h"

/* ---- the setup header, offsets in the file and in the zero page ---- */

#define SETUP_SECTS     0x1f1u
#define BOOT_FLAG       0x1feu
#define HEADER_END      0x201u /* its byte, added to 202h, is where the header ends */
#define HEADER_MAGIC    0x202u
#define VERSION         0x206u
#define TYPE_OF_LOADER  0x210u
#define LOADFLAGS       0x211u
#define CODE32_START    0x214u
#define RAMDISK_IMAGE   0x218u
#define RAMDISK_SIZE    0x21cu
#define CMD_LINE_PTR    0x228u
#define INITRD_ADDR_MAX 0x22cu
#define KERNEL_ALIGN    0x230u
#define RELOCATABLE     0x234u
#define XLOADFLAGS      0x236u
#define CMDLINE_SIZE    0x238u
#define PREF_ADDRESS    0x258u
#define INIT_SIZE       0x260u
#define HEADER_LAST     0x280u

#define LOADED_HIGH        0x01u
#define XLF_KERNEL_64      0x01u
#define LOADER_UNDEFINED   0xffu
#define PROTOCOL_MIN       0x206u
#define PROTOCOL_RELOCATED 0x20au /* first with pref_address and init_size */
#define PROTOCOL_64        0x20cu /* first with xloadflags */

/* The zero page. */
#define ZERO_PAGE_SIZE    4096u
#define ACPI_RSDP         0x070u
#define EXT_RAMDISK_IMAGE 0x0c0u
#define EXT_RAMDISK_SIZE  0x0c4u
#define E820_ENTRIES      0x1e8u
#define E820_TABLE        0x2d0u

/* ---- where things go: below the kernel, in RAM that it will take over ---- */

#define GDT_ADDR       0x1000u
#define ZERO_PAGE_ADDR 0x2000u
#define TABLES_ADDR    0x10000u
#define CMDLINE_ADDR   0x20000u
#define CMDLINE_ROOM   0x10000u
#define KERNEL_ADDR    0x100000u
#define BASE_RAM_END   0x9fc00u
#define ROM_START      0xf0000u

struct linux_image {
	const struct boot_file *file;
	size_t setup_len; /* real-mode part: what follows is the kernel */
	unsigned version;
	bool wide; /* has a 64-bit entry */
	gpa_t addr;
	uint64_t init_size; /* memory that it needs from addr on */
};

static uint64_t field(const uint8_t *p, unsigned off, unsigned size)
{
	uint64_t v = 0;

	memcpy(&v, p + off, size);
	return v;
}

static void put(uint8_t *p, unsigned off, unsigned size, uint64_t v)
{
	memcpy(p + off, &v, size);
}

static bool is_linux(const struct boot_file *f)
{
	return f->len > HEADER_LAST && field(f->data, BOOT_FLAG, 2) == 0xaa55 &&
	       !memcmp(f->data + HEADER_MAGIC, "HdrS", 4);
}

enum boot_kind boot_probe(const struct boot_file *kernel)
{
	return is_linux(kernel) ? BOOT_LINUX : BOOT_UNKNOWN;
}

/* ---- the kernel ---- */

static int fail(char *err, size_t errlen, const struct boot_file *f, const char *why)
{
	snprintf(err, errlen, "%s: %s", f->name, why);
	return -EINVAL;
}

static void choose_address(struct linux_image *im, const struct boot_memory *memory)
{
	const uint8_t *h = im->file->data;
	uint64_t preferred;

	im->addr = KERNEL_ADDR;
	im->init_size = im->file->len - im->setup_len;
	if (im->version < PROTOCOL_RELOCATED)
		return;
	im->init_size = MAX(im->init_size, field(h, INIT_SIZE, 4));
	preferred = field(h, PREF_ADDRESS, 8);
	if (field(h, RELOCATABLE, 1) && preferred >= KERNEL_ADDR &&
		range_in(preferred, im->init_size, memory->low))
		im->addr = preferred;
}

static int read_header(
	struct linux_image *im, const struct boot_memory *memory, char *err, size_t errlen)
{
	const struct boot_file *f = im->file;
	const uint8_t *h = f->data;
	size_t sects = field(h, SETUP_SECTS, 1) ? field(h, SETUP_SECTS, 1) : 4;

	im->version = (unsigned)field(h, VERSION, 2);
	im->setup_len = (sects + 1) * 512;
	if (im->version < PROTOCOL_MIN)
		return fail(err, errlen, f, "a Linux kernel older than 2.6.22; take a newer one");
	if (!(field(h, LOADFLAGS, 1) & LOADED_HIGH))
		return fail(err, errlen, f, "a zImage that loads low; make a bzImage");
	if (im->setup_len >= f->len)
		return fail(err, errlen, f,
			"the kernel is cut short: its setup part is longer than the file");
	im->wide = im->version >= PROTOCOL_64 && field(h, XLOADFLAGS, 2) & XLF_KERNEL_64;
	choose_address(im, memory);
	if (range_in(im->addr, im->init_size, memory->low))
		return 0;
	snprintf(err, errlen,
		"%s: this kernel needs %llu MiB of memory to unpack itself; give more with "
		"--memory",
		f->name, (unsigned long long)((im->addr + im->init_size + MiB - 1) / MiB));
	return -ENOMEM;
}

/* ---- command line and initrd ---- */

static int add_cmdline(const struct linux_image *im, const char *cmdline, struct boot_plan *plan,
	char *err, size_t errlen)
{
	size_t len = strlen(cmdline), room = field(im->file->data, CMDLINE_SIZE, 4);

	room = MIN(room ? room : 255, CMDLINE_ROOM - 1);
	if (len > room) {
		snprintf(err, errlen,
			"the command line has %zu characters, and this kernel takes %zu", len,
			room);
		return -E2BIG;
	}
	return plan_copy(plan, "command line", CMDLINE_ADDR, cmdline, len + 1);
}

/* As high as the kernel allows, and clear of it. */
static int add_initrd(const struct linux_image *im, const struct boot_file *initrd,
	const struct boot_memory *memory, uint8_t *zero, struct boot_plan *plan, char *err,
	size_t errlen)
{
	uint64_t end = MIN(field(im->file->data, INITRD_ADDR_MAX, 4) + 1, memory->low);
	uint64_t kernel_end = im->addr + im->init_size;
	gpa_t addr;

	if (!initrd->len)
		return 0;
	if (initrd->len > end || ((end - initrd->len) & ~UINT64_C(4095)) < kernel_end) {
		snprintf(err, errlen,
			"%s: %zu bytes do not fit into the guest's memory beside the kernel; give "
			"more with --memory",
			initrd->name, initrd->len);
		return -ENOMEM;
	}
	addr = (end - initrd->len) & ~UINT64_C(4095);
	put(zero, RAMDISK_IMAGE, 4, addr);
	put(zero, RAMDISK_SIZE, 4, initrd->len);
	return plan_add(plan, "initrd", addr, initrd->data, initrd->len, 0);
}

/* ---- the zero page ---- */

static void add_e820(uint8_t *zero, uint64_t addr, uint64_t size, uint32_t type)
{
	unsigned n = zero[E820_ENTRIES]++;
	uint8_t *e = zero + E820_TABLE + n * 20;

	put(e, 0, 8, addr);
	put(e, 8, 8, size);
	put(e, 16, 4, type);
}

static void fill_zero_page(
	const struct linux_image *im, const struct boot_memory *memory, uint8_t *zero)
{
	const uint8_t *h = im->file->data;
	size_t end = MIN(HEADER_MAGIC + h[HEADER_END], HEADER_LAST);
	enum { RAM = 1, RESERVED = 2 };

	memcpy(zero + SETUP_SECTS, h + SETUP_SECTS, end - SETUP_SECTS);
	put(zero, TYPE_OF_LOADER, 1, LOADER_UNDEFINED);
	put(zero, CODE32_START, 4, im->addr);
	put(zero, CMD_LINE_PTR, 4, CMDLINE_ADDR);
	put(zero, ACPI_RSDP, 8, memory->rsdp);
	add_e820(zero, 0, BASE_RAM_END, RAM);
	add_e820(zero, BASE_RAM_END, 0xa0000 - BASE_RAM_END, RESERVED);
	add_e820(zero, ROM_START, 0x10000, RESERVED);
	add_e820(zero, KERNEL_ADDR, memory->low - KERNEL_ADDR, RAM);
	if (memory->high)
		add_e820(zero, UINT64_C(1) << 32, memory->high, RAM);
}

static int enter(const struct linux_image *im, struct boot_plan *plan)
{
	int err;

	if (im->wide)
		err = plan_long_state(plan, GDT_ADDR, TABLES_ADDR, im->addr + 0x200);
	else
		err = plan_flat_state(plan, GDT_ADDR, im->addr);
	plan->state.gpr[X86_RSI] = ZERO_PAGE_ADDR;
	return err;
}

int boot_linux(const struct boot_file *kernel, const struct boot_file *initrd, const char *cmdline,
	const struct boot_memory *memory, struct boot_plan *plan, char *err, size_t errlen)
{
	struct linux_image im = {.file = kernel};
	uint8_t zero[ZERO_PAGE_SIZE] = {0};
	int rc;

	if (!is_linux(kernel))
		return fail(err, errlen, kernel, "not a Linux bzImage");
	rc = read_header(&im, memory, err, errlen);
	if (rc)
		return rc;
	fill_zero_page(&im, memory, zero);
	rc = add_initrd(&im, initrd, memory, zero, plan, err, errlen);
	if (!rc)
		rc = add_cmdline(&im, cmdline, plan, err, errlen);
	if (!rc)
		rc = plan_add(plan, "kernel", im.addr, kernel->data + im.setup_len,
			kernel->len - im.setup_len, 0);
	if (!rc)
		rc = plan_copy(plan, "zero page", ZERO_PAGE_ADDR, zero, sizeof(zero));
	if (!rc)
		rc = enter(&im, plan);
	return rc;
}
