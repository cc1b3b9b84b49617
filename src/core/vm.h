/*
 * vm.h - a machine: memory, buses, clock, devices, vCPUs, one lock.
 *
 * Life: vm_new, board_* builds it, vm_start, vm_run (the event loop, returns
 * when the machine ended), vm_free. Two machines live in one process.
 *
 * Lock order: vm->lock, then vm->world. vm->lock is never held across a
 * blocking call, nor while guest code runs.
 */
#ifndef TINAMOU_VM_H
#define TINAMOU_VM_H

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>

#include "core/bus.h"
#include "core/clock.h"
#include "core/device.h"
#include "core/engine.h"
#include "core/irq.h"
#include "core/loop.h"
#include "core/memory.h"
#include "core/vcpu.h"
#include "x86/model.h"

#define VM_MAX_VCPUS 16

/* How a machine ended; cmd/ maps it to an exit status. */
enum vm_end {
	VM_END_NONE,
	VM_END_POWEROFF,
	VM_END_HALTED,    /* can never change again */
	VM_END_BIOS_CALL, /* bare boot sector asked for firmware */
	VM_END_TRIPLE_FAULT,
	VM_END_RESET, /* reset asked, and vm_config.no_reboot */
	VM_END_PANIC,
	VM_END_TESTPORT, /* value: what was written */
	VM_END_TIMEOUT,
	VM_END_QUIT,      /* the user: Ctrl-A x, SIGINT, SIGTERM; value: signal or 0 */
	VM_END_HOST_ERROR /* engine or device cannot go on */
};

struct vm_config {
	const struct engine_ops *engine;
	uint64_t ram_size; /* bytes, a multiple of 4096 */
	enum ram_backing backing;
	unsigned vcpus;
	unsigned sockets;              /* packages they share out evenly; 0: one */
	const struct x86_model *model; /* NULL: baseline; copied */
	enum clock_driver clock;
	uint64_t tsc_hz; /* 0: 1 GHz */
	/* What is no end, or one: see vm_end. */
	bool no_reboot;           /* a reset ends the machine */
	bool triple_fault_resets; /* it does not end it */
	bool stay_halted;         /* nor does a halt for good */
	bool time_exits;          /* --stats: measure host time by exit reason */
	bool count_instructions;  /* all of them, even where that costs speed */
	bool check; /* --check: the engine checks itself against interpret, block by block */
	/*
	 * Gives rights up: by each vCPU's thread once it has what it needs, by the machine's
	 * own before any guest instruction. 0 or -errno. NULL: nobody does.
	 */
	int (*confine)(bool vcpu);
	const char *torture; /* --torture: modes for tests of the engine, by itself; or NULL */
	FILE *trace;         /* --trace exits: one line an exit; NULL: off. Not owned. */
	/* --perf-map: the engine names the code it makes, by guest symbols if there are. Not owned.
	 */
	FILE *perf_map;
	const struct symbols *symbols;
};

/* What of a vCPU belongs to its local APIC; vm->lock held. */
struct vm_apic {
	/* -ENOENT: not the APIC's; -EINVAL: #GP. */
	int (*rdmsr)(void *ctx, struct vcpu *v, uint32_t msr, uint64_t *value);
	int (*wrmsr)(void *ctx, struct vcpu *v, uint32_t msr, uint64_t value);
	uint8_t (*cr8)(void *ctx, struct vcpu *v);
	void (*set_cr8)(void *ctx, struct vcpu *v, uint8_t value);
	/* The vCPU's TSC is the machine's plus offset from now on: TSC deadlines move. */
	void (*set_tsc_offset)(void *ctx, struct vcpu *v, uint64_t offset);
	/*
	 * An IPI by the ICR's low half to APIC ID first + n for each bit n set in two words
	 * of `width` bits; how many APICs took it.
	 */
	unsigned (*send_ipis)(
		void *ctx, uint32_t first, const uint64_t word[2], unsigned width, uint32_t icr);
};

/* Who debugs the machine; vm->lock held. */
struct vm_debugger {
	/* On the vCPU's thread, behind run or step: a stop was met, or STEP_ONE is done. */
	void (*met)(void *ctx, struct vcpu *v, const struct run_result *r);
	/* vm_stop has stopped the machine, whoever wanted it. */
	void (*stopped)(void *ctx);
};

struct vm {
	struct vm_config config;
	struct x86_model model;
	pthread_mutex_t lock;
	struct bus mem_bus, port_bus;
	struct guest_memory mem;
	struct ram ram;
	struct clock clock;
	struct loop *loop;
	struct device *devices;
	struct engine *engine;
	struct vcpu *vcpu[VM_MAX_VCPUS];
	unsigned vcpus;
	uint64_t tsc_hz;
	uint64_t epoch;    /* seconds since 1970 UTC when the clock was at zero */
	uint64_t a20_mask; /* software engines AND physical addresses with it; ~0: open */

	/* Board's hooks. */
	int (*intr_ack)(void *ctx, struct vcpu *v); /* PIC/APIC: vector */
	void *intr_ack_ctx;
	void (*set_ferr)(void *ctx, struct vcpu *v, bool level); /* NULL: the pin leads nowhere */
	void *set_ferr_ctx;
	const struct vm_apic *apic; /* NULL: none */
	void *apic_ctx;
	struct vcpu
		*accessing; /* whose access the buses carry, for what each vCPU has its own of */
	const struct vm_debugger *debugger; /* NULL: none */
	void *debugger_ctx;
	/* After RESET of vCPUs and devices: load the image again, set vCPU 0's entry state. */
	int (*boot)(void *ctx, struct vm *vm);
	void *boot_ctx;

	/* The stopped world. */
	pthread_mutex_t world;
	pthread_cond_t world_cond;
	_Atomic bool world_waiting; /* world_stop waits for those inside */
	pthread_cond_t wake;        /* with lock: vCPUs that halt, park or wait for work */
	pthread_cond_t idle;        /* with lock: all parked, or the machine ended */

	unsigned pause_count;
	bool stopped; /* one of these pauses is vm_stop's */
	bool reset_asked, stop_asked;
	bool stopping; /* threads are to leave */
	bool started;
	uint64_t turns;        /* instruction clock: turns of vCPUs so far */
	uint64_t next_look;    /* host time of the next look for a jump to itself */
	uint64_t sleeps_until; /* deadline the loop sleeps for; 0: it does not sleep */
	bool may_spin;         /* halted vCPUs may look for work before they sleep */
	enum vm_end end;
	int end_value;
	char end_why[512];
	uint64_t start_ns, run_ns; /* host time, for --stats */
};

/* NULL on failure, with the reason for the user in err. The engine is opened. */
struct vm *vm_new(const struct vm_config *config, char *err, size_t errlen);
void vm_free(struct vm *vm);

/* vCPUs a package. */
static inline unsigned vm_cores(const struct vm *vm)
{
	return vm->config.vcpus / (vm->config.sockets ? vm->config.sockets : 1);
}

void vm_lock(struct vm *vm);
void vm_unlock(struct vm *vm);

/* Takes ownership; reset, snapshot and destroy follow in the order of adding. */
void vm_add_device(struct vm *vm, struct device *dev);

/* Resets devices and vCPUs, boots, starts the vCPU threads and the clock. */
int vm_start(struct vm *vm, char *err, size_t errlen);
/* Runs the event loop until the machine ended; then all vCPUs are outside. */
void vm_run(struct vm *vm);

/* Requests, from any thread, vm->lock held; they take effect between instructions. */
__attribute__((format(printf, 4, 5))) void vm_end(
	struct vm *vm, enum vm_end end, int value, const char *fmt, ...); /* the first one wins */
void vm_request_reset(struct vm *vm);

/* Nested; vm->lock held. On return no vCPU is inside and the clock stands still. */
void vm_pause(struct vm *vm);
void vm_resume(struct vm *vm);

/* The user's pause, on or off however often it is said; vm->lock held, not on a vCPU's thread. */
void vm_stop(struct vm *vm);
void vm_cont(struct vm *vm);
/* From any thread, vm->lock held: vm_stop between instructions. */
void vm_request_stop(struct vm *vm);

/*
 * Stops the world: vm->lock held; kicks all vCPUs but the caller's and waits
 * until none is inside. Nobody enters until world_go. May be nested in pause.
 */
void world_stop(struct vm *vm);
void world_go(struct vm *vm);

/* Saves or loads clock, devices, RAM and vCPUs; the machine must be paused. */
void vm_snapshot(struct vm *vm, struct snap *s);

/* One vCPU's canonical state as fields of the open section. */
void x86_state_snap(struct x86_state *x, struct snap *s);

#endif
