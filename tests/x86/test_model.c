/* test_model.c - CPU models: names, features with what they need, the leaves of CPUID. */
#include "x86/model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "x86/cpuid.h"
#include "x86/state.h"

static char err[2048];

static struct x86_model parse(const char *text)
{
	struct x86_model m;

	assert_int_equal(x86_model_parse(&m, text, false, err, sizeof(err)), 0);
	return m;
}

static void refused(const char *text, const char *why)
{
	struct x86_model m;

	assert_int_equal(x86_model_parse(&m, text, false, err, sizeof(err)), -1);
	if (!strstr(err, why))
		fail_msg("'%s' does not say '%s'", err, why);
}

static void leaf(const struct x86_model *m, uint32_t number, uint32_t subleaf, uint32_t out[4])
{
	const struct x86_cpuid_input in = {m, 2, 4, 1000000000, X86_CR4_OSXSAVE, 3};

	x86_cpuid(&in, number, subleaf, out);
}

static void test_baseline(void **unused)
{
	struct x86_model m = parse("baseline"), same;
	uint32_t out[4];

	x86_model_baseline(&same);
	assert_true(m.feature == same.feature && m.insn == same.insn);
	assert_int_equal(m.signature, same.signature);
	leaf(&m, 1, 0, out);
	assert_int_equal(out[0], m.signature);
	assert_int_equal(out[1] >> 24, 2);
	assert_true(out[2] & 1u << 20 && out[2] & 1u << 31 && out[3] & 1u << 26);
	assert_false(out[2] & (1u << 3 | 1u << 5)); /* MONITOR, VMX */
	assert_false(out[2] & 1u << 27);            /* OSXSAVE without XSAVE */
	leaf(&m, 0x80000001, 0, out);
	assert_true(out[3] & 1u << 29 && out[3] & 1u << 20);
	assert_false(out[2] & 1u << 2); /* SVM */
	assert_false(x86_model_executes(&m, X86_FEATURE_AVX));
	assert_true(x86_model_executes(&m, X86_FEATURE_CX8));
}

static void test_topology(void **unused)
{
	struct x86_model m = parse("baseline");
	struct x86_cpuid_input in = {&m, 5, 1, 1000000000, 0, 3};
	uint32_t out[4];

	x86_cpuid(&in, 1, 0, out);
	assert_int_equal(out[1] >> 16, 0x0501);
	assert_false(out[3] & 1u << 28);
	x86_cpuid(&in, 0xb, 1, out);
	assert_int_equal(out[0], 0); /* each number is a package's */
	in.cores = 6;
	x86_cpuid(&in, 1, 0, out);
	assert_int_equal(out[1] >> 16, 0x0506);
	assert_true(out[3] & 1u << 28);
	x86_cpuid(&in, 0xb, 1, out);
	assert_int_equal(out[0], 3);
	assert_int_equal(out[1], 6);
}

static void test_needs(void **unused)
{
	struct x86_model m = parse("baseline,-fxsr");

	assert_false(x86_model_has(&m, X86_CPU_SSE42));
	m = parse("baseline,-pae");
	assert_false(x86_model_has(&m, X86_CPU_LM));
	assert_false(x86_model_has(&m, X86_CPU_CX16));
	m = parse("486,+lm");
	assert_true(x86_model_has(&m, X86_CPU_PAE));
}

static void test_xsave(void **unused)
{
	struct x86_model m = parse("baseline,+xsave,+xsavec");
	uint32_t out[4];

	leaf(&m, 1, 0, out);
	assert_true(out[2] & 1u << 27);
	leaf(&m, 0xd, 0, out);
	assert_int_equal(out[0], 3);
	assert_int_equal(out[1], 576);
	leaf(&m, 0xd, 1, out);
	assert_int_equal(out[0], 2);
	leaf(&m, 0xd, 2, out);
	assert_int_equal(out[0], 0);
}

static void test_hypervisor(void **unused)
{
	struct x86_model m = parse("baseline");
	uint32_t out[4], highest[4];

	leaf(&m, 0x40000000, 0, out);
	assert_memory_equal(&out[1], "KVMKVMKVM\0\0\0", 12);
	m = parse("baseline,-hypervisor");
	leaf(&m, 1, 0, out);
	assert_false(out[2] & 1u << 31);
	leaf(&m, 0x40000000, 0, out);
	leaf(&m, m.highest_basic, 0, highest);
	assert_memory_equal(out, highest, sizeof(out));
}

static void test_old(void **unused)
{
	struct x86_model m = parse("486");
	uint32_t out[4];

	leaf(&m, 1, 0, out);
	assert_int_equal(out[2], 0);
	assert_int_equal(out[3] & ~(1u << 28), 1);
	leaf(&m, 0, 0, out);
	assert_int_equal(out[0], 1);
	assert_false(x86_model_executes(&m, X86_FEATURE_CMOV));
	m = parse("pentium3");
	assert_true(x86_model_executes(&m, X86_FEATURE_SSE));
	assert_false(x86_model_executes(&m, X86_FEATURE_SSE2));
}

static void test_caches(void **unused)
{
	struct x86_model m = parse("baseline");
	uint32_t out[4];

	leaf(&m, 2, 0, out);
	assert_int_equal(out[0] & 0xff, 1);
	assert_int_equal(out[1] & 0xff, 0xff); /* see leaf 4 */
	leaf(&m, 4, 2, out);
	assert_int_equal(out[0], 3 << 26 | 0x143);
	assert_int_equal((out[1] >> 22) + 1, 16);
	assert_int_equal(out[2] + 1, 1024);
	leaf(&m, 4, 3, out);
	assert_int_equal(out[0], 0);
	leaf(&m, 5, 0, out); /* MONITOR */
	assert_int_equal(out[0] | out[1] | out[2] | out[3], 0);
	leaf(&m, 0x80000006, 0, out);
	assert_int_equal(out[2], 1024 << 16 | 0x8140);
	m = parse("baseline,vendor=AuthenticAMD");
	leaf(&m, 4, 0, out);
	assert_int_equal(out[0], 0);
	leaf(&m, 0x80000005, 0, out);
	assert_int_equal(out[2] >> 24, 32);
	m = parse("pentium3");
	leaf(&m, 0, 0, out);
	assert_int_equal(out[0], 2);
	leaf(&m, 2, 0, out);
	assert_int_equal(out[3], 0x0c040882);
}

static void test_text(void **unused)
{
	struct x86_model m = parse("baseline,vendor=AuthenticAMD,-SSE4_2");
	uint32_t out[4];

	leaf(&m, 0, 0, out);
	assert_memory_equal(&out[1], "Auth", 4);
	assert_false(x86_model_has(&m, X86_CPU_SSE42));
	refused("pentum3", "did you mean 'pentium3'");
	refused("", "known: baseline, max, 486, pentium3");
	refused("max,+rdtscq", "did you mean 'rdtscp'");
	refused("max,+", "unknown feature");
	refused("max,vendor=x", "12 letters");
	refused("max,x", "none of");
	refused("max,", "none of");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_baseline),
		cmocka_unit_test(test_topology),
		cmocka_unit_test(test_needs),
		cmocka_unit_test(test_xsave),
		cmocka_unit_test(test_hypervisor),
		cmocka_unit_test(test_old),
		cmocka_unit_test(test_caches),
		cmocka_unit_test(test_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
