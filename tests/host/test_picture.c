/* test_picture.c - PNG, half blocks and sixels, read back by small decoders of our own. */
#include "../core/test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "host/picture.h"
#include "util/util.h"

static uint32_t pixels[64 * 48];
static const struct picture picture = {64, 48, pixels};

static int setup(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(pixels); i++)
		pixels[i] = (i % 64 * 4) << 16 | (i / 64 * 5) << 8 | (i % 64 / 32 * 255);
	return 0;
}

/* Six steps a channel, as a sixel terminal shows them. */
static uint32_t quantised(uint32_t c)
{
	uint32_t out = 0;

	for (unsigned i = 0; i < 24; i += 8)
		out |= ((c >> i & 0xff) * 6 / 256 * 100 / 5 * 255 / 100) << i;
	return out;
}

struct screen {
	unsigned width, height;
	uint32_t pixel[200 * 200];
};

/* Cursor positions, 24-bit colours and upper half blocks. */
static void decode_half_blocks(const char *t, struct screen *s)
{
	unsigned x = 0, y = 0, row, col, c[6];

	for (int n; *t; t += n) {
		n = 0;
		if (sscanf(t, "\033[%u;%uH%n", &row, &col, &n) == 2 && n) {
			x = col - 1;
			y = row - 1;
		} else if (!memcmp(t, "\u2580", 3)) {
			s->pixel[2 * y * 200 + x] = c[0] << 16 | c[1] << 8 | c[2];
			s->pixel[(2 * y + 1) * 200 + x] = c[3] << 16 | c[4] << 8 | c[5];
			x++;
			s->width = MAX(s->width, x);
			s->height = MAX(s->height, 2 * y + 2);
			n = 3;
		} else if (sscanf(t, "\033[38;2;%u;%u;%u;48;2;%u;%u;%um%n", c, c + 1, c + 2, c + 3,
				   c + 4, c + 5, &n) < 6) {
			n = 1;
		}
	}
}

static void test_half_blocks(void **state)
{
	static struct screen s;
	size_t len;
	char *t = picture_half_blocks(&picture, 80, 50, true, &len);

	memset(&s, 0, sizeof(s));
	assert_int_equal(strlen(t), len);
	assert_non_null(strstr(t, "\033[2J"));
	decode_half_blocks(t, &s);
	assert_int_equal(s.width, 64);
	assert_int_equal(s.height, 48);
	for (unsigned i = 0; i < ARRAY_SIZE(pixels); i++)
		assert_int_equal(s.pixel[i / 64 * 200 + i % 64], pixels[i]);
	free(t);
	/* Half the size: each pixel the mean of four. */
	memset(&s, 0, sizeof(s));
	t = picture_half_blocks(&picture, 32, 50, false, &len);
	decode_half_blocks(t, &s);
	assert_int_equal(s.width, 32);
	assert_int_equal(s.height, 24);
	assert_int_equal(s.pixel[0], 0x020200);
	assert_int_equal(s.pixel[23 * 200 + 31], (62 * 4 + 2) << 16 | (46 * 5 + 2) << 8 | 255);
	free(t);
}

/* Colour registers, runs, carriage return and new line. */
static void decode_sixels(const char *t, struct screen *s)
{
	static uint32_t colour[256];
	unsigned x = 0, y = 0, i = 0, r, g, b, n, run = 1;

	t = strstr(t, "\"1;1;");
	assert_int_equal(sscanf(t, "\"1;1;%u;%u%n", &s->width, &s->height, (int *)&n), 2);
	for (t += n; *t != '\033'; t += n) {
		n = 1;
		if (sscanf(t, "#%u;2;%u;%u;%u%n", &i, &r, &g, &b, (int *)&n) == 4) {
			colour[i] = (r * 255 / 100) << 16 | (g * 255 / 100) << 8 | b * 255 / 100;
		} else if (*t == '#') {
			assert_int_equal(sscanf(t, "#%u%n", &i, (int *)&n), 1);
		} else if (*t == '!') {
			assert_int_equal(sscanf(t, "!%u%n", &run, (int *)&n), 1);
		} else if (*t == '$') {
			x = 0;
		} else if (*t == '-') {
			x = 0;
			y += 6;
		} else {
			for (; run; run--, x++)
				for (unsigned bit = 0; bit < 6; bit++)
					if ((*t - '?') >> bit & 1)
						s->pixel[(y + bit) * 200 + x] = colour[i];
			run = 1;
		}
	}
}

static void test_sixels(void **state)
{
	static struct screen s;
	size_t len;
	char *t = picture_sixels(&picture, 10, 10, true, 8, 16, &len);

	decode_sixels(t, &s);
	assert_int_equal(s.width, 64);
	assert_int_equal(s.height, 48);
	for (unsigned i = 0; i < ARRAY_SIZE(pixels); i++)
		assert_int_equal(s.pixel[i / 64 * 200 + i % 64], quantised(pixels[i]));
	free(t);
	t = picture_sixels(&picture, 4, 1, false, 8, 16, &len);
	decode_sixels(t, &s);
	assert_int_equal(s.width, 21);
	assert_int_equal(s.height, 16);
	free(t);
}

static void test_nothing_to_draw(void **state)
{
	const struct picture none = {0, 0, NULL};
	size_t len;

	free(picture_half_blocks(&none, 80, 25, true, &len));
	free(picture_sixels(&none, 80, 25, false, 8, 16, &len));
	free(picture_half_blocks(&picture, 0, 0, true, &len));
	assert_int_equal(png_write(-1, &none), -EINVAL);
	assert_int_equal(png_write(-1, &picture), -EBADF);
}

static void test_png_has_its_parts(void **state)
{
	int fd = memfd_create("png", 0);
	uint8_t buf[64];

	assert_int_equal(png_write(fd, &picture), 0);
	assert_int_equal(pread(fd, buf, sizeof(buf), 0), sizeof(buf));
	assert_memory_equal(
		buf, "\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x40\0\0\0\x30\x08\x02\0\0\0", 29);
	assert_memory_equal(buf + 37, "IDAT", 4);
	close(fd);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_half_blocks),
		cmocka_unit_test(test_sixels),
		cmocka_unit_test(test_nothing_to_draw),
		cmocka_unit_test(test_png_has_its_parts),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
