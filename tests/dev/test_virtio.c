/* test_virtio.c - the entropy and console devices, by rings. */
#include "tests/dev/rings.h"

#include "dev/virtio_console.h"
#include "dev/virtio_rng.h"

#define DATA 0x20000u
#define ALL  (VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX | VIRTIO_F_INDIRECT_DESC)

static void start(struct rings *r, struct virtio *v, unsigned queues)
{
	*r = (struct rings){0};
	bench_init(&r->bench);
	rings_init(r, v);
	rings_start(r, queues, ALL);
}

/* Bytes of a buffer of len that are not zero. */
static unsigned filled(struct rings *r, uint32_t len)
{
	unsigned n = 0;

	memset(r->bench.bytes + DATA, 0, len + 16);
	descriptor(r, entry(0, 0), DATA, len, WRITE, 0);
	offer(r, 0, 0);
	notify(r, 0);
	for (uint32_t i = 0; i < len; i++)
		n += r->bench.bytes[DATA + i] != 0;
	assert_int_equal(get(r, DATA + len, 8), 0);
	return n;
}

static void test_entropy(void **state)
{
	struct rings r;

	start(&r, virtio_rng_new(0), 1);
	assert_int_equal(pci_config_read(r.pci, SLOT * 8, 0, 4), 0x10441af4);
	assert_true(filled(&r, 1001) > 900);
	assert_int_equal(used_len(&r, 0, 0), 1001);
	assert_true(filled(&r, 9000) > 3000);
	assert_int_equal(used_len(&r, 0, 1), 4096);
	descriptor(&r, entry(0, 0), DATA, 16, 0, 0); /* nothing to write to */
	offer(&r, 0, 0);
	notify(&r, 0);
	assert_int_equal(used_len(&r, 0, 2), 0);
	assert_false(rings_broken(&r));
	rings_destroy(&r);
}

static void test_entropy_repeats(void **state)
{
	struct rings a, b;

	start(&a, virtio_rng_new(7), 1);
	start(&b, virtio_rng_new(7), 1);
	filled(&a, 64);
	filled(&b, 64);
	assert_memory_equal(a.bench.bytes + DATA, b.bench.bytes + DATA, 64);
	filled(&a, 64);
	assert_memory_not_equal(a.bench.bytes + DATA, b.bench.bytes + DATA, 64);
	assert_round_trip(virtio_pci_device(a.p), virtio_pci_device(b.p));
	rings_destroy(&a);
	rings_destroy(&b);
}

static void test_console_output(void **state)
{
	struct sink sink;
	struct rings r;

	sink_init(&sink);
	start(&r, virtio_console_new(&sink.chr), 2);
	memcpy(r.bench.bytes + DATA, "hello, world", 12);
	descriptor(&r, entry(1, 0), DATA, 5, NEXT, 1);
	descriptor(&r, entry(1, 1), DATA + 5, 7, 0, 0);
	offer(&r, 1, 0);
	notify(&r, 1);
	assert_string_equal(sink.data, "hello, world");
	assert_int_equal(used(&r, 1), 1);
	descriptor(&r, entry(1, 0), BENCH_RAM - 1, 5, 0, 0);
	offer(&r, 1, 0);
	notify(&r, 1);
	assert_true(rings_broken(&r));
	assert_int_equal(sink.len, 12);
	rings_destroy(&r);
}

static void test_console_input(void **state)
{
	struct sink sink;
	struct rings r;

	sink_init(&sink);
	start(&r, virtio_console_new(&sink.chr), 2);
	assert_int_equal(chardev_input(&sink.chr, (const uint8_t *)"abcdef", 6), 0);
	for (unsigned i = 0; i < 2; i++) {
		descriptor(&r, entry(0, i), DATA + 16 * i, 4, WRITE, 0);
		offer(&r, 0, i);
	}
	notify(&r, 0);
	assert_int_equal(sink.room_calls, 2); /* at DRIVER_OK, and now */
	assert_int_equal(chardev_input(&sink.chr, (const uint8_t *)"abcdef", 6), 6);
	assert_memory_equal(r.bench.bytes + DATA, "abcd", 4);
	assert_memory_equal(r.bench.bytes + DATA + 16, "ef", 2);
	assert_int_equal(used_len(&r, 0, 0), 4);
	assert_int_equal(used_len(&r, 0, 1), 2);
	assert_int_equal(chardev_input(&sink.chr, (const uint8_t *)"g", 1), 0);
	rings_destroy(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_entropy),
		cmocka_unit_test(test_entropy_repeats),
		cmocka_unit_test(test_console_output),
		cmocka_unit_test(test_console_input),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
