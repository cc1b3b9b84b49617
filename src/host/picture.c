/*
 * picture.c - pictures as characters: half blocks in 24-bit colours, or sixels
 * (DEC STD 070, chapter 9).
 *
 * Half blocks: the upper half of a character is the foreground, the lower the
 * background, so a cell is two pixels, about square. Sixels: 216 colours, a
 * cube of six steps a channel. Pictures are made smaller by averaging, never
 * larger.
 * Lock: none.
 */
#include "host/picture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/util.h"

struct scaled {
	unsigned width, height;
	uint32_t *pixel;
};

/* The mean of a box of pixels. */
static uint32_t box(const struct picture *p, unsigned x0, unsigned x1, unsigned y0, unsigned y1)
{
	uint64_t r = 0, g = 0, b = 0, n = (uint64_t)(x1 - x0) * (y1 - y0);

	for (unsigned y = y0; y < y1; y++)
		for (unsigned x = x0; x < x1; x++) {
			uint32_t c = p->pixel[(size_t)y * p->width + x];

			r += c >> 16 & 0xff;
			g += c >> 8 & 0xff;
			b += c & 0xff;
		}
	return (uint32_t)(r / n << 16 | g / n << 8 | b / n);
}

/* As large as fits, in the picture's proportions; the caller frees the pixels. */
static struct scaled scale(const struct picture *p, unsigned width, unsigned height)
{
	struct scaled s = {p->width, p->height, NULL};

	if (s.width > width) {
		s.height = MAX((uint64_t)p->height * width / p->width, 1u);
		s.width = width;
	}
	if (s.height > height) {
		s.width = MAX((uint64_t)p->width * height / p->height, 1u);
		s.height = height;
	}
	s.pixel = xcalloc((size_t)s.width * s.height, sizeof(*s.pixel));
	for (unsigned y = 0; y < s.height; y++)
		for (unsigned x = 0; x < s.width; x++)
			s.pixel[(size_t)y * s.width + x] =
				box(p, (unsigned)((uint64_t)x * p->width / s.width),
					(unsigned)((uint64_t)(x + 1) * p->width / s.width),
					(unsigned)((uint64_t)y * p->height / s.height),
					(unsigned)((uint64_t)(y + 1) * p->height / s.height));
	return s;
}

static bool drawable(const struct picture *p, unsigned cols, unsigned rows)
{
	return p->pixel && p->width && p->height && cols && rows;
}

/* ---- half blocks ---- */

static void put_cell(FILE *f, uint32_t top, uint32_t bottom, uint64_t *last)
{
	uint64_t colours = (uint64_t)top << 32 | bottom;

	if (colours != *last)
		fprintf(f, "\033[38;2;%u;%u;%u;48;2;%u;%u;%um", top >> 16, top >> 8 & 0xff,
			top & 0xff, bottom >> 16, bottom >> 8 & 0xff, bottom & 0xff);
	*last = colours;
	fputs("\u2580", f);
}

char *picture_half_blocks(
	const struct picture *p, unsigned cols, unsigned rows, bool clear, size_t *len)
{
	char *text = NULL;
	FILE *f = open_memstream(&text, len);
	struct scaled s = {0};

	fputs(clear ? "\033[?25l\033[0m\033[2J" : "\033[?25l", f);
	if (drawable(p, cols, rows))
		s = scale(p, cols, rows * 2);
	for (unsigned y = 0; y < s.height; y += 2) {
		uint64_t last = UINT64_MAX;

		fprintf(f, "\033[%u;1H", y / 2 + 1);
		for (unsigned x = 0; x < s.width; x++) {
			const uint32_t *top = &s.pixel[(size_t)y * s.width + x];

			put_cell(f, *top, y + 1 < s.height ? top[s.width] : 0, &last);
		}
		fputs("\033[0m", f);
	}
	fclose(f);
	free(s.pixel);
	return text;
}

/* ---- sixels ---- */

enum { STEPS = 6, CUBE = STEPS * STEPS * STEPS };

static unsigned cube_index(uint32_t c)
{
	unsigned r = (c >> 16 & 0xff) * STEPS / 256, g = (c >> 8 & 0xff) * STEPS / 256;

	return (r * STEPS + g) * STEPS + (c & 0xff) * STEPS / 256;
}

/* Colour registers are in percent. */
static void define_colours(FILE *f)
{
	for (unsigned i = 0; i < CUBE; i++)
		fprintf(f, "#%u;2;%u;%u;%u", i, i / (STEPS * STEPS) * 100 / (STEPS - 1),
			i / STEPS % STEPS * 100 / (STEPS - 1), i % STEPS * 100 / (STEPS - 1));
}

static void put_run(FILE *f, unsigned bits, unsigned n)
{
	int c = (int)(bits + '?');

	if (n > 3)
		fprintf(f, "!%u%c", n, c);
	else
		while (n--)
			fputc(c, f);
}

/* One colour's share of six lines. */
static void put_band(FILE *f, const struct scaled *s, unsigned y, unsigned colour)
{
	unsigned run = 0, last = 0;

	fprintf(f, "#%u", colour);
	for (unsigned x = 0; x < s->width; x++) {
		unsigned bits = 0;

		for (unsigned i = 0; i < 6 && y + i < s->height; i++)
			bits |= (unsigned)(s->pixel[(size_t)(y + i) * s->width + x] == colour) << i;
		if (run && bits != last) {
			put_run(f, last, run);
			run = 0;
		}
		last = bits;
		run++;
	}
	if (last)
		put_run(f, last, run);
	fputc('$', f);
}

static void put_bands(FILE *f, const struct scaled *s)
{
	for (unsigned y = 0; y < s->height; y += 6) {
		size_t n = (size_t)MIN(6u, s->height - y) * s->width;
		bool used[CUBE] = {false};

		for (size_t i = 0; i < n; i++)
			used[s->pixel[(size_t)y * s->width + i]] = true;
		for (unsigned c = 0; c < CUBE; c++)
			if (used[c])
				put_band(f, s, y, c);
		fputc('-', f);
	}
}

char *picture_sixels(const struct picture *p, unsigned cols, unsigned rows, bool clear,
	unsigned cell_width, unsigned cell_height, size_t *len)
{
	char *text = NULL;
	FILE *f = open_memstream(&text, len);
	struct scaled s = {0};

	if (drawable(p, cols, rows))
		s = scale(p, cols * MAX(cell_width, 1u), rows * MAX(cell_height, 1u));
	for (size_t i = 0; i < (size_t)s.width * s.height; i++)
		s.pixel[i] = cube_index(s.pixel[i]);
	fputs(clear ? "\033[0m\033[2J" : "", f);
	fprintf(f, "\033[?25l\033[H\033P0;1q\"1;1;%u;%u", s.width, s.height);
	define_colours(f);
	put_bands(f, &s);
	fputs("\033\\", f);
	fclose(f);
	free(s.pixel);
	return text;
}
