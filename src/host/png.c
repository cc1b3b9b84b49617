/*
 * png.c - writes a PNG (W3C Recommendation "Portable Network Graphics", 2nd
 * edition): signature, IHDR, one IDAT with unfiltered lines, IEND.
 *
 * Lock: none.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "host/picture.h"
#include "util/util.h"

static void put32(uint8_t *p, uint32_t v)
{
	for (unsigned i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> (24 - 8 * i));
}

static int write_all(int fd, const void *data, size_t len)
{
	const uint8_t *p = data;

	while (len) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0) {
			p += n;
			len -= (size_t)n;
		}
	}
	return 0;
}

/* 5.3: length, type, data, CRC of type and data. */
static int chunk(int fd, const char *type, const uint8_t *data, uint32_t len)
{
	uint8_t head[8], tail[4];
	uLong crc = crc32(0, (const uint8_t *)type, 4);
	int error;

	put32(head, len);
	memcpy(head + 4, type, 4);
	if (len)
		crc = crc32(crc, data, len);
	put32(tail, (uint32_t)crc);
	error = write_all(fd, head, sizeof(head));
	if (!error)
		error = write_all(fd, data, len);
	return error ? error : write_all(fd, tail, sizeof(tail));
}

/* Each line begins with its filter type, 0: none (9.2). */
static uint8_t *raw_lines(const struct picture *p, size_t *len)
{
	uint8_t *raw, *at;

	*len = ((size_t)p->width * 3 + 1) * p->height;
	raw = at = xcalloc(1, *len);
	for (uint32_t y = 0; y < p->height; y++) {
		at++;
		for (uint32_t x = 0; x < p->width; x++) {
			uint32_t pixel = p->pixel[(size_t)y * p->width + x];

			*at++ = (uint8_t)(pixel >> 16);
			*at++ = (uint8_t)(pixel >> 8);
			*at++ = (uint8_t)pixel;
		}
	}
	return raw;
}

static int write_data(int fd, const struct picture *p)
{
	size_t len;
	uint8_t *raw = raw_lines(p, &len), *packed;
	uLongf packed_len = compressBound(len);
	int error;

	packed = xcalloc(1, packed_len);
	error = compress(packed, &packed_len, raw, len) == Z_OK ? 0 : -ENOMEM;
	if (!error)
		error = chunk(fd, "IDAT", packed, (uint32_t)packed_len);
	free(packed);
	free(raw);
	return error;
}

int png_write(int fd, const struct picture *p)
{
	uint8_t header[13] = {[8] = 8, [9] = 2}; /* bits a channel, truecolour */
	int error;

	if (!p->width || !p->height || !p->pixel)
		return -EINVAL;
	put32(header, p->width);
	put32(header + 4, p->height);
	error = write_all(fd, "\x89PNG\r\n\x1a\n", 8);
	if (!error)
		error = chunk(fd, "IHDR", header, sizeof(header));
	if (!error)
		error = write_data(fd, p);
	return error ? error : chunk(fd, "IEND", NULL, 0);
}
