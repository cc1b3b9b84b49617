/* test_snapshot.c - the snapshot stream: round trip, and whatever may be wrong with it. */
#include "test.h"

#include <stdlib.h>
#include <string.h>

#include "core/snapshot.h"

struct thing {
	bool on;
	uint8_t index;
	uint32_t count;
	uint64_t big;
	int64_t delta;
	uint8_t bytes[5];
};

static void thing_snap(struct thing *t, struct snap *s)
{
	snap_section(s, "thing", 3);
	snap_bool(s, "on", &t->on);
	snap_u8_max(s, "index", &t->index, 4);
	snap_u32_max(s, "count", &t->count, 1000);
	snap_u64(s, "big", &t->big);
	snap_i64(s, "delta", &t->delta);
	snap_bytes(s, "bytes", t->bytes, sizeof(t->bytes));
}

static const struct thing sample = {true, 4, 999, UINT64_MAX, -5, "abcd"};

static void *saved(size_t *len)
{
	struct snap *s = snap_new_save();
	struct thing t = sample;
	const void *data;
	void *copy = malloc(4096);

	thing_snap(&t, s);
	assert_null(snap_error(s));
	data = snap_data(s, len);
	memcpy(copy, data, *len);
	snap_free(s);
	return copy;
}

static void test_round_trip(void **state)
{
	size_t len;
	void *data = saved(&len);
	struct snap *s = snap_new_load(data, len);
	struct thing t = {0};

	thing_snap(&t, s);
	assert_null(snap_error(s));
	assert_true(t.on && t.index == 4 && t.count == 999 && t.big == UINT64_MAX && t.delta == -5);
	assert_string_equal((char *)t.bytes, "abcd");
	snap_free(s);
	free(data);
}

static void test_every_truncation_is_an_error(void **state)
{
	size_t len;
	void *data = saved(&len);

	for (size_t n = 0; n < len; n++) {
		struct snap *s = snap_new_load(data, n);
		struct thing t = {0};

		thing_snap(&t, s);
		assert_non_null(snap_error(s));
		snap_free(s);
	}
	free(data);
}

static void test_out_of_range_leaves_the_field(void **state)
{
	size_t len;
	uint8_t *data = saved(&len);
	uint8_t *at = memmem(data, len, "index", 5);
	struct thing t = {.index = 2};
	struct snap *s;

	at[5 + 4] = 5; /* behind the name and its 4 bytes of length */
	s = snap_new_load(data, len);
	thing_snap(&t, s);
	assert_non_null(strstr(snap_error(s), "thing.index"));
	assert_int_equal(t.index, 2);
	snap_free(s);
	free(data);
}

static void test_newer_version_is_refused(void **state)
{
	size_t len;
	uint8_t *data = saved(&len);
	uint8_t *at = memmem(data, len, "thing", 5);
	struct thing t = {0};
	struct snap *s;

	at[5 + 4] = 4;
	s = snap_new_load(data, len);
	thing_snap(&t, s);
	assert_non_null(strstr(snap_error(s), "newer"));
	snap_free(s);
	free(data);
}

/* 100,000 snapshots with some bytes changed: an error or legal fields, nothing else. */
static void test_fuzz(void **state)
{
	size_t len;
	uint8_t *data = saved(&len), copy[4096];
	uint64_t x = 0x9e3779b97f4a7c15u;

	for (unsigned round = 0; round < 100000; round++) {
		struct thing t = {0};
		struct snap *s;

		memcpy(copy, data, len);
		for (unsigned n = 0; n < 1 + round % 3; n++) {
			x ^= x << 13, x ^= x >> 7, x ^= x << 17;
			copy[x % len] = (uint8_t)(x >> 32);
		}
		s = snap_new_load(copy, len - (round % 5 ? 0 : x >> 48) % len);
		thing_snap(&t, s);
		assert_true(t.index <= 4 && t.count <= 1000);
		snap_free(s);
	}
	free(data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_every_truncation_is_an_error),
		cmocka_unit_test(test_out_of_range_leaves_the_field),
		cmocka_unit_test(test_newer_version_is_refused),
		cmocka_unit_test(test_fuzz),
	};

	return cmocka_run_group_tests_name("snapshot", tests, NULL, NULL);
}
