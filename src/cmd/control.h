/*
 * control.h - the socket of a named machine, served by its front: one JSON
 * object a line each way.
 *
 * {"command": C} with C one of status, console, quit, or what the machine
 * answers (see machine_ask.c); the answer is {"ok": true, ...} or
 * {"ok": false, "error": TEXT}. After console's answer the connection carries
 * the serial line. screenshot comes with a descriptor to write to (SCM_RIGHTS).
 * Clients are of the same user, but may be slow, many or wrong: each has bounded
 * buffers, and none holds up the machine.
 */
#ifndef TINAMOU_CONTROL_H
#define TINAMOU_CONTROL_H

#include <jansson.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>

#define CONTROL_CLIENTS     16
#define CONTROL_DESCRIPTORS (CONTROL_CLIENTS + 1)
#define CONTROL_LINE_MAX    4096   /* of a request */
#define CONTROL_ANSWER_MAX  131072 /* bytes that may wait for a client */
#define CONTROL_HISTORY     65536  /* of the serial line, for who comes later */

struct control;

/* What the front does for a client. */
struct control_ops {
	/* Sends the request to the machine, with a copy of fd unless it is -1; control_answer
	 * follows, in the order of asking. */
	int (*ask)(void *front, const char *request, size_t len, int fd);
	/* Adds what the front knows to the machine's answer to status. */
	void (*describe)(void *front, json_t *status);
	void (*typed)(void *front, const char *bytes, size_t len);
	void (*quit)(void *front);
};

/* Takes the name in the registry. NULL with a line for the user in err. */
struct control *control_new(
	const char *name, const struct control_ops *ops, void *front, char *err, size_t errlen);
/* Who still waits hears no more; gives the name back. */
void control_free(struct control *c);

/* In the process of the machine, which has nothing to do with them. */
void control_close(struct control *c);

/* The descriptors to poll for; at most CONTROL_DESCRIPTORS. Returns their number. */
unsigned control_poll(const struct control *c, struct pollfd *p);
/* What poll said of them, in the same order. */
void control_ready(struct control *c, const struct pollfd *p, unsigned n);

/* The machine's answer to the oldest request that it has not answered. */
void control_answer(struct control *c, const char *text, size_t len);

/* Output of the serial line. */
void control_serial(struct control *c, const char *bytes, size_t len);

#endif
