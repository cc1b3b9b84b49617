/*
 * gdb_regs.h - registers as GDB numbers them, and the description it is sent.
 *
 * Source: "Debugging with GDB", appendix G.4 and G.5.6 (what a target of i386 or
 * amd64 has); SDM vol. 1, 13.4 (where the XSAVE area holds them). Values are
 * bytes in the order of memory. Pure: no I/O, no lock.
 */
#ifndef TINAMOU_GDB_REGS_H
#define TINAMOU_GDB_REGS_H

#include <stdio.h>

#include "x86/state.h"

#define GDB_REG_BYTES 16u   /* the longest */
#define GDB_ALL_BYTES 1024u /* all of them together, at most */

struct gdb_regs {
	bool wide; /* amd64, else i386 */
};

/* How many there are. */
unsigned gdb_regs_count(const struct gdb_regs *g);
/* Bytes of register n; 0: there is none. */
unsigned gdb_reg_size(const struct gdb_regs *g, unsigned n);
void gdb_reg_get(const struct gdb_regs *g, const struct x86_state *s, unsigned n, uint8_t *out);
/*
 * The groups that changed (enum x86_group); 0: the register is only to be read. The
 * program counter is linear: its segment's base is in it.
 */
unsigned gdb_reg_put(const struct gdb_regs *g, struct x86_state *s, unsigned n, const uint8_t *in);
/* target.xml */
void gdb_regs_describe(const struct gdb_regs *g, FILE *out);

#endif
