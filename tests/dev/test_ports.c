/* test_ports.c - the small ones: debug console, test port, POST code port. */
#include "dev/debugcon.h"
#include "dev/postcode.h"
#include "dev/testport.h"
#include "tests/dev/harness.h"

static void debug_console(void **state)
{
	struct sink sink[2];
	struct debugcon *d[2];

	for (unsigned i = 0; i < 2; i++) {
		sink_init(&sink[i]);
		d[i] = debugcon_new(&sink[i].chr);
	}
	assert_int_equal(in(debugcon_region(d[0]), 0), 0xe9);
	out(debugcon_region(d[0]), 0, 'o');
	debugcon_device(d[0])->reset(debugcon_device(d[0]));
	out(debugcon_region(d[0]), 0, 'k');
	assert_string_equal(sink[0].data, "ok");
	assert_int_equal(sink[1].len, 0);
	assert_round_trip(debugcon_device(d[0]), debugcon_device(d[1]));
	for (unsigned i = 0; i < 2; i++)
		debugcon_device(d[i])->destroy(debugcon_device(d[i]));
	d[0] = debugcon_new(NULL); /* nobody listens */
	out(debugcon_region(d[0]), 0, 'x');
	debugcon_device(d[0])->destroy(debugcon_device(d[0]));
}

struct exits {
	unsigned count;
	uint32_t value;
};

static void exit_asked(void *ctx, uint32_t value)
{
	struct exits *e = ctx;

	e->count++;
	e->value = value;
}

static void test_port(void **state)
{
	struct exits e[2] = {{0}};
	struct testport *t[2];
	struct bus bus;

	for (unsigned i = 0; i < 2; i++)
		t[i] = testport_new(exit_asked, &e[i]);
	bus_init(&bus, "ports", 4);
	testport_region(t[0])->base = 0xf4;
	assert_int_equal(bus_map(&bus, testport_region(t[0])), 0);
	bus_write(&bus, 0xf4, 1, 0x31);
	assert_int_equal(e[0].value, 0x31);
	bus_write(&bus, 0xf4, 2, 0x1234);
	assert_int_equal(e[0].value, 0x1234);
	bus_write(&bus, 0xf4, 4, 0xdeadbeef);
	assert_int_equal(e[0].value, 0xdeadbeef);
	bus_write(&bus, 0xf5, 1, 1);
	assert_int_equal(e[0].count, 3);
	assert_int_equal(e[1].count, 0);
	assert_int_equal(bus_read(&bus, 0xf4, 4), 0xffffffff);
	testport_device(t[0])->reset(testport_device(t[0]));
	assert_round_trip(testport_device(t[0]), testport_device(t[1]));
	bus_destroy(&bus);
	for (unsigned i = 0; i < 2; i++)
		testport_device(t[i])->destroy(testport_device(t[i]));
}

static void post_code(void **state)
{
	struct postcode *p[2] = {postcode_new(), postcode_new()};

	out(postcode_region(p[0]), 0, 0x55);
	assert_int_equal(in(postcode_region(p[0]), 0), 0x55);
	assert_int_equal(postcode_last(p[1]), 0);
	assert_round_trip(postcode_device(p[0]), postcode_device(p[1]));
	assert_int_equal(postcode_last(p[1]), 0x55);
	postcode_device(p[0])->reset(postcode_device(p[0]));
	assert_int_equal(postcode_last(p[0]), 0);
	for (unsigned i = 0; i < 2; i++)
		postcode_device(p[i])->destroy(postcode_device(p[i]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(debug_console),
		cmocka_unit_test(test_port),
		cmocka_unit_test(post_code),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
