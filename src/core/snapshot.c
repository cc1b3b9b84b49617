/*
 * snapshot.c - the byte stream behind snapshot.h.
 *
 * Stream: records of {u8 kind, u8 name length, name, u32 length, data}, all
 * little-endian. Section records carry the version. Loading walks the records
 * in the order they were saved; every mismatch is an error with its name.
 */
#include "core/snapshot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/util.h"

enum record { RECORD_SECTION = 'S', RECORD_FIELD = 'F' };

struct snap {
	bool loading;
	uint8_t *data;       /* save: owned */
	const uint8_t *from; /* load: borrowed */
	size_t len, pos, room;
	char section[64];
	char error[256];
	bool failed;
};

struct snap *snap_new_save(void)
{
	return xcalloc(1, sizeof(struct snap));
}

struct snap *snap_new_load(const void *data, size_t len)
{
	struct snap *s = xcalloc(1, sizeof(*s));

	s->loading = true;
	s->from = data;
	s->len = len;
	return s;
}

void snap_free(struct snap *s)
{
	if (s)
		free(s->data);
	free(s);
}

bool snap_loading(const struct snap *s)
{
	return s->loading;
}

const char *snap_error(const struct snap *s)
{
	return s->failed ? s->error : NULL;
}

const void *snap_data(const struct snap *s, size_t *len)
{
	*len = s->len;
	return s->data;
}

void snap_fail(struct snap *s, const char *field, const char *why)
{
	if (s->failed)
		return;
	s->failed = true;
	snprintf(s->error, sizeof(s->error), "snapshot: %s.%s: %s",
		s->section[0] ? s->section : "(start)", field, why);
}

static void put(struct snap *s, const void *p, size_t len)
{
	if (s->room - s->len < len) {
		s->room = MAX(s->room * 2, s->len + len + 4096);
		s->data = xrealloc(s->data, s->room);
	}
	memcpy(s->data + s->len, p, len);
	s->len += len;
}

static bool take(struct snap *s, void *p, size_t len)
{
	if (s->len - s->pos < len)
		return false;
	memcpy(p, s->from + s->pos, len);
	s->pos += len;
	return true;
}

static void save_record(
	struct snap *s, enum record kind, const char *name, const void *p, uint32_t len)
{
	uint8_t head[2] = {(uint8_t)kind, (uint8_t)strlen(name)};

	put(s, head, sizeof(head));
	put(s, name, head[1]);
	put(s, &len, sizeof(len));
	put(s, p, len);
}

/* On success the record's data was copied to p; p is untouched otherwise. */
static bool load_record(struct snap *s, enum record kind, const char *name, void *p, uint32_t len)
{
	char found[256];
	uint8_t head[2];
	uint32_t size;

	if (!take(s, head, sizeof(head)) || !take(s, found, head[1]) ||
		!take(s, &size, sizeof(size))) {
		snap_fail(s, name, "the snapshot ends too early");
		return false;
	}
	if (head[0] != kind || head[1] != strlen(name) || memcmp(found, name, head[1])) {
		snap_fail(s, name, "another field or device was saved here");
		return false;
	}
	if (size != len) {
		snap_fail(s, name, "saved with another size");
		return false;
	}
	if (!take(s, p, len)) {
		snap_fail(s, name, "the snapshot ends too early");
		return false;
	}
	return true;
}

static bool move(struct snap *s, enum record kind, const char *name, void *p, uint32_t len)
{
	if (s->failed)
		return false;
	if (s->loading)
		return load_record(s, kind, name, p, len);
	save_record(s, kind, name, p, len);
	return true;
}

unsigned snap_section(struct snap *s, const char *name, unsigned version)
{
	uint32_t v = version;

	snprintf(s->section, sizeof(s->section), "%s", name);
	if (move(s, RECORD_SECTION, name, &v, sizeof(v)) && v > version)
		snap_fail(s, "version", "saved by a newer tinamou");
	return v;
}

void snap_bytes(struct snap *s, const char *name, void *p, size_t len)
{
	move(s, RECORD_FIELD, name, p, (uint32_t)len);
}

void snap_bool(struct snap *s, const char *name, bool *v)
{
	uint8_t b = *v;

	snap_u8_max(s, name, &b, 1);
	*v = b;
}

void snap_u8(struct snap *s, const char *name, uint8_t *v)
{
	snap_bytes(s, name, v, sizeof(*v));
}

void snap_u16(struct snap *s, const char *name, uint16_t *v)
{
	snap_bytes(s, name, v, sizeof(*v));
}

void snap_u32(struct snap *s, const char *name, uint32_t *v)
{
	snap_bytes(s, name, v, sizeof(*v));
}

void snap_u64(struct snap *s, const char *name, uint64_t *v)
{
	snap_bytes(s, name, v, sizeof(*v));
}

void snap_i64(struct snap *s, const char *name, int64_t *v)
{
	snap_bytes(s, name, v, sizeof(*v));
}

void snap_u8_max(struct snap *s, const char *name, uint8_t *v, uint8_t max)
{
	uint8_t got = *v;

	snap_u8(s, name, &got);
	if (!s->failed && s->loading && got > max)
		snap_fail(s, name, "out of range");
	if (!s->failed)
		*v = got;
}

void snap_u32_max(struct snap *s, const char *name, uint32_t *v, uint32_t max)
{
	uint32_t got = *v;

	snap_u32(s, name, &got);
	if (!s->failed && s->loading && got > max)
		snap_fail(s, name, "out of range");
	if (!s->failed)
		*v = got;
}
