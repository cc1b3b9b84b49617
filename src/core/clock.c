/* clock.c - the virtual clock and its timers; see clock.h. */
#include "core/clock.h"

#include <stddef.h>

#include "util/util.h"

void clock_init(struct clock *c, enum clock_driver driver)
{
	*c = (struct clock){.driver = driver};
}

uint64_t clock_now(const struct clock *c)
{
	if (c->driver == CLOCK_INSTRUCTIONS)
		return atomic_load_explicit(&c->now_insn, memory_order_relaxed);
	/* A reader that races with stop or go sees the time of one side of it: both are true. */
	if (atomic_load_explicit(&c->running, memory_order_acquire))
		return monotonic_ns() - atomic_load_explicit(&c->offset, memory_order_relaxed);
	return atomic_load_explicit(&c->frozen, memory_order_relaxed);
}

void clock_stop(struct clock *c)
{
	if (!atomic_load(&c->running))
		return;
	atomic_store(&c->frozen, monotonic_ns() - atomic_load(&c->offset));
	atomic_store_explicit(&c->running, false, memory_order_release);
}

void clock_go(struct clock *c)
{
	if (atomic_load(&c->running))
		return;
	atomic_store(&c->offset, monotonic_ns() - atomic_load(&c->frozen));
	atomic_store_explicit(&c->running, true, memory_order_release);
}

void clock_advance(struct clock *c, uint64_t ns)
{
	atomic_fetch_add_explicit(&c->now_insn, ns, memory_order_relaxed);
}

void clock_set(struct clock *c, uint64_t ns)
{
	atomic_store(&c->now_insn, ns);
	atomic_store(&c->frozen, ns);
}

void timer_init(struct timer *t, struct clock *c, void (*fn)(void *ctx), void *ctx)
{
	*t = (struct timer){.clock = c, .fn = fn, .ctx = ctx, .deadline = CLOCK_NEVER};
}

static void unlink_timer(struct timer *t)
{
	struct timer **p = &t->clock->first;

	while (*p && *p != t)
		p = &(*p)->next;
	if (*p)
		*p = t->next;
	t->next = NULL;
	t->deadline = CLOCK_NEVER;
}

void timer_arm(struct timer *t, uint64_t deadline)
{
	struct timer **p = &t->clock->first;

	unlink_timer(t);
	if (deadline == CLOCK_NEVER)
		return;
	while (*p && (*p)->deadline <= deadline)
		p = &(*p)->next;
	t->deadline = deadline;
	t->next = *p;
	*p = t;
	if (t->clock->first == t && t->clock->rearmed)
		t->clock->rearmed(t->clock->rearmed_ctx);
}

void timer_cancel(struct timer *t)
{
	unlink_timer(t);
}

uint64_t clock_next_deadline(const struct clock *c)
{
	return c->first ? c->first->deadline : CLOCK_NEVER;
}

void clock_run_timers(struct clock *c)
{
	uint64_t now = clock_now(c);

	/* `now` is read once: a timer that re-arms itself in the past cannot hold the loop. */
	while (c->first && c->first->deadline <= now) {
		struct timer *t = c->first;

		c->first = t->next;
		t->next = NULL;
		t->deadline = CLOCK_NEVER;
		t->fn(t->ctx);
		if (t->deadline <= now)
			break;
	}
}
