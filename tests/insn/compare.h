/*
 * compare.h - what of a case can be judged, and whether two results agree.
 */
#ifndef TINAMOU_TESTS_INSN_COMPARE_H
#define TINAMOU_TESTS_INSN_COMPARE_H

#include <stdio.h>

#include "case.h"
#include "exceptions.h"
#include "guest.h"

/* EXCEPTION_NONE, or why the native oracle cannot judge the instruction on this kind of guest. */
enum insn_exception compare_excluded(
	enum guest_kind kind, const struct x86_model *model, const struct x86_insn *insn);

struct comparison {
	bool same;
	uint32_t masked; /* undefined flags that were left out */
	enum insn_exception forgiven;
};

/* oracle: the real CPU or kvm. What is forgiven is copied from it to the engine's result. */
struct comparison compare_results(enum guest_kind kind, const struct insn_case *c,
	const struct insn_result *oracle, struct insn_result *engine);

/* Flags that the SDM leaves undefined after this case retired. */
uint32_t undefined_flags(const struct insn_case *c);

/* Bytes, disassembly, state before, both states after: what differs is marked. */
void print_case(FILE *out, const struct insn_case *c, const struct insn_result *oracle,
	const struct insn_result *engine, uint32_t masked);

#endif
