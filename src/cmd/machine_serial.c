/*
 * machine_serial.c - the serial line and the debug console of a machine, and the
 * descriptors behind them. What a reader has not taken yet is kept.
 */
#include "cmd/machine.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#define SERIAL_AT_ONCE    65536
#define SERIAL_BUFFER_MAX (4 * MiB)

/* Waits for output that got stuck, and for input while the last one was taken. */
static void serial_wait(struct machine *m)
{
	if (m->serial_watch)
		loop_set_events(m->serial_watch,
			(m->serial_in_len ? 0 : EPOLLIN) | (m->serial_len ? EPOLLOUT : 0));
}

static void serial_flush(struct machine *m)
{
	size_t done = 0;

	while (done < m->serial_len) {
		ssize_t n = write(m->fd[FD_SERIAL], m->serial_out + done, m->serial_len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n <= 0) {
			vm_end(m->vm, VM_END_HOST_ERROR, 0, "--serial: %s", strerror(errno));
			done = m->serial_len;
			break;
		}
		done += (size_t)n;
	}
	memmove(m->serial_out, m->serial_out + done, m->serial_len - done);
	m->serial_len -= done;
	serial_wait(m);
}

/* The UART has room: it gets what waits for it. */
static void serial_room(void *backend)
{
	struct machine *m = backend;
	size_t taken =
		m->serial_in_len ? chardev_input(&m->serial, m->serial_in, m->serial_in_len) : 0;

	m->serial_in_len -= taken;
	memmove(m->serial_in, m->serial_in + taken, m->serial_in_len);
	serial_wait(m);
}

void machine_serial_input(struct machine *m, const void *data, size_t len)
{
	len = MIN(len, SERIAL_INPUT_MAX - m->serial_in_len);
	memcpy(m->serial_in + m->serial_in_len, data, len);
	m->serial_in_len += len;
	serial_room(m);
}

/* To the front, or into the file: the serial line's output, and port E9h's beside it. */
static void terminal_write(void *backend, const uint8_t *data, size_t len)
{
	struct machine *m = backend;

	if (m->serial_len + len > SERIAL_BUFFER_MAX) /* the reader sleeps: wait, do not lose */
		len = 0,
		vm_end(m->vm, VM_END_HOST_ERROR, 0, "--serial: nobody reads its output any more");
	if (m->serial_len + len > m->serial_out_room) {
		m->serial_out_room = (m->serial_len + len) * 2 + 4096;
		m->serial_out = xrealloc(m->serial_out, m->serial_out_room);
	}
	memcpy(m->serial_out + m->serial_len, data, len);
	m->serial_len += len;
	/* The loop writes what has come together by then: a guest says one byte at a time. */
	if (!m->serial_watch || m->serial_len > SERIAL_AT_ONCE)
		serial_flush(m);
	else if (m->serial_len == len)
		serial_wait(m);
}

static void serial_write(void *backend, const uint8_t *data, size_t len)
{
	struct machine *m = backend;

	m->serial_touched = true;
	if (m->config.serial != SERIAL_NONE)
		terminal_write(m, data, len);
}

static void debugcon_write_file(void *backend, const uint8_t *data, size_t len)
{
	struct machine *m = backend;

	while (len) {
		ssize_t n = write(m->fd[FD_DEBUGCON], data, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			vm_end(m->vm, VM_END_HOST_ERROR, 0, "--debugcon: %s", strerror(errno));
			return;
		}
		data += n;
		len -= (size_t)n;
	}
}

void machine_serial_ready(void *ctx, uint32_t events)
{
	struct machine *m = ctx;
	uint8_t buf[256];
	ssize_t n;

	if (events & EPOLLOUT)
		serial_flush(m);
	if (!(events & (EPOLLIN | EPOLLHUP)))
		return;
	n = read(m->fd[FD_SERIAL], buf, sizeof(buf));
	if (n > 0) {
		machine_serial_input(m, buf, (size_t)n);
	} else if (n == 0 || errno != EAGAIN) {
		loop_remove(m->serial_watch);
		m->serial_watch = NULL;
	}
}

void machine_serial_drain(struct machine *m)
{
	struct timespec nap = {0, 1000000};

	for (unsigned i = 0; i < 2000 && m->serial_len; i++) {
		serial_flush(m);
		nanosleep(&nap, NULL);
	}
}

void machine_serial_attach(struct machine *m)
{
	static void (*const debugcon[])(void *, const uint8_t *, size_t) = {
		[DEBUGCON_STDIO] = terminal_write,
		[DEBUGCON_FILE] = debugcon_write_file,
	};

	m->serial.write = serial_write;
	m->serial.room = serial_room;
	m->serial.backend = m;
	m->debugcon.write = debugcon[m->config.debugcon];
	m->debugcon.backend = m;
}
