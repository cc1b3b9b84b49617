/*
 * net.h - back ends of network cards: the door between a machine and frames.
 *
 * The front opens (net_open_*, no lock), the machine makes a back end of the
 * descriptor (net_new, vm->lock held from then on) and opens nothing more: a
 * second machine that comes to a listening socket is only accepted.
 */
#ifndef TINAMOU_NET_H
#define TINAMOU_NET_H

#include "core/loop.h"
#include "core/netdev.h"

enum net_kind {
	NET_HELPER, /* a process of ours at the other end of a socket: user mode network */
	NET_PEER,   /* another machine, at the other end of a socket */
	NET_LISTEN, /* the same, which may still come, and come again */
	NET_TAP     /* a network interface of the host */
};

/* Opened by the front. Plain data. */
struct net_link {
	enum net_kind kind;
	int fd;
	uint8_t mac[NET_MAC_LEN];
	uint16_t mtu; /* 0: the driver's own */
};

/* The host's tap device of that name. 0, or -1 with the reason in err. */
int net_open_tap(struct net_link *l, const char *name, char *err, size_t errlen);
/* The first one at a path waits, the second one connects. 0, or -1 with the reason in err. */
int net_open_socket(struct net_link *l, const char *path, char *err, size_t errlen);

struct net;

/* Takes over l->fd; loop outlives it. name: of the card, for messages. */
struct net *net_new(const struct net_link *l, const char *name, struct loop *loop);
/* After the machine ended: its device calls nothing any more. */
void net_free(struct net *n);
struct netdev *net_dev(struct net *n);

#endif
