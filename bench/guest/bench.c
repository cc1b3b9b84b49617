/*
 * bench.c - small programs whose times are compared: natively, in a guest of
 * tinamou, in a guest of QEMU. Static; as init it powers the machine off.
 *
 *     bench [ITEM]...     without names all but those of `pair`
 *     bench pair          one after the other: the work of a process, of two at once
 *     bench nothing       ends at once, for exec
 *
 * A line an item: `bench NAME NANOSECONDS`, the shortest of many runs, so that
 * what else the host does hardly shows. `clock NANOSECONDS` before the first and
 * after the last is this machine's clock: who reads the lines compares it with
 * his own. All but `pair` run on one CPU.
 */
#define _GNU_SOURCE
#include "bench.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <time.h>
#include <unistd.h>

#define RUNS   40
#define ENOUGH 1000000000u /* nanoseconds for an item */

volatile uint64_t sink;

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void tell(const char *what, const char *name, uint64_t ns)
{
	printf("%s %s%s%llu\n", what, name, *name ? " " : "", (unsigned long long)ns);
	fflush(stdout);
}

static void measure(const struct item *i)
{
	uint64_t best = UINT64_MAX, start = now();

	for (int run = 0; run < RUNS && (run < 3 || now() - start < ENOUGH); run++) {
		uint64_t t = now();

		i->fn();
		t = now() - t;
		if (t < best)
			best = t;
	}
	tell("bench", i->name, best);
}

/* No names: all. */
static int wanted(const char *name, int names, char **list)
{
	for (int n = 0; n < names; n++)
		if (!strcmp(list[n], name))
			return 1;
	return !names;
}

static void measure_all(const struct item *list, int names, char **name)
{
	for (; list->name; list++)
		if (wanted(list->name, names, name))
			measure(list);
}

static void one_cpu(void)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(0, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

static void run(int names, char **name)
{
	static const struct item *const group[] = {
		integer_items, memory_items, string_items, float_items, kernel_items};

	if (names && !strcmp(*name, "pair")) {
		measure_all(pair_items, 0, NULL);
		return;
	}
	one_cpu();
	for (unsigned k = 0; k < sizeof(group) / sizeof(*group); k++)
		measure_all(group[k], names, name);
}

int main(int argc, char **argv)
{
	int init = getpid() == 1;

	if (argc == 2 && !strcmp(argv[1], "nothing"))
		return 0;
	if (init)
		mount("proc", "/proc", "proc", 0, NULL);
	prepare_integer();
	prepare_memory();
	prepare_strings();
	prepare_floats();
	prepare_kernel("/proc/self/exe");
	tell("clock", "", now());
	run(argc - 1, argv + 1);
	tell("clock", "", now());
	if (init)
		reboot(RB_POWER_OFF);
	return 0;
}
