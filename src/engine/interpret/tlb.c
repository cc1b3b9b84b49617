/*
 * tlb.c - translations of one vCPU, and which physical pages hold decoded code.
 *
 * An entry holds the rights of every privilege, so that neither a change of
 * ring nor of AC throws it away. A load of CR3 drops all but global entries,
 * with PCIDs too, which the SDM allows (vol. 3A 4.10.4.1). No vCPU writes
 * another's entries.
 */
#include <string.h>

#include "core/run.h"
#include "engine/interpret/cpu.h"

/* ---- physical memory for the walk ---- */

static uint8_t *table_memory(struct cpu *c, gpa_t gpa, unsigned size)
{
	const struct bus_range *r = bus_find(&c->v->vm->mem_bus, gpa);

	if (!r || r->region->kind == BUS_IO || size > r->size - (gpa - r->base))
		return NULL;
	return r->region->host + r->off + (gpa - r->base);
}

static uint64_t load_entry(void *ctx, uint64_t gpa, unsigned size)
{
	struct cpu *c = ctx;
	uint8_t *p = table_memory(c, gpa &= c->v->vm->a20_mask, size);

	if (!p)
		return vcpu_mmio_read(c->v, gpa, size);
	if (size == 8)
		return __atomic_load_n((uint64_t *)(void *)p, __ATOMIC_ACQUIRE);
	return __atomic_load_n((uint32_t *)(void *)p, __ATOMIC_ACQUIRE);
}

static bool swap_entry(void *ctx, uint64_t gpa, unsigned size, uint64_t old, uint64_t new)
{
	struct cpu *c = ctx;
	uint8_t *p = table_memory(c, gpa &= c->v->vm->a20_mask, size);
	uint32_t old32 = (uint32_t)old;
	bool done;

	if (!p || bus_find(&c->v->vm->mem_bus, gpa)->region->kind != BUS_RAM) {
		vcpu_mmio_write(c->v, gpa, size, new);
		return true;
	}
	if (size == 8)
		done = __atomic_compare_exchange_n((uint64_t *)(void *)p, &old, new, false,
			__ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	else
		done = __atomic_compare_exchange_n((uint32_t *)(void *)p, &old32, (uint32_t) new,
			false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	c->marks += done;
	if (done)
		written(c->e, gpa, size);
	return done;
}

static struct x86_page_memory page_memory(struct cpu *c)
{
	return (struct x86_page_memory){c, load_entry, swap_entry, c->phys_bits};
}

void load_pdptes(struct cpu *c, uint64_t cr3)
{
	struct x86_page_memory m = page_memory(c);
	uint64_t pdpte[4];

	if (!x86_load_pdptes(cr3, &m, pdpte))
		raise_error(c, X86_GP, 0);
	memcpy(c->s.pdpte, pdpte, sizeof(pdpte));
}

/* ---- code ---- */

static struct code_page *code_page(struct interpret_engine *e, gpa_t gpa)
{
	return gpa >> 12 < e->code_pages ? &e->code[gpa >> 12] : NULL;
}

/* In the low byte: which time round the ring, so that an older one is not taken for it. */
static uint8_t stale_round(uint64_t n)
{
	return (uint8_t)(n / STALE_RING + 1);
}

bool stale_number(struct interpret_engine *e, uint64_t n, struct stale *s)
{
	uint64_t v = atomic_load_explicit(&e->stale[n % STALE_RING], memory_order_acquire);

	*s = (struct stale){v >> 32, v >> 26 & 63, v >> 20 & 63, v >> 8 & STALE_VERSION};
	return (uint8_t)v == stale_round(n);
}

static void tell_stale(struct interpret_engine *e, const struct stale *s)
{
	uint64_t n = atomic_fetch_add_explicit(&e->stale_count, 1, memory_order_acq_rel);
	uint64_t v = s->page << 32 | (uint64_t)s->first << 26 | s->last << 20 | s->version << 8 |
		     stale_round(n);

	atomic_store_explicit(&e->stale[n % STALE_RING], v, memory_order_release);
	if (e->went_stale)
		e->went_stale(e);
}

/* A page that is written to again and again loses all of its code at once. */
#define FINE_VERSIONS 64u

/*
 * The lines hold no code any more; false: they held none. Who writes to the page unseen
 * may do so when no line is left, and before that it is no longer sealed.
 */
static bool unmark(struct code_page *p, uint64_t lines, bool *all)
{
	uint64_t old = atomic_load_explicit(&p->lines, memory_order_relaxed), left;

	*all = atomic_load_explicit(&p->version, memory_order_relaxed) >= FINE_VERSIONS;
	do {
		if (!(old & lines))
			return false;
		left = *all ? 0 : old & ~lines;
		if (!left)
			atomic_store_explicit(&p->sealed, false, memory_order_relaxed);
	} while (!atomic_compare_exchange_weak(&p->lines, &old, left));
	if (!left && atomic_load_explicit(&p->emptied, memory_order_relaxed) < UINT8_MAX)
		atomic_fetch_add_explicit(&p->emptied, 1, memory_order_relaxed);
	return true;
}

void written(struct interpret_engine *e, gpa_t gpa, uint64_t len)
{
	for (gpa_t at = gpa & ~UINT64_C(4095); at < gpa + len; at += PAGE_SIZE) {
		struct code_page *p = code_page(e, at);
		struct stale s = {.page = at / PAGE_SIZE, .last = 63};
		bool all;

		if (at < gpa)
			s.first = (gpa & 4095) >> LINE_SHIFT;
		if (gpa + len - at < PAGE_SIZE)
			s.last = (unsigned)((gpa + len - 1 - at) >> LINE_SHIFT);
		if (!p || !unmark(p, ~UINT64_C(0) << s.first & ~UINT64_C(0) >> (63 - s.last), &all))
			continue;
		if (all) {
			s.first = 0;
			s.last = 63;
		}
		s.version = atomic_fetch_add_explicit(&p->version, 1, memory_order_release) + 1;
		s.version &= STALE_VERSION;
		tell_stale(e, &s);
	}
}

/* ---- the TLB ---- */

static void drop(struct cpu *c, struct tlb_entry *e)
{
	struct tlb_hit *h = &c->hit[e - c->tlb];

	e->page = NO_PAGE;
	for (unsigned p = 0; p < X86_PRIVILEGES; p++)
		h->read[p] = h->write[p] = NO_TAG((uint64_t)(e - c->tlb));
}

void tlb_reset(struct cpu *c)
{
	for (unsigned n = 0; n < TLB_SIZE; n++)
		drop(c, &c->tlb[n]);
	next_generation(c);
}

static struct tlb_entry *slot(struct cpu *c, uint64_t lin)
{
	return &c->tlb[lin / PAGE_SIZE % TLB_SIZE];
}

/* The bit of the GiB that lin is in: a page is never larger. */
static uint64_t *large_bit(struct cpu *c, uint64_t lin, uint64_t *bit)
{
	unsigned n = (unsigned)((lin >> 30 ^ lin >> 39) % (ARRAY_SIZE(c->large) * 64));

	*bit = UINT64_C(1) << n % 64;
	return &c->large[n / 64];
}

void tlb_flush(struct cpu *c, bool globals_too)
{
	bool listed = !globals_too && c->filled <= TLB_SIZE;
	unsigned count = listed ? c->filled : TLB_SIZE;

	if (c->hooks)
		c->hooks->flushed(c, globals_too);
	next_generation(c);
	c->filled = 0;
	if (globals_too)
		memset(c->large, 0, sizeof(c->large));
	for (unsigned n = 0; n < count; n++) {
		struct tlb_entry *e = &c->tlb[listed ? c->fill[n] : n];

		if (globals_too || !e->global)
			drop(c, e);
	}
}

void tlb_flush_page(struct cpu *c, uint64_t lin)
{
	struct tlb_entry *e = slot(c, lin);
	uint64_t bit;

	next_generation(c);
	if (*large_bit(c, lin, &bit) & bit) /* any part of it may be in any entry */
		tlb_flush(c, true);
	else if (e->page == lin / PAGE_SIZE)
		drop(c, e);
	if (c->hooks)
		c->hooks->flushed_page(c, lin);
}

/* Host memory behind the page, if all of it is one RAM or ROM. */
static void find_host(struct cpu *c, struct tlb_entry *e)
{
	const struct bus_range *r = bus_find(&c->v->vm->mem_bus, e->gpa);

	e->host = NULL;
	e->code = NULL;
	e->fast = 0;
	if (!r || r->region->kind == BUS_IO || r->size - (e->gpa - r->base) < PAGE_SIZE)
		return;
	e->host = r->region->host + r->off + (e->gpa - r->base);
	e->code = code_page(c->e, e->gpa);
	e->fast = e->rights;
	if (r->region->kind == BUS_ROM)
		for (unsigned p = 0; p < X86_PRIVILEGES; p++)
			e->fast &= ~X86_RIGHT(p, X86_WRITE);
}

#define WRITES                                                                                     \
	(X86_RIGHT(X86_SUPERVISOR, X86_WRITE) | X86_RIGHT(X86_SUPERVISOR_AC, X86_WRITE) |          \
		X86_RIGHT(X86_USER, X86_WRITE))

/* A writer is told before the look: who marks the page sees one or is seen. */
static bool may_write_unseen(const struct cpu *c, struct code_page *p)
{
	if (!p || !c->shared)
		return p;
	if (!(atomic_load(&p->writers) >> c->v->id & 1))
		atomic_fetch_or(&p->writers, (uint16_t)(1u << c->v->id));
	return !atomic_load(&p->lines);
}

static void find_hits(struct cpu *c, const struct tlb_entry *e)
{
	struct tlb_hit *h = &c->hit[e - c->tlb];
	uint64_t base = e->page * PAGE_SIZE, none = NO_TAG((uint64_t)(e - c->tlb));
	bool writes = e->fast & WRITES && may_write_unseen(c, e->code);

	h->host = (uint8_t *)((uintptr_t)e->host - base);
	h->code = e->code;
	for (unsigned p = 0; p < X86_PRIVILEGES; p++) {
		h->read[p] = e->fast & X86_RIGHT(p, X86_READ) ? -base : none;
		h->write[p] = e->fast & X86_RIGHT(p, X86_WRITE) && writes ? -base : none;
	}
}

void tlb_unseal(struct cpu *c, const struct tlb_entry *e)
{
	const struct tlb_hit *h = &c->hit[e - c->tlb];

	if (h->write[c->privilege] == NO_TAG((uint64_t)(e - c->tlb)))
		find_hits(c, e);
}

/*
 * Of pages that get code: its vCPU stands still, or is this one. A vCPU that is alone looks
 * for marks behind each store.
 */
static void forget_writes(struct cpu *c, const struct code_page *p)
{
	bool listed = c->filled <= TLB_SIZE;

	for (unsigned n = 0; c->shared && n < (listed ? c->filled : TLB_SIZE); n++) {
		unsigned at = listed ? c->fill[n] : n;

		for (unsigned k = 0; c->tlb[at].code == p && k < X86_PRIVILEGES; k++)
			c->hit[at].write[k] = NO_TAG((uint64_t)at);
	}
	if (c->hooks)
		c->hooks->forget_writes(c, p);
}

static void forget_everywhere(struct vm *vm, const struct code_page *p)
{
	unsigned writers = atomic_load(&p->writers);

	for (unsigned n = 0; n < vm->vcpus; n++)
		if (writers >> n & 1 && vm->vcpu[n]->priv)
			forget_writes(vm->vcpu[n]->priv, p);
}

/* If others may write to it the world stops for them; if the memory map changes meanwhile all
 * begins anew. */
void seal_page(struct cpu *c, struct code_page *p)
{
	unsigned writers = atomic_load(&p->writers), self = 1u << c->v->id;
	struct vm *vm = c->v->vm;
	uint32_t maps = c->e->maps;

	if (writers & ~self) {
		vcpu_leave(c->v);
		world_stop(vm);
		if (maps == c->e->maps) {
			forget_everywhere(vm, p);
			atomic_store(&p->writers, 0);
			atomic_store(&p->sealed, true);
		}
		world_go(vm);
		vcpu_enter(c->v);
		if (maps != c->e->maps)
			longjmp(c->leave, JUMP_RETRY);
		return;
	}
	if (writers)
		forget_writes(c, p);
	atomic_fetch_and(&p->writers, (uint16_t)~self);
	atomic_store(&p->sealed, true);
}

/* What a write to CR3 drops. */
static void list_local(struct cpu *c, const struct tlb_entry *e)
{
	if (c->filled < TLB_SIZE)
		c->fill[c->filled] = (uint16_t)(e - c->tlb);
	if (c->filled <= TLB_SIZE)
		c->filled++;
}

static struct tlb_entry *fill(
	struct cpu *c, uint64_t lin, enum x86_privilege privilege, enum x86_access a)
{
	struct x86_page_memory m = page_memory(c);
	struct tlb_entry *e = slot(c, lin);
	struct x86_page page;

	if (!x86_translate(&c->s, &m, lin, privilege, a, &page)) {
		c->s.cr2 = lin;
		raise_error(c, X86_PFV, page.error);
	}
	e->page = lin / PAGE_SIZE;
	e->gpa = page.gpa & c->v->vm->a20_mask & ~UINT64_C(4095);
	e->rights = page.rights;
	e->global = page.global;
	find_host(c, e);
	find_hits(c, e);
	if (page.shift > 12) {
		uint64_t bit, *word = large_bit(c, lin, &bit);

		*word |= bit;
	}
	if (!e->global)
		list_local(c, e);
	return e;
}

struct tlb_entry *tlb_peek(
	struct cpu *c, uint64_t lin, enum x86_privilege privilege, enum x86_access a)
{
	struct tlb_entry *e = slot(c, lin);

	return e->page == lin / PAGE_SIZE && e->rights & X86_RIGHT(privilege, a) ? e : NULL;
}

struct tlb_entry *tlb_find(
	struct cpu *c, uint64_t lin, enum x86_privilege privilege, enum x86_access a)
{
	struct tlb_entry *e = tlb_peek(c, lin, privilege, a);

	return e ? e : fill(c, lin, privilege, a);
}
