/*
 * 6-long-mode.c - 64-bit code: four levels of page tables and EFER.
 *
 * The guest multiplies two numbers whose product needs more than 32 bits.
 * SDM vol. 3A 4.5 and 9.8.5.
 */
#include <err.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#define RAM_SIZE         0x10000
#define ENTRY            0x4000
#define PML4             0x1000
#define PDPT             0x2000
#define PD               0x3000
#define PRESENT_WRITABLE 3u
#define LARGE            0x80u

static const uint8_t code[] = {
	0x48, 0x0f, 0xaf, 0xc3, /* imul rax, rbx */
	0xf4,                   /* hlt */
};

static int cpu;
static struct kvm_run *run;
static uint8_t *ram;

static void must(int rc, const char *what)
{
	if (rc < 0)
		err(1, "%s", what);
}

/* What 1-hlt.c shows step by step: a VM with RAM at 0, one vCPU at 0000:entry. */
static int set_up(const uint8_t *code, size_t len, uint64_t entry)
{
	struct kvm_userspace_memory_region slot = {.memory_size = RAM_SIZE};
	struct kvm_regs regs = {.rip = entry, .rflags = 2};
	struct kvm_sregs special;
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC), vm;

	if (kvm < 0) {
		warn("/dev/kvm");
		return 77;
	}
	must(vm = ioctl(kvm, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
	ram = mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	memcpy(ram + entry, code, len);
	slot.userspace_addr = (uintptr_t)ram;
	must(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &slot), "KVM_SET_USER_MEMORY_REGION");
	must(cpu = ioctl(vm, KVM_CREATE_VCPU, 0), "KVM_CREATE_VCPU");
	run = mmap(NULL, (size_t)ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), PROT_READ | PROT_WRITE,
		MAP_SHARED, cpu, 0);
	must(ioctl(cpu, KVM_GET_SREGS, &special), "KVM_GET_SREGS");
	special.cs.selector = 0;
	special.cs.base = 0;
	must(ioctl(cpu, KVM_SET_SREGS, &special), "KVM_SET_SREGS");
	must(ioctl(cpu, KVM_SET_REGS, &regs), "KVM_SET_REGS");
	return 0;
}

static void put64(uint64_t addr, uint64_t value)
{
	memcpy(ram + addr, &value, sizeof(value));
}

static void enter_long_mode(void)
{
	struct kvm_segment seg = {.limit = 0xffffffff,
		.selector = 16,
		.type = 3,
		.present = 1,
		.s = 1,
		.db = 1,
		.g = 1};
	struct kvm_sregs s;

	put64(PML4, PDPT | PRESENT_WRITABLE);
	put64(PDPT, PD | PRESENT_WRITABLE);
	put64(PD, PRESENT_WRITABLE | LARGE); /* the first 2 MiB, where they are */
	must(ioctl(cpu, KVM_GET_SREGS, &s), "KVM_GET_SREGS");
	s.ds = s.es = s.ss = s.fs = s.gs = seg;
	s.cs = seg;
	s.cs.selector = 8;
	s.cs.type = 11;
	s.cs.l = 1; /* 64-bit code */
	s.cs.db = 0;
	s.cr3 = PML4;
	s.cr4 = 0x20;       /* PAE */
	s.efer = 0x500;     /* LME and LMA */
	s.cr0 = 0x80000011; /* PG, ET, PE */
	must(ioctl(cpu, KVM_SET_SREGS, &s), "KVM_SET_SREGS");
}

int main(void)
{
	struct kvm_regs regs;
	int status = set_up(code, sizeof(code), ENTRY);

	if (status)
		return status;
	enter_long_mode();
	must(ioctl(cpu, KVM_GET_REGS, &regs), "KVM_GET_REGS");
	regs.rax = 3000000000u;
	regs.rbx = 5;
	must(ioctl(cpu, KVM_SET_REGS, &regs), "KVM_SET_REGS");
	must(ioctl(cpu, KVM_RUN, 0), "KVM_RUN");
	must(ioctl(cpu, KVM_GET_REGS, &regs), "KVM_GET_REGS");
	printf("3000000000 * 5 = %llu\n", regs.rax);
	if (run->exit_reason != KVM_EXIT_HLT || regs.rax != 15000000000u)
		errx(1, "that is wrong (exit reason %u)", run->exit_reason);
	return 0;
}
