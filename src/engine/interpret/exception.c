/*
 * exception.c - delivery of exceptions and interrupts, up to the triple fault.
 * Source: SDM vol. 3A 6.12 to 6.15 (protected mode), 6.14 (64-bit mode), 20.3
 * (virtual-8086 mode), 20.1.4 (real mode), table 6-5 (double faults).
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

_Noreturn void freeze(struct cpu *c)
{
	longjmp(c->leave, JUMP_FREEZE);
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
	entry = load_system(c, c->s.idtr.base + vector * 4u, 4);
	push_at(c, &sp, 2, c->s.rflags);
	push_at(c, &sp, 2, c->s.seg[X86_CS].sel);
	push_at(c, &sp, 2, rip);
	stack_commit(c, sp);
	c->s.rflags &= ~(uint64_t)(X86_IF | X86_TF | X86_AC | X86_RF);
	c->s.seg[X86_CS] = check_segment(c, X86_CS, (uint16_t)(entry >> 16));
	c->s.rip = entry & 0xffff;
}

/* ---- protected mode and long mode ---- */

#define GATE_TASK 5u

struct gate {
	unsigned type, size; /* size of what is pushed: 2, 4 or 8 */
	unsigned ist;
	uint16_t sel;
	uint64_t off;
};

static bool gate_type_ok(const struct cpu *c, unsigned type)
{
	if (long_mode(c))
		return type == 14 || type == 15;
	return type == GATE_TASK || type == 6 || type == 7 || type == 14 || type == 15;
}

static struct gate read_gate(struct cpu *c, uint8_t vector, bool soft)
{
	uint32_t error = vector * 8u | IDT | (soft ? 0 : EXT);
	unsigned length = long_mode(c) ? 16 : 8;
	uint64_t at = vector * length, raw;
	struct gate g = {0};

	if (at + length - 1 > c->s.idtr.limit)
		raise_error(c, X86_GP, error);
	raw = load_system(c, c->s.idtr.base + at, 8);
	g.type = raw >> 40 & 0x1f;
	g.size = length == 16 ? 8 : g.type & 8 ? 4 : 2;
	g.sel = (uint16_t)(raw >> 16);
	g.off = (raw & 0xffff) | (g.size >= 4 ? raw >> 32 & 0xffff0000 : 0);
	if (length == 16) {
		g.off |= load_system(c, c->s.idtr.base + at + 8, 8) << 32;
		g.ist = raw >> 32 & 7;
	}
	if (!gate_type_ok(c, g.type) || (soft && (raw >> 45 & 3) < cpl(c)))
		raise_error(c, X86_GP, error);
	if (!(raw >> 47 & 1))
		raise_error(c, X86_NP, error);
	return g;
}

/* Code segment of a handler; *new_cpl is where it runs. */
static struct x86_seg handler_code(struct cpu *c, uint16_t sel, uint32_t ext, unsigned *new_cpl)
{
	uint32_t error = error_of(sel) | ext;
	struct x86_seg s;
	uint64_t raw;

	if (is_null(sel))
		raise_error(c, X86_GP, ext);
	if (!read_descriptor(c, sel, &raw))
		raise_error(c, X86_GP, error);
	s = unpack_segment(sel, raw);
	if (!(s.attr & X86_ATTR_S) || !(s.attr & TYPE_CODE) || dpl(&s) > cpl(c))
		raise_error(c, X86_GP, error);
	if (long_mode(c) && (s.attr & (X86_ATTR_L | X86_ATTR_DB)) != X86_ATTR_L)
		raise_error(c, X86_GP, error);
	if (!(s.attr & X86_ATTR_P))
		raise_error(c, X86_NP, error);
	*new_cpl = s.attr & TYPE_CONFORMING ? cpl(c) : dpl(&s);
	if (v86_mode(c) && *new_cpl)
		raise_error(c, X86_GP, error);
	mark_accessed(c, &s);
	s.sel = (uint16_t)(error_of(sel) | *new_cpl);
	return s;
}

/* The frame goes to another stack: of an inner ring, or always in 64-bit mode. */
static void switch_stack(struct cpu *c, const struct gate *g, unsigned new_cpl, unsigned cells,
	uint32_t ext, uint64_t *sp)
{
	struct x86_seg ss = c->s.seg[X86_SS];
	enum x86_mode mode = long_mode(c) ? X86_MODE_64 : g->size == 4 ? X86_MODE_32 : X86_MODE_16;

	if (new_cpl < cpl(c) || g->ist)
		ss = inner_stack(c, new_cpl, g->ist, ext, sp);
	if (new_cpl == cpl(c))
		ss = c->s.seg[X86_SS];
	if (long_mode(c)) {
		*sp &= ~UINT64_C(15);
	} else {
		uint64_t bottom = (*sp - cells * g->size) & (ss.attr & X86_ATTR_DB ? ~0u : 0xffffu);

		if (bottom + cells * g->size - 1 > ss.limit && !(ss.attr & 4))
			raise_error(c, X86_SSV, error_of(ss.sel) | ext);
	}
	try_stack(c, &ss, new_cpl, mode);
}

/* Virtual-8086 mode leaves its segments on the stack, and none in the registers. */
static void push_v86_segments(struct cpu *c, uint64_t *sp, unsigned size)
{
	static const uint8_t order[] = {X86_GS, X86_FS, X86_DS, X86_ES};

	for (unsigned n = 0; n < 4; n++)
		push_at(c, sp, size, c->s.seg[order[n]].sel);
}

static void drop_v86_segments(struct cpu *c)
{
	c->s.seg[X86_ES] = c->s.seg[X86_DS] = null_segment(0, 0);
	c->s.seg[X86_FS] = c->s.seg[X86_GS] = null_segment(0, 0);
}

static void enter_handler(struct cpu *c, const struct gate *g, const struct x86_seg *cs)
{
	uint64_t off = X86_TF | X86_NT | X86_RF | X86_VM;

	if (!(g->type & 1)) /* an interrupt gate, not a trap gate */
		off |= X86_IF;
	if (v86_mode(c))
		drop_v86_segments(c);
	c->s.rflags &= ~off;
	c->s.seg[X86_CS] = *cs;
	c->s.rip = g->off;
}

static void deliver_by_task(
	struct cpu *c, const struct gate *g, const struct fault *f, uint32_t ext, uint64_t rip)
{
	task_switch(c, g->sel, TASK_EVENT, rip, f->has_error ? &f->error : NULL, ext);
}

static void deliver_protected(struct cpu *c, const struct fault *f, bool soft, uint64_t rip)
{
	uint32_t ext = soft ? 0 : EXT;
	struct gate g = read_gate(c, f->vector, soft);
	uint64_t sp = stack_pointer(c), old_sp = c->s.gpr[X86_RSP];
	uint16_t old_ss = c->s.seg[X86_SS].sel;
	unsigned new_cpl;
	struct x86_seg cs;
	bool switched;

	if (g.type == GATE_TASK) {
		deliver_by_task(c, &g, f, ext, rip);
		return;
	}
	cs = handler_code(c, g.sel, ext, &new_cpl);
	check_target(c, &cs, g.off, ext);
	switched = new_cpl < cpl(c) || long_mode(c);
	if (switched)
		switch_stack(
			c, &g, new_cpl, (f->has_error ? 6u : 5u) + (v86_mode(c) ? 4 : 0), ext, &sp);
	else
		try_stack(c, &c->s.seg[X86_SS], new_cpl, c->mode);
	if (v86_mode(c))
		push_v86_segments(c, &sp, g.size);
	if (switched) {
		push_at(c, &sp, g.size, old_ss);
		push_at(c, &sp, g.size, old_sp);
	}
	push_at(c, &sp, g.size, c->s.rflags);
	push_at(c, &sp, g.size, c->s.seg[X86_CS].sel);
	push_at(c, &sp, g.size, rip);
	if (f->has_error)
		push_at(c, &sp, g.size, f->error);
	keep_stack(c, sp);
	enter_handler(c, &g, &cs);
}

/* ---- both ---- */

void deliver(struct cpu *c, uint8_t vector, bool soft, bool has_error, uint32_t error, uint64_t rip)
{
	struct fault f = {vector, has_error, error};

	if (c->s.cr0 & X86_CR0_PE)
		deliver_protected(c, &f, soft, rip);
	else
		deliver_real(c, vector, rip);
	refresh(c);
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
	if (c->s.cr0 & X86_CR0_PE && f.vector != X86_DB)
		c->s.rflags |= X86_RF; /* in the pushed image: the instruction is restarted */
	deliver(c, f.vector, false, f.has_error, f.error, c->s.rip);
	c->delivering = false;
	c->chain[0] = '\0';
}
