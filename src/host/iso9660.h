/*
 * iso9660.h - writes a small read-only file system: a few files in one folder.
 * Pure.
 */
#ifndef TINAMOU_ISO9660_H
#define TINAMOU_ISO9660_H

#include <stddef.h>
#include <stdint.h>

#define ISO_MAX_FILES 8

struct iso_file {
	const char *name; /* as Linux shows it, up to 30 bytes */
	const void *data;
	size_t len;
};

/*
 * An image with that label (up to 32 bytes), *len bytes, a multiple of 2048; the caller frees
 * it. count is at most ISO_MAX_FILES.
 */
uint8_t *iso_image(const char *label, const struct iso_file *file, unsigned count, size_t *len);

#endif
