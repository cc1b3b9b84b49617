/* paging.c - the page walk; see paging.h. */
#include "x86/paging.h"

#include <string.h>

#define P  UINT64_C(0x1)
#define RW UINT64_C(0x2)
#define US UINT64_C(0x4)
#define A  UINT64_C(0x20)
#define D  UINT64_C(0x40)
#define PS UINT64_C(0x80)
#define G  UINT64_C(0x100)
#define NX (UINT64_C(1) << 63)

#define MAX_LEVELS 4

/* The entries of one walk, from the top. */
struct walk {
	const struct x86_state *s;
	const struct x86_page_memory *m;
	unsigned entry_size, levels;
	unsigned depth; /* entries used */
	uint64_t at[MAX_LEVELS], entry[MAX_LEVELS];
	uint64_t rights; /* RW and US of all entries, and NX of any */
};

static uint64_t bits(unsigned low, unsigned high) /* high excluded */
{
	return high <= low ? 0 : (~UINT64_C(0) >> (64 - (high - low))) << low;
}

static unsigned shift_of(const struct walk *w, unsigned level) /* level 1: page table */
{
	return 12 + (level - 1) * (w->entry_size == 8 ? 9 : 10);
}

static uint64_t index_of(const struct walk *w, uint64_t lin, unsigned level)
{
	return lin >> shift_of(w, level) & (w->entry_size == 8 ? 511 : 1023);
}

static bool may_be_large(const struct walk *w, unsigned level)
{
	if (w->entry_size == 4)
		return level == 2 && w->s->cr4 & X86_CR4_PSE;
	return level == 2 || (level == 3 && w->levels == 4);
}

static uint64_t reserved_bits(const struct walk *w, unsigned level, bool large)
{
	uint64_t mask = 0;

	if (w->entry_size == 4) {
		if (!large)
			return 0;
		/* PSE-36: bits 20:13 are address bits 39:32 (SDM table 4-4). */
		return bits(w->m->phys_bits < 40 ? w->m->phys_bits - 32 + 13 : 21, 22);
	}
	mask = bits(w->m->phys_bits, 52);
	if (w->levels < 4)
		mask |= bits(52, 63);
	if (!(w->s->efer & X86_EFER_NXE))
		mask |= NX;
	if (large)
		mask |= bits(13, shift_of(w, level));
	else if (level > 2 && (level == 4 || !may_be_large(w, level)))
		mask |= PS;
	return mask;
}

static uint64_t address_of(const struct walk *w, uint64_t entry)
{
	return w->entry_size == 4 ? entry & 0xfffff000 : entry & bits(12, w->m->phys_bits);
}

static uint64_t page_address(const struct walk *w, uint64_t entry, unsigned level, uint64_t lin)
{
	uint64_t offset = bits(0, shift_of(w, level));

	if (w->entry_size == 4 && level == 2)
		return (entry & 0xffc00000) | (entry & 0x1fe000) << 19 | (lin & offset);
	return (address_of(w, entry) & ~offset) | (lin & offset);
}

/* What the accumulated flags allow to everybody (SDM 4.6). */
static uint32_t rights_of(const struct walk *w, bool dirty)
{
	const struct x86_state *s = w->s;
	bool user = w->rights & US, write = w->rights & RW;
	bool fetch = !(w->rights & NX), smep = user && s->cr4 & X86_CR4_SMEP;
	bool data = !(user && s->cr4 & X86_CR4_SMAP);
	bool kernel_write = dirty && (write || !(s->cr0 & X86_CR0_WP));
	uint32_t r = X86_RIGHT(X86_SUPERVISOR_AC, X86_READ);

	if (user) {
		r |= X86_RIGHT(X86_USER, X86_READ);
		if (write && dirty)
			r |= X86_RIGHT(X86_USER, X86_WRITE);
		if (fetch)
			r |= X86_RIGHT(X86_USER, X86_FETCH);
	}
	if (kernel_write)
		r |= X86_RIGHT(X86_SUPERVISOR_AC, X86_WRITE);
	if (data)
		r |= X86_RIGHT(X86_SUPERVISOR, X86_READ);
	if (data && kernel_write)
		r |= X86_RIGHT(X86_SUPERVISOR, X86_WRITE);
	if (fetch && !smep)
		r |= X86_RIGHT(X86_SUPERVISOR, X86_FETCH) | X86_RIGHT(X86_SUPERVISOR_AC, X86_FETCH);
	return r;
}

static uint32_t error_code(const struct x86_state *s, enum x86_privilege p, enum x86_access a)
{
	uint32_t error = 0;

	if (a == X86_WRITE)
		error |= X86_PF_WRITE;
	if (p == X86_USER)
		error |= X86_PF_USER;
	if (a == X86_FETCH &&
		((s->cr4 & X86_CR4_PAE && s->efer & X86_EFER_NXE) || s->cr4 & X86_CR4_SMEP))
		error |= X86_PF_FETCH;
	return error;
}

static void start(struct walk *w, uint64_t *table, unsigned *level, uint64_t lin)
{
	const struct x86_state *s = w->s;

	w->entry_size = s->cr4 & X86_CR4_PAE ? 8 : 4;
	w->rights = RW | US;
	if (s->efer & X86_EFER_LMA) {
		w->levels = *level = 4;
		*table = s->cr3 & bits(12, 52);
	} else if (w->entry_size == 8) { /* the top level is in the PDPTE registers */
		w->levels = 3;
		*level = 2;
		*table = s->pdpte[lin >> 30 & 3];
	} else {
		w->levels = *level = 2;
		*table = s->cr3 & 0xfffff000;
	}
}

/* false: not present or reserved, with *error. Fills w and the page's address and shift. */
static bool descend(struct walk *w, uint64_t lin, struct x86_page *page, uint32_t *error)
{
	uint64_t table, entry;
	unsigned level;
	bool large;

	start(w, &table, &level, lin);
	if (w->levels == 3) {
		if (!(table & P))
			return false;
		table &= bits(12, w->m->phys_bits);
	}
	for (;; level--) {
		uint64_t at = table + index_of(w, lin, level) * w->entry_size;

		entry = w->m->load(w->m->ctx, at, w->entry_size);
		w->at[w->depth] = at;
		w->entry[w->depth++] = entry;
		if (!(entry & P))
			return false;
		large = level > 1 && entry & PS && may_be_large(w, level);
		if (entry & reserved_bits(w, level, large)) {
			*error |= X86_PF_PRESENT | X86_PF_RESERVED;
			return false;
		}
		w->rights = (w->rights & (entry | ~(RW | US))) | (entry & NX);
		if (level == 1 || large)
			break;
		table = address_of(w, entry);
	}
	page->gpa = page_address(w, entry, level, lin);
	page->shift = (uint8_t)shift_of(w, level);
	page->global = entry & G && w->s->cr4 & X86_CR4_PGE;
	return true;
}

/* false: an entry has changed meanwhile. */
static bool mark(struct walk *w, bool write)
{
	for (unsigned n = 0; n < w->depth; n++) {
		uint64_t want = w->entry[n] | A | (write && n == w->depth - 1 ? D : 0);

		if (want == w->entry[n])
			continue;
		if (!w->m->swap(w->m->ctx, w->at[n], w->entry_size, w->entry[n], want))
			return false;
		w->entry[n] = want;
	}
	return true;
}

static void identity(uint64_t lin, struct x86_page *page)
{
	*page = (struct x86_page){.gpa = lin, .shift = 12, .rights = ~0u};
}

bool x86_translate(const struct x86_state *s, const struct x86_page_memory *m, uint64_t lin,
	enum x86_privilege p, enum x86_access a, struct x86_page *page)
{
	struct walk w;

	if (!(s->cr0 & X86_CR0_PG)) {
		identity(lin, page);
		return true;
	}
	do {
		w = (struct walk){.s = s, .m = m};
		page->error = error_code(s, p, a);
		if (!descend(&w, lin, page, &page->error))
			return false;
		if (!(rights_of(&w, true) & X86_RIGHT(p, a))) {
			page->error |= X86_PF_PRESENT;
			return false;
		}
	} while (!mark(&w, a == X86_WRITE));
	page->rights = rights_of(&w, w.entry[w.depth - 1] & D);
	return true;
}

bool x86_load_pdptes(uint64_t cr3, const struct x86_page_memory *m, uint64_t pdpte[4])
{
	uint64_t reserved = bits(1, 3) | bits(5, 9) | bits(m->phys_bits, 64);

	for (unsigned n = 0; n < 4; n++) {
		pdpte[n] = m->load(m->ctx, (cr3 & 0xffffffe0) + n * 8, 8);
		if (pdpte[n] & P && pdpte[n] & reserved)
			return false;
	}
	return true;
}
