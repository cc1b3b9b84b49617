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

#define FAST_MASK     (FAST_SIZE - 1)
#define OFTEN_EMPTIED 16u
#define LIST_SIZE     ARRAY_SIZE(((struct tcpu *)0)->fast_list)

static struct fast_entry *fast_all(struct tcpu *t)
{
	return &t->fast[0][0][0];
}

static void clear(struct tcpu *t, unsigned n)
{
	fast_all(t)[n].page = ((n & FAST_MASK) ^ 1) << 12;
}

static void flush_list(struct tcpu *t, unsigned which)
{
	const uint32_t *list = t->site_list[which];

	for (uint32_t n = SITE_FIRST(which); n < t->sites_used[which]; n++)
		t->site[list[n]] = (struct fast_entry){NO_SITE, 0};
	t->fills += t->sites_used[which] - SITE_FIRST(which);
	t->sites_used[which] = SITE_FIRST(which);
}

uint32_t sites_filled(const struct tcpu *t)
{
	uint32_t sum = t->fills;

	for (unsigned n = 0; n < SITE_LISTS; n++)
		sum += t->sites_used[n] - SITE_FIRST(n);
	return sum;
}

void sites_flush(struct tcpu *t, bool globals_too)
{
	for (unsigned n = 0; n < SITE_LISTS; n += globals_too ? 1 : 2)
		flush_list(t, n);
}

void fast_flush(struct tcpu *t, bool globals_too)
{
	if (globals_too || t->fast_used > LIST_SIZE)
		for (unsigned n = 0; n < X86_PRIVILEGES * 2 * FAST_SIZE; n++)
			clear(t, n);
	else
		for (unsigned n = 0; n < t->fast_used; n++)
			clear(t, t->fast_list[n]);
	t->fast_used = 0;
	if (globals_too)
		memset(t->global_pages, 0, sizeof(t->global_pages));
	sites_flush(t, globals_too);
}

static uint64_t *global_word(struct tcpu *t, uint64_t lin)
{
	return &t->global_pages[(lin >> 18) % ARRAY_SIZE(t->global_pages)];
}

void fast_flush_page(struct tcpu *t, uint64_t lin)
{
	unsigned at = lin >> 12 & FAST_MASK;

	for (unsigned k = 0; k < X86_PRIVILEGES * 2; k++)
		clear(t, k * FAST_SIZE + at);
	sites_flush(t, *global_word(t, lin) >> (lin >> 12 & 63) & 1);
}

/* Does an entry for writes lead to the host page, or to one that shares its bit? */
static uint64_t *written_word(struct tcpu *t, uint64_t host)
{
	return &t->written[(host >> 18) % ARRAY_SIZE(t->written)];
}

static uint64_t written_bit(uint64_t host)
{
	return UINT64_C(1) << (host >> 12 & 63);
}

static bool shares_bit(const struct fast_entry *f, uint64_t host)
{
	uint64_t other = f->page + f->delta;

	return (other >> 12) % (64 * WRITTEN) == (host >> 12) % (64 * WRITTEN);
}

static void forget_host_page(struct tcpu *t, uint64_t host)
{
	for (unsigned k = 0; k < X86_PRIVILEGES; k++)
		for (unsigned n = 0; n < FAST_SIZE; n++)
			if (shares_bit(&t->fast[k][1][n], host))
				clear(t, (k * 2 + 1) * FAST_SIZE + n);
	for (unsigned list = 2 * site_hash(host), end = list + 2; list < end; list++)
		for (uint32_t n = SITE_FIRST(list); n < t->sites_used[list]; n++) {
			struct fast_entry *f = &t->site[t->site_list[list][n]];

			if (shares_bit(f, host))
				*f = (struct fast_entry){NO_SITE, 0};
		}
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
	if (!(*written_word(t, host) & written_bit(host)))
		return;
	forget_host_page(t, host);
	*written_word(t, host) &= ~written_bit(host);
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
static struct tlb_entry *look_up(struct tcpu *t, uint64_t lin, const struct access *a)
{
	struct cpu *c = &t->c;
	enum x86_access access = a->write ? X86_WRITE : X86_READ;
	int64_t left = t->left, granted = t->granted;
	uint64_t executed = c->result->executed, counted = t->stats.counted;
	struct tlb_entry *e;

	account(t, a->before + 1u);
	spend(t, SPENT_MISSES);
	e = t->check ? find_quietly(c, lin, access) : tlb_find(c, lin, c->privilege, access);
	t->left = left;
	t->granted = granted;
	c->result->executed = executed;
	t->stats.counted = counted;
	spend(t, SPENT_CODE);
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

static void fill_site(struct tcpu *t, uint32_t access, const struct fast_entry *f, bool global)
{
	unsigned hash = t->access[access].write ? site_hash(f->page + f->delta) : SITE_HASH;
	unsigned list = 2 * hash + global;

	if (t->sites_used[list] == SITE_ROOM)
		flush_list(t, list);
	t->site[access] = *f;
	t->site_list[list][t->sites_used[list]++] = access;
}

/* Global pages are in no list: they go when all goes. */
static const struct fast_entry *fill(
	struct tcpu *t, uint64_t lin, bool write, const struct tlb_entry *e)
{
	uint64_t host = (uint64_t)(uintptr_t)e->host;
	struct fast_entry *f = &t->fast[t->c.privilege][write][lin >> 12 & FAST_MASK];

	f->page = lin & ~UINT64_C(4095);
	f->delta = host - f->page;
	t->fast_global[t->c.privilege][write][lin >> 12 & FAST_MASK] = e->global;
	if (write)
		*written_word(t, host) |= written_bit(host);
	if (e->global)
		*global_word(t, lin) |= UINT64_C(1) << (lin >> 12 & 63);
	else if (t->fast_used < LIST_SIZE)
		t->fast_list[t->fast_used++] = (uint32_t)(f - fast_all(t));
	else
		t->fast_used = LIST_SIZE + 1;
	return f;
}

void remember(struct tcpu *t, uint64_t lin, bool write, const struct tlb_entry *e)
{
	if (direct(&t->c, e, write ? X86_WRITE : X86_READ))
		fill(t, lin, write, e);
}

/* Code is written there again and again: an entry would have to be found and taken back. */
static bool changes_often(const struct code_page *p)
{
	return p && atomic_load_explicit(&p->emptied, memory_order_relaxed) > OFTEN_EMPTIED;
}

static void remember_for(struct tcpu *t, uint64_t lin, uint32_t access, const struct tlb_entry *e)
{
	const struct fast_entry *f = fill(t, lin, t->access[access].write, e);

	if (t->c.privilege == X86_USER)
		fill_site(t, access, f, e->global);
}

/*
 * Its entry missed many times. If the vCPU does little but miss, and this access has its
 * share in that, it sees too many pages. Its own misses alone say nothing: a loop of
 * many such accesses is so slow for them that each misses rarely.
 */
static void judge(struct tcpu *t, uint32_t access)
{
	struct access *a = &t->access[access];
	uint64_t now = __builtin_ia32_rdtsc();
	uint32_t fills = sites_filled(t), missed = MAX(fills - a->fills, SITE_BUDGET);

	t->more[access].left = SITE_BUDGET;
	if (now - a->since < (uint64_t)missed * OFTEN && missed < SITE_BUDGET * SHARE) {
		note_roaming(t, cache_where(t, access));
		cache_forget(t, access);
	}
	a->since = now;
	a->fills = fills;
}

bool slow_string(struct tcpu *t, uint64_t lin, uint32_t access)
{
	const struct access *a = &t->access[access];
	const struct tlb_entry *e;

	t->stats.slow++;
	t->stats.slow_writes += a->write;
	if ((lin & 4095) + a->size > PAGE_SIZE || !is_canonical(lin) || t->torture.miss)
		return false;
	t->c.s.rip = a->rip + (a->shared ? t->page_rip : 0);
	if (t->live)
		tidy_vectors(t);
	flags_from_memory(t);
	e = look_up(t, lin, a);
	if (!direct(&t->c, e, a->write ? X86_WRITE : X86_READ) ||
		(a->write && changes_often(e->code)))
		return false;
	fill(t, lin, a->write, e);
	return true;
}

bool slow_access(struct tcpu *t, uint64_t lin, uint32_t access)
{
	const struct access *a = &t->access[access];
	bool check_write = t->check && a->write;
	struct cpu *c = &t->c;
	struct tlb_entry *e;

	t->stats.slow++;
	t->stats.slow_writes += a->write;
	c->s.rip = a->rip + (a->shared ? t->page_rip : 0);
	if (t->live)
		tidy_vectors(t);
	flags_from_memory(t);
	if (a->recipe)
		rebuild_flags(t, a->recipe);
	if (t->more[access].left < 0)
		judge(t, access);
	lin += a->down;
	if (lin & a->align || (lin & 4095) + a->size > PAGE_SIZE ||
		(c->mode == X86_MODE_64 && !is_canonical(lin)))
		goto odd;
	e = look_up(t, lin, a);
	if (!e || !direct(c, e, a->write ? X86_WRITE : X86_READ) || refused(t))
		goto odd;
	t->delta = (uint64_t)(uintptr_t)e->host - (lin & ~UINT64_C(4095));
	if (check_write) /* it stays a miss */
		check_store(t->check, e->host + (lin & 4095) - a->down, a->span);
	else if (!t->torture.miss && !(a->write && changes_often(e->code)))
		remember_for(t, lin, access, e);
	return true;
odd:
	account(t, a->before);
	return false;
}
