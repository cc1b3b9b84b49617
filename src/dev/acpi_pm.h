/*
 * acpi_pm.h - ACPI power management: PM1 events and control, the PM timer.
 * vm->lock held.
 */
#ifndef TINAMOU_ACPI_PM_H
#define TINAMOU_ACPI_PM_H

#include "core/bus.h"
#include "core/clock.h"
#include "core/device.h"
#include "core/irq.h"

struct acpi_pm;

#define ACPI_PM_S5 5u /* SLP_TYP of soft-off, as \_S5 says */

/* poweroff: the guest asked for S5. sci: level-triggered. */
struct acpi_pm *acpi_pm_new(
	struct clock *clock, struct irq sci, void (*poweroff)(void *ctx), void *ctx);
struct device *acpi_pm_device(struct acpi_pm *pm);
struct bus_region *acpi_pm_region(struct acpi_pm *pm); /* 16 ports */
/* The user pressed the power button. */
void acpi_pm_button(struct acpi_pm *pm);

#endif
