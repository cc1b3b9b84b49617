/*
 * virtio_vsock.c - socket device: carries packets between the rings and the
 * server, which has the connections.
 *
 * Source: OASIS Virtual I/O Device (VIRTIO) 1.2, 5.10. A packet from the server
 * that is larger than the driver's buffer becomes several. Packets of other
 * hosts, types and operations are dropped. Connections are not in a snapshot:
 * the driver of a machine that was loaded from one is told that they are gone
 * (5.10.6.7). Left out: SOCK_SEQPACKET. Lock: vm->lock.
 */
#include "dev/virtio_vsock.h"

#include <stdlib.h>
#include <string.h>

enum { RECEIVE, TRANSMIT, EVENT, QUEUES };

#define HEADER          ((uint32_t)sizeof(struct vsock_header))
#define TRANSPORT_RESET 0u

struct virtio_vsock {
	struct virtio v;
	struct vsock *link;
	uint32_t sent; /* of the packet that the link holds */
	bool lost;     /* the driver is still to be told that nothing is connected */
};

/* ---- to the server ---- */

static bool wanted(const struct virtio_vsock *d, const struct vsock_header *h)
{
	return h->src_cid == vsock_cid(d->link) && h->dst_cid == VSOCK_HOST &&
	       h->type == VSOCK_STREAM && h->op >= VSOCK_REQUEST && h->op <= VSOCK_CREDIT_REQUEST;
}

/* false: the server has no room. */
static bool transmit_one(struct virtio_vsock *d, const struct virtio_chain *c)
{
	struct iovec iov[VIRTIO_SEGMENTS + 1];
	struct vsock_header h;
	unsigned n;

	virtio_gather(c->iov, c->out, &h, sizeof(h));
	if (!range_in(HEADER, h.len, c->out_len) || h.len > VSOCK_OUT_MAX) {
		virtio_break(&d->v, "a packet of %u bytes in %llu", h.len,
			(unsigned long long)c->out_len);
		return true;
	}
	if (!wanted(d, &h))
		return true;
	iov[0] = (struct iovec){&h, sizeof(h)};
	n = virtio_slice(c->iov, c->out, HEADER, h.len, iov + 1);
	return vsock_send(d->link, iov, n + 1);
}

static void transmit(struct virtio_vsock *d)
{
	struct virtio_chain c;
	unsigned taken = 0;

	while (virtio_take(&d->v, TRANSMIT, &c, &taken)) {
		if (c.out_len < HEADER) {
			virtio_break(
				&d->v, "a packet of %llu bytes", (unsigned long long)c.out_len);
			break;
		}
		if (!transmit_one(d, &c)) {
			virtio_unpop(&d->v, &c);
			break;
		}
		virtio_give(&d->v, &c, 0);
	}
	virtio_publish(&d->v, TRANSMIT);
}

static void vsock_writable(void *device)
{
	virtio_notify(device, TRANSMIT);
}

/* ---- from the server ---- */

static void fill(struct virtio_vsock *d, const struct virtio_chain *c, const struct vsock_header *h,
	const uint8_t *data)
{
	struct iovec iov[VIRTIO_SEGMENTS];
	struct vsock_header part = *h;
	unsigned n;

	part.len = (uint32_t)MIN(h->len - d->sent, c->in_len - HEADER);
	virtio_scatter(c->iov + c->out, c->in, &part, HEADER);
	n = virtio_slice(c->iov + c->out, c->in, HEADER, part.len, iov);
	virtio_scatter(iov, n, data + d->sent, part.len);
	virtio_push(&d->v, c, HEADER + part.len);
	d->sent += part.len;
}

static bool vsock_receive(void *device, const struct vsock_header *h, const uint8_t *data)
{
	struct virtio_vsock *d = device;
	struct virtio_chain c;

	do {
		if (!virtio_pop(&d->v, RECEIVE, &c)) {
			if (virtio_running(&d->v))
				return false;
			break; /* nobody there: lost */
		}
		if (c.in_len < HEADER + 1) {
			virtio_break(&d->v, "a buffer of %llu bytes", (unsigned long long)c.in_len);
			break;
		}
		fill(d, &c, h, data);
	} while (d->sent < h->len);
	d->sent = 0;
	return true;
}

static void tell_lost(struct virtio_vsock *d)
{
	const uint32_t event = TRANSPORT_RESET;
	struct virtio_chain c;

	if (!d->lost || !virtio_pop(&d->v, EVENT, &c))
		return;
	d->lost = false;
	virtio_push(
		&d->v, &c, (uint32_t)virtio_scatter(c.iov + c.out, c.in, &event, sizeof(event)));
}

static void vsock_notify(struct virtio *v, unsigned queue)
{
	struct virtio_vsock *d = container_of(v, struct virtio_vsock, v);

	if (queue == TRANSMIT)
		transmit(d);
	else if (queue == EVENT)
		tell_lost(d);
	else
		vsock_room(d->link);
}

/* ---- life ---- */

static void vsock_reset(struct virtio *v)
{
	struct virtio_vsock *d = container_of(v, struct virtio_vsock, v);

	d->sent = 0;
	d->lost = false;
	vsock_forget(d->link);
}

static void vsock_snap(struct virtio *v, struct snap *s)
{
	struct virtio_vsock *d = container_of(v, struct virtio_vsock, v);

	if (!snap_loading(s))
		return;
	d->lost = true;
	virtio_later(v, EVENT);
}

static void vsock_destroy(struct virtio *v)
{
	free(container_of(v, struct virtio_vsock, v));
}

struct virtio *virtio_vsock_new(struct vsock *link)
{
	static const struct virtio_ops ops = {.notify = vsock_notify,
		.reset = vsock_reset,
		.snap = vsock_snap,
		.destroy = vsock_destroy};
	struct virtio_vsock *d = xcalloc(1, sizeof(*d));
	const uint64_t cid = vsock_cid(link);

	virtio_init(&d->v, &ops, VIRTIO_SOCKET, QUEUES, 0);
	memcpy(d->v.config, &cid, sizeof(cid));
	d->v.config_size = sizeof(cid);
	d->link = link;
	vsock_listen(link, &(struct vsock_wires){vsock_receive, vsock_writable, d});
	return &d->v;
}
