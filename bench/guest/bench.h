/*
 * bench.h - between the files of the benchmark program.
 *
 * An item is a function that takes about half a millisecond on a real CPU; it
 * runs many times and the shortest time counts. Results go to `sink` or are
 * kept, so that the compiler leaves nothing out.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdint.h>

struct item {
	const char *name;
	void (*fn)(void);
};

extern volatile uint64_t sink;

/* What p points to is used. */
static inline void keep(void *p)
{
	__asm__ volatile("" : : "r"(p) : "memory");
}

/* Pseudo-random, the same on each run. */
static inline uint32_t mix(uint32_t n)
{
	n *= 2654435761u;
	return n ^ n >> 15;
}

/* Each ends with an item without a name. */
extern const struct item integer_items[], memory_items[], string_items[], float_items[],
	kernel_items[], pair_items[];

void prepare_integer(void);
void prepare_memory(void);
void prepare_strings(void);
void prepare_floats(void);
/* path: this program's own file, for exec. */
void prepare_kernel(const char *path);

#endif
