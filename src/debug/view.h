/*
 * view.h - a vCPU's memory as monitor and debugger see it: translated by its page
 * tables, which are only read. Lock: vm->lock, the machine stands still.
 */
#ifndef TINAMOU_VIEW_H
#define TINAMOU_VIEW_H

#include <stdio.h>

#include "core/memory.h"
#include "x86/insn.h"
#include "x86/state.h"

struct view {
	struct guest_memory *mem;
	const struct x86_state *state;
	unsigned phys_bits;
	bool physical; /* addresses are physical */
};

/* -EFAULT: not mapped, or neither RAM nor ROM. */
int view_read(const struct view *v, uint64_t addr, void *buf, uint64_t len);
/* The same; whether the guest could write there is not asked. ROM is refused. */
int view_write(const struct view *v, uint64_t addr, const void *buf, uint64_t len);
/* Code at CS:rIP is of this mode. */
enum x86_mode view_mode(const struct x86_state *s);
/* Prints /FMT at addr: [count][format][size] of the letters xduocis and bhwg. -EINVAL: no such. */
int view_examine(const struct view *v, const char *format, uint64_t addr, FILE *out);
/* The ranges of linear addresses that are mapped, and their rights: u, r, w. */
void view_mappings(const struct view *v, FILE *out);

#endif
