/*
 * svm.h - the VMCB, its intercepts and exit codes; between the svm_*.c files.
 *
 * Source: AMD64 APM vol. 2, appendix B (layout), appendix C (exit codes), 15.
 */
#ifndef TINAMOU_DRIVER_SVM_H
#define TINAMOU_DRIVER_SVM_H

#include "cpu.h"
#include "hv.h"

struct vmcb_seg {
	u16 sel, attr;
	u32 limit;
	u64 base;
};

struct vmcb {
	/* Control area. */
	u32 intercept_cr; /* reads in 15:0, writes in 31:16 */
	u32 intercept_dr;
	u32 intercept_exceptions;
	u32 intercept1, intercept2, intercept3;
	u8 reserved1[0x40 - 0x18];
	u64 iopm_base_pa;
	u64 msrpm_base_pa;
	u64 tsc_offset;
	u32 asid;
	u8 tlb_control;
	u8 reserved2[3];
	u64 v_intr; /* V_TPR, V_IRQ, V_INTR_MASKING ... */
	u64 interrupt_shadow;
	u64 exitcode;
	u64 exitinfo1, exitinfo2;
	u64 exitintinfo;
	u64 np_enable;
	u8 reserved3[0xa8 - 0x98];
	u64 eventinj;
	u64 n_cr3;
	u64 lbr_virtualization;
	u64 clean;
	u64 nrip;
	u8 insn_count, insn[15];
	u8 reserved4[0x400 - 0xe0];
	/* State save area. */
	struct vmcb_seg es, cs, ss, ds, fs, gs, gdtr, ldtr, idtr, tr;
	u8 reserved5[0x4cb - 0x4a0];
	u8 cpl;
	u8 reserved6[4];
	u64 efer;
	u8 reserved7[0x548 - 0x4d8];
	u64 cr4, cr3, cr0, dr7, dr6, rflags, rip;
	u8 reserved8[0x5d8 - 0x580];
	u64 rsp;
	u8 reserved9[0x5f8 - 0x5e0];
	u64 rax, star, lstar, cstar, sfmask, kernel_gs_base;
	u64 sysenter_cs, sysenter_esp, sysenter_eip, cr2;
	u8 reserved10[0x668 - 0x648];
	u64 g_pat;
	u8 reserved11[0x1000 - 0x670];
};

_Static_assert(__builtin_offsetof(struct vmcb, eventinj) == 0xa8, "VMCB");
_Static_assert(__builtin_offsetof(struct vmcb, efer) == 0x4d0, "VMCB");
_Static_assert(__builtin_offsetof(struct vmcb, cr2) == 0x640, "VMCB");
_Static_assert(__builtin_offsetof(struct vmcb, g_pat) == 0x668, "VMCB");
_Static_assert(sizeof(struct vmcb) == HV_PAGE, "VMCB");

#define V_TPR_MASK     0xfull
#define V_IRQ          (1ull << 8)
#define V_IGN_TPR      (1ull << 20)
#define V_INTR_MASKING (1ull << 24)

#define TLB_KEEP      0u
#define TLB_FLUSH_ALL 1u

/* EVENTINJ and EXITINTINFO. */
#define EVENT_VECTOR    0xffull
#define EVENT_TYPE      (7ull << 8)
#define EVENT_INTR      (0ull << 8)
#define EVENT_NMI       (2ull << 8)
#define EVENT_EXCEPTION (3ull << 8)
#define EVENT_SOFT      (4ull << 8)
#define EVENT_HAS_ERROR (1ull << 11)
#define EVENT_VALID     (1ull << 31)

/* Bits of intercept1. */
#define INTERCEPT1_INTR     (1u << 0)
#define INTERCEPT1_NMI      (1u << 1)
#define INTERCEPT1_INIT     (1u << 3)
#define INTERCEPT1_VINTR    (1u << 4)
#define INTERCEPT1_RDPMC    (1u << 15)
#define INTERCEPT1_CPUID    (1u << 18)
#define INTERCEPT1_RSM      (1u << 19)
#define INTERCEPT1_IRET     (1u << 20)
#define INTERCEPT1_INVD     (1u << 22)
#define INTERCEPT1_HLT      (1u << 24)
#define INTERCEPT1_INVLPGA  (1u << 26)
#define INTERCEPT1_IOIO     (1u << 27)
#define INTERCEPT1_MSR      (1u << 28)
#define INTERCEPT1_TASK     (1u << 29)
#define INTERCEPT1_FERR     (1u << 30)
#define INTERCEPT1_SHUTDOWN (1u << 31)
/* Of intercept2: VMRUN to SKINIT, WBINVD, MONITOR, MWAIT, XSETBV, RDPRU. */
#define INTERCEPT2_ALL (0x7fu | 1u << 9 | 1u << 10 | 1u << 11 | 1u << 12 | 1u << 13 | 1u << 14)

#define EXIT_CR0_READ   0x000u
#define EXIT_DR15_WRITE 0x03fu
#define EXIT_EXCEPTION  0x040u /* to 5Fh, by vector */
#define EXIT_INTR       0x060u
#define EXIT_NMI        0x061u
#define EXIT_INIT       0x063u
#define EXIT_VINTR      0x064u
#define EXIT_CPUID      0x072u
#define EXIT_IRET       0x074u
#define EXIT_HLT        0x078u
#define EXIT_IOIO       0x07bu
#define EXIT_MSR        0x07cu
#define EXIT_TASK       0x07du
#define EXIT_SHUTDOWN   0x07fu
#define EXIT_VMMCALL    0x081u
#define EXIT_XSETBV     0x08du
#define EXIT_RDPRU      0x08eu
#define EXIT_NPF        0x400u
#define EXIT_INVALID    0xffffffffffffffffull

/* EXITINFO1 of IOIO. */
#define IOIO_IN     1u
#define IOIO_STRING 4u

#define NPF_WRITE 2u

struct svm {
	void *iopm, *msrpm;
	int has_nrip;
};

struct svm_vcpu {
	struct hv_vcpu v;
	struct vmcb *vmcb;
};

static inline struct svm_vcpu *svm_vcpu(struct hv_vcpu *v)
{
	return (struct svm_vcpu *)v;
}

/* svm_enter.S: VMRUN with all that VMLOAD loads; on return the host's is back, GIF is set. */
void svm_enter_guest(u64 *gpr, u64 vmcb, u64 host_vmcb);

/* svm_state.c */
void svm_put(struct hv_vcpu *v, u32 groups);
void svm_get(struct hv_vcpu *v, u32 groups);
/* svm_exit.c */
enum hv_next svm_exit(struct svm_vcpu *s);

#endif
