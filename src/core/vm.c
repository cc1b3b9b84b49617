/* vm.c - a machine's life, its stopped world, pause, reset and snapshot; see vm.h. */
#include "core/vm.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "core/run.h"
#include "util/util.h"

/* How often a running vCPU is looked at for a jump to itself: at first, and at most. */
#define LOOK_FIRST_NS UINT64_C(10000000)
#define LOOK_MAX_NS   UINT64_C(200000000)

void vm_lock(struct vm *vm)
{
	pthread_mutex_lock(&vm->lock);
}

void vm_unlock(struct vm *vm)
{
	pthread_mutex_unlock(&vm->lock);
}

static void lock_for_loop(void *vm)
{
	vm_lock(vm);
}

static void unlock_for_loop(void *vm)
{
	vm_unlock(vm);
}

/* ---- the stopped world ---- */

static bool anyone_inside(const struct vm *vm)
{
	for (unsigned i = 0; i < vm->vcpus; i++)
		if (atomic_load(&vm->vcpu[i]->inside))
			return true;
	return false;
}

static void kick_all(struct vm *vm)
{
	for (unsigned i = 0; i < vm->vcpus; i++)
		vcpu_kick(vm->vcpu[i]);
}

void world_stop(struct vm *vm)
{
	if (!anyone_inside(vm))
		return;
	pthread_mutex_lock(&vm->world);
	atomic_store(&vm->world_waiting, true);
	kick_all(vm);
	while (anyone_inside(vm))
		pthread_cond_wait(&vm->world_cond, &vm->world);
	atomic_store(&vm->world_waiting, false);
	pthread_mutex_unlock(&vm->world);
}

void world_go(struct vm *vm)
{
	/* vm->lock kept everybody out; letting go of it is all there is to do. */
}

/* ---- the memory map ---- */

static void map_changing(void *ctx)
{
	world_stop(ctx);
}

#define HOST_PAGE UINT64_C(4096)

/* The whole pages of a range; what is left over reaches RAM through the bus. */
static bool slot_of_range(const struct bus_range *r, struct engine_slot *slot)
{
	gpa_t base = (r->base + HOST_PAGE - 1) & ~(HOST_PAGE - 1);
	gpa_t end = (r->base + r->size) & ~(HOST_PAGE - 1);

	if (r->region->kind == BUS_IO || base >= end)
		return false;
	*slot = (struct engine_slot){
		.base = base,
		.size = end - base,
		.host = r->region->host + r->off + (base - r->base),
		.readonly = r->region->kind == BUS_ROM,
	};
	return true;
}

static void map_changed(void *ctx)
{
	struct vm *vm = ctx;
	struct engine_slot *slot;
	unsigned n = 0;
	int err;

	if (vm->engine && vm->engine->ops->set_map) {
		slot = xcalloc(vm->mem_bus.ranges + 1, sizeof(*slot));
		for (unsigned i = 0; i < vm->mem_bus.ranges; i++)
			n += slot_of_range(&vm->mem_bus.range[i], &slot[n]);
		err = vm->engine->ops->set_map(vm->engine, slot, n);
		free(slot);
		if (err)
			vm_end(vm, VM_END_HOST_ERROR, 0, "engine %s refused the memory map: %s",
				vm->engine->ops->name, strerror(-err));
	}
	world_go(vm);
}

static void ram_written(void *ctx, gpa_t gpa, uint64_t len)
{
	struct vm *vm = ctx;

	if (vm->engine && vm->engine->ops->ram_changed)
		vm->engine->ops->ram_changed(vm->engine, gpa, len);
}

/* ---- life ---- */

/* The loop is asleep only if it sleeps for longer than the timer wants. */
static void wake_loop(void *ctx)
{
	struct vm *vm = ctx;

	if (clock_next_deadline(&vm->clock) < vm->sleeps_until)
		loop_nudge(vm->loop);
}

static void init_locks(struct vm *vm)
{
	pthread_mutex_init(&vm->lock, NULL);
	pthread_mutex_init(&vm->world, NULL);
	pthread_cond_init(&vm->world_cond, NULL);
	pthread_cond_init(&vm->wake, NULL);
	pthread_cond_init(&vm->idle, NULL);
}

/* vCPUs that look for work leave the host a CPU for those who bring it. */
static bool has_cpu_to_spare(const struct vm *vm)
{
	cpu_set_t host;

	return !sched_getaffinity(0, sizeof(host), &host) && (unsigned)CPU_COUNT(&host) > vm->vcpus;
}

static void add_vcpus(struct vm *vm)
{
	for (unsigned i = 0; i < vm->config.vcpus; i++) {
		struct vcpu *v = xcalloc(1, sizeof(*v));

		v->vm = vm;
		v->id = i;
		v->parked = true;
		vm->vcpu[vm->vcpus++] = v;
	}
}

static void init_buses(struct vm *vm)
{
	bus_init(&vm->mem_bus, "memory", 8);
	bus_init(&vm->port_bus, "port", 4);
	vm->mem_bus.changing = map_changing;
	vm->mem_bus.changed = map_changed;
	vm->mem_bus.hook_ctx = vm;
	vm->mem = (struct guest_memory){
		.bus = &vm->mem_bus, .written = ram_written, .written_ctx = vm};
}

struct vm *vm_new(const struct vm_config *config, char *err, size_t errlen)
{
	struct vm *vm = xcalloc(1, sizeof(*vm));

	vm->config = *config;
	if (config->model)
		vm->model = *config->model;
	else
		x86_model_baseline(&vm->model);
	vm->a20_mask = ~UINT64_C(0);
	vm->tsc_hz = config->tsc_hz ? config->tsc_hz : NSEC_PER_SEC;
	vm->ram.fd = -1;
	init_locks(vm);
	init_buses(vm);
	clock_init(&vm->clock, config->clock);
	vm->clock.rearmed = wake_loop;
	vm->clock.rearmed_ctx = vm;
	vm->loop = loop_new();
	if (!vm->loop) {
		snprintf(err, errlen, "cannot make an event loop: %s", strerror(errno));
		goto fail;
	}
	if (config->vcpus < 1 || config->vcpus > VM_MAX_VCPUS) {
		snprintf(err, errlen, "1 to %d vCPUs are possible, not %u", VM_MAX_VCPUS,
			config->vcpus);
		goto fail;
	}
	if (config->clock == CLOCK_INSTRUCTIONS && !(config->engine->caps & ENGINE_CAP_COUNTS)) {
		snprintf(err, errlen,
			"engine %s cannot count instructions; use --engine interpret for this "
			"clock",
			config->engine->name);
		goto fail;
	}
	if ((config->check || config->torture) && !(config->engine->caps & ENGINE_CAP_CHECKS)) {
		snprintf(err, errlen, "engine %s has nothing to check; use --engine translate",
			config->engine->name);
		goto fail;
	}
	if (ram_alloc(&vm->ram, config->ram_size, config->backing)) {
		snprintf(err, errlen, "the host has no room for %llu MiB of guest memory",
			(unsigned long long)(config->ram_size / MiB));
		goto fail;
	}
	if (config->backing == RAM_PRIVATE && !(config->engine->caps & ENGINE_CAP_PINS))
		vm->mem.ram = &vm->ram;
	if (config->engine->open(vm, &vm->engine, err, errlen))
		goto fail;
	add_vcpus(vm);
	vm->may_spin = has_cpu_to_spare(vm);
	return vm;
fail:
	vm_free(vm);
	return NULL;
}

static void stop_threads(struct vm *vm)
{
	vm_lock(vm);
	vm->stopping = true;
	kick_all(vm);
	pthread_cond_broadcast(&vm->wake);
	vm_unlock(vm);
	for (unsigned i = 0; i < vm->vcpus; i++)
		if (vm->vcpu[i]->thread_started)
			pthread_join(vm->vcpu[i]->thread, NULL);
}

static void close_turn_vcpus(struct vm *vm)
{
	if (!vm->started || vm->config.clock != CLOCK_INSTRUCTIONS)
		return;
	for (unsigned i = 0; i < vm->vcpus; i++)
		vm->engine->ops->vcpu_close(vm->vcpu[i]);
}

void vm_free(struct vm *vm)
{
	if (!vm)
		return;
	if (vm->engine)
		stop_threads(vm);
	close_turn_vcpus(vm);
	while (vm->devices) {
		struct device *dev = vm->devices;

		vm->devices = dev->next;
		dev->destroy(dev);
	}
	for (unsigned i = 0; i < vm->vcpus; i++)
		free(vm->vcpu[i]);
	if (vm->engine)
		vm->engine->ops->close(vm->engine);
	bus_destroy(&vm->mem_bus);
	bus_destroy(&vm->port_bus);
	ram_free(&vm->ram);
	loop_free(vm->loop);
	free(vm);
}

void vm_add_device(struct vm *vm, struct device *dev)
{
	struct device **p = &vm->devices;

	while (*p)
		p = &(*p)->next;
	dev->next = NULL;
	*p = dev;
}

/* ---- reset ---- */

static int reset_vcpu(struct vcpu *v)
{
	struct x86_state s;

	x86_state_reset(&s, v->vm->model.signature);
	s.events.run = v->id ? X86_WAIT_SIPI : X86_RUNNING;
	v->intr_level = false;
	atomic_store(&v->intr_line, false);
	atomic_store(&v->nmi_line, 0);
	return vcpu_put(v, &s, X86_GROUP_ALL & ~X86_GROUP_TSC);
}

/* vm->lock held, all vCPUs parked. */
static int do_reset(struct vm *vm)
{
	int err = 0;

	vm->reset_asked = false;
	for (struct device *dev = vm->devices; dev; dev = dev->next)
		if (dev->reset)
			dev->reset(dev);
	for (unsigned i = 0; i < vm->vcpus && !err; i++)
		err = reset_vcpu(vm->vcpu[i]);
	if (!err && vm->boot)
		err = vm->boot(vm->boot_ctx, vm);
	return err;
}

static bool all_parked(const struct vm *vm)
{
	for (unsigned i = 0; i < vm->vcpus; i++)
		if (!vm->vcpu[i]->parked)
			return false;
	return true;
}

static void wait_parked(struct vm *vm)
{
	kick_all(vm);
	while (!all_parked(vm))
		pthread_cond_wait(&vm->idle, &vm->lock);
}

void vm_pause(struct vm *vm)
{
	vm->pause_count++;
	wait_parked(vm);
	clock_stop(&vm->clock);
}

void vm_resume(struct vm *vm)
{
	if (--vm->pause_count)
		return;
	clock_go(&vm->clock);
	pthread_cond_broadcast(&vm->wake);
	loop_wake(vm->loop);
}

void vm_stop(struct vm *vm)
{
	vm->stop_asked = false;
	if (vm->stopped)
		return;
	vm->stopped = true;
	vm_pause(vm);
	if (vm->debugger)
		vm->debugger->stopped(vm->debugger_ctx);
}

void vm_cont(struct vm *vm)
{
	if (!vm->stopped)
		return;
	vm->stopped = false;
	vm_resume(vm);
}

void vm_request_stop(struct vm *vm)
{
	vm->stop_asked = true;
	kick_all(vm);
	loop_wake(vm->loop);
}

static void serve_reset(struct vm *vm)
{
	int err;

	if (vm->config.no_reboot) {
		vm->reset_asked = false;
		vm_end(vm, VM_END_RESET, 0, "the guest asked for a reset");
		return;
	}
	vm_pause(vm);
	err = do_reset(vm);
	vm_resume(vm);
	if (err)
		vm_end(vm, VM_END_HOST_ERROR, 0, "reset failed: %s", strerror(-err));
}

void vm_request_reset(struct vm *vm)
{
	vm->reset_asked = true;
	kick_all(vm);
	loop_wake(vm->loop);
}

void vm_end(struct vm *vm, enum vm_end end, int value, const char *fmt, ...)
{
	va_list ap;

	if (vm->end != VM_END_NONE)
		return;
	vm->end = end;
	vm->end_value = value;
	va_start(ap, fmt);
	vsnprintf(vm->end_why, sizeof(vm->end_why), fmt, ap);
	va_end(ap);
	kick_all(vm);
	loop_wake(vm->loop);
}

/* ---- start and run ---- */

static int start_thread(struct vcpu *v)
{
	int err = pthread_create(&v->thread, NULL, vcpu_thread, v);

	v->thread_started = !err;
	v->parked = false;
	return -err;
}

static int start_vcpu(struct vcpu *v)
{
	if (v->vm->config.clock == CLOCK_INSTRUCTIONS)
		return v->vm->engine->ops->vcpu_open(v);
	return start_thread(v);
}

/* vm->lock held. Threads make their vCPUs and park, since the machine is paused. */
static int start_vcpus(struct vm *vm)
{
	int err = 0;

	vm->pause_count++;
	for (unsigned i = 0; i < vm->vcpus && !err; i++)
		err = start_vcpu(vm->vcpu[i]);
	if (err)
		return err;
	wait_parked(vm);
	vm->started = true;
	if (vm->end != VM_END_NONE)
		return -EIO;
	err = do_reset(vm);
	return err || !vm->config.confine ? err : vm->config.confine(false);
}

int vm_start(struct vm *vm, char *err, size_t errlen)
{
	int rc;

	vm_lock(vm);
	vm->start_ns = monotonic_ns();
	rc = start_vcpus(vm);
	if (rc)
		snprintf(err, errlen, "%s", vm->end != VM_END_NONE ? vm->end_why : strerror(-rc));
	else
		vm_resume(vm);
	vm_unlock(vm);
	return rc;
}

/* Asks running vCPUs to be looked at, ever more seldom; returns when to ask again. */
static uint64_t look_at_vcpus(struct vm *vm)
{
	uint64_t since = monotonic_ns() - vm->start_ns;

	if (since < vm->next_look)
		return vm->next_look - since;
	vm->next_look = since + MAX(LOOK_FIRST_NS, MIN(since / 2, LOOK_MAX_NS));
	for (unsigned i = 0; i < vm->vcpus; i++) {
		if (vm->vcpu[i]->run != X86_RUNNING)
			continue;
		vm->vcpu[i]->look = true;
		vcpu_kick(vm->vcpu[i]);
	}
	return vm->next_look - since;
}

/* Host time until the loop has something to do. */
static uint64_t host_wait(struct vm *vm)
{
	uint64_t deadline = clock_next_deadline(&vm->clock);
	uint64_t now = clock_now(&vm->clock);
	uint64_t look = look_at_vcpus(vm);

	vm->sleeps_until = vm->pause_count ? CLOCK_NEVER : deadline;
	if (vm->sleeps_until == CLOCK_NEVER)
		return look;
	return MIN(look, deadline > now ? deadline - now : 0);
}

/* Nobody runs: time jumps to the next deadline; without one, wait for the outside. */
static uint64_t turn_wait(struct vm *vm)
{
	uint64_t deadline, now;

	vm->sleeps_until = CLOCK_NEVER;
	if (vm->pause_count)
		return LOOK_MAX_NS;
	if (run_turn(vm))
		return 0;
	deadline = clock_next_deadline(&vm->clock);
	now = clock_now(&vm->clock);
	if (deadline == CLOCK_NEVER)
		return LOOK_MAX_NS;
	if (deadline > now)
		clock_advance(&vm->clock, deadline - now);
	clock_run_timers(&vm->clock);
	return 0;
}

void vm_run(struct vm *vm)
{
	bool turns = vm->config.clock == CLOCK_INSTRUCTIONS;

	vm_lock(vm);
	while (vm->end == VM_END_NONE) {
		uint64_t wait;

		if (vm->stop_asked)
			vm_stop(vm);
		if (vm->reset_asked && !vm->pause_count) /* who paused wants it to stand still */
			serve_reset(vm);
		if (!turns && !vm->pause_count)
			clock_run_timers(&vm->clock);
		wait = turns ? turn_wait(vm) : host_wait(vm);
		if (vm->end != VM_END_NONE || vm->stop_asked ||
			(vm->reset_asked && !vm->pause_count))
			wait = 0;
		vm_unlock(vm);
		loop_poll(vm->loop, wait, lock_for_loop, unlock_for_loop, vm);
		vm_lock(vm);
		vm->sleeps_until = 0;
	}
	wait_parked(vm);
	clock_stop(&vm->clock);
	vm->run_ns = monotonic_ns() - vm->start_ns;
	vm_unlock(vm);
}

/* ---- snapshot ---- */

static void snap_clock(struct vm *vm, struct snap *s)
{
	uint64_t now = clock_now(&vm->clock);

	snap_section(s, "clock", 1);
	snap_u64(s, "now", &now);
	if (snap_loading(s) && !snap_error(s))
		clock_set(&vm->clock, now);
}

static void snap_vcpu(struct vcpu *v, struct snap *s)
{
	struct x86_state state;
	char name[16];

	memset(&state, 0, sizeof(state));
	snprintf(name, sizeof(name), "cpu%u", v->id);
	if (vcpu_get(v, &state, X86_GROUP_ALL)) {
		snap_fail(s, name, "its state cannot be read");
		return;
	}
	state.events.nmi_pending |= atomic_exchange(&v->nmi_line, 0) > 0;
	snap_section(s, name, 1);
	x86_state_snap(&state, s);
	if (!snap_loading(s) && state.events.nmi_pending)
		vcpu_put(v, &state, X86_GROUP_EVENTS); /* it waits in the engine from now on */
	if (snap_loading(s) && !snap_error(s) && vcpu_put(v, &state, X86_GROUP_ALL))
		snap_fail(s, name, "the engine refused its state");
}

/* All of them first: what completes changes other devices too. */
static void quiesce(struct vm *vm)
{
	for (struct device *dev = vm->devices; dev; dev = dev->next)
		if (dev->quiesce)
			dev->quiesce(dev);
}

void vm_snapshot(struct vm *vm, struct snap *s)
{
	if (!snap_loading(s))
		quiesce(vm);
	snap_clock(vm, s);
	for (struct device *dev = vm->devices; dev; dev = dev->next)
		if (dev->snap)
			dev->snap(dev, s);
	for (unsigned i = 0; i < vm->vcpus; i++)
		snap_vcpu(vm->vcpu[i], s);
	snap_section(s, "ram", 1);
	snap_bytes(s, "bytes", vm->ram.host, vm->ram.size);
	if (snap_loading(s))
		ram_written(vm, 0, vm->ram.size);
}
