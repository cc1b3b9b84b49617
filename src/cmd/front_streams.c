/*
 * front_streams.c - standard streams of a command in a guest (--root): carried
 * between our descriptors and the machine's ports, and what the guest's init
 * says about the command.
 *
 * A reader that stops holds the guest's writer, all the way. Nothing is written
 * that poll has not found room for, so a full pipe cannot hold the front.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cmd/front.h"
#include "util/util.h"

int front_open_streams(struct front *f)
{
	struct streams *s = &f->streams;
	int pair[2];

	for (unsigned i = 0; i < STREAMS; i++) {
		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair)) {
			log_error("a socket pair: %s", strerror(errno));
			return -errno;
		}
		s->fd[i] = pair[0];
		f->media.stream[i] = pair[1];
	}
	s->on = f->media.has_streams = true;
	s->flow[STREAM_IN].from = STDIN_FILENO;
	s->flow[STREAM_IN].to = s->fd[STREAM_IN];
	s->flow[STREAM_OUT].from = s->fd[STREAM_OUT];
	s->flow[STREAM_OUT].to = STDOUT_FILENO;
	s->flow[STREAM_ERR].from = s->fd[STREAM_ERR];
	s->flow[STREAM_ERR].to = STDERR_FILENO;
	return 0;
}

void front_close_streams(struct front *f, bool machines)
{
	int *fd = machines ? f->media.stream : f->streams.fd;

	for (unsigned i = 0; f->streams.on && i < STREAMS; i++) {
		if (fd[i] >= 0)
			close(fd[i]);
		fd[i] = -1;
	}
}

static void end_input(struct flow *w)
{
	if (w->ended && !w->len && !w->told) {
		shutdown(w->to, SHUT_WR);
		w->told = true;
	}
}

static void fill(struct flow *w)
{
	ssize_t n = read(w->from, w->buf, sizeof(w->buf));

	if (n > 0)
		w->len = (size_t)n;
	else if (n == 0 || (errno != EAGAIN && errno != EINTR))
		w->ended = true;
}

/* Whoever reads our output has gone: as other programs, we end then. */
static void flush(struct front *f, struct flow *w)
{
	ssize_t n = write(w->to, w->buf + w->at, w->len - w->at);

	if (n > 0)
		w->at += (size_t)n;
	else if (n < 0 && errno != EAGAIN && errno != EINTR) {
		w->at = w->len;
		if (w != &f->streams.flow[STREAM_IN])
			front_ask_to_quit(f, MSG_QUIT, SIGPIPE);
	}
	if (w->at == w->len)
		w->at = w->len = 0;
}

void front_stream_type(struct front *f, const char *bytes, size_t len)
{
	struct flow *w = &f->streams.flow[STREAM_IN];

	w->len = MIN(len, sizeof(w->buf));
	memcpy(w->buf, bytes, w->len);
	w->at = 0;
}

bool front_stream_takes(const struct front *f)
{
	return !f->streams.flow[STREAM_IN].len && !f->streams.flow[STREAM_IN].ended;
}

void front_stream_size(struct front *f)
{
	struct winsize w = {0};
	char line[64];
	int n;

	if (!f->streams.on || ioctl(STDOUT_FILENO, TIOCGWINSZ, &w))
		return;
	n = snprintf(line, sizeof(line), "size %u %u\n", w.ws_row, w.ws_col);
	send(f->streams.fd[STREAM_CONTROL], line, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* ---- what init says ---- */

static void heard(struct streams *s, const char *line)
{
	if (sscanf(line, "exit %d", &s->value) == 1)
		s->end = STREAMS_EXIT;
	else if (sscanf(line, "signal %d", &s->value) == 1)
		s->end = STREAMS_SIGNAL;
	else if (!strncmp(line, "fail ", 5))
		s->end = STREAMS_FAIL;
	if (s->end == STREAMS_FAIL)
		snprintf(s->why, sizeof(s->why), "%s", line + 5);
	s->value &= 0xff;
}

/* The first line counts; more than fits is none of ours. */
static void listen_control(struct streams *s)
{
	ssize_t n = read(
		s->fd[STREAM_CONTROL], s->line + s->line_len, sizeof(s->line) - 1 - s->line_len);
	char *end;

	if (n <= 0)
		return;
	s->line_len += (size_t)n;
	s->line[s->line_len] = '\0';
	end = strchr(s->line, '\n');
	if (end && s->end == STREAMS_RUNNING) {
		*end = '\0';
		heard(s, s->line);
	}
}

/* ---- the loop ---- */

void front_stream_interest(struct front *f, struct pollfd p[STREAM_POLLS])
{
	struct streams *s = &f->streams;

	for (unsigned i = 0; i < STREAM_POLLS; i++)
		p[i] = (struct pollfd){-1, 0, 0};
	if (!s->on)
		return;
	for (unsigned i = 0; i < STREAM_CONTROL; i++) {
		const struct flow *w = &s->flow[i];
		bool keys = i == STREAM_IN && f->terminal; /* those go another way: Ctrl-A */

		p[2 * i] = (struct pollfd){w->len || w->ended || keys ? -1 : w->from, POLLIN, 0};
		p[2 * i + 1] = (struct pollfd){w->len ? w->to : -1, POLLOUT, 0};
	}
	p[STREAM_POLLS - 1] =
		(struct pollfd){s->end == STREAMS_RUNNING ? s->fd[STREAM_CONTROL] : -1, POLLIN, 0};
}

static bool flushed(const struct flow *w)
{
	return w->ended && !w->len;
}

/* The command has ended, and all that it wrote is out: so may the machine. */
static void end_if_done(struct front *f)
{
	struct streams *s = &f->streams;

	if (s->end == STREAMS_RUNNING || s->asked || !flushed(&s->flow[STREAM_OUT]) ||
		!flushed(&s->flow[STREAM_ERR]))
		return;
	s->asked = true;
	front_ask_to_quit(f, MSG_QUIT, 0);
}

void front_stream_serve(struct front *f, const struct pollfd p[STREAM_POLLS])
{
	struct streams *s = &f->streams;

	if (!s->on)
		return;
	for (unsigned i = 0; i < STREAM_CONTROL; i++) {
		if (p[2 * i].revents)
			fill(&s->flow[i]);
		if (p[2 * i + 1].revents)
			flush(f, &s->flow[i]);
	}
	end_input(&s->flow[STREAM_IN]);
	if (p[STREAM_POLLS - 1].revents)
		listen_control(s);
	end_if_done(f);
}

void front_stream_drain(struct front *f)
{
	for (unsigned i = STREAM_OUT; f->streams.on && i <= STREAM_ERR; i++) {
		struct flow *w = &f->streams.flow[i];

		while (w->len || !w->ended) {
			if (w->len)
				write_all(w->to, w->buf + w->at, w->len - w->at);
			w->at = w->len = 0;
			fill(w);
			if (!w->len)
				break;
		}
	}
}

/* ---- what the kernel said ---- */

void front_keep_log(struct front *f, const char *text, size_t len)
{
	if (f->backlog_len + len > BACKLOG_MAX) {
		f->backlog_len = BACKLOG_MAX / 2;
		memmove(f->backlog, f->backlog + BACKLOG_MAX / 2, f->backlog_len);
	}
	memcpy(f->backlog + f->backlog_len, text, len);
	f->backlog_len += len;
	if (f->config.verbose)
		write_all(STDERR_FILENO, text, len);
}

bool front_kernel_panicked(const struct front *f)
{
	static const char said[] = "Kernel panic";

	return memmem(f->backlog, f->backlog_len, said, sizeof(said) - 1) != NULL;
}

#define TAIL 4000 /* bytes to show */

void front_show_log(const struct front *f)
{
	size_t from = f->backlog_len > TAIL ? f->backlog_len - TAIL : 0;

	if (!f->config.verbose)
		write_all(STDERR_FILENO, f->backlog + from, f->backlog_len - from);
}
