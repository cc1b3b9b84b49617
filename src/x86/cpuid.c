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
#define ECX_1                                                                                      \
	(BIT(0) /* SSE3 */ | BIT(9) /* SSSE3 */ | BIT(13) /* CX16 */ | BIT(17) /* PCID */ |        \
		BIT(19) /* SSE4.1 */ | BIT(20) /* SSE4.2 */ | BIT(21) /* x2APIC */ |               \
		BIT(23) /* POPCNT */ | BIT(24) /* TSC deadline */ | BIT(31) /* hypervisor */)
#define EBX_1 (8u << 8 /* CLFLUSH of 64 bytes */)
#define EBX_7                                                                                      \
	(BIT(0) /* FSGSBASE */ | BIT(7) /* SMEP */ | BIT(10) /* INVPCID */ | BIT(20) /* SMAP */)
#define ECX_7 BIT(2)  /* UMIP */
#define EDX_7 BIT(29) /* ARCH_CAPABILITIES */
#define EDX_80000001                                                                               \
	(BIT(11) /* SYSCALL */ | BIT(20) /* NX */ | BIT(26) /* 1 GiB pages */ |                    \
		BIT(27) /* RDTSCP */ | BIT(29) /* LM */)
#define ECX_80000001 BIT(0) /* LAHF in 64-bit mode */
#define EDX_80000007 BIT(8) /* the TSC runs at one rate, always */

#define HIGHEST_BASIC    0x16
#define HIGHEST_EXTENDED 0x80000008

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

static void leaf_1(const struct x86_cpuid_input *in, uint32_t out[4])
{
	out[0] = SIGNATURE;
	out[1] = EBX_1 | in->cpus << 16 | in->id << 24;
	out[2] = (uint32_t)ECX_1;
	out[3] = (uint32_t)EDX_1 | (in->cpus > 1 ? BIT(28) : 0);
}

/* Extended topology: every CPU is a core with one thread. */
static void leaf_b(const struct x86_cpuid_input *in, uint32_t subleaf, uint32_t out[4])
{
	const uint32_t thread = 1, core = 2, id_bits = 4;

	out[3] = in->id;
	out[2] = subleaf & 0xff;
	if (subleaf == 0) {
		out[1] = 1;
		out[2] |= thread << 8;
	} else if (subleaf == 1) {
		out[0] = id_bits;
		out[1] = in->cpus;
		out[2] |= core << 8;
	}
}

/*
 * The TSC's rate and that of the crystal, from which the APIC's timer runs too:
 * with it the guest need not measure them.
 */
static void leaf_15(const struct x86_cpuid_input *in, uint32_t out[4])
{
	out[0] = out[1] = 1;
	out[2] = in->tsc_hz;
}

static void basic(const struct x86_cpuid_input *in, uint32_t leaf, uint32_t subleaf, uint32_t *out)
{
	const uint32_t mhz = in->tsc_hz / 1000000;

	switch (leaf) {
	case 0:
		out[0] = HIGHEST_BASIC;
		vendor(out);
		break;
	case 1:
		leaf_1(in, out);
		break;
	case 7:
		if (subleaf == 0) {
			out[1] = (uint32_t)EBX_7;
			out[2] = (uint32_t)ECX_7;
			out[3] = (uint32_t)EDX_7;
		}
		break;
	case 0xb:
		leaf_b(in, subleaf, out);
		break;
	case 0x15:
		leaf_15(in, out);
		break;
	case 0x16:
		out[0] = out[1] = mhz;
		out[2] = 100;
		break;
	default:
		break;
	}
}

static void extended(uint32_t leaf, uint32_t out[4])
{
	static const char brand[48] = "tinamou software CPU";

	switch (leaf) {
	case 0x80000000:
		out[0] = HIGHEST_EXTENDED;
		break;
	case 0x80000001:
		out[2] = (uint32_t)ECX_80000001;
		out[3] = (uint32_t)EDX_80000001;
		break;
	case 0x80000002:
	case 0x80000003:
	case 0x80000004:
		memcpy(out, brand + (leaf - 0x80000002) * 16, 16);
		break;
	case 0x80000007:
		out[3] = (uint32_t)EDX_80000007;
		break;
	case 0x80000008:
		out[0] = 48 << 8 | X86_PHYS_BITS;
		break;
	default:
		break;
	}
}

void x86_cpuid(const struct x86_cpuid_input *in, uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
	memset(out, 0, 4 * sizeof(out[0]));
	if (leaf >= 0x80000000 && leaf <= HIGHEST_EXTENDED)
		extended(leaf, out);
	else if (leaf < 0x40000000)
		basic(in, MIN(leaf, HIGHEST_BASIC), subleaf, out);
}
