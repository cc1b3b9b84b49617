/*
 * disk_files.c - from a path to opened, probed and locked files.
 *
 * Locks are open-file-description locks on single bytes of the image, in the
 * layout that QEMU uses, so that either program sees the other: byte 100 + n
 * says "I use permission n", byte 200 + n says "nobody else may". They live as
 * long as any copy of the descriptor does.
 * A format that is not given is guessed by the magic number. What a guess may
 * lead to is bounded: see open_backing, and raw.c.
 * Lock: none.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/image.h"
#include "host/qcow2.h"
#include "util/util.h"

enum { PERM_READ = 0, PERM_WRITE = 1, PERM_RESIZE = 3, PERM_COUNT = 4 };
enum { LOCK_USED = 100, LOCK_DENIED = 200 };

static const char *const format_names[] = {"raw", "qcow2"};

static int fail(char *err, size_t errlen, const char *name, const char *what)
{
	return fail_line(err, errlen, "%s: %s", name, what);
}

/* ---- locks ---- */

static int lock_byte(int fd, int cmd, short type, off_t at)
{
	struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = at, .l_len = 1};
	int error;

	do
		error = fcntl(fd, cmd, &lock) ? -errno : 0;
	while (error == -EINTR);
	if (error || cmd != F_OFD_GETLK)
		return error;
	return lock.l_type == F_UNLCK ? 0 : -EAGAIN;
}

/* Claims first, then looks: two that start together may both lose, never both win. */
static int lock_file(const struct disk_file *f)
{
	unsigned used = BIT(PERM_READ), denied = BIT(PERM_WRITE) | BIT(PERM_RESIZE);
	int error = 0;

	if (!f->ro)
		used |= BIT(PERM_WRITE) | BIT(PERM_RESIZE);
	for (int i = 0; i < PERM_COUNT && !error; i++) {
		if (used & BIT(i))
			error = lock_byte(f->fd, F_OFD_SETLK, F_RDLCK, LOCK_USED + i);
		if (!error && (denied & BIT(i)))
			error = lock_byte(f->fd, F_OFD_SETLK, F_RDLCK, LOCK_DENIED + i);
	}
	for (int i = 0; i < PERM_COUNT && !error; i++) {
		if (used & BIT(i))
			error = lock_byte(f->fd, F_OFD_GETLK, F_WRLCK, LOCK_DENIED + i);
		if (!error && (denied & BIT(i)))
			error = lock_byte(f->fd, F_OFD_GETLK, F_WRLCK, LOCK_USED + i);
	}
	return error;
}

static int take_lock(const struct disk_file *f, char *err, size_t errlen)
{
	int error = lock_file(f);

	if (error == -EAGAIN || error == -EACCES)
		return fail(err, errlen, f->name,
			f->ro ? "another program writes to this image"
			      : "another program uses this image; ro or throwaway may do, if it "
				"only reads");
	if (error)
		log_warn("disk %s: cannot be locked (%s); nothing stops a second writer", f->name,
			strerror(-error));
	return 0;
}

/* ---- opening ---- */

static const char *format_constant(const char *name)
{
	for (unsigned i = 0; i < ARRAY_SIZE(format_names); i++)
		if (!strcmp(format_names[i], name))
			return format_names[i];
	return NULL;
}

/* format NULL: by the magic number. */
static int choose_format(struct disk_file *f, const char *format, char *err, size_t errlen)
{
	uint8_t head[SECTOR_SIZE];
	ssize_t n;

	if (format) {
		f->format = format_constant(format);
		return f->format ? 0 : fail(err, errlen, f->name, "the format is raw or qcow2");
	}
	n = pread(f->fd, head, sizeof(head), 0);
	if (n < 0)
		return fail(err, errlen, f->name, strerror(errno));
	f->format = format_constant(format_probe(head, (size_t)n));
	f->probed = true;
	return 0;
}

/* O_NONBLOCK: a named pipe must not make us wait. */
static int open_image_file(struct disk_file *f, const char *path, char *err, size_t errlen)
{
	struct stat st;

	f->fd = open(path, (f->ro ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK);
	if (f->fd < 0 && !f->ro && (errno == EACCES || errno == EROFS || errno == EPERM))
		return fail(err, errlen, path, "cannot be written; add ro or throwaway");
	if (f->fd < 0 || fstat(f->fd, &st))
		return fail(err, errlen, path, strerror(errno));
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return fail(err, errlen, path, "neither a file nor a block device");
	return 0;
}

static bool opened_before(const struct disk_files *f)
{
	struct stat a, b;

	if (fstat(f->file[f->count - 1].fd, &a))
		return false;
	for (unsigned i = 0; i + 1 < f->count; i++)
		if (!fstat(f->file[i].fd, &b) && a.st_dev == b.st_dev && a.st_ino == b.st_ino)
			return true;
	return false;
}

static int add_file(struct disk_files *files, const char *path, const char *format, bool ro,
	char *err, size_t errlen)
{
	struct disk_file *f = &files->file[files->count];

	if (files->count == DISK_MAX_FILES)
		return fail(err, errlen, path, "the chain of backing files is too long");
	*f = (struct disk_file){.fd = -1, .name = xstrdup(path), .ro = ro};
	files->count++;
	if (open_image_file(f, path, err, errlen) || choose_format(f, format, err, errlen))
		return -1;
	if (opened_before(files))
		return fail(err, errlen, path, "the chain of backing files is a loop");
	return take_lock(f, err, errlen);
}

/* A relative name is relative to the folder of the image that holds it. */
static char *beside(const char *image, const char *name)
{
	const char *slash = strrchr(image, '/');

	if (name[0] == '/' || !slash)
		return xstrdup(name);
	return xasprintf("%.*s/%s", (int)(slash - image), image, name);
}

/*
 * A backing file whose format the header does not tell is guessed, as in old
 * images. But a guest that once had it as its raw disk may have written that
 * header: so a guessed qcow2 may not lead on to further files. 1: there is none.
 */
static int open_backing(struct disk_files *files, char *err, size_t errlen)
{
	const struct disk_file *top = &files->file[files->count - 1];
	struct qcow2_names names;
	char *path;
	int error;

	if (strcmp(top->format, "qcow2"))
		return 1;
	if (qcow2_read_names(top->fd, top->name, &names, err, errlen))
		return -1;
	if (!names.backing[0])
		return 1;
	if (files->count > 1 && top->probed)
		return fail(err, errlen, top->name,
			"names a backing file, but that it is a qcow2 was only guessed; "
			"qemu-img rebase -u -F qcow2 on the image above tells it");
	path = beside(top->name, names.backing);
	error = add_file(files, path, names.format[0] ? names.format : NULL, true, err, errlen);
	free(path);
	return error;
}

int disk_file_size(const struct disk_file *f, uint64_t *size, char *err, size_t errlen)
{
	int error;

	if (!strcmp(f->format, "qcow2"))
		return qcow2_read_size(f->fd, f->name, size, err, errlen);
	error = fd_size(f->fd, size);
	return error ? fail(err, errlen, f->name, strerror(-error)) : 0;
}

/* ---- throwaway ---- */

/* A file without a name, that is gone with its last descriptor. */
static int unnamed_file(const char *folder)
{
	char *path = xasprintf("%s/tinamou-XXXXXX", folder);
	int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd < 0) {
		fd = mkostemp(path, O_CLOEXEC);
		if (fd >= 0)
			unlink(path);
	}
	free(path);
	return fd;
}

/* The image becomes what a new, empty qcow2 on an unnamed file is backed by. */
static int add_scratch(struct disk_files *files, char *err, size_t errlen)
{
	const char *folder = getenv("TMPDIR");
	struct qcow2_names none = {"", ""};
	struct disk_file *f = files->file;
	uint64_t size;
	int error;

	if (files->count == DISK_MAX_FILES)
		return fail(err, errlen, f->name, "the chain of backing files is too long");
	if (disk_file_size(f, &size, err, errlen))
		return -1;
	memmove(f + 1, f, files->count * sizeof(*f));
	*f = (struct disk_file){.fd = unnamed_file(folder && *folder ? folder : "/var/tmp"),
		.name = xstrdup(f[1].name),
		.format = format_constant("qcow2"),
		.scratch = true};
	files->count++;
	error = f->fd < 0 ? -errno : qcow2_format(f->fd, size, &none);
	if (error)
		snprintf(err, errlen, "%s: throwaway: the file for what is written: %s", f->name,
			strerror(-error));
	return error ? -1 : 1;
}

/* ---- the door ---- */

void disk_files_free(struct disk_files *f)
{
	if (!f)
		return;
	for (unsigned i = 0; i < f->count; i++) {
		if (f->file[i].fd >= 0)
			close(f->file[i].fd);
		free(f->file[i].name);
	}
	free(f);
}

struct disk_files *disk_files_open(const struct disk_options *o, char *err, size_t errlen)
{
	struct disk_files *files = xcalloc(1, sizeof(*files));
	int error = add_file(files, o->path, o->format, o->ro || o->throwaway, err, errlen);

	while (!error)
		error = open_backing(files, err, errlen);
	if (error > 0 && o->throwaway)
		error = add_scratch(files, err, errlen);
	if (error >= 0)
		return files;
	disk_files_free(files);
	return NULL;
}

/* ---- new images ---- */

/* The size and the names of a new image with a backing file. */
static int follow_backing(const struct disk_create *c, struct qcow2_names *names, uint64_t *size,
	char *err, size_t errlen)
{
	char *path = beside(c->path, c->backing);
	struct disk_options o = {.path = path, .format = c->backing_format, .ro = true};
	struct disk_files *f = NULL;
	int error = -1;

	if (strlen(c->backing) > QCOW2_MAX_NAME || !c->backing_format)
		fail(err, errlen, c->backing,
			"a backing file needs its format, and a name of at most 1023 bytes");
	else
		f = disk_files_open(&o, err, errlen);
	if (f)
		error = *size ? 0 : disk_file_size(f->file, size, err, errlen);
	disk_files_free(f);
	free(path);
	if (!error) {
		strcpy(names->backing, c->backing);
		strcpy(names->format, c->backing_format);
	}
	return error;
}

static int write_new(const struct disk_create *c, const struct qcow2_names *names, uint64_t size)
{
	int fd = open(c->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	int error;

	if (fd < 0)
		return -errno;
	if (!strcmp(c->format, "qcow2"))
		error = qcow2_format(fd, size, names);
	else
		error = ftruncate(fd, (off_t)size) ? -errno : 0;
	if (close(fd) && !error)
		error = -errno;
	if (error)
		unlink(c->path);
	return error;
}

int disk_create(const struct disk_create *c, char *err, size_t errlen)
{
	struct qcow2_names names = {"", ""};
	uint64_t size = c->size;
	int error;

	if (!format_constant(c->format))
		return fail(err, errlen, c->path, "the format is raw or qcow2");
	if (c->backing && strcmp(c->format, "qcow2"))
		return fail(err, errlen, c->path, "only a qcow2 can have a backing file");
	if (c->backing && follow_backing(c, &names, &size, err, errlen))
		return -1;
	if (size > INT64_MAX - SECTOR_SIZE)
		return fail(err, errlen, c->path, "too large");
	size = (size + SECTOR_SIZE - 1) & ~(uint64_t)(SECTOR_SIZE - 1);
	error = write_new(c, &names, size);
	return error ? fail(err, errlen, c->path, strerror(-error)) : 0;
}
