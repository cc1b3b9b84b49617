/*
 * run.c - the run loop of engine driver: what goes in, and what each exit asks for.
 *
 * Port accesses whose length the CPU tells are finished here. Everything else
 * that the CPU hands over is one step of the interpreter on the vCPU's state:
 * it fetches the instruction itself, so no hardware need tell its bytes.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "engine/driver/internal.h"
#include "util/util.h"

/* Sticky as in engine kvm: immediate_exit is set before the signal. */
void driver_kick(struct vcpu *v)
{
	struct driver_cpu *c = driver_cpu(v);

	__atomic_store_n(&c->page->immediate_exit, 1, __ATOMIC_RELEASE);
	pthread_kill(c->thread, DRIVER_KICK_SIGNAL);
}

static bool fatal(struct run_result *r)
{
	r->exit = RUN_FATAL;
	return false;
}

/* ---- the interpreter's step ---- */

/* false: run() is over. */
static bool step(struct vcpu *v, struct run_result *r)
{
	struct run_result one = {0};
	struct x86_state s;
	uint64_t tsc;
	int rc = driver_get(v, &s, X86_GROUP_ALL);

	if (!rc) {
		tsc = s.tsc;
		stepper_step(driver_cpu(v)->stepper, &s, &one);
		/* The TSC goes on by itself: put back, it would lose what the step took. */
		rc = driver_put(v, &s, X86_GROUP_ALL & ~(s.tsc == tsc ? X86_GROUP_TSC : 0));
	}
	if (rc) {
		snprintf(r->why, sizeof(r->why), "registers: %s", strerror(-rc));
		return fatal(r);
	}
	r->exit = one.exit;
	if (one.exit != RUN_BUDGET)
		memcpy(r->why, one.why, sizeof(r->why));
	return one.exit == RUN_BUDGET;
}

void driver_step(struct vcpu *v, struct run_result *r)
{
	if (step(v, r))
		r->executed = 1;
}

/* ---- port accesses ---- */

static uint64_t low_bits(unsigned bytes)
{
	return BIT(bytes * 8) - 1;
}

static uint64_t merge(uint64_t old, uint64_t value, unsigned size)
{
	return size == 4 ? (uint32_t)value : (old & ~low_bits(size)) | value;
}

static bool exit_io(struct vcpu *v, struct run_result *r)
{
	struct driver_cpu *c = driver_cpu(v);
	struct tinamou_regs *regs = &c->page->regs;
	struct tinamou_exit e = c->page->exit;

	if (e.string || !e.insn_len || regs->rflags & X86_TF ||
		regs->events.type != TINAMOU_EVENT_NONE)
		return step(v, r);
	/* rIP is behind the instruction before the device sees it: it may ask for the state. */
	regs->rip += e.insn_len;
	regs->rflags &= ~(uint64_t)X86_RF;
	c->changed |= X86_GROUP_GPR;
	if (regs->events.shadow_sti || regs->events.shadow_mov_ss) {
		regs->events.shadow_sti = regs->events.shadow_mov_ss = 0;
		c->changed |= X86_GROUP_EVENTS;
	}
	if (e.in)
		regs->gpr[X86_RAX] =
			merge(regs->gpr[X86_RAX], vcpu_pio_in(v, e.port, e.size), e.size);
	else
		vcpu_pio_out(v, e.port, e.size, (uint32_t)(regs->gpr[X86_RAX] & low_bits(e.size)));
	return true;
}

/* ---- other exits ---- */

static bool exit_shutdown(struct vcpu *v, struct run_result *r)
{
	vcpu_count(v, EXIT_SHUTDOWN, 0);
	r->exit = RUN_SHUTDOWN;
	snprintf(r->why, sizeof(r->why), "the CPU shut down (it tells no more)");
	return false;
}

static bool exit_fail(struct vcpu *v, struct run_result *r)
{
	const struct tinamou_exit *e = &driver_cpu(v)->page->exit;

	snprintf(r->why, sizeof(r->why), "the CPU refused VM entry, code %#llx, %#llx, %#llx",
		e->code, e->info[0], e->info[1]);
	return fatal(r);
}

static bool counted_step(struct vcpu *v, enum exit_reason reason, struct run_result *r)
{
	vcpu_count(v, reason, 0);
	return step(v, r);
}

/* Returns true to go on running. The up calls of a step count themselves. */
static bool handle_exit(struct vcpu *v, struct run_result *r)
{
	const struct tinamou_exit *e = &driver_cpu(v)->page->exit;

	switch (e->reason) {
	case TINAMOU_EXIT_IO:
		return exit_io(v, r);
	case TINAMOU_EXIT_WINDOW:
		vcpu_count(v, EXIT_INTR_WINDOW, 0);
		return true;
	case TINAMOU_EXIT_EXCEPTION:
		if (e->vector == X86_DB) { /* a trap, which the next entry delivers */
			vcpu_count(v, EXIT_EXCEPTION, 0);
			return true;
		}
		return counted_step(v, EXIT_EXCEPTION, r);
	case TINAMOU_EXIT_SHUTDOWN:
		return exit_shutdown(v, r);
	case TINAMOU_EXIT_HYPERCALL:
		return counted_step(v, EXIT_HYPERCALL, r);
	case TINAMOU_EXIT_INSN:
		return counted_step(v, EXIT_EMULATE, r);
	case TINAMOU_EXIT_FAIL:
		return exit_fail(v, r);
	default: /* MEMORY, HLT, CPUID, MSR */
		return step(v, r);
	}
}

/* ---- the loop ---- */

static void offer_interrupt(struct vcpu *v)
{
	struct driver_cpu *c = driver_cpu(v);
	struct tinamou_regs *regs = &c->page->regs;
	struct tinamou_events *e = &regs->events;

	c->page->window = 0;
	if (!vcpu_intr_pending(v))
		return;
	if (!(regs->rflags & X86_IF) || e->shadow_sti || e->shadow_mov_ss ||
		e->type != TINAMOU_EVENT_NONE) {
		c->page->window = 1;
		return;
	}
	e->type = TINAMOU_EVENT_INTR;
	e->vector = vcpu_intr_ack(v);
	e->has_error = 0;
	c->changed |= X86_GROUP_EVENTS;
}

/* The interpreter delivers NMIs, and what another engine left half delivered. */
static bool step_is_due(struct vcpu *v)
{
	struct driver_cpu *c = driver_cpu(v);
	bool nmi = c->events.nmi_pending || atomic_load(&v->nmi_line);

	return c->must_step || (nmi && !c->page->regs.events.nmi_masked);
}

/* false: run() is over. */
static bool enter(struct vcpu *v, struct run_result *r)
{
	struct driver_cpu *c = driver_cpu(v);
	struct tinamou_run run = {.size = sizeof(run), .flags = TINAMOU_RUN_ENTER};
	int rc;

	__atomic_store_n(&c->page->immediate_exit, 0, __ATOMIC_SEQ_CST);
	if (vcpu_kicked(v)) {
		r->exit = RUN_KICKED;
		return false;
	}
	rc = driver_fetch(c, X86_GROUP_GPR | X86_GROUP_EVENTS);
	if (!rc && step_is_due(v))
		return step(v, r);
	if (!rc) {
		offer_interrupt(v);
		run.put = c->changed;
		run.get = X86_GROUP_GPR | X86_GROUP_EVENTS;
		rc = driver_ioctl(c->fd, TINAMOU_RUN, &run);
		c->changed = 0;
		c->have = run.get;
	}
	if (rc == -EINTR)
		return true;
	if (rc) {
		snprintf(r->why, sizeof(r->why), "TINAMOU_RUN: %s", strerror(-rc));
		return fatal(r);
	}
	return handle_exit(v, r);
}

void driver_run(struct vcpu *v, uint64_t budget, struct run_result *r)
{
	while (enter(v, r))
		;
}
