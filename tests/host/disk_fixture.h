/* disk_fixture.h - a disk, a loop and a clock without a machine; requests that wait. */
#ifndef DISK_FIXTURE_H
#define DISK_FIXTURE_H

#include "../core/test.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/disk.h"
#include "util/util.h"

struct rig {
	struct loop *loop;
	struct clock clock;
	struct disk *disk;
	char err[512];
	unsigned completed;
	int last_error;
};

static inline void rig_lock(void *ctx)
{
}

static inline bool rig_open_as(
	struct rig *r, const struct disk_options *o, enum clock_driver driver)
{
	struct disk_files *f;

	*r = (struct rig){.loop = loop_new()};
	clock_init(&r->clock, driver);
	f = disk_files_open(o, r->err, sizeof(r->err));
	if (f)
		r->disk = disk_new(f, r->loop, &r->clock, r->err, sizeof(r->err));
	if (!r->disk)
		loop_free(r->loop);
	return r->disk != NULL;
}

static inline bool rig_open(struct rig *r, const char *path, const char *format)
{
	return rig_open_as(r, &(struct disk_options){.path = path, .format = format}, CLOCK_HOST);
}

static inline void rig_close(struct rig *r)
{
	disk_free(r->disk);
	loop_free(r->loop);
}

static inline void rig_done(struct disk_request *req, int error)
{
	struct rig *r = req->ctx;

	r->completed++;
	r->last_error = error;
}

/* Polls the loop until n requests completed. */
static inline void rig_wait(struct rig *r, unsigned n)
{
	while (r->completed < n)
		loop_poll(r->loop, NSEC_PER_SEC, rig_lock, rig_lock, NULL);
}

/* One request, waited for; the error it completed with. */
static inline int rig_do(struct rig *r, enum disk_op op, uint64_t off, void *buf, uint64_t len)
{
	struct iovec iov = {buf, len};
	struct disk_request req = {.op = op,
		.offset = off,
		.len = len,
		.iov = &iov,
		.iovcnt = 1,
		.done = rig_done,
		.ctx = r};

	disk_submit(r->disk, &req);
	rig_wait(r, r->completed + 1);
	return r->last_error;
}

/* A path in the test's own folder; the caller frees it. */
static inline char *rig_path(const char *dir, const char *name)
{
	return xasprintf("%s/%s", dir, name);
}

static inline void write_file(const char *path, const void *data, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, len), len);
	close(fd);
}

/* A sparse file of size bytes. */
static inline void sparse_file(const char *path, uint64_t size)
{
	write_file(path, "", 0);
	assert_int_equal(truncate(path, (off_t)size), 0);
}

#endif
