/*
 * run.c - the vCPU threads: when to enter the guest, and what to do after it.
 *
 * Host clock: one thread a vCPU. Instruction clock: the event loop's thread
 * runs all vCPUs in turn for TURN instructions each, so that everything from
 * outside enters between two turns. Lock: vm->lock, except inside the engine.
 */
#include "core/run.h"

#include <stdio.h>
#include <string.h>

#include "core/vm.h"
#include "util/util.h"
#include "x86/insn.h"

/* Instructions a vCPU runs before it is the next one's turn; 1 instruction is 1 ns. */
#define TURN 1000
/* Turns between two looks for a jump to itself: counted, so that runs repeat exactly. */
#define TURNS_PER_LOOK 1024
/* How long a halted vCPU looks for an interrupt, at least and at most. */
#define SPIN_MIN_NS 20000u
#define SPIN_MAX_NS 200000u

static bool must_park(const struct vm *vm)
{
	return vm->pause_count || vm->reset_asked || vm->stop_asked || vm->end != VM_END_NONE;
}

/* If no vCPU can ever run again, the machine has ended. */
static void set_stuck(struct vcpu *v)
{
	struct vm *vm = v->vm;

	if (vm->config.stay_halted)
		return;
	v->stuck = true;
	if (vm->reset_asked) /* it changes yet; do_reset starts all afresh */
		return;
	for (unsigned i = 0; i < vm->vcpus; i++)
		if (!vm->vcpu[i]->stuck && vm->vcpu[i]->run != X86_WAIT_SIPI)
			return;
	vm_end(vm, VM_END_HALTED, 0, "the machine has halted for good");
}

/* HLT with interrupts off: only NMI, INIT or RESET could wake it, and nobody sends them. */
static void after_halt(struct vcpu *v)
{
	struct x86_state s;

	v->run = X86_HALTED;
	if (atomic_load(&v->nmi_line))
		return;
	if (!vcpu_get(v, &s, X86_GROUP_GPR) && !(s.rflags & X86_IF))
		set_stuck(v);
}

static bool jumps_to_itself(struct vcpu *v, const struct x86_state *s)
{
	const struct x86_seg *cs = &s->seg[X86_CS];
	uint8_t bytes[X86_INSN_MAX];
	struct x86_insn insn;
	enum x86_mode mode = cs->attr & X86_ATTR_DB ? X86_MODE_32 : X86_MODE_16;

	if (s->cr0 & X86_CR0_PG) /* its code is found by the page tables: not looked for */
		return false;
	if (mem_read(&v->vm->mem, (uint32_t)(cs->base + s->rip), bytes, sizeof(bytes)))
		return false;
	return x86_decode(bytes, sizeof(bytes), mode, &insn) == X86_DECODE_OK &&
	       insn.op == X86_OP_JMP && insn.opnd[0].kind == X86_OPND_REL &&
	       insn.imm == -(int64_t)insn.len;
}

/* `jmp $` with interrupts off is how old boot sectors end. */
static void look_for_stuck(struct vcpu *v)
{
	struct x86_state s;

	v->look = false;
	if (vcpu_get(v, &s, X86_GROUP_GPR | X86_GROUP_SEG | X86_GROUP_CR) || (s.rflags & X86_IF))
		return;
	if (jumps_to_itself(v, &s))
		set_stuck(v);
}

/* What was left for the vCPU to do between two instructions. */
static void serve(struct vcpu *v)
{
	if (v->look)
		look_for_stuck(v);
	if (v->deferred) {
		void (*fn)(struct vcpu * v, void *ctx) = v->deferred;

		v->deferred = NULL;
		fn(v, v->deferred_ctx);
	}
}

/* A PC's chipset answers it with RESET; who looks for the fault wants the end. */
static void after_shutdown(struct vcpu *v, const char *why)
{
	struct vm *vm = v->vm;

	v->run = X86_SHUTDOWN;
	if (vm->config.triple_fault_resets) {
		log_debug("cpu%u: triple fault: %s", v->id, why); /* a guest may do it for ever */
		vm_request_reset(vm);
	} else {
		vm_end(vm, VM_END_TRIPLE_FAULT, 0, "cpu%u: triple fault: %s", v->id, why);
	}
}

static void after_debug(struct vcpu *v, const struct run_result *r)
{
	struct vm *vm = v->vm;

	if (vm->debugger)
		vm->debugger->met(vm->debugger_ctx, v, r);
	else
		vm_end(vm, VM_END_HOST_ERROR, 0, "cpu%u: debug stop at %#llx, no debugger", v->id,
			(unsigned long long)r->debug_addr);
}

static void after_run(struct vcpu *v, const struct run_result *r)
{
	struct vm *vm = v->vm;

	switch (r->exit) {
	case RUN_KICKED:
		vcpu_count(v, EXIT_KICK, 0);
		break;
	case RUN_BUDGET:
		break;
	case RUN_HALTED:
		vcpu_trace_exit(v, EXIT_HLT);
		after_halt(v);
		break;
	case RUN_SHUTDOWN:
		vcpu_trace_exit(v, EXIT_SHUTDOWN);
		after_shutdown(v, r->why);
		break;
	case RUN_DEBUG:
		after_debug(v, r);
		break;
	case RUN_FATAL:
		vm_end(vm, VM_END_HOST_ERROR, 0, "cpu%u: %s", v->id, r->why);
		break;
	}
	serve(v);
}

/* INTR is kept from the engine: who steps through a program wants no handler in between. */
static void hold_intr(struct vcpu *v, bool hold)
{
	v->intr_held = hold;
	atomic_store(&v->intr_line, !hold && v->intr_level);
}

static void execute(struct vcpu *v, uint64_t budget, struct run_result *r)
{
	if (v->step == STEP_NONE) {
		vcpu_enter(v);
		v->vm->engine->ops->run(v, budget, r);
	} else {
		hold_intr(v, true);
		vcpu_enter(v);
		v->vm->engine->ops->step(v, r);
	}
	vcpu_leave(v);
}

/* A kick may have come before the instruction: then it is still to be done. */
static void after_step(struct vcpu *v, const struct run_result *r)
{
	bool done = r->exit != RUN_KICKED, tell = v->step == STEP_ONE && r->exit != RUN_DEBUG;

	hold_intr(v, false);
	if (!done)
		return;
	v->step = STEP_NONE;
	if (tell)
		after_debug(v, r);
}

static void run_once(struct vcpu *v, uint64_t budget, struct run_result *r)
{
	memset(r, 0, sizeof(*r));
	v->running = r;
	v->accounted = 0;
	execute(v, budget, r);
	vcpu_account(v);
	v->running = NULL;
	after_run(v, r);
	if (v->step != STEP_NONE)
		after_step(v, r);
}

/* A halted vCPU wakes by an interrupt that it would take, and by NMI. */
static bool runnable(struct vcpu *v)
{
	if (v->held || v->stuck || v->run == X86_WAIT_SIPI || v->run == X86_SHUTDOWN)
		return false;
	if (v->run == X86_HALTED && (vcpu_intr_pending(v) || atomic_load(&v->nmi_line)))
		v->run = X86_RUNNING;
	return v->run == X86_RUNNING;
}

static void park(struct vcpu *v)
{
	v->parked = true;
	pthread_cond_broadcast(&v->vm->idle);
	pthread_cond_wait(&v->vm->wake, &v->vm->lock);
	v->parked = false;
}

/* Outside, without vm->lock, until a kick or for so long; to get the lock is part of it. */
static void spin(struct vcpu *v, uint64_t since)
{
	struct vm *vm = v->vm;

	vm_unlock(vm);
	while (monotonic_ns() - since < v->spin_ns)
		if (vcpu_kicked(v) && !pthread_mutex_trylock(&vm->lock))
			return;
		else
			__builtin_ia32_pause();
	vm_lock(vm);
}

/*
 * To be woken takes the host tens of microseconds, much of what a guest waits for an answer. So
 * one whose last wait was short looks for a while before it sleeps; after a long wait, such as an
 * idle guest's, it sleeps at once.
 */
static void halt(struct vcpu *v)
{
	uint64_t since = monotonic_ns();

	if (v->spin_ns)
		spin(v, since);
	if (!vcpu_kicked(v))
		park(v);
	if (monotonic_ns() - since > SPIN_MAX_NS)
		v->spin_ns = 0;
	else if (v->vm->may_spin)
		v->spin_ns = MIN(MAX(v->spin_ns * 4, SPIN_MIN_NS), SPIN_MAX_NS);
}

/* To the state after INIT: the boot processor starts again, others wait for SIPI. */
static void serve_init(struct vcpu *v)
{
	struct x86_state s = {0};

	v->init_pending = false;
	x86_state_reset(&s, v->vm->model.signature);
	s.tsc = vcpu_tsc(v);
	s.events.sipi_pending = v->sipi_pending; /* it may have come already */
	s.events.sipi_vector = v->sipi_vector;
	vcpu_put(v, &s, X86_GROUP_ALL & ~(X86_GROUP_FPU | X86_GROUP_TSC | X86_GROUP_MSR));
	v->run = v->id ? X86_WAIT_SIPI : X86_RUNNING;
}

/* SDM vol. 3A 8.4.3: execution begins at 000VV000h in real mode. */
static void serve_sipi(struct vcpu *v)
{
	struct x86_state s;

	v->sipi_pending = false;
	if (v->run != X86_WAIT_SIPI || vcpu_get(v, &s, X86_GROUP_GPR | X86_GROUP_SEG))
		return;
	x86_seg_real(&s.seg[X86_CS], (uint16_t)(v->sipi_vector << 8), true);
	s.rip = 0;
	vcpu_put(v, &s, X86_GROUP_GPR | X86_GROUP_SEG);
	v->run = X86_RUNNING;
}

static void serve_ipis(struct vcpu *v)
{
	if (v->init_pending)
		serve_init(v);
	if (v->sipi_pending)
		serve_sipi(v);
}

static bool open_vcpu(struct vcpu *v)
{
	struct vm *vm = v->vm;
	int err = vm->engine->ops->vcpu_open(v);

	if (!err && vm->config.confine && vm->config.confine(true))
		vm_end(vm, VM_END_HOST_ERROR, 0, "cpu%u: the jail cannot be closed", v->id);
	if (err)
		vm_end(vm, VM_END_HOST_ERROR, 0, "cpu%u: engine %s cannot make a vCPU: %s", v->id,
			vm->engine->ops->name, strerror(-err));
	return !err;
}

void *vcpu_thread(void *arg)
{
	struct vcpu *v = arg;
	struct vm *vm = v->vm;
	struct run_result r;
	bool open;

	vm_lock(vm);
	open = open_vcpu(v);
	while (!vm->stopping) {
		atomic_store(&v->kick_pending, false);
		if (open)
			serve_ipis(v);
		if (!open || must_park(vm))
			park(v);
		else if (runnable(v))
			run_once(v, UINT64_MAX, &r);
		else if (v->run == X86_HALTED)
			halt(v);
		else
			park(v);
	}
	if (open)
		vm->engine->ops->vcpu_close(v);
	vm_unlock(vm);
	return NULL;
}

bool run_turn(struct vm *vm)
{
	bool any = false;

	for (unsigned i = 0; i < vm->vcpus && !must_park(vm); i++) {
		struct vcpu *v = vm->vcpu[i];
		uint64_t deadline = clock_next_deadline(&vm->clock);
		uint64_t now = clock_now(&vm->clock);
		uint64_t left = deadline > now ? deadline - now : 1;
		struct run_result r;

		serve_ipis(v);
		if (!runnable(v))
			continue;
		any = true;
		atomic_store(&v->kick_pending, false);
		v->parked = false;
		v->look = ++vm->turns % TURNS_PER_LOOK == 0;
		run_once(v, MIN(left, TURN), &r);
		v->parked = true;
		pthread_cond_broadcast(&vm->idle);
		if (!r.executed)
			clock_advance(&vm->clock, 1);
		clock_run_timers(&vm->clock);
	}
	return any;
}
