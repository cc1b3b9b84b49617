/*
 * system.c - control registers, descriptor tables, MSRs, CPUID, HLT and kin.
 * Source: SDM vol. 2 and vol. 3A chapter 2. Left out: paging and long mode.
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
#define CR4_OFFERED (X86_CR4_TSD | X86_CR4_DE | X86_CR4_PCE)

static void write_cr0(struct cpu *c, uint64_t value)
{
	value = (value & CR0_DEFINED) | X86_CR0_ET;
	if ((value & X86_CR0_PG && !(value & X86_CR0_PE)) ||
		(value & X86_CR0_NW && !(value & X86_CR0_CD)))
		raise_error(c, X86_GP, 0);
	if (value & X86_CR0_PG)
		raise_fatal(c, "the guest turns paging on, which engine interpret does not do yet; "
			       "use --engine kvm");
	c->s.cr0 = value;
}

static void write_cr4(struct cpu *c, uint64_t value)
{
	if (value & ~(uint64_t)CR4_OFFERED)
		raise_error(c, X86_GP, 0);
	c->s.cr4 = value;
}

static uint64_t *control_register(struct cpu *c, unsigned reg)
{
	switch (reg) {
	case 0:
		return &c->s.cr0;
	case 2:
		return &c->s.cr2;
	case 3:
		return &c->s.cr3;
	case 4:
		return &c->s.cr4;
	default:
		raise_fault(c, X86_UD);
	}
}

void op_MOVCR(struct cpu *c, const struct x86_insn *i)
{
	bool load = i->opnd[0].kind == X86_OPND_CR;
	uint64_t value;

	need_ring0(c);
	if (!load) {
		set_gpr(c, i->opnd[0].reg, 4, *control_register(c, i->opnd[1].reg));
		return;
	}
	value = get_gpr(c, i->opnd[1].reg, 4);
	if (i->opnd[0].reg == 0)
		write_cr0(c, value);
	else if (i->opnd[0].reg == 4)
		write_cr4(c, value);
	else
		*control_register(c, i->opnd[0].reg) = value;
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
		set_gpr(c, i->opnd[0].reg, 4, c->s.dr[reg]);
		return;
	}
	value = get_gpr(c, i->opnd[1].reg, 4);
	if (reg == 6)
		value = (value & DR6_MASK) | DR6_FIXED;
	else if (reg == 7)
		value = (value & DR7_MASK) | DR7_FIXED;
	c->s.dr[reg] = value;
}

void op_SMSW(struct cpu *c, const struct x86_insn *i)
{
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
	uint64_t off, base;
	uint16_t limit;

	need_ring0(c);
	off = address(c, i, &i->mem);
	limit = (uint16_t)load(c, i->mem.seg, off, 2);
	base = load(c, i->mem.seg, (off + 2) & size_mask(i->addrsize), 4);
	t->limit = limit;
	t->base = i->opsize == 2 ? base & 0xffffff : base;
}

static void store_table(struct cpu *c, const struct x86_insn *i, const struct x86_table *t)
{
	uint64_t off = address(c, i, &i->mem);

	linear(c, i->mem.seg, off, 6, WRITE);
	store(c, i->mem.seg, off, 2, t->limit);
	store(c, i->mem.seg, (off + 2) & size_mask(i->addrsize), 4, t->base & 0xffffffff);
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
	set(c, i, 0, c->s.seg[X86_LDTR].sel);
}

void op_STR(struct cpu *c, const struct x86_insn *i)
{
	need_protected(c);
	set(c, i, 0, c->s.seg[X86_TR].sel);
}

/* An LDT or TSS descriptor, which must be in the GDT. */
static struct x86_seg system_segment(struct cpu *c, uint16_t sel, unsigned types)
{
	struct x86_seg s;
	uint64_t raw;

	if (sel & 4 || !read_descriptor(c, sel, &raw))
		raise_error(c, X86_GP, sel & ~3u);
	s = unpack_segment(sel, raw);
	if (s.attr & X86_ATTR_S || !(types >> (s.attr & 15) & 1))
		raise_error(c, X86_GP, sel & ~3u);
	if (!(s.attr & X86_ATTR_P))
		raise_error(c, X86_NP, sel & ~3u);
	return s;
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
	if (!(sel & ~3u))
		c->s.seg[X86_LDTR] = (struct x86_seg){.sel = sel, .attr = X86_ATTR_UNUSABLE};
	else
		c->s.seg[X86_LDTR] = system_segment(c, sel, 1u << TYPE_LDT);
}

void op_LTR(struct cpu *c, const struct x86_insn *i)
{
	struct x86_seg s;
	uint16_t sel;

	need_protected(c);
	need_ring0(c);
	sel = (uint16_t)get(c, i, 0);
	if (!(sel & ~3u))
		raise_error(c, X86_GP, 0);
	s = system_segment(c, sel, 1u << TYPE_TSS16 | 1u << TYPE_TSS32);
	s.attr |= TYPE_TSS_BUSY;
	store_linear(c, c->s.gdtr.base + (sel & ~7u) + 5, 1, s.attr & 0xff);
	c->s.seg[X86_TR] = s;
}

/* ---- interrupts and halting ---- */

static bool may_change_if(const struct cpu *c)
{
	return cpl(c) <= (c->s.rflags >> 12 & 3);
}

void op_CLI(struct cpu *c, const struct x86_insn *i)
{
	if (!may_change_if(c))
		raise_error(c, X86_GP, 0);
	set_flag(c, X86_IF, false);
}

void op_STI(struct cpu *c, const struct x86_insn *i)
{
	if (!may_change_if(c))
		raise_error(c, X86_GP, 0);
	if (!flag(c, X86_IF)) {
		c->s.events.shadow_sti = true;
		c->keep_shadow = true;
	}
	set_flag(c, X86_IF, true);
}

void op_HLT(struct cpu *c, const struct x86_insn *i)
{
	need_ring0(c);
	c->halt = true;
}

/* ---- identification, time, model-specific registers ---- */

void op_CPUID(struct cpu *c, const struct x86_insn *i)
{
	uint32_t out[4];

	vcpu_cpuid(c->v, (uint32_t)c->s.gpr[X86_RAX], (uint32_t)c->s.gpr[X86_RCX], out);
	set_gpr(c, X86_RAX, 4, out[0]);
	set_gpr(c, X86_RBX, 4, out[1]);
	set_gpr(c, X86_RCX, 4, out[2]);
	set_gpr(c, X86_RDX, 4, out[3]);
}

static void set_edx_eax(struct cpu *c, uint64_t v)
{
	set_gpr(c, X86_RAX, 4, v);
	set_gpr(c, X86_RDX, 4, v >> 32);
}

/* The guest's TSC: the machine's, plus what it wrote there. */
void op_RDTSC(struct cpu *c, const struct x86_insn *i)
{
	if (c->s.cr4 & X86_CR4_TSD && cpl(c))
		raise_error(c, X86_GP, 0);
	set_edx_eax(c, vcpu_tsc(c->v) + c->s.tsc);
}

#define MSR_TSC 0x10u

static uint64_t *kept_msr(struct cpu *c, uint32_t number)
{
	for (unsigned n = 0; n < X86_MSR_COUNT; n++)
		if (x86_msr_list[n].number == number)
			return &c->s.msr[n];
	return NULL;
}

void op_RDMSR(struct cpu *c, const struct x86_insn *i)
{
	uint32_t number = (uint32_t)c->s.gpr[X86_RCX];
	uint64_t *kept = kept_msr(c, number), value;

	need_ring0(c);
	if (number == MSR_TSC)
		value = vcpu_tsc(c->v) + c->s.tsc;
	else if (kept)
		value = *kept;
	else if (vcpu_rdmsr(c->v, number, &value))
		raise_error(c, X86_GP, 0);
	set_edx_eax(c, value);
}

void op_WRMSR(struct cpu *c, const struct x86_insn *i)
{
	uint32_t number = (uint32_t)c->s.gpr[X86_RCX];
	uint64_t *kept = kept_msr(c, number);
	uint64_t value = get_gpr(c, X86_RDX, 4) << 32 | get_gpr(c, X86_RAX, 4);

	need_ring0(c);
	if (number == MSR_TSC)
		c->s.tsc = value - vcpu_tsc(c->v);
	else if (kept)
		*kept = value;
	else if (vcpu_wrmsr(c->v, number, value))
		raise_error(c, X86_GP, 0);
}

/* ---- caches and translations: there are none to act on ---- */

void op_INVD(struct cpu *c, const struct x86_insn *i)
{
	need_ring0(c);
}

void op_WBINVD(struct cpu *c, const struct x86_insn *i)
{
	need_ring0(c);
}

void op_INVLPG(struct cpu *c, const struct x86_insn *i)
{
	need_ring0(c);
}

void op_FWAIT(struct cpu *c, const struct x86_insn *i)
{
	if ((c->s.cr0 & (X86_CR0_MP | X86_CR0_TS)) == (X86_CR0_MP | X86_CR0_TS))
		raise_fault(c, X86_NM);
}
