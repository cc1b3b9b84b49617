/* test_chipset.c - host bridge, south bridge, display function, flash, fw_cfg. */
#include <errno.h>

#include "tests/dev/bench.h"

#include "dev/devutil.h"
#include "dev/fw_cfg.h"
#include "dev/i440fx.h"
#include "dev/pci_vga.h"
#include "dev/pflash.h"
#include "dev/piix3.h"

struct test {
	struct bench bench;
	struct pci *pci;
	struct i440fx *host;
	struct piix3 *isa;
	struct pin pin[16];
	uint8_t *shadow, *rom;
	struct bus_region rom_region;
};

static void intx(void *ctx, unsigned devfn, unsigned pin, bool level)
{
}

static void msi(void *ctx, uint64_t addr, uint32_t data)
{
}

static int setup(void **state)
{
	struct test *t = xcalloc(1, sizeof(*t));
	struct bench *b = &t->bench;
	const struct pci_wires wires = {&b->memory, &b->ports, &b->dma, intx, msi, t, NULL};
	struct irq line[16];

	bench_init(b);
	for (unsigned i = 0; i < 16; i++)
		line[i] = pin_irq(&t->pin[i]);
	t->shadow = aligned_alloc(4096, I440FX_SHADOW_SIZE);
	t->rom = aligned_alloc(4096, 0x10000);
	memset(t->shadow, 0, I440FX_SHADOW_SIZE);
	memset(t->rom, 0xf0, 0x10000);
	region_init(&t->rom_region, "rom", 0x10000, NULL, NULL);
	t->rom_region.kind = BUS_ROM;
	t->rom_region.host = t->rom;
	t->rom_region.base = 0xf0000;
	bus_map(&b->memory, &t->rom_region);
	t->pci = pci_new(&wires);
	t->host = i440fx_new(&b->memory, t->shadow);
	t->isa = piix3_new(line, 0x600, 9);
	pci_add(t->pci, i440fx_func(t->host), 0, 0);
	pci_add(t->pci, piix3_func(t->isa), 1, 0);
	pci_add(t->pci, piix3_pm_func(t->isa), 1, 3);
	i440fx_device(t->host)->reset(i440fx_device(t->host));
	piix3_device(t->isa)->reset(piix3_device(t->isa));
	*state = t;
	return 0;
}

static int teardown(void **state)
{
	struct test *t = *state;

	bench_destroy(&t->bench);
	i440fx_device(t->host)->destroy(i440fx_device(t->host));
	piix3_device(t->isa)->destroy(piix3_device(t->isa));
	pci_device(t->pci)->destroy(pci_device(t->pci));
	free(t->shadow);
	free(t->rom);
	free(t);
	return 0;
}

/* ---- the host bridge ---- */

static void test_pam(void **state)
{
	struct test *t = *state;
	struct bus *m = &t->bench.memory;

	assert_int_equal(bus_read(m, 0xf1000, 1), 0xf0);
	assert_int_equal(bus_read(m, 0xc1000, 1), 0xff);
	pci_config_write(t->pci, 0, 0x59, 1, 0x20); /* writes go to RAM, reads to the ROM */
	bus_write(m, 0xf1000, 1, 0x11);
	assert_int_equal(bus_read(m, 0xf1000, 1), 0xf0);
	assert_int_equal(t->shadow[0x31000], 0x11);
	pci_config_write(t->pci, 0, 0x59, 1, 0x10); /* the other way round */
	assert_int_equal(bus_read(m, 0xf1000, 1), 0x11);
	bus_write(m, 0xf1000, 1, 0x22);
	assert_int_equal(bus_read(m, 0xf1000, 1), 0x11);
	pci_config_write(t->pci, 0, 0x59, 1, 0x30);
	bus_write(m, 0xf1000, 1, 0x22);
	assert_int_equal(bus_read(m, 0xf1000, 1), 0x22);
	assert_int_equal(t->rom[0x1000], 0xf0);
	i440fx_device(t->host)->reset(i440fx_device(t->host));
	assert_int_equal(bus_read(m, 0xf1000, 1), 0xf0);
}

static void test_pam_areas(void **state)
{
	struct test *t = *state;
	struct bus *m = &t->bench.memory;

	pci_config_write(t->pci, 0, 0x5a, 4, 0xffffff32); /* only bits 0, 1, 4, 5 are there */
	assert_int_equal(pci_config_read(t->pci, 0, 0x5a, 4), 0x33333332);
	bus_write(m, 0xc3fff, 1, 1); /* C0000: write only, without a ROM behind it */
	assert_int_equal(bus_read(m, 0xc3fff, 1), 0xff);
	assert_int_equal(t->shadow[0x3fff], 1);
	bus_write(m, 0xc4000, 1, 2);
	assert_int_equal(bus_read(m, 0xc4000, 1), 2);
	bus_write(m, 0xdc000, 1, 3);
	assert_int_equal(bus_read(m, 0xdc000, 1), 3);
	assert_int_equal(bus_read(m, 0xe0000, 1), 0xff); /* still closed */
}

static void test_pam_snapshot(void **state)
{
	struct test *t = *state, *other;

	setup((void **)&other);
	pci_config_write(t->pci, 0, 0x59, 1, 0x30);
	assert_round_trip(i440fx_device(t->host), i440fx_device(other->host));
	assert_int_equal(bus_read(&other->bench.memory, 0xf1000, 1), 0);
	teardown((void **)&other);
}

/* ---- the south bridge ---- */

static void test_routes(void **state)
{
	struct test *t = *state;

	piix3_pirq(t->isa, 3, 1, true);
	pci_config_write(t->pci, 8, PIIX3_PIRQ + 1, 1, 11);
	assert_true(t->pin[11].level);
	piix3_pirq(t->isa, 4, 1, true); /* shared */
	piix3_pirq(t->isa, 3, 1, false);
	assert_true(t->pin[11].level);
	pci_config_write(t->pci, 8, PIIX3_PIRQ + 1, 1, 5);
	assert_false(t->pin[11].level);
	assert_true(t->pin[5].level);
	pci_config_write(t->pci, 8, PIIX3_PIRQ + 1, 1, 8); /* not one it can drive */
	assert_false(t->pin[5].level || t->pin[8].level);
	pci_config_write(t->pci, 8, PIIX3_PIRQ + 1, 1, 5);
	pci_config_write(t->pci, 8, PIIX3_PIRQ + 1, 1, 0x85);
	assert_false(t->pin[5].level);
}

static void test_routes_snapshot(void **state)
{
	struct test *t = *state, *other;

	setup((void **)&other);
	pci_config_write(t->pci, 8, PIIX3_PIRQ, 1, 10);
	piix3_pirq(t->isa, 7, 0, true);
	assert_round_trip(piix3_device(t->isa), piix3_device(other->isa));
	assert_true(other->pin[10].level);
	piix3_device(other->isa)->reset(piix3_device(other->isa));
	assert_false(other->pin[10].level);
	teardown((void **)&other);
}

static void test_power_management(void **state)
{
	struct test *t = *state;
	uint32_t devactb = pci_config_read(t->pci, 11, 0x58, 4);

	assert_int_equal(pci_config_read(t->pci, 11, 0, 4), 0x71138086);
	assert_int_equal(pci_config_read(t->pci, 11, 0x40, 4), 0x601);
	pci_config_write(t->pci, 11, 0x40, 4, 0xb001);
	assert_int_equal(pci_config_read(t->pci, 11, 0x40, 4), 0x601);
	assert_int_equal(devactb, 0x02000000); /* APMC_EN: no SMI is to be set up */
}

/* ---- the display's function ---- */

static void test_option_rom(void **state)
{
	struct test *t = *state;
	static const uint8_t rom[3000] = {0x55, 0xaa, 6};
	struct clock clock;
	struct vga *screen;
	struct pci_vga *vga;

	clock_init(&clock, CLOCK_INSTRUCTIONS);
	screen = vga_new(&clock);
	vga = pci_vga_new(rom, sizeof(rom), screen);
	pci_add(t->pci, pci_vga_func(vga), 2, 0);
	pci_config_write(t->pci, 16, PCI_ROM, 4, 0xffffffff);
	assert_int_equal(pci_config_read(t->pci, 16, PCI_ROM, 4), 0xfffff001);
	pci_config_write(t->pci, 16, PCI_ROM, 4, 0xe0000001);
	pci_config_write(t->pci, 16, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	assert_int_equal(bus_read(&t->bench.memory, 0xe0000000, 4), 0x06aa55);
	assert_int_equal(bus_read(&t->bench.memory, 0xe0000fff, 1), 0xff);
	pci_vga_device(vga)->reset(pci_vga_device(vga));
	pci_vga_device(vga)->destroy(pci_vga_device(vga));
	vga_device(screen)->destroy(vga_device(screen));
}

/* ---- flash ---- */

static struct pflash *make_flash(struct test *t, uint8_t *bytes)
{
	struct pflash *f = pflash_new("flash", &t->bench.memory, bytes, 8192);

	memset(bytes, 0x5f, 8192);
	pflash_region(f)->base = 0xffc00000;
	assert_int_equal(bus_map(&t->bench.memory, pflash_region(f)), 0);
	return f;
}

static void test_flash(void **state)
{
	struct test *t = *state;
	struct bus *m = &t->bench.memory;
	uint8_t *bytes = aligned_alloc(4096, 8192);
	struct pflash *f = make_flash(t, bytes);
	gpa_t at = 0xffc00000;

	assert_int_equal(bus_read(m, at, 4), 0x5f5f5f5f);
	bus_write(m, at, 1, 0x50);
	bus_write(m, at, 1, 0x70);
	assert_int_equal(bus_read(m, at, 1), 0);
	bus_write(m, at + 100, 1, 0x40);
	bus_write(m, at + 100, 1, 0xf3); /* programming clears bits only */
	assert_int_equal(bus_read(m, at, 1), 0x80);
	bus_write(m, at, 1, 0xff);
	assert_int_equal(bus_read(m, at + 100, 1), 0x53);
	bus_write(m, at + 0x1234, 1, 0x20);
	bus_write(m, at + 0x1234, 1, 0xd0);
	bus_write(m, at, 1, 0xff);
	assert_int_equal(bus_read(m, at + 0x1000, 4), 0xffffffff);
	assert_int_equal(bus_read(m, at + 0xffc, 4), 0x5f5f5f5f);
	bus_write(m, at, 1, 0x20);
	bus_write(m, at, 1, 0x00); /* not confirmed */
	assert_int_equal(bus_read(m, at, 1) & 0x30, 0x30);
	bus_write(m, at, 1, 0x90);
	assert_int_equal(bus_read(m, at, 2), 0x1889);
	pflash_device(f)->reset(pflash_device(f));
	assert_int_equal(bus_read(m, at, 1), 0x5f);
	bus_unmap(m, pflash_region(f));
	pflash_device(f)->destroy(pflash_device(f));
	free(bytes);
}

static void test_flash_snapshot(void **state)
{
	struct test *t = *state, *other;
	uint8_t *bytes[2] = {aligned_alloc(4096, 8192), aligned_alloc(4096, 8192)};
	struct pflash *f[2];

	setup((void **)&other);
	f[0] = make_flash(t, bytes[0]);
	f[1] = make_flash(other, bytes[1]);
	bus_write(&t->bench.memory, 0xffc00007, 1, 0x10);
	assert_round_trip(pflash_device(f[0]), pflash_device(f[1]));
	bus_write(&other->bench.memory, 0xffc00007, 1, 0);
	bus_write(&other->bench.memory, 0xffc00007, 1, 0xff);
	assert_int_equal(bus_read(&other->bench.memory, 0xffc00007, 1), 0);
	for (unsigned i = 0; i < 2; i++) {
		bus_unmap(i ? &other->bench.memory : &t->bench.memory, pflash_region(f[i]));
		pflash_device(f[i])->destroy(pflash_device(f[i]));
		free(bytes[i]);
	}
	teardown((void **)&other);
}

/* ---- fw_cfg ---- */

static void put_be(uint8_t *p, unsigned size, uint64_t value)
{
	for (unsigned i = 0; i < size; i++)
		p[i] = (uint8_t)(value >> 8 * (size - 1 - i));
}

/* A request at 1000h; returns its control word afterwards. */
static uint32_t fw_dma(struct test *t, uint32_t control, uint32_t len, uint64_t addr)
{
	uint8_t *r = t->bench.bytes + 0x1000;

	put_be(r, 4, control);
	put_be(r + 4, 4, len);
	put_be(r + 8, 8, addr);
	out_port(&t->bench, 0x514, 4, 0);
	out_port(&t->bench, 0x518, 4, 0x00100000); /* 1000h, big-endian */
	return (uint32_t)r[0] << 24 | (uint32_t)r[1] << 16 | (uint32_t)r[2] << 8 | r[3];
}

static struct fw_cfg *make_fw_cfg(struct test *t)
{
	struct fw_cfg *f = fw_cfg_new(&t->bench.dma);

	assert_int_equal(fw_cfg_add_file(f, "etc/one", "one!", 4), 0);
	assert_int_equal(fw_cfg_add_file(f, "etc/two", "two", 3), 0);
	bench_port(&t->bench, fw_cfg_region(f, FW_CFG_PORTS), 0x510);
	bench_port(&t->bench, fw_cfg_region(f, FW_CFG_DMA), 0x514);
	return f;
}

static void test_fw_cfg_directory(void **state)
{
	struct test *t = *state;
	struct fw_cfg *f = make_fw_cfg(t);
	uint8_t dir[4 + 2 * 64];
	char long_name[80] = {0};

	out_port(&t->bench, 0x510, 2, FW_CFG_DIRECTORY);
	for (unsigned i = 0; i < sizeof(dir); i++)
		dir[i] = (uint8_t)in_port(&t->bench, 0x511, 1);
	assert_int_equal(dir[3], 2);
	assert_int_equal(dir[7], 4);
	assert_int_equal(dir[9], FW_CFG_KEYS);
	assert_string_equal((char *)dir + 12, "etc/one");
	assert_string_equal((char *)dir + 64 + 12, "etc/two");
	out_port(&t->bench, 0x510, 2, FW_CFG_KEYS + 1);
	assert_int_equal(in_port(&t->bench, 0x511, 1), 't');
	memset(long_name, 'x', 70);
	assert_int_equal(fw_cfg_add_file(f, long_name, "", 0), -ENOSPC);
	fw_cfg_device(f)->destroy(fw_cfg_device(f));
}

static void test_fw_cfg_dma(void **state)
{
	struct test *t = *state;
	struct fw_cfg *f = make_fw_cfg(t), *other = fw_cfg_new(NULL);
	uint8_t *to = t->bench.bytes + 0x2000;

	assert_int_equal(in_port(&t->bench, 0x514, 4), 0x554d4551); /* "QEMU" */
	assert_int_equal(in_port(&t->bench, 0x518, 4), 0x47464320);
	memset(to, 0xee, 16);
	assert_int_equal(fw_dma(t, FW_CFG_KEYS << 16 | 8 | 2, 6, 0x2000), 0);
	assert_memory_equal(to, "one!\0\0\xee", 7);
	assert_int_equal(fw_dma(t, (FW_CFG_KEYS + 1) << 16 | 8 | 4, 1, 0), 0); /* skip a byte */
	assert_int_equal(fw_dma(t, 2, 2, 0x2000), 0);
	assert_memory_equal(to, "wo", 2);
	assert_int_equal(fw_dma(t, FW_CFG_KEYS << 16 | 8 | 16, 4, 0x2000), 1); /* read only */
	assert_int_equal(fw_dma(t, FW_CFG_KEYS << 16 | 8 | 2, 4, BENCH_RAM - 2), 1);
	assert_int_equal(fw_dma(t, 4, UINT32_MAX, 0), 0);
	assert_int_equal(fw_dma(t, 4, UINT32_MAX, 0), 0);
	assert_int_equal(fw_dma(t, 2, 4, 0x2000), 0);
	out_port(&t->bench, 0x514, 4, 0xffffffff); /* a request that is not in memory */
	out_port(&t->bench, 0x518, 4, 0xffffffff);
	out_port(&t->bench, 0x514, 4, 5);
	assert_round_trip(fw_cfg_device(f), fw_cfg_device(other));
	fw_cfg_device(f)->destroy(fw_cfg_device(f));
	fw_cfg_device(other)->destroy(fw_cfg_device(other));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_pam),
		TEST(test_pam_areas),
		TEST(test_pam_snapshot),
		TEST(test_routes),
		TEST(test_routes_snapshot),
		TEST(test_power_management),
		TEST(test_option_rom),
		TEST(test_flash),
		TEST(test_flash_snapshot),
		TEST(test_fw_cfg_directory),
		TEST(test_fw_cfg_dma),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
