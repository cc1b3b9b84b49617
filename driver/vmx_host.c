/*
 * vmx_host.c - the host's registers around VM entries and exits.
 *
 * An exit loads the host's state from the VMCS (SDM vol. 3C, 27.5), but leaves
 * GDTR and IDTR with limits of FFFFh, LDTR null, TR with a limit of 67h, DEBUGCTL
 * zero, and the MSRs of SYSCALL and SWAPGS the guest's. All of that is put right
 * at the end of a stay; till then the host needs none of it.
 */
#include "vmx.h"

static const struct {
	u32 msr;
	u8 at;
} by_hand[] = {{MSR_STAR, TINAMOU_STAR}, {MSR_LSTAR, TINAMOU_LSTAR}, {MSR_CSTAR, TINAMOU_CSTAR},
	{MSR_SFMASK, TINAMOU_SFMASK}, {MSR_KERNEL_GS_BASE, TINAMOU_KERNEL_GS_BASE}};
#define BY_HAND (sizeof(by_hand) / sizeof(by_hand[0]))

static void swap_msrs(u64 *save, const u64 *load)
{
	for (unsigned n = 0; n < BY_HAND; n++) {
		save[by_hand[n].at] = rdmsr64(by_hand[n].msr);
		wrmsr64(by_hand[n].msr, load[by_hand[n].at]);
	}
}

#define SELECTOR(name)                                                                             \
	static u16 get_##name(void)                                                                \
	{                                                                                          \
		u16 sel;                                                                           \
		__asm__ volatile("mov %%" #name ", %0" : "=r"(sel));                               \
		return sel;                                                                        \
	}
SELECTOR(cs)
SELECTOR(ss)
SELECTOR(ds)
SELECTOR(es)
SELECTOR(fs)
SELECTOR(gs)

static u16 get_tr(void)
{
	u16 sel;

	__asm__ volatile("str %0" : "=r"(sel));
	return sel;
}

/* Base of the TSS whose selector TR has, from the GDT: two words of a descriptor each. */
static u64 tss_base(const struct vmx_host *h, u16 tr)
{
	const u32 *d = (const u32 *)(h->gdtr.base + (tr & ~7u));

	return d[0] >> 16 | (u64)(d[1] & 0xff) << 16 | (u64)(d[1] & 0xff000000) | (u64)d[2] << 32;
}

static void save_segments(struct vmx_host *h)
{
	h->ds = get_ds();
	h->es = get_es();
	h->fs = get_fs();
	h->gs = get_gs();
	h->fs_base = rdmsr64(MSR_FS_BASE);
	__asm__ volatile("sldt %0" : "=m"(h->ldtr));
	__asm__ volatile("sgdt %0" : "=m"(h->gdtr));
	__asm__ volatile("sidt %0" : "=m"(h->idtr));
}

/* A selector that the VMCS would not take (26.2.3) is null meanwhile. */
static u16 plain(u16 sel)
{
	return sel & 7 ? 0 : sel;
}

static void write_segments(const struct vmx_host *h)
{
	vmwrite(HOST_CS_SEL, get_cs());
	vmwrite(HOST_SS_SEL, plain(get_ss()));
	vmwrite(HOST_DS_SEL, plain(h->ds));
	vmwrite(HOST_ES_SEL, plain(h->es));
	vmwrite(HOST_FS_SEL, plain(h->fs));
	vmwrite(HOST_GS_SEL, plain(h->gs));
	vmwrite(HOST_TR_SEL, get_tr());
	vmwrite(HOST_FS_BASE, h->fs_base);
	vmwrite(HOST_GS_BASE, rdmsr64(MSR_GS_BASE));
	vmwrite(HOST_TR_BASE, tss_base(h, get_tr()));
	vmwrite(HOST_GDTR_BASE, h->gdtr.base);
	vmwrite(HOST_IDTR_BASE, h->idtr.base);
}

void vmx_host_save(struct vmx_vcpu *x)
{
	struct vmx_host *h = &x->host;

	save_segments(h);
	write_segments(h);
	vmwrite(HOST_SYSENTER_CS, rdmsr64(MSR_SYSENTER_CS));
	vmwrite(HOST_SYSENTER_ESP, rdmsr64(MSR_SYSENTER_ESP));
	vmwrite(HOST_SYSENTER_EIP, rdmsr64(MSR_SYSENTER_EIP));
	vmwrite(HOST_PAT, rdmsr64(MSR_PAT));
	vmwrite(HOST_EFER, rdmsr64(MSR_EFER));
	vmwrite(HOST_CR0, get_cr0());
	vmwrite(HOST_RIP, (u64)vmx_exited);
	h->debugctl = rdmsr64(MSR_DEBUGCTL);
	h->cr3 = h->cr4 = 0; /* none yet: refresh writes them */
	swap_msrs(h->msr, x->v.regs.msr);
}

/* These the host may change between two entries of a stay. */
void vmx_host_refresh(struct vmx_vcpu *x)
{
	u64 cr3 = get_cr3(), cr4 = get_cr4();

	if (cr3 != x->host.cr3)
		vmwrite(HOST_CR3, cr3);
	if (cr4 != x->host.cr4)
		vmwrite(HOST_CR4, cr4);
	x->host.cr3 = cr3;
	x->host.cr4 = cr4;
}

/* A selector of the process, loaded as Linux does: GS with its base swapped out of the way. */
static void restore_selectors(const struct vmx_host *h)
{
	if (h->ds & 7)
		__asm__ volatile("mov %0, %%ds" ::"r"(h->ds));
	if (h->es & 7)
		__asm__ volatile("mov %0, %%es" ::"r"(h->es));
	if (h->fs & 7) {
		__asm__ volatile("mov %0, %%fs" ::"r"(h->fs));
		wrmsr64(MSR_FS_BASE, h->fs_base);
	}
	if (h->gs & 7) {
		__asm__ volatile("swapgs; mov %0, %%gs; mfence; swapgs" ::"r"(h->gs) : "memory");
		wrmsr64(MSR_KERNEL_GS_BASE, h->msr[TINAMOU_KERNEL_GS_BASE]);
	}
}

void vmx_host_restore(struct vmx_vcpu *x)
{
	const struct vmx_host *h = &x->host;

	swap_msrs(x->v.regs.msr, h->msr);
	interrupts_off();
	__asm__ volatile("lgdt %0" ::"m"(h->gdtr));
	__asm__ volatile("lidt %0" ::"m"(h->idtr));
	if (h->ldtr)
		__asm__ volatile("lldt %0" ::"m"(h->ldtr));
	restore_selectors(h);
	interrupts_on();
	if (h->debugctl)
		wrmsr64(MSR_DEBUGCTL, h->debugctl);
	x->v.vm->hv->host->tss_limit_lost();
}
