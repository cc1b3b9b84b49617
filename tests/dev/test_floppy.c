/* test_floppy.c - the floppy controller and the DMA controllers that it moves by. */
#include "tests/dev/bench.h"

#include "dev/floppy.h"

#define SECTORS 2880u
#define BUFFER  0x10000u

enum { DOR = 0x3f2, MSR = 0x3f4, FIFO = 0x3f5, DIR = 0x3f7 };
enum { RQM = 0x80, DIO = 0x40, BUSY = 0x10 };

struct test {
	struct bench bench;
	struct dma *dma;
	struct floppy *floppy;
	struct disk *disk;
	struct pin pin;
};

static int setup_with(void **state, bool ro)
{
	struct test *t = xcalloc(1, sizeof(*t));

	bench_init(&t->bench);
	t->disk = bench_disk(&t->bench, SECTORS, ro);
	t->dma = dma_new(&t->bench.dma);
	t->floppy = floppy_new(pin_irq(&t->pin), t->dma);
	floppy_attach(t->floppy, 0, t->disk);
	floppy_device(t->floppy)->reset(floppy_device(t->floppy));
	bench_port(&t->bench, dma_region(t->dma, DMA_LOW), 0);
	bench_port(&t->bench, dma_region(t->dma, DMA_PAGES), 0x81);
	bench_port(&t->bench, dma_region(t->dma, DMA_HIGH), 0xc0);
	bench_port(&t->bench, floppy_region(t->floppy, FLOPPY_PORTS), 0x3f0);
	bench_port(&t->bench, floppy_region(t->floppy, FLOPPY_DIR), DIR);
	out_port(&t->bench, DOR, 1, 0x1c); /* out of reset, DMA, motor 0 */
	*state = t;
	return 0;
}

static int setup(void **state)
{
	return setup_with(state, false);
}

static int setup_ro(void **state)
{
	return setup_with(state, true);
}

static int teardown(void **state)
{
	struct test *t = *state;

	floppy_device(t->floppy)->destroy(floppy_device(t->floppy));
	dma_device(t->dma)->destroy(dma_device(t->dma));
	disk_free(t->disk);
	bench_destroy(&t->bench);
	free(t);
	return 0;
}

static void send(struct test *t, const uint8_t *bytes, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		assert_int_equal(in_port(&t->bench, MSR, 1) & (RQM | DIO), RQM);
		out_port(&t->bench, FIFO, 1, bytes[i]);
	}
	settle(&t->bench);
}

#define SEND(t, ...) send(t, (const uint8_t[]){__VA_ARGS__}, sizeof((uint8_t[]){__VA_ARGS__}))

static unsigned receive(struct test *t, uint8_t *bytes)
{
	unsigned n = 0;

	while ((in_port(&t->bench, MSR, 1) & (RQM | DIO)) == (RQM | DIO) && n < 16)
		bytes[n++] = (uint8_t)in_port(&t->bench, FIFO, 1);
	assert_int_equal(in_port(&t->bench, MSR, 1), RQM);
	return n;
}

static void expect_results(struct test *t, const uint8_t *expected, unsigned n)
{
	uint8_t got[16];

	assert_int_equal(receive(t, got), n);
	assert_memory_equal(got, expected, n);
}

#define RESULTS(t, ...)                                                                            \
	expect_results(t, (const uint8_t[]){__VA_ARGS__}, sizeof((uint8_t[]){__VA_ARGS__}))

/* Channel 2: mode 46h fills memory, 4Ah reads it. */
static void program_dma(struct test *t, uint8_t mode, uint32_t addr, uint32_t len)
{
	struct bench *b = &t->bench;

	out_port(b, 0x0a, 1, 6);
	out_port(b, 0x0c, 1, 0);
	out_port(b, 0x0b, 1, mode);
	out_port(b, 0x04, 1, addr & 0xff);
	out_port(b, 0x04, 1, addr >> 8 & 0xff);
	out_port(b, 0x81, 1, addr >> 16);
	out_port(b, 0x05, 1, (len - 1) & 0xff);
	out_port(b, 0x05, 1, (len - 1) >> 8);
	out_port(b, 0x0a, 1, 2);
}

static void expect_bytes(struct test *t, uint32_t at, uint8_t byte, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++)
		assert_int_equal(t->bench.bytes[at + i], byte);
}

static void test_reset(void **state)
{
	struct test *t = *state;

	assert_true(t->pin.level);
	for (uint8_t n = 0; n < 4; n++) {
		SEND(t, 0x08);
		RESULTS(t, (uint8_t)(0xc0 | n), 0);
		assert_false(t->pin.level);
	}
	SEND(t, 0x08);
	RESULTS(t, 0x80);
	out_port(&t->bench, DOR, 1, 0);
	assert_int_equal(in_port(&t->bench, MSR, 1), 0);
	assert_int_equal(floppy_type(t->floppy, 0), FLOPPY_1440K);
	assert_int_equal(floppy_type(t->floppy, 1), FLOPPY_NONE);
}

static void test_seek(void **state)
{
	struct test *t = *state;

	out_port(&t->bench, DOR, 1, 0);
	out_port(&t->bench, DOR, 1, 0x1c);
	for (unsigned n = 0; n < 4; n++) {
		uint8_t results[16];

		SEND(t, 0x08);
		receive(t, results);
	}
	assert_int_equal(in_port(&t->bench, DIR, 1), 0x80);
	SEND(t, 0x0f, 0x04, 33);
	assert_true(t->pin.level);
	SEND(t, 0x08);
	RESULTS(t, 0x24, 33);
	assert_false(t->pin.level);
	assert_int_equal(in_port(&t->bench, DIR, 1), 0); /* the heads moved with a disk in */
	SEND(t, 0x07, 0);
	SEND(t, 0x08);
	RESULTS(t, 0x20, 0);
	SEND(t, 0x04, 0);
	RESULTS(t, 0x38);
	SEND(t, 0x07, 1); /* no drive there */
	SEND(t, 0x08);
	RESULTS(t, 0x61, 0);
}

static void test_read(void **state)
{
	struct test *t = *state;

	program_dma(t, 0x46, BUFFER, 1024);
	SEND(t, 0xe6, 0x04, 1, 1, 17, 2, 18, 0x1b, 0xff); /* cylinder 1, head 1, sectors 17, 18 */
	assert_true(t->pin.level);
	expect_bytes(t, BUFFER, (uint8_t)(3 * 18 + 16), 512);
	expect_bytes(t, BUFFER + 512, (uint8_t)(3 * 18 + 17), 512);
	expect_bytes(t, BUFFER + 1024, 0, 512);
	RESULTS(t, 0x00, 0, 0, 2, 0, 1, 2);
	assert_false(t->pin.level);
	assert_int_equal(in_port(&t->bench, 0x08, 1) & 4, 4); /* terminal count */
}

static void test_read_across_heads(void **state)
{
	struct test *t = *state;

	program_dma(t, 0x46, BUFFER, 4 * 512);
	SEND(t, 0xe6, 0x00, 0, 0, 17, 2, 18, 0x1b, 0xff);
	for (uint32_t i = 0; i < 4; i++)
		expect_bytes(t, BUFFER + i * 512, (uint8_t)(16 + i), 512);
	RESULTS(t, 0x04, 0, 0, 0, 1, 3, 2);
}

static void test_write(void **state)
{
	struct test *t = *state;

	memset(t->bench.bytes + BUFFER, 0xab, 512);
	program_dma(t, 0x4a, BUFFER, 512);
	SEND(t, 0xc5, 0x00, 2, 0, 5, 2, 18, 0x1b, 0xff);
	RESULTS(t, 0x00, 0, 0, 2, 0, 6, 2);
	program_dma(t, 0x46, BUFFER + 0x1000, 1024);
	SEND(t, 0xe6, 0x00, 2, 0, 5, 2, 18, 0x1b, 0xff);
	expect_bytes(t, BUFFER + 0x1000, 0xab, 512);
	expect_bytes(t, BUFFER + 0x1200, (uint8_t)(4 * 18 + 5), 512);
}

static void test_write_protected(void **state)
{
	struct test *t = *state;

	program_dma(t, 0x4a, BUFFER, 512);
	SEND(t, 0xc5, 0x00, 0, 0, 1, 2, 18, 0x1b, 0xff);
	RESULTS(t, 0x40, 2, 0, 0, 0, 1, 2);
	SEND(t, 0x04, 0);
	RESULTS(t, 0x78);
}

static void test_format(void **state)
{
	struct test *t = *state;
	uint8_t results[16];

	SEND(t, 0x0f, 0, 7);
	SEND(t, 0x08);
	receive(t, results);
	program_dma(t, 0x4a, BUFFER, 72);
	SEND(t, 0x4d, 0x00, 2, 18, 0x50, 0xf6);
	receive(t, results);
	assert_int_equal(results[0] & 0xc0, 0);
	program_dma(t, 0x46, BUFFER, 512);
	SEND(t, 0xe6, 0x00, 7, 0, 18, 2, 18, 0x1b, 0xff);
	expect_bytes(t, BUFFER, 0xf6, 512);
}

static void test_bad_addresses(void **state)
{
	struct test *t = *state;
	uint8_t results[16];

	program_dma(t, 0x46, BUFFER, 512);
	SEND(t, 0xe6, 0x00, 80, 0, 1, 2, 18, 0x1b, 0xff);
	assert_int_equal(receive(t, results), 7);
	assert_int_equal(results[0] & 0xc0, 0x40);
	SEND(t, 0xe6, 0x00, 0, 0, 19, 2, 18, 0x1b, 0xff);
	receive(t, results);
	assert_int_equal(results[1], 4);
	SEND(t, 0xe6, 0x01, 0, 0, 1, 2, 18, 0x1b, 0xff); /* no such drive */
	receive(t, results);
	assert_int_equal(results[1], 1);
	SEND(t, 0xe6, 0x03, 0, 0, 1, 2, 18, 0x1b, 0xff);
	receive(t, results);
	assert_int_equal(results[1], 1);
	out_port(&t->bench, 0x0a, 1, 6); /* the channel is masked */
	SEND(t, 0xe6, 0x00, 0, 0, 1, 2, 18, 0x1b, 0xff);
	receive(t, results);
	assert_int_equal(results[0] & 0xc0, 0x40);
}

static void test_small_commands(void **state)
{
	struct test *t = *state;
	uint8_t results[16];

	SEND(t, 0x10);
	RESULTS(t, 0x90);
	SEND(t, 0x94);
	RESULTS(t, 0x10);
	SEND(t, 0x13, 0, 0x57, 3);
	SEND(t, 0x03, 0xdf, 0x02);
	SEND(t, 0x0e);
	assert_int_equal(receive(t, results), 10);
	assert_int_equal(results[4], 0xdf);
	assert_int_equal(results[8], 0x57);
	SEND(t, 0x4a, 0);
	assert_int_equal(receive(t, results), 7);
	assert_int_equal(results[6], 2);
	SEND(t, 0x1f);
	RESULTS(t, 0x80);
}

static void test_dma_registers(void **state)
{
	struct test *t = *state;
	struct bench *b = &t->bench;
	uint8_t buf[4] = {1, 2, 3, 4};
	bool end;

	program_dma(t, 0x46, 0x12345, 0x200);
	out_port(b, 0x0c, 1, 0);
	assert_int_equal(in_port(b, 0x04, 1), 0x45);
	assert_int_equal(in_port(b, 0x04, 1), 0x23);
	assert_int_equal(dma_room(t->dma, 2), 0x200);
	out_port(b, 0x0d, 1, 0);
	assert_int_equal(dma_room(t->dma, 2), 0);
	out_port(b, 0xd8, 1, 0); /* channel 5 counts words */
	out_port(b, 0xd6, 1, 0x45);
	out_port(b, 0xc4, 1, 0x00);
	out_port(b, 0xc4, 1, 0x80);
	out_port(b, 0xc6, 1, 1);
	out_port(b, 0xc6, 1, 0);
	out_port(b, 0x8b, 1, 2);
	out_port(b, 0xd4, 1, 1);
	assert_int_equal(dma_room(t->dma, 5), 4);
	assert_int_equal(dma_move(t->dma, 5, buf, 4, true, &end), 4);
	assert_true(end);
	assert_memory_equal(b->bytes + 0x30000, buf, 4);
	assert_int_equal(dma_room(t->dma, 5), 0); /* masked by the terminal count */
	out_port(b, 0x8f, 1, 0x5a);
	assert_int_equal(in_port(b, 0x8f, 1), 0x5a);
}

/* Auto-initialise starts over; a verify moves nothing; down counts down. */
static void test_dma_modes(void **state)
{
	struct test *t = *state;
	uint8_t buf[2] = {7, 8};
	bool end;

	program_dma(t, 0x56, BUFFER, 2);
	dma_move(t->dma, 2, buf, 2, true, &end);
	assert_true(end);
	assert_int_equal(dma_room(t->dma, 2), 2);
	program_dma(t, 0x42, BUFFER + 16, 2);
	assert_int_equal(dma_move(t->dma, 2, buf, 2, true, &end), 2);
	expect_bytes(t, BUFFER + 16, 0, 2);
	program_dma(t, 0x66, BUFFER + 33, 2);
	dma_move(t->dma, 2, buf, 2, true, &end);
	assert_int_equal(t->bench.bytes[BUFFER + 33], 7);
	assert_int_equal(t->bench.bytes[BUFFER + 32], 8);
}

static void test_snapshot(void **state)
{
	struct test *t = *state, *other;

	setup((void **)&other);
	SEND(t, 0x0f, 0, 12);
	program_dma(t, 0x46, BUFFER, 512);
	out_port(&t->bench, FIFO, 1, 0xe6);
	out_port(&t->bench, FIFO, 1, 0);
	assert_round_trip(floppy_device(t->floppy), floppy_device(other->floppy));
	assert_round_trip(dma_device(t->dma), dma_device(other->dma));
	SEND(other, 0, 0, 9, 2, 18, 0x1b, 0xff);
	expect_bytes(other, BUFFER, 8, 512);
	assert_refused(floppy_device(t->floppy), floppy_device(other->floppy), "wanted", 0, 99);
	assert_refused(floppy_device(t->floppy), floppy_device(other->floppy), "params", 0, 9);
	teardown((void **)&other);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_reset),
		TEST(test_seek),
		TEST(test_read),
		TEST(test_read_across_heads),
		TEST(test_write),
		cmocka_unit_test_setup_teardown(test_write_protected, setup_ro, teardown),
		TEST(test_format),
		TEST(test_bad_addresses),
		TEST(test_small_commands),
		TEST(test_dma_registers),
		TEST(test_dma_modes),
		TEST(test_snapshot),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
