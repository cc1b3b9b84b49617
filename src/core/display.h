/*
 * display.h - the screen between a VGA and whoever shows it: text, or a picture.
 *
 * A frame is a copy, so that it may be shown without vm->lock. It is also laid
 * into memory shared with the front process: fixed size, no pointers.
 */
#ifndef TINAMOU_DISPLAY_H
#define TINAMOU_DISPLAY_H

#include <stdbool.h>
#include <stdint.h>

#define TEXT_MAX_COLS 80
#define TEXT_MAX_ROWS 50

struct text_cell {
	uint8_t ch;   /* code page 437 */
	uint8_t attr; /* VGA attribute: foreground 3:0, background 6:4, blink 7 */
};

struct text_frame {
	uint16_t cols, rows; /* at most TEXT_MAX_COLS, TEXT_MAX_ROWS */
	struct text_cell cell[TEXT_MAX_COLS * TEXT_MAX_ROWS]; /* row by row, cols a row */
	uint16_t cursor_x, cursor_y;
	bool cursor_on;
	uint64_t generation; /* changes whenever anything visible does */
};

/* A screen as a monitor shows it; not shared between processes. */
struct picture {
	uint32_t width, height;
	uint32_t *pixel; /* row by row, RRGGBB; malloc'ed, NULL if there is none */
};

#endif
