/*
 * stubs.c - the ways into translated code and out of it, and flags.
 *
 * Registers of the guest are in s.gpr outside; inside they are in the host's.
 * C code runs on the thread's own stack. Source: System V ABI 3.2 (registers).
 */
#include "engine/translate/internal.h"

static const uint8_t saved[] = {RBX, RBP, R12, R13, R14, R15};

/* ---- flags ---- */

#define LAHF_BITS 0xd5u /* SF ZF AF PF CF */

void flags_to_memory(struct tcpu *t)
{
	uint32_t f = (uint32_t)t->c.s.rflags;

	t->flags = (f & LAHF_BITS) << 8 | (f >> 11 & 1);
}

void flags_from_memory(struct tcpu *t)
{
	t->c.s.rflags = (t->c.s.rflags & ~(uint64_t)X86_FLAGS_ARITH) | (t->flags >> 8 & LAHF_BITS) |
			(uint64_t)(t->flags & 1) << 11;
}

/* From the host's flags; T1 is lost, the flags too. */
void emit_save_flags(struct code *c)
{
	mov_rr(c, T1, RAX);
	put8(c, 0x9f);                  /* lahf */
	put_rr(c, OP_0F(0x90), 0, RAX); /* seto al */
	put_rm(c, (struct opcode){.byte = 0x89, .size16 = true}, RAX, in_state(STATE(flags)));
	mov_rr(c, RAX, T1);
}

/* 127 and OF's bit overflow if it is set; SAHF brings the others. T1 is lost. */
void emit_restore_flags(struct code *c)
{
	mov_rr(c, T1, RAX);
	put_rm(c, OP_0F(0xb7), RAX, in_state(STATE(flags)));
	put8(c, 0x04);
	put8(c, 127);
	put8(c, 0x9e); /* sahf */
	mov_rr(c, RAX, T1);
}

/* ---- registers ---- */

static void move_registers(struct code *c, bool load)
{
	for (unsigned n = 0; n < X86_GPR_COUNT; n++) {
		if (home(n) == SPILLED)
			continue;
		put_rm(c, OP_W(load ? 0x8b : 0x89), home(n), in_state(GPR(n)));
	}
}

/* ---- vector registers ---- */

#define XSAVE   4u /* ModRM.reg of 0F AE */
#define XRSTOR  5u
#define LDMXCSR 2u
#define STMXCSR 3u

/* All of the x87 unit's and the vector registers. EAX and EDX are lost. */
static void move_all(struct code *c, unsigned how)
{
	struct opcode o = {.map = 1, .byte = 0xae, .w = true};

	mov_imm(c, RAX, X86_XCR0_SSE | X86_XCR0_AVX | X86_XCR0_X87);
	mov_imm(c, RDX, 0);
	put_rm(c, o, how, in_state(STATE(c.s.xsave)));
}

/* VEX of three bytes with L: register reg, and vvvv for one that is read beside it. */
static void put_vex(
	struct code *c, unsigned map, unsigned pp_l, unsigned op, unsigned reg, unsigned vvvv)
{
	put8(c, 0xc4);
	put8(c, (~reg >> 3 & 1) << 7 | 0x60 | map);
	put8(c, (~vvvv & 15) << 3 | pp_l);
	put8(c, op);
}

/*
 * Vector registers alone, where XSAVE would put them: in a seventh of the time that XSAVE
 * and XRSTOR take.
 */
static void move_registers_of_vectors(struct code *c, bool load)
{
	for (unsigned n = 0; n < 16; n++) {
		struct mem low = in_state(STATE(c.s.xsave) + FPU_XMM + 16 * n);
		struct mem high = in_state(STATE(c.s.xsave) + FPU_YMM + 16 * n);

		put_vex(c, 1, 0, load ? 0x10 : 0x11, n, 0); /* vmovups */
		put_mem(c, n, low);
		put_vex(c, 3, 5, load ? 0x18 : 0x19, n,
			load ? n : 0); /* vinsertf128, vextractf128 */
		put_mem(c, n, high);
		put8(c, 1);
	}
}

void load_vectors(struct code *c, enum live live)
{
	if (!live)
		return;
	put_rm(c, OP_0F(0xae), STMXCSR, in_state(STATE(host_mxcsr)));
	if (live == LIVE_X87) {
		move_all(c, XRSTOR);
		return;
	}
	move_registers_of_vectors(c, true);
	put_rm(c, OP_0F(0xae), LDMXCSR, in_state(STATE(c.s.xsave) + FPU_MXCSR));
}

void store_vectors(struct code *c, enum live live)
{
	if (!live)
		return;
	if (live == LIVE_X87) {
		move_all(c, XSAVE);
		put_bytes(c, "\xdb\xe3", 2); /* fninit */
	} else {
		put_rm(c, OP_0F(0xae), STMXCSR, in_state(STATE(c.s.xsave) + FPU_MXCSR));
		move_registers_of_vectors(c, false);
	}
	put_bytes(c, "\xc5\xf8\x77", 3); /* vzeroupper */
	put_rm(c, OP_0F(0xae), LDMXCSR, in_state(STATE(host_mxcsr)));
}

/*
 * XSAVE tells what it found in its initial state; for us all is always there. The x87
 * unit's pointers are to host addresses, which no guest may see.
 */
void tidy_vectors(struct tcpu *t)
{
	const uint64_t all = X86_XCR0_X87 | X86_XCR0_SSE | X86_XCR0_AVX;

	memcpy(t->c.s.xsave + FPU_HEADER, &all, sizeof(all));
	if (t->live == LIVE_X87)
		memset(t->c.s.xsave + FPU_FOP, 0, FPU_MXCSR - FPU_FOP);
}

/* ---- in and out ---- */

static void emit_enter(struct code *c, struct stubs *s, enum live live)
{
	s->enter = c->at;
	for (unsigned n = 0; n < ARRAY_SIZE(saved); n++)
		put_opcode(c, OP((uint8_t)(0x50 | (saved[n] & 7))), 0, 0, saved[n]);
	alu_imm32(c, true, 5, RSP, 8);
	store64(c, at_reg(RDI, (int32_t)STATE(host_rsp)), RSP);
	mov_rr(c, RSP, RDI);
	mov_rr(c, T1, RSI);
	load_vectors(c, live);
	move_registers(c, true);
	put_rr(c, OP(0xff), 4, T1);
}

/* Back to enter(): RAX is the enum leave, all that is the guest's is stored. */
static void emit_back(struct code *c)
{
	load64(c, RSP, in_state(STATE(host_rsp)));
	alu_imm32(c, true, 0, RSP, 8);
	for (unsigned n = ARRAY_SIZE(saved); n-- > 0;)
		put_opcode(c, OP((uint8_t)(0x58 | (saved[n] & 7))), 0, 0, saved[n]);
	put8(c, 0xc3);
}

/* T1 is the enum leave; the registers are the guest's. */
static void emit_leave(struct code *c, struct stubs *s, enum live live)
{
	s->leave_host = c->at;
	store64(c, in_state(STATE(scratch)), T1);
	emit_save_flags(c);
	load64(c, T1, in_state(STATE(scratch)));
	s->leave_memory = c->at;
	move_registers(c, false);
	store_vectors(c, live);
	mov_rr32(c, RAX, T1);
	emit_back(c);
}

/* ---- calls of C ---- */

static void emit_call(struct code *c, uint64_t fn)
{
	mov_rr(c, RBX, RSP);
	load64(c, RSP, in_state(STATE(host_rsp)));
	mov_imm(c, RAX, fn);
	put_rr(c, OP(0xff), 2, RAX);
	mov_rr(c, RSP, RBX);
}

static void leave_to_c(struct code *c, enum live live)
{
	move_registers(c, false);
	store_vectors(c, live);
	mov_rr(c, RDI, RSP);
}

static void come_from_c(struct code *c, enum live live)
{
	load_vectors(c, live);
	move_registers(c, true);
}

/* The return address waits in the state, since what is below it is no one's. */
static void emit_take_return(struct code *c)
{
	put_rm(c, OP(0x8f), 0, in_state(STATE(ret)));
}

static void emit_return(struct code *c)
{
	put_rm(c, OP(0xff), 6, in_state(STATE(ret)));
	put8(c, 0xc3);
}

/* RAX, RCX and RDX are kept in the state, `off` above RSP. */
static void keep_three(struct code *c, bool load, uint32_t off)
{
	for (unsigned n = 0; n < 3; n++)
		put_rm(c, OP_W(load ? 0x8b : 0x89), n, in_state(STATE(saved) + 8 * n + off));
}

/* By the number of the access in T1, above the return address. */
static struct mem by_access(uint32_t array, unsigned scale)
{
	return (struct mem){RSP, T1, (uint8_t)scale, (int32_t)array + 8};
}

/* RAX becomes the list for a page whose entry in the fast TLB is at RCX; RDX is lost. */
static void emit_list(struct code *c, bool write)
{
	uint32_t global = STATE(fast_global) + FAST_SIZE * (X86_USER * 2 + write) + 8;
	uint32_t delta =
		fast_table(X86_USER, write) + 8 + (uint32_t)offsetof(struct fast_entry, delta);

	mov_rr32(c, RAX, RCX);
	shift_imm(c, false, 5, RAX, 4);
	put_rm(c, OP_0F(0xb6), RAX, (struct mem){RSP, RAX, 1, (int32_t)global});
	if (!write) {
		alu_imm32(c, false, 0, RAX, 2 * SITE_HASH);
		return;
	}
	mov_rr(c, RDX, T0);
	put_rm(c, OP_W(0x03), RDX, (struct mem){RSP, RCX, 1, (int32_t)delta});
	shift_imm(c, true, 5, RDX, 12);
	alu_imm32(c, false, 4, RDX, SITE_HASH - 1);
	lea32(c, RAX, (struct mem){RAX, RDX, 2, 0});
}

/*
 * RCX is the offset of the entry in the fast TLB: it becomes the access's own, which is
 * put on a list. RDX becomes the difference. Returns the jump that is taken before
 * anything has changed if the list is full.
 */
static uint32_t emit_fill(struct code *c, bool write)
{
	struct mem used = {RSP, RAX, 4, (int32_t)STATE(sites_used) + 8};
	struct mem from = {RSP, RCX, 1, (int32_t)fast_table(X86_USER, write) + 8};
	struct mem to = {RSP, RAX, 1, (int32_t)STATE(site) + 8};
	uint32_t full;

	emit_list(c, write);
	put_rm(c, OP(0x8b), RDX, used);
	alu_imm32(c, false, 7, RDX, SITE_ROOM);
	full = jcc_forward(c, CC_AE);
	put_rm(c, OP(0xff), 0, used);
	shift_imm(c, false, 4, RAX, SITE_SHIFT);
	put_rr(c, OP(0x03), RAX, RDX);
	put_rm(c, OP(0x89), T1, (struct mem){RSP, RAX, 4, (int32_t)STATE(site_list) + 8});
	mov_rr32(c, RAX, T1);
	shift_imm(c, false, 4, RAX, 4);
	load64(c, RDX, from);
	store64(c, to, RDX);
	from.disp += 8;
	to.disp += 8;
	load64(c, RDX, from);
	store64(c, to, RDX);
	return full;
}

/*
 * T0 is the linear address less the page of the access's entry, T1 the access. T0 becomes
 * the difference, T1 the linear address.
 */
static void emit_miss(struct code *c, bool write, uint32_t slow)
{
	struct mem entry = {RSP, RCX, 1, (int32_t)fast_table(X86_USER, write) + 8};
	uint32_t judge, full, miss;

	keep_three(c, false, 8);
	mov_rr32(c, RAX, T1);
	shift_imm(c, false, 4, RAX, 4);
	put_rm(c, OP_W(0x03), T0, (struct mem){RSP, RAX, 1, (int32_t)STATE(site) + 8});
	put_rm(c, (struct opcode){.byte = 0x83, .size16 = true}, 5, by_access(STATE(more), 4));
	put8(c, 1);
	judge = jcc_forward(c, CC_S);
	mov_rr32(c, RCX, T0);
	shift_imm(c, false, 5, RCX, 8);
	alu_imm32(c, false, 4, RCX, (FAST_SIZE - 1) << 4);
	mov_rr(c, RDX, T0);
	put_rm(c, OP_W(0x2b), RDX, entry);
	put_rm(c, OP_0F(0xb7), RAX, by_access(STATE(more) + 2, 4));
	put_rr(c, OP_W(0x3b), RDX, RAX);
	miss = jcc_forward(c, CC_A);
	full = emit_fill(c, write);
	mov_rr(c, T1, T0);
	mov_rr(c, T0, RDX);
	keep_three(c, true, 8);
	put8(c, 0xc3);
	land(c, judge);
	land(c, full);
	land(c, miss);
	keep_three(c, true, 8);
	jmp_to(c, slow);
}

/* T0 is the linear address, T1 the access; further as above. */
static void emit_slow(struct code *c, enum live live)
{
	uint32_t odd;

	emit_take_return(c);
	leave_to_c(c, live);
	mov_rr(c, RSI, T0);
	mov_rr(c, RDX, T1);
	emit_call(c, (uint64_t)(uintptr_t)slow_access);
	put_rr(c, OP(0x84), RAX, RAX);
	odd = jcc_forward(c, CC_Z);
	mov_rr(c, T1, T0);
	load64(c, T0, in_state(STATE(delta)));
	come_from_c(c, live);
	emit_return(c);
	land(c, odd);
	mov_imm(c, RAX, LEAVE_ODD);
	emit_back(c);
}

static void emit_misses_of(struct code *c, struct stubs *s, enum live live)
{
	s->slow = c->at;
	emit_slow(c, live);
	for (unsigned write = 0; write < 2; write++) {
		s->miss[write] = c->at;
		emit_miss(c, write, s->slow);
	}
}

/* T1 is the LEAVE_LINK: on to where the link leads, or out. */
static void emit_link(struct code *c, struct stubs *s, enum live live)
{
	uint32_t out;

	s->link_host = c->at;
	store64(c, in_state(STATE(scratch)), T1);
	emit_save_flags(c);
	load64(c, T1, in_state(STATE(scratch)));
	s->link_memory = c->at;
	store64(c, in_state(STATE(scratch)), T1);
	leave_to_c(c, live);
	lea32(c, RSI, at_reg(T1, -LEAVE_LINK));
	emit_call(c, (uint64_t)(uintptr_t)chase_link);
	put_rr(c, OP_W(0x85), RAX, RAX);
	out = jcc_forward(c, CC_Z);
	mov_rr(c, T1, RAX);
	come_from_c(c, live);
	put_rr(c, OP(0xff), 4, T1);
	land(c, out);
	put_rm(c, OP(0x8b), RAX, in_state(STATE(scratch)));
	emit_back(c);
}

/* A jump to T0 by key T1: T1 becomes whether the table has it now. */
static void emit_seek(struct code *c, enum live live)
{
	emit_take_return(c);
	leave_to_c(c, live);
	mov_rr(c, RSI, T0);
	mov_rr32(c, RDX, T1);
	emit_call(c, (uint64_t)(uintptr_t)chase_jump);
	put_rr(c, OP_0F(0xb6), T1, RAX);
	come_from_c(c, live);
	emit_return(c);
}

/* The access T1 of a string instruction at T0: T1 becomes whether the fast TLB has the page now. */
static void emit_string_stub(struct code *c, enum live live)
{
	emit_take_return(c);
	leave_to_c(c, live);
	mov_rr(c, RSI, T0);
	mov_rr32(c, RDX, T1);
	emit_call(c, (uint64_t)(uintptr_t)slow_string);
	put_rr(c, OP_0F(0xb6), T1, RAX);
	come_from_c(c, live);
	emit_return(c);
}

/* Flags in memory follow from the recipe T1. */
static void emit_rebuild(struct code *c, enum live live)
{
	emit_take_return(c);
	leave_to_c(c, live);
	mov_rr(c, RSI, T1);
	emit_call(c, (uint64_t)(uintptr_t)rebuild_flags);
	come_from_c(c, live);
	emit_return(c);
}

static void keep_count(
	struct tcpu *t, int64_t left, int64_t granted, uint64_t executed, uint64_t counted)
{
	t->stats.counted = counted;
	t->left = left;
	t->granted = granted;
	t->c.result->executed = executed;
}

/* Interpret's body of an instruction; true: leave behind it. */
static bool call_body(struct tcpu *t, uint32_t which)
{
	const struct x86_insn *i = &t->insn[which & 0xffff];
	struct cpu *c = &t->c;
	int64_t left = t->left, granted = t->granted;
	uint64_t executed = c->result->executed, counted = t->stats.counted;

	spend(t, SPENT_CALLS);
	t->stats.bodies++;
	t->stats.by_op[i->op]++;
	if (t->live)
		tidy_vectors(t);
	flags_from_memory(t);
	account(t, (which >> 16) + 1); /* in case of a fault */
	c->look = false;
	c->next_rip = c->s.rip + i->len;
	if (i->mode != X86_MODE_64)
		c->next_rip = (uint32_t)c->next_rip;
	t->insn_body[which & 0xffff](c, i);
	c->s.rip = c->next_rip;
	flags_to_memory(t);
	if (!c->look)
		keep_count(t, left, granted, executed, counted);
	spend(t, SPENT_CODE);
	return c->look;
}

/* An instruction that may change anything: the stub that goes on, or NULL to leave. */
static const uint8_t *call_system(struct tcpu *t, uint32_t which)
{
	const struct x86_insn *i = &t->insn[which & 0xffff];
	const uint8_t *next;

	spend(t, SPENT_CALLS);
	t->stats.systems++;
	t->stats.by_op[i->op]++;
	if (t->live)
		tidy_vectors(t);
	flags_from_memory(t);
	account(t, which >> 16);
	t->c.result->executed++;
	execute(&t->c, i, t->insn_body[which & 0xffff]);
	flags_to_memory(t);
	next = chase_on(t);
	if (next) {
		t->resume = (uint64_t)(uintptr_t)next;
		next = t->exec + t->stubs[t->live].resume;
		if (t->live)
			tidy_vectors(t);
	}
	spend(t, SPENT_CODE);
	return next;
}

/* T1 is the number of the instruction and how many came before it in the block. */
static void emit_body_stub(struct code *c, enum live live)
{
	uint32_t look;

	emit_take_return(c);
	leave_to_c(c, live);
	mov_rr(c, RSI, T1);
	emit_call(c, (uint64_t)(uintptr_t)call_body);
	put_rr(c, OP(0x84), RAX, RAX);
	look = jcc_forward(c, CC_NZ);
	come_from_c(c, live);
	emit_return(c);
	land(c, look);
	mov_imm(c, RAX, LEAVE_LOOK);
	emit_back(c);
}

/* The same; what it goes on with may need other registers in the host. */
static void emit_system_stub(struct code *c, enum live live)
{
	uint32_t out;

	emit_take_return(c);
	leave_to_c(c, live);
	mov_rr(c, RSI, T1);
	emit_call(c, (uint64_t)(uintptr_t)call_system);
	put_rr(c, OP_W(0x85), RAX, RAX);
	out = jcc_forward(c, CC_Z);
	put_rr(c, OP(0xff), 4, RAX);
	land(c, out);
	mov_imm(c, RAX, LEAVE_LOOK);
	emit_back(c);
}

static void emit_resume(struct code *c, enum live live)
{
	come_from_c(c, live);
	jmp_mem(c, in_state(STATE(resume)));
}

void make_stubs(struct tcpu *t)
{
	struct code *c = &t->code;

	for (enum live live = LIVE_NONE; live < LIVE_LEVELS; live++) {
		emit_enter(c, &t->stubs[live], live);
		emit_leave(c, &t->stubs[live], live);
		emit_misses_of(c, &t->stubs[live], live);
		emit_link(c, &t->stubs[live], live);
		t->stubs[live].seek = c->at;
		emit_seek(c, live);
		t->stubs[live].string = c->at;
		emit_string_stub(c, live);
		t->stubs[live].rebuild = c->at;
		emit_rebuild(c, live);
		t->stubs[live].body = c->at;
		emit_body_stub(c, live);
		t->stubs[live].system = c->at;
		emit_system_stub(c, live);
		t->stubs[live].resume = c->at;
		emit_resume(c, live);
	}
	make_gates(t);
	t->first_block = c->at;
}

enum leave enter(struct tcpu *t, const uint8_t *entry)
{
	typedef int way_in(struct tcpu *, const uint8_t *);
	enum live live = t->live;
	way_in *in = (way_in *)(uintptr_t)(t->exec + t->stubs[live].enter);
	int why;

	t->page_rip = t->c.s.rip & ~UINT64_C(4095);
	if (live)
		tidy_vectors(t);
	why = in(t, entry);
	if (live)
		tidy_vectors(t);
	return (enum leave)why;
}

void account(struct tcpu *t, unsigned more)
{
	if (!t->tally)
		return;
	t->left -= more;
	t->stats.counted += (uint64_t)(t->granted - t->left);
	if (t->counting)
		t->c.result->executed += (uint64_t)(t->granted - t->left);
	t->granted = t->left;
}
