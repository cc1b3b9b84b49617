/*
 * pci_vga.h - the display's PCI function: how firmware finds the VGA, and its
 * BIOS as an option ROM. vm->lock held.
 */
#ifndef TINAMOU_PCI_VGA_H
#define TINAMOU_PCI_VGA_H

#include "dev/pci.h"
#include "dev/vga.h"

struct pci_vga;

/* rom is copied, NULL: none; len is at most 1 MiB. vga outlives it. */
struct pci_vga *pci_vga_new(const uint8_t *rom, size_t len, struct vga *vga);
struct device *pci_vga_device(struct pci_vga *v);
struct pci_func *pci_vga_func(struct pci_vga *v);

#endif
