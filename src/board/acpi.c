/*
 * acpi.c - RSDP, XSDT, FADT, MADT, HPET and the compiled DSDT.
 *
 * Source: ACPI 6.4, chapter 5.2; IA-PC HPET 1.0a, 3.2.4; for the script, the table loader's
 * interface of QEMU and SeaBIOS. Numbers are little-endian, and a table sums up to zero.
 */
#include "board/acpi.h"

#include <stdlib.h>
#include <string.h>

#include "board/dsdt.h"
#include "dev/hpet.h"
#include "util/util.h"

/* Where a table is being written. */
struct table {
	uint8_t *rom;
	uint32_t start, end; /* offsets in rom */
};

static void put(struct table *t, unsigned size, uint64_t value)
{
	memcpy(t->rom + t->end, &value, size);
	t->end += size;
}

static void put_text(struct table *t, const char *text, unsigned size)
{
	memset(t->rom + t->end, ' ', size);
	memcpy(t->rom + t->end, text, MIN(strlen(text), size));
	t->end += size;
}

static uint8_t checksum(const uint8_t *p, size_t len)
{
	uint8_t sum = 0;

	while (len--)
		sum = (uint8_t)(sum + *p++);
	return (uint8_t)-sum;
}

/* The header of table 5.4; length and checksum come with finish. */
static struct table begin(uint8_t *rom, uint32_t at, const char *signature, uint8_t revision)
{
	struct table t = {rom, (at + 15) & ~15u, (at + 15) & ~15u};

	put_text(&t, signature, 4);
	put(&t, 4, 0);
	put(&t, 1, revision);
	put(&t, 1, 0);
	put_text(&t, "TINAMO", 6);
	put_text(&t, "PC", 8);
	put(&t, 4, 1);
	put_text(&t, "TINA", 4);
	put(&t, 4, 1);
	return t;
}

static uint32_t finish(struct table *t)
{
	uint32_t len = t->end - t->start;

	memcpy(t->rom + t->start + 4, &len, 4);
	t->rom[t->start + 9] = checksum(t->rom + t->start, len);
	return ACPI_ADDR + t->start;
}

/* Generic address structure (5.2.3.2) of an I/O port. */
static void put_port(struct table *t, uint32_t port, unsigned bits)
{
	const unsigned io_space = 1;

	put(t, 1, port ? io_space : 0);
	put(t, 1, bits);
	put(t, 1, 0);
	put(t, 1, bits ? (unsigned)__builtin_ctz(bits) - 2 : 0);
	put(t, 8, port);
}

#define FADT_WBINVD       BIT(0)
#define FADT_PROC_C1      BIT(2)
#define FADT_NO_SLEEP_BUT BIT(5)
#define FADT_RESET_REG    BIT(10)
#define BOOT_LEGACY       1u /* devices at their traditional places */
#define BOOT_8042         2u
#define PM1_EVT           ACPI_PM_PORTS
#define PM1_CNT           (ACPI_PM_PORTS + 4)
#define PM_TMR            (ACPI_PM_PORTS + 8)
#define RESET_PORT        0xcf9u
#define RESET_VALUE       6u

/* Table 5.9. */
static uint32_t fadt(struct table *t, uint32_t dsdt)
{
	put(t, 4, 0); /* FACS: no firmware waking vector, no global lock */
	put(t, 4, dsdt);
	put(t, 1, 0);
	put(t, 1, 0); /* preferred profile: unspecified */
	put(t, 2, ACPI_SCI);
	put(t, 4, 0); /* SMI_CMD: ACPI is on */
	put(t, 4, 0); /* ACPI_ENABLE, ACPI_DISABLE, S4BIOS_REQ, PSTATE_CNT */
	put(t, 4, PM1_EVT);
	put(t, 4, 0);
	put(t, 4, PM1_CNT);
	put(t, 4, 0);
	put(t, 4, 0);
	put(t, 4, PM_TMR);
	put(t, 8, 0); /* general purpose events */
	put(t, 1, 4); /* lengths: PM1_EVT, PM1_CNT, PM2_CNT, PM_TMR */
	put(t, 1, 2);
	put(t, 1, 0);
	put(t, 1, 4);
	put(t, 4, 0);      /* GPE lengths and base, C-state control */
	put(t, 2, 0xffff); /* C2 and C3: not there */
	put(t, 2, 0xffff);
	put(t, 6, 0);    /* flush, duty */
	put(t, 2, 0);    /* RTC alarms */
	put(t, 1, 0x32); /* RTC century */
	put(t, 2, BOOT_LEGACY | BOOT_8042);
	put(t, 1, 0);
	put(t, 4, FADT_WBINVD | FADT_PROC_C1 | FADT_NO_SLEEP_BUT | FADT_RESET_REG);
	put_port(t, RESET_PORT, 8);
	put(t, 1, RESET_VALUE);
	put(t, 3, 0);
	put(t, 8, 0);
	put(t, 8, dsdt);
	put_port(t, PM1_EVT, 32);
	put_port(t, 0, 0);
	put_port(t, PM1_CNT, 16);
	put_port(t, 0, 0);
	put_port(t, 0, 0);
	put_port(t, PM_TMR, 32);
	for (unsigned n = 0; n < 4; n++) /* GPE0, GPE1, sleep control and status */
		put_port(t, 0, 0);
	put(t, 8, 0); /* hypervisor vendor */
	return finish(t);
}

#define MADT_PCAT_COMPAT 1u /* there is a pair of 8259s */

static void override(struct table *t, uint8_t irq, uint32_t gsi, uint16_t flags)
{
	put(t, 1, 2);
	put(t, 1, 10);
	put(t, 1, 0);
	put(t, 1, irq);
	put(t, 4, gsi);
	put(t, 2, flags);
}

/* 5.2.12: local APICs, the I/O APIC, what is wired differently. */
static uint32_t madt(struct table *t, unsigned cpus)
{
	const uint16_t level_high = 0xd;

	put(t, 4, LAPIC_ADDR);
	put(t, 4, MADT_PCAT_COMPAT);
	for (unsigned n = 0; n < cpus; n++) {
		put(t, 1, 0);
		put(t, 1, 8);
		put(t, 1, n);
		put(t, 1, n);
		put(t, 4, 1); /* enabled */
	}
	put(t, 1, 1);
	put(t, 1, 12);
	put(t, 2, 0); /* I/O APIC ID */
	put(t, 4, IOAPIC_ADDR);
	put(t, 4, 0);
	override(t, 0, 2, 0);
	override(t, ACPI_SCI, ACPI_SCI, level_high);
	put(t, 1, 4); /* NMI: LINT1 of all */
	put(t, 1, 6);
	put(t, 1, 0xff);
	put(t, 2, 0);
	put(t, 1, 1);
	return finish(t);
}

static uint32_t hpet(struct table *t)
{
	put(t, 4, HPET_ID);
	put(t, 4, 0); /* in memory, 64 bits */
	put(t, 8, HPET_ADDR);
	put(t, 1, 0);   /* the only one */
	put(t, 2, 128); /* the shortest period in ticks that loses no interrupts */
	put(t, 1, 0);
	return finish(t);
}

static void rsdp(uint8_t *rom, uint32_t xsdt)
{
	struct table t = {rom, 0, 0};

	put_text(&t, "RSD PTR ", 8);
	put(&t, 1, 0);
	put_text(&t, "TINAMO", 6);
	put(&t, 1, 2); /* ACPI 2.0 and later */
	put(&t, 4, 0); /* no RSDT */
	put(&t, 4, 36);
	put(&t, 8, xsdt);
	put(&t, 4, 0);
	rom[8] = checksum(rom, 20);
	rom[32] = checksum(rom, 36);
}

#define RSDP_SIZE 36u
#define DSDT_AT   64u

/* Where the tables that others point to stand, as offsets from the start. */
struct layout {
	uint32_t fadt, xsdt, end;
};

static struct layout lay_out(uint8_t *rom, unsigned cpus)
{
	uint32_t table[3];
	struct layout at;
	struct table t;

	memset(rom, 0, ACPI_SIZE);
	memcpy(rom + DSDT_AT, dsdt_aml_code, sizeof(dsdt_aml_code));
	t = begin(rom, DSDT_AT + sizeof(dsdt_aml_code), "FACP", 6);
	at.fadt = t.start;
	table[0] = fadt(&t, ACPI_ADDR + DSDT_AT);
	t = begin(rom, t.end, "APIC", 5);
	table[1] = madt(&t, cpus);
	t = begin(rom, t.end, "HPET", 1);
	table[2] = hpet(&t);
	t = begin(rom, t.end, "XSDT", 1);
	at.xsdt = t.start;
	for (unsigned n = 0; n < ARRAY_SIZE(table); n++)
		put(&t, 8, table[n]);
	rsdp(rom, finish(&t));
	at.end = t.end;
	return at;
}

void acpi_tables(uint8_t *rom, unsigned cpus)
{
	lay_out(rom, cpus);
}

/* ---- for firmware that places them ---- */

#define FADT_DSDT    40u /* offsets of pointers: in the FADT, XSDT and RSDP */
#define FADT_X_DSDT  140u
#define XSDT_ENTRIES 36u
#define RSDP_XSDT    24u
#define TABLE_LENGTH 4u
#define TABLE_SUM    9u

enum command { ALLOCATE = 1, ADD_POINTER = 2, ADD_CHECKSUM = 3 };
enum zone { ZONE_HIGH = 1, ZONE_FSEG = 2 };

/* One line of the script. */
struct command_entry {
	uint32_t command;
	union {
		struct {
			char file[56];
			uint32_t align;
			uint8_t zone;
		} __attribute__((packed)) allocate;
		struct {
			char file[56], to[56];
			uint32_t offset;
			uint8_t size;
		} __attribute__((packed)) pointer;
		struct {
			char file[56];
			uint32_t offset, start, length;
		} checksum;
		uint8_t pad[124];
	};
} __attribute__((packed));

static struct command_entry *add_command(struct acpi_blobs *b, enum command command)
{
	struct command_entry *e;

	b->script = xrealloc(b->script, b->script_len + sizeof(*e));
	e = (struct command_entry *)(b->script + b->script_len);
	*e = (struct command_entry){.command = command};
	b->script_len += sizeof(*e);
	return e;
}

static void add_file(struct acpi_blobs *b, const char *file, uint32_t align, enum zone zone)
{
	struct command_entry *e = add_command(b, ALLOCATE);

	strcpy(e->allocate.file, file);
	e->allocate.align = align;
	e->allocate.zone = zone;
}

/* The pointer there becomes an offset into the tables' file. */
static void add_pointer(
	struct acpi_blobs *b, const char *file, uint8_t *bytes, uint32_t offset, uint8_t size)
{
	struct command_entry *e = add_command(b, ADD_POINTER);
	uint64_t value = 0;

	memcpy(&value, bytes + offset, size);
	value -= ACPI_ADDR + DSDT_AT;
	memcpy(bytes + offset, &value, size);
	strcpy(e->pointer.file, file);
	strcpy(e->pointer.to, ACPI_FILE_TABLES);
	e->pointer.offset = offset;
	e->pointer.size = size;
}

/* The sum over [start, start + len) is made good in the byte at offset. */
static void add_sum(struct acpi_blobs *b, const char *file, uint8_t *bytes, uint32_t offset,
	uint32_t start, uint32_t len)
{
	struct command_entry *e = add_command(b, ADD_CHECKSUM);

	bytes[offset] = 0;
	strcpy(e->checksum.file, file);
	e->checksum.offset = offset;
	e->checksum.start = start;
	e->checksum.length = len;
}

static void add_table_sum(struct acpi_blobs *b, uint32_t at)
{
	uint32_t len;

	memcpy(&len, b->tables + at + TABLE_LENGTH, sizeof(len));
	add_sum(b, ACPI_FILE_TABLES, b->tables, at + TABLE_SUM, at, len);
}

static void write_script(struct acpi_blobs *b, const struct layout *at)
{
	uint32_t fadt = at->fadt - DSDT_AT, xsdt = at->xsdt - DSDT_AT;

	add_file(b, ACPI_FILE_TABLES, 64, ZONE_HIGH);
	add_file(b, ACPI_FILE_RSDP, 16, ZONE_FSEG);
	add_pointer(b, ACPI_FILE_TABLES, b->tables, fadt + FADT_DSDT, 4);
	add_pointer(b, ACPI_FILE_TABLES, b->tables, fadt + FADT_X_DSDT, 8);
	for (uint32_t p = at->xsdt + XSDT_ENTRIES; p < at->end; p += 8)
		add_pointer(b, ACPI_FILE_TABLES, b->tables, p - DSDT_AT, 8);
	add_pointer(b, ACPI_FILE_RSDP, b->rsdp, RSDP_XSDT, 8);
	add_table_sum(b, fadt);
	add_table_sum(b, xsdt);
	add_sum(b, ACPI_FILE_RSDP, b->rsdp, 8, 0, 20);
	add_sum(b, ACPI_FILE_RSDP, b->rsdp, 32, 0, RSDP_SIZE);
}

struct acpi_blobs *acpi_blobs_new(unsigned cpus)
{
	struct acpi_blobs *b = xcalloc(1, sizeof(*b));
	uint8_t *rom = xcalloc(1, ACPI_SIZE);
	struct layout at = lay_out(rom, cpus);

	memcpy(b->rsdp, rom, RSDP_SIZE);
	b->tables_len = at.end - DSDT_AT;
	b->tables = xcalloc(1, b->tables_len);
	memcpy(b->tables, rom + DSDT_AT, b->tables_len);
	write_script(b, &at);
	free(rom);
	return b;
}

void acpi_blobs_free(struct acpi_blobs *b)
{
	free(b->tables);
	free(b->script);
	free(b);
}
