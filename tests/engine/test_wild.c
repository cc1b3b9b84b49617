/*
 * test_wild.c - guests gone wild on engine interpret: code, stack, descriptor
 * tables and page tables lie where nothing is, or in a device that answers with
 * one of a few patterns. There is no right result but one: run comes back in
 * its budget, and what is then the state can be read and entered again.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/vm.h"
#include "engine/interpret/interpret.h"
#include "util/util.h"

#define BUDGET      20000u
#define CODE        0x7c00u
#define TABLES      0x10000u /* in RAM: a page of each level, mapping 0-1 GiB to itself */
#define DEVICE      0x200000u
#define DEVICE_SIZE 0x10000u
#define NOTHING     0x30000000u

enum { PRESENT = 1, USER = 7, LARGE = 0x80, ACCESSED = 0x60 };

/* What each word of the device reads as. Writes are counted and forgotten. */
static const uint64_t pattern[] = {
	0, ~UINT64_C(0), DEVICE | USER, /* every entry leads back, with A and D to be set */
	DEVICE | USER | ACCESSED,       /* and with both set */
	DEVICE | USER | LARGE,
	(DEVICE | USER) * UINT64_C(0x100000001), /* an entry in either half */
	UINT64_C(0xf0f0f0f0f0f0f0f0),            /* LOCK, for ever */
	UINT64_C(0x2e2e2e2e2e2e2e2e),            /* prefixes */
	UINT64_C(0xfeebfeebfeebfeeb),            /* JMP $ */
	UINT64_C(0x6060606060606060),            /* PUSHA */
	UINT64_C(0x00cf9b000000ffff),            /* a descriptor */
};

struct machine {
	struct vm *vm;
	struct vcpu *v;
	struct bus_region ram, device;
	uint64_t answer, writes;
};

static uint64_t device_read(void *ctx, uint64_t off, unsigned size)
{
	const struct machine *m = ctx;

	return m->answer >> off % 8 * 8;
}

static void device_write(void *ctx, uint64_t off, unsigned size, uint64_t value)
{
	((struct machine *)ctx)->writes++;
}

static const struct bus_ops device_ops = {device_read, device_write, 1, 8};

static int setup(void **state)
{
	struct vm_config config = {.engine = &interpret_engine, .ram_size = 1 * MiB, .vcpus = 1};
	struct machine *m = xcalloc(1, sizeof(*m));
	char err[256];

	m->vm = vm_new(&config, err, sizeof(err));
	assert_non_null(m->vm);
	m->v = m->vm->vcpu[0];
	m->ram = (struct bus_region){
		.name = "ram", .size = 1 * MiB, .kind = BUS_RAM, .host = m->vm->ram.host};
	m->device = (struct bus_region){.name = "device",
		.base = DEVICE,
		.size = DEVICE_SIZE,
		.kind = BUS_IO,
		.prio = BUS_PRIO_FIXED,
		.ops = &device_ops,
		.ctx = m};
	vm_lock(m->vm);
	assert_int_equal(bus_map(&m->vm->mem_bus, &m->ram), 0);
	assert_int_equal(bus_map(&m->vm->mem_bus, &m->device), 0);
	vm_unlock(m->vm);
	assert_int_equal(interpret_engine.vcpu_open(m->v), 0);
	*state = m;
	return 0;
}

static int teardown(void **state)
{
	struct machine *m = *state;

	interpret_engine.vcpu_close(m->v);
	vm_free(m->vm);
	free(m);
	return 0;
}

enum mode { REAL, PROTECTED, PAGING, PAE, LONG, MODES };

static void put_word(struct machine *m, uint64_t addr, uint64_t value)
{
	memcpy(m->vm->ram.host + addr, &value, 8);
}

/* Tables that map the first GiB, in the form of the mode. */
static void make_tables(struct machine *m, enum mode mode)
{
	memset(m->vm->ram.host + TABLES, 0, 0x4000);
	if (mode == PAGING) {
		for (uint32_t n = 0, entry; n < 1024; n++) {
			entry = n << 22 | USER | LARGE;
			memcpy(m->vm->ram.host + TABLES + n * 4, &entry, 4);
		}
		return;
	}
	put_word(m, TABLES, (TABLES + 0x1000) | (mode == PAE ? PRESENT : USER));
	put_word(m, TABLES + 0x1000, (TABLES + 0x2000) | USER);
	if (mode == PAE)
		put_word(m, TABLES, (TABLES + 0x2000) | PRESENT);
	for (uint64_t n = 0; n < 512; n++)
		put_word(m, TABLES + 0x2000 + n * 8, n << 21 | USER | LARGE);
}

static void flat(struct x86_seg *seg, uint16_t sel, uint32_t attr)
{
	*seg = (struct x86_seg){.sel = sel, .limit = UINT32_MAX, .attr = attr};
}

/* A state of the mode that would run at CODE, were it left alone. */
static void make_state(struct machine *m, struct x86_state *s, enum mode mode)
{
	x86_state_reset(s, 0);
	x86_seg_real(&s->seg[X86_CS], 0, true);
	s->rip = CODE;
	s->gpr[X86_RSP] = CODE;
	if (mode == REAL)
		return;
	for (unsigned n = 0; n < 6; n++)
		flat(&s->seg[n], 0x18, 0xc093);
	flat(&s->seg[X86_CS], 0x10, mode == LONG ? 0xa09b : 0xc09b);
	s->cr0 |= X86_CR0_PE;
	if (mode == PROTECTED)
		return;
	make_tables(m, mode);
	s->cr0 |= X86_CR0_PG | X86_CR0_WP;
	s->cr3 = TABLES;
	s->cr4 |= mode == PAGING ? X86_CR4_PSE : X86_CR4_PAE;
	if (mode == LONG)
		s->efer |= X86_EFER_LME | X86_EFER_LMA;
	if (mode == PAE)
		s->pdpte[0] = (TABLES + 0x2000) | PRESENT;
}

/* Runs, and runs on from what came out. */
static void come_back(struct machine *m, struct x86_state *s)
{
	struct run_result r;

	for (unsigned n = 0; n < 2; n++) {
		r = (struct run_result){0};
		assert_int_equal(interpret_engine.put(m->v, s, X86_GROUP_ALL), 0);
		interpret_engine.run(m->v, BUDGET, &r);
		assert_true(r.exit == RUN_BUDGET || r.exit == RUN_SHUTDOWN || r.exit == RUN_HALTED);
		assert_int_equal(interpret_engine.get(m->v, s, X86_GROUP_ALL), 0);
	}
}

/* PUSH, a store, INT 3, and a jump back. */
static const uint8_t busy[] = {0x50, 0x88, 0x07, 0xcc, 0xeb, 0xfa};

typedef void spoil(struct machine *m, struct x86_state *s, uint64_t where);

static void everywhere(struct machine *m, spoil *spoil)
{
	static const uint64_t place[] = {NOTHING, DEVICE, DEVICE + DEVICE_SIZE - 3, MiB - 3};
	struct x86_state s;

	for (unsigned n = 0; n < MODES * ARRAY_SIZE(place) * ARRAY_SIZE(pattern); n++) {
		memset(m->vm->ram.host, 0, 1 * MiB);
		memcpy(m->vm->ram.host + CODE, busy, sizeof(busy));
		make_state(m, &s, n % MODES);
		m->answer = pattern[n / MODES / ARRAY_SIZE(place)];
		spoil(m, &s, place[n / MODES % ARRAY_SIZE(place)]);
		come_back(m, &s);
	}
}

static void spoil_code(struct machine *m, struct x86_state *s, uint64_t where)
{
	s->seg[X86_CS].base = s->cr0 & X86_CR0_PE ? 0 : where;
	s->rip = s->cr0 & X86_CR0_PE ? where : 0;
}

static void spoil_stack(struct machine *m, struct x86_state *s, uint64_t where)
{
	s->seg[X86_SS].base = s->cr0 & X86_CR0_PE ? 0 : where;
	s->gpr[X86_RSP] = s->cr0 & X86_CR0_PE ? where : 0;
}

static void spoil_descriptors(struct machine *m, struct x86_state *s, uint64_t where)
{
	s->idtr.base = s->gdtr.base = where;
	s->idtr.limit = s->gdtr.limit = 0xffff;
}

static void spoil_task(struct machine *m, struct x86_state *s, uint64_t where)
{
	spoil_descriptors(m, s, where);
	s->seg[X86_TR] = (struct x86_seg){.sel = 0x28, .base = where, .limit = 0x67, .attr = 0x8b};
	s->seg[X86_LDTR] =
		(struct x86_seg){.sel = 0x30, .base = where, .limit = 0xffff, .attr = 0x82};
	flat(&s->seg[X86_CS], 0x13, s->efer & X86_EFER_LMA ? 0xa0fb : 0xc0fb);
	flat(&s->seg[X86_SS], 0x1b, 0xc0f3);
}

static void spoil_pages(struct machine *m, struct x86_state *s, uint64_t where)
{
	s->cr3 = where & ~UINT64_C(0xfff);
	for (unsigned n = 0; n < 4; n++)
		s->pdpte[n] = s->cr3 | PRESENT;
}

/* Tables in RAM whose last level maps all there. */
static void spoil_leaves(struct machine *m, struct x86_state *s, uint64_t where)
{
	for (uint64_t n = 1; n < 512; n++) /* 0: the code itself stays */
		put_word(m, TABLES + 0x2000 + n * 8, (where & ~UINT64_C(0x1fffff)) | USER | LARGE);
	s->gpr[X86_RSP] = s->gpr[X86_RDI] = s->idtr.base = 5 << 21 | 0x123;
}

#define WILD(name)                                                                                 \
	static void wild_##name(void **state)                                                      \
	{                                                                                          \
		everywhere(*state, spoil_##name);                                                  \
	}
WILD(code)
WILD(stack)
WILD(descriptors)
WILD(task)
WILD(pages)
WILD(leaves)

/* The walk reaches the device: it is asked, and told of A and D. */
static void tables_in_a_device(void **state)
{
	struct machine *m = *state;
	struct x86_state s;

	memcpy(m->vm->ram.host + CODE, busy, sizeof(busy));
	make_state(m, &s, LONG);
	m->answer = DEVICE | USER;
	spoil_pages(m, &s, DEVICE);
	come_back(m, &s);
	assert_true(m->device.hits > 4);
	assert_true(m->writes >= 4);
}

/* No instruction is ever executed, only #UD delivered: its handler is UD2, too. */
static void handlers_that_fault_at_once(void **state)
{
	struct machine *m = *state;
	struct x86_state s;

	memset(m->vm->ram.host, 0, 1 * MiB);
	memcpy(m->vm->ram.host + CODE, "\x0f\x0b", 2);
	put_word(m, 4 * X86_UD, CODE);
	make_state(m, &s, REAL);
	x86_seg_real(&s.seg[X86_SS], 0x2000, false);
	come_back(m, &s);
	assert_int_equal(s.rip, CODE);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {TEST(wild_code), TEST(wild_stack),
		TEST(wild_descriptors), TEST(wild_task), TEST(wild_pages), TEST(wild_leaves),
		TEST(tables_in_a_device), TEST(handlers_that_fault_at_once)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
