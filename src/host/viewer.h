/*
 * viewer.h - what the run and a viewer, a process of its own that shows the screen, share.
 *
 * The picture is in memory that the machine writes and the viewer reads. Beside it there is a
 * socket of datagrams: to the viewer any one says that the picture changed, and its end that the
 * run is over; from the viewer each is one struct viewer_event. What a viewer says is not trusted.
 */
#ifndef TINAMOU_VIEWER_H
#define TINAMOU_VIEWER_H

#include <stdatomic.h>
#include <stdint.h>

/* Descriptors that a viewer is started with. */
enum {
	VIEWER_FD_PICTURE = 3, /* struct shared_picture, for reading */
	VIEWER_FD_SOCKET,
	VIEWER_FD_LISTEN, /* where its clients come; of the VNC viewer only */
	VIEWER_FDS
};

/* The argument of a window that is hidden, and silent, while there is no picture. */
#define VIEWER_WHEN_DRAWN "when-drawn"

#define PICTURE_MAX_PIXELS (4096 * 1024)

/* An odd count: being written. */
struct shared_picture {
	_Atomic uint32_t sequence;
	uint32_t width, height; /* 0: there is none */
	uint32_t pixel[PICTURE_MAX_PIXELS];
};

enum viewer_event_kind {
	VIEWER_KEY = 1, /* key, down */
	VIEWER_POINTER, /* dx, dy, buttons */
	VIEWER_CLOSE    /* the user closed the window */
};

struct viewer_event {
	uint32_t kind;
	uint16_t key; /* make code of scan set 1, E000h added where the prefix E0h is */
	uint16_t down;
	int16_t dx, dy;   /* right and up positive */
	uint32_t buttons; /* left 1, right 2, middle 4 */
};

#endif
