/*
 * memory.c - how an instruction reaches memory: segment, linear, physical.
 *
 * Sources: SDM vol. 3A 5.3 (limits), 5.4 and 3.4.5.1 (types), 3.3 (linear),
 * 3.3.7.1 (canonical), 17.2 (data breakpoints), 6.15 (#AC).
 */
#include <string.h>

#include "engine/interpret/cpu.h"

/* ---- segments ---- */

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

static bool type_allows(const struct x86_seg *s, enum x86_access a)
{
	if (a == X86_WRITE)
		return !(s->attr & TYPE_CODE) && s->attr & TYPE_WRITABLE;
	return !(s->attr & TYPE_CODE) || s->attr & TYPE_WRITABLE;
}

/* Data breakpoints of DR7 trap behind the instruction. */
static void watch(struct cpu *c, uint64_t lin, unsigned size, enum x86_access a)
{
	static const uint8_t length[] = {1, 2, 8, 4};

	for (unsigned n = 0; n < 4; n++) {
		unsigned control = c->s.dr[7] >> (16 + n * 4) & 15, len = length[control >> 2];
		uint64_t base = c->s.dr[n] & ~(uint64_t)(len - 1);

		if (!(c->s.dr[7] >> (n * 2) & 3) || !(control & 1) ||
			((control & 3) == 1 && a != X86_WRITE))
			continue;
		if (lin < base + len && base < lin + size)
			c->dr6_hits |= UINT64_C(1) << n;
	}
	if (c->stops)
		stops_note(c, lin, size, a);
}

static uint64_t linear_64(struct cpu *c, unsigned seg, uint64_t off, unsigned size)
{
	uint64_t lin = seg >= X86_FS ? c->s.seg[seg].base + off : off;

	if (!is_canonical(lin) || !is_canonical(lin + size - 1))
		segment_fault(c, seg);
	return lin;
}

static uint64_t linear_32(
	struct cpu *c, unsigned seg, uint64_t off, unsigned size, enum x86_access a)
{
	const struct x86_seg *s = &c->s.seg[seg];

	if (protected_mode(c) && (s->attr & X86_ATTR_UNUSABLE || !type_allows(s, a)))
		segment_fault(c, seg);
	if (!in_limit(s, off, size))
		segment_fault(c, seg);
	return (uint32_t)(s->base + off);
}

uint64_t linear(struct cpu *c, unsigned seg, uint64_t off, unsigned size, enum x86_access a)
{
	uint64_t lin = c->mode == X86_MODE_64 ? linear_64(c, seg, off, size)
					      : linear_32(c, seg, off, size, a);

	if (c->align_check && lin & (size - 1) && !(size & (size - 1)))
		raise_error(c, X86_ACV, 0);
	if (c->watch)
		watch(c, lin, size, a);
	return lin;
}

/* ---- physical memory ---- */

/* Single accesses of the guest are single accesses of the host, whatever their alignment. */
typedef uint16_t __attribute__((aligned(1), may_alias)) any16;
typedef uint32_t __attribute__((aligned(1), may_alias)) any32;
typedef uint64_t __attribute__((aligned(1), may_alias)) any64;

__attribute__((no_sanitize("thread"))) static inline uint64_t load_host(
	const uint8_t *p, unsigned size)
{
	switch (size) {
	case 1:
		return *(const volatile uint8_t *)p;
	case 2:
		return *(const volatile any16 *)p;
	case 4:
		return *(const volatile any32 *)p;
	default:
		return *(const volatile any64 *)p;
	}
}

__attribute__((no_sanitize("thread"))) static inline void store_host(
	uint8_t *p, unsigned size, uint64_t value)
{
	switch (size) {
	case 1:
		*(volatile uint8_t *)p = (uint8_t)value;
		break;
	case 2:
		*(volatile any16 *)p = (uint16_t)value;
		break;
	case 4:
		*(volatile any32 *)p = (uint32_t)value;
		break;
	default:
		*(volatile any64 *)p = value;
	}
}

static bool one_page(uint64_t lin, unsigned size)
{
	return (lin & 4095) + size <= PAGE_SIZE;
}

/* Linear addresses wrap at 4 GiB outside of 64-bit mode. */
static uint64_t wrap(const struct cpu *c, uint64_t lin)
{
	return long_mode(c) ? lin : (uint32_t)lin;
}

static bool simple(unsigned size)
{
	return size && !(size & (size - 1));
}

/* Perhaps the instructions that follow. */
static void wrote_code(struct cpu *c, const struct tlb_entry *e, uint64_t lin, unsigned size)
{
	c->look = true;
	written(c->e, e->gpa + (lin & 4095), size);
}

void look_behind(struct cpu *c, const struct tlb_entry *e, uint64_t lin, unsigned size)
{
	if (c->shared)
		atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load_explicit(&e->code->lines, memory_order_relaxed))
		wrote_code(c, e, lin, size);
	else if (c->shared)
		tlb_unseal(c, e);
}

static uint64_t load_in_page(struct cpu *c, uint64_t lin, unsigned size, enum x86_privilege p)
{
	struct tlb_entry *e = tlb_find(c, lin, p, X86_READ);
	uint64_t v = 0;

	if (!(e->fast & X86_RIGHT(p, X86_READ))) {
		c->look = true;
		return vcpu_mmio_read(c->v, e->gpa + (lin & 4095), size);
	}
	if (simple(size))
		return load_host(e->host + (lin & 4095), size);
	memcpy(&v, e->host + (lin & 4095), size);
	return v;
}

static void store_in_page(
	struct cpu *c, uint64_t lin, unsigned size, uint64_t value, enum x86_privilege p)
{
	struct tlb_entry *e = tlb_find(c, lin, p, X86_WRITE);

	if (!(e->fast & X86_RIGHT(p, X86_WRITE))) {
		c->look = true;
		vcpu_mmio_write(c->v, e->gpa + (lin & 4095), size, value);
		return;
	}
	if (simple(size))
		store_host(e->host + (lin & 4095), size, value);
	else
		memcpy(e->host + (lin & 4095), &value, size);
	if (e->code)
		look_behind(c, e, lin, size);
}

static uint64_t load_as(struct cpu *c, uint64_t lin, unsigned size, enum x86_privilege p)
{
	unsigned first = PAGE_SIZE - (lin & 4095);
	uint64_t v;

	if (one_page(lin, size))
		return load_in_page(c, lin, size, p);
	tlb_find(c, lin, p, X86_READ); /* no side effect before the last fault */
	tlb_find(c, wrap(c, lin + first), p, X86_READ);
	v = 0;
	for (unsigned n = 0; n < size; n++)
		v |= load_in_page(c, wrap(c, lin + n), 1, p) << (n * 8);
	return v;
}

/* All pages that a write touches; CR2 is the first byte that cannot be written. */
static void probe_linear(struct cpu *c, uint64_t lin, unsigned size, enum x86_privilege p)
{
	tlb_find(c, lin, p, X86_WRITE);
	if (!one_page(lin, size))
		tlb_find(c, wrap(c, (lin + size - 1) & ~UINT64_C(4095)), p, X86_WRITE);
}

static void store_as(
	struct cpu *c, uint64_t lin, unsigned size, uint64_t value, enum x86_privilege p)
{
	if (one_page(lin, size)) {
		store_in_page(c, lin, size, value, p);
		return;
	}
	probe_linear(c, lin, size, p);
	for (unsigned n = 0; n < size; n++)
		store_in_page(c, wrap(c, lin + n), 1, value >> (n * 8) & 0xff, p);
}

uint64_t load_linear(struct cpu *c, uint64_t lin, unsigned size)
{
	return load_as(c, lin, size, c->privilege);
}

void store_linear(struct cpu *c, uint64_t lin, unsigned size, uint64_t value)
{
	store_as(c, lin, size, value, c->privilege);
}

uint64_t load_system(struct cpu *c, uint64_t lin, unsigned size)
{
	return load_as(c, wrap(c, lin), size, X86_SUPERVISOR);
}

void store_system(struct cpu *c, uint64_t lin, unsigned size, uint64_t value)
{
	store_as(c, wrap(c, lin), size, value, X86_SUPERVISOR);
}

uint64_t load(struct cpu *c, unsigned seg, uint64_t off, unsigned size)
{
	return load_linear(c, linear(c, seg, off, size, X86_READ), size);
}

void store(struct cpu *c, unsigned seg, uint64_t off, unsigned size, uint64_t value)
{
	store_linear(c, linear(c, seg, off, size, X86_WRITE), size, value);
}

void probe_store(struct cpu *c, unsigned seg, uint64_t off, unsigned size)
{
	probe_linear(c, linear(c, seg, off, size, X86_WRITE), size, c->privilege);
}

/* ---- LOCK ---- */

/* The CPU's own, since operands need not be aligned, which C's atomics must be. */
#define CMPXCHG(suffix, reg)                                                                       \
	__asm__ volatile("lock cmpxchg" suffix " %" reg "3, (%2)"                                  \
			 : "=@ccz"(same), "+a"(old)                                                \
			 : "r"(p), "r"(new)                                                        \
			 : "memory")

static bool swap_host(uint8_t *p, unsigned size, uint64_t old, uint64_t new)
{
	bool same;

	switch (size) {
	case 1:
		CMPXCHG("b", "b");
		break;
	case 2:
		CMPXCHG("w", "w");
		break;
	case 4:
		CMPXCHG("l", "k");
		break;
	default:
		CMPXCHG("q", "q");
	}
	return same;
}

/* XCHG with memory locks without a prefix (SDM vol. 3A 8.1.2.1). */
static bool locks(const struct x86_insn *i)
{
	return i->lock || i->op == X86_OP_XCHG;
}

uint64_t load_to_change(struct cpu *c, unsigned seg, uint64_t off, unsigned size)
{
	probe_store(c, seg, off, size);
	c->locked = load(c, seg, off, size);
	return c->locked;
}

/* A LOCKed access across two pages of RAM: `first` bytes are in the first. */
struct split {
	struct tlb_entry *page[2];
	uint64_t number[2]; /* of the pages */
	uint64_t lin, old, new;
	unsigned size, first;
};

/* All others stand still. false: not what it was, or the memory map changed meanwhile. */
static bool swap_split(void *ctx)
{
	const struct split *s = ctx;
	uint8_t *low, *high;
	uint64_t now = 0;

	if (s->page[0]->page != s->number[0] || s->page[1]->page != s->number[1])
		return false;
	low = s->page[0]->host + (s->lin & 4095);
	high = s->page[1]->host;
	memcpy(&now, low, s->first);
	memcpy((uint8_t *)&now + s->first, high, s->size - s->first);
	if (now != (s->old & size_mask(s->size)))
		return false;
	memcpy(low, &s->new, s->first);
	memcpy(high, (const uint8_t *)&s->new + s->first, s->size - s->first);
	return true;
}

static bool writes_ram(const struct cpu *c, const struct tlb_entry *e)
{
	return e->fast & X86_RIGHT(c->privilege, X86_WRITE);
}

/* The bus lock that the CPU takes for it (SDM vol. 3A 8.1.2). */
static void store_split(struct cpu *c, uint64_t lin, unsigned size, uint64_t value)
{
	unsigned first = PAGE_SIZE - (unsigned)(lin & 4095);
	uint64_t next = wrap(c, lin + first);
	struct split s = {.lin = lin, .old = c->locked, .new = value, .size = size, .first = first};

	s.page[0] = tlb_find(c, lin, c->privilege, X86_WRITE);
	s.page[1] = tlb_find(c, next, c->privilege, X86_WRITE);
	if (!writes_ram(c, s.page[0]) || !writes_ram(c, s.page[1])) {
		store_linear(c, lin, size, value);
		return;
	}
	s.number[0] = lin / PAGE_SIZE;
	s.number[1] = next / PAGE_SIZE;
	if (!vcpu_alone(c->v, swap_split, &s))
		longjmp(c->leave, JUMP_RETRY);
	if (s.page[0]->code)
		wrote_code(c, s.page[0], lin, first);
	if (s.page[1]->code)
		wrote_code(c, s.page[1], next, size - first);
}

/*
 * The write of a LOCKed instruction: if another vCPU was faster, the
 * instruction is executed again, since nothing else of it has happened yet.
 */
static void store_locked(struct cpu *c, unsigned seg, uint64_t off, unsigned size, uint64_t value)
{
	uint64_t lin = linear(c, seg, off, size, X86_WRITE);
	struct tlb_entry *e;

	if (!one_page(lin, size)) {
		store_split(c, lin, size, value);
		return;
	}
	e = tlb_find(c, lin, c->privilege, X86_WRITE);
	if (!writes_ram(c, e)) {
		store_linear(c, lin, size, value);
		return;
	}
	if (!swap_host(e->host + (lin & 4095), size, c->locked, value))
		longjmp(c->leave, JUMP_RETRY);
	if (e->code)
		wrote_code(c, e, lin, size);
}

void store_changed(struct cpu *c, const struct x86_insn *i, unsigned seg, uint64_t off,
	unsigned size, uint64_t value)
{
	if (locks(i))
		store_locked(c, seg, off, size, value);
	else
		store(c, seg, off, size, value);
}

/* CMPXCHG16B: old takes what is there if it is not the same. */
bool swap_16(struct cpu *c, unsigned seg, uint64_t off, uint64_t old[2], const uint64_t new[2])
{
	uint64_t lin = linear(c, seg, off, 16, X86_WRITE);
	struct tlb_entry *e;
	bool same;

	e = tlb_find(c, lin, c->privilege, X86_WRITE);
	if (!(e->fast & X86_RIGHT(c->privilege, X86_WRITE))) { /* a device: two plain accesses */
		uint64_t now[2] = {load_linear(c, lin, 8), load_linear(c, lin + 8, 8)};

		same = now[0] == old[0] && now[1] == old[1];
		store_linear(c, lin, 8, same ? new[0] : now[0]);
		store_linear(c, lin + 8, 8, same ? new[1] : now[1]);
		old[0] = now[0];
		old[1] = now[1];
		return same;
	}
	__asm__ volatile("lock cmpxchg16b %1"
			 : "=@ccz"(same),
			 "+m"(*(unsigned __int128 *)(void *)(e->host + (lin & 4095))), "+a"(old[0]),
			 "+d"(old[1])
			 : "b"(new[0]), "c"(new[1])
			 : "memory");
	if (e->code)
		wrote_code(c, e, lin, 16);
	return same;
}

/* ---- fetch ---- */

/* The bytes of code in the page of lin, from n on, as far as the limit allows. */
static unsigned fetch_page(struct cpu *c, uint64_t lin, uint8_t *bytes, unsigned n)
{
	struct tlb_entry *e = tlb_find(c, lin, code_privilege(c), X86_FETCH);

	do {
		gpa_t gpa = e->gpa + (lin & 4095);

		if (c->s.rip + n > code_limit(c))
			break;
		bytes[n++] = e->host ? e->host[lin & 4095] : (uint8_t)vcpu_mmio_read(c->v, gpa, 1);
		lin++;
	} while (n < X86_INSN_MAX && lin & 4095);
	return n;
}

static void check_decoded(struct cpu *c, enum x86_decode_status status, const struct x86_insn *i)
{
	if (status == X86_DECODE_UD)
		raise_fault(c, X86_UD);
	if (status != X86_DECODE_OK)
		raise_error(c, X86_GP, 0);
	/* VEX is not recognised in real and virtual-8086 mode (SDM vol. 2A 2.3.5). */
	if (i->vex && !protected_mode(c))
		raise_fault(c, X86_UD);
}

/* true: it may be kept, since all of it is in one page. */
bool decode(struct cpu *c, uint64_t lin, struct x86_insn *insn)
{
	uint8_t bytes[X86_INSN_MAX];
	unsigned n = fetch_page(c, lin, bytes, 0), first = n;
	enum x86_decode_status status = x86_decode(bytes, n, c->mode, insn);

	if (status == X86_DECODE_MORE && n < X86_INSN_MAX && !((lin + n) & 4095)) {
		n = fetch_page(c, wrap(c, lin + n), bytes, n);
		status = x86_decode(bytes, n, c->mode, insn);
	}
	check_decoded(c, status, insn);
	return insn->len <= first;
}

void mark_code(struct cpu *c, struct code_page *p, gpa_t addr, unsigned len)
{
	uint64_t lines = UINT64_C(1) << ((addr & 4095) >> LINE_SHIFT) |
			 UINT64_C(1) << (((addr + len - 1) & 4095) >> LINE_SHIFT);

	atomic_fetch_or(&p->lines, lines);
	if ((c->shared || c->hooks) && !atomic_load(&p->sealed))
		seal_page(c, p);
}

const struct x86_insn *fetch(struct cpu *c)
{
	uint64_t lin = code_address(c);

	if (c->s.rip > code_limit(c) || (c->mode == X86_MODE_64 && !is_canonical(lin)))
		raise_error(c, X86_GP, 0);
	decode(c, lin, &c->apart);
	return &c->apart;
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

void check_aligned(struct cpu *c, const struct x86_insn *i, unsigned to)
{
	bool flat = c->mode == X86_MODE_64 && i->mem.seg < X86_FS;
	uint64_t off = address(c, i, &i->mem);

	if ((flat ? off : c->s.seg[i->mem.seg].base + off) & (to - 1))
		raise_error(c, X86_GP, 0);
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
		if (x86_insn_table[i->entry].access[n] == 3) /* faults as a write does */
			return load_to_change(c, m->seg, address(c, i, m), o->size);
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
		value &= size_mask(o->size);
		store_changed(c, i, m->seg, address(c, i, m), o->size, value);
	} else if (o->high) {
		c->s.gpr[o->reg] = (c->s.gpr[o->reg] & ~UINT64_C(0xff00)) | (value & 0xff) << 8;
	} else {
		set_gpr(c, o->reg, o->size, value);
	}
}
