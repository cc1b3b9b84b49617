/*
 * linux.h - between the files that know Linux.
 *
 * Locks: `users` of linux_cpus.c; of a machine `map`, read by RUN, written by
 * SET_MAP; then `faults`, for changes of its nested table; of a vCPU `lock`.
 * Order: vCPU lock, map, faults.
 */
#ifndef TINAMOU_DRIVER_LINUX_H
#define TINAMOU_DRIVER_LINUX_H

#include <linux/kref.h>
#include <linux/mutex.h>
#include <linux/rwsem.h>
#include <linux/types.h>

#include "hv.h"

struct file_operations;
struct mm_struct;

struct machine {
	struct kref ref; /* its descriptor, and each vCPU's */
	struct hv_vm vm;
	struct mm_struct *mm; /* of the process that made it; its RAM is there */
	struct rw_semaphore map;
	struct mutex faults;
	unsigned long pinned; /* pages, counted as locked memory of mm; under faults */
	u32 slots;
	struct tinamou_slot slot[TINAMOU_SLOTS];
};

/* linux_host.c */
extern const struct hv_host linux_host;

/* linux_cpus.c: switches virtualization on with the first user, off with the last. */
int cpus_use(struct hv *hv);
void cpus_unuse(struct hv *hv);
struct hv_cpu *cpus_this(void);

/* linux_ram.c */
/* Checks a map; 0 or -EINVAL. */
int ram_check(const struct tinamou_map *map, u32 phys_bits);
int ram_fault(void *machine, u64 gpa, int write);
void ram_release(void *machine, u64 phys);
/* Everything unpinned and the table empty; map is held for writing. -ENOMEM. */
int ram_drop(struct machine *m);

/* linux_vm.c, linux_vcpu.c */
int machine_create(struct hv *hv);
void machine_put(struct machine *m);
int vcpu_create(struct machine *m);

#endif
