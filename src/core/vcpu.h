/*
 * vcpu.h - one virtual CPU: its thread, its kicks, and the up calls of engines.
 *
 * A vCPU is "inside" while it may execute guest code and touch guest memory
 * without vm->lock. Up calls that reach devices take vm->lock themselves and
 * count as outside while they wait for it, so that world_stop() cannot
 * deadlock with them.
 */
#ifndef TINAMOU_VCPU_H
#define TINAMOU_VCPU_H

#include <pthread.h>
#include <stdatomic.h>

#include "core/engine.h"
#include "x86/state.h"

/* Exits by reason, counted and timed for --stats, written by --trace exits. */
enum exit_reason {
	EXIT_PIO_IN,
	EXIT_PIO_OUT,
	EXIT_MMIO_READ,
	EXIT_MMIO_WRITE,
	EXIT_HLT,
	EXIT_INTR,
	EXIT_INTR_WINDOW,
	EXIT_CPUID,
	EXIT_MSR,
	EXIT_KICK,
	EXIT_SHUTDOWN,
	EXIT_DEBUG,
	EXIT_EMULATE,
	EXIT_EXCEPTION,
	EXIT_NESTED_FAULT,
	EXIT_HYPERCALL,
	EXIT_SYSTEM,
	EXIT_OTHER,
	EXIT_REASONS
};
extern const char *const exit_reason_name[EXIT_REASONS];

struct exit_stat {
	uint64_t count;
	uint64_t nsec; /* spent handling it in core and devices */
};

struct vcpu {
	struct vm *vm;
	unsigned id;
	void *priv; /* the engine's */
	pthread_t thread;
	bool thread_started;

	_Atomic bool kick_pending; /* sticky: set by vcpu_kick, cleared by core before it looks */
	_Atomic bool intr_line;    /* the interrupt controller's INTR output */
	_Atomic uint8_t nmi_line;  /* NMI edges that wait: one to be delivered, one behind it */
	_Atomic bool ferr, ignne;  /* x87 errors while CR0.NE is clear: FERR# as told, and IGNNE# */
	_Atomic bool inside;

	/* Its thread's: what it executes, and how much of that the instruction clock has. */
	const struct run_result *running; /* NULL outside of run() */
	uint64_t accounted;
	uint64_t spin_ns; /* how long it looks for an interrupt before it sleeps, see run.c */

	/* Under vm->lock. */
	uint8_t run;                     /* enum x86_run, as core knows it */
	bool parked;                     /* its thread waits in core and will not enter by itself */
	bool stuck;                      /* can never run again without NMI, INIT or RESET */
	bool look;                       /* is to be looked at for a jump to itself */
	bool init_pending, sipi_pending; /* IPIs that its thread will serve */
	uint8_t sipi_vector;
	bool intr_level, intr_held; /* INTR as driven, and whether intr_line stays low meanwhile */
	bool held;                  /* a debugger's: it stands still while others run */
	enum {
		STEP_NONE,
		STEP_OVER,
		STEP_ONE
	} step; /* likewise: over a stop; and then stop again */
	void (*deferred)(struct vcpu *v, void *ctx); /* see vcpu_defer */
	void *deferred_ctx;

	uint64_t randoms; /* vcpu_random calls so far */
	struct exit_stat stat[EXIT_REASONS];
	_Atomic uint64_t executed; /* instructions, where the engine counts */
};

/* Any thread, async-signal-safe. Sticky: a vCPU that is outside returns at once on entry. */
void vcpu_kick(struct vcpu *v);
/* The engine's test in its loop. */
static inline bool vcpu_kicked(struct vcpu *v)
{
	return atomic_load_explicit(&v->kick_pending, memory_order_acquire);
}

/* Interrupt controller: vm->lock held. Wakes a halted vCPU, kicks a running one on a rise. */
void vcpu_set_intr(struct vcpu *v, bool level);
void vcpu_nmi(struct vcpu *v);
/* INIT and start-up IPIs (SDM vol. 3A 8.4): vm->lock held; they are served by its thread. */
void vcpu_init_ipi(struct vcpu *v);
void vcpu_startup_ipi(struct vcpu *v, uint8_t vector);

/*
 * Runs fn on the vCPU's thread after the current instruction, vm->lock held,
 * with its state readable by vcpu_get. For device handlers that must look at
 * registers. One at a time.
 */
void vcpu_defer(struct vcpu *v, void (*fn)(struct vcpu *v, void *ctx), void *ctx);

/* State of a vCPU that is outside run(): engine get and put. 0 or -errno. */
int vcpu_get(struct vcpu *v, struct x86_state *s, unsigned mask);
int vcpu_put(struct vcpu *v, const struct x86_state *s, unsigned mask);

/* ---- up calls: from the engine, on the vCPU's thread, inside run() or step() ---- */

/* size 1, 2, 4. The result is zero-extended. */
uint32_t vcpu_pio_in(struct vcpu *v, uint16_t port, unsigned size);
void vcpu_pio_out(struct vcpu *v, uint16_t port, unsigned size, uint32_t value);
/* String forms: the port stands still, the buffer advances; count elements. */
void vcpu_pio_in_string(struct vcpu *v, uint16_t port, unsigned size, void *buf, unsigned count);
void vcpu_pio_out_string(
	struct vcpu *v, uint16_t port, unsigned size, const void *buf, unsigned count);
/* size 1..8, any alignment; what the engine cannot reach as RAM. */
uint64_t vcpu_mmio_read(struct vcpu *v, gpa_t gpa, unsigned size);
void vcpu_mmio_write(struct vcpu *v, gpa_t gpa, unsigned size, uint64_t value);

/*
 * Runs fn while no other vCPU is inside, and returns what it says: for what must
 * be one access and is not, on the host. fn touches guest memory only.
 */
bool vcpu_alone(struct vcpu *v, bool (*fn)(void *ctx), void *ctx);

/* Cheap, no lock: is an external interrupt asserted? */
static inline bool vcpu_intr_pending(struct vcpu *v)
{
	return atomic_load_explicit(&v->intr_line, memory_order_acquire);
}
/* Is there a kick, an NMI or, if it would be taken, INTR? */
static inline bool vcpu_attention(const struct vcpu *v, bool takes_intr)
{
	int kick = atomic_load_explicit(&v->kick_pending, memory_order_acquire);
	int intr = atomic_load_explicit(&v->intr_line, memory_order_acquire);

	return kick | (intr & takes_intr) |
	       atomic_load_explicit(&v->nmi_line, memory_order_acquire);
}
/* INTA cycle: the vector, 0..255. The engine must deliver it. */
uint8_t vcpu_intr_ack(struct vcpu *v);
/* Takes the NMI edge; true if there was one. */
bool vcpu_nmi_take(struct vcpu *v);
/* NMIs are no longer masked: of those that came meanwhile one is left (SDM vol. 3A 6.7.1). */
void vcpu_nmi_merge(struct vcpu *v);

/* cr4 and xcr0 as they are now: OSXSAVE and the size of the XSAVE area follow them. */
void vcpu_cpuid(struct vcpu *v, uint64_t cr4, uint64_t xcr0, uint32_t leaf, uint32_t subleaf,
	uint32_t out[4]);
/* MSRs that are not in x86_state: 0; -ENOENT: there is none here; -EINVAL: #GP. */
/* CR8, the task priority; 0 without an APIC. */
uint8_t vcpu_cr8(struct vcpu *v);
void vcpu_set_cr8(struct vcpu *v, uint8_t value);
/* Drives FERR# (SDM vol. 1 8.7.2). */
void vcpu_set_ferr(struct vcpu *v, bool level);
int vcpu_rdmsr(struct vcpu *v, uint32_t msr, uint64_t *value);
int vcpu_wrmsr(struct vcpu *v, uint32_t msr, uint64_t value);
/* A random number; one of a fixed sequence under the instruction clock. */
uint64_t vcpu_random(struct vcpu *v);
/* The guest's TSC from the virtual clock, before its own offset. */
uint64_t vcpu_tsc(struct vcpu *v);
/*
 * Engines that are their own KVM: the guest's offset or its MSR_KVM_SYSTEM_TIME_NEW
 * changed. Moves TSC deadlines and fills the guest's clock page.
 */
void vcpu_clock_changed(struct vcpu *v, uint64_t tsc_offset, uint64_t system_time);
void vcpu_wall_clock(struct vcpu *v, gpa_t gpa); /* MSR_KVM_WALL_CLOCK_NEW was written */
/* One of KVM's hypercalls by RAX, RBX, RCX, RDX, RSI; wide: of 64-bit code. The new RAX. */
uint64_t vcpu_hypercall(struct vcpu *v, uint64_t number, const uint64_t arg[4], bool wide);

/* Count an exit that the up calls above do not count themselves (they count theirs). */
void vcpu_count(struct vcpu *v, enum exit_reason reason, uint64_t nsec);

#endif
