/*
 * ioapic.c - I/O APIC. Source: Intel 82093AA datasheet.
 *
 * Left out: polarity (lines here are asserted or not), the arbitration bus.
 * Lock: vm->lock.
 */
#include "dev/ioapic.h"

#include <stdlib.h>

#include "dev/devutil.h"
#include "util/util.h"

#define REG_SELECT 0x00
#define REG_WINDOW 0x10

#define INDEX_ID      0x00
#define INDEX_VERSION 0x01
#define INDEX_ENTRIES 0x10
#define VERSION       0x11u

/* Redirection entries. */
#define ENTRY_LOGICAL BIT(11)
#define ENTRY_STATUS  BIT(12)
#define ENTRY_LOW     BIT(13)
#define ENTRY_REMOTE  BIT(14) /* a level-triggered one was sent, and has not ended */
#define ENTRY_LEVEL   BIT(15)
#define ENTRY_MASKED  BIT(16)
#define ENTRY_RW      (~(ENTRY_STATUS | ENTRY_REMOTE) & UINT64_C(0xff0000000001ffff))

struct ioapic {
	struct device dev;
	struct bus_region region;
	void (*send)(void *ctx, const struct apic_message *m);
	void *ctx;
	uint8_t select;
	uint32_t id;
	uint64_t entry[IOAPIC_PINS];
	uint32_t level; /* of the inputs */
};

static void deliver(struct ioapic *io, unsigned pin)
{
	uint64_t *e = &io->entry[pin];
	struct apic_message m = {
		.dest = (uint32_t)(*e >> 56),
		.vector = (uint8_t)*e,
		.delivery = *e >> 8 & 7,
		.logical = *e & ENTRY_LOGICAL,
		.level = *e & ENTRY_LEVEL,
	};

	if (*e & ENTRY_LEVEL)
		*e |= ENTRY_REMOTE;
	io->send(io->ctx, &m);
}

/* A level that is still there is sent again, once the last one has ended. */
static void look(struct ioapic *io, unsigned pin)
{
	uint64_t e = io->entry[pin];

	if (io->level >> pin & 1 && e & ENTRY_LEVEL && !(e & (ENTRY_MASKED | ENTRY_REMOTE)))
		deliver(io, pin);
}

static void set_pin(void *ctx, int pin, bool level)
{
	struct ioapic *io = ctx;
	uint32_t bit = 1u << pin;
	bool rise = level && !(io->level & bit);

	io->level = level ? io->level | bit : io->level & ~bit;
	if (io->entry[pin] & ENTRY_LEVEL)
		look(io, (unsigned)pin);
	else if (rise && !(io->entry[pin] & ENTRY_MASKED))
		deliver(io, (unsigned)pin);
}

void ioapic_eoi(struct ioapic *io, uint8_t vector)
{
	for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
		if ((uint8_t)io->entry[pin] != vector || !(io->entry[pin] & ENTRY_REMOTE))
			continue;
		io->entry[pin] &= ~ENTRY_REMOTE;
		look(io, pin);
	}
}

static uint32_t read_indexed(const struct ioapic *io)
{
	unsigned n = io->select - INDEX_ENTRIES;

	switch (io->select) {
	case INDEX_ID:
	case 2: /* arbitration ID */
		return io->id << 24;
	case INDEX_VERSION:
		return (IOAPIC_PINS - 1) << 16 | VERSION;
	default:
		if (io->select < INDEX_ENTRIES || n / 2 >= IOAPIC_PINS)
			return 0;
		return (uint32_t)(io->entry[n / 2] >> (n % 2 ? 32 : 0));
	}
}

static void write_entry(struct ioapic *io, unsigned n, uint32_t value)
{
	uint64_t *e = &io->entry[n / 2], new = *e;

	if (n % 2)
		new = (uint32_t) new | (uint64_t)value << 32;
	else
		new = (new & ~UINT64_C(0xffffffff)) | value;
	*e = (new &ENTRY_RW) | (*e & ENTRY_REMOTE);
	if (!(*e & ENTRY_LEVEL)) /* becoming edge-triggered forgets the last level */
		*e &= ~ENTRY_REMOTE;
	look(io, n / 2);
}

static uint64_t ioapic_read(void *ctx, uint64_t off, unsigned size)
{
	struct ioapic *io = ctx;

	if (off == REG_SELECT)
		return io->select;
	return off == REG_WINDOW ? read_indexed(io) : 0;
}

static void ioapic_write(void *ctx, uint64_t off, unsigned size, uint64_t value)
{
	struct ioapic *io = ctx;
	unsigned n = io->select - INDEX_ENTRIES;

	if (off == REG_SELECT)
		io->select = (uint8_t)value;
	else if (off == REG_WINDOW && io->select == INDEX_ID)
		io->id = value >> 24 & 15;
	else if (off == REG_WINDOW && io->select >= INDEX_ENTRIES && n / 2 < IOAPIC_PINS)
		write_entry(io, n, (uint32_t)value);
}

static const struct bus_ops ioapic_ops = {ioapic_read, ioapic_write, 4, 4};

static void ioapic_reset(struct device *dev)
{
	struct ioapic *io = container_of(dev, struct ioapic, dev);

	io->select = 0;
	io->id = 0;
	for (unsigned pin = 0; pin < IOAPIC_PINS; pin++)
		io->entry[pin] = ENTRY_MASKED;
}

static void ioapic_snap(struct device *dev, struct snap *s)
{
	struct ioapic *io = container_of(dev, struct ioapic, dev);

	snap_section(s, dev->name, 1);
	snap_u8(s, "select", &io->select);
	snap_u32_max(s, "id", &io->id, 15);
	for (unsigned pin = 0; pin < IOAPIC_PINS; pin++)
		snap_u64(s, "entry", &io->entry[pin]);
	snap_u32_max(s, "level", &io->level, (1u << IOAPIC_PINS) - 1);
}

static void ioapic_destroy(struct device *dev)
{
	free(container_of(dev, struct ioapic, dev));
}

struct ioapic *ioapic_new(void (*send)(void *ctx, const struct apic_message *m), void *ctx)
{
	struct ioapic *io = xcalloc(1, sizeof(*io));

	io->dev = (struct device){"ioapic", ioapic_reset, ioapic_snap, ioapic_destroy};
	io->send = send;
	io->ctx = ctx;
	region_init(&io->region, "ioapic", 32, &ioapic_ops, io);
	return io;
}

void ioapic_print(const struct ioapic *io, FILE *out)
{
	static const char *const delivery[] = {
		"fixed", "lowest", "SMI", "(3)", "NMI", "INIT", "(6)", "ExtINT"};

	fprintf(out, "ioapic: ID %x, select %02x\n", io->id >> 24, io->select);
	for (unsigned n = 0; n < IOAPIC_PINS; n++) {
		uint64_t e = io->entry[n];

		fprintf(out, "  pin %-2u %016llx vector %02x %s to %s%02x %s%s%s%s\n", n,
			(unsigned long long)e, (unsigned)e & 0xff, delivery[e >> 8 & 7],
			e & ENTRY_LOGICAL ? "logical " : "", (unsigned)(e >> 56),
			e & ENTRY_LEVEL ? "level" : "edge", e & ENTRY_MASKED ? " masked" : "",
			e & ENTRY_REMOTE ? " remote-irr" : "",
			io->level >> n & 1 ? " asserted" : "");
	}
}

struct device *ioapic_device(struct ioapic *io)
{
	return &io->dev;
}

struct bus_region *ioapic_region(struct ioapic *io)
{
	return &io->region;
}

struct irq ioapic_irq(struct ioapic *io, int pin)
{
	if (pin < 0 || pin >= IOAPIC_PINS)
		return (struct irq){0};
	return (struct irq){set_pin, io, pin};
}
