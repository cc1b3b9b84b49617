/*
 * fpu.h - between fpu.c and xsave.c: the x87 and vector state of one vCPU.
 * Offsets are those of FXSAVE (SDM vol. 1 table 10-2).
 */
#ifndef TINAMOU_INTERPRET_FPU_H
#define TINAMOU_INTERPRET_FPU_H

#include "engine/interpret/cpu.h"

enum {
	FPU_FCW = 0,
	FPU_FSW = 2,
	FPU_FTW = 4, /* one bit a register: not empty */
	FPU_FOP = 6,
	FPU_FIP = 8,
	FPU_FDP = 16,
	FPU_MXCSR = 24,
	FPU_MXCSR_MASK = 28,
	FPU_ST = 32,
	FPU_XMM = 160,
	FPU_LEGACY = 512,
	FPU_HEADER = 512,
	FPU_YMM = 576
};

#define FPU_ES     0x80u
#define FPU_BUSY   0x8000u
#define MXCSR_MASK 0xffffu

uint16_t fpu_word(const struct cpu *c, unsigned off);
void fpu_set_word(struct cpu *c, unsigned off, uint16_t v);
void fpu_set_top(struct cpu *c, unsigned top);
void fpu_enter_mmx(struct cpu *c);

/* #NM, #UD as the state of the unit asks for. */
void check_x87(struct cpu *c);
void check_sse(struct cpu *c);
void check_avx(struct cpu *c);
/* #MF if an unmasked exception waits. */
void check_pending(struct cpu *c);

/* Memory operands that are larger than a register: all or nothing. */
void load_block(struct cpu *c, unsigned seg, uint64_t off, void *to, unsigned size);
void store_block(struct cpu *c, unsigned seg, uint64_t off, const void *from, unsigned size);

/* Is a memory operand of 16 bytes or more a #GP where it is not aligned? Of SSE and AVX. */
bool must_be_aligned(const struct x86_insn *i);
/* Executes what has no body of its own. */
void host_execute(struct cpu *c, const struct x86_insn *i);

#endif
