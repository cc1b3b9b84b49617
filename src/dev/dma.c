/*
 * dma.c - two cascaded 8237A DMA controllers with their page registers.
 *
 * Source: Intel 8237A datasheet; IBM AT technical reference for pages and the
 * second controller, which counts words. Devices ask for whole blocks. Left
 * out: memory-to-memory transfers, priorities, timing modes. Lock: vm->lock.
 */
#include "dev/dma.h"

#include <stdlib.h>

#include "dev/devutil.h"
#include "util/util.h"

#define CHANNELS 8u
#define CASCADE  4u

enum {
	REG_STATUS = 8, /* COMMAND if written */
	REG_REQUEST = 9,
	REG_MASK = 10,
	REG_MODE = 11,
	REG_CLEAR_FLIP = 12,
	REG_MASTER_CLEAR = 13, /* the temporary register if read */
	REG_CLEAR_MASK = 14,
	REG_ALL_MASK = 15
};

enum { MODE_TO_MEMORY = 1, MODE_FROM_MEMORY = 2 }; /* bits 3:2 */

#define MODE_AUTO 0x10u
#define MODE_DOWN 0x20u
#define DISABLED  0x04u /* of the command register */

struct channel {
	uint16_t addr, count, base_addr, base_count;
	uint8_t mode, page;
};

struct dma {
	struct device dev;
	struct bus_region region[3];
	struct guest_memory *memory;
	struct channel channel[CHANNELS];
	uint8_t command[2], status[2], mask[2];
	bool flip[2];      /* the next byte is a high one */
	uint8_t pages[15]; /* those that are no channel's are plain storage */
};

/* ---- registers of a controller ---- */

static uint8_t halves(struct dma *d, unsigned chip, uint16_t value)
{
	bool high = d->flip[chip];

	d->flip[chip] = !high;
	return (uint8_t)(high ? value >> 8 : value);
}

static uint8_t chip_read(struct dma *d, unsigned chip, unsigned reg)
{
	struct channel *c = &d->channel[chip * 4 + (reg >> 1 & 3)];
	uint8_t status;

	if (reg < REG_STATUS)
		return halves(d, chip, reg & 1 ? c->count : c->addr);
	if (reg == REG_ALL_MASK)
		return d->mask[chip] | 0xf0;
	if (reg != REG_STATUS)
		return 0;
	status = d->status[chip];
	d->status[chip] = 0;
	return status;
}

static void write_half(struct dma *d, unsigned chip, uint16_t *base, uint16_t *now, uint8_t value)
{
	if (d->flip[chip])
		*base = (uint16_t)((*base & 0x00ff) | value << 8);
	else
		*base = (uint16_t)((*base & 0xff00) | value);
	*now = *base;
	d->flip[chip] = !d->flip[chip];
}

static void clear_chip(struct dma *d, unsigned chip)
{
	d->command[chip] = d->status[chip] = 0;
	d->mask[chip] = 0xf;
	d->flip[chip] = false;
}

static void chip_write(struct dma *d, unsigned chip, unsigned reg, uint8_t value)
{
	struct channel *c = &d->channel[chip * 4 + (reg < REG_STATUS ? reg >> 1 : value & 3u)];
	uint8_t bit = (uint8_t)(1u << (value & 3));

	switch (reg) {
	case REG_STATUS:
		d->command[chip] = value;
		break;
	case REG_REQUEST:
	case REG_CLEAR_FLIP:
		d->flip[chip] = reg == REG_CLEAR_FLIP ? false : d->flip[chip];
		break;
	case REG_MASK:
		d->mask[chip] = value & 4 ? d->mask[chip] | bit : d->mask[chip] & (uint8_t)~bit;
		break;
	case REG_MODE:
		c->mode = value;
		break;
	case REG_MASTER_CLEAR:
		clear_chip(d, chip);
		break;
	case REG_CLEAR_MASK:
		d->mask[chip] = 0;
		break;
	case REG_ALL_MASK:
		d->mask[chip] = value & 0xf;
		break;
	default:
		if (reg & 1)
			write_half(d, chip, &c->base_count, &c->count, value);
		else
			write_half(d, chip, &c->base_addr, &c->addr, value);
		break;
	}
}

static uint64_t low_read(void *ctx, uint64_t off, unsigned size)
{
	return chip_read(ctx, 0, (unsigned)off);
}

static void low_write(void *ctx, uint64_t off, unsigned size, uint64_t value)
{
	chip_write(ctx, 0, (unsigned)off, (uint8_t)value);
}

/* The second controller's address lines start at A1. */
static uint64_t high_read(void *ctx, uint64_t off, unsigned size)
{
	return chip_read(ctx, 1, (unsigned)off / 2);
}

static void high_write(void *ctx, uint64_t off, unsigned size, uint64_t value)
{
	chip_write(ctx, 1, (unsigned)off / 2, (uint8_t)value);
}

/* ---- pages ---- */

/* Which channel port 81h + off belongs to, CASCADE: none. */
static unsigned page_channel(unsigned off)
{
	static const uint8_t channel[8] = {CASCADE, 2, 3, 1, CASCADE, CASCADE, CASCADE, 0};
	unsigned port = 0x81 + off, n = channel[port & 7];

	if (n == CASCADE || n == 0)
		return port == 0x87 ? 0 : CASCADE;
	return port & 8 ? n + 4 : n;
}

static uint64_t pages_read(void *ctx, uint64_t off, unsigned size)
{
	return ((struct dma *)ctx)->pages[off];
}

static void pages_write(void *ctx, uint64_t off, unsigned size, uint64_t value)
{
	struct dma *d = ctx;
	unsigned channel = page_channel((unsigned)off);

	d->pages[off] = (uint8_t)value;
	if (channel != CASCADE)
		d->channel[channel].page = (uint8_t)value;
}

static const struct bus_ops dma_ops[3] = {
	[DMA_LOW] = {low_read, low_write, 1, 1},
	[DMA_HIGH] = {high_read, high_write, 1, 1},
	[DMA_PAGES] = {pages_read, pages_write, 1, 1},
};

/* ---- transfers ---- */

static unsigned unit(unsigned channel)
{
	return channel < 4 ? 1 : 2;
}

uint32_t dma_room(const struct dma *d, unsigned channel)
{
	const struct channel *c = &d->channel[channel % CHANNELS];
	unsigned chip = channel / 4 % 2;

	if (d->mask[chip] >> (channel & 3) & 1 || d->command[chip] & DISABLED)
		return 0;
	return (c->count + 1u) * unit(channel);
}

/* Address lines above 15 (or 16) are the page's and do not count. */
static gpa_t address(const struct channel *c, unsigned channel)
{
	if (unit(channel) == 1)
		return (gpa_t)c->page << 16 | c->addr;
	return (gpa_t)(c->page & 0xfe) << 16 | (gpa_t)c->addr << 1;
}

/* A bus cycle; memory that is not there swallows writes and gives all ones. */
static void move_unit(struct dma *d, unsigned channel, uint8_t *p, bool to_memory)
{
	struct channel *c = &d->channel[channel];
	unsigned kind = c->mode >> 2 & 3;

	if (to_memory && kind == MODE_TO_MEMORY)
		mem_write(d->memory, address(c, channel), p, unit(channel));
	else if (!to_memory && kind == MODE_FROM_MEMORY &&
		 mem_read(d->memory, address(c, channel), p, unit(channel)))
		p[0] = p[unit(channel) - 1] = 0xff;
	c->addr = c->mode & MODE_DOWN ? c->addr - 1 : c->addr + 1;
	c->count--;
}

static void terminal_count(struct dma *d, unsigned channel)
{
	struct channel *c = &d->channel[channel];
	unsigned chip = channel / 4;

	d->status[chip] |= (uint8_t)(1u << (channel & 3));
	if (c->mode & MODE_AUTO) {
		c->addr = c->base_addr;
		c->count = c->base_count;
	} else {
		d->mask[chip] |= (uint8_t)(1u << (channel & 3));
	}
}

uint32_t dma_move(
	struct dma *d, unsigned channel, uint8_t *buf, uint32_t len, bool to_memory, bool *end)
{
	uint32_t step = unit(channel % CHANNELS), n = MIN(len, dma_room(d, channel));

	channel %= CHANNELS;
	*end = false;
	n -= n % step;
	for (uint32_t i = 0; i < n; i += step)
		move_unit(d, channel, buf + i, to_memory);
	if (n && d->channel[channel].count == 0xffff) {
		*end = true;
		terminal_count(d, channel);
	}
	return n;
}

/* ---- life ---- */

static void dma_reset(struct device *dev)
{
	struct dma *d = container_of(dev, struct dma, dev);

	for (unsigned i = 0; i < CHANNELS; i++)
		d->channel[i] = (struct channel){0};
	for (unsigned i = 0; i < sizeof(d->pages); i++)
		d->pages[i] = 0;
	clear_chip(d, 0);
	clear_chip(d, 1);
}

static void dma_snap(struct device *dev, struct snap *s)
{
	struct dma *d = container_of(dev, struct dma, dev);

	snap_section(s, dev->name, 1);
	for (unsigned i = 0; i < CHANNELS; i++) {
		struct channel *c = &d->channel[i];

		snap_u16(s, "addr", &c->addr);
		snap_u16(s, "count", &c->count);
		snap_u16(s, "base_addr", &c->base_addr);
		snap_u16(s, "base_count", &c->base_count);
		snap_u8(s, "mode", &c->mode);
		snap_u8(s, "page", &c->page);
	}
	for (unsigned chip = 0; chip < 2; chip++) {
		snap_u8(s, "command", &d->command[chip]);
		snap_u8(s, "status", &d->status[chip]);
		snap_u8_max(s, "mask", &d->mask[chip], 0xf);
		snap_bool(s, "flip", &d->flip[chip]);
	}
	snap_bytes(s, "pages", d->pages, sizeof(d->pages));
}

static void dma_destroy(struct device *dev)
{
	free(container_of(dev, struct dma, dev));
}

struct dma *dma_new(struct guest_memory *memory)
{
	struct dma *d = xcalloc(1, sizeof(*d));

	d->dev = (struct device){"dma", dma_reset, dma_snap, dma_destroy, NULL};
	d->memory = memory;
	region_init(&d->region[DMA_LOW], "dma", 16, &dma_ops[DMA_LOW], d);
	region_init(&d->region[DMA_HIGH], "dma 2", 32, &dma_ops[DMA_HIGH], d);
	region_init(&d->region[DMA_PAGES], "dma pages", 15, &dma_ops[DMA_PAGES], d);
	dma_reset(&d->dev);
	return d;
}

struct device *dma_device(struct dma *d)
{
	return &d->dev;
}

struct bus_region *dma_region(struct dma *d, enum dma_region_id id)
{
	return &d->region[id];
}
