/* listen.c - see listen.h. */
#include "cmd/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 4

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

bool listen_is_path(const char *addr)
{
	return strchr(addr, '/');
}

bool listen_address_ok(const char *addr)
{
	struct sockaddr_in in;

	if (listen_is_path(addr))
		return strlen(addr) < sizeof(((struct sockaddr_un *)0)->sun_path);
	return inet_address(addr, &in);
}

/* What is accepted has these options, too. */
static int listen_at(const void *addr, socklen_t len, int family)
{
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

	if (fd < 0)
		return -errno;
	if (family == AF_INET) {
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	}
	if (bind(fd, addr, len) || listen(fd, BACKLOG)) {
		int error = errno;

		close(fd);
		return -error;
	}
	return fd;
}

static int listen_unix(const char *path)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	mode_t mask = umask(0177);
	int fd;

	snprintf(un.sun_path, sizeof(un.sun_path), "%s", path);
	fd = listen_at(&un, sizeof(un), AF_UNIX);
	umask(mask);
	return fd;
}

int listen_open(const char *addr, unsigned ports, char *where, size_t wherelen)
{
	struct sockaddr_in in;
	int fd;

	if (listen_is_path(addr)) {
		snprintf(where, wherelen, "%s", addr);
		return listen_unix(addr);
	}
	if (!inet_address(addr, &in))
		return -EINVAL;
	for (;;) {
		fd = listen_at(&in, sizeof(in), AF_INET);
		if (fd != -EADDRINUSE || ports-- <= 1)
			break;
		in.sin_port = htons((uint16_t)(ntohs(in.sin_port) + 1));
	}
	snprintf(where, wherelen, "%s:%u", inet_ntoa(in.sin_addr), ntohs(in.sin_port));
	return fd;
}
