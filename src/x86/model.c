/*
 * model.c - CPU models and the text that names one; see model.h.
 *
 * Family 6 model 15 is none of those for which Linux wants its cures of
 * Retbleed and the like; IA32_ARCH_CAPABILITIES says the rest. MONITOR, VMX,
 * SVM and SMM are in no model.
 */
#include "x86/model.h"

#include <cpuid.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "util/util.h"

const struct x86_cpu_feature_info x86_cpu_features[X86_CPU_FEATURES] = {
#define X86_CPU_FEATURE(id, name, leaf, subleaf, reg, bit, supplier, needs, insn)                  \
	[X86_CPU_##id] = {name, leaf, subleaf, reg, bit, X86_BY_##supplier, X86_CPU_##needs,       \
		X86_FEATURE_##insn},
#include "x86/model.def"
};

#define FEATURE(f) ((x86_cpu_set)1 << (f))
#define F(id)      FEATURE(X86_CPU_##id)

#define I486 F(FPU)
#define PENTIUM3                                                                                   \
	(F(FPU) | F(VME) | F(DE) | F(PSE) | F(TSC) | F(MSR) | F(PAE) | F(MCE) | F(MCA) | F(CX8) |  \
		F(APIC) | F(SEP) | F(MTRR) | F(PGE) | F(CMOV) | F(PAT) | F(PSE36) | F(MMX) |       \
		F(FXSR) | F(SSE))
#define BASELINE                                                                                   \
	(PENTIUM3 | F(CLFLUSH) | F(SSE2) | F(SSE3) | F(SSSE3) | F(SSE41) | F(SSE42) | F(CX16) |    \
		F(POPCNT) | F(LAHF) | F(SYSCALL) | F(NX) | F(LM) | F(PCID) | F(X2APIC) |           \
		F(TSC_DEADLINE) | F(TSC_ADJUST) | F(HYPERVISOR) | F(FSGSBASE) | F(SMEP) |          \
		F(INVPCID) | F(SMAP) | F(UMIP) | F(ARCH_CAPABILITIES) | F(PDPE1GB) | F(RDTSCP) |   \
		F(INVTSC))

static const struct row {
	const char *name, *brand;
	uint32_t signature, highest_basic, highest_extended;
	x86_cpu_set feature; /* ~0: all that there is */
} rows[] = {
	{"baseline", "tinamou CPU", 0x6f1, 0x16, 0x80000008, BASELINE},
	{"max", "tinamou CPU, all features", 0x6f1, 0x16, 0x80000008, ~(x86_cpu_set)0},
	{"486", "", 0x480, 1, 0, I486},
	{"pentium3", "", 0x68a, 2, 0, PENTIUM3},
};

/* ---- who supplies what ---- */

static bool host_has(const struct x86_cpu_feature_info *f)
{
	uint32_t out[4];

	return __get_cpuid_count(f->leaf, f->subleaf, &out[0], &out[1], &out[2], &out[3]) &&
	       out[f->reg] & BIT(f->bit);
}

static bool supplied(unsigned f, bool kvm)
{
	switch (x86_cpu_features[f].supplier) {
	case X86_BY_ENGINE:
		return true;
	case X86_BY_HOST:
		return host_has(&x86_cpu_features[f]);
	default:
		return kvm;
	}
}

static x86_cpu_set all_supplied(bool kvm)
{
	x86_cpu_set set = 0;

	for (unsigned f = 0; f < X86_CPU_FEATURES; f++)
		if (supplied(f, kvm))
			set |= FEATURE(f);
	return set;
}

/* Takes away what lacks something that it needs, until nothing does. */
static x86_cpu_set settle(x86_cpu_set set)
{
	x86_cpu_set before;

	do {
		before = set;
		for (unsigned f = 0; f < X86_CPU_FEATURES; f++) {
			unsigned needs = x86_cpu_features[f].needs;

			if (needs != X86_CPU_NONE && !(set & FEATURE(needs)))
				set &= ~FEATURE(f);
		}
	} while (set != before);
	return set;
}

static x86_cpu_set with_needs(unsigned f)
{
	x86_cpu_set set = 0;

	for (; f != X86_CPU_NONE; f = x86_cpu_features[f].needs)
		set |= FEATURE(f);
	return set;
}

static void finish(struct x86_model *m)
{
	m->feature = settle(m->feature);
	m->insn = BIT(X86_FEATURE_BASE) | BIT(X86_FEATURE_486) | BIT(X86_FEATURE_CPUID);
	for (unsigned f = 0; f < X86_CPU_FEATURES; f++)
		if (x86_model_has(m, f))
			m->insn |= BIT(x86_cpu_features[f].insn);
	if (m->brand[0] && !x86_model_has(m, X86_CPU_HYPERVISOR))
		snprintf(m->brand, sizeof(m->brand), "x86-64 CPU"); /* no sign of us */
}

static void from_row(struct x86_model *m, const struct row *r, bool kvm)
{
	*m = (struct x86_model){.vendor = "GenuineIntel",
		.signature = r->signature,
		.highest_basic = r->highest_basic,
		.highest_extended = r->highest_extended,
		.feature = r->feature & all_supplied(kvm)};
	snprintf(m->brand, sizeof(m->brand), "%s", r->brand);
	finish(m);
}

void x86_model_baseline(struct x86_model *m)
{
	from_row(m, &rows[0], false);
}

/* ---- text ---- */

/* sse4.2, sse4_2 and SSE4-2 are one. */
static bool same_name(const char *a, const char *b, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		bool mark_a = strchr("._-", a[i]), mark_b = b[i] && strchr("._-", b[i]);

		if (mark_a != mark_b || (!mark_a && tolower((unsigned char)a[i]) != b[i]))
			return false;
	}
	return !b[len];
}

static void list_names(char *out, size_t len, bool features)
{
	size_t n = features ? X86_CPU_FEATURES : ARRAY_SIZE(rows), used = 0;

	out[0] = '\0';
	for (size_t i = 0; i < n && used < len; i++)
		used += (size_t)snprintf(out + used, len - used, "%s%s", i ? ", " : "",
			features ? x86_cpu_features[i].name : rows[i].name);
}

static int unknown(
	const char *what, const char *text, size_t len, bool features, char *err, size_t errlen)
{
	const char *name[X86_CPU_FEATURES + 1] = {NULL};
	size_t n = features ? X86_CPU_FEATURES : ARRAY_SIZE(rows);
	char known[1024], word[40];
	const char *near;

	for (size_t i = 0; i < n; i++)
		name[i] = features ? x86_cpu_features[i].name : rows[i].name;
	snprintf(word, sizeof(word), "%.*s", (int)len, text);
	near = nearest_word(word, name);
	list_names(known, sizeof(known), features);
	snprintf(err, errlen, "--cpu-model: unknown %s '%s'%s%s%s; known: %s", what, word,
		near ? " (did you mean '" : "", near ? near : "", near ? "'?)" : "", known);
	return -1;
}

static int set_vendor(struct x86_model *m, const char *text, size_t len, char *err, size_t errlen)
{
	if (len != 12) {
		snprintf(err, errlen, "--cpu-model: vendor= wants 12 letters, like GenuineIntel");
		return -1;
	}
	memcpy(m->vendor, text, 12);
	return 0;
}

static int set_feature(
	struct x86_model *m, const char *text, size_t len, bool kvm, char *err, size_t errlen)
{
	x86_cpu_set add;
	unsigned f = 0;

	while (f < X86_CPU_FEATURES && !same_name(text + 1, x86_cpu_features[f].name, len - 1))
		f++;
	if (f == X86_CPU_FEATURES)
		return unknown("feature", text + 1, len - 1, true, err, errlen);
	if (*text == '-') {
		m->feature &= ~FEATURE(f);
		m->feature = settle(m->feature);
		return 0;
	}
	add = with_needs(f);
	if (add & ~all_supplied(kvm)) {
		snprintf(err, errlen,
			"--cpu-model: '%s' is supplied neither by this engine nor host",
			x86_cpu_features[f].name);
		return -1;
	}
	m->feature |= add;
	return 0;
}

static int change(struct x86_model *m, const char *text, size_t len, bool kvm, char *err, size_t n)
{
	if (*text == '+' || *text == '-')
		return set_feature(m, text, len, kvm, err, n);
	if (len > 7 && !strncmp(text, "vendor=", 7))
		return set_vendor(m, text + 7, len - 7, err, n);
	snprintf(err, n, "--cpu-model: '%.*s' is none of vendor=NAME, +FEATURE, -FEATURE", (int)len,
		text);
	return -1;
}

int x86_model_parse(struct x86_model *m, const char *text, bool kvm, char *err, size_t errlen)
{
	size_t len = strcspn(text, ","), r = 0;

	while (r < ARRAY_SIZE(rows) && !(same_name(text, rows[r].name, len) && len))
		r++;
	if (r == ARRAY_SIZE(rows))
		return unknown("model", text, len, false, err, errlen);
	from_row(m, &rows[r], kvm);
	for (text += len; *text; text += len) {
		text++;
		len = strcspn(text, ",");
		if (change(m, text, len, kvm, err, errlen))
			return -1;
	}
	finish(m);
	return 0;
}
