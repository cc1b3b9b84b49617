/*
 * symbols.h - names of a guest's code, from a file of lines `ADDRESS TYPE NAME`: what
 * nm prints, a kernel's System.map, and /proc/kallsyms. Addresses are linear and in hex.
 */
#ifndef TINAMOU_SYMBOLS_H
#define TINAMOU_SYMBOLS_H

#include <stdint.h>

struct symbols;

/* 0 with *out, which the caller frees; -errno; -EINVAL: a line that is none. Symbols of data are
 * left out. */
int symbols_load(const char *path, struct symbols **out);
/* NULL will do. */
void symbols_free(struct symbols *s);
/*
 * The symbol at or before addr and how far it is behind it, or NULL: there is none
 * within 64 KiB. s may be NULL. The name is s's.
 */
const char *symbols_find(const struct symbols *s, uint64_t addr, uint64_t *behind);

#endif
