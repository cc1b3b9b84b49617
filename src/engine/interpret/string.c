/*
 * string.c - string instructions and port I/O. One call executes one
 * iteration: a repeated instruction stays where it is until rCX is zero, so
 * that interrupts come between iterations.
 * Sources: SDM vol. 2 (REP, IN, OUT), vol. 1 19.5 (I/O permission).
 */
#include "engine/interpret/cpu.h"

static int64_t step_of(const struct cpu *c, unsigned size)
{
	return flag(c, X86_DF) ? -(int64_t)size : (int64_t)size;
}

static void advance(struct cpu *c, const struct x86_insn *i, unsigned reg, unsigned size)
{
	set_gpr(c, reg, i->addrsize, c->s.gpr[reg] + (uint64_t)step_of(c, size));
}

/* false: the count is zero, and there is nothing to do. */
static bool begin(struct cpu *c, const struct x86_insn *i)
{
	return i->rep == X86_REP_NONE || get_gpr(c, X86_RCX, i->addrsize) != 0;
}

/* again: the condition of REPE and REPNE holds. */
static void end(struct cpu *c, const struct x86_insn *i, bool again)
{
	uint64_t count;

	if (i->rep == X86_REP_NONE)
		return;
	count = get_gpr(c, X86_RCX, i->addrsize) - 1;
	set_gpr(c, X86_RCX, i->addrsize, count);
	if ((count & size_mask(i->addrsize)) && again)
		c->next_rip = c->s.rip;
}

static bool again_by_zf(const struct cpu *c, const struct x86_insn *i)
{
	return flag(c, X86_ZF) == (i->rep == X86_REP_F3);
}

void op_MOVS(struct cpu *c, const struct x86_insn *i)
{
	if (!begin(c, i))
		return;
	set(c, i, 0, get(c, i, 1));
	advance(c, i, X86_RSI, i->opnd[0].size);
	advance(c, i, X86_RDI, i->opnd[0].size);
	end(c, i, true);
}

void op_CMPS(struct cpu *c, const struct x86_insn *i)
{
	uint64_t b;

	if (!begin(c, i))
		return;
	b = get(c, i, 1); /* CPUs read ES:rDI first */
	flags_sub(c, get(c, i, 0), b, 0, i->opnd[0].size);
	advance(c, i, X86_RSI, i->opnd[0].size);
	advance(c, i, X86_RDI, i->opnd[0].size);
	end(c, i, again_by_zf(c, i));
}

void op_STOS(struct cpu *c, const struct x86_insn *i)
{
	if (!begin(c, i))
		return;
	set(c, i, 0, get(c, i, 1));
	advance(c, i, X86_RDI, i->opnd[0].size);
	end(c, i, true);
}

void op_LODS(struct cpu *c, const struct x86_insn *i)
{
	if (!begin(c, i))
		return;
	set(c, i, 0, get(c, i, 1));
	advance(c, i, X86_RSI, i->opnd[0].size);
	end(c, i, true);
}

void op_SCAS(struct cpu *c, const struct x86_insn *i)
{
	uint64_t a;

	if (!begin(c, i))
		return;
	a = get(c, i, 0);
	flags_sub(c, a, get(c, i, 1), 0, i->opnd[0].size);
	advance(c, i, X86_RDI, i->opnd[0].size);
	end(c, i, again_by_zf(c, i));
}

/* ---- ports ---- */

#define TSS_IO_MAP 102u /* offset of the I/O map base in a 32-bit TSS */

static bool map_allows(struct cpu *c, uint16_t port, unsigned size)
{
	const struct x86_seg *tr = &c->s.seg[X86_TR];
	uint32_t base, map;

	if (tr->attr & X86_ATTR_UNUSABLE || !(tr->attr & 8) || tr->limit < TSS_IO_MAP + 1)
		return false;
	base = (uint32_t)load_system(c, tr->base + TSS_IO_MAP, 2) + port / 8;
	if (base + 1 > tr->limit)
		return false;
	map = (uint32_t)load_system(c, tr->base + base, 2) >> (port % 8);
	return !(map & ((1u << size) - 1));
}

static void check_port(struct cpu *c, uint16_t port, unsigned size)
{
	bool free = !v86_mode(c) && cpl(c) <= (c->s.rflags >> 12 & 3);

	if (!free && !map_allows(c, port, size))
		raise_error(c, X86_GP, 0);
}

void op_IN(struct cpu *c, const struct x86_insn *i)
{
	uint16_t port = (uint16_t)get(c, i, 1);

	check_port(c, port, i->opnd[0].size);
	set(c, i, 0, vcpu_pio_in(c->v, port, i->opnd[0].size));
}

void op_OUT(struct cpu *c, const struct x86_insn *i)
{
	uint16_t port = (uint16_t)get(c, i, 0);
	unsigned size = i->opnd[1].size;

	check_port(c, port, size);
	vcpu_pio_out(c->v, port, size, (uint32_t)get(c, i, 1));
}

void op_INS(struct cpu *c, const struct x86_insn *i)
{
	uint16_t port = (uint16_t)c->s.gpr[X86_RDX];
	unsigned size = i->opnd[0].size;

	check_port(c, port, size); /* even if the count is zero */
	if (!begin(c, i))
		return;
	/* A port must not be read if the store would fault. */
	probe_store(c, X86_ES, address(c, i, &i->mem2), size);
	set(c, i, 0, vcpu_pio_in(c->v, port, size));
	advance(c, i, X86_RDI, size);
	end(c, i, true);
}

void op_OUTS(struct cpu *c, const struct x86_insn *i)
{
	uint16_t port = (uint16_t)c->s.gpr[X86_RDX];
	unsigned size = i->opnd[1].size;

	check_port(c, port, size); /* even if the count is zero */
	if (!begin(c, i))
		return;
	vcpu_pio_out(c->v, port, size, (uint32_t)get(c, i, 1));
	advance(c, i, X86_RSI, size);
	end(c, i, true);
}
