/*
 * net.h - the front's half of networks: opens what network cards need, and
 * starts the process of a user mode network. Front process only.
 */
#ifndef TINAMOU_CMD_NET_H
#define TINAMOU_CMD_NET_H

#include "cmd/config.h"
#include "host/net.h"

/* One link a card of c, into l. Returns an exit status; what is wrong was said. */
int net_open_all(const struct config *c, struct net_link *l, unsigned *count);

#endif
