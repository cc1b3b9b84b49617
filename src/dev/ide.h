/*
 * ide.h - one IDE channel with up to two drives: hard disks (ATA, PIO and DMA)
 * and CD-ROMs (ATAPI). vm->lock held.
 */
#ifndef TINAMOU_IDE_H
#define TINAMOU_IDE_H

#include "core/bus.h"
#include "core/device.h"
#include "core/irq.h"
#include "host/disk.h"

struct ide;

enum ide_kind { IDE_NONE, IDE_DISK, IDE_CDROM };

enum ide_region_id {
	IDE_COMMAND, /* 8 ports, 1F0h or 170h */
	IDE_CONTROL  /* 1 port, 3F6h or 376h */
};

/* The bus master that serves a channel's DMA; see piix_ide.h. */
struct ide_master {
	bool (*started)(void *ctx);
	/*
	 * Moves len bytes between buf and the guest's memory, to it or from it.
	 * Returns how many; fewer if the guest's list of regions ends; -EFAULT.
	 */
	int64_t (*move)(void *ctx, uint8_t *buf, uint64_t len, bool to_memory);
	void (*irq)(void *ctx, bool level); /* the channel's interrupt line changed */
	void (*done)(void *ctx);            /* the drive has no more data */
	void *ctx;
};

/* name is unique in a machine, and outlives the channel. */
struct ide *ide_new(const char *name, struct irq irq);
struct device *ide_device(struct ide *c);
struct bus_region *ide_region(struct ide *c, enum ide_region_id id);
void ide_set_master(struct ide *c, const struct ide_master *master);

/*
 * Before the machine starts. unit: 0 or 1. The disk stays the caller's and
 * outlives the channel; NULL: a CD-ROM drive without a disc.
 */
void ide_attach(struct ide *c, unsigned unit, enum ide_kind kind, struct disk *disk);
/* Another disc, or NULL: none. The guest is told. Cancels what was going on. */
void ide_change_disc(struct ide *c, unsigned unit, struct disk *disk);

/* The guest started the bus master: a drive that waits for it goes on. */
void ide_dma_started(struct ide *c);

#endif
