/*
 * step.h - one instruction on a canonical state, for engines whose hardware stops short.
 *
 * The interpreter finishes what the CPU hands over without telling its length:
 * MMIO, string I/O, CPUID, MSRs. It reads and writes guest memory and makes the
 * up calls of the vCPU as engine interpret does. It keeps nothing between two steps.
 */
#ifndef TINAMOU_INTERPRET_STEP_H
#define TINAMOU_INTERPRET_STEP_H

#include "core/engine.h"

struct stepper;

/* For one vCPU, whatever its engine; used on its thread, inside run() and step() only. */
int stepper_new(struct vcpu *v, struct stepper **out);
void stepper_free(struct stepper *p);

/*
 * Delivers the event that is due, if one is, and executes one instruction, one
 * iteration of a repeated one. r->exit is RUN_BUDGET, or what run() would return.
 * s->tsc only changes if the instruction wrote it.
 */
void stepper_step(struct stepper *p, struct x86_state *s, struct run_result *r);

#endif
