/*
 * cache.c - the code cache: blocks by physical address, the links between
 * them, and the table of indirect jumps.
 *
 * Code, blocks and what belongs to them are rings: new ones take the place of
 * the oldest. A block that is stale is no longer found, and nothing jumps to it
 * any more; its place is free when it is the oldest. A link to another page
 * holds as long as that page is where it was: it is cut when the TLB is
 * flushed, unless the page is global and the flush spares those.
 */
#include "engine/translate/internal.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

static uint32_t block_hash(gpa_t addr, uint64_t rip, uint8_t key)
{
	uint64_t h =
		(addr ^ rip << 20 ^ rip >> 12 ^ (uint64_t)key << 50) * UINT64_C(0x9e3779b97f4a7c15);

	return (uint32_t)(h >> 40) % HASH_SIZE;
}

static uint32_t page_hash(gpa_t page)
{
	return (uint32_t)(page * UINT64_C(0x9e3779b97f4a7c15) >> 40) % HASH_SIZE;
}

/* ---- indirect jumps ---- */

static struct jump_entry *jump_all(struct tcpu *t)
{
	return &t->jump[0][0];
}

/* RIP 1 of slot 0 and 0 of the others: never looked for there. */
static void jump_clear(struct tcpu *t, uint32_t n)
{
	jump_all(t)[n] = (struct jump_entry){.rip = n % JUMP_SIZE == 0};
}

static void jump_flush(struct tcpu *t, bool globals_too)
{
	bool all = t->jumps[0].used > JUMP_SIZE || (globals_too && t->jumps[1].used > JUMP_SIZE);

	for (uint32_t n = 0; all && n < KEYS * JUMP_SIZE; n++)
		jump_clear(t, n);
	for (unsigned k = 0; k < (all || globals_too ? 2u : 1u); k++) {
		for (uint32_t n = 0; !all && n < t->jumps[k].used; n++)
			jump_clear(t, t->jumps[k].at[n]);
		t->jumps[k].used = 0;
	}
}

static void note_page(struct tcpu *t, uint64_t rip)
{
	uint64_t page = rip >> 12;

	t->far_pages[page / 64 % ARRAY_SIZE(t->far_pages)] |= UINT64_C(1) << page % 64;
}

/* Of a block at rip that is jumped to, and holds as long as they are where they were. */
static void note_pages(struct tcpu *t, const struct tblock *b, uint64_t rip)
{
	note_page(t, rip);
	if (b->has_tail)
		note_page(t, rip + PAGE_SIZE);
}

static bool page_noted(const struct tcpu *t, uint64_t rip)
{
	uint64_t page = rip >> 12;

	return t->far_pages[page / 64 % ARRAY_SIZE(t->far_pages)] >> page % 64 & 1;
}

static uint32_t jump_slot(const struct tblock *b)
{
	return b->key * JUMP_SIZE + (uint32_t)(b->rip % JUMP_SIZE);
}

static uint64_t entry_of(const struct tcpu *t, const struct tblock *b)
{
	return (uint64_t)(uintptr_t)(t->exec + b->from_memory);
}

void jump_add(struct tcpu *t, const struct tblock *b, uint64_t rip, bool global)
{
	struct jump_list *list = &t->jumps[global];
	uint32_t n = jump_slot(b);

	jump_all(t)[n] = (struct jump_entry){rip, entry_of(t, b)};
	(&t->jump_block[0][0])[n] = (uint32_t)(b - t->block) + 1;
	if (list->used < JUMP_SIZE)
		list->at[list->used] = n;
	if (list->used <= JUMP_SIZE)
		list->used++;
	note_pages(t, b, rip);
}

static void jump_remove(struct tcpu *t, const struct tblock *b)
{
	if (jump_all(t)[jump_slot(b)].host == entry_of(t, b))
		jump_clear(t, jump_slot(b));
}

/* ---- links ---- */

uint32_t link_new(struct tcpu *t, const struct texit *x, bool far)
{
	uint32_t n = t->links++ % LINKS;

	t->link[n] = (struct link){.rip = rip_for(&t->key[x->key], x->rip),
		.patch = x->from,
		.stub = t->code.at,
		.key = x->key,
		.place = x->place,
		.far = far};
	return n;
}

static void link_open(struct tcpu *t, struct link *l)
{
	set_target(&t->code, l->patch, l->stub);
	l->closed = false;
}

static void cut(struct tcpu *t, const uint32_t *list, uint32_t *count)
{
	for (uint32_t n = 0; n < *count; n++)
		if (t->link[list[n]].closed)
			link_open(t, &t->link[list[n]]);
	*count = 0;
}

/* With the flags in both places the later entry is the one with less to do. */
static uint32_t entry_for(const struct link *l, const struct tblock *b)
{
	if (l->place == IN_BOTH)
		return b->from_host > b->from_memory ? b->from_host : b->from_memory;
	return l->place == IN_HOST ? b->from_host : b->from_memory;
}

static void join(struct tcpu *t, uint32_t link, struct tblock *to)
{
	struct link *l = &t->link[link];

	l->prev_in = NONE;
	l->next_in = to->links_in;
	if (l->next_in != NONE)
		t->link[l->next_in].prev_in = link;
	to->links_in = link;
	l->to = (uint32_t)(to - t->block);
	l->joined = true;
}

static void part(struct tcpu *t, uint32_t link)
{
	struct link *l = &t->link[link];

	if (l->next_in != NONE)
		t->link[l->next_in].prev_in = l->prev_in;
	if (l->prev_in != NONE)
		t->link[l->prev_in].next_in = l->next_in;
	else
		t->block[l->to].links_in = l->next_in;
	l->joined = false;
}

/* Lists of links to be cut; what is in them may be another link by now, which costs little. */
static void list_far(struct tcpu *t, uint32_t link, uint32_t *list, uint32_t *count)
{
	if (*count == LINKS)
		cut(t, list, count);
	list[(*count)++] = link;
}

void link_close(struct tcpu *t, uint32_t link, struct tblock *to, uint64_t rip, bool global)
{
	struct link *l = &t->link[link];

	if (l->closed || l->rip != to->rip || l->key != to->key || !to->live)
		return;
	if (!l->joined) {
		join(t, link, to);
	} else if (l->to != (uint32_t)(to - t->block)) {
		return; /* it was for the same address in another space: leave it open */
	}
	t->stats.links++;
	set_target(&t->code, l->patch, entry_for(l, to));
	l->closed = true;
	if (!l->far && !to->has_tail)
		return;
	note_pages(t, to, rip);
	if (global)
		list_far(t, link, t->far_global, &t->far_globals);
	else
		list_far(t, link, t->far_local, &t->far_locals);
}

void cut_far(struct tcpu *t, bool globals_too)
{
	t->epoch++;
	t->wheres = 0;
	jump_flush(t, globals_too);
	cut(t, t->far_local, &t->far_locals);
	if (!globals_too)
		return;
	cut(t, t->far_global, &t->far_globals);
	memset(t->far_pages, 0, sizeof(t->far_pages));
}

void cut_page(struct tcpu *t, uint64_t lin)
{
	if (page_noted(t, lin))
		cut_far(t, true);
}

static struct whereabouts *whereabouts_of(struct tcpu *t, gpa_t page)
{
	uint32_t n = page_hash(page);

	while (t->where[n % WHERE_SIZE].epoch == t->epoch && t->where[n % WHERE_SIZE].page != page)
		n++;
	return &t->where[n % WHERE_SIZE];
}

void settle(struct tcpu *t, gpa_t page, uint64_t rip)
{
	struct whereabouts *w = whereabouts_of(t, page);

	if (w->epoch == t->epoch && w->lin == rip >> 12)
		return;
	if (w->epoch == t->epoch || t->wheres == WHERE_SIZE / 2) {
		cut_far(t, true);
		w = whereabouts_of(t, page);
	}
	*w = (struct whereabouts){page, rip >> 12, t->epoch};
	t->wheres++;
}

/* ---- blocks ---- */

struct tblock *cache_find(struct tcpu *t, gpa_t addr, uint64_t rip, uint8_t key)
{
	uint32_t n;

	rip = rip_for(&t->key[key], rip);
	n = t->hash[block_hash(addr, rip, key)];

	for (; n != NONE; n = t->block[n].next_hash) {
		struct tblock *b = &t->block[n];

		if (b->addr == addr && b->rip == rip && b->key == key)
			return b;
	}
	return NULL;
}

static struct tblock *find_first_at(
	struct tcpu *t, uint32_t which, gpa_t addr, uint64_t rip, uint8_t key)
{
	struct tblock *b = &t->block[which];

	if (b->live && b->addr == addr && b->key == key && b->rip == rip_for(&t->key[key], rip))
		return b;
	return cache_find(t, addr, rip, key);
}

struct tblock *cache_find_by_link(
	struct tcpu *t, gpa_t addr, uint64_t rip, uint8_t key, uint32_t link)
{
	if (t->link[link].joined)
		return find_first_at(t, t->link[link].to, addr, rip, key);
	return cache_find(t, addr, rip, key);
}

struct tblock *cache_find_by_jump(struct tcpu *t, gpa_t addr, uint64_t rip, uint8_t key)
{
	uint32_t last = t->jump_block[key][rip % JUMP_SIZE];

	return last ? find_first_at(t, last - 1, addr, rip, key) : cache_find(t, addr, rip, key);
}

void cache_add_tail(struct tcpu *t, struct tblock *b, const struct tail *tail)
{
	uint32_t *list = &t->tail[tail->page % TAILS];

	b->tail = *tail;
	b->has_tail = true;
	b->next_tail = *list;
	*list = (uint32_t)(b - t->block);
}

static void drop_tail(struct tcpu *t, uint32_t which)
{
	struct tblock *b = &t->block[which];
	uint32_t *p = &t->tail[b->tail.page % TAILS];

	if (!b->has_tail)
		return;
	while (*p != which)
		p = &t->block[*p].next_tail;
	*p = b->next_tail;
	b->has_tail = false;
}

struct tblock *cache_add(struct tcpu *t, gpa_t addr, uint64_t rip, uint8_t key, uint32_t version)
{
	uint32_t *hash, *page = &t->page[page_hash(addr >> 12)];
	uint32_t n = t->blocks++ % BLOCKS;

	rip = rip_for(&t->key[key], rip);
	hash = &t->hash[block_hash(addr, rip, key)];

	t->block[n] = (struct tblock){.addr = addr,
		.rip = rip,
		.version = version,
		.code = t->code.at,
		.link = t->links,
		.insn = t->insns,
		.recipe = t->recipes,
		.access = t->accesses,
		.links_in = NONE,
		.next_hash = *hash,
		.next_page = *page,
		.prev_page = NONE,
		.key = key,
		.live = true};
	if (*page != NONE)
		t->block[*page].prev_page = n;
	*hash = *page = n;
	return &t->block[n];
}

static void unhash(struct tcpu *t, uint32_t which)
{
	const struct tblock *b = &t->block[which];
	uint32_t *p = &t->hash[block_hash(b->addr, b->rip, b->key)];

	while (*p != which)
		p = &t->block[*p].next_hash;
	*p = b->next_hash;
}

static void drop(struct tcpu *t, uint32_t which)
{
	struct tblock *b = &t->block[which];

	b->live = false;
	unhash(t, which);
	drop_tail(t, which);
	for (uint32_t l = b->links_in, next; l != NONE; l = next) {
		next = t->link[l].next_in;
		if (t->link[l].closed)
			link_open(t, &t->link[l]);
		t->link[l].joined = false;
	}
	b->links_in = NONE;
}

/* ---- room ---- */

static struct tblock *oldest(struct tcpu *t)
{
	return &t->block[t->oldest % BLOCKS];
}

static void unlist(struct tcpu *t, uint32_t which)
{
	const struct tblock *b = &t->block[which];

	if (b->prev_page == NONE)
		t->page[page_hash(b->addr >> 12)] = b->next_page;
	else
		t->block[b->prev_page].next_page = b->next_page;
	if (b->next_page != NONE)
		t->block[b->next_page].prev_page = b->prev_page;
}

void cache_evict(struct tcpu *t)
{
	uint32_t which = t->oldest % BLOCKS;
	const struct tblock *b = &t->block[which];
	bool last = ++t->oldest == t->blocks;
	uint32_t end = last ? t->links : oldest(t)->link;

	t->stats.evicted++;
	jump_remove(t, b);
	if (b->live) {
		unlist(t, which);
		drop(t, which);
	}
	for (uint32_t l = b->link; l != end; l++) {
		if (t->link[l % LINKS].joined)
			part(t, l % LINKS);
		t->link[l % LINKS].closed = false;
		if (t->pending == l % LINKS)
			t->pending = NONE;
	}
	if (last)
		t->code.at = t->first_block;
	if (last || oldest(t)->code < b->code)
		t->wrapped = false;
}

/* The accesses of blocks follow one another as the blocks do. */
static uint32_t whose(const struct tcpu *t, uint32_t access)
{
	uint32_t last = t->accesses - 1, number = last - (last - access) % ACCESSES;
	uint32_t low = t->oldest, high = t->blocks;

	while (high - low > 1) {
		uint32_t middle = low + (high - low) / 2;

		if ((int32_t)(number - t->block[middle % BLOCKS].access) >= 0)
			low = middle;
		else
			high = middle;
	}
	return low % BLOCKS;
}

gpa_t cache_where(const struct tcpu *t, uint32_t access)
{
	return (t->block[whose(t, access)].addr & ~(gpa_t)4095) | (t->access[access].rip & 4095);
}

void cache_forget(struct tcpu *t, uint32_t access)
{
	uint32_t which = whose(t, access);

	if (!t->block[which].live)
		return;
	jump_remove(t, &t->block[which]);
	unlist(t, which);
	drop(t, which);
}

static bool has_room(struct tcpu *t)
{
	const struct tblock *b = oldest(t);
	const uint32_t most = EXITS; /* of one block */

	if (t->oldest == t->blocks)
		return true;
	return (t->wrapped ? b->code : t->code.size) - t->code.at >= CODE_ROOM &&
	       t->blocks - t->oldest < BLOCKS && t->links + most - b->link <= LINKS &&
	       t->insns + most - b->insn <= INSNS && t->recipes + most - b->recipe <= RECIPES &&
	       t->accesses + most - b->access <= ACCESSES;
}

void cache_reserve(struct tcpu *t)
{
	if (!t->wrapped && t->code.size - t->code.at < CODE_ROOM) {
		t->code.at = t->first_block;
		t->wrapped = t->oldest != t->blocks;
	}
	while (!has_room(t))
		cache_evict(t);
}

/* Were bytes written that it was made from, or the next ones, which ended it? */
static bool was_written(const struct tblock *b, const struct stale *s)
{
	unsigned at = b->addr & 4095, end = MIN(at + b->len + X86_INSN_MAX, PAGE_SIZE);

	return at >> LINE_SHIFT <= s->last && (end - 1) >> LINE_SHIFT >= s->first;
}

/* The same for those whose one instruction ends in the page. */
static void drop_tails(struct tcpu *t, const struct stale *s)
{
	uint32_t next;

	for (uint32_t n = t->tail[s->page % TAILS]; n != NONE; n = next) {
		struct tblock *b = &t->block[n];
		uint32_t behind = (s->version - b->tail.version) & STALE_VERSION;

		next = b->next_tail;
		if (b->tail.page != s->page || !behind || behind > STALE_VERSION / 2)
			continue;
		if (behind == 1 && s->first > (X86_INSN_MAX - 1) >> LINE_SHIFT) {
			b->tail.version++;
			continue;
		}
		jump_remove(t, b);
		unlist(t, n);
		drop(t, n);
		t->stats.stale++;
	}
}

/* A block of the version before stays if it lies elsewhere in the page. */
static void drop_written(struct tcpu *t, const struct stale *s)
{
	uint32_t next;

	for (uint32_t n = t->page[page_hash(s->page)]; n != NONE; n = next) {
		struct tblock *b = &t->block[n];
		uint32_t behind = (s->version - b->version) & STALE_VERSION;

		next = b->next_page;
		if (b->addr >> 12 != s->page || !behind || behind > STALE_VERSION / 2)
			continue;
		if (behind == 1 && !was_written(b, s)) {
			b->version++;
			continue;
		}
		jump_remove(t, b);
		unlist(t, n);
		drop(t, n);
		t->stats.stale++;
	}
}

void cache_drop_stale(struct tcpu *t)
{
	struct interpret_engine *e = t->c.e;
	uint64_t now = atomic_load_explicit(&e->stale_count, memory_order_acquire);

	struct stale s;

	if (now - t->stale_seen >= STALE_RING / 2) {
		cache_flush(t);
		t->stale_seen = now;
	}
	for (; t->stale_seen < now && stale_number(e, t->stale_seen, &s); t->stale_seen++) {
		drop_written(t, &s);
		drop_tails(t, &s);
	}
}

void cache_flush(struct tcpu *t)
{
	t->stats.flushes++;
	t->code.at = t->first_block;
	t->code.full = false;
	sites_flush(t, true);
	t->blocks = t->links = t->insns = t->recipes = t->accesses = t->oldest = 0;
	t->wrapped = false;
	t->pending = NONE;
	t->far_locals = t->far_globals = 0;
	memset(t->hash, 0xff, sizeof(t->hash));
	memset(t->page, 0xff, sizeof(t->page));
	memset(t->tail, 0xff, sizeof(t->tail));
	memset(t->far_pages, 0, sizeof(t->far_pages));
	memset(t->roaming, 0, sizeof(t->roaming));
	memset(t->jump_block, 0, sizeof(t->jump_block));
	jump_flush(t, true);
}

/* ---- memory ---- */

/* Two mappings of the same memory, or MAP_FAILED. */
static void map_twice(void *map[2])
{
	int fd = memfd_create("tinamou-code", MFD_CLOEXEC);

	if (fd < 0)
		return;
	if (!ftruncate(fd, CODE_SIZE)) {
		map[0] = mmap(NULL, CODE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		map[1] = mmap(NULL, CODE_SIZE, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
	}
	close(fd);
}

/* The same without a name of ours: perf asks its map about anonymous memory alone. */
static void map_twice_for_perf(void *map[2])
{
	map[0] = mmap(NULL, CODE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (map[0] == MAP_FAILED)
		return;
	map[1] = mremap(map[0], 0, CODE_SIZE, MREMAP_MAYMOVE);
	if (map[1] != MAP_FAILED && mprotect(map[1], CODE_SIZE, PROT_READ | PROT_EXEC)) {
		munmap(map[1], CODE_SIZE);
		map[1] = MAP_FAILED;
	}
}

int cache_new(struct tcpu *t)
{
	void *map[2] = {MAP_FAILED, MAP_FAILED};
	int err;

	if (t->c.v->vm->config.perf_map)
		map_twice_for_perf(map);
	else
		map_twice(map);
	if (map[0] == MAP_FAILED || map[1] == MAP_FAILED)
		goto fail;
	t->code = (struct code){.base = map[0], .size = CODE_SIZE};
	t->exec = map[1];
	t->jumps[0].used = JUMP_SIZE + 1; /* none is known to be clear */
	make_stubs(t);
	if (t->torture.cache)
		t->code.size = MAX(t->torture.cache, t->first_block + 2 * CODE_ROOM);
	cache_flush(t);
	t->stats.flushes = 0;
	return 0;
fail:
	err = -errno;
	for (unsigned n = 0; n < ARRAY_SIZE(map); n++)
		if (map[n] != MAP_FAILED)
			munmap(map[n], CODE_SIZE);
	return err;
}

void cache_free(struct tcpu *t)
{
	munmap(t->code.base, CODE_SIZE);
	munmap(t->exec, CODE_SIZE);
}
