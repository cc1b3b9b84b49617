/* run.h - between vcpu.c, run.c and vm.c only: the vCPU threads. */
#ifndef TINAMOU_RUN_H
#define TINAMOU_RUN_H

#include "core/vcpu.h"

/* vm->lock held; released on return, and the vCPU is inside. */
void vcpu_enter(struct vcpu *v);
/* The reverse. */
void vcpu_leave(struct vcpu *v);
/* Instruction clock, vm->lock held: what the vCPU executed so far becomes time. */
void vcpu_account(struct vcpu *v);
void vcpu_trace_exit(struct vcpu *v, enum exit_reason reason);

/* Body of a vCPU's thread under the host clock. */
void *vcpu_thread(void *vcpu);
/* Under the instruction clock: one turn of all vCPUs. False: none can run before a deadline. */
bool run_turn(struct vm *vm);

#endif
