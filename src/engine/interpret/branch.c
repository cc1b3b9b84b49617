/*
 * branch.c - jumps, calls, returns, loops and software interrupts.
 * Source: SDM vol. 2; vol. 3A 5.8 for far transfers.
 */
#include "engine/interpret/cpu.h"

/* A near target beyond CS's limit faults at the branch. */
static void go(struct cpu *c, const struct x86_insn *i, uint64_t target)
{
	target &= size_mask(i->opsize);
	if (target > c->s.seg[X86_CS].limit)
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
	uint64_t sp = stack_pointer(c), back = c->next_rip;

	go(c, i, near_target(c, i));
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

/* ---- far transfers ---- */

struct far_target {
	uint64_t off;
	uint16_t sel;
};

static struct far_target far_target(struct cpu *c, const struct x86_insn *i)
{
	struct far_target t = {(uint64_t)i->imm & size_mask(i->opsize), (uint16_t)i->imm2};
	uint64_t off;

	if (i->opnd[0].kind == X86_OPND_MEM) {
		off = address(c, i, &i->mem);
		t.off = load(c, i->mem.seg, off, i->opsize);
		t.sel = (uint16_t)load(
			c, i->mem.seg, (off + i->opsize) & size_mask(i->addrsize), 2);
	}
	return t;
}

static struct x86_seg new_code(struct cpu *c, uint16_t sel, unsigned new_cpl, bool is_return)
{
	if (protected_mode(c))
		return check_code(c, sel, new_cpl, is_return);
	return check_segment(c, X86_CS, sel);
}

static void check_target(struct cpu *c, const struct x86_seg *cs, uint64_t off)
{
	if (off > cs->limit)
		raise_error(c, X86_GP, 0);
}

void op_JMPF(struct cpu *c, const struct x86_insn *i)
{
	struct far_target t = far_target(c, i);
	struct x86_seg cs = new_code(c, t.sel, cpl(c), false);

	check_target(c, &cs, t.off);
	c->s.seg[X86_CS] = cs;
	c->next_rip = t.off;
}

void op_CALLF(struct cpu *c, const struct x86_insn *i)
{
	struct far_target t = far_target(c, i);
	struct x86_seg cs = new_code(c, t.sel, cpl(c), false);
	uint64_t sp = stack_pointer(c);

	check_target(c, &cs, t.off);
	push_at(c, &sp, i->opsize, c->s.seg[X86_CS].sel);
	push_at(c, &sp, i->opsize, c->next_rip);
	stack_commit(c, sp);
	c->s.seg[X86_CS] = cs;
	c->next_rip = t.off;
}

/* After a return to an outer ring, data segments of the inner one are emptied (SDM 5.8.6). */
static void drop_inner_segments(struct cpu *c, unsigned new_cpl)
{
	static const uint8_t list[] = {X86_ES, X86_DS, X86_FS, X86_GS};

	for (unsigned n = 0; n < sizeof(list); n++) {
		struct x86_seg *s = &c->s.seg[list[n]];
		bool conforming = (s->attr & 12) == 12;

		if (!conforming && (s->attr >> 5 & 3) < new_cpl)
			*s = (struct x86_seg){.attr = X86_ATTR_UNUSABLE};
	}
}

static void return_outward(struct cpu *c, const struct x86_insn *i, uint64_t sp,
	struct x86_seg cs, uint64_t off, uint64_t release)
{
	unsigned new_cpl = cs.sel & 3;
	uint64_t new_sp;
	uint16_t sel;
	struct x86_seg ss;

	sp += release;
	new_sp = pop_at(c, &sp, i->opsize);
	sel = (uint16_t)pop_at(c, &sp, i->opsize);
	ss = check_stack(c, sel, new_cpl, X86_GP);
	check_target(c, &cs, off);
	c->s.seg[X86_CS] = cs;
	c->s.seg[X86_SS] = ss;
	set_gpr(c, X86_RSP, ss.attr & X86_ATTR_DB ? 4 : 2, new_sp + release);
	drop_inner_segments(c, new_cpl);
	c->next_rip = off;
}

void op_RETF(struct cpu *c, const struct x86_insn *i)
{
	uint64_t sp = stack_pointer(c), off = pop_at(c, &sp, i->opsize);
	uint16_t sel = (uint16_t)pop_at(c, &sp, i->opsize);
	uint64_t release = i->nops ? (uint64_t)i->imm & 0xffff : 0;
	unsigned new_cpl = protected_mode(c) ? sel & 3 : cpl(c);
	struct x86_seg cs;

	/* CPUs read an outer stack pointer there before they look at the code segment. */
	if (protected_mode(c) && (i->nops || new_cpl > cpl(c)))
		load(c, X86_SS, (sp + release) & size_mask(c->s.seg[X86_SS].attr & X86_ATTR_DB ? 4 : 2),
			i->opsize * 2);
	if (new_cpl < cpl(c))
		raise_error(c, X86_GP, sel & ~3u);
	cs = new_code(c, sel, new_cpl, true);
	if (new_cpl > cpl(c)) {
		return_outward(c, i, sp, cs, off, release);
		return;
	}
	check_target(c, &cs, off);
	stack_commit(c, sp + release);
	c->s.seg[X86_CS] = cs;
	c->next_rip = off;
}

static uint64_t iret_flags(const struct cpu *c, const struct x86_insn *i, uint64_t value)
{
	uint64_t mask = X86_FLAGS_ARITH | X86_TF | X86_DF | X86_NT;

	if (cpl(c) == 0)
		mask |= X86_IOPL;
	if (cpl(c) <= (c->s.rflags >> 12 & 3))
		mask |= X86_IF;
	if (i->opsize == 4)
		mask |= X86_RF | X86_AC | X86_ID;
	return (c->s.rflags & ~mask) | (value & mask) | X86_FLAGS_FIXED;
}

void op_IRET(struct cpu *c, const struct x86_insn *i)
{
	uint64_t sp = stack_pointer(c), off, flags;
	uint16_t sel;
	struct x86_seg cs;
	unsigned new_cpl;

	if (protected_mode(c) && flag(c, X86_NT))
		raise_fatal(c, "the guest returns from a task, which engine interpret does not "
			       "do yet");
	off = pop_at(c, &sp, i->opsize);
	sel = (uint16_t)pop_at(c, &sp, i->opsize);
	flags = pop_at(c, &sp, i->opsize);
	if (protected_mode(c) && i->opsize == 4 && flags & X86_VM)
		raise_fatal(c, "the guest enters virtual-8086 mode, which engine interpret does "
			       "not do yet");
	new_cpl = protected_mode(c) ? sel & 3 : cpl(c);
	if (new_cpl < cpl(c))
		raise_error(c, X86_GP, sel & ~3u);
	cs = new_code(c, sel, new_cpl, true);
	flags = iret_flags(c, i, flags);
	if (new_cpl > cpl(c)) {
		return_outward(c, i, sp, cs, off, 0);
	} else {
		check_target(c, &cs, off);
		stack_commit(c, sp);
		c->s.seg[X86_CS] = cs;
		c->next_rip = off;
	}
	c->s.rflags = flags;
	c->s.events.nmi_masked = false;
}

/* ---- software interrupts ---- */

static void software_interrupt(struct cpu *c, uint8_t vector)
{
	deliver(c, vector, true, false, 0, c->next_rip);
	c->next_rip = c->s.rip;
}

void op_INT(struct cpu *c, const struct x86_insn *i)
{
	software_interrupt(c, (uint8_t)i->imm);
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

void op_INT1(struct cpu *c, const struct x86_insn *i)
{
	deliver(c, X86_DB, false, false, 0, c->next_rip);
	c->next_rip = c->s.rip;
}

void op_BOUND(struct cpu *c, const struct x86_insn *i)
{
	unsigned size = i->opsize;
	uint64_t off = address(c, i, &i->mem);
	int64_t index = extend(get(c, i, 0), size);
	int64_t low = extend(load(c, i->mem.seg, off, size), size);
	int64_t high = extend(
		load(c, i->mem.seg, (off + size) & size_mask(i->addrsize), size), size);

	if (index < low || index > high)
		raise_fault(c, X86_BR);
}
