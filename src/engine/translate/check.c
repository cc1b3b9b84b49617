/*
 * check.c - lockstep: every block of translated code against interpret.
 *
 * The block runs first. Its stores all take the slow path, which notes what
 * they overwrite; devices it cannot reach, since such an instruction leaves the
 * block. Then its stores are undone, interpret executes as many instructions
 * from the same state, and state and stores are compared. Faults of the block
 * are not raised: it is left before the instruction, and interpret meets them.
 * Every now and then an access is taken for a fault, so that the state is right
 * before any instruction. Accessed and dirty bits stay set: a block that reads its own
 * page tables may see them earlier than it should, and is not judged. Flags that the SDM leaves
 * undefined are interpret's.
 */
#include <stdio.h>
#include <stdlib.h>

#include "engine/translate/internal.h"

#define LOG_SIZE (4 * BLOCK_INSNS)
#define LARGEST  320u /* bytes of a group */

struct store {
	uint8_t *host;
	unsigned size;
	uint8_t old[LARGEST], new[LARGEST];
};

/* By physical address; so are the blocks, and nothing else makes a difference. */
#define KNOWN 16384u
struct known {
	gpa_t addr;
	uint32_t version;
	uint8_t mode;
	struct x86_insn i;
};

struct check {
	struct x86_state before, translated;
	struct store store[LOG_SIZE];
	unsigned stores;
	uint64_t undefined; /* flags */
	uint32_t marks;     /* before the block */
	uint64_t blocks, insns, excused;
	bool different;
	struct known known[KNOWN];
};

struct check *check_new(void)
{
	return xcalloc(1, sizeof(struct check));
}

void check_store(struct check *k, uint8_t *host, unsigned size)
{
	struct store *s = &k->store[k->stores++];

	s->host = host;
	s->size = size;
	memcpy(s->old, host, size);
}

enum outcome { DONE, FAULTED, UNDEFINED };

static void undo_stores(struct check *k)
{
	for (unsigned n = 0; n < k->stores; n++)
		memcpy(k->store[n].new, k->store[n].host, k->store[n].size);
	for (unsigned n = k->stores; n-- > 0;)
		memcpy(k->store[n].host, k->store[n].old, k->store[n].size);
}

/* ---- interpret's turn ---- */

/* Of shifts the count decides; OF and AF may be undefined, CF with long counts. */
static void note_undefined(struct check *k, const struct x86_insn *i)
{
	const struct x86_insn_desc *d = &x86_insn_table[i->entry];
	uint64_t undefined = d->flags_undefined & X86_FLAGS_ARITH;

	if (i->op == X86_OP_TZCNT || i->op == X86_OP_LZCNT) /* or BSF, BSR */
		undefined = X86_FLAGS_ARITH & ~X86_ZF;
	if (d->flags_undefined & X86_FLAGS_BY_COUNT) {
		undefined |= X86_OF | (i->opsize < 4 || i->opnd[0].size < 4 ? X86_CF : 0u);
		k->undefined |= undefined;
		return;
	}
	k->undefined = (k->undefined & ~(uint64_t)d->flags_written) | undefined;
}

/* The instruction at CS:rIP, executed; decoded only where that was not done before. */
static const struct x86_insn *step(struct tcpu *t)
{
	struct cpu *c = &t->c;
	uint64_t lin = code_address(c);
	const struct tlb_entry *e = tlb_find(c, lin, code_privilege(c), X86_FETCH);
	gpa_t addr = e->gpa + (lin & 4095);
	uint32_t version = atomic_load_explicit(&e->code->version, memory_order_acquire);
	struct known *k = &t->check->known[addr % KNOWN];

	if (k->addr == addr && k->version == version && k->mode == c->mode && k->i.len) {
		c->result->executed++;
		execute(c, &k->i, body_of(c, &k->i));
		return &k->i;
	}
	k->i.len = 0; /* in case of a fault */
	interpret_one(c, c->result);
	if ((lin & 4095) + c->apart.len <= PAGE_SIZE)
		*k = (struct known){addr, version, c->apart.mode, c->apart};
	return &c->apart;
}

/*
 * Executes count instructions, or fewer: up to one that reads flags which are
 * undefined, since there both may be right; or to a fault, which translated
 * code did not meet.
 */
static enum outcome interpret(struct tcpu *t, uint64_t count)
{
	struct cpu *c = &t->c;
	volatile enum outcome outcome = FAULTED;
	jmp_buf keep;

	memcpy(&keep, &c->leave, sizeof(keep));
	t->check->undefined = 0;
	if (!setjmp(c->leave)) {
		outcome = DONE;
		for (uint64_t n = 0; n < count && outcome == DONE; n++) {
			const struct x86_insn *i;

			outcome = FAULTED;
			i = step(t);
			outcome = flags_read(i) & t->check->undefined ? UNDEFINED : DONE;
			note_undefined(t->check, i);
		}
	}
	memcpy(&c->leave, &keep, sizeof(keep));
	return outcome;
}

/* ---- the verdict ---- */

static void print_code(const struct tcpu *t, const struct tblock *b, uint64_t count)
{
	const uint8_t *code = NULL;
	const struct bus_range *r = bus_find(&t->c.v->vm->mem_bus, b->addr);
	uint64_t rip = t->check->before.rip;
	unsigned at = 0;
	char text[96];

	if (r && r->region->kind != BUS_IO)
		code = r->region->host + r->off + (b->addr - r->base);
	for (uint64_t n = 0; code && n < count; n++) {
		struct x86_insn i;

		if (x86_decode(code + at, X86_INSN_MAX, t->key[b->key].mode, &i) != X86_DECODE_OK)
			break;
		fprintf(stderr, "  %016llx  %s\n", (unsigned long long)rip,
			x86_disasm(&i, rip, text, sizeof(text)));
		at += i.len;
		rip += i.len;
	}
}

static void print_host(const struct tcpu *t, const struct tblock *b)
{
	uint32_t start = b->from_host < b->from_memory ? b->from_host : b->from_memory;
	uint64_t at = start;
	char text[96];

	while (at < t->code.at) {
		struct x86_insn i;

		if (x86_decode(t->code.base + at, X86_INSN_MAX, X86_MODE_64, &i) != X86_DECODE_OK)
			break;
		fprintf(stderr, "  host %06llx  %s\n", (unsigned long long)at,
			x86_disasm(&i, at, text, sizeof(text)));
		at += i.len;
	}
}

static bool stores_differ(const struct check *k)
{
	for (unsigned n = 0; n < k->stores; n++)
		if (memcmp(k->store[n].new, k->store[n].host, k->store[n].size))
			return true;
	return false;
}

static void compare(struct tcpu *t, const struct tblock *b, uint64_t count, enum outcome outcome)
{
	struct check *k = t->check;
	struct x86_state *s = &t->c.s;
	const unsigned groups = X86_GROUP_GPR | X86_GROUP_SEG | X86_GROUP_CR | X86_GROUP_FPU;

	k->translated.rflags = (k->translated.rflags & ~k->undefined) | (s->rflags & k->undefined);
	/* What MXCSR may hold is the host's word, written when registers are stored. */
	memcpy(k->translated.xsave + FPU_MXCSR_MASK, s->xsave + FPU_MXCSR_MASK, 4);
	if (outcome == UNDEFINED ||
		(outcome == DONE && !memcmp(&k->translated, s, sizeof(*s)) && !stores_differ(k)))
		return;
	if (outcome == DONE && !x86_state_diff(&k->translated, s, groups, NULL) &&
		!stores_differ(k))
		return;
	if (t->c.marks != k->marks) {
		k->excused++;
		return;
	}
	fprintf(stderr, "check: translated code and interpret differ after %llu instructions%s%s\n",
		(unsigned long long)count,
		outcome == DONE ? "" : ", of which interpret met a fault in one",
		stores_differ(k) ? "; stores differ" : "");
	x86_state_diff(&k->translated, s, groups, stderr);
	print_code(t, b, count);
	print_host(t, b);
	k->different = true;
	raise_fatal(&t->c, "translated code and interpret differ");
}

enum leave check_block(struct tcpu *t, struct tblock *b)
{
	struct check *k = t->check;
	struct cpu *c = &t->c;
	uint64_t executed = c->result->executed, count;
	enum leave why;
	enum outcome outcome;

	if (t->live)
		tidy_vectors(t);
	k->before = c->s;
	k->stores = 0;
	k->marks = c->marks;
	flags_to_memory(t);
	why = enter(t, t->exec + b->from_memory);
	flags_from_memory(t);
	account(t, 0);
	count = c->result->executed - executed;
	k->translated = c->s;
	k->translated.cr2 = k->before.cr2; /* of a fault that interpret has yet to meet */
	undo_stores(k);
	c->s = k->before;
	refresh(c);
	c->result->executed = executed;
	outcome = interpret(t, count);
	compare(t, b, count, outcome);
	k->blocks++;
	k->insns += outcome == UNDEFINED ? 0 : count;
	return why;
}

void check_free(struct check *k)
{
	if (k)
		fprintf(stderr, "check: %llu blocks of %llu instructions, %llu not judged; %s\n",
			(unsigned long long)k->blocks, (unsigned long long)k->insns,
			(unsigned long long)k->excused,
			k->different ? "a difference" : "no difference");
	free(k);
}
