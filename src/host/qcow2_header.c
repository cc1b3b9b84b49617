/*
 * qcow2_header.c - the header: read, judged, written; opening and closing.
 *
 * Left out, and refused by name: encryption, external data files, extended L2
 * entries, internal snapshots' own contents (their clusters are respected by
 * their reference counts). Consistency of dirty bitmaps is given up at the
 * first write, as the format provides (autoclear bits).
 * Lock: none while opening; later q->lock.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/qcow2.h"
#include "util/util.h"

#define MAGIC          0x514649fb
#define V2_LENGTH      72
#define V3_LENGTH      104
#define HEADER_MAX     112 /* what is read of it */
#define EXT_END        0
#define EXT_BACKING    0xe2792aca
#define EXT_MAX        64
#define CACHE_BYTES    (32 * MiB)
#define REFBLOCK_SLOTS 32
#define CREATE_BITS    16
#define REFCOUNT_ORDER 4
#define MAX_DISK_SIZE  BIT(61)

/* Where the fields are. */
enum {
	H_MAGIC = 0,
	H_VERSION = 4,
	H_BACKING_OFFSET = 8,
	H_BACKING_LEN = 16,
	H_CLUSTER_BITS = 20,
	H_SIZE = 24,
	H_CRYPT = 32,
	H_L1_ENTRIES = 36,
	H_L1_OFFSET = 40,
	H_REFTABLE_OFFSET = 48,
	H_REFTABLE_CLUSTERS = 56,
	H_SNAPSHOTS = 60,
	H_SNAPSHOTS_OFFSET = 64,
	H_INCOMPATIBLE = 72,
	H_COMPATIBLE = 80,
	H_AUTOCLEAR = 88,
	H_REFCOUNT_ORDER = 96,
	H_LENGTH = 100,
	H_COMPRESSION = 104
};

static int fail(char *err, size_t errlen, const char *name, const char *what)
{
	return fail_line(err, errlen, "%s: %s", name, what);
}

/* ---- reading ---- */

static void parse_v3(struct qcow2_header *h, const uint8_t *p)
{
	h->incompatible = get_be64(p + H_INCOMPATIBLE);
	h->compatible = get_be64(p + H_COMPATIBLE);
	h->autoclear = get_be64(p + H_AUTOCLEAR);
	h->refcount_order = get_be32(p + H_REFCOUNT_ORDER);
	h->header_length = get_be32(p + H_LENGTH);
	if (h->incompatible & INCOMPAT_COMPRESSION && h->header_length > H_COMPRESSION)
		h->compression = p[H_COMPRESSION];
}

static void parse(struct qcow2_header *h, const uint8_t *p)
{
	*h = (struct qcow2_header){
		.version = get_be32(p + H_VERSION),
		.cluster_bits = get_be32(p + H_CLUSTER_BITS),
		.crypt = get_be32(p + H_CRYPT),
		.l1_entries = get_be32(p + H_L1_ENTRIES),
		.reftable_clusters = get_be32(p + H_REFTABLE_CLUSTERS),
		.snapshots = get_be32(p + H_SNAPSHOTS),
		.refcount_order = REFCOUNT_ORDER,
		.header_length = V2_LENGTH,
		.backing_offset = get_be64(p + H_BACKING_OFFSET),
		.backing_len = get_be32(p + H_BACKING_LEN),
		.size = get_be64(p + H_SIZE),
		.l1_offset = get_be64(p + H_L1_OFFSET),
		.reftable_offset = get_be64(p + H_REFTABLE_OFFSET),
		.snapshots_offset = get_be64(p + H_SNAPSHOTS_OFFSET),
	};
	if (h->version >= 3)
		parse_v3(h, p);
}

/* NULL, or what of it we cannot do. */
static const char *unsupported(const struct qcow2_header *h)
{
	if (h->version != 2 && h->version != 3)
		return "a version of qcow2 other than 2 and 3";
	if (h->crypt)
		return "an encrypted qcow2; qemu-img convert can decrypt it";
	if (h->incompatible & INCOMPAT_DATA_FILE)
		return "a qcow2 with an external data file";
	if (h->incompatible & INCOMPAT_EXTENDED_L2)
		return "a qcow2 with extended L2 entries; qemu-img convert makes one without";
	if (h->incompatible & ~(uint64_t)31)
		return "a qcow2 with features that are not known here";
	if (h->compression > COMPRESSION_ZSTD)
		return "a qcow2 with a compression that is not known here";
	return NULL;
}

static bool place_ok(const struct qcow2_header *h, uint64_t offset, uint64_t bytes)
{
	return !(offset & (BIT(h->cluster_bits) - 1)) && range_in(offset, bytes, BIT(56));
}

/* NULL, or what is wrong with it. */
static const char *corruption(const struct qcow2_header *h)
{
	uint64_t reach;

	if (h->cluster_bits < QCOW2_MIN_CLUSTER_BITS || h->cluster_bits > QCOW2_MAX_CLUSTER_BITS)
		return "corrupt: cluster size";
	if (h->version >= 3 && (h->header_length < V3_LENGTH || h->header_length & 7 ||
				       h->header_length > BIT(h->cluster_bits)))
		return "corrupt: header length";
	if (h->refcount_order > 6)
		return "corrupt: width of reference counts";
	if (h->l1_entries > QCOW2_MAX_L1_BYTES / 8 ||
		!place_ok(h, h->l1_offset, (uint64_t)h->l1_entries * 8))
		return "corrupt: L1 table";
	if (!h->reftable_clusters || h->reftable_clusters > QCOW2_MAX_REFTABLE >> h->cluster_bits ||
		!place_ok(h, h->reftable_offset, (uint64_t)h->reftable_clusters << h->cluster_bits))
		return "corrupt: table of reference counts";
	if (h->snapshots > QCOW2_MAX_SNAPSHOTS || !place_ok(h, h->snapshots_offset, 0))
		return "corrupt: snapshots";
	reach = (uint64_t)h->l1_entries << (2 * h->cluster_bits - 3);
	if (h->size > MAX_DISK_SIZE || h->size > reach)
		return "corrupt: the disk is larger than its L1 table reaches";
	return NULL;
}

static int read_header(int fd, const char *name, struct qcow2_header *h, char *err, size_t errlen)
{
	uint8_t raw[HEADER_MAX] = {0};
	ssize_t n = pread(fd, raw, sizeof(raw), 0);
	const char *why;

	if (n < V2_LENGTH || get_be32(raw) != MAGIC)
		return fail(err, errlen, name, n < 0 ? strerror(errno) : "not a qcow2 image");
	parse(h, raw);
	why = unsupported(h);
	if (!why)
		why = corruption(h);
	return why ? fail(err, errlen, name, why) : 0;
}

/* ---- what it names ---- */

static int read_extensions(int fd, const char *name, const struct qcow2_header *h,
	struct qcow2_names *names, char *err, size_t errlen)
{
	uint64_t at = h->header_length;
	uint64_t end = h->backing_offset ? h->backing_offset : BIT(h->cluster_bits);
	uint8_t raw[8];

	for (unsigned i = 0; i < EXT_MAX && at + 8 <= end; i++) {
		uint32_t type, len;

		if (fd_read(fd, at, raw, 8))
			return 0; /* a short file has no more of them */
		type = get_be32(raw);
		len = get_be32(raw + 4);
		if (type == EXT_END)
			return 0;
		if (len > end - at - 8)
			return fail(err, errlen, name, "corrupt: header extension");
		if (type == EXT_BACKING &&
			(len >= sizeof(names->format) || fd_read(fd, at + 8, names->format, len)))
			return fail(err, errlen, name, "corrupt: format of the backing file");
		at += 8 + ((uint64_t)len + 7) / 8 * 8;
	}
	return 0;
}

int qcow2_read_names(int fd, const char *name, struct qcow2_names *names, char *err, size_t errlen)
{
	struct qcow2_header h;

	memset(names, 0, sizeof(*names));
	if (read_header(fd, name, &h, err, errlen))
		return -1;
	if (!h.backing_offset)
		return 0;
	if (h.backing_len > QCOW2_MAX_NAME || h.backing_offset > BIT(h.cluster_bits) ||
		h.backing_offset < h.header_length ||
		fd_read(fd, h.backing_offset, names->backing, h.backing_len) ||
		strlen(names->backing) != h.backing_len)
		return fail(err, errlen, name, "corrupt: name of the backing file");
	return read_extensions(fd, name, &h, names, err, errlen);
}

int qcow2_read_size(int fd, const char *name, uint64_t *size, char *err, size_t errlen)
{
	struct qcow2_header h;
	int error = read_header(fd, name, &h, err, errlen);

	if (!error)
		*size = h.size;
	return error;
}

/* ---- writing ---- */

int qcow2_sync(struct qcow2 *q)
{
	return q->scratch ? 0 : fd_sync(q->im.fd, &q->sync_lost);
}

static int write_u64(struct qcow2 *q, unsigned at, uint64_t value)
{
	uint8_t raw[8];

	put_be64(raw, value);
	return fd_write(q->im.fd, at, raw, 8);
}

int qcow2_corrupt(struct qcow2 *q, const char *fmt, ...)
{
	char what[128];
	va_list ap;

	if (q->corrupt)
		return -EIO;
	q->corrupt = true;
	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	log_error("disk %s: corrupt image: %s; nothing is written to it any more. "
		  "qemu-img check -r all may mend it",
		q->im.name, what);
	if (q->h.version >= 3 && !q->im.ro) {
		q->h.incompatible |= INCOMPAT_CORRUPT;
		if (write_u64(q, H_INCOMPATIBLE, q->h.incompatible))
			log_debug("disk %s: its header could not be marked", q->im.name);
	}
	return -EIO;
}

int qcow2_prepare_write(struct qcow2 *q)
{
	int error = 0;

	if (q->corrupt)
		return -EIO;
	if (q->header_ready)
		return 0;
	if (q->h.version >= 3 && q->h.autoclear) {
		error = write_u64(q, H_AUTOCLEAR, 0);
		if (!error)
			error = qcow2_sync(q);
	}
	q->header_ready = !error;
	return error;
}

int qcow2_clear_dirty(struct qcow2 *q)
{
	int error;

	q->h.incompatible &= ~(uint64_t)INCOMPAT_DIRTY;
	error = write_u64(q, H_INCOMPATIBLE, q->h.incompatible);
	return error ? error : qcow2_sync(q);
}

int qcow2_write_reftable_place(struct qcow2 *q, uint64_t offset, uint32_t clusters)
{
	uint8_t raw[12];
	int error;

	put_be64(raw, offset);
	put_be32(raw + 8, clusters);
	error = fd_write(q->im.fd, H_REFTABLE_OFFSET, raw, sizeof(raw));
	return error ? error : qcow2_sync(q);
}

/* ---- a new image ---- */

static void fill_header(uint8_t *p, uint64_t size, uint32_t l1_entries, uint64_t l1_offset)
{
	put_be32(p + H_MAGIC, MAGIC);
	put_be32(p + H_VERSION, 3);
	put_be32(p + H_CLUSTER_BITS, CREATE_BITS);
	put_be64(p + H_SIZE, size);
	put_be32(p + H_L1_ENTRIES, l1_entries);
	put_be64(p + H_L1_OFFSET, l1_offset);
	put_be64(p + H_REFTABLE_OFFSET, BIT(CREATE_BITS));
	put_be32(p + H_REFTABLE_CLUSTERS, 1);
	put_be32(p + H_REFCOUNT_ORDER, REFCOUNT_ORDER);
	put_be32(p + H_LENGTH, HEADER_MAX);
}

/* The extension with the format, the end of extensions, then the name. */
static void fill_names(uint8_t *p, const struct qcow2_names *names)
{
	uint8_t *at = p + HEADER_MAX;
	size_t format = strlen(names->format), name = strlen(names->backing);

	if (format) {
		put_be32(at, EXT_BACKING);
		put_be32(at + 4, (uint32_t)format);
		memcpy(at + 8, names->format, format);
		at += 8 + (format + 7) / 8 * 8;
	}
	at += 8;
	if (!name)
		return;
	put_be64(p + H_BACKING_OFFSET, (uint64_t)(at - p));
	put_be32(p + H_BACKING_LEN, (uint32_t)name);
	memcpy(at, names->backing, name);
}

/* Header, table of reference counts, one block of them, L1. */
int qcow2_format(int fd, uint64_t size, const struct qcow2_names *names)
{
	uint64_t cluster = BIT(CREATE_BITS), reach = cluster << (CREATE_BITS - 3);
	uint64_t l1_entries = (size + reach - 1) / reach;
	uint64_t l1_clusters = (l1_entries * 8 + cluster - 1) >> CREATE_BITS;
	uint8_t *raw;
	int error;

	if (size > MAX_DISK_SIZE || l1_entries > QCOW2_MAX_L1_BYTES / 8)
		return -EFBIG;
	raw = xcalloc(3, cluster);
	fill_header(raw, size, (uint32_t)l1_entries, 3 * cluster);
	fill_names(raw, names);
	put_be64(raw + cluster, 2 * cluster);
	for (uint64_t i = 0; i < 3 + l1_clusters; i++)
		raw[2 * cluster + i * 2 + 1] = 1;
	error = fd_write(fd, 0, raw, 3 * cluster);
	if (!error && ftruncate(fd, (off_t)((3 + l1_clusters) * cluster)))
		error = -errno;
	free(raw);
	return error;
}

/* ---- opening ---- */

/* Clusters that hold nothing but metadata; false: two of them overlap. */
static bool reserve(struct qcow2 *q, uint64_t offset, uint64_t bytes)
{
	uint64_t first = offset >> q->cluster_bits;
	uint64_t n = (bytes + q->cluster_size - 1) >> q->cluster_bits;

	for (uint64_t i = 0; i < n; i++)
		if (!set_add(&q->meta, first + i))
			return false;
	return true;
}

static int load_l1(struct qcow2 *q, char *err, size_t errlen)
{
	uint64_t bytes = (uint64_t)q->h.l1_entries * 8;
	uint8_t *raw = xcalloc(1, bytes + 1);
	int error = bytes ? fd_read(q->im.fd, q->h.l1_offset, raw, bytes) : 0;

	q->l1 = xcalloc(q->h.l1_entries + 1, 8);
	for (uint32_t i = 0; i < q->h.l1_entries && !error; i++)
		q->l1[i] = get_be64(raw + (size_t)i * 8);
	free(raw);
	return error ? fail(err, errlen, q->im.name, "corrupt: the L1 table is cut off") : 0;
}

/* Two entries may share a table, but none may lie on other metadata. */
static int reserve_l2(struct qcow2 *q, char *err, size_t errlen)
{
	for (unsigned pass = 0; pass < 2; pass++)
		for (uint32_t i = 0; i < q->h.l1_entries; i++) {
			uint64_t offset = q->l1[i] & QCOW2_OFFSET;

			if (!offset)
				continue;
			if (pass)
				set_add(&q->meta, offset >> q->cluster_bits);
			else if (offset & (q->cluster_size - 1) ||
				 set_has(&q->meta, offset >> q->cluster_bits))
				return fail(err, errlen, q->im.name,
					"corrupt: an L2 table lies on other metadata");
		}
	return 0;
}

static int load_tables(struct qcow2 *q, char *err, size_t errlen)
{
	if (!reserve(q, 0, q->cluster_size) ||
		!reserve(q, q->h.l1_offset, (uint64_t)q->h.l1_entries * 8) ||
		!reserve(q, q->h.reftable_offset,
			(uint64_t)q->h.reftable_clusters << q->cluster_bits))
		return fail(err, errlen, q->im.name, "corrupt: its tables overlap");
	if (load_l1(q, err, errlen) || qcow2_load_reftable(q, err, errlen))
		return -1;
	return reserve_l2(q, err, errlen);
}

static int judge_state(const struct qcow2 *q, char *err, size_t errlen)
{
	if (q->im.ro)
		return 0;
	if (q->h.incompatible & INCOMPAT_CORRUPT)
		return fail(err, errlen, q->im.name,
			"is marked as corrupt: qemu-img check -r all mends it, ro reads it");
	return 0;
}

static int repair_if_dirty(struct qcow2 *q, char *err, size_t errlen)
{
	if (q->im.ro || !(q->h.incompatible & INCOMPAT_DIRTY))
		return 0;
	if (qcow2_repair(q))
		return fail(err, errlen, q->im.name,
			"was not closed (lazy reference counts), and its reference counts cannot "
			"be made anew: qemu-img check -r all may, ro reads it");
	log_info("disk %s: was not closed; its reference counts were made anew", q->im.name);
	return 0;
}

static void init_geometry(struct qcow2 *q)
{
	unsigned slots = (unsigned)(CACHE_BYTES >> q->h.cluster_bits);

	q->cluster_bits = q->h.cluster_bits;
	q->l2_bits = q->cluster_bits - 3;
	q->cluster_size = BIT(q->cluster_bits);
	q->im.size = (q->h.size + SECTOR_SIZE - 1) & ~(uint64_t)(SECTOR_SIZE - 1);
	table_cache_init(&q->l2, MAX(MIN(slots, 512u), 4u));
	table_cache_init(&q->refblock, REFBLOCK_SLOTS);
	q->unpacked = xcalloc(1, q->cluster_size);
	q->packed = xcalloc(1, q->cluster_size * 2);
	pthread_mutex_init(&q->lock, NULL);
	pthread_mutex_init(&q->unpack_lock, NULL);
	pthread_cond_init(&q->unclaimed, NULL);
}

void qcow2_free(struct qcow2 *q)
{
	if (q->cluster_size) {
		table_cache_free(&q->l2);
		table_cache_free(&q->refblock);
		pthread_mutex_destroy(&q->lock);
		pthread_mutex_destroy(&q->unpack_lock);
		pthread_cond_destroy(&q->unclaimed);
	}
	free(q->l1);
	free(q->reftable);
	free(q->freed);
	free(q->meta.slot);
	free(q->unpacked);
	free(q->packed);
	free(q->im.name);
	free(q);
}

struct image *qcow2_open(const struct disk_file *f, struct image *backing, char *err, size_t errlen)
{
	struct qcow2 *q = xcalloc(1, sizeof(*q));
	int error;

	q->im = (struct image){&qcow2_ops, xstrdup(f->name), f->fd, 0, f->ro, backing};
	q->scratch = f->scratch;
	error = read_header(f->fd, f->name, &q->h, err, errlen);
	if (!error) {
		init_geometry(q);
		error = judge_state(q, err, errlen);
	}
	if (!error)
		error = load_tables(q, err, errlen);
	if (!error)
		error = repair_if_dirty(q, err, errlen);
	if (!error && fd_size(f->fd, &q->high))
		error = fail(err, errlen, f->name, strerror(errno));
	if (!error)
		return &q->im;
	qcow2_free(q);
	return NULL;
}
