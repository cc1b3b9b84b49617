/*
 * internal.h - between the files of engine kvm.
 *
 * Source: the kernel's Documentation/virt/kvm/api.rst; names are its own.
 */
#ifndef TINAMOU_KVM_INTERNAL_H
#define TINAMOU_KVM_INTERNAL_H

#include <linux/kvm.h>
#include <pthread.h>

#include "core/vm.h"
#include "engine/kvm/kvm.h"

#define KVM_KICK_SIGNAL SIGUSR1
#define KVM_SLOTS_MAX   32 /* what every KVM has */

struct kvm_engine {
	struct engine engine;
	int device; /* /dev/kvm */
	int vm;
	size_t run_size;
	unsigned slots;                         /* numbers in use: 0..slots-1 */
	struct engine_slot slot[KVM_SLOTS_MAX]; /* as KVM has them */
	struct kvm_cpuid2 *cpuid;
	bool has_xsave, has_xcrs, has_debugregs;
};

struct kvm_cpu {
	int fd;
	struct kvm_run *run;
	pthread_t thread;
	struct kvm_guest_debug stops; /* of set_stops */
	struct stepper *stepper;      /* for what KVM's emulator lacks */
	bool stepping;                /* one instruction only */
};

/* ioctl that returns -errno; the one place to inject faults. */
int kvm_ioctl(int fd, unsigned long request, void *arg);
/* -errno, and a line for the user with the cure. */
int kvm_open_device(char *why, size_t whylen, char *cure, size_t curelen);

void kvm_run(struct vcpu *v, uint64_t budget, struct run_result *r);
void kvm_step(struct vcpu *v, struct run_result *r);
void kvm_kick(struct vcpu *v);
int kvm_set_stops(struct vcpu *v, const struct debug_stop *stop, unsigned count);
int kvm_get(struct vcpu *v, struct x86_state *s, unsigned mask);
int kvm_put(struct vcpu *v, const struct x86_state *s, unsigned mask);
void kvm_probe(struct engine_verdict *v);
/* Sets up a handler that does nothing, so that the signal only interrupts KVM_RUN. */
void kvm_catch_kicks(void);

static inline struct kvm_cpu *kvm_cpu(struct vcpu *v)
{
	return v->priv;
}

#endif
