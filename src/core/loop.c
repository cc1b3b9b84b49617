/* loop.c - epoll and an eventfd; see loop.h. */
#include "core/loop.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "util/util.h"

struct loop_fd {
	struct loop *loop;
	int fd; /* -1: removed, freed after the round */
	void (*fn)(void *ctx, uint32_t events);
	void *ctx;
	struct loop_fd *next;
};

struct loop {
	int epoll, wake;
	struct loop_fd *fds;
	pthread_t thread; /* who polls: always the same, once polled is set */
	atomic_bool polled;
};

static void drain_wake(void *ctx, uint32_t events)
{
	struct loop *l = ctx;
	uint64_t n;

	while (read(l->wake, &n, sizeof(n)) < 0 && errno == EINTR)
		;
}

struct loop *loop_new(void)
{
	struct loop *l = xcalloc(1, sizeof(*l));

	l->epoll = epoll_create1(EPOLL_CLOEXEC);
	l->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (l->epoll < 0 || l->wake < 0 || !loop_add(l, l->wake, EPOLLIN, drain_wake, l)) {
		loop_free(l);
		return NULL;
	}
	return l;
}

void loop_free(struct loop *l)
{
	if (!l)
		return;
	while (l->fds) {
		struct loop_fd *f = l->fds;

		l->fds = f->next;
		free(f);
	}
	if (l->wake >= 0)
		close(l->wake);
	if (l->epoll >= 0)
		close(l->epoll);
	free(l);
}

struct loop_fd *loop_add(
	struct loop *l, int fd, uint32_t events, void (*fn)(void *ctx, uint32_t events), void *ctx)
{
	struct loop_fd *f = xcalloc(1, sizeof(*f));
	struct epoll_event ev = {.events = events, .data.ptr = f};

	*f = (struct loop_fd){.loop = l, .fd = fd, .fn = fn, .ctx = ctx};
	if (epoll_ctl(l->epoll, EPOLL_CTL_ADD, fd, &ev)) {
		free(f);
		return NULL;
	}
	f->next = l->fds;
	l->fds = f;
	return f;
}

void loop_set_events(struct loop_fd *f, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.ptr = f};

	epoll_ctl(f->loop->epoll, EPOLL_CTL_MOD, f->fd, &ev);
}

void loop_remove(struct loop_fd *f)
{
	epoll_ctl(f->loop->epoll, EPOLL_CTL_DEL, f->fd, NULL);
	f->fd = -1; /* events of this round may still name it */
}

static void sweep(struct loop *l)
{
	struct loop_fd **p = &l->fds;

	while (*p) {
		struct loop_fd *f = *p;

		if (f->fd >= 0) {
			p = &f->next;
			continue;
		}
		*p = f->next;
		free(f);
	}
}

void loop_poll(struct loop *l, uint64_t timeout_ns, void (*lock)(void *), void (*unlock)(void *),
	void *lock_ctx)
{
	struct epoll_event ev[16];
	struct timespec ts = {(time_t)(timeout_ns / 1000000000), (long)(timeout_ns % 1000000000)};
	struct pollfd ready = {.fd = l->epoll, .events = POLLIN};
	int n;

	if (!atomic_load(&l->polled)) {
		l->thread = pthread_self();
		atomic_store(&l->polled, true);
	}
	/* ppoll waits with nanoseconds, and is allowed in every container. */
	ppoll(&ready, 1, timeout_ns == UINT64_MAX ? NULL : &ts, NULL);
	lock(lock_ctx);
	n = epoll_wait(l->epoll, ev, ARRAY_SIZE(ev), 0);
	for (int i = 0; i < n; i++) {
		struct loop_fd *f = ev[i].data.ptr;

		if (f->fd >= 0)
			f->fn(f->ctx, ev[i].events);
	}
	sweep(l);
	unlock(lock_ctx);
}

void loop_wake(struct loop *l)
{
	uint64_t one = 1;
	ssize_t n = write(l->wake, &one, sizeof(one));

	(void)n; /* full means it is awake already */
}

void loop_nudge(struct loop *l)
{
	if (!atomic_load(&l->polled) || !pthread_equal(l->thread, pthread_self()))
		loop_wake(l);
}
