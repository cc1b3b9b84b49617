/*
 * viewer.c - starts the programs that show the screen (src/helper/); see host/viewer.h.
 *
 * They are beside the program, or in ../libexec/tinamou. VNC listens on this host only: it asks for
 * no password.
 */
#include "cmd/viewer.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd/helper.h"
#include "cmd/listen.h"
#include "util/util.h"

#define VNC_PORT      "5900"
#define VNC_PORTS     100 /* tried one after the other */
#define KEY_MAX       0x7f
#define KEY_EXTENSION 0xe000

static int open_listen(struct viewer_process *v, const char *addr)
{
	const char *first = addr ? addr : VNC_PORT;
	char where[128];

	v->listen = listen_open(first, addr ? 1 : VNC_PORTS, where, sizeof(where));
	if (v->listen < 0) {
		log_error("--display vnc%s%s: %s", addr ? "=" : "", addr ? addr : "",
			strerror(-v->listen));
		v->listen = -1;
		return -1;
	}
	if (listen_is_path(first))
		v->unix_path = xstrdup(first);
	log_info("VNC at %s", where);
	return 0;
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

static void become_viewer(const char *path, const char *how, const int *fd)
{
	sigset_t none;

	sigemptyset(&none);
	give(fd);
	/* The terminal's signals are for the front, which ends us by the socket. */
	setpgid(0, 0);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execl(path, path, how, (char *)NULL);
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
		become_viewer(path, v->when_drawn ? VIEWER_WHEN_DRAWN : NULL, fd);
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
		log_msg(v->when_drawn ? LOG_DEBUG : LOG_WARN,
			"the viewer has ended; the machine runs on without");
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
