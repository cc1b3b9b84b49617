/*
 * stack.c - PUSH, POP and their families, ENTER and LEAVE.
 * Source: SDM vol. 2; vol. 1 6.2.3 for the width of the stack pointer.
 */
#include "engine/interpret/cpu.h"

/* The B flag of SS tells how many bits of RSP count; in 64-bit mode all do. */
static unsigned stack_width(const struct cpu *c)
{
	if (c->mode == X86_MODE_64)
		return 8;
	return c->s.seg[X86_SS].attr & X86_ATTR_DB ? 4 : 2;
}

uint64_t stack_pointer(const struct cpu *c)
{
	return get_gpr(c, X86_RSP, stack_width(c));
}

void push_at(struct cpu *c, uint64_t *sp, unsigned size, uint64_t value)
{
	*sp = (*sp - size) & size_mask(stack_width(c));
	store(c, X86_SS, *sp, size, value & size_mask(size));
}

void probe_push(struct cpu *c, uint64_t sp, unsigned size)
{
	probe_store(c, X86_SS, (sp - size) & size_mask(stack_width(c)), size);
}

uint64_t pop_at(struct cpu *c, uint64_t *sp, unsigned size)
{
	uint64_t v = load(c, X86_SS, *sp, size);

	*sp = (*sp + size) & size_mask(stack_width(c));
	return v;
}

void stack_commit(struct cpu *c, uint64_t sp)
{
	/* Not set_gpr: a 16-bit stack keeps the upper half, a 32-bit one clears it. */
	set_gpr(c, X86_RSP, stack_width(c), sp);
}

void op_PUSH(struct cpu *c, const struct x86_insn *i)
{
	uint64_t sp = stack_pointer(c), value = get(c, i, 0);

	push_at(c, &sp, i->opsize, value);
	stack_commit(c, sp);
}

static void pop_segment(struct cpu *c, const struct x86_insn *i)
{
	uint64_t sp = stack_pointer(c);
	unsigned seg = i->opnd[0].reg;
	uint16_t sel = (uint16_t)pop_at(c, &sp, i->opsize);
	struct x86_seg new = check_segment(c, seg, sel);

	stack_commit(c, sp);
	c->s.seg[seg] = new;
	if (seg == X86_SS) {
		c->s.events.shadow_mov_ss = true;
		c->keep_shadow = true;
	}
}

void op_POP(struct cpu *c, const struct x86_insn *i)
{
	uint64_t old = c->s.gpr[X86_RSP], sp = stack_pointer(c), value;

	if (i->opnd[0].kind == X86_OPND_SEG) {
		pop_segment(c, i);
		return;
	}
	value = pop_at(c, &sp, i->opsize);
	if (i->opnd[0].kind != X86_OPND_MEM) {
		stack_commit(c, sp);
		set(c, i, 0, value);
		return;
	}
	/* An address by ESP uses its value after the pop, and a fault leaves the one before. */
	stack_commit(c, sp);
	sp = c->s.gpr[X86_RSP];
	value &= size_mask(i->opsize);
	{
		uint64_t off = address(c, i, &i->mem);

		c->s.gpr[X86_RSP] = old;
		store(c, i->mem.seg, off, i->opsize, value);
	}
	c->s.gpr[X86_RSP] = sp;
}

void op_PUSHA(struct cpu *c, const struct x86_insn *i)
{
	uint64_t sp = stack_pointer(c), from = c->s.gpr[X86_RSP];

	/* All of it must be writable before the first byte is written. */
	probe_store(c, X86_SS, (sp - 8u * i->opsize) & size_mask(stack_width(c)), i->opsize);
	for (unsigned r = X86_RAX; r <= X86_RDI; r++)
		push_at(c, &sp, i->opsize, r == X86_RSP ? from : c->s.gpr[r]);
	stack_commit(c, sp);
}

void op_POPA(struct cpu *c, const struct x86_insn *i)
{
	uint64_t sp = stack_pointer(c), value[8];

	for (int r = X86_RDI; r >= X86_RAX; r--)
		value[r] = pop_at(c, &sp, i->opsize);
	for (unsigned r = X86_RAX; r <= X86_RDI; r++)
		if (r != X86_RSP)
			set_gpr(c, r, i->opsize, value[r]);
	stack_commit(c, sp);
}

void op_PUSHF(struct cpu *c, const struct x86_insn *i)
{
	uint64_t sp = stack_pointer(c);
	uint64_t flags = has_virtual_flags(c, i) ? virtual_flags(c) : c->s.rflags;

	push_at(c, &sp, i->opsize, flags & ~(uint64_t)(X86_VM | X86_RF));
	stack_commit(c, sp);
}

void op_POPF(struct cpu *c, const struct x86_insn *i)
{
	uint64_t mask = X86_FLAGS_ARITH | X86_TF | X86_DF | X86_NT, sp = stack_pointer(c), value;
	bool is_virtual = has_virtual_flags(c, i);

	value = pop_at(c, &sp, i->opsize);
	if (is_virtual)
		check_virtual_flags(c, value);
	if (cpl(c) == 0)
		mask |= X86_IOPL;
	if (cpl(c) <= (c->s.rflags >> 12 & 3))
		mask |= X86_IF;
	if (i->opsize >= 4)
		mask |= X86_AC | X86_ID;
	stack_commit(c, sp);
	c->s.rflags = (c->s.rflags & ~mask & ~(uint64_t)X86_RF) | (value & mask) | X86_FLAGS_FIXED;
	if (is_virtual)
		set_flag(c, X86_VIF, value & X86_IF);
}

/* SDM vol. 2A ENTER: the frame pointers of the outer levels are copied. */
void op_ENTER(struct cpu *c, const struct x86_insn *i)
{
	unsigned size = i->opsize, level = (unsigned)i->imm2 & 31, width = stack_width(c);
	uint64_t sp = stack_pointer(c), bp = get_gpr(c, X86_RBP, width), frame;

	push_at(c, &sp, size, c->s.gpr[X86_RBP]);
	frame = (c->s.gpr[X86_RSP] & ~size_mask(width)) | sp;
	for (unsigned n = 1; n < level; n++) {
		bp = (bp - size) & size_mask(width);
		push_at(c, &sp, size, load(c, X86_SS, bp, size));
	}
	if (level)
		push_at(c, &sp, size, frame);
	sp = (sp - ((uint64_t)i->imm & 0xffff)) & size_mask(width);
	probe_store(c, X86_SS, sp, size); /* the new top must be writable */
	set_gpr(c, X86_RBP, size, frame);
	stack_commit(c, sp);
}

void op_LEAVE(struct cpu *c, const struct x86_insn *i)
{
	uint64_t sp = get_gpr(c, X86_RBP, stack_width(c)), value = pop_at(c, &sp, i->opsize);

	stack_commit(c, sp);
	set_gpr(c, X86_RBP, i->opsize, value);
}
