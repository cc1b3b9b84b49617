/*
 * test_system.c - SYSCALL and SYSRET of engine interpret in all modes: what
 * Intel's and AMD's CPUs do differently, and when the single-step trap comes.
 * The table of interrupts is empty: a fault is told by the triple fault.
 */
#include "tests/engine/machine.h"

#define PML4     0x1000u
#define PDPT     0x2000u
#define TARGET   0x5000u
#define CODE_SEL 0x10u
#define FLAT     (X86_ATTR_P | X86_ATTR_S | X86_ATTR_G)
#define STAR     ((uint64_t)0x23 << 48 | (uint64_t)CODE_SEL << 32 | TARGET)

static void flat_32(struct machine *m)
{
	const struct x86_seg data = {0, 0xffffffff, FLAT | X86_ATTR_DB | 3, 0x18};

	for (unsigned n = X86_ES; n <= X86_GS; n++)
		m->s.seg[n] = data;
	m->s.seg[X86_CS] = (struct x86_seg){0, 0xffffffff, FLAT | X86_ATTR_DB | 0xb, CODE_SEL};
	m->s.idtr.limit = 0;
	m->s.cr0 |= X86_CR0_PE;
	m->s.efer = X86_EFER_SCE;
	m->s.rflags |= X86_IF;
	m->s.msr[X86_MSR_STAR] = STAR;
	m->s.msr[X86_MSR_LSTAR] = TARGET + 1;
	m->s.msr[X86_MSR_CSTAR] = TARGET + 2;
	m->s.msr[X86_MSR_SFMASK] = X86_IF | X86_TF;
}

/* Compatibility mode, on one page of 1 GiB. */
static void compatibility(struct machine *m)
{
	const uint64_t pml4e = PDPT | 7, pdpte = 0x87;

	flat_32(m);
	memcpy(m->vm->ram.host + PML4, &pml4e, 8);
	memcpy(m->vm->ram.host + PDPT, &pdpte, 8);
	m->s.cr3 = PML4;
	m->s.cr4 = X86_CR4_PAE;
	m->s.cr0 |= X86_CR0_PG;
	m->s.efer |= X86_EFER_LME | X86_EFER_LMA;
}

static void intel_has_it_in_64_bit_mode_only(void **state)
{
	struct machine *m = *state;

	compatibility(m);
	RUN(m, 1, 0x0f, 0x05);
	assert_int_equal(m->r.exit, RUN_SHUTDOWN);
	assert_non_null(strstr(m->r.why, "#UD"));
}

static void amd_has_it_in_compatibility_mode(void **state)
{
	struct machine *m = machine_new("baseline,vendor=AuthenticAMD");

	compatibility(m);
	RUN(m, 1, 0x0f, 0x05);
	assert_int_equal(m->r.exit, RUN_BUDGET);
	assert_int_equal(m->s.rip, TARGET + 2);
	assert_int_equal(m->s.gpr[X86_RCX], CODE + 2);
	assert_true(m->s.gpr[X86_R11] & X86_IF);
	assert_false(m->s.rflags & X86_IF);
	assert_true(m->s.seg[X86_CS].attr & X86_ATTR_L);
	machine_free(m);
}

static void amd_has_it_in_legacy_mode(void **state)
{
	struct machine *m = machine_new("baseline,vendor=AuthenticAMD");

	flat_32(m);
	m->s.seg[X86_CS].attr |= X86_ATTR_DPL;
	m->s.seg[X86_SS].attr |= X86_ATTR_DPL;
	RUN(m, 1, 0x0f, 0x05);
	assert_int_equal(m->s.rip, TARGET);
	assert_int_equal(m->s.gpr[X86_RCX], CODE + 2);
	assert_false(m->s.rflags & X86_IF);
	assert_int_equal(m->s.seg[X86_CS].attr & (X86_ATTR_DPL | X86_ATTR_DB), X86_ATTR_DB);
	m->s.rip = CODE;
	RUN(m, 1, 0x0f, 0x07); /* sysret */
	assert_int_equal(m->s.rip, CODE + 2);
	assert_true(m->s.rflags & X86_IF);
	assert_int_equal(m->s.seg[X86_CS].attr & X86_ATTR_DPL, X86_ATTR_DPL);
	machine_free(m);
}

/* The flags that SYSCALL leaves and SYSRET loads count for the instruction itself. */
static void trap_follows_the_new_flags(void **state)
{
	struct machine *m = *state;

	compatibility(m);
	m->s.seg[X86_CS].attr = (FLAT | 0xb | X86_ATTR_L);
	m->s.rflags |= X86_TF;
	RUN(m, 1, 0x0f, 0x05);
	assert_int_equal(m->r.exit, RUN_BUDGET); /* SFMASK took TF away */
	assert_int_equal(m->s.rip, TARGET + 1);
	m->s.rip = CODE;
	m->s.gpr[X86_RCX] = TARGET;
	m->s.gpr[X86_R11] = X86_TF;
	RUN(m, 1, 0x48, 0x0f, 0x07);
	assert_int_equal(m->r.exit, RUN_SHUTDOWN);
	assert_non_null(strstr(m->r.why, "#DB"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {TEST(intel_has_it_in_64_bit_mode_only),
		TEST(amd_has_it_in_compatibility_mode), TEST(amd_has_it_in_legacy_mode),
		TEST(trap_follows_the_new_flags)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
