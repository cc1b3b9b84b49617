/*
 * gate.c - SYSCALL and SYSRET between 64-bit code of users and of the kernel,
 * without leaving translated code: part of it in the block, the rest in a stub.
 *
 * What is rare is interpret's: SFMASK that keeps a flag which code depends on, a
 * return with TF or AC, with an interrupt waiting, with SIMD exceptions unmasked. The
 * kernel has no vector registers in the host's at first; users get theirs back.
 * Source: SDM vol. 2B, SYSCALL and SYSRET.
 */
#include "engine/translate/internal.h"

#define FLAT_CODE (X86_ATTR_P | X86_ATTR_S | 0xbu | X86_ATTR_G | X86_ATTR_L)
#define FLAT_DATA (X86_ATTR_P | X86_ATTR_S | 0x3u | X86_ATTR_G | X86_ATTR_DB)
#define RETURNED  0x3c7fd7u                           /* flags that SYSRET loads */
#define CLEARED   (X86_FLAGS_ARITH | X86_TF | X86_AC) /* SYSCALL has to clear them */

#define RFLAGS in_state(STATE(c.s.rflags))

bool is_gate(const struct tcpu *t, const struct x86_insn *i, const struct key *key)
{
	if (key->mode != X86_MODE_64 || t->check || t->torturing)
		return false;
	if (i->op == X86_OP_SYSCALL)
		return key->units & UNITS_SHARED && live_of(key) != LIVE_X87;
	return i->op == X86_OP_SYSRET && i->opsize == 8 && key->privilege == X86_SUPERVISOR &&
	       live_of(key) == LIVE_NONE;
}

static unsigned gate_of(enum x86_privilege to)
{
	return to == X86_USER;
}

void note_gate(struct tcpu *t, const struct key *key)
{
	enum live live = key->privilege == X86_USER ? LIVE_VECTORS : LIVE_NONE;
	struct gate *g = &t->gate[gate_of(key->privilege)], *users = &t->gate[gate_of(X86_USER)];
	uint8_t units = UNITS_SSE | UNITS_AVX | UNITS_X87;

	/* The kernel may have changed what users may use. */
	if (key->privilege != X86_USER && (users->units ^ key->units) & units)
		users->table = 0;
	if (key->mode != X86_MODE_64 || key->units & UNITS_SINGLE || live_of(key) != live ||
		key->privilege == X86_SUPERVISOR_AC ||
		(key->privilege == X86_USER && !(key->units & UNITS_SHARED)))
		return;
	*g = (struct gate){.table = STATE(jump) + (uint32_t)sizeof(t->jump[0]) * t->key_now,
		.key = t->key_now,
		.units = key->units};
}

static struct mem gate_field(enum x86_privilege to, size_t off)
{
	return in_state(STATE(gate) + (uint32_t)(sizeof(struct gate) * gate_of(to) + off));
}

#define GATE(to, field) gate_field(to, offsetof(struct gate, field))

/* ---- in the block ---- */

struct checks {
	uint32_t failed[8];
	unsigned count;
};

static void unless(struct emitter *e, struct checks *k, unsigned cc)
{
	k->failed[k->count++] = jcc_forward(e->c, cc);
}

static void test_imm(struct code *c, struct mem m, uint32_t bits)
{
	put_rm(c, OP(0xf7), 0, m);
	put32(c, bits);
}

/* What both ask for. */
static void check_gate(struct emitter *e, struct checks *k, enum x86_privilege to)
{
	put_rm(e->c, OP(0x83), 7, GATE(to, table)); /* cmp dword, imm8 */
	put8(e->c, 0);
	unless(e, k, CC_Z);
	test_imm(e->c, in_state(STATE(c.s.efer)), X86_EFER_SCE);
	unless(e, k, CC_Z);
}

/* All bits of the mask are to be set at m. T0 is lost. */
static void check_all(struct emitter *e, struct checks *k, struct mem m, uint32_t mask)
{
	put_rm(e->c, OP(0x8b), T0, m);
	alu_imm32(e->c, false, 4, T0, (int32_t)mask);
	alu_imm32(e->c, false, 7, T0, (int32_t)mask);
	unless(e, k, CC_NZ);
}

static void check_return(struct emitter *e, struct checks *k)
{
	struct code *c = e->c;

	test_imm(c, in_state(GPR(X86_R11)), X86_TF | X86_AC);
	unless(e, k, CC_NZ);
	load64(c, T0, in_state(STATE(c.v)));
	put_rm(c, OP(0x80), 7, at_reg(T0, (int32_t)offsetof(struct vcpu, intr_line)));
	put8(c, 0);
	unless(e, k, CC_NZ);
	mov_imm(c, T0, SHARED_END);
	put_rr(c, OP_W(0x3b), RCX, T0);
	unless(e, k, CC_AE);
	check_all(e, k, in_state(STATE(c.s.xsave) + FPU_MXCSR), MXCSR_MASKS);
}

void emit_gate(struct emitter *e)
{
	bool call = e->n->i.op == X86_OP_SYSCALL;
	struct checks k = {.count = 0};
	struct code *c = e->c;

	need_flags_in_memory(e);
	e->flags = IN_MEMORY;
	check_gate(e, &k, call ? X86_SUPERVISOR : X86_USER);
	if (call)
		check_all(e, &k, in_state(STATE(c.s.msr[X86_MSR_SFMASK])), CLEARED);
	else
		check_return(e, &k);
	count(e, e->at + 1);
	if (call)
		load_near(e, RCX, next_rip(e));
	jmp_to(c, call ? e->stubs->syscall : e->stubs->sysret);
	for (unsigned n = 0; n < k.count; n++)
		land(c, k.failed[n]);
	emit_system(e);
}

/* ---- in the stubs ---- */

static struct mem seg_field(unsigned seg, size_t off)
{
	return in_state(STATE(c.s.seg) + seg * (uint32_t)sizeof(struct x86_seg) + (uint32_t)off);
}

static void store32_imm(struct code *c, struct mem m, uint32_t v)
{
	put_rm(c, OP(0xc7), 0, m);
	put32(c, v);
}

static void store8_imm(struct code *c, struct mem m, uint8_t v)
{
	put_rm(c, OP(0xc6), 0, m);
	put8(c, v);
}

/* T1 is what of STAR the selector follows from. It is lost. */
static void load_flat(struct code *c, unsigned seg, uint32_t attr, unsigned ring, unsigned above)
{
	lea32(c, T1, at_reg(T1, (int32_t)above));
	alu_imm32(c, false, 4, T1, 0xfffc);
	alu_imm32(c, false, 1, T1, (int32_t)ring);
	put_rm(c, (struct opcode){.byte = 0x89, .size16 = true}, T1,
		seg_field(seg, offsetof(struct x86_seg, sel)));
	store_imm(c, seg_field(seg, offsetof(struct x86_seg, base)), 0, T1);
	store32_imm(c, seg_field(seg, offsetof(struct x86_seg, limit)), UINT32_MAX);
	store32_imm(c, seg_field(seg, offsetof(struct x86_seg, attr)), attr | ring << 5);
}

/* CS and SS of the ring, and what interpret keeps of it. */
static void change_ring(struct code *c, unsigned ring)
{
	struct mem star = in_state(STATE(c.s.msr[X86_MSR_STAR]) + (ring ? 6 : 4));
	const struct opcode movzx16 = {.map = 1, .byte = 0xb7};

	put_rm(c, movzx16, T1, star);
	load_flat(c, X86_CS, FLAT_CODE, ring, ring ? 16 : 0);
	put_rm(c, movzx16, T1, star);
	load_flat(c, X86_SS, FLAT_DATA, ring, 8);
	store8_imm(c, in_state(STATE(c.cpl)), (uint8_t)ring);
	store8_imm(c, in_state(STATE(c.privilege)), ring ? X86_USER : X86_SUPERVISOR);
	put_rm(c, OP_W(0x81), ring ? 1 : 4, in_state(STATE(c.key)));
	put32(c, ring ? (uint32_t)KEY_USER : ~(uint32_t)KEY_USER);
}

/* On to T0, by the table of the ring's jumps. */
static void go_on(struct code *c, const struct stubs *s, enum x86_privilege to)
{
	uint32_t retry = c->at, miss;

	mov_rr32(c, T1, T0);
	shift_imm(c, false, 4, T1, 4);
	alu_imm32(c, false, 4, T1, (JUMP_SIZE - 1) << 4);
	put_rm(c, OP(0x03), T1, GATE(to, table));
	put_rm(c, OP_W(0x3b), T0, (struct mem){RSP, T1, 1, 0});
	miss = jcc_forward(c, CC_NZ);
	jmp_mem(c, (struct mem){RSP, T1, 1, (int32_t)offsetof(struct jump_entry, host)});
	land(c, miss);
	store64(c, in_state(STATE(c.s.rip)), T0);
	put_rm(c, OP(0x8b), T1, GATE(to, key));
	call_to(c, s->seek);
	put_rr(c, OP(0x85), T1, T1);
	jcc_to(c, CC_NZ, retry);
	mov_imm(c, T1, LEAVE_LOOK);
	jmp_to(c, s->leave_memory);
}

/* T1 becomes RFLAGS, of what is in the state and in tcpu.flags. T0 is lost. */
static void collect_flags(struct code *c)
{
	put_rm(c, OP_0F(0xb6), T1, in_state(STATE(flags) + 1));
	put_rm(c, OP(0x8b), T0, in_state(STATE(flags)));
	alu_imm32(c, false, 4, T0, 1);
	shift_imm(c, false, 4, T0, 11);
	put_rr(c, OP(0x0b), T1, T0);
	load64(c, T0, RFLAGS);
	alu_imm32(c, true, 4, T0, (int32_t) ~(uint32_t)(X86_FLAGS_ARITH | X86_RF));
	put_rr(c, OP_W(0x0b), T1, T0);
}

/* RCX is where to return to. */
static void emit_syscall(struct code *c, const struct stubs *kernel, enum live live)
{
	collect_flags(c);
	store64(c, in_state(GPR(X86_R11)), T1);
	load64(c, T0, in_state(STATE(c.s.msr[X86_MSR_SFMASK])));
	put_rr(c, OP_W(0xf7), 2, T0); /* not */
	put_rr(c, OP_W(0x23), T1, T0);
	alu_imm32(c, false, 1, T1, X86_FLAGS_FIXED);
	store64(c, RFLAGS, T1);
	store32_imm(c, in_state(STATE(flags)), 0);
	change_ring(c, 0);
	store_vectors(c, live);
	if (live)
		store_imm(c, in_state(STATE(c.s.xsave) + FPU_HEADER),
			X86_XCR0_X87 | X86_XCR0_SSE | X86_XCR0_AVX, T1);
	store8_imm(c, in_state(STATE(live)), LIVE_NONE);
	load64(c, T0, in_state(STATE(c.s.msr[X86_MSR_LSTAR])));
	go_on(c, kernel, X86_SUPERVISOR);
}

static void emit_sysret(struct code *c, const struct stubs *user)
{
	load64(c, T1, in_state(GPR(X86_R11)));
	mov_rr32(c, T0, T1);
	alu_imm32(c, false, 4, T0, RETURNED & ~(int32_t)X86_FLAGS_ARITH);
	alu_imm32(c, false, 1, T0, X86_FLAGS_FIXED);
	store64(c, RFLAGS, T0);
	put_arithmetic(c);
	change_ring(c, 3);
	store8_imm(c, in_state(STATE(live)), LIVE_VECTORS);
	store8_imm(c, in_state(STATE(live_for)), X86_USER);
	load_vectors(c, LIVE_VECTORS);
	mov_rr(c, T0, RCX);
	alu_imm32(c, true, 4, T0, -(int32_t)PAGE_SIZE);
	store64(c, in_state(STATE(page_rip)), T0);
	mov_rr(c, T0, RCX);
	go_on(c, user, X86_USER);
}

void make_gates(struct tcpu *t)
{
	for (enum live live = LIVE_NONE; live < LIVE_X87; live++) {
		t->stubs[live].syscall = t->code.at;
		emit_syscall(&t->code, &t->stubs[LIVE_NONE], live);
	}
	t->stubs[LIVE_NONE].sysret = t->code.at;
	emit_sysret(&t->code, &t->stubs[LIVE_VECTORS]);
}
