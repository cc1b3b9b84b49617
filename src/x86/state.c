/*
 * state.c - reset, comparison and display of the canonical vCPU state.
 *
 * Sources: Intel SDM vol. 3A table 9-1 (state after power-up and RESET), 4.11 and vol. 4 (MSRs),
 * vol. 1 10.5.1 and 13.4 (layout of the XSAVE area). No locks: the caller owns the state.
 * The XSAVE header is not compared: whether a component in its initial state is marked so in
 * XSTATE_BV is the engine's choice.
 */
#include "x86/state.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* Offsets in the XSAVE area. */
enum {
	XSAVE_FCW = 0,
	XSAVE_FSW = 2,
	XSAVE_FTW = 4,
	XSAVE_FOP = 6,
	XSAVE_MXCSR = 24,
	XSAVE_ST = 32,
	XSAVE_XMM = 160,
	XSAVE_BV = 512,
	XSAVE_YMMH = 576
};

const struct x86_msr_info x86_msr_list[X86_MSR_COUNT] = {
	[X86_MSR_SYSENTER_CS] = {0x174, "IA32_SYSENTER_CS", 0},
	[X86_MSR_SYSENTER_ESP] = {0x175, "IA32_SYSENTER_ESP", 0},
	[X86_MSR_SYSENTER_EIP] = {0x176, "IA32_SYSENTER_EIP", 0},
	[X86_MSR_STAR] = {0xc0000081, "IA32_STAR", 0},
	[X86_MSR_LSTAR] = {0xc0000082, "IA32_LSTAR", 0},
	[X86_MSR_CSTAR] = {0xc0000083, "IA32_CSTAR", 0},
	[X86_MSR_SFMASK] = {0xc0000084, "IA32_FMASK", 0},
	[X86_MSR_KERNEL_GS_BASE] = {0xc0000102, "IA32_KERNEL_GS_BASE", 0},
	[X86_MSR_TSC_AUX] = {0xc0000103, "IA32_TSC_AUX", 0},
	[X86_MSR_PAT] = {0x277, "IA32_PAT", 0x0007040600070406},
	[X86_MSR_MISC_ENABLE] = {0x1a0, "IA32_MISC_ENABLE", 1},     /* fast strings */
	[X86_MSR_APIC_BASE] = {0x1b, "IA32_APIC_BASE", 0xfee00900}, /* enabled, boot processor */
	[X86_MSR_TSC_DEADLINE] = {0x6e0, "IA32_TSC_DEADLINE", 0},
	[X86_MSR_TSC_ADJUST] = {0x3b, "IA32_TSC_ADJUST", 0},
	[X86_MSR_MTRR_PHYSBASE0] = {0x200, "IA32_MTRR_PHYSBASE0", 0},
	[X86_MSR_MTRR_PHYSMASK0] = {0x201, "IA32_MTRR_PHYSMASK0", 0},
	[X86_MSR_MTRR_PHYSBASE1] = {0x202, "IA32_MTRR_PHYSBASE1", 0},
	[X86_MSR_MTRR_PHYSMASK1] = {0x203, "IA32_MTRR_PHYSMASK1", 0},
	[X86_MSR_MTRR_PHYSBASE2] = {0x204, "IA32_MTRR_PHYSBASE2", 0},
	[X86_MSR_MTRR_PHYSMASK2] = {0x205, "IA32_MTRR_PHYSMASK2", 0},
	[X86_MSR_MTRR_PHYSBASE3] = {0x206, "IA32_MTRR_PHYSBASE3", 0},
	[X86_MSR_MTRR_PHYSMASK3] = {0x207, "IA32_MTRR_PHYSMASK3", 0},
	[X86_MSR_MTRR_PHYSBASE4] = {0x208, "IA32_MTRR_PHYSBASE4", 0},
	[X86_MSR_MTRR_PHYSMASK4] = {0x209, "IA32_MTRR_PHYSMASK4", 0},
	[X86_MSR_MTRR_PHYSBASE5] = {0x20a, "IA32_MTRR_PHYSBASE5", 0},
	[X86_MSR_MTRR_PHYSMASK5] = {0x20b, "IA32_MTRR_PHYSMASK5", 0},
	[X86_MSR_MTRR_PHYSBASE6] = {0x20c, "IA32_MTRR_PHYSBASE6", 0},
	[X86_MSR_MTRR_PHYSMASK6] = {0x20d, "IA32_MTRR_PHYSMASK6", 0},
	[X86_MSR_MTRR_PHYSBASE7] = {0x20e, "IA32_MTRR_PHYSBASE7", 0},
	[X86_MSR_MTRR_PHYSMASK7] = {0x20f, "IA32_MTRR_PHYSMASK7", 0},
	[X86_MSR_MTRR_FIX64K_00000] = {0x250, "IA32_MTRR_FIX64K_00000", 0},
	[X86_MSR_MTRR_FIX16K_80000] = {0x258, "IA32_MTRR_FIX16K_80000", 0},
	[X86_MSR_MTRR_FIX16K_A0000] = {0x259, "IA32_MTRR_FIX16K_A0000", 0},
	[X86_MSR_MTRR_FIX4K_C0000] = {0x268, "IA32_MTRR_FIX4K_C0000", 0},
	[X86_MSR_MTRR_FIX4K_C8000] = {0x269, "IA32_MTRR_FIX4K_C8000", 0},
	[X86_MSR_MTRR_FIX4K_D0000] = {0x26a, "IA32_MTRR_FIX4K_D0000", 0},
	[X86_MSR_MTRR_FIX4K_D8000] = {0x26b, "IA32_MTRR_FIX4K_D8000", 0},
	[X86_MSR_MTRR_FIX4K_E0000] = {0x26c, "IA32_MTRR_FIX4K_E0000", 0},
	[X86_MSR_MTRR_FIX4K_E8000] = {0x26d, "IA32_MTRR_FIX4K_E8000", 0},
	[X86_MSR_MTRR_FIX4K_F0000] = {0x26e, "IA32_MTRR_FIX4K_F0000", 0},
	[X86_MSR_MTRR_FIX4K_F8000] = {0x26f, "IA32_MTRR_FIX4K_F8000", 0},
	[X86_MSR_MTRR_DEF_TYPE] = {0x2ff, "IA32_MTRR_DEF_TYPE", 0},
	[X86_MSR_PV_WALL_CLOCK] = {0x4b564d00, "PV_WALL_CLOCK", 0},
	[X86_MSR_PV_SYSTEM_TIME] = {0x4b564d01, "PV_SYSTEM_TIME", 0},
};

void x86_seg_real(struct x86_seg *seg, uint16_t sel, bool code)
{
	seg->sel = sel;
	seg->base = (uint64_t)sel << 4;
	seg->limit = 0xffff;
	seg->attr = X86_ATTR_P | X86_ATTR_S | (code ? 0xb : 0x3); /* accessed; RX or RW */
}

static void reset_segments(struct x86_state *s)
{
	for (unsigned i = X86_ES; i <= X86_GS; i++)
		x86_seg_real(&s->seg[i], 0, i == X86_CS);
	s->seg[X86_CS].sel = 0xf000;
	s->seg[X86_CS].base = 0xffff0000;
	s->seg[X86_LDTR] = (struct x86_seg){.limit = 0xffff, .attr = X86_ATTR_P | 2};
	s->seg[X86_TR] = (struct x86_seg){.limit = 0xffff, .attr = X86_ATTR_P | 11}; /* busy */
	s->gdtr.limit = 0xffff;
	s->idtr.limit = 0xffff;
}

static void put16(uint8_t *p, uint16_t v)
{
	memcpy(p, &v, sizeof(v));
}

/* Power-up, not FNINIT: control word 40h, all registers hold a valid zero (tag word 5555h). */
static void reset_fpu(struct x86_state *s)
{
	put16(&s->xsave[XSAVE_FCW], 0x40);
	s->xsave[XSAVE_FTW] = 0xff;
	put16(&s->xsave[XSAVE_MXCSR], 0x1f80);
	s->xsave[XSAVE_BV] = X86_XCR0_X87 | X86_XCR0_SSE;
	s->xcr0 = X86_XCR0_X87;
}

void x86_state_reset(struct x86_state *s, uint32_t cpu_signature)
{
	memset(s, 0, sizeof(*s));
	s->gpr[X86_RDX] = cpu_signature;
	s->rip = 0xfff0;
	s->rflags = X86_FLAGS_FIXED;
	reset_segments(s);
	s->cr0 = X86_CR0_CD | X86_CR0_NW | X86_CR0_ET;
	s->dr[6] = 0xffff0ff0;
	s->dr[7] = 0x400;
	reset_fpu(s);
	for (unsigned i = 0; i < X86_MSR_COUNT; i++)
		s->msr[i] = x86_msr_list[i].reset;
	s->events.run = X86_RUNNING;
}

/* One named piece of the state, little-endian. */
struct field {
	uint16_t group, offset, size;
	char name[20];
};

#define FIELD(group, name, member)                                                                 \
	{                                                                                          \
		X86_GROUP_##group, offsetof(struct x86_state, member),                             \
			sizeof(((struct x86_state *)0)->member), name                              \
	}
#define BYTES(name, at, size)                                                                      \
	{                                                                                          \
		X86_GROUP_FPU, offsetof(struct x86_state, xsave) + (at), size, name                \
	}
#define GPR(name, index) FIELD(GPR, name, gpr[index])
#define SEG(name, index)                                                                           \
	FIELD(SEG, name ".sel", seg[index].sel), FIELD(SEG, name ".base", seg[index].base),        \
		FIELD(SEG, name ".limit", seg[index].limit),                                       \
		FIELD(SEG, name ".attr", seg[index].attr)
#define ST(i)       BYTES("st" #i, XSAVE_ST + 16 * i, 10)
#define XMM(i)      BYTES("xmm" #i, XSAVE_XMM + 16 * i, 16)
#define YMMH(i)     BYTES("ymmh" #i, XSAVE_YMMH + 16 * i, 16)
#define MSR(name)   FIELD(MSR, #name, msr[X86_MSR_##name])
#define EVENT(name) FIELD(EVENTS, #name, events.name)

/* clang-format off */
static const struct field fields[] = {
	GPR("rax", X86_RAX), GPR("rcx", X86_RCX), GPR("rdx", X86_RDX), GPR("rbx", X86_RBX),
	GPR("rsp", X86_RSP), GPR("rbp", X86_RBP), GPR("rsi", X86_RSI), GPR("rdi", X86_RDI),
	GPR("r8", X86_R8), GPR("r9", X86_R9), GPR("r10", X86_R10), GPR("r11", X86_R11),
	GPR("r12", X86_R12), GPR("r13", X86_R13), GPR("r14", X86_R14), GPR("r15", X86_R15),
	FIELD(GPR, "rip", rip), FIELD(GPR, "rflags", rflags),
	SEG("es", X86_ES), SEG("cs", X86_CS), SEG("ss", X86_SS), SEG("ds", X86_DS),
	SEG("fs", X86_FS), SEG("gs", X86_GS), SEG("ldtr", X86_LDTR), SEG("tr", X86_TR),
	FIELD(SEG, "gdtr.base", gdtr.base), FIELD(SEG, "gdtr.limit", gdtr.limit),
	FIELD(SEG, "idtr.base", idtr.base), FIELD(SEG, "idtr.limit", idtr.limit),
	FIELD(CR, "cr0", cr0), FIELD(CR, "cr2", cr2), FIELD(CR, "cr3", cr3), FIELD(CR, "cr4", cr4),
	FIELD(CR, "cr8", cr8), FIELD(CR, "efer", efer), FIELD(CR, "xcr0", xcr0),
	FIELD(CR, "pdpte0", pdpte[0]), FIELD(CR, "pdpte1", pdpte[1]), FIELD(CR, "pdpte2", pdpte[2]),
	FIELD(CR, "pdpte3", pdpte[3]),
	FIELD(DR, "dr0", dr[0]), FIELD(DR, "dr1", dr[1]), FIELD(DR, "dr2", dr[2]),
	FIELD(DR, "dr3", dr[3]), FIELD(DR, "dr6", dr[6]), FIELD(DR, "dr7", dr[7]),
	BYTES("fcw", XSAVE_FCW, 2), BYTES("fsw", XSAVE_FSW, 2), BYTES("ftw", XSAVE_FTW, 1),
	BYTES("fop", XSAVE_FOP, 2), BYTES("mxcsr", XSAVE_MXCSR, 4),
	ST(0), ST(1), ST(2), ST(3), ST(4), ST(5), ST(6), ST(7),
	XMM(0), XMM(1), XMM(2), XMM(3), XMM(4), XMM(5), XMM(6), XMM(7),
	XMM(8), XMM(9), XMM(10), XMM(11), XMM(12), XMM(13), XMM(14), XMM(15),
	YMMH(0), YMMH(1), YMMH(2), YMMH(3), YMMH(4), YMMH(5), YMMH(6), YMMH(7),
	YMMH(8), YMMH(9), YMMH(10), YMMH(11), YMMH(12), YMMH(13), YMMH(14), YMMH(15),
	MSR(SYSENTER_CS), MSR(SYSENTER_ESP), MSR(SYSENTER_EIP), MSR(STAR), MSR(LSTAR),
	MSR(CSTAR), MSR(SFMASK), MSR(KERNEL_GS_BASE), MSR(TSC_AUX), MSR(PAT),
	MSR(MISC_ENABLE), MSR(APIC_BASE), MSR(TSC_DEADLINE), MSR(TSC_ADJUST),
	MSR(MTRR_PHYSBASE0), MSR(MTRR_PHYSMASK0),	MSR(MTRR_PHYSBASE1), MSR(MTRR_PHYSMASK1),
	MSR(MTRR_PHYSBASE2), MSR(MTRR_PHYSMASK2),	MSR(MTRR_PHYSBASE3), MSR(MTRR_PHYSMASK3),
	MSR(MTRR_PHYSBASE4), MSR(MTRR_PHYSMASK4),	MSR(MTRR_PHYSBASE5), MSR(MTRR_PHYSMASK5),
	MSR(MTRR_PHYSBASE6), MSR(MTRR_PHYSMASK6),	MSR(MTRR_PHYSBASE7), MSR(MTRR_PHYSMASK7),
	MSR(MTRR_FIX64K_00000), MSR(MTRR_FIX16K_80000), MSR(MTRR_FIX16K_A0000), MSR(MTRR_FIX4K_C0000), MSR(MTRR_FIX4K_C8000),
	MSR(MTRR_FIX4K_D0000), MSR(MTRR_FIX4K_D8000), MSR(MTRR_FIX4K_E0000), MSR(MTRR_FIX4K_E8000), MSR(MTRR_FIX4K_F0000), MSR(MTRR_FIX4K_F8000),
	MSR(MTRR_DEF_TYPE), MSR(PV_WALL_CLOCK), MSR(PV_SYSTEM_TIME),
	FIELD(TSC, "tsc", tsc),
	EVENT(type), EVENT(vector), EVENT(has_error), EVENT(insn_len),
	EVENT(error), EVENT(exc_pending), EVENT(exc_vector), EVENT(exc_has_error),
	EVENT(exc_has_payload), EVENT(exc_error), EVENT(exc_payload), EVENT(shadow_sti),
	EVENT(shadow_mov_ss), EVENT(nmi_masked), EVENT(nmi_pending), EVENT(init_pending),
	EVENT(sipi_pending), EVENT(sipi_vector), EVENT(db_pending), EVENT(db_held), EVENT(run),
};
/* clang-format on */

static void print_value(const struct x86_state *s, const struct field *f, FILE *out)
{
	const uint8_t *p = (const uint8_t *)s + f->offset;

	for (unsigned i = f->size; i-- > 0;)
		fprintf(out, "%02x", p[i]);
}

static void print_difference(
	const struct x86_state *a, const struct x86_state *b, const struct field *f, FILE *out)
{
	fprintf(out, "%s: ", f->name);
	print_value(a, f, out);
	fprintf(out, " != ");
	print_value(b, f, out);
	fputc('\n', out);
}

static bool same(const struct x86_state *a, const struct x86_state *b, const struct field *f)
{
	return !memcmp((const uint8_t *)a + f->offset, (const uint8_t *)b + f->offset, f->size);
}

unsigned x86_state_diff(
	const struct x86_state *a, const struct x86_state *b, unsigned mask, FILE *out)
{
	unsigned count = 0;

	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		const struct field *f = &fields[i];

		if (!(f->group & mask) || same(a, b, f))
			continue;
		count++;
		if (out)
			print_difference(a, b, f, out);
	}
	return count;
}

static void print_gpr(const struct x86_state *s, FILE *out)
{
	for (unsigned i = 0; i < X86_GPR_COUNT; i++)
		fprintf(out, "%-3s %016llx%c", fields[i].name, (unsigned long long)s->gpr[i],
			i % 4 == 3 ? '\n' : ' ');
	fprintf(out, "rip %016llx rflags %08llx", (unsigned long long)s->rip,
		(unsigned long long)s->rflags);
	for (unsigned i = 0; i < 12; i++) /* OF DF IF TF SF ZF - AF - PF - CF */
		if (0xfd5 >> (11 - i) & 1)
			fputc(s->rflags >> (11 - i) & 1 ? "ODITSZ-A-P-C"[i] : '.', out);
	fputc('\n', out);
}

static void print_segments(const struct x86_state *s, FILE *out)
{
	static const char names[X86_SEG_COUNT][5] = {
		"es", "cs", "ss", "ds", "fs", "gs", "ldtr", "tr"};

	for (unsigned i = 0; i < X86_SEG_COUNT; i++)
		fprintf(out, "%-4s %04x base %016llx limit %08x attr %05x\n", names[i],
			s->seg[i].sel, (unsigned long long)s->seg[i].base, s->seg[i].limit,
			s->seg[i].attr);
	fprintf(out, "gdtr base %016llx limit %04x\nidtr base %016llx limit %04x\n",
		(unsigned long long)s->gdtr.base, s->gdtr.limit, (unsigned long long)s->idtr.base,
		s->idtr.limit);
}

static void print_system(const struct x86_state *s, FILE *out)
{
	fprintf(out, "cr0 %08llx cr2 %016llx cr3 %016llx cr4 %08llx cr8 %llx\n",
		(unsigned long long)s->cr0, (unsigned long long)s->cr2, (unsigned long long)s->cr3,
		(unsigned long long)s->cr4, (unsigned long long)s->cr8);
	fprintf(out, "efer %llx xcr0 %llx dr6 %08llx dr7 %08llx tsc %llu\n",
		(unsigned long long)s->efer, (unsigned long long)s->xcr0,
		(unsigned long long)s->dr[6], (unsigned long long)s->dr[7],
		(unsigned long long)s->tsc);
}

void x86_state_print(const struct x86_state *s, FILE *out)
{
	static const char *const run[] = {"running", "halted", "waiting for SIPI", "shut down"};

	print_gpr(s, out);
	print_segments(s, out);
	print_system(s, out);
	fprintf(out, "%s\n", s->events.run <= X86_SHUTDOWN ? run[s->events.run] : "?");
}
