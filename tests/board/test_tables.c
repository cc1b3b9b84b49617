/* test_tables.c - ACPI and MP tables: they sum up to zero, point to each other and list all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "board/acpi.h"
#include "board/mptable.h"

static uint8_t sum(const uint8_t *p, size_t len)
{
	uint8_t s = 0;

	while (len--)
		s = (uint8_t)(s + *p++);
	return s;
}

static uint64_t number(const uint8_t *p, unsigned size)
{
	uint64_t v = 0;

	memcpy(&v, p, size);
	return v;
}

/* A table by its address: inside the ROM, and it sums up to zero. */
static const uint8_t *table(const uint8_t *rom, uint64_t addr, uint32_t *len)
{
	assert_in_range(addr, ACPI_ADDR, ACPI_ADDR + ACPI_SIZE - 36);
	*len = (uint32_t)number(rom + addr - ACPI_ADDR + 4, 4);
	assert_in_range(*len, 36, ACPI_ADDR + ACPI_SIZE - addr);
	assert_int_equal(sum(rom + addr - ACPI_ADDR, *len), 0);
	return rom + addr - ACPI_ADDR;
}

static void acpi(void **state)
{
	static const char *const name[] = {"FACP", "APIC", "HPET"};
	uint8_t *rom = malloc(ACPI_SIZE);
	const uint8_t *xsdt, *t;
	uint32_t len, cpus = 0;

	acpi_tables(rom, 3);
	assert_memory_equal(rom, "RSD PTR ", 8);
	assert_int_equal(sum(rom, 20), 0);
	assert_int_equal(sum(rom, 36), 0);
	xsdt = table(rom, number(rom + 24, 8), &len);
	assert_memory_equal(xsdt, "XSDT", 4);
	assert_int_equal(len, 36 + 3 * 8);
	for (unsigned i = 0; i < 3; i++) {
		t = table(rom, number(xsdt + 36 + 8 * i, 8), &len);
		assert_memory_equal(t, name[i], 4);
	}
	t = table(rom, number(xsdt + 36, 8), &len);
	assert_int_equal(len, 276); /* FADT of revision 6 */
	assert_memory_equal(table(rom, number(t + 140, 8), &len), "DSDT", 4);
	t = table(rom, number(xsdt + 44, 8), &len);
	for (uint32_t at = 44; at < len; at += t[at + 1]) {
		assert_int_not_equal(t[at + 1], 0);
		cpus += t[at] == 0;
	}
	assert_int_equal(cpus, 3);
	assert_int_equal(number(table(rom, number(xsdt + 52, 8), &len) + 44, 8), HPET_ADDR);
	assert_int_equal(len, 56);
	free(rom);
}

static void mp(void **state)
{
	uint8_t rom[1024];
	size_t len = mptable(rom, sizeof(rom), 0xefc00, 3, 0x663, 0x201);
	const uint8_t *t = rom + 16, *at = t + 44;
	unsigned count[5] = {0};

	assert_int_not_equal(len, 0);
	assert_memory_equal(rom, "_MP_", 4);
	assert_int_equal(sum(rom, 16), 0);
	assert_int_equal(number(rom + 4, 4), 0xefc10);
	assert_memory_equal(t, "PCMP", 4);
	assert_int_equal(number(t + 4, 2), len - 16);
	assert_int_equal(sum(t, len - 16), 0);
	for (unsigned n = (unsigned)number(t + 34, 2); n--; at += *at ? 8 : 20) {
		assert_in_range(*at, 0, 4);
		count[*at]++;
	}
	assert_ptr_equal(at, rom + len);
	assert_int_equal(count[0], 3);
	assert_int_equal(count[1], 1);
	assert_int_equal(count[2], 1);
	assert_int_equal(count[3], 15);
	assert_int_equal(count[4], 2);
	assert_int_equal(mptable(rom, len - 1, 0xefc00, 3, 0, 0), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(acpi),
		cmocka_unit_test(mp),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
