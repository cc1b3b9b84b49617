/*
 * avx.c - AVX instructions whose memory is not one block: masked moves and
 * gathers, element by element; MXCSR; VZEROALL and VZEROUPPER.
 *
 * Source: SDM vol. 2 (VMASKMOV, VPMASKMOV, VGATHER, VPGATHER, VMASKMOVDQU). What
 * the mask leaves out is not touched and cannot fault. A gather keeps what it
 * has when an element faults, and the cleared mask bits say so.
 */
#include "engine/interpret/fpu.h"

#include <string.h>

#define VECTOR_SIZE 32u

/* ---- registers: the lower half among the XMMs, the upper one in AVX state ---- */

static void get_vector(const struct cpu *c, unsigned reg, uint8_t v[VECTOR_SIZE])
{
	memcpy(v, c->s.xsave + FPU_XMM + reg * 16, 16);
	memcpy(v + 16, c->s.xsave + FPU_YMM + reg * 16, 16);
}

static void set_vector(struct cpu *c, unsigned reg, const uint8_t v[VECTOR_SIZE])
{
	const uint64_t all = X86_XCR0_X87 | X86_XCR0_SSE | X86_XCR0_AVX;

	memcpy(c->s.xsave + FPU_XMM + reg * 16, v, 16);
	memcpy(c->s.xsave + FPU_YMM + reg * 16, v + 16, 16);
	memcpy(c->s.xsave + FPU_HEADER, &all, sizeof(all));
}

static bool chosen(const uint8_t mask[VECTOR_SIZE], unsigned n, unsigned size)
{
	return mask[n * size + size - 1] & 0x80;
}

/* ---- masked moves ---- */

static uint64_t element(const struct x86_insn *i, uint64_t off, unsigned n, unsigned size)
{
	return (off + (uint64_t)n * size) & size_mask(i->addrsize);
}

static void masked_load(struct cpu *c, const struct x86_insn *i, unsigned size)
{
	uint8_t mask[VECTOR_SIZE], to[VECTOR_SIZE] = {0};
	uint64_t off = address(c, i, &i->mem), v;

	get_vector(c, i->opnd[1].reg, mask);
	for (unsigned n = 0; n < i->opnd[0].size / size; n++) {
		if (!chosen(mask, n, size))
			continue;
		v = load(c, i->mem.seg, element(i, off, n, size), size);
		memcpy(to + n * size, &v, size);
	}
	set_vector(c, i->opnd[0].reg, to);
}

static void masked_store(struct cpu *c, const struct x86_insn *i, unsigned size)
{
	uint8_t mask[VECTOR_SIZE], from[VECTOR_SIZE];
	uint64_t off = address(c, i, &i->mem), v = 0;
	unsigned count = i->opnd[2].size / size;

	get_vector(c, i->opnd[1].reg, mask);
	get_vector(c, i->opnd[2].reg, from);
	for (unsigned n = 0; n < count; n++)
		if (chosen(mask, n, size))
			probe_store(c, i->mem.seg, element(i, off, n, size), size);
	for (unsigned n = 0; n < count; n++) {
		if (!chosen(mask, n, size))
			continue;
		memcpy(&v, from + n * size, size);
		store(c, i->mem.seg, element(i, off, n, size), size, v);
	}
}

static void masked_move(struct cpu *c, const struct x86_insn *i, unsigned size)
{
	check_avx(c);
	if (i->opnd[0].kind == X86_OPND_MEM)
		masked_store(c, i, size);
	else
		masked_load(c, i, size);
}

void op_VMASKMOVPS(struct cpu *c, const struct x86_insn *i)
{
	masked_move(c, i, 4);
}

void op_VMASKMOVPD(struct cpu *c, const struct x86_insn *i)
{
	masked_move(c, i, 8);
}

void op_VPMASKMOVD(struct cpu *c, const struct x86_insn *i)
{
	masked_move(c, i, 4);
}

void op_VPMASKMOVQ(struct cpu *c, const struct x86_insn *i)
{
	masked_move(c, i, 8);
}

/* ---- gathers ---- */

static int64_t index_at(const uint8_t index[VECTOR_SIZE], unsigned n, unsigned size)
{
	uint64_t v = 0;

	memcpy(&v, index + n * size, size);
	return extend(v, size);
}

/* index_size: bytes of an index; those of an element are the memory operand's. */
static void gather(struct cpu *c, const struct x86_insn *i, unsigned index_size)
{
	uint8_t to[VECTOR_SIZE], index[VECTOR_SIZE], mask[VECTOR_SIZE];
	struct x86_mem m = i->mem;
	unsigned size = i->opnd[1].size, count = (i->vex_l ? 32u : 16u) / MAX(size, index_size);
	uint64_t off, v;

	check_avx(c);
	get_vector(c, m.index, index);
	get_vector(c, i->opnd[2].reg, mask);
	get_vector(c, i->opnd[0].reg, to);
	m.index = X86_NOREG;
	for (unsigned n = 0; n < count; n++) {
		if (!chosen(mask, n, size)) {
			memset(mask + n * size, 0, size);
			set_vector(c, i->opnd[2].reg, mask);
			continue;
		}
		off = address(c, i, &m) + (uint64_t)index_at(index, n, index_size) * m.scale;
		v = load(c, m.seg, off & size_mask(i->addrsize), size);
		memcpy(to + n * size, &v, size);
		memset(mask + n * size, 0, size);
		set_vector(c, i->opnd[0].reg, to);
		set_vector(c, i->opnd[2].reg, mask);
	}
	memset(mask, 0, sizeof(mask));
	memset(to + count * size, 0, sizeof(to) - count * size);
	set_vector(c, i->opnd[0].reg, to);
	set_vector(c, i->opnd[2].reg, mask);
}

void op_VPGATHERDD(struct cpu *c, const struct x86_insn *i)
{
	gather(c, i, 4);
}

void op_VPGATHERDQ(struct cpu *c, const struct x86_insn *i)
{
	gather(c, i, 4);
}

void op_VGATHERDPS(struct cpu *c, const struct x86_insn *i)
{
	gather(c, i, 4);
}

void op_VGATHERDPD(struct cpu *c, const struct x86_insn *i)
{
	gather(c, i, 4);
}

void op_VPGATHERQD(struct cpu *c, const struct x86_insn *i)
{
	gather(c, i, 8);
}

void op_VPGATHERQQ(struct cpu *c, const struct x86_insn *i)
{
	gather(c, i, 8);
}

void op_VGATHERQPS(struct cpu *c, const struct x86_insn *i)
{
	gather(c, i, 8);
}

void op_VGATHERQPD(struct cpu *c, const struct x86_insn *i)
{
	gather(c, i, 8);
}

/* ---- zeroing: outside 64-bit mode of the eight registers that there are ---- */

static void zero(struct cpu *c, bool lower_too)
{
	unsigned size = (c->mode == X86_MODE_64 ? 16 : 8) * 16;

	check_avx(c);
	if (lower_too)
		memset(c->s.xsave + FPU_XMM, 0, size);
	memset(c->s.xsave + FPU_YMM, 0, size);
}

void op_VZEROALL(struct cpu *c, const struct x86_insn *i)
{
	zero(c, true);
}

void op_VZEROUPPER(struct cpu *c, const struct x86_insn *i)
{
	zero(c, false);
}

/* ---- as their SSE forms, once AVX is allowed ---- */

void op_VMASKMOVDQU(struct cpu *c, const struct x86_insn *i)
{
	check_avx(c);
	op_MASKMOVDQU(c, i);
}

void op_VLDMXCSR(struct cpu *c, const struct x86_insn *i)
{
	check_avx(c);
	op_LDMXCSR(c, i);
}

void op_VSTMXCSR(struct cpu *c, const struct x86_insn *i)
{
	check_avx(c);
	op_STMXCSR(c, i);
}
