/*
 * case.h - one instruction test: the state before, and what a CPU made of it.
 *
 * A case is bytes, a mode, registers and the contents of a few memory windows.
 * Each side (the real CPU, an engine) executes exactly one instruction, or one
 * iteration of a repeated one, and fills a struct insn_result. Everything is
 * plain data, so that cases can live in memory shared with the native child.
 *
 * The linear address space is the same on both sides: seven areas of 64 KiB
 * from AREA_BASE on, one for each segment register and one spare, filled with
 * a pattern that is a function of the address. Segments of the 16- and 32-bit
 * modes are limited to their area, unless a case is flat; 64-bit code is.
 */
#ifndef TINAMOU_TESTS_INSN_CASE_H
#define TINAMOU_TESTS_INSN_CASE_H

#include <stdbool.h>
#include <stdint.h>

#include "x86/insn.h"
#include "x86/state.h"

#define AREA_BASE  0x20000u
#define AREA_SIZE  0x10000u
#define AREA_COUNT 7
#define AREA_END   (AREA_BASE + AREA_SIZE * AREA_COUNT)
#define CODE_BASE  AREA_BASE

/* FS and GS of flat code. */
#define FLAT_FS_BASE 0x8000u
#define FLAT_GS_BASE 0x18000u

/* Segment register -> area. CS has the first one. */
static inline uint32_t area_of(unsigned seg)
{
	static const uint8_t index[6] = {2, 0, 3, 1, 4, 5};

	return AREA_BASE + index[seg] * AREA_SIZE;
}

/* What memory holds unless a window says otherwise. */
static inline uint8_t area_pattern(uint32_t addr)
{
	return (uint8_t)((addr * 0x9e3779b1u) >> 23);
}

/* All areas as they are before a case. */
static inline void area_fill(uint8_t *areas)
{
	for (uint32_t a = AREA_BASE; a < AREA_END; a++)
		areas[a - AREA_BASE] = area_pattern(a);
}

/*
 * Segment selectors as the native harness installs them in its LDT: entry
 * 1 + seg for 16-bit code, 9 + seg for 32-bit code. Flat 64-bit code has the
 * host's own.
 */
static inline uint16_t case_selector(enum x86_mode mode, unsigned seg)
{
	return (uint16_t)(((mode == X86_MODE_16 ? 1 : 9) + seg) << 3 | 7);
}

/* Flat 32-bit code: the host's own, and entries with a base for FS and GS. */
#define FLAT_CS 0x23
#define FLAT_DS 0x2b
#define FLAT_FS (17 << 3 | 7)
#define FLAT_GS (18 << 3 | 7)

static inline uint16_t flat_selector(unsigned seg)
{
	return seg == X86_CS   ? FLAT_CS
	       : seg == X86_FS ? FLAT_FS
	       : seg == X86_GS ? FLAT_GS
			       : FLAT_DS;
}

#define WINDOW_SIZE  576u /* FXSAVE's 512 and some more */
#define WINDOW_COUNT 4

struct insn_window {
	uint32_t addr; /* linear, inside the areas; 0: not used */
	uint8_t bytes[WINDOW_SIZE];
};

struct insn_regs {
	uint64_t gpr[X86_GPR_COUNT];
	uint64_t rip; /* offset in CS */
	uint64_t rflags;
	uint16_t sel[6];
};

/* x87, SSE and AVX state in the standard format of XSAVE (SDM vol. 1 tables 10-2, 13.4.3). */
#define FPU_SIZE   X86_XSAVE_SIZE
#define FPU_LEGACY 512u
#define FPU_HEADER 512u
#define FPU_YMM    576u
#define FPU_ST     32u
#define FPU_XMM    160u

struct insn_case {
	uint64_t number;
	uint8_t mode; /* enum x86_mode */
	bool flat;    /* segments as Linux has them; always in 64-bit code */
	uint8_t bytes[X86_INSN_MAX + 1];
	struct x86_insn insn;
	struct insn_regs regs;
	_Alignas(64) uint8_t fpu[FPU_SIZE];
	struct insn_window window[WINDOW_COUNT];
};

/* Instead of a vector. */
enum insn_end {
	INSN_RETIRED = 256, /* executed without an exception */
	INSN_DIED,          /* the child is gone, or was stuck */
	INSN_SHUTDOWN,      /* the engine could not deliver the exception */
	INSN_UNSUPPORTED    /* the engine said RUN_FATAL */
};

/* What only an engine can tell; compared when both sides are engines. */
struct insn_system {
	uint64_t base[6]; /* of the segments */
	struct x86_table gdtr, idtr;
	uint64_t cr0, cr3, cr4;
	bool halted;
};

struct insn_result {
	uint16_t end;   /* exception vector, or enum insn_end */
	uint32_t error; /* of the exceptions that have one, else 0 */
	uint64_t cr2;   /* of #PF, else 0 */
	struct insn_regs regs;
	uint8_t fpu[FPU_SIZE];
	struct insn_system system;
	uint8_t window[WINDOW_COUNT][WINDOW_SIZE];
};

/* True for exceptions that push an error code (SDM vol. 3A table 6-1). */
static inline bool vector_has_error(unsigned vector)
{
	return vector == X86_DF_VEC || (vector >= X86_TS && vector <= X86_PFV) || vector == X86_ACV;
}

#endif
