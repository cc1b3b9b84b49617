/*
 * hpet.h - high precision event timer: a counter and three comparators.
 * vm->lock held.
 */
#ifndef TINAMOU_HPET_H
#define TINAMOU_HPET_H

#include "core/bus.h"
#include "core/clock.h"
#include "core/device.h"
#include "core/irq.h"

#define HPET_TIMERS 3
#define HPET_ROUTES 24 /* inputs of the I/O APIC */
/* Capabilities 31:0: revision 1, 64 bits wide, legacy replacement, vendor 8086h. */
#define HPET_ID 0x8086a201u

struct hpet;

struct hpet_wires {
	/* An input of the I/O APIC, below HPET_ROUTES. */
	void (*route)(void *ctx, unsigned input, bool level);
	/* Legacy replacement: timers 0 and 1 take the lines of the PIT and of the CMOS clock. */
	struct irq pit, rtc;
	void (*legacy)(void *ctx, bool on); /* those two are to be cut off, or let through */
	void *ctx;
};

struct hpet *hpet_new(struct clock *clock, const struct hpet_wires *wires);
struct device *hpet_device(struct hpet *h);
struct bus_region *hpet_region(struct hpet *h); /* 1024 bytes of memory */

#endif
