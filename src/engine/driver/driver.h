/* driver.h - the engine that runs the guest on the CPU, through our own module tinamou.ko. */
#ifndef TINAMOU_DRIVER_H
#define TINAMOU_DRIVER_H

#include "core/engine.h"

extern const struct engine_ops driver_engine;

#endif
