/*
 * 2-registers.c - a vCPU is its registers: put some in, run, look at them.
 *
 * The guest adds BX to AX; everything else is set and read from outside.
 */
#include <err.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#define RAM_SIZE 4096

static const uint8_t code[] = {
	0x01, 0xd8, /* add ax, bx */
	0xf4,       /* hlt */
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

int main(void)
{
	struct kvm_regs regs;
	int status = set_up(code, sizeof(code), 0);

	if (status)
		return status;
	must(ioctl(cpu, KVM_GET_REGS, &regs), "KVM_GET_REGS");
	regs.rax = 40;
	regs.rbx = 2;
	must(ioctl(cpu, KVM_SET_REGS, &regs), "KVM_SET_REGS");

	must(ioctl(cpu, KVM_RUN, 0), "KVM_RUN");
	must(ioctl(cpu, KVM_GET_REGS, &regs), "KVM_GET_REGS");
	printf("40 + 2 = %llu; the next instruction is at %#llx\n", regs.rax, regs.rip);
	if (run->exit_reason != KVM_EXIT_HLT || regs.rax != 42 || regs.rip != sizeof(code))
		errx(1, "that is wrong");
	return 0;
}
