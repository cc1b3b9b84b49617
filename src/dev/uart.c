/*
 * uart.c - 16550A serial port (National Semiconductor PC16550D datasheet, section 8).
 *
 * The transmitter is infinitely fast: what is written to THR is out at once,
 * so THRE and TEMT always read as set. The receiver takes bytes as fast as the
 * guest reads them; only the character timeout follows the programmed speed.
 * Modem inputs are those of a null modem that is plugged in: DCD, DSR, CTS.
 * Left out: DMA mode, and the PC's gating of the interrupt by OUT2, which
 * guests in the wild do not set.
 * Lock: vm->lock.
 */
#include "dev/uart.h"

#include <stdlib.h>
#include <string.h>

#include "dev/devutil.h"
#include "util/util.h"

enum { RBR_THR = 0, IER = 1, IIR_FCR = 2, LCR = 3, MCR = 4, LSR = 5, MSR = 6, SCR = 7 };

enum { IER_ERBFI = 1, IER_ETBEI = 2, IER_ELSI = 4, IER_EDSSI = 8 };
enum { IIR_NONE = 1, IIR_MODEM = 0, IIR_THRE = 2, IIR_RDA = 4, IIR_LINE = 6, IIR_TIMEOUT = 12 };
enum { IIR_FIFOS = 0xc0 };
enum { FCR_ENABLE = 1, FCR_CLEAR_RX = 2, FCR_KEPT = 0xc9 };
enum { LCR_WLS = 3, LCR_STB = 4, LCR_PEN = 8, LCR_BREAK = 0x40, LCR_DLAB = 0x80 };
enum { MCR_DTR = 1, MCR_RTS = 2, MCR_OUT1 = 4, MCR_OUT2 = 8, MCR_LOOP = 0x10, MCR_ALL = 0x1f };
enum { LSR_DR = 1, LSR_OE = 2, LSR_PE = 4, LSR_FE = 8, LSR_BI = 0x10, LSR_THRE = 0x20 };
enum { LSR_TEMT = 0x40, LSR_FIFO_ERROR = 0x80 };
enum { LSR_CHAR_ERRORS = LSR_PE | LSR_FE | LSR_BI, LSR_ERRORS = LSR_OE | LSR_CHAR_ERRORS };
enum { MSR_TERI = 4, MSR_CTS = 0x10, MSR_DSR = 0x20, MSR_RI = 0x40, MSR_DCD = 0x80 };
enum { MSR_PLUGGED = MSR_CTS | MSR_DSR | MSR_DCD };

#define FIFO_SIZE  16
#define CRYSTAL_HZ 1843200

struct uart {
	struct device dev;
	struct bus_region region;
	struct irq irq;
	struct chardev *chr;
	struct timer timeout;

	uint8_t ier, fcr, lcr, mcr, scr;
	uint8_t dll, dlm;
	uint8_t lsr;       /* the error bits that stay until LSR is read */
	uint8_t msr_delta; /* bits 0-3 */
	uint8_t rbr;       /* last character read */

	uint8_t rx[FIFO_SIZE], rx_error[FIFO_SIZE]; /* error: LSR bits of the character */
	uint8_t rx_head, rx_count;

	bool thre_intr; /* THR became empty since IIR said so */
	bool timed_out; /* characters below the trigger level waited too long */
	bool starved;   /* the back end waits for room; host side, not saved */
};

static bool fifo_mode(const struct uart *u)
{
	return u->fcr & FCR_ENABLE;
}

static unsigned rx_capacity(const struct uart *u)
{
	return fifo_mode(u) ? FIFO_SIZE : 1;
}

static unsigned rx_trigger(const struct uart *u)
{
	static const uint8_t level[4] = {1, 4, 8, 14};

	return fifo_mode(u) ? level[u->fcr >> 6] : 1;
}

/* MSR bits 4-7; in loopback they are the modem outputs (8.7). */
static uint8_t modem_inputs(const struct uart *u)
{
	if (!(u->mcr & MCR_LOOP))
		return MSR_PLUGGED;
	return (u->mcr & MCR_RTS ? MSR_CTS : 0) | (u->mcr & MCR_DTR ? MSR_DSR : 0) |
	       (u->mcr & MCR_OUT1 ? MSR_RI : 0) | (u->mcr & MCR_OUT2 ? MSR_DCD : 0);
}

/* The interrupt of the highest priority, as IIR shows it (table IV). */
static uint8_t pending_interrupt(const struct uart *u)
{
	if ((u->ier & IER_ELSI) && (u->lsr & LSR_ERRORS))
		return IIR_LINE;
	if ((u->ier & IER_ERBFI) && u->rx_count >= rx_trigger(u))
		return IIR_RDA;
	if ((u->ier & IER_ERBFI) && u->timed_out)
		return IIR_TIMEOUT;
	if ((u->ier & IER_ETBEI) && u->thre_intr)
		return IIR_THRE;
	if ((u->ier & IER_EDSSI) && u->msr_delta)
		return IIR_MODEM;
	return IIR_NONE;
}

static void update_irq(struct uart *u)
{
	irq_set(u->irq, pending_interrupt(u) != IIR_NONE);
}

/* One character: start bit, 5-8 data bits, parity, 1-2 stop bits. */
static uint64_t character_ns(const struct uart *u)
{
	unsigned bits =
		1 + 5 + (u->lcr & LCR_WLS) + !!(u->lcr & LCR_PEN) + (u->lcr & LCR_STB ? 2 : 1);
	unsigned divisor = MAX(u->dlm << 8 | u->dll, 1);

	return clock_muldiv((uint64_t)bits * 16 * divisor, NSEC_PER_SEC, CRYSTAL_HZ);
}

static void restart_timeout(struct uart *u)
{
	if (fifo_mode(u) && u->rx_count)
		timer_arm(&u->timeout, clock_now(u->timeout.clock) + 4 * character_ns(u));
	else
		timer_cancel(&u->timeout);
}

static void timeout_due(void *ctx)
{
	struct uart *u = ctx;

	u->timed_out = u->rx_count > 0;
	update_irq(u);
}

/* A character's errors show in LSR once it is the next to be read. */
static void rx_reveal(struct uart *u)
{
	if (u->rx_count) {
		u->lsr |= u->rx_error[u->rx_head] & LSR_CHAR_ERRORS;
		u->rx_error[u->rx_head] = 0;
	}
}

static void rx_clear(struct uart *u)
{
	memset(u->rx_error, 0, sizeof(u->rx_error));
	u->rx_head = u->rx_count = 0;
	u->timed_out = false;
	timer_cancel(&u->timeout);
}

/* A full FIFO loses the new character, a full RBR the old one. */
static void rx_push(struct uart *u, uint8_t c, uint8_t error)
{
	unsigned slot;

	if (u->rx_count == rx_capacity(u)) {
		u->lsr |= LSR_OE;
		if (fifo_mode(u))
			return;
		u->rx_count = 0;
	}
	slot = (u->rx_head + u->rx_count) % FIFO_SIZE;
	u->rx[slot] = c;
	u->rx_error[slot] = error;
	u->rx_count++;
	if (u->rx_count == 1)
		rx_reveal(u);
	restart_timeout(u);
}

static uint8_t rx_pop(struct uart *u)
{
	if (u->rx_count) {
		u->rbr = u->rx[u->rx_head];
		u->rx_head = (u->rx_head + 1) % FIFO_SIZE;
		u->rx_count--;
		rx_reveal(u);
	}
	u->timed_out = false;
	restart_timeout(u);
	return u->rbr;
}

static bool fifo_has_error(const struct uart *u)
{
	for (unsigned i = 0; i < u->rx_count; i++)
		if (u->rx_error[(u->rx_head + i) % FIFO_SIZE])
			return true;
	return false;
}

/* Last in a handler: the back end may push characters from inside. */
static void offer_room(struct uart *u)
{
	if (!u->starved || (u->mcr & MCR_LOOP) || u->rx_count == rx_capacity(u))
		return;
	u->starved = false;
	if (u->chr && u->chr->room)
		u->chr->room(u->chr->backend);
}

/* In loopback SIN is cut off: the line waits rather than loses what the user typed. */
static size_t chr_input(void *device, const uint8_t *data, size_t len)
{
	struct uart *u = device;
	size_t n = 0;

	if (!(u->mcr & MCR_LOOP))
		while (n < len && u->rx_count < rx_capacity(u))
			rx_push(u, data[n++], 0);
	u->starved = n < len;
	update_irq(u);
	return n;
}

static void chr_break(void *device)
{
	struct uart *u = device;

	if (u->mcr & MCR_LOOP)
		return;
	rx_push(u, 0, LSR_BI);
	update_irq(u);
}

static uint8_t read_iir(struct uart *u)
{
	uint8_t iir = pending_interrupt(u);

	if (iir == IIR_THRE)
		u->thre_intr = false;
	return iir | (fifo_mode(u) ? IIR_FIFOS : 0);
}

static uint8_t read_lsr(struct uart *u)
{
	uint8_t v = LSR_THRE | LSR_TEMT | u->lsr | (u->rx_count ? LSR_DR : 0);

	if (fifo_mode(u) && ((u->lsr & LSR_CHAR_ERRORS) || fifo_has_error(u)))
		v |= LSR_FIFO_ERROR;
	u->lsr = 0;
	return v;
}

static uint8_t read_msr(struct uart *u)
{
	uint8_t v = modem_inputs(u) | u->msr_delta;

	u->msr_delta = 0;
	return v;
}

static uint8_t read_register(struct uart *u, unsigned reg)
{
	bool dlab = u->lcr & LCR_DLAB;

	switch (reg) {
	case RBR_THR:
		return dlab ? u->dll : rx_pop(u);
	case IER:
		return dlab ? u->dlm : u->ier;
	case IIR_FCR:
		return read_iir(u);
	case LCR:
		return u->lcr;
	case MCR:
		return u->mcr;
	case LSR:
		return read_lsr(u);
	case MSR:
		return read_msr(u);
	default:
		return u->scr;
	}
}

/* The character leaves at once, so THR is empty again: a new THRE event. */
static void transmit(struct uart *u, uint8_t c)
{
	c &= 0xff >> (3 - (u->lcr & LCR_WLS));
	if (u->mcr & MCR_LOOP)
		rx_push(u, c, 0);
	else
		chardev_write(u->chr, &c, 1);
	u->thre_intr = true;
}

/* Enabling the THRE interrupt while THR is empty raises it. */
static void write_ier(struct uart *u, uint8_t v)
{
	if ((v & IER_ETBEI) && !(u->ier & IER_ETBEI))
		u->thre_intr = true;
	u->ier = v & 0x0f;
}

/* Both FIFOs are cleared when the mode changes; other bits need FCR_ENABLE (8.4). */
static void write_fcr(struct uart *u, uint8_t v)
{
	bool mode_changes = (v ^ u->fcr) & FCR_ENABLE;

	u->fcr = v & FCR_ENABLE ? v & FCR_KEPT : 0;
	if (mode_changes || (v & FCR_CLEAR_RX))
		rx_clear(u);
}

static void write_lcr(struct uart *u, uint8_t v)
{
	bool break_starts = v & ~u->lcr & LCR_BREAK;

	u->lcr = v;
	if (break_starts && (u->mcr & MCR_LOOP))
		rx_push(u, 0, LSR_BI);
}

static void write_mcr(struct uart *u, uint8_t v)
{
	uint8_t before = modem_inputs(u), after, delta;

	u->mcr = v & MCR_ALL;
	after = modem_inputs(u);
	delta = (before ^ after) >> 4;
	if (!(before & ~after & MSR_RI)) /* RI counts only when it ends */
		delta &= ~MSR_TERI;
	u->msr_delta |= delta;
}

static void write_register(struct uart *u, unsigned reg, uint8_t v)
{
	bool dlab = u->lcr & LCR_DLAB;

	switch (reg) {
	case RBR_THR:
		if (dlab)
			u->dll = v;
		else
			transmit(u, v);
		break;
	case IER:
		if (dlab)
			u->dlm = v;
		else
			write_ier(u, v);
		break;
	case IIR_FCR:
		write_fcr(u, v);
		break;
	case LCR:
		write_lcr(u, v);
		break;
	case MCR:
		write_mcr(u, v);
		break;
	case SCR:
		u->scr = v;
		break;
	default: /* LSR and MSR: writes are for factory tests */
		break;
	}
}

static uint64_t uart_read(void *ctx, uint64_t off, unsigned size)
{
	struct uart *u = ctx;
	uint8_t v = read_register(u, off);

	update_irq(u);
	offer_room(u);
	return v;
}

static void uart_write(void *ctx, uint64_t off, unsigned size, uint64_t value)
{
	struct uart *u = ctx;

	write_register(u, off, value);
	update_irq(u);
	offer_room(u);
}

static const struct bus_ops uart_ops = {uart_read, uart_write, 1, 1};

/* Master reset, table I. SCR and the divisor are not touched by it. */
static void uart_reset(struct device *dev)
{
	struct uart *u = container_of(dev, struct uart, dev);

	u->ier = u->fcr = u->lcr = u->mcr = 0;
	u->lsr = u->msr_delta = 0;
	u->thre_intr = false;
	rx_clear(u);
	update_irq(u);
	offer_room(u);
}

static void uart_snap(struct device *dev, struct snap *s)
{
	struct uart *u = container_of(dev, struct uart, dev);

	snap_section(s, dev->name, 1);
	snap_u8_max(s, "ier", &u->ier, 0x0f);
	snap_u8(s, "fcr", &u->fcr);
	snap_u8(s, "lcr", &u->lcr);
	snap_u8_max(s, "mcr", &u->mcr, MCR_ALL);
	snap_u8(s, "scr", &u->scr);
	snap_u8(s, "dll", &u->dll);
	snap_u8(s, "dlm", &u->dlm);
	snap_u8(s, "lsr", &u->lsr);
	snap_u8_max(s, "msr_delta", &u->msr_delta, 0x0f);
	snap_u8(s, "rbr", &u->rbr);
	snap_bytes(s, "rx", u->rx, sizeof(u->rx));
	snap_bytes(s, "rx_error", u->rx_error, sizeof(u->rx_error));
	snap_u8_max(s, "rx_head", &u->rx_head, FIFO_SIZE - 1);
	snap_u8_max(s, "rx_count", &u->rx_count, FIFO_SIZE);
	snap_bool(s, "thre_intr", &u->thre_intr);
	snap_bool(s, "timed_out", &u->timed_out);
	snap_timer(s, "timeout", &u->timeout);
	if (!snap_loading(s))
		return;
	if (u->rx_count > rx_capacity(u))
		snap_fail(s, "rx_count", "more than one character without FIFO");
	u->lsr &= LSR_ERRORS;
	u->rx_count = MIN(u->rx_count, rx_capacity(u));
	u->starved = true; /* the new back end may have something */
	update_irq(u);
}

static void uart_destroy(struct device *dev)
{
	struct uart *u = container_of(dev, struct uart, dev);

	timer_cancel(&u->timeout);
	if (u->chr) {
		u->chr->input = NULL;
		u->chr->brk = NULL;
		u->chr->device = NULL;
	}
	free(u);
}

struct uart *uart_new(const char *name, struct clock *clock, struct irq irq, struct chardev *chr)
{
	struct uart *u = xcalloc(1, sizeof(*u));

	u->dev = (struct device){name, uart_reset, uart_snap, uart_destroy};
	u->irq = irq;
	u->chr = chr;
	region_init(&u->region, name, 8, &uart_ops, u);
	timer_init(&u->timeout, clock, timeout_due, u);
	if (chr) {
		chr->input = chr_input;
		chr->brk = chr_break;
		chr->device = u;
	}
	u->dll = 12; /* 9600 baud, until the guest says otherwise */
	uart_reset(&u->dev);
	return u;
}

struct device *uart_device(struct uart *u)
{
	return &u->dev;
}

struct bus_region *uart_region(struct uart *u)
{
	return &u->region;
}
