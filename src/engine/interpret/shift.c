/*
 * shift.c - shifts, rotates, double shifts, bit tests and scans.
 * Source: SDM vol. 2. The count is masked to 5 bits (6 for 64-bit operands);
 * with a masked count of zero no flag changes.
 */
#include "engine/interpret/cpu.h"

static unsigned masked_count(struct cpu *c, const struct x86_insn *i, unsigned n)
{
	return (unsigned)get(c, i, n) & (i->opnd[0].size == 8 ? 63 : 31);
}

static void finish_shift(struct cpu *c, const struct x86_insn *i, uint64_t r, bool carry, bool of)
{
	set(c, i, 0, r);
	set_szp(c, r, i->opnd[0].size);
	set_flag(c, X86_CF, carry);
	set_flag(c, X86_OF, of);
	set_flag(c, X86_AF, false);
}

void op_SHL(struct cpu *c, const struct x86_insn *i)
{
	unsigned size = i->opnd[0].size, n = masked_count(c, i, 1);
	unsigned __int128 wide = (unsigned __int128)get(c, i, 0) << n;
	bool carry = wide >> bits(size) & 1;

	if (!n)
		set(c, i, 0, (uint64_t)wide);
	else
		finish_shift(c, i, (uint64_t)wide, carry, carry != sign((uint64_t)wide, size));
}

void op_SAL(struct cpu *c, const struct x86_insn *i)
{
	op_SHL(c, i);
}

void op_SHR(struct cpu *c, const struct x86_insn *i)
{
	unsigned n = masked_count(c, i, 1);
	uint64_t a = get(c, i, 0);

	if (!n)
		set(c, i, 0, a);
	else
		finish_shift(c, i, a >> n, a >> (n - 1) & 1, sign(a, i->opnd[0].size));
}

void op_SAR(struct cpu *c, const struct x86_insn *i)
{
	unsigned n = masked_count(c, i, 1);
	uint64_t a = get(c, i, 0);
	int64_t s = extend(a, i->opnd[0].size);

	if (!n)
		set(c, i, 0, a);
	else
		finish_shift(c, i, (uint64_t)(s >> n), s >> (n - 1) & 1, false);
}

/* ---- rotates ---- */

static void rotate_flags(struct cpu *c, bool carry, bool of)
{
	set_flag(c, X86_CF, carry);
	set_flag(c, X86_OF, of);
}

void op_ROL(struct cpu *c, const struct x86_insn *i)
{
	unsigned size = i->opnd[0].size, count = masked_count(c, i, 1), n = count % bits(size);
	uint64_t a = get(c, i, 0), r = n ? a << n | a >> (bits(size) - n) : a;

	set(c, i, 0, r);
	if (count)
		rotate_flags(c, r & 1, (r & 1) != sign(r, size));
}

void op_ROR(struct cpu *c, const struct x86_insn *i)
{
	unsigned size = i->opnd[0].size, count = masked_count(c, i, 1), n = count % bits(size);
	uint64_t a = get(c, i, 0), r = n ? a >> n | a << (bits(size) - n) : a;

	set(c, i, 0, r);
	if (count)
		rotate_flags(c, sign(r, size), sign(r, size) != (r >> (bits(size) - 2) & 1));
}

void op_RCL(struct cpu *c, const struct x86_insn *i)
{
	unsigned size = i->opnd[0].size, n = masked_count(c, i, 1) % (bits(size) + 1);
	unsigned width = bits(size) + 1, count = masked_count(c, i, 1);
	unsigned __int128 a = (unsigned __int128)flag(c, X86_CF) << bits(size) | get(c, i, 0);
	unsigned __int128 r = n ? a << n | a >> (width - n) : a;
	bool carry = r >> bits(size) & 1;

	set(c, i, 0, (uint64_t)r);
	if (count)
		rotate_flags(c, carry, carry != sign((uint64_t)r, size));
}

void op_RCR(struct cpu *c, const struct x86_insn *i)
{
	unsigned size = i->opnd[0].size, n = masked_count(c, i, 1) % (bits(size) + 1);
	unsigned width = bits(size) + 1, count = masked_count(c, i, 1);
	unsigned __int128 a = (unsigned __int128)flag(c, X86_CF) << bits(size) | get(c, i, 0);
	unsigned __int128 r = n ? a >> n | a << (width - n) : a;
	uint64_t low = (uint64_t)r;

	set(c, i, 0, low);
	if (count)
		rotate_flags(
			c, r >> bits(size) & 1, sign(low, size) != (low >> (bits(size) - 2) & 1));
}

/* ---- double shifts ---- */

static void finish_double(
	struct cpu *c, const struct x86_insn *i, uint64_t a, uint64_t r, bool carry)
{
	finish_shift(c, i, r, carry, sign(a ^ r, i->opnd[0].size));
}

void op_SHLD(struct cpu *c, const struct x86_insn *i)
{
	unsigned size = i->opnd[0].size, n = masked_count(c, i, 2), w = bits(size);
	uint64_t a = get(c, i, 0), b = get(c, i, 1);
	unsigned __int128 wide = (unsigned __int128)a << w | b;

	if (!n) {
		set(c, i, 0, a);
		return;
	}
	if (n > w) { /* only with 16 bits, and undefined: CPUs fill with the source again */
		wide = (unsigned __int128)b << w | b;
		n -= w;
	}
	finish_double(c, i, a, (uint64_t)(wide << n >> w), wide >> (2 * w - n) & 1);
}

void op_SHRD(struct cpu *c, const struct x86_insn *i)
{
	unsigned size = i->opnd[0].size, n = masked_count(c, i, 2), w = bits(size);
	uint64_t a = get(c, i, 0), b = get(c, i, 1);
	unsigned __int128 wide = (unsigned __int128)b << w | a;

	if (!n) {
		set(c, i, 0, a);
		return;
	}
	if (n > w) {
		wide = (unsigned __int128)b << w | b;
		n -= w;
	}
	finish_double(c, i, a, (uint64_t)(wide >> n), wide >> (n - 1) & 1);
}

/* ---- bits ---- */

/* A register bit offset reaches beyond the memory operand (SDM vol. 2A BT). */
struct bit_place {
	uint64_t off;
	unsigned bit;
};

static struct bit_place find_bit(struct cpu *c, const struct x86_insn *i)
{
	unsigned size = i->opnd[0].size, w = bits(size);
	uint64_t index = get(c, i, 1);
	struct bit_place p = {0, (unsigned)index % w};

	if (i->opnd[0].kind != X86_OPND_MEM)
		return p;
	p.off = address(c, i, &i->mem);
	if (i->opnd[1].kind == X86_OPND_GPR)
		p.off += (uint64_t)(extend(index, size) >> (size == 2          ? 4
								   : size == 4 ? 5
									       : 6)) *
			 size;
	p.off &= size_mask(i->addrsize);
	return p;
}

enum bit_change { BIT_KEEP, BIT_SET, BIT_RESET, BIT_FLIP };

static void bit_operation(struct cpu *c, const struct x86_insn *i, enum bit_change change)
{
	struct bit_place p = find_bit(c, i);
	bool memory = i->opnd[0].kind == X86_OPND_MEM;
	unsigned size = i->opnd[0].size;
	uint64_t a;
	uint64_t mask = BIT(p.bit), r;

	if (!memory)
		a = get(c, i, 0);
	else if (change == BIT_KEEP)
		a = load(c, i->mem.seg, p.off, size);
	else
		a = load_to_change(c, i->mem.seg, p.off, size);
	r = change == BIT_SET ? a | mask : change == BIT_RESET ? a & ~mask : a ^ mask;
	if (change != BIT_KEEP && memory)
		store_changed(c, i, i->mem.seg, p.off, size, r);
	else if (change != BIT_KEEP)
		set(c, i, 0, r);
	set_flag(c, X86_CF, a & mask);
}

void op_BT(struct cpu *c, const struct x86_insn *i)
{
	bit_operation(c, i, BIT_KEEP);
}

void op_BTS(struct cpu *c, const struct x86_insn *i)
{
	bit_operation(c, i, BIT_SET);
}

void op_BTR(struct cpu *c, const struct x86_insn *i)
{
	bit_operation(c, i, BIT_RESET);
}

void op_BTC(struct cpu *c, const struct x86_insn *i)
{
	bit_operation(c, i, BIT_FLIP);
}

/* A zero source leaves the destination (AMD says so, Intel does so). */
static void scan(struct cpu *c, const struct x86_insn *i, bool reverse)
{
	uint64_t v = get(c, i, 1);

	set_flag(c, X86_ZF, !v);
	if (v)
		set(c, i, 0,
			reverse ? 63u - (unsigned)__builtin_clzll(v)
				: (unsigned)__builtin_ctzll(v));
}

void op_BSF(struct cpu *c, const struct x86_insn *i)
{
	scan(c, i, false);
}

void op_BSR(struct cpu *c, const struct x86_insn *i)
{
	scan(c, i, true);
}

/* Zeros to one end; all of them if there is no one. PF, AF, SF and OF stay as they are. */
static void count(struct cpu *c, const struct x86_insn *i, bool leading)
{
	unsigned all = bits(i->opnd[0].size), zeros = all;
	uint64_t v = get(c, i, 1);

	if (v && leading)
		zeros = (unsigned)__builtin_clzll(v) - (64 - all);
	else if (v)
		zeros = (unsigned)__builtin_ctzll(v);
	set_flag(c, X86_CF, !v);
	set_flag(c, X86_ZF, !zeros);
	set(c, i, 0, zeros);
}

void op_TZCNT(struct cpu *c, const struct x86_insn *i)
{
	count(c, i, false);
}

void op_LZCNT(struct cpu *c, const struct x86_insn *i)
{
	count(c, i, true);
}
