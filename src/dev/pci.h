/*
 * pci.h - one PCI bus: configuration by mechanism #1, functions with base
 * addresses that the guest moves, INTx, MSI and MSI-X. vm->lock held.
 *
 * A device embeds struct pci_func, fills it with the pci_func_* calls below,
 * and hands it to pci_add, which puts it on the bus for the machine's life.
 * Its own reset and snap call pci_func_reset and pci_func_snap.
 */
#ifndef TINAMOU_PCI_H
#define TINAMOU_PCI_H

#include <stdio.h>

#include "core/bus.h"
#include "core/device.h"
#include "core/irq.h"
#include "core/memory.h"

/* Offsets of the configuration header (PCI 3.0, 6.1). */
enum pci_reg {
	PCI_VENDOR_ID = 0x00,
	PCI_DEVICE_ID = 0x02,
	PCI_COMMAND = 0x04,
	PCI_STATUS = 0x06,
	PCI_REVISION = 0x08,
	PCI_CLASS = 0x09, /* programming interface, subclass, base class */
	PCI_HEADER_TYPE = 0x0e,
	PCI_BAR0 = 0x10,
	PCI_SUBSYSTEM_VENDOR = 0x2c,
	PCI_SUBSYSTEM_ID = 0x2e,
	PCI_ROM = 0x30,
	PCI_CAPABILITIES = 0x34,
	PCI_INTERRUPT_LINE = 0x3c,
	PCI_INTERRUPT_PIN = 0x3d
};

enum pci_command {
	PCI_COMMAND_IO = 0x0001,
	PCI_COMMAND_MEMORY = 0x0002,
	PCI_COMMAND_MASTER = 0x0004,
	PCI_COMMAND_NO_INTX = 0x0400
};

enum pci_bar_kind {
	PCI_BAR_NONE,
	PCI_BAR_IO,
	PCI_BAR_MEM,
	PCI_BAR_MEM64, /* takes the next BAR's place too */
	PCI_BAR_ROM    /* number PCI_ROM_BAR */
};

#define PCI_BARS         7
#define PCI_ROM_BAR      6u
#define PCI_SLOTS        32u
#define PCI_CONFIG_SIZE  256u
#define PCI_MSIX_VECTORS 64u

struct pci;
struct pci_func;

struct pci_id {
	uint16_t vendor, device;
	uint32_t class; /* base class 23:16, subclass 15:8, programming interface 7:0 */
	uint8_t revision;
	uint16_t subsystem_vendor, subsystem;
	uint8_t pin; /* INTA is 1; 0: none */
};

struct pci_bar {
	enum pci_bar_kind kind;
	struct bus_region *region; /* the device's; its size is the BAR's, a power of two */
	uint64_t size;
};

/* One vector of an MSI-X table (PCI 3.0, 6.8.2.9). */
struct pci_msix_entry {
	uint64_t addr;
	uint32_t data, control;
};

struct pci_msix {
	uint8_t cap; /* 0: none */
	uint16_t vectors;
	struct bus_region region;
	struct pci_msix_entry entry[PCI_MSIX_VECTORS];
	uint64_t pending;
};

struct pci_func {
	const char *name;
	struct pci *bus; /* NULL: not on one yet */
	uint8_t devfn;   /* slot 7:3, function 2:0 */
	uint8_t config[PCI_CONFIG_SIZE];
	uint8_t reset_value[PCI_CONFIG_SIZE];
	uint8_t writable[PCI_CONFIG_SIZE];  /* bits that a write changes */
	uint8_t clearable[PCI_CONFIG_SIZE]; /* bits that a write of 1 clears */
	struct pci_bar bar[PCI_BARS];
	uint8_t msi; /* its capability, 0: none */
	uint8_t next_cap;
	struct pci_msix msix;
	bool intx; /* what the device asks for */
	/* After a write to [off, off + size), after a reset and after a load; may be NULL. */
	void (*changed)(struct pci_func *f, unsigned off, unsigned size);
	/* Before a configuration read of [off, off + size); may be NULL. */
	void (*reading)(struct pci_func *f, unsigned off, unsigned size);
};

struct pci_wires {
	struct bus *memory, *ports;
	struct guest_memory *dma;
	/* INTx of a slot: pin 0 is INTA. Shared lines are ORed by the receiver. */
	void (*intx)(void *ctx, unsigned devfn, unsigned pin, bool level);
	void (*msi)(void *ctx, uint64_t addr, uint32_t data);
	void *ctx;
	struct bus_region *reset_control; /* port CF9h, which lies inside the address register */
};

enum pci_region_id {
	PCI_ADDRESS, /* 4 ports, CF8h */
	PCI_DATA     /* 4 ports, CFCh */
};

/* ---- the bus ---- */

struct pci *pci_new(const struct pci_wires *wires);
/* Saves the address register; functions are saved by their devices. */
struct device *pci_device(struct pci *p);
struct bus_region *pci_region(struct pci *p, enum pci_region_id id);
/* -EEXIST: the place is taken; -EINVAL: no such slot. devfn of a free slot is found if slot < 0. */
int pci_add(struct pci *p, struct pci_func *f, int slot, unsigned function);
/* The function there, or NULL. */
struct pci_func *pci_at(struct pci *p, unsigned devfn);

/* Its functions with their base addresses, for people. */
void pci_print(struct pci *p, FILE *out);

/* As configuration cycles do; size is 1, 2 or 4 within one doubleword. */
uint32_t pci_config_read(struct pci *p, unsigned devfn, unsigned off, unsigned size);
void pci_config_write(struct pci *p, unsigned devfn, unsigned off, unsigned size, uint32_t value);

/* ---- a function, before pci_add ---- */

void pci_func_init(struct pci_func *f, const char *name, const struct pci_id *id);
/* The value after reset, and which of its bits a write changes. */
void pci_func_register(
	struct pci_func *f, unsigned off, unsigned size, uint32_t value, uint32_t writable);
/* n < 6, or PCI_ROM_BAR. The region's size is a power of two: 4 and more (ports), 16, 2048. */
void pci_func_bar(
	struct pci_func *f, unsigned n, enum pci_bar_kind kind, struct bus_region *region);
/* Room for a capability of len bytes; returns its offset. */
uint8_t pci_func_capability(struct pci_func *f, uint8_t id, unsigned len);
/* MSI with one vector and a 64-bit address. */
void pci_func_msi(struct pci_func *f);
/* MSI-X with table and pending bits in a BAR of its own, 4 KiB; vectors is 1..64. */
void pci_func_msix(struct pci_func *f, unsigned bar, unsigned vectors);

/* ---- a function, while the machine runs ---- */

void pci_func_reset(struct pci_func *f);
/* Fields of the open section. */
void pci_func_snap(struct pci_func *f, struct snap *s);
/* The level of its INTx; ignored while MSI or MSI-X is on. */
void pci_func_irq(struct pci_func *f, bool level);
bool pci_func_msi_on(const struct pci_func *f);
bool pci_func_msix_on(const struct pci_func *f);
/* One message: of MSI (vector 0), or that entry of MSI-X. */
void pci_func_message(struct pci_func *f, unsigned vector);
/* -EFAULT: not RAM, or the function may not be a bus master. */
int pci_func_read(struct pci_func *f, gpa_t gpa, void *buf, uint64_t len);
int pci_func_write(struct pci_func *f, gpa_t gpa, const void *buf, uint64_t len);
/* Host memory of [gpa, gpa + len), to use for as long as the machine lives; NULL for -EFAULT. */
void *pci_func_ptr(struct pci_func *f, gpa_t gpa, uint64_t len);
/* The pages in it go back to the host: mem_discard. */
int pci_func_discard(struct pci_func *f, gpa_t gpa, uint64_t len);
/* What was written through such a pointer, after it landed. */
void pci_func_written(struct pci_func *f, gpa_t gpa, uint64_t len);

/* Little-endian words of the configuration space, without its rules. */
uint32_t pci_get(const struct pci_func *f, unsigned off, unsigned size);
void pci_put(struct pci_func *f, unsigned off, unsigned size, uint32_t value);

#endif
