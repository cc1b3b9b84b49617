/* pack.h - compresses in every format that kernels are packed with; tests only. */
#ifndef TINAMOU_TEST_BOOT_PACK_H
#define TINAMOU_TEST_BOOT_PACK_H

#include <bzlib.h>
#include <lz4.h>
#include <lzma.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

static inline size_t pack_gzip(const uint8_t *in, size_t len, uint8_t *out, size_t room)
{
	z_stream z = {.next_in = (Bytef *)in,
		.avail_in = (uInt)len,
		.next_out = out,
		.avail_out = (uInt)room};

	deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
	deflate(&z, Z_FINISH);
	deflateEnd(&z);
	return z.total_out;
}

static inline size_t pack_xz(const uint8_t *in, size_t len, uint8_t *out, size_t room)
{
	size_t at = 0;

	return lzma_easy_buffer_encode(0, LZMA_CHECK_CRC32, NULL, in, len, out, &at, room) ? 0 : at;
}

static inline size_t pack_lzma(const uint8_t *in, size_t len, uint8_t *out, size_t room)
{
	lzma_stream l = LZMA_STREAM_INIT;
	lzma_options_lzma options;

	if (lzma_lzma_preset(&options, 0) || lzma_alone_encoder(&l, &options) != LZMA_OK)
		return 0;
	l.next_in = in;
	l.avail_in = len;
	l.next_out = out;
	l.avail_out = room;
	while (lzma_code(&l, LZMA_FINISH) == LZMA_OK)
		;
	lzma_end(&l);
	return l.total_out;
}

static inline size_t pack_bzip2(const uint8_t *in, size_t len, uint8_t *out, size_t room)
{
	unsigned n = (unsigned)room;

	BZ2_bzBuffToBuffCompress((char *)out, &n, (char *)in, (unsigned)len, 9, 0, 0);
	return n;
}

static inline size_t pack_zstd(const uint8_t *in, size_t len, uint8_t *out, size_t room)
{
	return ZSTD_compress(out, room, in, len, 3);
}

/* Legacy frames as `lz4 -l` writes them: here one block. */
static inline size_t pack_lz4(const uint8_t *in, size_t len, uint8_t *out, size_t room)
{
	static const uint8_t magic[4] = {0x02, 0x21, 0x4c, 0x18};
	uint32_t n = (uint32_t)LZ4_compress_default(
		(const char *)in, (char *)out + 8, (int)len, (int)room - 8);

	memcpy(out, magic, 4);
	memcpy(out + 4, &n, 4);
	return n + 8;
}

static const struct packer {
	const char *name;
	size_t (*pack)(const uint8_t *in, size_t len, uint8_t *out, size_t room);
	bool checked; /* the format has a checksum */
} packers[] = {
	{"gzip", pack_gzip, true},
	{"xz", pack_xz, true},
	{"lzma", pack_lzma, false},
	{"bzip2", pack_bzip2, true},
	{"zstd", pack_zstd, false},
	{"lz4", pack_lz4, false},
};

#endif
