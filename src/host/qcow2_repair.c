/*
 * qcow2_repair.c - counts again who refers to what, where an image with lazy
 * reference counts was not closed.
 *
 * Everything that refers to clusters is walked: header, tables, blocks, L1 and
 * L2 tables of the disk and of its snapshots. Then each block of counters is
 * written anew, and the dirty bit goes. What refers beyond the end of the file,
 * or a file with too many clusters to count in memory, is left to qemu-img.
 * Lock: none, while the image is opened.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "host/qcow2.h"
#include "util/util.h"

#define MAX_CLUSTERS  BIT(26)
#define MAX_ENTRIES   BIT(28) /* of L2 tables, so that shared ones cannot hold us for ever */
#define SNAPSHOT_HEAD 40

struct census {
	struct qcow2 *q;
	uint64_t clusters; /* of the file */
	uint16_t *count;
	uint64_t entries; /* looked at so far */
};

static int count_range(struct census *c, uint64_t offset, uint64_t bytes)
{
	uint64_t first = offset >> c->q->cluster_bits;
	uint64_t n = (bytes + c->q->cluster_size - 1) >> c->q->cluster_bits;

	if (!range_in(first, n, c->clusters))
		return -EINVAL;
	for (uint64_t i = first; i < first + n; i++)
		if (c->count[i]++ == UINT16_MAX)
			return -EINVAL;
	return 0;
}

static int count_l2_entry(struct census *c, uint64_t entry)
{
	uint64_t offset, clusters;

	if (entry & QCOW2_COMPRESSED) {
		qcow2_compressed_extent(c->q, entry, &offset, &clusters);
		return count_range(c, offset, clusters << c->q->cluster_bits);
	}
	offset = entry & QCOW2_OFFSET;
	return offset ? count_range(c, offset, c->q->cluster_size) : 0;
}

static int count_l2(struct census *c, uint64_t offset, uint8_t *table)
{
	int error = count_range(c, offset, c->q->cluster_size);

	c->entries += c->q->cluster_size / 8;
	if (!error && c->entries > MAX_ENTRIES)
		error = -EFBIG;
	if (!error)
		error = fd_read(c->q->im.fd, offset, table, c->q->cluster_size);
	for (uint64_t i = 0; i < c->q->cluster_size && !error; i += 8)
		error = count_l2_entry(c, get_be64(table + i));
	return error;
}

static int count_l1(struct census *c, uint64_t offset, uint64_t entries)
{
	uint8_t *l1, *table;
	int error;

	if (entries > QCOW2_MAX_L1_BYTES / 8 || (offset & (c->q->cluster_size - 1)))
		return -EINVAL;
	error = count_range(c, offset, entries * 8);
	l1 = xcalloc(entries + 1, 8);
	table = xcalloc(1, c->q->cluster_size);
	if (!error)
		error = fd_read(c->q->im.fd, offset, l1, entries * 8);
	for (uint64_t i = 0; i < entries && !error; i++) {
		uint64_t l2 = get_be64(l1 + i * 8) & QCOW2_OFFSET;

		error = l2 ? count_l2(c, l2, table) : 0;
	}
	free(table);
	free(l1);
	return error;
}

/* Each snapshot has an L1 table of its own; names and more follow its head, of no matter here. */
static int count_snapshots(struct census *c)
{
	uint64_t start = c->q->h.snapshots_offset, at = start;
	int error = 0;

	for (uint32_t i = 0; i < c->q->h.snapshots && !error; i++) {
		uint8_t head[SNAPSHOT_HEAD];

		error = fd_read(c->q->im.fd, at, head, sizeof(head));
		if (!error)
			error = count_l1(c, get_be64(head), get_be32(head + 8));
		if (!error)
			at += (SNAPSHOT_HEAD + (uint64_t)get_be32(head + 36) +
				      ((uint32_t)head[12] << 8 | head[13]) +
				      ((uint32_t)head[14] << 8 | head[15]) + 7) &
			      ~UINT64_C(7);
	}
	return error ? error : count_range(c, start, at - start);
}

static int count_all(struct census *c)
{
	struct qcow2 *q = c->q;
	int error = count_range(c, 0, q->cluster_size);

	if (!error)
		error = count_range(c, q->h.reftable_offset,
			(uint64_t)q->h.reftable_clusters << q->cluster_bits);
	for (uint64_t i = 0; i < qcow2_reftable_entries(q) && !error; i++)
		if (q->reftable[i])
			error = count_range(c, q->reftable[i], q->cluster_size);
	if (!error)
		error = count_l1(c, q->h.l1_offset, q->h.l1_entries);
	return error ? error : count_snapshots(c);
}

int qcow2_repair(struct qcow2 *q)
{
	struct census c = {.q = q};
	uint64_t size;
	int error = fd_size(q->im.fd, &size);

	if (error)
		return error;
	c.clusters = (size + q->cluster_size - 1) >> q->cluster_bits;
	if (c.clusters > MAX_CLUSTERS)
		return -EFBIG;
	c.count = xcalloc(c.clusters + 1, sizeof(*c.count));
	error = count_all(&c);
	if (!error)
		error = qcow2_set_counts(q, c.count, c.clusters);
	free(c.count);
	if (!error)
		error = qcow2_sync(q);
	return error ? error : qcow2_clear_dirty(q);
}
