/* memory.c - guest RAM and checked access to it; see memory.h. */
#include "core/memory.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "util/util.h"

#define PAGE UINT64_C(4096)

static int map_shared(struct ram *ram)
{
	ram->fd = memfd_create("tinamou-ram", MFD_CLOEXEC);
	if (ram->fd < 0)
		return -errno;
	if (ftruncate(ram->fd, (off_t)ram->size))
		return -errno;
	ram->host = mmap(NULL, ram->size, PROT_READ | PROT_WRITE, MAP_SHARED, ram->fd, 0);
	return ram->host == MAP_FAILED ? -errno : 0;
}

int ram_alloc(struct ram *ram, uint64_t size, enum ram_backing backing)
{
	int err = 0;

	*ram = (struct ram){.size = size, .fd = -1};
	if (backing == RAM_SHARED) {
		err = map_shared(ram);
	} else {
		ram->host = mmap(NULL, size, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (ram->host == MAP_FAILED)
			err = -errno;
	}
	if (err) {
		ram->host = NULL;
		ram_free(ram);
	}
	return err;
}

void ram_free(struct ram *ram)
{
	if (ram->host)
		munmap(ram->host, ram->size);
	if (ram->fd >= 0)
		close(ram->fd);
	*ram = (struct ram){.fd = -1};
}

static bool readable(const struct bus_range *r)
{
	return r && (r->region->kind == BUS_RAM || r->region->kind == BUS_ROM);
}

static bool writable(const struct bus_range *r)
{
	return r && r->region->kind == BUS_RAM;
}

/* Is all of [gpa, gpa + len) in ranges that pass the test? */
static bool covered(
	const struct bus *bus, gpa_t gpa, uint64_t len, bool (*test)(const struct bus_range *r))
{
	if (len && range_bad(gpa, len))
		return false;
	while (len) {
		const struct bus_range *r = bus_find(bus, gpa);
		uint64_t n;

		if (!test(r))
			return false;
		n = MIN(len, r->size - (gpa - r->base));
		gpa += n;
		len -= n;
	}
	return true;
}

static uint8_t *host_of(const struct bus_range *r, gpa_t gpa)
{
	return r->region->host + r->off + (gpa - r->base);
}

/* Guest-sized, aligned: one access with acquire or release, so that no half is ever seen. */
#define COPY_ONE(type, dst, src)                                                                   \
	__atomic_store_n((type *)(dst), __atomic_load_n((const type *)(src), __ATOMIC_ACQUIRE),    \
		__ATOMIC_RELEASE)

static void copy(void *dst, const void *src, uint64_t len)
{
	uintptr_t both = (uintptr_t)dst | (uintptr_t)src | len;

	if (len == 8 && !(both & 7))
		COPY_ONE(uint64_t, dst, src);
	else if (len == 4 && !(both & 3))
		COPY_ONE(uint32_t, dst, src);
	else if (len == 2 && !(both & 1))
		COPY_ONE(uint16_t, dst, src);
	else if (len == 1)
		COPY_ONE(uint8_t, dst, src);
	else
		memcpy(dst, src, len);
}

int mem_read(struct guest_memory *m, gpa_t gpa, void *buf, uint64_t len)
{
	uint8_t *to = buf;

	if (!covered(m->bus, gpa, len, readable))
		return -EFAULT;
	while (len) {
		const struct bus_range *r = bus_find(m->bus, gpa);
		uint64_t n = MIN(len, r->size - (gpa - r->base));

		copy(to, host_of(r, gpa), n);
		to += n;
		gpa += n;
		len -= n;
	}
	return 0;
}

void mem_written(struct guest_memory *m, gpa_t gpa, uint64_t len)
{
	if (m->written && len)
		m->written(m->written_ctx, gpa, len);
}

int mem_write(struct guest_memory *m, gpa_t gpa, const void *buf, uint64_t len)
{
	const uint8_t *from = buf;
	gpa_t at = gpa;
	uint64_t left = len;

	if (!covered(m->bus, gpa, len, writable))
		return -EFAULT;
	while (left) {
		const struct bus_range *r = bus_find(m->bus, at);
		uint64_t n = MIN(left, r->size - (at - r->base));

		copy(host_of(r, at), from, n);
		from += n;
		at += n;
		left -= n;
	}
	mem_written(m, gpa, len);
	return 0;
}

int mem_fill(struct guest_memory *m, gpa_t gpa, uint8_t byte, uint64_t len)
{
	gpa_t at = gpa;
	uint64_t left = len;

	if (!covered(m->bus, gpa, len, writable))
		return -EFAULT;
	while (left) {
		const struct bus_range *r = bus_find(m->bus, at);
		uint64_t n = MIN(left, r->size - (at - r->base));

		memset(host_of(r, at), byte, n);
		at += n;
		left -= n;
	}
	mem_written(m, gpa, len);
	return 0;
}

int mem_discard(struct guest_memory *m, gpa_t gpa, uint64_t len)
{
	gpa_t first = (gpa + PAGE - 1) & ~(PAGE - 1), end = (gpa + len) & ~(PAGE - 1);
	uint8_t *host;

	if (range_bad(gpa, len) || first >= end)
		return range_bad(gpa, len) ? -EFAULT : 0;
	host = mem_ptr(m, first, end - first);
	if (!host)
		return -EFAULT;
	if (!m->ram || host < m->ram->host ||
		!range_in((uint64_t)(host - m->ram->host), end - first, m->ram->size) ||
		(uintptr_t)host & (PAGE - 1))
		return -EOPNOTSUPP;
	if (madvise(host, end - first, MADV_DONTNEED))
		return -errno;
	mem_written(m, first, end - first);
	return 0;
}

void *mem_ptr(struct guest_memory *m, gpa_t gpa, uint64_t len)
{
	const struct bus_range *r = bus_find(m->bus, gpa);

	if (!writable(r) || !range_in(gpa - r->base, len, r->size))
		return NULL;
	return host_of(r, gpa);
}
