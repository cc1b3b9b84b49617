/* test_pci.c - configuration space, BARs, INTx, MSI and MSI-X of a function. */
#include <errno.h>

#include "tests/dev/bench.h"

#include "dev/devutil.h"
#include "dev/pci.h"

#define ADDRESS 0xcf8
#define DATA    0xcfc
#define FUNC    0x80001000u /* slot 2, function 0 */

/* A device with every kind of BAR. */
struct toy {
	struct device dev;
	struct pci_func func;
	struct bus_region ports, memory, big, rom;
	uint8_t rom_bytes[4096];
};

struct test {
	struct bench bench;
	struct pci *pci;
	struct toy toy;
	bool line[4];
	unsigned messages;
	uint64_t addr;
	uint32_t data;
	uint8_t reset_control;
	struct bus_region rc;
};

static uint64_t mark_read(void *ctx, uint64_t off, unsigned size)
{
	return 0x1100 * (uintptr_t)ctx + off;
}

static const struct bus_ops mark_ops = {.read = mark_read};

static uint64_t rc_read(void *ctx, uint64_t off, unsigned size)
{
	return *(uint8_t *)ctx;
}

static void rc_write(void *ctx, uint64_t off, unsigned size, uint64_t value)
{
	*(uint8_t *)ctx = (uint8_t)value;
}

static const struct bus_ops rc_ops = {rc_read, rc_write, 1, 1};

static void on_intx(void *ctx, unsigned devfn, unsigned pin, bool level)
{
	((struct test *)ctx)->line[pin] = level;
	assert_int_equal(devfn, 0x10);
}

static void on_msi(void *ctx, uint64_t addr, uint32_t data)
{
	struct test *t = ctx;

	t->messages++;
	t->addr = addr;
	t->data = data;
}

static void toy_reset(struct device *dev)
{
	pci_func_reset(&container_of(dev, struct toy, dev)->func);
}

static void toy_snap(struct device *dev, struct snap *s)
{
	snap_section(s, "toy", 1);
	pci_func_snap(&container_of(dev, struct toy, dev)->func, s);
}

static void toy_init(struct toy *toy)
{
	const struct pci_id id = {0x1af4, 0x1001, 0x010000, 3, 0x1af4, 2, 1};

	toy->dev = (struct device){"toy", toy_reset, toy_snap, NULL, NULL};
	pci_func_init(&toy->func, "toy", &id);
	region_init(&toy->ports, "toy ports", 32, &mark_ops, (void *)1);
	region_init(&toy->memory, "toy memory", 4096, &mark_ops, (void *)2);
	region_init(&toy->big, "toy big", 65536, &mark_ops, (void *)3);
	region_init(&toy->rom, "toy rom", 4096, NULL, NULL);
	toy->rom.kind = BUS_ROM;
	toy->rom.host = toy->rom_bytes;
	memset(toy->rom_bytes, 0x55, sizeof(toy->rom_bytes));
	pci_func_bar(&toy->func, 0, PCI_BAR_IO, &toy->ports);
	pci_func_bar(&toy->func, 1, PCI_BAR_MEM, &toy->memory);
	pci_func_bar(&toy->func, 2, PCI_BAR_MEM64, &toy->big);
	pci_func_bar(&toy->func, PCI_ROM_BAR, PCI_BAR_ROM, &toy->rom);
	pci_func_msi(&toy->func);
	pci_func_msix(&toy->func, 4, 3);
}

static int setup(void **state)
{
	struct test *t = xcalloc(1, sizeof(*t));
	struct pci_wires wires = {
		&t->bench.memory, &t->bench.ports, &t->bench.dma, on_intx, on_msi, t, &t->rc};

	bench_init(&t->bench);
	region_init(&t->rc, "rc", 1, &rc_ops, &t->reset_control);
	t->pci = pci_new(&wires);
	toy_init(&t->toy);
	assert_int_equal(pci_add(t->pci, &t->toy.func, 2, 0), 0);
	bench_port(&t->bench, pci_region(t->pci, PCI_ADDRESS), ADDRESS);
	bench_port(&t->bench, pci_region(t->pci, PCI_DATA), DATA);
	toy_reset(&t->toy.dev);
	*state = t;
	return 0;
}

static int teardown(void **state)
{
	struct test *t = *state;

	bench_destroy(&t->bench);
	pci_device(t->pci)->destroy(pci_device(t->pci));
	free(t);
	return 0;
}

static uint32_t get(struct test *t, unsigned off, unsigned size)
{
	out_port(&t->bench, ADDRESS, 4, FUNC | (off & 0xfc));
	return in_port(&t->bench, DATA + (off & 3), size);
}

static void set(struct test *t, unsigned off, unsigned size, uint32_t value)
{
	out_port(&t->bench, ADDRESS, 4, FUNC | (off & 0xfc));
	out_port(&t->bench, DATA + (off & 3), size, value);
}

static void enable(struct test *t, uint16_t command)
{
	set(t, PCI_COMMAND, 2, command);
}

static void test_header(void **state)
{
	struct test *t = *state;

	assert_int_equal(get(t, PCI_VENDOR_ID, 4), 0x10011af4);
	assert_int_equal(get(t, PCI_REVISION, 4), 0x01000003);
	assert_int_equal(get(t, PCI_CLASS + 2, 1), 1);
	assert_int_equal(get(t, PCI_INTERRUPT_PIN, 1), 1);
	set(t, PCI_VENDOR_ID, 4, 0);
	assert_int_equal(get(t, PCI_VENDOR_ID, 4), 0x10011af4);
	set(t, PCI_INTERRUPT_LINE, 1, 11);
	assert_int_equal(get(t, PCI_INTERRUPT_LINE, 4), 0x10b);
	toy_reset(&t->toy.dev);
	assert_int_equal(get(t, PCI_INTERRUPT_LINE, 1), 0);
}

static void test_absent_functions_are_all_ones(void **state)
{
	struct test *t = *state;
	struct bench *b = &t->bench;

	out_port(b, ADDRESS, 4, 0x80001800); /* slot 3 */
	assert_int_equal(in_port(b, DATA, 4), 0xffffffff);
	out_port(b, ADDRESS, 4, 0x80011000); /* bus 1 */
	assert_int_equal(in_port(b, DATA, 4), 0xffffffff);
	out_port(b, ADDRESS, 4, 0x00001000); /* not enabled */
	assert_int_equal(in_port(b, DATA, 4), 0xffffffff);
	assert_int_equal(in_port(b, ADDRESS, 4), 0x1000);
}

static void test_a_byte_at_cf9_is_the_reset_control(void **state)
{
	struct test *t = *state;
	struct bench *b = &t->bench;

	out_port(b, ADDRESS, 4, 0x80001000);
	out_port(b, ADDRESS + 1, 1, 6);
	assert_int_equal(t->reset_control, 6);
	assert_int_equal(in_port(b, ADDRESS + 1, 1), 6);
	assert_int_equal(in_port(b, ADDRESS, 4), 0x80001000);
	assert_int_equal(in_port(b, ADDRESS, 1), 0xff);
}

static void test_a_second_function_marks_the_first(void **state)
{
	struct test *t = *state;
	struct toy other;

	assert_int_equal(get(t, PCI_HEADER_TYPE, 1), 0);
	toy_init(&other);
	assert_int_equal(pci_add(t->pci, &other.func, 2, 0), -EEXIST);
	assert_int_equal(pci_add(t->pci, &other.func, 32, 0), -EINVAL);
	assert_int_equal(pci_add(t->pci, &other.func, 2, 1), 0);
	assert_int_equal(get(t, PCI_HEADER_TYPE, 1), 0x80);
	assert_ptr_equal(pci_at(t->pci, 0x11), &other.func);
}

static void test_bars_tell_their_size(void **state)
{
	struct test *t = *state;
	static const struct {
		unsigned n;
		uint32_t size;
	} bars[] = {{0, 0xffffffe1}, {1, 0xfffff000}, {2, 0xffff0004}, {3, 0xffffffff}, {5, 0}};

	enable(t, PCI_COMMAND_IO | PCI_COMMAND_MEMORY);
	for (unsigned i = 0; i < ARRAY_SIZE(bars); i++) {
		set(t, PCI_BAR0 + 4 * bars[i].n, 4, 0xffffffff);
		assert_int_equal(get(t, PCI_BAR0 + 4 * bars[i].n, 4), bars[i].size);
	}
	set(t, PCI_ROM, 4, 0xfffffffe);
	assert_int_equal(get(t, PCI_ROM, 4), 0xfffff000);
	assert_false(t->toy.memory.mapped); /* nothing lands at the top meanwhile */
	assert_false(t->toy.ports.mapped);
}

static void test_bars_move(void **state)
{
	struct test *t = *state;
	struct bench *b = &t->bench;

	set(t, PCI_BAR0, 4, 0xc000);
	set(t, PCI_BAR0 + 4, 4, 0xe0000000);
	assert_int_equal(in_port(b, 0xc004, 1), 0xff); /* not enabled */
	enable(t, PCI_COMMAND_IO);
	assert_int_equal(in_port(b, 0xc004, 2), 0x1104);
	assert_int_equal(bus_read(&b->memory, 0xe0000008, 4), 0xffffffff);
	enable(t, PCI_COMMAND_IO | PCI_COMMAND_MEMORY);
	assert_int_equal(bus_read(&b->memory, 0xe0000008, 4), 0x2208);
	set(t, PCI_BAR0, 4, 0xd000);
	assert_int_equal(in_port(b, 0xc004, 1), 0xff);
	assert_int_equal(in_port(b, 0xd004, 2), 0x1104);
	set(t, PCI_BAR0 + 8, 4, 0x40000); /* over 4 GiB */
	set(t, PCI_BAR0 + 12, 4, 0x12);
	assert_int_equal(bus_read(&b->memory, 0x1200040010, 4), 0x3310);
	set(t, PCI_ROM, 4, 0xe0100000);
	assert_int_equal(bus_read(&b->memory, 0xe0100000, 2), 0xffff);
	set(t, PCI_ROM, 4, 0xe0100001);
	assert_int_equal(bus_read(&b->memory, 0xe0100000, 2), 0x5555);
	toy_reset(&t->toy.dev);
	assert_false(t->toy.ports.mapped || t->toy.memory.mapped || t->toy.rom.mapped);
}

/* A guest that puts every BAR onto every other, and onto RAM. */
static void test_bars_onto_each_other(void **state)
{
	struct test *t = *state;
	struct bench *b = &t->bench;

	enable(t, PCI_COMMAND_IO | PCI_COMMAND_MEMORY);
	for (uint32_t base = 0; base < 0x40000; base += 0x1000)
		for (unsigned n = 0; n < 6; n++) {
			set(t, PCI_BAR0 + 4 * n, 4, n == 3 ? 0 : base);
			bus_read(&b->memory, base, 8);
		}
	for (unsigned n = 0; n < 6; n++)
		set(t, PCI_BAR0 + 4 * n, 4, 0);
	assert_int_equal(bus_read(&b->memory, 0x3f000, 4), 0);
}

static void test_intx(void **state)
{
	struct test *t = *state;

	pci_func_irq(&t->toy.func, true);
	assert_true(t->line[0]);
	assert_int_equal(get(t, PCI_STATUS, 2) & 8, 8);
	enable(t, PCI_COMMAND_NO_INTX);
	assert_false(t->line[0]);
	assert_int_equal(get(t, PCI_STATUS, 2) & 8, 8);
	enable(t, 0);
	assert_true(t->line[0]);
	pci_func_irq(&t->toy.func, false);
	assert_false(t->line[0]);
}

static void test_msi(void **state)
{
	struct test *t = *state;
	unsigned cap = t->toy.func.msi;

	pci_func_message(&t->toy.func, 0);
	assert_int_equal(t->messages, 0);
	set(t, cap + 4, 4, 0xfee01003);
	set(t, cap + 8, 4, 0);
	set(t, cap + 12, 2, 0x4041);
	set(t, cap + 2, 2, 1);
	pci_func_irq(&t->toy.func, true);
	assert_false(t->line[0]);
	pci_func_message(&t->toy.func, 0);
	assert_int_equal(t->messages, 0); /* not a bus master */
	enable(t, PCI_COMMAND_MASTER);
	pci_func_message(&t->toy.func, 0);
	assert_int_equal(t->messages, 1);
	assert_int_equal(t->addr, 0xfee01000);
	assert_int_equal(t->data, 0x4041);
}

static void msix_entry(struct test *t, unsigned n, uint32_t data, uint32_t control)
{
	gpa_t at = 0xe0000000 + n * 16;

	bus_write(&t->bench.memory, at, 4, 0xfee00000);
	bus_write(&t->bench.memory, at + 4, 4, 0);
	bus_write(&t->bench.memory, at + 8, 4, data);
	bus_write(&t->bench.memory, at + 12, 4, control);
}

static void test_msix(void **state)
{
	struct test *t = *state;
	struct bus *memory = &t->bench.memory;
	unsigned cap = t->toy.func.msix.cap;

	assert_int_equal(get(t, cap + 2, 2), 2); /* three vectors */
	enable(t, PCI_COMMAND_MASTER | PCI_COMMAND_MEMORY);
	set(t, PCI_BAR0 + 16, 4, 0xe0000000);
	assert_int_equal(bus_read(memory, 0xe000000c, 4), 1); /* masked after reset */
	msix_entry(t, 0, 0x50, 0);
	msix_entry(t, 1, 0x51, 1);
	set(t, cap + 2, 2, 0x8000);
	pci_func_message(&t->toy.func, 0);
	assert_int_equal(t->data, 0x50);
	pci_func_message(&t->toy.func, 1);
	assert_int_equal(t->messages, 1);
	assert_int_equal(bus_read(memory, 0xe0000800, 4), 2); /* pending */
	msix_entry(t, 1, 0x51, 0);
	assert_int_equal(t->messages, 2);
	assert_int_equal(t->data, 0x51);
	assert_int_equal(bus_read(memory, 0xe0000800, 4), 0);
	set(t, cap + 2, 2, 0xc000); /* all masked */
	pci_func_message(&t->toy.func, 0);
	assert_int_equal(t->messages, 2);
	set(t, cap + 2, 2, 0x8000);
	assert_int_equal(t->messages, 3);
	pci_func_message(&t->toy.func, 3); /* there is none */
	assert_int_equal(t->messages, 3);
	assert_int_equal(bus_read(memory, 0xe0000030, 4), 0);
}

static void test_only_masters_reach_memory(void **state)
{
	struct test *t = *state;
	uint32_t word = 0x12345678;

	assert_int_equal(pci_func_write(&t->toy.func, 0x100, &word, 4), -EFAULT);
	enable(t, PCI_COMMAND_MASTER);
	assert_int_equal(pci_func_write(&t->toy.func, 0x100, &word, 4), 0);
	word = 0;
	assert_int_equal(pci_func_read(&t->toy.func, 0x100, &word, 4), 0);
	assert_int_equal(word, 0x12345678);
	assert_int_equal(pci_func_read(&t->toy.func, BENCH_RAM - 2, &word, 4), -EFAULT);
}

static void test_snapshot(void **state)
{
	struct test *t = *state, *other;
	struct blob b;
	uint8_t *field;

	setup((void **)&other);
	set(t, PCI_BAR0, 4, 0xc000);
	enable(t, PCI_COMMAND_IO | PCI_COMMAND_MEMORY);
	set(t, PCI_BAR0 + 16, 4, 0xe0000000);
	msix_entry(t, 2, 0x52, 0);
	assert_round_trip(&t->toy.dev, &other->toy.dev);
	assert_int_equal(in_port(&other->bench, 0xc004, 2), 0x1104);
	assert_int_equal(bus_read(&other->bench.memory, 0xe0000028, 4), 0x52);
	b = save(&t->toy.dev);
	field = blob_field(&b, "config", 0);
	field[0] = 0; /* the vendor is not the guest's to change */
	assert_true(load(&other->toy.dev, &b));
	assert_int_equal(get(other, PCI_VENDOR_ID, 2), 0x1af4);
	free(b.data);
	assert_refused(&t->toy.dev, &other->toy.dev, "msix_control", 0, 2);
	out_port(&t->bench, ADDRESS, 4, 0x80001004);
	assert_round_trip(pci_device(t->pci), pci_device(other->pci));
	assert_int_equal(in_port(&other->bench, ADDRESS, 4), 0x80001004);
	teardown((void **)&other);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_header),
		TEST(test_absent_functions_are_all_ones),
		TEST(test_a_byte_at_cf9_is_the_reset_control),
		TEST(test_a_second_function_marks_the_first),
		TEST(test_bars_tell_their_size),
		TEST(test_bars_move),
		TEST(test_bars_onto_each_other),
		TEST(test_intx),
		TEST(test_msi),
		TEST(test_msix),
		TEST(test_only_masters_reach_memory),
		TEST(test_snapshot),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
