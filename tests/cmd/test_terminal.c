/* test_terminal.c - CP437, the screen in ANSI (only what changed) and as plain text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "host/terminal.h"

static void put(struct text_frame *f, unsigned x, unsigned y, const char *text, uint8_t attr)
{
	for (; *text; text++, x++)
		f->cell[y * f->cols + x] = (struct text_cell){(uint8_t)*text, attr};
}

static struct text_frame blank(void)
{
	struct text_frame f = {.cols = 80, .rows = 25};

	for (unsigned i = 0; i < 80u * 25; i++)
		f.cell[i] = (struct text_cell){' ', 7};
	return f;
}

/* What showing frame writes to the terminal; in a pipe, so less than 64 KiB. */
static char *shown(struct screen_view *v, int pipe_end, const struct text_frame *frame)
{
	static char text[65536];
	ssize_t n;

	screen_view_show(v, frame);
	n = read(pipe_end, text, sizeof(text) - 1);
	assert_true(n >= 0);
	text[n] = '\0';
	return text;
}

static void code_page(void **state)
{
	assert_string_equal(cp437_utf8('A'), "A");
	assert_string_equal(cp437_utf8('~'), "~");
	assert_string_equal(cp437_utf8(0), " ");
	assert_string_equal(cp437_utf8(1), "☺");
	assert_string_equal(cp437_utf8(0x7f), "⌂");
	assert_string_equal(cp437_utf8(0xb3), "│");
	assert_string_equal(cp437_utf8(0xdb), "█");
	assert_string_equal(cp437_utf8(0xff), " ");
	for (unsigned c = 0; c < 256; c++) /* nothing that would steer the terminal */
		assert_true((unsigned char)cp437_utf8((unsigned char)c)[0] >= 0x20);
}

static void plain_text(void **state)
{
	struct text_frame f = blank();
	char *text = screen_text(&f);

	assert_string_equal(text, "");
	free(text);
	put(&f, 0, 0, "one", 7);
	put(&f, 2, 2, "\xdb two", 7);
	text = screen_text(&f);
	assert_string_equal(text, "one\n\n  █ two\n");
	free(text);
}

static void colours(void **state)
{
	struct text_frame f = blank();
	int end[2];
	struct screen_view *v;
	char *text;

	assert_int_equal(pipe(end), 0);
	v = screen_view_new(end[1]);
	put(&f, 3, 1, "hi", 0x1e); /* yellow on blue: VGA 14 on 1 */
	text = shown(v, end[0], &f);
	assert_non_null(strstr(text, "\033[0;93;44mhi"));
	screen_view_free(v);
	close(end[0]);
	close(end[1]);
}

static void changes_only(void **state)
{
	struct text_frame f = blank();
	int end[2];
	struct screen_view *v;
	char *text;

	assert_int_equal(pipe(end), 0);
	v = screen_view_new(end[1]);
	put(&f, 0, 0, "unchanged", 7);
	shown(v, end[0], &f);
	put(&f, 5, 7, "Z", 7);
	f.cursor_x = 6;
	f.cursor_y = 7;
	f.cursor_on = true;
	text = shown(v, end[0], &f);
	assert_null(strstr(text, "unchanged"));
	assert_non_null(strstr(text, "\033[8;6H"));
	assert_non_null(strstr(text, "Z"));
	assert_non_null(strstr(text, "\033[8;7H\033[?25h"));
	assert_true(strlen(text) < 64);
	screen_view_free(v);
	close(end[0]);
	close(end[1]);
}

static void check_answer(const char *typed, enum terminal_answer wanted, const char *left)
{
	char buf[64];
	size_t len = strlen(typed);

	memcpy(buf, typed, len);
	assert_int_equal(terminal_take_answer(buf, &len), wanted);
	assert_int_equal(len, strlen(left));
	assert_memory_equal(buf, left, len);
}

static void answers_are_cut_out(void **state)
{
	check_answer("\033[?62;4c", TERMINAL_SIXELS, "");
	check_answer("\033[?4c", TERMINAL_SIXELS, "");
	check_answer("ab\033[?64;4;22ccd", TERMINAL_SIXELS, "abcd");
	check_answer("\033[?62;22;44c", TERMINAL_NO_SIXELS, "");
	check_answer("\033[?c", TERMINAL_NO_SIXELS, "");
}

static void keys_are_no_answers(void **state)
{
	static const char *const keys[] = {
		"", "c", "\033", "\033[", "\033[?", "\033[?4", "\033[A", "\033[?4;5x", "\033[4c"};

	for (unsigned i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		check_answer(keys[i], TERMINAL_SILENT, keys[i]);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(code_page),
		cmocka_unit_test(plain_text),
		cmocka_unit_test(colours),
		cmocka_unit_test(changes_only),
		cmocka_unit_test(answers_are_cut_out),
		cmocka_unit_test(keys_are_no_answers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
