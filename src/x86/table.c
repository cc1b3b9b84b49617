/*
 * table.c - insn.def turned into constant tables.
 *
 * Three arrays from one list: x86_insn_table for everybody, x86_rows for the decoder, and
 * x86_row_index from opcode to row. Flags are those of the instruction pages of SDM vol. 2.
 */
#include "x86/feature.h"
#include "x86/insn.h"
#include "x86/row.h"
#include "x86/state.h"

/* Column attr. */
enum {
	REG = X86_ROW_REG,
	MEM = X86_ROW_MEM,
	I64 = X86_ROW_I64,
	O64 = X86_ROW_O64,
	D64 = X86_ROW_D64,
	F64 = X86_ROW_F64,
	LOCK = X86_ROW_LOCK,
	VEX = X86_ROW_VEX,
	W0 = X86_ROW_W0,
	W1 = X86_ROW_W1,
	L0 = X86_ROW_L0,
	L1 = X86_ROW_L1,
	NOREXB = X86_ROW_NOREXB,
	ANYMOD = X86_ROW_ANYMOD
};

/* Column flags: read, written, undefined. Cleared and set flags are written. */
enum {
	CF = X86_CF,
	PF = X86_PF,
	AF = X86_AF,
	ZF = X86_ZF,
	SF = X86_SF,
	OF = X86_OF,
	ALL = 0x7fd5 /* POPF, IRET and the like: what of it is written depends on the privilege */
};
#define FLAGS_NONE   0, 0, 0
#define FLAGS_ARITH  0, OF | SF | ZF | AF | PF | CF, 0
#define FLAGS_ADC    CF, OF | SF | ZF | AF | PF | CF, 0
#define FLAGS_INC    0, OF | SF | ZF | AF | PF, 0
#define FLAGS_LOGIC  0, OF | SF | ZF | PF | CF, AF
#define FLAGS_MUL    0, OF | CF, SF | ZF | AF | PF
#define FLAGS_DIV    0, 0, OF | SF | ZF | AF | PF | CF
#define FLAGS_SHIFT  0, OF | SF | ZF | PF | CF, AF | X86_FLAGS_BY_COUNT
#define FLAGS_SHIFT1 0, OF | SF | ZF | PF | CF, AF
#define FLAGS_ROT    0, OF | CF, X86_FLAGS_BY_COUNT
#define FLAGS_ROT1   0, OF | CF, 0
#define FLAGS_RCX    CF, OF | CF, X86_FLAGS_BY_COUNT
#define FLAGS_RCX1   CF, OF | CF, 0
#define FLAGS_SHLD   0, OF | SF | ZF | PF | CF, AF | X86_FLAGS_BY_COUNT
#define FLAGS_BT     0, CF, OF | SF | AF | PF
#define FLAGS_BSF    0, ZF, OF | SF | AF | PF | CF
#define FLAGS_LZCNT  0, ZF | CF, OF | SF | AF | PF
#define FLAGS_ANDN   0, OF | SF | ZF | CF, AF | PF
#define FLAGS_BLS    0, OF | SF | ZF | CF, AF | PF
#define FLAGS_BEXTR  0, OF | ZF | CF, SF | AF | PF
#define FLAGS_ADCX   CF, CF, 0
#define FLAGS_ADOX   OF, OF, 0
#define FLAGS_AAA    AF, AF | CF, OF | SF | ZF | PF
#define FLAGS_DAA    AF | CF, SF | ZF | AF | PF | CF, OF
#define FLAGS_AAM    0, SF | ZF | PF, OF | AF | CF
#define FLAGS_CC     OF | SF | ZF | PF | CF, 0, 0 /* those that insn->cc names */
#define FLAGS_RCF    CF, 0, 0
#define FLAGS_RZF    ZF, 0, 0
#define FLAGS_RPF    PF, 0, 0
#define FLAGS_RCZ    ZF | CF, 0, 0
#define FLAGS_ZF     0, ZF, 0
#define FLAGS_CMC    CF, CF, 0
#define FLAGS_WCF    0, CF, 0
#define FLAGS_WDF    0, X86_DF, 0
#define FLAGS_WIF    X86_IOPL, X86_IF, 0
#define FLAGS_DF     X86_DF, 0, 0
#define FLAGS_CMPS   X86_DF, OF | SF | ZF | AF | PF | CF, 0
#define FLAGS_SAHF   0, SF | ZF | AF | PF | CF, 0
#define FLAGS_LAHF   SF | ZF | AF | PF | CF, 0, 0
#define FLAGS_COMI   0, OF | SF | ZF | AF | PF | CF, 0
#define FLAGS_RALL   ALL, 0, 0
#define FLAGS_WALL   0, ALL, 0
#define FLAGS_INT    ALL, X86_TF | X86_IF | X86_NT, 0
#define FLAGS_MOVCR  0, 0, OF | SF | ZF | AF | PF | CF

/* Column access. */
#define ACCESS__                                                                                   \
	{                                                                                          \
		0                                                                                  \
	}
#define ACCESS_R                                                                                   \
	{                                                                                          \
		1                                                                                  \
	}
#define ACCESS_W                                                                                   \
	{                                                                                          \
		2                                                                                  \
	}
#define ACCESS_M                                                                                   \
	{                                                                                          \
		3                                                                                  \
	}
#define ACCESS_RR                                                                                  \
	{                                                                                          \
		1, 1                                                                               \
	}
#define ACCESS_WR                                                                                  \
	{                                                                                          \
		2, 1                                                                               \
	}
#define ACCESS_MR                                                                                  \
	{                                                                                          \
		3, 1                                                                               \
	}
#define ACCESS_MM                                                                                  \
	{                                                                                          \
		3, 3                                                                               \
	}
#define ACCESS_RRR                                                                                 \
	{                                                                                          \
		1, 1, 1                                                                            \
	}
#define ACCESS_WRR                                                                                 \
	{                                                                                          \
		2, 1, 1                                                                            \
	}
#define ACCESS_MRR                                                                                 \
	{                                                                                          \
		3, 1, 1                                                                            \
	}
#define ACCESS_MRM                                                                                 \
	{                                                                                          \
		3, 1, 3                                                                            \
	}
#define ACCESS_WWR                                                                                 \
	{                                                                                          \
		2, 2, 1                                                                            \
	}
#define ACCESS_WRRR                                                                                \
	{                                                                                          \
		2, 1, 1, 1                                                                         \
	}
#define ACCESS_MMR                                                                                 \
	{                                                                                          \
		3, 3, 1                                                                            \
	}

const struct x86_insn_desc x86_insn_table[] = {
	{"(BAD)", X86_OP_INVALID, X86_CLASS_PLAIN, X86_FEATURE_BASE, 0, 0, 0, false, {0}},
#define X86_INSN(map, op, n, pfx, ext, name, o1, o2, o3, o4, attr, class, feature, flags, access)  \
	{#name, X86_OP_##name, X86_CLASS_##class, X86_FEATURE_##feature, FLAGS_##flags,            \
		((attr)&LOCK) != 0, ACCESS_##access},
#include "x86/insn.def"
#undef X86_INSN
};

const unsigned x86_insn_table_count = sizeof(x86_insn_table) / sizeof(x86_insn_table[0]);

const struct x86_row x86_rows[] = {
	{0},
#define X86_INSN(map, op, n, pfx, ext, name, o1, o2, o3, o4, attr, class, feature, flags, access)  \
	{X86_MAP_##map, 0x##op, n, X86_PFX_##pfx, X86_EXT_##ext, attr,                             \
		{X86_LETTER_##o1, X86_LETTER_##o2, X86_LETTER_##o3, X86_LETTER_##o4}},
#include "x86/insn.def"
#undef X86_INSN
};

/* Rows numbered from 1 in the order of insn.def: a running enum has no holes. */
#define ROW_NAME2(line) ROW_##line
#define ROW_NAME(line)  ROW_NAME2(line)
enum {
	ROW_NONE,
#define X86_INSN(map, op, n, pfx, ext, name, o1, o2, o3, o4, attr, class, feature, flags, access)  \
	ROW_NAME(__LINE__),
#include "x86/insn.def"
#undef X86_INSN
};

/* Later initialisers override earlier ones: each opcode keeps its last row. */
#pragma GCC diagnostic ignored "-Woverride-init"
const uint16_t x86_row_index[4 * 256] = {
#define X86_INSN(map, op, n, pfx, ext, name, o1, o2, o3, o4, attr, class, feature, flags, access)  \
	[X86_MAP_##map * 256 + 0x##op... X86_MAP_##map * 256 + 0x##op + n - 1] = ROW_NAME(__LINE__),
#include "x86/insn.def"
#undef X86_INSN
};
