/*
 * fuzz_share.c - libFuzzer entry: the input is a script of requests to the
 * server of a shared folder, which serves them in this process, over a folder
 * of a few files in /tmp that Landlock keeps it in.
 *
 * One request: opcode, flags, two bytes of length, arguments. IDs that the
 * server gave are put in where the flags say so, as a guest would.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "folder.h"
#include "host/jail.h"
#include "host/share_server.h"
#include "util/util.h"

#define FILE_MOST  65536 /* bytes that a file grows to */
#define KEPT       16u   /* IDs */
#define CORPUS_MAX 4096u /* inputs that libFuzzer reads from files before Landlock forbids it */

enum { USE_NODE = 1, USE_HANDLE = 2, USE_SECOND = 4, SMALL_ROOM = 8, BAD_LEN = 16 };

struct fuzz {
	struct share_server *s;
	struct share_request r;
	uint64_t node[KEPT], handle[KEPT];
	unsigned nodes, handles;
	uint8_t slot[SHARE_SLOT];
};

static struct fuzz *make(void)
{
	static const char *const names[] = {"a", "b", "dir/c"};
	struct fuzz *z = calloc(1, sizeof(*z));
	char top[FUZZ_FOLDER], path[FUZZ_FOLDER + 16], err[256];
	struct share_options o = {.path = top};

	fuzz_folder(top);
	snprintf(path, sizeof(path), "%s/dir", top);
	mkdir(path, 0755);
	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		snprintf(path, sizeof(path), "%s/%s", top, names[i]);
		close(open(path, O_CREAT | O_WRONLY, 0644));
	}
	snprintf(path, sizeof(path), "%s/out", top);
	if (symlink("/etc", path))
		abort();
	z->s = share_open(&o, err, sizeof(err));
	if (!z->s || share_begin(z->s))
		abort();
	z->r.s = z->s;
	return z;
}

static void keep(
	struct fuzz *z, const struct fuse_in_header *in, const uint8_t *reply, uint32_t len)
{
	struct fuse_entry_out e;
	struct fuse_open_out o;
	bool entry = in->opcode == FUSE_LOOKUP || in->opcode == FUSE_MKDIR ||
		     in->opcode == FUSE_MKNOD || in->opcode == FUSE_CREATE;

	if (entry && len >= sizeof(e)) {
		memcpy(&e, reply, sizeof(e));
		z->node[z->nodes++ % KEPT] = e.nodeid;
	}
	reply += in->opcode == FUSE_CREATE ? sizeof(e) : 0;
	len -= in->opcode == FUSE_CREATE ? MIN(len, sizeof(e)) : 0;
	if ((in->opcode == FUSE_OPEN || in->opcode == FUSE_OPENDIR || in->opcode == FUSE_CREATE) &&
		len >= sizeof(o)) {
		memcpy(&o, reply, sizeof(o));
		z->handle[z->handles++ % KEPT] = o.fh;
	}
}

/* Sizes that would fill the disk are none of the server's faults. */
static bool too_much(uint32_t opcode, const uint8_t *args, uint32_t len)
{
	const struct fuse_setattr_in *set = (const void *)args;
	const struct fuse_fallocate_in *more = (const void *)args;
	const struct fuse_write_in *write = (const void *)args;
	const struct fuse_copy_file_range_in *copy = (const void *)args;

	if (opcode == FUSE_SETATTR && len >= sizeof(*set))
		return set->size > FILE_MOST;
	if (opcode == FUSE_FALLOCATE && len >= sizeof(*more))
		return more->offset > FILE_MOST || more->length > FILE_MOST;
	if (opcode == FUSE_WRITE && len >= sizeof(*write))
		return write->offset > FILE_MOST;
	if (opcode == FUSE_COPY_FILE_RANGE && len >= sizeof(*copy))
		return copy->off_out > FILE_MOST;
	return opcode == FUSE_SYNCFS || opcode == FUSE_FSYNC || opcode == FUSE_FSYNCDIR;
}

static void one(struct fuzz *z, uint8_t opcode, uint8_t flags, const uint8_t *args, uint32_t len)
{
	struct fuse_in_header h = {
		.len = (uint32_t)sizeof(h) + len, .opcode = opcode, .unique = 7, .nodeid = 1};
	struct share_message m = {0, h.len, flags & SMALL_ROOM ? 64 : SHARE_HALF, 0};
	uint8_t *body = z->slot + sizeof(h);

	if (flags & USE_NODE)
		h.nodeid = z->node[flags >> 5 & (KEPT - 1)];
	memcpy(body, args, len);
	if (flags & USE_HANDLE && len >= 8)
		memcpy(body, &z->handle[flags >> 5], 8);
	if (flags & USE_SECOND && len >= 8)
		memcpy(body, &z->node[flags >> 5], 8);
	if (flags & BAD_LEN)
		h.len += flags;
	memcpy(z->slot, &h, sizeof(h));
	if (too_much(opcode, body, len))
		return;
	m.len = share_answer_slot(&z->r, z->slot, &m);
	if (m.len > m.room)
		abort();
	if (m.len > sizeof(struct fuse_out_header))
		keep(z, &h, z->slot + SHARE_HALF + sizeof(struct fuse_out_header),
			m.len - (uint32_t)sizeof(struct fuse_out_header));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct fuse_init_in init = {.major = 7, .minor = 36};
	static struct fuzz *z;
	static unsigned inputs;
	size_t len;

	if (!z)
		z = make();
	if (++inputs == CORPUS_MAX && jail_paths(z->s->root, false))
		abort();
	z->nodes = z->handles = 0;
	memset(z->node, 0, sizeof(z->node));
	memset(z->handle, 0, sizeof(z->handle));
	one(z, FUSE_INIT, 0, (const uint8_t *)&init, sizeof(init));
	while (size >= 4) {
		len = MIN((size_t)data[2] | (size_t)(data[3] & 3) << 8, size - 4);
		one(z, data[0], data[1], data + 4, (uint32_t)len);
		data += 4 + len;
		size -= 4 + len;
	}
	return 0;
}
