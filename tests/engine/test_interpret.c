/*
 * test_interpret.c - the run loop of engine interpret, by short real-mode
 * programs: budget, HLT, repeats, faults, traps and the triple fault's words.
 * Single instructions are judged by the real CPU in tests/insn.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/vm.h"
#include "engine/interpret/interpret.h"
#include "util/util.h"

#define CODE    0x7c00u
#define HANDLER 0x600u /* of every vector */

struct machine {
	struct vm *vm;
	struct vcpu *v;
	struct bus_region ram;
	struct x86_state s;
	struct run_result r;
};

static int setup(void **state)
{
	struct vm_config config = {.engine = &interpret_engine, .ram_size = 1 * MiB, .vcpus = 1};
	struct machine *m = xcalloc(1, sizeof(*m));
	char err[256];

	m->vm = vm_new(&config, err, sizeof(err));
	assert_non_null(m->vm);
	m->v = m->vm->vcpu[0];
	m->ram = (struct bus_region){
		.name = "ram", .size = 1 * MiB, .kind = BUS_RAM, .host = m->vm->ram.host};
	vm_lock(m->vm);
	assert_int_equal(bus_map(&m->vm->mem_bus, &m->ram), 0);
	vm_unlock(m->vm);
	assert_int_equal(interpret_engine.vcpu_open(m->v), 0);
	for (unsigned n = 0; n < 256; n++)
		m->vm->ram.host[n * 4 + 1] = HANDLER >> 8;
	x86_state_reset(&m->s, 0);
	x86_seg_real(&m->s.seg[X86_CS], 0, true);
	m->s.rip = CODE;
	m->s.gpr[X86_RSP] = CODE;
	*state = m;
	return 0;
}

static int teardown(void **state)
{
	struct machine *m = *state;

	interpret_engine.vcpu_close(m->v);
	vm_free(m->vm);
	free(m);
	return 0;
}

/* Runs code from the state m->s, which is then what came out. */
static void run(struct machine *m, const void *code, size_t len, uint64_t budget)
{
	memcpy(m->vm->ram.host + CODE, code, len);
	m->r = (struct run_result){0};
	assert_int_equal(interpret_engine.put(m->v, &m->s, X86_GROUP_ALL), 0);
	interpret_engine.run(m->v, budget, &m->r);
	assert_int_equal(interpret_engine.get(m->v, &m->s, X86_GROUP_ALL), 0);
}
#define RUN(m, budget, ...)                                                                        \
	do {                                                                                       \
		const uint8_t code[] = {__VA_ARGS__};                                              \
		run(m, code, sizeof(code), budget);                                                \
	} while (0)

static void halts_behind_hlt(void **state)
{
	struct machine *m = *state;

	RUN(m, UINT64_MAX, 0xb8, 0x34, 0x12, 0xf4); /* mov ax, 1234h; hlt */
	assert_int_equal(m->r.exit, RUN_HALTED);
	assert_int_equal(m->r.executed, 2);
	assert_int_equal(m->s.gpr[X86_RAX], 0x1234);
	assert_int_equal(m->s.rip, CODE + 4);
}

static void budget_is_exact(void **state)
{
	struct machine *m = *state;

	RUN(m, 1001, 0x40, 0xeb, 0xfd); /* again: inc ax; jmp again */
	assert_int_equal(m->r.exit, RUN_BUDGET);
	assert_int_equal(m->r.executed, 1001);
	assert_int_equal(m->s.gpr[X86_RAX], 501);
}

static void repeat_stops_between_iterations(void **state)
{
	struct machine *m = *state;

	m->s.gpr[X86_RCX] = 10;
	m->s.gpr[X86_RDI] = 0x9000;
	m->s.gpr[X86_RAX] = 0xaa;
	RUN(m, 4, 0xf3, 0xaa); /* rep stosb */
	assert_int_equal(m->s.gpr[X86_RCX], 6);
	assert_int_equal(m->s.gpr[X86_RDI], 0x9004);
	assert_int_equal(m->s.rip, CODE);
	assert_int_equal(m->vm->ram.host[0x9003], 0xaa);
	assert_int_equal(m->vm->ram.host[0x9004], 0);
}

static void code_may_change_itself(void **state)
{
	struct machine *m = *state;

	m->s.gpr[X86_RBX] = CODE;
	m->s.gpr[X86_RCX] = 2;
	/* again: inc ax; mov byte [bx], 48h (dec ax); loop again; hlt */
	RUN(m, UINT64_MAX, 0x40, 0xc6, 0x07, 0x48, 0xe2, 0xfa, 0xf4);
	assert_int_equal(m->s.gpr[X86_RAX], 0);
}

static void fault_restarts(void **state)
{
	struct machine *m = *state;

	RUN(m, 1, 0xf7, 0xf1); /* div cx, by zero */
	assert_int_equal(m->s.rip, HANDLER);
	assert_int_equal(m->vm->ram.host[CODE - 6] | m->vm->ram.host[CODE - 5] << 8, CODE);
}

static void trap_wakes_from_hlt(void **state)
{
	struct machine *m = *state;

	m->s.rflags |= X86_TF;
	RUN(m, 1, 0xf4);
	assert_int_equal(m->r.exit, RUN_BUDGET);
	assert_int_equal(m->s.rip, HANDLER);
}

static void pending_exception_comes_first(void **state)
{
	struct machine *m = *state;

	m->s.events.exc_pending = true;
	m->s.events.exc_vector = X86_UD;
	m->vm->ram.host[HANDLER] = 0xf4;
	RUN(m, 1, 0x90);
	assert_int_equal(m->r.exit, RUN_HALTED);
	assert_int_equal(m->s.rip, HANDLER + 1);
	assert_false(m->s.events.exc_pending);
}

static void triple_fault_is_told(void **state)
{
	struct machine *m = *state;

	m->s.idtr.limit = 0;
	RUN(m, UINT64_MAX, 0x0f, 0x0b); /* ud2 */
	assert_int_equal(m->r.exit, RUN_SHUTDOWN);
	assert_non_null(strstr(m->r.why, "#UD at 0000:00007c00"));
	assert_non_null(strstr(m->r.why, "#DF"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {TEST(halts_behind_hlt), TEST(budget_is_exact),
		TEST(repeat_stops_between_iterations), TEST(code_may_change_itself),
		TEST(fault_restarts), TEST(trap_wakes_from_hlt),
		TEST(pending_exception_comes_first), TEST(triple_fault_is_told)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
