/*
 * fw_cfg.c - the firmware configuration device: items, files, DMA.
 *
 * A 16-bit write to the first port selects an item; each byte read from the
 * second gives its next byte, zeros behind its end. The DMA interface does the
 * same for whole blocks. Left out: items that the guest may write. Source:
 * QEMU's specification of the firmware configuration device. Lock: vm->lock.
 */
#include "dev/fw_cfg.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dev/devutil.h"
#include "util/util.h"

#define ID_TRADITIONAL 1u
#define ID_DMA         2u
#define DMA_SIGNATURE  UINT64_C(0x51454d5520434647) /* what the address register reads as */
#define ARCH_ITEMS     (FW_CFG_KEYS + FW_CFG_FILES) /* in the array: keys, files, these */
#define ITEMS          (ARCH_ITEMS + FW_CFG_ARCH_END - FW_CFG_ARCH)

enum { SELECTOR = 0, DATA = 1 };
enum { DMA_ERROR = 1, DMA_READ = 2, DMA_SKIP = 4, DMA_SELECT = 8, DMA_WRITE = 16 };

/* What the guest puts into memory for a block; all big-endian. */
struct dma_request {
	uint32_t control, length;
	uint64_t address;
};

struct directory_entry {
	uint32_t size; /* big-endian, as the next */
	uint16_t key, reserved;
	char name[FW_CFG_NAME_SIZE];
};

struct item {
	uint8_t *data;
	uint32_t size;
};

struct fw_cfg {
	struct device dev;
	struct bus_region region[2];
	struct guest_memory *dma;
	struct item item[ITEMS];
	struct {
		uint32_t count; /* big-endian */
		struct directory_entry entry[FW_CFG_FILES];
	} directory;
	unsigned files;
	uint16_t key;
	uint32_t offset;
	uint64_t dma_addr;
};

/* The item's place in the array, or ITEMS. */
static unsigned place(unsigned key)
{
	if (key >= FW_CFG_ARCH && key < FW_CFG_ARCH_END)
		return ARCH_ITEMS + key - FW_CFG_ARCH;
	return key < ARCH_ITEMS ? key : ITEMS;
}

static const struct item *selected(const struct fw_cfg *f)
{
	unsigned n = place(f->key);

	return n < ITEMS ? &f->item[n] : NULL;
}

static void select_item(struct fw_cfg *f, uint16_t key)
{
	f->key = key;
	f->offset = 0;
}

static uint64_t fw_cfg_read(void *ctx, uint64_t off, unsigned size)
{
	struct fw_cfg *f = ctx;
	const struct item *item;

	if (off != DATA)
		return UINT64_MAX;
	item = selected(f);
	return item && f->offset < item->size ? item->data[f->offset++] : 0;
}

static void fw_cfg_write(void *ctx, uint64_t off, unsigned size, uint64_t value)
{
	struct fw_cfg *f = ctx;

	if (off == SELECTOR && size == 2)
		select_item(f, (uint16_t)value);
}

/* ---- DMA ---- */

/* Bytes of the item, then zeros, to the guest's memory. */
static int dma_read(struct fw_cfg *f, gpa_t to, uint32_t len)
{
	const struct item *item = selected(f);
	uint32_t size = item ? item->size : 0, left, n;
	int err = 0;

	left = f->offset < size ? size - f->offset : 0;
	n = MIN(len, left);
	if (n)
		err = mem_write(f->dma, to, item->data + f->offset, n);
	if (!err && len > n)
		err = mem_fill(f->dma, to + n, 0, len - n);
	f->offset += n;
	return err;
}

static bool dma_serve(struct fw_cfg *f, const struct dma_request *r)
{
	uint32_t control = be32toh(r->control), len = be32toh(r->length);

	if (control & DMA_SELECT)
		select_item(f, (uint16_t)(control >> 16));
	if (control & DMA_READ)
		return !dma_read(f, be64toh(r->address), len);
	if (control & DMA_SKIP) {
		f->offset = len > UINT32_MAX - f->offset ? UINT32_MAX : f->offset + len;
		return true;
	}
	return !(control & DMA_WRITE);
}

static void dma_start(struct fw_cfg *f)
{
	gpa_t at = f->dma_addr;
	struct dma_request r;
	uint32_t control;

	f->dma_addr = 0;
	if (mem_read(f->dma, at, &r, sizeof(r)))
		return;
	control = dma_serve(f, &r) ? 0 : htobe32(DMA_ERROR);
	mem_write(f->dma, at, &control, sizeof(control));
}

static uint64_t dma_port_read(void *ctx, uint64_t off, unsigned size)
{
	return size == 4 ? htobe32((uint32_t)(DMA_SIGNATURE >> (off ? 0 : 32))) : UINT64_MAX;
}

static void dma_port_write(void *ctx, uint64_t off, unsigned size, uint64_t value)
{
	struct fw_cfg *f = ctx;
	uint32_t half = be32toh((uint32_t)value);

	if (size != 4)
		return;
	if (off == 0) {
		f->dma_addr = (uint64_t)half << 32;
	} else if (off == 4) {
		f->dma_addr |= half;
		dma_start(f);
	}
}

static const struct bus_ops fw_cfg_ops[2] = {
	[FW_CFG_PORTS] = {fw_cfg_read, fw_cfg_write, 1, 2},
	[FW_CFG_DMA] = {dma_port_read, dma_port_write, 1, 4},
};

static void fw_cfg_reset(struct device *dev)
{
	struct fw_cfg *f = container_of(dev, struct fw_cfg, dev);

	select_item(f, FW_CFG_SIGNATURE);
	f->dma_addr = 0;
}

static void fw_cfg_snap(struct device *dev, struct snap *s)
{
	struct fw_cfg *f = container_of(dev, struct fw_cfg, dev);

	snap_section(s, dev->name, 1);
	snap_u16(s, "key", &f->key);
	snap_u32(s, "offset", &f->offset); /* any: each read checks it */
	snap_u64(s, "dma_addr", &f->dma_addr);
}

static void fw_cfg_destroy(struct device *dev)
{
	struct fw_cfg *f = container_of(dev, struct fw_cfg, dev);

	for (unsigned k = 0; k < ITEMS; k++)
		free(f->item[k].data);
	free(f);
}

struct fw_cfg *fw_cfg_new(struct guest_memory *dma)
{
	struct fw_cfg *f = xcalloc(1, sizeof(*f));

	f->dev = (struct device){"fw_cfg", fw_cfg_reset, fw_cfg_snap, fw_cfg_destroy};
	f->dma = dma;
	region_init(&f->region[FW_CFG_PORTS], "fw_cfg", 2, &fw_cfg_ops[FW_CFG_PORTS], f);
	region_init(&f->region[FW_CFG_DMA], "fw_cfg DMA", 8, &fw_cfg_ops[FW_CFG_DMA], f);
	fw_cfg_add(f, FW_CFG_SIGNATURE, "QEMU", 4);
	fw_cfg_add_number(f, FW_CFG_ID, ID_TRADITIONAL | (dma ? ID_DMA : 0), 4);
	return f;
}

void fw_cfg_add(struct fw_cfg *f, unsigned key, const void *data, uint32_t size)
{
	struct item *item = &f->item[place(key)];

	free(item->data);
	*item = (struct item){xcalloc(1, size), size};
	memcpy(item->data, data, size);
}

void fw_cfg_add_number(struct fw_cfg *f, unsigned key, uint64_t value, unsigned size)
{
	fw_cfg_add(f, key, &value, size); /* hosts are little-endian, too */
}

int fw_cfg_add_file(struct fw_cfg *f, const char *name, const void *data, uint32_t size)
{
	struct directory_entry *e = &f->directory.entry[f->files];
	unsigned key = FW_CFG_KEYS + f->files;

	if (f->files == FW_CFG_FILES || strlen(name) >= FW_CFG_NAME_SIZE)
		return -ENOSPC;
	fw_cfg_add(f, key, data, size);
	e->size = htobe32(size);
	e->key = htobe16((uint16_t)key);
	memcpy(e->name, name, strlen(name));
	f->directory.count = htobe32(++f->files);
	fw_cfg_add(f, FW_CFG_DIRECTORY, &f->directory,
		sizeof(uint32_t) + f->files * (uint32_t)sizeof(*e));
	return 0;
}

struct device *fw_cfg_device(struct fw_cfg *f)
{
	return &f->dev;
}

struct bus_region *fw_cfg_region(struct fw_cfg *f, enum fw_cfg_region_id id)
{
	return &f->region[id];
}
