/*
 * test_vsock.c - the server behind a guest's AF_VSOCK: this test is the guest,
 * packet by packet, and the programs on the host at the other end.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "host/vsock.h"
#include "util/util.h"

#define CID   7u
#define GUEST 5000u /* its port */
#define PORT  42u   /* the host's */
#define ALLOC 10000u

struct packet {
	struct vsock_header h;
	uint8_t data[VSOCK_OUT_MAX];
};

struct test {
	char folder[64], path[96];
	struct vsock_server *server;
	int guest;
	struct packet out, in;
};

static struct test *make(void)
{
	struct test *t = xcalloc(1, sizeof(*t));
	char err[256];

	strcpy(t->folder, "/tmp/tinamou-vsock-XXXXXX");
	assert_non_null(mkdtemp(t->folder));
	snprintf(t->path, sizeof(t->path), "%s/v", t->folder);
	t->server = vsock_server_open(t->path, CID, err, sizeof(err));
	assert_non_null(t->server);
	t->guest = vsock_server_socket(t->server);
	return t;
}

static void path_of(const struct test *t, char *path, size_t len)
{
	snprintf(path, len, "%s_%u", t->path, PORT);
}

static void destroy(struct test *t)
{
	char path[128];

	path_of(t, path, sizeof(path));
	vsock_server_close(t->server);
	unlink(path);
	unlink(t->path);
	rmdir(t->folder);
	free(t);
}

static void turns(struct test *t)
{
	for (unsigned i = 0; i < 20; i++)
		assert_true(vsock_server_turn(t->server, 0));
}

static void say(struct test *t, enum vsock_op op, uint32_t host, uint32_t flags, uint32_t len)
{
	t->out.h = (struct vsock_header){CID, VSOCK_HOST, GUEST, host, len, VSOCK_STREAM,
		(uint16_t)op, flags, ALLOC, t->out.h.fwd_cnt};
	assert_true(send(t->guest, &t->out, sizeof(t->out.h) + len, MSG_DONTWAIT) > 0);
	turns(t);
}

/* The next packet for the guest: its operation, 0: there is none. */
static unsigned heard(struct test *t)
{
	ssize_t n = recv(t->guest, &t->in, sizeof(t->in), MSG_DONTWAIT);

	if (n < 0)
		return 0;
	assert_int_equal(n, sizeof(t->in.h) + t->in.h.len);
	assert_int_equal(t->in.h.dst_cid, CID);
	return t->in.h.op;
}

static int connected(const char *path)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strncpy(at.sun_path, path, sizeof(at.sun_path) - 1);
	assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	return fd;
}

static int listening(const struct test *t)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	path_of(t, at.sun_path, sizeof(at.sun_path));
	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(fd, 4), 0);
	return fd;
}

/* A guest's connection to PORT; returns the host's end. */
static int open_stream(struct test *t, int listener)
{
	int fd;

	say(t, VSOCK_REQUEST, PORT, 0, 0);
	assert_int_equal(heard(t), VSOCK_RESPONSE);
	fd = accept(listener, NULL, NULL);
	assert_true(fd >= 0);
	return fd;
}

static void test_host_connects(void **state)
{
	struct test *t = make();
	int fd = connected(t->path);
	char line[64] = "", wanted[64];
	uint32_t port;

	assert_int_equal(send(fd, "CONNECT 5000\nhello", 18, 0), 18);
	turns(t);
	assert_int_equal(heard(t), VSOCK_REQUEST);
	assert_int_equal(t->in.h.dst_port, GUEST);
	port = t->in.h.src_port;
	assert_int_equal(heard(t), 0); /* nothing before it has answered */
	say(t, VSOCK_RESPONSE, port, 0, 0);
	assert_int_equal(heard(t), VSOCK_RW);
	assert_memory_equal(t->in.data, "hello", 5);
	snprintf(wanted, sizeof(wanted), "OK %u\n", port);
	assert_int_equal(recv(fd, line, sizeof(line), MSG_DONTWAIT), strlen(wanted));
	assert_string_equal(line, wanted);
	close(fd);
	turns(t);
	assert_int_equal(heard(t), VSOCK_SHUTDOWN);
	destroy(t);
}

static void test_bad_greetings(void **state)
{
	static const char *const lines[] = {"\n", "CONNECT\n", "CONNECT x\n", "CONNECT 1 2\n",
		"GET / HTTP/1.1\r\n", "CONNECT 111111111111111111111111111111111111111111\n"};
	struct test *t = make();

	for (unsigned i = 0; i < ARRAY_SIZE(lines); i++) {
		int fd = connected(t->path);
		char byte;

		assert_true(send(fd, lines[i], strlen(lines[i]), 0) > 0);
		turns(t);
		errno = 0;
		assert_true(recv(fd, &byte, 1, MSG_DONTWAIT) <= 0 && errno != EAGAIN);
		assert_int_equal(heard(t), 0);
		close(fd);
	}
	destroy(t);
}

static void test_guest_connects(void **state)
{
	struct test *t = make();
	int listener, fd;
	char buf[64];

	say(t, VSOCK_REQUEST, PORT, 0, 0);
	assert_int_equal(heard(t), VSOCK_RST); /* nobody listens */
	listener = listening(t);
	fd = open_stream(t, listener);
	memcpy(t->out.data, "from the guest", 14);
	say(t, VSOCK_RW, PORT, 0, 14);
	assert_int_equal(recv(fd, buf, sizeof(buf), MSG_DONTWAIT), 14);
	assert_memory_equal(buf, "from the guest", 14);
	say(t, VSOCK_SHUTDOWN, PORT, VSOCK_NO_SEND, 0);
	assert_int_equal(recv(fd, buf, sizeof(buf), MSG_DONTWAIT), 0); /* its end, ours goes on */
	assert_int_equal(send(fd, "answer", 6, 0), 6);
	turns(t);
	assert_int_equal(heard(t), VSOCK_RW);
	say(t, VSOCK_SHUTDOWN, PORT, VSOCK_NO_SEND | VSOCK_NO_RECEIVE, 0);
	assert_int_equal(heard(t), VSOCK_RST);
	say(t, VSOCK_RW, PORT, 0, 1);
	assert_int_equal(heard(t), VSOCK_RST);
	close(fd);
	close(listener);
	destroy(t);
}

/* The guest gets what it has room for, and no more until it says that it took it. */
static void test_credit_of_the_guest(void **state)
{
	struct test *t = make();
	int listener = listening(t), fd = open_stream(t, listener);
	uint8_t *bytes = xcalloc(1, 3 * ALLOC);
	uint32_t got = 0;

	assert_int_equal(send(fd, bytes, 3 * ALLOC, 0), 3 * ALLOC);
	turns(t);
	while (heard(t) == VSOCK_RW)
		got += t->in.h.len;
	assert_int_equal(got, ALLOC);
	t->out.h.fwd_cnt = 100;
	say(t, VSOCK_CREDIT_UPDATE, PORT, 0, 0);
	assert_int_equal(heard(t), VSOCK_RW);
	assert_int_equal(t->in.h.len, 100);
	t->out.h.fwd_cnt = 50000; /* more than it ever got */
	say(t, VSOCK_CREDIT_UPDATE, PORT, 0, 0);
	assert_int_equal(heard(t), 0);
	free(bytes);
	close(fd);
	close(listener);
	destroy(t);
}

/* A guest that ignores its credit, with a reader that does not read: the connection ends. */
static void test_credit_of_the_host(void **state)
{
	struct test *t = make();
	int listener = listening(t), fd = open_stream(t, listener);
	unsigned op = 0;

	for (unsigned i = 0; i < 1000 && !op; i++) {
		say(t, VSOCK_RW, PORT, 0, VSOCK_OUT_MAX);
		op = heard(t);
		if (op == VSOCK_CREDIT_UPDATE)
			op = 0;
	}
	assert_int_equal(op, VSOCK_RST);
	close(fd);
	close(listener);
	destroy(t);
}

static void test_forget(void **state)
{
	struct test *t = make();
	int listener = listening(t), fd = open_stream(t, listener);
	char byte;

	say(t, VSOCK_FORGET, 0, 0, 0);
	assert_int_equal(recv(fd, &byte, 1, MSG_DONTWAIT), 0);
	assert_int_equal(heard(t), 0);
	close(fd);
	close(listener);
	destroy(t);
}

/* Any packets, in any order: the server stays, and serves after them. */
static void test_lies(void **state)
{
	struct test *t = make();
	int listener = listening(t), fd;
	uint64_t r = 88172645463325252;

	for (unsigned i = 0; i < 20000; i++) {
		r ^= r << 13, r ^= r >> 7, r ^= r << 17;
		t->out.h = (struct vsock_header){r, r >> 8, GUEST + (r >> 16 & 3),
			r & 1 ? PORT : (uint32_t)(r >> 20 & 3), (uint32_t)(r >> 24 & 0xfff),
			(uint16_t)(r >> 32 & 3), (uint16_t)(r >> 40 & 7), (uint32_t)(r >> 44 & 3),
			(uint32_t)(r >> 30), (uint32_t)(r >> 50)};
		if (send(t->guest, &t->out, sizeof(t->out.h) + t->out.h.len, MSG_DONTWAIT) < 0)
			assert_int_equal(errno, EAGAIN);
		assert_true(vsock_server_turn(t->server, 0));
		while (recv(t->guest, &t->in, sizeof(t->in), MSG_DONTWAIT) > 0)
			;
		if ((fd = accept(listener, NULL, NULL)) >= 0)
			close(fd);
	}
	say(t, VSOCK_FORGET, 0, 0, 0);
	while (heard(t))
		;
	t->out.h.fwd_cnt = 0;
	close(open_stream(t, listener));
	close(listener);
	destroy(t);
}

static void test_paths(void **state)
{
	struct test *t = make();
	char err[256], other[192];

	assert_null(vsock_server_open(t->path, CID, err, sizeof(err))); /* somebody answers there */
	assert_non_null(strstr(err, "in use"));
	snprintf(other, sizeof(other), "%s/%090d", t->folder, 1);
	assert_null(vsock_server_open(other, CID, err, sizeof(err)));
	assert_null(vsock_server_open(t->folder, CID, err, sizeof(err)));
	destroy(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_host_connects),
		cmocka_unit_test(test_bad_greetings),
		cmocka_unit_test(test_guest_connects),
		cmocka_unit_test(test_credit_of_the_guest),
		cmocka_unit_test(test_credit_of_the_host),
		cmocka_unit_test(test_forget),
		cmocka_unit_test(test_lies),
		cmocka_unit_test(test_paths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
