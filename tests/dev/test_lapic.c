/* test_lapic.c - local APIC by register script. */
#include <errno.h>

#include "dev/lapic.h"
#include "tests/dev/harness.h"

enum {
	TPR = 0x80,
	PPR = 0xa0,
	EOI = 0xb0,
	LDR = 0xd0,
	DFR = 0xe0,
	SVR = 0xf0,
	ESR = 0x280,
	ICR_LOW = 0x300,
	ICR_HIGH = 0x310,
	LVT_TIMER = 0x320,
	LVT_LINT0 = 0x350,
	LVT_ERROR = 0x370,
	INITIAL = 0x380,
	CURRENT = 0x390,
	DIVIDE = 0x3e0
};
enum { APIC_BASE = 0x1b, TSC_DEADLINE = 0x6e0 };

struct side {
	struct lapic *a;
	bool intr;
	unsigned nmis, inits, sent, eois;
	uint8_t startup, eoi;
	struct apic_message last;
};

struct fixture {
	struct clock clock;
	struct side side[3]; /* IDs 0, 1 and 0 again, for snapshots */
};

static void intr(void *ctx, bool level)
{
	((struct side *)ctx)->intr = level;
}

static void nmi(void *ctx)
{
	((struct side *)ctx)->nmis++;
}

static void init(void *ctx)
{
	((struct side *)ctx)->inits++;
}

static void startup(void *ctx, uint8_t vector)
{
	((struct side *)ctx)->startup = vector;
}

static void sent(void *ctx, const struct apic_message *m)
{
	struct side *s = ctx;

	s->sent++;
	s->last = *m;
}

static void eoi(void *ctx, uint8_t vector)
{
	struct side *s = ctx;

	s->eois++;
	s->eoi = vector;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	clock_init(&f->clock, CLOCK_INSTRUCTIONS);
	for (unsigned i = 0; i < 3; i++) {
		struct side *s = &f->side[i];
		struct lapic_wires w = {intr, nmi, init, startup, sent, eoi, s};

		s->a = lapic_new(i % 2, &f->clock, 2 * NSEC_PER_SEC, &w);
		lapic_device(s->a)->reset(lapic_device(s->a));
	}
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < 3; i++)
		lapic_device(f->side[i].a)->destroy(lapic_device(f->side[i].a));
	free(f);
	return 0;
}

static uint32_t rd(struct side *s, unsigned off)
{
	return (uint32_t)lapic_read(s->a, off, 4);
}

static void wr(struct side *s, unsigned off, uint32_t value)
{
	lapic_write(s->a, off, 4, value);
}

static void fixed(struct side *s, uint8_t vector, bool level)
{
	struct apic_message m = {.vector = vector, .delivery = APIC_FIXED, .level = level};

	lapic_deliver(s->a, &m);
}

static void priorities(void **state)
{
	struct side *s = ((struct fixture *)*state)->side;

	fixed(s, 0x41, false); /* not enabled yet: lost */
	wr(s, SVR, 0x1ff);
	assert_false(s->intr);
	fixed(s, 0x41, false);
	fixed(s, 0x63, true);
	assert_int_equal(lapic_ack(s->a), 0x63);
	assert_int_equal(rd(s, PPR), 0x60);
	assert_false(s->intr);
	fixed(s, 0x6f, false); /* same class: waits */
	assert_false(s->intr);
	wr(s, EOI, 0);
	assert_int_equal(s->eois, 1);
	assert_int_equal(s->eoi, 0x63);
	assert_int_equal(lapic_ack(s->a), 0x6f);
	wr(s, EOI, 0);
	assert_int_equal(s->eois, 1); /* edge: nothing to tell */
	lapic_set_cr8(s->a, 4);
	assert_int_equal(rd(s, TPR), 0x40);
	assert_false(s->intr);
	assert_int_equal(lapic_ack(s->a), 0xff); /* spurious */
	wr(s, TPR, 0x3f);
	assert_int_equal(lapic_cr8(s->a), 3);
	assert_int_equal(lapic_ack(s->a), 0x41);
}

static void virtual_wire(void **state)
{
	struct side *s = ((struct fixture *)*state)->side;

	lapic_set_pic(s->a, true);
	assert_true(s->intr);
	assert_int_equal(lapic_ack(s->a), -1);
	wr(s, SVR, 0x1ff);
	assert_false(s->intr);
	wr(s, LVT_LINT0, 0x700);
	assert_true(s->intr);
	assert_int_equal(lapic_ack(s->a), -1);
	wr(s, LVT_LINT0, 0x10700);
	assert_false(s->intr);
	lapic_set_pic(s[1].a, true); /* not the boot processor */
	assert_false(s[1].intr);
}

static void one_shot_fires_once(void **state)
{
	struct fixture *f = *state;
	struct side *s = f->side;

	wr(s, SVR, 0x1ff);
	wr(s, DIVIDE, 0xb);
	wr(s, LVT_TIMER, 0x30);
	wr(s, INITIAL, 1000);
	pass(&f->clock, 400);
	assert_int_equal(rd(s, CURRENT), 600);
	wr(s, DIVIDE, 0); /* by 2 from here on */
	assert_int_equal(rd(s, CURRENT), 600);
	pass(&f->clock, 1100);
	assert_int_equal(rd(s, CURRENT), 50);
	assert_false(s->intr);
	pass(&f->clock, 100);
	assert_int_equal(lapic_ack(s->a), 0x30);
	wr(s, EOI, 0);
	wr(s, DIVIDE, 0xb);
	pass(&f->clock, 100000);
	assert_false(s->intr);
	assert_int_equal(rd(s, CURRENT), 0);
	assert_round_trip(lapic_device(s[0].a), lapic_device(s[2].a));
	pass(&f->clock, 100000);
	assert_false(s[2].intr);
}

static void periodic(void **state)
{
	struct fixture *f = *state;
	struct side *s = f->side;

	wr(s, SVR, 0x1ff);
	wr(s, DIVIDE, 0xb);
	wr(s, LVT_TIMER, 0x20030);
	wr(s, INITIAL, 1000);
	for (unsigned i = 0; i < 5; i++) {
		pass(&f->clock, 1000);
		assert_int_equal(lapic_ack(s->a), 0x30);
		wr(s, EOI, 0);
	}
	wr(s, INITIAL, 0);
	pass(&f->clock, 10000);
	assert_false(s->intr);
}

static void tsc_deadline(void **state)
{
	struct fixture *f = *state;
	struct side *s = f->side;
	uint64_t value;

	wr(s, SVR, 0x1ff);
	wr(s, LVT_TIMER, 0x40030);
	assert_int_equal(lapic_wrmsr(s->a, TSC_DEADLINE, 20000), 0); /* 10 us at 2 GHz */
	pass(&f->clock, 9999);
	assert_false(s->intr);
	pass(&f->clock, 10);
	assert_int_equal(lapic_ack(s->a), 0x30);
	wr(s, EOI, 0);
	assert_int_equal(lapic_rdmsr(s->a, TSC_DEADLINE, &value), 0);
	assert_int_equal(value, 0);
	lapic_wrmsr(s->a, TSC_DEADLINE, UINT64_MAX);
	pass(&f->clock, NSEC_PER_SEC);
	assert_false(s->intr);
}

/* The guest's TSC runs ahead of or behind the machine's: the deadline is in the guest's. */
static void tsc_deadline_offset(void **state)
{
	struct fixture *f = *state;
	struct side *s = f->side;

	wr(s, SVR, 0x1ff);
	wr(s, LVT_TIMER, 0x40030);
	pass(&f->clock, 1000000);
	lapic_set_tsc_offset(s->a, -UINT64_C(2000000)); /* the guest's TSC is at 0 */
	lapic_wrmsr(s->a, TSC_DEADLINE, 20000);
	pass(&f->clock, 9999);
	assert_false(s->intr);
	pass(&f->clock, 10);
	assert_int_equal(lapic_ack(s->a), 0x30);
	wr(s, EOI, 0);
	lapic_wrmsr(s->a, TSC_DEADLINE, 60000);
	assert_round_trip(lapic_device(s->a), lapic_device(f->side[2].a));
	lapic_set_tsc_offset(s->a, 0); /* now it is past */
	assert_int_equal(lapic_ack(s->a), 0x30);
	assert_false(f->side[2].intr);
}

static void destinations(void **state)
{
	struct side *s = &((struct fixture *)*state)->side[1]; /* ID 1 */
	struct apic_message m = {.dest = 1};

	assert_true(lapic_is_dest(s->a, &m));
	m.dest = 0;
	assert_false(lapic_is_dest(s->a, &m));
	m.dest = 0xff;
	assert_true(lapic_is_dest(s->a, &m));
	wr(s, 0x20, 0x07000000); /* the xAPIC's ID can be written */
	m.dest = 7;
	assert_true(lapic_is_dest(s->a, &m));
	assert_int_equal(lapic_read(s->a, 0x20, 4), 0x07000000);
	m = (struct apic_message){.dest = 0x06, .logical = true};
	wr(s, LDR, 0x02000000);
	assert_true(lapic_is_dest(s->a, &m));
	m.dest = 0xfd;
	assert_false(lapic_is_dest(s->a, &m));
	wr(s, DFR, 0x0fffffff); /* clusters */
	wr(s, LDR, 0x32000000);
	m.dest = 0x33;
	assert_true(lapic_is_dest(s->a, &m));
	m.dest = 0x23;
	assert_false(lapic_is_dest(s->a, &m));
	assert_int_equal(lapic_wrmsr(s->a, APIC_BASE, 0xfee00c00), 0); /* x2APIC */
	m = (struct apic_message){.dest = 7};
	assert_false(lapic_is_dest(s->a, &m));
	m = (struct apic_message){.dest = 2, .logical = true};
	assert_true(lapic_is_dest(s->a, &m));
	m.dest = 0x10002;
	assert_false(lapic_is_dest(s->a, &m));
	m.dest = 0xffffffff;
	assert_true(lapic_is_dest(s->a, &m));
	assert_int_equal(lapic_wrmsr(s->a, APIC_BASE, 0xfee00000), 0);
	assert_int_equal(lapic_wrmsr(s->a, APIC_BASE, 0xfee00800), 0);
	assert_int_equal(lapic_read(s->a, 0x20, 4), 0x01000000); /* as after power-up */
}

static void sends_ipis(void **state)
{
	struct side *s = ((struct fixture *)*state)->side;

	wr(s, SVR, 0x1ff);
	wr(s, ICR_HIGH, 0x01000000);
	wr(s, ICR_LOW, 0x04641);
	assert_int_equal(s->sent, 1);
	assert_int_equal(s->last.dest, 1);
	assert_int_equal(s->last.vector, 0x41);
	assert_int_equal(s->last.delivery, APIC_STARTUP);
	wr(s, ICR_LOW, 0xc4500);
	assert_int_equal(s->last.delivery, APIC_INIT);
	assert_int_equal(s->last.shorthand, 3);
	wr(s, ICR_LOW, 0x08500); /* de-assert */
	assert_int_equal(s->sent, 2);
	wr(s, LVT_ERROR, 0x50);
	wr(s, ICR_LOW, 0x0400f); /* illegal vector */
	assert_int_equal(s->sent, 2);
	assert_int_equal(lapic_ack(s->a), 0x50);
	wr(s, ESR, 0);
	assert_int_equal(rd(s, ESR), 0x20);
	wr(s, LVT_ERROR, 0x0f); /* an error by itself */
	wr(s, 0x3a0, 0);
	wr(s, ESR, 0);
	assert_int_equal(rd(s, ESR), 0xc0);
}

static void start_up_messages(void **state)
{
	struct side *s = &((struct fixture *)*state)->side[1];
	struct apic_message m = {.delivery = APIC_NMI};

	wr(s, SVR, 0x1ff);
	lapic_deliver(s->a, &m);
	assert_int_equal(s->nmis, 1);
	m.delivery = APIC_INIT;
	lapic_deliver(s->a, &m);
	assert_int_equal(s->inits, 1);
	assert_int_equal(rd(s, SVR), 0xff);
	m.delivery = APIC_STARTUP;
	m.vector = 0x9a;
	lapic_deliver(s->a, &m);
	assert_int_equal(s->startup, 0x9a);
}

static void x2apic_mode(void **state)
{
	struct side *s = &((struct fixture *)*state)->side[1];
	uint64_t value;

	assert_int_equal(lapic_rdmsr(s->a, 0x802, &value), -EINVAL);
	assert_int_equal(lapic_wrmsr(s->a, APIC_BASE, 0xfee00400), -EINVAL);
	assert_int_equal(lapic_wrmsr(s->a, APIC_BASE, 0xfee00c00), 0);
	assert_int_equal(lapic_wrmsr(s->a, APIC_BASE, 0xfee00800), -EINVAL);
	assert_int_equal(rd(s, SVR), 0xffffffff); /* the page is gone */
	assert_int_equal(lapic_rdmsr(s->a, 0x802, &value), 0);
	assert_int_equal(value, 1);
	assert_int_equal(lapic_rdmsr(s->a, 0x80d, &value), 0);
	assert_int_equal(value, 2);
	assert_int_equal(lapic_rdmsr(s->a, 0x80e, &value), -EINVAL);
	assert_int_equal(lapic_rdmsr(s->a, 0x8ff, &value), -EINVAL);
	assert_int_equal(lapic_rdmsr(s->a, 0x900, &value), -ENOENT);
	assert_int_equal(lapic_wrmsr(s->a, 0x80f, 0x1ff), 0);
	assert_int_equal(lapic_wrmsr(s->a, 0x83f, 0x141), -EINVAL);
	assert_false(s->intr);
	assert_int_equal(lapic_wrmsr(s->a, 0x83f, 0x41), 0);
	assert_int_equal(lapic_ack(s->a), 0x41);
	assert_int_equal(lapic_wrmsr(s->a, 0x80b, 1), -EINVAL);
	assert_int_equal(lapic_wrmsr(s->a, 0x80b, 0), 0);
	assert_int_equal(lapic_wrmsr(s->a, 0x830, UINT64_C(0x1234500004041)), 0);
	assert_int_equal(s->last.dest, 0x12345);
	assert_int_equal(lapic_wrmsr(s->a, APIC_BASE, 0xfee00000), 0);
	assert_int_equal(lapic_wrmsr(s->a, APIC_BASE, 0xfee00800), 0);
	assert_int_equal(rd(s, SVR), 0xff);
}

static void snapshot(void **state)
{
	struct fixture *f = *state;
	struct side *s = f->side;

	wr(s, SVR, 0x1ff);
	fixed(s, 0x41, false);
	fixed(s, 0x63, true);
	lapic_ack(s->a);
	wr(s, LVT_TIMER, 0x20030);
	wr(s, INITIAL, 1000);
	pass(&f->clock, 300);
	wr(s, ICR_HIGH, 0x55000000);
	assert_round_trip(lapic_device(s->a), lapic_device(s[2].a));
	assert_int_equal(lapic_ack(s[2].a), 0xff); /* 41h is below what is in service */
	assert_refused(lapic_device(s->a), lapic_device(s[2].a), "base", 7, 1);
	assert_refused(lapic_device(s->a), lapic_device(s[2].a), "tpr", 1, 1);
	assert_refused(lapic_device(s->a), lapic_device(s[2].a), "divide", 0, 12);
	assert_refused(lapic_device(s->a), lapic_device(s[2].a), "svr", 1, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(priorities, setup, teardown),
		cmocka_unit_test_setup_teardown(virtual_wire, setup, teardown),
		cmocka_unit_test_setup_teardown(one_shot_fires_once, setup, teardown),
		cmocka_unit_test_setup_teardown(periodic, setup, teardown),
		cmocka_unit_test_setup_teardown(tsc_deadline, setup, teardown),
		cmocka_unit_test_setup_teardown(tsc_deadline_offset, setup, teardown),
		cmocka_unit_test_setup_teardown(destinations, setup, teardown),
		cmocka_unit_test_setup_teardown(sends_ipis, setup, teardown),
		cmocka_unit_test_setup_teardown(start_up_messages, setup, teardown),
		cmocka_unit_test_setup_teardown(x2apic_mode, setup, teardown),
		cmocka_unit_test_setup_teardown(snapshot, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
