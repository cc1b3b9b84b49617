/*
 * lockstep.c - one guest on two engines, instruction by instruction, with the canonical state
 * compared after each: `lockstep IMAGE ADDRESS MEMORY-KIB`.
 *
 * kvm single-steps, interpret follows. The machines' clocks stand still and are set by the count
 * of steps, so that timers fire at the same instruction on both. Exits 77 where there is no kvm.
 * What single-stepping by TF does otherwise, and is allowed for: after MOV SS and POP SS, and when
 * an event is delivered, kvm may stop later than one instruction, and it may do many iterations of
 * a repeated string instruction at once; interpret then goes on until it stands where kvm does.
 * TF itself, and debug registers, are kvm's while it steps. Flags that the SDM leaves undefined
 * are taken over from kvm.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "board/board.h"
#include "core/vm.h"
#include "engine/interpret/interpret.h"
#include "engine/kvm/kvm.h"
#include "util/util.h"
#include "x86/insn.h"
#include "x86/model.h"

#define SKIP        77
#define STEP_NS     1000u   /* of guest time a step */
#define MAX_STEPS   200000u /* of a guest that does not end */
#define MAX_IDLE    100u    /* jumps to itself before a guest counts as at its end */
#define MAX_FOLLOW  70000u  /* instructions that kvm may be ahead after one step */
#define GROUPS      (X86_GROUP_GPR | X86_GROUP_SEG | X86_GROUP_CR | X86_GROUP_FPU)
#define MODES       4
#define GUEST_ERROR 1

struct machine {
	struct vm *vm;
	struct board *board;
	struct vcpu *v;
	const struct engine_ops *ops;
	struct run_result r;
	struct x86_state s;
};

struct count {
	uint64_t steps, followed, idle, mode[MODES];
};

static int reset(struct machine *m)
{
	struct x86_model model;
	struct x86_state s;
	int err;

	for (struct device *dev = m->vm->devices; dev; dev = dev->next)
		if (dev->reset)
			dev->reset(dev);
	x86_model_baseline(&model);
	x86_state_reset(&s, model.signature);
	s.events.run = X86_RUNNING;
	err = vcpu_put(m->v, &s, X86_GROUP_ALL & ~X86_GROUP_TSC);
	return err ? err : m->vm->boot(m->vm->boot_ctx, m->vm);
}

static int machine_new(struct machine *m, const struct engine_ops *ops, uint64_t ram,
	const struct board_image *image)
{
	struct vm_config config = {.engine = ops, .ram_size = ram, .vcpus = 1, .no_reboot = true};
	struct board_config bc = {.image = image, .images = 1, .entry = image->addr};
	char err[256] = "no vCPU";
	int rc = -1;

	m->ops = ops;
	m->vm = vm_new(&config, err, sizeof(err));
	if (m->vm && !board_new(m->vm, &bc, &m->board, err, sizeof(err))) {
		m->v = m->vm->vcpu[0];
		rc = ops->vcpu_open(m->v);
	}
	if (!rc) {
		vm_lock(m->vm);
		rc = reset(m);
		vm_unlock(m->vm);
	}
	if (rc)
		printf("%s: %s\n", ops->name, err);
	return rc;
}

static void machine_free(struct machine *m)
{
	if (m->v) {
		atomic_store(&m->v->inside, false);
		m->ops->vcpu_close(m->v);
	}
	vm_free(m->vm);
}

static void set_time(struct machine *m, uint64_t ns)
{
	vm_lock(m->vm);
	clock_set(&m->vm->clock, ns);
	clock_run_timers(&m->vm->clock);
	vm_unlock(m->vm);
}

/* What a device asked for behind the instruction, as core does it. */
static void serve_deferred(struct vcpu *v)
{
	void (*fn)(struct vcpu *, void *) = v->deferred;

	v->deferred = NULL;
	if (!fn)
		return;
	vm_lock(v->vm);
	fn(v, v->deferred_ctx);
	vm_unlock(v->vm);
}

static void step(struct machine *m)
{
	do {
		atomic_store(&m->v->kick_pending, false);
		m->r = (struct run_result){0};
		m->ops->step(m->v, &m->r);
		serve_deferred(m->v);
	} while (m->r.exit == RUN_KICKED && m->vm->end == VM_END_NONE);
	vcpu_get(m->v, &m->s, X86_GROUP_ALL);
	m->s.rflags &= ~(uint64_t)(X86_TF | X86_RF);
}

static bool ended(const struct machine *m)
{
	return m->vm->end != VM_END_NONE || m->r.exit == RUN_SHUTDOWN || m->r.exit == RUN_FATAL;
}

/* The instruction at CS:rIP of s; the guests' paging is identity. */
static bool decode_at(const struct machine *m, const struct x86_state *s, struct x86_insn *insn)
{
	uint64_t at = s->seg[X86_CS].base + s->rip;
	uint32_t attr = s->seg[X86_CS].attr;
	enum x86_mode mode = attr & X86_ATTR_DB ? X86_MODE_32 : X86_MODE_16;

	if (s->efer & X86_EFER_LMA && attr & X86_ATTR_L)
		mode = X86_MODE_64;
	return at + X86_INSN_MAX <= m->vm->ram.size &&
	       x86_decode(m->vm->ram.host + at, X86_INSN_MAX, mode, insn) == X86_DECODE_OK;
}

static uint64_t undefined_flags(const struct machine *m, const struct x86_state *s)
{
	struct x86_insn insn;

	if (!decode_at(m, s, &insn))
		return 0;
	return x86_insn_table[insn.entry].flags_undefined & X86_FLAGS_ARITH;
}

/* kvm may stand at a repeated instruction with no iteration left. */
static void finish_repeat(struct machine *m, const struct x86_state *before)
{
	struct x86_insn insn;

	if (m->s.rip == before->rip && decode_at(m, &m->s, &insn) && insn.rep &&
		!(m->s.gpr[X86_RCX] & size_mask(insn.addrsize)))
		step(m);
}

static void take_undefined(const struct machine *kvm, struct machine *soft, uint64_t flags)
{
	if (!((kvm->s.rflags ^ soft->s.rflags) & flags))
		return;
	soft->s.rflags = (soft->s.rflags & ~flags) | (kvm->s.rflags & flags);
	vcpu_put(soft->v, &soft->s, X86_GROUP_GPR);
}

static bool same(const struct machine *kvm, const struct machine *soft)
{
	return !x86_state_diff(&kvm->s, &soft->s, GROUPS, NULL);
}

/* soft goes on to where kvm stands; false: it does not come there. */
static bool follow(const struct machine *kvm, struct machine *soft, struct count *n)
{
	uint64_t undefined;

	for (unsigned i = 0; i < MAX_FOLLOW && !ended(soft); i++) {
		if (same(kvm, soft))
			return true;
		n->followed++;
		undefined = undefined_flags(soft, &soft->s);
		step(soft);
		take_undefined(kvm, soft, undefined);
	}
	return ended(soft) ? ended(kvm) : same(kvm, soft);
}

static unsigned mode_of(const struct x86_state *s)
{
	if (s->efer & X86_EFER_LMA)
		return 3;
	return !(s->cr0 & X86_CR0_PE) ? 0 : s->cr0 & X86_CR0_PG ? 2 : 1;
}

static void report(const struct machine *kvm, struct machine *soft, const struct x86_state *before,
	uint64_t at)
{
	struct x86_insn insn;
	char text[80];

	printf("after step %" PRIu64 ", which began at %04x:%08" PRIx64 ", kvm != interpret:\n", at,
		before->seg[X86_CS].sel, before->rip);
	if (decode_at(soft, before, &insn))
		printf("%s\n", x86_disasm(&insn, before->rip, text, sizeof(text)));
	x86_state_diff(&kvm->s, &soft->s, GROUPS, stdout);
}

/* The next step's time: a halted machine waits for an interrupt. false: none will come. */
static bool pass_time(struct machine *kvm, struct machine *soft, uint64_t *now)
{
	uint64_t deadline;

	*now += STEP_NS;
	for (;;) {
		set_time(kvm, *now);
		set_time(soft, *now);
		if (soft->r.exit != RUN_HALTED || vcpu_intr_pending(soft->v))
			return true;
		deadline = clock_next_deadline(&soft->vm->clock);
		if (deadline == CLOCK_NEVER || !(soft->s.rflags & X86_IF))
			return false;
		*now = MAX(*now, deadline);
	}
}

/* A kvm that is backed by software shuts down at 32-bit paging; hardware does not. */
static bool gave_up(const struct machine *kvm, const struct machine *soft)
{
	struct engine_verdict verdict = {0};

	if (kvm->r.exit != RUN_SHUTDOWN || soft->r.exit == RUN_SHUTDOWN || mode_of(&soft->s) != 2)
		return false;
	kvm_engine.probe(&verdict);
	return verdict.level == ENGINE_SLOW;
}

/* kvm's step may run on behind such a HLT if a signal interrupts it. */
static bool halted_for_good(const struct machine *soft)
{
	return soft->r.exit == RUN_HALTED && !(soft->s.rflags & X86_IF);
}

static int compare(struct machine *kvm, struct machine *soft, struct count *n)
{
	struct x86_state before, first;
	uint64_t now = 0;

	while (!ended(kvm) && !ended(soft) && n->steps < MAX_STEPS && n->idle < MAX_IDLE &&
		pass_time(kvm, soft, &now)) {
		before = soft->s;
		step(kvm);
		finish_repeat(kvm, &before);
		step(soft);
		take_undefined(kvm, soft, undefined_flags(soft, &before));
		first = soft->s;
		n->steps++;
		n->idle = soft->s.rip == before.rip ? n->idle + 1 : 0;
		n->mode[mode_of(&soft->s)]++;
		if ((ended(kvm) && ended(soft)) || halted_for_good(soft))
			break;
		if (gave_up(kvm, soft))
			return SKIP;
		if (!follow(kvm, soft, n)) {
			soft->s = first;
			report(kvm, soft, &before, n->steps);
			return GUEST_ERROR;
		}
	}
	return kvm->vm->end == soft->vm->end ? 0 : GUEST_ERROR;
}

static size_t read_image(const char *path, uint8_t *to, size_t size)
{
	FILE *f = fopen(path, "rb");
	size_t len = f ? fread(to, 1, size, f) : 0;

	if (f)
		fclose(f);
	return len;
}

int main(int argc, char **argv)
{
	static uint8_t data[1 * MiB];
	struct board_image image = {.data = data};
	struct engine_verdict verdict = {0};
	struct machine kvm = {0}, soft = {0};
	struct count n = {0};
	int status;

	if (argc != 4)
		return 2;
	image.name = argv[1];
	image.addr = strtoull(argv[2], NULL, 16);
	image.len = read_image(argv[1], data, sizeof(data));
	kvm_engine.probe(&verdict);
	if (verdict.level == ENGINE_UNUSABLE) {
		printf("skipped: no kvm: %s\n", verdict.why);
		return SKIP;
	}
	status = machine_new(&kvm, &kvm_engine, strtoull(argv[3], NULL, 10) * KiB, &image);
	if (!status)
		status = machine_new(
			&soft, &interpret_engine, strtoull(argv[3], NULL, 10) * KiB, &image);
	if (!status)
		status = compare(&kvm, &soft, &n);
	printf("%" PRIu64 " steps of kvm: %" PRIu64 " real, %" PRIu64 " protected, %" PRIu64
	       " paged, %" PRIu64 " long; interpret followed %" PRIu64 " more; ends %d and %d\n",
		n.steps, n.mode[0], n.mode[1], n.mode[2], n.mode[3], n.followed,
		kvm.vm ? (int)kvm.vm->end : -1, soft.vm ? (int)soft.vm->end : -1);
	if (status == SKIP)
		printf("skipped: a /dev/kvm that is backed by software cannot do 32-bit paging\n");
	else if (kvm.r.exit == RUN_FATAL || kvm.r.exit == RUN_SHUTDOWN)
		printf("kvm: %s\n", kvm.r.why);
	machine_free(&kvm);
	machine_free(&soft);
	return status;
}
