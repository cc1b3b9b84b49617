/*
 * share_nodes.c - what the guest knows of a shared folder: nodes and handles.
 *
 * A node is a file that the guest looked up and has not forgotten. It is held
 * by an O_PATH descriptor, so a rename on either side does not change what it
 * means. Where there are more nodes than descriptors, those not used for the
 * longest time are closed; they come back by their last name in their parent,
 * and only if device and inode are still the same (else ESTALE: the guest looks
 * the name up again). Names are one component: ".." and links are followed by
 * nobody. IDs carry a generation, so an old or invented one is refused.
 * Lock: table.lock covers all of it; it is held while a node is reopened.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "host/share_server.h"
#include "util/util.h"

#define ROOT  1u
#define GROW  1024u
#define SLACK 64u /* descriptors that are closed at a time */

static uint32_t index_of(uint64_t id)
{
	return (uint32_t)id;
}

static uint64_t id_of(const struct share_table *t, uint32_t n)
{
	return n | (uint64_t)t->node[n].generation << 32;
}

/* NULL: the guest made that ID up, or uses it after it forgot it. */
static struct share_node *find(struct share_table *t, uint64_t id)
{
	uint32_t n = index_of(id);
	struct share_node *node = n && n < t->used ? &t->node[n] : NULL;

	if (!node || (!node->lookups && !node->pins) || node->generation != id >> 32)
		return NULL;
	return node;
}

/* ---- the list by use: node[0] stands before the oldest and after the newest ---- */

static void list_remove(struct share_table *t, uint32_t n)
{
	struct share_node *node = &t->node[n];

	t->node[node->older].newer = node->newer;
	t->node[node->newer].older = node->older;
}

static void list_add(struct share_table *t, uint32_t n)
{
	struct share_node *node = &t->node[n];

	node->newer = 0;
	node->older = t->node[0].older;
	t->node[node->older].newer = n;
	t->node[0].older = n;
}

static void touch(struct share_table *t, uint32_t n)
{
	list_remove(t, n);
	list_add(t, n);
}

/* A pin of a child is no use of the descriptor, but reopening it takes the parent's: see reopen. */
static void close_some(struct share_table *t)
{
	uint32_t n = t->node[0].newer, left = SLACK;

	while (n && left && t->fds >= t->fds_max) {
		struct share_node *node = &t->node[n];
		uint32_t next = node->newer;

		if (n != ROOT && !node->keep && !node->users) {
			list_remove(t, n);
			close(node->fd);
			node->fd = -1;
			t->fds--;
		}
		left--;
		n = next;
	}
}

/* ---- the hash ---- */

static uint32_t *bucket(struct share_table *t, dev_t dev, ino_t ino)
{
	uint64_t h = (ino * UINT64_C(0x9e3779b97f4a7c15)) ^ dev * UINT64_C(0xc2b2ae3d27d4eb4f);

	return &t->hash[(h ^ h >> 32) & (t->buckets - 1)];
}

static uint32_t hash_find(struct share_table *t, const struct stat *st)
{
	uint32_t n = *bucket(t, st->st_dev, st->st_ino);

	for (; n; n = t->node[n].next) {
		const struct share_node *node = &t->node[n];

		if (node->ino == st->st_ino && node->dev == st->st_dev &&
			node->kind == (st->st_mode & S_IFMT))
			break;
	}
	return n;
}

static void hash_remove(struct share_table *t, uint32_t n)
{
	uint32_t *p = bucket(t, t->node[n].dev, t->node[n].ino);

	while (*p && *p != n)
		p = &t->node[*p].next;
	if (*p)
		*p = t->node[n].next;
}

/* ---- life of a node ---- */

static int grow(struct share_table *t)
{
	uint32_t more = MIN(t->nodes + GROW + t->nodes / 2, SHARE_NODES);
	struct share_node *node;

	if (more == t->nodes)
		return -ENFILE;
	node = realloc(t->node, more * sizeof(*node));
	if (!node)
		return -ENOMEM;
	memset(node + t->nodes, 0, (more - t->nodes) * sizeof(*node));
	t->node = node;
	t->nodes = more;
	return 0;
}

static int node_new(struct share_table *t, uint32_t *out)
{
	if (t->free) {
		*out = t->free;
		t->free = t->node[*out].next;
		return 0;
	}
	if (t->used == t->nodes && grow(t))
		return -ENFILE;
	*out = t->used++;
	return 0;
}

static void set_name(struct share_table *t, uint32_t n, uint32_t parent, const char *name);

/* Nobody needs it: not the guest, not a request, not a child. */
static void release_if_unused(struct share_table *t, uint32_t n)
{
	while (n > ROOT && !t->node[n].lookups && !t->node[n].pins) {
		struct share_node *node = &t->node[n];
		uint32_t parent = node->parent;

		hash_remove(t, n);
		if (node->fd >= 0) {
			list_remove(t, n);
			close(node->fd);
			t->fds--;
		}
		free(node->name);
		*node = (struct share_node){
			.fd = -1, .generation = node->generation + 1, .next = t->free};
		t->free = n;
		t->node[parent].pins--;
		n = parent;
	}
}

static void set_name(struct share_table *t, uint32_t n, uint32_t parent, const char *name)
{
	struct share_node *node = &t->node[n];
	uint32_t before = node->parent;
	char *copy;

	if (node->parent == parent && node->name && !strcmp(node->name, name))
		return;
	copy = strdup(name);
	if (!copy)
		return; /* the old one stays: a later ESTALE is the worst */
	free(node->name);
	node->name = copy;
	t->node[parent].pins++;
	node->parent = parent;
	if (before) {
		t->node[before].pins--;
		release_if_unused(t, before);
	}
}

/* ---- descriptors ---- */

int share_openat(const struct share_server *s, int dirfd, const char *name, int flags, mode_t mode)
{
	struct open_how how = {.flags = (uint64_t)(flags | O_CLOEXEC | O_NOFOLLOW),
		.mode = flags & O_CREAT ? mode : 0,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS};
	int fd;

	if (s->openat2)
		fd = (int)syscall(SYS_openat2, dirfd, name, &how, sizeof(how));
	else /* one component that is not followed stays inside as well */
		fd = openat(dirfd, name, flags | O_CLOEXEC | O_NOFOLLOW, mode);
	return fd < 0 ? -errno : fd;
}

static bool same(const struct share_node *node, const struct stat *st)
{
	return node->dev == st->st_dev && node->ino == st->st_ino &&
	       node->kind == (st->st_mode & S_IFMT);
}

static void give_fd(struct share_table *t, uint32_t n, int fd)
{
	t->node[n].fd = fd;
	t->fds++;
	list_add(t, n);
}

/* By its name, in a parent that has a descriptor. */
static int reopen_one(struct share_server *s, uint32_t n)
{
	struct share_table *t = &s->table;
	struct share_node *node = &t->node[n];
	struct stat st;
	int fd = share_openat(s, t->node[node->parent].fd, node->name, O_PATH, 0);

	if (fd < 0)
		return fd == -ENOENT || fd == -ELOOP || fd == -ENOTDIR ? -ESTALE : fd;
	if (fstat(fd, &st) || !same(node, &st)) {
		close(fd);
		return -ESTALE;
	}
	give_fd(t, n, fd);
	return 0;
}

/* From the nearest folder above that has a descriptor, downwards. */
static int reopen(struct share_server *s, uint32_t n)
{
	struct share_table *t = &s->table;
	uint32_t path[SHARE_DEPTH], depth = 0;
	int err = 0;

	for (; t->node[n].fd < 0; n = t->node[n].parent) {
		if (depth == SHARE_DEPTH || !t->node[n].name)
			return -ESTALE;
		path[depth++] = n;
	}
	while (depth && !err)
		err = reopen_one(s, path[--depth]);
	return err;
}

int share_pin(struct share_server *s, uint64_t id)
{
	struct share_table *t = &s->table;
	struct share_node *node;
	int err = 0;

	pthread_mutex_lock(&t->lock);
	node = find(t, id);
	if (!node) {
		err = -ESTALE;
	} else if (node->fd < 0) {
		close_some(t);
		err = reopen(s, index_of(id));
	} else {
		touch(t, index_of(id));
	}
	if (!err) {
		node->pins++;
		node->users++;
		err = node->fd;
	}
	pthread_mutex_unlock(&t->lock);
	return err;
}

void share_unpin(struct share_server *s, uint64_t id)
{
	struct share_table *t = &s->table;
	struct share_node *node;

	pthread_mutex_lock(&t->lock);
	node = find(t, id);
	if (node) {
		node->pins--;
		node->users--;
		release_if_unused(t, index_of(id));
	}
	pthread_mutex_unlock(&t->lock);
}

/* ---- lookups ---- */

/* Takes over fd if it makes or revives a node; returns false if it did not. */
static int enter(struct share_server *s, int fd, const struct stat *st, uint32_t *out)
{
	struct share_table *t = &s->table;
	uint32_t n = hash_find(t, st);
	int err;

	if (n) {
		*out = n;
		if (t->node[n].fd < 0)
			give_fd(t, n, fd);
		else
			close(fd);
		return 0;
	}
	err = node_new(t, &n);
	if (err) {
		close(fd);
		return err;
	}
	t->node[n].dev = st->st_dev;
	t->node[n].ino = st->st_ino;
	t->node[n].kind = st->st_mode & S_IFMT;
	t->node[n].next = *bucket(t, st->st_dev, st->st_ino);
	*bucket(t, st->st_dev, st->st_ino) = n;
	give_fd(t, n, fd);
	*out = n;
	return 0;
}

/* A folder that the host moved is not hung below itself: reopen would not end. */
static bool below(const struct share_table *t, uint32_t n, uint32_t folder)
{
	for (uint32_t i = 0; i < SHARE_DEPTH && n > ROOT; i++, n = t->node[n].parent)
		if (n == folder)
			return true;
	return n > ROOT;
}

int share_lookup(struct share_server *s, uint64_t dir, int dirfd, const char *name, uint64_t *id,
	struct stat *st)
{
	struct share_table *t = &s->table;
	uint32_t n;
	int fd = share_openat(s, dirfd, name, O_PATH, 0), err;

	if (fd < 0)
		return fd;
	if (fstat(fd, st)) {
		err = -errno;
		close(fd);
		return err;
	}
	pthread_mutex_lock(&t->lock);
	close_some(t);
	err = enter(s, fd, st, &n);
	if (!err) {
		t->node[n].lookups++;
		if (n != ROOT && !below(t, index_of(dir), n))
			set_name(t, n, index_of(dir), name);
		*id = id_of(t, n);
	}
	pthread_mutex_unlock(&t->lock);
	return err;
}

void share_forget_node(struct share_server *s, uint64_t id, uint64_t lookups)
{
	struct share_table *t = &s->table;
	struct share_node *node;

	pthread_mutex_lock(&t->lock);
	node = find(t, id);
	if (node && index_of(id) != ROOT) {
		node->lookups -= MIN(lookups, node->lookups);
		release_if_unused(t, index_of(id));
	}
	pthread_mutex_unlock(&t->lock);
}

/* ---- names that change ---- */

static uint32_t node_called(struct share_server *s, int dirfd, const char *name)
{
	struct stat st;

	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW))
		return 0;
	return hash_find(&s->table, &st);
}

void share_loses_name(struct share_server *s, int dirfd, const char *name)
{
	struct share_table *t = &s->table;
	uint32_t n;

	pthread_mutex_lock(&t->lock);
	n = node_called(s, dirfd, name);
	if (n > ROOT && (t->node[n].fd >= 0 || !reopen(s, n)))
		t->node[n].keep = true;
	pthread_mutex_unlock(&t->lock);
}

void share_moved(struct share_server *s, uint64_t dir, int dirfd, const char *name)
{
	struct share_table *t = &s->table;
	uint32_t n;

	pthread_mutex_lock(&t->lock);
	n = node_called(s, dirfd, name);
	if (n > ROOT && find(t, dir) && !below(t, index_of(dir), n))
		set_name(t, n, index_of(dir), name);
	pthread_mutex_unlock(&t->lock);
}

/* ---- handles ---- */

static struct share_handle *find_handle(struct share_table *t, uint64_t id, bool dir)
{
	uint32_t n = index_of(id);
	struct share_handle *h = n < t->handles ? &t->handle[n] : NULL;

	return h && h->fd >= 0 && h->generation == id >> 32 && h->dir == dir ? h : NULL;
}

static int more_handles(struct share_table *t)
{
	uint32_t more = MIN(t->handles + 64 + t->handles / 2, SHARE_HANDLES);
	struct share_handle *h;

	if (more == t->handles)
		return -EMFILE;
	h = realloc(t->handle, more * sizeof(*h));
	if (!h)
		return -ENOMEM;
	t->handle = h;
	for (uint32_t n = t->handles; n < more; n++) {
		h[n] = (struct share_handle){.fd = -1, .next = t->free_handle};
		t->free_handle = n;
	}
	t->handles = more;
	return 0;
}

int share_handle_add(struct share_server *s, int fd, bool dir, uint64_t *id)
{
	struct share_table *t = &s->table;
	struct share_handle *h;
	int err = 0;

	pthread_mutex_lock(&t->lock);
	if (t->free_handle == UINT32_MAX)
		err = more_handles(t);
	if (!err) {
		h = &t->handle[t->free_handle];
		*id = t->free_handle | (uint64_t)h->generation << 32;
		t->free_handle = h->next;
		h->fd = fd;
		h->dir = dir;
		h->users = 1;
	}
	pthread_mutex_unlock(&t->lock);
	if (err)
		close(fd);
	return err;
}

int share_handle_get(struct share_server *s, uint64_t id, bool dir)
{
	struct share_table *t = &s->table;
	struct share_handle *h;
	int fd = -EBADF;

	pthread_mutex_lock(&t->lock);
	h = find_handle(t, id, dir);
	if (h && !h->closing) {
		h->users++;
		fd = h->fd;
	}
	pthread_mutex_unlock(&t->lock);
	return fd;
}

static void drop(struct share_table *t, uint32_t n)
{
	struct share_handle *h = &t->handle[n];

	if (--h->users)
		return;
	close(h->fd);
	*h = (struct share_handle){
		.fd = -1, .generation = h->generation + 1, .next = t->free_handle};
	t->free_handle = n;
}

void share_handle_put(struct share_server *s, uint64_t id)
{
	pthread_mutex_lock(&s->table.lock);
	drop(&s->table, index_of(id));
	pthread_mutex_unlock(&s->table.lock);
}

int share_handle_remove(struct share_server *s, uint64_t id, bool dir)
{
	struct share_table *t = &s->table;
	struct share_handle *h;
	int err = -EBADF;

	pthread_mutex_lock(&t->lock);
	h = find_handle(t, id, dir);
	if (h && !h->closing) {
		h->closing = true;
		drop(t, index_of(id));
		err = 0;
	}
	pthread_mutex_unlock(&t->lock);
	return err;
}

/* ---- the table ---- */

int share_table_init(struct share_table *t, uint32_t fds_max, int root)
{
	struct stat st;

	*t = (struct share_table){
		.fds_max = fds_max, .buckets = 65536, .free_handle = UINT32_MAX, .used = ROOT + 1};
	pthread_mutex_init(&t->lock, NULL);
	t->hash = calloc(t->buckets, sizeof(*t->hash));
	if (!t->hash || grow(t) || fstat(root, &st)) {
		share_table_free(t);
		return -ENOMEM;
	}
	t->node[0].fd = -1;
	t->node[ROOT] = (struct share_node){
		.dev = st.st_dev, .ino = st.st_ino, .kind = S_IFDIR, .lookups = 1, .fd = root};
	*bucket(t, st.st_dev, st.st_ino) = ROOT;
	list_add(t, ROOT);
	return 0;
}

/* Nodes with a request at work stay until it is done. */
void share_table_clear(struct share_table *t)
{
	pthread_mutex_lock(&t->lock);
	for (uint32_t n = ROOT + 1; n < t->used; n++)
		t->node[n].lookups = 0;
	for (uint32_t n = ROOT + 1; n < t->used; n++)
		if (t->node[n].kind)
			release_if_unused(t, n);
	for (uint32_t n = 0; n < t->handles; n++)
		if (t->handle[n].fd >= 0 && !t->handle[n].closing) {
			t->handle[n].closing = true;
			drop(t, n);
		}
	pthread_mutex_unlock(&t->lock);
}

void share_table_free(struct share_table *t)
{
	for (uint32_t n = ROOT + 1; n < t->used && t->node; n++) {
		if (t->node[n].kind && t->node[n].fd >= 0)
			close(t->node[n].fd);
		free(t->node[n].name);
	}
	for (uint32_t n = 0; n < t->handles; n++)
		if (t->handle[n].fd >= 0)
			close(t->handle[n].fd);
	free(t->node);
	free(t->hash);
	free(t->handle);
	pthread_mutex_destroy(&t->lock);
}
