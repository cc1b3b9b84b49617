/*
 * harness.h - what the device tests share: registers by offset, a pin that
 * counts edges, a clock moved by hand, snapshots and their corruption.
 */
#ifndef TINAMOU_DEV_HARNESS_H
#define TINAMOU_DEV_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/bus.h"
#include "core/chardev.h"
#include "core/clock.h"
#include "core/device.h"
#include "core/irq.h"
#include "core/snapshot.h"
#include "util/util.h"

/* ---- registers ---- */

static inline uint8_t in(struct bus_region *r, unsigned off)
{
	return (uint8_t)r->ops->read(r->ctx, off, 1);
}

static inline void out(struct bus_region *r, unsigned off, uint8_t value)
{
	r->ops->write(r->ctx, off, 1, value);
}

/* ---- the end of an interrupt wire ---- */

struct pin {
	bool level;
	unsigned rises;
};

static inline void pin_set(void *ctx, int line, bool level)
{
	struct pin *p = ctx;

	(void)line;
	p->rises += level && !p->level;
	p->level = level;
}

static inline struct irq pin_irq(struct pin *p)
{
	return (struct irq){pin_set, p, 0};
}

/* ---- time ---- */

/* Moves the clock on, stopping at every deadline on the way. */
static inline void pass(struct clock *c, uint64_t ns)
{
	uint64_t until = clock_now(c) + ns;

	while (clock_next_deadline(c) <= until) {
		uint64_t at = clock_next_deadline(c);

		if (at > clock_now(c))
			clock_advance(c, at - clock_now(c));
		clock_run_timers(c);
	}
	clock_advance(c, until - clock_now(c));
}

/* ---- snapshots ---- */

struct blob {
	uint8_t *data;
	size_t len;
};

static inline struct blob save(struct device *dev)
{
	struct snap *s = snap_new_save();
	struct blob b;
	const void *p;

	dev->snap(dev, s);
	assert_null(snap_error(s));
	p = snap_data(s, &b.len);
	b.data = malloc(b.len);
	assert_non_null(b.data);
	memcpy(b.data, p, b.len);
	snap_free(s);
	return b;
}

static inline bool load(struct device *dev, const struct blob *b)
{
	struct snap *s = snap_new_load(b->data, b->len);
	bool ok;

	dev->snap(dev, s);
	ok = !snap_error(s);
	snap_free(s);
	return ok;
}

/* Saves a, loads into b, saves b: the bytes are the same. */
static inline void assert_round_trip(struct device *a, struct device *b)
{
	struct blob first = save(a), second;

	assert_true(load(b, &first));
	second = save(b);
	assert_int_equal(first.len, second.len);
	assert_memory_equal(first.data, second.data, first.len);
	free(first.data);
	free(second.data);
}

/* The data of the nth field of that name; NULL if there is none. */
static inline uint8_t *blob_field(struct blob *b, const char *name, unsigned nth)
{
	size_t n = strlen(name);

	for (size_t i = 0; i + 6 + n < b->len; i++)
		if (b->data[i] == 'F' && b->data[i + 1] == n && !memcmp(b->data + i + 2, name, n) &&
			!nth--)
			return b->data + i + 2 + n + 4;
	return NULL;
}

/* A snapshot of from with that byte of the field changed is refused by to. */
static inline void assert_refused(
	struct device *from, struct device *to, const char *field, unsigned byte, uint8_t value)
{
	struct blob b = save(from);
	uint8_t *p = blob_field(&b, field, 0);

	assert_non_null(p);
	p[byte] = value;
	assert_false(load(to, &b));
	free(b.data);
}

/* ---- what a device sent to the outside ---- */

struct sink {
	struct chardev chr;
	char data[256];
	size_t len;
	unsigned room_calls;
};

static inline void sink_write(void *backend, const uint8_t *data, size_t len)
{
	struct sink *k = backend;

	for (size_t i = 0; i < len && k->len < sizeof(k->data) - 1; i++)
		k->data[k->len++] = (char)data[i];
}

static inline void sink_room(void *backend)
{
	((struct sink *)backend)->room_calls++;
}

static inline void sink_init(struct sink *k)
{
	*k = (struct sink){.chr = {.write = sink_write, .room = sink_room, .backend = k}};
}

#endif
