/*
 * string.c - repeated string instructions: page by page by the host's own
 * `rep`, interruptible at each page.
 *
 * RCX, RSI and RDI are right after every piece, so that a fault or a wish for
 * the vCPU stops between two iterations. What is no plain memory, what crosses
 * a page, and what goes downwards is interpret's, one iteration at a time.
 * MOVS and STOS of 64-bit code within a page are emitted: the rest calls these.
 * Source: SDM vol. 2B (REP).
 */
#include "engine/translate/internal.h"

#define SHORT 1024u /* bytes */
#define SLICE 256u  /* iterations of interpret's between two looks */

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

/* NULL: not simply memory. Raises #PF. Emitted code is to find it next time if len is short. */
static uint8_t *memory_at(struct cpu *c, uint64_t lin, enum x86_access a, uint64_t len)
{
	struct tlb_entry *e = tlb_find(c, lin, c->privilege, a);

	if (!(e->fast & X86_RIGHT(c->privilege, a)))
		return NULL;
	if (a == X86_WRITE && e->code &&
		atomic_load_explicit(&e->code->lines, memory_order_relaxed))
		return NULL;
	if (len <= SHORT)
		remember((struct tcpu *)c, lin, a == X86_WRITE, e);
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
		host_from = memory_at(c, from, X86_READ, count * size);
	host_to = memory_at(c, to, X86_WRITE, count * size);
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

/* ---- emitted ---- */

bool copies_string(const struct x86_insn *i, const struct key *key)
{
	return (i->op == X86_OP_MOVS || i->op == X86_OP_STOS) && key->mode == X86_MODE_64 &&
	       i->addrsize == 8 && (i->op == X86_OP_STOS || i->mem.seg < X86_FS);
}

struct ways {
	uint32_t from[8];
	unsigned count;
};

static void to_body(struct ways *w, struct emitter *e, unsigned cc)
{
	w->from[w->count++] = jcc_forward(e->c, cc);
}

/* The page at reg may be had by a call of C. On to `again`, or to the body. */
static void fetch_page(struct emitter *e, struct ways *w, unsigned reg, bool write, uint32_t again)
{
	uint32_t access = new_access(e, e->n->i.opnd[0].size, write);

	e->t->site[access].page = 0; /* it has no entry of its own */
	mov_rr(e->c, T0, reg);
	mov_imm(e->c, T1, access);
	call_to(e->c, e->stubs->string);
	put_rr(e->c, OP(0x85), T1, T1);
	jcc_to(e->c, CC_NZ, again);
	w->from[w->count++] = jmp_forward(e->c);
}

/* T0 becomes the difference for the page at reg, which holds the whole of it. */
static void find_page(struct emitter *e, struct ways *w, unsigned reg, bool write)
{
	struct code *c = e->c;
	unsigned size = e->n->i.opnd[0].size;
	struct mem entry = {RSP, T1, 1, (int32_t)fast_table(e->s->key.privilege, write)};
	uint32_t again = c->at, hit;

	mov_rr32(c, T1, reg);
	shift_imm(c, false, 5, T1, 8);
	alu_imm32(c, false, 4, T1, (FAST_SIZE - 1) << 4);
	mov_rr(c, T0, reg);
	put_rm(c, OP_W(0x2b), T0, entry);
	alu_imm32(c, true, 7, T0, (int32_t)(PAGE_SIZE - size));
	hit = jcc_forward(c, CC_BE);
	fetch_page(e, w, reg, write, again);
	land(c, hit);
	if (e->n->i.rep) {
		lea64(c, T0, (struct mem){T0, RCX, (uint8_t)size, 0});
		alu_imm32(c, true, 7, T0, PAGE_SIZE);
		to_body(w, e, CC_A);
	}
	entry.disp += (int32_t)offsetof(struct fast_entry, delta);
	load64(c, T0, entry);
}

static void put_string(struct emitter *e)
{
	const struct x86_insn *i = &e->n->i;
	struct opcode o = {.byte = i->opcode,
		.w = i->opnd[0].size == 8,
		.size16 = i->opnd[0].size == 2,
		.prefix = i->rep ? 0xf3 : 0};

	put_opcode(e->c, o, 0, 0, 0);
}

/* RSI and RDI are the host's while it is done. */
static void copy_piece(struct emitter *e, struct ways *w)
{
	struct code *c = e->c;
	bool moves = e->n->i.op == X86_OP_MOVS;

	if (moves) { /* what it reads is looked at first: it may fault */
		find_page(e, w, RSI, false);
		store64(c, in_state(STATE(scratch)), T0);
	}
	find_page(e, w, RDI, true);
	if (moves) {
		load64(c, T1, in_state(STATE(scratch)));
		put_rr(c, OP_W(0x03), RSI, T1);
	}
	put_rr(c, OP_W(0x03), RDI, T0);
	put_string(e);
	put_rr(c, OP_W(0x2b), RDI, T0);
	if (moves)
		put_rr(c, OP_W(0x2b), RSI, T1);
}

void emit_string(struct emitter *e)
{
	struct code *c = e->c;
	struct ways w = {.count = 0};
	uint32_t none = 0, done;

	need_flags_in_memory(e);
	e->flags = IN_MEMORY;
	put_rm(c, OP(0xf7), 0, in_state(STATE(c.s.rflags)));
	put32(c, X86_DF);
	to_body(&w, e, CC_NZ);
	if (e->n->i.rep) {
		put_rr(c, OP_W(0x85), RCX, RCX);
		none = jcc_forward(c, CC_Z);
		alu_imm32(c, true, 7, RCX, PAGE_SIZE);
		to_body(&w, e, CC_A);
	}
	copy_piece(e, &w);
	done = jmp_forward(c);
	for (unsigned n = 0; n < w.count; n++)
		land(c, w.from[n]);
	emit_body(e);
	land(c, done);
	if (none)
		land(c, none);
}
