/*
 * scan.c - decodes a block and says of each instruction how it is translated
 * and which flags matter after it.
 *
 * A block goes on behind conditional jumps that are not taken, up to a jump,
 * an instruction that only interpret executes, or the end of the page. One that
 * jumps to its own head is a loop: several rounds of it are put one behind the
 * other, so that they share polls, looks and flags. Flags
 * matter where an instruction reads them and where the state may be seen: at
 * every access to memory, since it may fault, and at every exit.
 * Source: SDM vol. 2, appendix A.
 */
#include "engine/translate/internal.h"

#define MAX_SIDE_EXITS 4u
#define PLAIN_INSNS    32u /* of a block that is no loop */
#define MAX_ROUNDS     8u  /* of a loop */

/* ---- format ---- */

static bool is_prefix(uint8_t b, bool wide)
{
	switch (b) {
	case 0x66:
	case 0x67:
	case 0xf0:
	case 0xf2:
	case 0xf3:
	case 0x26:
	case 0x2e:
	case 0x36:
	case 0x3e:
	case 0x64:
	case 0x65:
		return true;
	default:
		return wide && (b & 0xf0) == 0x40;
	}
}

/* Bytes of SIB and displacement behind a ModRM byte, for addresses of 32 and 64 bits. */
static unsigned address_bytes(const uint8_t *modrm)
{
	unsigned mod = *modrm >> 6, rm = *modrm & 7, n = 0;

	if (mod == 3)
		return 0;
	if (rm == 4) {
		n = 1;
		if (mod == 0 && (modrm[1] & 7) == 5)
			n += 4;
	} else if (mod == 0 && rm == 5) {
		n = 4;
	}
	return n + (mod == 1 ? 1 : mod == 2 ? 4 : 0);
}

/* Where what follows opcode, ModRM and displacement begins: the immediate. */
static uint8_t tail_of(const struct tinsn *n)
{
	const struct x86_insn *i = &n->i;
	unsigned at = 0;

	while (is_prefix(n->bytes[at], i->mode == X86_MODE_64))
		at++;
	if (i->vex)
		at += n->bytes[at] == 0xc5 ? 2 : 3;
	else
		at += i->map == X86_MAP_1 ? 0 : i->map == X86_MAP_0F ? 1 : 2;
	at++;
	if (i->has_modrm)
		at += 1 + address_bytes(n->bytes + at);
	return (uint8_t)at;
}

/* ---- which instructions the host executes ---- */

/* One-byte opcodes. */
static bool copy_1(const struct x86_insn *i)
{
	uint8_t b = i->opcode;

	if (b < 0x40)
		return (b & 7) < 6;
	if (b < 0x50)
		return true; /* INC, DEC */
	switch (b) {
	case 0x63:
		return i->op == X86_OP_MOVSXD;
	case 0x8c:
	case 0x8d:
	case 0x8e:
	case 0x8f:
		return false;
	case 0x69:
	case 0x6b:
	case 0x80:
	case 0x81:
	case 0x83:
	case 0x98:
	case 0x99:
	case 0x9e:
	case 0x9f:
	case 0xa8:
	case 0xa9:
	case 0xc0:
	case 0xc1:
	case 0xc6:
	case 0xc7:
	case 0xd0:
	case 0xd1:
	case 0xd2:
	case 0xd3:
	case 0xf5:
	case 0xf8:
	case 0xf9:
		return true;
	case 0xf6:
	case 0xf7:
		return true;
	case 0xfe:
	case 0xff:
		return i->op == X86_OP_INC || i->op == X86_OP_DEC;
	default:
		return (b >= 0x84 && b <= 0x97) || (b >= 0xa0 && b <= 0xa3) ||
		       (b >= 0xb0 && b <= 0xbf);
	}
}

static bool copy_0f(const struct x86_insn *i)
{
	uint8_t b = i->opcode;

	if ((b >= 0x40 && b <= 0x4f) || (b >= 0x90 && b <= 0x9f) || (b >= 0xc8 && b <= 0xcf))
		return true;
	switch (b) {
	case 0xa3:
	case 0xab:
	case 0xb3:
	case 0xbb:
		return i->modrm >= 0xc0; /* a bit string in memory begins elsewhere */
	case 0xa4:
	case 0xa5:
	case 0xac:
	case 0xad:
	case 0xaf:
	case 0xb0:
	case 0xb1:
	case 0xb6:
	case 0xb7:
	case 0xb8:
	case 0xba:
	case 0xbc:
	case 0xbd:
	case 0xbe:
	case 0xbf:
	case 0xc0:
	case 0xc1:
	case 0xc3:
		return true;
	case 0xc7:
		return swaps_pair(i);
	default:
		return false;
	}
}

/* Of those with renamed registers in ModRM or opcode alone. */
static bool can_copy(const struct x86_insn *i)
{
	switch (i->map) {
	case X86_MAP_1:
		return copy_1(i);
	case X86_MAP_0F:
		return copy_0f(i);
	default:
		return is_0f38(i);
	}
}

/* With AH to BH there is no REX, so that all must have homes without one. */
static bool high_fits(const struct x86_insn *i)
{
	bool high = false, far = false;

	for (unsigned n = 0; n < i->nops; n++) {
		high |= i->opnd[n].high;
		far |= i->opnd[n].kind == X86_OPND_GPR && !i->opnd[n].high &&
		       home(i->opnd[n].reg) >= R8;
	}
	return !high || !far;
}

/* Memory operands that the fast TLB reaches. */
static bool address_fits(const struct x86_insn *i, const struct key *key)
{
	for (unsigned n = 0; n < i->nops; n++) {
		if (i->opnd[n].kind != X86_OPND_MEM)
			continue;
		if (i->opnd[n].reg == X86_MEM2 || i->addrsize == 2 ||
			!(key->flat >> i->mem.seg & 1) ||
			(key->mode != X86_MODE_64 && i->mem.seg == X86_CS))
			return false;
	}
	return true;
}

static bool offered(const struct tcpu *t, const struct x86_insn *i)
{
	return x86_model_executes(&t->c.v->vm->model, x86_insn_table[i->entry].feature);
}

/* F3 before BSF and BSR has no meaning where the model lacks TZCNT and LZCNT. */
static bool is_old_scan(const struct tcpu *t, const struct x86_insn *i)
{
	return (i->op == X86_OP_TZCNT || i->op == X86_OP_LZCNT) && !offered(t, i);
}

static bool is_bit_string(const struct x86_insn *i)
{
	uint8_t b = i->opcode;

	return i->map == X86_MAP_0F && i->modrm < 0xc0 && i->opsize >= 4 &&
	       (b == 0xa3 || b == 0xab || b == 0xb3 || b == 0xbb);
}

static bool stack_fits(const struct x86_insn *i, const struct key *key)
{
	return i->opsize == (key->mode == X86_MODE_64 ? 8 : 4) && key->flat >> X86_SS & 1;
}

/* Vector instructions that may be executed; others are interpret's to raise. */
static enum kind vector_kind(const struct x86_insn *i, const struct key *key)
{
	if (!(key->units & (i->vex ? UNITS_AVX : UNITS_SSE)) || !address_fits(i, key))
		return KIND_BODY;
	return key->units & UNITS_LIVE ? KIND_VECTOR : KIND_ODD;
}

/* Interpret's loop looks at HLT itself. */
static enum kind system_kind(const struct tcpu *t, const struct x86_insn *i)
{
	return t->check || i->op == X86_OP_HLT ? KIND_ODD : KIND_SYSTEM;
}

static enum kind x87_kind(const struct tcpu *t, const struct x86_insn *i, const struct key *key)
{
	bool live = key->units & UNITS_LIVE_X87;

	if (!(key->units & UNITS_X87) || shows_pointers(i))
		return KIND_BODY;
	if (loads_fcw(i) && (i->op != X86_OP_FLDCW || !address_fits(i, key)))
		return live ? system_kind(t, i) : KIND_BODY;
	if (!address_fits(i, key))
		return KIND_BODY;
	return live ? KIND_X87 : KIND_ODD;
}

static enum kind mmx_kind(const struct x86_insn *i, const struct key *key)
{
	if (!(key->units & UNITS_X87) || !address_fits(i, key) ||
		(is_mmx_of_sse(i) && !(key->units & UNITS_SSE)))
		return KIND_BODY;
	return key->units & UNITS_LIVE_X87 ? KIND_VECTOR : KIND_ODD;
}

static enum kind plain_kind(const struct tcpu *t, const struct x86_insn *i, const struct key *key)
{
	const struct x86_operand *o = &i->opnd[0];

	if (!offered(t, i) && !is_old_scan(t, i))
		return KIND_BODY;
	if (is_vector(t, i))
		return vector_kind(i, key);
	if (is_x87(i))
		return x87_kind(t, i, key);
	if (is_mmx(t, i))
		return mmx_kind(i, key);
	if (moves_mxcsr(i) && key->units & UNITS_LIVE &&
		key->units & (i->vex ? UNITS_AVX : UNITS_SSE) && address_fits(i, key))
		return KIND_MXCSR;
	if (key->units & UNITS_LIVE && loads_mxcsr(i))
		return system_kind(t, i);
	if (i->op == X86_OP_NOP || i->op == X86_OP_PAUSE)
		return KIND_NOP;
	if (i->op == X86_OP_LFENCE || i->op == X86_OP_MFENCE || i->op == X86_OP_SFENCE)
		return KIND_FENCE;
	if (i->map == X86_MAP_1 && i->opcode == 0x8c && o->kind == X86_OPND_GPR)
		return KIND_SELECTOR;
	if (i->op == X86_OP_LEA)
		return i->addrsize == 2 ? KIND_BODY : KIND_LEA;
	if (!address_fits(i, key) || !high_fits(i))
		return KIND_BODY;
	if (i->op == X86_OP_PUSH && stack_fits(i, key) && o->kind != X86_OPND_SEG)
		return KIND_PUSH;
	if (i->op == X86_OP_POP && stack_fits(i, key) && o->kind == X86_OPND_GPR)
		return KIND_POP;
	if (i->op == X86_OP_LEAVE && stack_fits(i, key))
		return KIND_LEAVE;
	if (is_bit_string(i))
		return KIND_BITS;
	if (i->op == X86_OP_CLD || i->op == X86_OP_STD)
		return KIND_DIRECTION;
	if (is_bmi(i))
		return KIND_BMI;
	return !i->vex && can_copy(i) ? KIND_COPY : KIND_BODY;
}

static bool canonical_target(const struct tinsn *n)
{
	return n->i.mode != X86_MODE_64 || is_canonical(n->rip + n->i.len + (uint64_t)n->i.imm);
}

static enum kind branch_kind(const struct tinsn *n, const struct key *key)
{
	const struct x86_insn *i = &n->i;
	bool direct = i->opnd[0].kind == X86_OPND_REL;

	if (i->opsize != (key->mode == X86_MODE_64 ? 8 : 4) || !address_fits(i, key) ||
		!(key->flat >> X86_SS & 1) || (direct && !canonical_target(n)))
		return KIND_ODD;
	switch (i->op) {
	case X86_OP_J:
		return KIND_JCC;
	case X86_OP_JMP:
		return direct ? KIND_JMP : KIND_JMP_INDIRECT;
	case X86_OP_CALL:
		return direct ? KIND_CALL : KIND_CALL_INDIRECT;
	case X86_OP_RET:
		return KIND_RET;
	default:
		return KIND_ODD;
	}
}

/* Ring 0's own, of those that follow; others are for interpret. */
static enum kind ring_0_kind(const struct x86_insn *i, const struct key *key, bool offered)
{
	bool stack = stack_fits(i, key);

	if (key->privilege == X86_USER)
		return KIND_ODD;
	switch (i->op) {
	case X86_OP_CLI:
		return KIND_CLI;
	case X86_OP_STI:
		return KIND_STI;
	case X86_OP_PUSHF:
		return stack ? KIND_PUSHF : KIND_ODD;
	case X86_OP_POPF:
		return stack ? KIND_POPF : KIND_ODD;
	case X86_OP_SWAPGS:
		return KIND_SWAPGS;
	case X86_OP_MOVCR:
		return reads_control(i) ? KIND_CONTROL : KIND_ODD;
	case X86_OP_STAC:
	case X86_OP_CLAC:
		return offered ? KIND_AC : KIND_ODD;
	default:
		return KIND_ODD;
	}
}

static enum kind kind_of(const struct tcpu *t, const struct tinsn *n, const struct key *key)
{
	enum kind kind = KIND_ODD;

	if (!t->counting && copies_string(&n->i, key))
		return KIND_STRING;
	/* Iterations count one by one. */
	if (string_body(&n->i))
		return t->counting ? KIND_ODD : KIND_BODY;
	if (is_base(&n->i) && offered(t, &n->i))
		return KIND_BASE;
	if (is_gate(t, &n->i, key))
		return KIND_GATE;
	kind = ring_0_kind(&n->i, key, offered(t, &n->i));
	if (kind != KIND_ODD)
		return kind;
	if (is_plain(&n->i))
		return plain_kind(t, &n->i, key);
	if (!t->counting && (n->i.op == X86_OP_RDTSC || n->i.op == X86_OP_RDTSCP))
		return reads_line(t, &n->i) ? KIND_TIME : KIND_BODY;
	if (x86_insn_table[n->i.entry].class == X86_CLASS_BRANCH)
		kind = branch_kind(n, key);
	return kind == KIND_ODD ? system_kind(t, &n->i) : kind;
}

/* ModRM.reg is part of the opcode. */
static bool reg_is_opcode(const struct x86_insn *i)
{
	if (i->map == X86_MAP_0F)
		return i->opcode == 0xba || i->opcode == 0xc7 || (i->opcode & 0xf0) == 0x90;
	switch (i->opcode) {
	case 0x80:
	case 0x81:
	case 0x83:
	case 0xc0:
	case 0xc1:
	case 0xc6:
	case 0xc7:
	case 0xd0:
	case 0xd1:
	case 0xd2:
	case 0xd3:
	case 0xf6:
	case 0xf7:
	case 0xfe:
	case 0xff:
		return i->map == X86_MAP_1;
	default:
		return false;
	}
}

static bool rm_first(const struct x86_insn *i)
{
	uint8_t b = i->opcode;

	if (i->map == X86_MAP_1)
		return b < 0x40 ? !(b & 2) : b >= 0x84 && b <= 0x89;
	if (i->map == X86_MAP_0F38)
		return i->op == X86_OP_MOVBE && b == 0xf1;
	return b == 0xa3 || b == 0xc3 || b == 0xab || b == 0xb3 || b == 0xbb || b == 0xa4 ||
	       b == 0xa5 || b == 0xac || b == 0xad || b == 0xb0 || b == 0xb1 || b == 0xc0 ||
	       b == 0xc1;
}

/* ---- flags ---- */

static uint16_t flags_of_condition(unsigned cc)
{
	static const uint16_t flags[] = {X86_OF, X86_CF, X86_ZF, X86_CF | X86_ZF, X86_SF, X86_PF,
		X86_SF | X86_OF, X86_SF | X86_OF | X86_ZF};

	return flags[cc >> 1];
}

uint16_t flags_read(const struct x86_insn *i)
{
	if (i->op == X86_OP_J || i->op == X86_OP_CMOV || i->op == X86_OP_SET)
		return flags_of_condition(i->cc);
	return x86_insn_table[i->entry].flags_read & X86_FLAGS_ARITH;
}

/* Shifts by an immediate that is not zero write for sure. */
static bool by_unknown_count(const struct x86_insn *i)
{
	const struct x86_operand *last = &i->opnd[i->nops - 1];

	return last->kind != X86_OPND_IMM || !(i->imm & (i->opnd[0].size == 8 ? 63 : 31));
}

static uint16_t flags_written(const struct x86_insn *i)
{
	const struct x86_insn_desc *d = &x86_insn_table[i->entry];

	if (d->flags_undefined & X86_FLAGS_BY_COUNT && by_unknown_count(i))
		return 0;
	return (d->flags_written | d->flags_undefined) & X86_FLAGS_ARITH;
}

/* Memory, or what else may fault. */
static bool accesses(const struct tinsn *n)
{
	switch (n->kind) {
	case KIND_COPY:
		if (is_division(&n->i))
			return true;
		/* fall through */
	case KIND_VECTOR:
	case KIND_X87:
	case KIND_MXCSR:
	case KIND_BMI:
		for (unsigned k = 0; k < n->i.nops; k++)
			if (n->i.opnd[k].kind == X86_OPND_MEM)
				return true;
		return false;
	case KIND_NOP:
	case KIND_LEA:
	case KIND_JCC:
	case KIND_JMP:
	case KIND_SWAPGS:
	case KIND_FENCE:
	case KIND_SELECTOR:
	case KIND_CONTROL:
	case KIND_DIRECTION:
		return false;
	default:
		return true;
	}
}

static void note_flags(struct tinsn *n)
{
	bool copied = n->kind == KIND_COPY || n->kind == KIND_VECTOR || n->kind == KIND_X87 ||
		      n->kind == KIND_BMI || n->kind == KIND_BITS;

	n->reads = copied || n->kind == KIND_JCC ? flags_read(&n->i) : 0;
	n->writes = copied ? flags_written(&n->i) : 0;
	n->accesses = accesses(n);
}

static bool seen(const struct tinsn *n)
{
	return n->accesses || n->kind == KIND_JCC || n->kind == KIND_JMP;
}

/* All flags are looked at, faults apart. */
static bool ends_or_calls(const struct tinsn *n)
{
	switch (n->kind) {
	case KIND_COPY:
	case KIND_VECTOR:
	case KIND_X87:
	case KIND_MXCSR:
	case KIND_BMI:
	case KIND_BITS:
	case KIND_NOP:
	case KIND_FENCE:
	case KIND_SELECTOR:
	case KIND_LEA:
	case KIND_PUSH:
	case KIND_POP:
	case KIND_LEAVE:
		return false;
	default:
		return true;
	}
}

static void find_live(struct scan *s)
{
	uint16_t live = X86_FLAGS_ARITH, real = X86_FLAGS_ARITH;

	for (unsigned k = s->count; k-- > 0;) {
		struct tinsn *n = &s->insn[k];

		n->live = live;
		real = ends_or_calls(n) ? X86_FLAGS_ARITH : (real & ~n->writes) | n->reads;
		n->real = real;
		live = seen(n) ? X86_FLAGS_ARITH : (live & ~n->writes) | n->reads;
	}
	s->start_dead = s->count && !live;
	for (unsigned k = 0; k < s->count && !s->start_dead; k++) {
		const struct tinsn *n = &s->insn[k];

		s->start_reads = !n->accesses && (n->reads || n->writes);
		if (s->start_reads || n->accesses || n->writes)
			break;
	}
}

/* ---- the block ---- */

bool ends_block(enum kind kind)
{
	return kind == KIND_JMP || kind == KIND_CALL || kind == KIND_RET ||
	       kind == KIND_JMP_INDIRECT || kind == KIND_CALL_INDIRECT || kind == KIND_SYSTEM ||
	       kind == KIND_GATE || kind == KIND_AC;
}

/* What it has to find in the host's registers, and does not under the present key. */
static enum live asks_for(const struct tcpu *t, const struct tinsn *n, const struct key *key)
{
	enum live asked = LIVE_NONE;

	if (n->kind != KIND_ODD || !is_plain(&n->i))
		return LIVE_NONE;
	if (is_x87(&n->i) || is_mmx(t, &n->i))
		asked = LIVE_X87;
	else if (is_vector(t, &n->i))
		asked = LIVE_VECTORS;
	return asked > live_of(key) ? asked : LIVE_NONE;
}

/* false: not to be decoded here, or not translated. */
static bool add(struct tcpu *t, struct scan *s, const uint8_t *code, unsigned room)
{
	struct tinsn *n = &s->insn[s->count];

	n->bytes = code;
	n->rip = s->end;
	if (x86_decode(code, MIN(room, X86_INSN_MAX), s->key.mode, &n->i) != X86_DECODE_OK)
		return false;
	n->kind = (uint8_t)kind_of(t, n, &s->key);
	s->wants = (uint8_t)asks_for(t, n, &s->key);
	if (n->kind == KIND_ODD || (n->kind == KIND_BODY && t->check))
		return false;
	n->tail = tail_of(n);
	n->reg_is_opcode = reg_is_opcode(&n->i);
	n->no_prefix = is_old_scan(t, &n->i);
	n->rm_first = n->reg_is_opcode || rm_first(&n->i);
	note_flags(n);
	s->count++;
	s->end += n->i.len;
	if (s->key.mode != X86_MODE_64)
		s->end = (uint32_t)s->end;
	return true;
}

bool find_tail(struct tcpu *t, uint64_t rip, struct tail *tail, const struct tlb_entry **entry)
{
	struct cpu *c = &t->c;
	uint64_t next = (rip | (PAGE_SIZE - 1)) + 1;
	const struct tlb_entry *e;

	if (c->mode == X86_MODE_64 ? !is_canonical(next) : next > UINT32_MAX)
		return false;
	e = tlb_find(c, next, code_privilege(c), X86_FETCH);
	if (!e->code || !e->host)
		return false;
	*tail = (struct tail){.page = e->gpa >> 12,
		.version = atomic_load_explicit(&e->code->version, memory_order_acquire),
		.global = e->global,
		.present = true};
	*entry = e;
	return true;
}

/* An instruction across the end of its page is a block of its own. */
static void scan_across(struct tcpu *t, struct scan *s, const uint8_t *code, unsigned room)
{
	const struct tlb_entry *next;
	struct x86_insn i;

	if (room >= X86_INSN_MAX || x86_decode(code, room, s->key.mode, &i) != X86_DECODE_MORE ||
		!find_tail(t, s->rip, &s->across, &next))
		return;
	mark_code(&t->c, next->code, next->gpa, X86_INSN_MAX - room);
	memcpy(s->bytes, code, room);
	memcpy(s->bytes + room, next->host, X86_INSN_MAX - room);
	add(t, s, s->bytes, X86_INSN_MAX);
}

/* Does the last instruction jump to where the block begins? */
static bool loops(const struct scan *s)
{
	const struct tinsn *n = &s->insn[s->count - 1];
	uint64_t to = s->end + (uint64_t)n->i.imm;

	if (n->kind != KIND_JCC && n->kind != KIND_JMP)
		return false;
	return (s->key.mode == X86_MODE_64 ? to : (uint32_t)to) == s->rip;
}

/*
 * The block goes on at its head: the jump back is none any more, or its opposite out of the
 * loop. false: another round would be too long.
 */
static bool unroll(struct scan *s, unsigned rounds, unsigned most)
{
	struct tinsn *n = &s->insn[s->count - 1];

	if (s->key.units & UNITS_SINGLE || rounds == MAX_ROUNDS ||
		s->count + s->count / rounds > most)
		return false;
	if (n->kind == KIND_JMP) {
		n->kind = KIND_NOP;
	} else {
		n->i.cc ^= 1;
		n->i.imm = 0;
	}
	note_flags(n);
	s->end = s->rip;
	return true;
}

void scan(struct tcpu *t, const struct key *key, const struct tlb_entry *page, uint64_t rip,
	struct scan *s)
{
	unsigned at = rip & 4095, exits = 0, rounds = 1;
	unsigned most = MIN(t->block_insns, PLAIN_INSNS);

	s->count = 0;
	s->rip = s->end = rip;
	s->key = *key;
	s->shared = key->units & UNITS_SHARED;
	s->start_reads = s->start_dead = false;
	s->wants = LIVE_NONE;
	s->across.present = false;
	while (s->count < (rounds > 1 ? t->block_insns : most) && at < PAGE_SIZE) {
		const struct tinsn *n = &s->insn[s->count];

		/* Marked before it is read, so that no store comes between unseen. */
		mark_code(&t->c, page->code, page->gpa + at, MIN(X86_INSN_MAX, PAGE_SIZE - at));
		if (!add(t, s, page->host + at, PAGE_SIZE - at))
			break;
		at += n->i.len;
		if (loops(s)) {
			if (!unroll(s, rounds++, t->block_insns))
				break;
			at = rip & 4095;
			exits = 0;
		} else if (ends_block(n->kind) ||
			   (n->kind == KIND_JCC && ++exits == MAX_SIDE_EXITS)) {
			break;
		}
	}
	if (!s->count && at < PAGE_SIZE)
		scan_across(t, s, page->host + at, PAGE_SIZE - at);
	find_live(s);
}
