/*
 * operand.c - memory operands, flags, and instructions that the host executes
 * with registers renamed.
 *
 * T0 holds the address of the memory operand; a register that lives in memory
 * is brought to T1 if ModRM.reg names it, else to T0.
 * Source: SDM vol. 2A chapter 2.
 */
#include "engine/translate/internal.h"

/* ---- flags ---- */

void need_flags_in_memory(struct emitter *e)
{
	if (e->flags != IN_HOST)
		return;
	if (e->n && flags_can_be_lost(e)) {
		e->flags = IN_RECIPE;
		e->recipe = e->t->recipes % RECIPES;
	} else {
		emit_save_flags(e->c);
		e->flags = IN_BOTH;
	}
}

void need_flags_in_host(struct emitter *e)
{
	if (e->flags == IN_MEMORY) {
		emit_restore_flags(e->c);
		e->flags = IN_BOTH;
	}
}

static void host_flags_lost(struct emitter *e)
{
	if (e->flags != IN_RECIPE)
		e->flags = IN_MEMORY;
}

/* ---- copies ---- */

/* What is known of an instruction's registers. */
struct form {
	bool modrm, memory, in_opcode;
	unsigned reg, rm;       /* of the guest; NOREG: none */
	bool reg_high, rm_high; /* AH to BH: not renamed */
	const struct x86_operand *reg_opnd, *rm_opnd;
};

static bool is_short_inc(const struct x86_insn *i)
{
	return i->map == X86_MAP_1 && (i->opcode & 0xf0) == 0x40;
}

static bool names_in_opcode(const struct x86_insn *i)
{
	if (i->map == X86_MAP_0F)
		return (i->opcode & 0xf8) == 0xc8; /* BSWAP */
	return i->map == X86_MAP_1 &&
	       (is_short_inc(i) || (i->opcode & 0xf8) == 0x90 || (i->opcode & 0xf0) == 0xb0);
}

static bool is_moffs(const struct x86_insn *i)
{
	return i->map == X86_MAP_1 && i->opcode >= 0xa0 && i->opcode <= 0xa3;
}

static struct form form_of(const struct tinsn *n)
{
	const struct x86_insn *i = &n->i;
	struct form f = {.reg = NOREG, .rm = NOREG};

	if (names_in_opcode(i)) {
		f.in_opcode = true;
		f.rm_opnd = &i->opnd[0];
		f.rm = i->opnd[0].reg;
		f.rm_high = i->opnd[0].high;
	}
	if (!i->has_modrm)
		return f;
	f.modrm = true;
	f.memory = i->modrm < 0xc0;
	f.rm_opnd = &i->opnd[n->rm_first ? 0 : 1];
	if (!f.memory) {
		f.rm = f.rm_opnd->reg;
		f.rm_high = f.rm_opnd->high;
	}
	if (!n->reg_is_opcode) {
		f.reg_opnd = &i->opnd[n->rm_first ? 1 : 0];
		f.reg = f.reg_opnd->reg;
		f.reg_high = f.reg_opnd->high;
	}
	return f;
}

/* These write all of the register: what was in it is not needed. */
static bool only_writes(const struct x86_insn *i, const struct x86_operand *o)
{
	return o == &i->opnd[0] && o->size >= 4 &&
	       (i->op == X86_OP_MOV || i->op == X86_OP_MOVZX || i->op == X86_OP_MOVSX ||
		       i->op == X86_OP_MOVSXD);
}

static unsigned bring(
	struct emitter *e, unsigned guest, const struct x86_operand *o, bool high, unsigned instead)
{
	if (guest == NOREG)
		return 0;
	if (high)
		return guest + 4;
	if (home(guest) != SPILLED)
		return home(guest);
	if (!only_writes(&e->n->i, o))
		load64(e->c, instead, in_state(GPR(guest)));
	return instead;
}

static void put_back(struct emitter *e, unsigned guest, const struct x86_operand *o, unsigned from)
{
	const struct x86_insn *i = &e->n->i;

	if (guest == NOREG || home(guest) != SPILLED)
		return;
	if (x86_insn_table[i->entry].access[o - i->opnd] & 2)
		store64(e->c, in_state(GPR(guest)), from);
}

/* SIL and DIL need a REX that AH to BH must not have. */
static bool needs_rex(const struct x86_insn *i)
{
	for (unsigned n = 0; n < i->nops; n++)
		if (i->opnd[n].kind == X86_OPND_GPR && i->opnd[n].size == 1 && !i->opnd[n].high &&
			i->opnd[n].reg >= X86_RSI)
			return true;
	return false;
}

static struct opcode opcode_of(const struct x86_insn *i)
{
	return (struct opcode){
		.prefix = i->map == X86_MAP_1 || !i->rep ? 0
			  : i->rep == X86_REP_F3         ? 0xf3
							 : 0xf2,
		.map = i->map,
		.byte = i->opcode,
		.w = i->rex & 8,
		.size16 = i->opsize_prefix,
		.lock = i->lock,
		.byte_regs = needs_rex(i),
	};
}

static void put_tail(struct emitter *e)
{
	put_bytes(e->c, e->n->bytes + e->n->tail, e->n->i.len - e->n->tail);
}

static void put_copy(struct emitter *e, const struct form *f, unsigned reg, unsigned rm)
{
	const struct x86_insn *i = &e->n->i;
	struct opcode o = opcode_of(i);

	if (e->n->no_prefix)
		o.prefix = 0;
	if (e->n->reg_is_opcode)
		reg = i->modrm >> 3 & 7;
	if (is_moffs(i)) {
		o.byte = (uint8_t)(0x88 | (i->opcode & 1) | (~i->opcode & 2));
		put_rm(e->c, o, RAX, e->mem);
		return;
	}
	if (f->memory) {
		put_rm(e->c, o, reg, e->mem);
	} else if (f->modrm) {
		put_rr(e->c, o, reg, rm);
	} else if (is_short_inc(i)) {
		o.byte = 0xff;
		put_rr(e->c, o, i->opcode >> 3 & 1, rm);
	} else {
		if (f->in_opcode)
			o.byte = (uint8_t)((i->opcode & 0xf8) | (rm & 7));
		put_opcode(e->c, o, 0, 0, f->in_opcode ? rm : 0);
	}
	put_tail(e);
}

bool needs_flags(const struct tinsn *n)
{
	const struct x86_insn_desc *d = &x86_insn_table[n->i.entry];
	bool changes = (d->flags_written | d->flags_undefined) & X86_FLAGS_ARITH;

	return n->reads || (changes && n->live & ~n->writes);
}

static bool needs_rex_for(struct mem m)
{
	return (m.base != NOREG && m.base >= R8) || (m.index != NOREG && m.index >= R8);
}

/* Before they are lost: for a recipe. */
static void store_operands(struct emitter *e, unsigned reg, unsigned rm)
{
	bool first = e->n->rm_first;

	store64(e->c, in_state(STATE(kept)), first ? rm : reg);
	if (e->n->i.opnd[1].kind != X86_OPND_IMM)
		store64(e->c, in_state(STATE(kept) + 8), first ? reg : rm);
	e->kept = e->at;
}

/* T1 becomes the operand that was reached. */
static void load_operand(struct emitter *e, unsigned size)
{
	if (size < 4)
		put_rm(e->c, OP_0F(size == 1 ? 0xb6 : 0xb7), T1, e->mem);
	else
		put_rm(e->c, (struct opcode){.byte = 0x8b, .w = size == 8}, T1, e->mem);
}

/* Its flags will be lost by an access: its operands are stored, one in memory is loaded. */
static void emit_with_stores(struct emitter *e, struct form f)
{
	bool loads = f.memory;
	unsigned reg, rm = T1;

	if (loads)
		load_operand(e, f.rm_opnd->size);
	reg = bring(e, f.reg, f.reg_opnd, false, loads ? T0 : T1);
	if (!loads)
		rm = bring(e, f.rm, f.rm_opnd, false, T0);
	f.memory = false;
	store_operands(e, reg, rm);
	put_copy(e, &f, reg, rm);
	put_back(e, f.reg, f.reg_opnd, reg);
	if (!loads)
		put_back(e, f.rm, f.rm_opnd, rm);
}

static void emit_plainly(struct emitter *e, const struct form *f)
{
	unsigned reg = bring(e, f->reg, f->reg_opnd, f->reg_high, T1);
	unsigned rm = bring(e, f->rm, f->rm_opnd, f->rm_high, T0);

	put_copy(e, f, reg, rm);
	if (is_division(&e->n->i) || e->n->i.op == X86_OP_CMPXCHG16B)
		exit_at_fault(e);
	put_back(e, f->reg, f->reg_opnd, reg);
	put_back(e, f->rm, f->rm_opnd, rm);
}

void note_new_flags(struct emitter *e)
{
	const struct x86_insn_desc *d = &x86_insn_table[e->n->i.entry];

	if (!((d->flags_written | d->flags_undefined) & X86_FLAGS_ARITH))
		return;
	e->flags = IN_HOST;
	e->producer = e->at;
}

void emit_copy(struct emitter *e)
{
	const struct tinsn *n = e->n;
	struct form f = form_of(n);

	reach_memory(e);
	if (is_division(&n->i))
		need_flags_in_memory(e);
	if (f.reg_high && f.memory && needs_rex_for(e->mem))
		address_to_t0(e);
	if (needs_flags(n))
		need_flags_in_host(e);
	if (stores_operands(e))
		emit_with_stores(e, f);
	else
		emit_plainly(e, &f);
	note_new_flags(e);
}

/* ---- LEA ---- */

void emit_lea(struct emitter *e)
{
	const struct x86_insn *i = &e->n->i;
	unsigned guest = i->opnd[0].reg, to = home(guest);

	if (i->opnd[0].size == 2) {
		emit_offset(e, T0, &i->mem, i->addrsize);
		if (to == SPILLED)
			put_rm(e->c, (struct opcode){.byte = 0x89, .size16 = true}, T0,
				in_state(GPR(guest)));
		else
			put_rr(e->c, (struct opcode){.byte = 0x8b, .size16 = true}, to, T0);
		return;
	}
	if (to == SPILLED)
		to = T0;
	emit_offset(e, to, &i->mem, i->addrsize);
	if (i->opnd[0].size == 4 && i->addrsize == 8) /* cut to 32 bits */
		mov_rr32(e->c, to, to);
	if (to == T0)
		store64(e->c, in_state(GPR(guest)), T0);
}

/* ---- bit strings ---- */

/* T1 becomes the guest's register, sign-extended. */
static void load_index(struct emitter *e, unsigned guest, bool w)
{
	const struct opcode extend = {.byte = w ? 0x8b : 0x63, .w = true};

	if (home(guest) == SPILLED)
		put_rm(e->c, extend, T1, in_state(GPR(guest)));
	else
		put_rr(e->c, extend, T1, home(guest));
}

/* The register's upper bits choose the word, with sign; the lower ones the bit in it. */
void emit_bits(struct emitter *e)
{
	const struct x86_insn *i = &e->n->i;
	struct code *c = e->c;
	bool w = i->opsize == 8, write = x86_insn_table[i->entry].access[0] & 2;
	struct mem word = {T0, T1, w ? 8 : 4, 0};

	need_flags_in_memory(e);
	emit_offset(e, T0, &i->mem, i->addrsize);
	load_index(e, i->opnd[1].reg, w);
	shift_imm(c, true, 7, T1, w ? 6 : 5);
	put_rm(c, (struct opcode){.byte = 0x8d, .w = i->addrsize == 8}, T0, word);
	host_flags_lost(e);
	add_segment(e, i->mem.seg, i->opsize);
	reach_at(e, i->opsize, write);
	load_index(e, i->opnd[1].reg, w);
	alu_imm32(c, false, 4, T1, w ? 63 : 31);
	if (needs_flags(e->n)) {
		store64(c, in_state(STATE(scratch)), T1);
		need_flags_in_host(e);
		load64(c, T1, in_state(STATE(scratch)));
	}
	put_rm(c, opcode_of(i), T1, at_reg(T0, 0));
	e->flags = IN_HOST;
	e->producer = e->at;
}
