/*
 * fast_move.c - ops that move: MOV and its kin, LEA, CMOV, SETcc, stack.
 */
#include "engine/interpret/fast.h"

#define ALL_KINDS(X, ...)                                                                          \
	X(KIND_64, ##__VA_ARGS__) X(KIND_32, ##__VA_ARGS__) X(KIND_SEG, ##__VA_ARGS__)

/* ---- MOV ---- */

#define LOAD(kind, name, size, to, type)                                                           \
	OP(name##_rm_##kind)                                                                       \
	{                                                                                          \
		uint8_t *h = operand(c, op, size, X86_READ, kind, privilege);                      \
                                                                                                   \
		IF_MISS(h) GENERAL;                                                                \
		SET##to(op->dst, (mem##to)(type)MEM(size, h));                                     \
		NEXT;                                                                              \
	}

#define STORE(kind, size, form, source)                                                            \
	OP(mov_##size##_##form##_##kind)                                                           \
	{                                                                                          \
		uint8_t *h = operand(c, op, size, X86_WRITE, kind, privilege);                     \
                                                                                                   \
		IF_MISS(h) GENERAL;                                                                \
		MEM(size, h) = (mem##size)(source);                                                \
		NEXT;                                                                              \
	}

#define MOVES(size)                                                                                \
	OP(mov_##size##_rr)                                                                        \
	{                                                                                          \
		SET##size(op->dst, REG(size, op->src));                                            \
		NEXT;                                                                              \
	}                                                                                          \
	OP(mov_##size##_ri)                                                                        \
	{                                                                                          \
		SET##size(op->dst, (mem##size)op->imm);                                            \
		NEXT;                                                                              \
	}                                                                                          \
	ALL_KINDS(LOAD, mov_##size, size, size, mem##size)                                         \
	ALL_KINDS(STORE, size, mr, REG(size, op->src))                                             \
	ALL_KINDS(STORE, size, mi, op->imm)

MOVES(1)
MOVES(2)
MOVES(4)
MOVES(8)

#define KIND_ROW(name) name##_KIND_64, name##_KIND_32, name##_KIND_SEG
#define MOVE_ROW(size)                                                                             \
	{                                                                                          \
		mov_##size##_rr, mov_##size##_ri, KIND_ROW(mov_##size##_rm),                       \
			KIND_ROW(mov_##size##_mr), KIND_ROW(mov_##size##_mi)                       \
	}

static op_fn *const moves[4][FORMS] = {MOVE_ROW(1), MOVE_ROW(2), MOVE_ROW(4), MOVE_ROW(8)};

/* ---- MOVZX, MOVSX, MOVSXD ---- */

#define EXTEND(name, to, from, type)                                                               \
	OP(name##_rr)                                                                              \
	{                                                                                          \
		SET##to(op->dst, (mem##to)(type)REG(from, op->src));                               \
		NEXT;                                                                              \
	}                                                                                          \
	ALL_KINDS(LOAD, name, from, to, type)

EXTEND(zero_2_1, 2, 1, uint8_t)
EXTEND(zero_4_1, 4, 1, uint8_t)
EXTEND(zero_4_2, 4, 2, uint16_t)
EXTEND(sign_2_1, 2, 1, int8_t)
EXTEND(sign_4_1, 4, 1, int8_t)
EXTEND(sign_4_2, 4, 2, int16_t)
EXTEND(sign_8_1, 8, 1, int8_t)
EXTEND(sign_8_2, 8, 2, int16_t)
EXTEND(sign_8_4, 8, 4, int32_t)

#define EXTEND_ROW(name)                                                                           \
	{                                                                                          \
		[FORM_RR] = name##_rr, [FORM_RM] = KIND_ROW(name##_rm)                             \
	}

/* MOVZX to 64 bits is one to 32. */
static const struct {
	uint16_t op;
	uint8_t to, from;
	op_fn *fn[FORMS];
} extensions[] = {
	{X86_OP_MOVZX, 2, 1, EXTEND_ROW(zero_2_1)},
	{X86_OP_MOVZX, 4, 1, EXTEND_ROW(zero_4_1)},
	{X86_OP_MOVZX, 8, 1, EXTEND_ROW(zero_4_1)},
	{X86_OP_MOVZX, 4, 2, EXTEND_ROW(zero_4_2)},
	{X86_OP_MOVZX, 8, 2, EXTEND_ROW(zero_4_2)},
	{X86_OP_MOVSX, 2, 1, EXTEND_ROW(sign_2_1)},
	{X86_OP_MOVSX, 4, 1, EXTEND_ROW(sign_4_1)},
	{X86_OP_MOVSX, 8, 1, EXTEND_ROW(sign_8_1)},
	{X86_OP_MOVSX, 4, 2, EXTEND_ROW(sign_4_2)},
	{X86_OP_MOVSX, 8, 2, EXTEND_ROW(sign_8_2)},
	{X86_OP_MOVSXD, 8, 4, EXTEND_ROW(sign_8_4)},
};

static op_fn *extension(const struct x86_insn *i, enum form form)
{
	for (unsigned n = 0; n < ARRAY_SIZE(extensions); n++)
		if (extensions[n].op == i->op && extensions[n].to == i->opnd[0].size &&
			extensions[n].from == i->opnd[1].size)
			return extensions[n].fn[form];
	return NULL;
}

/* ---- LEA, XCHG, CBW and CWD families, NOP ---- */

OP(lea_4)
{
	SET4(op->dst, effective(c, op));
	NEXT;
}

OP(lea_8)
{
	SET8(op->dst, effective(c, op));
	NEXT;
}

#define EXCHANGE(size)                                                                             \
	OP(xchg_##size)                                                                            \
	{                                                                                          \
		mem##size a = REG(size, op->dst), b = REG(size, op->src);                          \
                                                                                                   \
		SET##size(op->src, a);                                                             \
		SET##size(op->dst, b);                                                             \
		NEXT;                                                                              \
	}

EXCHANGE(1)
EXCHANGE(2)
EXCHANGE(4)
EXCHANGE(8)

OP(cwde)
{
	c->s.gpr[X86_RAX] = (uint32_t)(int16_t)c->s.gpr[X86_RAX];
	NEXT;
}

OP(cdqe)
{
	c->s.gpr[X86_RAX] = (uint64_t)(int32_t)c->s.gpr[X86_RAX];
	NEXT;
}

OP(cdq)
{
	c->s.gpr[X86_RDX] = (uint32_t)((int32_t)c->s.gpr[X86_RAX] >> 31);
	NEXT;
}

OP(cqo)
{
	c->s.gpr[X86_RDX] = (uint64_t)((int64_t)c->s.gpr[X86_RAX] >> 63);
	NEXT;
}

OP(nop)
{
	NEXT;
}

static op_fn *exchange(const struct x86_insn *i, enum form form)
{
	static op_fn *const fn[] = {xchg_1, xchg_2, xchg_4, xchg_8};

	return form == FORM_RR ? fn[__builtin_ctz(i->opnd[0].size)] : NULL;
}

/* ---- conditions ---- */

#define CONDITIONAL(number, met)                                                                   \
	OP(set_r_##number)                                                                         \
	{                                                                                          \
		REG(1, op->dst) = (met) ? 1 : 0;                                                   \
		NEXT;                                                                              \
	}                                                                                          \
	OP(cmov_4_##number)                                                                        \
	{                                                                                          \
		SET4(op->dst, (met) ? REG(4, op->src) : REG(4, op->dst));                          \
		NEXT;                                                                              \
	}                                                                                          \
	OP(cmov_8_##number)                                                                        \
	{                                                                                          \
		SET8(op->dst, (met) ? REG(8, op->src) : REG(8, op->dst));                          \
		NEXT;                                                                              \
	}
CONDITIONS(CONDITIONAL)

#define CONDITIONAL_ROW(number, met) {set_r_##number, cmov_4_##number, cmov_8_##number},
static op_fn *const conditional[16][3] = {CONDITIONS(CONDITIONAL_ROW)};

static op_fn *conditional_move(const struct x86_insn *i, enum form form)
{
	if (form != FORM_RR || i->opnd[0].size < 4)
		return NULL;
	return conditional[i->cc][i->opnd[0].size == 8 ? 2 : 1];
}

/* ---- the stack: 64-bit code, or flat 32-bit code, with operands as wide ---- */

#define STACK_OPS(size, SP, source)                                                                \
	OP(push_##size##_r)                                                                        \
	{                                                                                          \
		mem##size sp = (mem##size)(c->s.gpr[X86_RSP] - (size));                            \
		uint8_t *h = hit(c, sp, size, X86_WRITE, privilege);                               \
                                                                                                   \
		IF_MISS(h) GENERAL;                                                                \
		MEM(size, h) = REG(size, op->dst);                                                 \
		c->s.gpr[X86_RSP] = sp;                                                            \
		NEXT;                                                                              \
	}                                                                                          \
	OP(push_##size##_i)                                                                        \
	{                                                                                          \
		mem##size sp = (mem##size)(c->s.gpr[X86_RSP] - (size));                            \
		uint8_t *h = hit(c, sp, size, X86_WRITE, privilege);                               \
                                                                                                   \
		IF_MISS(h) GENERAL;                                                                \
		MEM(size, h) = (mem##size)op->imm;                                                 \
		c->s.gpr[X86_RSP] = sp;                                                            \
		NEXT;                                                                              \
	}                                                                                          \
	OP(pop_##size##_r)                                                                         \
	{                                                                                          \
		uint8_t *h = hit(c, (mem##size)c->s.gpr[X86_RSP], size, X86_READ, privilege);      \
                                                                                                   \
		IF_MISS(h) GENERAL;                                                                \
		c->s.gpr[X86_RSP] = (mem##size)(c->s.gpr[X86_RSP] + (size));                       \
		SET##size(op->dst, MEM(size, h));                                                  \
		NEXT;                                                                              \
	}                                                                                          \
	OP(leave_##size)                                                                           \
	{                                                                                          \
		mem##size bp = (mem##size)c->s.gpr[X86_RBP];                                       \
		uint8_t *h = hit(c, bp, size, X86_READ, privilege);                                \
                                                                                                   \
		IF_MISS(h) GENERAL;                                                                \
		c->s.gpr[X86_RBP] = MEM(size, h);                                                  \
		c->s.gpr[X86_RSP] = (mem##size)(bp + (size));                                      \
		NEXT;                                                                              \
	}

STACK_OPS(4, , )
STACK_OPS(8, , )

static op_fn *stack_op(const struct x86_insn *i, bool flat)
{
	unsigned wide = i->mode == X86_MODE_64, kind = i->opnd[0].kind;

	if ((!wide && !flat) || i->opsize != (wide ? 8 : 4))
		return NULL;
	if (i->op == X86_OP_LEAVE)
		return wide ? leave_8 : leave_4;
	if (i->op == X86_OP_PUSH && kind == X86_OPND_IMM)
		return wide ? push_8_i : push_4_i;
	if (kind != X86_OPND_GPR)
		return NULL;
	if (i->op == X86_OP_PUSH)
		return wide ? push_8_r : push_4_r;
	return wide ? pop_8_r : pop_4_r;
}

/* ---- which ---- */

op_fn *choose_move(const struct x86_insn *i, enum form form, bool flat)
{
	unsigned size = i->opnd[0].size;

	switch (i->op) {
	case X86_OP_MOV:
		return form < FORMS ? moves[__builtin_ctz(size)][form] : NULL;
	case X86_OP_MOVZX:
	case X86_OP_MOVSX:
	case X86_OP_MOVSXD:
		return form < FORMS ? extension(i, form) : NULL;
	case X86_OP_LEA:
		if (i->addrsize != (i->mode == X86_MODE_64 ? 8 : 4) || size < 4)
			return NULL;
		return size == 8 ? lea_8 : lea_4;
	case X86_OP_XCHG:
		return exchange(i, form);
	case X86_OP_SET:
		return i->opnd[0].kind == X86_OPND_GPR ? conditional[i->cc][0] : NULL;
	case X86_OP_CMOV:
		return conditional_move(i, form);
	case X86_OP_CBW:
		return i->opsize == 8 ? cdqe : i->opsize == 4 ? cwde : NULL;
	case X86_OP_CWD:
		return i->opsize == 8 ? cqo : i->opsize == 4 ? cdq : NULL;
	case X86_OP_NOP:
		return nop;
	case X86_OP_PUSH:
	case X86_OP_POP:
	case X86_OP_LEAVE:
		return stack_op(i, flat);
	default:
		return NULL;
	}
}
