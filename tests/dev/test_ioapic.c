/* test_ioapic.c - I/O APIC by register script. */
#include "dev/ioapic.h"
#include "tests/dev/harness.h"

struct side {
	struct ioapic *io;
	unsigned sent;
	struct apic_message last;
};

struct fixture {
	struct side side[2];
};

static void sent(void *ctx, const struct apic_message *m)
{
	struct side *s = ctx;

	s->sent++;
	s->last = *m;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	for (unsigned i = 0; i < 2; i++) {
		f->side[i].io = ioapic_new(sent, &f->side[i]);
		ioapic_device(f->side[i].io)->reset(ioapic_device(f->side[i].io));
	}
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < 2; i++)
		ioapic_device(f->side[i].io)->destroy(ioapic_device(f->side[i].io));
	free(f);
	return 0;
}

static uint32_t rd(struct side *s, uint8_t index)
{
	struct bus_region *r = ioapic_region(s->io);

	r->ops->write(r->ctx, 0, 4, index);
	return (uint32_t)r->ops->read(r->ctx, 0x10, 4);
}

static void wr(struct side *s, uint8_t index, uint32_t value)
{
	struct bus_region *r = ioapic_region(s->io);

	r->ops->write(r->ctx, 0, 4, index);
	r->ops->write(r->ctx, 0x10, 4, value);
}

static void registers(void **state)
{
	struct side *s = ((struct fixture *)*state)->side;

	assert_int_equal(rd(s, 1), 0x170011);
	assert_int_equal(rd(s, 0x10), 0x10000);
	wr(s, 0, 0xff000000);
	assert_int_equal(rd(s, 0), 0x0f000000);
	wr(s, 0x3e, 0xffffffff);
	assert_int_equal(rd(s, 0x3e), 0x1afff); /* status and remote IRR are read-only */
	wr(s, 0x3f, 0xffffffff);
	assert_int_equal(rd(s, 0x3f), 0xff000000);
	wr(s, 0x40, 0xffffffff); /* beyond the last pin */
	wr(s, 0xff, 0xffffffff);
	assert_int_equal(rd(s, 0x40), 0);
	assert_int_equal(rd(s, 0xff), 0);
	assert_null(ioapic_irq(s->io, 24).fn);
	assert_null(ioapic_irq(s->io, -1).fn);
}

static void edge(void **state)
{
	struct side *s = ((struct fixture *)*state)->side;
	struct irq pin = ioapic_irq(s->io, 4);

	irq_set(pin, true); /* masked: lost */
	irq_set(pin, false);
	wr(s, 0x19, 0x03000000);
	wr(s, 0x18, 0x00941);
	assert_int_equal(s->sent, 0);
	irq_set(pin, true);
	irq_set(pin, true);
	assert_int_equal(s->sent, 1);
	assert_int_equal(s->last.vector, 0x41);
	assert_int_equal(s->last.dest, 3);
	assert_int_equal(s->last.delivery, APIC_LOWEST);
	assert_true(s->last.logical);
	assert_false(s->last.level);
	ioapic_eoi(s->io, 0x41);
	assert_int_equal(s->sent, 1);
	irq_set(pin, false);
	irq_set(pin, true);
	assert_int_equal(s->sent, 2);
}

static void level(void **state)
{
	struct side *s = ((struct fixture *)*state)->side;
	struct irq pin = ioapic_irq(s->io, 9);

	irq_set(pin, true);
	wr(s, 0x22, 0x08051); /* unmasked while asserted */
	assert_int_equal(s->sent, 1);
	assert_true(s->last.level);
	assert_int_equal(rd(s, 0x22), 0x0c051);
	irq_set(pin, false);
	irq_set(pin, true);
	assert_int_equal(s->sent, 1); /* remote IRR holds it */
	ioapic_eoi(s->io, 0x50);
	assert_int_equal(s->sent, 1);
	ioapic_eoi(s->io, 0x51);
	assert_int_equal(s->sent, 2); /* still there */
	irq_set(pin, false);
	ioapic_eoi(s->io, 0x51);
	assert_int_equal(s->sent, 2);
	assert_int_equal(rd(s, 0x22), 0x08051);
}

static void snapshot(void **state)
{
	struct fixture *f = *state;
	struct side *s = f->side;

	wr(s, 0x22, 0x08051);
	irq_set(ioapic_irq(s->io, 9), true);
	assert_round_trip(ioapic_device(s[0].io), ioapic_device(s[1].io));
	ioapic_eoi(s[1].io, 0x51);
	assert_int_equal(s[1].sent, 1);
	assert_refused(ioapic_device(s[0].io), ioapic_device(s[1].io), "level", 3, 1);
	assert_refused(ioapic_device(s[0].io), ioapic_device(s[1].io), "id", 0, 16);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(registers, setup, teardown),
		cmocka_unit_test_setup_teardown(edge, setup, teardown),
		cmocka_unit_test_setup_teardown(level, setup, teardown),
		cmocka_unit_test_setup_teardown(snapshot, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
