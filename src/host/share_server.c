/*
 * share_server.c - the process behind a shared folder: opens it, and answers
 * what comes in slots.
 *
 * A few workers wait on the one socket; each takes a request into its own
 * memory, all but the data of a write, before it looks at it. The process has
 * the folder, the socket, the arena and /proc/self/fd, and the jail keeps it
 * from more. Lock: see share_nodes.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "host/jail.h"
#include "host/share_server.h"
#include "util/util.h"

#define PROC_FD     "/proc/self/fd"
#define FDS_OWN     64u    /* beside nodes and handles */
#define FDS_ENOUGH  65536u /* more would only fill the host's memory */
#define ARENA_SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

/* ---- opening ---- */

/* Half of the descriptors that we may have are for nodes. */
static uint32_t raise_limit(void)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l))
		return 256;
	l.rlim_cur = MIN(l.rlim_max, 2 * FDS_ENOUGH);
	setrlimit(RLIMIT_NOFILE, &l);
	return (uint32_t)(MAX(l.rlim_cur, 4 * FDS_OWN) - FDS_OWN) / 2;
}

static bool has_openat2(int dirfd)
{
	struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_BENEATH};
	int fd = (int)syscall(SYS_openat2, dirfd, ".", &how, sizeof(how));

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static int make_arena(void)
{
	int fd = memfd_create("tinamou-share", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0 || ftruncate(fd, SHARE_ARENA) || fcntl(fd, F_ADD_SEALS, ARENA_SEALS))
		return -1;
	return fd;
}

/* Fills s; what is open already is closed by the caller on failure. */
static const char *open_all(struct share_server *s, const struct share_options *o)
{
	int pair[2];

	s->root = open(o->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->root < 0)
		return strerror(errno);
	if (access(PROC_FD, F_OK))
		return "/proc is not mounted, and a shared folder needs it";
	s->arena = make_arena();
	if (s->arena < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return "no memory or no socket for its server";
	s->socket = pair[0];
	s->machine_socket = pair[1];
	s->slots = mmap(NULL, SHARE_ARENA, PROT_READ | PROT_WRITE, MAP_SHARED, s->arena, 0);
	if (s->slots == MAP_FAILED)
		return "no memory for its server";
	s->openat2 = has_openat2(s->root);
	return NULL;
}

struct share_server *share_open(const struct share_options *o, char *err, size_t errlen)
{
	struct share_server *s = xcalloc(1, sizeof(*s));
	const char *why;

	s->root = s->proc = s->arena = s->socket = s->machine_socket = -1;
	s->slots = MAP_FAILED;
	s->options = *o;
	s->options.path = NULL;
	s->path = xstrdup(o->path);
	s->uid = geteuid();
	s->gid = getegid();
	why = open_all(s, o);
	if (!why)
		return s;
	snprintf(err, errlen, "the shared folder %s: %s", o->path, why);
	share_close(s);
	return NULL;
}

int share_socket(const struct share_server *s)
{
	return s->machine_socket;
}

int share_arena(const struct share_server *s)
{
	return s->arena;
}

void share_fds(const struct share_server *s, int fd[SHARE_FDS])
{
	fd[0] = s->root;
	fd[1] = s->arena;
	fd[2] = s->socket;
}

void share_close(struct share_server *s)
{
	int fd[] = {s->root, s->proc, s->arena, s->socket, s->machine_socket};

	for (unsigned i = 0; i < ARRAY_SIZE(fd); i++)
		if (fd[i] >= 0)
			close(fd[i]);
	if (s->slots != MAP_FAILED)
		munmap(s->slots, SHARE_ARENA);
	free(s->path);
	free(s);
}

/* ---- one request ---- */

/* Into the worker's memory; only what a write carries stays in the slot. */
static bool take(struct share_request *r, const uint8_t *slot, uint32_t len)
{
	uint32_t head = sizeof(r->in) + sizeof(struct fuse_write_in), part;

	if (len < sizeof(r->in) || len > SHARE_HALF)
		return false;
	memcpy(&r->in, slot, sizeof(r->in));
	part = r->in.opcode == FUSE_WRITE ? MIN(len, head) : len;
	if (r->in.len != len || part > SHARE_ARGS)
		return false;
	memcpy(r->copy, slot, part);
	r->args = r->copy + sizeof(r->in);
	r->args_len = part - (uint32_t)sizeof(r->in);
	r->data = slot + part;
	r->data_len = len - part;
	return true;
}

uint32_t share_answer_slot(struct share_request *r, uint8_t *slot, const struct share_message *m)
{
	struct fuse_out_header *h = (void *)(slot + SHARE_HALF);
	uint32_t room = MIN(m->room, SHARE_HALF), len;
	int err = -EINVAL;

	r->out = (uint8_t *)(h + 1);
	r->room = room < sizeof(*h) ? 0 : room - (uint32_t)sizeof(*h);
	if (take(r, slot, m->len))
		err = share_request(r);
	else
		r->in = (struct fuse_in_header){.opcode = UINT32_MAX};
	if (!share_answered(r->in.opcode) || room < sizeof(*h))
		return 0;
	len = (uint32_t)sizeof(*h) + (err ? 0 : r->out_len);
	*h = (struct fuse_out_header){.len = len, .error = err, .unique = r->in.unique};
	return len;
}

/* ---- workers ---- */

static void *work(void *arg)
{
	struct share_server *s = arg;
	struct share_request *r = xcalloc(1, sizeof(*r));
	struct share_message m;
	ssize_t n;

	r->s = s;
	if (s->jail && jail_calls(JAIL_SHARE))
		return NULL;
	for (;;) {
		n = recv(s->socket, &m, sizeof(m), 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n != sizeof(m) || m.slot >= SHARE_SLOTS)
			break;
		m.len = share_answer_slot(r, s->slots + (size_t)m.slot * SHARE_SLOT, &m);
		m.room = 0;
		if (send(s->socket, &m, sizeof(m), MSG_NOSIGNAL) < 0)
			break;
	}
	shutdown(s->socket, SHUT_RDWR); /* one that gives up ends all of them */
	free(r);
	return NULL;
}

int share_begin(struct share_server *s)
{
	umask(0);
	s->proc = open(PROC_FD, O_PATH | O_DIRECTORY | O_CLOEXEC); /* of this process */
	if (s->proc < 0)
		return -errno;
	return share_table_init(&s->table, raise_limit(), s->root);
}

int share_serve(struct share_server *s, bool jail)
{
	pthread_t thread[SHARE_WORKERS];
	unsigned n = 0;
	int err = share_begin(s);

	if (err)
		return err;
	if (jail && jail_paths(s->root, s->options.ro))
		return -EPERM;
	s->jail = jail;
	while (n < SHARE_WORKERS && !pthread_create(&thread[n], NULL, work, s))
		n++;
	if (jail && jail_calls(JAIL_SHARE))
		return -EPERM;
	for (unsigned i = 0; i < n; i++)
		pthread_join(thread[i], NULL);
	share_table_free(&s->table);
	return 0;
}
