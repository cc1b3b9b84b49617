/*
 * test_kvm.c - engine kvm: what is put is what is got, in every mode; ports,
 * MMIO, kicks and what KVM cannot emulate. Exit status 77 where /dev/kvm cannot run a guest.
 */
#include "../core/test.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/vm.h"
#include "engine/kvm/internal.h"
#include "util/util.h"

static bool on_hardware;

struct fixture {
	struct vm *vm;
	struct vcpu *v;
	struct bus_region ram, mmio, port;
	uint64_t written;
	unsigned writes;
};

static void on_write(void *ctx, uint64_t off, unsigned size, uint64_t value)
{
	struct fixture *f = ctx;

	f->written = f->written << (8 * size) | value;
	f->writes++;
}

static uint64_t on_read(void *ctx, uint64_t off, unsigned size)
{
	return UINT64_C(0x8877665544332211) >> (off * 8);
}

static const struct bus_ops ops = {on_read, on_write, 1, 8};

static int setup(void **state)
{
	static struct fixture f;
	struct vm_config config = {.engine = &kvm_engine, .ram_size = 64 * KiB, .vcpus = 1};
	char err[256];

	memset(&f, 0, sizeof(f));
	f.vm = vm_new(&config, err, sizeof(err));
	assert_non_null(f.vm);
	f.v = f.vm->vcpu[0];
	f.ram = (struct bus_region){
		.name = "ram", .size = 64 * KiB, .kind = BUS_RAM, .host = f.vm->ram.host};
	f.mmio = (struct bus_region){
		.name = "mmio", .base = 0xb8000, .size = 0x1000, .ops = &ops, .ctx = &f};
	f.port = (struct bus_region){
		.name = "port", .base = 0x10, .size = 8, .ops = &ops, .ctx = &f};
	assert_int_equal(bus_map(&f.vm->mem_bus, &f.ram), 0);
	assert_int_equal(bus_map(&f.vm->mem_bus, &f.mmio), 0);
	assert_int_equal(bus_map(&f.vm->port_bus, &f.port), 0);
	assert_int_equal(kvm_engine.vcpu_open(f.v), 0);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	kvm_engine.vcpu_close(f->v);
	vm_free(f->vm);
	return 0;
}

static uint64_t random64(uint64_t *x)
{
	*x ^= *x << 13, *x ^= *x >> 7, *x ^= *x << 17;
	return *x;
}

/* General and debug registers and what else may hold any value. */
static void randomise(struct x86_state *s, uint64_t *x, bool wide)
{
	for (unsigned r = 0; r < X86_GPR_COUNT; r++)
		s->gpr[r] = wide ? random64(x) : (r < 8 ? (uint32_t)random64(x) : 0);
	s->rip = random64(x) & 0xffff;
	s->rflags = (random64(x) & (X86_FLAGS_ARITH | X86_DF)) | X86_FLAGS_FIXED;
	for (unsigned n = 0; n < 4; n++)
		s->dr[n] = (uint32_t)random64(x);
	s->cr2 = wide ? random64(x) : (uint32_t)random64(x);
	s->gdtr = (struct x86_table){(uint32_t)random64(x), (uint16_t)random64(x)};
	s->idtr = (struct x86_table){(uint32_t)random64(x), (uint16_t)random64(x)};
	for (unsigned n = 160; n < 288; n++) /* XMM0 to XMM7 */
		s->xsave[n] = (uint8_t)random64(x);
	s->xsave[512] = X86_XCR0_X87 | X86_XCR0_SSE;
	s->events.nmi_masked = random64(x) & 1;
}

static void flat(struct x86_seg *seg, uint16_t sel, uint32_t attr)
{
	*seg = (struct x86_seg){.sel = sel, .limit = 0xffffffff, .attr = attr};
}

#define ATTR_CODE (11u | X86_ATTR_S | X86_ATTR_P | X86_ATTR_G)
#define ATTR_DATA (3u | X86_ATTR_S | X86_ATTR_P | X86_ATTR_G | X86_ATTR_DB)

static void protect(struct x86_state *s, bool long_mode)
{
	for (unsigned n = X86_ES; n <= X86_GS; n++)
		flat(&s->seg[n], 16, ATTR_DATA);
	flat(&s->seg[X86_CS], 8, ATTR_CODE | (long_mode ? X86_ATTR_L : X86_ATTR_DB));
	s->cr0 |= X86_CR0_PE;
	if (!long_mode)
		return;
	s->cr0 |= X86_CR0_PG;
	s->cr3 = 0x1000;
	s->cr4 = X86_CR4_PAE;
	s->efer = X86_EFER_LME | X86_EFER_LMA;
}

static void round_trip(struct fixture *f, bool protected, bool long_mode)
{
	const unsigned mask = X86_GROUP_ALL & ~(X86_GROUP_TSC | X86_GROUP_MSR);
	struct x86_state first, put, got;
	uint64_t x = 88172645463325252u;

	memset(&first, 0, sizeof(first));
	assert_int_equal(vcpu_get(f->v, &first, X86_GROUP_ALL), 0);
	for (unsigned n = 0; n < 200; n++) {
		put = first;
		randomise(&put, &x, long_mode);
		if (protected)
			protect(&put, long_mode);
		assert_int_equal(vcpu_put(f->v, &put, mask), 0);
		memset(&got, 0, sizeof(got));
		assert_int_equal(vcpu_get(f->v, &got, mask), 0);
		assert_int_equal(x86_state_diff(&put, &got, mask, stdout), 0);
	}
}

static void test_real_mode_state(void **state)
{
	round_trip(*state, false, false);
}

static void test_protected_mode_state(void **state)
{
	round_trip(*state, true, false);
}

static void test_long_mode_state(void **state)
{
	round_trip(*state, true, true);
}

/* As on a KVM without KVM_CAP_XSAVE. */
/*
 * On a host that has XSAVE, KVM_SET_FPU does not count registers as in use that were not before:
 * a round trip by XSAVE first.
 */
static void test_state_without_xsave(void **state)
{
	struct fixture *f = *state;

	round_trip(f, true, true);
	container_of(f->vm->engine, struct kvm_engine, engine)->has_xsave = false;
	round_trip(f, true, true);
}

static void prepare(struct fixture *f, const void *code, size_t len)
{
	struct x86_state s;

	memcpy(f->vm->ram.host, code, len);
	x86_state_reset(&s, 0);
	for (unsigned n = X86_ES; n <= X86_GS; n++)
		x86_seg_real(&s.seg[n], 0, n == X86_CS);
	s.rip = 0;
	assert_int_equal(
		vcpu_put(f->v, &s, X86_GROUP_GPR | X86_GROUP_SEG | X86_GROUP_CR | X86_GROUP_EVENTS),
		0);
}

static void run_code(struct fixture *f, const void *code, size_t len, struct run_result *r)
{
	prepare(f, code, len);
	memset(r, 0, sizeof(*r));
	vm_lock(f->vm);
	atomic_store(&f->v->inside, true);
	vm_unlock(f->vm);
	kvm_engine.run(f->v, UINT64_MAX, r);
	atomic_store(&f->v->inside, false);
}

static void test_ports_and_mmio(void **state)
{
	static const uint8_t code[] = {
		0xe5, 0x12,                   /* in ax, 12h */
		0xe6, 0x10,                   /* out 10h, al */
		0xbb, 0x00, 0xb8, 0x8e, 0xc3, /* mov bx, 0b800h; mov es, bx */
		0x26, 0xa3, 0x04, 0x00,       /* mov es:[4], ax */
		0xf4,                         /* hlt */
	};
	struct fixture *f = *state;
	struct run_result r;

	run_code(f, code, sizeof(code), &r);
	assert_int_equal(r.exit, RUN_HALTED);
	assert_int_equal(f->writes, 2);
	assert_true(f->written == 0x334433);
	assert_int_equal(f->v->stat[EXIT_PIO_IN].count, 1);
	assert_int_equal(f->v->stat[EXIT_HLT].count, 1);
}

/* false: there is software below this KVM that lacks it, which hardware never does. */
static bool stopped(const struct run_result *r, uint64_t addr)
{
	if (!on_hardware && r->exit == RUN_HALTED)
		return false;
	assert_int_equal(r->exit, RUN_DEBUG);
	assert_int_equal(r->debug_addr, addr);
	return true;
}

static const uint8_t store[] = {
	0x90, 0x90,       /* nop; nop */
	0xa3, 0x00, 0x20, /* mov [2000h], ax */
	0xf4,             /* hlt */
};

static void test_step(void **state)
{
	struct fixture *f = *state;
	struct x86_state s = {0};
	struct run_result r;

	prepare(f, store, sizeof(store));
	for (unsigned n = 1; n <= 2; n++) {
		memset(&r, 0, sizeof(r));
		kvm_engine.step(f->v, &r);
		assert_int_equal(r.exit, RUN_BUDGET);
		assert_int_equal(r.executed, 1);
		assert_int_equal(vcpu_get(f->v, &s, X86_GROUP_GPR), 0);
		assert_int_equal(s.rip, n);
	}
}

/* A breakpoint stops before its instruction; a step goes over it. */
static void test_breakpoint(void **state)
{
	const struct debug_stop stops[] = {{0, 1, STOP_EXEC}, {1, 1, STOP_EXEC}};
	struct fixture *f = *state;
	struct run_result r;

	assert_int_equal(kvm_engine.set_stops(f->v, stops, 5), -ENOSPC);
	assert_int_equal(kvm_engine.set_stops(f->v, stops + 1, 1), 0);
	run_code(f, store, sizeof(store), &r);
	if (!stopped(&r, 1))
		skip();
	kvm_engine.step(f->v, &r);
	assert_int_equal(r.exit, RUN_BUDGET);
	assert_int_equal(r.executed, 1);
	assert_int_equal(kvm_engine.set_stops(f->v, NULL, 0), 0);
	kvm_engine.run(f->v, UINT64_MAX, &r);
	assert_int_equal(r.exit, RUN_HALTED);
}

static void test_watchpoint(void **state)
{
	const struct debug_stop stops[] = {{0x2000, 2, STOP_WRITE}};
	struct fixture *f = *state;
	struct run_result r;

	assert_int_equal(kvm_engine.set_stops(f->v, stops, 1), 0);
	run_code(f, store, sizeof(store), &r);
	if (!stopped(&r, 0x2000))
		skip();
	assert_int_equal(kvm_engine.set_stops(f->v, NULL, 0), 0);
	kvm_engine.run(f->v, UINT64_MAX, &r);
	assert_int_equal(r.exit, RUN_HALTED);
}

/* Pages 0 to 15; the guest writes to pages 2 and 9. KVM may count what it reads in page 0. */
static void test_dirty_pages(void **state)
{
	static const uint8_t code[] = {
		0xa3, 0x00, 0x20, /* mov [2000h], ax */
		0xa3, 0xff, 0x97, /* mov [97ffh], ax */
		0xf4,             /* hlt */
	};
	struct fixture *f = *state;
	struct engine *e = f->vm->engine;
	const struct engine_slot slot = {
		.size = 64 * KiB, .host = f->vm->ram.host, .log_dirty = true};
	uint64_t bitmap = 0;
	struct run_result r;

	assert_int_equal(kvm_engine.set_map(e, &slot, 1), 0);
	assert_int_equal(kvm_engine.dirty(e, 0x1000, &bitmap, 1), -ENOENT);
	assert_int_equal(kvm_engine.dirty(e, 0, &bitmap, 0), -EINVAL);
	assert_int_equal(kvm_engine.dirty(e, 0, &bitmap, 1), 0);
	run_code(f, code, sizeof(code), &r);
	assert_int_equal(r.exit, RUN_HALTED);
	assert_int_equal(kvm_engine.dirty(e, 0, &bitmap, 1), 0);
	assert_int_equal(bitmap & ~UINT64_C(1), 1 << 2 | 1 << 9);
	assert_int_equal(kvm_engine.dirty(e, 0, &bitmap, 1), 0);
	assert_int_equal(bitmap, 0);
}

/* A kick that comes before run() makes it return at once, and loses nothing. */
static void test_kick_before_run(void **state)
{
	static const uint8_t code[] = {0xeb, 0xfe}; /* jmp $ */
	struct fixture *f = *state;
	struct run_result r;

	for (unsigned n = 0; n < 1000; n++) {
		vcpu_kick(f->v);
		run_code(f, code, sizeof(code), &r);
		assert_int_equal(r.exit, RUN_KICKED);
	}
	atomic_store(&f->v->kick_pending, false);
}

static void *kick_later(void *arg)
{
	struct fixture *f = arg;

	nanosleep(&(struct timespec){0, 200000}, NULL);
	vcpu_kick(f->v);
	return NULL;
}

/* The guest loops for ever: only the kick of another thread brings run() back. */
static void test_kick_from_another_thread(void **state)
{
	static const uint8_t code[] = {0xeb, 0xfe}; /* jmp $ */
	struct fixture *f = *state;
	struct run_result r;

	for (unsigned n = 0; n < 50; n++) {
		pthread_t thread;

		assert_int_equal(pthread_create(&thread, NULL, kick_later, f), 0);
		run_code(f, code, sizeof(code), &r);
		assert_int_equal(pthread_join(thread, NULL), 0);
		assert_int_equal(r.exit, RUN_KICKED);
		atomic_store(&f->v->kick_pending, false);
	}
}

static void test_string_io(void **state)
{
	static const uint8_t code[] = {
		0xfc, 0xba, 0x10, 0x00,       /* cld; mov dx, 10h */
		0xbf, 0x00, 0x10,             /* mov di, 1000h */
		0xb9, 0x05, 0x00, 0xf3, 0x6c, /* mov cx, 5; rep insb */
		0xbe, 0x00, 0x10,             /* mov si, 1000h */
		0xb9, 0x04, 0x00, 0xf3, 0x6e, /* mov cx, 4; rep outsb */
		0xf4,                         /* hlt */
	};
	static const uint8_t read[] = {0x11, 0x11, 0x11, 0x11, 0x11, 0};
	struct fixture *f = *state;
	struct x86_state s = {0};
	struct run_result r;

	run_code(f, code, sizeof(code), &r);
	assert_int_equal(r.exit, RUN_HALTED);
	assert_memory_equal((uint8_t *)f->vm->ram.host + 0x1000, read, sizeof(read));
	assert_int_equal(f->writes, 4);
	assert_true(f->written == 0x11111111);
	assert_int_equal(vcpu_get(f->v, &s, X86_GROUP_GPR), 0);
	assert_int_equal(s.gpr[X86_RCX], 0);
	assert_int_equal(s.gpr[X86_RSI], 0x1004);
	assert_int_equal(s.gpr[X86_RDI], 0x1005);
}

/* x87 stores to MMIO are beyond KVM's emulator: the interpreter's step does them. */
static void test_emulation(void **state)
{
	static const uint8_t code[] = {
		0xbb, 0x00, 0xb8, 0x8e, 0xc3, /* mov bx, 0b800h; mov es, bx */
		0x9b, 0xdb, 0xe3,             /* finit */
		0x26, 0xdd, 0x36, 0x00, 0x00, /* fnsave es:[0] */
		0xf4,                         /* hlt */
	};
	struct fixture *f = *state;
	struct run_result r;

	run_code(f, code, sizeof(code), &r);
	assert_int_equal(r.exit, RUN_HALTED);
	assert_true(f->writes >= 94 / 8);
	assert_true(f->v->stat[EXIT_EMULATE].count);
}

/* Any argument: the CPU below this KVM is emulated, without debug registers. */
int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_real_mode_state, setup, teardown),
		cmocka_unit_test_setup_teardown(test_protected_mode_state, setup, teardown),
		cmocka_unit_test_setup_teardown(test_long_mode_state, setup, teardown),
		cmocka_unit_test_setup_teardown(test_state_without_xsave, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ports_and_mmio, setup, teardown),
		cmocka_unit_test_setup_teardown(test_step, setup, teardown),
		cmocka_unit_test_setup_teardown(test_breakpoint, setup, teardown),
		cmocka_unit_test_setup_teardown(test_watchpoint, setup, teardown),
		cmocka_unit_test_setup_teardown(test_dirty_pages, setup, teardown),
		cmocka_unit_test_setup_teardown(test_kick_before_run, setup, teardown),
		cmocka_unit_test_setup_teardown(test_kick_from_another_thread, setup, teardown),
		cmocka_unit_test_setup_teardown(test_string_io, setup, teardown),
		cmocka_unit_test_setup_teardown(test_emulation, setup, teardown),
	};
	struct engine_verdict v;

	kvm_engine.probe(&v);
	if (v.level == ENGINE_UNUSABLE) {
		printf("engine kvm is unusable: %s\n", v.why);
		return 77;
	}
	on_hardware = v.level == ENGINE_READY && argc == 1;
	return cmocka_run_group_tests_name("kvm", tests, NULL, NULL);
}
