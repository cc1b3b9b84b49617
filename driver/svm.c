/*
 * svm.c - AMD's virtualization: what it offers, on and off, vCPUs, the entry.
 *
 * Source: AMD64 APM vol. 2, 15. Nested paging is required. All guests have
 * ASID 1: who comes after another on a CPU flushes. Clean bits are not used,
 * so each entry reads the whole VMCB.
 */
#include "svm.h"

#include "table.h"

#define VM_CR_SVMDIS (1u << 4)
#define ASID         1u
#define IOPM_PAGES   4u /* three are used */
#define MSRPM_PAGES  2u

#define PAGES_HSAVE  0 /* of hv_cpu.page: for VMRUN, and for VMSAVE */
#define PAGES_VMSAVE 1

static const struct table_format npt = {
	.branch = 7, /* P, R/W, U/S: nested accesses count as a user's */
	.page = 7,
	.write = 2,
};

/* ---- what there is ---- */

static const char *yes(u32 bits, u32 bit)
{
	return bits & bit ? "yes" : "no";
}

static int svm_detect(struct hv *hv)
{
	u32 ecx = cpuid(0x80000000u, 0).eax >= 0x8000000au ? cpuid(0x80000001u, 0).ecx : 0;
	struct cpuid f;
	u64 vm_cr;

	if (!(ecx & 1u << 2))
		return -HV_EOPNOTSUPP;
	f = cpuid(0x8000000au, 0);
	vm_cr = rdmsr64(MSR_VM_CR);
	hv->levels = get_cr4() & CR4_LA57 ? 5 : 4; /* the nested table has the host's mode */
	hv->host->log("this CPU has SVM, revision %u", f.eax & 0xff);
	hv->host->log("VM_CR %#llx: %s by the firmware", vm_cr,
		vm_cr & VM_CR_SVMDIS ? "switched off" : "not switched off");
	hv->host->log("nested paging (NPT) %s, %u ASIDs, next-RIP %s, decode assists %s",
		yes(f.edx, 1), f.ebx, yes(f.edx, 8), yes(f.edx, 128));
	hv->host->log("flush by ASID %s, VMCB clean bits %s, virtual GIF %s, AVIC %s",
		yes(f.edx, 64), yes(f.edx, 32), yes(f.edx, 1u << 16), yes(f.edx, 1u << 13));
	if (f.edx & 8)
		hv->flags |= TINAMOU_HAS_NEXT_RIP;
	if (vm_cr & VM_CR_SVMDIS)
		hv->host->log("refused: switch SVM on in the firmware's settings");
	else if (!(f.edx & 1))
		hv->host->log("refused: this module needs nested paging");
	else
		return 0;
	return -HV_EINVAL;
}

/* ---- the module's life, a CPU's life ---- */

/* Guests read and write these without an exit: VMRUN and VMLOAD switch them. */
static void allow_msr(u8 *msrpm, u32 msr)
{
	unsigned at = msr >= 0xc0000000u ? 0x800 * 8 + (msr & 0x1fff) * 2 : (msr & 0x1fff) * 2;

	msrpm[at / 8] &= (u8) ~(3u << at % 8);
}

static void fill_msrpm(u8 *msrpm)
{
	static const u32 allowed[] = {MSR_FS_BASE, MSR_GS_BASE, MSR_KERNEL_GS_BASE, MSR_STAR,
		MSR_LSTAR, MSR_CSTAR, MSR_SFMASK, MSR_SYSENTER_CS, MSR_SYSENTER_ESP,
		MSR_SYSENTER_EIP};

	__builtin_memset(msrpm, 0xff, MSRPM_PAGES * HV_PAGE);
	for (unsigned n = 0; n < sizeof(allowed) / sizeof(allowed[0]); n++)
		allow_msr(msrpm, allowed[n]);
}

static void svm_done(struct hv *hv)
{
	struct svm *svm = hv->priv;

	if (!svm)
		return;
	if (svm->iopm)
		hv->host->pages_free(svm->iopm, IOPM_PAGES);
	if (svm->msrpm)
		hv->host->pages_free(svm->msrpm, MSRPM_PAGES);
	hv->host->free(svm);
	hv->priv = (void *)0;
}

static int svm_init(struct hv *hv)
{
	struct svm *svm = hv->host->alloc(sizeof(*svm));

	hv->priv = svm;
	if (!svm)
		return -HV_ENOMEM;
	svm->iopm = hv->host->pages(IOPM_PAGES);
	svm->msrpm = hv->host->pages(MSRPM_PAGES);
	svm->has_nrip = hv->flags & TINAMOU_HAS_NEXT_RIP;
	if (!svm->iopm || !svm->msrpm) {
		svm_done(hv);
		return -HV_ENOMEM;
	}
	__builtin_memset(svm->iopm, 0xff, IOPM_PAGES * HV_PAGE);
	fill_msrpm(svm->msrpm);
	return 0;
}

/* Whoever has set EFER.SVME uses the CPU: KVM does so while it has a machine. */
static int svm_cpu_on(struct hv *hv, struct hv_cpu *cpu)
{
	u64 efer = rdmsr64(MSR_EFER);

	if (efer & EFER_SVME)
		return -HV_EBUSY;
	wrmsr64(MSR_EFER, efer | EFER_SVME);
	wrmsr64(MSR_VM_HSAVE_PA, hv->host->phys(cpu->page[PAGES_HSAVE]));
	return 0;
}

static void svm_cpu_off(struct hv *hv, struct hv_cpu *cpu)
{
	wrmsr64(MSR_VM_HSAVE_PA, 0);
	wrmsr64(MSR_EFER, rdmsr64(MSR_EFER) & ~EFER_SVME);
}

/* ---- a vCPU ---- */

#define EXCEPTION(vector) (1u << (vector))

/* #DB and #AC too: a guest whose handler raises them again would never exit. */
#define INTERCEPT_EXCEPTIONS (EXCEPTION(1) | EXCEPTION(6) | EXCEPTION(17) | EXCEPTION(18))
#define INTERCEPT_CR         (1u << 8 | 1u << (16 + 8) | 1u << (16 + 4)) /* CR8; writes of CR4 */
#define INTERCEPT1_ALWAYS                                                                          \
	(INTERCEPT1_INTR | INTERCEPT1_NMI | INTERCEPT1_INIT | INTERCEPT1_RDPMC |                   \
		INTERCEPT1_CPUID | INTERCEPT1_RSM | INTERCEPT1_INVD | INTERCEPT1_HLT |             \
		INTERCEPT1_INVLPGA | INTERCEPT1_IOIO | INTERCEPT1_MSR | INTERCEPT1_FERR |          \
		INTERCEPT1_SHUTDOWN)

static void fill_control(struct svm_vcpu *s)
{
	struct hv *hv = s->v.vm->hv;
	struct svm *svm = hv->priv;
	struct vmcb *c = s->vmcb;

	c->intercept_cr = INTERCEPT_CR;
	c->intercept_exceptions = INTERCEPT_EXCEPTIONS;
	c->intercept1 = INTERCEPT1_ALWAYS;
	c->intercept2 = INTERCEPT2_ALL;
	c->iopm_base_pa = hv->host->phys(svm->iopm);
	c->msrpm_base_pa = hv->host->phys(svm->msrpm);
	c->asid = ASID;
	c->v_intr = V_INTR_MASKING;
	c->np_enable = 1;
}

static void svm_vcpu_free(struct hv_vcpu *v)
{
	const struct hv_host *host = v->vm->hv->host;

	if (svm_vcpu(v)->vmcb)
		host->pages_free(svm_vcpu(v)->vmcb, 1);
	host->free(v);
}

static struct hv_vcpu *svm_vcpu_new(struct hv_vm *vm)
{
	struct svm_vcpu *s = vm->hv->host->alloc(sizeof(*s));

	if (!s)
		return (void *)0;
	s->v.vm = vm;
	s->vmcb = vm->hv->host->pages(1);
	if (!s->vmcb) {
		svm_vcpu_free(&s->v);
		return (void *)0;
	}
	fill_control(s);
	return &s->v;
}

/* The virtual interrupt is a pretended one: its exit says that a real one could go in. */
static void ask_for_window(struct svm_vcpu *s)
{
	struct vmcb *c = s->vmcb;

	if (s->v.window) {
		c->intercept1 |= INTERCEPT1_VINTR;
		c->v_intr |= V_IRQ | V_IGN_TPR;
	} else {
		c->intercept1 &= ~INTERCEPT1_VINTR;
		c->v_intr &= ~(V_IRQ | V_IGN_TPR);
	}
}

static enum hv_next svm_enter(struct hv_vcpu *v, struct hv_cpu *cpu)
{
	const struct hv_host *host = v->vm->hv->host;
	struct svm_vcpu *s = svm_vcpu(v);
	struct vmcb *c = s->vmcb;

	ask_for_window(s);
	c->tlb_control = v->flush ? TLB_FLUSH_ALL : TLB_KEEP;
	c->clean = 0;
	c->n_cr3 = v->vm->root;
	c->rax = v->regs.gpr[TINAMOU_RAX];
	c->rsp = v->regs.gpr[TINAMOU_RSP];
	set_cr2(c->cr2); /* VMRUN's own work, but Bochs' leaves it out */
	svm_enter_guest(v->regs.gpr, host->phys(c), host->phys(cpu->page[PAGES_VMSAVE]));
	v->regs.gpr[TINAMOU_RAX] = c->rax;
	v->regs.gpr[TINAMOU_RSP] = c->rsp;
	v->flush = 0;
	return svm_exit(s);
}

const struct hv_ops svm_ops = {
	.name = "SVM",
	.kind = TINAMOU_SVM,
	.format = &npt,
	.detect = svm_detect,
	.init = svm_init,
	.exit = svm_done,
	.cpu_on = svm_cpu_on,
	.cpu_off = svm_cpu_off,
	.vcpu_new = svm_vcpu_new,
	.vcpu_free = svm_vcpu_free,
	.put = svm_put,
	.get = svm_get,
	.enter = svm_enter,
};
