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
	((struct tcpu *)c)->stats.tlb_flushes[globals_too]++;
	fast_flush((struct tcpu *)c, globals_too);
	cut_far((struct tcpu *)c, globals_too);
}

static void flushed_page(struct cpu *c, uint64_t lin)
{
	((struct tcpu *)c)->stats.page_flushes++;
	fast_flush_page((struct tcpu *)c, lin);
	cut_page((struct tcpu *)c, lin);
}

static const struct cpu_hooks hooks = {
	.advance = translate_advance,
	.flushed = flushed,
	.flushed_page = flushed_page,
	.forget_writes = forget_writes,
};

/* ---- the contract ---- */

/* Somebody wrote to code: translated code is to come back and look. */
static void went_stale(struct interpret_engine *e)
{
	struct vm *vm = e->engine.vm;

	for (unsigned n = 0; n < vm->vcpus; n++)
		if (e->kept[n])
			atomic_store(&((struct tcpu *)e->kept[n])->poll, NULL);
}

static int translate_open(struct vm *vm, struct engine **out, char *err, size_t errlen)
{
	struct torture none;
	int status = torture_parse(&none, vm->config.torture, err, errlen);

	if (!status)
		status = interpret_engine.open(vm, out, err, errlen);
	if (status)
		return status;
	(*out)->ops = &translate_engine;
	container_of(*out, struct interpret_engine, engine)->went_stale = went_stale;
	return 0;
}

/* Below the state is a stack for signals. */
#define WHOLE (STACK_ROOM + sizeof(struct tcpu))

static void translate_close(struct engine *engine)
{
	struct interpret_engine *e = container_of(engine, struct interpret_engine, engine);

	for (unsigned n = 0; n < ARRAY_SIZE(e->kept); n++)
		if (e->kept[n])
			munmap((uint8_t *)e->kept[n] - STACK_ROOM, WHOLE);
	interpret_engine.close(engine);
}

/* Kept until the engine is closed, since others may still clear its poll pointer. */
static struct tcpu *tcpu_memory(struct vcpu *v)
{
	struct interpret_engine *e = container_of(v->vm->engine, struct interpret_engine, engine);
	uint8_t *memory;

	if (e->kept[v->id]) {
		memset(e->kept[v->id], 0, sizeof(struct tcpu));
		return e->kept[v->id];
	}
	memory = mmap(NULL, WHOLE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		return NULL;
	return e->kept[v->id] = (struct tcpu *)(void *)(memory + STACK_ROOM);
}

static void set_up(struct tcpu *t)
{
	const struct vm *vm = t->c.v->vm;

	t->counting = vm->clock.driver == CLOCK_INSTRUCTIONS;
	t->check = vm->config.check ? check_new() : NULL;
	t->with_stats = vm->config.time_exits;
	t->tally = t->counting || vm->config.count_instructions;
	t->can_live = __builtin_cpu_supports("avx");
	t->fast_used = ARRAY_SIZE(t->fast_list) + 1;
	fast_flush(t, true);
	t->c.hooks = &hooks;
}

static int translate_vcpu_open(struct vcpu *v)
{
	struct tcpu *t = tcpu_memory(v);
	int err;

	if (!t)
		return -ENOMEM;
	err = cpu_open(&t->c, v, container_of(v->vm->engine, struct interpret_engine, engine));
	if (err)
		return err;
	torture_parse(&t->torture, v->vm->config.torture, NULL, 0);
	err = cache_new(t);
	if (!err)
		err = catch_faults();
	if (!err)
		err = torture_start(t);
	if (err) {
		torture_stop(t);
		cpu_close(&t->c);
		return err;
	}
	set_up(t);
	perf_name_stubs(t);
	v->priv = &t->c;
	return 0;
}

static void translate_vcpu_close(struct vcpu *v)
{
	struct tcpu *t = tcpu_of(v);

	torture_stop(t);
	check_free(t->check);
	cache_free(t);
	cpu_close(&t->c);
	v->priv = NULL;
}

/* What was made from memory that stays is kept, unless all pages get other versions. */
static int translate_set_map(struct engine *engine, const struct engine_slot *slot, unsigned count)
{
	struct interpret_engine *e = container_of(engine, struct interpret_engine, engine);
	const struct code_page *code = e->code;
	int err = interpret_engine.set_map(engine, slot, count);

	for (unsigned n = 0; n < engine->vm->vcpus && e->code != code; n++)
		if (engine->vm->vcpu[n]->priv)
			cache_flush(tcpu_of(engine->vm->vcpu[n]));
	return err;
}

static void translate_run(struct vcpu *v, uint64_t budget, struct run_result *r)
{
	struct tcpu *t = tcpu_of(v);
	uint64_t counted = t->stats.counted;

	use_signal_stack(t);
	t->since = __builtin_ia32_rdtsc();
	interpret_engine.run(v, budget, r);
	leave_signal_stack();
	spend(t, SPENT_REST);
	t->stats.executed += r->executed;
	if (!t->counting) /* else they are among those */
		atomic_fetch_add_explicit(
			&v->executed, t->stats.counted - counted, memory_order_relaxed);
}

static void translate_step(struct vcpu *v, struct run_result *r)
{
	use_signal_stack(tcpu_of(v));
	interpret_engine.step(v, r);
	leave_signal_stack();
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
	cache_flush(tcpu_of(v)); /* of what ran past them */
	return interpret_engine.set_stops(v, stop, count);
}

static void translate_ram_changed(struct engine *e, gpa_t gpa, uint64_t len)
{
	interpret_engine.ram_changed(e, gpa, len);
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
	.report = translate_report,
};
