/*
 * test_vme.c - virtual interrupts on engine interpret: CLI, STI, PUSHF, POPF, IRET
 * and INT n in virtual-8086 mode with and without CR4.VME, and in ring 3 with
 * CR4.PVI. Source: SDM vol. 3A 20.3, table 20-2, and 20.4.
 */
#include "tests/engine/machine.h"

#define GDT    0x1000u
#define IDT    0x2000u
#define TSS    0x3000u
#define BITMAP 0x68u /* in the TSS; the I/O map follows */
#define STACK  0x7000u
#define RING0  0x6000u
#define KERNEL 0x8u /* selectors */
#define DATA   0x10u
#define OWN    0x500u /* handler of the 8086 program for vector 20h, in segment 0 */
#define VECTOR 0x20u

#define FIXED 2u

static void put64(struct machine *m, unsigned at, uint64_t v)
{
	memcpy(m->vm->ram.host + at, &v, 8);
}

static void put16(struct machine *m, unsigned at, unsigned v)
{
	memcpy(m->vm->ram.host + at, &(uint16_t){(uint16_t)v}, 2);
}

static unsigned get16(const struct machine *m, unsigned at)
{
	uint16_t v;

	memcpy(&v, m->vm->ram.host + at, 2);
	return v;
}

/* Vector n of the monitor is entered at HANDLER + n. */
static void make_tables(struct machine *m)
{
	put64(m, GDT + KERNEL, UINT64_C(0x00cf9b000000ffff));
	put64(m, GDT + DATA, UINT64_C(0x00cf93000000ffff));
	for (unsigned n = 0; n < 256; n++)
		put64(m, IDT + n * 8, (HANDLER + n) | KERNEL << 16 | UINT64_C(0xee00) << 32);
	put64(m, TSS + 4, RING0 | (uint64_t)DATA << 32);
	put16(m, TSS + 102, BITMAP + 32);
	put16(m, VECTOR * 4, OWN);
	put16(m, VECTOR * 4 + 2, 0);
	m->s.gdtr = (struct x86_table){GDT, 0x17};
	m->s.idtr = (struct x86_table){IDT, 0x7ff};
	m->s.seg[X86_TR] = (struct x86_seg){TSS, BITMAP + 32 - 1, 0x8b, 0x18};
}

static int vme_setup(void **state)
{
	struct machine *m = machine_new(NULL);

	make_tables(m);
	m->s.cr0 |= X86_CR0_PE;
	m->s.cr4 |= X86_CR4_VME;
	m->s.rflags = X86_VM | FIXED;
	for (unsigned n = X86_ES; n <= X86_GS; n++) {
		x86_seg_real(&m->s.seg[n], 0, false);
		m->s.seg[n].attr = 0xf3;
	}
	m->s.gpr[X86_RSP] = STACK;
	*state = m;
	return 0;
}

/* To ring 3 of flat 32-bit code. */
static void enter_ring3(struct machine *m)
{
	for (unsigned n = X86_ES; n <= X86_GS; n++)
		m->s.seg[n] = (struct x86_seg){
			0, UINT32_MAX, X86_ATTR_DB | X86_ATTR_G | (n == X86_CS ? 0xfb : 0xf3), 3};
	m->s.rflags = FIXED;
	m->s.cr4 = X86_CR4_PVI;
}

static void expect_vector(const struct machine *m, unsigned vector)
{
	assert_int_equal(m->s.rip, HANDLER + vector);
	assert_int_equal(m->s.rflags & X86_VM, 0);
}

/* One instruction from CODE with these flags beside VM. */
#define ONE(m, flags, ...)                                                                         \
	do {                                                                                       \
		(m)->s.rip = CODE;                                                                 \
		(m)->s.rflags = X86_VM | FIXED | (flags);                                          \
		RUN(m, 1, __VA_ARGS__);                                                            \
	} while (0)

static void again(void **state)
{
	teardown(state);
	vme_setup(state);
}

static void cli_and_sti_change_vif(void **state)
{
	struct machine *m = *state;

	ONE(m, X86_IF | X86_VIF, 0xfa);
	assert_int_equal(m->s.rip, CODE + 1);
	assert_int_equal(m->s.rflags, X86_VM | FIXED | X86_IF);
	ONE(m, 0, 0xfb);
	assert_int_equal(m->s.rflags, X86_VM | FIXED | X86_VIF);
	assert_false(m->s.events.shadow_sti);
	ONE(m, X86_IOPL | X86_VIF | X86_IF, 0xfa); /* IOPL 3: the real one */
	assert_int_equal(m->s.rflags, X86_VM | FIXED | X86_IOPL | X86_VIF);
	ONE(m, X86_VIP, 0xfb); /* the monitor has an interrupt for it */
	expect_vector(m, X86_GP);
}

static void without_vme_all_is_the_monitors(void **state)
{
	static const uint8_t insn[][2] = {{0xfa}, {0xfb}, {0x9c}, {0x9d}, {0xcf}, {0xcd, VECTOR}};

	for (unsigned n = 0; n < ARRAY_SIZE(insn); n++) {
		struct machine *m = *state;

		m->s.cr4 = X86_CR4_PVI; /* which is not for this mode */
		ONE(m, 0, insn[n][0], insn[n][1]);
		expect_vector(m, X86_GP);
		again(state);
	}
}

static void pushf_shows_virtual_flags(void **state)
{
	struct machine *m = *state;

	ONE(m, X86_VIF | X86_CF, 0x9c);
	assert_int_equal(m->s.gpr[X86_RSP], STACK - 2);
	assert_int_equal(get16(m, STACK - 2), X86_IOPL | X86_IF | FIXED | X86_CF);
	ONE(m, X86_IF, 0x9c);
	assert_int_equal(get16(m, STACK - 4), X86_IOPL | FIXED);
	ONE(m, X86_IF, 0x66, 0x9c);
	expect_vector(m, X86_GP);
}

static void popf_changes_vif(void **state)
{
	struct machine *m = *state;

	put16(m, STACK, X86_IF | X86_CF | X86_IOPL);
	ONE(m, 0, 0x9d);
	assert_int_equal(m->s.rflags, X86_VM | FIXED | X86_VIF | X86_CF);
	put16(m, STACK + 2, 0);
	ONE(m, X86_IF | X86_VIF | X86_VIP, 0x9d);
	assert_int_equal(m->s.rflags, X86_VM | FIXED | X86_IF | X86_VIP);
	assert_int_equal(m->s.gpr[X86_RSP], STACK + 4);
}

/* POPF and IRET, with TF and with IF while an interrupt waits; and in 32 bits. */
static void some_flags_cannot_be_loaded(void **state)
{
	static const uint8_t insn[] = {0x9d, 0xcf};
	static const struct {
		unsigned value, flags;
	} bad[] = {{X86_TF, 0}, {X86_IF, X86_VIP}};

	for (unsigned n = 0; n < ARRAY_SIZE(insn); n++) {
		for (unsigned k = 0; k < ARRAY_SIZE(bad); k++) {
			struct machine *m = *state;

			put16(m, STACK + (insn[n] == 0xcf ? 4 : 0), bad[k].value);
			ONE(m, bad[k].flags, insn[n]);
			expect_vector(m, X86_GP);
			assert_int_equal(get16(m, (unsigned)m->s.gpr[X86_RSP] + 16), STACK);
			again(state);
		}
		ONE((struct machine *)*state, 0, 0x66, insn[n]);
		expect_vector(*state, X86_GP);
		again(state);
	}
}

static void iret_changes_vif(void **state)
{
	struct machine *m = *state;

	put16(m, STACK, 0x123);
	put16(m, STACK + 2, 0x45);
	put16(m, STACK + 4, X86_IF | X86_CF | X86_IOPL);
	ONE(m, 0, 0xcf);
	assert_int_equal(m->s.rip, 0x123);
	assert_int_equal(m->s.seg[X86_CS].base, 0x450);
	assert_int_equal(m->s.rflags, X86_VM | FIXED | X86_VIF | X86_CF);
}

static void int_stays_in_the_program(void **state)
{
	struct machine *m = *state;

	ONE(m, X86_IF | X86_VIF | X86_CF, 0xcd, VECTOR);
	assert_int_equal(m->s.rip, OWN);
	assert_int_equal(m->s.rflags, X86_VM | FIXED | X86_IF | X86_CF);
	assert_int_equal(m->s.gpr[X86_RSP], STACK - 6);
	assert_int_equal(get16(m, STACK - 2), X86_IOPL | X86_IF | FIXED | X86_CF);
	assert_int_equal(get16(m, STACK - 4), 0);
	assert_int_equal(get16(m, STACK - 6), CODE + 2);
	ONE(m, X86_IOPL | X86_IF | X86_VIF, 0xcd, VECTOR);
	assert_int_equal(m->s.rip, OWN);
	assert_int_equal(m->s.rflags, X86_VM | FIXED | X86_IOPL | X86_VIF);
	assert_int_equal(get16(m, STACK - 8), X86_IOPL | X86_IF | FIXED);
}

static void int_goes_to_the_monitor(void **state)
{
	struct machine *m = *state;

	m->vm->ram.host[TSS + BITMAP + VECTOR / 8] = 1 << VECTOR % 8;
	ONE(m, 0, 0xcd, VECTOR);
	expect_vector(m, X86_GP);
	again(state);
	m = *state;
	m->vm->ram.host[TSS + BITMAP + VECTOR / 8] = 1 << VECTOR % 8;
	ONE(m, X86_IOPL, 0xcd, VECTOR);
	expect_vector(m, VECTOR);
	again(state);
	m = *state;
	m->s.cr4 = 0;
	ONE(m, X86_IOPL, 0xcd, VECTOR);
	expect_vector(m, VECTOR);
	again(state);
	m = *state;
	m->s.seg[X86_TR].limit = BITMAP; /* the bitmap is not there */
	ONE(m, X86_IOPL, 0xcd, VECTOR);
	expect_vector(m, X86_GP);
}

static void breakpoints_are_the_monitors(void **state)
{
	struct machine *m = *state;

	ONE(m, 0, 0xcc);
	expect_vector(m, X86_BP);
}

static void ring3_has_vif_with_pvi(void **state)
{
	struct machine *m = *state;

	enter_ring3(m);
	RUN(m, 3, 0xfb, 0x9c, 0xfa); /* sti; pushf; cli */
	assert_int_equal(m->s.rip, CODE + 3);
	assert_int_equal(m->s.rflags, FIXED);
	assert_int_equal(get16(m, STACK - 4), FIXED);
	assert_int_equal(get16(m, STACK - 2), X86_VIF >> 16);
	m->s.rip = CODE;
	m->s.rflags = FIXED | X86_VIP;
	RUN(m, 1, 0xfb);
	expect_vector(m, X86_GP);
	again(state);
	m = *state;
	enter_ring3(m);
	m->s.cr4 = X86_CR4_VME;
	RUN(m, 1, 0xfa);
	expect_vector(m, X86_GP);
}

/* mov cr4, eax in real mode. */
static void cr4_has_the_bits_of_the_model(void **state)
{
	static const struct {
		const char *model;
		bool has;
	} row[] = {{"pentium3", true}, {"pentium3,-vme", false}, {"baseline", true}};

	for (unsigned n = 0; n < ARRAY_SIZE(row); n++) {
		struct machine *m = machine_new(row[n].model);

		m->s.gpr[X86_RAX] = X86_CR4_VME | X86_CR4_PVI;
		RUN(m, 1, 0x0f, 0x22, 0xe0);
		assert_int_equal(m->s.rip, row[n].has ? CODE + 3 : HANDLER);
		assert_int_equal(m->s.cr4, row[n].has ? X86_CR4_VME | X86_CR4_PVI : 0);
		machine_free(m);
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, vme_setup, teardown)
	const struct CMUnitTest tests[] = {TEST(cli_and_sti_change_vif),
		TEST(without_vme_all_is_the_monitors), TEST(pushf_shows_virtual_flags),
		TEST(popf_changes_vif), TEST(some_flags_cannot_be_loaded), TEST(iret_changes_vif),
		TEST(int_stays_in_the_program), TEST(int_goes_to_the_monitor),
		TEST(breakpoints_are_the_monitors), TEST(ring3_has_vif_with_pvi),
		cmocka_unit_test(cr4_has_the_bits_of_the_model)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
