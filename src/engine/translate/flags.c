/*
 * flags.c - flags that only a fault could show are not saved: they are computed
 * again if a fault happens.
 *
 * Between an instruction that sets the flags and the next one that sets them
 * all, accesses to memory would have to save them first, since the check of
 * the fast TLB needs the host's. If nothing else looks at them, the access notes a recipe
 * instead: the operands are still there at every such access, or the instruction stores
 * them beforehand (tcpu.kept), which costs less than LAHF and SETO.
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
	case KIND_X87:
		return i->op == X86_OP_FNSTSW ? 1u << X86_RAX : 0;
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

static uint32_t operands(const struct x86_insn *i)
{
	uint32_t mask = 1u << i->opnd[0].reg;

	return i->opnd[1].kind == X86_OPND_GPR ? mask | 1u << i->opnd[1].reg : mask;
}

/* It changes some flags, or all only sometimes, as shifts by CL do: it needs the others. */
static bool changes_some(const struct tinsn *n)
{
	const struct x86_insn_desc *d = &x86_insn_table[n->i.entry];

	return (d->flags_written | d->flags_undefined) & X86_FLAGS_ARITH &&
	       n->writes != X86_FLAGS_ARITH;
}

/* At all accesses from behind `from` to the instruction that sets all flags anew. */
static bool operands_last(const struct emitter *e, const struct tinsn *from)
{
	const struct tinsn *n = from + 1, *end = &e->s->insn[e->s->count];
	uint32_t need = operands(&from->i);
	bool kept = true;

	for (; n < end; n++) {
		if (n->accesses && !kept)
			return false;
		if (n->writes == X86_FLAGS_ARITH)
			return true;
		if (changes_some(n))
			return false;
		kept = kept && !(changes(n) & need);
	}
	return false;
}

/* ---- operands that are stored ---- */

/* It looks into the TLB, unless its group has done so. */
static bool may_look(const struct emitter *e, unsigned at)
{
	const struct tinsn *n = &e->s->insn[at];
	unsigned which = e->member[at][0];

	return n->accesses && (which == NO_GROUP || !e->group[which].open ||
				      (n->kind != KIND_COPY && n->kind != KIND_VECTOR));
}

/* Flags from before `at` are lost, by an access that nothing but a fault sees them at. */
static bool will_be_lost(const struct emitter *e, unsigned at)
{
	bool lost = false;

	for (; at < e->s->count; at++) {
		const struct tinsn *n = &e->s->insn[at];

		if (!lost && may_look(e, at)) {
			if (n->real)
				return false;
			lost = true;
		}
		if (n->writes == X86_FLAGS_ARITH)
			return lost;
		if (changes_some(n))
			return false;
	}
	return false;
}

bool stores_operands(const struct emitter *e)
{
	const struct x86_insn *i = &e->n->i;
	const struct x86_operand *a = &i->opnd[0], *b = &i->opnd[1];

	if (!i->has_modrm || i->nops != 2 || a->high || b->high || e->n->writes != X86_FLAGS_ARITH)
		return false;
	switch (i->op) {
	case X86_OP_CMP:
	case X86_OP_TEST:
		break;
	case X86_OP_ADD:
	case X86_OP_SUB:
	case X86_OP_AND:
	case X86_OP_OR:
	case X86_OP_XOR:
		if (a->kind != X86_OPND_GPR)
			return false;
		break;
	case X86_OP_SHL:
	case X86_OP_SHR:
	case X86_OP_SAR:
		if (a->kind != X86_OPND_GPR || b->kind != X86_OPND_IMM)
			return false;
		break;
	default:
		return false;
	}
	return will_be_lost(e, e->at + 1) && !(has_recipe(e->n) && operands_last(e, e->n));
}

/* ---- recipes ---- */

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
	bool stored = e->kept == e->producer;

	if (e->producer == NONE || e->n->real)
		return false;
	from = &e->s->insn[e->producer];
	if (!stored && !(has_recipe(from) && operands_last(e, from)))
		return false;
	if (++t->recipes % RECIPES == 0)
		t->recipes++;
	t->recipe[t->recipes % RECIPES] = (struct recipe){.op = from->i.op,
		.stored = stored,
		.size = from->i.opnd[0].size,
		.a = from->i.opnd[0].reg,
		.b = from->i.opnd[1].kind == X86_OPND_IMM ? NOREG : from->i.opnd[1].reg,
		.imm = (int32_t)from->i.imm};
	return true;
}

/* What it was is told by the result, or does not matter. */
static uint64_t first_operand(const struct recipe *r, uint64_t result, uint64_t b)
{
	return r->op == X86_OP_ADD ? result - b : r->op == X86_OP_SUB ? result + b : result;
}

static void flags_of_shift(struct cpu *c, unsigned op, uint64_t a, unsigned count, unsigned size)
{
	uint64_t mask = size_mask(size);
	int64_t wide = (int64_t)(a << (64 - 8 * size)) >> (64 - 8 * size);

	count &= size == 8 ? 63 : 31;
	switch (op) {
	case X86_OP_SHL:
		set_szp(c, a << count & mask, size);
		set_flag(c, X86_CF, count <= 8 * size && a >> (8 * size - count) & 1);
		set_flag(c, X86_OF, (a << count >> (8 * size - 1) ^ c->s.rflags) & 1);
		break;
	case X86_OP_SHR:
		set_szp(c, a >> count, size);
		set_flag(c, X86_CF, a >> (count - 1) & 1);
		set_flag(c, X86_OF, sign(a, size));
		break;
	default:
		set_szp(c, (uint64_t)(wide >> count) & mask, size);
		set_flag(c, X86_CF, wide >> (count - 1) & 1);
	}
}

static void flags_of(struct cpu *c, const struct recipe *r, uint64_t a, uint64_t b)
{
	uint64_t mask = size_mask(r->size);

	switch (r->op) {
	case X86_OP_ADD:
		flags_of_sum(c, a, b, (a + b) & mask, r->size);
		break;
	case X86_OP_SUB:
	case X86_OP_CMP:
		flags_sub(c, a, b, 0, r->size);
		break;
	case X86_OP_SHL:
	case X86_OP_SHR:
	case X86_OP_SAR:
		flags_of_shift(c, r->op, a, (unsigned)b, r->size);
		break;
	case X86_OP_OR:
		set_szp(c, a | b, r->size);
		break;
	case X86_OP_XOR:
		set_szp(c, a ^ b, r->size);
		break;
	default:
		set_szp(c, a & b, r->size);
	}
}

/* The flags of the instruction, from its operands, or its result and what is left of them. */
void rebuild_flags(struct tcpu *t, unsigned which)
{
	const struct recipe *r = &t->recipe[which];
	struct cpu *c = &t->c;
	uint64_t mask = size_mask(r->size);
	uint64_t a = r->stored ? t->kept[0] : c->s.gpr[r->a];
	uint64_t b = r->b == NOREG ? (uint64_t)(int64_t)r->imm
		     : r->stored   ? t->kept[1]
				   : c->s.gpr[r->b];

	c->s.rflags &= ~(uint64_t)X86_FLAGS_ARITH;
	if (r->stored)
		flags_of(c, r, a & mask, b & mask);
	else if (r->op == X86_OP_AND || r->op == X86_OP_OR || r->op == X86_OP_XOR)
		set_szp(c, a & mask, r->size);
	else
		flags_of(c, r, first_operand(r, a, b) & mask, b & mask);
	flags_to_memory(t);
}
