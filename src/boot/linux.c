/*
 * linux.c - starts a bzImage by the 32-bit or the 64-bit boot protocol.
 *
 * Source: the kernel's documentation, "The Linux/x86 Boot Protocol", sections
 * on the 32-bit and 64-bit protocols, and "Zero Page". The real-mode part of
 * the kernel is not run: what it would ask the BIOS for is in the zero page.
 * Left out: kernels before protocol 2.06 (Linux 2.6.22), and the EFI entries.
 */
#include "boot/linux.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "boot/plan.h"
#include "boot/unpack.h"
#include "boot/vmlinux.h"

#define PAGE             UINT64_C(4096)
#define SECTOR           512
#define VERSION_MIN      0x0206 /* the first with a limit for the command line */
#define VERSION_64       0x020c
#define VERSION_PREF     0x020a
#define ENTRY_64         0x200 /* of the 64-bit protocol, from the load address */
#define INITRD_MAX_2_06  0x37ffffff
#define CMDLINE_ELF      2047
#define CMDLINE_MAX      65535 /* whatever the header allows */
#define KERNEL_IMAGE_64  GiB   /* the kernel's part of the virtual addresses */
#define KERNEL_IMAGE_32  (512 * MiB)
#define INIT_SIZE_BEFORE 3 /* before 2.10 nobody says: as many times the image */

struct linux_image {
	const struct boot_file *file;
	const uint8_t *header; /* the file, or one made up for a vmlinux */
	unsigned version;
	bool is_64;
	uint64_t setup_size; /* bytes before the protected-mode part */
	uint64_t code_size;
	uint64_t load;               /* of the file's code, while it is packed */
	uint64_t align, start, size; /* memory that the unpacked kernel takes */
	uint8_t *params;             /* the zero page */
	const char *cmdline;
	struct vmlinux k; /* image NULL: the kernel unpacks itself */
	bool is_there;    /* image is the guest's memory */
	const char *how;  /* who unpacked it from what */
	bool random;
};

bool linux_is(const struct boot_file *f)
{
	return f->len >= HDR_MAGIC + 4 && get16(f->data + HDR_BOOT_FLAG) == HDR_BOOT_FLAG_VALUE &&
	       get32(f->data + HDR_MAGIC) == HDR_MAGIC_VALUE;
}

/* ---- the file ---- */

static int check_version(struct boot *b, struct linux_image *im)
{
	const struct boot_file *f = im->file;

	if (f->len < HDR_END)
		return boot_fail(
			b, "%s: cut off within the setup header; copy the kernel again", f->name);
	im->version = get16(f->data + HDR_VERSION);
	if (im->version < VERSION_MIN)
		return boot_fail(b,
			"%s: a Linux kernel of boot protocol %u.%02u; 2.06 (Linux 2.6.22) is the "
			"oldest that can be started",
			f->name, im->version >> 8, im->version & 0xff);
	if (!(f->data[HDR_LOADFLAGS] & HDR_LOADED_HIGH))
		return boot_fail(b,
			"%s: a zImage, which loads below 640 KiB; make a bzImage of that kernel",
			f->name);
	im->is_64 = im->version >= VERSION_64 && (get16(f->data + HDR_XLOADFLAGS) & XLF_KERNEL_64);
	return 0;
}

static int check_sizes(struct boot *b, struct linux_image *im)
{
	const struct boot_file *f = im->file;
	unsigned sects = f->data[HDR_SETUP_SECTS];

	im->setup_size = ((sects ? sects : 4) + 1) * (uint64_t)SECTOR;
	if (f->len <= im->setup_size + ENTRY_64)
		return boot_fail(b,
			"%s: %zu bytes, but its header says that the kernel starts at %llu; "
			"copy the kernel again",
			f->name, f->len, (unsigned long long)im->setup_size);
	im->code_size = f->len - im->setup_size;
	return 0;
}

/*
 * The kernel moves itself to its preferred address, or from its load address
 * up to its alignment, and needs init_size from there.
 */
static int find_extent(struct boot *b, struct linux_image *im)
{
	const uint8_t *h = im->header;
	uint64_t align = get32(h + HDR_KERNEL_ALIGNMENT);

	im->load = BOOT_HIGH;
	if (!h[HDR_RELOCATABLE] || !align)
		align = 1;
	if (align & (align - 1) || align > GiB)
		return boot_fail(b,
			"%s: its alignment %#llx is no power of two up to 1 GiB; is "
			"the file whole?",
			im->file->name, (unsigned long long)align);
	im->align = align;
	im->start = round_up(im->load, align);
	im->size = im->code_size * INIT_SIZE_BEFORE;
	if (im->version >= VERSION_PREF) {
		im->start = MAX(im->start, get64(h + HDR_PREF_ADDRESS));
		im->size = get32(h + HDR_INIT_SIZE);
	}
	if (im->start > BOOT_4G)
		return boot_fail(b, "%s: wants to be at %#llx, above 4 GiB; is the file whole?",
			im->file->name, (unsigned long long)im->start);
	return 0;
}

/* As a boot loader would: the kernel unpacks itself. */
static int put_packed(struct boot *b, struct linux_image *im)
{
	uint64_t end = MAX(im->load + im->code_size, im->start + im->size);
	struct boot_piece kernel = {.what = "the kernel",
		.addr = im->load,
		.data = im->file->data + im->setup_size,
		.len = im->code_size,
		.size = end - im->load};

	b->rip = im->load + (im->is_64 ? ENTRY_64 : 0);
	return boot_put(b, &kernel);
}

/* ---- unpacking on the host ---- */

/* A payload that is not in the file is an error, one of an unknown kind is the kernel's own. */
static int find_payload(struct boot *b, struct linux_image *im, const uint8_t **data, uint64_t *len)
{
	const uint8_t *h = im->header;
	uint64_t at = get32(h + HDR_PAYLOAD_OFFSET);

	*len = im->version >= VERSION_PREF ? get32(h + HDR_PAYLOAD_LENGTH) : 0;
	if (!range_in(at, *len, im->code_size))
		return boot_fail(b,
			"%s: cut off: its header puts %llu KiB of packed kernel at %#llx, the file "
			"has %zu KiB; copy the kernel again",
			im->file->name, (unsigned long long)(*len / KiB),
			(unsigned long long)im->setup_size + at, im->file->len / (size_t)KiB);
	*data = im->file->data + im->setup_size + at;
	im->how = unpack_format(*data, *len);
	return 0;
}

static int unpack_error(struct boot *b, const struct linux_image *im, int err)
{
	if (err == -E2BIG)
		return boot_fail(b,
			"%s: unpacks to more than the %llu KiB of its header; is the file whole?",
			im->file->name, (unsigned long long)(im->size / KiB));
	if (err == -ENOMEM)
		return boot_fail(b, "%s: the host has no memory to unpack it", im->file->name);
	return boot_fail(b, "%s: its %s data are damaged or cut off; copy the kernel again",
		im->file->name, im->how);
}

/*
 * The kernel's file is unpacked where the kernel will be, if that is known: the
 * guest's memory there is its own work memory. Its segments are moved in place. A
 * stranger inside unpacks itself.
 */
static int unpack_in_place(
	struct boot *b, struct linux_image *im, const uint8_t *data, uint64_t len)
{
	uint8_t *image = im->is_64 ? mem_ptr(b->mem, im->start, im->size) : NULL;
	const char *why;
	size_t size;
	int err;

	im->is_there = image;
	if (!image)
		image = boot_alloc(b, im->size);
	if (!image)
		return unpack_error(b, im, -ENOMEM);
	err = unpack(data, len, image, im->size, &size);
	if (err)
		return unpack_error(b, im, err);
	why = vmlinux_open(
		&im->k, image, size, get64(im->header + HDR_PREF_ADDRESS), image, im->size);
	if (why || im->k.elf.is_64 != im->is_64) {
		log_debug("%s: left packed: %s", im->file->name, why ? why : "other word size");
		im->k.image = NULL;
	}
	return 0;
}

static uint64_t low_ram_end(const struct boot *b)
{
	uint64_t end = 0;

	for (unsigned i = 0; i < b->areas; i++)
		if (b->area[i].base < BOOT_4G)
			end = b->area[i].base + b->area[i].size;
	return end;
}

/*
 * The end of what a kernel may be moved to. 64 bits: within the kernel's part of
 * the virtual addresses; its physical address stays. 32 bits: within directly
 * mapped memory, below the initrd.
 */
static uint64_t random_end(const struct boot *b, const struct linux_image *im)
{
	uint64_t end = MIN(low_ram_end(b), KERNEL_IMAGE_32), initrd = 0;

	if (im->is_64)
		return KERNEL_IMAGE_64;
	for (unsigned i = 0; i < b->config.modules; i++)
		initrd += round_up(b->config.module[i].len, PAGE);
	end = MIN(end, (uint64_t)get32(im->header + HDR_INITRD_MAX) + 1);
	return end > initrd ? end - initrd : 0;
}

/* How far up the kernel moves. */
static uint64_t random_delta(const struct boot *b, struct linux_image *im)
{
	uint64_t end = random_end(b, im), slots;

	if (!b->config.seed || !im->k.relocatable || boot_has_word(im->cmdline, "nokaslr") ||
		im->align < 2 || end < im->start + im->size)
		return 0;
	im->random = true;
	slots = (end - im->start - im->size) / im->align + 1;
	return b->config.seed % slots * im->align;
}

static bool relocate(struct boot *b, struct linux_image *im)
{
	uint64_t base = im->k.base, delta = random_delta(b, im);

	if (!im->is_64)
		im->start += delta;
	/* Linked for base, and loaded higher: 32-bit code must know, 64-bit code finds out. */
	return vmlinux_relocate(&im->k, im->is_64 ? delta : im->start - base);
}

static int put_unpacked(struct boot *b, struct linux_image *im)
{
	struct boot_piece image = {.what = "the kernel",
		.addr = im->start,
		.data = im->is_there ? NULL : im->k.image,
		.len = im->k.filled,
		.size = im->k.extent,
		.zero = true};
	struct boot_piece rest = {.what = "the kernel's work memory",
		.addr = im->start + im->k.extent,
		.size = im->size - im->k.extent};
	int err = boot_put(b, &image);

	b->rip = im->start + im->k.elf.entry - im->k.base;
	return err ? err : boot_put(b, &rest);
}

static int unpack_kernel(struct boot *b, struct linux_image *im)
{
	const uint8_t *data = NULL;
	uint64_t len;
	int err = find_payload(b, im, &data, &len);

	/* Where there is no such memory, put_packed says so. */
	if (err || !im->how || !im->size || !boot_is_ram(b, im->start, im->size))
		return err;
	err = unpack_in_place(b, im, data, len);
	if (!err && im->k.image && !relocate(b, im)) {
		log_debug("%s: left packed: its relocations are damaged", im->file->name);
		im->k.image = NULL;
	}
	return err;
}

static int put_kernel(struct boot *b, struct linux_image *im)
{
	int err = unpack_kernel(b, im);

	if (err)
		return err;
	return im->k.image ? put_unpacked(b, im) : put_packed(b, im);
}

/* ---- the zero page ---- */

static void copy_header(struct linux_image *im)
{
	const uint8_t *h = im->header;
	unsigned end = MIN(HDR_MAGIC + (unsigned)h[HDR_JUMP + 1], HDR_END);

	memcpy(im->params + HDR_START, h + HDR_START, MAX(end, HDR_MAGIC) - HDR_START);
	im->params[HDR_LOADER_TYPE] = LOADER_UNDEFINED;
	if (im->random)
		im->params[HDR_LOADFLAGS] |= HDR_KASLR;
	put32(im->params + HDR_CODE32_START, (uint32_t)im->load);
}

/* What the BIOS would have said of a VGA in its text mode. */
static void fill_screen(uint8_t *params)
{
	params[BP_SCREEN_MODE] = 3;
	params[BP_SCREEN_COLS] = 80;
	params[BP_SCREEN_LINES] = 25;
	params[BP_SCREEN_IS_VGA] = 1;
	put16(params + BP_SCREEN_EGA_BX, 3); /* 256 KiB of video memory */
	put16(params + BP_SCREEN_POINTS, 16);
}

static void fill_memory_map(const struct boot *b, uint8_t *params)
{
	uint64_t above_1m = 0;

	for (unsigned i = 0; i < b->areas; i++) {
		const struct boot_area *a = &b->area[i];
		uint8_t *e = params + BP_E820_TABLE + i * BP_E820_ENTRY_SIZE;

		put64(e, a->base);
		put64(e + 8, a->size);
		put32(e + 16, a->type);
		if (a->base == BOOT_HIGH)
			above_1m = a->size;
	}
	params[BP_E820_ENTRIES] = (uint8_t)b->areas;
	put32(params + BP_ALT_MEM_K, (uint32_t)MIN(above_1m / KiB, UINT32_MAX));
}

static int put_params(struct boot *b, struct linux_image *im)
{
	struct boot_piece piece = {.what = "its boot parameters", .len = BP_SIZE, .size = BP_SIZE};
	int err;

	copy_header(im);
	fill_screen(im->params);
	fill_memory_map(b, im->params);
	put64(im->params + BP_ACPI_RSDP, b->config.rsdp);
	piece.data = im->params;
	err = boot_place(b, &piece, BOOT_LOW_DATA, BOOT_LOW_END, PAGE);
	b->gpr[X86_RSI] = piece.addr;
	return err;
}

static int put_cmdline(struct boot *b, struct linux_image *im)
{
	const char *text = im->cmdline;
	uint64_t limit = MIN(get32(im->header + HDR_CMDLINE_SIZE), CMDLINE_MAX);
	uint64_t len = strlen(text);
	struct boot_piece piece = {.what = "its command line",
		.data = (const uint8_t *)text,
		.len = len + 1,
		.size = len + 1};
	int err;

	if (len > limit)
		return boot_fail(b,
			"%s: the command line has %llu characters, this kernel takes %llu; "
			"shorten --append",
			im->file->name, (unsigned long long)len, (unsigned long long)limit);
	err = boot_place(b, &piece, BOOT_LOW_DATA, BOOT_LOW_END, 16);
	put32(im->params + HDR_CMD_LINE_PTR, (uint32_t)piece.addr);
	return err;
}

/* ---- initrd ---- */

static int join_modules(struct boot *b, struct boot_piece *piece)
{
	uint8_t *all;
	uint64_t size = 0, at = 0;

	for (unsigned i = 0; i < b->config.modules; i++)
		size = round_up(size, 4) + b->config.module[i].len;
	all = boot_alloc(b, size);
	if (!all)
		return boot_fail(b, "the host has no memory for initrds of %llu KiB",
			(unsigned long long)(size / KiB));
	for (unsigned i = 0; i < b->config.modules; i++) {
		const struct boot_file *f = &b->config.module[i];

		at = round_up(at, 4);
		memcpy(all + at, f->data, f->len);
		at += f->len;
	}
	piece->data = all;
	piece->len = size;
	return 0;
}

static int put_initrd(struct boot *b, struct linux_image *im)
{
	struct boot_piece piece = {.what = "the initrd"};
	uint64_t max = get32(im->header + HDR_INITRD_MAX);
	int err = 0;

	if (!b->config.modules)
		return 0;
	piece.data = b->config.module[0].data;
	piece.len = b->config.module[0].len;
	if (b->config.modules > 1)
		err = join_modules(b, &piece);
	piece.size = piece.len;
	if (!err)
		err = boot_place(b, &piece, im->load, (max ? max : INITRD_MAX_2_06) + 1, PAGE);
	if (err)
		return err;
	put32(im->params + HDR_RAMDISK_IMAGE, (uint32_t)piece.addr);
	put32(im->params + HDR_RAMDISK_SIZE, (uint32_t)piece.len);
	return 0;
}

static int put_data(struct boot *b, struct linux_image *im)
{
	int err = put_params(b, im);

	if (!err)
		err = put_cmdline(b, im);
	return err ? err : put_initrd(b, im);
}

static void say_how(struct boot *b, const struct linux_image *im)
{
	const char *random = "";

	if (im->random)
		random = im->is_64 ? ", at a random virtual address" : ", at a random address";
	snprintf(b->note, sizeof(b->note),
		"Linux boot protocol %u.%02u, %s-bit; %s%s; entry at %#llx%s%s%s", im->version >> 8,
		im->version & 0xff, im->is_64 ? "64" : "32",
		im->k.image ? im->how : "it unpacks itself",
		im->k.image ? " unpacked by the host" : "", (unsigned long long)b->rip, random,
		b->console_added ? "; added console=" : "",
		b->console_added ? b->config.console : "");
}

/* A header for a kernel that has none: as much as the rest of this file reads. */
static uint8_t *make_header(struct boot *b)
{
	uint8_t *h = boot_alloc(b, HDR_END);

	if (!h)
		return NULL;
	put16(h + HDR_BOOT_FLAG, HDR_BOOT_FLAG_VALUE);
	h[HDR_JUMP + 1] = HDR_END - HDR_MAGIC;
	put32(h + HDR_MAGIC, HDR_MAGIC_VALUE);
	put16(h + HDR_VERSION, VERSION_64);
	h[HDR_LOADFLAGS] = HDR_LOADED_HIGH;
	put32(h + HDR_INITRD_MAX, INITRD_MAX_2_06);
	put32(h + HDR_CMDLINE_SIZE, CMDLINE_ELF);
	return h;
}

int linux_plan_elf(struct boot *b)
{
	const struct boot_file *f = &b->config.kernel;
	struct linux_image im = {.file = f,
		.header = make_header(b),
		.params = boot_alloc(b, BP_SIZE),
		.load = BOOT_HIGH,
		.cmdline = boot_cmdline(b, true)};
	const char *why = elf_open(&im.k.elf, f->data, f->len);
	int err;

	if (!im.header || !im.params)
		return boot_fail(b, "the host has no memory");
	if (why)
		return boot_fail(b, "%s: %s", f->name, why);
	err = boot_put_elf(b, &im.k.elf);
	if (!err && !boot_is_ram(b, im.k.elf.entry, 1))
		err = boot_fail(b, "%s: its entry point %#llx is no RAM; is the file whole?",
			f->name, (unsigned long long)im.k.elf.entry);
	if (!err)
		err = put_data(b, &im);
	if (err)
		return err;
	b->rip = im.k.elf.entry;
	b->long_mode = im.k.elf.is_64;
	snprintf(b->note, sizeof(b->note), "Linux ELF file, %s-bit; entry at %#llx%s%s",
		b->long_mode ? "64" : "32", (unsigned long long)b->rip,
		b->console_added ? "; added console=" : "",
		b->console_added ? b->config.console : "");
	return boot_tables(b);
}

int linux_plan(struct boot *b)
{
	struct linux_image im = {.file = &b->config.kernel,
		.header = b->config.kernel.data,
		.params = boot_alloc(b, BP_SIZE),
		.cmdline = boot_cmdline(b, true)};
	int err = im.params ? check_version(b, &im) : boot_fail(b, "the host has no memory");

	if (!err)
		err = check_sizes(b, &im);
	if (!err)
		err = find_extent(b, &im);
	if (!err)
		err = put_kernel(b, &im);
	if (!err)
		err = put_data(b, &im);
	if (err)
		return err;
	b->long_mode = im.is_64;
	say_how(b, &im);
	return boot_tables(b);
}
