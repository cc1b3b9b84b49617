/* test_pit.c - the 8254: six modes, read-back, drift, snapshot. */
#include "dev/pit.h"
#include "tests/dev/harness.h"

struct fixture {
	struct clock clock;
	struct pin irq[2];
	struct pit *p[2];
	struct bus_region *io; /* of p[0] */
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	clock_init(&f->clock, CLOCK_INSTRUCTIONS);
	for (unsigned i = 0; i < 2; i++)
		f->p[i] = pit_new(&f->clock, pin_irq(&f->irq[i]));
	f->io = pit_region(f->p[0]);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < 2; i++)
		pit_device(f->p[i])->destroy(pit_device(f->p[i]));
	assert_int_equal(clock_next_deadline(&f->clock), CLOCK_NEVER);
	free(f);
	return 0;
}

/* Moves the clock to the middle of the nth tick from now. */
static void ticks(struct fixture *f, uint64_t n)
{
	uint64_t now = clock_now(&f->clock);
	uint64_t tick = clock_muldiv(now, PIT_HZ, NSEC_PER_SEC) + n;

	pass(&f->clock, clock_muldiv(2 * tick + 1, NSEC_PER_SEC, 2 * PIT_HZ) - now);
}

static void write16(struct fixture *f, unsigned counter, uint16_t v)
{
	out(f->io, counter, v);
	out(f->io, counter, v >> 8);
}

static uint16_t latched(struct fixture *f, unsigned counter)
{
	uint8_t low;

	out(f->io, 3, counter << 6);
	low = in(f->io, counter);
	return low | in(f->io, counter) << 8;
}

static void mode0_counts_to_an_interrupt(void **state)
{
	struct fixture *f = *state;

	out(f->io, 3, 0x30);
	write16(f, 0, 1000);
	ticks(f, 1); /* loaded */
	assert_int_equal(latched(f, 0), 1000);
	ticks(f, 10);
	assert_int_equal(latched(f, 0), 990);
	ticks(f, 989);
	assert_false(f->irq[0].level);
	ticks(f, 1);
	assert_true(f->irq[0].level);
	ticks(f, 5);
	assert_int_equal(latched(f, 0), 65531); /* goes on counting */
	out(f->io, 0, 7);                       /* the first byte puts OUT low */
	assert_false(f->irq[0].level);
	ticks(f, 5000);
	assert_false(f->irq[0].level);
	out(f->io, 0, 0);
	ticks(f, 8);
	assert_int_equal(f->irq[0].rises, 2);
	assert_int_equal(f->irq[1].rises, 0);
}

static void mode0_gate_holds(void **state)
{
	struct fixture *f = *state;

	pit_gate2(f->p[0], false);
	out(f->io, 3, 0xb0);
	write16(f, 2, 100);
	ticks(f, 500);
	assert_int_equal(latched(f, 2), 100);
	pit_gate2(f->p[0], true);
	ticks(f, 40);
	assert_int_equal(latched(f, 2), 60);
	pit_gate2(f->p[0], false);
	ticks(f, 40);
	assert_int_equal(latched(f, 2), 60);
	assert_false(pit_out2(f->p[0]));
	pit_gate2(f->p[0], true);
	ticks(f, 60);
	assert_true(pit_out2(f->p[0]));
}

static void mode1_is_a_one_shot(void **state)
{
	struct fixture *f = *state;

	pit_gate2(f->p[0], false);
	out(f->io, 3, 0xb2);
	write16(f, 2, 50);
	ticks(f, 100);
	assert_true(pit_out2(f->p[0])); /* waits for its trigger */
	pit_gate2(f->p[0], true);
	ticks(f, 1);
	assert_false(pit_out2(f->p[0]));
	ticks(f, 30);
	pit_gate2(f->p[0], false);
	pit_gate2(f->p[0], true); /* again from the start */
	ticks(f, 50);
	assert_false(pit_out2(f->p[0]));
	ticks(f, 1);
	assert_true(pit_out2(f->p[0]));
}

static void mode2_divides(void **state)
{
	struct fixture *f = *state;

	out(f->io, 3, 0x34);
	assert_int_equal(f->irq[0].rises, 1); /* OUT goes high with the control word */
	write16(f, 0, 1000);
	ticks(f, 1);
	assert_int_equal(latched(f, 0), 1000);
	ticks(f, 999);
	assert_int_equal(latched(f, 0), 1);
	assert_int_equal(f->irq[0].rises, 1);
	ticks(f, 1);
	assert_int_equal(latched(f, 0), 1000);
	assert_int_equal(f->irq[0].rises, 2);
	ticks(f, 300);
	write16(f, 0, 400); /* from the next period on */
	ticks(f, 699);
	assert_int_equal(latched(f, 0), 1);
	ticks(f, 1);
	assert_int_equal(latched(f, 0), 400);
	assert_int_equal(f->irq[0].rises, 3);
	ticks(f, 400);
	assert_int_equal(f->irq[0].rises, 4);
}

static void mode2_gate_restarts(void **state)
{
	struct fixture *f = *state;

	pit_gate2(f->p[0], true);
	out(f->io, 3, 0xb4);
	write16(f, 2, 100);
	ticks(f, 31);
	assert_int_equal(latched(f, 2), 70);
	pit_gate2(f->p[0], false);
	ticks(f, 1000);
	assert_true(pit_out2(f->p[0]));
	pit_gate2(f->p[0], true);
	ticks(f, 1);
	assert_int_equal(latched(f, 2), 100);
	ticks(f, 99);
	assert_false(pit_out2(f->p[0])); /* low for the tick of count 1 */
	ticks(f, 1);
	assert_true(pit_out2(f->p[0]));
}

static void mode3_is_a_square_wave(void **state)
{
	struct fixture *f = *state;

	pit_gate2(f->p[0], true);
	out(f->io, 3, 0xb6);
	write16(f, 2, 7); /* high 4, low 3 */
	ticks(f, 1);
	for (unsigned i = 0; i < 70; i++) {
		assert_int_equal(pit_out2(f->p[0]), i % 7 < 4);
		ticks(f, 1);
	}
	write16(f, 2, 10); /* at the next half: now at the start of the high one */
	ticks(f, 3);
	assert_true(pit_out2(f->p[0]));
	ticks(f, 1);
	for (unsigned i = 0; i < 40; i++) {
		assert_int_equal(pit_out2(f->p[0]), i % 10 >= 5);
		ticks(f, 1);
	}
}

static void mode3_counts_by_two(void **state)
{
	static const uint16_t want[6] = {6, 4, 2, 6, 4, 2};
	struct fixture *f = *state;

	pit_gate2(f->p[0], true);
	out(f->io, 3, 0xb6);
	write16(f, 2, 6);
	ticks(f, 1);
	for (unsigned i = 0; i < 12; i++) {
		assert_int_equal(latched(f, 2), want[i % 6]);
		ticks(f, 1);
	}
}

static void modes_4_and_5_strobe(void **state)
{
	struct fixture *f = *state;

	pit_gate2(f->p[0], true);
	out(f->io, 3, 0xb8);
	write16(f, 2, 20);
	ticks(f, 20);
	assert_true(pit_out2(f->p[0]));
	ticks(f, 1);
	assert_false(pit_out2(f->p[0]));
	ticks(f, 1);
	assert_true(pit_out2(f->p[0]));
	out(f->io, 3, 0xba);
	write16(f, 2, 20);
	ticks(f, 100);
	assert_true(pit_out2(f->p[0]));
	pit_gate2(f->p[0], false);
	pit_gate2(f->p[0], true);
	ticks(f, 21);
	assert_false(pit_out2(f->p[0]));
	ticks(f, 1);
	assert_true(pit_out2(f->p[0]));
}

static void mode4_interrupts_once(void **state)
{
	struct fixture *f = *state;

	out(f->io, 3, 0x38);
	write16(f, 0, 500);
	f->irq[0].rises = 0;
	ticks(f, 501);
	assert_int_equal(f->irq[0].rises, 0);
	ticks(f, 100000);
	assert_int_equal(f->irq[0].rises, 1);
}

static void counts_in_bcd(void **state)
{
	struct fixture *f = *state;

	out(f->io, 3, 0x31);
	write16(f, 0, 0x1000);
	ticks(f, 2);
	assert_int_equal(latched(f, 0), 0x0999);
	ticks(f, 1000);
	assert_int_equal(latched(f, 0), 0x9999);
	write16(f, 0, 0x0000); /* ten thousand */
	ticks(f, 1);
	assert_int_equal(latched(f, 0), 0x0000);
	ticks(f, 1);
	assert_int_equal(latched(f, 0), 0x9999);
}

static void single_byte_access(void **state)
{
	struct fixture *f = *state;

	out(f->io, 3, 0x10); /* LSB only */
	out(f->io, 0, 0x80);
	ticks(f, 1);
	assert_int_equal(in(f->io, 0), 0x80);
	assert_int_equal(in(f->io, 0), 0x80);
	out(f->io, 3, 0x20); /* MSB only */
	out(f->io, 0, 0x80);
	ticks(f, 1);
	assert_int_equal(in(f->io, 0), 0x80);
	ticks(f, 1);
	assert_int_equal(in(f->io, 0), 0x7f);
}

static void latch_keeps_the_first(void **state)
{
	struct fixture *f = *state;

	out(f->io, 3, 0x34);
	write16(f, 0, 0x1234);
	ticks(f, 1);
	out(f->io, 3, 0x00);
	ticks(f, 50);
	out(f->io, 3, 0x00);
	assert_int_equal(in(f->io, 0), 0x34);
	assert_int_equal(in(f->io, 0), 0x12);
	assert_int_equal(in(f->io, 0), (0x1234 - 50) & 0xff); /* alive again */
}

static void read_back(void **state)
{
	struct fixture *f = *state;

	out(f->io, 3, 0x36);
	out(f->io, 3, 0xe2); /* status of counter 0 */
	assert_int_equal(in(f->io, 0), 0x80 | 0x40 | 0x36);
	write16(f, 0, 100);
	ticks(f, 1);
	out(f->io, 3, 0xc2); /* status and count */
	assert_int_equal(in(f->io, 0), 0x80 | 0x36);
	assert_int_equal(in(f->io, 0), 100);
	assert_int_equal(in(f->io, 0), 0);
	ticks(f, 60);
	out(f->io, 3, 0xe2);
	assert_int_equal(in(f->io, 0), 0x36); /* the low half, though IRQ0 stays high */
	assert_true(f->irq[0].level);
	assert_int_equal(in(f->io, 3), 0xff);
}

/* A day of 18.2 Hz: the number of interrupts is exact. */
static void no_drift(void **state)
{
	const uint64_t day = 86400 * NSEC_PER_SEC;
	struct fixture *f = *state;

	out(f->io, 3, 0x36);
	write16(f, 0, 0);
	f->irq[0].rises = 0;
	pass(&f->clock, day);
	assert_int_equal(f->irq[0].rises, (clock_muldiv(day, PIT_HZ, NSEC_PER_SEC) - 1) / 65536);
}

/* Two ticks a period: half a million edges a second become at most twenty thousand. */
static void tiny_periods_are_merged(void **state)
{
	struct fixture *f = *state;

	for (unsigned n = 0; n < 4; n++) {
		out(f->io, 3, n & 1 ? 0x36 : 0x34);
		write16(f, 0, 1 + n / 2);
		f->irq[0].rises = 0;
		pass(&f->clock, NSEC_PER_SEC);
		assert_in_range(f->irq[0].rises, 15000, 20000);
	}
	f->irq[0].rises = 0;
	clock_advance(&f->clock, NSEC_PER_SEC); /* a late look: one */
	clock_run_timers(&f->clock);
	assert_int_equal(f->irq[0].rises, 1);
}

/* Looking at a counter does not put its edges off. */
static void reading_does_not_starve(void **state)
{
	struct fixture *f = *state;

	out(f->io, 3, 0x14);
	out(f->io, 0, 20);
	f->irq[0].rises = 0;
	for (unsigned i = 0; i < 100000; i++) {
		in(f->io, 0);
		pass(&f->clock, 10000);
	}
	assert_in_range(f->irq[0].rises, 15000, 20000);
}

static void nobody_wakes_for_what_is_not_heard(void **state)
{
	struct fixture *f = *state;
	unsigned before;

	out(f->io, 3, 0x34);
	write16(f, 0, 1000);
	ticks(f, 5500);
	before = f->irq[0].rises;
	pit_set_heard(f->p[0], false);
	assert_int_equal(clock_next_deadline(&f->clock), CLOCK_NEVER);
	ticks(f, 1000000);
	assert_in_range(latched(f, 0), 499, 503); /* it counts all the same */
	pit_set_heard(f->p[0], true);
	assert_in_range(f->irq[0].rises - before, 0, 1);
	before = f->irq[0].rises;
	ticks(f, 10000);
	assert_int_equal(f->irq[0].rises, before + 10);
}

static void resets(void **state)
{
	struct fixture *f = *state;

	out(f->io, 3, 0x36);
	write16(f, 0, 100);
	pit_device(f->p[0])->reset(pit_device(f->p[0]));
	assert_false(f->irq[0].level);
	assert_int_equal(clock_next_deadline(&f->clock), CLOCK_NEVER);
	in(f->io, 0);
	assert_false(f->irq[0].level);
}

static void snapshot(void **state)
{
	struct fixture *f = *state;
	struct device *a = pit_device(f->p[0]), *b = pit_device(f->p[1]);

	out(f->io, 3, 0x34);
	write16(f, 0, 1193);
	out(f->io, 3, 0xb6);
	write16(f, 2, 777);
	pit_gate2(f->p[0], true);
	ticks(f, 5000);
	write16(f, 0, 2000);
	out(f->io, 3, 0xc4);
	assert_round_trip(a, b);
	f->irq[0].rises = f->irq[1].rises = 0;
	ticks(f, 100000);
	assert_int_equal(f->irq[0].rises, f->irq[1].rises);
	assert_int_equal(in(f->io, 0), in(pit_region(f->p[1]), 0));
	assert_refused(a, b, "mode", 0, 6);
	assert_refused(a, b, "rw", 0, 0);
	assert_refused(a, b, "n", 2, 0x10);
	assert_refused(a, b, "start", 7, 0x7f);
	assert_refused(a, b, "last_edge", 7, 0x7f);
}

/* A tick that is due when the snapshot is taken comes after loading, and once here. */
static void snapshot_keeps_a_due_edge(void **state)
{
	struct fixture *f = *state;

	out(f->io, 3, 0x34);
	write16(f, 0, 1000);
	ticks(f, 2);
	f->irq[0].rises = 0;
	clock_advance(&f->clock, NSEC_PER_SEC / 1000);
	assert_round_trip(pit_device(f->p[0]), pit_device(f->p[1]));
	assert_int_equal(f->irq[0].rises, 0);
	f->irq[1].rises = 0;
	clock_run_timers(&f->clock);
	assert_int_equal(f->irq[0].rises, 1);
	assert_int_equal(f->irq[1].rises, 1);
}

/* n = 0 would divide by zero. */
static void snapshot_between_two_modes(void **state)
{
	struct fixture *f = *state;

	out(f->io, 3, 0x30);
	write16(f, 0, 1);
	ticks(f, 5);
	out(f->io, 3, 0x36);
	assert_round_trip(pit_device(f->p[0]), pit_device(f->p[1]));
	in(pit_region(f->p[1]), 0);
}

static void snapshot_without_period(void **state)
{
	struct fixture *f = *state;
	struct device *a = pit_device(f->p[0]), *b = pit_device(f->p[1]);
	struct blob blob;

	out(f->io, 3, 0x34);
	write16(f, 0, 256);
	ticks(f, 5);
	blob = save(a);
	memset(blob_field(&blob, "n", 0), 0, 4);
	assert_false(load(b, &blob));
	in(pit_region(f->p[1]), 0);
	pit_out2(f->p[1]);
	free(blob.data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(mode0_counts_to_an_interrupt, setup, teardown),
		cmocka_unit_test_setup_teardown(mode0_gate_holds, setup, teardown),
		cmocka_unit_test_setup_teardown(mode1_is_a_one_shot, setup, teardown),
		cmocka_unit_test_setup_teardown(mode2_divides, setup, teardown),
		cmocka_unit_test_setup_teardown(mode2_gate_restarts, setup, teardown),
		cmocka_unit_test_setup_teardown(mode3_is_a_square_wave, setup, teardown),
		cmocka_unit_test_setup_teardown(mode3_counts_by_two, setup, teardown),
		cmocka_unit_test_setup_teardown(modes_4_and_5_strobe, setup, teardown),
		cmocka_unit_test_setup_teardown(mode4_interrupts_once, setup, teardown),
		cmocka_unit_test_setup_teardown(counts_in_bcd, setup, teardown),
		cmocka_unit_test_setup_teardown(single_byte_access, setup, teardown),
		cmocka_unit_test_setup_teardown(latch_keeps_the_first, setup, teardown),
		cmocka_unit_test_setup_teardown(read_back, setup, teardown),
		cmocka_unit_test_setup_teardown(no_drift, setup, teardown),
		cmocka_unit_test_setup_teardown(tiny_periods_are_merged, setup, teardown),
		cmocka_unit_test_setup_teardown(reading_does_not_starve, setup, teardown),
		cmocka_unit_test_setup_teardown(
			nobody_wakes_for_what_is_not_heard, setup, teardown),
		cmocka_unit_test_setup_teardown(resets, setup, teardown),
		cmocka_unit_test_setup_teardown(snapshot, setup, teardown),
		cmocka_unit_test_setup_teardown(snapshot_keeps_a_due_edge, setup, teardown),
		cmocka_unit_test_setup_teardown(snapshot_between_two_modes, setup, teardown),
		cmocka_unit_test_setup_teardown(snapshot_without_period, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
