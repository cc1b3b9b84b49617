/*
 * test_garbage.c - an engine executes random bytes in every mode: it must not crash, hang, give up
 * or leave a state that no x86 can be in; translate compares itself with interpret.
 * `test_garbage N SEED [ENGINE]`: N thousand instructions, by default 1,000, on interpret. A
 * failure names mode and seed; run under the sanitizers it is worth more.
 */
#include "garbage.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "engine/interpret/interpret.h"
#include "engine/translate/translate.h"

#define RUNS_A_FILL 32u
#define BUDGET      500u
#define PATIENCE    20u /* seconds of CPU time that one fill may take */

struct where {
	uint64_t seed, random;
	enum garbage_mode mode;
};

static struct where here; /* for the timer, which gets no argument */

static uint64_t next_random(void *ctx)
{
	uint64_t *r = ctx;

	*r ^= *r >> 12;
	*r ^= *r << 25;
	*r ^= *r >> 27;
	return *r * UINT64_C(0x2545f4914f6cdd1d);
}

static void hangs(int sig)
{
	char text[128];
	int len = snprintf(text, sizeof(text), "hangs: mode %s, seed %" PRIu64 "\n",
		garbage_mode_name[here.mode], here.seed);

	if (write(STDOUT_FILENO, text, (size_t)len) < 0)
		_exit(3);
	abort();
}

static int failed(const struct where *w, const char *what)
{
	printf("%s: mode %s, seed %" PRIu64 "\n", what, garbage_mode_name[w->mode], w->seed);
	return EXIT_FAILURE;
}

/* One memory, several entries. Adds to *executed; by exit to ends. */
static int one_fill(struct garbage *g, struct where *w, uint64_t *executed, uint64_t *ends)
{
	const struct itimerval patience = {.it_value.tv_sec = PATIENCE};
	struct garbage_source from = {next_random, &w->random};
	struct x86_state s;
	struct run_result r;

	w->random = (w->seed + 1) * UINT64_C(0x9e3779b97f4a7c15);
	w->mode = (enum garbage_mode)(w->seed % GARBAGE_MODES);
	here = *w;
	setitimer(ITIMER_PROF, &patience, NULL);
	garbage_fill(g, w->mode, &from);
	for (unsigned n = 0; n < RUNS_A_FILL; n++) {
		const char *wrong;

		*executed += garbage_run(g, w->mode, &from, BUDGET, &r);
		ends[r.exit]++;
		wrong = garbage_state_error(g, &s);
		if (wrong)
			x86_state_print(&s, stdout);
		if (wrong || r.exit == RUN_FATAL)
			return failed(w, wrong ? wrong : r.why);
	}
	return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	uint64_t wanted = (argc > 1 ? strtoull(argv[1], NULL, 0) : 1000) * 1000, executed = 0;
	struct where w = {.seed = argc > 2 ? strtoull(argv[2], NULL, 0) : 0};
	uint64_t ends[RUN_FATAL + 1] = {0};
	const struct engine_ops *engine =
		argc > 3 && !strcmp(argv[3], "translate") ? &translate_engine : &interpret_engine;
	struct garbage *g = garbage_new(engine);
	int status = EXIT_SUCCESS;

	signal(SIGPROF, hangs);
	for (; executed < wanted && status == EXIT_SUCCESS; w.seed++)
		status = one_fill(g, &w, &executed, ends);
	garbage_free(g);
	printf("%" PRIu64 " instructions; runs that ended by budget %" PRIu64 ", HLT %" PRIu64
	       ", shutdown %" PRIu64 "\n",
		executed, ends[RUN_BUDGET], ends[RUN_HALTED], ends[RUN_SHUTDOWN]);
	return status;
}
