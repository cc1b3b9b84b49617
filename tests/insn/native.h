/*
 * native.h - executes test cases on the real CPU, in a contained child process.
 */
#ifndef TINAMOU_TESTS_INSN_NATIVE_H
#define TINAMOU_TESTS_INSN_NATIVE_H

#include "case.h"

#define NATIVE_BATCH 256

struct native;

/* NULL with a reason in err (a sentence) where the host does not allow it. */
struct native *native_open(char *err, size_t errlen);
void native_close(struct native *n);

/* True if the host lets a process run code of this mode (modify_ldt for 16 and 32 bit). */
bool native_has_mode(const struct native *n, enum x86_mode mode);

/* The batch: fill cases[0..count), call native_run, read results. Shared with the child. */
struct insn_case *native_cases(struct native *n);
struct insn_result *native_results(struct native *n);

/* count <= NATIVE_BATCH. 0, or -errno if no child can be had any more. */
int native_run(struct native *n, unsigned count);

/* First address outside all windows that the last batch wrote, or 0. */
uint32_t native_stray_write(const struct native *n);

/* How often a child had to be replaced. */
unsigned native_deaths(const struct native *n);

#endif
