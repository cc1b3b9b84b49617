/*
 * net.c - opens the links of network cards. The process of a user mode network
 * is a program of its own, tinamou-net: it reads outsiders' bytes with a library,
 * and is linked dynamically where tinamou is not. It lies beside tinamou, or in
 * ../libexec/tinamou. See net.h.
 */
#include "cmd/net.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cmd/helper.h"
#include "cmd/run.h"
#include "cmd/status.h"
#include "util/util.h"

#define HELPER     "tinamou-net"
#define HELPER_FDS 3 /* the socket, then the pipe that tells of success */
#define START_MS   10000
#define MTU_USER   65520

/* ---- addresses ---- */

static uint64_t hash(uint64_t h, const char *text)
{
	for (; *text; text++)
		h = (h ^ (uint8_t)*text) * UINT64_C(0x100000001b3); /* FNV-1a */
	return h;
}

/*
 * The same at each start of the same machine, so that leases and names of interfaces stay; the
 * two ends of a socket are told apart even if they are started alike.
 */
static void choose_mac(const struct config *c, unsigned n, struct net_link *l)
{
	static const uint8_t prefix[3] = {0x52, 0x54, 0x00}; /* locally administered */
	char *text = json_dumps(c->set, JSON_COMPACT | JSON_SORT_KEYS);
	uint64_t h = hash(UINT64_C(0xcbf29ce484222325), text);

	h = h + n * 2 + (l->kind == NET_LISTEN);
	memcpy(l->mac, prefix, 3);
	memcpy(l->mac + 3, &h, 3);
	if (c->net[n].has_mac)
		memcpy(l->mac, c->net[n].mac, NET_MAC_LEN);
	free(text);
}

/* ---- the helper ---- */

/* mtu, hostname ("" for none), forwards */
static void helper_words(const struct config_net *n, const char *path, unsigned mtu, char **argv)
{
	unsigned words = 0;

	argv[words++] = xstrdup(path);
	argv[words++] = xasprintf("%u", mtu);
	argv[words++] = xstrdup(n->hostname ? n->hostname : "");
	for (unsigned i = 0; i < n->forwards; i++)
		argv[words++] = xstrdup(n->forward[i]);
	argv[words] = NULL;
}

/* The child: its descriptors at HELPER_FDS, everything else closes at exec. */
static void exec_helper(char **argv, int socket, int ready)
{
	int a = fcntl(socket, F_DUPFD, HELPER_FDS + 2), b = fcntl(ready, F_DUPFD, HELPER_FDS + 2);

	if (a < 0 || b < 0 || dup2(a, HELPER_FDS) < 0 || dup2(b, HELPER_FDS + 1) < 0)
		_exit(STATUS_HOST);
	close(a);
	close(b);
	execv(argv[0], argv);
	_exit(STATUS_HOST);
}

/* It writes a byte when all ports are open, and says itself why not. */
static bool helper_ready(int fd)
{
	struct pollfd p = {fd, POLLIN, 0};
	char byte;

	return poll(&p, 1, START_MS) == 1 && read(fd, &byte, 1) == 1;
}

static int start_helper(char **argv, int *fd)
{
	int pair[2] = {-1, -1}, ready[2] = {-1, -1};
	bool ok = false;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) ||
		pipe2(ready, O_CLOEXEC)) {
		log_error("--net user: %s", strerror(errno));
	} else {
		pid_t pid = fork();

		if (!pid)
			exec_helper(argv, pair[1], ready[1]);
		close(ready[1]);
		ready[1] = -1;
		ok = pid > 0 && helper_ready(ready[0]);
		if (!ok)
			log_error("--net user: %s did not start", argv[0]);
	}
	*fd = pair[0];
	for (unsigned i = 0; i < 2; i++)
		if (ready[i] >= 0)
			close(ready[i]);
	if (pair[1] >= 0)
		close(pair[1]);
	return ok ? STATUS_OK : STATUS_HOST;
}

static int open_user(const struct config_net *n, struct net_link *l)
{
	char *path = helper_find(HELPER), *argv[CONFIG_MAX_FORWARDS + 4];
	int status;

	l->kind = NET_HELPER;
	l->mtu = n->mtu ? n->mtu : MTU_USER;
	if (!path) {
		log_error("--net user: the program " HELPER " is neither beside tinamou nor in "
			  "../libexec/tinamou; the package brings it, and so does a build with "
			  "libslirp-dev");
		return STATUS_HOST;
	}
	helper_words(n, path, l->mtu, argv);
	status = start_helper(argv, &l->fd);
	for (unsigned i = 0; argv[i]; i++)
		free(argv[i]);
	free(path);
	return status;
}

/* ---- all of them ---- */

static int open_link(const struct config_net *n, struct net_link *l)
{
	char err[512];
	int rc;

	*l = (struct net_link){.mtu = n->mtu};
	if (n->kind == NET_USER)
		return open_user(n, l);
	rc = n->kind == NET_WITH_TAP ? net_open_tap(l, n->path, err, sizeof(err))
				     : net_open_socket(l, n->path, err, sizeof(err));
	if (rc)
		log_error("%s", err);
	return rc ? STATUS_HOST : STATUS_OK;
}

int net_open_all(const struct config *c, struct net_link *l, unsigned *count)
{
	int status = STATUS_OK;

	for (unsigned i = 0; i < c->nets && !status; i++) {
		status = open_link(&c->net[i], &l[i]);
		choose_mac(c, i, &l[i]);
		*count = i + 1;
	}
	return status;
}
