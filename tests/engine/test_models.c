/*
 * test_models.c - what the old CPU models lack on engine interpret: instructions
 * raise #UD, bits of CR4 and EFER #GP, flags and addresses are those of their time.
 */
#include "tests/engine/machine.h"

/* Vector n leads to HANDLER + n. */
static struct machine *machine_of(const char *model)
{
	struct machine *m = machine_new(model);

	for (unsigned n = 0; n < 256; n++)
		m->vm->ram.host[n * 4] = (uint8_t)n;
	return m;
}

struct insn_case {
	const char *name, *model, *with; /* where it is #UD, and where it is not */
	uint8_t code[8];
};

static const struct insn_case insns[] = {
	{"cmov", "486", "pentium3", {0x0f, 0x44, 0xc1}},
	{"rdtsc", "486", "pentium3", {0x0f, 0x31}},
	{"rdmsr", "486", "pentium3", {0x0f, 0x32}},
	{"cmpxchg8b", "486", "pentium3", {0x0f, 0xc7, 0x0e, 0x00, 0x90}},
	{"fcmovb", "486", "pentium3", {0xda, 0xc1}},
	{"fcomi", "486", "pentium3", {0xdb, 0xf1}},
	{"emms", "486", "pentium3", {0x0f, 0x77}},
	{"long nop", "486", "pentium3", {0x0f, 0x1f, 0x00}},
	{"fxsave", "486", "pentium3", {0x0f, 0xae, 0x06, 0x00, 0x90}},
	{"movaps", "486", "pentium3", {0x0f, 0x28, 0xc1}},
	{"prefetchw", "pentium3", "baseline", {0x0f, 0x0d, 0x0e, 0x00, 0x90}},
	{"addpd", "pentium3", "baseline", {0x66, 0x0f, 0x58, 0xc1}},
	{"lfence", "pentium3", "baseline", {0x0f, 0xae, 0xe8}},
	{"movnti", "pentium3", "baseline", {0x0f, 0xc3, 0x06, 0x00, 0x90}},
	{"fisttp", "pentium3", "baseline", {0xdf, 0x0e, 0x00, 0x90}},
	{"popcnt", "pentium3", "baseline", {0xf3, 0x0f, 0xb8, 0xc1}},
	{"clflush", "pentium3", "baseline", {0x0f, 0xae, 0x3e, 0x00, 0x90}},
	{"bswap", NULL, "486", {0x66, 0x0f, 0xc8}},
	{"cmpxchg", NULL, "486", {0x0f, 0xb0, 0xc1}},
	{"xadd", NULL, "486", {0x0f, 0xc0, 0xc1}},
	{"invd", NULL, "486", {0x0f, 0x08}},
	{"cpuid", NULL, "486", {0x0f, 0xa2}},
};

static uint64_t run_on(const char *model, const struct insn_case *i)
{
	struct machine *m = machine_of(model);
	uint64_t rip;

	m->s.cr0 &= ~(uint64_t)(X86_CR0_EM | X86_CR0_TS);
	m->s.cr4 = strcmp(model, "486") ? X86_CR4_OSFXSR : 0;
	m->s.gpr[X86_RCX] = 0x10;
	run(m, i->code, sizeof(i->code), 1);
	rip = m->s.rip;
	machine_free(m);
	return rip;
}

static void models_lack_instructions(void **state)
{
	for (unsigned n = 0; n < ARRAY_SIZE(insns); n++) {
		const struct insn_case *i = &insns[n];

		if (i->model && run_on(i->model, i) != HANDLER + X86_UD)
			fail_msg("%s does not raise #UD on %s", i->name, i->model);
		if (run_on(i->with, i) == HANDLER + X86_UD)
			fail_msg("%s raises #UD on %s", i->name, i->with);
	}
}

/* mov eax, imm32; mov cr4, eax: was it taken? */
static bool sets_cr4(const char *model, uint32_t value)
{
	struct machine *m = machine_of(model);
	bool taken;

	m->s.gpr[X86_RAX] = value;
	RUN(m, 1, 0x0f, 0x22, 0xe0);
	taken = m->s.rip == CODE + 3;
	assert_int_equal(m->s.rip, taken ? CODE + 3 : HANDLER + X86_GP);
	machine_free(m);
	return taken;
}

static void models_lack_bits_of_cr4(void **state)
{
	for (unsigned bit = 0; bit < 32; bit++)
		assert_false(sets_cr4("486", 1u << bit));
	assert_true(sets_cr4("486", 0));
	assert_true(sets_cr4("pentium3", X86_CR4_TSD | X86_CR4_DE | X86_CR4_PSE | X86_CR4_PAE));
	assert_true(sets_cr4("pentium3", X86_CR4_MCE | X86_CR4_PGE | X86_CR4_PCE));
	assert_true(sets_cr4("pentium3", X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT));
	for (unsigned bit = 11; bit < 32; bit++)
		assert_false(sets_cr4("pentium3", 1u << bit));
	assert_false(sets_cr4("baseline,-smep", X86_CR4_SMEP));
	assert_true(sets_cr4("baseline", X86_CR4_SMEP));
}

static bool sets_efer(const char *model, uint32_t value)
{
	struct machine *m = machine_of(model);
	bool taken;

	m->s.gpr[X86_RCX] = 0xc0000080;
	m->s.gpr[X86_RAX] = value;
	RUN(m, 1, 0x0f, 0x30);
	taken = m->s.rip == CODE + 2;
	machine_free(m);
	return taken;
}

static void models_lack_bits_of_efer(void **state)
{
	assert_true(sets_efer("baseline", X86_EFER_SCE | X86_EFER_LME | X86_EFER_NXE));
	assert_false(sets_efer("baseline,-nx", X86_EFER_NXE));
	assert_false(sets_efer("baseline,-syscall", X86_EFER_SCE));
	assert_false(sets_efer("pentium3,+nx", X86_EFER_LME));
	assert_false(sets_efer("pentium3", 0));
}

/* How software tells a 386 from a 486 from one with CPUID: may AC and ID be set? */
static void flags_tell_a_486(void **state)
{
	struct machine *m = machine_of("486");

	/* push dword 240000h; popfd; pushfd; pop eax */
	RUN(m, 4, 0x66, 0x68, 0, 0, 0x24, 0, 0x66, 0x9d, 0x66, 0x9c, 0x66, 0x58);
	assert_int_equal(m->s.gpr[X86_RAX] & (X86_AC | X86_ID), X86_AC | X86_ID);
	m->s.rip = CODE;
	m->s.gpr[X86_RAX] = 1;
	RUN(m, 1, 0x0f, 0xa2);
	assert_int_equal(m->s.gpr[X86_RAX], 0x480);
	assert_int_equal(m->s.gpr[X86_RDX], 1); /* x87 and nothing else */
	machine_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(models_lack_instructions),
		cmocka_unit_test(models_lack_bits_of_cr4),
		cmocka_unit_test(models_lack_bits_of_efer), cmocka_unit_test(flags_tell_a_486)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
