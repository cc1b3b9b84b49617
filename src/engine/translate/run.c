/*
 * run.c - from interpret's loop into translated code and back, and the signal
 * by which translated code is told to come back.
 *
 * A block begins with a store to where tcpu.poll points; its constant is where
 * the block is left. Who wants the vCPU clears the pointer: the store faults,
 * and the handler sends it there. The handler knows the vCPU by the thread's
 * alternate signal stack, which begins with a struct signal_stack.
 */
#include "engine/translate/internal.h"

#include <errno.h>
#include <signal.h>
#include <ucontext.h>

/* ---- the signal ---- */

static const uint8_t poll_code[] = {0xc7, 0x45, 0x00}; /* mov dword [rbp], imm32 */

static struct tcpu *vcpu_of_thread(const ucontext_t *uc)
{
	const struct signal_stack *s = uc->uc_stack.ss_sp;

	if (uc->uc_stack.ss_flags & SS_DISABLE || uc->uc_stack.ss_size != sizeof(*s))
		return NULL;
	return s->magic == SIGNAL_MAGIC ? s->t : NULL;
}

/* The constant that belongs to the instruction: of a poll its own, else behind it. */
static const uint8_t *constant_of(const uint8_t *at)
{
	struct x86_insn i;

	if (!memcmp(at, poll_code, sizeof(poll_code)))
		return at + sizeof(poll_code);
	if (x86_decode(at, X86_INSN_MAX, X86_MODE_64, &i) != X86_DECODE_OK ||
		memcmp(at + i.len, fault_code, sizeof(fault_code)))
		return NULL;
	return at + i.len + sizeof(fault_code);
}

/*
 * An entry without a page takes one address for its own, which is not canonical. On to the
 * slow path as if it had missed: it is the last access that looked.
 */
static bool took_no_page(const struct tcpu *t, uint64_t at, ucontext_t *uc)
{
	uint32_t last = NONE, n = t->block[t->oldest % BLOCKS].access;

	for (; t->oldest != t->blocks && n != t->accesses; n++) {
		uint32_t back = t->access[n % ACCESSES].back;

		if (back <= at && (last == NONE || back > t->access[last].back))
			last = n % ACCESSES;
	}
	if (at >= t->code.size || last == NONE || t->site[last].page != NO_SITE)
		return false;
	uc->uc_mcontext.gregs[REG_RBP] = (greg_t)NO_SITE;
	uc->uc_mcontext.gregs[REG_R11] = last;
	uc->uc_mcontext.gregs[REG_RSP] -= 8; /* the stub takes a return address */
	uc->uc_mcontext.gregs[REG_RIP] = (greg_t)(uintptr_t)(t->exec + t->stubs[t->live].slow);
	return true;
}

static void on_fault(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	struct tcpu *t = vcpu_of_thread(uc);
	uint64_t at = (uint64_t)uc->uc_mcontext.gregs[REG_RIP];
	const uint8_t *constant = NULL;
	uint32_t to;

	if (t && at - (uint64_t)(uintptr_t)t->exec < t->code.size)
		constant = constant_of((const uint8_t *)(uintptr_t)at);
	if (constant) {
		memcpy(&to, constant, 4);
		uc->uc_mcontext.gregs[REG_RIP] = (greg_t)(uintptr_t)(t->exec + to);
		return;
	}
	if (t && sig != SIGFPE && took_no_page(t, at - (uint64_t)(uintptr_t)t->exec, uc))
		return;
	sigaddset(
		&uc->uc_sigmask, sig); /* not ours: it comes again, and blocked ends the process */
}

int catch_faults(void)
{
	struct sigaction sa = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};

	/* SIGBUS: an address by RBP that is not canonical. */
	if (sigaction(SIGSEGV, &sa, NULL) || sigaction(SIGFPE, &sa, NULL) ||
		sigaction(SIGBUS, &sa, NULL))
		return -errno;
	return 0;
}

/* For each run: vCPUs may take turns on one thread, which may end behind it. */
void use_signal_stack(struct tcpu *t)
{
	const stack_t ss = {.ss_sp = &t->signal_stack, .ss_size = sizeof(t->signal_stack)};

	t->signal_stack.magic = SIGNAL_MAGIC;
	t->signal_stack.t = t;
	sigaltstack(&ss, NULL);
}

void leave_signal_stack(void)
{
	const stack_t off = {.ss_flags = SS_DISABLE};

	sigaltstack(&off, NULL);
}

/* ---- what code is translated for ---- */

static bool flat_data(const struct x86_seg *s)
{
	return !(s->attr & (X86_ATTR_UNUSABLE | TYPE_CODE | TYPE_CONFORMING)) &&
	       s->attr & X86_ATTR_S && s->attr & TYPE_WRITABLE && s->limit == UINT32_MAX;
}

static uint8_t flat_segments(const struct cpu *c)
{
	uint8_t flat = 0;

	for (unsigned n = X86_ES; n <= X86_GS; n++) {
		const struct x86_seg *s = &c->s.seg[n];
		bool good = n == X86_CS ? s->limit == UINT32_MAX : flat_data(s);

		if (n == X86_SS)
			good = good && s->attr & X86_ATTR_DB;
		if (n < X86_FS)
			good = good && !s->base;
		flat |= (uint8_t)(good << n);
	}
	return flat;
}

uint8_t key_number(struct tcpu *t, const struct key *key)
{
	for (unsigned n = 0; n < t->keys; n++)
		if (!memcmp(&t->key[n], key, sizeof(*key)))
			return (uint8_t)n;
	if (t->keys == KEYS)
		return NO_KEY;
	t->key[t->keys] = *key;
	return (uint8_t)t->keys++;
}

/* The link that waits leads to a block without groups. */
static bool without_groups(const struct tcpu *t)
{
	const struct link *l;

	if (t->pending == NONE)
		return false;
	l = &t->link[t->pending];
	return t->pending_rip == t->c.s.rip && t->key[l->key].units & UNITS_SINGLE;
}

/* What of the units stays in the host's, or is to be there again: users' vector registers. */
static enum live still_live(const struct tcpu *t, uint8_t units)
{
	enum live live = t->live_for == t->c.privilege ? t->live : LIVE_NONE;

	if (t->c.privilege == X86_USER && t->users_live && units & UNITS_SSE)
		live = MAX(live, LIVE_VECTORS);
	if (!units)
		return LIVE_NONE;
	return units & UNITS_X87 ? live : MIN(live, LIVE_VECTORS);
}

/* false: this is not translated. */
static bool find_key(struct tcpu *t)
{
	const struct cpu *c = &t->c;
	struct key key = {c->mode, c->privilege, 0xff, usable_units(t)};

	if (c->mode == X86_MODE_16 || c->align_check || c->cpl == 1 || c->cpl == 2)
		return false;
	if (c->mode != X86_MODE_64)
		key.flat = flat_segments(c);
	if (!(key.flat >> X86_CS & 1) || !protected_mode(c))
		return false;
	t->live = still_live(t, key.units);
	if (t->live) {
		t->live_for = c->privilege;
		key.units |= UNITS_LIVE;
	}
	if (t->live == LIVE_X87)
		key.units |= UNITS_LIVE_X87;
	if (without_groups(t))
		key.units |= UNITS_SINGLE;
	if (c->mode == X86_MODE_64 && c->privilege == X86_USER && c->s.rip < SHARED_END)
		key.units |= UNITS_SHARED;
	t->key_now = key_number(t, &key);
	if (t->key_now == NO_KEY) {
		cache_flush(t);
		t->keys = 0;
		memset(t->gate, 0, sizeof(t->gate));
		t->key_now = key_number(t, &key);
	}
	note_gate(t, &key);
	return true;
}

/* ---- blocks ---- */

static struct tblock *translate(struct tcpu *t, const struct tlb_entry *page, uint64_t rip)
{
	uint32_t version = atomic_load_explicit(&page->code->version, memory_order_acquire), from;
	struct tblock *b;
	struct scan s;

	spend(t, SPENT_TRANSLATING);
	cache_reserve(t);
	scan(t, &t->key[t->key_now], page, rip, &s);
	b = cache_add(t, page->gpa + (rip & 4095), rip, t->key_now, version);
	b->len = (uint16_t)(s.end - s.rip);
	from = t->code.at;
	if (s.count && s.across.present)
		cache_add_tail(t, b, &s.across);
	if (s.count)
		emit_block(t, &s, b);
	else
		b->wants = s.wants;
	t->stats.blocks++;
	t->stats.insns += s.count;
	t->stats.bytes += s.end - s.rip;
	t->stats.expanded += t->code.at - from;
	spend(t, SPENT_REST);
	return b;
}

static struct tblock *find(struct tcpu *t);

/* From here on these registers are in the host's, until the privilege changes. */
static struct tblock *find_live(struct tcpu *t, enum live live)
{
	t->live = (uint8_t)live;
	t->live_for = t->c.privilege;
	t->users_live = t->users_live || t->live_for == X86_USER;
	return find_key(t) ? find(t) : NULL;
}

/* The second page of its instruction is where it was, and unchanged. */
static bool tail_holds(struct tcpu *t, const struct tblock *b)
{
	const struct tlb_entry *e;
	struct tail now;

	return find_tail(t, t->c.s.rip, &now, &e) && now.page == b->tail.page &&
	       now.version == b->tail.version && now.global == b->tail.global;
}

/* The block at rIP, or NULL if interpret must go on; raises the faults of a fetch. */
static struct tblock *find(struct tcpu *t)
{
	struct cpu *c = &t->c;
	uint64_t rip = c->s.rip;
	const struct tlb_entry *e;
	struct tblock *b;
	bool global, shared = t->key[t->key_now].units & UNITS_SHARED;

	if (c->mode == X86_MODE_64 ? !is_canonical(rip) : rip > UINT32_MAX)
		return NULL;
	if (unlikely(c->stops) && stops_in_page(c, rip))
		return NULL;
	e = tlb_find(c, rip, code_privilege(c), X86_FETCH);
	if (!e->code || !e->host)
		return NULL;
	b = cache_find(t, e->gpa + (rip & 4095), rip, t->key_now);
	if (!b || b->version != atomic_load_explicit(&e->code->version, memory_order_acquire) ||
		(b->has_tail && !tail_holds(t, b)))
		b = translate(t, e, rip);
	if (shared)
		settle(t, b->addr >> 12, rip);
	global = !shared && e->global && (!b->has_tail || b->tail.global);
	if (t->pending != NONE && t->pending_rip == rip && b->from_memory)
		link_close(t, t->pending, b, rip, global);
	t->pending = NONE;
	if (b->wants)
		return find_live(t, b->wants);
	if (!b->from_memory)
		return NULL;
	if (!t->check)
		jump_add(t, b, rip, global);
	return b;
}

/* ---- from block to block, called by translated code ---- */

/* Where the table of indirect jumps has it. */
static const uint8_t *known_entry(const struct tcpu *t)
{
	const struct jump_entry *j = &t->jump[t->key_now][t->c.s.rip % JUMP_SIZE];

	return t->pending == NONE && j->rip == t->c.s.rip ? (const uint8_t *)(uintptr_t)j->host
							  : NULL;
}

/* The block at rip, where link or a jump leads, if it and its page are known and nothing is to be
 * done before it. */
static struct tblock *peek(struct tcpu *t, uint64_t rip, uint8_t key, uint32_t link, bool *global)
{
	struct cpu *c = &t->c;
	const struct key *k = &t->key[key];
	bool shared = k->units & UNITS_SHARED;
	const struct tlb_entry *e;
	struct tblock *b;
	gpa_t addr;

	if (c->stops || t->torturing || (shared ? rip >= SHARED_END : !is_canonical(rip)))
		return NULL;
	e = tlb_peek(c, rip, code_privilege(c), X86_FETCH);
	if (!e || !e->code || !e->host)
		return NULL;
	addr = e->gpa + (rip & 4095);
	b = link == NONE ? cache_find_by_jump(t, addr, rip, key)
			 : cache_find_by_link(t, addr, rip, key, link);
	if (!b || !b->from_memory || b->wants || b->has_tail ||
		b->version != atomic_load_explicit(&e->code->version, memory_order_acquire))
		return NULL;
	if (shared)
		settle(t, b->addr >> 12, rip);
	*global = !shared && e->global;
	return b;
}

/* Where it leads; its code does not store that. */
static uint64_t rip_of_link(const struct tcpu *t, const struct link *l)
{
	return l->rip + (t->key[l->key].units & UNITS_SHARED ? t->page_rip : 0);
}

const uint8_t *chase_link(struct tcpu *t, uint32_t link)
{
	const struct link *l = &t->link[link];
	uint64_t rip = rip_of_link(t, l);
	struct tblock *b;
	bool global;

	spend(t, SPENT_REST);
	b = peek(t, rip, l->key, link, &global);
	if (b)
		link_close(t, link, b, rip, global);
	spend(t, SPENT_CODE);
	return b ? t->exec + b->from_memory : NULL;
}

bool chase_jump(struct tcpu *t, uint64_t rip, uint8_t key)
{
	struct tblock *b;
	bool global;

	spend(t, SPENT_REST);
	b = peek(t, rip, key, NONE, &global);
	if (b)
		jump_add(t, b, rip, global);
	spend(t, SPENT_CODE);
	return b;
}

const uint8_t *chase_on(struct tcpu *t)
{
	uint64_t rip = t->c.s.rip;
	struct tblock *b;
	bool global;

	if (t->counting || t->torturing || !is_quiet(&t->c) || !find_key(t))
		return NULL;
	t->page_rip = rip & ~UINT64_C(4095);
	t->pending = NONE;
	if (known_entry(t))
		return known_entry(t);
	b = peek(t, rip, t->key_now, NONE, &global);
	if (b)
		jump_add(t, b, rip, global);
	return b ? t->exec + b->from_memory : NULL;
}

/* ---- the way in ---- */

static bool any_stale(const struct tcpu *t)
{
	return t->stale_seen != atomic_load_explicit(&t->c.e->stale_count, memory_order_acquire);
}

/* Armed before the look: who kicks, or writes to code, after it clears the pointer. */
static bool wanted(struct tcpu *t)
{
	atomic_store(&t->poll, &t->poll_word);
	return vcpu_kicked(t->c.v) || any_stale(t);
}

static void follow_link(struct tcpu *t, uint32_t link)
{
	t->pending = link;
	t->pending_rip = t->c.s.rip = rip_of_link(t, &t->link[link]);
}

static enum leave run_code(struct tcpu *t, const uint8_t *entry)
{
	enum leave why;

	flags_to_memory(t);
	spend(t, SPENT_CODE);
	why = enter(t, entry);
	if (why >= LEAVE_LINK)
		follow_link(t, (uint32_t)why - LEAVE_LINK);
	spend(t, SPENT_REST);
	flags_from_memory(t);
	account(t, 0);
	return why;
}

static bool came_back(enum leave why, bool progress)
{
	return why >= LEAVE_LINK || (why == LEAVE_LOOK && progress);
}

static bool advance(struct tcpu *t, uint64_t budget, struct run_result *r)
{
	struct cpu *c = &t->c;
	uint64_t before = r->executed;
	const uint8_t *entry;
	struct tblock *b = NULL;
	enum leave why;

	c->one_block = false;
	torture_enter(t);
	if (any_stale(t))
		cache_drop_stale(t);
	if (!find_key(t))
		return false;
	c->one_block = true;
	entry = known_entry(t);
	if (!entry) {
		b = find(t);
		if (!b)
			return false;
		entry = t->exec + b->from_memory;
	}
	if (wanted(t))
		return false;
	t->left = t->granted = (int64_t)MIN(budget - r->executed, (uint64_t)INT64_MAX);
	t->stats.enters++;
	why = t->check ? check_block(t, b) : run_code(t, entry);
	return came_back(why, !t->counting || r->executed != before);
}

bool translate_advance(struct cpu *c, uint64_t budget, struct run_result *r)
{
	struct tcpu *t = (struct tcpu *)c;
	bool done;

	if (!t->counting && budget != UINT64_MAX) {
		c->one_block = false;
		return false;
	}
	spend(t, SPENT_REST); /* a fault may have come out of code */
	do
		done = advance(t, budget, r);
	while (done && r->executed < budget && is_quiet(c));
	if (!done && t->with_stats)
		note_left(t);
	return done;
}
