/*
 * acpi_pm.c - the fixed hardware of ACPI: PM1a event and control block at
 * offsets 0 to 5, PM timer at 8.
 *
 * Source: ACPI 6.4, 4.8. ACPI mode is on from reset: there is no SMM to leave
 * it to. Left out: sleep states but S5, general purpose events, the wake
 * alarm. Lock: vm->lock.
 */
#include "dev/acpi_pm.h"

#include <stdlib.h>

#include "dev/devutil.h"
#include "util/util.h"

enum { PM1_STS = 0, PM1_EN = 2, PM1_CNT = 4, PM_TMR = 8 };

#define STS_TIMER  0x0001u
#define STS_BUTTON 0x0100u
#define STS_ALL    0x8731u
#define CNT_SCI_EN 0x0001u
#define CNT_SLP_EN 0x2000u
#define CNT_RW     0x1c07u
#define TIMER_HZ   3579545u
#define TIMER_BITS 24

struct acpi_pm {
	struct device dev;
	struct bus_region region;
	struct clock *clock;
	struct timer carry; /* the timer's top bit changes */
	struct irq sci;
	void (*poweroff)(void *ctx);
	void *ctx;
	uint16_t sts, en, cnt;
};

static void update(struct acpi_pm *pm)
{
	irq_set(pm->sci, pm->sts & pm->en);
}

static uint64_t ticks(const struct acpi_pm *pm)
{
	return clock_muldiv(clock_now(pm->clock), TIMER_HZ, NSEC_PER_SEC);
}

/* Only needed by who enabled it. */
static void arm(struct acpi_pm *pm)
{
	uint64_t half = UINT64_C(1) << (TIMER_BITS - 1);
	uint64_t next = (ticks(pm) / half + 1) * half;

	if (pm->en & STS_TIMER)
		timer_arm(&pm->carry, clock_muldiv(next, NSEC_PER_SEC, TIMER_HZ) + 1);
	else
		timer_cancel(&pm->carry);
}

static void carried(void *ctx)
{
	struct acpi_pm *pm = ctx;

	pm->sts |= STS_TIMER;
	update(pm);
	arm(pm);
}

void acpi_pm_button(struct acpi_pm *pm)
{
	pm->sts |= STS_BUTTON;
	update(pm);
}

static uint64_t word(const struct acpi_pm *pm, uint64_t off)
{
	switch (off) {
	case PM1_STS:
		return pm->sts;
	case PM1_EN:
		return pm->en;
	case PM1_CNT:
		return pm->cnt | CNT_SCI_EN;
	case PM_TMR + 2:
		return ticks(pm) >> 16 & 0xff;
	default:
		return 0;
	}
}

static uint64_t pm_read(void *ctx, uint64_t off, unsigned size)
{
	struct acpi_pm *pm = ctx;

	if (off == PM_TMR)
		return ticks(pm) & 0xffffff;
	return word(pm, off) | (size == 4 ? word(pm, off + 2) << 16 : 0);
}

static void pm_write(void *ctx, uint64_t off, unsigned size, uint64_t value)
{
	struct acpi_pm *pm = ctx;

	switch (off) {
	case PM1_STS:
		pm->sts &= (uint16_t)~value;
		if (size == 4)
			pm->en = value >> 16 & STS_ALL;
		break;
	case PM1_EN:
		pm->en = value & STS_ALL;
		break;
	case PM1_CNT:
		pm->cnt = value & CNT_RW;
		if (value & CNT_SLP_EN && (value >> 10 & 7) == ACPI_PM_S5)
			pm->poweroff(pm->ctx);
		break;
	default:
		break;
	}
	arm(pm);
	update(pm);
}

static const struct bus_ops pm_ops = {pm_read, pm_write, 2, 4};

static void pm_reset(struct device *dev)
{
	struct acpi_pm *pm = container_of(dev, struct acpi_pm, dev);

	pm->sts = pm->en = pm->cnt = 0;
	timer_cancel(&pm->carry);
	update(pm);
}

static void pm_snap(struct device *dev, struct snap *s)
{
	struct acpi_pm *pm = container_of(dev, struct acpi_pm, dev);

	snap_section(s, dev->name, 1);
	snap_u16(s, "sts", &pm->sts);
	snap_u16(s, "en", &pm->en);
	snap_u16(s, "cnt", &pm->cnt);
	if (snap_loading(s)) {
		pm->cnt &= CNT_RW;
		arm(pm);
		update(pm);
	}
}

static void pm_destroy(struct device *dev)
{
	struct acpi_pm *pm = container_of(dev, struct acpi_pm, dev);

	timer_cancel(&pm->carry);
	free(pm);
}

struct acpi_pm *acpi_pm_new(
	struct clock *clock, struct irq sci, void (*poweroff)(void *ctx), void *ctx)
{
	struct acpi_pm *pm = xcalloc(1, sizeof(*pm));

	pm->dev = (struct device){"acpi-pm", pm_reset, pm_snap, pm_destroy};
	pm->clock = clock;
	pm->sci = sci;
	pm->poweroff = poweroff;
	pm->ctx = ctx;
	timer_init(&pm->carry, clock, carried, pm);
	region_init(&pm->region, "acpi-pm", 16, &pm_ops, pm);
	return pm;
}

struct device *acpi_pm_device(struct acpi_pm *pm)
{
	return &pm->dev;
}

struct bus_region *acpi_pm_region(struct acpi_pm *pm)
{
	return &pm->region;
}
