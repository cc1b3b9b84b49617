/* test_virtio_net.c - the network card, by registers and rings; and what is done to frames. */
#include "tests/dev/rings.h"

#include "dev/virtio_net.h"
#include "host/frame.h"

#define BASIC  (VIRTIO_F_VERSION_1 | BIT(16))
#define MERGE  BIT(15)
#define SUMS   (BIT(0) | BIT(1))
#define SEND4  BIT(11)
#define TAKE4  BIT(7)
#define CTRL   (BIT(17) | BIT(18) | BIT(23))
#define HEADER 12u
#define DATA   0x20000u
#define QUEUE3 3

/* What the other side of the card saw, and whether it has room. */
struct wire {
	struct netdev dev;
	uint8_t frame[NET_FRAME_MAX];
	struct net_header header;
	size_t len;
	unsigned sent, rooms;
	bool full;
};

struct test {
	struct rings r;
	struct wire wire;
};

static const uint8_t own_mac[6] = {0x52, 0x54, 0, 1, 2, 3};

static bool wire_send(void *backend, const struct iovec *iov, unsigned n)
{
	struct wire *w = backend;

	if (w->full)
		return false;
	assert_int_equal(iov[0].iov_len, sizeof(w->header));
	w->header = *(struct net_header *)iov[0].iov_base;
	w->len = virtio_gather(iov + 1, n - 1, w->frame, sizeof(w->frame));
	w->sent++;
	return true;
}

static void wire_room(void *backend)
{
	((struct wire *)backend)->rooms++;
}

static void test_init(struct test *t)
{
	*t = (struct test){0};
	t->wire.dev = (struct netdev){
		.send = wire_send, .room = wire_room, .backend = &t->wire, .link = true};
	bench_init(&t->r.bench);
	rings_init(&t->r, virtio_net_new(&t->wire.dev, own_mac, 9000));
}

static void test_destroy(struct test *t)
{
	rings_destroy(&t->r);
}

/* A frame of len bytes for the card: byte n is n, but for the addresses. */
static void fill(uint8_t *frame, size_t len)
{
	for (size_t i = 0; i < len; i++)
		frame[i] = (uint8_t)i;
	memcpy(frame, own_mac, 6);
}

static bool arrive(struct test *t, size_t len)
{
	static uint8_t frame[NET_FRAME_MAX];
	struct net_header h = {0};
	bool taken;

	fill(frame, len);
	taken = t->wire.dev.receive(t->wire.dev.device, &h, frame, len);
	t->wire.dev.received(t->wire.dev.device);
	return taken;
}

/* A frame of len bytes at DATA behind a header, in one descriptor. */
static void send(struct test *t, const struct net_header *h, uint32_t len)
{
	memcpy(t->r.bench.bytes + DATA, h, sizeof(*h));
	fill(t->r.bench.bytes + DATA + HEADER, len);
	descriptor(&t->r, entry(1, 0), DATA, HEADER + len, 0, 0);
	offer(&t->r, 1, 0);
	notify(&t->r, 1);
}

static void buffer(struct test *t, unsigned n, uint32_t len)
{
	descriptor(&t->r, entry(0, n), DATA + 0x1000 * n, len, WRITE, 0);
	offer(&t->r, 0, n);
}

/* ---- registers ---- */

static void test_identity(void **state)
{
	struct test t;
	uint64_t offered;

	test_init(&t);
	assert_int_equal(pci_config_read(t.r.pci, SLOT * 8, 0, 4), 0x10411af4);
	assert_int_equal(get(&t.r, STRUCTS + NUM_QUEUES, 2), 3);
	assert_int_equal(get(&t.r, DEVICE, 4), 0x01005452);
	assert_int_equal(get(&t.r, DEVICE + 4, 2), 0x0302);
	assert_int_equal(get(&t.r, DEVICE + 6, 2), 1);
	assert_int_equal(get(&t.r, DEVICE + 10, 2), 9000);
	offered = get(&t.r, STRUCTS + DEVICE_FEATURE, 4);
	assert_int_equal(offered & (SUMS | MERGE | SEND4 | TAKE4 | CTRL | BIT(3) | BIT(5)),
		SUMS | MERGE | SEND4 | TAKE4 | CTRL | BIT(3) | BIT(5));
	test_destroy(&t);
}

static void test_link(void **state)
{
	struct net_header none = {0};
	struct test t;

	test_init(&t);
	rings_start(&t.r, QUEUE3, BASIC);
	t.wire.dev.link = false;
	t.wire.dev.link_changed(t.wire.dev.device);
	assert_int_equal(get(&t.r, DEVICE + 6, 2), 0);
	assert_int_equal(get(&t.r, ISR, 1), 2);
	send(&t, &none, 100); /* taken, and lost */
	assert_int_equal(used(&t.r, 1), 1);
	assert_int_equal(t.wire.sent, 0);
	test_destroy(&t);
}

/* ---- transmit ---- */

static void test_send(void **state)
{
	struct net_header none = {0};
	struct test t;

	test_init(&t);
	rings_start(&t.r, QUEUE3, BASIC);
	send(&t, &none, 300);
	assert_int_equal(t.wire.sent, 1);
	assert_int_equal(t.wire.len, 300);
	assert_int_equal(t.wire.frame[299], 299 & 0xff);
	assert_int_equal(used(&t.r, 1), 1);
	assert_int_equal(used_len(&t.r, 1, 0), 0);
	send(&t, &none, 13); /* no Ethernet header */
	send(&t, &none, 0);
	assert_int_equal(t.wire.sent, 1);
	assert_int_equal(used(&t.r, 1), 3);
	assert_false(rings_broken(&t.r));
	test_destroy(&t);
}

/* Header and frame cut where they please. */
static void test_send_pieces(void **state)
{
	struct test t;

	test_init(&t);
	rings_start(&t.r, QUEUE3, BASIC);
	memset(t.r.bench.bytes + DATA, 0, HEADER);
	fill(t.r.bench.bytes + DATA + HEADER, 60);
	descriptor(&t.r, entry(1, 3), DATA, 5, NEXT, 1);
	descriptor(&t.r, entry(1, 1), DATA + 5, 20, NEXT, 2);
	descriptor(&t.r, entry(1, 2), DATA + 25, 47, 0, 0);
	offer(&t.r, 1, 3);
	notify(&t.r, 1);
	assert_int_equal(t.wire.len, 60);
	assert_memory_equal(t.wire.frame, t.r.bench.bytes + DATA + HEADER, 60);
	test_destroy(&t);
}

static void test_send_headers(void **state)
{
	const struct {
		struct net_header h;
		bool sent;
	} list[] = {
		{{.flags = NET_NEEDS_CSUM, .csum_start = 34, .csum_offset = 16}, true},
		{{.flags = NET_NEEDS_CSUM, .csum_start = 98, .csum_offset = 0}, true},
		{{.flags = NET_NEEDS_CSUM, .csum_start = 99, .csum_offset = 0}, false},
		{{.flags = NET_NEEDS_CSUM, .csum_start = 65535, .csum_offset = 65535}, false},
		{{.flags = NET_NEEDS_CSUM, .gso_type = 1, .gso_size = 10, .csum_start = 34}, true},
		{{.flags = NET_NEEDS_CSUM, .gso_type = 1, .csum_start = 34}, false},
		{{.gso_type = 1, .gso_size = 10}, false},
		{{.flags = NET_NEEDS_CSUM, .gso_type = 4, .gso_size = 10},
			false}, /* not accepted */
		{{.flags = NET_NEEDS_CSUM, .gso_type = 3, .gso_size = 10}, false},
		{{.flags = 0xff, .buffers = 77, .csum_start = 34}, true},
	};
	struct test t;

	test_init(&t);
	rings_start(&t.r, QUEUE3, BASIC | SUMS | SEND4);
	for (unsigned i = 0; i < ARRAY_SIZE(list); i++) {
		t.wire.sent = 0;
		send(&t, &list[i].h, 100);
		assert_int_equal(t.wire.sent, list[i].sent);
		assert_int_equal(used(&t.r, 1), i + 1);
	}
	assert_int_equal(t.wire.header.flags, NET_NEEDS_CSUM);
	assert_int_equal(t.wire.header.buffers, 0);
	assert_false(rings_broken(&t.r));
	test_destroy(&t);
}

/* The back end is busy: the frame stays with the driver, in order. */
static void test_send_later(void **state)
{
	struct net_header none = {0};
	struct test t;

	test_init(&t);
	rings_start(&t.r, QUEUE3, BASIC);
	t.wire.full = true;
	send(&t, &none, 100);
	assert_int_equal(used(&t.r, 1), 0);
	t.wire.dev.writable(t.wire.dev.device);
	assert_int_equal(used(&t.r, 1), 0);
	t.wire.full = false;
	t.wire.dev.writable(t.wire.dev.device);
	assert_int_equal(used(&t.r, 1), 1);
	assert_int_equal(t.wire.sent, 1);
	test_destroy(&t);
}

/* ---- receive ---- */

static void test_receive(void **state)
{
	struct test t;

	test_init(&t);
	assert_true(arrive(&t, 64)); /* nobody there: lost */
	rings_start(&t.r, QUEUE3, BASIC);
	assert_false(arrive(&t, 64));
	buffer(&t, 0, 1526);
	notify(&t.r, 0);
	assert_int_equal(t.wire.rooms, 2); /* at the start, and now */
	assert_true(arrive(&t, 64));
	assert_int_equal(used(&t.r, 0), 1);
	assert_int_equal(used_len(&t.r, 0, 0), HEADER + 64);
	assert_int_equal(get(&t.r, DATA + 10, 2), 1);
	assert_int_equal(get(&t.r, DATA + HEADER + 63, 1), 63);
	buffer(&t, 1, 50);
	assert_true(arrive(&t, 64)); /* too large for the driver: lost, its buffer is not */
	assert_int_equal(used(&t.r, 0), 1);
	assert_true(arrive(&t, 38));
	assert_int_equal(used(&t.r, 0), 2);
	test_destroy(&t);
}

static void test_receive_merged(void **state)
{
	struct test t;

	test_init(&t);
	rings_start(&t.r, QUEUE3, BASIC | MERGE);
	buffer(&t, 0, 100);
	buffer(&t, 1, 100);
	assert_false(arrive(&t, 250));
	assert_int_equal(used(&t.r, 0), 0);
	buffer(&t, 2, 100);
	assert_true(arrive(&t, 250));
	assert_int_equal(used(&t.r, 0), 3);
	assert_int_equal(get(&t.r, DATA + 10, 2), 3);
	assert_int_equal(used_len(&t.r, 0, 0), 100);
	assert_int_equal(used_len(&t.r, 0, 2), 250 + HEADER - 200);
	assert_int_equal(get(&t.r, DATA + 0x1000, 1), 88);
	assert_int_equal(get(&t.r, DATA + 0x2000, 1), 188);
	test_destroy(&t);
}

/* Several frames, one interrupt, at the used index that the driver named. */
static void test_receive_event(void **state)
{
	uint8_t frame[64];
	struct test t;

	test_init(&t);
	rings_start(&t.r, QUEUE3, BASIC | VIRTIO_F_EVENT_IDX);
	put(&t.r, ring(0) + AVAIL + 4 + 2 * ENTRIES, 2, 1);
	fill(frame, sizeof(frame));
	for (unsigned n = 0; n < 3; n++) {
		struct net_header h = {0};

		buffer(&t, n, 1526);
		assert_true(t.wire.dev.receive(t.wire.dev.device, &h, frame, sizeof(frame)));
		assert_int_equal(used(&t.r, 0), 0);
	}
	t.wire.dev.received(t.wire.dev.device);
	assert_int_equal(used(&t.r, 0), 3);
	assert_true(t.r.line);
	get(&t.r, ISR, 1);
	buffer(&t, 3, 1526);
	assert_true(arrive(&t, 64));
	assert_false(t.r.line);
	test_destroy(&t);
}

/* ---- what the driver cannot take ---- */

/* Ones' complement sum of big-endian words, as RFC 1071 writes it; 0xffff if all is right. */
static unsigned total(const uint8_t *p, size_t len, unsigned start)
{
	uint32_t sum = start;

	for (size_t i = 0; i < len; i++)
		sum += i & 1 ? p[i] : (unsigned)p[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* IPv4 and TCP headers, then `payload` bytes that count up; checksum as a sender leaves it. */
static size_t tcp_frame(uint8_t *f, size_t payload, struct net_header *h)
{
	static const uint8_t ip[20] = {
		0x45, 0, 0, 0, 0x12, 0x34, 0x40, 0, 64, 6, 0, 0, 10, 0, 2, 2, 10, 0, 2, 15};
	static const uint8_t tcp[20] = {0, 80, 1, 0, 0xff, 0xff, 0xff, 0x00, 0, 0, 0, 1, 0x50,
		0x19 /* FIN, PSH, ACK */, 1, 0, 0, 0, 0, 0};
	size_t len = 54 + payload;
	unsigned sum;

	fill(f, len);
	f[12] = 8;
	f[13] = 0;
	memcpy(f + 14, ip, 20);
	f[16] = (uint8_t)((len - 14) >> 8);
	f[17] = (uint8_t)(len - 14);
	sum = 0xffff - total(f + 14, 20, 0);
	f[24] = (uint8_t)(sum >> 8);
	f[25] = (uint8_t)sum;
	memcpy(f + 34, tcp, 20);
	for (size_t i = 0; i < payload; i++)
		f[54 + i] = (uint8_t)i;
	sum = total(f + 26, 8, (unsigned)(6 + len - 34));
	f[50] = (uint8_t)(sum >> 8);
	f[51] = (uint8_t)sum;
	*h = (struct net_header){.flags = NET_NEEDS_CSUM, .csum_start = 34, .csum_offset = 16};
	return len;
}

static void check_tcp(const uint8_t *f, size_t len)
{
	assert_int_equal(f[16] << 8 | f[17], len - 14);
	assert_int_equal(total(f + 14, 20, 0), 0xffff);
	assert_int_equal(
		total(f + 34, len - 34, total(f + 26, 8, (unsigned)(6 + len - 34))), 0xffff);
}

static void test_sums(void **state)
{
	uint8_t frame[300];
	struct net_header h;
	struct test t;
	size_t len;

	test_init(&t);
	rings_start(&t.r, QUEUE3, BASIC);
	len = tcp_frame(frame, 201, &h);
	buffer(&t, 0, 1526);
	assert_true(t.wire.dev.receive(t.wire.dev.device, &h, frame, len));
	t.wire.dev.received(t.wire.dev.device);
	assert_int_equal(get(&t.r, DATA, 2), 0);
	check_tcp(t.r.bench.bytes + DATA + HEADER, len);
	rings_start(&t.r, QUEUE3, BASIC | BIT(1)); /* leaves it open */
	tcp_frame(frame, 201, &h);
	buffer(&t, 0, 1526);
	assert_true(t.wire.dev.receive(t.wire.dev.device, &h, frame, len));
	t.wire.dev.received(t.wire.dev.device);
	assert_int_equal(get(&t.r, DATA, 1), NET_NEEDS_CSUM);
	assert_int_equal(get(&t.r, DATA + 6, 2), 34);
	test_destroy(&t);
}

static void test_cut(void **state)
{
	static const size_t length[] = {54 + 700, 54 + 700, 54 + 100};
	uint8_t frame[2000];
	struct net_header h;
	struct test t;
	size_t len;

	test_init(&t);
	rings_start(&t.r, QUEUE3, BASIC | SUMS);
	len = tcp_frame(frame, 1500, &h);
	h.gso_type = NET_GSO_TCP4;
	h.gso_size = 700;
	for (unsigned n = 0; n < 4; n++)
		buffer(&t, n, 1526);
	assert_true(t.wire.dev.receive(t.wire.dev.device, &h, frame, len));
	t.wire.dev.received(t.wire.dev.device);
	assert_int_equal(used(&t.r, 0), 3);
	for (unsigned n = 0; n < 3; n++) {
		const uint8_t *f = t.r.bench.bytes + DATA + 0x1000 * n + HEADER;

		assert_int_equal(used_len(&t.r, 0, n), HEADER + length[n]);
		check_tcp(f, length[n]);
		assert_int_equal(f[18] << 8 | f[19], 0x1234 + n);
		assert_int_equal(f[40] << 8 | f[41], (0xff00 + 700 * n) & 0xffff);
		assert_int_equal(f[47], n == 2 ? 0x19 : 0x10);
		assert_int_equal(f[54], (700 * n) & 0xff);
	}
	rings_start(&t.r, QUEUE3, BASIC | SUMS | TAKE4 | MERGE); /* takes it whole */
	buffer(&t, 0, 0x1000);
	tcp_frame(frame, 1500, &h);
	h.gso_type = NET_GSO_TCP4;
	h.gso_size = 700;
	assert_true(t.wire.dev.receive(t.wire.dev.device, &h, frame, len));
	t.wire.dev.received(t.wire.dev.device);
	assert_int_equal(used(&t.r, 0), 1);
	assert_int_equal(get(&t.r, DATA + 4, 2), 700);
	test_destroy(&t);
}

/* A peer that lies about its frames. */
static void test_bad_peer(void **state)
{
	struct net_header list[] = {
		{.flags = NET_NEEDS_CSUM, .gso_type = 1, .gso_size = 1, .csum_start = 34},
		{.flags = NET_NEEDS_CSUM, .gso_type = 4, .gso_size = 100, .csum_start = 34},
		{.flags = NET_NEEDS_CSUM, .gso_type = 7, .gso_size = 100, .csum_start = 34},
		{.flags = NET_NEEDS_CSUM, .csum_start = 2000, .csum_offset = 60000},
	};
	uint8_t frame[2000];
	struct net_header h;
	struct test t;

	test_init(&t);
	rings_start(&t.r, QUEUE3, BASIC | SUMS);
	buffer(&t, 0, 1526);
	for (unsigned i = 0; i < ARRAY_SIZE(list); i++) {
		size_t len = tcp_frame(frame, 1000, &h);

		assert_true(t.wire.dev.receive(t.wire.dev.device, &list[i], frame, len));
	}
	tcp_frame(frame, 1000, &h);
	frame[46] = 0xf0; /* TCP header longer than the frame */
	h.gso_type = NET_GSO_TCP4;
	h.gso_size = 500;
	assert_true(t.wire.dev.receive(t.wire.dev.device, &h, frame, 70));
	t.wire.dev.received(t.wire.dev.device);
	assert_int_equal(used(&t.r, 0), 0);
	test_destroy(&t);
}

/* ---- control ---- */

static uint8_t command(struct test *t, const void *bytes, uint32_t len)
{
	memcpy(t->r.bench.bytes + DATA + 0x8000, bytes, len);
	put(&t->r, DATA + 0x9000, 1, 0xff);
	descriptor(&t->r, entry(2, 0), DATA + 0x8000, len, NEXT, 1);
	descriptor(&t->r, entry(2, 1), DATA + 0x9000, 1, WRITE, 0);
	offer(&t->r, 2, 0);
	notify(&t->r, 2);
	return (uint8_t)get(&t->r, DATA + 0x9000, 1);
}

static bool takes(struct test *t, const char *mac)
{
	uint8_t frame[64] = {0};
	struct net_header h = {0};
	unsigned before = used(&t->r, 0);

	memcpy(frame, mac, 6);
	buffer(t, 0, 1526);
	t->wire.dev.receive(t->wire.dev.device, &h, frame, sizeof(frame));
	t->wire.dev.received(t->wire.dev.device);
	if (used(&t->r, 0) != before)
		return true;
	t->r.avail[0]--; /* the buffer is still there */
	return false;
}

static void test_control(void **state)
{
	struct test t;

	test_init(&t);
	rings_start(&t.r, QUEUE3, BASIC | CTRL);
	assert_true(takes(&t, (char *)own_mac));
	assert_true(takes(&t, "\xff\xff\xff\xff\xff\xff"));
	assert_false(takes(&t, "\x01\x00\x5e\x00\x00\x01"));
	assert_false(takes(&t, "\x02\x00\x00\x00\x00\x01"));
	assert_int_equal(command(&t, "\0\0\1", 3), 0); /* promiscuous */
	assert_true(takes(&t, "\x02\x00\x00\x00\x00\x01"));
	assert_int_equal(command(&t, "\0\0\0", 3), 0);
	assert_int_equal(command(&t, "\0\1\1", 3), 0); /* all groups */
	assert_true(takes(&t, "\x01\x00\x5e\x00\x00\x01"));
	assert_int_equal(command(&t, "\0\1\0", 3), 0);
	assert_int_equal(command(&t, "\1\0\1\0\0\0\2\0\0\0\0\1\1\0\0\0\1\0\x5e\0\0\1", 22), 0);
	assert_true(takes(&t, "\x02\x00\x00\x00\x00\x01"));
	assert_true(takes(&t, "\x01\x00\x5e\x00\x00\x01"));
	assert_false(takes(&t, "\x01\x00\x5e\x00\x00\x02"));
	assert_int_equal(command(&t, "\1\1\2\0\0\0\0\x09", 8), 0); /* another address */
	assert_true(takes(&t, "\x02\x00\x00\x00\x00\x09"));
	assert_false(takes(&t, (char *)own_mac));
	assert_int_equal(get(&t.r, DEVICE, 4), 2);
	put(&t.r, STRUCTS + STATUS, 1, 0);
	assert_int_equal(get(&t.r, DEVICE, 4), 0x01005452);
	test_destroy(&t);
}

static void test_bad_commands(void **state)
{
	struct test t;

	test_init(&t);
	rings_start(&t.r, QUEUE3, BASIC | CTRL);
	assert_int_equal(command(&t, "\0", 1), 1);
	assert_int_equal(command(&t, "\0\0", 2), 1);
	assert_int_equal(command(&t, "\0\7\1", 3), 1);
	assert_int_equal(command(&t, "\4\0\1\0", 4), 1);
	assert_int_equal(command(&t, "\1\0\2\0\0\0\2\0\0\0\0\1", 12), 1);
	assert_int_equal(command(&t, "\1\0\1\0\0\0\2\0\0\0\0\1", 12), 1); /* no second list */
	assert_int_equal(command(&t, "\1\1\2\0\0", 5), 1);
	assert_false(rings_broken(&t.r));
	test_destroy(&t);
}

/* ---- hostile drivers ---- */

static void break_send(struct test *t, uint64_t addr, uint32_t len, unsigned flags, unsigned next)
{
	rings_start(&t->r, QUEUE3, BASIC);
	descriptor(&t->r, entry(1, 0), addr, len, flags, next);
	offer(&t->r, 1, 0);
	notify(&t->r, 1);
	assert_true(rings_broken(&t->r));
	assert_int_equal(used(&t->r, 1), 0);
}

static void test_hostile(void **state)
{
	struct test t;

	test_init(&t);
	break_send(&t, DATA, 100, NEXT, 0);   /* a loop */
	break_send(&t, DATA, 100, NEXT, 99);  /* beyond the table */
	break_send(&t, DATA, 100, WRITE, 0);  /* nothing to read */
	break_send(&t, DATA, 5, 0, 0);        /* shorter than a header */
	break_send(&t, BENCH_RAM, 100, 0, 0); /* not RAM */
	break_send(&t, UINT64_MAX - 5, 100, 0, 0);
	break_send(&t, DATA, UINT32_MAX, 0, 0);
	break_send(&t, DATA, 48, INDIRECT, 0); /* not accepted */
	rings_start(&t.r, QUEUE3, BASIC | MERGE);
	buffer(&t, 0, 11);
	assert_true(arrive(&t, 64));
	assert_true(rings_broken(&t.r));
	assert_true(arrive(&t, 64)); /* broken: frames are lost, not kept */
	rings_start(&t.r, QUEUE3, BASIC | MERGE);
	put(&t.r, ring(0) + AVAIL + 2, 2, 1000); /* more than the ring has */
	assert_true(arrive(&t, 64));
	assert_true(rings_broken(&t.r));
	/* Buffers so small that a frame never fits: it is lost, the card goes on. */
	rings_start(&t.r, QUEUE3, BASIC | MERGE);
	for (unsigned n = 0; n < ENTRIES; n++)
		buffer(&t, n, HEADER);
	assert_true(arrive(&t, 1000));
	assert_int_equal(used(&t.r, 0), 0);
	assert_false(rings_broken(&t.r));
	test_destroy(&t);
}

static void test_snapshot(void **state)
{
	struct test a, b;
	struct snap *save = snap_new_save(), *load;
	struct device *dev;
	const void *data;
	size_t len;

	test_init(&a);
	test_init(&b);
	rings_start(&a.r, QUEUE3, BASIC | CTRL);
	assert_int_equal(command(&a, "\1\1\2\0\0\0\0\x09", 8), 0);
	buffer(&a, 0, 1526);
	dev = virtio_pci_device(a.r.p);
	dev->snap(dev, save);
	data = snap_data(save, &len);
	load = snap_new_load(data, len);
	dev = virtio_pci_device(b.r.p);
	dev->snap(dev, load);
	assert_null(snap_error(load));
	memcpy(b.r.bench.bytes, a.r.bench.bytes, BENCH_RAM);
	memcpy(b.r.avail, a.r.avail, sizeof(b.r.avail));
	rings_place(&b.r);
	assert_int_equal(get(&b.r, DEVICE, 4), 2);
	assert_true(takes(&b, "\x02\x00\x00\x00\x00\x09"));
	assert_int_equal(used(&b.r, 0), 1);
	snap_free(load);
	snap_free(save);
	test_destroy(&a);
	test_destroy(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_identity),
		cmocka_unit_test(test_link),
		cmocka_unit_test(test_send),
		cmocka_unit_test(test_send_pieces),
		cmocka_unit_test(test_send_headers),
		cmocka_unit_test(test_send_later),
		cmocka_unit_test(test_receive),
		cmocka_unit_test(test_receive_merged),
		cmocka_unit_test(test_receive_event),
		cmocka_unit_test(test_sums),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_bad_peer),
		cmocka_unit_test(test_control),
		cmocka_unit_test(test_bad_commands),
		cmocka_unit_test(test_hostile),
		cmocka_unit_test(test_snapshot),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
