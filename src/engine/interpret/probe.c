/*
 * probe.c - how fast is the software CPU here? A loop of a few hundred
 * thousand instructions on a machine of its own tells.
 */
#include <stdio.h>
#include <string.h>

#include "core/vm.h"
#include "engine/interpret/interpret.h"
#include "util/util.h"
#include "x86/state.h"

#define PROBE_RAM   4096u
#define PROBE_INSNS 400000u

/* Real mode: add eax, ebx; xor edx, eax; inc ecx; jmp back. */
static const uint8_t loop_code[] = {0x66, 0x01, 0xd8, 0x66, 0x31, 0xc2, 0x66, 0x41, 0xeb, 0xf6};

static int enter(struct vcpu *v)
{
	struct x86_state s;

	x86_state_reset(&s, 0);
	for (unsigned n = X86_ES; n <= X86_GS; n++)
		x86_seg_real(&s.seg[n], 0, n == X86_CS);
	s.rip = 0;
	return interpret_engine.put(v, &s, X86_GROUP_ALL & ~X86_GROUP_TSC);
}

/* Millions of instructions a second; 0: the machine could not be made. */
static double measure(struct vm *vm)
{
	struct vcpu *v = vm->vcpu[0];
	struct run_result r = {0};
	uint64_t start;
	double mips = 0;

	memcpy(vm->ram.host, loop_code, sizeof(loop_code));
	if (interpret_engine.vcpu_open(v))
		return 0;
	if (!enter(v)) {
		start = monotonic_ns();
		interpret_engine.run(v, PROBE_INSNS, &r);
		mips = (double)r.executed * 1e3 / (double)(monotonic_ns() - start);
	}
	interpret_engine.vcpu_close(v);
	return mips;
}

void interpret_probe(struct engine_verdict *verdict)
{
	const struct vm_config config = {
		.engine = &interpret_engine, .ram_size = PROBE_RAM, .vcpus = 1};
	char err[256];
	struct vm *vm = vm_new(&config, err, sizeof(err));
	struct bus_region ram;

	*verdict = (struct engine_verdict){.level = ENGINE_READY};
	snprintf(verdict->why, sizeof(verdict->why),
		"our own software CPU, works everywhere; the reference for all others");
	if (!vm) {
		verdict->level = ENGINE_UNUSABLE;
		snprintf(verdict->why, sizeof(verdict->why), "%.190s", err);
		return;
	}
	ram = (struct bus_region){
		.name = "ram", .size = PROBE_RAM, .kind = BUS_RAM, .host = vm->ram.host};
	vm_lock(vm);
	bus_map(&vm->mem_bus, &ram);
	vm_unlock(vm);
	verdict->mips = measure(vm);
	vm_free(vm);
}
