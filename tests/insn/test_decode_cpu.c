/*
 * test_decode_cpu.c - the decoder against the real CPU: is it an instruction, and how long?
 *
 * Random byte strings in each mode are executed natively. What the decoder
 * takes must not raise #UD, what it refuses must; and what retires without a
 * branch must have moved rIP by the decoded length.
 * Left out: what would enter the host's kernel or load SS (its shadow hides the
 * single-step trap); system instructions that are #UD by privilege or mode; later
 * opcodes that the table does not have.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "generate.h"
#include "native.h"
#include "util/util.h"

#define SKIP  77
#define SHOWN 200

struct totals {
	uint64_t cases, refused, lengths, left_out, different;
};

static const char *const mode_name[] = {"16", "32", "64"};

static bool is_prefix(uint8_t b, enum x86_mode mode)
{
	static const uint8_t prefix[] = {
		0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3};

	return memchr(prefix, b, sizeof(prefix)) || (mode == X86_MODE_64 && (b & 0xf0) == 0x40);
}

static const uint8_t *skip_prefixes(const struct insn_case *c)
{
	const uint8_t *b = c->bytes;

	while (b < c->bytes + X86_INSN_MAX - 2 && is_prefix(*b, c->mode))
		b++;
	return b;
}

/* SYSCALL, SYSENTER, INT n; MOV SS, POP SS, LSS; INT1. By bytes: the decoder is on trial. */
static bool must_not_run(const uint8_t *b)
{
	if (b[0] == 0xcd || b[0] == 0x8e || b[0] == 0x17 || b[0] == 0xf1)
		return true;
	return b[0] == 0x0f && (b[1] == 0x05 || b[1] == 0x34 || b[1] == 0x35 || b[1] == 0xb2);
}

/* VAES and VPCLMULQDQ: AESENC to AESDECLAST and PCLMULQDQ on 256 bits. */
static bool is_vaes(const uint8_t *b)
{
	if (b[0] != 0xc4 || !(b[2] & 4))
		return false;
	if ((b[1] & 0x1f) == 2)
		return b[3] >= 0xdc && b[3] <= 0xdf;
	return (b[1] & 0x1f) == 3 && b[3] == 0x44;
}

/* What some CPUs have and the table has not: EVEX, XOP, 3DNow!, SSE4A. */
static bool not_in_table(const uint8_t *b)
{
	static const uint8_t opcodes[] = {0x0e, 0x0f, 0x2b, 0x78, 0x79};

	if (b[0] == 0x62 || b[0] == 0x8f || is_vaes(b))
		return true;
	return b[0] == 0x0f && memchr(opcodes, b[1], sizeof(opcodes));
}

/*
 * Where AMD and Intel differ: SYSRET outside 64-bit mode, and register forms of
 * the prefetch hints at 0F 0D, are valid on one and #UD on the other; the
 * register forms of 0F 01 are VMX, SVM, MONITORX, CLZERO and the like. AMD ignores
 * VEX.W of VPERMQ and VPERMPD outside 64-bit mode.
 */
static bool vendor_specific(const uint8_t *b)
{
	if (b[0] == 0xc4 && (b[1] & 0x1f) == 3 && b[3] <= 1)
		return true;
	return b[0] == 0x0f && (b[1] == 0x07 || ((b[1] == 0x0d || b[1] == 0x01) && b[2] >= 0xc0));
}

/* Half of them with VEX.vvvv unused, as most instructions ask for. */
static void put_vex(struct rng *r, uint8_t *b)
{
	b[0] = rng_one_in(r, 3) ? 0xc5 : 0xc4;
	if (b[0] == 0xc4)
		b[1] = (uint8_t)((b[1] & 0xe0) | (1 + rng_below(r, 3)));
	if (rng_one_in(r, 2))
		b[b[0] == 0xc4 ? 2 : 1] |= 0x78;
}

static bool make_case(struct rng *r, enum x86_mode mode, struct insn_case *c)
{
	memset(c, 0, sizeof(*c));
	c->mode = (uint8_t)mode;
	c->flat = mode == X86_MODE_64;
	for (unsigned i = 0; i < sizeof(c->bytes); i++)
		c->bytes[i] = (uint8_t)rng_next(r);
	if (rng_one_in(r, 3))
		c->bytes[0] = 0x0f;
	else if (rng_one_in(r, 4))
		put_vex(r, c->bytes);
	for (unsigned i = 0; i < X86_GPR_COUNT; i++)
		c->regs.gpr[i] = mode == X86_MODE_64 ? area_of(X86_SS) + 0x4000 : 0x4000;
	c->regs.rip = 0x100;
	c->regs.rflags = X86_FLAGS_FIXED | X86_IF;
	for (unsigned seg = 0; seg < 6; seg++)
		c->regs.sel[seg] = case_selector(mode, seg);
	return !must_not_run(skip_prefixes(c));
}

static void report(struct totals *n, const struct insn_case *c, const char *what)
{
	if (n->different++ >= SHOWN)
		return;
	printf("DIFFERENT, %s-bit:", mode_name[c->mode]);
	for (unsigned i = 0; i < X86_INSN_MAX; i++)
		printf(" %02x", c->bytes[i]);
	printf("  %s\n", what);
}

static void judge_taken(struct totals *n, const struct insn_case *c, const struct x86_insn *insn,
	const struct insn_result *r)
{
	const struct x86_insn_desc *d = &x86_insn_table[insn->entry];

	if (d->class == X86_CLASS_SYSTEM)
		n->left_out++;
	else if (r->end == X86_UD)
		report(n, c, "decoded, but the CPU says #UD");
	else if (r->end == INSN_RETIRED && d->class == X86_CLASS_PLAIN) {
		n->lengths++;
		if (r->regs.rip != c->regs.rip + insn->len)
			report(n, c, "the CPU sees another length");
	}
}

static void judge(struct totals *n, const struct insn_case *c, const struct insn_result *r)
{
	struct x86_insn insn;
	enum x86_decode_status status = x86_decode(c->bytes, X86_INSN_MAX, c->mode, &insn);

	n->cases++;
	if (vendor_specific(skip_prefixes(c)))
		n->left_out++;
	else if (status == X86_DECODE_OK)
		judge_taken(n, c, &insn, r);
	else if (status != X86_DECODE_UD || not_in_table(skip_prefixes(c)))
		n->left_out++;
	else {
		n->refused++;
		if (r->end != X86_UD)
			report(n, c, "refused, but the CPU does not say #UD");
	}
}

static int run_mode(struct native *native, enum x86_mode mode, uint64_t cases, struct totals *n)
{
	struct rng r = {0x7468657365656421 + mode};
	int err = 0;

	for (uint64_t done = 0; done < cases && !err; done += NATIVE_BATCH) {
		struct insn_case *c = native_cases(native);

		for (unsigned i = 0; i < NATIVE_BATCH; i++)
			while (!make_case(&r, mode, &c[i]))
				;
		err = native_run(native, NATIVE_BATCH);
		for (unsigned i = 0; i < NATIVE_BATCH && !err; i++)
			judge(n, &c[i], &native_results(native)[i]);
	}
	return err;
}

int main(int argc, char **argv)
{
	uint64_t cases = argc > 1 ? strtoull(argv[1], NULL, 0) : 100000;
	struct totals n = {0};
	char err[256];
	struct native *native = native_open(err, sizeof(err));
	int bad = 0;

	if (!native) {
		printf("skipped: %s\n", err);
		return SKIP;
	}
	for (unsigned mode = X86_MODE_16; mode <= X86_MODE_64 && !bad; mode++)
		if (native_has_mode(native, mode))
			bad = run_mode(native, mode, cases, &n);
	printf("%llu byte strings on the real CPU: %llu lengths compared, %llu refused by both, "
	       "%llu left out, %llu differ; children replaced: %u\n",
		(unsigned long long)n.cases, (unsigned long long)n.lengths,
		(unsigned long long)n.refused, (unsigned long long)n.left_out,
		(unsigned long long)n.different, native_deaths(native));
	native_close(native);
	return bad || n.different;
}
