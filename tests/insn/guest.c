/*
 * guest.c - the other side of the oracle: an engine behind its contract.
 *
 * A machine with RAM and no device. Its low memory holds the descriptor
 * tables, all vectors lead to distinct addresses of their own, so that the
 * state after one step tells which exception came.
 * Exceptions in the protected modes go to ring 0 with a stack of its own.
 * Sources: SDM vol. 3A 3.4.5, 5.11, 6.10, 6.14 (descriptors, gates), 7.2.1,
 * 7.7 (TSS), 4.5 (paging), 20.1.4 (real-mode exceptions).
 */
#include "guest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/vm.h"
#include "util/util.h"

/* Low memory, below the areas. The tables lie in supervisor pages. */
#define IVT_BASE   0x0000u
#define GDT_BASE   0x0800u
#define IDT_BASE   0x1000u /* 256 gates of up to 16 bytes */
#define LDT_BASE   0x2000u
#define TSS_BASE   0x2800u
#define STACK0_TOP 0x8000u
#define PML4_BASE  0x10000u
#define RAM_SIZE   (1 * MiB)

/*
 * The handlers: a NOP each, since kvm's single-step stops one instruction
 * behind the delivery of an exception; then HLT, since hardware does not stop
 * there at all if delivery cleared TF.
 */
#define HANDLER_BASE 0x9000u
#define HANDLER_SEG  (HANDLER_BASE >> 4)
#define HANDLER_SIZE 16u
#define HANDLER_END  (HANDLER_BASE + 256 * HANDLER_SIZE)
#define NOP          0x90
#define HLT          0xf4

/* The GDT, as Linux lays it out where a case can see it. */
#define SEL_CODE0_32 0x08u
#define SEL_CODE0_64 0x10u
#define SEL_DATA0    0x18u
#define SEL_CODE3_32 0x23u
#define SEL_DATA3    0x2bu
#define SEL_CODE3_64 0x33u
#define SEL_TSS      0x40u
#define SEL_LDT      0x50u
#define SEL_CPU      0x7bu
#define GDT_LIMIT    0x7fu

struct guest {
	struct vm *vm;
	const struct engine_ops *ops;
	struct bus_region ram;
	enum guest_kind kind;
	bool translates;       /* step would not */
	struct x86_state base; /* what every case starts from */
	uint8_t pattern[AREA_END - AREA_BASE];
};

static bool is_real(const struct guest *g)
{
	return g->kind == GUEST_REAL16 || g->kind == GUEST_REAL;
}

/* 64-bit code, or 32-bit code beneath a 64-bit kernel. */
static bool in_long_mode(const struct guest *g)
{
	return g->kind == GUEST_LONG64 || g->kind == GUEST_FLAT32;
}

/* ---- tables ---- */

static void poke(struct guest *g, uint32_t addr, const void *data, unsigned len)
{
	memcpy(g->vm->ram.host + addr, data, len);
}

static void poke64(struct guest *g, uint32_t addr, uint64_t v)
{
	poke(g, addr, &v, sizeof(v));
}

static uint32_t peek(const struct guest *g, uint32_t addr, unsigned len)
{
	uint32_t v = 0;

	if (range_in(addr, len, RAM_SIZE))
		memcpy(&v, g->vm->ram.host + addr, len);
	return v;
}

/* SDM vol. 3A figure 3-8, from the canonical form. */
static uint64_t descriptor(const struct x86_seg *s)
{
	uint32_t limit = s->attr & X86_ATTR_G ? s->limit >> 12 : s->limit;

	return (limit & 0xffff) | (s->base & 0xffffff) << 16 | (uint64_t)(s->attr & 0xff) << 40 |
	       (uint64_t)(limit & 0xf0000) << 32 | (uint64_t)(s->attr & 0xf000) << 40 |
	       (s->base & 0xff000000) << 32;
}

/* Accessed, present code or data segment. */
static struct x86_seg make_seg(uint16_t sel, uint32_t base, uint32_t limit, uint32_t attr)
{
	return (struct x86_seg){.sel = sel,
		.base = base,
		.limit = limit,
		.attr = attr | X86_ATTR_P | X86_ATTR_S | (uint32_t)(sel & 3) << 5};
}

#define ATTR_CODE 0xbu /* execute, read, accessed */
#define ATTR_DATA 0x3u /* read, write, accessed */
#define ATTR_FLAT (X86_ATTR_G | X86_ATTR_DB)

static void put_descriptor(struct guest *g, uint32_t table, const struct x86_seg *s)
{
	poke64(g, table + (s->sel & ~7u), descriptor(s));
}

static struct x86_seg area_seg(enum x86_mode mode, unsigned seg)
{
	return make_seg(case_selector(mode, seg), area_of(seg), AREA_SIZE - 1,
		(seg == X86_CS ? ATTR_CODE : ATTR_DATA) | (mode == X86_MODE_32 ? X86_ATTR_DB : 0));
}

static struct x86_seg flat_seg(unsigned seg)
{
	uint32_t base = seg == X86_FS ? FLAT_FS_BASE : seg == X86_GS ? FLAT_GS_BASE : 0;
	uint32_t type = seg == X86_CS ? ATTR_CODE : ATTR_DATA;
	uint32_t avl = base ? X86_ATTR_AVL : 0; /* as modify_ldt makes them */

	return make_seg(flat_selector(seg), base, UINT32_MAX, type | ATTR_FLAT | avl);
}

static void put_ldt(struct guest *g)
{
	static const enum x86_mode mode[] = {X86_MODE_16, X86_MODE_32};

	for (unsigned m = 0; m < ARRAY_SIZE(mode); m++)
		for (unsigned seg = 0; seg < 6; seg++) {
			struct x86_seg s = area_seg(mode[m], seg);

			s.attr |= X86_ATTR_AVL; /* as modify_ldt makes them */
			put_descriptor(g, LDT_BASE, &s);
		}
	for (unsigned seg = X86_FS; seg <= X86_GS; seg++) {
		const struct x86_seg s = flat_seg(seg);

		put_descriptor(g, LDT_BASE, &s);
	}
}

static struct x86_seg system_seg(uint16_t sel, uint32_t base, uint32_t limit, unsigned type)
{
	return (struct x86_seg){
		.sel = sel, .base = base, .limit = limit, .attr = type | X86_ATTR_P};
}

/* Linux keeps the CPU's number in the limit of a segment that user code may ask for. */
static struct x86_seg host_cpu_number(void)
{
	uint32_t access = 0, limit = 0;

	__asm__("lar %1, %0" : "+r"(access) : "r"((uint32_t)SEL_CPU) : "cc");
	__asm__("lsl %1, %0" : "+r"(limit) : "r"((uint32_t)SEL_CPU) : "cc");
	limit &= ~0xfffu; /* as on CPU 0, where the native child stays */
	return (struct x86_seg){.sel = SEL_CPU, .limit = limit, .attr = access >> 8 & 0xf0ff};
}

static void put_gdt(struct guest *g)
{
	const struct x86_seg seg[] = {
		make_seg(SEL_CODE0_32, 0, UINT32_MAX, ATTR_CODE | ATTR_FLAT),
		make_seg(SEL_CODE0_64, 0, UINT32_MAX, ATTR_CODE | X86_ATTR_G | X86_ATTR_L),
		make_seg(SEL_DATA0, 0, UINT32_MAX, ATTR_DATA | ATTR_FLAT),
		make_seg(SEL_CODE3_32, 0, UINT32_MAX, ATTR_CODE | ATTR_FLAT),
		make_seg(SEL_DATA3, 0, UINT32_MAX, ATTR_DATA | ATTR_FLAT),
		make_seg(SEL_CODE3_64, 0, UINT32_MAX, ATTR_CODE | X86_ATTR_G | X86_ATTR_L),
		system_seg(SEL_TSS, TSS_BASE, 0x67, 0xb),
		system_seg(SEL_LDT, LDT_BASE, 0xff, 0x2),
		host_cpu_number(),
	};

	for (unsigned i = 0; i < ARRAY_SIZE(seg); i++)
		put_descriptor(g, GDT_BASE, &seg[i]);
	put_ldt(g);
}

/* Interrupt gates (SDM vol. 3A figures 6-2, 6-8); INT3 and INTO may be called from ring 3. */
static void put_idt(struct guest *g)
{
	bool wide = in_long_mode(g);
	uint64_t sel = wide ? SEL_CODE0_64 : SEL_CODE0_32;

	for (unsigned v = 0; v < 256; v++) {
		uint64_t dpl = v == X86_BP || v == X86_OFV ? 3 : 0;
		uint64_t offset = HANDLER_BASE + v * HANDLER_SIZE;

		poke64(g, IDT_BASE + v * (wide ? 16 : 8),
			offset | sel << 16 | (0x8e00 | dpl << 13) << 32);
		if (wide)
			poke64(g, IDT_BASE + v * 16 + 8, 0);
	}
}

static void put_tss(struct guest *g)
{
	const uint16_t io_map = 0x68; /* behind the limit: no port is allowed */

	poke(g, TSS_BASE + 0x66, &io_map, 2);
	if (in_long_mode(g))
		poke64(g, TSS_BASE + 4, STACK0_TOP); /* RSP0 */
	else
		poke64(g, TSS_BASE + 4, STACK0_TOP | (uint64_t)SEL_DATA0 << 32); /* ESP0, SS0 */
}

static void put_ivt(struct guest *g)
{
	for (unsigned v = 0; v < 256; v++) {
		uint32_t entry = v * HANDLER_SIZE | HANDLER_SEG << 16;

		poke(g, IVT_BASE + v * 4, &entry, 4);
	}
}

/* Identity map of the first MiB; only the areas are for user code. */
static void put_page_tables(struct guest *g)
{
	const uint64_t rwx_user = 7, supervisor = 3, table = 0x1000;

	for (unsigned level = 0; level < 3; level++)
		poke64(g, (uint32_t)(PML4_BASE + level * table),
			(PML4_BASE + (level + 1) * table) | rwx_user);
	for (uint32_t a = 0; a < RAM_SIZE; a += 4096)
		poke64(g, (uint32_t)(PML4_BASE + 3 * table + a / 4096 * 8),
			a | (a >= AREA_BASE && a < AREA_END ? rwx_user : supervisor));
}

/* ---- the state a case starts from ---- */

static void base_real(struct x86_state *s, bool own_selectors)
{
	for (unsigned seg = 0; seg < 6; seg++) {
		x86_seg_real(&s->seg[seg], (uint16_t)(area_of(seg) >> 4), seg == X86_CS);
		if (!own_selectors)
			s->seg[seg].sel = case_selector(X86_MODE_16, seg);
	}
	s->idtr = (struct x86_table){IVT_BASE, 0x3ff};
}

static void base_protected(struct x86_state *s, enum x86_mode mode)
{
	for (unsigned seg = 0; seg < 6; seg++)
		s->seg[seg] = area_seg(mode, seg);
	s->seg[X86_TR] = system_seg(SEL_TSS, TSS_BASE, 0x67, 0xb);
	s->seg[X86_LDTR] = system_seg(SEL_LDT, LDT_BASE, 0xff, 0x2);
	s->gdtr = (struct x86_table){GDT_BASE, GDT_LIMIT};
	s->idtr = (struct x86_table){IDT_BASE, 0xfff};
	s->cr0 = X86_CR0_PE | X86_CR0_ET | X86_CR0_NE | X86_CR0_AM;
}

static void base_long(struct x86_state *s)
{
	static const uint8_t null[] = {X86_ES, X86_DS, X86_FS, X86_GS};

	base_protected(s, X86_MODE_32);
	s->seg[X86_CS] = make_seg(SEL_CODE3_64, 0, UINT32_MAX, ATTR_CODE | X86_ATTR_G | X86_ATTR_L);
	s->seg[X86_SS] = make_seg(SEL_DATA3, 0, UINT32_MAX, ATTR_DATA | ATTR_FLAT);
	for (unsigned i = 0; i < ARRAY_SIZE(null); i++)
		s->seg[null[i]] = (struct x86_seg){.attr = X86_ATTR_UNUSABLE};
	s->seg[X86_FS].base = FLAT_FS_BASE;
	s->seg[X86_GS].base = FLAT_GS_BASE;
	s->cr0 |= X86_CR0_PG | X86_CR0_WP;
	s->cr3 = PML4_BASE;
	s->cr4 = X86_CR4_PAE | X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT;
	s->efer = X86_EFER_LME | X86_EFER_LMA | X86_EFER_NXE | X86_EFER_SCE;
}

/* Compatibility mode: the host's kernel is 64-bit, too. */
static void base_flat(struct x86_state *s)
{
	base_long(s);
	for (unsigned seg = 0; seg < 6; seg++)
		s->seg[seg] = flat_seg(seg);
}

static void set_tables(struct guest *g)
{
	memset(g->vm->ram.host, 0, AREA_BASE);
	memset(g->vm->ram.host + HANDLER_BASE, HLT, HANDLER_END - HANDLER_BASE);
	for (uint32_t at = HANDLER_BASE; at < HANDLER_END; at += HANDLER_SIZE)
		g->vm->ram.host[at] = NOP;
	if (is_real(g)) {
		put_ivt(g);
		return;
	}
	put_gdt(g);
	put_idt(g);
	put_tss(g);
	if (in_long_mode(g))
		put_page_tables(g);
}

static void allow_vectors(struct guest *g)
{
	const struct x86_model *m = &g->vm->model;

	if (g->kind == GUEST_LONG64 && x86_model_has(m, X86_CPU_FSGSBASE))
		g->base.cr4 |= X86_CR4_FSGSBASE; /* as native_open asks of the host */
	if (!x86_model_has(m, X86_CPU_XSAVE))
		return;
	g->base.cr4 |= X86_CR4_OSXSAVE;
	g->base.xcr0 = X86_XCR0_X87 | X86_XCR0_SSE;
	if (x86_model_has(m, X86_CPU_AVX))
		g->base.xcr0 |= X86_XCR0_AVX;
}

bool guest_enter(struct guest *g, enum guest_kind kind)
{
	static const enum x86_mode mode[GUEST_KINDS] = {
		X86_MODE_16, X86_MODE_16, X86_MODE_32, X86_MODE_32, X86_MODE_64, X86_MODE_16};
	struct insn_case nop = {.mode = (uint8_t)mode[kind], .bytes = {NOP}};
	struct insn_result r;

	g->kind = kind;
	x86_state_reset(&g->base, 0);
	set_tables(g);
	if (is_real(g))
		base_real(&g->base, kind == GUEST_REAL);
	else if (kind == GUEST_LONG64)
		base_long(&g->base);
	else if (kind == GUEST_FLAT32)
		base_flat(&g->base);
	else
		base_protected(&g->base, mode[kind]);
	g->base.cr4 |= X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT;
	g->base.cr0 |= X86_CR0_NE;
	allow_vectors(g);
	if (g->ops->put(g->vm->vcpu[0], &g->base, X86_GROUP_ALL & ~X86_GROUP_TSC))
		return false;
	nop.regs.rip = 0x100;
	nop.regs.rflags = X86_FLAGS_FIXED;
	for (unsigned seg = 0; seg < 6; seg++)
		nop.regs.sel[seg] = g->base.seg[seg].sel;
	guest_run(g, &nop, &r);
	return r.end == INSN_RETIRED && r.regs.rip == 0x101;
}

/* ---- life ---- */

void guest_clean(struct guest *g)
{
	memcpy(g->vm->ram.host + AREA_BASE, g->pattern, sizeof(g->pattern));
}

struct guest *guest_open(
	const struct engine_ops *ops, const struct x86_model *model, char *err, size_t errlen)
{
	const bool translates = ops->caps & ENGINE_CAP_CHECKS;
	struct vm_config config = {.engine = ops,
		.ram_size = RAM_SIZE,
		.vcpus = 1,
		.model = model,
		.time_exits = translates,
		.torture = translates ? "block=1" : NULL,
		.clock = translates ? CLOCK_INSTRUCTIONS : CLOCK_HOST};
	struct guest *g = xcalloc(1, sizeof(*g));

	g->ops = ops;
	g->translates = translates;
	g->vm = vm_new(&config, err, errlen);
	if (!g->vm)
		goto fail;
	g->ram = (struct bus_region){
		.name = "ram", .size = RAM_SIZE, .kind = BUS_RAM, .host = g->vm->ram.host};
	vm_lock(g->vm);
	bus_map(&g->vm->mem_bus, &g->ram);
	vm_unlock(g->vm);
	if (ops->vcpu_open(g->vm->vcpu[0])) {
		snprintf(err, errlen, "engine %s has no vCPU", ops->name);
		vm_free(g->vm);
		goto fail;
	}
	area_fill(g->pattern);
	guest_clean(g);
	return g;
fail:
	free(g);
	return NULL;
}

void guest_close(struct guest *g)
{
	g->ops->vcpu_close(g->vm->vcpu[0]);
	vm_free(g->vm);
	free(g);
}

void guest_report(const struct guest *g)
{
	if (g->ops->report)
		g->ops->report(g->vm->engine, stdout);
}

uint32_t guest_stray_write(const struct guest *g)
{
	const uint8_t *areas = g->vm->ram.host + AREA_BASE;

	if (!memcmp(areas, g->pattern, sizeof(g->pattern)))
		return 0;
	for (uint32_t a = AREA_BASE; a < AREA_END; a++)
		if (areas[a - AREA_BASE] != area_pattern(a))
			return a;
	return 0;
}

/* ---- one case ---- */

static void changed(struct guest *g, uint32_t addr, unsigned len)
{
	if (g->ops->ram_changed)
		g->ops->ram_changed(g->vm->engine, addr, len);
}

static uint32_t code_addr(const struct insn_case *c)
{
	return CODE_BASE + (uint32_t)c->regs.rip;
}

static void write_case(struct guest *g, const struct insn_case *c)
{
	for (unsigned i = 0; i < WINDOW_COUNT; i++)
		if (c->window[i].addr)
			poke(g, c->window[i].addr, c->window[i].bytes, WINDOW_SIZE);
	poke(g, code_addr(c), c->bytes, sizeof(c->bytes));
	changed(g, code_addr(c), sizeof(c->bytes));
}

static void put_pattern(struct guest *g, uint32_t addr, unsigned len)
{
	for (unsigned i = 0; i < len; i++)
		g->vm->ram.host[addr + i] = area_pattern(addr + i);
}

static void read_case(struct guest *g, const struct insn_case *c, struct insn_result *r)
{
	for (unsigned i = 0; i < WINDOW_COUNT; i++)
		if (c->window[i].addr)
			memcpy(r->window[i], g->vm->ram.host + c->window[i].addr, WINDOW_SIZE);
	for (unsigned i = 0; i < WINDOW_COUNT; i++)
		if (c->window[i].addr)
			put_pattern(g, c->window[i].addr, WINDOW_SIZE);
	put_pattern(g, code_addr(c), sizeof(c->bytes));
	changed(g, code_addr(c), sizeof(c->bytes));
}

/* What was at a linear address before the case. */
static uint8_t byte_before(const struct insn_case *c, uint32_t addr)
{
	uint8_t b = area_pattern(addr);

	for (unsigned i = 0; i < WINDOW_COUNT; i++)
		if (c->window[i].addr && addr - c->window[i].addr < WINDOW_SIZE)
			b = c->window[i].bytes[addr - c->window[i].addr];
	return b;
}

/* Real mode pushes FLAGS, CS, IP on the case's own stack (SDM vol. 3A 20.1.4). */
static void undo_real_frame(struct guest *g, const struct insn_case *c, struct insn_result *r,
	const struct x86_state *s)
{
	uint16_t sp = (uint16_t)s->gpr[X86_RSP];
	uint32_t ss = (uint32_t)s->seg[X86_SS].base, at;

	r->end = (uint16_t)(s->rip / HANDLER_SIZE);
	r->regs.rip = peek(g, ss + sp, 2);
	r->regs.sel[X86_CS] = (uint16_t)peek(g, ss + (uint16_t)(sp + 2), 2);
	r->regs.rflags = (s->rflags & ~UINT64_C(0xffff)) | peek(g, ss + (uint16_t)(sp + 4), 2);
	r->regs.gpr[X86_RSP] = (s->gpr[X86_RSP] & ~UINT64_C(0xffff)) | (uint16_t)(sp + 6);
	for (unsigned i = 0; i < 6; i++) {
		at = ss + (uint16_t)(sp + i);
		g->vm->ram.host[at] = byte_before(c, at);
	}
}

/* The ring-0 frame: [error], rIP, CS, rFLAGS, rSP, SS (SDM vol. 3A figures 6-4, 6-9). */
static void undo_ring0_frame(struct guest *g, struct insn_result *r, const struct x86_state *s)
{
	unsigned n = in_long_mode(g) ? 8 : 4;
	uint32_t sp = (uint32_t)s->gpr[X86_RSP];

	r->end = (uint16_t)((s->rip - HANDLER_BASE) / HANDLER_SIZE);
	if (vector_has_error(r->end)) {
		r->error = peek(g, sp, 4);
		sp += n;
	}
	r->regs.rip = peek(g, sp, 4) | (n == 8 ? (uint64_t)peek(g, sp + 4, 4) << 32 : 0);
	r->regs.sel[X86_CS] = (uint16_t)peek(g, sp + n, 2);
	r->regs.rflags = peek(g, sp + 2 * n, 4);
	r->regs.gpr[X86_RSP] =
		peek(g, sp + 3 * n, 4) | (n == 8 ? (uint64_t)peek(g, sp + 3 * n + 4, 4) << 32 : 0);
	r->regs.sel[X86_SS] = (uint16_t)peek(g, sp + 4 * n, 2);
	if (r->end == X86_PFV)
		r->cr2 = s->cr2;
}

static bool in_handler(const struct guest *g, const struct x86_state *s)
{
	uint64_t at = s->seg[X86_CS].base + s->rip;

	return at >= HANDLER_BASE && at < HANDLER_END &&
	       (is_real(g) ? s->seg[X86_CS].sel == HANDLER_SEG : (s->seg[X86_CS].sel & 3) == 0);
}

static void take_system(struct insn_result *r, const struct x86_state *s)
{
	for (unsigned seg = 0; seg < 6; seg++)
		r->system.base[seg] = s->seg[seg].base;
	r->system.gdtr = s->gdtr;
	r->system.idtr = s->idtr;
	r->system.cr0 = s->cr0;
	r->system.cr3 = s->cr3;
	r->system.cr4 = s->cr4;
}

static void take_state(struct guest *g, const struct insn_case *c, struct insn_result *r,
	const struct x86_state *s)
{
	memcpy(r->regs.gpr, s->gpr, sizeof(r->regs.gpr));
	r->regs.rip = s->rip;
	r->regs.rflags = s->rflags;
	for (unsigned seg = 0; seg < 6; seg++)
		r->regs.sel[seg] = s->seg[seg].sel;
	memcpy(r->fpu, s->xsave, FPU_SIZE);
	r->end = INSN_RETIRED;
	take_system(r, s);
	if (in_handler(g, s) && is_real(g))
		undo_real_frame(g, c, r, s);
	else if (in_handler(g, s))
		undo_ring0_frame(g, r, s);
	if (in_long_mode(g))
		r->regs.rip -= CODE_BASE;
}

static void load_case(struct guest *g, const struct insn_case *c, struct x86_state *s)
{
	*s = g->base;
	memcpy(s->gpr, c->regs.gpr, sizeof(s->gpr));
	s->rip = c->regs.rip + (in_long_mode(g) ? CODE_BASE : 0);
	s->rflags = c->regs.rflags;
	memcpy(s->xsave, c->fpu, FPU_SIZE);
	if (!(s->xcr0 & X86_XCR0_AVX))
		memset(s->xsave + FPU_YMM, 0, FPU_SIZE - FPU_YMM);
	s->xsave[FPU_HEADER] = (uint8_t)(s->xcr0 | X86_XCR0_X87 | X86_XCR0_SSE); /* XSTATE_BV */
}

/* One instruction: a block of one with a budget of one, where steps are not translated. */
static void run_one(struct guest *g, struct run_result *run)
{
	struct vcpu *v = g->vm->vcpu[0];

	*run = (struct run_result){0};
	if (!g->translates) {
		g->ops->step(v, run);
		return;
	}
	atomic_store(&v->kick_pending, false);
	g->ops->run(v, 1, run);
}

void guest_run(struct guest *g, const struct insn_case *c, struct insn_result *r)
{
	struct vcpu *v = g->vm->vcpu[0];
	struct x86_state s;
	struct run_result run = {0};
	const unsigned groups = X86_GROUP_GPR | X86_GROUP_SEG | X86_GROUP_CR | X86_GROUP_FPU;

	memset(r, 0, sizeof(*r));
	write_case(g, c);
	load_case(g, c, &s);
	if (g->ops->put(v, &s, groups | X86_GROUP_EVENTS)) {
		r->end = INSN_UNSUPPORTED;
		return;
	}
	/* As core does around it: what the step needs of core leaves and comes back. */
	vm_lock(g->vm);
	atomic_store(&v->inside, true);
	vm_unlock(g->vm);
	run_one(g, &run);
	g->ops->get(v, &s, groups | X86_GROUP_EVENTS);
	if (s.events.shadow_mov_ss) { /* so does the real CPU: the trap comes a NOP later */
		run_one(g, &run);
		g->ops->get(v, &s, groups);
	}
	atomic_store(&v->inside, false);
	take_state(g, c, r, &s);
	r->system.halted = run.exit == RUN_HALTED && r->end == INSN_RETIRED;
	if (run.exit == RUN_SHUTDOWN)
		r->end = INSN_SHUTDOWN;
	else if (run.exit == RUN_FATAL)
		r->end = INSN_UNSUPPORTED;
	read_case(g, c, r);
}
