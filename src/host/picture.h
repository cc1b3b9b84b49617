/*
 * picture.h - pictures out of the machine: into a PNG file, onto a terminal.
 *
 * Lock: none.
 */
#ifndef TINAMOU_PICTURE_H
#define TINAMOU_PICTURE_H

#include <stdbool.h>
#include <stddef.h>

#include "core/display.h"

/* Truecolour, 8 bits a channel. 0 or -errno; -EINVAL: an empty picture. */
int png_write(int fd, const struct picture *p);

/*
 * Bytes that show the picture on a terminal from its top left corner on, at
 * most cols x rows characters; the caller frees them. Half blocks take any
 * terminal with 24-bit colours; sixels need cell_width x cell_height, the
 * pixels of one character. clear: something else is on the terminal.
 */
char *picture_half_blocks(
	const struct picture *p, unsigned cols, unsigned rows, bool clear, size_t *len);
char *picture_sixels(const struct picture *p, unsigned cols, unsigned rows, bool clear,
	unsigned cell_width, unsigned cell_height, size_t *len);

#endif
