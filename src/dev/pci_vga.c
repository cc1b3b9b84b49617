/*
 * pci_vga.c - a VGA-compatible display controller on PCI, with the identity of
 * the Bochs display for which SeaBIOS's VGA BIOS is made.
 *
 * Its registers and memory are those of vga.c, at their traditional places;
 * BAR 0 is the linear frame buffer, BAR 2 the registers as memory.
 * Lock: vm->lock.
 */
#include "dev/pci_vga.h"

#include <stdlib.h>
#include <string.h>

#include "dev/devutil.h"
#include "util/util.h"

#define ROM_MIN 2048u
#define PAGE    4096u

struct pci_vga {
	struct device dev;
	struct pci_func func;
	struct bus_region rom;
};

static void pci_vga_reset(struct device *dev)
{
	pci_func_reset(&container_of(dev, struct pci_vga, dev)->func);
}

static void pci_vga_snap(struct device *dev, struct snap *s)
{
	struct pci_vga *v = container_of(dev, struct pci_vga, dev);

	snap_section(s, dev->name, 1);
	pci_func_snap(&v->func, s);
}

static void pci_vga_destroy(struct device *dev)
{
	struct pci_vga *v = container_of(dev, struct pci_vga, dev);

	free(v->rom.host);
	free(v);
}

static void make_rom(struct pci_vga *v, const uint8_t *rom, size_t len)
{
	size_t size = ROM_MIN;

	while (size < len)
		size *= 2;
	region_init(&v->rom, "VGA BIOS", size, NULL, v);
	v->rom.kind = BUS_ROM;
	v->rom.host = aligned_alloc(PAGE, MAX(size, PAGE));
	if (!v->rom.host)
		abort();
	memset(v->rom.host, 0xff, size);
	memcpy(v->rom.host, rom, len);
	pci_func_bar(&v->func, PCI_ROM_BAR, PCI_BAR_ROM, &v->rom);
}

struct pci_vga *pci_vga_new(const uint8_t *rom, size_t len, struct vga *vga)
{
	const struct pci_id id = {
		.vendor = 0x1234, .device = 0x1111, .class = 0x030000, .revision = 2};
	struct pci_vga *v = xcalloc(1, sizeof(*v));

	v->dev = (struct device){"pci-vga", pci_vga_reset, pci_vga_snap, pci_vga_destroy, NULL};
	pci_func_init(&v->func, "pci-vga", &id);
	pci_func_bar(&v->func, 0, PCI_BAR_MEM, vga_region(vga, VGA_FRAME_BUFFER));
	pci_func_bar(&v->func, 2, PCI_BAR_MEM, vga_region(vga, VGA_MMIO));
	if (rom)
		make_rom(v, rom, len);
	return v;
}

struct device *pci_vga_device(struct pci_vga *v)
{
	return &v->dev;
}

struct pci_func *pci_vga_func(struct pci_vga *v)
{
	return &v->func;
}
