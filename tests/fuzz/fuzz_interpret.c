/*
 * fuzz_interpret.c - libFuzzer entry: the interpreter on arbitrary bytes. The first byte is the
 * mode and which of a few memories is around the code, the next eight seed the registers, the rest
 * is the code. One machine serves all inputs: what a run changed of its memory is put back.
 */
#include "engine/interpret/interpret.h"
#include "garbage.h"

#include <stdlib.h>
#include <string.h>

#define BUDGET   200
#define MEMORIES 4u /* of each mode */
#define HEADER   9u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
const char *__asan_default_options(void);

/* What hangs on the vCPU is reached through mapped memory, where no leak is looked for. */
const char *__asan_default_options(void)
{
	return "detect_leaks=0";
}

struct fuzz {
	struct garbage *g;
	uint8_t *memory[GARBAGE_MODES][MEMORIES];
};

static struct fuzz fuzz; /* libFuzzer hands nothing from one input to the next */

static uint64_t next_random(void *ctx)
{
	uint64_t *r = ctx;

	*r = *r * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return *r ^ *r >> 29;
}

/* The same memory for each input that asks for it. */
static void enter_memory(enum garbage_mode mode, unsigned n)
{
	uint64_t random = mode * MEMORIES + n;
	struct garbage_source from = {next_random, &random};

	if (!fuzz.g)
		fuzz.g = garbage_new(&interpret_engine);
	if (fuzz.memory[mode][n]) {
		garbage_restore(fuzz.g, fuzz.memory[mode][n]);
		return;
	}
	garbage_fill(fuzz.g, mode, &from);
	fuzz.memory[mode][n] = garbage_keep(fuzz.g);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	uint64_t random = 0;
	struct garbage_source from = {next_random, &random};
	enum garbage_mode mode;
	struct run_result r;
	struct x86_state s;

	if (len <= HEADER)
		return -1;
	mode = (enum garbage_mode)(data[0] % GARBAGE_MODES);
	memcpy(&random, data + 1, 8);
	enter_memory(mode, data[0] / GARBAGE_MODES % MEMORIES);
	garbage_code(fuzz.g, data + HEADER, (unsigned)(len - HEADER));
	garbage_run(fuzz.g, mode, &from, BUDGET, &r);
	if (r.exit == RUN_FATAL || garbage_state_error(fuzz.g, &s))
		abort();
	return 0;
}
