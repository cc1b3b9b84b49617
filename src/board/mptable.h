/* mptable.h - the MP configuration table, for systems without ACPI. */
#ifndef TINAMOU_BOARD_MPTABLE_H
#define TINAMOU_BOARD_MPTABLE_H

#include <stddef.h>
#include <stdint.h>

/*
 * Writes the floating pointer and the table behind it to p, which the guest
 * sees at addr (a multiple of 16 below 1 MiB). cpus: 1..16; cpu_signature and
 * features: EAX and EDX of CPUID leaf 1. Returns the bytes written, or 0 if
 * they are more than room.
 */
size_t mptable(uint8_t *p, size_t room, uint32_t addr, unsigned cpus, uint32_t cpu_signature,
	uint32_t features);

#endif
