/*
 * linux.c - Linux bzImage and vmlinux by the 32-bit and 64-bit boot protocols.
 *
 * The kernel inside a bzImage is unpacked here, which is much faster than what
 * a software engine makes of the guest's own unpacker; where that fails, the
 * guest does it.
 * Source: Linux, Documentation/arch/x86/boot.rst (protocol 2.06 and later) and
 * zero-page.rst. Left out: the real-mode entry, EFI hand-over.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "boot/boot.h"
#include "boot/unpack.h"
#include "boot/vmlinux.h"
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
#define PAYLOAD_OFFSET  0x248u
#define PAYLOAD_LENGTH  0x24cu
#define PREF_ADDRESS    0x258u
#define INIT_SIZE       0x260u
#define HEADER_LAST     0x280u

#define LOADED_HIGH        0x01u
#define KASLR_FLAG         0x02u
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
#define ROM_START      0xe0000u

struct linux_image {
	const struct boot_file *file;
	uint8_t header[HEADER_LAST]; /* the file's, or made up for a vmlinux */
	struct vmlinux v;            /* the kernel unpacked; v.data is NULL if it is not */
	size_t setup_len;            /* real-mode part: what follows is the kernel */
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

static bool is_elf(const struct boot_file *f)
{
	return f->len > 64 && !memcmp(f->data, "\177ELF", 4);
}

enum boot_kind boot_probe(const struct boot_file *kernel)
{
	return is_linux(kernel) || is_elf(kernel) ? BOOT_LINUX : BOOT_UNKNOWN;
}

/* ---- the kernel ---- */

static int fail(char *err, size_t errlen, const struct boot_file *f, const char *why)
{
	snprintf(err, errlen, "%s: %s", f->name, why);
	return -EINVAL;
}

static void choose_address(struct linux_image *im, const struct boot_memory *memory)
{
	const uint8_t *h = im->header;
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
	const uint8_t *h = im->header;
	size_t sects;

	memcpy(im->header, f->data, sizeof(im->header));
	sects = field(h, SETUP_SECTS, 1) ? field(h, SETUP_SECTS, 1) : 4;
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
	return 0;
}

static int check_memory(
	struct linux_image *im, const struct boot_memory *memory, char *err, size_t errlen)
{
	if (range_in(im->addr, im->init_size, memory->low))
		return 0;
	snprintf(err, errlen,
		"%s: this kernel needs %llu MiB of memory to unpack itself; give more with "
		"--memory",
		im->file->name, (unsigned long long)((im->addr + im->init_size + MiB - 1) / MiB));
	return -ENOMEM;
}

/* ---- command line and initrd ---- */

static int add_cmdline(const struct linux_image *im, const char *cmdline, struct boot_plan *plan,
	char *err, size_t errlen)
{
	size_t len = strlen(cmdline), room = field(im->header, CMDLINE_SIZE, 4);

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
	uint64_t end = MIN(field(im->header, INITRD_ADDR_MAX, 4) + 1, memory->low);
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
	const uint8_t *h = im->header;
	size_t end = MIN(HEADER_MAGIC + h[HEADER_END], HEADER_LAST);
	enum { RAM = 1, RESERVED = 2 };

	memcpy(zero + SETUP_SECTS, h + SETUP_SECTS, end - SETUP_SECTS);
	put(zero, TYPE_OF_LOADER, 1, LOADER_UNDEFINED);
	if (im->v.moved) /* let it move its other regions too */
		zero[LOADFLAGS] |= KASLR_FLAG;
	put(zero, CODE32_START, 4, im->addr);
	put(zero, CMD_LINE_PTR, 4, CMDLINE_ADDR);
	put(zero, ACPI_RSDP, 8, memory->rsdp);
	add_e820(zero, 0, BASE_RAM_END, RAM);
	add_e820(zero, BASE_RAM_END, 0xa0000 - BASE_RAM_END, RESERVED);
	add_e820(zero, ROM_START, KERNEL_ADDR - ROM_START, RESERVED);
	add_e820(zero, KERNEL_ADDR, memory->low - KERNEL_ADDR, RAM);
	if (memory->high)
		add_e820(zero, UINT64_C(1) << 32, memory->high, RAM);
}

/* ---- the kernel on the host ---- */

#define UNPACKED_MAX (512 * MiB)

/* Whatever goes wrong here, the guest can still unpack by itself, and will say what it is. */
static void unpack_kernel(struct linux_image *im, uint64_t random)
{
	const struct boot_file *f = im->file;
	uint64_t at = im->setup_len + field(im->header, PAYLOAD_OFFSET, 4);
	uint64_t len = field(im->header, PAYLOAD_LENGTH, 4);
	uint8_t *elf;
	size_t elf_len;

	if (im->version < PROTOCOL_RELOCATED || !len || !range_in(at, len, f->len) ||
		unpack(f->data + at, len, UNPACKED_MAX, &elf, &elf_len))
		return;
	if (vmlinux_load(elf, elf_len, random, &im->v))
		im->v = (struct vmlinux){.data = NULL};
	free(elf);
}

/* A vmlinux has no setup header: what it would say, as far as the kernel reads it. */
static int take_vmlinux(struct linux_image *im, char *err, size_t errlen)
{
	uint8_t *h = im->header;

	if (vmlinux_load(im->file->data, im->file->len, 0, &im->v))
		return fail(err, errlen, im->file,
			"an ELF file, but not one of a kernel that could be loaded: its parts are "
			"not all in the file or do not go below 4 GiB");
	im->wide = im->v.wide;
	im->version = PROTOCOL_64;
	put(h, HEADER_END, 1, HEADER_LAST - HEADER_MAGIC);
	put(h, BOOT_FLAG, 2, 0xaa55);
	memcpy(h + HEADER_MAGIC, "HdrS", 4);
	put(h, VERSION, 2, im->version);
	put(h, LOADFLAGS, 1, LOADED_HIGH);
	put(h, INITRD_ADDR_MAX, 4, 0x7fffffff);
	put(h, KERNEL_ALIGN, 4, 2 * MiB);
	put(h, CMDLINE_SIZE, 4, 2047);
	return 0;
}

static int read_kernel(
	struct linux_image *im, const struct boot_request *r, char *err, size_t errlen)
{
	int rc;

	if (is_elf(im->file)) {
		rc = take_vmlinux(im, err, errlen);
	} else if (is_linux(im->file)) {
		rc = read_header(im, &r->memory, err, errlen);
		if (!rc)
			unpack_kernel(im, strstr(r->cmdline, "nokaslr") ? 0 : r->random);
	} else {
		return fail(err, errlen, im->file, "neither a Linux bzImage nor an ELF file");
	}
	if (im->v.data) { /* what it needs to unpack itself, it needs to run, too */
		uint64_t end = MAX(im->v.base + im->v.size, im->addr + im->init_size);

		im->addr = im->v.base;
		im->init_size = end - im->v.base;
	}
	return rc ? rc : check_memory(im, &r->memory, err, errlen);
}

static int enter(const struct linux_image *im, struct boot_plan *plan)
{
	gpa_t entry = im->v.data ? im->v.entry : im->addr + (im->wide ? 0x200 : 0);
	int err;

	if (im->wide)
		err = plan_long_state(plan, GDT_ADDR, TABLES_ADDR, entry);
	else
		err = plan_flat_state(plan, GDT_ADDR, entry);
	plan->state.gpr[X86_RSI] = ZERO_PAGE_ADDR;
	return err;
}

static int add_kernel(struct linux_image *im, struct boot_plan *plan)
{
	int rc;

	if (!im->v.data)
		return plan_add(plan, "kernel", im->addr, im->file->data + im->setup_len,
			im->file->len - im->setup_len, 0);
	rc = plan_add(plan, "kernel", im->v.base, im->v.data, im->v.len, im->v.size);
	if (!rc)
		plan->piece[plan->pieces - 1].owned = true;
	return rc;
}

int boot_linux(const struct boot_request *r, struct boot_plan *plan, char *err, size_t errlen)
{
	struct linux_image im = {.file = &r->kernel};
	uint8_t zero[ZERO_PAGE_SIZE] = {0};
	int rc = read_kernel(&im, r, err, errlen);

	if (rc)
		return rc;
	fill_zero_page(&im, &r->memory, zero);
	rc = add_initrd(&im, &r->initrd, &r->memory, zero, plan, err, errlen);
	if (!rc)
		rc = add_cmdline(&im, r->cmdline, plan, err, errlen);
	if (!rc)
		rc = add_kernel(&im, plan);
	if (!rc)
		rc = plan_copy(plan, "zero page", ZERO_PAGE_ADDR, zero, sizeof(zero));
	if (!rc)
		rc = enter(&im, plan);
	return rc;
}
