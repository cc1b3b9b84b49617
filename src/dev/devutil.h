/*
 * devutil.h - small things that several devices need.
 */
#ifndef TINAMOU_DEVUTIL_H
#define TINAMOU_DEVUTIL_H

#include "core/bus.h"
#include "core/clock.h"
#include "core/snapshot.h"

/* A window of ports or memory with handlers; the board sets base and maps it. */
static inline void region_init(
	struct bus_region *r, const char *name, uint64_t size, const struct bus_ops *ops, void *ctx)
{
	*r = (struct bus_region){
		.name = name,
		.size = size,
		.kind = BUS_IO,
		.prio = BUS_PRIO_FIXED,
		.ops = ops,
		.ctx = ctx,
	};
}

/* A time in the past or future, saved relative to the clock. */
static inline void snap_time(struct snap *s, const char *name, uint64_t *when, uint64_t now)
{
	int64_t delta = (int64_t)(*when - now);

	snap_i64(s, name, &delta);
	if (snap_loading(s))
		*when = now + (uint64_t)delta;
}

/* Nanoseconds until the timer is due, -1: not armed. Loading arms it. */
static inline void snap_timer(struct snap *s, const char *name, struct timer *t)
{
	uint64_t now = clock_now(t->clock);
	int64_t left = -1;

	if (timer_armed(t))
		left = t->deadline > now ? (int64_t)(t->deadline - now) : 0;
	snap_i64(s, name, &left);
	if (!snap_loading(s))
		return;
	if (left > (int64_t)(3600 * NSEC_PER_SEC))
		snap_fail(s, name, "deadline out of range");
	else if (left >= 0)
		timer_arm(t, now + (uint64_t)left);
	else
		timer_cancel(t);
}

#endif
