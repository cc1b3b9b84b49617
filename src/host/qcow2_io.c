/*
 * qcow2_io.c - the guest's reads, writes, zeroes and discards.
 *
 * A request goes piece by piece, each piece lying in one L2 table and on host
 * clusters that follow each other. A write that changes the mapping copies
 * what it leaves of its first and last cluster, writes the data, and only then
 * changes the L2 entries.
 * Locks: see qcow2.h. No data is transferred with q->lock held.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "host/qcow2.h"
#include "util/util.h"

#define MAX_FREED 4096 /* pieces kept until the next flush */
#define MAX_RUN   (4 * MiB)

/* ---- claims on guest clusters ---- */

static bool conflicts(const struct qcow2 *q, const struct claim *c)
{
	for (const struct claim *o = q->claims; o; o = o->next)
		if ((c->exclusive || o->exclusive) && c->first <= o->last && o->first <= c->last)
			return true;
	return false;
}

/* q->lock held, given up while it waits. */
static void claim(struct qcow2 *q, struct claim *c, uint64_t off, uint64_t len, bool exclusive)
{
	*c = (struct claim){
		off >> q->cluster_bits, (off + len - 1) >> q->cluster_bits, exclusive, NULL};
	while (conflicts(q, c))
		pthread_cond_wait(&q->unclaimed, &q->lock);
	c->next = q->claims;
	q->claims = c;
}

static void unclaim(struct qcow2 *q, struct claim *c)
{
	struct claim **p = &q->claims;

	while (*p != c)
		p = &(*p)->next;
	*p = c->next;
	pthread_cond_broadcast(&q->unclaimed);
}

/* ---- compressed clusters ---- */

static bool inflate_cluster(const uint8_t *in, size_t in_len, uint8_t *out, size_t out_len)
{
	z_stream z = {.next_in = (uint8_t *)in,
		.avail_in = (unsigned)in_len,
		.next_out = out,
		.avail_out = (unsigned)out_len};
	int result;

	if (inflateInit2(&z, -15) != Z_OK)
		return false;
	result = inflate(&z, Z_FINISH);
	inflateEnd(&z);
	return (result == Z_STREAM_END || result == Z_BUF_ERROR) && !z.avail_out;
}

static bool unpack_zstd(const uint8_t *in, size_t in_len, uint8_t *out, size_t out_len)
{
	ZSTD_DStream *z = ZSTD_createDStream();
	ZSTD_inBuffer input = {in, in_len, 0};
	ZSTD_outBuffer output = {out, out_len, 0};
	size_t result = 1;

	while (z && output.pos < out_len && input.pos < in_len && !ZSTD_isError(result))
		result = ZSTD_decompressStream(z, &output, &input);
	ZSTD_freeDStream(z);
	return !ZSTD_isError(result) && output.pos == out_len;
}

/* How much is packed is only known in sectors, and the last may lie behind the end of the file. */
static int unpack(struct qcow2 *q, uint64_t entry)
{
	unsigned bits = 62 - (q->cluster_bits - 8);
	uint64_t offset = entry & (BIT(bits) - 1);
	uint64_t sectors = (entry >> bits & (BIT(62 - bits) - 1)) + 1;
	size_t len = sectors * 512 - (offset & 511);
	ssize_t n;
	bool ok;

	if (q->unpacked_entry == entry)
		return 0;
	q->unpacked_entry = 0;
	n = pread(q->im.fd, q->packed, MIN(len, q->cluster_size * 2), (off_t)offset);
	if (n < 0)
		return -errno;
	if (q->h.compression == COMPRESSION_ZSTD)
		ok = unpack_zstd(q->packed, (size_t)n, q->unpacked, q->cluster_size);
	else
		ok = inflate_cluster(q->packed, (size_t)n, q->unpacked, q->cluster_size);
	q->unpacked_entry = ok ? entry : 0;
	return ok ? 0 : -EIO;
}

static int read_compressed(
	struct qcow2 *q, const struct mapping *m, uint64_t off, const struct span *s)
{
	int error;

	pthread_mutex_lock(&q->unpack_lock);
	error = unpack(q, m->entry);
	if (!error)
		span_fill_from(s, q->unpacked + (off & (q->cluster_size - 1)));
	pthread_mutex_unlock(&q->unpack_lock);
	return error;
}

/* ---- reading ---- */

/* An overlay may be larger than what backs it. */
static int read_backing(struct qcow2 *q, uint64_t off, const struct span *s)
{
	struct image *b = q->im.backing;
	uint64_t have = b && off < b->size ? MIN(s->len, b->size - off) : 0;
	struct span head = span_cut(s, 0, have), tail = span_cut(s, have, s->len - have);

	span_zero(&tail);
	return have ? b->ops->read(b, off, &head) : 0;
}

/* Behind the end of the file a cluster is zeroes: it was never written in full. */
static int read_data(struct qcow2 *q, uint64_t host, const struct span *s)
{
	uint64_t size, have;
	struct span head, tail;
	int error = fd_read_span(q->im.fd, host, s);

	if (error != -EIO || fd_size(q->im.fd, &size) || range_in(host, s->len, size))
		return error;
	have = host < size ? MIN(s->len, size - host) : 0;
	head = span_cut(s, 0, have);
	tail = span_cut(s, have, s->len - have);
	span_zero(&tail);
	return have ? fd_read_span(q->im.fd, host, &head) : 0;
}

static int read_mapped(struct qcow2 *q, const struct mapping *m, uint64_t off, const struct span *s)
{
	switch (m->kind) {
	case MAP_DATA:
		return read_data(q, m->host, s);
	case MAP_COMPRESSED:
		return read_compressed(q, m, off, s);
	case MAP_UNALLOCATED:
		return read_backing(q, off, s);
	default:
		span_zero(s);
		return 0;
	}
}

/* The clusters are claimed. */
static int read_claimed(struct qcow2 *q, uint64_t off, const struct span *s)
{
	struct mapping m;
	int error = 0;

	for (uint64_t done = 0; done < s->len && !error; done += m.len) {
		struct span part;

		pthread_mutex_lock(&q->lock);
		error = qcow2_map(q, off + done, s->len - done, &m);
		pthread_mutex_unlock(&q->lock);
		part = span_cut(s, done, m.len);
		if (!error)
			error = read_mapped(q, &m, off + done, &part);
	}
	return error;
}

static int qcow2_read(struct image *im, uint64_t off, const struct span *s)
{
	struct qcow2 *q = container_of(im, struct qcow2, im);
	struct claim c;
	int error;

	pthread_mutex_lock(&q->lock);
	claim(q, &c, off, s->len, false);
	pthread_mutex_unlock(&q->lock);
	error = read_claimed(q, off, s);
	pthread_mutex_lock(&q->lock);
	unclaim(q, &c);
	pthread_mutex_unlock(&q->lock);
	return error;
}

/* ---- writing where nothing changes ---- */

/* As much as may be written in place; *done: how much. q->lock is not held. */
static int write_in_place(struct qcow2 *q, uint64_t off, const struct span *s, uint64_t *done)
{
	struct mapping m;
	struct claim c;
	int error = 0;

	*done = 0;
	pthread_mutex_lock(&q->lock);
	claim(q, &c, off, s->len, false);
	while (*done < s->len) {
		struct span part;

		error = q->corrupt ? -EIO : qcow2_map(q, off + *done, s->len - *done, &m);
		if (error || m.kind != MAP_DATA || !m.owned)
			break;
		pthread_mutex_unlock(&q->lock);
		part = span_cut(s, *done, m.len);
		error = fd_write_span(q->im.fd, m.host, &part);
		pthread_mutex_lock(&q->lock);
		if (error)
			break;
		*done += m.len;
	}
	unclaim(q, &c);
	pthread_mutex_unlock(&q->lock);
	return error;
}

/* ---- writing with a new mapping ---- */

/* Guest clusters from `first` on that become host clusters from `host` on. */
struct move {
	uint64_t off, len;        /* what is written, bytes */
	uint64_t first, clusters; /* guest offset of the first cluster */
	uint64_t host;
	bool fresh; /* never written: zeroes need not be */
	bool reuse; /* a cluster of zeroes that has its place already */
};

static bool all_zero(const uint8_t *p, size_t len)
{
	return !len || (!p[0] && !memcmp(p, p + 1, len - 1));
}

/* What the guest has at [off, off + len) goes to the new place. */
static int copy_rest(struct qcow2 *q, const struct move *m, uint64_t off, uint64_t len)
{
	struct iovec iov = {NULL, len};
	struct span s = {&iov, 1, 0, len};
	int error;

	if (!len)
		return 0;
	iov.iov_base = xcalloc(1, len);
	error = read_claimed(q, off, &s);
	if (!error && !(m->fresh && all_zero(iov.iov_base, len)))
		error = fd_write_span(q->im.fd, m->host + (off - m->first), &s);
	free(iov.iov_base);
	return error;
}

static int move_data(struct qcow2 *q, const struct move *m, const struct span *s)
{
	uint64_t end = m->off + m->len, last = m->first + (m->clusters << q->cluster_bits);
	int error = copy_rest(q, m, m->first, m->off - m->first);

	last = MIN(last, q->im.size);
	if (!error)
		error = copy_rest(q, m, end, last > end ? last - end : 0);
	if (!error)
		error = fd_write_span(q->im.fd, m->host + (m->off - m->first), s);
	return error;
}

/* How many clusters from off on want a new place: to the end of s or of the table. */
static int clusters_to_move(struct qcow2 *q, uint64_t off, uint64_t len, uint64_t *clusters)
{
	uint64_t mask = q->cluster_size - 1, end = MIN(off + len, off + MAX_RUN), at = off;
	uint64_t table = q->cluster_size << q->l2_bits;
	struct mapping m;

	end = MIN(end, (off / table + 1) * table);
	while (at < end) {
		int error = qcow2_map(q, at, end - at, &m);

		if (error)
			return error;
		if ((m.kind == MAP_DATA || m.kind == MAP_ZERO_ALLOCATED) && m.owned)
			break;
		at += m.len;
	}
	*clusters = ((at + mask) >> q->cluster_bits) - (off >> q->cluster_bits);
	return 0;
}

/* Clusters freed by earlier writes come back only after a flush; not too many may wait. */
static int begin_write(struct qcow2 *q)
{
	int error = qcow2_prepare_write(q);

	if (!error && q->freed_count > MAX_FREED)
		error = qcow2_flush_tables(q);
	return error;
}

/* q->lock held. */
static int plan_move(struct qcow2 *q, uint64_t off, uint64_t len, struct move *m)
{
	struct mapping map;
	struct table *t;
	unsigned i;
	int error = begin_write(q);

	*m = (struct move){.off = off, .first = off & ~(q->cluster_size - 1), .clusters = 1};
	if (!error)
		error = qcow2_l2_for_write(q, off, &t, &i);
	if (!error)
		error = qcow2_map(q, off, len, &map);
	if (error)
		return error;
	m->reuse = map.kind == MAP_ZERO_ALLOCATED && map.owned;
	if (m->reuse) {
		m->host = map.entry & QCOW2_OFFSET;
	} else {
		error = clusters_to_move(q, off, len, &m->clusters);
		if (!error)
			error = qcow2_alloc(q, m->clusters, &m->host, &m->clusters, &m->fresh);
	}
	m->len = MIN(len, m->first + (m->clusters << q->cluster_bits) - off);
	return error;
}

/* q->lock held; the data has landed. */
static int finish_move(struct qcow2 *q, const struct move *m)
{
	struct table *t;
	unsigned i;
	int error = q->corrupt ? -EIO : qcow2_l2_for_write(q, m->first, &t, &i);

	for (uint64_t n = 0; n < m->clusters && !error; n++)
		qcow2_set_entry(q, t, i + (unsigned)n,
			(m->host + (n << q->cluster_bits)) | QCOW2_COPIED, false);
	return error;
}

/* One run of clusters gets a new place; *done: bytes written. */
static int write_move(struct qcow2 *q, uint64_t off, const struct span *s, uint64_t *done)
{
	struct mapping map;
	struct claim c;
	struct move m;
	struct span part;
	int error;

	*done = 0;
	pthread_mutex_lock(&q->lock);
	claim(q, &c, off, MIN(s->len, MAX_RUN), true);
	error = qcow2_map(q, off, s->len, &map);
	/* Another thread may have been here since. */
	if (error || (map.kind == MAP_DATA && map.owned))
		goto out;
	error = plan_move(q, off, s->len, &m);
	if (error)
		goto out;
	pthread_mutex_unlock(&q->lock);
	part = span_cut(s, 0, m.len);
	error = move_data(q, &m, &part);
	pthread_mutex_lock(&q->lock);
	if (!error)
		error = finish_move(q, &m);
	if (!error)
		*done = m.len;
	else if (!m.reuse)
		qcow2_unalloc(q, m.host, m.clusters);
out:
	unclaim(q, &c);
	pthread_mutex_unlock(&q->lock);
	return error;
}

static int qcow2_write(struct image *im, uint64_t off, const struct span *s)
{
	struct qcow2 *q = container_of(im, struct qcow2, im);
	struct span rest = *s;
	int error = 0;

	while (rest.len && !error) {
		uint64_t done;

		error = write_in_place(q, off, &rest, &done);
		off += done;
		rest = span_cut(&rest, done, rest.len - done);
		if (error || !rest.len)
			break;
		error = write_move(q, off, &rest, &done);
		off += done;
		rest = span_cut(&rest, done, rest.len - done);
	}
	return error;
}

/* ---- zeroes and discard: whole clusters by their entries, the rest by writing ---- */

static int write_zero_bytes(struct qcow2 *q, uint64_t off, uint64_t len)
{
	struct iovec iov = {xcalloc(1, 64 * KiB), 64 * KiB};
	int error = 0;

	while (len && !error) {
		uint64_t n = MIN(len, iov.iov_len);

		error = qcow2_write(&q->im, off, &(struct span){&iov, 1, 0, n});
		off += n;
		len -= n;
	}
	free(iov.iov_base);
	return error;
}

/* The entry that makes a cluster read as zeroes; false: the format has none. */
static bool zero_entry(const struct qcow2 *q, const struct mapping *m, bool keep, uint64_t *entry)
{
	*entry = q->im.backing ? QCOW2_ZERO : 0;
	if (q->h.version < 3)
		return !q->im.backing;
	if (keep && m->kind == MAP_DATA && m->owned)
		*entry = (m->entry & QCOW2_OFFSET) | QCOW2_COPIED | QCOW2_ZERO;
	return true;
}

/* One run of whole clusters; *len: bytes done. keep: they keep their places. q->lock held. */
static int zero_run(struct qcow2 *q, uint64_t off, uint64_t *len, bool keep)
{
	uint64_t clusters = (*len + q->cluster_size - 1) >> q->cluster_bits, entry;
	struct mapping m, each;
	struct table *t;
	unsigned i;
	int error = begin_write(q);

	if (!error)
		error = qcow2_map(q, off, *len, &m);
	if (error)
		return error;
	*len = m.len;
	clusters = (m.len + q->cluster_size - 1) >> q->cluster_bits;
	if (m.kind == MAP_ZERO || (m.kind == MAP_ZERO_ALLOCATED && keep) ||
		(m.kind == MAP_UNALLOCATED && !q->im.backing))
		return 0;
	error = qcow2_l2_for_write(q, off, &t, &i);
	for (uint64_t n = 0; n < clusters && !error; n++) {
		each = m;
		each.entry = get_be64(t->data + (i + n) * 8);
		if (!zero_entry(q, &each, keep, &entry))
			return -EOPNOTSUPP;
		qcow2_set_entry(q, t, i + (unsigned)n, entry, !keep);
	}
	return error;
}

static int zero_clusters(struct qcow2 *q, uint64_t off, uint64_t len, bool keep)
{
	int error = 0;

	while (len && !error) {
		uint64_t n = len;
		struct claim c;

		pthread_mutex_lock(&q->lock);
		claim(q, &c, off, len, true);
		error = zero_run(q, off, &n, keep);
		unclaim(q, &c);
		pthread_mutex_unlock(&q->lock);
		off += n;
		len -= n;
	}
	return error;
}

/* The whole clusters of [off, off + len); the disk's last one may be cut off by its end. */
static void whole_clusters(
	const struct qcow2 *q, uint64_t off, uint64_t len, uint64_t *first, uint64_t *end)
{
	uint64_t mask = q->cluster_size - 1;

	*first = (off + mask) & ~mask;
	*end = off + len == q->im.size ? off + len : (off + len) & ~mask;
}

static int qcow2_zero(struct image *im, uint64_t off, uint64_t len)
{
	struct qcow2 *q = container_of(im, struct qcow2, im);
	uint64_t first, end;
	int error;

	whole_clusters(q, off, len, &first, &end);
	if (first >= end)
		return write_zero_bytes(q, off, len);
	error = write_zero_bytes(q, off, first - off);
	if (!error)
		error = zero_clusters(q, first, end - first, true);
	if (error == -EOPNOTSUPP)
		error = write_zero_bytes(q, first, end - first);
	return error ? error : write_zero_bytes(q, end, off + len - end);
}

static int qcow2_discard(struct image *im, uint64_t off, uint64_t len)
{
	struct qcow2 *q = container_of(im, struct qcow2, im);
	uint64_t first, end;
	int error;

	whole_clusters(q, off, len, &first, &end);
	if (first >= end)
		return 0;
	error = zero_clusters(q, first, end - first, false);
	return error == -EOPNOTSUPP ? 0 : error;
}

/* ---- the rest ---- */

static int qcow2_flush(struct image *im)
{
	struct qcow2 *q = container_of(im, struct qcow2, im);
	int error;

	pthread_mutex_lock(&q->lock);
	error = q->corrupt ? -EIO : qcow2_flush_tables(q);
	pthread_mutex_unlock(&q->lock);
	return error;
}

static void qcow2_close(struct image *im)
{
	struct qcow2 *q = container_of(im, struct qcow2, im);

	if (im->backing)
		im->backing->ops->close(im->backing);
	close(im->fd);
	qcow2_free(q);
}

const struct image_ops qcow2_ops = {
	"qcow2", qcow2_read, qcow2_write, qcow2_zero, qcow2_discard, qcow2_flush, qcow2_close};
