/*
 * multiboot.h - magic numbers and offsets of the Multiboot Specification 0.6.96
 * and of the Multiboot2 Specification 2.0 (Free Software Foundation).
 */
#ifndef TINAMOU_BOOT_MULTIBOOT_H
#define TINAMOU_BOOT_MULTIBOOT_H

#define MB1_SEARCH    8192 /* the header lies within so many bytes, at a multiple of 4 */
#define MB1_MAGIC     0x1badb002u
#define MB1_EAX       0x2badb002u
#define MB1_ADDRESSES 0x10000u /* flag: the header says where to load */
#define MB1_REQUIRED  0xffffu  /* flags that a loader must know */
#define MB1_KNOWN     0x7u     /* page alignment, memory, video */

#define MB2_SEARCH 32768 /* at a multiple of 8 */
#define MB2_MAGIC  0xe85250d6u
#define MB2_EAX    0x36d76289u
#define MB2_HEADER 16

/* The information of version 1. */
enum {
	MB1_FLAGS = 0,
	MB1_MEM_LOWER = 4,
	MB1_MEM_UPPER = 8,
	MB1_CMDLINE = 16,
	MB1_MODS_COUNT = 20,
	MB1_MODS_ADDR = 24,
	MB1_MMAP_LENGTH = 44,
	MB1_MMAP_ADDR = 48,
	MB1_LOADER_NAME = 64,
	MB1_FRAMEBUFFER = 88,
	MB1_INFO_SIZE = 120,
	MB1_MODULE_SIZE = 16,
	MB1_MMAP_SIZE = 24
};
#define MB1_INFO_FLAGS 0x124du /* memory, command line, modules, map, loader, framebuffer */

/* Tags of the header of version 2. */
enum {
	MB2_H_END,
	MB2_H_REQUEST,
	MB2_H_ADDRESS,
	MB2_H_ENTRY,
	MB2_H_CONSOLE,
	MB2_H_FRAMEBUFFER,
	MB2_H_ALIGN,
	MB2_H_RELOCATABLE = 10
};

/* Tags of the information of version 2. */
enum {
	MB2_END = 0,
	MB2_CMDLINE = 1,
	MB2_LOADER_NAME = 2,
	MB2_MODULE = 3,
	MB2_MEMINFO = 4,
	MB2_MMAP = 6,
	MB2_FRAMEBUFFER = 8
};

#endif
