/*
 * vsock.h - streams between a guest's AF_VSOCK and unix sockets of the host.
 *
 * The machine's device and a server process exchange packets, each one message
 * of a SOCK_SEQPACKET pair: a header as virtio has it, and its payload. The
 * server has the listening socket and all streams; the machine has none. Which
 * side asks follows Firecracker's convention: who connects to PATH says
 * "CONNECT port\n" and reads "OK port\n"; a guest's connection to port N of the
 * host (CID 2) goes to the socket PATH_N. Lock: vm->lock for the machine's end.
 */
#ifndef TINAMOU_VSOCK_H
#define TINAMOU_VSOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "core/loop.h"

#define VSOCK_HOST    2u
#define VSOCK_CID_MIN 3u     /* of a guest */
#define VSOCK_OUT_MAX 65536u /* bytes of a packet from the guest */
#define VSOCK_IN_MAX  4096u  /* to it */
#define VSOCK_STREAM  1u     /* type */

enum vsock_op {
	VSOCK_REQUEST = 1,
	VSOCK_RESPONSE,
	VSOCK_RST,
	VSOCK_SHUTDOWN,
	VSOCK_RW,
	VSOCK_CREDIT_UPDATE,
	VSOCK_CREDIT_REQUEST,
	VSOCK_FORGET = 0xffff /* ours: the guest's driver starts anew, nothing is connected */
};

enum { VSOCK_NO_RECEIVE = 1, VSOCK_NO_SEND = 2 }; /* flags of SHUTDOWN */

/* As virtio has it (1.2, 5.10.6), little-endian. */
struct __attribute__((packed)) vsock_header {
	uint64_t src_cid, dst_cid;
	uint32_t src_port, dst_port;
	uint32_t len;
	uint16_t type, op;
	uint32_t flags, buf_alloc, fwd_cnt;
};

/* ---- the machine's end ---- */

struct vsock;

/* Set by the device. */
struct vsock_wires {
	/* A packet of h->len bytes, at most VSOCK_IN_MAX. false: no room, keep it. */
	bool (*receive)(void *device, const struct vsock_header *h, const uint8_t *data);
	/* vsock_send had no room, and has it now. */
	void (*writable)(void *device);
	void *device;
};

/* The socket is the link's from then on. */
struct vsock *vsock_new(int socket, uint32_t cid, struct loop *loop);
void vsock_free(struct vsock *s);
uint32_t vsock_cid(const struct vsock *s);
void vsock_listen(struct vsock *s, const struct vsock_wires *wires);
/* iov[0] is a struct vsock_header. false: no room. What a server that is gone is sent is lost. */
bool vsock_send(struct vsock *s, const struct iovec *iov, unsigned n);
/* The device has room again after receive() had none. */
void vsock_room(struct vsock *s);
/* All connections end. */
void vsock_forget(struct vsock *s);

/* ---- the server ---- */

struct vsock_server;

/* Listens at path, which is to be free or left over. NULL with a line for the user in err. */
struct vsock_server *vsock_server_open(const char *path, uint32_t cid, char *err, size_t errlen);
/* Without serving: its descriptors go, the path stays. */
void vsock_server_close(struct vsock_server *s);
/* The machine's end of the pair; and what serving needs, in no order. */
int vsock_server_socket(const struct vsock_server *s);
#define VSOCK_SERVER_FDS 2
void vsock_server_fds(const struct vsock_server *s, int fd[VSOCK_SERVER_FDS]);
/* Until the machine's end is closed. -errno if it cannot begin. */
int vsock_serve(struct vsock_server *s, bool jail);
/* One turn of that, for tests: waits at most so long. false: the machine is gone. */
bool vsock_server_turn(struct vsock_server *s, int timeout_ms);

#endif
