/*
 * vmx_exit.c - what an exit reason of VMX means to the engine.
 *
 * Source: Intel SDM vol. 3C, 27 and appendix C. The host's own interrupts are
 * taken when interrupts go on again behind this; NMIs and machine checks have
 * been taken by the exit and are handed to the host. What an exit interrupted
 * in the middle of its delivery is delivered again.
 */
#include "vmx.h"

#define VECTOR_DB 1u
#define VECTOR_MC 18u

/* DR6 of a #DB exit: the qualification has the causes (27.2.1). */
#define DR6_CAUSES 0x600full

/* Those that an instruction raised (INT n, INT1, INT3, INTO) come again with it. */
static void deliver_again(void)
{
	u32 info = (u32)vmread(VECTORING_EVENT), type = info & EVENT_TYPE;

	if (!(info & EVENT_VALID) || type > EVENT_EXCEPTION) {
		vmwrite(ENTRY_EVENT, 0);
		return;
	}
	if (type == EVENT_NMI) /* it is not in its handler yet */
		vmwrite(GUEST_INTERRUPTIBILITY, vmread(GUEST_INTERRUPTIBILITY) & ~BLOCKED_BY_NMI);
	if (info & EVENT_HAS_ERROR)
		vmwrite(ENTRY_ERROR, vmread(VECTORING_ERROR));
	vmwrite(ENTRY_EVENT, info & (EVENT_VALID | EVENT_HAS_ERROR | EVENT_TYPE | EVENT_VECTOR));
}

static enum hv_next user(struct vmx_vcpu *x, u32 reason)
{
	x->v.exit.reason = reason;
	return HV_USER;
}

static enum hv_next exit_exception(struct vmx_vcpu *x)
{
	const struct hv_host *host = x->v.vm->hv->host;
	u32 info = (u32)vmread(EXIT_EVENT);
	struct tinamou_regs *r = &x->v.regs;

	x->v.exit.vector = info & EVENT_VECTOR;
	if ((info & EVENT_TYPE) == EVENT_NMI) {
		host->nmi();
		return HV_AGAIN;
	}
	if (x->v.exit.vector == VECTOR_MC) {
		host->machine_check();
		return HV_AGAIN;
	}
	if (x->v.exit.vector == VECTOR_DB) { /* a trap, behind its instruction: to be delivered */
		r->dr[6] = (r->dr[6] & ~15ull) | (vmread(EXIT_QUALIFICATION) & DR6_CAUSES);
		vmwrite(ENTRY_EVENT, EVENT_VALID | EVENT_EXCEPTION | VECTOR_DB);
	}
	return user(x, TINAMOU_EXIT_EXCEPTION);
}

static enum hv_next exit_io(struct vmx_vcpu *x)
{
	u64 q = x->v.exit.info[0];
	struct tinamou_exit *e = &x->v.exit;

	e->port = (u16)(q >> 16);
	e->size = (u8)((q & 7) + 1);
	e->in = (q & IO_IN) != 0;
	e->string = (q & IO_STRING) != 0;
	return user(x, TINAMOU_EXIT_IO);
}

/* An IRET that faulted here has ended the blocking of NMIs already (27.2.3). */
static enum hv_next exit_ept_violation(struct vmx_vcpu *x)
{
	u64 q = x->v.exit.info[0];

	if (q & EPT_IRET_NMI && !(vmread(VECTORING_EVENT) & EVENT_VALID))
		vmwrite(GUEST_INTERRUPTIBILITY, vmread(GUEST_INTERRUPTIBILITY) | BLOCKED_BY_NMI);
	x->v.exit.gpa = vmread(GUEST_PHYSICAL);
	x->v.exit.write = (q & EPT_WRITE) != 0;
	return HV_FAULT;
}

static enum hv_next by_reason(struct vmx_vcpu *x, u32 reason)
{
	switch (reason) {
	case REASON_EXCEPTION:
		return exit_exception(x);
	case REASON_EXTERNAL_INTERRUPT:
	case REASON_INIT:
	case REASON_PREEMPTION_TIMER:
		return HV_AGAIN;
	case REASON_TRIPLE_FAULT:
		return user(x, TINAMOU_EXIT_SHUTDOWN);
	case REASON_INTERRUPT_WINDOW:
		return user(x, TINAMOU_EXIT_WINDOW);
	case REASON_CPUID:
		return user(x, TINAMOU_EXIT_CPUID);
	case REASON_HLT:
		return user(x, TINAMOU_EXIT_HLT);
	case REASON_VMCALL:
		return user(x, TINAMOU_EXIT_HYPERCALL);
	case REASON_IO:
		return exit_io(x);
	case REASON_RDMSR:
	case REASON_WRMSR:
		x->v.exit.write = reason == REASON_WRMSR;
		return user(x, TINAMOU_EXIT_MSR);
	case REASON_EPT_VIOLATION:
		return exit_ept_violation(x);
	case REASON_EPT_MISCONFIGURATION:
		return user(x, TINAMOU_EXIT_FAIL);
	default:
		return user(x, reason < REASON_LAST_INSN ? TINAMOU_EXIT_INSN : TINAMOU_EXIT_FAIL);
	}
}

static int interruptible(void)
{
	return vmread(GUEST_RFLAGS) & RFLAGS_IF &&
	       !(vmread(GUEST_INTERRUPTIBILITY) & (BLOCKED_BY_STI | BLOCKED_BY_MOV_SS)) &&
	       !(vmread(ENTRY_EVENT) & EVENT_VALID);
}

enum hv_next vmx_exit(struct vmx_vcpu *x)
{
	struct tinamou_exit *e = &x->v.exit;
	u32 reason = (u32)vmread(EXIT_REASON);

	e->code = reason;
	e->info[0] = vmread(EXIT_QUALIFICATION);
	e->info[1] = vmread(EXIT_EVENT);
	if ((reason & 0xffff) == REASON_MACHINE_CHECK)
		x->v.vm->hv->host->machine_check();
	if (reason & REASON_ENTRY_FAILED)
		return user(x, TINAMOU_EXIT_FAIL);
	deliver_again();
	e->insn_len = (u32)vmread(EXIT_INSN_LEN);
	e->interruptible = interruptible() != 0;
	return by_reason(x, reason & 0xffff);
}
