/* cpuid.c - CPUID leaves of a model; see cpuid.h. */
#include "x86/cpuid.h"

#include <string.h>

#include "util/util.h"
#include "x86/state.h"

/* What the kernel calls KVM tells guests (Linux, Documentation/virt/kvm/x86/cpuid.rst). */
#define HYPERVISOR_FIRST 0x40000000u
#define HYPERVISOR_LAST  0x40000010u
#define PV_NOP_IO_DELAY  BIT(1) /* port 80h need not be written to gain time */
#define PV_CLOCK         BIT(3) /* kvmclock by MSRs 4b564d00h and 4b564d01h */
#define PV_SEND_IPI      BIT(11)
#define PV_CLOCK_STABLE  BIT(24)

/* The features of the leaf in all four registers. */
static void features(const struct x86_model *m, uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
	for (unsigned n = 0; n < X86_CPU_FEATURES; n++) {
		const struct x86_cpu_feature_info *f = &x86_cpu_features[n];

		if (f->leaf == leaf && f->subleaf == subleaf && x86_model_has(m, n))
			out[f->reg] |= (uint32_t)BIT(f->bit);
	}
}

static void vendor(const struct x86_model *m, uint32_t out[4])
{
	memcpy(&out[1], m->vendor, 4);
	memcpy(&out[3], m->vendor + 4, 4);
	memcpy(&out[2], m->vendor + 8, 4);
}

static bool intel(const struct x86_model *m)
{
	return !memcmp(m->vendor, "GenuineIntel", 12);
}

static void leaf_1(const struct x86_cpuid_input *in, uint32_t out[4])
{
	const uint32_t clflush_64 = 8u << 8;

	out[0] = in->model->signature;
	if (x86_model_has(in->model, X86_CPU_CLFLUSH))
		out[1] |= clflush_64;
	if (x86_model_has(in->model, X86_CPU_APIC))
		out[1] |= in->cores << 16 | in->id << 24;
	if (x86_model_has(in->model, X86_CPU_XSAVE) && in->cr4 & X86_CR4_OSXSAVE)
		out[2] |= (uint32_t)BIT(27);
	if (in->cores > 1)
		out[3] |= (uint32_t)BIT(28); /* HTT: EBX 23:16 counts */
}

/* The XSAVE area (SDM vol. 1 13.2): 512 bytes of x87 and SSE, 64 of header, 256 of AVX. */
static void leaf_d(const struct x86_cpuid_input *in, uint32_t subleaf, uint32_t out[4])
{
	const uint32_t base = 512 + 64, avx = 256;
	bool has_avx = x86_model_has(in->model, X86_CPU_AVX);

	if (!x86_model_has(in->model, X86_CPU_XSAVE))
		return;
	if (subleaf == 0) {
		out[0] = X86_XCR0_X87 | X86_XCR0_SSE | (has_avx ? X86_XCR0_AVX : 0);
		out[1] = base + (in->xcr0 & X86_XCR0_AVX ? avx : 0);
		out[2] = base + (has_avx ? avx : 0);
	} else if (subleaf == 1 && x86_model_has(in->model, X86_CPU_XSAVEC)) {
		out[1] = base + (in->xcr0 & X86_XCR0_AVX ? avx : 0);
	} else if (subleaf == 2 && has_avx) {
		out[0] = avx;
		out[1] = base;
	}
}

/* ---- caches: those of a common Intel CPU, since guests size their tables by them ---- */

static const struct cache {
	uint8_t type; /* 1: data, 2: instructions, 3: both */
	uint8_t level;
	uint16_t ways, sets; /* lines have 64 bytes */
} caches[] = {{1, 1, 8, 64}, {2, 1, 8, 64}, {3, 2, 16, 1024}};

#define LINE 64u

static uint32_t cache_kib(const struct cache *c)
{
	return c->ways * c->sets * LINE / 1024;
}

/* Descriptors (table 3-12); the caches themselves are in leaf 4 where there is one. */
static void leaf_2(const struct x86_cpuid_input *in, uint32_t out[4])
{
	static const uint32_t with_leaf_4[4] = {0x76036301, 0x00f0b5ff, 0, 0};
	static const uint32_t pentium3[4] = {0x03020101, 0, 0, 0x0c040882};

	memcpy(out, in->model->highest_basic >= 4 ? with_leaf_4 : pentium3, sizeof(pentium3));
}

static void leaf_4(const struct x86_cpuid_input *in, uint32_t subleaf, uint32_t out[4])
{
	const uint32_t self_initializing = 1u << 8;
	const struct cache *c = &caches[subleaf];

	if (subleaf >= ARRAY_SIZE(caches))
		return;
	out[0] = c->type | (uint32_t)c->level << 5 | self_initializing | (in->cores - 1) << 26;
	out[1] = (c->ways - 1u) << 22 | (LINE - 1);
	out[2] = c->sets - 1u;
}

/* The same as AMD's CPUs tell it; Intel's have the last of these, too. */
static void amd_caches(uint32_t leaf, uint32_t out[4])
{
	const uint32_t ways_16 = 8;

	if (leaf == 0x80000006) {
		out[2] = cache_kib(&caches[2]) << 16 | ways_16 << 12 | 1 << 8 | LINE;
		return;
	}
	for (unsigned n = 0; n < 2; n++)
		out[2 + n] = cache_kib(&caches[n]) << 24 | caches[n].ways << 16 | 1 << 8 | LINE;
}

/* What the package's number is shifted by. */
static uint32_t id_bits(uint32_t cores)
{
	uint32_t bits = 0;

	while (1u << bits < cores)
		bits++;
	return bits;
}

/* Extended topology: every CPU is a core with one thread. */
static void leaf_b(const struct x86_cpuid_input *in, uint32_t subleaf, uint32_t out[4])
{
	const uint32_t thread = 1, core = 2;

	out[3] = in->id;
	out[2] = subleaf & 0xff;
	if (subleaf == 0) {
		out[1] = 1;
		out[2] |= thread << 8;
	} else if (subleaf == 1) {
		out[0] = id_bits(in->cores);
		out[1] = in->cores;
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
		out[0] = in->model->highest_basic;
		vendor(in->model, out);
		break;
	case 1:
		leaf_1(in, out);
		break;
	case 2:
		if (intel(in->model))
			leaf_2(in, out);
		break;
	case 4:
		if (intel(in->model))
			leaf_4(in, subleaf, out);
		break;
	case 6: /* ARAT: the APIC's timer never stops */
		out[0] = x86_model_has(in->model, X86_CPU_APIC) ? (uint32_t)BIT(2) : 0;
		break;
	case 0xb:
		leaf_b(in, subleaf, out);
		break;
	case 0xd:
		leaf_d(in, subleaf, out);
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

static void extended(const struct x86_model *m, uint32_t leaf, uint32_t out[4])
{
	switch (leaf) {
	case 0x80000000:
		out[0] = m->highest_extended;
		break;
	case 0x80000002:
	case 0x80000003:
	case 0x80000004:
		memcpy(out, m->brand + (leaf - 0x80000002) * 16, 16);
		break;
	case 0x80000005:
		if (!intel(m))
			amd_caches(leaf, out);
		break;
	case 0x80000006:
		amd_caches(leaf, out);
		break;
	case 0x80000008:
		out[0] = 48 << 8 | x86_model_phys_bits(m);
		break;
	default:
		break;
	}
}

/* Linux takes the x2APIC from a hypervisor it knows without asking for interrupt remapping. */
static void hypervisor(const struct x86_cpuid_input *in, uint32_t leaf, uint32_t out[4])
{
	switch (leaf) {
	case HYPERVISOR_FIRST:
		out[0] = HYPERVISOR_LAST;
		memcpy(&out[1], "KVMKVMKVM\0\0\0", 12);
		break;
	case HYPERVISOR_FIRST + 1:
		out[0] = (uint32_t)(PV_NOP_IO_DELAY | PV_CLOCK | PV_SEND_IPI | PV_CLOCK_STABLE);
		break;
	case HYPERVISOR_LAST: /* kHz of the TSC and of the APIC timer */
		out[0] = out[1] = in->tsc_hz / 1000;
		break;
	default:
		break;
	}
}

void x86_cpuid(const struct x86_cpuid_input *in, uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
	const struct x86_model *m = in->model;
	bool extra = leaf >= HYPERVISOR_FIRST && leaf <= HYPERVISOR_LAST;

	memset(out, 0, 4 * sizeof(out[0]));
	if (extra && x86_model_has(m, X86_CPU_HYPERVISOR)) {
		hypervisor(in, leaf, out);
		return;
	}
	if (leaf < 0x80000000 || leaf > m->highest_extended) {
		leaf = MIN(leaf, m->highest_basic);
		basic(in, leaf, subleaf, out);
	} else {
		extended(m, leaf, out);
	}
	/* These leaves have no subleaves. */
	features(m, leaf, leaf == 7 || leaf == 0xd ? subleaf : 0, out);
}
