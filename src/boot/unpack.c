/* unpack.c - six decompressors behind one function; see unpack.h. */
#include "boot/unpack.h"

#include <bzlib.h>
#include <errno.h>
#include <limits.h>
#include <lz4.h>
#include <lzma.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "util/util.h"

#define GZIP_WINDOW   (15 + 16) /* zlib: the largest window, with a gzip header */
#define LZMA_MEMORY   (UINT64_C(256) << 20)
#define ZSTD_LOG_MAX  27 /* windows up to 128 MiB, as the kernel's build uses them */
#define LZ4_MAGIC     0x184c2102u
#define LZ4_BLOCK_MAX (8 << 20)

struct stream {
	const uint8_t *in;
	size_t len;
	uint8_t *out;
	size_t room, size; /* size: written so far */
};

/* The decoder stopped before the end of its stream: why? */
static int stopped(bool room_left)
{
	return room_left ? -EBADMSG : -E2BIG;
}

static int unpack_gzip(struct stream *s)
{
	z_stream z = {.next_in = (Bytef *)s->in,
		.avail_in = (uInt)MIN(s->len, UINT_MAX),
		.next_out = s->out,
		.avail_out = (uInt)MIN(s->room, UINT_MAX)};
	int rc;

	if (inflateInit2(&z, GZIP_WINDOW) != Z_OK)
		return -ENOMEM;
	rc = inflate(&z, Z_FINISH);
	s->size = z.total_out;
	inflateEnd(&z);
	return rc == Z_STREAM_END ? 0 : rc == Z_MEM_ERROR ? -ENOMEM : stopped(z.avail_out > 0);
}

static int run_lzma(struct stream *s, lzma_stream *l, lzma_ret started)
{
	lzma_ret rc = started;

	l->next_in = s->in;
	l->avail_in = s->len;
	l->next_out = s->out;
	l->avail_out = s->room;
	while (rc == LZMA_OK)
		rc = lzma_code(l, LZMA_RUN);
	s->size = l->total_out;
	lzma_end(l);
	if (rc == LZMA_STREAM_END)
		return 0;
	return rc == LZMA_MEM_ERROR || rc == LZMA_MEMLIMIT_ERROR ? -ENOMEM
								 : stopped(l->avail_out > 0);
}

static int unpack_xz(struct stream *s)
{
	lzma_stream l = LZMA_STREAM_INIT;

	return run_lzma(s, &l, lzma_stream_decoder(&l, LZMA_MEMORY, 0));
}

static int unpack_lzma(struct stream *s)
{
	lzma_stream l = LZMA_STREAM_INIT;

	return run_lzma(s, &l, lzma_alone_decoder(&l, LZMA_MEMORY));
}

static int unpack_bzip2(struct stream *s)
{
	bz_stream z = {.next_in = (char *)s->in,
		.avail_in = (unsigned)MIN(s->len, UINT_MAX),
		.next_out = (char *)s->out,
		.avail_out = (unsigned)MIN(s->room, UINT_MAX)};
	int rc;

	if (BZ2_bzDecompressInit(&z, 0, 0) != BZ_OK)
		return -ENOMEM;
	rc = BZ2_bzDecompress(&z);
	s->size = (size_t)z.total_out_hi32 << 32 | z.total_out_lo32;
	BZ2_bzDecompressEnd(&z);
	return rc == BZ_STREAM_END ? 0 : rc == BZ_MEM_ERROR ? -ENOMEM : stopped(z.avail_out > 0);
}

static int unpack_zstd(struct stream *s)
{
	ZSTD_DCtx *z = ZSTD_createDCtx();
	ZSTD_inBuffer in = {s->in, s->len, 0};
	ZSTD_outBuffer out = {s->out, s->room, 0};
	size_t rc = 1, before;

	if (!z)
		return -ENOMEM;
	ZSTD_DCtx_setParameter(z, ZSTD_d_windowLogMax, ZSTD_LOG_MAX);
	do {
		before = in.pos + out.pos;
		rc = ZSTD_decompressStream(z, &out, &in);
	} while (rc && !ZSTD_isError(rc) && in.pos + out.pos > before);
	ZSTD_freeDCtx(z);
	s->size = out.pos;
	return rc ? stopped(out.pos < out.size) : 0;
}

/*
 * Legacy frames: a magic, then blocks of at most 8 MiB, each after its size. The
 * last one is shorter, and only the end of the file tells; the appended size
 * is at most one word, and no block.
 */
static int unpack_lz4(struct stream *s)
{
	size_t at = sizeof(uint32_t);
	uint32_t block;

	while (s->len - at > sizeof(block)) {
		int n, room = (int)MIN(s->room - s->size, LZ4_BLOCK_MAX);

		memcpy(&block, s->in + at, sizeof(block));
		at += sizeof(block);
		if (block == LZ4_MAGIC)
			continue;
		if (!range_in(at, block, s->len) || block > INT_MAX)
			return -EBADMSG;
		n = LZ4_decompress_safe(
			(const char *)s->in + at, (char *)s->out + s->size, (int)block, room);
		if (n < 0)
			return stopped(room == LZ4_BLOCK_MAX);
		at += block;
		s->size += (size_t)n;
	}
	return 0;
}

static const struct format {
	const char *name;
	uint8_t magic[6], len;
	int (*unpack)(struct stream *s);
} formats[] = {
	{"gzip", {0x1f, 0x8b}, 2, unpack_gzip},
	{"xz", {0xfd, '7', 'z', 'X', 'Z', 0}, 6, unpack_xz},
	{"lzma", {0x5d, 0, 0}, 3, unpack_lzma},
	{"bzip2", {'B', 'Z', 'h'}, 3, unpack_bzip2},
	{"zstd", {0x28, 0xb5, 0x2f, 0xfd}, 4, unpack_zstd},
	{"lz4", {0x02, 0x21, 0x4c, 0x18}, 4, unpack_lz4},
};

static const struct format *find(const uint8_t *in, size_t len)
{
	for (unsigned i = 0; i < ARRAY_SIZE(formats); i++)
		if (len >= formats[i].len && !memcmp(in, formats[i].magic, formats[i].len))
			return &formats[i];
	return NULL;
}

const char *unpack_format(const uint8_t *in, size_t len)
{
	const struct format *f = find(in, len);

	return f ? f->name : NULL;
}

int unpack(const uint8_t *in, size_t len, uint8_t *out, size_t room, size_t *size)
{
	struct stream s = {in, len, out, room, 0};
	const struct format *f = find(in, len);
	int err = f ? f->unpack(&s) : -ENOTSUP;

	*size = s.size;
	return err;
}

void unpack_versions(FILE *out)
{
	fprintf(out, "zlib %s\n", zlibVersion());
	fprintf(out, "liblzma %s\n", lzma_version_string());
	fprintf(out, "libzstd %s\n", ZSTD_versionString());
	fprintf(out, "liblz4 %s\n", LZ4_versionString());
	fprintf(out, "libbz2 %s\n", BZ2_bzlibVersion());
}
