/*
 * memory.h - guest RAM and checked access to it.
 *
 * Every access names its length. Copies fail with -EFAULT unless all of it is
 * RAM or ROM in the flattened map; a pointer also unless it lies in one range.
 * Guest-sized accesses (1, 2, 4, 8, aligned) are single host accesses with
 * acquire and release. A device's write tells the engine (mem_written) after
 * the data has landed. Lock: vm->lock, or inside vcpu_run of the one engine.
 */
#ifndef TINAMOU_MEMORY_H
#define TINAMOU_MEMORY_H

#include "core/bus.h"

enum ram_backing { RAM_PRIVATE, RAM_SHARED }; /* anonymous (default), memfd */

struct ram {
	uint8_t *host;
	uint64_t size;
	int fd; /* RAM_SHARED, else -1 */
};

/* size: bytes, a multiple of 4096. -ENOMEM if the host has not that much address space. */
int ram_alloc(struct ram *ram, uint64_t size, enum ram_backing backing);
void ram_free(struct ram *ram);

struct guest_memory {
	struct bus *bus; /* the flattened memory map */
	/* Told about every write by a device, after it landed; may be NULL. */
	void (*written)(void *ctx, gpa_t gpa, uint64_t len);
	void *written_ctx;
	/* What mem_discard may give back; NULL: nothing. */
	const struct ram *ram;
};

int mem_read(struct guest_memory *m, gpa_t gpa, void *buf, uint64_t len);
int mem_write(struct guest_memory *m, gpa_t gpa, const void *buf, uint64_t len); /* RAM only */
int mem_fill(struct guest_memory *m, gpa_t gpa, uint8_t byte, uint64_t len);
/* What was written by way of mem_ptr is told. */
void mem_written(struct guest_memory *m, gpa_t gpa, uint64_t len);
/*
 * The whole pages in [gpa, gpa + len) go back to the host, and are zero when next used. -EFAULT:
 * not in one range of RAM; -EOPNOTSUPP: not m->ram's.
 */
int mem_discard(struct guest_memory *m, gpa_t gpa, uint64_t len);
/* Host pointer to [gpa, gpa + len) of one RAM range, or NULL. Valid until the map changes. */
void *mem_ptr(struct guest_memory *m, gpa_t gpa, uint64_t len);

#endif
