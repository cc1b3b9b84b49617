/*
 * native.c - the real CPU as the oracle: one instruction by sigreturn.
 *
 * A child process holds the areas of case.h at their linear addresses, all
 * below 4 GiB. For each case it writes the windows and the instruction, builds
 * a signal frame with the case's registers and TF set, and returns from that
 * signal. The CPU executes one instruction in the frame's code segment (64-bit,
 * or an LDT segment of 16 or 32 bit) and traps; whatever the outcome, a signal
 * on the alternate stack brings all registers back.
 *
 * Containment: the child has no descriptor but its two pipes, and a seccomp
 * filter that kills it for anything but the calls it lives on; a 32-bit system
 * call ends it in any case. The parent replaces a dead child and goes on.
 *
 * The frame carries x87 and SSE state, and AVX state where the host has it.
 * Sources: Linux arch/x86 signal frame ABI (asm/sigcontext.h), SDM vol. 3A
 * 6.15 (exceptions), 3.4.5 (segment descriptors).
 */
#include "native.h"

#include <asm/ldt.h>
#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/ucontext.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/util.h"

#define USER_CS 0x33
#define USER_DS 0x2b

/* uc_flags (asm/ucontext.h): SS is in the frame, and is to be taken from it as it is. */
#define UC_SIGCONTEXT_SS     0x2
#define UC_STRICT_RESTORE_SS 0x4

#define ALT_STACK_SIZE  (64 * KiB)
#define HWCAP2_FSGSBASE 0x2 /* asm/hwcap2.h */

#define SOFTWARE_BYTES 464u /* of the legacy area (asm/sigcontext.h) */

#define BATCH_MS 10000 /* a child that takes longer is stuck */

/* SA_RESTORER is the kernel's, but libc keeps it to itself. */
#define KERNEL_SA_RESTORER 0x04000000

struct shared {
	_Atomic unsigned current;
	unsigned first, count;
	uint32_t stray;
	struct insn_case cases[NATIVE_BATCH];
	struct insn_result results[NATIVE_BATCH];
};

struct native {
	struct shared *shared;
	pid_t child;
	int to_child, from_child;
	unsigned deaths;
	bool has_mode[X86_MODE_64 + 1];
};

/*
 * What the signal entry needs before it has a C environment, hence at a fixed
 * place. Used by the child only.
 */
struct native_entry {
	uint64_t host_rsp, host_fs_base;
	uint64_t fs_base, gs_base; /* of flat 64-bit code, then what the case left; fs_base 0: not
				      to be set */
	uint16_t host[4];          /* DS, ES, FS, GS */
	uint16_t guest[4];         /* to load; then what the case left there */
};
__attribute__((visibility("hidden"))) struct native_entry native_entry;
_Static_assert(offsetof(struct native_entry, host) == 32, "the offsets in the assembly below");
_Static_assert(offsetof(struct native_entry, guest) == 40, "the offsets in the assembly below");

/* Returns the frame of the signal that ended the case. */
ucontext_t *native_enter(ucontext_t *frame);
void native_signal(int sig, siginfo_t *info, void *frame);
void native_restorer(void);

/*
 * native_enter loads the data segments and returns from the made-up signal;
 * native_signal is the handler: segments, AC and the stack first, then it
 * returns to native_enter's caller. DS and ES are not part of a 64-bit signal
 * frame, so they are carried here. Offsets are those of struct native_entry.
 */
__asm__(".text\n"
	"native_enter:\n"
	"	push %rbx\n	push %rbp\n	push %r12\n"
	"	push %r13\n	push %r14\n	push %r15\n"
	"	lea native_entry(%rip), %rcx\n"
	"	mov %rsp, 0(%rcx)\n"
	"	mov %rdi, %rsp\n"
	"	mov 40(%rcx), %ds\n"
	"	mov 42(%rcx), %es\n"
	"	mov 44(%rcx), %fs\n"
	"	mov 46(%rcx), %gs\n"
	"	mov 16(%rcx), %rax\n"
	"	test %rax, %rax\n"
	"	jz 1f\n"
	"	wrfsbase %rax\n"
	"	mov 24(%rcx), %rax\n"
	"	wrgsbase %rax\n"
	"1:	mov $15, %eax\n" /* rt_sigreturn */
	"	syscall\n"
	"	ud2\n"
	"native_signal:\n"
	"	lea native_entry(%rip), %rcx\n"
	"	rdfsbase %rax\n"
	"	mov %rax, 16(%rcx)\n"
	"	rdgsbase %rax\n"
	"	mov %rax, 24(%rcx)\n"
	"	mov %ds, 40(%rcx)\n"
	"	mov %es, 42(%rcx)\n"
	"	mov %fs, 44(%rcx)\n"
	"	mov %gs, 46(%rcx)\n"
	"	mov 32(%rcx), %ds\n"
	"	mov 34(%rcx), %es\n"
	"	mov 36(%rcx), %fs\n"
	"	mov 38(%rcx), %gs\n"
	"	pushfq\n"
	"	andl $~0x244000, (%rsp)\n" /* ID, AC, NT: the kernel leaves them to us */
	"	popfq\n"
	"	mov 8(%rcx), %rax\n"
	"	wrfsbase %rax\n"
	"	mov 0(%rcx), %rsp\n"
	"	mov %rdx, %rax\n"
	"	pop %r15\n	pop %r14\n	pop %r13\n"
	"	pop %r12\n	pop %rbp\n	pop %rbx\n"
	"	ret\n"
	"native_restorer:\n"
	"	mov $15, %eax\n	syscall\n");

static const int greg_of[X86_GPR_COUNT] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
	REG_RSI, REG_RDI, REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};

static int ldt_write(unsigned entry, const struct x86_seg *seg, bool code)
{
	struct user_desc d = {
		.entry_number = entry,
		.base_addr = (unsigned)seg->base,
		.limit = seg->limit == UINT32_MAX ? 0xfffff : seg->limit,
		.limit_in_pages = seg->limit == UINT32_MAX,
		.seg_32bit = !!(seg->attr & X86_ATTR_DB),
		.contents = code ? MODIFY_LDT_CONTENTS_CODE : MODIFY_LDT_CONTENTS_DATA,
		.useable = 1,
	};

	return syscall(SYS_modify_ldt, 0x11, &d, sizeof(d)) ? -errno : 0;
}

static int install_segments(enum x86_mode mode)
{
	for (unsigned seg = 0; seg < 6; seg++) {
		struct x86_seg s = {.base = area_of(seg),
			.limit = AREA_SIZE - 1,
			.attr = mode == X86_MODE_32 ? X86_ATTR_DB : 0};
		int err = ldt_write(case_selector(mode, seg) >> 3, &s, seg == X86_CS);

		if (err)
			return err;
	}
	return 0;
}

/* FS and GS of flat 32-bit code. */
static void install_flat(void)
{
	const struct x86_seg fs = {.base = FLAT_FS_BASE, .limit = UINT32_MAX, .attr = X86_ATTR_DB};
	const struct x86_seg gs = {.base = FLAT_GS_BASE, .limit = UINT32_MAX, .attr = X86_ATTR_DB};

	ldt_write(FLAT_FS >> 3, &fs, false);
	ldt_write(FLAT_GS >> 3, &gs, false);
}

static void install_handlers(void)
{
	static const int signals[] = {SIGSEGV, SIGILL, SIGFPE, SIGTRAP, SIGBUS};
	/* The kernel's own struct sigaction: no libc trampoline between us and the frame. */
	struct {
		void (*handler)(int, siginfo_t *, void *);
		unsigned long flags;
		void (*restorer)(void);
		uint64_t mask;
	} act = {native_signal, SA_SIGINFO | SA_ONSTACK | SA_NODEFER | KERNEL_SA_RESTORER,
		native_restorer, 0};

	for (unsigned i = 0; i < ARRAY_SIZE(signals); i++)
		syscall(SYS_rt_sigaction, signals[i], &act, NULL, sizeof(act.mask));
}

/* Only what the child needs from here on; anything else, or a 32-bit call, ends it. */
static int install_filter(void)
{
	static const unsigned calls[] = {SYS_rt_sigreturn, SYS_read, SYS_write, SYS_exit_group};
	struct sock_filter code[4 + 2 * ARRAY_SIZE(calls)];
	unsigned n = 0;

	code[n++] = (struct sock_filter)BPF_STMT(
		BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch));
	code[n++] = (struct sock_filter)BPF_JUMP(
		BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 0, 2 * ARRAY_SIZE(calls) + 1);
	code[n++] = (struct sock_filter)BPF_STMT(
		BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
	for (unsigned i = 0; i < ARRAY_SIZE(calls); i++) {
		code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, calls[i], 0, 1);
		code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	}
	code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);

	struct sock_fprog prog = {.len = (unsigned short)n, .filter = code};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
		prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog))
		return -errno;
	return 0;
}

static void *linear(uint32_t addr)
{
	return (void *)(uintptr_t)addr;
}

/* Puts the pattern back where it is not; the first such address, or 0. */
static uint32_t clean_areas(const uint8_t *pattern)
{
	uint32_t first = 0;

	if (!memcmp(linear(AREA_BASE), pattern, AREA_END - AREA_BASE))
		return 0;
	for (uint32_t a = AREA_BASE; a < AREA_END; a++) {
		uint8_t *p = linear(a);

		if (*p == area_pattern(a))
			continue;
		*p = area_pattern(a);
		first = first ? first : a;
	}
	return first;
}

static int map_areas(void)
{
	uint8_t *p = mmap((void *)(uintptr_t)AREA_BASE, AREA_SIZE * AREA_COUNT,
		PROT_READ | PROT_WRITE | PROT_EXEC,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	if (p == MAP_FAILED)
		return -errno;
	area_fill(linear(AREA_BASE));
	return 0;
}

static void write_case(const struct insn_case *c)
{
	for (unsigned i = 0; i < WINDOW_COUNT; i++)
		if (c->window[i].addr)
			memcpy(linear(c->window[i].addr), c->window[i].bytes, WINDOW_SIZE);
	memcpy(linear(CODE_BASE + (uint32_t)c->regs.rip), c->bytes, sizeof(c->bytes));
}

static void put_pattern(uint32_t addr, unsigned len)
{
	uint8_t *p = linear(addr);

	for (unsigned i = 0; i < len; i++)
		p[i] = area_pattern(addr + i);
}

/* Results out, pattern back in. */
static void read_case(const struct insn_case *c, struct insn_result *r)
{
	for (unsigned i = 0; i < WINDOW_COUNT; i++)
		if (c->window[i].addr)
			memcpy(r->window[i], linear(c->window[i].addr), WINDOW_SIZE);
	for (unsigned i = 0; i < WINDOW_COUNT; i++)
		if (c->window[i].addr)
			put_pattern(c->window[i].addr, WINDOW_SIZE);
	put_pattern(CODE_BASE + (uint32_t)c->regs.rip, sizeof(c->bytes));
}

/* The XSAVE area of a signal frame: software bytes that say so, and a mark behind it. */
static void put_fpu(uint8_t *fpu, const struct insn_case *c, bool avx)
{
	const uint32_t end = FP_XSTATE_MAGIC2;
	struct _fpx_sw_bytes say = {
		.magic1 = FP_XSTATE_MAGIC1,
		.extended_size = FPU_SIZE + sizeof(end),
		.xstate_bv = X86_XCR0_X87 | X86_XCR0_SSE | X86_XCR0_AVX,
		.xstate_size = FPU_SIZE,
	};

	memcpy(fpu, c->fpu, FPU_SIZE);
	if (!avx)
		memset(&say, 0, sizeof(say));
	memcpy(fpu + SOFTWARE_BYTES, &say, sizeof(say));
	memset(fpu + FPU_HEADER, 0, FPU_YMM - FPU_HEADER);
	memcpy(fpu + FPU_HEADER, &say.xstate_bv, sizeof(say.xstate_bv));
	memcpy(fpu + FPU_SIZE, &end, sizeof(end));
}

/* What the case left; no AVX state if the frame has none. */
static void take_fpu(struct insn_result *r, const uint8_t *fpu, bool avx)
{
	memcpy(r->fpu, fpu, avx ? FPU_SIZE : FPU_LEGACY);
}

static void build_frame(
	ucontext_t *uc, const struct insn_case *c, const stack_t *stack, void *fpu, bool avx)
{
	greg_t *g = uc->uc_mcontext.gregs;
	uint64_t ss = c->mode == X86_MODE_64 ? USER_DS : c->regs.sel[X86_SS];
	uint64_t cs = c->mode == X86_MODE_64 ? USER_CS : c->regs.sel[X86_CS];

	memset(uc, 0, sizeof(*uc));
	uc->uc_flags = UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS;
	uc->uc_stack = *stack;
	for (unsigned i = 0; i < X86_GPR_COUNT; i++)
		g[greg_of[i]] = (greg_t)c->regs.gpr[i];
	g[REG_RIP] = (greg_t)(c->regs.rip + (c->flat ? CODE_BASE : 0));
	g[REG_EFL] = (greg_t)(c->regs.rflags | X86_TF);
	g[REG_CSGSFS] = (greg_t)(cs | ss << 48);
	put_fpu(fpu, c, avx);
	uc->uc_mcontext.fpregs = fpu;
}

static void load_selectors(const struct insn_case *c)
{
	static const uint8_t seg[4] = {X86_DS, X86_ES, X86_FS, X86_GS};

	native_entry.fs_base = c->mode == X86_MODE_64 ? FLAT_FS_BASE : 0;
	native_entry.gs_base = FLAT_GS_BASE;
	for (unsigned i = 0; i < 4; i++)
		native_entry.guest[i] = c->mode == X86_MODE_64 ? 0 : c->regs.sel[seg[i]];
}

static void take_registers(struct insn_result *r, const ucontext_t *uc, const struct insn_case *c)
{
	const greg_t *g = uc->uc_mcontext.gregs;

	for (unsigned i = 0; i < X86_GPR_COUNT; i++)
		r->regs.gpr[i] = (uint64_t)g[greg_of[i]];
	r->regs.rip = (uint64_t)g[REG_RIP] - (c->flat ? CODE_BASE : 0);
	r->regs.rflags = (uint64_t)g[REG_EFL];
	r->regs.sel[X86_CS] = (uint16_t)g[REG_CSGSFS];
	r->regs.sel[X86_SS] = (uint16_t)((uint64_t)g[REG_CSGSFS] >> 48);
	r->regs.sel[X86_DS] = native_entry.guest[0];
	r->regs.sel[X86_ES] = native_entry.guest[1];
	r->regs.sel[X86_FS] = native_entry.guest[2];
	r->regs.sel[X86_GS] = native_entry.guest[3];
	if (c->mode == X86_MODE_64) {
		r->system.base[X86_FS] = native_entry.fs_base;
		r->system.base[X86_GS] = native_entry.gs_base;
	}
}

static void take_end(struct insn_result *r, const ucontext_t *uc)
{
	const greg_t *g = uc->uc_mcontext.gregs;
	unsigned vector = (unsigned)g[REG_TRAPNO];

	r->error = 0;
	r->cr2 = 0;
	r->end = vector == X86_DB ? INSN_RETIRED : (uint16_t)vector;
	if (r->end != INSN_RETIRED && vector_has_error(vector))
		r->error = (uint32_t)g[REG_ERR];
	if (r->end == X86_PFV)
		r->cr2 = (uint64_t)g[REG_CR2];
}

static void run_case(
	const struct insn_case *c, struct insn_result *r, const stack_t *stack, bool avx)
{
	static _Alignas(64) uint8_t fpu[FPU_SIZE + sizeof(uint32_t)];
	ucontext_t frame, *after;

	write_case(c);
	build_frame(&frame, c, stack, fpu, avx);
	load_selectors(c);
	after = native_enter(&frame);
	take_registers(r, after, c);
	take_end(r, after);
	take_fpu(r, (const uint8_t *)after->uc_mcontext.fpregs, avx);
	read_case(c, r);
}

/* SDM vol. 1 14.3: AVX, and a kernel that keeps its state. */
static bool host_has_avx(void)
{
	unsigned a, b, c, d;
	const unsigned want = bit_OSXSAVE | bit_AVX;

	if (!__get_cpuid(1, &a, &b, &c, &d) || (c & want) != want)
		return false;
	__asm__("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
	return (a & X86_XCR0_AVX) != 0;
}

static int child_setup(stack_t *stack)
{
	int err = map_areas();

	if (err)
		return err;
	install_segments(X86_MODE_16); /* the parent asked before whether it works */
	install_segments(X86_MODE_32);
	install_flat();
	if (sigaltstack(stack, NULL))
		return -errno;
	install_handlers();
	__asm__ volatile("rdfsbase %0" : "=r"(native_entry.host_fs_base));
	return install_filter();
}

static void child_main(struct shared *sh, int in, int out)
{
	static uint8_t alt[ALT_STACK_SIZE] __attribute__((aligned(64)));
	stack_t stack = {.ss_sp = alt, .ss_size = sizeof(alt)};
	uint8_t *pattern = xcalloc(1, AREA_END - AREA_BASE);
	bool avx = host_has_avx();
	char byte = 0;

	area_fill(pattern);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (child_setup(&stack))
		_exit(1);
	while (read(in, &byte, 1) == 1) {
		for (unsigned i = sh->first; i < sh->count; i++) {
			sh->current = i;
			run_case(&sh->cases[i], &sh->results[i], &stack, avx);
		}
		sh->stray = clean_areas(pattern);
		if (write(out, &byte, 1) != 1)
			break;
	}
	_exit(0);
}

/* Linux keeps the CPU's number in a segment limit, where LSL sees it: let it be 0. */
static void stay_on_first_cpu(void)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(0, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

static int spawn(struct native *n)
{
	int to[2], from[2];

	if (pipe2(to, O_CLOEXEC))
		return -errno;
	if (pipe2(from, O_CLOEXEC)) {
		close(to[0]);
		close(to[1]);
		return -errno;
	}
	n->child = fork();
	if (n->child == 0) {
		stay_on_first_cpu();
		close(to[1]);
		close(from[0]);
		child_main(n->shared, to[0], from[1]);
	}
	close(to[0]);
	close(from[1]);
	n->to_child = to[1];
	n->from_child = from[0];
	return n->child < 0 ? -errno : 0;
}

static void reap(struct native *n)
{
	close(n->to_child);
	close(n->from_child);
	kill(n->child, SIGKILL);
	waitpid(n->child, NULL, 0);
}

/* Asks whether the kernel takes LDT segments, in a process that ends at once. */
static bool probe_ldt(enum x86_mode mode)
{
	pid_t pid = fork();
	int status = 0;

	if (pid == 0)
		_exit(install_segments(mode) ? 1 : 0);
	return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

struct native *native_open(char *err, size_t errlen)
{
	struct native *n = xcalloc(1, sizeof(*n));
	void *p;

	if (!(getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE)) {
		snprintf(err, errlen, "this kernel does not let programs set the FS base");
		goto fail;
	}
	p = mmap(NULL, sizeof(struct shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		-1, 0);
	if (p == MAP_FAILED)
		goto no_child;
	n->shared = p;
	signal(SIGPIPE, SIG_IGN);
	n->has_mode[X86_MODE_16] = probe_ldt(X86_MODE_16);
	n->has_mode[X86_MODE_32] = probe_ldt(X86_MODE_32);
	n->has_mode[X86_MODE_64] = true;
	if (spawn(n) == 0)
		return n;
	munmap(n->shared, sizeof(struct shared));
no_child:
	snprintf(err, errlen, "no child for the native cases: %s", strerror(errno));
fail:
	free(n);
	return NULL;
}

void native_close(struct native *n)
{
	reap(n);
	munmap(n->shared, sizeof(struct shared));
	free(n);
}

bool native_has_mode(const struct native *n, enum x86_mode mode)
{
	return n->has_mode[mode];
}

struct insn_case *native_cases(struct native *n)
{
	return n->shared->cases;
}

struct insn_result *native_results(struct native *n)
{
	return n->shared->results;
}

uint32_t native_stray_write(const struct native *n)
{
	return n->shared->stray;
}

unsigned native_deaths(const struct native *n)
{
	return n->deaths;
}

/* True when the batch is done, false when the child is dead or stuck. */
static bool wait_batch(struct native *n)
{
	struct pollfd p = {.fd = n->from_child, .events = POLLIN};
	char byte = 1;

	if (write(n->to_child, &byte, 1) != 1)
		return false;
	return poll(&p, 1, BATCH_MS) == 1 && read(n->from_child, &byte, 1) == 1;
}

int native_run(struct native *n, unsigned count)
{
	struct shared *sh = n->shared;

	sh->stray = 0;
	sh->first = 0;
	sh->count = count;
	while (!wait_batch(n)) {
		unsigned at = sh->current;

		memset(&sh->results[at], 0, sizeof(sh->results[at]));
		sh->results[at].end = INSN_DIED;
		n->deaths++;
		reap(n);
		if (spawn(n))
			return -errno;
		sh->first = at + 1;
	}
	return 0;
}
