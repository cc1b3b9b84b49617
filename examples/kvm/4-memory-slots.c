/*
 * 4-memory-slots.c - what is in a slot is memory; what is in none is an exit.
 *
 * The guest copies a byte from RAM to address 8000h, where there is nothing: an MMIO
 * exit. Then we put a slot there, run it again, and the byte just lands.
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
#define ABSENT   0x8000

static const uint8_t code[] = {
	0xa0, 0x07, 0x00, /* mov al, [7] */
	0xa2, 0x00, 0x80, /* mov [8000h], al */
	0xf4,             /* hlt */
	0x2a,             /* the byte */
};

static int machine, cpu;
static uint8_t *more; /* the second slot */
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
	must(vm = machine = ioctl(kvm, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
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

static void add_slot(void)
{
	struct kvm_userspace_memory_region slot = {
		.slot = 1, .guest_phys_addr = ABSENT, .memory_size = 4096};

	if (more)
		return;
	more = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	slot.userspace_addr = (uintptr_t)more;
	must(ioctl(machine, KVM_SET_USER_MEMORY_REGION, &slot), "KVM_SET_USER_MEMORY_REGION");
}

int main(void)
{
	struct kvm_regs regs;
	int status = set_up(code, sizeof(code), 0);
	unsigned exits = 0;

	if (status)
		return status;
	for (unsigned round = 0; round < 2; round++) {
		do {
			must(ioctl(cpu, KVM_RUN, 0), "KVM_RUN");
			if (run->exit_reason == KVM_EXIT_MMIO && run->mmio.is_write) {
				printf("exit: %u byte to %#llx: %#x\n", run->mmio.len,
					run->mmio.phys_addr, run->mmio.data[0]);
				exits += run->mmio.phys_addr == ABSENT && run->mmio.data[0] == 0x2a;
			}
		} while (run->exit_reason == KVM_EXIT_MMIO);
		if (run->exit_reason != KVM_EXIT_HLT)
			errx(1, "exit reason %u", run->exit_reason);
		add_slot();
		must(ioctl(cpu, KVM_GET_REGS, &regs), "KVM_GET_REGS");
		regs.rip = 0;
		must(ioctl(cpu, KVM_SET_REGS, &regs), "KVM_SET_REGS");
	}
	printf("%u exit without a slot, none with one; the byte is %#x\n", exits, more[0]);
	if (exits != 1 || more[0] != 0x2a)
		errx(1, "that is wrong");
	return 0;
}
