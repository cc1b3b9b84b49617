/* fake_engine.c - see fake_engine.h. */
#include "fake_engine.h"

#include <stdlib.h>

#include "util/util.h"

bool (*fake_script)(struct vcpu *v);

static int fake_open(struct vm *vm, struct engine **out, char *err, size_t errlen)
{
	struct engine *e = xcalloc(1, sizeof(*e));

	e->ops = &fake_engine;
	e->vm = vm;
	*out = e;
	return 0;
}

static void fake_close(struct engine *e)
{
	free(e);
}

static int fake_vcpu_open(struct vcpu *v)
{
	v->priv = xcalloc(1, sizeof(struct fake_cpu));
	return 0;
}

static void fake_vcpu_close(struct vcpu *v)
{
	free(v->priv);
	v->priv = NULL;
}

static void fake_run(struct vcpu *v, uint64_t budget, struct run_result *r)
{
	struct fake_cpu *c = v->priv;

	r->exit = RUN_BUDGET;
	while (r->executed < budget) {
		if (vcpu_kicked(v)) {
			r->exit = RUN_KICKED;
			return;
		}
		r->executed++;
		atomic_fetch_add(&c->turns, 1);
		if (fake_script && !fake_script(v)) {
			r->exit = RUN_HALTED;
			return;
		}
	}
}

static void fake_kick(struct vcpu *v)
{
	/* fake_run looks at vcpu_kicked at every turn */
}

static int fake_get(struct vcpu *v, struct x86_state *s, unsigned mask)
{
	*s = fake_cpu(v)->state;
	s->gpr[X86_RAX] = atomic_load(&fake_cpu(v)->turns);
	return 0;
}

static int fake_put(struct vcpu *v, const struct x86_state *s, unsigned mask)
{
	fake_cpu(v)->state = *s;
	atomic_store(&fake_cpu(v)->turns, s->gpr[X86_RAX]);
	return 0;
}

const struct engine_ops fake_engine = {
	.name = "fake",
	.what = "for tests",
	.caps = ENGINE_CAP_COUNTS,
	.open = fake_open,
	.close = fake_close,
	.vcpu_open = fake_vcpu_open,
	.vcpu_close = fake_vcpu_close,
	.run = fake_run,
	.kick = fake_kick,
	.get = fake_get,
	.put = fake_put,
};
