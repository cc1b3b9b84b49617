/*
 * probe.c - is /dev/kvm there, and is it hardware?
 *
 * A /dev/kvm that opens proves nothing: it may be backed by software. So a tiny
 * 64-bit guest counts in a register for a few milliseconds, until a signal
 * stops it, and the rate tells.
 *
 * A VM of its own, by the bare API: an engine's VM wants a struct vm with its
 * memory and threads, and a probe is asked before there is a machine.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "engine/kvm/internal.h"
#include "util/util.h"

#define PROBE_NS       4000000
#define HARDWARE_MIPS  100.0 /* software-backed ones do 2; the slowest hardware 1000 */
#define PROBE_RAM      0x5000u
#define PML4           0x1000u
#define PDPT           0x2000u
#define PD             0x3000u
#define CODE           0x4000u
#define PTE_PRESENT_RW 3u
#define PTE_LARGE      0x80u

/* loop: inc rax; jmp loop */
static const uint8_t code[] = {0x48, 0xff, 0xc0, 0xeb, 0xfb};
#define INSNS_PER_COUNT 2

struct probe {
	int device, vm, cpu;
	size_t run_size;
	struct kvm_run *run;
	uint8_t *ram;
};

static int set_long_mode(struct probe *p)
{
	struct kvm_segment code_seg = {.limit = 0xffffffff,
		.selector = 8,
		.type = 11,
		.present = 1,
		.s = 1,
		.l = 1,
		.g = 1};
	struct kvm_segment data_seg = {.limit = 0xffffffff,
		.selector = 16,
		.type = 3,
		.present = 1,
		.s = 1,
		.db = 1,
		.g = 1};
	struct kvm_regs regs = {.rip = CODE, .rflags = X86_FLAGS_FIXED};
	struct kvm_sregs s;
	int rc = kvm_ioctl(p->cpu, KVM_GET_SREGS, &s);

	s.cs = code_seg;
	s.ds = s.es = s.ss = s.fs = s.gs = data_seg;
	s.cr3 = PML4;
	s.cr4 = X86_CR4_PAE;
	s.cr0 = X86_CR0_PE | X86_CR0_PG | X86_CR0_ET | X86_CR0_NE;
	s.efer = X86_EFER_LME | X86_EFER_LMA;
	if (rc >= 0)
		rc = kvm_ioctl(p->cpu, KVM_SET_SREGS, &s);
	return rc < 0 ? rc : kvm_ioctl(p->cpu, KVM_SET_REGS, &regs);
}

static void fill_ram(struct probe *p)
{
	uint64_t pml4e = PDPT | PTE_PRESENT_RW, pdpte = PD | PTE_PRESENT_RW;
	uint64_t pde = PTE_PRESENT_RW | PTE_LARGE;

	memcpy(p->ram + PML4, &pml4e, sizeof(pml4e));
	memcpy(p->ram + PDPT, &pdpte, sizeof(pdpte));
	memcpy(p->ram + PD, &pde, sizeof(pde));
	memcpy(p->ram + CODE, code, sizeof(code));
}

static int make_vm(struct probe *p)
{
	struct kvm_userspace_memory_region region = {.memory_size = PROBE_RAM};
	int rc = p->vm = kvm_ioctl(p->device, KVM_CREATE_VM, NULL);

	if (rc < 0)
		return rc;
	p->ram = mmap(NULL, PROBE_RAM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p->ram == MAP_FAILED)
		return -errno;
	fill_ram(p);
	region.userspace_addr = (uintptr_t)p->ram;
	rc = kvm_ioctl(p->vm, KVM_SET_USER_MEMORY_REGION, &region);
	if (rc >= 0)
		rc = p->cpu = kvm_ioctl(p->vm, KVM_CREATE_VCPU, NULL);
	if (rc < 0)
		return rc;
	p->run_size = (size_t)kvm_ioctl(p->device, KVM_GET_VCPU_MMAP_SIZE, NULL);
	p->run = mmap(NULL, p->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, p->cpu, 0);
	return p->run == MAP_FAILED ? -errno : set_long_mode(p);
}

/* The timer's signal goes to this thread and makes KVM_RUN return. */
static int run_for(struct probe *p, double *elapsed)
{
	struct sigevent ev = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = KVM_KICK_SIGNAL};
	struct itimerspec once = {{0, PROBE_NS}, {0, PROBE_NS}};
	timer_t timer;
	uint64_t start;
	int rc;

	ev._sigev_un._tid = gettid();
	if (timer_create(CLOCK_MONOTONIC, &ev, &timer))
		return -errno;
	start = monotonic_ns();
	timer_settime(timer, 0, &once, NULL);
	rc = kvm_ioctl(p->cpu, KVM_RUN, NULL);
	*elapsed = (double)(monotonic_ns() - start) / 1e9;
	timer_delete(timer);
	return rc == -EINTR ? 0 : rc < 0 ? rc : -EIO;
}

static int measure(struct probe *p, double *mips)
{
	struct kvm_regs regs;
	double elapsed = 0;
	int rc = make_vm(p);

	if (rc >= 0)
		rc = run_for(p, &elapsed);
	if (rc >= 0)
		rc = kvm_ioctl(p->cpu, KVM_GET_REGS, &regs);
	if (rc >= 0 && elapsed > 0)
		*mips = (double)regs.rax * INSNS_PER_COUNT / elapsed / 1e6;
	return rc;
}

static void judge(struct engine_verdict *v, int rc)
{
	if (rc < 0) {
		snprintf(v->why, sizeof(v->why), "/dev/kvm is there but cannot run a guest: %s",
			strerror(-rc));
		return;
	}
	v->level = v->mips >= HARDWARE_MIPS ? ENGINE_READY : ENGINE_SLOW;
	if (v->level == ENGINE_READY)
		snprintf(v->why, sizeof(v->why), "hardware virtualization");
	else
		snprintf(v->why, sizeof(v->why),
			"/dev/kvm works but is backed by software (%.1f M instructions/s)",
			v->mips);
}

void kvm_probe(struct engine_verdict *v)
{
	struct probe p = {.vm = -1, .cpu = -1};
	int rc;

	*v = (struct engine_verdict){.level = ENGINE_UNUSABLE};
	p.device = kvm_open_device(v->why, sizeof(v->why), v->cure, sizeof(v->cure));
	if (p.device < 0)
		return;
	kvm_catch_kicks();
	rc = measure(&p, &v->mips);
	judge(v, rc);
	if (p.run && p.run != MAP_FAILED)
		munmap(p.run, p.run_size);
	if (p.cpu >= 0)
		close(p.cpu);
	if (p.vm >= 0)
		close(p.vm);
	if (p.ram && p.ram != MAP_FAILED)
		munmap(p.ram, PROBE_RAM);
	close(p.device);
}
