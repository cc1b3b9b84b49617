/*
 * block.c - decoded instructions, kept by physical address and mode.
 *
 * A block ends before what is not plain can do harm: after a branch or a
 * system instruction, and at the end of its page. It is stale when its page
 * has another version (cpu.h). The pool is emptied as a whole when it is full.
 */
#include <string.h>

#include "engine/interpret/fast.h"

void forget_blocks(struct cpu *c)
{
	memset(c->index, 0, sizeof(c->index));
	c->slots_used = 0;
	c->insns_used = 0;
	next_generation(c);
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

static struct op *op_at(struct block *b, unsigned n)
{
	return &((union slot *)(void *)b)[1 + n].op;
}

/* Decodes at linear address `at`, and chooses what runs it; false: not in this block. */
static bool append(struct cpu *c, const struct tlb_entry *e, uint64_t at, struct block *b)
{
	struct x86_insn *i = &c->insn[b->first + b->count];
	struct op *op = op_at(b, b->count);

	/* Marked before it is read, so that no store comes between unseen. */
	mark_code(c, e->code, e->gpa + (at & 4095),
		MIN(X86_INSN_MAX, PAGE_SIZE - (unsigned)(at & 4095)));
	if (!decode_more(c, e, at, i))
		return false;
	c->insn_body[b->first + b->count] = body_of(c, i);
	if (is_offered(c, i))
		choose_op(c, i, b->bytes, op);
	else
		*op = (struct op){.fn = run_general, .at = b->bytes};
	op->number = b->count++;
	b->bytes = (uint8_t)(b->bytes + i->len);
	return true;
}

/* The last op returns to the run loop; its ways lead nowhere yet, whatever the slots held. */
static void finish(struct cpu *c, struct block *b)
{
	const struct x86_insn *i = &c->insn[b->first + b->count - 1];
	struct op *last = op_at(b, b->count - 1u);

	if (!ends_plain(i)) {
		last->fn = run_system;
	} else if (is_plain(i)) {
		last = op_at(b, b->count);
		*last = (struct op){.fn = run_end, .at = b->bytes};
	} else if (last->fn == run_general) {
		last->fn = run_last;
	}
	for (unsigned n = 1; n <= 2; n++)
		*way_of(last, n) = (struct way){0};
}

static bool fill(struct cpu *c, const struct tlb_entry *e, uint64_t lin, struct block *b,
	uint32_t first, unsigned max)
{
	uint32_t version = atomic_load_explicit(&e->code->version, memory_order_acquire);
	const struct x86_insn *last = NULL;

	*b = (struct block){.addr = e->gpa + (lin & 4095),
		.version = version,
		.first = first,
		.key = block_key(c),
		.code = e->code};
	while (b->count < max && (!last || is_plain(last)) &&
		((lin + b->bytes) ^ lin) < PAGE_SIZE && append(c, e, lin + b->bytes, b))
		last = &c->insn[first + b->count - 1];
	if (last)
		finish(c, b);
	return last;
}

/* The block itself, an op behind the last, two ways. */
#define OTHER_SLOTS 4u

/* To be kept. */
static struct block *fill_kept(struct cpu *c, const struct tlb_entry *e, uint64_t lin)
{
	union slot *s;

	if (c->slots_used + BLOCK_MAX + OTHER_SLOTS > SLOT_COUNT ||
		c->insns_used + BLOCK_MAX > INSN_COUNT)
		forget_blocks(c);
	s = &c->slot[c->slots_used];
	if (!fill(c, e, lin, &s->block, c->insns_used, BLOCK_MAX))
		return NULL;
	c->insns_used += s->block.count;
	c->slots_used += s->block.count + OTHER_SLOTS;
	return &s->block;
}

/* The translation of the code address, if there can be blocks; or NULL. */
static const struct tlb_entry *code_entry(struct cpu *c, uint64_t lin)
{
	const struct tlb_entry *e;

	if (c->s.rip > code_limit(c) || (c->mode == X86_MODE_64 && !is_canonical(lin)))
		return NULL;
	e = tlb_find(c, lin, code_privilege(c), X86_FETCH);
	return e->code ? e : NULL;
}

const struct block *single_block(struct cpu *c)
{
	uint64_t lin = code_address(c);
	const struct tlb_entry *e = code_entry(c, lin);
	struct block *b = &c->slot[SLOT_COUNT].block;

	return e && fill(c, e, lin, b, INSN_COUNT, 1) ? b : NULL;
}

const struct block *find_block(struct cpu *c)
{
	uint64_t lin = code_address(c);
	const struct tlb_entry *e = code_entry(c, lin);
	struct block **at, *b;
	gpa_t addr;

	if (!e || (unlikely(c->stops) && stops_in_page(c, lin)))
		return NULL;
	addr = e->gpa + (lin & 4095);
	at = &c->index[(addr ^ addr >> 15) % BLOCK_COUNT];
	b = *at;
	if (!b || b->addr != addr || b->key != block_key(c) ||
		b->version != atomic_load_explicit(&e->code->version, memory_order_acquire)) {
		b = fill_kept(c, e, lin);
		if (!b)
			return NULL;
		*at = b;
	}
	return c->s.rip + b->bytes - 1 > code_limit(c) ? NULL : b;
}
