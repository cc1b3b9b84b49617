/*
 * exception.c - delivery of exceptions and interrupts, up to the triple fault.
 * Source: SDM vol. 3A 6.12 to 6.15 (protected mode), table 6-5 (double
 * faults), 20.1.4 (real mode). Left out: task gates, virtual-8086 mode.
 */
#include <stdio.h>
#include <string.h>

#include "engine/interpret/cpu.h"

#define EXT 1u /* error code: the event is not the program's own */
#define IDT 2u

_Noreturn void raise_fault(struct cpu *c, uint8_t vector)
{
	c->fault = (struct fault){.vector = vector};
	longjmp(c->leave, JUMP_FAULT);
}

_Noreturn void raise_error(struct cpu *c, uint8_t vector, uint32_t error)
{
	c->fault = (struct fault){vector, true, error};
	longjmp(c->leave, JUMP_FAULT);
}

_Noreturn void raise_fatal(struct cpu *c, const char *why)
{
	snprintf(c->result->why, sizeof(c->result->why), "%s (at %04x:%08llx)", why,
		c->s.seg[X86_CS].sel, (unsigned long long)c->s.rip);
	longjmp(c->leave, JUMP_FATAL);
}

/* ---- real mode ---- */

static void deliver_real(struct cpu *c, uint8_t vector, uint64_t rip)
{
	uint64_t sp = stack_pointer(c), entry;

	if (vector * 4u + 3 > c->s.idtr.limit)
		raise_error(c, X86_GP, vector * 8u | IDT | EXT);
	entry = load_linear(c, c->s.idtr.base + vector * 4u, 4);
	push_at(c, &sp, 2, c->s.rflags);
	push_at(c, &sp, 2, c->s.seg[X86_CS].sel);
	push_at(c, &sp, 2, rip);
	stack_commit(c, sp);
	c->s.rflags &= ~(uint64_t)(X86_IF | X86_TF | X86_AC | X86_RF);
	c->s.seg[X86_CS] = check_segment(c, X86_CS, (uint16_t)(entry >> 16));
	c->s.rip = entry & 0xffff;
}

/* ---- protected mode ---- */

struct gate {
	unsigned type, dpl, size; /* size of what is pushed: 2 or 4 */
	uint16_t sel;
	uint64_t off;
};

static struct gate read_gate(struct cpu *c, uint8_t vector, bool soft)
{
	uint32_t error = vector * 8u | IDT | (soft ? 0 : EXT);
	uint64_t raw;
	struct gate g;

	if (vector * 8u + 7 > c->s.idtr.limit)
		raise_error(c, X86_GP, error);
	raw = load_linear(c, c->s.idtr.base + vector * 8u, 8);
	g.type = raw >> 40 & 0x1f;
	g.dpl = raw >> 45 & 3;
	g.size = g.type & 8 ? 4 : 2;
	g.sel = (uint16_t)(raw >> 16);
	g.off = (raw & 0xffff) | (g.size == 4 ? raw >> 32 & 0xffff0000 : 0);
	if (g.type == 5)
		raise_fatal(
			c, "the guest uses a task gate, which engine interpret does not do yet");
	if ((g.type & 0x16) != 6 || (soft && g.dpl < cpl(c)))
		raise_error(c, X86_GP, error);
	if (!(raw >> 47 & 1))
		raise_error(c, X86_NP, error);
	return g;
}

/* Code segment of a handler; *new_cpl is where it runs. */
static struct x86_seg handler_code(struct cpu *c, uint16_t sel, uint32_t ext, unsigned *new_cpl)
{
	uint32_t error = (sel & ~3u) | ext;
	struct x86_seg s;
	uint64_t raw;

	if (!(sel & ~3u))
		raise_error(c, X86_GP, ext);
	if (!read_descriptor(c, sel, &raw))
		raise_error(c, X86_GP, error);
	s = unpack_segment(sel, raw);
	if (!(s.attr & X86_ATTR_S) || !(s.attr & 8) || (s.attr >> 5 & 3) > cpl(c))
		raise_error(c, X86_GP, error);
	if (!(s.attr & X86_ATTR_P))
		raise_error(c, X86_NP, error);
	*new_cpl = s.attr & 4 ? cpl(c) : s.attr >> 5 & 3;
	s.sel = (uint16_t)((sel & ~3u) | *new_cpl);
	return s;
}

/* The inner ring's stack from the TSS (SDM 7.2.1). */
static struct x86_seg inner_stack(struct cpu *c, unsigned new_cpl, uint64_t *sp)
{
	const struct x86_seg *tr = &c->s.seg[X86_TR];
	bool wide = tr->attr & 8;
	uint32_t at = wide ? 4 + new_cpl * 8 : 2 + new_cpl * 4;

	if (tr->attr & X86_ATTR_UNUSABLE || at + (wide ? 5 : 3) > tr->limit)
		raise_error(c, X86_TS, tr->sel & ~3u);
	*sp = load_linear(c, tr->base + at, wide ? 4 : 2);
	return check_stack(
		c, (uint16_t)load_linear(c, tr->base + at + (wide ? 4 : 2), 2), new_cpl, X86_TS);
}

static void push_frame(
	struct cpu *c, const struct gate *g, uint64_t *sp, uint64_t rip, const struct fault *f)
{
	push_at(c, sp, g->size, c->s.rflags);
	push_at(c, sp, g->size, c->s.seg[X86_CS].sel);
	push_at(c, sp, g->size, rip);
	if (f->has_error)
		push_at(c, sp, g->size, f->error);
}

static void enter_handler(struct cpu *c, const struct gate *g, const struct x86_seg *cs)
{
	uint64_t off = X86_TF | X86_NT | X86_RF | X86_VM;

	if (!(g->type & 1)) /* an interrupt gate, not a trap gate */
		off |= X86_IF;
	c->s.rflags &= ~off;
	c->s.seg[X86_CS] = *cs;
	c->s.rip = g->off;
}

static void deliver_protected(struct cpu *c, const struct fault *f, bool soft, uint64_t rip)
{
	struct gate g = read_gate(c, f->vector, soft);
	unsigned new_cpl;
	struct x86_seg cs = handler_code(c, g.sel, soft ? 0 : EXT, &new_cpl),
		       old = c->s.seg[X86_SS];
	uint64_t sp = stack_pointer(c), old_sp = c->s.gpr[X86_RSP];

	if (g.off > cs.limit)
		raise_error(c, X86_GP, soft ? 0 : EXT);
	if (new_cpl < cpl(c)) {
		struct x86_seg ss = inner_stack(c, new_cpl, &sp);
		unsigned cells = f->has_error ? 6 : 5;
		uint64_t bottom = (sp - cells * g.size) & (ss.attr & X86_ATTR_DB ? ~0u : 0xffffu);

		if (bottom + cells * g.size - 1 > ss.limit)
			raise_error(c, X86_SSV, (ss.sel & ~3u) | (soft ? 0 : EXT));
		c->s.seg[X86_SS] = ss;
		push_at(c, &sp, g.size, old.sel);
		push_at(c, &sp, g.size, old_sp);
	}
	push_frame(c, &g, &sp, rip, f);
	stack_commit(c, sp);
	enter_handler(c, &g, &cs);
}

/* ---- both ---- */

void deliver(struct cpu *c, uint8_t vector, bool soft, bool has_error, uint32_t error, uint64_t rip)
{
	struct fault f = {vector, has_error, error};
	struct x86_seg ss = c->s.seg[X86_SS];

	if (protected_mode(c)) {
		jmp_buf outer;
		int why;

		/* A fault on the new stack leaves the old one in place. */
		memcpy(outer, c->leave, sizeof(outer));
		why = setjmp(c->leave);
		if (!why) {
			deliver_protected(c, &f, soft, rip);
			memcpy(c->leave, outer, sizeof(outer));
			return;
		}
		c->s.seg[X86_SS] = ss;
		memcpy(c->leave, outer, sizeof(outer));
		longjmp(c->leave, why);
	}
	deliver_real(c, vector, rip);
}

/* Table 6-4. */
enum { BENIGN, CONTRIBUTORY, PAGE_FAULT };

static unsigned class_of(uint8_t vector)
{
	if (vector == X86_PFV)
		return PAGE_FAULT;
	return vector == X86_DE || (vector >= X86_TS && vector <= X86_GP) ? CONTRIBUTORY : BENIGN;
}

static bool doubles(uint8_t first, uint8_t second)
{
	unsigned a = class_of(first), b = class_of(second);

	return (a == CONTRIBUTORY && b == CONTRIBUTORY) || (a == PAGE_FAULT && b != BENIGN);
}

static const char *name_of(uint8_t vector)
{
	static const char *const name[] = {"#DE", "#DB", "NMI", "#BP", "#OF", "#BR", "#UD", "#NM",
		"#DF", "", "#TS", "#NP", "#SS", "#GP", "#PF", "", "#MF", "#AC", "#MC", "#XM"};

	return vector < ARRAY_SIZE(name) ? name[vector] : "interrupt";
}

static void note_fault(struct cpu *c, const struct fault *f)
{
	size_t used = strlen(c->chain), room = sizeof(c->chain) - used;
	char error[16] = "";

	if (f->has_error)
		snprintf(error, sizeof(error), "(%#x)", f->error);
	snprintf(c->chain + used, room, "%s%s%s", used ? ", then " : "", name_of(f->vector), error);
	if (!used)
		snprintf(c->chain + strlen(c->chain), sizeof(c->chain) - strlen(c->chain),
			" at %04x:%08llx", c->s.seg[X86_CS].sel, (unsigned long long)c->s.rip);
}

_Noreturn static void triple_fault(struct cpu *c)
{
	snprintf(c->result->why, sizeof(c->result->why), "%s, and no handler could be entered",
		c->chain);
	longjmp(c->leave, JUMP_SHUTDOWN);
}

void deliver_fault(struct cpu *c)
{
	struct fault f = c->fault;

	note_fault(c, &f);
	if (c->delivering) {
		if (c->delivered_vector == X86_DF_VEC && class_of(f.vector) != BENIGN)
			triple_fault(c);
		if (doubles(c->delivered_vector, f.vector)) {
			f = (struct fault){X86_DF_VEC, true, 0};
			note_fault(c, &f);
		}
	}
	c->delivering = true;
	c->delivered_vector = f.vector;
	if (protected_mode(c) && f.vector != X86_DB)
		c->s.rflags |= X86_RF; /* in the pushed image: the instruction is restarted */
	deliver(c, f.vector, false, f.has_error, f.error, c->s.rip);
	c->delivering = false;
	c->chain[0] = '\0';
}
