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

#define MSR_TSC             0x10u
#define MSR_APIC_BASE       0x1bu
#define APIC_BASE_X2APIC    BIT(10)
#define MSR_TSC_ADJUST      0x3bu
#define MSR_MTRR_CAP        0xfeu
#define MSR_PAT             0x277u
#define MSR_MTRR_DEF_TYPE   0x2ffu
#define MSR_KVM_WALL_CLOCK  0x4b564d00u
#define MSR_KVM_SYSTEM_TIME 0x4b564d01u
#define MSR_EFER            0xc0000080u
#define MSR_FS_BASE         0xc0000100u
#define MSR_GS_BASE         0xc0000101u

static uint64_t efer_offered(const struct x86_model *m)
{
	return (x86_model_has(m, X86_CPU_SYSCALL) ? X86_EFER_SCE : 0) |
	       (x86_model_has(m, X86_CPU_LM) ? X86_EFER_LME | X86_EFER_LMA : 0) |
	       (x86_model_has(m, X86_CPU_NX) ? X86_EFER_NXE : 0);
}

void set_efer(struct cpu *c, uint64_t value)
{
	uint64_t changed = value ^ c->s.efer;

	if (value & ~efer_offered(&c->v->vm->model) ||
		(changed & X86_EFER_LME && c->s.cr0 & X86_CR0_PG))
		raise_error(c, X86_GP, 0);
	c->s.efer = (value & ~(uint64_t)X86_EFER_LMA) | (c->s.efer & X86_EFER_LMA);
	if (changed & X86_EFER_NXE)
		tlb_flush(c, true);
}

/* ---- which there are, and what may be written to them ---- */

/* A model that lacks the feature has none of these. */
static const struct msr_range {
	uint32_t first, last;
	uint8_t needs; /* enum x86_cpu_feature */
} msr_ranges[] = {
	{MSR_TSC, MSR_TSC, X86_CPU_TSC},
	{MSR_APIC_BASE, MSR_APIC_BASE, X86_CPU_APIC},
	{MSR_TSC_ADJUST, MSR_TSC_ADJUST, X86_CPU_TSC_ADJUST},
	{MSR_MTRR_CAP, MSR_MTRR_CAP, X86_CPU_MTRR},
	{0x10a, 0x10a, X86_CPU_ARCH_CAPABILITIES},
	{0x174, 0x176, X86_CPU_SEP},
	{0, 1, X86_CPU_MCE},
	{0x179, 0x17a, X86_CPU_MCA},
	{0x1a0, 0x1a0, X86_CPU_SSE2}, /* IA32_MISC_ENABLE came with the Pentium 4 */
	{0x200, 0x26f, X86_CPU_MTRR},
	{MSR_PAT, MSR_PAT, X86_CPU_PAT},
	{MSR_MTRR_DEF_TYPE, MSR_MTRR_DEF_TYPE, X86_CPU_MTRR},
	{0x6e0, 0x6e0, X86_CPU_TSC_DEADLINE},
	{0x800, 0x8ff, X86_CPU_X2APIC},
	{MSR_KVM_WALL_CLOCK, MSR_KVM_SYSTEM_TIME, X86_CPU_HYPERVISOR},
	{0xc0000081, 0xc0000084, X86_CPU_SYSCALL},
	{MSR_FS_BASE, 0xc0000102, X86_CPU_LM},
	{0xc0000103, 0xc0000103, X86_CPU_RDTSCP},
};

/* EFER came with its first bit. */
static bool has_efer(const struct x86_model *m)
{
	return x86_model_has(m, X86_CPU_SYSCALL) || x86_model_has(m, X86_CPU_NX) ||
	       x86_model_has(m, X86_CPU_LM);
}

static bool msr_offered(struct cpu *c, uint32_t number)
{
	const struct x86_model *m = &c->v->vm->model;

	if (number == MSR_EFER)
		return has_efer(m);
	for (unsigned n = 0; n < ARRAY_SIZE(msr_ranges); n++)
		if (number >= msr_ranges[n].first && number <= msr_ranges[n].last)
			return x86_model_has(m, msr_ranges[n].needs);
	return true;
}

/* Memory types (SDM vol. 3A tables 12-2 and 12-10): of the PAT, UC- too. */
static bool types_valid(uint64_t value, unsigned count, unsigned allowed)
{
	for (unsigned n = 0; n < count; n++, value >>= 8)
		if ((value & 0xff) > 7 || !(allowed >> (value & 7) & 1))
			return false;
	return true;
}

#define MTRR_TYPES 0x73u /* UC, WC, WT, WP, WB */
#define PAT_TYPES  0xf3u /* those and UC- */

/* SDM vol. 3A 12.11.2: reserved bits and types fault. */
static bool mtrr_valid(struct cpu *c, uint32_t number, uint64_t value)
{
	const uint64_t above = ~size_mask(8) | ~(BIT(c->phys_bits) - 1);
	const uint64_t valid_bit = BIT(11), enables = BIT(10) | BIT(11);

	if (number == MSR_MTRR_DEF_TYPE)
		return !(value & ~(enables | 0xff)) && types_valid(value, 1, MTRR_TYPES);
	if (number >= 0x250)
		return types_valid(value, 8, MTRR_TYPES);
	if (number & 1)
		return !(value & (above | (0xfff & ~valid_bit)));
	return !(value & (above | 0xf00)) && types_valid(value, 1, MTRR_TYPES);
}

static bool must_be_canonical(uint32_t number)
{
	return number == MSR_FS_BASE || number == MSR_GS_BASE || number == 0xc0000082 ||
	       number == 0xc0000083 || number == 0xc0000102 || number == 0x175 || number == 0x176;
}

static bool value_valid(struct cpu *c, uint32_t number, uint64_t value)
{
	if (must_be_canonical(number))
		return is_canonical(value);
	if (number == MSR_APIC_BASE)
		return !(value & APIC_BASE_X2APIC) ||
		       x86_model_has(&c->v->vm->model, X86_CPU_X2APIC);
	if (number == MSR_PAT)
		return types_valid(value, 8, PAT_TYPES);
	if ((number >= 0x200 && number <= 0x26f) || number == MSR_MTRR_DEF_TYPE)
		return mtrr_valid(c, number, value);
	return true;
}

/* ---- where they are kept ---- */

static uint64_t *kept_msr(struct cpu *c, uint32_t number)
{
	for (unsigned n = 0; n < X86_MSR_COUNT; n++)
		if (x86_msr_list[n].number == number)
			return &c->s.msr[n];
	return NULL;
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

#define MTRR_CAP (8 | BIT(8) | BIT(10)) /* 8 variable ranges, the fixed ones, write-combining */

/* Registers with one value for ever; writes of those that may be written go nowhere. */
static const struct constant_msr {
	uint32_t number;
	uint64_t value;
	bool writable;
} constant_msrs[] = {
	{0, 0, true},
	{1, 0, true},                    /* P5_MC_ADDR, P5_MC_TYPE */
	{0x17, 0, false},                /* IA32_PLATFORM_ID: firmware picks microcode by it */
	{0x8b, UINT64_C(1) << 32, true}, /* IA32_BIOS_SIGN_ID: microcode revision */
	{0x10a, ARCH_CAPABILITIES, false},
	{0x179, 0, false},
	{0x17a, 0, true}, /* IA32_MCG_CAP: no banks; IA32_MCG_STATUS */
	{MSR_MTRR_CAP, MTRR_CAP, false},
};

/*
 * What systems expect of AMD's CPUs of all families, without asking CPUID: four
 * performance counters, that count nothing here, SYSCFG, HWCR, NB_CFG, LS_CFG, DE_CFG.
 */
static bool amd_msr(uint32_t number)
{
	return (number >= 0xc0010000 && number <= 0xc0010007) || number == 0xc0010010 ||
	       number == 0xc0010015 || number == 0xc001001f || number == 0xc0011020 ||
	       number == 0xc0011029;
}

static const struct constant_msr *constant_msr(const struct cpu *c, uint32_t number)
{
	static const struct constant_msr zero = {0, 0, true};

	for (unsigned n = 0; n < ARRAY_SIZE(constant_msrs); n++)
		if (constant_msrs[n].number == number)
			return &constant_msrs[n];
	return amd_msr(number) && x86_model_amd(&c->v->vm->model) ? &zero : NULL;
}

/* The machine's, or kept here; where there is neither, #GP. */
static uint64_t machine_msr(struct cpu *c, uint32_t number, const uint64_t *kept)
{
	const struct constant_msr *constant = constant_msr(c, number);
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
	const struct constant_msr *constant = constant_msr(c, number);
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
	if (!msr_offered(c, number))
		raise_error(c, X86_GP, 0);
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

void tell_clock(struct cpu *c)
{
	c->clock_changed = false;
	vcpu_clock_changed(c->v, c->s.tsc, c->s.msr[X86_MSR_PV_SYSTEM_TIME]);
}

/* SDM vol. 3B 17.17.3: IA32_TSC_ADJUST adds up what was written to either. */
static void move_tsc(struct cpu *c, uint64_t by)
{
	c->s.tsc += by;
	c->s.msr[X86_MSR_TSC_ADJUST] += by;
	tell_clock(c);
}

/* Those whose writing does something beyond itself; false: it is none of them. */
static bool write_acting(struct cpu *c, uint32_t number, uint64_t value)
{
	switch (number) {
	case MSR_TSC:
		move_tsc(c, value - read_tsc(c));
		return true;
	case MSR_TSC_ADJUST:
		move_tsc(c, value - c->s.msr[X86_MSR_TSC_ADJUST]);
		return true;
	case MSR_EFER:
		set_efer(c, value);
		return true;
	case MSR_KVM_SYSTEM_TIME:
		c->s.msr[X86_MSR_PV_SYSTEM_TIME] = value;
		tell_clock(c);
		return true;
	case MSR_KVM_WALL_CLOCK:
		c->s.msr[X86_MSR_PV_WALL_CLOCK] = value;
		vcpu_wall_clock(c->v, value);
		return true;
	default:
		return false;
	}
}

void op_WRMSR(struct cpu *c, const struct x86_insn *i)
{
	uint32_t number = (uint32_t)c->s.gpr[X86_RCX];
	uint64_t *kept = kept_msr(c, number);
	uint64_t value = get_gpr(c, X86_RDX, 4) << 32 | get_gpr(c, X86_RAX, 4);

	need_ring0(c);
	if (!msr_offered(c, number) || !value_valid(c, number, value))
		raise_error(c, X86_GP, 0);
	if (write_acting(c, number, value))
		return;
	if (!kept)
		kept = base_msr(c, number);
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

/* ---- hypercalls, as KVM has them ---- */

static void hypercall(struct cpu *c)
{
	const bool wide = c->mode == X86_MODE_64;
	const unsigned size = wide ? 8 : 4;
	const uint64_t arg[4] = {get_gpr(c, X86_RBX, size), get_gpr(c, X86_RCX, size),
		get_gpr(c, X86_RDX, size), get_gpr(c, X86_RSI, size)};

	if (cpl(c) || !x86_model_has(&c->v->vm->model, X86_CPU_HYPERVISOR))
		raise_fault(c, X86_UD);
	set_gpr(c, X86_RAX, size, vcpu_hypercall(c->v, get_gpr(c, X86_RAX, size), arg, wide));
}

void op_VMCALL(struct cpu *c, const struct x86_insn *i)
{
	hypercall(c);
}

void op_VMMCALL(struct cpu *c, const struct x86_insn *i)
{
	hypercall(c);
}
