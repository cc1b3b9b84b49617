/*
 * fpu.c - x87, MMX, SSE and AVX: who may execute them, their operands, and
 * their exceptions. The arithmetic is the host's (hostexec.c).
 *
 * Sources: SDM vol. 1 8.5 to 8.7 (x87 exceptions), 11.5 (SIMD exceptions);
 * vol. 3A 2.5 and 13.1 (EM, TS, OSFXSR), tables 2-2 and 2-16 to 2-26 of vol. 2.
 */
#include "engine/interpret/fpu.h"

#include <string.h>

#include "engine/interpret/cpu.h"
#include "engine/interpret/hostexec.h"

/* ---- the state, in the layout of FXSAVE ---- */

uint16_t fpu_word(const struct cpu *c, unsigned off)
{
	uint16_t v;

	memcpy(&v, c->s.xsave + off, 2);
	return v;
}

void fpu_set_word(struct cpu *c, unsigned off, uint16_t v)
{
	memcpy(c->s.xsave + off, &v, 2);
}

/* The image holds registers by their distance from the top of the stack. */
void fpu_set_top(struct cpu *c, unsigned top)
{
	unsigned turn = (top - (fpu_word(c, FPU_FSW) >> 11)) & 7;
	uint8_t st[8][16];

	memcpy(st, c->s.xsave + FPU_ST, sizeof(st));
	for (unsigned n = 0; n < 8; n++)
		memcpy(c->s.xsave + FPU_ST + n * 16, st[(n + turn) & 7], 16);
	fpu_set_word(c, FPU_FSW, (uint16_t)((fpu_word(c, FPU_FSW) & ~0x3800u) | top << 11));
}

/* What every MMX instruction does first: top of stack 0, all registers valid. */
void fpu_enter_mmx(struct cpu *c)
{
	fpu_set_top(c, 0);
	c->s.xsave[FPU_FTW] = 0xff;
}

static uint32_t mxcsr_of(const uint8_t *image)
{
	uint32_t v;

	memcpy(&v, image + FPU_MXCSR, 4);
	return v;
}

static void set_mxcsr(uint8_t *image, uint32_t v)
{
	memcpy(image + FPU_MXCSR, &v, 4);
}

/* ---- who may ---- */

enum unit { UNIT_INTEGER, UNIT_X87, UNIT_MMX, UNIT_SSE, UNIT_AVX };

static bool names(const struct x86_insn *i, unsigned kind)
{
	for (unsigned n = 0; n < i->nops; n++)
		if (i->opnd[n].kind == kind)
			return true;
	return false;
}

/* Conversions between memory and general or MMX registers name no vector. */
static bool converts(const struct x86_insn *i)
{
	const char *name = x86_insn_table[i->entry].name;

	return !strncmp(name + i->vex, "CVT", 3);
}

static enum unit unit_of(const struct x86_insn *i)
{
	if (i->map == X86_MAP_1)
		return UNIT_X87;
	if (names(i, X86_OPND_XMM) || converts(i) || i->op == X86_OP_VZEROALL ||
		i->op == X86_OP_VZEROUPPER)
		return i->vex ? UNIT_AVX : UNIT_SSE;
	return names(i, X86_OPND_MMX) || i->op == X86_OP_EMMS ? UNIT_MMX : UNIT_INTEGER;
}

void check_x87(struct cpu *c)
{
	if (c->s.cr0 & (X86_CR0_EM | X86_CR0_TS))
		raise_fault(c, X86_NM);
}

void check_sse(struct cpu *c)
{
	if (c->s.cr0 & X86_CR0_EM || !(c->s.cr4 & X86_CR4_OSFXSR))
		raise_fault(c, X86_UD);
	if (c->s.cr0 & X86_CR0_TS)
		raise_fault(c, X86_NM);
}

void check_avx(struct cpu *c)
{
	const uint64_t need = X86_XCR0_SSE | X86_XCR0_AVX;

	if (!(c->s.cr4 & X86_CR4_OSXSAVE) || (c->s.xcr0 & need) != need || !protected_mode(c))
		raise_fault(c, X86_UD);
	if (c->s.cr0 & X86_CR0_TS)
		raise_fault(c, X86_NM);
}

static void check_mmx(struct cpu *c)
{
	if (c->s.cr0 & X86_CR0_EM)
		raise_fault(c, X86_UD);
	if (c->s.cr0 & X86_CR0_TS)
		raise_fault(c, X86_NM);
}

/* FERR# falls when there is no error any more. */
static void settle_ferr(struct cpu *c)
{
	if (unlikely(atomic_load_explicit(&c->v->ferr, memory_order_relaxed)) &&
		!(fpu_word(c, FPU_FSW) & FPU_ES))
		vcpu_set_ferr(c->v, false);
}

/* With CR0.NE clear the error goes out by FERR#, and the CPU waits unless told to ignore it. */
void check_pending(struct cpu *c)
{
	settle_ferr(c);
	if (!(fpu_word(c, FPU_FSW) & FPU_ES))
		return;
	if (c->s.cr0 & X86_CR0_NE)
		raise_fault(c, X86_MF);
	if (atomic_load_explicit(&c->v->ignne, memory_order_relaxed))
		return;
	vcpu_set_ferr(c->v, true);
	freeze(c);
}

static bool waits(const struct x86_insn *i)
{
	return i->op != X86_OP_FNINIT && i->op != X86_OP_FNCLEX && i->op != X86_OP_FNSTSW &&
	       i->op != X86_OP_FNSTCW && i->op != X86_OP_FNENI && i->op != X86_OP_FNDISI &&
	       i->op != X86_OP_FNSETPM;
}

static bool heeds_errors(const struct x86_insn *i, enum unit unit)
{
	return (unit == UNIT_X87 && waits(i)) || unit == UNIT_MMX || names(i, X86_OPND_MMX);
}

static void check_unit(struct cpu *c, const struct x86_insn *i, enum unit unit)
{
	switch (unit) {
	case UNIT_INTEGER:
		return;
	case UNIT_X87:
		check_x87(c);
		break;
	case UNIT_MMX:
		check_mmx(c);
		break;
	case UNIT_SSE:
		check_sse(c);
		break;
	case UNIT_AVX:
		check_avx(c);
	}
	if (heeds_errors(i, unit))
		check_pending(c);
}

/* ---- memory operands of any size ---- */

void load_block(struct cpu *c, unsigned seg, uint64_t off, void *to, unsigned size)
{
	uint64_t lin = linear(c, seg, off, size, X86_READ), v;
	uint8_t *p = to;

	for (unsigned done = 0, n; done < size; done += n) {
		n = MIN(size - done, 8);
		v = load_linear(c, lin + done, n);
		memcpy(p + done, &v, n);
	}
}

void store_block(struct cpu *c, unsigned seg, uint64_t off, const void *from, unsigned size)
{
	uint64_t lin, v = 0;
	const uint8_t *p = from;

	probe_store(c, seg, off, size);
	lin = linear(c, seg, off, size, X86_WRITE);
	for (unsigned done = 0, n; done < size; done += n) {
		n = MIN(size - done, 8);
		memcpy(&v, p + done, n);
		store_linear(c, lin + done, n, v);
	}
}

/* An 80-bit operand is two accesses, and the second may wrap. */
#define TBYTE 10u

static void load_operand(
	struct cpu *c, const struct x86_insn *i, uint64_t off, uint8_t *to, unsigned size)
{
	if (size != TBYTE) {
		load_block(c, i->mem.seg, off, to, size);
		return;
	}
	load_block(c, i->mem.seg, off, to, 8);
	load_block(c, i->mem.seg, (off + 8) & size_mask(i->addrsize), to + 8, 2);
}

static void probe_operand(struct cpu *c, const struct x86_insn *i, uint64_t off, unsigned size)
{
	probe_store(c, i->mem.seg, off, size == TBYTE ? 8 : size);
	if (size == TBYTE)
		probe_store(c, i->mem.seg, (off + 8) & size_mask(i->addrsize), 2);
}

static void store_operand(
	struct cpu *c, const struct x86_insn *i, uint64_t off, const uint8_t *from, unsigned size)
{
	if (size == TBYTE)
		store_block(c, i->mem.seg, (off + 8) & size_mask(i->addrsize), from + 8, 2);
	store_block(c, i->mem.seg, off, from, size == TBYTE ? 8 : size);
}

struct operand {
	bool present, read, write;
	unsigned size;
	uint64_t off;
};

/* SSE operands of 16 bytes must be aligned, but for these (SDM vol. 2A table 2-21). */
static bool may_be_unaligned(const struct x86_insn *i)
{
	switch (i->op) {
	case X86_OP_MOVUPS:
	case X86_OP_MOVUPD:
	case X86_OP_MOVDQU:
	case X86_OP_LDDQU:
	case X86_OP_PCMPESTRI:
	case X86_OP_PCMPESTRM:
	case X86_OP_PCMPISTRI:
	case X86_OP_PCMPISTRM:
		return true;
	default:
		return false;
	}
}

/* With VEX only the moves that say so must be aligned. */
bool must_be_aligned(const struct x86_insn *i)
{
	const char *name = x86_insn_table[i->entry].name;

	if (!i->vex)
		return !may_be_unaligned(i);
	return !strncmp(name, "VMOVAP", 6) || !strncmp(name, "VMOVDQA", 7) ||
	       !strncmp(name, "VMOVNT", 6);
}

static struct operand find_operand(struct cpu *c, const struct x86_insn *i, enum unit unit)
{
	struct operand o = {.present = false};

	for (unsigned n = 0; n < i->nops; n++) {
		if (i->opnd[n].kind != X86_OPND_MEM)
			continue;
		o.present = true;
		o.read = x86_insn_table[i->entry].access[n] & 1;
		o.write = x86_insn_table[i->entry].access[n] & 2;
		o.size = i->opnd[n].size;
		o.off = address(c, i, &i->mem);
	}
	if (o.present && o.size >= 16 && unit >= UNIT_SSE && must_be_aligned(i))
		check_aligned(c, i, o.size);
	return o;
}

/* ---- execution ---- */

#define ALL_MASKED   0x1f80u
#define MXCSR_UE     0x10u
#define MXCSR_UM     0x800u
#define MXCSR_FTZ    0x8000u
#define EXCEPTIONS   0x3fu
#define HEADER       512u
#define LEGACY_SIZE  512u
#define CLEAN_FROM   6u /* FOP, FIP, FDP: 18 bytes that would show host addresses */
#define CLEAN_LENGTH 18u

/* Unmasked SIMD exceptions: nothing is done but the flags (SDM vol. 1 11.5.2). */
static void check_simd(struct cpu *c, const struct x86_insn *i, uint32_t raised, uint32_t before)
{
	if (!(raised & ~(before >> 7) & EXCEPTIONS))
		return;
	/* Of several, the ones before the computation hide the others. */
	if (raised & ~(before >> 7) & 7)
		raised &= 7;
	set_mxcsr(c->s.xsave, before | raised);
	if (names(i, X86_OPND_MMX))
		fpu_enter_mmx(c);
	raise_fault(c, c->s.cr4 & X86_CR4_OSXMMEXCPT ? X86_XM : X86_UD);
}

/*
 * Unmasked, underflow is raised by a tiny result even if it is exact; masked, it
 * is not. Flushing such results to zero tells.
 */
static uint32_t underflow(struct cpu *c, const struct x86_insn *i, const struct host_frame *f)
{
	_Alignas(64) uint8_t image[X86_XSAVE_SIZE];
	uint8_t kept[HOST_BUFFER_SIZE];
	struct host_frame again = *f;

	memcpy(kept, host_buffer(c->stubs), sizeof(kept));
	memcpy(image, f->image, sizeof(image));
	set_mxcsr(image, mxcsr_of(image) | MXCSR_FTZ);
	again.image = image;
	host_run(c->stubs, i, &again);
	memcpy(host_buffer(c->stubs), kept, sizeof(kept));
	return mxcsr_of(image) & MXCSR_UE;
}

/*
 * Errors that IGNNE# lets pass must not wait in the host's unit: they are taken
 * out of the image for the instruction, and are sticky afterwards.
 */
static uint16_t hide_errors(uint8_t *image)
{
	uint16_t fsw, fcw, errors;

	memcpy(&fcw, image + FPU_FCW, 2);
	memcpy(&fsw, image + FPU_FSW, 2);
	errors = fsw & ~fcw & EXCEPTIONS;
	fsw &= (uint16_t) ~(errors | FPU_ES | FPU_BUSY);
	memcpy(image + FPU_FSW, &fsw, 2);
	return errors;
}

static void show_errors(uint8_t *image, uint16_t errors)
{
	uint16_t fsw, fcw;

	memcpy(&fcw, image + FPU_FCW, 2);
	memcpy(&fsw, image + FPU_FSW, 2);
	fsw |= errors;
	if (fsw & ~fcw & EXCEPTIONS)
		fsw |= FPU_ES | FPU_BUSY;
	memcpy(image + FPU_FSW, &fsw, 2);
}

static void run_on_image(
	struct cpu *c, const struct x86_insn *i, enum unit unit, struct host_frame *f)
{
	_Alignas(64) uint8_t image[X86_XSAVE_SIZE];
	const uint64_t all = 7;
	uint32_t mxcsr = mxcsr_of(c->s.xsave), raised;
	bool ignores = fpu_word(c, FPU_FSW) & FPU_ES && heeds_errors(i, unit);
	uint16_t errors = 0;
	unsigned size = unit == UNIT_AVX ? X86_XSAVE_SIZE : LEGACY_SIZE;

	memcpy(image, c->s.xsave, size);
	if (size < sizeof(image))
		memset(image + size, 0, sizeof(image) - size);
	memset(image + CLEAN_FROM, 0, CLEAN_LENGTH);
	set_mxcsr(image, (mxcsr & ~EXCEPTIONS) | ALL_MASKED);
	if (ignores)
		errors = hide_errors(image);
	if (unit == UNIT_AVX) {
		memset(image + HEADER, 0, 64);
		memcpy(image + HEADER, &all, 8);
	}
	f->image = image;
	f->form = unit == UNIT_AVX ? HOST_XSAVE : HOST_FXSAVE;
	raised = unit >= UNIT_SSE && !(mxcsr & MXCSR_UM) ? underflow(c, i, f) : 0;
	host_run(c->stubs, i, f);
	if (unit >= UNIT_SSE) {
		raised |= mxcsr_of(image) & EXCEPTIONS;
		check_simd(c, i, raised, mxcsr);
		mxcsr |= raised;
	}
	set_mxcsr(image, mxcsr);
	if (ignores)
		show_errors(image, errors);
	memset(image + CLEAN_FROM, 0, CLEAN_LENGTH);
	f->image = NULL;
	memcpy(c->fpu_result, image, size);
}

/* With all exceptions masked nothing is to be taken back: in place, and without x87. */
static bool runs_in_place(const struct cpu *c, const struct x86_insn *i, enum unit unit)
{
	return unit == UNIT_SSE && (mxcsr_of(c->s.xsave) & ALL_MASKED) == ALL_MASKED &&
	       !names(i, X86_OPND_MMX);
}

static void run_in_place(struct cpu *c, const struct x86_insn *i, struct host_frame *f)
{
	f->image = c->s.xsave;
	f->form = HOST_XMM;
	host_run(c->stubs, i, f);
}

static void commit(struct cpu *c, const struct x86_insn *i, enum unit unit, struct host_frame *f)
{
	const struct x86_insn_desc *d = &x86_insn_table[i->entry];
	uint64_t flags = d->flags_written | d->flags_undefined;

	if (unit != UNIT_INTEGER && !f->image)
		memcpy(c->s.xsave, c->fpu_result, unit == UNIT_AVX ? X86_XSAVE_SIZE : LEGACY_SIZE);
	memcpy(c->s.gpr, f->gpr, sizeof(c->s.gpr));
	if (flags)
		c->s.rflags =
			(c->s.rflags & ~(uint64_t)X86_FLAGS_ARITH) | (f->rflags & X86_FLAGS_ARITH);
}

void host_execute(struct cpu *c, const struct x86_insn *i)
{
	enum unit unit = unit_of(i);
	struct host_frame f = {.rflags = (c->s.rflags & X86_FLAGS_ARITH) | X86_FLAGS_FIXED};
	struct operand o;
	uint8_t *buffer = host_buffer(c->stubs);

	check_unit(c, i, unit);
	o = find_operand(c, i, unit);
	if (o.write)
		probe_operand(c, i, o.off, o.size);
	/* An unmasked x87 exception may keep a store from happening. */
	if (o.read || (o.write && unit == UNIT_X87 && ~fpu_word(c, FPU_FCW) & EXCEPTIONS))
		load_operand(c, i, o.off, buffer, o.size);
	memcpy(f.gpr, c->s.gpr, sizeof(f.gpr));
	if (unit == UNIT_INTEGER)
		host_run(c->stubs, i, &f);
	else if (runs_in_place(c, i, unit))
		run_in_place(c, i, &f);
	else
		run_on_image(c, i, unit, &f);
	if (o.write)
		store_operand(c, i, o.off, buffer, o.size);
	commit(c, i, unit, &f);
	if (unit == UNIT_X87)
		settle_ferr(c);
}

/* ---- what is not the host's ---- */

void op_FWAIT(struct cpu *c, const struct x86_insn *i)
{
	if ((c->s.cr0 & (X86_CR0_MP | X86_CR0_TS)) == (X86_CR0_MP | X86_CR0_TS))
		raise_fault(c, X86_NM);
	check_pending(c);
}

void op_LDMXCSR(struct cpu *c, const struct x86_insn *i)
{
	uint32_t v;

	check_sse(c);
	v = (uint32_t)get(c, i, 0);
	if (v & ~MXCSR_MASK)
		raise_error(c, X86_GP, 0);
	set_mxcsr(c->s.xsave, v);
}

void op_STMXCSR(struct cpu *c, const struct x86_insn *i)
{
	check_sse(c);
	set(c, i, 0, mxcsr_of(c->s.xsave));
}

void op_MOVNTI(struct cpu *c, const struct x86_insn *i)
{
	set(c, i, 0, get(c, i, 1));
}

static void nothing(struct cpu *c, const struct x86_insn *i)
{
	__asm__ volatile("mfence" ::: "memory");
}

void op_LFENCE(struct cpu *c, const struct x86_insn *i)
{
	nothing(c, i);
}

void op_SFENCE(struct cpu *c, const struct x86_insn *i)
{
	nothing(c, i);
}

void op_MFENCE(struct cpu *c, const struct x86_insn *i)
{
	nothing(c, i);
}

static void flush_line(struct cpu *c, const struct x86_insn *i)
{
	uint64_t lin = linear(c, i->mem.seg, address(c, i, &i->mem), 1, X86_READ);

	tlb_find(c, lin, c->privilege, X86_READ);
}

void op_CLFLUSH(struct cpu *c, const struct x86_insn *i)
{
	flush_line(c, i);
}

void op_CLFLUSHOPT(struct cpu *c, const struct x86_insn *i)
{
	flush_line(c, i);
}

void op_CLWB(struct cpu *c, const struct x86_insn *i)
{
	flush_line(c, i);
}

/* MASKMOVQ, MASKMOVDQU: bytes go one by one to DS:rDI where the mask's top bit is set. */
static void masked_move(struct cpu *c, const struct x86_insn *i, const uint8_t *from,
	const uint8_t *mask, unsigned size)
{
	uint64_t off = c->s.gpr[X86_RDI] & size_mask(i->addrsize);
	bool any = false;

	linear(c, i->mem.seg, off, size, X86_WRITE); /* limits count for all of it */
	for (unsigned n = 0; n < size; n++)
		any |= mask[n] & 0x80;
	if (any) /* all of it must be there, from the start */
		probe_store(c, i->mem.seg, off, size);
	for (unsigned n = 0; n < size; n++)
		if (mask[n] & 0x80)
			store(c, i->mem.seg, (off + n) & size_mask(i->addrsize), 1, from[n]);
}

void op_MASKMOVQ(struct cpu *c, const struct x86_insn *i)
{
	check_mmx(c);
	check_pending(c);
	fpu_enter_mmx(c);
	masked_move(c, i, c->s.xsave + FPU_ST + i->opnd[0].reg * 16,
		c->s.xsave + FPU_ST + i->opnd[1].reg * 16, 8);
}

void op_MASKMOVDQU(struct cpu *c, const struct x86_insn *i)
{
	check_sse(c);
	masked_move(c, i, c->s.xsave + FPU_XMM + i->opnd[0].reg * 16,
		c->s.xsave + FPU_XMM + i->opnd[1].reg * 16, 16);
}
