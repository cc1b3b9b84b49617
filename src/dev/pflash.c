/*
 * pflash.c - an Intel-compatible NOR flash, 8 bits wide, blocks of 4 KiB.
 *
 * Source: Intel StrataFlash (28F128J3) datasheet: 4 (bus operation), 11
 * (commands). While it shows its array it is a ROM to the guest, executable and
 * fast; else each access is answered by its state. Left out: the write buffer,
 * the CFI query, suspension, block locks. Lock: vm->lock.
 */
#include "dev/pflash.h"

#include <stdlib.h>
#include <string.h>

#include "dev/devutil.h"
#include "util/util.h"

enum command {
	PROGRAM_ALT = 0x10,
	ERASE = 0x20,
	PROGRAM = 0x40,
	CLEAR_STATUS = 0x50,
	LOCK_SETUP = 0x60,
	READ_STATUS = 0x70,
	READ_ID = 0x90,
	CONFIRM = 0xd0,
	READ_ARRAY = 0xff
};

enum { STATUS_READY = 0x80, STATUS_ERASE_ERROR = 0x20, STATUS_PROGRAM_ERROR = 0x10 };

/*
 * OVMF takes a chip for flash, not for ROM, if its cleared status reads as zero;
 * a real one is ready then. Ready is shown after the first operation.
 */
#define CLEARED 0

#define BLOCK_SIZE   4096u
#define MANUFACTURER 0x89
#define DEVICE_ID    0x18

struct pflash {
	struct device dev;
	struct bus_region region;
	struct bus *memory;
	uint8_t mode;  /* READ_ARRAY, READ_STATUS or READ_ID: what reads show */
	uint8_t setup; /* the first cycle of a command of two, 0: none */
	uint8_t status;
};

/* A ROM while it shows its array; remapped where that changes. */
static void show(struct pflash *f, uint8_t mode)
{
	uint8_t kind = mode == READ_ARRAY ? BUS_ROM : BUS_IO;
	bool mapped = f->region.mapped;

	f->mode = mode;
	if (kind == f->region.kind)
		return;
	if (mapped)
		bus_unmap(f->memory, &f->region);
	f->region.kind = kind;
	if (mapped)
		bus_map(f->memory, &f->region);
}

static uint8_t byte_read(const struct pflash *f, uint64_t off)
{
	if (f->mode == READ_STATUS)
		return f->status;
	if (f->mode == READ_ID)
		return off % BLOCK_SIZE == 0 ? MANUFACTURER : off % BLOCK_SIZE == 1 ? DEVICE_ID : 0;
	return f->region.host[off];
}

static uint64_t pflash_read(void *ctx, uint64_t off, unsigned size)
{
	const struct pflash *f = ctx;
	uint64_t value = 0;

	for (unsigned i = 0; i < size; i++)
		value |= (uint64_t)byte_read(f, off + i) << (8 * i);
	return value;
}

/* Programming only clears bits. */
static void program(struct pflash *f, uint64_t off, unsigned size, uint64_t value)
{
	for (unsigned i = 0; i < size; i++)
		f->region.host[off + i] &= (uint8_t)(value >> (8 * i));
	f->status |= STATUS_READY;
}

static void erase(struct pflash *f, uint64_t off)
{
	memset(f->region.host + off / BLOCK_SIZE * BLOCK_SIZE, 0xff, BLOCK_SIZE);
	f->status |= STATUS_READY;
}

static void second_cycle(struct pflash *f, uint64_t off, unsigned size, uint64_t value)
{
	uint8_t setup = f->setup;

	f->setup = 0;
	if (setup == PROGRAM)
		program(f, off, size, value);
	else if (setup == ERASE && (uint8_t)value == CONFIRM)
		erase(f, off);
	else if (setup == ERASE)
		f->status |= STATUS_ERASE_ERROR | STATUS_PROGRAM_ERROR; /* bad sequence */
	show(f, READ_STATUS);
}

static void pflash_write(void *ctx, uint64_t off, unsigned size, uint64_t value)
{
	struct pflash *f = ctx;

	if (f->setup) {
		second_cycle(f, off, size, value);
		return;
	}
	switch ((uint8_t)value) {
	case PROGRAM:
	case PROGRAM_ALT:
		f->setup = PROGRAM;
		show(f, READ_STATUS);
		break;
	case ERASE:
	case LOCK_SETUP:
		f->setup = (uint8_t)value;
		show(f, READ_STATUS);
		break;
	case CLEAR_STATUS:
		f->status = CLEARED;
		break;
	case READ_STATUS:
	case READ_ID:
		show(f, (uint8_t)value);
		break;
	case READ_ARRAY:
		show(f, READ_ARRAY);
		break;
	default:
		break;
	}
}

static const struct bus_ops pflash_ops = {pflash_read, pflash_write, 1, 8};

static void pflash_reset(struct device *dev)
{
	struct pflash *f = container_of(dev, struct pflash, dev);

	f->setup = 0;
	f->status = CLEARED;
	show(f, READ_ARRAY);
}

static void pflash_snap(struct device *dev, struct snap *s)
{
	struct pflash *f = container_of(dev, struct pflash, dev);
	uint8_t mode = f->mode;

	snap_section(s, dev->name, 1);
	snap_u8(s, "mode", &mode);
	snap_u8(s, "setup", &f->setup);
	snap_u8(s, "status", &f->status);
	snap_bytes(s, "bytes", f->region.host, f->region.size);
	if (!snap_loading(s) || snap_error(s))
		return;
	if (f->setup && f->setup != PROGRAM && f->setup != ERASE)
		f->setup = LOCK_SETUP;
	show(f, mode == READ_STATUS || mode == READ_ID ? mode : READ_ARRAY);
}

static void pflash_destroy(struct device *dev)
{
	free(container_of(dev, struct pflash, dev));
}

struct pflash *pflash_new(const char *name, struct bus *memory, uint8_t *bytes, uint32_t size)
{
	struct pflash *f = xcalloc(1, sizeof(*f));

	f->dev = (struct device){name, pflash_reset, pflash_snap, pflash_destroy, NULL};
	f->memory = memory;
	region_init(&f->region, name, size, &pflash_ops, f);
	f->region.kind = BUS_ROM;
	f->region.host = bytes;
	f->mode = READ_ARRAY;
	f->status = CLEARED;
	return f;
}

struct device *pflash_device(struct pflash *f)
{
	return &f->dev;
}

struct bus_region *pflash_region(struct pflash *f)
{
	return &f->region;
}
