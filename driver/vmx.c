/*
 * vmx.c - Intel's virtualization: what it offers, on and off, vCPUs, the entry.
 *
 * Source: Intel SDM vol. 3C, 23 to 27 and 31, appendix A. EPT and unrestricted
 * guest are required, so real mode needs no help. All guests have VPID 1: who
 * comes after another on a CPU flushes. A VMCS is cleared after each stay, so
 * a vCPU may go on on any CPU.
 */
#include "vmx.h"

#include "table.h"

#define VPID_OF_GUESTS 1u
#define EPTP_WB        6ull
/*
 * Ticks of the preemption timer, some milliseconds. External interrupts exit
 * whatever the guest's IF is, but Bochs forgets them while it enters with IF clear.
 */
#define LONGEST_STAY 0x20000u

static const struct table_format ept = {
	.branch = 7,        /* read, write, execute */
	.page = 7 | 6 << 3, /* write-back; the guest's PAT may narrow it */
	.write = 2,
};

/* ---- instructions ---- */

/* CF or ZF: it failed (30.2). */
#define VMX_INSTRUCTION(name)                                                                      \
	static int name(u64 phys)                                                                  \
	{                                                                                          \
		u8 failed;                                                                         \
		__asm__ volatile(#name " %1; setna %0"                                             \
				 : "=qm"(failed)                                                   \
				 : "m"(phys)                                                       \
				 : "cc", "memory");                                                \
		return failed;                                                                     \
	}
VMX_INSTRUCTION(vmxon)
VMX_INSTRUCTION(vmptrld)
VMX_INSTRUCTION(vmclear)

struct invalidation {
	u64 id, address;
};

static void invalidate_all(int vpids)
{
	const struct invalidation all = {0, 0};

	__asm__ volatile("invept %0, %1" ::"m"(all), "r"(2ull) : "cc", "memory");
	if (vpids)
		__asm__ volatile("invvpid %0, %1" ::"m"(all), "r"(2ull) : "cc", "memory");
}

/* ---- what there is ---- */

/* A control may be set if its bit of the upper half is, and must be if of the lower. */
static int settle(u32 msr, u32 wanted, u32 *controls)
{
	u64 allowed = rdmsr64(msr);

	*controls = (wanted | (u32)allowed) & (u32)(allowed >> 32);
	return (*controls & wanted) == wanted;
}

static int settle_controls(struct vmx *m)
{
	u32 wish = PROC2_VPID | PROC2_RDTSCP | PROC2_INVPCID;
	u32 may = (u32)(rdmsr64(MSR_VMX_PROC2) >> 32);
	u32 timer = (u32)(rdmsr64(MSR_VMX_TRUE_PIN) >> 32) & PIN_PREEMPTION_TIMER;

	if ((rdmsr64(MSR_VMX_EPT_VPID) & EPT_CAP_INVVPID_ALL) != EPT_CAP_INVVPID_ALL)
		wish &= ~PROC2_VPID;
	return settle(MSR_VMX_TRUE_PIN, PIN_EXTERNAL_INTERRUPT | PIN_NMI | PIN_VIRTUAL_NMI | timer,
		       &m->pin) &&
	       settle(MSR_VMX_TRUE_PROC,
		       PROC_TSC_OFFSET | PROC_HLT | PROC_MWAIT | PROC_RDPMC | PROC_CR8_LOAD |
			       PROC_CR8_STORE | PROC_IO | PROC_MSR_BITMAP | PROC_MONITOR |
			       PROC_SECONDARY,
		       &m->proc) &&
	       settle(MSR_VMX_PROC2, PROC2_EPT | PROC2_WBINVD | PROC2_UNRESTRICTED | (wish & may),
		       &m->proc2) &&
	       settle(MSR_VMX_TRUE_EXIT,
		       EXIT_SAVE_DEBUG | EXIT_HOST_64 | EXIT_SAVE_PAT | EXIT_LOAD_PAT |
			       EXIT_SAVE_EFER | EXIT_LOAD_EFER,
		       &m->exit) &&
	       settle(MSR_VMX_TRUE_ENTRY, ENTRY_LOAD_DEBUG | ENTRY_LOAD_PAT | ENTRY_LOAD_EFER,
		       &m->entry);
}

static const char *yes(u64 bits, u64 bit)
{
	return (bits & bit) == bit ? "yes" : "no";
}

static void report(const struct hv_host *host, u64 control, u64 basic, u64 proc2, u64 caps)
{
	host->log("this CPU has VMX, VMCS revision %#x", (u32)basic & 0x7fffffff);
	host->log("IA32_FEATURE_CONTROL %#llx: %s by the BIOS, VMX %s", control,
		control & FEATURE_CONTROL_LOCK ? "locked" : "not locked",
		control & FEATURE_CONTROL_VMXON  ? "on"
		: control & FEATURE_CONTROL_LOCK ? "switched off"
						 : "may be switched on");
	host->log("EPT %s, VPID %s, unrestricted guest %s", yes(proc2, PROC2_EPT),
		yes(proc2, PROC2_VPID), yes(proc2, PROC2_UNRESTRICTED));
	host->log("instruction lengths yes (next-RIP is SVM's), INVEPT %s, INVVPID %s",
		yes(caps, EPT_CAP_INVEPT_ALL), yes(caps, EPT_CAP_INVVPID_ALL));
}

static int vmx_detect(struct hv *hv)
{
	u64 control, basic, proc2 = 0, caps = 0;
	struct vmx probe;

	if (!(cpuid(1, 0).ecx & 1u << 5))
		return -HV_EOPNOTSUPP;
	control = rdmsr64(MSR_FEATURE_CONTROL);
	basic = rdmsr64(MSR_VMX_BASIC);
	if (basic & VMX_BASIC_TRUE && rdmsr64(MSR_VMX_TRUE_PROC) >> 63)
		proc2 = rdmsr64(MSR_VMX_PROC2) >> 32;
	if (proc2 & (PROC2_EPT | PROC2_VPID))
		caps = rdmsr64(MSR_VMX_EPT_VPID);
	report(hv->host, control, basic, proc2, caps);
	hv->flags |= TINAMOU_HAS_NEXT_RIP;
	hv->levels = 4;
	if (control & FEATURE_CONTROL_LOCK && !(control & FEATURE_CONTROL_VMXON))
		hv->host->log("refused: switch VMX on in the BIOS settings");
	else if (!(proc2 & PROC2_EPT) || !(proc2 & PROC2_UNRESTRICTED) ||
		 !(caps & EPT_CAP_WALK_4) || !(caps & EPT_CAP_WB) ||
		 (caps & EPT_CAP_INVEPT_ALL) != EPT_CAP_INVEPT_ALL)
		hv->host->log("refused: this module needs EPT and unrestricted guest");
	else if (!hv->host->vmxe)
		hv->host->log("refused: this kernel lets only KVM set CR4.VMXE");
	else if (!settle_controls(&probe))
		hv->host->log("refused: a control that this module needs is missing");
	else
		return 0;
	return -HV_EINVAL;
}

/* ---- the module's life, a CPU's life ---- */

/* Four bitmaps of 1 KiB: reads of low and high MSRs, writes of low and high ones. */
static void allow_msr(u8 *bitmap, u32 msr)
{
	unsigned at = (msr >= 0xc0000000u ? 0x400 : 0) + (msr & 0x1fff) / 8;

	bitmap[at] &= (u8) ~(1u << msr % 8);
	bitmap[0x800 + at] &= (u8) ~(1u << msr % 8);
}

static void vmx_done(struct hv *hv)
{
	struct vmx *m = hv->priv;

	if (m && m->msr_bitmap)
		hv->host->pages_free(m->msr_bitmap, 1);
	hv->host->free(m);
	hv->priv = (void *)0;
}

static int vmx_init(struct hv *hv)
{
	static const u32 allowed[] = {MSR_FS_BASE, MSR_GS_BASE, MSR_KERNEL_GS_BASE, MSR_STAR,
		MSR_LSTAR, MSR_CSTAR, MSR_SFMASK, MSR_SYSENTER_CS, MSR_SYSENTER_ESP,
		MSR_SYSENTER_EIP};
	struct vmx *m = hv->host->alloc(sizeof(*m));

	hv->priv = m;
	if (!m)
		return -HV_ENOMEM;
	settle_controls(m);
	m->msr_bitmap = hv->host->pages(1);
	if (!m->msr_bitmap) {
		vmx_done(hv);
		return -HV_ENOMEM;
	}
	__builtin_memset(m->msr_bitmap, 0xff, HV_PAGE);
	for (unsigned n = 0; n < sizeof(allowed) / sizeof(allowed[0]); n++)
		allow_msr(m->msr_bitmap, allowed[n]);
	return 0;
}

static void set_revision(void *region)
{
	*(u32 *)region = (u32)rdmsr64(MSR_VMX_BASIC) & 0x7fffffff;
}

/* Whoever has set CR4.VMXE uses the CPU: KVM does so while it has a machine. */
static int vmx_cpu_on(struct hv *hv, struct hv_cpu *cpu)
{
	u64 control = rdmsr64(MSR_FEATURE_CONTROL);

	if (get_cr4() & CR4_VMXE)
		return -HV_EBUSY;
	if (!(control & FEATURE_CONTROL_LOCK))
		wrmsr64(MSR_FEATURE_CONTROL,
			control | FEATURE_CONTROL_LOCK | FEATURE_CONTROL_VMXON);
	set_revision(cpu->page[0]);
	hv->host->vmxe(1);
	if (!vmxon(hv->host->phys(cpu->page[0]))) {
		invalidate_all(((struct vmx *)hv->priv)->proc2 & PROC2_VPID);
		return 0;
	}
	hv->host->vmxe(0);
	return -HV_EIO;
}

static void vmx_cpu_off(struct hv *hv, struct hv_cpu *cpu)
{
	__asm__ volatile("vmxoff" ::: "cc", "memory");
	hv->host->vmxe(0);
}

/* ---- a vCPU ---- */

/* #DB and #AC too: a guest whose handler raises them again would never exit. */
#define EXCEPTIONS (1u << 1 | 1u << 6 | 1u << 17 | 1u << 18)

/* What is never used has to be told so: a new VMCS may hold anything. */
static void clear_unused(void)
{
	static const enum vmcs_field unused[] = {PAGE_FAULT_MASK, PAGE_FAULT_MATCH,
		CR3_TARGET_COUNT, EXIT_MSR_STORE_COUNT, EXIT_MSR_LOAD_COUNT, ENTRY_MSR_LOAD_COUNT,
		ENTRY_EVENT, ENTRY_INSN_LEN, TPR_THRESHOLD, GUEST_DEBUGCTL, GUEST_ACTIVITY,
		GUEST_SMBASE};

	for (unsigned n = 0; n < sizeof(unused) / sizeof(unused[0]); n++)
		vmwrite(unused[n], 0);
}

static void fill_vmcs(struct vmx_vcpu *x)
{
	struct hv *hv = x->v.vm->hv;
	struct vmx *m = hv->priv;

	clear_unused();
	vmwrite(PIN_CONTROLS, m->pin);
	vmwrite(PROC_CONTROLS, m->proc);
	vmwrite(PROC2_CONTROLS, m->proc2);
	vmwrite(EXIT_CONTROLS, m->exit);
	vmwrite(ENTRY_CONTROLS, m->entry);
	vmwrite(EXCEPTION_BITMAP, EXCEPTIONS);
	vmwrite(MSR_BITMAP, hv->host->phys(m->msr_bitmap));
	vmwrite(VMCS_LINK, ~0ull);
	vmwrite(CR0_MASK, CR0_SHADOWED);
	vmwrite(CR4_MASK, ~0ull); /* every MOV to CR4 that changes it is the engine's */
	if (m->proc2 & PROC2_VPID)
		vmwrite(VPID, VPID_OF_GUESTS);
}

/* Between begin and end: the vCPU's VMCS becomes this CPU's current one, and back. */
static void make_current(struct vmx_vcpu *x)
{
	vmptrld(x->v.vm->hv->host->phys(x->vmcs));
	x->launched = 0;
}

static void make_clear(struct vmx_vcpu *x)
{
	vmclear(x->v.vm->hv->host->phys(x->vmcs));
}

static void vmx_put(struct hv_vcpu *v, u32 groups)
{
	const struct hv_host *host = v->vm->hv->host;

	host->begin();
	make_current(vmx_vcpu(v));
	vmx_put_fields(vmx_vcpu(v), groups);
	make_clear(vmx_vcpu(v));
	host->end();
}

static void vmx_get(struct hv_vcpu *v, u32 groups)
{
	const struct hv_host *host = v->vm->hv->host;

	host->begin();
	make_current(vmx_vcpu(v));
	vmx_get_fields(vmx_vcpu(v), groups);
	make_clear(vmx_vcpu(v));
	host->end();
}

static void vmx_vcpu_free(struct hv_vcpu *v)
{
	const struct hv_host *host = v->vm->hv->host;

	if (vmx_vcpu(v)->vmcs)
		host->pages_free(vmx_vcpu(v)->vmcs, 1);
	host->free(v);
}

static struct hv_vcpu *vmx_vcpu_new(struct hv_vm *vm)
{
	const struct hv_host *host = vm->hv->host;
	struct vmx_vcpu *x = host->alloc(sizeof(*x));

	if (!x)
		return (void *)0;
	x->v.vm = vm;
	x->vmcs = host->pages(1);
	if (!x->vmcs) {
		vmx_vcpu_free(&x->v);
		return (void *)0;
	}
	set_revision(x->vmcs);
	host->begin();
	make_clear(x);
	make_current(x);
	fill_vmcs(x);
	make_clear(x);
	host->end();
	return &x->v;
}

static void vmx_arrive(struct hv_vcpu *v)
{
	make_current(vmx_vcpu(v));
	vmx_host_save(vmx_vcpu(v));
}

static void vmx_depart(struct hv_vcpu *v)
{
	vmx_host_restore(vmx_vcpu(v));
	make_clear(vmx_vcpu(v));
}

static void prepare(struct vmx_vcpu *x)
{
	struct vmx *m = x->v.vm->hv->priv;

	if (x->v.flush)
		invalidate_all(m->proc2 & PROC2_VPID);
	x->v.flush = 0;
	vmwrite(EPT_POINTER, x->v.vm->root | EPTP_WB | 3 << 3);
	vmwrite(PROC_CONTROLS, m->proc | (x->v.window ? PROC_INTERRUPT_WINDOW : 0));
	vmwrite(ENTRY_CONTROLS, m->entry | (vmread(GUEST_EFER) & EFER_LMA ? ENTRY_GUEST_64 : 0));
	if (m->pin & PIN_PREEMPTION_TIMER)
		vmwrite(PREEMPTION_TIMER, LONGEST_STAY);
	vmwrite(GUEST_RSP, x->v.regs.gpr[TINAMOU_RSP]);
	vmx_host_refresh(x);
	set_dr6(x->v.regs.dr[6]);
	set_cr2(x->v.regs.cr2);
}

static enum hv_next vmx_enter(struct hv_vcpu *v, struct hv_cpu *cpu)
{
	struct vmx_vcpu *x = vmx_vcpu(v);

	prepare(x);
	if (vmx_enter_guest(v->regs.gpr, x->launched)) {
		v->exit.reason = TINAMOU_EXIT_FAIL;
		v->exit.code = vmread(INSN_ERROR);
		return HV_USER;
	}
	x->launched = 1;
	v->regs.cr2 = get_cr2();
	v->regs.dr[6] = get_dr6();
	v->regs.gpr[TINAMOU_RSP] = vmread(GUEST_RSP);
	return vmx_exit(x);
}

const struct hv_ops vmx_ops = {
	.name = "VMX",
	.kind = TINAMOU_VMX,
	.format = &ept,
	.detect = vmx_detect,
	.init = vmx_init,
	.exit = vmx_done,
	.cpu_on = vmx_cpu_on,
	.cpu_off = vmx_cpu_off,
	.vcpu_new = vmx_vcpu_new,
	.vcpu_free = vmx_vcpu_free,
	.put = vmx_put,
	.get = vmx_get,
	.arrive = vmx_arrive,
	.enter = vmx_enter,
	.depart = vmx_depart,
};
