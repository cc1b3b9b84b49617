/*
 * task.c - the task switch of the 386, in both sizes of TSS.
 * Source: SDM vol. 3A 7.2.1 (32-bit TSS), 7.6 (16-bit TSS), 7.3 (the steps).
 */
#include "engine/interpret/cpu.h"

/* Where a TSS keeps things: offsets and the size of a slot. */
struct layout {
	unsigned size, cr3, ip, flags, gpr, seg, ldt, length;
	unsigned segs;
};

static const struct layout tss32 = {4, 28, 32, 36, 40, 72, 96, 104, 6};
static const struct layout tss16 = {2, 0, 14, 16, 18, 34, 42, 44, 4};

#define TYPE_BUSY 2u
#define TSS_TRAP  100u /* bit 0: raise #DB on entry */

static const struct layout *layout_of(const struct x86_seg *tss)
{
	return tss->attr & 8 ? &tss32 : &tss16;
}

static struct x86_seg check_tss(struct cpu *c, uint16_t sel, enum task_switch why, uint32_t ext)
{
	uint8_t vector = why == TASK_IRET ? X86_TS : X86_GP;
	unsigned types = why == TASK_IRET ? 1u << 3 | 1u << 11 : 1u << 1 | 1u << 9;
	struct x86_seg tss;

	if (is_null(sel))
		raise_error(c, vector, ext);
	tss = system_segment(c, sel, types, vector);
	if (tss.limit < layout_of(&tss)->length - 1)
		raise_error(c, X86_TS, error_of(sel) | ext);
	return tss;
}

static void save_task(struct cpu *c, enum task_switch why, uint64_t rip)
{
	const struct x86_seg *tr = &c->s.seg[X86_TR];
	const struct layout *l = layout_of(tr);
	uint64_t flags = c->s.rflags & ~(uint64_t)(why == TASK_IRET ? X86_NT : 0);

	store_system(c, tr->base + l->ip, l->size, rip);
	store_system(c, tr->base + l->flags, l->size, flags);
	for (unsigned n = 0; n < 8; n++)
		store_system(c, tr->base + l->gpr + n * l->size, l->size, c->s.gpr[n]);
	for (unsigned n = 0; n < l->segs; n++)
		store_system(c, tr->base + l->seg + n * l->size, 2, c->s.seg[n].sel);
}

static void set_busy(struct cpu *c, uint16_t sel, bool busy)
{
	uint64_t at = c->s.gdtr.base + (sel & ~7u) + 5;
	uint8_t type = (uint8_t)load_system(c, at, 1);

	store_system(c, at, 1, busy ? type | TYPE_BUSY : type & ~TYPE_BUSY);
}

struct image {
	uint64_t cr3, ip, flags, gpr[8];
	uint16_t seg[6], ldt;
	bool trap;
};

static struct image read_image(struct cpu *c, const struct x86_seg *tss)
{
	const struct layout *l = layout_of(tss);
	struct image m = {.ip = load_system(c, tss->base + l->ip, l->size)};

	m.flags = load_system(c, tss->base + l->flags, l->size);
	for (unsigned n = 0; n < 8; n++)
		m.gpr[n] = load_system(c, tss->base + l->gpr + n * l->size, l->size);
	for (unsigned n = 0; n < l->segs; n++)
		m.seg[n] = (uint16_t)load_system(c, tss->base + l->seg + n * l->size, 2);
	m.ldt = (uint16_t)load_system(c, tss->base + l->ldt, 2);
	if (l->cr3) {
		m.cr3 = load_system(c, tss->base + l->cr3, 4);
		m.trap = load_system(c, tss->base + TSS_TRAP, 1) & 1;
	}
	return m;
}

static void load_registers(struct cpu *c, const struct image *m, bool wide)
{
	c->s.rflags = (m->flags & 0x3f7fd7) | X86_FLAGS_FIXED;
	c->s.rip = c->next_rip = m->ip;
	for (unsigned n = 0; n < 8; n++)
		c->s.gpr[n] = wide ? m->gpr[n] : (c->s.gpr[n] & 0xffff0000) | m->gpr[n];
	if (wide && c->s.cr0 & X86_CR0_PG) {
		if (c->s.cr4 & X86_CR4_PAE)
			load_pdptes(c, m->cr3);
		c->s.cr3 = m->cr3;
		tlb_flush(c, false);
	}
	c->s.dr[7] &= ~UINT64_C(0x155); /* the local enables */
}

/* Until they are checked, the new task's segments are only selectors. */
static void load_selectors(struct cpu *c, const struct image *m)
{
	for (unsigned n = 0; n < 6; n++)
		c->s.seg[n] = null_segment(m->seg[n], 0);
	c->s.seg[X86_LDTR] = null_segment(m->ldt, 0);
	c->s.seg[X86_SS].attr |= (unsigned)(m->seg[X86_CS] & 3) << 5;
	refresh(c);
}

static void load_ldt(struct cpu *c, uint16_t sel)
{
	struct x86_seg s;

	if (is_null(sel))
		return;
	s = system_segment(c, sel, 1u << 2, X86_TS);
	c->s.seg[X86_LDTR] = s;
}

static void load_v86_segments(struct cpu *c, const struct image *m)
{
	for (unsigned n = 0; n < 6; n++)
		c->s.seg[n] = (struct x86_seg){(uint64_t)m->seg[n] << 4, 0xffff, 0xf3, m->seg[n]};
	refresh(c);
}

static void load_segments(struct cpu *c, const struct image *m)
{
	static const uint8_t data[] = {X86_ES, X86_DS, X86_FS, X86_GS};
	unsigned new_cpl = m->seg[X86_CS] & 3;

	load_ldt(c, m->ldt);
	if (v86_mode(c)) {
		load_v86_segments(c, m);
		return;
	}
	c->s.seg[X86_SS] = check_stack(c, m->seg[X86_SS], new_cpl, X86_TS);
	c->s.seg[X86_CS] = check_code(c, m->seg[X86_CS], new_cpl, true, X86_TS);
	refresh(c);
	for (unsigned n = 0; n < sizeof(data); n++)
		if (!is_null(m->seg[data[n]]))
			c->s.seg[data[n]] = check_data(c, m->seg[data[n]], X86_TS);
	if (c->s.rip > c->s.seg[X86_CS].limit)
		raise_error(c, X86_GP, 0);
}

void task_switch(struct cpu *c, uint16_t sel, enum task_switch why, uint64_t rip,
	const uint32_t *error, uint32_t ext)
{
	struct x86_seg tss = check_tss(c, sel, why, ext), *tr = &c->s.seg[X86_TR];
	bool wide = tss.attr & 8, nested = why == TASK_CALL || why == TASK_EVENT;
	struct image m = read_image(c, &tss);
	uint16_t old = tr->sel;

	save_task(c, why, rip);
	if (!nested)
		set_busy(c, old, false);
	if (why != TASK_IRET)
		set_busy(c, sel, true);
	if (nested) {
		store_system(c, tss.base, 2, old);
		m.flags |= X86_NT;
	}
	tss.attr |= TYPE_BUSY;
	*tr = tss;
	c->s.cr0 |= X86_CR0_TS;
	load_registers(c, &m, wide);
	load_selectors(c, &m);
	load_segments(c, &m);
	if (error) {
		uint64_t sp = stack_pointer(c);

		push_at(c, &sp, wide ? 4 : 2, *error);
		stack_commit(c, sp);
	}
	if (m.trap) {
		c->s.dr[6] |= UINT64_C(1) << 15; /* BT */
		c->s.events.db_pending = true;
	}
}
