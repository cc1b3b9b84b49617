/*
 * system.c - what a kernel does at every entry and exit, without leaving
 * translated code: CLI, STI, PUSHF, POPF, SWAPGS, STAC, CLAC; fences; the time;
 * MOV from control registers.
 *
 * Only for ring 0, 64-bit mode for SWAPGS. Whatever would need a look (an
 * interrupt that could come now, a flag that changes the mode) is interpret's.
 * Source: SDM vol. 2.
 */
#include "engine/translate/internal.h"

#define RFLAGS in_state(STATE(c.s.rflags))
/* POPF changes these here; a change of others is interpret's. */
#define EASY (X86_FLAGS_ARITH | X86_IF | X86_DF)

static void alu_state(struct code *c, unsigned op, uint32_t v)
{
	put_rm(c, OP_W(0x81), op, RFLAGS);
	put32(c, v);
}

/* Interpret goes on if an interrupt waits. T0 is lost. */
static void odd_if_interrupt(struct emitter *e)
{
	struct code *c = e->c;

	load64(c, T0, in_state(STATE(c.v)));
	put_rm(c, OP(0x80), 7, at_reg(T0, (int32_t)offsetof(struct vcpu, intr_line)));
	put8(c, 0);
	exit_odd(e, jcc_forward(c, CC_NZ));
}

void emit_cli(struct emitter *e)
{
	need_flags_in_memory(e);
	alu_state(e->c, 4, ~(uint32_t)X86_IF);
	e->flags = IN_MEMORY;
}

/* The shadow of one instruction only shows if an interrupt waits. */
void emit_sti(struct emitter *e)
{
	need_flags_in_memory(e);
	e->flags = IN_MEMORY;
	odd_if_interrupt(e);
	alu_state(e->c, 1, X86_IF);
}

/* To RSP's memory by way of T1. */
void emit_pushf(struct emitter *e)
{
	struct code *c = e->c;

	need_flags_in_memory(e);
	need_flags_in_host(e);
	put8(c, 0x9c); /* pushfq */
	put_opcode(c, OP(0x58 | (T1 & 7)), 0, 0, T1);
	alu_imm32(c, false, 4, T1, X86_FLAGS_ARITH);
	load64(c, T0, RFLAGS);
	alu_imm32(c, false, 4, T0, (int32_t) ~(X86_FLAGS_ARITH | X86_VM | X86_RF));
	put_rr(c, OP_W(0x0b), T1, T0);
	store64(c, in_state(STATE(scratch)), T1);
	e->flags = IN_MEMORY;
	push_scratch(e);
}

/* AH of LAHF is the low byte of the flags, OF is apart. T0 and T1 are lost. */
void put_arithmetic(struct code *c)
{
	mov_rr32(c, T0, T1);
	shift_imm(c, false, 5, T0, 11);
	alu_imm32(c, false, 4, T0, 1);
	put_rr(c, (struct opcode){.map = 1, .byte = 0xb6, .byte_regs = true}, T1, T1);
	shift_imm(c, false, 4, T1, 8);
	put_rr(c, OP(0x0b), T0, T1);
	put_rm(c, OP(0x89), T0, in_state(STATE(flags)));
}

void emit_popf(struct emitter *e)
{
	struct code *c = e->c;
	uint32_t quiet;

	pop_to(e, T1);
	e->flags = IN_MEMORY;
	store64(c, in_state(STATE(scratch)), T1);
	put_rm(c, OP_W(0x33), T1, RFLAGS);
	put_rr(c, OP(0xf7), 0, T1); /* test */
	put32(c, ~(uint32_t)EASY & ~(uint32_t)X86_FLAGS_FIXED);
	exit_odd(e, jcc_forward(c, CC_NZ));
	put_rr(c, OP(0xf7), 0, T1);
	put32(c, X86_IF);
	quiet = jcc_forward(c, CC_Z);
	odd_if_interrupt(e);
	land(c, quiet);
	load64(c, T1, in_state(STATE(scratch)));
	alu_state(c, 4, ~(uint32_t)(X86_IF | X86_DF));
	mov_rr32(c, T0, T1);
	alu_imm32(c, false, 4, T0, X86_IF | X86_DF);
	put_rm(c, OP_W(0x09), T0, RFLAGS);
	put_arithmetic(c);
	move_top_by(e, wide(e) ? 8 : 4);
}

/* The base is kept in a second place, for interpret's accesses. */
void emit_swapgs(struct emitter *e)
{
	struct code *c = e->c;
	struct mem base = in_state(STATE(c.s.seg[X86_GS].base));
	struct mem other = in_state(STATE(c.s.msr[X86_MSR_KERNEL_GS_BASE]));

	load64(c, T0, base);
	load64(c, T1, other);
	store64(c, other, T0);
	store64(c, base, T1);
	store64(c, in_state(STATE(c.window[X86_GS].base)), T1);
}

/* AC is the privilege of data accesses: the block ends, and the next has another key. */
void emit_ac(struct emitter *e)
{
	bool set = e->n->i.op == X86_OP_STAC;
	struct key key = e->s->key;

	key.privilege = set ? X86_SUPERVISOR_AC : X86_SUPERVISOR;
	need_flags_in_memory(e);
	e->flags = IN_MEMORY;
	alu_state(e->c, set ? 1 : 4, set ? X86_AC : ~(uint32_t)X86_AC);
	put_rm(e->c, OP(0xc6), 0, in_state(STATE(c.privilege)));
	put8(e->c, key.privilege);
	jump_out_to(e, next_rip(e), e->at + 1, key_number(e->t, &key));
}

/* DF is never in the host's flags. */
void emit_direction(struct emitter *e)
{
	bool set = e->n->i.op == X86_OP_STD;

	need_flags_in_memory(e);
	alu_state(e->c, set ? 1 : 4, set ? X86_DF : ~(uint32_t)X86_DF);
	e->flags = IN_MEMORY;
}

void emit_fence(struct emitter *e)
{
	unsigned op = e->n->i.op;

	put8(e->c, 0x0f);
	put8(e->c, 0xae);
	put8(e->c, op == X86_OP_LFENCE ? 0xe8 : op == X86_OP_MFENCE ? 0xf0 : 0xf8);
}

/* A register of 16 bits keeps its upper part. */
void emit_selector(struct emitter *e)
{
	const struct x86_operand *to = &e->n->i.opnd[0];
	unsigned seg = e->n->i.modrm >> 3 & 7, reg = home(to->reg);
	struct mem sel = in_state(STATE(c.s.seg) + seg * (uint32_t)sizeof(struct x86_seg) +
				  (uint32_t)offsetof(struct x86_seg, sel));
	bool spilled = reg == SPILLED;

	if (spilled)
		reg = T1;
	if (to->size != 2) {
		put_rm(e->c, OP_0F(0xb7), reg, sel);
		if (spilled)
			store64(e->c, in_state(GPR(to->reg)), T1);
		return;
	}
	put_rm(e->c, (struct opcode){.byte = 0x8b, .size16 = true}, reg, sel);
	if (spilled)
		put_rm(e->c, (struct opcode){.byte = 0x89, .size16 = true}, T1,
			in_state(GPR(to->reg)));
}

/* ---- control registers ---- */

bool reads_control(const struct x86_insn *i)
{
	unsigned reg = i->opnd[1].reg;

	return i->opnd[1].kind == X86_OPND_CR && (reg == 0 || (reg >= 2 && reg <= 4));
}

void emit_control(struct emitter *e)
{
	const uint32_t where[] = {
		STATE(c.s.cr0), 0, STATE(c.s.cr2), STATE(c.s.cr3), STATE(c.s.cr4)};
	unsigned guest = e->n->i.opnd[0].reg, to = home(guest) == SPILLED ? T1 : home(guest);
	struct mem from = in_state(where[e->n->i.opnd[1].reg]);

	put_rm(e->c, (struct opcode){.byte = 0x8b, .w = wide(e)}, to, from);
	if (to == T1)
		store64(e->c, in_state(GPR(guest)), T1);
}

/* ---- the time ---- */

#define CLOCK(field) at_reg(T0, (int32_t)offsetof(struct clock, field))

bool reads_line(const struct tcpu *t, const struct x86_insn *i)
{
	const struct vm *vm = t->c.v->vm;

	return vm->clock.invariant && vm->tsc_hz == NSEC_PER_SEC &&
	       x86_model_executes(&vm->model, x86_insn_table[i->entry].feature);
}

/* RAX becomes the ticks since the line was bent, if they are few: a reading before it has many. */
static uint32_t emit_ticks(struct code *c, bool ordered)
{
	if (ordered)
		put_bytes(c, "\x0f\xae\xe8", 3); /* lfence */
	put_bytes(c, "\x0f\x31", 2);             /* rdtsc */
	shift_imm(c, true, 4, RDX, 32);
	put_rr(c, OP_W(0x0b), RAX, RDX);
	put_rm(c, OP_W(0x2b), RAX, CLOCK(line.tsc));
	mov_rr(c, RDX, RAX);
	shift_imm(c, true, 5, RDX, 32);
	return jcc_forward(c, CC_NZ);
}

/* RAX becomes the guest's TSC; RDX is lost. */
static void emit_line(struct code *c)
{
	put_rm(c, OP_W(0xf7), 4, CLOCK(line.mult));                              /* mul */
	put_rr(c, (struct opcode){.map = 1, .byte = 0xac, .w = true}, RDX, RAX); /* shrd */
	put8(c, 32);
	put_rm(c, OP_W(0x03), RAX, CLOCK(line.ns));
	put_rm(c, OP_W(0x2b), RAX, CLOCK(offset));
	put_rm(c, OP_W(0x03), RAX, in_state(STATE(c.s.tsc)));
}

/* As read_tsc of interpret, which is called where there is no line or it changes. */
void emit_time(struct emitter *e)
{
	struct code *c = e->c;
	bool user = e->s->key.privilege == X86_USER, with_aux = e->n->i.op == X86_OP_RDTSCP;
	uint32_t from[5], count = 0, done;

	need_flags_in_memory(e);
	e->flags = IN_MEMORY;
	if (user) {
		put_rm(c, OP(0xf7), 0, in_state(STATE(c.s.cr4)));
		put32(c, X86_CR4_TSD);
		from[count++] = jcc_forward(c, CC_NZ);
	}
	mov_imm(c, T0, (uint64_t)(uintptr_t)&e->t->c.v->vm->clock);
	put_rm(c, OP(0x80), 7, CLOCK(running));
	put8(c, 0);
	from[count++] = jcc_forward(c, CC_Z);
	put_rm(c, OP(0x8b), T1, CLOCK(line.seq));
	put_rr(c, OP(0xf7), 0, T1);
	put32(c, 1);
	from[count++] = jcc_forward(c, CC_NZ);
	from[count++] = emit_ticks(c, with_aux);
	emit_line(c);
	put_rm(c, OP(0x3b), T1, CLOCK(line.seq));
	from[count++] = jcc_forward(c, CC_NZ);
	mov_rr(c, RDX, RAX);
	shift_imm(c, true, 5, RDX, 32);
	mov_rr32(c, RAX, RAX);
	if (with_aux)
		put_rm(c, OP(0x8b), RCX, in_state(STATE(c.s.msr[X86_MSR_TSC_AUX])));
	done = jmp_forward(c);
	for (unsigned n = 0; n < count; n++)
		land(c, from[n]);
	emit_body(e);
	land(c, done);
}
