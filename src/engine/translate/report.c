/* report.c - what --stats tells of translated code. */
#include <inttypes.h>
#include <stdio.h>

#include "engine/translate/internal.h"

#define SHOWN 24u

void note_left(struct tcpu *t)
{
	struct cpu *c = &t->c;
	uint64_t lin = code_address(c);
	const struct tlb_entry *e = &c->tlb[lin / PAGE_SIZE % TLB_SIZE];
	struct x86_insn i;

	t->stats.odd++;
	if (e->page == lin / PAGE_SIZE && e->host &&
		x86_decode(e->host + (lin & 4095), MIN(PAGE_SIZE - (lin & 4095), X86_INSN_MAX),
			c->mode, &i) == X86_DECODE_OK)
		t->stats.by_op[i.op]++;
}

/* How many instructions ran as emitted code: all but bodies, system instructions, interpret's. */
static void report_share(const struct tcpu *t, FILE *out)
{
	uint64_t all = t->stats.executed + (t->counting ? 0 : t->stats.counted);
	uint64_t emitted = t->stats.counted - MIN(t->stats.bodies, t->stats.counted);

	if (t->check || !all)
		return;
	fprintf(out, "cpu%u: %" PRIu64 " instructions, %" PRIu64 " (%.3f %%) as emitted code\n",
		t->c.v->id, all, emitted, 100 * (double)emitted / (double)all);
}

/* Of the time in run(), without the halts. Runs under the instruction clock say all the same. */
static void report_times(const struct tcpu *t, FILE *out)
{
	static const char *const name[SPENT_KINDS] = {[SPENT_REST] = "interpret and devices",
		[SPENT_CODE] = "translated code",
		[SPENT_TRANSLATING] = "translating",
		[SPENT_MISSES] = "misses of the TLB",
		[SPENT_CALLS] = "bodies and system instructions"};
	uint64_t all = 0;

	if (t->counting)
		return;
	for (unsigned n = 0; n < SPENT_KINDS; n++)
		all += t->stats.ticks[n];
	fprintf(out, "cpu%u: time", t->c.v->id);
	for (unsigned n = 0; n < SPENT_KINDS; n++)
		fprintf(out, "%s %.1f %% %s", n ? "," : ":",
			100 * (double)t->stats.ticks[n] / (double)MAX(all, 1u), name[n]);
	fprintf(out, "\n");
}

static void report_ops(const struct tstats *s, FILE *out)
{
	static const char *const name[X86_OP_COUNT] = {
#define X86_MNEMONIC(name) [X86_OP_##name] = #name,
#include "x86/mnemonic.def"
	};
	uint64_t count[X86_OP_COUNT];

	memcpy(count, s->by_op, sizeof(count));
	fprintf(out, "by interpret:");
	for (unsigned n = 0; n < SHOWN; n++) {
		unsigned most = 0;

		for (unsigned op = 1; op < X86_OP_COUNT; op++)
			if (count[op] > count[most])
				most = op;
		if (!count[most])
			break;
		fprintf(out, " %s %" PRIu64, name[most], count[most]);
		count[most] = 0;
	}
	fprintf(out, "\n");
}

void translate_report(struct engine *e, FILE *out)
{
	for (unsigned n = 0; n < e->vm->vcpus; n++) {
		const struct tcpu *t = e->vm->vcpu[n]->priv;
		const struct tstats *s = t ? &t->stats : NULL;

		if (!s)
			continue;
		fprintf(out,
			"cpu%u: %" PRIu64 " blocks of %" PRIu64 " instructions, %" PRIu64
			" bytes became %" PRIu64 "; %" PRIu64 " stale, %" PRIu64
			" evicted, cache emptied %" PRIu64 " times\n",
			n, s->blocks, s->insns, s->bytes, s->expanded, s->stale, s->evicted,
			s->flushes);
		fprintf(out,
			"cpu%u: entered %" PRIu64 " times, %" PRIu64
			" links; slow accesses %" PRIu64 ", bodies %" PRIu64 ", system %" PRIu64
			", left to interpret %" PRIu64 "\n",
			n, s->enters, s->links, s->slow, s->bodies, s->systems, s->odd);
		fprintf(out,
			"cpu%u: of the slow accesses %" PRIu64 " reads, %" PRIu64
			" writes; TLB flushed %" PRIu64 " times, %" PRIu64
			" with global pages, and %" PRIu64 " pages by themselves\n",
			n, s->slow - s->slow_writes, s->slow_writes, s->tlb_flushes[0],
			s->tlb_flushes[1], s->page_flushes);
		report_share(t, out);
		report_times(t, out);
		report_ops(s, out);
	}
}
