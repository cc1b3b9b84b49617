/*
 * emit.c - a scanned block becomes host code: its entries, its instructions,
 * its exits.
 *
 * Order in the cache: entry with the flags in the host, entry with the flags
 * in memory, the code, then what is rarely executed: exits and slow paths.
 * An instruction has no effect before the last of its accesses has succeeded.
 *
 * Code of users is shared by all who map its page, wherever: addresses near it are taken
 * from tcpu.page_rip, which a jump to another page changes. A direct jump there is a link
 * like others: cache.c sees that a page is in one place while links hold.
 */
#include "engine/translate/internal.h"

/* ---- addresses near the code ---- */

static uint64_t page_of(uint64_t lin)
{
	return lin & ~UINT64_C(4095);
}

static void add_constant(struct code *c, unsigned to, uint64_t v)
{
	if (!fits32(v)) {
		int32_t most = (int64_t)v < 0 ? INT32_MIN : INT32_MAX;

		lea64(c, to, at_reg(to, most));
		v -= (uint64_t)most;
	}
	lea64(c, to, at_reg(to, (int32_t)v));
}

void load_near(struct emitter *e, unsigned to, uint64_t lin)
{
	if (!e->s->shared) {
		mov_imm(e->c, to, lin);
		return;
	}
	load64(e->c, to, in_state(STATE(page_rip)));
	add_constant(e->c, to, lin - page_of(e->s->rip));
}

void store_near(struct emitter *e, struct mem m, uint64_t lin)
{
	if (!e->s->shared) {
		store_imm(e->c, m, lin, T1);
		return;
	}
	load_near(e, T1, lin);
	store64(e->c, m, T1);
}

static bool is_far(const struct emitter *e, uint64_t rip)
{
	return page_of(rip) != page_of(e->s->rip);
}

/* The code at rip, in another page, is what runs next. Flags stay; T1 is lost. */
static void turn_page(struct emitter *e, uint64_t rip)
{
	store_near(e, in_state(STATE(page_rip)), page_of(rip));
}

/* ---- exits ---- */

void count(struct emitter *e, unsigned done)
{
	if (!e->t->tally)
		return;
	load64(e->c, T0, in_state(STATE(left)));
	lea64(e->c, T0, at_reg(T0, -(int32_t)done));
	store64(e->c, in_state(STATE(left)), T0);
}

struct texit *new_exit(struct emitter *e, enum exit_kind kind, uint32_t from, uint64_t rip)
{
	struct texit *x = &e->exit[e->exits++];

	*x = (struct texit){from, rip, (uint8_t)e->flags, (uint8_t)kind, e->key_index};
	if (e->flags == IN_RECIPE)
		x->recipe = e->recipe;
	return x;
}

void exit_odd(struct emitter *e, uint32_t from)
{
	new_exit(e, EXIT_ODD, from, e->n->rip)->before = e->at;
}

void exit_at_fault(struct emitter *e)
{
	put_bytes(e->c, fault_code, sizeof(fault_code));
	new_exit(e, EXIT_FAULT, e->c->at, e->n->rip)->before = e->at;
	put32(e->c, 0);
}

void jump_out_to(struct emitter *e, uint64_t rip, unsigned done, uint8_t key)
{
	count(e, done);
	new_exit(e, key == NO_KEY ? EXIT_LOOK : EXIT_JUMP, jmp_forward(e->c), rip)->key = key;
}

static void jump_out(struct emitter *e, uint64_t rip, unsigned done)
{
	count(e, done);
	if (e->s->shared && is_far(e, rip))
		turn_page(e, rip);
	new_exit(e, EXIT_JUMP, jmp_forward(e->c), rip);
}

/* Loads that miss the poll word fault, and the handler goes to the exit (run.c). */
static void poll(struct emitter *e)
{
	load64(e->c, T0, in_state(STATE(poll)));
	put_rm(e->c, OP(0xc7), 0, at_reg(T0, 0));
	new_exit(e, EXIT_POLL, e->c->at, e->s->rip);
	put32(e->c, 0);
}

/*
 * The return or jump is done, unless its target is not canonical: then it is
 * interpret's. T0 is the target.
 */
static void emit_ret_exit(struct emitter *e, const struct texit *x)
{
	struct code *c = e->c;
	uint32_t odd = 0;

	if (wide(e)) {
		mov_rr(c, T1, T0);
		shift_imm(c, true, 4, T1, 16);
		shift_imm(c, true, 7, T1, 16);
		put_rr(c, OP_W(0x3b), T1, T0);
		odd = jcc_forward(c, CC_NZ);
	}
	store64(c, in_state(STATE(c.s.rip)), T0);
	put_rm(c, (struct opcode){.byte = 0x8d, .w = wide(e)}, G_RSP, at_reg(G_RSP, x->pops));
	count(e, x->before + 1);
	mov_imm(c, T1, LEAVE_LOOK);
	jmp_to(c, e->stubs->leave_memory);
	if (!odd)
		return;
	land(c, odd);
	count(e, x->before);
	store_near(e, in_state(STATE(c.s.rip)), x->rip);
	mov_imm(c, T1, LEAVE_ODD);
	jmp_to(c, e->stubs->leave_memory);
}

/* Where a jump goes while its link is open; the link tells where it leads. */
static void emit_open_link(struct emitter *e, struct texit *x)
{
	struct code *c = e->c;
	bool far = is_far(e, x->rip);

	if (x->turns && far) {
		turn_page(e, x->rip);
		x->from = jmp_forward(c);
		land(c, x->from);
	}
	if (e->t->check) {
		/* page_rip is that of the target by now */
		uint64_t base = e->s->shared ? e->s->rip : x->rip;

		store_near(e, in_state(STATE(c.s.rip)), page_of(base) | (x->rip & 4095));
		mov_imm(c, T1, LEAVE_LOOK);
		jmp_to(c, x->place == IN_HOST ? e->stubs->leave_host : e->stubs->leave_memory);
	} else {
		mov_imm(c, T1, LEAVE_LINK + link_new(e->t, x, far));
		jmp_to(c, x->place == IN_HOST ? e->stubs->link_host : e->stubs->link_memory);
	}
}

static void emit_exit(struct emitter *e, struct texit *x)
{
	struct code *c = e->c;
	bool odd = x->kind == EXIT_ODD || x->kind == EXIT_FAULT;
	bool constant = x->kind == EXIT_POLL || x->kind == EXIT_FAULT;

	if (!constant)
		land(c, x->from);
	else if (x->from + 4 <= c->size)
		memcpy(c->base + x->from, &c->at, 4);
	if (x->kind == EXIT_JUMP) {
		emit_open_link(e, x);
		return;
	}
	if (x->retry && !e->t->check) {
		mov_imm(c, T1, e->key_index);
		call_to(c, e->stubs->seek);
		put_rr(c, OP(0x85), T1, T1);
		jcc_to(c, CC_NZ, x->retry);
	}
	if (x->kind == EXIT_RET) {
		emit_ret_exit(e, x);
		return;
	}
	if (x->recipe) {
		mov_imm(c, T1, x->recipe);
		call_to(c, e->stubs->rebuild);
	}
	if (odd)
		count(e, x->before);
	store_near(e, in_state(STATE(c.s.rip)), x->rip);
	mov_imm(c, T1, odd ? LEAVE_ODD : LEAVE_LOOK);
	jmp_to(c, x->place == IN_HOST ? e->stubs->leave_host : e->stubs->leave_memory);
}

/* ---- the stack ---- */

static unsigned slot_size(const struct emitter *e)
{
	return wide(e) ? 8 : 4;
}

/* The stack slot at `by` from the top. */
static void reach_stack(struct emitter *e, unsigned base, int32_t by, bool write)
{
	struct x86_mem m = {
		.seg = X86_SS, .base = (uint8_t)base, .index = X86_NOREG, .scale = 1, .disp = by};

	reach(e, &m, slot_size(e), slot_size(e), write);
}

static void move_top(struct emitter *e, unsigned base, int32_t by)
{
	if (wide(e))
		lea64(e->c, G_RSP, at_reg(base, by));
	else
		lea32(e->c, G_RSP, at_reg(base, by));
}

static void load_slot(struct emitter *e, unsigned to)
{
	put_rm(e->c, (struct opcode){.byte = 0x8b, .w = wide(e)}, to, e->mem);
}

static void store_slot(struct emitter *e, unsigned from)
{
	put_rm(e->c, (struct opcode){.byte = 0x89, .w = wide(e)}, from, e->mem);
}

static void store_slot_imm(struct emitter *e, uint64_t v)
{
	if (wide(e)) {
		store_imm(e->c, e->mem, v, T1);
	} else {
		put_rm(e->c, OP(0xc7), 0, e->mem);
		put32(e->c, (uint32_t)v);
	}
}

static void store_slot_near(struct emitter *e, uint64_t lin)
{
	if (e->s->shared)
		store_near(e, e->mem, lin);
	else
		store_slot_imm(e, lin);
}

void push_scratch(struct emitter *e)
{
	int32_t size = (int32_t)slot_size(e);

	reach_stack(e, X86_RSP, -size, true);
	load64(e->c, T1, in_state(STATE(scratch)));
	store_slot(e, T1);
	move_top(e, G_RSP, -size);
}

void pop_to(struct emitter *e, unsigned to)
{
	reach_stack(e, X86_RSP, 0, false);
	load_slot(e, to);
}

void move_top_by(struct emitter *e, int32_t by)
{
	move_top(e, G_RSP, by);
}

static void emit_push(struct emitter *e)
{
	const struct x86_insn *i = &e->n->i;
	const struct x86_operand *o = &i->opnd[0];
	int32_t size = (int32_t)slot_size(e);

	if (o->kind == X86_OPND_MEM) {
		reach(e, &i->mem, i->addrsize, slot_size(e), false);
		load_slot(e, T1);
		store64(e->c, in_state(STATE(scratch)), T1);
	}
	reach_stack(e, X86_RSP, -size, true);
	if (o->kind == X86_OPND_MEM)
		load64(e->c, T1, in_state(STATE(scratch)));
	else if (o->kind == X86_OPND_GPR && home(o->reg) == SPILLED)
		load64(e->c, T1, in_state(GPR(o->reg)));
	if (o->kind == X86_OPND_IMM)
		store_slot_imm(e, (uint64_t)i->imm);
	else if (o->kind == X86_OPND_GPR && home(o->reg) != SPILLED)
		store_slot(e, home(o->reg));
	else
		store_slot(e, T1);
	move_top(e, G_RSP, -size);
}

static void emit_pop(struct emitter *e)
{
	unsigned guest = e->n->i.opnd[0].reg, to = home(guest);

	reach_stack(e, X86_RSP, 0, false);
	load_slot(e, to == SPILLED ? T1 : to);
	if (to == SPILLED)
		store64(e->c, in_state(GPR(guest)), T1);
	if (guest != X86_RSP)
		move_top(e, G_RSP, (int32_t)slot_size(e));
}

static void emit_leave(struct emitter *e)
{
	reach_stack(e, X86_RBP, 0, false);
	load_slot(e, T1);
	move_top(e, G_RBP, (int32_t)slot_size(e));
	put_rr(e->c, (struct opcode){.byte = 0x8b, .w = wide(e)}, G_RBP, T1);
}

/* ---- branches ---- */

uint64_t next_rip(const struct emitter *e)
{
	uint64_t next = e->n->rip + e->n->i.len;

	return wide(e) ? next : (uint32_t)next;
}

static uint64_t target(const struct emitter *e)
{
	uint64_t to = next_rip(e) + (uint64_t)e->n->i.imm;

	return wide(e) ? to : (uint32_t)to;
}

/* Conditions of flags in memory that one TEST decides; 0: none. Bits of tcpu.flags. */
static uint32_t one_test(unsigned cc)
{
	static const uint16_t mask[8] = {1, X86_CF << 8, X86_ZF << 8, (X86_CF | X86_ZF) << 8,
		X86_SF << 8, X86_PF << 8, 0, 0};

	return mask[cc >> 1];
}

/* The condition code by which the host jumps when the guest's cc holds. */
static unsigned host_condition(struct emitter *e, unsigned cc)
{
	uint32_t mask = one_test(cc);

	if (e->flags != IN_MEMORY || !mask) {
		need_flags_in_host(e);
		return cc;
	}
	put_rm(e->c, OP(0xf7), 0, in_state(STATE(flags)));
	put32(e->c, mask);
	return cc & 1 ? CC_Z : CC_NZ;
}

static void emit_jcc(struct emitter *e)
{
	unsigned cc = host_condition(e, e->n->i.cc);
	uint32_t over;

	if (!e->t->tally) {
		new_exit(e, EXIT_JUMP, jcc_forward(e->c, cc), target(e))->turns = e->s->shared;
		return;
	}
	over = jcc_forward(e->c, cc ^ 1);
	jump_out(e, target(e), e->at + 1);
	land(e->c, over);
}

/*
 * The target in T0 is looked for; a miss leaves the branch to interpret, before
 * anything has changed. Then T1 points to the entry, T0, if code is shared, to the target's page.
 */
static struct mem find_jump(struct emitter *e, enum exit_kind miss)
{
	struct code *c = e->c;
	uint32_t table =
		STATE(jump) + (uint32_t)sizeof(struct jump_entry) * JUMP_SIZE * e->key_index;
	struct mem entry = {RSP, T1, 1, (int32_t)table};
	uint32_t start = c->at;
	struct texit *x;

	mov_rr32(c, T1, T0);
	shift_imm(c, false, 4, T1, 4);
	alu_imm32(c, false, 4, T1, (JUMP_SIZE - 1) << 4);
	put_rm(c, OP_W(0x3b), T0, entry);
	x = new_exit(e, miss, jcc_forward(c, CC_NZ), e->n->rip);
	x->before = e->at;
	x->retry = start;
	entry.disp += (int32_t)offsetof(struct jump_entry, host);
	if (e->s->shared)
		alu_imm32(c, true, 4, T0, -(int32_t)PAGE_SIZE);
	return entry;
}

static void turn_to_t0(struct emitter *e)
{
	if (e->s->shared)
		store64(e->c, in_state(STATE(page_rip)), T0);
}

static void emit_ret(struct emitter *e)
{
	const struct x86_insn *i = &e->n->i;
	int32_t by = (int32_t)slot_size(e) + (i->nops ? (int32_t)(i->imm & 0xffff) : 0);
	struct mem entry;

	need_flags_in_memory(e);
	reach_stack(e, X86_RSP, 0, false);
	load_slot(e, T0);
	e->flags = IN_MEMORY;
	entry = find_jump(e, EXIT_RET);
	e->exit[e->exits - 1].pops = by;
	turn_to_t0(e);
	count(e, e->at + 1);
	move_top(e, G_RSP, by);
	jmp_mem(e->c, entry);
}

static void emit_call(struct emitter *e)
{
	int32_t size = (int32_t)slot_size(e);

	reach_stack(e, X86_RSP, -size, true);
	store_slot_near(e, next_rip(e));
	move_top(e, G_RSP, -size);
	jump_out(e, target(e), e->at + 1);
}

/* T0 becomes the target of an indirect branch. */
static void load_target(struct emitter *e)
{
	const struct x86_insn *i = &e->n->i;
	unsigned reg = i->opnd[0].reg;

	need_flags_in_memory(e);
	if (i->opnd[0].kind == X86_OPND_MEM) {
		reach(e, &i->mem, i->addrsize, slot_size(e), false);
		load_slot(e, T0);
	} else if (home(reg) == SPILLED) {
		load64(e->c, T0, in_state(GPR(reg)));
	} else {
		if (wide(e))
			mov_rr(e->c, T0, home(reg));
		else
			mov_rr32(e->c, T0, home(reg));
	}
	e->flags = IN_MEMORY;
}

static void emit_jmp_indirect(struct emitter *e)
{
	struct mem entry;

	load_target(e);
	entry = find_jump(e, EXIT_RET);
	e->exit[e->exits - 1].pops = 0;
	turn_to_t0(e);
	count(e, e->at + 1);
	jmp_mem(e->c, entry);
}

static void emit_call_indirect(struct emitter *e)
{
	int32_t size = (int32_t)slot_size(e);
	struct mem entry;

	load_target(e);
	entry = find_jump(e, EXIT_ODD);
	store64(e->c, in_state(STATE(next_page)), T0);
	load64(e->c, T0, entry);
	store64(e->c, in_state(STATE(scratch)), T0);
	reach_stack(e, X86_RSP, -size, true);
	store_slot_near(e, next_rip(e));
	move_top(e, G_RSP, -size);
	load64(e->c, T0, in_state(STATE(next_page)));
	turn_to_t0(e);
	count(e, e->at + 1);
	jmp_mem(e->c, in_state(STATE(scratch)));
}

/* ---- all others ---- */

static void emit_call_of_body(struct emitter *e, uint32_t stub)
{
	struct tcpu *t = e->t;
	uint32_t which = t->insns++ % INSNS;

	need_flags_in_memory(e);
	t->insn[which] = e->n->i;
	t->insn_body[which] = string_body(&e->n->i);
	if (!t->insn_body[which])
		t->insn_body[which] = body_of(&t->c, &e->n->i);
	store_near(e, in_state(STATE(c.s.rip)), e->n->rip);
	mov_imm(e->c, T1, which | e->at << 16);
	call_to(e->c, stub);
	e->flags = IN_MEMORY;
}

void emit_body(struct emitter *e)
{
	emit_call_of_body(e, e->stubs->body);
}

void emit_system(struct emitter *e)
{
	emit_call_of_body(e, e->stubs->system);
}

static void (*const emit_kind[])(struct emitter *e) = {
	[KIND_COPY] = emit_copy,
	[KIND_VECTOR] = emit_vector,
	[KIND_X87] = emit_x87,
	[KIND_MXCSR] = emit_mxcsr,
	[KIND_BMI] = emit_bmi,
	[KIND_BITS] = emit_bits,
	[KIND_NOP] = NULL,
	[KIND_LEA] = emit_lea,
	[KIND_PUSH] = emit_push,
	[KIND_POP] = emit_pop,
	[KIND_LEAVE] = emit_leave,
	[KIND_JCC] = emit_jcc,
	[KIND_JMP] = NULL, /* the end of the block does it */
	[KIND_CALL] = emit_call,
	[KIND_RET] = emit_ret,
	[KIND_JMP_INDIRECT] = emit_jmp_indirect,
	[KIND_CALL_INDIRECT] = emit_call_indirect,
	[KIND_STRING] = emit_string,
	[KIND_BODY] = emit_body,
	[KIND_CLI] = emit_cli,
	[KIND_STI] = emit_sti,
	[KIND_PUSHF] = emit_pushf,
	[KIND_POPF] = emit_popf,
	[KIND_SWAPGS] = emit_swapgs,
	[KIND_AC] = emit_ac,
	[KIND_FENCE] = emit_fence,
	[KIND_DIRECTION] = emit_direction,
	[KIND_BASE] = emit_base,
	[KIND_TIME] = emit_time,
	[KIND_SELECTOR] = emit_selector,
	[KIND_CONTROL] = emit_control,
	[KIND_GATE] = emit_gate,
	[KIND_SYSTEM] = emit_system,
};

/* ---- the block ---- */

static void check_budget(struct emitter *e)
{
	put_rm(e->c, OP_W(0x81), 7, in_state(STATE(left)));
	put32(e->c, e->s->count);
	new_exit(e, EXIT_LOOK, jcc_forward(e->c, CC_L), e->s->rip);
}

/* Where the flags are at the start is chosen by who needs them first. */
static void emit_entries(struct emitter *e, struct tblock *b)
{
	struct code *c = e->c;
	uint32_t body;

	b->from_host = b->from_memory = c->at;
	if (e->s->start_dead && !e->t->counting) {
		e->flags = IN_MEMORY;
		poll(e);
		body = jmp_forward(c);
		b->from_host = c->at;
		e->flags = IN_HOST;
		poll(e);
		land(c, body);
	} else if (e->s->start_reads && !e->t->counting) {
		emit_restore_flags(c);
		b->from_host = c->at;
		e->flags = IN_HOST;
		poll(e);
	} else {
		emit_save_flags(c);
		b->from_memory = c->at;
		e->flags = IN_MEMORY;
		poll(e);
		if (e->t->counting)
			check_budget(e);
	}
}

static void emit_end(struct emitter *e)
{
	const struct tinsn *last = &e->s->insn[e->s->count - 1];

	e->n = last;
	if (last->kind == KIND_JMP)
		jump_out(e, target(e), e->s->count);
	else if (!ends_block(last->kind))
		jump_out(e, e->s->end, e->s->count);
}

/* Behind a block without groups they are allowed again. */
static uint8_t way_on(struct tcpu *t, const struct tblock *b)
{
	struct key key = t->key[b->key];
	uint8_t number = b->key;

	if (!(key.units & UNITS_SINGLE))
		return number;
	key.units &= (uint8_t)~UNITS_SINGLE;
	number = key_number(t, &key);
	return number == NO_KEY ? b->key : number;
}

void emit_block(struct tcpu *t, struct scan *s, struct tblock *b)
{
	struct emitter e = {.t = t,
		.c = &t->code,
		.s = s,
		.addr = b->addr,
		.key_index = way_on(t, b),
		.producer = NONE,
		.kept = NONE,
		.first_access = t->accesses,
		.stubs = &t->stubs[live_of(&s->key)]};

	while (t->code.at % 16)
		put8(&t->code, 0xcc);
	plan_accesses(&e);
	e.n = NULL;
	emit_entries(&e, b);
	for (e.at = 0; e.at < s->count; e.at++) {
		e.n = &s->insn[e.at];
		e.nth = 0;
		if (emit_kind[e.n->kind])
			emit_kind[e.n->kind](&e);
	}
	emit_end(&e);
	emit_misses(&e);
	for (unsigned n = 0; n < e.exits; n++)
		emit_exit(&e, &e.exit[n]);
	perf_name_block(t, b);
}
