/*
 * fast.h - bodies for the commonest forms of the commonest instructions, and
 * memory accesses that hit the TLB. Nothing here is needed: each does what the
 * general body does, in 64-bit mode and for register operands in all modes.
 */
#ifndef TINAMOU_INTERPRET_FAST_H
#define TINAMOU_INTERPRET_FAST_H

#include "engine/interpret/cpu.h"

/* The quickest body for this very instruction: its own, or the general one. */
insn_body *fast_body(const struct x86_insn *i, insn_body *general);

#endif
