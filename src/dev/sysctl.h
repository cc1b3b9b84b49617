/*
 * sysctl.h - the PC's system control ports: 61h, 92h, CF9h. vm->lock held.
 */
#ifndef TINAMOU_SYSCTL_H
#define TINAMOU_SYSCTL_H

#include "core/bus.h"
#include "core/clock.h"
#include "core/device.h"

struct pit;
struct sysctl;

struct sysctl_wires {
	struct pit *pit;                   /* GATE and OUT of its counter 2 */
	void (*a20)(void *ctx, bool open); /* called when the gate changes */
	void (*reset)(void *ctx);          /* the guest asks for a reset */
	void *ctx;
};

enum sysctl_region_id {
	SYSCTL_PORT_B, /* 1 port, 61h */
	SYSCTL_PORT_A, /* 1 port, 92h */
	SYSCTL_RESET   /* 1 port, CF9h */
};

/* A20 is assumed open by the board until the first call of a20(). */
struct sysctl *sysctl_new(struct clock *clock, const struct sysctl_wires *wires);
struct device *sysctl_device(struct sysctl *c);
struct bus_region *sysctl_region(struct sysctl *c, enum sysctl_region_id id);

/* The keyboard controller's A20 output, which is ORed with that of port 92h. */
void sysctl_kbc_a20(struct sysctl *c, bool open);

#endif
