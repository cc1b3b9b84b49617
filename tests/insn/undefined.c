/*
 * undefined.c - which flags an instruction leaves undefined: the SDM's, no more.
 *
 * The opcode table has them by row. For shifts and rotates they depend on the
 * count (SDM vol. 2B, SAL/SAR/SHL/SHR, RCL/RCR/ROL/ROR, SHLD, SHRD): with a
 * count of 0 no flag changes; OF is defined for a count of 1; CF of SHL and SHR
 * is undefined from a count of the operand's size on.
 */
#include <string.h>

#include "compare.h"
#include "util/util.h"

static bool named(const char *name, const char *const *list, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		if (!strcmp(name, list[i]))
			return true;
	return false;
}

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

static uint32_t undefined_by_count(const struct insn_case *c, uint32_t undefined)
{
	static const char *const logical[] = {"shl", "sal", "shr"};
	static const char *const shift[] = {"shl", "sal", "shr", "sar", "shld", "shrd"};
	const char *name = x86_insn_table[c->insn.entry].name;
	const struct x86_operand *last = &c->insn.opnd[c->insn.nops - 1];
	unsigned size = c->insn.opnd[0].size;
	unsigned count = operand_value(c, last) & (size == 8 ? 63 : 31);

	if (count == 0)
		return 0;
	undefined |= X86_OF;
	if (named(name, shift, ARRAY_SIZE(shift)))
		undefined |= X86_AF;
	if (count == 1)
		undefined &= ~X86_OF;
	if (named(name, logical, ARRAY_SIZE(logical)) && count >= size * 8)
		undefined |= X86_CF;
	return undefined;
}

uint32_t undefined_flags(const struct insn_case *c)
{
	static const char *const counted[] = {
		"shl", "sal", "shr", "sar", "rol", "ror", "rcl", "rcr", "shld", "shrd"};
	const struct x86_insn_desc *desc = &x86_insn_table[c->insn.entry];

	if (named(desc->name, counted, ARRAY_SIZE(counted)))
		return undefined_by_count(c, desc->flags_undefined);
	return desc->flags_undefined;
}
