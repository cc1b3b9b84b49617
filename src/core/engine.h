/*
 * engine.h - the contract between a machine and what executes its guest.
 *
 * Down: struct engine_ops, called by core only. Up: the vcpu_* functions of
 * vcpu.h that say "up call", called by the engine inside run() and step().
 * An engine never sees a device or the board; it asks the vm for the memory
 * map and the virtual clock. State is bytes to core: struct x86_state here.
 */
#ifndef TINAMOU_ENGINE_H
#define TINAMOU_ENGINE_H

#include <stdio.h>

#include "core/bus.h"

struct vm;
struct vcpu;
struct x86_state;

enum engine_caps {
	ENGINE_CAP_COUNTS = 1 << 0,    /* exact instruction counts: budget, instruction clock */
	ENGINE_CAP_A20 = 1 << 1,       /* masks addresses with vm->a20_mask */
	ENGINE_CAP_EXACT_CPU = 1 << 2, /* the CPU model is exact, not the host's */
	ENGINE_CAP_NATIVE = 1 << 3,    /* guest code runs on the host's CPU */
	ENGINE_CAP_CHECKS = 1 << 4,    /* obeys vm_config.check, torture and perf_map */
	ENGINE_CAP_PINS = 1 << 5       /* RAM that the guest has used stays where it is */
};

/* What probe found. */
enum engine_level { ENGINE_UNUSABLE, ENGINE_SLOW, ENGINE_READY };
struct engine_verdict {
	enum engine_level level; /* SLOW: works, but software-backed; auto passes it by */
	double mips;             /* measured millions of instructions a second, 0: not measured */
	char why[192];           /* one sentence for the user */
	char cure[192];          /* what the user can do about it; "" if nothing */
};

/* Why run() returned. */
enum run_exit {
	RUN_KICKED,   /* vcpu_kick: core looks what for */
	RUN_HALTED,   /* after HLT; rIP is behind it */
	RUN_BUDGET,   /* budget instructions were executed */
	RUN_SHUTDOWN, /* triple fault; result->why tells the chain of faults */
	RUN_DEBUG,    /* breakpoint, watchpoint or step: result->debug_* */
	RUN_FATAL     /* the engine cannot go on: result->why, for the user */
};

struct run_result {
	enum run_exit exit;
	uint64_t executed; /* instructions in this call, 0 where the engine cannot count */
	uint64_t debug_addr;
	char why[256];
};

struct debug_stop {
	uint64_t addr; /* linear */
	uint8_t len;   /* watchpoints: 1, 2, 4, 8 */
	enum { STOP_EXEC, STOP_WRITE, STOP_ACCESS } kind;
};

/* One piece of the flattened memory map that an engine may reach directly. */
struct engine_slot {
	gpa_t base;
	uint64_t size;
	void *host;
	bool readonly; /* ROM: writes go up as MMIO */
	bool log_dirty;
};

struct engine {
	const struct engine_ops *ops;
	struct vm *vm;
};

struct engine_ops {
	const char *name;
	const char *what; /* one line for `tinamou engines` */
	unsigned caps;

	/* May take a few milliseconds; touches nothing but its own test guest. */
	void (*probe)(struct engine_verdict *v);

	/*
	 * open allocates a struct engine (embedded first in the engine's own) and
	 * checks that it can run vm's CPU model; on failure returns -errno and
	 * writes the cause and the cure to err. close frees it, after all vCPUs.
	 */
	int (*open)(struct vm *vm, struct engine **out, char *err, size_t errlen);
	void (*close)(struct engine *e);

	/*
	 * The memory map, whole, whenever it changed; only in a stopped world.
	 * Replaces what was there. NULL where the engine reads vm->mem itself.
	 */
	int (*set_map)(struct engine *e, const struct engine_slot *slot, unsigned count);

	/* vcpu->priv is the engine's. Called on the vCPU's own thread. State: after reset. */
	int (*vcpu_open)(struct vcpu *v);
	void (*vcpu_close)(struct vcpu *v);

	/*
	 * Executes guest code until core must decide. budget: at most that many
	 * instructions (engines with ENGINE_CAP_COUNTS, exact; others ignore it);
	 * UINT64_MAX: no limit. Runs without vm->lock. An event in x86_events is
	 * delivered first. Interrupts: asks vcpu_intr_pending at every boundary.
	 */
	void (*run)(struct vcpu *v, uint64_t budget, struct run_result *r);
	/* One instruction (with its event, if one is due); repeats count once an iteration. */
	void (*step)(struct vcpu *v, struct run_result *r);
	/* Any thread, async-signal-safe: makes run() return soon. core keeps it sticky. */
	void (*kick)(struct vcpu *v);

	/* mask: enum x86_group. Outside run() only; completes what is half done first. */
	int (*get)(struct vcpu *v, struct x86_state *s, unsigned mask);
	int (*put)(struct vcpu *v, const struct x86_state *s, unsigned mask);

	/* Replaces all stops. NULL: not supported. */
	int (*set_stops)(struct vcpu *v, const struct debug_stop *stop, unsigned count);
	/*
	 * RAM changed behind the guest's back: drop translations. vm->lock held; an
	 * engine that needs a stopped world for it stops it. May be NULL.
	 */
	void (*ram_changed)(struct engine *e, gpa_t gpa, uint64_t len);
	/* Lines of the engine's own for --stats, its vCPUs still open. May be NULL. */
	void (*report)(struct engine *e, FILE *out);
	/* Fetches and clears the dirty bitmap of the slot at base. May be NULL. */
	int (*dirty)(struct engine *e, gpa_t base, uint64_t *bitmap, size_t words);
};

#endif
