/*
 * virtio_net.c - network card: frames from queue 1 to the back end, from there
 * into buffers of queue 0, and a control queue for what it is to receive.
 *
 * Source: OASIS Virtual I/O Device (VIRTIO) 1.2, 5.1. What the driver cannot
 * take (long segments, open checksums) is finished here. Nothing is kept but
 * registers: a frame that finds no room stays with whoever has it. Left out:
 * several queue pairs, VLAN filters, announcements, UDP segments, RSS, offloads
 * that change while it runs. Lock: vm->lock.
 */
#include "dev/virtio_net.h"

#include <stdlib.h>
#include <string.h>

#include "host/frame.h"
#include "util/util.h"

enum { RECEIVE, TRANSMIT, CONTROL, QUEUES };

#define F_CSUM          BIT(0)
#define F_GUEST_CSUM    BIT(1)
#define F_MTU           BIT(3)
#define F_MAC           BIT(5)
#define F_GUEST_TSO4    BIT(7)
#define F_GUEST_TSO6    BIT(8)
#define F_HOST_TSO4     BIT(11)
#define F_HOST_TSO6     BIT(12)
#define F_MRG_RXBUF     BIT(15)
#define F_STATUS        BIT(16)
#define F_CTRL_VQ       BIT(17)
#define F_CTRL_RX       BIT(18)
#define F_CTRL_MAC_ADDR BIT(23)

#define HEADER      ((uint32_t)sizeof(struct net_header))
#define STATUS_LINK 1u
#define FILTERS     32u /* addresses beside its own; with more it receives all */

/* Control commands (5.1.6.5): class, command. */
enum { CLASS_RX = 0, CLASS_MAC = 1 };
enum { RX_PROMISC = 0, RX_ALLMULTI = 1, MAC_TABLE_SET = 0, MAC_ADDR_SET = 1 };
enum { ACK_OK = 0, ACK_ERROR = 1 };

/* What the driver reads (5.1.4). */
struct __attribute__((packed)) config {
	uint8_t mac[NET_MAC_LEN];
	uint16_t status, max_pairs, mtu;
};

struct virtio_net {
	struct virtio v;
	struct netdev *net;
	uint8_t mac[NET_MAC_LEN], own_mac[NET_MAC_LEN]; /* as set, as it was made with */
	uint8_t filter[FILTERS][NET_MAC_LEN];
	uint32_t filters; /* FILTERS + 1: they did not fit */
	bool promisc, allmulti;
	uint8_t segment[NET_FRAME_MAX];
};

/* ---- transmit ---- */

/* Does the driver use only what it has accepted? */
static bool header_allowed(const struct virtio_net *n, const struct net_header *h)
{
	switch (h->gso_type & ~NET_GSO_ECN) {
	case NET_GSO_NONE:
		return n->v.accepted & F_CSUM || !(h->flags & NET_NEEDS_CSUM);
	case NET_GSO_TCP4:
		return n->v.accepted & F_HOST_TSO4;
	case NET_GSO_TCP6:
		return n->v.accepted & F_HOST_TSO6;
	default:
		return false;
	}
}

/* false: the back end has no room. A header that makes no sense loses its frame. */
static bool transmit_one(struct virtio_net *n, const struct virtio_chain *c)
{
	struct iovec iov[VIRTIO_SEGMENTS + 1];
	size_t len = c->out_len - HEADER;
	struct net_header h;
	unsigned count;

	virtio_gather(c->iov, c->out, &h, sizeof(h));
	h.buffers = 0;
	h.flags &= NET_NEEDS_CSUM;
	if (!frame_header_valid(&h, len) || !header_allowed(n, &h) || !n->net->link)
		return true;
	iov[0] = (struct iovec){&h, sizeof(h)};
	count = virtio_slice(c->iov, c->out, HEADER, len, iov + 1);
	return n->net->send(n->net->backend, iov, count + 1);
}

static bool transmit_next(struct virtio_net *n, unsigned *taken)
{
	struct virtio_chain c;

	if (!virtio_take(&n->v, TRANSMIT, &c, taken))
		return false;
	if (c.in || c.out_len < HEADER) {
		virtio_break(&n->v, "a frame of %llu bytes, %u segments to write",
			(unsigned long long)c.out_len, c.in);
		return false;
	}
	if (!transmit_one(n, &c)) {
		virtio_unpop(&n->v, &c);
		return false;
	}
	virtio_give(&n->v, &c, 0);
	return true;
}

static void transmit(struct virtio_net *n)
{
	unsigned taken = 0;

	while (transmit_next(n, &taken))
		;
	virtio_publish(&n->v, TRANSMIT);
}

static void net_writable(void *device)
{
	virtio_notify(device, TRANSMIT);
}

/* ---- receive ---- */

/* One buffer of a frame: [done, len) as far as it goes; returns how many bytes. */
static size_t fill_buffer(struct virtio_net *n, const struct virtio_chain *c, uint32_t from,
	const uint8_t *data, size_t len)
{
	struct iovec iov[VIRTIO_SEGMENTS];
	unsigned count = virtio_slice(c->iov + c->out, c->in, from, len, iov);
	size_t part = virtio_scatter(iov, count, data, len);

	virtio_give(&n->v, c, (uint32_t)(from + part));
	return part;
}

static void put_header(struct virtio_net *n, const struct virtio_chain *first,
	const struct net_header *h, unsigned buffers)
{
	struct net_header copy = *h;

	copy.buffers = (uint16_t)buffers;
	virtio_scatter(first->iov + first->out, first->in, &copy, sizeof(copy));
	virtio_written(&n->v, first, HEADER);
}

/*
 * All buffers of a frame become the driver's at once (5.1.6.4): they are given as they are
 * found, and published when all is in place. false: there are not enough.
 */
static bool deliver(
	struct virtio_net *n, const struct net_header *h, const uint8_t *frame, size_t len)
{
	unsigned limit = n->v.accepted & F_MRG_RXBUF ? n->v.queue[RECEIVE].size : 1, used = 0;
	struct virtio_chain first, c;
	size_t done = 0;

	while (done < len && used < limit) {
		if (!virtio_pop(&n->v, RECEIVE, &c)) {
			virtio_take_back(&n->v, RECEIVE, used);
			return !virtio_running(&n->v);
		}
		if (c.in_len < HEADER) {
			virtio_break(&n->v, "a buffer of %llu bytes", (unsigned long long)c.in_len);
			return true;
		}
		if (!used)
			first = c;
		done += fill_buffer(n, &c, used ? 0 : HEADER, frame + done, len - done);
		used++;
	}
	if (done < len) /* larger than all that the driver offers: lost */
		virtio_take_back(&n->v, RECEIVE, used);
	else
		put_header(n, &first, h, used);
	return true;
}

/* Segment by segment; what finds no room is lost, and TCP sends it again. */
static bool deliver_cut(
	struct virtio_net *n, const struct net_header *h, const uint8_t *frame, size_t len)
{
	const struct net_header plain = {.flags = NET_DATA_VALID};
	struct frame_cut cut;
	size_t part;

	if (!frame_cut_begin(&cut, h, frame, len))
		return true;
	do
		part = frame_cut_next(&cut, n->segment);
	while (part && deliver(n, &plain, n->segment, part));
	return true;
}

static bool has_filter(const struct virtio_net *n, const uint8_t *mac)
{
	for (unsigned i = 0; i < MIN(n->filters, FILTERS); i++)
		if (!memcmp(n->filter[i], mac, NET_MAC_LEN))
			return true;
	return n->filters > FILTERS;
}

/* Is it for this card? Without F_CTRL_RX everything is. */
static bool wanted(const struct virtio_net *n, const uint8_t *to)
{
	static const uint8_t broadcast[NET_MAC_LEN] = {255, 255, 255, 255, 255, 255};

	if (!(n->v.accepted & F_CTRL_RX) || n->promisc || !memcmp(to, broadcast, NET_MAC_LEN))
		return true;
	if (to[0] & 1)
		return n->allmulti || has_filter(n, to);
	return !memcmp(to, n->mac, NET_MAC_LEN) || has_filter(n, to);
}

static bool takes_gso(const struct virtio_net *n, const struct net_header *h)
{
	bool v6 = (h->gso_type & ~NET_GSO_ECN) == NET_GSO_TCP6;

	return n->v.accepted & (v6 ? F_GUEST_TSO6 : F_GUEST_TSO4) && !(h->gso_type & NET_GSO_ECN);
}

static bool net_receive(void *device, struct net_header *h, uint8_t *frame, size_t len)
{
	struct virtio_net *n = device;

	if (!virtio_running(&n->v) || !frame_header_valid(h, len) || !wanted(n, frame))
		return true;
	if (h->gso_type && !takes_gso(n, h))
		return deliver_cut(n, h, frame, len);
	if (!(n->v.accepted & F_GUEST_CSUM)) {
		frame_checksum(h, frame, len);
		h->flags = 0;
	}
	return deliver(n, h, frame, len);
}

static void net_received(void *device)
{
	struct virtio_net *n = device;

	virtio_publish(&n->v, RECEIVE);
}

/* ---- control ---- */

struct reader {
	const struct virtio_chain *c;
	uint64_t at;
};

static bool take_bytes(struct reader *r, void *buf, size_t len)
{
	struct iovec iov[VIRTIO_SEGMENTS];
	unsigned n;

	if (!range_in(r->at, len, r->c->out_len))
		return false;
	n = virtio_slice(r->c->iov, r->c->out, r->at, len, iov);
	virtio_gather(iov, n, buf, len);
	r->at += len;
	return true;
}

/* Two lists, of single and of group addresses (5.1.6.5.2), kept as one. */
static bool set_table(struct virtio_net *n, struct reader *r)
{
	uint8_t mac[NET_MAC_LEN];
	uint32_t count, total = 0;

	for (unsigned list = 0; list < 2; list++) {
		if (!take_bytes(r, &count, sizeof(count)))
			return false;
		for (; count && total < FILTERS; count--, total++) {
			if (!take_bytes(r, mac, sizeof(mac)))
				return false;
			memcpy(n->filter[total], mac, sizeof(mac));
		}
		if (count) {
			total = FILTERS + 1;
			break;
		}
	}
	n->filters = total;
	return true;
}

static void set_mac(struct virtio_net *n, const uint8_t *mac)
{
	memcpy(n->mac, mac, NET_MAC_LEN);
	memcpy(n->v.config, mac, NET_MAC_LEN);
}

static bool command(struct virtio_net *n, struct reader *r)
{
	uint8_t what[2], on, mac[NET_MAC_LEN];

	if (!take_bytes(r, what, sizeof(what)))
		return false;
	if (what[0] == CLASS_RX && what[1] <= RX_ALLMULTI) {
		if (!take_bytes(r, &on, 1))
			return false;
		*(what[1] == RX_PROMISC ? &n->promisc : &n->allmulti) = on;
		return true;
	}
	if (what[0] != CLASS_MAC)
		return false;
	if (what[1] == MAC_TABLE_SET)
		return set_table(n, r);
	if (what[1] != MAC_ADDR_SET || !take_bytes(r, mac, sizeof(mac)))
		return false;
	set_mac(n, mac);
	return true;
}

static void control(struct virtio_net *n)
{
	struct virtio_chain c;
	unsigned taken = 0;

	while (virtio_take(&n->v, CONTROL, &c, &taken)) {
		struct reader r = {&c, 0};
		uint8_t ack = command(n, &r) ? ACK_OK : ACK_ERROR;

		virtio_scatter(c.iov + c.out, c.in, &ack, 1);
		virtio_push(&n->v, &c, c.in ? 1 : 0);
	}
}

/* ---- life ---- */

static void net_notify(struct virtio *v, unsigned queue)
{
	struct virtio_net *n = container_of(v, struct virtio_net, v);

	if (queue == TRANSMIT)
		transmit(n);
	else if (queue == CONTROL)
		control(n);
	else
		n->net->room(n->net->backend);
}

static void show_link(struct virtio_net *n)
{
	uint16_t status = n->net->link ? STATUS_LINK : 0;

	memcpy(n->v.config + offsetof(struct config, status), &status, sizeof(status));
}

static void net_link_changed(void *device)
{
	struct virtio_net *n = device;

	show_link(n);
	virtio_config_changed(&n->v);
}

static void net_reset(struct virtio *v)
{
	struct virtio_net *n = container_of(v, struct virtio_net, v);

	n->filters = 0;
	n->promisc = n->allmulti = false;
	set_mac(n, n->own_mac);
}

static void net_snap(struct virtio *v, struct snap *s)
{
	struct virtio_net *n = container_of(v, struct virtio_net, v);

	snap_bytes(s, "mac", n->mac, sizeof(n->mac));
	snap_bytes(s, "filter", n->filter, sizeof(n->filter));
	snap_u32(s, "filters", &n->filters);
	snap_bool(s, "promisc", &n->promisc);
	snap_bool(s, "allmulti", &n->allmulti);
	memcpy(v->config, n->mac, sizeof(n->mac));
}

static void net_destroy(struct virtio *v)
{
	free(container_of(v, struct virtio_net, v));
}

static void connect_net(struct virtio_net *n)
{
	n->net->receive = net_receive;
	n->net->received = net_received;
	n->net->writable = net_writable;
	n->net->link_changed = net_link_changed;
	n->net->device = n;
	show_link(n);
}

struct virtio *virtio_net_new(struct netdev *net, const uint8_t mac[NET_MAC_LEN], uint16_t mtu)
{
	static const struct virtio_ops ops = {net_notify, net_reset, net_snap, NULL, net_destroy};
	struct virtio_net *n = xcalloc(1, sizeof(*n));
	struct config c = {.max_pairs = 1, .mtu = mtu};

	virtio_init(&n->v, &ops, VIRTIO_NET, QUEUES,
		F_CSUM | F_GUEST_CSUM | F_MAC | F_GUEST_TSO4 | F_GUEST_TSO6 | F_HOST_TSO4 |
			F_HOST_TSO6 | F_MRG_RXBUF | F_STATUS | F_CTRL_VQ | F_CTRL_RX |
			F_CTRL_MAC_ADDR | (mtu ? F_MTU : 0));
	memcpy(n->v.config, &c, sizeof(c));
	n->v.config_size = sizeof(c);
	n->net = net;
	memcpy(n->own_mac, mac, NET_MAC_LEN);
	set_mac(n, mac);
	connect_net(n);
	return &n->v;
}
