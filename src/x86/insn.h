/*
 * insn.h - a decoded x86 instruction, and the decoder's door.
 *
 * insn.def is the one opcode table: the decoder, the interpreter, the
 * translator, the disassembler and the generator of random tests read it.
 * Source: Intel SDM vol. 2, chapters 2 (format), 3-6 (instructions), appendix A.
 * Pure: bytes in, struct out.
 */
#ifndef TINAMOU_X86_INSN_H
#define TINAMOU_X86_INSN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "x86/feature.h"

#define X86_INSN_MAX 15 /* bytes; longer is #GP (SDM vol. 2A 2.3.11) */

/* X86_OP_ADD, X86_OP_MOV, ...: one a mnemonic, generated from insn.def. */
enum x86_op {
	X86_OP_INVALID = 0,
#define X86_MNEMONIC(name) X86_OP_##name,
#include "x86/mnemonic.def"
	X86_OP_COUNT
};

/* How an operand is reached. */
enum x86_operand_kind {
	X86_OPND_NONE,
	X86_OPND_GPR, /* reg: enum x86_gpr; high: AH, CH, DH, BH (reg is then the low register) */
	X86_OPND_SEG, /* reg: enum x86_segment */
	X86_OPND_CR,
	X86_OPND_DR,
	X86_OPND_ST, /* x87 stack slot */
	X86_OPND_MMX,
	X86_OPND_XMM,  /* 16 bytes or the low part; size 32 means YMM; VEX /is4: imm 7:4 */
	X86_OPND_MEM,  /* insn->mem; for string instructions SI/DI forms: see mem and mem2 */
	X86_OPND_IMM,  /* insn->imm, sign-extended to 64 bit; counts, ports and vectors:
			  zero-extended */
	X86_OPND_IMM2, /* insn->imm2: second immediate (ENTER) or selector of a far pointer */
	X86_OPND_REL,  /* insn->imm: branch displacement, sign-extended */
	X86_OPND_FAR,  /* insn->imm: offset, insn->imm2: selector */
	X86_OPND_CONST /* the constant 1 of D0/D1 shifts, INT3's 3: in insn->imm */
};

struct x86_operand {
	uint8_t kind; /* enum x86_operand_kind */
	uint8_t reg;
	bool high;
	uint8_t size; /* bytes; 0 where size means nothing (LEA's memory, far pointers use 4, 6, 10)
		       */
};

/* reg of a memory operand that is insn->mem2; of all others it is 0: insn->mem. */
#define X86_MEM2   1
#define X86_NOREG  0xff
#define X86_REG_IP 0xfe /* base of RIP-relative addresses */

/* A memory operand: seg:[base + index * scale + disp], wrapped to addr_size. */
struct x86_mem {
	uint8_t seg;   /* effective segment, overrides applied */
	uint8_t base;  /* enum x86_gpr, X86_NOREG or X86_REG_IP */
	uint8_t index; /* enum x86_gpr or X86_NOREG; an XMM number for VSIB */
	uint8_t scale; /* 1, 2, 4, 8 */
	int64_t disp;  /* sign-extended; moffs: zero-extended 64 bit */
};

enum x86_mode { X86_MODE_16, X86_MODE_32, X86_MODE_64 };

/* Which opcode map: 1 byte, 0F, 0F38, 0F3A. */
enum x86_map { X86_MAP_1, X86_MAP_0F, X86_MAP_0F38, X86_MAP_0F3A };

enum x86_rep { X86_REP_NONE, X86_REP_F3, X86_REP_F2 };

struct x86_insn {
	uint16_t op;      /* enum x86_op */
	uint16_t entry;   /* index of the row in x86_insn_table */
	uint8_t len;      /* bytes, prefixes included */
	uint8_t mode;     /* enum x86_mode it was decoded for */
	uint8_t opsize;   /* 2, 4, 8: effective operand size */
	uint8_t addrsize; /* 2, 4, 8 */
	uint8_t map;      /* enum x86_map */
	uint8_t opcode;   /* last opcode byte */
	uint8_t modrm;    /* valid if has_modrm */
	uint8_t rex;      /* 0 or 0x40..0x4f; VEX's R, X, B, W are folded in */
	uint8_t rep;      /* enum x86_rep: the last F2/F3 prefix or VEX.pp, even where mandatory */
	uint8_t vvvv;     /* VEX second source, 0..15; outside 64-bit mode bit 3 is ignored */
	uint8_t cc;       /* condition code 0..15 of Jcc, SETcc, CMOVcc (op is J, SET, CMOV) */
	bool has_modrm, lock, opsize_prefix, addrsize_prefix, vex, vex_l, seg_prefix;
	uint8_t nops;
	struct x86_operand opnd[4]; /* in the SDM's order, destination first */
	struct x86_mem mem;         /* ModRM or moffs operand; DS:rSI of string instructions */
	struct x86_mem mem2;        /* ES:rDI of string instructions */
	int64_t imm, imm2;
};

/* One row of the table, annotated for interpreter, translator and test generator. */
enum x86_insn_class {
	X86_CLASS_PLAIN,  /* user-visible computation only */
	X86_CLASS_STRING, /* may repeat, interruptible */
	X86_CLASS_BRANCH, /* changes rIP */
	X86_CLASS_SYSTEM, /* privileged, or touches system state, or exits */
	X86_CLASS_IO
};

#define X86_FLAGS_BY_COUNT 0x8000u /* in flags_undefined: see there */

struct x86_insn_desc {
	const char *name; /* mnemonic as the SDM writes it, in capitals */
	uint16_t op;
	uint8_t class;          /* enum x86_insn_class */
	uint8_t feature;        /* enum x86_feature that must be offered, 0: 8086..386 base */
	uint16_t flags_read;    /* X86_CF ... */
	uint16_t flags_written; /* defined result */
	/*
	 * SDM "undefined", nothing more. X86_FLAGS_BY_COUNT of shifts and rotates: with a masked
	 * count of 0 no flag changes at all; OF is undefined unless the count is 1; CF of SHL and
	 * SHR is undefined if the count is at least the operand size; result and all flags of
	 * SHLD and SHRD are undefined if the count exceeds the operand size.
	 */
	uint16_t flags_undefined;
	bool lockable;
	uint8_t access[4]; /* per operand: 1 read, 2 written, 3 both */
};
extern const struct x86_insn_desc x86_insn_table[];
extern const unsigned x86_insn_table_count;

enum x86_decode_status {
	X86_DECODE_OK,
	X86_DECODE_UD,   /* no such instruction in this mode: #UD; len bytes looked at */
	X86_DECODE_MORE, /* ran out of bytes: give more (up to X86_INSN_MAX) */
	X86_DECODE_LONG  /* more than 15 bytes: #GP(0) */
};

/*
 * Decodes one instruction from the first `avail` bytes of `bytes`.
 * Never reads past avail. CPUID features are not looked at: the executing
 * engine compares desc->feature. LOCK on what cannot be locked is
 * X86_DECODE_UD, and so are register forms of memory-only instructions.
 */
enum x86_decode_status x86_decode(
	const uint8_t *bytes, size_t avail, enum x86_mode mode, struct x86_insn *insn);

/*
 * Intel syntax into buf, always terminated. rip is the address of the
 * instruction (for branch targets and RIP-relative addresses). Returns buf.
 */
char *x86_disasm(const struct x86_insn *insn, uint64_t rip, char *buf, size_t size);

#endif
