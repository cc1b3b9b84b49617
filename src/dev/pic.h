/*
 * pic.h - the PC's pair of 8259A interrupt controllers. vm->lock held.
 */
#ifndef TINAMOU_PIC_H
#define TINAMOU_PIC_H

#include <stdio.h>

#include "core/bus.h"
#include "core/device.h"
#include "core/irq.h"

struct pic;

enum pic_region_id {
	PIC_MASTER, /* 2 ports, 20h */
	PIC_SLAVE,  /* 2 ports, A0h */
	PIC_ELCR    /* 2 ports, 4D0h */
};

/* intr follows the INT output of the master. */
struct pic *pic_new(void (*intr)(void *ctx, bool level), void *ctx);
struct device *pic_device(struct pic *p);
struct bus_region *pic_region(struct pic *p, enum pic_region_id id);

/* The input IRQ n, 0..15; 2 is the cascade and not connected. */
struct irq pic_irq(struct pic *p, int n);
/* Its registers, a line a chip, for people. */
void pic_print(const struct pic *p, FILE *out);
/* The INTA cycles: the vector, 0..255; a spurious one if nothing is pending. */
int pic_ack(struct pic *p);

#endif
