/*
 * base.c - RDFSBASE, RDGSBASE, WRFSBASE and WRGSBASE, of which Linux executes five
 * at every switch of tasks.
 *
 * Where CR4.FSGSBASE is clear, or the base is not canonical, interpret raises the
 * fault. Source: SDM vol. 2B.
 */
#include "engine/translate/internal.h"

bool is_base(const struct x86_insn *i)
{
	return i->op == X86_OP_RDFSBASE || i->op == X86_OP_RDGSBASE || i->op == X86_OP_WRFSBASE ||
	       i->op == X86_OP_WRGSBASE;
}

static bool writes_base(const struct x86_insn *i)
{
	return i->op == X86_OP_WRFSBASE || i->op == X86_OP_WRGSBASE;
}

static unsigned segment_of(const struct x86_insn *i)
{
	return i->op == X86_OP_RDFSBASE || i->op == X86_OP_WRFSBASE ? X86_FS : X86_GS;
}

static struct mem base_of(unsigned seg)
{
	return in_state(STATE(c.s.seg) + seg * (uint32_t)sizeof(struct x86_seg) +
			(uint32_t)offsetof(struct x86_seg, base));
}

/* The same for interpret's accesses. */
static struct mem window_of(unsigned seg)
{
	return in_state(STATE(c.window) + seg * (uint32_t)sizeof(struct window) +
			(uint32_t)offsetof(struct window, base));
}

static struct opcode sized(const struct x86_operand *o, uint8_t byte)
{
	return (struct opcode){.byte = byte, .w = o->size == 8};
}

static void emit_read(struct emitter *e, const struct x86_operand *to, unsigned seg)
{
	bool spilled = home(to->reg) == SPILLED;

	put_rm(e->c, sized(to, 0x8b), spilled ? T1 : home(to->reg), base_of(seg));
	if (spilled)
		store64(e->c, in_state(GPR(to->reg)), T1);
}

static void emit_write(struct emitter *e, const struct x86_operand *from, unsigned seg)
{
	struct code *c = e->c;

	if (home(from->reg) == SPILLED)
		put_rm(c, sized(from, 0x8b), T0, in_state(GPR(from->reg)));
	else
		put_rr(c, sized(from, 0x8b), T0, home(from->reg));
	mov_rr(c, T1, T0);
	shift_imm(c, true, 4, T1, 16);
	shift_imm(c, true, 7, T1, 16);
	put_rr(c, OP_W(0x3b), T1, T0);
	exit_odd(e, jcc_forward(c, CC_NZ));
	store64(c, base_of(seg), T0);
	store64(c, window_of(seg), T0);
}

void emit_base(struct emitter *e)
{
	const struct x86_insn *i = &e->n->i;

	need_flags_in_memory(e);
	e->flags = IN_MEMORY;
	put_rm(e->c, OP(0xf7), 0, in_state(STATE(c.s.cr4)));
	put32(e->c, X86_CR4_FSGSBASE);
	exit_odd(e, jcc_forward(e->c, CC_Z));
	if (writes_base(i))
		emit_write(e, &i->opnd[0], segment_of(i));
	else
		emit_read(e, &i->opnd[0], segment_of(i));
}
