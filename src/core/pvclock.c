/*
 * pvclock.c - the structures of kvmclock in guest memory.
 *
 * System time is the virtual clock itself, so that all vCPUs compute the same
 * from their TSCs: the stable bit holds for good, and a page changes only when
 * its vCPU's TSC is written. Readers on other vCPUs go by the version: odd
 * while the rest changes.
 * Source: the kernel's Documentation/virt/kvm/x86/msr.rst. Lock: vm->lock.
 */
#include "core/pvclock.h"

#include "util/util.h"

#define ENABLED    UINT64_C(1)
#define TSC_STABLE 1u /* flags: readings of different vCPUs can be compared */

struct time_info {
	uint32_t version, pad0;
	uint64_t tsc_timestamp;
	uint64_t system_time; /* ns */
	uint32_t tsc_to_system_mul;
	int8_t tsc_shift;
	uint8_t flags, pad[2];
};

struct wall_clock {
	uint32_t version, sec, nsec;
};

/* ns = (ticks << shift, or >> -shift) * mul >> 32, with as many bits in mul as fit. */
static void set_scale(struct time_info *t, uint64_t tsc_hz)
{
	unsigned __int128 ns_per_tick = ((unsigned __int128)NSEC_PER_SEC << 64) / tsc_hz;

	t->tsc_shift = -31;
	while (ns_per_tick >> (32 + t->tsc_shift) > UINT32_MAX)
		t->tsc_shift++;
	t->tsc_to_system_mul = (uint32_t)(ns_per_tick >> (32 + t->tsc_shift));
}

/* Version first and last, each with the data behind or before it. */
static void publish(struct vm *vm, gpa_t gpa, void *info, uint32_t size)
{
	uint32_t *to = mem_ptr(&vm->mem, gpa, size), *from = info, even;

	if (!to || gpa & 3)
		return;
	even = (__atomic_load_n(&to[0], __ATOMIC_RELAXED) | 1) + 1;
	__atomic_store_n(&to[0], even - 1, __ATOMIC_SEQ_CST);
	for (unsigned n = 1; n < size / 4; n++)
		__atomic_store_n(&to[n], from[n], __ATOMIC_RELEASE);
	__atomic_store_n(&to[0], even, __ATOMIC_RELEASE);
	if (vm->mem.written)
		vm->mem.written(vm->mem.written_ctx, gpa, size);
}

void pvclock_write_time(struct vm *vm, uint64_t system_time, uint64_t tsc_offset)
{
	struct time_info t = {.tsc_timestamp = tsc_offset, .flags = TSC_STABLE};

	if (!(system_time & ENABLED))
		return;
	set_scale(&t, vm->tsc_hz); /* at tick tsc_offset the virtual clock was zero */
	publish(vm, system_time & ~ENABLED, &t, sizeof(t));
}

void pvclock_write_wall(struct vm *vm, gpa_t gpa)
{
	struct wall_clock w = {.sec = (uint32_t)vm->epoch};

	publish(vm, gpa, &w, sizeof(w));
}
