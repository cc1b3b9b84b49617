/* test_bus.c - splitting, widening, overlap, priorities and moves of bus.c. */
#include "test.h"

#include <errno.h>
#include <string.h>

#include "core/bus.h"
#include "util/util.h"

struct probe {
	uint64_t off, value;
	unsigned size, reads, writes;
	uint64_t answer;
};

static uint64_t probe_read(void *ctx, uint64_t off, unsigned size)
{
	struct probe *p = ctx;

	p->off = off;
	p->size = size;
	p->reads++;
	return p->answer;
}

static void probe_write(void *ctx, uint64_t off, unsigned size, uint64_t value)
{
	struct probe *p = ctx;

	p->off = off;
	p->size = size;
	p->value = value;
	p->writes++;
}

static struct bus_region region(gpa_t base, uint64_t size, const struct bus_ops *ops, void *ctx)
{
	return (struct bus_region){.name = "probe",
		.base = base,
		.size = size,
		.kind = BUS_IO,
		.prio = BUS_PRIO_FIXED,
		.ops = ops,
		.ctx = ctx};
}

static void test_absent_reads_all_ones(void **state)
{
	struct bus bus;

	bus_init(&bus, "t", 8);
	assert_int_equal(bus_read(&bus, 0x1234, 2), 0xffff);
	assert_true(bus_read(&bus, UINT64_MAX - 3, 8) == UINT64_MAX);
	bus_write(&bus, 0x1234, 4, 1);
	bus_destroy(&bus);
}

static void test_wide_access_is_split(void **state)
{
	static const struct bus_ops ops = {probe_read, probe_write, 1, 1};
	struct probe p = {.answer = 0xab};
	struct bus_region r = region(0x10, 8, &ops, &p);
	struct bus bus;

	bus_init(&bus, "t", 8);
	assert_int_equal(bus_map(&bus, &r), 0);
	assert_int_equal(bus_read(&bus, 0x12, 4), 0xabababab);
	assert_int_equal(p.reads, 4);
	assert_int_equal(p.off, 5);
	bus_write(&bus, 0x16, 4, 0x44332211); /* two bytes inside, two outside */
	assert_int_equal(p.writes, 2);
	assert_int_equal(p.value, 0x22);
	bus_destroy(&bus);
}

static void test_narrow_read_is_widened(void **state)
{
	static const struct bus_ops ops = {probe_read, probe_write, 4, 4};
	struct probe p = {.answer = 0x44332211};
	struct bus_region r = region(0, 8, &ops, &p);
	struct bus bus;

	bus_init(&bus, "t", 8);
	assert_int_equal(bus_map(&bus, &r), 0);
	assert_int_equal(bus_read(&bus, 6, 1), 0x33);
	assert_int_equal(p.off, 4);
	assert_int_equal(p.size, 4);
	bus_write(&bus, 6, 1, 0x99); /* would invent bytes: dropped */
	assert_int_equal(p.writes, 0);
	bus_destroy(&bus);
}

static void test_bad_regions_are_errors(void **state)
{
	struct bus_region a = region(0x100, 0x10, NULL, NULL);
	struct bus_region empty = region(0x100, 0, NULL, NULL);
	struct bus_region wraps = region(UINT64_MAX - 1, 4, NULL, NULL);
	struct bus_region over = region(0x10f, 1, NULL, NULL);
	struct bus bus;

	log_level = LOG_ERROR - 1;
	bus_init(&bus, "t", 8);
	assert_int_equal(bus_map(&bus, &a), 0);
	assert_int_equal(bus_map(&bus, &empty), -EINVAL);
	assert_int_equal(bus_map(&bus, &wraps), -EINVAL);
	assert_int_equal(bus_map(&bus, &over), -EEXIST);
	bus_destroy(&bus);
}

static void test_priority_and_move(void **state)
{
	static const struct bus_ops ops = {probe_read, probe_write, 0, 0};
	struct probe low = {.answer = 1}, high = {.answer = 2};
	struct bus_region a = region(0, 0x100, &ops, &low), b = region(0x40, 0x10, &ops, &high);
	struct bus bus;

	b.prio = BUS_PRIO_MOVABLE;
	bus_init(&bus, "t", 8);
	assert_int_equal(bus_map(&bus, &a), 0);
	assert_int_equal(bus_map(&bus, &b), 0);
	assert_int_equal(bus.ranges, 3);
	assert_int_equal(bus_read(&bus, 0x40, 1), 2);
	assert_int_equal(bus_read(&bus, 0x50, 1), 1);
	assert_int_equal(low.off, 0x50);
	bus_move(&bus, &b, 0xf8, 0x10);
	assert_int_equal(bus_read(&bus, 0x40, 1), 1);
	assert_int_equal(bus_read(&bus, 0x100, 1), 2);
	bus_move(&bus, &b, UINT64_MAX, 0x10); /* wraps: unmapped, not refused */
	assert_int_equal(bus.ranges, 1);
	bus_move(&bus, &b, UINT64_MAX - 0xf, 0x10); /* the last bytes of all */
	assert_int_equal(bus_read(&bus, UINT64_MAX, 1), 2);
	bus_destroy(&bus);
}

/* Against a map that is a plain array: 2,000 random changes, every byte compared. */
static void test_random_maps(void **state)
{
	enum { N = 12, SPACE = 256 };
	static const struct bus_ops ops = {probe_read, NULL, 1, 1};
	struct probe p[N];
	struct bus_region r[N];
	struct bus bus;
	uint64_t x = 88172645463325252u;

	bus_init(&bus, "t", 1);
	for (unsigned i = 0; i < N; i++) {
		p[i] = (struct probe){.answer = i};
		r[i] = region(0, 0, &ops, &p[i]);
		r[i].prio = BUS_PRIO_MOVABLE + (uint8_t)i; /* all different: no order of mapping */
	}
	for (unsigned round = 0; round < 2000; round++) {
		x ^= x << 13, x ^= x >> 7, x ^= x << 17;
		bus_move(&bus, &r[x % N], x >> 8 & 0xff, x >> 16 & 0x7f);
		for (unsigned a = 0; a < SPACE; a++) {
			uint64_t want = 0xff;

			for (unsigned i = 0; i < N; i++)
				if (r[i].mapped && a >= r[i].base && a - r[i].base < r[i].size)
					want = i;
			assert_int_equal(bus_read(&bus, a, 1), want);
		}
	}
	bus_destroy(&bus);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_absent_reads_all_ones),
		cmocka_unit_test(test_wide_access_is_split),
		cmocka_unit_test(test_narrow_read_is_widened),
		cmocka_unit_test(test_bad_regions_are_errors),
		cmocka_unit_test(test_priority_and_move),
		cmocka_unit_test(test_random_maps),
	};

	return cmocka_run_group_tests_name("bus", tests, NULL, NULL);
}
