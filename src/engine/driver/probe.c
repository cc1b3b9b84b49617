/*
 * probe.c - is our module loaded, and does its CPU run at the speed of hardware?
 *
 * A loop in real mode counts for a few milliseconds, until a signal stops it.
 * A machine by the bare contract: the probe is asked before there is one.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "engine/driver/internal.h"
#include "util/util.h"

#define PROBE_NS      4000000
#define HARDWARE_MIPS 100.0
#define PAGE          4096u

/* loop: inc eax; jmp loop */
static const uint8_t code[] = {0x66, 0x40, 0xeb, 0xfc};
#define INSNS_PER_COUNT 2

struct probe {
	int vm, cpu;
	struct tinamou_page *page;
	uint8_t *ram;
};

static void *map(int fd)
{
	int flags = fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
	void *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, flags, fd, 0);

	return p == MAP_FAILED ? NULL : p;
}

static void set_real_mode(struct tinamou_regs *r)
{
	for (unsigned n = 0; n < TINAMOU_SEGS; n++)
		r->seg[n] = (struct tinamou_seg){.limit = 0xffff, .attr = 0x93};
	r->seg[TINAMOU_CS].attr = 0x9b;
	r->seg[TINAMOU_LDTR].attr = 0x82;
	r->seg[TINAMOU_TR].attr = 0x8b;
	r->cr0 = X86_CR0_ET | X86_CR0_NE;
	r->xcr0 = X86_XCR0_X87;
	r->rflags = X86_FLAGS_FIXED | X86_IF; /* so that Bochs' SVM lets the signal in */
	r->rip = 0;
	r->gpr[X86_RAX] = 0;
}

static int make_machine(struct probe *p)
{
	struct tinamou_map m = {.size = sizeof(m), .count = 1};
	int rc;

	p->ram = map(-1);
	if (!p->ram)
		return -ENOMEM;
	memcpy(p->ram, code, sizeof(code));
	m.slot[0] = (struct tinamou_slot){.bytes = PAGE, .user = (uintptr_t)p->ram};
	rc = driver_ioctl(p->vm, TINAMOU_SET_MAP, &m);
	if (!rc)
		rc = p->cpu = driver_ioctl(p->vm, TINAMOU_CREATE_VCPU, NULL);
	if (rc < 0)
		return rc;
	p->page = map(p->cpu);
	if (!p->page)
		return -ENOMEM;
	set_real_mode(&p->page->regs);
	return 0;
}

/* The timer's signal goes to this thread and makes RUN return. */
static int run_for(struct probe *p, double *elapsed)
{
	struct sigevent ev = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = DRIVER_KICK_SIGNAL};
	struct itimerspec once = {{0, PROBE_NS}, {0, PROBE_NS}};
	struct tinamou_run run = {.size = sizeof(run),
		.flags = TINAMOU_RUN_ENTER,
		.put = TINAMOU_GPR | TINAMOU_SEG | TINAMOU_CR,
		.get = TINAMOU_GPR};
	timer_t timer;
	uint64_t start;
	int rc;

	ev._sigev_un._tid = gettid();
	if (timer_create(CLOCK_MONOTONIC, &ev, &timer))
		return -errno;
	start = monotonic_ns();
	timer_settime(timer, 0, &once, NULL);
	rc = driver_ioctl(p->cpu, TINAMOU_RUN, &run);
	*elapsed = (double)(monotonic_ns() - start) / 1e9;
	timer_delete(timer);
	return rc == -EINTR ? 0 : rc < 0 ? rc : -EIO;
}

static int measure(struct probe *p, double *mips)
{
	double elapsed = 0;
	int rc = make_machine(p);

	if (!rc)
		rc = run_for(p, &elapsed);
	if (!rc && elapsed > 0)
		*mips = (double)(uint32_t)p->page->regs.gpr[X86_RAX] * INSNS_PER_COUNT / elapsed /
			1e6;
	return rc;
}

static void judge(struct engine_verdict *v, int rc, const struct tinamou_info *info)
{
	const char *kind = info->kind == TINAMOU_SVM ? "SVM" : "VMX";

	if (rc < 0) {
		snprintf(v->why, sizeof(v->why), "our module is there but cannot run a guest: %s",
			strerror(-rc));
		return;
	}
	v->level = v->mips >= HARDWARE_MIPS ? ENGINE_READY : ENGINE_SLOW;
	if (v->level == ENGINE_READY)
		snprintf(v->why, sizeof(v->why), "our module, %s", kind);
	else
		snprintf(v->why, sizeof(v->why), "our module, but %s is emulated below it", kind);
}

void driver_probe(struct engine_verdict *v)
{
	struct probe p = {.vm = -1, .cpu = -1};
	struct tinamou_info info;
	int device = driver_open_device(&info, v->why, sizeof(v->why), v->cure, sizeof(v->cure));

	v->level = ENGINE_UNUSABLE;
	if (device < 0)
		return;
	p.vm = driver_create_vm(device, v->why, sizeof(v->why), v->cure, sizeof(v->cure));
	if (p.vm >= 0) {
		driver_catch_kicks();
		judge(v, measure(&p, &v->mips), &info);
	}
	if (p.page)
		munmap(p.page, PAGE);
	if (p.ram)
		munmap(p.ram, PAGE);
	if (p.cpu >= 0)
		close(p.cpu);
	if (p.vm >= 0)
		close(p.vm);
	close(device);
}
