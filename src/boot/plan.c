/*
 * plan.c - what the loaders share: pieces of memory, and the two states in
 * which kernels are entered. Source: SDM vol. 3A 3.4.5, 4.5, 9.8.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "boot/boot.h"
#include "util/util.h"

#define SEL_CODE 0x10
#define SEL_DATA 0x18

int plan_add(struct boot_plan *plan, const char *name, gpa_t addr, const void *data, size_t len,
	uint64_t size)
{
	if (plan->pieces == BOOT_MAX_PIECES)
		return -ENOSPC;
	plan->piece[plan->pieces++] = (struct boot_piece){
		.name = name, .data = data, .len = len, .size = MAX(size, len), .addr = addr};
	return 0;
}

int plan_copy(struct boot_plan *plan, const char *name, gpa_t addr, const void *data, size_t len)
{
	uint8_t *copy = xcalloc(1, len);
	int err;

	memcpy(copy, data, len);
	err = plan_add(plan, name, addr, copy, len, len);
	if (err)
		free(copy);
	else
		plan->piece[plan->pieces - 1].owned = true;
	return err;
}

void boot_plan_free(struct boot_plan *plan)
{
	for (unsigned n = 0; n < plan->pieces; n++)
		if (plan->piece[n].owned)
			free((void *)plan->piece[n].data);
	plan->pieces = 0;
}

/* ---- states ---- */

#define ATTR_FLAT (X86_ATTR_P | X86_ATTR_S | X86_ATTR_G)
#define CODE      (ATTR_FLAT | 0xb)
#define DATA      (ATTR_FLAT | 0x3 | X86_ATTR_DB)

static struct x86_seg flat(uint16_t sel, uint32_t attr)
{
	return (struct x86_seg){.sel = sel, .limit = 0xffffffff, .attr = attr};
}

static uint64_t descriptor(uint32_t attr)
{
	return UINT64_C(0x000f00000000ffff) | (uint64_t)(attr & 0xff) << 40 |
	       (uint64_t)(attr & 0xf000) << 40;
}

static int flat_state(struct boot_plan *plan, gpa_t gdt, gpa_t entry, uint32_t code)
{
	const uint64_t table[] = {0, 0, descriptor(code), descriptor(DATA)};
	struct x86_state *s = &plan->state;

	x86_state_reset(s, 0);
	s->gdtr = (struct x86_table){gdt, sizeof(table) - 1};
	s->idtr = (struct x86_table){0, 0};
	for (unsigned n = X86_ES; n <= X86_GS; n++)
		s->seg[n] = n == X86_CS ? flat(SEL_CODE, code) : flat(SEL_DATA, DATA);
	s->cr0 = X86_CR0_PE | X86_CR0_ET | X86_CR0_NE;
	s->rip = entry;
	memset(s->gpr, 0, sizeof(s->gpr));
	return plan_copy(plan, "descriptor table", gdt, table, sizeof(table));
}

int plan_flat_state(struct boot_plan *plan, gpa_t gdt, gpa_t entry)
{
	return flat_state(plan, gdt, entry, CODE | X86_ATTR_DB);
}

#define PAGE_TABLE 0x3u  /* present, writable */
#define PAGE_LARGE 0x83u /* and 2 MiB */

int plan_long_state(struct boot_plan *plan, gpa_t gdt, gpa_t tables, gpa_t entry)
{
	enum { PML4, PDPT, PD, PAGES = PD + 4 };
	uint64_t page[PAGES][512] = {0};
	int err = flat_state(plan, gdt, entry, CODE | X86_ATTR_L);

	if (err)
		return err;
	page[PML4][0] = (tables + PDPT * 4096) | PAGE_TABLE;
	for (unsigned n = 0; n < 4; n++)
		page[PDPT][n] = (tables + (PD + n) * 4096) | PAGE_TABLE;
	for (uint64_t n = 0; n < 4 * 512; n++)
		page[PD + n / 512][n % 512] = n << 21 | PAGE_LARGE;
	plan->state.cr0 |= X86_CR0_PG;
	plan->state.cr3 = tables;
	plan->state.cr4 = X86_CR4_PAE;
	plan->state.efer = X86_EFER_LME | X86_EFER_LMA;
	return plan_copy(plan, "page tables", tables, page, sizeof(page));
}
