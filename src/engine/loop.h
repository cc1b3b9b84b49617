/*
 * loop.h - how fast does an engine run a loop of plain instructions here? For the probes of the
 * software engines.
 */
#ifndef TINAMOU_ENGINE_LOOP_H
#define TINAMOU_ENGINE_LOOP_H

#include <stddef.h>
#include <stdint.h>

struct engine_ops;

/*
 * Runs `rounds` rounds of flat 32-bit code on a machine of its own and looks at their result.
 * Millions of instructions a second, or 0 if it does not work, with a line in why if there was
 * no machine to be had.
 */
double engine_time_loop(const struct engine_ops *engine, uint32_t rounds, char *why, size_t whylen);

#endif
