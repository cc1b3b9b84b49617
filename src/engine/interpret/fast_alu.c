/*
 * fast_alu.c - ops of arithmetic, logic and shifts: the host's own instruction
 * on the guest's operands. Flags that the SDM leaves undefined are the host's.
 */
#include "engine/interpret/fast.h"

/* ---- the host's instructions ---- */

#define TWO_OPERANDS(name, insn, size, suffix, mod)                                                \
	INLINE mem##size host_##name##_##size(mem##size a, mem##size b, uint32_t *f)               \
	{                                                                                          \
		uint32_t ax;                                                                       \
                                                                                                   \
		__asm__(insn suffix " %" mod "2, %" mod "0\n\tlahf\n\tseto %%al"                   \
			: "+r"(a), "=&a"(ax)                                                       \
			: "r"(b)                                                                   \
			: "cc");                                                                   \
		*f = ax;                                                                           \
		return a;                                                                          \
	}

/* The carry comes in from bit 8 of f. */
#define WITH_CARRY(name, insn, size, suffix, mod)                                                  \
	INLINE mem##size host_##name##_##size(mem##size a, mem##size b, uint32_t *f)               \
	{                                                                                          \
		uint32_t ax;                                                                       \
                                                                                                   \
		__asm__("bt $8, %3\n\t" insn suffix " %" mod "2, %" mod "0\n\tlahf\n\tseto %%al"   \
			: "+r"(a), "=&a"(ax)                                                       \
			: "r"(b), "r"(*f)                                                          \
			: "cc");                                                                   \
		*f = ax;                                                                           \
		return a;                                                                          \
	}

/* INC and DEC keep the carry. */
#define ONE_OPERAND(name, insn, size, suffix, mod)                                                 \
	INLINE mem##size host_##name##_##size(mem##size a, uint32_t *f)                            \
	{                                                                                          \
		uint32_t ax;                                                                       \
                                                                                                   \
		__asm__("bt $8, %2\n\t" insn suffix " %" mod "0\n\tlahf\n\tseto %%al"              \
			: "+r"(a), "=&a"(ax)                                                       \
			: "r"(*f)                                                                  \
			: "cc");                                                                   \
		*f = ax;                                                                           \
		return a;                                                                          \
	}

/* The count is not zero. Rotates keep all flags but CF and OF. */
#define SHIFT(name, insn, size, suffix, mod)                                                       \
	INLINE mem##size host_##name##_##size(mem##size a, uint8_t count, uint32_t *f)             \
	{                                                                                          \
		uint32_t ax = *f;                                                                  \
                                                                                                   \
		__asm__("sahf\n\t" insn suffix " %%cl, %" mod "0\n\tlahf\n\tseto %%al"             \
			: "+r"(a), "+a"(ax)                                                        \
			: "c"(count)                                                               \
			: "cc");                                                                   \
		*f = ax;                                                                           \
		return a;                                                                          \
	}

/* All sizes of one instruction: X(name, host's name, size, suffix, modifier). */
#define SIZES(X, name, insn)                                                                       \
	X(name, insn, 1, "b", "b")                                                                 \
	X(name, insn, 2, "w", "w")                                                                 \
	X(name, insn, 4, "l", "k")                                                                 \
	X(name, insn, 8, "q", "q")

SIZES(TWO_OPERANDS, add, "add")
SIZES(TWO_OPERANDS, sub, "sub")
SIZES(TWO_OPERANDS, and, "and")
SIZES(TWO_OPERANDS, or, "or")
SIZES(TWO_OPERANDS, xor, "xor")
SIZES(WITH_CARRY, adc, "adc")
SIZES(WITH_CARRY, sbb, "sbb")
SIZES(ONE_OPERAND, inc, "inc")
SIZES(ONE_OPERAND, dec, "dec")
SIZES(ONE_OPERAND, neg, "neg")
SIZES(SHIFT, shl, "shl")
SIZES(SHIFT, shr, "shr")
SIZES(SHIFT, sar, "sar")
SIZES(SHIFT, rol, "rol")
SIZES(SHIFT, ror, "ror")

#define NOT(name, insn, size, suffix, mod)                                                         \
	INLINE mem##size host_not_##size(mem##size a, uint32_t *f)                                 \
	{                                                                                          \
		return (mem##size) ~a;                                                             \
	}
SIZES(NOT, , )

/* ---- two operands ---- */

#define RESULT(name, size, offset, b)                                                              \
	SET##size(offset, host_##name##_##size(REG(size, offset), (mem##size)(b), &f))

#define FROM_MEMORY(name, size, kind)                                                              \
	OP(name##_##size##_rm_##kind)                                                              \
	{                                                                                          \
		uint8_t *h = operand(c, op, size, X86_READ, kind, privilege);                      \
                                                                                                   \
		IF_MISS(h) GENERAL;                                                                \
		RESULT(name, size, op->dst, MEM(size, h));                                         \
		NEXT;                                                                              \
	}

#define CHANGE_MEMORY(name, size, kind, form, source)                                              \
	OP(name##_##size##_##form##_##kind)                                                        \
	{                                                                                          \
		uint8_t *h = operand(c, op, size, X86_WRITE, kind, privilege);                     \
                                                                                                   \
		IF_MISS(h) GENERAL;                                                                \
		MEM(size, h) = host_##name##_##size(MEM(size, h), (mem##size)(source), &f);        \
		NEXT;                                                                              \
	}

#define ALL_KINDS(X, name, size, ...)                                                              \
	X(name, size, KIND_64, ##__VA_ARGS__)                                                      \
	X(name, size, KIND_32, ##__VA_ARGS__)                                                      \
	X(name, size, KIND_SEG, ##__VA_ARGS__)

#define TWO_OPERAND_OPS(name, insn, size, suffix, mod)                                             \
	OP(name##_##size##_rr)                                                                     \
	{                                                                                          \
		RESULT(name, size, op->dst, REG(size, op->src));                                   \
		NEXT;                                                                              \
	}                                                                                          \
	OP(name##_##size##_ri)                                                                     \
	{                                                                                          \
		RESULT(name, size, op->dst, op->imm);                                              \
		NEXT;                                                                              \
	}                                                                                          \
	ALL_KINDS(FROM_MEMORY, name, size)                                                         \
	ALL_KINDS(CHANGE_MEMORY, name, size, mr, REG(size, op->src))                               \
	ALL_KINDS(CHANGE_MEMORY, name, size, mi, op->imm)

SIZES(TWO_OPERAND_OPS, add, )
SIZES(TWO_OPERAND_OPS, sub, )
SIZES(TWO_OPERAND_OPS, and, )
SIZES(TWO_OPERAND_OPS, or, )
SIZES(TWO_OPERAND_OPS, xor, )
SIZES(TWO_OPERAND_OPS, adc, )
SIZES(TWO_OPERAND_OPS, sbb, )

/* ---- comparisons: the same without a result ---- */

#define COMPARE_MEMORY(name, size, kind, form, left, right)                                        \
	OP(name##_##size##_##form##_##kind)                                                        \
	{                                                                                          \
		uint8_t *h = operand(c, op, size, X86_READ, kind, privilege);                      \
                                                                                                   \
		IF_MISS(h) GENERAL;                                                                \
		host_##name##_##size((mem##size)(left), (mem##size)(right), &f);                   \
		NEXT;                                                                              \
	}

#define COMPARE_OPS(name, insn, size, suffix, mod)                                                 \
	TWO_OPERANDS(name, insn, size, suffix, mod)                                                \
	OP(name##_##size##_rr)                                                                     \
	{                                                                                          \
		host_##name##_##size(REG(size, op->dst), REG(size, op->src), &f);                  \
		NEXT;                                                                              \
	}                                                                                          \
	OP(name##_##size##_ri)                                                                     \
	{                                                                                          \
		host_##name##_##size(REG(size, op->dst), (mem##size)op->imm, &f);                  \
		NEXT;                                                                              \
	}                                                                                          \
	ALL_KINDS(COMPARE_MEMORY, name, size, rm, REG(size, op->dst), MEM(size, h))                \
	ALL_KINDS(COMPARE_MEMORY, name, size, mr, MEM(size, h), REG(size, op->src))                \
	ALL_KINDS(COMPARE_MEMORY, name, size, mi, MEM(size, h), op->imm)

SIZES(COMPARE_OPS, cmp, "cmp")
SIZES(COMPARE_OPS, test, "test")

/* ---- one operand: the forms RI and MI without an immediate ---- */

#define CHANGE_MEMORY_ALONE(name, size, kind)                                                      \
	OP(name##_##size##_mi_##kind)                                                              \
	{                                                                                          \
		uint8_t *h = operand(c, op, size, X86_WRITE, kind, privilege);                     \
                                                                                                   \
		IF_MISS(h) GENERAL;                                                                \
		MEM(size, h) = host_##name##_##size(MEM(size, h), &f);                             \
		NEXT;                                                                              \
	}

#define ONE_OPERAND_OPS(name, insn, size, suffix, mod)                                             \
	OP(name##_##size##_ri)                                                                     \
	{                                                                                          \
		SET##size(op->dst, host_##name##_##size(REG(size, op->dst), &f));                  \
		NEXT;                                                                              \
	}                                                                                          \
	ALL_KINDS(CHANGE_MEMORY_ALONE, name, size)

SIZES(ONE_OPERAND_OPS, inc, )
SIZES(ONE_OPERAND_OPS, dec, )
SIZES(ONE_OPERAND_OPS, neg, )
SIZES(ONE_OPERAND_OPS, not, )

/* ---- shifts of registers: RI by an immediate, RR by CL ---- */

#define COUNT_MASK(size) ((size) == 8 ? 63 : 31)

#define SHIFT_OPS(name, insn, size, suffix, mod)                                                   \
	OP(name##_##size##_by_imm)                                                                 \
	{                                                                                          \
		SET##size(                                                                         \
			op->dst, host_##name##_##size(REG(size, op->dst), (uint8_t)op->imm, &f));  \
		NEXT;                                                                              \
	}                                                                                          \
	OP(name##_##size##_by_cl)                                                                  \
	{                                                                                          \
		uint8_t count = REG(1, op->src) & COUNT_MASK(size);                                \
		mem##size v = REG(size, op->dst);                                                  \
                                                                                                   \
		if (count)                                                                         \
			v = host_##name##_##size(v, count, &f);                                    \
		SET##size(op->dst, v);                                                             \
		NEXT;                                                                              \
	}

SIZES(SHIFT_OPS, shl, )
SIZES(SHIFT_OPS, shr, )
SIZES(SHIFT_OPS, sar, )
SIZES(SHIFT_OPS, rol, )
SIZES(SHIFT_OPS, ror, )

/* ---- IMUL with two or three operands; SF, ZF, AF and PF are undefined ---- */

#define MULTIPLY_OPS(name, insn, size, suffix, mod)                                                \
	TWO_OPERANDS(imul, "imul", size, suffix, mod)                                              \
	OP(imul_##size##_rr)                                                                       \
	{                                                                                          \
		RESULT(imul, size, op->dst, REG(size, op->src));                                   \
		NEXT;                                                                              \
	}                                                                                          \
	OP(imul_##size##_rri)                                                                      \
	{                                                                                          \
		SET##size(op->dst, host_imul_##size(REG(size, op->src), (mem##size)op->imm, &f));  \
		NEXT;                                                                              \
	}                                                                                          \
	ALL_KINDS(FROM_MEMORY, imul, size)

MULTIPLY_OPS(, , 2, "w", "w")
MULTIPLY_OPS(, , 4, "l", "k")
MULTIPLY_OPS(, , 8, "q", "q")

/* ---- which ---- */

#define KIND_ROW(name, size, form)                                                                 \
	name##_##size##_##form##_KIND_64, name##_##size##_##form##_KIND_32,                        \
		name##_##size##_##form##_KIND_SEG
#define FORM_ROW(name, size)                                                                       \
	{                                                                                          \
		name##_##size##_rr, name##_##size##_ri, KIND_ROW(name, size, rm),                  \
			KIND_ROW(name, size, mr), KIND_ROW(name, size, mi)                         \
	}
#define ONE_ROW(name, size)                                                                        \
	{                                                                                          \
		[FORM_RI] = name##_##size##_ri, [FORM_MI] = KIND_ROW(name, size, mi)               \
	}
#define SHIFT_ROW(name, size)                                                                      \
	{                                                                                          \
		name##_##size##_by_cl, name##_##size##_by_imm                                      \
	}
#define IMUL_ROW(size)                                                                             \
	{                                                                                          \
		[FORM_RR] = imul_##size##_rr, [FORM_RM] = KIND_ROW(imul, size, rm)                 \
	}
#define ROW(kind, name)                                                                            \
	{                                                                                          \
		kind(name, 1), kind(name, 2), kind(name, 4), kind(name, 8)                         \
	}

static const struct {
	uint16_t op;
	op_fn *fn[4][FORMS];
} table[] = {
	{X86_OP_ADD, ROW(FORM_ROW, add)},
	{X86_OP_SUB, ROW(FORM_ROW, sub)},
	{X86_OP_AND, ROW(FORM_ROW, and)},
	{X86_OP_OR, ROW(FORM_ROW, or)},
	{X86_OP_XOR, ROW(FORM_ROW, xor)},
	{X86_OP_ADC, ROW(FORM_ROW, adc)},
	{X86_OP_SBB, ROW(FORM_ROW, sbb)},
	{X86_OP_CMP, ROW(FORM_ROW, cmp)},
	{X86_OP_TEST, ROW(FORM_ROW, test)},
	{X86_OP_INC, ROW(ONE_ROW, inc)},
	{X86_OP_DEC, ROW(ONE_ROW, dec)},
	{X86_OP_NEG, ROW(ONE_ROW, neg)},
	{X86_OP_NOT, ROW(ONE_ROW, not )},
	{X86_OP_SHL, ROW(SHIFT_ROW, shl)},
	{X86_OP_SAL, ROW(SHIFT_ROW, shl)},
	{X86_OP_SHR, ROW(SHIFT_ROW, shr)},
	{X86_OP_SAR, ROW(SHIFT_ROW, sar)},
	{X86_OP_ROL, ROW(SHIFT_ROW, rol)},
	{X86_OP_ROR, ROW(SHIFT_ROW, ror)},
	{X86_OP_IMUL, {{NULL}, IMUL_ROW(2), IMUL_ROW(4), IMUL_ROW(8)}},
};

static op_fn *three_operand_imul(const struct x86_insn *i)
{
	static op_fn *const fn[] = {NULL, imul_2_rri, imul_4_rri, imul_8_rri};

	if (i->opnd[1].kind != X86_OPND_GPR || i->opnd[2].kind != X86_OPND_IMM)
		return NULL;
	return fn[__builtin_ctz(i->opnd[0].size)];
}

static bool shifts(const struct x86_insn *i)
{
	switch (i->op) {
	case X86_OP_SHL:
	case X86_OP_SAL:
	case X86_OP_SHR:
	case X86_OP_SAR:
	case X86_OP_ROL:
	case X86_OP_ROR:
		return true;
	default:
		return false;
	}
}

op_fn *choose_alu(const struct x86_insn *i, enum form form)
{
	unsigned size = i->opnd[0].size;

	if (form == FORMS || !size || size > 8)
		return NULL;
	if (i->op == X86_OP_IMUL && i->nops == 3)
		return three_operand_imul(i);
	if (shifts(i)) {
		if (form == FORM_RI && !(i->imm & COUNT_MASK(size)))
			return NULL;
	} else if (i->nops > 2 ||
		   (i->nops == 2 && i->opnd[1].kind != X86_OPND_IMM && i->opnd[1].size != size)) {
		return NULL;
	}
	for (unsigned n = 0; n < ARRAY_SIZE(table); n++)
		if (table[n].op == i->op && (i->nops > 1 || i->op != X86_OP_IMUL))
			return table[n].fn[__builtin_ctz(size)][form];
	return NULL;
}
