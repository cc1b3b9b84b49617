/*
 * test_interpret.c - the run loop of engine interpret, by short real-mode
 * programs: budget, HLT, repeats, faults, traps and the triple fault's words.
 * Single instructions are judged by the real CPU in tests/insn.
 */
#include <errno.h>

#include "tests/engine/machine.h"

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

static void set_stop(struct machine *m, unsigned kind, uint64_t addr, uint8_t len)
{
	const struct debug_stop stop = {.addr = addr, .len = len, .kind = kind};

	assert_int_equal(interpret_engine.set_stops(m->v, &stop, 1), 0);
}

static void breakpoint_stops_before(void **state)
{
	struct machine *m = *state;

	set_stop(m, STOP_EXEC, CODE + 1, 0);
	RUN(m, UINT64_MAX, 0x40, 0x40, 0xf4); /* inc ax; inc ax; hlt */
	assert_int_equal(m->r.exit, RUN_DEBUG);
	assert_int_equal(m->r.debug_addr, CODE + 1);
	assert_int_equal(m->s.rip, CODE + 1);
	assert_int_equal(m->s.gpr[X86_RAX], 1);
	m->r = (struct run_result){0};
	interpret_engine.run(m->v, UINT64_MAX, &m->r);
	assert_int_equal(m->r.exit, RUN_DEBUG); /* it still stands there */
	m->r = (struct run_result){0};
	interpret_engine.step(m->v, &m->r); /* over it */
	assert_int_equal(m->r.exit, RUN_BUDGET);
	m->r = (struct run_result){0};
	interpret_engine.run(m->v, UINT64_MAX, &m->r);
	assert_int_equal(m->r.exit, RUN_HALTED);
	assert_int_equal(interpret_engine.set_stops(m->v, NULL, 0), 0);
	m->s.rip = CODE;
	RUN(m, UINT64_MAX, 0x40, 0x40, 0xf4);
	assert_int_equal(m->r.exit, RUN_HALTED);
}

static void watchpoint_stops_behind(void **state)
{
	struct machine *m = *state;

	set_stop(m, STOP_WRITE, 0x9002, 2);
	/* mov al, [9002h]; mov [9000h], ax; mov [9001h], ax; hlt */
	RUN(m, UINT64_MAX, 0xa0, 0x02, 0x90, 0xa3, 0x00, 0x90, 0xa3, 0x01, 0x90, 0xf4);
	assert_int_equal(m->r.exit, RUN_DEBUG);
	assert_int_equal(m->r.debug_addr, 0x9002);
	assert_int_equal(m->s.rip, CODE + 9);
	set_stop(m, STOP_ACCESS, 0x9002, 2);
	m->s.rip = CODE;
	RUN(m, UINT64_MAX, 0xa0, 0x02, 0x90, 0xf4);
	assert_int_equal(m->r.exit, RUN_DEBUG);
	assert_int_equal(m->s.rip, CODE + 3);
}

static void too_many_stops_are_refused(void **state)
{
	struct machine *m = *state;
	struct debug_stop stop[65] = {0};

	assert_int_equal(interpret_engine.set_stops(m->v, stop, 65), -ENOSPC);
}

/* Between a MOV SS and the next instruction the trap is a part of the state. */
static void held_breakpoint_is_state(void **state)
{
	struct machine *m = *state;

	m->s.dr[0] = 0x9000;
	m->s.dr[7] |= 1 | 3 << 16 | 1 << 18;     /* word, accessed */
	RUN(m, 1, 0x8e, 0x16, 0x00, 0x90, 0x40); /* mov ss, [9000h]; inc ax */
	assert_int_equal(m->s.rip, CODE + 4);
	assert_int_equal(m->s.events.db_held, 1);
	RUN(m, 1, 0x8e, 0x16, 0x00, 0x90, 0x40);
	assert_int_equal(m->s.events.db_held, 0);
	assert_int_equal(m->s.rip, HANDLER);
	assert_int_equal(m->s.dr[6] & 15, 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {TEST(halts_behind_hlt), TEST(budget_is_exact),
		TEST(repeat_stops_between_iterations), TEST(code_may_change_itself),
		TEST(fault_restarts), TEST(trap_wakes_from_hlt),
		TEST(pending_exception_comes_first), TEST(triple_fault_is_told),
		TEST(breakpoint_stops_before), TEST(watchpoint_stops_behind),
		TEST(too_many_stops_are_refused), TEST(held_breakpoint_is_state)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
