/*
 * multiboot.c - starts kernels by the Multiboot Specification, version 1 and 2.
 *
 * Sources: see multiboot.h. The kernel is an ELF file, or its header says where
 * it goes. It is entered in 32-bit protected mode with its information in EBX.
 * Its text screen is the VGA's; modules lie behind it, on pages, in order.
 * Left out: the ELF section headers, VBE, APM and EFI tables, relocation.
 */
#include "boot/multiboot.h"

#include <stdio.h>

#include "boot/elf.h"
#include "boot/plan.h"

#define LOADER      "tinamou"
#define SCREEN      UINT64_C(0xb8000)
#define SCREEN_COLS 80
#define SCREEN_ROWS 25
#define TYPE_TEXT   2

/* What a header says; 0 where it says nothing. */
struct header {
	unsigned version;
	uint64_t at, len; /* of the header in the file */
	bool has_addresses, has_entry;
	uint32_t header_addr, load, load_end, bss_end, entry;
};

/* ---- headers ---- */

static bool find1(const struct boot_file *f, struct header *h)
{
	for (uint64_t at = 0; at < MB1_SEARCH && range_in(at, 12, f->len); at += 4) {
		const uint8_t *p = f->data + at;

		if (get32(p) != MB1_MAGIC || get32(p) + get32(p + 4) + get32(p + 8))
			continue;
		*h = (struct header){.version = 1, .at = at, .len = 12};
		return true;
	}
	return false;
}

static bool find2(const struct boot_file *f, struct header *h)
{
	for (uint64_t at = 0; at < MB2_SEARCH && range_in(at, MB2_HEADER, f->len); at += 8) {
		const uint8_t *p = f->data + at;

		if (get32(p) != MB2_MAGIC || get32(p + 4) ||
			get32(p) + get32(p + 8) + get32(p + 12))
			continue;
		*h = (struct header){.version = 2, .at = at, .len = get32(p + 8)};
		return true;
	}
	return false;
}

static bool find_header(const struct boot_file *f, struct header *h)
{
	return find2(f, h) || find1(f, h);
}

bool multiboot_is(const struct boot_file *f)
{
	struct header h;

	return find_header(f, &h);
}

static int cut_off(struct boot *b)
{
	return boot_fail(b, "%s: its multiboot header is cut off; copy the kernel again",
		b->config.kernel.name);
}

static int read1(struct boot *b, struct header *h)
{
	const uint8_t *p = b->config.kernel.data + h->at;
	uint32_t flags = get32(p + 4);

	if (flags & MB1_REQUIRED & ~MB1_KNOWN)
		return boot_fail(b, "%s: its multiboot header asks for features %#x, unknown here",
			b->config.kernel.name, flags & MB1_REQUIRED & ~MB1_KNOWN);
	if (!(flags & MB1_ADDRESSES))
		return 0;
	if (!range_in(h->at, 32, b->config.kernel.len))
		return cut_off(b);
	h->has_addresses = h->has_entry = true;
	h->header_addr = get32(p + 12);
	h->load = get32(p + 16);
	h->load_end = get32(p + 20);
	h->bss_end = get32(p + 24);
	h->entry = get32(p + 28);
	return 0;
}

/* Information that the kernel cannot do without. */
static int check_request(struct boot *b, const uint8_t *tag, uint32_t size)
{
	for (uint32_t at = 8; at + 4 <= size; at += 4) {
		uint32_t type = get32(tag + at);

		if ((type < MB2_CMDLINE || type > MB2_MEMINFO) && type != MB2_MMAP &&
			type != MB2_FRAMEBUFFER)
			return boot_fail(b,
				"%s: needs multiboot2 information of type %u, which is not here",
				b->config.kernel.name, type);
	}
	return 0;
}

static int read_tag2(struct boot *b, struct header *h, const uint8_t *tag, uint32_t size)
{
	unsigned type = get16(tag);
	bool optional = get16(tag + 2) & 1;

	switch (type) {
	case MB2_H_REQUEST:
		return optional ? 0 : check_request(b, tag, size);
	case MB2_H_ADDRESS:
		if (size < 24)
			return cut_off(b);
		h->has_addresses = true;
		h->header_addr = get32(tag + 8);
		h->load = get32(tag + 12);
		h->load_end = get32(tag + 16);
		h->bss_end = get32(tag + 20);
		return 0;
	case MB2_H_ENTRY:
		if (size < 12)
			return cut_off(b);
		h->has_entry = true;
		h->entry = get32(tag + 8);
		return 0;
	case MB2_H_CONSOLE:
	case MB2_H_FRAMEBUFFER:
	case MB2_H_ALIGN:
	case MB2_H_RELOCATABLE:
		return 0;
	}
	return optional ? 0
			: boot_fail(b, "%s: its multiboot2 header has a tag %u, unknown here",
				  b->config.kernel.name, type);
}

static int read2(struct boot *b, struct header *h)
{
	const uint8_t *p = b->config.kernel.data + h->at;
	uint64_t at = MB2_HEADER;
	int err = 0;

	if (!range_in(h->at, h->len, b->config.kernel.len))
		return cut_off(b);
	while (!err && at + 8 <= h->len && get16(p + at) != MB2_H_END) {
		uint32_t size = get32(p + at + 4);

		if (size < 8 || !range_in(at, size, h->len))
			return cut_off(b);
		err = read_tag2(b, h, p + at, size);
		at = round_up(at + size, 8);
	}
	if (!err && h->has_addresses && !h->has_entry)
		err = boot_fail(b, "%s: its multiboot2 header has addresses, but no entry point",
			b->config.kernel.name);
	return err;
}

/* ---- the kernel ---- */

/* From the file's start, or from where load_addr lies, as far as load_end says. */
static int put_by_header(struct boot *b, const struct header *h)
{
	const struct boot_file *f = &b->config.kernel;
	struct boot_piece piece = {.what = "the kernel", .zero = true};
	uint64_t off = h->load == UINT32_MAX ? 0 : h->at - (h->header_addr - h->load);

	if (h->load != UINT32_MAX && h->header_addr < h->load)
		return boot_fail(
			b, "%s: its multiboot header lies before its load address", f->name);
	piece.addr = h->load == UINT32_MAX ? h->header_addr - h->at : h->load;
	if (off >= f->len)
		return boot_fail(
			b, "%s: its multiboot header gives a load address outside of it", f->name);
	piece.len = h->load_end ? (uint64_t)h->load_end - piece.addr : f->len - off;
	if (!range_in(off, piece.len, f->len))
		return boot_fail(b,
			"%s: cut off: its multiboot header wants %llu KiB of it; copy the kernel "
			"again",
			f->name, (unsigned long long)(piece.len / KiB));
	piece.data = f->data + off;
	piece.size = piece.len;
	if (h->bss_end > piece.addr + piece.len)
		piece.size = h->bss_end - piece.addr;
	return boot_put(b, &piece);
}

static int put_elf(struct boot *b, const struct header *h)
{
	const struct boot_file *f = &b->config.kernel;
	struct elf e;
	const char *why = elf_open(&e, f->data, f->len);

	if (why)
		return boot_fail(
			b, "%s: a multiboot kernel without addresses, and %s", f->name, why);
	b->rip = h->has_entry ? h->entry : e.entry;
	return boot_put_elf(b, &e);
}

static int put_kernel(struct boot *b, const struct header *h)
{
	int err;

	b->rip = h->entry;
	err = h->has_addresses ? put_by_header(b, h) : put_elf(b, h);
	if (!err && (!boot_is_ram(b, b->rip, 1) || b->rip >= BOOT_4G))
		err = boot_fail(b, "%s: its entry point %#llx is no RAM; is the file whole?",
			b->config.kernel.name, (unsigned long long)b->rip);
	return err;
}

/* By custom the first word is the kernel's name. */
static const char *command_line(struct boot *b)
{
	const char *args = b->config.cmdline ? b->config.cmdline : "";
	const char *name = b->config.kernel.name;
	size_t room = strlen(name) + strlen(args) + 2;
	char *text = boot_alloc(b, room);

	if (text)
		snprintf(text, room, "%s%s%s", name, *args ? " " : "", args);
	return text ? text : args;
}

/* ---- information ---- */

static uint32_t kib_above_1m(const struct boot *b)
{
	for (unsigned i = 0; i < b->areas; i++)
		if (b->area[i].base == BOOT_HIGH)
			return (uint32_t)(b->area[i].size / KiB);
	return 0;
}

static uint32_t kib_below_1m(const struct boot *b)
{
	return b->areas ? (uint32_t)(b->area[0].size / KiB) : 0;
}

/* Both versions have these fields in this order. */
static void fill_screen(uint8_t *p)
{
	put64(p, SCREEN);
	put32(p + 8, SCREEN_COLS * 2);
	put32(p + 12, SCREEN_COLS);
	put32(p + 16, SCREEN_ROWS);
	p[20] = 16;
	p[21] = TYPE_TEXT;
}

static void fill_area(uint8_t *p, const struct boot_area *a)
{
	put64(p, a->base);
	put64(p + 8, a->size);
	put32(p + 16, a->type);
}

static uint64_t size1(const struct boot *b)
{
	return MB1_INFO_SIZE + b->areas * MB1_MMAP_SIZE + b->config.modules * MB1_MODULE_SIZE +
	       sizeof(LOADER);
}

static void fill1(struct boot *b, uint8_t *info, gpa_t at, const struct boot_modules *m)
{
	uint64_t map = MB1_INFO_SIZE, list = map + b->areas * MB1_MMAP_SIZE;
	uint64_t name = list + b->config.modules * MB1_MODULE_SIZE;

	put32(info + MB1_FLAGS, MB1_INFO_FLAGS);
	put32(info + MB1_MEM_LOWER, kib_below_1m(b));
	put32(info + MB1_MEM_UPPER, kib_above_1m(b));
	put32(info + MB1_CMDLINE, (uint32_t)m->cmdline);
	put32(info + MB1_MODS_COUNT, b->config.modules);
	put32(info + MB1_MODS_ADDR, (uint32_t)(at + list));
	put32(info + MB1_MMAP_LENGTH, b->areas * MB1_MMAP_SIZE);
	put32(info + MB1_MMAP_ADDR, (uint32_t)(at + map));
	put32(info + MB1_LOADER_NAME, (uint32_t)(at + name));
	fill_screen(info + MB1_FRAMEBUFFER);
	for (unsigned i = 0; i < b->areas; i++) {
		uint8_t *e = info + map + i * MB1_MMAP_SIZE;

		put32(e, MB1_MMAP_SIZE - 4); /* its size, without this word */
		fill_area(e + 4, &b->area[i]);
	}
	for (unsigned i = 0; i < b->config.modules; i++) {
		uint8_t *e = info + list + i * MB1_MODULE_SIZE;

		put32(e, (uint32_t)m->addr[i]);
		put32(e + 4, (uint32_t)(m->addr[i] + b->config.module[i].len));
		put32(e + 8, (uint32_t)m->args[i]);
	}
	memcpy(info + name, LOADER, sizeof(LOADER));
}

static const char *module_text(const struct boot *b, unsigned i)
{
	const struct boot_file *f = &b->config.module[i];

	return f->args ? f->args : f->name;
}

static uint64_t size2(const struct boot *b, const char *cmdline)
{
	uint64_t size = 8 + round_up(8 + strlen(cmdline) + 1, 8) + round_up(8 + sizeof(LOADER), 8) +
			16 + 16 + b->areas * 24 + 32 + 8;

	for (unsigned i = 0; i < b->config.modules; i++)
		size += round_up(16 + strlen(module_text(b, i)) + 1, 8);
	return size;
}

/* Starts a tag of 8 + size bytes and returns its contents; *p goes on behind it. */
static uint8_t *tag(uint8_t **p, uint32_t type, uint64_t size)
{
	uint8_t *start = *p;

	put32(start, type);
	put32(start + 4, (uint32_t)size + 8);
	*p = start + round_up(size + 8, 8);
	return start + 8;
}

static void tag_text(uint8_t **p, uint32_t type, const char *text)
{
	memcpy(tag(p, type, strlen(text) + 1), text, strlen(text) + 1);
}

static void tag_module(struct boot *b, uint8_t **p, const struct boot_modules *m, unsigned i)
{
	const char *text = module_text(b, i);
	uint8_t *t = tag(p, MB2_MODULE, 8 + strlen(text) + 1);

	put32(t, (uint32_t)m->addr[i]);
	put32(t + 4, (uint32_t)(m->addr[i] + b->config.module[i].len));
	memcpy(t + 8, text, strlen(text) + 1);
}

static void fill2(struct boot *b, uint8_t *info, const char *cmdline, const struct boot_modules *m)
{
	uint8_t *p = info + 8, *t;

	tag_text(&p, MB2_CMDLINE, cmdline);
	tag_text(&p, MB2_LOADER_NAME, LOADER);
	for (unsigned i = 0; i < b->config.modules; i++)
		tag_module(b, &p, m, i);
	t = tag(&p, MB2_MEMINFO, 8);
	put32(t, kib_below_1m(b));
	put32(t + 4, kib_above_1m(b));
	t = tag(&p, MB2_MMAP, 8 + b->areas * 24);
	put32(t, 24); /* an entry's size; version 0 */
	for (unsigned i = 0; i < b->areas; i++)
		fill_area(t + 8 + i * 24, &b->area[i]);
	fill_screen(tag(&p, MB2_FRAMEBUFFER, 24));
	tag(&p, MB2_END, 0);
	put32(info, (uint32_t)(p - info));
}

static int put_info(
	struct boot *b, const struct header *h, const char *cmdline, const struct boot_modules *m)
{
	struct boot_piece piece = {.what = "its multiboot information"};
	uint8_t *info;
	int err;

	piece.len = piece.size = h->version == 1 ? size1(b) : size2(b, cmdline);
	info = boot_alloc(b, piece.len);
	if (!info)
		return boot_fail(b, "the host has no memory for multiboot information");
	piece.data = info;
	err = boot_place(b, &piece, BOOT_LOW_DATA, BOOT_LOW_END, 8);
	if (err)
		return err;
	if (h->version == 1)
		fill1(b, info, piece.addr, m);
	else
		fill2(b, info, cmdline, m);
	b->gpr[X86_RAX] = h->version == 1 ? MB1_EAX : MB2_EAX;
	b->gpr[X86_RBX] = piece.addr;
	return 0;
}

int multiboot_plan(struct boot *b)
{
	const char *cmdline = command_line(b);
	struct boot_modules m;
	struct header h;
	int err = find_header(&b->config.kernel, &h) ? 0 : -1;

	if (!err)
		err = h.version == 1 ? read1(b, &h) : read2(b, &h);
	if (!err)
		err = put_kernel(b, &h);
	if (!err)
		err = boot_put_modules(b, cmdline, &m);
	if (!err)
		err = put_info(b, &h, cmdline, &m);
	if (err)
		return err;
	snprintf(b->note, sizeof(b->note), "Multiboot %u; entry at %#llx", h.version,
		(unsigned long long)b->rip);
	return boot_tables(b);
}
