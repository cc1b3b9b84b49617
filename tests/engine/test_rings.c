/*
 * test_rings.c - programs that go in and out of ring 0 by SYSCALL, SYSRET and IRET, on
 * translate and on interpret: registers, segments, vectors and memory must be the same.
 *
 *   test_rings [--samples N] [--seed N]
 *
 * User and kernel are loops that sum up what they see of flags and selectors; the masks
 * and flags that each sample has are random, and some of them are no ordinary case.
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

#define RAM     (64 * KiB)
#define TABLES  0x8000u
#define GDT     0x7000u
#define STACK   0x6000u
#define USER    0x1000u
#define KERNEL  0x2000u
#define ROUNDS  100u
#define SAMPLES 300u
#define PAGE    7u
#define GROUPS  (X86_GROUP_GPR | X86_GROUP_SEG | X86_GROUP_CR | X86_GROUP_FPU)
#define KINDS   (X86_FLAGS_ARITH | X86_IF | X86_DF | X86_ID | X86_IOPL)

struct machine {
	const struct engine_ops *ops;
	struct vm *vm;
	struct vcpu *v;
	struct bus_region ram;
};

static bool machine_new(struct machine *m, const struct engine_ops *ops)
{
	struct x86_model model;
	struct vm_config config = {
		.engine = ops, .ram_size = RAM, .vcpus = 1, .clock = CLOCK_HOST, .model = &model};
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

/* The first 64 KiB are where they are, for all. */
static void fill_tables(uint8_t *ram)
{
	uint64_t *pml4 = (uint64_t *)(void *)(ram + TABLES);

	pml4[0] = (TABLES + 0x1000) | PAGE;
	pml4[512] = (TABLES + 0x2000) | PAGE;
	pml4[1024] = (TABLES + 0x3000) | PAGE;
	for (unsigned n = 0; n < 16; n++)
		pml4[1536 + n] = (uint64_t)n << 12 | PAGE;
}

/* As SYSCALL and SYSRET expect it: code and data of ring 0; 32-bit code, data, code of ring 3. */
static void fill_gdt(uint8_t *ram)
{
	static const uint64_t gdt[] = {0, 0xaf9b000000ffff, 0xcf93000000ffff, 0xcffb000000ffff,
		0xcff3000000ffff, 0xaffb000000ffff};

	memcpy(ram + GDT, gdt, sizeof(gdt));
}

static const uint8_t user[] = {
	0x48, 0x01, 0xd0,             /* add rax, rdx */
	0x66, 0x0f, 0xd4, 0xc1,       /* paddq xmm0, xmm1 */
	0x0f, 0x05,                   /* syscall */
	0x48, 0x31, 0xcb,             /* xor rbx, rcx */
	0x4c, 0x31, 0xdb,             /* xor rbx, r11 */
	0x9c, 0x5f, 0x48, 0x01, 0xfe, /* pushfq; pop rdi; add rsi, rdi */
	0x8c, 0xd0, 0x48, 0x01, 0xc6, /* mov eax, ss; add rsi, rax */
	0x8c, 0xc8, 0x48, 0x01, 0xc6, /* mov eax, cs; add rsi, rax */
	0x66, 0x48, 0x0f, 0x6e, 0xce, /* movq xmm1, rsi */
	0xeb, 0xdb,                   /* jmp to the start */
};

static const uint8_t kernel[] = {
	0x9c, 0x41, 0x5f, 0x4d, 0x01, 0xf8, /* pushfq; pop r15; add r8, r15 */
	0x8c, 0xc8, 0x49, 0x01, 0xc1,       /* mov eax, cs; add r9, rax */
	0x8c, 0xd0, 0x49, 0x01, 0xc1,       /* mov eax, ss; add r9, rax */
	0x49, 0xff, 0xcc, 0x75, 0x01, 0xf4, /* dec r12; jnz; hlt */
};

static const uint8_t here[] = {
	0x48, 0x89, 0xe0,                               /* mov rax, rsp */
	0x8c, 0xd2, 0x52, 0x50, 0x9c,                   /* mov edx, ss; push rdx, rax, flags */
	0x48, 0x81, 0x34, 0x24, 0, 0, 0, 0,             /* xor qword [rsp], 0 */
	0x8c, 0xca, 0x52,                               /* mov edx, cs; push rdx */
	0x48, 0x8d, 0x15, 3, 0, 0, 0, 0x52, 0x48, 0xcf, /* lea rdx, next; push rdx; iretq */
	0x9c, 0x41, 0x5f, 0x4d, 0x01, 0xf8,             /* pushfq; pop r15; add r8, r15 */
};

static const uint8_t back[] = {
	0x4d, 0x31, 0xd3, /* xor r11, r10 */
	0x48, 0x0f, 0x07, /* sysretq */
};

static uint32_t random_flags(struct rng *r)
{
	uint32_t v = (uint32_t)rng_next(r) & KINDS;

	return rng_one_in(r, 8) ? v | X86_AC : rng_one_in(r, 8) ? v | X86_NT : v;
}

static void write_programs(uint8_t *ram, struct rng *r)
{
	uint8_t *to = ram + KERNEL;
	uint32_t flags = random_flags(r) & ~(X86_NT | X86_IOPL);

	memcpy(ram + USER, user, sizeof(user));
	memcpy(to, kernel, sizeof(kernel));
	to += sizeof(kernel);
	if (rng_one_in(r, 2)) {
		memcpy(to, here, sizeof(here));
		memcpy(to + 12, &flags, 4);
		to += sizeof(here);
	}
	if (rng_one_in(r, 2)) {
		memcpy(to, "\x66\x0f\xef\xd1", 4); /* pxor xmm2, xmm1 */
		to += 4;
	}
	memcpy(to, back, sizeof(back));
}

static struct x86_seg flat(unsigned sel, uint32_t type)
{
	return (struct x86_seg){.limit = UINT32_MAX,
		.attr = type | 3u << 5 | X86_ATTR_S | X86_ATTR_P | X86_ATTR_G |
			(type & 8 ? X86_ATTR_L : X86_ATTR_DB),
		.sel = (uint16_t)sel};
}

static void set_state(struct x86_state *s, struct rng *r)
{
	const uint32_t mxcsr = 0x1f80;

	x86_state_reset(s, 0);
	for (unsigned n = X86_ES; n <= X86_GS; n++)
		s->seg[n] = n == X86_CS ? flat(0x2b, 11) : flat(0x23, 3);
	s->cr0 = X86_CR0_PE | X86_CR0_PG | X86_CR0_NE | X86_CR0_MP;
	s->cr3 = TABLES;
	s->cr4 = X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT | X86_CR4_PSE | X86_CR4_PAE | X86_CR4_OSXSAVE;
	s->efer = X86_EFER_LME | X86_EFER_LMA | X86_EFER_SCE;
	s->xcr0 = 7;
	s->gdtr.base = GDT;
	s->gdtr.limit = 47;
	s->idtr.limit = 0;
	for (unsigned n = 0; n < X86_GPR_COUNT; n++)
		s->gpr[n] = rng_next(r);
	s->gpr[X86_RSP] = STACK;
	s->gpr[X86_R10] = random_flags(r);
	s->gpr[X86_R12] = 1 + rng_below(r, ROUNDS);
	s->msr[X86_MSR_STAR] = UINT64_C(0x18) << 48 | UINT64_C(8) << 32;
	s->msr[X86_MSR_LSTAR] = KERNEL;
	s->msr[X86_MSR_SFMASK] = rng_next(r) & (KINDS | X86_AC | X86_NT | X86_TF);
	s->rflags = (rng_next(r) & (X86_FLAGS_ARITH | X86_IF | X86_DF)) | X86_FLAGS_FIXED;
	s->rip = USER;
	memcpy(s->xsave + 24, &mxcsr, 4);
}

static enum run_exit run(
	struct machine *m, const uint8_t *ram, const struct x86_state *s, struct x86_state *end)
{
	struct run_result result = {.exit = RUN_BUDGET};

	memcpy(m->vm->ram.host, ram, RAM);
	m->ops->ram_changed(m->vm->engine, 0, RAM);
	m->ops->put(m->v, s, X86_GROUP_ALL);
	while (result.exit == RUN_BUDGET) {
		result = (struct run_result){0};
		m->ops->run(m->v, UINT64_MAX, &result);
	}
	m->ops->get(m->v, end, X86_GROUP_ALL);
	memset(end->xsave + 28, 0, 4); /* what MXCSR may hold: the host's */
	return result.exit;
}

static bool sample(struct machine *m, struct machine *oracle, struct rng *r, unsigned *halted)
{
	static uint8_t ram[RAM];
	struct x86_state s, a, b;
	enum run_exit exit;

	memset(ram, 0, sizeof(ram));
	fill_tables(ram);
	fill_gdt(ram);
	write_programs(ram, r);
	set_state(&s, r);
	exit = run(oracle, ram, &s, &b);
	*halted += exit == RUN_HALTED;
	if (run(m, ram, &s, &a) == exit && !x86_state_diff(&a, &b, GROUPS, NULL) &&
		!memcmp(m->vm->ram.host, oracle->vm->ram.host, RAM))
		return true;
	x86_state_diff(&a, &b, GROUPS, stdout);
	return false;
}

int main(int argc, char **argv)
{
	struct machine m, oracle;
	unsigned samples = SAMPLES, halted = 0, n = 0;
	uint64_t seed = 1;
	bool same = true;

	for (int k = 1; k + 1 < argc; k += 2) {
		if (!strcmp(argv[k], "--samples"))
			samples = (unsigned)strtoul(argv[k + 1], NULL, 0);
		if (!strcmp(argv[k], "--seed"))
			seed = strtoull(argv[k + 1], NULL, 0);
	}
	if (!machine_new(&m, &translate_engine) || !machine_new(&oracle, &interpret_engine))
		return 77;
	for (; n < samples && same; n++) {
		struct rng r = {seed + n};

		same = sample(&m, &oracle, &r, &halted);
	}
	if (!same)
		printf("differs: --seed %llu --samples 1\n", (unsigned long long)(seed + n - 1));
	printf("%u samples, %u to the end\n", n, halted);
	machine_free(&m);
	machine_free(&oracle);
	return same && halted > n / 2 ? 0 : 1;
}
