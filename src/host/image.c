/*
 * image.c - what every format needs: scattered memory, whole reads and writes,
 * holes, magic numbers.
 *
 * Lock: none; all of it works on its arguments.
 */
#include "host/image.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/util.h"

#define PIECES 64 /* of a scatter list for one system call */

/* The first pieces of s; returns how many, and their bytes in *bytes. */
static unsigned span_pieces(const struct span *s, struct iovec out[PIECES], uint64_t *bytes)
{
	uint64_t skip = s->skip, left = s->len;
	unsigned n = 0;

	for (unsigned i = 0; i < s->count && left && n < PIECES; i++) {
		uint64_t len = s->iov[i].iov_len;

		if (skip >= len) {
			skip -= len;
			continue;
		}
		len = MIN(len - skip, left);
		out[n++] = (struct iovec){(uint8_t *)s->iov[i].iov_base + skip, len};
		skip = 0;
		left -= len;
	}
	*bytes = s->len - left;
	return n;
}

/* Calls fn for each piece of memory in turn. */
static void span_each(const struct span *s, void (*fn)(struct iovec *v, uint8_t **at), uint8_t *at)
{
	struct span rest = *s;
	struct iovec piece[PIECES];

	while (rest.len) {
		uint64_t bytes;
		unsigned n = span_pieces(&rest, piece, &bytes);

		if (!n)
			return;
		for (unsigned i = 0; i < n; i++)
			fn(&piece[i], &at);
		rest = span_cut(&rest, bytes, rest.len - bytes);
	}
}

static void piece_zero(struct iovec *v, uint8_t **at)
{
	memset(v->iov_base, 0, v->iov_len);
}

static void piece_fill(struct iovec *v, uint8_t **at)
{
	memcpy(v->iov_base, *at, v->iov_len);
	*at += v->iov_len;
}

static void piece_copy(struct iovec *v, uint8_t **at)
{
	memcpy(*at, v->iov_base, v->iov_len);
	*at += v->iov_len;
}

void span_zero(const struct span *s)
{
	span_each(s, piece_zero, NULL);
}

void span_fill_from(const struct span *s, const void *buf)
{
	span_each(s, piece_fill, (uint8_t *)buf);
}

void span_copy_to(const struct span *s, void *buf)
{
	span_each(s, piece_copy, buf);
}

/* ---- whole transfers ---- */

typedef ssize_t transfer_fn(int fd, const struct iovec *iov, int count, off_t off);

static int transfer(transfer_fn *fn, int fd, uint64_t off, const struct span *s)
{
	struct span rest = *s;
	struct iovec piece[PIECES];

	if (off > INT64_MAX || rest.len > INT64_MAX - off)
		return -EIO;
	while (rest.len) {
		uint64_t bytes;
		int n = (int)span_pieces(&rest, piece, &bytes);
		ssize_t did = n ? fn(fd, piece, n, (off_t)off) : 0;

		if (did < 0 && errno == EINTR)
			continue;
		if (did <= 0)
			return did ? -errno : -EIO;
		off += (uint64_t)did;
		rest = span_cut(&rest, (uint64_t)did, rest.len - (uint64_t)did);
	}
	return 0;
}

int fd_read_span(int fd, uint64_t off, const struct span *s)
{
	return transfer(preadv, fd, off, s);
}

int fd_write_span(int fd, uint64_t off, const struct span *s)
{
	return transfer(pwritev, fd, off, s);
}

static ssize_t try_preadv(int fd, const struct iovec *iov, int count, off_t off)
{
	return preadv2(fd, iov, count, off, RWF_NOWAIT);
}

static ssize_t try_pwritev(int fd, const struct iovec *iov, int count, off_t off)
{
	return pwritev2(fd, iov, count, off, RWF_NOWAIT);
}

int fd_try_read_span(int fd, uint64_t off, const struct span *s)
{
	return transfer(try_preadv, fd, off, s);
}

int fd_try_write_span(int fd, uint64_t off, const struct span *s)
{
	return transfer(try_pwritev, fd, off, s);
}

int fd_read(int fd, uint64_t off, void *buf, size_t len)
{
	struct iovec iov = {buf, len};

	return fd_read_span(fd, off, &(struct span){&iov, 1, 0, len});
}

int fd_write(int fd, uint64_t off, const void *buf, size_t len)
{
	struct iovec iov = {(void *)buf, len};

	return fd_write_span(fd, off, &(struct span){&iov, 1, 0, len});
}

int fd_sync(int fd, _Atomic bool *lost)
{
	int error;

	if (*lost)
		return -EIO;
	do
		error = fdatasync(fd) ? -errno : 0;
	while (error == -EINTR);
	if (error)
		*lost = true;
	return error;
}

int fd_size(int fd, uint64_t *size)
{
	off_t end = lseek(fd, 0, SEEK_END);

	if (end < 0)
		return -errno;
	*size = (uint64_t)end;
	return 0;
}

static int write_zeroes(int fd, uint64_t off, uint64_t len)
{
	static const uint8_t zero[64 * KiB];

	while (len) {
		size_t n = MIN(len, sizeof(zero));
		int error = fd_write(fd, off, zero, n);

		if (error)
			return error;
		off += n;
		len -= n;
	}
	return 0;
}

static int try_fallocate(int fd, int mode, uint64_t off, uint64_t len)
{
	int error;

	do
		error = fallocate(fd, mode, (off_t)off, (off_t)len) ? -errno : 0;
	while (error == -EINTR);
	return error;
}

static bool unsupported(int error)
{
	return error == -EOPNOTSUPP || error == -ENOSYS || error == -ENODEV || error == -EINVAL;
}

int fd_zero(int fd, uint64_t off, uint64_t len)
{
	static const int modes[] = {FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE};

	if (!len)
		return 0;
	for (unsigned i = 0; i < ARRAY_SIZE(modes); i++) {
		int error = try_fallocate(fd, modes[i], off, len);

		if (!unsupported(error))
			return error;
	}
	return write_zeroes(fd, off, len);
}

int fd_discard(int fd, uint64_t off, uint64_t len)
{
	int error =
		len ? try_fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, off, len) : 0;

	return unsupported(error) ? 0 : error;
}

/* ---- magic numbers ---- */

const char *format_probe(const uint8_t *head, size_t len)
{
	return len >= 4 && !memcmp(head, "QFI\xfb", 4) ? "qcow2" : "raw";
}

bool format_looks_special(const uint8_t head[512])
{
	static const struct {
		unsigned at, len;
		const char *magic;
	} known[] = {
		{0, 4, "QFI\xfb"},            /* qcow, qcow2 */
		{0, 4, "QED\0"},              /* QED */
		{0, 4, "KDMV"},               /* VMDK 4 */
		{0, 4, "COWD"},               /* VMDK 3 */
		{0, 16, "# Disk Descripto"},  /* VMDK's text form */
		{0, 8, "vhdxfile"},           /* VHDX */
		{0, 8, "conectix"},           /* VHD */
		{0, 6, "LUKS\xba\xbe"},       /* LUKS */
		{0, 16, "WithoutFreeSpace"},  /* Parallels */
		{0, 16, "WithouFreSpacExt"},  /* Parallels */
		{0, 16, "Bochs Virtual HD"},  /* Bochs */
		{0x40, 4, "\x7f\x10\xda\xbe"} /* VDI */
	};

	for (unsigned i = 0; i < ARRAY_SIZE(known); i++)
		if (!memcmp(head + known[i].at, known[i].magic, known[i].len))
			return true;
	return false;
}

/* ---- chains ---- */

/* The descriptor is the image's once it is open. */
static struct image *open_one(struct disk_file *f, struct image *backing, char *err, size_t errlen)
{
	struct image *im = !strcmp(f->format, "qcow2") ? qcow2_open(f, backing, err, errlen)
						       : raw_open(f, err, errlen);

	if (im)
		f->fd = -1;
	else if (backing)
		backing->ops->close(backing);
	return im;
}

struct image *image_open(struct disk_files *f, char *err, size_t errlen)
{
	struct image *im = NULL;

	for (unsigned i = f->count; i-- > 0;) {
		im = open_one(&f->file[i], im, err, errlen);
		if (!im)
			return NULL;
	}
	return im;
}
