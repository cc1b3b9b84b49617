/*
 * test_smc.c - code that changes code, on the software engines and in the modes
 * that make rare things frequent: the other block, the next instruction, the
 * instruction itself, across pages, by another address, by string and vector
 * stores, by the stack, by another vCPU. Intel's rule: a store is seen by the
 * next instruction of the same vCPU (SDM vol. 3A 9.1.3, 12.6).
 *
 * Each routine runs in 64-bit mode at CODE, does its change ROUNDS times and ends with
 * HLT, RAX being how often the new code was what ran.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "core/run.h"
#include "core/vm.h"
#include "engine/interpret/interpret.h"
#include "engine/translate/translate.h"
#include "util/util.h"

#define ROUNDS 500u
#define CODE   0x10ff0u /* the second page begins 16 bytes later */
#define STACK  0x20000u
#define TABLES 0x30000u
#define MAIL   0x40000u
#define ALIAS  (2 * MiB) /* all memory once more */
#define LARGE  0x83u

/* Each keeps RBX as the count; RCX is the round, and CL what the new code must give. */
#define ROUTINE(name, body)                                                                        \
	extern const uint8_t name[], name##_end[];                                                 \
	__asm__(".pushsection .rodata\n" #name ":\n" body "\n hlt\n" #name "_end:\n.popsection\n")
#define LOOP(body)                                                                                 \
	" xor %ebx, %ebx\n mov $500, %ecx\n"                                                       \
	"10: xor %eax, %eax\n" body "\n cmp %cl, %al\n jne 11f\n inc %ebx\n"                       \
	"11: dec %ecx\n jnz 10b\n mov %ebx, %eax\n"

ROUTINE(other_block, LOOP("mov %cl, 1f+1(%rip)\n call 1f") " hlt\n 1: mov $0, %al\n ret");
ROUTINE(next_instruction, LOOP("mov %cl, 1f+1(%rip)\n 1: mov $0, %al"));
ROUTINE(same_block, LOOP("mov %cl, 1f+1(%rip)\n mov %rcx, %rdx\n lea 1(%rdx), %rdx\n"
			 "add %rdx, %rsi\n 1: mov $0, %al"));
ROUTINE(earlier_block,
	LOOP("jmp 2f\n 1: mov $0, %al\n jmp 3f\n 2: mov %cl, 1b+1(%rip)\n jmp 1b\n 3:"));
/* The immediate of an ADD to itself: doubled each time. */
ROUTINE(itself, LOOP("movb $1, 2f-1(%rip)\n mov $7, %edx\n 1: addb $1, 2f-1(%rip)\n 2: dec %edx\n"
		     "jnz 1b\n movzbl 2b-1(%rip), %eax\n sub $128, %eax\n add %cl, %al"));
ROUTINE(across_pages, "jmp 5f\n .fill 13, 1, 0x90\n 1: .byte 0xb0\n 2: .byte 0\n ret\n"
		      "5:" LOOP("mov %cl, 2b(%rip)\n call 1b"));
ROUTINE(by_alias, LOOP("lea 1f+1(%rip), %rdx\n mov %cl, 0x200000(%rdx)\n call 1f") " hlt\n 1: mov "
										   "$0, %al\n ret");
ROUTINE(by_string, LOOP("lea 1f(%rip), %rdi\n lea 2f(%rip), %rsi\n mov %cl, 1(%rsi)\n mov %ecx, "
			"%edx\n mov $3, %ecx\n"
			"rep movsb\n mov %edx, %ecx\n call 1f") " hlt\n 1: nop\n nop\n nop\n 2: "
								"mov $0, %al\n ret");
ROUTINE(by_vector,
	LOOP("movd %ecx, %xmm0\n psllw $8, %xmm0\n movd 1f(%rip), %xmm1\n pcmpeqb %xmm2, %xmm2\n"
	     "movzbl %cl, %edx\n shl $8, %edx\n or $0xc300b0, %edx\n movd %edx, %xmm3\n"
	     "movss %xmm3, 1f(%rip)\n call 1f") " hlt\n 1: mov $0, %al\n ret\n nop");
ROUTINE(by_exchange,
	LOOP("mov %cl, %dl\n lock xchg %dl, 1f+1(%rip)\n call 1f") " hlt\n 1: mov $0, %al\n ret");
/* The stack lies in the page of the code, and RSP at what is changed. */
ROUTINE(by_push, LOOP("mov %rsp, %rbp\n lea 2f(%rip), %rsp\n mov $0xc300b0, %edx\n mov %cl, %dh\n"
		      "push %rdx\n mov %rbp, %rsp\n call 1f") " hlt\n 1: .quad 0\n 2:");
/* A static key: a jump becomes a NOP and a jump again, by way of INT3 as Linux does it. */
ROUTINE(static_key, LOOP("movb $0xcc, 1f(%rip)\n test $1, %cl\n jz 2f\n movl $0x00441f0f, %edx\n"
			 "mov %edx, 3f(%rip)\n movl $0x0000441f, 1f+1(%rip)\n movb $0x0f, "
			 "1f(%rip)\n jmp 1f\n"
			 "2: movl $(5f-4f), 1f+1(%rip)\n movb $0xe9, 1f(%rip)\n"
			 "1: .byte 0xe9\n .long 5f-4f\n 4: mov $1, %al\n jmp 6f\n 5: xor %eax, "
			 "%eax\n"
			 "6: mov %cl, %dl\n and $1, %dl\n cmp %dl, %al\n jne 7f\n mov %cl, %al\n "
			 "7:") " hlt\n 3: .long 0");
/* Data beside code: no change of code, but a store to its page. */
ROUTINE(beside_data,
	LOOP("mov %cl, 9f(%rip)\n call 1f") " hlt\n 1: mov 9f(%rip), %al\n ret\n 9: .byte 0");

/* Of two vCPUs: one calls what the other changes, until that is seen and RCX is 0. */
ROUTINE(changer, "mov $6, %ecx\n 1: mov %cl, callee_at+1\n 2: pause\n cmp %cl, mail_at\n jne 2b\n"
		 "dec %ecx\n jnz 1b\n movb $1, mail_at+1\n mov $500, %eax");
ROUTINE(caller, "1: mov $callee_at, %edx\n call *%rdx\n mov %al, mail_at\n cmpb $0, mail_at+1\n je "
		"1b\n mov $500, %eax");
__asm__(".set callee_at, 0x18000\n.set mail_at, 0x40000\n");
static const uint8_t callee[] = {0xb0, 0, 0xc3}; /* mov al, 0; ret */
#define CALLEE 0x18000u
#define OTHER  0x1a000u /* where the second vCPU's code is */

/* ---- the machine ---- */

struct mode {
	const struct engine_ops *engine;
	const char *torture;
	bool check;
};
static const struct mode modes[] = {{&interpret_engine, NULL, false},
	{&translate_engine, NULL, false}, {&translate_engine, NULL, true},
	{&translate_engine, "block=1", false}, {&translate_engine, "flush=3,evict=3", false},
	{&translate_engine, "miss=3", false}, {&translate_engine, "signals=100", false}};

static struct vm *make_vm(const struct mode *mode, struct bus_region *ram, unsigned cpus)
{
	struct vm_config config = {.engine = mode->engine,
		.ram_size = 1 * MiB,
		.vcpus = cpus,
		.torture = mode->torture,
		.check = mode->check,
		.clock = mode->check ? CLOCK_INSTRUCTIONS : CLOCK_HOST};
	char err[256] = "";
	struct vm *vm = vm_new(&config, err, sizeof(err));
	uint64_t table[3] = {(TABLES + 0x1000) | 3, (TABLES + 0x2000) | 3, LARGE};

	assert_non_null(vm);
	*ram = (struct bus_region){
		.name = "ram", .size = 1 * MiB, .kind = BUS_RAM, .host = vm->ram.host};
	vm_lock(vm);
	assert_int_equal(bus_map(&vm->mem_bus, ram), 0);
	vm_unlock(vm);
	for (unsigned n = 0; n < 3; n++)
		memcpy(vm->ram.host + TABLES + n * 0x1000, &table[n], 8);
	memcpy(vm->ram.host + TABLES + 0x2008, &table[2], 8);
	return vm;
}

static struct x86_seg flat(bool code)
{
	return (struct x86_seg){.limit = UINT32_MAX,
		.sel = code ? 8 : 16,
		.attr = X86_ATTR_S | X86_ATTR_P | X86_ATTR_G |
			(code ? 11 | X86_ATTR_L : 3 | X86_ATTR_DB)};
}

static void put_state(const struct mode *mode, struct vcpu *v, uint64_t rip)
{
	const uint32_t mxcsr = 0x1f80;
	struct x86_state s;

	x86_state_reset(&s, 0);
	for (unsigned n = X86_ES; n <= X86_GS; n++)
		s.seg[n] = flat(n == X86_CS);
	s.cr0 = X86_CR0_PE | X86_CR0_PG | X86_CR0_NE | X86_CR0_MP;
	s.cr3 = TABLES;
	s.cr4 = X86_CR4_PAE | X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT;
	s.efer = X86_EFER_LME | X86_EFER_LMA;
	s.rip = rip;
	s.gpr[X86_RSP] = STACK - 0x1000 * v->id;
	memcpy(s.xsave + 24, &mxcsr, 4);
	assert_int_equal(mode->engine->vcpu_open(v), 0);
	assert_int_equal(mode->engine->put(v, &s, X86_GROUP_ALL), 0);
}

/* As core's threads do it: vm->lock is held outside, and given up inside. */
static void *run_vcpu(void *arg)
{
	struct vcpu *v = arg;
	const struct engine_ops *engine = v->vm->engine->ops;
	struct x86_state s;
	struct run_result r;

	vm_lock(v->vm);
	do {
		r = (struct run_result){0};
		atomic_store(&v->kick_pending, false);
		vcpu_enter(v);
		engine->run(v, v->vm->config.check ? 10000000 : UINT64_MAX, &r);
		vcpu_leave(v);
	} while (r.exit == RUN_KICKED);
	vm_unlock(v->vm);
	engine->get(v, &s, X86_GROUP_GPR);
	return (void *)(uintptr_t)(r.exit == RUN_HALTED ? s.gpr[X86_RAX] : 10000 + r.exit);
}

static void judge(const struct mode *mode, uint64_t count)
{
	if (count != ROUNDS)
		fail_msg("%s %s%s: %llu of %u", mode->engine->name,
			mode->torture ? mode->torture : "", mode->check ? "check" : "",
			(unsigned long long)count, ROUNDS);
}

static void alone(const struct mode *mode, const uint8_t *code, const uint8_t *end)
{
	struct bus_region ram;
	struct vm *vm = make_vm(mode, &ram, 1);

	memcpy(vm->ram.host + CODE, code, (size_t)(end - code));
	put_state(mode, vm->vcpu[0], CODE);
	judge(mode, (uintptr_t)run_vcpu(vm->vcpu[0]));
	mode->engine->vcpu_close(vm->vcpu[0]);
	vm_free(vm);
}

#define CASE(name)                                                                                 \
	static void test_##name(void **state)                                                      \
	{                                                                                          \
		for (unsigned n = 0; n < ARRAY_SIZE(modes); n++)                                   \
			alone(&modes[n], name, name##_end);                                        \
	}
CASE(other_block)
CASE(next_instruction)
CASE(same_block)
CASE(earlier_block)
CASE(itself)
CASE(across_pages)
CASE(by_alias)
CASE(by_string)
CASE(by_vector)
CASE(by_exchange)
CASE(by_push)
CASE(static_key)
CASE(beside_data)

static void together(const struct mode *mode)
{
	struct bus_region ram;
	struct vm *vm = make_vm(mode, &ram, 2);
	pthread_t thread[2];
	void *count;

	memcpy(vm->ram.host + CODE, changer, (size_t)(changer_end - changer));
	memcpy(vm->ram.host + OTHER, caller, (size_t)(caller_end - caller));
	memcpy(vm->ram.host + CALLEE, callee, sizeof(callee));
	put_state(mode, vm->vcpu[0], CODE);
	put_state(mode, vm->vcpu[1], OTHER);
	for (unsigned n = 0; n < 2; n++)
		assert_int_equal(pthread_create(&thread[n], NULL, run_vcpu, vm->vcpu[n]), 0);
	for (unsigned n = 0; n < 2; n++) {
		assert_int_equal(pthread_join(thread[n], &count), 0);
		judge(mode, (uintptr_t)count);
	}
	for (unsigned n = 0; n < 2; n++)
		mode->engine->vcpu_close(vm->vcpu[n]);
	vm_free(vm);
}

static void test_other_vcpu(void **state)
{
	for (unsigned n = 0; n < ARRAY_SIZE(modes); n++)
		if (!modes[n].check && !modes[n].torture)
			together(&modes[n]);
}

/* Closed vCPUs leave no timer behind: a dozen of them once took all of the CPU's time. */
static void test_storms_end(void **state)
{
	const struct mode storm = {&translate_engine, "signals=3000000", false};
	struct bus_region ram;
	struct vm *vm = make_vm(&storm, &ram, 1);
	FILE *timers;

	put_state(&storm, vm->vcpu[0], CODE);
	storm.engine->vcpu_close(vm->vcpu[0]);
	vm_free(vm);
	timers = fopen("/proc/self/timers", "r");
	if (!timers)
		skip();
	assert_int_equal(fgetc(timers), EOF);
	fclose(timers);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_other_block),
		cmocka_unit_test(test_next_instruction), cmocka_unit_test(test_same_block),
		cmocka_unit_test(test_earlier_block), cmocka_unit_test(test_itself),
		cmocka_unit_test(test_across_pages), cmocka_unit_test(test_by_alias),
		cmocka_unit_test(test_by_string), cmocka_unit_test(test_by_vector),
		cmocka_unit_test(test_by_exchange), cmocka_unit_test(test_by_push),
		cmocka_unit_test(test_static_key), cmocka_unit_test(test_beside_data),
		cmocka_unit_test(test_other_vcpu), cmocka_unit_test(test_storms_end)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
