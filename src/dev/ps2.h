/*
 * ps2.h - 8042 keyboard controller with keyboard and mouse. vm->lock held.
 */
#ifndef TINAMOU_PS2_H
#define TINAMOU_PS2_H

#include "core/bus.h"
#include "core/clock.h"
#include "core/device.h"
#include "core/irq.h"

struct ps2;

struct ps2_wires {
	struct irq keyboard, mouse;        /* IRQ1, IRQ12 */
	void (*a20)(void *ctx, bool open); /* follows the output port; open after reset */
	void (*reset)(void *ctx);          /* the guest pulses the reset line */
	void *ctx;
};

enum ps2_region_id {
	PS2_DATA,   /* 1 port, 60h */
	PS2_COMMAND /* 1 port, 64h */
};

struct ps2 *ps2_new(struct clock *clock, const struct ps2_wires *wires);
struct device *ps2_device(struct ps2 *p);
struct bus_region *ps2_region(struct ps2 *p, enum ps2_region_id id);

/*
 * A key by its number: the make code of scan set 1, with PS2_KEY_EXTENDED for
 * those behind an E0 prefix. Ignored while the guest has scanning off; lost
 * with an overrun code when the keyboard's 16 bytes are full.
 */
#define PS2_KEY_EXTENDED 0xe000
#define PS2_KEY_PRINT    0xe037
#define PS2_KEY_PAUSE    0xe11d
void ps2_key(struct ps2 *p, uint16_t key, bool down);

/*
 * Types an ASCII character on a US keyboard, when those before it are through.
 * CR and LF are Enter, 8 and 127 Backspace, other control characters Ctrl with
 * a letter. false: 256 characters wait already, or there is no such key.
 */
bool ps2_type(struct ps2 *p, uint8_t ascii);

/* Movement in counts, right and up positive, -32768..32767 each; buttons: left 1, right 2,
 * middle 4. */
void ps2_mouse(struct ps2 *p, int dx, int dy, uint8_t buttons);

#endif
