/*
 * raw.c - raw images: byte n of the disk is byte n of the file.
 *
 * A file whose size is no multiple of a sector reads as zeroes up to the next
 * one, and grows to it when that is written. If the format was guessed, the
 * guest may not write a first sector that would be guessed differently next
 * time: such a write fails with -EPERM.
 * Lock: none; the host's file does it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/disk.h"
#include "host/image.h"
#include "util/util.h"

struct raw {
	struct image im;
	uint64_t file_size; /* as opened */
	bool guard;         /* the format was guessed */
	_Atomic bool sync_lost;
};

static int raw_read(struct image *im, uint64_t off, const struct span *s)
{
	struct raw *r = container_of(im, struct raw, im);
	struct span tail, body;
	uint64_t end = off + s->len, last = r->file_size & ~(uint64_t)(SECTOR_SIZE - 1);
	uint8_t sector[SECTOR_SIZE] = {0};
	ssize_t n;
	int error;

	if (end <= r->file_size)
		return fd_read_span(im->fd, off, s);
	/* The last sector may have grown since: what the file has of it, then zeroes. */
	body = span_cut(s, 0, last - off);
	error = fd_read_span(im->fd, off, &body);
	n = pread(im->fd, sector, sizeof(sector), (off_t)last);
	if (error || n < 0)
		return error ? error : -errno;
	tail = span_cut(s, last - off, end - last);
	span_fill_from(&tail, sector);
	return 0;
}

/* What the first sector would be after the write. */
static int check_guard(struct raw *r, uint64_t off, const struct span *s)
{
	uint8_t head[SECTOR_SIZE] = {0};
	struct span part = span_cut(s, 0, MIN(s->len, SECTOR_SIZE - off));

	if (pread(r->im.fd, head, sizeof(head), 0) < 0)
		return -errno;
	span_copy_to(&part, head + off);
	return format_looks_special(head) ? -EPERM : 0;
}

static int raw_write(struct image *im, uint64_t off, const struct span *s)
{
	struct raw *r = container_of(im, struct raw, im);
	int error = r->guard && off < SECTOR_SIZE ? check_guard(r, off, s) : 0;

	return error ? error : fd_write_span(im->fd, off, s);
}

static int raw_try_read(struct image *im, uint64_t off, const struct span *s)
{
	const struct raw *r = container_of(im, struct raw, im);

	return off + s->len > r->file_size ? -EAGAIN : fd_try_read_span(im->fd, off, s);
}

static int raw_try_write(struct image *im, uint64_t off, const struct span *s)
{
	const struct raw *r = container_of(im, struct raw, im);

	if ((r->guard && off < SECTOR_SIZE) || off + s->len > r->file_size)
		return -EAGAIN;
	return fd_try_write_span(im->fd, off, s);
}

static int raw_zero(struct image *im, uint64_t off, uint64_t len)
{
	return fd_zero(im->fd, off, len);
}

static int raw_discard(struct image *im, uint64_t off, uint64_t len)
{
	return fd_discard(im->fd, off, len);
}

static int raw_flush(struct image *im)
{
	return fd_sync(im->fd, &container_of(im, struct raw, im)->sync_lost);
}

static void raw_close(struct image *im)
{
	close(im->fd);
	free(im->name);
	free(container_of(im, struct raw, im));
}

static const struct image_ops raw_ops = {"raw", raw_read, raw_write, raw_zero, raw_discard,
	raw_flush, raw_close, raw_try_read, raw_try_write};

struct image *raw_open(const struct disk_file *f, char *err, size_t errlen)
{
	uint64_t size;
	int error = fd_size(f->fd, &size);
	struct raw *r;

	if (error) {
		snprintf(err, errlen, "%s: %s", f->name, strerror(-error));
		return NULL;
	}
	r = xcalloc(1, sizeof(*r));
	r->file_size = size;
	r->guard = f->probed && !f->ro;
	r->im = (struct image){.ops = &raw_ops, .name = xstrdup(f->name), .fd = f->fd, .ro = f->ro};
	r->im.size = (size + SECTOR_SIZE - 1) & ~(uint64_t)(SECTOR_SIZE - 1);
	return &r->im;
}
