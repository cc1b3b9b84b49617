/*
 * virtio_balloon.c - balloon device: pages that the guest gives up on request,
 * and pages that it reports as free by itself, go back to the host.
 *
 * Source: OASIS Virtual I/O Device (VIRTIO) 1.2, 5.5. A page that was given up
 * is zero when the guest uses it again, which needs no word to the device. The
 * queues that are offered are numbered without gaps, as drivers do. Left out:
 * statistics, free page hints, page poison. Lock: vm->lock.
 */
#include "dev/virtio_balloon.h"

#include <stdlib.h>
#include <string.h>

enum { INFLATE, DEFLATE, REPORT, QUEUES };

#define F_DEFLATE_ON_OOM BIT(2)
#define F_REPORTING      BIT(5)

#define PFNS_MAX    4096u /* of a chain; Linux gives 256 at a time */
#define PAGES_BURST 8192u /* to give back at a time: a millisecond or a few */

/* What the driver reads, and of which it writes the second word (5.5.4). */
struct __attribute__((packed)) config {
	uint32_t num_pages, actual;
};

struct virtio_balloon {
	struct virtio v;
	uint32_t num_pages, actual;
	uint32_t pfn[PFNS_MAX];
};

static void show(struct virtio_balloon *b)
{
	const struct config c = {b->num_pages, b->actual};

	memcpy(b->v.config, &c, sizeof(c));
}

static void discard(struct virtio_balloon *b, uint64_t first, uint64_t end)
{
	/* What is not RAM has nothing to give back. */
	pci_func_discard(
		b->v.func, first * VIRTIO_BALLOON_PAGE, (end - first) * VIRTIO_BALLOON_PAGE);
}

/* Page numbers in any order; neighbours go together. Returns how many there were. */
static unsigned inflate(struct virtio_balloon *b, const struct virtio_chain *c)
{
	unsigned n = (unsigned)(c->out_len / sizeof(b->pfn[0]));
	uint64_t first, end;

	if (!n)
		return 0;
	virtio_gather(c->iov, c->out, b->pfn, n * sizeof(b->pfn[0]));
	first = b->pfn[0];
	end = first + 1;
	for (unsigned i = 1; i < n; i++) {
		if (b->pfn[i] == end) {
			end++;
		} else if (b->pfn[i] + UINT64_C(1) == first) {
			first--;
		} else {
			discard(b, first, end);
			first = b->pfn[i];
			end = first + 1;
		}
	}
	discard(b, first, end);
	return n;
}

/* Each buffer is a free piece of memory itself. */
static unsigned report(struct virtio_balloon *b, const struct virtio_chain *c)
{
	for (unsigned i = c->out; i < c->out + c->in; i++)
		pci_func_discard(b->v.func, c->gpa[i], c->iov[i].iov_len);
	return (unsigned)MIN(c->in_len / VIRTIO_BALLOON_PAGE, PAGES_BURST);
}

static void balloon_notify(struct virtio *v, unsigned queue)
{
	struct virtio_balloon *b = container_of(v, struct virtio_balloon, v);
	unsigned pages = 0, taken = 0;
	struct virtio_chain c;

	while (pages < PAGES_BURST && virtio_take(v, queue, &c, &taken)) {
		if (c.out_len > sizeof(b->pfn)) {
			virtio_break(
				v, "%llu bytes of page numbers", (unsigned long long)c.out_len);
			return;
		}
		if (queue == INFLATE)
			pages += inflate(b, &c);
		else if (queue == REPORT)
			pages += report(b, &c);
		virtio_push(v, &c, 0);
	}
	if (pages >= PAGES_BURST)
		virtio_later(v, queue);
}

static void balloon_configure(struct virtio *v, unsigned off, unsigned size, uint32_t value)
{
	struct virtio_balloon *b = container_of(v, struct virtio_balloon, v);

	if (off != offsetof(struct config, actual) || size != sizeof(b->actual))
		return;
	b->actual = value;
	show(b);
}

void virtio_balloon_ask(struct virtio *v, uint32_t pages)
{
	struct virtio_balloon *b = container_of(v, struct virtio_balloon, v);

	b->num_pages = pages;
	show(b);
	virtio_config_changed(v);
}

uint32_t virtio_balloon_asked(const struct virtio *v)
{
	return container_of(v, struct virtio_balloon, v)->num_pages;
}

uint32_t virtio_balloon_actual(const struct virtio *v)
{
	return container_of(v, struct virtio_balloon, v)->actual;
}

/* ---- life ---- */

/* What is asked for is the user's, and stays. */
static void balloon_reset(struct virtio *v)
{
	struct virtio_balloon *b = container_of(v, struct virtio_balloon, v);

	b->actual = 0;
	show(b);
}

static void balloon_snap(struct virtio *v, struct snap *s)
{
	struct virtio_balloon *b = container_of(v, struct virtio_balloon, v);

	snap_u32(s, "num_pages", &b->num_pages);
	snap_u32(s, "actual", &b->actual);
	show(b);
}

static void balloon_destroy(struct virtio *v)
{
	free(container_of(v, struct virtio_balloon, v));
}

struct virtio *virtio_balloon_new(void)
{
	static const struct virtio_ops ops = {.notify = balloon_notify,
		.reset = balloon_reset,
		.snap = balloon_snap,
		.destroy = balloon_destroy,
		.configure = balloon_configure};
	struct virtio_balloon *b = xcalloc(1, sizeof(*b));

	virtio_init(&b->v, &ops, VIRTIO_MEMORY_BALLOON, QUEUES, F_DEFLATE_ON_OOM | F_REPORTING);
	b->v.config_size = sizeof(struct config);
	show(b);
	return &b->v;
}
