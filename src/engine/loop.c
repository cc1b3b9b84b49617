/* loop.c - see loop.h. */
#include "engine/loop.h"

#include <stdio.h>
#include <string.h>

#include "core/vm.h"
#include "util/util.h"
#include "x86/state.h"

#define RAM_SIZE   4096u
#define LOOP_INSNS 4u

/* add eax, 3; xor edx, eax; dec ecx; jnz back; hlt */
static const uint8_t code[] = {0x83, 0xc0, 0x03, 0x31, 0xc2, 0x49, 0x75, 0xf8, 0xf4};

#define DATA      3u  /* writable, accessed */
#define CODE      11u /* readable, accessed */
#define FLAT_ATTR (X86_ATTR_S | X86_ATTR_P | X86_ATTR_DB | X86_ATTR_G)

/* Protected mode, no paging. */
static int enter(const struct engine_ops *engine, struct vcpu *v, uint32_t rounds)
{
	struct x86_state s;

	x86_state_reset(&s, 0);
	s.cr0 |= X86_CR0_PE;
	for (unsigned n = X86_ES; n <= X86_GS; n++)
		s.seg[n] = (struct x86_seg){.limit = UINT32_MAX,
			.attr = FLAT_ATTR | (n == X86_CS ? CODE : DATA),
			.sel = 8};
	s.rip = 0;
	s.gpr[X86_RAX] = 0;
	s.gpr[X86_RCX] = rounds;
	return engine->put(v, &s, X86_GROUP_ALL & ~X86_GROUP_TSC);
}

static double run(const struct engine_ops *engine, struct vcpu *v, uint32_t rounds)
{
	struct run_result r = {0};
	struct x86_state s;
	uint64_t start;

	if (enter(engine, v, rounds))
		return 0;
	start = monotonic_ns();
	engine->run(v, UINT64_MAX, &r);
	start = monotonic_ns() - start;
	if (r.exit != RUN_HALTED || engine->get(v, &s, X86_GROUP_GPR) ||
		s.gpr[X86_RAX] != (uint32_t)(3 * rounds))
		return 0;
	return (double)rounds * LOOP_INSNS * 1e3 / (double)start;
}

double engine_time_loop(const struct engine_ops *engine, uint32_t rounds, char *why, size_t whylen)
{
	const struct vm_config config = {.engine = engine, .ram_size = RAM_SIZE, .vcpus = 1};
	struct vm *vm = vm_new(&config, why, whylen);
	struct bus_region ram;
	double mips = 0;

	if (!vm)
		return 0;
	ram = (struct bus_region){
		.name = "ram", .size = RAM_SIZE, .kind = BUS_RAM, .host = vm->ram.host};
	vm_lock(vm);
	bus_map(&vm->mem_bus, &ram);
	vm_unlock(vm);
	memcpy(vm->ram.host, code, sizeof(code));
	if (!engine->vcpu_open(vm->vcpu[0])) {
		mips = run(engine, vm->vcpu[0], rounds);
		engine->vcpu_close(vm->vcpu[0]);
	}
	vm_free(vm);
	return mips;
}
