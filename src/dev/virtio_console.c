/*
 * virtio_console.c - console device with one port: queue 0 brings input to the
 * driver, queue 1 takes its output.
 *
 * Source: OASIS Virtual I/O Device (VIRTIO) 1.2, 5.3. Input waits at the back
 * end until the driver offers a buffer. Left out: several ports, the size of
 * the screen, emergency writes. Lock: vm->lock.
 */
#include "dev/virtio_console.h"

#include <stdlib.h>

enum { RECEIVE, TRANSMIT, QUEUES };

#define CONFIG_SIZE 12u /* size, ports, emergency write: features that are not offered */

struct virtio_console {
	struct virtio v;
	struct chardev *chr;
};

/* One buffer after the other, as far as the driver has offered any. */
static size_t console_input(void *device, const uint8_t *data, size_t len)
{
	struct virtio_console *k = device;
	struct virtio_chain c;
	size_t done = 0;

	while (done < len && virtio_pop(&k->v, RECEIVE, &c)) {
		size_t n = virtio_scatter(c.iov + c.out, c.in, data + done, len - done);

		virtio_push(&k->v, &c, (uint32_t)n);
		done += n;
		if (!n)
			break;
	}
	return done;
}

static void transmit(struct virtio_console *k)
{
	struct virtio_chain c;
	unsigned taken = 0;

	while (virtio_take(&k->v, TRANSMIT, &c, &taken)) {
		for (unsigned i = 0; i < c.out; i++)
			chardev_write(k->chr, c.iov[i].iov_base, c.iov[i].iov_len);
		virtio_push(&k->v, &c, 0);
	}
}

static void console_notify(struct virtio *v, unsigned queue)
{
	struct virtio_console *k = container_of(v, struct virtio_console, v);

	if (queue == TRANSMIT)
		transmit(k);
	else if (k->chr->room)
		k->chr->room(k->chr->backend);
}

static void console_reset(struct virtio *v)
{
}

static void console_destroy(struct virtio *v)
{
	free(container_of(v, struct virtio_console, v));
}

struct virtio *virtio_console_new(struct chardev *chr)
{
	static const struct virtio_ops ops = {
		console_notify, console_reset, NULL, NULL, console_destroy};
	struct virtio_console *k = xcalloc(1, sizeof(*k));

	virtio_init(&k->v, &ops, VIRTIO_CONSOLE, QUEUES, 0);
	k->v.config_size = CONFIG_SIZE;
	k->chr = chr;
	chr->input = console_input;
	chr->brk = NULL;
	chr->device = k;
	return &k->v;
}
