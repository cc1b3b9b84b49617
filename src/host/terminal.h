/*
 * terminal.h - the user's terminal: raw mode that is always given back, and a
 * text screen drawn with ANSI sequences. Used by the front process only.
 */
#ifndef TINAMOU_TERMINAL_H
#define TINAMOU_TERMINAL_H

#include <stdbool.h>
#include <stddef.h>
#include <termios.h>

#include "core/display.h"

/* How the terminal was before; zero-initialise. */
struct terminal_state {
	struct termios saved;
	bool raw;
	bool signals; /* the caller's: keys as Ctrl-C still send their signals */
};

/* Raw mode on standard input until terminal_restore. -errno if it is no terminal. */
int terminal_raw(struct terminal_state *s);
/* Harmless if the terminal is as it was. */
void terminal_restore(struct terminal_state *s);

/*
 * What a terminal can: it is sent TERMINAL_ASK, primary device attributes (DEC STD 070, DA1), and
 * answers ESC [ ? N ; N ... c where it is typed; 4 among the numbers means sixels.
 */
#define TERMINAL_ASK "\033[c"

enum terminal_answer { TERMINAL_SILENT, TERMINAL_NO_SIXELS, TERMINAL_SIXELS };

/* Cuts an answer out of the *len bytes that were typed; silent: there is none among them. */
enum terminal_answer terminal_take_answer(char *typed, size_t *len);

struct screen_view;

/* out: a descriptor that shows ANSI sequences. */
struct screen_view *screen_view_new(int out);
void screen_view_free(struct screen_view *v);
/* Draws what differs from the last frame shown. */
void screen_view_show(struct screen_view *v, const struct text_frame *frame);
/* Draws all of the last frame again (after something else was on the terminal). */
void screen_view_redraw(struct screen_view *v);
/* Leaves the picture and puts the cursor below it. */
void screen_view_leave(struct screen_view *v);

/* Code page 437 to UTF-8: a string of 1-3 bytes. */
const char *cp437_utf8(unsigned char ch);

/*
 * The frame as plain text: blanks at line ends and empty lines at the end are
 * left out. The caller frees it.
 */
char *screen_text(const struct text_frame *frame);

#endif
