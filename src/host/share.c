/*
 * share.c - the machine's end of a shared folder: slots, and messages to the
 * server and back. See share.h. What the server says is checked: it works for
 * the guest, which may have got hold of it.
 */
#include "host/share.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util/util.h"

struct slot {
	bool busy, forgotten;
	uint32_t room, round;
};

struct share {
	int socket;
	uint8_t *slots;
	struct loop_fd *watch;
	bool inline_only, gone;
	struct slot slot[SHARE_SLOTS];
	unsigned in_flight;
	uint32_t round;
	share_done *done;
	void *ctx;
};

/* false: there is none, or the server is gone. */
static bool take_message(struct share *s, bool wait)
{
	struct share_message m;
	ssize_t n;

	do
		n = recv(s->socket, &m, sizeof(m), wait ? 0 : MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN)
		return false;
	if (n != sizeof(m) || m.slot >= SHARE_SLOTS || !s->slot[m.slot].busy ||
		m.round != s->slot[m.slot].round || m.len > s->slot[m.slot].room) {
		s->gone = true;
		return false;
	}
	s->slot[m.slot].busy = false;
	s->in_flight--;
	if (!s->slot[m.slot].forgotten)
		s->done(s->ctx, m.slot, m.len);
	return true;
}

/* Requests that nobody answers any more end with nothing. */
static void lose(struct share *s)
{
	if (s->watch)
		loop_remove(s->watch);
	s->watch = NULL;
	log_error("the server of a shared folder is gone; the guest gets errors");
	for (unsigned i = 0; i < SHARE_SLOTS; i++) {
		if (!s->slot[i].busy)
			continue;
		s->slot[i].busy = false;
		s->in_flight--;
		if (!s->slot[i].forgotten)
			s->done(s->ctx, i, 0);
	}
}

static void answered(void *ctx, uint32_t events)
{
	struct share *s = ctx;

	while (!s->gone && take_message(s, false))
		;
	if (s->gone && s->watch)
		lose(s);
}

struct share *share_new(int socket, int arena, struct loop *loop, bool inline_only)
{
	struct share *s = xcalloc(1, sizeof(*s));
	void *p = mmap(NULL, SHARE_ARENA, PROT_READ | PROT_WRITE, MAP_SHARED, arena, 0);

	close(arena);
	s->socket = socket;
	s->slots = p == MAP_FAILED ? NULL : p;
	s->inline_only = inline_only;
	s->watch = s->slots ? loop_add(loop, socket, EPOLLIN, answered, s) : NULL;
	if (s->watch)
		return s;
	share_free(s);
	return NULL;
}

void share_free(struct share *s)
{
	if (s->watch)
		loop_remove(s->watch);
	if (s->slots)
		munmap(s->slots, SHARE_ARENA);
	close(s->socket);
	free(s);
}

void share_listen(struct share *s, share_done *done, void *ctx)
{
	s->done = done;
	s->ctx = ctx;
}

int share_slot(struct share *s)
{
	for (unsigned i = 0; i < SHARE_SLOTS; i++)
		if (!s->slot[i].busy)
			return (int)i;
	return -1;
}

static void copy_in(uint8_t *to, const struct iovec *iov, unsigned n)
{
	for (unsigned i = 0; i < n; to += iov[i++].iov_len)
		memcpy(to, iov[i].iov_base, iov[i].iov_len);
}

int share_submit(struct share *s, unsigned slot, const struct iovec *iov, unsigned n, uint64_t len,
	uint64_t room)
{
	struct share_message m = {.slot = slot, .len = (uint32_t)len, .round = ++s->round};

	if (len > SHARE_HALF)
		return -EMSGSIZE;
	if (s->gone)
		return -EPIPE;
	m.room = (uint32_t)MIN(room, SHARE_HALF);
	copy_in(s->slots + (size_t)slot * SHARE_SLOT, iov, n);
	s->slot[slot] = (struct slot){.busy = true, .room = m.room, .round = m.round};
	s->in_flight++;
	/* There is room for a message a slot. */
	if (send(s->socket, &m, sizeof(m), MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
		s->slot[slot].busy = false;
		s->in_flight--;
		return -EPIPE;
	}
	if (s->inline_only)
		share_drain(s);
	return 0;
}

const void *share_answer(const struct share *s, unsigned slot)
{
	return s->slots + (size_t)slot * SHARE_SLOT + SHARE_HALF;
}

void share_forget(struct share *s)
{
	for (unsigned i = 0; i < SHARE_SLOTS; i++)
		s->slot[i].forgotten = s->slot[i].busy;
}

void share_drain(struct share *s)
{
	while (s->in_flight && !s->gone && take_message(s, true))
		;
	if (s->gone && s->watch)
		lose(s);
}
