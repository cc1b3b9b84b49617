/*
 * share_server.h - inside of the server of shared folders: nodes, handles and
 * requests. See share.h for the door, share_nodes.c for what a node is.
 */
#ifndef TINAMOU_SHARE_SERVER_H
#define TINAMOU_SHARE_SERVER_H

#include <linux/fuse.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "host/share.h"

#define SHARE_NODES   262144u /* that the guest may know at a time */
#define SHARE_HANDLES 8192u   /* files and directories that it may have open */
#define SHARE_DEPTH   1024u   /* of folders in each other */
#define SHARE_ARGS    65536u  /* bytes of a request that is no write */

struct share_node {
	dev_t dev;
	ino_t ino;
	uint32_t kind; /* S_IFMT */
	int fd;        /* O_PATH, -1: closed to save descriptors */
	uint32_t generation;
	uint32_t pins;         /* requests and children that need it */
	uint32_t users;        /* of these the requests, which need the descriptor */
	uint64_t lookups;      /* what the guest will forget one day */
	uint32_t parent;       /* index; the name is in there */
	char *name;            /* NULL: the root, or free */
	bool keep;             /* has lost its name: the descriptor is all there is */
	uint32_t next;         /* in its chain of the hash, or among the free ones */
	uint32_t older, newer; /* among those with a descriptor, by use */
};

struct share_handle {
	int fd; /* -1: free */
	bool dir;
	bool closing; /* released, or its session is over */
	uint32_t generation, users, next;
};

struct share_table {
	pthread_mutex_t lock;
	struct share_node *node; /* [0] ends lists, [1] is the root */
	uint32_t nodes, used, free;
	uint32_t *hash, buckets;
	uint32_t fds, fds_max;
	struct share_handle *handle;
	uint32_t handles, free_handle;
};

struct share_server {
	struct share_options options;
	char *path;
	int root, proc; /* the folder; /proc/self/fd */
	int socket, arena;
	int machine_socket, machine_arena;
	uint8_t *slots;
	uid_t uid;
	gid_t gid;
	atomic_bool initialised;
	bool jail;    /* its threads close it behind them */
	bool openat2; /* the kernel has it */
	struct share_table table;
};

/* One request at work; a worker has one. */
struct share_request {
	struct share_server *s;
	struct fuse_in_header in;
	const uint8_t *args; /* a copy */
	uint32_t args_len;
	const uint8_t *data; /* of a write: in the slot, the guest may still change it */
	uint32_t data_len;
	uint8_t *out; /* the answer's payload, in the slot */
	uint32_t room, out_len;
	_Alignas(8) uint8_t copy[SHARE_ARGS];
};

/* ---- share_server.c ---- */

/* Writes the answer behind the request in a slot; returns its length. r->s is set. */
uint32_t share_answer_slot(struct share_request *r, uint8_t *slot, const struct share_message *m);
/* Makes the server's tables; in the process that serves. */
int share_begin(struct share_server *s);

/* ---- share_nodes.c ---- */

int share_table_init(struct share_table *t, uint32_t fds_max, int root);
void share_table_free(struct share_table *t);
/* As a new session begins: the guest knows the root, and nothing is open. */
void share_table_clear(struct share_table *t);

/* A node's descriptor, for as long as it is pinned; -ESTALE, -ENFILE. */
int share_pin(struct share_server *s, uint64_t id);
void share_unpin(struct share_server *s, uint64_t id);
/*
 * The node of `name` in a pinned folder, one lookup more: its id, or -errno.
 * Checks the name. st: what it is now.
 */
int share_lookup(struct share_server *s, uint64_t dir, int dirfd, const char *name, uint64_t *id,
	struct stat *st);
void share_forget_node(struct share_server *s, uint64_t id, uint64_t lookups);
/* A name is about to go: its node, if there is one, keeps its descriptor from here. */
void share_loses_name(struct share_server *s, int dirfd, const char *name);
/* What is called `name` there is what moved. */
void share_moved(struct share_server *s, uint64_t dir, int dirfd, const char *name);
/* Opens by name without leaving the folder; the name has been checked. */
int share_openat(const struct share_server *s, int dirfd, const char *name, int flags, mode_t mode);

/* Takes over fd, also on failure. */
int share_handle_add(struct share_server *s, int fd, bool dir, uint64_t *id);
/* Its descriptor, held until share_handle_put; -EBADF. */
int share_handle_get(struct share_server *s, uint64_t id, bool dir);
void share_handle_put(struct share_server *s, uint64_t id);
/* -EBADF. It is closed when its last user is done. */
int share_handle_remove(struct share_server *s, uint64_t id, bool dir);

/* ---- share_ops.c, share_files.c ---- */

/* Answers r->in and r->args: 0 or -errno, payload in r->out. */
int share_request(struct share_request *r);
/* Has this one an answer at all? */
bool share_answered(uint32_t opcode);

enum share_flags {
	SHARE_WRITES = 1, /* refused in a read-only share */
	SHARE_SILENT = 2, /* has no answer */
	SHARE_ALWAYS = 4  /* before INIT too */
};

struct share_op {
	uint32_t args; /* least bytes of arguments */
	unsigned flags;
	int (*serve)(struct share_request *r);
};

/* Room for a payload of that size, zeroed; NULL: the guest has offered less. */
void *share_reply(struct share_request *r, uint32_t size);
void share_attr(const struct share_server *s, const struct stat *st, struct fuse_attr *a);
/* How long the guest may believe an attribute or a name. */
void share_valid(const struct share_server *s, uint64_t *seconds);
int share_entry(struct share_request *r, uint64_t dir, int dirfd, const char *name,
	struct fuse_entry_out *e);
/* A text among the arguments; NULL: it does not end there. */
const char *share_name(const struct share_request *r, uint32_t at, uint32_t *next);
/* The name behind `at` bytes of arguments: one component, neither "." nor "..". */
int share_one_name(const struct share_request *r, uint32_t at, const char **name);
/* Opens what the request's node is: a regular file, or a folder. */
int share_open_node(struct share_request *r, int flags, bool dir);

/* ops in share_files.c */
int share_op_open(struct share_request *r);
int share_op_opendir(struct share_request *r);
int share_op_create(struct share_request *r);
int share_op_read(struct share_request *r);
int share_op_write(struct share_request *r);
int share_op_release(struct share_request *r);
int share_op_releasedir(struct share_request *r);
int share_op_flush(struct share_request *r);
int share_op_fsync(struct share_request *r);
int share_op_fsyncdir(struct share_request *r);
int share_op_syncfs(struct share_request *r);
int share_op_fallocate(struct share_request *r);
int share_op_lseek(struct share_request *r);
int share_op_readdir(struct share_request *r);
int share_op_readdirplus(struct share_request *r);
int share_op_copy(struct share_request *r);

#endif
