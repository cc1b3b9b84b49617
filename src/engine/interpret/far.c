/*
 * far.c - far jumps, calls and returns: call gates, rings, IRET.
 * Source: SDM vol. 2 (JMP, CALL, RET, IRET); vol. 3A 5.8, 7.2, 7.3, 20.2.
 */
#include "engine/interpret/cpu.h"

/* ---- stacks of other rings ---- */

/* SDM vol. 3A 7.2.1 and 7.7: where the TSS keeps them. */
static uint64_t inner_rsp(struct cpu *c, unsigned at, uint32_t ext)
{
	const struct x86_seg *tr = &c->s.seg[X86_TR];
	uint64_t sp;

	if (tr->attr & X86_ATTR_UNUSABLE || at + 7 > tr->limit)
		raise_error(c, X86_TS, error_of(tr->sel) | ext);
	sp = load_system(c, tr->base + at, 8);
	if (!is_canonical(sp))
		raise_error(c, X86_SSV, ext);
	return sp;
}

struct x86_seg inner_stack(
	struct cpu *c, unsigned new_cpl, unsigned ist, uint32_t ext, uint64_t *sp)
{
	const struct x86_seg *tr = &c->s.seg[X86_TR];
	bool wide = tr->attr & 8;
	uint32_t at = wide ? 4 + new_cpl * 8 : 2 + new_cpl * 4;
	uint16_t sel;

	if (long_mode(c)) {
		*sp = inner_rsp(c, ist ? 28 + ist * 8 : 4 + new_cpl * 8, ext);
		return null_segment((uint16_t)new_cpl, new_cpl);
	}
	if (tr->attr & X86_ATTR_UNUSABLE || at + (wide ? 5 : 3) > tr->limit)
		raise_error(c, X86_TS, error_of(tr->sel) | ext);
	*sp = load_system(c, tr->base + at, wide ? 4 : 2);
	sel = (uint16_t)load_system(c, tr->base + at + (wide ? 4 : 2), 2);
	return check_stack(c, sel, new_cpl, X86_TS);
}

void try_stack(struct cpu *c, const struct x86_seg *ss, unsigned new_cpl, enum x86_mode mode)
{
	c->old_ss = c->s.seg[X86_SS];
	c->undo_ss = true;
	c->s.seg[X86_SS] = *ss;
	c->cpl = (uint8_t)new_cpl;
	c->mode = (uint8_t)mode;
	c->privilege = new_cpl == 3 ? X86_USER : X86_SUPERVISOR_AC;
	c->align_check = false;
}

void keep_stack(struct cpu *c, uint64_t sp)
{
	stack_commit(c, sp);
	c->undo_ss = false;
}

/* ---- jumps and calls ---- */

void check_target(struct cpu *c, const struct x86_seg *cs, uint64_t rip, uint32_t error)
{
	bool wide = long_mode(c) && cs->attr & X86_ATTR_L;

	if (wide ? !is_canonical(rip) : rip > cs->limit)
		raise_error(c, X86_GP, error);
}

struct far_target {
	uint64_t off;
	uint16_t sel;
};

static struct far_target far_target(struct cpu *c, const struct x86_insn *i)
{
	struct far_target t = {(uint64_t)i->imm & size_mask(i->opsize), (uint16_t)i->imm2};
	uint64_t off;

	if (i->opnd[0].kind == X86_OPND_MEM) {
		off = address(c, i, &i->mem);
		t.off = load(c, i->mem.seg, off, i->opsize);
		t.sel = (uint16_t)load(
			c, i->mem.seg, (off + i->opsize) & size_mask(i->addrsize), 2);
	}
	return t;
}

static void enter(struct cpu *c, const struct x86_seg *cs, uint64_t rip)
{
	c->s.seg[X86_CS] = *cs;
	c->next_rip = rip;
}

static void call_same_ring(struct cpu *c, unsigned size, const struct x86_seg *cs, uint64_t rip)
{
	uint64_t sp = stack_pointer(c);

	push_at(c, &sp, size, c->s.seg[X86_CS].sel);
	push_at(c, &sp, size, c->next_rip);
	stack_commit(c, sp);
	enter(c, cs, rip);
}

/* ---- call gates (SDM vol. 3A 5.8.3 to 5.8.5) ---- */

#define GATE_CALL16 4u
#define GATE_TASK   5u
#define GATE_CALL   12u

struct call_gate {
	uint64_t off;
	uint16_t sel;
	unsigned size, params;
};

static struct call_gate read_gate(struct cpu *c, uint16_t sel, uint64_t raw)
{
	struct call_gate g = {.sel = (uint16_t)(raw >> 16), .params = raw >> 32 & 31};
	uint64_t upper;

	if (!(raw >> 47 & 1))
		raise_error(c, X86_NP, error_of(sel));
	g.size = (raw >> 40 & 15) == GATE_CALL16 ? 2 : 4;
	g.off = (raw & 0xffff) | (g.size == 4 ? raw >> 32 & 0xffff0000 : 0);
	if (!long_mode(c))
		return g;
	upper = fetch_descriptor(c, (uint16_t)(sel + 8), X86_GP);
	if (upper >> 40 & 0x1f)
		raise_error(c, X86_GP, error_of(sel));
	g.off |= upper << 32;
	g.size = 8;
	g.params = 0;
	return g;
}

/* The code segment that a gate names; *new_cpl: where it runs. */
static struct x86_seg gate_code(struct cpu *c, uint16_t sel, bool call, unsigned *new_cpl)
{
	struct x86_seg s;
	bool conforming;

	if (is_null(sel))
		raise_error(c, X86_GP, 0);
	s = unpack_segment(sel, fetch_descriptor(c, sel, X86_GP));
	conforming = s.attr & TYPE_CONFORMING;
	if (!(s.attr & X86_ATTR_S) || !(s.attr & TYPE_CODE) || dpl(&s) > cpl(c) ||
		(!call && !conforming && dpl(&s) != cpl(c)))
		raise_error(c, X86_GP, error_of(sel));
	if (long_mode(c) && (s.attr & (X86_ATTR_L | X86_ATTR_DB)) != X86_ATTR_L)
		raise_error(c, X86_GP, error_of(sel));
	if (!(s.attr & X86_ATTR_P))
		raise_error(c, X86_NP, error_of(sel));
	mark_accessed(c, &s);
	*new_cpl = conforming ? cpl(c) : dpl(&s);
	s.sel = (uint16_t)(error_of(sel) | *new_cpl);
	return s;
}

/* The parameters are read from the old stack before anything is pushed. */
static void call_inner(
	struct cpu *c, const struct call_gate *g, const struct x86_seg *cs, unsigned new_cpl)
{
	uint64_t param[31], old_sp = stack_pointer(c), rsp = c->s.gpr[X86_RSP], sp;
	uint16_t old_sel = c->s.seg[X86_SS].sel;
	struct x86_seg ss = inner_stack(c, new_cpl, 0, 0, &sp);

	for (unsigned n = 0; n < g->params; n++)
		param[n] = pop_at(c, &old_sp, g->size);
	try_stack(c, &ss, new_cpl, long_mode(c) ? X86_MODE_64 : c->mode);
	push_at(c, &sp, g->size, old_sel);
	push_at(c, &sp, g->size, rsp);
	for (unsigned n = g->params; n--;)
		push_at(c, &sp, g->size, param[n]);
	push_at(c, &sp, g->size, c->s.seg[X86_CS].sel);
	push_at(c, &sp, g->size, c->next_rip);
	keep_stack(c, sp);
	enter(c, cs, g->off);
}

static void through_gate(struct cpu *c, uint16_t sel, uint64_t raw, bool call)
{
	struct call_gate g = read_gate(c, sel, raw);
	unsigned new_cpl;
	struct x86_seg cs = gate_code(c, g.sel, call, &new_cpl);

	check_target(c, &cs, g.off, 0);
	if (!call)
		enter(c, &cs, g.off);
	else if (new_cpl < cpl(c))
		call_inner(c, &g, &cs, new_cpl);
	else
		call_same_ring(c, g.size, &cs, g.off);
}

/* What else than code a far pointer may name. */
static void through_system(struct cpu *c, uint16_t sel, uint64_t raw, bool call)
{
	struct x86_seg s = unpack_segment(sel, raw);
	unsigned type = s.attr & X86_ATTR_TYPE;
	enum task_switch why = call ? TASK_CALL : TASK_JMP;

	if (dpl(&s) < cpl(c) || dpl(&s) < (sel & 3u))
		raise_error(c, X86_GP, error_of(sel));
	if (type == GATE_CALL || (type == GATE_CALL16 && !long_mode(c))) {
		through_gate(c, sel, raw, call);
	} else if (type == GATE_TASK && !long_mode(c)) {
		if (!(s.attr & X86_ATTR_P))
			raise_error(c, X86_NP, error_of(sel));
		task_switch(c, (uint16_t)(raw >> 16), why, c->next_rip, NULL, 0);
	} else if ((type == 1 || type == 9) && !long_mode(c)) {
		task_switch(c, sel, why, c->next_rip, NULL, 0);
	} else {
		raise_error(c, X86_GP, error_of(sel));
	}
}

static void far_transfer(struct cpu *c, const struct x86_insn *i, bool call)
{
	struct far_target t = far_target(c, i);
	struct x86_seg cs;
	uint64_t raw;

	if (protected_mode(c)) {
		if (is_null(t.sel))
			raise_error(c, X86_GP, 0);
		raw = fetch_descriptor(c, t.sel, X86_GP);
		if (!(raw >> 44 & 1)) {
			through_system(c, t.sel, raw, call);
			return;
		}
		cs = check_code(c, t.sel, cpl(c), false, X86_GP);
	} else {
		cs = check_segment(c, X86_CS, t.sel);
	}
	check_target(c, &cs, t.off, 0);
	if (call)
		call_same_ring(c, i->opsize, &cs, t.off);
	else
		enter(c, &cs, t.off);
}

void op_JMPF(struct cpu *c, const struct x86_insn *i)
{
	far_transfer(c, i, false);
}

void op_CALLF(struct cpu *c, const struct x86_insn *i)
{
	far_transfer(c, i, true);
}

/* ---- returns ---- */

/*
 * After a return to an outer ring, data segments of the inner one are emptied
 * (SDM 5.8.6). In long mode the base stays, and may be in use.
 */
static void drop_inner_segments(struct cpu *c, unsigned new_cpl)
{
	static const uint8_t list[] = {X86_ES, X86_DS, X86_FS, X86_GS};

	for (unsigned n = 0; n < sizeof(list); n++) {
		struct x86_seg *s = &c->s.seg[list[n]];
		bool conforming =
			(s->attr & (TYPE_CODE | TYPE_CONFORMING)) == (TYPE_CODE | TYPE_CONFORMING);

		if (s->attr & X86_ATTR_UNUSABLE)
			s->sel = 0; /* a null selector loses its RPL */
		else if (!conforming && dpl(s) < new_cpl)
			*s = (struct x86_seg){
				.base = long_mode(c) ? s->base : 0, .attr = X86_ATTR_UNUSABLE};
	}
}

static struct x86_seg return_stack(
	struct cpu *c, uint16_t sel, unsigned new_cpl, const struct x86_seg *cs)
{
	bool wide = long_mode(c) && cs->attr & X86_ATTR_L;

	if (is_null(sel) && wide && new_cpl < 3 && (sel & 3u) == new_cpl)
		return null_segment(sel, new_cpl);
	return check_stack(c, sel, new_cpl, X86_GP);
}

/* sp stands at the outer stack pointer. */
static void return_outward(struct cpu *c, const struct x86_insn *i, uint64_t sp,
	const struct x86_seg *cs, uint64_t rip, uint64_t release)
{
	unsigned new_cpl = cs->sel & 3;
	uint64_t new_sp = pop_at(c, &sp, i->opsize);
	uint16_t sel = (uint16_t)pop_at(c, &sp, i->opsize);
	struct x86_seg ss = return_stack(c, sel, new_cpl, cs);
	bool wide = long_mode(c) && cs->attr & X86_ATTR_L;

	check_target(c, cs, rip, 0);
	enter(c, cs, rip);
	c->s.seg[X86_SS] = ss;
	set_gpr(c, X86_RSP, wide ? 8 : ss.attr & X86_ATTR_DB ? 4 : 2, new_sp + release);
	if (new_cpl > cpl(c))
		drop_inner_segments(c, new_cpl);
}

static struct x86_seg return_code(struct cpu *c, uint16_t sel, unsigned *new_cpl)
{
	*new_cpl = protected_mode(c) ? sel & 3 : cpl(c);
	if (!protected_mode(c))
		return check_segment(c, X86_CS, sel);
	if (is_null(sel))
		raise_error(c, X86_GP, 0);
	if (*new_cpl < cpl(c))
		raise_error(c, X86_GP, error_of(sel));
	return check_code(c, sel, *new_cpl, true, X86_GP);
}

static uint64_t stack_mask(const struct cpu *c)
{
	if (c->mode == X86_MODE_64)
		return UINT64_MAX;
	return c->s.seg[X86_SS].attr & X86_ATTR_DB ? 0xffffffff : 0xffff;
}

void op_RETF(struct cpu *c, const struct x86_insn *i)
{
	uint64_t sp = stack_pointer(c), rip = pop_at(c, &sp, i->opsize);
	uint16_t sel = (uint16_t)pop_at(c, &sp, i->opsize);
	uint64_t release = i->nops ? (uint64_t)i->imm & 0xffff : 0;
	unsigned new_cpl;
	struct x86_seg cs;

	/* CPUs read an outer stack pointer there before they look at the code segment. */
	if (protected_mode(c) && !long_mode(c) && (i->nops || (sel & 3u) > cpl(c)))
		load(c, X86_SS, (sp + release) & stack_mask(c), i->opsize * 2);
	cs = return_code(c, sel, &new_cpl);
	if (new_cpl > cpl(c)) {
		return_outward(c, i, (sp + release) & stack_mask(c), &cs, rip, release);
		return;
	}
	check_target(c, &cs, rip, 0);
	stack_commit(c, sp + release);
	enter(c, &cs, rip);
}

/* ---- IRET ---- */

static uint64_t iret_flags(struct cpu *c, const struct x86_insn *i, uint64_t value)
{
	uint64_t mask = X86_FLAGS_ARITH | X86_TF | X86_DF | X86_NT;

	if (has_virtual_flags(c, i)) {
		check_virtual_flags(c, value);
		mask |= X86_VIF;
		value |= value & X86_IF ? X86_VIF : 0;
	}
	if (i->opsize >= 4)
		mask |= X86_RF | X86_AC | X86_ID;
	if (cpl(c) == 0)
		mask |= X86_IOPL | (i->opsize >= 4 ? X86_VIF | X86_VIP : 0);
	if (cpl(c) <= (c->s.rflags >> 12 & 3))
		mask |= X86_IF;
	return (c->s.rflags & ~mask) | (value & mask) | X86_FLAGS_FIXED;
}

/* To virtual-8086 mode (SDM vol. 3A 20.2.5): rIP, CS and flags are popped already. */
static void return_to_v86(struct cpu *c, uint64_t sp, uint64_t rip, uint16_t cs, uint64_t flags)
{
	static const uint8_t order[] = {X86_ES, X86_DS, X86_FS, X86_GS};
	uint64_t esp = pop_at(c, &sp, 4);
	uint16_t ss = (uint16_t)pop_at(c, &sp, 4), sel[4];
	const uint32_t attr = 0xf3; /* present, ring 3, writable data, accessed */

	for (unsigned n = 0; n < 4; n++)
		sel[n] = (uint16_t)pop_at(c, &sp, 4);
	if (rip > 0xffff)
		raise_error(c, X86_GP, 0);
	for (unsigned n = 0; n < 4; n++)
		c->s.seg[order[n]] = (struct x86_seg){(uint64_t)sel[n] << 4, 0xffff, attr, sel[n]};
	c->s.seg[X86_SS] = (struct x86_seg){(uint64_t)ss << 4, 0xffff, attr, ss};
	c->s.seg[X86_CS] = (struct x86_seg){(uint64_t)cs << 4, 0xffff, attr, cs};
	c->s.gpr[X86_RSP] = esp;
	c->s.rflags = (flags & 0x3f7fd7) | X86_FLAGS_FIXED;
	c->next_rip = rip;
}

static void return_from_task(struct cpu *c)
{
	uint16_t link;

	if (long_mode(c))
		raise_error(c, X86_GP, 0);
	link = (uint16_t)load_system(c, c->s.seg[X86_TR].base, 2);
	task_switch(c, link, TASK_IRET, c->next_rip, NULL, 0);
}

static void iret_protected(
	struct cpu *c, const struct x86_insn *i, uint64_t sp, uint64_t rip, uint16_t sel)
{
	uint64_t flags = pop_at(c, &sp, i->opsize);
	unsigned new_cpl;
	struct x86_seg cs;

	if (protected_mode(c) && !long_mode(c) && i->opsize == 4 && flags & X86_VM && !cpl(c)) {
		return_to_v86(c, sp, rip, sel, flags);
		return;
	}
	cs = return_code(c, sel, &new_cpl);
	flags = iret_flags(c, i, flags);
	if (new_cpl > cpl(c) || c->mode == X86_MODE_64) {
		return_outward(c, i, sp, &cs, rip, 0);
	} else {
		check_target(c, &cs, rip, 0);
		stack_commit(c, sp);
		enter(c, &cs, rip);
	}
	c->s.rflags = flags;
}

void op_IRET(struct cpu *c, const struct x86_insn *i)
{
	uint64_t sp = stack_pointer(c), rip;
	uint16_t sel;

	has_virtual_flags(c, i);
	if (protected_mode(c) && flag(c, X86_NT)) {
		return_from_task(c);
	} else {
		rip = pop_at(c, &sp, i->opsize);
		sel = (uint16_t)pop_at(c, &sp, i->opsize);
		iret_protected(c, i, sp, rip, sel);
	}
	if (c->s.events.nmi_masked)
		vcpu_nmi_merge(c->v);
	c->s.events.nmi_masked = false;
}
