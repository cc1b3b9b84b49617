/*
 * ps2.c - 8042 keyboard controller (IBM PS/2 hardware interface technical
 * reference, "Keyboard and auxiliary device controller"; Intel 8042 manual).
 *
 * Commands are done at once; a byte from keyboard or mouse takes its 11 bits'
 * time on the wire, so that a guest may read port 60h twice for one interrupt.
 * Reset leaves what firmware leaves: keyboard with translation and interrupt
 * on, mouse off, A20 open.
 * Left out: password, multiplexed mouse ports, line errors.
 * Lock: vm->lock.
 */
#include "dev/ps2.h"

#include <stdlib.h>

#include "dev/devutil.h"
#include "dev/ps2_dev.h"
#include "util/util.h"

enum { ST_OBF = 1, ST_SYS = 4, ST_COMMAND = 8, ST_UNLOCKED = 0x10, ST_AUX_OBF = 0x20 };
enum {
	CFG_KBD_INT = 1,
	CFG_AUX_INT = 2,
	CFG_SYS = 4,
	CFG_KBD_OFF = 0x10,
	CFG_AUX_OFF = 0x20,
	CFG_TRANSLATE = 0x40
};
enum {
	CMD_READ_RAM = 0x20,  /* ..3Fh */
	CMD_WRITE_RAM = 0x60, /* ..7Fh */
	CMD_TEST_PASSWORD = 0xa4,
	CMD_AUX_OFF = 0xa7,
	CMD_AUX_ON = 0xa8,
	CMD_TEST_AUX = 0xa9,
	CMD_SELF_TEST = 0xaa,
	CMD_TEST_KBD = 0xab,
	CMD_KBD_OFF = 0xad,
	CMD_KBD_ON = 0xae,
	CMD_READ_INPUT = 0xc0,
	CMD_READ_OUTPUT = 0xd0,
	CMD_WRITE_OUTPUT = 0xd1,
	CMD_WRITE_KBD_OBUF = 0xd2,
	CMD_WRITE_AUX_OBUF = 0xd3,
	CMD_WRITE_AUX = 0xd4,
	CMD_READ_TEST = 0xe0,
	CMD_PULSE = 0xf0 /* ..FFh */
};
enum { OUT_NOT_RESET = 1, OUT_A20 = 2, OUT_KBD_OBF = 0x10, OUT_AUX_OBF = 0x20 };
enum { IN_UNLOCKED = 0x80, NO_PASSWORD = 0xf1, SELF_TEST_PASSED = 0x55, SET2_BREAK = 0xf0 };

#define RAM_SIZE 32
#define BYTE_NS  660000 /* 11 bits at 16.7 kHz */

struct ps2 {
	struct device dev;
	struct bus_region region[2];
	struct ps2_wires wires;
	struct timer byte_timer; /* a byte is on the wire */

	uint8_t ram[RAM_SIZE]; /* 0: the configuration byte */
	uint8_t command;       /* waits for its data byte; 0: none */
	uint8_t output_port;
	uint8_t obuf;
	bool obf, obuf_aux;     /* output buffer full; from the mouse */
	bool last_was_command;  /* port 64h was written last */
	bool translating_break; /* F0 was swallowed */

	struct ps2_keyboard keyboard;
	struct ps2_mouse mouse;
};

static void update_irq(struct ps2 *p)
{
	irq_set(p->wires.keyboard, p->obf && !p->obuf_aux && (p->ram[0] & CFG_KBD_INT));
	irq_set(p->wires.mouse, p->obf && p->obuf_aux && (p->ram[0] & CFG_AUX_INT));
}

static void fill_obuf(struct ps2 *p, uint8_t byte, bool aux)
{
	p->obuf = byte;
	p->obf = true;
	p->obuf_aux = aux;
}

static bool keyboard_waits(const struct ps2 *p)
{
	return !(p->ram[0] & CFG_KBD_OFF) && keyboard_ready(&p->keyboard);
}

static bool mouse_waits(const struct ps2 *p)
{
	return !(p->ram[0] & CFG_AUX_OFF) && mouse_ready(&p->mouse);
}

/* After every change: starts the next byte if there is one and a place for it. */
static void update(struct ps2 *p)
{
	update_irq(p);
	if (!p->obf && !timer_armed(&p->byte_timer) && (keyboard_waits(p) || mouse_waits(p)))
		timer_arm(&p->byte_timer, clock_now(p->byte_timer.clock) + BYTE_NS);
}

/* Set 2 to set 1; the break prefix is swallowed and marks the next code. */
static void from_keyboard(struct ps2 *p, uint8_t byte)
{
	if (!(p->ram[0] & CFG_TRANSLATE)) {
		fill_obuf(p, byte, false);
		return;
	}
	if (byte == SET2_BREAK) {
		p->translating_break = true;
		return;
	}
	fill_obuf(p, keyboard_set2_to_set1(byte) | (p->translating_break ? 0x80 : 0), false);
	p->translating_break = false;
}

static void byte_arrived(void *ctx)
{
	struct ps2 *p = ctx;
	uint8_t byte;

	if (!p->obf && keyboard_waits(p) && keyboard_read(&p->keyboard, &byte))
		from_keyboard(p, byte);
	else if (!p->obf && mouse_waits(p) && mouse_read(&p->mouse, &byte))
		fill_obuf(p, byte, true);
	update(p);
}

/* ---- registers ---- */

static uint8_t read_output_port(const struct ps2 *p)
{
	return (p->output_port & ~(OUT_KBD_OBF | OUT_AUX_OBF)) |
	       (p->obf ? (p->obuf_aux ? OUT_AUX_OBF : OUT_KBD_OBF) : 0);
}

static void write_output_port(struct ps2 *p, uint8_t v)
{
	bool a20 = (v ^ p->output_port) & OUT_A20;

	p->output_port = v | OUT_NOT_RESET;
	if (a20)
		p->wires.a20(p->wires.ctx, v & OUT_A20);
	if (!(v & OUT_NOT_RESET))
		p->wires.reset(p->wires.ctx);
}

static void set_config(struct ps2 *p, uint8_t set, uint8_t clear)
{
	p->ram[0] = (p->ram[0] & ~clear) | set;
}

static void simple_command(struct ps2 *p, uint8_t command)
{
	switch (command) {
	case CMD_AUX_OFF:
		set_config(p, CFG_AUX_OFF, 0);
		break;
	case CMD_AUX_ON:
		set_config(p, 0, CFG_AUX_OFF);
		break;
	case CMD_KBD_OFF:
		set_config(p, CFG_KBD_OFF, 0);
		break;
	case CMD_KBD_ON:
		set_config(p, 0, CFG_KBD_OFF);
		break;
	case CMD_TEST_PASSWORD:
		fill_obuf(p, NO_PASSWORD, false);
		break;
	case CMD_SELF_TEST:
		set_config(p, CFG_SYS, 0);
		fill_obuf(p, SELF_TEST_PASSED, false);
		break;
	case CMD_TEST_AUX:
	case CMD_TEST_KBD:
	case CMD_READ_TEST:
		fill_obuf(p, 0, false);
		break;
	case CMD_READ_INPUT:
		fill_obuf(p, IN_UNLOCKED, false);
		break;
	case CMD_READ_OUTPUT:
		fill_obuf(p, read_output_port(p), false);
		break;
	default:
		break;
	}
}

static void write_command(struct ps2 *p, uint8_t v)
{
	p->command = 0;
	if (v >= CMD_PULSE) {
		if (!(v & OUT_NOT_RESET))
			p->wires.reset(p->wires.ctx);
	} else if (v >= CMD_READ_RAM && v < CMD_READ_RAM + RAM_SIZE) {
		fill_obuf(p, p->ram[v - CMD_READ_RAM], false);
	} else if ((v >= CMD_WRITE_RAM && v < CMD_WRITE_RAM + RAM_SIZE) ||
		   (v >= CMD_WRITE_OUTPUT && v <= CMD_WRITE_AUX)) {
		p->command = v;
	} else {
		simple_command(p, v);
	}
}

/* Without a command before it, a byte is for the keyboard, and turns its interface on. */
static void write_data(struct ps2 *p, uint8_t v)
{
	uint8_t command = p->command;

	p->command = 0;
	switch (command) {
	case 0:
		set_config(p, 0, CFG_KBD_OFF);
		keyboard_write(&p->keyboard, v);
		break;
	case CMD_WRITE_OUTPUT:
		write_output_port(p, v);
		break;
	case CMD_WRITE_KBD_OBUF:
	case CMD_WRITE_AUX_OBUF:
		fill_obuf(p, v, command == CMD_WRITE_AUX_OBUF);
		break;
	case CMD_WRITE_AUX:
		mouse_write(&p->mouse, v);
		break;
	default:
		p->ram[command % RAM_SIZE] = v;
		break;
	}
}

static uint64_t data_read(void *ctx, uint64_t off, unsigned size)
{
	struct ps2 *p = ctx;

	p->obf = false;
	update(p);
	return p->obuf;
}

static void data_write(void *ctx, uint64_t off, unsigned size, uint64_t value)
{
	struct ps2 *p = ctx;

	p->last_was_command = false;
	write_data(p, value);
	update(p);
}

static uint64_t status_read(void *ctx, uint64_t off, unsigned size)
{
	struct ps2 *p = ctx;

	return (p->obf ? ST_OBF : 0) | (p->ram[0] & CFG_SYS ? ST_SYS : 0) |
	       (p->last_was_command ? ST_COMMAND : 0) | ST_UNLOCKED |
	       (p->obf && p->obuf_aux ? ST_AUX_OBF : 0);
}

static void command_write(void *ctx, uint64_t off, unsigned size, uint64_t value)
{
	struct ps2 *p = ctx;

	p->last_was_command = true;
	write_command(p, value);
	update(p);
}

static const struct bus_ops ps2_ops[2] = {
	[PS2_DATA] = {data_read, data_write, 1, 1},
	[PS2_COMMAND] = {status_read, command_write, 1, 1},
};

/* ---- input ---- */

void ps2_key(struct ps2 *p, uint16_t key, bool down)
{
	keyboard_key(&p->keyboard, key, down);
	update(p);
}

bool ps2_type(struct ps2 *p, uint8_t ascii)
{
	bool taken = keyboard_type(&p->keyboard, ascii);

	update(p);
	return taken;
}

void ps2_mouse(struct ps2 *p, int dx, int dy, uint8_t buttons)
{
	mouse_move(&p->mouse, dx, dy, buttons);
	update(p);
}

/* ---- device ---- */

static void ps2_reset(struct device *dev)
{
	struct ps2 *p = container_of(dev, struct ps2, dev);

	keyboard_reset(&p->keyboard);
	mouse_reset(&p->mouse);
	timer_cancel(&p->byte_timer);
	for (unsigned i = 0; i < RAM_SIZE; i++)
		p->ram[i] = 0;
	p->ram[0] = CFG_KBD_INT | CFG_SYS | CFG_AUX_OFF | CFG_TRANSLATE;
	p->command = p->obuf = 0;
	p->obf = p->obuf_aux = p->last_was_command = p->translating_break = false;
	write_output_port(p, 0xff & ~(OUT_KBD_OBF | OUT_AUX_OBF));
	update_irq(p);
}

static void ps2_snap(struct device *dev, struct snap *s)
{
	struct ps2 *p = container_of(dev, struct ps2, dev);

	snap_section(s, dev->name, 1);
	snap_bytes(s, "ram", p->ram, sizeof(p->ram));
	snap_u8(s, "command", &p->command);
	snap_u8(s, "output_port", &p->output_port);
	snap_u8(s, "obuf", &p->obuf);
	snap_bool(s, "obf", &p->obf);
	snap_bool(s, "obuf_aux", &p->obuf_aux);
	snap_bool(s, "last_was_command", &p->last_was_command);
	snap_bool(s, "translating_break", &p->translating_break);
	keyboard_snap(&p->keyboard, s);
	mouse_snap(&p->mouse, s);
	snap_timer(s, "byte_timer", &p->byte_timer);
	if (!snap_loading(s))
		return;
	p->wires.a20(p->wires.ctx, p->output_port & OUT_A20);
	update(p);
}

static void ps2_destroy(struct device *dev)
{
	struct ps2 *p = container_of(dev, struct ps2, dev);

	timer_cancel(&p->byte_timer);
	free(p);
}

struct ps2 *ps2_new(struct clock *clock, const struct ps2_wires *wires)
{
	static const char *const name[2] = {"ps2-data", "ps2-command"};
	struct ps2 *p = xcalloc(1, sizeof(*p));

	p->dev = (struct device){"ps2", ps2_reset, ps2_snap, ps2_destroy};
	p->wires = *wires;
	p->output_port = OUT_A20; /* what the board assumes: nothing to tell it */
	for (unsigned i = 0; i < ARRAY_SIZE(p->region); i++)
		region_init(&p->region[i], name[i], 1, &ps2_ops[i], p);
	timer_init(&p->byte_timer, clock, byte_arrived, p);
	ps2_reset(&p->dev);
	return p;
}

struct device *ps2_device(struct ps2 *p)
{
	return &p->dev;
}

struct bus_region *ps2_region(struct ps2 *p, enum ps2_region_id id)
{
	return &p->region[id];
}
