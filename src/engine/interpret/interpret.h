/* interpret.h - the engine that executes one instruction at a time: the reference. */
#ifndef TINAMOU_INTERPRET_H
#define TINAMOU_INTERPRET_H

#include "core/engine.h"

extern const struct engine_ops interpret_engine;

void interpret_probe(struct engine_verdict *verdict);

#endif
