/*
 * row.h - the decoder's half of the opcode table, private to src/x86.
 *
 * Row r here and x86_insn_table[r] come from the same line of insn.def; row 0 is "no instruction".
 */
#ifndef TINAMOU_X86_ROW_H
#define TINAMOU_X86_ROW_H

#include <stdint.h>

/* Where an operand comes from; everything from X86_FROM_RM on needs a ModRM byte. */
enum x86_from {
	X86_FROM_NONE,
	X86_FROM_RAX,
	X86_FROM_RCX,
	X86_FROM_RDX,
	X86_FROM_OPCODE,
	X86_FROM_ES,
	X86_FROM_CS,
	X86_FROM_SS,
	X86_FROM_DS,
	X86_FROM_FS,
	X86_FROM_GS,
	X86_FROM_ONE,
	X86_FROM_IMM,
	X86_FROM_IMM_SIGNED,
	X86_FROM_IMM_UNSIGNED,
	X86_FROM_IMM2,
	X86_FROM_REL,
	X86_FROM_FAR,
	X86_FROM_MOFFS,
	X86_FROM_SRC,
	X86_FROM_DST,
	X86_FROM_ST0,
	X86_FROM_XMM0,
	X86_FROM_RM,
	X86_FROM_RM_REG,
	X86_FROM_REG,
	X86_FROM_VVVV,
	X86_FROM_SEG,
	X86_FROM_CR,
	X86_FROM_DR,
	X86_FROM_STI,
	X86_FROM_MMX_REG,
	X86_FROM_MMX_RM,
	X86_FROM_XMM_REG,
	X86_FROM_XMM_RM,
	X86_FROM_XMM_VVVV,
	X86_FROM_XMM_IS4,
	X86_FROM_VSIB
};

/* How wide it is: the lower-case letters of SDM A.2.2, see operand.def. */
enum x86_width {
	X86_WIDTH_NONE,
	X86_WIDTH_B,
	X86_WIDTH_W,
	X86_WIDTH_D,
	X86_WIDTH_Q,
	X86_WIDTH_DQ,
	X86_WIDTH_QQ,
	X86_WIDTH_T,
	X86_WIDTH_V,
	X86_WIDTH_Z,
	X86_WIDTH_Y,
	X86_WIDTH_M,
	X86_WIDTH_P,
	X86_WIDTH_A,
	X86_WIDTH_S,
	X86_WIDTH_X,
	X86_WIDTH_H,
	X86_WIDTH_VW,
	X86_WIDTH_ZW,
	X86_WIDTH_YB,
	X86_WIDTH_YW
};

/* One value an operand letter: source in the high byte, width in the low one. */
enum x86_letter {
#define X86_OPERAND(name, from, width) X86_LETTER_##name = X86_FROM_##from << 8 | X86_WIDTH_##width,
#include "x86/operand.def"
};

enum x86_pfx { X86_PFX__, X86_PFX_NP, X86_PFX_NF, X86_PFX_66, X86_PFX_F3, X86_PFX_F2 };

/* Column attr. */
enum x86_row_attr {
	X86_ROW_REG = 1 << 0,
	X86_ROW_MEM = 1 << 1,
	X86_ROW_I64 = 1 << 2,
	X86_ROW_O64 = 1 << 3,
	X86_ROW_D64 = 1 << 4,
	X86_ROW_F64 = 1 << 5,
	X86_ROW_LOCK = 1 << 6,
	X86_ROW_VEX = 1 << 7,
	X86_ROW_W0 = 1 << 8,
	X86_ROW_W1 = 1 << 9,
	X86_ROW_L0 = 1 << 10,
	X86_ROW_L1 = 1 << 11,
	X86_ROW_NOREXB = 1 << 12,
	X86_ROW_ANYMOD = 1 << 13
};

/* Column ext: a register number, a ModRM byte of mod 3, or none. */
enum x86_ext {
	X86_EXT_0,
	X86_EXT_1,
	X86_EXT_2,
	X86_EXT_3,
	X86_EXT_4,
	X86_EXT_5,
	X86_EXT_6,
	X86_EXT_7,
	X86_EXT__ = 0xbf,
	X86_EXT_C0,
	X86_EXT_C1,
	X86_EXT_C2,
	X86_EXT_C3,
	X86_EXT_C4,
	X86_EXT_C5,
	X86_EXT_C6,
	X86_EXT_C7,
	X86_EXT_C8,
	X86_EXT_C9,
	X86_EXT_CA,
	X86_EXT_CB,
	X86_EXT_CC,
	X86_EXT_CD,
	X86_EXT_CE,
	X86_EXT_CF,
	X86_EXT_D0,
	X86_EXT_D1,
	X86_EXT_D2,
	X86_EXT_D3,
	X86_EXT_D4,
	X86_EXT_D5,
	X86_EXT_D6,
	X86_EXT_D7,
	X86_EXT_D8,
	X86_EXT_D9,
	X86_EXT_DA,
	X86_EXT_DB,
	X86_EXT_DC,
	X86_EXT_DD,
	X86_EXT_DE,
	X86_EXT_DF,
	X86_EXT_E0,
	X86_EXT_E1,
	X86_EXT_E2,
	X86_EXT_E3,
	X86_EXT_E4,
	X86_EXT_E5,
	X86_EXT_E6,
	X86_EXT_E7,
	X86_EXT_E8,
	X86_EXT_E9,
	X86_EXT_EA,
	X86_EXT_EB,
	X86_EXT_EC,
	X86_EXT_ED,
	X86_EXT_EE,
	X86_EXT_EF,
	X86_EXT_F0,
	X86_EXT_F1,
	X86_EXT_F2,
	X86_EXT_F3,
	X86_EXT_F4,
	X86_EXT_F5,
	X86_EXT_F6,
	X86_EXT_F7,
	X86_EXT_F8,
	X86_EXT_F9,
	X86_EXT_FA,
	X86_EXT_FB,
	X86_EXT_FC,
	X86_EXT_FD,
	X86_EXT_FE,
	X86_EXT_FF,
};

struct x86_row {
	uint8_t map, opcode, span, pfx, ext;
	uint16_t attr;
	uint16_t letter[4]; /* enum x86_letter */
};

extern const struct x86_row x86_rows[];

/* The last row of each opcode, by map << 8 | opcode; 0: none. Its other rows stand before it. */
extern const uint16_t x86_row_index[4 * 256];

#endif
