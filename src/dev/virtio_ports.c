/*
 * virtio_ports.c - console device with several ports: a pair of queues each,
 * and a pair for control messages.
 *
 * Source: OASIS Virtual I/O Device (VIRTIO) 1.2, 5.3. Output that the outside
 * does not take yet is kept, one chain at a time, and no further chain is taken
 * meanwhile: that holds the guest's writer. Control messages to the driver are
 * bits by port until it offers a buffer, so none is ever lost or queued without
 * end. Left out: a console among the ports, removal of ports. Lock: vm->lock.
 */
#include "dev/virtio_ports.h"

#include <stdlib.h>
#include <string.h>

#define F_MULTIPORT BIT(1)
#define OUTPUT_MAX  (1u << 20) /* bytes of a chain */
#define NAME_LEN    32u

enum { CONTROL_RECEIVE = 2, CONTROL_TRANSMIT = 3 };

/* Control events (5.3.6.2). */
enum event {
	DEVICE_READY,
	DEVICE_ADD,
	DEVICE_REMOVE,
	PORT_READY,
	CONSOLE_PORT,
	RESIZE,
	PORT_OPEN,
	PORT_NAME
};

struct control {
	uint32_t id;
	uint16_t event, value;
};

struct __attribute__((packed)) config {
	uint16_t cols, rows;
	uint32_t max_ports, emergency;
};

/* What the driver is still to be told, in this order: who finds a name finds it connected. */
enum tell { TELL_ADD, TELL_OPEN, TELL_NAME, TELL_END, TELLS };

struct port {
	struct port_wires wires;
	uint8_t tell;    /* bits */
	bool open;       /* by the guest */
	bool closing;    /* it closed, and there is output left */
	bool ended;      /* no more input comes */
	uint8_t *output; /* of one chain */
	uint32_t len, at;
};

struct virtio_ports {
	struct virtio v;
	struct port port[PORTS_MAX];
	unsigned ports;
};

static struct virtio_ports *ports_of(struct virtio *v)
{
	return container_of(v, struct virtio_ports, v);
}

static unsigned receive_queue(unsigned port)
{
	return port ? 2 * port + 2 : 0;
}

static unsigned port_of(unsigned queue)
{
	return queue < CONTROL_RECEIVE ? 0 : queue / 2 - 1;
}

/* ---- telling the driver ---- */

static size_t message(const struct port *p, unsigned id, enum tell tell, uint8_t *buf)
{
	static const uint16_t event[TELLS] = {DEVICE_ADD, PORT_OPEN, PORT_NAME, PORT_OPEN};
	struct control c = {id, event[tell], tell != TELL_END};
	size_t len = tell == TELL_NAME ? strnlen(p->wires.name, NAME_LEN) : 0;

	memcpy(buf, &c, sizeof(c));
	memcpy(buf + sizeof(c), p->wires.name, len);
	return sizeof(c) + len;
}

/* One message a buffer, as many as there are of both. */
static void tell_driver(struct virtio_ports *d)
{
	uint8_t buf[sizeof(struct control) + NAME_LEN];
	struct virtio_chain c;

	for (unsigned id = 0; id < d->ports; id++) {
		struct port *p = &d->port[id];

		while (p->tell) {
			enum tell tell = (enum tell)__builtin_ctz(p->tell);
			size_t len = message(p, id, tell, buf);

			if (!virtio_pop(&d->v, CONTROL_RECEIVE, &c))
				return;
			len = virtio_scatter(c.iov + c.out, c.in, buf, len);
			p->tell &= (uint8_t)~BIT(tell);
			virtio_push(&d->v, &c, (uint32_t)len);
		}
	}
}

/* ---- output ---- */

/* false: the outside takes no more for now. */
static bool write_out(struct port *p)
{
	while (p->at < p->len) {
		size_t n = p->wires.write
				   ? p->wires.write(p->wires.ctx, p->output + p->at, p->len - p->at)
				   : p->len - p->at;

		if (!n)
			return false;
		p->at += (uint32_t)MIN(n, p->len - p->at);
	}
	p->at = p->len = 0;
	return true;
}

static bool take_chain(struct virtio_ports *d, struct port *p, unsigned queue, unsigned *taken)
{
	struct virtio_chain c;

	if (!virtio_take(&d->v, queue, &c, taken))
		return false;
	if (c.out_len > OUTPUT_MAX) {
		virtio_break(&d->v, "%llu bytes at a time", (unsigned long long)c.out_len);
		return false;
	}
	p->output = xrealloc(p->output, MAX(c.out_len, 1));
	p->len = (uint32_t)virtio_gather(c.iov, c.out, p->output, c.out_len);
	virtio_push(&d->v, &c, 0);
	return true;
}

static void transmit(struct virtio_ports *d, unsigned id)
{
	struct port *p = &d->port[id];
	unsigned taken = 0;

	do
		if (!write_out(p))
			return;
	while (take_chain(d, p, receive_queue(id) + 1, &taken));
	if (taken <= VIRTIO_BURST && p->closing) {
		p->closing = false;
		if (p->wires.closed)
			p->wires.closed(p->wires.ctx);
	}
}

void virtio_ports_writable(struct virtio *v, unsigned port)
{
	transmit(ports_of(v), port);
}

/* ---- input ---- */

size_t virtio_ports_input(struct virtio *v, unsigned port, const uint8_t *data, size_t len)
{
	struct virtio_ports *d = ports_of(v);
	struct virtio_chain c;
	size_t done = 0;

	if (!d->port[port].open)
		return 0;
	while (done < len && virtio_pop(v, receive_queue(port), &c)) {
		size_t n = virtio_scatter(c.iov + c.out, c.in, data + done, len - done);

		virtio_push(v, &c, (uint32_t)n);
		done += n;
		if (!n)
			break;
	}
	return done;
}

void virtio_ports_end(struct virtio *v, unsigned port)
{
	struct virtio_ports *d = ports_of(v);

	d->port[port].ended = true;
	if (d->port[port].open)
		d->port[port].tell |= BIT(TELL_END);
	tell_driver(d);
}

/* ---- what the driver says ---- */

static void set_open(struct virtio_ports *d, unsigned id, bool open)
{
	struct port *p = &d->port[id];

	p->closing = p->open && !open;
	p->open = open;
	if (open && p->ended)
		p->tell |= BIT(TELL_END);
	transmit(d, id);
	if (open && p->wires.room)
		p->wires.room(p->wires.ctx);
}

static void heard(struct virtio_ports *d, const struct control *c)
{
	if (c->event == DEVICE_READY && c->value) {
		for (unsigned id = 0; id < d->ports; id++)
			d->port[id].tell |= BIT(TELL_ADD);
		return;
	}
	if (c->id >= d->ports)
		return;
	if (c->event == PORT_READY && c->value)
		d->port[c->id].tell |= BIT(TELL_NAME) | BIT(TELL_OPEN);
	else if (c->event == PORT_OPEN)
		set_open(d, c->id, c->value);
}

static void listen(struct virtio_ports *d)
{
	struct virtio_chain chain;
	unsigned taken = 0;
	struct control c;

	while (virtio_take(&d->v, CONTROL_TRANSMIT, &chain, &taken)) {
		bool whole = virtio_gather(chain.iov, chain.out, &c, sizeof(c)) == sizeof(c);

		virtio_push(&d->v, &chain, 0);
		if (whole)
			heard(d, &c);
	}
	tell_driver(d);
}

static void ports_notify(struct virtio *v, unsigned queue)
{
	struct virtio_ports *d = ports_of(v);
	unsigned id = port_of(queue);

	if (queue == CONTROL_TRANSMIT)
		listen(d);
	else if (queue == CONTROL_RECEIVE)
		tell_driver(d);
	else if (queue & 1)
		transmit(d, id);
	else if (d->port[id].wires.room)
		d->port[id].wires.room(d->port[id].wires.ctx);
}

/* ---- life ---- */

static void ports_reset(struct virtio *v)
{
	struct virtio_ports *d = ports_of(v);

	for (unsigned id = 0; id < d->ports; id++) {
		struct port *p = &d->port[id];

		p->tell = 0;
		p->len = p->at = 0;
		p->open = p->closing = false;
	}
}

static void snap_port(struct port *p, struct snap *s)
{
	snap_u8_max(s, "tell", &p->tell, (1u << TELLS) - 1);
	snap_bool(s, "open", &p->open);
	snap_bool(s, "closing", &p->closing);
	snap_bool(s, "ended", &p->ended);
	snap_u32_max(s, "len", &p->len, OUTPUT_MAX);
	snap_u32_max(s, "at", &p->at, p->len);
	if (snap_loading(s) && snap_error(s))
		p->len = p->at = 0;
	if (snap_loading(s))
		p->output = xrealloc(p->output, MAX(p->len, 1));
	snap_bytes(s, "output", p->output, p->len);
}

static void ports_snap(struct virtio *v, struct snap *s)
{
	struct virtio_ports *d = ports_of(v);

	for (unsigned id = 0; id < d->ports; id++)
		snap_port(&d->port[id], s);
}

static void ports_destroy(struct virtio *v)
{
	struct virtio_ports *d = ports_of(v);

	for (unsigned id = 0; id < d->ports; id++)
		free(d->port[id].output);
	free(d);
}

struct virtio *virtio_ports_new(const struct port_wires *wires, unsigned n)
{
	static const struct virtio_ops ops = {
		ports_notify, ports_reset, ports_snap, NULL, ports_destroy};
	struct virtio_ports *d = xcalloc(1, sizeof(*d));
	const struct config c = {.max_ports = n};

	virtio_init(&d->v, &ops, VIRTIO_CONSOLE, 2 * n + 2, F_MULTIPORT);
	memcpy(d->v.config, &c, sizeof(c));
	d->v.config_size = sizeof(c);
	d->ports = n;
	for (unsigned id = 0; id < n; id++)
		d->port[id].wires = wires[id];
	return &d->v;
}
