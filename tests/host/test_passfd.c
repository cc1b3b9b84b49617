/* test_passfd.c - descriptors over a socket: what is asked for comes, what is too many is closed.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "util/passfd.h"

static const struct iovec WORD = {(void *)"word", 4};

static int make_pair(void **state)
{
	static int pair[2];

	*state = pair;
	return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair);
}

static int close_pair(void **state)
{
	int *pair = *state;

	return close(pair[0]) | close(pair[1]);
}

/* The lowest free descriptor: the same again if nothing was left open. */
static int next_descriptor(void)
{
	int fd = dup(0);

	close(fd);
	return fd;
}

static void test_they_come_in_order(void **state)
{
	int *pair = *state, sent[2] = {pair[0], pair[1]}, got[4];
	unsigned fds;
	char buf[8];

	assert_int_equal(passfd_send(pair[0], &WORD, 1, sent, 2, 0), 4);
	assert_int_equal(passfd_receive(pair[1], buf, sizeof(buf), got, 4, &fds, 0), 4);
	assert_int_equal(fds, 2);
	assert_memory_equal(buf, "word", 4);
	assert_true(fcntl(got[0], F_GETFD) & FD_CLOEXEC);
	assert_int_equal(passfd_send(got[0], &WORD, 1, NULL, 0, 0), 4);
	assert_int_equal(passfd_receive(got[1], buf, sizeof(buf), NULL, 0, &fds, 0), 4);
	assert_int_equal(fds, 0);
	close(got[0]);
	close(got[1]);
}

static void test_too_many_are_closed(void **state)
{
	int *pair = *state, sent[9], got, before = next_descriptor();
	unsigned fds;
	char buf[8];

	for (int i = 0; i < 9; i++)
		sent[i] = pair[0];
	assert_int_equal(passfd_send(pair[0], &WORD, 1, sent, 9, 0), 4);
	assert_int_equal(passfd_receive(pair[1], buf, sizeof(buf), &got, 1, &fds, 0), 4);
	assert_int_equal(fds, 1);
	close(got);
	assert_int_equal(next_descriptor(), before);
}

static void test_errors_are_told(void **state)
{
	int *pair = *state, fd, none[PASSFD_MAX + 1] = {0};
	unsigned fds = 7;
	char buf[8];

	assert_int_equal(
		passfd_receive(pair[0], buf, sizeof(buf), &fd, 1, &fds, MSG_DONTWAIT), -EAGAIN);
	assert_int_equal(fds, 0);
	assert_int_equal(passfd_send(pair[0], &WORD, 1, none, PASSFD_MAX + 1, 0), -EINVAL);
	shutdown(pair[1], SHUT_RDWR);
	assert_int_equal(passfd_send(pair[0], &WORD, 1, NULL, 0, 0), -EPIPE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_they_come_in_order, make_pair, close_pair),
		cmocka_unit_test_setup_teardown(test_too_many_are_closed, make_pair, close_pair),
		cmocka_unit_test_setup_teardown(test_errors_are_told, make_pair, close_pair),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
