/* step.c - the interpreter as the emulator of last resort of other engines; see step.h. */
#include "engine/interpret/step.h"

#include <stdlib.h>

#include "engine/interpret/cpu.h"

/*
 * Its engine has no table of code pages, so no decoded instruction is kept:
 * the other engine's guest writes its code unseen.
 */
struct stepper {
	struct interpret_engine engine;
	struct cpu *cpu;
};

int stepper_new(struct vcpu *v, struct stepper **out)
{
	struct stepper *p = xcalloc(1, sizeof(*p));
	int err = cpu_new(v, &p->engine, &p->cpu);

	if (err) {
		free(p);
		return err;
	}
	*out = p;
	return 0;
}

void stepper_free(struct stepper *p)
{
	cpu_free(p->cpu);
	free(p);
}

void stepper_step(struct stepper *p, struct x86_state *s, struct run_result *r)
{
	struct cpu *c = p->cpu;
	uint64_t tsc = s->tsc, offset = tsc - vcpu_tsc(c->v);

	c->s = *s;
	c->s.tsc = offset; /* inside */
	tlb_flush(c, true);
	refresh(c);
	cpu_run(c, 1, r, false);
	*s = c->s;
	s->tsc = c->s.tsc == offset ? tsc : vcpu_tsc(c->v) + c->s.tsc;
}
