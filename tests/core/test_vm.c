/*
 * test_vm.c - threads, kicks, pause, reset and the stopped world of vm.c, with
 * the engine that executes nothing. Run under the thread sanitizer too.
 */
#include "fake_engine.h"

#include <sched.h>
#include <string.h>
#include <unistd.h>

#include "test.h"
#include "util/util.h"

struct machine {
	struct vm *vm;
	pthread_t thread;
};

static void *run_loop(void *vm)
{
	vm_run(vm);
	return NULL;
}

static int set_running(void *ctx, struct vm *vm)
{
	struct x86_state s = {0};

	for (unsigned i = 0; i < vm->vcpus; i++) {
		s.events.run = X86_RUNNING;
		s.rflags = X86_IF;
		vcpu_put(vm->vcpu[i], &s, X86_GROUP_ALL);
	}
	return 0;
}

static void start(struct machine *m, unsigned vcpus, enum clock_driver clock)
{
	struct vm_config config = {
		.engine = &fake_engine, .ram_size = 64 * KiB, .vcpus = vcpus, .clock = clock};
	char err[256] = "";

	m->vm = vm_new(&config, err, sizeof(err));
	assert_string_equal(err, "");
	m->vm->boot = set_running;
	assert_int_equal(vm_start(m->vm, err, sizeof(err)), 0);
	assert_int_equal(pthread_create(&m->thread, NULL, run_loop, m->vm), 0);
}

static void finish(struct machine *m)
{
	vm_lock(m->vm);
	vm_end(m->vm, VM_END_QUIT, 0, "test over");
	vm_unlock(m->vm);
	pthread_join(m->thread, NULL);
	vm_free(m->vm);
}

static uint64_t turns(struct machine *m, unsigned cpu)
{
	return atomic_load(&fake_cpu(m->vm->vcpu[cpu])->turns);
}

static void wait_for_progress(struct machine *m, unsigned cpu)
{
	uint64_t from = turns(m, cpu);

	while (turns(m, cpu) == from)
		usleep(50);
}

static void test_two_machines_in_one_process(void **state)
{
	struct machine a, b;
	uint64_t at;

	start(&a, 2, CLOCK_HOST);
	start(&b, 1, CLOCK_HOST);
	wait_for_progress(&a, 1);
	wait_for_progress(&b, 0);
	vm_lock(a.vm);
	vm_pause(a.vm);
	at = turns(&a, 0);
	wait_for_progress(&b, 0); /* the other one goes on */
	assert_true(turns(&a, 0) == at);
	vm_resume(a.vm);
	vm_unlock(a.vm);
	finish(&b);
	wait_for_progress(&a, 0);
	finish(&a);
}

static void test_pause_resume_reset(void **state)
{
	struct machine m;

	start(&m, 3, CLOCK_HOST);
	for (unsigned i = 0; i < 1000; i++) {
		uint64_t at, now;

		vm_lock(m.vm);
		vm_pause(m.vm);
		at = turns(&m, i % 3);
		now = clock_now(&m.vm->clock);
		vm_unlock(m.vm);
		if (i % 64 == 0)
			usleep(100);
		vm_lock(m.vm);
		assert_true(turns(&m, i % 3) == at);
		assert_true(clock_now(&m.vm->clock) == now);
		if (i % 16 == 0)
			vm_request_reset(m.vm);
		vm_resume(m.vm);
		vm_unlock(m.vm);
	}
	wait_for_progress(&m, 2);
	finish(&m);
}

static void test_world_stop(void **state)
{
	struct machine m;

	start(&m, 4, CLOCK_HOST);
	wait_for_progress(&m, 3);
	for (unsigned i = 0; i < 1000; i++) {
		uint64_t at[4];

		vm_lock(m.vm);
		world_stop(m.vm);
		for (unsigned c = 0; c < 4; c++)
			at[c] = turns(&m, c);
		for (unsigned c = 0; c < 4; c++)
			assert_true(turns(&m, c) == at[c]);
		world_go(m.vm);
		vm_unlock(m.vm);
	}
	finish(&m);
}

static _Atomic unsigned deferred;

static void on_deferred(struct vcpu *v, void *ctx)
{
	assert_false(atomic_load(&v->inside));
	atomic_fetch_add(&deferred, 1);
}

/* Every kick leads out of run(), however soon it comes. */
static void test_kicks_are_sticky(void **state)
{
	struct machine m;

	atomic_store(&deferred, 0);
	start(&m, 1, CLOCK_HOST);
	for (unsigned i = 0; i < 1000; i++) {
		vm_lock(m.vm);
		vcpu_defer(m.vm->vcpu[0], on_deferred, NULL);
		vm_unlock(m.vm);
		while (atomic_load(&deferred) <= i)
			sched_yield();
	}
	finish(&m);
}

static bool halt_at_100(struct vcpu *v)
{
	return atomic_load(&fake_cpu(v)->turns) % 100 != 0;
}

static unsigned ticks;
static struct timer tick;

static void on_tick(void *ctx)
{
	struct vm *vm = ctx;

	ticks++;
	vcpu_set_intr(vm->vcpu[0], false);
	vcpu_set_intr(vm->vcpu[0], true);
	if (ticks < 50)
		timer_arm(&tick, clock_now(&vm->clock) + 1000000);
	else
		vm_end(vm, VM_END_POWEROFF, 0, "enough");
}

/* A halted vCPU sleeps; the instruction clock jumps to the deadline, exactly. */
static void test_instruction_clock(void **state)
{
	uint64_t end[2];

	for (unsigned i = 0; i < 2; i++) {
		struct vm_config config = {.engine = &fake_engine,
			.ram_size = 4 * KiB,
			.vcpus = 1,
			.clock = CLOCK_INSTRUCTIONS};
		char err[256] = "";
		struct vm *vm = vm_new(&config, err, sizeof(err));

		assert_non_null(vm);
		ticks = 0;
		fake_script = halt_at_100;
		vm->boot = set_running;
		timer_init(&tick, &vm->clock, on_tick, vm);
		timer_arm(&tick, 1000000);
		assert_int_equal(vm_start(vm, err, sizeof(err)), 0);
		vm_run(vm);
		assert_int_equal(vm->end, VM_END_POWEROFF);
		assert_int_equal(ticks, 50);
		end[i] = clock_now(&vm->clock);
		assert_true(end[i] >= 50 * 1000000 && end[i] < 51 * 1000000);
		vm_free(vm);
		fake_script = NULL;
	}
	assert_true(end[0] == end[1]);
}

static void test_config_errors_are_told(void **state)
{
	struct vm_config config = {.engine = &fake_engine, .ram_size = 4 * KiB, .vcpus = 17};
	char err[256] = "";

	assert_null(vm_new(&config, err, sizeof(err)));
	assert_non_null(strstr(err, "16"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_two_machines_in_one_process),
		cmocka_unit_test(test_pause_resume_reset),
		cmocka_unit_test(test_world_stop),
		cmocka_unit_test(test_kicks_are_sticky),
		cmocka_unit_test(test_instruction_clock),
		cmocka_unit_test(test_config_errors_are_told),
	};

	return cmocka_run_group_tests_name("vm", tests, NULL, NULL);
}
