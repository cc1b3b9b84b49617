/*
 * share_ops.c - requests of the FUSE protocol about names and attributes, and
 * the table of all requests.
 *
 * Source: <linux/fuse.h>, protocol 7.38, which is the file system's device
 * interface (virtio 1.2, 5.11.6). No request trusts an ID, a length, a name or
 * a flag. Left out: extended attributes, ioctl, poll, locks (the guest's kernel
 * keeps them itself), DAX mappings. Lock: see share_nodes.c; requests run side
 * by side in the workers.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "core/clock.h"
#include "host/share_server.h"
#include "util/util.h"

#define MINOR        38
#define LONG_VALID   3600 /* seconds */
#define NUMBER       12   /* bytes of a descriptor as text */
#define PERMISSIONS  (S_IRWXU | S_IRWXG | S_IRWXO | S_ISVTX)
#define KNOWN_RENAME (RENAME_NOREPLACE | RENAME_EXCHANGE)

/* ---- what all of them use ---- */

void *share_reply(struct share_request *r, uint32_t size)
{
	if (size > r->room)
		return NULL;
	memset(r->out, 0, size);
	r->out_len = size;
	return r->out;
}

void share_valid(const struct share_server *s, uint64_t *seconds)
{
	*seconds = s->options.steady ? LONG_VALID : 1;
}

void share_attr(const struct share_server *s, const struct stat *st, struct fuse_attr *a)
{
	bool map = s->options.as_root;

	*a = (struct fuse_attr){
		.ino = st->st_ino,
		.size = (uint64_t)st->st_size,
		.blocks = (uint64_t)st->st_blocks,
		.atime = (uint64_t)st->st_atim.tv_sec,
		.mtime = (uint64_t)st->st_mtim.tv_sec,
		.ctime = (uint64_t)st->st_ctim.tv_sec,
		.atimensec = (uint32_t)st->st_atim.tv_nsec,
		.mtimensec = (uint32_t)st->st_mtim.tv_nsec,
		.ctimensec = (uint32_t)st->st_ctim.tv_nsec,
		.mode = st->st_mode,
		.nlink = (uint32_t)st->st_nlink,
		.uid = map && st->st_uid == s->uid ? 0 : st->st_uid,
		.gid = map && st->st_gid == s->gid ? 0 : st->st_gid,
		.rdev = (uint32_t)st->st_rdev,
		.blksize = (uint32_t)st->st_blksize,
	};
}

/* A name of the arguments from `at`: ends within them. NULL: it does not. */
const char *share_name(const struct share_request *r, uint32_t at, uint32_t *next)
{
	const uint8_t *end = at < r->args_len ? memchr(r->args + at, 0, r->args_len - at) : NULL;

	if (!end)
		return NULL;
	*next = (uint32_t)(end + 1 - r->args);
	return (const char *)r->args + at;
}

/* One component, which is not "." or "..". */
static int name_error(const char *name)
{
	if (!name || !*name || strchr(name, '/') || !strcmp(name, ".") || !strcmp(name, ".."))
		return -EINVAL;
	return strlen(name) > NAME_MAX ? -ENAMETOOLONG : 0;
}

/* The name behind n bytes of arguments. */
int share_one_name(const struct share_request *r, uint32_t n, const char **name)
{
	uint32_t next;

	*name = share_name(r, n, &next);
	return name_error(*name);
}

int share_entry(struct share_request *r, uint64_t dir, int dirfd, const char *name,
	struct fuse_entry_out *e)
{
	struct stat st;
	int err = share_lookup(r->s, dir, dirfd, name, &e->nodeid, &st);

	if (err)
		return err;
	share_valid(r->s, &e->entry_valid);
	share_valid(r->s, &e->attr_valid);
	share_attr(r->s, &st, &e->attr);
	return 0;
}

/* A name that was made or looked up, as the answer; the guest's if it gets there. */
static int reply_entry(struct share_request *r, int dirfd, const char *name)
{
	struct fuse_entry_out *e = share_reply(r, sizeof(*e));

	return e ? share_entry(r, r->in.nodeid, dirfd, name, e) : -EIO;
}

static int reply_attr(struct share_request *r, int fd)
{
	struct fuse_attr_out *a = share_reply(r, sizeof(*a));
	struct stat st;

	if (!a)
		return -EIO;
	if (fstat(fd, &st))
		return -errno;
	share_valid(r->s, &a->attr_valid);
	share_attr(r->s, &st, &a->attr);
	return 0;
}

/* What a descriptor is called in /proc/self/fd: the way to open or change an O_PATH's file. */
static const char *number(char buf[NUMBER], int fd)
{
	snprintf(buf, NUMBER, "%d", fd);
	return buf;
}

static int result(int rc)
{
	return rc < 0 ? -errno : 0;
}

/* ---- the session ---- */

static int op_init(struct share_request *r)
{
	const struct fuse_init_in *in = (const void *)r->args;
	static const uint32_t wanted = FUSE_ASYNC_READ | FUSE_ATOMIC_O_TRUNC | FUSE_BIG_WRITES |
				       FUSE_DO_READDIRPLUS | FUSE_READDIRPLUS_AUTO |
				       FUSE_PARALLEL_DIROPS | FUSE_MAX_PAGES | FUSE_CACHE_SYMLINKS |
				       FUSE_AUTO_INVAL_DATA | FUSE_ASYNC_DIO;
	struct fuse_init_out *out = share_reply(r, sizeof(*out));

	if (!out)
		return -EIO;
	if (in->major < FUSE_KERNEL_VERSION)
		return -EPROTO;
	out->major = FUSE_KERNEL_VERSION;
	out->minor = MINOR;
	if (in->major > FUSE_KERNEL_VERSION) /* it comes again with ours */
		return 0;
	share_table_clear(&r->s->table);
	atomic_store(&r->s->initialised, true);
	out->max_readahead = in->max_readahead;
	out->flags = in->flags & wanted;
	out->max_background = SHARE_SLOTS;
	out->congestion_threshold = SHARE_SLOTS;
	out->max_write = SHARE_DATA;
	out->max_pages = SHARE_PAGES;
	out->time_gran = 1;
	return 0;
}

static int op_destroy(struct share_request *r)
{
	share_table_clear(&r->s->table);
	return 0;
}

static int op_forget(struct share_request *r)
{
	const struct fuse_forget_in *in = (const void *)r->args;

	share_forget_node(r->s, r->in.nodeid, in->nlookup);
	return 0;
}

static int op_batch_forget(struct share_request *r)
{
	const struct fuse_batch_forget_in *in = (const void *)r->args;
	const struct fuse_forget_one *one = (const void *)(in + 1);
	uint32_t n = (r->args_len - (uint32_t)sizeof(*in)) / (uint32_t)sizeof(*one);

	for (uint32_t i = 0; i < MIN(n, in->count); i++)
		share_forget_node(r->s, one[i].nodeid, one[i].nlookup);
	return 0;
}

static int op_nothing(struct share_request *r)
{
	return 0;
}

/* ---- looking ---- */

static int op_lookup(struct share_request *r)
{
	const char *name;
	int err = share_one_name(r, 0, &name), fd;

	if (err)
		return err;
	fd = share_pin(r->s, r->in.nodeid);
	if (fd < 0)
		return fd;
	err = reply_entry(r, fd, name);
	share_unpin(r->s, r->in.nodeid);
	return err;
}

static int op_getattr(struct share_request *r)
{
	const struct fuse_getattr_in *in = (const void *)r->args;
	bool open = in->getattr_flags & FUSE_GETATTR_FH;
	int fd = open ? share_handle_get(r->s, in->fh, false) : share_pin(r->s, r->in.nodeid);
	int err;

	if (fd < 0)
		return fd;
	err = reply_attr(r, fd);
	if (open)
		share_handle_put(r->s, in->fh);
	else
		share_unpin(r->s, r->in.nodeid);
	return err;
}

static int op_readlink(struct share_request *r)
{
	int fd = share_pin(r->s, r->in.nodeid), err = 0;
	char text[PATH_MAX];
	ssize_t n;

	if (fd < 0)
		return fd;
	n = readlinkat(fd, "", text, sizeof(text));
	if (n < 0)
		err = -errno;
	else if (!share_reply(r, (uint32_t)n))
		err = -EIO;
	else
		memcpy(r->out, text, (size_t)n);
	share_unpin(r->s, r->in.nodeid);
	return err;
}

static int op_statfs(struct share_request *r)
{
	struct fuse_statfs_out *out = share_reply(r, sizeof(*out));
	struct statfs f;

	if (!out)
		return -EIO;
	if (fstatfs(r->s->root, &f))
		return -errno;
	out->st = (struct fuse_kstatfs){.blocks = f.f_blocks,
		.bfree = f.f_bfree,
		.bavail = f.f_bavail,
		.files = f.f_files,
		.ffree = f.f_ffree,
		.bsize = (uint32_t)f.f_bsize,
		.namelen = NAME_MAX,
		.frsize = (uint32_t)f.f_frsize};
	return 0;
}

static int op_access(struct share_request *r)
{
	const struct fuse_access_in *in = (const void *)r->args;
	int fd = share_pin(r->s, r->in.nodeid), err;
	char text[NUMBER];

	if (fd < 0)
		return fd;
	err = result(
		faccessat(r->s->proc, number(text, fd), (int)(in->mask & (R_OK | W_OK | X_OK)), 0));
	share_unpin(r->s, r->in.nodeid);
	return err;
}

/* ---- changing attributes ---- */

static int set_mode(struct share_server *s, int fd, const struct fuse_setattr_in *in)
{
	char text[NUMBER];
	struct stat st;
	mode_t mode = in->mode & PERMISSIONS;

	if (fstat(fd, &st))
		return -errno;
	if (S_ISDIR(st.st_mode))
		mode |= in->mode & S_ISGID;
	return result(fchmodat(s->proc, number(text, fd), mode, 0));
}

static int set_owner(struct share_server *s, int fd, const struct fuse_setattr_in *in)
{
	uid_t uid = in->valid & FATTR_UID ? in->uid : (uid_t)-1;
	gid_t gid = in->valid & FATTR_GID ? in->gid : (gid_t)-1;

	if (s->options.as_root) {
		uid = uid ? uid : s->uid;
		gid = gid ? gid : s->gid;
	}
	return result(fchownat(fd, "", uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW));
}

/* Nothing but a regular file is ever opened: a FIFO would wait for its other end. */
static int open_regular(struct share_server *s, int fd, int flags)
{
	char text[NUMBER];
	struct stat st;
	int file;

	if (fstat(fd, &st))
		return -errno;
	if (!S_ISREG(st.st_mode))
		return S_ISDIR(st.st_mode) ? -EISDIR : -EACCES;
	file = openat(s->proc, number(text, fd), flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	return file < 0 ? -errno : file;
}

static int set_size(struct share_server *s, int fd, const struct fuse_setattr_in *in)
{
	bool open = in->valid & FATTR_FH;
	int file = open ? share_handle_get(s, in->fh, false) : open_regular(s, fd, O_WRONLY), err;

	if (file < 0)
		return file;
	err = in->size > INT64_MAX ? -EFBIG : result(ftruncate(file, (off_t)in->size));
	if (open)
		share_handle_put(s, in->fh);
	else
		close(file);
	return err;
}

static struct timespec new_time(
	const struct fuse_setattr_in *in, uint32_t set, uint32_t now, uint64_t s, uint32_t ns)
{
	if (in->valid & now)
		return (struct timespec){0, UTIME_NOW};
	if (!(in->valid & set) || ns >= NSEC_PER_SEC)
		return (struct timespec){0, UTIME_OMIT};
	return (struct timespec){(time_t)s, (long)ns};
}

static int set_times(int fd, const struct fuse_setattr_in *in)
{
	struct timespec t[2] = {
		new_time(in, FATTR_ATIME, FATTR_ATIME_NOW, in->atime, in->atimensec),
		new_time(in, FATTR_MTIME, FATTR_MTIME_NOW, in->mtime, in->mtimensec),
	};

	return result(utimensat(fd, "", t, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW));
}

static int set_all(struct share_server *s, int fd, const struct fuse_setattr_in *in)
{
	int err = 0;

	if (in->valid & FATTR_MODE)
		err = set_mode(s, fd, in);
	if (!err && in->valid & (FATTR_UID | FATTR_GID))
		err = set_owner(s, fd, in);
	if (!err && in->valid & FATTR_SIZE)
		err = set_size(s, fd, in);
	if (!err && in->valid & (FATTR_ATIME | FATTR_MTIME | FATTR_ATIME_NOW | FATTR_MTIME_NOW))
		err = set_times(fd, in);
	return err;
}

static int op_setattr(struct share_request *r)
{
	const struct fuse_setattr_in *in = (const void *)r->args;
	int fd = share_pin(r->s, r->in.nodeid), err;

	if (fd < 0)
		return fd;
	err = set_all(r->s, fd, in);
	if (!err)
		err = reply_attr(r, fd);
	share_unpin(r->s, r->in.nodeid);
	return err;
}

/* ---- making and removing names ---- */

/* What is made belongs to the server's user; the guest asked for a mode with its umask taken off.
 */
static int make(struct share_request *r, uint32_t head,
	int (*fn)(struct share_request *r, int dirfd, const char *name))
{
	const char *name;
	int err = share_one_name(r, head, &name), fd;

	if (err)
		return err;
	fd = share_pin(r->s, r->in.nodeid);
	if (fd < 0)
		return fd;
	err = fn(r, fd, name);
	if (!err)
		err = reply_entry(r, fd, name);
	share_unpin(r->s, r->in.nodeid);
	return err;
}

static int make_dir(struct share_request *r, int dirfd, const char *name)
{
	const struct fuse_mkdir_in *in = (const void *)r->args;

	return result(mkdirat(dirfd, name, in->mode & PERMISSIONS));
}

static int op_mkdir(struct share_request *r)
{
	return make(r, sizeof(struct fuse_mkdir_in), make_dir);
}

/* A device's node on the host would be a door to the host's device. */
static int make_node(struct share_request *r, int dirfd, const char *name)
{
	const struct fuse_mknod_in *in = (const void *)r->args;
	mode_t kind = in->mode & S_IFMT;

	if (kind != S_IFREG && kind != S_IFIFO && kind != S_IFSOCK)
		return -EPERM;
	return result(mknodat(dirfd, name, kind | (in->mode & PERMISSIONS), 0));
}

static int op_mknod(struct share_request *r)
{
	return make(r, sizeof(struct fuse_mknod_in), make_node);
}

/* The text behind the name: never followed by us. */
static int make_symlink(struct share_request *r, int dirfd, const char *name)
{
	uint32_t at = (uint32_t)strlen(name) + 1, next;
	const char *target = share_name(r, at, &next);

	if (!target || !*target || strlen(target) >= PATH_MAX)
		return -EINVAL;
	return result(symlinkat(target, dirfd, name));
}

static int op_symlink(struct share_request *r)
{
	return make(r, 0, make_symlink);
}

static int make_link(struct share_request *r, int dirfd, const char *name)
{
	const struct fuse_link_in *in = (const void *)r->args;
	int fd = share_pin(r->s, in->oldnodeid), err;
	char text[NUMBER];

	if (fd < 0)
		return fd;
	err = result(linkat(r->s->proc, number(text, fd), dirfd, name, AT_SYMLINK_FOLLOW));
	share_unpin(r->s, in->oldnodeid);
	return err;
}

static int op_link(struct share_request *r)
{
	return make(r, sizeof(struct fuse_link_in), make_link);
}

static int remove_name(struct share_request *r, int flags)
{
	const char *name;
	int err = share_one_name(r, 0, &name), fd;

	if (err)
		return err;
	fd = share_pin(r->s, r->in.nodeid);
	if (fd < 0)
		return fd;
	share_loses_name(r->s, fd, name);
	err = result(unlinkat(fd, name, flags));
	share_unpin(r->s, r->in.nodeid);
	return err;
}

static int op_unlink(struct share_request *r)
{
	return remove_name(r, 0);
}

static int op_rmdir(struct share_request *r)
{
	return remove_name(r, AT_REMOVEDIR);
}

static int rename_pinned(struct share_request *r, uint64_t newdir, int from, int to,
	const char *old, const char *name, unsigned flags)
{
	int err;

	if (!(flags & RENAME_EXCHANGE))
		share_loses_name(r->s, to, name);
	err = result(renameat2(from, old, to, name, flags));
	if (!err)
		share_moved(r->s, newdir, to, name);
	if (!err && flags & RENAME_EXCHANGE)
		share_moved(r->s, r->in.nodeid, from, old);
	return err;
}

static int rename_names(struct share_request *r, uint32_t head, uint64_t newdir, unsigned flags)
{
	uint32_t at = head;
	const char *old = share_name(r, at, &at), *name = old ? share_name(r, at, &at) : NULL;
	int err = name_error(old), from, to;

	if (!err)
		err = name_error(name);
	if (err || flags & ~KNOWN_RENAME)
		return err ? err : -EINVAL;
	from = share_pin(r->s, r->in.nodeid);
	if (from < 0)
		return from;
	to = share_pin(r->s, newdir);
	err = to < 0 ? to : rename_pinned(r, newdir, from, to, old, name, flags);
	if (to >= 0)
		share_unpin(r->s, newdir);
	share_unpin(r->s, r->in.nodeid);
	return err;
}

static int op_rename(struct share_request *r)
{
	const struct fuse_rename_in *in = (const void *)r->args;

	return rename_names(r, sizeof(*in), in->newdir, 0);
}

static int op_rename2(struct share_request *r)
{
	const struct fuse_rename2_in *in = (const void *)r->args;

	return rename_names(r, sizeof(*in), in->newdir, in->flags);
}

/* ---- opening what a node stands for ---- */

int share_open_node(struct share_request *r, int flags, bool dir)
{
	int fd = share_pin(r->s, r->in.nodeid), file;
	char text[NUMBER];

	if (fd < 0)
		return fd;
	if (dir) {
		file = openat(r->s->proc, number(text, fd), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		file = file < 0 ? -errno : file;
	} else {
		file = open_regular(r->s, fd, flags);
	}
	share_unpin(r->s, r->in.nodeid);
	return file;
}

/* ---- the table ---- */

#define OP(opcode, type, flags, fn) [opcode] = {sizeof(type), flags, fn}
#define NONE                        char[0]

static const struct share_op ops[] = {
	OP(FUSE_INIT, char[offsetof(struct fuse_init_in, flags2)], SHARE_ALWAYS, op_init),
	OP(FUSE_DESTROY, NONE, 0, op_destroy),
	OP(FUSE_FORGET, struct fuse_forget_in, SHARE_SILENT, op_forget),
	OP(FUSE_BATCH_FORGET, struct fuse_batch_forget_in, SHARE_SILENT, op_batch_forget),
	OP(FUSE_INTERRUPT, NONE, SHARE_SILENT, op_nothing),
	OP(FUSE_LOOKUP, NONE, 0, op_lookup),
	OP(FUSE_GETATTR, struct fuse_getattr_in, 0, op_getattr),
	OP(FUSE_SETATTR, struct fuse_setattr_in, SHARE_WRITES, op_setattr),
	OP(FUSE_READLINK, NONE, 0, op_readlink),
	OP(FUSE_SYMLINK, NONE, SHARE_WRITES, op_symlink),
	OP(FUSE_MKNOD, struct fuse_mknod_in, SHARE_WRITES, op_mknod),
	OP(FUSE_MKDIR, struct fuse_mkdir_in, SHARE_WRITES, op_mkdir),
	OP(FUSE_UNLINK, NONE, SHARE_WRITES, op_unlink),
	OP(FUSE_RMDIR, NONE, SHARE_WRITES, op_rmdir),
	OP(FUSE_RENAME, struct fuse_rename_in, SHARE_WRITES, op_rename),
	OP(FUSE_RENAME2, struct fuse_rename2_in, SHARE_WRITES, op_rename2),
	OP(FUSE_LINK, struct fuse_link_in, SHARE_WRITES, op_link),
	OP(FUSE_STATFS, NONE, 0, op_statfs),
	OP(FUSE_ACCESS, struct fuse_access_in, 0, op_access),
	OP(FUSE_OPEN, struct fuse_open_in, 0, share_op_open),
	OP(FUSE_CREATE, struct fuse_create_in, SHARE_WRITES, share_op_create),
	OP(FUSE_READ, struct fuse_read_in, 0, share_op_read),
	OP(FUSE_WRITE, struct fuse_write_in, SHARE_WRITES, share_op_write),
	OP(FUSE_FLUSH, struct fuse_flush_in, 0, share_op_flush),
	OP(FUSE_RELEASE, struct fuse_release_in, 0, share_op_release),
	OP(FUSE_FSYNC, struct fuse_fsync_in, 0, share_op_fsync),
	OP(FUSE_SYNCFS, struct fuse_syncfs_in, 0, share_op_syncfs),
	OP(FUSE_OPENDIR, struct fuse_open_in, 0, share_op_opendir),
	OP(FUSE_READDIR, struct fuse_read_in, 0, share_op_readdir),
	OP(FUSE_READDIRPLUS, struct fuse_read_in, 0, share_op_readdirplus),
	OP(FUSE_RELEASEDIR, struct fuse_release_in, 0, share_op_releasedir),
	OP(FUSE_FSYNCDIR, struct fuse_fsync_in, 0, share_op_fsyncdir),
	OP(FUSE_FALLOCATE, struct fuse_fallocate_in, SHARE_WRITES, share_op_fallocate),
	OP(FUSE_LSEEK, struct fuse_lseek_in, 0, share_op_lseek),
	OP(FUSE_COPY_FILE_RANGE, struct fuse_copy_file_range_in, SHARE_WRITES, share_op_copy),
};

static const struct share_op *op_of(uint32_t opcode)
{
	return opcode < ARRAY_SIZE(ops) && ops[opcode].serve ? &ops[opcode] : NULL;
}

bool share_answered(uint32_t opcode)
{
	const struct share_op *op = op_of(opcode);

	return !op || !(op->flags & SHARE_SILENT);
}

int share_request(struct share_request *r)
{
	const struct share_op *op = op_of(r->in.opcode);

	r->out_len = 0;
	if (!op)
		return -ENOSYS;
	if (!(op->flags & SHARE_ALWAYS) && !atomic_load(&r->s->initialised))
		return -EIO;
	if (r->args_len < op->args)
		return -EINVAL;
	if (op->flags & SHARE_WRITES && r->s->options.ro)
		return -EROFS;
	return op->serve(r);
}
