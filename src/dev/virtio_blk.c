/*
 * virtio_blk.c - block device: as many requests in flight as the queue has
 * entries, each with the guest's own memory as its buffers.
 *
 * Source: OASIS Virtual I/O Device (VIRTIO) 1.2, 5.2. A request is its head's
 * place in its queue's array, so none is allocated while the machine runs; the
 * arrays cost memory as far as they are used. What the host has in memory is
 * served at once. Left out: several ranges in one discard, lifetime, secure
 * erase, zones. Lock: vm->lock; the disk's threads touch the buffers only.
 */
#include "dev/virtio_blk.h"

#include <stdlib.h>
#include <string.h>

#include "util/util.h"

enum { T_IN = 0, T_OUT = 1, T_FLUSH = 4, T_GET_ID = 8, T_DISCARD = 11, T_WRITE_ZEROES = 13 };
enum { S_OK, S_IOERR, S_UNSUPP };

#define F_SEG_MAX      BIT(2)
#define F_RO           BIT(5)
#define F_BLK_SIZE     BIT(6)
#define F_FLUSH        BIT(9)
#define F_MQ           BIT(12)
#define F_DISCARD      BIT(13)
#define F_WRITE_ZEROES BIT(14)

#define ID_LEN      20u
#define RANGE_MAX   (1u << 22) /* sectors of a discard: 2 GiB */
#define FLAG_UNMAP  1u
#define SEGMENT_MAX (VIRTIO_SEGMENTS - 2) /* beside the header and the status */

/* What the driver reads (5.2.4). */
struct __attribute__((packed)) config {
	uint64_t capacity;
	uint32_t size_max, seg_max;
	uint8_t geometry[4];
	uint32_t blk_size;
	uint8_t topology[8];
	uint8_t writeback, unused0;
	uint16_t num_queues;
	uint32_t max_discard_sectors, max_discard_seg, discard_alignment;
	uint32_t max_zeroes_sectors, max_zeroes_seg;
	uint8_t zeroes_may_unmap, unused1[3];
};

struct header {
	uint32_t type, reserved;
	uint64_t sector;
};

struct range {
	uint64_t sector;
	uint32_t sectors, flags;
};

struct request {
	struct virtio_blk *owner;
	struct virtio_chain chain;
	struct disk_request disk;
	struct iovec iov[VIRTIO_SEGMENTS];
	bool active; /* the disk has it */
};

struct virtio_blk {
	struct virtio v;
	struct disk *disk;
	uint8_t id[ID_LEN];
	struct request (*request)[VIRTIO_QUEUE_MAX]; /* by queue and head */
};

/* ---- ends ---- */

/* The status is the last byte that the device may write, so all before counts as written. */
static void finish(struct request *r, uint8_t status)
{
	const struct virtio_chain *c = &r->chain;
	struct iovec last;

	virtio_slice(c->iov + c->out, c->in, c->in_len - 1, 1, &last);
	*(uint8_t *)last.iov_base = status;
	virtio_push(&r->owner->v, c, (uint32_t)MIN(c->in_len, UINT32_MAX));
}

static void disk_done(struct disk_request *d, int error)
{
	struct request *r = d->ctx;

	r->active = false;
	finish(r, error ? S_IOERR : S_OK);
}

/* ---- requests ---- */

static void submit(struct request *r, enum disk_op op, uint64_t sector, uint64_t len, unsigned iovs)
{
	struct disk *disk = r->owner->disk;

	if (sector > disk_size(disk) / SECTOR_SIZE || len % SECTOR_SIZE) {
		finish(r, S_IOERR);
		return;
	}
	r->disk = (struct disk_request){.op = (uint8_t)op,
		.offset = sector * SECTOR_SIZE,
		.len = len,
		.iov = r->iov,
		.iovcnt = iovs,
		.done = disk_done,
		.ctx = r};
	if (disk_try(disk, &r->disk)) {
		finish(r, S_OK);
		return;
	}
	r->active = true;
	disk_submit(disk, &r->disk);
}

static void read_sectors(struct request *r, uint64_t sector)
{
	const struct virtio_chain *c = &r->chain;
	uint64_t len = c->in_len - 1;

	submit(r, DISK_READ, sector, len, virtio_slice(c->iov + c->out, c->in, 0, len, r->iov));
}

static void write_sectors(struct request *r, uint64_t sector)
{
	const struct virtio_chain *c = &r->chain;
	uint64_t len = c->out_len - sizeof(struct header);

	submit(r, DISK_WRITE, sector, len,
		virtio_slice(c->iov, c->out, sizeof(struct header), len, r->iov));
}

static void get_id(struct request *r)
{
	const struct virtio_chain *c = &r->chain;

	if (c->in_len != ID_LEN + 1) {
		finish(r, S_IOERR);
		return;
	}
	virtio_scatter(c->iov + c->out, c->in, r->owner->id, ID_LEN);
	finish(r, S_OK);
}

/* Discard and write zeroes: one range (5.2.6.1). */
static void clear_range(struct request *r, enum disk_op op)
{
	const struct virtio_chain *c = &r->chain;
	struct {
		struct header header;
		struct range range;
	} in;
	uint32_t flags = op == DISK_ZERO ? FLAG_UNMAP : 0;

	if (c->out_len != sizeof(in) || disk_readonly(r->owner->disk)) {
		finish(r, S_IOERR);
		return;
	}
	virtio_gather(c->iov, c->out, &in, sizeof(in));
	if (in.range.flags & ~flags)
		finish(r, S_UNSUPP);
	else if (in.range.sectors > RANGE_MAX)
		finish(r, S_IOERR);
	else
		submit(r, op, in.range.sector, (uint64_t)in.range.sectors * SECTOR_SIZE, 0);
}

static void serve(struct request *r, const struct header *h)
{
	switch (h->type) {
	case T_IN:
		read_sectors(r, h->sector);
		break;
	case T_OUT:
		write_sectors(r, h->sector);
		break;
	case T_FLUSH:
		submit(r, DISK_FLUSH, 0, 0, 0);
		break;
	case T_GET_ID:
		get_id(r);
		break;
	case T_DISCARD:
		clear_range(r, DISK_DISCARD);
		break;
	case T_WRITE_ZEROES:
		clear_range(r, DISK_ZERO);
		break;
	default:
		finish(r, S_UNSUPP);
		break;
	}
}

static void take(struct virtio_blk *b, const struct virtio_chain *c)
{
	struct request *r = &b->request[c->queue][c->head];
	struct header h;

	if (c->out_len < sizeof(h) || !c->in_len) {
		virtio_break(&b->v, "a request of %llu and %llu bytes",
			(unsigned long long)c->out_len, (unsigned long long)c->in_len);
		return;
	}
	r->owner = b;
	r->chain = *c;
	virtio_gather(c->iov, c->out, &h, sizeof(h));
	serve(r, &h);
}

static void blk_notify(struct virtio *v, unsigned queue)
{
	struct virtio_blk *b = container_of(v, struct virtio_blk, v);
	struct virtio_chain c;
	unsigned taken = 0;

	while (virtio_take(v, queue, &c, &taken))
		take(b, &c);
}

/* ---- life ---- */

static void cancel(struct virtio_blk *b, struct request *r)
{
	if (r->active)
		disk_cancel(b->disk, &r->disk);
	r->active = false;
}

static void blk_reset(struct virtio *v)
{
	struct virtio_blk *b = container_of(v, struct virtio_blk, v);

	for (unsigned q = 0; q < v->queues; q++)
		for (unsigned i = 0; i < v->queue[q].size; i++)
			if (v->queue[q].busy[i])
				cancel(b, &b->request[q][i]);
}

static void blk_quiesce(struct virtio *v)
{
	disk_drain(container_of(v, struct virtio_blk, v)->disk);
}

static void blk_destroy(struct virtio *v)
{
	struct virtio_blk *b = container_of(v, struct virtio_blk, v);

	free(b->request);
	free(b);
}

static void fill_config(struct virtio_blk *b)
{
	const struct config c = {
		.capacity = disk_size(b->disk) / SECTOR_SIZE,
		.seg_max = SEGMENT_MAX,
		.blk_size = SECTOR_SIZE,
		.num_queues = (uint16_t)b->v.queues,
		.max_discard_sectors = RANGE_MAX,
		.max_discard_seg = 1,
		.discard_alignment = 1,
		.max_zeroes_sectors = RANGE_MAX,
		.max_zeroes_seg = 1,
		.zeroes_may_unmap = 1,
	};

	memcpy(b->v.config, &c, sizeof(c));
	b->v.config_size = sizeof(c);
}

struct virtio *virtio_blk_new(struct disk *disk, const char *name, unsigned queues)
{
	static const struct virtio_ops ops = {
		blk_notify, blk_reset, NULL, blk_quiesce, blk_destroy};
	struct virtio_blk *b = xcalloc(1, sizeof(*b));
	uint64_t features = F_SEG_MAX | F_BLK_SIZE | F_FLUSH;

	features |= disk_readonly(disk) ? F_RO : F_DISCARD | F_WRITE_ZEROES;
	if (queues > 1)
		features |= F_MQ;
	virtio_init(&b->v, &ops, VIRTIO_BLOCK, queues, features);
	b->request = xcalloc(queues, sizeof(*b->request));
	b->disk = disk;
	memcpy(b->id, name, strnlen(name, ID_LEN));
	fill_config(b);
	return &b->v;
}
