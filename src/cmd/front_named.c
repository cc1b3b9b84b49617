/*
 * front_named.c - a machine with a name: its socket, served between other events,
 * and its life without a terminal (--detach).
 */
#include "cmd/front.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd/registry.h"
#include "cmd/status.h"
#include "util/util.h"

#define TELL_MS     1000 /* who waits for longer is told */
#define REQUEST_MAX 4000 /* with its type, less than the machine reads at once */

/* ---- the socket ---- */

static int ask_machine(void *front, const char *request, size_t len, int fd)
{
	return len <= REQUEST_MAX && front_send(front, MSG_ASK, request, len, fd) ? 0 : -EAGAIN;
}

static void describe(void *front, json_t *status)
{
	struct front *f = front;
	const struct config *c = &f->config;
	const char *image = c->image ? c->image : c->kernel;

	json_object_set_new(status, "name", json_string(c->name));
	json_object_set_new(status, "pid", json_integer(getpid()));
	json_object_set_new(status, "machine_pid", json_integer(f->pid));
	json_object_set_new(status, "engine", json_string(f->engine->name));
	json_object_set_new(status, "cpus", json_integer(c->cpus));
	json_object_set_new(status, "memory", json_integer((json_int_t)c->memory));
	json_object_set_new(status, "image", image ? json_string(image) : json_null());
	json_object_set_new(status, "detached", json_boolean(c->detach));
}

static void typed(void *front, const char *bytes, size_t len)
{
	front_send(front, MSG_SERIAL, bytes, len, -1);
}

static void quit(void *front)
{
	front_ask_to_quit(front, MSG_QUIT, 0);
}

int front_open_control(struct front *f)
{
	static const struct control_ops ops = {ask_machine, describe, typed, quit};
	char err[512];

	if (!f->config.name)
		return STATUS_OK;
	f->control = control_new(f->config.name, &ops, f, err, sizeof(err));
	if (f->control)
		return STATUS_OK;
	log_error("%s", err);
	return STATUS_HOST;
}

/* ---- without a terminal ---- */

static int open_log(struct front *f)
{
	char path[REGISTRY_PATH_MAX], err[512];

	if (registry_path(f->config.name, "log", path, err, sizeof(err))) {
		log_error("%s", err);
		return -1;
	}
	f->log = open(path, O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
	if (f->log < 0)
		log_error("%s: %s", path, strerror(errno));
	return f->log;
}

/* What was said of the start is for the user, too. */
static void show_log(struct front *f)
{
	char buf[4096];
	off_t at = 0;
	ssize_t n;

	while ((n = pread(f->log, buf, sizeof(buf), at)) > 0) {
		write_all(STDERR_FILENO, buf, (size_t)n);
		at += n;
	}
}

/* How the start went, or the status of a process that ended without a word. */
static int wait_for_start(struct front *f, int from, pid_t child)
{
	struct pollfd p = {from, POLLIN, 0};
	int status = STATUS_HOST;
	ssize_t n;

	if (!poll(&p, 1, TELL_MS))
		log_info("waiting for %s to start", f->config.name);
	do
		n = read(from, &status, sizeof(status));
	while (n < 0 && errno == EINTR);
	close(from);
	show_log(f);
	if (n != sizeof(status))
		log_error("%s ended before its guest began", f->config.name);
	else if (!status)
		log_info("%s runs; 'tinamou console %s' shows its serial line", f->config.name,
			f->config.name);
	if (status)
		waitpid(child, NULL, 0);
	return status;
}

int front_detach(struct front *f, bool *parent)
{
	int pair[2], null = open("/dev/null", O_RDWR | O_CLOEXEC);
	pid_t child;

	if (open_log(f) < 0 || null < 0 || pipe2(pair, O_CLOEXEC))
		return STATUS_HOST;
	fflush(NULL);
	child = fork();
	if (child < 0) {
		log_error("cannot detach: %s", strerror(errno));
		return STATUS_HOST;
	}
	*parent = child > 0;
	if (*parent) {
		close(pair[1]);
		return wait_for_start(f, pair[0], child);
	}
	close(pair[0]);
	f->told = pair[1];
	setsid();
	dup2(null, STDIN_FILENO);
	dup2(null, STDOUT_FILENO);
	dup2(f->log, STDERR_FILENO);
	close(null);
	return STATUS_OK;
}

void front_started(struct front *f, int status)
{
	ssize_t n;

	if (f->told < 0)
		return;
	n = write(f->told, &status, sizeof(status));
	(void)n; /* nobody waits any more: nothing to tell */
	close(f->told);
	f->told = -1;
}
