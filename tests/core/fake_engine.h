/*
 * fake_engine.h - an engine that executes nothing, for tests of core.
 *
 * Its guest counts: every turn of run() adds one to gpr[RAX]. A script
 * function, if set, is called once a turn and may make up calls.
 */
#ifndef TINAMOU_TEST_FAKE_ENGINE_H
#define TINAMOU_TEST_FAKE_ENGINE_H

#include "core/vm.h"

struct fake_cpu {
	struct x86_state state;
	_Atomic uint64_t turns;
};

extern const struct engine_ops fake_engine;

/* Called on the vCPU's thread, inside run(). Return false to end run() as a halt. */
extern bool (*fake_script)(struct vcpu *v);

static inline struct fake_cpu *fake_cpu(struct vcpu *v)
{
	return v->priv;
}

#endif
