/*
 * device.h - what the machine knows of every device: its name, reset, snapshot.
 *
 * A device is made by x_new(wires, ...) called from board/, which then maps
 * its regions and adds its struct device to the machine. It embeds a struct
 * device, gets exactly its wires, and never sees struct vm, an engine or an
 * address. All functions run with vm->lock held, on any thread.
 */
#ifndef TINAMOU_DEVICE_H
#define TINAMOU_DEVICE_H

#include "core/snapshot.h"

struct device {
	const char *name;                  /* unique in a machine, e.g. "uart0" */
	void (*reset)(struct device *dev); /* to the power-on values of the datasheet */
	void (*snap)(struct device *dev, struct snap *s); /* one snap_section, then the fields */
	void (*destroy)(struct device *dev);              /* frees it */
	struct device *next;                              /* kept by the machine */
	/* Before a save, may be NULL: returns with no request of its to the host in flight. */
	void (*quiesce)(struct device *dev);
};

#endif
