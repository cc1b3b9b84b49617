/*
 * vmlinux.h - a Linux kernel as an ELF file, unpacked on the host.
 */
#ifndef TINAMOU_VMLINUX_H
#define TINAMOU_VMLINUX_H

#include "boot/boot.h"

struct vmlinux {
	uint8_t *data; /* memory from base on; owned */
	size_t len;
	uint64_t size; /* with what follows as zeros */
	gpa_t base, entry;
	bool wide;  /* 64-bit */
	bool moved; /* relocated to a random virtual address */
};

/*
 * Lays out the ELF file, with the relocations that follow it. random: 0, or any
 * number: the virtual base of a 64-bit kernel is then moved by it, if the kernel
 * has relocations. -EINVAL: no such file, or its parts lie outside of it.
 */
int vmlinux_load(const uint8_t *elf, size_t len, uint64_t random, struct vmlinux *out);

#endif
