/*
 * unpack.c - gzip, xz, lzma, bzip2, zstd and lz4, each by its library.
 *
 * The input is hostile: the output grows as it comes and never beyond max,
 * whatever a header says of its size.
 */
#include "boot/unpack.h"

#include <bzlib.h>
#include <errno.h>
#include <lz4.h>
#include <lzma.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "util/util.h"

#define FIRST_ROOM  (4 * MiB)
#define LZMA_MEMORY (512 * MiB)

struct buffer {
	uint8_t *data;
	size_t len, room, max;
};

/* false: at the limit already. */
static bool grow(struct buffer *b)
{
	if (b->room == b->max)
		return false;
	b->room = MIN(b->room ? b->room * 2 : FIRST_ROOM, b->max);
	b->data = xrealloc(b->data, b->room);
	return true;
}

static int unpack_gzip(const uint8_t *data, size_t len, struct buffer *b)
{
	z_stream z = {.next_in = (Bytef *)data, .avail_in = (uInt)len};
	int rc = inflateInit2(&z, 16 + MAX_WBITS);

	while (rc == Z_OK) {
		if (b->len == b->room && !grow(b))
			break;
		z.next_out = b->data + b->len;
		z.avail_out = (uInt)MIN(b->room - b->len, GiB);
		rc = inflate(&z, Z_NO_FLUSH);
		b->len = (size_t)(z.next_out - b->data);
	}
	inflateEnd(&z);
	return rc == Z_STREAM_END ? 0 : rc == Z_OK ? -E2BIG : -EINVAL;
}

static int unpack_lzma(const uint8_t *data, size_t len, struct buffer *b)
{
	lzma_stream s = LZMA_STREAM_INIT;
	lzma_ret rc = lzma_auto_decoder(&s, LZMA_MEMORY, 0);

	s.next_in = data;
	s.avail_in = len;
	while (rc == LZMA_OK) {
		if (b->len == b->room && !grow(b))
			break;
		s.next_out = b->data + b->len;
		s.avail_out = b->room - b->len;
		rc = lzma_code(&s, LZMA_RUN);
		b->len = (size_t)(s.next_out - b->data);
	}
	lzma_end(&s);
	return rc == LZMA_STREAM_END ? 0 : rc == LZMA_OK ? -E2BIG : -EINVAL;
}

static int unpack_bzip2(const uint8_t *data, size_t len, struct buffer *b)
{
	bz_stream s = {.next_in = (char *)data, .avail_in = (unsigned)len};
	int rc = BZ2_bzDecompressInit(&s, 0, 0);
	bool stuck = false;

	while (rc == BZ_OK && !stuck) {
		size_t before;

		if (b->len == b->room && !grow(b))
			break;
		before = b->room - b->len;
		s.next_out = (char *)b->data + b->len;
		s.avail_out = (unsigned)MIN(before, GiB);
		rc = BZ2_bzDecompress(&s);
		stuck = rc == BZ_OK && !s.avail_in && (uint8_t *)s.next_out == b->data + b->len;
		b->len = (size_t)((uint8_t *)s.next_out - b->data);
	}
	BZ2_bzDecompressEnd(&s);
	return rc == BZ_STREAM_END ? 0 : rc == BZ_OK && !stuck ? -E2BIG : -EINVAL;
}

static int unpack_zstd(const uint8_t *data, size_t len, struct buffer *b)
{
	ZSTD_DStream *s = ZSTD_createDStream();
	ZSTD_inBuffer in = {data, len, 0};
	size_t rc = 1;
	bool full = false;

	while (rc && !ZSTD_isError(rc)) {
		ZSTD_outBuffer out;

		if (b->len == b->room && !grow(b)) {
			full = true;
			break;
		}
		out = (ZSTD_outBuffer){b->data, b->room, b->len};
		rc = ZSTD_decompressStream(s, &out, &in);
		if (out.pos == b->len && in.pos == in.size)
			break; /* cut short */
		b->len = out.pos;
	}
	ZSTD_freeDStream(s);
	return !rc ? 0 : full ? -E2BIG : -EINVAL;
}

/* The legacy format of `lz4 -l`: blocks of at most 8 MiB, each with its length before it. */
static int unpack_lz4(const uint8_t *data, size_t len, struct buffer *b)
{
	const uint32_t block = 8 * MiB;
	size_t at = 4;

	while (at + 4 <= len) {
		uint32_t n;
		int got;

		memcpy(&n, data + at, 4);
		if (n == 0 || n > len - at - 4) /* what follows the last block is no block */
			return b->len ? 0 : -EINVAL;
		while (b->room - b->len < block && grow(b))
			;
		got = LZ4_decompress_safe((const char *)data + at + 4, (char *)b->data + b->len,
			(int)n, (int)MIN(b->room - b->len, block));
		if (got < 0)
			return b->room == b->max ? -E2BIG : -EINVAL;
		b->len += (size_t)got;
		at += 4 + n;
		if ((uint32_t)got < block)
			return 0;
	}
	return b->len ? 0 : -EINVAL;
}

static const struct format {
	const char *name;
	uint8_t magic[6], length;
	int (*unpack)(const uint8_t *data, size_t len, struct buffer *b);
} formats[] = {
	{"gzip", {0x1f, 0x8b}, 2, unpack_gzip},
	{"xz", {0xfd, '7', 'z', 'X', 'Z', 0}, 6, unpack_lzma},
	{"lzma", {0x5d, 0, 0}, 3, unpack_lzma},
	{"bzip2", {'B', 'Z', 'h'}, 3, unpack_bzip2},
	{"zstd", {0x28, 0xb5, 0x2f, 0xfd}, 4, unpack_zstd},
	{"lz4", {0x02, 0x21, 0x4c, 0x18}, 4, unpack_lz4},
};

static const struct format *find_format(const uint8_t *data, size_t len)
{
	for (unsigned n = 0; n < ARRAY_SIZE(formats); n++)
		if (len > formats[n].length && !memcmp(data, formats[n].magic, formats[n].length))
			return &formats[n];
	return NULL;
}

const char *unpack_format(const uint8_t *data, size_t len)
{
	const struct format *f = find_format(data, len);

	return f ? f->name : NULL;
}

int unpack(const uint8_t *data, size_t len, size_t max, uint8_t **out, size_t *out_len)
{
	const struct format *f = find_format(data, len);
	struct buffer b = {.max = max};
	int rc;

	if (!f || len > UINT32_MAX)
		return -EINVAL;
	rc = f->unpack(data, len, &b);
	if (rc) {
		free(b.data);
		return rc;
	}
	*out = b.data;
	*out_len = b.len;
	return 0;
}
