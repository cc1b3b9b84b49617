/*
 * test_translate.c - random code in lockstep: translated blocks against interpret.
 *
 *   test_translate [--samples N] [--seed N]
 *
 * Every linear address is a piece of the same memory, so that nearly all
 * accesses succeed, and code is written over. A sample is a run of random
 * plain instructions in 64-bit or flat 32-bit mode from a random state, or a loop of
 * them; it ends with HLT, a shutdown (there is no IDT) or its budget. The engine checks
 * itself (vm_config.check); a difference ends the run with RUN_FATAL.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../insn/generate.h"
#include "core/vm.h"
#include "engine/translate/translate.h"
#include "util/util.h"
#include "x86/model.h"

#define MEMORY  (4 * MiB)
#define TABLES  (4 * MiB) /* behind what the guest can reach */
#define RAM     (5 * MiB)
#define LENGTH  14u /* instructions of a sample, at most */
#define BUDGET  200u
#define SAMPLES 30000u
#define LARGE   0x83u /* present, writable, 2 or 4 MiB */

struct machine {
	struct vm *vm;
	struct vcpu *v;
	struct bus_region ram;
	struct x86_state s;
	uint64_t fatal, halted, shutdown, executed;
};

static bool plain(void *ctx, const struct x86_insn *i)
{
	const struct x86_insn_desc *d = &x86_insn_table[i->entry];

	return d->class == X86_CLASS_PLAIN || i->op == X86_OP_J || i->op == X86_OP_JMP ||
	       i->op == X86_OP_CALL || i->op == X86_OP_RET || i->op == X86_OP_RDFSBASE ||
	       i->op == X86_OP_RDGSBASE || i->op == X86_OP_WRFSBASE || i->op == X86_OP_WRGSBASE;
}

static bool machine_new(struct machine *m)
{
	struct x86_model model;
	struct vm_config config = {.engine = &translate_engine,
		.ram_size = RAM,
		.vcpus = 1,
		.clock = CLOCK_INSTRUCTIONS,
		.model = &model,
		.check = true};
	char err[256] = "no vCPU";

	if (x86_model_parse(&model, "max", false, err, sizeof(err)))
		x86_model_baseline(&model);
	m->vm = vm_new(&config, err, sizeof(err));
	if (!m->vm) {
		printf("%s\n", err);
		return false;
	}
	m->v = m->vm->vcpu[0];
	m->ram = (struct bus_region){
		.name = "ram", .size = RAM, .kind = BUS_RAM, .host = m->vm->ram.host};
	vm_lock(m->vm);
	bus_map(&m->vm->mem_bus, &m->ram);
	vm_unlock(m->vm);
	return !translate_engine.vcpu_open(m->v);
}

static void fill_tables(struct machine *m)
{
	uint64_t *pml4 = (uint64_t *)(void *)(m->vm->ram.host + TABLES);
	uint64_t *pdpt = pml4 + 512, *pd = pdpt + 512;
	uint32_t *dir = (uint32_t *)(void *)(m->vm->ram.host + TABLES + 0x10000);

	for (unsigned n = 0; n < 512; n++) {
		pml4[n] = (TABLES + 0x1000) | 3;
		pdpt[n] = (TABLES + 0x2000) | 3;
		pd[n] = (n & 1) * 2 * MiB | LARGE;
	}
	for (unsigned n = 0; n < 1024; n++)
		dir[n] = LARGE;
}

static uint64_t random_value(struct rng *r, bool wide)
{
	uint64_t v = rng_next(r);

	switch (rng_below(r, 5)) {
	case 0:
		return v & 0xff;
	case 1:
		return wide ? v : (uint32_t)v;
	case 2:
		return v & 0x3fffff;
	case 3:
		return wide ? (uint64_t)((int64_t)v >> 33) : (uint32_t)v;
	default:
		return wide ? v >> 18 : (uint32_t)v >> 4;
	}
}

static struct x86_seg flat(uint32_t type, bool wide)
{
	bool code = type & 8;

	return (struct x86_seg){.limit = UINT32_MAX,
		.attr = type | X86_ATTR_S | X86_ATTR_P | X86_ATTR_G |
			(code && wide ? X86_ATTR_L : X86_ATTR_DB),
		.sel = code ? 8 : 16};
}

/* Registers of x87 in any state, exceptions masked, but for one in eight. */
static void set_x87(struct x86_state *s, struct rng *r)
{
	uint16_t fcw = (uint16_t)((rng_next(r) & 0xf00) | (rng_one_in(r, 8) ? 0x6f : 0x7f));
	uint16_t fsw = (uint16_t)(rng_next(r) & 0x7f00);

	memcpy(s->xsave, &fcw, 2);
	memcpy(s->xsave + 2, &fsw, 2);
	s->xsave[4] = (uint8_t)rng_next(r); /* tags */
	for (unsigned n = 0; n < 8; n++)
		for (unsigned k = 0; k < 10; k++)
			s->xsave[32 + 16 * n + k] = (uint8_t)rng_next(r);
}

static void set_state(struct machine *m, struct rng *r, bool wide)
{
	struct x86_state *s = &m->s;
	const uint32_t mxcsr = 0x1f80;

	x86_state_reset(s, 0);
	for (unsigned n = X86_ES; n <= X86_GS; n++)
		s->seg[n] = flat(n == X86_CS ? 11 : 3, wide);
	s->seg[X86_FS].base = random_value(r, false);
	s->cr0 = X86_CR0_PE | X86_CR0_PG | X86_CR0_NE | X86_CR0_MP;
	s->cr3 = TABLES + (wide ? 0 : 0x10000);
	s->cr4 = X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT | X86_CR4_PSE |
		 (wide ? X86_CR4_PAE | X86_CR4_OSXSAVE | X86_CR4_FSGSBASE : 0u);
	if (rng_one_in(r, 8))
		s->cr4 &= ~(uint64_t)X86_CR4_OSFXSR; /* x87 and MMX alone */
	s->efer = wide ? X86_EFER_LME | X86_EFER_LMA : 0;
	s->xcr0 = wide ? 7 : 1;
	s->idtr.limit = 0;
	for (unsigned n = 0; n < X86_GPR_COUNT; n++)
		s->gpr[n] = random_value(r, wide);
	s->rflags = (rng_next(r) & X86_FLAGS_ARITH) | X86_FLAGS_FIXED;
	for (unsigned n = 160; n < 416; n++)
		s->xsave[n] = (uint8_t)rng_next(r);
	memcpy(s->xsave + 24, &mxcsr, 4);
	if (!rng_one_in(r, 4))
		set_x87(s, r);
}

/* Half of the samples are loops, as long as a random condition holds. */
static uint32_t put_end(struct machine *m, struct rng *r, uint32_t at)
{
	uint8_t *end = m->vm->ram.host + at;
	int32_t by = (int32_t)(m->s.rip - at) - 6;

	if (rng_one_in(r, 2)) {
		end[0] = 0x0f;
		end[1] = (uint8_t)(0x80 | rng_below(r, 16));
		memcpy(end + 2, &by, sizeof(by));
		at += 6;
	}
	m->vm->ram.host[at] = 0xf4;
	return at + 1;
}

static void put_code(struct machine *m, struct rng *r, const struct generator *g)
{
	uint32_t at = rng_below(r, 0x3f0000), length = 1 + rng_below(r, LENGTH);
	struct insn_case c;

	m->s.rip = at;
	for (unsigned n = 0; n < length; n++) {
		generate_case(g, rng_next(r) >> 16, &c);
		memcpy(m->vm->ram.host + at, c.bytes, c.insn.len);
		at += c.insn.len;
	}
	at = put_end(m, r, at);
	translate_engine.ram_changed(m->vm->engine, m->s.rip, at - m->s.rip);
}

static bool sample(struct machine *m, struct rng *r, uint64_t seed)
{
	bool wide = !rng_one_in(r, 3);
	struct generator g = {
		.seed = seed, .mode = wide ? X86_MODE_64 : X86_MODE_32, .wanted = plain};
	struct run_result result = {0};

	set_state(m, r, wide);
	put_code(m, r, &g);
	translate_engine.put(m->v, &m->s, X86_GROUP_ALL);
	translate_engine.run(m->v, BUDGET, &result);
	m->executed += result.executed;
	m->halted += result.exit == RUN_HALTED;
	m->shutdown += result.exit == RUN_SHUTDOWN;
	return result.exit != RUN_FATAL;
}

int main(int argc, char **argv)
{
	uint64_t samples = SAMPLES, seed = 1, n;
	struct machine m = {0};
	bool good = true;

	for (int a = 1; a + 1 < argc; a += 2) {
		if (!strcmp(argv[a], "--samples"))
			samples = strtoull(argv[a + 1], NULL, 0);
		else if (!strcmp(argv[a], "--seed"))
			seed = strtoull(argv[a + 1], NULL, 0);
	}
	if (!machine_new(&m))
		return 1;
	fill_tables(&m);
	for (n = 0; n < samples && good; n++) {
		struct rng r = {(seed << 32) + n + 1};

		rng_next(&r);
		good = sample(&m, &r, seed);
	}
	printf("%s%llu samples, %llu instructions; %llu halted, %llu shut down\n",
		good ? "" : "DIFFERENT in the last of ", (unsigned long long)n,
		(unsigned long long)m.executed, (unsigned long long)m.halted,
		(unsigned long long)m.shutdown);
	translate_engine.vcpu_close(m.v);
	vm_free(m.vm);
	return !good;
}
