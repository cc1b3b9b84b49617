/*
 * mptable.c - processors, one ISA bus, the I/O APIC and its inputs.
 *
 * Source: Intel MultiProcessor Specification 1.4, chapter 4. The PICs' mode at
 * the start is virtual wire: no IMCR.
 */
#include "board/mptable.h"

#include <string.h>

#include "board/acpi.h"
#include "util/util.h"

#define FLOATING_SIZE 16u
#define HEADER_SIZE   44u
#define CPU_SIZE      20u
#define OTHER_SIZE    8u
#define ISA_IRQS      16u
#define CASCADE       2u

enum entry { ENTRY_CPU, ENTRY_BUS, ENTRY_IOAPIC, ENTRY_IO_INTERRUPT, ENTRY_LOCAL_INTERRUPT };
enum interrupt { INTERRUPT_INT, INTERRUPT_NMI, INTERRUPT_SMI, INTERRUPT_EXTINT };

#define ALL_APICS   0xff
#define APIC_USABLE 1
#define CPU_ENABLED 1u
#define CPU_BOOT    2u
#define LAPIC_VER   0x14
#define IOAPIC_VER  0x11
#define BUS_RULES   0   /* polarity and trigger as on the bus */
#define LEVEL_HIGH  0xd /* PO 01, EL 11 */

static uint8_t *put(uint8_t *p, unsigned size, uint64_t value)
{
	memcpy(p, &value, size);
	return p + size;
}

static uint8_t checksum(const uint8_t *p, size_t len)
{
	uint8_t sum = 0;

	while (len--)
		sum = (uint8_t)(sum + *p++);
	return (uint8_t)-sum;
}

static uint8_t *put_cpu(uint8_t *p, unsigned id, uint32_t signature, uint32_t features)
{
	p = put(p, 1, ENTRY_CPU);
	p = put(p, 1, id);
	p = put(p, 1, LAPIC_VER);
	p = put(p, 1, CPU_ENABLED | (id ? 0 : CPU_BOOT));
	p = put(p, 4, signature & 0xfff);
	p = put(p, 4, features);
	return put(p, 8, 0);
}

static uint8_t *put_bus(uint8_t *p)
{
	p = put(p, 1, ENTRY_BUS);
	p = put(p, 1, 0);
	memcpy(p, "ISA   ", 6);
	return p + 6;
}

static uint8_t *put_ioapic(uint8_t *p)
{
	p = put(p, 1, ENTRY_IOAPIC);
	p = put(p, 1, 0); /* as the ID register says after reset */
	p = put(p, 1, IOAPIC_VER);
	p = put(p, 1, APIC_USABLE);
	return put(p, 4, IOAPIC_ADDR);
}

/* From an ISA line to an input of an APIC. */
static uint8_t *put_interrupt(uint8_t *p, enum entry kind, enum interrupt type, unsigned irq,
	unsigned apic, unsigned input)
{
	p = put(p, 1, kind);
	p = put(p, 1, type);
	p = put(p, 2, irq == ACPI_SCI ? LEVEL_HIGH : BUS_RULES);
	p = put(p, 1, 0);
	p = put(p, 1, irq);
	p = put(p, 1, apic);
	return put(p, 1, input);
}

static uint8_t *put_interrupts(uint8_t *p)
{
	for (unsigned irq = 0; irq < ISA_IRQS; irq++)
		if (irq != CASCADE)
			p = put_interrupt(p, ENTRY_IO_INTERRUPT, INTERRUPT_INT, irq, 0,
				irq ? irq : 2); /* the PIT's line is on input 2 */
	p = put_interrupt(p, ENTRY_LOCAL_INTERRUPT, INTERRUPT_EXTINT, 0, 0, 0);
	return put_interrupt(p, ENTRY_LOCAL_INTERRUPT, INTERRUPT_NMI, 0, ALL_APICS, 1);
}

static void put_header(uint8_t *p, size_t len, unsigned entries)
{
	uint8_t *at = p;

	memcpy(at, "PCMP", 4);
	at = put(at + 4, 2, len);
	at = put(at, 1, 4); /* MP 1.4 */
	at = put(at, 1, 0);
	memcpy(at, "TINAMOU PC          ", 20);
	at = put(at + 20, 4, 0); /* no OEM table */
	at = put(at, 2, 0);
	at = put(at, 2, entries);
	at = put(at, 4, LAPIC_ADDR);
	put(at, 4, 0);
	p[7] = checksum(p, len);
}

static void put_floating(uint8_t *p, uint32_t table)
{
	memset(p, 0, FLOATING_SIZE);
	memcpy(p, "_MP_", 4);
	put(p + 4, 4, table);
	p[8] = 1; /* paragraphs */
	p[9] = 4;
	p[10] = checksum(p, FLOATING_SIZE);
}

size_t mptable(uint8_t *p, size_t room, uint32_t addr, unsigned cpus, uint32_t cpu_signature,
	uint32_t features)
{
	unsigned others = 2 + (ISA_IRQS - 1) + 2;
	size_t len = HEADER_SIZE + cpus * CPU_SIZE + others * OTHER_SIZE;
	uint8_t *table = p + FLOATING_SIZE, *at = table + HEADER_SIZE;

	if (FLOATING_SIZE + len > room)
		return 0;
	for (unsigned id = 0; id < cpus; id++)
		at = put_cpu(at, id, cpu_signature, features);
	at = put_bus(at);
	at = put_ioapic(at);
	put_interrupts(at);
	put_header(table, len, cpus + others);
	put_floating(p, addr + FLOATING_SIZE);
	return FLOATING_SIZE + len;
}
