/* test_pic.c - the pair of 8259A by register script. */
#include "dev/pic.h"
#include "tests/dev/harness.h"

struct fixture {
	struct pin intr[2];
	struct pic *p[2];
	struct bus_region *m, *s, *elcr; /* of p[0] */
};

static void intr_changed(void *ctx, bool level)
{
	pin_set(ctx, 0, level);
}

static void initialise(
	struct fixture *f, struct bus_region *r, uint8_t vector, uint8_t icw3, uint8_t icw4)
{
	out(r, 0, 0x11);
	out(r, 1, vector);
	out(r, 1, icw3);
	out(r, 1, icw4);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	for (unsigned i = 0; i < 2; i++)
		f->p[i] = pic_new(intr_changed, &f->intr[i]);
	f->m = pic_region(f->p[0], PIC_MASTER);
	f->s = pic_region(f->p[0], PIC_SLAVE);
	f->elcr = pic_region(f->p[0], PIC_ELCR);
	initialise(f, f->m, 0x20, 0x04, 0x01);
	initialise(f, f->s, 0x28, 0x02, 0x01);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < 2; i++)
		pic_device(f->p[i])->destroy(pic_device(f->p[i]));
	free(f);
	return 0;
}

static void line(struct fixture *f, int n, bool level)
{
	irq_set(pic_irq(f->p[0], n), level);
}

static uint8_t read_irr(struct bus_region *r)
{
	out(r, 0, 0x0a);
	return in(r, 0);
}

static uint8_t read_isr(struct bus_region *r)
{
	out(r, 0, 0x0b);
	return in(r, 0);
}

static void acknowledges(void **state)
{
	struct fixture *f = *state;

	line(f, 0, true);
	assert_true(f->intr[0].level);
	assert_false(f->intr[1].level);
	assert_int_equal(read_irr(f->m), 0x01);
	assert_int_equal(pic_ack(f->p[0]), 0x20);
	assert_false(f->intr[0].level);
	assert_int_equal(read_irr(f->m), 0x00); /* an edge counts once */
	assert_int_equal(read_isr(f->m), 0x01);
	out(f->m, 0, 0x20);
	assert_int_equal(read_isr(f->m), 0x00);
	assert_false(f->intr[0].level);
	line(f, 0, false);
	line(f, 0, true);
	assert_true(f->intr[0].level);
}

static void masks(void **state)
{
	struct fixture *f = *state;

	out(f->m, 1, 0x02);
	assert_int_equal(in(f->m, 1), 0x02);
	line(f, 1, true);
	assert_false(f->intr[0].level);
	out(f->m, 1, 0x00);
	assert_true(f->intr[0].level);
	assert_int_equal(pic_ack(f->p[0]), 0x21);
}

static void nests_by_priority(void **state)
{
	struct fixture *f = *state;

	line(f, 4, true);
	assert_int_equal(pic_ack(f->p[0]), 0x24);
	line(f, 5, true);
	assert_false(f->intr[0].level);
	line(f, 3, true);
	assert_true(f->intr[0].level);
	assert_int_equal(pic_ack(f->p[0]), 0x23);
	assert_int_equal(read_isr(f->m), 0x18);
	out(f->m, 0, 0x20); /* the highest in service: 3 */
	assert_int_equal(read_isr(f->m), 0x10);
	out(f->m, 0, 0x64); /* specific: 4 */
	assert_int_equal(read_isr(f->m), 0x00);
	assert_int_equal(pic_ack(f->p[0]), 0x25);
}

static void cascades(void **state)
{
	struct fixture *f = *state;

	line(f, 12, true);
	line(f, 8, true);
	assert_int_equal(pic_ack(f->p[0]), 0x28);
	assert_int_equal(read_isr(f->m), 0x04);
	assert_int_equal(read_isr(f->s), 0x01);
	assert_false(f->intr[0].level);
	out(f->s, 0, 0x20);
	out(f->m, 0, 0x20);
	assert_true(f->intr[0].level);
	assert_int_equal(pic_ack(f->p[0]), 0x2c);
	/* fully nested: a higher one of the slave waits for the master's EOI */
	line(f, 9, true);
	assert_false(f->intr[0].level);
	out(f->m, 0, 0x20);
	assert_true(f->intr[0].level);
	assert_int_equal(pic_ack(f->p[0]), 0x29);
	assert_null(pic_irq(f->p[0], 2).fn);
}

static void special_fully_nested(void **state)
{
	struct fixture *f = *state;

	initialise(f, f->m, 0x20, 0x04, 0x11);
	line(f, 12, true);
	assert_int_equal(pic_ack(f->p[0]), 0x2c);
	line(f, 9, true);
	assert_true(f->intr[0].level);
	assert_int_equal(pic_ack(f->p[0]), 0x29);
}

static void spurious(void **state)
{
	struct fixture *f = *state;

	line(f, 3, true);
	line(f, 3, false);
	assert_false(f->intr[0].level);
	assert_int_equal(pic_ack(f->p[0]), 0x27);
	assert_int_equal(read_isr(f->m), 0x00);
	line(f, 11, true);
	out(f->s, 1, 0xff);
	assert_false(f->intr[0].level);
	assert_int_equal(pic_ack(f->p[0]), 0x27);
	out(f->s, 1, 0x00); /* the line is still high: asked for again */
	assert_true(f->intr[0].level);
	assert_int_equal(pic_ack(f->p[0]), 0x2b);
}

static void level_triggered(void **state)
{
	struct fixture *f = *state;

	out(f->elcr, 0, 0xff);
	out(f->elcr, 1, 0xff);
	assert_int_equal(in(f->elcr, 0), 0xf8);
	assert_int_equal(in(f->elcr, 1), 0xde);
	line(f, 5, true);
	assert_int_equal(pic_ack(f->p[0]), 0x25);
	out(f->m, 0, 0x20);
	assert_true(f->intr[0].level); /* still asked for */
	line(f, 5, false);
	assert_false(f->intr[0].level);
	line(f, 10, true);
	assert_int_equal(pic_ack(f->p[0]), 0x2a);
	out(f->s, 0, 0x20);
	out(f->m, 0, 0x20);
	assert_true(f->intr[0].level);
	assert_int_equal(pic_ack(f->p[0]), 0x2a);
}

static void ltim_makes_all_level(void **state)
{
	struct fixture *f = *state;

	out(f->m, 0, 0x19);
	out(f->m, 1, 0x20);
	out(f->m, 1, 0x04);
	out(f->m, 1, 0x01);
	line(f, 0, true);
	pic_ack(f->p[0]);
	out(f->m, 0, 0x20);
	assert_true(f->intr[0].level);
}

static void automatic_eoi_and_rotation(void **state)
{
	struct fixture *f = *state;

	initialise(f, f->m, 0x20, 0x04, 0x03);
	out(f->m, 0, 0x80); /* rotate in automatic EOI mode */
	line(f, 1, true);
	line(f, 3, true);
	assert_int_equal(pic_ack(f->p[0]), 0x21);
	assert_int_equal(read_isr(f->m), 0x00);
	line(f, 1, false);
	line(f, 1, true); /* now of the lowest priority */
	assert_int_equal(pic_ack(f->p[0]), 0x23);
	assert_int_equal(pic_ack(f->p[0]), 0x21);
}

static void rotation_by_command(void **state)
{
	struct fixture *f = *state;

	out(f->m, 0, 0xc4); /* 4 is the lowest, 5 the highest */
	line(f, 4, true);
	line(f, 5, true);
	line(f, 6, true);
	assert_int_equal(pic_ack(f->p[0]), 0x25);
	out(f->m, 0, 0xa0); /* rotate on non-specific EOI: 5 is the lowest */
	assert_int_equal(pic_ack(f->p[0]), 0x26);
	out(f->m, 0, 0xe6); /* rotate on specific EOI */
	assert_int_equal(pic_ack(f->p[0]), 0x24);
}

static void special_mask(void **state)
{
	struct fixture *f = *state;

	line(f, 1, true);
	pic_ack(f->p[0]);
	line(f, 6, true);
	assert_false(f->intr[0].level);
	out(f->m, 1, 0x02);
	assert_false(f->intr[0].level);
	out(f->m, 0, 0x68);
	assert_true(f->intr[0].level);
	assert_int_equal(pic_ack(f->p[0]), 0x26);
	out(f->m, 0, 0x20); /* non-specific EOI passes the masked one by */
	assert_int_equal(read_isr(f->m), 0x02);
	out(f->m, 0, 0x48);
	line(f, 7, true);
	assert_false(f->intr[0].level);
}

static void polls(void **state)
{
	struct fixture *f = *state;

	out(f->m, 0, 0x0c);
	assert_int_equal(in(f->m, 0), 0x00);
	line(f, 4, true);
	out(f->m, 0, 0x0c);
	assert_int_equal(in(f->m, 0), 0x84);
	assert_int_equal(read_isr(f->m), 0x10);
	assert_false(f->intr[0].level);
	out(f->m, 0, 0x20);
	line(f, 13, true);
	out(f->s, 0, 0x0c);
	assert_int_equal(in(f->s, 1), 0x85);
	assert_int_equal(in(f->s, 1), 0x00); /* one read only: IMR again */
	assert_false(f->intr[0].level);
}

static void initialisation_forms(void **state)
{
	struct fixture *f = *state;

	out(f->m, 1, 0xff);
	out(f->m, 0, 0x12); /* single, no ICW4 */
	out(f->m, 1, 0x47);
	assert_int_equal(in(f->m, 1), 0x00); /* IMR was cleared */
	out(f->m, 1, 0xaa);
	assert_int_equal(in(f->m, 1), 0xaa);
	line(f, 6, true);
	assert_int_equal(pic_ack(f->p[0]), 0x46);
	out(f->m, 0, 0x11); /* an edge from before does not count afterwards */
	out(f->m, 1, 0x20);
	out(f->m, 1, 0x04);
	out(f->m, 1, 0x01);
	assert_false(f->intr[0].level);
}

static void resets(void **state)
{
	struct fixture *f = *state;

	line(f, 5, true);
	pic_device(f->p[0])->reset(pic_device(f->p[0]));
	assert_false(f->intr[0].level);
	assert_int_equal(in(f->m, 1), 0xff);
	initialise(f, f->m, 0x20, 0x04, 0x01);
	line(f, 5, false);
	line(f, 5, true);
	assert_int_equal(pic_ack(f->p[0]), 0x25);
}

static void snapshot(void **state)
{
	struct fixture *f = *state;
	struct device *a = pic_device(f->p[0]), *b = pic_device(f->p[1]);

	line(f, 9, true);
	pic_ack(f->p[0]);
	line(f, 1, true);
	out(f->m, 0, 0xc3);
	assert_round_trip(a, b);
	assert_int_equal(f->intr[1].level, f->intr[0].level);
	assert_int_equal(pic_ack(f->p[1]), pic_ack(f->p[0]));
	assert_refused(a, b, "step", 0, 4);
	assert_refused(a, b, "highest", 0, 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(acknowledges, setup, teardown),
		cmocka_unit_test_setup_teardown(masks, setup, teardown),
		cmocka_unit_test_setup_teardown(nests_by_priority, setup, teardown),
		cmocka_unit_test_setup_teardown(cascades, setup, teardown),
		cmocka_unit_test_setup_teardown(special_fully_nested, setup, teardown),
		cmocka_unit_test_setup_teardown(spurious, setup, teardown),
		cmocka_unit_test_setup_teardown(level_triggered, setup, teardown),
		cmocka_unit_test_setup_teardown(ltim_makes_all_level, setup, teardown),
		cmocka_unit_test_setup_teardown(automatic_eoi_and_rotation, setup, teardown),
		cmocka_unit_test_setup_teardown(rotation_by_command, setup, teardown),
		cmocka_unit_test_setup_teardown(special_mask, setup, teardown),
		cmocka_unit_test_setup_teardown(polls, setup, teardown),
		cmocka_unit_test_setup_teardown(initialisation_forms, setup, teardown),
		cmocka_unit_test_setup_teardown(resets, setup, teardown),
		cmocka_unit_test_setup_teardown(snapshot, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
