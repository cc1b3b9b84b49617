/*
 * fast.h - how the instructions of a block run: each goes on to the next one.
 *
 * An op_fn of its own serves the commonest forms of the commonest instructions
 * and memory accesses that hit the TLB; everything else, and every miss, is
 * run_general(), which brings c->s up to date and calls the instruction's body.
 * While ops run, rIP, the arithmetic flags and the count of executed
 * instructions in c are those of the block's begin.
 * Flags are the host's own: it computes the same operation, LAHF and SETO read
 * what it left. Host and guest are the same architecture.
 */
#ifndef TINAMOU_INTERPRET_FAST_H
#define TINAMOU_INTERPRET_FAST_H

#include "engine/interpret/cpu.h"

/* Accesses are single ones of the host; races are the guest's own. */
#define RACY __attribute__((no_sanitize("thread")))
#define OP(name)                                                                                   \
	RACY static uint32_t name(                                                                 \
		struct cpu *c, const struct op *op, uint32_t f, uint64_t privilege)
#define NEXT       return op[1].fn(c, op + 1, f, privilege)
#define IF_MISS(h) if (unlikely(!(h)))
#define GENERAL    return run_general(c, op, f, privilege)
#define INLINE     RACY static inline __attribute__((always_inline))

/* The instruction's body, in the midst of a block, or as its last. */
op_fn run_general, run_last;
/* One that is not plain, always the last (interpret.c). */
op_fn run_system;
/* Behind the last instruction of a block that ends without a branch. */
op_fn run_end;

/*
 * Fills op for an instruction that begins `at` bytes into its block and that
 * the CPU model offers. Those of branches are for the last of a block; without
 * one it is run_general.
 */
void choose_op(const struct cpu *c, const struct x86_insn *i, unsigned at, struct op *op);

/* ---- addresses ---- */

/* What is known of a memory operand: segments without base in 64-bit or flat 32-bit code, or not.
 */
enum address_kind { KIND_64, KIND_32, KIND_SEG, KINDS };
enum form {
	FORM_RR,
	FORM_RI,
	FORM_RM, /* and KIND */
	FORM_MR = FORM_RM + KINDS,
	FORM_MI = FORM_MR + KINDS,
	FORMS = FORM_MI + KINDS
};

/* An op of these kinds whose operands are filled in, or NULL. flat: as in struct cpu. */
op_fn *choose_alu(const struct x86_insn *i, enum form form);
op_fn *choose_move(const struct x86_insn *i, enum form form, bool flat);
op_fn *choose_branch(const struct x86_insn *i, enum address_kind kind, bool flat);

typedef uint8_t __attribute__((may_alias)) mem1;
typedef uint16_t __attribute__((aligned(1), may_alias)) mem2;
typedef uint32_t __attribute__((aligned(1), may_alias)) mem4;
typedef uint64_t __attribute__((aligned(1), may_alias)) mem8;

#define REG(size, offset) (*(mem##size *)((char *)c + (offset)))
#define MEM(size, p)      (*(volatile mem##size *)(p))

/* A write of a register: 32 bits clear the upper half. */
#define SET1(offset, v) (REG(1, offset) = (v))
#define SET2(offset, v) (REG(2, offset) = (v))
#define SET4(offset, v) (REG(8, offset) = (uint32_t)(v))
#define SET8(offset, v) (REG(8, offset) = (v))

INLINE uint64_t effective(const struct cpu *c, const struct op *op)
{
	return REG(8, op->base) + (REG(8, op->index) << op->shift) + (uint64_t)(int64_t)op->disp;
}

INLINE bool holds_code(const struct code_page *page, uint64_t lin, unsigned size)
{
	uint64_t lines = atomic_load_explicit(&page->lines, memory_order_relaxed);

	if (!lines)
		return false;
	return (lines >> ((lin >> LINE_SHIFT) & 63) |
		       lines >> ((lin + size - 1) >> LINE_SHIFT & 63)) &
	       1;
}

/* Where a linear address is in the host; NULL: not in the TLB, or not simply memory. */
INLINE uint8_t *hit(
	struct cpu *c, uint64_t lin, unsigned size, enum x86_access a, uint64_t privilege)
{
	const struct tlb_hit *e = &c->hit[lin / PAGE_SIZE % TLB_SIZE];
	uint64_t tag = a == X86_WRITE ? e->write[privilege] : e->read[privilege];

	if (unlikely(lin + tag > PAGE_SIZE - size))
		return NULL;
	if (a == X86_WRITE && unlikely(holds_code(e->code, lin, size)))
		return NULL;
	return e->host + lin;
}

/* The same for the memory operand of op. */
INLINE uint8_t *operand(struct cpu *c, const struct op *op, unsigned size, enum x86_access a,
	enum address_kind kind, uint64_t privilege)
{
	static const uint64_t mask[] = {0, 0, 0xffff, 0, 0xffffffff, 0, 0, 0, UINT64_MAX};
	uint64_t at = effective(c, op);
	const struct window *w;

	if (kind == KIND_64)
		return hit(c, at, size, a, privilege);
	if (kind == KIND_32)
		return hit(c, (uint32_t)at, size, a, privilege);
	w = &c->window[op->seg & 15];
	at &= mask[op->seg >> 4];
	if (at + size > (a == X86_WRITE ? w->write : w->read))
		return NULL;
	return hit(c, (w->base + at) & c->lin_mask, size, a, privilege);
}

/* Where a block leads on: slot 1 or 2 behind its last op. */
static inline struct way *way_of(const struct op *last, unsigned n)
{
	return (struct way *)(uintptr_t) & ((const union slot *)(const void *)last)[n].way;
}

/* ---- flags, as LAHF and SETO leave them ---- */

#define F_CF 0x100u
#define F_PF 0x400u
#define F_ZF 0x4000u
#define F_SF 0x8000u
#define F_OF 1u

static inline uint32_t get_flags(const struct cpu *c)
{
	return (uint32_t)(c->s.rflags & 0xd5) << 8 | (c->s.rflags >> 11 & 1);
}

static inline void put_flags(struct cpu *c, uint32_t f)
{
	c->s.rflags = (c->s.rflags & ~(uint64_t)X86_FLAGS_ARITH) | (f >> 8 & 0xd5) |
		      (uint64_t)(f & 1) << 11;
}

/* X(number, is it met?) for the condition codes of SDM vol. 1 appendix B. */
#define F_LESS (((f >> 15) ^ f) & 1)
#define CONDITIONS(X)                                                                              \
	X(0, f &F_OF)                                                                              \
	X(1, !(f & F_OF))                                                                          \
	X(2, f &F_CF)                                                                              \
	X(3, !(f & F_CF))                                                                          \
	X(4, f &F_ZF)                                                                              \
	X(5, !(f & F_ZF))                                                                          \
	X(6, f &(F_CF | F_ZF))                                                                     \
	X(7, !(f & (F_CF | F_ZF)))                                                                 \
	X(8, f &F_SF)                                                                              \
	X(9, !(f & F_SF))                                                                          \
	X(10, f &F_PF)                                                                             \
	X(11, !(f & F_PF))                                                                         \
	X(12, F_LESS)                                                                              \
	X(13, !F_LESS)                                                                             \
	X(14, F_LESS || f & F_ZF)                                                                  \
	X(15, !F_LESS && !(f & F_ZF))

#endif
