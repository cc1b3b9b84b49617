/*
 * paging.h - from a linear address to a physical one.
 *
 * Source: SDM vol. 3A chapter 4: 32-bit paging with PSE and PSE-36, PAE,
 * 4-level with 2 MiB and 1 GiB pages; access rights of 4.6 with WP, SMEP, SMAP
 * and NX; accessed and dirty flags of 4.8, set by compare-and-swap. Left out:
 * 5-level paging, protection keys. Pure: memory is reached by two callbacks.
 */
#ifndef TINAMOU_X86_PAGING_H
#define TINAMOU_X86_PAGING_H

#include "x86/state.h"

/* Who accesses; supervisors under SMAP may reach user pages only with AC set. */
enum x86_privilege { X86_USER, X86_SUPERVISOR_AC, X86_SUPERVISOR, X86_PRIVILEGES };
enum x86_access { X86_READ, X86_WRITE, X86_FETCH, X86_ACCESSES };

/* One bit per privilege and access. */
#define X86_RIGHT(privilege, access) (1u << ((privilege)*X86_ACCESSES + (access)))

/* Bits of the error code of #PF. */
#define X86_PF_PRESENT  0x1u
#define X86_PF_WRITE    0x2u
#define X86_PF_USER     0x4u
#define X86_PF_RESERVED 0x8u
#define X86_PF_FETCH    0x10u

struct x86_page_memory {
	void *ctx;
	/* size is 4 or 8, gpa a multiple of it. */
	uint64_t (*load)(void *ctx, uint64_t gpa, unsigned size);
	/* false: the entry was no longer `old`. */
	bool (*swap)(void *ctx, uint64_t gpa, unsigned size, uint64_t old, uint64_t new);
	unsigned phys_bits; /* width of a physical address; higher bits are reserved */
};

struct x86_page {
	uint64_t gpa;    /* of the address itself, not of its page */
	uint8_t shift;   /* 12, 21, 22 or 30 */
	bool global;     /* survives a load of CR3 */
	uint32_t rights; /* X86_RIGHT bits; no write before the dirty flag is set */
	uint32_t error;  /* of #PF */
};

/*
 * Translates lin for one access and sets the accessed and dirty flags of a
 * successful one. false: #PF with page->error. With paging off, it is identity.
 */
bool x86_translate(const struct x86_state *s, const struct x86_page_memory *m, uint64_t lin,
	enum x86_privilege p, enum x86_access a, struct x86_page *page);

/* The PDPTEs that a value of CR3 points to (SDM 4.4.1); false: reserved bits, #GP. */
bool x86_load_pdptes(uint64_t cr3, const struct x86_page_memory *m, uint64_t pdpte[4]);

#endif
