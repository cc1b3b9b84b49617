/*
 * piix3.c - PIIX3 PCI-to-ISA bridge: PIRQ routing. Beside it stands the power
 * management function of its successor, the PIIX4, by which firmware finds the
 * ACPI registers.
 *
 * Source: Intel 82371SB (PIIX3) datasheet 2.2, 82371AB (PIIX4) datasheet 7.1.
 * Left out: everything that is at a fixed place anyhow; SMBus; moving the ACPI
 * registers. APMC_EN reads as set: no SMI is to be set up. Lock: vm->lock.
 */
#include "dev/piix3.h"

#include <stdlib.h>

#include "dev/devutil.h"
#include "util/util.h"

#define ROUTE_OFF      0x80u
#define ROUTE_WRITABLE 0x8fu
#define ROUTABLE       0xdef8u /* ISA lines 3-7, 9-12, 14, 15 */
#define PMBA           0x40u
#define DEVACTB        0x58u
#define APMC_EN        0x02000000u
#define PMREGMISC      0x80u
#define PMIOSE         1u
#define IO_BAR         1u

struct piix3 {
	struct device dev;
	struct pci_func func, pm;
	struct irq line[16];
	uint32_t asking[PIIX3_PIRQS]; /* bit n: slot n drives it */
	uint16_t driven;              /* lines that are up */
};

/* The one function that computes the lines from PIRQs and routes. */
static void update(struct piix3 *p)
{
	uint16_t level = 0, change;

	for (unsigned n = 0; n < PIIX3_PIRQS; n++) {
		uint8_t route = p->func.config[PIIX3_PIRQ + n];

		if (p->asking[n] && !(route & ROUTE_OFF))
			level |= (uint16_t)(1u << (route & 0xf) & ROUTABLE);
	}
	change = level ^ p->driven;
	p->driven = level;
	for (unsigned i = 0; i < 16; i++)
		if (change >> i & 1)
			irq_set(p->line[i], level >> i & 1);
}

void piix3_pirq(struct piix3 *p, unsigned slot, unsigned n, bool level)
{
	uint32_t bit = 1u << slot % PCI_SLOTS;

	n %= PIIX3_PIRQS;
	p->asking[n] = level ? p->asking[n] | bit : p->asking[n] & ~bit;
	update(p);
}

static void changed(struct pci_func *f, unsigned off, unsigned size)
{
	update(container_of(f, struct piix3, func));
}

static void piix3_reset(struct device *dev)
{
	struct piix3 *p = container_of(dev, struct piix3, dev);

	pci_func_reset(&p->func);
	pci_func_reset(&p->pm);
}

static void piix3_snap(struct device *dev, struct snap *s)
{
	struct piix3 *p = container_of(dev, struct piix3, dev);

	snap_section(s, dev->name, 1);
	for (unsigned n = 0; n < PIIX3_PIRQS; n++)
		snap_u32(s, "asking", &p->asking[n]);
	pci_func_snap(&p->func, s);
	pci_func_snap(&p->pm, s);
}

static void piix3_destroy(struct device *dev)
{
	free(container_of(dev, struct piix3, dev));
}

static void make_bridge(struct piix3 *p)
{
	const struct pci_id id = {.vendor = 0x8086, .device = 0x7000, .class = 0x060100};

	pci_func_init(&p->func, "piix3", &id);
	for (unsigned off = 0x40; off < PCI_CONFIG_SIZE; off++)
		pci_func_register(&p->func, off, 1, 0, 0xff);
	for (unsigned n = 0; n < PIIX3_PIRQS; n++)
		pci_func_register(&p->func, PIIX3_PIRQ + n, 1, ROUTE_OFF, ROUTE_WRITABLE);
	p->func.changed = changed;
}

static void make_pm(struct piix3 *p, uint16_t pm_ports, uint8_t sci)
{
	const struct pci_id id = {
		.vendor = 0x8086, .device = 0x7113, .class = 0x068000, .revision = 3, .pin = 1};

	pci_func_init(&p->pm, "piix4-pm", &id);
	for (unsigned off = 0x44; off < PCI_CONFIG_SIZE; off++)
		pci_func_register(&p->pm, off, 1, 0, 0xff);
	pci_func_register(&p->pm, PCI_INTERRUPT_LINE, 1, sci, 0xff);
	pci_func_register(&p->pm, PMBA, 4, pm_ports | IO_BAR, 0);
	pci_func_register(&p->pm, DEVACTB, 4, APMC_EN, ~APMC_EN);
	pci_func_register(&p->pm, PMREGMISC, 1, PMIOSE, 0);
}

struct piix3 *piix3_new(const struct irq line[16], uint16_t pm_ports, uint8_t sci)
{
	struct piix3 *p = xcalloc(1, sizeof(*p));

	p->dev = (struct device){"piix3", piix3_reset, piix3_snap, piix3_destroy, NULL};
	for (unsigned i = 0; i < 16; i++)
		p->line[i] = line[i];
	make_bridge(p);
	make_pm(p, pm_ports, sci);
	return p;
}

struct device *piix3_device(struct piix3 *p)
{
	return &p->dev;
}

struct pci_func *piix3_func(struct piix3 *p)
{
	return &p->func;
}

struct pci_func *piix3_pm_func(struct piix3 *p)
{
	return &p->pm;
}
