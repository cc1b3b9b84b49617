/*
 * sysctl.c - system control ports (IBM PS/2 technical reference for 61h and
 * 92h, Intel 82371SB PIIX3 datasheet 2.5 for 61h and CF9h).
 *
 * Port 61h steers counter 2 of the PIT and shows its output; bit 4 toggles with
 * every memory refresh. There is no speaker, parity or I/O check behind it.
 * A20 is open if port 92h or the keyboard controller opens it.
 * Lock: vm->lock.
 */
#include "dev/sysctl.h"

#include <stdlib.h>

#include "dev/devutil.h"
#include "dev/pit.h"
#include "util/util.h"

enum { B_GATE2 = 1, B_WRITABLE = 0x0f, B_REFRESH = 0x10, B_OUT2 = 0x20 };
enum { A_FAST_RESET = 1, A_A20 = 2 };
enum { RC_SYSTEM = 2, RC_CPU = 4, RC_FULL = 8, RC_WRITABLE = 0x0e };

#define REFRESH_NS 15085

struct sysctl {
	struct device dev;
	struct bus_region region[3];
	struct clock *clock;
	struct sysctl_wires wires;
	uint8_t port_b, port_a, reset_control;
	bool kbc_a20; /* input */
	bool a20;     /* what the board was told */
};

static void update_a20(struct sysctl *c)
{
	bool open = c->kbc_a20 || (c->port_a & A_A20);

	if (open == c->a20)
		return;
	c->a20 = open;
	c->wires.a20(c->wires.ctx, open);
}

void sysctl_kbc_a20(struct sysctl *c, bool open)
{
	c->kbc_a20 = open;
	update_a20(c);
}

static uint64_t port_b_read(void *ctx, uint64_t off, unsigned size)
{
	struct sysctl *c = ctx;
	uint8_t v = c->port_b;

	if (clock_now(c->clock) / REFRESH_NS & 1)
		v |= B_REFRESH;
	if (pit_out2(c->wires.pit))
		v |= B_OUT2;
	return v;
}

static void port_b_write(void *ctx, uint64_t off, unsigned size, uint64_t value)
{
	struct sysctl *c = ctx;

	c->port_b = value & B_WRITABLE;
	pit_gate2(c->wires.pit, c->port_b & B_GATE2);
}

static uint64_t port_a_read(void *ctx, uint64_t off, unsigned size)
{
	struct sysctl *c = ctx;

	return c->port_a;
}

/* The reset pulse comes with the 0 to 1 transition of its bit. */
static void port_a_write(void *ctx, uint64_t off, unsigned size, uint64_t value)
{
	struct sysctl *c = ctx;
	bool reset = value & ~c->port_a & A_FAST_RESET;

	c->port_a = value & (A_FAST_RESET | A_A20);
	update_a20(c);
	if (reset)
		c->wires.reset(c->wires.ctx);
}

static uint64_t reset_read(void *ctx, uint64_t off, unsigned size)
{
	struct sysctl *c = ctx;

	return c->reset_control;
}

/* Soft and hard reset are one to a machine without power supply. */
static void reset_write(void *ctx, uint64_t off, unsigned size, uint64_t value)
{
	struct sysctl *c = ctx;
	bool reset = value & ~c->reset_control & RC_CPU;

	c->reset_control = value & RC_WRITABLE;
	if (reset)
		c->wires.reset(c->wires.ctx);
}

static const struct bus_ops sysctl_ops[3] = {
	[SYSCTL_PORT_B] = {port_b_read, port_b_write, 1, 1},
	[SYSCTL_PORT_A] = {port_a_read, port_a_write, 1, 1},
	[SYSCTL_RESET] = {reset_read, reset_write, 1, 1},
};

static void sysctl_reset(struct device *dev)
{
	struct sysctl *c = container_of(dev, struct sysctl, dev);

	c->port_b = c->port_a = c->reset_control = 0;
	pit_gate2(c->wires.pit, false);
	update_a20(c);
}

static void sysctl_snap(struct device *dev, struct snap *s)
{
	struct sysctl *c = container_of(dev, struct sysctl, dev);

	snap_section(s, dev->name, 1);
	snap_u8_max(s, "port_b", &c->port_b, B_WRITABLE);
	snap_u8_max(s, "port_a", &c->port_a, A_FAST_RESET | A_A20);
	snap_u8_max(s, "reset_control", &c->reset_control, RC_WRITABLE);
	snap_bool(s, "kbc_a20", &c->kbc_a20);
	if (snap_loading(s))
		update_a20(c);
}

static void sysctl_destroy(struct device *dev)
{
	free(container_of(dev, struct sysctl, dev));
}

struct sysctl *sysctl_new(struct clock *clock, const struct sysctl_wires *wires)
{
	static const char *const name[3] = {"port-61h", "port-92h", "reset-control"};
	struct sysctl *c = xcalloc(1, sizeof(*c));

	c->dev = (struct device){"sysctl", sysctl_reset, sysctl_snap, sysctl_destroy};
	c->clock = clock;
	c->wires = *wires;
	c->kbc_a20 = c->a20 = true;
	for (unsigned i = 0; i < ARRAY_SIZE(c->region); i++)
		region_init(&c->region[i], name[i], 1, &sysctl_ops[i], c);
	sysctl_reset(&c->dev);
	return c;
}

struct device *sysctl_device(struct sysctl *c)
{
	return &c->dev;
}

struct bus_region *sysctl_region(struct sysctl *c, enum sysctl_region_id id)
{
	return &c->region[id];
}
