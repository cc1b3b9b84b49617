/*
 * chipset.h - the board's PCI half: host bridge, south bridge, IDE channels,
 * and how they are wired. Lock: before the machine starts, or vm->lock.
 */
#ifndef TINAMOU_CHIPSET_H
#define TINAMOU_CHIPSET_H

#include "board/firmware.h"
#include "core/chardev.h"
#include "core/netdev.h"
#include "core/vm.h"
#include "dev/ide.h"
#include "dev/pci.h"
#include "dev/virtio.h"

#define CHIPSET_DRIVES 4u
#define CHIPSET_DISKS  5u /* virtio's: four, and cloud-init's */
#define CHIPSET_NETS   4u
#define CHIPSET_SHARES 9u
#define CHIPSET_GSI    16u /* PIRQA to PIRQD are inputs 16 to 19 of the I/O APIC */

struct chipset_drive {
	enum ide_kind kind;
	struct disk *disk; /* not owned; NULL: a CD-ROM drive without a disc */
};

struct chipset_share {
	struct share *share; /* not owned */
	const char *tag;
};

struct chipset_wires {
	struct irq line[16]; /* ISA lines, from PCI */
	struct irq ide[2];   /* lines 14 and 15 */
	void (*gsi)(void *ctx, unsigned input, bool level);
	void (*msi)(void *ctx, uint64_t addr, uint32_t data);
	void *ctx;
	struct bus_region *reset_control;
	struct vga *vga;
};

struct chipset {
	struct vm *vm;
	struct chipset_wires wires;
	struct pci *pci;
	struct i440fx *host;
	struct piix3 *isa;
	struct ide *ide[2];
	struct piix_ide *piix_ide;
	struct pci_vga *vga;          /* NULL: no firmware */
	unsigned disks, nets, shares; /* virtio's */
	uint32_t asking[4];           /* by PIRQ: slots that drive it */
};

/*
 * Makes the devices, gives them to vm and maps their ports. drive: primary
 * master, primary slave, secondary master, secondary slave. Firmware's VGA BIOS
 * becomes the option ROM of a display function.
 */
int chipset_new(struct chipset *c, struct vm *vm, const struct chipset_wires *wires,
	const struct chipset_drive drive[CHIPSET_DRIVES], const struct firmware *firmware);

/* One more virtio disk, in the next free slot; disk is not owned. -ENOSPC after CHIPSET_DISKS. */
int chipset_add_disk(struct chipset *c, struct disk *disk);

struct chipset_net {
	struct netdev *dev; /* not owned; NULL: none */
	uint8_t mac[NET_MAC_LEN];
	uint16_t mtu; /* 0: the driver's own */
};

/* One more network card, in the next free slot. -ENOSPC after CHIPSET_NETS. */
int chipset_add_net(struct chipset *c, const struct chipset_net *net);

/* One more shared folder, likewise. -ENOSPC after CHIPSET_SHARES. */
int chipset_add_share(struct chipset *c, const struct chipset_share *share);

/* A virtio console on chr, and a virtio entropy device (virtio_rng.h tells of seed); one each. */
int chipset_add_console(struct chipset *c, struct chardev *chr);
/* A console device with streams; takes it over. */
int chipset_add_ports(struct chipset *c, struct virtio *ports);
int chipset_add_entropy(struct chipset *c, uint64_t seed);
/* A memory balloon, likewise; NULL: there is no slot for it. */
struct virtio *chipset_add_balloon(struct chipset *c);

/* What firmware would have done, for guests that start without: BARs, routes, enable bits. */
void chipset_setup(struct chipset *c);

#endif
