/*
 * virtio_ports.h - a console device whose ports are streams with names, as a
 * guest's programs use them; see virtio_ports.c.
 */
#ifndef TINAMOU_VIRTIO_PORTS_H
#define TINAMOU_VIRTIO_PORTS_H

#include "dev/virtio.h"

#define PORTS_MAX 4u

/* What the outside of a port does. All with vm->lock held; any may be NULL. */
struct port_wires {
	const char *name; /* in the guest: /sys/class/virtio-ports/.../name */
	/* Takes as much as it can now and says how much; virtio_ports_writable asks for the rest.
	 */
	size_t (*write)(void *ctx, const uint8_t *data, size_t len);
	/* The guest has closed it, and all that it wrote before was taken. */
	void (*closed)(void *ctx);
	/* There may be room for input, after less was taken than was offered. */
	void (*room)(void *ctx);
	void *ctx;
};

/* n is 1 to PORTS_MAX. wires are copied. */
struct virtio *virtio_ports_new(const struct port_wires *wires, unsigned n);
/* Returns how many bytes the guest had room for, 0 while it has not opened the port. */
size_t virtio_ports_input(struct virtio *v, unsigned port, const uint8_t *data, size_t len);
/* There is no more input: once it has read what there is, the guest reads the end. */
void virtio_ports_end(struct virtio *v, unsigned port);
void virtio_ports_writable(struct virtio *v, unsigned port);

#endif
