/* test_keys.c - the viewers' tables: what two ways to a key must agree on, and what is no key. */
#include "../core/test.h"

#include "helper/viewer.h"

static void letters_agree(void **state)
{
	for (unsigned n = 0; n < 26; n++) {
		assert_int_not_equal(key_of_keysym('a' + n), 0);
		assert_int_equal(key_of_keysym('a' + n), key_of_usage(4 + n));
		assert_int_equal(key_of_keysym('A' + n), key_of_usage(4 + n));
	}
	for (unsigned n = 0; n < 10; n++)
		assert_int_equal(
			key_of_keysym((unsigned char)"1234567890"[n]), key_of_usage(30 + n));
}

static void signs_agree(void **state)
{
	static const char plain[] = "-=[]\\", shifted[] = "_+{}|";

	for (unsigned n = 0; n < 5; n++) {
		assert_int_equal(key_of_keysym((unsigned char)plain[n]), key_of_usage(45 + n));
		assert_int_equal(key_of_keysym((unsigned char)shifted[n]), key_of_usage(45 + n));
	}
	for (unsigned n = 0; n < 6; n++)
		assert_int_equal(key_of_keysym((unsigned char)";'`,./"[n]), key_of_usage(51 + n));
}

/* Keysym, usage, key: from the two tables' documents. */
static void functions_agree(void **state)
{
	static const struct {
		uint32_t keysym, usage;
		uint16_t key;
	} rows[] = {
		{0xff0d, 40, 0x1c},
		{0xff1b, 41, 0x01},
		{0xff08, 42, 0x0e},
		{0xff09, 43, 0x0f},
		{' ', 44, 0x39},
		{0xffe5, 57, 0x3a},
		{0xffbe, 58, 0x3b},
		{0xffc7, 67, 0x44},
		{0xffc8, 68, 0x57},
		{0xffc9, 69, 0x58},
		{0xff61, 70, 0xe037},
		{0xff14, 71, 0x46},
		{0xff13, 72, 0xe11d},
		{0xff63, 73, 0xe052},
		{0xff50, 74, 0xe047},
		{0xff55, 75, 0xe049},
		{0xffff, 76, 0xe053},
		{0xff57, 77, 0xe04f},
		{0xff56, 78, 0xe051},
		{0xff53, 79, 0xe04d},
		{0xff51, 80, 0xe04b},
		{0xff54, 81, 0xe050},
		{0xff52, 82, 0xe048},
		{0xff7f, 83, 0x45},
		{0xffaf, 84, 0xe035},
		{0xffaa, 85, 0x37},
		{0xffad, 86, 0x4a},
		{0xffab, 87, 0x4e},
		{0xff8d, 88, 0xe01c},
		{0xffb1, 89, 0x4f},
		{0xffb9, 97, 0x49},
		{0xffb0, 98, 0x52},
		{0xffae, 99, 0x53},
		{0xff67, 101, 0xe05d},
		{0xffe3, 224, 0x1d},
		{0xffe1, 225, 0x2a},
		{0xffe9, 226, 0x38},
		{0xffeb, 227, 0xe05b},
		{0xffe4, 228, 0xe01d},
		{0xffe2, 229, 0x36},
		{0xffea, 230, 0xe038},
		{0xffec, 231, 0xe05c},
	};

	for (unsigned n = 0; n < sizeof(rows) / sizeof(rows[0]); n++) {
		assert_int_equal(key_of_keysym(rows[n].keysym), rows[n].key);
		assert_int_equal(key_of_usage(rows[n].usage), rows[n].key);
	}
}

static void nothing_else(void **state)
{
	static const uint32_t none[] = {
		0, 1, 2, 7, 0x1f, 0x7f, 0xe4, 0xff00, 0xfffe, 0x10020ac, 0xffffffff};

	for (unsigned n = 0; n < sizeof(none) / sizeof(none[0]); n++)
		assert_int_equal(key_of_keysym(none[n]), 0);
	for (uint32_t usage = 102; usage < 224; usage++)
		assert_int_equal(key_of_usage(usage), 0);
	assert_int_equal(key_of_usage(3), 0);
	assert_int_equal(key_of_usage(232), 0);
	assert_int_equal(key_of_usage(0xffffffff), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(letters_agree),
		cmocka_unit_test(signs_agree),
		cmocka_unit_test(functions_agree),
		cmocka_unit_test(nothing_else),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
