/*
 * switch.c - what neither VMRUN nor VMLAUNCH switches: FPU, XCR0, DR0-3, TSC_AUX.
 *
 * Switched once a stay in the guest, not once an exit: host code between two
 * entries uses none of it (host->begin has saved the FPU of the process, and
 * the host's breakpoints are off while DR7 is clear).
 * Sources: SDM vol. 1 ch. 13 (XSAVE), vol. 3B 18.2 (debug registers).
 */
#include "cpu.h"
#include "hv.h"

static void load_debug(const u64 *dr)
{
	set_dr0(dr[0]);
	set_dr1(dr[1]);
	set_dr2(dr[2]);
	set_dr3(dr[3]);
}

static void save_debug(u64 *dr)
{
	dr[0] = get_dr0();
	dr[1] = get_dr1();
	dr[2] = get_dr2();
	dr[3] = get_dr3();
}

/* The area is loaded under the features of the guest; XCR0 is its own only afterwards. */
static void load_fpu(struct hv_vcpu *v)
{
	u64 features = v->vm->hv->xcr0;

	if (!features) {
		fxrstor(v->regs.xsave);
		return;
	}
	v->host_xcr0 = get_xcr0();
	xrstor(v->regs.xsave, features);
	if (v->regs.xcr0 != v->host_xcr0)
		set_xcr0(v->regs.xcr0);
}

static void save_fpu(struct hv_vcpu *v)
{
	u64 features = v->vm->hv->xcr0;

	if (!features) {
		fxsave(v->regs.xsave);
		return;
	}
	if (v->regs.xcr0 != v->host_xcr0)
		set_xcr0(v->host_xcr0);
	xsave(v->regs.xsave, features);
}

void switch_to_guest(struct hv_vcpu *v)
{
	v->host_dr[6] = get_dr6();
	v->host_dr[7] = get_dr7();
	set_dr7(DR7_FIXED);
	save_debug(v->host_dr);
	load_debug(v->regs.dr);
	if (cpu_has_rdtscp()) {
		v->host_tsc_aux = rdmsr64(MSR_TSC_AUX);
		wrmsr64(MSR_TSC_AUX, v->regs.msr[TINAMOU_TSC_AUX]);
	}
	load_fpu(v);
}

void switch_to_host(struct hv_vcpu *v)
{
	save_fpu(v);
	if (cpu_has_rdtscp()) {
		v->regs.msr[TINAMOU_TSC_AUX] = rdmsr64(MSR_TSC_AUX);
		wrmsr64(MSR_TSC_AUX, v->host_tsc_aux);
	}
	save_debug(v->regs.dr);
	load_debug(v->host_dr);
	set_dr6(v->host_dr[6]);
	set_dr7(v->host_dr[7]);
}
