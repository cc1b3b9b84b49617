/*
 * test_fpu.c - x87 and SSE of engine interpret, where the manual is the judge:
 * who may use them, exceptions masked and not, images of FXSAVE and XSAVE.
 * Arithmetic is judged by the real CPU in tests/insn.
 * Source: SDM vol. 1 8.5, 11.5, 13.8; vol. 3A 13.1.
 */
#include "tests/engine/machine.h"

#define DATA 0x1000u

/* The handler of vector n is at HANDLER + n. */
static int fpu_setup(void **state)
{
	struct machine *m = machine_new("max");

	for (unsigned n = 0; n < 256; n++)
		m->vm->ram.host[n * 4] = (uint8_t)n;
	m->s.cr0 |= X86_CR0_NE;
	m->s.cr4 |= X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT | X86_CR4_OSXSAVE;
	m->s.xcr0 = X86_XCR0_X87 | X86_XCR0_SSE | X86_XCR0_AVX;
	*state = m;
	return 0;
}

#define FSW   2u
#define MXCSR 24u
#define ST0   32u
#define XMM0  160u
#define XMM1  176u

static uint32_t word_at(const uint8_t *p, unsigned size)
{
	uint32_t v = 0;

	memcpy(&v, p, size);
	return v;
}

static void put_word(uint8_t *p, uint32_t v, unsigned size)
{
	memcpy(p, &v, size);
}

static void expect_vector(const struct machine *m, unsigned vector)
{
	assert_int_equal(m->s.rip, HANDLER + vector);
}

static void task_switched_is_nm(void **state)
{
	struct machine *m = *state;

	m->s.cr0 |= X86_CR0_TS;
	RUN(m, 1, 0xd9, 0xe8); /* fld1 */
	expect_vector(m, X86_NM);
}

static void task_switched_is_nm_for_sse(void **state)
{
	struct machine *m = *state;

	m->s.cr0 |= X86_CR0_TS;
	RUN(m, 1, 0x0f, 0x58, 0xc1); /* addps xmm0, xmm1 */
	expect_vector(m, X86_NM);
}

static void sse_needs_osfxsr(void **state)
{
	struct machine *m = *state;

	m->s.cr4 &= ~(uint64_t)X86_CR4_OSFXSR;
	RUN(m, 1, 0x0f, 0x58, 0xc1);
	expect_vector(m, X86_UD);
}

/* fninit; fldcw [DATA]; fld1; fldz; fdivp; fwait */
static void divide_by_zero(struct machine *m, uint16_t fcw)
{
	put_word(m->vm->ram.host + DATA, fcw, 2);
	RUN(m, 6, 0xdb, 0xe3, 0xd9, 0x2e, 0x00, 0x10, 0xd9, 0xe8, 0xd9, 0xee, 0xde, 0xf9, 0x9b);
}

static void unmasked_x87_waits_for_the_next(void **state)
{
	struct machine *m = *state;

	divide_by_zero(m, 0x37b);
	expect_vector(m, X86_MF);
	/* B, ES, ZE; the stack is as before: TOP is 6 */
	assert_int_equal(word_at(m->s.xsave + FSW, 2), 0x8000 | 6 << 11 | 0x84);
	assert_int_equal(word_at(m->s.xsave + ST0 + 6, 4), 0);
}

static void masked_x87_goes_on(void **state)
{
	struct machine *m = *state;

	divide_by_zero(m, 0x37f);
	assert_int_equal(m->s.rip, CODE + 13);
	assert_int_equal(word_at(m->s.xsave + FSW, 2) & ~0x4700, 7 << 11 | 4);
	assert_int_equal(word_at(m->s.xsave + ST0 + 8, 2), 0x7fff); /* +infinity */
}

static void drive_ferr(void *ctx, struct vcpu *v, bool level)
{
	atomic_store(&v->ferr, level);
	atomic_store(&v->ignne, false);
}

/* CR0.NE clear: FERR#, and FWAIT stays where it is until an interrupt comes. */
static void without_ne_the_error_goes_out(void **state)
{
	struct machine *m = *state;

	m->vm->set_ferr = drive_ferr;
	m->s.cr0 &= ~(uint64_t)X86_CR0_NE;
	divide_by_zero(m, 0x37b);
	assert_int_equal(m->r.exit, RUN_HALTED);
	assert_int_equal(m->s.rip, CODE + 12);
	assert_true(m->v->ferr);
	atomic_store(&m->v->ignne, true);
	m->s.rip = CODE;
	RUN(m, 1, 0xd9, 0xe8); /* fld1: not held up, and the error is kept */
	assert_int_equal(m->s.rip, CODE + 2);
	assert_int_equal(word_at(m->s.xsave + FSW, 2), 0x8000 | 5 << 11 | 0x84);
	assert_true(m->v->ferr);
	m->s.rip = CODE;
	RUN(m, 1, 0xdb, 0xe2); /* fnclex */
	assert_int_equal(word_at(m->s.xsave + FSW, 2) & 0x80ff, 0);
	assert_false(m->v->ferr);
}

static void divide_vectors(struct machine *m, uint32_t mxcsr)
{
	for (unsigned n = 0; n < 4; n++) {
		put_word(m->s.xsave + XMM0 + n * 4, 0x3f800000, 4);
		put_word(m->s.xsave + XMM1 + n * 4, 0, 4);
	}
	put_word(m->s.xsave + MXCSR, mxcsr, 4);
	m->s.rip = CODE;
	RUN(m, 1, 0x0f, 0x5e, 0xc1); /* divps xmm0, xmm1 */
}

static void unmasked_simd_changes_flags_only(void **state)
{
	struct machine *m = *state;

	divide_vectors(m, 0x1d80);
	expect_vector(m, X86_XM);
	assert_int_equal(word_at(m->s.xsave + MXCSR, 4), 0x1d84);
	assert_int_equal(word_at(m->s.xsave + XMM0, 4), 0x3f800000);
	m->s.cr4 &= ~(uint64_t)X86_CR4_OSXMMEXCPT;
	divide_vectors(m, 0x1d80);
	expect_vector(m, X86_UD);
}

static void masked_simd_goes_on(void **state)
{
	struct machine *m = *state;

	divide_vectors(m, 0x1f80);
	assert_int_equal(m->s.rip, CODE + 3);
	assert_int_equal(word_at(m->s.xsave + MXCSR, 4), 0x1f84);
	assert_int_equal(word_at(m->s.xsave + XMM0, 4), 0x7f800000);
}

static void denormal_operand_is_told(void **state)
{
	struct machine *m = *state;

	put_word(m->s.xsave + XMM1, 1, 4);
	put_word(m->s.xsave + MXCSR, 0x1f80, 4);
	RUN(m, 1, 0xf3, 0x0f, 0x58, 0xc1); /* addss xmm0, xmm1 */
	assert_int_equal(word_at(m->s.xsave + MXCSR, 4), 0x1f82);
	assert_int_equal(word_at(m->s.xsave + XMM0, 4), 1);
}

static void fxsave_shows_no_pointers(void **state)
{
	struct machine *m = *state;
	const uint8_t *image = m->vm->ram.host + DATA;

	/* fninit; fld dword [1800h]; fxsave [DATA] */
	RUN(m, 3, 0xdb, 0xe3, 0xd9, 0x06, 0x00, 0x18, 0x0f, 0xae, 0x06, 0x00, 0x10);
	assert_int_equal(m->s.rip, CODE + 11);
	assert_int_equal(word_at(image, 2), 0x37f);
	assert_int_equal(word_at(image + FSW, 2), 7 << 11);
	assert_int_equal(image[4], 0x80);
	for (unsigned n = 5; n < MXCSR; n++)
		assert_int_equal(image[n], 0);
	assert_int_equal(word_at(image + 28, 4), 0xffff);
}

static void fxsave_must_be_aligned(void **state)
{
	struct machine *m = *state;

	RUN(m, 1, 0x0f, 0xae, 0x06, 0x08, 0x10);
	expect_vector(m, X86_GP);
}

static void reserved_mxcsr_is_gp(void **state)
{
	struct machine *m = *state;

	put_word(m->vm->ram.host + DATA + MXCSR, 0x11f80, 4);
	RUN(m, 1, 0x0f, 0xae, 0x0e, 0x00, 0x10); /* fxrstor [DATA] */
	expect_vector(m, X86_GP);
}

static void reserved_mxcsr_cannot_be_loaded(void **state)
{
	struct machine *m = *state;

	put_word(m->vm->ram.host + DATA, 0x11f80, 4);
	RUN(m, 1, 0x0f, 0xae, 0x16, 0x00, 0x10); /* ldmxcsr [DATA] */
	expect_vector(m, X86_GP);
}

/* XRSTOR of the components asked, none of them in the image; header word n is v. */
static void restore(
	struct machine *m, unsigned asked, bool compact, unsigned n, uint64_t v, uint32_t mxcsr)
{
	uint8_t *image = m->vm->ram.host + DATA;
	const uint64_t form = UINT64_C(1) << 63 | 7;

	memset(image, 0, 1024);
	put_word(image + MXCSR, mxcsr, 4);
	if (compact)
		memcpy(image + 520, &form, 8);
	if (n)
		memcpy(image + 512 + n * 8, &v, 8);
	m->s.rip = CODE;
	m->s.gpr[X86_RAX] = asked;
	m->s.gpr[X86_RDX] = 0;
	RUN(m, 1, 0x0f, 0xae, 0x2e, 0x00, 0x10);
}

static void xrstor_checks_its_header(void **state)
{
	struct machine *m = *state;

	for (unsigned n = 1; n < 8; n++) {
		restore(m, 3, false, n, 1, 0x1f80);
		assert_int_equal(m->s.rip, n < 3 ? HANDLER + X86_GP : CODE + 5);
	}
	for (unsigned n = 2; n < 8; n++) {
		restore(m, 3, true, n, 1, 0x1f80);
		expect_vector(m, X86_GP);
	}
}

/* In the compacted form MXCSR belongs to component 1; in the standard form it always counts. */
static void xrstor_initialises_mxcsr(void **state)
{
	struct machine *m = *state;

	restore(m, 3, false, 0, 0, 0x3f80);
	assert_int_equal(word_at(m->s.xsave + MXCSR, 4), 0x3f80);
	restore(m, 3, true, 0, 0, 0xffff3f80);
	assert_int_equal(m->s.rip, CODE + 5);
	assert_int_equal(word_at(m->s.xsave + MXCSR, 4), 0x1f80);
	restore(m, 3, false, 0, 0, 0xffff3f80);
	expect_vector(m, X86_GP);
	put_word(m->s.xsave + MXCSR, 0x5f80, 4);
	restore(m, X86_XCR0_AVX, true, 0, 0, 0xffff3f80);
	assert_int_equal(m->s.rip, CODE + 5);
	assert_int_equal(word_at(m->s.xsave + MXCSR, 4), 0x5f80);
	restore(m, X86_XCR0_AVX, false, 0, 0, 0x3f80);
	assert_int_equal(word_at(m->s.xsave + MXCSR, 4), 0x3f80);
}

/* Components asked, AVX alone: MXCSR is XSAVE's business, not XSAVEC's. */
static void mxcsr_is_saved_with_its_parts(void **state)
{
	struct machine *m = *state;
	uint8_t *image = m->vm->ram.host + DATA;

	put_word(m->s.xsave + MXCSR, 0x1f80, 4);
	m->s.gpr[X86_RAX] = X86_XCR0_AVX;
	m->s.gpr[X86_RDX] = 0;
	/* xsavec [DATA]; xsave [DATA + 400h] */
	RUN(m, 2, 0x0f, 0xc7, 0x26, 0x00, 0x10, 0x0f, 0xae, 0x26, 0x00, 0x14);
	assert_int_equal(m->s.rip, CODE + 10);
	assert_int_equal(word_at(image + MXCSR, 4), 0);
	assert_int_equal(word_at(image + 0x400 + MXCSR, 4), 0x1f80);
}

#define XSTATE_BV 512

/* Each of XSAVE, XSAVEOPT and XSAVEC to a place of its own, all components asked. */
static void save_three(struct machine *m)
{
	m->s.gpr[X86_RAX] = 7;
	m->s.gpr[X86_RDX] = 0;
	m->s.rip = CODE;
	memset(m->vm->ram.host + DATA, 0xee, 0xc00);
	RUN(m, 3, 0x0f, 0xae, 0x26, 0x00, 0x10, 0x0f, 0xae, 0x36, 0x00, 0x14, 0x0f, 0xc7, 0x26,
		0x00, 0x18);
	assert_int_equal(m->s.rip, CODE + 15);
}

/* XINUSE: what is as XRSTOR initialises it is told by the header and left out. */
static void xsave_tells_what_is_in_use(void **state)
{
	struct machine *m = *state;
	const uint8_t *plain = m->vm->ram.host + DATA, *opt = plain + 0x400, *compact = opt + 0x400;

	restore(m, 7, true, 0, 0, 0x1f80);
	save_three(m);
	assert_int_equal(plain[XSTATE_BV], 0xee & ~7);
	assert_int_equal(opt[XSTATE_BV], 0xee & ~7);
	assert_int_equal(compact[XSTATE_BV], 0);
	assert_int_equal(plain[0], 0x7f); /* XSAVE writes it all the same */
	assert_int_equal(opt[0], 0xee);
	assert_int_equal(word_at(opt + MXCSR, 4), 0x1f80); /* that is no component's */
	assert_int_equal(word_at(compact + MXCSR, 4), 0xeeeeeeee);
	put_word(m->s.xsave + MXCSR, 0x1fa0, 4);
	m->s.xsave[576 + 255] = 1; /* the upper half of YMM15 */
	save_three(m);
	assert_int_equal(plain[XSTATE_BV], (0xee & ~7) | 4);
	assert_int_equal(opt[XSTATE_BV], (0xee & ~7) | 4);
	assert_int_equal(compact[XSTATE_BV], 4 | 2); /* MXCSR counts to SSE there */
	assert_int_equal(word_at(compact + MXCSR, 4), 0x1fa0);
	m->s.xsave[XMM0] = 1;
	m->s.xsave[ST0] = 1;
	save_three(m);
	assert_int_equal(opt[XSTATE_BV] & 7, 7);
	m->s.gpr[X86_RCX] = 1;
	m->s.rip = CODE;
	memset(m->s.xsave + ST0, 0, 10);
	RUN(m, 1, 0x0f, 0x01, 0xd0); /* xgetbv */
	assert_int_equal(m->s.gpr[X86_RAX], 6);
}

/* ---- every exception, masked and not (SDM vol. 1 8.5, 11.5.2) ---- */

#define IE        0x01u
#define DE        0x02u
#define ZE        0x04u
#define OE        0x08u
#define UE        0x10u
#define PE        0x20u
#define ONE       0x3f800000u
#define MXCSR_DAZ 0x40u
#define MXCSR_FTZ 0x8000u

/* op xmm0, xmm1 of single floats, by its opcode. */
static void scalar(struct machine *m, uint8_t op, uint32_t a, uint32_t b, uint32_t mxcsr)
{
	put_word(m->s.xsave + XMM0, a, 4);
	put_word(m->s.xsave + XMM1, b, 4);
	put_word(m->s.xsave + MXCSR, mxcsr, 4);
	m->s.rip = CODE;
	RUN(m, 1, 0xf3, 0x0f, op, 0xc1);
}

static void each_simd_exception(void **state)
{
	static const struct {
		uint8_t op;
		uint32_t a, b, flag, masked, result;
	} row[] = {
		{0x5e, 0, 0, IE, IE, 0xffc00000}, /* 0 / 0 */
		{0x58, ONE, 1, DE, DE | PE, ONE}, /* 1 + the smallest */
		{0x5e, ONE, 0, ZE, ZE, 0x7f800000},
		{0x59, 0x7f000000, 0x7f000000, OE, OE | PE, 0x7f800000},
		{0x59, 0x00800000, 0x00800000, UE, UE | PE, 0},
		{0x5e, ONE, 0x40400000, PE, PE, 0x3eaaaaab}, /* 1 / 3 */
	};
	struct machine *m = *state;

	for (unsigned n = 0; n < ARRAY_SIZE(row); n++) {
		uint32_t unmasked = 0x1f80 & ~(row[n].flag << 7);

		scalar(m, row[n].op, row[n].a, row[n].b, 0x1f80);
		assert_int_equal(m->s.rip, CODE + 4);
		assert_int_equal(word_at(m->s.xsave + MXCSR, 4), 0x1f80 | row[n].masked);
		assert_int_equal(word_at(m->s.xsave + XMM0, 4), row[n].result);
		scalar(m, row[n].op, row[n].a, row[n].b, unmasked);
		expect_vector(m, X86_XM);
		assert_int_equal(word_at(m->s.xsave + MXCSR, 4) & row[n].flag, row[n].flag);
		assert_int_equal(word_at(m->s.xsave + XMM0, 4), row[n].a);
		m->s.cr4 &= ~(uint64_t)X86_CR4_OSXMMEXCPT;
		scalar(m, row[n].op, row[n].a, row[n].b, unmasked);
		expect_vector(m, X86_UD);
		m->s.cr4 |= X86_CR4_OSXMMEXCPT;
	}
}

/* A flag that is set already raises nothing: only what this instruction finds counts. */
static void simd_flags_are_sticky(void **state)
{
	struct machine *m = *state;

	scalar(m, 0x58, ONE, ONE, 0x1d80 | ZE); /* ZE set and unmasked */
	assert_int_equal(m->s.rip, CODE + 4);
	assert_int_equal(word_at(m->s.xsave + MXCSR, 4), 0x1d80 | ZE);
}

static void denormals_are_zero_and_flushed(void **state)
{
	struct machine *m = *state;

	scalar(m, 0x58, 1, 1, 0x1f80 | MXCSR_DAZ);
	assert_int_equal(word_at(m->s.xsave + MXCSR, 4), 0x1f80 | MXCSR_DAZ);
	assert_int_equal(word_at(m->s.xsave + XMM0, 4), 0);
	scalar(m, 0x59, 0x00800000, 0x3f000000, 0x1f80 | MXCSR_FTZ);
	assert_int_equal(word_at(m->s.xsave + MXCSR, 4), 0x1f80 | MXCSR_FTZ | UE | PE);
	assert_int_equal(word_at(m->s.xsave + XMM0, 4), 0);
}

struct x87_case {
	double v[2];
	uint8_t op[4];
	unsigned len; /* of op */
	uint32_t flag;
	unsigned steps; /* to the #MF */
};

/* fninit; fldcw [DATA]; fld qword [DATA + 8]; fld qword [DATA + 10h]; op; fwait */
static void x87(struct machine *m, const struct x87_case *c, uint16_t fcw, unsigned steps)
{
	uint8_t code[19] = {
		0xdb, 0xe3, 0xd9, 0x2e, 0x00, 0x10, 0xdd, 0x06, 0x08, 0x10, 0xdd, 0x06, 0x10, 0x10};

	memcpy(code + 14, c->op, c->len);
	code[14 + c->len] = 0x9b;
	put_word(m->vm->ram.host + DATA, fcw, 2);
	memcpy(m->vm->ram.host + DATA + 8, c->v, 16);
	memset(m->vm->ram.host + DATA + 0x20, 0xee, 4);
	m->s.rip = CODE;
	run(m, code, sizeof(code), steps);
}

static void each_x87_exception(void **state)
{
	/* fdivp; fstp dword [DATA + 20h]. A denormal is found as it is loaded. */
	static const struct x87_case row[] = {
		{{0, 0}, {0xde, 0xf9}, 2, IE, 6},
		{{1, 4.9e-324}, {0xde, 0xf9}, 2, DE, 5},
		{{1, 0}, {0xde, 0xf9}, 2, ZE, 6},
		{{0, 1e300}, {0xd9, 0x1e, 0x20, 0x10}, 4, OE, 6},
		{{0, 1e-300}, {0xd9, 0x1e, 0x20, 0x10}, 4, UE, 6},
		{{1, 3}, {0xde, 0xf9}, 2, PE, 6},
	};
	struct machine *m = *state;

	for (unsigned n = 0; n < ARRAY_SIZE(row); n++) {
		uint32_t flag = row[n].flag;

		x87(m, &row[n], 0x37f, 6);
		assert_int_equal(m->s.rip, CODE + 15 + row[n].len);
		assert_int_equal(word_at(m->s.xsave + FSW, 2) & (0x80 | flag), flag);
		x87(m, &row[n], (uint16_t)(0x37f & ~flag), row[n].steps);
		expect_vector(m, X86_MF);
		assert_int_equal(word_at(m->s.xsave + FSW, 2) & (0x8080 | flag), 0x8080 | flag);
		if (row[n].len == 4) /* nothing was stored */
			assert_int_equal(word_at(m->vm->ram.host + DATA + 0x20, 4), 0xeeeeeeee);
	}
}

/* ---- who may use which unit (SDM vol. 3A table 13-1, vol. 2A table 2-18) ---- */

static void emulation_is_nm_or_ud(void **state)
{
	struct machine *m = *state;

	m->s.cr0 |= X86_CR0_EM;
	RUN(m, 1, 0xd9, 0xe8); /* fld1 */
	expect_vector(m, X86_NM);
	m->s.rip = CODE;
	RUN(m, 1, 0x0f, 0xfc, 0xc1); /* paddb mm0, mm1 */
	expect_vector(m, X86_UD);
	m->s.rip = CODE;
	RUN(m, 1, 0x0f, 0x58, 0xc1); /* addps xmm0, xmm1 */
	expect_vector(m, X86_UD);
}

static void fwait_heeds_ts_with_mp_only(void **state)
{
	struct machine *m = *state;

	m->s.cr0 |= X86_CR0_TS;
	RUN(m, 1, 0x9b);
	assert_int_equal(m->s.rip, CODE + 1);
	m->s.cr0 |= X86_CR0_MP;
	m->s.rip = CODE;
	RUN(m, 1, 0x9b);
	expect_vector(m, X86_NM);
}

#define GDT 0x3000u
#define IDT 0x3800u

/* 16-bit protected mode with the same handlers. */
static void protect(struct machine *m)
{
	const uint64_t code = 0x00009b000000ffff, data = 0x000093000000ffff;

	memcpy(m->vm->ram.host + GDT + 8, &code, 8);
	memcpy(m->vm->ram.host + GDT + 16, &data, 8);
	for (uint64_t n = 0; n < 32; n++) {
		uint64_t gate = (HANDLER + n) | 8 << 16 | UINT64_C(0x86) << 40;

		memcpy(m->vm->ram.host + IDT + n * 8, &gate, 8);
	}
	m->s.gdtr = (struct x86_table){GDT, 23};
	m->s.idtr = (struct x86_table){IDT, 255};
	m->s.cr0 |= X86_CR0_PE;
	m->s.seg[X86_CS].sel = 8;
	m->s.seg[X86_SS].sel = 16;
}

/* vaddps xmm0, xmm1, xmm2 */
static void add_vectors(struct machine *m)
{
	m->s.rip = CODE;
	RUN(m, 1, 0xc5, 0xf0, 0x58, 0xc2);
}

static void avx_needs_osxsave_and_xcr0(void **state)
{
	struct machine *m = *state;

	add_vectors(m);
	expect_vector(m, X86_UD); /* real mode has no VEX */
	protect(m);
	m->s.cr0 |= X86_CR0_EM; /* which is for legacy SSE alone */
	add_vectors(m);
	assert_int_equal(m->s.rip, CODE + 4);
	m->s.xcr0 = X86_XCR0_X87 | X86_XCR0_SSE;
	add_vectors(m);
	expect_vector(m, X86_UD);
	m->s.xcr0 |= X86_XCR0_AVX;
	m->s.cr0 |= X86_CR0_TS;
	add_vectors(m);
	expect_vector(m, X86_NM);
	m->s.cr4 &= ~(uint64_t)X86_CR4_OSXSAVE;
	add_vectors(m);
	expect_vector(m, X86_UD);
}

static void xsave_needs_osxsave(void **state)
{
	struct machine *m = *state;

	m->s.gpr[X86_RAX] = 7;
	RUN(m, 1, 0x0f, 0xae, 0x26, 0x20, 0x10); /* xsave [1020h]: not aligned to 64 */
	expect_vector(m, X86_GP);
	m->s.cr0 |= X86_CR0_TS;
	m->s.rip = CODE;
	RUN(m, 1, 0x0f, 0xae, 0x26, 0x00, 0x10);
	expect_vector(m, X86_NM);
	m->s.cr4 &= ~(uint64_t)X86_CR4_OSXSAVE;
	m->s.rip = CODE;
	RUN(m, 1, 0x0f, 0xae, 0x26, 0x00, 0x10);
	expect_vector(m, X86_UD);
}

/* SDM vol. 1 13.3: x87 always, AVX only with SSE, nothing that is not there. */
static void xsetbv_checks_components(void **state)
{
	static const struct {
		uint32_t value;
		bool good;
	} row[] = {
		{1, true}, {3, true}, {7, true}, {0, false}, {2, false}, {5, false}, {0xf, false}};
	struct machine *m = *state;

	for (unsigned n = 0; n < ARRAY_SIZE(row); n++) {
		m->s.gpr[X86_RAX] = row[n].value;
		m->s.gpr[X86_RCX] = m->s.gpr[X86_RDX] = 0;
		m->s.rip = CODE;
		RUN(m, 1, 0x0f, 0x01, 0xd1);
		if (!row[n].good)
			expect_vector(m, X86_GP);
		else
			assert_int_equal(m->s.xcr0, row[n].value);
	}
}

/* ---- what the comparison with the real CPU found ---- */

/* An image that begins below 64 KiB goes on at 0 in 16-bit addresses. */
static void fxsave_wraps(void **state)
{
	struct machine *m = *state;
	const uint8_t *segment = m->vm->ram.host + 0x20000;

	x86_seg_real(&m->s.seg[X86_DS], 0x2000, false);
	put_word(m->s.xsave + MXCSR, 0x1f80, 4);
	RUN(m, 1, 0x0f, 0xae, 0x06, 0xf0, 0xff); /* fxsave [fff0h] */
	assert_int_equal(m->s.rip, CODE + 5);
	assert_int_equal(word_at(segment + MXCSR - 16, 4), 0x1f80);
	assert_int_equal(word_at(segment + 0x10000, 4), 0);
}

/* Outside 64-bit mode bit 3 of VEX.vvvv names nothing. */
static void vex_has_eight_registers(void **state)
{
	struct machine *m = *state;

	protect(m);
	put_word(m->s.xsave + XMM0 + 1 * 16, ONE, 4);
	put_word(m->s.xsave + XMM0 + 2 * 16, ONE, 4);
	put_word(m->s.xsave + XMM0 + 9 * 16, 0x7f800000, 4);
	RUN(m, 1, 0xc4, 0xe1, 0x30, 0x58, 0xc2); /* vaddps xmm0, xmm1 (9), xmm2 */
	assert_int_equal(m->s.rip, CODE + 5);
	assert_int_equal(word_at(m->s.xsave + XMM0, 4), 0x40000000);
}

static void vzeroall_leaves_the_upper_eight(void **state)
{
	struct machine *m = *state;

	protect(m);
	m->s.xsave[XMM0] = m->s.xsave[XMM0 + 8 * 16] = 1;
	RUN(m, 1, 0xc5, 0xfc, 0x77);
	assert_int_equal(m->s.xsave[XMM0], 0);
	assert_int_equal(m->s.xsave[XMM0 + 8 * 16], 1);
}

static void tzcnt_of_zero_is_the_size(void **state)
{
	struct machine *m = *state;

	m->s.gpr[X86_RCX] = 0;
	RUN(m, 1, 0xf3, 0x0f, 0xbc, 0xc1); /* tzcnt ax, cx */
	assert_int_equal(m->s.gpr[X86_RAX] & 0xffff, 16);
	assert_int_equal(m->s.rflags & (X86_CF | X86_ZF), X86_CF);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fpu_setup, teardown)
	const struct CMUnitTest tests[] = {TEST(task_switched_is_nm),
		TEST(task_switched_is_nm_for_sse), TEST(sse_needs_osfxsr),
		TEST(unmasked_x87_waits_for_the_next), TEST(without_ne_the_error_goes_out),
		TEST(masked_x87_goes_on), TEST(unmasked_simd_changes_flags_only),
		TEST(masked_simd_goes_on), TEST(denormal_operand_is_told),
		TEST(fxsave_shows_no_pointers), TEST(fxsave_must_be_aligned),
		TEST(reserved_mxcsr_is_gp), TEST(reserved_mxcsr_cannot_be_loaded),
		TEST(xrstor_checks_its_header), TEST(xrstor_initialises_mxcsr),
		TEST(mxcsr_is_saved_with_its_parts), TEST(xsave_tells_what_is_in_use),
		TEST(each_simd_exception), TEST(simd_flags_are_sticky),
		TEST(denormals_are_zero_and_flushed), TEST(each_x87_exception),
		TEST(emulation_is_nm_or_ud), TEST(fwait_heeds_ts_with_mp_only),
		TEST(avx_needs_osxsave_and_xcr0), TEST(xsave_needs_osxsave),
		TEST(xsetbv_checks_components), TEST(fxsave_wraps), TEST(vex_has_eight_registers),
		TEST(vzeroall_leaves_the_upper_eight), TEST(tzcnt_of_zero_is_the_size)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
