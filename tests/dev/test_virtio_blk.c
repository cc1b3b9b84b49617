/* test_virtio_blk.c - the PCI transport and the block device, by registers and rings. */
#include "tests/dev/rings.h"

#include "dev/virtio_blk.h"

#define SECTORS 64u
#define HEADERS 0x1000u /* 16 bytes each, by head */
#define STATES  0x2000u
#define DATA    0x20000u
#define F_MQ    BIT(12)
#define BASIC   VIRTIO_F_VERSION_1
#define ALL     (VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX | VIRTIO_F_INDIRECT_DESC)

struct test {
	struct rings r;
	struct disk *disk;
};

static void test_init_queues(struct test *t, bool ro, unsigned queues)
{
	*t = (struct test){0};
	bench_init(&t->r.bench);
	t->disk = bench_disk(&t->r.bench, SECTORS, ro);
	rings_init(&t->r, virtio_blk_new(t->disk, "a disk", queues));
}

static void test_init(struct test *t, bool ro)
{
	test_init_queues(t, ro, 1);
}

static void test_destroy(struct test *t)
{
	struct disk *disk = t->disk;

	disk_drain(disk);
	disk_free(disk);
	rings_destroy(&t->r);
}

/* Header, data and status in descriptors head, head + 1, head + 2 of queue n. */
static void request_on(
	struct rings *r, unsigned n, unsigned head, uint32_t type, uint64_t sector, uint32_t len)
{
	bool in = type == 0 || type == 8;

	put(r, HEADERS + 16 * head, 4, type);
	put(r, HEADERS + 16 * head + 8, 8, sector);
	put(r, STATES + head, 1, 0xff);
	descriptor(r, entry(n, head), HEADERS + 16 * head, 16, NEXT, len ? head + 1 : head + 2);
	descriptor(r, entry(n, head + 1), DATA + 0x1000 * head, len, NEXT | (in ? WRITE : 0),
		head + 2);
	descriptor(r, entry(n, head + 2), STATES + head, 1, WRITE, 0);
	offer(r, n, head);
}

static void request(struct rings *r, unsigned head, uint32_t type, uint64_t sector, uint32_t len)
{
	request_on(r, 0, head, type, sector, len);
}

static uint8_t state_of(struct rings *r, unsigned head)
{
	return (uint8_t)get(r, STATES + head, 1);
}

/* One request to its end; returns its status byte. */
static uint8_t one(struct test *t, uint32_t type, uint64_t sector, uint32_t len)
{
	request(&t->r, 0, type, sector, len);
	notify(&t->r, 0);
	settle(&t->r.bench);
	return state_of(&t->r, 0);
}

/* ---- transport ---- */

/* Offset of the vendor capability of that kind. */
static uint8_t find_cap(struct rings *r, uint8_t type)
{
	uint8_t at = (uint8_t)pci_config_read(r->pci, SLOT * 8, PCI_CAPABILITIES, 1);

	while (at && (pci_config_read(r->pci, SLOT * 8, at, 1) != 9 ||
			     pci_config_read(r->pci, SLOT * 8, at + 3u, 1) != type))
		at = (uint8_t)pci_config_read(r->pci, SLOT * 8, at + 1u, 1);
	return at;
}

static void test_identity(void **state)
{
	struct test t;

	test_init(&t, false);
	assert_int_equal(pci_config_read(t.r.pci, SLOT * 8, 0, 4), 0x10421af4);
	assert_int_equal(pci_config_read(t.r.pci, SLOT * 8, PCI_REVISION, 1), 1);
	for (uint8_t type = 1; type <= 5; type++)
		assert_int_not_equal(find_cap(&t.r, type), 0);
	assert_int_equal(get(&t.r, STRUCTS + NUM_QUEUES, 2), 1);
	assert_int_equal(get(&t.r, DEVICE, 4), SECTORS);
	assert_int_equal(get(&t.r, DEVICE + 20, 4), SECTOR_SIZE);
	test_destroy(&t);
}

static void test_features(void **state)
{
	struct test t;

	test_init(&t, false);
	rings_accept(&t.r, 0);
	assert_false(rings_status(&t.r) & VIRTIO_FEATURES_OK);
	put(&t.r, STRUCTS + STATUS, 1, 0);
	rings_accept(&t.r, BASIC | BIT(40));
	assert_false(rings_status(&t.r) & VIRTIO_FEATURES_OK);
	put(&t.r, STRUCTS + STATUS, 1, VIRTIO_DRIVER_OK);
	assert_false(rings_status(&t.r) & VIRTIO_DRIVER_OK);
	put(&t.r, STRUCTS + STATUS, 1, 0);
	rings_accept(&t.r, BASIC);
	assert_true(rings_status(&t.r) & VIRTIO_FEATURES_OK);
	put(&t.r, STRUCTS + DRIVER_FEATURE, 4, 0); /* too late */
	assert_int_equal(get(&t.r, STRUCTS + DRIVER_FEATURE, 4), 1);
	test_destroy(&t);
}

static void test_frozen(void **state)
{
	struct test t;

	test_init(&t, false);
	put(&t.r, STRUCTS + QUEUE_SIZE, 2, 48); /* no power of two */
	put(&t.r, STRUCTS + QUEUE_SIZE, 2, 4096);
	assert_int_equal(get(&t.r, STRUCTS + QUEUE_SIZE, 2), VIRTIO_QUEUE_MAX);
	rings_start(&t.r, 1, BASIC);
	put(&t.r, STRUCTS + QUEUE_SIZE, 2, 8);
	put(&t.r, STRUCTS + QUEUE_DESC, 8, 0);
	put(&t.r, STRUCTS + QUEUE_VECTOR, 2, 1);
	put(&t.r, STRUCTS + QUEUE_ENABLE, 2, 0);
	assert_int_equal(get(&t.r, STRUCTS + QUEUE_SIZE, 2), ENTRIES);
	assert_int_equal(get(&t.r, STRUCTS + QUEUE_DESC, 4), RINGS);
	assert_int_equal(get(&t.r, STRUCTS + QUEUE_VECTOR, 2), 0);
	assert_int_equal(get(&t.r, STRUCTS + QUEUE_ENABLE, 2), 1);
	put(&t.r, STRUCTS + QUEUE_SELECT, 2, 9); /* there is none */
	put(&t.r, STRUCTS + QUEUE_SIZE, 2, 8);
	assert_int_equal(get(&t.r, STRUCTS + QUEUE_SIZE, 2), 0);
	test_destroy(&t);
}

/* The structures through configuration space alone. */
static void test_window(void **state)
{
	struct test t;
	uint8_t cap;

	test_init(&t, false);
	cap = find_cap(&t.r, 5);
	pci_config_write(t.r.pci, SLOT * 8, cap + 4u, 1, 4);
	pci_config_write(t.r.pci, SLOT * 8, cap + 8u, 4, STATUS);
	pci_config_write(t.r.pci, SLOT * 8, cap + 12u, 4, 1);
	pci_config_write(t.r.pci, SLOT * 8, cap + 16u, 1, VIRTIO_ACKNOWLEDGE);
	assert_int_equal(rings_status(&t.r), VIRTIO_ACKNOWLEDGE);
	pci_config_write(t.r.pci, SLOT * 8, cap + 8u, 4, 0x3000);
	pci_config_write(t.r.pci, SLOT * 8, cap + 12u, 4, 4);
	assert_int_equal(pci_config_read(t.r.pci, SLOT * 8, cap + 16u, 4), SECTORS);
	pci_config_write(t.r.pci, SLOT * 8, cap + 8u, 4, 0xfffffffc); /* beyond */
	pci_config_write(t.r.pci, SLOT * 8, cap + 16u, 4, 0x55);
	assert_int_equal(pci_config_read(t.r.pci, SLOT * 8, cap + 16u, 4), 0x55);
	test_destroy(&t);
}

static void enable_msix(struct rings *r)
{
	uint8_t at = (uint8_t)pci_config_read(r->pci, SLOT * 8, PCI_CAPABILITIES, 1);

	while (pci_config_read(r->pci, SLOT * 8, at, 1) != 0x11)
		at = (uint8_t)pci_config_read(r->pci, SLOT * 8, at + 1u, 1);
	pci_config_write(r->pci, SLOT * 8, at + 2u, 2, 0x8000);
	for (unsigned v = 0; v < 2; v++) {
		put(r, MSIX_TABLE + 16 * v, 8, 0xfee00000);
		put(r, MSIX_TABLE + 16 * v + 8, 4, 0x40 + v);
		put(r, MSIX_TABLE + 16 * v + 12, 4, 0);
	}
}

static void test_interrupts(void **state)
{
	struct test t;

	test_init(&t, false);
	rings_start(&t.r, 1, BASIC);
	one(&t, 0, 1, 512);
	assert_true(t.r.line);
	assert_int_equal(get(&t.r, ISR, 1), 1);
	assert_false(t.r.line);
	put(&t.r, ring(0) + AVAIL, 2, 1); /* no interrupts, please */
	one(&t, 0, 1, 512);
	assert_false(t.r.line);
	enable_msix(&t.r);
	rings_start(&t.r, 1, BASIC);
	one(&t, 0, 1, 512);
	assert_int_equal(t.r.messages, 1);
	assert_int_equal(t.r.data, 0x40);
	assert_false(t.r.line);
	put(&t.r, STRUCTS + CONFIG_VECTOR, 2, 7); /* there is none */
	assert_int_equal(get(&t.r, STRUCTS + CONFIG_VECTOR, 2), 0xffff);
	test_destroy(&t);
}

static void test_event_index(void **state)
{
	struct test t;

	test_init(&t, false);
	enable_msix(&t.r);
	rings_start(&t.r, 1, ALL);
	put(&t.r, ring(0) + AVAIL + 4 + 2 * ENTRIES, 2, 2); /* after the third */
	for (unsigned i = 1; i <= 4; i++) {
		one(&t, 0, 1, 512);
		assert_int_equal(t.r.messages, i >= 3);
		/* The device asks for the next notification at the entry that comes next. */
		assert_int_equal(get(&t.r, ring(0) + USED + 4 + 8 * ENTRIES, 2), i);
	}
	test_destroy(&t);
}

/* ---- block ---- */

static void test_read_write(void **state)
{
	struct test t;

	test_init(&t, false);
	rings_start(&t.r, 1, BASIC);
	assert_int_equal(one(&t, 0, 5, 1024), 0);
	assert_int_equal(get(&t.r, DATA, 2), 0x0505);
	assert_int_equal(get(&t.r, DATA + 1023, 1), 6);
	assert_int_equal(used_len(&t.r, 0, 0), 1025);
	memset(t.r.bench.bytes + DATA, 0xab, 512);
	assert_int_equal(one(&t, 1, 9, 512), 0);
	assert_int_equal(one(&t, 4, 0, 0), 0);
	memset(t.r.bench.bytes + DATA, 0, 512);
	assert_int_equal(one(&t, 0, 9, 512), 0);
	assert_int_equal(get(&t.r, DATA + 508, 4), 0xabababab);
	assert_int_equal(used(&t.r, 0), 4);
	test_destroy(&t);
}

static void test_several(void **state)
{
	struct test t;

	test_init(&t, false);
	rings_start(&t.r, 1, BASIC);
	for (unsigned n = 0; n < 5; n++)
		request(&t.r, 3 * n, 0, n + 20, 512);
	notify(&t.r, 0);
	settle(&t.r.bench);
	assert_int_equal(used(&t.r, 0), 5);
	for (unsigned n = 0; n < 5; n++) {
		assert_int_equal(state_of(&t.r, 3 * n), 0);
		assert_int_equal(get(&t.r, DATA + 0x3000 * n, 1), n + 20);
	}
	test_destroy(&t);
}

/* The same head in each of them; their ends and their vectors do not mix. */
static void test_queues(void **state)
{
	const unsigned queues = 3;
	struct test t;

	test_init_queues(&t, false, queues);
	assert_int_equal(get(&t.r, STRUCTS + NUM_QUEUES, 2), queues);
	assert_true(get(&t.r, STRUCTS + DEVICE_FEATURE, 4) & F_MQ);
	assert_int_equal(get(&t.r, DEVICE + 34, 2), queues);
	rings_start(&t.r, queues, BASIC | F_MQ);
	for (unsigned n = 0; n < queues; n++)
		request_on(&t.r, n, 0, 0, 1 + n, 512 * (1 + n));
	for (unsigned n = queues; n--;)
		notify(&t.r, n);
	settle(&t.r.bench);
	for (unsigned n = 0; n < queues; n++) {
		assert_int_equal(used(&t.r, n), 1);
		assert_int_equal(used_len(&t.r, n, 0), 512 * (1 + n) + 1);
	}
	request_on(&t.r, 2, 3, 0, 9, 512);
	notify(&t.r, 2);
	put(&t.r, STRUCTS + STATUS, 1, 0); /* in flight, on a queue that is not the first */
	settle(&t.r.bench);
	assert_int_equal(used(&t.r, 2), 1);
	rings_start(&t.r, queues, BASIC | F_MQ);
	assert_int_equal(one(&t, 0, 1, 512), 0);
	test_destroy(&t);
}

static uint8_t clear(struct test *t, uint32_t type, uint64_t sector, uint32_t n, uint32_t flags)
{
	put(&t->r, DATA, 8, sector);
	put(&t->r, DATA + 8, 4, n);
	put(&t->r, DATA + 12, 4, flags);
	return one(t, type, 0, 16);
}

static void test_clear(void **state)
{
	struct test t;

	test_init(&t, false);
	rings_start(&t.r, 1, BASIC);
	assert_int_equal(clear(&t, 13, 3, 2, 1), 0);
	assert_int_equal(clear(&t, 11, 8, 1, 0), 0);
	assert_int_equal(clear(&t, 11, 8, 1, 1), 2);
	assert_int_equal(clear(&t, 13, 3, 2, 2), 2);
	assert_int_equal(clear(&t, 13, SECTORS, 1, 0), 1);
	assert_int_equal(clear(&t, 13, UINT64_MAX, 1, 0), 1);
	assert_int_equal(clear(&t, 13, 0, UINT32_MAX, 0), 1);
	assert_int_equal(one(&t, 0, 2, 2048), 0);
	assert_int_equal(get(&t.r, DATA, 1), 2);
	assert_int_equal(get(&t.r, DATA + 512, 4), 0);
	assert_int_equal(get(&t.r, DATA + 1532, 4), 0);
	assert_int_equal(get(&t.r, DATA + 1536, 1), 5);
	test_destroy(&t);
}

static void test_id_and_errors(void **state)
{
	struct test t;

	test_init(&t, false);
	rings_start(&t.r, 1, BASIC);
	assert_int_equal(one(&t, 8, 0, 20), 0);
	assert_string_equal((char *)t.r.bench.bytes + DATA, "a disk");
	assert_int_equal(one(&t, 8, 0, 21), 1);
	assert_int_equal(one(&t, 99, 0, 0), 2);
	assert_int_equal(one(&t, 0, SECTORS, 512), 1);
	assert_int_equal(one(&t, 0, UINT64_MAX / 512 + 2, 512), 1);
	assert_int_equal(one(&t, 0, SECTORS - 1, 1024), 1);
	assert_int_equal(one(&t, 0, 0, 511), 1);
	assert_false(rings_broken(&t.r));
	test_destroy(&t);
}

static void test_read_only(void **state)
{
	struct test t;

	test_init(&t, true);
	rings_start(&t.r, 1, BASIC);
	assert_true(get(&t.r, STRUCTS + DEVICE_FEATURE, 4) & BIT(5));
	assert_int_equal(one(&t, 1, 0, 512), 1);
	assert_int_equal(clear(&t, 13, 0, 1, 0), 1);
	assert_int_equal(one(&t, 0, 0, 512), 0);
	test_destroy(&t);
}

static void test_indirect(void **state)
{
	struct test t;

	test_init(&t, false);
	rings_start(&t.r, 1, ALL);
	put(&t.r, HEADERS, 4, 0);
	put(&t.r, HEADERS + 8, 8, 7);
	descriptor(&t.r, 0x4000, HEADERS, 7, NEXT, 2); /* the header in two pieces */
	descriptor(&t.r, 0x4020, HEADERS + 7, 9, NEXT, 1);
	descriptor(&t.r, 0x4010, DATA, 513, WRITE, 0); /* data and status in one */
	descriptor(&t.r, entry(0, 4), 0x4000, 48, INDIRECT, 0);
	offer(&t.r, 0, 4);
	notify(&t.r, 0);
	settle(&t.r.bench);
	assert_int_equal(used(&t.r, 0), 1);
	assert_int_equal(used_head(&t.r, 0, 0), 4);
	assert_int_equal(get(&t.r, DATA + 508, 4), 0x07070707);
	assert_int_equal(get(&t.r, DATA + 512, 1), 0);
	test_destroy(&t);
}

/* A reset with requests in flight: they are forgotten, and the device works again. */
static void test_reset(void **state)
{
	struct test t;

	test_init(&t, false);
	rings_start(&t.r, 1, BASIC);
	request(&t.r, 0, 0, 1, 512);
	notify(&t.r, 0);
	put(&t.r, STRUCTS + STATUS, 1, 0);
	settle(&t.r.bench);
	assert_int_equal(used(&t.r, 0), 0);
	assert_int_equal(state_of(&t.r, 0), 0xff);
	rings_start(&t.r, 1, BASIC);
	assert_int_equal(one(&t, 0, 1, 512), 0);
	test_destroy(&t);
}

static void test_snapshot(void **state)
{
	struct test a, b;
	struct device *from, *to;

	test_init(&a, false);
	test_init(&b, false);
	from = virtio_pci_device(a.r.p);
	to = virtio_pci_device(b.r.p);
	rings_start(&a.r, 1, ALL);
	one(&a, 0, 1, 512);
	request(&a.r, 0, 0, 2, 512);
	notify(&a.r, 0);
	from->quiesce(from);
	assert_int_equal(used(&a.r, 0), 2);
	assert_round_trip(from, to);
	assert_refused(from, to, "size", 0, 3);
	assert_round_trip(from, to);
	memcpy(b.r.bench.bytes, a.r.bench.bytes, BENCH_RAM);
	memcpy(b.r.avail, a.r.avail, sizeof(a.r.avail));
	assert_int_equal(one(&b, 0, 3, 512), 0);
	assert_int_equal(used(&b.r, 0), 3);
	test_destroy(&b);
	test_destroy(&a);
}

/* ---- hostile rings: the device wants a reset, and works after it ---- */

static void assert_breaks(struct test *t)
{
	notify(&t->r, 0);
	settle(&t->r.bench);
	assert_true(rings_broken(&t->r));
	assert_int_equal(used(&t->r, 0), 0);
	rings_start(&t->r, 1, ALL);
	assert_false(rings_broken(&t->r));
	assert_int_equal(one(t, 0, 1, 512), 0);
	rings_start(&t->r, 1, ALL);
}

static void test_hostile_chains(void **state)
{
	static const struct {
		uint64_t addr;
		uint32_t len;
		uint16_t flags, next;
	} bad[] = {
		{HEADERS, 16, NEXT, 0},                                /* a loop of one */
		{HEADERS, 16, NEXT, 16},                               /* out of the table */
		{HEADERS, 16, NEXT, 0xffff}, {BENCH_RAM, 16, NEXT, 1}, /* no RAM */
		{BENCH_RAM - 8, 16, NEXT, 1}, {UINT64_MAX - 7, 16, NEXT, 1},
		{STRUCTS, 16, NEXT, 1},                                /* its own registers */
		{0, UINT32_MAX, NEXT, 1}, {DATA, 16, NEXT | WRITE, 1}, /* nothing to read */
		{HEADERS, 15, 0, 0},                                   /* too short */
		{HEADERS, 16, 0, 0},                                   /* no place for a status */
		{0x4000, 0, INDIRECT, 0},                              /* empty table */
		{0x4000, 17, INDIRECT, 0}, {0x4000, 16, INDIRECT | NEXT, 1},
		{BENCH_RAM, 16, INDIRECT, 0}, {0x4000, 0xfffffff0, INDIRECT, 0},
		{0x5000, 16, INDIRECT, 0}, /* holds an indirect one */
	};
	struct test t;

	test_init(&t, false);
	descriptor(&t.r, 0x4000, DATA, 16, NEXT, 9);
	descriptor(&t.r, 0x5000, 0x4000, 16, INDIRECT, 0);
	rings_start(&t.r, 1, ALL);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		descriptor(&t.r, entry(0, 0), bad[i].addr, bad[i].len, bad[i].flags, bad[i].next);
		offer(&t.r, 0, 0);
		assert_breaks(&t);
	}
	test_destroy(&t);
}

static void test_hostile_rings(void **state)
{
	struct test t;

	test_init(&t, false);
	rings_start(&t.r, 1, ALL);
	offer(&t.r, 0, ENTRIES); /* no such head */
	assert_breaks(&t);
	put(&t.r, ring(0) + AVAIL + 2, 2, ENTRIES + 1); /* more than fit */
	assert_breaks(&t);
	for (unsigned part = 0; part < 3; part++) {
		put(&t.r, STRUCTS + STATUS, 1, 0);
		rings_accept(&t.r, ALL);
		rings_queue(&t.r, 0, part == 0 ? STRUCTS : ring(0),
			part == 1 ? BENCH_RAM - 2 : ring(0) + AVAIL,
			part == 2 ? UINT64_MAX - 3 : ring(0) + USED);
		put(&t.r, STRUCTS + STATUS, 1, VIRTIO_DRIVER_OK);
		request(&t.r, 0, 0, 1, 512);
		assert_breaks(&t);
	}
	put(&t.r, STRUCTS + STATUS, 1, 0);
	rings_accept(&t.r, ALL);
	rings_queue(&t.r, 0, ring(0), ring(0) + 16, ring(0) + USED); /* over each other */
	put(&t.r, STRUCTS + STATUS, 1, VIRTIO_DRIVER_OK);
	assert_true(rings_broken(&t.r));
	test_destroy(&t);
}

/* The same head twice, the first one being in flight. */
static void test_head_twice(void **state)
{
	struct test t;

	test_init(&t, false);
	rings_start(&t.r, 1, ALL);
	request(&t.r, 0, 0, 1, 512);
	offer(&t.r, 0, 0);
	assert_breaks(&t);
	test_destroy(&t);
}

static void test_not_master(void **state)
{
	struct test t;

	test_init(&t, false);
	rings_start(&t.r, 1, ALL);
	pci_config_write(t.r.pci, SLOT * 8, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	request(&t.r, 0, 0, 1, 512);
	notify(&t.r, 0);
	assert_true(rings_broken(&t.r));
	test_destroy(&t);
}

static uint64_t next_random(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

/* Rings full of small and wild numbers, and registers written while they are used. */
static void test_random(void **state)
{
	uint64_t seed = 88172645463325252u;
	struct test t;

	test_init(&t, false);
	rings_start(&t.r, 1, ALL);
	for (unsigned i = 0; i < 20000; i++) {
		uint64_t x = next_random(&seed);
		unsigned head = x >> 8 & 15;

		if (rings_broken(&t.r) || x % 97 == 0)
			rings_start(&t.r, 1, ALL);
		if (x % 3)
			request(&t.r, head % 14, x >> 16 & 15, x >> 20 & 63, (x >> 30 & 3) * 512);
		else
			descriptor(&t.r, entry(0, head), DATA + (x >> 20 & 0x3ffff),
				x >> 50 & 0x7ff, x >> 16 & 7, x >> 40 & 15);
		if (x % 5 == 0)
			put(&t.r, STRUCTS + (x >> 16 & 0x3f), 1u << (x >> 24 & 3), x >> 32);
		notify(&t.r, 0);
		if (x % 7 == 0)
			settle(&t.r.bench);
	}
	test_destroy(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_identity),
		cmocka_unit_test(test_features),
		cmocka_unit_test(test_frozen),
		cmocka_unit_test(test_window),
		cmocka_unit_test(test_interrupts),
		cmocka_unit_test(test_event_index),
		cmocka_unit_test(test_read_write),
		cmocka_unit_test(test_several),
		cmocka_unit_test(test_queues),
		cmocka_unit_test(test_clear),
		cmocka_unit_test(test_id_and_errors),
		cmocka_unit_test(test_read_only),
		cmocka_unit_test(test_indirect),
		cmocka_unit_test(test_reset),
		cmocka_unit_test(test_snapshot),
		cmocka_unit_test(test_hostile_chains),
		cmocka_unit_test(test_hostile_rings),
		cmocka_unit_test(test_head_twice),
		cmocka_unit_test(test_not_master),
		cmocka_unit_test(test_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
