/*
 * ferr.h - how a PC tells of x87 errors: FERR#, IRQ 13, port F0h, IGNNE#.
 * vm->lock held.
 */
#ifndef TINAMOU_FERR_H
#define TINAMOU_FERR_H

#include "core/bus.h"
#include "core/device.h"
#include "core/irq.h"

struct ferr;

struct ferr_wires {
	struct irq irq;
	/* What the pins are now: at every change, and after a snapshot was loaded. */
	void (*pins)(void *ctx, bool ferr, bool ignne);
	void *ctx;
};

struct ferr *ferr_new(const struct ferr_wires *wires);
struct device *ferr_device(struct ferr *f);
struct bus_region *ferr_region(struct ferr *f); /* 1 port, F0h */
/* The CPU drives FERR#. */
void ferr_set(struct ferr *f, bool level);

#endif
