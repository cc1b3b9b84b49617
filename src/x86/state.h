/*
 * state.h - the canonical state of one x86 vCPU, the same for every engine.
 *
 * Sources: Intel SDM vol. 3A ch. 2 (system registers), vol. 3C 24.4 (segment
 * attributes in the VMCS format), vol. 1 ch. 13 (XSAVE standard format).
 * It is only read or written between instructions. Engines move it by group
 * (enum x86_group); a group that was not asked for is left untouched.
 * Pure data: no I/O, no locks.
 */
#ifndef TINAMOU_X86_STATE_H
#define TINAMOU_X86_STATE_H

#include <stdbool.h>
#include <stdint.h>

/* General registers in encoding order (SDM vol. 2A table 3-1). */
enum x86_gpr {
	X86_RAX,
	X86_RCX,
	X86_RDX,
	X86_RBX,
	X86_RSP,
	X86_RBP,
	X86_RSI,
	X86_RDI,
	X86_R8,
	X86_R9,
	X86_R10,
	X86_R11,
	X86_R12,
	X86_R13,
	X86_R14,
	X86_R15,
	X86_GPR_COUNT
};

/* Segment registers in encoding order (SDM vol. 2A table B-8), then the system ones. */
enum x86_segment {
	X86_ES,
	X86_CS,
	X86_SS,
	X86_DS,
	X86_FS,
	X86_GS,
	X86_LDTR,
	X86_TR,
	X86_SEG_COUNT
};

/* RFLAGS (SDM vol. 1 3.4.3). */
#define X86_CF          0x0001u
#define X86_PF          0x0004u
#define X86_AF          0x0010u
#define X86_ZF          0x0040u
#define X86_SF          0x0080u
#define X86_TF          0x0100u
#define X86_IF          0x0200u
#define X86_DF          0x0400u
#define X86_OF          0x0800u
#define X86_IOPL        0x3000u
#define X86_NT          0x4000u
#define X86_RF          0x10000u
#define X86_VM          0x20000u
#define X86_AC          0x40000u
#define X86_VIF         0x80000u
#define X86_VIP         0x100000u
#define X86_ID          0x200000u
#define X86_FLAGS_FIXED 0x2u /* bit 1 reads as one */
#define X86_FLAGS_ARITH (X86_CF | X86_PF | X86_AF | X86_ZF | X86_SF | X86_OF)

/* CR0 (SDM vol. 3A 2.5). */
#define X86_CR0_PE 0x1u
#define X86_CR0_MP 0x2u
#define X86_CR0_EM 0x4u
#define X86_CR0_TS 0x8u
#define X86_CR0_ET 0x10u
#define X86_CR0_NE 0x20u
#define X86_CR0_WP 0x10000u
#define X86_CR0_AM 0x40000u
#define X86_CR0_NW 0x20000000u
#define X86_CR0_CD 0x40000000u
#define X86_CR0_PG 0x80000000u

/* CR4. */
#define X86_CR4_VME        0x1u
#define X86_CR4_PVI        0x2u
#define X86_CR4_TSD        0x4u
#define X86_CR4_DE         0x8u
#define X86_CR4_PSE        0x10u
#define X86_CR4_PAE        0x20u
#define X86_CR4_MCE        0x40u
#define X86_CR4_PGE        0x80u
#define X86_CR4_PCE        0x100u
#define X86_CR4_OSFXSR     0x200u
#define X86_CR4_OSXMMEXCPT 0x400u
#define X86_CR4_UMIP       0x800u
#define X86_CR4_FSGSBASE   0x10000u
#define X86_CR4_PCIDE      0x20000u
#define X86_CR4_OSXSAVE    0x40000u
#define X86_CR4_SMEP       0x100000u
#define X86_CR4_SMAP       0x200000u

/* IA32_EFER. */
#define X86_EFER_SCE 0x1u
#define X86_EFER_LME 0x100u
#define X86_EFER_LMA 0x400u
#define X86_EFER_NXE 0x800u

/* Exception vectors (SDM vol. 3A table 6-1). */
enum x86_vector {
	X86_DE = 0,
	X86_DB = 1,
	X86_NMI = 2,
	X86_BP = 3,
	X86_OFV = 4,
	X86_BR = 5,
	X86_UD = 6,
	X86_NM = 7,
	X86_DF_VEC = 8,
	X86_TS = 10,
	X86_NP = 11,
	X86_SSV = 12,
	X86_GP = 13,
	X86_PFV = 14,
	X86_MF = 16,
	X86_ACV = 17,
	X86_MC = 18,
	X86_XM = 19
};

/*
 * Segment attributes as in the VMCS (SDM vol. 3C table 24-2): type in 3:0,
 * S 4, DPL 6:5, P 7, AVL 12, L 13, D/B 14, G 15, unusable 16.
 * limit is in bytes, already scaled by G.
 */
#define X86_ATTR_TYPE     0xfu
#define X86_ATTR_S        0x10u
#define X86_ATTR_DPL      0x60u
#define X86_ATTR_P        0x80u
#define X86_ATTR_AVL      0x1000u
#define X86_ATTR_L        0x2000u
#define X86_ATTR_DB       0x4000u
#define X86_ATTR_G        0x8000u
#define X86_ATTR_UNUSABLE 0x10000u

struct x86_seg {
	uint64_t base;
	uint32_t limit;
	uint32_t attr;
	uint16_t sel;
};

struct x86_table {
	uint64_t base;
	uint16_t limit;
};

/* What a vCPU is doing (SDM vol. 3C 24.4.2, plus multi-processor start-up 8.4). */
enum x86_run { X86_RUNNING, X86_HALTED, X86_WAIT_SIPI, X86_SHUTDOWN };

/* An event that the next entry delivers before the next instruction. */
enum x86_event_type {
	X86_EVENT_NONE,
	X86_EVENT_INTR,
	X86_EVENT_NMI,
	X86_EVENT_EXCEPTION,
	X86_EVENT_SOFT_INTR,
	X86_EVENT_SOFT_EXCEPTION
};

struct x86_events {
	uint8_t type; /* enum x86_event_type: being delivered; NONE if none */
	uint8_t vector;
	bool has_error;
	uint8_t insn_len; /* for soft events: bytes to skip */
	uint32_t error;
	bool exc_pending; /* an exception waits to be delivered (not yet injected) */
	uint8_t exc_vector;
	bool exc_has_error;
	bool exc_has_payload; /* payload: CR2 of a #PF, DR6 bits of a #DB */
	uint32_t exc_error;
	uint64_t exc_payload;
	bool shadow_sti;    /* interrupts are held for one instruction after STI */
	bool shadow_mov_ss; /* ... after MOV SS or POP SS, debug traps too */
	bool nmi_masked;    /* until IRET */
	bool nmi_pending;
	bool init_pending;
	bool sipi_pending;
	uint8_t sipi_vector;
	bool db_pending; /* single-step trap due before the next instruction */
	uint8_t db_held; /* DR6 3:0, met by a MOV SS: their trap comes behind the next instruction
			  */
	uint8_t run;     /* enum x86_run */
};

/* The MSRs every engine keeps; index into x86_state.msr, numbers in x86_msr_list. */
enum x86_msr_index {
	X86_MSR_SYSENTER_CS,
	X86_MSR_SYSENTER_ESP,
	X86_MSR_SYSENTER_EIP,
	X86_MSR_STAR,
	X86_MSR_LSTAR,
	X86_MSR_CSTAR,
	X86_MSR_SFMASK,
	X86_MSR_KERNEL_GS_BASE,
	X86_MSR_TSC_AUX,
	X86_MSR_PAT,
	X86_MSR_MISC_ENABLE,
	X86_MSR_APIC_BASE,
	X86_MSR_TSC_DEADLINE,
	X86_MSR_TSC_ADJUST,
	X86_MSR_MTRR_PHYSBASE0,
	X86_MSR_MTRR_PHYSMASK0,
	X86_MSR_MTRR_PHYSBASE1,
	X86_MSR_MTRR_PHYSMASK1,
	X86_MSR_MTRR_PHYSBASE2,
	X86_MSR_MTRR_PHYSMASK2,
	X86_MSR_MTRR_PHYSBASE3,
	X86_MSR_MTRR_PHYSMASK3,
	X86_MSR_MTRR_PHYSBASE4,
	X86_MSR_MTRR_PHYSMASK4,
	X86_MSR_MTRR_PHYSBASE5,
	X86_MSR_MTRR_PHYSMASK5,
	X86_MSR_MTRR_PHYSBASE6,
	X86_MSR_MTRR_PHYSMASK6,
	X86_MSR_MTRR_PHYSBASE7,
	X86_MSR_MTRR_PHYSMASK7,
	X86_MSR_MTRR_FIX64K_00000,
	X86_MSR_MTRR_FIX16K_80000,
	X86_MSR_MTRR_FIX16K_A0000,
	X86_MSR_MTRR_FIX4K_C0000,
	X86_MSR_MTRR_FIX4K_C8000,
	X86_MSR_MTRR_FIX4K_D0000,
	X86_MSR_MTRR_FIX4K_D8000,
	X86_MSR_MTRR_FIX4K_E0000,
	X86_MSR_MTRR_FIX4K_E8000,
	X86_MSR_MTRR_FIX4K_F0000,
	X86_MSR_MTRR_FIX4K_F8000,
	X86_MSR_MTRR_DEF_TYPE,
	X86_MSR_PV_WALL_CLOCK,
	X86_MSR_PV_SYSTEM_TIME,
	X86_MSR_COUNT
};
struct x86_msr_info {
	uint32_t number;
	const char *name;
	uint64_t reset;
};
extern const struct x86_msr_info x86_msr_list[X86_MSR_COUNT];

/* XSAVE area, standard format: legacy 512, header 64, AVX upper halves 256. */
#define X86_XSAVE_SIZE 832
#define X86_XCR0_X87   1u
#define X86_XCR0_SSE   2u
#define X86_XCR0_AVX   4u

enum x86_group {
	X86_GROUP_GPR = 1 << 0, /* gpr, rip, rflags */
	X86_GROUP_SEG = 1 << 1, /* seg, gdtr, idtr */
	X86_GROUP_CR = 1 << 2,  /* cr0..cr8, efer, xcr0, pdpte */
	X86_GROUP_DR = 1 << 3,
	X86_GROUP_FPU = 1 << 4, /* xsave: FIP, FDP, FOP and their selectors read as zero */
	X86_GROUP_MSR = 1 << 5,
	X86_GROUP_TSC = 1 << 6,
	X86_GROUP_EVENTS = 1 << 7,
	X86_GROUP_ALL = (1 << 8) - 1
};

struct x86_state {
	uint64_t gpr[X86_GPR_COUNT];
	uint64_t rip;
	uint64_t rflags;
	struct x86_seg seg[X86_SEG_COUNT];
	struct x86_table gdtr, idtr;
	uint64_t cr0, cr2, cr3, cr4, cr8;
	uint64_t efer, xcr0;
	uint64_t pdpte[4];
	uint64_t dr[8]; /* 4 and 5 unused */
	_Alignas(64) uint8_t xsave[X86_XSAVE_SIZE];
	uint64_t msr[X86_MSR_COUNT];
	uint64_t tsc;
	struct x86_events events;
};

/* Power-up and RESET state of SDM vol. 3A table 9-1; family/model/stepping goes to EDX. */
void x86_state_reset(struct x86_state *s, uint32_t cpu_signature);

/* Sets a segment as real mode loads it: base = sel * 16, limit and attr as on reset. */
void x86_seg_real(struct x86_seg *seg, uint16_t sel, bool code);

/*
 * Compares the groups of mask; returns the number of differing fields and
 * writes one "name: a != b" line each to out (a FILE *), which may be NULL.
 */
struct _IO_FILE;
unsigned x86_state_diff(
	const struct x86_state *a, const struct x86_state *b, unsigned mask, struct _IO_FILE *out);

/* Multi-line register dump for people, in the order of the SDM. */
void x86_state_print(const struct x86_state *s, struct _IO_FILE *out);

#endif
