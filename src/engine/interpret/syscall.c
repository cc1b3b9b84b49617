/*
 * syscall.c - SYSCALL, SYSRET, SYSENTER, SYSEXIT, STAC and CLAC.
 * Source: SDM vol. 2B. Outside 64-bit mode only AMD's CPUs have SYSCALL and
 * SYSRET (AMD64 architecture, vol. 3).
 */
#include "engine/interpret/cpu.h"

#define FLAT_CODE (X86_ATTR_P | X86_ATTR_S | 0xb | X86_ATTR_G)
#define FLAT_DATA (X86_ATTR_P | X86_ATTR_S | 0x3 | X86_ATTR_G | X86_ATTR_DB)

/* These load fixed values, and do not look at the descriptor table. */
static void flat_segments(struct cpu *c, uint16_t cs, uint16_t ss, unsigned ring, bool wide)
{
	c->s.seg[X86_CS] = (struct x86_seg){0, 0xffffffff,
		FLAT_CODE | ring << 5 | (wide ? X86_ATTR_L : X86_ATTR_DB),
		(uint16_t)((cs & 0xfffc) | ring)};
	c->s.seg[X86_SS] = (struct x86_seg){
		0, 0xffffffff, FLAT_DATA | ring << 5, (uint16_t)((ss & 0xfffc) | ring)};
}

static void check_syscall(struct cpu *c)
{
	const char *vendor = c->v->vm->model.vendor;
	bool everywhere =
		!memcmp(vendor, "AuthenticAMD", 12) || !memcmp(vendor, "HygonGenuine", 12);

	if (!(c->s.efer & X86_EFER_SCE) || !protected_mode(c) ||
		(c->mode != X86_MODE_64 && !everywhere))
		raise_fault(c, X86_UD);
}

/* Without long mode STAR has the entry point, and the flags are not kept. */
static void legacy_syscall(struct cpu *c, uint16_t sel)
{
	set_gpr(c, X86_RCX, 4, c->next_rip);
	c->next_rip = (uint32_t)c->s.msr[X86_MSR_STAR];
	c->s.rflags &= ~(uint64_t)(X86_IF | X86_RF);
	flat_segments(c, sel, (uint16_t)(sel + 8), 0, false);
}

static void legacy_sysret(struct cpu *c, uint16_t sel)
{
	c->next_rip = (uint32_t)c->s.gpr[X86_RCX];
	c->s.rflags |= X86_IF;
	flat_segments(c, sel, (uint16_t)(sel + 8), 3, false);
}

void op_SYSCALL(struct cpu *c, const struct x86_insn *i)
{
	uint16_t sel = (uint16_t)(c->s.msr[X86_MSR_STAR] >> 32);
	bool wide = c->mode == X86_MODE_64;

	check_syscall(c);
	if (!long_mode(c)) {
		legacy_syscall(c, sel);
		return;
	}
	c->s.gpr[X86_RCX] = c->next_rip;
	c->s.gpr[X86_R11] = c->s.rflags & ~(uint64_t)X86_RF;
	c->next_rip = c->s.msr[wide ? X86_MSR_LSTAR : X86_MSR_CSTAR];
	c->s.rflags &= ~(c->s.msr[X86_MSR_SFMASK] | X86_RF);
	c->s.rflags |= X86_FLAGS_FIXED;
	flat_segments(c, sel, (uint16_t)(sel + 8), 0, true);
}

#define SYSRET_FLAGS UINT64_C(0x3c7fd7)

void op_SYSRET(struct cpu *c, const struct x86_insn *i)
{
	uint16_t sel = (uint16_t)(c->s.msr[X86_MSR_STAR] >> 48);
	bool wide = i->opsize == 8;

	check_syscall(c);
	if (cpl(c) || (wide && !is_canonical(c->s.gpr[X86_RCX])))
		raise_error(c, X86_GP, 0);
	if (!long_mode(c)) {
		legacy_sysret(c, sel);
		return;
	}
	c->next_rip = wide ? c->s.gpr[X86_RCX] : (uint32_t)c->s.gpr[X86_RCX];
	c->s.rflags = (c->s.gpr[X86_R11] & SYSRET_FLAGS) | X86_FLAGS_FIXED;
	flat_segments(c, (uint16_t)(sel + (wide ? 16 : 0)), (uint16_t)(sel + 8), 3, wide);
}

void op_SYSENTER(struct cpu *c, const struct x86_insn *i)
{
	uint16_t sel = (uint16_t)c->s.msr[X86_MSR_SYSENTER_CS];
	bool wide = long_mode(c);

	if (!(c->s.cr0 & X86_CR0_PE) || is_null(sel))
		raise_error(c, X86_GP, 0);
	c->s.rflags &= ~(uint64_t)(X86_VM | X86_IF | X86_RF);
	set_gpr(c, X86_RSP, wide ? 8 : 4, c->s.msr[X86_MSR_SYSENTER_ESP]);
	c->next_rip = c->s.msr[X86_MSR_SYSENTER_EIP] & size_mask(wide ? 8 : 4);
	flat_segments(c, sel, (uint16_t)(sel + 8), 0, wide);
}

void op_SYSEXIT(struct cpu *c, const struct x86_insn *i)
{
	uint16_t sel = (uint16_t)c->s.msr[X86_MSR_SYSENTER_CS];
	bool wide = i->opsize == 8;
	uint64_t rip = c->s.gpr[X86_RDX], rsp = c->s.gpr[X86_RCX];

	if (!(c->s.cr0 & X86_CR0_PE) || is_null(sel) || cpl(c) ||
		(wide && (!is_canonical(rip) || !is_canonical(rsp))))
		raise_error(c, X86_GP, 0);
	set_gpr(c, X86_RSP, wide ? 8 : 4, rsp);
	c->next_rip = rip & size_mask(wide ? 8 : 4);
	flat_segments(
		c, (uint16_t)(sel + (wide ? 32 : 16)), (uint16_t)(sel + (wide ? 40 : 24)), 3, wide);
}

static void set_ac(struct cpu *c, bool on)
{
	if (cpl(c))
		raise_fault(c, X86_UD);
	set_flag(c, X86_AC, on);
}

void op_STAC(struct cpu *c, const struct x86_insn *i)
{
	set_ac(c, true);
}

void op_CLAC(struct cpu *c, const struct x86_insn *i)
{
	set_ac(c, false);
}
