/*
 * test_share.c - the server of shared folders against a guest that means harm:
 * names, IDs, lengths, kinds of files, races. The server runs in its own
 * process and jail, as it does in a run.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/loop.h"
#include "host/share_server.h"
#include "util/util.h"

#define ROOT FUSE_ROOT_ID

struct guest {
	char top[64], shared[80], outside[80];
	pid_t pid;
	int socket;
	uint8_t *slots;
	uint64_t unique;
	struct fuse_out_header head;
	uint8_t reply[SHARE_HALF];
};

static void write_file(const char *folder, const char *name, const char *text)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void make_folders(struct guest *g)
{
	char path[128];

	strcpy(g->top, "/tmp/tinamou-share-XXXXXX");
	assert_non_null(mkdtemp(g->top));
	snprintf(g->shared, sizeof(g->shared), "%s/in", g->top);
	snprintf(g->outside, sizeof(g->outside), "%s/out", g->top);
	assert_int_equal(mkdir(g->shared, 0755) | mkdir(g->outside, 0755), 0);
	write_file(g->shared, "file", "inside");
	write_file(g->outside, "file", "secret");
	snprintf(path, sizeof(path), "%s/away", g->shared);
	assert_int_equal(symlink(g->outside, path), 0);
	snprintf(path, sizeof(path), "%s/passwd", g->shared);
	assert_int_equal(symlink("/etc/passwd", path), 0);
	snprintf(path, sizeof(path), "%s/fifo", g->shared);
	assert_int_equal(mkfifo(path, 0600), 0);
	snprintf(path, sizeof(path), "%s/dir", g->shared);
	assert_int_equal(mkdir(path, 0755), 0);
}

static void start(struct guest *g, bool ro, rlim_t files)
{
	struct share_options o = {.path = g->shared, .ro = ro};
	const struct rlimit l = {files, files};
	char err[256];
	struct share_server *s = share_open(&o, err, sizeof(err));

	assert_non_null(s);
	g->pid = fork();
	if (!g->pid) {
		if (files)
			setrlimit(RLIMIT_NOFILE, &l);
		close(share_socket(s));
		s->machine_socket = -1;
		_exit(share_serve(s, true) ? 1 : 0);
	}
	g->socket = dup(share_socket(s));
	g->slots = mmap(NULL, SHARE_ARENA, PROT_READ | PROT_WRITE, MAP_SHARED, share_arena(s), 0);
	share_close(s);
}

static int stop(struct guest *g)
{
	char command[128];
	int status;

	close(g->socket);
	munmap(g->slots, SHARE_ARENA);
	waitpid(g->pid, &status, 0);
	snprintf(command, sizeof(command), "rm -rf %s", g->top);
	assert_int_equal(system(command), 0);
	return status;
}

/* The server's answer: its error, or the payload's length. */
static int send_raw(struct guest *g, const void *request, uint32_t len, uint32_t room)
{
	struct share_message m = {0, len, room, 1};

	memcpy(g->slots, request, MIN(len, ((const struct fuse_in_header *)request)->len));
	assert_int_equal(send(g->socket, &m, sizeof(m), MSG_NOSIGNAL), sizeof(m));
	assert_int_equal(recv(g->socket, &m, sizeof(m), 0), sizeof(m));
	if (m.len < sizeof(g->head))
		return -ENODATA;
	memcpy(&g->head, g->slots + SHARE_HALF, sizeof(g->head));
	memcpy(g->reply, g->slots + SHARE_HALF + sizeof(g->head), m.len - sizeof(g->head));
	assert_int_equal(g->head.len, m.len);
	return g->head.error ? g->head.error : (int)(m.len - sizeof(g->head));
}

static int ask(struct guest *g, uint32_t opcode, uint64_t node, const void *args, size_t len)
{
	static uint8_t buf[SHARE_HALF];
	struct fuse_in_header h = {.len = (uint32_t)(sizeof(h) + len),
		.opcode = opcode,
		.unique = ++g->unique,
		.nodeid = node};
	int rc;

	memcpy(buf, &h, sizeof(h));
	if (len)
		memcpy(buf + sizeof(h), args, len);
	rc = send_raw(g, buf, h.len, SHARE_HALF);
	if (rc != -ENODATA)
		assert_int_equal(g->head.unique, g->unique);
	return rc;
}

static void init(struct guest *g)
{
	const struct fuse_init_in in = {.major = 7, .minor = 36, .max_readahead = 65536};

	assert_int_equal(ask(g, FUSE_INIT, 0, &in, sizeof(in)), sizeof(struct fuse_init_out));
}

static void begin(struct guest *g, bool ro)
{
	memset(g, 0, sizeof(*g));
	make_folders(g);
	start(g, ro, 0);
	init(g);
}

static int lookup(struct guest *g, uint64_t dir, const char *name, uint64_t *id)
{
	int rc = ask(g, FUSE_LOOKUP, dir, name, strlen(name) + 1);

	*id = 0;
	if (rc >= 0)
		memcpy(id, &((struct fuse_entry_out *)g->reply)->nodeid, sizeof(*id));
	return rc < 0 ? rc : 0;
}

static int open_node(struct guest *g, uint64_t id, uint32_t flags, uint64_t *fh)
{
	const struct fuse_open_in in = {.flags = flags};
	int rc = ask(g, FUSE_OPEN, id, &in, sizeof(in));

	*fh = 0;
	if (rc >= 0)
		memcpy(fh, &((struct fuse_open_out *)g->reply)->fh, sizeof(*fh));
	return rc < 0 ? rc : 0;
}

static int read_handle(struct guest *g, uint64_t id, uint64_t fh, uint32_t size)
{
	const struct fuse_read_in in = {.fh = fh, .size = size};

	return ask(g, FUSE_READ, id, &in, sizeof(in));
}

/* ---- tests ---- */

static void test_session(void **state)
{
	struct guest *g = calloc(1, sizeof(*g));
	uint64_t id, fh;

	make_folders(g);
	start(g, false, 0);
	assert_int_equal(ask(g, FUSE_LOOKUP, ROOT, "file", 5), -EIO); /* no INIT yet */
	init(g);
	assert_int_equal(lookup(g, ROOT, "file", &id), 0);
	assert_int_equal(open_node(g, id, O_RDONLY, &fh), 0);
	assert_int_equal(read_handle(g, id, fh, 100), 6);
	assert_memory_equal(g->reply, "inside", 6);
	assert_int_equal(ask(g, 9999, ROOT, NULL, 0), -ENOSYS);
	assert_int_equal(ask(g, FUSE_SETXATTR, ROOT, "x", 2), -ENOSYS);
	init(g); /* a new session knows nothing of the old one */
	assert_int_equal(read_handle(g, id, fh, 100), -EBADF);
	assert_int_equal(open_node(g, id, O_RDONLY, &fh), -ESTALE);
	assert_int_equal(stop(g), 0);
	free(g);
}

static void test_names(void **state)
{
	struct guest *g = calloc(1, sizeof(*g));
	char longest[400];
	uint64_t id;
	static const char *const bad[] = {"", ".", "..", "../out", "dir/../..", "/etc", "a/b", "/"};
	const struct fuse_mkdir_in mk = {.mode = 0755};
	uint8_t args[64];

	begin(g, false);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(lookup(g, ROOT, bad[i], &id), -EINVAL);
		assert_int_equal(ask(g, FUSE_UNLINK, ROOT, bad[i], strlen(bad[i]) + 1), -EINVAL);
		assert_int_equal(ask(g, FUSE_RMDIR, ROOT, bad[i], strlen(bad[i]) + 1), -EINVAL);
		memcpy(args, &mk, sizeof(mk));
		strcpy((char *)args + sizeof(mk), bad[i]);
		assert_int_equal(
			ask(g, FUSE_MKDIR, ROOT, args, sizeof(mk) + strlen(bad[i]) + 1), -EINVAL);
	}
	memset(longest, 'n', sizeof(longest));
	longest[300] = 0;
	assert_int_equal(ask(g, FUSE_LOOKUP, ROOT, longest, 301), -ENAMETOOLONG);
	assert_int_equal(ask(g, FUSE_LOOKUP, ROOT, "file", 4), -EINVAL); /* no end */
	assert_int_equal(ask(g, FUSE_LOOKUP, ROOT, NULL, 0), -EINVAL);
	assert_int_equal(stop(g), 0);
	free(g);
}

static void test_links(void **state)
{
	struct guest *g = calloc(1, sizeof(*g));
	static const char made[] = "hop\0/etc";
	uint64_t id, inner, fh;

	begin(g, false);
	assert_int_equal(lookup(g, ROOT, "away", &id), 0);
	assert_int_equal(lookup(g, id, "file", &inner), -ENOTDIR);
	assert_int_equal(lookup(g, ROOT, "passwd", &id), 0);
	assert_true(open_node(g, id, O_RDONLY, &fh) < 0);
	assert_true(ask(g, FUSE_OPENDIR, id, &(struct fuse_open_in){0}, 8) < 0);
	assert_int_equal(ask(g, FUSE_READLINK, id, NULL, 0), (int)strlen("/etc/passwd"));
	assert_int_equal(
		ask(g, FUSE_SYMLINK, ROOT, made, sizeof(made)), sizeof(struct fuse_entry_out));
	assert_int_equal(lookup(g, ROOT, "hop", &id), 0);
	assert_int_equal(lookup(g, id, "passwd", &inner), -ENOTDIR);
	assert_true(ask(g, FUSE_OPENDIR, id, &(struct fuse_open_in){0}, 8) < 0);
	assert_int_equal(stop(g), 0);
	free(g);
}

/* A link's own attributes may change, never those of what it names. */
static void test_link_attributes(void **state)
{
	struct guest *g = calloc(1, sizeof(*g));
	struct fuse_setattr_in in = {.valid = FATTR_MODE, .mode = 0777};
	struct stat before, after;
	uint64_t id;

	begin(g, false);
	assert_int_equal(stat(g->outside, &before), 0);
	assert_int_equal(lookup(g, ROOT, "away", &id), 0);
	ask(g, FUSE_SETATTR, id, &in, sizeof(in));
	in.valid = FATTR_MTIME;
	ask(g, FUSE_SETATTR, id, &in, sizeof(in));
	in.valid = FATTR_SIZE;
	assert_true(ask(g, FUSE_SETATTR, id, &in, sizeof(in)) < 0);
	assert_int_equal(stat(g->outside, &after), 0);
	assert_int_equal(before.st_mode, after.st_mode);
	assert_int_equal(before.st_mtime, after.st_mtime);
	assert_int_equal(stop(g), 0);
	free(g);
}

static void test_ids(void **state)
{
	struct guest *g = calloc(1, sizeof(*g));
	const uint64_t made_up[] = {0, 2, 77, UINT32_MAX, UINT64_MAX, 1ull << 32 | 1, 5ull << 32};
	const struct fuse_forget_in all = {.nlookup = UINT64_MAX};
	struct fuse_release_in again = {0};
	uint64_t id, fh, kept;

	begin(g, false);
	for (unsigned i = 0; i < ARRAY_SIZE(made_up); i++) {
		assert_int_equal(lookup(g, made_up[i], "file", &id), -ESTALE);
		assert_int_equal(read_handle(g, ROOT, made_up[i], 10), -EBADF);
	}
	assert_int_equal(ask(g, FUSE_FORGET, ROOT, &all, sizeof(all)), -ENODATA);
	assert_int_equal(lookup(g, ROOT, "file", &id), 0); /* the root cannot be forgotten */
	assert_int_equal(open_node(g, id, O_RDONLY, &kept), 0);
	again.fh = kept;
	assert_int_equal(ask(g, FUSE_FORGET, id, &all, sizeof(all)), -ENODATA);
	assert_int_equal(open_node(g, id, O_RDONLY, &fh), -ESTALE);
	assert_int_equal(read_handle(g, id, kept, 10), 6); /* it was open */
	assert_int_equal(ask(g, FUSE_RELEASE, id, &again, sizeof(again)), 0);
	assert_int_equal(ask(g, FUSE_RELEASE, id, &again, sizeof(again)), -EBADF);
	assert_int_equal(stop(g), 0);
	free(g);
}

static void test_lengths(void **state)
{
	struct guest *g = calloc(1, sizeof(*g));
	struct fuse_in_header h = {.len = sizeof(h), .opcode = FUSE_GETATTR, .nodeid = ROOT};
	struct fuse_write_in w = {.size = SHARE_DATA};
	uint8_t args[sizeof(w) + 4];
	uint64_t id;

	begin(g, false);
	for (uint32_t op = 0; op < 60; op++) { /* each one without its arguments */
		h.opcode = op;
		if (op != FUSE_DESTROY)
			send_raw(g, &h, sizeof(h), SHARE_HALF);
	}
	init(g);
	h.opcode = FUSE_GETATTR;
	assert_int_equal(send_raw(g, &h, 10, SHARE_HALF), -EINVAL);
	h.len = 39;
	assert_int_equal(send_raw(g, &h, sizeof(h), SHARE_HALF), -EINVAL);
	assert_int_equal(send_raw(g, &h, UINT32_MAX, SHARE_HALF), -EINVAL);
	assert_int_equal(send_raw(g, &h, sizeof(h), 3), -ENODATA);
	assert_int_equal(lookup(g, ROOT, "file", &id), 0);
	assert_int_equal(open_node(g, id, O_RDWR, &w.fh), 0);
	memcpy(args, &w, sizeof(w));
	assert_int_equal(ask(g, FUSE_WRITE, id, args, sizeof(args)), -EINVAL);
	assert_int_equal(read_handle(g, id, w.fh, UINT32_MAX), 6);
	w.size = 4;
	w.offset = UINT64_MAX;
	memcpy(args, &w, sizeof(w));
	assert_int_equal(ask(g, FUSE_WRITE, id, args, sizeof(args)), -EFBIG);
	assert_int_equal(stop(g), 0);
	free(g);
}

static int make_node(struct guest *g, const char *name, mode_t mode)
{
	const struct fuse_mknod_in in = {.mode = mode, .rdev = 0x103};
	uint8_t args[sizeof(in) + 32];

	memcpy(args, &in, sizeof(in));
	strcpy((char *)args + sizeof(in), name);
	return ask(g, FUSE_MKNOD, ROOT, args, sizeof(in) + strlen(name) + 1);
}

static void test_kinds(void **state)
{
	struct guest *g = calloc(1, sizeof(*g));
	struct fuse_setattr_in in = {.valid = FATTR_MODE, .mode = 06755};
	struct fuse_attr_out a;
	uint64_t id, fh;

	begin(g, false);
	assert_int_equal(make_node(g, "null", S_IFCHR | 0666), -EPERM);
	assert_int_equal(make_node(g, "disk", S_IFBLK | 0666), -EPERM);
	assert_true(make_node(g, "plain", S_IFREG | 06755) > 0);
	assert_int_equal(lookup(g, ROOT, "plain", &id), 0);
	assert_true(ask(g, FUSE_SETATTR, id, &in, sizeof(in)) > 0);
	memcpy(&a, g->reply, sizeof(a));
	assert_int_equal(a.attr.mode, S_IFREG | 0755); /* nobody becomes the host's user by it */
	assert_int_equal(lookup(g, ROOT, "fifo", &id), 0);
	assert_int_equal(open_node(g, id, O_RDONLY, &fh), -EACCES); /* and does not wait */
	assert_int_equal(open_node(g, id, O_WRONLY, &fh), -EACCES);
	assert_int_equal(stop(g), 0);
	free(g);
}

static void test_readonly(void **state)
{
	struct guest *g = calloc(1, sizeof(*g));
	struct fuse_setattr_in in = {.valid = FATTR_SIZE};
	uint64_t id, fh;

	begin(g, true);
	assert_int_equal(lookup(g, ROOT, "file", &id), 0);
	assert_int_equal(open_node(g, id, O_RDWR, &fh), -EROFS);
	assert_int_equal(open_node(g, id, O_RDONLY | O_TRUNC, &fh), -EROFS);
	assert_int_equal(open_node(g, id, O_RDONLY, &fh), 0);
	assert_int_equal(ask(g, FUSE_UNLINK, ROOT, "file", 5), -EROFS);
	assert_int_equal(ask(g, FUSE_SETATTR, id, &in, sizeof(in)), -EROFS);
	assert_int_equal(make_node(g, "new", S_IFREG | 0644), -EROFS);
	assert_int_equal(read_handle(g, id, fh, 10), 6);
	assert_int_equal(stop(g), 0);
	free(g);
}

/* More files than descriptors: those not in use are closed and come back. */
static void test_many(void **state)
{
	struct guest *g = calloc(1, sizeof(*g));
	uint64_t id[400], fh;
	char name[32];

	make_folders(g);
	for (unsigned i = 0; i < 400; i++) {
		snprintf(name, sizeof(name), "dir/n%u", i);
		write_file(g->shared, name, name);
	}
	start(g, false, 256);
	init(g);
	assert_int_equal(lookup(g, ROOT, "dir", &id[0]), 0);
	for (unsigned i = 1; i < 400; i++) {
		snprintf(name, sizeof(name), "n%u", i);
		assert_int_equal(lookup(g, id[0], name, &id[i]), 0);
	}
	for (unsigned i = 1; i < 400; i++) {
		struct fuse_release_in release = {0};

		snprintf(name, sizeof(name), "dir/n%u", i);
		assert_int_equal(open_node(g, id[i], O_RDONLY, &fh), 0);
		assert_int_equal(read_handle(g, id[i], fh, 100), (int)strlen(name));
		assert_memory_equal(g->reply, name, strlen(name));
		release.fh = fh;
		assert_int_equal(ask(g, FUSE_RELEASE, id[i], &release, sizeof(release)), 0);
	}
	assert_int_equal(stop(g), 0);
	free(g);
}

struct swapper {
	struct guest *g;
	atomic_bool stop;
};

/* "swap" is a folder at one moment, and a link to the outside at the next. */
static void *swap(void *arg)
{
	struct swapper *s = arg;
	int dir = open(s->g->shared, O_PATH | O_DIRECTORY);

	while (!atomic_load(&s->stop)) {
		renameat2(dir, "away", dir, "dir", RENAME_EXCHANGE);
		renameat2(dir, "file", dir, "passwd", RENAME_EXCHANGE);
	}
	close(dir);
	return NULL;
}

static void test_race(void **state)
{
	struct guest *g = calloc(1, sizeof(*g));
	struct swapper s = {.g = g};
	unsigned seen[2] = {0, 0};
	uint64_t dir, id, fh;
	pthread_t thread;

	make_folders(g);
	write_file(g->shared, "dir/file", "within");
	start(g, false, 0);
	init(g);
	pthread_create(&thread, NULL, swap, &s);
	for (unsigned i = 0; i < 4000; i++) {
		const char *way[] = {"dir", "away"};

		if (lookup(g, ROOT, way[i & 1], &dir))
			continue;
		if (!lookup(g, dir, "file", &id) && !open_node(g, id, O_RDONLY, &fh)) {
			assert_int_equal(read_handle(g, id, fh, 10), 6);
			assert_memory_equal(g->reply, "within", 6);
			seen[0]++;
			ask(g, FUSE_RELEASE, id, &(struct fuse_release_in){.fh = fh},
				sizeof(struct fuse_release_in));
		}
		if (!lookup(g, ROOT, i & 1 ? "file" : "passwd", &id) &&
			!open_node(g, id, O_RDONLY, &fh)) {
			assert_int_equal(read_handle(g, id, fh, 10), 6);
			assert_memory_equal(g->reply, "inside", 6);
			seen[1]++;
			ask(g, FUSE_RELEASE, id, &(struct fuse_release_in){.fh = fh},
				sizeof(struct fuse_release_in));
		}
	}
	atomic_store(&s.stop, true);
	pthread_join(thread, NULL);
	assert_true(seen[0] > 20 && seen[1] > 20);
	assert_int_equal(stop(g), 0);
	free(g);
}

/* A machine that fell into the guest's hands: the server ends, and does no more. */
static void test_bad_machine(void **state)
{
	struct guest *g = calloc(1, sizeof(*g));
	struct share_message m = {SHARE_SLOTS, 40, 40, 1};
	char byte;

	begin(g, false);
	assert_int_equal(send(g->socket, &m, sizeof(m), 0), sizeof(m));
	assert_int_equal(recv(g->socket, &byte, 1, 0), 0);
	assert_int_equal(stop(g), 0);
	free(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_session),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_links),
		cmocka_unit_test(test_link_attributes),
		cmocka_unit_test(test_ids),
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_kinds),
		cmocka_unit_test(test_readonly),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_race),
		cmocka_unit_test(test_bad_machine),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
