/* test_unpack.c - every format whole, cut off, damaged, and larger than its room. */
#include "tests/boot/fixture.h"

#include <errno.h>

#include "boot/unpack.h"
#include "tests/boot/pack.h"

#define PLAIN 60000

static uint8_t plain[PLAIN], packed[2 * PLAIN], out[2 * PLAIN];
static const struct packer *packer;
static size_t packed_len;

static void make(const struct packer *p)
{
	uint32_t x = 1;

	for (unsigned i = 0; i < PLAIN; i++) {
		x = x * 1103515245 + 12345;
		plain[i] = i & 64 ? (uint8_t)(x >> 24) : (uint8_t)(i >> 8);
	}
	packer = p;
	packed_len = p->pack(plain, PLAIN, packed, sizeof(packed));
	assert_in_range(packed_len, 100, PLAIN + 1000);
}

static void whole(void)
{
	size_t size = 0;

	assert_string_equal(unpack_format(packed, packed_len), packer->name);
	assert_int_equal(unpack(packed, packed_len, out, sizeof(out), &size), 0);
	assert_int_equal(size, PLAIN);
	assert_memory_equal(out, plain, PLAIN);
	/* The kernel's build appends the size. */
	memset(packed + packed_len, 0xff, 4);
	assert_int_equal(unpack(packed, packed_len + 4, out, sizeof(out), &size), 0);
	assert_int_equal(size, PLAIN);
	assert_int_equal(unpack(packed, packed_len, out, PLAIN, &size), 0); /* just fits */
}

static void cut_off(void)
{
	for (size_t len = 0; len < packed_len - 8; len += 1 + packed_len / 97) {
		uint8_t *copy = xcalloc(1, len ? len : 1); /* so that a checker sees the end */
		size_t size;

		memcpy(copy, packed, len);
		assert_int_not_equal(unpack(copy, len, out, sizeof(out), &size), 0);
		assert_in_range(size, 0, PLAIN);
		free(copy);
	}
}

static void no_room(void)
{
	for (size_t room = 0; room < PLAIN; room += PLAIN / 7) {
		uint8_t *exact = xcalloc(1, room ? room : 1);
		size_t size;

		assert_int_equal(unpack(packed, packed_len, exact, room, &size), -E2BIG);
		free(exact);
	}
}

static void damaged(void)
{
	size_t size;

	for (size_t at = 8; at < packed_len; at += 1 + packed_len / 203) {
		uint8_t was = packed[at];
		int err;

		packed[at] ^= 0x5a;
		err = unpack(packed, packed_len, out, sizeof(out), &size);
		if (!err && packer->checked && at > 16 && at < packed_len - 32)
			fail_msg("%s: byte %zu damaged, and not seen", packer->name, at);
		packed[at] = was;
	}
}

static void formats(void **unused)
{
	for (unsigned i = 0; i < ARRAY_SIZE(packers); i++) {
		make(&packers[i]);
		whole();
		cut_off();
		no_room();
		damaged();
	}
}

static void unknown(void **unused)
{
	size_t size;

	assert_null(unpack_format(NULL, 0));
	assert_null(unpack_format((const uint8_t *)"\x89LZO", 4));
	assert_int_equal(unpack((const uint8_t *)"abcdefgh", 8, out, 8, &size), -ENOTSUP);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(formats), cmocka_unit_test(unknown)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
