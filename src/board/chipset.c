/*
 * chipset.c - PCI bus 0 of the board:
 *
 *   00.0 i440FX host bridge     01.0 PIIX3 ISA bridge   01.1 PIIX3 IDE
 *   01.3 PIIX4 power management  02.0 VGA, if there is firmware for it
 *   03.0 and on: virtio devices
 *
 * INTx: slot s, pin p go to PIRQ (s + p - 1) mod 4, as on Intel's boards. A
 * PIRQ reaches an ISA line by the south bridge's routes, and input 16 to 19 of
 * the I/O APIC. Lock: vm->lock.
 */
#include "board/chipset.h"

#include <errno.h>

#include "board/acpi.h"
#include "dev/i440fx.h"
#include "dev/pci_vga.h"
#include "dev/piix3.h"
#include "dev/piix_ide.h"
#include "dev/virtio_balloon.h"
#include "dev/virtio_blk.h"
#include "dev/virtio_console.h"
#include "dev/virtio_fs.h"
#include "dev/virtio_net.h"
#include "dev/virtio_pci.h"
#include "dev/virtio_rng.h"
#include "util/util.h"

#define ISA_SLOT    1
#define VGA_SLOT    2
#define VIRTIO_SLOT 3
#define PORT_BASE   0xc000u
#define MEM_BASE    0xe0000000u
#define MEM_END     0xfe000000u
#define IDETIM      0x40u
#define IDE_ON      0x80008000u /* decode enable of both channels */
#define ELCR_PORT   0x4d1u      /* trigger modes of lines 8 to 15 */
#define ELCR_PCI    0x0cu       /* lines 10 and 11: level */

static void intx(void *ctx, unsigned devfn, unsigned pin, bool level)
{
	struct chipset *c = ctx;
	unsigned slot = devfn >> 3, n = (slot + pin + 3) % PIIX3_PIRQS;

	c->asking[n] = level ? c->asking[n] | 1u << slot : c->asking[n] & ~(1u << slot);
	c->wires.gsi(c->wires.ctx, CHIPSET_GSI + n, c->asking[n]);
	piix3_pirq(c->isa, slot, n, level);
}

static void msi(void *ctx, uint64_t addr, uint32_t data)
{
	struct chipset *c = ctx;

	c->wires.msi(c->wires.ctx, addr, data);
}

static void make_devices(
	struct chipset *c, const struct chipset_drive *drive, const struct firmware *firmware)
{
	static const char *const name[2] = {"ide0", "ide1"};
	struct vm *vm = c->vm;
	const struct pci_wires wires = {
		&vm->mem_bus, &vm->port_bus, &vm->mem, intx, msi, c, c->wires.reset_control};
	bool has_shadow = vm->ram.size >= I440FX_SHADOW + I440FX_SHADOW_SIZE;

	c->pci = pci_new(&wires);
	c->host = i440fx_new(&vm->mem_bus, has_shadow ? vm->ram.host + I440FX_SHADOW : NULL);
	c->isa = piix3_new(c->wires.line, ACPI_PM_PORTS, ACPI_SCI);
	for (unsigned n = 0; n < 2; n++) {
		c->ide[n] = ide_new(name[n], c->wires.ide[n]);
		ide_attach(c->ide[n], 0, drive[n * 2].kind, drive[n * 2].disk);
		ide_attach(c->ide[n], 1, drive[n * 2 + 1].kind, drive[n * 2 + 1].disk);
	}
	c->piix_ide = piix_ide_new(c->ide[0], c->ide[1]);
	if (firmware->code)
		c->vga = pci_vga_new(firmware->vgabios, firmware->vgabios_len, c->wires.vga);
}

static void add_devices(struct chipset *c)
{
	struct device *const list[] = {
		pci_device(c->pci),
		i440fx_device(c->host),
		piix3_device(c->isa),
		ide_device(c->ide[0]),
		ide_device(c->ide[1]),
		piix_ide_device(c->piix_ide),
	};

	for (unsigned i = 0; i < ARRAY_SIZE(list); i++)
		vm_add_device(c->vm, list[i]);
	pci_add(c->pci, i440fx_func(c->host), 0, 0);
	pci_add(c->pci, piix3_func(c->isa), ISA_SLOT, 0);
	pci_add(c->pci, piix_ide_func(c->piix_ide), ISA_SLOT, 1);
	pci_add(c->pci, piix3_pm_func(c->isa), ISA_SLOT, 3);
	if (c->vga) {
		vm_add_device(c->vm, pci_vga_device(c->vga));
		pci_add(c->pci, pci_vga_func(c->vga), VGA_SLOT, 0);
	}
}

static int map_ports(struct chipset *c)
{
	const struct {
		struct bus_region *region;
		gpa_t base;
	} place[] = {
		{ide_region(c->ide[1], IDE_COMMAND), 0x170},
		{ide_region(c->ide[0], IDE_COMMAND), 0x1f0},
		{ide_region(c->ide[1], IDE_CONTROL), 0x376},
		{ide_region(c->ide[0], IDE_CONTROL), 0x3f6},
		{pci_region(c->pci, PCI_ADDRESS), 0xcf8},
		{pci_region(c->pci, PCI_DATA), 0xcfc},
	};
	int err = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(place) && !err; i++) {
		place[i].region->base = place[i].base;
		err = bus_map(&c->vm->port_bus, place[i].region);
	}
	return err;
}

int chipset_new(struct chipset *c, struct vm *vm, const struct chipset_wires *wires,
	const struct chipset_drive drive[CHIPSET_DRIVES], const struct firmware *firmware)
{
	*c = (struct chipset){.vm = vm, .wires = *wires};
	make_devices(c, drive, firmware);
	add_devices(c);
	return map_ports(c);
}

static int add_virtio(struct chipset *c, const char *name, struct virtio *v, uint32_t class)
{
	struct virtio_pci *p = virtio_pci_new(name, v, class, &c->vm->clock);
	int slot = VIRTIO_SLOT;

	while (slot < (int)PCI_SLOTS && pci_at(c->pci, (unsigned)slot * 8))
		slot++;
	vm_add_device(c->vm, virtio_pci_device(p));
	return pci_add(c->pci, virtio_pci_func(p), slot, 0);
}

int chipset_add_disk(struct chipset *c, struct disk *disk)
{
	static const char *const name[CHIPSET_DISKS] = {
		"virtio-blk0", "virtio-blk1", "virtio-blk2", "virtio-blk3", "virtio-blk4"};
	unsigned n = c->disks;

	if (n == CHIPSET_DISKS)
		return -ENOSPC;
	c->disks++;
	return add_virtio(c, name[n],
		virtio_blk_new(disk, name[n], MIN(c->vm->vcpus, VIRTIO_QUEUES)), VIRTIO_BLK_CLASS);
}

int chipset_add_net(struct chipset *c, const struct chipset_net *net)
{
	static const char *const name[CHIPSET_NETS] = {
		"virtio-net0", "virtio-net1", "virtio-net2", "virtio-net3"};
	unsigned n = c->nets;

	if (n == CHIPSET_NETS)
		return -ENOSPC;
	c->nets++;
	return add_virtio(
		c, name[n], virtio_net_new(net->dev, net->mac, net->mtu), VIRTIO_NET_CLASS);
}

int chipset_add_share(struct chipset *c, const struct chipset_share *share)
{
	static const char *const name[CHIPSET_SHARES] = {"virtio-fs0", "virtio-fs1", "virtio-fs2",
		"virtio-fs3", "virtio-fs4", "virtio-fs5", "virtio-fs6", "virtio-fs7", "virtio-fs8"};
	unsigned n = c->shares;

	if (n == CHIPSET_SHARES)
		return -ENOSPC;
	c->shares++;
	return add_virtio(c, name[n], virtio_fs_new(share->share, share->tag), VIRTIO_FS_CLASS);
}

int chipset_add_console(struct chipset *c, struct chardev *chr)
{
	return add_virtio(c, "virtio-console", virtio_console_new(chr), VIRTIO_CONSOLE_CLASS);
}

int chipset_add_ports(struct chipset *c, struct virtio *ports)
{
	return add_virtio(c, "virtio-ports", ports, VIRTIO_CONSOLE_CLASS);
}

int chipset_add_entropy(struct chipset *c, uint64_t seed)
{
	return add_virtio(c, "virtio-rng", virtio_rng_new(seed), VIRTIO_RNG_CLASS);
}

struct virtio *chipset_add_balloon(struct chipset *c)
{
	struct virtio *v = virtio_balloon_new();

	return add_virtio(c, "virtio-balloon", v, VIRTIO_BALLOON_CLASS) ? NULL : v;
}

/* ---- without firmware ---- */

/* The next free place of a kind, aligned to the BAR's size. */
static void place_bar(
	struct chipset *c, struct pci_func *f, unsigned n, uint64_t *port, uint64_t *memory)
{
	const struct pci_bar *bar = &f->bar[n];
	uint64_t *at = bar->kind == PCI_BAR_IO ? port : memory;
	uint64_t base;

	if (bar->kind == PCI_BAR_NONE || bar->kind == PCI_BAR_ROM)
		return;
	base = (*at + bar->size - 1) & ~(bar->size - 1);
	if (at == memory && base + bar->size > MEM_END)
		return;
	*at = base + bar->size;
	pci_config_write(c->pci, f->devfn, PCI_BAR0 + 4 * n, 4, (uint32_t)base);
}

static void setup_function(struct chipset *c, struct pci_func *f, uint64_t *port, uint64_t *memory)
{
	static const uint8_t pirq_line[PIIX3_PIRQS] = {10, 10, 11, 11};
	uint8_t pin = f->config[PCI_INTERRUPT_PIN];

	for (unsigned n = 0; n < PCI_ROM_BAR; n++)
		place_bar(c, f, n, port, memory);
	if (pin && f != piix3_pm_func(c->isa))
		pci_config_write(c->pci, f->devfn, PCI_INTERRUPT_LINE, 1,
			pirq_line[((f->devfn >> 3) + pin - 1u + 3) % PIIX3_PIRQS]);
	pci_config_write(c->pci, f->devfn, PCI_COMMAND, 2,
		PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

void chipset_setup(struct chipset *c)
{
	uint64_t port = PORT_BASE, memory = MEM_BASE;

	for (unsigned devfn = 0; devfn < PCI_SLOTS * 8; devfn++)
		if (pci_at(c->pci, devfn))
			setup_function(c, pci_at(c->pci, devfn), &port, &memory);
	pci_config_write(c->pci, piix_ide_func(c->piix_ide)->devfn, IDETIM, 4, IDE_ON);
	pci_config_write(c->pci, piix3_func(c->isa)->devfn, PIIX3_PIRQ, 4, 0x0b0b0a0a);
	bus_write(&c->vm->port_bus, ELCR_PORT, 1, ELCR_PCI);
}
