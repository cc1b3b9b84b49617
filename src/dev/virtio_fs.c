/*
 * virtio_fs.c - file system device: carries FUSE requests to the share's
 * server, and looks at none of them.
 *
 * Source: OASIS Virtual I/O Device (VIRTIO) 1.2, 5.11. A request waits for a
 * slot of the share in its queue. Left out: the notification queue, the DAX
 * window, several request queues. The server's nodes and handles are not in a
 * snapshot: a machine that was loaded from one has to mount again. Lock: vm->lock.
 */
#include "dev/virtio_fs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { HIPRIO, REQUEST, QUEUES };

#define HEADERS 8u /* buffers of a request beside its pages */
_Static_assert(SHARE_PAGES + HEADERS <= VIRTIO_SEGMENTS, "the longest request is a chain");

struct __attribute__((packed)) config {
	char tag[VIRTIO_FS_TAG];
	uint32_t request_queues;
};

struct virtio_fs {
	struct virtio v;
	struct share *share;
	bool serving;                           /* serve() is on the stack */
	struct virtio_chain chain[SHARE_SLOTS]; /* by slot */
};

static void finished(void *ctx, unsigned slot, uint32_t len)
{
	struct virtio_fs *f = ctx;
	struct virtio_chain *c = &f->chain[slot];
	size_t n = virtio_scatter(c->iov + c->out, c->in, share_answer(f->share, slot), len);

	virtio_push(&f->v, c, (uint32_t)n);
}

static void submit(struct virtio_fs *f, unsigned slot)
{
	struct virtio_chain *c = &f->chain[slot];
	int err = share_submit(f->share, slot, c->iov, c->out, c->out_len, c->in_len);

	if (err == -EMSGSIZE)
		virtio_break(&f->v, "a request of %llu bytes", (unsigned long long)c->out_len);
	else if (err)
		virtio_push(&f->v, c, 0);
}

/* Both queues, the urgent one first, as far as there are slots. */
static void serve(struct virtio_fs *f)
{
	unsigned urgent = 0, taken = 0;
	int slot;

	if (f->serving)
		return;
	f->serving = true;
	while ((slot = share_slot(f->share)) >= 0) {
		struct virtio_chain *c = &f->chain[slot];

		if (!virtio_take(&f->v, HIPRIO, c, &urgent) &&
			!virtio_take(&f->v, REQUEST, c, &taken))
			break;
		submit(f, (unsigned)slot);
	}
	f->serving = false;
}

static void fs_notify(struct virtio *v, unsigned queue)
{
	serve(container_of(v, struct virtio_fs, v));
}

static void answered(void *ctx, unsigned slot, uint32_t len)
{
	finished(ctx, slot, len);
	serve(ctx);
}

static void fs_reset(struct virtio *v)
{
	share_forget(container_of(v, struct virtio_fs, v)->share);
}

static void fs_snap(struct virtio *v, struct snap *s)
{
	if (snap_loading(s) && v->status & VIRTIO_DRIVER_OK)
		v->status |= VIRTIO_NEEDS_RESET;
}

static void fs_quiesce(struct virtio *v)
{
	share_drain(container_of(v, struct virtio_fs, v)->share);
}

static void fs_destroy(struct virtio *v)
{
	free(container_of(v, struct virtio_fs, v));
}

struct virtio *virtio_fs_new(struct share *share, const char *tag)
{
	static const struct virtio_ops ops = {fs_notify, fs_reset, fs_snap, fs_quiesce, fs_destroy};
	struct virtio_fs *f = xcalloc(1, sizeof(*f));
	struct config c = {.request_queues = 1};

	virtio_init(&f->v, &ops, VIRTIO_FILE_SYSTEM, QUEUES, 0);
	memcpy(c.tag, tag, strnlen(tag, VIRTIO_FS_TAG));
	memcpy(f->v.config, &c, sizeof(c));
	f->v.config_size = sizeof(c);
	f->share = share;
	share_listen(share, answered, f);
	return &f->v;
}
