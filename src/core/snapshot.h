/*
 * snapshot.h - saving and loading are one function with a direction.
 *
 * A device names its fields in order: snap_u8(s, "ier", &u->ier). Saving
 * writes name and value, loading checks the name and reads the value. Every
 * index or size that steers memory uses a *_max form, which refuses what is
 * out of range. After the first error all calls are no-ops that leave the
 * fields alone; snap_error tells it. Times are saved relative to the clock.
 */
#ifndef TINAMOU_SNAPSHOT_H
#define TINAMOU_SNAPSHOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct snap;

struct snap *snap_new_save(void);
/* Borrows data until snap_free. */
struct snap *snap_new_load(const void *data, size_t len);
void snap_free(struct snap *s);
bool snap_loading(const struct snap *s);
/* NULL, or what is wrong, with section and field, for the user. */
const char *snap_error(const struct snap *s);
/* The saved bytes; owned by s. */
const void *snap_data(const struct snap *s, size_t *len);

/* Opens a device's section; on load a different name or a newer version is an error. */
unsigned snap_section(struct snap *s, const char *name, unsigned version); /* version found */

void snap_bool(struct snap *s, const char *name, bool *v);
void snap_u8(struct snap *s, const char *name, uint8_t *v);
void snap_u16(struct snap *s, const char *name, uint16_t *v);
void snap_u32(struct snap *s, const char *name, uint32_t *v);
void snap_u64(struct snap *s, const char *name, uint64_t *v);
void snap_i64(struct snap *s, const char *name, int64_t *v);
void snap_bytes(struct snap *s, const char *name, void *p, size_t len); /* exact length */
/* Refuse values above max on load. */
void snap_u8_max(struct snap *s, const char *name, uint8_t *v, uint8_t max);
void snap_u32_max(struct snap *s, const char *name, uint32_t *v, uint32_t max);
/* For a device's own check on load: marks the snapshot bad. */
void snap_fail(struct snap *s, const char *field, const char *why);

#endif
