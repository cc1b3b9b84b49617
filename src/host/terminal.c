/* terminal.c - raw mode, and the text screen in ANSI; see terminal.h. */
#include "host/terminal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "util/util.h"

int terminal_raw(struct terminal_state *s)
{
	struct termios t;

	if (tcgetattr(STDIN_FILENO, &s->saved))
		return -errno;
	t = s->saved;
	cfmakeraw(&t);
	t.c_oflag |= OPOST;
	if (s->signals)
		t.c_lflag |= ISIG;
	if (tcsetattr(STDIN_FILENO, TCSANOW, &t))
		return -errno;
	s->raw = true;
	return 0;
}

void terminal_restore(struct terminal_state *s)
{
	if (s->raw)
		tcsetattr(STDIN_FILENO, TCSANOW, &s->saved);
	s->raw = false;
}

/* ---- what the terminal can ---- */

/* Where ESC [ ? begins, or len. */
static size_t find_answer(const char *typed, size_t len)
{
	for (size_t i = 0; i + 3 <= len; i++)
		if (!memcmp(typed + i, "\033[?", 3))
			return i;
	return len;
}

enum terminal_answer terminal_take_answer(char *typed, size_t *len)
{
	enum terminal_answer answer = TERMINAL_NO_SIXELS;
	size_t start = find_answer(typed, *len), at = start + 3;
	unsigned number = 0;

	for (; at < *len && (typed[at] == ';' || (typed[at] >= '0' && typed[at] <= '9')); at++) {
		if (typed[at] != ';') {
			number = number * 10 + (unsigned)(typed[at] - '0');
			continue;
		}
		answer = number == 4 ? TERMINAL_SIXELS : answer;
		number = 0;
	}
	if (at >= *len || typed[at] != 'c')
		return TERMINAL_SILENT;
	answer = number == 4 ? TERMINAL_SIXELS : answer;
	memmove(typed + start, typed + at + 1, *len - at - 1);
	*len -= at + 1 - start;
	return answer;
}

/* ---- the picture ---- */

struct screen_view {
	int out;
	bool drawn; /* `shown` is what the terminal shows */
	struct text_frame shown;
	FILE *buffer;
	char *text;
	size_t len;
};

struct screen_view *screen_view_new(int out)
{
	struct screen_view *v = xcalloc(1, sizeof(*v));

	v->out = out;
	v->buffer = open_memstream(&v->text, &v->len);
	return v;
}

void screen_view_free(struct screen_view *v)
{
	if (!v)
		return;
	fclose(v->buffer);
	free(v->text);
	free(v);
}

static void flush_view(struct screen_view *v)
{
	size_t done = 0;

	fflush(v->buffer);
	while (done < v->len) {
		ssize_t n = write(v->out, v->text + done, v->len - done);

		if (n <= 0 && errno != EINTR && errno != EAGAIN)
			break;
		if (n > 0)
			done += (size_t)n;
	}
	rewind(v->buffer);
}

/* VGA numbers colours blue-green-red, ANSI red-green-blue. */
static unsigned ansi_colour(unsigned vga)
{
	return (vga & 2) | (vga & 1) << 2 | (vga & 4) >> 2;
}

static void set_attribute(FILE *f, uint8_t attr)
{
	unsigned fg = attr & 15, bg = attr >> 4 & 7;

	fprintf(f, "\033[0;%s%u;%um", attr & 0x80 ? "5;" : "",
		(fg & 8 ? 90 : 30) + ansi_colour(fg & 7), 40 + ansi_colour(bg));
}

static bool same_cell(const struct text_cell *a, const struct text_cell *b)
{
	return a->ch == b->ch && a->attr == b->attr;
}

static void draw_row(struct screen_view *v, const struct text_frame *f, unsigned y)
{
	int attr = -1;
	unsigned at = UINT32_MAX;

	for (unsigned x = 0; x < f->cols; x++) {
		const struct text_cell *c = &f->cell[y * f->cols + x];

		if (v->drawn && same_cell(c, &v->shown.cell[y * f->cols + x]))
			continue;
		if (at != x)
			fprintf(v->buffer, "\033[%u;%uH", y + 1, x + 1);
		if (c->attr != attr)
			set_attribute(v->buffer, c->attr);
		attr = c->attr;
		fputs(cp437_utf8(c->ch), v->buffer);
		at = x + 1;
	}
}

void screen_view_show(struct screen_view *v, const struct text_frame *frame)
{
	if (v->drawn && (frame->cols != v->shown.cols || frame->rows != v->shown.rows))
		v->drawn = false;
	fputs(v->drawn ? "\033[?25l" : "\033[?25l\033[0m\033[2J", v->buffer);
	for (unsigned y = 0; y < frame->rows; y++)
		draw_row(v, frame, y);
	fputs("\033[0m", v->buffer);
	if (frame->cursor_on)
		fprintf(v->buffer, "\033[%d;%dH\033[?25h", frame->cursor_y + 1,
			frame->cursor_x + 1);
	v->shown = *frame;
	v->drawn = true;
	flush_view(v);
}

void screen_view_redraw(struct screen_view *v)
{
	struct text_frame frame = v->shown;

	v->drawn = false;
	if (frame.cols)
		screen_view_show(v, &frame);
}

void screen_view_leave(struct screen_view *v)
{
	if (!v->drawn)
		return;
	fprintf(v->buffer, "\033[0m\033[?25h\033[%d;1H\r\n", v->shown.rows);
	v->drawn = false;
	flush_view(v);
}

char *screen_text(const struct text_frame *frame)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);
	unsigned empty = 0;

	for (unsigned y = 0; y < frame->rows; y++) {
		const struct text_cell *row = &frame->cell[y * frame->cols];
		unsigned n = frame->cols;

		while (n && (row[n - 1].ch == ' ' || row[n - 1].ch == 0))
			n--;
		if (!n) {
			empty++;
			continue;
		}
		for (; empty; empty--)
			fputc('\n', f);
		for (unsigned x = 0; x < n; x++)
			fputs(cp437_utf8(row[x].ch), f);
		fputc('\n', f);
	}
	fclose(f);
	return text;
}
