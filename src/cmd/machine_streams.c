/*
 * machine_streams.c - the ports of a command's streams (--root), between the
 * console device and sockets whose other ends the front has.
 */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cmd/machine.h"

static void set_events(struct stream *s)
{
	if (s->watch)
		loop_set_events(s->watch, (s->in_len || s->ended ? 0 : (uint32_t)EPOLLIN) |
						  (s->full ? (uint32_t)EPOLLOUT : 0));
}

/* What cannot be written because nobody reads is gone. */
static size_t stream_write(void *ctx, const uint8_t *data, size_t len)
{
	struct stream *s = ctx;
	ssize_t n = send(s->fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (n >= 0)
		return (size_t)n;
	if (errno != EAGAIN && errno != EINTR)
		return len;
	s->full = true;
	set_events(s);
	return 0;
}

static void stream_closed(void *ctx)
{
	shutdown(((struct stream *)ctx)->fd, SHUT_WR);
}

static void stream_room(void *ctx)
{
	struct stream *s = ctx;
	size_t n = virtio_ports_input(s->device, s->port, s->in, s->in_len);

	s->in_len -= n;
	memmove(s->in, s->in + n, s->in_len);
	if (s->ended && !s->in_len && !s->told) {
		s->told = true;
		virtio_ports_end(s->device, s->port);
	}
	set_events(s);
}

static void take_input(struct stream *s)
{
	ssize_t n = recv(s->fd, s->in, sizeof(s->in), MSG_DONTWAIT);

	if (n > 0)
		s->in_len = (size_t)n;
	else if (n == 0 || (errno != EAGAIN && errno != EINTR))
		s->ended = true;
	stream_room(s);
}

static void stream_ready(void *ctx, uint32_t events)
{
	struct stream *s = ctx;

	if (events & (EPOLLOUT | EPOLLERR | EPOLLHUP) && s->full) {
		s->full = false;
		set_events(s);
		virtio_ports_writable(s->device, s->port);
	}
	if (events & (EPOLLIN | EPOLLHUP) && !s->in_len && !s->ended)
		take_input(s);
	if (events & (EPOLLERR | EPOLLHUP) && s->ended) { /* both ways: nothing more to watch */
		loop_remove(s->watch);
		s->watch = NULL;
	}
}

int machine_make_streams(struct machine *m, struct board_config *bc)
{
	static const char *const name[STREAMS] = {
		"tinamou.stdin", "tinamou.stdout", "tinamou.stderr", "tinamou.control"};
	struct port_wires wires[STREAMS];

	if (!m->media->has_streams)
		return 0;
	for (unsigned i = 0; i < STREAMS; i++) {
		struct stream *s = &m->stream[i];

		wires[i] =
			(struct port_wires){name[i], stream_write, stream_closed, stream_room, s};
		s->fd = m->media->stream[i];
		s->port = i;
	}
	bc->ports = virtio_ports_new(wires, STREAMS);
	for (unsigned i = 0; i < STREAMS; i++)
		m->stream[i].device = bc->ports;
	return 0;
}

void machine_watch_streams(struct machine *m)
{
	for (unsigned i = 0; m->media->has_streams && i < STREAMS; i++)
		m->stream[i].watch = loop_add(
			m->vm->loop, m->stream[i].fd, EPOLLIN, stream_ready, &m->stream[i]);
}
