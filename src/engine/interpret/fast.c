/*
 * fast.c - see fast.h. Flags are the host's own: it computes the same
 * operation, and LAHF and SETO read what it left.
 */
#include "engine/interpret/fast.h"

/* ---- memory ---- */

typedef uint32_t __attribute__((aligned(1), may_alias)) any32;
typedef uint64_t __attribute__((aligned(1), may_alias)) any64;

static inline uint64_t effective(const struct cpu *c, const struct x86_insn *i)
{
	const struct x86_mem *m = &i->mem;
	uint64_t ea = (uint64_t)m->disp;

	if (m->base < X86_GPR_COUNT)
		ea += c->s.gpr[m->base];
	else if (m->base == X86_REG_IP)
		ea += c->next_rip;
	if (m->index != X86_NOREG)
		ea += c->s.gpr[m->index] * m->scale;
	return i->addrsize == 8 ? ea : ea & size_mask(i->addrsize);
}

/*
 * An ordinary segment that allows the access: whatever else a segment may be is
 * left to linear(). In real mode attributes say nothing.
 */
static inline bool segment_allows(const struct cpu *c, const struct x86_seg *s, uint64_t off,
	unsigned size, enum x86_access a)
{
	const uint32_t odd = X86_ATTR_UNUSABLE | TYPE_CODE | TYPE_CONFORMING;

	if (off + size - 1 > s->limit)
		return false;
	if (!protected_mode(c))
		return !(s->attr & TYPE_CONFORMING); /* expand-down counts there too */
	return !(s->attr & odd) && (a == X86_READ || s->attr & TYPE_WRITABLE);
}

/*
 * Host address of a TLB hit, or NULL. An entry is only there after all checks
 * but those of segments, of alignment and of data breakpoints.
 */
static inline uint8_t *hit(
	struct cpu *c, unsigned seg, uint64_t off, unsigned size, enum x86_access a)
{
	const struct x86_seg *s = &c->s.seg[seg];
	struct tlb_entry *e;
	uint64_t lin;

	if (c->mode == X86_MODE_64) {
		lin = seg >= X86_FS ? off + s->base : off;
	} else {
		if (!segment_allows(c, s, off, size, a))
			return NULL;
		lin = (uint32_t)(s->base + off);
	}
	e = &c->tlb[lin / PAGE_SIZE % TLB_SIZE];
	if (e->page != lin / PAGE_SIZE || !(e->fast & X86_RIGHT(c->privilege, a)) ||
		(lin & 4095) > PAGE_SIZE - size || c->align_check || c->watch)
		return NULL;
	if (a == X86_WRITE && e->code &&
		atomic_load_explicit(&e->code->lines, memory_order_relaxed))
		return NULL;
	return e->host + (lin & 4095);
}

__attribute__((no_sanitize("thread"))) static inline uint64_t fast_load(
	struct cpu *c, unsigned seg, uint64_t off, unsigned size)
{
	const uint8_t *p = hit(c, seg, off, size, X86_READ);

	if (!p)
		return load(c, seg, off, size);
	return size == 8 ? *(const volatile any64 *)p : *(const volatile any32 *)p;
}

__attribute__((no_sanitize("thread"))) static inline void fast_store(
	struct cpu *c, unsigned seg, uint64_t off, unsigned size, uint64_t v)
{
	uint8_t *p = hit(c, seg, off, size, X86_WRITE);

	if (!p)
		store(c, seg, off, size, v);
	else if (size == 8)
		*(volatile any64 *)p = v;
	else
		*(volatile any32 *)p = (uint32_t)v;
}

/* ---- arithmetic ---- */

#define LAHF_BITS 0xd5u /* SF ZF AF PF CF */

static inline void put_flags(struct cpu *c, uint32_t ax)
{
	c->s.rflags = (c->s.rflags & ~(uint64_t)X86_FLAGS_ARITH) | (ax >> 8 & LAHF_BITS) |
		      (uint64_t)(ax & 1) << 11;
}

#define HOST_OP(name, op)                                                                          \
	static inline uint64_t name(struct cpu *c, uint64_t a, uint64_t b, unsigned size)          \
	{                                                                                          \
		uint32_t ax;                                                                       \
		uint32_t a32 = (uint32_t)a;                                                        \
                                                                                                   \
		if (size == 8)                                                                     \
			__asm__(op "q %2, %0\n\tlahf\n\tseto %%al"                                 \
				: "+r"(a), "=&a"(ax)                                               \
				: "r"(b)                                                           \
				: "cc");                                                           \
		else                                                                               \
			__asm__(op "l %k2, %k0\n\tlahf\n\tseto %%al"                               \
				: "+r"(a32), "=&a"(ax)                                             \
				: "r"(b)                                                           \
				: "cc");                                                           \
		put_flags(c, ax);                                                                  \
		return size == 8 ? a : a32;                                                        \
	}

/* AF of logic is undefined; the general bodies clear it, and so do these. */
#define HOST_LOGIC(name, op)                                                                       \
	HOST_OP(name##_with_af, op)                                                                \
	static inline uint64_t name(struct cpu *c, uint64_t a, uint64_t b, unsigned size)          \
	{                                                                                          \
		uint64_t r = name##_with_af(c, a, b, size);                                        \
                                                                                                   \
		c->s.rflags &= ~(uint64_t)X86_AF;                                                  \
		return r;                                                                          \
	}

HOST_OP(host_add, "add")
HOST_OP(host_sub, "sub")
HOST_LOGIC(host_and, "and")
HOST_LOGIC(host_or, "or")
HOST_LOGIC(host_xor, "xor")

/* ---- forms: destination, source ---- */

#define REG(n)      c->s.gpr[i->opnd[n].reg]
#define IMM(n)      ((uint64_t)i->imm)
#define LOAD(size)  fast_load(c, i->mem.seg, effective(c, i), size)
#define BODY(name)  static void name(struct cpu *c, const struct x86_insn *i)
#define SIZED(size) ((size) == 8 ? UINT64_MAX : UINT32_MAX)

/* The load has checked all that a store checks. */
#define READ_MODIFY_WRITE(fn, size, source)                                                        \
	uint64_t off = effective(c, i), b = source;                                                \
	uint64_t a = load_to_change(c, i->mem.seg, off, size);                                     \
                                                                                                   \
	fast_store(c, i->mem.seg, off, size, fn(c, a, b, size));

#define TWO_OPERANDS(op, fn, size)                                                                 \
	BODY(op##_rr_##size)                                                                       \
	{                                                                                          \
		REG(0) = fn(c, REG(0), REG(1), size);                                              \
	}                                                                                          \
	BODY(op##_ri_##size)                                                                       \
	{                                                                                          \
		REG(0) = fn(c, REG(0), IMM(1), size);                                              \
	}                                                                                          \
	BODY(op##_rm_##size)                                                                       \
	{                                                                                          \
		uint64_t b = LOAD(size);                                                           \
                                                                                                   \
		REG(0) = fn(c, REG(0), b, size);                                                   \
	}                                                                                          \
	BODY(op##_mr_##size){READ_MODIFY_WRITE(fn, size, REG(1))} BODY(op##_mi_##size)             \
	{                                                                                          \
		READ_MODIFY_WRITE(fn, size, IMM(1))                                                \
	}

#define COMPARE(op, fn, size)                                                                      \
	BODY(op##_rr_##size)                                                                       \
	{                                                                                          \
		fn(c, REG(0), REG(1), size);                                                       \
	}                                                                                          \
	BODY(op##_ri_##size)                                                                       \
	{                                                                                          \
		fn(c, REG(0), IMM(1), size);                                                       \
	}                                                                                          \
	BODY(op##_rm_##size)                                                                       \
	{                                                                                          \
		uint64_t b = LOAD(size);                                                           \
                                                                                                   \
		fn(c, REG(0), b, size);                                                            \
	}                                                                                          \
	BODY(op##_mr_##size)                                                                       \
	{                                                                                          \
		fn(c, LOAD(size), REG(1), size);                                                   \
	}                                                                                          \
	BODY(op##_mi_##size)                                                                       \
	{                                                                                          \
		fn(c, LOAD(size), IMM(1), size);                                                   \
	}

#define MOVE(size)                                                                                 \
	BODY(mov_rr_##size)                                                                        \
	{                                                                                          \
		REG(0) = REG(1) & SIZED(size);                                                     \
	}                                                                                          \
	BODY(mov_ri_##size)                                                                        \
	{                                                                                          \
		REG(0) = IMM(1) & SIZED(size);                                                     \
	}                                                                                          \
	BODY(mov_rm_##size)                                                                        \
	{                                                                                          \
		REG(0) = LOAD(size);                                                               \
	}                                                                                          \
	BODY(mov_mr_##size)                                                                        \
	{                                                                                          \
		fast_store(c, i->mem.seg, effective(c, i), size, REG(1));                          \
	}                                                                                          \
	BODY(mov_mi_##size)                                                                        \
	{                                                                                          \
		fast_store(c, i->mem.seg, effective(c, i), size, IMM(1));                          \
	}

TWO_OPERANDS(add, host_add, 4)
TWO_OPERANDS(add, host_add, 8)
TWO_OPERANDS(sub, host_sub, 4)
TWO_OPERANDS(sub, host_sub, 8)
TWO_OPERANDS(and, host_and, 4)
TWO_OPERANDS(and, host_and, 8)
TWO_OPERANDS(or, host_or, 4)
TWO_OPERANDS(or, host_or, 8)
TWO_OPERANDS(xor, host_xor, 4)
TWO_OPERANDS(xor, host_xor, 8)
COMPARE(cmp, host_sub, 4)
COMPARE(cmp, host_sub, 8)
COMPARE(test, host_and, 4)
COMPARE(test, host_and, 8)
MOVE(4)
MOVE(8)

enum form { FORM_RR, FORM_RI, FORM_RM, FORM_MR, FORM_MI, FORMS };

#define ROW(op)                                                                                    \
	{                                                                                          \
		{op##_rr_4, op##_ri_4, op##_rm_4, op##_mr_4, op##_mi_4},                           \
		{                                                                                  \
			op##_rr_8, op##_ri_8, op##_rm_8, op##_mr_8, op##_mi_8                      \
		}                                                                                  \
	}

static const struct {
	uint16_t op;
	insn_body *body[2][FORMS];
} two_operands[] = {
	{X86_OP_ADD, ROW(add)},
	{X86_OP_SUB, ROW(sub)},
	{X86_OP_AND, ROW(and)},
	{X86_OP_OR, ROW(or)},
	{X86_OP_XOR, ROW(xor)},
	{X86_OP_CMP, ROW(cmp)},
	{X86_OP_TEST, ROW(test)},
	{X86_OP_MOV, ROW(mov)},
};

/* ---- others ---- */

BODY(lea_4)
{
	REG(0) = effective(c, i) & UINT32_MAX;
}

BODY(lea_8)
{
	REG(0) = effective(c, i);
}

BODY(push_8)
{
	uint64_t sp = c->s.gpr[X86_RSP] - 8;

	fast_store(c, X86_SS, sp, 8, REG(0));
	c->s.gpr[X86_RSP] = sp;
}

BODY(pop_8)
{
	uint64_t v = fast_load(c, X86_SS, c->s.gpr[X86_RSP], 8);

	c->s.gpr[X86_RSP] += 8;
	REG(0) = v;
}

static inline void take(struct cpu *c, uint64_t target)
{
	if (__builtin_expect(!is_canonical(target), 0))
		raise_error(c, X86_GP, 0);
	c->next_rip = target;
}

BODY(jump_if)
{
	if (condition(c, i->cc))
		take(c, c->next_rip + (uint64_t)i->imm);
}

BODY(jump_zero)
{
	if (flag(c, X86_ZF))
		take(c, c->next_rip + (uint64_t)i->imm);
}

BODY(jump_not_zero)
{
	if (!flag(c, X86_ZF))
		take(c, c->next_rip + (uint64_t)i->imm);
}

BODY(jump)
{
	take(c, c->next_rip + (uint64_t)i->imm);
}

BODY(call)
{
	uint64_t sp = c->s.gpr[X86_RSP] - 8, target = c->next_rip + (uint64_t)i->imm;

	if (!is_canonical(target)) /* the general body has the order of faults */
		op_CALL(c, i);
	fast_store(c, X86_SS, sp, 8, c->next_rip);
	c->s.gpr[X86_RSP] = sp;
	c->next_rip = target;
}

BODY(ret)
{
	take(c, fast_load(c, X86_SS, c->s.gpr[X86_RSP], 8));
	c->s.gpr[X86_RSP] += 8;
}

/* ---- which ---- */

static bool is_gpr(const struct x86_operand *o)
{
	return o->kind == X86_OPND_GPR && !o->high;
}

static bool is_imm(const struct x86_operand *o)
{
	return o->kind == X86_OPND_IMM;
}

static bool is_mem(const struct x86_operand *o)
{
	return o->kind == X86_OPND_MEM && !o->reg;
}

static enum form form_of(const struct x86_insn *i)
{
	const struct x86_operand *a = &i->opnd[0], *b = &i->opnd[1];

	if (i->nops != 2 || i->lock)
		return FORMS;
	if (is_gpr(a))
		return is_gpr(b) ? FORM_RR : is_imm(b) ? FORM_RI : is_mem(b) ? FORM_RM : FORMS;
	if (is_mem(a))
		return is_gpr(b) ? FORM_MR : is_imm(b) ? FORM_MI : FORMS;
	return FORMS;
}

static insn_body *two_operand_body(const struct x86_insn *i)
{
	unsigned size = i->opnd[0].size;
	enum form form = form_of(i);

	if (form == FORMS || (size != 4 && size != 8))
		return NULL;
	for (unsigned n = 0; n < ARRAY_SIZE(two_operands); n++)
		if (two_operands[n].op == i->op)
			return two_operands[n].body[size == 8][form];
	return NULL;
}

/* In 64-bit code; a displacement cannot leave the canonical half unnoticed: fetch looks. */
static insn_body *branch_body(const struct x86_insn *i)
{
	bool near = i->opsize == 8 && i->opnd[0].kind == X86_OPND_REL;

	if (i->mode != X86_MODE_64)
		return NULL;
	switch (i->op) {
	case X86_OP_J:
		return i->cc == 4 ? jump_zero : i->cc == 5 ? jump_not_zero : jump_if;
	case X86_OP_JMP:
		return near ? jump : NULL;
	case X86_OP_CALL:
		return near ? call : NULL;
	case X86_OP_RET:
		return i->opsize == 8 && !i->nops ? ret : NULL;
	case X86_OP_PUSH:
		return i->opsize == 8 && is_gpr(&i->opnd[0]) ? push_8 : NULL;
	case X86_OP_POP:
		return i->opsize == 8 && is_gpr(&i->opnd[0]) ? pop_8 : NULL;
	default:
		return NULL;
	}
}

insn_body *fast_body(const struct x86_insn *i, insn_body *general)
{
	insn_body *body = two_operand_body(i);

	if (!body && i->op == X86_OP_LEA && i->opnd[0].size >= 4)
		body = i->opnd[0].size == 8 ? lea_8 : lea_4;
	if (!body)
		body = branch_body(i);
	return body ? body : general;
}
