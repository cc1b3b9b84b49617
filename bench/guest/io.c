/*
 * io.c - measures disk, network and console in a guest; the same program is the
 * server on the host. Prints one line an item: name, value, unit.
 *
 *     io server           listens on 127.0.0.1, prints its port, serves until killed
 *     io disk DEVICE      overwrites it
 *     io net ADDRESS PORT
 *     io console DEVICE
 *
 * The server takes one byte for what a connection is: 'p' bytes come back one by
 * one, 'd' it sends, 'u' it receives and then answers.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define STREAM  (32u << 20)
#define BLOCK   (64u << 10)
#define TRIPS   2000
#define PAGES   2000
#define PAGE    4096u
#define THREADS 8
#define CONSOLE (64u << 10)

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

/* ---- network ---- */

static void pull(int fd, char *buf)
{
	size_t left = STREAM;

	while (left) {
		ssize_t n = read(fd, buf, left < BLOCK ? left : BLOCK);

		if (n <= 0)
			fail("read");
		left -= (size_t)n;
	}
}

static void push(int fd, char *buf)
{
	size_t left = STREAM;

	while (left) {
		ssize_t n = write(fd, buf, left < BLOCK ? left : BLOCK);

		if (n <= 0)
			fail("write");
		left -= (size_t)n;
	}
}

static void *serve_one(void *ctx)
{
	int fd = (int)(intptr_t)ctx, on = 1;
	char *buf = calloc(1, BLOCK), kind;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (read(fd, &kind, 1) == 1 && kind == 'p')
		while (read(fd, buf, 1) == 1 && write(fd, buf, 1) == 1)
			;
	else if (kind == 'd')
		push(fd, buf);
	else if (kind == 'u') {
		pull(fd, buf);
		(void)!write(fd, buf, 1);
	}
	close(fd);
	free(buf);
	return NULL;
}

static void server(void)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	pthread_t t;

	if (bind(fd, (struct sockaddr *)&at, len) || listen(fd, 8) ||
		getsockname(fd, (struct sockaddr *)&at, &len))
		fail("listen");
	printf("%u\n", ntohs(at.sin_port));
	fflush(stdout);
	for (;;) {
		int c = accept(fd, NULL, NULL);

		if (c >= 0 && !pthread_create(&t, NULL, serve_one, (void *)(intptr_t)c))
			pthread_detach(t);
	}
}

static int dial(const char *address, const char *port, char kind)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
	int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;

	inet_pton(AF_INET, address, &to.sin_addr);
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)))
		fail("connect");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (write(fd, &kind, 1) != 1)
		fail("write");
	return fd;
}

static void net(const char *address, const char *port)
{
	char *buf = calloc(1, BLOCK);
	int fd = dial(address, port, 'p');
	double start = now();

	for (int i = 0; i < TRIPS; i++)
		if (write(fd, buf, 1) != 1 || read(fd, buf, 1) != 1)
			fail("round trip");
	printf("net-round-trip %.1f us\n", (now() - start) / TRIPS * 1e6);
	close(fd);
	fd = dial(address, port, 'd');
	start = now();
	pull(fd, buf);
	printf("net-receive %.1f MB/s\n", STREAM / (now() - start) / 1e6);
	close(fd);
	fd = dial(address, port, 'u');
	start = now();
	push(fd, buf);
	if (read(fd, buf, 1) != 1)
		fail("read");
	printf("net-send %.1f MB/s\n", STREAM / (now() - start) / 1e6);
}

/* ---- disk ---- */

struct job {
	int fd;
	int write;
	unsigned seed, pages;
	off_t size;
};

static void *random_pages(void *ctx)
{
	struct job *j = ctx;
	void *buf;

	if (posix_memalign(&buf, PAGE, PAGE))
		fail("memory");
	memset(buf, 0x55, PAGE);
	for (unsigned i = 0; i < j->pages; i++) {
		off_t at = (off_t)(rand_r(&j->seed) % (unsigned)(j->size / PAGE)) * PAGE;

		if ((j->write ? pwrite(j->fd, buf, PAGE, at) : pread(j->fd, buf, PAGE, at)) != PAGE)
			fail("page");
	}
	free(buf);
	return NULL;
}

static void random_io(const char *name, int fd, off_t size, int write, unsigned threads)
{
	struct job job[THREADS];
	pthread_t t[THREADS];
	double start = now();

	for (unsigned i = 0; i < threads; i++) {
		job[i] = (struct job){fd, write, i + 1, PAGES / threads, size};
		pthread_create(&t[i], NULL, random_pages, &job[i]);
	}
	for (unsigned i = 0; i < threads; i++)
		pthread_join(t[i], NULL);
	printf("%s %.0f /s\n", name, PAGES / (now() - start));
}

static void sequential(const char *name, int fd, int write)
{
	double start = now();
	void *buf;

	if (posix_memalign(&buf, PAGE, 16 * BLOCK))
		fail("memory");
	memset(buf, 0xaa, 16 * BLOCK);
	for (off_t at = 0; at < STREAM; at += 16 * BLOCK)
		if ((write ? pwrite(fd, buf, 16 * BLOCK, at) : pread(fd, buf, 16 * BLOCK, at)) !=
			16 * BLOCK)
			fail("sequential");
	if (write)
		fsync(fd);
	printf("%s %.1f MB/s\n", name, STREAM / (now() - start) / 1e6);
	free(buf);
}

static void disk(const char *path)
{
	int fd = open(path, O_RDWR | O_DIRECT);
	off_t size = lseek(fd, 0, SEEK_END);

	if (fd < 0 || size < (off_t)STREAM)
		fail(path);
	sequential("disk-write", fd, 1);
	sequential("disk-read", fd, 0);
	random_io("disk-4k-read", fd, size, 0, 1);
	random_io("disk-4k-write", fd, size, 1, 1);
	random_io("disk-4k-read-x8", fd, size, 0, THREADS);
	random_io("disk-4k-write-x8", fd, size, 1, THREADS);
}

static void console(const char *path)
{
	static char line[80];
	int fd = open(path, O_WRONLY | O_NOCTTY);
	double start = now();

	memset(line, '.', sizeof(line) - 1);
	line[sizeof(line) - 1] = '\n';
	for (size_t done = 0; done < CONSOLE; done += sizeof(line))
		if (write(fd, line, sizeof(line)) != sizeof(line))
			fail(path);
	tcdrain(fd);
	printf("console %.0f kB/s\n", CONSOLE / (now() - start) / 1e3);
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "server"))
		server();
	else if (argc == 3 && !strcmp(argv[1], "disk"))
		disk(argv[2]);
	else if (argc == 4 && !strcmp(argv[1], "net"))
		net(argv[2], argv[3]);
	else if (argc == 3 && !strcmp(argv[1], "console"))
		console(argv[2]);
	else
		return 2;
	return 0;
}
