/*
 * test_drives.c - random accesses to PCI, drives, DMA, flash and fw_cfg, and
 * snapshots with random damage: nothing crashes, hangs or goes out of bounds.
 */
#include "tests/dev/drives.h"

#define STEPS     100000
#define SNAPSHOTS 60

static uint64_t next_random(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

/* Data are small numbers and commands of drives rather than noise. */
static void random_step(struct drives *d, uint64_t *seed)
{
	static const uint8_t likely[] = {0x20, 0x30, 0xc4, 0xc5, 0xc6, 0xc8, 0xca, 0xa0, 0xec, 0xa1,
		0x24, 0x25, 0x35, 0xe7, 0xe6, 0xc5, 0x0f, 0x08, 0x28, 0x09, 0x01, 0x10, 0x40, 0x4d};
	uint64_t r = next_random(seed);
	struct drives_step s;

	memcpy(&s, &r, sizeof(s));
	if (r >> 60 & 1) {
		s.data[0] = likely[s.data[0] % sizeof(likely)];
		s.data[1] = s.data[2] = s.data[3] = 0;
	}
	if (s.what % 16 == 10 && r >> 61) /* not so many resets */
		return;
	drives_do(d, &s);
}

static void test_random(void **state)
{
	uint64_t seed = 88172645463325252u;
	struct drives d;

	drives_init(&d);
	for (unsigned i = 0; i < STEPS; i++)
		random_step(&d, &seed);
	drives_destroy(&d);
}

/* A machine that was saved and loaded saves the same again. */
static void test_round_trips(void **state)
{
	uint64_t seed = 0x9e3779b97f4a7c15;
	struct drives d, other;

	drives_init(&d);
	drives_init(&other);
	for (unsigned i = 0; i < SNAPSHOTS; i++) {
		struct snap *s = snap_new_save(), *l, *again = snap_new_save();
		const void *a, *b;
		size_t alen, blen;

		for (unsigned n = 0; n < 200; n++)
			random_step(&d, &seed);
		ide_change_disc(d.ide[0], 1, d.disk[1]);
		assert_true(drives_snap(&d, s));
		a = snap_data(s, &alen);
		l = snap_new_load(a, alen);
		if (!drives_snap(&other, l))
			fail_msg("%s", snap_error(l));
		assert_true(drives_snap(&other, again));
		b = snap_data(again, &blen);
		assert_int_equal(alen, blen);
		assert_memory_equal(a, b, alen);
		snap_free(again);
		snap_free(l);
		snap_free(s);
	}
	drives_destroy(&other);
	drives_destroy(&d);
}

/* Damage outside the buffers, whose bytes may be any. */
static void test_damaged_snapshots(void **state)
{
	uint64_t seed = 0x2545f4914f6cdd1d;
	struct drives d, victim;
	struct snap *s = snap_new_save();
	const void *data;
	uint8_t *copy;
	size_t len;

	drives_init(&d);
	for (unsigned i = 0; i < 1000; i++)
		random_step(&d, &seed);
	assert_true(drives_snap(&d, s));
	data = snap_data(s, &len);
	copy = malloc(len);
	for (unsigned n = 0; n < SNAPSHOTS; n++) {
		struct snap *l;

		memcpy(copy, data, len);
		for (unsigned i = 0; i < 64; i++)
			copy[next_random(&seed) % (i & 1 ? len : 1500)] ^=
				(uint8_t)next_random(&seed);
		drives_init(&victim);
		l = snap_new_load(copy, len);
		drives_snap(&victim, l);
		snap_free(l);
		for (unsigned i = 0; i < 500; i++)
			random_step(&victim, &seed);
		drives_destroy(&victim);
	}
	free(copy);
	snap_free(s);
	drives_destroy(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_round_trips),
		cmocka_unit_test(test_damaged_snapshots),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
