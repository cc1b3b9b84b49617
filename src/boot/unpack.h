/*
 * unpack.h - a compressed kernel back to what it was before.
 *
 * Formats by their first bytes: gzip, xz, lzma, bzip2, zstd, and lz4 as the
 * kernel's build writes it (legacy frames). What follows the end of the stream
 * is not looked at: the kernel's build appends a size, which may say anything.
 */
#ifndef TINAMOU_BOOT_UNPACK_H
#define TINAMOU_BOOT_UNPACK_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* The format's name, or NULL if it is none of these. */
const char *unpack_format(const uint8_t *in, size_t len);

/*
 * At most room bytes to out; *size is how many. -ENOTSUP: an unknown format,
 * -EBADMSG: damaged or cut off, -E2BIG: there is more than room, -ENOMEM.
 */
int unpack(const uint8_t *in, size_t len, uint8_t *out, size_t room, size_t *size);

/* The libraries behind it and their versions, a line each. */
void unpack_versions(FILE *out);

#endif
