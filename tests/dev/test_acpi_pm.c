/* test_acpi_pm.c - ACPI fixed hardware by register script. */
#include "dev/acpi_pm.h"
#include "tests/dev/harness.h"

enum { STS = 0, EN = 2, CNT = 4, TMR = 8 };

struct side {
	struct acpi_pm *pm;
	struct pin sci;
	unsigned offs;
};

struct fixture {
	struct clock clock;
	struct side side[2];
};

static void power_off(void *ctx)
{
	((struct side *)ctx)->offs++;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	clock_init(&f->clock, CLOCK_INSTRUCTIONS);
	for (unsigned i = 0; i < 2; i++) {
		struct side *s = &f->side[i];

		s->pm = acpi_pm_new(&f->clock, pin_irq(&s->sci), power_off, s);
		acpi_pm_device(s->pm)->reset(acpi_pm_device(s->pm));
	}
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < 2; i++)
		acpi_pm_device(f->side[i].pm)->destroy(acpi_pm_device(f->side[i].pm));
	free(f);
	return 0;
}

static uint32_t rd(struct side *s, unsigned off, unsigned size)
{
	struct bus_region *r = acpi_pm_region(s->pm);

	return (uint32_t)r->ops->read(r->ctx, off, size);
}

static void wr(struct side *s, unsigned off, uint16_t value)
{
	struct bus_region *r = acpi_pm_region(s->pm);

	r->ops->write(r->ctx, off, 2, value);
}

static void powers_off_by_s5_only(void **state)
{
	struct side *s = ((struct fixture *)*state)->side;

	assert_int_equal(rd(s, CNT, 2), 1); /* ACPI mode is on */
	wr(s, CNT, 0x1400);                 /* SLP_TYP without SLP_EN */
	wr(s, CNT, 0x2400);                 /* another sleep state */
	assert_int_equal(s->offs, 0);
	wr(s, CNT, 0x3400);
	assert_int_equal(s->offs, 1);
	assert_int_equal(rd(s, CNT, 2), 0x1401); /* SLP_EN reads as zero */
}

static void power_button(void **state)
{
	struct side *s = ((struct fixture *)*state)->side;

	acpi_pm_button(s->pm);
	assert_false(s->sci.level);
	wr(s, EN, 0x100);
	assert_true(s->sci.level);
	assert_int_equal(rd(s, STS, 4), 0x01000100);
	wr(s, STS, 0x100);
	assert_false(s->sci.level);
	assert_int_equal(rd(s, STS, 4), 0x01000000);
}

static void timer_counts(void **state)
{
	struct fixture *f = *state;
	struct side *s = f->side;

	pass(&f->clock, NSEC_PER_SEC);
	assert_int_equal(rd(s, TMR, 4), 3579545);
	wr(s, EN, 1);
	pass(&f->clock, NSEC_PER_SEC);
	assert_false(s->sci.level);
	pass(&f->clock, NSEC_PER_SEC * 2 / 5); /* bit 23 changes at 2.34 s */
	assert_true(s->sci.level);
	wr(s, STS, 1);
	assert_false(s->sci.level);
	pass(&f->clock, NSEC_PER_SEC * 5 / 2); /* and at 4.69 s */
	assert_true(s->sci.level);
	assert_int_equal(rd(s, TMR, 4), (UINT64_C(3579545) * 49 / 10) & 0xffffff);
}

static void snapshot(void **state)
{
	struct fixture *f = *state;
	struct side *s = f->side;

	wr(s, EN, 0x101);
	acpi_pm_button(s->pm);
	wr(s, CNT, 0x0400);
	assert_round_trip(acpi_pm_device(s[0].pm), acpi_pm_device(s[1].pm));
	assert_true(s[1].sci.level);
	assert_int_equal(rd(&s[1], CNT, 2), 0x0401);
	wr(&s[1], STS, 0x100);
	pass(&f->clock, 3 * NSEC_PER_SEC);
	assert_true(s[1].sci.level); /* its timer was armed */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(powers_off_by_s5_only, setup, teardown),
		cmocka_unit_test_setup_teardown(power_button, setup, teardown),
		cmocka_unit_test_setup_teardown(timer_counts, setup, teardown),
		cmocka_unit_test_setup_teardown(snapshot, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
