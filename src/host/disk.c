/*
 * disk.c - requests, the threads that serve them, and their completions.
 *
 * A disk has a few threads and two lists: what waits for a thread, and what is
 * done and waits for the event loop, which an eventfd wakes. An idle disk is
 * flushed after a second, so that what a guest wrote and never flushed does not
 * stay in our caches. Under the instruction clock there is no thread: a request
 * is served when it is submitted and completes LATENCY_NS of guest time later.
 * Lock: the door's functions with vm->lock; d->lock, inside it, covers lists
 * and states; images are called without either.
 */
#include "host/disk.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "host/image.h"
#include "util/util.h"

#define TRY_MAX    32768u /* bytes that are moved with vm->lock held */
#define THREADS    4
#define IDLE_NS    NSEC_PER_SEC
#define LATENCY_NS 100000

enum { REQUEST_QUEUED, REQUEST_RUNNING, REQUEST_DONE };

struct list {
	struct disk_request *first, **last;
};

struct disk {
	int (*confine)(void);
	struct image *image;
	struct loop_fd *watch;
	int event; /* eventfd: `done` is not empty */
	bool inline_only;
	bool no_try_write;  /* the host's file system cannot tell whether it would wait */
	struct timer timer; /* instruction clock: completions */

	pthread_mutex_t lock;
	pthread_cond_t work, served;
	struct list queue, done;
	unsigned running;
	bool stopping, dirty;
	pthread_t thread[THREADS];
	unsigned threads;

	bool said[DISK_OPS]; /* a failure of this kind was logged */
	struct disk_stats stats;
};

/* ---- lists ---- */

static void list_init(struct list *l)
{
	l->first = NULL;
	l->last = &l->first;
}

static void list_add(struct list *l, struct disk_request *r)
{
	r->next = NULL;
	*l->last = r;
	l->last = &r->next;
}

static bool list_remove(struct list *l, struct disk_request *r)
{
	for (struct disk_request **p = &l->first; *p; p = &(*p)->next) {
		if (*p != r)
			continue;
		*p = r->next;
		if (l->last == &r->next)
			l->last = p;
		return true;
	}
	return false;
}

static struct disk_request *list_take(struct list *l)
{
	struct disk_request *r = l->first;

	if (r)
		list_remove(l, r);
	return r;
}

/* ---- serving ---- */

static const char *const op_name[DISK_OPS] = {"read", "write", "flush", "discard", "zero"};

/* The first failure of each kind; the guest sees every one. */
static void say_once(struct disk *d, const struct disk_request *r, int error)
{
	bool said;

	if (r->op >= DISK_OPS)
		return;
	pthread_mutex_lock(&d->lock);
	said = d->said[r->op];
	d->said[r->op] = true;
	d->stats.errors[r->op]++;
	pthread_mutex_unlock(&d->lock);
	if (said || error == -EROFS || error == -EINVAL)
		return;
	if (error == -EPERM && r->op == DISK_WRITE)
		log_warn("disk %s: the guest wrote the header of an image format to the first "
			 "sector; refused, since the next start would take it for one. "
			 "format=raw allows it",
			d->image->name);
	else
		log_error("disk %s: %s at %" PRIu64 " failed: %s; the guest gets an I/O error",
			d->image->name, op_name[r->op], r->offset, strerror(-error));
}

static int flush_image(struct disk *d)
{
	pthread_mutex_lock(&d->lock);
	d->dirty = false;
	pthread_mutex_unlock(&d->lock);
	return d->image->ro ? 0 : d->image->ops->flush(d->image);
}

static int check(const struct disk *d, const struct disk_request *r)
{
	uint64_t bytes = 0;

	if (r->op >= DISK_OPS)
		return -EINVAL;
	if (r->op == DISK_FLUSH)
		return 0;
	if (r->op != DISK_READ && d->image->ro)
		return -EROFS;
	if ((r->offset | r->len) % SECTOR_SIZE || !range_in(r->offset, r->len, d->image->size))
		return -EINVAL;
	if (r->op > DISK_WRITE)
		return 0;
	for (unsigned i = 0; i < r->iovcnt; i++)
		bytes += r->iov[i].iov_len;
	return bytes == r->len ? 0 : -EINVAL;
}

static int execute(struct disk *d, struct disk_request *r)
{
	struct image *im = d->image;
	struct span s = {r->iov, r->iovcnt, 0, r->len};
	int error;

	if (r->op == DISK_FLUSH)
		return flush_image(d);
	if (!r->len)
		return 0;
	switch (r->op) {
	case DISK_READ:
		return im->ops->read(im, r->offset, &s);
	case DISK_WRITE:
		error = im->ops->write(im, r->offset, &s);
		return error || !r->fua ? error : flush_image(d);
	case DISK_DISCARD:
		return im->ops->discard(im, r->offset, r->len);
	default:
		return im->ops->zero(im, r->offset, r->len);
	}
}

static void serve(struct disk *d, struct disk_request *r)
{
	int error = check(d, r);

	if (!error)
		error = execute(d, r);
	if (error)
		say_once(d, r, error);
	r->error = error;
}

/* d->lock held. */
static void finish(struct disk *d, struct disk_request *r)
{
	uint64_t one = 1;
	ssize_t n;

	r->state = REQUEST_DONE;
	list_add(&d->done, r);
	if (r->op == DISK_WRITE || r->op == DISK_DISCARD || r->op == DISK_ZERO)
		d->dirty = true;
	n = write(d->event, &one, sizeof(one));
	(void)n; /* full means it is awake already */
}

static void idle_wait(struct disk *d)
{
	struct timespec ts;

	if (!d->dirty) {
		pthread_cond_wait(&d->work, &d->lock);
		return;
	}
	clock_gettime(CLOCK_MONOTONIC, &ts);
	ts.tv_sec += IDLE_NS / NSEC_PER_SEC;
	if (pthread_cond_timedwait(&d->work, &d->lock, &ts) != ETIMEDOUT)
		return;
	if (!d->dirty || d->queue.first || d->running)
		return;
	pthread_mutex_unlock(&d->lock);
	if (flush_image(d))
		log_debug("disk %s: flush while idle failed", d->image->name);
	pthread_mutex_lock(&d->lock);
}

static void *disk_thread(void *arg)
{
	struct disk *d = arg;
	struct disk_request *r;

	if (d->confine && d->confine())
		return NULL;
	pthread_mutex_lock(&d->lock);
	while (!d->stopping || d->queue.first) {
		r = list_take(&d->queue);
		if (!r) {
			idle_wait(d);
			continue;
		}
		r->state = REQUEST_RUNNING;
		d->running++;
		pthread_mutex_unlock(&d->lock);
		serve(d, r);
		pthread_mutex_lock(&d->lock);
		d->running--;
		finish(d, r);
		pthread_cond_broadcast(&d->served);
	}
	pthread_mutex_unlock(&d->lock);
	return NULL;
}

/* ---- completions: vm->lock held ---- */

static void complete_all(struct disk *d)
{
	struct disk_request *r;

	for (;;) {
		pthread_mutex_lock(&d->lock);
		r = list_take(&d->done);
		pthread_mutex_unlock(&d->lock);
		if (!r)
			return;
		r->done(r, r->error);
	}
}

static void done_event(void *ctx, uint32_t events)
{
	struct disk *d = ctx;
	uint64_t n;

	while (read(d->event, &n, sizeof(n)) < 0 && errno == EINTR)
		;
	complete_all(d);
}

static void timer_due(void *ctx)
{
	complete_all(ctx);
}

/* ---- the door ---- */

/* d->lock held. */
static void count(struct disk *d, const struct disk_request *r)
{
	if (r->op >= DISK_OPS)
		return;
	d->stats.requests[r->op]++;
	d->stats.bytes[r->op] += r->op == DISK_FLUSH ? 0 : r->len;
}

/* A disk that was clean has to be flushed when it is idle: a thread looks at the time now. */
static void count_tried(struct disk *d, const struct disk_request *r)
{
	pthread_mutex_lock(&d->lock);
	count(d, r);
	if (r->op == DISK_WRITE && !d->dirty) {
		d->dirty = true;
		pthread_cond_signal(&d->work);
	}
	pthread_mutex_unlock(&d->lock);
}

bool disk_try(struct disk *d, struct disk_request *r)
{
	struct image *im = d->image;
	const struct span s = {r->iov, r->iovcnt, 0, r->len};
	bool write = r->op == DISK_WRITE;
	int error = -EAGAIN;

	if (d->inline_only || !r->len || r->len > TRY_MAX || r->fua || check(d, r))
		return false;
	if (r->op == DISK_READ && im->ops->try_read)
		error = im->ops->try_read(im, r->offset, &s);
	else if (write && im->ops->try_write && !d->no_try_write)
		error = im->ops->try_write(im, r->offset, &s);
	if (write && error == -EOPNOTSUPP)
		d->no_try_write = true;
	if (!error)
		count_tried(d, r);
	return !error;
}

void disk_submit(struct disk *d, struct disk_request *r)
{
	pthread_mutex_lock(&d->lock);
	count(d, r);
	r->state = REQUEST_QUEUED;
	if (!d->inline_only) {
		list_add(&d->queue, r);
		pthread_cond_signal(&d->work);
	}
	pthread_mutex_unlock(&d->lock);
	if (!d->inline_only)
		return;
	serve(d, r);
	pthread_mutex_lock(&d->lock);
	r->state = REQUEST_DONE;
	list_add(&d->done, r);
	pthread_mutex_unlock(&d->lock);
	if (!timer_armed(&d->timer))
		timer_arm(&d->timer, clock_now(d->timer.clock) + LATENCY_NS);
}

void disk_cancel(struct disk *d, struct disk_request *r)
{
	pthread_mutex_lock(&d->lock);
	while (r->state == REQUEST_RUNNING)
		pthread_cond_wait(&d->served, &d->lock);
	if (!list_remove(&d->queue, r))
		list_remove(&d->done, r);
	pthread_mutex_unlock(&d->lock);
}

void disk_drain(struct disk *d)
{
	bool busy = true;

	while (busy) {
		pthread_mutex_lock(&d->lock);
		while (d->queue.first || d->running)
			pthread_cond_wait(&d->served, &d->lock);
		pthread_mutex_unlock(&d->lock);
		complete_all(d);
		pthread_mutex_lock(&d->lock);
		busy = d->queue.first || d->running || d->done.first;
		pthread_mutex_unlock(&d->lock);
	}
}

uint64_t disk_size(const struct disk *d)
{
	return d->image->size;
}

bool disk_readonly(const struct disk *d)
{
	return d->image->ro;
}

const char *disk_name(const struct disk *d)
{
	return d->image->name;
}

const char *disk_format(const struct disk *d)
{
	return d->image->ops->name;
}

void disk_get_stats(const struct disk *d, struct disk_stats *s)
{
	struct disk *m = (struct disk *)d;

	pthread_mutex_lock(&m->lock);
	*s = d->stats;
	pthread_mutex_unlock(&m->lock);
}

/* ---- life ---- */

/* Signals are for the vCPU threads and the event loop. */
static int start_threads(struct disk *d)
{
	sigset_t all, old;
	int error = 0;

	if (d->inline_only)
		return 0;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	while (d->threads < THREADS && !error) {
		error = pthread_create(&d->thread[d->threads], NULL, disk_thread, d);
		d->threads += !error;
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return d->threads ? 0 : -error;
}

static void stop_threads(struct disk *d)
{
	pthread_mutex_lock(&d->lock);
	d->stopping = true;
	pthread_cond_broadcast(&d->work);
	pthread_mutex_unlock(&d->lock);
	for (unsigned i = 0; i < d->threads; i++)
		pthread_join(d->thread[i], NULL);
}

void disk_free(struct disk *d)
{
	struct disk_request last = {.op = DISK_FLUSH};

	if (!d)
		return;
	stop_threads(d);
	timer_cancel(&d->timer);
	serve(d, &last);
	if (d->watch)
		loop_remove(d->watch);
	if (d->event >= 0)
		close(d->event);
	d->image->ops->close(d->image);
	pthread_cond_destroy(&d->work);
	pthread_cond_destroy(&d->served);
	pthread_mutex_destroy(&d->lock);
	free(d);
}

static void init_conditions(struct disk *d)
{
	pthread_condattr_t attr;

	pthread_mutex_init(&d->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&d->work, &attr);
	pthread_cond_init(&d->served, &attr);
	pthread_condattr_destroy(&attr);
}

struct disk *disk_new(
	struct disk_files *f, struct loop *loop, struct clock *clock, char *err, size_t errlen)
{
	struct image *image = image_open(f, err, errlen);
	int (*confine)(void) = f->confine;
	struct disk *d;
	int error;

	disk_files_free(f);
	if (!image)
		return NULL;
	d = xcalloc(1, sizeof(*d));
	d->image = image;
	d->confine = confine;
	d->inline_only = clock->driver == CLOCK_INSTRUCTIONS;
	init_conditions(d);
	list_init(&d->queue);
	list_init(&d->done);
	timer_init(&d->timer, clock, timer_due, d);
	d->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (d->event >= 0)
		d->watch = loop_add(loop, d->event, EPOLLIN, done_event, d);
	error = d->watch ? start_threads(d) : -errno;
	if (!error)
		return d;
	snprintf(err, errlen, "%s: %s", image->name, strerror(-error));
	disk_free(d);
	return NULL;
}
