/*
 * pic.c - two cascaded 8259A (Intel 8259A datasheet) with the ELCR of Intel's south bridges.
 *
 * Done: all ICWs and OCWs, automatic EOI, rotation, special mask, special fully
 * nested mode, poll, level and edge inputs, default IR7. In both trigger modes
 * a request must stay high until it is acknowledged ("Edge and Level Triggered
 * Modes"); one that ends earlier gives the spurious IR7.
 * Left out: the vectors of MCS-80 mode, buffered mode (no pins to buffer).
 * Lock: vm->lock.
 */
#include "dev/pic.h"

#include <stdlib.h>

#include "dev/devutil.h"
#include "util/util.h"

enum { ICW1_IC4 = 1, ICW1_SNGL = 2, ICW1_LTIM = 8, ICW1 = 0x10 };
enum { ICW4_AEOI = 2, ICW4_SFNM = 0x10 };
enum { OCW3 = 8, OCW3_RIS = 1, OCW3_RR = 2, OCW3_POLL = 4, OCW3_SMM = 0x20, OCW3_ESMM = 0x40 };
enum { CASCADE = 2 };

/* What the next write to the odd port is. */
enum init_step { READY, WANT_ICW2, WANT_ICW3, WANT_ICW4 };

struct chip {
	uint8_t lines; /* levels at the IR pins */
	uint8_t latch; /* rising edges seen and not acknowledged */
	uint8_t elcr;  /* 1: level triggered */
	uint8_t isr, imr;
	uint8_t icw1, icw2, icw3, icw4;
	uint8_t step;    /* enum init_step */
	uint8_t highest; /* the IR with the highest priority, 0..7 */
	bool read_isr, poll, special_mask, rotate_aeoi;
	bool master;
};

struct pic {
	struct device dev;
	struct chip chip[2]; /* master, slave */
	struct bus_region region[3];
	void (*intr)(void *ctx, bool level);
	void *ctx;
	bool out; /* INT of the master */
};

static uint8_t irr(const struct chip *c)
{
	uint8_t level = c->icw1 & ICW1_LTIM ? 0xff : c->elcr;

	return c->lines & (level | c->latch);
}

/* Distance of the most urgent of bits from the highest priority; 8: none. */
static unsigned rank(const struct chip *c, uint8_t bits)
{
	uint8_t turned = bits >> c->highest | bits << (8 - c->highest);

	return turned ? (unsigned)__builtin_ctz(turned) : 8;
}

static unsigned rank_to_ir(const struct chip *c, unsigned r)
{
	return (r + c->highest) & 7;
}

/* The IR that INT is raised for, or -1. */
static int chip_pending(const struct chip *c)
{
	uint8_t blocking = c->isr;
	unsigned want = rank(c, irr(c) & ~c->imr), busy;

	if (c->special_mask)
		blocking &= ~c->imr;
	if (c->master && (c->icw4 & ICW4_SFNM))
		blocking &= ~BIT(CASCADE); /* the slave sorts out its own */
	busy = rank(c, blocking);
	return want < busy ? (int)rank_to_ir(c, want) : -1;
}

static void chip_set_line(struct chip *c, unsigned ir, bool level)
{
	uint8_t bit = BIT(ir);

	if (level && !(c->lines & bit))
		c->latch |= bit;
	if (!level)
		c->latch &= ~bit;
	c->lines = level ? c->lines | bit : c->lines & ~bit;
}

/* The slave's INT is the master's IR2; the master's INT goes to the CPU. */
static void update(struct pic *p)
{
	bool out;

	chip_set_line(&p->chip[0], CASCADE, chip_pending(&p->chip[1]) >= 0);
	out = chip_pending(&p->chip[0]) >= 0;
	if (out == p->out)
		return;
	p->out = out;
	p->intr(p->ctx, out);
}

static void end_of_interrupt(struct chip *c, unsigned ir, bool rotate)
{
	c->isr &= ~BIT(ir);
	if (rotate)
		c->highest = (ir + 1) & 7;
}

/* One chip's part of INTA: the IR it answers for; 7 without an ISR bit if none is left. */
static unsigned chip_ack(struct chip *c)
{
	int ir = chip_pending(c);

	if (ir < 0)
		return 7;
	c->latch &= ~BIT(ir);
	c->isr |= BIT(ir);
	if (c->icw4 & ICW4_AEOI)
		end_of_interrupt(c, ir, c->rotate_aeoi);
	return ir;
}

/* INT drops in the INTA cycle, so that a second request makes a new edge on IR2. */
static unsigned slave_ack(struct pic *p)
{
	unsigned ir = chip_ack(&p->chip[1]);

	chip_set_line(&p->chip[0], CASCADE, false);
	return ir;
}

int pic_ack(struct pic *p)
{
	bool cascade = chip_pending(&p->chip[0]) == CASCADE;
	unsigned ir = chip_ack(&p->chip[0]);
	int vector = p->chip[0].icw2 | ir;

	if (cascade)
		vector = p->chip[1].icw2 | slave_ack(p);
	update(p);
	return vector;
}

/* A poll is an INTA cycle by a read; bit 7 says whether there was a request. */
static uint8_t poll_read(struct pic *p, struct chip *c)
{
	bool pending = chip_pending(c) >= 0;
	uint8_t v = pending ? 0x80 : 0;

	c->poll = false;
	if (pending)
		v |= c->master ? chip_ack(c) : slave_ack(p);
	update(p);
	return v;
}

/* Initialisation forgets edges, masks and modes ("Initialization Command Words"). */
static void write_icw1(struct chip *c, uint8_t v)
{
	c->icw1 = v;
	c->icw4 = 0;
	c->latch = c->isr = c->imr = 0;
	c->highest = 0;
	c->read_isr = c->poll = c->special_mask = c->rotate_aeoi = false;
	c->step = WANT_ICW2;
}

static void write_ocw2(struct chip *c, uint8_t v)
{
	bool rotate = v & 0x80;
	uint8_t candidates = c->special_mask ? c->isr & ~c->imr : c->isr;

	switch (v >> 5 & 3) {
	case 0: /* rotate in automatic EOI mode: set or clear */
		c->rotate_aeoi = rotate;
		break;
	case 1: /* non-specific EOI */
		if (candidates)
			end_of_interrupt(c, rank_to_ir(c, rank(c, candidates)), rotate);
		break;
	case 2: /* set priority; without R: no operation */
		if (rotate)
			c->highest = (v + 1) & 7;
		break;
	case 3: /* specific EOI */
		end_of_interrupt(c, v & 7, rotate);
		break;
	}
}

static void write_ocw3(struct chip *c, uint8_t v)
{
	if (v & OCW3_ESMM)
		c->special_mask = v & OCW3_SMM;
	if (v & OCW3_RR)
		c->read_isr = v & OCW3_RIS;
	c->poll = v & OCW3_POLL;
}

static void write_even(struct chip *c, uint8_t v)
{
	if (v & ICW1)
		write_icw1(c, v);
	else if (v & OCW3)
		write_ocw3(c, v);
	else
		write_ocw2(c, v);
}

static enum init_step after_icw3(const struct chip *c)
{
	return c->icw1 & ICW1_IC4 ? WANT_ICW4 : READY;
}

static void write_odd(struct chip *c, uint8_t v)
{
	switch ((enum init_step)c->step) {
	case READY:
		c->imr = v;
		break;
	case WANT_ICW2:
		c->icw2 = v & 0xf8;
		c->step = c->icw1 & ICW1_SNGL ? after_icw3(c) : WANT_ICW3;
		break;
	case WANT_ICW3:
		c->icw3 = v;
		c->step = after_icw3(c);
		break;
	case WANT_ICW4:
		c->icw4 = v;
		c->step = READY;
		break;
	}
}

static uint64_t chip_read(struct pic *p, struct chip *c, uint64_t off)
{
	if (c->poll)
		return poll_read(p, c);
	if (off)
		return c->imr;
	return c->read_isr ? c->isr : irr(c);
}

static void chip_write(struct pic *p, struct chip *c, uint64_t off, uint8_t v)
{
	if (off)
		write_odd(c, v);
	else
		write_even(c, v);
	update(p);
}

static uint64_t master_read(void *ctx, uint64_t off, unsigned size)
{
	struct pic *p = ctx;

	return chip_read(p, &p->chip[0], off);
}

static void master_write(void *ctx, uint64_t off, unsigned size, uint64_t value)
{
	struct pic *p = ctx;

	chip_write(p, &p->chip[0], off, value);
}

static uint64_t slave_read(void *ctx, uint64_t off, unsigned size)
{
	struct pic *p = ctx;

	return chip_read(p, &p->chip[1], off);
}

static void slave_write(void *ctx, uint64_t off, unsigned size, uint64_t value)
{
	struct pic *p = ctx;

	chip_write(p, &p->chip[1], off, value);
}

static uint64_t elcr_read(void *ctx, uint64_t off, unsigned size)
{
	struct pic *p = ctx;

	return p->chip[off].elcr;
}

/* Timer, keyboard, cascade, clock and coprocessor are always edge triggered. */
static const uint8_t elcr_mask[2] = {0xf8, 0xde};

static void elcr_write(void *ctx, uint64_t off, unsigned size, uint64_t value)
{
	struct pic *p = ctx;

	p->chip[off].elcr = value & elcr_mask[off];
	update(p);
}

static const struct bus_ops pic_ops[3] = {
	[PIC_MASTER] = {master_read, master_write, 1, 1},
	[PIC_SLAVE] = {slave_read, slave_write, 1, 1},
	[PIC_ELCR] = {elcr_read, elcr_write, 1, 1},
};

static void line_changed(void *ctx, int n, bool level)
{
	struct pic *p = ctx;

	chip_set_line(&p->chip[n >> 3], n & 7, level);
	update(p);
}

struct irq pic_irq(struct pic *p, int n)
{
	if (n < 0 || n > 15 || n == CASCADE)
		return (struct irq){0};
	return (struct irq){line_changed, p, n};
}

/* The levels at the pins are others' and stay; the IMR is undefined: all masked is quietest. */
static void pic_reset(struct device *dev)
{
	struct pic *p = container_of(dev, struct pic, dev);

	for (unsigned i = 0; i < 2; i++) {
		struct chip *c = &p->chip[i];

		*c = (struct chip){.lines = c->lines, .imr = 0xff, .master = i == 0};
	}
	update(p);
}

static void chip_snap(struct chip *c, struct snap *s, uint8_t elcr_max)
{
	snap_u8(s, "lines", &c->lines);
	snap_u8(s, "latch", &c->latch);
	snap_u8(s, "elcr", &c->elcr);
	snap_u8(s, "isr", &c->isr);
	snap_u8(s, "imr", &c->imr);
	snap_u8(s, "icw1", &c->icw1);
	snap_u8(s, "icw2", &c->icw2);
	snap_u8(s, "icw3", &c->icw3);
	snap_u8(s, "icw4", &c->icw4);
	snap_u8_max(s, "step", &c->step, WANT_ICW4);
	snap_u8_max(s, "highest", &c->highest, 7);
	snap_bool(s, "read_isr", &c->read_isr);
	snap_bool(s, "poll", &c->poll);
	snap_bool(s, "special_mask", &c->special_mask);
	snap_bool(s, "rotate_aeoi", &c->rotate_aeoi);
	if (snap_loading(s)) {
		c->elcr &= elcr_max;
		c->icw2 &= 0xf8;
	}
}

static void pic_snap(struct device *dev, struct snap *s)
{
	struct pic *p = container_of(dev, struct pic, dev);

	snap_section(s, dev->name, 1);
	chip_snap(&p->chip[0], s, elcr_mask[0]);
	chip_snap(&p->chip[1], s, elcr_mask[1]);
	if (!snap_loading(s))
		return;
	p->out = chip_pending(&p->chip[0]) >= 0;
	p->intr(p->ctx, p->out);
}

static void pic_destroy(struct device *dev)
{
	free(container_of(dev, struct pic, dev));
}

struct pic *pic_new(void (*intr)(void *ctx, bool level), void *ctx)
{
	static const char *const name[3] = {"pic0", "pic1", "elcr"};
	struct pic *p = xcalloc(1, sizeof(*p));

	p->dev = (struct device){"pic", pic_reset, pic_snap, pic_destroy};
	p->intr = intr;
	p->ctx = ctx;
	for (unsigned i = 0; i < ARRAY_SIZE(p->region); i++)
		region_init(&p->region[i], name[i], 2, &pic_ops[i], p);
	pic_reset(&p->dev);
	return p;
}

void pic_print(const struct pic *p, FILE *out)
{
	for (unsigned n = 0; n < ARRAY_SIZE(p->chip); n++) {
		const struct chip *c = &p->chip[n];

		fprintf(out,
			"pic%u: irr=%02x imr=%02x isr=%02x hprio=%u irq_base=%02x elcr=%02x "
			"lines=%02x\n",
			n, (c->latch & ~c->elcr) | (c->lines & c->elcr), c->imr, c->isr, c->highest,
			c->icw2 & 0xf8, c->elcr, c->lines);
	}
}

struct device *pic_device(struct pic *p)
{
	return &p->dev;
}

struct bus_region *pic_region(struct pic *p, enum pic_region_id id)
{
	return &p->region[id];
}
