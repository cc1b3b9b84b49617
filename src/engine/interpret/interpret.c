/*
 * interpret.c - engine interpret: the run loop, and the engine's contract.
 *
 * Between two instructions, in this order: a kick, the event that waits to be
 * delivered, NMI, an external interrupt (SDM vol. 3A table 6-2). Instructions
 * are dispatched by a table of bodies; one without a body is #UD.
 */
#include "engine/interpret/interpret.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "engine/interpret/door.h"
#include "engine/interpret/fast.h"
#include "engine/interpret/fpu.h"
#include "engine/interpret/hostexec.h"
#include "x86/cpuid.h"

static insn_body *const body[X86_OP_COUNT] = {
#define X86_MNEMONIC(name) [X86_OP_##name] = op_##name,
#include "x86/mnemonic.def"
};

static struct cpu *cpu_of(struct vcpu *v)
{
	return v->priv;
}

/* ---- one instruction ---- */

static void undefined(struct cpu *c, const struct x86_insn *i)
{
	raise_fault(c, X86_UD);
}

/* Does the machine's CPU model have it? VMCALL is there for hypercalls. */
bool is_offered(const struct cpu *c, const struct x86_insn *i)
{
	const struct x86_model *m = &c->v->vm->model;

	if (i->op == X86_OP_UD0 || i->op == X86_OP_UD1 || i->op == X86_OP_UD2)
		return false;
	if (i->op == X86_OP_VMCALL || i->op == X86_OP_VMMCALL)
		return x86_model_has(m, X86_CPU_HYPERVISOR);
	return x86_model_executes(m, x86_insn_table[i->entry].feature);
}

insn_body *body_of(const struct cpu *c, const struct x86_insn *i)
{
	if (is_offered(c, i))
		return body[i->op] ? body[i->op] : host_execute;
	/* F3 before BSF and BSR has no meaning where it does not make them others. */
	if (i->op == X86_OP_TZCNT)
		return op_BSF;
	return i->op == X86_OP_LZCNT ? op_BSR : undefined;
}

/* ---- what follows from the state ---- */

static bool data_breakpoint(uint64_t dr7)
{
	for (unsigned n = 0; n < 4; n++)
		if (dr7 >> (n * 2) & 3 && dr7 >> (16 + n * 4) & 1)
			return true;
	return false;
}

static bool code_breakpoint(uint64_t dr7)
{
	for (unsigned n = 0; n < 4; n++)
		if (dr7 >> (n * 2) & 3 && !(dr7 >> (16 + n * 4) & 3))
			return true;
	return false;
}

static enum x86_mode code_mode(const struct cpu *c)
{
	const struct x86_seg *cs = &c->s.seg[X86_CS];

	if (c->s.efer & X86_EFER_LMA && cs->attr & X86_ATTR_L)
		return X86_MODE_64;
	return cs->attr & X86_ATTR_DB ? X86_MODE_32 : X86_MODE_16;
}

/*
 * Whatever is not an ordinary segment of data is left to linear(); in real mode
 * attributes say nothing, but expand-down counts there too.
 */
static struct window window_of(const struct cpu *c, const struct x86_seg *s)
{
	struct window w = {s->base, (uint64_t)s->limit + 1, (uint64_t)s->limit + 1};
	bool code = s->attr & TYPE_CODE;

	if (s->attr & X86_ATTR_UNUSABLE || (!code && s->attr & TYPE_EXPAND_DOWN))
		w.read = w.write = 0;
	else if (protected_mode(c) && !(s->attr & TYPE_WRITABLE))
		w = (struct window){s->base, code ? 0 : w.read, 0};
	else if (protected_mode(c) && code)
		w.write = 0;
	return w;
}

static bool whole(const struct window *w)
{
	return !w->base && w->read == UINT64_C(1) << 32 && w->write == w->read;
}

static void refresh_windows(struct cpu *c)
{
	const struct x86_seg *s = c->s.seg;
	struct window *w = c->window;

	c->flat = false;
	c->lin_mask = c->mode == X86_MODE_64 ? UINT64_MAX : UINT32_MAX;
	for (unsigned n = X86_ES; n <= X86_GS; n++)
		if (c->mode == X86_MODE_64)
			w[n] = (struct window){n >= X86_FS ? s[n].base : 0, UINT64_MAX, UINT64_MAX};
		else
			w[n] = window_of(c, &s[n]);
	if (c->mode == X86_MODE_32)
		c->flat = whole(&w[X86_DS]) && whole(&w[X86_ES]) && whole(&w[X86_SS]) &&
			  s[X86_SS].attr & X86_ATTR_DB && !s[X86_CS].base &&
			  s[X86_CS].limit == UINT32_MAX;
}

void refresh(struct cpu *c)
{
	const struct x86_state *s = &c->s;

	c->mode = (uint8_t)code_mode(c);
	if (!(s->cr0 & X86_CR0_PE))
		c->cpl = 0;
	else
		c->cpl = s->rflags & X86_VM ? 3 : s->seg[X86_SS].attr >> 5 & 3;
	if (c->cpl == 3)
		c->privilege = X86_USER;
	else
		c->privilege = s->rflags & X86_AC ? X86_SUPERVISOR_AC : X86_SUPERVISOR;
	c->align_check = c->cpl == 3 && s->cr0 & X86_CR0_AM && s->rflags & X86_AC;
	c->watch = data_breakpoint(s->dr[7]) || stops_watch(c);
	c->stop_exec = code_breakpoint(s->dr[7]);
	refresh_windows(c);
	c->key = (c->key & -KEY_GENERATION) | (c->cpl == 3 ? KEY_USER : 0) |
		 (unsigned)protected_mode(c) << 3 | c->flat << 2 | c->mode;
}

/* After these, what follows from the state is computed anew. */
static const bool refreshes[X86_OP_COUNT] = {
	[X86_OP_IRET] = true,
	[X86_OP_RETF] = true,
	[X86_OP_CALLF] = true,
	[X86_OP_JMPF] = true,
	[X86_OP_POPF] = true,
	[X86_OP_MOVCR] = true,
	[X86_OP_MOVDR] = true,
	[X86_OP_LMSW] = true,
	[X86_OP_WRMSR] = true,
	[X86_OP_STAC] = true,
	[X86_OP_CLAC] = true,
	[X86_OP_SYSCALL] = true,
	[X86_OP_SYSRET] = true,
	[X86_OP_SYSENTER] = true,
	[X86_OP_SYSEXIT] = true,
	[X86_OP_SWAPGS] = true,
	[X86_OP_WRFSBASE] = true,
	[X86_OP_WRGSBASE] = true,
	[X86_OP_LDS] = true,
	[X86_OP_LES] = true,
	[X86_OP_LFS] = true,
	[X86_OP_LGS] = true,
	[X86_OP_LSS] = true,
};

bool is_plain(const struct x86_insn *i)
{
	return x86_insn_table[i->entry].class == X86_CLASS_PLAIN && !refreshes[i->op] &&
	       i->opnd[0].kind != X86_OPND_SEG;
}

/* Their handler runs with TF clear, and no trap comes between (SDM vol. 3A 17.3.1.4). */
static const bool steps_over[X86_OP_COUNT] = {
	[X86_OP_INT] = true,
	[X86_OP_INT3] = true,
	[X86_OP_INTO] = true,
	[X86_OP_INT1] = true,
};

/* These load TF so that it counts for themselves: a kernel is entered without a trap. */
static bool traps(const struct cpu *c, const struct x86_insn *i, bool tf_before)
{
	if (i->op == X86_OP_SYSCALL || i->op == X86_OP_SYSRET)
		return c->s.rflags & X86_TF;
	return tf_before && !steps_over[i->op];
}

static void end_shadow(struct cpu *c)
{
	if (!c->keep_shadow) {
		c->s.events.shadow_sti = false;
		c->s.events.shadow_mov_ss = false;
	}
}

#define DR6_BS      UINT64_C(0x4000)
#define DR6_MATCHES UINT64_C(0xf) /* set or cleared by every #DB; all else is only set */

/* Single-step and data breakpoints trap behind the instruction, except behind MOV SS. */
static void debug_trap(struct cpu *c, uint64_t causes)
{
	if (c->keep_shadow && c->s.events.shadow_mov_ss) {
		c->s.events.db_held = causes & DR6_MATCHES;
		return;
	}
	c->halt = false; /* the trap wakes from HLT at once */
	c->s.dr[6] = (c->s.dr[6] & ~DR6_MATCHES) | causes;
	c->fault = (struct fault){.vector = X86_DB};
	deliver_fault(c);
}

/* Instruction breakpoints fault before the instruction, unless RF is set. */
static void check_code_breakpoint(struct cpu *c)
{
	uint64_t base = c->mode == X86_MODE_64 ? 0 : c->s.seg[X86_CS].base, hits = 0;

	if (flag(c, X86_RF) || c->s.events.shadow_mov_ss)
		return;
	for (unsigned n = 0; n < 4; n++)
		if (c->s.dr[7] >> (n * 2) & 3 && !(c->s.dr[7] >> (16 + n * 4) & 3) &&
			c->s.dr[n] == base + c->s.rip)
			hits |= UINT64_C(1) << n;
	if (!hits)
		return;
	c->s.dr[6] = (c->s.dr[6] & ~DR6_MATCHES) | hits;
	raise_fault(c, X86_DB);
}

/* One instruction with everything that may come before and behind it. */
void execute(struct cpu *c, const struct x86_insn *i, insn_body *fn)
{
	bool tf = flag(c, X86_TF);
	uint64_t causes;

	c->next_rip = c->s.rip + i->len;
	if (i->mode != X86_MODE_64)
		c->next_rip = (uint32_t)c->next_rip;
	c->keep_shadow = false;
	c->dr6_hits = 0;
	fn(c, i);
	c->s.rip = c->next_rip;
	if (i->op != X86_OP_IRET)
		c->s.rflags &= ~(uint64_t)X86_RF;
	end_shadow(c);
	causes = c->dr6_hits | c->s.events.db_held | (traps(c, i, tf) ? DR6_BS : 0);
	c->s.events.db_held = 0;
	if (refreshes[i->op] || i->opnd[0].kind == X86_OPND_SEG)
		refresh(c);
	if (causes)
		debug_trap(c, causes);
}

/* ---- events ---- */

static void deliver_event(struct cpu *c)
{
	struct x86_events *e = &c->s.events;
	bool soft = e->type == X86_EVENT_SOFT_INTR || e->type == X86_EVENT_SOFT_EXCEPTION;
	struct x86_events now = *e;

	e->type = X86_EVENT_NONE;
	c->delivering = true;
	c->delivered_vector = now.type == X86_EVENT_EXCEPTION ? now.vector : 0xff;
	deliver(c, now.vector, soft, now.has_error, now.error,
		c->s.rip + (soft ? now.insn_len : 0));
	c->delivering = false;
}

static void deliver_interrupt(struct cpu *c, uint8_t vector)
{
	c->delivering = true;
	c->delivered_vector = 0xff; /* external interrupts are benign */
	deliver(c, vector, false, false, 0, c->s.rip);
	c->delivering = false;
}

/* What another engine left pending between two instructions. */
static void deliver_pending(struct cpu *c)
{
	struct x86_events now = c->s.events;

	c->s.events.exc_pending = false;
	c->s.events.db_pending = false;
	if (!now.exc_pending) {
		debug_trap(c, c->s.dr[6] & (UINT64_C(1) << 15) ? 0 : DR6_BS);
		return;
	}
	if (now.exc_has_payload && now.exc_vector == X86_PFV)
		c->s.cr2 = now.exc_payload;
	else if (now.exc_has_payload && now.exc_vector == X86_DB)
		c->s.dr[6] |= now.exc_payload;
	c->fault = (struct fault){now.exc_vector, now.exc_has_error, now.exc_error};
	deliver_fault(c);
}

static bool in_shadow(const struct cpu *c)
{
	return c->s.events.shadow_sti || c->s.events.shadow_mov_ss;
}

/* Delivers one of what waits; the next instruction is then the handler's. */
static void take_events(struct cpu *c)
{
	struct x86_events *e = &c->s.events;

	if (e->type != X86_EVENT_NONE) {
		deliver_event(c);
	} else if (e->exc_pending || e->db_pending) {
		deliver_pending(c);
	} else if (!e->nmi_masked && !in_shadow(c) && (e->nmi_pending || vcpu_nmi_take(c->v))) {
		e->nmi_pending = false;
		e->nmi_masked = true;
		deliver_interrupt(c, X86_NMI);
	} else if (flag(c, X86_IF) && !in_shadow(c) && vcpu_intr_pending(c->v)) {
		deliver_interrupt(c, vcpu_intr_ack(c->v));
	}
}

/* ---- the loop ---- */

static void finish(struct cpu *c, struct run_result *r, int why)
{
	if (why == JUMP_FATAL) {
		r->exit = RUN_FATAL;
	} else if (why == JUMP_FREEZE) {
		r->exit = RUN_HALTED;
		vcpu_count(c->v, EXIT_HLT, 0);
	} else {
		r->exit = RUN_SHUTDOWN;
		vcpu_count(c->v, EXIT_SHUTDOWN, 0);
	}
	c->delivering = false;
	c->chain[0] = '\0';
}

/* Interrupts, NMI or a kick may wait: a cheap look that may be wrong in one way. */
static bool may_have_events(const struct cpu *c)
{
	const struct x86_events *e = &c->s.events;

	return e->type != X86_EVENT_NONE || e->exc_pending || e->db_pending || e->nmi_pending ||
	       (flag(c, X86_IF) && vcpu_intr_pending(c->v)) ||
	       atomic_load_explicit(&c->v->nmi_line, memory_order_relaxed);
}

static bool halted(struct cpu *c, struct run_result *r)
{
	if (!c->halt)
		return false;
	c->halt = false;
	r->exit = RUN_HALTED;
	vcpu_count(c->v, EXIT_HLT, 0);
	return true;
}

/* An instruction that faults counts, since its handler is entered. */
static void run_one(struct cpu *c, struct run_result *r)
{
	const struct x86_insn *i;

	r->executed++;
	if (c->stop_exec)
		check_code_breakpoint(c);
	i = fetch(c);
	execute(c, i, body_of(c, i));
}

void interpret_one(struct cpu *c, struct run_result *r)
{
	run_one(c, r);
}

/* Nothing is asked for that a block would run past. */
static bool undisturbed(const struct cpu *c)
{
	return !(c->s.rflags & (X86_TF | X86_RF)) && !c->stop_exec && !c->watch &&
	       !c->align_check && !in_shadow(c);
}

/* Code that another vCPU or a device wrote makes all ways doubtful. */
static void look_for_writes(struct cpu *c)
{
	uint64_t stale = atomic_load_explicit(&c->e->stale_count, memory_order_acquire);

	if (likely(stale == c->stale_seen))
		return;
	c->stale_seen = stale;
	next_generation(c);
}

/* The block at CS:rIP, where a way led before; NULL: it is to be found. */
static const struct block *follow(const struct cpu *c, const struct way *w)
{
	if (w->lin != code_address(c) || w->key != c->key)
		return NULL;
	if (c->mode != X86_MODE_64 && c->s.rip + w->block->bytes - 1 > code_limit(c))
		return NULL;
	return w->block;
}

static struct way *way_from(struct cpu *c)
{
	uint64_t lin = code_address(c);

	return c->link ? c->link : &c->way[(lin ^ lin >> 12) % WAY_COUNT];
}

/* What comes after a block, by its way or by search. */
static const struct block *next_block(struct cpu *c, uint32_t f)
{
	struct way *w = way_from(c);
	const struct block *b = follow(c, w);
	uint64_t key = c->key;

	if (likely(b != NULL))
		return b;
	put_flags(c, f); /* the search may fault */
	b = find_block(c);
	if (b && c->key == key) /* or w may be no more */
		*w = (struct way){code_address(c), key, b};
	return b;
}

/*
 * Runs blocks until one cannot be had, the budget would not last for it,
 * something is asked for or a block was left early.
 */
static void run_blocks(struct cpu *c, const struct block *b, uint64_t budget, struct run_result *r)
{
	bool takes_intr = flag(c, X86_IF);
	uint32_t f = get_flags(c);

	c->look = false;
	do {
		const struct op *op = first_op(b);

		c->block_rip = c->s.rip;
		c->block_start = r->executed;
		c->link = NULL;
		f = op->fn(c, op, f, c->privilege);
		if (c->look)
			break;
		r->executed = c->block_start + b->count;
		if (vcpu_attention(c->v, takes_intr) || c->one_block || r->executed >= budget)
			break;
		look_for_writes(c);
		b = next_block(c, f);
	} while (b && b->count <= budget - r->executed);
	put_flags(c, f);
}

/* A stop of the debugger's, before the instruction or behind an access. */
static bool debug_stop(struct run_result *r, uint64_t addr)
{
	r->exit = RUN_DEBUG;
	r->debug_addr = addr;
	return false;
}

bool is_quiet(const struct cpu *c)
{
	return !may_have_events(c) && !vcpu_attention(c->v, flag(c, X86_IF)) && undisturbed(c);
}

/* false: run is over. */
static bool advance(struct cpu *c, uint64_t budget, struct run_result *r)
{
	const struct block *b = NULL;

	if (may_have_events(c))
		take_events(c);
	if (c->stops && !c->stepping && stops_here(c, code_address(c)))
		return debug_stop(r, code_address(c));
	look_for_writes(c);
	if (c->hooks && undisturbed(c) && c->hooks->advance(c, budget, r))
		return true;
	if (undisturbed(c))
		b = budget - r->executed > 1 ? find_block(c) : single_block(c);
	if (b && b->count > budget - r->executed)
		b = single_block(c);
	if (b)
		run_blocks(c, b, budget, r);
	else
		run_one(c, r);
	if (c->stop_met && !c->stepping) {
		c->stop_met = false;
		return debug_stop(r, c->stop_addr);
	}
	return !halted(c, r);
}

void cpu_run(struct cpu *c, uint64_t budget, struct run_result *r, bool kicks)
{
	int why;

	c->result = r;
	c->stepping = !kicks;
	c->stop_met = false;
	if (c->clock_changed)
		tell_clock(c);
	why = setjmp(c->leave);
	if (c->undo_ss) {
		c->s.seg[X86_SS] = c->old_ss;
		c->undo_ss = false;
	}
	if (why)
		refresh(c);
	if (why == JUMP_FAULT || why == JUMP_FREEZE) {
		c->keep_shadow = c->stop_met = false; /* the access did not happen */
		end_shadow(c);
	}
	if (why == JUMP_FAULT) {
		r->executed++; /* else handlers that fault at once would go on beyond any budget */
		deliver_fault(c);
	} else if (why && why != JUMP_RETRY) {
		finish(c, r, why);
		return;
	}
	while (r->executed < budget) {
		if (kicks && vcpu_kicked(c->v)) {
			r->exit = RUN_KICKED;
			return;
		}
		if (!advance(c, budget, r))
			return;
	}
	r->exit = RUN_BUDGET;
}

static void interpret_run(struct vcpu *v, uint64_t budget, struct run_result *r)
{
	struct cpu *c = cpu_of(v);

	cpu_run(c, budget, r, true);
	atomic_fetch_add_explicit(&v->executed, r->executed, memory_order_relaxed);
}

static void interpret_step(struct vcpu *v, struct run_result *r)
{
	struct cpu *c = cpu_of(v);

	cpu_run(c, 1, r, false);
	atomic_fetch_add_explicit(&v->executed, r->executed, memory_order_relaxed);
}

static void interpret_kick(struct vcpu *v)
{
	/* the loop looks at vcpu_kicked before every instruction */
}

/* ---- state ---- */

static void copy_groups(struct x86_state *to, const struct x86_state *from, unsigned mask)
{
	if (mask & X86_GROUP_GPR) {
		memcpy(to->gpr, from->gpr, sizeof(to->gpr));
		to->rip = from->rip;
		to->rflags = from->rflags;
	}
	if (mask & X86_GROUP_SEG) {
		memcpy(to->seg, from->seg, sizeof(to->seg));
		to->gdtr = from->gdtr;
		to->idtr = from->idtr;
	}
	if (mask & X86_GROUP_CR) {
		to->cr0 = from->cr0;
		to->cr2 = from->cr2;
		to->cr3 = from->cr3;
		to->cr4 = from->cr4;
		to->cr8 = from->cr8;
		to->efer = from->efer;
		to->xcr0 = from->xcr0;
		memcpy(to->pdpte, from->pdpte, sizeof(to->pdpte));
	}
	if (mask & X86_GROUP_DR)
		memcpy(to->dr, from->dr, sizeof(to->dr));
	if (mask & X86_GROUP_FPU)
		memcpy(to->xsave, from->xsave, sizeof(to->xsave));
	if (mask & X86_GROUP_MSR)
		memcpy(to->msr, from->msr, sizeof(to->msr));
	if (mask & X86_GROUP_EVENTS)
		to->events = from->events;
}

/* Inside, the TSC is kept as an offset to the machine's. */
static int interpret_get(struct vcpu *v, struct x86_state *s, unsigned mask)
{
	struct cpu *c = cpu_of(v);

	copy_groups(s, &c->s, mask);
	if (mask & X86_GROUP_TSC)
		s->tsc = vcpu_tsc(v) + c->s.tsc;
	return 0;
}

static int interpret_put(struct vcpu *v, const struct x86_state *s, unsigned mask)
{
	struct cpu *c = cpu_of(v);

	copy_groups(&c->s, s, mask);
	if (mask & X86_GROUP_TSC)
		c->s.tsc = s->tsc - vcpu_tsc(v);
	if (mask & (X86_GROUP_TSC | X86_GROUP_MSR))
		c->clock_changed = true;
	tlb_flush(c, true);
	refresh(c);
	return 0;
}

/* ---- the engine ---- */

static int interpret_open(struct vm *vm, struct engine **out, char *err, size_t errlen)
{
	struct interpret_engine *e;
	struct host_stubs *trial;
	int status = host_stubs_new(&trial);

	if (status) {
		snprintf(err, errlen,
			"memory cannot be made executable here (%s); let the sandbox allow "
			"memfd_create, and mmap of it with PROT_EXEC",
			strerror(-status));
		return status;
	}
	host_stubs_free(trial);
	e = xcalloc(1, sizeof(*e));
	e->engine = (struct engine){&interpret_engine, vm};
	*out = &e->engine;
	return 0;
}

static void free_code(struct interpret_engine *e)
{
	if (e->code)
		munmap(e->code, e->code_pages * sizeof(*e->code));
	e->code = NULL;
	e->code_pages = 0;
}

static void interpret_close(struct engine *engine)
{
	struct interpret_engine *e = container_of(engine, struct interpret_engine, engine);

	free_code(e);
	free(e->slot);
	free(e);
}

/* Nothing found before is true any more. */
static void forget_all(struct cpu *c)
{
	tlb_flush(c, true);
	forget_blocks(c);
}

/* Bits of CR4 that came with a feature are reserved without it (SDM vol. 3A 2.5). */
static uint64_t cr4_withheld(const struct x86_model *m)
{
	static const struct {
		uint32_t bits;
		uint8_t needs; /* enum x86_cpu_feature */
	} rule[] = {{X86_CR4_VME | X86_CR4_PVI, X86_CPU_VME}, {X86_CR4_TSD, X86_CPU_TSC},
		{X86_CR4_DE, X86_CPU_DE}, {X86_CR4_PSE, X86_CPU_PSE}, {X86_CR4_PAE, X86_CPU_PAE},
		{X86_CR4_MCE, X86_CPU_MCE}, {X86_CR4_PGE, X86_CPU_PGE},
		{X86_CR4_PCE, X86_CPU_CMOV}, /* performance counters came with the Pentium Pro */
		{X86_CR4_OSFXSR, X86_CPU_FXSR}, {X86_CR4_OSXMMEXCPT, X86_CPU_SSE},
		{X86_CR4_UMIP, X86_CPU_UMIP}, {X86_CR4_FSGSBASE, X86_CPU_FSGSBASE},
		{X86_CR4_PCIDE, X86_CPU_PCID}, {X86_CR4_OSXSAVE, X86_CPU_XSAVE},
		{X86_CR4_SMEP, X86_CPU_SMEP}, {X86_CR4_SMAP, X86_CPU_SMAP}};
	uint64_t withheld = 0;

	for (unsigned n = 0; n < ARRAY_SIZE(rule); n++)
		if (!x86_model_has(m, rule[n].needs))
			withheld |= rule[n].bits;
	return withheld;
}

int cpu_open(struct cpu *c, struct vcpu *v, struct interpret_engine *e)
{
	const bool native = v->vm->engine && v->vm->engine->ops->caps & ENGINE_CAP_NATIVE;

	c->v = v;
	c->e = e;
	c->shared = !native && v->vm->vcpus > 1 && v->vm->clock.driver == CLOCK_HOST;
	/* As the emulator of another engine it meets what the host's CPU allowed. */
	c->phys_bits = native ? 52 : x86_model_phys_bits(&v->vm->model);
	c->cr4_withheld = native ? 0 : cr4_withheld(&v->vm->model);
	tlb_reset(c);
	forget_blocks(c);
	return host_stubs_new(&c->stubs);
}

void cpu_close(struct cpu *c)
{
	host_stubs_free(c->stubs);
}

int cpu_new(struct vcpu *v, struct interpret_engine *e, struct cpu **out)
{
	/* Most of it is caches that fill as they are used: pages that come when they do. */
	struct cpu *c =
		mmap(NULL, sizeof(*c), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int err;

	if (c == MAP_FAILED)
		return -ENOMEM;
	err = cpu_open(c, v, e);
	if (err)
		munmap(c, sizeof(*c));
	else
		*out = c;
	return err;
}

void cpu_free(struct cpu *c)
{
	cpu_close(c);
	munmap(c, sizeof(*c));
}

static int interpret_vcpu_open(struct vcpu *v)
{
	struct interpret_engine *e = container_of(v->vm->engine, struct interpret_engine, engine);
	struct cpu *c = NULL;
	int err = cpu_new(v, e, &c);

	v->priv = c;
	return err;
}

static void interpret_vcpu_close(struct vcpu *v)
{
	cpu_free(cpu_of(v));
	v->priv = NULL;
}

static void interpret_ram_changed(struct engine *e, gpa_t gpa, uint64_t len)
{
	atomic_thread_fence(memory_order_seq_cst); /* as in look_behind() */
	written(container_of(e, struct interpret_engine, engine), gpa, len);
}

/* ---- the memory map ---- */

static bool same_memory(const struct engine_slot *a, const struct engine_slot *b)
{
	return a->readonly == b->readonly &&
	       (uintptr_t)a->host - a->base == (uintptr_t)b->host - b->base;
}

/* How much from `at` on, at most up to `end`, is or is not the same in the map. */
static uint64_t same_until(const struct engine_slot *old, uint64_t at, uint64_t end,
	const struct engine_slot *slot, unsigned count, bool *same)
{
	*same = false;
	for (unsigned n = 0; n < count; n++) {
		if (at - slot[n].base < slot[n].size) {
			*same = same_memory(old, &slot[n]);
			return MIN(end, slot[n].base + slot[n].size);
		}
		if (slot[n].base > at)
			end = MIN(end, slot[n].base);
	}
	return end;
}

/* Code in memory that is not where it was is stale. */
static void forget_moved(struct interpret_engine *e, const struct engine_slot *slot, unsigned count)
{
	bool same;

	for (unsigned n = 0; n < e->slots; n++) {
		const struct engine_slot *old = &e->slot[n];
		uint64_t end = old->base + old->size, next;

		for (uint64_t at = old->base; at < end; at = next) {
			next = same_until(old, at, end, slot, count, &same);
			if (!same)
				written(e, at, next - at);
		}
	}
}

static int keep_map(struct interpret_engine *e, const struct engine_slot *slot, unsigned count)
{
	struct engine_slot *copy = realloc(e->slot, MAX(count, 1u) * sizeof(*copy));

	if (!copy)
		return -ENOMEM;
	memcpy(copy, slot, count * sizeof(*copy));
	e->slot = copy;
	e->slots = count;
	return 0;
}

/* A table of code pages that reaches to `end`; what was decoded before is forgotten. */
static int new_code_table(struct interpret_engine *e, uint64_t end)
{
	struct vm *vm = e->engine.vm;
	void *table = mmap(NULL, end * sizeof(*e->code), PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (table == MAP_FAILED)
		return -errno;
	free_code(e);
	e->code = table;
	e->code_pages = end;
	for (unsigned n = 0; n < vm->vcpus; n++)
		if (vm->vcpu[n]->priv)
			forget_all(cpu_of(vm->vcpu[n]));
	return 0;
}

/*
 * The world stands still: nobody is inside. The table of code pages is anonymous
 * memory of which only what is used becomes real. Where memory stays, so does
 * what was decoded from it; TLBs know no other pages than those of this map.
 */
static int interpret_set_map(struct engine *engine, const struct engine_slot *slot, unsigned count)
{
	struct interpret_engine *e = container_of(engine, struct interpret_engine, engine);
	struct vm *vm = engine->vm;
	uint64_t end = 0;
	bool same = count == e->slots;

	e->maps++;
	for (unsigned n = 0; n < count; n++) {
		end = MAX(end, (slot[n].base + slot[n].size + PAGE_SIZE - 1) / PAGE_SIZE);
		same = same && slot[n].base == e->slot[n].base && slot[n].size == e->slot[n].size &&
		       same_memory(&slot[n], &e->slot[n]);
	}
	if (same)
		return 0;
	forget_moved(e, slot, count);
	for (unsigned n = 0; n < vm->vcpus; n++)
		if (vm->vcpu[n]->priv)
			tlb_flush(cpu_of(vm->vcpu[n]), true);
	if (end > e->code_pages) {
		int err = new_code_table(e, end);

		if (err)
			return err;
	}
	return keep_map(e, slot, count);
}

const struct engine_ops interpret_engine = {
	.name = "interpret",
	.what = "our own software CPU, one instruction at a time",
	.caps = ENGINE_CAP_COUNTS | ENGINE_CAP_A20 | ENGINE_CAP_EXACT_CPU,
	.probe = interpret_probe,
	.open = interpret_open,
	.close = interpret_close,
	.set_map = interpret_set_map,
	.vcpu_open = interpret_vcpu_open,
	.vcpu_close = interpret_vcpu_close,
	.run = interpret_run,
	.step = interpret_step,
	.kick = interpret_kick,
	.get = interpret_get,
	.put = interpret_put,
	.set_stops = interpret_set_stops,
	.ram_changed = interpret_ram_changed,
};
