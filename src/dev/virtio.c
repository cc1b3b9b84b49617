/*
 * virtio.c - split virtqueues, features and status of virtio devices.
 *
 * Source: OASIS Virtual I/O Device (VIRTIO) 1.2: 2.1 (status), 2.2 (features),
 * 2.7 (split virtqueues), 3.1 (initialization). Of memory that the driver can
 * change, each field is read once, then checked, then used. Buffers of a chain
 * may lie over each other, which harms their owner only; rings may not. Left
 * out: packed rings, reset of a single queue, notification data. Lock: vm->lock.
 */
#include "dev/virtio.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum { DESC_NEXT = 1, DESC_WRITE = 2, DESC_INDIRECT = 4 };

#define DESC_SIZE    16u
#define RING_HEADER  4u /* flags and index */
#define NO_INTERRUPT 1u

struct descriptor {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};

bool virtio_running(const struct virtio *v)
{
	return (v->status & (VIRTIO_DRIVER_OK | VIRTIO_NEEDS_RESET)) == VIRTIO_DRIVER_OK;
}

void virtio_break(struct virtio *v, const char *why, ...)
{
	char text[128];
	va_list ap;

	va_start(ap, why);
	vsnprintf(text, sizeof(text), why, ap);
	va_end(ap);
	log_guest(&v->limit, "%s: needs a reset: %s", v->func->name, text);
	if (virtio_running(v))
		v->interrupt(v, VIRTIO_CONFIG_QUEUE);
	v->status |= VIRTIO_NEEDS_RESET;
}

/* ---- the rings' fields ---- */

static bool ring_read(struct virtio *v, gpa_t gpa, void *buf, uint64_t len)
{
	if (!pci_func_read(v->func, gpa, buf, len))
		return true;
	virtio_break(v, "ring at %#llx is not in RAM", (unsigned long long)gpa);
	return false;
}

static bool ring_write(struct virtio *v, gpa_t gpa, const void *buf, uint64_t len)
{
	if (!pci_func_write(v->func, gpa, buf, len))
		return true;
	virtio_break(v, "ring at %#llx is not in RAM", (unsigned long long)gpa);
	return false;
}

static gpa_t used_event(const struct virtio_queue *q)
{
	return q->avail + RING_HEADER + 2u * q->size;
}

static gpa_t avail_event(const struct virtio_queue *q)
{
	return q->used + RING_HEADER + 8u * q->size;
}

/* Asks for a notification at the next entry; the index has to be looked at again then. */
static bool ask_notification(struct virtio *v, const struct virtio_queue *q)
{
	if (!(v->accepted & VIRTIO_F_EVENT_IDX))
		return true;
	if (!ring_write(v, avail_event(q), &q->avail_index, 2))
		return false;
	atomic_thread_fence(memory_order_seq_cst);
	return true;
}

/* How many entries wait. */
static unsigned waiting(struct virtio *v, const struct virtio_queue *q)
{
	uint16_t index, n;

	if (!ring_read(v, q->avail + 2, &index, 2))
		return 0;
	n = (uint16_t)(index - q->avail_index);
	if (n <= q->size)
		return n;
	virtio_break(v, "%u entries in a ring of %u", n, q->size);
	return 0;
}

static bool any_waiting(struct virtio *v, const struct virtio_queue *q)
{
	return waiting(v, q) || (virtio_running(v) && ask_notification(v, q) && waiting(v, q));
}

/* ---- chains ---- */

static bool add_segment(struct virtio *v, struct virtio_chain *c, const struct descriptor *d)
{
	bool in = d->flags & DESC_WRITE;
	unsigned n = c->out + c->in;
	void *host = d->len ? pci_func_ptr(v->func, d->addr, d->len) : NULL;

	if (!d->len)
		return true;
	if (!host || n == VIRTIO_SEGMENTS || (c->in && !in)) {
		virtio_break(v, "buffer %#llx, %u bytes: %s", (unsigned long long)d->addr, d->len,
			!host                  ? "not in RAM"
			: n == VIRTIO_SEGMENTS ? "too many"
					       : "out of order");
		return false;
	}
	c->iov[n] = (struct iovec){host, d->len};
	c->gpa[n] = d->addr;
	*(in ? &c->in : &c->out) += 1;
	*(in ? &c->in_len : &c->out_len) += d->len;
	return true;
}

/* From entry `at` of a table; an indirect descriptor is left in *last for the caller. */
static bool walk(struct virtio *v, struct virtio_chain *c, gpa_t table, unsigned size, unsigned at,
	struct descriptor *last)
{
	for (unsigned steps = 0; steps < size; steps++) {
		if (at >= size) {
			virtio_break(v, "descriptor %u of %u", at, size);
			return false;
		}
		if (!ring_read(v, table + DESC_SIZE * at, last, DESC_SIZE))
			return false;
		if (last->flags & DESC_INDIRECT)
			return true;
		if (!add_segment(v, c, last))
			return false;
		if (!(last->flags & DESC_NEXT))
			return true;
		at = last->next;
	}
	virtio_break(v, "a chain that loops");
	return false;
}

static bool walk_indirect(struct virtio *v, struct virtio_chain *c, const struct descriptor *d)
{
	unsigned size = d->len / DESC_SIZE;
	struct descriptor last;

	if (!(v->accepted & VIRTIO_F_INDIRECT_DESC) || d->flags & DESC_NEXT || !size ||
		d->len % DESC_SIZE || size > VIRTIO_QUEUE_MAX) {
		virtio_break(v, "indirect table of %u bytes, flags %#x", d->len, d->flags);
		return false;
	}
	if (!walk(v, c, d->addr, size, 0, &last))
		return false;
	if (last.flags & DESC_INDIRECT)
		virtio_break(v, "an indirect table within another");
	return !(last.flags & DESC_INDIRECT);
}

static bool take_head(struct virtio *v, struct virtio_queue *q, uint16_t *head)
{
	gpa_t entry = q->avail + RING_HEADER + 2u * (q->avail_index & (q->size - 1u));

	if (!ring_read(v, entry, head, 2))
		return false;
	if (*head < q->size && !q->busy[*head])
		return true;
	virtio_break(v, "head %u is %s", *head, *head < q->size ? "in flight" : "not in the table");
	return false;
}

bool virtio_pop(struct virtio *v, unsigned queue, struct virtio_chain *c)
{
	struct virtio_queue *q = &v->queue[queue];
	struct descriptor last;
	uint16_t head;

	if (!virtio_running(v) || !q->enabled || !any_waiting(v, q) || !take_head(v, q, &head))
		return false;
	c->queue = (uint16_t)queue;
	c->head = head;
	c->out = c->in = 0;
	c->out_len = c->in_len = 0;
	if (!walk(v, c, q->desc, q->size, head, &last))
		return false;
	if (last.flags & DESC_INDIRECT && !walk_indirect(v, c, &last))
		return false;
	q->busy[head] = true;
	q->avail_index++;
	return true;
}

bool virtio_take(struct virtio *v, unsigned queue, struct virtio_chain *c, unsigned *taken)
{
	if ((*taken)++ < VIRTIO_BURST)
		return virtio_pop(v, queue, c);
	virtio_later(v, queue);
	return false;
}

/* ---- giving back ---- */

/* The engine hears what changed under it. */
void virtio_written(struct virtio *v, const struct virtio_chain *c, uint32_t written)
{
	for (unsigned i = c->out; i < c->out + c->in && written; i++) {
		uint32_t n = (uint32_t)MIN(written, c->iov[i].iov_len);

		pci_func_written(v->func, c->gpa[i], n);
		written -= n;
	}
}

/* Used buffer notification suppression (2.7.7): are those from index `before` on to be told? */
static bool wants_interrupt(struct virtio *v, const struct virtio_queue *q, uint16_t before)
{
	bool event = v->accepted & VIRTIO_F_EVENT_IDX;
	uint16_t word;

	atomic_thread_fence(memory_order_seq_cst);
	if (!ring_read(v, event ? used_event(q) : q->avail, &word, 2))
		return false;
	return event ? (uint16_t)(word - before) < (uint16_t)(q->used_index - before)
		     : !(word & NO_INTERRUPT);
}

void virtio_unpop(struct virtio *v, const struct virtio_chain *c)
{
	v->queue[c->queue].busy[c->head] = false;
	v->queue[c->queue].avail_index--;
}

void virtio_give(struct virtio *v, const struct virtio_chain *c, uint32_t written)
{
	struct virtio_queue *q = &v->queue[c->queue];
	uint32_t element[2] = {c->head, written};
	unsigned index = (uint16_t)(q->used_index + q->given);

	virtio_written(v, c, written);
	q->busy[c->head] = false;
	if (virtio_running(v) &&
		ring_write(v, q->used + RING_HEADER + 8u * (index & (q->size - 1u)), element,
			sizeof(element)))
		q->given++;
}

void virtio_publish(struct virtio *v, unsigned queue)
{
	struct virtio_queue *q = &v->queue[queue];
	uint16_t before = q->used_index;

	if (!virtio_running(v) || !q->given)
		return;
	q->used_index = (uint16_t)(before + q->given);
	q->given = 0;
	if (ring_write(v, q->used + 2, &q->used_index, 2) && wants_interrupt(v, q, before))
		v->interrupt(v, queue);
}

void virtio_take_back(struct virtio *v, unsigned queue, unsigned n)
{
	v->queue[queue].given -= (uint16_t)n;
	v->queue[queue].avail_index -= (uint16_t)n;
}

void virtio_push(struct virtio *v, const struct virtio_chain *c, uint32_t written)
{
	virtio_give(v, c, written);
	virtio_publish(v, c->queue);
}

void virtio_config_changed(struct virtio *v)
{
	v->generation++;
	if (v->status & VIRTIO_DRIVER_OK)
		v->interrupt(v, VIRTIO_CONFIG_QUEUE);
}

/* ---- buffers ---- */

size_t virtio_gather(const struct iovec *iov, unsigned n, void *buf, size_t len)
{
	size_t done = 0;

	for (unsigned i = 0; i < n && done < len; i++) {
		size_t part = MIN(len - done, iov[i].iov_len);

		memcpy((uint8_t *)buf + done, iov[i].iov_base, part);
		done += part;
	}
	return done;
}

size_t virtio_scatter(const struct iovec *iov, unsigned n, const void *buf, size_t len)
{
	size_t done = 0;

	for (unsigned i = 0; i < n && done < len; i++) {
		size_t part = MIN(len - done, iov[i].iov_len);

		memcpy(iov[i].iov_base, (const uint8_t *)buf + done, part);
		done += part;
	}
	return done;
}

unsigned virtio_slice(
	const struct iovec *iov, unsigned n, uint64_t from, uint64_t len, struct iovec *out)
{
	unsigned count = 0;

	for (unsigned i = 0; i < n && len; i++) {
		uint64_t skip = MIN(from, iov[i].iov_len), part = MIN(len, iov[i].iov_len - skip);

		from -= skip;
		len -= part;
		if (part)
			out[count++] = (struct iovec){(uint8_t *)iov[i].iov_base + skip, part};
	}
	return count;
}

/* ---- status ---- */

struct area {
	uint64_t base, len;
	unsigned align;
};

static bool overlap(const struct area *a, const struct area *b)
{
	return a->base < b->base + b->len && b->base < a->base + a->len;
}

/* Layout of a queue (2.7): aligned, and its parts apart from each other. */
static bool queue_valid(const struct virtio_queue *q)
{
	const struct area area[3] = {
		{q->desc, (uint64_t)DESC_SIZE * q->size, 16},
		{q->avail, RING_HEADER + 2u + 2u * q->size, 2},
		{q->used, RING_HEADER + 2u + 8u * q->size, 4},
	};

	for (unsigned i = 0; i < 3; i++)
		if (area[i].base % area[i].align || range_bad(area[i].base, area[i].len))
			return false;
	return !overlap(&area[0], &area[1]) && !overlap(&area[0], &area[2]) &&
	       !overlap(&area[1], &area[2]);
}

static void start(struct virtio *v)
{
	for (unsigned i = 0; i < v->queues; i++)
		if (v->queue[i].enabled && !queue_valid(&v->queue[i]))
			virtio_break(v, "queue %u: its areas are misaligned or overlap", i);
	for (unsigned i = 0; i < v->queues; i++)
		virtio_notify(v, i);
}

/* Bits stay until a reset; FEATURES_OK only if the features are fine (3.1.1). */
void virtio_set_status(struct virtio *v, uint8_t status)
{
	bool features_bad = v->accepted & ~v->offered || !(v->accepted & VIRTIO_F_VERSION_1);
	uint8_t before = v->status;

	if (!status) {
		virtio_reset(v);
		return;
	}
	status &= (uint8_t)~VIRTIO_NEEDS_RESET;
	if (!(before & VIRTIO_FEATURES_OK) && features_bad)
		status &= (uint8_t) ~(VIRTIO_FEATURES_OK | VIRTIO_DRIVER_OK);
	if (!((before | status) & VIRTIO_FEATURES_OK))
		status &= (uint8_t)~VIRTIO_DRIVER_OK;
	v->status |= status;
	if (v->status & ~before & VIRTIO_DRIVER_OK)
		start(v);
}

void virtio_accept(struct virtio *v, unsigned word, uint32_t features)
{
	if (v->status & VIRTIO_FEATURES_OK || word > 1)
		return;
	v->accepted &= ~((uint64_t)UINT32_MAX << 32 * word);
	v->accepted |= (uint64_t)features << 32 * word;
}

struct virtio_queue *virtio_setup(struct virtio *v, unsigned queue)
{
	bool frozen = v->status & VIRTIO_DRIVER_OK || queue >= v->queues;

	return frozen || v->queue[queue].enabled ? NULL : &v->queue[queue];
}

void virtio_notify(struct virtio *v, unsigned queue)
{
	if (queue < v->queues && virtio_running(v) && v->queue[queue].enabled)
		v->ops->notify(v, queue);
}

/* ---- later ---- */

void virtio_later(struct virtio *v, unsigned queue)
{
	v->later_queues |= BIT(queue);
	if (!timer_armed(&v->later))
		timer_arm(&v->later, clock_now(v->later.clock));
}

static void run_later(void *ctx)
{
	struct virtio *v = ctx;
	uint32_t queues = v->later_queues;

	v->later_queues = 0;
	for (unsigned i = 0; i < v->queues; i++)
		if (queues & BIT(i))
			virtio_notify(v, i);
}

static void cancel_later(struct virtio *v)
{
	v->later_queues = 0;
	timer_cancel(&v->later);
}

static void snap_later(struct virtio *v, struct snap *s)
{
	if (snap_loading(s))
		timer_cancel(&v->later);
	snap_u32_max(s, "later", &v->later_queues, (1u << v->queues) - 1);
	if (snap_loading(s) && v->later_queues)
		timer_arm(&v->later, clock_now(v->later.clock));
}

void virtio_connect(struct virtio *v, struct clock *clock)
{
	timer_init(&v->later, clock, run_later, v);
}

void virtio_disconnect(struct virtio *v)
{
	timer_cancel(&v->later);
}

/* ---- life ---- */

static void reset_queues(struct virtio *v)
{
	for (unsigned i = 0; i < v->queues; i++)
		v->queue[i] =
			(struct virtio_queue){.size = VIRTIO_QUEUE_MAX, .vector = VIRTIO_NO_VECTOR};
}

void virtio_init(struct virtio *v, const struct virtio_ops *ops, enum virtio_type type,
	unsigned queues, uint64_t features)
{
	*v = (struct virtio){.ops = ops, .type = type, .queues = queues};
	v->offered = features | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX | VIRTIO_F_VERSION_1;
	reset_queues(v);
}

void virtio_reset(struct virtio *v)
{
	v->ops->reset(v);
	cancel_later(v);
	v->status = 0;
	v->accepted = 0;
	reset_queues(v);
}

static void snap_queue(struct virtio_queue *q, struct snap *s)
{
	snap_u16(s, "size", &q->size);
	if (!q->size || q->size > VIRTIO_QUEUE_MAX || q->size & (q->size - 1)) {
		snap_fail(s, "size", "not a power of two up to 256");
		q->size = VIRTIO_QUEUE_MAX;
	}
	snap_u16(s, "vector", &q->vector);
	snap_bool(s, "enabled", &q->enabled);
	snap_u64(s, "desc", &q->desc);
	snap_u64(s, "avail", &q->avail);
	snap_u64(s, "used", &q->used);
	snap_u16(s, "avail_index", &q->avail_index);
	snap_u16(s, "used_index", &q->used_index);
	if (snap_loading(s))
		memset(q->busy, 0, sizeof(q->busy));
}

void virtio_snap(struct virtio *v, struct snap *s)
{
	if (snap_loading(s))
		v->ops->reset(v);
	snap_u64(s, "accepted", &v->accepted);
	snap_u8(s, "status", &v->status);
	snap_u8(s, "generation", &v->generation);
	for (unsigned i = 0; i < v->queues; i++)
		snap_queue(&v->queue[i], s);
	snap_later(v, s);
	if (v->ops->snap)
		v->ops->snap(v, s);
}
