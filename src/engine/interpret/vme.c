/*
 * vme.c - virtual interrupts: what CLI, STI, PUSHF, POPF, IRET and INT n do below
 * IOPL 3 when CR4.VME (virtual-8086 mode) or CR4.PVI (ring 3) is set.
 * Source: SDM vol. 3A 20.3 (table 20-2 and its methods), 20.4; vol. 2 of each.
 */
#include "engine/interpret/cpu.h"

static unsigned iopl(const struct cpu *c)
{
	return c->s.rflags >> 12 & 3;
}

uint64_t interrupt_flag(struct cpu *c)
{
	uint64_t extension = v86_mode(c) ? X86_CR4_VME : X86_CR4_PVI;

	if (cpl(c) <= iopl(c))
		return X86_IF;
	if (cpl(c) != 3 || !(c->s.cr4 & extension))
		raise_error(c, X86_GP, 0);
	return X86_VIF;
}

bool has_virtual_flags(struct cpu *c, const struct x86_insn *i)
{
	if (!v86_mode(c) || iopl(c) == 3)
		return false;
	if (!(c->s.cr4 & X86_CR4_VME) || i->opsize != 2)
		raise_error(c, X86_GP, 0);
	return true;
}

uint64_t virtual_flags(const struct cpu *c)
{
	uint64_t flags = c->s.rflags & ~(uint64_t)X86_IF;

	return flags | X86_IOPL | (flag(c, X86_VIF) ? X86_IF : 0);
}

void check_virtual_flags(struct cpu *c, uint64_t value)
{
	if (value & X86_TF || (value & X86_IF && flag(c, X86_VIP)))
		raise_error(c, X86_GP, 0);
}

/* ---- INT n ---- */

#define TSS_IO_MAP   102u /* offset of the I/O map base in a 32-bit TSS */
#define BITMAP_BYTES 32u  /* ends where the I/O map begins */

static bool redirection_bit(struct cpu *c, uint8_t vector)
{
	const struct x86_seg *tr = &c->s.seg[X86_TR];
	uint32_t at;

	if (tr->attr & X86_ATTR_UNUSABLE || !(tr->attr & 8) || tr->limit < TSS_IO_MAP + 1)
		raise_error(c, X86_GP, 0);
	at = (uint32_t)load_system(c, tr->base + TSS_IO_MAP, 2) - BITMAP_BYTES + vector / 8;
	if (at > tr->limit)
		raise_error(c, X86_GP, 0);
	return load_system(c, tr->base + at, 1) >> (vector % 8) & 1;
}

bool stays_in_v86(struct cpu *c, uint8_t vector)
{
	if (!v86_mode(c))
		return false;
	if (c->s.cr4 & X86_CR4_VME && !redirection_bit(c, vector))
		return true;
	if (iopl(c) < 3)
		raise_error(c, X86_GP, 0);
	return false;
}

void deliver_in_v86(struct cpu *c, uint8_t vector, uint64_t rip)
{
	uint64_t sp = stack_pointer(c), entry = load_system(c, vector * 4u, 4);
	bool masked = iopl(c) < 3;
	uint16_t cs = (uint16_t)(entry >> 16);

	push_at(c, &sp, 2, masked ? virtual_flags(c) : c->s.rflags);
	push_at(c, &sp, 2, c->s.seg[X86_CS].sel);
	push_at(c, &sp, 2, rip);
	stack_commit(c, sp);
	c->s.rflags &= ~(uint64_t)(X86_TF | (masked ? X86_VIF : X86_IF));
	c->s.seg[X86_CS].sel = cs;
	c->s.seg[X86_CS].base = (uint64_t)cs << 4;
	c->s.rip = entry & 0xffff;
	refresh(c);
}
