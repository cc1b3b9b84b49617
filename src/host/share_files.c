/*
 * share_files.c - requests of the FUSE protocol on open files and folders.
 *
 * Data goes from the slot to the file and back without a copy of ours: a guest
 * that changes it meanwhile changes what is in its file. See share_ops.c.
 * Folders are read with getdents64, whose positions are the guest's.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "host/share_server.h"
#include "util/util.h"

#define OPEN_FLAGS  (O_ACCMODE | O_APPEND | O_TRUNC)
#define DIRENTS_MAX 32768u
#define COPY_MAX    (16 * MiB) /* at a time: other requests wait for a worker */
#define PERMISSIONS (S_IRWXU | S_IRWXG | S_IRWXO)

static int result(int rc)
{
	return rc < 0 ? -errno : 0;
}

/* ---- opening ---- */

static uint32_t open_flags(const struct share_server *s)
{
	return s->options.steady ? FOPEN_KEEP_CACHE : 0;
}

int share_op_open(struct share_request *r)
{
	const struct fuse_open_in *in = (const void *)r->args;
	struct fuse_open_out *out = share_reply(r, sizeof(*out));
	int flags = (int)(in->flags & OPEN_FLAGS), fd;

	if (!out)
		return -EIO;
	if (r->s->options.ro && ((flags & O_ACCMODE) != O_RDONLY || flags & O_TRUNC))
		return -EROFS;
	fd = share_open_node(r, flags, false);
	if (fd < 0)
		return fd;
	out->open_flags = open_flags(r->s);
	return share_handle_add(r->s, fd, false, &out->fh);
}

int share_op_opendir(struct share_request *r)
{
	struct fuse_open_out *out = share_reply(r, sizeof(*out));
	int fd = out ? share_open_node(r, 0, true) : -EIO;

	if (fd < 0)
		return fd;
	out->open_flags = r->s->options.steady ? FOPEN_KEEP_CACHE | FOPEN_CACHE_DIR : 0;
	return share_handle_add(r->s, fd, true, &out->fh);
}

struct created {
	struct fuse_entry_out entry;
	struct fuse_open_out open;
};

/* A file that is there already may be a FIFO or a device: it is opened as a node is. */
static int open_created(
	struct share_request *r, int dirfd, const char *name, struct fuse_entry_out *e)
{
	const struct fuse_create_in *in = (const void *)r->args;
	int flags = (int)(in->flags & OPEN_FLAGS) | O_CREAT | O_EXCL | O_NONBLOCK;
	int fd = share_openat(r->s, dirfd, name, flags, in->mode & PERMISSIONS);
	int err = fd >= 0 || fd == -EEXIST ? share_entry(r, r->in.nodeid, dirfd, name, e) : fd;

	if (err || fd >= 0) {
		if (err && fd >= 0)
			close(fd);
		return err ? err : fd;
	}
	if (in->flags & O_EXCL)
		return -EEXIST;
	r->in.nodeid = e->nodeid;
	return share_open_node(r, flags & OPEN_FLAGS, false);
}

static int create_in(struct share_request *r, int dirfd, const char *name, struct created *c)
{
	int fd = open_created(r, dirfd, name, &c->entry);
	int err = fd < 0 ? fd : share_handle_add(r->s, fd, false, &c->open.fh);

	c->open.open_flags = open_flags(r->s);
	if (err && c->entry.nodeid)
		share_forget_node(r->s, c->entry.nodeid, 1);
	return err;
}

int share_op_create(struct share_request *r)
{
	struct created *out = share_reply(r, sizeof(*out)), c = {0};
	uint64_t dir = r->in.nodeid;
	const char *name;
	int err = share_one_name(r, sizeof(struct fuse_create_in), &name), fd;

	if (err || !out)
		return err ? err : -EIO;
	fd = share_pin(r->s, dir);
	if (fd < 0)
		return fd;
	err = create_in(r, fd, name, &c);
	share_unpin(r->s, dir);
	*out = c;
	return err;
}

static int release(struct share_request *r, bool dir)
{
	const struct fuse_release_in *in = (const void *)r->args;

	return share_handle_remove(r->s, in->fh, dir);
}

int share_op_release(struct share_request *r)
{
	return release(r, false);
}

int share_op_releasedir(struct share_request *r)
{
	return release(r, true);
}

/* ---- data ---- */

int share_op_read(struct share_request *r)
{
	const struct fuse_read_in *in = (const void *)r->args;
	uint32_t size = MIN(in->size, MIN(r->room, SHARE_DATA));
	int fd = share_handle_get(r->s, in->fh, false);
	ssize_t n;

	if (fd < 0)
		return fd;
	n = in->offset > INT64_MAX ? 0 : pread(fd, r->out, size, (off_t)in->offset);
	share_handle_put(r->s, in->fh);
	if (n < 0)
		return -errno;
	r->out_len = (uint32_t)n;
	return 0;
}

int share_op_write(struct share_request *r)
{
	const struct fuse_write_in *in = (const void *)r->args;
	struct fuse_write_out *out = share_reply(r, sizeof(*out));
	int fd = out && in->size <= r->data_len ? share_handle_get(r->s, in->fh, false) : -EINVAL;
	ssize_t n;

	if (fd < 0)
		return fd;
	n = in->offset > INT64_MAX ? -1 : pwrite(fd, r->data, in->size, (off_t)in->offset);
	share_handle_put(r->s, in->fh);
	if (n < 0)
		return in->offset > INT64_MAX ? -EFBIG : -errno;
	out->size = (uint32_t)n;
	return 0;
}

/* Closing a copy tells of errors that writing has not. */
int share_op_flush(struct share_request *r)
{
	const struct fuse_flush_in *in = (const void *)r->args;
	int fd = share_handle_get(r->s, in->fh, false), copy;

	if (fd < 0)
		return fd;
	copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	share_handle_put(r->s, in->fh);
	return copy < 0 ? -errno : result(close(copy));
}

static int sync_handle(struct share_request *r, bool dir)
{
	const struct fuse_fsync_in *in = (const void *)r->args;
	int fd = share_handle_get(r->s, in->fh, dir), err;

	if (fd < 0)
		return fd;
	err = result(in->fsync_flags & FUSE_FSYNC_FDATASYNC ? fdatasync(fd) : fsync(fd));
	share_handle_put(r->s, in->fh);
	return err;
}

int share_op_fsync(struct share_request *r)
{
	return sync_handle(r, false);
}

int share_op_fsyncdir(struct share_request *r)
{
	return sync_handle(r, true);
}

int share_op_syncfs(struct share_request *r)
{
	return result(syncfs(r->s->root));
}

int share_op_fallocate(struct share_request *r)
{
	const struct fuse_fallocate_in *in = (const void *)r->args;
	static const uint32_t known =
		FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE;
	int fd, err;

	if (in->mode & ~known)
		return -EOPNOTSUPP;
	if (in->offset > INT64_MAX || in->length > INT64_MAX)
		return -EFBIG;
	fd = share_handle_get(r->s, in->fh, false);
	if (fd < 0)
		return fd;
	err = result(fallocate(fd, (int)in->mode, (off_t)in->offset, (off_t)in->length));
	share_handle_put(r->s, in->fh);
	return err;
}

/* Of holes and data only; other positions are the guest's own. */
int share_op_lseek(struct share_request *r)
{
	const struct fuse_lseek_in *in = (const void *)r->args;
	struct fuse_lseek_out *out = share_reply(r, sizeof(*out));
	off_t at;
	int fd;

	if (!out || (in->whence != SEEK_DATA && in->whence != SEEK_HOLE))
		return -EINVAL;
	fd = share_handle_get(r->s, in->fh, false);
	if (fd < 0)
		return fd;
	at = lseek(fd, (off_t)in->offset, (int)in->whence);
	share_handle_put(r->s, in->fh);
	if (at < 0)
		return -errno;
	out->offset = (uint64_t)at;
	return 0;
}

int share_op_copy(struct share_request *r)
{
	const struct fuse_copy_file_range_in *in = (const void *)r->args;
	struct fuse_write_out *out = share_reply(r, sizeof(*out));
	off_t from_at = (off_t)in->off_in, to_at = (off_t)in->off_out;
	int from, to;
	ssize_t n = -1;

	if (!out || in->flags || in->off_in > INT64_MAX || in->off_out > INT64_MAX)
		return -EINVAL;
	from = share_handle_get(r->s, in->fh_in, false);
	if (from < 0)
		return from;
	to = share_handle_get(r->s, in->fh_out, false);
	if (to >= 0) {
		n = copy_file_range(from, &from_at, to, &to_at, MIN(in->len, COPY_MAX), 0);
		to = n < 0 ? -errno : 0;
		share_handle_put(r->s, in->fh_out);
	}
	share_handle_put(r->s, in->fh_in);
	if (to < 0)
		return to;
	out->size = (uint32_t)n;
	return 0;
}

/* ---- folders ---- */

struct host_dirent {
	uint64_t ino, off;
	uint16_t len;
	uint8_t type;
	char name[];
};

struct reader {
	struct share_request *r;
	bool plus;
	int fd;
	uint32_t room;
};

/* The entry proper, at p. */
static void put_dirent(struct fuse_dirent *p, const struct host_dirent *d, uint32_t len)
{
	p->ino = d->ino;
	p->off = d->off;
	p->namelen = len;
	p->type = d->type;
	memcpy(p->name, d->name, len);
}

/* "." and ".." are named, but not looked up: the guest knows where it is. */
static void look_up(struct reader *x, const char *name, struct fuse_entry_out *e)
{
	if (!strcmp(name, ".") || !strcmp(name, ".."))
		return;
	if (share_entry(x->r, x->r->in.nodeid, x->fd, name, e))
		memset(e, 0,
			sizeof(*e)); /* it is gone already, or too much: the guest looks itself */
}

/* false: the answer is full. */
static bool put_entry(struct reader *x, const struct host_dirent *d)
{
	uint32_t len = (uint32_t)strlen(d->name), size;
	uint8_t *p = x->r->out + x->r->out_len;

	size = (uint32_t)FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + len);
	if (x->plus)
		size += (uint32_t)offsetof(struct fuse_direntplus, dirent);
	if (size > x->room - x->r->out_len)
		return false;
	memset(p, 0, size);
	if (x->plus) {
		struct fuse_direntplus *plus = (void *)p;

		look_up(x, d->name, &plus->entry_out);
		put_dirent(&plus->dirent, d, len);
	} else {
		put_dirent((void *)p, d, len);
	}
	x->r->out_len += size;
	return true;
}

static int read_entries(struct reader *x, uint64_t offset)
{
	_Alignas(8) uint8_t buf[DIRENTS_MAX];
	bool full = false;

	if (lseek(x->fd, (off_t)offset, SEEK_SET) < 0)
		return -errno;
	while (!full) {
		long n = syscall(SYS_getdents64, x->fd, buf, MIN(sizeof(buf), x->room));

		if (n <= 0)
			return n < 0 && !x->r->out_len && errno != EINVAL ? -errno : 0;
		for (long at = 0; at < n && !full;) {
			const struct host_dirent *d = (const void *)(buf + at);

			full = !put_entry(x, d);
			at += d->len;
		}
	}
	return 0;
}

static int read_dir(struct share_request *r, bool plus)
{
	const struct fuse_read_in *in = (const void *)r->args;
	int fd = share_handle_get(r->s, in->fh, true), err;
	struct reader x = {r, plus, fd, MIN(in->size, MIN(r->room, SHARE_DATA))};

	if (fd < 0)
		return fd;
	err = read_entries(&x, in->offset);
	share_handle_put(r->s, in->fh);
	return err;
}

int share_op_readdir(struct share_request *r)
{
	return read_dir(r, false);
}

/* Its entries become the folder's children, so that one has to be there. */
int share_op_readdirplus(struct share_request *r)
{
	int fd = share_pin(r->s, r->in.nodeid), err;

	if (fd < 0)
		return fd;
	err = read_dir(r, true);
	share_unpin(r->s, r->in.nodeid);
	return err;
}
