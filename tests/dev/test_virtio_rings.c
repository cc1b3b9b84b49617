/*
 * test_virtio_rings.c - what all virtio devices share: a driver that adds
 * buffers as fast as they come back, without another notification, and tables
 * of indirect descriptors.
 */
#include "tests/dev/hostile.h"

#define ALL   (VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX | VIRTIO_F_INDIRECT_DESC)
#define DATA  HOSTILE_DATA
#define TOTAL 2000u

/*
 * A second vCPU: whenever the used index moves, the buffer is offered again. It notifies when
 * the device has asked for it (2.7.10), after the device has let go of the lock.
 */
struct refill {
	struct hostile h;
	unsigned queue, offered;
	bool notify;
};

static void refill(void *ctx, gpa_t gpa, uint64_t len)
{
	struct refill *f = ctx;

	if (gpa != ring(f->queue) + USED + 2 || f->offered == TOTAL)
		return;
	f->notify |=
		get(&f->h.r, ring(f->queue) + USED + 4 + 8 * ENTRIES, 2) == f->h.r.avail[f->queue];
	f->offered++;
	offer(&f->h.r, f->queue, 0);
}

static void refill_init(struct refill *f, enum hostile_kind kind)
{
	hostile_init(&f->h, kind);
	f->queue = hostile_shape[kind].queue;
	f->h.r.bench.dma.written = refill;
	f->h.r.bench.dma.written_ctx = f;
	f->offered = 1;
	f->notify = true;
	hostile_offer_good(&f->h);
}

static void test_never_ceases(void **state)
{
	for (enum hostile_kind kind = 0; kind < HOSTILE_KINDS; kind++) {
		struct refill f;

		refill_init(&f, kind);
		while (f.notify) {
			f.notify = false;
			notify(&f.h.r, f.queue);
			settle(&f.h.r.bench);
			if (f.h.share)
				hostile_serve(&f.h, 100, false);
		}
		assert_int_equal(used(&f.h.r, f.queue), TOTAL);
		assert_false(rings_broken(&f.h.r));
		f.h.r.bench.dma.written = NULL;
		hostile_destroy(&f.h);
	}
}

/* What was to be done later is done by the machine that the snapshot was loaded into. */
static void test_later_is_saved(void **state)
{
	struct refill a, b;

	refill_init(&a, HOSTILE_RNG);
	hostile_init(&b.h, HOSTILE_RNG);
	notify(&a.h.r, 0);
	assert_int_equal(used(&a.h.r, 0), VIRTIO_BURST);
	assert_round_trip(virtio_pci_device(a.h.r.p), virtio_pci_device(b.h.r.p));
	memcpy(b.h.r.bench.bytes, a.h.r.bench.bytes, BENCH_RAM);
	settle(&b.h.r.bench);
	assert_int_equal(used(&b.h.r, 0), VIRTIO_BURST + 1);
	a.h.r.bench.dma.written = NULL;
	hostile_destroy(&a.h);
	hostile_destroy(&b.h);
}

static void test_reset_forgets_later(void **state)
{
	struct refill f;

	refill_init(&f, HOSTILE_RNG);
	notify(&f.h.r, 0);
	assert_int_not_equal(clock_next_deadline(&f.h.r.bench.clock), CLOCK_NEVER);
	f.h.r.bench.dma.written = NULL;
	put(&f.h.r, STRUCTS + STATUS, 1, 0);
	assert_int_equal(clock_next_deadline(&f.h.r.bench.clock), CLOCK_NEVER);
	hostile_destroy(&f.h);
}

/* Descriptors of no length cost time too: a table has no more than the largest queue. */
static void test_large_table(void **state)
{
	static const struct {
		unsigned size;
		bool broken;
	} list[] = {{VIRTIO_QUEUE_MAX, false}, {VIRTIO_QUEUE_MAX + 1, true}, {4096, true}};
	struct hostile h;

	hostile_init(&h, HOSTILE_RNG);
	for (unsigned i = 0; i < ARRAY_SIZE(list); i++) {
		unsigned size = list[i].size;

		rings_start(&h.r, 1, ALL);
		for (unsigned n = 0; n < size; n++)
			descriptor(&h.r, DATA + 16 * n, 0, 0, n + 1 < size ? NEXT : 0, n + 1);
		descriptor(&h.r, entry(0, 0), DATA, 16 * size, INDIRECT, 0);
		offer(&h.r, 0, 0);
		notify(&h.r, 0);
		assert_int_equal(rings_broken(&h.r), list[i].broken);
		assert_int_equal(used(&h.r, 0), !list[i].broken);
	}
	hostile_destroy(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_never_ceases),
		cmocka_unit_test(test_later_is_saved),
		cmocka_unit_test(test_reset_forgets_later),
		cmocka_unit_test(test_large_table),
	};

	log_level = LOG_ERROR;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
