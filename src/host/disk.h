/*
 * disk.h - disk images: the door of the block layer.
 *
 * Two steps, so that the machine opens nothing by path: disk_files_open (front)
 * opens, probes and locks an image with its backing files; disk_new (machine)
 * makes a disk of the descriptors. Requests are served by a few threads a disk
 * and complete in the event loop. Under the instruction clock they are served
 * at once and complete after a fixed guest time, so that runs repeat.
 * Lock: disk_files_* none; everything else runs with vm->lock held.
 */
#ifndef TINAMOU_DISK_H
#define TINAMOU_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "core/clock.h"
#include "core/loop.h"

#define SECTOR_SIZE 512

struct disk_options {
	const char *path;
	const char *format; /* "raw", "qcow2"; NULL: probe */
	bool ro;
	bool throwaway; /* writes go to an unnamed file that ends with the machine */
};

#define DISK_MAX_FILES 32

/* One opened file. Plain data, so that it can be sent to another process. */
struct disk_file {
	int fd;
	char *name;         /* as given, or as the image above names it */
	const char *format; /* "raw" or "qcow2" */
	bool probed;        /* the format was not given */
	bool ro;
	bool scratch; /* unnamed: nothing in it outlives the machine */
};

/* An image, then what it is backed by, in order. Locks live with the descriptors. */
struct disk_files {
	int (*confine)(void); /* each thread of the disk calls it first; NULL: nothing */
	unsigned count;
	struct disk_file file[DISK_MAX_FILES];
};

/*
 * Opens an image and what it is backed by, and locks all of it: a second
 * writer, or a writer beside readers, is refused (QEMU's locks are honoured).
 * NULL on failure with the reason for the user in err. No thread is started,
 * so a fork may follow.
 */
struct disk_files *disk_files_open(const struct disk_options *o, char *err, size_t errlen);
void disk_files_free(struct disk_files *f); /* closes; NULL is fine */
/* Bytes of the disk that one file describes. 0, or -1 with the reason in err. */
int disk_file_size(const struct disk_file *f, uint64_t *size, char *err, size_t errlen);

struct disk;

/*
 * Takes over f, also on failure. NULL on failure with the reason in err. loop
 * and clock outlive the disk.
 */
struct disk *disk_new(
	struct disk_files *f, struct loop *loop, struct clock *clock, char *err, size_t errlen);
/* Serves what is queued, flushes, closes. Completions still due are not called. */
void disk_free(struct disk *d);

uint64_t disk_size(const struct disk *d); /* bytes, a multiple of SECTOR_SIZE */
bool disk_readonly(const struct disk *d);
const char *disk_name(const struct disk *d); /* path as given */
const char *disk_format(const struct disk *d);

enum disk_op {
	DISK_READ,
	DISK_WRITE,
	DISK_FLUSH,   /* all that completed before is on stable storage after */
	DISK_DISCARD, /* the content no longer matters */
	DISK_ZERO,    /* reads as zeroes after */
	DISK_OPS
};

/* The caller's; stays put from disk_submit until done, cancel or disk_free. */
struct disk_request {
	uint8_t op;           /* enum disk_op */
	bool fua;             /* writes: on stable storage when done */
	uint64_t offset, len; /* bytes, multiples of SECTOR_SIZE; FLUSH: unused */
	/* READ, WRITE: host memory of len bytes in all, borrowed until done. */
	const struct iovec *iov;
	unsigned iovcnt;
	/*
	 * In the event loop, vm->lock held. 0 or -errno: -EROFS, -EINVAL (beyond the
	 * end, misaligned), else the host's error, which has been logged once. The
	 * caller then tells the engine of guest memory that was written (READ).
	 */
	void (*done)(struct disk_request *r, int error);
	void *ctx;

	/* The disk's. */
	struct disk_request *next;
	int error;
	uint8_t state;
};

/* Any number may be in flight; served in any order, so overlaps are the caller's. Never calls done.
 */
void disk_submit(struct disk *d, struct disk_request *r);
/*
 * Serves a small read or write at once if the host's memory has it or takes it: true, and r is
 * done, without a call. false: it is as before, for disk_submit. Saves two changes of threads.
 */
bool disk_try(struct disk *d, struct disk_request *r);
/*
 * r's memory is not touched any more on return and done will not be called.
 * Waits if r is being served; a write may or may not have happened.
 */
void disk_cancel(struct disk *d, struct disk_request *r);
/* Waits until nothing is in flight, calling done; for pause and snapshot. */
void disk_drain(struct disk *d);

struct disk_stats {
	uint64_t requests[DISK_OPS], bytes[DISK_OPS], errors[DISK_OPS];
};
void disk_get_stats(const struct disk *d, struct disk_stats *s);

/*
 * Makes an image; an existing file is refused. size 0 with backing: the
 * backing's. backing, if not NULL, comes with its format. 0, or -1 with the reason
 * in err.
 */
struct disk_create {
	const char *path, *format;
	uint64_t size; /* rounded up to SECTOR_SIZE */
	const char *backing, *backing_format;
};
int disk_create(const struct disk_create *c, char *err, size_t errlen);

#endif
