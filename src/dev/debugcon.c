/*
 * debugcon.c - debug console: a byte written to the port goes out, a read gives
 * E9h, by which guests find it. No state.
 * Lock: vm->lock.
 */
#include "dev/debugcon.h"

#include <stdlib.h>

#include "dev/devutil.h"
#include "util/util.h"

#define PRESENT 0xe9

struct debugcon {
	struct device dev;
	struct bus_region region;
	struct chardev *chr;
};

static uint64_t debugcon_read(void *ctx, uint64_t off, unsigned size)
{
	return PRESENT;
}

static void debugcon_write(void *ctx, uint64_t off, unsigned size, uint64_t value)
{
	struct debugcon *d = ctx;
	uint8_t c = value;

	chardev_write(d->chr, &c, 1);
}

static const struct bus_ops debugcon_ops = {debugcon_read, debugcon_write, 1, 1};

static void debugcon_reset(struct device *dev)
{
}

static void debugcon_snap(struct device *dev, struct snap *s)
{
	snap_section(s, dev->name, 1);
}

static void debugcon_destroy(struct device *dev)
{
	free(container_of(dev, struct debugcon, dev));
}

struct debugcon *debugcon_new(struct chardev *chr)
{
	struct debugcon *d = xcalloc(1, sizeof(*d));

	d->dev = (struct device){"debugcon", debugcon_reset, debugcon_snap, debugcon_destroy};
	d->chr = chr;
	region_init(&d->region, "debugcon", 1, &debugcon_ops, d);
	return d;
}

struct device *debugcon_device(struct debugcon *d)
{
	return &d->dev;
}

struct bus_region *debugcon_region(struct debugcon *d)
{
	return &d->region;
}
