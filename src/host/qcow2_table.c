/*
 * qcow2_table.c - L1 and L2: the guest's clusters to the host's.
 *
 * L2 tables live in a cache in the file's byte order. A table that a snapshot
 * shares is copied before its first change. A changed table is only written
 * by qcow2_flush_tables, which keeps the order that qcow2.h tells.
 * An offset that is misaligned or that hits metadata makes the image corrupt.
 * Lock: q->lock.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/qcow2.h"
#include "util/util.h"

/* ---- the cache ---- */

void table_cache_init(struct table_cache *c, unsigned slots)
{
	*c = (struct table_cache){.slots = slots};
	c->table = xcalloc(slots, sizeof(*c->table));
}

void table_cache_free(struct table_cache *c)
{
	for (unsigned i = 0; i < c->slots; i++)
		free(c->table[i].data);
	free(c->table);
}

struct table *table_cache_find(struct table_cache *c, uint64_t offset)
{
	for (unsigned i = 0; i < c->slots; i++)
		if (c->table[i].offset == offset) {
			c->table[i].used = ++c->counter;
			return &c->table[i];
		}
	return NULL;
}

struct table *cache_victim(struct table_cache *c)
{
	struct table *oldest = &c->table[0];

	for (unsigned i = 0; i < c->slots && oldest->offset; i++)
		if (!c->table[i].offset || c->table[i].used < oldest->used)
			oldest = &c->table[i];
	return oldest;
}

void cache_assign(struct table_cache *c, struct table *t, uint64_t offset, size_t size)
{
	if (!t->data)
		t->data = xcalloc(1, size);
	t->offset = offset;
	t->used = ++c->counter;
	t->dirty = false;
}

void table_cache_drop(struct table_cache *c, uint64_t offset)
{
	struct table *t = table_cache_find(c, offset);

	if (t)
		*t = (struct table){.data = t->data};
}

/* ---- the set ---- */

static size_t set_place(const struct cluster_set *s, uint64_t cluster)
{
	return (size_t)(((cluster + 1) * UINT64_C(0x9e3779b97f4a7c15)) >> 32) & (s->slots - 1);
}

static size_t set_find(const struct cluster_set *s, uint64_t cluster)
{
	size_t i = set_place(s, cluster);

	while (s->slot[i] && s->slot[i] != cluster + 1)
		i = (i + 1) & (s->slots - 1);
	return i;
}

bool set_has(const struct cluster_set *s, uint64_t cluster)
{
	return s->slots && s->slot[set_find(s, cluster)];
}

static void set_grow(struct cluster_set *s)
{
	struct cluster_set old = *s;

	s->slots = old.slots ? old.slots * 2 : 64;
	s->slot = xcalloc(s->slots, sizeof(*s->slot));
	for (size_t i = 0; i < old.slots; i++)
		if (old.slot[i])
			s->slot[set_find(s, old.slot[i] - 1)] = old.slot[i];
	free(old.slot);
}

bool set_add(struct cluster_set *s, uint64_t cluster)
{
	size_t i;

	if (s->count * 2 >= s->slots)
		set_grow(s);
	i = set_find(s, cluster);
	if (s->slot[i])
		return false;
	s->slot[i] = cluster + 1;
	s->count++;
	return true;
}

/* What follows in the same run of slots is put in again, so that no gap cuts it off. */
void set_remove(struct cluster_set *s, uint64_t cluster)
{
	size_t i;

	if (!set_has(s, cluster))
		return;
	i = set_find(s, cluster);
	s->slot[i] = 0;
	s->count--;
	for (i = (i + 1) & (s->slots - 1); s->slot[i]; i = (i + 1) & (s->slots - 1)) {
		uint64_t again = s->slot[i];

		s->slot[i] = 0;
		s->slot[set_find(s, again - 1)] = again;
	}
}

/* ---- looking up ---- */

static uint64_t l1_index(const struct qcow2 *q, uint64_t off)
{
	return off >> (q->cluster_bits + q->l2_bits);
}

static unsigned l2_index(const struct qcow2 *q, uint64_t off)
{
	return (unsigned)(off >> q->cluster_bits) & ((1u << q->l2_bits) - 1);
}

/* A slot that may be overwritten. */
static int clean_slot(struct qcow2 *q, struct table **out)
{
	struct table *t = cache_victim(&q->l2);
	int error = t->dirty ? qcow2_flush_tables(q) : 0;

	*out = t;
	return error;
}

static int l2_load(struct qcow2 *q, uint64_t offset, struct table **out)
{
	struct table *t;
	int error;

	*out = table_cache_find(&q->l2, offset);
	if (*out)
		return 0;
	if (offset & (q->cluster_size - 1))
		return qcow2_corrupt(q, "L2 table at %#" PRIx64, offset);
	error = clean_slot(q, &t);
	if (error)
		return error;
	cache_assign(&q->l2, t, offset, q->cluster_size);
	error = fd_read(q->im.fd, offset, t->data, q->cluster_size);
	if (error)
		t->offset = 0;
	*out = t;
	return error;
}

static enum qcow2_kind entry_kind(const struct qcow2 *q, uint64_t entry)
{
	if (entry & QCOW2_COMPRESSED)
		return MAP_COMPRESSED;
	if (q->h.version >= 3 && (entry & QCOW2_ZERO))
		return entry & QCOW2_OFFSET ? MAP_ZERO_ALLOCATED : MAP_ZERO;
	return entry & QCOW2_OFFSET ? MAP_DATA : MAP_UNALLOCATED;
}

static bool has_host(enum qcow2_kind kind)
{
	return kind == MAP_DATA || kind == MAP_ZERO_ALLOCATED;
}

/* Does `next`, n clusters on, continue what `first` began? */
static bool continues(const struct qcow2 *q, uint64_t first, uint64_t next, uint64_t n)
{
	enum qcow2_kind kind = entry_kind(q, first);

	if (entry_kind(q, next) != kind || kind == MAP_COMPRESSED)
		return false;
	if (!has_host(kind))
		return true;
	return (next & QCOW2_OFFSET) == (first & QCOW2_OFFSET) + (n << q->cluster_bits) &&
	       !((next ^ first) & QCOW2_COPIED);
}

static int check_run(struct qcow2 *q, const struct mapping *m, uint64_t clusters)
{
	uint64_t host = m->entry & QCOW2_OFFSET;

	if (host & (q->cluster_size - 1))
		return qcow2_corrupt(q, "L2 entry %#" PRIx64 " is not aligned", m->entry);
	for (uint64_t i = 0; i < clusters; i++)
		if (set_has(&q->meta, (host >> q->cluster_bits) + i))
			return qcow2_corrupt(q, "data at %#" PRIx64 " lies on metadata",
				host + (i << q->cluster_bits));
	return 0;
}

static int map_in_table(
	struct qcow2 *q, const struct table *t, uint64_t off, uint64_t len, struct mapping *m)
{
	unsigned i = l2_index(q, off), entries = 1u << q->l2_bits;
	uint64_t within = off & (q->cluster_size - 1), n = 1;

	m->entry = get_be64(t->data + i * 8);
	m->kind = entry_kind(q, m->entry);
	while (i + n < entries && (n << q->cluster_bits) - within < len &&
		continues(q, m->entry, get_be64(t->data + (i + n) * 8), n))
		n++;
	m->len = MIN(len, (n << q->cluster_bits) - within);
	if (!has_host(m->kind))
		return 0;
	m->host = (m->entry & QCOW2_OFFSET) + within;
	m->owned = (m->entry & QCOW2_COPIED) && (q->l1[l1_index(q, off)] & QCOW2_COPIED);
	return check_run(q, m, n);
}

int qcow2_map(struct qcow2 *q, uint64_t off, uint64_t len, struct mapping *m)
{
	uint64_t span = q->cluster_size << q->l2_bits;
	uint64_t offset = q->l1[l1_index(q, off)] & QCOW2_OFFSET;
	struct table *t;
	int error;

	*m = (struct mapping){.kind = MAP_UNALLOCATED, .len = MIN(len, span - off % span)};
	if (!offset)
		return 0;
	error = l2_load(q, offset, &t);
	return error ? error : map_in_table(q, t, off, len, m);
}

/* ---- changing ---- */

static void l1_set(struct qcow2 *q, uint64_t i, uint64_t entry)
{
	q->l1[i] = entry;
	q->l1_dirty_first = q->l1_dirty ? MIN(q->l1_dirty_first, i) : i;
	q->l1_dirty_last = q->l1_dirty ? MAX(q->l1_dirty_last, i) : i;
	q->l1_dirty = true;
}

/* A copy of the table at `old` in memory, NULL if there is none. */
static int copy_table(struct qcow2 *q, uint64_t old, uint8_t **copy)
{
	struct table *t;
	int error;

	*copy = NULL;
	if (!old)
		return 0;
	error = l2_load(q, old, &t);
	if (error)
		return error;
	*copy = xcalloc(1, q->cluster_size);
	memcpy(*copy, t->data, q->cluster_size);
	return 0;
}

/* A new table: what the one at `old` holds, or empty. */
static int l2_renew(struct qcow2 *q, uint64_t index, uint64_t old, struct table **out)
{
	struct table *t = NULL;
	uint64_t offset, got;
	uint8_t *copy;
	bool fresh;
	int error = copy_table(q, old, &copy);

	if (!error)
		error = clean_slot(q, &t);
	if (!error)
		error = qcow2_alloc(q, 1, &offset, &got, &fresh);
	if (error) {
		free(copy);
		return error;
	}
	cache_assign(&q->l2, t, offset, q->cluster_size);
	if (copy)
		memcpy(t->data, copy, q->cluster_size);
	else
		memset(t->data, 0, q->cluster_size);
	free(copy);
	t->dirty = q->l2_dirty = true;
	if (old) {
		qcow2_free_later(q, old, 1, false);
		set_remove(&q->meta, old >> q->cluster_bits);
	}
	set_add(&q->meta, offset >> q->cluster_bits);
	l1_set(q, index, offset | QCOW2_COPIED);
	*out = t;
	return 0;
}

int qcow2_l2_for_write(struct qcow2 *q, uint64_t off, struct table **t, unsigned *index)
{
	uint64_t i = l1_index(q, off), entry = q->l1[i];
	int error;

	*index = l2_index(q, off);
	if ((entry & QCOW2_COPIED) && (entry & QCOW2_OFFSET))
		error = l2_load(q, entry & QCOW2_OFFSET, t);
	else
		error = l2_renew(q, i, entry & QCOW2_OFFSET, t);
	return error;
}

void qcow2_compressed_extent(
	const struct qcow2 *q, uint64_t entry, uint64_t *offset, uint64_t *clusters)
{
	unsigned bits = 62 - (q->cluster_bits - 8);
	uint64_t start = entry & (BIT(bits) - 1);
	uint64_t sectors = (entry >> bits & (BIT(62 - bits) - 1)) + 1;
	uint64_t end = (start & ~UINT64_C(511)) + sectors * 512;

	*offset = start & ~(q->cluster_size - 1);
	*clusters = (end - *offset + q->cluster_size - 1) >> q->cluster_bits;
}

static void free_entry(struct qcow2 *q, uint64_t entry, bool punch)
{
	uint64_t offset = entry & QCOW2_OFFSET, clusters = 1;
	enum qcow2_kind kind = entry_kind(q, entry);

	if (kind == MAP_COMPRESSED)
		qcow2_compressed_extent(q, entry, &offset, &clusters);
	if (kind == MAP_COMPRESSED || has_host(kind))
		qcow2_free_later(q, offset, clusters, punch);
}

void qcow2_set_entry(struct qcow2 *q, struct table *t, unsigned i, uint64_t entry, bool punch)
{
	uint64_t old = get_be64(t->data + i * 8);

	if ((old ^ entry) & QCOW2_OFFSET || (old & QCOW2_COMPRESSED))
		free_entry(q, old, punch);
	put_be64(t->data + i * 8, entry);
	t->dirty = q->l2_dirty = true;
}

/* ---- writing back ---- */

static int write_l2(struct qcow2 *q)
{
	for (unsigned i = 0; i < q->l2.slots; i++) {
		struct table *t = &q->l2.table[i];
		int error = t->dirty ? fd_write(q->im.fd, t->offset, t->data, q->cluster_size) : 0;

		if (error)
			return error;
		t->dirty = false;
	}
	q->l2_dirty = false;
	return 0;
}

static int write_l1(struct qcow2 *q)
{
	uint64_t first = q->l1_dirty_first, n = q->l1_dirty_last - first + 1;
	uint8_t *raw = xcalloc(n, 8);
	int error;

	for (uint64_t i = 0; i < n; i++)
		put_be64(raw + i * 8, q->l1[first + i]);
	error = fd_write(q->im.fd, q->h.l1_offset + first * 8, raw, n * 8);
	free(raw);
	q->l1_dirty = q->l1_dirty && error;
	return error;
}

int qcow2_flush_tables(struct qcow2 *q)
{
	int error = qcow2_sync(q);

	if (error || (!q->l2_dirty && !q->l1_dirty))
		return error;
	error = write_l2(q);
	if (!error && q->l1_dirty) {
		error = qcow2_sync(q);
		if (!error)
			error = write_l1(q);
	}
	if (!error)
		error = qcow2_sync(q);
	if (!error)
		qcow2_apply_frees(q);
	return error;
}
