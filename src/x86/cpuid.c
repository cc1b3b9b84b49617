/* cpuid.c - CPUID leaves of the fixed model; see cpuid.h. */
#include "x86/cpuid.h"

#include <string.h>

#define SIGNATURE 0x00000611 /* family 6, model 1, stepping 1: Pentium Pro */

/* Leaf 1 EDX (SDM vol. 2A table 3-11). */
#define FEATURE_TSC  (1u << 4)
#define FEATURE_MSR  (1u << 5)
#define FEATURE_CX8  (1u << 8)
#define FEATURE_CMOV (1u << 15)

uint32_t x86_cpuid_signature(void)
{
	return SIGNATURE;
}

static void vendor(uint32_t out[4])
{
	out[0] = 1;
	memcpy(&out[1], "Genu", 4);
	memcpy(&out[3], "ineI", 4);
	memcpy(&out[2], "ntel", 4);
}

void x86_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
	memset(out, 0, 4 * sizeof(out[0]));
	if (leaf == 0) {
		vendor(out);
		return;
	}
	out[0] = SIGNATURE;
	out[3] = FEATURE_TSC | FEATURE_MSR | FEATURE_CX8 | FEATURE_CMOV;
}
