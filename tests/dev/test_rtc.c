/* test_rtc.c - the MC146818 by register script. */
#include "dev/rtc.h"
#include "tests/dev/harness.h"

/* 2024-02-29 23:59:58 UTC, a Thursday. */
#define EPOCH UINT64_C(1709251198)

struct fixture {
	struct clock clock;
	struct pin irq[2];
	struct rtc *r[2];
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	clock_init(&f->clock, CLOCK_INSTRUCTIONS);
	for (unsigned i = 0; i < 2; i++)
		f->r[i] = rtc_new(&f->clock, pin_irq(&f->irq[i]), EPOCH + i * 1000000);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < 2; i++)
		rtc_device(f->r[i])->destroy(rtc_device(f->r[i]));
	assert_int_equal(clock_next_deadline(&f->clock), CLOCK_NEVER);
	free(f);
	return 0;
}

static uint8_t get(struct fixture *f, uint8_t index)
{
	out(rtc_region(f->r[0]), 0, index);
	return in(rtc_region(f->r[0]), 1);
}

static void set(struct fixture *f, uint8_t index, uint8_t value)
{
	out(rtc_region(f->r[0]), 0, index);
	out(rtc_region(f->r[0]), 1, value);
}

static void assert_time(struct fixture *f, const uint8_t want[8])
{
	static const uint8_t index[8] = {RTC_CENTURY, 9, 8, 7, 6, 4, 2, 0};

	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(get(f, index[i]), want[i]);
}

static void tells_the_time(void **state)
{
	struct fixture *f = *state;

	assert_time(f, (uint8_t[8]){0x20, 0x24, 0x02, 0x29, 5, 0x23, 0x59, 0x58});
	pass(&f->clock, 2 * NSEC_PER_SEC);
	assert_time(f, (uint8_t[8]){0x20, 0x24, 0x03, 0x01, 6, 0x00, 0x00, 0x00});
	set(f, 11, 0x06); /* binary */
	pass(&f->clock, 58 * NSEC_PER_SEC);
	assert_time(f, (uint8_t[8]){0x20, 24, 3, 1, 6, 0, 0, 58});
	assert_int_equal(get(f, 13), 0x80);
	assert_int_equal(in(rtc_region(f->r[0]), 0), 0xff);
}

static void twelve_hours(void **state)
{
	struct fixture *f = *state;

	set(f, 11, 0x00);
	assert_int_equal(get(f, 4), 0x91);
	pass(&f->clock, 2 * NSEC_PER_SEC);
	assert_int_equal(get(f, 4), 0x12); /* midnight is 12 AM */
	pass(&f->clock, 12 * 3600 * NSEC_PER_SEC);
	assert_int_equal(get(f, 4), 0x92);
	set(f, 4, 0x07);
	assert_int_equal(get(f, 4), 0x07);
	set(f, 11, 0x02);
	assert_int_equal(get(f, 4), 0x07);
}

static void set_stops_and_goes_on(void **state)
{
	static const uint8_t when[][2] = {
		{0, 0x30}, {2, 0x15}, {4, 0x12}, {7, 0x31}, {8, 0x12}, {9, 0x99}, {0x32, 0x19}};
	struct fixture *f = *state;

	pass(&f->clock, 300000000);
	set(f, 11, 0x82);
	pass(&f->clock, 10 * NSEC_PER_SEC);
	assert_int_equal(get(f, 0), 0x58);
	for (unsigned i = 0; i < ARRAY_SIZE(when); i++)
		set(f, when[i][0], when[i][1]);
	set(f, 11, 0x02);
	assert_time(f, (uint8_t[8]){0x19, 0x99, 0x12, 0x31, 6, 0x12, 0x15, 0x30});
	pass(&f->clock, 690000000);
	assert_int_equal(get(f, 0), 0x30); /* the divider ran on */
	pass(&f->clock, 20000000);
	assert_int_equal(get(f, 0), 0x31);
}

static void divider_reset_restarts_with_half_a_second(void **state)
{
	struct fixture *f = *state;

	pass(&f->clock, 900000000);
	set(f, 10, 0x76);
	pass(&f->clock, 5 * NSEC_PER_SEC);
	assert_int_equal(get(f, 0), 0x58);
	set(f, 10, 0x26);
	pass(&f->clock, 490000000);
	assert_int_equal(get(f, 0), 0x58);
	pass(&f->clock, 20000000);
	assert_int_equal(get(f, 0), 0x59);
}

static void update_in_progress(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(get(f, 10), 0x26);
	pass(&f->clock, 997000000);
	assert_int_equal(get(f, 10), 0x26);
	pass(&f->clock, 1000000);
	assert_int_equal(get(f, 10), 0xa6);
	assert_int_equal(get(f, 0), 0x58);
	pass(&f->clock, 2000000);
	assert_int_equal(get(f, 10), 0x26);
	assert_int_equal(get(f, 0), 0x59);
	set(f, 11, 0x82);
	pass(&f->clock, 999000000);
	assert_int_equal(get(f, 10), 0x26);
}

static void update_interrupt(void **state)
{
	struct fixture *f = *state;

	set(f, 11, 0x12);
	pass(&f->clock, 999999999);
	assert_false(f->irq[0].level);
	pass(&f->clock, 1);
	assert_true(f->irq[0].level);
	pass(&f->clock, 5 * NSEC_PER_SEC);
	assert_int_equal(f->irq[0].rises, 1); /* unread: no more */
	assert_int_equal(get(f, 12) & 0x90, 0x90);
	assert_false(f->irq[0].level);
	assert_int_equal(get(f, 12), 0x00);
	pass(&f->clock, 1 * NSEC_PER_SEC);
	assert_int_equal(f->irq[0].rises, 2);
	assert_int_equal(f->irq[1].rises, 0);
}

static void periodic_interrupt(void **state)
{
	struct fixture *f = *state;
	unsigned n = 0;

	set(f, 10, 0x2f); /* 2 Hz */
	set(f, 11, 0x42);
	pass(&f->clock, 499999999);
	assert_false(f->irq[0].level);
	pass(&f->clock, 1);
	assert_int_equal(get(f, 12), 0xc0);
	get(f, 12);
	for (unsigned rs = 1; rs < 16; rs++, n = 0) {
		set(f, 10, 0x20 | rs);
		get(f, 12);
		for (unsigned i = 0; i < 20000; i++) {
			pass(&f->clock, 50000);
			n += (get(f, 12) & 0xc0) == 0xc0;
		}
		assert_in_range(n, (rs < 3 ? 512 >> rs : 65536 >> rs) - 1,
			(rs < 3 ? 512 >> rs : 65536 >> rs) + 1);
	}
	set(f, 10, 0x20);
	get(f, 12);
	pass(&f->clock, NSEC_PER_SEC);
	assert_false(f->irq[0].level);
}

static void alarm_interrupt(void **state)
{
	struct fixture *f = *state;

	set(f, 1, 0x10);
	set(f, 3, 0x00);
	set(f, 5, 0x00);
	set(f, 11, 0x22);
	pass(&f->clock, 11 * NSEC_PER_SEC);
	assert_int_equal(f->irq[0].rises, 0);
	pass(&f->clock, 1 * NSEC_PER_SEC);
	assert_int_equal(f->irq[0].rises, 1);
	assert_int_equal(get(f, 12) & 0xa0, 0xa0);
	pass(&f->clock, 3600 * NSEC_PER_SEC);
	assert_int_equal(f->irq[0].rises, 1);
	set(f, 5, 0xff); /* any hour */
	pass(&f->clock, 3600 * NSEC_PER_SEC);
	assert_int_equal(f->irq[0].rises, 2);
}

static void alarm_survives_a_jump(void **state)
{
	struct fixture *f = *state;

	set(f, 1, 0x30);
	set(f, 3, 0xc0);
	set(f, 5, 0xc0);
	set(f, 11, 0x22);
	clock_advance(&f->clock, 300 * NSEC_PER_SEC);
	clock_run_timers(&f->clock);
	assert_int_equal(f->irq[0].rises, 1);
	clock_advance(&f->clock, 1000000 * NSEC_PER_SEC);
	assert_int_equal(get(f, 12) & 0x20, 0x20);
}

static void ram_and_nmi_mask(void **state)
{
	struct fixture *f = *state;

	rtc_set_cmos(f->r[0], 0x15, 0x80);
	rtc_set_cmos(f->r[0], 0x0b, 0xff); /* not the board's */
	rtc_set_cmos(f->r[0], 1000, 0xff);
	assert_int_equal(get(f, 0x15), 0x80);
	assert_int_equal(get(f, 0x0b), 0x02);
	set(f, 0x7f, 0x55);
	assert_int_equal(get(f, 0xff), 0x55); /* bit 7 is not part of the index */
	assert_true(rtc_nmi_masked(f->r[0]));
	get(f, 0x7f);
	assert_false(rtc_nmi_masked(f->r[0]));
	set(f, 12, 0xff);
	set(f, 13, 0x00);
	assert_int_equal(get(f, 12) & 0x80, 0);
	assert_int_equal(get(f, 13), 0x80);
}

static void resets(void **state)
{
	struct fixture *f = *state;

	set(f, 0x20, 0x77);
	set(f, 11, 0x56);
	pass(&f->clock, NSEC_PER_SEC);
	assert_true(f->irq[0].level);
	rtc_device(f->r[0])->reset(rtc_device(f->r[0]));
	assert_false(f->irq[0].level);
	assert_int_equal(get(f, 11), 0x06);
	assert_int_equal(get(f, 0x20), 0x77);
	assert_int_equal(get(f, 0), 59); /* the time is on the battery */
}

static void snapshot(void **state)
{
	struct fixture *f = *state;
	struct device *a = rtc_device(f->r[0]), *b = rtc_device(f->r[1]);

	pass(&f->clock, 123456789);
	set(f, 0x40, 0x99);
	set(f, 11, 0x52);
	assert_round_trip(a, b);
	pass(&f->clock, 2 * NSEC_PER_SEC);
	assert_true(f->irq[1].level);
	for (unsigned i = 0; i < 128; i++) {
		out(rtc_region(f->r[1]), 0, i);
		assert_int_equal(get(f, i), in(rtc_region(f->r[1]), 1));
	}
	assert_refused(a, b, "index", 0, 128);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(tells_the_time, setup, teardown),
		cmocka_unit_test_setup_teardown(twelve_hours, setup, teardown),
		cmocka_unit_test_setup_teardown(set_stops_and_goes_on, setup, teardown),
		cmocka_unit_test_setup_teardown(
			divider_reset_restarts_with_half_a_second, setup, teardown),
		cmocka_unit_test_setup_teardown(update_in_progress, setup, teardown),
		cmocka_unit_test_setup_teardown(update_interrupt, setup, teardown),
		cmocka_unit_test_setup_teardown(periodic_interrupt, setup, teardown),
		cmocka_unit_test_setup_teardown(alarm_interrupt, setup, teardown),
		cmocka_unit_test_setup_teardown(alarm_survives_a_jump, setup, teardown),
		cmocka_unit_test_setup_teardown(ram_and_nmi_mask, setup, teardown),
		cmocka_unit_test_setup_teardown(resets, setup, teardown),
		cmocka_unit_test_setup_teardown(snapshot, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
