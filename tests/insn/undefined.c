/*
 * undefined.c - which flags an instruction leaves undefined: the SDM's, no more.
 *
 * The opcode table has them by row. For shifts and rotates they depend on the
 * count (SDM vol. 2B, SAL/SAR/SHL/SHR, RCL/RCR/ROL/ROR, SHLD, SHRD): with a
 * count of 0 no flag changes; OF is defined for a count of 1; CF of SHL and SHR
 * is undefined from a count of the operand's size on.
 */
#include "compare.h"

static unsigned operand_value(const struct insn_case *c, const struct x86_operand *o)
{
	switch (o->kind) {
	case X86_OPND_GPR:
		return (unsigned)c->regs.gpr[o->reg];
	case X86_OPND_IMM2:
		return (unsigned)c->insn.imm2;
	default:
		return (unsigned)c->insn.imm;
	}
}

static bool is_logical_shift(unsigned op)
{
	return op == X86_OP_SHL || op == X86_OP_SAL || op == X86_OP_SHR;
}

static bool is_shift(unsigned op)
{
	return is_logical_shift(op) || op == X86_OP_SAR || op == X86_OP_SHLD || op == X86_OP_SHRD;
}

static uint32_t undefined_by_count(const struct insn_case *c, uint32_t undefined)
{
	const struct x86_operand *last = &c->insn.opnd[c->insn.nops - 1];
	unsigned size = c->insn.opnd[0].size;
	unsigned count = operand_value(c, last) & (size == 8 ? 63 : 31);

	if (count == 0)
		return 0;
	undefined |= X86_OF;
	if (is_shift(c->insn.op))
		undefined |= X86_AF;
	if (count == 1)
		undefined &= ~X86_OF;
	if (is_logical_shift(c->insn.op) && count >= size * 8)
		undefined |= X86_CF;
	return undefined;
}

uint32_t undefined_flags(const struct insn_case *c)
{
	uint32_t undefined = x86_insn_table[c->insn.entry].flags_undefined;

	if (undefined & X86_FLAGS_BY_COUNT)
		return undefined_by_count(c, undefined & ~X86_FLAGS_BY_COUNT);
	return undefined;
}
