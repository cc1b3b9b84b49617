/* vsock.c - the machine's end of a guest's AF_VSOCK: packets to and from the server. See vsock.h.
 */
#include "host/vsock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util/util.h"

#define ROOM (1 << 20) /* bytes that may be under way to the server */

struct message {
	struct vsock_header header;
	uint8_t data[VSOCK_IN_MAX];
};

struct vsock {
	int socket;
	uint32_t cid;
	struct loop_fd *watch; /* NULL: the server is gone */
	struct vsock_wires wires;
	bool full, forget; /* the server takes nothing for now; it is to be told */
	bool held;         /* a message that the device had no room for */
	struct message message;
};

static void wait_events(struct vsock *s)
{
	if (s->watch)
		loop_set_events(s->watch, (s->held ? 0 : EPOLLIN) | (s->full ? EPOLLOUT : 0));
}

static void lose(struct vsock *s)
{
	if (s->watch)
		loop_remove(s->watch);
	s->watch = NULL;
	log_warn("the process behind --vsock ended; its connections do not go on");
}

/* What comes from the server is checked: it works for the guest, which may have got hold of it. */
static bool take_message(struct vsock *s)
{
	ssize_t n = recv(s->socket, &s->message, sizeof(s->message), MSG_DONTWAIT | MSG_TRUNC);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n < (ssize_t)sizeof(s->message.header) || n > (ssize_t)sizeof(s->message) ||
		s->message.header.len != (size_t)n - sizeof(s->message.header)) {
		lose(s);
		return false;
	}
	return true;
}

static void deliver(struct vsock *s)
{
	while (s->watch && (s->held || take_message(s))) {
		s->held = s->wires.receive &&
			  !s->wires.receive(s->wires.device, &s->message.header, s->message.data);
		if (s->held)
			break;
	}
	wait_events(s);
}

static void tell_forget(struct vsock *s)
{
	const struct vsock_header h = {.op = VSOCK_FORGET};
	struct iovec iov = {(void *)&h, sizeof(h)};

	s->forget = false;
	s->forget = !vsock_send(s, &iov, 1);
}

static void on_events(void *ctx, uint32_t events)
{
	struct vsock *s = ctx;

	if (events & EPOLLOUT) {
		s->full = false;
		if (s->forget)
			tell_forget(s);
		if (!s->full && s->wires.writable)
			s->wires.writable(s->wires.device);
	}
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR) && !s->held)
		deliver(s);
	else if (events & (EPOLLHUP | EPOLLERR))
		lose(s);
	wait_events(s);
}

bool vsock_send(struct vsock *s, const struct iovec *iov, unsigned n)
{
	const struct msghdr msg = {.msg_iov = (struct iovec *)iov, .msg_iovlen = n};
	ssize_t done;

	if (!s->watch)
		return true;
	if (s->full || s->forget)
		return false;
	do
		done = sendmsg(s->socket, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (done < 0 && errno == EINTR);
	if (done >= 0 || errno != EAGAIN)
		return true;
	s->full = true;
	wait_events(s);
	return false;
}

void vsock_room(struct vsock *s)
{
	if (s->held)
		deliver(s);
}

void vsock_forget(struct vsock *s)
{
	s->held = false;
	s->forget = true;
	if (!s->full)
		tell_forget(s);
	wait_events(s);
}

struct vsock *vsock_new(int socket, uint32_t cid, struct loop *loop)
{
	struct vsock *s = xcalloc(1, sizeof(*s));
	int room = ROOM;

	s->socket = socket;
	s->cid = cid;
	setsockopt(socket, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	s->watch = loop_add(loop, socket, EPOLLIN, on_events, s);
	return s;
}

void vsock_free(struct vsock *s)
{
	if (s->watch)
		loop_remove(s->watch);
	close(s->socket);
	free(s);
}

uint32_t vsock_cid(const struct vsock *s)
{
	return s->cid;
}

void vsock_listen(struct vsock *s, const struct vsock_wires *wires)
{
	s->wires = *wires;
}
