/*
 * irq.h - an interrupt wire: a value, not an object.
 *
 * The driver of a wire recomputes its level after every register access and
 * calls irq_set; the receiver ignores what does not change. Lock: vm->lock.
 */
#ifndef TINAMOU_IRQ_H
#define TINAMOU_IRQ_H

#include <stdbool.h>

struct irq {
	void (*fn)(void *ctx, int line, bool level);
	void *ctx;
	int line;
};

static inline void irq_set(struct irq irq, bool level)
{
	if (irq.fn)
		irq.fn(irq.ctx, irq.line, level);
}

#endif
