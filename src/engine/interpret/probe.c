/* probe.c - how fast is the software CPU here? */
#include <stdio.h>

#include "engine/interpret/interpret.h"
#include "engine/loop.h"

#define ROUNDS 100000u

void interpret_probe(struct engine_verdict *verdict)
{
	*verdict = (struct engine_verdict){.level = ENGINE_UNUSABLE};
	verdict->mips =
		engine_time_loop(&interpret_engine, ROUNDS, verdict->why, sizeof(verdict->why));
	if (!verdict->mips)
		return;
	verdict->level = ENGINE_READY;
	snprintf(verdict->why, sizeof(verdict->why),
		"our own software CPU, works everywhere; the reference for all others");
}
