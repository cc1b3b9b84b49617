/*
 * string.c - repeated string instructions: page by page by the host's own
 * `rep`, interruptible at each page.
 *
 * RCX, RSI and RDI are right after every piece, so that a fault or a wish for
 * the vCPU stops between two iterations. What is no plain memory, what crosses
 * a page, and what goes downwards is interpret's, one iteration at a time.
 * Source: SDM vol. 2B (REP).
 */
#include "engine/translate/internal.h"

#define SLICE 256u /* iterations of interpret's between two looks */

static insn_body *iteration(const struct x86_insn *i)
{
	switch (i->op) {
	case X86_OP_MOVS:
		return op_MOVS;
	case X86_OP_STOS:
		return op_STOS;
	case X86_OP_CMPS:
		return op_CMPS;
	case X86_OP_SCAS:
		return op_SCAS;
	case X86_OP_LODS:
		return op_LODS;
	default:
		return NULL;
	}
}

/* Elements from linear address lin on that are in one page. */
static uint64_t in_page(uint64_t lin, unsigned size)
{
	return (PAGE_SIZE - (lin & 4095)) / size;
}

/* NULL: not simply memory. Raises #PF. */
static uint8_t *memory_at(struct cpu *c, uint64_t lin, enum x86_access a)
{
	struct tlb_entry *e = tlb_find(c, lin, c->privilege, a);

	if (!(e->fast & X86_RIGHT(c->privilege, a)))
		return NULL;
	if (a == X86_WRITE && e->code &&
		atomic_load_explicit(&e->code->lines, memory_order_relaxed))
		return NULL;
	return e->host + (lin & 4095);
}

/* Another vCPU may have decoded there meanwhile. */
static void wrote(struct cpu *c, uint64_t lin, uint64_t len)
{
	const struct tlb_entry *e = tlb_find(c, lin, c->privilege, X86_WRITE);

	if (c->shared && e->code)
		look_behind(c, e, lin, (unsigned)len);
}

#define REPEAT(insn)                                                                               \
	__asm__ volatile("rep " insn : "+D"(to), "+S"(from), "+c"(count) : "a"(value) : "memory")

static void repeat(
	const struct x86_insn *i, uint8_t *to, const uint8_t *from, uint64_t count, uint64_t value)
{
	unsigned size = i->opnd[0].size;

	if (i->op == X86_OP_STOS) {
		if (size == 1)
			REPEAT("stosb");
		else if (size == 2)
			REPEAT("stosw");
		else if (size == 4)
			REPEAT("stosl");
		else
			REPEAT("stosq");
	} else {
		if (size == 1)
			REPEAT("movsb");
		else if (size == 2)
			REPEAT("movsw");
		else if (size == 4)
			REPEAT("movsl");
		else
			REPEAT("movsq");
	}
}

/* What page by page can do nothing for: 0. Else how many elements were done. */
static uint64_t do_page(struct cpu *c, const struct x86_insn *i, uint64_t count)
{
	unsigned size = i->opnd[0].size;
	uint64_t mask = size_mask(i->addrsize), to, from = 0;
	uint8_t *host_to, *host_from = NULL;

	if (i->addrsize < 4 || flag(c, X86_DF))
		return 0;
	if (c->mode != X86_MODE_64 && (!c->flat || i->mem.seg >= X86_FS))
		return 0; /* limits count for each element */
	to = linear(c, X86_ES, c->s.gpr[X86_RDI] & mask, size, X86_WRITE);
	count = MIN(count, in_page(to, size));
	if (i->op == X86_OP_MOVS) {
		from = linear(c, i->mem.seg, c->s.gpr[X86_RSI] & mask, size, X86_READ);
		count = MIN(count, in_page(from, size));
	}
	if (!count)
		return 0;
	if (i->op == X86_OP_MOVS)
		host_from = memory_at(c, from, X86_READ);
	host_to = memory_at(c, to, X86_WRITE);
	if (!host_to || (i->op == X86_OP_MOVS && !host_from))
		return 0;
	repeat(i, host_to, host_from, count, c->s.gpr[X86_RAX]);
	wrote(c, to, count * size);
	set_gpr(c, X86_RDI, i->addrsize, c->s.gpr[X86_RDI] + count * size);
	if (i->op == X86_OP_MOVS)
		set_gpr(c, X86_RSI, i->addrsize, c->s.gpr[X86_RSI] + count * size);
	set_gpr(c, X86_RCX, i->addrsize, c->s.gpr[X86_RCX] - count);
	return count;
}

/* false: it is over. */
static bool do_slice(struct cpu *c, const struct x86_insn *i, uint64_t end)
{
	for (unsigned n = 0; n < SLICE; n++) {
		c->next_rip = end;
		iteration(i)(c, i);
		if (c->next_rip == end)
			return false;
	}
	return true;
}

static void repeated(struct cpu *c, const struct x86_insn *i)
{
	uint64_t end = c->next_rip, mask = size_mask(i->addrsize), count;
	bool plain = i->op == X86_OP_MOVS || i->op == X86_OP_STOS;

	while ((count = c->s.gpr[X86_RCX] & mask)) {
		if (!plain || !do_page(c, i, count))
			if (!do_slice(c, i, end))
				return;
		if (vcpu_attention(c->v, flag(c, X86_IF))) {
			c->look = true;
			c->next_rip = c->s.gpr[X86_RCX] & mask ? c->s.rip : end;
			return;
		}
	}
	c->next_rip = end;
}

insn_body *string_body(const struct x86_insn *i)
{
	if (!iteration(i))
		return NULL;
	return i->rep == X86_REP_NONE ? iteration(i) : repeated;
}
