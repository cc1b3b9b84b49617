/*
 * vsock_server.c - the process behind a guest's AF_VSOCK: connections, their
 * credit, and the unix sockets they lead to. See vsock.h.
 *
 * Source: OASIS Virtual I/O Device (VIRTIO) 1.2, 5.10.6. One thread, one event
 * at a time, and none while a packet waits for the machine: so what waits is
 * bounded, as are streams and their buffers. A guest that sends more than it has
 * credit for loses the connection.
 */
#include "host/vsock.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "host/jail.h"
#include "util/util.h"

#define STREAMS      256u
#define BUFFER       65536u      /* from the guest, for a stream that does not take it */
#define QUEUE        4u          /* packets for the machine; an event makes two at most */
#define LINE         32u         /* of a greeting */
#define FIRST_PORT   0x40000000u /* of those who connect from the host */
#define BACKLOG      16
#define MACHINE_ROOM (1 << 20)

enum state { FREE, GREETING, ASKED, OPEN };

struct stream {
	enum state state;
	int fd;
	uint32_t local, peer;                /* ports: the host's, the guest's */
	uint32_t peer_alloc, peer_fwd, sent; /* its buffer, what it has taken out, what it got */
	uint32_t fwd, told;                  /* what we took out of ours, and have told it */
	uint32_t at, len;                    /* what is in ours */
	uint8_t *buf;
	bool eof, no_more, closing; /* of the host's side; the guest sends no more; nor takes */
	char line[LINE];
};

struct packet {
	struct vsock_header h;
	uint8_t data[VSOCK_IN_MAX];
};

struct vsock_server {
	char *path;
	uint32_t cid, next_port;
	int listener, machine, socket; /* socket: the machine's end, until it is started */
	struct stream stream[STREAMS];
	struct packet queue[QUEUE];
	unsigned queued;
	struct vsock_header in; /* and its data follow */
	uint8_t in_data[VSOCK_OUT_MAX];
};

/* ---- packets to the machine ---- */

static bool send_packet(struct vsock_server *s, const struct packet *p)
{
	ssize_t n;

	do
		n = send(s->machine, p, sizeof(p->h) + p->h.len, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n >= 0 || errno != EAGAIN; /* that it is gone is found when reading */
}

static void flush_queue(struct vsock_server *s)
{
	unsigned done = 0;

	while (done < s->queued && send_packet(s, &s->queue[done]))
		done++;
	memmove(s->queue, s->queue + done, (s->queued - done) * sizeof(s->queue[0]));
	s->queued -= done;
}

/* The header and `len` bytes that are in the packet already. */
static void emit(struct vsock_server *s, uint32_t local, uint32_t peer, enum vsock_op op,
	uint32_t flags, struct stream *t, uint32_t len)
{
	struct packet *p = &s->queue[s->queued];

	if (s->queued == QUEUE)
		return;
	p->h = (struct vsock_header){.src_cid = VSOCK_HOST,
		.dst_cid = s->cid,
		.src_port = local,
		.dst_port = peer,
		.len = len,
		.type = VSOCK_STREAM,
		.op = (uint16_t)op,
		.flags = flags};
	if (t) {
		p->h.buf_alloc = BUFFER;
		p->h.fwd_cnt = t->told = t->fwd;
	}
	s->queued++;
	flush_queue(s);
}

static void say(struct vsock_server *s, struct stream *t, enum vsock_op op, uint32_t flags)
{
	emit(s, t->local, t->peer, op, flags, t, 0);
}

/* ---- streams ---- */

static void drop(struct stream *t)
{
	if (t->state == FREE)
		return;
	close(t->fd);
	free(t->buf);
	*t = (struct stream){.state = FREE};
}

static void refuse(struct vsock_server *s, struct stream *t)
{
	if (t->state != GREETING) /* the guest knows of it */
		say(s, t, VSOCK_RST, 0);
	drop(t);
}

static struct stream *find(struct vsock_server *s, uint32_t local, uint32_t peer)
{
	for (unsigned i = 0; i < STREAMS; i++) {
		struct stream *t = &s->stream[i];

		if (t->state > GREETING && t->local == local && t->peer == peer)
			return t;
	}
	return NULL;
}

/* Takes the descriptor over. */
static struct stream *add(struct vsock_server *s, int fd, enum state state)
{
	for (unsigned i = 0; i < STREAMS; i++)
		if (s->stream[i].state == FREE) {
			s->stream[i] = (struct stream){
				.state = state, .fd = fd, .buf = xcalloc(1, BUFFER)};
			return &s->stream[i];
		}
	close(fd);
	return NULL;
}

/* What the guest sent goes on, as far as it is taken. */
static void flush(struct vsock_server *s, struct stream *t)
{
	ssize_t n = 1;

	while (t->len && n > 0) {
		n = send(t->fd, t->buf + t->at, t->len, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			n = 1;
		else if (n > 0)
			t->at += (uint32_t)n, t->len -= (uint32_t)n, t->fwd += (uint32_t)n;
	}
	if (n < 0 && errno != EAGAIN)
		refuse(s, t);
	else if (!t->len && t->closing)
		refuse(s, t);
	else if (!t->len && t->no_more)
		shutdown(t->fd, SHUT_WR);
	if (t->state == OPEN && t->fwd - t->told >= BUFFER / 4)
		say(s, t, VSOCK_CREDIT_UPDATE, 0);
}

/* How much the guest has room for; nonsense is none. */
static uint32_t credit(const struct stream *t)
{
	uint32_t out = t->sent - t->peer_fwd;

	return out > t->peer_alloc ? 0 : t->peer_alloc - out;
}

static void from_host(struct vsock_server *s, struct stream *t, bool hung_up)
{
	struct packet *p = &s->queue[s->queued];
	ssize_t n = recv(t->fd, p->data, MIN(credit(t), VSOCK_IN_MAX), MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0) {
		t->sent += (uint32_t)n;
		emit(s, t->local, t->peer, VSOCK_RW, 0, t, (uint32_t)n);
	} else if (n == 0 && !hung_up) {
		t->eof = true;
		say(s, t, VSOCK_SHUTDOWN, VSOCK_NO_SEND);
	} else {
		say(s, t, VSOCK_SHUTDOWN, VSOCK_NO_SEND | VSOCK_NO_RECEIVE);
		drop(t);
	}
}

/* ---- who connects from the host ---- */

static uint32_t free_port(struct vsock_server *s)
{
	bool taken;

	do {
		taken = false;
		s->next_port = MAX(s->next_port + 1, FIRST_PORT);
		for (unsigned i = 0; i < STREAMS; i++)
			taken |= s->stream[i].state != FREE && s->stream[i].local == s->next_port;
	} while (taken);
	return s->next_port;
}

static void greet(struct vsock_server *s, struct stream *t)
{
	size_t len = strlen(t->line);
	int used = 0;
	char ch = 0;

	while (ch != '\n') {
		ssize_t n = recv(t->fd, &ch, 1, MSG_DONTWAIT);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0 || len == LINE - 1) {
			drop(t);
			return;
		}
		t->line[len++] = ch;
	}
	if (sscanf(t->line, "CONNECT %10u\n%n", &t->peer, &used) != 1 || used != (int)len) {
		drop(t);
		return;
	}
	t->local = free_port(s);
	t->state = ASKED;
	say(s, t, VSOCK_REQUEST, 0);
}

static void answered(struct vsock_server *s, struct stream *t)
{
	char line[LINE];
	int n = snprintf(line, sizeof(line), "OK %u\n", t->local);

	t->state = OPEN;
	if (send(t->fd, line, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL) != n)
		refuse(s, t);
}

/* ---- packets from the guest ---- */

static void asked(struct vsock_server *s, const struct vsock_header *h)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct stream *t = NULL;

	snprintf(at.sun_path, sizeof(at.sun_path), "%s_%u", s->path, h->dst_port);
	if (fd >= 0 && connect(fd, (const struct sockaddr *)&at, sizeof(at)))
		close(fd);
	else if (fd >= 0)
		t = add(s, fd, OPEN);
	if (!t) {
		emit(s, h->dst_port, h->src_port, VSOCK_RST, 0, NULL, 0);
		return;
	}
	t->local = h->dst_port;
	t->peer = h->src_port;
	t->peer_alloc = h->buf_alloc;
	t->peer_fwd = h->fwd_cnt;
	say(s, t, VSOCK_RESPONSE, 0);
}

static void from_guest(struct vsock_server *s, struct stream *t, const uint8_t *data, uint32_t len)
{
	if (t->state != OPEN || t->no_more || len > BUFFER - t->len) {
		refuse(s, t);
		return;
	}
	memmove(t->buf, t->buf + t->at, t->len);
	t->at = 0;
	memcpy(t->buf + t->len, data, len);
	t->len += len;
	flush(s, t);
}

static void shut(struct vsock_server *s, struct stream *t, uint32_t flags)
{
	t->no_more |= flags & VSOCK_NO_SEND;
	t->eof |= flags & VSOCK_NO_RECEIVE;
	t->closing |= t->no_more && t->eof;
	flush(s, t);
}

static void take_packet(struct vsock_server *s, const struct vsock_header *h)
{
	struct stream *t = find(s, h->dst_port, h->src_port);

	if (h->op == VSOCK_FORGET) {
		for (unsigned i = 0; i < STREAMS; i++)
			drop(&s->stream[i]);
		return;
	}
	if (!t && h->op == VSOCK_REQUEST) {
		asked(s, h);
		return;
	}
	if (!t) {
		if (h->op != VSOCK_RST)
			emit(s, h->dst_port, h->src_port, VSOCK_RST, 0, NULL, 0);
		return;
	}
	t->peer_alloc = h->buf_alloc;
	t->peer_fwd = h->fwd_cnt;
	if (h->op == VSOCK_RW)
		from_guest(s, t, s->in_data, h->len);
	else if (h->op == VSOCK_RESPONSE && t->state == ASKED)
		answered(s, t);
	else if (h->op == VSOCK_RST)
		drop(t);
	else if (h->op == VSOCK_SHUTDOWN && t->state == OPEN)
		shut(s, t, h->flags);
	else if (h->op == VSOCK_CREDIT_REQUEST)
		say(s, t, VSOCK_CREDIT_UPDATE, 0);
	else if (h->op != VSOCK_CREDIT_UPDATE)
		refuse(s, t); /* what does not belong here */
}

/* false: the machine is gone. */
static bool from_machine(struct vsock_server *s)
{
	struct iovec iov[2] = {{&s->in, sizeof(s->in)}, {s->in_data, sizeof(s->in_data)}};
	ssize_t n = readv(s->machine, iov, 2);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return true;
	if (n < (ssize_t)sizeof(s->in) || s->in.len != (size_t)n - sizeof(s->in))
		return false;
	take_packet(s, &s->in);
	return true;
}

/* ---- turns ---- */

static struct pollfd watched(const struct stream *t)
{
	short events = 0;

	if (t->state == FREE)
		return (struct pollfd){.fd = -1};
	if (t->state == GREETING || (t->state == OPEN && !t->eof && credit(t)))
		events |= POLLIN;
	if (t->state == OPEN && t->len)
		events |= POLLOUT;
	/* One whose end cannot be passed on yet would wake us for nothing. */
	if (!events && t->state == OPEN && !t->eof)
		return (struct pollfd){.fd = -1};
	return (struct pollfd){t->fd, events, 0};
}

static void stream_ready(struct vsock_server *s, struct stream *t, short events)
{
	bool hung_up = events & (POLLHUP | POLLERR);

	if (t->state == GREETING)
		greet(s, t);
	else if (t->state == OPEN && events & POLLOUT && t->len)
		flush(s, t);
	else if (t->state == OPEN && !t->eof && credit(t))
		from_host(s, t, hung_up);
	else if (hung_up)
		refuse(s, t);
}

static void accept_one(struct vsock_server *s)
{
	int fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd >= 0)
		add(s, fd, GREETING);
}

bool vsock_server_turn(struct vsock_server *s, int timeout_ms)
{
	struct pollfd set[STREAMS + 2];
	unsigned n = s->queued ? 1 : STREAMS + 2;

	set[0] = (struct pollfd){s->machine, s->queued ? POLLOUT : POLLIN, 0};
	set[1] = (struct pollfd){s->listener, POLLIN, 0};
	for (unsigned i = 0; i < STREAMS; i++)
		set[i + 2] = watched(&s->stream[i]);
	if (poll(set, n, timeout_ms) <= 0)
		return true;
	if (s->queued) {
		flush_queue(s);
		return !(set[0].revents & (POLLHUP | POLLERR));
	}
	if (set[0].revents && !from_machine(s))
		return false;
	for (unsigned i = 0; i < STREAMS && !s->queued; i++)
		if (set[i + 2].revents && s->stream[i].fd == set[i + 2].fd)
			stream_ready(s, &s->stream[i], set[i + 2].revents);
	if (set[1].revents && !s->queued)
		accept_one(s);
	return true;
}

int vsock_serve(struct vsock_server *s, bool jail)
{
	close(s->socket);
	s->socket = -1;
	if (jail && (jail_paths(-1, false) || jail_calls(JAIL_VSOCK)))
		return -EPERM;
	while (vsock_server_turn(s, -1))
		;
	return 0;
}

/* ---- opening ---- */

/* A socket that nobody answers at is left over. */
static int listen_at(int fd, const struct sockaddr_un *at)
{
	int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), err = 0;
	struct stat st;

	if (!lstat(at->sun_path, &st)) {
		if (!S_ISSOCK(st.st_mode))
			err = -ENOTSOCK;
		else if (!connect(probe, (const struct sockaddr *)at, sizeof(*at)))
			err = -EADDRINUSE;
		else
			unlink(at->sun_path);
	}
	close(probe);
	if (err)
		return err;
	return bind(fd, (const struct sockaddr *)at, sizeof(*at)) || listen(fd, BACKLOG) ? -errno
											 : 0;
}

static int make_sockets(struct vsock_server *s)
{
	int pair[2], room = MACHINE_ROOM;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair))
		return -errno;
	s->machine = pair[0];
	s->socket = pair[1];
	setsockopt(s->machine, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	s->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	return s->listener < 0 ? -errno : 0;
}

struct vsock_server *vsock_server_open(const char *path, uint32_t cid, char *err, size_t errlen)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	struct vsock_server *s = xcalloc(1, sizeof(*s));
	int rc = strlen(path) + sizeof("_4294967295") > sizeof(at.sun_path) ? -ENAMETOOLONG : 0;

	s->listener = s->machine = s->socket = -1;
	s->path = xstrdup(path);
	s->cid = cid;
	if (!rc)
		rc = make_sockets(s);
	if (!rc) {
		strcpy(at.sun_path, path);
		rc = listen_at(s->listener, &at);
	}
	if (!rc)
		return s;
	snprintf(err, errlen, "--vsock socket=%s: %s", path, strerror(-rc));
	vsock_server_close(s);
	return NULL;
}

void vsock_server_close(struct vsock_server *s)
{
	const int fd[] = {s->listener, s->machine, s->socket};

	for (unsigned i = 0; i < STREAMS; i++)
		drop(&s->stream[i]);
	for (unsigned i = 0; i < ARRAY_SIZE(fd); i++)
		if (fd[i] >= 0)
			close(fd[i]);
	free(s->path);
	free(s);
}

int vsock_server_socket(const struct vsock_server *s)
{
	return s->socket;
}

void vsock_server_fds(const struct vsock_server *s, int fd[VSOCK_SERVER_FDS])
{
	fd[0] = s->listener;
	fd[1] = s->machine;
}
