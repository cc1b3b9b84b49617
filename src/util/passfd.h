/*
 * passfd.h - messages over unix sockets that carry descriptors, unix(7) SCM_RIGHTS.
 */
#ifndef TINAMOU_PASSFD_H
#define TINAMOU_PASSFD_H

#include <sys/types.h>
#include <sys/uio.h>

#define PASSFD_MAX 253 /* in a message: Linux, SCM_MAX_FD */

/*
 * One sendmsg(2) of the iovcnt parts of iov and the fds descriptors at fd, which stay the
 * caller's. flags: MSG_DONTWAIT; a peer that is gone is no signal. As sendmsg returns, but -errno.
 */
ssize_t passfd_send(
	int socket, const struct iovec *iov, size_t iovcnt, const int *fd, unsigned fds, int flags);

/*
 * One recvmsg(2) of up to len bytes into buf. Descriptors that came go to fd, at most max of
 * them, closed on exec and now the caller's, and *fds says how many; further ones are closed. As
 * recvmsg returns, but -errno.
 */
ssize_t passfd_receive(
	int socket, void *buf, size_t len, int *fd, unsigned max, unsigned *fds, int flags);

#endif
