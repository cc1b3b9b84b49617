/* passfd.c - see passfd.h. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util/passfd.h"
#include "util/util.h"

union control {
	struct cmsghdr align;
	char space[CMSG_SPACE(sizeof(int) * PASSFD_MAX)];
};

ssize_t passfd_send(
	int socket, const struct iovec *iov, size_t iovcnt, const int *fd, unsigned fds, int flags)
{
	union control control = {0};
	struct msghdr msg = {.msg_iov = (struct iovec *)iov, .msg_iovlen = iovcnt};
	ssize_t n;

	if (fds > PASSFD_MAX)
		return -EINVAL;
	if (fds) {
		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * fds);
		*CMSG_FIRSTHDR(&msg) =
			(struct cmsghdr){CMSG_LEN(sizeof(int) * fds), SOL_SOCKET, SCM_RIGHTS};
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&msg)), fd, sizeof(int) * fds);
	}
	n = sendmsg(socket, &msg, flags | MSG_NOSIGNAL);
	return n < 0 ? -errno : n;
}

static void take(const struct cmsghdr *c, int *fd, unsigned max, unsigned *fds)
{
	size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

	for (size_t i = 0; i < n; i++) {
		int one;

		memcpy(&one, CMSG_DATA(c) + i * sizeof(int), sizeof(one));
		if (*fds < max)
			fd[(*fds)++] = one;
		else
			close(one);
	}
}

ssize_t passfd_receive(
	int socket, void *buf, size_t len, int *fd, unsigned max, unsigned *fds, int flags)
{
	union control control;
	struct iovec iov = {buf, len};
	struct msghdr msg = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control)};
	ssize_t n = recvmsg(socket, &msg, flags | MSG_CMSG_CLOEXEC);

	*fds = 0;
	if (n < 0)
		return -errno;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c))
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
			take(c, fd, max, fds);
	return n;
}
