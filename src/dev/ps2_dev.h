/*
 * ps2_dev.h - the two devices behind the keyboard controller, for ps2.c only.
 * Each takes command bytes and gives bytes when asked; neither knows the time.
 */
#ifndef TINAMOU_PS2_DEV_H
#define TINAMOU_PS2_DEV_H

#include <stdbool.h>
#include <stdint.h>

#include "core/snapshot.h"

/* ---- bytes on their way to the controller ---- */

#define BYTE_QUEUE_SIZE 16

struct byte_queue {
	uint8_t data[BYTE_QUEUE_SIZE];
	uint8_t head, count;
};

static inline unsigned queue_room(const struct byte_queue *q)
{
	return BYTE_QUEUE_SIZE - q->count;
}

/* What does not fit is dropped. */
static inline void queue_put(struct byte_queue *q, uint8_t byte)
{
	if (q->count < BYTE_QUEUE_SIZE)
		q->data[(q->head + q->count++) % BYTE_QUEUE_SIZE] = byte;
}

static inline bool queue_get(struct byte_queue *q, uint8_t *byte)
{
	if (!q->count)
		return false;
	*byte = q->data[q->head];
	q->head = (q->head + 1) % BYTE_QUEUE_SIZE;
	q->count--;
	return true;
}

static inline void queue_clear(struct byte_queue *q)
{
	q->head = q->count = 0;
}

static inline void queue_snap(struct byte_queue *q, struct snap *s)
{
	snap_bytes(s, "queue", q->data, sizeof(q->data));
	snap_u8_max(s, "queue_head", &q->head, BYTE_QUEUE_SIZE - 1);
	snap_u8_max(s, "queue_count", &q->count, BYTE_QUEUE_SIZE);
}

/* What both devices answer. */
enum { PS2_ACK = 0xfa, PS2_RESEND = 0xfe, PS2_SELF_TEST_PASSED = 0xaa };

/* ---- keyboard ---- */

struct ps2_keyboard {
	struct byte_queue reply; /* goes before */
	struct byte_queue scan;
	uint8_t scan_set; /* 1 or 2 */
	uint8_t leds, typematic;
	uint8_t command; /* waits for its argument; 0: none */
	uint8_t last;    /* for the resend command */
	bool scanning;
	uint8_t typed[256], typed_head; /* ASCII to be typed */
	uint16_t typed_count;
};

void keyboard_reset(struct ps2_keyboard *k);
void keyboard_write(struct ps2_keyboard *k, uint8_t byte);
bool keyboard_ready(const struct ps2_keyboard *k);
bool keyboard_read(struct ps2_keyboard *k, uint8_t *byte);
void keyboard_key(struct ps2_keyboard *k, uint16_t key, bool down);
bool keyboard_type(struct ps2_keyboard *k, uint8_t ascii);
void keyboard_snap(struct ps2_keyboard *k, struct snap *s);
/* The controller's translation of a make code; bytes without one pass. */
uint8_t keyboard_set2_to_set1(uint8_t code);

/* ---- mouse ---- */

struct ps2_mouse {
	struct byte_queue out;
	uint8_t command;
	uint8_t resolution, rate;
	uint8_t buttons;
	bool scaling2, remote, wrap, reporting;
	bool changed; /* since the last packet */
	int16_t dx, dy;
	uint8_t last;
};

void mouse_reset(struct ps2_mouse *m);
void mouse_write(struct ps2_mouse *m, uint8_t byte);
bool mouse_ready(const struct ps2_mouse *m);
bool mouse_read(struct ps2_mouse *m, uint8_t *byte);
void mouse_move(struct ps2_mouse *m, int dx, int dy, uint8_t buttons);
void mouse_snap(struct ps2_mouse *m, struct snap *s);

#endif
