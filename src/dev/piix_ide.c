/*
 * piix_ide.c - PIIX3 IDE interface: PCI function with two bus masters.
 *
 * Source: Intel 82371FB/82371SB (PIIX3) datasheet, 2.3 and 2.7; Programming
 * Interface for Bus Master IDE Controller 1.0. The channels' own ports stay at
 * their traditional places. Left out: the timing registers' effect, the enable
 * bits of IDETIM. Lock: vm->lock.
 */
#include "dev/piix_ide.h"

#include <errno.h>
#include <stdlib.h>

#include "dev/devutil.h"
#include "util/util.h"

enum { BM_COMMAND, BM_STATUS = 2, BM_TABLE = 4, BM_PORTS = 8 };
enum { CMD_START = 0x01, CMD_TO_MEMORY = 0x08 };
enum { ST_ACTIVE = 0x01, ST_ERROR = 0x02, ST_IRQ = 0x04, ST_CAPABLE = 0x60 };

#define PRD_SIZE     8u
#define PRD_LAST     0x80000000u
#define PRD_TABLE    65536u /* it does not cross such a boundary */
#define IDETIM       0x40u
#define BAR_MASTER   4u
#define MASTER_PORTS 16u

struct master {
	struct piix_ide *owner;
	struct ide *channel;
	uint8_t command, status;
	bool irq;
	uint32_t table;
	/* Where it is in the table. */
	uint32_t next;       /* address of the descriptor to come */
	uint32_t addr, left; /* of the region at hand */
	bool last;           /* it is the last one */
};

struct piix_ide {
	struct device dev;
	struct pci_func func;
	struct bus_region region;
	struct master master[2];
};

/* ---- physical region descriptors ---- */

/* The next one; false: there is none, or the table cannot be read. */
static bool next_region(struct master *m)
{
	uint32_t prd[2];

	if (m->last || pci_func_read(&m->owner->func, m->next, prd, sizeof(prd)))
		return false;
	m->next = (m->next & ~(PRD_TABLE - 1)) | ((m->next + PRD_SIZE) & (PRD_TABLE - 1));
	m->addr = prd[0] & ~1u;
	m->left = prd[1] & 0xfffe;
	if (!m->left)
		m->left = 0x10000;
	m->last = prd[1] & PRD_LAST;
	return true;
}

static int64_t master_move(void *ctx, uint8_t *buf, uint64_t len, bool to_memory)
{
	struct master *m = ctx;
	struct pci_func *f = &m->owner->func;
	uint64_t done = 0;

	while (done < len) {
		uint32_t n;
		int err;

		if (!m->left && !next_region(m)) {
			m->status &= (uint8_t)~ST_ACTIVE;
			return (int64_t)done;
		}
		n = (uint32_t)MIN(len - done, m->left);
		err = to_memory ? pci_func_write(f, m->addr, buf + done, n)
				: pci_func_read(f, m->addr, buf + done, n);
		if (err) {
			m->status |= ST_ERROR;
			return err;
		}
		m->addr += n;
		m->left -= n;
		done += n;
	}
	return (int64_t)done;
}

static bool master_started(void *ctx)
{
	struct master *m = ctx;

	return m->command & CMD_START && m->status & ST_ACTIVE;
}

/* Active stays on if the regions are larger than what the drive had. */
static void master_done(void *ctx)
{
	struct master *m = ctx;

	if (!m->left && m->last)
		m->status &= (uint8_t)~ST_ACTIVE;
}

static void master_irq(void *ctx, bool level)
{
	struct master *m = ctx;

	if (level && !m->irq)
		m->status |= ST_IRQ;
	m->irq = level;
}

/* ---- registers ---- */

static void write_command(struct master *m, uint8_t value)
{
	bool start = value & ~m->command & CMD_START;

	m->command = value & (CMD_START | CMD_TO_MEMORY);
	if (!(value & CMD_START)) {
		m->status &= (uint8_t)~ST_ACTIVE;
		return;
	}
	if (!start)
		return;
	m->status |= ST_ACTIVE;
	m->next = m->table;
	m->left = 0;
	m->last = false;
	ide_dma_started(m->channel);
}

static void write_status(struct master *m, uint8_t value)
{
	m->status &= (uint8_t) ~(value & (ST_ERROR | ST_IRQ));
	m->status = (uint8_t)((m->status & ~ST_CAPABLE) | (value & ST_CAPABLE));
}

static uint8_t byte_read(struct master *m, unsigned off)
{
	switch (off) {
	case BM_COMMAND:
		return m->command;
	case BM_STATUS:
		return m->status;
	case BM_TABLE:
	case BM_TABLE + 1:
	case BM_TABLE + 2:
	case BM_TABLE + 3:
		return (uint8_t)(m->table >> 8 * (off - BM_TABLE));
	default:
		return 0;
	}
}

static void byte_write(struct master *m, unsigned off, uint8_t value)
{
	unsigned shift = 8 * (off & 3);

	if (off == BM_COMMAND)
		write_command(m, value);
	else if (off == BM_STATUS)
		write_status(m, value);
	else if (off >= BM_TABLE)
		m->table = ((m->table & ~(0xffu << shift)) | (uint32_t)value << shift) & ~3u;
}

static uint64_t bm_read(void *ctx, uint64_t off, unsigned size)
{
	struct piix_ide *p = ctx;
	uint64_t value = 0;

	for (unsigned i = 0; i < size; i++) {
		unsigned at = (unsigned)off + i;

		value |= (uint64_t)byte_read(&p->master[at / BM_PORTS], at % BM_PORTS) << (8 * i);
	}
	return value;
}

static void bm_write(void *ctx, uint64_t off, unsigned size, uint64_t value)
{
	struct piix_ide *p = ctx;

	for (unsigned i = 0; i < size; i++) {
		unsigned at = (unsigned)off + i;

		byte_write(&p->master[at / BM_PORTS], at % BM_PORTS, (uint8_t)(value >> (8 * i)));
	}
}

static const struct bus_ops bm_ops = {bm_read, bm_write, 1, 4};

/* ---- life ---- */

static void reset_master(struct master *m)
{
	m->command = m->status = 0;
	m->table = m->next = m->addr = m->left = 0;
	m->last = false;
}

static void piix_ide_reset(struct device *dev)
{
	struct piix_ide *p = container_of(dev, struct piix_ide, dev);

	pci_func_reset(&p->func);
	reset_master(&p->master[0]);
	reset_master(&p->master[1]);
}

static void snap_master(struct master *m, struct snap *s)
{
	snap_u8(s, "command", &m->command);
	snap_u8(s, "status", &m->status);
	snap_bool(s, "irq", &m->irq);
	snap_u32(s, "table", &m->table);
	snap_u32(s, "next", &m->next);
	snap_u32(s, "addr", &m->addr);
	snap_u32_max(s, "left", &m->left, 0x10000);
	snap_bool(s, "last", &m->last);
}

static void piix_ide_snap(struct device *dev, struct snap *s)
{
	struct piix_ide *p = container_of(dev, struct piix_ide, dev);

	snap_section(s, dev->name, 1);
	pci_func_snap(&p->func, s);
	snap_master(&p->master[0], s);
	snap_master(&p->master[1], s);
}

static void piix_ide_destroy(struct device *dev)
{
	free(container_of(dev, struct piix_ide, dev));
}

static void connect(struct piix_ide *p, struct master *m, struct ide *channel)
{
	const struct ide_master wires = {master_started, master_move, master_irq, master_done, m};

	m->owner = p;
	m->channel = channel;
	ide_set_master(channel, &wires);
}

struct piix_ide *piix_ide_new(struct ide *primary, struct ide *secondary)
{
	const struct pci_id id = {.vendor = 0x8086, .device = 0x7010, .class = 0x010180};
	struct piix_ide *p = xcalloc(1, sizeof(*p));

	p->dev = (struct device){"piix-ide", piix_ide_reset, piix_ide_snap, piix_ide_destroy, NULL};
	connect(p, &p->master[0], primary);
	connect(p, &p->master[1], secondary);
	pci_func_init(&p->func, "piix-ide", &id);
	region_init(&p->region, "ide-master", MASTER_PORTS, &bm_ops, p);
	pci_func_bar(&p->func, BAR_MASTER, PCI_BAR_IO, &p->region);
	pci_func_register(&p->func, IDETIM, 4, 0, UINT32_MAX);
	return p;
}

struct device *piix_ide_device(struct piix_ide *p)
{
	return &p->dev;
}

struct pci_func *piix_ide_func(struct piix_ide *p)
{
	return &p->func;
}
