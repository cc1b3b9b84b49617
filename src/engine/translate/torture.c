/*
 * torture.c - modes for tests (--torture): a tiny cache, short blocks, TLBs
 * that are emptied and blocks that go all the time, accesses that fail between
 * any two instructions, a storm of signals. What a guest computes stays the same.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "engine/translate/internal.h"

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

static uint32_t *field(struct torture *o, const char *name, size_t len)
{
	const struct {
		const char *name;
		uint32_t *at;
	} row[] = {{"cache", &o->cache}, {"block", &o->block}, {"flush", &o->flush},
		{"evict", &o->evict}, {"miss", &o->miss}, {"signals", &o->signals}};

	for (unsigned n = 0; n < ARRAY_SIZE(row); n++)
		if (strlen(row[n].name) == len && !memcmp(row[n].name, name, len))
			return row[n].at;
	return NULL;
}

int torture_parse(struct torture *o, const char *text, char *err, size_t errlen)
{
	*o = (struct torture){0};
	while (text && *text) {
		size_t len = strcspn(text, "=,");
		uint32_t *to = field(o, text, len);
		char *end = NULL;
		unsigned long v = to && text[len] == '=' ? strtoul(text + len + 1, &end, 0) : 0;

		if (!v || v > CODE_SIZE || (*end && *end != ',')) {
			snprintf(err, errlen,
				"--torture takes cache=, block=, flush=, evict=, miss=, signals=, "
				"each with a number from 1 to %u, not '%s'",
				CODE_SIZE, text);
			return -EINVAL;
		}
		*to = (uint32_t)v;
		text = end + (*end == ',');
	}
	return 0;
}

static uint32_t next_random(struct tcpu *t)
{
	t->random = t->random * 1664525u + 1013904223u;
	return t->random >> 8;
}

static bool one_in(struct tcpu *t, uint32_t n)
{
	return n && next_random(t) % n == 0;
}

bool refused(struct tcpu *t)
{
	return (t->check && one_in(t, 64)) || one_in(t, t->torture.miss);
}

void torture_enter(struct tcpu *t)
{
	if (one_in(t, t->torture.flush))
		tlb_flush(&t->c, true);
	if (!one_in(t, t->torture.evict))
		return;
	for (uint32_t n = next_random(t) % 64; n && t->oldest != t->blocks; n--)
		cache_evict(t);
}

/* ---- signals ---- */

#define STORM_SIGNAL (SIGRTMIN + 4)

static void in_storm(int sig)
{
}

int torture_start(struct tcpu *t)
{
	const struct timespec period = {
		t->torture.signals / 1000000u, (long)(t->torture.signals % 1000000u) * 1000};
	const struct itimerspec every = {period, period};
	struct sigaction sa = {.sa_handler = in_storm, .sa_flags = SA_ONSTACK | SA_RESTART};
	struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = STORM_SIGNAL};

	t->random = 1 + t->c.v->id;
	t->torturing = t->torture.flush || t->torture.evict;
	t->block_insns = t->torture.block ? MIN(t->torture.block, BLOCK_INSNS) : BLOCK_INSNS;
	if (!t->torture.signals)
		return 0;
	event.sigev_notify_thread_id = (int)syscall(SYS_gettid);
	if (sigaction(STORM_SIGNAL, &sa, NULL) || timer_create(CLOCK_MONOTONIC, &event, &t->storm))
		return -errno;
	t->storms = true;
	return timer_settime(t->storm, 0, &every, NULL) ? -errno : 0;
}

void torture_stop(struct tcpu *t)
{
	if (t->storms &&
		!t->counting) /* else the machine's thread closes it, whose jail has no such call */
		timer_delete(t->storm);
	t->storms = false;
}
