/*
 * jail.h - what our processes may still ask of the kernel once they serve a
 * guest. docs/security.md has the tables for people.
 *
 * Three locks, one behind the other: no_new_privs; Landlock, where the kernel
 * has it: no file by its path, or those below one folder; seccomp: a short list
 * of system calls, and the end of the process for any other.
 */
#ifndef TINAMOU_JAIL_H
#define TINAMOU_JAIL_H

#include <stdbool.h>
#include <sys/types.h>

enum jail_kind {
	JAIL_MACHINE, /* the machine's main thread: the event loop */
	JAIL_VCPU,
	JAIL_DISK,  /* a thread that serves a disk */
	JAIL_SHARE, /* the process behind a shared folder */
	JAIL_FRONT, /* what has the terminal and the command line */
	JAIL_KINDS
};

/*
 * For this thread and those that it starts from now on: files are not to be
 * had by path, or only below the folder (a descriptor, -1: none; with ro one of a
 * file will do). 0 or -errno; a kernel without Landlock is 0.
 */
int jail_paths(int folder, bool ro);
/* The same, but files may be made, written and removed: pictures of the screen, sockets. */
int jail_paths_front(void);
/* This thread's system calls from now on. 0 or -errno. */
int jail_calls(enum jail_kind kind);
/* Those of the front, which may kill these processes and no others; 0 and less are none. */
int jail_calls_front(const pid_t *child, unsigned children);
/* How many there are in a table: for tests. */
unsigned jail_count(enum jail_kind kind);

#endif
