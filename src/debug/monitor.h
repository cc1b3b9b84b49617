/*
 * monitor.h - the commands by which a person, or a program for one, looks at a
 * machine and steers it. A command is a line of text and answers with text.
 *
 * The caller owns the line's way in and the text's way out (a terminal, a
 * socket) and what is beyond the machine: files, the end of the process. What
 * the monitor reads it reads while no vCPU runs. Lock: vm->lock held, on the
 * event loop's thread.
 */
#ifndef TINAMOU_MONITOR_H
#define TINAMOU_MONITOR_H

#include <stdio.h>

#include "core/vm.h"

/* One of `info`'s words that core does not know: a chip, the disks. */
struct monitor_topic {
	const char *name, *what;
	void (*run)(void *ctx, FILE *out);
	void *ctx;
};

/* A command that core does not know; args is what stands behind its name, or "". */
struct monitor_command {
	const char *name, *args, *what;
	void (*run)(void *ctx, const char *args, FILE *out);
	void *ctx;
};

struct monitor {
	struct vm *vm;
	const struct monitor_topic *topic; /* borrowed */
	unsigned topics;
	const struct monitor_command *command; /* likewise */
	unsigned commands;
	unsigned cpu; /* whose registers and addresses are meant */
};

/* Executes one line, without its end; answers and errors go to out. */
void monitor_execute(struct monitor *m, const char *line, FILE *out);

#endif
