/*
 * test_step.c - the interpreter's step for other engines (engine/interpret/step.h):
 * one instruction at a time on a state that is handed over whole.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/vm.h"
#include "engine/interpret/interpret.h"
#include "engine/interpret/step.h"
#include "util/util.h"

#define CODE    0x7c00u
#define HANDLER 0x600u

struct machine {
	struct vm *vm;
	struct vcpu *v;
	struct bus_region ram;
	struct stepper *stepper;
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
	assert_int_equal(stepper_new(m->v, &m->stepper), 0);
	m->vm->ram.host[0x20 * 4 + 1] = HANDLER >> 8;
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

	stepper_free(m->stepper);
	vm_free(m->vm);
	free(m);
	return 0;
}

static void step(struct machine *m)
{
	m->r = (struct run_result){0};
	stepper_step(m->stepper, &m->s, &m->r);
}

static void one_instruction(void **state)
{
	struct machine *m = *state;
	const uint8_t code[] = {0x40, 0x43, 0xf4}; /* inc ax; inc bx; hlt */

	memcpy(m->vm->ram.host + CODE, code, sizeof(code));
	step(m);
	assert_int_equal(m->r.exit, RUN_BUDGET);
	assert_int_equal(m->s.gpr[X86_RAX], 1);
	assert_int_equal(m->s.rip, CODE + 1);
	step(m);
	assert_int_equal(m->s.gpr[X86_RBX], 1);
	step(m);
	assert_int_equal(m->r.exit, RUN_HALTED);
	assert_int_equal(m->s.rip, CODE + 3);
}

/* The other engine's guest changes its code, and the state is changed, unseen. */
static void keeps_nothing(void **state)
{
	struct machine *m = *state;
	uint8_t *code = m->vm->ram.host + CODE;

	code[0] = 0x40; /* inc ax */
	step(m);
	assert_int_equal(m->s.gpr[X86_RAX], 1);
	code[0] = 0x48; /* dec ax */
	m->s.rip = CODE;
	m->s.gpr[X86_RAX] = 9;
	step(m);
	assert_int_equal(m->s.gpr[X86_RAX], 8);
}

static void delivers_the_event(void **state)
{
	struct machine *m = *state;

	m->vm->ram.host[HANDLER] = 0x40; /* inc ax */
	m->s.events.type = X86_EVENT_INTR;
	m->s.events.vector = 0x20;
	step(m);
	assert_int_equal(m->s.events.type, X86_EVENT_NONE);
	assert_int_equal(m->s.rip, HANDLER + 1);
	assert_int_equal(m->s.gpr[X86_RAX], 1);
	assert_int_equal(m->s.gpr[X86_RSP], CODE - 6);
}

static void one_iteration(void **state)
{
	struct machine *m = *state;
	const uint8_t code[] = {0xf3, 0xaa}; /* rep stosb */

	memcpy(m->vm->ram.host + CODE, code, sizeof(code));
	m->s.gpr[X86_RCX] = 3;
	m->s.gpr[X86_RDI] = 0x9000;
	m->s.gpr[X86_RAX] = 0x55;
	step(m);
	assert_int_equal(m->s.gpr[X86_RCX], 2);
	assert_int_equal(m->s.rip, CODE);
	assert_int_equal(m->vm->ram.host[0x9000], 0x55);
	assert_int_equal(m->vm->ram.host[0x9001], 0);
}

static void triple_fault(void **state)
{
	struct machine *m = *state;

	m->vm->ram.host[CODE] = 0xcc;
	m->s.idtr.limit = 0;
	step(m);
	assert_int_equal(m->r.exit, RUN_SHUTDOWN);
}

static void tsc_goes_on_by_itself(void **state)
{
	struct machine *m = *state;
	const uint8_t code[] = {0x90, 0x0f, 0x30}; /* nop; wrmsr */

	memcpy(m->vm->ram.host + CODE, code, sizeof(code));
	m->s.tsc = 123456;
	step(m);
	assert_int_equal(m->s.tsc, 123456);
	m->s.gpr[X86_RCX] = 0x10;
	m->s.gpr[X86_RAX] = 0;
	m->s.gpr[X86_RDX] = 0x100;
	step(m);
	assert_int_equal(m->s.tsc >> 40, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(one_instruction),
		TEST(keeps_nothing),
		TEST(delivers_the_event),
		TEST(one_iteration),
		TEST(triple_fault),
		TEST(tsc_goes_on_by_itself),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
