/*
 * hpet.c - HPET at 100 MHz. Source: IA-PC HPET specification 1.0a.
 *
 * Left out: interrupts as messages (FSB delivery, not offered), the upper half
 * of a comparator when written by halves (it becomes zero). The legacy lines are pulses, and so is
 * an edge-triggered route. Lock: vm->lock.
 */
#include "dev/hpet.h"

#include <stdlib.h>

#include "dev/devutil.h"
#include "util/util.h"

/* Registers, 64 bits each (table 2). */
enum { CAPABILITIES = 0x00, CONFIG = 0x10, STATUS = 0x20, COUNTER = 0xf0, TIMERS = 0x100 };
enum { TIMER_CONFIG = 0x00, TIMER_COMPARATOR = 0x08, TIMER_SIZE = 0x20 };

#define TICK_NS        10u
#define PERIOD_FS      (TICK_NS * UINT64_C(1000000))
#define CONFIG_ENABLE  1u
#define CONFIG_LEGACY  2u
#define T_LEVEL        0x0002u
#define T_ENABLE       0x0004u
#define T_PERIODIC     0x0008u
#define T_PERIODIC_CAP 0x0010u
#define T_SIZE_CAP     0x0020u
#define T_SET_VALUE    0x0040u
#define T_32BIT        0x0100u
#define T_ROUTE_SHIFT  9
#define T_ROUTE        0x3e00u
#define T_RW           (T_LEVEL | T_ENABLE | T_PERIODIC | T_SET_VALUE | T_32BIT | T_ROUTE)
/* Inputs 16 to 23: nobody else's. */
#define ROUTES UINT64_C(0x00ff0000)

struct comparator {
	struct hpet *hpet;
	struct timer timer;
	uint32_t config;
	uint64_t value, period;
	uint64_t due; /* ns of the next match, or CLOCK_NEVER */
};

struct hpet {
	struct device dev;
	struct bus_region region;
	struct clock *clock;
	struct hpet_wires wires;
	uint8_t config, status;
	uint64_t counter; /* at `since`, or where it stopped */
	uint64_t since;   /* ns */
	struct comparator t[HPET_TIMERS];
};

static uint64_t counter(const struct hpet *h)
{
	if (!(h->config & CONFIG_ENABLE))
		return h->counter;
	return h->counter + (clock_now(h->clock) - h->since) / TICK_NS;
}

/* What the comparator looks at. */
static uint64_t width(const struct comparator *t)
{
	return t->config & T_32BIT ? UINT32_MAX : UINT64_MAX;
}

/* ---- interrupts ---- */

static unsigned number(const struct comparator *t)
{
	return (unsigned)(t - t->hpet->t);
}

static unsigned route(const struct comparator *t)
{
	return (t->config & T_ROUTE) >> T_ROUTE_SHIFT;
}

static void set_route(struct comparator *t, bool level)
{
	struct hpet *h = t->hpet;

	if (BIT(route(t)) & ROUTES)
		h->wires.route(h->wires.ctx, route(t), level);
}

static void pulse(struct comparator *t)
{
	struct hpet *h = t->hpet;

	if (h->config & CONFIG_LEGACY && number(t) < 2) {
		struct irq irq = number(t) ? h->wires.rtc : h->wires.pit;

		irq_set(irq, true);
		irq_set(irq, false);
		return;
	}
	set_route(t, true);
	set_route(t, false);
}

/* A level lasts while its status bit is set. */
static void update_level(struct comparator *t)
{
	bool legacy = t->hpet->config & CONFIG_LEGACY && number(t) < 2;

	if (t->config & T_LEVEL && !legacy)
		set_route(t, t->config & T_ENABLE && t->hpet->status & BIT(number(t)));
}

static void fire(struct comparator *t)
{
	if (t->config & T_LEVEL) {
		t->hpet->status |= (uint8_t)BIT(number(t));
		update_level(t);
	}
	if (t->config & T_ENABLE &&
		(!(t->config & T_LEVEL) || (t->hpet->config & CONFIG_LEGACY && number(t) < 2)))
		pulse(t);
}

/* ---- comparators ---- */

/* Does a match do more than move a periodic comparator on? */
static bool heard(const struct comparator *t)
{
	return t->config & (T_ENABLE | T_LEVEL);
}

/*
 * At the next match; one that has just been is a whole turn of the counter away. Nobody is woken
 * for what is not heard: Linux leaves its tick's comparator periodic, and only disables it.
 */
static void arm(struct comparator *t)
{
	struct hpet *h = t->hpet;
	uint64_t now = counter(h);
	uint64_t left = (t->value - now) & width(t);
	uint64_t phase = (clock_now(h->clock) - h->since) % TICK_NS;

	timer_cancel(&t->timer);
	t->due = CLOCK_NEVER;
	if (!(h->config & CONFIG_ENABLE))
		return;
	if (!left)
		left = width(t) == UINT32_MAX ? UINT64_C(1) << 32 : UINT64_MAX;
	if (left < INT64_MAX / TICK_NS)
		t->due = clock_now(h->clock) - phase + left * TICK_NS;
	if (t->due != CLOCK_NEVER && heard(t))
		timer_arm(&t->timer, t->due);
}

static bool periodic(const struct comparator *t)
{
	return t->config & T_PERIODIC && t->period & width(t);
}

/* Behind a match. */
static void go_on(struct comparator *t)
{
	if (periodic(t)) { /* late ones are dropped, not made up for */
		uint64_t period = t->period & width(t);
		uint64_t late = (counter(t->hpet) - t->value) & width(t);

		t->value = (t->value + (late / period + 1) * period) & width(t);
	}
	arm(t);
}

static void matched(void *ctx)
{
	struct comparator *t = ctx;

	go_on(t);
	fire(t);
}

/* Brings comparators whose matches are not heard up to now. */
static void catch_up(struct hpet *h)
{
	for (unsigned n = 0; n < HPET_TIMERS; n++)
		if (!heard(&h->t[n]) && h->t[n].due <= clock_now(h->clock))
			go_on(&h->t[n]);
}

static void arm_all(struct hpet *h)
{
	for (unsigned n = 0; n < HPET_TIMERS; n++)
		arm(&h->t[n]);
}

/* ---- registers ---- */

static uint64_t read_reg(struct hpet *h, unsigned reg)
{
	unsigned n = (reg - TIMERS) / TIMER_SIZE;

	switch (reg) {
	case CAPABILITIES:
		return PERIOD_FS << 32 | HPET_ID;
	case CONFIG:
		return h->config;
	case STATUS:
		return h->status;
	case COUNTER:
		return counter(h);
	}
	if (reg < TIMERS || n >= HPET_TIMERS)
		return 0;
	if (reg % TIMER_SIZE == TIMER_CONFIG)
		return ROUTES << 32 | T_PERIODIC_CAP | T_SIZE_CAP | h->t[n].config;
	return reg % TIMER_SIZE == TIMER_COMPARATOR ? h->t[n].value : 0;
}

static void write_config(struct hpet *h, uint8_t value)
{
	uint8_t changed = value ^ h->config;

	h->counter = counter(h);
	h->since = clock_now(h->clock);
	h->config = value & (CONFIG_ENABLE | CONFIG_LEGACY);
	if (changed & CONFIG_LEGACY)
		h->wires.legacy(h->wires.ctx, value & CONFIG_LEGACY);
	arm_all(h);
}

static void write_status(struct hpet *h, uint8_t value)
{
	h->status &= (uint8_t)~value;
	for (unsigned n = 0; n < HPET_TIMERS; n++)
		update_level(&h->t[n]);
}

/* A route that the I/O APIC does not offer here is not taken. */
static void write_timer_config(struct comparator *t, uint32_t value)
{
	uint32_t wanted = (value & T_ROUTE) >> T_ROUTE_SHIFT;

	if (t->config & T_LEVEL)
		set_route(t, false);
	if (!(BIT(wanted) & ROUTES))
		value = (value & ~T_ROUTE) | (t->config & T_ROUTE);
	t->config = value & T_RW;
	t->value &= width(t);
	update_level(t);
	arm(t);
}

/* Periodic: the period; the next match too only with "set value" (2.3.9.2.2). */
static void write_comparator(struct comparator *t, uint64_t value)
{
	if (!(t->config & T_PERIODIC) || t->config & T_SET_VALUE)
		t->value = value & width(t);
	if (t->config & T_PERIODIC)
		t->period = value & width(t);
	t->config &= ~T_SET_VALUE;
	arm(t);
}

static void write_counter(struct hpet *h, uint64_t value)
{
	h->counter = value;
	h->since = clock_now(h->clock);
	arm_all(h);
}

static void write_reg(struct hpet *h, unsigned reg, uint64_t value)
{
	unsigned n = (reg - TIMERS) / TIMER_SIZE;

	if (reg == CONFIG)
		write_config(h, (uint8_t)value);
	else if (reg == STATUS)
		write_status(h, (uint8_t)value);
	else if (reg == COUNTER)
		write_counter(h, value);
	else if (reg >= TIMERS && n < HPET_TIMERS && reg % TIMER_SIZE == TIMER_CONFIG)
		write_timer_config(&h->t[n], (uint32_t)value);
	else if (reg >= TIMERS && n < HPET_TIMERS && reg % TIMER_SIZE == TIMER_COMPARATOR)
		write_comparator(&h->t[n], value);
}

static uint64_t hpet_read(void *ctx, uint64_t off, unsigned size)
{
	uint64_t value;

	catch_up(ctx);
	value = read_reg(ctx, (unsigned)off & ~7u);
	return size == 8 ? value : (uint32_t)(value >> (off & 4) * 8);
}

/* Half of a register leaves the other half as it is. */
static void hpet_write(void *ctx, uint64_t off, unsigned size, uint64_t value)
{
	unsigned reg = (unsigned)off & ~7u;
	uint64_t old;

	catch_up(ctx);
	if (size == 4) {
		old = reg >= TIMERS ? 0 : read_reg(ctx, reg);
		if (off & 4 && reg >= TIMERS)
			return;
		value = off & 4 ? value << 32 | (uint32_t)old
				: (old & ~UINT64_C(0xffffffff)) | (uint32_t)value;
	}
	write_reg(ctx, reg, value);
}

static const struct bus_ops hpet_ops = {hpet_read, hpet_write, 4, 8};

/* ---- life ---- */

static void hpet_reset(struct device *dev)
{
	struct hpet *h = container_of(dev, struct hpet, dev);

	write_status(h, 0xff);
	write_config(h, 0);
	h->counter = 0;
	for (unsigned n = 0; n < HPET_TIMERS; n++) {
		h->t[n].config = 16u << T_ROUTE_SHIFT;
		h->t[n].value = UINT64_MAX;
		h->t[n].period = 0;
	}
}

static void comparator_snap(struct comparator *t, struct snap *s)
{
	uint32_t config = t->config;

	snap_u32_max(s, "config", &config, T_RW);
	if (snap_loading(s) && !(BIT((config & T_ROUTE) >> T_ROUTE_SHIFT) & ROUTES))
		snap_fail(s, "config", "no such route");
	if (!snap_error(s))
		t->config = config & T_RW;
	snap_u64(s, "value", &t->value);
	snap_u64(s, "period", &t->period);
}

static void hpet_snap(struct device *dev, struct snap *s)
{
	struct hpet *h = container_of(dev, struct hpet, dev);

	if (!snap_loading(s))
		catch_up(h);
	snap_section(s, dev->name, 1);
	snap_u8_max(s, "general", &h->config, CONFIG_ENABLE | CONFIG_LEGACY);
	snap_u8_max(s, "status", &h->status, (1u << HPET_TIMERS) - 1);
	snap_u64(s, "counter", &h->counter);
	snap_time(s, "since", &h->since, clock_now(h->clock));
	for (unsigned n = 0; n < HPET_TIMERS; n++)
		comparator_snap(&h->t[n], s);
	if (!snap_loading(s) || snap_error(s))
		return;
	h->wires.legacy(h->wires.ctx, h->config & CONFIG_LEGACY);
	arm_all(h);
}

static void hpet_destroy(struct device *dev)
{
	struct hpet *h = container_of(dev, struct hpet, dev);

	for (unsigned n = 0; n < HPET_TIMERS; n++)
		timer_cancel(&h->t[n].timer);
	free(h);
}

struct hpet *hpet_new(struct clock *clock, const struct hpet_wires *wires)
{
	struct hpet *h = xcalloc(1, sizeof(*h));

	h->dev = (struct device){"hpet", hpet_reset, hpet_snap, hpet_destroy};
	h->clock = clock;
	h->wires = *wires;
	for (unsigned n = 0; n < HPET_TIMERS; n++) {
		h->t[n].hpet = h;
		timer_init(&h->t[n].timer, clock, matched, &h->t[n]);
	}
	region_init(&h->region, "hpet", 1024, &hpet_ops, h);
	hpet_reset(&h->dev);
	return h;
}

struct device *hpet_device(struct hpet *h)
{
	return &h->dev;
}

struct bus_region *hpet_region(struct hpet *h)
{
	return &h->region;
}
