/*
 * test_smp.c - two vCPUs of engine interpret at once on the same memory: LOCKed
 * instructions lose nothing, across a page and across lines either; code that one
 * writes while the other meets it for the first time is seen.
 */
#include <pthread.h>

#include "core/run.h"
#include "tests/engine/machine.h"

#define COUNTS 3000u
#define STACK  0x7000u
#define OTHER  0x7d00u /* code of the second vCPU */

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

static void start_at(struct vcpu *v, uint16_t rip, uint16_t place)
{
	struct x86_state s;

	x86_state_reset(&s, 0);
	x86_seg_real(&s.seg[X86_CS], 0, true);
	s.rip = rip;
	s.gpr[X86_RSP] = STACK;
	s.gpr[X86_RBX] = place;
	s.gpr[X86_RCX] = COUNTS;
	assert_int_equal(interpret_engine.put(v, &s, X86_GROUP_ALL), 0);
}

/* Both begin with BX = place, and end with HLT. */
static void run_both(struct vm *vm, uint16_t second, uint16_t place)
{
	pthread_t thread[2];
	void *exit;

	for (unsigned n = 0; n < 2; n++) {
		assert_int_equal(interpret_engine.vcpu_open(vm->vcpu[n]), 0);
		start_at(vm->vcpu[n], n ? second : CODE, place);
	}
	for (unsigned n = 0; n < 2; n++)
		assert_int_equal(pthread_create(&thread[n], NULL, run_vcpu, vm->vcpu[n]), 0);
	for (unsigned n = 0; n < 2; n++) {
		assert_int_equal(pthread_join(thread[n], &exit), 0);
		assert_int_equal((uintptr_t)exit, RUN_HALTED);
	}
	for (unsigned n = 0; n < 2; n++)
		interpret_engine.vcpu_close(vm->vcpu[n]);
}

static uint32_t count_at(uint16_t place)
{
	/* again: lock inc dword [bx]; loop again; hlt */
	static const uint8_t code[] = {0xf0, 0x66, 0xff, 0x07, 0xe2, 0xfa, 0xf4};
	struct bus_region ram;
	struct vm *vm = make_vm(&ram);
	uint32_t count;

	memcpy(vm->ram.host + CODE, code, sizeof(code));
	run_both(vm, CODE, place);
	memcpy(&count, vm->ram.host + place, sizeof(count));
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

/*
 * Functions `mov ax, 0; ret`, a line each. One vCPU says which it calls, and calls it; the other
 * makes it `mov ax, 1234h` just then, and says so: from there on it is that.
 */
static void code_is_seen_that_comes_at_its_first_use(void **state)
{
	/* 1: cmp [500h], bx; jne 1b; mov word [bx + 1], 1234h; mov [502h], bx; add bx, 64; jnz 1b
	 */
	static const uint8_t writer[] = {0x39, 0x1e, 0x00, 0x05, 0x75, 0xfa, 0xc7, 0x47, 0x01, 0x34,
		0x12, 0x89, 0x1e, 0x02, 0x05, 0x83, 0xc3, 0x40, 0x75, 0xec, 0xf4};
	/* 1: mov [500h], bx; call bx; 2: cmp [502h], bx; jne 2b; call bx; cmp ax, 1234h; jne 3f
	 * add bx, 64; jnz 1b; hlt; 3: mov byte [504h], 1; hlt */
	static const uint8_t caller[] = {0x89, 0x1e, 0x00, 0x05, 0xff, 0xd3, 0x39, 0x1e, 0x02, 0x05,
		0x75, 0xfa, 0xff, 0xd3, 0x3d, 0x34, 0x12, 0x75, 0x06, 0x83, 0xc3, 0x40, 0x75, 0xe8,
		0xf4, 0xc6, 0x06, 0x04, 0x05, 0x01, 0xf4};
	static const uint8_t function[] = {0xb8, 0x00, 0x00, 0xc3};
	const unsigned first = 0xe000;
	struct bus_region ram;
	struct vm *vm = make_vm(&ram);

	memcpy(vm->ram.host + CODE, writer, sizeof(writer));
	memcpy(vm->ram.host + OTHER, caller, sizeof(caller));
	for (unsigned at = first; at < 0x10000; at += 64)
		memcpy(vm->ram.host + at, function, sizeof(function));
	run_both(vm, OTHER, first);
	assert_int_equal(vm->ram.host[0x504], 0);
	vm_free(vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(locked_counts_are_whole),
		cmocka_unit_test(across_a_line), cmocka_unit_test(across_a_page),
		cmocka_unit_test(code_is_seen_that_comes_at_its_first_use)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
