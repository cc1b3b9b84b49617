/*
 * guest.h - executes test cases on an engine, one step each, in a bare machine.
 */
#ifndef TINAMOU_TESTS_INSN_GUEST_H
#define TINAMOU_TESTS_INSN_GUEST_H

#include "case.h"
#include "core/engine.h"
#include "x86/model.h"

/* How the engine's CPU is set up for a case. */
enum guest_kind {
	GUEST_REAL16, /* real mode; segments based like the native ones */
	GUEST_PROT16, /* protected mode, CPL 3, the same LDT */
	GUEST_PROT32,
	GUEST_FLAT32, /* the same in flat segments, in compatibility mode */
	GUEST_LONG64, /* 4-level paging: the areas are the user's, the rest faults */
	GUEST_REAL,   /* real mode with its own selectors, CPL 0: judged by kvm, not natively */
	GUEST_KINDS
};

struct guest;

/* NULL with a reason in err. */
struct guest *guest_open(
	const struct engine_ops *ops, const struct x86_model *model, char *err, size_t errlen);
void guest_close(struct guest *g);
/* The engine's own lines on what it did. */
void guest_report(const struct guest *g);

/*
 * Sets up the tables for a kind and executes a NOP: true if the engine has the
 * mode. Must be called before guest_run, and again to change the kind.
 */
bool guest_enter(struct guest *g, enum guest_kind kind);

/*
 * One instruction, exceptions included: of a delivered exception the registers
 * are those at the fault, and the frame it pushed on a window is replaced by
 * what was there before.
 */
void guest_run(struct guest *g, const struct insn_case *c, struct insn_result *r);

/* Compares all areas with the pattern; returns the first address that differs, or 0. */
uint32_t guest_stray_write(const struct guest *g);
/* Puts the pattern back everywhere. */
void guest_clean(struct guest *g);

#endif
