/*
 * vmlinux.c - ELF program headers and the kernel's own relocations.
 *
 * Sources: ELF specification (System V ABI, chapter 5); Linux, the comment on
 * the relocation format in arch/x86/boot/compressed/misc.c: behind the ELF
 * file three lists of 32-bit numbers, each with a zero before it: 64-bit
 * places, places to subtract from, 32-bit places. They are kernel addresses,
 * sign-extended.
 */
#include "boot/vmlinux.h"

#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/util.h"

#define KERNEL_MAP   UINT64_C(0xffffffff80000000)
#define IMAGE_MAX    (512 * MiB)
#define RANDOM_ALIGN (2 * MiB)
#define RANDOM_ROOM  (1 * GiB) /* virtual space of the kernel image with random bases */

struct part {
	uint64_t offset, addr, file_size, size;
};

#define MAX_PARTS 16

struct elf {
	struct part part[MAX_PARTS];
	unsigned parts;
	uint64_t entry;
	bool wide;
};

static int read_parts_64(const uint8_t *d, size_t len, struct elf *e)
{
	Elf64_Ehdr h;
	Elf64_Phdr p;

	memcpy(&h, d, sizeof(h));
	e->entry = h.e_entry;
	for (unsigned n = 0; n < h.e_phnum; n++) {
		if (!range_in(h.e_phoff + n * sizeof(p), sizeof(p), len))
			return -EINVAL;
		memcpy(&p, d + h.e_phoff + n * sizeof(p), sizeof(p));
		if (p.p_type != PT_LOAD)
			continue;
		if (e->parts == MAX_PARTS)
			return -EINVAL;
		e->part[e->parts++] = (struct part){p.p_offset, p.p_paddr, p.p_filesz, p.p_memsz};
	}
	return 0;
}

static int read_parts_32(const uint8_t *d, size_t len, struct elf *e)
{
	Elf32_Ehdr h;
	Elf32_Phdr p;

	memcpy(&h, d, sizeof(h));
	e->entry = h.e_entry;
	for (unsigned n = 0; n < h.e_phnum; n++) {
		if (!range_in((uint64_t)h.e_phoff + n * sizeof(p), sizeof(p), len))
			return -EINVAL;
		memcpy(&p, d + h.e_phoff + n * sizeof(p), sizeof(p));
		if (p.p_type != PT_LOAD)
			continue;
		if (e->parts == MAX_PARTS)
			return -EINVAL;
		e->part[e->parts++] = (struct part){p.p_offset, p.p_paddr, p.p_filesz, p.p_memsz};
	}
	return 0;
}

static int read_elf(const uint8_t *d, size_t len, struct elf *e)
{
	if (len < sizeof(Elf64_Ehdr) || memcmp(d, ELFMAG, SELFMAG))
		return -EINVAL;
	e->wide = d[EI_CLASS] == ELFCLASS64;
	return e->wide ? read_parts_64(d, len, e) : read_parts_32(d, len, e);
}

static int lay_out(const struct elf *e, const uint8_t *elf, size_t len, struct vmlinux *v)
{
	uint64_t low = UINT64_MAX, high = 0;

	for (unsigned n = 0; n < e->parts; n++) {
		const struct part *p = &e->part[n];

		if (!range_in(p->offset, p->file_size, len) || p->file_size > p->size ||
			!range_in(p->addr, p->size, 4 * GiB))
			return -EINVAL;
		low = MIN(low, p->addr);
		high = MAX(high, p->addr + p->size);
	}
	if (low >= high || high - low > IMAGE_MAX)
		return -EINVAL;
	v->base = low;
	v->size = v->len = high - low;
	v->data = xcalloc(1, v->len);
	for (unsigned n = 0; n < e->parts; n++)
		memcpy(v->data + (e->part[n].addr - low), elf + e->part[n].offset,
			e->part[n].file_size);
	return 0;
}

/* ---- relocations ---- */

struct list {
	const uint8_t *elf;
	size_t at; /* of the next number, which is before it */
	uint64_t delta;
};

static bool next(struct list *l, int32_t *number)
{
	if (l->at < 4)
		return false;
	l->at -= 4;
	memcpy(number, l->elf + l->at, 4);
	return *number != 0;
}

static bool move_place(struct vmlinux *v, int32_t place, unsigned size, uint64_t delta)
{
	uint64_t at = (uint64_t)(int64_t)place - KERNEL_MAP - v->base, value = 0;

	if (!range_in(at, size, v->len))
		return false;
	memcpy(&value, v->data + at, size);
	value += delta;
	memcpy(v->data + at, &value, size);
	return true;
}

static bool move_list(struct vmlinux *v, struct list *l, unsigned size, uint64_t delta)
{
	int32_t place;

	while (next(l, &place))
		if (!move_place(v, place, size, delta))
			return false;
	return l->at > 0;
}

/* From the end backwards. */
static int relocate(struct vmlinux *v, const uint8_t *elf, size_t len, uint64_t delta)
{
	struct list l = {.elf = elf, .at = len & ~(size_t)3};

	if (!move_list(v, &l, 4, delta) || !move_list(v, &l, 4, -delta) ||
		!move_list(v, &l, 8, delta))
		return -EINVAL;
	return 0;
}

/* A multiple of 2 MiB that keeps the image within its GiB. */
static uint64_t random_delta(const struct vmlinux *v, uint64_t random)
{
	uint64_t end = v->base + v->size;

	if (end >= RANDOM_ROOM)
		return 0;
	return random % ((RANDOM_ROOM - end) / RANDOM_ALIGN) * RANDOM_ALIGN;
}

/* Only where the ELF file is followed by lists: a plain vmlinux has section headers there. */
static bool has_relocations(const uint8_t *elf, size_t len)
{
	Elf64_Ehdr h;
	int32_t last;

	memcpy(&h, elf, sizeof(h));
	if (len < 8)
		return false;
	memcpy(&last, elf + (len & ~(size_t)3) - 4, 4);
	return (uint64_t)(int64_t)last > KERNEL_MAP;
}

int vmlinux_load(const uint8_t *elf, size_t len, uint64_t random, struct vmlinux *out)
{
	struct elf e = {.parts = 0};
	int rc = read_elf(elf, len, &e);

	*out = (struct vmlinux){.wide = e.wide};
	if (!rc)
		rc = lay_out(&e, elf, len, out);
	if (rc)
		return rc;
	out->entry = e.wide && e.entry >= KERNEL_MAP ? e.entry - KERNEL_MAP : e.entry;
	if (random && e.wide && has_relocations(elf, len)) {
		uint64_t delta = random_delta(out, random);

		rc = delta ? relocate(out, elf, len, delta) : 0;
		out->moved = delta && !rc;
	}
	if (!rc && !range_in(out->entry, 1, 4 * GiB))
		rc = -EINVAL;
	if (rc)
		free(out->data);
	return rc;
}
