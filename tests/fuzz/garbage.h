/*
 * garbage.h - a machine with nothing sane in it: tables of random descriptors,
 * gates and page entries, random registers, random code. All of it follows from the bytes that
 * `source` gives, so that a number or a file names a case.
 */
#ifndef TINAMOU_TEST_GARBAGE_H
#define TINAMOU_TEST_GARBAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/engine.h"
#include "x86/state.h"

enum garbage_mode {
	GARBAGE_REAL,
	GARBAGE_PROT16,
	GARBAGE_PROT32,
	GARBAGE_V86,
	GARBAGE_PAGED,    /* 32-bit paging */
	GARBAGE_PAE,      /* PAE paging, 32-bit code */
	GARBAGE_LONG,     /* 64-bit code */
	GARBAGE_COMPAT32, /* 32-bit code in long mode */
	GARBAGE_MODES
};
extern const char *const garbage_mode_name[GARBAGE_MODES];

struct garbage_source {
	uint64_t (*next)(void *ctx); /* 64 random bits */
	void *ctx;
};

struct garbage;

/* Checks itself if it can. Never NULL: ends the process where there is no engine. */
struct garbage *garbage_new(const struct engine_ops *engine);
void garbage_free(struct garbage *g);

/* New memory: code, tables, stacks. */
void garbage_fill(struct garbage *g, enum garbage_mode mode, const struct garbage_source *from);
/* A copy of all memory, for free(); and back to it, as far as a run changed it. */
uint8_t *garbage_keep(const struct garbage *g);
void garbage_restore(struct garbage *g, const uint8_t *kept);
/* Bytes in the place where the next run begins. */
void garbage_code(struct garbage *g, const uint8_t *bytes, unsigned len);
/* A new entry state, then at most budget instructions; returns how many. */
uint64_t garbage_run(struct garbage *g, enum garbage_mode mode, const struct garbage_source *from,
	uint64_t budget, struct run_result *r);
/* NULL if the state is one that an x86 can be in, else what is wrong. */
const char *garbage_state_error(struct garbage *g, struct x86_state *s);

#endif
