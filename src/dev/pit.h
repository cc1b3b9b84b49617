/*
 * pit.h - 8254 programmable interval timer. vm->lock held.
 */
#ifndef TINAMOU_PIT_H
#define TINAMOU_PIT_H

#include "core/bus.h"
#include "core/clock.h"
#include "core/device.h"
#include "core/irq.h"

#define PIT_HZ 1193182

struct pit;

/* irq follows OUT of counter 0. */
struct pit *pit_new(struct clock *clock, struct irq irq);
struct device *pit_device(struct pit *p);
struct bus_region *pit_region(struct pit *p); /* 4 ports, 40h */

/*
 * Does anyone look at IRQ0? Nobody is woken for edges that are not heard; they are not made up
 * for. Heard at first. Not in a snapshot: who wired it says it again.
 */
void pit_set_heard(struct pit *p, bool heard);

/* GATE and OUT of counter 2, wired to port 61h; the other gates are high. */
void pit_gate2(struct pit *p, bool level);
bool pit_out2(struct pit *p);

#endif
