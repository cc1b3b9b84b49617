/*
 * testdev.h - what test programs for CPUs expect of a machine (pc-testdev): a
 * port and memory that keep what is written, and ports that raise interrupt
 * lines. vm->lock held.
 */
#ifndef TINAMOU_TESTDEV_H
#define TINAMOU_TESTDEV_H

#include "core/bus.h"
#include "core/device.h"
#include "core/irq.h"

#define TESTDEV_LINES 24

struct testdev;

enum testdev_region_id {
	TESTDEV_DATA,   /* 8 ports, E0h: 4 bytes of data; the others do nothing */
	TESTDEV_IRQ,    /* one port a line, 2000h: bit 0 is its level */
	TESTDEV_MEMORY, /* 64 KiB, FF000000h */
};

/* lines: TESTDEV_LINES wires, copied. */
struct testdev *testdev_new(const struct irq *lines);
struct device *testdev_device(struct testdev *t);
struct bus_region *testdev_region(struct testdev *t, enum testdev_region_id id);

#endif
