/*
 * share.h - a folder of the host for guests: the door of the shared folders.
 *
 * Two processes. The server has the folder and nothing else: the front opens
 * it with share_open and runs share_serve in a child. The machine has one end
 * of a socket and an arena of slots, memory that both map: a request is copied
 * into a slot, a message names the slot, the answer lies in the same slot.
 * Neither side believes the other: all that is in a slot is copied once, then
 * checked, then used. Lock: share_open and share_serve none; the client's
 * functions with vm->lock held.
 */
#ifndef TINAMOU_SHARE_H
#define TINAMOU_SHARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "core/loop.h"

#define SHARE_SLOTS   16u
#define SHARE_PAGES   120u /* of one read or write: with its headers it is a chain of virtio.h */
#define SHARE_DATA    (SHARE_PAGES * 4096u)
#define SHARE_HALF    (SHARE_DATA + 4096u)
#define SHARE_SLOT    (2u * SHARE_HALF) /* request, then answer */
#define SHARE_ARENA   (SHARE_SLOTS * SHARE_SLOT)
#define SHARE_WORKERS 4u

/* One datagram: to the server with the request's length, back with the answer's. */
struct share_message {
	uint32_t slot;
	uint32_t len;   /* bytes in the half that is meant */
	uint32_t room;  /* to the server: how long the answer may be */
	uint32_t round; /* the client's; comes back as it was */
};

struct share_options {
	const char *path;
	bool ro;
	bool as_root; /* what belongs to the server's user is root's in the guest */
	bool steady;  /* nobody else changes the folder: the guest may cache for long */
};

/* ---- the server ---- */

struct share_server;

/* NULL on failure with the reason for the user in err. No thread is started: a fork may follow. */
struct share_server *share_open(const struct share_options *o, char *err, size_t errlen);
/* The machine's ends, for it to inherit or to be sent; -1 once given away. */
int share_socket(const struct share_server *s);
int share_arena(const struct share_server *s);
#define SHARE_FDS 3
/* What the server's process keeps open. */
void share_fds(const struct share_server *s, int fd[SHARE_FDS]);
/* In a process of its own, in its jail: serves until the machine closes its end. 0 or -errno. */
int share_serve(struct share_server *s, bool jail);
/* The front's copy, after the fork. */
void share_close(struct share_server *s);

/* ---- the machine's end ---- */

struct share;

/* An answer of len bytes, to be copied with share_answer before done returns. */
typedef void share_done(void *ctx, unsigned slot, uint32_t len);

/*
 * Takes over both descriptors. inline_only: requests are answered before
 * share_submit returns, which runs that repeat need. NULL: out of memory.
 */
struct share *share_new(int socket, int arena, struct loop *loop, bool inline_only);
void share_free(struct share *s);
void share_listen(struct share *s, share_done *done, void *ctx);
/* A free slot, or -1. It is free again after done, or after share_forget. */
int share_slot(struct share *s);
/* Sends iov[0..n) in that slot; room: how long the answer may be. -EPIPE: the server is gone. */
int share_submit(struct share *s, unsigned slot, const struct iovec *iov, unsigned n, uint64_t len,
	uint64_t room);
const void *share_answer(const struct share *s, unsigned slot);
/* done is not called for what is in flight. */
void share_forget(struct share *s);
/* Waits until nothing is in flight, calling done. */
void share_drain(struct share *s);

#endif
