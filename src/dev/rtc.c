/*
 * rtc.c - MC146818 real-time clock plus RAM (Motorola MC146818A datasheet),
 * with the century byte and the NMI mask of the PC.
 *
 * Time is the virtual clock plus a base; registers are computed when read, and
 * flags when somebody looks. A timer runs only while an enabled interrupt is
 * not yet flagged, so an unread register C costs nothing.
 * Left out: daylight saving, square wave, other time bases than 32768 Hz; the
 * day of the week follows from the date and cannot be set apart from it.
 * Lock: vm->lock.
 */
#include "dev/rtc.h"

#include <stdlib.h>
#include <time.h>

#include "dev/devutil.h"
#include "util/util.h"

enum {
	REG_SECONDS = 0,
	REG_SECONDS_ALARM = 1,
	REG_MINUTES = 2,
	REG_MINUTES_ALARM = 3,
	REG_HOURS = 4,
	REG_HOURS_ALARM = 5,
	REG_WEEKDAY = 6,
	REG_DAY = 7,
	REG_MONTH = 8,
	REG_YEAR = 9,
	REG_A = 10,
	REG_B = 11,
	REG_C = 12,
	REG_D = 13,
	FIRST_RAM = 14,
	CMOS_SIZE = 128
};
enum { A_UIP = 0x80, A_DV = 0x70, A_DV_32K = 0x20, A_RS = 0x0f };
enum { B_SET = 0x80, B_PIE = 0x40, B_AIE = 0x20, B_UIE = 0x10, B_SQWE = 8, B_DM = 4, B_24H = 2 };
enum { C_IRQF = 0x80, C_PF = 0x40, C_AF = 0x20, C_UF = 0x10, C_FLAGS = 0x70 };
enum { D_VRT = 0x80, HOUR_PM = 0x80, ALARM_ANY = 0xc0 };
enum { INDEX_NMI_MASK = 0x80, INDEX = 0x7f };

/* t_BUC + t_UC at 32768 Hz: UIP is high for this long before the second changes. */
#define UIP_NS      2228000
#define HALF_SECOND (NSEC_PER_SEC / 2)
/* An alarm missed by a longer jump of the clock than this many seconds is lost. */
#define MAX_MISSED 3600

struct rtc {
	struct device dev;
	struct bus_region region;
	struct irq irq;
	struct timer timer;
	uint8_t index;
	bool nmi_masked;
	uint8_t cmos[CMOS_SIZE]; /* while the time stands, its registers too */
	uint64_t base;           /* nanoseconds since 1970 = virtual clock + base */
	uint64_t seen;           /* virtual clock up to which flags are set */
};

static uint64_t clock_ns(const struct rtc *r)
{
	return clock_now(r->timer.clock);
}

/* The divider chain runs from a 32768 Hz crystal. */
static bool divider_runs(const struct rtc *r)
{
	return (r->cmos[REG_A] & A_DV) == A_DV_32K;
}

static bool updating(const struct rtc *r)
{
	return divider_runs(r) && !(r->cmos[REG_B] & B_SET);
}

/* Periodic interrupts a second, table 5; 0: none. */
static unsigned periodic_hz(const struct rtc *r)
{
	unsigned rs = r->cmos[REG_A] & A_RS;

	if (!rs || !divider_runs(r))
		return 0;
	return 32768 >> (rs < 3 ? rs + 6 : rs - 1);
}

/* ---- time and its registers ---- */

static uint8_t encode(const struct rtc *r, unsigned v)
{
	return r->cmos[REG_B] & B_DM ? v : (v / 10 % 10) << 4 | v % 10;
}

static unsigned decode(const struct rtc *r, uint8_t v)
{
	return r->cmos[REG_B] & B_DM ? v : (v >> 4) * 10 + (v & 15);
}

static uint8_t encode_hour(const struct rtc *r, unsigned hour)
{
	if (r->cmos[REG_B] & B_24H)
		return encode(r, hour);
	return encode(r, hour % 12 ? hour % 12 : 12) | (hour >= 12 ? HOUR_PM : 0);
}

static unsigned decode_hour(const struct rtc *r, uint8_t v)
{
	if (r->cmos[REG_B] & B_24H)
		return decode(r, v);
	return decode(r, v & ~HOUR_PM) % 12 + (v & HOUR_PM ? 12 : 0);
}

static void time_to_registers(struct rtc *r, uint64_t seconds)
{
	time_t t = (time_t)seconds;
	struct tm tm;
	unsigned century;

	gmtime_r(&t, &tm);
	century = (tm.tm_year + 1900) / 100;
	r->cmos[REG_SECONDS] = encode(r, tm.tm_sec);
	r->cmos[REG_MINUTES] = encode(r, tm.tm_min);
	r->cmos[REG_HOURS] = encode_hour(r, tm.tm_hour);
	r->cmos[REG_WEEKDAY] = encode(r, tm.tm_wday + 1);
	r->cmos[REG_DAY] = encode(r, tm.tm_mday);
	r->cmos[REG_MONTH] = encode(r, tm.tm_mon + 1);
	r->cmos[REG_YEAR] = encode(r, tm.tm_year % 100);
	r->cmos[RTC_CENTURY] = (century / 10 % 10) << 4 | century % 10;
}

/* Values that no calendar has are carried over: February 30 is March 1 or 2. */
static uint64_t registers_to_time(const struct rtc *r)
{
	unsigned century = (r->cmos[RTC_CENTURY] >> 4) * 10 + (r->cmos[RTC_CENTURY] & 15);
	struct tm tm = {
		.tm_sec = decode(r, r->cmos[REG_SECONDS]),
		.tm_min = decode(r, r->cmos[REG_MINUTES]),
		.tm_hour = decode_hour(r, r->cmos[REG_HOURS]),
		.tm_mday = decode(r, r->cmos[REG_DAY]),
		.tm_mon = (int)decode(r, r->cmos[REG_MONTH]) - 1,
		.tm_year = (int)(century * 100 + decode(r, r->cmos[REG_YEAR])) - 1900,
	};
	time_t t = timegm(&tm);

	return t > 0 ? (uint64_t)t : 0;
}

static bool is_time_register(unsigned index)
{
	switch (index) {
	case REG_SECONDS:
	case REG_MINUTES:
	case REG_HOURS:
	case REG_WEEKDAY:
	case REG_DAY:
	case REG_MONTH:
	case REG_YEAR:
	case RTC_CENTURY:
		return true;
	default:
		return false;
	}
}

static uint64_t second_at(const struct rtc *r, uint64_t now)
{
	return (now + r->base) / NSEC_PER_SEC;
}

static uint64_t fraction_at(const struct rtc *r, uint64_t now)
{
	return (now + r->base) % NSEC_PER_SEC;
}

/* ---- flags and interrupts ---- */

static bool alarm_field(const struct rtc *r, unsigned alarm, unsigned field)
{
	return (r->cmos[alarm] & ALARM_ANY) == ALARM_ANY || r->cmos[alarm] == r->cmos[field];
}

static bool alarm_at(const struct rtc *r, uint64_t second)
{
	struct rtc then = {.cmos = {0}};

	then.cmos[REG_B] = r->cmos[REG_B];
	then.cmos[REG_SECONDS_ALARM] = r->cmos[REG_SECONDS_ALARM];
	then.cmos[REG_MINUTES_ALARM] = r->cmos[REG_MINUTES_ALARM];
	then.cmos[REG_HOURS_ALARM] = r->cmos[REG_HOURS_ALARM];
	time_to_registers(&then, second);
	return alarm_field(&then, REG_SECONDS_ALARM, REG_SECONDS) &&
	       alarm_field(&then, REG_MINUTES_ALARM, REG_MINUTES) &&
	       alarm_field(&then, REG_HOURS_ALARM, REG_HOURS);
}

static uint8_t update_flags(const struct rtc *r, uint64_t now)
{
	uint64_t last = second_at(r, now), s = second_at(r, r->seen);

	if (!updating(r) || s >= last)
		return 0;
	if (r->cmos[REG_C] & C_AF)
		return C_UF;
	for (s = last - MIN(last - s, MAX_MISSED) + 1; s <= last; s++)
		if (alarm_at(r, s))
			return C_UF | C_AF;
	return C_UF;
}

static uint8_t periodic_flag(const struct rtc *r, uint64_t now)
{
	unsigned hz = periodic_hz(r);

	return clock_muldiv(now, hz, NSEC_PER_SEC) != clock_muldiv(r->seen, hz, NSEC_PER_SEC) ? C_PF
											      : 0;
}

static void catch_up(struct rtc *r, uint64_t now)
{
	r->cmos[REG_C] |= update_flags(r, now) | periodic_flag(r, now);
	r->seen = now;
}

/* When the next flag that raises an interrupt is due. */
static uint64_t next_event(const struct rtc *r, uint64_t now)
{
	uint8_t wanted = r->cmos[REG_B] & ~r->cmos[REG_C] & C_FLAGS; /* enables as flags lie */
	uint64_t when = CLOCK_NEVER, tick;
	unsigned hz = periodic_hz(r);

	if ((wanted & C_PF) && hz) {
		tick = clock_muldiv(now, hz, NSEC_PER_SEC) + 1;
		when = (uint64_t)(((unsigned __int128)tick * NSEC_PER_SEC + hz - 1) / hz);
	}
	if ((wanted & (C_AF | C_UF)) && updating(r))
		when = MIN(when, now + NSEC_PER_SEC - fraction_at(r, now));
	return when;
}

static void update(struct rtc *r, uint64_t now)
{
	bool irqf = r->cmos[REG_B] & r->cmos[REG_C] & C_FLAGS;

	r->cmos[REG_C] = (r->cmos[REG_C] & C_FLAGS) | (irqf ? C_IRQF : 0);
	irq_set(r->irq, irqf);
	timer_arm(&r->timer, next_event(r, now));
}

static void timer_due(void *ctx)
{
	struct rtc *r = ctx;
	uint64_t now = clock_ns(r);

	catch_up(r, now);
	update(r, now);
}

/* ---- registers ---- */

static uint8_t read_register(struct rtc *r, unsigned index, uint64_t now)
{
	uint8_t v;

	if (is_time_register(index) && updating(r))
		time_to_registers(r, second_at(r, now));
	v = r->cmos[index];
	if (index == REG_A && updating(r) && fraction_at(r, now) >= NSEC_PER_SEC - UIP_NS)
		v |= A_UIP;
	if (index == REG_C)
		r->cmos[REG_C] = 0;
	return v;
}

/* SET leaves the divider running: only whole seconds change. */
static void set_seconds(struct rtc *r, uint64_t seconds, uint64_t now)
{
	r->base += (seconds - second_at(r, now)) * NSEC_PER_SEC;
}

/* The time stops with its registers filled, and goes on from what they then say. */
static void write_control(struct rtc *r, unsigned index, uint8_t v, uint64_t now)
{
	bool was_updating = updating(r), was_running = divider_runs(r);

	if (was_updating)
		time_to_registers(r, second_at(r, now));
	r->cmos[index] = v;
	if (updating(r) && !was_updating)
		set_seconds(r, registers_to_time(r), now);
	if (divider_runs(r) && !was_running) /* first update after half a second */
		r->base += HALF_SECOND - fraction_at(r, now);
}

static void write_register(struct rtc *r, unsigned index, uint8_t v, uint64_t now)
{
	if (index == REG_A) {
		write_control(r, index, v & ~A_UIP, now);
	} else if (index == REG_B) {
		if (v & B_SET)
			v &= ~B_UIE;
		write_control(r, index, v, now);
	} else if (is_time_register(index) && updating(r)) {
		time_to_registers(r, second_at(r, now));
		r->cmos[index] = v;
		set_seconds(r, registers_to_time(r), now);
	} else if (index != REG_C && index != REG_D) {
		r->cmos[index] = v;
	}
}

static uint64_t rtc_read(void *ctx, uint64_t off, unsigned size)
{
	struct rtc *r = ctx;
	uint64_t now = clock_ns(r);
	uint8_t v;

	if (off == 0) /* the index is write-only */
		return 0xff;
	catch_up(r, now);
	update(r, now);
	v = read_register(r, r->index, now);
	update(r, now);
	return v;
}

static void rtc_write(void *ctx, uint64_t off, unsigned size, uint64_t value)
{
	struct rtc *r = ctx;
	uint64_t now = clock_ns(r);

	if (off == 0) {
		r->index = value & INDEX;
		r->nmi_masked = value & INDEX_NMI_MASK;
		return;
	}
	catch_up(r, now);
	write_register(r, r->index, value, now);
	update(r, now);
}

static const struct bus_ops rtc_ops = {rtc_read, rtc_write, 1, 1};

void rtc_set_cmos(struct rtc *r, unsigned index, uint8_t value)
{
	if (index >= FIRST_RAM && index < CMOS_SIZE && index != RTC_CENTURY)
		r->cmos[index] = value;
}

bool rtc_nmi_masked(const struct rtc *r)
{
	return r->nmi_masked;
}

/* ---- device ---- */

/* The RESET pin; time, RAM and modes are on the battery. */
static void rtc_reset(struct device *dev)
{
	struct rtc *r = container_of(dev, struct rtc, dev);

	r->cmos[REG_B] &= ~(B_PIE | B_AIE | B_UIE | B_SQWE);
	r->cmos[REG_C] = 0;
	r->index = 0;
	r->nmi_masked = false;
	update(r, clock_ns(r));
}

static void rtc_snap(struct device *dev, struct snap *s)
{
	struct rtc *r = container_of(dev, struct rtc, dev);
	uint64_t now = clock_ns(r), time = now + r->base;

	if (!snap_loading(s))
		catch_up(r, now);
	snap_section(s, dev->name, 1);
	snap_u8_max(s, "index", &r->index, INDEX);
	snap_bool(s, "nmi_masked", &r->nmi_masked);
	snap_bytes(s, "cmos", r->cmos, sizeof(r->cmos));
	snap_u64(s, "time", &time);
	if (!snap_loading(s))
		return;
	r->cmos[REG_A] &= ~A_UIP;
	r->base = time - now;
	r->seen = now;
	update(r, now);
}

static void rtc_destroy(struct device *dev)
{
	struct rtc *r = container_of(dev, struct rtc, dev);

	timer_cancel(&r->timer);
	free(r);
}

struct rtc *rtc_new(struct clock *clock, struct irq irq, uint64_t epoch)
{
	struct rtc *r = xcalloc(1, sizeof(*r));

	r->dev = (struct device){"rtc", rtc_reset, rtc_snap, rtc_destroy};
	r->irq = irq;
	region_init(&r->region, "rtc", 2, &rtc_ops, r);
	timer_init(&r->timer, clock, timer_due, r);
	r->seen = clock_ns(r);
	r->base = epoch * NSEC_PER_SEC - r->seen;
	r->cmos[REG_A] = A_DV_32K | 6; /* as a PC's firmware leaves them: 1024 Hz, BCD, 24 h */
	r->cmos[REG_B] = B_24H;
	r->cmos[REG_D] = D_VRT;
	rtc_reset(&r->dev);
	return r;
}

struct device *rtc_device(struct rtc *r)
{
	return &r->dev;
}

struct bus_region *rtc_region(struct rtc *r)
{
	return &r->region;
}
