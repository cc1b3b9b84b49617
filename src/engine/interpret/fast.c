/*
 * fast.c - see fast.h: the way from ops to bodies, and which op an instruction gets.
 */
#include "engine/interpret/fast.h"

/* ---- bodies ---- */

static const struct x86_insn *insn_of(const struct cpu *c, const struct op *op)
{
	return &c->insn[block_of(op)->first + op->number];
}

static insn_body *body(const struct cpu *c, const struct op *op)
{
	return c->insn_body[block_of(op)->first + op->number];
}

/* What an instruction may look at or leave behind in a fault becomes true. */
static const struct x86_insn *settle(struct cpu *c, const struct op *op, uint32_t f)
{
	const struct x86_insn *i = insn_of(c, op);

	put_flags(c, f);
	c->s.rip = c->block_rip + op->at;
	c->next_rip = c->s.rip + i->len;
	if (c->mode != X86_MODE_64) {
		c->s.rip = (uint32_t)c->s.rip;
		c->next_rip = (uint32_t)c->next_rip;
	}
	c->result->executed = c->block_start + op->number + 1;
	return i;
}

uint32_t run_general(struct cpu *c, const struct op *op, uint32_t f, uint64_t privilege)
{
	const struct x86_insn *i = settle(c, op, f);

	body(c, op)(c, i);
	f = get_flags(c);
	if (!c->look)
		NEXT;
	c->s.rip = c->next_rip;
	return f;
}

uint32_t run_last(struct cpu *c, const struct op *op, uint32_t f, uint64_t privilege)
{
	const struct x86_insn *i = settle(c, op, f);

	body(c, op)(c, i);
	c->s.rip = c->next_rip;
	return get_flags(c);
}

uint32_t run_system(struct cpu *c, const struct op *op, uint32_t f, uint64_t privilege)
{
	const struct x86_insn *i = settle(c, op, f);

	c->look = true;
	execute(c, i, body(c, op));
	return get_flags(c);
}

uint32_t run_end(struct cpu *c, const struct op *op, uint32_t f, uint64_t privilege)
{
	c->s.rip = c->block_rip + op->at;
	if (c->mode != X86_MODE_64)
		c->s.rip = (uint32_t)c->s.rip;
	c->link = way_of(op, 1);
	return f;
}

/* ---- operands ---- */

static uint16_t register_at(const struct x86_operand *o)
{
	return (uint16_t)(offsetof(struct cpu, s.gpr) + o->reg * sizeof(uint64_t) + o->high);
}

static bool is_mem(const struct x86_operand *o)
{
	return o->kind == X86_OPND_MEM && !o->reg;
}

static enum form form_of(const struct x86_insn *i, enum address_kind kind)
{
	const struct x86_operand *a = &i->opnd[0], *b = &i->opnd[1];
	bool imm = b->kind == X86_OPND_IMM || b->kind == X86_OPND_CONST || i->nops == 1;

	if (a->kind == X86_OPND_GPR && b->kind == X86_OPND_GPR)
		return FORM_RR;
	if (a->kind == X86_OPND_GPR && is_mem(b))
		return (enum form)(FORM_RM + kind);
	if (is_mem(a) && b->kind == X86_OPND_GPR)
		return (enum form)(FORM_MR + kind);
	if (a->kind == X86_OPND_GPR && imm)
		return FORM_RI;
	return is_mem(a) && imm ? (enum form)(FORM_MI + kind) : FORMS;
}

static enum address_kind kind_of(const struct cpu *c, const struct x86_insn *i)
{
	if (i->mem.seg >= X86_FS || (i->mem.seg == X86_CS && i->mode != X86_MODE_64))
		return KIND_SEG;
	if (i->mode == X86_MODE_64)
		return i->addrsize == 8 ? KIND_64 : KIND_32;
	return c->flat && i->addrsize == 4 ? KIND_32 : KIND_SEG;
}

static void fill_registers(const struct x86_insn *i, struct op *op)
{
	if (i->nops > 0 && i->opnd[0].kind == X86_OPND_GPR)
		op->dst = register_at(&i->opnd[0]);
	if (i->nops > 1 && i->opnd[1].kind == X86_OPND_GPR)
		op->src = register_at(&i->opnd[1]);
}

/* false: the displacement does not fit. */
static bool fill_address(const struct x86_insn *i, struct op *op)
{
	const struct x86_mem *m = &i->mem;
	int64_t disp = m->disp;

	op->base = op->index = (uint16_t)offsetof(struct cpu, zero);
	if (m->base == X86_REG_IP) {
		op->base = (uint16_t)offsetof(struct cpu, block_rip);
		disp += op->at + i->len;
	} else if (m->base < X86_GPR_COUNT) {
		op->base = (uint16_t)(offsetof(struct cpu, s.gpr) + m->base * sizeof(uint64_t));
	}
	if (m->index < X86_GPR_COUNT)
		op->index = (uint16_t)(offsetof(struct cpu, s.gpr) + m->index * sizeof(uint64_t));
	op->shift = m->scale > 1 ? (uint8_t)__builtin_ctz(m->scale) : 0; /* 0: no memory operand */
	op->seg = (uint8_t)(m->seg | i->addrsize << 4);
	op->disp = (int32_t)disp;
	return op->disp == disp;
}

static bool has_memory(const struct x86_insn *i)
{
	for (unsigned n = 0; n < i->nops; n++)
		if (i->opnd[n].kind == X86_OPND_MEM)
			return true;
	return false;
}

/* The op of one in the midst of a block, or NULL. */
static op_fn *plain_op(const struct cpu *c, const struct x86_insn *i)
{
	enum address_kind kind = kind_of(c, i);
	enum form form = form_of(i, kind);
	op_fn *fn = choose_alu(i, form);

	return fn ? fn : choose_move(i, form, c->flat);
}

static void fill_branch(const struct x86_insn *i, struct op *op)
{
	int64_t next = op->at + i->len;

	switch (i->opnd[0].kind) {
	case X86_OPND_REL:
		op->imm += next;
		op->disp = (int32_t)next;
		break;
	case X86_OPND_MEM: /* which needs disp for its address */
		op->imm = next;
		break;
	case X86_OPND_IMM: /* of RET */
		op->imm &= 0xffff;
		break;
	default:
		op->disp = (int32_t)next;
	}
}

static bool is_branch(const struct x86_insn *i)
{
	return x86_insn_table[i->entry].class == X86_CLASS_BRANCH;
}

void choose_op(const struct cpu *c, const struct x86_insn *i, unsigned at, struct op *op)
{
	op_fn *fn = NULL;

	*op = (struct op){.imm = i->imm, .at = (uint8_t)at};
	fill_registers(i, op);
	if (!has_memory(i) || fill_address(i, op)) {
		if (is_branch(i)) {
			fill_branch(i, op);
			fn = choose_branch(i, kind_of(c, i), c->flat);
		} else if (!i->lock) {
			fn = plain_op(c, i);
		}
	}
	op->fn = fn ? fn : run_general;
}
