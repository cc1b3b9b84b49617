/*
 * vmlinux.c - see vmlinux.h.
 *
 * The kernel's build appends a table of relocations to the ELF file. It is made
 * to be read from its end: 32-bit words, each the (sign-extended) virtual
 * address of a field that holds an address, in lists that end with a zero:
 * 32-bit fields to add to; in 64-bit kernels then 32-bit fields to subtract
 * from (per-CPU offsets; newer kernels have no such list), and 64-bit fields
 * to add to.
 */
#include "boot/vmlinux.h"

#include "boot/plan.h"

#define WORD     sizeof(uint32_t)
#define SEGMENTS 16u

/* What is to be loaded. The file may be written over afterwards. */
static const char *find_segments(struct vmlinux *k, struct elf_segment *seg, unsigned *count)
{
	*count = 0;
	for (unsigned i = 0; i < k->elf.phnum; i++) {
		struct elf_segment s = elf_segment(&k->elf, i);

		if (s.type != ELF_LOAD || !s.memsz)
			continue;
		if (s.paddr < k->base || !range_in(s.paddr - k->base, s.memsz, k->room))
			return "a segment lies outside the memory that the kernel asks for";
		if (*count == SEGMENTS)
			return "it has too many segments";
		seg[(*count)++] = s;
	}
	return *count ? NULL : "it has nothing to load";
}

/* In the file's own memory: the segments ascend, and none is put where what follows is read. */
static bool fits_in_place(const struct vmlinux *k, const struct elf_segment *seg, unsigned count)
{
	uint64_t filled = 0;

	for (unsigned n = 0; n < count; n++) {
		if (seg[n].paddr - k->base < filled)
			return false;
		filled = seg[n].paddr - k->base + seg[n].filesz;
		if (n + 1 < count && seg[n + 1].offset < filled)
			return false;
	}
	return filled <= k->elf.sections_end;
}

static const char *fill(struct vmlinux *k)
{
	bool in_place = k->image == k->elf.data;
	struct elf_segment seg[SEGMENTS];
	unsigned count;
	const char *why = find_segments(k, seg, &count);

	if (why)
		return why;
	if (in_place && !fits_in_place(k, seg, count))
		return "its segments cannot be moved in place";
	k->virtual = seg[0].vaddr - seg[0].paddr;
	for (unsigned n = 0; n < count; n++) {
		uint64_t off = seg[n].paddr - k->base;

		if (in_place)
			memset(k->image + k->filled, 0, off - k->filled);
		memmove(k->image + off, k->elf.data + seg[n].offset, seg[n].filesz);
		k->filled = MAX(k->filled, off + seg[n].filesz);
		k->extent = MAX(k->extent, off + seg[n].memsz);
	}
	return NULL;
}

/* The list that ends at *end; *end is then before its terminator. false: none in [from, *end). */
static bool last_list(const uint8_t *from, const uint8_t **end, struct vmlinux_list *list)
{
	const uint8_t *p = *end;

	list->count = 0;
	while ((size_t)(p - from) >= WORD) {
		p -= WORD;
		if (!get32(p)) {
			list->word = p + WORD;
			*end = p;
			return true;
		}
		list->count++;
	}
	return false;
}

/* No table, or one that does not fill the rest of the file: the kernel stays where it is. */
static void find_relocations(struct vmlinux *k)
{
	const uint8_t *from = k->elf.data + k->elf.sections_end;
	const uint8_t *end = k->elf.data + k->elf.len;
	struct vmlinux_list list[VMLINUX_LISTS];
	unsigned n = 0;

	if (!k->elf.sections_end)
		return;
	while (n < VMLINUX_LISTS && last_list(from, &end, &list[n]))
		n++;
	if (end != from || n < (k->elf.is_64 ? 2 : 1) || (!k->elf.is_64 && n > 1))
		return;
	k->relocatable = true;
	k->add32 = list[0];
	if (k->elf.is_64)
		k->add64 = list[n - 1];
	if (n == VMLINUX_LISTS)
		k->sub32 = list[1];
}

const char *vmlinux_open(struct vmlinux *k, const uint8_t *data, size_t len, uint64_t base,
	uint8_t *image, uint64_t room)
{
	const char *why;

	*k = (struct vmlinux){.base = base, .room = room, .image = image};
	why = elf_open(&k->elf, data, len);
	if (!why)
		why = fill(k);
	if (!why && !range_in(k->elf.entry - base, 1, k->extent))
		why = "its entry point lies outside of it";
	if (!why)
		find_relocations(k);
	return why;
}

/* The field of the image that word i of the list names, or NULL. */
static uint8_t *field(
	const struct vmlinux *k, const struct vmlinux_list *l, uint64_t i, size_t size)
{
	uint32_t word = get32(l->word + i * WORD);
	uint64_t at = k->elf.is_64 ? (uint64_t)(int64_t)(int32_t)word : word;
	uint64_t off = (k->elf.is_64 ? at - k->virtual : (uint32_t)(at - k->virtual)) - k->base;

	return range_in(off, size, k->filled) ? k->image + off : NULL;
}

static bool move32(const struct vmlinux *k, const struct vmlinux_list *l, uint32_t delta)
{
	for (uint64_t i = 0; i < l->count; i++) {
		uint8_t *p = field(k, l, i, 4);

		if (!p)
			return false;
		put32(p, get32(p) + delta);
	}
	return true;
}

static bool move64(const struct vmlinux *k, const struct vmlinux_list *l, uint64_t delta)
{
	for (uint64_t i = 0; i < l->count; i++) {
		uint8_t *p = field(k, l, i, 8);

		if (!p)
			return false;
		put64(p, get64(p) + delta);
	}
	return true;
}

bool vmlinux_relocate(struct vmlinux *k, uint64_t delta)
{
	return !delta ||
	       (move32(k, &k->add32, (uint32_t)delta) && move32(k, &k->sub32, (uint32_t)-delta) &&
		       move64(k, &k->add64, delta));
}
