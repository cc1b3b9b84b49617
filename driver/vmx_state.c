/*
 * vmx_state.c - the groups of registers to and from the VMCS.
 *
 * Source: Intel SDM vol. 3C, 24.4 and 26.3 (what an entry checks). Attributes
 * of segments are in the contract's own form. What the VMCS has no field for
 * stays in regs: CR2, DR6, and the MSRs of vmx_host.c.
 */
#include "vmx.h"

#define PENDING_BS (1ull << 14)
#define RFLAGS_TF  (1ull << 8)

static enum vmcs_field field(enum vmcs_field first, unsigned n)
{
	return (enum vmcs_field)(first + 2 * n);
}

static void put_segments(const struct tinamou_regs *r)
{
	for (unsigned n = 0; n < TINAMOU_SEGS; n++) {
		vmwrite(field(GUEST_ES_SEL, n), r->seg[n].sel);
		vmwrite(field(GUEST_ES_BASE, n), r->seg[n].base);
		vmwrite(field(GUEST_ES_LIMIT, n), r->seg[n].limit);
		vmwrite(field(GUEST_ES_ATTR, n), r->seg[n].attr);
	}
	vmwrite(GUEST_GDTR_BASE, r->gdtr.base);
	vmwrite(GUEST_GDTR_LIMIT, r->gdtr.limit & 0xffff);
	vmwrite(GUEST_IDTR_BASE, r->idtr.base);
	vmwrite(GUEST_IDTR_LIMIT, r->idtr.limit & 0xffff);
}

static void get_segments(struct tinamou_regs *r)
{
	for (unsigned n = 0; n < TINAMOU_SEGS; n++)
		r->seg[n] = (struct tinamou_seg){.sel = (u16)vmread(field(GUEST_ES_SEL, n)),
			.base = vmread(field(GUEST_ES_BASE, n)),
			.limit = (u32)vmread(field(GUEST_ES_LIMIT, n)),
			.attr = (u32)vmread(field(GUEST_ES_ATTR, n))};
	r->gdtr = (struct tinamou_table){vmread(GUEST_GDTR_BASE), vmread(GUEST_GDTR_LIMIT)};
	r->idtr = (struct tinamou_table){vmread(GUEST_IDTR_BASE), vmread(GUEST_IDTR_LIMIT)};
}

/* CR0.NE is on in VMX operation, CR4.VMXE too: the guest sees its own in the shadows. */
static void put_control(struct hv_vcpu *v)
{
	const struct tinamou_regs *r = &v->regs;

	vmwrite(GUEST_CR0, (r->cr0 & ~(CR0_CD | CR0_NW)) | CR0_NE);
	vmwrite(CR0_SHADOW, r->cr0);
	vmwrite(GUEST_CR3, r->cr3);
	vmwrite(GUEST_CR4, r->cr4 | CR4_VMXE);
	vmwrite(CR4_SHADOW, r->cr4);
	vmwrite(GUEST_EFER, r->efer);
	for (unsigned n = 0; n < 4; n++)
		vmwrite(field(GUEST_PDPTE0, n), r->pdpte[n]);
	v->flush = 1; /* an entry keeps translations, whatever CR3 it loads */
}

static void get_control(struct tinamou_regs *r)
{
	r->cr0 = (vmread(GUEST_CR0) & ~CR0_SHADOWED) | (vmread(CR0_SHADOW) & CR0_SHADOWED);
	r->cr3 = vmread(GUEST_CR3);
	r->cr4 = vmread(GUEST_CR4) & ~CR4_VMXE;
	r->efer = vmread(GUEST_EFER);
	for (unsigned n = 0; n < 4; n++)
		r->pdpte[n] = vmread(field(GUEST_PDPTE0, n));
}

static void put_msrs(const u64 *msr)
{
	vmwrite(GUEST_SYSENTER_CS, msr[TINAMOU_SYSENTER_CS]);
	vmwrite(GUEST_SYSENTER_ESP, msr[TINAMOU_SYSENTER_ESP]);
	vmwrite(GUEST_SYSENTER_EIP, msr[TINAMOU_SYSENTER_EIP]);
	vmwrite(GUEST_PAT, msr[TINAMOU_PAT]);
}

static void get_msrs(u64 *msr)
{
	msr[TINAMOU_SYSENTER_CS] = vmread(GUEST_SYSENTER_CS);
	msr[TINAMOU_SYSENTER_ESP] = vmread(GUEST_SYSENTER_ESP);
	msr[TINAMOU_SYSENTER_EIP] = vmread(GUEST_SYSENTER_EIP);
	msr[TINAMOU_PAT] = vmread(GUEST_PAT);
}

static void put_event(const struct tinamou_events *e)
{
	static const u32 type[] = {[TINAMOU_EVENT_INTR] = EVENT_INTR,
		[TINAMOU_EVENT_NMI] = EVENT_NMI,
		[TINAMOU_EVENT_EXCEPTION] = EVENT_EXCEPTION};
	u32 info = 0;

	if (e->type != TINAMOU_EVENT_NONE)
		info = EVENT_VALID | type[e->type] | e->vector;
	if (info && e->has_error) {
		info |= EVENT_HAS_ERROR;
		vmwrite(ENTRY_ERROR, e->error & 0xffff);
	}
	vmwrite(ENTRY_EVENT, info);
}

/* An entry refuses combinations that no CPU is in (26.3.1.5). */
static void put_blocking(const struct tinamou_events *e)
{
	u64 rflags = vmread(GUEST_RFLAGS);
	u32 blocking = 0;

	if (e->shadow_mov_ss)
		blocking = BLOCKED_BY_MOV_SS;
	else if (e->shadow_sti && rflags & RFLAGS_IF)
		blocking = BLOCKED_BY_STI;
	vmwrite(GUEST_PENDING_DEBUG, blocking && rflags & RFLAGS_TF ? PENDING_BS : 0);
	if (e->nmi_masked && e->type != TINAMOU_EVENT_NMI)
		blocking |= BLOCKED_BY_NMI;
	vmwrite(GUEST_INTERRUPTIBILITY, blocking);
}

static void get_events(struct tinamou_events *e)
{
	u32 info = (u32)vmread(ENTRY_EVENT), blocking = (u32)vmread(GUEST_INTERRUPTIBILITY);

	*e = (struct tinamou_events){.shadow_sti = (blocking & BLOCKED_BY_STI) != 0,
		.shadow_mov_ss = (blocking & BLOCKED_BY_MOV_SS) != 0,
		.nmi_masked = (blocking & BLOCKED_BY_NMI) != 0};
	if (!(info & EVENT_VALID))
		return;
	e->type = (info & EVENT_TYPE) == EVENT_NMI         ? TINAMOU_EVENT_NMI
		  : (info & EVENT_TYPE) == EVENT_EXCEPTION ? TINAMOU_EVENT_EXCEPTION
							   : TINAMOU_EVENT_INTR;
	e->vector = info & EVENT_VECTOR;
	e->has_error = (info & EVENT_HAS_ERROR) != 0;
	e->error = e->has_error ? (u32)vmread(ENTRY_ERROR) : 0;
}

void vmx_put_fields(struct vmx_vcpu *x, u32 groups)
{
	struct tinamou_regs *r = &x->v.regs;

	if (groups & TINAMOU_GPR) {
		vmwrite(GUEST_RIP, r->rip);
		vmwrite(GUEST_RFLAGS, r->rflags | RFLAGS_FIXED);
	}
	if (groups & TINAMOU_SEG)
		put_segments(r);
	if (groups & TINAMOU_CR)
		put_control(&x->v);
	if (groups & TINAMOU_DR)
		vmwrite(GUEST_DR7, r->dr[7]);
	if (groups & TINAMOU_MSR)
		put_msrs(r->msr);
	if (groups & TINAMOU_TSC)
		vmwrite(TSC_OFFSET, r->tsc - rdtsc64());
	if (groups & TINAMOU_EVENTS) {
		put_event(&r->events);
		put_blocking(&r->events);
	}
}

void vmx_get_fields(struct vmx_vcpu *x, u32 groups)
{
	struct tinamou_regs *r = &x->v.regs;

	if (groups & TINAMOU_GPR) {
		r->rip = vmread(GUEST_RIP);
		r->rflags = vmread(GUEST_RFLAGS);
	}
	if (groups & TINAMOU_SEG)
		get_segments(r);
	if (groups & TINAMOU_CR)
		get_control(r);
	if (groups & TINAMOU_DR)
		r->dr[7] = vmread(GUEST_DR7);
	if (groups & TINAMOU_MSR)
		get_msrs(r->msr);
	if (groups & TINAMOU_TSC)
		r->tsc = rdtsc64() + vmread(TSC_OFFSET);
	if (groups & TINAMOU_EVENTS)
		get_events(&r->events);
}
