/*
 * unpack.h - decompression of what a boot file carries, by the libraries.
 */
#ifndef TINAMOU_UNPACK_H
#define TINAMOU_UNPACK_H

#include <stddef.h>
#include <stdint.h>

/* The name of the format that the first bytes show, or NULL. */
const char *unpack_format(const uint8_t *data, size_t len);

/*
 * Decompresses one stream into a buffer of at most max bytes, the caller's to
 * free. What follows the stream is ignored. -EINVAL: no known format, corrupt
 * or cut short; -E2BIG: more than max; -ENOMEM.
 */
int unpack(const uint8_t *data, size_t len, size_t max, uint8_t **out, size_t *out_len);

#endif
