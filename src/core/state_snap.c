/*
 * state_snap.c - the canonical CPU state as named snapshot fields.
 *
 * Every field of struct x86_state (x86/state.h), so that a snapshot taken under
 * one engine loads under another.
 */
#include <stdio.h>

#include "core/vm.h"

static void snap_seg(struct snap *s, const char *what, struct x86_seg *seg)
{
	char name[32];

	snprintf(name, sizeof(name), "%s.sel", what);
	snap_u16(s, name, &seg->sel);
	snprintf(name, sizeof(name), "%s.attr", what);
	snap_u32_max(s, name, &seg->attr, 0x1ffff);
	snprintf(name, sizeof(name), "%s.limit", what);
	snap_u32(s, name, &seg->limit);
	snprintf(name, sizeof(name), "%s.base", what);
	snap_u64(s, name, &seg->base);
}

static void snap_events(struct snap *s, struct x86_events *e)
{
	snap_u8_max(s, "event.type", &e->type, X86_EVENT_SOFT_EXCEPTION);
	snap_u8(s, "event.vector", &e->vector);
	snap_bool(s, "event.has_error", &e->has_error);
	snap_u8_max(s, "event.insn_len", &e->insn_len, 15);
	snap_u32(s, "event.error", &e->error);
	snap_bool(s, "exc.pending", &e->exc_pending);
	snap_u8_max(s, "exc.vector", &e->exc_vector, 31);
	snap_bool(s, "exc.has_error", &e->exc_has_error);
	snap_bool(s, "exc.has_payload", &e->exc_has_payload);
	snap_u32(s, "exc.error", &e->exc_error);
	snap_u64(s, "exc.payload", &e->exc_payload);
	snap_bool(s, "shadow.sti", &e->shadow_sti);
	snap_bool(s, "shadow.mov_ss", &e->shadow_mov_ss);
	snap_bool(s, "nmi.masked", &e->nmi_masked);
	snap_bool(s, "nmi.pending", &e->nmi_pending);
	snap_bool(s, "init.pending", &e->init_pending);
	snap_bool(s, "sipi.pending", &e->sipi_pending);
	snap_u8(s, "sipi.vector", &e->sipi_vector);
	snap_bool(s, "db.pending", &e->db_pending);
	snap_u8_max(s, "db.held", &e->db_held, 15);
	snap_u8_max(s, "run", &e->run, X86_SHUTDOWN);
}

static void snap_array(struct snap *s, const char *what, uint64_t *v, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		char name[32];

		snprintf(name, sizeof(name), "%s%u", what, i);
		snap_u64(s, name, &v[i]);
	}
}

static void snap_msrs(struct snap *s, uint64_t *msr)
{
	for (unsigned i = 0; i < X86_MSR_COUNT; i++)
		snap_u64(s, x86_msr_list[i].name, &msr[i]);
}

void x86_state_snap(struct x86_state *x, struct snap *s)
{
	static const char *const seg[X86_SEG_COUNT] = {
		"es", "cs", "ss", "ds", "fs", "gs", "ldtr", "tr"};

	snap_array(s, "gpr", x->gpr, X86_GPR_COUNT);
	snap_u64(s, "rip", &x->rip);
	snap_u64(s, "rflags", &x->rflags);
	for (unsigned i = 0; i < X86_SEG_COUNT; i++)
		snap_seg(s, seg[i], &x->seg[i]);
	snap_u64(s, "gdtr.base", &x->gdtr.base);
	snap_u16(s, "gdtr.limit", &x->gdtr.limit);
	snap_u64(s, "idtr.base", &x->idtr.base);
	snap_u16(s, "idtr.limit", &x->idtr.limit);
	snap_u64(s, "cr0", &x->cr0);
	snap_u64(s, "cr2", &x->cr2);
	snap_u64(s, "cr3", &x->cr3);
	snap_u64(s, "cr4", &x->cr4);
	snap_u64(s, "cr8", &x->cr8);
	snap_u64(s, "efer", &x->efer);
	snap_u64(s, "xcr0", &x->xcr0);
	snap_array(s, "pdpte", x->pdpte, 4);
	snap_array(s, "dr", x->dr, 8);
	snap_bytes(s, "xsave", x->xsave, sizeof(x->xsave));
	snap_msrs(s, x->msr);
	snap_u64(s, "tsc", &x->tsc);
	snap_events(s, &x->events);
}
