/*
 * helper.h - where the files are that are installed with tinamou: the programs
 * that it starts, and firmware beside it.
 */
#ifndef TINAMOU_CMD_HELPER_H
#define TINAMOU_CMD_HELPER_H

/* The folder of the running program, "" if unknown. The caller frees it. */
char *own_folder(void);

/*
 * A program that tinamou starts: beside it, or in ../libexec/tinamou. NULL: it
 * is not installed. The caller frees it.
 */
char *helper_find(const char *name);

#endif
