/*
 * generate.h - makes test cases: valid encodings by the decoder's table, and states.
 */
#ifndef TINAMOU_TESTS_INSN_GENERATE_H
#define TINAMOU_TESTS_INSN_GENERATE_H

#include "case.h"

/* xorshift64*: small, and the same on every host. */
struct rng {
	uint64_t s;
};
uint64_t rng_next(struct rng *r);
/* 0 <= result < n; n > 0. */
uint32_t rng_below(struct rng *r, uint32_t n);
bool rng_one_in(struct rng *r, uint32_t n);

struct generator {
	uint64_t seed;
	enum x86_mode mode;
	bool flat; /* 32-bit code with flat segments; 64-bit code has no others */
	/* False for what this oracle cannot judge; asked for every candidate. */
	bool (*wanted)(void *ctx, const struct x86_insn *insn);
	void *ctx;
};

/*
 * Makes case `number` of the generator's seed: a function of seed, mode and
 * number alone, so that any case can be made again.
 */
void generate_case(const struct generator *g, uint64_t number, struct insn_case *c);

#endif
