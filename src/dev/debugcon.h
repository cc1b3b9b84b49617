/*
 * debugcon.h - the debug console port E9h. vm->lock held.
 */
#ifndef TINAMOU_DEBUGCON_H
#define TINAMOU_DEBUGCON_H

#include "core/bus.h"
#include "core/chardev.h"
#include "core/device.h"

struct debugcon;

/* chr is borrowed; NULL: what is written is lost. */
struct debugcon *debugcon_new(struct chardev *chr);
struct device *debugcon_device(struct debugcon *d);
struct bus_region *debugcon_region(struct debugcon *d); /* 1 port, E9h */

#endif
