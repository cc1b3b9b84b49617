/*
 * acpi.h - the ACPI tables of the board, as one piece of ROM.
 */
#ifndef TINAMOU_BOARD_ACPI_H
#define TINAMOU_BOARD_ACPI_H

#include <stddef.h>

#include "core/bus.h"

#define ACPI_ADDR     0xe0000u /* where systems look for the RSDP (ACPI 6.4, 5.2.5.1) */
#define ACPI_SIZE     0x10000u
#define ACPI_PM_PORTS 0x600u
#define ACPI_SCI      9
#define LAPIC_ADDR    0xfee00000u
#define IOAPIC_ADDR   0xfec00000u
#define HPET_ADDR     0xfed00000u

/* Fills rom (ACPI_SIZE bytes, for ACPI_ADDR), whose first bytes are the RSDP. */
void acpi_tables(uint8_t *rom, unsigned cpus);

#define ACPI_FILE_RSDP   "etc/acpi/rsdp"
#define ACPI_FILE_TABLES "etc/acpi/tables"

/*
 * The same tables for firmware, which places them: pointers are offsets into
 * `tables`, and the script tells where they stand and which sums to make good.
 */
struct acpi_blobs {
	uint8_t rsdp[36];
	uint8_t *tables;
	uint32_t tables_len;
	uint8_t *script;
	uint32_t script_len;
};

struct acpi_blobs *acpi_blobs_new(unsigned cpus);
void acpi_blobs_free(struct acpi_blobs *b);

#endif
