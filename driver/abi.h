/*
 * abi.h - the contract of /dev/tinamou between the module and engine `driver`.
 *
 * /dev/tinamou: INFO and CREATE_VM. A machine's descriptor: SET_MAP and
 * CREATE_VCPU. A vCPU's descriptor: RUN, and mmap of one page that both sides
 * share, struct tinamou_page. Registers go through that page in groups: RUN
 * names the groups to take from it before the entry, and those to write to it
 * after the exit. Each structure begins with its size; another size than the
 * module's is refused with -EINVAL.
 *
 * All of it may be used only by the process that made the machine: -EIO for
 * others. Whoever includes this has included a header with _IO and _IOWR.
 */
#ifndef TINAMOU_DRIVER_ABI_H
#define TINAMOU_DRIVER_ABI_H

#include "types.h"

#define TINAMOU_ABI 1

/* ---- /dev/tinamou ---- */

enum tinamou_kind { TINAMOU_SVM = 1, TINAMOU_VMX = 2 };

#define TINAMOU_HAS_NEXT_RIP 1u /* exits tell the length of the instruction */
#define TINAMOU_HAS_AVX      2u

struct tinamou_info {
	u32 size;
	u32 abi;
	u32 kind; /* enum tinamou_kind */
	u32 flags;
	u32 slots; /* most slots of a map */
	u32 phys_bits;
};

/* ---- a machine ---- */

#define TINAMOU_SLOTS      32u
#define TINAMOU_SLOT_ROM   1u /* writes exit */
#define TINAMOU_PHYS_LIMIT (1ull << 46)

struct tinamou_slot {
	u64 gpa; /* all three: multiples of 4096 */
	u64 bytes;
	u64 user; /* address in the process */
	u32 flags;
	u32 zero;
};

/* The memory map, whole; pages are pinned when the guest first touches them. */
struct tinamou_map {
	u32 size;
	u32 count;
	struct tinamou_slot slot[TINAMOU_SLOTS];
};

/* ---- a vCPU's registers ---- */

enum tinamou_group {
	TINAMOU_GPR = 1 << 0,
	TINAMOU_SEG = 1 << 1,
	TINAMOU_CR = 1 << 2,
	TINAMOU_DR = 1 << 3,
	TINAMOU_FPU = 1 << 4,
	TINAMOU_MSR = 1 << 5,
	TINAMOU_TSC = 1 << 6,
	TINAMOU_EVENTS = 1 << 7,
	TINAMOU_ALL_GROUPS = (1 << 8) - 1
};

enum tinamou_gpr { TINAMOU_RAX = 0, TINAMOU_RSP = 4, TINAMOU_GPRS = 16 };

enum tinamou_seg_number {
	TINAMOU_ES,
	TINAMOU_CS,
	TINAMOU_SS,
	TINAMOU_DS,
	TINAMOU_FS,
	TINAMOU_GS,
	TINAMOU_LDTR,
	TINAMOU_TR,
	TINAMOU_SEGS
};

/* attr as in the VMCS (SDM vol. 3C table 24-2): bit 16 is "unusable". */
struct tinamou_seg {
	u64 base;
	u32 limit;
	u32 attr;
	u16 sel;
	u16 zero[3];
};

struct tinamou_table {
	u64 base;
	u64 limit;
};

enum tinamou_msr {
	TINAMOU_SYSENTER_CS,
	TINAMOU_SYSENTER_ESP,
	TINAMOU_SYSENTER_EIP,
	TINAMOU_STAR,
	TINAMOU_LSTAR,
	TINAMOU_CSTAR,
	TINAMOU_SFMASK,
	TINAMOU_KERNEL_GS_BASE,
	TINAMOU_TSC_AUX,
	TINAMOU_PAT,
	TINAMOU_MSRS
};

enum tinamou_event {
	TINAMOU_EVENT_NONE,
	TINAMOU_EVENT_INTR,
	TINAMOU_EVENT_NMI,
	TINAMOU_EVENT_EXCEPTION
};

/* What the next entry delivers, and what holds events back. */
struct tinamou_events {
	u32 type; /* enum tinamou_event */
	u32 vector;
	u32 has_error;
	u32 error;
	u8 shadow_sti;
	u8 shadow_mov_ss;
	u8 nmi_masked;
	u8 zero[5];
};

#define TINAMOU_XSAVE_SIZE 832 /* standard format: x87, SSE, AVX */

struct tinamou_regs {
	u64 gpr[TINAMOU_GPRS], rip, rflags;                        /* GPR */
	struct tinamou_seg seg[TINAMOU_SEGS];                      /* SEG */
	struct tinamou_table gdtr, idtr;                           /* SEG */
	u64 cr0, cr2, cr3, cr4, cr8, efer, xcr0;                   /* CR */
	u64 pdpte[4];                                              /* CR */
	u64 dr[8];                                                 /* DR; 4 and 5 unused */
	u64 msr[TINAMOU_MSRS];                                     /* MSR */
	u64 tsc;                                                   /* TSC */
	struct tinamou_events events;                              /* EVENTS */
	u8 xsave[TINAMOU_XSAVE_SIZE] __attribute__((aligned(64))); /* FPU */
};

/* ---- exits ---- */

enum tinamou_exit_reason {
	TINAMOU_EXIT_NONE,
	TINAMOU_EXIT_IO,     /* port, size, in, string */
	TINAMOU_EXIT_MEMORY, /* gpa, write: no RAM there, or a write to ROM */
	TINAMOU_EXIT_HLT,
	TINAMOU_EXIT_CPUID,
	TINAMOU_EXIT_MSR,       /* write */
	TINAMOU_EXIT_WINDOW,    /* the guest would take an interrupt now */
	TINAMOU_EXIT_EXCEPTION, /* vector, error: not delivered */
	TINAMOU_EXIT_SHUTDOWN,  /* triple fault */
	TINAMOU_EXIT_HYPERCALL, /* VMCALL, VMMCALL */
	TINAMOU_EXIT_INSN,      /* another instruction that the CPU hands over */
	TINAMOU_EXIT_FAIL       /* the CPU refused the entry: code */
};

struct tinamou_exit {
	u32 reason;
	u32 insn_len; /* 0: the CPU does not tell */
	u64 code;     /* the hardware's own exit code, and what comes with it */
	u64 info[2];
	u64 gpa;
	u16 port;
	u8 size;
	u8 in, string, write;
	u8 vector;
	u8 interruptible; /* the guest would take an interrupt now */
	u64 count;        /* entries since the vCPU was made */
};

/* The shared page. The first two are the module's; immediate_exit and window the engine's. */
struct tinamou_page {
	u32 size;
	u32 abi;
	u32 immediate_exit; /* RUN returns -EINTR instead of entering; any thread */
	u32 window;         /* exit as soon as the guest would take an interrupt */
	struct tinamou_exit exit;
	struct tinamou_regs regs;
};

#define TINAMOU_RUN_ENTER 1u /* else only the groups are moved */

struct tinamou_run {
	u32 size;
	u32 flags;
	u32 put; /* groups taken from the page before the entry */
	u32 get; /* groups written to the page after the exit */
};

#define TINAMOU_IOC         0xd7
#define TINAMOU_INFO        _IOWR(TINAMOU_IOC, 0, struct tinamou_info)
#define TINAMOU_CREATE_VM   _IO(TINAMOU_IOC, 1)
#define TINAMOU_SET_MAP     _IOWR(TINAMOU_IOC, 2, struct tinamou_map)
#define TINAMOU_CREATE_VCPU _IO(TINAMOU_IOC, 3)
#define TINAMOU_RUN         _IOWR(TINAMOU_IOC, 4, struct tinamou_run)

#endif
