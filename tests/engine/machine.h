/*
 * machine.h - a machine of RAM alone and one vCPU of engine interpret, for tests
 * that run short real-mode programs.
 */
#ifndef TINAMOU_ENGINE_MACHINE_H
#define TINAMOU_ENGINE_MACHINE_H

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

/* model: as for --cpu-model, or NULL for the baseline. */
static inline struct machine *machine_new(const char *model)
{
	struct vm_config config = {.engine = &interpret_engine, .ram_size = 1 * MiB, .vcpus = 1};
	struct machine *m = xcalloc(1, sizeof(*m));
	struct x86_model parsed;
	char err[2048];

	if (model) {
		assert_int_equal(x86_model_parse(&parsed, model, false, err, sizeof(err)), 0);
		config.model = &parsed;
	}
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
	return m;
}

static inline void machine_free(struct machine *m)
{
	interpret_engine.vcpu_close(m->v);
	vm_free(m->vm);
	free(m);
}

static inline int setup(void **state)
{
	*state = machine_new(NULL);
	return 0;
}

static inline int teardown(void **state)
{
	machine_free(*state);
	return 0;
}

/* Runs code from the state m->s, which is then what came out. */
static inline void run(struct machine *m, const void *code, size_t len, uint64_t budget)
{
	vm_lock(m->vm);
	assert_int_equal(mem_write(&m->vm->mem, CODE, code, len), 0);
	vm_unlock(m->vm);
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

#endif
