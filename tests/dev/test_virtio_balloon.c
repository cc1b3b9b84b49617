/* test_virtio_balloon.c - the balloon, by rings: what goes back to the host, and what does not. */
#include "tests/dev/rings.h"

#include "dev/virtio_balloon.h"

#define PAGE   VIRTIO_BALLOON_PAGE
#define PFNS   0x20000u /* page numbers to give up */
#define VICTIM 0x30u    /* its page, and seven after it */
#define ALL    (VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX | VIRTIO_F_INDIRECT_DESC | BIT(2) | BIT(5))

enum { INFLATE, DEFLATE, REPORT, QUEUES };

struct test {
	struct rings r;
	struct ram ram;
	struct virtio *v;
	uint64_t told; /* bytes that the engine heard of */
};

static void written(void *ctx, gpa_t gpa, uint64_t len)
{
	struct test *t = ctx;

	if (gpa >= VICTIM * PAGE)
		t->told += len;
}

static void test_init(struct test *t)
{
	*t = (struct test){0};
	bench_init(&t->r.bench);
	t->ram = (struct ram){t->r.bench.bytes, BENCH_RAM, -1};
	t->r.bench.dma.ram = &t->ram;
	t->v = virtio_balloon_new();
	rings_init(&t->r, t->v);
	rings_start(&t->r, QUEUES, ALL);
	memset(t->r.bench.bytes + VICTIM * PAGE, 0x5a, 8 * PAGE);
	t->r.bench.dma.written = written;
	t->r.bench.dma.written_ctx = t;
}

static bool kept(struct test *t, unsigned page)
{
	return t->r.bench.bytes[(VICTIM + page) * PAGE] == 0x5a;
}

static void give_up(struct test *t, unsigned queue, const uint32_t *pfn, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		put(&t->r, PFNS + 4 * i, 4, pfn[i]);
	descriptor(&t->r, entry(queue, 0), PFNS, 4 * n, 0, 0);
	offer(&t->r, queue, 0);
	notify(&t->r, queue);
}

static void test_inflate(void **state)
{
	static const uint32_t pfn[] = {VICTIM + 1, VICTIM + 2, VICTIM + 7, VICTIM + 6, VICTIM + 4,
		UINT32_MAX, 0x40, 0xe0000};
	struct test t;

	test_init(&t);
	give_up(&t, INFLATE, pfn, ARRAY_SIZE(pfn));
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(kept(&t, i), i == 0 || i == 3 || i == 5);
	assert_int_equal(t.told, 5 * PAGE); /* translated code in it is known to be gone */
	assert_int_equal(used(&t.r, INFLATE), 1);
	give_up(&t, DEFLATE, pfn, 3);
	assert_int_equal(used(&t.r, DEFLATE), 1);
	assert_true(kept(&t, 0));
	assert_false(rings_broken(&t.r));
	rings_destroy(&t.r);
}

/* Whole pages only: what surrounds them in a buffer stays. */
static void test_report(void **state)
{
	struct test t;

	test_init(&t);
	descriptor(&t.r, entry(REPORT, 0), (VICTIM + 1) * PAGE, 2 * PAGE, WRITE | NEXT, 1);
	descriptor(&t.r, entry(REPORT, 1), (VICTIM + 4) * PAGE + 1, 2 * PAGE, WRITE, 0);
	offer(&t.r, REPORT, 0);
	notify(&t.r, REPORT);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(kept(&t, i), i != 1 && i != 2 && i != 5);
	assert_int_equal(t.r.bench.bytes[(VICTIM + 6) * PAGE], 0x5a);
	assert_int_equal(used(&t.r, REPORT), 1);
	rings_destroy(&t.r);
}

/* Memory that is not the machine's own to give back, as where an engine has pinned it. */
static void test_pinned(void **state)
{
	static const uint32_t pfn[] = {VICTIM};
	struct test t;

	test_init(&t);
	t.r.bench.dma.ram = NULL;
	give_up(&t, INFLATE, pfn, 1);
	assert_true(kept(&t, 0));
	assert_int_equal(used(&t.r, INFLATE), 1);
	assert_false(rings_broken(&t.r));
	rings_destroy(&t.r);
}

static void test_target(void **state)
{
	struct test a, b;
	unsigned before;

	test_init(&a);
	before = get(&a.r, STRUCTS + 21, 1); /* the configuration's generation */
	virtio_balloon_ask(a.v, 1234);
	assert_int_equal(get(&a.r, DEVICE, 4), 1234);
	assert_int_not_equal(get(&a.r, STRUCTS + 21, 1), before);
	put(&a.r, DEVICE, 4, 99); /* the driver's word is the second one */
	put(&a.r, DEVICE + 4, 2, 99);
	put(&a.r, DEVICE + 4, 4, 1000);
	assert_int_equal(virtio_balloon_asked(a.v), 1234);
	assert_int_equal(virtio_balloon_actual(a.v), 1000);
	test_init(&b);
	assert_round_trip(virtio_pci_device(a.r.p), virtio_pci_device(b.r.p));
	assert_int_equal(get(&b.r, DEVICE, 4), 1234);
	put(&a.r, STRUCTS + STATUS, 1, 0);
	assert_int_equal(virtio_balloon_asked(a.v), 1234);
	assert_int_equal(virtio_balloon_actual(a.v), 0);
	rings_destroy(&a.r);
	rings_destroy(&b.r);
}

/* The same page over and over, in more numbers than a list may have. */
static void test_long_list(void **state)
{
	struct test t;

	test_init(&t);
	for (unsigned i = 0; i < 2; i++)
		descriptor(&t.r, entry(INFLATE, i), 0, 8 * KiB + 4 * i, i ? 0 : NEXT, 1);
	offer(&t.r, INFLATE, 0);
	notify(&t.r, INFLATE);
	assert_true(rings_broken(&t.r));
	rings_start(&t.r, QUEUES, ALL);
	give_up(&t, INFLATE, (const uint32_t[]){VICTIM}, 1);
	assert_false(kept(&t, 0));
	rings_destroy(&t.r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_inflate),
		cmocka_unit_test(test_report),
		cmocka_unit_test(test_pinned),
		cmocka_unit_test(test_target),
		cmocka_unit_test(test_long_list),
	};

	log_level = LOG_ERROR;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
