/*
 * disasm.c - struct x86_insn to Intel syntax, for traces, the debugger and test reports.
 *
 * Source: operand order and mnemonics of SDM vol. 2. Names that depend on the operand size (CBW,
 * CWDE, CDQE; MOVSB..MOVSQ; JCXZ, JECXZ, JRCXZ) are chosen here. Prefixes without effect are not
 * shown.
 */
#include "x86/insn.h"
#include "x86/row.h"
#include "x86/state.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct text {
	char *buf;
	size_t size, len;
};

__attribute__((format(printf, 2, 3))) static void add(struct text *t, const char *format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(t->buf + t->len, t->size - t->len, format, args);
	va_end(args);
	if (n > 0)
		t->len += (size_t)n < t->size - t->len ? (size_t)n : t->size - t->len - 1;
}

static void add_lower(struct text *t, const char *s)
{
	for (; *s; s++)
		add(t, "%c", tolower((unsigned char)*s));
}

static const char *gpr_name(uint8_t reg, uint8_t size, bool high)
{
	static const char *const names[4][16] = {
		{"al", "cl", "dl", "bl", "spl", "bpl", "sil", "dil", "r8b", "r9b", "r10b", "r11b",
			"r12b", "r13b", "r14b", "r15b"},
		{"ax", "cx", "dx", "bx", "sp", "bp", "si", "di", "r8w", "r9w", "r10w", "r11w",
			"r12w", "r13w", "r14w", "r15w"},
		{"eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi", "r8d", "r9d", "r10d",
			"r11d", "r12d", "r13d", "r14d", "r15d"},
		{"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11",
			"r12", "r13", "r14", "r15"},
	};
	static const char *const highs[4] = {"ah", "ch", "dh", "bh"};

	if (high)
		return highs[reg & 3];
	return names[size == 1 ? 0 : size == 2 ? 1 : size == 4 ? 2 : 3][reg & 15];
}

static const char *seg_name(uint8_t seg)
{
	static const char *const names[8] = {"es", "cs", "ss", "ds", "fs", "gs", "ldtr", "tr"};

	return names[seg & 7];
}

/* Mnemonics whose last letters say the operand size: the base name, then by size 2, 4, 8. */
static const char *sized_name(const struct x86_insn *insn)
{
	static const struct {
		uint16_t op;
		const char *name[3];
	} sized[] = {
		{X86_OP_CBW, {"cbw", "cwde", "cdqe"}},
		{X86_OP_CWD, {"cwd", "cdq", "cqo"}},
		{X86_OP_PUSHA, {"pusha", "pushad", "pushad"}},
		{X86_OP_POPA, {"popa", "popad", "popad"}},
		{X86_OP_PUSHF, {"pushf", "pushfd", "pushfq"}},
		{X86_OP_POPF, {"popf", "popfd", "popfq"}},
		{X86_OP_IRET, {"iret", "iretd", "iretq"}},
	};

	if (insn->op == X86_OP_JCXZ)
		return insn->addrsize == 2 ? "jcxz" : insn->addrsize == 4 ? "jecxz" : "jrcxz";
	for (size_t i = 0; i < sizeof(sized) / sizeof(sized[0]); i++)
		if (sized[i].op == insn->op)
			return sized[i].name[insn->opsize >> 2];
	return NULL;
}

static bool is_string(const struct x86_insn *insn)
{
	switch (insn->op) {
	case X86_OP_MOVS:
	case X86_OP_CMPS:
	case X86_OP_STOS:
	case X86_OP_LODS:
	case X86_OP_SCAS:
	case X86_OP_INS:
	case X86_OP_OUTS:
		return true;
	default:
		return false;
	}
}

static void add_prefixes(struct text *t, const struct x86_insn *insn)
{
	bool compares = insn->op == X86_OP_CMPS || insn->op == X86_OP_SCAS;

	if (insn->lock)
		add(t, "lock ");
	if (!is_string(insn) || insn->rep == X86_REP_NONE)
		return;
	if (insn->rep == X86_REP_F2)
		add(t, "repne ");
	else
		add(t, compares ? "repe " : "rep ");
}

/* FXSAVE64, XSAVE64 and their kin: REX.W chooses the format of FIP and FDP. */
static bool has_64_form(const struct x86_insn *insn)
{
	switch (insn->op) {
	case X86_OP_FXSAVE:
	case X86_OP_FXRSTOR:
	case X86_OP_XSAVE:
	case X86_OP_XSAVEC:
	case X86_OP_XSAVEOPT:
	case X86_OP_XSAVES:
	case X86_OP_XRSTOR:
	case X86_OP_XRSTORS:
		return insn->opsize == 8;
	default:
		return false;
	}
}

static void add_name(struct text *t, const struct x86_insn *insn)
{
	static const char cc[16][4] = {"o", "no", "b", "nb", "z", "nz", "be", "nbe", "s", "ns", "p",
		"np", "l", "nl", "le", "nle"};
	const char *name = sized_name(insn);

	add_lower(t, name ? name : x86_insn_table[insn->entry].name);
	if (insn->op == X86_OP_J || insn->op == X86_OP_SET || insn->op == X86_OP_CMOV)
		add(t, "%s", cc[insn->cc]);
	if (has_64_form(insn))
		add(t, "64");
}

/* Hexadecimal with its sign outside. */
static void add_signed(struct text *t, int64_t v, const char *plus)
{
	if (v < 0)
		add(t, "-0x%" PRIx64, -(uint64_t)v);
	else
		add(t, "%s0x%" PRIx64, plus, (uint64_t)v);
}

static uint64_t truncate(uint64_t v, uint8_t bytes)
{
	return bytes && bytes < 8 ? v & ((1ull << 8 * bytes) - 1) : v;
}

static void add_size(struct text *t, uint8_t size)
{
	switch (size) {
	case 1:
		add(t, "byte ");
		break;
	case 2:
		add(t, "word ");
		break;
	case 4:
		add(t, "dword ");
		break;
	case 6:
		add(t, "fword ");
		break;
	case 8:
		add(t, "qword ");
		break;
	case 10:
		add(t, "tbyte ");
		break;
	case 16:
		add(t, "xmmword ");
		break;
	case 32:
		add(t, "ymmword ");
		break;
	default:
		break;
	}
}

/* A gather's index is a vector: XMM for dwords that become qwords, else as long as VEX.L says. */
static void add_index(struct text *t, const struct x86_insn *insn, uint8_t index)
{
	bool dwords_to_qwords = !(insn->opcode & 1) && insn->rex & 8;

	if (x86_rows[insn->entry].letter[1] >> 8 != X86_FROM_VSIB)
		add(t, "%s", gpr_name(index, insn->addrsize, false));
	else
		add(t, "%cmm%u", insn->vex_l && !dwords_to_qwords ? 'y' : 'x', index);
}

static void add_address(
	struct text *t, const struct x86_insn *insn, const struct x86_mem *m, uint64_t rip)
{
	bool bare = m->base == X86_NOREG && m->index == X86_NOREG;

	if (m->base == X86_REG_IP) {
		add(t, "rip");
		add_signed(t, m->disp, "+");
		add(t, " {0x%" PRIx64 "}",
			truncate(rip + insn->len + (uint64_t)m->disp, insn->addrsize));
		return;
	}
	if (m->base != X86_NOREG)
		add(t, "%s", gpr_name(m->base, insn->addrsize, false));
	if (m->index != X86_NOREG) {
		add(t, "%s", m->base != X86_NOREG ? "+" : "");
		add_index(t, insn, m->index);
		add(t, "*%u", m->scale);
	}
	if (bare)
		add(t, "0x%" PRIx64, truncate((uint64_t)m->disp, insn->addrsize));
	else if (m->disp)
		add_signed(t, m->disp, "+");
}

static void add_memory(
	struct text *t, const struct x86_insn *insn, const struct x86_operand *o, uint64_t rip)
{
	/* A string instruction's rDI operand is the one that is written or comes second. */
	const struct x86_mem *m = &insn->mem;
	bool plain;

	if (is_string(insn) && (o == insn->opnd) == (insn->op != X86_OP_CMPS))
		m = insn->op == X86_OP_LODS || insn->op == X86_OP_OUTS ? m : &insn->mem2;
	if (insn->op == X86_OP_SCAS)
		m = &insn->mem2;
	plain = insn->mode == X86_MODE_64 && m->seg < X86_FS;
	add_size(t, o->size);
	if (!plain)
		add(t, "%s:", seg_name(m->seg));
	add(t, "[");
	add_address(t, insn, m, rip);
	add(t, "]");
}

static void add_immediate(struct text *t, const struct x86_operand *o, int64_t v)
{
	add(t, "0x%" PRIx64, truncate((uint64_t)v, o->size));
}

static void add_target(struct text *t, const struct x86_insn *insn, uint64_t rip)
{
	uint8_t bytes = insn->mode == X86_MODE_64 ? 8 : insn->opsize;

	add(t, "0x%" PRIx64, truncate(rip + insn->len + (uint64_t)insn->imm, bytes));
}

static void add_operand(
	struct text *t, const struct x86_insn *insn, const struct x86_operand *o, uint64_t rip)
{
	switch (o->kind) {
	case X86_OPND_GPR:
		add(t, "%s", gpr_name(o->reg, o->size, o->high));
		break;
	case X86_OPND_SEG:
		add(t, "%s", seg_name(o->reg));
		break;
	case X86_OPND_CR:
		add(t, "cr%u", o->reg);
		break;
	case X86_OPND_DR:
		add(t, "dr%u", o->reg);
		break;
	case X86_OPND_ST:
		add(t, "st%u", o->reg);
		break;
	case X86_OPND_MMX:
		add(t, "mm%u", o->reg);
		break;
	case X86_OPND_XMM:
		add(t, "%cmm%u", o->size == 32 ? 'y' : 'x', o->reg);
		break;
	case X86_OPND_MEM:
		add_memory(t, insn, o, rip);
		break;
	case X86_OPND_IMM:
	case X86_OPND_CONST:
		add_immediate(t, o, insn->imm);
		break;
	case X86_OPND_IMM2:
		add_immediate(t, o, insn->imm2);
		break;
	case X86_OPND_REL:
		add_target(t, insn, rip);
		break;
	case X86_OPND_FAR:
		add(t, "0x%" PRIx64 ":0x%" PRIx64, (uint64_t)insn->imm2, (uint64_t)insn->imm);
		break;
	default:
		break;
	}
}

char *x86_disasm(const struct x86_insn *insn, uint64_t rip, char *buf, size_t size)
{
	struct text t = {.buf = buf, .size = size};

	if (!size)
		return buf;
	buf[0] = 0;
	if (insn->op == X86_OP_INVALID) {
		add(&t, "(bad)");
		return buf;
	}
	add_prefixes(&t, insn);
	add_name(&t, insn);
	for (unsigned i = 0; i < insn->nops; i++) {
		add(&t, i ? ", " : " ");
		add_operand(&t, insn, &insn->opnd[i], rip);
	}
	return buf;
}
