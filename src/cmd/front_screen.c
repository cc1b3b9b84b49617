/*
 * front_screen.c - the machine's screen, text or picture, on the terminal. The
 * machine draws it into shared memory behind a sequence count.
 */
#include "cmd/front.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "host/picture.h"
#include "util/util.h"

void write_all(int fd, const char *data, size_t len)
{
	while (len) {
		ssize_t n = write(fd, data, len);

		if (n < 0 && errno != EINTR && errno != EAGAIN)
			return;
		if (n > 0) {
			data += n;
			len -= (size_t)n;
		}
	}
}

/* The copy is read before the sequence is read again; x86 keeps loads in order, compilers do not.
 */
static inline void loads_in_order(void)
{
	__asm__ volatile("" ::: "memory");
}

bool front_read_frame(const struct shared_screen *s, struct text_frame *frame)
{
	for (unsigned tries = 0; tries < 1000; tries++) {
		uint32_t before = atomic_load(&((struct shared_screen *)s)->sequence);

		*frame = s->frame;
		loads_in_order();
		if (!(before & 1) && atomic_load(&((struct shared_screen *)s)->sequence) == before)
			return frame->cols <= TEXT_MAX_COLS && frame->rows <= TEXT_MAX_ROWS;
	}
	return false;
}

/* The picture on the screen, copied; NULL: it is text. */
static uint32_t *read_picture(const struct shared_picture *s, struct picture *p)
{
	for (unsigned tries = 0; s && tries < 100; tries++) {
		uint32_t before = atomic_load(&((struct shared_picture *)s)->sequence);
		uint32_t width = s->width, height = s->height;
		uint64_t pixels = (uint64_t)width * height;

		if (!pixels || pixels > PICTURE_MAX_PIXELS)
			return NULL;
		*p = (struct picture){width, height, xcalloc(pixels, 4)};
		memcpy(p->pixel, s->pixel, pixels * 4);
		loads_in_order();
		if (!(before & 1) && atomic_load(&((struct shared_picture *)s)->sequence) == before)
			return p->pixel;
		free(p->pixel);
	}
	return NULL;
}

/* By the terminals that are known to have them, or by what this one says. */
static bool has_sixels(const struct front *f)
{
	static const char *const known[] = {"foot", "mlterm", "yaft", "contour", "sixel"};
	const char *term = getenv("TERM"), *program = getenv("TERM_PROGRAM");
	bool found = f->config.display == DISPLAY_SIXEL || f->sixels == TERMINAL_SIXELS ||
		     (program && !strcmp(program, "WezTerm"));

	for (unsigned i = 0; i < ARRAY_SIZE(known) && term; i++)
		found |= strstr(term, known[i]) != NULL;
	return found && f->config.display != DISPLAY_BLOCKS;
}

/* Half blocks until it answers; a terminal that never does keeps them. */
static void ask_terminal(struct front *f)
{
	if (!f->asked_terminal && f->config.display != DISPLAY_BLOCKS && !has_sixels(f))
		write_all(STDOUT_FILENO, TERMINAL_ASK, strlen(TERMINAL_ASK));
	f->asked_terminal = true;
}

static void draw_picture(struct front *f, const struct picture *p, bool clear)
{
	struct winsize w = {0};
	size_t len;
	char *out;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) || !w.ws_col || !w.ws_row)
		w = (struct winsize){.ws_col = 80, .ws_row = 25};
	if (has_sixels(f))
		out = picture_sixels(p, w.ws_col, w.ws_row - 1u, clear,
			w.ws_xpixel ? w.ws_xpixel / w.ws_col : 8,
			w.ws_ypixel ? w.ws_ypixel / w.ws_row : 16, &len);
	else
		out = picture_half_blocks(p, w.ws_col, w.ws_row, clear, &len);
	write_all(STDOUT_FILENO, out, len);
	free(out);
}

void front_leave_screen(struct front *f)
{
	static const char below[] = "\033[0m\033[?25h\033[999;1H\r\n";

	if (f->picture_shown)
		write_all(STDOUT_FILENO, below, strlen(below));
	else
		screen_view_leave(f->view);
	f->picture_shown = false;
}

static void notice(struct front *f, const char *text)
{
	if (!f->config.quiet)
		fprintf(stderr, "%stinamou: %s\r\n", f->terminal ? "\r\n" : "", text);
}

/* Of a window that waits for the guest to draw. */
static bool picture_in_window(struct front *f)
{
	bool drawn = f->viewer.when_drawn && f->viewer.socket >= 0 && f->shared_picture &&
		     f->shared_picture->width;

	if (drawn && !f->in_window) {
		front_leave_screen(f);
		notice(f, "the picture is in the window");
	} else if (!drawn && f->in_window) {
		screen_view_redraw(f->view);
	}
	f->in_window = drawn;
	return drawn;
}

/* false: the screen is text. */
static bool show_picture(struct front *f)
{
	bool before = f->picture_shown;
	struct picture p;

	f->picture_shown = read_picture(f->shared_picture, &p) != NULL;
	if (f->picture_shown) {
		ask_terminal(f);
		draw_picture(f, &p, !before);
		free(p.pixel);
	} else if (before) {
		screen_view_redraw(f->view);
	}
	return f->picture_shown;
}

void front_overlay(struct front *f, const char *text, size_t len)
{
	if (f->view && f->screen_active && !f->overlay)
		front_leave_screen(f);
	f->overlay = f->terminal && f->screen_active;
	fwrite(text, 1, len, stderr);
}

void front_tell_other_side(struct front *f)
{
	if (f->told_other || !f->terminal || f->config.console != CONSOLE_AUTO)
		return;
	f->told_other = true;
	notice(f, f->screen_active ? "there is output on the serial line; Ctrl-A Tab switches"
				   : "there is output on the screen; Ctrl-A Tab switches");
}

bool front_screen_on_terminal(const struct front *f)
{
	return f->config.display != DISPLAY_NONE && !config_has_viewer(&f->config);
}

void front_show_screen(struct front *f)
{
	struct text_frame frame;

	if (!f->terminal || !front_screen_on_terminal(f) || !front_read_frame(f->shared, &frame))
		return;
	if (!f->screen_active)
		front_tell_other_side(f);
	else if (!f->overlay && !picture_in_window(f) && !show_picture(f))
		screen_view_show(f->view, &frame);
}
