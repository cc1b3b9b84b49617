/* test_hostile.c - random scripts of a lying driver for each virtio device. See hostile.h. */
#include "tests/dev/hostile.h"

#define SCRIPTS 300
#define STEPS   400

static uint64_t next_random(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

/* Whatever it did, a reset brings a device that works. */
static void check_alive(struct hostile *h)
{
	unsigned n = hostile_shape[h->kind].queue;

	assert_int_equal(h->v->queues, hostile_shape[h->kind].queues);
	hostile_renew(h);
	hostile_offer_good(h);
	notify(&h->r, n);
	settle(&h->r.bench);
	if (h->share)
		hostile_serve(h, 100, false);
	assert_int_equal(used(&h->r, n), 1);
	assert_false(rings_broken(&h->r));
}

static void play(enum hostile_kind kind)
{
	uint64_t seed = 0x9e3779b97f4a7c15 + kind;
	struct hostile h;

	hostile_init(&h, kind);
	for (unsigned i = 0; i < SCRIPTS; i++) {
		for (unsigned n = 0; n < STEPS; n++) {
			uint64_t r = next_random(&seed);
			struct hostile_step s;

			memcpy(&s, &r, sizeof(s));
			if (s.what % 12 == 8 && r >> 61) /* not so many accesses that end it all */
				continue;
			hostile_do(&h, &s);
		}
		check_alive(&h);
	}
	hostile_destroy(&h);
}

static void test_blk(void **state)
{
	play(HOSTILE_BLK);
}

static void test_net(void **state)
{
	play(HOSTILE_NET);
}

static void test_console(void **state)
{
	play(HOSTILE_CONSOLE);
}

static void test_rng(void **state)
{
	play(HOSTILE_RNG);
}

static void test_fs(void **state)
{
	play(HOSTILE_FS);
}

static void test_ports(void **state)
{
	play(HOSTILE_PORTS);
}

static void test_balloon(void **state)
{
	play(HOSTILE_BALLOON);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_blk),
		cmocka_unit_test(test_net),
		cmocka_unit_test(test_console),
		cmocka_unit_test(test_rng),
		cmocka_unit_test(test_fs),
		cmocka_unit_test(test_ports),
		cmocka_unit_test(test_balloon),
	};

	log_level = LOG_ERROR;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
