/*
 * test_insn.c - the interpreter against an oracle, one instruction a case.
 *
 *   test_insn [--engine interpret|translate] [--oracle native|kvm] [--seed N] [--cases N] [--case
 * K] [--kind K] [--show N]
 *
 * Generates cases for each kind of guest, executes them on the oracle (the
 * real CPU, or kvm for what user code cannot run natively) and on the engine, compares registers,
 * flags, exceptions and memory. Ends with the totals: cases, faults, rows of the opcode table, what
 * was masked or forgiven. A difference prints what is needed to run it again.
 */
#include <cpuid.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "compare.h"
#include "engine/interpret/cpu.h"
#include "engine/interpret/interpret.h"
#include "engine/kvm/kvm.h"
#include "engine/translate/translate.h"
#include "generate.h"
#include "guest.h"
#include "native.h"
#include "util/util.h"

#define SKIP     77
#define MAX_ROWS 4096

struct options {
	uint64_t seed, cases, only;
	bool one; /* only case `only` */
	int kind; /* -1: all */
	bool kvm; /* the oracle */
	const struct engine_ops *engine;
	unsigned show;
};

struct totals {
	uint64_t cases, faults, by_host, different, masked_cases, masked_bits;
	uint64_t exception[EXCEPTION_COUNT];
	uint32_t row[MAX_ROWS], row_excluded[MAX_ROWS], row_different[MAX_ROWS];
	unsigned kinds;
};

struct test {
	struct options opt;
	struct totals total;
	struct native *native; /* one of these two */
	struct guest *kvm;
	struct insn_case *cases; /* of the batch, and what the oracle made of them */
	struct insn_result *results;
	struct guest *guest;
	struct x86_model model; /* of the guests */
	enum guest_kind kind;
	unsigned shown;
};

static const struct {
	const char *name;
	enum x86_mode mode;
	bool flat;
} kinds[GUEST_KINDS] = {
	[GUEST_REAL16] = {"real16", X86_MODE_16},
	[GUEST_PROT16] = {"prot16", X86_MODE_16},
	[GUEST_PROT32] = {"prot32", X86_MODE_32},
	[GUEST_FLAT32] = {"flat32", X86_MODE_32, true},
	[GUEST_LONG64] = {"long64", X86_MODE_64, true},
	[GUEST_REAL] = {"real", X86_MODE_16},
};

static const char *oracle_name(const struct test *t)
{
	return t->opt.kvm ? "kvm" : "native";
}

/* Counts what is left out as it goes by; the counts are of candidates, not of cases. */
static bool wanted(void *ctx, const struct x86_insn *insn)
{
	struct test *t = ctx;
	enum insn_exception e = compare_excluded(t->kind, &t->model, insn);

	t->total.exception[e]++;
	if (e)
		t->total.row_excluded[insn->entry] = e;
	return !e;
}

/*
 * Has the interpreter no body of its own for it? Then the host's CPU computes on both sides, and
 * only what is around the computation is judged; tests/engine/test_fpu.c has the manual's word.
 */
static bool executed_by_host(const struct insn_case *c)
{
	static insn_body *const body[X86_OP_COUNT] = {
#define X86_MNEMONIC(name) [X86_OP_##name] = op_##name,
#include "x86/mnemonic.def"
	};

	return !body[c->insn.op];
}

static void count_case(struct test *t, const struct insn_case *c, const struct insn_result *oracle,
	struct comparison v)
{
	struct totals *n = &t->total;

	n->cases++;
	n->row[c->insn.entry]++;
	n->faults += oracle->end < INSN_RETIRED;
	n->by_host += oracle->end == INSN_RETIRED && executed_by_host(c);
	n->masked_cases += v.masked != 0;
	n->masked_bits += (unsigned)__builtin_popcount(v.masked);
	n->exception[v.forgiven] += v.forgiven != EXCEPTION_NONE;
}

static void report_difference(struct test *t, const struct insn_case *c,
	const struct insn_result *oracle, const struct insn_result *engine, uint32_t masked)
{
	t->total.different++;
	if (t->total.row_different[c->insn.entry]++ || t->shown++ >= t->opt.show)
		return; /* one of each row is enough to begin with */
	printf("\nDIFFERENT: test_insn --engine %s --oracle %s --kind %s --seed %llu --case %llu\n",
		t->opt.engine->name, oracle_name(t), kinds[t->kind].name,
		(unsigned long long)t->opt.seed, (unsigned long long)c->number);
	print_case(stdout, c, oracle, engine, masked);
}

static void judge_case(struct test *t, const struct insn_case *c, const struct insn_result *oracle)
{
	struct insn_result engine;
	struct comparison v;

	if (oracle->end == INSN_UNSUPPORTED) {
		t->total.exception[EXCEPTION_KVM_LACKS]++;
		return;
	}
	guest_run(t->guest, c, &engine);
	v = compare_results(t->kind, c, oracle, &engine);
	count_case(t, c, oracle, v);
	if (!v.same)
		report_difference(t, c, oracle, &engine, v.masked);
	else if (t->opt.one)
		print_case(stdout, c, oracle, &engine, v.masked);
}

static int run_oracle(struct test *t, unsigned count)
{
	if (t->native)
		return native_run(t->native, count);
	for (unsigned i = 0; i < count; i++)
		guest_run(t->kvm, &t->cases[i], &t->results[i]);
	return 0;
}

static int run_batch(struct test *t, const struct generator *gen, uint64_t first, unsigned count)
{
	int err;

	for (unsigned i = 0; i < count; i++)
		generate_case(gen, first + i, &t->cases[i]);
	err = run_oracle(t, count);
	for (unsigned i = 0; i < count && !err; i++)
		judge_case(t, &t->cases[i], &t->results[i]);
	return err;
}

/* Nothing but the windows may have changed; a replay with --case finds who did it. */
static void check_strays(struct test *t, uint64_t first, unsigned count)
{
	uint32_t engine = guest_stray_write(t->guest);
	uint32_t oracle = t->native ? native_stray_write(t->native) : guest_stray_write(t->kvm);

	if (engine)
		guest_clean(t->guest); /* as the native oracle has done */
	if (oracle && t->kvm)
		guest_clean(t->kvm);
	if (engine == oracle) /* nobody, or both alike: a write at the edge of a window */
		return;
	t->total.different++;
	printf("DIFFERENT: written outside all windows: %05x by the engine, %05x by the oracle, in "
	       "or before cases %llu to %llu of %s\n",
		engine, oracle, (unsigned long long)first, (unsigned long long)(first + count - 1),
		kinds[t->kind].name);
}

static int run_kind(struct test *t)
{
	struct generator gen = {t->opt.seed, kinds[t->kind].mode, kinds[t->kind].flat, wanted, t};
	uint64_t first = t->opt.one ? t->opt.only : 0;
	uint64_t end = t->opt.one ? first + 1 : t->opt.cases;
	int err = 0;

	for (; first < end && !err; first += NATIVE_BATCH) {
		unsigned count = (unsigned)MIN(end - first, NATIVE_BATCH);

		err = run_batch(t, &gen, first, count);
		check_strays(t, first, count);
	}
	return err;
}

/* ---- the closing lines ---- */

/* Rows that no case met: those without a reason, or those left out for this one. */
static unsigned print_unmet(const struct totals *n, unsigned reason)
{
	unsigned count = 0;

	for (unsigned i = 1; i < x86_insn_table_count; i++) {
		if (n->row[i] || n->row_excluded[i] != reason)
			continue;
		if (!count++)
			printf("  %s:", insn_exception_table[reason].name);
		printf(" %s", x86_insn_table[i].name);
	}
	if (count)
		printf("\n");
	return count;
}

/* Every row is met by a case or left out for a reason; returns how many are neither. */
static unsigned print_rows(const struct totals *n)
{
	unsigned met = 0, unmet;

	for (unsigned i = 1; i < x86_insn_table_count; i++) /* 0 is invalid */
		met += n->row[i] != 0;
	printf("rows of the opcode table: %u of %u met; those that are not, by reason:\n", met,
		x86_insn_table_count - 1);
	if (n->cases < 2)
		return 0;
	for (unsigned e = EXCEPTION_NONE + 1; e < EXCEPTION_COUNT; e++)
		print_unmet(n, e);
	unmet = print_unmet(n, EXCEPTION_NONE);
	printf("rows neither met nor left out: %u\n", unmet);
	return unmet;
}

static void print_exceptions(const struct totals *n)
{
	for (unsigned e = 1; e < EXCEPTION_COUNT; e++)
		if (n->exception[e])
			printf("  %-12s %9llu  %s\n", insn_exception_table[e].name,
				(unsigned long long)n->exception[e], insn_exception_table[e].why);
}

static void print_different(const struct totals *n)
{
	for (unsigned i = 0; i < x86_insn_table_count; i++)
		if (n->row_different[i])
			printf("  %-12s row %4u: %u of %u cases differ\n", x86_insn_table[i].name,
				i, n->row_different[i], n->row[i]);
}

/* Returns how many rows were forgotten. */
static unsigned print_totals(const struct test *t, double seconds)
{
	const struct totals *n = &t->total;
	unsigned unmet;

	printf("%llu cases compared with %s in %.1f s, %llu of them exceptions; "
	       "%llu differ\n",
		(unsigned long long)n->cases, t->kvm ? "kvm" : "the real CPU", seconds,
		(unsigned long long)n->faults, (unsigned long long)n->different);
	printf("%llu of them retired an instruction that the interpreter hands to the host's CPU\n",
		(unsigned long long)n->by_host);
	unmet = print_rows(n);
	printf("undefined flags masked: %llu bits in %llu cases; exceptions:\n",
		(unsigned long long)n->masked_bits, (unsigned long long)n->masked_cases);
	print_exceptions(n);
	print_different(n);
	if (t->native)
		printf("native children replaced: %u\n", native_deaths(t->native));
	return unmet;
}

/* ---- start ---- */

static int kind_by_name(const char *name)
{
	for (int k = 0; k < GUEST_KINDS; k++)
		if (!strcmp(kinds[k].name, name))
			return k;
	return GUEST_KINDS;
}

static const struct engine_ops *engine_by_name(const char *name)
{
	if (!strcmp(name, "translate"))
		return &translate_engine;
	return strcmp(name, "interpret") ? NULL : &interpret_engine;
}

static bool parse(struct options *o, int argc, char **argv)
{
	for (int i = 1; i < argc; i += 2) {
		const char *value = i + 1 < argc ? argv[i + 1] : NULL;

		if (!value)
			return false;
		if (!strcmp(argv[i], "--seed"))
			o->seed = strtoull(value, NULL, 0);
		else if (!strcmp(argv[i], "--cases"))
			o->cases = strtoull(value, NULL, 0);
		else if (!strcmp(argv[i], "--show"))
			o->show = (unsigned)strtoul(value, NULL, 0);
		else if (!strcmp(argv[i], "--kind"))
			o->kind = kind_by_name(value);
		else if (!strcmp(argv[i], "--engine"))
			o->engine = engine_by_name(value);
		else if (!strcmp(argv[i], "--oracle"))
			o->kvm = !strcmp(value, "kvm");
		else if (!strcmp(argv[i], "--case"))
			o->only = strtoull(value, NULL, 0), o->one = true;
		else
			return false;
	}
	return o->kind < GUEST_KINDS && o->engine;
}

/* NULL, or why this kind cannot be compared. */
static const char *kind_missing(struct test *t)
{
	if (!t->opt.kvm && !native_has_mode(t->native, kinds[t->kind].mode))
		return "not compared, the host has no modify_ldt";
	if (t->opt.kvm && !guest_enter(t->kvm, t->kind))
		return "not compared, this kvm does not step in this mode";
	if (!guest_enter(t->guest, t->kind))
		return "not covered yet, the engine does not have this mode";
	return NULL;
}

static int run_all(struct test *t)
{
	int err = 0;

	for (unsigned k = 0; k < GUEST_KINDS && !err; k++) {
		const char *missing;

		if ((t->opt.kind >= 0 && t->opt.kind != (int)k) || t->opt.kvm != (k == GUEST_REAL))
			continue;
		t->kind = k;
		missing = kind_missing(t);
		if (missing) {
			printf("%s: %s\n", kinds[k].name, missing);
			continue;
		}
		t->total.kinds++;
		err = run_kind(t);
	}
	return err;
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

static int run_test(struct test *t)
{
	double start = now();
	int err = run_all(t);
	unsigned unmet;
	bool whole;

	if (err) {
		printf("the native child cannot be replaced: %s\n", strerror(-err));
		return 1;
	}
	if (!t->total.kinds) {
		printf("skipped: no mode that both the oracle and the engine have\n");
		return SKIP;
	}
	unmet = print_totals(t, now() - start);
	/* With so many cases each row has its turn. */
	whole = t->native && t->opt.kind < 0 && !t->opt.one && t->opt.cases >= 100000;
	return t->total.different || (whole && unmet);
}

static bool open_native(struct test *t, char *err, size_t errlen)
{
	t->native = native_open(err, errlen);
	if (!t->native)
		return false;
	t->cases = native_cases(t->native);
	t->results = native_results(t->native);
	return true;
}

static bool open_kvm(struct test *t, char *err, size_t errlen)
{
	struct engine_verdict verdict = {0};

	kvm_engine.probe(&verdict);
	if (verdict.level == ENGINE_UNUSABLE) {
		snprintf(err, errlen, "%s", verdict.why);
		return false;
	}
	t->kvm = guest_open(&kvm_engine, &t->model, err, errlen);
	if (!t->kvm)
		return false;
	t->cases = xcalloc(NATIVE_BATCH, sizeof(*t->cases));
	t->results = xcalloc(NATIVE_BATCH, sizeof(*t->results));
	return true;
}

static void close_oracle(struct test *t)
{
	if (t->native)
		native_close(t->native);
	if (!t->kvm)
		return;
	guest_close(t->kvm);
	free(t->cases);
	free(t->results);
}

/* All that the engine has and, where the real CPU judges, the host too. */
static void choose_model(struct test *t)
{
	char text[2048] = "max", err[256];
	size_t used = strlen(text);
	uint32_t out[4];

	for (unsigned f = 0; f < X86_CPU_FEATURES && !t->opt.kvm; f++) {
		const struct x86_cpu_feature_info *i = &x86_cpu_features[f];
		bool host = __get_cpuid_count(
				    i->leaf, i->subleaf, &out[0], &out[1], &out[2], &out[3]) &&
			    out[i->reg] >> i->bit & 1;

		if (!host && i->insn != X86_FEATURE_BASE)
			used += (size_t)snprintf(text + used, sizeof(text) - used, ",-%s", i->name);
	}
	if (t->opt.kvm || x86_model_parse(&t->model, text, false, err, sizeof(err)))
		x86_model_baseline(&t->model);
}

static int test_main(struct test *t)
{
	char err[256];
	int status = 1;

	choose_model(t);

	if (!(t->opt.kvm ? open_kvm(t, err, sizeof(err)) : open_native(t, err, sizeof(err)))) {
		printf("skipped: %s\n", err);
		return SKIP;
	}
	t->guest = guest_open(t->opt.engine, &t->model, err, sizeof(err));
	if (t->guest) {
		status = run_test(t);
		guest_report(t->guest);
		guest_close(t->guest);
	} else {
		printf("%s\n", err);
	}
	close_oracle(t);
	return status;
}

int main(int argc, char **argv)
{
	struct test *t = xcalloc(1, sizeof(*t));
	int status = 2;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	puts("the sanitizer maps memory where the cases expect none");
	free(t);
	return 77;
#endif
	t->opt = (struct options){
		.seed = 1, .cases = 100000, .kind = -1, .show = 20, .engine = &interpret_engine};
	if (parse(&t->opt, argc, argv) && x86_insn_table_count <= MAX_ROWS)
		status = test_main(t);
	else
		fprintf(stderr,
			"usage: test_insn [--engine interpret|translate] [--oracle native|kvm] "
			"[--seed N] [--cases N] "
			"[--case K] [--kind real16|prot16|prot32|flat32|long64|real] [--show N]\n");
	free(t);
	return status;
}
