/* test_hpet.c - HPET by register script. */
#include "dev/hpet.h"
#include "tests/dev/harness.h"

enum { CAPS = 0, CONFIG = 0x10, STATUS = 0x20, COUNTER = 0xf0, T0 = 0x100, T1 = 0x120, T2 = 0x140 };
enum { COMPARATOR = 8 };

struct side {
	struct hpet *h;
	struct pin pit, rtc, route[HPET_ROUTES];
	bool legacy;
};

struct fixture {
	struct clock clock;
	struct side side[2];
};

static void route(void *ctx, unsigned input, bool level)
{
	pin_set(&((struct side *)ctx)->route[input], 0, level);
}

static void legacy(void *ctx, bool on)
{
	((struct side *)ctx)->legacy = on;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	clock_init(&f->clock, CLOCK_INSTRUCTIONS);
	for (unsigned i = 0; i < 2; i++) {
		struct side *s = &f->side[i];
		struct hpet_wires w = {route, pin_irq(&s->pit), pin_irq(&s->rtc), legacy, s};

		s->h = hpet_new(&f->clock, &w);
	}
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < 2; i++)
		hpet_device(f->side[i].h)->destroy(hpet_device(f->side[i].h));
	free(f);
	return 0;
}

static uint64_t rd(struct side *s, unsigned off, unsigned size)
{
	struct bus_region *r = hpet_region(s->h);

	return r->ops->read(r->ctx, off, size);
}

static void wr(struct side *s, unsigned off, unsigned size, uint64_t value)
{
	struct bus_region *r = hpet_region(s->h);

	r->ops->write(r->ctx, off, size, value);
}

static void counts(void **state)
{
	struct fixture *f = *state;
	struct side *s = f->side;

	assert_int_equal(rd(s, CAPS, 4), 0x8086a201);
	assert_int_equal(rd(s, CAPS + 4, 4), 10000000); /* femtoseconds a tick */
	pass(&f->clock, 1000);
	assert_int_equal(rd(s, COUNTER, 8), 0);
	wr(s, CONFIG, 4, 1);
	pass(&f->clock, 1000);
	assert_int_equal(rd(s, COUNTER, 8), 100);
	wr(s, CONFIG, 4, 0);
	pass(&f->clock, 1000);
	assert_int_equal(rd(s, COUNTER, 8), 100);
	wr(s, COUNTER + 4, 4, 7);
	assert_int_equal(rd(s, COUNTER, 8), UINT64_C(0x700000064));
	for (unsigned off = 0; off < 1024; off += 4) /* what is not there */
		if (off >= 0x160)
			assert_int_equal(rd(s, off, 4), 0);
}

static void one_shot_edge(void **state)
{
	struct fixture *f = *state;
	struct side *s = f->side;

	wr(s, T2, 4, 0x2604); /* input 19 */
	wr(s, T2 + COMPARATOR, 8, 50);
	wr(s, CONFIG, 4, 1);
	pass(&f->clock, 499);
	assert_int_equal(s->route[19].rises, 0);
	pass(&f->clock, 1);
	assert_int_equal(s->route[19].rises, 1);
	assert_int_equal(rd(s, STATUS, 4), 0);
	pass(&f->clock, NSEC_PER_SEC);
	assert_int_equal(s->route[19].rises, 1);
}

static void wraps_at_32_bits(void **state)
{
	struct fixture *f = *state;
	struct side *s = f->side;

	wr(s, T2, 4, 0x2704);
	wr(s, T2 + COMPARATOR, 8, 50);
	wr(s, CONFIG, 4, 1);
	pass(&f->clock, 43 * NSEC_PER_SEC);
	assert_int_equal(s->route[19].rises, 2);
}

static void level_stays_until_status_is_cleared(void **state)
{
	struct fixture *f = *state;
	struct side *s = f->side;

	wr(s, T1, 4, 0x2806); /* input 20 */
	wr(s, T1 + COMPARATOR, 8, 50);
	wr(s, CONFIG, 4, 1);
	pass(&f->clock, 600);
	assert_true(s->route[20].level);
	assert_int_equal(rd(s, STATUS, 4), 2);
	wr(s, STATUS, 4, 1);
	assert_true(s->route[20].level);
	wr(s, STATUS, 4, 2);
	assert_false(s->route[20].level);
}

static void periodic_legacy(void **state)
{
	struct fixture *f = *state;
	struct side *s = f->side;

	wr(s, CONFIG, 4, 3);
	assert_true(s->legacy);
	wr(s, T0, 4, 0x4c);
	wr(s, T0 + COMPARATOR, 4, 100); /* set value: first match */
	wr(s, T0 + COMPARATOR, 4, 30);  /* period */
	assert_int_equal(rd(s, T0, 4) & 0x40, 0);
	pass(&f->clock, 999);
	assert_int_equal(s->pit.rises, 0);
	pass(&f->clock, 1);
	assert_int_equal(s->pit.rises, 1);
	pass(&f->clock, 3000);
	assert_int_equal(s->pit.rises, 11);
	assert_int_equal(s->route[16].rises, 0);
	clock_advance(&f->clock, 100000); /* late: one, not hundreds */
	clock_run_timers(&f->clock);
	assert_int_equal(s->pit.rises, 12);
	hpet_device(s->h)->reset(hpet_device(s->h));
	assert_false(s->legacy);
	pass(&f->clock, 100000);
	assert_int_equal(s->pit.rises, 12);
}

static void nobody_wakes_for_what_is_not_heard(void **state)
{
	struct fixture *f = *state;
	struct side *s = f->side;

	wr(s, CONFIG, 4, 3);
	wr(s, T0, 4, 0x4c);
	wr(s, T0 + COMPARATOR, 4, 100);
	wr(s, T0 + COMPARATOR, 4, 30);
	pass(&f->clock, 1000);
	wr(s, T0, 4, 0x08); /* disabled */
	assert_int_equal(clock_next_deadline(&f->clock), CLOCK_NEVER);
	pass(&f->clock, 3050);
	assert_int_equal(s->pit.rises, 1);
	assert_int_equal(rd(s, T0 + COMPARATOR, 4), 430); /* it went on all the same */
	wr(s, T0, 4, 0x0c);
	pass(&f->clock, 249);
	assert_int_equal(s->pit.rises, 1);
	pass(&f->clock, 1);
	assert_int_equal(s->pit.rises, 2);
}

static void takes_only_its_routes(void **state)
{
	struct side *s = ((struct fixture *)*state)->side;

	wr(s, T0, 4, 0x3e04);
	assert_int_equal(rd(s, T0, 4) >> 9 & 31, 16);
	wr(s, T0, 4, 0x2e04);
	assert_int_equal(rd(s, T0, 4) >> 9 & 31, 23);
	assert_int_equal(rd(s, T0 + 4, 4), 0x00ff0000);
}

static void snapshot(void **state)
{
	struct fixture *f = *state;
	struct side *s = f->side;

	wr(s, CONFIG, 4, 3);
	wr(s, T0, 4, 0x4c);
	wr(s, T0 + COMPARATOR, 4, 100);
	pass(&f->clock, 333);
	assert_round_trip(hpet_device(s[0].h), hpet_device(s[1].h));
	assert_true(s[1].legacy);
	pass(&f->clock, 667);
	assert_int_equal(s[1].pit.rises, 1);
	assert_refused(hpet_device(s[0].h), hpet_device(s[1].h), "config", 1, 0x02);
	assert_refused(hpet_device(s[0].h), hpet_device(s[1].h), "general", 0, 4);
	assert_refused(hpet_device(s[0].h), hpet_device(s[1].h), "status", 0, 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(counts, setup, teardown),
		cmocka_unit_test_setup_teardown(one_shot_edge, setup, teardown),
		cmocka_unit_test_setup_teardown(wraps_at_32_bits, setup, teardown),
		cmocka_unit_test_setup_teardown(
			level_stays_until_status_is_cleared, setup, teardown),
		cmocka_unit_test_setup_teardown(periodic_legacy, setup, teardown),
		cmocka_unit_test_setup_teardown(
			nobody_wakes_for_what_is_not_heard, setup, teardown),
		cmocka_unit_test_setup_teardown(takes_only_its_routes, setup, teardown),
		cmocka_unit_test_setup_teardown(snapshot, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
