/*
 * viewer.c - starts the programs that show the screen (src/helper/); see host/viewer.h.
 *
 * They are beside the program, or in ../libexec/tinamou. VNC listens on this host only: it asks for
 * no password.
 */
#include "cmd/viewer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd/helper.h"
#include "util/util.h"

#define VNC_PORT      5900
#define VNC_PORTS     100 /* tried one after the other */
#define VNC_BACKLOG   4
#define KEY_MAX       0x7f
#define KEY_EXTENSION 0xe000

/* ---- addresses ---- */

/* [HOST:]PORT; false: not one, or not on this host. */
static bool inet_address(const char *text, struct sockaddr_in *a)
{
	const char *colon = strrchr(text, ':');
	const char *port = colon ? colon + 1 : text;
	char host[64] = "127.0.0.1", *end;
	unsigned long n = strtoul(port, &end, 10);

	if (*end || end == port || n < 1 || n > 65535)
		return false;
	if (colon && colon > text)
		snprintf(host, sizeof(host), "%.*s", (int)(colon - text), text);
	if (!strcmp(host, "localhost"))
		snprintf(host, sizeof(host), "127.0.0.1");
	*a = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)n)};
	return inet_pton(AF_INET, host, &a->sin_addr) == 1 &&
	       ntohl(a->sin_addr.s_addr) >> 24 == 127;
}

bool viewer_address_ok(const char *addr)
{
	struct sockaddr_in in;

	if (strchr(addr, '/'))
		return strlen(addr) < sizeof(((struct sockaddr_un *)0)->sun_path);
	return inet_address(addr, &in);
}

static int listen_at(struct viewer_process *v, const void *addr, socklen_t len, int family)
{
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

	if (fd < 0)
		return -errno;
	if (family == AF_INET)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, addr, len) || listen(fd, VNC_BACKLOG)) {
		int error = errno;

		close(fd);
		return -error;
	}
	v->listen = fd;
	return 0;
}

/* For its owner alone. A path that is there already stays. */
static int listen_unix(struct viewer_process *v, const char *path)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	mode_t mask = umask(0177);
	int rc;

	snprintf(un.sun_path, sizeof(un.sun_path), "%s", path);
	rc = listen_at(v, &un, sizeof(un), AF_UNIX);
	umask(mask);
	if (rc)
		return rc;
	v->unix_path = xstrdup(path);
	log_info("VNC at %s", path);
	return 0;
}

static int listen_inet(struct viewer_process *v, const char *text)
{
	struct sockaddr_in in;
	int rc, tries = text ? 1 : VNC_PORTS;

	inet_address(text ? text : "5900", &in);
	do {
		rc = listen_at(v, &in, sizeof(in), AF_INET);
		if (rc)
			in.sin_port = htons((uint16_t)(ntohs(in.sin_port) + 1));
	} while (rc == -EADDRINUSE && --tries);
	if (!rc)
		log_info("VNC at %s:%u", inet_ntoa(in.sin_addr), ntohs(in.sin_port));
	return rc;
}

static int open_listen(struct viewer_process *v, const char *addr)
{
	int rc = addr && strchr(addr, '/') ? listen_unix(v, addr) : listen_inet(v, addr);

	if (rc)
		log_error(
			"--display vnc%s%s: %s", addr ? "=" : "", addr ? addr : "", strerror(-rc));
	return rc ? -1 : 0;
}

/* ---- the program ---- */

static const char *program_of(const struct config *c)
{
	return c->display == DISPLAY_VNC ? "tinamou-vnc" : "tinamou-window";
}

int viewer_prepare(struct viewer_process *v, const struct config *c)
{
	char *path = helper_find(program_of(c));

	if (!path) {
		log_error("--display %s: the program %s is not installed; it comes with "
			  "'make install', not with the single static file",
			c->display == DISPLAY_VNC ? "vnc" : "window", program_of(c));
		return -1;
	}
	free(path);
	return c->display == DISPLAY_VNC ? open_listen(v, c->display_address) : 0;
}

/* Above what they are moved to, so that none is overwritten. */
static void give(const int *fd)
{
	int high[VIEWER_FDS] = {0};

	for (int i = VIEWER_FD_PICTURE; i < VIEWER_FDS; i++)
		high[i] = fd[i] < 0 ? -1 : fcntl(fd[i], F_DUPFD_CLOEXEC, VIEWER_FDS);
	for (int i = VIEWER_FD_PICTURE; i < VIEWER_FDS; i++)
		if (high[i] >= 0)
			dup2(high[i], i);
}

static void become_viewer(const char *path, const int *fd)
{
	sigset_t none;

	sigemptyset(&none);
	give(fd);
	/* The terminal's signals are for the front, which ends us by the socket. */
	setpgid(0, 0);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execl(path, path, (char *)NULL);
	_exit(127);
}

int viewer_start(struct viewer_process *v, const struct config *c, int picture)
{
	int pair[2], fd[VIEWER_FDS];
	char *path = helper_find(program_of(c));

	if (!path || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair)) {
		free(path);
		return -1;
	}
	fd[VIEWER_FD_PICTURE] = picture;
	fd[VIEWER_FD_SOCKET] = pair[1];
	fd[VIEWER_FD_LISTEN] = v->listen;
	fflush(NULL);
	v->pid = fork();
	if (!v->pid)
		become_viewer(path, fd);
	close(pair[1]);
	free(path);
	if (v->listen >= 0)
		close(v->listen);
	v->listen = -1;
	v->socket = pair[0];
	return v->pid < 0 ? -1 : 0;
}

void viewer_changed(struct viewer_process *v)
{
	if (v->socket >= 0)
		send(v->socket, "", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static bool makes_sense(const struct viewer_event *e)
{
	uint16_t key = e->key;

	if (e->kind == VIEWER_KEY)
		return key == 0xe11d || ((key & 0xff) <= KEY_MAX &&
						(key >> 8 == 0 || (key & 0xff00) == KEY_EXTENSION));
	return e->kind == VIEWER_POINTER || e->kind == VIEWER_CLOSE;
}

/* It closed its end: it is ending, or is made to. */
static void viewer_gone(struct viewer_process *v)
{
	int status = 0;

	close(v->socket);
	v->socket = -1;
	kill(v->pid, SIGTERM);
	waitpid(v->pid, &status, 0);
	v->pid = 0;
	if (WIFSIGNALED(status) && WTERMSIG(status) != SIGTERM)
		log_warn("the viewer was killed by signal %d (%s); the machine runs on without",
			WTERMSIG(status), strsignal(WTERMSIG(status)));
	else
		log_warn("the viewer has ended; the machine runs on without");
}

bool viewer_hear(struct viewer_process *v, struct viewer_event *e)
{
	ssize_t n = recv(v->socket, e, sizeof(*e), MSG_DONTWAIT);

	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		viewer_gone(v);
	return n == sizeof(*e) && makes_sense(e);
}

void viewer_stop(struct viewer_process *v)
{
	if (v->socket >= 0)
		close(v->socket);
	if (v->listen >= 0)
		close(v->listen);
	if (v->pid > 0) {
		kill(v->pid, SIGTERM);
		waitpid(v->pid, NULL, 0);
	}
	if (v->unix_path)
		unlink(v->unix_path);
	free(v->unix_path);
	*v = (struct viewer_process)VIEWER_NONE;
}
