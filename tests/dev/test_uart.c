/* test_uart.c - the 16550A by register script. */
#include "dev/uart.h"
#include "tests/dev/harness.h"

struct fixture {
	struct clock clock;
	struct pin pin[2];
	struct sink sink[2];
	struct uart *u[2];
	struct bus_region *io; /* of u[0] */
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	clock_init(&f->clock, CLOCK_INSTRUCTIONS);
	for (unsigned i = 0; i < 2; i++) {
		sink_init(&f->sink[i]);
		f->u[i] = uart_new("uart", &f->clock, pin_irq(&f->pin[i]), &f->sink[i].chr);
	}
	f->io = uart_region(f->u[0]);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < 2; i++)
		uart_device(f->u[i])->destroy(uart_device(f->u[i]));
	assert_int_equal(clock_next_deadline(&f->clock), CLOCK_NEVER);
	free(f);
	return 0;
}

static size_t feed(struct fixture *f, const char *s)
{
	return chardev_input(&f->sink[0].chr, (const uint8_t *)s, strlen(s));
}

static void reset_values(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(in(f->io, 1), 0x00);
	assert_int_equal(in(f->io, 2), 0x01);
	assert_int_equal(in(f->io, 3), 0x00);
	assert_int_equal(in(f->io, 4), 0x00);
	assert_int_equal(in(f->io, 5), 0x60);
	assert_int_equal(in(f->io, 6), 0xb0);
	out(f->io, 7, 0x5a);
	assert_int_equal(in(f->io, 7), 0x5a);
	assert_int_equal(in(uart_region(f->u[1]), 7), 0);
}

static void transmits(void **state)
{
	struct fixture *f = *state;

	out(f->io, 3, 0x03);
	out(f->io, 0, 'h');
	out(f->io, 0, 'i');
	out(f->io, 3, 0x02); /* seven bits */
	out(f->io, 0, 0xc1);
	assert_string_equal(f->sink[0].data, "hiA");
	assert_int_equal(f->sink[1].len, 0);
	assert_int_equal(in(f->io, 5), 0x60);
}

static void divisor_behind_dlab(void **state)
{
	struct fixture *f = *state;

	out(f->io, 3, 0x83);
	out(f->io, 0, 0x01);
	out(f->io, 1, 0x02);
	assert_int_equal(in(f->io, 0), 0x01);
	assert_int_equal(in(f->io, 1), 0x02);
	out(f->io, 3, 0x03);
	assert_int_equal(in(f->io, 1), 0x00);
	assert_int_equal(f->sink[0].len, 0);
}

static void thre_interrupt(void **state)
{
	struct fixture *f = *state;

	out(f->io, 1, 0x02);
	assert_true(f->pin[0].level); /* enabling it while THR is empty */
	assert_int_equal(in(f->io, 2), 0x02);
	assert_false(f->pin[0].level); /* reading IIR cleared it */
	assert_int_equal(in(f->io, 2), 0x01);
	out(f->io, 0, 'x');
	assert_true(f->pin[0].level);
	out(f->io, 1, 0x00);
	assert_false(f->pin[0].level);
	out(f->io, 1, 0x02);
	out(f->io, 1, 0x03);
	in(f->io, 2);
	out(f->io, 1, 0x02); /* it was on: no new event */
	assert_false(f->pin[0].level);
	assert_false(f->pin[1].level);
}

/* Reading IIR clears THRE only if IIR showed it. */
static void iir_shows_the_most_urgent(void **state)
{
	struct fixture *f = *state;

	out(f->io, 1, 0x0f);
	feed(f, "a");
	f->sink[0].chr.brk(f->sink[0].chr.device); /* overruns RBR */
	assert_int_equal(in(f->io, 2), 0x06);
	assert_int_equal(in(f->io, 5) & 0x1f, 0x13); /* DR, OE, BI */
	assert_int_equal(in(f->io, 2), 0x04);
	assert_int_equal(in(f->io, 0), 0);
	assert_int_equal(in(f->io, 2), 0x02);
	assert_int_equal(in(f->io, 2), 0x01);
	out(f->io, 4, 0x10);
	assert_int_equal(in(f->io, 2), 0x00); /* CTS, DSR, DCD went away */
	assert_int_equal(in(f->io, 6), 0x0b);
	assert_int_equal(in(f->io, 2), 0x01);
}

static void receives_without_fifo(void **state)
{
	struct fixture *f = *state;

	out(f->io, 1, 0x01);
	assert_int_equal(feed(f, "ab"), 1);
	assert_true(f->pin[0].level);
	assert_int_equal(in(f->io, 5), 0x61);
	assert_int_equal(f->sink[0].room_calls, 0);
	assert_int_equal(in(f->io, 0), 'a');
	assert_int_equal(f->sink[0].room_calls, 1);
	assert_false(f->pin[0].level);
	assert_int_equal(in(f->io, 5), 0x60);
	assert_int_equal(in(f->io, 0), 'a'); /* RBR keeps what it had */
}

static void fifo_trigger_and_timeout(void **state)
{
	struct fixture *f = *state;

	out(f->io, 3, 0x83);
	out(f->io, 0, 1); /* 115200, 8N1: 4 characters are 347 us */
	out(f->io, 3, 0x03);
	out(f->io, 2, 0x41); /* trigger at 4 */
	out(f->io, 1, 0x01);
	assert_int_equal(in(f->io, 2), 0xc1);
	feed(f, "abc");
	assert_false(f->pin[0].level);
	feed(f, "d");
	assert_int_equal(in(f->io, 2), 0xc4);
	assert_int_equal(in(f->io, 0), 'a');
	assert_false(f->pin[0].level);
	pass(&f->clock, 340000);
	assert_false(f->pin[0].level);
	pass(&f->clock, 10000);
	assert_int_equal(in(f->io, 2), 0xcc);
	assert_int_equal(in(f->io, 0), 'b');
	assert_false(f->pin[0].level);
	assert_int_equal(in(f->io, 0), 'c');
	assert_int_equal(in(f->io, 0), 'd');
	pass(&f->clock, NSEC_PER_SEC);
	assert_false(f->pin[0].level);
}

static void fifo_trigger_levels(void **state)
{
	static const uint8_t level[4] = {1, 4, 8, 14};
	struct fixture *f = *state;

	out(f->io, 1, 0x01);
	for (unsigned i = 0; i < 4; i++) {
		out(f->io, 2, 0x03 | i << 6);
		for (unsigned n = 1; n <= 16; n++) {
			assert_int_equal(feed(f, "x"), 1);
			assert_int_equal(f->pin[0].level, n >= level[i]);
		}
		assert_int_equal(feed(f, "x"), 0);
	}
	out(f->io, 2, 0x00); /* leaving FIFO mode clears */
	assert_int_equal(in(f->io, 5), 0x60);
}

static void errors_belong_to_their_character(void **state)
{
	struct fixture *f = *state;

	out(f->io, 2, 0x01);
	out(f->io, 1, 0x04);
	feed(f, "a");
	f->sink[0].chr.brk(f->sink[0].chr.device);
	assert_false(f->pin[0].level);
	assert_int_equal(in(f->io, 5), 0xe1); /* somewhere in the FIFO */
	assert_int_equal(in(f->io, 0), 'a');
	assert_true(f->pin[0].level);
	assert_int_equal(in(f->io, 5), 0xf1);
	assert_int_equal(in(f->io, 5), 0x61);
	assert_int_equal(in(f->io, 0), 0);
}

static void loopback(void **state)
{
	struct fixture *f = *state;

	out(f->io, 3, 0x03);
	out(f->io, 4, 0x1a); /* LOOP, OUT2, RTS */
	assert_int_equal(in(f->io, 6) & 0xf0, 0x90);
	out(f->io, 0, 'L');
	assert_int_equal(f->sink[0].len, 0);
	assert_int_equal(in(f->io, 5), 0x61);
	out(f->io, 0, 'M');
	assert_int_equal(in(f->io, 5), 0x63); /* overrun: the old one is lost */
	assert_int_equal(in(f->io, 0), 'M');
	out(f->io, 2, 0x01);
	for (unsigned i = 0; i < 17; i++)
		out(f->io, 0, 'a' + i);
	assert_int_equal(in(f->io, 5), 0x63); /* overrun: the new one is lost */
	for (unsigned i = 0; i < 16; i++)
		assert_int_equal(in(f->io, 0), 'a' + i);
	assert_int_equal(feed(f, "z"), 0); /* SIN is cut off */
	out(f->io, 3, 0x43);
	assert_int_equal(in(f->io, 5), 0xf1); /* our own BREAK */
	out(f->io, 4, 0x00);
	assert_int_equal(f->sink[0].room_calls, 1);
	assert_int_equal(in(f->io, 6) & 0xf0, 0xb0);
}

static void ring_counts_when_it_ends(void **state)
{
	struct fixture *f = *state;

	out(f->io, 4, 0x10);
	in(f->io, 6);
	out(f->io, 4, 0x14);
	assert_int_equal(in(f->io, 6), 0x40);
	out(f->io, 4, 0x10);
	assert_int_equal(in(f->io, 6), 0x04);
}

static void resets(void **state)
{
	struct fixture *f = *state;

	out(f->io, 1, 0x0f);
	out(f->io, 2, 0xc1);
	feed(f, "abc");
	assert_true(f->pin[0].level);
	uart_device(f->u[0])->reset(uart_device(f->u[0]));
	assert_false(f->pin[0].level);
	reset_values(state);
}

static void snapshot(void **state)
{
	struct fixture *f = *state;
	struct device *a = uart_device(f->u[0]), *b = uart_device(f->u[1]);

	out(f->io, 1, 0x0f);
	out(f->io, 2, 0x81);
	feed(f, "hello");
	in(f->io, 0);
	pass(&f->clock, 1000);
	assert_round_trip(a, b);
	assert_int_equal(in(uart_region(f->u[1]), 0), 'e');
	assert_true(f->pin[1].level); /* THRE */
	assert_refused(a, b, "rx_head", 0, 16);
	assert_refused(a, b, "rx_count", 0, 17);
	assert_refused(a, b, "timeout", 6, 0x70);
	out(f->io, 2, 0x00);
	assert_refused(a, b, "rx_count", 0, 2); /* without FIFO */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(reset_values, setup, teardown),
		cmocka_unit_test_setup_teardown(transmits, setup, teardown),
		cmocka_unit_test_setup_teardown(divisor_behind_dlab, setup, teardown),
		cmocka_unit_test_setup_teardown(thre_interrupt, setup, teardown),
		cmocka_unit_test_setup_teardown(iir_shows_the_most_urgent, setup, teardown),
		cmocka_unit_test_setup_teardown(receives_without_fifo, setup, teardown),
		cmocka_unit_test_setup_teardown(fifo_trigger_and_timeout, setup, teardown),
		cmocka_unit_test_setup_teardown(fifo_trigger_levels, setup, teardown),
		cmocka_unit_test_setup_teardown(errors_belong_to_their_character, setup, teardown),
		cmocka_unit_test_setup_teardown(loopback, setup, teardown),
		cmocka_unit_test_setup_teardown(ring_counts_when_it_ends, setup, teardown),
		cmocka_unit_test_setup_teardown(resets, setup, teardown),
		cmocka_unit_test_setup_teardown(snapshot, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
