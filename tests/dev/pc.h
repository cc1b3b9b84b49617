/*
 * pc.h - all devices on two buses, wired much as a PC has them, for tests that
 * throw random accesses at them.
 */
#ifndef TINAMOU_DEV_PC_H
#define TINAMOU_DEV_PC_H

#include <stdlib.h>

#include "core/bus.h"
#include "core/chardev.h"
#include "core/clock.h"
#include "dev/debugcon.h"
#include "dev/pic.h"
#include "dev/pit.h"
#include "dev/postcode.h"
#include "dev/ps2.h"
#include "dev/rtc.h"
#include "dev/sysctl.h"
#include "dev/testport.h"
#include "dev/uart.h"
#include "dev/vga.h"
#include "util/util.h"

#define PC_DEVICES 10

struct pc {
	struct clock clock;
	struct bus ports, memory;
	struct chardev chr;
	struct device *device[PC_DEVICES];
	unsigned devices;
	struct pic *pic;
	struct uart *uart;
	struct pit *pit;
	struct rtc *rtc;
	struct ps2 *ps2;
	struct sysctl *sysctl;
	struct vga *vga;
	bool intr, a20;
};

static inline void pc_intr(void *ctx, bool level)
{
	((struct pc *)ctx)->intr = level;
}

static inline void pc_a20(void *ctx, bool open)
{
	((struct pc *)ctx)->a20 = open;
}

static inline void pc_kbc_a20(void *ctx, bool open)
{
	struct pc *pc = ctx;

	if (pc->sysctl)
		sysctl_kbc_a20(pc->sysctl, open);
}

static inline void pc_reset(void *ctx)
{
	(void)ctx;
}

static inline void pc_exit(void *ctx, uint32_t value)
{
	(void)ctx;
	(void)value;
}

static inline void pc_map(struct bus *bus, struct bus_region *r, gpa_t base)
{
	r->base = base;
	if (bus_map(bus, r))
		abort();
}

static inline void pc_map_all(struct pc *pc)
{
	struct bus *io = &pc->ports;

	pc_map(io, pic_region(pc->pic, PIC_MASTER), 0x20);
	pc_map(io, pic_region(pc->pic, PIC_SLAVE), 0xa0);
	pc_map(io, pic_region(pc->pic, PIC_ELCR), 0x4d0);
	pc_map(io, pit_region(pc->pit), 0x40);
	pc_map(io, rtc_region(pc->rtc), 0x70);
	pc_map(io, ps2_region(pc->ps2, PS2_DATA), 0x60);
	pc_map(io, ps2_region(pc->ps2, PS2_COMMAND), 0x64);
	pc_map(io, sysctl_region(pc->sysctl, SYSCTL_PORT_B), 0x61);
	pc_map(io, sysctl_region(pc->sysctl, SYSCTL_PORT_A), 0x92);
	pc_map(io, sysctl_region(pc->sysctl, SYSCTL_RESET), 0xcf9);
	pc_map(io, uart_region(pc->uart), 0x3f8);
	pc_map(io, vga_region(pc->vga, VGA_VBE), 0x1ce);
	pc_map(io, vga_region(pc->vga, VGA_MONO), 0x3b4);
	pc_map(io, vga_region(pc->vga, VGA_PORTS), 0x3c0);
	pc_map(io, vga_region(pc->vga, VGA_COLOUR), 0x3d4);
	pc_map(&pc->memory, vga_region(pc->vga, VGA_MEMORY), 0xa0000);
}

static inline void pc_add(struct pc *pc, struct device *dev)
{
	pc->device[pc->devices++] = dev;
}

static inline void pc_init(struct pc *pc)
{
	struct ps2_wires ps2 = {.a20 = pc_kbc_a20, .reset = pc_reset, .ctx = pc};
	struct sysctl_wires sysctl = {.a20 = pc_a20, .reset = pc_reset, .ctx = pc};
	struct debugcon *debugcon;
	struct postcode *postcode;
	struct testport *testport;

	*pc = (struct pc){0};
	clock_init(&pc->clock, CLOCK_INSTRUCTIONS);
	bus_init(&pc->ports, "ports", 4);
	bus_init(&pc->memory, "memory", 8);
	pc_add(pc, pic_device(pc->pic = pic_new(pc_intr, pc)));
	pc_add(pc, pit_device(pc->pit = pit_new(&pc->clock, pic_irq(pc->pic, 0))));
	pc_add(pc, rtc_device(pc->rtc = rtc_new(&pc->clock, pic_irq(pc->pic, 8), 1000000000)));
	pc_add(pc, uart_device(pc->uart = uart_new(
				       "uart0", &pc->clock, pic_irq(pc->pic, 4), &pc->chr)));
	ps2.keyboard = pic_irq(pc->pic, 1);
	ps2.mouse = pic_irq(pc->pic, 12);
	pc_add(pc, ps2_device(pc->ps2 = ps2_new(&pc->clock, &ps2)));
	sysctl.pit = pc->pit;
	pc_add(pc, sysctl_device(pc->sysctl = sysctl_new(&pc->clock, &sysctl)));
	pc_add(pc, vga_device(pc->vga = vga_new(&pc->clock)));
	pc_add(pc, debugcon_device(debugcon = debugcon_new(NULL)));
	pc_add(pc, postcode_device(postcode = postcode_new()));
	pc_add(pc, testport_device(testport = testport_new(pc_exit, pc)));
	pc_map_all(pc);
	pc_map(&pc->ports, debugcon_region(debugcon), 0xe9);
	pc_map(&pc->ports, postcode_region(postcode), 0x80);
	pc_map(&pc->ports, testport_region(testport), 0xf4);
}

static inline void pc_destroy(struct pc *pc)
{
	bus_destroy(&pc->ports);
	bus_destroy(&pc->memory);
	for (unsigned i = pc->devices; i-- > 0;)
		pc->device[i]->destroy(pc->device[i]);
}

/* Where there is something to hit. */
static const uint16_t pc_ports[] = {0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1, 0x40, 0x41, 0x42, 0x43,
	0x60, 0x61, 0x64, 0x70, 0x71, 0x80, 0x92, 0xcf9, 0xe9, 0xf4, 0x3b4, 0x3b5, 0x3ba, 0x3c0,
	0x3c1, 0x3c2, 0x3c4, 0x3c5, 0x3c6, 0x3c7, 0x3c8, 0x3c9, 0x3cc, 0x3ce, 0x3cf, 0x3d4, 0x3d5,
	0x3da, 0x3f8, 0x3f9, 0x3fa, 0x3fb, 0x3fc, 0x3fd, 0x3fe, 0x3ff};

/* Time passes; what is due is called. */
static inline void pc_pass(struct pc *pc, uint64_t ns)
{
	clock_advance(&pc->clock, ns);
	clock_run_timers(&pc->clock);
}

/* Saves or loads all devices; false: refused. */
static inline bool pc_snap(struct pc *pc, struct snap *s)
{
	for (unsigned i = 0; i < pc->devices; i++)
		pc->device[i]->snap(pc->device[i], s);
	return !snap_error(s);
}

#endif
