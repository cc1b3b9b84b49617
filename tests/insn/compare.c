/*
 * compare.c - judges two results of a case; the exceptions are exceptions.h's.
 */
#include "compare.h"

#include <string.h>

#include "util/util.h"
#include "x86/paging.h"

const struct insn_exception_row insn_exception_table[EXCEPTION_COUNT] = {{"none", ""},
#define X(id, why) {#id, why},
	INSN_EXCEPTIONS(X, X)
#undef X
};

#define COMPARED_FLAGS (X86_FLAGS_ARITH | X86_DF | X86_IF | X86_IOPL | X86_NT | X86_AC | X86_ID)

static bool is_one_of(const struct x86_insn *insn, const uint16_t *list, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		if (insn->op == list[i])
			return true;
	return false;
}

#define IS_ONE_OF(insn, ...)                                                                       \
	is_one_of(insn, (const uint16_t[]){__VA_ARGS__},                                           \
		sizeof((const uint16_t[]){__VA_ARGS__}) / sizeof(uint16_t))

/* ---- what can be judged ---- */

static bool writes_segment(const struct x86_insn *insn)
{
	const struct x86_insn_desc *d = &x86_insn_table[insn->entry];

	if (IS_ONE_OF(insn, X86_OP_LDS, X86_OP_LES, X86_OP_LSS, X86_OP_LFS, X86_OP_LGS))
		return true;
	for (unsigned i = 0; i < insn->nops; i++)
		if (insn->opnd[i].kind == X86_OPND_SEG && (d->access[i] & 2))
			return true;
	return false;
}

static bool loads_stack_segment(const struct x86_insn *insn)
{
	return IS_ONE_OF(insn, X86_OP_MOV, X86_OP_POP) && insn->opnd[0].kind == X86_OPND_SEG &&
	       insn->opnd[0].reg == X86_SS;
}

static bool far_branch(const struct x86_insn *insn)
{
	return IS_ONE_OF(insn, X86_OP_JMPF, X86_OP_CALLF, X86_OP_RETF, X86_OP_IRET);
}

static bool writes_code(const struct x86_insn *insn)
{
	const struct x86_insn_desc *d = &x86_insn_table[insn->entry];

	if (IS_ONE_OF(insn, X86_OP_MASKMOVQ, X86_OP_MASKMOVDQU))
		return insn->mem.seg == X86_CS;
	if (d->class == X86_CLASS_STRING) /* to ES, whatever the prefix */
		return false;
	for (unsigned i = 0; i < insn->nops; i++)
		if (insn->opnd[i].kind == X86_OPND_MEM && insn->mem.seg == X86_CS &&
			(d->access[i] & 2))
			return true;
	return false;
}

static bool is_host_value(const struct x86_insn *insn)
{
	return IS_ONE_OF(insn, X86_OP_CPUID, X86_OP_RDTSC, X86_OP_RDTSCP, X86_OP_RDRAND,
		X86_OP_RDSEED, X86_OP_XGETBV);
}

/* FCMOVcc and FCOMI need CMOV too, and that is the feature their rows name. */
static bool is_x87(const struct x86_insn *insn)
{
	return insn->map == X86_MAP_1 && (insn->opcode & 0xf8) == 0xd8;
}

#define LINUX_CALL 0x80 /* the vector of its 32-bit system calls */

static enum insn_exception excluded_everywhere(
	const struct x86_model *model, const struct x86_insn *insn)
{
	if (IS_ONE_OF(insn, X86_OP_SGDT, X86_OP_SIDT, X86_OP_SLDT, X86_OP_STR, X86_OP_SMSW))
		return EXCEPTION_HOST_VALUE;
	if (IS_ONE_OF(insn, X86_OP_SYSCALL, X86_OP_SYSENTER) ||
		(insn->op == X86_OP_INT && (insn->imm & 0xff) == LINUX_CALL))
		return EXCEPTION_HOST_CALL;
	if (insn->op == X86_OP_SYSRET && insn->mode != X86_MODE_64)
		return EXCEPTION_HOST_EFER;
	if (!x86_model_executes(model, x86_insn_table[insn->entry].feature) ||
		(is_x87(insn) && !x86_model_executes(model, X86_FEATURE_FPU)))
		return EXCEPTION_FEATURE;
	if (insn->rep && IS_ONE_OF(insn, X86_OP_LOOPE, X86_OP_LOOPNE))
		return EXCEPTION_REP_LOOP;
	if (insn->op == X86_OP_NOP && insn->map == X86_MAP_0F && insn->opcode == 0x0d &&
		insn->modrm >= 0xc0)
		return EXCEPTION_PREFETCH_REG;
	if (insn->op == X86_OP_CALLF && insn->opnd[0].kind == X86_OPND_FAR &&
		(insn->imm2 & ~3) == 0x30)
		return EXCEPTION_LONG_CODE;
	if (insn->op == X86_OP_RETF && insn->nops && insn->imm >= 0x1000)
		return EXCEPTION_RETF_IMM;
	if (insn->mode == X86_MODE_64 && insn->opsize_prefix &&
		IS_ONE_OF(insn, X86_OP_J, X86_OP_JMP, X86_OP_CALL, X86_OP_RET, X86_OP_LOOP,
			X86_OP_LOOPE, X86_OP_LOOPNE, X86_OP_JCXZ))
		return EXCEPTION_BRANCH_66;
	if (insn->opsize == 8 &&
		IS_ONE_OF(insn, X86_OP_LSS, X86_OP_LFS, X86_OP_LGS, X86_OP_JMPF, X86_OP_CALLF))
		return EXCEPTION_FAR_64;
	return EXCEPTION_NONE;
}

static enum insn_exception excluded_in_real(const struct x86_insn *insn)
{
	unsigned class = x86_insn_table[insn->entry].class;

	if (IS_ONE_OF(insn, X86_OP_POPF, X86_OP_IRET))
		return EXCEPTION_REAL_FLAGS;
	if (IS_ONE_OF(insn, X86_OP_ARPL, X86_OP_LAR, X86_OP_LSL, X86_OP_VERR, X86_OP_VERW,
		    X86_OP_LLDT, X86_OP_LTR))
		return EXCEPTION_REAL_NONE;
	if (insn->op == X86_OP_ENTER && (insn->imm2 & 31) > 1)
		return EXCEPTION_ENTER_REAL;
	if (insn->vex)
		return EXCEPTION_REAL_NONE;
	if (writes_code(insn))
		return EXCEPTION_CODE_WRITE;
	if (class == X86_CLASS_IO)
		return EXCEPTION_IO;
	return EXCEPTION_NONE;
}

/* kvm judges what the real CPU cannot, and nothing else: it is slow. */
static enum insn_exception excluded_from_kvm(
	const struct x86_model *model, const struct x86_insn *insn)
{
	enum insn_exception e = compare_excluded(GUEST_REAL16, model, insn);

	if (e == EXCEPTION_HOST_CALL && IS_ONE_OF(insn, X86_OP_INT))
		return EXCEPTION_NONE;
	for (unsigned i = 0; i < insn->nops; i++)
		if (insn->opnd[i].kind == X86_OPND_DR)
			return EXCEPTION_DEBUG_REGISTER;
	if (insn->rep && IS_ONE_OF(insn, X86_OP_INS, X86_OP_OUTS))
		return EXCEPTION_KVM_MANY;
	if (IS_ONE_OF(insn, X86_OP_FNSTENV, X86_OP_FNSAVE))
		return EXCEPTION_KVM_POINTERS;
	if (is_host_value(insn) ||
		IS_ONE_OF(insn, X86_OP_RDPID, X86_OP_RDPMC, X86_OP_RDMSR, X86_OP_WRMSR,
			X86_OP_SYSEXIT, X86_OP_SYSRET, X86_OP_INT1, X86_OP_INVPCID))
		return EXCEPTION_KVM_OWN;
	switch (e) {
	case EXCEPTION_NONE:
		return EXCEPTION_NATIVE;
	case EXCEPTION_SYSTEM:
	case EXCEPTION_SEGMENT_LOAD:
	case EXCEPTION_FAR_BRANCH:
	case EXCEPTION_REAL_FLAGS:
	case EXCEPTION_REAL_NONE:
	case EXCEPTION_CODE_WRITE:
		return EXCEPTION_NONE;
	default:
		return e;
	}
}

enum insn_exception compare_excluded(
	enum guest_kind kind, const struct x86_model *model, const struct x86_insn *insn)
{
	enum insn_exception e;

	if (kind == GUEST_REAL &&
		(loads_stack_segment(insn) || IS_ONE_OF(insn, X86_OP_STI, X86_OP_LSS)))
		return EXCEPTION_SHADOW;
	if (kind == GUEST_REAL)
		return excluded_from_kvm(model, insn);
	e = excluded_everywhere(model, insn);
	if (!e && kind == GUEST_REAL16)
		e = excluded_in_real(insn);
	if (e)
		return e;
	if (kind != GUEST_REAL16)
		return EXCEPTION_NONE;
	if (writes_segment(insn))
		return EXCEPTION_SEGMENT_LOAD;
	if (far_branch(insn))
		return EXCEPTION_FAR_BRANCH;
	if (kind == GUEST_REAL16 && x86_insn_table[insn->entry].class == X86_CLASS_SYSTEM &&
		!IS_ONE_OF(insn, X86_OP_PUSHF, X86_OP_INT3, X86_OP_INTO))
		return EXCEPTION_SYSTEM;
	return EXCEPTION_NONE;
}

/* ---- what is forgiven ---- */

/* Result undefined: the engine's counts as the oracle's. */
static void forgive_destination(
	const struct insn_case *c, const struct insn_result *oracle, struct insn_result *engine)
{
	const struct x86_operand *d = &c->insn.opnd[0];

	if (d->kind == X86_OPND_GPR)
		engine->regs.gpr[d->reg] = oracle->regs.gpr[d->reg];
	else if (d->kind == X86_OPND_MEM)
		memcpy(engine->window[0], oracle->window[0], WINDOW_SIZE);
}

static bool double_shift_too_far(const struct insn_case *c)
{
	const struct x86_operand *n = &c->insn.opnd[2];
	unsigned count =
		(unsigned)(n->kind == X86_OPND_GPR ? c->regs.gpr[n->reg] : (uint64_t)c->insn.imm);

	return IS_ONE_OF(&c->insn, X86_OP_SHLD, X86_OP_SHRD) && c->insn.opnd[0].size == 2 &&
	       (count & 31) > 16;
}

/* Copies the bits of mask of one byte of memory in all windows that show it. */
static void forgive_byte(const struct insn_case *c, uint32_t addr, uint8_t mask,
	const struct insn_result *oracle, struct insn_result *engine)
{
	for (unsigned w = 0; w < WINDOW_COUNT; w++) {
		uint32_t at = addr - c->window[w].addr;

		if (c->window[w].addr && at < WINDOW_SIZE)
			engine->window[w][at] = (engine->window[w][at] & (uint8_t)~mask) |
						(oracle->window[w][at] & mask);
	}
}

/* Linear address of what was pushed last. */
static uint32_t stack_top(const struct insn_case *c, const struct insn_result *r)
{
	uint64_t sp = r->regs.gpr[X86_RSP];

	if (c->flat)
		return (uint32_t)sp;
	return area_of(X86_SS) + (uint32_t)(c->mode == X86_MODE_16 ? sp & 0xffff : sp);
}

static void forgive_pushed_tf(
	const struct insn_case *c, const struct insn_result *oracle, struct insn_result *engine)
{
	forgive_byte(c, stack_top(c, oracle) + 1, X86_TF >> 8, oracle, engine);
}

/* All above the selector. */
static void forgive_pushed_selector(
	const struct insn_case *c, const struct insn_result *oracle, struct insn_result *engine)
{
	for (unsigned off = 2; off < c->insn.opsize; off++)
		forgive_byte(c, stack_top(c, oracle) + off, 0xff, oracle, engine);
}

/* True if a null selector with an RPL is all the difference there is in a segment register. */
static bool forgive_null_rpl(const struct insn_result *oracle, struct insn_result *engine)
{
	bool any = false;

	for (unsigned seg = 0; seg < 6; seg++)
		if (oracle->regs.sel[seg] == 0 && engine->regs.sel[seg] &&
			engine->regs.sel[seg] < 4) {
			engine->regs.sel[seg] = 0;
			any = true;
		}
	return any;
}

static bool is_fpu_state(const struct x86_insn *insn)
{
	return IS_ONE_OF(insn, X86_OP_FXSAVE, X86_OP_FXRSTOR, X86_OP_FNSAVE, X86_OP_FRSTOR,
		X86_OP_FNSTENV, X86_OP_FLDENV, X86_OP_XRSTOR, X86_OP_XSAVE, X86_OP_XSAVEC,
		X86_OP_XSAVEOPT);
}

/* What the host has mapped elsewhere, or in its own half, is not the guest's. */
static bool forgive_present(const struct insn_result *oracle, struct insn_result *engine)
{
	if (oracle->end != X86_PFV || engine->end != X86_PFV || oracle->cr2 != engine->cr2 ||
		(oracle->error ^ engine->error) != X86_PF_PRESENT ||
		(oracle->cr2 >= AREA_BASE && oracle->cr2 < AREA_END))
		return false;
	engine->error = oracle->error;
	return true;
}

/* The precision flag beside an unmasked overflow or underflow. */
static bool forgive_wide_pe(
	const struct insn_case *c, const struct insn_result *oracle, struct insn_result *engine)
{
	const uint8_t pe = 0x20, both = 0x18; /* OE, UE; their masks are bits 10 and 11 */

	if (oracle->end != X86_XM || engine->end != X86_XM ||
		!(oracle->fpu[24] & both & ~(c->fpu[25] << 1)) ||
		(oracle->fpu[24] ^ engine->fpu[24]) != pe)
		return false;
	engine->fpu[24] = oracle->fpu[24];
	return true;
}

/* Which byte of a large operand, which may wrap, faulted: CPUs have orders of their own. */
static bool forgive_address(
	const struct insn_case *c, const struct insn_result *oracle, struct insn_result *engine)
{
	uint32_t mask = c->insn.addrsize == 2 ? UINT16_MAX : UINT32_MAX, apart;

	if (!is_fpu_state(&c->insn) || oracle->end != X86_PFV || engine->end != X86_PFV)
		return false;
	apart = (uint32_t)(oracle->cr2 - engine->cr2 + FPU_SIZE) & mask;
	if (apart > 2 * FPU_SIZE || oracle->cr2 == engine->cr2)
		return false;
	engine->cr2 = oracle->cr2;
	engine->error = oracle->error;
	return true;
}

/* It lies across the end of flat segments: #GP, or #PF on the way there. */
static bool faults_at_end(const struct insn_case *c, const struct insn_result *oracle,
	const struct insn_result *engine)
{
	return c->flat && c->mode == X86_MODE_32 && is_fpu_state(&c->insn) &&
	       oracle->end + engine->end == X86_GP + X86_PFV;
}

static void forgive_mxcsr_mask(
	const struct insn_case *c, const struct insn_result *oracle, struct insn_result *engine)
{
	for (unsigned w = 0; w < WINDOW_COUNT; w++)
		for (unsigned at = 0; c->window[w].addr && at < WINDOW_SIZE; at++)
			if ((oracle->window[w][at] ^ engine->window[w][at]) == 2 &&
				oracle->window[w][at] == 2)
				engine->window[w][at] = 2;
}

/* A far pointer whose selector lies beyond the end of 16-bit addresses. */
static bool far_pointer_wraps(const struct insn_case *c)
{
	const struct x86_mem *m = &c->insn.mem;
	uint64_t ea = (uint64_t)m->disp;

	if (c->insn.addrsize != 2 || !writes_segment(&c->insn) || c->insn.nops != 2)
		return false;
	if (m->base < X86_GPR_COUNT)
		ea += c->regs.gpr[m->base];
	if (m->index < X86_GPR_COUNT)
		ea += c->regs.gpr[m->index];
	return (ea & 0xffff) + c->insn.opsize + 1 > 0xffff;
}

static bool is_sha(const struct x86_insn *insn)
{
	return x86_insn_table[insn->entry].feature == X86_FEATURE_SHA;
}

static bool is_gather(const struct x86_insn *insn)
{
	return IS_ONE_OF(insn, X86_OP_VPGATHERDD, X86_OP_VPGATHERDQ, X86_OP_VPGATHERQD,
		X86_OP_VPGATHERQQ, X86_OP_VGATHERDPS, X86_OP_VGATHERDPD, X86_OP_VGATHERQPS,
		X86_OP_VGATHERQPD);
}

/* MXCSR.MM, AMD's mode for misaligned operands, was loaded. */
static bool loads_mxcsr_mm(const struct insn_case *c, const struct insn_result *oracle,
	const struct insn_result *engine)
{
	return IS_ONE_OF(
		       &c->insn, X86_OP_LDMXCSR, X86_OP_VLDMXCSR, X86_OP_FXRSTOR, X86_OP_XRSTOR) &&
	       oracle->end == INSN_RETIRED && engine->end == X86_GP && oracle->fpu[26] & 2;
}

static enum insn_exception forgive(enum guest_kind kind, const struct insn_case *c,
	const struct insn_result *oracle, struct insn_result *engine)
{
	if (kind == GUEST_REAL && oracle->end == INSN_RETIRED &&
		(engine->end == X86_GP || engine->end == X86_SSV || far_pointer_wraps(c))) {
		*engine = *oracle;
		return EXCEPTION_NO_LIMITS;
	}
	if (kind == GUEST_REAL && double_shift_too_far(c)) {
		*engine = *oracle;
		return EXCEPTION_SHD_COUNT;
	}
	if (kind == GUEST_REAL)
		return EXCEPTION_NONE;
	if (kind == GUEST_REAL16 && engine->end == INSN_SHUTDOWN &&
		(oracle->end == X86_SSV || (c->regs.gpr[X86_RSP] & 0xffff) < 6)) {
		*engine = *oracle;
		return EXCEPTION_REAL_STACK;
	}
	if ((IS_ONE_OF(&c->insn, X86_OP_PUSHA, X86_OP_POPA) && oracle->end == X86_SSV &&
		    engine->end == X86_SSV) ||
		(IS_ONE_OF(&c->insn, X86_OP_CALLF) && oracle->end < INSN_RETIRED &&
			oracle->end == engine->end && oracle->error == engine->error) ||
		(IS_ONE_OF(&c->insn, X86_OP_FNSAVE, X86_OP_FRSTOR, X86_OP_FNSTENV, X86_OP_FLDENV) &&
			oracle->end < INSN_RETIRED &&
			(oracle->end == engine->end || oracle->end == X86_MF))) {
		*engine = *oracle;
		return EXCEPTION_HALF_DONE;
	}
	if (is_host_value(&c->insn) && oracle->end == INSN_RETIRED && engine->end == INSN_RETIRED) {
		memcpy(engine->regs.gpr, oracle->regs.gpr, sizeof(engine->regs.gpr));
		engine->regs.rflags = oracle->regs.rflags;
		return EXCEPTION_VALUE;
	}
	if (IS_ONE_OF(&c->insn, X86_OP_INT1) && oracle->end == INSN_RETIRED &&
		engine->end == X86_DB) {
		engine->end = INSN_RETIRED;
		engine->regs.rip = oracle->regs.rip;
		return EXCEPTION_ICEBP;
	}
	if (is_sha(&c->insn) && engine->end == X86_GP && oracle->end != X86_GP) {
		*engine = *oracle;
		return EXCEPTION_SHA_ALIGN;
	}
	if (loads_mxcsr_mm(c, oracle, engine)) {
		*engine = *oracle;
		return EXCEPTION_MXCSR_MM;
	}
	if (is_gather(&c->insn) && oracle->end == INSN_RETIRED && oracle->regs.rip == c->regs.rip) {
		*engine = *oracle;
		return EXCEPTION_GATHER_TRAP;
	}
	if (IS_ONE_OF(&c->insn, X86_OP_MASKMOVQ, X86_OP_MASKMOVDQU, X86_OP_VMASKMOVDQU) &&
		oracle->end == X86_PFV && engine->end == INSN_RETIRED) {
		*engine = *oracle;
		return EXCEPTION_MASK_NONE;
	}
	if (IS_ONE_OF(&c->insn, X86_OP_DPPS, X86_OP_DPPD, X86_OP_VDPPS, X86_OP_VDPPD) &&
		oracle->end == X86_XM && engine->end == X86_XM) {
		engine->fpu[24] = oracle->fpu[24];
		return EXCEPTION_DOT_FLAGS;
	}
	if (IS_ONE_OF(&c->insn, X86_OP_VCVTPS2PH) && oracle->end == X86_XM &&
		engine->end == X86_XM && (oracle->fpu[24] ^ engine->fpu[24]) == 0x10) {
		engine->fpu[24] = oracle->fpu[24];
		return EXCEPTION_HALF_UE;
	}
	if (forgive_wide_pe(c, oracle, engine))
		return EXCEPTION_WIDE_PE;
	if (forgive_address(c, oracle, engine))
		return EXCEPTION_PF_ADDRESS;
	if (faults_at_end(c, oracle, engine)) {
		*engine = *oracle;
		return EXCEPTION_FLAT_END;
	}
	if (IS_ONE_OF(&c->insn, X86_OP_RETF, X86_OP_IRET) && oracle->end < INSN_RETIRED &&
		engine->end < INSN_RETIRED &&
		(oracle->end != engine->end || oracle->error != engine->error)) {
		*engine = *oracle;
		return EXCEPTION_RETURN_ORDER;
	}
	if (forgive_present(oracle, engine))
		return EXCEPTION_PF_PRESENT;
	if (oracle->end != INSN_RETIRED)
		return EXCEPTION_NONE;
	if (kind != GUEST_REAL16 && forgive_null_rpl(oracle, engine))
		return EXCEPTION_NULL_RPL;
	if (IS_ONE_OF(&c->insn, X86_OP_FXSAVE, X86_OP_XSAVE, X86_OP_XSAVEC, X86_OP_XSAVEOPT)) {
		forgive_mxcsr_mask(c, oracle, engine);
		return EXCEPTION_MXCSR_MASK;
	}
	if (IS_ONE_OF(&c->insn, X86_OP_PUSHF)) {
		forgive_pushed_tf(c, oracle, engine);
		return EXCEPTION_PUSHF_TF;
	}
	if (IS_ONE_OF(&c->insn, X86_OP_PUSH) && c->insn.opnd[0].kind == X86_OPND_SEG &&
		c->insn.opsize > 2) {
		forgive_pushed_selector(c, oracle, engine);
		return EXCEPTION_PUSH_SEG;
	}
	if (IS_ONE_OF(&c->insn, X86_OP_BSF, X86_OP_BSR) && (oracle->regs.rflags & X86_ZF)) {
		forgive_destination(c, oracle, engine);
		return EXCEPTION_BSF_ZERO;
	}
	if (IS_ONE_OF(&c->insn, X86_OP_BSWAP) && c->insn.opnd[0].size == 2) {
		forgive_destination(c, oracle, engine);
		return EXCEPTION_BSWAP16;
	}
	if (double_shift_too_far(c)) {
		forgive_destination(c, oracle, engine);
		engine->regs.rflags = oracle->regs.rflags;
		return EXCEPTION_SHD_COUNT;
	}
	return EXCEPTION_NONE;
}

/* ---- the comparison ---- */

static uint64_t register_mask(enum guest_kind kind)
{
	return kind == GUEST_LONG64 ? UINT64_MAX : UINT32_MAX;
}

static bool same_registers(
	enum guest_kind kind, const struct insn_regs *a, const struct insn_regs *b)
{
	uint64_t mask = register_mask(kind);

	for (unsigned i = 0; i < X86_GPR_COUNT; i++)
		if ((a->gpr[i] ^ b->gpr[i]) & mask)
			return false;
	return !((a->rip ^ b->rip) & mask) && !memcmp(a->sel, b->sel, sizeof(a->sel));
}

/* FOP, FIP and FDP are left out: CPUs differ, and ours shows none. */
static bool same_fpu(const struct insn_result *a, const struct insn_result *b)
{
	if (memcmp(a->fpu, b->fpu, 5) || memcmp(a->fpu + 24, b->fpu + 24, 4) ||
		memcmp(a->fpu + FPU_XMM, b->fpu + FPU_XMM, 256) ||
		memcmp(a->fpu + FPU_YMM, b->fpu + FPU_YMM, 256))
		return false;
	for (unsigned n = 0; n < 8; n++)
		if (memcmp(a->fpu + FPU_ST + n * 16, b->fpu + FPU_ST + n * 16, 10))
			return false;
	return true;
}

static bool same_windows(
	const struct insn_case *c, const struct insn_result *a, const struct insn_result *b)
{
	for (unsigned i = 0; i < WINDOW_COUNT; i++)
		if (c->window[i].addr && memcmp(a->window[i], b->window[i], WINDOW_SIZE))
			return false;
	return true;
}

static bool same_system(const struct insn_system *a, const struct insn_system *b)
{
	return !memcmp(a->base, b->base, sizeof(a->base)) && a->gdtr.base == b->gdtr.base &&
	       a->gdtr.limit == b->gdtr.limit && a->idtr.base == b->idtr.base &&
	       a->idtr.limit == b->idtr.limit && a->cr0 == b->cr0 && a->cr3 == b->cr3 &&
	       a->cr4 == b->cr4 && a->halted == b->halted;
}

/* What WRFSBASE and WRGSBASE wrote. */
static bool same_bases(
	enum guest_kind kind, const struct insn_result *a, const struct insn_result *b)
{
	return kind != GUEST_LONG64 || !memcmp(&a->system.base[X86_FS], &b->system.base[X86_FS],
					       2 * sizeof(a->system.base[0]));
}

struct comparison compare_results(enum guest_kind kind, const struct insn_case *c,
	const struct insn_result *oracle, struct insn_result *engine)
{
	struct comparison v = {.forgiven = forgive(kind, c, oracle, engine)};

	if (oracle->end == INSN_RETIRED || oracle->end == X86_DE)
		v.masked = undefined_flags(c);
	v.same = oracle->end == engine->end &&
		 (kind == GUEST_REAL16 || kind == GUEST_REAL ||
			 (oracle->error == engine->error && oracle->cr2 == engine->cr2)) &&
		 same_registers(kind, &oracle->regs, &engine->regs) &&
		 !((oracle->regs.rflags ^ engine->regs.rflags) & COMPARED_FLAGS & ~v.masked) &&
		 same_windows(c, oracle, engine) && same_fpu(oracle, engine) &&
		 same_bases(kind, oracle, engine) &&
		 (kind != GUEST_REAL || same_system(&oracle->system, &engine->system));
	return v;
}

/* ---- for people ---- */

static const char *end_name(unsigned end, char *buf, size_t size)
{
	static const char *const name[] = {"retired", "child died", "shutdown", "unsupported"};

	if (end >= INSN_RETIRED)
		return name[end - INSN_RETIRED];
	snprintf(buf, size, "exception %u", end);
	return buf;
}

static void print_flags(FILE *out, uint64_t f)
{
	static const struct {
		uint32_t bit;
		const char *name;
	} bit[] = {{X86_CF, "CF"}, {X86_PF, "PF"}, {X86_AF, "AF"}, {X86_ZF, "ZF"}, {X86_SF, "SF"},
		{X86_DF, "DF"}, {X86_OF, "OF"}, {X86_IF, "IF"}, {X86_NT, "NT"}, {X86_AC, "AC"}};

	fprintf(out, "%08llx", (unsigned long long)f);
	for (unsigned i = 0; i < ARRAY_SIZE(bit); i++)
		if (f & bit[i].bit)
			fprintf(out, " %s", bit[i].name);
	fprintf(out, "\n");
}

static void print_value(FILE *out, const char *name, uint64_t before, uint64_t a, uint64_t b)
{
	if (before == a && a == b)
		fprintf(out, "  %-4s %16llx\n", name, (unsigned long long)before);
	else
		fprintf(out, "%s %-4s %16llx -> %16llx | %16llx\n", a == b ? " " : "*", name,
			(unsigned long long)before, (unsigned long long)a, (unsigned long long)b);
}

/* At most so many changed bytes; the ones that differ count twice. */
#define MEMORY_LINES 48

static void print_windows(FILE *out, const struct insn_case *c, const struct insn_result *a,
	const struct insn_result *b)
{
	unsigned lines = 0;

	for (unsigned w = 0; w < WINDOW_COUNT; w++)
		for (unsigned i = 0; c->window[w].addr && i < WINDOW_SIZE; i++) {
			uint8_t was = c->window[w].bytes[i], x = a->window[w][i],
				y = b->window[w][i];

			if ((x == y && x == was) || lines >= MEMORY_LINES)
				continue;
			lines += x == y ? 1 : 2;
			fprintf(out, "%s [%05x] %02x -> %02x | %02x\n", x == y ? " " : "*",
				c->window[w].addr + i, was, x, y);
		}
}

static void print_fpu(FILE *out, const struct insn_case *c, const struct insn_result *a,
	const struct insn_result *b)
{
	for (unsigned at = 0; at < FPU_SIZE && !same_fpu(a, b); at += 8) {
		uint64_t was, x, y;

		if (at == FPU_XMM + 256)
			at = FPU_YMM;
		memcpy(&was, c->fpu + at, 8);
		memcpy(&x, a->fpu + at, 8);
		memcpy(&y, b->fpu + at, 8);
		if (x != y || x != was)
			fprintf(out, "%s fpu+%u %016llx -> %016llx | %016llx\n", x == y ? " " : "*",
				at, (unsigned long long)was, (unsigned long long)x,
				(unsigned long long)y);
	}
}

static void print_system(FILE *out, const struct insn_system *a, const struct insn_system *b)
{
	if (same_system(a, b) ||
		(!a->base[X86_CS] && !a->base[X86_FS])) /* the real CPU tells nothing of it */
		return;
	fprintf(out, "* bases");
	for (unsigned i = 0; i < 6; i++)
		fprintf(out, " %llx|%llx", (unsigned long long)a->base[i],
			(unsigned long long)b->base[i]);
	fprintf(out, "\n* gdtr %llx,%x|%llx,%x idtr %llx,%x|%llx,%x\n",
		(unsigned long long)a->gdtr.base, a->gdtr.limit, (unsigned long long)b->gdtr.base,
		b->gdtr.limit, (unsigned long long)a->idtr.base, a->idtr.limit,
		(unsigned long long)b->idtr.base, b->idtr.limit);
	fprintf(out, "* cr0 %llx|%llx cr3 %llx|%llx cr4 %llx|%llx halted %d|%d\n",
		(unsigned long long)a->cr0, (unsigned long long)b->cr0, (unsigned long long)a->cr3,
		(unsigned long long)b->cr3, (unsigned long long)a->cr4, (unsigned long long)b->cr4,
		a->halted, b->halted);
}

void print_case(FILE *out, const struct insn_case *c, const struct insn_result *a,
	const struct insn_result *b, uint32_t masked)
{
	static const char *const name[X86_GPR_COUNT] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp",
		"rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"};
	static const char *const seg[6] = {"es", "cs", "ss", "ds", "fs", "gs"};
	uint64_t mask = c->mode == X86_MODE_64 ? UINT64_MAX : UINT32_MAX;
	char text[128], e1[32], e2[32];

	for (unsigned i = 0; i < c->insn.len; i++)
		fprintf(out, "%02x ", c->bytes[i]);
	fprintf(out, "  %s\n", x86_disasm(&c->insn, c->regs.rip, text, sizeof(text)));
	fprintf(out, "  oracle: %s error %x cr2 %llx; engine: %s error %x cr2 %llx\n",
		end_name(a->end, e1, sizeof(e1)), a->error, (unsigned long long)a->cr2,
		end_name(b->end, e2, sizeof(e2)), b->error, (unsigned long long)b->cr2);
	for (unsigned i = 0; i < (c->mode == X86_MODE_64 ? 16 : 8); i++)
		print_value(
			out, name[i], c->regs.gpr[i], a->regs.gpr[i] & mask, b->regs.gpr[i] & mask);
	print_value(out, "rip", c->regs.rip, a->regs.rip & mask, b->regs.rip & mask);
	print_system(out, &a->system, &b->system);
	for (unsigned i = 0; i < 6; i++)
		if (a->regs.sel[i] != b->regs.sel[i])
			print_value(out, seg[i], c->regs.sel[i], a->regs.sel[i], b->regs.sel[i]);
	fprintf(out, "  flags before ");
	print_flags(out, c->regs.rflags);
	fprintf(out, "  oracle       ");
	print_flags(out, a->regs.rflags);
	fprintf(out, "  engine       ");
	print_flags(out, b->regs.rflags);
	fprintf(out, "  undefined    ");
	print_flags(out, masked);
	print_windows(out, c, a, b);
	print_fpu(out, c, a, b);
}
