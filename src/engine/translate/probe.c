/*
 * probe.c - does translated code run here, and how fast? A loop in flat 32-bit
 * code on a machine of its own tells.
 *
 * What may stand in the way: a host that maps no memory executable.
 */
#include <stdio.h>
#include <string.h>

#include "core/vm.h"
#include "engine/translate/internal.h"
#include "engine/translate/translate.h"
#include "util/util.h"
#include "x86/state.h"

#define PROBE_RAM  4096u
#define ROUNDS     2000000u
#define LOOP_INSNS 4u

/* add eax, 3; xor edx, eax; dec ecx; jnz back; hlt */
static const uint8_t loop_code[] = {0x83, 0xc0, 0x03, 0x31, 0xc2, 0x49, 0x75, 0xf8, 0xf4};

#define DATA      3u  /* writable, accessed */
#define CODE      11u /* readable, accessed */
#define FLAT_ATTR (X86_ATTR_S | X86_ATTR_P | X86_ATTR_DB | X86_ATTR_G)

/* Protected mode, no paging. */
static int set_state(struct vcpu *v)
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
	s.gpr[X86_RCX] = ROUNDS;
	return translate_engine.put(v, &s, X86_GROUP_ALL & ~X86_GROUP_TSC);
}

/* Millions of instructions a second; 0: it does not work here. */
static double run_loop(struct vcpu *v)
{
	struct run_result r = {0};
	struct x86_state s;
	uint64_t start;

	if (set_state(v))
		return 0;
	start = monotonic_ns();
	translate_engine.run(v, UINT64_MAX, &r);
	start = monotonic_ns() - start;
	if (r.exit != RUN_HALTED || translate_engine.get(v, &s, X86_GROUP_GPR) ||
		s.gpr[X86_RAX] != 3 * ROUNDS)
		return 0;
	return (double)ROUNDS * LOOP_INSNS * 1e3 / (double)start;
}

static double measure(struct vm *vm)
{
	struct vcpu *v = vm->vcpu[0];
	double mips;

	memcpy(vm->ram.host, loop_code, sizeof(loop_code));
	if (translate_engine.vcpu_open(v))
		return 0;
	mips = run_loop(v);
	translate_engine.vcpu_close(v);
	return mips;
}

void translate_probe(struct engine_verdict *verdict)
{
	const struct vm_config config = {
		.engine = &translate_engine, .ram_size = PROBE_RAM, .vcpus = 1};
	char err[256];
	struct vm *vm = vm_new(&config, err, sizeof(err));
	struct bus_region ram;

	*verdict = (struct engine_verdict){.level = ENGINE_UNUSABLE};
	snprintf(verdict->why, sizeof(verdict->why), "translated code does not run here");
	snprintf(verdict->cure, sizeof(verdict->cure),
		"it needs memory that is executable, by way of memfd_create and mmap");
	if (!vm) {
		snprintf(verdict->why, sizeof(verdict->why), "%.190s", err);
		verdict->cure[0] = '\0';
		return;
	}
	ram = (struct bus_region){
		.name = "ram", .size = PROBE_RAM, .kind = BUS_RAM, .host = vm->ram.host};
	vm_lock(vm);
	bus_map(&vm->mem_bus, &ram);
	vm_unlock(vm);
	verdict->mips = measure(vm);
	vm_free(vm);
	if (!verdict->mips)
		return;
	verdict->level = ENGINE_READY;
	verdict->cure[0] = '\0';
	snprintf(verdict->why, sizeof(verdict->why), "our own translator, x86 to x86");
}
