/*
 * x87.c - x87: copied with their memory operand rewritten, on the guest's own
 * registers.
 *
 * These are in the host's only while blocks of an x87-live key run (LIVE_X87),
 * which have the vector registers there, too: ways in and out move all of them
 * with one XSAVE. A guest that unmasks an x87 exception, or has one pending, gets
 * no such blocks, so that the host never raises one. What stores the unit's
 * pointers to the last instruction and operand stays interpret's: it keeps them
 * zero, and the host's are erased whenever its registers are stored.
 * Source: SDM vol. 1 chapter 8, 9.6 (MMX and x87), 8.7 (exceptions).
 */
#include "engine/translate/internal.h"

#define FCW_MASKS 0x3fu

/* FERR# stands until an instruction that interpret executes finds no error any more. */
bool x87_usable(const struct tcpu *t)
{
	const struct cpu *c = &t->c;

	return (fpu_word(c, FPU_FCW) & FCW_MASKS) == FCW_MASKS &&
	       !(fpu_word(c, FPU_FSW) & FPU_ES) &&
	       !atomic_load_explicit(&c->v->ferr, memory_order_relaxed);
}

bool is_x87(const struct x86_insn *i)
{
	return i->map == X86_MAP_1 && (i->op == X86_OP_FWAIT || (i->opcode & 0xf8) == 0xd8);
}

static bool names(const struct x86_insn *i, unsigned kind)
{
	for (unsigned n = 0; n < i->nops; n++)
		if (i->opnd[n].kind == kind)
			return true;
	return false;
}

bool is_mmx(const struct tcpu *t, const struct x86_insn *i)
{
	return i->map != X86_MAP_1 && (names(i, X86_OPND_MMX) || i->op == X86_OP_EMMS) &&
	       body_of(&t->c, i) == host_execute;
}

bool is_mmx_of_sse(const struct x86_insn *i)
{
	switch (i->op) {
	case X86_OP_CVTPS2PI:
	case X86_OP_CVTTPS2PI:
	case X86_OP_CVTPD2PI:
	case X86_OP_CVTTPD2PI:
		return true;
	default:
		return names(i, X86_OPND_XMM);
	}
}

bool shows_pointers(const struct x86_insn *i)
{
	return i->op == X86_OP_FNSTENV || i->op == X86_OP_FNSAVE;
}

bool loads_fcw(const struct x86_insn *i)
{
	return i->op == X86_OP_FLDCW || i->op == X86_OP_FLDENV || i->op == X86_OP_FRSTOR;
}

/* Read once, since another vCPU may write: what unmasks an exception is interpret's. */
static void emit_fldcw(struct emitter *e)
{
	struct code *c = e->c;

	need_flags_in_memory(e);
	if (e->flags != IN_RECIPE)
		e->flags = IN_MEMORY;
	put_rm(c, OP_0F(0xb7), T1, e->mem);
	store64(c, in_state(STATE(scratch)), T1);
	put_rr(c, OP(0xf7), 2, T1); /* not */
	put_rr(c, OP(0xf7), 0, T1); /* test */
	put32(c, FCW_MASKS);
	exit_odd(e, jcc_forward(c, CC_NZ));
	put_rm(c, OP(0xd9), 5, in_state(STATE(scratch)));
}

void emit_x87(struct emitter *e)
{
	const struct x86_insn *i = &e->n->i;

	if (i->op == X86_OP_FWAIT)
		return;
	reach_memory(e);
	if (i->op == X86_OP_FLDCW) {
		emit_fldcw(e);
		return;
	}
	if (needs_flags(e->n))
		need_flags_in_host(e);
	if (i->modrm < 0xc0) {
		put_rm(e->c, OP(i->opcode), i->modrm >> 3 & 7, e->mem);
	} else {
		put8(e->c, i->opcode);
		put8(e->c, i->modrm);
	}
	note_new_flags(e);
}
