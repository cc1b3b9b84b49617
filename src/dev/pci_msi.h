/* pci_msi.h - between pci.c and pci_msi.c. vm->lock held. */
#ifndef TINAMOU_PCI_MSI_H
#define TINAMOU_PCI_MSI_H

#include "dev/pci.h"

/* pci.c's: a memory write of the function, if it may be a bus master. */
void pci_send_msi(struct pci_func *f, uint64_t addr, uint32_t data);

void pci_msix_reset(struct pci_func *f);
void pci_msix_snap(struct pci_func *f, struct snap *s);
/* Masks may be gone: sends what waited for that. */
void pci_msix_settle(struct pci_func *f);

#endif
