/*
 * ide.c - an IDE channel: registers, interrupt, data by PIO and by DMA.
 *
 * Source: ATA/ATAPI-6 (T13/1410D): 7 (registers), 9 (protocols). A transfer
 * goes through one buffer in pieces: the disk fills it and the guest empties
 * it, or the other way round. Left out: overlapped and queued commands, power
 * modes beyond their answers. Lock: vm->lock.
 */
#include "dev/ide.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dev/devutil.h"
#include "dev/ide_drive.h"
#include "util/util.h"

enum {
	REG_DATA,
	REG_ERROR, /* FEATURE if written */
	REG_COUNT,
	REG_LBA0,
	REG_LBA1,
	REG_LBA2,
	REG_DEVICE,
	REG_STATUS /* COMMAND if written */
};

enum { CTL_NIEN = 0x02, CTL_SRST = 0x04, CTL_HOB = 0x80 };

#define COMMAND_DEVICE_RESET 0x08
#define NO_DRIVE             0x00 /* the other drive answers for one that is not there */
#define FLOATING             0x7f /* nobody drives the lines but a pull-down on DD7 */

static void next_piece(struct ide *c);

static bool present(const struct ide_drive *d)
{
	return d->kind != IDE_NONE;
}

static bool to_guest(const struct ide *c)
{
	return c->phase == IDE_PIO_IN || c->phase == IDE_DMA_IN;
}

/* ---- interrupt ---- */

static void update_irq(struct ide *c)
{
	bool level = c->irq_on && !(c->control & CTL_NIEN);

	irq_set(c->irq, level);
	if (c->master.irq)
		c->master.irq(c->master.ctx, level);
}

void ide_raise(struct ide *c)
{
	c->irq_on = true;
	update_irq(c);
}

static void lower(struct ide *c)
{
	c->irq_on = false;
	update_irq(c);
}

/* ---- the end of a command ---- */

void ide_complete(struct ide *c, uint8_t status, uint8_t error)
{
	struct ide_drive *d = ide_current(c);

	if ((c->phase == IDE_DMA_IN || c->phase == IDE_DMA_OUT) && c->master.done)
		c->master.done(c->master.ctx);
	c->phase = IDE_IDLE;
	c->wait_dma = c->packet = false;
	c->left = 0;
	d->status = IDE_DRDY | IDE_DSC | status;
	d->error = error;
	ide_raise(c);
}

static void transfer_failed(struct ide *c, int error)
{
	struct ide_drive *d = ide_current(c);

	if (d->kind == IDE_CDROM) {
		atapi_finish(c, error);
		return;
	}
	ata_show_address(c, d, c->lba);
	if (error == -EROFS)
		ide_complete(c, IDE_ERR, IDE_ABRT);
	else if (error == -EINVAL)
		ide_complete(c, IDE_ERR, IDE_IDNF);
	else
		ide_complete(c, IDE_ERR, IDE_UNC);
}

/* All sectors have moved. Data read by PIO were announced before: no interrupt more. */
static void transfer_done(struct ide *c)
{
	struct ide_drive *d = ide_current(c);

	if (d->kind == IDE_CDROM) {
		atapi_finish(c, 0);
		return;
	}
	if (c->lba)
		ata_show_address(c, d, c->lba - 1);
	if (c->phase != IDE_PIO_IN) {
		ide_complete(c, 0, 0);
		return;
	}
	c->phase = IDE_IDLE;
	d->status = IDE_DRDY | IDE_DSC;
}

/* ---- the disk ---- */

static void disk_done(struct disk_request *r, int error);

static void submit(struct ide *c, enum disk_op op, uint64_t lba, uint32_t len)
{
	c->iov = (struct iovec){c->buf, len};
	c->request = (struct disk_request){.op = (uint8_t)op,
		.fua = op == DISK_WRITE && !ide_current(c)->write_cache,
		.offset = lba * SECTOR_SIZE,
		.len = len,
		.iov = len ? &c->iov : NULL,
		.iovcnt = len ? 1 : 0,
		.done = disk_done,
		.ctx = c};
	c->in_flight = true;
	ide_current(c)->status = IDE_BSY;
	disk_submit(ide_current(c)->disk, &c->request);
}

static void cancel(struct ide *c)
{
	if (c->in_flight)
		disk_cancel(ide_current(c)->disk, &c->request);
	c->in_flight = false;
	c->phase = IDE_IDLE;
	c->wait_dma = c->packet = false;
	c->left = 0;
}

void ide_wait_disk(struct ide *c, enum disk_op op)
{
	c->phase = IDE_WAIT;
	submit(c, op, 0, 0);
}

/* ---- PIO ---- */

static void next_block(struct ide *c, bool interrupt)
{
	struct ide_drive *d = ide_current(c);

	c->end = MIN(c->pos + c->block, c->len);
	d->status = IDE_DRDY | IDE_DSC | IDE_DRQ;
	if (d->kind == IDE_CDROM && !c->packet)
		atapi_block(c, c->end - c->pos);
	if (interrupt)
		ide_raise(c);
}

void ide_pio_in(struct ide *c, uint32_t len, uint32_t block)
{
	c->phase = IDE_PIO_IN;
	c->pos = 0;
	c->len = len;
	c->block = block;
	next_block(c, true);
}

void ide_pio_out(struct ide *c, uint32_t len, uint32_t block, bool interrupt)
{
	c->phase = IDE_PIO_OUT;
	c->pos = 0;
	c->len = len;
	c->block = block;
	next_block(c, interrupt);
}

/* The guest has moved a block. */
static void block_moved(struct ide *c)
{
	if (c->pos < c->len) {
		next_block(c, true);
		return;
	}
	if (c->packet) {
		c->packet = false;
		c->phase = IDE_IDLE;
		atapi_execute(c);
	} else if (c->phase == IDE_PIO_OUT) {
		submit(c, DISK_WRITE, c->lba, c->len);
	} else {
		next_piece(c);
	}
}

/* ---- DMA ---- */

/* Moves the buffer if the bus master runs; else it waits for that. */
static void dma_move(struct ide *c)
{
	int64_t n;

	c->wait_dma = true;
	if (!c->master.move || !c->master.started(c->master.ctx))
		return;
	n = c->master.move(c->master.ctx, c->buf + c->pos, c->len - c->pos, to_guest(c));
	if (n < 0) {
		c->wait_dma = false;
		transfer_failed(c, -EIO);
		return;
	}
	c->pos += (uint32_t)n;
	if (c->pos < c->len) /* the list was too short: until it is started again */
		return;
	c->wait_dma = false;
	if (to_guest(c))
		next_piece(c);
	else
		submit(c, DISK_WRITE, c->lba, c->len);
}

void ide_dma_in(struct ide *c, uint32_t len)
{
	c->phase = IDE_DMA_IN;
	c->pos = 0;
	c->len = len;
	ide_current(c)->status = IDE_BSY;
	dma_move(c);
}

void ide_dma_started(struct ide *c)
{
	if (c->wait_dma)
		dma_move(c);
}

/* ---- pieces ---- */

/* A block of PIO is written at once: the guest shall hear of its errors. */
static uint32_t piece_size(const struct ide *c)
{
	uint64_t max = c->phase == IDE_PIO_OUT ? c->block : IDE_BUFFER;

	return (uint32_t)MIN(c->left * SECTOR_SIZE, max);
}

static void next_piece(struct ide *c)
{
	if (!c->left) {
		transfer_done(c);
		return;
	}
	c->pos = 0;
	c->len = piece_size(c);
	if (c->phase == IDE_PIO_OUT)
		next_block(c, true);
	else if (c->phase == IDE_DMA_OUT)
		dma_move(c);
	else
		submit(c, DISK_READ, c->lba, c->len);
}

void ide_start_transfer(struct ide *c, enum ide_phase phase, uint32_t block)
{
	c->phase = (uint8_t)phase;
	c->block = block;
	ide_current(c)->status = IDE_BSY;
	if (phase == IDE_PIO_OUT) /* its first block is asked for without an interrupt */
		ide_pio_out(c, piece_size(c), block, false);
	else
		next_piece(c);
}

static void disk_done(struct disk_request *r, int error)
{
	struct ide *c = r->ctx;

	c->in_flight = false;
	if (c->phase == IDE_WAIT) {
		ide_complete(c, error ? IDE_ERR : 0, error ? IDE_ABRT : 0);
		return;
	}
	if (error) {
		transfer_failed(c, error);
		return;
	}
	c->lba += c->len / SECTOR_SIZE;
	c->left -= MIN(c->left, c->len / SECTOR_SIZE);
	if (c->phase == IDE_PIO_IN)
		ide_pio_in(c, c->len, c->block);
	else if (c->phase == IDE_DMA_IN)
		ide_dma_in(c, c->len);
	else
		next_piece(c);
}

/* ---- the data port ---- */

static bool data_ready(struct ide *c)
{
	return ide_current(c)->status & IDE_DRQ && c->pos < c->end;
}

static uint64_t data_read(struct ide *c, unsigned size)
{
	uint64_t value = 0;
	unsigned n;

	if (c->phase != IDE_PIO_IN || !data_ready(c))
		return 0;
	n = MIN(size, c->end - c->pos);
	memcpy(&value, c->buf + c->pos, n);
	c->pos += n;
	if (c->pos >= c->end)
		block_moved(c);
	return value;
}

static void data_write(struct ide *c, unsigned size, uint64_t value)
{
	unsigned n;

	if (c->phase != IDE_PIO_OUT || !data_ready(c))
		return;
	n = MIN(size, c->end - c->pos);
	memcpy(c->buf + c->pos, &value, n);
	c->pos += n;
	if (c->pos >= c->end)
		block_moved(c);
}

/* ---- registers ---- */

static uint8_t shown(const struct ide *c, const struct ide_reg *r)
{
	return c->control & CTL_HOB ? r->before : r->now;
}

static uint8_t status_of(struct ide *c)
{
	if (!present(ide_current(c)))
		return present(&c->drive[0]) || present(&c->drive[1]) ? NO_DRIVE : FLOATING;
	return ide_current(c)->status;
}

static uint8_t reg_read(struct ide *c, unsigned reg)
{
	struct ide_drive *d = ide_current(c);

	if (reg == REG_STATUS) {
		lower(c);
		return status_of(c);
	}
	if (!present(d))
		return status_of(c);
	switch (reg) {
	case REG_ERROR:
		return d->error;
	case REG_COUNT:
		return shown(c, &d->count);
	case REG_DEVICE:
		return d->device;
	default:
		return shown(c, &d->lba[reg - REG_LBA0]);
	}
}

static void latch(struct ide_reg *r, uint8_t value)
{
	r->before = r->now;
	r->now = value;
}

/* Both drives hear what is written, whoever is selected. */
static void drive_write(struct ide_drive *d, unsigned reg, uint8_t value)
{
	switch (reg) {
	case REG_ERROR:
		latch(&d->feature, value);
		break;
	case REG_COUNT:
		latch(&d->count, value);
		break;
	case REG_DEVICE:
		d->device = value | 0xa0; /* bits that were always set once */
		break;
	default:
		latch(&d->lba[reg - REG_LBA0], value);
		break;
	}
}

static void command(struct ide *c, uint8_t value)
{
	struct ide_drive *d = ide_current(c);
	bool busy = d->status & (IDE_BSY | IDE_DRQ);

	if (!present(d))
		return;
	lower(c);
	if (busy && !(value == COMMAND_DEVICE_RESET && d->kind == IDE_CDROM))
		return;
	if (busy)
		cancel(c);
	ata_command(c, value);
}

static void reg_write(struct ide *c, unsigned reg, uint8_t value)
{
	c->control &= (uint8_t)~CTL_HOB;
	if (reg == REG_STATUS) {
		command(c, value);
		return;
	}
	if (ide_current(c)->status & (IDE_BSY | IDE_DRQ))
		return;
	if (reg == REG_DEVICE)
		c->selected = value & IDE_DEV_UNIT ? 1 : 0;
	drive_write(&c->drive[0], reg, value);
	drive_write(&c->drive[1], reg, value);
}

static uint64_t command_read(void *ctx, uint64_t off, unsigned size)
{
	struct ide *c = ctx;
	uint64_t value = 0;

	if (off == REG_DATA)
		return data_read(c, size);
	for (unsigned i = 0; i < size; i++)
		value |= (uint64_t)reg_read(c, (unsigned)off + i) << (8 * i);
	return value;
}

static void command_write(void *ctx, uint64_t off, unsigned size, uint64_t value)
{
	struct ide *c = ctx;

	if (off == REG_DATA) {
		data_write(c, size, value);
		return;
	}
	for (unsigned i = 0; i < size; i++)
		reg_write(c, (unsigned)off + i, (uint8_t)(value >> (8 * i)));
}

static uint64_t control_read(void *ctx, uint64_t off, unsigned size)
{
	return status_of(ctx); /* and the interrupt stays */
}

/* ---- reset ---- */

static void drives_reset(struct ide *c)
{
	cancel(c);
	c->selected = 0;
	ata_reset(&c->drive[0]);
	ata_reset(&c->drive[1]);
	lower(c);
}

static void control_write(void *ctx, uint64_t off, unsigned size, uint64_t value)
{
	struct ide *c = ctx;
	uint8_t before = c->control;

	c->control = (uint8_t)value;
	if (value & CTL_SRST) {
		cancel(c);
		c->drive[0].status = c->drive[1].status = IDE_BSY;
	} else if (before & CTL_SRST) {
		drives_reset(c);
	}
	update_irq(c);
}

static const struct bus_ops ide_ops[2] = {
	[IDE_COMMAND] = {command_read, command_write, 1, 4},
	[IDE_CONTROL] = {control_read, control_write, 1, 1},
};

static void ide_reset(struct device *dev)
{
	struct ide *c = container_of(dev, struct ide, dev);

	c->control = 0;
	drives_reset(c);
	atapi_tray(&c->drive[0], false); /* who starts again finds what was put in */
	atapi_tray(&c->drive[1], false);
}

/* ---- snapshot ---- */

static void ide_quiesce(struct device *dev)
{
	struct ide *c = container_of(dev, struct ide, dev);

	if (c->in_flight)
		disk_drain(ide_current(c)->disk);
}

static void snap_reg(struct snap *s, const char *name, struct ide_reg *r)
{
	snap_u8(s, name, &r->now);
	snap_u8(s, name, &r->before);
}

static void snap_drive(struct ide_drive *d, struct snap *s)
{
	bool open = d->on_tray;

	snap_bool(s, "tray_open", &open);
	if (snap_loading(s) && !snap_error(s) && d->kind == IDE_CDROM)
		atapi_tray(d, open);
	snap_u8(s, "status", &d->status);
	snap_u8(s, "error", &d->error);
	snap_u8(s, "device", &d->device);
	snap_reg(s, "feature", &d->feature);
	snap_reg(s, "count", &d->count);
	for (unsigned i = 0; i < 3; i++)
		snap_reg(s, "lba", &d->lba[i]);
	snap_u16(s, "cylinders", &d->cylinders);
	snap_u8_max(s, "heads", &d->heads, 16);
	snap_u8(s, "spt", &d->spt);
	snap_u8_max(s, "multiple", &d->multiple, IDE_MULTIPLE);
	snap_u8(s, "dma_mode", &d->dma_mode);
	snap_bool(s, "write_cache", &d->write_cache);
	snap_u8(s, "sense_key", &d->sense_key);
	snap_u8(s, "asc", &d->asc);
	snap_u8(s, "ascq", &d->ascq);
	snap_bool(s, "disc_changed", &d->disc_changed);
	snap_bool(s, "locked", &d->locked);
}

/* What a transfer rests on: inside the buffer, and a drive that has a disk. */
static void check_loaded(struct ide *c, struct snap *s)
{
	const struct ide_drive *d = ide_current(c);

	if (c->pos > c->len || c->end > c->len)
		snap_fail(s, "pos", "outside the buffer");
	else if (c->phase != IDE_IDLE && c->block == 0)
		snap_fail(s, "block", "is zero");
	else if (c->phase != IDE_IDLE && !present(d))
		snap_fail(s, "phase", "a transfer without a drive");
	else if (c->left && !d->disk)
		snap_fail(s, "left", "a transfer without a disk");
	else if (c->packet && (d->kind != IDE_CDROM || c->len != CD_PACKET))
		snap_fail(s, "packet", "no packet");
	else if (c->phase == IDE_PIO_OUT && !c->packet && (!d->disk || c->len % SECTOR_SIZE))
		snap_fail(s, "len", "no whole sectors");
}

static void snap_transfer(struct ide *c, struct snap *s)
{
	snap_u8_max(s, "phase", &c->phase, IDE_DMA_OUT);
	snap_bool(s, "packet", &c->packet);
	snap_bool(s, "ext", &c->ext);
	snap_bool(s, "wait_dma", &c->wait_dma);
	snap_u32_max(s, "pos", &c->pos, IDE_BUFFER);
	snap_u32_max(s, "len", &c->len, IDE_BUFFER);
	snap_u32_max(s, "block", &c->block, IDE_BUFFER);
	snap_u32_max(s, "end", &c->end, IDE_BUFFER);
	snap_u64(s, "next_lba", &c->lba);
	snap_u64(s, "left", &c->left);
	snap_bytes(s, "buf", c->buf, IDE_BUFFER);
}

static void ide_snap(struct device *dev, struct snap *s)
{
	struct ide *c = container_of(dev, struct ide, dev);

	snap_section(s, dev->name, 1);
	if (snap_loading(s))
		cancel(c);
	snap_u8_max(s, "selected", &c->selected, 1);
	snap_u8(s, "control", &c->control);
	snap_bool(s, "irq_on", &c->irq_on);
	snap_drive(&c->drive[0], s);
	snap_drive(&c->drive[1], s);
	snap_transfer(c, s);
	if (!snap_loading(s) || snap_error(s))
		return;
	check_loaded(c, s);
	if (snap_error(s))
		cancel(c);
	update_irq(c);
}

/* ---- life ---- */

static void ide_destroy(struct device *dev)
{
	struct ide *c = container_of(dev, struct ide, dev);

	cancel(c);
	free(c->buf);
	free(c);
}

struct ide *ide_new(const char *name, struct irq irq)
{
	struct ide *c = xcalloc(1, sizeof(*c));

	c->dev = (struct device){.name = name,
		.reset = ide_reset,
		.snap = ide_snap,
		.destroy = ide_destroy,
		.quiesce = ide_quiesce};
	c->irq = irq;
	c->buf = xcalloc(1, IDE_BUFFER);
	c->drive[1].unit = 1;
	region_init(&c->region[IDE_COMMAND], "ide-command", 8, &ide_ops[IDE_COMMAND], c);
	region_init(&c->region[IDE_CONTROL], "ide-control", 1, &ide_ops[IDE_CONTROL], c);
	return c;
}

void ide_attach(struct ide *c, unsigned unit, enum ide_kind kind, struct disk *disk)
{
	struct ide_drive *d = &c->drive[unit];

	d->kind = kind;
	d->disk = disk;
	d->sectors = disk ? disk_size(disk) / SECTOR_SIZE : 0;
	ata_reset(d);
}

void ide_change_disc(struct ide *c, unsigned unit, struct disk *disk)
{
	struct ide_drive *d = &c->drive[unit];

	if (c->selected == unit && c->phase != IDE_IDLE) {
		cancel(c);
		atapi_finish(c, -EIO);
	}
	d->disk = disk;
	d->on_tray = NULL;
	d->sectors = disk ? disk_size(disk) / SECTOR_SIZE : 0;
	d->disc_changed = true;
}

void ide_set_master(struct ide *c, const struct ide_master *master)
{
	c->master = *master;
}

struct device *ide_device(struct ide *c)
{
	return &c->dev;
}

struct bus_region *ide_region(struct ide *c, enum ide_region_id id)
{
	return &c->region[id];
}
