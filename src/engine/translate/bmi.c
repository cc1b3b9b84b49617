/*
 * bmi.c - BMI1 and BMI2 with VEX: copied with up to three general registers
 * renamed. ADCX, MOVBE, CRC32 and the like have two, and go the way of all
 * others (operand.c).
 *
 * What lives in memory comes to T0 as ModRM.rm, which an operand in memory
 * needs for itself, and to T1 as ModRM.reg and VEX.vvvv: of these one is a source
 * and the other a destination, but for MULX, which writes both.
 * Source: SDM vol. 2A 2.3.5 (VEX), 2.6.14 (general registers); vol. 2.
 */
#include "engine/translate/internal.h"

bool is_bmi(const struct x86_insn *i)
{
	if (!i->vex)
		return false;
	if (i->map == X86_MAP_0F3A)
		return i->opcode == 0xf0;
	return i->map == X86_MAP_0F38 && i->opcode >= 0xf2 && i->opcode <= 0xf7;
}

/* BLSR and its kin: the destination is VEX.vvvv, ModRM.reg says which. */
static bool is_group(const struct x86_insn *i)
{
	return i->map == X86_MAP_0F38 && i->opcode == 0xf3;
}

struct registers {
	const struct x86_operand *reg, *rm, *vvvv; /* or NULL; rm may be memory */
};

static struct registers operands_of(const struct x86_insn *i)
{
	const struct x86_operand *o = i->opnd;

	if (is_group(i))
		return (struct registers){NULL, &o[1], &o[0]};
	if (i->map == X86_MAP_0F3A)
		return (struct registers){&o[0], &o[1], NULL};
	if (i->opcode == 0xf7 || (i->opcode == 0xf5 && !i->rep))
		return (struct registers){&o[0], &o[1], &o[2]};
	return (struct registers){&o[0], &o[2], &o[1]};
}

static bool has(const struct x86_insn *i, const struct x86_operand *o, unsigned access)
{
	return x86_insn_table[i->entry].access[o - i->opnd] & access;
}

/* The host's register for the operand; loaded if it is read. */
static unsigned bring(struct emitter *e, const struct x86_operand *o, unsigned instead)
{
	if (!o || o->kind != X86_OPND_GPR)
		return 0;
	if (home(o->reg) != SPILLED)
		return home(o->reg);
	if (has(&e->n->i, o, 1))
		load64(e->c, instead, in_state(GPR(o->reg)));
	return instead;
}

static void put_back(struct emitter *e, const struct x86_operand *o, unsigned from)
{
	if (o && o->kind == X86_OPND_GPR && home(o->reg) == SPILLED && has(&e->n->i, o, 2))
		store64(e->c, in_state(GPR(o->reg)), from);
}

/* Outside 64-bit code W means nothing. */
static void put_vex(struct emitter *e, unsigned reg, unsigned rm, unsigned vvvv)
{
	static const uint8_t prefix[] = {0, 2, 3}; /* by enum x86_rep */
	const struct x86_insn *i = &e->n->i;
	bool memory = i->modrm < 0xc0;
	unsigned base = memory ? e->mem.base : rm, w = wide(e) && i->rex & 8;
	unsigned index = memory && e->mem.index != NOREG ? e->mem.index : 0;
	unsigned rxb = (reg >> 3 & 1) << 2 | (index >> 3 & 1) << 1 | (base >> 3 & 1);
	unsigned pp = i->rep ? prefix[i->rep] : i->opsize_prefix;

	put8(e->c, 0xc4);
	put8(e->c, (~rxb & 7) << 5 | i->map);
	put8(e->c, w << 7 | (~vvvv & 15) << 3 | pp);
	put8(e->c, i->opcode);
	if (memory)
		put_mem(e->c, reg, e->mem);
	else
		put8(e->c, 0xc0 | (reg & 7) << 3 | (rm & 7));
	put_bytes(e->c, e->n->bytes + e->n->tail, i->len - e->n->tail);
}

void emit_bmi(struct emitter *e)
{
	const struct x86_insn *i = &e->n->i;
	struct registers r = operands_of(i);
	unsigned reg, rm, vvvv;

	reach_memory(e);
	if (needs_flags(e->n))
		need_flags_in_host(e);
	rm = bring(e, r.rm, T0);
	reg = is_group(i) ? i->modrm >> 3 & 7u : bring(e, r.reg, T1);
	vvvv = bring(e, r.vvvv, i->op == X86_OP_MULX ? T0 : T1);
	put_vex(e, reg, rm, vvvv);
	put_back(e, r.vvvv, vvvv);
	put_back(e, r.reg, reg); /* MULX twice into one: the upper half stays */
	note_new_flags(e);
}
