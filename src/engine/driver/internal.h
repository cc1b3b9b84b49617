/*
 * internal.h - between the files of engine driver. The contract is driver/abi.h.
 *
 * The page shared with the module holds registers by group: `have` are those
 * that are there now, `changed` those that the next RUN takes from there.
 */
#ifndef TINAMOU_DRIVER_INTERNAL_H
#define TINAMOU_DRIVER_INTERNAL_H

#include <pthread.h>
#include <sys/ioctl.h>

#include "core/vm.h"
#include "driver/abi.h"
#include "engine/driver/driver.h"
#include "engine/interpret/step.h"

#define DRIVER_KICK_SIGNAL SIGUSR1

/* The groups are the machine's own. */
#define SAME_GROUP(name)                                                                           \
	_Static_assert((int)TINAMOU_##name == (int)X86_GROUP_##name, "groups differ")
SAME_GROUP(GPR);
SAME_GROUP(SEG);
SAME_GROUP(CR);
SAME_GROUP(DR);
SAME_GROUP(FPU);
SAME_GROUP(MSR);
SAME_GROUP(TSC);
SAME_GROUP(EVENTS);

struct driver_machine {
	struct engine engine;
	int device; /* /dev/tinamou */
	int vm;
	struct tinamou_info info;
};

struct driver_cpu {
	int fd;
	struct tinamou_page *page;
	unsigned have, changed; /* groups */
	pthread_t thread;
	struct stepper *stepper;
	uint64_t kept[X86_MSR_COUNT]; /* MSRs that the hardware does not switch */
	struct x86_events events;     /* as put; what of it the module cannot deliver */
	bool must_step;               /* events are to be delivered by the interpreter */
};

/* ioctl that returns -errno; the one place to inject faults. */
int driver_ioctl(int fd, unsigned long request, void *arg);
/* The device's descriptor or -errno, with lines for the user. */
int driver_open_device(
	struct tinamou_info *info, char *why, size_t whylen, char *cure, size_t curelen);
int driver_create_vm(int device, char *why, size_t whylen, char *cure, size_t curelen);
/* Sets up a handler that does nothing, so that the signal only interrupts RUN. */
void driver_catch_kicks(void);
void driver_probe(struct engine_verdict *v);

/* Makes the page hold the groups of mask. 0 or -errno. */
int driver_fetch(struct driver_cpu *c, unsigned mask);
int driver_get(struct vcpu *v, struct x86_state *s, unsigned mask);
int driver_put(struct vcpu *v, const struct x86_state *s, unsigned mask);

void driver_run(struct vcpu *v, uint64_t budget, struct run_result *r);
void driver_step(struct vcpu *v, struct run_result *r);
void driver_kick(struct vcpu *v);

static inline struct driver_cpu *driver_cpu(struct vcpu *v)
{
	return v->priv;
}

static inline struct driver_machine *driver_machine(struct vcpu *v)
{
	return (struct driver_machine *)(void *)v->vm->engine;
}

#endif
