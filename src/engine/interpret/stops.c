/*
 * stops.c - a debugger's breakpoints and watchpoints, beside the guest's own in
 * its debug registers. Instructions run one at a time in pages of code that have
 * breakpoints, and everywhere while something is watched.
 */
#include <errno.h>
#include <string.h>

#include "engine/interpret/cpu.h"

bool stops_watch(const struct cpu *c)
{
	for (unsigned n = 0; n < c->stops; n++)
		if (c->stop[n].kind != STOP_EXEC)
			return true;
	return false;
}

bool stops_in_page(const struct cpu *c, uint64_t lin)
{
	for (unsigned n = 0; n < c->stops; n++)
		if (c->stop[n].kind == STOP_EXEC && !((c->stop[n].addr ^ lin) / PAGE_SIZE))
			return true;
	return false;
}

bool stops_here(const struct cpu *c, uint64_t lin)
{
	for (unsigned n = 0; n < c->stops; n++)
		if (c->stop[n].kind == STOP_EXEC && c->stop[n].addr == lin)
			return true;
	return false;
}

void stops_note(struct cpu *c, uint64_t lin, unsigned size, enum x86_access a)
{
	for (unsigned n = 0; n < c->stops; n++) {
		const struct debug_stop *s = &c->stop[n];

		if (s->kind == STOP_EXEC || (s->kind == STOP_WRITE && a != X86_WRITE) ||
			lin >= s->addr + s->len || s->addr >= lin + size)
			continue;
		c->stop_met = true;
		c->stop_addr = s->addr;
	}
}

int interpret_set_stops(struct vcpu *v, const struct debug_stop *stop, unsigned count)
{
	struct cpu *c = v->priv;

	if (count > STOPS_MAX)
		return -ENOSPC;
	if (count)
		memcpy(c->stop, stop, count * sizeof(*stop));
	c->stops = count;
	forget_blocks(c);
	refresh(c);
	return 0;
}
