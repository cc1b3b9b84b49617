/*
 * virtio_pci.c - the PCI transport: four structures in one memory BAR, the
 * capabilities that tell where, and a window to them in configuration space.
 *
 * Source: OASIS Virtual I/O Device (VIRTIO) 1.2, 4.1. A non-transitional
 * function: IDs from 1040h, revision 1. Vectors: one a queue and one for the
 * configuration. Left out: the legacy interface, shared memory, notification
 * data, reset of a single queue. Lock: vm->lock.
 */
#include "dev/virtio_pci.h"

#include <stdlib.h>
#include <string.h>

#include "dev/devutil.h"
#include "util/util.h"

#define VENDOR      0x1af4
#define DEVICE_BASE 0x1040
#define SUBSYSTEM   0x1100

#define BAR_MSIX      1u
#define BAR_STRUCTS   4u
#define BAR_SIZE      0x4000u
#define PART_SIZE     0x1000u
#define NOTIFY_STRIDE 4u
#define ISR_QUEUE     1u
#define ISR_CONFIG    2u

/* Vendor capability (4.1.4). */
#define CAP_VENDOR     0x09
#define CAP_LEN        16u
#define CAP_WINDOW_LEN 20u /* with four bytes of data */
#define CAP_NOTIFY_LEN 20u /* with the stride */
#define CAP_BAR        4u
#define CAP_OFFSET     8u
#define CAP_LENGTH     12u
#define CAP_EXTRA      16u

/* What a capability points to; also which page of the BAR it is in, less one. */
enum part { PART_COMMON = 1, PART_NOTIFY, PART_ISR, PART_DEVICE, PART_WINDOW };

/* Common configuration (4.1.4.3). */
struct __attribute__((packed)) common {
	uint32_t device_feature_select, device_feature;
	uint32_t driver_feature_select, driver_feature;
	uint16_t config_vector, num_queues;
	uint8_t device_status, config_generation;
	uint16_t queue_select, queue_size, queue_vector, queue_enable, queue_notify_off;
	uint64_t queue_desc, queue_driver, queue_device;
};

struct virtio_pci {
	struct device dev;
	struct pci_func func;
	struct bus_region region;
	struct virtio *v;
	uint32_t device_select, driver_select;
	uint16_t queue_select, config_vector;
	uint8_t isr;
	uint8_t window; /* the capability's offset */
};

/* ---- interrupts ---- */

static void interrupt(struct virtio *v, unsigned queue)
{
	struct virtio_pci *p = container_of(v->func, struct virtio_pci, func);
	bool config = queue == VIRTIO_CONFIG_QUEUE;

	if (pci_func_msix_on(&p->func)) {
		pci_func_message(&p->func, config ? p->config_vector : v->queue[queue].vector);
		return;
	}
	p->isr |= config ? ISR_CONFIG : ISR_QUEUE;
	pci_func_irq(&p->func, true);
}

/* Reading acknowledges. */
static uint8_t take_isr(struct virtio_pci *p)
{
	uint8_t isr = p->isr;

	p->isr = 0;
	pci_func_irq(&p->func, false);
	return isr;
}

/* A vector that is not there reads back as none (4.1.5.1.2.1). */
static uint16_t valid_vector(const struct virtio_pci *p, uint32_t vector)
{
	return vector < p->func.msix.vectors ? (uint16_t)vector : VIRTIO_NO_VECTOR;
}

/* ---- common configuration ---- */

static uint32_t feature_word(uint64_t features, uint32_t select)
{
	return select > 1 ? 0 : (uint32_t)(features >> 32 * select);
}

static void fill_queue(const struct virtio_pci *p, struct common *c)
{
	const struct virtio_queue *q = p->v->queue;

	if (p->queue_select >= p->v->queues)
		return;
	q += p->queue_select;
	c->queue_size = q->size;
	c->queue_vector = q->vector;
	c->queue_enable = q->enabled;
	c->queue_notify_off = p->queue_select;
	c->queue_desc = q->desc;
	c->queue_driver = q->avail;
	c->queue_device = q->used;
}

static uint64_t common_read(const struct virtio_pci *p, uint64_t off, unsigned size)
{
	struct common c = {
		.device_feature_select = p->device_select,
		.device_feature = feature_word(p->v->offered, p->device_select),
		.driver_feature_select = p->driver_select,
		.driver_feature = feature_word(p->v->accepted, p->driver_select),
		.config_vector = p->config_vector,
		.num_queues = (uint16_t)p->v->queues,
		.device_status = p->v->status,
		.config_generation = p->v->generation,
		.queue_select = p->queue_select,
	};
	uint64_t value = 0;

	fill_queue(p, &c);
	if (range_in(off, size, sizeof(c)))
		memcpy(&value, (const uint8_t *)&c + off, size);
	return value;
}

static void set_half(uint64_t *reg, unsigned high, uint32_t value)
{
	*reg = high ? (uint32_t)*reg | (uint64_t)value << 32
		    : (*reg & ~(uint64_t)UINT32_MAX) | value;
}

static void set_size(struct virtio_queue *q, uint32_t size)
{
	if (size && size <= VIRTIO_QUEUE_MAX && !(size & (size - 1)))
		q->size = (uint16_t)size;
}

/* Fields of the selected queue, while they are the driver's to set. */
static void queue_write(struct virtio_pci *p, unsigned off, uint32_t value)
{
	struct virtio_queue *q = virtio_setup(p->v, p->queue_select);

	if (!q)
		return;
	switch (off) {
	case offsetof(struct common, queue_size):
		set_size(q, value);
		break;
	case offsetof(struct common, queue_vector):
		q->vector = valid_vector(p, value);
		break;
	case offsetof(struct common, queue_enable):
		q->enabled = value == 1;
		break;
	case offsetof(struct common, queue_desc):
	case offsetof(struct common, queue_desc) + 4:
		set_half(&q->desc, off & 4, value);
		break;
	case offsetof(struct common, queue_driver):
	case offsetof(struct common, queue_driver) + 4:
		set_half(&q->avail, off & 4, value);
		break;
	case offsetof(struct common, queue_device):
	case offsetof(struct common, queue_device) + 4:
		set_half(&q->used, off & 4, value);
		break;
	}
}

static void reset_transport(struct virtio_pci *p)
{
	p->device_select = p->driver_select = 0;
	p->queue_select = 0;
	p->config_vector = VIRTIO_NO_VECTOR;
	take_isr(p);
}

static void status_write(struct virtio_pci *p, uint8_t status)
{
	virtio_set_status(p->v, status);
	if (!status)
		reset_transport(p);
}

/* Only whole fields, the 64-bit ones by halves (4.1.3.1). */
static void common_write(struct virtio_pci *p, unsigned off, uint32_t value)
{
	switch (off) {
	case offsetof(struct common, device_feature_select):
		p->device_select = value;
		break;
	case offsetof(struct common, driver_feature_select):
		p->driver_select = value;
		break;
	case offsetof(struct common, driver_feature):
		virtio_accept(p->v, p->driver_select, value);
		break;
	case offsetof(struct common, config_vector):
		p->config_vector = valid_vector(p, value);
		break;
	case offsetof(struct common, device_status):
		status_write(p, (uint8_t)value);
		break;
	case offsetof(struct common, queue_select):
		p->queue_select = (uint16_t)value;
		break;
	default:
		queue_write(p, off, value);
		break;
	}
}

static unsigned field_size(unsigned off)
{
	if (off < offsetof(struct common, config_vector) ||
		off >= offsetof(struct common, queue_desc))
		return 4;
	if (off == offsetof(struct common, device_status) ||
		off == offsetof(struct common, config_generation))
		return 1;
	return 2;
}

/* ---- the BAR ---- */

static enum part part_of(uint64_t off)
{
	return (enum part)(off / PART_SIZE + 1);
}

static uint64_t bar_read(void *ctx, uint64_t off, unsigned size)
{
	struct virtio_pci *p = ctx;
	uint64_t at = off % PART_SIZE, value = 0;

	switch (part_of(off)) {
	case PART_COMMON:
		return common_read(p, at, size);
	case PART_ISR:
		return at == 0 ? take_isr(p) : 0;
	case PART_DEVICE:
		if (range_in(at, size, p->v->config_size))
			memcpy(&value, p->v->config + at, size);
		return value;
	default:
		return 0;
	}
}

static void bar_write(void *ctx, uint64_t off, unsigned size, uint64_t value)
{
	struct virtio_pci *p = ctx;
	unsigned at = off % PART_SIZE;

	if (part_of(off) == PART_COMMON && size == field_size(at))
		common_write(p, at, (uint32_t)value);
	else if (part_of(off) == PART_NOTIFY && at % NOTIFY_STRIDE == 0)
		virtio_notify(p->v, at / NOTIFY_STRIDE);
	else if (part_of(off) == PART_DEVICE && range_in(at, size, p->v->config_size) &&
		 p->v->ops->configure)
		p->v->ops->configure(p->v, at, size, (uint32_t)value);
}

static const struct bus_ops bar_ops = {bar_read, bar_write, 1, 4};

/* ---- the window in configuration space (4.1.4.9) ---- */

/* What it looks at; 0: at nothing. */
static unsigned window_size(const struct virtio_pci *p, uint32_t *off)
{
	uint32_t len = pci_get(&p->func, p->window + CAP_LENGTH, 4);

	*off = pci_get(&p->func, p->window + CAP_OFFSET, 4);
	if (p->func.config[p->window + CAP_BAR] != BAR_STRUCTS || !len || len > 4 || len == 3)
		return 0;
	return *off % len == 0 && range_in(*off, len, BAR_SIZE) ? len : 0;
}

static bool touches_window(const struct virtio_pci *p, unsigned off, unsigned size)
{
	return off == p->window + CAP_EXTRA && size <= 4;
}

static void config_reading(struct pci_func *f, unsigned off, unsigned size)
{
	struct virtio_pci *p = container_of(f, struct virtio_pci, func);
	uint32_t at, len;

	if (!touches_window(p, off, size))
		return;
	len = window_size(p, &at);
	if (len)
		pci_put(f, off, len, (uint32_t)bar_read(p, at, len));
}

static void config_changed(struct pci_func *f, unsigned off, unsigned size)
{
	struct virtio_pci *p = container_of(f, struct virtio_pci, func);
	uint32_t at, len;

	if (!touches_window(p, off, size))
		return;
	len = window_size(p, &at);
	if (len)
		bar_write(p, at, len, pci_get(f, off, len));
}

/* ---- life ---- */

static void virtio_pci_reset(struct device *dev)
{
	struct virtio_pci *p = container_of(dev, struct virtio_pci, dev);

	virtio_reset(p->v);
	reset_transport(p);
	pci_func_reset(&p->func);
}

static void virtio_pci_snap(struct device *dev, struct snap *s)
{
	struct virtio_pci *p = container_of(dev, struct virtio_pci, dev);

	snap_section(s, dev->name, 1);
	snap_u32(s, "device_select", &p->device_select);
	snap_u32(s, "driver_select", &p->driver_select);
	snap_u16(s, "queue_select", &p->queue_select);
	snap_u16(s, "config_vector", &p->config_vector);
	snap_u8(s, "isr", &p->isr);
	virtio_snap(p->v, s);
	pci_func_snap(&p->func, s);
}

static void virtio_pci_quiesce(struct device *dev)
{
	struct virtio *v = container_of(dev, struct virtio_pci, dev)->v;

	if (v->ops->quiesce)
		v->ops->quiesce(v);
}

static void virtio_pci_destroy(struct device *dev)
{
	struct virtio_pci *p = container_of(dev, struct virtio_pci, dev);

	virtio_disconnect(p->v);
	p->v->ops->destroy(p->v);
	free(p);
}

static uint8_t add_part(struct pci_func *f, enum part part, unsigned cap_len, uint32_t len)
{
	uint8_t cap = pci_func_capability(f, CAP_VENDOR, cap_len);

	pci_func_register(f, cap + 2u, 1, cap_len, 0);
	pci_func_register(f, cap + 3u, 1, part, 0);
	pci_func_register(f, cap + CAP_BAR, 1, BAR_STRUCTS, 0);
	pci_func_register(f, cap + CAP_OFFSET, 4, (part - 1u) * PART_SIZE, 0);
	pci_func_register(f, cap + CAP_LENGTH, 4, len, 0);
	return cap;
}

static void add_window(struct virtio_pci *p)
{
	struct pci_func *f = &p->func;

	p->window = add_part(f, PART_WINDOW, CAP_WINDOW_LEN, 0);
	pci_func_register(f, p->window + CAP_BAR, 1, 0, UINT8_MAX);
	pci_func_register(f, p->window + CAP_OFFSET, 4, 0, UINT32_MAX);
	pci_func_register(f, p->window + CAP_LENGTH, 4, 0, UINT32_MAX);
	pci_func_register(f, p->window + CAP_EXTRA, 4, 0, UINT32_MAX);
	f->reading = config_reading;
	f->changed = config_changed;
}

static void add_parts(struct virtio_pci *p)
{
	struct pci_func *f = &p->func;
	uint8_t notify;

	add_part(f, PART_COMMON, CAP_LEN, sizeof(struct common));
	notify = add_part(f, PART_NOTIFY, CAP_NOTIFY_LEN, NOTIFY_STRIDE * p->v->queues);
	pci_func_register(f, notify + CAP_EXTRA, 4, NOTIFY_STRIDE, 0);
	add_part(f, PART_ISR, CAP_LEN, 1);
	if (p->v->config_size)
		add_part(f, PART_DEVICE, CAP_LEN, p->v->config_size);
	add_window(p);
}

struct virtio_pci *virtio_pci_new(
	const char *name, struct virtio *v, uint32_t class, struct clock *clock)
{
	const struct pci_id id = {.vendor = VENDOR,
		.device = (uint16_t)(DEVICE_BASE + v->type),
		.class = class,
		.revision = 1,
		.subsystem_vendor = VENDOR,
		.subsystem = SUBSYSTEM,
		.pin = 1};
	struct virtio_pci *p = xcalloc(1, sizeof(*p));

	p->dev = (struct device){name, virtio_pci_reset, virtio_pci_snap, virtio_pci_destroy, NULL,
		virtio_pci_quiesce};
	p->v = v;
	v->func = &p->func;
	v->interrupt = interrupt;
	virtio_connect(v, clock);
	p->config_vector = VIRTIO_NO_VECTOR;
	pci_func_init(&p->func, name, &id);
	region_init(&p->region, name, BAR_SIZE, &bar_ops, p);
	pci_func_bar(&p->func, BAR_STRUCTS, PCI_BAR_MEM, &p->region);
	pci_func_msix(&p->func, BAR_MSIX, v->queues + 1);
	add_parts(p);
	return p;
}

struct device *virtio_pci_device(struct virtio_pci *p)
{
	return &p->dev;
}

struct pci_func *virtio_pci_func(struct virtio_pci *p)
{
	return &p->func;
}
