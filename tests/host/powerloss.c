/*
 * powerloss.c - beside diskio.c: a host that loses power.
 *
 * Stands in for the C library's writes. POWERLOSS names a copy of the image,
 * POWERLOSS_AT the operation at which power fails, if negative the sync. What was synced is on the
 * copy; of what was written since, each sector is there or not, by chance. The
 * program then ends at once, and test_qcow2.py judges the copy.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define SECTOR 512

struct pending {
	off_t off;
	size_t len;
	uint8_t *data; /* NULL: a hole */
	struct pending *next;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct pending *first, **last = &first;
static long operations;
static int copy = -1;

static void put(off_t off, size_t len, const uint8_t *data)
{
	static const uint8_t zero[SECTOR];

	for (size_t at = 0; !data && at < len; at += SECTOR)
		put(off + (off_t)at, len - at < SECTOR ? len - at : SECTOR, zero);
	if (data && pwrite(copy, data, len, off) != (ssize_t)len)
		abort();
}

/* Sectors of a write reach the disk or not. */
static void put_some(const struct pending *p)
{
	for (size_t at = 0; at < p->len; at += SECTOR)
		if (rand() & 1)
			put(p->off + (off_t)at, p->len - at < SECTOR ? p->len - at : SECTOR,
				p->data ? p->data + at : NULL);
}

static void operation(bool sync)
{
	long at = atol(getenv("POWERLOSS_AT"));

	operations += at > 0 || sync;
	if (operations < labs(at))
		return;
	for (struct pending *p = first; p; p = p->next)
		put_some(p);
	_exit(9);
}

static void remember(off_t off, size_t len, uint8_t *data)
{
	struct pending *p = calloc(1, sizeof(*p));

	*p = (struct pending){off, len, data, NULL};
	*last = p;
	last = &p->next;
}

static void open_copy(void)
{
	if (copy < 0)
		copy = open(getenv("POWERLOSS"), O_RDWR | O_CLOEXEC);
	if (copy < 0)
		abort();
}

ssize_t pwritev(int fd, const struct iovec *iov, int count, off_t off)
{
	ssize_t (*real)(int, const struct iovec *, int, off_t) = dlsym(RTLD_NEXT, "pwritev");
	size_t len = 0, at = 0;
	uint8_t *data;
	ssize_t n;

	for (int i = 0; i < count; i++)
		len += iov[i].iov_len;
	data = malloc(len);
	for (int i = 0; i < count; at += iov[i++].iov_len)
		memcpy(data + at, iov[i].iov_base, iov[i].iov_len);
	pthread_mutex_lock(&lock);
	open_copy();
	n = real(fd, iov, count, off);
	if (n != (ssize_t)len)
		abort();
	remember(off, len, data);
	operation(false);
	pthread_mutex_unlock(&lock);
	return n;
}

int fallocate(int fd, int mode, off_t off, off_t len)
{
	int (*real)(int, int, off_t, off_t) = dlsym(RTLD_NEXT, "fallocate");
	int result;

	pthread_mutex_lock(&lock);
	open_copy();
	result = real(fd, mode, off, len);
	if (!result)
		remember(off, (size_t)len, NULL);
	operation(false);
	pthread_mutex_unlock(&lock);
	return result;
}

/* What was written before is stable; what is written meanwhile waits for the lock. */
int fdatasync(int fd)
{
	pthread_mutex_lock(&lock);
	open_copy();
	operation(true);
	while (first) {
		struct pending *p = first;

		put(p->off, p->len, p->data);
		first = p->next;
		free(p->data);
		free(p);
	}
	last = &first;
	pthread_mutex_unlock(&lock);
	return 0;
}
