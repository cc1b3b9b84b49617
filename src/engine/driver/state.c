/*
 * state.c - the canonical state to and from the page shared with the module.
 *
 * Both have the same groups and the same order of registers; MSRs that the
 * hardware does not switch stay here. The FPU is XSAVE's standard form, in
 * which parts in their initial state may hold anything: here they hold it.
 */
#include <errno.h>
#include <string.h>

#include "engine/driver/internal.h"
#include "util/util.h"

_Static_assert((int)X86_SEG_COUNT == (int)TINAMOU_SEGS, "segments");
_Static_assert(X86_XSAVE_SIZE == TINAMOU_XSAVE_SIZE, "FPU");

/* ---- segments, control registers ---- */

static void segments_out(const struct tinamou_regs *r, struct x86_state *s)
{
	for (unsigned n = 0; n < X86_SEG_COUNT; n++)
		s->seg[n] = (struct x86_seg){.base = r->seg[n].base,
			.limit = r->seg[n].limit,
			.attr = r->seg[n].attr,
			.sel = r->seg[n].sel};
	s->gdtr = (struct x86_table){r->gdtr.base, (uint16_t)r->gdtr.limit};
	s->idtr = (struct x86_table){r->idtr.base, (uint16_t)r->idtr.limit};
}

static void segments_in(const struct x86_state *s, struct tinamou_regs *r)
{
	for (unsigned n = 0; n < X86_SEG_COUNT; n++)
		r->seg[n] = (struct tinamou_seg){.base = s->seg[n].base,
			.limit = s->seg[n].limit,
			.attr = s->seg[n].attr,
			.sel = s->seg[n].sel};
	r->gdtr = (struct tinamou_table){s->gdtr.base, s->gdtr.limit};
	r->idtr = (struct tinamou_table){s->idtr.base, s->idtr.limit};
}

/* SVM does not tell the PDPTEs: it reads them from memory at each walk. */
static void pdptes_out(struct vcpu *v, const struct tinamou_regs *r, struct x86_state *s)
{
	bool pae = r->cr0 & X86_CR0_PG && r->cr4 & X86_CR4_PAE && !(r->efer & X86_EFER_LMA);

	if (driver_machine(v)->info.kind != TINAMOU_SVM)
		memcpy(s->pdpte, r->pdpte, sizeof(s->pdpte));
	else if (!pae || mem_read(&v->vm->mem, r->cr3 & 0xffffffe0, s->pdpte, sizeof(s->pdpte)))
		memset(s->pdpte, 0, sizeof(s->pdpte));
}

static void control_out(struct vcpu *v, const struct tinamou_regs *r, struct x86_state *s)
{
	s->cr0 = r->cr0;
	s->cr2 = r->cr2;
	s->cr3 = r->cr3;
	s->cr4 = r->cr4;
	s->cr8 = r->cr8;
	s->efer = r->efer;
	s->xcr0 = r->xcr0;
	pdptes_out(v, r, s);
}

static void control_in(const struct x86_state *s, struct tinamou_regs *r)
{
	r->cr0 = s->cr0;
	r->cr2 = s->cr2;
	r->cr3 = s->cr3;
	r->cr4 = s->cr4;
	r->cr8 = s->cr8;
	r->efer = s->efer;
	r->xcr0 = s->xcr0;
	memcpy(r->pdpte, s->pdpte, sizeof(r->pdpte));
}

/* ---- FPU ---- */

/* SDM vol. 1, 13.4 and table 10-2. */
#define XSAVE_FCW     0
#define XSAVE_FOP     6
#define XSAVE_FIP     8
#define XSAVE_FIP_LEN 16
#define XSAVE_ST      32
#define XSAVE_XMM     160
#define XSAVE_XMM_LEN 256
#define XSAVE_BV      512
#define XSAVE_YMM     576
#define XSAVE_YMM_LEN 256
#define FCW_INIT      0x37f

static void fill_initial(uint8_t *area, uint64_t present)
{
	const uint16_t fcw = FCW_INIT;

	if (!(present & X86_XCR0_X87)) {
		memset(area, 0, 8);
		memset(area + XSAVE_ST, 0, XSAVE_XMM - XSAVE_ST);
		memcpy(area + XSAVE_FCW, &fcw, sizeof(fcw));
	}
	if (!(present & X86_XCR0_SSE))
		memset(area + XSAVE_XMM, 0, XSAVE_XMM_LEN);
	if (!(present & X86_XCR0_AVX))
		memset(area + XSAVE_YMM, 0, XSAVE_YMM_LEN);
}

static void fpu_out(const struct tinamou_regs *r, struct x86_state *s)
{
	uint64_t present;

	memcpy(s->xsave, r->xsave, sizeof(s->xsave));
	memcpy(&present, s->xsave + XSAVE_BV, sizeof(present));
	fill_initial(s->xsave, present);
	memset(s->xsave + XSAVE_FOP, 0, 2);
	memset(s->xsave + XSAVE_FIP, 0, XSAVE_FIP_LEN);
	present |= X86_XCR0_X87 | X86_XCR0_SSE;
	memcpy(s->xsave + XSAVE_BV, &present, sizeof(present));
}

/* All parts are loaded, whatever the area says of them. */
static void fpu_in(struct vcpu *v, const struct x86_state *s, struct tinamou_regs *r)
{
	uint64_t present = X86_XCR0_X87 | X86_XCR0_SSE;

	if (driver_machine(v)->info.flags & TINAMOU_HAS_AVX)
		present |= X86_XCR0_AVX;
	memcpy(r->xsave, s->xsave, sizeof(r->xsave));
	memset(r->xsave + XSAVE_BV, 0, XSAVE_YMM - XSAVE_BV);
	memcpy(r->xsave + XSAVE_BV, &present, sizeof(present));
}

/* ---- MSRs ---- */

static const uint8_t hardware_msr[TINAMOU_MSRS] = {
	[TINAMOU_SYSENTER_CS] = X86_MSR_SYSENTER_CS,
	[TINAMOU_SYSENTER_ESP] = X86_MSR_SYSENTER_ESP,
	[TINAMOU_SYSENTER_EIP] = X86_MSR_SYSENTER_EIP,
	[TINAMOU_STAR] = X86_MSR_STAR,
	[TINAMOU_LSTAR] = X86_MSR_LSTAR,
	[TINAMOU_CSTAR] = X86_MSR_CSTAR,
	[TINAMOU_SFMASK] = X86_MSR_SFMASK,
	[TINAMOU_KERNEL_GS_BASE] = X86_MSR_KERNEL_GS_BASE,
	[TINAMOU_TSC_AUX] = X86_MSR_TSC_AUX,
	[TINAMOU_PAT] = X86_MSR_PAT,
};

static void msrs_out(struct driver_cpu *c, struct x86_state *s)
{
	memcpy(s->msr, c->kept, sizeof(s->msr));
	for (unsigned n = 0; n < TINAMOU_MSRS; n++)
		s->msr[hardware_msr[n]] = c->page->regs.msr[n];
}

static void msrs_in(struct driver_cpu *c, const struct x86_state *s)
{
	memcpy(c->kept, s->msr, sizeof(c->kept));
	for (unsigned n = 0; n < TINAMOU_MSRS; n++)
		c->page->regs.msr[n] = s->msr[hardware_msr[n]];
}

/* ---- events ---- */

static void events_out(struct driver_cpu *c, struct x86_events *x)
{
	static const uint8_t type[] = {[TINAMOU_EVENT_INTR] = X86_EVENT_INTR,
		[TINAMOU_EVENT_NMI] = X86_EVENT_NMI,
		[TINAMOU_EVENT_EXCEPTION] = X86_EVENT_EXCEPTION};
	const struct tinamou_events *e = &c->page->regs.events;

	if (c->must_step) { /* as they were put: nothing ran since */
		*x = c->events;
		return;
	}
	*x = (struct x86_events){.nmi_pending = c->events.nmi_pending,
		.nmi_masked = e->nmi_masked,
		.shadow_sti = e->shadow_sti,
		.shadow_mov_ss = e->shadow_mov_ss};
	if (e->type == TINAMOU_EVENT_NONE || e->type > TINAMOU_EVENT_EXCEPTION)
		return;
	x->type = type[e->type];
	x->vector = (uint8_t)e->vector;
	x->has_error = e->has_error;
	x->error = e->error;
}

static void events_in(struct driver_cpu *c, const struct x86_events *x)
{
	struct tinamou_events *e = &c->page->regs.events;
	bool soft = x->type == X86_EVENT_SOFT_INTR || x->type == X86_EVENT_SOFT_EXCEPTION;

	c->events = *x;
	c->must_step = soft || x->exc_pending || x->db_pending;
	*e = (struct tinamou_events){.nmi_masked = x->nmi_masked,
		.shadow_sti = x->shadow_sti,
		.shadow_mov_ss = x->shadow_mov_ss};
	if (soft || x->type == X86_EVENT_NONE)
		return;
	e->type = x->type == X86_EVENT_INTR  ? TINAMOU_EVENT_INTR
		  : x->type == X86_EVENT_NMI ? TINAMOU_EVENT_NMI
					     : TINAMOU_EVENT_EXCEPTION;
	e->vector = x->type == X86_EVENT_NMI ? X86_NMI : x->vector;
	e->has_error = x->has_error;
	e->error = x->error;
}

/* ---- all of it ---- */

static void regs_out(struct vcpu *v, struct x86_state *s, unsigned mask)
{
	struct driver_cpu *c = driver_cpu(v);
	const struct tinamou_regs *r = &c->page->regs;

	if (mask & X86_GROUP_GPR) {
		memcpy(s->gpr, r->gpr, sizeof(s->gpr));
		s->rip = r->rip;
		s->rflags = r->rflags;
	}
	if (mask & X86_GROUP_SEG)
		segments_out(r, s);
	if (mask & X86_GROUP_CR)
		control_out(v, r, s);
	if (mask & X86_GROUP_DR)
		memcpy(s->dr, r->dr, sizeof(s->dr));
	if (mask & X86_GROUP_FPU)
		fpu_out(r, s);
	if (mask & X86_GROUP_MSR)
		msrs_out(c, s);
	if (mask & X86_GROUP_TSC)
		s->tsc = r->tsc;
	if (mask & X86_GROUP_EVENTS)
		events_out(c, &s->events);
}

static void regs_in(struct vcpu *v, const struct x86_state *s, unsigned mask)
{
	struct driver_cpu *c = driver_cpu(v);
	struct tinamou_regs *r = &c->page->regs;

	if (mask & X86_GROUP_GPR) {
		memcpy(r->gpr, s->gpr, sizeof(r->gpr));
		r->rip = s->rip;
		r->rflags = s->rflags | X86_FLAGS_FIXED;
	}
	if (mask & X86_GROUP_SEG)
		segments_in(s, r);
	if (mask & X86_GROUP_CR)
		control_in(s, r);
	if (mask & X86_GROUP_DR)
		memcpy(r->dr, s->dr, sizeof(r->dr));
	if (mask & X86_GROUP_FPU)
		fpu_in(v, s, r);
	if (mask & X86_GROUP_MSR)
		msrs_in(c, s);
	if (mask & X86_GROUP_TSC)
		r->tsc = s->tsc;
	if (mask & X86_GROUP_EVENTS)
		events_in(c, &s->events);
}

int driver_fetch(struct driver_cpu *c, unsigned mask)
{
	struct tinamou_run run = {.size = sizeof(run), .get = mask & ~c->have};
	int rc = 0;

	if (mask & X86_GROUP_TSC && !(c->changed & X86_GROUP_TSC))
		run.get |= X86_GROUP_TSC; /* what is there is of an earlier time */
	if (run.get)
		rc = driver_ioctl(c->fd, TINAMOU_RUN, &run);
	if (!rc)
		c->have |= run.get;
	return rc;
}

int driver_get(struct vcpu *v, struct x86_state *s, unsigned mask)
{
	int rc = driver_fetch(driver_cpu(v), mask);

	if (!rc)
		regs_out(v, s, mask);
	return rc;
}

int driver_put(struct vcpu *v, const struct x86_state *s, unsigned mask)
{
	struct driver_cpu *c = driver_cpu(v);

	regs_in(v, s, mask);
	c->have |= mask;
	c->changed |= mask;
	return 0;
}
