/*
 * vcpu.c - a vCPU's kicks, its inside/outside state and the up calls of engines.
 *
 * The protocol of the stopped world: whoever holds vm->lock may store `inside`
 * = true; whoever leaves stores false and then looks at vm->world_waiting. A
 * stopper (holding vm->lock, so that nobody can enter) stores world_waiting
 * and then looks at `inside`. Both in sequentially consistent order.
 */
#include "core/vcpu.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "core/pvclock.h"
#include "core/run.h"
#include "core/vm.h"
#include "util/util.h"
#include "x86/cpuid.h"

const char *const exit_reason_name[EXIT_REASONS] = {
	[EXIT_PIO_IN] = "port in",
	[EXIT_PIO_OUT] = "port out",
	[EXIT_MMIO_READ] = "mmio read",
	[EXIT_MMIO_WRITE] = "mmio write",
	[EXIT_HLT] = "hlt",
	[EXIT_INTR] = "interrupt",
	[EXIT_INTR_WINDOW] = "interrupt window",
	[EXIT_CPUID] = "cpuid",
	[EXIT_MSR] = "msr",
	[EXIT_KICK] = "kick",
	[EXIT_SHUTDOWN] = "shutdown",
	[EXIT_DEBUG] = "debug",
	[EXIT_EMULATE] = "emulate",
	[EXIT_EXCEPTION] = "exception",
	[EXIT_NESTED_FAULT] = "nested page fault",
	[EXIT_HYPERCALL] = "hypercall",
	[EXIT_SYSTEM] = "system event",
	[EXIT_OTHER] = "other",
};

void vcpu_kick(struct vcpu *v)
{
	atomic_store_explicit(&v->kick_pending, true, memory_order_release);
	if (atomic_load(&v->inside))
		v->vm->engine->ops->kick(v);
}

void vcpu_enter(struct vcpu *v)
{
	atomic_store(&v->inside, true);
	vm_unlock(v->vm);
}

static void leave(struct vcpu *v)
{
	struct vm *vm = v->vm;

	atomic_store(&v->inside, false);
	if (!atomic_load(&vm->world_waiting))
		return;
	pthread_mutex_lock(&vm->world);
	pthread_cond_broadcast(&vm->world_cond);
	pthread_mutex_unlock(&vm->world);
}

void vcpu_leave(struct vcpu *v)
{
	leave(v);
	vm_lock(v->vm);
}

void vcpu_set_intr(struct vcpu *v, bool level)
{
	bool was;

	v->intr_level = level;
	if (v->intr_held)
		return;
	was = atomic_exchange(&v->intr_line, level);
	if (!level || was)
		return;
	vcpu_kick(v);
	pthread_cond_broadcast(&v->vm->wake);
}

void vcpu_nmi(struct vcpu *v)
{
	uint8_t n = atomic_load(&v->nmi_line);

	while (n < 2 && !atomic_compare_exchange_weak(&v->nmi_line, &n, n + 1))
		;
	vcpu_kick(v);
	pthread_cond_broadcast(&v->vm->wake);
}

bool vcpu_nmi_take(struct vcpu *v)
{
	uint8_t n = atomic_load_explicit(&v->nmi_line, memory_order_relaxed);

	while (n && !atomic_compare_exchange_weak(&v->nmi_line, &n, n - 1))
		;
	return n > 0;
}

void vcpu_nmi_merge(struct vcpu *v)
{
	uint8_t two = 2;

	atomic_compare_exchange_strong(&v->nmi_line, &two, 1);
}

void vcpu_defer(struct vcpu *v, void (*fn)(struct vcpu *v, void *ctx), void *ctx)
{
	v->deferred = fn;
	v->deferred_ctx = ctx;
	vcpu_kick(v);
}

int vcpu_get(struct vcpu *v, struct x86_state *s, unsigned mask)
{
	int err = v->vm->engine->ops->get(v, s, mask);

	if (!err && (mask & X86_GROUP_EVENTS)) {
		s->events.run = v->run;
		s->events.init_pending = v->init_pending;
		s->events.sipi_pending = v->sipi_pending;
		s->events.sipi_vector = v->sipi_vector;
	}
	return err;
}

int vcpu_put(struct vcpu *v, const struct x86_state *s, unsigned mask)
{
	if (mask & X86_GROUP_EVENTS) {
		v->run = s->events.run;
		v->init_pending = s->events.init_pending;
		v->sipi_pending = s->events.sipi_pending;
		v->sipi_vector = s->events.sipi_vector;
	}
	v->stuck = false;
	return v->vm->engine->ops->put(v, s, mask);
}

/* ---- up calls ---- */

void vcpu_count(struct vcpu *v, enum exit_reason reason, uint64_t nsec)
{
	v->stat[reason].count++;
	v->stat[reason].nsec += nsec;
}

/* Instructions of this run that are not in the clock yet. */
static uint64_t unaccounted(const struct vcpu *v)
{
	if (!v->running || v->vm->clock.driver != CLOCK_INSTRUCTIONS)
		return 0;
	/* An engine may go back: what it began is then executed anew. */
	return v->running->executed > v->accounted ? v->running->executed - v->accounted : 0;
}

void vcpu_account(struct vcpu *v)
{
	uint64_t n = unaccounted(v);

	if (!n)
		return;
	clock_advance(&v->vm->clock, n);
	v->accounted += n;
}

/* Begin and end of an up call that reaches devices: outside, with vm->lock. */
static uint64_t begin(struct vcpu *v)
{
	uint64_t start = v->vm->config.time_exits ? monotonic_ns() : 0;

	leave(v);
	vm_lock(v->vm);
	vcpu_account(v);
	return start;
}

static void end(struct vcpu *v, enum exit_reason reason, uint64_t start)
{
	vcpu_count(v, reason, start ? monotonic_ns() - start : 0);
	vcpu_enter(v);
}

static void trace(
	struct vcpu *v, enum exit_reason reason, uint64_t addr, unsigned size, uint64_t value)
{
	FILE *f = v->vm->config.trace;

	if (f)
		fprintf(f, "%" PRIu64 " cpu%u %s addr=%#" PRIx64 " size=%u value=%#" PRIx64 "\n",
			clock_now(&v->vm->clock), v->id, exit_reason_name[reason], addr, size,
			value);
}

void vcpu_trace_exit(struct vcpu *v, enum exit_reason reason)
{
	FILE *f = v->vm->config.trace;

	if (f)
		fprintf(f, "%" PRIu64 " cpu%u %s\n", clock_now(&v->vm->clock), v->id,
			exit_reason_name[reason]);
}

void vcpu_pio_in_string(struct vcpu *v, uint16_t port, unsigned size, void *buf, unsigned count)
{
	uint64_t start = begin(v);
	uint8_t *p = buf;

	for (unsigned i = 0; i < count; i++, p += size) {
		uint64_t value = bus_read(&v->vm->port_bus, port, size);

		memcpy(p, &value, size);
		trace(v, EXIT_PIO_IN, port, size, value);
	}
	end(v, EXIT_PIO_IN, start);
}

void vcpu_pio_out_string(
	struct vcpu *v, uint16_t port, unsigned size, const void *buf, unsigned count)
{
	uint64_t start = begin(v);
	const uint8_t *p = buf;

	for (unsigned i = 0; i < count; i++, p += size) {
		uint64_t value = 0;

		memcpy(&value, p, size);
		trace(v, EXIT_PIO_OUT, port, size, value);
		bus_write(&v->vm->port_bus, port, size, value);
	}
	end(v, EXIT_PIO_OUT, start);
}

uint32_t vcpu_pio_in(struct vcpu *v, uint16_t port, unsigned size)
{
	uint32_t value = 0;

	vcpu_pio_in_string(v, port, size, &value, 1);
	return value;
}

void vcpu_pio_out(struct vcpu *v, uint16_t port, unsigned size, uint32_t value)
{
	vcpu_pio_out_string(v, port, size, &value, 1);
}

uint64_t vcpu_mmio_read(struct vcpu *v, gpa_t gpa, unsigned size)
{
	uint64_t start = begin(v);
	uint64_t value;

	v->vm->accessing = v;
	value = bus_read(&v->vm->mem_bus, gpa, size);
	v->vm->accessing = NULL;
	trace(v, EXIT_MMIO_READ, gpa, size, value);
	end(v, EXIT_MMIO_READ, start);
	return value;
}

void vcpu_mmio_write(struct vcpu *v, gpa_t gpa, unsigned size, uint64_t value)
{
	uint64_t start = begin(v);

	trace(v, EXIT_MMIO_WRITE, gpa, size, value);
	v->vm->accessing = v;
	bus_write(&v->vm->mem_bus, gpa, size, value);
	v->vm->accessing = NULL;
	end(v, EXIT_MMIO_WRITE, start);
}

bool vcpu_alone(struct vcpu *v, bool (*fn)(void *ctx), void *ctx)
{
	uint64_t start = begin(v);
	bool result;

	world_stop(v->vm);
	result = fn(ctx);
	world_go(v->vm);
	end(v, EXIT_OTHER, start);
	return result;
}

uint8_t vcpu_intr_ack(struct vcpu *v)
{
	struct vm *vm = v->vm;
	uint64_t start = begin(v);
	int vector = vm->intr_ack ? vm->intr_ack(vm->intr_ack_ctx, v) : 0;

	end(v, EXIT_INTR, start);
	return (uint8_t)vector;
}

/* CPUID tells of an APIC only while IA32_APIC_BASE has it on (SDM vol. 3A 10.4.3). */
static bool apic_enabled(struct vcpu *v)
{
	const uint32_t apic_base = 0x1b;
	uint64_t base = 0, start = begin(v);
	bool has = v->vm->apic && !v->vm->apic->rdmsr(v->vm->apic_ctx, v, apic_base, &base);

	end(v, EXIT_CPUID, start);
	return has && base & BIT(11);
}

void vcpu_cpuid(struct vcpu *v, uint64_t cr4, uint64_t xcr0, uint32_t leaf, uint32_t subleaf,
	uint32_t out[4])
{
	const struct x86_cpuid_input in = {
		&v->vm->model, v->id, vm_cores(v->vm), (uint32_t)v->vm->tsc_hz, cr4, xcr0};

	if (leaf != 1)
		vcpu_count(v, EXIT_CPUID, 0);
	x86_cpuid(&in, leaf, subleaf, out);
	if (leaf == 1 && !apic_enabled(v))
		out[3] &= ~(uint32_t)BIT(9);
}

int vcpu_rdmsr(struct vcpu *v, uint32_t msr, uint64_t *value)
{
	struct vm *vm = v->vm;
	uint64_t start = begin(v);
	int err = vm->apic ? vm->apic->rdmsr(vm->apic_ctx, v, msr, value) : -ENOENT;

	end(v, EXIT_MSR, start);
	return err;
}

int vcpu_wrmsr(struct vcpu *v, uint32_t msr, uint64_t value)
{
	struct vm *vm = v->vm;
	uint64_t start = begin(v);
	int err = vm->apic ? vm->apic->wrmsr(vm->apic_ctx, v, msr, value) : -ENOENT;

	end(v, EXIT_MSR, start);
	return err;
}

uint8_t vcpu_cr8(struct vcpu *v)
{
	struct vm *vm = v->vm;
	uint64_t start = begin(v);
	uint8_t value = vm->apic ? vm->apic->cr8(vm->apic_ctx, v) : 0;

	end(v, EXIT_OTHER, start);
	return value;
}

void vcpu_set_cr8(struct vcpu *v, uint8_t value)
{
	struct vm *vm = v->vm;
	uint64_t start = begin(v);

	if (vm->apic)
		vm->apic->set_cr8(vm->apic_ctx, v, value);
	end(v, EXIT_OTHER, start);
}

void vcpu_set_ferr(struct vcpu *v, bool level)
{
	struct vm *vm = v->vm;
	uint64_t start = begin(v);

	if (vm->set_ferr)
		vm->set_ferr(vm->set_ferr_ctx, v, level);
	end(v, EXIT_OTHER, start);
}

static void wake(struct vcpu *v)
{
	v->stuck = false;
	vcpu_kick(v);
	pthread_cond_broadcast(&v->vm->wake);
}

void vcpu_init_ipi(struct vcpu *v)
{
	v->init_pending = true;
	v->sipi_pending = false;
	wake(v);
}

void vcpu_startup_ipi(struct vcpu *v, uint8_t vector)
{
	v->sipi_pending = true;
	v->sipi_vector = vector;
	wake(v);
}

uint64_t vcpu_random(struct vcpu *v)
{
	uint64_t r = 0;

	if (v->vm->clock.driver == CLOCK_HOST && getrandom(&r, sizeof(r), 0) == sizeof(r))
		return r;
	/* splitmix64 over the machine's own time: no two are the same, and every run has them */
	r = clock_now(&v->vm->clock) + ++v->randoms * UINT64_C(0x9e3779b97f4a7c15);
	r = (r ^ r >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	r = (r ^ r >> 27) * UINT64_C(0x94d049bb133111eb);
	return r ^ r >> 31;
}

uint64_t vcpu_tsc(struct vcpu *v)
{
	return clock_muldiv(clock_now(&v->vm->clock) + unaccounted(v), v->vm->tsc_hz, NSEC_PER_SEC);
}

/* ---- what KVM tells and does for its guests ---- */

void vcpu_clock_changed(struct vcpu *v, uint64_t tsc_offset, uint64_t system_time)
{
	struct vm *vm = v->vm;
	uint64_t start = begin(v);

	if (vm->apic)
		vm->apic->set_tsc_offset(vm->apic_ctx, v, tsc_offset);
	pvclock_write_time(vm, system_time, tsc_offset);
	end(v, EXIT_MSR, start);
}

void vcpu_wall_clock(struct vcpu *v, gpa_t gpa)
{
	uint64_t start = begin(v);

	pvclock_write_wall(v->vm, gpa);
	end(v, EXIT_MSR, start);
}

/* Numbers and errors as in Documentation/virt/kvm/x86/hypercalls.rst. */
#define HYPERCALL_SEND_IPI 10
#define HYPERCALL_UNKNOWN  ((uint64_t)-1000)

uint64_t vcpu_hypercall(struct vcpu *v, uint64_t number, const uint64_t arg[4], bool wide)
{
	const struct vm_apic *apic = v->vm->apic;
	uint64_t start = begin(v), result = HYPERCALL_UNKNOWN;

	if (number == HYPERCALL_SEND_IPI && apic)
		result = apic->send_ipis(
			v->vm->apic_ctx, (uint32_t)arg[2], arg, wide ? 64 : 32, (uint32_t)arg[3]);
	end(v, EXIT_HYPERCALL, start);
	return result;
}
