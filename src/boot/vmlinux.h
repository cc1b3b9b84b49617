/*
 * vmlinux.h - a Linux kernel that is not compressed: where its segments go, and
 * its relocation to another address.
 */
#ifndef TINAMOU_BOOT_VMLINUX_H
#define TINAMOU_BOOT_VMLINUX_H

#include "boot/elf.h"

#define VMLINUX_LISTS 3

/* One kind of relocation: words of the file, each the address of what is to change. */
struct vmlinux_list {
	const uint8_t *word;
	uint64_t count;
};

struct vmlinux {
	struct elf elf;
	uint64_t base; /* physical address that the kernel is linked for */
	uint64_t room; /* bytes of image */
	uint8_t *image;
	uint64_t filled, extent; /* bytes of the image from the file, and with .bss */
	uint64_t virtual;        /* its virtual addresses are physical ones plus this */
	bool relocatable;
	struct vmlinux_list add32, sub32, add64;
};

/*
 * Takes the file apart and fills image, which has room zeroed bytes and stands for
 * the memory from base on. NULL, or what is wrong. k->image belongs to the caller.
 * image may be data: then the file is written over, but for its table of relocations,
 * and the image is right up to k->filled.
 */
const char *vmlinux_open(struct vmlinux *k, const uint8_t *data, size_t len, uint64_t base,
	uint8_t *image, uint64_t room);

/* Makes the image one for addresses that are delta higher. false: the table is damaged. */
bool vmlinux_relocate(struct vmlinux *k, uint64_t delta);

#endif
