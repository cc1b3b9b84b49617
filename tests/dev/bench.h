/*
 * bench.h - what tests of PCI devices and drives stand on: two buses, RAM from
 * address 0, a clock moved by hand, disks in memory.
 */
#ifndef TINAMOU_DEV_BENCH_H
#define TINAMOU_DEV_BENCH_H

#include <sys/mman.h>
#include <unistd.h>

#include "core/loop.h"
#include "core/memory.h"
#include "host/disk.h"
#include "tests/dev/harness.h"

#define BENCH_RAM (256 * KiB)

struct bench {
	struct clock clock;
	struct loop *loop;
	struct bus memory, ports;
	struct bus_region ram;
	struct guest_memory dma;
	uint8_t *bytes; /* the RAM's */
};

static inline void bench_init(struct bench *b)
{
	*b = (struct bench){.loop = loop_new(), .bytes = aligned_alloc(4096, BENCH_RAM)};
	memset(b->bytes, 0, BENCH_RAM);
	clock_init(&b->clock, CLOCK_INSTRUCTIONS);
	bus_init(&b->memory, "memory", 8);
	bus_init(&b->ports, "ports", 4);
	b->ram = (struct bus_region){
		.name = "ram", .size = BENCH_RAM, .kind = BUS_RAM, .host = b->bytes};
	bus_map(&b->memory, &b->ram);
	b->dma.bus = &b->memory;
}

static inline void bench_destroy(struct bench *b)
{
	bus_destroy(&b->memory);
	bus_destroy(&b->ports);
	loop_free(b->loop);
	free(b->bytes);
}

/* A disk of that many sectors; sector n is full of bytes n. */
static inline struct disk *bench_disk(struct bench *b, unsigned sectors, bool ro)
{
	struct disk_files *f = xcalloc(1, sizeof(*f));
	uint8_t *bytes = xcalloc(sectors, SECTOR_SIZE);
	char err[256];
	int fd = memfd_create("disk", MFD_CLOEXEC);

	for (unsigned n = 0; n < sectors; n++)
		memset(bytes + n * SECTOR_SIZE, (int)n, SECTOR_SIZE);
	if (pwrite(fd, bytes, sectors * SECTOR_SIZE, 0) != (ssize_t)(sectors * SECTOR_SIZE))
		abort();
	free(bytes);
	f->count = 1;
	f->file[0] =
		(struct disk_file){.fd = fd, .name = xstrdup("disk"), .format = "raw", .ro = ro};
	return disk_new(f, b->loop, &b->clock, err, sizeof(err));
}

/* Maps a device's region at that port. */
static inline void bench_port(struct bench *b, struct bus_region *r, gpa_t port)
{
	r->base = port;
	if (bus_map(&b->ports, r))
		abort();
}

static inline uint32_t in_port(struct bench *b, gpa_t port, unsigned size)
{
	return (uint32_t)bus_read(&b->ports, port, size);
}

static inline void out_port(struct bench *b, gpa_t port, unsigned size, uint32_t value)
{
	bus_write(&b->ports, port, size, value);
}

/* Requests to disks complete. */
static inline void settle(struct bench *b)
{
	pass(&b->clock, NSEC_PER_SEC / 10);
}

#endif
