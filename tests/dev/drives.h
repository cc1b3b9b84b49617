/*
 * drives.h - the PCI half of a board with drives, flash and fw_cfg on two
 * buses, for tests that throw random accesses at them.
 */
#ifndef TINAMOU_DEV_DRIVES_H
#define TINAMOU_DEV_DRIVES_H

#include "tests/dev/bench.h"

#include "dev/floppy.h"
#include "dev/fw_cfg.h"
#include "dev/i440fx.h"
#include "dev/pci_vga.h"
#include "dev/pflash.h"
#include "dev/piix3.h"
#include "dev/piix_ide.h"

#define DRIVES_DEVICES 12
#define DRIVES_SECTORS 80u
#define DRIVES_DISKS   4
#define DRIVES_SHADOW  0xc0000u
#define DRIVES_FLASH   0xffc00000u
#define DRIVES_MASTER  0xc000u

struct drives {
	struct bench bench;
	struct clock clock;
	struct device *device[DRIVES_DEVICES];
	unsigned devices;
	struct pci *pci;
	struct piix3 *isa;
	struct ide *ide[2];
	struct dma *dma;
	struct floppy *floppy;
	struct disk *disk[DRIVES_DISKS];
	uint8_t *shadow, *flash;
	uint32_t lines;
	unsigned messages;
};

static inline void drives_line(void *ctx, int line, bool level)
{
	uint32_t *lines = ctx;

	*lines = level ? *lines | 1u << line : *lines & ~(1u << line);
}

static inline void drives_intx(void *ctx, unsigned devfn, unsigned pin, bool level)
{
	struct drives *d = ctx;

	if (d->isa)
		piix3_pirq(d->isa, devfn >> 3, pin, level);
}

static inline void drives_msi(void *ctx, uint64_t addr, uint32_t data)
{
	((struct drives *)ctx)->messages++;
}

static inline void drives_add(struct drives *d, struct device *dev)
{
	d->device[d->devices++] = dev;
}

static inline void drives_make_pci(struct drives *d)
{
	struct bench *b = &d->bench;
	const struct pci_wires wires = {
		&b->memory, &b->ports, &b->dma, drives_intx, drives_msi, d, NULL};
	static const uint8_t rom[4096] = {0x55, 0xaa};
	struct i440fx *host = i440fx_new(&b->memory, d->shadow);
	struct piix_ide *master = piix_ide_new(d->ide[0], d->ide[1]);
	struct vga *screen = vga_new(&d->clock);
	struct pci_vga *vga = pci_vga_new(rom, sizeof(rom), screen);
	struct irq line[16];

	for (int i = 0; i < 16; i++)
		line[i] = (struct irq){drives_line, &d->lines, i};
	d->pci = pci_new(&wires);
	d->isa = piix3_new(line, 0x600, 9);
	pci_add(d->pci, i440fx_func(host), 0, 0);
	pci_add(d->pci, piix3_func(d->isa), 1, 0);
	pci_add(d->pci, piix_ide_func(master), 1, 1);
	pci_add(d->pci, piix3_pm_func(d->isa), 1, 3);
	pci_add(d->pci, pci_vga_func(vga), 2, 0);
	drives_add(d, pci_device(d->pci));
	drives_add(d, i440fx_device(host));
	drives_add(d, piix3_device(d->isa));
	drives_add(d, piix_ide_device(master));
	drives_add(d, pci_vga_device(vga));
	drives_add(d, vga_device(screen));
	bench_port(b, pci_region(d->pci, PCI_ADDRESS), 0xcf8);
	bench_port(b, pci_region(d->pci, PCI_DATA), 0xcfc);
	pci_config_write(d->pci, 9, PCI_BAR0 + 16, 4, DRIVES_MASTER);
	pci_config_write(d->pci, 9, PCI_COMMAND, 2, PCI_COMMAND_IO | PCI_COMMAND_MASTER);
}

static inline void drives_make_ide(struct drives *d)
{
	static const char *const name[2] = {"ide0", "ide1"};

	for (int i = 0; i < DRIVES_DISKS; i++)
		d->disk[i] = bench_disk(&d->bench, DRIVES_SECTORS, i == 2);
	for (int i = 0; i < 2; i++) {
		d->ide[i] = ide_new(name[i], (struct irq){drives_line, &d->lines, 14 + i});
		drives_add(d, ide_device(d->ide[i]));
	}
	ide_attach(d->ide[0], 0, IDE_DISK, d->disk[0]);
	ide_attach(d->ide[0], 1, IDE_CDROM, d->disk[1]);
	ide_attach(d->ide[1], 0, IDE_DISK, d->disk[2]);
	bench_port(&d->bench, ide_region(d->ide[0], IDE_COMMAND), 0x1f0);
	bench_port(&d->bench, ide_region(d->ide[0], IDE_CONTROL), 0x3f6);
	bench_port(&d->bench, ide_region(d->ide[1], IDE_COMMAND), 0x170);
	bench_port(&d->bench, ide_region(d->ide[1], IDE_CONTROL), 0x376);
}

static inline void drives_make_floppy(struct drives *d)
{
	struct bench *b = &d->bench;

	d->dma = dma_new(&b->dma);
	d->floppy = floppy_new((struct irq){drives_line, &d->lines, 6}, d->dma);
	floppy_attach(d->floppy, 0, d->disk[3]);
	drives_add(d, dma_device(d->dma));
	drives_add(d, floppy_device(d->floppy));
	bench_port(b, dma_region(d->dma, DMA_LOW), 0);
	bench_port(b, dma_region(d->dma, DMA_PAGES), 0x81);
	bench_port(b, dma_region(d->dma, DMA_HIGH), 0xc0);
	bench_port(b, floppy_region(d->floppy, FLOPPY_PORTS), 0x3f0);
	bench_port(b, floppy_region(d->floppy, FLOPPY_DIR), 0x3f7);
}

static inline void drives_make_flash(struct drives *d)
{
	struct bench *b = &d->bench;
	struct pflash *flash = pflash_new("flash", &b->memory, d->flash, 8192);
	struct fw_cfg *cfg = fw_cfg_new(&b->dma);

	drives_add(d, pflash_device(flash));
	pflash_region(flash)->base = DRIVES_FLASH;
	bus_map(&b->memory, pflash_region(flash));
	fw_cfg_add_file(cfg, "etc/file", "content", 7);
	fw_cfg_add_number(cfg, FW_CFG_IRQ0_OVERRIDE, 1, 1);
	drives_add(d, fw_cfg_device(cfg));
	bench_port(b, fw_cfg_region(cfg, FW_CFG_PORTS), 0x510);
	bench_port(b, fw_cfg_region(cfg, FW_CFG_DMA), 0x514);
}

static inline void drives_init(struct drives *d)
{
	*d = (struct drives){0};
	bench_init(&d->bench);
	clock_init(&d->clock, CLOCK_INSTRUCTIONS);
	d->shadow = aligned_alloc(4096, I440FX_SHADOW_SIZE);
	d->flash = aligned_alloc(4096, 8192);
	memset(d->shadow, 0, I440FX_SHADOW_SIZE);
	memset(d->flash, 0xff, 8192);
	drives_make_ide(d);
	drives_make_pci(d);
	drives_make_floppy(d);
	drives_make_flash(d);
}

static inline void drives_destroy(struct drives *d)
{
	for (unsigned i = 0; i < d->devices; i++)
		if (d->device[i]->quiesce)
			d->device[i]->quiesce(d->device[i]);
	bus_destroy(&d->bench.ports);
	bus_destroy(&d->bench.memory);
	for (unsigned i = 0; i < d->devices; i++)
		d->device[i]->destroy(d->device[i]);
	for (unsigned i = 0; i < DRIVES_DISKS; i++)
		disk_free(d->disk[i]);
	free(d->shadow);
	free(d->flash);
	bench_destroy(&d->bench);
}

/* Saves or loads all of them; false: refused. */
static inline bool drives_snap(struct drives *d, struct snap *s)
{
	for (unsigned i = 0; i < d->devices && !snap_loading(s); i++)
		if (d->device[i]->quiesce)
			d->device[i]->quiesce(d->device[i]);
	for (unsigned i = 0; i < d->devices; i++)
		d->device[i]->snap(d->device[i], s);
	return !snap_error(s);
}

/* One step is eight bytes: what, where, size and four of data. */
struct drives_step {
	uint8_t what, where, size, more;
	uint8_t data[4];
};

/* Groups of ports: the first one and how many. */
static inline gpa_t drives_port(const struct drives_step *s)
{
	static const struct {
		uint16_t first;
		uint8_t count;
	} group[] = {{0x1f0, 8}, {0x1f0, 8}, {0x170, 8}, {0x3f6, 1}, {0x376, 1}, {0xcf8, 8},
		{DRIVES_MASTER, 16}, {0x3f0, 8}, {0x3f5, 1}, {0x3f5, 1}, {0x00, 16}, {0x81, 15},
		{0xc0, 32}, {0x510, 12}};
	unsigned g = s->where % ARRAY_SIZE(group);

	return group[g].first + s->more % group[g].count;
}

static inline void drives_do(struct drives *d, const struct drives_step *s)
{
	struct bench *b = &d->bench;
	unsigned size = 1u << s->size % 3;
	uint32_t v;

	memcpy(&v, s->data, 4);
	switch (s->what % 16) {
	case 0:
	case 1:
		in_port(b, drives_port(s), size);
		break;
	case 2: /* many words, as string instructions move them */
		for (unsigned i = 0; i < 256; i++)
			in_port(b, 0x1f0 & ~(s->where & 0x80u), 2);
		break;
	case 3:
		for (unsigned i = 0; i < 128; i++)
			out_port(b, 0x1f0 & ~(s->where & 0x80u), 4, v);
		break;
	case 4:
		memcpy(b->bytes + (s->where << 8 | s->more), s->data, 4);
		break;
	case 5:
		bus_write(&b->memory, DRIVES_FLASH + v % 8192, size, s->where);
		bus_read(&b->memory, DRIVES_FLASH + s->more, size);
		break;
	case 6:
		bus_write(&b->memory, DRIVES_SHADOW + v % 0x40000, size, s->where);
		break;
	case 7:
		settle(b);
		break;
	case 8: /* configuration in one go: function, register, value */
		out_port(b, 0xcf8, 4, 0x80000000u | (s->where % 32) << 8 | (s->more & 0xfcu));
		out_port(b, 0xcfc, 4, v);
		break;
	case 9:
		ide_change_disc(d->ide[0], 1, s->where & 1 ? d->disk[1] : NULL);
		break;
	case 10:
		if (s->where < d->devices)
			d->device[s->where]->reset(d->device[s->where]);
		break;
	default:
		out_port(b, drives_port(s), size, v);
		break;
	}
}

#endif
