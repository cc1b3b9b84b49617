/*
 * lapic.c - local APIC. Source: Intel SDM vol. 3A chapter 10.
 *
 * Left out: thermal and performance interrupts beyond their registers, SMI,
 * remote read. The timer counts nanoseconds, as if the bus clock were 1 GHz.
 * The TSC deadline is compared with the machine's TSC, whatever offset the
 * guest gave to its own. Lock: vm->lock.
 */
#include "dev/lapic.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dev/devutil.h"
#include "util/util.h"

/* ---- registers (table 10-1), by offset / 16 ---- */

enum {
	REG_ID = 0x02,
	REG_VERSION = 0x03,
	REG_TPR = 0x08,
	REG_APR = 0x09,
	REG_PPR = 0x0a,
	REG_EOI = 0x0b,
	REG_LDR = 0x0d,
	REG_DFR = 0x0e,
	REG_SVR = 0x0f,
	REG_ISR = 0x10,
	REG_TMR = 0x18,
	REG_IRR = 0x20,
	REG_ESR = 0x28,
	REG_CMCI = 0x2f,
	REG_ICR_LOW = 0x30,
	REG_ICR_HIGH = 0x31,
	REG_LVT_TIMER = 0x32,
	REG_LVT_THERMAL = 0x33,
	REG_LVT_PERF = 0x34,
	REG_LVT_LINT0 = 0x35,
	REG_LVT_LINT1 = 0x36,
	REG_LVT_ERROR = 0x37,
	REG_TIMER_INITIAL = 0x38,
	REG_TIMER_CURRENT = 0x39,
	REG_TIMER_DIVIDE = 0x3e,
	REG_SELF_IPI = 0x3f,
	REG_COUNT = 0x40
};

#define VERSION      0x00050014u /* six LVT entries */
#define SVR_ENABLE   0x100u
#define LVT_MASKED   0x10000u
#define LVT_DELIVERY 0x700u
#define LVT_MODE     0x60000u
#define MODE_PERIOD  0x20000u
#define MODE_TSC     0x40000u
#define ESR_SEND     0x20u
#define ESR_RECEIVE  0x40u
#define ESR_REGISTER 0x80u

#define MSR_APIC_BASE    0x1bu
#define MSR_TSC_DEADLINE 0x6e0u
#define MSR_X2APIC       0x800u
#define BASE_BSP         0x100u
#define BASE_X2APIC      0x400u
#define BASE_ENABLE      0x800u
#define BASE_DEFAULT     0xfee00000u

struct lapic {
	struct device dev;
	struct lapic_wires wires;
	struct clock *clock;
	struct timer timer;
	uint64_t tsc_hz;
	uint32_t id;  /* as it was made: the x2APIC's */
	uint32_t xid; /* the xAPIC's, which can be written */

	uint64_t base; /* IA32_APIC_BASE */
	uint32_t tpr, ldr, dfr, svr, esr, esr_pending, divide;
	uint32_t lvt[6]; /* timer, thermal, performance, LINT0, LINT1, error */
	uint64_t icr;
	uint32_t irr[8], isr[8], tmr[8];
	uint32_t initial;
	uint64_t started;  /* when the timer was, ns */
	uint64_t deadline; /* IA32_TSC_DEADLINE */
	uint64_t tsc_offset;
	bool running; /* one-shot and periodic: counts down */
	bool pic;
};

enum { LVT_TIMER, LVT_THERMAL, LVT_PERF, LVT_LINT0, LVT_LINT1, LVT_ERROR, LVT_COUNT };

static bool enabled(const struct lapic *a)
{
	return a->base & BASE_ENABLE;
}

static bool x2apic(const struct lapic *a)
{
	return (a->base & (BASE_ENABLE | BASE_X2APIC)) == (BASE_ENABLE | BASE_X2APIC);
}

static bool software_enabled(const struct lapic *a)
{
	return enabled(a) && a->svr & SVR_ENABLE;
}

/* ---- vectors ---- */

static int highest(const uint32_t v[8])
{
	for (int n = 7; n >= 0; n--)
		if (v[n])
			return n * 32 + 31 - __builtin_clz(v[n]);
	return -1;
}

static void set_vector(uint32_t v[8], uint8_t n)
{
	v[n / 32] |= 1u << n % 32;
}

static void clear_vector(uint32_t v[8], uint8_t n)
{
	v[n / 32] &= ~(1u << n % 32);
}

/* Processor priority (10.8.3.1). */
static uint32_t ppr(const struct lapic *a)
{
	int isr = highest(a->isr);
	uint32_t service = isr < 0 ? 0 : (uint32_t)isr & 0xf0;

	return (a->tpr & 0xf0) >= service ? a->tpr : service;
}

static int deliverable(const struct lapic *a)
{
	int irr = highest(a->irr);

	return software_enabled(a) && irr >= 16 && ((uint32_t)irr & 0xf0) > (ppr(a) & 0xf0) ? irr
											    : -1;
}

/* Before software turns the APIC on, and in virtual wire mode, the PIC passes (10.1). */
static bool pic_passes(const struct lapic *a)
{
	uint32_t lint0 = a->lvt[LVT_LINT0];

	if (!a->pic)
		return false;
	if (!software_enabled(a))
		return a->base & BASE_BSP;
	return !(lint0 & LVT_MASKED) && (lint0 & LVT_DELIVERY) >> 8 == APIC_EXTINT;
}

static void update(struct lapic *a)
{
	a->wires.intr(a->wires.ctx, deliverable(a) >= 0 || pic_passes(a));
}

static void fire(struct lapic *a, unsigned entry);

/* An error is told once until it is read, so that an error's own vector cannot repeat it. */
static void raise_error(struct lapic *a, uint32_t error)
{
	bool known = a->esr_pending & error;

	a->esr_pending |= error;
	if (!known)
		fire(a, LVT_ERROR);
}

static void accept_fixed(struct lapic *a, uint8_t vector, bool level)
{
	if (vector < 16) {
		raise_error(a, ESR_RECEIVE);
		return;
	}
	set_vector(a->irr, vector);
	if (level)
		set_vector(a->tmr, vector);
	else
		clear_vector(a->tmr, vector);
	update(a);
}

int lapic_ack(struct lapic *a)
{
	int vector = deliverable(a);

	if (vector >= 0) {
		clear_vector(a->irr, (uint8_t)vector);
		set_vector(a->isr, (uint8_t)vector);
	}
	update(a);
	if (vector < 0 && !pic_passes(a) && software_enabled(a))
		return (int)(a->svr & 0xff); /* spurious: it went away meanwhile */
	return vector;
}

static void end_of_interrupt(struct lapic *a)
{
	int vector = highest(a->isr);

	if (vector < 0)
		return;
	clear_vector(a->isr, (uint8_t)vector);
	if (a->tmr[vector / 32] >> vector % 32 & 1)
		a->wires.eoi(a->wires.ctx, (uint8_t)vector);
	update(a);
}

void lapic_set_pic(struct lapic *a, bool level)
{
	a->pic = level;
	update(a);
}

/* An entry of the local vector table fires. */
static void fire(struct lapic *a, unsigned entry)
{
	uint32_t lvt = a->lvt[entry];

	if (lvt & LVT_MASKED || !software_enabled(a))
		return;
	if ((lvt & LVT_DELIVERY) >> 8 == APIC_NMI && entry != LVT_TIMER)
		a->wires.nmi(a->wires.ctx);
	else
		accept_fixed(a, (uint8_t)lvt, false);
}

/* ---- timer (10.5.4) ---- */

static unsigned divisor(const struct lapic *a)
{
	unsigned code = (a->divide & 3) | (a->divide >> 1 & 4);

	return code == 7 ? 1 : 2u << code;
}

static uint64_t period(const struct lapic *a)
{
	return (uint64_t)a->initial * divisor(a);
}

/* When the vCPU's TSC reaches the deadline, not before it; now or earlier: it has. */
static uint64_t deadline_ns(const struct lapic *a)
{
	uint64_t now = clock_muldiv(clock_now(a->clock), a->tsc_hz, NSEC_PER_SEC);
	uint64_t guest_now = now + a->tsc_offset;
	unsigned __int128 ns;

	if (a->deadline <= guest_now)
		return 0;
	ns = (unsigned __int128)now + (a->deadline - guest_now);
	ns = ns * NSEC_PER_SEC / a->tsc_hz + 1;
	return ns < CLOCK_NEVER ? (uint64_t)ns : CLOCK_NEVER;
}

static void expired(void *ctx);

static void arm(struct lapic *a)
{
	uint32_t mode = a->lvt[LVT_TIMER] & LVT_MODE;

	timer_cancel(&a->timer);
	if (mode == MODE_TSC) {
		if (a->deadline && deadline_ns(a) <= clock_now(a->clock))
			expired(a); /* at once, not when a thread comes to it */
		else if (a->deadline)
			timer_arm(&a->timer, deadline_ns(a));
	} else if (a->running) {
		timer_arm(&a->timer, a->started + period(a));
	}
}

static void expired(void *ctx)
{
	struct lapic *a = ctx;
	uint32_t mode = a->lvt[LVT_TIMER] & LVT_MODE;
	uint64_t now = clock_now(a->clock);

	if (mode == MODE_TSC) {
		a->deadline = 0;
	} else if (mode == MODE_PERIOD) {
		/* Late ones are dropped, not made up for. */
		a->started += period(a) * MAX((now - a->started) / period(a), 1);
		arm(a);
	} else {
		a->running = false;
	}
	fire(a, LVT_TIMER);
}

static uint32_t current_count(const struct lapic *a)
{
	uint64_t gone = (clock_now(a->clock) - a->started) / divisor(a);

	if (!a->running)
		return 0;
	if (a->lvt[LVT_TIMER] & MODE_PERIOD)
		return a->initial - (uint32_t)(gone % a->initial);
	return gone >= a->initial ? 0 : a->initial - (uint32_t)gone;
}

static void start_timer(struct lapic *a, uint32_t initial)
{
	if ((a->lvt[LVT_TIMER] & LVT_MODE) == MODE_TSC)
		return;
	a->initial = initial;
	a->running = initial;
	a->started = clock_now(a->clock);
	arm(a);
}

/* The count goes on from where it is, at another speed. */
static void write_divide(struct lapic *a, uint32_t value)
{
	uint64_t counted = a->initial - current_count(a);

	a->divide = value & 11;
	a->started = clock_now(a->clock) - counted * divisor(a);
	arm(a);
}

static void write_deadline(struct lapic *a, uint64_t value)
{
	if ((a->lvt[LVT_TIMER] & LVT_MODE) != MODE_TSC)
		return;
	a->deadline = value;
	arm(a);
}

/* As after power-up and INIT (10.4.7.1), but for ID and IA32_APIC_BASE. */
static void init_registers(struct lapic *a)
{
	a->tpr = a->ldr = a->esr = a->esr_pending = a->divide = a->initial = 0;
	a->dfr = 0xffffffff;
	a->svr = 0xff;
	a->icr = a->deadline = 0;
	a->running = false;
	for (unsigned n = 0; n < LVT_COUNT; n++)
		a->lvt[n] = LVT_MASKED;
	memset(a->irr, 0, sizeof(a->irr));
	memset(a->isr, 0, sizeof(a->isr));
	memset(a->tmr, 0, sizeof(a->tmr));
	timer_cancel(&a->timer);
}

/* ---- messages ---- */

bool lapic_is_dest(const struct lapic *a, const struct apic_message *m)
{
	if (!enabled(a))
		return false;
	if (m->dest == 0xffffffff)
		return true;
	if (!m->logical)
		return m->dest == (x2apic(a) ? a->id : a->xid) || (m->dest == 0xff && !x2apic(a));
	if (x2apic(a))
		return m->dest >> 16 == a->id >> 4 && m->dest >> (a->id & 15) & 1;
	if (a->dfr >> 28 == 15) /* flat */
		return m->dest & a->ldr >> 24 & 0xff;
	return (m->dest >> 4 & 15) == a->ldr >> 28 && m->dest & a->ldr >> 24 & 15;
}

unsigned lapic_priority(const struct lapic *a)
{
	return ppr(a);
}

void lapic_deliver(struct lapic *a, const struct apic_message *m)
{
	switch (m->delivery) {
	case APIC_FIXED:
	case APIC_LOWEST:
		if (software_enabled(a))
			accept_fixed(a, m->vector, m->level);
		break;
	case APIC_NMI:
		a->wires.nmi(a->wires.ctx);
		break;
	case APIC_INIT:
		init_registers(a); /* 10.4.7.3 */
		a->wires.init(a->wires.ctx);
		break;
	case APIC_STARTUP:
		a->wires.startup(a->wires.ctx, m->vector);
		break;
	case APIC_EXTINT:
		lapic_set_pic(a, true);
		break;
	}
}

#define ICR_LOGICAL 0x800u
#define ICR_ASSERT  0x4000u
#define ICR_LEVEL   0x8000u

static void send_ipi(struct lapic *a)
{
	struct apic_message m = {
		.dest = x2apic(a) ? (uint32_t)(a->icr >> 32) : (uint32_t)(a->icr >> 56),
		.vector = (uint8_t)a->icr,
		.delivery = a->icr >> 8 & 7,
		.logical = a->icr & ICR_LOGICAL,
		.shorthand = a->icr >> 18 & 3,
	};

	if (m.delivery == APIC_INIT && a->icr & ICR_LEVEL && !(a->icr & ICR_ASSERT))
		return; /* INIT level de-assert: nothing since the Pentium 4 */
	if (m.vector < 16 && m.delivery <= APIC_LOWEST) {
		raise_error(a, ESR_SEND);
		return;
	}
	a->wires.send(a->wires.ctx, &m);
}

/* ---- registers ---- */

static uint32_t lvt_mask(unsigned entry)
{
	static const uint32_t mask[LVT_COUNT] = {
		0x700ff, 0x107ff, 0x107ff, 0x1a7ff, 0x1a7ff, 0x100ff};

	return mask[entry];
}

static int lvt_of(unsigned reg)
{
	return reg >= REG_LVT_TIMER && reg <= REG_LVT_ERROR ? (int)(reg - REG_LVT_TIMER) : -1;
}

static void write_lvt(struct lapic *a, unsigned entry, uint32_t value)
{
	uint32_t before = a->lvt[entry];

	a->lvt[entry] = value & lvt_mask(entry);
	if (!(a->svr & SVR_ENABLE))
		a->lvt[entry] |= LVT_MASKED;
	if (entry == LVT_TIMER && (before ^ value) & LVT_MODE) {
		/* Between one-shot and periodic it counts on; the deadline is another timer. */
		if ((before | value) & MODE_TSC)
			a->initial = 0;
		a->deadline = 0;
		a->running &= a->initial != 0;
		arm(a);
	}
	update(a);
}

static void write_svr(struct lapic *a, uint32_t value)
{
	a->svr = value & 0x1ff;
	if (!(value & SVR_ENABLE))
		for (unsigned n = 0; n < LVT_COUNT; n++)
			a->lvt[n] |= LVT_MASKED;
	update(a);
}

static uint32_t logical_id(const struct lapic *a)
{
	return x2apic(a) ? (a->id >> 4) << 16 | 1u << (a->id & 15) : a->ldr;
}

static uint32_t read_reg(struct lapic *a, unsigned reg)
{
	int lvt = lvt_of(reg);

	if (lvt >= 0)
		return a->lvt[lvt];
	if (reg >= REG_ISR && reg < REG_ISR + 8)
		return a->isr[reg - REG_ISR];
	if (reg >= REG_TMR && reg < REG_TMR + 8)
		return a->tmr[reg - REG_TMR];
	if (reg >= REG_IRR && reg < REG_IRR + 8)
		return a->irr[reg - REG_IRR];
	switch (reg) {
	case REG_ID:
		return x2apic(a) ? a->id : a->xid << 24;
	case REG_VERSION:
		return VERSION;
	case REG_TPR:
		return a->tpr;
	case REG_PPR:
		return ppr(a);
	case REG_LDR:
		return logical_id(a);
	case REG_DFR:
		return a->dfr;
	case REG_SVR:
		return a->svr;
	case REG_ESR:
		return a->esr;
	case REG_ICR_LOW:
		return (uint32_t)a->icr;
	case REG_ICR_HIGH:
		return (uint32_t)(a->icr >> 32);
	case REG_TIMER_INITIAL:
		return a->initial;
	case REG_TIMER_CURRENT:
		return current_count(a);
	case REG_TIMER_DIVIDE:
		return a->divide;
	default:
		return 0;
	}
}

static void write_reg(struct lapic *a, unsigned reg, uint32_t value)
{
	int lvt = lvt_of(reg);

	if (lvt >= 0) {
		write_lvt(a, (unsigned)lvt, value);
		return;
	}
	switch (reg) {
	case REG_ID:
		a->xid = value >> 24;
		break;
	case REG_TPR:
		a->tpr = value & 0xff;
		update(a);
		break;
	case REG_EOI:
		end_of_interrupt(a);
		break;
	case REG_LDR:
		a->ldr = value & 0xff000000;
		break;
	case REG_DFR:
		a->dfr = value | 0x0fffffff;
		break;
	case REG_SVR:
		write_svr(a, value);
		break;
	case REG_ESR:
		a->esr = a->esr_pending;
		a->esr_pending = 0;
		break;
	case REG_ICR_LOW:
		a->icr = (a->icr & ~UINT64_C(0xffffffff)) | (value & 0xcdfff);
		send_ipi(a);
		break;
	case REG_ICR_HIGH:
		a->icr = (uint32_t)a->icr | (uint64_t)value << 32;
		break;
	case REG_TIMER_INITIAL:
		start_timer(a, value);
		break;
	case REG_TIMER_DIVIDE:
		write_divide(a, value);
		break;
	default:
		break;
	}
}

/* No register in xAPIC mode: "illegal register address" (10.5.3). */
static bool reserved(unsigned reg)
{
	return reg < REG_ID || (reg > REG_VERSION && reg < REG_TPR) || reg == 0x0c ||
	       (reg > REG_ESR && reg < REG_ICR_LOW) ||
	       (reg > REG_TIMER_CURRENT && reg < REG_TIMER_DIVIDE) || reg >= REG_SELF_IPI;
}

/* Aligned 32-bit accesses; of wider or narrower ones the SDM says nothing good (10.4.1). */
uint64_t lapic_read(struct lapic *a, uint64_t off, unsigned size)
{
	if (!enabled(a) || x2apic(a))
		return UINT64_MAX;
	if (reserved((unsigned)(off / 16))) {
		raise_error(a, ESR_REGISTER);
		return 0;
	}
	if (off & 12)
		return 0;
	return read_reg(a, (unsigned)(off / 16)) >> (off & 3) * 8;
}

void lapic_write(struct lapic *a, uint64_t off, unsigned size, uint64_t value)
{
	unsigned reg = (unsigned)(off / 16);

	if (!enabled(a) || x2apic(a) || off & 15 || size < 4)
		return;
	if (reserved(reg))
		raise_error(a, ESR_REGISTER);
	else
		write_reg(a, reg, (uint32_t)value);
}

/* ---- MSRs (10.12) ---- */

static bool x2apic_readable(unsigned reg)
{
	return lvt_of(reg) >= 0 || (reg >= REG_ISR && reg < REG_ESR) || reg == REG_ESR ||
	       reg == REG_ID || reg == REG_VERSION || reg == REG_TPR || reg == REG_PPR ||
	       reg == REG_LDR || reg == REG_SVR || reg == REG_ICR_LOW || reg == REG_TIMER_INITIAL ||
	       reg == REG_TIMER_CURRENT || reg == REG_TIMER_DIVIDE;
}

int lapic_rdmsr(struct lapic *a, uint32_t msr, uint64_t *value)
{
	unsigned reg = msr - MSR_X2APIC;

	if (msr == MSR_APIC_BASE) {
		*value = a->base;
		return 0;
	}
	if (msr == MSR_TSC_DEADLINE) {
		*value = a->deadline;
		return 0;
	}
	if (msr < MSR_X2APIC || reg > 0xff)
		return -ENOENT;
	if (!x2apic(a) || !x2apic_readable(reg))
		return -EINVAL;
	*value = reg == REG_ICR_LOW ? a->icr : read_reg(a, reg);
	return 0;
}

static int write_base(struct lapic *a, uint64_t value)
{
	uint64_t mode = value & (BASE_ENABLE | BASE_X2APIC);
	uint64_t old = a->base & (BASE_ENABLE | BASE_X2APIC);

	/* Figure 10-27: x2APIC only from xAPIC, and back only through off. */
	if (mode == BASE_X2APIC || (mode == (BASE_ENABLE | BASE_X2APIC) && !old) ||
		(mode == BASE_ENABLE && old == (BASE_ENABLE | BASE_X2APIC)) || value >> 40 ||
		value & 0x2ff)
		return -EINVAL;
	a->base = (value & ~(uint64_t)BASE_BSP) | (a->base & BASE_BSP);
	if (!enabled(a)) { /* 10.4.3: turned on again it starts as after power-up */
		a->xid = a->id;
		init_registers(a);
	}
	update(a);
	return 0;
}

static int write_x2apic(struct lapic *a, unsigned reg, uint64_t value)
{
	switch (reg) {
	case REG_ICR_LOW:
		a->icr = value & ~UINT64_C(0x1000); /* no delivery status */
		send_ipi(a);
		return 0;
	case REG_SELF_IPI:
		if (value >> 8)
			return -EINVAL;
		if (software_enabled(a))
			accept_fixed(a, (uint8_t)value, false);
		return 0;
	case REG_EOI:
	case REG_ESR:
		if (value)
			return -EINVAL;
		break;
	case REG_ID:
	case REG_VERSION:
	case REG_PPR:
	case REG_LDR:
	case REG_TIMER_CURRENT:
	case REG_DFR:
	case REG_ICR_HIGH:
		return -EINVAL;
	default:
		if (value >> 32 || !x2apic_readable(reg) || (reg >= REG_ISR && reg < REG_ESR))
			return -EINVAL;
	}
	write_reg(a, reg, (uint32_t)value);
	return 0;
}

int lapic_wrmsr(struct lapic *a, uint32_t msr, uint64_t value)
{
	if (msr == MSR_APIC_BASE)
		return write_base(a, value);
	if (msr == MSR_TSC_DEADLINE) {
		write_deadline(a, value);
		return 0;
	}
	if (msr < MSR_X2APIC || msr - MSR_X2APIC > 0xff)
		return -ENOENT;
	return x2apic(a) ? write_x2apic(a, msr - MSR_X2APIC, value) : -EINVAL;
}

void lapic_set_tsc_offset(struct lapic *a, uint64_t offset)
{
	a->tsc_offset = offset;
	if ((a->lvt[LVT_TIMER] & LVT_MODE) == MODE_TSC)
		arm(a);
}

uint8_t lapic_cr8(const struct lapic *a)
{
	return (uint8_t)(a->tpr >> 4);
}

void lapic_set_cr8(struct lapic *a, uint8_t value)
{
	a->tpr = (value & 15u) << 4;
	update(a);
}

/* ---- for people ---- */

static void print_vectors(FILE *out, const char *name, const uint32_t v[8])
{
	fprintf(out, "  %s", name);
	for (unsigned n = 0; n < 256; n++)
		if (v[n / 32] >> n % 32 & 1)
			fprintf(out, " %02x", n);
	fputc('\n', out);
}

void lapic_print(struct lapic *a, FILE *out)
{
	static const char *const entry[LVT_COUNT] = {
		"timer", "thermal", "performance", "LINT0", "LINT1", "error"};

	fprintf(out, "lapic%u: %s, base %llx, ID %x, TPR %02x, PPR %02x, SVR %03x%s, LDR %08x\n",
		a->id,
		!enabled(a) ? "off"
		: x2apic(a) ? "x2APIC"
			    : "xAPIC",
		(unsigned long long)a->base, x2apic(a) ? a->id : a->xid, a->tpr, ppr(a), a->svr,
		a->svr & SVR_ENABLE ? "" : " (software off)", logical_id(a));
	for (unsigned n = 0; n < LVT_COUNT; n++)
		fprintf(out, "  LVT %-11s %05x vector %02x%s\n", entry[n], a->lvt[n],
			a->lvt[n] & 0xff, a->lvt[n] & LVT_MASKED ? " masked" : "");
	fprintf(out, "  timer initial %x, current %x, divisor %u; ICR %016llx, ESR %02x\n",
		a->initial, current_count(a), divisor(a), (unsigned long long)a->icr, a->esr);
	print_vectors(out, "IRR", a->irr);
	print_vectors(out, "ISR", a->isr);
}

/* ---- life ---- */

static void lapic_reset(struct device *dev)
{
	struct lapic *a = container_of(dev, struct lapic, dev);

	a->base = BASE_DEFAULT | BASE_ENABLE | (a->id ? 0 : BASE_BSP);
	a->xid = a->id;
	init_registers(a);
	update(a);
}

static void base_snap(struct lapic *a, struct snap *s)
{
	uint64_t base = a->base;

	snap_u64(s, "base", &base);
	if (snap_loading(s) && !snap_error(s) &&
		(base >> 40 || base & 0x2ff || (base & BASE_X2APIC && !(base & BASE_ENABLE))))
		snap_fail(s, "base", "out of range");
	if (!snap_error(s))
		a->base = base;
}

static void lapic_snap(struct device *dev, struct snap *s)
{
	struct lapic *a = container_of(dev, struct lapic, dev);

	snap_section(s, dev->name, 1);
	base_snap(a, s);
	snap_u32_max(s, "xid", &a->xid, 0xff);
	snap_u32_max(s, "tpr", &a->tpr, 0xff);
	snap_u32(s, "ldr", &a->ldr);
	snap_u32(s, "dfr", &a->dfr);
	snap_u32_max(s, "svr", &a->svr, 0x1ff);
	snap_u32(s, "esr", &a->esr);
	snap_u32(s, "esr_pending", &a->esr_pending);
	snap_u32_max(s, "divide", &a->divide, 11);
	for (unsigned n = 0; n < LVT_COUNT; n++)
		snap_u32_max(s, "lvt", &a->lvt[n], 0x7ffff);
	snap_u64(s, "icr", &a->icr);
	for (unsigned n = 0; n < 8; n++) {
		snap_u32(s, "irr", &a->irr[n]);
		snap_u32(s, "isr", &a->isr[n]);
		snap_u32(s, "tmr", &a->tmr[n]);
	}
	snap_u32(s, "initial", &a->initial);
	snap_time(s, "started", &a->started, clock_now(a->clock));
	snap_u64(s, "deadline", &a->deadline);
	snap_u64(s, "tsc_offset", &a->tsc_offset);
	snap_bool(s, "running", &a->running);
	snap_bool(s, "pic", &a->pic);
	if (snap_loading(s)) {
		a->divide &= 11;
		a->running = a->running && a->initial; /* no division by a count of zero */
		for (unsigned n = 0; n < LVT_COUNT; n++)
			a->lvt[n] &= lvt_mask(n);
		arm(a);
		update(a);
	}
}

static void lapic_destroy(struct device *dev)
{
	struct lapic *a = container_of(dev, struct lapic, dev);

	timer_cancel(&a->timer);
	free((char *)dev->name);
	free(a);
}

struct lapic *lapic_new(
	unsigned id, struct clock *clock, uint64_t tsc_hz, const struct lapic_wires *wires)
{
	struct lapic *a = xcalloc(1, sizeof(*a));
	char *name = xcalloc(1, 16);

	snprintf(name, 16, "lapic%u", id);
	a->dev = (struct device){name, lapic_reset, lapic_snap, lapic_destroy};
	a->id = id;
	a->clock = clock;
	a->tsc_hz = tsc_hz;
	a->wires = *wires;
	timer_init(&a->timer, clock, expired, a);
	return a;
}

struct device *lapic_device(struct lapic *a)
{
	return &a->dev;
}
