/*
 * cpuid.h - what the CPU says of itself (SDM vol. 2A, CPUID).
 *
 * One fixed model for now: what the software engines execute. Models as rows
 * with features by supplier come with the whole CPU.
 */
#ifndef TINAMOU_X86_CPUID_H
#define TINAMOU_X86_CPUID_H

#include <stdint.h>

#define X86_PHYS_BITS 40

struct x86_cpuid_input {
	uint32_t id, cpus; /* of this CPU; how many there are */
	uint32_t tsc_hz;   /* of the TSC and of the APIC timer */
};

/* out: EAX, EBX, ECX, EDX. Leaves beyond the highest basic one give its data. */
void x86_cpuid(const struct x86_cpuid_input *in, uint32_t leaf, uint32_t subleaf, uint32_t out[4]);
/* Leaf 1 EAX, also EDX after RESET. */
uint32_t x86_cpuid_signature(void);

#endif
