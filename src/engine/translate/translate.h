/* translate.h - the engine that translates guest code to host code, x86 to x86. */
#ifndef TINAMOU_TRANSLATE_H
#define TINAMOU_TRANSLATE_H

#include "core/engine.h"

extern const struct engine_ops translate_engine;

#endif
