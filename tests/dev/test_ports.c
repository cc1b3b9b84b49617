/* test_ports.c - the small ones: debug console, test port, POST code port. */
#include "dev/debugcon.h"
#include "dev/ferr.h"
#include "dev/fw_cfg.h"
#include "dev/postcode.h"
#include "dev/testdev.h"
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

static void line_moved(void *ctx, int line, bool level)
{
	int *last = ctx;

	*last = level ? line : -line;
}

static void test_device(void **state)
{
	struct irq line[TESTDEV_LINES];
	struct testdev *t[2];
	struct bus bus;
	int last = 0;

	for (int n = 0; n < TESTDEV_LINES; n++)
		line[n] = (struct irq){line_moved, &last, n};
	for (unsigned i = 0; i < 2; i++)
		t[i] = testdev_new(line);
	bus_init(&bus, "ports", 4);
	testdev_region(t[0], TESTDEV_DATA)->base = 0xe0;
	testdev_region(t[0], TESTDEV_IRQ)->base = 0x2000;
	testdev_region(t[0], TESTDEV_MEMORY)->base = 0x10000;
	for (unsigned w = TESTDEV_DATA; w <= TESTDEV_MEMORY; w++)
		assert_int_equal(bus_map(&bus, testdev_region(t[0], w)), 0);
	bus_write(&bus, 0xe0, 4, 0x12345678);
	bus_write(&bus, 0xe1, 1, 0xab);
	assert_int_equal(bus_read(&bus, 0xe0, 4), 0x1234ab78);
	assert_int_equal(bus_read(&bus, 0xe2, 2), 0x1234);
	bus_write(&bus, 0x2000 + 23, 1, 1);
	assert_int_equal(last, 23);
	bus_write(&bus, 0x2000 + 23, 1, 0);
	assert_int_equal(last, -23);
	bus_write(&bus, 0x1fff8, 8, 0x1122334455667788);
	assert_int_equal(bus_read(&bus, 0x1fffc, 4), 0x11223344);
	assert_round_trip(testdev_device(t[0]), testdev_device(t[1]));
	testdev_device(t[0])->reset(testdev_device(t[0]));
	assert_int_equal(bus_read(&bus, 0xe0, 4), 0);
	bus_destroy(&bus);
	for (unsigned i = 0; i < 2; i++)
		testdev_device(t[i])->destroy(testdev_device(t[i]));
}

static void firmware_config(void **state)
{
	struct fw_cfg *f[2] = {fw_cfg_new(NULL), fw_cfg_new(NULL)};
	struct bus bus;

	for (unsigned i = 0; i < 2; i++)
		fw_cfg_add_number(f[i], FW_CFG_NB_CPUS, 0x102, 2);
	bus_init(&bus, "ports", 4);
	fw_cfg_region(f[0], FW_CFG_PORTS)->base = 0x510;
	assert_int_equal(bus_map(&bus, fw_cfg_region(f[0], FW_CFG_PORTS)), 0);
	for (const char *c = "QEMU"; *c; c++)
		assert_int_equal(bus_read(&bus, 0x511, 1), *c);
	bus_write(&bus, 0x510, 2, FW_CFG_NB_CPUS);
	assert_int_equal(bus_read(&bus, 0x511, 1), 2);
	assert_round_trip(fw_cfg_device(f[0]), fw_cfg_device(f[1]));
	assert_int_equal(in(fw_cfg_region(f[1], FW_CFG_PORTS), 1), 1);
	assert_int_equal(bus_read(&bus, 0x511, 1), 1);
	assert_int_equal(bus_read(&bus, 0x511, 1), 0); /* behind its end */
	bus_write(&bus, 0x510, 2, 0xffff);             /* no such item */
	assert_int_equal(bus_read(&bus, 0x511, 1), 0);
	fw_cfg_device(f[0])->reset(fw_cfg_device(f[0]));
	assert_int_equal(bus_read(&bus, 0x511, 1), 'Q');
	bus_destroy(&bus);
	for (unsigned i = 0; i < 2; i++)
		fw_cfg_device(f[i])->destroy(fw_cfg_device(f[i]));
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

struct pins {
	bool irq, ferr, ignne;
};

static void irq_13(void *ctx, int line, bool level)
{
	((struct pins *)ctx)->irq = level;
}

static void pins_changed(void *ctx, bool ferr, bool ignne)
{
	struct pins *p = ctx;

	p->ferr = ferr;
	p->ignne = ignne;
}

static void assert_pins(const struct pins *p, bool irq, bool ferr, bool ignne)
{
	assert_int_equal(p->irq, irq);
	assert_int_equal(p->ferr, ferr);
	assert_int_equal(p->ignne, ignne);
}

static void x87_errors(void **state)
{
	struct pins p[2] = {0};
	struct ferr *f[2];

	for (unsigned i = 0; i < 2; i++)
		f[i] = ferr_new(&(struct ferr_wires){{irq_13, &p[i], 13}, pins_changed, &p[i]});
	out(ferr_region(f[0]), 0, 0); /* IGNNE# is for an error only */
	assert_pins(&p[0], false, false, false);
	ferr_set(f[0], true);
	assert_pins(&p[0], true, true, false);
	ferr_set(f[0], false); /* the latch stays */
	assert_pins(&p[0], true, false, false);
	ferr_set(f[0], true);
	assert_round_trip(ferr_device(f[0]), ferr_device(f[1]));
	assert_pins(&p[1], true, true, false);
	out(ferr_region(f[0]), 0, 0);
	assert_pins(&p[0], false, true, true);
	assert_round_trip(ferr_device(f[0]), ferr_device(f[1]));
	assert_pins(&p[1], false, true, true);
	ferr_set(f[0], false);
	assert_pins(&p[0], false, false, false);
	ferr_set(f[0], true);
	ferr_device(f[0])->reset(ferr_device(f[0]));
	assert_pins(&p[0], false, false, false);
	for (unsigned i = 0; i < 2; i++)
		ferr_device(f[i])->destroy(ferr_device(f[i]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(debug_console),
		cmocka_unit_test(test_port),
		cmocka_unit_test(test_device),
		cmocka_unit_test(firmware_config),
		cmocka_unit_test(post_code),
		cmocka_unit_test(x87_errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
