/* fixture.h - guest memory without a machine, and a made-up bzImage. */
#ifndef TINAMOU_TEST_BOOT_FIXTURE_H
#define TINAMOU_TEST_BOOT_FIXTURE_H

#include "tests/core/test.h"

#include <stdlib.h>

#include "boot/boot.h"
#include "boot/linux.h"
#include "boot/plan.h"

/* RAM as the pc board maps it: base, extended, above 4 GiB. */
struct fixture {
	struct bus bus;
	struct ram ram;
	struct bus_region region[3];
	struct guest_memory mem;
	struct boot_config config;
	struct x86_state state;
	char err[512];
};

static inline void fixture_region(
	struct fixture *f, unsigned n, gpa_t base, uint64_t from, uint64_t to)
{
	to = MIN(to, f->ram.size);
	if (from >= to)
		return;
	f->region[n] = (struct bus_region){.name = "RAM",
		.base = base,
		.size = to - from,
		.kind = BUS_RAM,
		.host = f->ram.host + from};
	assert_int_equal(bus_map(&f->bus, &f->region[n]), 0);
}

static inline struct fixture *fixture_new(uint64_t ram)
{
	struct fixture *f = xcalloc(1, sizeof(*f));

	bus_init(&f->bus, "memory", 8);
	assert_int_equal(ram_alloc(&f->ram, ram, RAM_PRIVATE), 0);
	f->mem.bus = &f->bus;
	fixture_region(f, 0, 0, 0, 0xa0000);
	fixture_region(f, 1, MiB, MiB, 3 * GiB);
	fixture_region(f, 2, 4 * GiB, 3 * GiB, UINT64_MAX);
	return f;
}

static inline void fixture_free(struct fixture *f)
{
	bus_destroy(&f->bus);
	ram_free(&f->ram);
	free(f);
}

static inline struct boot *fixture_boot(struct fixture *f)
{
	f->err[0] = '\0';
	return boot_new(&f->mem, &f->config, f->err, sizeof(f->err));
}

/* Plans and loads; state and memory are then as the kernel finds them. */
static inline void fixture_load(struct fixture *f)
{
	struct boot *b = fixture_boot(f);

	if (!b)
		fail_msg("%s", f->err);
	assert_int_equal(boot_load(b, &f->state), 0);
	boot_free(b);
}

static inline void fixture_refused(struct fixture *f, const char *word)
{
	struct boot *b = fixture_boot(f);

	if (b || !strstr(f->err, word))
		fail_msg("'%s' does not say '%s'", b ? "(started)" : f->err, word);
}

static inline uint64_t guest_field(struct fixture *f, gpa_t addr, unsigned size)
{
	uint64_t v = 0;

	assert_int_equal(mem_read(&f->mem, addr, &v, size), 0);
	return v;
}

#define BZ_SETUP 2048 /* three sectors of setup, and the boot sector */
#define BZ_CODE  8192
#define BZ_SIZE  (BZ_SETUP + BZ_CODE)

/* A kernel with a right header and no code. */
static inline void make_bzimage(uint8_t *k, bool is_64)
{
	memset(k, 0, BZ_SETUP);
	memset(k + BZ_SETUP, 0x90, BZ_CODE);
	k[HDR_SETUP_SECTS] = 3;
	put16(k + HDR_BOOT_FLAG, HDR_BOOT_FLAG_VALUE);
	k[HDR_JUMP] = 0xeb;
	k[HDR_JUMP + 1] = 0x66;
	put32(k + HDR_MAGIC, HDR_MAGIC_VALUE);
	put16(k + HDR_VERSION, 0x020f);
	k[HDR_LOADFLAGS] = HDR_LOADED_HIGH;
	put32(k + HDR_CODE32_START, 0x100000);
	put32(k + HDR_INITRD_MAX, 0x7fffffff);
	put32(k + HDR_KERNEL_ALIGNMENT, 0x200000);
	k[HDR_RELOCATABLE] = 1;
	put16(k + HDR_XLOADFLAGS, is_64 ? XLF_KERNEL_64 : 0);
	put32(k + HDR_CMDLINE_SIZE, 2047);
	put64(k + HDR_PREF_ADDRESS, 0x1000000);
	put32(k + HDR_INIT_SIZE, 0x2000000);
}

#endif
