/* symbols: what the lines of nm, System.map and kallsyms say. */
#include "test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/symbols.h"

static int load(const char *text, struct symbols **out)
{
	char path[] = "/tmp/symbols-XXXXXX";
	int fd = mkstemp(path), err;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
	err = symbols_load(path, out);
	unlink(path);
	return err;
}

static void names_what_lies_behind(void **state)
{
	uint64_t behind = 99;
	struct symbols *s;

	assert_int_equal(load("ffffffff81000010 t second\n"
			      "                 U puts\n"
			      "0000000000401000 T main\n"
			      "0000000000401004 D a_variable\n"
			      "ffffffff81000000 T _text\n"
			      "ffffffffc0000000 t of_a_module\t[loop]\n",
				 &s),
		0);
	assert_null(symbols_find(s, 0x400fff, &behind));
	assert_string_equal(symbols_find(s, 0x401000, &behind), "main");
	assert_int_equal(behind, 0);
	assert_string_equal(symbols_find(s, 0x401005, &behind), "main");
	assert_int_equal(behind, 5);
	assert_null(symbols_find(s, 0x411000, &behind));
	assert_string_equal(symbols_find(s, 0xffffffff8100000f, &behind), "_text");
	assert_string_equal(symbols_find(s, 0xffffffff81000010, &behind), "second");
	assert_string_equal(symbols_find(s, 0xffffffffc0000001, &behind), "of_a_module");
	symbols_free(s);
	assert_null(symbols_find(NULL, 0, &behind));
}

static void takes_no_other_text(void **state)
{
	struct symbols *s = NULL;

	assert_int_equal(load("", &s), 0);
	symbols_free(s);
	s = NULL;
	assert_int_equal(load("what are these words\n", &s), -EINVAL);
	assert_int_equal(load("0000000000401000 T\n", &s), -EINVAL);
	assert_int_equal(symbols_load("/nonexistent/map", &s), -ENOENT);
	assert_null(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_what_lies_behind),
		cmocka_unit_test(takes_no_other_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
