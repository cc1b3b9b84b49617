/*
 * fast_branch.c - ops of near branches, the last ones of their blocks.
 *
 * op->imm is where a branch goes and op->disp where it goes on without, both
 * from the block's begin (of a call through memory: imm where it goes on). A target beyond the
 * limit or not canonical is left to the body, which raises its fault.
 */
#include "engine/interpret/fast.h"

/* By the operand size of the branch: 64-bit code, or another's with 32 or 16 bits. */
#define BRANCH_LAST return run_last(c, op, f, privilege)

INLINE bool goes_8(struct cpu *c, uint64_t target)
{
	if (unlikely(!is_canonical(target)))
		return false;
	c->s.rip = target;
	return true;
}

INLINE bool goes_4(struct cpu *c, uint64_t target)
{
	if (unlikely((uint32_t)target > c->s.seg[X86_CS].limit))
		return false;
	c->s.rip = (uint32_t)target;
	return true;
}

INLINE bool goes_2(struct cpu *c, uint64_t target)
{
	return goes_4(c, (uint16_t)target);
}

#define CONTINUE_8 c->s.rip = c->block_rip + (uint64_t)op->disp
#define CONTINUE_4 c->s.rip = (uint32_t)(c->block_rip + (uint64_t)op->disp)
#define CONTINUE_2 CONTINUE_4

/* ---- Jcc, JMP ---- */

#define JUMP_IF(number, size, met)                                                                 \
	OP(jump_##size##_if_##number)                                                              \
	{                                                                                          \
		if (!(met))                                                                        \
			CONTINUE_##size;                                                           \
		else if (!goes_##size(c, c->block_rip + (uint64_t)op->imm))                        \
			BRANCH_LAST;                                                               \
		c->link = way_of(op, (met) ? 1 : 2);                                               \
		return f;                                                                          \
	}
#define JUMPS_IF(number, met)                                                                      \
	JUMP_IF(number, 2, met) JUMP_IF(number, 4, met) JUMP_IF(number, 8, met)
CONDITIONS(JUMPS_IF)

#define JUMP_ROW(number, met) {jump_2_if_##number, jump_4_if_##number, jump_8_if_##number},
static op_fn *const jumps_if[16][3] = {CONDITIONS(JUMP_ROW)};

#define JUMP(size)                                                                                 \
	OP(jump_##size)                                                                            \
	{                                                                                          \
		if (!goes_##size(c, c->block_rip + (uint64_t)op->imm))                             \
			BRANCH_LAST;                                                               \
		c->link = way_of(op, 1);                                                           \
		return f;                                                                          \
	}                                                                                          \
	OP(jump_##size##_r)                                                                        \
	{                                                                                          \
		if (!goes_##size(c, REG(size, op->dst)))                                           \
			BRANCH_LAST;                                                               \
		return f;                                                                          \
	}

JUMP(2)
JUMP(4)
JUMP(8)

OP(jump_8_m)
{
	uint8_t *h = operand(c, op, 8, X86_READ, KIND_64, privilege);

	if (!h || !goes_8(c, MEM(8, h)))
		BRANCH_LAST;
	return f;
}

/* ---- CALL, RET: the stack as in fast_move.c ---- */

#define CALL(size, name, target_value, way)                                                        \
	OP(name)                                                                                   \
	{                                                                                          \
		mem##size sp = (mem##size)(c->s.gpr[X86_RSP] - (size));                            \
		uint8_t *h = hit(c, sp, size, X86_WRITE, privilege);                               \
                                                                                                   \
		if (!h || !goes_##size(c, target_value))                                           \
			BRANCH_LAST;                                                               \
		MEM(size, h) = (mem##size)(c->block_rip + (uint64_t)op->disp);                     \
		c->s.gpr[X86_RSP] = sp;                                                            \
		c->link = way;                                                                     \
		return f;                                                                          \
	}

#define RETURN(size)                                                                               \
	OP(ret_##size)                                                                             \
	{                                                                                          \
		mem##size sp = (mem##size)c->s.gpr[X86_RSP];                                       \
		uint8_t *h = hit(c, sp, size, X86_READ, privilege);                                \
                                                                                                   \
		if (!h || !goes_##size(c, MEM(size, h)))                                           \
			BRANCH_LAST;                                                               \
		c->s.gpr[X86_RSP] = (mem##size)(sp + (size) + (uint64_t)op->imm);                  \
		return f;                                                                          \
	}

CALL(4, call_4, c->block_rip + (uint64_t)op->imm, way_of(op, 1))
CALL(8, call_8, c->block_rip + (uint64_t)op->imm, way_of(op, 1))
CALL(4, call_4_r, REG(4, op->dst), NULL)
CALL(8, call_8_r, REG(8, op->dst), NULL)
RETURN(4)
RETURN(8)

OP(call_8_m)
{
	uint64_t sp = c->s.gpr[X86_RSP] - 8;
	uint8_t *from = operand(c, op, 8, X86_READ, KIND_64, privilege);
	uint8_t *h = hit(c, sp, 8, X86_WRITE, privilege);

	if (!from || !h || !goes_8(c, MEM(8, from)))
		BRANCH_LAST;
	MEM(8, h) = c->block_rip + (uint64_t)op->imm;
	c->s.gpr[X86_RSP] = sp;
	return f;
}

/* ---- which ---- */

static op_fn *jump_op(const struct x86_insn *i, enum address_kind kind, unsigned by_size)
{
	static op_fn *const near[] = {jump_2, jump_4, jump_8};
	static op_fn *const indirect[] = {jump_2_r, jump_4_r, jump_8_r};

	switch (i->opnd[0].kind) {
	case X86_OPND_REL:
		return near[by_size];
	case X86_OPND_GPR:
		return indirect[by_size];
	case X86_OPND_MEM:
		return i->opsize == 8 && kind == KIND_64 ? jump_8_m : NULL;
	default:
		return NULL;
	}
}

static op_fn *call_op(const struct x86_insn *i, enum address_kind kind)
{
	bool wide = i->opsize == 8;

	switch (i->opnd[0].kind) {
	case X86_OPND_REL:
		return wide ? call_8 : call_4;
	case X86_OPND_GPR:
		return wide ? call_8_r : call_4_r;
	case X86_OPND_MEM:
		return wide && kind == KIND_64 ? call_8_m : NULL;
	default:
		return NULL;
	}
}

op_fn *choose_branch(const struct x86_insn *i, enum address_kind kind, bool flat)
{
	bool wide = i->mode == X86_MODE_64;
	bool stack = wide ? i->opsize == 8 : flat && i->opsize == 4;
	unsigned by_size = (unsigned)__builtin_ctz(i->opsize) - 1;

	if (wide && i->opsize != 8 && i->op != X86_OP_J)
		return NULL;
	switch (i->op) {
	case X86_OP_J:
		return jumps_if[i->cc][by_size];
	case X86_OP_JMP:
		return jump_op(i, kind, by_size);
	case X86_OP_CALL:
		return stack ? call_op(i, kind) : NULL;
	case X86_OP_RET:
		return stack ? (wide ? ret_8 : ret_4) : NULL;
	default:
		return NULL;
	}
}
