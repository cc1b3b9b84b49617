/*
 * registry.h - this user's machines by name: for each a lock, a socket and a log
 * in a folder that is nobody else's.
 *
 * The folder is $XDG_RUNTIME_DIR/tinamou, or /tmp/tinamou-UID. A name is taken
 * as long as somebody holds the lock on NAME.lock; the kernel gives it back
 * however its holder ends, so what is left of a dead machine is known as stale.
 */
#ifndef TINAMOU_REGISTRY_H
#define TINAMOU_REGISTRY_H

#include <stdbool.h>
#include <stddef.h>

#define REGISTRY_PATH_MAX 108 /* of a socket's address, unix(7) */
#define REGISTRY_NAME_MAX 48  /* bytes of a name */

/* Letters, digits, '.', '_' and '-'; begins with a letter or digit. */
bool registry_name_ok(const char *name);

/* The path of NAME.suffix; the folder is made. 0, or -1 with a line for the user. */
int registry_path(const char *name, const char *suffix, char *path, char *err, size_t errlen);

/*
 * Takes the name for the life of the descriptor that is returned, and writes the
 * process's number into the lock file. -1 with a line for the user, for example when a machine
 * of that name runs.
 */
int registry_claim(const char *name, char *err, size_t errlen);

/* A socket that listens at NAME.sock; the name is claimed. -1 with a line for the user. */
int registry_listen(const char *name, char *err, size_t errlen);

/* Connected to the machine's socket, or -1 with a line for the user. */
int registry_connect(const char *name, char *err, size_t errlen);

/* The process of its front, 0: no machine of that name runs. */
int registry_process(const char *name);

/* Takes the socket and the lock away; before the lock is given back. */
void registry_forget(const char *name);

/*
 * Calls found for every machine that runs, in alphabetical order; stale entries
 * are removed. 0, or -1 with a line for the user.
 */
int registry_each(void (*found)(void *ctx, const char *name), void *ctx, char *err, size_t errlen);

#endif
