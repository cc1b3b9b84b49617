/*
 * 7-mmio-screen.c - a device of our own: the VGA text screen at B8000.
 *
 * No slot is there, so each store of the guest is an MMIO exit, and we keep it.
 * A cell is a character and its colours.
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
#define SCREEN   0xb8000

static const uint8_t code[] = {
	0xb8, 0x00, 0xb8, /* mov ax, 0b800h */
	0x8e, 0xc0,       /* mov es, ax */
	0xbe, 0x17, 0x00, /* mov si, text */
	0x31, 0xff,       /* xor di, di */
	0xb4, 0x0a,       /* mov ah, 0ah: bright green */
	0xac,             /* next: lodsb */
	0x84, 0xc0,       /* test al, al */
	0x74, 0x03,       /* jz done */
	0xab,             /* stosw */
	0xeb, 0xf8,       /* jmp next */
	0xf4, 0x90, 0x90, /* done: hlt (to offset 17h) */
	'H', 'i', '!', 0, /* text */
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

static char screen[80 * 25 * 2];

static void show_screen(void)
{
	for (unsigned y = 0; y < 25; y++) {
		char line[81] = "";

		for (unsigned x = 0; x < 80; x++) {
			char ch = screen[(y * 80 + x) * 2];

			line[x] = ch >= ' ' && ch < 127 ? ch : ' ';
		}
		for (int x = 79; x >= 0 && line[x] == ' '; x--)
			line[x] = '\0';
		if (line[0])
			puts(line);
	}
}

int main(void)
{
	int status = set_up(code, sizeof(code), 0);
	unsigned exits = 0;

	if (status)
		return status;
	for (;;) {
		must(ioctl(cpu, KVM_RUN, 0), "KVM_RUN");
		if (run->exit_reason != KVM_EXIT_MMIO)
			break;
		exits++;
		if (run->mmio.is_write && run->mmio.phys_addr - SCREEN < sizeof(screen) - 8)
			memcpy(screen + (run->mmio.phys_addr - SCREEN), run->mmio.data,
				run->mmio.len);
	}
	show_screen();
	printf("(%u MMIO exits)\n", exits);
	if (run->exit_reason != KVM_EXIT_HLT || memcmp(screen, "H\ni\n!\n", 6))
		errx(1, "that is wrong (exit reason %u)", run->exit_reason);
	return 0;
}
