/* engines.h - the one table of engines, and the choice among them. */
#ifndef TINAMOU_ENGINES_H
#define TINAMOU_ENGINES_H

#include <stddef.h>

struct engine_ops;

/*
 * The engine for --engine LIST ("auto", or names in order of preference).
 * NULL with a line for the user in err. why: one line on what was taken and
 * why, "" where there was no choice.
 */
const struct engine_ops *engine_choose(
	const char *list, char *why, size_t whylen, char *err, size_t errlen);
const struct engine_ops *engine_by_name(const char *name);

int cmd_engines(int argc, char **argv);

#endif
