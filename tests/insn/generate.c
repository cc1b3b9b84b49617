/*
 * generate.c - random instructions with states that make them do something.
 *
 * An encoding is random bytes, shaped (prefixes, opcode map, small
 * displacements), or aims at a row of the opcode table; our own decoder takes it. Registers get
 * values from the corners of arithmetic; then the registers that form an address are solved so that
 * most memory operands land in the area of their segment. Source of the shapes: SDM vol. 2A
 * chapter 2.
 */
#include "generate.h"

#include <string.h>

#include "util/util.h"
#include "x86/row.h"

#define NOP 0x90

uint64_t rng_next(struct rng *r)
{
	r->s ^= r->s >> 12;
	r->s ^= r->s << 25;
	r->s ^= r->s >> 27;
	return r->s * UINT64_C(0x2545f4914f6cdd1d);
}

uint32_t rng_below(struct rng *r, uint32_t n)
{
	return (uint32_t)((rng_next(r) >> 32) * n >> 32);
}

bool rng_one_in(struct rng *r, uint32_t n)
{
	return rng_below(r, n) == 0;
}

/* splitmix64, so that neighbouring case numbers start far apart. */
static struct rng case_rng(const struct generator *g, uint64_t number)
{
	uint64_t z = g->seed * UINT64_C(0x9e3779b97f4a7c15) + number + ((uint64_t)g->mode << 56);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	z ^= z >> 31;
	return (struct rng){z ? z : 1};
}

/* ---- encodings ---- */

static unsigned put_prefixes(struct rng *r, enum x86_mode mode, uint8_t *b)
{
	static const uint8_t segment[] = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65};
	unsigned n = 0;

	if (rng_one_in(r, 4))
		b[n++] = 0x66;
	if (rng_one_in(r, 5))
		b[n++] = 0x67;
	if (rng_one_in(r, 5))
		b[n++] = segment[rng_below(r, ARRAY_SIZE(segment))];
	if (rng_one_in(r, 6))
		b[n++] = rng_one_in(r, 2) ? 0xf2 : 0xf3;
	if (rng_one_in(r, 12))
		b[n++] = 0xf0;
	if (mode == X86_MODE_64 && rng_one_in(r, 2))
		b[n++] = 0x40 | (uint8_t)rng_below(r, 16);
	return n;
}

/* SDM vol. 2A 2.3.5; vvvv is often 1111b, which most operand forms ask for. */
static unsigned put_vex(struct rng *r, uint8_t *b)
{
	unsigned n = 0;

	if (rng_one_in(r, 3)) {
		b[n++] = 0xc5;
	} else {
		b[n++] = 0xc4;
		b[n++] = (uint8_t)(rng_below(r, 8) << 5 | (1 + rng_below(r, 3)));
	}
	b[n++] = (uint8_t)rng_next(r) | (rng_one_in(r, 2) ? 0x78 : 0);
	return n;
}

static unsigned put_map(struct rng *r, uint8_t *b)
{
	unsigned n = 0, what = rng_below(r, 16);

	if (rng_one_in(r, 24))
		return put_vex(r, b);

	if (what >= 10)
		b[n++] = 0x0f;
	if (what == 14)
		b[n++] = 0x38;
	if (what == 15)
		b[n++] = 0x3a;
	return n;
}

/* Displacements and immediates: often small or sign-extended, so that they stay near. */
static void put_tail(struct rng *r, uint8_t *b, unsigned at)
{
	for (unsigned i = at; i < X86_INSN_MAX + 1; i++)
		b[i] = (uint8_t)rng_next(r);
	switch (rng_below(r, 4)) {
	case 0:
		memset(b + at + 2, 0, 2);
		break;
	case 1:
		memset(b + at + 1, b[at] & 0x80 ? 0xff : 0, 3);
		break;
	case 2: /* behind a SIB byte */
		memset(b + at + 3, 0, 2);
		break;
	}
}

/* ---- encodings that aim at a row of the table ---- */

static unsigned put_row_prefixes(
	struct rng *r, enum x86_mode mode, const struct x86_row *row, uint8_t *b)
{
	static const uint8_t mandatory[] = {
		[X86_PFX_66] = 0x66, [X86_PFX_F3] = 0xf3, [X86_PFX_F2] = 0xf2};
	static const uint8_t segment[] = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65};
	bool free = row->pfx == X86_PFX__ || row->pfx == X86_PFX_NF;
	unsigned n = 0;

	if (rng_one_in(r, 5))
		b[n++] = 0x67;
	if (rng_one_in(r, 5))
		b[n++] = segment[rng_below(r, ARRAY_SIZE(segment))];
	if (row->attr & X86_ROW_LOCK && rng_one_in(r, 4))
		b[n++] = 0xf0;
	if (row->attr & X86_ROW_VEX)
		return n;
	if ((free || row->pfx >= X86_PFX_F3) && rng_one_in(r, 4))
		b[n++] = 0x66;
	if (free && row->pfx == X86_PFX__ && rng_one_in(r, 8))
		b[n++] = rng_one_in(r, 2) ? 0xf2 : 0xf3;
	if (row->pfx >= X86_PFX_66)
		b[n++] = mandatory[row->pfx];
	if (mode == X86_MODE_64 && (row->attr & X86_ROW_W1 || rng_one_in(r, 2)))
		b[n++] = 0x40 | (uint8_t)rng_below(r, 16) | (row->attr & X86_ROW_W1 ? 8 : 0);
	return n;
}

static unsigned put_row_map(const struct x86_row *row, uint8_t *b)
{
	unsigned n = 0;

	if (row->map != X86_MAP_1)
		b[n++] = 0x0f;
	if (row->map == X86_MAP_0F38)
		b[n++] = 0x38;
	if (row->map == X86_MAP_0F3A)
		b[n++] = 0x3a;
	return n;
}

/* Both forms; what the row leaves open is random, and vvvv is often 1111b. */
static unsigned put_row_vex(struct rng *r, const struct x86_row *row, uint8_t *b)
{
	static const uint8_t pp[] = {[X86_PFX_66] = 1, [X86_PFX_F3] = 2, [X86_PFX_F2] = 3};
	unsigned l = row->attr & X86_ROW_L0 ? 0 : row->attr & X86_ROW_L1 ? 1 : rng_below(r, 2);
	unsigned w = row->attr & X86_ROW_W0 ? 0 : row->attr & X86_ROW_W1 ? 1 : rng_below(r, 2);
	unsigned vvvv = rng_one_in(r, 3) ? 15 : rng_below(r, 16), n = 0;
	unsigned low = vvvv << 3 | l << 2 | pp[row->pfx];

	if (row->map == X86_MAP_0F && !(row->attr & X86_ROW_W1) && rng_one_in(r, 3)) {
		b[n++] = 0xc5;
		b[n++] = (uint8_t)(rng_below(r, 2) << 7 | low);
		return n;
	}
	b[n++] = 0xc4;
	b[n++] = (uint8_t)(rng_below(r, 8) << 5 | row->map);
	b[n++] = (uint8_t)(w << 7 | low);
	return n;
}

static uint8_t row_modrm(struct rng *r, const struct x86_row *row)
{
	unsigned modrm = rng_below(r, 256);

	if (row->ext >= 0xc0)
		return row->ext;
	if (row->ext <= 7)
		modrm = (modrm & 0xc7) | (unsigned)row->ext << 3;
	if (row->attr & X86_ROW_REG)
		modrm |= 0xc0;
	if (row->letter[1] >> 8 == X86_FROM_VSIB) /* SIB follows */
		modrm = (modrm & ~7u) | 4;
	if (row->attr & X86_ROW_MEM && modrm >= 0xc0)
		modrm -= 0x40u * (1 + rng_below(r, 3));
	return (uint8_t)modrm;
}

static unsigned aim_at_row(struct rng *r, enum x86_mode mode, uint8_t *b)
{
	const struct x86_row *row = &x86_rows[1 + rng_below(r, x86_insn_table_count - 1)];
	unsigned n = put_row_prefixes(r, mode, row, b);

	if (row->attr & X86_ROW_VEX)
		n += put_row_vex(r, row, b + n);
	else
		n += put_row_map(row, b + n);
	b[n++] = (uint8_t)(row->opcode + rng_below(r, row->span));
	b[n++] = row_modrm(r, row);
	return n;
}

static bool try_encoding(const struct generator *g, struct rng *r, struct insn_case *c)
{
	unsigned n;

	if (rng_one_in(r, 2)) {
		n = aim_at_row(r, g->mode, c->bytes);
	} else {
		n = put_prefixes(r, g->mode, c->bytes);
		n += put_map(r, c->bytes + n);
		c->bytes[n++] = (uint8_t)rng_next(r); /* opcode */
		c->bytes[n++] = (uint8_t)rng_next(r); /* ModRM, where there is one */
	}
	put_tail(r, c->bytes, n);
	return x86_decode(c->bytes, X86_INSN_MAX, g->mode, &c->insn) == X86_DECODE_OK &&
	       g->wanted(g->ctx, &c->insn);
}

/* ---- registers ---- */

static uint64_t interesting(struct rng *r)
{
	static const uint64_t corner[] = {0, 1, 2, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff,
		0x7fffffff, 0x80000000, 0xffffffff, INT64_MAX, (uint64_t)INT64_MIN, UINT64_MAX};

	if (rng_one_in(r, 24)) /* selectors: null, the LDT's, the GDT's */
		return rng_below(r, 2) * 4 + rng_below(r, 16) * 8 + (rng_one_in(r, 2) ? 3 : 0);
	switch (rng_below(r, 5)) {
	case 0:
		return corner[rng_below(r, ARRAY_SIZE(corner))];
	case 1:
		return rng_below(r, 0x48); /* shift counts, small numbers */
	case 2:                            /* the corner of each size at once */
		return corner[rng_below(r, ARRAY_SIZE(corner))] * UINT64_C(0x0000000100010001);
	default:
		return rng_next(r);
	}
}

static unsigned segment_base(const struct insn_case *c, unsigned seg)
{
	if (!c->flat)
		return area_of(seg);
	return seg == X86_FS ? FLAT_FS_BASE : seg == X86_GS ? FLAT_GS_BASE : 0;
}

static uint64_t address_mask(unsigned addrsize)
{
	return size_mask(addrsize);
}

/* FXSAVE, XSAVE and what reads their images. */
static bool is_state(const struct x86_insn *insn)
{
	return insn->op == X86_OP_FXSAVE || insn->op == X86_OP_FXRSTOR ||
	       insn->op == X86_OP_XSAVE || insn->op == X86_OP_XSAVEC ||
	       insn->op == X86_OP_XSAVEOPT || insn->op == X86_OP_XRSTOR;
}

/* Where an operand should land: an offset in its segment. */
static uint64_t target_offset(struct rng *r, const struct insn_case *c, unsigned seg)
{
	uint32_t off = 0x400 + rng_below(r, AREA_SIZE - 0x800);

	if (rng_one_in(r, 40)) /* at the limit */
		off = AREA_SIZE - 1 - rng_below(r, 16);
	else if (rng_one_in(r, 40))
		off = rng_below(r, 16);
	if (!rng_one_in(r, 4))
		off &= is_state(&c->insn) ? ~63u : ~7u;
	if (c->flat)
		return AREA_BASE + AREA_SIZE * (1 + rng_below(r, AREA_COUNT - 1)) + off -
		       segment_base(c, seg);
	return off;
}

static void put_low(uint64_t *reg, uint64_t value, unsigned size)
{
	uint64_t mask = address_mask(size);

	*reg = (*reg & ~mask) | (value & mask);
}

/* Its index is a vector register. */
static bool is_gather(const struct x86_insn *insn)
{
	return insn->nops > 1 && x86_rows[insn->entry].letter[1] >> 8 == X86_FROM_VSIB;
}

static uint64_t mem_offset(const struct insn_case *c, const struct x86_mem *m)
{
	uint64_t off = (uint64_t)m->disp;

	if (m->base == X86_REG_IP)
		off += CODE_BASE + c->regs.rip + c->insn.len;
	else if (m->base != X86_NOREG)
		off += c->regs.gpr[m->base];
	if (m->index != X86_NOREG && !is_gather(&c->insn))
		off += c->regs.gpr[m->index & 15] * m->scale;
	return off & address_mask(c->insn.addrsize);
}

static bool uses_mem2(const struct x86_insn *insn)
{
	return x86_insn_table[insn->entry].class == X86_CLASS_STRING || insn->op == X86_OP_INS ||
	       insn->op == X86_OP_OUTS;
}

static bool uses_mem(const struct x86_insn *insn)
{
	if (uses_mem2(insn) || insn->op == X86_OP_XLAT)
		return true;
	for (unsigned i = 0; i < insn->nops; i++)
		if (insn->opnd[i].kind == X86_OPND_MEM)
			return true;
	return false;
}

/* Chooses base (or index) so that the operand lies at its target. */
static void solve_address(struct rng *r, struct insn_case *c, const struct x86_mem *m)
{
	uint64_t want = target_offset(r, c, m->seg);
	unsigned size = c->insn.addrsize;

	if (rng_one_in(r, 16))
		return;
	if (m->base < X86_GPR_COUNT && (m->base != m->index || is_gather(&c->insn))) {
		put_low(&c->regs.gpr[m->base], c->regs.gpr[m->base] + want - mem_offset(c, m),
			size);
	} else if (m->base == m->index && m->base < X86_GPR_COUNT) {
		put_low(&c->regs.gpr[m->base], (want - (uint64_t)m->disp) / (m->scale + 1u), size);
	} else if (m->base == X86_NOREG && m->index != X86_NOREG && !is_gather(&c->insn)) {
		put_low(&c->regs.gpr[m->index & 15], (want - (uint64_t)m->disp) / m->scale, size);
	}
}

static void put_stack(struct rng *r, struct insn_case *c)
{
	uint64_t top = 0x1000 + rng_below(r, AREA_SIZE - 0x2000);

	if (rng_one_in(r, 64))
		top = rng_one_in(r, 2) ? rng_below(r, 24) : AREA_SIZE - rng_below(r, 24);
	if (!rng_one_in(r, 8))
		top &= ~7u;
	if (c->flat)
		c->regs.gpr[X86_RSP] = area_of(X86_SS) + top;
	else if (c->mode == X86_MODE_32)
		c->regs.gpr[X86_RSP] = top;
	else
		put_low(&c->regs.gpr[X86_RSP], top, 2);
	if (rng_one_in(r, 2)) /* a frame for ENTER and LEAVE */
		put_low(&c->regs.gpr[X86_RBP], c->regs.gpr[X86_RSP] + 8u * rng_below(r, 8),
			c->mode == X86_MODE_16 ? 2 : 8);
}

static void put_registers(struct rng *r, struct insn_case *c)
{
	static const uint32_t flags = X86_FLAGS_ARITH | X86_DF;

	for (unsigned i = 0; i < X86_GPR_COUNT; i++)
		c->regs.gpr[i] = interesting(r);
	c->regs.rip = 0x100 + rng_below(r, AREA_SIZE - 0x200);
	c->regs.rflags = (rng_next(r) & flags) | X86_FLAGS_FIXED | X86_IF;
	if (!rng_one_in(r, 4))
		c->regs.rflags &= ~(uint64_t)X86_DF;
	put_stack(r, c);
	if (uses_mem2(&c->insn))
		solve_address(r, c, &c->insn.mem2);
	if (uses_mem(&c->insn))
		solve_address(r, c, &c->insn.mem);
	if (c->mode != X86_MODE_64)
		for (unsigned i = 0; i < X86_GPR_COUNT; i++)
			c->regs.gpr[i] = i < 8 ? (uint32_t)c->regs.gpr[i] : 0;
	for (unsigned seg = 0; seg < 6; seg++)
		c->regs.sel[seg] = c->flat && c->mode == X86_MODE_32 ? flat_selector(seg)
								     : case_selector(c->mode, seg);
}

/* ---- memory ---- */

/* ENTER pushes most: 31 frame pointers and two more words of up to 8 bytes. */
#define WINDOW_BELOW (WINDOW_SIZE - 48)

/* How much of the window lies below the operand: little where it is a whole FPU state. */
static uint32_t below(const struct insn_case *c)
{
	if (is_state(&c->insn))
		return 0;
	if (c->insn.op == X86_OP_FNSAVE || c->insn.op == X86_OP_FRSTOR)
		return 48;
	return WINDOW_BELOW;
}

/* A window around a linear address, if that lies in an area; random bytes, a corner at it. */
static void put_window(struct rng *r, struct insn_case *c, unsigned n, uint64_t addr)
{
	struct insn_window *w = &c->window[n];
	uint32_t start, end;
	uint64_t v;

	if (addr < AREA_BASE || addr >= AREA_END)
		return;
	start = c->flat ? AREA_BASE : (uint32_t)addr & ~(AREA_SIZE - 1);
	end = (c->flat ? AREA_END : start + AREA_SIZE) - WINDOW_SIZE;
	w->addr = (uint32_t)MIN(MAX(addr - below(c), start), end);
	for (unsigned i = 0; i < WINDOW_SIZE; i += 8) {
		v = rng_next(r);
		memcpy(w->bytes + i, &v, 8);
	}
	v = interesting(r);
	if (addr - w->addr <= WINDOW_SIZE - 8)
		memcpy(w->bytes + (addr - w->addr), &v, 8);
}

/* Makes a window's bytes an image that FXRSTOR or XRSTOR may take. */
static void put_image(struct rng *r, struct insn_window *w)
{
	static const uint64_t format[] = {0, 0, UINT64_C(1) << 63 | 7, UINT64_C(1) << 63 | 3};
	uint64_t header[8] = {rng_below(r, 8), format[rng_below(r, ARRAY_SIZE(format))]};
	uint32_t mxcsr = (uint32_t)rng_next(r) & 0xffff;

	if (!rng_one_in(r, 16))
		memcpy(w->bytes + FPU_HEADER, header, sizeof(header));
	if (!rng_one_in(r, 16))
		memcpy(w->bytes + 24, &mxcsr, sizeof(mxcsr));
}

/* What IRET pops: mostly a target that can be returned to, with TF so that the trap comes. */
static void put_return(
	struct rng *r, const struct insn_case *c, struct insn_window *w, uint64_t top)
{
	static const uint16_t flat[] = {0x33, 0x33, 0x33, 0x23};
	unsigned size = c->insn.opsize, count = c->mode == X86_MODE_64 ? 5 : 3;
	uint64_t word[5] = {0x100 + rng_below(r, AREA_SIZE - 0x200),
		case_selector(rng_below(r, 2) ? X86_MODE_32 : X86_MODE_16, X86_CS),
		(rng_next(r) & (X86_FLAGS_ARITH | X86_IF | X86_DF | X86_AC)) | X86_TF, 0,
		case_selector(X86_MODE_32, X86_SS)};

	word[3] = 0x1000 + rng_below(r, AREA_SIZE - 0x2000);
	if (c->mode == X86_MODE_64 && rng_below(r, 4)) {
		word[0] += CODE_BASE;
		word[1] = flat[rng_below(r, ARRAY_SIZE(flat))];
		word[3] += area_of(X86_SS);
		word[4] = 0x2b;
	}
	if (rng_one_in(r, 8))
		word[rng_below(r, count)] = interesting(r) | X86_TF;
	for (unsigned n = 0; n < count && top - w->addr + (n + 1) * size <= WINDOW_SIZE; n++)
		memcpy(w->bytes + (top - w->addr) + n * size, &word[n], size);
}

static uint64_t stack_linear(const struct insn_case *c, unsigned reg)
{
	uint64_t off = c->regs.gpr[reg];

	return segment_base(c, X86_SS) + (c->mode == X86_MODE_16 ? off & 0xffff : off);
}

/* Bit strings: the operand is displaced by the bit offset (SDM vol. 2A 3.1.1.9, figure 3-2). */
static int64_t bit_string_offset(const struct insn_case *c)
{
	const struct x86_operand *bit = &c->insn.opnd[1];
	unsigned op = c->insn.op;
	int64_t n;

	if (bit->kind != X86_OPND_GPR ||
		(op != X86_OP_BT && op != X86_OP_BTS && op != X86_OP_BTR && op != X86_OP_BTC))
		return 0;
	n = (int64_t)c->regs.gpr[bit->reg];
	n = bit->size == 2 ? (int16_t)n : bit->size == 4 ? (int32_t)n : n;
	return (n >> (bit->size == 2 ? 4 : bit->size == 4 ? 5 : 6)) * bit->size;
}

static uint64_t operand_linear(const struct insn_case *c, const struct x86_mem *m)
{
	uint64_t off = mem_offset(c, m);

	if (m == &c->insn.mem)
		off += (uint64_t)bit_string_offset(c);
	if (c->insn.op == X86_OP_XLAT)
		off += c->regs.gpr[X86_RAX] & 0xff;
	return segment_base(c, m->seg) + (off & address_mask(c->insn.addrsize));
}

static void put_windows(struct rng *r, struct insn_case *c)
{
	if (uses_mem(&c->insn))
		put_window(r, c, 0, operand_linear(c, &c->insn.mem));
	if (c->insn.op == X86_OP_MASKMOVQ || c->insn.op == X86_OP_MASKMOVDQU)
		put_window(r, c, 0,
			segment_base(c, c->insn.mem.seg) +
				(c->regs.gpr[X86_RDI] & address_mask(c->insn.addrsize)));
	if (uses_mem2(&c->insn))
		put_window(r, c, 1, operand_linear(c, &c->insn.mem2));
	if (is_state(&c->insn) && c->window[0].addr)
		put_image(r, &c->window[0]);
	put_window(r, c, 2, stack_linear(c, X86_RSP));
	if (c->insn.op == X86_OP_IRET && c->window[2].addr)
		put_return(r, c, &c->window[2], stack_linear(c, X86_RSP));
	if (c->mode == X86_MODE_16 && (c->regs.gpr[X86_RSP] & 0xffff) < WINDOW_BELOW)
		put_window(r, c, 3, area_of(X86_SS) + AREA_SIZE - 1); /* SP wraps */
	else
		put_window(r, c, 3, stack_linear(c, X86_RBP));
}

/* Where windows overlap, both hold what is there in the end: the later one's bytes. */
static void settle_overlaps(struct insn_case *c)
{
	for (unsigned later = 1; later < WINDOW_COUNT; later++)
		for (unsigned w = 0; w < later; w++) {
			struct insn_window *to = &c->window[w], *from = &c->window[later];
			uint32_t start = MAX(to->addr, from->addr);
			uint32_t end = MIN(to->addr, from->addr) + WINDOW_SIZE;

			if (to->addr && from->addr && start < end)
				memcpy(to->bytes + (start - to->addr),
					from->bytes + (start - from->addr), end - start);
		}
}

/* ---- x87 and SSE ---- */

/* A double or a float that means something: small integers, fractions, edges. */
static uint64_t number_64(struct rng *r)
{
	static const double corner[] = {0.0, -0.0, 1.0, -1.0, 0.5, 3.0, 1e308, 4.9e-324, 2.2e-308,
		65536.5, -2147483648.0, 1e20};
	double d;
	uint64_t v;

	if (rng_below(r, 2))
		d = corner[rng_below(r, ARRAY_SIZE(corner))];
	else
		d = (double)(int32_t)rng_next(r) / (double)(1u << rng_below(r, 31));
	memcpy(&v, &d, 8);
	return v;
}

static uint32_t number_32(struct rng *r)
{
	uint64_t v = number_64(r);
	double d;
	float f;
	uint32_t w;

	memcpy(&d, &v, 8);
	f = d > 3e38 ? 3e38f : (float)d;
	memcpy(&w, &f, 4);
	return w;
}

static uint64_t vector_word(struct rng *r)
{
	switch (rng_below(r, 4)) {
	case 0:
		return number_64(r);
	case 1:
		return number_32(r) | (uint64_t)number_32(r) << 32;
	case 2: /* infinities and NaNs */
		return rng_below(r, 2) ? UINT64_C(0x7ff0000000000000) | (rng_next(r) & 0xf)
				       : UINT64_C(0xffc000007f800001);
	default:
		return interesting(r);
	}
}

static void put_st(struct rng *r, uint8_t *st)
{
	uint64_t fraction = interesting(r);
	uint16_t exponent = (uint16_t)(0x3fff + (int)rng_below(r, 80) - 16);

	switch (rng_below(r, 8)) {
	case 0:
		exponent = 0;
		break;
	case 1:
		exponent = 0x7fff;
		break;
	case 2:
		exponent = (uint16_t)rng_next(r) & 0x7fff;
		break;
	default:
		break;
	}
	if (rng_below(r, 8)) /* normal */
		fraction |= UINT64_C(1) << 63;
	if (rng_below(r, 2))
		exponent |= 0x8000;
	memcpy(st, &fraction, 8);
	memcpy(st + 8, &exponent, 2);
}

/* Where quadword n of a vector register lies. */
static unsigned vector_at(unsigned reg, unsigned n)
{
	return (n < 2 ? FPU_XMM : FPU_YMM - 16) + reg * 16 + n * 8;
}

/* Small distances, whether they are read by 32 or by 64 bits. */
static void put_indices(struct rng *r, struct insn_case *c, unsigned reg)
{
	bool narrow = rng_one_in(r, 2);

	for (unsigned n = 0; n < 4; n++) {
		int64_t v = (int64_t)rng_below(r, 0x100) - 0x80;

		if (narrow)
			v = (v & UINT32_MAX) | (int64_t)rng_below(r, 0x100) << 32;
		if (rng_one_in(r, 60))
			v = (int64_t)interesting(r);
		memcpy(c->fpu + vector_at(reg, n), &v, 8);
	}
}

static void put_fpu(struct rng *r, struct insn_case *c)
{
	uint16_t fcw = 0x37f, fsw = (uint16_t)(rng_next(r) & 0x7f00);
	uint32_t mxcsr = 0x1f80;

	if (!rng_below(r, 4))
		fcw = (uint16_t)((rng_next(r) & 0xf00) | 0x7f);
	if (!rng_below(r, 8))
		fcw = (uint16_t)((fcw & ~0x3fu) | (rng_next(r) & 0x3f));
	if (!rng_below(r, 4))
		fsw |= rng_next(r) & 0x3f & fcw;
	if (!rng_below(r, 4))
		mxcsr |= rng_next(r) & 0xe07f;
	if (!rng_below(r, 8))
		mxcsr = (mxcsr & ~0x1f80u) | (rng_next(r) & 0x1f80);
	memcpy(c->fpu, &fcw, 2);
	memcpy(c->fpu + 2, &fsw, 2);
	c->fpu[4] = rng_below(r, 2) ? 0xff : (uint8_t)rng_next(r);
	memcpy(c->fpu + 24, &mxcsr, 4);
	for (unsigned n = 0; n < 8; n++)
		put_st(r, c->fpu + FPU_ST + n * 16);
	for (unsigned n = 0; n < 64; n++) {
		uint64_t v = vector_word(r);

		memcpy(c->fpu + vector_at(n / 4, n % 4), &v, 8);
	}
	if (is_gather(&c->insn))
		put_indices(r, c, c->insn.mem.index);
}

static bool uses_fpu(const struct x86_insn *insn)
{
	return insn->map != X86_MAP_1 || insn->vex || (insn->opcode & 0xf8) == 0xd8;
}

void generate_case(const struct generator *g, uint64_t number, struct insn_case *c)
{
	struct rng r = case_rng(g, number);

	memset(c, 0, sizeof(*c));
	c->number = number;
	c->mode = (uint8_t)g->mode;
	c->flat = g->flat || g->mode == X86_MODE_64;
	while (!try_encoding(g, &r, c))
		;
	c->bytes[c->insn.len] = NOP; /* behind MOV SS the trap comes an instruction later */
	put_registers(&r, c);
	put_windows(&r, c);
	if (uses_fpu(&c->insn))
		put_fpu(&r, c);
	else
		memcpy(c->fpu, (uint16_t[]){0x37f}, 2);
	settle_overlaps(c);
}
