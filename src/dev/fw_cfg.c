/*
 * fw_cfg.c - the firmware configuration device's selector and data ports.
 *
 * A 16-bit write to the first port selects an item; each byte read from the
 * second gives its next byte, zeros behind its end. Left out: the directory of
 * files, the DMA interface, writes. Source: QEMU's specification of the
 * firmware configuration device. Lock: vm->lock.
 */
#include "dev/fw_cfg.h"

#include <stdlib.h>
#include <string.h>

#include "dev/devutil.h"
#include "util/util.h"

#define ID_TRADITIONAL 1u /* the interface of two ports is there, DMA is not */

enum { SELECTOR = 0, DATA = 1 };

struct item {
	uint8_t *data;
	uint32_t size;
};

struct fw_cfg {
	struct device dev;
	struct bus_region region;
	struct item item[FW_CFG_KEYS];
	uint16_t key;
	uint32_t offset;
};

static uint64_t fw_cfg_read(void *ctx, uint64_t off, unsigned size)
{
	struct fw_cfg *f = ctx;
	const struct item *item;

	if (off != DATA)
		return UINT64_MAX;
	item = f->key < FW_CFG_KEYS ? &f->item[f->key] : NULL;
	return item && f->offset < item->size ? item->data[f->offset++] : 0;
}

static void fw_cfg_write(void *ctx, uint64_t off, unsigned size, uint64_t value)
{
	struct fw_cfg *f = ctx;

	if (off != SELECTOR || size != 2)
		return;
	f->key = (uint16_t)value;
	f->offset = 0;
}

static const struct bus_ops fw_cfg_ops = {fw_cfg_read, fw_cfg_write, 1, 2};

static void fw_cfg_reset(struct device *dev)
{
	struct fw_cfg *f = container_of(dev, struct fw_cfg, dev);

	f->key = FW_CFG_SIGNATURE;
	f->offset = 0;
}

static void fw_cfg_snap(struct device *dev, struct snap *s)
{
	struct fw_cfg *f = container_of(dev, struct fw_cfg, dev);

	snap_section(s, dev->name, 1);
	snap_u16(s, "key", &f->key);
	snap_u32(s, "offset", &f->offset); /* any: each read checks it */
}

static void fw_cfg_destroy(struct device *dev)
{
	struct fw_cfg *f = container_of(dev, struct fw_cfg, dev);

	for (unsigned k = 0; k < FW_CFG_KEYS; k++)
		free(f->item[k].data);
	free(f);
}

struct fw_cfg *fw_cfg_new(void)
{
	struct fw_cfg *f = xcalloc(1, sizeof(*f));

	f->dev = (struct device){"fw_cfg", fw_cfg_reset, fw_cfg_snap, fw_cfg_destroy};
	region_init(&f->region, "fw_cfg", 2, &fw_cfg_ops, f);
	fw_cfg_add(f, FW_CFG_SIGNATURE, "QEMU", 4);
	fw_cfg_add_number(f, FW_CFG_ID, ID_TRADITIONAL, 4);
	return f;
}

void fw_cfg_add(struct fw_cfg *f, unsigned key, const void *data, uint32_t size)
{
	struct item *item = &f->item[key];

	free(item->data);
	*item = (struct item){xcalloc(1, size), size};
	memcpy(item->data, data, size);
}

void fw_cfg_add_number(struct fw_cfg *f, unsigned key, uint64_t value, unsigned size)
{
	fw_cfg_add(f, key, &value, size); /* hosts are little-endian, too */
}

struct device *fw_cfg_device(struct fw_cfg *f)
{
	return &f->dev;
}

struct bus_region *fw_cfg_region(struct fw_cfg *f)
{
	return &f->region;
}
