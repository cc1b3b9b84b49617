/*
 * net.c - tinamou-net: the user mode network of one network card, as a process
 * of its own around libslirp, which plays DHCP, DNS and the far end of every
 * connection with ordinary sockets. No privileges are needed.
 *
 *     tinamou-net MTU HOSTNAME [tcp|udp:ADDRESS:PORT:GUESTPORT]...
 *
 * Descriptor 3 is a SOCK_SEQPACKET socket: a message is a frame with struct
 * net_header in front. A byte goes to descriptor 4 when all ports are open. It
 * ends with the socket. The guest sees 10.0.2.0/24: the host at .2, DNS at .3,
 * itself at .15. What it may do then is in confine(). One thread, no lock.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <libslirp.h>
#include <poll.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "host/frame.h"
#include "host/jail.h"
#include "util/util.h"

#define SOCKET_FD   3
#define READY_FD    4
#define BATCH       16u
#define SOCKET_ROOM (1 << 20)
#define QUEUE_MAX   1024u /* frames that wait for the machine */
#define NETWORK     0x0a000200u
#define MASK        0xffffff00u
#define HEADER      sizeof(struct net_header)

/* A frame on its way to the machine, header and all. */
struct frame {
	struct frame *next;
	size_t len;
	uint8_t bytes[];
};

struct timer {
	struct timer *next;
	SlirpTimerCb fn;
	void *ctx;
	int64_t at; /* ms, -1: not armed */
};

struct helper {
	Slirp *slirp;
	struct frame *first, **last;
	unsigned queued;
	struct timer *timers;
	struct pollfd *poll;
	size_t polls, room;
	struct message {
		struct net_header header;
		uint8_t frame[NET_FRAME_MAX];
	} in[BATCH];
};

/* ---- frames to the machine ---- */

static bool send_now(const void *bytes, size_t len)
{
	struct net_header header = {.flags = NET_DATA_VALID};
	struct iovec iov[2] = {{&header, HEADER}, {(void *)bytes, len}};
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};

	return sendmsg(SOCKET_FD, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0 || errno != EAGAIN;
}

/* What the machine has no room for waits; with too much of it frames are lost, as on a wire. */
static ssize_t send_packet(const void *bytes, size_t len, void *ctx)
{
	struct helper *h = ctx;
	struct frame *f;

	if (len > NET_FRAME_MAX || h->queued == QUEUE_MAX || (!h->first && send_now(bytes, len)))
		return (ssize_t)len;
	f = xcalloc(1, sizeof(*f) + len);
	f->len = len;
	memcpy(f->bytes, bytes, len);
	*h->last = f;
	h->last = &f->next;
	h->queued++;
	return (ssize_t)len;
}

static void flush_queue(struct helper *h)
{
	while (h->first && send_now(h->first->bytes, h->first->len)) {
		struct frame *f = h->first;

		h->first = f->next;
		h->queued--;
		free(f);
	}
	if (!h->first)
		h->last = &h->first;
}

/* ---- frames from the machine ---- */

static void take_frame(struct helper *h, struct message *m, size_t len)
{
	if (len <= HEADER || !frame_header_valid(&m->header, len - HEADER))
		return;
	frame_checksum(&m->header, m->frame, len - HEADER); /* long segments go in as one */
	slirp_input(h->slirp, m->frame, (int)(len - HEADER));
}

/* false: the machine is gone. */
static bool take_frames(struct helper *h)
{
	struct iovec iov[BATCH];
	struct mmsghdr msg[BATCH];
	int count;

	for (unsigned i = 0; i < BATCH; i++) {
		iov[i] = (struct iovec){&h->in[i], sizeof(h->in[i])};
		msg[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &iov[i], .msg_iovlen = 1}};
	}
	count = recvmmsg(SOCKET_FD, msg, BATCH, MSG_DONTWAIT, NULL);
	if (count < 0)
		return errno == EAGAIN || errno == EINTR;
	for (int i = 0; i < count; i++)
		if (!(msg[i].msg_hdr.msg_flags & MSG_TRUNC))
			take_frame(h, &h->in[i], msg[i].msg_len);
	return count > 0 && msg[0].msg_len > 0;
}

/* ---- what libslirp asks for ---- */

static int64_t now_ns(void *ctx)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * INT64_C(1000000000) + ts.tv_nsec;
}

static int64_t now_ms(void)
{
	return now_ns(NULL) / 1000000;
}

static void *timer_new(SlirpTimerCb fn, void *fn_ctx, void *ctx)
{
	struct helper *h = ctx;
	struct timer *t = xcalloc(1, sizeof(*t));

	*t = (struct timer){h->timers, fn, fn_ctx, -1};
	h->timers = t;
	return t;
}

static void timer_free(void *timer, void *ctx)
{
	struct helper *h = ctx;
	struct timer **p = &h->timers;

	while (*p && *p != timer)
		p = &(*p)->next;
	if (*p)
		*p = (*p)->next;
	free(timer);
}

static void timer_mod(void *timer, int64_t at, void *ctx)
{
	((struct timer *)timer)->at = at;
}

static void run_timers(struct helper *h)
{
	for (struct timer *t = h->timers, *next; t; t = next) {
		next = t->next;
		if (t->at >= 0 && t->at <= now_ms()) {
			t->at = -1;
			t->fn(t->ctx);
		}
	}
}

static int timers_timeout(struct helper *h, uint32_t timeout)
{
	int64_t now = now_ms(), left = timeout > INT32_MAX ? INT32_MAX : timeout;

	for (struct timer *t = h->timers; t; t = t->next)
		if (t->at >= 0)
			left = MIN(left, MAX(t->at - now, 0));
	return left == INT32_MAX ? -1 : (int)left;
}

/* What the guest did wrong is between the two of them. */
static void guest_error(const char *message, void *ctx)
{
}

static void ignore_fd(int fd, void *ctx)
{
}

static void notify(void *ctx)
{
}

static int add_poll(int fd, int events, void *ctx)
{
	struct helper *h = ctx;
	short wanted = (short)((events & SLIRP_POLL_IN ? POLLIN : 0) |
			       (events & SLIRP_POLL_OUT ? POLLOUT : 0) |
			       (events & SLIRP_POLL_PRI ? POLLPRI : 0));

	if (h->polls == h->room) {
		h->room = h->room * 2 + 64;
		h->poll = xrealloc(h->poll, h->room * sizeof(*h->poll));
	}
	h->poll[h->polls] = (struct pollfd){fd, wanted, 0};
	return (int)h->polls++;
}

static int get_events(int index, void *ctx)
{
	short r = ((struct helper *)ctx)->poll[index].revents;

	return (r & POLLIN ? SLIRP_POLL_IN : 0) | (r & POLLOUT ? SLIRP_POLL_OUT : 0) |
	       (r & POLLPRI ? SLIRP_POLL_PRI : 0) | (r & POLLERR ? SLIRP_POLL_ERR : 0) |
	       (r & POLLHUP ? SLIRP_POLL_HUP : 0);
}

/* ---- start ---- */

static struct in_addr address(uint32_t host)
{
	return (struct in_addr){htonl(NETWORK | host)};
}

static void start_slirp(struct helper *h, unsigned mtu, const char *hostname)
{
	static const SlirpCb callbacks = {.send_packet = send_packet,
		.guest_error = guest_error,
		.clock_get_ns = now_ns,
		.timer_new = timer_new,
		.timer_free = timer_free,
		.timer_mod = timer_mod,
		.register_poll_fd = ignore_fd,
		.unregister_poll_fd = ignore_fd,
		.notify = notify};
	SlirpConfig c = {.version = 1,
		.in_enabled = true,
		.vnetwork = address(0),
		.vnetmask = {htonl(MASK)},
		.vhost = address(2),
		.vnameserver = address(3),
		.vdhcp_start = address(15),
		.in6_enabled = true,
		.vprefix_len = 64,
		.vhostname = *hostname ? hostname : NULL,
		.if_mtu = mtu,
		.if_mru = mtu};

	inet_pton(AF_INET6, "fec0::", &c.vprefix_addr6);
	inet_pton(AF_INET6, "fec0::2", &c.vhost6);
	inet_pton(AF_INET6, "fec0::3", &c.vnameserver6);
	h->last = &h->first;
	h->slirp = slirp_new(&c, &callbacks, h);
}

/* As config_net_forward writes it. */
static bool open_port(struct helper *h, const char *text)
{
	unsigned a[4], port, guest;
	struct in_addr at;
	char proto[4];

	if (sscanf(text, "%3[a-z]:%u.%u.%u.%u:%u:%u", proto, &a[0], &a[1], &a[2], &a[3], &port,
		    &guest) != 7)
		return false;
	at.s_addr = htonl(a[0] << 24 | a[1] << 16 | a[2] << 8 | a[3]);
	if (!slirp_add_hostfwd(
		    h->slirp, !strcmp(proto, "udp"), at, (int)port, address(15), (int)guest))
		return true;
	log_error("--net user: port %s: %s", text, strerror(errno));
	return false;
}

/* ---- the jail ---- */

static int allow(scmp_filter_ctx jail)
{
	static const int calls[] = {SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(readv),
		SCMP_SYS(writev), SCMP_SYS(close), SCMP_SYS(fstat), SCMP_SYS(newfstatat),
		SCMP_SYS(stat), SCMP_SYS(lseek), SCMP_SYS(poll), SCMP_SYS(ppoll), SCMP_SYS(connect),
		SCMP_SYS(bind), SCMP_SYS(listen), SCMP_SYS(accept), SCMP_SYS(accept4),
		SCMP_SYS(getsockname), SCMP_SYS(getpeername), SCMP_SYS(setsockopt),
		SCMP_SYS(getsockopt), SCMP_SYS(shutdown), SCMP_SYS(sendto), SCMP_SYS(sendmsg),
		SCMP_SYS(sendmmsg), SCMP_SYS(recvfrom), SCMP_SYS(recvmsg), SCMP_SYS(recvmmsg),
		SCMP_SYS(ioctl), SCMP_SYS(fcntl), SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(brk),
		SCMP_SYS(madvise), SCMP_SYS(futex), SCMP_SYS(clock_gettime), SCMP_SYS(gettimeofday),
		SCMP_SYS(getrandom), SCMP_SYS(getpid), SCMP_SYS(gettid), SCMP_SYS(rt_sigprocmask),
		SCMP_SYS(rt_sigreturn), SCMP_SYS(restart_syscall), SCMP_SYS(exit),
		SCMP_SYS(exit_group)};
	int err = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(calls) && !err; i++)
		err = seccomp_rule_add(jail, SCMP_ACT_ALLOW, calls[i], 0);
	for (int family = AF_INET; family <= AF_INET6 && !err; family += AF_INET6 - AF_INET)
		err = seccomp_rule_add(jail, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
			SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)family));
	/* resolv.conf is looked at again when it changes; nothing is written. */
	if (!err)
		err = seccomp_rule_add(jail, SCMP_ACT_ALLOW, SCMP_SYS(openat), 1,
			SCMP_A2(SCMP_CMP_MASKED_EQ, O_ACCMODE | O_CREAT | O_TRUNC, O_RDONLY));
	for (unsigned i = 0; i < 2 && !err; i++)
		err = seccomp_rule_add(jail, SCMP_ACT_ALLOW,
			i ? SCMP_SYS(mprotect) : SCMP_SYS(mmap), 1,
			SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	return err;
}

/*
 * Who serves names may change: its file may be read, or all of its folder where that is not /etc,
 * since such a file is replaced by a new one.
 */
static int confine_paths(void)
{
	char *path = realpath("/etc/resolv.conf", NULL);
	char *slash = path ? strrchr(path, '/') : NULL;
	int fd = -1, err;

	if (slash && slash != path && strncmp(path, "/etc/", 5) != 0)
		*slash = '\0';
	if (path)
		fd = open(path, O_PATH | O_CLOEXEC);
	err = jail_paths(fd, true);
	if (fd >= 0)
		close(fd);
	free(path);
	return err;
}

/* Sockets are its job. No program, no other process, no file to write, no new code. */
static int confine(void)
{
	struct rlimit none = {0, 0};
	scmp_filter_ctx jail;
	int err;

	setrlimit(RLIMIT_CORE, &none);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_DUMPABLE, 0))
		return -errno;
	err = confine_paths();
	if (err)
		return err;
	jail = seccomp_init(SCMP_ACT_KILL_PROCESS);
	if (!jail)
		return -ENOMEM;
	err = allow(jail);
	if (!err)
		err = seccomp_load(jail);
	seccomp_release(jail);
	return err;
}

/* ---- the loop ---- */

static void serve(struct helper *h)
{
	bool alive = true;

	while (alive) {
		uint32_t timeout = UINT32_MAX;
		int n;

		h->polls = 0;
		add_poll(SOCKET_FD, SLIRP_POLL_IN | (h->first ? SLIRP_POLL_OUT : 0), h);
		slirp_pollfds_fill(h->slirp, &timeout, add_poll, h);
		n = poll(h->poll, h->polls, timers_timeout(h, timeout));
		run_timers(h);
		if (n > 0 && h->poll[0].revents & POLLOUT)
			flush_queue(h);
		if (n > 0 && h->poll[0].revents & ~POLLOUT)
			alive = take_frames(h);
		slirp_pollfds_poll(h->slirp, n < 0, get_events, h);
	}
}

/* A terminal's signals are for the front; the machine's end is ours. */
static void settle(void)
{
	static const int fronts_signals[] = {
		SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGWINCH, SIGPIPE};
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), room = SOCKET_ROOM;

	dup2(null, STDIN_FILENO);
	dup2(null, STDOUT_FILENO);
	fcntl(SOCKET_FD, F_SETFD, FD_CLOEXEC);
	setsockopt(SOCKET_FD, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	for (unsigned i = 0; i < ARRAY_SIZE(fronts_signals); i++)
		signal(fronts_signals[i], SIG_IGN);
}

int main(int argc, char **argv)
{
	static struct helper h;
	int err;

	if (argc < 3 || fcntl(SOCKET_FD, F_GETFD) < 0) {
		fputs("tinamou-net is started by tinamou run --net user\n", stderr);
		return 2;
	}
	settle();
	start_slirp(&h, (unsigned)atoi(argv[1]), argv[2]);
	for (int i = 3; i < argc; i++)
		if (!open_port(&h, argv[i]))
			return 1;
	err = confine();
	if (err) {
		log_error("--net user: no jail: %s", strerror(-err));
		return 1;
	}
	if (write(READY_FD, "", 1) != 1)
		return 1;
	close(READY_FD);
	serve(&h);
	return 0;
}
