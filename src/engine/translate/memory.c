/*
 * memory.c - the fast TLBs of translated code, and what happens on a miss.
 *
 * An entry is there only if the access needs nothing but the host address:
 * RAM, all rights, and for writes no decoded code in the page. Each follows
 * from an entry of interpret's TLB and dies with its flushes. An empty entry
 * has a page that its slot never looks for.
 */
#include "engine/translate/internal.h"

#include "core/run.h"

#define FAST_MASK (FAST_SIZE - 1)
#define LIST_SIZE ARRAY_SIZE(((struct tcpu *)0)->fast_list)

static struct fast_entry *fast_all(struct tcpu *t)
{
	return &t->fast[0][0][0];
}

static void clear(struct tcpu *t, unsigned n)
{
	fast_all(t)[n].page = ((n & FAST_MASK) ^ 1) << 12;
}

void fast_flush(struct tcpu *t)
{
	if (t->fast_used > LIST_SIZE)
		for (unsigned n = 0; n < X86_PRIVILEGES * 2 * FAST_SIZE; n++)
			clear(t, n);
	else
		for (unsigned n = 0; n < t->fast_used; n++)
			clear(t, t->fast_list[n]);
	t->fast_used = 0;
}

void fast_flush_page(struct tcpu *t, uint64_t lin)
{
	unsigned at = lin >> 12 & FAST_MASK;

	for (unsigned k = 0; k < X86_PRIVILEGES * 2; k++)
		clear(t, k * FAST_SIZE + at);
}

void forget_writes(struct cpu *c, const struct code_page *p)
{
	struct tcpu *t = (struct tcpu *)c;
	uint64_t gpa = (uint64_t)(p - c->e->code) << 12;
	const struct bus_range *r = bus_find(&c->v->vm->mem_bus, gpa);
	uint64_t host;

	if (!r || r->region->kind == BUS_IO)
		return;
	host = (uint64_t)(uintptr_t)(r->region->host + r->off + (gpa - r->base));
	for (unsigned k = 0; k < X86_PRIVILEGES; k++)
		for (unsigned n = 0; n < FAST_SIZE; n++)
			if (t->fast[k][1][n].addend == host)
				clear(t, (k * 2 + 1) * FAST_SIZE + n);
}

/* The fault of a block under check is interpret's to raise: NULL. */
static struct tlb_entry *find_quietly(struct cpu *c, uint64_t lin, enum x86_access access)
{
	struct tlb_entry *volatile e = NULL;
	jmp_buf keep;

	memcpy(&keep, &c->leave, sizeof(keep));
	if (!setjmp(c->leave))
		e = tlb_find(c, lin, c->privilege, access);
	memcpy(&c->leave, &keep, sizeof(keep));
	return e;
}

/* What decides is told by interpret's entry; the fault of an access leaves by longjmp. */
static struct tlb_entry *look_up(
	struct tcpu *t, uint64_t lin, uint32_t info, enum x86_access access)
{
	struct cpu *c = &t->c;
	int64_t left = t->left, granted = t->granted;
	uint64_t executed = c->result->executed, counted = t->stats.counted;
	struct tlb_entry *e;

	account(t, INFO_BEFORE(info) + 1);
	e = t->check ? find_quietly(c, lin, access) : tlb_find(c, lin, c->privilege, access);
	t->left = left;
	t->granted = granted;
	c->result->executed = executed;
	t->stats.counted = counted;
	return e;
}

/* A writer is told before the look: who marks the page sees one or is seen. */
static bool direct(const struct cpu *c, const struct tlb_entry *e, enum x86_access access)
{
	uint16_t self = (uint16_t)(1u << c->v->id);

	if (!(e->fast & X86_RIGHT(c->privilege, access)))
		return false;
	if (access == X86_READ || !e->code)
		return true;
	if (!(atomic_load(&e->code->writers) & self))
		atomic_fetch_or(&e->code->writers, self);
	return !atomic_load(&e->code->lines);
}

uint8_t *slow_access(struct tcpu *t, uint64_t lin, uint32_t info)
{
	struct cpu *c = &t->c;
	bool write = info >> 8 & 1;
	enum x86_access access = write ? X86_WRITE : X86_READ;
	unsigned size = info & 0xff;
	struct fast_entry *f;
	struct tlb_entry *e;

	t->stats.slow++;
	t->stats.slow_writes += write;
	if (t->live)
		tidy_vectors(t);
	flags_from_memory(t);
	if (info >> 16)
		rebuild_flags(t, info >> 16);
	if ((lin & 4095) + size > PAGE_SIZE || (c->mode == X86_MODE_64 && !is_canonical(lin)))
		goto odd;
	e = look_up(t, lin, info, access);
	if (!e || !direct(c, e, access) || refused(t))
		goto odd;
	if (t->check && write) { /* it stays a miss */
		check_store(t->check, e->host + (lin & 4095), size);
		return e->host + (lin & 4095);
	}
	if (t->torture.miss)
		return e->host + (lin & 4095);
	f = &t->fast[c->privilege][write][lin >> 12 & FAST_MASK];
	f->page = lin & ~UINT64_C(4095);
	f->addend = (uint64_t)(uintptr_t)e->host;
	if (t->fast_used < LIST_SIZE)
		t->fast_list[t->fast_used] = (uint32_t)(f - fast_all(t));
	if (t->fast_used <= LIST_SIZE)
		t->fast_used++;
	return e->host + (lin & 4095);
odd:
	account(t, INFO_BEFORE(info));
	return NULL;
}
