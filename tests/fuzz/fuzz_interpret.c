/*
 * fuzz_interpret.c - libFuzzer entry: the interpreter on arbitrary bytes. The first byte is the
 * mode, the next eight seed the machine around the code, the rest is the code.
 */
#include "garbage.h"

#include <stdlib.h>
#include <string.h>

#define BUDGET 200

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static uint64_t next_random(void *ctx)
{
	uint64_t *r = ctx;

	*r = *r * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return *r ^ *r >> 29;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	uint64_t random = 0;
	struct garbage_source from = {next_random, &random};
	enum garbage_mode mode;
	struct run_result r;
	struct x86_state s;
	struct garbage *g;

	if (len < 10)
		return -1;
	mode = (enum garbage_mode)(data[0] % GARBAGE_MODES);
	memcpy(&random, data + 1, 8);
	g = garbage_new();
	garbage_fill(g, mode, &from);
	garbage_code(g, data + 9, (unsigned)(len - 9));
	garbage_run(g, mode, &from, BUDGET, &r);
	if (r.exit == RUN_FATAL || garbage_state_error(g, &s))
		abort();
	garbage_free(g);
	return 0;
}
