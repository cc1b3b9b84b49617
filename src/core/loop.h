/*
 * loop.h - the machine process's event loop: descriptors and timers.
 *
 * Handlers run on the loop's thread with vm->lock held. loop_wake may be
 * called from any thread and from signal handlers.
 */
#ifndef TINAMOU_LOOP_H
#define TINAMOU_LOOP_H

#include <stdbool.h>
#include <stdint.h>

struct loop;
struct loop_fd;

struct loop *loop_new(void);
void loop_free(struct loop *l);

/* events: EPOLLIN, EPOLLOUT, ...; fn may remove itself. The fd stays the caller's. */
struct loop_fd *loop_add(
	struct loop *l, int fd, uint32_t events, void (*fn)(void *ctx, uint32_t events), void *ctx);
void loop_set_events(struct loop_fd *f, uint32_t events);
void loop_remove(struct loop_fd *f);

/*
 * Waits at most timeout_ns (UINT64_MAX: until woken), then calls the handlers
 * of ready descriptors with *lock held. Called without the lock, always by the same thread.
 */
void loop_poll(struct loop *l, uint64_t timeout_ns, void (*lock)(void *), void (*unlock)(void *),
	void *lock_ctx);
void loop_wake(struct loop *l);

/* The same, but not from signal handlers: the loop's own thread is awake as it is. */
void loop_nudge(struct loop *l);

#endif
