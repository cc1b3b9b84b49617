/*
 * memory.c - how an instruction reaches memory: segment, linear, physical.
 *
 * Sources: SDM vol. 3A 5.3 (limits), 5.4 and 3.4.5.1 (types), 3.3 (linear).
 * Paging is left out: a linear address is a physical one.
 */
#include <string.h>

#include "engine/interpret/cpu.h"

/* ---- segments ---- */

#define TYPE_CODE        8u
#define TYPE_EXPAND_DOWN 4u
#define TYPE_WRITABLE    2u /* of data; readable, of code */

_Noreturn static void segment_fault(struct cpu *c, unsigned seg)
{
	raise_error(c, seg == X86_SS ? X86_SSV : X86_GP, 0);
}

static bool in_limit(const struct x86_seg *s, uint64_t off, unsigned size)
{
	uint64_t end = off + size - 1;

	if ((s->attr & (TYPE_CODE | TYPE_EXPAND_DOWN | X86_ATTR_S)) ==
		(TYPE_EXPAND_DOWN | X86_ATTR_S))
		return off > s->limit && end <= (s->attr & X86_ATTR_DB ? 0xffffffffu : 0xffffu);
	return end <= s->limit;
}

static bool type_allows(const struct x86_seg *s, enum access a)
{
	if (a == WRITE)
		return !(s->attr & TYPE_CODE) && s->attr & TYPE_WRITABLE;
	return !(s->attr & TYPE_CODE) || s->attr & TYPE_WRITABLE;
}

uint64_t linear(struct cpu *c, unsigned seg, uint64_t off, unsigned size, enum access a)
{
	const struct x86_seg *s = &c->s.seg[seg];

	if (protected_mode(c) && (s->attr & X86_ATTR_UNUSABLE || !type_allows(s, a)))
		segment_fault(c, seg);
	if (!in_limit(s, off, size))
		segment_fault(c, seg);
	return (uint32_t)(s->base + off);
}

/* ---- physical memory ---- */

static gpa_t physical(const struct cpu *c, uint64_t lin)
{
	return lin & c->v->vm->a20_mask;
}

/* Host memory of size bytes at addr, or NULL if they are not all in one RAM or ROM. */
static uint8_t *host_memory(struct cpu *c, gpa_t addr, unsigned size, enum access a)
{
	const struct bus_range *r = &c->range;

	if (addr - r->base >= r->size || size > r->size - (addr - r->base)) {
		r = bus_find(&c->v->vm->mem_bus, addr);
		if (!r || r->region->kind == BUS_IO || size > r->size - (addr - r->base))
			return NULL;
		c->range = *r;
	}
	if (a == WRITE && r->region->kind != BUS_RAM)
		return NULL;
	return r->region->host + r->off + (addr - r->base);
}

static bool line_has_code(const struct cpu *c, gpa_t addr)
{
	unsigned n = (unsigned)(addr >> LINE_SHIFT) % LINE_COUNT;

	return c->line[n / 8] >> (n % 8) & 1;
}

static void mark_line(struct cpu *c, gpa_t addr)
{
	unsigned n = (unsigned)(addr >> LINE_SHIFT) % LINE_COUNT;

	c->line[n / 8] |= (uint8_t)(1u << (n % 8));
}

void forget_code(struct cpu *c)
{
	c->generation++;
	c->range.size = 0;
	memset(c->line, 0, sizeof(c->line));
}

static uint64_t load_bytes(const uint8_t *p, unsigned size)
{
	uint64_t v = 0;

	memcpy(&v, p, size);
	return v;
}

static uint64_t load_physical(struct cpu *c, gpa_t addr, unsigned size)
{
	uint8_t *p = host_memory(c, addr, size, READ);

	return p ? load_bytes(p, size) : vcpu_mmio_read(c->v, addr, size);
}

static void store_physical(struct cpu *c, gpa_t addr, unsigned size, uint64_t value)
{
	uint8_t *p = host_memory(c, addr, size, WRITE);

	if (!p) {
		vcpu_mmio_write(c->v, addr, size, value);
		c->range.size = 0; /* the handler may have changed the map */
		return;
	}
	memcpy(p, &value, size);
	if (line_has_code(c, addr) || line_has_code(c, addr + size - 1))
		forget_code(c);
}

/* Does the access wrap at 4 GiB or at A20, so that its bytes lie apart? */
static bool torn(const struct cpu *c, uint64_t lin, unsigned size)
{
	return (uint32_t)(lin + size - 1) < (uint32_t)lin ||
	       physical(c, lin + size - 1) != physical(c, lin) + size - 1;
}

uint64_t load_linear(struct cpu *c, uint64_t lin, unsigned size)
{
	uint64_t v = 0;

	if (!torn(c, lin, size))
		return load_physical(c, physical(c, (uint32_t)lin), size);
	for (unsigned n = 0; n < size; n++)
		v |= load_physical(c, physical(c, (uint32_t)(lin + n)), 1) << (n * 8);
	return v;
}

void store_linear(struct cpu *c, uint64_t lin, unsigned size, uint64_t value)
{
	if (!torn(c, lin, size)) {
		store_physical(c, physical(c, (uint32_t)lin), size, value);
		return;
	}
	for (unsigned n = 0; n < size; n++)
		store_physical(c, physical(c, (uint32_t)(lin + n)), 1, value >> (n * 8) & 0xff);
}

uint64_t load(struct cpu *c, unsigned seg, uint64_t off, unsigned size)
{
	return load_linear(c, linear(c, seg, off, size, READ), size);
}

void store(struct cpu *c, unsigned seg, uint64_t off, unsigned size, uint64_t value)
{
	store_linear(c, linear(c, seg, off, size, WRITE), size, value);
}

/* ---- fetch ---- */

static enum x86_mode code_mode(const struct cpu *c)
{
	return c->s.seg[X86_CS].attr & X86_ATTR_DB ? X86_MODE_32 : X86_MODE_16;
}

/* As many bytes of code as the limit allows; absent memory reads as all ones. */
static unsigned fetch_bytes(struct cpu *c, uint8_t *bytes)
{
	const struct x86_seg *cs = &c->s.seg[X86_CS];
	unsigned n;

	for (n = 0; n < X86_INSN_MAX && c->s.rip + n <= cs->limit; n++)
		bytes[n] = (uint8_t)load_linear(c, (uint32_t)(cs->base + c->s.rip + n), 1);
	return n;
}

static void decode_at(struct cpu *c, gpa_t addr, struct cached_insn *e)
{
	uint8_t bytes[X86_INSN_MAX];
	unsigned n = fetch_bytes(c, bytes);

	e->addr = addr;
	e->mode = code_mode(c);
	e->generation = c->generation - 1; /* not valid until decoded */
	switch (x86_decode(bytes, n, e->mode, &e->insn)) {
	case X86_DECODE_OK:
		break;
	case X86_DECODE_UD:
		raise_fault(c, X86_UD);
	case X86_DECODE_MORE:
	case X86_DECODE_LONG:
		raise_error(c, X86_GP, 0);
	}
	/* VEX is not recognised in real and virtual-8086 mode (SDM vol. 2A 2.3.5). */
	if (e->insn.vex && !protected_mode(c))
		raise_fault(c, X86_UD);
	e->generation = c->generation;
	mark_line(c, addr);
	mark_line(c, addr + e->insn.len - 1);
}

const struct x86_insn *fetch(struct cpu *c)
{
	const struct x86_seg *cs = &c->s.seg[X86_CS];
	gpa_t addr = physical(c, (uint32_t)(cs->base + c->s.rip));
	struct cached_insn *e = &c->cache[(addr ^ addr >> 12) % CACHE_SIZE];

	if (c->s.rip > cs->limit)
		raise_error(c, X86_GP, 0);
	if (e->addr != addr || e->generation != c->generation || e->mode != code_mode(c))
		decode_at(c, addr, e);
	if (c->s.rip + e->insn.len - 1 > cs->limit)
		raise_error(c, X86_GP, 0);
	return &e->insn;
}

/* ---- operands ---- */

uint64_t get_gpr(const struct cpu *c, unsigned reg, unsigned size)
{
	return c->s.gpr[reg] & size_mask(size);
}

/* 32-bit writes clear the upper half, smaller ones keep the rest. */
void set_gpr(struct cpu *c, unsigned reg, unsigned size, uint64_t value)
{
	uint64_t mask = size_mask(size);

	if (size >= 4)
		c->s.gpr[reg] = value & mask;
	else
		c->s.gpr[reg] = (c->s.gpr[reg] & ~mask) | (value & mask);
}

uint64_t address(struct cpu *c, const struct x86_insn *i, const struct x86_mem *m)
{
	uint64_t ea = (uint64_t)m->disp;

	if (m->base != X86_NOREG)
		ea += m->base == X86_REG_IP ? c->s.rip + i->len : c->s.gpr[m->base];
	if (m->index != X86_NOREG)
		ea += c->s.gpr[m->index] * m->scale;
	return ea & size_mask(i->addrsize);
}

static const struct x86_mem *memory_of(const struct x86_insn *i, const struct x86_operand *o)
{
	return o->reg ? &i->mem2 : &i->mem;
}

uint64_t get(struct cpu *c, const struct x86_insn *i, unsigned n)
{
	const struct x86_operand *o = &i->opnd[n];
	const struct x86_mem *m;

	switch (o->kind) {
	case X86_OPND_GPR:
		if (o->high)
			return c->s.gpr[o->reg] >> 8 & 0xff;
		return get_gpr(c, o->reg, o->size);
	case X86_OPND_SEG:
		return c->s.seg[o->reg].sel;
	case X86_OPND_MEM:
		m = memory_of(i, o);
		return load(c, m->seg, address(c, i, m), o->size);
	case X86_OPND_IMM2:
		return (uint64_t)i->imm2;
	default:
		return (uint64_t)i->imm & size_mask(o->size ? o->size : 8);
	}
}

void set(struct cpu *c, const struct x86_insn *i, unsigned n, uint64_t value)
{
	const struct x86_operand *o = &i->opnd[n];
	const struct x86_mem *m;

	if (o->kind == X86_OPND_MEM) {
		m = memory_of(i, o);
		store(c, m->seg, address(c, i, m), o->size, value & size_mask(o->size));
	} else if (o->high) {
		c->s.gpr[o->reg] = (c->s.gpr[o->reg] & ~UINT64_C(0xff00)) | (value & 0xff) << 8;
	} else {
		set_gpr(c, o->reg, o->size, value);
	}
}
