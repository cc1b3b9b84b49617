/*
 * test_random.c - a million random accesses to each device, and snapshots with
 * random damage: nothing crashes, hangs or goes out of bounds.
 */
#include "tests/dev/harness.h"
#include "tests/dev/pc.h"

#define ACCESSES  1000000
#define SNAPSHOTS 2000

static uint64_t next_random(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

static void random_access(struct bus *bus, gpa_t addr, uint64_t r)
{
	unsigned size = 1u << (r % 3);

	if (r & 8)
		bus_write(bus, addr, size, r >> 32);
	else
		bus_read(bus, addr, size);
}

static void random_input(struct pc *pc, uint64_t r)
{
	uint8_t byte = r >> 8;
	struct text_frame frame;

	switch (r % 8) {
	case 0:
		ps2_key(pc->ps2, r >> 16, r >> 15 & 1);
		break;
	case 1:
		ps2_type(pc->ps2, byte);
		break;
	case 2:
		ps2_mouse(pc->ps2, (int16_t)(r >> 16), (int16_t)(r >> 32), byte);
		break;
	case 3:
		chardev_input(&pc->chr, &byte, 1);
		break;
	case 4:
		pc->chr.brk(pc->chr.device);
		break;
	case 5:
		assert_in_range(pic_ack(pc->pic), 0, 255);
		break;
	case 6:
		vga_text_frame(pc->vga, &frame);
		assert_in_range(frame.cols, 1, TEXT_MAX_COLS);
		assert_in_range(frame.rows, 1, TEXT_MAX_ROWS);
		break;
	default:
		pc_pass(pc, r >> 40);
		break;
	}
}

static void abuse(struct pc *pc, uint64_t *seed, const uint16_t *port, unsigned ports)
{
	uint64_t r = next_random(seed);

	if (r % 16 == 0)
		random_input(pc, next_random(seed));
	else
		random_access(&pc->ports, port[r % ports], next_random(seed));
	if (r % 64 == 1)
		random_access(&pc->memory, 0xb8000 + (r >> 40) % 0x8000, next_random(seed));
	if (r % 4 == 2)
		pc_pass(pc, (r >> 32) % 100000);
}

/* A machine that was saved and loaded saves the same again. */
static void check_round_trip(struct pc *from, struct pc *to)
{
	struct snap *s = snap_new_save(), *l, *again = snap_new_save();
	const void *a, *b;
	size_t alen, blen;

	assert_true(pc_snap(from, s));
	a = snap_data(s, &alen);
	clock_set(&to->clock, clock_now(&from->clock));
	l = snap_new_load(a, alen);
	if (!pc_snap(to, l))
		fail_msg("%s", snap_error(l));
	assert_true(pc_snap(to, again));
	b = snap_data(again, &blen);
	assert_int_equal(alen, blen);
	assert_memory_equal(a, b, alen);
	snap_free(again);
	snap_free(l);
	snap_free(s);
}

/* The ports of one device at a time, so that its states are reached. */
static void each_device(void **state)
{
	static const struct {
		const char *name;
		uint16_t first, last;
	} group[] = {
		{"pic", 0x20, 0x21},
		{"pic slave", 0xa0, 0xa1},
		{"elcr", 0x4d0, 0x4d1},
		{"pit", 0x40, 0x43},
		{"ps2", 0x60, 0x64},
		{"rtc", 0x70, 0x71},
		{"postcode", 0x80, 0x80},
		{"port 92h", 0x92, 0x92},
		{"debugcon", 0xe9, 0xe9},
		{"testport", 0xf4, 0xf7},
		{"vga", 0x3b4, 0x3da},
		{"vga-vbe", 0x1ce, 0x1d1},
		{"uart", 0x3f8, 0x3ff},
		{"reset control", 0xcf9, 0xcf9},
	};
	uint64_t seed = 88172645463325252u;
	uint16_t port[64];
	struct pc pc, other;

	for (unsigned g = 0; g < ARRAY_SIZE(group); g++) {
		unsigned ports = 0;

		pc_init(&pc);
		pc_init(&other);
		for (unsigned p = group[g].first; p <= group[g].last; p++)
			port[ports++] = p;
		for (unsigned i = 0; i < ACCESSES; i++) {
			abuse(&pc, &seed, port, ports);
			if (i % (ACCESSES / 50) == 0)
				check_round_trip(&pc, &other);
		}
		pc_destroy(&other);
		pc_destroy(&pc);
	}
}

static void all_together(void **state)
{
	uint64_t seed = 0x9e3779b97f4a7c15;
	struct pc pc, other;

	pc_init(&pc);
	pc_init(&other);
	for (unsigned i = 0; i < ACCESSES; i++) {
		abuse(&pc, &seed, pc_ports, ARRAY_SIZE(pc_ports));
		if (i % 1000 == 0)
			check_round_trip(&pc, &other);
		if (i % 50000 == 0)
			for (unsigned d = 0; d < pc.devices; d++)
				pc.device[d]->reset(pc.device[d]);
	}
	pc_destroy(&other);
	pc_destroy(&pc);
}

/* Whatever a damaged snapshot leaves behind can be used and saved. */
static void damaged_snapshots(void **state)
{
	uint64_t seed = 0x2545f4914f6cdd1d;
	struct pc pc, victim;
	struct snap *s = snap_new_save();
	unsigned refused = 0;
	const void *data;
	uint8_t *copy;
	size_t len;

	pc_init(&pc);
	for (unsigned i = 0; i < 10000; i++)
		abuse(&pc, &seed, pc_ports, ARRAY_SIZE(pc_ports));
	assert_true(pc_snap(&pc, s));
	data = snap_data(s, &len);
	copy = malloc(len);
	for (unsigned n = 0; n < SNAPSHOTS; n++) {
		struct snap *l;

		memcpy(copy, data, len);
		for (unsigned i = 0; i < 4; i++)
			copy[next_random(&seed) % len] = next_random(&seed);
		pc_init(&victim);
		clock_advance(&victim.clock, clock_now(&pc.clock));
		l = snap_new_load(copy, len);
		refused += !pc_snap(&victim, l);
		snap_free(l);
		for (unsigned i = 0; i < 200; i++)
			abuse(&victim, &seed, pc_ports, ARRAY_SIZE(pc_ports));
		pc_destroy(&victim);
	}
	print_message("%u of %u damaged snapshots refused\n", refused, SNAPSHOTS);
	free(copy);
	snap_free(s);
	pc_destroy(&pc);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_device),
		cmocka_unit_test(all_together),
		cmocka_unit_test(damaged_snapshots),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
