/*
 * block.c - decoded instructions, kept by physical address and mode.
 *
 * A block ends before what is not plain can do harm: after a branch or a
 * system instruction, and at the end of its page. It is stale when its page
 * has another version (cpu.h). The pool is emptied as a whole when it is full.
 */
#include "engine/interpret/cpu.h"

void forget_blocks(struct cpu *c)
{
	for (unsigned n = 0; n < BLOCK_COUNT; n++)
		c->block[n].addr = UINT64_MAX;
	c->pool_used = 0;
}

/* Near branches and string instructions need no more than plain ones. */
static bool ends_plain(const struct x86_insn *i)
{
	switch (i->op) {
	case X86_OP_J:
	case X86_OP_JMP:
	case X86_OP_CALL:
	case X86_OP_RET:
	case X86_OP_LOOP:
	case X86_OP_LOOPE:
	case X86_OP_LOOPNE:
	case X86_OP_JCXZ:
		return true;
	default:
		return is_plain(i) || (x86_insn_table[i->entry].class == X86_CLASS_STRING &&
					      i->op != X86_OP_INS && i->op != X86_OP_OUTS);
	}
}

/* Only what can be decoded without a fault becomes part of a block. */
static bool decode_more(struct cpu *c, const struct tlb_entry *e, uint64_t lin, struct x86_insn *to)
{
	unsigned room = PAGE_SIZE - (lin & 4095);
	uint64_t limit = code_limit(c), off = c->s.rip + (lin - code_address(c));

	if (limit != UINT64_MAX && off <= limit)
		room = (unsigned)MIN(room, limit - off + 1);
	else if (limit != UINT64_MAX)
		return false;
	return x86_decode(e->host + (lin & 4095), MIN(room, X86_INSN_MAX), c->mode, to) ==
		       X86_DECODE_OK &&
	       !(to->vex && !protected_mode(c));
}

static const struct block *fill(
	struct cpu *c, const struct tlb_entry *e, uint64_t lin, gpa_t addr, struct block *b)
{
	uint32_t version = atomic_load_explicit(&e->code->version, memory_order_acquire);
	const struct x86_insn *last = NULL;
	uint64_t at = lin;

	if (c->pool_used + BLOCK_MAX > POOL_SIZE)
		forget_blocks(c);
	*b = (struct block){
		.addr = addr, .version = version, .first = c->pool_used, .mode = c->mode};
	while (b->count < BLOCK_MAX && (!last || is_plain(last)) && (at ^ lin) < PAGE_SIZE) {
		struct x86_insn *to = &c->pool[c->pool_used];

		/* Marked before it is read, so that no store comes between unseen. */
		mark_code(c, e->code, e->gpa + (at & 4095),
			MIN(X86_INSN_MAX, PAGE_SIZE - (unsigned)(at & 4095)));
		if (!decode_more(c, e, at, to))
			break;
		c->pool_body[c->pool_used++] = body_of(c, to);
		at += to->len;
		b->count++;
		last = to;
	}
	b->bytes = (uint8_t)(at - lin);
	if (!last) {
		b->addr = UINT64_MAX;
		return NULL;
	}
	b->ends_plain = ends_plain(last);
	return b;
}

const struct block *find_block(struct cpu *c)
{
	uint64_t lin = code_address(c);
	struct tlb_entry *e;
	struct block *b;
	gpa_t addr;

	if (c->s.rip > code_limit(c) || (c->mode == X86_MODE_64 && !is_canonical(lin)))
		return NULL;
	e = &c->tlb[lin / PAGE_SIZE % TLB_SIZE];
	if (e->page != lin / PAGE_SIZE || !(e->rights & X86_RIGHT(code_privilege(c), X86_FETCH)))
		e = tlb_find(c, lin, code_privilege(c), X86_FETCH);
	addr = e->gpa + (lin & 4095);
	if (!e->code)
		return NULL;
	b = &c->block[(addr ^ addr >> 13) % BLOCK_COUNT];
	if (b->addr != addr || b->mode != c->mode ||
		b->version != atomic_load_explicit(&e->code->version, memory_order_acquire))
		return fill(c, e, lin, addr, b);
	if (c->s.rip + b->bytes - 1 > code_limit(c))
		return NULL;
	return b;
}
