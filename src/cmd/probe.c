/* probe.c - what a file is, by its content; see probe.h. */
#include "cmd/probe.h"

#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "util/util.h"

#define SECTOR          512
#define CD_MARK         (16 * 2048 + 1)
#define HEAD            8192 /* a Multiboot header lies within so much */
#define ELF_MACHINE     18
#define EM_386          3
#define EM_X86_64       62
#define LINUX_MARK      0x202 /* "HdrS" */
#define MULTIBOOT_MAGIC 0x1badb002u
#define MULTIBOOT_LEAST 48 /* of a header that says where all of it goes */

static uint32_t word(const uint8_t *p)
{
	return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static bool is_elf(const uint8_t *head, size_t len)
{
	return len > ELF_MACHINE && !memcmp(head, "\177ELF", 4) &&
	       (head[ELF_MACHINE] == EM_386 || head[ELF_MACHINE] == EM_X86_64);
}

static bool is_linux(const uint8_t *head, size_t len)
{
	return len >= LINUX_MARK + 4 && head[510] == 0x55 && head[511] == 0xaa &&
	       !memcmp(head + LINUX_MARK, "HdrS", 4);
}

/* Without ELF: magic, flags and checksum add up to zero. */
static bool is_multiboot(const uint8_t *head, size_t len)
{
	for (size_t at = 0; at + MULTIBOOT_LEAST <= len; at += 4)
		if (word(head + at) == MULTIBOOT_MAGIC &&
			!(uint32_t)(MULTIBOOT_MAGIC + word(head + at + 4) + word(head + at + 8)))
			return true;
	return false;
}

static bool is_cd(int fd)
{
	char mark[5];

	return pread(fd, mark, sizeof(mark), CD_MARK) == sizeof(mark) && !memcmp(mark, "CD001", 5);
}

/* Of 3.5 and 5.25 inch disks, in KiB. */
static bool is_floppy(int64_t size)
{
	static const unsigned sizes[] = {160, 180, 320, 360, 720, 1200, 1440, 2880};

	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++)
		if (size == (int64_t)(sizes[i] * KiB))
			return true;
	return false;
}

enum image_as image_probe(int fd, int64_t size)
{
	uint8_t head[HEAD];
	ssize_t n = pread(fd, head, sizeof(head), 0);
	size_t len = n < 0 ? 0 : (size_t)n;

	if (is_cd(fd)) /* hybrid images have a disk's boot sector too */
		return AS_CD;
	if (is_elf(head, len) || is_linux(head, len) || is_multiboot(head, len))
		return AS_KERNEL;
	if (size == SECTOR)
		return AS_SECTOR;
	return is_floppy(size) ? AS_FLOPPY : AS_DISK;
}

const char *image_as_name(enum image_as as)
{
	static const char *const name[] = {[AS_PROBE] = "?",
		[AS_DISK] = "a disk",
		[AS_CD] = "a CD-ROM",
		[AS_FLOPPY] = "a floppy",
		[AS_KERNEL] = "a kernel",
		[AS_SECTOR] = "a boot sector"};

	return name[as];
}
