/*
 * viewer.h - what the viewers have in common: the picture, events to the run, confinement.
 */
#ifndef TINAMOU_VIEWER_COMMON_H
#define TINAMOU_VIEWER_COMMON_H

#include <stdbool.h>
#include <stdint.h>

#include "host/viewer.h"

struct viewer {
	const struct shared_picture *shared;
	uint32_t seen; /* sequence of the picture that was copied last */
	uint32_t width, height;
	uint32_t *pixel; /* RRGGBB, row by row; ours */
};

/* Maps the picture; false, with a line on standard error: not started by a run. */
bool viewer_open(struct viewer *v);
/* Copies the picture if it changed. Returns whether it did; resized: so did its size. */
bool viewer_update(struct viewer *v, bool *resized);
/* Takes what the run said; false: it is over. Does not wait. */
bool viewer_goes_on(void);

void viewer_key(uint16_t key, bool down);
void viewer_pointer(int dx, int dy, unsigned buttons);
void viewer_closed(void);

enum confinement {
	CONFINE_PARSER, /* memory, descriptors that are open, and accept */
	CONFINE_WINDOW  /* no other program, nobody else's processes, no servers */
};

/* From here on; false, with a line on standard error: not possible. */
bool viewer_confine(enum confinement how);

/* keys.c: numbers as in struct viewer_event; 0: no such key on a PC's keyboard. */
uint16_t key_of_keysym(uint32_t keysym); /* of X11, which VNC sends */
uint16_t key_of_usage(uint32_t usage);   /* of USB HID, page 7, which SDL sends */

#endif
