/*
 * 3-port-io.c - IN and OUT leave the guest: we are the device.
 *
 * The guest reads port 10h, adds one and writes it to port 11h, then writes three
 * bytes with one REP OUTSB, which may be one exit with a count.
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
	0xe4, 0x10,       /* in al, 10h */
	0x04, 0x01,       /* add al, 1 */
	0xe6, 0x11,       /* out 11h, al */
	0xbe, 0x14, 0x00, /* mov si, text */
	0xb9, 0x03, 0x00, /* mov cx, 3 */
	0xba, 0x11, 0x00, /* mov dx, 11h */
	0xf3, 0x6e,       /* rep outsb */
	0xf4,             /* hlt */
	0x90, 0x90,       /* (to offset 14h) */
	'K', 'V', 'M',    /* text */
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

static char written[16];
static unsigned count;

/* The data lies in the shared page: count elements of size bytes, all for one port. */
static void port_exit(void)
{
	uint8_t *data = (uint8_t *)run + run->io.data_offset;

	for (unsigned i = 0; i < run->io.count && count < sizeof(written) - 1; i++) {
		if (run->io.direction == KVM_EXIT_IO_IN)
			data[i] = '@';
		else
			written[count++] = (char)data[i];
	}
	printf("exit: %s port %02x, %u bytes\n",
		run->io.direction == KVM_EXIT_IO_IN ? "in from" : "out to", run->io.port,
		run->io.count);
}

int main(void)
{
	int status = set_up(code, sizeof(code), 0);

	if (status)
		return status;
	for (;;) {
		must(ioctl(cpu, KVM_RUN, 0), "KVM_RUN");
		if (run->exit_reason != KVM_EXIT_IO)
			break;
		port_exit(); /* the next KVM_RUN finishes the instruction */
	}
	printf("the guest wrote '%s'\n", written);
	if (run->exit_reason != KVM_EXIT_HLT || strcmp(written, "AKVM"))
		errx(1, "that is wrong");
	return 0;
}
