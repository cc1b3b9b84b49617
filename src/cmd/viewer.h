/*
 * viewer.h - the front's side of a viewer: finds the program, starts it, hears what it says.
 */
#ifndef TINAMOU_CMD_VIEWER_H
#define TINAMOU_CMD_VIEWER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "cmd/config.h"
#include "host/viewer.h"

struct viewer_process {
	int socket, listen; /* -1: none */
	char *unix_path;    /* of listen; removed at the end */
	pid_t pid;
	bool when_drawn; /* a window that is hidden while there is no picture */
};

#define VIEWER_NONE                                                                                \
	{                                                                                          \
		.socket = -1, .listen = -1                                                         \
	}

/*
 * Opens what the viewer of c->display needs beside the picture: for VNC the socket that clients
 * come to, whose address it says. 0, or -1 with a line for the user on standard error.
 */
int viewer_prepare(struct viewer_process *v, const struct config *c);
/* Starts it, with a picture to look at. 0, or -1 with a line for the user. */
int viewer_start(struct viewer_process *v, const struct config *c, int picture);
/* Tells it that the picture changed; it need not listen. */
void viewer_changed(struct viewer_process *v);
/* One event that makes sense; false: there is none, and v->socket is -1 if it is gone. */
bool viewer_hear(struct viewer_process *v, struct viewer_event *e);
/* Ends and forgets it. */
void viewer_stop(struct viewer_process *v);

#endif
