/* cpuid.h - what a CPU of a model says of itself (SDM vol. 2A, CPUID). */
#ifndef TINAMOU_X86_CPUID_H
#define TINAMOU_X86_CPUID_H

#include <stdint.h>

#include "x86/model.h"

struct x86_cpuid_input {
	const struct x86_model *model;
	uint32_t id, cores; /* of this CPU; how many its package has */
	uint32_t tsc_hz;    /* of the TSC and of the APIC timer */
	uint64_t cr4, xcr0; /* as they are now: OSXSAVE and the size of the XSAVE area follow */
};

/* out: EAX, EBX, ECX, EDX. Leaves beyond the highest basic one give its data. */
void x86_cpuid(const struct x86_cpuid_input *in, uint32_t leaf, uint32_t subleaf, uint32_t out[4]);

#endif
