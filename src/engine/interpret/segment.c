/*
 * segment.c - descriptors, segment loads and what asks about them.
 * Source: SDM vol. 3A 3.4.5, 5.5 to 5.8; vol. 2 MOV, LAR, LSL, VERR.
 */
#include "engine/interpret/cpu.h"

#define SEL_TI  4u
#define SEL_RPL 3u

static bool find_descriptor(struct cpu *c, uint16_t sel, uint64_t *addr)
{
	const struct x86_seg *ldt = &c->s.seg[X86_LDTR];
	uint32_t index = sel & ~7u;

	if (sel & SEL_TI) {
		*addr = ldt->base + index;
		return !(ldt->attr & X86_ATTR_UNUSABLE) && index + 7 <= ldt->limit;
	}
	*addr = c->s.gdtr.base + index;
	return index + 7 <= c->s.gdtr.limit;
}

bool read_descriptor(struct cpu *c, uint16_t sel, uint64_t *raw)
{
	uint64_t addr;

	if (!find_descriptor(c, sel, &addr))
		return false;
	*raw = load_system(c, addr, 8);
	return true;
}

uint64_t fetch_descriptor(struct cpu *c, uint16_t sel, uint8_t vector)
{
	uint64_t raw;

	if (!read_descriptor(c, sel, &raw))
		raise_error(c, vector, error_of(sel));
	return raw;
}

struct x86_seg unpack_segment(uint16_t sel, uint64_t raw)
{
	struct x86_seg s = {.sel = sel};

	s.attr = (raw >> 40 & 0xff) | (raw >> 40 & 0xf000);
	s.base = (raw >> 16 & 0xffffff) | (raw >> 32 & 0xff000000);
	s.limit = (raw & 0xffff) | (raw >> 32 & 0xf0000);
	if (s.attr & X86_ATTR_G)
		s.limit = s.limit << 12 | 0xfff;
	return s;
}

struct x86_seg null_segment(uint16_t sel, unsigned dpl)
{
	return (struct x86_seg){.sel = sel, .attr = X86_ATTR_UNUSABLE | dpl << 5};
}

/* Loading a segment marks its descriptor as accessed. */
void mark_accessed(struct cpu *c, struct x86_seg *s)
{
	uint64_t addr;

	if (s->attr & TYPE_ACCESSED || !find_descriptor(c, s->sel, &addr))
		return;
	store_system(c, addr + 5, 1, (s->attr & 0xff) | TYPE_ACCESSED);
	s->attr |= TYPE_ACCESSED;
}

struct x86_seg system_segment(struct cpu *c, uint16_t sel, unsigned types, uint8_t vector)
{
	uint64_t raw, upper, addr;
	struct x86_seg s;

	if (sel & SEL_TI)
		raise_error(c, vector, error_of(sel));
	raw = fetch_descriptor(c, sel, vector);
	s = unpack_segment(sel, raw);
	if (s.attr & X86_ATTR_S || !(types >> (s.attr & X86_ATTR_TYPE) & 1))
		raise_error(c, vector, error_of(sel));
	if (!(s.attr & X86_ATTR_P))
		raise_error(c, X86_NP, error_of(sel));
	if (!long_mode(c))
		return s;
	if (!find_descriptor(c, (uint16_t)(sel + 8), &addr))
		raise_error(c, vector, error_of(sel));
	upper = load_system(c, addr, 8);
	s.base |= upper << 32;
	if (upper >> 40 & 0x1f || !is_canonical(s.base))
		raise_error(c, vector, error_of(sel));
	return s;
}

struct x86_seg check_stack(struct cpu *c, uint16_t sel, unsigned new_cpl, uint8_t vector)
{
	struct x86_seg s;

	if (is_null(sel))
		raise_error(c, vector, vector == X86_GP ? 0 : error_of(sel));
	s = unpack_segment(sel, fetch_descriptor(c, sel, vector));
	if ((sel & SEL_RPL) != new_cpl || dpl(&s) != new_cpl || !(s.attr & X86_ATTR_S) ||
		s.attr & TYPE_CODE || !(s.attr & TYPE_WRITABLE))
		raise_error(c, vector, error_of(sel));
	if (!(s.attr & X86_ATTR_P))
		raise_error(c, X86_SSV, error_of(sel));
	mark_accessed(c, &s);
	return s;
}

struct x86_seg check_data(struct cpu *c, uint16_t sel, uint8_t vector)
{
	struct x86_seg s = unpack_segment(sel, fetch_descriptor(c, sel, vector));
	bool code = s.attr & TYPE_CODE, conforming = code && s.attr & TYPE_CONFORMING;

	if (!(s.attr & X86_ATTR_S) || (code && !(s.attr & TYPE_WRITABLE)))
		raise_error(c, vector, error_of(sel));
	if (!conforming && (dpl(&s) < cpl(c) || dpl(&s) < (sel & SEL_RPL)))
		raise_error(c, vector, error_of(sel));
	if (!(s.attr & X86_ATTR_P))
		raise_error(c, X86_NP, error_of(sel));
	mark_accessed(c, &s);
	return s;
}

struct x86_seg check_segment(struct cpu *c, unsigned seg, uint16_t sel)
{
	struct x86_seg s = c->s.seg[seg];

	if (!protected_mode(c)) { /* limit and attributes stay: unreal mode */
		s.sel = sel;
		s.base = (uint64_t)sel << 4;
		return s;
	}
	if (seg == X86_SS) {
		if (is_null(sel) && c->mode == X86_MODE_64 && cpl(c) < 3 &&
			(sel & SEL_RPL) == cpl(c))
			return null_segment(sel, cpl(c));
		return check_stack(c, sel, cpl(c), X86_GP);
	}
	if (is_null(sel))
		return null_segment(sel, 0);
	return check_data(c, sel, X86_GP);
}

struct x86_seg check_code(
	struct cpu *c, uint16_t sel, unsigned new_cpl, bool is_return, uint8_t vector)
{
	struct x86_seg s;
	bool conforming;

	if (is_null(sel))
		raise_error(c, vector, 0);
	s = unpack_segment(sel, fetch_descriptor(c, sel, vector));
	if (!(s.attr & X86_ATTR_S) || !(s.attr & TYPE_CODE))
		raise_error(c, vector, error_of(sel));
	conforming = s.attr & TYPE_CONFORMING;
	if (conforming ? dpl(&s) > new_cpl
		       : dpl(&s) != new_cpl || (!is_return && (sel & SEL_RPL) > new_cpl))
		raise_error(c, vector, error_of(sel));
	if (long_mode(c) && s.attr & X86_ATTR_L && s.attr & X86_ATTR_DB)
		raise_error(c, vector, error_of(sel));
	if (!(s.attr & X86_ATTR_P))
		raise_error(c, X86_NP, error_of(sel));
	mark_accessed(c, &s);
	s.sel = (uint16_t)(error_of(sel) | new_cpl);
	return s;
}

/* ---- MOV, and far pointers ---- */

void op_MOV(struct cpu *c, const struct x86_insn *i)
{
	unsigned seg = i->opnd[0].reg;

	if (i->opnd[0].kind != X86_OPND_SEG) {
		set(c, i, 0, get(c, i, 1));
		return;
	}
	c->s.seg[seg] = check_segment(c, seg, (uint16_t)get(c, i, 1));
	if (seg == X86_SS) {
		c->s.events.shadow_mov_ss = true;
		c->keep_shadow = true;
	}
}

static void load_far(struct cpu *c, const struct x86_insn *i, unsigned seg)
{
	uint64_t off = address(c, i, &i->mem);
	uint64_t value = load(c, i->mem.seg, off, i->opsize);
	uint16_t sel = (uint16_t)load(c, i->mem.seg, (off + i->opsize) & size_mask(i->addrsize), 2);

	c->s.seg[seg] = check_segment(c, seg, sel);
	set(c, i, 0, value); /* LSS loads both, and so holds nothing back (SDM vol. 3A 6.8.3) */
}

void op_LES(struct cpu *c, const struct x86_insn *i)
{
	load_far(c, i, X86_ES);
}

void op_LDS(struct cpu *c, const struct x86_insn *i)
{
	load_far(c, i, X86_DS);
}

void op_LSS(struct cpu *c, const struct x86_insn *i)
{
	load_far(c, i, X86_SS);
}

void op_LFS(struct cpu *c, const struct x86_insn *i)
{
	load_far(c, i, X86_FS);
}

void op_LGS(struct cpu *c, const struct x86_insn *i)
{
	load_far(c, i, X86_GS);
}

/* ---- questions about selectors ---- */

static void need_protected(struct cpu *c)
{
	if (!protected_mode(c))
		raise_fault(c, X86_UD);
}

/* System types that LAR and LSL answer for (SDM tables 3-53, 3-60). */
static unsigned lsl_types(const struct cpu *c)
{
	return long_mode(c) ? 0x0a04 : 0x0a0e; /* LDT 2, TSS 1, 3, 9, 11 */
}

static unsigned lar_types(const struct cpu *c)
{
	return long_mode(c) ? 0x1a04 : 0x1a3e; /* and call gates 4, 12, task gate 5 */
}

static bool visible(struct cpu *c, uint16_t sel, uint64_t *raw, unsigned system_types)
{
	struct x86_seg s;

	if (is_null(sel) || !read_descriptor(c, sel, raw))
		return false;
	s = unpack_segment(sel, *raw);
	if (!(s.attr & X86_ATTR_S) && !(system_types >> (s.attr & 15) & 1))
		return false;
	if (s.attr & X86_ATTR_S && s.attr & TYPE_CODE && s.attr & TYPE_CONFORMING)
		return true;
	return dpl(&s) >= cpl(c) && dpl(&s) >= (sel & SEL_RPL);
}

void op_LAR(struct cpu *c, const struct x86_insn *i)
{
	uint64_t raw = 0;
	uint16_t sel;
	bool ok;

	need_protected(c);
	sel = (uint16_t)get(c, i, 1);
	ok = visible(c, sel, &raw, lar_types(c));
	if (ok)
		set(c, i, 0,
			raw >> 32 & 0xffff00); /* limit 19:16 too, as AMD does; SDM: undefined */
	set_flag(c, X86_ZF, ok);
}

void op_LSL(struct cpu *c, const struct x86_insn *i)
{
	uint64_t raw = 0;
	uint16_t sel;
	bool ok;

	need_protected(c);
	sel = (uint16_t)get(c, i, 1);
	ok = visible(c, sel, &raw, lsl_types(c));
	if (ok)
		set(c, i, 0, unpack_segment(sel, raw).limit);
	set_flag(c, X86_ZF, ok);
}

static void verify(struct cpu *c, const struct x86_insn *i, bool write)
{
	uint64_t raw = 0;
	uint16_t sel;
	uint32_t attr;
	bool ok, code;

	need_protected(c);
	sel = (uint16_t)get(c, i, 0);
	ok = visible(c, sel, &raw, 0);
	attr = unpack_segment(sel, raw).attr;
	code = attr & TYPE_CODE;
	if (write)
		ok &= !code && attr & TYPE_WRITABLE;
	else
		ok &= !code || attr & TYPE_WRITABLE;
	set_flag(c, X86_ZF, ok);
}

void op_VERR(struct cpu *c, const struct x86_insn *i)
{
	verify(c, i, false);
}

void op_VERW(struct cpu *c, const struct x86_insn *i)
{
	verify(c, i, true);
}

void op_ARPL(struct cpu *c, const struct x86_insn *i)
{
	bool memory = i->opnd[0].kind == X86_OPND_MEM;
	uint64_t a, b;

	need_protected(c);
	/* Memory is only written if it changes. */
	a = memory ? load(c, i->mem.seg, address(c, i, &i->mem), 2) : get(c, i, 0);
	b = get(c, i, 1) & SEL_RPL;
	if ((a & SEL_RPL) < b)
		set(c, i, 0, (a & ~(uint64_t)SEL_RPL) | b);
	set_flag(c, X86_ZF, (a & SEL_RPL) < b);
}
