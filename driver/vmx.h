/*
 * vmx.h - VMCS fields, controls and exit reasons; between the vmx_*.c files.
 *
 * Source: Intel SDM vol. 3C, 24 (VMCS), appendix A (capabilities), B (field
 * encodings), C (exit reasons). Names are its own, shortened.
 */
#ifndef TINAMOU_DRIVER_VMX_H
#define TINAMOU_DRIVER_VMX_H

#include "cpu.h"
#include "hv.h"

#define MSR_DEBUGCTL          0x1d9u
#define MSR_VMX_BASIC         0x480u
#define MSR_VMX_PROC2         0x48bu
#define MSR_VMX_EPT_VPID      0x48cu
#define MSR_VMX_TRUE_PIN      0x48du
#define MSR_VMX_TRUE_PROC     0x48eu
#define MSR_VMX_TRUE_EXIT     0x48fu
#define MSR_VMX_TRUE_ENTRY    0x490u
#define VMX_BASIC_TRUE        (1ull << 55)
#define FEATURE_CONTROL_LOCK  1ull
#define FEATURE_CONTROL_VMXON 4ull /* outside of SMX */
#define EPT_CAP_WALK_4        (1ull << 6)
#define EPT_CAP_WB            (1ull << 14)
#define EPT_CAP_INVEPT_ALL    (1ull << 20 | 1ull << 26)
#define EPT_CAP_INVVPID_ALL   (1ull << 32 | 1ull << 42)

enum vmcs_field {
	VPID = 0x0000,
	GUEST_ES_SEL = 0x0800, /* CS, SS, DS, FS, GS, LDTR, TR follow by 2 */
	HOST_ES_SEL = 0x0c00,
	HOST_CS_SEL = 0x0c02,
	HOST_SS_SEL = 0x0c04,
	HOST_DS_SEL = 0x0c06,
	HOST_FS_SEL = 0x0c08,
	HOST_GS_SEL = 0x0c0a,
	HOST_TR_SEL = 0x0c0c,
	MSR_BITMAP = 0x2004,
	TSC_OFFSET = 0x2010,
	EPT_POINTER = 0x201a,
	GUEST_PHYSICAL = 0x2400,
	VMCS_LINK = 0x2800,
	GUEST_DEBUGCTL = 0x2802,
	GUEST_PAT = 0x2804,
	GUEST_EFER = 0x2806,
	GUEST_PDPTE0 = 0x280a, /* the others follow by 2 */
	HOST_PAT = 0x2c00,
	HOST_EFER = 0x2c02,
	PIN_CONTROLS = 0x4000,
	PROC_CONTROLS = 0x4002,
	EXCEPTION_BITMAP = 0x4004,
	PAGE_FAULT_MASK = 0x4006,
	PAGE_FAULT_MATCH = 0x4008,
	CR3_TARGET_COUNT = 0x400a,
	EXIT_CONTROLS = 0x400c,
	EXIT_MSR_STORE_COUNT = 0x400e,
	EXIT_MSR_LOAD_COUNT = 0x4010,
	ENTRY_CONTROLS = 0x4012,
	ENTRY_MSR_LOAD_COUNT = 0x4014,
	ENTRY_EVENT = 0x4016,
	ENTRY_ERROR = 0x4018,
	ENTRY_INSN_LEN = 0x401a,
	TPR_THRESHOLD = 0x401c,
	PROC2_CONTROLS = 0x401e,
	INSN_ERROR = 0x4400,
	EXIT_REASON = 0x4402,
	EXIT_EVENT = 0x4404,
	EXIT_ERROR = 0x4406,
	VECTORING_EVENT = 0x4408,
	VECTORING_ERROR = 0x440a,
	EXIT_INSN_LEN = 0x440c,
	GUEST_ES_LIMIT = 0x4800, /* as selectors; GDTR and IDTR behind TR */
	GUEST_GDTR_LIMIT = 0x4810,
	GUEST_IDTR_LIMIT = 0x4812,
	GUEST_ES_ATTR = 0x4814,
	GUEST_INTERRUPTIBILITY = 0x4824,
	GUEST_ACTIVITY = 0x4826,
	GUEST_SMBASE = 0x4828,
	GUEST_SYSENTER_CS = 0x482a,
	PREEMPTION_TIMER = 0x482e,
	HOST_SYSENTER_CS = 0x4c00,
	CR0_MASK = 0x6000,
	CR4_MASK = 0x6002,
	CR0_SHADOW = 0x6004,
	CR4_SHADOW = 0x6006,
	EXIT_QUALIFICATION = 0x6400,
	GUEST_CR0 = 0x6800,
	GUEST_CR3 = 0x6802,
	GUEST_CR4 = 0x6804,
	GUEST_ES_BASE = 0x6806,
	GUEST_GDTR_BASE = 0x6816,
	GUEST_IDTR_BASE = 0x6818,
	GUEST_DR7 = 0x681a,
	GUEST_RSP = 0x681c,
	GUEST_RIP = 0x681e,
	GUEST_RFLAGS = 0x6820,
	GUEST_PENDING_DEBUG = 0x6822,
	GUEST_SYSENTER_ESP = 0x6824,
	GUEST_SYSENTER_EIP = 0x6826,
	HOST_CR0 = 0x6c00,
	HOST_CR3 = 0x6c02,
	HOST_CR4 = 0x6c04,
	HOST_FS_BASE = 0x6c06,
	HOST_GS_BASE = 0x6c08,
	HOST_TR_BASE = 0x6c0a,
	HOST_GDTR_BASE = 0x6c0c,
	HOST_IDTR_BASE = 0x6c0e,
	HOST_SYSENTER_ESP = 0x6c10,
	HOST_SYSENTER_EIP = 0x6c12,
	HOST_RIP = 0x6c16
};

#define PIN_EXTERNAL_INTERRUPT (1u << 0)
#define PIN_NMI                (1u << 3)
#define PIN_VIRTUAL_NMI        (1u << 5)
#define PIN_PREEMPTION_TIMER   (1u << 6)

#define PROC_INTERRUPT_WINDOW (1u << 2)
#define PROC_TSC_OFFSET       (1u << 3)
#define PROC_HLT              (1u << 7)
#define PROC_MWAIT            (1u << 10)
#define PROC_RDPMC            (1u << 11)
#define PROC_CR8_LOAD         (1u << 19)
#define PROC_CR8_STORE        (1u << 20)
#define PROC_IO               (1u << 24)
#define PROC_MSR_BITMAP       (1u << 28)
#define PROC_MONITOR          (1u << 29)
#define PROC_SECONDARY        (1u << 31)

#define PROC2_EPT          (1u << 1)
#define PROC2_RDTSCP       (1u << 3)
#define PROC2_VPID         (1u << 5)
#define PROC2_WBINVD       (1u << 6)
#define PROC2_UNRESTRICTED (1u << 7)
#define PROC2_INVPCID      (1u << 12)

#define EXIT_SAVE_DEBUG (1u << 2)
#define EXIT_HOST_64    (1u << 9)
#define EXIT_SAVE_PAT   (1u << 18)
#define EXIT_LOAD_PAT   (1u << 19)
#define EXIT_SAVE_EFER  (1u << 20)
#define EXIT_LOAD_EFER  (1u << 21)

#define ENTRY_LOAD_DEBUG (1u << 2)
#define ENTRY_GUEST_64   (1u << 9)
#define ENTRY_LOAD_PAT   (1u << 14)
#define ENTRY_LOAD_EFER  (1u << 15)

/* Events, coming and going (24.8.3, 24.9.2). */
#define EVENT_VECTOR    0xffu
#define EVENT_TYPE      (7u << 8)
#define EVENT_INTR      (0u << 8)
#define EVENT_NMI       (2u << 8)
#define EVENT_EXCEPTION (3u << 8)
#define EVENT_HAS_ERROR (1u << 11)
#define EVENT_VALID     (1u << 31)

#define BLOCKED_BY_STI    1u
#define BLOCKED_BY_MOV_SS 2u
#define BLOCKED_BY_NMI    8u

enum vmx_reason {
	REASON_EXCEPTION = 0, /* or NMI */
	REASON_EXTERNAL_INTERRUPT = 1,
	REASON_TRIPLE_FAULT = 2,
	REASON_INIT = 3,
	REASON_INTERRUPT_WINDOW = 7,
	REASON_CPUID = 10,
	REASON_HLT = 12,
	REASON_VMCALL = 18,
	REASON_IO = 30,
	REASON_RDMSR = 31,
	REASON_WRMSR = 32,
	REASON_MACHINE_CHECK = 41,
	REASON_EPT_VIOLATION = 48,
	REASON_EPT_MISCONFIGURATION = 49,
	REASON_PREEMPTION_TIMER = 52,
	REASON_LAST_INSN = 64
};
#define REASON_ENTRY_FAILED (1u << 31)

/* Exit qualification of an I/O instruction and of an EPT violation. */
#define IO_IN        8u
#define IO_STRING    16u
#define EPT_WRITE    2u
#define EPT_IRET_NMI (1u << 12)

/* Bits that the guest sees in a shadow, since VMX or the host wants its own there. */
#define CR0_SHADOWED (CR0_NE | CR0_CD | CR0_NW)

struct vmx {
	void *msr_bitmap;
	u32 pin, proc, proc2, exit, entry; /* controls */
};

/* What VM exits destroy of the host, or leave the guest's (27.5). */
struct vmx_host {
	u64 cr3, cr4, debugctl;
	u64 msr[TINAMOU_MSRS];
	u16 ds, es, fs, gs, ldtr;
	u64 fs_base;
	struct {
		u16 limit;
		u64 base;
	} __attribute__((packed)) gdtr, idtr;
};

struct vmx_vcpu {
	struct hv_vcpu v;
	void *vmcs;
	int current; /* loaded on this CPU */
	int launched;
	struct vmx_host host;
};

static inline struct vmx_vcpu *vmx_vcpu(struct hv_vcpu *v)
{
	return (struct vmx_vcpu *)v;
}

static inline u64 vmread(enum vmcs_field field)
{
	u64 value;

	__asm__ volatile("vmread %1, %0" : "=r"(value) : "r"((u64)field) : "cc", "memory");
	return value;
}

static inline void vmwrite(enum vmcs_field field, u64 value)
{
	__asm__ volatile("vmwrite %0, %1" ::"r"(value), "r"((u64)field) : "cc", "memory");
}

/* vmx_enter.S: VMLAUNCH or VMRESUME; 0, or 1 if it failed. Returns with interrupts off. */
int vmx_enter_guest(u64 *gpr, int launched);
/* Where VM exits come out: HOST_RIP. */
extern const u8 vmx_exited[];

/* vmx_host.c: the host's part of the VMCS and what goes round it; the VMCS is current. */
void vmx_host_save(struct vmx_vcpu *x);
void vmx_host_refresh(struct vmx_vcpu *x);
void vmx_host_restore(struct vmx_vcpu *x);

/* vmx_state.c */
void vmx_put_fields(struct vmx_vcpu *x, u32 groups);
void vmx_get_fields(struct vmx_vcpu *x, u32 groups);
/* vmx_exit.c */
enum hv_next vmx_exit(struct vmx_vcpu *x);

#endif
