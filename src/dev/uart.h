/*
 * uart.h - 16550A serial port. All functions: vm->lock held.
 */
#ifndef TINAMOU_UART_H
#define TINAMOU_UART_H

#include "core/bus.h"
#include "core/chardev.h"
#include "core/clock.h"
#include "core/device.h"
#include "core/irq.h"

struct uart;

/*
 * name: unique and constant. chr is borrowed and may be NULL (nothing
 * connected); its device side is set here. The board maps the region (8 ports).
 */
struct uart *uart_new(const char *name, struct clock *clock, struct irq irq, struct chardev *chr);
struct device *uart_device(struct uart *u);
struct bus_region *uart_region(struct uart *u);

#endif
