/*
 * view.c - reading and printing a vCPU's memory; see view.h. Formats are those
 * that people know from debuggers: 4xw, 10i, 8xb.
 */
#include "debug/view.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "util/util.h"
#include "x86/paging.h"

#define PAGE      4096u
#define LINE      16u    /* bytes a line */
#define COUNT_MAX 65536u /* what a typing error shall not exceed */

static uint64_t load_entry(void *ctx, uint64_t gpa, unsigned size)
{
	uint64_t entry = 0;

	if (mem_read(ctx, gpa, &entry, size))
		entry = 0; /* tables where nothing is map nothing */
	return entry;
}

/* Who looks leaves no accessed and dirty flags behind. */
static bool keep_entry(void *ctx, uint64_t gpa, unsigned size, uint64_t old, uint64_t new)
{
	return true;
}

static bool view_translate(const struct view *v, uint64_t addr, gpa_t *gpa)
{
	const struct x86_page_memory tables = {v->mem, load_entry, keep_entry, v->phys_bits};
	struct x86_page page;

	*gpa = addr;
	if (v->physical)
		return true;
	if (!x86_translate(v->state, &tables, addr, X86_SUPERVISOR_AC, X86_READ, &page))
		return false;
	*gpa = page.gpa;
	return true;
}

int view_read(const struct view *v, uint64_t addr, void *buf, uint64_t len)
{
	uint8_t *to = buf;
	gpa_t gpa;

	while (len) {
		uint64_t part = MIN(len, PAGE - addr % PAGE);

		if (!view_translate(v, addr, &gpa) || mem_read(v->mem, gpa, to, part))
			return -EFAULT;
		addr += part;
		to += part;
		len -= part;
	}
	return 0;
}

int view_write(const struct view *v, uint64_t addr, const void *buf, uint64_t len)
{
	const uint8_t *from = buf;
	gpa_t gpa;

	while (len) {
		uint64_t part = MIN(len, PAGE - addr % PAGE);

		if (!view_translate(v, addr, &gpa) || mem_write(v->mem, gpa, from, part))
			return -EFAULT;
		addr += part;
		from += part;
		len -= part;
	}
	return 0;
}

enum x86_mode view_mode(const struct x86_state *s)
{
	uint32_t attr = s->seg[X86_CS].attr;

	if (s->efer & X86_EFER_LMA && attr & X86_ATTR_L)
		return X86_MODE_64;
	return attr & X86_ATTR_DB ? X86_MODE_32 : X86_MODE_16;
}

/* ---- x and xp ---- */

struct format {
	unsigned count, size;
	char letter;
};

static bool parse_format(const char *text, struct format *f)
{
	static const char sizes[] = "bhwg";
	char *end = (char *)text;

	*f = (struct format){1, 4, 'x'};
	if (isdigit((unsigned char)*text))
		f->count = (unsigned)MIN(strtoul(text, &end, 10), COUNT_MAX);
	for (; *end; end++) {
		const char *size = strchr(sizes, *end);

		if (size)
			f->size = 1u << (size - sizes);
		else if (strchr("xduocis", *end))
			f->letter = *end;
		else
			return false;
	}
	if (f->letter == 'c' || f->letter == 's')
		f->size = 1;
	return true;
}

static int address_width(const struct view *v)
{
	return v->physical || v->state->efer & X86_EFER_LMA ? 16 : 8;
}

static int64_t sign_extended(uint64_t value, unsigned size)
{
	unsigned shift = 64 - 8 * size;

	return (int64_t)(value << shift) >> shift;
}

static void print_value(FILE *out, const struct format *f, uint64_t value)
{
	switch (f->letter) {
	case 'x':
		fprintf(out, " 0x%0*" PRIx64, (int)(2 * f->size), value);
		break;
	case 'u':
		fprintf(out, " %" PRIu64, value);
		break;
	case 'd':
		fprintf(out, " %" PRId64, sign_extended(value, f->size));
		break;
	case 'o':
		fprintf(out, " 0%" PRIo64, value);
		break;
	default:
		fprintf(out, value >= 0x20 && value < 0x7f ? " '%c'" : " '\\x%02x'", (int)value);
	}
}

static void print_values(const struct view *v, const struct format *f, uint64_t addr, FILE *out)
{
	for (unsigned n = 0; n < f->count; n++, addr += f->size) {
		uint64_t value = 0;

		if (n % (LINE / f->size) == 0)
			fprintf(out, "%s%0*" PRIx64 ":", n ? "\n" : "", address_width(v), addr);
		if (view_read(v, addr, &value, f->size)) {
			fprintf(out, " cannot access memory\n");
			return;
		}
		print_value(out, f, value);
	}
	fputc('\n', out);
}

static void print_text(const struct view *v, uint64_t addr, FILE *out)
{
	unsigned char c;

	fprintf(out, "%0*" PRIx64 ": \"", address_width(v), addr);
	for (unsigned n = 0; n < COUNT_MAX && !view_read(v, addr + n, &c, 1) && c; n++)
		fprintf(out, c >= 0x20 && c < 0x7f ? "%c" : "\\x%02x", c);
	fputs("\"\n", out);
}

/* As many bytes as can be read: an instruction may end before the page that is missing. */
static size_t fetch(const struct view *v, uint64_t addr, uint8_t bytes[X86_INSN_MAX])
{
	size_t n = 0;

	while (n < X86_INSN_MAX && !view_read(v, addr + n, &bytes[n], 1))
		n++;
	return n;
}

static void print_code(const struct view *v, const struct format *f, uint64_t addr, FILE *out)
{
	enum x86_mode mode = view_mode(v->state);
	uint8_t bytes[X86_INSN_MAX];
	struct x86_insn insn;
	char text[128];

	for (unsigned n = 0; n < f->count; n++) {
		size_t len = fetch(v, addr, bytes);

		fprintf(out, "0x%0*" PRIx64 ":  ", address_width(v), addr);
		if (!len) {
			fputs("cannot access memory\n", out);
			return;
		}
		if (x86_decode(bytes, len, mode, &insn) != X86_DECODE_OK) {
			fprintf(out, "(bad) %02x\n", bytes[0]);
			addr++;
			continue;
		}
		for (unsigned i = 0; i < insn.len; i++)
			fprintf(out, "%02x ", bytes[i]);
		fprintf(out, "%*s%s\n", insn.len < 8 ? (int)(8 - insn.len) * 3 : 0, "",
			x86_disasm(&insn, addr, text, sizeof(text)));
		addr += insn.len;
	}
}

int view_examine(const struct view *v, const char *format, uint64_t addr, FILE *out)
{
	struct format f;

	if (!parse_format(format, &f))
		return -EINVAL;
	if (f.letter == 'i')
		print_code(v, &f, addr, out);
	else if (f.letter == 's')
		print_text(v, addr, out);
	else
		print_values(v, &f, addr, out);
	return 0;
}

/* ---- info mem ---- */

#define TABLES_MAX 20000u /* of a guest whose tables name each other */

struct walk {
	const struct view *v;
	FILE *out;
	uint64_t start, end; /* of the range that is not printed yet */
	unsigned rights, tables;
	unsigned entry_size, levels;
};

enum { ENTRY_P = 1, ENTRY_W = 2, ENTRY_U = 4, ENTRY_PS = 0x80 };

static void flush_range(struct walk *w)
{
	if (w->end != w->start)
		fprintf(w->out, "%016" PRIx64 "-%016" PRIx64 " %016" PRIx64 " %cr%c\n", w->start,
			w->end, w->end - w->start, w->rights & ENTRY_U ? 'u' : '-',
			w->rights & ENTRY_W ? 'w' : '-');
	w->start = w->end = 0;
}

static void add_page(struct walk *w, uint64_t addr, uint64_t size, unsigned rights)
{
	if (w->end == w->start || addr != w->end || rights != w->rights) {
		flush_range(w);
		w->start = addr;
		w->rights = rights;
	}
	w->end = addr + size;
}

/* Addresses of the upper half, as the CPU wants them. */
static uint64_t canonical(const struct walk *w, uint64_t addr)
{
	return w->levels == 4 && addr >> 47 & 1 ? addr | ~UINT64_C(0) << 48 : addr;
}

/* level 1: its entries are pages. */
static void walk_table(
	struct walk *w, uint64_t table, unsigned level, uint64_t base, unsigned rights)
{
	unsigned bits = w->entry_size == 4 ? 10 : 9;
	uint64_t size = UINT64_C(1) << (12 + (level - 1) * bits);
	uint8_t bytes[PAGE];

	if (w->tables++ >= TABLES_MAX || mem_read(w->v->mem, table, bytes, sizeof(bytes)))
		return;
	for (unsigned n = 0; n < PAGE / w->entry_size; n++) {
		uint64_t entry = 0, addr = base + n * size;
		unsigned both;

		memcpy(&entry, bytes + n * w->entry_size, w->entry_size);
		both = rights & entry & (ENTRY_W | ENTRY_U);
		if (!(entry & ENTRY_P))
			continue;
		if (level == 1 || (level <= 3 && entry & ENTRY_PS))
			add_page(w, canonical(w, addr), size, both);
		else
			walk_table(w, entry & UINT64_C(0xffffffffff000), level - 1, addr, both);
	}
}

void view_mappings(const struct view *v, FILE *out)
{
	const struct x86_state *s = v->state;
	struct walk w = {.v = v, .out = out, .entry_size = 8};
	const unsigned all = ENTRY_W | ENTRY_U;

	if (!(s->cr0 & X86_CR0_PG)) {
		fputs("paging is off: linear addresses are physical\n", out);
		return;
	}
	if (s->efer & X86_EFER_LMA) {
		w.levels = 4;
		walk_table(&w, s->cr3 & UINT64_C(0xffffffffff000), 4, 0, all);
	} else if (s->cr4 & X86_CR4_PAE) {
		w.levels = 3;
		for (unsigned n = 0; n < 4; n++)
			if (s->pdpte[n] & ENTRY_P)
				walk_table(&w, s->pdpte[n] & UINT64_C(0xffffffffff000), 2,
					(uint64_t)n << 30, all);
	} else {
		w.levels = 2;
		w.entry_size = 4;
		walk_table(&w, s->cr3 & 0xfffff000, 2, 0, all);
	}
	flush_range(&w);
	if (w.tables >= TABLES_MAX)
		fprintf(out, "and more: %u tables were looked at\n", TABLES_MAX);
}
