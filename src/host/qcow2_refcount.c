/*
 * qcow2_refcount.c - how often each host cluster is referred to.
 *
 * A table of blocks, each a cluster of counters of 1 to 64 bits. Counters are
 * written through: up before a reference exists, down after it is gone from
 * the disk. Where a block is missing, all that it would cover is free, and the
 * new block counts itself as its first cluster.
 * Lock: q->lock.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/qcow2.h"
#include "util/util.h"

/* log2 of the counters in a block. */
static unsigned block_bits(const struct qcow2 *q)
{
	return q->cluster_bits + 3 - q->h.refcount_order;
}

/* Counter i of a block: big-endian from a byte up, within a byte from the low bits up. */
static uint64_t counter_get(const struct qcow2 *q, const uint8_t *block, uint64_t i)
{
	unsigned order = q->h.refcount_order, bytes;
	uint64_t v = 0;

	if (order < 3) {
		unsigned width = 1u << order, shift = (unsigned)(i << order) & 7;

		return block[i << order >> 3] >> shift & ((1u << width) - 1);
	}
	bytes = 1u << (order - 3);
	for (unsigned j = 0; j < bytes; j++)
		v = v << 8 | block[i * bytes + j];
	return v;
}

static void counter_put(const struct qcow2 *q, uint8_t *block, uint64_t i, uint64_t v)
{
	unsigned order = q->h.refcount_order, bytes;

	if (order < 3) {
		unsigned width = 1u << order, shift = (unsigned)(i << order) & 7;
		uint8_t *p = &block[i << order >> 3], mask = ((1u << width) - 1) << shift;

		*p = (*p & ~mask) | (v << shift & mask);
		return;
	}
	bytes = 1u << (order - 3);
	for (unsigned j = bytes; j-- > 0; v >>= 8)
		block[i * bytes + j] = (uint8_t)v;
}

/* ---- blocks ---- */

/* The block of a table entry, NULL if there is none. */
static int block_load(struct qcow2 *q, uint64_t entry, struct table **out)
{
	uint64_t offset = entry < qcow2_reftable_entries(q) ? q->reftable[entry] : 0;
	struct table *t;
	int error;

	*out = NULL;
	if (!offset)
		return 0;
	*out = table_cache_find(&q->refblock, offset);
	if (*out)
		return 0;
	t = cache_victim(&q->refblock);
	cache_assign(&q->refblock, t, offset, q->cluster_size);
	error = fd_read(q->im.fd, offset, t->data, q->cluster_size);
	if (error)
		t->offset = 0;
	else
		*out = t;
	return error;
}

/* Writes the counters [i, i + n) of a block. */
static int block_write(struct qcow2 *q, const struct table *t, uint64_t i, uint64_t n)
{
	uint64_t first = i << q->h.refcount_order >> 3;
	uint64_t last = ((i + n) << q->h.refcount_order) - 1;

	last >>= 3;
	return fd_write(q->im.fd, t->offset + first, t->data + first, last - first + 1);
}

/* Sets free clusters of one block to 1. */
static int count_take(struct qcow2 *q, struct table *t, uint64_t i, uint64_t n)
{
	int error;

	for (uint64_t j = i; j < i + n; j++)
		counter_put(q, t->data, j, 1);
	error = block_write(q, t, i, n);
	for (uint64_t j = i; error && j < i + n; j++)
		counter_put(q, t->data, j, 0);
	return error;
}

/* ---- growing ---- */

static int reftable_write_entry(struct qcow2 *q, uint64_t entry)
{
	uint8_t raw[8];

	put_be64(raw, q->reftable[entry]);
	return fd_write(q->im.fd, q->h.reftable_offset + entry * 8, raw, 8);
}

/* A block for a stretch that has none, at `cluster`, its own first used one. */
static int block_new(struct qcow2 *q, uint64_t cluster)
{
	uint64_t entry = cluster >> block_bits(q), offset = cluster << q->cluster_bits;
	struct table *t = cache_victim(&q->refblock);
	int error;

	if (set_has(&q->meta, cluster))
		return qcow2_corrupt(q, "metadata at %#" PRIx64 " counts as free", offset);
	cache_assign(&q->refblock, t, offset, q->cluster_size);
	memset(t->data, 0, q->cluster_size);
	counter_put(q, t->data, cluster & (BIT(block_bits(q)) - 1), 1);
	error = fd_write(q->im.fd, offset, t->data, q->cluster_size);
	if (!error)
		error = qcow2_sync(q);
	q->reftable[entry] = offset;
	if (!error)
		error = reftable_write_entry(q, entry);
	if (error) {
		q->reftable[entry] = 0;
		t->offset = 0;
		return error;
	}
	set_add(&q->meta, cluster);
	q->high = MAX(q->high, offset + q->cluster_size);
	return 0;
}

/*
 * The new place of a table that doubles: the first clusters that the old one
 * cannot count. It begins with the blocks that count it.
 */
struct growth {
	uint64_t base, blocks, clusters; /* in clusters; clusters: of the table */
	uint64_t *table;
};

static void plan_growth(const struct qcow2 *q, struct growth *g)
{
	uint64_t stretch = BIT(block_bits(q));

	g->base = qcow2_reftable_entries(q) << block_bits(q);
	g->clusters = (uint64_t)q->h.reftable_clusters * 2;
	g->blocks = g->clusters / (stretch - 1) + 1;
}

/* Block number k: of its stretch, what belongs to the new place is in use. */
static int write_growth_block(struct qcow2 *q, const struct growth *g, uint64_t k)
{
	uint64_t stretch = BIT(block_bits(q)), used = g->blocks + g->clusters - k * stretch;
	uint8_t *block = xcalloc(1, q->cluster_size);
	int error;

	for (uint64_t i = 0; i < MIN(used, stretch); i++)
		counter_put(q, block, i, 1);
	error = fd_write(q->im.fd, (g->base + k) << q->cluster_bits, block, q->cluster_size);
	free(block);
	return error;
}

static int write_growth(struct qcow2 *q, struct growth *g)
{
	uint64_t entries = qcow2_reftable_entries(q), bytes = g->clusters << q->cluster_bits;
	uint64_t place = (g->base + g->blocks) << q->cluster_bits;
	uint8_t *raw = xcalloc(1, bytes);
	int error = 0;

	memcpy(g->table, q->reftable, entries * 8);
	for (uint64_t k = 0; k < g->blocks && !error; k++) {
		g->table[entries + k] = (g->base + k) << q->cluster_bits;
		error = write_growth_block(q, g, k);
	}
	for (uint64_t i = 0; i < entries + g->blocks; i++)
		put_be64(raw + i * 8, g->table[i]);
	if (!error)
		error = fd_write(q->im.fd, place, raw, bytes);
	free(raw);
	if (!error)
		error = qcow2_sync(q);
	return error ? error : qcow2_write_reftable_place(q, place, (uint32_t)g->clusters);
}

static void adopt_growth(struct qcow2 *q, const struct growth *g)
{
	uint64_t old = q->h.reftable_offset, old_clusters = q->h.reftable_clusters;
	uint64_t all = g->blocks + g->clusters;

	free(q->reftable);
	q->reftable = g->table;
	q->h.reftable_offset = (g->base + g->blocks) << q->cluster_bits;
	q->h.reftable_clusters = (uint32_t)g->clusters;
	for (uint64_t i = 0; i < all; i++)
		set_add(&q->meta, g->base + i);
	for (uint64_t i = 0; i < old_clusters; i++)
		set_remove(&q->meta, (old >> q->cluster_bits) + i);
	q->high = MAX(q->high, (g->base + all) << q->cluster_bits);
	qcow2_free_later(q, old, old_clusters, false);
}

static int reftable_grow(struct qcow2 *q)
{
	struct growth g;
	int error;

	plan_growth(q, &g);
	if (g.clusters << q->cluster_bits > QCOW2_MAX_REFTABLE)
		return -EFBIG;
	for (uint64_t i = 0; i < g.blocks + g.clusters; i++)
		if (set_has(&q->meta, g.base + i))
			return qcow2_corrupt(q, "metadata that nothing counts");
	g.table = xcalloc(g.clusters, q->cluster_size);
	error = write_growth(q, &g);
	if (error)
		free(g.table);
	else
		adopt_growth(q, &g);
	return error;
}

/* ---- allocating ---- */

/* How many free clusters follow `first` in its block, at most n. */
static uint64_t free_run(struct qcow2 *q, const struct table *t, uint64_t first, uint64_t n)
{
	uint64_t stretch = BIT(block_bits(q)), i = first & (stretch - 1), run = 0;

	while (run < n && i + run < stretch && !counter_get(q, t->data, i + run))
		run++;
	return run;
}

/* The first free cluster at or above the hint; its block exists on return. */
static int find_free(struct qcow2 *q, uint64_t *cluster)
{
	uint64_t c = q->free_hint, stretch = BIT(block_bits(q));
	struct table *t;

	for (;;) {
		int error = block_load(q, c >> block_bits(q), &t);

		if (error)
			return error;
		if (c >> (56 - q->cluster_bits))
			return -EFBIG;
		if (c >> block_bits(q) >= qcow2_reftable_entries(q)) {
			error = reftable_grow(q);
		} else if (!t) {
			error = block_new(q, c);
		} else {
			uint64_t i = c & (stretch - 1);

			while (i < stretch && counter_get(q, t->data, i))
				i++;
			c = (c & ~(stretch - 1)) + i;
			if (i < stretch)
				break;
		}
		if (error)
			return error;
	}
	*cluster = c;
	return 0;
}

int qcow2_alloc(struct qcow2 *q, uint64_t want, uint64_t *offset, uint64_t *got, bool *fresh)
{
	struct table *t;
	uint64_t c, n;
	int error = find_free(q, &c);

	if (!error)
		error = block_load(q, c >> block_bits(q), &t);
	if (error)
		return error;
	n = free_run(q, t, c, want);
	for (uint64_t i = 0; i < n; i++)
		if (set_has(&q->meta, c + i))
			return qcow2_corrupt(q, "metadata at %#" PRIx64 " counts as free",
				(c + i) << q->cluster_bits);
	error = count_take(q, t, c & (BIT(block_bits(q)) - 1), n);
	if (error)
		return error;
	q->free_hint = c + n;
	*offset = c << q->cluster_bits;
	*got = n;
	*fresh = *offset >= q->high;
	q->high = MAX(q->high, (c + n) << q->cluster_bits);
	return 0;
}

/* ---- freeing ---- */

/* Counts clusters [i, i + n) of a block down; returns how many were done. */
static uint64_t count_down(struct qcow2 *q, struct table *t, uint64_t i, uint64_t n)
{
	uint64_t done = 0;

	for (; done < n; done++) {
		uint64_t count = counter_get(q, t->data, i + done);

		if (!count) {
			qcow2_corrupt(q, "a cluster in use counts as free");
			break;
		}
		counter_put(q, t->data, i + done, count - 1);
	}
	if (done && block_write(q, t, i, done)) {
		for (uint64_t j = i; j < i + done; j++)
			counter_put(q, t->data, j, counter_get(q, t->data, j) + 1);
		return 0;
	}
	return done;
}

/* Clusters [c, c + n) of one block. */
static void free_in_block(struct qcow2 *q, uint64_t c, uint64_t n, bool punch)
{
	uint64_t i = c & (BIT(block_bits(q)) - 1), run = 0;
	struct table *t;

	if (block_load(q, c >> block_bits(q), &t))
		return;
	if (!t) {
		qcow2_corrupt(q, "a cluster in use is not counted at all");
		return;
	}
	n = count_down(q, t, i, n);
	for (uint64_t j = 0; j <= n; j++) {
		if (j < n && !counter_get(q, t->data, i + j)) {
			run++;
			continue;
		}
		if (run)
			q->free_hint = MIN(q->free_hint, c + j - run);
		if (run && punch)
			fd_discard(
				q->im.fd, (c + j - run) << q->cluster_bits, run << q->cluster_bits);
		run = 0;
	}
}

/* An error here leaks clusters, which is harmless. */
static void free_clusters(struct qcow2 *q, const struct freed *f)
{
	uint64_t c = f->offset >> q->cluster_bits, left = f->clusters, stretch = BIT(block_bits(q));

	while (left && !q->corrupt) {
		uint64_t n = MIN(left, stretch - (c & (stretch - 1)));

		free_in_block(q, c, n, f->punch);
		c += n;
		left -= n;
	}
}

void qcow2_unalloc(struct qcow2 *q, uint64_t offset, uint64_t clusters)
{
	free_clusters(q, &(struct freed){offset, clusters, false});
}

void qcow2_free_later(struct qcow2 *q, uint64_t offset, uint64_t clusters, bool punch)
{
	struct freed *last = q->freed_count ? &q->freed[q->freed_count - 1] : NULL;

	if (last && last->punch == punch &&
		last->offset + (last->clusters << q->cluster_bits) == offset) {
		last->clusters += clusters;
		return;
	}
	if (q->freed_count == q->freed_room) {
		q->freed_room = q->freed_room ? q->freed_room * 2 : 64;
		q->freed = xrealloc(q->freed, q->freed_room * sizeof(*q->freed));
	}
	q->freed[q->freed_count++] = (struct freed){offset, clusters, punch};
}

void qcow2_apply_frees(struct qcow2 *q)
{
	for (size_t i = 0; i < q->freed_count; i++)
		free_clusters(q, &q->freed[i]);
	q->freed_count = 0;
}

/* ---- repair ---- */

/* Does each cluster in use have a counter that is wide enough? */
static bool countable(const struct qcow2 *q, const uint16_t *count, uint64_t n)
{
	unsigned bits = 1u << q->h.refcount_order;

	for (uint64_t c = 0; c < n; c++) {
		uint64_t entry = c >> block_bits(q);

		if (count[c] && (entry >= qcow2_reftable_entries(q) || !q->reftable[entry] ||
					(bits < 16 && count[c] >> bits)))
			return false;
	}
	return true;
}

int qcow2_set_counts(struct qcow2 *q, const uint16_t *count, uint64_t n)
{
	uint64_t stretch = BIT(block_bits(q));
	struct table *t;
	int error = countable(q, count, n) ? 0 : -EINVAL;

	for (uint64_t e = 0; e < qcow2_reftable_entries(q) && !error; e++) {
		error = block_load(q, e, &t);
		if (error || !t)
			continue;
		for (uint64_t i = 0; i < stretch; i++) {
			uint64_t c = e * stretch + i;

			counter_put(q, t->data, i, c < n ? count[c] : 0);
		}
		error = block_write(q, t, 0, stretch);
	}
	return error;
}

/* ---- opening ---- */

static int load_entries(struct qcow2 *q, const uint8_t *raw, char *err, size_t errlen)
{
	for (uint64_t i = 0; i < qcow2_reftable_entries(q); i++) {
		uint64_t offset = get_be64(raw + i * 8) & ~UINT64_C(511);

		q->reftable[i] = offset;
		if (!offset)
			continue;
		if (offset & (q->cluster_size - 1) ||
			!set_add(&q->meta, offset >> q->cluster_bits)) {
			snprintf(err, errlen,
				"%s: corrupt: a block of reference counts at %#" PRIx64, q->im.name,
				offset);
			return -EINVAL;
		}
	}
	return 0;
}

int qcow2_load_reftable(struct qcow2 *q, char *err, size_t errlen)
{
	uint64_t bytes = (uint64_t)q->h.reftable_clusters << q->cluster_bits;
	uint8_t *raw = xcalloc(1, bytes);
	int error = fd_read(q->im.fd, q->h.reftable_offset, raw, bytes);

	q->reftable = xcalloc(1, bytes);
	if (error)
		snprintf(err, errlen, "%s: corrupt: the table of reference counts at %#" PRIx64,
			q->im.name, q->h.reftable_offset);
	else
		error = load_entries(q, raw, err, errlen);
	free(raw);
	return error;
}
