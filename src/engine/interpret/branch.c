/*
 * branch.c - near jumps, calls, returns, loops and software interrupts.
 * Source: SDM vol. 2.
 */
#include "engine/interpret/cpu.h"

/* A near target beyond CS's limit, or that is not canonical, faults at the branch. */
static void go(struct cpu *c, const struct x86_insn *i, uint64_t target)
{
	target &= size_mask(i->opsize);
	if (c->mode == X86_MODE_64 ? !is_canonical(target) : target > c->s.seg[X86_CS].limit)
		raise_error(c, X86_GP, 0);
	c->next_rip = target;
}

static uint64_t relative(const struct cpu *c, const struct x86_insn *i)
{
	return c->next_rip + (uint64_t)i->imm;
}

void op_J(struct cpu *c, const struct x86_insn *i)
{
	if (condition(c, i->cc))
		go(c, i, relative(c, i));
}

static uint64_t near_target(struct cpu *c, const struct x86_insn *i)
{
	return i->opnd[0].kind == X86_OPND_REL ? relative(c, i) : get(c, i, 0);
}

void op_JMP(struct cpu *c, const struct x86_insn *i)
{
	go(c, i, near_target(c, i));
}

void op_CALL(struct cpu *c, const struct x86_insn *i)
{
	uint64_t sp = stack_pointer(c), back = c->next_rip, target = near_target(c, i);

	probe_push(c, sp, i->opsize); /* #SS comes before #GP */
	go(c, i, target);
	push_at(c, &sp, i->opsize, back);
	stack_commit(c, sp);
}

void op_RET(struct cpu *c, const struct x86_insn *i)
{
	uint64_t sp = stack_pointer(c);

	go(c, i, pop_at(c, &sp, i->opsize));
	stack_commit(c, sp + (i->nops ? (uint64_t)i->imm & 0xffff : 0));
}

static void loop(struct cpu *c, const struct x86_insn *i, bool taken)
{
	uint64_t count = (c->s.gpr[X86_RCX] - 1) & size_mask(i->addrsize);

	if (count && taken)
		go(c, i, relative(c, i));
	set_gpr(c, X86_RCX, i->addrsize, count);
}

void op_LOOP(struct cpu *c, const struct x86_insn *i)
{
	loop(c, i, true);
}

void op_LOOPE(struct cpu *c, const struct x86_insn *i)
{
	loop(c, i, flag(c, X86_ZF));
}

void op_LOOPNE(struct cpu *c, const struct x86_insn *i)
{
	loop(c, i, !flag(c, X86_ZF));
}

void op_JCXZ(struct cpu *c, const struct x86_insn *i)
{
	if (!get_gpr(c, X86_RCX, i->addrsize))
		go(c, i, relative(c, i));
}

/* ---- software interrupts ---- */

static void software_interrupt(struct cpu *c, uint8_t vector)
{
	deliver(c, vector, true, false, 0, c->next_rip);
	c->next_rip = c->s.rip;
}

void op_INT(struct cpu *c, const struct x86_insn *i)
{
	if (!stays_in_v86(c, (uint8_t)i->imm)) {
		software_interrupt(c, (uint8_t)i->imm);
		return;
	}
	deliver_in_v86(c, (uint8_t)i->imm, c->next_rip);
	c->next_rip = c->s.rip;
}

void op_INT3(struct cpu *c, const struct x86_insn *i)
{
	software_interrupt(c, X86_BP);
}

void op_INTO(struct cpu *c, const struct x86_insn *i)
{
	if (flag(c, X86_OF))
		software_interrupt(c, X86_OFV);
}

/* Breakpoints that a MOV SS held back come with this #DB, and not with another. */
void op_INT1(struct cpu *c, const struct x86_insn *i)
{
	c->s.dr[6] = (c->s.dr[6] & ~UINT64_C(15)) | c->s.events.db_held;
	c->s.events.db_held = 0;
	deliver(c, X86_DB, false, false, 0, c->next_rip);
	c->next_rip = c->s.rip;
}

void op_BOUND(struct cpu *c, const struct x86_insn *i)
{
	unsigned size = i->opsize;
	uint64_t off = address(c, i, &i->mem);
	int64_t index = extend(get(c, i, 0), size);
	int64_t low = extend(load(c, i->mem.seg, off, size), size);
	int64_t high =
		extend(load(c, i->mem.seg, (off + size) & size_mask(i->addrsize), size), size);

	if (index < low || index > high)
		raise_fault(c, X86_BR);
}
