/*
 * translate.c - engine translate: interpret's contract, with translated code
 * under its loop.
 */
#include "engine/translate/translate.h"

#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>

#include "engine/translate/internal.h"

static struct tcpu *tcpu_of(struct vcpu *v)
{
	return v->priv;
}

/* ---- what interpret tells ---- */

static void flushed(struct cpu *c, bool globals_too)
{
	fast_flush((struct tcpu *)c);
	cut_far((struct tcpu *)c, globals_too);
}

static void flushed_page(struct cpu *c, uint64_t lin)
{
	fast_flush_page((struct tcpu *)c, lin);
	cut_page((struct tcpu *)c, lin);
}

static void first_code(struct cpu *c, struct code_page *p)
{
	fast_forget_writes((struct tcpu *)c, p);
}

static const struct cpu_hooks hooks = {
	.advance = translate_advance,
	.flushed = flushed,
	.flushed_page = flushed_page,
	.first_code = first_code,
};

/* ---- the contract ---- */

static int translate_open(struct vm *vm, struct engine **out, char *err, size_t errlen)
{
	int status = interpret_engine.open(vm, out, err, errlen);

	if (!status)
		(*out)->ops = &translate_engine;
	return status;
}

static void translate_close(struct engine *e)
{
	interpret_engine.close(e);
}

/* Below the state is a stack for signals. */
#define WHOLE (STACK_ROOM + sizeof(struct tcpu))

static int translate_vcpu_open(struct vcpu *v)
{
	uint8_t *memory =
		mmap(NULL, WHOLE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct tcpu *t = (struct tcpu *)(void *)(memory + STACK_ROOM);
	int err;

	if (memory == MAP_FAILED)
		return -ENOMEM;
	err = cpu_open(&t->c, v, container_of(v->vm->engine, struct interpret_engine, engine));
	if (err)
		goto no_cpu;
	err = cache_new(t);
	if (!err)
		err = catch_faults();
	if (err)
		goto no_cache;
	t->counting = v->vm->clock.driver == CLOCK_INSTRUCTIONS;
	t->check = v->vm->config.check ? check_new() : NULL;
	t->can_live = __builtin_cpu_supports("avx");
	t->fast_used = ARRAY_SIZE(t->fast_list) + 1;
	fast_flush(t);
	t->c.hooks = &hooks;
	v->priv = &t->c;
	return 0;
no_cache:
	cpu_close(&t->c);
no_cpu:
	munmap(memory, WHOLE);
	return err;
}

static void translate_vcpu_close(struct vcpu *v)
{
	struct tcpu *t = tcpu_of(v);

	leave_signal_stack(t);
	check_free(t->check);
	cache_free(t);
	cpu_close(&t->c);
	v->priv = NULL;
	munmap((uint8_t *)t - STACK_ROOM, WHOLE);
}

static int translate_set_map(struct engine *e, const struct engine_slot *slot, unsigned count)
{
	for (unsigned n = 0; n < e->vm->vcpus; n++)
		if (e->vm->vcpu[n]->priv)
			cache_flush(tcpu_of(e->vm->vcpu[n]));
	return interpret_engine.set_map(e, slot, count);
}

static void translate_run(struct vcpu *v, uint64_t budget, struct run_result *r)
{
	use_signal_stack(tcpu_of(v));
	interpret_engine.run(v, budget, r);
}

static void translate_step(struct vcpu *v, struct run_result *r)
{
	use_signal_stack(tcpu_of(v));
	interpret_engine.step(v, r);
}

/* From a signal handler, too. Before vcpu_open and after vcpu_close there is nobody to tell. */
static void translate_kick(struct vcpu *v)
{
	struct tcpu *t = tcpu_of(v);

	if (t)
		atomic_store(&t->poll, NULL);
}

static int translate_get(struct vcpu *v, struct x86_state *s, unsigned mask)
{
	return interpret_engine.get(v, s, mask);
}

static int translate_put(struct vcpu *v, const struct x86_state *s, unsigned mask)
{
	return interpret_engine.put(v, s, mask);
}

static int translate_set_stops(struct vcpu *v, const struct debug_stop *stop, unsigned count)
{
	return interpret_engine.set_stops(v, stop, count);
}

static void translate_ram_changed(struct engine *e, gpa_t gpa, uint64_t len)
{
	interpret_engine.ram_changed(e, gpa, len);
}

static void translate_probe(struct engine_verdict *v)
{
	v->level = ENGINE_SLOW; /* auto passes it by until it has proved itself */
	snprintf(v->why, sizeof(v->why), "translates x86 to x86; new, chosen only by name");
}

const struct engine_ops translate_engine = {
	.name = "translate",
	.what = "our own translator, x86 to x86",
	.caps = ENGINE_CAP_COUNTS | ENGINE_CAP_A20 | ENGINE_CAP_EXACT_CPU | ENGINE_CAP_CHECKS,
	.probe = translate_probe,
	.open = translate_open,
	.close = translate_close,
	.set_map = translate_set_map,
	.vcpu_open = translate_vcpu_open,
	.vcpu_close = translate_vcpu_close,
	.run = translate_run,
	.step = translate_step,
	.kick = translate_kick,
	.get = translate_get,
	.put = translate_put,
	.set_stops = translate_set_stops,
	.ram_changed = translate_ram_changed,
};
