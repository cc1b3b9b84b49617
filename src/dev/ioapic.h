/*
 * ioapic.h - I/O APIC with 24 inputs. vm->lock held.
 */
#ifndef TINAMOU_IOAPIC_H
#define TINAMOU_IOAPIC_H

#include <stdio.h>

#include "core/bus.h"
#include "core/device.h"
#include "core/irq.h"
#include "dev/lapic.h"

#define IOAPIC_PINS 24

struct ioapic;

struct ioapic *ioapic_new(void (*send)(void *ctx, const struct apic_message *m), void *ctx);
struct device *ioapic_device(struct ioapic *io);
struct bus_region *ioapic_region(struct ioapic *io); /* 32 bytes of memory */
struct irq ioapic_irq(struct ioapic *io, int pin);
/* Its entries, a line each, for people. */
void ioapic_print(const struct ioapic *io, FILE *out);
/* A local APIC ended a level-triggered interrupt. */
void ioapic_eoi(struct ioapic *io, uint8_t vector);

#endif
