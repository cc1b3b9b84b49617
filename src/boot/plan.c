/*
 * plan.c - memory map, pieces and the first state of vCPU 0; see plan.h.
 *
 * Segments, CR0 and page tables: Intel SDM vol. 3A 2.5, 3.4.5, 4.5.4. The page
 * tables map the first 4 GiB to themselves with 2 MiB pages.
 */
#include "boot/plan.h"

#include "boot/elf.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define PAGE         UINT64_C(4096)
#define TABLE_ENTRY  0x3u  /* present, writable */
#define LARGE_ENTRY  0x83u /* and a 2 MiB page */
#define DIRECTORIES  4     /* one a GiB */
#define TABLE_PAGES  (2 + DIRECTORIES)
#define ENTRIES      512
#define STACK_TOP    UINT64_C(0x10000) /* some kernels push before they have a stack */
#define TABLES_LOW   STACK_TOP
#define GDT_ENTRIES  4
#define CODE_32      UINT64_C(0x00cf9b000000ffff)
#define CODE_64      UINT64_C(0x00af9b000000ffff)
#define DATA_FLAT    UINT64_C(0x00cf93000000ffff)
#define ATTR_CODE_32 0xc09bu
#define ATTR_CODE_64 0xa09bu
#define ATTR_DATA    0xc093u

int boot_fail(struct boot *b, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(b->err, b->errlen, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

void *boot_alloc(struct boot *b, size_t size)
{
	void *p = b->owneds < ARRAY_SIZE(b->owned) ? calloc(1, size ? size : 1) : NULL;

	if (p)
		b->owned[b->owneds++] = p;
	return p;
}

/* ---- the memory map ---- */

static void add_area(struct boot *b, gpa_t from, gpa_t to, uint32_t type)
{
	if (from < to && b->areas < BOOT_MAX_AREAS)
		b->area[b->areas++] = (struct boot_area){from, to - from, type};
}

static void map_areas(struct boot *b)
{
	const struct bus *bus = b->mem->bus;
	bool rom = false;

	for (unsigned i = 0; i < bus->ranges; i++) {
		const struct bus_range *r = &bus->range[i];
		gpa_t end = r->base + r->size;

		if (r->region->kind != BUS_RAM || r->region->prio != BUS_PRIO_RAM)
			continue;
		if (r->base >= BOOT_HIGH && !rom) {
			add_area(b, BOOT_ROM, BOOT_HIGH, AREA_RESERVED);
			rom = true;
		}
		if (r->base < BOOT_EBDA && end > BOOT_EBDA && end <= BOOT_BASE_END) {
			add_area(b, r->base, BOOT_EBDA, AREA_RAM);
			add_area(b, BOOT_EBDA, end, AREA_RESERVED);
		} else {
			add_area(b, r->base, end, AREA_RAM);
		}
	}
}

bool boot_is_ram(const struct boot *b, gpa_t addr, uint64_t size)
{
	for (unsigned i = 0; i < b->areas; i++) {
		const struct boot_area *a = &b->area[i];

		if (a->type == AREA_RAM && addr >= a->base &&
			range_in(addr - a->base, size, a->size))
			return true;
	}
	return false;
}

/* ---- pieces ---- */

/* A piece that shares a byte with [addr, addr + size), or NULL. */
static const struct boot_piece *taken(const struct boot *b, gpa_t addr, uint64_t size)
{
	for (unsigned i = 0; i < b->pieces; i++) {
		const struct boot_piece *p = &b->piece[i];

		if (addr < p->addr + p->size && p->addr < addr + size)
			return p;
	}
	return NULL;
}

static int add_piece(struct boot *b, const struct boot_piece *piece)
{
	if (b->pieces == BOOT_MAX_PIECES)
		return boot_fail(b, "%s: more than %d parts to load", b->config.kernel.name,
			BOOT_MAX_PIECES);
	b->piece[b->pieces++] = *piece;
	return 0;
}

static uint64_t ram_kib(const struct boot *b)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < b->areas; i++)
		sum += b->area[i].size;
	return sum / KiB;
}

int boot_put(struct boot *b, const struct boot_piece *piece)
{
	const struct boot_piece *other;

	if (!piece->size)
		return 0;
	if (!boot_is_ram(b, piece->addr, piece->size))
		return boot_fail(b,
			"%s: %s wants %llu KiB at %#llx, where the guest's %llu KiB of memory "
			"are not all; give more with --memory, if the file is whole",
			b->config.kernel.name, piece->what,
			(unsigned long long)((piece->size + KiB - 1) / KiB),
			(unsigned long long)piece->addr, (unsigned long long)ram_kib(b));
	other = taken(b, piece->addr, piece->size);
	if (other)
		return boot_fail(b, "%s: %s at %#llx lies over %s at %#llx; is the file whole?",
			b->config.kernel.name, piece->what, (unsigned long long)piece->addr,
			other->what, (unsigned long long)other->addr);
	return add_piece(b, piece);
}

/* The highest free place of an area below `high`, or 0. */
static gpa_t free_place(
	const struct boot *b, const struct boot_area *a, uint64_t size, gpa_t high, uint64_t align)
{
	gpa_t end = MIN(a->base + a->size, high);

	while (end > a->base && end - a->base >= size) {
		gpa_t at = (end - size) & ~(align - 1);
		const struct boot_piece *p;

		if (at < a->base)
			return 0;
		p = taken(b, at, size);
		if (!p)
			return at;
		end = p->addr;
	}
	return 0;
}

int boot_place(struct boot *b, struct boot_piece *piece, gpa_t low, gpa_t high, uint64_t align)
{
	for (unsigned i = b->areas; i-- > 0;) {
		const struct boot_area *a = &b->area[i];
		gpa_t at = a->type == AREA_RAM && a->base < high && piece->size
				   ? free_place(b, a, piece->size, high, align)
				   : 0;

		if (at && at >= low) {
			piece->addr = at;
			return add_piece(b, piece);
		}
	}
	return boot_fail(b,
		"%s: no room for %s of %llu KiB beside the kernel in the guest's memory of %llu "
		"KiB; give more with --memory",
		b->config.kernel.name, piece->what,
		(unsigned long long)((piece->size + KiB - 1) / KiB),
		(unsigned long long)ram_kib(b));
}

/* ---- tables ---- */

static void fill_page_tables(uint8_t *pages, gpa_t at)
{
	uint8_t *pdpt = pages + PAGE, *pd = pdpt + PAGE;

	put64(pages, (at + PAGE) | TABLE_ENTRY);
	for (unsigned i = 0; i < DIRECTORIES; i++)
		put64(pdpt + i * 8, (at + (2 + i) * PAGE) | TABLE_ENTRY);
	for (uint64_t i = 0; i < DIRECTORIES * ENTRIES; i++)
		put64(pd + i * 8, i * 2 * MiB | LARGE_ENTRY);
}

static int page_tables(struct boot *b)
{
	uint8_t *pages = boot_alloc(b, TABLE_PAGES * PAGE);
	struct boot_piece piece = {.what = "its page tables",
		.data = pages,
		.len = TABLE_PAGES * PAGE,
		.size = TABLE_PAGES * PAGE};
	int err;

	if (!pages)
		return boot_fail(b, "the host has no memory for page tables");
	err = boot_place(b, &piece, TABLES_LOW, BOOT_LOW_END, PAGE);
	if (err)
		return err;
	fill_page_tables(pages, piece.addr);
	b->page_tables = piece.addr;
	return 0;
}

int boot_tables(struct boot *b)
{
	uint8_t *gdt = boot_alloc(b, GDT_ENTRIES * 8);
	struct boot_piece piece = {
		.what = "its GDT", .data = gdt, .len = GDT_ENTRIES * 8, .size = GDT_ENTRIES * 8};
	int err;

	if (!gdt)
		return boot_fail(b, "the host has no memory for a GDT");
	put64(gdt + BOOT_SEL_CODE, b->long_mode ? CODE_64 : CODE_32);
	put64(gdt + BOOT_SEL_DATA, DATA_FLAT);
	err = boot_place(b, &piece, TABLES_LOW, BOOT_LOW_END, 8);
	b->gdt = piece.addr;
	return !err && b->long_mode ? page_tables(b) : err;
}

/* ---- loading ---- */

static int write_piece(struct boot *b, const struct boot_piece *p)
{
	int err = p->data && p->len ? mem_write(b->mem, p->addr, p->data, p->len) : 0;

	if (!p->data)
		mem_written(b->mem, p->addr, p->len);
	if (!err && p->zero && p->size > p->len)
		err = mem_fill(b->mem, p->addr + p->len, 0, p->size - p->len);
	return err;
}

static void flat_segments(struct x86_state *s, bool long_mode)
{
	for (unsigned i = X86_ES; i <= X86_GS; i++)
		s->seg[i] = (struct x86_seg){
			.limit = UINT32_MAX, .attr = ATTR_DATA, .sel = BOOT_SEL_DATA};
	s->seg[X86_CS].attr = long_mode ? ATTR_CODE_64 : ATTR_CODE_32;
	s->seg[X86_CS].sel = BOOT_SEL_CODE;
}

static void enter(const struct boot *b, struct x86_state *s)
{
	memcpy(s->gpr, b->gpr, sizeof(s->gpr));
	s->gpr[X86_RSP] = STACK_TOP;
	s->rip = b->rip;
	s->rflags = X86_FLAGS_FIXED;
	flat_segments(s, b->long_mode);
	s->gdtr = (struct x86_table){b->gdt, GDT_ENTRIES * 8 - 1};
	s->idtr = (struct x86_table){0, 0};
	s->cr0 = X86_CR0_PE | X86_CR0_ET;
	s->cr3 = s->cr4 = s->efer = 0;
	if (!b->long_mode)
		return;
	s->cr0 |= X86_CR0_PG;
	s->cr3 = b->page_tables;
	s->cr4 = X86_CR4_PAE;
	s->efer = X86_EFER_LME | X86_EFER_LMA;
}

int boot_load(struct boot *b, struct x86_state *s)
{
	for (unsigned i = 0; i < b->pieces; i++) {
		int err = write_piece(b, &b->piece[i]);

		if (err)
			return err;
	}
	enter(b, s);
	return 0;
}

/* ---- life ---- */

static int plan(struct boot *b)
{
	const struct boot_file *f = &b->config.kernel;
	char found[200];

	map_areas(b);
	if (linux_is(f))
		return linux_plan(b);
	if (multiboot_is(f))
		return multiboot_plan(b);
	if (pvh_is(f))
		return pvh_plan(b);
	if (elf_is(f->data, f->len) && boot_is_linux(f))
		return linux_plan_elf(b);
	boot_describe(f, found, sizeof(found));
	return boot_fail(b, "%s: no kernel that can be started: %s", f->name, found);
}

struct boot *boot_new(
	struct guest_memory *mem, const struct boot_config *config, char *err, size_t errlen)
{
	struct boot *b = xcalloc(1, sizeof(*b));
	int rc;

	b->mem = mem;
	b->config = *config;
	b->err = err;
	b->errlen = errlen;
	rc = plan(b);
	b->err = NULL;
	if (!rc)
		return b;
	boot_free(b);
	return NULL;
}

void boot_free(struct boot *b)
{
	if (!b)
		return;
	for (unsigned i = 0; i < b->owneds; i++)
		free(b->owned[i]);
	free(b);
}

const char *boot_note(const struct boot *b)
{
	return b->note;
}
