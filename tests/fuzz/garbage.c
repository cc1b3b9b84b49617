/*
 * garbage.c - see garbage.h. Layout of the 2 MiB of RAM: the constants below. Most descriptors and
 * page entries are of the useful kind, since a guest that faults at once tests only the faults.
 */
#include "garbage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/vm.h"
#include "util/util.h"
#include "x86/insn.h"

#define RAM_SIZE    (2 * MiB)
#define GDT         0x1000u /* 64 descriptors */
#define IDT         0x2000u /* 256 gates of up to 16 bytes */
#define TSS         0x3000u
#define PAGE_DIR    0x4000u /* CR3: page directory, PDPT or PML4 */
#define PAGE_TABLES 0x5000u /* the lower levels, 3 pages */
#define CODE        0x8000u
#define CODE_SIZE   0x4000u
#define STACK       0xf000u
#define PAGE        4096u

const char *const garbage_mode_name[GARBAGE_MODES] = {"real", "16-bit protected",
	"32-bit protected", "virtual-8086", "32-bit paging", "PAE paging", "64-bit",
	"compatibility"};

struct garbage {
	const struct engine_ops *engine;
	struct vm *vm;
	struct vcpu *v;
	struct bus_region ram;
	const struct garbage_source *from;
};

static uint64_t next(struct garbage *g)
{
	return g->from->next(g->from->ctx);
}

static unsigned below(struct garbage *g, unsigned n)
{
	return (unsigned)((next(g) >> 16) % n);
}

static bool one_in(struct garbage *g, unsigned n)
{
	return below(g, n) == 0;
}

static void put(struct garbage *g, unsigned at, uint64_t v)
{
	memcpy(g->vm->ram.host + at, &v, 8);
}

struct garbage *garbage_new(const struct engine_ops *engine)
{
	const bool checks = engine->caps & ENGINE_CAP_CHECKS;
	struct vm_config config = {.engine = engine,
		.ram_size = RAM_SIZE,
		.vcpus = 1,
		.check = checks,
		.clock = checks ? CLOCK_INSTRUCTIONS : CLOCK_HOST};
	struct garbage *g = xcalloc(1, sizeof(*g));
	char err[256];

	g->engine = engine;
	g->vm = vm_new(&config, err, sizeof(err));
	if (!g->vm || (g->v = g->vm->vcpu[0], g->engine->vcpu_open(g->v))) {
		fprintf(stderr, "no machine: %s\n", g->vm ? "vcpu_open" : err);
		exit(1);
	}
	g->ram = (struct bus_region){
		.name = "ram", .size = RAM_SIZE, .kind = BUS_RAM, .host = g->vm->ram.host};
	vm_lock(g->vm);
	if (bus_map(&g->vm->mem_bus, &g->ram))
		abort();
	vm_unlock(g->vm);
	return g;
}

void garbage_free(struct garbage *g)
{
	g->engine->vcpu_close(g->v);
	vm_free(g->vm);
	free(g);
}

/* ---- memory ---- */

static uint64_t descriptor(struct garbage *g)
{
	static const uint8_t types[] = {0x93, 0x9b, 0xf3, 0xfb, 0x9f, 0x97, 0x82, 0x89, 0x8c, 0x85,
		0x81, 0x8b, 0xec, 0xe5, 0x99, 0x91};
	uint64_t r = next(g), type = types[r & 15], flags = r >> 4 & 0xf0;
	uint64_t base = r >> 12 & 0xffff, limit = r >> 28 & 0xffff;

	if (one_in(g, 8))
		return r;
	if (!(type & 0x10)) { /* a TSS, an LDT or a gate that leads to the code */
		base = type & 4 ? 8 * below(g, 16) : TSS;
		limit = type & 4 ? CODE & 0xffff : 0x1ff;
		flags = 0;
	}
	return limit | base << 16 | type << 40 | flags << 48;
}

static void fill_idt(struct garbage *g, bool is_long)
{
	static const uint8_t types[] = {0x8e, 0x8f, 0xee, 0xef, 0x86, 0xe6, 0x85, 0x8e};

	for (unsigned n = 0; n < 256; n++) {
		uint64_t type = types[is_long ? below(g, 4) : below(g, 8)];
		uint64_t to = CODE + below(g, CODE_SIZE), sel = one_in(g, 4) ? 8 * below(g, 64) : 8;

		if (is_long) {
			put(g, IDT + n * 16, to | sel << 16 | type << 40 | (next(g) & 7) << 32);
			put(g, IDT + n * 16 + 8, 0);
		} else {
			put(g, IDT + n * 8, to | sel << 16 | type << 40);
		}
		if (one_in(g, 32))
			put(g, IDT + n * 8, next(g));
	}
}

static uint64_t page_flags(struct garbage *g)
{
	if (one_in(g, 16))
		return next(g) & 0xfff;
	return 7;
}

/* Identity, with 4 KiB and large pages and some of anything; dirty and accessed bits as found. */
static void fill_pages(struct garbage *g, enum garbage_mode mode)
{
	bool wide = mode != GARBAGE_PAGED;
	unsigned entries = wide ? 512 : 1024, size = wide ? 8 : 4;
	unsigned levels = mode >= GARBAGE_LONG ? 4 : wide ? 3 : 2, table = PAGE_DIR;

	memset(g->vm->ram.host + PAGE_DIR, 0, 0x4000);
	for (unsigned level = levels; level > 1; level--, table += 0x1000) {
		uint64_t flags = mode == GARBAGE_PAE && level == 3 ? 1 : 7;

		put(g, table, (table + 0x1000) | flags);
		if (level == 2 && one_in(g, 4))
			put(g, table, 0x80 | page_flags(g)); /* one large page */
		if (level == 2 && one_in(g, 2))
			put(g, table + size, (wide ? 0x200000 : 0x400000) | 0x80 | page_flags(g));
	}
	for (unsigned n = 0; n < entries; n++) {
		uint64_t to = one_in(g, 32) ? below(g, 1024) : n, entry;

		entry = to << 12 | page_flags(g);
		if (wide && one_in(g, 64))
			entry |= UINT64_C(1) << 63;
		memcpy(g->vm->ram.host + table + n * size, &entry, size);
	}
}

static bool decodes(struct garbage *g, const uint8_t *bytes, enum garbage_mode mode, unsigned *len)
{
	static const uint8_t modes[GARBAGE_MODES] = {X86_MODE_16, X86_MODE_16, X86_MODE_32,
		X86_MODE_16, X86_MODE_32, X86_MODE_32, X86_MODE_64, X86_MODE_32};
	struct x86_insn insn;
	bool ok = x86_decode(bytes, X86_INSN_MAX, modes[mode], &insn) == X86_DECODE_OK;

	*len = insn.len;
	/* Far transfers and HLT end most runs early: fewer of them. */
	if (ok && x86_insn_table[insn.entry].class == X86_CLASS_SYSTEM)
		ok = one_in(g, 4);
	return ok && (insn.op != X86_OP_HLT || one_in(g, 16));
}

/* One instruction, or any bytes. */
static unsigned random_insn(struct garbage *g, enum garbage_mode mode, uint8_t *to)
{
	static const uint8_t lead[] = {0x0f, 0x0f, 0x66, 0xf3, 0xf2, 0x48, 0x4d, 0xc5, 0xc4, 0x67};
	unsigned len = 1 + below(g, 4);

	for (unsigned tries = 0; tries < 8; tries++) {
		uint64_t r[2] = {next(g), next(g)};
		unsigned n = 0;

		for (unsigned kind = below(g, 20); kind < sizeof(lead) && n < 3;
			kind = below(g, 20))
			to[n++] = lead[kind];
		memcpy(to + n, r, X86_INSN_MAX - n);
		if (one_in(g, 2)) /* a short displacement or immediate */
			memset(to + n + 3, 0, 4);
		if (decodes(g, to, mode, &len))
			return len;
	}
	return len;
}

static void fill_code(struct garbage *g, enum garbage_mode mode)
{
	uint8_t bytes[X86_INSN_MAX + 4];

	for (unsigned at = 0, len; at < CODE_SIZE - X86_INSN_MAX; at += len) {
		len = random_insn(g, mode, bytes);
		memcpy(g->vm->ram.host + CODE + at, bytes, len);
	}
}

static void changed(struct garbage *g)
{
	vm_lock(g->vm);
	g->engine->ram_changed(g->vm->engine, 0, RAM_SIZE);
	vm_unlock(g->vm);
}

void garbage_fill(struct garbage *g, enum garbage_mode mode, const struct garbage_source *from)
{
	g->from = from;
	for (unsigned n = 0; n < 256; n++)
		put(g, n * 4, (CODE + below(g, CODE_SIZE)) & 0xffff);
	for (unsigned n = 0; n < 64; n++)
		put(g, GDT + n * 8, descriptor(g));
	put(g, GDT + 8, UINT64_C(0x00cf9b000000ffff)); /* what gates name: flat code */
	if (mode >= GARBAGE_LONG)
		put(g, GDT + 8, UINT64_C(0x00af9b000000ffff));
	if (mode == GARBAGE_PROT16)
		put(g, GDT + 8, UINT64_C(0x00009b000000ffff));
	put(g, GDT + 16, UINT64_C(0x00cf93000000ffff));
	fill_idt(g, mode >= GARBAGE_LONG);
	for (unsigned at = 0; at < 0x200; at += 8)
		put(g, TSS + at, one_in(g, 2) ? STACK : next(g));
	put(g, TSS + 4, STACK | UINT64_C(0x10) << 32); /* ESP0, SS0 */
	fill_pages(g, mode);
	fill_code(g, mode);
	changed(g);
}

uint8_t *garbage_keep(const struct garbage *g)
{
	uint8_t *kept = xcalloc(1, RAM_SIZE);

	memcpy(kept, g->vm->ram.host, RAM_SIZE);
	return kept;
}

void garbage_restore(struct garbage *g, const uint8_t *kept)
{
	for (unsigned at = 0; at < RAM_SIZE; at += PAGE) {
		uint8_t *ram = g->vm->ram.host + at;

		if (!memcmp(ram, kept + at, PAGE))
			continue;
		memcpy(ram, kept + at, PAGE);
		vm_lock(g->vm);
		g->engine->ram_changed(g->vm->engine, at, PAGE);
		vm_unlock(g->vm);
	}
}

void garbage_code(struct garbage *g, const uint8_t *bytes, unsigned len)
{
	len = MIN(len, CODE_SIZE);
	memcpy(g->vm->ram.host + CODE, bytes, len);
	vm_lock(g->vm);
	g->engine->ram_changed(g->vm->engine, CODE, len);
	vm_unlock(g->vm);
}

/* ---- the entry state ---- */

static uint64_t value(struct garbage *g)
{
	uint64_t r = next(g);

	switch (below(g, 4)) {
	case 0:
		return r;
	case 1:
		return r & 0xff;
	default: /* an address in RAM */
		return r & 0xffff;
	}
}

static struct x86_seg flat(unsigned sel, unsigned type, unsigned dpl, bool big)
{
	return (struct x86_seg){.sel = (uint16_t)(sel | dpl),
		.limit = big ? UINT32_MAX : 0xffff,
		.attr = type | X86_ATTR_S | dpl << 5 | X86_ATTR_P |
			(big ? X86_ATTR_DB | X86_ATTR_G : 0)};
}

static void real_segments(struct garbage *g, struct x86_state *s, bool v86)
{
	for (unsigned n = X86_ES; n <= X86_GS; n++) {
		x86_seg_real(&s->seg[n], (uint16_t)(next(g) & 0xfff), n == X86_CS && !v86);
		if (v86)
			s->seg[n].attr = 0xf3;
	}
	x86_seg_real(&s->seg[X86_CS], 0, !v86);
	x86_seg_real(&s->seg[X86_SS], 0, false);
	if (v86)
		s->seg[X86_CS].attr = s->seg[X86_SS].attr = 0xf3;
}

static void protected_segments(struct garbage *g, struct x86_state *s, enum garbage_mode mode)
{
	unsigned dpl = one_in(g, 3) ? 3 : 0;
	bool big = mode != GARBAGE_PROT16;

	for (unsigned n = X86_ES; n <= X86_GS; n++)
		s->seg[n] = flat(16, 3, dpl, big);
	if (mode != GARBAGE_LONG && one_in(g, 2))
		s->seg[X86_DS].limit = 0xefff;
	s->seg[X86_FS].base = s->seg[X86_GS].base = next(g) & 0xffff;
	s->seg[X86_CS] = flat(8, 11, dpl, big);
	if (mode == GARBAGE_LONG)
		s->seg[X86_CS].attr ^= X86_ATTR_L | X86_ATTR_DB;
}

static void control_registers(struct garbage *g, struct x86_state *s, enum garbage_mode mode)
{
	const uint64_t any = X86_CR4_VME | X86_CR4_TSD | X86_CR4_DE | X86_CR4_PSE | X86_CR4_PGE |
			     X86_CR4_PCE | X86_CR4_UMIP | X86_CR4_FSGSBASE;

	s->cr0 |= next(g) & (X86_CR0_MP | X86_CR0_NE | X86_CR0_WP | X86_CR0_AM);
	s->cr0 &= ~(uint64_t)(X86_CR0_CD | X86_CR0_NW);
	if (one_in(g, 8))
		s->cr0 |= next(g) & (X86_CR0_TS | X86_CR0_EM);
	s->cr4 = (next(g) & any) | X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT | X86_CR4_OSXSAVE;
	if (mode != GARBAGE_REAL)
		s->cr0 |= X86_CR0_PE;
	s->cr3 = PAGE_DIR;
	if (mode >= GARBAGE_PAE)
		s->cr4 |= X86_CR4_PAE;
	if (mode >= GARBAGE_PAGED) {
		s->cr0 |= X86_CR0_PG;
		s->cr4 |= one_in(g, 4) ? next(g) & (X86_CR4_SMEP | X86_CR4_SMAP) : 0;
	}
	memcpy(s->pdpte, g->vm->ram.host + PAGE_DIR, sizeof(s->pdpte));
	s->efer = X86_EFER_SCE | (mode >= GARBAGE_PAE ? X86_EFER_NXE : 0);
	if (mode >= GARBAGE_LONG)
		s->efer |= X86_EFER_LME | X86_EFER_LMA;
	s->xcr0 = one_in(g, 4) ? 3 : 7;
}

static void system_segments(struct x86_state *s, bool is_long)
{
	s->gdtr = (struct x86_table){GDT, 64 * 8 - 1};
	s->idtr = (struct x86_table){IDT, is_long ? 0xfff : 0x7ff};
	s->seg[X86_TR] = (struct x86_seg){TSS, 0x1ff, 0x8b, 24};
	s->seg[X86_LDTR] = (struct x86_seg){GDT, 64 * 8 - 1, 0x82, 32};
}

static void random_state(struct garbage *g, enum garbage_mode mode, struct x86_state *s)
{
	const uint32_t mxcsr = 0x1f80;

	x86_state_reset(s, 0);
	for (unsigned n = 0; n < X86_GPR_COUNT; n++)
		s->gpr[n] = mode >= GARBAGE_LONG ? value(g) : (uint32_t)value(g);
	s->gpr[X86_RSP] = STACK - below(g, 64) * 4;
	for (unsigned at = 32; at < 416; at += 8)
		memcpy(s->xsave + at, &(uint64_t){next(g)}, 8);
	memcpy(s->xsave + 24, &mxcsr, 4);
	s->rip = CODE + (one_in(g, 2) ? below(g, CODE_SIZE) : 0);
	s->rflags = X86_FLAGS_FIXED | (next(g) & (X86_FLAGS_ARITH | X86_IF | X86_IOPL | X86_AC));
	if (one_in(g, 16))
		s->rflags |= next(g) & (X86_TF | X86_NT | X86_DF);
	control_registers(g, s, mode);
	if (mode == GARBAGE_V86)
		s->rflags |= X86_VM;
	if (mode == GARBAGE_REAL || mode == GARBAGE_V86)
		real_segments(g, s, mode == GARBAGE_V86);
	else
		protected_segments(g, s, mode);
	if (mode != GARBAGE_REAL)
		system_segments(s, mode >= GARBAGE_LONG);
	for (unsigned n = X86_MSR_SYSENTER_CS; n <= X86_MSR_KERNEL_GS_BASE; n++)
		s->msr[n] = n <= X86_MSR_STAR ? next(g) & 0xffff : CODE;
	s->events.run = X86_RUNNING;
}

uint64_t garbage_run(struct garbage *g, enum garbage_mode mode, const struct garbage_source *from,
	uint64_t budget, struct run_result *r)
{
	struct x86_state s;

	g->from = from;
	*r = (struct run_result){0};
	random_state(g, mode, &s);
	if (g->engine->put(g->v, &s, X86_GROUP_ALL))
		return 0;
	g->engine->run(g->v, budget, r);
	return r->executed;
}

const char *garbage_state_error(struct garbage *g, struct x86_state *s)
{
	bool pg, lma, lme;

	if (g->engine->get(g->v, s, X86_GROUP_ALL))
		return "there is none";
	pg = s->cr0 & X86_CR0_PG, lma = s->efer & X86_EFER_LMA, lme = s->efer & X86_EFER_LME;
	if ((s->rflags & ~UINT64_C(0x3f7fd7)) || !(s->rflags & X86_FLAGS_FIXED))
		return "RFLAGS has reserved bits";
	if (pg && !(s->cr0 & X86_CR0_PE))
		return "CR0.PG without CR0.PE";
	if (s->cr0 & X86_CR0_NW && !(s->cr0 & X86_CR0_CD))
		return "CR0.NW without CR0.CD";
	if (lma != (lme && pg))
		return "EFER.LMA is not EFER.LME and CR0.PG";
	if (lma && !(s->cr4 & X86_CR4_PAE))
		return "long mode without CR4.PAE";
	if (lma && s->rflags & X86_VM)
		return "virtual-8086 mode in long mode";
	if (!lma && (s->rip >> 32 || s->rflags & X86_VM) && s->rip >> 32)
		return "a 64-bit RIP outside long mode";
	return NULL;
}
