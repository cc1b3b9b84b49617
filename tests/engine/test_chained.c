/*
 * test_chained.c - random code as a guest runs it, without lockstep: blocks are
 * chained, accesses share looks, own entries are filled and emptied. The end is
 * compared with interpret's: registers, vector state and all memory.
 *
 *   test_chained [--samples N] [--seed N]
 *
 * A third of the samples runs in ring 0, one in ring 3, where code is shared by all addresses
 * of its page, and one makes system calls, with a few random instructions in the kernel.
 *
 * Two machines have the same memory. Interpret goes first, step by step, by a
 * budget; a sample that does not end in it, or comes to an instruction that leaves
 * flags undefined, is not run by the other. AF may be undefined: nothing reads it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../insn/generate.h"
#include "core/vm.h"
#include "engine/interpret/interpret.h"
#include "engine/translate/translate.h"
#include "util/util.h"
#include "x86/model.h"

#define MEMORY  (1 * MiB)
#define TABLES  MEMORY /* behind what the guest can reach */
#define RAM     (MEMORY + 64 * KiB)
#define LENGTH  24u
#define BUDGET  400u
#define SAMPLES 4000u
#define PAGE    7u
#define GROUPS  (X86_GROUP_GPR | X86_GROUP_SEG | X86_GROUP_CR | X86_GROUP_FPU)

struct machine {
	const struct engine_ops *ops;
	struct vm *vm;
	struct vcpu *v;
	struct bus_region ram;
};

/* SYSCALL shows AF, too: with calls it has to be defined. */
static bool leaves_undefined(const struct x86_insn *i, bool calls)
{
	uint32_t undefined = x86_insn_table[i->entry].flags_undefined;
	uint32_t seen = calls ? X86_FLAGS_ARITH : X86_FLAGS_ARITH & ~X86_AF;

	return undefined & (seen | X86_FLAGS_BY_COUNT) || i->op == X86_OP_TZCNT ||
	       i->op == X86_OP_LZCNT || i->op == X86_OP_LAHF;
}

static bool wanted(void *ctx, const struct x86_insn *i)
{
	const struct x86_insn_desc *d = &x86_insn_table[i->entry];

	if (leaves_undefined(i, *(const bool *)ctx))
		return false;
	return d->class == X86_CLASS_PLAIN || i->op == X86_OP_J || i->op == X86_OP_JMP ||
	       i->op == X86_OP_CALL || i->op == X86_OP_RET;
}

static bool machine_new(struct machine *m, const struct engine_ops *ops, enum clock_driver clock)
{
	struct x86_model model;
	struct vm_config config = {
		.engine = ops, .ram_size = RAM, .vcpus = 1, .clock = clock, .model = &model};
	char err[256] = "no vCPU";

	if (x86_model_parse(&model, "max", false, err, sizeof(err)))
		x86_model_baseline(&model);
	m->ops = ops;
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
	return !ops->vcpu_open(m->v);
}

static void machine_free(struct machine *m)
{
	m->ops->vcpu_close(m->v);
	vm_free(m->vm);
}

/* Every 2 MiB of linear addresses are the same memory, in pages that are not in order. */
static void fill_tables(const struct machine *m)
{
	uint64_t *pml4 = (uint64_t *)(void *)(m->vm->ram.host + TABLES);
	uint64_t *pdpt = pml4 + 512, *pd = pdpt + 512, *pt = pd + 512;

	for (unsigned n = 0; n < 512; n++) {
		pml4[n] = (TABLES + 0x1000) | PAGE;
		pdpt[n] = (TABLES + 0x2000) | PAGE;
		pd[n] = (TABLES + 0x3000) | PAGE;
		pt[n] = (uint64_t)(n * 37 % 256) << 12 | PAGE;
	}
}

static struct x86_seg flat(uint32_t type, unsigned ring)
{
	bool code = type & 8;

	return (struct x86_seg){.limit = UINT32_MAX,
		.attr = type | X86_ATTR_S | X86_ATTR_P | X86_ATTR_G | ring << 5 |
			(code ? X86_ATTR_L : X86_ATTR_DB),
		.sel = (uint16_t)((code ? 8 : 16) | ring)};
}

/* Registers point into memory, often near the end of a page. */
static uint64_t random_value(struct rng *r)
{
	uint64_t v = rng_next(r);

	if (rng_one_in(r, 8))
		return v;
	return rng_one_in(r, 2) ? v & 0x1fffff : ((v & 0x1ff000) | 0xf00) + (v >> 32 & 0xff);
}

/* Values and tags of x87 registers, and a rounding and precision. */
static void set_x87(struct x86_state *s, struct rng *r)
{
	uint16_t fcw = (uint16_t)((rng_next(r) & 0xf00) | 0x7f);

	memcpy(s->xsave, &fcw, 2);
	s->xsave[3] = (uint8_t)(rng_next(r) & 0x7f); /* the upper half of the status: TOP */
	s->xsave[4] = (uint8_t)rng_next(r);
	for (unsigned n = 0; n < 8; n++)
		for (unsigned k = 0; k < 10; k++)
			s->xsave[32 + 16 * n + k] = (uint8_t)rng_next(r);
}

/* What SYSCALL and SYSRET need; now and then not all of it. */
static void set_gates(struct x86_state *s, struct rng *r, uint64_t kernel)
{
	s->msr[X86_MSR_STAR] = rng_next(r);
	s->msr[X86_MSR_LSTAR] = kernel;
	s->msr[X86_MSR_SFMASK] = rng_one_in(r, 4) ? rng_next(r) & UINT32_MAX : 0x257fd5;
	if (!rng_one_in(r, 16))
		s->efer |= X86_EFER_SCE;
	s->gpr[X86_RBX] = 1 + rng_below(r, 20);
}

static void set_state(struct x86_state *s, struct rng *r, unsigned ring)
{
	const uint32_t mxcsr = 0x1f80;

	x86_state_reset(s, 0);
	for (unsigned n = X86_ES; n <= X86_GS; n++)
		s->seg[n] = flat(n == X86_CS ? 11 : 3, ring);
	s->seg[X86_FS].base = rng_next(r) & 0xffff8;
	s->cr0 = X86_CR0_PE | X86_CR0_PG | X86_CR0_NE | X86_CR0_MP;
	s->cr3 = TABLES;
	s->cr4 = X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT | X86_CR4_PSE | X86_CR4_PAE | X86_CR4_OSXSAVE;
	s->efer = X86_EFER_LME | X86_EFER_LMA;
	s->xcr0 = 7;
	s->idtr.limit = 0;
	for (unsigned n = 0; n < X86_GPR_COUNT; n++)
		s->gpr[n] = random_value(r);
	s->rflags = (rng_next(r) & X86_FLAGS_ARITH) | X86_FLAGS_FIXED;
	memcpy(s->xsave + 24, &mxcsr, 4);
	if (rng_one_in(r, 2))
		set_x87(s, r);
}

static unsigned add_code(
	uint8_t *code, unsigned at, unsigned insns, struct rng *r, const struct generator *g)
{
	struct insn_case c;

	for (unsigned n = 0; n < insns && at < 200; n++) {
		generate_case(g, rng_next(r) >> 16, &c);
		memcpy(code + at, c.bytes, c.insn.len);
		at += c.insn.len;
	}
	return at;
}

/*
 * A loop of random instructions: RCX, if nothing changes it, says how often; RBX if it
 * makes system calls, which need RCX.
 */
static unsigned make_code(uint8_t *code, struct rng *r, const struct generator *g, bool calls)
{
	unsigned at = add_code(code, 0, calls ? rng_below(r, LENGTH / 2) : LENGTH, r, g);

	if (calls) {
		memcpy(code + at, "\x0f\x05", 2);
		at = add_code(code, at + 2, rng_below(r, LENGTH / 2), r, g);
	}
	memcpy(code + at, calls ? "\x48\xff\xcb\x0f\x85" : "\x48\xff\xc9\x0f\x85", 5);
	at += 9; /* dec; jnz to the start */
	memcpy(code + at - 4, &(int32_t){-(int32_t)at}, 4);
	code[at++] = 0xf4;
	return at;
}

/* The kernel's part: SYSRET behind a few instructions. */
static unsigned make_kernel(uint8_t *code, struct rng *r, const struct generator *g)
{
	unsigned at = add_code(code, 0, rng_below(r, 4), r, g);

	memcpy(code + at, "\x48\x0f\x07", 3);
	return at + 3;
}

/* Where linear addresses are: fill_tables. */
static uint64_t physical(uint64_t lin)
{
	return (lin >> 12 & 0x1ff) * 37 % 256 << 12 | (lin & 4095);
}

/* It may lie across the end of a page. */
static void write_code(struct machine *m, uint64_t lin, const uint8_t *code, unsigned len)
{
	for (unsigned n = 0; n < len; n++) {
		m->vm->ram.host[physical(lin + n)] = code[n];
		m->ops->ram_changed(m->vm->engine, physical(lin + n), 1);
	}
}

/* Jumps lead into the middle of instructions, so that anything may be there. */
static bool is_defined(const struct machine *m, uint64_t rip, bool calls)
{
	uint8_t code[X86_INSN_MAX];
	struct x86_insn i;

	for (unsigned n = 0; n < sizeof(code); n++)
		code[n] = m->vm->ram.host[physical(rip + n)];
	return x86_decode(code, X86_INSN_MAX, X86_MODE_64, &i) == X86_DECODE_OK &&
	       !leaves_undefined(&i, calls);
}

static enum run_exit run(
	struct machine *m, const struct x86_state *s, struct x86_state *end, bool calls)
{
	bool steps = m->ops == &interpret_engine;
	struct run_result result = {.exit = RUN_BUDGET};

	m->ops->put(m->v, s, X86_GROUP_ALL);
	end->rip = s->rip;
	for (unsigned n = 0; n < (steps ? BUDGET : 1) && result.exit == RUN_BUDGET; n++) {
		if (steps && !is_defined(m, end->rip, calls))
			break;
		result = (struct run_result){0};
		m->ops->run(m->v, steps ? 1 : UINT64_MAX, &result);
		m->ops->get(m->v, end, X86_GROUP_ALL);
	}
	end->rflags &= ~(uint64_t)X86_AF;
	memset(end->xsave + 28, 0, 4); /* what MXCSR may hold: the host's */
	return result.exit;
}

static void copy_memory(const struct machine *from, struct machine *to)
{
	memcpy(to->vm->ram.host, from->vm->ram.host, RAM);
	to->ops->ram_changed(to->vm->engine, 0, RAM);
}

static bool sample(
	struct machine *m, struct machine *oracle, struct rng *r, uint64_t seed, uint64_t *compared)
{
	bool calls = false;
	struct generator g = {.seed = seed, .mode = X86_MODE_64, .wanted = wanted, .ctx = &calls};
	struct x86_state s, a, b;
	uint8_t code[256], kernel[256];
	unsigned kind = rng_below(r, 3), len;
	unsigned more;
	uint64_t start = (uint64_t)rng_below(r, 256) << 12, gate = start ^ 0x80000;
	enum run_exit exit;

	calls = kind == 2;
	len = make_code(code, r, &g, calls);
	more = make_kernel(kernel, r, &g);
	if (rng_one_in(r, 2))
		start += 4096 - rng_below(r, len);
	set_state(&s, r, kind ? 3 : 0);
	s.rip = start;
	if (rng_one_in(r, 2))
		s.gpr[X86_RCX] = 1 + rng_below(r, 12);
	if (calls) {
		set_gates(&s, r, gate);
		write_code(oracle, gate, kernel, more);
		write_code(m, gate, kernel, more);
	}
	write_code(oracle, start, code, len);
	write_code(m, start, code, len);
	exit = run(oracle, &s, &b, calls);
	if (exit != RUN_HALTED && exit != RUN_SHUTDOWN) {
		copy_memory(oracle, m);
		return true;
	}
	++*compared;
	if (run(m, &s, &a, calls) == exit && !x86_state_diff(&a, &b, GROUPS, NULL) &&
		!memcmp(m->vm->ram.host, oracle->vm->ram.host, MEMORY))
		return true;
	x86_state_diff(&a, &b, GROUPS, stdout);
	for (unsigned n = 0; n < len; n++)
		printf("%02x%s", code[n], n % 16 == 15 || n + 1 == len ? "\n" : " ");
	return false;
}

int main(int argc, char **argv)
{
	uint64_t samples = SAMPLES, seed = 1, n, compared = 0;
	struct machine m = {0}, oracle = {0};
	bool good = true;

	for (int a = 1; a + 1 < argc; a += 2) {
		if (!strcmp(argv[a], "--samples"))
			samples = strtoull(argv[a + 1], NULL, 0);
		else if (!strcmp(argv[a], "--seed"))
			seed = strtoull(argv[a + 1], NULL, 0);
	}
	if (!machine_new(&m, &translate_engine, CLOCK_HOST) ||
		!machine_new(&oracle, &interpret_engine, CLOCK_INSTRUCTIONS))
		return 1;
	fill_tables(&m);
	fill_tables(&oracle);
	for (n = 0; n < samples && good; n++) {
		struct rng r = {(seed << 32) + n + 1};

		rng_next(&r);
		good = sample(&m, &oracle, &r, seed, &compared);
	}
	printf("%s%llu samples, %llu compared\n", good ? "" : "DIFFERENT in the last of ",
		(unsigned long long)n, (unsigned long long)compared);
	machine_free(&m);
	machine_free(&oracle);
	return !good;
}
