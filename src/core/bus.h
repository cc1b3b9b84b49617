/*
 * bus.h - one map type for I/O ports and for physical memory.
 *
 * A region is a window [base, base + size) with handlers or host memory behind
 * it. A handler sees an offset into its region, never an address. The bus
 * splits an access that is wider than the region takes, widens one that is
 * narrower, and gives all ones for what is absent or write-only.
 * Lock: every function runs with vm->lock held, except where it says otherwise.
 */
#ifndef TINAMOU_BUS_H
#define TINAMOU_BUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A guest physical address (or a port number); never a pointer. */
typedef uint64_t gpa_t;

struct bus_ops {
	/* size is 1, 2, 4 or 8 within [min, max]; off + size <= region size. NULL: all ones. */
	uint64_t (*read)(void *ctx, uint64_t off, unsigned size);
	void (*write)(void *ctx, uint64_t off, unsigned size, uint64_t value); /* NULL: ignored */
	uint8_t min, max; /* access sizes taken; 0 means 1 and 8 (memory) or 4 (ports) */
};

enum bus_kind {
	BUS_IO,  /* ops */
	BUS_RAM, /* host memory, read and write */
	BUS_ROM  /* host memory for reads; writes go to ops->write, or nowhere */
};

/*
 * Priorities: the higher one wins where regions overlap; equal ones must not overlap. HOST: what
 * the CPU or the host bridge takes before anything on PCI sees it.
 */
enum { BUS_PRIO_RAM = 0, BUS_PRIO_FIXED = 1, BUS_PRIO_MOVABLE = 2, BUS_PRIO_HOST = 3 };

struct bus_region {
	const char *name; /* for errors and `info`; must outlive the region */
	gpa_t base;
	uint64_t size;
	uint8_t kind, prio;
	const struct bus_ops *ops;
	void *ctx;
	uint8_t *host; /* RAM and ROM: size bytes */
	bool mapped;   /* kept by the bus */
	uint64_t hits; /* accesses that reached ops, for --stats */
};

/* One piece of the flattened map, sorted by base, without overlap. */
struct bus_range {
	gpa_t base;
	uint64_t size;
	struct bus_region *region;
	uint64_t off; /* of base within the region */
};

struct bus {
	const char *name;
	unsigned default_max;
	struct bus_region **region;
	unsigned regions;
	struct bus_range *range;
	unsigned ranges;
	/*
	 * Around a change of the flattened list, may be NULL. The memory bus stops
	 * the world in `changing` and tells the engine in `changed`.
	 */
	void (*changing)(void *ctx);
	void (*changed)(void *ctx);
	void *hook_ctx;
};

void bus_init(struct bus *bus, const char *name, unsigned default_max);
void bus_destroy(struct bus *bus); /* regions belong to their owners */

/*
 * -EINVAL: empty or wrapping; -EEXIST: overlaps a region of equal priority
 * below BUS_PRIO_MOVABLE, logged with both names. The region must stay put
 * until bus_unmap.
 */
int bus_map(struct bus *bus, struct bus_region *r);
void bus_unmap(struct bus *bus, struct bus_region *r);
/* Guest-steered: unmap and map elsewhere; size 0 or a wrap leaves it unmapped. */
void bus_move(struct bus *bus, struct bus_region *r, gpa_t base, uint64_t size);

/* size is 1, 2, 4 or 8; any alignment. */
uint64_t bus_read(struct bus *bus, gpa_t addr, unsigned size);
void bus_write(struct bus *bus, gpa_t addr, unsigned size, uint64_t value);

/* The range that holds addr, or NULL. */
const struct bus_range *bus_find(const struct bus *bus, gpa_t addr);

#endif
