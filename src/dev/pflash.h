/*
 * pflash.h - a parallel NOR flash chip in which firmware keeps its variables.
 * vm->lock held.
 */
#ifndef TINAMOU_PFLASH_H
#define TINAMOU_PFLASH_H

#include "core/bus.h"
#include "core/device.h"

struct pflash;

/*
 * bytes: the contents, size bytes (a multiple of 4096), page-aligned, written
 * in place, not owned. The caller sets the region's base and maps it on memory.
 */
struct pflash *pflash_new(const char *name, struct bus *memory, uint8_t *bytes, uint32_t size);
struct device *pflash_device(struct pflash *f);
struct bus_region *pflash_region(struct pflash *f);

#endif
