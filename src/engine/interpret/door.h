/*
 * door.h - interpret's door for translate: the whole CPU, of which translate
 * executes what it can and leaves the rest to interpret.
 *
 * A struct cpu may be the first member of something larger; what is behind it
 * is the owner's. Its memory is zero at first.
 */
#ifndef TINAMOU_INTERPRET_DOOR_H
#define TINAMOU_INTERPRET_DOOR_H

#include "engine/interpret/cpu.h"
#include "engine/interpret/fpu.h"
#include "engine/interpret/interpret.h"

/* Nothing is to be done between two instructions, and nobody asks for the vCPU. */
bool is_quiet(const struct cpu *c);
/* The instruction at CS:rIP, decoded anew; c->apart holds it afterwards. Raises its faults. */
void interpret_one(struct cpu *c, struct run_result *r);

#endif
