/*
 * net.c - back ends of network cards. See net.h.
 *
 * On sockets a message is a frame with its header in front (SOCK_SEQPACKET); a
 * tap device reads and writes the same bytes (Linux: Documentation/networking/
 * tuntap). Frames are taken in batches; what the device has no room for stays
 * here, and the rest in the socket. Lock: vm->lock.
 */
#include "host/net.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "util/util.h"

#define BATCH       16u
#define SOCKET_ROOM (1 << 20)
#define HEADER      sizeof(struct net_header)

/* One received message. */
struct slot {
	struct net_header header;
	uint8_t frame[NET_FRAME_MAX];
};

struct net {
	struct netdev dev;
	enum net_kind kind;
	const char *name;
	struct loop *loop;
	int fd, listener; /* -1: none */
	struct loop_fd *watch, *listen_watch;
	uint32_t events; /* that are waited for */
	bool full;       /* the other side takes nothing for now */
	struct slot slot[BATCH];
	size_t len[BATCH];   /* of messages */
	unsigned from, held; /* those not delivered: slot[from] to slot[held - 1] */
};

static void disconnect(struct net *n);

/* ---- events ---- */

/* Input is waited for only while there is room for it. */
static void wait_events(struct net *n)
{
	uint32_t events = (n->from < n->held ? 0 : EPOLLIN) | (n->full ? EPOLLOUT : 0);

	if (n->watch && events != n->events)
		loop_set_events(n->watch, n->events = events);
}

static bool gone(int error)
{
	return error != EAGAIN && error != EINTR && error != ENOBUFS && error != ENOMEM &&
	       error != EMSGSIZE && error != EINVAL && error != EIO;
}

/* ---- to the outside ---- */

static bool net_send(void *backend, const struct iovec *iov, unsigned count)
{
	struct net *n = backend;
	const struct msghdr msg = {.msg_iov = (struct iovec *)iov, .msg_iovlen = count};
	ssize_t done;

	if (n->fd < 0)
		return true;
	if (n->full)
		return false;
	do
		done = n->kind == NET_TAP ? writev(n->fd, iov, (int)count)
					  : sendmsg(n->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (done < 0 && errno == EINTR);
	if (done >= 0)
		return true;
	if (errno != EAGAIN)
		return true; /* lost; that the other side is gone, the loop is told */
	n->full = true;
	wait_events(n);
	return false;
}

/* ---- from the outside ---- */

/* One message into a slot; an empty one is the end: nobody sends one. */
static ssize_t read_message(struct net *n, struct slot *s)
{
	struct iovec iov = {s, sizeof(*s)};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t len = recvmsg(n->fd, &msg, MSG_DONTWAIT);

	if (!len) {
		errno = ECONNRESET;
		return -1;
	}
	return len > 0 && msg.msg_flags & MSG_TRUNC ? 1 : len; /* too short to be a frame */
}

/* How many messages came; -1 with errno. */
static int read_messages(struct net *n)
{
	unsigned count = 0;
	ssize_t len = 0;

	while (count < BATCH && (len = read_message(n, &n->slot[count])) > 0)
		n->len[count++] = (size_t)len;
	return count ? (int)count : -1;
}

static int read_tap(struct net *n)
{
	unsigned count = 0;
	ssize_t len = 0;

	while (count < BATCH && (len = read(n->fd, &n->slot[count], sizeof(n->slot[0]))) > 0)
		n->len[count++] = (size_t)len;
	return count ? (int)count : len < 0 ? -1 : 0;
}

/* As far as the device takes them. */
static void deliver(struct net *n)
{
	bool room = true;

	while (n->dev.device && n->from < n->held && room) {
		struct slot *s = &n->slot[n->from];
		size_t len = n->len[n->from];

		room = len < HEADER ||
		       n->dev.receive(n->dev.device, &s->header, s->frame, len - HEADER);
		n->from += room;
	}
	if (n->dev.device)
		n->dev.received(n->dev.device);
	wait_events(n);
}

static void receive(struct net *n)
{
	int count;

	if (n->from < n->held)
		return;
	count = n->kind == NET_TAP ? read_tap(n) : read_messages(n);
	n->from = 0;
	n->held = (unsigned)MAX(count, 0);
	if (count > 0)
		deliver(n);
	else if (count < 0 && gone(errno))
		disconnect(n);
}

static void net_room(void *backend)
{
	struct net *n = backend;

	if (n->from < n->held)
		deliver(n);
}

static void on_events(void *ctx, uint32_t events)
{
	struct net *n = ctx;

	if (events & EPOLLOUT) {
		n->full = false;
		wait_events(n);
		if (n->dev.device)
			n->dev.writable(n->dev.device);
	}
	if (n->fd >= 0 && events & EPOLLIN)
		receive(n);
	else if (n->fd >= 0 && events & (EPOLLHUP | EPOLLERR))
		disconnect(n);
}

/* ---- the link ---- */

static void set_link(struct net *n, bool up)
{
	n->dev.link = up;
	if (n->dev.device)
		n->dev.link_changed(n->dev.device);
}

static void connect_fd(struct net *n, int fd)
{
	n->fd = fd;
	n->full = false;
	n->from = n->held = 0;
	n->watch = loop_add(n->loop, fd, n->events = EPOLLIN, on_events, n);
	set_link(n, n->watch != NULL);
}

static void disconnect(struct net *n)
{
	static const char *const what[] = {
		[NET_HELPER] = "the process of its user mode network ended",
		[NET_PEER] = "the other machine went away",
		[NET_LISTEN] = "the other machine went away",
		[NET_TAP] = "its tap device is gone",
	};

	if (n->fd < 0)
		return;
	log_warn("%s: %s; the link is down", n->name, what[n->kind]);
	if (n->watch)
		loop_remove(n->watch);
	n->watch = NULL;
	close(n->fd);
	n->fd = -1;
	n->from = n->held = 0;
	set_link(n, false);
	if (n->dev.device)
		n->dev.writable(n->dev.device); /* what waits is dropped */
}

static void on_peer(void *ctx, uint32_t events)
{
	struct net *n = ctx;
	int fd = accept4(n->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	if (n->fd >= 0) {
		close(fd); /* there is one */
		return;
	}
	log_info("%s: another machine came; the link is up", n->name);
	connect_fd(n, fd);
}

/* ---- life ---- */

struct net *net_new(const struct net_link *l, const char *name, struct loop *loop)
{
	struct net *n = xcalloc(1, sizeof(*n));
	int room = SOCKET_ROOM;

	n->kind = l->kind;
	n->name = name;
	n->loop = loop;
	n->fd = n->listener = -1;
	n->dev.send = net_send;
	n->dev.room = net_room;
	n->dev.backend = n;
	if (l->kind == NET_LISTEN) {
		n->listener = l->fd;
		n->listen_watch = loop_add(loop, l->fd, EPOLLIN, on_peer, n);
	} else {
		setsockopt(l->fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room)); /* a tap has none */
		connect_fd(n, l->fd);
	}
	return n;
}

void net_free(struct net *n)
{
	if (n->watch)
		loop_remove(n->watch);
	if (n->listen_watch)
		loop_remove(n->listen_watch);
	if (n->fd >= 0)
		close(n->fd);
	if (n->listener >= 0)
		close(n->listener);
	free(n);
}

struct netdev *net_dev(struct net *n)
{
	return &n->dev;
}

/* ---- opening ---- */

int net_open_tap(struct net_link *l, const char *name, char *err, size_t errlen)
{
	struct ifreq r = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	int header = HEADER;

	if (fd < 0)
		return fail_line(
			err, errlen, "--net tap=%s: /dev/net/tun: %s", name, strerror(errno));
	if (strlen(name) >= sizeof(r.ifr_name)) {
		close(fd);
		return fail_line(err, errlen, "--net tap=%s: a name has at most 15 letters", name);
	}
	strcpy(r.ifr_name, name);
	if (ioctl(fd, TUNSETIFF, &r) || ioctl(fd, TUNSETVNETHDRSZ, &header) ||
		ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6)) {
		fail_line(err, errlen,
			"--net tap=%s: %s; make one of your own with: sudo ip tuntap add %s mode "
			"tap user $USER",
			name, strerror(errno), name);
		close(fd);
		return -1;
	}
	l->kind = NET_TAP;
	l->fd = fd;
	return 0;
}

static int listen_at(int fd, const struct sockaddr_un *at)
{
	struct stat st;

	/* One that nobody answered at; connecting to another file looks the same. */
	if (!lstat(at->sun_path, &st)) {
		if (!S_ISSOCK(st.st_mode))
			return -ENOTSOCK;
		unlink(at->sun_path);
	}
	return bind(fd, (const struct sockaddr *)at, sizeof(*at)) || listen(fd, 1) ? -errno : 0;
}

int net_open_socket(struct net_link *l, const char *path, char *err, size_t errlen)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int rc = 0;

	if (fd < 0)
		return fail_line(err, errlen, "--net socket=%s: %s", path, strerror(errno));
	if (strlen(path) >= sizeof(at.sun_path)) {
		close(fd);
		return fail_line(err, errlen, "--net socket=%s: the path is too long", path);
	}
	strcpy(at.sun_path, path);
	l->fd = fd;
	l->kind = NET_PEER;
	if (!connect(fd, (const struct sockaddr *)&at, sizeof(at)))
		return 0;
	l->kind = NET_LISTEN;
	rc = errno == ENOENT || errno == ECONNREFUSED ? listen_at(fd, &at) : -errno;
	if (!rc)
		return 0;
	close(fd);
	return fail_line(err, errlen, "--net socket=%s: %s", path, strerror(-rc));
}
