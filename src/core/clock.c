/* clock.c - the virtual clock and its timers; see clock.h. */
#include "core/clock.h"

#include <cpuid.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "util/util.h"

#define BEND_NS  (NSEC_PER_SEC / 10) /* from one bend to the next, at least */
#define BEGIN_NS (NSEC_PER_SEC / 50) /* from the first reading of both to the first line */
#define LATE_NS  (NSEC_PER_SEC / 1000)
#define ONE      4294967296.0 /* of clock_line.mult */

/* ---- host time by the TSC ---- */

/* The kernel would not use it either if the CPUs' differed, or were not even. */
static bool host_tells_by_tsc(void)
{
	FILE *f = fopen("/sys/devices/system/clocksource/clocksource0/current_clocksource", "re");
	unsigned a, b, c, d = 0;
	char name[16] = "";

	if (f && !fgets(name, sizeof(name), f))
		name[0] = 0;
	if (f)
		fclose(f);
	return !strcmp(name, "tsc\n") && __get_cpuid(0x80000007, &a, &b, &c, &d) && d & BIT(8);
}

static uint64_t on_line(const struct clock_line *l, uint64_t tsc)
{
	uint64_t ticks = tsc - atomic_load_explicit(&l->tsc, memory_order_relaxed);

	return atomic_load_explicit(&l->ns, memory_order_relaxed) +
	       (uint64_t)((unsigned __int128)ticks *
				  atomic_load_explicit(&l->mult, memory_order_relaxed) >>
			  32);
}

static uint64_t host_ns(const struct clock *c)
{
	const struct clock_line *l = &c->line;

	for (;;) {
		uint32_t seq = atomic_load_explicit(&l->seq, memory_order_acquire);
		uint64_t ns, tsc;

		__builtin_ia32_lfence();
		tsc = __builtin_ia32_rdtsc();
		ns = seq == CLOCK_NO_LINE ? monotonic_ns() : on_line(l, tsc);
		atomic_thread_fence(memory_order_acquire);
		if ((seq == CLOCK_NO_LINE || !(seq & 1)) &&
			atomic_load_explicit(&l->seq, memory_order_relaxed) == seq)
			return ns;
	}
}

struct reading {
	uint64_t tsc, mono;
};

/* The TSC a little before the clock, so that a line from there is never behind. */
static struct reading read_both(void)
{
	struct reading r = {0, 0};
	uint64_t best = UINT64_MAX;

	for (unsigned n = 0; n < 4; n++) {
		uint64_t tsc = __builtin_ia32_rdtsc(), mono = monotonic_ns();
		uint64_t took = __builtin_ia32_rdtsc() - tsc;

		if (took < best)
			r = (struct reading){tsc, mono};
		best = MIN(best, took);
	}
	return r;
}

/* The line from here on: where it is, or ahead if it is far behind, to where the clock will be. */
static void bend(struct clock *c)
{
	struct clock_line *l = &c->line;
	uint32_t seq = atomic_load(&l->seq);
	struct reading now;
	uint64_t ns;
	double rate, off;

	atomic_store(&l->seq, seq | 1 | 2); /* before the readings */
	now = read_both();
	rate = (double)(now.mono - c->mono) / (double)(now.tsc - c->tsc);
	ns = seq == CLOCK_NO_LINE ? now.mono : on_line(l, now.tsc);
	if ((int64_t)(now.mono - ns) > (int64_t)LATE_NS)
		ns = now.mono;
	off = (double)(int64_t)(now.mono - ns) / BEND_NS;
	atomic_store_explicit(&l->tsc, now.tsc, memory_order_relaxed);
	atomic_store_explicit(&l->ns, ns, memory_order_relaxed);
	atomic_store_explicit(
		&l->mult, (uint64_t)(rate * (1 + MAX(off, -0.5)) * ONE), memory_order_relaxed);
	c->tsc = now.tsc;
	c->mono = now.mono;
	atomic_store_explicit(&l->seq, (seq | 3) + 1, memory_order_release);
}

static void follow_host(struct clock *c)
{
	bool begun = atomic_load_explicit(&c->line.seq, memory_order_relaxed) != CLOCK_NO_LINE;

	if (!c->invariant || c->driver != CLOCK_HOST)
		return;
	if (!c->mono) {
		struct reading now = read_both();

		c->tsc = now.tsc;
		c->mono = now.mono;
	} else if (monotonic_ns() - c->mono >= (begun ? BEND_NS : BEGIN_NS)) {
		bend(c);
	}
}

/* ---- the clock ---- */

void clock_init(struct clock *c, enum clock_driver driver)
{
	*c = (struct clock){.driver = driver, .line = {.seq = CLOCK_NO_LINE}};
	c->invariant = driver == CLOCK_HOST && host_tells_by_tsc();
}

uint64_t clock_now(const struct clock *c)
{
	if (c->driver == CLOCK_INSTRUCTIONS)
		return atomic_load_explicit(&c->now_insn, memory_order_relaxed);
	/* A reader that races with stop or go sees the time of one side of it: both are true. */
	if (atomic_load_explicit(&c->running, memory_order_acquire))
		return host_ns(c) - atomic_load_explicit(&c->offset, memory_order_relaxed);
	return atomic_load_explicit(&c->frozen, memory_order_relaxed);
}

void clock_stop(struct clock *c)
{
	if (!atomic_load(&c->running))
		return;
	atomic_store(&c->frozen, host_ns(c) - atomic_load(&c->offset));
	atomic_store_explicit(&c->running, false, memory_order_release);
}

void clock_go(struct clock *c)
{
	if (atomic_load(&c->running))
		return;
	follow_host(c);
	atomic_store(&c->offset, host_ns(c) - atomic_load(&c->frozen));
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
	uint64_t now;

	follow_host(c);
	now = clock_now(c);
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
