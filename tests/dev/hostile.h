/*
 * hostile.h - a driver that lies: a script of writes into the rings of any
 * virtio device, of register accesses and of what comes from outside. Used by
 * the fuzz target and by a test with random scripts.
 */
#ifndef TINAMOU_DEV_HOSTILE_H
#define TINAMOU_DEV_HOSTILE_H

#include "tests/dev/rings.h"

#include "dev/virtio_blk.h"
#include "dev/virtio_console.h"
#include "dev/virtio_net.h"
#include "dev/virtio_rng.h"

enum hostile_kind { HOSTILE_BLK, HOSTILE_NET, HOSTILE_CONSOLE, HOSTILE_RNG, HOSTILE_KINDS };

#define HOSTILE_QUEUES 3u
#define HOSTILE_DATA   0x20000u

struct hostile {
	struct rings r;
	enum hostile_kind kind;
	struct disk *disk;
	struct netdev net;
	struct chardev chr;
	bool full; /* the wire takes nothing */
	uint8_t frame[NET_FRAME_MAX];
};

/* One step: what, which queue or entry, and data. */
struct hostile_step {
	uint8_t what, where;
	uint8_t data[6];
};

static inline bool hostile_send(void *backend, const struct iovec *iov, unsigned n)
{
	struct hostile *h = backend;

	if (!h->full)
		virtio_gather(iov + 1, n - 1, h->frame, sizeof(h->frame));
	return !h->full;
}

static inline void hostile_nothing(void *backend)
{
}

static inline void hostile_write(void *backend, const uint8_t *data, size_t len)
{
	struct hostile *h = backend;

	memcpy(h->frame, data, MIN(len, sizeof(h->frame)));
}

static inline struct virtio *hostile_device(struct hostile *h)
{
	static const uint8_t mac[6] = {2, 0, 0, 0, 0, 1};

	switch (h->kind) {
	case HOSTILE_BLK:
		h->disk = bench_disk(&h->r.bench, 64, false);
		return virtio_blk_new(h->disk, "hostile", HOSTILE_QUEUES);
	case HOSTILE_NET:
		h->net = (struct netdev){
			.send = hostile_send, .room = hostile_nothing, .backend = h, .link = true};
		return virtio_net_new(&h->net, mac, 1500);
	case HOSTILE_CONSOLE:
		h->chr.write = hostile_write;
		h->chr.backend = h;
		return virtio_console_new(&h->chr);
	default:
		return virtio_rng_new(1);
	}
}

/* Everything that is offered is accepted but what `features` takes away. */
static inline void hostile_start(struct hostile *h, uint32_t features)
{
	unsigned queues = get(&h->r, STRUCTS + NUM_QUEUES, 2);
	uint64_t offered = get(&h->r, STRUCTS + DEVICE_FEATURE, 4);

	rings_start(&h->r, MIN(queues, HOSTILE_QUEUES),
		VIRTIO_F_VERSION_1 | (offered & ~(uint64_t)features));
}

static inline void hostile_init(struct hostile *h, enum hostile_kind kind)
{
	*h = (struct hostile){.kind = kind};
	bench_init(&h->r.bench);
	rings_init(&h->r, hostile_device(h));
	hostile_start(h, 0);
}

static inline void hostile_destroy(struct hostile *h)
{
	struct disk *disk = h->disk;

	if (disk) {
		disk_drain(disk);
		disk_free(disk);
	}
	rings_destroy(&h->r);
}

/* From outside: a frame, or bytes of a terminal. */
static inline void hostile_outside(struct hostile *h, const struct hostile_step *s)
{
	struct net_header header = {.flags = s->data[0] & 3,
		.gso_type = s->data[1] & 7,
		.gso_size = s->data[2],
		.csum_start = s->data[3],
		.csum_offset = s->data[4] & 31};
	size_t len = s->where * (size_t)(s->data[5] & 1 ? 256 : 1);

	if (h->kind == HOSTILE_NET) {
		h->net.receive(h->net.device, &header, h->frame, len);
		h->net.received(h->net.device);
	} else if (h->kind == HOSTILE_CONSOLE) {
		chardev_input(&h->chr, h->frame, len);
	}
}

/* A descriptor: addresses are mostly near data and rings, lengths mostly small. */
static inline void hostile_descriptor(struct hostile *h, const struct hostile_step *s)
{
	uint64_t addr = HOSTILE_DATA + s->data[0] * 64u;
	uint32_t len = s->data[1];

	if (s->data[2] & 0x80)
		addr = s->data[0] & 1 ? UINT64_MAX - s->data[0] : BENCH_RAM - s->data[0];
	else if (s->data[2] & 0x40)
		addr = RINGS + s->data[0] * 16u;
	if (s->data[2] & 0x20)
		len <<= s->data[3] % 25;
	descriptor(&h->r, entry(s->where % HOSTILE_QUEUES, s->data[4] % ENTRIES), addr, len,
		s->data[2] & 7, s->data[5] % (ENTRIES + 1));
}

static inline void hostile_do(struct hostile *h, const struct hostile_step *s)
{
	unsigned queue = s->where % HOSTILE_QUEUES;
	uint32_t v = s->data[0] | s->data[1] << 8 | s->data[2] << 16 | (uint32_t)s->data[3] << 24;

	switch (s->what % 12) {
	case 0:
	case 1:
	case 2:
		hostile_descriptor(h, s);
		break;
	case 3:
	case 4:
		offer(&h->r, queue, s->data[0] % (ENTRIES + (s->data[1] & 1)));
		notify(&h->r, queue);
		break;
	case 5:
		put(&h->r, ring(queue) + (s->data[4] & 1 ? AVAIL : USED) + s->data[5] % 64, 2, v);
		break;
	case 6:
		put(&h->r, HOSTILE_DATA + s->where * 64u + s->data[4] % 64, 4, v);
		break;
	case 7:
		hostile_outside(h, s);
		break;
	case 8:
		put(&h->r, STRUCTS + s->where % 64, 1u << s->data[4] % 3, v);
		break;
	case 9:
		get(&h->r, STRUCTS + s->where % 4 * 0x1000u + s->data[0] % 128,
			1u << s->data[4] % 3);
		break;
	case 10:
		if (s->where & 1)
			hostile_start(h, v);
		else if (h->kind == HOSTILE_NET)
			h->full = s->where & 2;
		break;
	case 11:
		settle(&h->r.bench);
		if (h->kind == HOSTILE_NET)
			h->net.writable(h->net.device);
		break;
	}
}

#endif
