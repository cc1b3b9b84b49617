/*
 * xsave.c - the instructions that save and restore x87 and vector state.
 *
 * Written in C, since the host's own would show host addresses: FOP, FIP and
 * FDP are kept as zero. Sources: SDM vol. 1 8.1.10 (environments), 10.5
 * (FXSAVE), 13.4 to 13.10 (XSAVE); vol. 2.
 */
#include <string.h>

#include "engine/interpret/fpu.h"

static uint64_t memory_offset(struct cpu *c, const struct x86_insn *i)
{
	return address(c, i, &i->mem);
}

/* ---- x87 environments (SDM vol. 1 figures 8-9 to 8-12) ---- */

/* The tag of a register that is not empty. */
static unsigned tag_of(const uint8_t *st)
{
	uint64_t fraction;
	uint16_t exponent;

	memcpy(&fraction, st, 8);
	memcpy(&exponent, st + 8, 2);
	exponent &= 0x7fff;
	if (exponent == 0)
		return fraction ? 2 : 1;
	return exponent == 0x7fff || !(fraction >> 63) ? 2 : 0;
}

static uint16_t full_tags(const struct cpu *c)
{
	unsigned top = fpu_word(c, FPU_FSW) >> 11 & 7, tags = 0;

	for (unsigned r = 0; r < 8; r++) {
		const uint8_t *st = c->s.xsave + FPU_ST + ((r - top) & 7) * 16;
		unsigned tag = c->s.xsave[FPU_FTW] >> r & 1 ? tag_of(st) : 3;

		tags |= tag << (r * 2);
	}
	return (uint16_t)tags;
}

static uint8_t short_tags(uint16_t full)
{
	uint8_t tags = 0;

	for (unsigned r = 0; r < 8; r++)
		if ((full >> (r * 2) & 3) != 3)
			tags |= (uint8_t)(1u << r);
	return tags;
}

static unsigned environment_size(const struct x86_insn *i)
{
	return i->opsize == 2 ? 14 : 28;
}

/* Control, status and tags; the rest, pointers, is zero. 32-bit words have ones above. */
static unsigned make_environment(const struct cpu *c, const struct x86_insn *i, uint8_t *env)
{
	const uint16_t word[] = {fpu_word(c, FPU_FCW), fpu_word(c, FPU_FSW), full_tags(c)};
	unsigned step = i->opsize == 2 ? 2 : 4;

	memset(env, 0, 28);
	for (unsigned n = 0; n < 3; n++) {
		uint32_t v = word[n] | 0xffff0000;

		memcpy(env + n * step, &v, step);
	}
	if (step == 4)
		env[26] = env[27] = 0xff; /* above the operand selector */
	return environment_size(i);
}

/* ES and B follow from the exceptions and their masks. */
static void set_summary(struct cpu *c)
{
	uint16_t fsw = fpu_word(c, FPU_FSW) & 0x7f7f;

	if (fsw & ~fpu_word(c, FPU_FCW) & 0x3f)
		fsw |= FPU_ES | FPU_BUSY;
	fpu_set_word(c, FPU_FSW, fsw);
}

static void take_environment(struct cpu *c, const struct x86_insn *i, const uint8_t *env)
{
	unsigned step = i->opsize == 2 ? 2 : 4;
	uint16_t word[3];

	for (unsigned n = 0; n < 3; n++)
		memcpy(&word[n], env + n * step, 2);
	fpu_set_word(c, FPU_FCW, (word[0] & 0x1f3f) | 0x40);
	fpu_set_top(c, word[1] >> 11 & 7);
	fpu_set_word(c, FPU_FSW, word[1]);
	fpu_set_word(c, FPU_FTW, short_tags(word[2]));
	memset(c->s.xsave + FPU_FOP, 0, FPU_MXCSR - FPU_FOP);
	set_summary(c);
}

/* An environment is read and written in its words, each at an address that may wrap. */
static void move_words(struct cpu *c, const struct x86_insn *i, unsigned at, uint8_t *image,
	unsigned size, unsigned step, bool write)
{
	uint64_t off = memory_offset(c, i) + at;

	for (unsigned n = 0; n < size && write; n += step)
		probe_store(c, i->mem.seg, (off + n) & size_mask(i->addrsize), step);
	for (unsigned n = 0; n < size; n += step) {
		uint64_t to = (off + n) & size_mask(i->addrsize);

		if (write)
			store_block(c, i->mem.seg, to, image + n, step);
		else
			load_block(c, i->mem.seg, to, image + n, step);
	}
}

static void load_environment(struct cpu *c, const struct x86_insn *i, uint8_t *env)
{
	unsigned size = environment_size(i);

	move_words(c, i, 0, env, size, size == 14 ? 2 : 4, false);
}

void op_FNSTENV(struct cpu *c, const struct x86_insn *i)
{
	uint8_t env[28];
	unsigned size;

	check_x87(c);
	size = make_environment(c, i, env);
	move_words(c, i, 0, env, size, size == 14 ? 2 : 4, true);
	fpu_set_word(c, FPU_FCW, fpu_word(c, FPU_FCW) | 0x3f); /* all are masked from now on */
	set_summary(c);
}

void op_FLDENV(struct cpu *c, const struct x86_insn *i)
{
	uint8_t env[28];

	check_x87(c);
	check_pending(c);
	load_environment(c, i, env);
	take_environment(c, i, env);
}

static void reset_x87(struct cpu *c)
{
	fpu_set_word(c, FPU_FCW, 0x37f);
	fpu_set_top(c, 0);
	fpu_set_word(c, FPU_FSW, 0);
	fpu_set_word(c, FPU_FTW, 0);
	memset(c->s.xsave + FPU_FOP, 0, FPU_MXCSR - FPU_FOP);
}

/* A register is a fraction and an exponent, two accesses of which each may wrap. */
#define ST_SIZE       10u
#define FRACTION_SIZE 8u

static void move_st(
	struct cpu *c, const struct x86_insn *i, unsigned at, uint8_t *image, bool write)
{
	move_words(c, i, at, image + at, FRACTION_SIZE, FRACTION_SIZE, write);
	move_words(c, i, at + FRACTION_SIZE, image + at + FRACTION_SIZE, 2, 2, write);
}

static void probe_st(struct cpu *c, const struct x86_insn *i, unsigned at)
{
	uint64_t off = memory_offset(c, i) + at;

	probe_store(c, i->mem.seg, off & size_mask(i->addrsize), FRACTION_SIZE);
	probe_store(c, i->mem.seg, (off + FRACTION_SIZE) & size_mask(i->addrsize), 2);
}

void op_FNSAVE(struct cpu *c, const struct x86_insn *i)
{
	uint8_t image[28 + 8 * ST_SIZE];
	unsigned size;

	check_x87(c);
	size = make_environment(c, i, image);
	for (unsigned n = 0; n < 8; n++)
		memcpy(image + size + n * ST_SIZE, c->s.xsave + FPU_ST + n * 16, ST_SIZE);
	for (unsigned n = 0; n < 8; n++) /* faults of the last part come before the first write */
		probe_st(c, i, size + n * ST_SIZE);
	move_words(c, i, 0, image, size, size == 14 ? 2 : 4, true);
	for (unsigned n = 0; n < 8; n++)
		move_st(c, i, size + n * ST_SIZE, image, true);
	reset_x87(c);
}

void op_FRSTOR(struct cpu *c, const struct x86_insn *i)
{
	uint8_t image[28 + 8 * ST_SIZE];
	unsigned size = environment_size(i);

	check_x87(c);
	check_pending(c);
	load_environment(c, i, image);
	for (unsigned n = 0; n < 8; n++)
		move_st(c, i, size + n * ST_SIZE, image, false);
	take_environment(c, i, image);
	for (unsigned n = 0; n < 8; n++) {
		memset(c->s.xsave + FPU_ST + n * 16, 0, 16);
		memcpy(c->s.xsave + FPU_ST + n * 16, image + size + n * ST_SIZE, ST_SIZE);
	}
}

/* ---- FXSAVE ---- */

static unsigned xmm_count(const struct cpu *c)
{
	return c->mode == X86_MODE_64 ? 16 : 8;
}

/* A misaligned image is found after the segment's limit, which counts for the first word. */
static void check_start(struct cpu *c, const struct x86_insn *i)
{
	linear(c, i->mem.seg, memory_offset(c, i), 4, X86_READ);
	check_aligned(c, i, 16);
}

static void put_mxcsr_mask(uint8_t *image)
{
	const uint32_t mask = MXCSR_MASK;

	memcpy(image + FPU_MXCSR_MASK, &mask, 4);
}

/* What software may use and what is reserved stays as it is in memory. */
void op_FXSAVE(struct cpu *c, const struct x86_insn *i)
{
	uint8_t image[FPU_LEGACY];
	unsigned size = FPU_XMM + xmm_count(c) * 16;

	check_x87(c);
	check_start(c, i);
	memcpy(image, c->s.xsave, sizeof(image));
	image[FPU_FTW + 1] = 0;
	put_mxcsr_mask(image);
	if (!(c->s.cr4 & X86_CR4_OSFXSR))
		size = FPU_XMM;
	move_words(c, i, 0, image, size, 16, true);
}

static void check_mxcsr(struct cpu *c, const uint8_t *image)
{
	uint32_t mxcsr;

	memcpy(&mxcsr, image + FPU_MXCSR, 4);
	if (mxcsr & ~MXCSR_MASK)
		raise_error(c, X86_GP, 0);
}

static void take_x87(struct cpu *c, const uint8_t *image)
{
	memcpy(c->s.xsave, image, FPU_FOP);
	c->s.xsave[FPU_FTW + 1] = 0;
	memset(c->s.xsave + FPU_FOP, 0, FPU_MXCSR - FPU_FOP);
	fpu_set_word(c, FPU_FCW, (fpu_word(c, FPU_FCW) & 0x1f3f) | 0x40);
	for (unsigned n = 0; n < 8; n++)
		memcpy(c->s.xsave + FPU_ST + n * 16, image + FPU_ST + n * 16, ST_SIZE);
	set_summary(c);
}

void op_FXRSTOR(struct cpu *c, const struct x86_insn *i)
{
	uint8_t image[FPU_LEGACY];

	check_x87(c);
	check_start(c, i);
	move_words(c, i, 0, image, sizeof(image), 16, false);
	check_mxcsr(c, image);
	take_x87(c, image);
	memcpy(c->s.xsave + FPU_MXCSR, image + FPU_MXCSR, 4);
	if (c->s.cr4 & X86_CR4_OSFXSR)
		memcpy(c->s.xsave + FPU_XMM, image + FPU_XMM, xmm_count(c) * 16);
}

/* ---- XSAVE ---- */

#define COMPACTED (UINT64_C(1) << 63)
#define XCR0_ALL  (X86_XCR0_X87 | X86_XCR0_SSE | X86_XCR0_AVX)

static void check_xsave(struct cpu *c)
{
	if (!(c->s.cr4 & X86_CR4_OSXSAVE))
		raise_fault(c, X86_UD);
	if (c->s.cr0 & X86_CR0_TS)
		raise_fault(c, X86_NM);
}

static uint64_t asked_for(const struct cpu *c)
{
	return (get_gpr(c, X86_RDX, 4) << 32 | get_gpr(c, X86_RAX, 4)) & c->s.xcr0;
}

static bool all_zero(const uint8_t *p, size_t n)
{
	return !p[0] && !memcmp(p, p + 1, n - 1);
}

/* XINUSE (SDM vol. 1 13.6): the components that are not as XRSTOR initialises them. */
static uint64_t in_use(const struct cpu *c)
{
	static const uint8_t initial[FPU_FOP] = {0x7f, 0x03};
	const uint8_t *x = c->s.xsave;
	uint64_t parts = 0;

	if (memcmp(x, initial, sizeof(initial)) || !all_zero(x + FPU_ST, FPU_XMM - FPU_ST))
		parts |= X86_XCR0_X87;
	if (!all_zero(x + FPU_XMM, 16 * 16))
		parts |= X86_XCR0_SSE;
	if (!all_zero(x + FPU_YMM, 16 * 16))
		parts |= X86_XCR0_AVX;
	return parts;
}

void op_XGETBV(struct cpu *c, const struct x86_insn *i)
{
	uint32_t which = (uint32_t)get_gpr(c, X86_RCX, 4);

	if (!(c->s.cr4 & X86_CR4_OSXSAVE))
		raise_fault(c, X86_UD);
	if (which > 1 || (which && !x86_model_has(&c->v->vm->model, X86_CPU_XGETBV1)))
		raise_error(c, X86_GP, 0);
	set_gpr(c, X86_RAX, 4, which ? c->s.xcr0 & in_use(c) : c->s.xcr0);
	set_gpr(c, X86_RDX, 4, 0);
}

void op_XSETBV(struct cpu *c, const struct x86_insn *i)
{
	uint64_t v = get_gpr(c, X86_RDX, 4) << 32 | get_gpr(c, X86_RAX, 4);

	if (!(c->s.cr4 & X86_CR4_OSXSAVE))
		raise_fault(c, X86_UD);
	if (cpl(c) || get_gpr(c, X86_RCX, 4) || !(v & X86_XCR0_X87) || v & ~(uint64_t)XCR0_ALL ||
		(v & X86_XCR0_AVX && !(v & X86_XCR0_SSE)))
		raise_error(c, X86_GP, 0);
	c->s.xcr0 = v;
}

/* The components that MXCSR goes with: in the standard form SSE and AVX, else SSE alone. */
static uint64_t mxcsr_parts(bool compact)
{
	return compact ? X86_XCR0_SSE : X86_XCR0_SSE | X86_XCR0_AVX;
}

/* Components as they lie in the standard format, in pieces that may wrap as FXSAVE's do. */
#define PIECE 8u

static void save_part(
	struct cpu *c, const struct x86_insn *i, unsigned at, unsigned size, uint8_t *image)
{
	move_words(c, i, at, image + at, size, PIECE, true);
}

static void probe_part(struct cpu *c, const struct x86_insn *i, unsigned at, unsigned size)
{
	for (unsigned n = 0; n < size; n += PIECE)
		probe_store(c, i->mem.seg, (memory_offset(c, i) + at + n) & size_mask(i->addrsize),
			PIECE);
}

enum xsave_form { STANDARD, OPTIMIZED, COMPACT };

static void save_parts(struct cpu *c, const struct x86_insn *i, uint64_t parts, bool mxcsr)
{
	uint8_t image[X86_XSAVE_SIZE];
	unsigned ymm = xmm_count(c) * 16;

	memcpy(image, c->s.xsave, sizeof(image));
	put_mxcsr_mask(image);
	/* All or nothing. */
	probe_part(c, i, 0, parts & X86_XCR0_AVX ? FPU_YMM + ymm : FPU_YMM);
	if (parts & X86_XCR0_X87) {
		save_part(c, i, 0, FPU_MXCSR, image);
		save_part(c, i, FPU_ST, FPU_XMM - FPU_ST, image);
	}
	if (mxcsr)
		save_part(c, i, FPU_MXCSR, 8, image);
	if (parts & X86_XCR0_SSE)
		save_part(c, i, FPU_XMM, ymm, image);
	if (parts & X86_XCR0_AVX)
		save_part(c, i, FPU_YMM, ymm, image);
}

/* XSAVEC counts MXCSR to the SSE component, which is then in use by it alone, too. */
static uint64_t parts_there(const struct cpu *c, bool compact)
{
	const uint32_t initial = 0x1f80;
	bool mxcsr = memcmp(c->s.xsave + FPU_MXCSR, &initial, 4);

	return in_use(c) | (compact && mxcsr ? X86_XCR0_SSE : 0);
}

/* SDM vol. 1 13.7, 13.9, 13.10: only the plain form writes what is not in use. */
static void xsave(struct cpu *c, const struct x86_insn *i, enum xsave_form form)
{
	bool compact = form == COMPACT;
	uint64_t asked, there, header[2], old = 0;
	uint8_t image[X86_XSAVE_SIZE];

	check_xsave(c);
	check_aligned(c, i, 64);
	asked = asked_for(c);
	there = asked & parts_there(c, compact);
	save_parts(c, i, form == STANDARD ? asked : there,
		(compact ? there : asked) & mxcsr_parts(compact));
	if (!compact)
		move_words(c, i, FPU_HEADER, (uint8_t *)&old, 8, PIECE, false);
	header[0] = (old & ~asked) | there;
	header[1] = asked | COMPACTED;
	memcpy(image + FPU_HEADER, header, sizeof(header));
	save_part(c, i, FPU_HEADER, compact ? 16 : 8, image);
}

void op_XSAVE(struct cpu *c, const struct x86_insn *i)
{
	xsave(c, i, STANDARD);
}

void op_XSAVEOPT(struct cpu *c, const struct x86_insn *i)
{
	xsave(c, i, OPTIMIZED);
}

/* The compacted format is the standard one, as long as AVX is the last component. */
void op_XSAVEC(struct cpu *c, const struct x86_insn *i)
{
	xsave(c, i, COMPACT);
}

/* Bytes 63:24 are reserved, but only the compacted form looks at them (SDM vol. 1 13.8). */
static void check_header(struct cpu *c, const uint64_t header[8])
{
	bool compact = header[1] & COMPACTED;
	uint64_t valid = compact ? header[1] & ~COMPACTED : c->s.xcr0;
	bool bad = header[0] & ~valid || (compact ? valid & ~c->s.xcr0 : header[1]) || header[2];

	for (unsigned n = 3; n < 8 && compact; n++)
		bad |= header[n] != 0;
	if (bad)
		raise_error(c, X86_GP, 0);
}

/* The compacted form without SSE in the image has MXCSR as on reset. */
static void find_mxcsr(struct cpu *c, uint64_t asked, const uint64_t header[8], uint8_t *image)
{
	bool compact = header[1] & COMPACTED;
	const uint32_t initial = 0x1f80;

	if (!(asked & mxcsr_parts(compact)))
		memcpy(image + FPU_MXCSR, c->s.xsave + FPU_MXCSR, 4);
	else if (compact && !(header[0] & X86_XCR0_SSE))
		memcpy(image + FPU_MXCSR, &initial, 4);
	check_mxcsr(c, image);
}

static void restore_parts(struct cpu *c, uint64_t asked, uint64_t there, const uint8_t *image)
{
	unsigned xmm = xmm_count(c) * 16;

	if (asked & there & X86_XCR0_X87) {
		take_x87(c, image);
	} else if (asked & X86_XCR0_X87) {
		reset_x87(c);
		memset(c->s.xsave + FPU_ST, 0, FPU_XMM - FPU_ST);
	}
	if (asked & (X86_XCR0_SSE | X86_XCR0_AVX))
		memcpy(c->s.xsave + FPU_MXCSR, image + FPU_MXCSR, 4);
	if (asked & X86_XCR0_SSE) {
		if (there & X86_XCR0_SSE)
			memcpy(c->s.xsave + FPU_XMM, image + FPU_XMM, xmm);
		else
			memset(c->s.xsave + FPU_XMM, 0, xmm);
	}
	if (asked & X86_XCR0_AVX) {
		if (there & X86_XCR0_AVX)
			memcpy(c->s.xsave + FPU_YMM, image + FPU_YMM, xmm);
		else
			memset(c->s.xsave + FPU_YMM, 0, xmm);
	}
}

void op_XRSTOR(struct cpu *c, const struct x86_insn *i)
{
	uint8_t image[X86_XSAVE_SIZE];
	uint64_t asked, header[8];

	check_xsave(c);
	check_aligned(c, i, 64);
	asked = asked_for(c);
	move_words(c, i, 0, image, FPU_YMM, PIECE, false);
	memcpy(header, image + FPU_HEADER, sizeof(header));
	check_header(c, header);
	if (asked & header[0] & X86_XCR0_AVX)
		move_words(c, i, FPU_YMM, image + FPU_YMM, xmm_count(c) * 16, PIECE, false);
	find_mxcsr(c, asked, header, image);
	restore_parts(c, asked, header[0], image);
}
