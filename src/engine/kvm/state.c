/*
 * state.c - the canonical state to and from KVM (api.rst section 4).
 *
 * KVM keeps hidden parts of segments as bit-fields, the FPU in XSAVE's
 * standard form, and events in kvm_vcpu_events. FIP, FDP and FOP are dropped:
 * on some hosts they are not the guest's.
 */
#include <errno.h>
#include <string.h>

#include "engine/kvm/internal.h"
#include "util/util.h"

/* XSAVE legacy region (SDM vol. 1 table 10-2): FOP, FIP and FDP. */
#define XSAVE_FOP     6
#define XSAVE_FOP_LEN 2
#define XSAVE_FIP     8
#define XSAVE_FIP_LEN 16
#define XSAVE_MXCSR   24
#define XSAVE_ST      32
#define XSAVE_XMM     160
#define XSAVE_BV      512

static struct kvm_engine *engine_of(struct vcpu *v)
{
	return container_of(v->vm->engine, struct kvm_engine, engine);
}

/* An exit for I/O or MMIO is finished by entering once more. */
static void complete(struct kvm_cpu *c)
{
	c->run->immediate_exit = 1;
	kvm_ioctl(c->fd, KVM_RUN, NULL);
	c->run->immediate_exit = 0;
}

/* ---- general registers ---- */

static void gprs_out(const struct kvm_regs *r, struct x86_state *s)
{
	const uint64_t list[X86_GPR_COUNT] = {r->rax, r->rcx, r->rdx, r->rbx, r->rsp, r->rbp,
		r->rsi, r->rdi, r->r8, r->r9, r->r10, r->r11, r->r12, r->r13, r->r14, r->r15};

	memcpy(s->gpr, list, sizeof(list));
	s->rip = r->rip;
	s->rflags = r->rflags;
}

static void gprs_in(const struct x86_state *s, struct kvm_regs *r)
{
	const uint64_t *g = s->gpr;

	*r = (struct kvm_regs){.rax = g[X86_RAX],
		.rcx = g[X86_RCX],
		.rdx = g[X86_RDX],
		.rbx = g[X86_RBX],
		.rsp = g[X86_RSP],
		.rbp = g[X86_RBP],
		.rsi = g[X86_RSI],
		.rdi = g[X86_RDI],
		.r8 = g[X86_R8],
		.r9 = g[X86_R9],
		.r10 = g[X86_R10],
		.r11 = g[X86_R11],
		.r12 = g[X86_R12],
		.r13 = g[X86_R13],
		.r14 = g[X86_R14],
		.r15 = g[X86_R15],
		.rip = s->rip,
		.rflags = s->rflags | X86_FLAGS_FIXED};
}

/* ---- segments and control registers ---- */

static void seg_out(const struct kvm_segment *k, struct x86_seg *s)
{
	s->sel = k->selector;
	s->base = k->base;
	s->limit = k->limit;
	s->attr = k->type | (uint32_t)k->s << 4 | (uint32_t)k->dpl << 5 |
		  (uint32_t)k->present << 7 | (uint32_t)k->avl << 12 | (uint32_t)k->l << 13 |
		  (uint32_t)k->db << 14 | (uint32_t)k->g << 15 |
		  (k->unusable ? X86_ATTR_UNUSABLE : 0);
}

static void seg_in(const struct x86_seg *s, struct kvm_segment *k)
{
	*k = (struct kvm_segment){.selector = s->sel,
		.base = s->base,
		.limit = s->limit,
		.type = s->attr & X86_ATTR_TYPE,
		.s = s->attr >> 4 & 1,
		.dpl = s->attr >> 5 & 3,
		.present = s->attr >> 7 & 1,
		.avl = s->attr >> 12 & 1,
		.l = s->attr >> 13 & 1,
		.db = s->attr >> 14 & 1,
		.g = s->attr >> 15 & 1,
		.unusable = s->attr >> 16 & 1};
}

static struct kvm_segment *kvm_seg(struct kvm_sregs *k, unsigned n)
{
	struct kvm_segment *const list[X86_SEG_COUNT] = {
		&k->es, &k->cs, &k->ss, &k->ds, &k->fs, &k->gs, &k->ldt, &k->tr};

	return list[n];
}

static void segments_out(struct kvm_sregs *k, struct x86_state *s)
{
	for (unsigned i = 0; i < X86_SEG_COUNT; i++)
		seg_out(kvm_seg(k, i), &s->seg[i]);
	s->gdtr = (struct x86_table){k->gdt.base, k->gdt.limit};
	s->idtr = (struct x86_table){k->idt.base, k->idt.limit};
}

static void segments_in(const struct x86_state *s, struct kvm_sregs *k)
{
	for (unsigned i = 0; i < X86_SEG_COUNT; i++)
		seg_in(&s->seg[i], kvm_seg(k, i));
	k->gdt = (struct kvm_dtable){.base = s->gdtr.base, .limit = s->gdtr.limit};
	k->idt = (struct kvm_dtable){.base = s->idtr.base, .limit = s->idtr.limit};
}

static void control_out(const struct kvm_sregs *k, struct x86_state *s)
{
	s->cr0 = k->cr0;
	s->cr2 = k->cr2;
	s->cr3 = k->cr3;
	s->cr4 = k->cr4;
	s->cr8 = k->cr8;
	s->efer = k->efer;
}

static void control_in(const struct x86_state *s, struct kvm_sregs *k)
{
	k->cr0 = s->cr0;
	k->cr2 = s->cr2;
	k->cr3 = s->cr3;
	k->cr4 = s->cr4;
	k->cr8 = s->cr8;
	k->efer = s->efer;
}

static int xcr0_out(struct kvm_engine *k, int fd, struct x86_state *s)
{
	struct kvm_xcrs x = {0};
	int rc = k->has_xcrs ? kvm_ioctl(fd, KVM_GET_XCRS, &x) : 0;

	s->xcr0 = x.nr_xcrs ? x.xcrs[0].value : X86_XCR0_X87;
	return rc;
}

static int xcr0_in(struct kvm_engine *k, int fd, const struct x86_state *s)
{
	struct kvm_xcrs x = {.nr_xcrs = 1, .xcrs[0] = {.xcr = 0, .value = s->xcr0}};

	return k->has_xcrs ? kvm_ioctl(fd, KVM_SET_XCRS, &x) : 0;
}

static int special_out(struct vcpu *v, struct x86_state *s, unsigned mask)
{
	struct kvm_sregs k;
	int rc = kvm_ioctl(kvm_cpu(v)->fd, KVM_GET_SREGS, &k);

	if (rc < 0)
		return rc;
	if (mask & X86_GROUP_SEG)
		segments_out(&k, s);
	if (!(mask & X86_GROUP_CR))
		return 0;
	control_out(&k, s);
	memset(s->pdpte, 0, sizeof(s->pdpte)); /* KVM reads them from memory again */
	return xcr0_out(engine_of(v), kvm_cpu(v)->fd, s);
}

static int special_in(struct vcpu *v, const struct x86_state *s, unsigned mask)
{
	struct kvm_sregs k;
	int rc = kvm_ioctl(kvm_cpu(v)->fd, KVM_GET_SREGS, &k);

	if (rc < 0)
		return rc;
	if (mask & X86_GROUP_SEG)
		segments_in(s, &k);
	if (mask & X86_GROUP_CR)
		control_in(s, &k);
	memset(k.interrupt_bitmap, 0, sizeof(k.interrupt_bitmap));
	rc = kvm_ioctl(kvm_cpu(v)->fd, KVM_SET_SREGS, &k);
	if (rc >= 0 && (mask & X86_GROUP_CR))
		rc = xcr0_in(engine_of(v), kvm_cpu(v)->fd, s);
	return rc;
}

/* ---- debug registers, FPU ---- */

static int debug_out(struct vcpu *v, struct x86_state *s)
{
	struct kvm_debugregs d = {0};
	int rc = engine_of(v)->has_debugregs ? kvm_ioctl(kvm_cpu(v)->fd, KVM_GET_DEBUGREGS, &d) : 0;

	memcpy(s->dr, d.db, sizeof(d.db));
	s->dr[4] = s->dr[5] = 0;
	s->dr[6] = d.dr6;
	s->dr[7] = d.dr7;
	return rc;
}

static int debug_in(struct vcpu *v, const struct x86_state *s)
{
	struct kvm_debugregs d = {.dr6 = s->dr[6], .dr7 = s->dr[7]};

	memcpy(d.db, s->dr, sizeof(d.db));
	return engine_of(v)->has_debugregs ? kvm_ioctl(kvm_cpu(v)->fd, KVM_SET_DEBUGREGS, &d) : 0;
}

/* A KVM without KVM_CAP_XSAVE has x87 and SSE in a layout of its own. */
static int fpu_legacy_out(struct vcpu *v, struct x86_state *s)
{
	const uint64_t parts = X86_XCR0_X87 | X86_XCR0_SSE;
	const uint32_t mxcsr_mask = 0xffff;
	struct kvm_fpu f;
	int rc = kvm_ioctl(kvm_cpu(v)->fd, KVM_GET_FPU, &f);

	if (rc)
		return rc;
	memset(s->xsave, 0, sizeof(s->xsave));
	memcpy(s->xsave, &f.fcw, 2);
	memcpy(s->xsave + 2, &f.fsw, 2);
	s->xsave[4] = f.ftwx;
	memcpy(s->xsave + XSAVE_MXCSR, &f.mxcsr, 4);
	memcpy(s->xsave + XSAVE_MXCSR + 4, &mxcsr_mask, 4);
	memcpy(s->xsave + XSAVE_ST, f.fpr, sizeof(f.fpr));
	memcpy(s->xsave + XSAVE_XMM, f.xmm, sizeof(f.xmm));
	memcpy(s->xsave + XSAVE_BV, &parts, sizeof(parts));
	return 0;
}

static int fpu_legacy_in(struct vcpu *v, const struct x86_state *s)
{
	struct kvm_fpu f = {.ftwx = s->xsave[4]};

	memcpy(&f.fcw, s->xsave, 2);
	memcpy(&f.fsw, s->xsave + 2, 2);
	memcpy(&f.mxcsr, s->xsave + XSAVE_MXCSR, 4);
	memcpy(f.fpr, s->xsave + XSAVE_ST, sizeof(f.fpr));
	memcpy(f.xmm, s->xsave + XSAVE_XMM, sizeof(f.xmm));
	return kvm_ioctl(kvm_cpu(v)->fd, KVM_SET_FPU, &f);
}

static int fpu_out(struct vcpu *v, struct x86_state *s)
{
	struct kvm_xsave x = {0};
	int rc;

	if (!engine_of(v)->has_xsave)
		return fpu_legacy_out(v, s);
	rc = kvm_ioctl(kvm_cpu(v)->fd, KVM_GET_XSAVE, &x);
	memcpy(s->xsave, &x, sizeof(s->xsave));
	memset(s->xsave + XSAVE_FOP, 0, XSAVE_FOP_LEN);
	memset(s->xsave + XSAVE_FIP, 0, XSAVE_FIP_LEN);
	return rc;
}

static int fpu_in(struct vcpu *v, const struct x86_state *s)
{
	struct kvm_xsave x = {0};
	int rc;

	if (!engine_of(v)->has_xsave)
		return fpu_legacy_in(v, s);
	rc = kvm_ioctl(kvm_cpu(v)->fd, KVM_GET_XSAVE, &x);
	memcpy(&x, s->xsave, sizeof(s->xsave));
	return rc < 0 ? rc : kvm_ioctl(kvm_cpu(v)->fd, KVM_SET_XSAVE, &x);
}

/* ---- MSRs ---- */

#define MSR_TSC 0x10

/* KVM_GET_MSRS or KVM_SET_MSRS for one MSR: 1 if it was done, 0 if KVM does not know it. */
static int msr_ioctl(struct vcpu *v, unsigned long request, uint32_t number, uint64_t *value)
{
	_Alignas(struct kvm_msrs)
		uint8_t buf[sizeof(struct kvm_msrs) + sizeof(struct kvm_msr_entry)];
	struct kvm_msrs *m = (struct kvm_msrs *)buf;
	int rc;

	memset(buf, 0, sizeof(buf));
	m->nmsrs = 1;
	m->entries[0] = (struct kvm_msr_entry){.index = number, .data = *value};
	rc = kvm_ioctl(kvm_cpu(v)->fd, request, m);
	*value = m->entries[0].data;
	return rc;
}

/* An MSR that this KVM does not know is kept at its reset value. */
static void msrs_out(struct vcpu *v, struct x86_state *s)
{
	for (unsigned i = 0; i < X86_MSR_COUNT; i++) {
		uint64_t value = 0;

		if (msr_ioctl(v, KVM_GET_MSRS, x86_msr_list[i].number, &value) == 1)
			s->msr[i] = value;
		else
			s->msr[i] = x86_msr_list[i].reset;
	}
}

static int set_msr(struct vcpu *v, uint32_t number, uint64_t value)
{
	int rc = msr_ioctl(v, KVM_SET_MSRS, number, &value);

	return rc == 1 ? 0 : rc < 0 ? rc : -ENOTSUP;
}

/* Refused is an error only where it would change something. */
static int msrs_in(struct vcpu *v, const struct x86_state *s)
{
	for (unsigned i = 0; i < X86_MSR_COUNT; i++)
		if (set_msr(v, x86_msr_list[i].number, s->msr[i]) &&
			s->msr[i] != x86_msr_list[i].reset)
			return -ENOTSUP;
	return 0;
}

static void tsc_out(struct vcpu *v, struct x86_state *s)
{
	uint64_t value = 0;

	if (msr_ioctl(v, KVM_GET_MSRS, MSR_TSC, &value) == 1)
		s->tsc = value;
}

/* ---- events ---- */

static uint8_t injected_type(const struct kvm_vcpu_events *e)
{
	if (e->exception.injected)
		return X86_EVENT_EXCEPTION;
	if (e->interrupt.injected)
		return e->interrupt.soft ? X86_EVENT_SOFT_INTR : X86_EVENT_INTR;
	return e->nmi.injected ? X86_EVENT_NMI : X86_EVENT_NONE;
}

static int events_out(struct vcpu *v, struct x86_state *s)
{
	struct kvm_vcpu_events e = {0};
	struct x86_events *x = &s->events;
	int rc = kvm_ioctl(kvm_cpu(v)->fd, KVM_GET_VCPU_EVENTS, &e);

	*x = (struct x86_events){.type = injected_type(&e)};
	if (x->type == X86_EVENT_EXCEPTION) {
		x->vector = e.exception.nr;
		x->has_error = e.exception.has_error_code;
		x->error = e.exception.error_code;
	} else if (x->type != X86_EVENT_NONE) {
		x->vector = x->type == X86_EVENT_NMI ? X86_NMI : e.interrupt.nr;
	}
	x->shadow_sti = e.interrupt.shadow & KVM_X86_SHADOW_INT_STI;
	x->shadow_mov_ss = e.interrupt.shadow & KVM_X86_SHADOW_INT_MOV_SS;
	x->nmi_masked = e.nmi.masked;
	x->nmi_pending = e.nmi.pending;
	return rc;
}

static int events_in(struct vcpu *v, const struct x86_state *s)
{
	const struct x86_events *x = &s->events;
	bool intr = x->type == X86_EVENT_INTR || x->type == X86_EVENT_SOFT_INTR;
	struct kvm_vcpu_events e = {
		.flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW,
		.nmi = {x->type == X86_EVENT_NMI, x->nmi_pending, x->nmi_masked, 0},
		.interrupt = {intr, intr ? x->vector : 0, x->type == X86_EVENT_SOFT_INTR,
			(x->shadow_sti ? KVM_X86_SHADOW_INT_STI : 0) |
				(x->shadow_mov_ss ? KVM_X86_SHADOW_INT_MOV_SS : 0)}};

	if (x->type == X86_EVENT_EXCEPTION || x->type == X86_EVENT_SOFT_EXCEPTION) {
		e.exception.injected = 1;
		e.exception.nr = x->vector;
		e.exception.has_error_code = x->has_error;
		e.exception.error_code = x->error;
	}
	return kvm_ioctl(kvm_cpu(v)->fd, KVM_SET_VCPU_EVENTS, &e);
}

/* ---- all of it ---- */

int kvm_get(struct vcpu *v, struct x86_state *s, unsigned mask)
{
	struct kvm_cpu *c = kvm_cpu(v);
	struct kvm_regs regs;
	int rc = 0;

	complete(c);
	if (mask & X86_GROUP_GPR) {
		rc = kvm_ioctl(c->fd, KVM_GET_REGS, &regs);
		if (rc >= 0)
			gprs_out(&regs, s);
	}
	if (rc >= 0 && mask & (X86_GROUP_SEG | X86_GROUP_CR))
		rc = special_out(v, s, mask);
	if (rc >= 0 && mask & X86_GROUP_DR)
		rc = debug_out(v, s);
	if (rc >= 0 && mask & X86_GROUP_FPU)
		rc = fpu_out(v, s);
	if (mask & X86_GROUP_MSR)
		msrs_out(v, s);
	if (mask & X86_GROUP_TSC)
		tsc_out(v, s);
	if (rc >= 0 && mask & X86_GROUP_EVENTS)
		rc = events_out(v, s);
	return rc < 0 ? rc : 0;
}

int kvm_put(struct vcpu *v, const struct x86_state *s, unsigned mask)
{
	struct kvm_cpu *c = kvm_cpu(v);
	struct kvm_regs regs;
	int rc = 0;

	complete(c);
	if (mask & (X86_GROUP_SEG | X86_GROUP_CR))
		rc = special_in(v, s, mask);
	if (rc >= 0 && mask & X86_GROUP_GPR) {
		gprs_in(s, &regs);
		rc = kvm_ioctl(c->fd, KVM_SET_REGS, &regs);
	}
	if (rc >= 0 && mask & X86_GROUP_DR)
		rc = debug_in(v, s);
	if (rc >= 0 && mask & X86_GROUP_FPU)
		rc = fpu_in(v, s);
	if (rc >= 0 && mask & X86_GROUP_MSR)
		rc = msrs_in(v, s);
	if (rc >= 0 && mask & X86_GROUP_TSC)
		rc = set_msr(v, MSR_TSC, s->tsc);
	if (rc >= 0 && mask & X86_GROUP_EVENTS)
		rc = events_in(v, s);
	return rc < 0 ? rc : 0;
}
