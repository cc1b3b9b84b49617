/*
 * 1-hlt.c - the smallest guest: one HLT in 16-bit real mode.
 *
 * A VM, a page of memory, a vCPU, its first instruction, KVM_RUN, and the reason
 * why it came back. The kernel's Documentation/virt/kvm/api.rst explains each call.
 */
#include <err.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

static const uint8_t code[] = {
	0xf4, /* hlt */
};

int main(void)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (kvm < 0) {
		warn("/dev/kvm");
		return 77;
	}
	if (ioctl(kvm, KVM_GET_API_VERSION, 0) != KVM_API_VERSION)
		errx(1, "another version of the KVM API");

	/* A machine has memory and vCPUs, and nothing else yet. */
	int vm = ioctl(kvm, KVM_CREATE_VM, 0);
	if (vm < 0)
		err(1, "KVM_CREATE_VM");

	/* One page of our memory is the guest's physical memory from 0 on. */
	uint8_t *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED)
		err(1, "mmap");
	memcpy(page, code, sizeof(code));
	struct kvm_userspace_memory_region slot = {.slot = 0,
		.guest_phys_addr = 0,
		.memory_size = 4096,
		.userspace_addr = (uintptr_t)page};
	if (ioctl(vm, KVM_SET_USER_MEMORY_REGION, &slot))
		err(1, "KVM_SET_USER_MEMORY_REGION");

	/* A vCPU, and the page that it shares with us: why it stopped, and data of the exit. */
	int cpu = ioctl(vm, KVM_CREATE_VCPU, 0);
	if (cpu < 0)
		err(1, "KVM_CREATE_VCPU");
	int size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	struct kvm_run *run = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, cpu, 0);
	if (run == MAP_FAILED)
		err(1, "mmap of the vCPU");

	/* Out of reset CS is F000 and IP is FFF0: start at 0000:0000 instead. */
	struct kvm_sregs special;
	if (ioctl(cpu, KVM_GET_SREGS, &special))
		err(1, "KVM_GET_SREGS");
	special.cs.selector = 0;
	special.cs.base = 0;
	if (ioctl(cpu, KVM_SET_SREGS, &special))
		err(1, "KVM_SET_SREGS");
	struct kvm_regs regs = {.rip = 0, .rflags = 2}; /* bit 1 is always set */
	if (ioctl(cpu, KVM_SET_REGS, &regs))
		err(1, "KVM_SET_REGS");

	/* VM entry; it returns after the first VM exit that the kernel does not handle itself. */
	if (ioctl(cpu, KVM_RUN, 0))
		err(1, "KVM_RUN");
	if (run->exit_reason != KVM_EXIT_HLT)
		errx(1, "exit reason %u, not HLT", run->exit_reason);
	puts("the guest executed HLT and gave the CPU back");
	return 0;
}
