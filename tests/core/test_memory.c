/* test_memory.c - checked access to guest memory. */
#include "test.h"

#include <errno.h>
#include <string.h>

#include "core/memory.h"
#include "util/util.h"

struct fixture {
	struct bus bus;
	struct ram ram;
	struct bus_region low, high, rom;
	struct guest_memory mem;
	gpa_t written;
	uint64_t written_len;
};

static void on_written(void *ctx, gpa_t gpa, uint64_t len)
{
	struct fixture *f = ctx;

	f->written = gpa;
	f->written_len = len;
}

/* RAM at 0-1FFF and 2000-2FFF (two ranges), ROM at 3000-3FFF, nothing behind. */
static int setup(void **state)
{
	static struct fixture f;

	memset(&f, 0, sizeof(f));
	bus_init(&f.bus, "t", 8);
	assert_int_equal(ram_alloc(&f.ram, 0x4000, RAM_PRIVATE), 0);
	f.low = (struct bus_region){
		.name = "low", .size = 0x2000, .kind = BUS_RAM, .host = f.ram.host};
	f.high = (struct bus_region){.name = "high",
		.base = 0x2000,
		.size = 0x1000,
		.kind = BUS_RAM,
		.host = f.ram.host + 0x2000};
	f.rom = (struct bus_region){.name = "rom",
		.base = 0x3000,
		.size = 0x1000,
		.kind = BUS_ROM,
		.host = f.ram.host + 0x3000};
	assert_int_equal(bus_map(&f.bus, &f.low), 0);
	assert_int_equal(bus_map(&f.bus, &f.high), 0);
	assert_int_equal(bus_map(&f.bus, &f.rom), 0);
	f.mem = (struct guest_memory){&f.bus, on_written, &f, NULL};
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	bus_destroy(&f->bus);
	ram_free(&f->ram);
	return 0;
}

static void test_copy_crosses_ranges(void **state)
{
	struct fixture *f = *state;
	uint8_t out[64], in[64];

	memset(out, 0x5a, sizeof(out));
	assert_int_equal(mem_write(&f->mem, 0x1ff0, out, sizeof(out)), 0);
	assert_int_equal(f->written, 0x1ff0);
	assert_int_equal(f->written_len, sizeof(out));
	assert_int_equal(mem_read(&f->mem, 0x1ff0, in, sizeof(in)), 0);
	assert_memory_equal(in, out, sizeof(in));
}

static void test_all_or_nothing(void **state)
{
	struct fixture *f = *state;
	uint8_t byte = 7, many[32];

	memset(many, 9, sizeof(many));
	assert_int_equal(mem_write(&f->mem, 0x2ff0, many, sizeof(many)), -EFAULT); /* into ROM */
	assert_int_equal(mem_read(&f->mem, 0x2ff0, &byte, 1), 0);
	assert_int_equal(byte, 0);
	assert_int_equal(mem_read(&f->mem, 0x2ff0, many, sizeof(many)), 0); /* reading it is fine */
	assert_int_equal(mem_read(&f->mem, 0x3ff0, many, sizeof(many)), -EFAULT);
	assert_int_equal(mem_read(&f->mem, UINT64_MAX - 3, many, sizeof(many)), -EFAULT);
	assert_int_equal(mem_fill(&f->mem, 0x3000, 1, 1), -EFAULT);
	assert_int_equal(mem_read(&f->mem, UINT64_MAX, many, 0), 0);
}

static void test_pointer_in_one_range(void **state)
{
	struct fixture *f = *state;

	assert_ptr_equal(mem_ptr(&f->mem, 0x1000, 0x1000), f->ram.host + 0x1000);
	assert_null(mem_ptr(&f->mem, 0x1000, 0x1001)); /* two ranges */
	assert_null(mem_ptr(&f->mem, 0x3000, 1));      /* ROM */
	assert_null(mem_ptr(&f->mem, 0x4000, 1));
	assert_null(mem_ptr(&f->mem, 0x1000, UINT64_MAX));
}

static void test_shared_backing(void **state)
{
	struct ram ram;

	assert_int_equal(ram_alloc(&ram, 0x2000, RAM_SHARED), 0);
	assert_true(ram.fd >= 0);
	ram.host[0x1fff] = 1;
	ram_free(&ram);
	assert_int_equal(ram.fd, -1);
	assert_int_not_equal(ram_alloc(&ram, UINT64_C(1) << 62, RAM_PRIVATE), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_copy_crosses_ranges, setup, teardown),
		cmocka_unit_test_setup_teardown(test_all_or_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pointer_in_one_range, setup, teardown),
		cmocka_unit_test(test_shared_backing),
	};

	return cmocka_run_group_tests_name("memory", tests, NULL, NULL);
}
