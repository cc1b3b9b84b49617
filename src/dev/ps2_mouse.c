/*
 * ps2_mouse.c - the standard three-button mouse behind the controller (IBM PS/2
 * hardware interface technical reference, "Mouse").
 *
 * Stream and remote mode, wrap mode, status. Movement adds up until a packet is
 * fetched; the sample rate is kept but does not pace anything.
 * Left out: the wheel.
 * Lock: vm->lock.
 */
#include "dev/ps2_dev.h"
#include "util/util.h"

enum {
	CMD_SCALING_1 = 0xe6,
	CMD_SCALING_2 = 0xe7,
	CMD_RESOLUTION = 0xe8,
	CMD_STATUS = 0xe9,
	CMD_STREAM = 0xea,
	CMD_READ_DATA = 0xeb,
	CMD_WRAP_OFF = 0xec,
	CMD_WRAP_ON = 0xee,
	CMD_REMOTE = 0xf0,
	CMD_IDENTIFY = 0xf2,
	CMD_RATE = 0xf3,
	CMD_ENABLE = 0xf4,
	CMD_DISABLE = 0xf5,
	CMD_DEFAULTS = 0xf6,
	CMD_RESEND = 0xfe,
	CMD_RESET = 0xff
};
enum { PACKET_ALWAYS = 8, PACKET_XS = 0x10, PACKET_YS = 0x20, PACKET_XV = 0x40, PACKET_YV = 0x80 };
enum { STATUS_SCALING2 = 0x10, STATUS_ENABLED = 0x20, STATUS_REMOTE = 0x40 };

#define PACKET_SIZE 3
#define MAX_MOVE    255

static void set_defaults(struct ps2_mouse *m)
{
	m->resolution = 2;
	m->rate = 100;
	m->scaling2 = m->remote = m->reporting = false;
	m->dx = m->dy = 0;
	m->changed = false;
}

void mouse_reset(struct ps2_mouse *m)
{
	*m = (struct ps2_mouse){0};
	set_defaults(m);
}

static void put_packet(struct ps2_mouse *m)
{
	int dx = MAX(MIN(m->dx, MAX_MOVE), -MAX_MOVE - 1);
	int dy = MAX(MIN(m->dy, MAX_MOVE), -MAX_MOVE - 1);

	queue_put(&m->out, PACKET_ALWAYS | m->buttons | (dx < 0 ? PACKET_XS : 0) |
				   (dy < 0 ? PACKET_YS : 0) | (dx != m->dx ? PACKET_XV : 0) |
				   (dy != m->dy ? PACKET_YV : 0));
	queue_put(&m->out, dx);
	queue_put(&m->out, dy);
	m->dx = m->dy = 0;
	m->changed = false;
}

static bool may_report(const struct ps2_mouse *m)
{
	return m->reporting && !m->remote && !m->wrap && m->changed;
}

bool mouse_ready(const struct ps2_mouse *m)
{
	return m->out.count || may_report(m);
}

bool mouse_read(struct ps2_mouse *m, uint8_t *byte)
{
	if (!m->out.count && may_report(m))
		put_packet(m);
	if (!queue_get(&m->out, byte))
		return false;
	m->last = *byte;
	return true;
}

void mouse_move(struct ps2_mouse *m, int dx, int dy, uint8_t buttons)
{
	m->dx = MAX(MIN(m->dx + dx, INT16_MAX), INT16_MIN);
	m->dy = MAX(MIN(m->dy + dy, INT16_MAX), INT16_MIN);
	m->changed |= dx || dy || m->buttons != (buttons & 7);
	m->buttons = buttons & 7;
}

static void put_status(struct ps2_mouse *m)
{
	uint8_t b = m->buttons; /* left, right, middle are bits 2, 0, 1 here */

	queue_put(&m->out, (b & 1 ? 4 : 0) | (b & 2 ? 1 : 0) | (b & 4 ? 2 : 0) |
				   (m->scaling2 ? STATUS_SCALING2 : 0) |
				   (m->reporting ? STATUS_ENABLED : 0) |
				   (m->remote ? STATUS_REMOTE : 0));
	queue_put(&m->out, m->resolution);
	queue_put(&m->out, m->rate);
}

static void argument(struct ps2_mouse *m, uint8_t command, uint8_t v)
{
	if (command == CMD_RESOLUTION)
		m->resolution = v & 3;
	else
		m->rate = v;
	queue_put(&m->out, PS2_ACK);
}

static void command(struct ps2_mouse *m, uint8_t byte)
{
	queue_put(&m->out, PS2_ACK);
	switch (byte) {
	case CMD_SCALING_1:
	case CMD_SCALING_2:
		m->scaling2 = byte == CMD_SCALING_2;
		break;
	case CMD_RESOLUTION:
	case CMD_RATE:
		m->command = byte;
		break;
	case CMD_STATUS:
		put_status(m);
		break;
	case CMD_STREAM:
	case CMD_REMOTE:
		m->remote = byte == CMD_REMOTE;
		break;
	case CMD_READ_DATA:
		put_packet(m);
		break;
	case CMD_WRAP_OFF:
	case CMD_WRAP_ON:
		m->wrap = byte == CMD_WRAP_ON;
		break;
	case CMD_IDENTIFY:
		queue_put(&m->out, 0);
		break;
	case CMD_ENABLE:
	case CMD_DISABLE:
		m->reporting = byte == CMD_ENABLE;
		break;
	case CMD_DEFAULTS:
		set_defaults(m);
		break;
	case CMD_RESET:
		m->wrap = false;
		set_defaults(m);
		queue_put(&m->out, PS2_SELF_TEST_PASSED);
		queue_put(&m->out, 0);
		break;
	default:
		queue_clear(&m->out);
		queue_put(&m->out, PS2_RESEND);
		break;
	}
}

void mouse_write(struct ps2_mouse *m, uint8_t byte)
{
	uint8_t waiting = m->command;

	queue_clear(&m->out);
	m->command = 0;
	if (m->wrap && byte != CMD_WRAP_OFF && byte != CMD_RESET)
		queue_put(&m->out, byte);
	else if (waiting)
		argument(m, waiting, byte);
	else if (byte == CMD_RESEND)
		queue_put(&m->out, m->last);
	else
		command(m, byte);
}

void mouse_snap(struct ps2_mouse *m, struct snap *s)
{
	uint16_t dx = (uint16_t)m->dx, dy = (uint16_t)m->dy;

	queue_snap(&m->out, s);
	snap_u8(s, "command", &m->command);
	snap_u8_max(s, "resolution", &m->resolution, 3);
	snap_u8(s, "rate", &m->rate);
	snap_u8_max(s, "buttons", &m->buttons, 7);
	snap_bool(s, "scaling2", &m->scaling2);
	snap_bool(s, "remote", &m->remote);
	snap_bool(s, "wrap", &m->wrap);
	snap_bool(s, "reporting", &m->reporting);
	snap_bool(s, "changed", &m->changed);
	snap_u16(s, "dx", &dx);
	snap_u16(s, "dy", &dy);
	snap_u8(s, "last", &m->last);
	m->dx = (int16_t)dx;
	m->dy = (int16_t)dy;
}
