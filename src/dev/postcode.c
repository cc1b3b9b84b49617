/*
 * postcode.c - the diagnostic port: keeps the last byte, which reads back as it
 * does from the spare DMA page register there. Guests also write to it to wait.
 * Lock: vm->lock.
 */
#include "dev/postcode.h"

#include <stdlib.h>

#include "dev/devutil.h"
#include "util/util.h"

struct postcode {
	struct device dev;
	struct bus_region region;
	uint8_t code;
};

static uint64_t postcode_read(void *ctx, uint64_t off, unsigned size)
{
	struct postcode *p = ctx;

	return p->code;
}

static void postcode_write(void *ctx, uint64_t off, unsigned size, uint64_t value)
{
	struct postcode *p = ctx;

	p->code = value;
}

static const struct bus_ops postcode_ops = {postcode_read, postcode_write, 1, 1};

static void postcode_reset(struct device *dev)
{
	container_of(dev, struct postcode, dev)->code = 0;
}

static void postcode_snap(struct device *dev, struct snap *s)
{
	snap_section(s, dev->name, 1);
	snap_u8(s, "code", &container_of(dev, struct postcode, dev)->code);
}

static void postcode_destroy(struct device *dev)
{
	free(container_of(dev, struct postcode, dev));
}

struct postcode *postcode_new(void)
{
	struct postcode *p = xcalloc(1, sizeof(*p));

	p->dev = (struct device){"postcode", postcode_reset, postcode_snap, postcode_destroy};
	region_init(&p->region, "postcode", 1, &postcode_ops, p);
	return p;
}

struct device *postcode_device(struct postcode *p)
{
	return &p->dev;
}

struct bus_region *postcode_region(struct postcode *p)
{
	return &p->region;
}

uint8_t postcode_last(const struct postcode *p)
{
	return p->code;
}
