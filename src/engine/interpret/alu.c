/*
 * alu.c - arithmetic, logic, moves, multiplication and division, BCD.
 * Source: SDM vol. 2; flags by vol. 1 appendix A. Undefined flags are what
 * comes naturally.
 */
#include "engine/interpret/cpu.h"

/* ---- flags ---- */

void set_szp(struct cpu *c, uint64_t result, unsigned size)
{
	set_flag(c, X86_ZF, !(result & size_mask(size)));
	set_flag(c, X86_SF, sign(result, size));
	set_flag(c, X86_PF, !__builtin_parity((unsigned)result & 0xff));
}

static void flags_add(struct cpu *c, uint64_t a, uint64_t b, uint64_t carry, unsigned size)
{
	uint64_t mask = size_mask(size), r = (a + b + carry) & mask;

	set_szp(c, r, size);
	set_flag(c, X86_CF, r < (a & mask) || (carry && r == (a & mask)));
	set_flag(c, X86_AF, (a ^ b ^ r) & 0x10);
	set_flag(c, X86_OF, sign((a ^ r) & (b ^ r), size));
}

void flags_sub(struct cpu *c, uint64_t a, uint64_t b, uint64_t borrow, unsigned size)
{
	uint64_t mask = size_mask(size), r = (a - b - borrow) & mask;

	set_szp(c, r, size);
	set_flag(c, X86_CF, (a & mask) < (b & mask) || (borrow && (a & mask) == (b & mask)));
	set_flag(c, X86_AF, (a ^ b ^ r) & 0x10);
	set_flag(c, X86_OF, sign((a ^ b) & (a ^ r), size));
}

static void flags_logic(struct cpu *c, uint64_t r, unsigned size)
{
	set_szp(c, r, size);
	c->s.rflags &= ~(uint64_t)(X86_CF | X86_OF | X86_AF);
}

bool condition(const struct cpu *c, unsigned cc)
{
	bool result = false, less = flag(c, X86_SF) != flag(c, X86_OF);

	switch (cc >> 1) {
	case 0:
		result = flag(c, X86_OF);
		break;
	case 1:
		result = flag(c, X86_CF);
		break;
	case 2:
		result = flag(c, X86_ZF);
		break;
	case 3:
		result = flag(c, X86_CF | X86_ZF);
		break;
	case 4:
		result = flag(c, X86_SF);
		break;
	case 5:
		result = flag(c, X86_PF);
		break;
	case 6:
		result = less;
		break;
	case 7:
		result = less || flag(c, X86_ZF);
		break;
	}
	return result != (cc & 1);
}

/* ---- two operands ---- */

void op_ADD(struct cpu *c, const struct x86_insn *i)
{
	uint64_t a = get(c, i, 0), b = get(c, i, 1);

	set(c, i, 0, a + b);
	flags_add(c, a, b, 0, i->opnd[0].size);
}

void op_ADC(struct cpu *c, const struct x86_insn *i)
{
	uint64_t a = get(c, i, 0), b = get(c, i, 1), carry = flag(c, X86_CF);

	set(c, i, 0, a + b + carry);
	flags_add(c, a, b, carry, i->opnd[0].size);
}

void op_SUB(struct cpu *c, const struct x86_insn *i)
{
	uint64_t a = get(c, i, 0), b = get(c, i, 1);

	set(c, i, 0, a - b);
	flags_sub(c, a, b, 0, i->opnd[0].size);
}

void op_SBB(struct cpu *c, const struct x86_insn *i)
{
	uint64_t a = get(c, i, 0), b = get(c, i, 1), borrow = flag(c, X86_CF);

	set(c, i, 0, a - b - borrow);
	flags_sub(c, a, b, borrow, i->opnd[0].size);
}

void op_CMP(struct cpu *c, const struct x86_insn *i)
{
	uint64_t a = get(c, i, 0);

	flags_sub(c, a, get(c, i, 1), 0, i->opnd[0].size);
}

static void logic(struct cpu *c, const struct x86_insn *i, uint64_t r)
{
	set(c, i, 0, r);
	flags_logic(c, r, i->opnd[0].size);
}

void op_AND(struct cpu *c, const struct x86_insn *i)
{
	uint64_t a = get(c, i, 0);

	logic(c, i, a & get(c, i, 1));
}

void op_OR(struct cpu *c, const struct x86_insn *i)
{
	uint64_t a = get(c, i, 0);

	logic(c, i, a | get(c, i, 1));
}

void op_XOR(struct cpu *c, const struct x86_insn *i)
{
	uint64_t a = get(c, i, 0);

	logic(c, i, a ^ get(c, i, 1));
}

void op_TEST(struct cpu *c, const struct x86_insn *i)
{
	uint64_t a = get(c, i, 0);

	flags_logic(c, a & get(c, i, 1), i->opnd[0].size);
}

/* ---- one operand ---- */

void op_INC(struct cpu *c, const struct x86_insn *i)
{
	uint64_t a = get(c, i, 0);
	bool carry = flag(c, X86_CF);

	set(c, i, 0, a + 1);
	flags_add(c, a, 1, 0, i->opnd[0].size);
	set_flag(c, X86_CF, carry);
}

void op_DEC(struct cpu *c, const struct x86_insn *i)
{
	uint64_t a = get(c, i, 0);
	bool carry = flag(c, X86_CF);

	set(c, i, 0, a - 1);
	flags_sub(c, a, 1, 0, i->opnd[0].size);
	set_flag(c, X86_CF, carry);
}

void op_NEG(struct cpu *c, const struct x86_insn *i)
{
	uint64_t a = get(c, i, 0);

	set(c, i, 0, -a);
	flags_sub(c, 0, a, 0, i->opnd[0].size);
}

void op_NOT(struct cpu *c, const struct x86_insn *i)
{
	set(c, i, 0, ~get(c, i, 0));
}

/* ---- moves ---- */

void op_MOVZX(struct cpu *c, const struct x86_insn *i)
{
	set(c, i, 0, get(c, i, 1));
}

void op_MOVSX(struct cpu *c, const struct x86_insn *i)
{
	set(c, i, 0, (uint64_t)extend(get(c, i, 1), i->opnd[1].size));
}

void op_MOVSXD(struct cpu *c, const struct x86_insn *i)
{
	set(c, i, 0, (uint64_t)extend(get(c, i, 1), i->opnd[1].size));
}

void op_LEA(struct cpu *c, const struct x86_insn *i)
{
	set(c, i, 0, address(c, i, &i->mem));
}

void op_XCHG(struct cpu *c, const struct x86_insn *i)
{
	uint64_t a = get(c, i, 0), b = get(c, i, 1);

	if (i->opnd[0].kind == X86_OPND_MEM) {
		set(c, i, 0, b);
		set(c, i, 1, a);
	} else {
		set(c, i, 1, a);
		set(c, i, 0, b);
	}
}

void op_XADD(struct cpu *c, const struct x86_insn *i)
{
	uint64_t a = get(c, i, 0), b = get(c, i, 1);
	bool memory = i->opnd[0].kind == X86_OPND_MEM;

	if (memory)
		set(c, i, 0, a + b);
	set(c, i, 1, a);
	if (!memory)
		set(c, i, 0, a + b);
	flags_add(c, a, b, 0, i->opnd[0].size);
}

/* The destination is written in any case (SDM vol. 2A CMPXCHG). */
void op_CMPXCHG(struct cpu *c, const struct x86_insn *i)
{
	unsigned size = i->opnd[0].size;
	uint64_t dest = get(c, i, 0), acc = get_gpr(c, X86_RAX, size), src = get(c, i, 1);

	if (acc == dest) {
		set(c, i, 0, src);
	} else {
		if (i->opnd[0].kind == X86_OPND_MEM)
			set(c, i, 0, dest);
		set_gpr(c, X86_RAX, size, dest);
	}
	flags_sub(c, acc, dest, 0, size);
}

void op_CMPXCHG8B(struct cpu *c, const struct x86_insn *i)
{
	uint64_t old = get(c, i, 0);
	uint64_t want = get_gpr(c, X86_RDX, 4) << 32 | get_gpr(c, X86_RAX, 4);
	uint64_t new = get_gpr(c, X86_RCX, 4) << 32 | get_gpr(c, X86_RBX, 4);
	bool equal = old == want;

	set(c, i, 0, equal ? new : old);
	if (!equal) {
		set_gpr(c, X86_RAX, 4, old);
		set_gpr(c, X86_RDX, 4, old >> 32);
	}
	set_flag(c, X86_ZF, equal);
}

void op_CMPXCHG16B(struct cpu *c, const struct x86_insn *i)
{
	uint64_t old[2] = {c->s.gpr[X86_RAX], c->s.gpr[X86_RDX]};
	uint64_t new[2] = {c->s.gpr[X86_RBX], c->s.gpr[X86_RCX]};
	bool equal;

	check_aligned(c, i, 16);
	equal = swap_16(c, i->mem.seg, address(c, i, &i->mem), old, new);
	c->s.gpr[X86_RAX] = old[0];
	c->s.gpr[X86_RDX] = old[1];
	set_flag(c, X86_ZF, equal);
}

void op_CMOV(struct cpu *c, const struct x86_insn *i)
{
	uint64_t a = get(c, i, 0), b = get(c, i, 1);

	set(c, i, 0, condition(c, i->cc) ? b : a);
}

void op_SET(struct cpu *c, const struct x86_insn *i)
{
	set(c, i, 0, condition(c, i->cc));
}

void op_BSWAP(struct cpu *c, const struct x86_insn *i)
{
	uint64_t v = get(c, i, 0);

	/* With 16 bits the result is undefined; CPUs give zero. */
	set(c, i, 0,
		i->opnd[0].size == 8   ? __builtin_bswap64(v)
		: i->opnd[0].size == 4 ? __builtin_bswap32((uint32_t)v)
				       : 0);
}

void op_XLAT(struct cpu *c, const struct x86_insn *i)
{
	uint64_t off = (c->s.gpr[X86_RBX] + (c->s.gpr[X86_RAX] & 0xff)) & size_mask(i->addrsize);

	set_gpr(c, X86_RAX, 1, load(c, i->mem.seg, off, 1));
}

void op_LAHF(struct cpu *c, const struct x86_insn *i)
{
	uint64_t f = (c->s.rflags & (X86_SF | X86_ZF | X86_AF | X86_PF | X86_CF)) | X86_FLAGS_FIXED;

	c->s.gpr[X86_RAX] = (c->s.gpr[X86_RAX] & ~UINT64_C(0xff00)) | f << 8;
}

void op_SAHF(struct cpu *c, const struct x86_insn *i)
{
	uint64_t mask = X86_SF | X86_ZF | X86_AF | X86_PF | X86_CF;

	c->s.rflags = (c->s.rflags & ~mask) | (c->s.gpr[X86_RAX] >> 8 & mask);
}

void op_CBW(struct cpu *c, const struct x86_insn *i)
{
	set_gpr(c, X86_RAX, i->opsize, (uint64_t)extend(c->s.gpr[X86_RAX], i->opsize / 2));
}

void op_CWD(struct cpu *c, const struct x86_insn *i)
{
	bool negative = sign(c->s.gpr[X86_RAX], i->opsize);

	set_gpr(c, X86_RDX, i->opsize, negative ? UINT64_MAX : 0);
}

void op_SALC(struct cpu *c, const struct x86_insn *i)
{
	set_gpr(c, X86_RAX, 1, flag(c, X86_CF) ? 0xff : 0);
}

void op_CLC(struct cpu *c, const struct x86_insn *i)
{
	set_flag(c, X86_CF, false);
}

void op_STC(struct cpu *c, const struct x86_insn *i)
{
	set_flag(c, X86_CF, true);
}

void op_CMC(struct cpu *c, const struct x86_insn *i)
{
	c->s.rflags ^= X86_CF;
}

void op_CLD(struct cpu *c, const struct x86_insn *i)
{
	set_flag(c, X86_DF, false);
}

void op_STD(struct cpu *c, const struct x86_insn *i)
{
	set_flag(c, X86_DF, true);
}

void op_NOP(struct cpu *c, const struct x86_insn *i)
{
}

void op_PAUSE(struct cpu *c, const struct x86_insn *i)
{
}

/* ---- multiplication and division ---- */

/* The double-width result of one-operand forms: AX, or rDX:rAX. */
static void set_wide(struct cpu *c, unsigned size, unsigned __int128 v)
{
	if (size == 1) {
		set_gpr(c, X86_RAX, 2, (uint64_t)v);
		return;
	}
	set_gpr(c, X86_RAX, size, (uint64_t)v);
	set_gpr(c, X86_RDX, size, (uint64_t)(v >> bits(size)));
}

static unsigned __int128 get_wide(const struct cpu *c, unsigned size)
{
	if (size == 1)
		return get_gpr(c, X86_RAX, 2);
	return (unsigned __int128)get_gpr(c, X86_RDX, size) << bits(size) |
	       get_gpr(c, X86_RAX, size);
}

static void flags_multiply(struct cpu *c, bool wide)
{
	set_flag(c, X86_CF, wide);
	set_flag(c, X86_OF, wide);
}

void op_MUL(struct cpu *c, const struct x86_insn *i)
{
	unsigned size = i->opnd[0].size;
	unsigned __int128 r = (unsigned __int128)get(c, i, 0) * get_gpr(c, X86_RAX, size);

	set_wide(c, size, r);
	flags_multiply(c, r >> bits(size) != 0);
}

static bool fits(__int128 r, unsigned size)
{
	return r == extend((uint64_t)r, size);
}

/* One operand (F6, F7), two (0F AF) or three (69, 6B). */
void op_IMUL(struct cpu *c, const struct x86_insn *i)
{
	unsigned size = i->opnd[0].size, a = i->nops == 3 ? 1 : 0;
	__int128 x = extend(get(c, i, a), size), r;

	if (i->nops == 1) {
		r = x * extend(c->s.gpr[X86_RAX], size);
		set_wide(c, size, (unsigned __int128)r);
	} else {
		r = x * extend(get(c, i, a + 1), size);
		set(c, i, 0, (uint64_t)r);
	}
	flags_multiply(c, !fits(r, size));
}

static void set_quotient(struct cpu *c, unsigned size, uint64_t quotient, uint64_t remainder)
{
	if (size == 1) {
		set_gpr(c, X86_RAX, 2, (quotient & 0xff) | (remainder & 0xff) << 8);
		return;
	}
	set_gpr(c, X86_RAX, size, quotient);
	set_gpr(c, X86_RDX, size, remainder);
}

void op_DIV(struct cpu *c, const struct x86_insn *i)
{
	unsigned size = i->opnd[0].size;
	uint64_t divisor = get(c, i, 0);
	unsigned __int128 dividend = get_wide(c, size);

	if (!divisor || dividend / divisor > size_mask(size))
		raise_fault(c, X86_DE);
	set_quotient(c, size, (uint64_t)(dividend / divisor), (uint64_t)(dividend % divisor));
}

void op_IDIV(struct cpu *c, const struct x86_insn *i)
{
	unsigned size = i->opnd[0].size, shift = 128 - bits(size) * 2;
	__int128 dividend = (__int128)(get_wide(c, size) << shift) >> shift;
	__int128 divisor = extend(get(c, i, 0), size), q;

	if (!divisor)
		raise_fault(c, X86_DE);
	/* The one quotient that 128 bits cannot hold. */
	if (divisor == -1 && (unsigned __int128)dividend == (unsigned __int128)1 << 127)
		raise_fault(c, X86_DE);
	q = dividend / divisor;
	if (!fits(q, size))
		raise_fault(c, X86_DE);
	set_quotient(c, size, (uint64_t)q, (uint64_t)(dividend % divisor));
}

/* ---- decimal adjustment ---- */

static void adjust_packed(struct cpu *c, int direction)
{
	uint8_t al = (uint8_t)c->s.gpr[X86_RAX], old = al;
	bool carry = flag(c, X86_CF), new_carry = false;

	if ((al & 15) > 9 || flag(c, X86_AF)) {
		new_carry = carry || (direction > 0 ? old > 0xf9 : old < 6);
		al = (uint8_t)(al + 6 * direction);
		set_flag(c, X86_AF, true);
	}
	if (old > 0x99 || carry) {
		al = (uint8_t)(al + 0x60 * direction);
		new_carry = true;
	}
	set_flag(c, X86_CF, new_carry);
	set_gpr(c, X86_RAX, 1, al);
	set_szp(c, al, 1);
}

void op_DAA(struct cpu *c, const struct x86_insn *i)
{
	adjust_packed(c, 1);
}

void op_DAS(struct cpu *c, const struct x86_insn *i)
{
	adjust_packed(c, -1);
}

static void adjust_unpacked(struct cpu *c, int direction)
{
	uint16_t ax = (uint16_t)c->s.gpr[X86_RAX];
	bool adjust = (ax & 15) > 9 || flag(c, X86_AF);

	if (adjust)
		ax = (uint16_t)(ax + 0x106 * direction);
	set_flag(c, X86_AF, adjust);
	set_flag(c, X86_CF, adjust);
	set_gpr(c, X86_RAX, 2, ax & 0xff0f);
	set_szp(c, ax & 15, 1);
}

void op_AAA(struct cpu *c, const struct x86_insn *i)
{
	adjust_unpacked(c, 1);
}

void op_AAS(struct cpu *c, const struct x86_insn *i)
{
	adjust_unpacked(c, -1);
}

void op_AAM(struct cpu *c, const struct x86_insn *i)
{
	uint8_t base = (uint8_t)i->imm, al = (uint8_t)c->s.gpr[X86_RAX];

	if (!base)
		raise_fault(c, X86_DE);
	set_gpr(c, X86_RAX, 2, (uint64_t)(al / base) << 8 | al % base);
	flags_logic(c, al % base, 1);
}

void op_AAD(struct cpu *c, const struct x86_insn *i)
{
	uint16_t ax = (uint16_t)c->s.gpr[X86_RAX];
	uint8_t al = (uint8_t)(ax + (ax >> 8) * (uint8_t)i->imm);

	set_gpr(c, X86_RAX, 2, al);
	flags_logic(c, al, 1);
}
