/*
 * vector.c - SSE, AVX and MMX: copied with their memory operand rewritten, on the
 * guest's own vector registers.
 *
 * These are in the host's only while blocks of a `live` key run: ways in and
 * out of those move them (stubs.c), and all C code finds them in s.xsave. MMX
 * asks for x87's (x87.c). MXCSR is the guest's own then; a guest that unmasks an
 * exception of it gets no live blocks.
 * Source: SDM vol. 2A 2.3 (VEX), vol. 1 11.6.
 */
#include "engine/translate/internal.h"

uint8_t usable_units(const struct tcpu *t)
{
	const struct cpu *c = &t->c;
	const uint64_t avx = X86_XCR0_SSE | X86_XCR0_AVX;
	uint32_t mxcsr;
	uint8_t units = 0;

	memcpy(&mxcsr, c->s.xsave + FPU_MXCSR, 4);
	if (!t->can_live || c->s.cr0 & (X86_CR0_EM | X86_CR0_TS) ||
		(mxcsr & MXCSR_MASKS) != MXCSR_MASKS)
		return 0;
	if (c->s.cr4 & X86_CR4_OSFXSR)
		units |= UNITS_SSE;
	if (c->s.cr4 & X86_CR4_OSXSAVE && (c->s.xcr0 & avx) == avx)
		units |= UNITS_AVX;
	if (x87_usable(t))
		units |= UNITS_X87;
	return units;
}

bool is_vector(const struct tcpu *t, const struct x86_insn *i)
{
	bool xmm = i->op == X86_OP_VZEROUPPER || i->op == X86_OP_VZEROALL;

	if (i->map == X86_MAP_1 || body_of(&t->c, i) != host_execute)
		return false;
	for (unsigned n = 0; n < i->nops; n++) {
		if (i->opnd[n].kind == X86_OPND_MMX)
			return false;
		xmm |= i->opnd[n].kind == X86_OPND_XMM;
	}
	return xmm;
}

/* These bring another MXCSR. */
bool loads_mxcsr(const struct x86_insn *i)
{
	switch (i->op) {
	case X86_OP_LDMXCSR:
	case X86_OP_VLDMXCSR:
	case X86_OP_FXRSTOR:
	case X86_OP_XRSTOR:
		return true;
	default:
		return false;
	}
}

bool moves_mxcsr(const struct x86_insn *i)
{
	return i->op == X86_OP_LDMXCSR || i->op == X86_OP_VLDMXCSR || i->op == X86_OP_STMXCSR ||
	       i->op == X86_OP_VSTMXCSR;
}

/* A general register is ModRM.rm if it is the last operand but for constants, or here. */
static bool gpr_is_rm(const struct x86_insn *i, unsigned n)
{
	bool first = (i->map == X86_MAP_0F && i->opcode == 0x7e) ||
		     (i->map == X86_MAP_0F3A && i->opcode >= 0x14 && i->opcode <= 0x17);

	return first ? n == 0 : n > 0;
}

static const struct x86_operand *gpr_of(const struct x86_insn *i, bool *rm)
{
	for (unsigned n = 0; n < i->nops; n++)
		if (i->opnd[n].kind == X86_OPND_GPR) {
			*rm = gpr_is_rm(i, n);
			return &i->opnd[n];
		}
	return NULL;
}

/* VEX.W is the size of a general register or of what is moved in its place. */
static bool sized_by_w(const struct x86_insn *i)
{
	return i->map == X86_MAP_0F ||
	       (i->map == X86_MAP_0F3A &&
		       (i->opcode == 0x16 || i->opcode == 0x22 || (i->opcode & 0xfc) == 0x60));
}

/* Outside 64-bit code there are eight registers, and bits that mean nothing. */
static void put_vex(struct emitter *e, unsigned reg, unsigned index, unsigned rm)
{
	static const uint8_t prefix[] = {0, 2, 3}; /* by enum x86_rep */
	const struct x86_insn *i = &e->n->i;
	unsigned pp = i->rep ? prefix[i->rep] : i->opsize_prefix;
	bool wide_code = i->mode == X86_MODE_64;
	unsigned rxb = (reg >> 3 & 1) << 2 | (index >> 3 & 1) << 1 | (rm >> 3 & 1);
	unsigned vvvv = i->vvvv & (wide_code ? 15 : 7);
	unsigned w = i->rex >> 3 & (wide_code || !sized_by_w(i));

	put8(e->c, 0xc4);
	put8(e->c, (~rxb & 7) << 5 | i->map);
	put8(e->c, w << 7 | (~vvvv & 15) << 3 | (unsigned)i->vex_l << 2 | pp);
	put8(e->c, i->opcode);
}

static void put_legacy(struct emitter *e, unsigned reg, unsigned index, unsigned rm)
{
	const struct x86_insn *i = &e->n->i;
	struct opcode o = {.prefix = !i->rep                ? 0
				     : i->rep == X86_REP_F3 ? 0xf3
							    : 0xf2,
		.map = i->map,
		.byte = i->opcode,
		.w = i->rex & 8,
		.size16 = i->opsize_prefix && !i->rep};

	put_opcode(e->c, o, reg, index, rm);
}

static void put_vector(struct emitter *e, unsigned reg, unsigned rm)
{
	const struct x86_insn *i = &e->n->i;
	bool memory = i->has_modrm && i->modrm < 0xc0;
	unsigned index = 0;

	if (memory) {
		rm = e->mem.base;
		index = e->mem.index == NOREG ? 0 : e->mem.index;
	}
	if (i->vex)
		put_vex(e, reg, index, rm);
	else
		put_legacy(e, reg, index, rm);
	if (memory)
		put_mem(e->c, reg, e->mem);
	else if (i->has_modrm)
		put8(e->c, 0xc0 | (reg & 7) << 3 | (rm & 7));
	if (i->nops == 4 && i->opnd[3].kind == X86_OPND_XMM)
		put8(e->c, (unsigned)i->opnd[3].reg << 4 | ((unsigned)i->imm & 15));
	else
		put_bytes(e->c, e->n->bytes + e->n->tail, i->len - e->n->tail);
}

/*
 * What must be aligned and is not is interpret's to raise. The host tells by a fault of its
 * own, but AMD's do not for SHA1MSG2 and its kin. Before a page fault: see slow_access.
 */
static void check_alignment(struct emitter *e, unsigned size)
{
	need_flags_in_memory(e);
	if (e->flags != IN_RECIPE)
		e->flags = IN_MEMORY;
	address_to_t0(e);
	put_rr(e->c, (struct opcode){.byte = 0xf6, .byte_regs = true}, 0, T0);
	put8(e->c, size - 1);
	exit_odd(e, jcc_forward(e->c, CC_NZ));
}

void emit_vector(struct emitter *e)
{
	const struct x86_insn *i = &e->n->i;
	const struct x86_insn_desc *d = &x86_insn_table[i->entry];
	unsigned rex = i->mode == X86_MODE_64 ? i->rex : 0, host;
	unsigned reg = (i->modrm >> 3 & 7) | (rex & 4) << 1, rm = (i->modrm & 7) | (rex & 1) << 3;
	const struct x86_operand *m = reach_memory(e);
	bool aligned = m && m->size >= 16 && must_be_aligned(i);
	bool by_host = aligned && i->map == X86_MAP_0F, is_rm = false;
	const struct x86_operand *g = gpr_of(i, &is_rm);

	if (aligned && !by_host)
		check_alignment(e, m->size);
	if (g) {
		host = home(g->reg);
		if (host == SPILLED) {
			host = T1;
			load64(e->c, T1, in_state(GPR(g->reg)));
		}
		*(is_rm ? &rm : &reg) = host;
	}
	put_vector(e, reg, rm);
	if (by_host)
		exit_at_fault(e);
	if (g && home(g->reg) == SPILLED && d->access[g - i->opnd] & 2)
		store64(e->c, in_state(GPR(g->reg)), T1);
	note_new_flags(e);
}

/* Read once, since another vCPU may write: what is reserved or unmasks is interpret's. */
void emit_mxcsr(struct emitter *e)
{
	struct code *c = e->c;

	reach_memory(e);
	if (!loads_mxcsr(&e->n->i)) {
		put_rm(c, OP_0F(0xae), 3, e->mem);
		return;
	}
	need_flags_in_memory(e);
	if (e->flags != IN_RECIPE)
		e->flags = IN_MEMORY;
	put_rm(c, OP(0x8b), T1, e->mem);
	put_rm(c, OP(0x89), T1, in_state(STATE(scratch)));
	alu_imm32(c, false, 6, T1, MXCSR_MASKS);
	put_rr(c, OP(0xf7), 0, T1); /* test */
	put32(c, ~MXCSR_MASK | MXCSR_MASKS);
	exit_odd(e, jcc_forward(c, CC_NZ));
	put_rm(c, OP_0F(0xae), 2, in_state(STATE(scratch)));
}
