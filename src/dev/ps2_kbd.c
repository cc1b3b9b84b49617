/*
 * ps2_kbd.c - the keyboard behind the controller (IBM PS/2 hardware interface
 * technical reference, "Keyboard and auxiliary device controller", 101/102-key).
 *
 * Scan sets 1 and 2. A key that does not fit into the 16 bytes leaves an
 * overrun code, as the real one does. ASCII to be typed waits in a queue of its
 * own until the scan codes before it are fetched.
 * Left out: scan set 3, and typematic repeat (the user's own keyboard repeats).
 * Lock: vm->lock.
 */
#include <string.h>

#include "dev/ps2.h"
#include "dev/ps2_dev.h"
#include "util/util.h"

enum {
	CMD_LEDS = 0xed,
	CMD_ECHO = 0xee,
	CMD_SCAN_SET = 0xf0,
	CMD_IDENTIFY = 0xf2,
	CMD_TYPEMATIC = 0xf3,
	CMD_ENABLE = 0xf4,
	CMD_DISABLE = 0xf5,
	CMD_DEFAULTS = 0xf6,
	CMD_ALL_KEYS_FIRST = 0xf7, /* key types of set 3: acknowledged, no effect in 1 and 2 */
	CMD_ALL_KEYS_LAST = 0xfa,
	CMD_RESEND = 0xfe,
	CMD_RESET = 0xff
};
enum { SET1_BREAK = 0x80, SET2_BREAK = 0xf0, PREFIX_E0 = 0xe0, PREFIX_E1 = 0xe1 };
enum { OVERRUN_SET1 = 0xff, OVERRUN_SET2 = 0x00 };
enum { KEY_CTRL = 0x1d, KEY_SHIFT = 0x2a, KEY_NUM_LOCK = 0x45, KEY_PRINT = 0x37, KEY_SPACE = 0x39 };
enum { KEY_F7 = 0x41, KEY_SYSRQ = 0x54, SET2_F7 = 0x83, SET2_SYSRQ = 0x84 };

/* Scan set 2 to 1, as the controller's ROM has it; the two codes above 7Fh are apart. */
static const uint8_t set1_of[128] = {0xff, 0x43, 0x41, 0x3f, 0x3d, 0x3b, 0x3c, 0x58, 0x64, 0x44,
	0x42, 0x40, 0x3e, 0x0f, 0x29, 0x59, 0x65, 0x38, 0x2a, 0x70, 0x1d, 0x10, 0x02, 0x5a, 0x66,
	0x71, 0x2c, 0x1f, 0x1e, 0x11, 0x03, 0x5b, 0x67, 0x2e, 0x2d, 0x20, 0x12, 0x05, 0x04, 0x5c,
	0x68, 0x39, 0x2f, 0x21, 0x14, 0x13, 0x06, 0x5d, 0x69, 0x31, 0x30, 0x23, 0x22, 0x15, 0x07,
	0x5e, 0x6a, 0x72, 0x32, 0x24, 0x16, 0x08, 0x09, 0x5f, 0x6b, 0x33, 0x25, 0x17, 0x18, 0x0b,
	0x0a, 0x60, 0x6c, 0x34, 0x35, 0x26, 0x27, 0x19, 0x0c, 0x61, 0x6d, 0x73, 0x28, 0x74, 0x1a,
	0x0d, 0x62, 0x6e, 0x3a, 0x36, 0x1c, 0x1b, 0x75, 0x2b, 0x63, 0x76, 0x55, 0x56, 0x77, 0x78,
	0x79, 0x7a, 0x0e, 0x7b, 0x7c, 0x4f, 0x7d, 0x4b, 0x47, 0x7e, 0x7f, 0x6f, 0x52, 0x53, 0x50,
	0x4c, 0x4d, 0x48, 0x01, 0x45, 0x57, 0x4e, 0x51, 0x4a, 0x37, 0x49, 0x46, 0x54};

uint8_t keyboard_set2_to_set1(uint8_t code)
{
	if (code == SET2_F7)
		return KEY_F7;
	if (code == SET2_SYSRQ)
		return KEY_SYSRQ;
	return code < 128 ? set1_of[code] : code;
}

static uint8_t set1_to_set2(uint8_t key)
{
	const uint8_t *p;

	if (key == KEY_F7)
		return SET2_F7;
	if (key == KEY_SYSRQ)
		return SET2_SYSRQ;
	p = memchr(set1_of, key, sizeof(set1_of));
	return p ? (uint8_t)(p - set1_of) : 0;
}

/* ---- keys to scan codes ---- */

/* What one key event sends; Pause is the longest. */
struct codes {
	uint8_t byte[8];
	unsigned count;
};

static void add(struct codes *c, uint8_t byte)
{
	if (c->count < sizeof(c->byte))
		c->byte[c->count++] = byte;
}

static void add_key(const struct ps2_keyboard *k, struct codes *c, uint8_t key, bool down)
{
	if (k->scan_set == 1) {
		add(c, key | (down ? 0 : SET1_BREAK));
		return;
	}
	if (!down)
		add(c, SET2_BREAK);
	add(c, set1_to_set2(key));
}

static void add_extended(const struct ps2_keyboard *k, struct codes *c, uint8_t key, bool down)
{
	add(c, PREFIX_E0);
	add_key(k, c, key, down);
}

/* Pause is Ctrl and Num Lock behind E1, pressed and released at once. */
static void add_pause(const struct ps2_keyboard *k, struct codes *c)
{
	for (int down = 1; down >= 0; down--) {
		add(c, PREFIX_E1);
		add_key(k, c, KEY_CTRL, down);
		add_key(k, c, KEY_NUM_LOCK, down);
	}
}

static void key_codes(const struct ps2_keyboard *k, struct codes *c, uint16_t key, bool down)
{
	uint8_t code = key & 0x7f;

	c->count = 0;
	if (key == PS2_KEY_PAUSE) {
		if (down)
			add_pause(k, c);
	} else if (key == PS2_KEY_PRINT) { /* comes with a shift of its own */
		add_extended(k, c, down ? KEY_SHIFT : KEY_PRINT, down);
		add_extended(k, c, down ? KEY_PRINT : KEY_SHIFT, down);
	} else if ((key & 0xff00) == PS2_KEY_EXTENDED) {
		add_extended(k, c, code, down);
	} else {
		add_key(k, c, code, down);
	}
}

/* A key that does not fit leaves an overrun code, for which one place is kept. */
void keyboard_key(struct ps2_keyboard *k, uint16_t key, bool down)
{
	struct codes c;

	if (!k->scanning)
		return;
	key_codes(k, &c, key, down);
	if (c.count >= queue_room(&k->scan)) {
		queue_put(&k->scan, k->scan_set == 1 ? OVERRUN_SET1 : OVERRUN_SET2);
		return;
	}
	for (unsigned i = 0; i < c.count; i++)
		queue_put(&k->scan, c.byte[i]);
}

/* ---- typing ---- */

struct stroke {
	uint8_t key; /* 0: there is none */
	bool shift, ctrl;
};

/* Characters by key number, US layout; the zero bytes are Ctrl and the left shift. */
static const char plain_keys[] = "\0\0331234567890-=\b\tqwertyuiop[]\r\0asdfghjkl;'`\0\\zxcvbnm,./";
static const char shift_keys[] = "\0\0!@#$%^&*()_+\0\0QWERTYUIOP{}\0\0ASDFGHJKL:\"~\0|ZXCVBNM<>?";

static struct stroke find_stroke(uint8_t c)
{
	const char *p;

	if (c == ' ')
		return (struct stroke){.key = KEY_SPACE};
	if (c == 0 || c > 126)
		return (struct stroke){0};
	p = memchr(plain_keys, c, sizeof(plain_keys) - 1);
	if (p)
		return (struct stroke){.key = (uint8_t)(p - plain_keys)};
	p = memchr(shift_keys, c, sizeof(shift_keys) - 1);
	return (struct stroke){.key = p ? (uint8_t)(p - shift_keys) : 0, .shift = p};
}

static struct stroke ascii_stroke(uint8_t c)
{
	struct stroke s;

	if (c == '\n')
		c = '\r';
	if (c == 127)
		c = '\b';
	s = find_stroke(c);
	if (!s.key && c < 32) { /* Ctrl-@, Ctrl-A ... Ctrl-_ */
		s = find_stroke(c >= 1 && c <= 26 ? c + 0x60 : c + 0x40);
		s.ctrl = true;
	}
	return s;
}

bool keyboard_type(struct ps2_keyboard *k, uint8_t ascii)
{
	if (!ascii_stroke(ascii).key || k->typed_count == sizeof(k->typed))
		return false;
	k->typed[(uint8_t)(k->typed_head + k->typed_count++)] = ascii;
	return true;
}

/* At most 10 bytes, into an empty queue. */
static void type_next(struct ps2_keyboard *k)
{
	struct stroke s = ascii_stroke(k->typed[k->typed_head++]);

	k->typed_count--;
	if (s.ctrl)
		keyboard_key(k, KEY_CTRL, true);
	if (s.shift)
		keyboard_key(k, KEY_SHIFT, true);
	keyboard_key(k, s.key, true);
	keyboard_key(k, s.key, false);
	if (s.shift)
		keyboard_key(k, KEY_SHIFT, false);
	if (s.ctrl)
		keyboard_key(k, KEY_CTRL, false);
}

/* ---- towards the controller ---- */

bool keyboard_ready(const struct ps2_keyboard *k)
{
	return k->reply.count || k->scan.count || (k->scanning && k->typed_count);
}

bool keyboard_read(struct ps2_keyboard *k, uint8_t *byte)
{
	if (!k->reply.count && !k->scan.count && k->scanning && k->typed_count)
		type_next(k);
	if (!queue_get(&k->reply, byte) && !queue_get(&k->scan, byte))
		return false;
	k->last = *byte;
	return true;
}

static void set_defaults(struct ps2_keyboard *k)
{
	k->scan_set = 2;
	k->typematic = 0x2b;
	queue_clear(&k->scan);
}

static void argument(struct ps2_keyboard *k, uint8_t command, uint8_t v)
{
	if (command == CMD_SCAN_SET && v > 2) {
		queue_put(&k->reply, PS2_RESEND);
		return;
	}
	queue_put(&k->reply, PS2_ACK);
	if (command == CMD_LEDS) {
		k->leds = v & 7;
	} else if (command == CMD_TYPEMATIC) {
		k->typematic = v & 0x7f;
	} else if (v == 0) {
		queue_put(&k->reply, k->scan_set);
	} else {
		k->scan_set = v;
		queue_clear(&k->scan);
	}
}

static void identify(struct ps2_keyboard *k)
{
	queue_put(&k->reply, PS2_ACK);
	queue_put(&k->reply, 0xab);
	queue_put(&k->reply, 0x83);
}

static void power_on(struct ps2_keyboard *k)
{
	set_defaults(k);
	k->leds = k->command = 0;
	k->scanning = true;
}

static void acknowledged(struct ps2_keyboard *k, uint8_t command)
{
	queue_put(&k->reply, PS2_ACK);
	switch (command) {
	case CMD_LEDS:
	case CMD_SCAN_SET:
	case CMD_TYPEMATIC:
		k->command = command;
		break;
	case CMD_ENABLE:
		k->scanning = true;
		queue_clear(&k->scan);
		break;
	case CMD_DISABLE:
		k->scanning = false;
		set_defaults(k);
		break;
	case CMD_DEFAULTS:
		set_defaults(k);
		break;
	case CMD_RESET:
		power_on(k);
		queue_put(&k->reply, PS2_SELF_TEST_PASSED);
		break;
	default: /* CMD_ALL_KEYS_* */
		break;
	}
}

void keyboard_write(struct ps2_keyboard *k, uint8_t byte)
{
	uint8_t command = k->command;

	queue_clear(&k->reply);
	k->command = 0;
	if (command && byte < CMD_LEDS)
		argument(k, command, byte);
	else if (byte == CMD_ECHO)
		queue_put(&k->reply, CMD_ECHO);
	else if (byte == CMD_RESEND)
		queue_put(&k->reply, k->last);
	else if (byte == CMD_IDENTIFY)
		identify(k);
	else if (byte == CMD_LEDS || byte == CMD_SCAN_SET || byte == CMD_RESET ||
		 (byte >= CMD_TYPEMATIC && byte <= CMD_ALL_KEYS_LAST))
		acknowledged(k, byte);
	else
		queue_put(&k->reply, PS2_RESEND);
}

void keyboard_reset(struct ps2_keyboard *k)
{
	*k = (struct ps2_keyboard){0};
	power_on(k);
}

void keyboard_snap(struct ps2_keyboard *k, struct snap *s)
{
	queue_snap(&k->reply, s);
	queue_snap(&k->scan, s);
	snap_u8_max(s, "scan_set", &k->scan_set, 2);
	snap_u8_max(s, "leds", &k->leds, 7);
	snap_u8_max(s, "typematic", &k->typematic, 0x7f);
	snap_u8(s, "command", &k->command);
	snap_u8(s, "last", &k->last);
	snap_bool(s, "scanning", &k->scanning);
	snap_bytes(s, "typed", k->typed, sizeof(k->typed));
	snap_u8(s, "typed_head", &k->typed_head);
	snap_u16(s, "typed_count", &k->typed_count);
	if (!snap_loading(s) || k->typed_count <= sizeof(k->typed))
		return;
	snap_fail(s, "typed_count", "out of range");
	k->typed_count = 0;
}
