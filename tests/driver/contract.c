/*
 * contract.c - the module's contract (driver/abi.h), case by case, in the rig.
 *
 * Runs as root where tinamou.ko is loaded. Arguments: cases to leave out. Prints 'ok NAME' or 'FAIL
 * NAME line', ends with 1 if a case failed.
 */
#include <asm/prctl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "guest.h"

static int failures;

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			printf("FAIL %s line %d: %s\n", __func__, __LINE__, #condition);           \
			return false;                                                              \
		}                                                                                  \
	} while (0)

/* Says what came instead: an exit at the wrong time is hard to see twice. */
#define CHECK_EXIT(g, wanted)                                                                      \
	do {                                                                                       \
		const struct tinamou_exit *exit_ = &(g)->page->exit;                               \
		if (exit_->reason != (wanted)) {                                                   \
			printf("FAIL %s line %d: exit %u code %#llx info %#llx %#llx at %#llx, "   \
			       "not %s\n",                                                         \
				__func__, __LINE__, exit_->reason,                                 \
				(unsigned long long)exit_->code,                                   \
				(unsigned long long)exit_->info[0],                                \
				(unsigned long long)exit_->info[1],                                \
				(unsigned long long)(g)->page->regs.rip, #wanted);                 \
			return false;                                                              \
		}                                                                                  \
	} while (0)

#define RUN_CODE(g, ...)                                                                           \
	run_code(g, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

/* ---- what is refused ---- */

static bool sizes_and_requests(struct guest *g)
{
	struct tinamou_info info = {.size = sizeof(info) - 4};
	struct tinamou_run r = {.size = sizeof(r) + 1};

	CHECK(call(g->device, TINAMOU_INFO, &info) == -EINVAL);
	info.size = sizeof(info);
	CHECK(call(g->device, TINAMOU_INFO, &info) == 0);
	CHECK(info.abi == TINAMOU_ABI && info.slots == TINAMOU_SLOTS && info.kind);
	CHECK(call(g->device, TINAMOU_INFO, (void *)8) == -EFAULT);
	CHECK(call(g->cpu, TINAMOU_RUN, &r) == -EINVAL);
	r = (struct tinamou_run){.size = sizeof(r), .flags = 2};
	CHECK(call(g->cpu, TINAMOU_RUN, &r) == -EINVAL);
	r = (struct tinamou_run){.size = sizeof(r), .put = 1u << 8};
	CHECK(call(g->cpu, TINAMOU_RUN, &r) == -EINVAL);
	CHECK(call(g->cpu, TINAMOU_SET_MAP, NULL) == -ENOTTY);
	CHECK(call(g->vm, TINAMOU_RUN, NULL) == -ENOTTY);
	CHECK(call(g->device, TINAMOU_RUN, NULL) == -ENOTTY);
	CHECK(g->page->size == sizeof(struct tinamou_page) && g->page->abi == TINAMOU_ABI);
	CHECK(mmap(NULL, 2 * PAGE, PROT_READ, MAP_SHARED, g->cpu, 0) == MAP_FAILED);
	CHECK(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, g->cpu, 0) == MAP_FAILED);
	return true;
}

static int map_one(struct guest *g, uint64_t gpa, uint64_t bytes, uint64_t user, uint32_t flags)
{
	struct tinamou_map m = {.size = sizeof(m), .count = 1};

	m.slot[0] = (struct tinamou_slot){gpa, bytes, user, flags, 0};
	return call(g->vm, TINAMOU_SET_MAP, &m);
}

static bool bad_maps(struct guest *g)
{
	uintptr_t user = (uintptr_t)g->ram;
	struct tinamou_map m = {.size = sizeof(m), .count = TINAMOU_SLOTS + 1};

	CHECK(map_one(g, 1, PAGE, user, 0) == -EINVAL);
	CHECK(map_one(g, 0, PAGE - 1, user, 0) == -EINVAL);
	CHECK(map_one(g, 0, 0, user, 0) == -EINVAL);
	CHECK(map_one(g, 0, PAGE, user + 8, 0) == -EINVAL);
	CHECK(map_one(g, 0, PAGE, user, 2) == -EINVAL);
	CHECK(map_one(g, -(uint64_t)PAGE, PAGE, user, 0) == -EINVAL);
	CHECK(map_one(g, PAGE, -(uint64_t)PAGE, user, 0) == -EINVAL);
	CHECK(map_one(g, 0, PAGE, UINT64_C(0xffff888000000000), 0) == -EINVAL);
	CHECK(call(g->vm, TINAMOU_SET_MAP, &m) == -EINVAL);
	m.count = 2;
	m.slot[0] = (struct tinamou_slot){0, 2 * PAGE, user, 0, 0};
	m.slot[1] = (struct tinamou_slot){PAGE, PAGE, user, 0, 0};
	CHECK(call(g->vm, TINAMOU_SET_MAP, &m) == -EINVAL);
	CHECK(set_ram(g) == 0);
	return true;
}

/* What would fault in the host, or be the guest's way out. */
static bool bad_registers(struct guest *g)
{
	struct tinamou_regs *r = &g->page->regs, good;

	CHECK(run(g, 0, 0, TINAMOU_ALL_GROUPS) == 0);
	good = *r;
	r->efer = 1u << 12; /* SVME */
	CHECK(run(g, 0, TINAMOU_CR, 0) == -EINVAL);
	*r = good;
	r->cr4 |= 1u << 13; /* VMXE */
	CHECK(run(g, 0, TINAMOU_CR, 0) == -EINVAL);
	*r = good;
	r->xcr0 = 4; /* AVX without SSE and x87 */
	CHECK(run(g, 0, TINAMOU_CR, 0) == -EINVAL);
	*r = good;
	r->msr[TINAMOU_LSTAR] = UINT64_C(1) << 60;
	CHECK(run(g, 0, TINAMOU_MSR, 0) == -EINVAL);
	*r = good;
	r->msr[TINAMOU_PAT] = 2;
	CHECK(run(g, 0, TINAMOU_MSR, 0) == -EINVAL);
	*r = good;
	memset(r->xsave + 24, 0xff, 4); /* MXCSR */
	CHECK(run(g, 0, TINAMOU_FPU, 0) == -EINVAL);
	*r = good;
	r->xsave[520] = 1; /* XCOMP_BV */
	CHECK(run(g, 0, TINAMOU_FPU, 0) == -EINVAL);
	*r = good;
	r->dr[7] = UINT64_C(1) << 32;
	CHECK(run(g, 0, TINAMOU_DR, 0) == -EINVAL);
	*r = good;
	r->events.type = TINAMOU_EVENT_EXCEPTION;
	r->events.vector = 200;
	CHECK(run(g, 0, TINAMOU_EVENTS, 0) == -EINVAL);
	*r = good;
	CHECK(run(g, 0, TINAMOU_ALL_GROUPS, 0) == 0);
	return true;
}

static bool other_process(struct guest *g)
{
	pid_t child = fork();
	int status;

	if (!child)
		_exit(run(g, 0, 0, TINAMOU_GPR) == -EIO && set_ram(g) == -EIO &&
					call(g->vm, TINAMOU_CREATE_VCPU, NULL) == -EIO
				? 0
				: 1);
	CHECK(waitpid(child, &status, 0) == child && status == 0);
	CHECK(run(g, 0, 0, TINAMOU_GPR) == 0);
	return true;
}

/* ---- registers ---- */

static void distinct_registers(struct tinamou_regs *r)
{
	for (unsigned n = 0; n < TINAMOU_GPRS; n++)
		r->gpr[n] = UINT64_C(0x1111111111111111) * n + 1;
	for (unsigned n = 0; n < TINAMOU_SEGS; n++)
		if (n != TINAMOU_CS && n < TINAMOU_LDTR)
			r->seg[n].base = 16 * (uint64_t)(r->seg[n].sel = (uint16_t)(n + 1));
	r->gdtr = (struct tinamou_table){0x1230, 0x77};
	r->idtr = (struct tinamou_table){0, 0x3ff};
	r->cr2 = 0xabcd;
	for (unsigned n = 0; n < 4; n++)
		r->dr[n] = 0x1000 + n;
	r->msr[TINAMOU_STAR] = UINT64_C(0x23001000000000);
	r->msr[TINAMOU_LSTAR] = UINT64_C(0xffffffff81000000);
	r->msr[TINAMOU_CSTAR] = UINT64_C(0xffffffff82000000);
	r->msr[TINAMOU_SFMASK] = 0x47700;
	r->msr[TINAMOU_KERNEL_GS_BASE] = UINT64_C(0xffff888000000000);
	r->msr[TINAMOU_SYSENTER_CS] = 0x10;
	r->msr[TINAMOU_SYSENTER_ESP] = UINT64_C(0xfffffe0000000000);
	r->msr[TINAMOU_SYSENTER_EIP] = UINT64_C(0xffffffff83000000);
	r->msr[TINAMOU_TSC_AUX] = 0x55;
	for (unsigned n = 0; n < 256; n++)
		r->xsave[160 + n] = (uint8_t)(n * 7 + 1);
	r->xsave[512] = 3;
}

/* Put, entered and left by HLT, and got again: the same but for rIP. */
static bool survive_an_entry(struct guest *g)
{
	struct tinamou_regs *r = &g->page->regs, before;

	real_mode(r);
	CHECK(run(g, 0, TINAMOU_GPR | TINAMOU_SEG | TINAMOU_CR | TINAMOU_EVENTS,
		      TINAMOU_ALL_GROUPS) == 0);
	distinct_registers(r);
	before = *r;
	g->ram[0] = 0xf4; /* HLT */
	CHECK(run(g, TINAMOU_RUN_ENTER, TINAMOU_ALL_GROUPS & ~TINAMOU_TSC, TINAMOU_ALL_GROUPS) ==
		0);
	CHECK_EXIT(g, TINAMOU_EXIT_HLT);
	CHECK(!memcmp(r->gpr, before.gpr, sizeof(r->gpr)));
	CHECK(r->rip == 0 && r->rflags == 2);
	for (unsigned n = 0; n < TINAMOU_LDTR; n++)
		CHECK(r->seg[n].sel == before.seg[n].sel && r->seg[n].base == before.seg[n].base);
	CHECK(!memcmp(&r->gdtr, &before.gdtr, sizeof(r->gdtr)));
	CHECK(r->cr0 == before.cr0 && r->efer == 0 && r->cr4 == 0);
	CHECK(r->cr2 == before.cr2);
	CHECK(!memcmp(r->dr, before.dr, 4 * sizeof(r->dr[0])));
	CHECK(!memcmp(r->msr, before.msr, sizeof(r->msr)));
	CHECK(!memcmp(r->xsave + 160, before.xsave + 160, 256));
	return true;
}

static uint64_t fs_base(void)
{
	uint64_t value = 0;

	syscall(SYS_arch_prctl, ARCH_GET_FS, &value);
	return value;
}

/* The guest changes what it can; this process must not see any of it. */
static bool host_is_whole(struct guest *g)
{
	/* pxor xmm5,xmm5; mov ax,1234h; mov fs,ax; mov gs,ax; fninit; hlt */
	static const uint8_t code[] = {
		0x66, 0x0f, 0xef, 0xed, 0xb8, 0x34, 0x12, 0x8e, 0xe0, 0x8e, 0xe8, 0xdb, 0xe3, 0xf4};
	uint8_t out[16], in[16];
	uint64_t tls = fs_base();

	memset(in, 0x5a, sizeof(in));
	memcpy(g->ram, code, sizeof(code));
	real_mode(&g->page->regs);
	g->page->regs.cr4 = 0x600; /* OSFXSR, OSXMMEXCPT */
	__asm__ volatile("movdqu %0, %%xmm5" ::"m"(in) : "xmm5");
	CHECK(run(g, TINAMOU_RUN_ENTER, TINAMOU_GPR | TINAMOU_SEG | TINAMOU_CR | TINAMOU_EVENTS,
		      TINAMOU_ALL_GROUPS) == 0);
	__asm__ volatile("movdqu %%xmm5, %0" : "=m"(out));
	CHECK_EXIT(g, TINAMOU_EXIT_HLT);
	CHECK(!memcmp(in, out, sizeof(in)));
	CHECK(g->page->regs.seg[TINAMOU_FS].base == 0x12340);
	CHECK(fs_base() == tls);
	return true;
}

/* ---- exits ---- */

static bool exits(struct guest *g)
{
	const struct tinamou_exit *e = &g->page->exit;

	CHECK(RUN_CODE(g, 0xb0, 0x42, 0xe6, 0xe9) == 0); /* mov al,42h; out e9h,al */
	CHECK(e->reason == TINAMOU_EXIT_IO && e->port == 0xe9 && e->size == 1 && !e->in);
	CHECK(e->insn_len == 2 && (g->page->regs.gpr[0] & 0xff) == 0x42 && g->page->regs.rip == 2);
	CHECK(RUN_CODE(g, 0xba, 0x34, 0x12, 0x66, 0xed) == 0); /* mov dx,1234h; in eax,dx */
	CHECK(e->reason == TINAMOU_EXIT_IO && e->port == 0x1234 && e->size == 4 && e->in);
	CHECK(RUN_CODE(g, 0x6e) == 0 && e->reason == TINAMOU_EXIT_IO && e->string);
	CHECK(RUN_CODE(g, 0x0f, 0xa2) == 0 && e->reason == TINAMOU_EXIT_CPUID);
	CHECK(RUN_CODE(g, 0x0f, 0x32) == 0 && e->reason == TINAMOU_EXIT_MSR && !e->write);
	CHECK(RUN_CODE(g, 0x0f, 0x30) == 0 && e->reason == TINAMOU_EXIT_MSR && e->write);
	CHECK(RUN_CODE(g, 0xf4) == 0 && e->reason == TINAMOU_EXIT_HLT);
	CHECK(RUN_CODE(g, 0x0f, 0x09) == 0 && e->reason == TINAMOU_EXIT_INSN); /* WBINVD */
	CHECK(RUN_CODE(g, 0x66, 0xb8, 0x00, 0x06, 0x00, 0x00, 0x0f, 0x22, 0xe0) == 0 &&
		e->reason == TINAMOU_EXIT_INSN); /* mov eax,600h; mov cr4,eax */
	CHECK(RUN_CODE(g, 0x0f, 0x0b) == 0 && e->reason == TINAMOU_EXIT_EXCEPTION &&
		e->vector == 6);
	return true;
}

static bool hypercall(struct guest *g)
{
	struct tinamou_info info = {.size = sizeof(info)};
	int rc;

	CHECK(call(g->device, TINAMOU_INFO, &info) == 0);
	rc = info.kind == TINAMOU_SVM ? RUN_CODE(g, 0x0f, 0x01, 0xd9)
				      : RUN_CODE(g, 0x0f, 0x01, 0xc1);
	CHECK(rc == 0 && g->page->exit.reason == TINAMOU_EXIT_HYPERCALL);
	return true;
}

static bool memory_exits(struct guest *g)
{
	const struct tinamou_exit *e = &g->page->exit;

	CHECK(RUN_CODE(g, 0xa3, 0x00, 0x40) == 0); /* mov [4000h],ax: behind all slots */
	CHECK(e->reason == TINAMOU_EXIT_MEMORY && e->gpa == 0x4000 && e->write);
	CHECK(RUN_CODE(g, 0xa1, 0x08, 0x50) == 0); /* mov ax,[5008h] */
	CHECK(e->reason == TINAMOU_EXIT_MEMORY && e->gpa == 0x5008 && !e->write);
	g->ram[3 * PAGE + 16] = 0x77;
	CHECK(RUN_CODE(g, 0xa0, 0x10, 0x30, 0xa2, 0x10, 0x30) == 0); /* al from ROM, and back */
	CHECK(e->reason == TINAMOU_EXIT_MEMORY && e->gpa == 0x3010 && e->write);
	CHECK(g->page->regs.rip == 3 && (g->page->regs.gpr[0] & 0xff) == 0x77);
	CHECK(RUN_CODE(g, 0xc6, 0x06, 0x00, 0x20, 0x99, 0xf4) == 0 && g->ram[2 * PAGE] == 0x99);
	return true;
}

static bool triple_fault(struct guest *g)
{
	/* lidt of an empty table; int 3: no exception can be delivered */
	static const uint8_t code[] = {0x0f, 0x01, 0x1e, 0x10, 0x00, 0xcc};

	memset(g->ram + 16, 0, 6);
	CHECK(run_code(g, code, sizeof(code)) == 0);
	CHECK_EXIT(g, TINAMOU_EXIT_SHUTDOWN);
	return true;
}

/* Vector 20h points to a HLT. */
static bool injection_and_window(struct guest *g)
{
	static const uint8_t spin[] = {0xfb, 0xeb, 0xfe}; /* sti; jmp $ */
	const uint8_t handler[] = {0x00, 0x03, 0x00, 0x00};

	memcpy(g->ram + 0x80, handler, sizeof(handler));
	g->ram[0x300] = 0xf4;
	memcpy(g->ram + 0x200, spin, sizeof(spin));
	real_mode(&g->page->regs);
	g->page->regs.rip = 0x200;
	g->page->regs.gpr[TINAMOU_RSP] = 0x1000;
	g->page->window = 1;
	CHECK(run(g, TINAMOU_RUN_ENTER, TINAMOU_GPR | TINAMOU_SEG | TINAMOU_CR | TINAMOU_EVENTS,
		      TINAMOU_GPR | TINAMOU_EVENTS) == 0);
	g->page->window = 0;
	CHECK(g->page->exit.reason == TINAMOU_EXIT_WINDOW && g->page->exit.interruptible);
	CHECK(g->page->regs.rip == 0x201 && g->page->regs.rflags & 0x200);
	g->page->regs.events = (struct tinamou_events){.type = TINAMOU_EVENT_INTR, .vector = 0x20};
	CHECK(run(g, TINAMOU_RUN_ENTER, TINAMOU_EVENTS, TINAMOU_GPR | TINAMOU_EVENTS) == 0);
	CHECK(g->page->exit.reason == TINAMOU_EXIT_HLT && g->page->regs.rip == 0x300);
	CHECK(g->page->regs.events.type == TINAMOU_EVENT_NONE);
	return true;
}

/* ---- leaving ---- */

static void nothing(int sig)
{
}

/* Again and again: on a busy host the first signal may come before RUN. */
static void signals_every_20_ms(bool on)
{
	struct sigaction sa = {.sa_handler = nothing};

	sigaction(SIGALRM, &sa, NULL);
	ualarm(on ? 20000 : 0, on ? 20000 : 0);
}

static bool signals_and_kicks(struct guest *g)
{
	struct timespec before, after;
	int rc;

	clock_gettime(CLOCK_MONOTONIC, &before);
	signals_every_20_ms(true);
	rc = RUN_CODE(g, 0xfb, 0xeb, 0xfe); /* sti; jmp $ */
	signals_every_20_ms(false);
	CHECK(rc == -EINTR);
	clock_gettime(CLOCK_MONOTONIC, &after);
	CHECK(after.tv_sec - before.tv_sec < 5);
	g->page->immediate_exit = 1;
	CHECK(RUN_CODE(g, 0xeb, 0xfe) == -EINTR);
	g->page->immediate_exit = 0;
	return true;
}

/* The guest's IF is the guest's affair: the host's interrupts come through. */
static bool signal_with_interrupts_off(struct guest *g)
{
	int rc;

	signals_every_20_ms(true);
	rc = RUN_CODE(g, 0xeb, 0xfe); /* jmp $ */
	signals_every_20_ms(false);
	CHECK(rc == -EINTR);
	return true;
}

static bool new_map_is_seen(struct guest *g)
{
	uint8_t *other = pages(-1, RAM_PAGES), *first = g->ram;
	bool ok;

	CHECK(RUN_CODE(g, 0xb0, 0x01, 0xf4) == 0 && (g->page->regs.gpr[0] & 0xff) == 1);
	g->ram = other;
	ok = set_ram(g) == 0 && RUN_CODE(g, 0xb0, 0x02, 0xf4) == 0 &&
	     (g->page->regs.gpr[0] & 0xff) == 2;
	g->ram = first;
	munmap(other, RAM_PAGES * PAGE);
	CHECK(ok && set_ram(g) == 0);
	return true;
}

static bool two_machines(struct guest *g)
{
	struct guest h;

	CHECK(guest_new(&h) == 0);
	for (unsigned n = 0; n < 50; n++) {
		CHECK(RUN_CODE(g, 0xb0, (uint8_t)n, 0xf4) == 0);
		CHECK(RUN_CODE(&h, 0xb4, (uint8_t)(n + 1), 0xf4) == 0);
		CHECK((uint16_t)g->page->regs.gpr[0] == n);
		CHECK((uint16_t)h.page->regs.gpr[0] == (n + 1) << 8);
	}
	guest_free(&h);
	return true;
}

/* A file that is mapped for reading, as a firmware is: the guest may read it, and it stays as it
 * is. */
static bool rom_that_is_only_read(struct guest *g)
{
	static const uint8_t content[PAGE] = {0x33};
	struct tinamou_map m = {.size = sizeof(m), .count = 2};
	FILE *f = tmpfile();
	uint8_t *rom;

	CHECK(f && fwrite(content, PAGE, 1, f) == 1 && !fflush(f));
	rom = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fileno(f), 0);
	fclose(f);
	CHECK(rom != MAP_FAILED);
	m.slot[0] = (struct tinamou_slot){.bytes = PAGE, .user = (uintptr_t)g->ram};
	m.slot[1] = (struct tinamou_slot){
		.gpa = PAGE, .bytes = PAGE, .user = (uintptr_t)rom, .flags = TINAMOU_SLOT_ROM};
	CHECK(call(g->vm, TINAMOU_SET_MAP, &m) == 0);
	CHECK(RUN_CODE(g, 0xa0, 0x00, 0x10, 0xf4) == 0); /* mov al,[1000h]; hlt */
	CHECK_EXIT(g, TINAMOU_EXIT_HLT);
	CHECK((g->page->regs.gpr[0] & 0xff) == 0x33);
	CHECK(RUN_CODE(g, 0xa2, 0x00, 0x10) == 0); /* mov [1000h],al */
	CHECK_EXIT(g, TINAMOU_EXIT_MEMORY);
	CHECK(rom[0] == 0x33);
	m.slot[1].flags = 0;
	CHECK(call(g->vm, TINAMOU_SET_MAP, &m) == 0);
	CHECK(RUN_CODE(g, 0xa0, 0x00, 0x10, 0xf4) == -EFAULT); /* as RAM it is none */
	munmap(rom, PAGE);
	CHECK(set_ram(g) == 0);
	return true;
}

/* The machine lives on in its vCPU's descriptor; RAM may go before it. */
static bool closed_in_any_order(struct guest *unused)
{
	struct guest g;

	CHECK(guest_new(&g) == 0 && RUN_CODE(&g, 0xf4) == 0);
	close(g.device);
	close(g.vm);
	g.device = g.vm = -1;
	CHECK(RUN_CODE(&g, 0xf4) == 0 && g.page->exit.reason == TINAMOU_EXIT_HLT);
	munmap(g.ram, RAM_PAGES * PAGE);
	g.ram = NULL;
	real_mode(&g.page->regs);
	CHECK(run(&g, TINAMOU_RUN_ENTER, TINAMOU_ALL_GROUPS & ~TINAMOU_TSC, 0) == 0);
	CHECK(g.page->exit.reason == TINAMOU_EXIT_HLT); /* the pinned page is still the guest's */
	guest_free(&g);
	return true;
}

static const struct {
	const char *name;
	bool (*run)(struct guest *g);
} cases[] = {
#define CASE(name)                                                                                 \
	{                                                                                          \
#name, name                                                                        \
	}
	CASE(sizes_and_requests),
	CASE(bad_maps),
	CASE(bad_registers),
	CASE(other_process),
	CASE(survive_an_entry),
	CASE(host_is_whole),
	CASE(exits),
	CASE(hypercall),
	CASE(memory_exits),
	CASE(triple_fault),
	CASE(injection_and_window),
	CASE(signals_and_kicks),
	CASE(signal_with_interrupts_off),
	CASE(new_map_is_seen),
	CASE(rom_that_is_only_read),
	CASE(two_machines),
	CASE(closed_in_any_order),
};

static bool left_out(const char *name, int argc, char **argv)
{
	for (int n = 1; n < argc; n++)
		if (!strcmp(name, argv[n]))
			return true;
	return false;
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0); /* what came before a crash is seen */
	for (unsigned n = 0; n < sizeof(cases) / sizeof(cases[0]); n++) {
		struct guest g;

		if (left_out(cases[n].name, argc, argv))
			continue;
		if (guest_new(&g)) {
			printf("FAIL %s: no machine\n", cases[n].name);
			failures++;
			continue;
		}
		if (cases[n].run(&g))
			printf("ok %s\n", cases[n].name);
		else
			failures++;
		guest_free(&g);
	}
	return failures != 0;
}
