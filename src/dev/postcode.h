/*
 * postcode.h - port 80h, where firmware shows how far it got. vm->lock held.
 */
#ifndef TINAMOU_POSTCODE_H
#define TINAMOU_POSTCODE_H

#include "core/bus.h"
#include "core/device.h"

struct postcode;

struct postcode *postcode_new(void);
struct device *postcode_device(struct postcode *p);
struct bus_region *postcode_region(struct postcode *p); /* 1 port, 80h */
/* The last code written. */
uint8_t postcode_last(const struct postcode *p);

#endif
