/* control.c - serves a named machine's socket; see control.h. */
#include "cmd/control.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cmd/registry.h"
#include "util/passfd.h"
#include "util/util.h"

struct client {
	int fd; /* -1: free */
	char in[CONTROL_LINE_MAX];
	size_t in_len;
	int passed; /* a descriptor that came with the request, or -1 */
	char *out;  /* answers not taken yet */
	size_t out_len;
	bool asked, status; /* waits for the machine's answer; it is one to status */
	bool console, ended;
	uint64_t seen; /* console: bytes of the serial line that it has */
};

struct control {
	const struct control_ops *ops;
	void *front;
	char *name;
	int lock, listener;
	struct client client[CONTROL_CLIENTS];
	int waiting[CONTROL_CLIENTS * 2]; /* clients by the order of asking; -1: gone since */
	unsigned waiting_count;
	char history[CONTROL_HISTORY]; /* ring: byte n of the line is at n % CONTROL_HISTORY */
	uint64_t said;
};

/* ---- life ---- */

static void drop(struct control *c, struct client *client)
{
	for (unsigned i = 0; i < c->waiting_count; i++)
		if (c->waiting[i] == client - c->client)
			c->waiting[i] = -1;
	close(client->fd);
	if (client->passed >= 0)
		close(client->passed);
	free(client->out);
	*client = (struct client){.fd = -1, .passed = -1};
}

struct control *control_new(
	const char *name, const struct control_ops *ops, void *front, char *err, size_t errlen)
{
	int lock = registry_claim(name, err, errlen), listener;
	struct control *c;

	if (lock < 0)
		return NULL;
	listener = registry_listen(name, err, errlen);
	if (listener < 0) {
		registry_forget(name);
		close(lock);
		return NULL;
	}
	c = xcalloc(1, sizeof(*c));
	*c = (struct control){.ops = ops,
		.front = front,
		.name = xstrdup(name),
		.lock = lock,
		.listener = listener};
	for (unsigned i = 0; i < CONTROL_CLIENTS; i++)
		c->client[i] = (struct client){.fd = -1, .passed = -1};
	return c;
}

void control_close(struct control *c)
{
	if (!c)
		return;
	close(c->lock);
	close(c->listener);
}

void control_free(struct control *c)
{
	if (!c)
		return;
	for (unsigned i = 0; i < CONTROL_CLIENTS; i++)
		if (c->client[i].fd >= 0)
			drop(c, &c->client[i]);
	registry_forget(c->name);
	control_close(c);
	free(c->name);
	free(c);
}

/* ---- answers ---- */

/* false: it took too little for too long, and is cut off. */
static bool flush(struct control *c, struct client *client)
{
	ssize_t n = client->out_len ? send(client->fd, client->out, client->out_len,
					      MSG_NOSIGNAL | MSG_DONTWAIT)
				    : 0;

	if (n < 0 && errno != EAGAIN && errno != EINTR) {
		drop(c, client);
		return false;
	}
	if (n > 0) {
		client->out_len -= (size_t)n;
		memmove(client->out, client->out + n, client->out_len);
	}
	return true;
}

static void say(struct control *c, struct client *client, const char *text, size_t len)
{
	if (client->out_len + len > CONTROL_ANSWER_MAX) {
		drop(c, client);
		return;
	}
	client->out = xrealloc(client->out, client->out_len + len);
	memcpy(client->out + client->out_len, text, len);
	client->out_len += len;
	flush(c, client);
}

/* Takes answer over. */
static void say_json(struct control *c, struct client *client, json_t *answer)
{
	char *text = json_dumps(answer, JSON_COMPACT);
	char *line = xasprintf("%s\n", text ? text : "{\"ok\": false}");

	say(c, client, line, strlen(line));
	free(line);
	free(text);
	json_decref(answer);
}

static void say_ok(struct control *c, struct client *client)
{
	say_json(c, client, json_pack("{s:b}", "ok", 1));
}

static void say_error(struct control *c, struct client *client, const char *why)
{
	say_json(c, client, json_pack("{s:b, s:s}", "ok", 0, "error", why));
}

/* ---- requests ---- */

static void ask(struct control *c, struct client *client, const json_t *request, bool status)
{
	char *text = json_dumps(request, JSON_COMPACT);

	if (c->waiting_count == ARRAY_SIZE(c->waiting)) {
		say_error(c, client, "the machine is busy");
	} else if (c->ops->ask(c->front, text, strlen(text), client->passed)) {
		say_error(c, client, "the machine does not take requests at the moment");
	} else {
		c->waiting[c->waiting_count++] = (int)(client - c->client);
		client->asked = true;
		client->status = status;
	}
	if (client->passed >= 0)
		close(client->passed);
	client->passed = -1;
	free(text);
}

static void start_console(struct control *c, struct client *client)
{
	say_ok(c, client);
	if (client->fd < 0)
		return;
	client->console = true;
	client->seen = c->said > CONTROL_HISTORY ? c->said - CONTROL_HISTORY : 0;
}

static void serve(struct control *c, struct client *client, const char *line, size_t len)
{
	json_error_t error;
	json_t *request = json_loadb(line, len, 0, &error);
	const char *command = json_string_value(json_object_get(request, "command"));

	if (!request)
		say_error(c, client, error.text);
	else if (!command)
		say_error(c, client, "a request is an object with a string called command");
	else if (!strcmp(command, "console"))
		start_console(c, client);
	else if (!strcmp(command, "quit"))
		say_ok(c, client), c->ops->quit(c->front);
	else
		ask(c, client, request, !strcmp(command, "status"));
	json_decref(request);
}

/* Whole lines, one at a time: the next waits for the machine's answer. */
static void serve_lines(struct control *c, struct client *client)
{
	char *end, line[CONTROL_LINE_MAX];
	size_t len;

	while (client->fd >= 0 && !client->asked && !client->console &&
		(end = memchr(client->in, '\n', client->in_len))) {
		len = (size_t)(end - client->in);
		memcpy(line, client->in, len);
		client->in_len -= len + 1;
		memmove(client->in, end + 1, client->in_len);
		serve(c, client, line, len);
	}
	if (client->fd >= 0 && client->console && client->in_len) {
		c->ops->typed(c->front, client->in, client->in_len);
		client->in_len = 0;
	}
	if (client->in_len == sizeof(client->in)) {
		client->in_len = 0;
		client->ended = true;
		say_error(c, client, "too long a request");
	}
}

void control_answer(struct control *c, const char *text, size_t len)
{
	int n = c && c->waiting_count ? c->waiting[0] : -1;
	struct client *client = n < 0 ? NULL : &c->client[n];
	json_t *answer;

	if (!c || !c->waiting_count)
		return;
	memmove(c->waiting, c->waiting + 1, --c->waiting_count * sizeof(c->waiting[0]));
	if (!client)
		return;
	answer = json_loadb(text, len, 0, NULL);
	if (!answer)
		answer = json_pack(
			"{s:b, s:s}", "ok", 0, "error", "the machine's answer is no JSON");
	if (client->status)
		c->ops->describe(c->front, answer);
	client->asked = false;
	say_json(c, client, answer);
	serve_lines(c, client);
}

/* ---- descriptors ---- */

static void keep_descriptor(struct client *client, int fd)
{
	if (client->passed >= 0)
		close(client->passed);
	client->passed = fd;
}

static void receive(struct control *c, struct client *client)
{
	int fd;
	unsigned fds;
	ssize_t n = passfd_receive(client->fd, client->in + client->in_len,
		sizeof(client->in) - client->in_len, &fd, 1, &fds, MSG_DONTWAIT);

	if (fds)
		keep_descriptor(client, fd);
	if (n == 0 && (client->asked || client->out_len)) {
		client->ended = true; /* it says no more, but still listens */
	} else if (n == 0 || (n < 0 && n != -EAGAIN && n != -EINTR)) {
		drop(c, client);
	} else if (n > 0) {
		client->in_len += (size_t)n;
		serve_lines(c, client);
	}
}

static struct client *free_client(struct control *c)
{
	for (unsigned i = 0; i < CONTROL_CLIENTS; i++)
		if (c->client[i].fd < 0)
			return &c->client[i];
	return NULL;
}

/* Who finds no room is cut off. */
static void accept_clients(struct control *c)
{
	for (unsigned i = 0; i < CONTROL_CLIENTS; i++) {
		int fd = accept4(c->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		struct client *client = fd < 0 ? NULL : free_client(c);

		if (client)
			client->fd = fd;
		else if (fd >= 0)
			close(fd);
		else
			return;
	}
}

/* What it has not seen and is still kept; the line goes on whether it reads or not. */
static void show_serial(struct control *c, struct client *client)
{
	while (client->fd >= 0 && client->seen < c->said) {
		uint64_t oldest = c->said > CONTROL_HISTORY ? c->said - CONTROL_HISTORY : 0;
		size_t at, n;
		ssize_t sent;

		client->seen = MAX(client->seen, oldest);
		at = client->seen % CONTROL_HISTORY;
		n = MIN(c->said - client->seen, CONTROL_HISTORY - at);
		sent = send(client->fd, c->history + at, n, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (sent < 0 && errno != EAGAIN && errno != EINTR)
			drop(c, client);
		if (sent <= 0)
			return;
		client->seen += (size_t)sent;
	}
}

void control_serial(struct control *c, const char *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		c->history[(c->said + i) % CONTROL_HISTORY] = bytes[i];
	c->said += len;
	for (unsigned i = 0; i < CONTROL_CLIENTS; i++)
		if (c->client[i].console && !c->client[i].out_len)
			show_serial(c, &c->client[i]);
}

static short wanted(const struct control *c, const struct client *client)
{
	bool behind = client->out_len || (client->console && client->seen < c->said);

	return (short)((client->asked || client->ended ? 0 : POLLIN) | (behind ? POLLOUT : 0));
}

unsigned control_poll(const struct control *c, struct pollfd *p)
{
	unsigned n = 0;

	if (!c)
		return 0;
	p[n++] = (struct pollfd){c->listener, POLLIN, 0};
	for (unsigned i = 0; i < CONTROL_CLIENTS; i++)
		p[n++] = (struct pollfd){c->client[i].fd, wanted(c, &c->client[i]), 0};
	return n;
}

static void client_ready(struct control *c, struct client *client, short events)
{
	if ((events & POLLOUT) && !flush(c, client))
		return;
	if (client->console && !client->out_len)
		show_serial(c, client);
	if (client->fd < 0)
		return;
	if (client->ended &&
		((events & (POLLHUP | POLLERR)) || (!client->asked && !client->out_len)))
		drop(c, client);
	else if (events & (POLLIN | POLLHUP | POLLERR))
		receive(c, client);
}

void control_ready(struct control *c, const struct pollfd *p, unsigned n)
{
	for (unsigned i = 1; i < n; i++)
		if (p[i].revents && c->client[i - 1].fd == p[i].fd && p[i].fd >= 0)
			client_ready(c, &c->client[i - 1], p[i].revents);
	if (n && p[0].revents)
		accept_clients(c);
}
