/*
 * image.h - between the files of the block layer: one format's view of an image.
 *
 * An image is synchronous and may be called by several threads at once; a
 * format locks what it must. Offsets and lengths are bytes, checked by disk.c
 * against the size.
 */
#ifndef TINAMOU_IMAGE_H
#define TINAMOU_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "host/disk.h"

/* len bytes of scattered memory, from skip bytes into the list on. */
struct span {
	const struct iovec *iov;
	unsigned count;
	uint64_t skip, len;
};

static inline struct span span_cut(const struct span *s, uint64_t at, uint64_t len)
{
	return (struct span){s->iov, s->count, s->skip + at, len};
}
void span_zero(const struct span *s);
void span_fill_from(const struct span *s, const void *buf); /* s->len bytes into the span */
void span_copy_to(const struct span *s, void *buf);         /* and out of it */

struct image;

struct image_ops {
	const char *name;
	/* Each returns 0 or -errno; [off, off + len) lies within the size. */
	int (*read)(struct image *im, uint64_t off, const struct span *s);
	int (*write)(struct image *im, uint64_t off, const struct span *s);
	int (*zero)(struct image *im, uint64_t off, uint64_t len);
	int (*discard)(struct image *im, uint64_t off, uint64_t len);
	int (*flush)(struct image *im);
	void (*close)(struct image *im); /* frees it, its descriptor and its backing image */
	/*
	 * May be NULL: as read and write, but -EAGAIN (part of it may have been done) or another
	 * error if that would wait for a device or a lock.
	 */
	int (*try_read)(struct image *im, uint64_t off, const struct span *s);
	int (*try_write)(struct image *im, uint64_t off, const struct span *s);
};

struct image {
	const struct image_ops *ops;
	char *name;
	int fd;
	uint64_t size; /* bytes, a multiple of SECTOR_SIZE */
	bool ro;
	struct image *backing; /* NULL: none */
};

/* The chain as one image, from backing up; takes the descriptors it uses out of f. */
struct image *image_open(struct disk_files *f, char *err, size_t errlen);

/* Take over f->fd on success only. NULL on failure with the reason in err. */
struct image *raw_open(const struct disk_file *f, char *err, size_t errlen);
struct image *qcow2_open(
	const struct disk_file *f, struct image *backing, char *err, size_t errlen);

/* All of it, or -errno; reading past the end of the file is -EIO. */
int fd_read(int fd, uint64_t off, void *buf, size_t len);
int fd_write(int fd, uint64_t off, const void *buf, size_t len);
int fd_read_span(int fd, uint64_t off, const struct span *s);
/* Only what the page cache takes or has: never waits for a device. */
int fd_try_read_span(int fd, uint64_t off, const struct span *s);
int fd_try_write_span(int fd, uint64_t off, const struct span *s);
int fd_write_span(int fd, uint64_t off, const struct span *s);
/*
 * fdatasync. The host may mark pages clean that it could not write, and then
 * succeed: so once it failed, which *lost keeps, it fails for ever.
 */
int fd_sync(int fd, _Atomic bool *lost);
/* Bytes of a file or block device. */
int fd_size(int fd, uint64_t *size);
/* Zeroes by a hole or unwritten extents where the host can, else by writing. */
int fd_zero(int fd, uint64_t off, uint64_t len);
/* Frees the host's storage; success also where it cannot. */
int fd_discard(int fd, uint64_t off, uint64_t len);

/* "qcow2" or "raw", by the magic number only. */
const char *format_probe(const uint8_t *head, size_t len);
/* Would some tool take a file with these first bytes for anything but raw? */
bool format_looks_special(const uint8_t head[512]);

#endif
