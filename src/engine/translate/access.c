/*
 * access.c - memory operands: which of a block share one look into the fast
 * TLB, and how the others find their host address.
 *
 * Accesses by the same registers, not changed between but by constants, are a
 * group if all lie within GROUP_SPAN bytes. The first of them checks that the whole
 * span is in one page that it may access, and leaves the difference between
 * host and guest addresses in a slot; the others load that and are done: two
 * instructions, and the flags stay. What is written needs a group that was
 * opened by a write. A span that crosses a page cannot be checked: the code
 * goes on in a block of the same address that has no groups (UNITS_SINGLE).
 * A slot is good to the end of its block, since mappings change between blocks.
 *
 * Who looks for a user does it in an entry of its own (tcpu.site): five
 * instructions. A miss asks the fast TLB, in a stub, and fills the entry. The block
 * of an access that misses often is made anew, and the access asks the fast TLB at once,
 * as those of kernels do.
 *
 * In 64-bit mode T0 becomes the difference and the operand keeps its registers;
 * with addresses of 32 bits, which wrap, T0 becomes the host address.
 */
#include "engine/translate/internal.h"

#define GROUP_SPAN 256

/* ---- what is accessed ---- */

struct reference {
	struct x86_mem m;
	unsigned size;
	bool write;
};

static struct reference stack_slot(unsigned base, int64_t by, bool write)
{
	return (struct reference){
		{.seg = X86_SS, .base = (uint8_t)base, .index = X86_NOREG, .scale = 1, .disp = by},
		8, write};
}

static const struct x86_operand *memory_operand(const struct x86_insn *i)
{
	for (unsigned n = 0; n < i->nops; n++)
		if (i->opnd[n].kind == X86_OPND_MEM)
			return &i->opnd[n];
	return NULL;
}

static bool writes_operand(const struct x86_insn *i, const struct x86_operand *o)
{
	return x86_insn_table[i->entry].access[o - i->opnd] & 2;
}

/* In the order in which they are emitted; how many. */
static unsigned references(const struct tinsn *n, struct reference r[2])
{
	const struct x86_insn *i = &n->i;
	const struct x86_operand *o = memory_operand(i);
	unsigned count = 0;

	switch (n->kind) {
	case KIND_COPY:
	case KIND_VECTOR:
	case KIND_X87:
	case KIND_MXCSR:
	case KIND_BMI:
		if (o)
			r[count++] = (struct reference){i->mem, o->size, writes_operand(i, o)};
		break;
	case KIND_PUSH:
	case KIND_CALL_INDIRECT:
	case KIND_JMP_INDIRECT:
		if (o)
			r[count++] = (struct reference){i->mem, 8, false};
		if (n->kind != KIND_JMP_INDIRECT)
			r[count++] = stack_slot(X86_RSP, -8, true);
		break;
	case KIND_CALL:
		r[count++] = stack_slot(X86_RSP, -8, true);
		break;
	case KIND_POP:
	case KIND_RET:
		r[count++] = stack_slot(X86_RSP, 0, false);
		break;
	case KIND_LEAVE:
		r[count++] = stack_slot(X86_RBP, 0, false);
		break;
	default:
		break;
	}
	return count;
}

/* ---- how registers change ---- */

struct tracker {
	uint32_t epoch; /* how often all was lost */
	uint32_t version[X86_GPR_COUNT];
	int64_t moved[X86_GPR_COUNT]; /* since that version */
};

static void changed(struct tracker *k, uint32_t mask)
{
	for (unsigned n = 0; n < X86_GPR_COUNT; n++)
		if (mask >> n & 1) {
			k->version[n]++;
			k->moved[n] = 0;
		}
}

/* A constant is added to a whole register. */
static bool moves(const struct x86_insn *i, unsigned *reg, int64_t *by)
{
	const struct x86_operand *a = &i->opnd[0], *b = &i->opnd[1];

	if (!i->nops || a->kind != X86_OPND_GPR || a->size != 8)
		return false;
	*reg = a->reg;
	*by = i->imm;
	switch (i->op) {
	case X86_OP_ADD:
		return b->kind == X86_OPND_IMM;
	case X86_OP_SUB:
		*by = -i->imm;
		return b->kind == X86_OPND_IMM;
	case X86_OP_INC:
	case X86_OP_DEC:
		*by = i->op == X86_OP_INC ? 1 : -1;
		return true;
	case X86_OP_LEA:
		*by = i->mem.disp;
		return i->mem.base == a->reg && i->mem.index == X86_NOREG && i->addrsize == 8;
	default:
		return false;
	}
}

/* Does it change general registers only where its operands say so? */
static bool is_explicit(const struct tinsn *n)
{
	const struct x86_insn *i = &n->i;

	switch (i->op) {
	case X86_OP_MUL:
	case X86_OP_DIV:
	case X86_OP_IDIV:
	case X86_OP_CMPXCHG:
	case X86_OP_PCMPESTRI:
	case X86_OP_PCMPISTRI:
	case X86_OP_VPCMPESTRI:
	case X86_OP_VPCMPISTRI:
		return false;
	case X86_OP_IMUL:
		return i->nops > 1;
	case X86_OP_MOV:
	case X86_OP_MOVZX:
	case X86_OP_MOVSX:
	case X86_OP_MOVSXD:
	case X86_OP_ADD:
	case X86_OP_ADC:
	case X86_OP_SUB:
	case X86_OP_SBB:
	case X86_OP_AND:
	case X86_OP_OR:
	case X86_OP_XOR:
	case X86_OP_CMP:
	case X86_OP_TEST:
	case X86_OP_INC:
	case X86_OP_DEC:
	case X86_OP_NEG:
	case X86_OP_NOT:
	case X86_OP_ROL:
	case X86_OP_ROR:
	case X86_OP_SHL:
	case X86_OP_SHR:
	case X86_OP_SAR:
	case X86_OP_CMOV:
	case X86_OP_SET:
	case X86_OP_BSWAP:
	case X86_OP_XCHG:
	case X86_OP_XADD:
	case X86_OP_BT:
	case X86_OP_BTS:
	case X86_OP_BTR:
	case X86_OP_BTC:
	case X86_OP_BSF:
	case X86_OP_BSR:
	case X86_OP_TZCNT:
	case X86_OP_LZCNT:
	case X86_OP_POPCNT:
	case X86_OP_LEA:
	case X86_OP_POP:
		return true;
	default:
		return n->kind == KIND_VECTOR || n->kind == KIND_X87 || n->kind == KIND_MXCSR ||
		       n->kind == KIND_BMI || is_0f38(&n->i);
	}
}

static uint32_t written_operands(const struct x86_insn *i)
{
	uint32_t mask = 0;

	for (unsigned n = 0; n < i->nops; n++)
		if (i->opnd[n].kind == X86_OPND_GPR && writes_operand(i, &i->opnd[n]))
			mask |= 1u << i->opnd[n].reg;
	return mask;
}

static void follow(struct tracker *k, const struct tinsn *n)
{
	unsigned reg;
	int64_t by;

	switch (n->kind) {
	case KIND_NOP:
	case KIND_JCC:
	case KIND_FENCE:
	case KIND_DIRECTION:
		return;
	case KIND_PUSH:
		k->moved[X86_RSP] -= 8;
		return;
	case KIND_POP:
		k->moved[X86_RSP] += 8;
		break;
	case KIND_COPY:
	case KIND_VECTOR:
	case KIND_X87:
	case KIND_MXCSR:
	case KIND_BMI:
	case KIND_LEA:
	case KIND_SELECTOR:
		break;
	default:
		k->epoch++;
		return;
	}
	if (moves(&n->i, &reg, &by))
		k->moved[reg] += by;
	else
		changed(k, is_explicit(n) ? written_operands(&n->i) : ~0u);
}

/* ---- groups ---- */

/* Where it lies in terms of its registers as they were when these last changed. */
static int64_t position(const struct emitter *e, const struct tracker *k, const struct x86_mem *m)
{
	uint64_t at = (uint64_t)m->disp;

	if (m->base == X86_REG_IP)
		return (int64_t)(at + e->n->rip + e->n->i.len);
	if (m->base != X86_NOREG)
		at += (uint64_t)k->moved[m->base];
	if (m->index != X86_NOREG)
		at += (uint64_t)k->moved[m->index] * m->scale;
	return (int64_t)at;
}

static struct group describe(
	const struct emitter *e, const struct tracker *k, const struct reference *r)
{
	bool fixed = r->m.base == X86_REG_IP && !e->s->shared;
	struct group g = {.seg = r->m.seg < X86_FS ? X86_DS : r->m.seg,
		.base = fixed ? X86_NOREG : r->m.base,
		.index = r->m.index,
		.scale = r->m.scale,
		.write = r->write,
		.members = 1,
		.epoch = k->epoch,
		.low = position(e, k, &r->m)};

	g.high = g.low + r->size;
	if (g.base < X86_GPR_COUNT)
		g.base_version = k->version[g.base];
	if (g.index != X86_NOREG)
		g.index_version = k->version[g.index];
	return g;
}

static bool joins(const struct group *g, const struct group *one)
{
	return g->epoch == one->epoch && g->seg == one->seg && g->base == one->base &&
	       g->index == one->index && g->base_version == one->base_version &&
	       g->index_version == one->index_version &&
	       (g->index == X86_NOREG || g->scale == one->scale) && (g->write || !one->write) &&
	       MAX(g->high, one->high) - MIN(g->low, one->low) <= GROUP_SPAN;
}

static unsigned group_for(struct emitter *e, const struct group *one)
{
	for (unsigned n = e->groups; n-- > 0 && n + 8 >= e->groups;) {
		struct group *g = &e->group[n];

		if (!joins(g, one))
			continue;
		g->low = MIN(g->low, one->low);
		g->high = MAX(g->high, one->high);
		g->members++;
		return n;
	}
	e->group[e->groups] = *one;
	return e->groups++;
}

/* Its address is of 64 bits, and a little below it is still of 32 from its registers. */
static bool can_join(const struct tinsn *n, const struct reference *r)
{
	return (n->i.addrsize == 8 || r->m.seg == X86_SS) && r->m.disp > INT32_MIN + GROUP_SPAN;
}

void plan_accesses(struct emitter *e)
{
	struct tracker k = {0};
	struct reference r[2];

	memset(e->member, NO_GROUP, sizeof(e->member));
	if (!wide(e) || e->s->key.units & UNITS_SINGLE)
		return;
	for (e->at = 0; e->at < e->s->count; e->at++) {
		e->n = &e->s->insn[e->at];
		for (unsigned n = 0, count = references(e->n, r); n < count; n++) {
			struct group one = describe(e, &k, &r[n]);

			if (!can_join(e->n, &r[n]))
				continue;
			e->position[e->at][n] = one.low;
			e->member[e->at][n] = (uint8_t)group_for(e, &one);
		}
		follow(&k, e->n);
	}
}

/* ---- addresses ---- */

static unsigned in_host(struct emitter *e, unsigned guest, unsigned instead)
{
	if (home(guest) != SPILLED)
		return home(guest);
	load64(e->c, instead, in_state(GPR(guest)));
	return instead;
}

static uint64_t fixed_address(const struct emitter *e, const struct x86_mem *m)
{
	uint64_t disp = (uint64_t)m->disp;

	return m->base == X86_REG_IP ? e->n->rip + e->n->i.len + disp : disp;
}

static bool is_fixed(const struct x86_mem *m)
{
	return m->base == X86_REG_IP || (m->base == X86_NOREG && m->index == X86_NOREG);
}

/* It is found by where the code is. */
static bool is_near(const struct emitter *e, const struct x86_mem *m)
{
	return e->s->shared && m->base == X86_REG_IP;
}

/* The operand with its registers in the host's: T0 and T1 may be among them. */
static struct mem rename_mem(struct emitter *e, const struct x86_mem *m)
{
	struct mem r = {NOREG, NOREG, 1, (int32_t)m->disp};

	if (m->base != X86_NOREG)
		r.base = (uint8_t)in_host(e, m->base, T0);
	if (m->index != X86_NOREG) {
		r.index = (uint8_t)in_host(e, m->index, T1);
		r.scale = m->scale;
	}
	return r;
}

void emit_offset(struct emitter *e, unsigned to, const struct x86_mem *m, unsigned addrsize)
{
	if (is_near(e, m)) {
		load_near(e, to, fixed_address(e, m));
		if (addrsize == 4)
			mov_rr32(e->c, to, to);
	} else if (is_fixed(m))
		mov_imm(e->c, to, fixed_address(e, m) & size_mask(addrsize));
	else if (addrsize == 8 && m->index == X86_NOREG && !m->disp && home(m->base) != SPILLED)
		mov_rr(e->c, to, home(m->base));
	else if (addrsize == 8)
		lea64(e->c, to, rename_mem(e, m));
	else
		lea32(e->c, to, rename_mem(e, m));
}

static struct mem segment_base(unsigned seg)
{
	return in_state(STATE(c.s.seg) + seg * (uint32_t)sizeof(struct x86_seg) +
			(uint32_t)offsetof(struct x86_seg, base));
}

/*
 * A segment with a base ends where the offsets do: an operand that lies across
 * that end is interpret's to raise.
 */
void add_segment(struct emitter *e, unsigned seg, unsigned size)
{
	if (seg < X86_FS)
		return;
	if (!wide(e) && size > 1) {
		alu_imm32(e->c, false, 7, T0, -(int32_t)size);
		exit_odd(e, jcc_forward(e->c, CC_A));
	}
	put_rm(e->c, (struct opcode){.byte = 0x03, .w = wide(e)}, T0, segment_base(seg));
}

/* ---- the look ---- */

uint32_t new_access(struct emitter *e, unsigned size, bool write)
{
	struct tcpu *t = e->t;
	uint32_t n = t->accesses++ % ACCESSES;
	bool aligned = size >= 16 && (e->n->kind == KIND_VECTOR ? must_be_aligned(&e->n->i)
								: swaps_pair(&e->n->i));

	t->access[n] = (struct access){.rip = rip_for(&e->s->key, e->n->rip),
		.shared = e->s->shared,
		.since = __builtin_ia32_rdtsc(),
		.fills = sites_filled(t),
		.size = (uint8_t)size,
		.align = aligned ? (uint8_t)(size - 1) : 0,
		.write = write,
		.before = (uint8_t)e->at,
		.span = (uint16_t)size,
		.recipe = e->flags == IN_RECIPE ? e->recipe : 0};
	t->site[n] = (struct fast_entry){NO_SITE, 0};
	return n;
}

static struct mem site(uint32_t access)
{
	return in_state(STATE(site) + (uint32_t)sizeof(struct fast_entry) * access);
}

/*
 * T0 - page of the entry is the offset in it, or far too large. What is left of the page
 * must hold the span. T0 becomes what the access asks for; returns the jump of a miss.
 */
static uint32_t look_at(struct code *c, const struct access *a, struct mem entry)
{
	struct mem delta = entry;
	uint32_t miss;

	delta.disp += (int32_t)offsetof(struct fast_entry, delta);
	put_rm(c, OP_W(0x2b), T0, entry);
	alu_imm32(c, true, 7, T0, (int32_t)(PAGE_SIZE - a->span));
	miss = jcc_forward(c, CC_A);
	if (a->host)
		put_rm(c, OP_W(0x03), T0, entry);
	put_rm(c, OP_W(a->host ? 0x03 : 0x8b), T0, delta);
	return miss;
}

/* The entry of the fast TLB that T1 is brought to. */
static struct mem in_table(const struct access *a, unsigned privilege)
{
	return (struct mem){RSP, T1, 1, (int32_t)fast_table(privilege, a->write)};
}

static uint32_t look_in_table(struct code *c, const struct access *a, unsigned privilege)
{
	mov_rr32(c, T1, T0);
	shift_imm(c, false, 5, T1, 8);
	alu_imm32(c, false, 4, T1, (FAST_SIZE - 1) << 4);
	return look_at(c, a, in_table(a, privilege));
}

static uint64_t *roaming_word(struct tcpu *t, gpa_t addr)
{
	return &t->roaming[addr / 64 % ARRAY_SIZE(t->roaming)];
}

void note_roaming(struct tcpu *t, gpa_t addr)
{
	*roaming_word(t, addr) |= UINT64_C(1) << addr % 64;
}

/* Kernels run through much code once: their entries would not stay in the host's cache. */
static bool has_site(const struct emitter *e)
{
	gpa_t addr = (e->addr & ~(gpa_t)4095) | (e->n->rip & 4095);

	return e->s->key.privilege == X86_USER && !(*roaming_word(e->t, addr) >> addr % 64 & 1);
}

static void emit_look(struct emitter *e, uint32_t access)
{
	struct access *a = &e->t->access[access];
	struct code *c = e->c;
	uint32_t *from = &e->from[(access - e->first_access) % ACCESSES];

	e->t->more[access] = (struct site_more){SITE_BUDGET, (uint16_t)(PAGE_SIZE - a->span)};
	a->own = has_site(e);
	*from = a->own ? look_at(c, a, site(access)) : look_in_table(c, a, e->s->key.privilege);
	a->back = c->at;
	if (e->flags != IN_RECIPE)
		e->flags = IN_MEMORY;
}

/* T0 becomes the host address of what is at linear T0. */
static void emit_translate(struct emitter *e, unsigned size, bool write)
{
	uint32_t access = new_access(e, size, write);

	e->t->access[access].host = true;
	emit_look(e, access);
	e->mem = at_reg(T0, 0);
}

/* ---- with the difference in T0 ---- */

static bool spilled(unsigned guest)
{
	return guest < X86_GPR_COUNT && home(guest) == SPILLED;
}

/* Many share what T0 is: with all registers added, they need only a displacement. */
static bool folds(const struct emitter *e, const struct group *g, const struct x86_mem *m)
{
	return g && m->disp < INT32_MAX - GROUP_SPAN &&
	       (is_near(e, m) || spilled(m->base) || (m->index != X86_NOREG && g->members > 2));
}

/* T0 += register * scale; T1 may be lost. */
static void add_register(struct emitter *e, unsigned guest, unsigned scale)
{
	lea64(e->c, T0, (struct mem){T0, (uint8_t)in_host(e, guest, T1), (uint8_t)scale, 0});
}

/* The operand by its own registers and T0, or, folded, by T0 alone; T1 is free again. */
static void use_difference(struct emitter *e, const struct x86_mem *m, bool fold)
{
	struct code *c = e->c;
	uint64_t fixed = fixed_address(e, m);
	bool base = m->base != X86_NOREG, index = m->index != X86_NOREG;

	if (is_fixed(m)) {
		if (is_near(e, m) || !fits32(fixed)) {
			emit_offset(e, T1, m, 8);
			lea64(c, T0, (struct mem){T0, T1, 1, 0});
			fixed = 0;
		}
		e->mem = at_reg(T0, (int32_t)fixed);
		return;
	}
	if (index && (fold || base || spilled(m->index))) {
		add_register(e, m->index, m->scale);
		index = false;
	}
	if (base && (fold || spilled(m->base))) {
		add_register(e, m->base, 1);
		base = false;
	}
	if (base)
		e->mem = (struct mem){(uint8_t)home(m->base), T0, 1, (int32_t)m->disp};
	else if (index)
		e->mem = (struct mem){T0, (uint8_t)home(m->index), m->scale, (int32_t)m->disp};
	else
		e->mem = at_reg(T0, (int32_t)m->disp);
}

/* The first of a group, or one alone: T0 becomes the difference. */
static void open_group(struct emitter *e, const struct x86_mem *m, struct group *g, int64_t down,
	unsigned size, bool write)
{
	uint32_t access;
	struct access *a;
	struct x86_mem low = *m;

	need_flags_in_memory(e);
	access = new_access(e, size, write);
	a = &e->t->access[access];
	if (g) {
		a->span = (uint16_t)(g->high - g->low);
		a->down = (uint16_t)down;
	}
	low.disp -= down;
	emit_offset(e, T0, &low, 8);
	add_segment(e, m->seg, size);
	emit_look(e, access);
	add_segment(e, m->seg, size);
}

static struct mem slot_of(const struct group *g)
{
	return in_state(STATE(slot) + 8u * g->slot);
}

/* The others find the difference in a slot, or the address of what lies at origin. */
static void share(struct emitter *e, const struct x86_mem *m, struct group *g, int64_t position)
{
	bool fold = folds(e, g, m);

	if (g) {
		g->slot = e->slots++;
		g->open = true;
	}
	if (g && !fold)
		store64(e->c, slot_of(g), T0);
	use_difference(e, m, fold);
	if (!fold)
		return;
	store64(e->c, slot_of(g), T0);
	g->folded = true;
	g->origin = position - e->mem.disp;
}

void reach(struct emitter *e, const struct x86_mem *m, unsigned addrsize, unsigned size, bool write)
{
	unsigned which = e->member[e->at][e->nth], nth = e->nth++;
	struct group *g = which == NO_GROUP ? NULL : &e->group[which];
	int64_t position;

	if (!wide(e) || addrsize != 8) {
		need_flags_in_memory(e);
		emit_offset(e, T0, m, addrsize);
		if (e->flags != IN_RECIPE)
			e->flags = IN_MEMORY;
		add_segment(e, m->seg, size);
		emit_translate(e, size, write);
		return;
	}
	position = g ? e->position[e->at][nth] : 0;
	if (!g || !g->open) {
		open_group(e, m, g, g ? position - g->low : 0, size, write);
		share(e, m, g && g->members > 1 ? g : NULL, position);
		return;
	}
	load64(e->c, T0, slot_of(g));
	if (g->folded)
		e->mem = at_reg(T0, (int32_t)(position - g->origin));
	else
		use_difference(e, m, false);
}

void reach_at(struct emitter *e, unsigned size, bool write)
{
	emit_translate(e, size, write);
}

const struct x86_operand *reach_memory(struct emitter *e)
{
	const struct x86_insn *i = &e->n->i;
	const struct x86_operand *o = memory_operand(i);

	if (o)
		reach(e, &i->mem, i->addrsize, o->size, writes_operand(i, o));
	return o;
}

void address_to_t0(struct emitter *e)
{
	if (e->mem.base == T0 && e->mem.index == NOREG && !e->mem.disp)
		return;
	lea64(e->c, T0, e->mem);
	e->mem = at_reg(T0, 0);
}

/* ---- misses ---- */

/* T0 less a page: if the span crosses a page, on to a block without groups. */
static void leave_group(struct emitter *e, const struct access *a)
{
	uint64_t rip = (e->s->rip & ~UINT64_C(4095)) | (a->rip & 4095);
	struct key key = e->s->key;
	uint32_t inside;
	uint8_t single;

	mov_rr32(e->c, T1, T0);
	alu_imm32(e->c, false, 4, T1, PAGE_SIZE - 1);
	alu_imm32(e->c, false, 7, T1, (int32_t)(PAGE_SIZE - a->span));
	inside = jcc_forward(e->c, CC_BE);
	if (a->recipe) {
		mov_imm(e->c, T1, a->recipe);
		call_to(e->c, e->stubs->rebuild);
	}
	e->at = a->before;
	e->flags = IN_MEMORY;
	key.units |= UNITS_SINGLE;
	single = key_number(e->t, &key);
	if (single == NO_KEY)
		new_exit(e, EXIT_ODD, jmp_forward(e->c), rip)->before = a->before;
	else
		jump_out_to(e, rip, a->before, single);
	land(e->c, inside);
}

/* The stub comes back here. T1 is linear then. */
static void call_miss(struct code *c, const struct access *a, uint32_t access, uint32_t stub)
{
	mov_imm(c, T1, access);
	call_to(c, stub);
	if (a->host)
		lea64(c, T0, (struct mem){T0, T1, 1, 0});
	jmp_to(c, a->back);
}

void emit_misses(struct emitter *e)
{
	for (uint32_t k = e->first_access; k != e->t->accesses; k++) {
		uint32_t n = k % ACCESSES;
		struct access *a = &e->t->access[n];

		if (!e->from[k - e->first_access]) /* a string's */
			continue;
		land(e->c, e->from[k - e->first_access]);
		if (!a->own)
			put_rm(e->c, OP_W(0x03), T0, in_table(a, e->s->key.privilege));
		if (a->span > a->size)
			leave_group(e, a);
		call_miss(e->c, a, n, a->own ? e->stubs->miss[a->write] : e->stubs->slow);
	}
}
