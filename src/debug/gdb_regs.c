/*
 * gdb_regs.c - the table of registers; see gdb_regs.h. Runs of registers of a
 * kind are one row each. Left out: x87 tags say 'valid' or 'empty' alone.
 */
#include "debug/gdb_regs.h"

#include <string.h>

#include "util/util.h"

/* The XSAVE area, standard format. */
#define FXSAVE_FCW   0
#define FXSAVE_FSW   2
#define FXSAVE_FTW   4 /* a bit a register: not empty */
#define FXSAVE_FOP   6
#define FXSAVE_FIP   8
#define FXSAVE_FCS   12
#define FXSAVE_FDP   16
#define FXSAVE_FDS   20
#define FXSAVE_MXCSR 24
#define FXSAVE_ST    32
#define FXSAVE_XMM   160
#define XSAVE_BV     512
#define XSAVE_YMMH   576
#define FCW_INIT     0x37f
#define MXCSR_MASK   0xffffu

enum kind { PC, FLAGS, GPR, SEG, BASE, CONTROL, X87_WORD, ST, XMM, MXCSR, YMMH };

enum feature { CORE, SSE, AVX, SEGMENTS, SYSTEM, FEATURES };

static const char *const feature_name[FEATURES] = {
	[CORE] = "org.gnu.gdb.i386.core",
	[SSE] = "org.gnu.gdb.i386.sse",
	[AVX] = "org.gnu.gdb.i386.avx",
	[SEGMENTS] = "org.gnu.gdb.i386.segments",
	[SYSTEM] = "tinamou.system",
};

/* Bits 0: 64 or 32, as the machine has them. first, count: of the names. */
struct row {
	enum feature feature;
	enum kind kind;
	uint8_t count, count_wide, bits;
	const char *type;
	const char *name[2]; /* i386, amd64: separated by blanks, or with % for the number */
	uint8_t at[16];      /* of each, where it is no run from 0 */
};

static const struct row rows[] = {
	{CORE, GPR, 8, 16, 0, "int",
		{"eax ecx edx ebx esp ebp esi edi",
			"rax rbx rcx rdx rsi rdi rbp rsp r8 r9 r10 r11 r12 r13 r14 r15"},
		{0, 3, 1, 2, 6, 7, 5, 4, 8, 9, 10, 11, 12, 13, 14, 15}},
	{CORE, PC, 1, 1, 0, "code_ptr", {"eip", "rip"}, {0}},
	{CORE, FLAGS, 1, 1, 32, "int32", {"eflags", "eflags"}, {0}},
	{CORE, SEG, 6, 6, 32, "int32", {"cs ss ds es fs gs", "cs ss ds es fs gs"},
		{X86_CS, X86_SS, X86_DS, X86_ES, X86_FS, X86_GS}},
	{CORE, ST, 8, 8, 80, "i387_ext", {"st%", "st%"}, {0}},
	{CORE, X87_WORD, 8, 8, 32, "int32",
		{"fctrl fstat ftag fiseg fioff foseg fooff fop",
			"fctrl fstat ftag fiseg fioff foseg fooff fop"},
		{0}},
	{SSE, XMM, 8, 16, 128, "vec128", {"xmm%", "xmm%"}, {0}},
	{SSE, MXCSR, 1, 1, 32, "int32", {"mxcsr", "mxcsr"}, {0}},
	{AVX, YMMH, 8, 16, 128, "uint128", {"ymm%h", "ymm%h"}, {0}},
	{SEGMENTS, BASE, 0, 2, 64, "int64", {"", "fs_base gs_base"}, {X86_FS, X86_GS}},
	{SYSTEM, CONTROL, 5, 6, 0, "int", {"cr0 cr2 cr3 cr4 efer", "cr0 cr2 cr3 cr4 cr8 efer"},
		{0}},
};

/* One register: its row, and which of the row it is. */
struct reg {
	const struct row *row;
	unsigned n, at;
};

static unsigned row_count(const struct gdb_regs *g, const struct row *r)
{
	return g->wide ? r->count_wide : r->count;
}

unsigned gdb_regs_count(const struct gdb_regs *g)
{
	unsigned count = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
		count += row_count(g, &rows[i]);
	return count;
}

/* i386 has the general registers in the order of their encoding. */
static unsigned place(const struct gdb_regs *g, const struct row *r, unsigned n)
{
	bool listed = r->kind == SEG || r->kind == BASE || (r->kind == GPR && g->wide);

	return listed ? r->at[n] : n;
}

static bool find(const struct gdb_regs *g, unsigned n, struct reg *out)
{
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		if (n < row_count(g, &rows[i])) {
			*out = (struct reg){&rows[i], n, place(g, &rows[i], n)};
			return true;
		}
		n -= row_count(g, &rows[i]);
	}
	return false;
}

static unsigned row_bits(const struct gdb_regs *g, const struct row *r)
{
	return r->bits ? r->bits : g->wide ? 64 : 32;
}

unsigned gdb_reg_size(const struct gdb_regs *g, unsigned n)
{
	struct reg r;

	return find(g, n, &r) ? row_bits(g, r.row) / 8 : 0;
}

/* ---- values ---- */

static uint64_t pc_base(const struct x86_state *s)
{
	bool wide = s->efer & X86_EFER_LMA && s->seg[X86_CS].attr & X86_ATTR_L;

	return wide ? 0 : s->seg[X86_CS].base;
}

static uint64_t control(const struct gdb_regs *g, const struct x86_state *s, unsigned n)
{
	const uint64_t wide[] = {s->cr0, s->cr2, s->cr3, s->cr4, s->cr8, s->efer},
		       half[] = {s->cr0, s->cr2, s->cr3, s->cr4, s->efer};

	return g->wide ? wide[n] : half[n];
}

/* Two bits a register of the stack's places: 3 if it is empty. */
static uint32_t tag_word(uint8_t used)
{
	uint32_t tags = 0;

	for (unsigned n = 0; n < 8; n++)
		tags |= (used >> n & 1 ? 0u : 3u) << (2 * n);
	return tags;
}

static uint32_t x87_word(const uint8_t *x, unsigned n)
{
	static const struct {
		uint8_t at, size;
	} where[] = {{FXSAVE_FCW, 2}, {FXSAVE_FSW, 2}, {FXSAVE_FTW, 1}, {FXSAVE_FCS, 2},
		{FXSAVE_FIP, 4}, {FXSAVE_FDS, 2}, {FXSAVE_FDP, 4}, {FXSAVE_FOP, 2}};
	uint32_t value = 0;

	memcpy(&value, x + where[n].at, where[n].size);
	return where[n].at == FXSAVE_FTW ? tag_word((uint8_t)value) : value;
}

/* A part that is in its initial state need not be in memory (SDM vol. 1, 13.6). */
static bool in_use(const struct x86_state *s, uint64_t part)
{
	uint64_t bv;

	memcpy(&bv, s->xsave + XSAVE_BV, sizeof(bv));
	return bv & part;
}

static void get_vector(const struct x86_state *s, const struct reg *r, uint8_t *out)
{
	const uint8_t *x = s->xsave;
	bool x87 = in_use(s, X86_XCR0_X87);
	uint32_t word = r->n ? r->n == 2 ? 0xffff : 0 : FCW_INIT;

	if (r->row->kind == ST && x87)
		memcpy(out, x + FXSAVE_ST + 16 * r->n, 10);
	else if (r->row->kind == XMM && in_use(s, X86_XCR0_SSE))
		memcpy(out, x + FXSAVE_XMM + 16 * r->n, 16);
	else if (r->row->kind == YMMH && in_use(s, X86_XCR0_AVX))
		memcpy(out, x + XSAVE_YMMH + 16 * r->n, 16);
	else if (r->row->kind == MXCSR)
		memcpy(out, x + FXSAVE_MXCSR, 4);
	if (r->row->kind == X87_WORD) {
		word = x87 ? x87_word(x, r->n) : word;
		memcpy(out, &word, 4);
	}
}

void gdb_reg_get(const struct gdb_regs *g, const struct x86_state *s, unsigned n, uint8_t *out)
{
	uint64_t value = 0;
	struct reg r;

	memset(out, 0, GDB_REG_BYTES);
	if (!find(g, n, &r))
		return;
	switch (r.row->kind) {
	case GPR:
		value = s->gpr[r.at];
		break;
	case PC:
		value = pc_base(s) + s->rip;
		break;
	case FLAGS:
		value = s->rflags;
		break;
	case SEG:
		value = s->seg[r.at].sel;
		break;
	case BASE:
		value = s->seg[r.at].base;
		break;
	case CONTROL:
		value = control(g, s, r.n);
		break;
	default:
		get_vector(s, &r, out);
		return;
	}
	memcpy(out, &value, MIN(row_bits(g, r.row) / 8, sizeof(value)));
}

/* ---- changes ---- */

#define FLAGS_WRITABLE                                                                             \
	(X86_FLAGS_ARITH | X86_TF | X86_IF | X86_DF | X86_IOPL | X86_NT | X86_RF | X86_AC | X86_ID)

static unsigned put_vector(struct x86_state *s, const struct reg *r, const uint8_t *in)
{
	uint64_t bv, part = 0;
	uint32_t mxcsr;

	memcpy(&bv, s->xsave + XSAVE_BV, sizeof(bv));
	if (r->row->kind == XMM) {
		part = X86_XCR0_SSE;
		if (!(bv & part))
			memset(s->xsave + FXSAVE_XMM, 0, 256);
		memcpy(s->xsave + FXSAVE_XMM + 16 * r->n, in, 16);
	} else if (r->row->kind == YMMH && s->xcr0 & X86_XCR0_AVX) {
		part = X86_XCR0_AVX;
		if (!(bv & part))
			memset(s->xsave + XSAVE_YMMH, 0, 256);
		memcpy(s->xsave + XSAVE_YMMH + 16 * r->n, in, 16);
	} else if (r->row->kind == MXCSR) {
		part = X86_XCR0_SSE;
		memcpy(&mxcsr, in, 4);
		mxcsr &= MXCSR_MASK;
		memcpy(s->xsave + FXSAVE_MXCSR, &mxcsr, 4);
	} else if (r->row->kind == ST && bv & X86_XCR0_X87) {
		part = X86_XCR0_X87;
		memcpy(s->xsave + FXSAVE_ST + 16 * r->n, in, 10);
	}
	bv |= part;
	memcpy(s->xsave + XSAVE_BV, &bv, sizeof(bv));
	return part ? X86_GROUP_FPU : 0;
}

unsigned gdb_reg_put(const struct gdb_regs *g, struct x86_state *s, unsigned n, const uint8_t *in)
{
	uint64_t value = 0;
	struct reg r;

	if (!find(g, n, &r))
		return 0;
	memcpy(&value, in, MIN(row_bits(g, r.row) / 8, sizeof(value)));
	switch (r.row->kind) {
	case GPR:
		s->gpr[r.at] = g->wide ? value : (s->gpr[r.at] & ~UINT64_C(0xffffffff)) | value;
		return X86_GROUP_GPR;
	case PC:
		s->rip = value - pc_base(s);
		return X86_GROUP_GPR;
	case FLAGS:
		s->rflags = (s->rflags & ~(uint64_t)FLAGS_WRITABLE) | (value & FLAGS_WRITABLE);
		return X86_GROUP_GPR;
	case BASE:
		if ((int64_t)(value << 16) >> 16 != (int64_t)value) /* not canonical */
			return 0;
		s->seg[r.at].base = value;
		return X86_GROUP_SEG;
	case SEG:
	case CONTROL:
	case X87_WORD:
		return 0;
	default:
		return put_vector(s, &r, in);
	}
}

/* ---- the description ---- */

/* Types that GDB does not know by itself. */
static void describe_types(enum feature f, FILE *out)
{
	if (f == SSE)
		fputs("<vector id=\"v4f\" type=\"ieee_single\" count=\"4\"/>"
		      "<vector id=\"v2d\" type=\"ieee_double\" count=\"2\"/>"
		      "<vector id=\"v16i8\" type=\"int8\" count=\"16\"/>"
		      "<vector id=\"v8i16\" type=\"int16\" count=\"8\"/>"
		      "<vector id=\"v4i32\" type=\"int32\" count=\"4\"/>"
		      "<vector id=\"v2i64\" type=\"int64\" count=\"2\"/>"
		      "<union id=\"vec128\"><field name=\"v4_float\" type=\"v4f\"/>"
		      "<field name=\"v2_double\" type=\"v2d\"/>"
		      "<field name=\"v16_int8\" type=\"v16i8\"/>"
		      "<field name=\"v8_int16\" type=\"v8i16\"/>"
		      "<field name=\"v4_int32\" type=\"v4i32\"/>"
		      "<field name=\"v2_int64\" type=\"v2i64\"/>"
		      "<field name=\"uint128\" type=\"uint128\"/></union>\n",
			out);
}

/* "eax ecx": the n-th word; "st%": with the number for the %. */
static void print_name(const char *names, unsigned n, FILE *out)
{
	const char *percent = strchr(names, '%');

	if (percent) {
		fprintf(out, "%.*s%u%s", (int)(percent - names), names, n, percent + 1);
		return;
	}
	for (; n; n--)
		names = strchr(names, ' ') + 1;
	fprintf(out, "%.*s", (int)strcspn(names, " "), names);
}

static void describe_row(const struct gdb_regs *g, const struct row *r, FILE *out)
{
	unsigned bits = row_bits(g, r);

	for (unsigned n = 0; n < row_count(g, r); n++) {
		fputs("<reg name=\"", out);
		print_name(r->name[g->wide], n, out);
		fprintf(out, "\" bitsize=\"%u\" type=\"%s%s\"/>\n", bits, r->type,
			strcmp(r->type, "int") ? ""
			: bits == 64           ? "64"
					       : "32");
	}
}

static bool has_feature(const struct gdb_regs *g, enum feature f)
{
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
		if (rows[i].feature == f && row_count(g, &rows[i]))
			return true;
	return false;
}

void gdb_regs_describe(const struct gdb_regs *g, FILE *out)
{
	fprintf(out,
		"<?xml version=\"1.0\"?>\n<!DOCTYPE target SYSTEM \"gdb-target.dtd\">\n"
		"<target version=\"1.0\">\n<architecture>i386%s</architecture>\n",
		g->wide ? ":x86-64" : "");
	for (enum feature f = 0; f < FEATURES; f++) {
		if (!has_feature(g, f))
			continue;
		fprintf(out, "<feature name=\"%s\">\n", feature_name[f]);
		describe_types(f, out);
		for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
			if (rows[i].feature == f)
				describe_row(g, &rows[i], out);
		fputs("</feature>\n", out);
	}
	fputs("</target>\n", out);
}
