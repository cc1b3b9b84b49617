/*
 * 8-boot-sector.c - boots a file of 512 bytes, as a BIOS does: at 0000:7C00.
 *
 * usage: 8-boot-sector [FILE]. Without a file a sector of our own is booted. It may
 * write to the text screen; HLT ends it. There is no BIOS to call.
 */
#include <err.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#define RAM_SIZE 0xa0000
#define SCREEN   0xb8000
#define BOOT     0x7c00

/* clang-format off */
static uint8_t sector[512] = {
	0xb8, 0x00, 0xb8, 0x8e, 0xd8,       /* mov ax, 0b800h; mov ds, ax */
	0xc7, 0x06, 0x00, 0x00, 'O', 0x0a,  /* mov word [0], 'O' in green */
	0xc7, 0x06, 0x02, 0x00, 'K', 0x0a,  /* mov word [2], 'K' */
	0xf4,                               /* hlt */
	[510] = 0x55, 0xaa,
};
/* clang-format on */

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

static void read_sector(const char *path)
{
	FILE *f = fopen(path, "rb");

	if (!f || fread(sector, 1, sizeof(sector), f) != sizeof(sector))
		err(1, "%s", path);
	if (sector[510] != 0x55 || sector[511] != 0xaa)
		errx(1, "%s: no boot sector", path);
	fclose(f);
}

int main(int argc, char **argv)
{
	int status;

	if (argc > 1)
		read_sector(argv[1]);
	status = set_up(sector, sizeof(sector), BOOT);
	if (status)
		return status;
	do {
		must(ioctl(cpu, KVM_RUN, 0), "KVM_RUN");
		if (run->exit_reason == KVM_EXIT_MMIO && run->mmio.is_write &&
			run->mmio.phys_addr - SCREEN < sizeof(screen) - 8)
			memcpy(screen + (run->mmio.phys_addr - SCREEN), run->mmio.data,
				run->mmio.len);
	} while (run->exit_reason == KVM_EXIT_MMIO || run->exit_reason == KVM_EXIT_IO);
	show_screen();
	if (run->exit_reason != KVM_EXIT_HLT)
		errx(1, "exit reason %u", run->exit_reason);
	return argc == 1 && memcmp(screen, "O\nK\n", 4) ? 1 : 0;
}
