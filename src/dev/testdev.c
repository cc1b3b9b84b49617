/*
 * testdev.c - see testdev.h. There is no datasheet: the interface is what
 * kvm-unit-tests documents and uses (lib/x86, x86/emulator.c).
 * Lock: vm->lock.
 */
#include "dev/testdev.h"

#include <stdlib.h>
#include <string.h>

#include "dev/devutil.h"
#include "util/util.h"

#define MEMORY_SIZE 0x10000u
#define DATA_SIZE   4u

struct testdev {
	struct device dev;
	struct bus_region region[3];
	struct irq line[TESTDEV_LINES];
	uint8_t data[DATA_SIZE];
	uint8_t memory[MEMORY_SIZE];
};

static uint64_t data_read(void *ctx, uint64_t off, unsigned size)
{
	struct testdev *t = ctx;
	uint64_t v = 0;

	if (range_in(off, size, DATA_SIZE))
		memcpy(&v, t->data + off, size);
	return v;
}

static void data_write(void *ctx, uint64_t off, unsigned size, uint64_t value)
{
	struct testdev *t = ctx;

	if (range_in(off, size, DATA_SIZE))
		memcpy(t->data + off, &value, size);
}

static void irq_write(void *ctx, uint64_t off, unsigned size, uint64_t value)
{
	struct testdev *t = ctx;

	irq_set(t->line[off], value & 1);
}

static uint64_t memory_read(void *ctx, uint64_t off, unsigned size)
{
	struct testdev *t = ctx;
	uint64_t v = 0;

	memcpy(&v, t->memory + off, size);
	return v;
}

static void memory_write(void *ctx, uint64_t off, unsigned size, uint64_t value)
{
	struct testdev *t = ctx;

	memcpy(t->memory + off, &value, size);
}

static const struct bus_ops data_ops = {data_read, data_write, 1, 4};
/* Any width sets the one line of its port. */
static const struct bus_ops irq_ops = {NULL, irq_write, 1, 4};
static const struct bus_ops memory_ops = {memory_read, memory_write, 1, 8};

static void testdev_reset(struct device *dev)
{
	struct testdev *t = container_of(dev, struct testdev, dev);

	memset(t->data, 0, sizeof(t->data));
	memset(t->memory, 0, sizeof(t->memory));
	for (unsigned n = 0; n < TESTDEV_LINES; n++)
		irq_set(t->line[n], false);
}

static void testdev_snap(struct device *dev, struct snap *s)
{
	struct testdev *t = container_of(dev, struct testdev, dev);

	snap_section(s, dev->name, 1);
	snap_bytes(s, "data", t->data, sizeof(t->data));
	snap_bytes(s, "memory", t->memory, sizeof(t->memory));
}

static void testdev_destroy(struct device *dev)
{
	free(container_of(dev, struct testdev, dev));
}

struct testdev *testdev_new(const struct irq *lines)
{
	struct testdev *t = xcalloc(1, sizeof(*t));

	t->dev = (struct device){"testdev", testdev_reset, testdev_snap, testdev_destroy};
	memcpy(t->line, lines, sizeof(t->line));
	region_init(&t->region[TESTDEV_DATA], "testdev data", 8, &data_ops, t);
	region_init(&t->region[TESTDEV_IRQ], "testdev lines", TESTDEV_LINES, &irq_ops, t);
	region_init(&t->region[TESTDEV_MEMORY], "testdev memory", MEMORY_SIZE, &memory_ops, t);
	return t;
}

struct device *testdev_device(struct testdev *t)
{
	return &t->dev;
}

struct bus_region *testdev_region(struct testdev *t, enum testdev_region_id id)
{
	return &t->region[id];
}
