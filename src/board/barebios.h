/*
 * barebios.h - what a boot sector finds where firmware should be: 256 vectors
 * that lead to a stub which tells the monitor, and nothing more.
 */
#ifndef TINAMOU_BAREBIOS_H
#define TINAMOU_BAREBIOS_H

#include "core/vm.h"

/* Maps a 64 KiB ROM at F0000h; a device of vm's, which frees it. NULL: it does not fit there. */
struct barebios *barebios_new(struct vm *vm);
/* Writes the vectors at 0 and the size of base memory at 413h; call before images are loaded over
 * it. */
void barebios_vectors(struct vm *vm);
/* Sets up PICs and PIT as PC firmware leaves them. */
void barebios_timer(struct vm *vm);
/* Sets the MTRRs of all vCPUs as PC firmware leaves them. 0 or -errno. */
int barebios_mtrrs(struct vm *vm);

#endif
