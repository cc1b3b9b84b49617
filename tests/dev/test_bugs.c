/*
 * test_bugs.c - the usual bugs of emulated devices, each as a guest that tries
 * it on the file system device and on the console's ports. Each has to end
 * without effect: a chain given back, or a device that wants a reset, and the
 * device works after that. The same on disks, network, drives and interrupt
 * chips: test_virtio_blk.c, test_hostile.c, test_ide.c, test_floppy.c.
 */
#include "tests/dev/rings.h"

#include <pthread.h>
#include <sys/socket.h>

#include "dev/virtio_fs.h"
#include "dev/virtio_ports.h"

#define DATA     0x30000u
#define ALL      (VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX | VIRTIO_F_INDIRECT_DESC)
#define FS_QUEUE 1u
#define SECRET   0x5a

/* A file system device whose server is this test, answer by answer. */
struct fs {
	struct rings r;
	struct share *share;
	int server; /* its end of the socket */
	uint8_t *slots;
};

static void fs_init(struct fs *f)
{
	int pair[2], arena = memfd_create("arena", MFD_CLOEXEC);

	*f = (struct fs){0};
	assert_int_equal(ftruncate(arena, SHARE_ARENA), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	f->slots = mmap(NULL, SHARE_ARENA, PROT_READ | PROT_WRITE, MAP_SHARED, arena, 0);
	f->server = pair[0];
	bench_init(&f->r.bench);
	f->share = share_new(pair[1], arena, f->r.bench.loop, false);
	rings_init(&f->r, virtio_fs_new(f->share, "tag"));
	rings_start(&f->r, 2, ALL);
}

static void fs_destroy(struct fs *f)
{
	struct device *dev = virtio_pci_device(f->r.p);

	dev->reset(dev);
	share_free(f->share);
	rings_destroy(&f->r);
	munmap(f->slots, SHARE_ARENA);
	close(f->server);
}

static void no_lock(void *ctx)
{
}

static void poll_loop(struct fs *f)
{
	loop_poll(f->r.bench.loop, 0, no_lock, no_lock, NULL);
}

/* A request of 40 bytes with room for an answer of `room`, from descriptor 2n on. */
static void request(struct fs *f, unsigned n, uint32_t room)
{
	unsigned at = 2 * n;

	descriptor(&f->r, entry(FS_QUEUE, at), DATA + 0x100 * n, 40, NEXT, at + 1);
	descriptor(&f->r, entry(FS_QUEUE, at + 1), DATA + 0x100 * n + 64, room, WRITE, 0);
	offer(&f->r, FS_QUEUE, at);
	notify(&f->r, FS_QUEUE);
}

/* What the server was sent; -1: nothing. */
static int received(struct fs *f, struct share_message *m)
{
	return recv(f->server, m, sizeof(*m), MSG_DONTWAIT) == sizeof(*m) ? 0 : -1;
}

static void answer(struct fs *f, struct share_message m, uint32_t len)
{
	m.len = len;
	assert_int_equal(send(f->server, &m, sizeof(m), 0), sizeof(m));
	poll_loop(f);
}

static void check_works(struct fs *f)
{
	struct share_message m;

	rings_start(&f->r, 2, ALL);
	while (!received(f, &m))
		;
	request(f, 0, 100);
	assert_int_equal(received(f, &m), 0);
	assert_int_equal(m.len, 40);
	memset(f->slots + m.slot * SHARE_SLOT + SHARE_HALF, SECRET, 100);
	answer(f, m, 20);
	assert_int_equal(used(&f->r, FS_QUEUE), 1);
	assert_int_equal(used_len(&f->r, FS_QUEUE, 0), 20);
	assert_int_equal(f->r.bench.bytes[DATA + 64 + 19], SECRET);
}

/* Bytes behind the answer are the guest's own still: nothing of ours gets there. */
static void test_uninitialised_leak(void **state)
{
	struct fs f;

	fs_init(&f);
	memset(f.r.bench.bytes + DATA, 0, 256);
	check_works(&f);
	for (unsigned i = 20; i < 100; i++)
		assert_int_equal(f.r.bench.bytes[DATA + 64 + i], 0);
	fs_destroy(&f);
}

static void test_completion_after_reset(void **state)
{
	struct share_message m;
	struct fs f;

	fs_init(&f);
	memset(f.r.bench.bytes + DATA, 0, 256);
	request(&f, 0, 100);
	assert_int_equal(received(&f, &m), 0);
	put(&f.r, STRUCTS + STATUS, 1, 0);
	memset(f.slots + m.slot * SHARE_SLOT + SHARE_HALF, SECRET, 100);
	answer(&f, m, 100);
	assert_int_equal(f.r.bench.bytes[DATA + 64], 0);
	assert_int_equal(used(&f.r, FS_QUEUE), 0);
	check_works(&f);
	fs_destroy(&f);
}

/* The request is a copy: what the guest writes after its notification is too late. */
static void test_double_fetch(void **state)
{
	struct share_message m;
	struct fs f;

	fs_init(&f);
	memset(f.r.bench.bytes + DATA, 1, 40);
	request(&f, 0, 100);
	memset(f.r.bench.bytes + DATA, 2, 40);
	descriptor(&f.r, entry(FS_QUEUE, 1), BENCH_RAM - 4, 100, WRITE, 0);
	assert_int_equal(received(&f, &m), 0);
	assert_int_equal(f.slots[m.slot * SHARE_SLOT], 1);
	answer(&f, m, 50);
	assert_int_equal(used_len(&f.r, FS_QUEUE, 0), 50);
	assert_false(rings_broken(&f.r));
	fs_destroy(&f);
}

static void test_config_after_activation(void **state)
{
	struct share_message m;
	struct fs f;

	fs_init(&f);
	put(&f.r, STRUCTS + QUEUE_SELECT, 2, FS_QUEUE);
	put(&f.r, STRUCTS + QUEUE_SIZE, 2, 4);
	put(&f.r, STRUCTS + QUEUE_DESC, 8, BENCH_RAM - 8);
	put(&f.r, STRUCTS + QUEUE_DEVICE, 8, STRUCTS);
	put(&f.r, DEVICE, 4, 0); /* the tag is read only */
	request(&f, 0, 100);
	assert_int_equal(received(&f, &m), 0);
	answer(&f, m, 16);
	assert_int_equal(used(&f.r, FS_QUEUE), 1);
	assert_int_equal(get(&f.r, DEVICE, 4), 0x676174); /* "tag" */
	fs_destroy(&f);
}

/* Buffers and rings in the device's own registers: no access comes back to it. */
static void test_dma_to_itself(void **state)
{
	static const gpa_t where[] = {STRUCTS, NOTIFY, STRUCTS + STATUS, MSIX_TABLE, BENCH_RAM - 8};
	struct share_message m;
	struct fs f;

	fs_init(&f);
	for (unsigned i = 0; i < ARRAY_SIZE(where); i++) {
		rings_start(&f.r, 2, ALL);
		descriptor(&f.r, entry(FS_QUEUE, 0), where[i], 40, NEXT, 1);
		descriptor(&f.r, entry(FS_QUEUE, 1), where[i], 40, WRITE, 0);
		offer(&f.r, FS_QUEUE, 0);
		notify(&f.r, FS_QUEUE);
		assert_true(rings_broken(&f.r));
		assert_int_equal(received(&f, &m), -1);
	}
	check_works(&f);
	fs_destroy(&f);
}

static void test_endless_chains(void **state)
{
	struct share_message m;
	struct fs f;

	fs_init(&f);
	descriptor(&f.r, entry(FS_QUEUE, 0), DATA, 40, NEXT, 1);
	descriptor(&f.r, entry(FS_QUEUE, 1), DATA, 40, NEXT, 0);
	offer(&f.r, FS_QUEUE, 0);
	notify(&f.r, FS_QUEUE);
	assert_true(rings_broken(&f.r));
	rings_start(&f.r, 2, ALL);
	descriptor(&f.r, entry(FS_QUEUE, 0), DATA, 16 * 16, INDIRECT, 0);
	for (unsigned i = 0; i < 16; i++) /* a table that names itself */
		descriptor(&f.r, DATA + 16 * i, DATA, 16 * 16, INDIRECT | NEXT, 0);
	offer(&f.r, FS_QUEUE, 0);
	notify(&f.r, FS_QUEUE);
	assert_true(rings_broken(&f.r));
	assert_int_equal(received(&f, &m), -1);
	check_works(&f);
	fs_destroy(&f);
}

/* A chain may name the same RAM over and over; a slot has an end. */
static void test_length_overflow(void **state)
{
	struct share_message m;
	struct fs f;

	fs_init(&f);
	for (unsigned i = 0; i < ENTRIES; i++)
		descriptor(
			&f.r, entry(FS_QUEUE, i), 0, 128 * KiB, i + 1 < ENTRIES ? NEXT : 0, i + 1);
	offer(&f.r, FS_QUEUE, 0);
	notify(&f.r, FS_QUEUE);
	assert_true(rings_broken(&f.r));
	assert_int_equal(received(&f, &m), -1);
	check_works(&f);
	fs_destroy(&f);
}

/* What is in flight is in slots that are there from the start, one a head. */
static void test_unbounded_allocation(void **state)
{
	struct share_message m[SHARE_SLOTS];
	struct fs f;
	unsigned n = 0;

	fs_init(&f);
	for (unsigned i = 0; i < ENTRIES / 2; i++) /* a server that answers nobody */
		request(&f, i, 32);
	while (n < SHARE_SLOTS && !received(&f, &m[n]))
		n++;
	assert_int_equal(n, ENTRIES / 2);
	request(&f, 0, 32);
	assert_true(rings_broken(&f.r)); /* head 0 is in flight */
	check_works(&f);
	fs_destroy(&f);
}

/* A server that fell into the guest's hands. */
static void test_lying_server(void **state)
{
	const struct share_message lie[] = {{SHARE_SLOTS, 0, 0, 1}, {UINT32_MAX, 0, 0, 1},
		{3, 10, 0, 1}, {0, 101, 0, 0}, {0, 10, 0, 9}};

	for (unsigned i = 0; i < ARRAY_SIZE(lie); i++) {
		struct share_message m;
		struct fs f;

		fs_init(&f);
		request(&f, 0, 100);
		assert_int_equal(received(&f, &m), 0);
		m = (struct share_message){lie[i].slot, lie[i].len, 0,
			lie[i].round ? lie[i].round + m.round : m.round};
		assert_int_equal(send(f.server, &m, sizeof(m), 0), sizeof(m));
		poll_loop(&f);
		assert_int_equal(used(&f.r, FS_QUEUE), 1);
		assert_int_equal(used_len(&f.r, FS_QUEUE, 0), 0);
		request(&f, 1, 100); /* comes back at once, with nothing */
		assert_int_equal(used(&f.r, FS_QUEUE), 2);
		fs_destroy(&f);
	}
}

/* ---- ports ---- */

struct outside {
	uint8_t data[256];
	size_t len, room; /* taken, and how much is */
	unsigned closed;
};

static size_t take(void *ctx, const uint8_t *data, size_t len)
{
	struct outside *o = ctx;
	size_t n = MIN(len, MIN(o->room, sizeof(o->data) - o->len));

	memcpy(o->data + o->len, data, n);
	o->len += n;
	o->room -= n;
	return n;
}

static void closed(void *ctx)
{
	((struct outside *)ctx)->closed++;
}

static struct virtio *ports(struct outside *o)
{
	const struct port_wires w[2] = {
		{"one", take, closed, NULL, o}, {"two", take, closed, NULL, o}};

	return virtio_ports_new(w, 2);
}

static void control(struct rings *r, uint32_t id, uint16_t event, uint16_t value)
{
	put(r, DATA, 4, id);
	put(r, DATA + 4, 2, event);
	put(r, DATA + 6, 2, value);
	descriptor(r, entry(3, 0), DATA, 8, 0, 0);
	offer(r, 3, 0);
	notify(r, 3);
}

static void say(struct rings *r, unsigned queue, unsigned head, const char *text)
{
	memcpy(r->bench.bytes + DATA + 256 + 64 * head, text, strlen(text));
	descriptor(r, entry(queue, head), DATA + 256 + 64 * head, (uint32_t)strlen(text), 0, 0);
	offer(r, queue, head);
	notify(r, queue);
}

/* Nobody reads: the device keeps one chain and takes no more; then all of it, in order. */
static void test_port_back_pressure(void **state)
{
	struct outside o = {.room = 3};
	struct rings r = {0};
	struct virtio *v = ports(&o);

	bench_init(&r.bench);
	rings_init(&r, v);
	rings_start(&r, 4, ALL | BIT(1));
	control(&r, 0, 6, 1);
	say(&r, 1, 0, "first ");
	say(&r, 1, 1, "second ");
	say(&r, 1, 2, "third");
	assert_int_equal(used(&r, 1), 1);
	assert_int_equal(o.len, 3);
	control(&r, 0, 6, 0);
	assert_int_equal(o.closed, 0);
	o.room = 100;
	virtio_ports_writable(v, 0);
	assert_int_equal(used(&r, 1), 3);
	assert_memory_equal(o.data, "first second third", 18);
	assert_int_equal(o.closed, 1);
	rings_destroy(&r);
}

static void test_port_lies(void **state)
{
	struct outside o = {.room = 100};
	struct rings r = {0};
	struct virtio *v = ports(&o);

	bench_init(&r.bench);
	rings_init(&r, v);
	rings_start(&r, 4, ALL | BIT(1));
	for (unsigned event = 0; event < 12; event++) { /* ports that are not there */
		control(&r, 2, (uint16_t)event, 1);
		control(&r, UINT32_MAX, (uint16_t)event, 1);
		control(&r, 1, (uint16_t)event, 0xffff);
	}
	assert_false(rings_broken(&r));
	assert_int_equal(virtio_ports_input(v, 0, (const uint8_t *)"x", 1), 0);
	virtio_ports_end(v, 0);
	for (unsigned i = 0; i < ENTRIES; i++) /* 2 MiB at a time */
		descriptor(&r, entry(1, i), 0, 128 * KiB, i + 1 < ENTRIES ? NEXT : 0, i + 1);
	offer(&r, 1, 0);
	notify(&r, 1);
	assert_true(rings_broken(&r));
	assert_int_equal(o.len, 0);
	rings_start(&r, 4, ALL | BIT(1));
	say(&r, 1, 0, "again");
	assert_int_equal(o.len, 5);
	rings_destroy(&r);
}

static void test_port_snapshot(void **state)
{
	struct outside o[2] = {{.room = 2}, {.room = 100}};
	struct rings a = {0}, b = {0};
	struct virtio *v = ports(&o[1]);

	bench_init(&a.bench);
	rings_init(&a, ports(&o[0]));
	rings_start(&a, 4, ALL | BIT(1));
	say(&a, 1, 0, "output");
	bench_init(&b.bench);
	rings_init(&b, v);
	assert_round_trip(virtio_pci_device(a.p), virtio_pci_device(b.p));
	virtio_ports_writable(v, 0);
	assert_memory_equal(o[1].data, "tput", 4); /* the rest of what was taken before */
	rings_destroy(&a);
	rings_destroy(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_uninitialised_leak),
		cmocka_unit_test(test_completion_after_reset),
		cmocka_unit_test(test_double_fetch),
		cmocka_unit_test(test_config_after_activation),
		cmocka_unit_test(test_dma_to_itself),
		cmocka_unit_test(test_endless_chains),
		cmocka_unit_test(test_length_overflow),
		cmocka_unit_test(test_unbounded_allocation),
		cmocka_unit_test(test_lying_server),
		cmocka_unit_test(test_port_back_pressure),
		cmocka_unit_test(test_port_lies),
		cmocka_unit_test(test_port_snapshot),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
