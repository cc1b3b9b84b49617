/*
 * host.h - all that the VMX and SVM code asks of the system it runs in.
 *
 * Under Linux linux_host.c fills the table; on bare metal a loader would.
 * Nothing else of the host is known to it, so it includes none of its headers.
 */
#ifndef TINAMOU_DRIVER_HOST_H
#define TINAMOU_DRIVER_HOST_H

#include "types.h"

struct hv_cpu;

#define HV_PAGE 4096u

/* Host errors: 0 or one of these, negative; the numbers are Linux's. */
enum {
	HV_EINTR = 4,
	HV_EIO = 5,
	HV_ENOMEM = 12,
	HV_EBUSY = 16,
	HV_EINVAL = 22,
	HV_EOPNOTSUPP = 95
};

struct hv_host {
	/* One line to the log, without a newline. */
	void (*log)(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

	/* Zeroed memory, NULL if there is none. May sleep. */
	void *(*alloc)(u64 size);
	void (*free)(void *p);
	/* Zeroed pages that follow each other physically; count: 1, 2 or 4. */
	void *(*pages)(unsigned count);
	void (*pages_free)(void *p, unsigned count);
	/* Physical address of what pages() gave, and back. */
	u64 (*phys)(const void *p);
	void *(*virt)(u64 phys);

	/* From begin to end the code stays on its CPU, and the FPU is the guest's. */
	void (*begin)(void);
	void (*end)(void);
	/* What belongs to the CPU the code is on; between begin and end. */
	struct hv_cpu *(*cpu)(void);
	/* Does the host want the CPU, or has the thread a signal? */
	int (*must_leave)(void);

	/* RAM behind gpa of the machine `ctx` into its table: 1 done, 0 no RAM, or an error.
	 * Sleeps. */
	int (*fault)(void *ctx, u64 gpa, int write);
	/* A page that fault() mapped is in no table any more. */
	void (*release)(void *ctx, u64 phys);

	/* CR4.VMXE of this CPU; NULL: the host lets nobody set it, and there is no VMX. */
	void (*vmxe)(int on);
	/* A VM exit of VMX has cut the TSS limit to 67h: let it be loaded again when needed. */
	void (*tss_limit_lost)(void);
	/* An NMI or machine check was taken from the guest: its handler is to run. */
	void (*nmi)(void);
	void (*machine_check)(void);
};

#endif
