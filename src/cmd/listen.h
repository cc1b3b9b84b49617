/*
 * listen.h - sockets that programs of this host come to: --display vnc=, --gdb.
 * The front opens them. Nobody is asked for a password, so only this host is
 * listened to, and a socket with a path is for its owner alone.
 */
#ifndef TINAMOU_LISTEN_H
#define TINAMOU_LISTEN_H

#include <stdbool.h>
#include <stddef.h>

/* A path with a slash, or [HOST:]PORT with a host that is this one. */
bool listen_address_ok(const char *addr);
/* Is it a path? Whoever opened it removes it at the end. */
bool listen_is_path(const char *addr);
/*
 * The socket, or -errno. ports: how many are tried one after the other while they are
 * in use. where: the address that it has now. A path that is there already stays.
 */
int listen_open(const char *addr, unsigned ports, char *where, size_t wherelen);

#endif
