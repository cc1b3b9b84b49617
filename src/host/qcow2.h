/*
 * qcow2.h - between the qcow2_*.c files: one open image and its mechanisms.
 *
 * Format: "The QCOW2 image format", docs/interop/qcow2.txt of QEMU. Guest
 * clusters map to host clusters by two levels (L1, L2); a two-level array of
 * reference counts tells which host clusters are in use.
 *
 * What is written when:
 *   1. reference counts go up at once, before anything refers to the cluster;
 *   2. data follows; 3. the L2 entry changes in memory only;
 *   4. flush: sync, write L2 tables, sync, write L1, sync;
 *   5. what the old entries referred to is freed after that.
 * So a process that dies leaves at worst clusters that nobody refers to, and so
 * does a host that loses power.
 * Locks: q->lock covers all metadata, its I/O included. Data is transferred
 * without it, under a claim on the guest clusters: shared for reads and writes
 * in place, exclusive for what changes the mapping.
 */
#ifndef TINAMOU_QCOW2_H
#define TINAMOU_QCOW2_H

#include <pthread.h>

#include "host/image.h"

#define QCOW2_MIN_CLUSTER_BITS 9
#define QCOW2_MAX_CLUSTER_BITS 21
#define QCOW2_MAX_L1_BYTES     (32 * MiB)
#define QCOW2_MAX_REFTABLE     (8 * MiB)
#define QCOW2_MAX_NAME         1023
#define QCOW2_MAX_SNAPSHOTS    65536

enum {
	INCOMPAT_DIRTY = 1,
	INCOMPAT_CORRUPT = 2,
	INCOMPAT_DATA_FILE = 4,
	INCOMPAT_COMPRESSION = 8,
	INCOMPAT_EXTENDED_L2 = 16
};

/* L1 and L2 entries. */
#define QCOW2_COPIED     BIT(63) /* the reference count is exactly one */
#define QCOW2_COMPRESSED BIT(62)
#define QCOW2_ZERO       BIT(0) /* version 3 */
#define QCOW2_OFFSET     UINT64_C(0x00fffffffffffe00)

enum { COMPRESSION_DEFLATE = 0, COMPRESSION_ZSTD = 1 };

/* The header in host order; see qcow2_header.c for where its fields are. */
struct qcow2_header {
	uint32_t version, cluster_bits, crypt, l1_entries, reftable_clusters, snapshots;
	uint32_t refcount_order, header_length;
	uint64_t backing_offset, size, l1_offset, reftable_offset, snapshots_offset;
	uint64_t incompatible, compatible, autoclear;
	uint32_t backing_len;
	uint8_t compression;
};

struct qcow2_names {
	char backing[QCOW2_MAX_NAME + 1]; /* "": none */
	char format[16];                  /* of the backing file, "": not told */
};

/* ---- qcow2_header.c ---- */

/* For the front: what a header names. 0, or -1 with the reason in err. */
int qcow2_read_names(int fd, const char *name, struct qcow2_names *names, char *err, size_t errlen);
/* Bytes of the disk. */
int qcow2_read_size(int fd, const char *name, uint64_t *size, char *err, size_t errlen);
/* Writes an empty image into an empty file. 0 or -errno. */
int qcow2_format(int fd, uint64_t size, const struct qcow2_names *names);

/* One cluster of metadata in memory, in the file's byte order. */
struct table {
	uint64_t offset; /* in the file; 0: empty slot */
	uint64_t used;   /* of the cache's counter */
	bool dirty;
	uint8_t *data;
};

struct table_cache {
	unsigned slots;
	uint64_t counter;
	struct table *table;
};

/* Host clusters that hold metadata: a hash set of their numbers. */
struct cluster_set {
	uint64_t *slot; /* number + 1; 0: free */
	size_t slots, count;
};

struct claim {
	uint64_t first, last; /* guest clusters */
	bool exclusive;
	struct claim *next;
};

struct freed {
	uint64_t offset, clusters;
	bool punch; /* give the storage back to the host */
};

struct qcow2 {
	struct image im;
	struct qcow2_header h;
	unsigned cluster_bits, l2_bits; /* l2_bits: log2 of entries a table */
	uint64_t cluster_size;
	bool scratch;
	bool corrupt; /* found so: nothing is written any more */
	_Atomic bool sync_lost;
	bool header_ready; /* autoclear bits were cleared */

	pthread_mutex_t lock;
	pthread_cond_t unclaimed;
	struct claim *claims;

	uint64_t *l1; /* host order */
	bool l1_dirty;
	uint64_t l1_dirty_first, l1_dirty_last;
	struct table_cache l2;
	bool l2_dirty;

	uint64_t *reftable; /* host order; h.reftable_clusters long */
	struct table_cache refblock;
	uint64_t free_hint; /* no free cluster below this number */
	uint64_t high;      /* no byte at or above was ever written */
	struct freed *freed;
	size_t freed_count, freed_room;
	struct cluster_set meta;

	/* The cluster that was unpacked last. */
	pthread_mutex_t unpack_lock;
	uint64_t unpacked_entry;
	uint8_t *unpacked, *packed;
};

static inline uint64_t qcow2_reftable_entries(const struct qcow2 *q)
{
	return (uint64_t)q->h.reftable_clusters << (q->cluster_bits - 3);
}

static inline uint64_t get_be64(const uint8_t *p)
{
	uint64_t v;

	__builtin_memcpy(&v, p, 8);
	return __builtin_bswap64(v);
}

static inline uint32_t get_be32(const uint8_t *p)
{
	uint32_t v;

	__builtin_memcpy(&v, p, 4);
	return __builtin_bswap32(v);
}

static inline void put_be64(uint8_t *p, uint64_t v)
{
	v = __builtin_bswap64(v);
	__builtin_memcpy(p, &v, 8);
}

static inline void put_be32(uint8_t *p, uint32_t v)
{
	v = __builtin_bswap32(v);
	__builtin_memcpy(p, &v, 4);
}

/* Everything below: q->lock held, 0 or -errno, unless it says otherwise. */

/* ---- qcow2_header.c ---- */

/* Marks the image as corrupt, once, in its header and for the user; returns -EIO. */
__attribute__((format(printf, 2, 3))) int qcow2_corrupt(struct qcow2 *q, const char *fmt, ...);
/* Before the first change: clears what only describes an unchanged image. */
int qcow2_prepare_write(struct qcow2 *q);
/* Where the table of reference counts is now. */
int qcow2_write_reftable_place(struct qcow2 *q, uint64_t offset, uint32_t clusters);
int qcow2_clear_dirty(struct qcow2 *q);
int qcow2_sync(struct qcow2 *q); /* fdatasync; no lock needed */

/* ---- qcow2_table.c ---- */

void table_cache_init(struct table_cache *c, unsigned slots);
void table_cache_free(struct table_cache *c);
struct table *table_cache_find(struct table_cache *c, uint64_t offset);
/* The least recently used slot, to be filled; it may be dirty. */
struct table *cache_victim(struct table_cache *c);
/* Gives the slot its memory, size bytes, and its place. */
void cache_assign(struct table_cache *c, struct table *t, uint64_t offset, size_t size);
void table_cache_drop(struct table_cache *c, uint64_t offset);

bool set_has(const struct cluster_set *s, uint64_t cluster);
bool set_add(struct cluster_set *s, uint64_t cluster); /* false: was there */
void set_remove(struct cluster_set *s, uint64_t cluster);

enum qcow2_kind { MAP_UNALLOCATED, MAP_ZERO, MAP_ZERO_ALLOCATED, MAP_DATA, MAP_COMPRESSED };

/* What [off, off + len) of the guest is. */
struct mapping {
	enum qcow2_kind kind;
	uint64_t entry;
	uint64_t host; /* of off itself; DATA and ZERO_ALLOCATED */
	uint64_t len;  /* at most what was asked for; host clusters follow each other */
	bool owned;    /* the host clusters are counted once: may be written where they are */
};
int qcow2_map(struct qcow2 *q, uint64_t off, uint64_t len, struct mapping *m);
/* The L2 table of a guest offset, made or copied if need be, to be changed; its first entry. */
int qcow2_l2_for_write(struct qcow2 *q, uint64_t off, struct table **t, unsigned *index);
/* Changes entry i; what it referred to is freed after the next flush. */
void qcow2_set_entry(struct qcow2 *q, struct table *t, unsigned i, uint64_t entry, bool punch);
/* The host clusters that a compressed cluster touches. */
void qcow2_compressed_extent(
	const struct qcow2 *q, uint64_t entry, uint64_t *offset, uint64_t *clusters);
/* Writes all changed tables in order, then frees. Also syncs. */
int qcow2_flush_tables(struct qcow2 *q);

/* ---- qcow2_refcount.c ---- */

/* Reads the table; its blocks join q->meta. */
int qcow2_load_reftable(struct qcow2 *q, char *err, size_t errlen);
/*
 * 1..want clusters that follow each other, counted once, on disk so; *fresh:
 * they were never written and read as zeroes.
 */
int qcow2_alloc(struct qcow2 *q, uint64_t want, uint64_t *offset, uint64_t *got, bool *fresh);
/* Back at once: nothing refers to them. */
void qcow2_unalloc(struct qcow2 *q, uint64_t offset, uint64_t clusters);
/* To be counted down after the next flush. */
void qcow2_free_later(struct qcow2 *q, uint64_t offset, uint64_t clusters, bool punch);
void qcow2_apply_frees(struct qcow2 *q);
/* Repair: what the counters of clusters [0, n) are to be. -EINVAL: no counter for one in use. */
int qcow2_set_counts(struct qcow2 *q, const uint16_t *count, uint64_t n);

/* ---- qcow2_repair.c ---- */

/* -EINVAL, -EFBIG: not to be repaired here; nothing was written. No lock held. */
int qcow2_repair(struct qcow2 *q);

/* Closes nothing: descriptor and backing image are the closer's. No lock held. */
void qcow2_free(struct qcow2 *q);

/* ---- qcow2_io.c: no lock held ---- */

extern const struct image_ops qcow2_ops;

#endif
