/*
 * testport.h - the port by which a test guest ends the machine. vm->lock held.
 */
#ifndef TINAMOU_TESTPORT_H
#define TINAMOU_TESTPORT_H

#include "core/bus.h"
#include "core/device.h"

struct testport;

/* exit_fn gets what the guest wrote, zero-extended; it may be called more than once. */
struct testport *testport_new(void (*exit_fn)(void *ctx, uint32_t value), void *ctx);
struct device *testport_device(struct testport *t);
struct bus_region *testport_region(struct testport *t); /* 4 ports, F4h */

#endif
