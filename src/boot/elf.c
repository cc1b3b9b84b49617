/* elf.c - see elf.h. */
#include "boot/elf.h"

#include "boot/plan.h"

#define EI_CLASS      4
#define EI_DATA       5
#define CLASS_32      1
#define CLASS_64      2
#define LITTLE_ENDIAN 1
#define MACHINE_386   3
#define MACHINE_X86   62
#define HEADER_32     52
#define HEADER_64     64
#define PHDR_32       32
#define PHDR_64       56
#define SEGMENTS_MAX  64

bool elf_is(const uint8_t *data, size_t len)
{
	return len >= HEADER_32 && !memcmp(data, "\177ELF", 4);
}

static void read_header(struct elf *e)
{
	const uint8_t *h = e->data;
	const uint8_t *counts = h + (e->is_64 ? 54 : 42); /* from e_phentsize on */
	uint64_t shoff = e->is_64 ? get64(h + 40) : get32(h + 32);
	uint64_t shsize = (uint64_t)get16(counts + 4) * get16(counts + 6);

	e->entry = e->is_64 ? get64(h + 24) : get32(h + 24);
	e->phoff = e->is_64 ? get64(h + 32) : get32(h + 28);
	e->phsize = get16(counts);
	e->phnum = get16(counts + 2);
	if (shsize && range_in(shoff, shsize, e->len))
		e->sections_end = shoff + shsize;
}

static const char *check_segments(const struct elf *e)
{
	if (e->phsize < (e->is_64 ? PHDR_64 : PHDR_32) || e->phnum > SEGMENTS_MAX ||
		!range_in(e->phoff, (uint64_t)e->phnum * e->phsize, e->len))
		return "its table of segments is not in the file";
	for (unsigned i = 0; i < e->phnum; i++) {
		struct elf_segment s = elf_segment(e, i);

		if (s.type != ELF_LOAD && s.type != ELF_NOTE)
			continue;
		if (!range_in(s.offset, s.filesz, e->len))
			return "a segment is not in the file";
		if (s.type == ELF_LOAD && (s.filesz > s.memsz || s.paddr + s.memsz < s.paddr))
			return "a segment has an impossible size";
	}
	return NULL;
}

const char *elf_open(struct elf *e, const uint8_t *data, size_t len)
{
	unsigned class, machine;

	*e = (struct elf){.data = data, .len = len};
	if (!elf_is(data, len))
		return "it is no ELF file";
	class = data[EI_CLASS];
	machine = get16(data + 18);
	e->is_64 = class == CLASS_64;
	if (data[EI_DATA] != LITTLE_ENDIAN || (class != CLASS_32 && class != CLASS_64) ||
		(machine != MACHINE_386 && machine != MACHINE_X86))
		return "it is an ELF file for another processor";
	if (e->is_64 && len < HEADER_64)
		return "it is cut off within its header";
	read_header(e);
	return check_segments(e);
}

struct elf_segment elf_segment(const struct elf *e, unsigned i)
{
	const uint8_t *p = e->data + e->phoff + (uint64_t)i * e->phsize;

	if (e->is_64)
		return (struct elf_segment){.type = get32(p),
			.offset = get64(p + 8),
			.vaddr = get64(p + 16),
			.paddr = get64(p + 24),
			.filesz = get64(p + 32),
			.memsz = get64(p + 40)};
	return (struct elf_segment){.type = get32(p),
		.offset = get32(p + 4),
		.vaddr = get32(p + 8),
		.paddr = get32(p + 12),
		.filesz = get32(p + 16),
		.memsz = get32(p + 20)};
}

/* One segment of notes: name size, value size, type, name, value; each on a word. */
static bool find_note(
	const uint8_t *p, uint64_t len, const char *name, uint32_t type, uint64_t *value)
{
	size_t name_len = strlen(name) + 1;

	while (len >= 12) {
		uint64_t name_size = round_up(get32(p), 4), size = get32(p + 4);
		uint64_t all = 12 + name_size + round_up(size, 4);
		const uint8_t *v = p + 12 + name_size;

		if (12 + name_size + size > len)
			return false;
		if (get32(p) == name_len && get32(p + 8) == type &&
			!memcmp(p + 12, name, name_len) && (size == 4 || size == 8)) {
			*value = size == 4 ? get32(v) : get64(v);
			return true;
		}
		if (all >= len)
			return false;
		p += all;
		len -= all;
	}
	return false;
}

bool elf_note(const struct elf *e, const char *name, uint32_t type, uint64_t *value)
{
	for (unsigned i = 0; i < e->phnum; i++) {
		struct elf_segment s = elf_segment(e, i);

		if (s.type == ELF_NOTE &&
			find_note(e->data + s.offset, s.filesz, name, type, value))
			return true;
	}
	return false;
}
