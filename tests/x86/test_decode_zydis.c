/*
 * test_decode_zydis.c - the decoder against Zydis, an independent one.
 *
 * Compares validity, length, mnemonic and the visible operands (kind, register, size, address,
 * immediate) in 16-, 32- and 64-bit mode: first every opcode with the usual prefixes and all ModRM
 * bytes, then the same of VEX, then random strings. `test_decode_zydis N` tries N million random
 * strings, by default 1. Zydis runs without MPX, CET, CLDEMOTE and WBNOINVD: those encodings are
 * hint NOPs or WBINVD to us. Operands of string instructions are implicit to Zydis and so not
 * compared.
 */
#include "x86/insn.h"
#include "x86/state.h"
#include "zydis_differences.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <Zydis/Zydis.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

struct test {
	ZydisDecoder zydis[3];
	uint64_t cases, both_valid, both_invalid, skipped, unlisted;
	uint64_t hits[COUNT(listed)];
	uint64_t random;
};

struct pair {
	struct x86_insn ours;
	ZydisDecodedInstruction zydis;
	ZydisDecodedOperand operand[ZYDIS_MAX_OPERAND_COUNT];
	bool ours_valid, zydis_valid;
	enum x86_decode_status status;
	char name[160]; /* our mnemonic, as Zydis spells it */
};

/* xorshift64* */
static uint64_t next_random(struct test *t)
{
	t->random ^= t->random >> 12;
	t->random ^= t->random << 25;
	t->random ^= t->random >> 27;
	return t->random * 0x2545f4914f6cdd1d;
}

/* Extensions that insn.def leaves out on purpose. */
static bool left_out(const ZydisDecodedInstruction *z)
{
	if (z->encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY &&
		z->encoding != ZYDIS_INSTRUCTION_ENCODING_VEX)
		return true;
	switch (z->meta.isa_ext) {
	case ZYDIS_ISA_EXT_AMD3DNOW:
	case ZYDIS_ISA_EXT_AMD3DNOW_PREFETCH:
	case ZYDIS_ISA_EXT_AMD_INVLPGB:
	case ZYDIS_ISA_EXT_AMX_BF16:
	case ZYDIS_ISA_EXT_AMX_INT8:
	case ZYDIS_ISA_EXT_AMX_TILE:
	case ZYDIS_ISA_EXT_AVX512EVEX:
	case ZYDIS_ISA_EXT_AVX512VEX:
	case ZYDIS_ISA_EXT_AVXAES:
	case ZYDIS_ISA_EXT_AVX_VNNI:
	case ZYDIS_ISA_EXT_CET:
	case ZYDIS_ISA_EXT_CLZERO:
	case ZYDIS_ISA_EXT_ENQCMD:
	case ZYDIS_ISA_EXT_FMA4:
	case ZYDIS_ISA_EXT_GFNI:
	case ZYDIS_ISA_EXT_HRESET:
	case ZYDIS_ISA_EXT_KEYLOCKER:
	case ZYDIS_ISA_EXT_KEYLOCKER_WIDE:
	case ZYDIS_ISA_EXT_KNC:
	case ZYDIS_ISA_EXT_MCOMMIT:
	case ZYDIS_ISA_EXT_MONITOR:
	case ZYDIS_ISA_EXT_MONITORX:
	case ZYDIS_ISA_EXT_MOVDIR:
	case ZYDIS_ISA_EXT_PADLOCK:
	case ZYDIS_ISA_EXT_PCONFIG:
	case ZYDIS_ISA_EXT_RDPRU:
	case ZYDIS_ISA_EXT_RTM:
	case ZYDIS_ISA_EXT_SERIALIZE:
	case ZYDIS_ISA_EXT_SGX:
	case ZYDIS_ISA_EXT_SMX:
	case ZYDIS_ISA_EXT_SNP:
	case ZYDIS_ISA_EXT_SSE4A:
	case ZYDIS_ISA_EXT_SVM:
	case ZYDIS_ISA_EXT_TDX:
	case ZYDIS_ISA_EXT_TSX_LDTRK:
	case ZYDIS_ISA_EXT_UINTR:
	case ZYDIS_ISA_EXT_VAES:
	case ZYDIS_ISA_EXT_VMFUNC:
	case ZYDIS_ISA_EXT_VPCLMULQDQ:
	case ZYDIS_ISA_EXT_VTX:
	case ZYDIS_ISA_EXT_WAITPKG:
	case ZYDIS_ISA_EXT_XOP:
		return true;
	default:
		return z->mnemonic >= ZYDIS_MNEMONIC_JKNZD && z->mnemonic <= ZYDIS_MNEMONIC_JKZD;
	}
}

static const char *size_suffix(uint8_t bytes)
{
	return bytes == 1 ? "b" : bytes == 2 ? "w" : bytes == 4 ? "d" : "q";
}

static bool is_string(const struct x86_insn *insn)
{
	return insn->opnd[0].kind == X86_OPND_MEM &&
	       (insn->op == X86_OP_MOVS || insn->op == X86_OP_CMPS || insn->op == X86_OP_STOS ||
		       insn->op == X86_OP_INS);
}

static bool is_string_from(const struct x86_insn *insn)
{
	return insn->op == X86_OP_LODS || insn->op == X86_OP_SCAS || insn->op == X86_OP_OUTS;
}

/* Our mnemonic as Zydis spells it. */
static void zydis_name(const struct x86_insn *insn, char *name, size_t size)
{
	static const struct {
		const char *ours, *zydis;
	} renamed[] = {
		{"jmpf", "jmp"},
		{"callf", "call"},
		{"retf", "ret"},
		{"movcr", "mov"},
		{"movdr", "mov"},
		{"sal", "shl"},
		{"fneni", "feni8087_nop"},
		{"fndisi", "fdisi8087_nop"},
		{"fnsetpm", "fsetpm287_nop"},
	};
	char text[128];
	uint8_t bytes = insn->opnd[0].size;

	x86_disasm(insn, 0, text, sizeof(text));
	for (const char *p; (p = strchr(text, ' ')) &&
			    (!strncmp(text, "lock ", 5) || !strncmp(text, "rep", 3));)
		memmove(text, p + 1, strlen(p));
	text[strcspn(text, " ")] = 0;
	snprintf(name, size, "%s", text);
	for (size_t i = 0; i < COUNT(renamed); i++)
		if (!strcmp(text, renamed[i].ours))
			snprintf(name, size, "%s", renamed[i].zydis);
	if (insn->op == X86_OP_OUTS)
		bytes = insn->opnd[1].size;
	if (is_string(insn) || is_string_from(insn))
		snprintf(name, size, "%s%s", text, size_suffix(bytes));
}

static bool same_name(const struct pair *p)
{
	const char *z = ZydisMnemonicGetString(p->zydis.mnemonic);

	return !strcmp(p->name, z) || (!strcmp(p->name, "nop") && !strncmp(z, "prefetch", 8));
}

/* Register n of the file that starts with first. */
static ZydisRegister nth(ZydisRegister first, unsigned n)
{
	return (ZydisRegister)((unsigned)first + n);
}

static ZydisRegister gpr(uint8_t reg, uint8_t size, bool high)
{
	static const ZydisRegister low[4] = {
		ZYDIS_REGISTER_AL, ZYDIS_REGISTER_CL, ZYDIS_REGISTER_DL, ZYDIS_REGISTER_BL};

	if (size == 1 && high)
		return nth(ZYDIS_REGISTER_AH, reg);
	if (size == 1)
		return reg < 4 ? low[reg] : nth(ZYDIS_REGISTER_SPL, reg - 4u);
	return nth(size == 2   ? ZYDIS_REGISTER_AX
		   : size == 4 ? ZYDIS_REGISTER_EAX
			       : ZYDIS_REGISTER_RAX,
		reg);
}

static ZydisRegister register_of(const struct x86_operand *o)
{
	switch (o->kind) {
	case X86_OPND_GPR:
		return gpr(o->reg, o->size, o->high);
	case X86_OPND_SEG:
		return nth(ZYDIS_REGISTER_ES, o->reg);
	case X86_OPND_CR:
		return nth(ZYDIS_REGISTER_CR0, o->reg);
	case X86_OPND_DR:
		return nth(ZYDIS_REGISTER_DR0, o->reg);
	case X86_OPND_ST:
		return nth(ZYDIS_REGISTER_ST0, o->reg);
	case X86_OPND_MMX:
		return nth(ZYDIS_REGISTER_MM0, o->reg);
	case X86_OPND_XMM:
		return ZYDIS_REGISTER_NONE;
	default:
		return ZYDIS_REGISTER_NONE;
	}
}

static ZydisRegister address_register(const struct x86_insn *insn, uint8_t reg)
{
	if (reg == X86_NOREG)
		return ZYDIS_REGISTER_NONE;
	if (reg == X86_REG_IP)
		return insn->addrsize == 8 ? ZYDIS_REGISTER_RIP : ZYDIS_REGISTER_EIP;
	return gpr(reg, insn->addrsize, false);
}

static ZydisRegister index_register(const struct x86_insn *insn, const ZydisDecodedOperandMem *zm)
{
	if (zm->type != ZYDIS_MEMOP_TYPE_VSIB)
		return address_register(insn, insn->mem.index);
	return nth(ZydisRegisterGetClass(zm->index) == ZYDIS_REGCLASS_XMM ? ZYDIS_REGISTER_XMM0
									  : ZYDIS_REGISTER_YMM0,
		insn->mem.index);
}

static uint64_t mask(unsigned bytes)
{
	return bytes == 0 || bytes >= 8 ? ~0ull : (1ull << 8 * bytes) - 1;
}

static bool same_memory(const struct x86_insn *insn, const ZydisDecodedOperand *z)
{
	const struct x86_mem *m = &insn->mem;
	bool has_index = m->index != X86_NOREG;

	if (z->type != ZYDIS_OPERAND_TYPE_MEMORY)
		return false;
	if (z->mem.base != address_register(insn, m->base) ||
		z->mem.index != index_register(insn, &z->mem))
		return false;
	if (has_index && z->mem.scale != m->scale)
		return false;
	if (z->mem.type != ZYDIS_MEMOP_TYPE_AGEN &&
		z->mem.segment != nth(ZYDIS_REGISTER_ES, m->seg))
		return false;
	return !(((uint64_t)m->disp ^ (uint64_t)z->mem.disp.value) & mask(insn->addrsize));
}

static bool same_register(const struct x86_operand *o, const ZydisDecodedOperand *z)
{
	ZydisRegister xmm = nth(o->size == 32 ? ZYDIS_REGISTER_YMM0 : ZYDIS_REGISTER_XMM0, o->reg);

	if (z->type != ZYDIS_OPERAND_TYPE_REGISTER)
		return false;
	if (o->kind == X86_OPND_XMM)
		return z->reg.value == xmm;
	return z->reg.value == register_of(o);
}

static bool same_operand(
	const struct x86_insn *insn, const struct x86_operand *o, const ZydisDecodedOperand *z)
{
	uint64_t imm = (uint64_t)(o->kind == X86_OPND_IMM2 ? insn->imm2 : insn->imm);

	switch (o->kind) {
	case X86_OPND_MEM: /* reg tells which of two it is, and nothing else */
		return o->reg == (o->reg && insn->mem2.base == X86_RDI ? X86_MEM2 : 0) &&
		       same_memory(insn, z) && (o->size == 0 || o->size * 8 == z->size);
	case X86_OPND_IMM:
	case X86_OPND_IMM2:
	case X86_OPND_CONST:
		return z->type == ZYDIS_OPERAND_TYPE_IMMEDIATE &&
		       !((imm ^ z->imm.value.u) & mask(o->size));
	case X86_OPND_REL:
		return z->type == ZYDIS_OPERAND_TYPE_IMMEDIATE && z->imm.is_relative &&
		       imm == z->imm.value.u;
	case X86_OPND_FAR:
		return z->type == ZYDIS_OPERAND_TYPE_POINTER &&
		       z->ptr.offset == (uint32_t)insn->imm && z->ptr.segment == insn->imm2;
	default:
		return same_register(o, z);
	}
}

static bool same_operands(const struct pair *p)
{
	if (is_string(&p->ours) || is_string_from(&p->ours))
		return true;
	if (p->ours.nops != p->zydis.operand_count_visible)
		return false;
	for (unsigned i = 0; i < p->ours.nops; i++)
		if (!same_operand(&p->ours, &p->ours.opnd[i], &p->operand[i]))
			return false;
	return true;
}

static enum difference compare(const struct pair *p)
{
	if (p->zydis_valid && !p->ours_valid)
		return left_out(&p->zydis) ? SKIPPED : ONLY_ZYDIS;
	if (!p->zydis_valid)
		return p->ours_valid ? ONLY_OURS : SAME;
	if (left_out(&p->zydis) && !same_name(p))
		return SKIPPED;
	if (p->ours.len != p->zydis.length)
		return LENGTH;
	if (!same_name(p))
		return NAME;
	return same_operands(p) ? SAME : OPERANDS;
}

static void report_operand(const ZydisDecodedOperand *z)
{
	if (z->type == ZYDIS_OPERAND_TYPE_REGISTER)
		printf(" %s", ZydisRegisterGetString(z->reg.value));
	else if (z->type == ZYDIS_OPERAND_TYPE_MEMORY)
		printf(" %u@%s:%s+%s*%u%+" PRId64, z->size / 8,
			ZydisRegisterGetString(z->mem.segment), ZydisRegisterGetString(z->mem.base),
			ZydisRegisterGetString(z->mem.index), z->mem.scale, z->mem.disp.value);
	else if (z->type == ZYDIS_OPERAND_TYPE_IMMEDIATE)
		printf(" %" PRIx64, z->imm.value.u);
}

static void report(const struct pair *p, enum difference kind, const uint8_t *bytes)
{
	static const char *const kinds[] = {
		"same", "skipped", "only Zydis", "only ours", "length", "name", "operands"};
	char text[128];

	printf("%s, mode %u:", kinds[kind], p->ours.mode);
	for (unsigned i = 0; i < (p->zydis_valid ? p->zydis.length : p->ours.len); i++)
		printf(" %02x", bytes[i]);
	printf(": ours %s, Zydis %s", x86_disasm(&p->ours, 0, text, sizeof(text)),
		p->zydis_valid ? ZydisMnemonicGetString(p->zydis.mnemonic) : "(bad)");
	for (unsigned i = 0; p->zydis_valid && i < p->zydis.operand_count_visible; i++)
		report_operand(&p->operand[i]);
	putchar('\n');
}

/* mod 0, SIB.base 101b, REX.B under a 67 prefix. */
static bool sib_without_base(const struct pair *p)
{
	return p->ours.mode == X86_MODE_64 && p->ours.addrsize == 4 &&
	       (p->ours.modrm & 0xc7) == 4 && p->ours.rex & 1 && p->ours.mem.base == X86_NOREG;
}

static void count(struct test *t, const struct pair *p, enum difference kind, const uint8_t *bytes)
{
	const char *name = p->zydis_valid ? ZydisMnemonicGetString(p->zydis.mnemonic) : p->name;

	if (kind == OPERANDS && sib_without_base(p))
		name = "SIB";
	if (kind == SKIPPED) {
		t->skipped++;
		return;
	}
	for (size_t i = 0; i < COUNT(listed); i++)
		if (listed[i].kind == kind && !strcmp(listed[i].name, name)) {
			t->hits[i]++;
			return;
		}
	if (t->unlisted++ < 100)
		report(p, kind, bytes);
}

/* bytes: X86_INSN_MAX + 1 of them. */
static void try_bytes(struct test *t, enum x86_mode mode, const uint8_t *bytes)
{
	struct pair p;
	enum difference kind;

	p.status = x86_decode(bytes, X86_INSN_MAX + 1, mode, &p.ours);
	p.ours_valid = p.status == X86_DECODE_OK;
	p.zydis_valid = ZYAN_SUCCESS(ZydisDecoderDecodeFull(
		&t->zydis[mode], bytes, X86_INSN_MAX + 1, &p.zydis, p.operand));
	p.name[0] = 0;
	if (p.ours_valid)
		zydis_name(&p.ours, p.name, sizeof(p.name));
	t->cases++;
	t->both_valid += p.ours_valid && p.zydis_valid;
	t->both_invalid += !p.ours_valid && !p.zydis_valid;
	kind = compare(&p);
	if (kind != SAME)
		count(t, &p, kind, bytes);
}

/* The bytes before the opcode: a prefix or none, then the escape of the map. */
static unsigned put_prefix(uint8_t *bytes, unsigned prefix, enum x86_map map)
{
	static const uint8_t prefixes[] = {0, 0x66, 0x67, 0xf2, 0xf3, 0xf0, 0x48, 0x41};
	unsigned n = 0;

	if (prefixes[prefix])
		bytes[n++] = prefixes[prefix];
	if (map != X86_MAP_1)
		bytes[n++] = 0x0f;
	if (map >= X86_MAP_0F38)
		bytes[n++] = map == X86_MAP_0F38 ? 0x38 : 0x3a;
	return n;
}

static void every_modrm(
	struct test *t, enum x86_mode mode, unsigned prefix, enum x86_map map, uint8_t opcode)
{
	uint8_t bytes[X86_INSN_MAX + 1];
	/* The three-byte maps have no groups by ModRM.rm: an odd step meets every reg and mod. */
	unsigned step = map >= X86_MAP_0F38 ? 7 : 1;

	for (unsigned modrm = 0; modrm < 256; modrm += step) {
		uint64_t tail[2] = {next_random(t), next_random(t)};
		unsigned n = put_prefix(bytes, prefix, map);

		bytes[n++] = opcode;
		bytes[n++] = (uint8_t)modrm;
		memcpy(bytes + n, tail, sizeof(bytes) - n);
		try_bytes(t, mode, bytes);
	}
}

static void every_opcode(struct test *t)
{
	for (unsigned mode = X86_MODE_16; mode <= X86_MODE_64; mode++)
		for (unsigned prefix = 0; prefix < (mode == X86_MODE_64 ? 8 : 6); prefix++)
			for (unsigned map = X86_MAP_1; map <= X86_MAP_0F3A; map++)
				for (unsigned opcode = 0; opcode < 256; opcode++)
					every_modrm(t, mode, prefix, map, (uint8_t)opcode);
}

/* C4 with this map, these W, L, pp bits and opcode: vvvv unused and used, every reg and mod. */
static void every_vex_modrm(
	struct test *t, enum x86_mode mode, unsigned map, unsigned bits, uint8_t opcode)
{
	uint8_t bytes[X86_INSN_MAX + 1];

	for (unsigned n = 0; n < 64; n++) {
		uint64_t tail[2] = {next_random(t), next_random(t)};

		memcpy(bytes, tail, sizeof(bytes));
		bytes[0] = 0xc4;
		bytes[1] = (uint8_t)((bytes[1] & 0xe0) | (mode == X86_MODE_64 ? 0 : 0xc0) | map);
		bytes[2] = (uint8_t)((n & 1 ? 0x78 : bytes[2] & 0x78) | bits);
		bytes[3] = opcode;
		bytes[4] = (uint8_t)(n >> 1 << 3 | (bytes[4] & 7));
		try_bytes(t, mode, bytes);
	}
}

static void every_vex(struct test *t)
{
	for (unsigned mode = X86_MODE_16; mode <= X86_MODE_64; mode++)
		for (unsigned map = X86_MAP_0F; map <= X86_MAP_0F3A; map++)
			for (unsigned bits = 0; bits < 16; bits++)
				for (unsigned opcode = 0; opcode < 256; opcode++)
					every_vex_modrm(t, mode, map, (bits & 8) << 4 | (bits & 7),
						(uint8_t)opcode);
}

/* Random bytes: after up to three prefixes, an escape or a VEX prefix or nothing. */
static void random_bytes(struct test *t, uint8_t *bytes)
{
	static const uint8_t legacy[] = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2,
		0xf3, 0x40, 0x44, 0x48, 0x41, 0x4f};
	uint64_t r = next_random(t), tail[2] = {next_random(t), next_random(t)};
	unsigned n = 0, prefixes = r & 3;

	memcpy(bytes, tail, sizeof(tail));
	for (; n < prefixes; n++)
		bytes[n] = legacy[r >> (4 + 4 * n) & 15];
	switch (r >> 32 & 7) {
	case 0:
	case 1:
		bytes[n] = 0x0f;
		break;
	case 2:
		bytes[n++] = 0x0f;
		bytes[n] = r >> 40 & 1 ? 0x38 : 0x3a;
		break;
	case 3:
		bytes[n++] = 0xc4;
		bytes[n] = (bytes[n] & 0xe0) | (r >> 40 & 3);
		break;
	case 4:
		bytes[n] = 0xc5;
		break;
	default:
		break;
	}
}

static void random_strings(struct test *t, uint64_t number)
{
	uint8_t bytes[X86_INSN_MAX + 1];

	for (uint64_t i = 0; i < number; i++) {
		random_bytes(t, bytes);
		try_bytes(t, (enum x86_mode)(i % 3), bytes);
	}
}

/* Every prefix of a valid string must ask for more, and none may be read past its end. */
static unsigned truncations(struct test *t, unsigned number)
{
	unsigned wrong = 0;

	for (unsigned i = 0; i < number; i++) {
		uint8_t bytes[X86_INSN_MAX + 1];
		struct x86_insn insn;
		enum x86_mode mode = i % 3;

		random_bytes(t, bytes);
		if (x86_decode(bytes, sizeof(bytes), mode, &insn) != X86_DECODE_OK)
			continue;
		for (unsigned n = 0, len = insn.len; n < len; n++)
			wrong += x86_decode(bytes, n, mode, &insn) != X86_DECODE_MORE;
	}
	return wrong;
}

static void init_zydis(struct test *t)
{
	static const ZydisMachineMode mode[3] = {ZYDIS_MACHINE_MODE_LEGACY_16,
		ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_MACHINE_MODE_LONG_64};
	static const ZydisStackWidth width[3] = {
		ZYDIS_STACK_WIDTH_16, ZYDIS_STACK_WIDTH_32, ZYDIS_STACK_WIDTH_64};
	static const ZydisDecoderMode off[] = {ZYDIS_DECODER_MODE_MPX, ZYDIS_DECODER_MODE_CET,
		ZYDIS_DECODER_MODE_CLDEMOTE, ZYDIS_DECODER_MODE_WBNOINVD};

	for (unsigned i = 0; i < 3; i++) {
		ZydisDecoderInit(&t->zydis[i], mode[i], width[i]);
		for (size_t j = 0; j < COUNT(off); j++)
			ZydisDecoderEnableMode(&t->zydis[i], off[j], ZYAN_FALSE);
	}
}

int main(int argc, char **argv)
{
	struct test t = {.random = 0x9e3779b97f4a7c15};
	uint64_t millions = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
	unsigned wrong;

	init_zydis(&t);
	every_opcode(&t);
	every_vex(&t);
	random_strings(&t, millions * 1000000);
	wrong = truncations(&t, 100000);
	printf("%" PRIu64 " strings: %" PRIu64 " valid to both, %" PRIu64 " to neither, %" PRIu64
	       " skipped (extension left out of the table), %" PRIu64 " unlisted differences\n",
		t.cases, t.both_valid, t.both_invalid, t.skipped, t.unlisted);
	for (size_t i = 0; i < COUNT(listed); i++)
		printf("%10" PRIu64 " %s: %s\n", t.hits[i], listed[i].name, listed[i].reason);
	printf("%u truncated strings not recognised\n", wrong);
	return t.unlisted || wrong ? EXIT_FAILURE : EXIT_SUCCESS;
}
