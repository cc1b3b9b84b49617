/*
 * svm_exit.c - what an exit code of SVM means to the engine.
 *
 * Source: AMD64 APM vol. 2, appendix C; 15.20 (event injection). The host's
 * own interrupts are taken when interrupts go on again behind this; all that
 * an exit interrupted in the middle of its delivery is delivered again.
 */
#include "svm.h"

/* Software interrupts and INT3, INTO: the instruction is executed again instead. */
static int by_instruction(u64 info)
{
	u64 type = info & EVENT_TYPE, vector = info & EVENT_VECTOR;

	return type == EVENT_SOFT || (type == EVENT_EXCEPTION && (vector == 3 || vector == 4));
}

static void deliver_again(struct vmcb *c)
{
	u64 info = c->exitintinfo;

	c->eventinj = info & EVENT_VALID && !by_instruction(info) ? info : 0;
}

static enum hv_next user(struct svm_vcpu *s, u32 reason)
{
	s->v.exit.reason = reason;
	return HV_USER;
}

static u32 insn_len(const struct svm_vcpu *s)
{
	const struct svm *svm = s->v.vm->hv->priv;
	u64 len = s->vmcb->nrip - s->vmcb->rip;

	if (s->vmcb->exitcode == EXIT_IOIO)
		len = s->vmcb->exitinfo2 - s->vmcb->rip;
	else if (!svm->has_nrip)
		return 0;
	return len <= 15 ? (u32)len : 0;
}

static enum hv_next exit_io(struct svm_vcpu *s)
{
	u64 info = s->vmcb->exitinfo1;
	struct tinamou_exit *e = &s->v.exit;

	e->port = (u16)(info >> 16);
	e->size = info >> 4 & 7;
	e->in = info & IOIO_IN;
	e->string = (info & IOIO_STRING) != 0;
	return user(s, TINAMOU_EXIT_IO);
}

static enum hv_next exit_nested_fault(struct svm_vcpu *s)
{
	s->v.exit.gpa = s->vmcb->exitinfo2;
	s->v.exit.write = (s->vmcb->exitinfo1 & NPF_WRITE) != 0;
	return HV_FAULT;
}

/* A debug trap is behind its instruction: it must be delivered, not raised once more. */
static enum hv_next exit_exception(struct svm_vcpu *s)
{
	struct vmcb *c = s->vmcb;

	s->v.exit.vector = (u8)(c->exitcode - EXIT_EXCEPTION);
	if (s->v.exit.vector == 18) {
		s->v.vm->hv->host->machine_check();
		return HV_AGAIN;
	}
	if (s->v.exit.vector == 1 && !(c->eventinj & EVENT_VALID))
		c->eventinj = EVENT_VALID | EVENT_EXCEPTION | 1;
	return user(s, TINAMOU_EXIT_EXCEPTION);
}

static enum hv_next by_code(struct svm_vcpu *s)
{
	u64 code = s->vmcb->exitcode;

	switch (code) {
	case EXIT_INTR:
	case EXIT_NMI:
	case EXIT_INIT:
		return HV_AGAIN;
	case EXIT_VINTR:
		return user(s, TINAMOU_EXIT_WINDOW);
	case EXIT_CPUID:
		return user(s, TINAMOU_EXIT_CPUID);
	case EXIT_HLT:
		return user(s, TINAMOU_EXIT_HLT);
	case EXIT_IOIO:
		return exit_io(s);
	case EXIT_MSR:
		s->v.exit.write = s->vmcb->exitinfo1 & 1;
		return user(s, TINAMOU_EXIT_MSR);
	case EXIT_SHUTDOWN:
		return user(s, TINAMOU_EXIT_SHUTDOWN);
	case EXIT_VMMCALL:
		return user(s, TINAMOU_EXIT_HYPERCALL);
	case EXIT_NPF:
		return exit_nested_fault(s);
	case EXIT_INVALID:
		return user(s, TINAMOU_EXIT_FAIL);
	default:
		break;
	}
	if (code >= EXIT_EXCEPTION && code < EXIT_INTR)
		return exit_exception(s);
	return user(s, code <= EXIT_RDPRU ? TINAMOU_EXIT_INSN : TINAMOU_EXIT_FAIL);
}

enum hv_next svm_exit(struct svm_vcpu *s)
{
	struct vmcb *c = s->vmcb;
	struct tinamou_exit *e = &s->v.exit;

	deliver_again(c);
	e->code = c->exitcode;
	e->info[0] = c->exitinfo1;
	e->info[1] = c->exitinfo2;
	e->insn_len = insn_len(s);
	e->interruptible =
		c->rflags & RFLAGS_IF && !(c->interrupt_shadow & 1) && !(c->eventinj & EVENT_VALID);
	return by_code(s);
}
