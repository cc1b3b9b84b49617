/*
 * asm.h - writing x86-64 instructions, as few forms as the translator needs.
 *
 * Source: SDM vol. 2A chapter 2 (format). Code is written through one mapping
 * and executed through another: addresses are offsets from the start.
 */
#ifndef TINAMOU_TRANSLATE_ASM_H
#define TINAMOU_TRANSLATE_ASM_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum host_reg {
	RAX,
	RCX,
	RDX,
	RBX,
	RSP,
	RBP,
	RSI,
	RDI,
	R8,
	R9,
	R10,
	R11,
	R12,
	R13,
	R14,
	R15,
	NOREG = 0xff
};

struct code {
	uint8_t *base; /* where it is written */
	uint32_t at, size;
	bool full; /* what was written since is lost */
};

/* An opcode with what stands before it. */
struct opcode {
	uint8_t prefix; /* 66, F2, F3 that belongs to the opcode, or 0 */
	uint8_t map;    /* enum x86_map */
	uint8_t byte;
	bool w;      /* REX.W */
	bool size16; /* 66 */
	bool lock;
	bool byte_regs; /* registers 4 to 7 are SPL to DIL */
};

struct mem {
	uint8_t base, index, scale; /* NOREG; scale 1, 2, 4, 8 */
	int32_t disp;
};

static inline void put8(struct code *c, unsigned v)
{
	if (c->at < c->size)
		c->base[c->at++] = (uint8_t)v;
	else
		c->full = true;
}

static inline void put_bytes(struct code *c, const void *from, uint32_t len)
{
	if (c->size - c->at < len) {
		c->full = true;
		return;
	}
	memcpy(c->base + c->at, from, len);
	c->at += len;
}

static inline void put32(struct code *c, uint32_t v)
{
	put_bytes(c, &v, 4);
}

static inline void put64(struct code *c, uint64_t v)
{
	put_bytes(c, &v, 8);
}

/* Prefixes, REX and opcode; reg, index and rm as they are extended by REX. */
static inline void put_opcode(
	struct code *c, struct opcode o, unsigned reg, unsigned index, unsigned rm)
{
	unsigned rex = o.w << 3 | (reg >> 3 & 1) << 2 | (index >> 3 & 1) << 1 | (rm >> 3 & 1);

	if (o.lock)
		put8(c, 0xf0);
	if (o.size16)
		put8(c, 0x66);
	if (o.prefix)
		put8(c, o.prefix);
	if (rex || o.byte_regs)
		put8(c, 0x40 | rex);
	if (o.map)
		put8(c, 0x0f);
	if (o.map >= 2)
		put8(c, o.map == 2 ? 0x38 : 0x3a);
	put8(c, o.byte);
}

/* ModRM with register operands. */
static inline void put_rr(struct code *c, struct opcode o, unsigned reg, unsigned rm)
{
	put_opcode(c, o, reg, 0, rm);
	put8(c, 0xc0 | (reg & 7) << 3 | (rm & 7));
}

/* What follows the opcode: ModRM, SIB and displacement. */
static inline void put_mem(struct code *c, unsigned reg, struct mem m)
{
	unsigned field = (reg & 7) << 3, scale = 0, mod;
	bool sib = m.index != NOREG || m.base == NOREG || (m.base & 7) == RSP;

	while (m.scale >> (scale + 1))
		scale++;
	if (m.base == NOREG)
		mod = 0;
	else if (!m.disp && (m.base & 7) != RBP)
		mod = 0;
	else
		mod = m.disp == (int8_t)m.disp ? 1 : 2;
	put8(c, mod << 6 | field | (sib ? 4u : m.base & 7u));
	if (sib)
		put8(c, scale << 6 | (m.index == NOREG ? 4u : m.index & 7u) << 3 |
				(m.base == NOREG ? 5u : m.base & 7u));
	if (mod == 1)
		put8(c, (uint8_t)m.disp);
	else if (mod == 2 || m.base == NOREG)
		put32(c, (uint32_t)m.disp);
}

static inline void put_rm(struct code *c, struct opcode o, unsigned reg, struct mem m)
{
	put_opcode(c, o, reg, m.index == NOREG ? 0 : m.index, m.base == NOREG ? 0 : m.base);
	put_mem(c, reg, m);
}

static inline struct mem at_reg(unsigned base, int32_t disp)
{
	return (struct mem){(uint8_t)base, NOREG, 1, disp};
}

/* In the state: RSP is its start. */
static inline struct mem in_state(uint32_t off)
{
	return at_reg(RSP, (int32_t)off);
}

#define OP(b)    ((struct opcode){.byte = (b)})
#define OP_W(b)  ((struct opcode){.byte = (b), .w = true})
#define OP_0F(b) ((struct opcode){.map = 1, .byte = (b)})

static inline void mov_rr(struct code *c, unsigned to, unsigned from)
{
	put_rr(c, OP_W(0x8b), to, from);
}

static inline void mov_rr32(struct code *c, unsigned to, unsigned from)
{
	put_rr(c, OP(0x8b), to, from);
}

static inline void load64(struct code *c, unsigned to, struct mem m)
{
	put_rm(c, OP_W(0x8b), to, m);
}

static inline void store64(struct code *c, struct mem m, unsigned from)
{
	put_rm(c, OP_W(0x89), from, m);
}

static inline void lea64(struct code *c, unsigned to, struct mem m)
{
	put_rm(c, OP_W(0x8d), to, m);
}

static inline void lea32(struct code *c, unsigned to, struct mem m)
{
	put_rm(c, OP(0x8d), to, m);
}

static inline bool fits32(uint64_t v)
{
	return v == (uint64_t)(int32_t)v;
}

/* Any constant, without flags. */
static inline void mov_imm(struct code *c, unsigned to, uint64_t v)
{
	if (v == (uint32_t)v) {
		put_opcode(c, OP((uint8_t)(0xb8 | (to & 7))), 0, 0, to);
		put32(c, (uint32_t)v);
	} else if (fits32(v)) {
		put_rr(c, OP_W(0xc7), 0, to);
		put32(c, (uint32_t)v);
	} else {
		put_opcode(c, OP_W((uint8_t)(0xb8 | (to & 7))), 0, 0, to);
		put64(c, v);
	}
}

/* A constant to memory; through `by` if it needs more than 32 bits. */
static inline void store_imm(struct code *c, struct mem m, uint64_t v, unsigned by)
{
	if (fits32(v)) {
		put_rm(c, OP_W(0xc7), 0, m);
		put32(c, (uint32_t)v);
	} else {
		mov_imm(c, by, v);
		store64(c, m, by);
	}
}

/* group 81: op 0 add, 1 or, 4 and, 5 sub, 6 xor, 7 cmp */
static inline void alu_imm32(struct code *c, bool w, unsigned op, unsigned reg, int32_t v)
{
	struct opcode o = {.byte = v == (int8_t)v ? 0x83 : 0x81, .w = w};

	put_rr(c, o, op, reg);
	if (v == (int8_t)v)
		put8(c, (uint8_t)v);
	else
		put32(c, (uint32_t)v);
}

/* group C1: op 4 shl, 5 shr */
static inline void shift_imm(struct code *c, bool w, unsigned op, unsigned reg, unsigned count)
{
	put_rr(c, (struct opcode){.byte = 0xc1, .w = w}, op, reg);
	put8(c, count);
}

/* Jumps within the code; the displacement of a forward one is set by land(). */
static inline void jmp_to(struct code *c, uint32_t target)
{
	put8(c, 0xe9);
	put32(c, target - (c->at + 4));
}

static inline void call_to(struct code *c, uint32_t target)
{
	put8(c, 0xe8);
	put32(c, target - (c->at + 4));
}

static inline void jcc_to(struct code *c, unsigned cc, uint32_t target)
{
	put8(c, 0x0f);
	put8(c, 0x80 | cc);
	put32(c, target - (c->at + 4));
}

/* Returns where its displacement is. */
static inline uint32_t jmp_forward(struct code *c)
{
	jmp_to(c, 0);
	return c->at - 4;
}

static inline uint32_t jcc_forward(struct code *c, unsigned cc)
{
	jcc_to(c, cc, 0);
	return c->at - 4;
}

static inline void set_target(struct code *c, uint32_t where, uint32_t target)
{
	uint32_t disp = target - (where + 4);

	if (where + 4 <= c->size)
		memcpy(c->base + where, &disp, 4);
}

static inline void land(struct code *c, uint32_t where)
{
	set_target(c, where, c->at);
}

static inline void jmp_mem(struct code *c, struct mem m)
{
	put_rm(c, OP(0xff), 4, m);
}

enum { CC_B = 2, CC_AE = 3, CC_Z = 4, CC_NZ = 5, CC_BE = 6, CC_A = 7, CC_S = 8, CC_L = 12 };

#endif
