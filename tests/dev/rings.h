/*
 * rings.h - a virtio driver for tests: sets a function up and writes rings by
 * hand. Descriptor table, driver and device area of queue n lie at RINGS + n * 4000h.
 */
#ifndef TINAMOU_DEV_RINGS_H
#define TINAMOU_DEV_RINGS_H

#include "tests/dev/bench.h"

#include "dev/virtio_pci.h"

#define STRUCTS    0xe0000000u /* where the BARs go */
#define MSIX_TABLE 0xe0010000u
#define NOTIFY     (STRUCTS + 0x1000u)
#define ISR        (STRUCTS + 0x2000u)
#define DEVICE     (STRUCTS + 0x3000u)
#define RINGS      0x10000u
#define AVAIL      0x1000u /* from the descriptor table */
#define USED       0x2000u
#define ENTRIES    16u
#define SLOT       3

enum { NEXT = 1, WRITE = 2, INDIRECT = 4 };

enum common {
	DEVICE_FEATURE_SELECT = 0,
	DEVICE_FEATURE = 4,
	DRIVER_FEATURE_SELECT = 8,
	DRIVER_FEATURE = 12,
	CONFIG_VECTOR = 16,
	NUM_QUEUES = 18,
	STATUS = 20,
	QUEUE_SELECT = 22,
	QUEUE_SIZE = 24,
	QUEUE_VECTOR = 26,
	QUEUE_ENABLE = 28,
	QUEUE_DESC = 32,
	QUEUE_DRIVER = 40,
	QUEUE_DEVICE = 48
};

struct rings {
	struct bench bench;
	struct pci *pci;
	struct virtio_pci *p;
	bool line;
	unsigned messages;
	uint32_t data;     /* of the last message */
	uint16_t avail[8]; /* indices of the driver */
};

static inline void rings_intx(void *ctx, unsigned devfn, unsigned pin, bool level)
{
	((struct rings *)ctx)->line = level;
}

static inline void rings_msi(void *ctx, uint64_t addr, uint32_t data)
{
	struct rings *r = ctx;

	r->messages++;
	r->data = data;
}

static inline uint32_t get(struct rings *r, gpa_t at, unsigned size)
{
	return (uint32_t)bus_read(&r->bench.memory, at, size);
}

static inline void put(struct rings *r, gpa_t at, unsigned size, uint64_t value)
{
	bus_write(&r->bench.memory, at, size, value);
}

static inline void rings_place(struct rings *r)
{
	pci_config_write(r->pci, SLOT * 8, PCI_BAR0 + 16, 4, STRUCTS);
	pci_config_write(r->pci, SLOT * 8, PCI_BAR0 + 4, 4, MSIX_TABLE);
	pci_config_write(r->pci, SLOT * 8, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

/* After bench_init; v is taken over. */
static inline void rings_init(struct rings *r, struct virtio *v)
{
	const struct pci_wires wires = {
		&r->bench.memory, &r->bench.ports, &r->bench.dma, rings_intx, rings_msi, r, NULL};

	r->pci = pci_new(&wires);
	r->p = virtio_pci_new("virtio", v, 0, &r->bench.clock);
	if (pci_add(r->pci, virtio_pci_func(r->p), SLOT, 0))
		abort();
	virtio_pci_device(r->p)->reset(virtio_pci_device(r->p));
	rings_place(r);
}

/* Nothing may be in flight. */
static inline void rings_destroy(struct rings *r)
{
	struct device *dev = virtio_pci_device(r->p), *pci = pci_device(r->pci);

	bus_destroy(&r->bench.memory);
	bus_destroy(&r->bench.ports);
	dev->destroy(dev);
	pci->destroy(pci);
	free(r->bench.bytes);
	loop_free(r->bench.loop);
}

static inline void rings_accept(struct rings *r, uint64_t features)
{
	put(r, STRUCTS + STATUS, 1, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
	for (unsigned i = 0; i < 2; i++) {
		put(r, STRUCTS + DRIVER_FEATURE_SELECT, 4, i);
		put(r, STRUCTS + DRIVER_FEATURE, 4, features >> 32 * i);
	}
	put(r, STRUCTS + STATUS, 1, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK);
}

static inline void rings_queue(struct rings *r, unsigned n, gpa_t desc, gpa_t avail, gpa_t used)
{
	put(r, STRUCTS + QUEUE_SELECT, 2, n);
	put(r, STRUCTS + QUEUE_SIZE, 2, ENTRIES);
	put(r, STRUCTS + QUEUE_VECTOR, 2, n);
	put(r, STRUCTS + QUEUE_DESC, 8, desc);
	put(r, STRUCTS + QUEUE_DRIVER, 8, avail);
	put(r, STRUCTS + QUEUE_DEVICE, 8, used);
	put(r, STRUCTS + QUEUE_ENABLE, 2, 1);
}

static inline gpa_t ring(unsigned n)
{
	return RINGS + n * 0x4000u;
}

/* To DRIVER_OK, with clean rings. */
static inline void rings_start(struct rings *r, unsigned queues, uint64_t features)
{
	memset(r->bench.bytes + RINGS, 0, queues * 0x4000u);
	memset(r->avail, 0, sizeof(r->avail));
	put(r, STRUCTS + STATUS, 1, 0);
	rings_accept(r, features);
	for (unsigned n = 0; n < queues; n++)
		rings_queue(r, n, ring(n), ring(n) + AVAIL, ring(n) + USED);
	put(r, STRUCTS + STATUS, 1, VIRTIO_DRIVER_OK);
}

static inline uint8_t rings_status(struct rings *r)
{
	return (uint8_t)get(r, STRUCTS + STATUS, 1);
}

static inline bool rings_broken(struct rings *r)
{
	return rings_status(r) & VIRTIO_NEEDS_RESET;
}

static inline void descriptor(
	struct rings *r, gpa_t at, gpa_t addr, uint32_t len, unsigned flags, unsigned next)
{
	put(r, at, 8, addr);
	put(r, at + 8, 4, len);
	put(r, at + 12, 2, flags);
	put(r, at + 14, 2, next);
}

/* Entry i of queue n's table. */
static inline gpa_t entry(unsigned n, unsigned i)
{
	return ring(n) + 16u * i;
}

/* Without a notification. */
static inline void offer(struct rings *r, unsigned n, unsigned head)
{
	put(r, ring(n) + AVAIL + 4 + 2 * (r->avail[n]++ % ENTRIES), 2, head);
	put(r, ring(n) + AVAIL + 2, 2, r->avail[n]);
}

static inline void notify(struct rings *r, unsigned n)
{
	put(r, NOTIFY + 4 * n, 2, n);
}

static inline unsigned used(struct rings *r, unsigned n)
{
	return get(r, ring(n) + USED + 2, 2);
}

/* Head and length of the ith chain given back. */
static inline uint32_t used_head(struct rings *r, unsigned n, unsigned i)
{
	return get(r, ring(n) + USED + 4 + 8 * (i % ENTRIES), 4);
}

static inline uint32_t used_len(struct rings *r, unsigned n, unsigned i)
{
	return get(r, ring(n) + USED + 8 + 8 * (i % ENTRIES), 4);
}

#endif
