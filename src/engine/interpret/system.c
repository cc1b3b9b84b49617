/*
 * system.c - control registers, descriptor tables, MSRs, CPUID, HLT and kin.
 * Source: SDM vol. 2 and vol. 3A chapters 2, 4.10 and 17.2.
 */
#include "engine/interpret/cpu.h"

static void need_ring0(struct cpu *c)
{
	if (cpl(c))
		raise_error(c, X86_GP, 0);
}

/* ---- control registers ---- */

#define CR0_DEFINED                                                                                \
	(X86_CR0_PE | X86_CR0_MP | X86_CR0_EM | X86_CR0_TS | X86_CR0_NE | X86_CR0_WP |             \
		X86_CR0_AM | X86_CR0_NW | X86_CR0_CD | X86_CR0_PG)
#define CR4_OFFERED                                                                                \
	(X86_CR4_VME | X86_CR4_PVI | X86_CR4_TSD | X86_CR4_DE | X86_CR4_PSE | X86_CR4_PAE |        \
		X86_CR4_MCE | X86_CR4_PGE | X86_CR4_PCE | X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT |    \
		X86_CR4_UMIP | X86_CR4_FSGSBASE | X86_CR4_PCIDE | X86_CR4_OSXSAVE | X86_CR4_SMEP | \
		X86_CR4_SMAP)
#define CR3_NOFLUSH (UINT64_C(1) << 63)

static unsigned natural_size(const struct cpu *c)
{
	return c->mode == X86_MODE_64 ? 8 : 4;
}

/* CR0.PG goes on with EFER.LME set, or off: the entry to and exit from IA-32e mode. */
static void switch_long_mode(struct cpu *c, bool on)
{
	const struct x86_seg *cs = &c->s.seg[X86_CS];

	if (on && (!(c->s.cr4 & X86_CR4_PAE) || cs->attr & X86_ATTR_L))
		raise_error(c, X86_GP, 0);
	if (!on && (c->mode == X86_MODE_64 || c->s.cr4 & X86_CR4_PCIDE))
		raise_error(c, X86_GP, 0);
	c->s.efer = on ? c->s.efer | X86_EFER_LMA : c->s.efer & ~(uint64_t)X86_EFER_LMA;
}

#define CR0_PAGING (X86_CR0_PG | X86_CR0_WP | X86_CR0_PE)

static void write_cr0(struct cpu *c, uint64_t value)
{
	uint64_t changed;

	if (value >> 32)
		raise_error(c, X86_GP, 0);
	value = (value & CR0_DEFINED) | X86_CR0_ET;
	changed = value ^ c->s.cr0;
	if ((value & X86_CR0_PG && !(value & X86_CR0_PE)) ||
		(value & X86_CR0_NW && !(value & X86_CR0_CD)))
		raise_error(c, X86_GP, 0);
	if (changed & X86_CR0_PG && c->s.efer & X86_EFER_LME)
		switch_long_mode(c, value & X86_CR0_PG);
	else if (changed & value & X86_CR0_PG && c->s.cr4 & X86_CR4_PAE)
		load_pdptes(c, c->s.cr3);
	c->s.cr0 = value;
	if (changed & CR0_PAGING)
		tlb_flush(c, true);
}

static bool pae_paging(const struct cpu *c)
{
	return c->s.cr0 & X86_CR0_PG && c->s.cr4 & X86_CR4_PAE && !long_mode(c);
}

static void write_cr3(struct cpu *c, uint64_t value)
{
	bool pcid = c->s.cr4 & X86_CR4_PCIDE;

	if (long_mode(c) && (pcid ? value & ~CR3_NOFLUSH : value) >> c->phys_bits)
		raise_error(c, X86_GP, 0);
	if (pae_paging(c))
		load_pdptes(c, value);
	c->s.cr3 = pcid ? value & ~CR3_NOFLUSH : value;
	tlb_flush(c, false);
}

#define CR4_PAGING                                                                                 \
	(X86_CR4_PSE | X86_CR4_PAE | X86_CR4_PGE | X86_CR4_PCIDE | X86_CR4_SMEP | X86_CR4_SMAP)

static void write_cr4(struct cpu *c, uint64_t value)
{
	uint64_t old = c->s.cr4, changed = value ^ old;

	if (value & ~(uint64_t)(CR4_OFFERED & ~c->cr4_withheld) ||
		(long_mode(c) && !(value & X86_CR4_PAE)))
		raise_error(c, X86_GP, 0);
	if (changed & value & X86_CR4_PCIDE && (!long_mode(c) || c->s.cr3 & 0xfff))
		raise_error(c, X86_GP, 0);
	if (changed & (X86_CR4_PAE | X86_CR4_PGE | X86_CR4_PSE | X86_CR4_SMEP) &&
		value & X86_CR4_PAE && c->s.cr0 & X86_CR0_PG && !long_mode(c))
		load_pdptes(c, c->s.cr3);
	c->s.cr4 = value;
	if (changed & CR4_PAGING)
		tlb_flush(c, true);
}

static void write_cr8(struct cpu *c, uint64_t value)
{
	if (value > 15)
		raise_error(c, X86_GP, 0);
	vcpu_set_cr8(c->v, (uint8_t)value);
	c->look = true;
}

static uint64_t read_control(struct cpu *c, unsigned reg)
{
	switch (reg) {
	case 0:
		return c->s.cr0;
	case 2:
		return c->s.cr2;
	case 3:
		return c->s.cr3;
	case 4:
		return c->s.cr4;
	case 8:
		return vcpu_cr8(c->v);
	default:
		raise_fault(c, X86_UD);
	}
}

static void write_control(struct cpu *c, unsigned reg, uint64_t value)
{
	switch (reg) {
	case 0:
		write_cr0(c, value);
		break;
	case 2:
		c->s.cr2 = value;
		break;
	case 3:
		write_cr3(c, value);
		break;
	case 4:
		write_cr4(c, value);
		break;
	case 8:
		write_cr8(c, value);
		break;
	default:
		raise_fault(c, X86_UD);
	}
}

void op_MOVCR(struct cpu *c, const struct x86_insn *i)
{
	bool load = i->opnd[0].kind == X86_OPND_CR;
	unsigned size = natural_size(c);

	if (load) {
		read_control(c, i->opnd[0].reg); /* #UD comes before #GP */
		need_ring0(c);
		write_control(c, i->opnd[0].reg, get_gpr(c, i->opnd[1].reg, size));
	} else {
		uint64_t value = read_control(c, i->opnd[1].reg);

		need_ring0(c);
		set_gpr(c, i->opnd[0].reg, size, value);
	}
}

#define DR6_FIXED UINT64_C(0xffff0ff0)
#define DR6_MASK  UINT64_C(0x0000e00f)
#define DR7_FIXED UINT64_C(0x400)
#define DR7_MASK  UINT64_C(0xffff2bff)
#define DR7_GD    (UINT64_C(1) << 13)

static unsigned debug_register(struct cpu *c, unsigned reg)
{
	if (reg == 4 || reg == 5) { /* aliases of 6 and 7 unless CR4.DE */
		if (c->s.cr4 & X86_CR4_DE)
			raise_fault(c, X86_UD);
		return reg + 2;
	}
	return reg;
}

void op_MOVDR(struct cpu *c, const struct x86_insn *i)
{
	bool load = i->opnd[0].kind == X86_OPND_DR;
	unsigned reg = debug_register(c, i->opnd[load ? 0 : 1].reg);
	uint64_t value;

	need_ring0(c);
	if (c->s.dr[7] & DR7_GD) {
		c->s.dr[7] &= ~DR7_GD;
		c->s.dr[6] |= UINT64_C(1) << 13;
		raise_fault(c, X86_DB);
	}
	if (!load) {
		set_gpr(c, i->opnd[0].reg, natural_size(c), c->s.dr[reg]);
		return;
	}
	value = get_gpr(c, i->opnd[1].reg, natural_size(c));
	if (reg >= 6 && value >> 32)
		raise_error(c, X86_GP, 0);
	if (reg == 6)
		value = (value & DR6_MASK) | DR6_FIXED;
	else if (reg == 7)
		value = (value & DR7_MASK) | DR7_FIXED;
	c->s.dr[reg] = value;
}

/* User-mode instruction prevention: SGDT, SIDT, SLDT, STR, SMSW. */
static void check_umip(struct cpu *c)
{
	if (c->s.cr4 & X86_CR4_UMIP && cpl(c))
		raise_error(c, X86_GP, 0);
}

void op_SMSW(struct cpu *c, const struct x86_insn *i)
{
	check_umip(c);
	set(c, i, 0, c->s.cr0);
}

/* Sets PE, but never clears it. */
void op_LMSW(struct cpu *c, const struct x86_insn *i)
{
	uint64_t value;

	need_ring0(c);
	value = get(c, i, 0) & 15;
	write_cr0(c, (c->s.cr0 & ~UINT64_C(14)) | value);
}

void op_CLTS(struct cpu *c, const struct x86_insn *i)
{
	need_ring0(c);
	c->s.cr0 &= ~(uint64_t)X86_CR0_TS;
}

/* ---- descriptor tables ---- */

static void load_table(struct cpu *c, const struct x86_insn *i, struct x86_table *t)
{
	unsigned size = natural_size(c);
	uint64_t off, base;
	uint16_t limit;

	need_ring0(c);
	off = address(c, i, &i->mem);
	limit = (uint16_t)load(c, i->mem.seg, off, 2);
	base = load(c, i->mem.seg, (off + 2) & size_mask(i->addrsize), size);
	if (size == 8 && !is_canonical(base))
		raise_error(c, X86_GP, 0);
	t->limit = limit;
	t->base = size == 4 && i->opsize == 2 ? base & 0xffffff : base;
}

static void store_table(struct cpu *c, const struct x86_insn *i, const struct x86_table *t)
{
	unsigned size = natural_size(c);
	uint64_t off = address(c, i, &i->mem), rest = (off + 2) & size_mask(i->addrsize);

	check_umip(c);
	probe_store(c, i->mem.seg, off, 2);
	probe_store(c, i->mem.seg, rest, size);
	store(c, i->mem.seg, off, 2, t->limit);
	store(c, i->mem.seg, rest, size, t->base & size_mask(size));
}

void op_LGDT(struct cpu *c, const struct x86_insn *i)
{
	load_table(c, i, &c->s.gdtr);
}

void op_LIDT(struct cpu *c, const struct x86_insn *i)
{
	load_table(c, i, &c->s.idtr);
}

void op_SGDT(struct cpu *c, const struct x86_insn *i)
{
	store_table(c, i, &c->s.gdtr);
}

void op_SIDT(struct cpu *c, const struct x86_insn *i)
{
	store_table(c, i, &c->s.idtr);
}

static void need_protected(struct cpu *c)
{
	if (!protected_mode(c))
		raise_fault(c, X86_UD);
}

void op_SLDT(struct cpu *c, const struct x86_insn *i)
{
	need_protected(c);
	check_umip(c);
	set(c, i, 0, c->s.seg[X86_LDTR].sel);
}

void op_STR(struct cpu *c, const struct x86_insn *i)
{
	need_protected(c);
	check_umip(c);
	set(c, i, 0, c->s.seg[X86_TR].sel);
}

#define TYPE_LDT      2u
#define TYPE_TSS16    1u
#define TYPE_TSS32    9u
#define TYPE_TSS_BUSY 2u

void op_LLDT(struct cpu *c, const struct x86_insn *i)
{
	uint16_t sel;

	need_protected(c);
	need_ring0(c);
	sel = (uint16_t)get(c, i, 0);
	if (is_null(sel))
		c->s.seg[X86_LDTR] = null_segment(sel, 0);
	else
		c->s.seg[X86_LDTR] = system_segment(c, sel, 1u << TYPE_LDT, X86_GP);
}

void op_LTR(struct cpu *c, const struct x86_insn *i)
{
	struct x86_seg s;
	uint16_t sel;

	need_protected(c);
	need_ring0(c);
	sel = (uint16_t)get(c, i, 0);
	if (is_null(sel))
		raise_error(c, X86_GP, 0);
	s = system_segment(
		c, sel, (long_mode(c) ? 0 : 1u << TYPE_TSS16) | 1u << TYPE_TSS32, X86_GP);
	s.attr |= TYPE_TSS_BUSY;
	store_system(c, c->s.gdtr.base + (sel & ~7u) + 5, 1, s.attr & 0xff);
	c->s.seg[X86_TR] = s;
}

/* ---- interrupts and halting ---- */

void op_CLI(struct cpu *c, const struct x86_insn *i)
{
	set_flag(c, interrupt_flag(c), false);
}

void op_STI(struct cpu *c, const struct x86_insn *i)
{
	uint64_t changed = interrupt_flag(c);

	if (changed == X86_VIF && flag(c, X86_VIP))
		raise_error(c, X86_GP, 0);
	if (changed == X86_IF && !flag(c, X86_IF)) {
		c->s.events.shadow_sti = true;
		c->keep_shadow = true;
	}
	set_flag(c, changed, true);
}

void op_HLT(struct cpu *c, const struct x86_insn *i)
{
	need_ring0(c);
	c->halt = true;
}

/* ---- caches: there are none to act on ---- */

void op_INVD(struct cpu *c, const struct x86_insn *i)
{
	need_ring0(c);
}

void op_WBINVD(struct cpu *c, const struct x86_insn *i)
{
	need_ring0(c);
}

/* ---- translations ---- */

void op_INVLPG(struct cpu *c, const struct x86_insn *i)
{
	uint64_t off, base;

	need_ring0(c);
	off = address(c, i, &i->mem);
	base = c->mode != X86_MODE_64 || i->mem.seg >= X86_FS ? c->s.seg[i->mem.seg].base : 0;
	tlb_flush_page(c, c->mode == X86_MODE_64 ? base + off : (uint32_t)(base + off));
}

/* SDM vol. 2A INVPCID. One vCPU's entries know no PCID, so more goes than was asked for. */
void op_INVPCID(struct cpu *c, const struct x86_insn *i)
{
	uint64_t type, off, pcid, lin;
	bool ids = c->s.cr4 & X86_CR4_PCIDE;

	if (v86_mode(c) || !(c->s.cr0 & X86_CR0_PE))
		raise_error(c, X86_GP, 0);
	need_ring0(c);
	type = get_gpr(c, i->opnd[0].reg, natural_size(c));
	off = address(c, i, &i->mem);
	pcid = load(c, i->mem.seg, off, 8);
	lin = load(c, i->mem.seg, (off + 8) & size_mask(i->addrsize), 8);
	if (type > 3 || (type < 2 && (pcid >> 12 || (pcid && !ids))) ||
		(type == 0 && !is_canonical(lin)))
		raise_error(c, X86_GP, 0);
	if (type == 0)
		tlb_flush_page(c, lin);
	else
		tlb_flush(c, type == 2);
}
