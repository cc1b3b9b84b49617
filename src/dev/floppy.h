/*
 * floppy.h - a floppy disk controller with two drives. vm->lock held.
 */
#ifndef TINAMOU_FLOPPY_H
#define TINAMOU_FLOPPY_H

#include "core/bus.h"
#include "core/device.h"
#include "core/irq.h"
#include "dev/dma.h"
#include "host/disk.h"

#define FLOPPY_DRIVES 2u

struct floppy;

enum floppy_region_id {
	FLOPPY_PORTS, /* 6 ports, 3F0h */
	FLOPPY_DIR    /* 1 port, 3F7h */
};

/* What a BIOS calls a drive in CMOS byte 10h. */
enum floppy_type {
	FLOPPY_NONE,
	FLOPPY_360K,
	FLOPPY_1200K,
	FLOPPY_720K,
	FLOPPY_1440K,
	FLOPPY_2880K
};

/* irq: IRQ 6. It uses channel 2 of dma. */
struct floppy *floppy_new(struct irq irq, struct dma *dma);
struct device *floppy_device(struct floppy *f);
struct bus_region *floppy_region(struct floppy *f, enum floppy_region_id id);

/* Before the machine starts. The disk stays the caller's and outlives it. */
void floppy_attach(struct floppy *f, unsigned drive, struct disk *disk);
enum floppy_type floppy_type(const struct floppy *f, unsigned drive);

#endif
