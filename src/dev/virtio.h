/*
 * virtio.h - what all virtio devices share: status, features, split rings.
 *
 * A device embeds struct virtio, calls virtio_init, and is carried by a
 * transport (virtio_pci.h). It takes chains with virtio_pop and gives them
 * back with virtio_push. Whatever a driver does wrong marks the device broken
 * (DEVICE_NEEDS_RESET): pop then finds nothing and push does nothing, until the
 * driver resets it. vm->lock held.
 */
#ifndef TINAMOU_VIRTIO_H
#define TINAMOU_VIRTIO_H

#include <sys/uio.h>

#include "core/clock.h"
#include "core/snapshot.h"
#include "dev/pci.h"
#include "util/util.h"

/* Device types (virtio 1.2, 5). */
enum virtio_type {
	VIRTIO_NET = 1,
	VIRTIO_BLOCK = 2,
	VIRTIO_CONSOLE = 3,
	VIRTIO_ENTROPY = 4,
	VIRTIO_MEMORY_BALLOON = 5,
	VIRTIO_FILE_SYSTEM = 26
};

/* Device status (2.1). */
enum virtio_status {
	VIRTIO_ACKNOWLEDGE = 0x01,
	VIRTIO_DRIVER = 0x02,
	VIRTIO_DRIVER_OK = 0x04,
	VIRTIO_FEATURES_OK = 0x08,
	VIRTIO_NEEDS_RESET = 0x40,
	VIRTIO_FAILED = 0x80
};

/* Features of every device (6). */
#define VIRTIO_F_INDIRECT_DESC BIT(28)
#define VIRTIO_F_EVENT_IDX     BIT(29)
#define VIRTIO_F_VERSION_1     BIT(32)

#define VIRTIO_QUEUES       16u
#define VIRTIO_QUEUE_MAX    256u /* entries, a power of two */
#define VIRTIO_SEGMENTS     128u /* of a chain, indirect ones counted */
#define VIRTIO_CONFIG_SIZE  64u
#define VIRTIO_NO_VECTOR    0xffffu
#define VIRTIO_BURST        (2 * VIRTIO_QUEUE_MAX) /* chains to take at a time, at most */
#define VIRTIO_CONFIG_QUEUE UINT32_MAX             /* to interrupt(): the configuration changed */

struct virtio;

struct virtio_ops {
	/* There may be chains in that queue. */
	void (*notify)(struct virtio *v, unsigned queue);
	/* The device's own state; no chain is in its hands after. */
	void (*reset)(struct virtio *v);
	/* Fields of the open section; nothing is in flight. May be NULL. */
	void (*snap)(struct virtio *v, struct snap *s);
	/* Returns with nothing in flight. May be NULL. */
	void (*quiesce)(struct virtio *v);
	void (*destroy)(struct virtio *v);
	/* The driver writes to [off, off + size) of config[], which is there. May be NULL. */
	void (*configure)(struct virtio *v, unsigned off, unsigned size, uint32_t value);
};

/* One split virtqueue (2.7). */
struct virtio_queue {
	uint16_t size;               /* entries, a power of two up to VIRTIO_QUEUE_MAX */
	uint16_t vector;             /* the transport's */
	bool enabled;                /* from then on none of this changes but by a reset */
	uint64_t desc, avail, used;  /* guest physical: descriptor table, driver and device area */
	uint16_t avail_index;        /* the next entry to take */
	uint16_t used_index;         /* the next one to give */
	uint16_t given;              /* entries after it that the driver has not been told of */
	bool busy[VIRTIO_QUEUE_MAX]; /* by head: its chain is in the device's hands */
};

struct virtio {
	const struct virtio_ops *ops;
	enum virtio_type type;
	uint64_t offered, accepted;
	uint8_t status;
	unsigned queues;
	struct virtio_queue queue[VIRTIO_QUEUES];
	uint8_t config[VIRTIO_CONFIG_SIZE]; /* what the driver reads, little-endian */
	unsigned config_size;
	uint8_t generation; /* of config[] */
	/* The transport's. */
	struct pci_func *func;
	void (*interrupt)(struct virtio *v, unsigned queue);
	struct log_limit limit;
	struct timer later; /* runs the queues of later_queues again */
	uint32_t later_queues;
};

/* A chain as it was when it was taken: the driver changes nothing in it any more. */
struct virtio_chain {
	uint16_t queue, head;
	unsigned out, in; /* segments: iov[0..out) are the device's to read, then those to write */
	uint64_t out_len, in_len; /* bytes in all */
	struct iovec iov[VIRTIO_SEGMENTS];
	gpa_t gpa[VIRTIO_SEGMENTS];
};

/* ---- for devices ---- */

/* features: the device's own; those of the rings are added. */
void virtio_init(struct virtio *v, const struct virtio_ops *ops, enum virtio_type type,
	unsigned queues, uint64_t features);
/* The next chain of a queue; false: there is none, or the device is broken. */
bool virtio_pop(struct virtio *v, unsigned queue, struct virtio_chain *c);
/*
 * virtio_pop, VIRTIO_BURST times at most: *taken counts from 0. Then false, and the queue is run
 * again soon, so that a driver that never ceases holds up nobody, and one that has ceased is
 * served.
 */
bool virtio_take(struct virtio *v, unsigned queue, struct virtio_chain *c, unsigned *taken);
/* As if the driver had notified the queue, from the event loop. */
void virtio_later(struct virtio *v, unsigned queue);
/* Gives it back with that many bytes written from the front, and interrupts if asked to. */
void virtio_push(struct virtio *v, const struct virtio_chain *c, uint32_t written);
/* Back to where it was taken from: the last one that was, not given yet. */
void virtio_unpop(struct virtio *v, const struct virtio_chain *c);
/* virtio_push in two steps: give several, then tell the driver of them at once. */
void virtio_give(struct virtio *v, const struct virtio_chain *c, uint32_t written);
void virtio_publish(struct virtio *v, unsigned queue);
/* The last n chains given wait in the ring again; they were taken and given in one order. */
void virtio_take_back(struct virtio *v, unsigned queue, unsigned n);
/* More of a chain that was given was written: [0, len) of what the device may write. */
void virtio_written(struct virtio *v, const struct virtio_chain *c, uint32_t len);
/* The driver reads another config[] from now on. */
void virtio_config_changed(struct virtio *v);
/* The driver broke a rule: nothing more happens until it resets the device. */
__attribute__((format(printf, 2, 3))) void virtio_break(struct virtio *v, const char *why, ...);
/* Driver and device work, and no rule was broken. */
bool virtio_running(const struct virtio *v);

/* Copies the first len bytes of iov[0..n); returns how many there were. */
size_t virtio_gather(const struct iovec *iov, unsigned n, void *buf, size_t len);
/* The other way round. */
size_t virtio_scatter(const struct iovec *iov, unsigned n, const void *buf, size_t len);
/* The part [from, from + len) of iov[0..n) into out, as large; returns its segments. */
unsigned virtio_slice(
	const struct iovec *iov, unsigned n, uint64_t from, uint64_t len, struct iovec *out);

/* ---- for the transport ---- */

/* Before anything else; the clock tells when `later` is. */
void virtio_connect(struct virtio *v, struct clock *clock);
void virtio_disconnect(struct virtio *v);
void virtio_reset(struct virtio *v);
void virtio_snap(struct virtio *v, struct snap *s);
/* As the driver writes it; 0 resets. */
void virtio_set_status(struct virtio *v, uint8_t status);
void virtio_accept(struct virtio *v, unsigned word, uint32_t features);
void virtio_notify(struct virtio *v, unsigned queue);
/* The queue, if the driver may still set it up, else NULL. */
struct virtio_queue *virtio_setup(struct virtio *v, unsigned queue);

#endif
