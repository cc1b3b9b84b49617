/* cpuid.c - CPUID leaves of the fixed model; see cpuid.h. */
#include "x86/cpuid.h"

#include <string.h>

#include "util/util.h"

#define SIGNATURE 0x000006f1 /* family 6, model 15: with long mode */

/* Leaf 1 (SDM vol. 2A tables 3-10 and 3-11). */
#define EDX_1                                                                                      \
	(BIT(0) /* FPU */ | BIT(2) /* DE */ | BIT(3) /* PSE */ | BIT(4) /* TSC */ |                \
		BIT(5) /* MSR */ | BIT(6) /* PAE */ | BIT(8) /* CX8 */ | BIT(9) /* APIC */ |       \
		BIT(11) /* SEP */ | BIT(13) /* PGE */ | BIT(15) /* CMOV */ | BIT(16) /* PAT */ |   \
		BIT(17) /* PSE36 */ | BIT(19) /* CLFLUSH */ | BIT(23) /* MMX */ |                  \
		BIT(24) /* FXSR */ | BIT(25) /* SSE */ | BIT(26) /* SSE2 */)
#define ECX_1 (BIT(0) /* SSE3 */ | BIT(13) /* CX16 */ | BIT(31) /* hypervisor */)
#define EBX_1 (8u << 8 /* CLFLUSH of 64 bytes */)
#define EDX_80000001                                                                               \
	(BIT(11) /* SYSCALL */ | BIT(20) /* NX */ | BIT(26) /* 1 GiB pages */ |                    \
		BIT(27) /* RDTSCP */ | BIT(29) /* LM */)
#define ECX_80000001 BIT(0) /* LAHF in 64-bit mode */

uint32_t x86_cpuid_signature(void)
{
	return SIGNATURE;
}

static void vendor(uint32_t out[4])
{
	memcpy(&out[1], "Genu", 4);
	memcpy(&out[3], "ineI", 4);
	memcpy(&out[2], "ntel", 4);
}

static void leaf_1(uint32_t out[4])
{
	out[0] = SIGNATURE;
	out[1] = EBX_1;
	out[2] = (uint32_t)ECX_1;
	out[3] = (uint32_t)EDX_1;
}

void x86_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
	memset(out, 0, 4 * sizeof(out[0]));
	switch (leaf) {
	case 0:
		out[0] = 1;
		vendor(out);
		break;
	case 0x80000000:
		out[0] = 0x80000008;
		break;
	case 0x80000001:
		out[2] = (uint32_t)ECX_80000001;
		out[3] = (uint32_t)EDX_80000001;
		break;
	case 0x80000008:
		out[0] = 48 << 8 | 40;
		break;
	default:
		if (leaf == 1 || leaf < 0x40000000)
			leaf_1(out);
	}
}
