/*
 * svm_state.c - the groups of registers to and from the VMCB's save area.
 *
 * Source: AMD64 APM vol. 2, 15.5.1 and appendix B. A segment's attributes have
 * bits 55:52 and 47:40 of its descriptor side by side, and "unusable" is P = 0.
 */
#include "svm.h"

static struct vmcb_seg *seg_of(struct vmcb *c, unsigned n)
{
	struct vmcb_seg *const list[TINAMOU_SEGS] = {
		&c->es, &c->cs, &c->ss, &c->ds, &c->fs, &c->gs, &c->ldtr, &c->tr};

	return list[n];
}

static void put_seg(const struct tinamou_seg *from, struct vmcb_seg *to)
{
	to->sel = from->sel;
	to->base = from->base;
	to->limit = from->limit;
	to->attr = (u16)((from->attr & 0xff) | (from->attr >> 4 & 0xf00));
	if (from->attr & SEG_UNUSABLE)
		to->attr &= (u16)~SEG_P;
}

static void get_seg(const struct vmcb_seg *from, struct tinamou_seg *to)
{
	*to = (struct tinamou_seg){.base = from->base, .limit = from->limit, .sel = from->sel};
	to->attr = (from->attr & 0xffu) | (from->attr & 0xf00u) << 4;
	if (!(from->attr & SEG_P))
		to->attr |= SEG_UNUSABLE;
}

/* The CPL has a place of its own; it is SS.DPL, but in real and virtual-8086 mode. */
static u8 cpl_of(const struct vmcb *c)
{
	if (!(c->cr0 & CR0_PE))
		return 0;
	return c->rflags & RFLAGS_VM ? 3 : (u8)((c->ss.attr & SEG_DPL) >> 5);
}

static void put_segments(const struct tinamou_regs *r, struct vmcb *c)
{
	for (unsigned n = 0; n < TINAMOU_SEGS; n++)
		put_seg(&r->seg[n], seg_of(c, n));
	c->gdtr.base = r->gdtr.base;
	c->gdtr.limit = (u16)r->gdtr.limit;
	c->idtr.base = r->idtr.base;
	c->idtr.limit = (u16)r->idtr.limit;
}

static void get_segments(struct tinamou_regs *r, struct vmcb *c)
{
	for (unsigned n = 0; n < TINAMOU_SEGS; n++)
		get_seg(seg_of(c, n), &r->seg[n]);
	r->seg[TINAMOU_SS].attr &= ~SEG_DPL;
	r->seg[TINAMOU_SS].attr |= (u32)c->cpl << 5;
	r->gdtr = (struct tinamou_table){c->gdtr.base, c->gdtr.limit};
	r->idtr = (struct tinamou_table){c->idtr.base, c->idtr.limit};
}

static void put_control(struct hv_vcpu *v, struct vmcb *c)
{
	const struct tinamou_regs *r = &v->regs;

	c->cr0 = r->cr0;
	c->cr2 = r->cr2;
	c->cr3 = r->cr3;
	c->cr4 = r->cr4;
	c->efer = r->efer | EFER_SVME;
	c->v_intr = (c->v_intr & ~V_TPR_MASK) | r->cr8;
	v->flush = 1; /* VMRUN keeps translations, whatever CR3 it loads */
}

static void get_control(struct tinamou_regs *r, const struct vmcb *c)
{
	r->cr0 = c->cr0;
	r->cr2 = c->cr2;
	r->cr3 = c->cr3;
	r->cr4 = c->cr4;
	r->efer = c->efer & ~EFER_SVME;
}

static u64 *msr_of(struct vmcb *c, unsigned n)
{
	switch (n) {
	case TINAMOU_SYSENTER_CS:
		return &c->sysenter_cs;
	case TINAMOU_SYSENTER_ESP:
		return &c->sysenter_esp;
	case TINAMOU_SYSENTER_EIP:
		return &c->sysenter_eip;
	case TINAMOU_STAR:
		return &c->star;
	case TINAMOU_LSTAR:
		return &c->lstar;
	case TINAMOU_CSTAR:
		return &c->cstar;
	case TINAMOU_SFMASK:
		return &c->sfmask;
	case TINAMOU_KERNEL_GS_BASE:
		return &c->kernel_gs_base;
	case TINAMOU_PAT:
		return &c->g_pat;
	default:
		return (void *)0; /* TSC_AUX: switch.c */
	}
}

static void put_msrs(const u64 *msr, struct vmcb *c)
{
	for (unsigned n = 0; n < TINAMOU_MSRS; n++)
		if (msr_of(c, n))
			__builtin_memcpy(msr_of(c, n), &msr[n], sizeof(msr[n]));
}

static void get_msrs(u64 *msr, struct vmcb *c)
{
	for (unsigned n = 0; n < TINAMOU_MSRS; n++)
		if (msr_of(c, n))
			__builtin_memcpy(&msr[n], msr_of(c, n), sizeof(msr[n]));
}

static void put_events(const struct tinamou_events *e, struct vmcb *c)
{
	static const u64 type[] = {[TINAMOU_EVENT_INTR] = EVENT_INTR,
		[TINAMOU_EVENT_NMI] = EVENT_NMI,
		[TINAMOU_EVENT_EXCEPTION] = EVENT_EXCEPTION};

	c->eventinj = 0;
	if (e->type != TINAMOU_EVENT_NONE)
		c->eventinj = EVENT_VALID | type[e->type] | e->vector;
	if (c->eventinj && e->has_error)
		c->eventinj |= EVENT_HAS_ERROR | (u64)e->error << 32;
	c->interrupt_shadow = e->shadow_sti || e->shadow_mov_ss;
	/* Without virtual NMIs the IRET that ends an NMI's handler is the engine's. */
	if (e->nmi_masked)
		c->intercept1 |= INTERCEPT1_IRET;
	else
		c->intercept1 &= ~INTERCEPT1_IRET;
}

/* SVM has one shadow; that of STI holds back less, so it is the one that is told. */
static void get_events(struct tinamou_events *e, const struct vmcb *c)
{
	u64 i = c->eventinj;

	*e = (struct tinamou_events){.shadow_sti = c->interrupt_shadow & 1,
		.nmi_masked = (c->intercept1 & INTERCEPT1_IRET) != 0};
	if (!(i & EVENT_VALID))
		return;
	e->type = (i & EVENT_TYPE) == EVENT_NMI         ? TINAMOU_EVENT_NMI
		  : (i & EVENT_TYPE) == EVENT_EXCEPTION ? TINAMOU_EVENT_EXCEPTION
							: TINAMOU_EVENT_INTR;
	e->vector = i & EVENT_VECTOR;
	e->has_error = (i & EVENT_HAS_ERROR) != 0;
	e->error = (u32)(i >> 32);
}

void svm_put(struct hv_vcpu *v, u32 groups)
{
	struct vmcb *c = svm_vcpu(v)->vmcb;

	if (groups & TINAMOU_GPR) {
		c->rip = v->regs.rip;
		c->rflags = v->regs.rflags | RFLAGS_FIXED;
	}
	if (groups & TINAMOU_SEG)
		put_segments(&v->regs, c);
	if (groups & TINAMOU_CR)
		put_control(v, c);
	if (groups & TINAMOU_DR) {
		c->dr6 = v->regs.dr[6];
		c->dr7 = v->regs.dr[7];
	}
	if (groups & TINAMOU_MSR)
		put_msrs(v->regs.msr, c);
	if (groups & TINAMOU_TSC)
		c->tsc_offset = v->regs.tsc - rdtsc64();
	if (groups & TINAMOU_EVENTS)
		put_events(&v->regs.events, c);
	if (groups & (TINAMOU_GPR | TINAMOU_SEG | TINAMOU_CR))
		c->cpl = cpl_of(c);
}

void svm_get(struct hv_vcpu *v, u32 groups)
{
	struct vmcb *c = svm_vcpu(v)->vmcb;

	if (groups & TINAMOU_GPR) {
		v->regs.rip = c->rip;
		v->regs.rflags = c->rflags;
	}
	if (groups & TINAMOU_SEG)
		get_segments(&v->regs, c);
	if (groups & TINAMOU_CR)
		get_control(&v->regs, c);
	if (groups & TINAMOU_DR) {
		v->regs.dr[6] = c->dr6;
		v->regs.dr[7] = c->dr7;
	}
	if (groups & TINAMOU_MSR)
		get_msrs(v->regs.msr, c);
	if (groups & TINAMOU_TSC)
		v->regs.tsc = rdtsc64() + c->tsc_offset;
	if (groups & TINAMOU_EVENTS)
		get_events(&v->regs.events, c);
}
