/*
 * probe.c - does translated code run here, and how fast?
 *
 * What may stand in the way: a host that maps no memory executable.
 */
#include <stdio.h>

#include "engine/loop.h"
#include "engine/translate/translate.h"

#define ROUNDS 2000000u

void translate_probe(struct engine_verdict *verdict)
{
	*verdict = (struct engine_verdict){.level = ENGINE_UNUSABLE};
	verdict->mips =
		engine_time_loop(&translate_engine, ROUNDS, verdict->why, sizeof(verdict->why));
	if (verdict->mips) {
		verdict->level = ENGINE_READY;
		snprintf(verdict->why, sizeof(verdict->why), "our own translator, x86 to x86");
	} else if (!verdict->why[0]) {
		snprintf(verdict->why, sizeof(verdict->why), "translated code does not run here");
		snprintf(verdict->cure, sizeof(verdict->cure),
			"it needs memory that is executable, by way of memfd_create and mmap");
	}
}
