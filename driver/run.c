/*
 * run.c - the loop around VM entries, and what may come in from user space.
 *
 * A stay in the guest: begin, switch, entries and exits until somebody else
 * must act, switch back, end. A fault of the nested table is served outside
 * of a stay, since pinning a page may sleep.
 */
#include "cpu.h"
#include "table.h"

const struct hv_ops *hv_detect(struct hv *hv)
{
	static const struct hv_ops *const list[] = {&svm_ops, &vmx_ops};
	struct cpuid top = cpuid(0x80000000u, 0);

	hv->phys_bits = top.eax >= 0x80000008u ? cpuid(0x80000008u, 0).eax & 0xff : 36;
	hv->xcr0 = 0;
	if (cpu_has_xsave())
		hv->xcr0 = get_xcr0() & (XCR0_X87 | XCR0_SSE | XCR0_AVX);
	hv->flags = hv->xcr0 & XCR0_AVX ? TINAMOU_HAS_AVX : 0;
	for (unsigned n = 0; n < sizeof(list) / sizeof(list[0]); n++) {
		int rc = list[n]->detect(hv);

		if (rc != -HV_EOPNOTSUPP)
			return rc ? (void *)0 : list[n];
	}
	hv->host->log("this CPU offers neither SVM nor VMX");
	return (void *)0;
}

/* ---- checks ---- */

static int known_memory_types(u64 pat)
{
	for (; pat; pat >>= 8)
		if ((pat & 0xff) > 7 || (pat & 0xfe) == 2)
			return 0;
	return 1;
}

static int msrs_are_safe(const u64 *msr)
{
	return is_canonical(msr[TINAMOU_SYSENTER_ESP]) && is_canonical(msr[TINAMOU_SYSENTER_EIP]) &&
	       is_canonical(msr[TINAMOU_LSTAR]) && is_canonical(msr[TINAMOU_CSTAR]) &&
	       is_canonical(msr[TINAMOU_KERNEL_GS_BASE]) && !(msr[TINAMOU_TSC_AUX] >> 32) &&
	       !(msr[TINAMOU_SFMASK] >> 32) && known_memory_types(msr[TINAMOU_PAT]);
}

#define XSAVE_MXCSR      24
#define MXCSR_BITS       0xffffu
#define XSAVE_HEADER     512
#define XSAVE_HEADER_LEN 64

static u64 u64_at(const u8 *p)
{
	u64 value;

	__builtin_memcpy(&value, p, sizeof(value));
	return value;
}

/* XRSTOR faults on anything reserved (SDM vol. 1, 13.8.1). */
static int xsave_is_safe(const struct hv *hv, const u8 *area)
{
	u32 mxcsr;

	__builtin_memcpy(&mxcsr, area + XSAVE_MXCSR, sizeof(mxcsr));
	if (mxcsr & ~MXCSR_BITS)
		return 0;
	if (hv->xcr0 && u64_at(area + XSAVE_HEADER) & ~hv->xcr0)
		return 0;
	for (unsigned n = 8; n < XSAVE_HEADER_LEN; n += 8)
		if (u64_at(area + XSAVE_HEADER + n))
			return 0;
	return 1;
}

static int xcr0_is_safe(const struct hv *hv, u64 xcr0)
{
	if (!hv->xcr0)
		return xcr0 == XCR0_X87;
	if (!(xcr0 & XCR0_X87) || xcr0 & ~hv->xcr0)
		return 0;
	return !(xcr0 & XCR0_AVX) || xcr0 & XCR0_SSE;
}

/* VMX, SMX, protection keys and control-flow enforcement are not the guest's. */
#define CR4_GUEST 0x3fffffull

static int control_is_safe(const struct hv *hv, const struct tinamou_regs *r)
{
	if (r->cr4 & ~CR4_GUEST || r->cr4 & (CR4_VMXE | 1u << 14 | 1u << 12) || r->cr0 >> 32)
		return 0;
	if (r->cr8 > 15 || r->efer & ~(EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE))
		return 0;
	return xcr0_is_safe(hv, r->xcr0);
}

static int events_are_safe(const struct tinamou_events *e)
{
	if (e->type > TINAMOU_EVENT_EXCEPTION || e->vector > 255)
		return 0;
	if (e->type == TINAMOU_EVENT_NMI && e->vector != 2)
		return 0;
	return e->type != TINAMOU_EVENT_EXCEPTION || (e->vector < 32 && e->vector != 2);
}

int hv_check(const struct hv *hv, const struct tinamou_regs *r, u32 groups)
{
	int ok = !(groups & ~(u32)TINAMOU_ALL_GROUPS);

	if (ok && groups & TINAMOU_CR)
		ok = control_is_safe(hv, r);
	if (ok && groups & TINAMOU_DR)
		ok = !(r->dr[6] >> 32) && !(r->dr[7] >> 32);
	if (ok && groups & TINAMOU_MSR)
		ok = msrs_are_safe(r->msr);
	if (ok && groups & TINAMOU_FPU)
		ok = xsave_is_safe(hv, r->xsave);
	if (ok && groups & TINAMOU_EVENTS)
		ok = events_are_safe(&r->events);
	return ok ? 0 : -HV_EINVAL;
}

/* ---- groups ---- */

#define COPY(field) __builtin_memcpy(&to->field, &from->field, sizeof(to->field))

static void copy_control(struct tinamou_regs *to, const struct tinamou_regs *from)
{
	COPY(cr0);
	COPY(cr2);
	COPY(cr3);
	COPY(cr4);
	COPY(cr8);
	COPY(efer);
	COPY(xcr0);
	COPY(pdpte);
}

void hv_copy(struct tinamou_regs *to, const struct tinamou_regs *from, u32 groups)
{
	if (groups & TINAMOU_GPR) {
		COPY(gpr);
		COPY(rip);
		COPY(rflags);
	}
	if (groups & TINAMOU_SEG) {
		COPY(seg);
		COPY(gdtr);
		COPY(idtr);
	}
	if (groups & TINAMOU_CR)
		copy_control(to, from);
	if (groups & TINAMOU_DR)
		COPY(dr);
	if (groups & TINAMOU_MSR)
		COPY(msr);
	if (groups & TINAMOU_TSC)
		COPY(tsc);
	if (groups & TINAMOU_EVENTS)
		COPY(events);
	if (groups & TINAMOU_FPU)
		COPY(xsave);
}

/* ---- the loop ---- */

/* Translations of another vCPU, another CPU or another map are not ours. */
static void check_translations(struct hv_vcpu *v, struct hv_cpu *cpu)
{
	if (cpu->last != v->id || v->last_cpu != cpu || v->generation != v->vm->generation)
		v->flush = 1;
	cpu->last = v->id;
	v->last_cpu = cpu;
	v->generation = v->vm->generation;
}

/* A stay; -HV_EINTR if the host wants the CPU or the thread. */
static int stay(struct hv_vcpu *v, const volatile struct tinamou_page *page, enum hv_next *next)
{
	const struct hv *hv = v->vm->hv;
	struct hv_cpu *cpu;
	int rc = 0;

	hv->host->begin();
	cpu = hv->host->cpu();
	if (!cpu->on) {
		hv->host->end();
		return -HV_EIO;
	}
	switch_to_guest(v);
	if (hv->ops->arrive)
		hv->ops->arrive(v);
	do {
		interrupts_off();
		if (hv->host->must_leave() || page->immediate_exit) {
			rc = -HV_EINTR;
		} else {
			check_translations(v, cpu);
			v->exit.count++;
			*next = hv->ops->enter(v, cpu);
		}
		interrupts_on();
	} while (!rc && *next == HV_AGAIN);
	if (hv->ops->depart)
		hv->ops->depart(v);
	switch_to_host(v);
	hv->host->end();
	return rc;
}

int hv_run(struct hv_vcpu *v, const volatile struct tinamou_page *page)
{
	const struct hv_host *host = v->vm->hv->host;
	enum hv_next next = HV_USER;
	int rc;

	v->window = page->window != 0;
	v->exit.reason = TINAMOU_EXIT_NONE;
	for (;;) {
		rc = stay(v, page, &next);
		if (rc || next == HV_USER)
			return rc;
		rc = host->fault(v->vm->ctx, v->exit.gpa, v->exit.write);
		if (rc < 0)
			return rc;
		if (!rc) {
			v->exit.reason = TINAMOU_EXIT_MEMORY;
			return 0;
		}
	}
}
