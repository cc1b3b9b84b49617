/*
 * pit.c - 8254 programmable interval timer (Intel 82C54 datasheet).
 *
 * Nothing counts here. A counter remembers the tick at which its counting
 * element was loaded; count, OUT and the next edge are functions of the time
 * since then, so there is no drift and no work between accesses. One tick is
 * 1/1193182 s of the virtual clock.
 * IRQ0 differs from OUT on purpose: in the periodic modes it stays high until
 * just before the next rising edge, so that a slow guest cannot miss the tick
 * in the low half; and rising edges closer than 50 us are merged.
 * Left out: modes 2 and 3 with a count of 1, which is illegal and taken as 2.
 * Lock: vm->lock.
 */
#include "dev/pit.h"

#include <stdlib.h>
#include <string.h>

#include "dev/devutil.h"
#include "util/util.h"

/* The control word, figure 7. */
enum { CW_BCD = 1, CW_MODE_SHIFT = 1, CW_RW_SHIFT = 4, CW_COUNTER_SHIFT = 6 };
enum { RW_LATCH = 0, RW_LSB = 1, RW_MSB = 2, RW_BOTH = 3 };
enum { READ_BACK = 3, RB_NO_COUNT = 0x20, RB_NO_STATUS = 0x10 };
enum { STATUS_OUT = 0x80, STATUS_NULL = 0x40 };

#define MIN_IRQ_TICKS 60
#define NEVER         UINT64_MAX

struct counter {
	uint8_t mode; /* 0..5 */
	uint8_t rw;   /* RW_LSB..RW_BOTH */
	bool bcd, gate;

	uint16_t cr;  /* count register, as written */
	bool cr_half; /* RW_BOTH: LSB written, MSB awaited */
	bool null;    /* CR not yet in the counting element */

	bool read_msb; /* RW_BOTH: the next read gives the MSB */
	bool count_latched, status_latched;
	uint16_t latch;
	uint8_t status;

	/* The counting element; times are in ticks of the virtual clock. */
	bool running;   /* loaded since the control word */
	uint32_t n;     /* what it was loaded with, 1..65536 */
	uint64_t start; /* when; elapsed ticks count from here */
	bool held;      /* counting is disabled: elapsed stands still at held_at */
	uint64_t held_at;
	bool load_due; /* CR goes into the counting element at load_at */
	bool load_low; /* mode 3: for the low half of the period */
	uint64_t load_at;
};

struct pit {
	struct device dev;
	struct bus_region region;
	struct irq irq;
	struct timer timer;
	struct counter counter[3];
	bool wire; /* IRQ0 */
	bool heard;
	uint64_t edge_at; /* next rising edge of OUT0, or NEVER */
	uint64_t last_edge;
};

static uint64_t now_ticks(const struct pit *p)
{
	return clock_muldiv(clock_now(p->timer.clock), PIT_HZ, NSEC_PER_SEC);
}

/* The first nanosecond of a tick. */
static uint64_t tick_ns(uint64_t tick)
{
	uint64_t ns = clock_muldiv(tick, NSEC_PER_SEC, PIT_HZ);

	return clock_muldiv(ns, PIT_HZ, NSEC_PER_SEC) < tick ? ns + 1 : ns;
}

static bool reached(uint64_t tick, uint64_t when)
{
	return (int64_t)(tick - when) >= 0;
}

static bool periodic(const struct counter *c)
{
	return c->mode == 2 || c->mode == 3;
}

/* Waits for a rising edge at GATE before it counts. */
static bool triggered(const struct counter *c)
{
	return c->mode == 1 || c->mode == 5;
}

static uint64_t elapsed(const struct counter *c, uint64_t tick)
{
	if (c->held)
		return c->held_at;
	return reached(tick, c->start) ? tick - c->start : 0;
}

static uint32_t modulus(const struct counter *c)
{
	return c->bcd ? 10000 : 65536;
}

/* CR as a number of ticks; 0 stands for the largest count. A-F in BCD count as they weigh. */
static uint32_t cr_ticks(const struct counter *c)
{
	uint32_t v = c->cr;

	if (c->bcd)
		v = ((v >> 12) * 1000 + (v >> 8 & 15) * 100 + (v >> 4 & 15) * 10 + (v & 15)) %
		    10000;
	if (v == 0)
		v = modulus(c);
	return periodic(c) ? MAX(v, 2u) : v;
}

static uint16_t to_bcd(uint32_t v)
{
	return v / 1000 % 10 << 12 | v / 100 % 10 << 8 | v / 10 % 10 << 4 | v % 10;
}

/* Ticks for which OUT is high in mode 3. */
static uint32_t high_half(uint32_t n)
{
	return (n + 1) / 2;
}

/* Mode 3 counts down by two from an even number, twice in a period. */
static uint32_t square_count(uint32_t n, uint32_t pos)
{
	return pos < high_half(n) ? (n & ~1u) - 2 * pos : (n & ~1u) - 2 * (pos - high_half(n));
}

static uint16_t count_value(const struct counter *c, uint64_t tick)
{
	uint64_t e = elapsed(c, tick);
	uint32_t v;

	if (c->mode == 2)
		v = c->n - e % c->n;
	else if (c->mode == 3)
		v = square_count(c->n, e % c->n);
	else
		v = c->n + modulus(c) - e % modulus(c);
	v %= modulus(c);
	return c->bcd ? to_bcd(v) : v;
}

static bool out_level(const struct counter *c, uint64_t tick)
{
	uint64_t e = elapsed(c, tick);

	if (!c->running)
		return c->mode != 0;
	switch (c->mode) {
	case 0:
	case 1:
		return e >= c->n;
	case 2:
		return !c->gate || e % c->n != c->n - 1;
	case 3:
		return !c->gate || e % c->n < high_half(c->n);
	default: /* 4 and 5: a strobe of one tick */
		return e != c->n;
	}
}

/* The next tick after this one at which OUT rises, or NEVER. */
static uint64_t next_rise(const struct counter *c, uint64_t tick)
{
	uint64_t e = elapsed(c, tick), at;

	if (!c->running || c->held)
		return NEVER;
	if (periodic(c))
		at = e + c->n - e % c->n;
	else
		at = c->mode >= 4 ? c->n + 1 : c->n;
	return at > e ? c->start + at : NEVER;
}

/* ---- the counting element ---- */

static bool counting_enabled(const struct counter *c)
{
	if (triggered(c))
		return true;
	return c->gate && !(c->mode == 0 && c->cr_half);
}

static void update_hold(struct counter *c, uint64_t tick)
{
	bool hold = !counting_enabled(c);

	if (hold == c->held)
		return;
	if (hold)
		c->held_at = elapsed(c, tick);
	else
		c->start = tick - c->held_at;
	c->held = hold;
}

/* Moves CR into the counting element if that is due; true if it was. */
static bool settle(struct counter *c, uint64_t tick)
{
	if (!c->load_due || !reached(tick, c->load_at))
		return false;
	c->n = cr_ticks(c);
	c->start = c->load_at - (c->load_low ? high_half(c->n) : 0);
	c->held_at = 0;
	c->running = true;
	c->load_due = c->null = false;
	return true;
}

static void load_next_tick(struct counter *c, uint64_t tick)
{
	c->load_due = true;
	c->load_low = false;
	c->load_at = tick + 1;
}

/* A count written in mid-period takes effect at the end of the (half) cycle. */
static void load_at_period_end(struct counter *c, uint64_t tick)
{
	uint32_t pos = elapsed(c, tick) % c->n;

	c->load_due = true;
	c->load_low = c->mode == 3 && pos < high_half(c->n);
	c->load_at = tick + (c->load_low ? high_half(c->n) : c->n) - pos;
}

static void count_written(struct counter *c, uint64_t tick)
{
	c->null = true;
	if (triggered(c))
		return;
	if (periodic(c) && c->running && !c->held)
		load_at_period_end(c, tick);
	else
		load_next_tick(c, tick);
}

static void set_gate(struct counter *c, bool level, uint64_t tick)
{
	bool rises = level && !c->gate;

	c->gate = level;
	update_hold(c, tick);
	if (rises && (triggered(c) || (periodic(c) && c->running)))
		load_next_tick(c, tick);
}

/* ---- IRQ0 ---- */

static uint64_t next_irq(const struct pit *p, uint64_t tick)
{
	const struct counter *c = &p->counter[0];
	uint64_t rise = next_rise(c, tick), soonest = p->last_edge + MIN_IRQ_TICKS;

	if (rise == NEVER || c->n >= MIN_IRQ_TICKS || !periodic(c) || reached(rise, soonest))
		return rise;
	return rise + (soonest - rise + c->n - 1) / c->n * c->n;
}

static void set_wire(struct pit *p, bool level)
{
	if (p->wire != level)
		irq_set(p->irq, level);
	p->wire = level;
}

/* For the next edge or load of counter 0, whatever comes first. */
static void arm_timer(struct pit *p, uint64_t tick)
{
	const struct counter *c = &p->counter[0];
	uint64_t when = p->edge_at;

	if (c->load_due && (when == NEVER || reached(when, c->load_at)))
		when = c->load_at;
	if (when == NEVER || !p->heard)
		timer_cancel(&p->timer);
	else
		timer_arm(&p->timer, reached(tick, when) ? tick_ns(tick) : tick_ns(when));
}

static void arm(struct pit *p, uint64_t tick)
{
	const struct counter *c = &p->counter[0];

	p->edge_at = next_irq(p, tick);
	if (c->load_due && p->edge_at != NEVER && !reached(c->load_at, p->edge_at))
		p->edge_at = NEVER; /* the load comes first and changes everything */
	arm_timer(p, tick);
}

/* Missed edges of OUT0 make one interrupt. */
static void pulse_if_due(struct pit *p, uint64_t tick)
{
	if (p->edge_at == NEVER || !reached(tick, p->edge_at))
		return;
	p->edge_at = NEVER;
	p->last_edge = tick;
	set_wire(p, false);
	set_wire(p, true);
}

/* Brings everything up to this tick. */
static void catch_up(struct pit *p, uint64_t tick)
{
	pulse_if_due(p, tick);
	if (settle(&p->counter[0], tick)) {
		p->edge_at = next_irq(p, p->counter[0].load_at);
		pulse_if_due(p, tick);
	}
	settle(&p->counter[1], tick);
	settle(&p->counter[2], tick);
}

/* After every change: the wire follows OUT0, except in the low half of a period. */
static void update(struct pit *p, uint64_t tick)
{
	const struct counter *c = &p->counter[0];
	bool out = out_level(c, tick);

	if (out || !periodic(c))
		set_wire(p, out);
	arm(p, tick);
}

void pit_set_heard(struct pit *p, bool heard)
{
	uint64_t tick = now_ticks(p);

	if (heard == p->heard)
		return;
	p->heard = heard;
	if (heard)
		p->edge_at = NEVER;
	catch_up(p, tick);
	update(p, tick);
}

static void timer_due(void *ctx)
{
	struct pit *p = ctx;
	uint64_t tick = now_ticks(p);

	catch_up(p, tick);
	update(p, tick);
}

/* ---- registers ---- */

static void latch_count(struct counter *c, uint64_t tick)
{
	if (c->count_latched)
		return;
	c->latch = c->running ? count_value(c, tick) : c->cr;
	c->count_latched = true;
}

static void latch_status(struct counter *c, uint64_t tick)
{
	if (c->status_latched)
		return;
	c->status = (out_level(c, tick) ? STATUS_OUT : 0) | (c->null ? STATUS_NULL : 0) |
		    c->rw << CW_RW_SHIFT | c->mode << CW_MODE_SHIFT | c->bcd;
	c->status_latched = true;
}

static void program(struct counter *c, uint8_t cw, uint64_t tick)
{
	uint8_t mode = cw >> CW_MODE_SHIFT & 7;

	c->mode = mode > 5 ? mode - 4 : mode; /* modes 2 and 3 ignore the top bit */
	c->rw = cw >> CW_RW_SHIFT & 3;
	c->bcd = cw & CW_BCD;
	c->cr_half = c->read_msb = c->count_latched = c->status_latched = false;
	c->running = c->load_due = false;
	c->null = true;
	update_hold(c, tick);
}

static void read_back(struct pit *p, uint8_t cw, uint64_t tick)
{
	for (unsigned i = 0; i < 3; i++) {
		if (!(cw & BIT(i + 1)))
			continue;
		if (!(cw & RB_NO_COUNT))
			latch_count(&p->counter[i], tick);
		if (!(cw & RB_NO_STATUS))
			latch_status(&p->counter[i], tick);
	}
}

static void write_control(struct pit *p, uint8_t cw, uint64_t tick)
{
	unsigned i = cw >> CW_COUNTER_SHIFT;

	if (i == READ_BACK)
		read_back(p, cw, tick);
	else if ((cw >> CW_RW_SHIFT & 3) == RW_LATCH)
		latch_count(&p->counter[i], tick);
	else
		program(&p->counter[i], cw, tick);
}

static void write_count(struct counter *c, uint8_t v, uint64_t tick)
{
	if (c->rw == RW_BOTH && !c->cr_half) {
		c->cr = v;
		c->cr_half = true;
		if (c->mode == 0)
			c->running = c->load_due = false; /* OUT goes low at once */
		update_hold(c, tick);
		return;
	}
	if (c->rw == RW_BOTH)
		c->cr = (c->cr & 0xff) | v << 8;
	else
		c->cr = c->rw == RW_MSB ? v << 8 : v;
	c->cr_half = false;
	update_hold(c, tick);
	count_written(c, tick);
}

static uint8_t read_count(struct counter *c, uint64_t tick)
{
	uint16_t v = c->latch;
	bool msb = c->rw == RW_MSB || (c->rw == RW_BOTH && c->read_msb);

	if (c->status_latched) {
		c->status_latched = false;
		return c->status;
	}
	if (!c->count_latched)
		v = c->running ? count_value(c, tick) : c->cr;
	if (c->rw == RW_BOTH)
		c->read_msb = !c->read_msb;
	if (c->rw != RW_BOTH || msb)
		c->count_latched = false;
	return msb ? v >> 8 : v;
}

static uint64_t pit_read(void *ctx, uint64_t off, unsigned size)
{
	struct pit *p = ctx;
	uint64_t tick = now_ticks(p), v;

	if (off == 3)
		return 0xff;
	catch_up(p, tick);
	v = read_count(&p->counter[off], tick);
	update(p, tick);
	return v;
}

static void pit_write(void *ctx, uint64_t off, unsigned size, uint64_t value)
{
	struct pit *p = ctx;
	uint64_t tick = now_ticks(p);

	catch_up(p, tick);
	if (off == 3)
		write_control(p, value, tick);
	else
		write_count(&p->counter[off], value, tick);
	update(p, tick);
}

static const struct bus_ops pit_ops = {pit_read, pit_write, 1, 1};

void pit_gate2(struct pit *p, bool level)
{
	uint64_t tick = now_ticks(p);

	catch_up(p, tick);
	set_gate(&p->counter[2], level, tick);
	update(p, tick);
}

bool pit_out2(struct pit *p)
{
	uint64_t tick = now_ticks(p);

	catch_up(p, tick);
	update(p, tick);
	return out_level(&p->counter[2], tick);
}

/* ---- device ---- */

/* Undefined by the datasheet: nothing runs, OUT is low. GATE 2 is another's and keeps its level. */
static void pit_reset(struct device *dev)
{
	struct pit *p = container_of(dev, struct pit, dev);

	for (unsigned i = 0; i < 3; i++) {
		struct counter *c = &p->counter[i];
		bool gate = i < 2 || c->gate;

		*c = (struct counter){.mode = 0, .rw = RW_BOTH, .n = 65536, .gate = gate};
		update_hold(c, 0);
	}
	p->edge_at = NEVER;
	p->last_edge = now_ticks(p) - MIN_IRQ_TICKS;
	set_wire(p, false);
	timer_cancel(&p->timer);
}

static void counter_snap(struct counter *c, struct snap *s, uint64_t tick)
{
	snap_u8_max(s, "mode", &c->mode, 5);
	snap_u8_max(s, "rw", &c->rw, RW_BOTH);
	snap_bool(s, "bcd", &c->bcd);
	snap_bool(s, "gate", &c->gate);
	snap_u16(s, "cr", &c->cr);
	snap_bool(s, "cr_half", &c->cr_half);
	snap_bool(s, "null", &c->null);
	snap_bool(s, "read_msb", &c->read_msb);
	snap_bool(s, "count_latched", &c->count_latched);
	snap_bool(s, "status_latched", &c->status_latched);
	snap_u16(s, "latch", &c->latch);
	snap_u8(s, "status", &c->status);
	snap_bool(s, "running", &c->running);
	snap_u32_max(s, "n", &c->n, 65536);
	snap_time(s, "start", &c->start, tick);
	snap_bool(s, "held", &c->held);
	snap_u64(s, "held_at", &c->held_at);
	snap_bool(s, "load_due", &c->load_due);
	snap_bool(s, "load_low", &c->load_low);
	snap_time(s, "load_at", &c->load_at, tick);
}

static bool plausible(uint64_t when, uint64_t tick, int64_t ahead)
{
	int64_t delta = (int64_t)(when - tick);

	return delta > -(int64_t)BIT(60) && delta <= ahead;
}

/* Keeps what the closed formulas rely on. */
static void counter_check(struct counter *c, struct snap *s, uint64_t tick)
{
	/* A new control word leaves the count of the mode before, which may be 1. */
	if (c->n < (periodic(c) && c->running ? 2u : 1u))
		snap_fail(s, "n", "too small for its mode");
	if (c->rw == RW_LATCH)
		snap_fail(s, "rw", "not a mode of access");
	if (c->load_due && !plausible(c->load_at, tick, 65537))
		snap_fail(s, "load_at", "out of range");
	if (c->running && !plausible(c->start, tick, 65537))
		snap_fail(s, "start", "out of range");
	if (c->held && c->held_at > BIT(60))
		snap_fail(s, "held_at", "out of range");
}

/* An edge that is due is saved as due: saving must not touch a PIC that was saved before. */
static void pit_snap(struct device *dev, struct snap *s)
{
	struct pit *p = container_of(dev, struct pit, dev);
	uint64_t tick = now_ticks(p);
	bool edge = p->edge_at != NEVER;

	snap_section(s, dev->name, 1);
	for (unsigned i = 0; i < 3; i++)
		counter_snap(&p->counter[i], s, tick);
	snap_bool(s, "wire", &p->wire);
	snap_time(s, "last_edge", &p->last_edge, tick);
	snap_bool(s, "edge", &edge);
	if (edge)
		snap_time(s, "edge_at", &p->edge_at, tick);
	if (!snap_loading(s))
		return;
	for (unsigned i = 0; i < 3; i++)
		counter_check(&p->counter[i], s, tick);
	if (!plausible(p->last_edge, tick, 0) || (edge && !plausible(p->edge_at, tick, 131074)))
		snap_fail(s, "last_edge", "out of range");
	if (snap_error(s)) {
		pit_reset(dev);
		return;
	}
	if (!edge)
		p->edge_at = NEVER;
	irq_set(p->irq, p->wire);
	arm_timer(p, tick);
}

static void pit_destroy(struct device *dev)
{
	struct pit *p = container_of(dev, struct pit, dev);

	timer_cancel(&p->timer);
	free(p);
}

struct pit *pit_new(struct clock *clock, struct irq irq)
{
	struct pit *p = xcalloc(1, sizeof(*p));

	p->dev = (struct device){"pit", pit_reset, pit_snap, pit_destroy};
	p->irq = irq;
	region_init(&p->region, "pit", 4, &pit_ops, p);
	p->heard = true;
	timer_init(&p->timer, clock, timer_due, p);
	pit_reset(&p->dev);
	return p;
}

struct device *pit_device(struct pit *p)
{
	return &p->dev;
}

struct bus_region *pit_region(struct pit *p)
{
	return &p->region;
}
