/*
 * flags.c - flags that only a fault could show are not saved: they are computed
 * again if a fault happens.
 *
 * Between an instruction that sets the flags and the next one that sets them
 * all, accesses to memory would have to save them first, since the check of
 * the fast TLB needs the host's. If nothing else looks at them, and the operands
 * are still there at every such access, the access notes a recipe instead.
 */
#include "engine/translate/internal.h"

static bool simple_register(const struct x86_operand *o)
{
	return o->kind == X86_OPND_GPR && o->size >= 4;
}

/* What sets flags that follow from its result and what is left of its operands. */
static bool has_recipe(const struct tinsn *n)
{
	const struct x86_insn *i = &n->i;
	const struct x86_operand *a = &i->opnd[0], *b = &i->opnd[1];

	if (n->kind != KIND_COPY || i->nops != 2 || !simple_register(a))
		return false;
	if (b->kind != X86_OPND_IMM && !simple_register(b))
		return false;
	switch (i->op) {
	case X86_OP_ADD:
	case X86_OP_SUB:
		return b->kind == X86_OPND_IMM || a->reg != b->reg;
	case X86_OP_CMP:
	case X86_OP_TEST:
	case X86_OP_AND:
	case X86_OP_OR:
	case X86_OP_XOR:
		return true;
	default:
		return false;
	}
}

/* Registers that n changes; all of them where that is not plain to see. */
static uint32_t changes(const struct tinsn *n)
{
	const struct x86_insn *i = &n->i;
	const uint32_t all = ~0u, sp = 1u << X86_RSP;
	uint32_t mask = 0;

	switch (n->kind) {
	case KIND_PUSH:
		return sp;
	case KIND_POP:
		return sp | 1u << i->opnd[0].reg;
	case KIND_NOP:
	case KIND_JCC:
		return 0;
	case KIND_LEA:
		return 1u << i->opnd[0].reg;
	case KIND_COPY:
		break;
	default:
		return all;
	}
	switch (i->op) {
	case X86_OP_MOV:
	case X86_OP_MOVZX:
	case X86_OP_MOVSX:
	case X86_OP_MOVSXD:
	case X86_OP_ADD:
	case X86_OP_SUB:
	case X86_OP_AND:
	case X86_OP_OR:
	case X86_OP_XOR:
	case X86_OP_CMP:
	case X86_OP_TEST:
		if (i->opnd[0].kind == X86_OPND_GPR)
			mask = 1u << i->opnd[0].reg;
		return mask;
	default:
		return all;
	}
}

/* An access of it that fails goes by the slow path alone. */
static bool only_slow(const struct emitter *e, const struct tinsn *n)
{
	return n->kind != KIND_VECTOR && !is_division(&n->i) && (wide(e) || n->i.mem.seg < X86_FS);
}

static uint32_t operands(const struct x86_insn *i)
{
	uint32_t mask = 1u << i->opnd[0].reg;

	return i->opnd[1].kind == X86_OPND_GPR ? mask | 1u << i->opnd[1].reg : mask;
}

/* From the present instruction to the one that sets all flags anew. */
static bool kept_until_set(const struct emitter *e)
{
	const struct tinsn *from = &e->s->insn[e->producer], *n = from + 1;
	const struct tinsn *end = &e->s->insn[e->s->count];
	uint32_t need = operands(&from->i);
	bool kept = true;

	for (; n < end; n++) {
		if (n->accesses && (!kept || !only_slow(e, n)))
			return false;
		if (n->writes == X86_FLAGS_ARITH)
			return true;
		if (n->writes)
			return false;
		kept = kept && !(changes(n) & need);
	}
	return false;
}

static void flags_of_sum(struct cpu *c, uint64_t a, uint64_t b, uint64_t sum, unsigned size)
{
	set_szp(c, sum, size);
	set_flag(c, X86_CF, sum < a);
	set_flag(c, X86_AF, (a ^ b ^ sum) & 0x10);
	set_flag(c, X86_OF, sign((a ^ sum) & (b ^ sum), size));
}

bool flags_can_be_lost(struct emitter *e)
{
	const struct tinsn *from;
	struct tcpu *t = e->t;

	if (e->producer == NONE || e->n->real)
		return false;
	from = &e->s->insn[e->producer];
	if (!has_recipe(from) || !kept_until_set(e))
		return false;
	if (++t->recipes % RECIPES == 0)
		t->recipes++;
	t->recipe[t->recipes % RECIPES] = (struct recipe){.op = from->i.op,
		.size = from->i.opnd[0].size,
		.a = from->i.opnd[0].reg,
		.b = from->i.opnd[1].kind == X86_OPND_GPR ? from->i.opnd[1].reg : NOREG,
		.imm = (int32_t)from->i.imm};
	return true;
}

/* The flags of the instruction, from its result and what is left of its operands. */
void rebuild_flags(struct tcpu *t, unsigned which)
{
	const struct recipe *r = &t->recipe[which];
	struct cpu *c = &t->c;
	uint64_t mask = size_mask(r->size), a = c->s.gpr[r->a] & mask;
	uint64_t b = (r->b == NOREG ? (uint64_t)(int64_t)r->imm : c->s.gpr[r->b]) & mask;

	c->s.rflags &= ~(uint64_t)X86_FLAGS_ARITH;
	switch (r->op) {
	case X86_OP_ADD: /* a - b was the operand */
		flags_of_sum(c, (a - b) & mask, b, a, r->size);
		break;
	case X86_OP_SUB:
		flags_sub(c, (a + b) & mask, b, 0, r->size);
		break;
	case X86_OP_CMP:
		flags_sub(c, a, b, 0, r->size);
		break;
	case X86_OP_TEST:
		set_szp(c, a & b, r->size);
		break;
	default:
		set_szp(c, a, r->size);
	}
	flags_to_memory(t);
}
