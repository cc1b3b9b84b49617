/*
 * hostile.h - a driver that lies: a script of writes into the rings of any
 * virtio device, of register accesses and of what comes from outside. Used by
 * the fuzz target and by a test with random scripts.
 */
#ifndef TINAMOU_DEV_HOSTILE_H
#define TINAMOU_DEV_HOSTILE_H

#include "tests/dev/rings.h"

#include <sys/socket.h>

#include "dev/virtio_balloon.h"
#include "dev/virtio_blk.h"
#include "dev/virtio_console.h"
#include "dev/virtio_fs.h"
#include "dev/virtio_net.h"
#include "dev/virtio_ports.h"
#include "dev/virtio_rng.h"

enum hostile_kind {
	HOSTILE_BLK,
	HOSTILE_NET,
	HOSTILE_CONSOLE,
	HOSTILE_RNG,
	HOSTILE_FS,
	HOSTILE_PORTS,
	HOSTILE_BALLOON,
	HOSTILE_KINDS
};

#define HOSTILE_QUEUES 6u /* of a device at most */
#define HOSTILE_DATA   0x30000u

/* What a device gives back: a chain of 64 bytes to read and 513 more, to read or to write. */
struct hostile_shape {
	unsigned queues, queue; /* in all, and which one takes such a chain */
	bool first_in, in;      /* its parts are the device's to write */
};

static const struct hostile_shape hostile_shape[HOSTILE_KINDS] = {
	[HOSTILE_BLK] = {3, 0, false, true},
	[HOSTILE_NET] = {3, 1, false, false},
	[HOSTILE_CONSOLE] = {2, 1, false, false},
	[HOSTILE_RNG] = {1, 0, true, true},
	[HOSTILE_FS] = {2, 1, false, true},
	[HOSTILE_PORTS] = {6, 1, false, false},
	[HOSTILE_BALLOON] = {3, 0, false, false},
};

struct hostile {
	struct rings r;
	enum hostile_kind kind;
	struct disk *disk;
	struct netdev net;
	struct chardev chr;
	struct share *share;
	int server; /* its end of the share's socket */
	bool lied;  /* it did, and the share is gone */
	struct ram ram;
	struct virtio *v;
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

static inline size_t hostile_take(void *ctx, const uint8_t *data, size_t len)
{
	struct hostile *h = ctx;
	size_t n = h->full ? len / 2 : len;

	memcpy(h->frame, data, MIN(n, sizeof(h->frame)));
	return n;
}

static inline struct virtio *hostile_ports(struct hostile *h)
{
	const struct port_wires w[2] = {{"one", hostile_take, hostile_nothing, hostile_nothing, h},
		{"two", hostile_take, NULL, NULL, h}};

	return virtio_ports_new(w, 2);
}

/* The server is this program; what it puts into the slots is all zeros. */
static inline struct virtio *hostile_fs(struct hostile *h)
{
	int pair[2], arena = memfd_create("arena", MFD_CLOEXEC);

	if (ftruncate(arena, SHARE_ARENA) || socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair))
		abort();
	h->server = pair[0];
	h->share = share_new(pair[1], arena, h->r.bench.loop, false);
	return virtio_fs_new(h->share, "hostile");
}

static inline struct virtio *hostile_device(struct hostile *h)
{
	static const uint8_t mac[6] = {2, 0, 0, 0, 0, 1};

	switch (h->kind) {
	case HOSTILE_BLK:
		h->disk = bench_disk(&h->r.bench, 64, false);
		return virtio_blk_new(h->disk, "hostile", hostile_shape[h->kind].queues);
	case HOSTILE_NET:
		h->net = (struct netdev){
			.send = hostile_send, .room = hostile_nothing, .backend = h, .link = true};
		return virtio_net_new(&h->net, mac, 1500);
	case HOSTILE_CONSOLE:
		h->chr.write = hostile_write;
		h->chr.backend = h;
		return virtio_console_new(&h->chr);
	case HOSTILE_FS:
		return hostile_fs(h);
	case HOSTILE_PORTS:
		return hostile_ports(h);
	case HOSTILE_BALLOON:
		h->ram = (struct ram){h->r.bench.bytes, BENCH_RAM, -1};
		h->r.bench.dma.ram = &h->ram;
		return virtio_balloon_new();
	default:
		return virtio_rng_new(1);
	}
}

/* Everything that is offered is accepted but what `features` takes away. */
static inline void hostile_start(struct hostile *h, uint32_t features)
{
	rings_start(&h->r, h->v->queues, (h->v->offered & ~(uint64_t)features));
}

static inline void hostile_init(struct hostile *h, enum hostile_kind kind)
{
	*h = (struct hostile){.kind = kind};
	bench_init(&h->r.bench);
	h->v = hostile_device(h);
	rings_init(&h->r, h->v);
	hostile_start(h, 0);
}

static inline void hostile_destroy(struct hostile *h)
{
	struct device *dev = virtio_pci_device(h->r.p);

	if (h->disk) {
		disk_drain(h->disk);
		disk_free(h->disk);
	}
	if (h->share) {
		dev->reset(dev);
		share_free(h->share);
		close(h->server);
	}
	rings_destroy(&h->r);
}

static inline void hostile_no_lock(void *ctx)
{
}

/* The share's server answers what it was asked, `len` bytes; more than fit is a lie. */
static inline void hostile_serve(struct hostile *h, uint32_t len, bool lie)
{
	struct share_message m;

	while (recv(h->server, &m, sizeof(m), MSG_DONTWAIT) == sizeof(m)) {
		m.len = lie ? len << 16 : MIN(len, m.room);
		m.slot += lie ? len : 0;
		if (send(h->server, &m, sizeof(m), MSG_NOSIGNAL) < 0)
			break;
		h->lied |= lie;
	}
	loop_poll(h->r.bench.loop, 0, hostile_no_lock, hostile_no_lock, NULL);
}

/* As hostile_init left it, but for the bytes on the disk: that takes a hundred times as long. */
static inline void hostile_renew(struct hostile *h)
{
	struct device *dev = virtio_pci_device(h->r.p);

	if (h->lied) {
		hostile_destroy(h);
		hostile_init(h, h->kind);
		return;
	}
	dev->reset(dev);
	if (h->disk)
		disk_drain(h->disk);
	if (h->share)
		hostile_serve(h, 0, false);
	h->full = false;
	memset(h->r.bench.bytes, 0, BENCH_RAM);
	memset(h->frame, 0, 512);
	rings_place(&h->r);
	hostile_start(h, 0);
}

/* From outside: a frame, bytes of a terminal or of a stream, a server's answer. */
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
	} else if (h->kind == HOSTILE_FS) {
		hostile_serve(h, (uint32_t)len, s->data[0] == 0xff);
	} else if (h->kind == HOSTILE_BALLOON) {
		virtio_balloon_ask(h->v, (uint32_t)len);
	} else if (h->kind == HOSTILE_PORTS) {
		virtio_ports_input(h->v, s->data[0] & 1, h->frame, len);
		if (s->data[1] == 0xff)
			virtio_ports_end(h->v, s->data[0] & 1);
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
	descriptor(&h->r, entry(s->where % h->v->queues, s->data[4] % ENTRIES), addr, len,
		s->data[2] & 7, s->data[5] % (ENTRIES + 1));
}

/* A chain that the device takes, and gives back. */
static inline void hostile_offer_good(struct hostile *h)
{
	const struct hostile_shape *s = &hostile_shape[h->kind];

	memset(h->r.bench.bytes + HOSTILE_DATA, 0, 64);
	descriptor(
		&h->r, entry(s->queue, 0), HOSTILE_DATA, 64, NEXT | (s->first_in ? WRITE : 0), 1);
	descriptor(&h->r, entry(s->queue, 1), HOSTILE_DATA + 64, 513, s->in ? WRITE : 0, 0);
	offer(&h->r, s->queue, 0);
}

static inline void hostile_do(struct hostile *h, const struct hostile_step *s)
{
	unsigned queue = s->where % h->v->queues;
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
		else
			h->full = s->where & 2;
		break;
	case 11:
		settle(&h->r.bench);
		if (h->kind == HOSTILE_NET)
			h->net.writable(h->net.device);
		if (h->kind == HOSTILE_PORTS)
			virtio_ports_writable(h->v, s->data[0] & 1);
		break;
	}
}

#endif
