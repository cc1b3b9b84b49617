/*
 * gdb.h - a stub for GDB: a debugger at a socket sees the machine's vCPUs as
 * threads, its linear memory and its registers, and stops and steps it.
 *
 * Source: "Debugging with GDB", appendix E. One debugger at a time. The
 * listening socket was opened before; here a connection is accepted. What comes
 * over it is not trusted to be well-formed. Left out: non-stop mode, files,
 * tracepoints. Lock: vm->lock; handlers run on the event loop's thread.
 */
#ifndef TINAMOU_GDB_H
#define TINAMOU_GDB_H

#include "debug/monitor.h"

enum gdb_arch { GDB_ARCH_AUTO, GDB_ARCH_I386, GDB_ARCH_AMD64 };

struct gdb;

/* Takes over the socket and becomes vm's debugger; monitor is borrowed, for GDB's `monitor`. */
struct gdb *gdb_new(struct vm *vm, struct monitor *monitor, int listener, enum gdb_arch arch);
/* After the machine ended: tells the debugger, with what status. */
void gdb_free(struct gdb *g, int status);

/* For tests: bytes as if they had come; what is answered goes to fd, which is taken over. */
void gdb_connect(struct gdb *g, int fd);
void gdb_receive(struct gdb *g, const char *bytes, size_t len);

#endif
