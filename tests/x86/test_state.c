/* test_state.c - reset values against SDM vol. 3A table 9-1, x86_state_diff, x86_state_print. */
#include "x86/state.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct x86_state reset_state(void)
{
	struct x86_state s;

	x86_state_reset(&s, 0x0663);
	return s;
}

static void test_reset_registers(void **unused)
{
	struct x86_state s = reset_state();

	assert_int_equal(s.gpr[X86_RDX], 0x0663);
	assert_int_equal(s.gpr[X86_RAX], 0);
	assert_int_equal(s.rip, 0xfff0);
	assert_int_equal(s.rflags, 2);
	assert_int_equal(s.cr0, 0x60000010);
	assert_int_equal(s.cr4, 0);
	assert_int_equal(s.dr[6], 0xffff0ff0);
	assert_int_equal(s.dr[7], 0x400);
	assert_int_equal(s.xcr0, 1);
	assert_int_equal(s.efer, 0);
	assert_int_equal(s.events.run, X86_RUNNING);
}

static void test_reset_segments(void **unused)
{
	struct x86_state s = reset_state();

	assert_int_equal(s.seg[X86_CS].sel, 0xf000);
	assert_int_equal(s.seg[X86_CS].base, 0xffff0000);
	assert_int_equal(s.seg[X86_CS].attr, 0x9b);
	for (unsigned i = X86_ES; i < X86_SEG_COUNT; i++)
		assert_int_equal(s.seg[i].limit, 0xffff);
	assert_int_equal(s.seg[X86_DS].base, 0);
	assert_int_equal(s.seg[X86_DS].attr, 0x93);
	assert_int_equal(s.seg[X86_LDTR].attr, 0x82);
	assert_int_equal(s.seg[X86_TR].attr, 0x8b);
	assert_int_equal(s.gdtr.limit, 0xffff);
	assert_int_equal(s.idtr.limit, 0xffff);
}

static void test_reset_fpu_and_msrs(void **unused)
{
	struct x86_state s = reset_state();

	assert_int_equal(s.xsave[0], 0x40);
	assert_int_equal(s.xsave[4], 0xff);
	assert_int_equal(s.xsave[24] | s.xsave[25] << 8, 0x1f80);
	assert_int_equal(x86_msr_list[X86_MSR_PAT].number, 0x277);
	assert_true(s.msr[X86_MSR_PAT] == 0x0007040600070406);
	assert_int_equal(s.msr[X86_MSR_APIC_BASE], 0xfee00900);
}

static void test_seg_real(void **unused)
{
	struct x86_seg seg = {.limit = 5};

	x86_seg_real(&seg, 0xb800, false);
	assert_int_equal(seg.base, 0xb8000);
	assert_int_equal(seg.limit, 0xffff);
	assert_int_equal(seg.attr, 0x93);
}

static void test_diff_names_the_field(void **unused)
{
	struct x86_state a = reset_state(), b = a;
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	assert_int_equal(x86_state_diff(&a, &b, X86_GROUP_ALL, out), 0);
	b.gpr[X86_R9] = 0x1234;
	b.seg[X86_FS].base = 7;
	b.xsave[160 + 16 * 3] = 9; /* XMM3 */
	assert_int_equal(x86_state_diff(&a, &b, X86_GROUP_ALL, NULL), 3);
	assert_int_equal(x86_state_diff(&a, &b, X86_GROUP_GPR, out), 1);
	fclose(out);
	assert_string_equal(text, "r9: 0000000000000000 != 0000000000001234\n");
	free(text);
}

/* Every byte of the state that is no padding, header or ignored x87 pointer is compared. */
static void test_diff_sees_every_msr_and_register(void **unused)
{
	for (unsigned i = 0; i < X86_MSR_COUNT; i++) {
		struct x86_state a = reset_state(), b = a;

		b.msr[i] ^= 1ull << 63;
		assert_int_equal(x86_state_diff(&a, &b, X86_GROUP_MSR, NULL), 1);
	}
	for (unsigned i = 0; i < X86_GPR_COUNT; i++) {
		struct x86_state a = reset_state(), b = a;

		b.gpr[i] ^= 1ull << 63;
		assert_int_equal(x86_state_diff(&a, &b, X86_GROUP_GPR, NULL), 1);
	}
}

static void test_print(void **unused)
{
	struct x86_state s = reset_state();
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	s.rflags |= X86_ZF | X86_CF;
	x86_state_print(&s, out);
	fclose(out);
	assert_non_null(strstr(text, "rip 000000000000fff0 rflags 00000043.....Z..C\n"));
	assert_non_null(strstr(text, "cs   f000 base 00000000ffff0000 limit 0000ffff attr 0009b\n"));
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reset_registers),
		cmocka_unit_test(test_reset_segments),
		cmocka_unit_test(test_reset_fpu_and_msrs),
		cmocka_unit_test(test_seg_real),
		cmocka_unit_test(test_diff_names_the_field),
		cmocka_unit_test(test_diff_sees_every_msr_and_register),
		cmocka_unit_test(test_print),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
