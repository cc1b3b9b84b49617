/*
 * perf.c - names of translated code for perf: --perf-map.
 *
 * Lines `START SIZE NAME` as tools/perf/Documentation/jit-interface.txt has them, one
 * for each stub and, as it is made, for each block: the guest's symbol, or the address,
 * then the privilege. A block that takes the place of an older one comes later
 * in the file. Each line goes out by one call of stdio, so that vCPUs need no lock.
 */
#include "engine/translate/internal.h"

#include <inttypes.h>
#include <stdio.h>

#include "core/symbols.h"

static void name_stub(const struct tcpu *t, uint32_t from, uint32_t to, const char *name)
{
	fprintf(t->c.v->vm->config.perf_map, "%" PRIxPTR " %x tinamou: %s\n",
		(uintptr_t)(t->exec + from), to - from, name);
}

/* In the order of make_stubs. */
void perf_name_stubs(const struct tcpu *t)
{
	if (!t->c.v->vm->config.perf_map)
		return;
	for (enum live live = LIVE_NONE; live < LIVE_LEVELS; live++) {
		const struct stubs *s = &t->stubs[live];
		uint32_t end = live + 1 < LIVE_LEVELS ? s[1].enter : t->stubs[0].syscall;

		name_stub(t, s->enter, s->leave_host, "in");
		name_stub(t, s->leave_host, s->slow, "out");
		name_stub(t, s->slow, s->miss[0], "slow access");
		name_stub(t, s->miss[0], s->miss[1], "read that missed");
		name_stub(t, s->miss[1], s->link_host, "write that missed");
		name_stub(t, s->link_host, s->seek, "link");
		name_stub(t, s->seek, s->string, "jump");
		name_stub(t, s->string, s->rebuild, "string that missed");
		name_stub(t, s->rebuild, s->body, "flags by recipe");
		name_stub(t, s->body, s->system, "body");
		name_stub(t, s->system, end, "system instruction");
	}
	name_stub(t, t->stubs[0].syscall, t->stubs[0].sysret, "SYSCALL");
	name_stub(t, t->stubs[0].sysret, t->first_block, "SYSRET");
}

void perf_name_block(const struct tcpu *t, const struct tblock *b)
{
	const struct vm_config *config = &t->c.v->vm->config;
	const char *who = t->key[b->key].privilege == X86_USER ? "user" : "kernel", *name;
	uintptr_t at = (uintptr_t)(t->exec + b->code);
	uint32_t size = t->code.at - b->code;
	uint64_t rip = t->c.s.rip, behind; /* which b has in its page alone if it is shared */

	if (!config->perf_map)
		return;
	name = symbols_find(config->symbols, rip, &behind);
	if (name)
		fprintf(config->perf_map, "%" PRIxPTR " %x %s+0x%" PRIx64 " [%s]\n", at, size, name,
			behind, who);
	else
		fprintf(config->perf_map, "%" PRIxPTR " %x 0x%" PRIx64 " [%s]\n", at, size, rip,
			who);
}
