/*
 * test_smp.c - two vCPUs of engine interpret at once on the same memory: LOCKed
 * instructions lose nothing, across a page and across lines either.
 */
#include <pthread.h>

#include "core/run.h"
#include "tests/engine/machine.h"

#define COUNTS 3000u

static struct vm *make_vm(struct bus_region *ram)
{
	struct vm_config config = {.engine = &interpret_engine, .ram_size = 1 * MiB, .vcpus = 2};
	char err[256];
	struct vm *vm = vm_new(&config, err, sizeof(err));

	assert_non_null(vm);
	*ram = (struct bus_region){
		.name = "ram", .size = 1 * MiB, .kind = BUS_RAM, .host = vm->ram.host};
	vm_lock(vm);
	assert_int_equal(bus_map(&vm->mem_bus, ram), 0);
	vm_unlock(vm);
	return vm;
}

/* As core's threads do it: vm->lock is held outside, and given up inside. */
static void *run_vcpu(void *arg)
{
	struct vcpu *v = arg;
	struct run_result r;

	vm_lock(v->vm);
	do {
		r = (struct run_result){0};
		atomic_store(&v->kick_pending, false);
		vcpu_enter(v);
		interpret_engine.run(v, UINT64_MAX, &r);
		vcpu_leave(v);
	} while (r.exit == RUN_KICKED);
	vm_unlock(v->vm);
	return (void *)(uintptr_t)r.exit;
}

static void start_at(struct vcpu *v, uint16_t place)
{
	struct x86_state s;

	x86_state_reset(&s, 0);
	x86_seg_real(&s.seg[X86_CS], 0, true);
	s.rip = CODE;
	s.gpr[X86_RBX] = place;
	s.gpr[X86_RCX] = COUNTS;
	assert_int_equal(interpret_engine.put(v, &s, X86_GROUP_ALL), 0);
}

static uint32_t count_at(uint16_t place)
{
	/* again: lock inc dword [bx]; loop again; hlt */
	static const uint8_t code[] = {0xf0, 0x66, 0xff, 0x07, 0xe2, 0xfa, 0xf4};
	struct bus_region ram;
	struct vm *vm = make_vm(&ram);
	pthread_t thread[2];
	uint32_t count;
	void *exit;

	memcpy(vm->ram.host + CODE, code, sizeof(code));
	for (unsigned n = 0; n < 2; n++) {
		assert_int_equal(interpret_engine.vcpu_open(vm->vcpu[n]), 0);
		start_at(vm->vcpu[n], place);
	}
	for (unsigned n = 0; n < 2; n++)
		assert_int_equal(pthread_create(&thread[n], NULL, run_vcpu, vm->vcpu[n]), 0);
	for (unsigned n = 0; n < 2; n++) {
		assert_int_equal(pthread_join(thread[n], &exit), 0);
		assert_int_equal((uintptr_t)exit, RUN_HALTED);
	}
	memcpy(&count, vm->ram.host + place, sizeof(count));
	for (unsigned n = 0; n < 2; n++)
		interpret_engine.vcpu_close(vm->vcpu[n]);
	vm_free(vm);
	return count;
}

static void locked_counts_are_whole(void **state)
{
	assert_int_equal(count_at(0x9000), 2 * COUNTS);
}

static void across_a_line(void **state)
{
	assert_int_equal(count_at(0x903e), 2 * COUNTS);
}

static void across_a_page(void **state)
{
	assert_int_equal(count_at(0x8ffe), 2 * COUNTS);
	assert_int_equal(count_at(0x8fff), 2 * COUNTS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(locked_counts_are_whole),
		cmocka_unit_test(across_a_line), cmocka_unit_test(across_a_page)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
