/*
 * piix3.h - the south bridge's PCI-to-ISA function, which routes PCI
 * interrupts, and its neighbour for power management. vm->lock held.
 */
#ifndef TINAMOU_PIIX3_H
#define TINAMOU_PIIX3_H

#include "core/irq.h"
#include "dev/pci.h"

#define PIIX3_PIRQS 4u
#define PIIX3_PIRQ  0x60u /* route of PIRQA; bit 7: to nowhere, bits 3:0: ISA line */

struct piix3;

/* pm_ports: where the board has the ACPI registers, as the power management function tells. */
struct piix3 *piix3_new(const struct irq line[16], uint16_t pm_ports, uint8_t sci);
struct device *piix3_device(struct piix3 *p);
struct pci_func *piix3_func(struct piix3 *p);
struct pci_func *piix3_pm_func(struct piix3 *p);

/* PIRQ n, 0..3, of that slot; several slots share it. */
void piix3_pirq(struct piix3 *p, unsigned slot, unsigned n, bool level);

#endif
