/*
 * bus.c - regions, the flattened list, and dispatch; see bus.h.
 *
 * The flattened list is rebuilt whole at every change: maps change rarely and
 * hold a few dozen regions. Dispatch is a binary search.
 */
#include "core/bus.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/util.h"

void bus_init(struct bus *bus, const char *name, unsigned default_max)
{
	memset(bus, 0, sizeof(*bus));
	bus->name = name;
	bus->default_max = default_max;
}

void bus_destroy(struct bus *bus)
{
	free(bus->region);
	free(bus->range);
	memset(bus, 0, sizeof(*bus));
}

static gpa_t last(const struct bus_region *r)
{
	return r->base + (r->size - 1);
}

/* The region that wins at addr: highest priority, then the one mapped last. */
static struct bus_region *winner(const struct bus *bus, gpa_t addr)
{
	struct bus_region *best = NULL;

	for (unsigned i = 0; i < bus->regions; i++) {
		struct bus_region *r = bus->region[i];

		if (addr >= r->base && addr <= last(r) && (!best || r->prio >= best->prio))
			best = r;
	}
	return best;
}

static int compare_gpa(const void *a, const void *b)
{
	gpa_t x = *(const gpa_t *)a, y = *(const gpa_t *)b;

	return x < y ? -1 : x > y;
}

static void append_range(struct bus *bus, struct bus_region *r, gpa_t base, uint64_t size)
{
	struct bus_range *prev = bus->ranges ? &bus->range[bus->ranges - 1] : NULL;

	if (prev && prev->region == r && prev->base + prev->size == base) {
		prev->size += size;
		return;
	}
	bus->range[bus->ranges++] = (struct bus_range){base, size, r, base - r->base};
}

/* Between two neighbouring edges of regions the winner is the same. */
static void flatten(struct bus *bus)
{
	unsigned n = 0;
	gpa_t *edge = xcalloc(bus->regions * 2 + 1, sizeof(*edge));

	if (bus->changing)
		bus->changing(bus->hook_ctx);
	bus->range = xrealloc(bus->range, (bus->regions * 2 + 1) * sizeof(*bus->range));
	bus->ranges = 0;
	for (unsigned i = 0; i < bus->regions; i++) {
		edge[n++] = bus->region[i]->base;
		edge[n++] = last(bus->region[i]) + 1; /* 0: end of the address space */
	}
	qsort(edge, n, sizeof(*edge), compare_gpa);
	for (unsigned i = 0; i < n; i++) {
		gpa_t next = i + 1 < n ? edge[i + 1] : 0;
		struct bus_region *r = winner(bus, edge[i]);

		if (r && next != edge[i])
			append_range(bus, r, edge[i], next - edge[i]);
	}
	free(edge);
	if (bus->changed)
		bus->changed(bus->hook_ctx);
}

static struct bus_region *fixed_overlap(const struct bus *bus, const struct bus_region *r)
{
	for (unsigned i = 0; i < bus->regions; i++) {
		struct bus_region *o = bus->region[i];

		if (o->prio == r->prio && r->prio < BUS_PRIO_MOVABLE && o->base <= last(r) &&
			r->base <= last(o))
			return o;
	}
	return NULL;
}

static void insert(struct bus *bus, struct bus_region *r)
{
	bus->region = xrealloc(bus->region, (bus->regions + 1) * sizeof(struct bus_region *));
	bus->region[bus->regions++] = r;
	r->mapped = true;
	flatten(bus);
}

int bus_map(struct bus *bus, struct bus_region *r)
{
	struct bus_region *other;

	if (range_bad(r->base, r->size)) {
		log_error("%s bus: region %s is empty or wraps", bus->name, r->name);
		return -EINVAL;
	}
	other = fixed_overlap(bus, r);
	if (other) {
		log_error("%s bus: region %s overlaps %s", bus->name, r->name, other->name);
		return -EEXIST;
	}
	insert(bus, r);
	return 0;
}

static bool take_out(struct bus *bus, struct bus_region *r)
{
	for (unsigned i = 0; i < bus->regions; i++) {
		if (bus->region[i] == r) {
			memmove(&bus->region[i], &bus->region[i + 1],
				(bus->regions - i - 1) * sizeof(struct bus_region *));
			bus->regions--;
			r->mapped = false;
			return true;
		}
	}
	return false;
}

void bus_unmap(struct bus *bus, struct bus_region *r)
{
	if (take_out(bus, r))
		flatten(bus);
}

void bus_move(struct bus *bus, struct bus_region *r, gpa_t base, uint64_t size)
{
	bool was_mapped = take_out(bus, r);

	r->base = base;
	r->size = size;
	if (!range_bad(base, size))
		insert(bus, r);
	else if (was_mapped)
		flatten(bus);
}

const struct bus_range *bus_find(const struct bus *bus, gpa_t addr)
{
	unsigned lo = 0, hi = bus->ranges;

	while (lo < hi) {
		unsigned mid = (lo + hi) / 2;
		const struct bus_range *r = &bus->range[mid];

		if (addr < r->base)
			hi = mid;
		else if (addr - r->base >= r->size)
			lo = mid + 1;
		else
			return r;
	}
	return NULL;
}

/* How many of the size bytes at addr one access of range r may take: a power of two. */
static unsigned chunk(const struct bus *bus, const struct bus_range *r, gpa_t addr, unsigned size)
{
	const struct bus_ops *ops = r->region->ops;
	unsigned max = ops && ops->max ? ops->max : bus->default_max;
	uint64_t room = r->size - (addr - r->base);
	unsigned n = size;

	while (n > max || n > room || (n & (n - 1)))
		n = n > max ? max : (n & (n - 1)) ? n & (n - 1) : n / 2;
	return n;
}

static uint64_t host_read(const struct bus_region *r, uint64_t off, unsigned size)
{
	uint64_t v = 0;

	memcpy(&v, r->host + off, size);
	return v;
}

/* A device that takes only wider accesses is read whole and the bytes cut out. */
static uint64_t region_read(struct bus_region *r, uint64_t off, unsigned size)
{
	const struct bus_ops *ops = r->ops;
	unsigned min;
	uint64_t aligned;

	if (r->kind != BUS_IO)
		return host_read(r, off, size);
	r->hits++;
	if (!ops || !ops->read)
		return ~UINT64_C(0);
	min = ops->min;
	if (size >= min)
		return ops->read(r->ctx, off, size);
	aligned = off & ~(uint64_t)(min - 1);
	if (aligned + min > r->size)
		return ~UINT64_C(0);
	return ops->read(r->ctx, aligned, min) >> ((off - aligned) * 8);
}

/* A write narrower than the device takes is dropped: widening it would invent bytes. */
static void region_write(struct bus_region *r, uint64_t off, unsigned size, uint64_t value)
{
	if (r->kind == BUS_RAM) {
		memcpy(r->host + off, &value, size);
		return;
	}
	r->hits++;
	if (r->ops && r->ops->write && size >= r->ops->min)
		r->ops->write(r->ctx, off, size, value & size_mask(size));
}

uint64_t bus_read(struct bus *bus, gpa_t addr, unsigned size)
{
	uint64_t value = 0;
	unsigned done = 0;

	while (done < size) {
		const struct bus_range *r = bus_find(bus, addr + done);
		unsigned n = r ? chunk(bus, r, addr + done, size - done) : 1;
		uint64_t part = ~UINT64_C(0);

		if (r)
			part = region_read(r->region, r->off + (addr + done - r->base), n);
		value |= (part & size_mask(n)) << (done * 8);
		done += n;
	}
	return value;
}

void bus_write(struct bus *bus, gpa_t addr, unsigned size, uint64_t value)
{
	unsigned done = 0;

	while (done < size) {
		const struct bus_range *r = bus_find(bus, addr + done);
		unsigned n = r ? chunk(bus, r, addr + done, size - done) : 1;

		if (r)
			region_write(r->region, r->off + (addr + done - r->base), n,
				value >> (done * 8));
		done += n;
	}
}
