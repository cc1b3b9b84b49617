/* test_sysctl.c - system control ports by register script. */
#include "dev/pit.h"
#include "dev/sysctl.h"
#include "tests/dev/harness.h"

struct side {
	struct pit *pit;
	struct sysctl *c;
	struct bus_region *b, *a, *rc; /* 61h, 92h, CF9h */
	bool a20;
	unsigned a20_calls, resets;
};

struct fixture {
	struct clock clock;
	struct side side[2];
};

static void a20_changed(void *ctx, bool open)
{
	struct side *s = ctx;

	s->a20 = open;
	s->a20_calls++;
}

static void reset_asked(void *ctx)
{
	((struct side *)ctx)->resets++;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	clock_init(&f->clock, CLOCK_INSTRUCTIONS);
	for (unsigned i = 0; i < 2; i++) {
		struct side *s = &f->side[i];
		struct sysctl_wires w = {NULL, a20_changed, reset_asked, s};

		w.pit = s->pit = pit_new(&f->clock, (struct irq){0});
		s->c = sysctl_new(&f->clock, &w);
		s->a20 = true;
		s->b = sysctl_region(s->c, SYSCTL_PORT_B);
		s->a = sysctl_region(s->c, SYSCTL_PORT_A);
		s->rc = sysctl_region(s->c, SYSCTL_RESET);
	}
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < 2; i++) {
		sysctl_device(f->side[i].c)->destroy(sysctl_device(f->side[i].c));
		pit_device(f->side[i].pit)->destroy(pit_device(f->side[i].pit));
	}
	free(f);
	return 0;
}

static void port_b_gates_counter_2(void **state)
{
	struct fixture *f = *state;
	struct side *s = &f->side[0];

	out(s->b, 0, 0xfc);
	assert_int_equal(in(s->b, 0) & 0xcf, 0x0c);
	out(pit_region(s->pit), 3, 0xb0); /* as calibration loops do */
	out(pit_region(s->pit), 2, 0xff);
	out(pit_region(s->pit), 2, 0xff);
	pass(&f->clock, NSEC_PER_SEC);
	assert_int_equal(in(s->b, 0) & 0x20, 0);
	out(s->b, 0, 0x01);
	pass(&f->clock, 54000000);
	assert_int_equal(in(s->b, 0) & 0x20, 0);
	pass(&f->clock, 1000000);
	assert_int_equal(in(s->b, 0) & 0x21, 0x21);
	assert_int_equal(in(f->side[1].b, 0) & 0x21, 0);
}

static void refresh_toggles(void **state)
{
	struct fixture *f = *state;
	unsigned toggles = 0;
	uint8_t last = 0;

	for (unsigned i = 0; i < 1000; i++) {
		uint8_t now = in(f->side[0].b, 0) & 0x10;

		toggles += now != last;
		last = now;
		pass(&f->clock, 1000);
	}
	assert_in_range(toggles, 65, 67);
}

static void a20_has_two_sources(void **state)
{
	struct fixture *f = *state;
	struct side *s = &f->side[0];

	assert_true(s->a20);
	sysctl_kbc_a20(s->c, false);
	assert_false(s->a20);
	out(s->a, 0, 0x02);
	assert_true(s->a20);
	sysctl_kbc_a20(s->c, true);
	sysctl_kbc_a20(s->c, false);
	assert_int_equal(s->a20_calls, 2);
	out(s->a, 0, 0x00);
	assert_false(s->a20);
	assert_true(f->side[1].a20);
}

static void asks_for_reset(void **state)
{
	struct fixture *f = *state;
	struct side *s = &f->side[0];

	out(s->a, 0, 0x01);
	assert_int_equal(s->resets, 1);
	out(s->a, 0, 0x01); /* no transition */
	assert_int_equal(s->resets, 1);
	assert_int_equal(in(s->a, 0), 0x01);
	out(s->rc, 0, 0x02);
	assert_int_equal(s->resets, 1);
	out(s->rc, 0, 0x06);
	assert_int_equal(s->resets, 2);
	assert_int_equal(in(s->rc, 0), 0x06);
	assert_int_equal(f->side[1].resets, 0);
}

static void resets(void **state)
{
	struct fixture *f = *state;
	struct side *s = &f->side[0];

	out(s->b, 0, 0x03);
	out(s->a, 0, 0x03);
	sysctl_device(s->c)->reset(sysctl_device(s->c));
	assert_int_equal(in(s->a, 0), 0);
	assert_int_equal(in(s->b, 0) & 0x0f, 0);
	assert_int_equal(in(s->rc, 0), 0);
}

static void snapshot(void **state)
{
	struct fixture *f = *state;
	struct side *s = f->side;

	out(s->b, 0, 0x0f);
	sysctl_kbc_a20(s->c, false);
	assert_round_trip(sysctl_device(s[0].c), sysctl_device(s[1].c));
	assert_false(s[1].a20);
	assert_int_equal(in(s[1].b, 0) & 0x0f, 0x0f);
	assert_refused(sysctl_device(s[0].c), sysctl_device(s[1].c), "port_b", 0, 0x10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(port_b_gates_counter_2, setup, teardown),
		cmocka_unit_test_setup_teardown(refresh_toggles, setup, teardown),
		cmocka_unit_test_setup_teardown(a20_has_two_sources, setup, teardown),
		cmocka_unit_test_setup_teardown(asks_for_reset, setup, teardown),
		cmocka_unit_test_setup_teardown(resets, setup, teardown),
		cmocka_unit_test_setup_teardown(snapshot, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
