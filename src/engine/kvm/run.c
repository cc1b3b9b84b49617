/*
 * run.c - the run loop of engine kvm and its exits (api.rst section 5).
 *
 * An exit for I/O or MMIO is finished by the next KVM_RUN; what needs the
 * vCPU's registers in between (get, put, a kick) first enters once with
 * immediate_exit set.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "engine/interpret/step.h"
#include "engine/kvm/internal.h"
#include "util/util.h"

#define DEBUG_REGISTERS 4
#define DR7             7 /* its place in debugreg[] */

/*
 * Sticky without a race: whoever kicks sets immediate_exit before the signal,
 * and the loop clears it before it looks at vcpu_kicked.
 */
void kvm_kick(struct vcpu *v)
{
	struct kvm_cpu *c = kvm_cpu(v);

	__atomic_store_n(&c->run->immediate_exit, 1, __ATOMIC_RELEASE);
	pthread_kill(c->thread, KVM_KICK_SIGNAL);
}

/* KVM_INTERRUPT where the guest takes it now, else ask for an exit when it will. */
static void offer_interrupt(struct vcpu *v)
{
	struct kvm_cpu *c = kvm_cpu(v);
	struct kvm_run *run = c->run;
	struct kvm_interrupt irq;

	run->request_interrupt_window = 0;
	while (vcpu_nmi_take(v))
		kvm_ioctl(c->fd, KVM_NMI, NULL);
	if (!vcpu_intr_pending(v))
		return;
	if (!run->ready_for_interrupt_injection || !run->if_flag) {
		run->request_interrupt_window = 1;
		return;
	}
	irq.irq = vcpu_intr_ack(v);
	kvm_ioctl(c->fd, KVM_INTERRUPT, &irq);
}

static void exit_io(struct vcpu *v)
{
	struct kvm_run *run = kvm_cpu(v)->run;
	void *data = (uint8_t *)run + run->io.data_offset;

	if (run->io.direction == KVM_EXIT_IO_OUT)
		vcpu_pio_out_string(v, run->io.port, run->io.size, data, run->io.count);
	else
		vcpu_pio_in_string(v, run->io.port, run->io.size, data, run->io.count);
}

static void exit_mmio(struct vcpu *v)
{
	struct kvm_run *run = kvm_cpu(v)->run;
	uint64_t value = 0;

	if (run->mmio.is_write) {
		memcpy(&value, run->mmio.data, MIN(run->mmio.len, 8));
		vcpu_mmio_write(v, run->mmio.phys_addr, run->mmio.len, value);
		return;
	}
	value = vcpu_mmio_read(v, run->mmio.phys_addr, run->mmio.len);
	memcpy(run->mmio.data, &value, MIN(run->mmio.len, 8));
}

static bool fatal(struct run_result *r)
{
	r->exit = RUN_FATAL;
	return false;
}

/* With what it cannot emulate KVM also queues #UD, for users who go on without looking. */
static void drop_ud(struct x86_events *e)
{
	if (e->exc_pending && e->exc_vector == X86_UD)
		e->exc_pending = false;
	if (e->type == X86_EVENT_EXCEPTION && e->vector == X86_UD)
		e->type = X86_EVENT_NONE;
}

static int one_step(struct vcpu *v, struct run_result *r)
{
	struct kvm_cpu *c = kvm_cpu(v);
	struct x86_state s;
	uint64_t tsc;
	int rc = kvm_get(v, &s, X86_GROUP_ALL);

	if (rc)
		return rc;
	drop_ud(&s.events);
	tsc = s.tsc;
	stepper_step(c->stepper, &s, r);
	/* The TSC goes on by itself: put back, it would lose what the step took. */
	return kvm_put(v, &s, X86_GROUP_ALL & ~(s.tsc == tsc ? X86_GROUP_TSC : 0));
}

/* An instruction that KVM's emulator does not know: ours does. */
static bool emulate(struct vcpu *v, struct run_result *r)
{
	struct run_result one = {0};
	int rc;

	vcpu_count(v, EXIT_EMULATE, 0);
	rc = one_step(v, &one);
	if (rc) {
		snprintf(r->why, sizeof(r->why),
			"KVM cannot emulate an instruction, and its registers: %s", strerror(-rc));
		return fatal(r);
	}
	r->exit = one.exit;
	if (one.exit != RUN_BUDGET)
		memcpy(r->why, one.why, sizeof(r->why));
	r->executed = kvm_cpu(v)->stepping;
	return one.exit == RUN_BUDGET && !kvm_cpu(v)->stepping;
}

static bool exit_internal_error(struct vcpu *v, struct run_result *r)
{
	struct kvm_run *run = kvm_cpu(v)->run;
	struct kvm_regs regs = {0};

	if (run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION)
		return emulate(v, r);
	kvm_ioctl(kvm_cpu(v)->fd, KVM_GET_REGS, &regs);
	snprintf(r->why, sizeof(r->why), "KVM internal error %u at rip %#llx",
		run->internal.suberror, (unsigned long long)regs.rip);
	return fatal(r);
}

static bool exit_system_event(struct vcpu *v, struct run_result *r)
{
	unsigned type = kvm_cpu(v)->run->system_event.type;

	vcpu_count(v, EXIT_SYSTEM, 0);
	snprintf(r->why, sizeof(r->why), "KVM system event %u (%s)", type,
		type == KVM_SYSTEM_EVENT_SHUTDOWN ? "shutdown"
		: type == KVM_SYSTEM_EVENT_RESET  ? "reset"
		: type == KVM_SYSTEM_EVENT_CRASH  ? "crash"
						  : "unknown");
	return fatal(r);
}

/* Where the guest stands; for a watchpoint, what it watches. */
static bool exit_debug(struct vcpu *v, struct run_result *r)
{
	const struct kvm_cpu *c = kvm_cpu(v);

	vcpu_count(v, EXIT_DEBUG, 0);
	r->exit = RUN_DEBUG;
	r->debug_addr = c->run->debug.arch.pc;
	for (unsigned n = 0; n < DEBUG_REGISTERS; n++)
		if (c->run->debug.arch.dr6 >> n & 1 &&
			c->stops.arch.debugreg[DR7] >> (16 + 4 * n) & 3)
			r->debug_addr = c->stops.arch.debugreg[n];
	return false;
}

/* Returns true to go on running. */
static bool handle_exit(struct vcpu *v, struct run_result *r)
{
	struct kvm_run *run = kvm_cpu(v)->run;

	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		exit_io(v);
		return true;
	case KVM_EXIT_MMIO:
		exit_mmio(v);
		return true;
	case KVM_EXIT_IRQ_WINDOW_OPEN:
		vcpu_count(v, EXIT_INTR_WINDOW, 0);
		return true;
	case KVM_EXIT_INTR:
		return true;
	case KVM_EXIT_HLT:
		vcpu_count(v, EXIT_HLT, 0);
		r->exit = RUN_HALTED;
		return false;
	case KVM_EXIT_SHUTDOWN:
		vcpu_count(v, EXIT_SHUTDOWN, 0);
		r->exit = RUN_SHUTDOWN;
		snprintf(r->why, sizeof(r->why), "the CPU shut down (KVM tells no more)");
		return false;
	case KVM_EXIT_DEBUG:
		return exit_debug(v, r);
	case KVM_EXIT_SYSTEM_EVENT:
		return exit_system_event(v, r);
	case KVM_EXIT_INTERNAL_ERROR:
		return exit_internal_error(v, r);
	case KVM_EXIT_FAIL_ENTRY:
		snprintf(r->why, sizeof(r->why), "the CPU refused VM entry, hardware reason %#llx",
			(unsigned long long)run->fail_entry.hardware_entry_failure_reason);
		return fatal(r);
	default:
		vcpu_count(v, EXIT_OTHER, 0);
		snprintf(r->why, sizeof(r->why), "KVM exit %u, which nobody expects",
			run->exit_reason);
		return fatal(r);
	}
}

/* One KVM_RUN. false: run() is over. */
static bool enter(struct vcpu *v, struct run_result *r)
{
	struct kvm_cpu *c = kvm_cpu(v);
	int rc;

	__atomic_store_n(&c->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
	if (vcpu_kicked(v)) /* finish what is half done, and come back at once */
		__atomic_store_n(&c->run->immediate_exit, 1, __ATOMIC_RELAXED);
	else
		offer_interrupt(v);
	rc = kvm_ioctl(c->fd, KVM_RUN, NULL);
	if (rc == -EINTR || rc == -EAGAIN) {
		r->exit = RUN_KICKED;
		return !vcpu_kicked(v);
	}
	if (rc < 0) {
		snprintf(r->why, sizeof(r->why), "KVM_RUN: %s", strerror(-rc));
		return fatal(r);
	}
	return handle_exit(v, r);
}

void kvm_run(struct vcpu *v, uint64_t budget, struct run_result *r)
{
	while (enter(v, r))
		;
}

/* Steps over a stop at this instruction: only the step is armed meanwhile. */
void kvm_step(struct vcpu *v, struct run_result *r)
{
	struct kvm_guest_debug debug = {.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP};
	struct kvm_cpu *c = kvm_cpu(v);
	int rc = kvm_ioctl(c->fd, KVM_SET_GUEST_DEBUG, &debug);

	if (rc) {
		snprintf(r->why, sizeof(r->why), "KVM_SET_GUEST_DEBUG: %s", strerror(-rc));
		fatal(r);
		return;
	}
	c->stepping = true;
	kvm_run(v, 1, r);
	c->stepping = false;
	if (r->exit == RUN_DEBUG) {
		r->exit = RUN_BUDGET;
		r->executed = 1;
	}
	kvm_ioctl(c->fd, KVM_SET_GUEST_DEBUG, &c->stops);
}

/* LEN of DR7 (SDM vol. 3B, 18.2.4) for 1, 2, 4 and 8 bytes. */
static unsigned dr7_len(unsigned bytes)
{
	return bytes == 8 ? 2 : bytes == 4 ? 3 : bytes == 2;
}

/* In the debug registers, which the guest does not see: four at most. */
int kvm_set_stops(struct vcpu *v, const struct debug_stop *stop, unsigned count)
{
	struct kvm_guest_debug d = {0};
	struct kvm_cpu *c = kvm_cpu(v);
	int rc;

	if (count > DEBUG_REGISTERS)
		return -ENOSPC;
	if (count)
		d.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP;
	for (unsigned n = 0; n < count; n++) {
		unsigned rw = stop[n].kind == STOP_EXEC ? 0 : stop[n].kind == STOP_WRITE ? 1 : 3;
		unsigned len = rw ? dr7_len(stop[n].len) : 0;

		d.arch.debugreg[n] = stop[n].addr;
		d.arch.debugreg[DR7] |= 2ull << (2 * n) | (uint64_t)(rw | len << 2) << (16 + 4 * n);
	}
	d.arch.debugreg[DR7] |= 1 << 10; /* reads as one */
	rc = kvm_ioctl(c->fd, KVM_SET_GUEST_DEBUG, &d);
	if (!rc)
		c->stops = d;
	return rc;
}
