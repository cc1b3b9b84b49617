/*
 * i440fx.c - the 82441FX host bridge (PMC): identity and the programmable
 * attribute map.
 *
 * Source: Intel 440FX PCIset datasheet (290549), 3.2.18 PAM. Each of 13 areas
 * says where reads and writes go: to RAM or to what lies behind on the bus.
 * Left out: SMRAM (there is no system management mode), DRAM timing and row
 * boundaries, which are kept without effect. Lock: vm->lock.
 */
#include "dev/i440fx.h"

#include <stdlib.h>
#include <string.h>

#include "dev/devutil.h"
#include "util/util.h"

#define PAM0      0x59u
#define PAM_LAST  0x5fu
#define AREAS     13u
#define AREA_SIZE 0x4000u
#define TOP_AREA  0xf0000u /* PAM0: 64 KiB, its high nibble */

enum { PAM_RE = 1, PAM_WE = 2, PAM_BOTH = 3 };

struct area {
	struct bus_region region;
	uint8_t *ram, *rom; /* rom: behind it, NULL: no memory there */
	uint8_t mode;
};

struct i440fx {
	struct device dev;
	struct pci_func func;
	struct bus *memory;
	struct area area[AREAS];
};

/* ---- an area whose writes go elsewhere than its reads ---- */

static uint64_t write_only_read(void *ctx, uint64_t off, unsigned size)
{
	return UINT64_MAX; /* nothing is behind it */
}

static void write_only_write(void *ctx, uint64_t off, unsigned size, uint64_t value)
{
	struct area *a = ctx;

	memcpy(a->ram + off, &value, size);
}

static const struct bus_ops write_only_ops = {write_only_read, write_only_write, 1, 8};

/* What is at the area's place while it is closed. */
static uint8_t *find_rom(struct i440fx *h, const struct area *a)
{
	const struct bus_range *r = bus_find(h->memory, a->region.base);

	if (!r || r->region->kind != BUS_ROM ||
		!range_in(a->region.base - r->base, a->region.size, r->size))
		return NULL;
	return r->region->host + r->off + (a->region.base - r->base);
}

static void open_area(struct i440fx *h, struct area *a, uint8_t mode)
{
	struct bus_region *r = &a->region;

	if (mode == a->mode || !a->ram)
		return;
	a->mode = mode;
	bus_unmap(h->memory, r);
	if (!mode)
		return;
	r->host = a->ram;
	r->ops = NULL;
	r->kind = mode == PAM_BOTH ? BUS_RAM : BUS_ROM;
	if (mode == PAM_WE) {
		r->host = find_rom(h, a);
		r->kind = r->host ? BUS_ROM : BUS_IO;
		r->ops = &write_only_ops;
	}
	bus_map(h->memory, r);
}

/* ---- registers ---- */

static uint8_t area_mode(const struct i440fx *h, unsigned n)
{
	unsigned nibble = n + 1; /* area 0 is the high nibble of PAM0 */

	return h->func.config[PAM0 + nibble / 2] >> (nibble & 1 ? 4 : 0) & PAM_BOTH;
}

static void changed(struct pci_func *f, unsigned off, unsigned size)
{
	struct i440fx *h = container_of(f, struct i440fx, func);

	if (off > PAM_LAST || off + size <= PAM0)
		return;
	for (unsigned n = 0; n < AREAS; n++)
		open_area(h, &h->area[n], area_mode(h, n));
}

static void i440fx_reset(struct device *dev)
{
	pci_func_reset(&container_of(dev, struct i440fx, dev)->func);
}

static void i440fx_snap(struct device *dev, struct snap *s)
{
	struct i440fx *h = container_of(dev, struct i440fx, dev);

	snap_section(s, dev->name, 1);
	pci_func_snap(&h->func, s);
}

static void i440fx_destroy(struct device *dev)
{
	free(container_of(dev, struct i440fx, dev));
}

static void make_area(struct i440fx *h, unsigned n, uint8_t *shadow)
{
	struct area *a = &h->area[n];
	gpa_t base = n ? I440FX_SHADOW + (n - 1) * AREA_SIZE : TOP_AREA;

	region_init(&a->region, "shadow RAM", n ? AREA_SIZE : 0x10000, NULL, a);
	a->region.base = base;
	a->region.prio = BUS_PRIO_MOVABLE;
	a->ram = shadow ? shadow + (base - I440FX_SHADOW) : NULL;
}

struct i440fx *i440fx_new(struct bus *memory, uint8_t *shadow)
{
	const struct pci_id id = {
		.vendor = 0x8086, .device = 0x1237, .class = 0x060000, .revision = 2};
	struct i440fx *h = xcalloc(1, sizeof(*h));

	h->dev = (struct device){"i440fx", i440fx_reset, i440fx_snap, i440fx_destroy, NULL};
	h->memory = memory;
	pci_func_init(&h->func, "i440fx", &id);
	for (unsigned off = 0x50; off < 0x80; off++)
		pci_func_register(
			&h->func, off, 1, 0, off <= PAM_LAST && off >= PAM0 ? 0x33 : 0xff);
	h->func.changed = changed;
	for (unsigned n = 0; n < AREAS; n++)
		make_area(h, n, shadow);
	return h;
}

struct device *i440fx_device(struct i440fx *h)
{
	return &h->dev;
}

struct pci_func *i440fx_func(struct i440fx *h)
{
	return &h->func;
}
