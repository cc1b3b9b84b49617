/*
 * fuzz_vsock.c - libFuzzer entry: the input is a script of packets from a guest
 * and of what programs of the host do at the other end of its streams; the
 * server behind AF_VSOCK (host/vsock_server.c) takes both in this process.
 *
 * A step is what, which, and six bytes. Packets name few ports, so that they
 * often meet a stream. What the server says is checked: a header's length is
 * the packet's, and it is for this guest.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "folder.h"
#include "host/vsock.h"
#include "util/util.h"

#define CID     7u
#define PORT    42u /* somebody listens there */
#define STREAMS 8u  /* ends of streams that the host's programs keep */
#define STEPS   200u

struct step {
	uint8_t what, which, data[6];
};

struct fuzz {
	char path[FUZZ_FOLDER + 8];
	struct vsock_server *server;
	int guest, listener, fd[STREAMS]; /* -1: free */
	struct packet {
		struct vsock_header h;
		uint8_t data[VSOCK_OUT_MAX + 64]; /* more than a packet may have */
	} out, in;
	uint32_t port; /* that the server asked from last */
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static int at_path(struct sockaddr_un *at, const char *path)
{
	at->sun_family = AF_UNIX;
	if (strlen(path) >= sizeof(at->sun_path))
		abort();
	strcpy(at->sun_path, path);
	return socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

static void make(struct fuzz *z)
{
	struct sockaddr_un at;
	char err[256], folder[FUZZ_FOLDER], path[sizeof(z->path) + 16];

	fuzz_folder(folder);
	snprintf(z->path, sizeof(z->path), "%s/v", folder);
	z->server = vsock_server_open(z->path, CID, err, sizeof(err));
	if (!z->server)
		abort();
	z->guest = vsock_server_socket(z->server);
	snprintf(path, sizeof(path), "%s_%u", z->path, PORT);
	z->listener = at_path(&at, path);
	if (bind(z->listener, (struct sockaddr *)&at, sizeof(at)) || listen(z->listener, 4))
		abort();
	for (unsigned i = 0; i < STREAMS; i++)
		z->fd[i] = -1;
}

static void hear(struct fuzz *z)
{
	ssize_t n;

	while ((n = recv(z->guest, &z->in, sizeof(z->in), MSG_DONTWAIT)) > 0) {
		if ((size_t)n != sizeof(z->in.h) + z->in.h.len || z->in.h.len > VSOCK_IN_MAX ||
			z->in.h.dst_cid != CID || z->in.h.src_cid != VSOCK_HOST)
			abort();
		if (z->in.h.op == VSOCK_REQUEST)
			z->port = z->in.h.src_port;
	}
}

static void turns(struct fuzz *z, unsigned n)
{
	while (n--)
		if (!vsock_server_turn(z->server, 0))
			abort();
}

static void put(struct fuzz *z, unsigned which, int fd)
{
	if (z->fd[which] >= 0)
		close(z->fd[which]);
	z->fd[which] = fd;
}

/* A packet: its length is what is sent, since the machine's end sees to that. */
static void packet(struct fuzz *z, const struct step *s)
{
	static const uint16_t ops[] = {VSOCK_REQUEST, VSOCK_RESPONSE, VSOCK_RST, VSOCK_SHUTDOWN,
		VSOCK_RW, VSOCK_RW, VSOCK_CREDIT_UPDATE, VSOCK_CREDIT_REQUEST, VSOCK_FORGET, 0, 77};
	uint32_t len = (uint32_t)(s->data[2] << (s->data[3] & 8));

	z->out.h = (struct vsock_header){.src_cid = CID,
		.dst_cid = VSOCK_HOST,
		.src_port = 5000u + (s->which & 3),
		.dst_port = s->which & 4 ? z->port : PORT + (s->which >> 3 & 1),
		.len = MIN(len, VSOCK_OUT_MAX),
		.type = (uint16_t)(s->data[3] & 0x80 ? s->data[1] : VSOCK_STREAM),
		.op = ops[s->data[0] % ARRAY_SIZE(ops)],
		.flags = s->data[1],
		.buf_alloc = (uint32_t)s->data[4] << (s->data[3] & 31),
		.fwd_cnt = (uint32_t)s->data[5] << (s->data[3] >> 5 & 7)};
	if (send(z->guest, &z->out, sizeof(z->out.h) + z->out.h.len, MSG_DONTWAIT) < 0 &&
		errno != EAGAIN)
		abort();
}

/* A program of the host comes, and says who it wants. */
static void connect_host(struct fuzz *z, const struct step *s)
{
	struct sockaddr_un at;
	int fd = at_path(&at, z->path);
	char line[64];
	int n = snprintf(line, sizeof(line), "CONNECT %u\n", 5000u + (s->which & 3));

	if (s->data[0] & 1)
		line[s->data[1] % (unsigned)n] = (char)s->data[2];
	if (connect(fd, (struct sockaddr *)&at, sizeof(at))) {
		close(fd);
		return;
	}
	(void)!send(fd, line, (size_t)(s->data[0] & 2 ? s->data[3] % (n + 1) : n), MSG_NOSIGNAL);
	put(z, s->which % STREAMS, fd);
}

static void talk(struct fuzz *z, const struct step *s)
{
	int *fd = &z->fd[s->which % STREAMS];
	size_t len = (size_t)s->data[1] << (s->data[2] & 8);

	if (*fd < 0)
		return;
	switch (s->data[0] % 5) {
	case 0:
	case 1:
		(void)!send(*fd, z->in.data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
		break;
	case 2:
		(void)!recv(*fd, z->in.data, len, MSG_DONTWAIT);
		break;
	case 3:
		shutdown(*fd, s->data[1] % 3);
		break;
	case 4:
		put(z, s->which % STREAMS, -1);
		break;
	}
}

static void one(struct fuzz *z, const struct step *s)
{
	switch (s->what % 8) {
	case 0:
	case 1:
	case 2:
		packet(z, s);
		break;
	case 3:
		connect_host(z, s);
		break;
	case 4:
		talk(z, s);
		break;
	case 5:
		put(z, s->which % STREAMS, accept(z->listener, NULL, NULL));
		break;
	case 6:
		hear(z);
		break;
	case 7:
		turns(z, s->which & 3);
		break;
	}
	turns(z, 1);
}

/* All streams end, and those who came for nothing are let in and go. */
static void settle(struct fuzz *z)
{
	int fd;

	for (unsigned i = 0; i < STREAMS; i++)
		put(z, i, -1);
	while ((fd = accept(z->listener, NULL, NULL)) >= 0)
		close(fd);
	for (unsigned i = 0; i < 3; i++) {
		hear(z);
		turns(z, 1);
	}
	z->out.h = (struct vsock_header){CID, VSOCK_HOST, 1, 1, 0, VSOCK_STREAM, VSOCK_FORGET};
	if (send(z->guest, &z->out, sizeof(z->out.h), MSG_DONTWAIT) < 0)
		abort();
	turns(z, 2);
	hear(z);
	z->port = 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct fuzz z;
	struct step s;

	if (!z.server)
		make(&z);
	for (unsigned i = 0; i < STEPS && len >= sizeof(s); i++) {
		memcpy(&s, data, sizeof(s));
		one(&z, &s);
		data += sizeof(s);
		len -= sizeof(s);
	}
	settle(&z);
	return 0;
}
