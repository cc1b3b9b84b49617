/* test_ps2.c - the 8042 with keyboard and mouse by register script. */
#include "dev/ps2.h"
#include "tests/dev/harness.h"

struct fixture {
	struct clock clock;
	struct pin kbd[2], aux[2];
	struct ps2 *p[2];
	struct bus_region *data, *cmd; /* of p[0] */
	bool a20;
	unsigned resets;
};

static void a20_changed(void *ctx, bool open)
{
	((struct fixture *)ctx)->a20 = open;
}

static void reset_asked(void *ctx)
{
	((struct fixture *)ctx)->resets++;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	clock_init(&f->clock, CLOCK_INSTRUCTIONS);
	f->a20 = true;
	for (unsigned i = 0; i < 2; i++) {
		struct ps2_wires w = {
			pin_irq(&f->kbd[i]), pin_irq(&f->aux[i]), a20_changed, reset_asked, f};

		f->p[i] = ps2_new(&f->clock, &w);
	}
	f->data = ps2_region(f->p[0], PS2_DATA);
	f->cmd = ps2_region(f->p[0], PS2_COMMAND);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < 2; i++)
		ps2_device(f->p[i])->destroy(ps2_device(f->p[i]));
	assert_int_equal(clock_next_deadline(&f->clock), CLOCK_NEVER);
	free(f);
	return 0;
}

static uint8_t status(struct fixture *f)
{
	return in(f->cmd, 0);
}

/* Waits for a byte as long as two take on the wire (a break has two); -1: none. */
static int receive(struct fixture *f)
{
	for (unsigned i = 0; i < 20 && !(status(f) & 1); i++)
		pass(&f->clock, 100000);
	return status(f) & 1 ? in(f->data, 0) : -1;
}

static void expect(struct fixture *f, const char *bytes, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(receive(f), (uint8_t)bytes[i]);
	assert_int_equal(receive(f), -1);
}

#define EXPECT(f, bytes) expect(f, bytes, sizeof(bytes) - 1)

static void command(struct fixture *f, uint8_t cmd, uint8_t data)
{
	out(f->cmd, 0, cmd);
	out(f->data, 0, data);
}

static void to_mouse(struct fixture *f, uint8_t byte)
{
	command(f, 0xd4, byte);
}

static void controller_commands(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(status(f), 0x14);
	out(f->cmd, 0, 0xaa);
	assert_int_equal(status(f), 0x1d);
	assert_true(f->kbd[0].level);
	EXPECT(f, "\x55");
	assert_false(f->kbd[0].level);
	out(f->cmd, 0, 0xab);
	EXPECT(f, "\0");
	out(f->cmd, 0, 0xa9);
	EXPECT(f, "\0");
	out(f->cmd, 0, 0x20);
	EXPECT(f, "\x65");
	command(f, 0x60, 0x47);
	assert_int_equal(status(f) & 8, 0);
	out(f->cmd, 0, 0xa7);
	out(f->cmd, 0, 0xad);
	out(f->cmd, 0, 0x20);
	EXPECT(f, "\x77");
	out(f->cmd, 0, 0xa8);
	out(f->cmd, 0, 0xae);
	out(f->cmd, 0, 0x20);
	EXPECT(f, "\x47");
	command(f, 0x7f, 0x99);
	out(f->cmd, 0, 0x3f);
	EXPECT(f, "\x99");
	command(f, 0xd2, 0x42); /* as if from the keyboard: no translation */
	assert_true(f->kbd[0].level);
	EXPECT(f, "\x42");
	command(f, 0xd3, 0x43);
	assert_int_equal(status(f) & 0x21, 0x21);
	assert_true(f->aux[0].level);
	EXPECT(f, "\x43");
}

static void output_port(void **state)
{
	struct fixture *f = *state;

	out(f->cmd, 0, 0xd0);
	EXPECT(f, "\xcf");
	command(f, 0xd1, 0xdd);
	assert_false(f->a20);
	out(f->cmd, 0, 0xd0);
	EXPECT(f, "\xcd");
	command(f, 0xd1, 0xdf);
	assert_true(f->a20);
	assert_int_equal(f->resets, 0);
	out(f->cmd, 0, 0xfe);
	assert_int_equal(f->resets, 1);
	out(f->cmd, 0, 0xff); /* pulses nothing */
	assert_int_equal(f->resets, 1);
	command(f, 0xd1, 0xde);
	assert_int_equal(f->resets, 2);
}

static void keys_translated(void **state)
{
	struct fixture *f = *state;

	ps2_key(f->p[0], 0x1e, true);
	assert_int_equal(status(f) & 1, 0); /* takes its time */
	pass(&f->clock, 700000);
	assert_true(f->kbd[0].level);
	assert_int_equal(in(f->data, 0), 0x1e);
	assert_int_equal(in(f->data, 0), 0x1e); /* again the same */
	ps2_key(f->p[0], 0x1e, false);
	EXPECT(f, "\x9e");
	ps2_key(f->p[0], 0xe048, true);
	ps2_key(f->p[0], 0xe048, false);
	EXPECT(f, "\xe0\x48\xe0\xc8");
	ps2_key(f->p[0], PS2_KEY_PAUSE, true);
	ps2_key(f->p[0], PS2_KEY_PAUSE, false);
	EXPECT(f, "\xe1\x1d\x45\xe1\x9d\xc5");
	ps2_key(f->p[0], PS2_KEY_PRINT, true);
	ps2_key(f->p[0], PS2_KEY_PRINT, false);
	EXPECT(f, "\xe0\x2a\xe0\x37\xe0\xb7\xe0\xaa");
	assert_int_equal(f->kbd[1].rises, 0);
}

/* Every key of the main block comes through the two tables as itself. */
static void every_key_survives_translation(void **state)
{
	struct fixture *f = *state;

	for (unsigned key = 1; key <= 0x58; key++) {
		if (key == 0x55)
			continue; /* no such key */
		ps2_key(f->p[0], key, true);
		assert_int_equal(receive(f), key);
		ps2_key(f->p[0], key, false);
		assert_int_equal(receive(f), key | 0x80);
	}
}

static void scan_sets(void **state)
{
	struct fixture *f = *state;

	command(f, 0x60, 0x05); /* no translation */
	ps2_key(f->p[0], 0x1e, true);
	ps2_key(f->p[0], 0x1e, false);
	EXPECT(f, "\x1c\xf0\x1c");
	ps2_key(f->p[0], 0x41, true);
	EXPECT(f, "\x83");
	out(f->data, 0, 0xf0);
	EXPECT(f, "\xfa");
	out(f->data, 0, 0);
	EXPECT(f, "\xfa\x02");
	out(f->data, 0, 0xf0);
	EXPECT(f, "\xfa");
	out(f->data, 0, 1);
	EXPECT(f, "\xfa");
	ps2_key(f->p[0], 0xe01d, false);
	EXPECT(f, "\xe0\x9d");
	out(f->data, 0, 0xf0);
	EXPECT(f, "\xfa");
	out(f->data, 0, 3);
	EXPECT(f, "\xfe");
}

static void keyboard_commands(void **state)
{
	struct fixture *f = *state;

	out(f->data, 0, 0xed);
	EXPECT(f, "\xfa");
	out(f->data, 0, 0x07);
	EXPECT(f, "\xfa");
	out(f->data, 0, 0xee);
	EXPECT(f, "\xee");
	out(f->data, 0, 0xf2);
	EXPECT(f, "\xfa\xab\x41"); /* 83h translated, as on every PC */
	out(f->data, 0, 0xfe);
	EXPECT(f, "\x41");
	out(f->data, 0, 0xf3);
	EXPECT(f, "\xfa");
	out(f->data, 0, 0x00);
	EXPECT(f, "\xfa");
	out(f->data, 0, 0xf5);
	EXPECT(f, "\xfa");
	ps2_key(f->p[0], 0x1e, true);
	EXPECT(f, "");
	out(f->data, 0, 0xf4);
	EXPECT(f, "\xfa");
	ps2_key(f->p[0], 0x1e, true);
	EXPECT(f, "\x1e");
	out(f->data, 0, 0xf6);
	EXPECT(f, "\xfa");
	out(f->data, 0, 0xff);
	EXPECT(f, "\xfa\xaa");
	out(f->data, 0, 0x33);
	EXPECT(f, "\xfe");
	out(f->data, 0, 0xed); /* a command instead of the argument */
	EXPECT(f, "\xfa");
	out(f->data, 0, 0xf4);
	EXPECT(f, "\xfa");
}

static void disabled_interface_waits(void **state)
{
	struct fixture *f = *state;

	out(f->cmd, 0, 0xad);
	ps2_key(f->p[0], 0x10, true);
	EXPECT(f, "");
	out(f->cmd, 0, 0xae);
	EXPECT(f, "\x10");
	command(f, 0x60, 0x44); /* polled: no interrupt */
	f->kbd[0].rises = 0;
	ps2_key(f->p[0], 0x10, false);
	EXPECT(f, "\x90");
	assert_int_equal(f->kbd[0].rises, 0);
}

static void overrun(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < 100; i++)
		ps2_key(f->p[0], 0x1e, true);
	for (unsigned i = 0; i < 15; i++)
		assert_int_equal(receive(f), 0x1e);
	assert_int_equal(receive(f), 0xff);
	assert_int_equal(receive(f), -1);
}

static void types_ascii(void **state)
{
	struct fixture *f = *state;

	ps2_type(f->p[0], 'a');
	ps2_type(f->p[0], 'A');
	ps2_type(f->p[0], '\n');
	ps2_type(f->p[0], 3);
	ps2_type(f->p[0], '|');
	ps2_type(f->p[0], 127);
	ps2_type(f->p[0], 0);
	EXPECT(f, "\x1e\x9e"
		  "\x2a\x1e\x9e\xaa"
		  "\x1c\x9c"
		  "\x1d\x2e\xae\x9d"
		  "\x2a\x2b\xab\xaa"
		  "\x0e\x8e"
		  "\x1d\x2a\x03\x83\xaa\x9d");
	assert_false(ps2_type(f->p[0], 0xe4));
}

/* Each printable character is one stroke that a US layout table reads back. */
static void types_every_character(void **state)
{
	static const char plain[] = "  1234567890-=  qwertyuiop[]  asdfghjkl;'` \\zxcvbnm,./";
	static const char shifted[] = "  !@#$%^&*()_+  QWERTYUIOP{}  ASDFGHJKL:\"~ |ZXCVBNM<>?";
	struct fixture *f = *state;

	for (unsigned c = ' '; c < 127; c++) {
		bool shift;
		int code;

		assert_true(ps2_type(f->p[0], c));
		code = receive(f);
		shift = code == 0x2a;
		if (shift)
			code = receive(f);
		assert_int_equal(code == 0x39 ? ' ' : (shift ? shifted : plain)[code], c);
		assert_int_equal(receive(f), code | 0x80);
		if (shift)
			assert_int_equal(receive(f), 0xaa);
	}
}

static void typing_is_bounded(void **state)
{
	struct fixture *f = *state;
	unsigned n = 0, got = 0;

	while (n < 1000 && ps2_type(f->p[0], 'x'))
		n++;
	assert_int_equal(n, 256);
	while (receive(f) >= 0)
		got++;
	assert_int_equal(got, 512);
}

static void mouse(void **state)
{
	struct fixture *f = *state;

	command(f, 0x60, 0x47);
	to_mouse(f, 0xff);
	pass(&f->clock, 700000);
	assert_true(f->aux[0].level);
	assert_int_equal(status(f) & 0x21, 0x21);
	EXPECT(f, "\xfa\xaa\x00");
	to_mouse(f, 0xf2);
	EXPECT(f, "\xfa\x00");
	ps2_mouse(f->p[0], 1, 1, 1);
	EXPECT(f, ""); /* not enabled */
	to_mouse(f, 0xf3);
	EXPECT(f, "\xfa");
	to_mouse(f, 200);
	EXPECT(f, "\xfa");
	to_mouse(f, 0xe8);
	EXPECT(f, "\xfa");
	to_mouse(f, 3);
	EXPECT(f, "\xfa");
	to_mouse(f, 0xe7);
	EXPECT(f, "\xfa");
	to_mouse(f, 0xf4);
	EXPECT(f, "\xfa\x09\x01\x01");
	to_mouse(f, 0xe9);
	EXPECT(f, "\xfa\x34\x03\xc8");
	ps2_mouse(f->p[0], -3, 5, 2);
	ps2_mouse(f->p[0], -3, 5, 2);
	EXPECT(f, "\x1a\xfa\x0a");
	ps2_mouse(f->p[0], 1000, -1000, 0);
	EXPECT(f, "\xe8\xff\x00");
	to_mouse(f, 0xf0);
	EXPECT(f, "\xfa");
	ps2_mouse(f->p[0], 7, 0, 0);
	EXPECT(f, "");
	to_mouse(f, 0xeb);
	EXPECT(f, "\xfa\x08\x07\x00");
	to_mouse(f, 0xee);
	EXPECT(f, "\xfa");
	to_mouse(f, 0xe9);
	EXPECT(f, "\xe9");
	to_mouse(f, 0xec);
	EXPECT(f, "\xfa");
	to_mouse(f, 0x11);
	EXPECT(f, "\xfe");
	assert_int_equal(f->kbd[0].rises, 0);
}

static void resets(void **state)
{
	struct fixture *f = *state;

	command(f, 0xd1, 0xdd);
	command(f, 0x60, 0x00);
	ps2_type(f->p[0], 'q');
	ps2_device(f->p[0])->reset(ps2_device(f->p[0]));
	assert_true(f->a20);
	EXPECT(f, "");
	out(f->cmd, 0, 0x20);
	EXPECT(f, "\x65");
}

static void snapshot(void **state)
{
	struct fixture *f = *state;
	struct device *a = ps2_device(f->p[0]), *b = ps2_device(f->p[1]);

	command(f, 0x60, 0x47);
	to_mouse(f, 0xf4);
	ps2_type(f->p[0], 'x');
	ps2_type(f->p[0], 'Y');
	ps2_mouse(f->p[0], -1, -2, 4);
	receive(f);
	pass(&f->clock, 1000);
	assert_round_trip(a, b);
	f->data = ps2_region(f->p[1], PS2_DATA);
	f->cmd = ps2_region(f->p[1], PS2_COMMAND);
	EXPECT(f, "\xad"
		  "\x2a\x15\x95\xaa"
		  "\xfa\x3c\xff\xfe");
	assert_refused(a, b, "queue_head", 0, 16);
	assert_refused(a, b, "queue_count", 0, 17);
	assert_refused(a, b, "typed_count", 1, 2);
	assert_refused(a, b, "scan_set", 0, 9);
	assert_refused(a, b, "byte_timer", 7, 0x70);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(controller_commands, setup, teardown),
		cmocka_unit_test_setup_teardown(output_port, setup, teardown),
		cmocka_unit_test_setup_teardown(keys_translated, setup, teardown),
		cmocka_unit_test_setup_teardown(every_key_survives_translation, setup, teardown),
		cmocka_unit_test_setup_teardown(scan_sets, setup, teardown),
		cmocka_unit_test_setup_teardown(keyboard_commands, setup, teardown),
		cmocka_unit_test_setup_teardown(disabled_interface_waits, setup, teardown),
		cmocka_unit_test_setup_teardown(overrun, setup, teardown),
		cmocka_unit_test_setup_teardown(types_ascii, setup, teardown),
		cmocka_unit_test_setup_teardown(types_every_character, setup, teardown),
		cmocka_unit_test_setup_teardown(typing_is_bounded, setup, teardown),
		cmocka_unit_test_setup_teardown(mouse, setup, teardown),
		cmocka_unit_test_setup_teardown(resets, setup, teardown),
		cmocka_unit_test_setup_teardown(snapshot, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
