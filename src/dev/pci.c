/*
 * pci.c - the bus: configuration mechanism #1, and where BARs put regions.
 *
 * Source: PCI Local Bus 3.0: 3.2.2.3.2 (mechanism #1), 6.1 to 6.2.5 (header,
 * BARs). Left out: bridges to further buses, parity and system errors, special
 * cycles. A BAR that reads as all ones or zero is not mapped: so it looks
 * while its size is asked for and before it was set. Lock: vm->lock.
 */
#include "dev/pci.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dev/devutil.h"
#include "dev/pci_msi.h"
#include "util/util.h"

#define ADDRESS_ENABLE   0x80000000u
#define ADDRESS_WRITABLE 0x80fffffcu
#define COMMAND_WRITABLE 0x0547u /* fast back-to-back and the like are not there */
#define STATUS_CAPS      0x0010u
#define STATUS_INTX      0x0008u
#define STATUS_CLEARABLE 0xf900u
#define MULTI_FUNCTION   0x80u
#define FIRST_CAP        0x40u
#define ROM_ENABLE       1u
#define BAR_IO           1u
#define BAR_64           4u
#define PORT_MASK        0xffffu

struct pci {
	struct device dev;
	struct bus_region region[2];
	struct pci_wires wires;
	uint32_t address;
	struct pci_func *func[PCI_SLOTS * 8];
};

uint32_t pci_get(const struct pci_func *f, unsigned off, unsigned size)
{
	uint32_t v = 0;

	memcpy(&v, f->config + off, size);
	return v;
}

void pci_put(struct pci_func *f, unsigned off, unsigned size, uint32_t value)
{
	memcpy(f->config + off, &value, size);
}

/* ---- base addresses ---- */

static unsigned bar_offset(unsigned n)
{
	return n == PCI_ROM_BAR ? PCI_ROM : PCI_BAR0 + 4 * n;
}

/* Where a BAR puts its region now; UINT64_MAX: nowhere. */
static uint64_t bar_base(const struct pci_func *f, unsigned n)
{
	const struct pci_bar *bar = &f->bar[n];
	uint64_t mask = ~(bar->size - 1), base = pci_get(f, bar_offset(n), 4), top = UINT32_MAX;
	unsigned command = pci_get(f, PCI_COMMAND, 2);
	bool on = command & (bar->kind == PCI_BAR_IO ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY);

	if (bar->kind == PCI_BAR_ROM)
		on = on && base & ROM_ENABLE;
	if (bar->kind == PCI_BAR_IO)
		top = PORT_MASK;
	if (bar->kind == PCI_BAR_MEM64) {
		base |= (uint64_t)pci_get(f, bar_offset(n) + 4, 4) << 32;
		top = UINT64_MAX;
	}
	base &= mask;
	if (!on || !base || base > top || base == (mask & top) || base == (mask & UINT32_MAX))
		return UINT64_MAX;
	return base;
}

static void place_bars(struct pci_func *f)
{
	for (unsigned n = 0; n < PCI_BARS; n++) {
		struct pci_bar *bar = &f->bar[n];
		struct bus *bus;
		uint64_t base;

		if (bar->kind == PCI_BAR_NONE || !f->bus)
			continue;
		bus = bar->kind == PCI_BAR_IO ? f->bus->wires.ports : f->bus->wires.memory;
		base = bar_base(f, n);
		if (base == UINT64_MAX)
			bus_unmap(bus, bar->region);
		else if (!bar->region->mapped || bar->region->base != base)
			bus_move(bus, bar->region, base, bar->size);
	}
}

/* ---- interrupts ---- */

/* The one function that computes INTx from what the device asks for. */
static void update_intx(struct pci_func *f)
{
	bool off = pci_func_msi_on(f) || pci_func_msix_on(f) ||
		   pci_get(f, PCI_COMMAND, 2) & PCI_COMMAND_NO_INTX;
	uint8_t pin = f->config[PCI_INTERRUPT_PIN];

	f->config[PCI_STATUS] &= (uint8_t)~STATUS_INTX;
	if (f->intx)
		f->config[PCI_STATUS] |= STATUS_INTX;
	if (f->bus && pin)
		f->bus->wires.intx(f->bus->wires.ctx, f->devfn, pin - 1u, f->intx && !off);
}

void pci_func_irq(struct pci_func *f, bool level)
{
	f->intx = level;
	update_intx(f);
}

void pci_send_msi(struct pci_func *f, uint64_t addr, uint32_t data)
{
	if (f->bus && pci_get(f, PCI_COMMAND, 2) & PCI_COMMAND_MASTER)
		f->bus->wires.msi(f->bus->wires.ctx, addr, data);
}

/* ---- configuration cycles ---- */

static void settle(struct pci_func *f, unsigned off, unsigned size)
{
	place_bars(f);
	pci_msix_settle(f);
	update_intx(f);
	if (f->changed)
		f->changed(f, off, size);
}

static uint32_t func_read(struct pci_func *f, unsigned off, unsigned size)
{
	if (f->reading)
		f->reading(f, off, size);
	return pci_get(f, off, size);
}

static void func_write(struct pci_func *f, unsigned off, unsigned size, uint32_t value)
{
	for (unsigned i = off; i < off + size; i++, value >>= 8) {
		uint8_t keep = f->config[i] & (uint8_t)~f->writable[i];

		keep &= (uint8_t) ~(f->clearable[i] & value);
		f->config[i] = keep | (f->writable[i] & (uint8_t)value);
	}
	settle(f, off, size);
}

struct pci_func *pci_at(struct pci *p, unsigned devfn)
{
	return devfn < ARRAY_SIZE(p->func) ? p->func[devfn] : NULL;
}

uint32_t pci_config_read(struct pci *p, unsigned devfn, unsigned off, unsigned size)
{
	struct pci_func *f = pci_at(p, devfn);

	if (!f || !range_in(off, size, PCI_CONFIG_SIZE))
		return (uint32_t)size_mask(size);
	return func_read(f, off, size);
}

void pci_config_write(struct pci *p, unsigned devfn, unsigned off, unsigned size, uint32_t value)
{
	struct pci_func *f = pci_at(p, devfn);

	if (f && range_in(off, size, PCI_CONFIG_SIZE))
		func_write(f, off, size, value);
}

/* Only whole doublewords are the address register; a byte at CF9h is the reset control's. */
static uint64_t address_read(void *ctx, uint64_t off, unsigned size)
{
	struct pci *p = ctx;
	struct bus_region *rc = p->wires.reset_control;

	if (size == 4)
		return p->address;
	return rc && off == 1 && size == 1 ? rc->ops->read(rc->ctx, 0, 1) : UINT64_MAX;
}

static void address_write(void *ctx, uint64_t off, unsigned size, uint64_t value)
{
	struct pci *p = ctx;
	struct bus_region *rc = p->wires.reset_control;

	if (size == 4)
		p->address = value & ADDRESS_WRITABLE;
	else if (rc && off == 1 && size == 1)
		rc->ops->write(rc->ctx, 0, 1, value);
}

/* The function that the address register names, UINT_MAX: none. */
static unsigned target(const struct pci *p)
{
	bool bus0 = !(p->address >> 16 & 0xff);

	return p->address & ADDRESS_ENABLE && bus0 ? p->address >> 8 & 0xff : UINT32_MAX;
}

static uint64_t data_read(void *ctx, uint64_t off, unsigned size)
{
	struct pci *p = ctx;

	return pci_config_read(p, target(p), (p->address & 0xfc) + (unsigned)off, size);
}

static void data_write(void *ctx, uint64_t off, unsigned size, uint64_t value)
{
	struct pci *p = ctx;

	pci_config_write(p, target(p), (p->address & 0xfc) + (unsigned)off, size, (uint32_t)value);
}

static const struct bus_ops pci_ops[2] = {
	[PCI_ADDRESS] = {address_read, address_write, 1, 4},
	[PCI_DATA] = {data_read, data_write, 1, 4},
};

/* ---- functions ---- */

void pci_func_register(
	struct pci_func *f, unsigned off, unsigned size, uint32_t value, uint32_t writable)
{
	memcpy(f->reset_value + off, &value, size);
	memcpy(f->config + off, &value, size);
	memcpy(f->writable + off, &writable, size);
}

void pci_func_init(struct pci_func *f, const char *name, const struct pci_id *id)
{
	uint16_t clearable = STATUS_CLEARABLE;

	*f = (struct pci_func){.name = name, .next_cap = FIRST_CAP};
	pci_func_register(f, PCI_VENDOR_ID, 2, id->vendor, 0);
	pci_func_register(f, PCI_DEVICE_ID, 2, id->device, 0);
	pci_func_register(f, PCI_COMMAND, 2, 0, COMMAND_WRITABLE);
	pci_func_register(f, PCI_REVISION, 4, id->class << 8 | id->revision, 0);
	pci_func_register(f, PCI_REVISION + 4, 2, 0, 0xffff); /* cache line, latency timer */
	pci_func_register(f, PCI_SUBSYSTEM_VENDOR, 2, id->subsystem_vendor, 0);
	pci_func_register(f, PCI_SUBSYSTEM_ID, 2, id->subsystem, 0);
	pci_func_register(f, PCI_INTERRUPT_LINE, 1, 0, 0xff);
	pci_func_register(f, PCI_INTERRUPT_PIN, 1, id->pin, 0);
	memcpy(f->clearable + PCI_STATUS, &clearable, sizeof(clearable));
}

void pci_func_bar(struct pci_func *f, unsigned n, enum pci_bar_kind kind, struct bus_region *r)
{
	uint64_t mask = ~(r->size - 1);
	uint32_t flags = 0, low = (uint32_t)mask;

	if (kind == PCI_BAR_IO)
		flags = BAR_IO;
	else if (kind == PCI_BAR_MEM64)
		flags = BAR_64;
	else if (kind == PCI_BAR_ROM)
		low |= ROM_ENABLE;
	f->bar[n] = (struct pci_bar){kind, r, r->size};
	r->prio = BUS_PRIO_MOVABLE;
	pci_func_register(f, bar_offset(n), 4, flags, low);
	if (kind == PCI_BAR_MEM64)
		pci_func_register(f, bar_offset(n) + 4, 4, 0, (uint32_t)(mask >> 32));
}

uint8_t pci_func_capability(struct pci_func *f, uint8_t id, unsigned len)
{
	uint8_t at = f->next_cap;

	pci_func_register(f, at, 2, id | (uint32_t)f->reset_value[PCI_CAPABILITIES] << 8, 0);
	pci_func_register(f, PCI_CAPABILITIES, 1, at, 0);
	pci_func_register(f, PCI_STATUS, 2, STATUS_CAPS, 0);
	f->next_cap = (uint8_t)((at + len + 3) & ~3u);
	return at;
}

void pci_func_reset(struct pci_func *f)
{
	memcpy(f->config, f->reset_value, PCI_CONFIG_SIZE);
	f->intx = false;
	pci_msix_reset(f);
	settle(f, 0, PCI_CONFIG_SIZE);
}

void pci_func_snap(struct pci_func *f, struct snap *s)
{
	uint8_t config[PCI_CONFIG_SIZE];

	memcpy(config, f->config, sizeof(config));
	snap_bytes(s, "config", config, sizeof(config));
	snap_bool(s, "intx", &f->intx);
	pci_msix_snap(f, s);
	if (!snap_loading(s) || snap_error(s))
		return;
	for (unsigned i = 0; i < PCI_CONFIG_SIZE; i++) {
		uint8_t guests = f->writable[i] | f->clearable[i];

		f->config[i] = (f->reset_value[i] & (uint8_t)~guests) | (config[i] & guests);
	}
	settle(f, 0, PCI_CONFIG_SIZE);
}

static bool is_master(const struct pci_func *f)
{
	return f->bus && pci_get(f, PCI_COMMAND, 2) & PCI_COMMAND_MASTER;
}

int pci_func_read(struct pci_func *f, gpa_t gpa, void *buf, uint64_t len)
{
	return is_master(f) ? mem_read(f->bus->wires.dma, gpa, buf, len) : -EFAULT;
}

int pci_func_write(struct pci_func *f, gpa_t gpa, const void *buf, uint64_t len)
{
	return is_master(f) ? mem_write(f->bus->wires.dma, gpa, buf, len) : -EFAULT;
}

void *pci_func_ptr(struct pci_func *f, gpa_t gpa, uint64_t len)
{
	return is_master(f) ? mem_ptr(f->bus->wires.dma, gpa, len) : NULL;
}

int pci_func_discard(struct pci_func *f, gpa_t gpa, uint64_t len)
{
	return is_master(f) ? mem_discard(f->bus->wires.dma, gpa, len) : -EFAULT;
}

void pci_func_written(struct pci_func *f, gpa_t gpa, uint64_t len)
{
	struct guest_memory *m = f->bus->wires.dma;

	if (m->written)
		m->written(m->written_ctx, gpa, len);
}

/* ---- the bus ---- */

static bool slot_free(const struct pci *p, unsigned slot)
{
	for (unsigned fn = 0; fn < 8; fn++)
		if (p->func[slot * 8 + fn])
			return false;
	return true;
}

static int free_slot(const struct pci *p)
{
	for (int slot = 0; slot < (int)PCI_SLOTS; slot++)
		if (slot_free(p, (unsigned)slot))
			return slot;
	return -1;
}

/* Who looks at function 0 shall look at the others too. */
static void mark_multi_function(struct pci_func *f)
{
	f->reset_value[PCI_HEADER_TYPE] |= MULTI_FUNCTION;
	f->config[PCI_HEADER_TYPE] |= MULTI_FUNCTION;
}

int pci_add(struct pci *p, struct pci_func *f, int slot, unsigned function)
{
	unsigned devfn;

	if (slot < 0)
		slot = free_slot(p);
	if (slot < 0 || slot >= (int)PCI_SLOTS || function > 7)
		return -EINVAL;
	devfn = (unsigned)slot * 8 + function;
	if (p->func[devfn])
		return -EEXIST;
	p->func[devfn] = f;
	f->bus = p;
	f->devfn = (uint8_t)devfn;
	if (function && p->func[devfn & ~7u])
		mark_multi_function(p->func[devfn & ~7u]);
	return 0;
}

static void pci_reset(struct device *dev)
{
	container_of(dev, struct pci, dev)->address = 0;
}

static void pci_snap(struct device *dev, struct snap *s)
{
	struct pci *p = container_of(dev, struct pci, dev);

	snap_section(s, dev->name, 1);
	snap_u32(s, "address", &p->address);
	p->address &= ADDRESS_WRITABLE;
}

static void pci_destroy(struct device *dev)
{
	free(container_of(dev, struct pci, dev));
}

struct pci *pci_new(const struct pci_wires *wires)
{
	static const char *const name[2] = {"pci-address", "pci-data"};
	struct pci *p = xcalloc(1, sizeof(*p));

	p->dev = (struct device){"pci", pci_reset, pci_snap, pci_destroy, NULL};
	p->wires = *wires;
	for (unsigned i = 0; i < ARRAY_SIZE(p->region); i++) {
		region_init(&p->region[i], name[i], 4, &pci_ops[i], p);
		p->region[i].prio = BUS_PRIO_HOST; /* a BAR there must not be the last one */
	}
	return p;
}

struct device *pci_device(struct pci *p)
{
	return &p->dev;
}

struct bus_region *pci_region(struct pci *p, enum pci_region_id id)
{
	return &p->region[id];
}

/* ---- for people ---- */

static void print_bar(const struct pci_func *f, unsigned n, FILE *out)
{
	unsigned reg = n == PCI_ROM_BAR ? PCI_ROM : PCI_BAR0 + 4 * n;
	const struct pci_bar *bar = &f->bar[n];
	uint64_t value = pci_get(f, reg, 4);

	if (bar->kind == PCI_BAR_NONE)
		return;
	if (bar->kind == PCI_BAR_MEM64)
		value |= (uint64_t)pci_get(f, reg + 4, 4) << 32;
	value &= bar->kind == PCI_BAR_IO ? ~UINT64_C(3) : ~UINT64_C(15);
	fprintf(out, "      BAR%u: %s at 0x%llx, %llu bytes\n", n,
		bar->kind == PCI_BAR_IO    ? "ports"
		: bar->kind == PCI_BAR_ROM ? "ROM"
					   : "memory",
		(unsigned long long)value, (unsigned long long)bar->size);
}

void pci_print(struct pci *p, FILE *out)
{
	for (unsigned devfn = 0; devfn < PCI_SLOTS * 8; devfn++) {
		const struct pci_func *f = pci_at(p, devfn);

		if (!f)
			continue;
		fprintf(out, "  00:%02x.%u %s: %04x:%04x class %06x command %04x", devfn >> 3,
			devfn & 7, f->name, pci_get(f, PCI_VENDOR_ID, 2),
			pci_get(f, PCI_DEVICE_ID, 2), pci_get(f, PCI_REVISION, 4) >> 8,
			pci_get(f, PCI_COMMAND, 2));
		if (pci_get(f, PCI_INTERRUPT_PIN, 1))
			fprintf(out, " INT%c line %u",
				'A' + (int)pci_get(f, PCI_INTERRUPT_PIN, 1) - 1,
				pci_get(f, PCI_INTERRUPT_LINE, 1));
		fputc('\n', out);
		for (unsigned n = 0; n < PCI_BARS; n++)
			print_bar(f, n, out);
	}
}
