/*
 * front_share.c - shared folders: the front opens them, and starts a server
 * process for each, which keeps the folder and gives the rest up. Likewise the
 * one behind --vsock.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd/front.h"
#include "cmd/status.h"
#include "util/util.h"

static int open_share(struct front *f, const struct share_options *o, const char *tag)
{
	struct shares *s = &f->media.shares;
	char err[512];

	s->item[s->count] = share_open(o, err, sizeof(err));
	if (!s->item[s->count]) {
		log_error("%s", err);
		return STATUS_HOST;
	}
	s->tag[s->count++] = tag;
	return STATUS_OK;
}

int front_open_shares(struct front *f)
{
	const struct share_options root = {
		.path = f->config.root, .ro = true, .as_root = true, .steady = true};
	int status = f->config.root ? open_share(f, &root, "root") : STATUS_OK;

	for (unsigned i = 0; i < f->config.shares && !status; i++) {
		const struct config_share *c = &f->config.share[i];
		const struct share_options o = {
			.path = c->path, .ro = c->ro, .as_root = c->as_root, .steady = c->steady};

		status = open_share(f, &o, c->tag);
	}
	return status;
}

static int ascending(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/* What the front has open is not for the server: everything above standard error but these. */
static void close_others(int *keep, unsigned n)
{
	int from = STDERR_FILENO + 1;

	qsort(keep, n, sizeof(*keep), ascending);
	for (unsigned i = 0; i < n; from = keep[i++] + 1)
		if (keep[i] > from)
			syscall(SYS_close_range, from, keep[i] - 1, 0);
	syscall(SYS_close_range, from, ~0u, 0);
}

/* In a child. A reader of our output shall not wait for it to end. */
static void become_server(int *keep, unsigned n)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	sigset_t all;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	sigfillset(&all); /* what the terminal sends is the front's */
	sigprocmask(SIG_BLOCK, &all, NULL);
	if (null >= 0) {
		dup2(null, STDIN_FILENO);
		dup2(null, STDOUT_FILENO);
	}
	close_others(keep, n);
}

static void serve(struct share_server *s, bool jail)
{
	int keep[SHARE_FDS];

	share_fds(s, keep);
	become_server(keep, SHARE_FDS);
	_exit(share_serve(s, jail) ? STATUS_HOST : STATUS_OK);
}

/* ---- vsock ---- */

int front_open_vsock(struct front *f)
{
	const struct config *c = &f->config;
	char err[512];

	if (!c->vsock)
		return STATUS_OK;
	f->media.vsock = vsock_server_open(c->vsock, c->vsock_cid, err, sizeof(err));
	if (f->media.vsock)
		return STATUS_OK;
	log_error("%s", err);
	return STATUS_HOST;
}

static void serve_vsock(struct vsock_server *s, bool jail)
{
	int keep[VSOCK_SERVER_FDS];

	vsock_server_fds(s, keep);
	become_server(keep, VSOCK_SERVER_FDS);
	_exit(vsock_serve(s, jail) ? STATUS_HOST : STATUS_OK);
}

static int start_vsock(struct front *f)
{
	if (!f->media.vsock)
		return 0;
	f->media.vsock_pid = fork();
	if (!f->media.vsock_pid)
		serve_vsock(f->media.vsock, f->config.jail);
	return f->media.vsock_pid < 0 ? -errno : 0;
}

/* Its path is ours to remove: it is jailed. */
static void end_vsock(struct front *f)
{
	if (f->media.vsock_pid <= 0)
		return;
	while (waitpid(f->media.vsock_pid, NULL, 0) < 0 && errno == EINTR)
		;
	f->media.vsock_pid = 0;
	unlink(f->config.vsock);
}

/* ---- starting and ending ---- */

int front_start_shares(struct front *f)
{
	struct shares *s = &f->media.shares;

	for (unsigned i = 0; i < s->count; i++) {
		s->pid[i] = fork();
		if (!s->pid[i])
			serve(s->item[i], f->config.jail);
		if (s->pid[i] < 0)
			return -errno;
	}
	return start_vsock(f);
}

void front_close_shares(struct front *f)
{
	struct shares *s = &f->media.shares;

	for (unsigned i = 0; i < s->count; i++)
		if (s->item[i])
			share_close(s->item[i]);
	memset(s->item, 0, sizeof(s->item));
	if (f->media.vsock)
		vsock_server_close(f->media.vsock);
	f->media.vsock = NULL;
}

/* They end when the machine has; what the guest wrote is in its files then. */
void front_wait_shares(struct front *f)
{
	struct shares *s = &f->media.shares;

	for (unsigned i = 0; i < s->count; i++)
		while (s->pid[i] > 0 && waitpid(s->pid[i], NULL, 0) < 0 && errno == EINTR)
			;
	s->count = 0;
	end_vsock(f);
}
