/*
 * acpi.h - the ACPI tables of the board, as one piece of ROM.
 */
#ifndef TINAMOU_BOARD_ACPI_H
#define TINAMOU_BOARD_ACPI_H

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

#endif
