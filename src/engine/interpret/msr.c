/*
 * msr.c - CPUID, time stamps, model-specific registers, segment bases, random
 * numbers. Source: SDM vol. 2; vol. 4 for the registers.
 */
#include <errno.h>

#include "engine/interpret/cpu.h"

static void need_ring0(struct cpu *c)
{
	if (cpl(c))
		raise_error(c, X86_GP, 0);
}

void op_CPUID(struct cpu *c, const struct x86_insn *i)
{
	uint32_t out[4];

	vcpu_cpuid(c->v, c->s.cr4, c->s.xcr0, (uint32_t)c->s.gpr[X86_RAX],
		(uint32_t)c->s.gpr[X86_RCX], out);
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

/* ---- time ---- */

/* The guest's TSC: the machine's, plus what it wrote there. */
static uint64_t read_tsc(struct cpu *c)
{
	return vcpu_tsc(c->v) + c->s.tsc;
}

static void check_tsd(struct cpu *c)
{
	if (c->s.cr4 & X86_CR4_TSD && cpl(c))
		raise_error(c, X86_GP, 0);
}

void op_RDTSC(struct cpu *c, const struct x86_insn *i)
{
	check_tsd(c);
	set_edx_eax(c, read_tsc(c));
}

void op_RDTSCP(struct cpu *c, const struct x86_insn *i)
{
	check_tsd(c);
	set_edx_eax(c, read_tsc(c));
	set_gpr(c, X86_RCX, 4, c->s.msr[X86_MSR_TSC_AUX]);
}

void op_RDPID(struct cpu *c, const struct x86_insn *i)
{
	set_gpr(c, i->opnd[0].reg, 8, c->s.msr[X86_MSR_TSC_AUX] & 0xffffffff);
}

/* No performance counters are offered. */
void op_RDPMC(struct cpu *c, const struct x86_insn *i)
{
	raise_error(c, X86_GP, 0);
}

/* ---- MSRs ---- */

#define MSR_TSC     0x10u
#define MSR_EFER    0xc0000080u
#define MSR_FS_BASE 0xc0000100u
#define MSR_GS_BASE 0xc0000101u

#define EFER_OFFERED (X86_EFER_SCE | X86_EFER_LME | X86_EFER_LMA | X86_EFER_NXE)

void set_efer(struct cpu *c, uint64_t value)
{
	uint64_t changed = value ^ c->s.efer;

	if (value & ~(uint64_t)EFER_OFFERED || (changed & X86_EFER_LME && c->s.cr0 & X86_CR0_PG))
		raise_error(c, X86_GP, 0);
	c->s.efer = (value & ~(uint64_t)X86_EFER_LMA) | (c->s.efer & X86_EFER_LMA);
	if (changed & X86_EFER_NXE)
		tlb_flush(c, true);
}

static uint64_t *kept_msr(struct cpu *c, uint32_t number)
{
	for (unsigned n = 0; n < X86_MSR_COUNT; n++)
		if (x86_msr_list[n].number == number)
			return &c->s.msr[n];
	return NULL;
}

static bool must_be_canonical(uint32_t number)
{
	return number == MSR_FS_BASE || number == MSR_GS_BASE || number == 0xc0000082 ||
	       number == 0xc0000083 || number == 0xc0000102 || number == 0x175 || number == 0x176;
}

static uint64_t *base_msr(struct cpu *c, uint32_t number)
{
	if (number == MSR_FS_BASE)
		return &c->s.seg[X86_FS].base;
	return number == MSR_GS_BASE ? &c->s.seg[X86_GS].base : NULL;
}

/*
 * What software engines do not suffer from (SDM vol. 4, IA32_ARCH_CAPABILITIES):
 * guests then leave their mitigations off.
 */
#define ARCH_CAPABILITIES                                                                          \
	(BIT(0) /* RDCL_NO */ | BIT(3) /* no L1D flush */ | BIT(4) /* SSB_NO */ |                  \
		BIT(5) /* MDS_NO */ | BIT(6) /* machine check on page size change: no */ |         \
		BIT(8) /* TAA_NO */ | BIT(13) /* SBDR_SSDP_NO */ | BIT(14) /* FBSDP_NO */ |        \
		BIT(15) /* PSDP_NO */ | BIT(20) /* BHI_NO */ | BIT(24) /* PBRSB_NO */ |            \
		BIT(26) /* GDS_NO */ | BIT(27) /* RFDS_NO */ | BIT(62) /* ITS_NO */)

/* Registers with one value for ever; writes of those that may be written go nowhere. */
static const struct constant_msr {
	uint32_t number;
	uint64_t value;
	bool writable;
} constant_msrs[] = {
	{0x17, 0, false},                /* IA32_PLATFORM_ID: firmware picks microcode by it */
	{0x8b, UINT64_C(1) << 32, true}, /* IA32_BIOS_SIGN_ID: microcode revision */
	{0x10a, ARCH_CAPABILITIES, false}, {0x179, 0, false}, /* IA32_MCG_CAP: no banks */
};

static const struct constant_msr *constant_msr(uint32_t number)
{
	for (unsigned n = 0; n < ARRAY_SIZE(constant_msrs); n++)
		if (constant_msrs[n].number == number)
			return &constant_msrs[n];
	return NULL;
}

/* The machine's, or kept here; where there is neither, #GP. */
static uint64_t machine_msr(struct cpu *c, uint32_t number, const uint64_t *kept)
{
	const struct constant_msr *constant = constant_msr(number);
	uint64_t value;
	int err;

	if (constant)
		return constant->value;
	err = vcpu_rdmsr(c->v, number, &value);
	if (!err)
		return value;
	if (err != -ENOENT || !kept)
		raise_error(c, X86_GP, 0);
	return *kept;
}

static void set_machine_msr(struct cpu *c, uint32_t number, uint64_t *kept, uint64_t value)
{
	const struct constant_msr *constant = constant_msr(number);
	int err;

	if (constant && constant->writable)
		return;
	err = constant ? -EINVAL : vcpu_wrmsr(c->v, number, value);
	if (!err)
		return;
	if (err != -ENOENT || !kept)
		raise_error(c, X86_GP, 0);
	*kept = value;
}

void op_RDMSR(struct cpu *c, const struct x86_insn *i)
{
	uint32_t number = (uint32_t)c->s.gpr[X86_RCX];
	uint64_t *kept = kept_msr(c, number), value;

	need_ring0(c);
	if (!kept)
		kept = base_msr(c, number);
	if (number == MSR_TSC)
		value = read_tsc(c);
	else if (number == MSR_EFER)
		value = c->s.efer;
	else
		value = machine_msr(c, number, kept);
	set_edx_eax(c, value);
}

void op_WRMSR(struct cpu *c, const struct x86_insn *i)
{
	uint32_t number = (uint32_t)c->s.gpr[X86_RCX];
	uint64_t *kept = kept_msr(c, number);
	uint64_t value = get_gpr(c, X86_RDX, 4) << 32 | get_gpr(c, X86_RAX, 4);

	need_ring0(c);
	if (!kept)
		kept = base_msr(c, number);
	if (must_be_canonical(number) && !is_canonical(value))
		raise_error(c, X86_GP, 0);
	if (number == MSR_TSC)
		c->s.tsc = value - vcpu_tsc(c->v);
	else if (number == MSR_EFER)
		set_efer(c, value);
	else
		set_machine_msr(c, number, kept, value);
}

/* ---- segment bases ---- */

static void check_fsgsbase(struct cpu *c)
{
	if (!(c->s.cr4 & X86_CR4_FSGSBASE))
		raise_fault(c, X86_UD);
}

static void read_base(struct cpu *c, const struct x86_insn *i, unsigned seg)
{
	check_fsgsbase(c);
	set(c, i, 0, c->s.seg[seg].base);
}

static void write_base(struct cpu *c, const struct x86_insn *i, unsigned seg)
{
	uint64_t base;

	check_fsgsbase(c);
	base = get(c, i, 0);
	if (!is_canonical(base))
		raise_error(c, X86_GP, 0);
	c->s.seg[seg].base = base;
}

void op_RDFSBASE(struct cpu *c, const struct x86_insn *i)
{
	read_base(c, i, X86_FS);
}

void op_RDGSBASE(struct cpu *c, const struct x86_insn *i)
{
	read_base(c, i, X86_GS);
}

void op_WRFSBASE(struct cpu *c, const struct x86_insn *i)
{
	write_base(c, i, X86_FS);
}

void op_WRGSBASE(struct cpu *c, const struct x86_insn *i)
{
	write_base(c, i, X86_GS);
}

void op_SWAPGS(struct cpu *c, const struct x86_insn *i)
{
	uint64_t base = c->s.seg[X86_GS].base;

	need_ring0(c);
	c->s.seg[X86_GS].base = c->s.msr[X86_MSR_KERNEL_GS_BASE];
	c->s.msr[X86_MSR_KERNEL_GS_BASE] = base;
}

/* ---- random numbers: the machine's, so that a recorded run can be repeated ---- */

static void random_number(struct cpu *c, const struct x86_insn *i)
{
	set(c, i, 0, vcpu_random(c->v));
	c->s.rflags = (c->s.rflags & ~(uint64_t)X86_FLAGS_ARITH) | X86_CF;
}

void op_RDRAND(struct cpu *c, const struct x86_insn *i)
{
	random_number(c, i);
}

void op_RDSEED(struct cpu *c, const struct x86_insn *i)
{
	random_number(c, i);
}

/* ---- hypercalls: none is offered, and KVM's answer to an unknown one is -1000 ---- */

static void hypercall(struct cpu *c)
{
	if (cpl(c))
		raise_fault(c, X86_UD);
	set_gpr(c, X86_RAX, c->mode == X86_MODE_64 ? 8 : 4, (uint64_t)-1000);
	vcpu_count(c->v, EXIT_HYPERCALL, 0);
}

void op_VMCALL(struct cpu *c, const struct x86_insn *i)
{
	hypercall(c);
}

void op_VMMCALL(struct cpu *c, const struct x86_insn *i)
{
	hypercall(c);
}
