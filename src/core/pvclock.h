/*
 * pvclock.h - kvmclock, the clock in memory that KVM gives its guests, for
 * engines that have no KVM. vm->lock held.
 */
#ifndef TINAMOU_CORE_PVCLOCK_H
#define TINAMOU_CORE_PVCLOCK_H

#include "core/vm.h"

/*
 * system_time: as written to MSR_KVM_SYSTEM_TIME_NEW, bit 0 enables. Fills the
 * page of one vCPU whose TSC is the machine's plus tsc_offset.
 */
void pvclock_write_time(struct vm *vm, uint64_t system_time, uint64_t tsc_offset);
/* gpa: as written to MSR_KVM_WALL_CLOCK_NEW. */
void pvclock_write_wall(struct vm *vm, gpa_t gpa);

#endif
