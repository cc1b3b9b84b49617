/*
 * vga_memory.c - the window at A0000h: planes, latches, write and read modes
 * (IBM VGA technical reference, graphics controller and sequencer).
 *
 * A CPU address is turned into a byte of a plane by three schemes: chained by
 * four (mode 13h), odd/even (text), or all planes at once. Under VBE the window
 * is 64 KiB of linear memory, chosen by the bank register.
 * Lock: vm->lock.
 */
#include <string.h>

#include "dev/vga_dev.h"
#include "util/util.h"

/* Offset within the window that GC_MISC maps (VBE: 64 KiB at A0000h), or -1: not mapped. */
static int64_t window_offset(const struct vga *v, uint64_t off)
{
	static const struct {
		uint32_t base, size;
	} window[4] = {{0, 0x20000}, {0, 0x10000}, {0x10000, 0x8000}, {0x18000, 0x8000}};
	unsigned map = vga_vbe_on(v) ? 1 : v->gc[GC_MISC] >> 2 & 3;

	if (off < window[map].base || off - window[map].base >= window[map].size)
		return -1;
	return (int64_t)(off - window[map].base);
}

static bool chain4(const struct vga *v)
{
	return v->seq[SEQ_MEMORY] & MEMORY_CHAIN4;
}

static bool odd_even(const struct vga *v)
{
	return !(v->seq[SEQ_MEMORY] & MEMORY_SEQUENTIAL);
}

static uint8_t *plane_byte(struct vga *v, unsigned addr, unsigned plane)
{
	return &v->ram[(addr & VGA_PLANE_MASK) * 4 + plane];
}

/* The byte behind a linear or chained address. */
static uint8_t *linear_byte(struct vga *v, uint64_t off)
{
	if (vga_vbe_on(v)) {
		uint64_t at = v->vbe[VBE_BANK] * UINT64_C(0x10000) + (off & 0xffff);

		return &v->ram[at % VGA_FRAME_BUFFER_SIZE];
	}
	return &v->ram[off & (VGA_PLANES_SIZE - 1)];
}

static bool is_linear(const struct vga *v)
{
	return chain4(v) || (vga_vbe_on(v) && v->vbe[VBE_BPP] > 4);
}

/* ---- reading ---- */

static uint8_t read_compare(const struct vga *v)
{
	uint8_t differ = 0;

	for (unsigned p = 0; p < 4; p++) {
		uint8_t want = v->gc[GC_COLOUR_COMPARE] >> p & 1 ? 0xff : 0;

		if (v->gc[GC_DONT_CARE] >> p & 1)
			differ |= v->latch[p] ^ want;
	}
	return ~differ;
}

static uint8_t read_byte(struct vga *v, uint64_t off)
{
	unsigned plane = v->gc[GC_READ_MAP] & 3;
	uint64_t addr = off;

	if (is_linear(v))
		return *linear_byte(v, off);
	if (odd_even(v)) {
		plane = (plane & 2) | (off & 1);
		addr = off >> 1;
	}
	for (unsigned p = 0; p < 4; p++)
		v->latch[p] = *plane_byte(v, (unsigned)addr, p);
	return v->gc[GC_MODE] & GC_MODE_READ ? read_compare(v) : v->latch[plane];
}

static uint64_t memory_read(void *ctx, uint64_t off, unsigned size)
{
	struct vga *v = ctx;
	uint64_t value = 0;

	for (unsigned i = 0; i < size; i++) {
		int64_t at = window_offset(v, off + i);

		value |= (uint64_t)(at < 0 ? 0xff : read_byte(v, (uint64_t)at)) << (i * 8);
	}
	return value;
}

/* ---- writing ---- */

static void store(struct vga *v, uint8_t *p, uint8_t byte)
{
	v->generation += *p != byte;
	*p = byte;
}

static uint8_t spread(unsigned bit)
{
	return bit & 1 ? 0xff : 0;
}

static uint8_t rotate(const struct vga *v, uint8_t byte)
{
	unsigned n = v->gc[GC_ROTATE] & 7;

	return (uint8_t)(byte >> n | byte << (8 - n));
}

static uint8_t combine(const struct vga *v, uint8_t byte, uint8_t latch)
{
	switch (v->gc[GC_ROTATE] >> 3 & 3) {
	case 1:
		return byte & latch;
	case 2:
		return byte | latch;
	case 3:
		return byte ^ latch;
	default:
		return byte;
	}
}

/* What plane p gets of a byte from the CPU. */
static uint8_t plane_value(const struct vga *v, unsigned p, uint8_t byte)
{
	uint8_t mask = v->gc[GC_BIT_MASK], set = spread(v->gc[GC_SET_RESET] >> p);

	switch (v->gc[GC_MODE] & 3) {
	case 0:
		byte = v->gc[GC_ENABLE_SET_RESET] >> p & 1 ? set : rotate(v, byte);
		break;
	case 1:
		return v->latch[p];
	case 2:
		byte = spread(byte >> p);
		break;
	default:
		mask &= rotate(v, byte);
		byte = set;
		break;
	}
	byte = combine(v, byte, v->latch[p]);
	return (byte & mask) | (v->latch[p] & ~mask);
}

static void write_byte(struct vga *v, uint64_t off, uint8_t byte)
{
	unsigned planes = v->seq[SEQ_MAP_MASK] & 0xf;
	uint64_t addr = off;

	if (is_linear(v)) {
		if (vga_vbe_on(v) || planes >> (off & 3) & 1)
			store(v, linear_byte(v, off), byte);
		return;
	}
	if (odd_even(v)) {
		planes &= off & 1 ? 0xa : 0x5;
		addr = off >> 1;
	}
	for (unsigned p = 0; p < 4; p++)
		if (planes >> p & 1)
			store(v, plane_byte(v, (unsigned)addr, p), plane_value(v, p, byte));
}

static void memory_write(void *ctx, uint64_t off, unsigned size, uint64_t value)
{
	struct vga *v = ctx;

	v->touched = true;
	for (unsigned i = 0; i < size; i++) {
		int64_t at = window_offset(v, off + i);

		if (at >= 0)
			write_byte(v, (uint64_t)at, (uint8_t)(value >> (i * 8)));
	}
}

const struct bus_ops vga_memory_ops = {memory_read, memory_write, 1, 8};
