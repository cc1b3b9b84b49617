/*
 * ferr.c - x87 errors as the PC/AT has them. FERR# sets a latch that is IRQ 13;
 * a write to port F0h clears the latch and, while FERR# is still asserted,
 * asserts IGNNE#, by which the handler may execute x87 instructions. IGNNE#
 * falls with FERR#.
 * Source: SDM vol. 1 appendix D.2; PIIX3 datasheet 2.5.10 (coprocessor error
 * register). Left out: the bit of XBCS that makes IRQ 13 a line like any other.
 */
#include "dev/ferr.h"

#include <stdlib.h>

#include "dev/devutil.h"
#include "util/util.h"

struct ferr {
	struct device dev;
	struct bus_region region;
	struct ferr_wires wires;
	bool ferr, ignne, latch;
};

static void set_pins(struct ferr *f, bool ferr, bool ignne)
{
	f->ferr = ferr;
	f->ignne = ignne;
	f->wires.pins(f->wires.ctx, ferr, ignne);
}

static void set_latch(struct ferr *f, bool on)
{
	f->latch = on;
	irq_set(f->wires.irq, on);
}

void ferr_set(struct ferr *f, bool level)
{
	if (level == f->ferr)
		return;
	set_pins(f, level, false);
	if (level)
		set_latch(f, true);
}

static uint64_t ferr_read(void *ctx, uint64_t off, unsigned size)
{
	return 0xff;
}

static void ferr_write(void *ctx, uint64_t off, unsigned size, uint64_t value)
{
	struct ferr *f = ctx;

	set_latch(f, false);
	set_pins(f, f->ferr, f->ferr);
}

static const struct bus_ops ferr_ops = {ferr_read, ferr_write, 1, 1};

static void ferr_reset(struct device *dev)
{
	struct ferr *f = container_of(dev, struct ferr, dev);

	set_latch(f, false);
	set_pins(f, false, false);
}

static void ferr_snap(struct device *dev, struct snap *s)
{
	struct ferr *f = container_of(dev, struct ferr, dev);

	snap_section(s, dev->name, 1);
	snap_bool(s, "ferr", &f->ferr);
	snap_bool(s, "ignne", &f->ignne);
	snap_bool(s, "latch", &f->latch);
	if (!snap_loading(s))
		return;
	set_latch(f, f->latch);
	set_pins(f, f->ferr, f->ferr && f->ignne);
}

static void ferr_destroy(struct device *dev)
{
	free(container_of(dev, struct ferr, dev));
}

struct ferr *ferr_new(const struct ferr_wires *wires)
{
	struct ferr *f = xcalloc(1, sizeof(*f));

	f->dev = (struct device){"ferr", ferr_reset, ferr_snap, ferr_destroy};
	f->wires = *wires;
	region_init(&f->region, "ferr", 1, &ferr_ops, f);
	return f;
}

struct device *ferr_device(struct ferr *f)
{
	return &f->dev;
}

struct bus_region *ferr_region(struct ferr *f)
{
	return &f->region;
}
