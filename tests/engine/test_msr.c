/*
 * test_msr.c - model-specific registers of engine interpret: which a model has,
 * what they refuse, the TSC with its adjustment, and kvmclock.
 */
#include "tests/engine/machine.h"

#define CLOCK_PAGE 0x9000u

/* WRMSR, or RDMSR; did it go well? */
static bool msr(struct machine *m, uint8_t opcode, uint32_t number, uint64_t *value)
{
	m->s.rip = CODE;
	m->s.gpr[X86_RSP] = CODE;
	m->s.gpr[X86_RCX] = number;
	m->s.gpr[X86_RAX] = (uint32_t)*value;
	m->s.gpr[X86_RDX] = *value >> 32;
	RUN(m, 1, 0x0f, opcode);
	*value = m->s.gpr[X86_RDX] << 32 | m->s.gpr[X86_RAX];
	if (m->s.rip == CODE + 2)
		return true;
	assert_int_equal(m->s.rip, HANDLER);
	return false;
}

static bool wr(struct machine *m, uint32_t number, uint64_t value)
{
	return msr(m, 0x30, number, &value);
}

static bool rd(struct machine *m, uint32_t number, uint64_t *value)
{
	*value = 0;
	return msr(m, 0x32, number, value);
}

static void assert_reads(struct machine *m, uint32_t number, uint64_t expected)
{
	uint64_t value;

	assert_true(rd(m, number, &value));
	assert_int_equal(value, expected);
}

static void mtrrs_keep_and_refuse(void **state)
{
	struct machine *m = *state;

	assert_reads(m, 0xfe, 0x508);
	assert_false(wr(m, 0xfe, 0x508));
	for (uint32_t n = 0x200; n < 0x210; n += 2) {
		assert_true(wr(m, n, 0xc0000000 + 6));
		assert_reads(m, n, 0xc0000000 + 6);
		assert_true(wr(m, n + 1, 0xffc0000800));
		assert_reads(m, n + 1, 0xffc0000800);
	}
	assert_false(wr(m, 0x210, 0));
	assert_false(wr(m, 0x200, 2));                 /* no such type */
	assert_false(wr(m, 0x200, 0x106));             /* reserved bits */
	assert_false(wr(m, 0x200, UINT64_C(1) << 40)); /* beyond MAXPHYADDR */
	assert_false(wr(m, 0x201, 0xffc0000801));
	assert_true(wr(m, 0x250, 0x0006050401000606));
	assert_false(wr(m, 0x26f, 0x0206050401000606));
	assert_false(wr(m, 0x251, 0));
	assert_true(wr(m, 0x2ff, 0xc06));
	assert_false(wr(m, 0x2ff, 0x1c06));
	assert_false(wr(m, 0x2ff, 0xc07));
}

static void pat_refuses_bad_types(void **state)
{
	struct machine *m = *state;

	assert_reads(m, 0x277, 0x0007040600070406);
	assert_true(wr(m, 0x277, 0x0007040600070106));
	assert_false(wr(m, 0x277, 0x0002040600070406));
	assert_false(wr(m, 0x277, 0x0007040600070408));
	assert_reads(m, 0x277, 0x0007040600070106);
}

static void tsc_adjust_follows(void **state)
{
	struct machine *m = *state;
	uint64_t value;

	m->s.tsc = 0;
	assert_true(wr(m, 0x10, UINT64_C(1) << 50));
	assert_true(rd(m, 0x3b, &value));
	assert_in_range(value, (UINT64_C(1) << 50) - NSEC_PER_SEC, UINT64_C(1) << 50);
	assert_true(wr(m, 0x3b, value + (UINT64_C(1) << 51)));
	assert_true(rd(m, 0x10, &value));
	assert_true(value >> 50 == 3);
}

/* As a guest computes it (Documentation/virt/kvm/x86/msr.rst). */
static uint64_t guest_time(const uint8_t *page, uint64_t tsc)
{
	uint64_t stamp, system, delta;
	uint32_t mul;
	int8_t shift = (int8_t)page[28];

	memcpy(&stamp, page + 8, 8);
	memcpy(&system, page + 16, 8);
	memcpy(&mul, page + 24, 4);
	delta = tsc - stamp;
	delta = shift < 0 ? delta >> -shift : delta << shift;
	return system + (uint64_t)((unsigned __int128)delta * mul >> 32);
}

static void kvmclock_runs(void **state)
{
	struct machine *m = *state;
	const uint8_t *page = m->vm->ram.host + CLOCK_PAGE;
	uint32_t version;
	uint64_t tsc;

	assert_true(wr(m, 0x4b564d01, CLOCK_PAGE | 1));
	assert_reads(m, 0x4b564d01, CLOCK_PAGE | 1);
	memcpy(&version, page, 4);
	assert_true(version && version % 2 == 0);
	assert_int_equal(page[29], 1); /* stable */
	clock_set(&m->vm->clock, 123456789);
	m->s.tsc = 123456789;
	assert_true(rd(m, 0x10, &tsc));
	assert_int_equal(guest_time(page, tsc), 123456789);
	assert_true(wr(m, 0x10, 1000)); /* the page follows the TSC */
	assert_true(rd(m, 0x10, &tsc));
	assert_int_equal(guest_time(page, tsc), 123456789);
	memcpy(&version, page, 4);
	assert_true(version > 2 && version % 2 == 0);
	assert_true(wr(m, 0x4b564d01, 0));
	memset(m->vm->ram.host + CLOCK_PAGE, 0, 32);
	assert_true(wr(m, 0x10, 0));
	assert_int_equal(page[0], 0);                          /* off */
	assert_true(wr(m, 0x4b564d01, UINT64_C(1) << 39 | 1)); /* no memory there: no harm */
}

static void wall_clock_is_told(void **state)
{
	struct machine *m = *state;
	uint32_t wall[3];

	m->vm->epoch = 1700000000;
	assert_true(wr(m, 0x4b564d00, CLOCK_PAGE));
	memcpy(wall, m->vm->ram.host + CLOCK_PAGE, sizeof(wall));
	assert_int_equal(wall[0], 2);
	assert_int_equal(wall[1], 1700000000);
	assert_int_equal(wall[2], 0);
}

static void models_lack_registers(void **state)
{
	static const struct {
		const char *model;
		uint32_t number;
	} lacking[] = {{"baseline,-hypervisor", 0x4b564d01}, {"baseline,-mtrr", 0x2ff},
		{"pentium3", 0xc0000080}, {"pentium3", 0xc0000081}, {"pentium3", 0x10a},
		{"pentium3", 0x1a0}, {"pentium3,-pat", 0x277}, {"baseline,-rdtscp", 0xc0000103},
		{"baseline,-tsc-adjust", 0x3b}};

	for (unsigned n = 0; n < ARRAY_SIZE(lacking); n++) {
		struct machine *m = machine_new(lacking[n].model);
		uint64_t value;

		assert_false(rd(m, lacking[n].number, &value));
		assert_false(wr(m, lacking[n].number, 0));
		machine_free(m);
	}
}

static void amd_has_its_own(void **state)
{
	struct machine *m = machine_new("baseline,vendor=AuthenticAMD");

	for (uint32_t n = 0xc0010000; n < 0xc0010008; n++) {
		assert_true(wr(m, n, 0xffff));
		assert_reads(m, n, 0);
	}
	machine_free(m);
	assert_false(wr(*state, 0xc0010000, 0));
}

static void hypercalls_need_the_hypervisor(void **state)
{
	struct machine *m = *state;

	m->s.gpr[X86_RAX] = 12345;
	RUN(m, 1, 0x0f, 0x01, 0xc1);
	assert_int_equal(m->s.gpr[X86_RAX], (uint32_t)-1000);
	m = machine_new("baseline,-hypervisor");
	RUN(m, 1, 0x0f, 0x01, 0xc1);
	assert_int_equal(m->s.rip, HANDLER); /* #UD */
	machine_free(m);
}

/* By the instruction clock a run of many instructions is no single moment. */
static void tsc_counts_instructions(void **state)
{
	struct machine *m = *state;

	clock_init(&m->vm->clock, CLOCK_INSTRUCTIONS);
	m->v->running = &m->r;
	/* rdtsc; mov ebx, eax; nop; nop; rdtsc */
	RUN(m, 5, 0x0f, 0x31, 0x66, 0x89, 0xc3, 0x90, 0x90, 0x0f, 0x31);
	assert_int_equal(m->s.rip, CODE + 9);
	assert_int_equal(m->s.gpr[X86_RAX] - m->s.gpr[X86_RBX],
		clock_muldiv(4, m->vm->tsc_hz, NSEC_PER_SEC));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {TEST(mtrrs_keep_and_refuse), TEST(pat_refuses_bad_types),
		TEST(tsc_adjust_follows), TEST(kvmclock_runs), TEST(wall_clock_is_told),
		TEST(models_lack_registers), TEST(amd_has_its_own),
		TEST(hypercalls_need_the_hypervisor), TEST(tsc_counts_instructions)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
