/*
 * elf.h - the parts of an ELF file that a boot loader needs.
 *
 * Source: System V ABI, "Object Files" and "Program Loading", and the processor
 * supplements for i386 and x86-64. Nothing is copied: the file stays where it
 * is, and each field is checked before it is used.
 */
#ifndef TINAMOU_BOOT_ELF_H
#define TINAMOU_BOOT_ELF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ELF_LOAD 1 /* types of segments */
#define ELF_NOTE 4

struct elf {
	const uint8_t *data;
	size_t len;
	bool is_64;
	uint64_t entry;
	uint64_t phoff;
	unsigned phnum, phsize;
	uint64_t sections_end; /* after the table of sections; 0: there is none in the file */
};

struct elf_segment {
	uint32_t type;
	uint64_t offset, filesz, memsz, vaddr, paddr;
};

bool elf_is(const uint8_t *data, size_t len);

/* NULL, or what is wrong with the file. */
const char *elf_open(struct elf *e, const uint8_t *data, size_t len);

/* Segment i of elf.phnum. Of ELF_LOAD and ELF_NOTE, elf_open has checked the place in the file. */
struct elf_segment elf_segment(const struct elf *e, unsigned i);

/* A note's 32- or 64-bit number; false: there is no such note. */
bool elf_note(const struct elf *e, const char *name, uint32_t type, uint64_t *value);

#endif
