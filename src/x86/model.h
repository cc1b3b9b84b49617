/*
 * model.h - CPU models: who the CPU says it is and what it can do.
 *
 * A model is a row: vendor, signature, features. A feature is a row of
 * model.def. Pure data beside one look at the host's own CPUID, which decides
 * whether what only the host's CPU can supply is there.
 */
#ifndef TINAMOU_X86_MODEL_H
#define TINAMOU_X86_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "x86/feature.h"

enum x86_cpu_feature {
#define X86_CPU_FEATURE(id, ...) X86_CPU_##id,
#include "x86/model.def"
	X86_CPU_FEATURES,
	X86_CPU_NONE = X86_CPU_FEATURES
};

/* Bit n: enum x86_cpu_feature n. */
typedef unsigned __int128 x86_cpu_set;
_Static_assert(X86_CPU_FEATURES <= 128, "x86_cpu_set has a bit for each");

enum x86_supplier { X86_BY_ENGINE, X86_BY_HOST, X86_BY_KVM };

struct x86_cpu_feature_info {
	const char *name;
	uint32_t leaf, subleaf;
	uint8_t reg, bit; /* 0..3: EAX, EBX, ECX, EDX */
	uint8_t supplier; /* enum x86_supplier */
	uint8_t needs;    /* enum x86_cpu_feature; X86_CPU_NONE */
	uint8_t insn;     /* enum x86_feature */
};
extern const struct x86_cpu_feature_info x86_cpu_features[X86_CPU_FEATURES];

struct x86_model {
	char vendor[13];
	uint32_t signature;        /* leaf 1 EAX, also EDX after RESET */
	uint32_t highest_basic;    /* leaf */
	uint32_t highest_extended; /* leaf, 0: there are none */
	x86_cpu_set feature;
	uint64_t insn; /* bit n: enum x86_feature n is executed */
	char brand[48];
};

static inline bool x86_model_has(const struct x86_model *m, enum x86_cpu_feature f)
{
	return (bool)(m->feature >> f & 1);
}

/* MAXPHYADDR, bits. */
static inline unsigned x86_model_phys_bits(const struct x86_model *m)
{
	if (x86_model_has(m, X86_CPU_LM))
		return 40;
	return x86_model_has(m, X86_CPU_PAE) || x86_model_has(m, X86_CPU_PSE36) ? 36 : 32;
}

/* AMD's architecture, where it differs from Intel's. */
static inline bool x86_model_amd(const struct x86_model *m)
{
	return !memcmp(m->vendor, "AuthenticAMD", 12) || !memcmp(m->vendor, "HygonGenuine", 12);
}

/* May an instruction of this row of feature.def be executed? */
static inline bool x86_model_executes(const struct x86_model *m, enum x86_feature f)
{
	return m->insn >> f & 1;
}

/* x86-64-v2 and the system features that every engine supplies. */
void x86_model_baseline(struct x86_model *m);

/*
 * NAME[,vendor=VENDOR][,+FEATURE][,-FEATURE]... to a model. A feature brings
 * what it needs and takes with it what needs it. kvm: features that only
 * hardware virtualization supplies may be asked for. 0, or -1 with a line for
 * the user in err: it lists what is known and suggests the nearest.
 */
int x86_model_parse(struct x86_model *m, const char *text, bool kvm, char *err, size_t errlen);

#endif
