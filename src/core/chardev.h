/*
 * chardev.h - a stream of bytes between a device and the outside.
 *
 * The device writes out through chardev_write; bytes from outside are handed
 * to it by chardev_input as far as it has room. Lock: vm->lock.
 */
#ifndef TINAMOU_CHARDEV_H
#define TINAMOU_CHARDEV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct chardev {
	/* Set by the back end. Takes all bytes (it buffers or drops, and never blocks). */
	void (*write)(void *backend, const uint8_t *data, size_t len);
	/* Set by the back end, may be NULL: the device has room again after a short input. */
	void (*room)(void *backend);
	void *backend;
	/* Set by the device: returns how many bytes it took, 0..len. */
	size_t (*input)(void *device, const uint8_t *data, size_t len);
	/* Set by the device, may be NULL: a BREAK condition was received. */
	void (*brk)(void *device);
	void *device;
};

static inline void chardev_write(struct chardev *c, const uint8_t *data, size_t len)
{
	if (c && c->write)
		c->write(c->backend, data, len);
}

static inline size_t chardev_input(struct chardev *c, const uint8_t *data, size_t len)
{
	return c->input ? c->input(c->device, data, len) : len;
}

#endif
