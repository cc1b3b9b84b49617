/*
 * 5-page-tables.c - 32-bit protected mode with paging, set up from outside.
 *
 * One page directory, in the PAE format: linear 400000h is physical 5000h. The guest
 * reads a word there. SDM vol. 3A 4.4.
 */
#include <err.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#define RAM_SIZE 0x10000
#define ENTRY    0x1000
#define PDPT     0x2000 /* 4 entries */
#define PD       0x3000
#define PT       0x4000
#define DATA     0x5000
#define PRESENT  1u
#define WRITABLE 2u
#define LARGE    0x80u

static const uint8_t code[] = {
	0xa1, 0x00, 0x00, 0x40, 0x00, /* mov eax, [400000h] */
	0xf4,                         /* hlt */
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

/* Linear 0 to 2 MiB is where it is; the page at 4 MiB is the one at DATA. */
static void make_page_tables(void)
{
	put64(PDPT, PD | PRESENT);
	put64(PD, PRESENT | WRITABLE | LARGE);
	put64(PD + 2 * 8, PT | PRESENT | WRITABLE);
	put64(PT, DATA | PRESENT | WRITABLE);
	put64(DATA, 0x12345678);
}

int main(void)
{
	struct kvm_segment flat = {
		.limit = 0xffffffff, .type = 3, .present = 1, .s = 1, .db = 1, .g = 1};
	struct kvm_sregs s;
	struct kvm_regs regs;
	int status = set_up(code, sizeof(code), ENTRY);

	if (status)
		return status;
	make_page_tables();
	must(ioctl(cpu, KVM_GET_SREGS, &s), "KVM_GET_SREGS");
	flat.selector = 16;
	s.ds = s.es = s.ss = s.fs = s.gs = flat;
	s.cs = flat;
	s.cs.selector = 8;
	s.cs.type = 11; /* code, readable, accessed */
	s.cr3 = PDPT;
	s.cr4 = 0x20;              /* PAE */
	s.cr0 = 0x80000001 | 0x10; /* PG, PE, ET */
	must(ioctl(cpu, KVM_SET_SREGS, &s), "KVM_SET_SREGS");
	must(ioctl(cpu, KVM_RUN, 0), "KVM_RUN");
	if (run->exit_reason == KVM_EXIT_SHUTDOWN) {
		puts("this /dev/kvm shuts down at 32-bit paging: it is backed by software");
		return 77;
	}
	must(ioctl(cpu, KVM_GET_REGS, &regs), "KVM_GET_REGS");
	printf("linear 400000h holds %#llx\n", regs.rax);
	if (run->exit_reason != KVM_EXIT_HLT || regs.rax != 0x12345678)
		errx(1, "that is wrong (exit reason %u)", run->exit_reason);
	return 0;
}
