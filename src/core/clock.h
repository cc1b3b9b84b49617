/*
 * clock.h - the machine's one virtual clock, in nanoseconds since power-on.
 *
 * Two drivers: host time (CLOCK_MONOTONIC less the time spent paused), or
 * instructions executed times ns_per_insn. No device reads host time.
 * Where the host tells its own time by a TSC that never varies, so do we, so that
 * translated code can: by a line through two readings of both, bent every 0.1 s so that
 * it meets CLOCK_MONOTONIC 0.1 s later. It has no steps backward.
 * clock_now takes no lock; everything else runs with vm->lock held.
 */
#ifndef TINAMOU_CLOCK_H
#define TINAMOU_CLOCK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "util/util.h"

#define CLOCK_NEVER UINT64_MAX

enum clock_driver { CLOCK_HOST, CLOCK_INSTRUCTIONS };

struct timer;

#define CLOCK_NO_LINE 1u /* of clock_line.seq */

/* ns + ((tsc - .tsc) * mult >> 32), for readers that find the same even seq before and after. */
struct clock_line {
	_Atomic uint32_t seq; /* odd: it changes; CLOCK_NO_LINE: there is none */
	_Atomic uint64_t tsc, ns, mult;
};

struct clock {
	enum clock_driver driver;
	_Atomic bool running;
	_Atomic uint64_t offset; /* host: now = monotonic - offset; stopped: now = frozen */
	_Atomic uint64_t frozen;
	_Atomic uint64_t now_insn;  /* instructions driver: current time */
	bool invariant;             /* the host's TSC */
	uint64_t tsc, mono;         /* read together, when the line was last bent; 0: never */
	struct clock_line line;     /* CLOCK_MONOTONIC by the host's TSC */
	struct timer *first;        /* armed timers, earliest first */
	void (*rearmed)(void *ctx); /* the earliest deadline changed: wake the event loop */
	void *rearmed_ctx;
};

struct timer {
	struct clock *clock;
	void (*fn)(void *ctx);
	void *ctx;
	uint64_t deadline; /* CLOCK_NEVER: not armed */
	struct timer *next;
};

/* Starts stopped at time 0. */
void clock_init(struct clock *c, enum clock_driver driver);
uint64_t clock_now(const struct clock *c);
void clock_stop(struct clock *c); /* pause; idempotent */
void clock_go(struct clock *c);
/* Instructions driver only: moves time forward. */
void clock_advance(struct clock *c, uint64_t ns);
/* Sets the time on snapshot load; the clock must be stopped. */
void clock_set(struct clock *c, uint64_t ns);

void timer_init(struct timer *t, struct clock *c, void (*fn)(void *ctx), void *ctx);
void timer_arm(struct timer *t, uint64_t deadline); /* re-arming moves it */
void timer_cancel(struct timer *t);
static inline bool timer_armed(const struct timer *t)
{
	return t->deadline != CLOCK_NEVER;
}

/* Earliest deadline, or CLOCK_NEVER. */
uint64_t clock_next_deadline(const struct clock *c);
/* Calls what is due, in order of deadline. A timer is disarmed before its call. */
void clock_run_timers(struct clock *c);

/* value * mul / div without overflow in between; div must not be 0. */
static inline uint64_t clock_muldiv(uint64_t value, uint64_t mul, uint64_t div)
{
	return (uint64_t)((unsigned __int128)value * mul / div);
}

#endif
