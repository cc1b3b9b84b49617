/*
 * testport.c - debug exit: a write of 1, 2 or 4 bytes to the first port hands
 * the value out; the other ports only make room for wide writes. No state.
 * Lock: vm->lock.
 */
#include "dev/testport.h"

#include <stdlib.h>

#include "dev/devutil.h"
#include "util/util.h"

struct testport {
	struct device dev;
	struct bus_region region;
	void (*exit_fn)(void *ctx, uint32_t value);
	void *ctx;
};

static void testport_write(void *ctx, uint64_t off, unsigned size, uint64_t value)
{
	struct testport *t = ctx;

	if (off == 0)
		t->exit_fn(t->ctx, (uint32_t)(value & size_mask(size)));
}

static const struct bus_ops testport_ops = {NULL, testport_write, 1, 4};

static void testport_reset(struct device *dev)
{
}

static void testport_snap(struct device *dev, struct snap *s)
{
	snap_section(s, dev->name, 1);
}

static void testport_destroy(struct device *dev)
{
	free(container_of(dev, struct testport, dev));
}

struct testport *testport_new(void (*exit_fn)(void *ctx, uint32_t value), void *ctx)
{
	struct testport *t = xcalloc(1, sizeof(*t));

	t->dev = (struct device){"testport", testport_reset, testport_snap, testport_destroy};
	t->exit_fn = exit_fn;
	t->ctx = ctx;
	region_init(&t->region, "testport", 4, &testport_ops, t);
	return t;
}

struct device *testport_device(struct testport *t)
{
	return &t->dev;
}

struct bus_region *testport_region(struct testport *t)
{
	return &t->region;
}
