/*
 * decode.c - bytes to struct x86_insn.
 *
 * Source: Intel SDM vol. 2A ch. 2 (prefixes, ModRM, SIB, REX, VEX), vol. 2D appendix A.
 * What an opcode means stands in insn.def; here is only how the bytes are laid out. Pure, no state.
 * Choices: outside 64-bit mode C4 and C5 with mod 3 are VEX, in 16-bit code too, where real and
 * virtual-8086 mode must turn them into #UD; near branches in 64-bit code ignore 66, as Intel does.
 */
#include "x86/insn.h"
#include "x86/row.h"
#include "x86/state.h"

#include <string.h>

/* REX bits (SDM vol. 2A table 2-4). */
#define REX_W 8u
#define REX_R 4u
#define REX_X 2u
#define REX_B 1u

struct cursor {
	const uint8_t *bytes;
	size_t avail;
	unsigned pos;
	enum x86_decode_status status; /* sticky: once not OK, fetches yield 0 */
	uint8_t seg;                   /* segment override, X86_NOREG if none */
};

static uint8_t peek(const struct cursor *c, unsigned ahead)
{
	return c->pos + ahead < c->avail ? c->bytes[c->pos + ahead] : 0;
}

/* Little-endian, n of 1, 2, 4, 8. */
static uint64_t fetch(struct cursor *c, unsigned n)
{
	uint64_t v = 0;

	if (c->status != X86_DECODE_OK)
		return 0;
	if (c->pos + n > c->avail || c->pos + n > X86_INSN_MAX) {
		c->status = c->avail < X86_INSN_MAX ? X86_DECODE_MORE : X86_DECODE_LONG;
		return 0;
	}
	memcpy(&v, c->bytes + c->pos, n);
	c->pos += n;
	return v;
}

static int64_t fetch_signed(struct cursor *c, unsigned n)
{
	unsigned unused = 64 - 8 * n;

	return (int64_t)(fetch(c, n) << unused) >> unused;
}

/* In 64-bit mode overrides other than FS and GS are null prefixes (SDM vol. 1 3.4.2.1). */
static void override(struct cursor *c, enum x86_mode mode, uint8_t seg)
{
	if (mode != X86_MODE_64 || seg >= X86_FS)
		c->seg = seg;
}

/* Takes one legacy prefix; false if b is none. */
static bool legacy_prefix(struct cursor *c, struct x86_insn *insn, uint8_t b)
{
	switch (b) {
	case 0x26:
	case 0x2e:
	case 0x36:
	case 0x3e:
		override(c, insn->mode, b >> 3 & 3);
		break;
	case 0x64:
	case 0x65:
		override(c, insn->mode, X86_FS + (b & 1));
		break;
	case 0x66:
		insn->opsize_prefix = true;
		break;
	case 0x67:
		insn->addrsize_prefix = true;
		break;
	case 0xf0:
		insn->lock = true;
		break;
	case 0xf2:
		insn->rep = X86_REP_F2;
		break;
	case 0xf3:
		insn->rep = X86_REP_F3;
		break;
	default:
		return false;
	}
	return true;
}

/* Legacy prefixes and REX; a REX that a legacy prefix follows does not count (SDM 2.2.1). */
static void prefixes(struct cursor *c, struct x86_insn *insn)
{
	for (;;) {
		uint8_t b = peek(c, 0);

		if (insn->mode == X86_MODE_64 && (b & 0xf0) == 0x40)
			insn->rex = b;
		else if (legacy_prefix(c, insn, b))
			insn->rex = 0;
		else
			return;
		fetch(c, 1);
		if (c->status != X86_DECODE_OK)
			return;
	}
}

static bool is_vex(const struct cursor *c, const struct x86_insn *insn, uint8_t b)
{
	if (b != 0xc4 && b != 0xc5)
		return false;
	return insn->mode == X86_MODE_64 || (peek(c, 0) & 0xc0) == 0xc0;
}

/* SDM vol. 2A 2.3.5; R, X, B and W are folded into insn->rex, pp into opsize_prefix and rep. */
static void vex_prefix(struct cursor *c, struct x86_insn *insn, uint8_t first)
{
	static const uint8_t rep[4] = {X86_REP_NONE, X86_REP_NONE, X86_REP_F3, X86_REP_F2};
	uint8_t b = (uint8_t)fetch(c, 1);
	uint8_t rex = b & 0x80 ? 0 : REX_R;

	if (insn->lock || insn->rep || insn->opsize_prefix || insn->rex)
		c->status = X86_DECODE_UD;
	insn->map = X86_MAP_0F;
	if (first == 0xc4) {
		rex |= (b & 0x40 ? 0 : REX_X) | (b & 0x20 ? 0 : REX_B);
		insn->map = b & 0x1f;
		b = (uint8_t)fetch(c, 1);
		rex |= b & 0x80 ? REX_W : 0;
	}
	insn->vex = true;
	insn->vex_l = b & 4;
	insn->vvvv = ~b >> 3 & 15;
	insn->opsize_prefix = (b & 3) == 1;
	insn->rep = rep[b & 3];
	if (c->status == X86_DECODE_OK && (insn->map < X86_MAP_0F || insn->map > X86_MAP_0F3A))
		c->status = X86_DECODE_UD;
	insn->rex = 0x40 | rex;
	if (insn->mode != X86_MODE_64)
		insn->rex &= 0x40 | REX_W;
}

static void opcode(struct cursor *c, struct x86_insn *insn)
{
	uint8_t b = (uint8_t)fetch(c, 1);

	insn->map = X86_MAP_1;
	if (is_vex(c, insn, b)) {
		vex_prefix(c, insn, b);
		b = (uint8_t)fetch(c, 1);
	} else if (b == 0x0f) {
		insn->map = X86_MAP_0F;
		b = (uint8_t)fetch(c, 1);
		if (b == 0x38 || b == 0x3a) {
			insn->map = b == 0x38 ? X86_MAP_0F38 : X86_MAP_0F3A;
			b = (uint8_t)fetch(c, 1);
		}
	}
	insn->opcode = b;
}

static bool prefix_fits(const struct x86_insn *insn, enum x86_pfx pfx)
{
	bool p66 = insn->opsize_prefix;
	bool f3 = insn->rep == X86_REP_F3;
	bool f2 = insn->rep == X86_REP_F2;

	switch (pfx) {
	case X86_PFX_NP:
		return !p66 && !f3 && !f2;
	case X86_PFX_NF:
		return !f3 && !f2;
	case X86_PFX_66:
		return p66 && !f3 && !f2;
	case X86_PFX_F3:
		return f3;
	case X86_PFX_F2:
		return f2;
	case X86_PFX__:
		break;
	}
	return true;
}

static bool modrm_fits(const struct x86_insn *insn, const struct x86_row *row)
{
	bool reg_form = insn->modrm >= 0xc0;

	if ((row->attr & X86_ROW_REG && !reg_form) || (row->attr & X86_ROW_MEM && reg_form))
		return false;
	if (row->ext <= 7)
		return row->ext == (insn->modrm >> 3 & 7);
	return row->ext == X86_EXT__ || row->ext == insn->modrm;
}

static bool mode_fits(const struct x86_insn *insn, const struct x86_row *row)
{
	bool w = insn->rex & REX_W;

	if (row->attr & (insn->mode == X86_MODE_64 ? X86_ROW_I64 : X86_ROW_O64))
		return false;
	if (row->attr & (w ? X86_ROW_W0 : X86_ROW_W1))
		return false;
	if (row->attr & X86_ROW_NOREXB && insn->rex & REX_B)
		return false;
	if (!(row->attr & X86_ROW_VEX) != !insn->vex)
		return false;
	return !(insn->vex && row->attr & (insn->vex_l ? X86_ROW_L0 : X86_ROW_L1));
}

static bool wants_modrm(const struct x86_row *row)
{
	return row->ext != X86_EXT__ || row->letter[0] >> 8 >= X86_FROM_RM ||
	       row->letter[1] >> 8 >= X86_FROM_RM;
}

static bool same_opcode(const struct x86_insn *insn, const struct x86_row *row)
{
	return row->map == insn->map && (uint8_t)(insn->opcode - row->opcode) < row->span;
}

/* The row of insn's opcode that fits, reading the ModRM byte if any of them wants one. */
static const struct x86_row *find_row(struct cursor *c, struct x86_insn *insn)
{
	const struct x86_row *last = &x86_rows[x86_row_index[insn->map * 256 + insn->opcode]];
	const struct x86_row *row;

	for (row = last; same_opcode(insn, row) && row != x86_rows && !insn->has_modrm; row--)
		insn->has_modrm = mode_fits(insn, row) && wants_modrm(row);
	if (insn->has_modrm)
		insn->modrm = (uint8_t)fetch(c, 1);
	if (c->status != X86_DECODE_OK)
		return NULL;
	for (row = last; row != x86_rows && same_opcode(insn, row); row--)
		if (mode_fits(insn, row) && prefix_fits(insn, row->pfx) && modrm_fits(insn, row))
			return row;
	c->status = X86_DECODE_UD;
	return NULL;
}

static void sizes(struct x86_insn *insn, const struct x86_row *row)
{
	bool is64 = insn->mode == X86_MODE_64;
	/* A 66 that selects the row is no operand-size prefix. */
	bool p66 = insn->opsize_prefix && row->pfx != X86_PFX_66;

	insn->opsize = (insn->mode == X86_MODE_16) != p66 ? 2 : 4;
	if (is64 && (row->attr & X86_ROW_F64 || insn->rex & REX_W))
		insn->opsize = 8;
	else if (is64 && row->attr & X86_ROW_D64 && !p66)
		insn->opsize = 8;
	if (is64)
		insn->addrsize = insn->addrsize_prefix ? 4 : 8;
	else
		insn->addrsize = (insn->mode == X86_MODE_16) != insn->addrsize_prefix ? 2 : 4;
}

static uint8_t width_bytes(const struct x86_insn *insn, enum x86_width width)
{
	bool is64 = insn->mode == X86_MODE_64;
	uint8_t vector = insn->vex_l ? 32 : 16;

	switch (width) {
	case X86_WIDTH_NONE:
		return 0;
	case X86_WIDTH_B:
		return 1;
	case X86_WIDTH_W:
		return 2;
	case X86_WIDTH_YB:
		return insn->modrm >= 0xc0 ? 4 : 1;
	case X86_WIDTH_YW:
		return insn->modrm >= 0xc0 ? 4 : 2;
	case X86_WIDTH_D:
		return 4;
	case X86_WIDTH_Q:
		return 8;
	case X86_WIDTH_DQ:
		return 16;
	case X86_WIDTH_QQ:
		return 32;
	case X86_WIDTH_T:
		return 10;
	case X86_WIDTH_V:
		return insn->opsize;
	case X86_WIDTH_Z:
		return insn->opsize == 2 ? 2 : 4;
	case X86_WIDTH_Y:
		return is64 && insn->rex & REX_W ? 8 : 4;
	case X86_WIDTH_M:
		return is64 ? 8 : 4;
	case X86_WIDTH_P:
		return insn->opsize + 2;
	case X86_WIDTH_A:
		return insn->opsize * 2;
	case X86_WIDTH_S:
		return is64 ? 10 : 6;
	case X86_WIDTH_X:
		return vector;
	case X86_WIDTH_H:
		return vector / 2;
	case X86_WIDTH_ZW:
		return insn->modrm >= 0xc0 && insn->opsize != 2 ? 4 : 2;
	case X86_WIDTH_VW:
		return insn->modrm >= 0xc0 ? insn->opsize : 2;
	}
	return 0;
}

static uint8_t modrm_reg(const struct x86_insn *insn)
{
	return (insn->modrm >> 3 & 7) | (insn->rex & REX_R ? 8 : 0);
}

static uint8_t modrm_rm(const struct x86_insn *insn)
{
	return (insn->modrm & 7) | (insn->rex & REX_B ? 8 : 0);
}

/* Outside 64-bit mode bit 3 is ignored where vvvv names a register. */
static uint8_t vvvv_reg(const struct x86_insn *insn)
{
	return insn->mode == X86_MODE_64 ? insn->vvvv : insn->vvvv & 7;
}

static void gpr(const struct x86_insn *insn, struct x86_operand *o, uint8_t reg)
{
	o->kind = X86_OPND_GPR;
	o->reg = reg;
	if (o->size == 1 && !insn->rex && reg >= 4) {
		o->high = true;
		o->reg = reg - 4;
	}
}

/* Default segment: SS where the base is rSP or rBP, else DS. */
static void mem_segment(const struct cursor *c, struct x86_mem *m)
{
	bool stack = m->base == X86_RSP || m->base == X86_RBP;

	m->seg = c->seg != X86_NOREG ? c->seg : stack ? X86_SS : X86_DS;
}

/* SDM vol. 2A table 2-1. */
static void mem16(struct cursor *c, struct x86_insn *insn)
{
	static const uint8_t base[8] = {
		X86_RBX, X86_RBX, X86_RBP, X86_RBP, X86_RSI, X86_RDI, X86_RBP, X86_RBX};
	static const uint8_t index[8] = {
		X86_RSI, X86_RDI, X86_RSI, X86_RDI, X86_NOREG, X86_NOREG, X86_NOREG, X86_NOREG};
	struct x86_mem *m = &insn->mem;
	unsigned mod = insn->modrm >> 6, rm = insn->modrm & 7;

	m->base = base[rm];
	m->index = index[rm];
	m->scale = 1;
	if (mod == 0 && rm == 6) {
		m->base = X86_NOREG;
		m->disp = fetch_signed(c, 2);
	} else if (mod != 0) {
		m->disp = fetch_signed(c, mod);
	}
	mem_segment(c, m);
}

/* SDM vol. 2A table 2-3. Returns the SIB base field. */
static uint8_t sib(struct cursor *c, struct x86_insn *insn)
{
	struct x86_mem *m = &insn->mem;
	uint8_t b = (uint8_t)fetch(c, 1);

	m->scale = 1 << (b >> 6);
	m->index = (b >> 3 & 7) | (insn->rex & REX_X ? 8 : 0);
	if (m->index == X86_RSP)
		m->index = X86_NOREG;
	m->base = (b & 7) | (insn->rex & REX_B ? 8 : 0);
	return b & 7;
}

/* SDM vol. 2A tables 2-2 and 2-7. */
static void mem32(struct cursor *c, struct x86_insn *insn)
{
	struct x86_mem *m = &insn->mem;
	unsigned mod = insn->modrm >> 6;
	uint8_t low = insn->modrm & 7;
	bool has_sib = low == 4;

	m->base = modrm_rm(insn);
	m->index = X86_NOREG;
	m->scale = 1;
	if (has_sib)
		low = sib(c, insn);
	if (mod == 0 && low == 5) {
		m->base = !has_sib && insn->mode == X86_MODE_64 ? X86_REG_IP : X86_NOREG;
		m->disp = fetch_signed(c, 4);
	} else if (mod != 0) {
		m->disp = fetch_signed(c, mod == 1 ? 1 : 4);
	}
	mem_segment(c, m);
}

static void modrm_mem(struct cursor *c, struct x86_insn *insn)
{
	if (insn->addrsize == 2)
		mem16(c, insn);
	else
		mem32(c, insn);
}

/* A string operand: no displacement, base rSI or rDI. */
static void string_mem(struct x86_mem *m, uint8_t base, uint8_t seg)
{
	m->base = base;
	m->index = X86_NOREG;
	m->scale = 1;
	m->disp = 0;
	m->seg = seg;
}

static void moffs(struct cursor *c, struct x86_insn *insn)
{
	insn->mem.base = X86_NOREG;
	insn->mem.index = X86_NOREG;
	insn->mem.scale = 1;
	insn->mem.disp = (int64_t)fetch(c, insn->addrsize);
	insn->mem.seg = c->seg != X86_NOREG ? c->seg : X86_DS;
}

static void rm_operand(const struct x86_insn *insn, struct x86_operand *o)
{
	if (insn->modrm >= 0xc0)
		gpr(insn, o, modrm_rm(insn));
	else
		o->kind = X86_OPND_MEM;
}

/* CR0, CR2, CR3, CR4, CR8 and DR0-DR7 exist (SDM vol. 2B, MOV to/from control registers). */
static void system_register(struct cursor *c, const struct x86_insn *insn, struct x86_operand *o,
	enum x86_operand_kind kind)
{
	unsigned exist = kind == X86_OPND_CR ? 0x11d : 0xff;

	o->kind = kind;
	o->reg = modrm_reg(insn);
	if (!(exist >> o->reg & 1))
		c->status = X86_DECODE_UD;
}

static void segment_register(struct cursor *c, const struct x86_insn *insn, struct x86_operand *o)
{
	o->kind = X86_OPND_SEG;
	o->reg = insn->modrm >> 3 & 7;
	if (o->reg > X86_GS || (o->reg == X86_CS && o == &insn->opnd[0]))
		c->status = X86_DECODE_UD;
}

/* An immediate of the operand's width, but never more than 4 bytes unless the letter is Iv. */
static void immediate(
	struct cursor *c, struct x86_insn *insn, struct x86_operand *o, uint16_t letter)
{
	uint8_t bytes = o->size;

	if (letter == X86_LETTER_Is)
		bytes = 1;
	if (letter == X86_LETTER_Iz)
		o->size = insn->opsize;
	o->kind = X86_OPND_IMM;
	insn->imm = fetch_signed(c, bytes);
}

static void far_pointer(struct cursor *c, struct x86_insn *insn, struct x86_operand *o)
{
	o->kind = X86_OPND_FAR;
	insn->imm = (int64_t)fetch(c, o->size - 2);
	insn->imm2 = (int64_t)fetch(c, 2);
}

/* Operands that need no ModRM byte. */
static void fixed_operand(
	struct cursor *c, struct x86_insn *insn, struct x86_operand *o, uint16_t letter)
{
	enum x86_from from = letter >> 8;

	switch (from) {
	case X86_FROM_RAX:
	case X86_FROM_RCX:
	case X86_FROM_RDX:
		o->kind = X86_OPND_GPR;
		o->reg = from - X86_FROM_RAX;
		break;
	case X86_FROM_OPCODE:
		gpr(insn, o, (insn->opcode & 7) | (insn->rex & REX_B ? 8 : 0));
		break;
	case X86_FROM_ES:
	case X86_FROM_CS:
	case X86_FROM_SS:
	case X86_FROM_DS:
	case X86_FROM_FS:
	case X86_FROM_GS:
		o->kind = X86_OPND_SEG;
		o->reg = from - X86_FROM_ES;
		break;
	case X86_FROM_ONE:
		o->kind = X86_OPND_CONST;
		insn->imm = 1;
		break;
	case X86_FROM_IMM:
	case X86_FROM_IMM_SIGNED:
		immediate(c, insn, o, letter);
		break;
	case X86_FROM_IMM_UNSIGNED:
		o->kind = X86_OPND_IMM;
		insn->imm = (int64_t)fetch(c, o->size);
		break;
	case X86_FROM_IMM2:
		o->kind = X86_OPND_IMM2;
		insn->imm2 = (int64_t)fetch(c, o->size);
		break;
	case X86_FROM_REL:
		o->kind = X86_OPND_REL;
		insn->imm = fetch_signed(c, o->size);
		break;
	case X86_FROM_FAR:
		far_pointer(c, insn, o);
		break;
	case X86_FROM_MOFFS:
		o->kind = X86_OPND_MEM;
		moffs(c, insn);
		break;
	case X86_FROM_SRC:
		o->kind = X86_OPND_MEM;
		string_mem(&insn->mem, X86_RSI, c->seg != X86_NOREG ? c->seg : X86_DS);
		break;
	case X86_FROM_DST:
		o->kind = X86_OPND_MEM;
		o->reg = X86_MEM2;
		string_mem(&insn->mem2, X86_RDI, X86_ES);
		break;
	case X86_FROM_ST0:
		o->kind = X86_OPND_ST;
		break;
	case X86_FROM_XMM0:
		o->kind = X86_OPND_XMM;
		break;
	default:
		break;
	}
}

/* Bits 7:4 of an immediate byte (VEX /is4); outside 64-bit mode bit 7 is ignored. */
static void is4(struct cursor *c, struct x86_insn *insn, struct x86_operand *o)
{
	insn->imm = (int64_t)fetch(c, 1);
	o->kind = X86_OPND_XMM;
	o->reg = insn->imm >> 4 & (insn->mode == X86_MODE_64 ? 15 : 7);
}

/* A vector of indices needs a SIB byte, whose index 4 is a register like the others (SDM 2.3.12).
 */
static void vsib(struct cursor *c, struct x86_insn *insn, struct x86_operand *o)
{
	o->kind = X86_OPND_MEM;
	if (insn->addrsize == 2 || (insn->modrm & 7) != 4)
		c->status = X86_DECODE_UD;
	if (insn->mem.index == X86_NOREG)
		insn->mem.index = X86_RSP;
}

/* Operands that the ModRM byte, VEX.vvvv or an immediate names. */
static void modrm_operand(
	struct cursor *c, struct x86_insn *insn, struct x86_operand *o, enum x86_from from)
{
	switch (from) {
	case X86_FROM_RM:
		rm_operand(insn, o);
		break;
	case X86_FROM_RM_REG:
		gpr(insn, o, modrm_rm(insn));
		break;
	case X86_FROM_REG:
		gpr(insn, o, modrm_reg(insn));
		break;
	case X86_FROM_VVVV:
		gpr(insn, o, vvvv_reg(insn));
		break;
	case X86_FROM_SEG:
		segment_register(c, insn, o);
		break;
	case X86_FROM_CR:
		system_register(c, insn, o, X86_OPND_CR);
		break;
	case X86_FROM_DR:
		system_register(c, insn, o, X86_OPND_DR);
		break;
	case X86_FROM_STI:
		o->kind = X86_OPND_ST;
		o->reg = insn->modrm & 7;
		break;
	case X86_FROM_MMX_REG: /* REX.R and REX.B do not extend MMX registers */
		o->kind = X86_OPND_MMX;
		o->reg = insn->modrm >> 3 & 7;
		break;
	case X86_FROM_MMX_RM:
		if (insn->modrm >= 0xc0) {
			o->kind = X86_OPND_MMX;
			o->reg = insn->modrm & 7;
		} else {
			o->kind = X86_OPND_MEM;
		}
		break;
	case X86_FROM_XMM_REG:
		o->kind = X86_OPND_XMM;
		o->reg = modrm_reg(insn);
		break;
	case X86_FROM_XMM_VVVV:
		o->kind = X86_OPND_XMM;
		o->reg = vvvv_reg(insn);
		break;
	case X86_FROM_XMM_IS4:
		is4(c, insn, o);
		break;
	case X86_FROM_VSIB:
		vsib(c, insn, o);
		break;
	case X86_FROM_XMM_RM:
		if (insn->modrm >= 0xc0) {
			o->kind = X86_OPND_XMM;
			o->reg = modrm_rm(insn);
		} else {
			o->kind = X86_OPND_MEM;
		}
		break;
	default:
		break;
	}
}

static void operands(struct cursor *c, struct x86_insn *insn, const struct x86_row *row)
{
	for (unsigned i = 0; i < 4 && row->letter[i]; i++) {
		struct x86_operand *o = &insn->opnd[i];
		enum x86_from from = row->letter[i] >> 8;

		o->size = width_bytes(insn, row->letter[i] & 0xff);
		if (from >= X86_FROM_RM)
			modrm_operand(c, insn, o, from);
		else
			fixed_operand(c, insn, o, row->letter[i]);
		insn->nops++;
	}
}

/* VEX.vvvv must be 1111b where no operand uses it (SDM vol. 2A 2.3.5.6). */
static bool vvvv_fits(const struct x86_insn *insn, const struct x86_row *row)
{
	if (!insn->vex || !insn->vvvv)
		return true;
	for (unsigned i = 0; i < 4; i++) {
		enum x86_from from = row->letter[i] >> 8;

		if (from == X86_FROM_VVVV || from == X86_FROM_XMM_VVVV)
			return true;
	}
	return false;
}

/* Destination, indices and mask of a gather are three registers. */
static bool gather_fits(const struct x86_insn *insn, const struct x86_row *row)
{
	uint8_t to = insn->opnd[0].reg, index = insn->mem.index, mask = insn->opnd[2].reg;

	return row->letter[1] >> 8 != X86_FROM_VSIB || (to != index && to != mask && index != mask);
}

static bool lock_fits(const struct x86_insn *insn, const struct x86_row *row)
{
	return !insn->lock || (row->attr & X86_ROW_LOCK && insn->modrm < 0xc0);
}

static void body(struct cursor *c, struct x86_insn *insn, const struct x86_row *row)
{
	insn->entry = (uint16_t)(row - x86_rows);
	insn->op = x86_insn_table[insn->entry].op;
	if (row->span == 16)
		insn->cc = insn->opcode & 15;
	sizes(insn, row);
	if (insn->has_modrm && insn->modrm < 0xc0 && !(row->attr & X86_ROW_ANYMOD))
		modrm_mem(c, insn);
	operands(c, insn, row);
	if (c->status == X86_DECODE_OK &&
		!(lock_fits(insn, row) && vvvv_fits(insn, row) && gather_fits(insn, row)))
		c->status = X86_DECODE_UD;
}

enum x86_decode_status x86_decode(
	const uint8_t *bytes, size_t avail, enum x86_mode mode, struct x86_insn *insn)
{
	struct cursor c = {.bytes = bytes, .avail = avail, .seg = X86_NOREG};
	const struct x86_row *row;

	memset(insn, 0, sizeof(*insn));
	insn->mode = mode;
	prefixes(&c, insn);
	insn->seg_prefix = c.seg != X86_NOREG;
	insn->mem.seg = insn->seg_prefix ? c.seg : X86_DS; /* XLAT's, and where nothing else says */
	opcode(&c, insn);
	if (c.status == X86_DECODE_OK) {
		row = find_row(&c, insn);
		if (row)
			body(&c, insn, row);
	}
	if (c.status != X86_DECODE_OK)
		insn->op = X86_OP_INVALID;
	insn->len = c.pos;
	return c.status;
}
