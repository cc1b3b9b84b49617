/*
 * vga_vbe.c - the VBE extensions of the Bochs display (its registers' list,
 * "vbe_display_api.txt", interface B0C5h): linear modes of 4 to 32 bits a pixel.
 *
 * A mode that does not fit in the memory is not enabled. Lock: vm->lock.
 */
#include <string.h>

#include "dev/vga_dev.h"
#include "util/util.h"

#define ID_FIRST 0xb0c0
#define ID_LAST  0xb0c5
#define MAX_XRES 2560
#define MAX_YRES 1600
#define MAX_BPP  32

enum { MMIO_PORTS = 0x400, MMIO_VBE = 0x500 };

static unsigned bits_per_pixel(const struct vga *v)
{
	return v->vbe[VBE_BPP] == 15 ? 16 : v->vbe[VBE_BPP];
}

/* At 4 bits a pixel the four planes lie side by side: a byte of each is 8 pixels. */
uint32_t vga_vbe_pitch(const struct vga *v)
{
	return v->vbe[VBE_VIRT_WIDTH] * bits_per_pixel(v) / 8;
}

uint32_t vga_vbe_start(const struct vga *v)
{
	return v->vbe[VBE_Y_OFFSET] * vga_vbe_pitch(v) +
	       v->vbe[VBE_X_OFFSET] * bits_per_pixel(v) / 8;
}

static bool bpp_known(unsigned bpp)
{
	return bpp == 4 || bpp == 8 || bpp == 15 || bpp == 16 || bpp == 24 || bpp == 32;
}

static bool mode_fits(const struct vga *v)
{
	uint64_t line = (uint64_t)v->vbe[VBE_XRES] * bits_per_pixel(v) / 8;

	return bpp_known(v->vbe[VBE_BPP]) && v->vbe[VBE_XRES] && v->vbe[VBE_YRES] &&
	       v->vbe[VBE_XRES] <= MAX_XRES && v->vbe[VBE_YRES] <= MAX_YRES &&
	       line * v->vbe[VBE_YRES] <= VGA_FRAME_BUFFER_SIZE;
}

/* The virtual height is what fits; offsets stay within it. */
static void settle(struct vga *v)
{
	uint32_t lines, width = MAX(v->vbe[VBE_VIRT_WIDTH], v->vbe[VBE_XRES]);

	width = MIN(width,
		VGA_FRAME_BUFFER_SIZE / MAX(v->vbe[VBE_YRES], 1) * 8 / bits_per_pixel(v) & ~7u);
	v->vbe[VBE_VIRT_WIDTH] = (uint16_t)MAX(MIN(width, 0xfff8u), v->vbe[VBE_XRES]);
	lines = VGA_FRAME_BUFFER_SIZE / MAX(vga_vbe_pitch(v), 1u);
	v->vbe[VBE_VIRT_HEIGHT] = (uint16_t)MIN(lines, 0xffffu);
	v->vbe[VBE_X_OFFSET] = MIN(v->vbe[VBE_X_OFFSET], v->vbe[VBE_VIRT_WIDTH] - v->vbe[VBE_XRES]);
	v->vbe[VBE_Y_OFFSET] =
		MIN(v->vbe[VBE_Y_OFFSET], v->vbe[VBE_VIRT_HEIGHT] - v->vbe[VBE_YRES]);
}

static void enable(struct vga *v, uint16_t value)
{
	bool was = vga_vbe_on(v);

	if (value & VBE_ENABLED && !was && !mode_fits(v))
		value &= ~VBE_ENABLED;
	v->vbe[VBE_ENABLE] = value & (VBE_ENABLED | VBE_GETCAPS | VBE_8BIT_DAC | VBE_LFB);
	if (!vga_vbe_on(v) || was)
		return;
	v->vbe[VBE_VIRT_WIDTH] = v->vbe[VBE_XRES];
	v->vbe[VBE_X_OFFSET] = v->vbe[VBE_Y_OFFSET] = v->vbe[VBE_BANK] = 0;
	settle(v);
	v->vbe_used = true;
	if (!(value & VBE_NOCLEAR))
		memset(v->ram, 0, (size_t)vga_vbe_pitch(v) * v->vbe[VBE_YRES]);
}

static uint16_t vbe_read(const struct vga *v)
{
	bool caps = v->vbe[VBE_ENABLE] & VBE_GETCAPS;

	switch (v->vbe_index) {
	case VBE_XRES:
		return caps ? MAX_XRES : v->vbe[VBE_XRES];
	case VBE_YRES:
		return caps ? MAX_YRES : v->vbe[VBE_YRES];
	case VBE_BPP:
		return caps ? MAX_BPP : v->vbe[VBE_BPP];
	case VBE_MEMORY:
		return VGA_FRAME_BUFFER_SIZE / 0x10000;
	default:
		return v->vbe_index < VBE_COUNT ? v->vbe[v->vbe_index] : 0;
	}
}

/* Size and depth are fixed while a mode is on. */
static void vbe_write(struct vga *v, uint16_t value)
{
	v->generation++;
	switch (v->vbe_index) {
	case VBE_ID:
		if (value >= ID_FIRST && value <= ID_LAST)
			v->vbe[VBE_ID] = value;
		break;
	case VBE_XRES:
	case VBE_YRES:
	case VBE_BPP:
		if (!vga_vbe_on(v))
			v->vbe[v->vbe_index] = value;
		break;
	case VBE_ENABLE:
		enable(v, value);
		break;
	case VBE_BANK:
		v->vbe[VBE_BANK] = value % (VGA_FRAME_BUFFER_SIZE / 0x10000);
		break;
	case VBE_VIRT_WIDTH:
	case VBE_X_OFFSET:
	case VBE_Y_OFFSET:
		v->vbe[v->vbe_index] = value;
		if (vga_vbe_on(v))
			settle(v);
		break;
	default:
		break;
	}
}

/* 1CEh is the index; data at 1CFh, and at 1D0h for those who want it aligned. */
static uint64_t ports_read(void *ctx, uint64_t off, unsigned size)
{
	const struct vga *v = ctx;

	return off ? vbe_read(v) : v->vbe_index;
}

static void ports_write(void *ctx, uint64_t off, unsigned size, uint64_t value)
{
	struct vga *v = ctx;

	if (off)
		vbe_write(v, (uint16_t)value);
	else
		v->vbe_index = (uint16_t)value;
}

const struct bus_ops vga_vbe_ops = {ports_read, ports_write, 2, 2};

/* ---- the ports again, as memory: 3C0h-3DFh at 400h, VBE register n at 500h + 2n ---- */

static bool is_vbe(uint64_t off, unsigned size)
{
	return off >= MMIO_VBE && off < MMIO_VBE + 2 * VBE_COUNT && size == 2;
}

static uint8_t port_read(struct vga *v, uint64_t off)
{
	uint64_t port = off - MMIO_PORTS;

	if (off < MMIO_PORTS || port >= 0x20 || (port >= 0x10 && port < 0x14))
		return 0;
	return (uint8_t)(port < 0x10 ? vga_ports_read(v, port, 1) : vga_crtc_read(v, port - 0x14));
}

static void port_write(struct vga *v, uint64_t off, uint8_t value)
{
	uint64_t port = off - MMIO_PORTS;

	if (off < MMIO_PORTS || port >= 0x20 || (port >= 0x10 && port < 0x14))
		return;
	if (port < 0x10)
		vga_ports_write(v, port, 1, value);
	else
		vga_crtc_write(v, port - 0x14, value);
}

static uint64_t mmio_read(void *ctx, uint64_t off, unsigned size)
{
	struct vga *v = ctx;
	uint16_t index = v->vbe_index, value = 0;

	if (is_vbe(off, size)) {
		v->vbe_index = (uint16_t)((off - MMIO_VBE) / 2);
		value = vbe_read(v);
		v->vbe_index = index;
		return value;
	}
	for (unsigned i = 0; i < size; i++)
		value |= port_read(v, off + i) << (i * 8);
	return value;
}

static void mmio_write(void *ctx, uint64_t off, unsigned size, uint64_t value)
{
	struct vga *v = ctx;
	uint16_t index = v->vbe_index;

	if (is_vbe(off, size)) {
		v->vbe_index = (uint16_t)((off - MMIO_VBE) / 2);
		vbe_write(v, (uint16_t)value);
		v->vbe_index = index;
		return;
	}
	for (unsigned i = 0; i < size; i++)
		port_write(v, off + i, (uint8_t)(value >> (i * 8)));
}

const struct bus_ops vga_mmio_ops = {mmio_read, mmio_write, 1, 2};

void vga_vbe_reset(struct vga *v)
{
	memset(v->vbe, 0, sizeof(v->vbe));
	v->vbe[VBE_ID] = ID_LAST;
	v->vbe_index = 0;
}

void vga_vbe_snap(struct vga *v, struct snap *s)
{
	static const char *const name[VBE_COUNT] = {"vbe_id", "vbe_xres", "vbe_yres", "vbe_bpp",
		"vbe_enable", "vbe_bank", "vbe_virt_width", "vbe_virt_height", "vbe_x_offset",
		"vbe_y_offset", "vbe_memory"};

	for (unsigned i = 0; i < VBE_COUNT; i++)
		snap_u16(s, name[i], &v->vbe[i]);
	snap_u16(s, "vbe_index", &v->vbe_index);
	if (!snap_loading(s))
		return;
	v->vbe[VBE_BANK] %= VGA_FRAME_BUFFER_SIZE / 0x10000;
	if (!vga_vbe_on(v))
		return;
	if (mode_fits(v))
		settle(v);
	else
		snap_fail(s, "vbe_enable", "a mode that does not fit");
	if (!mode_fits(v))
		v->vbe[VBE_ENABLE] = 0;
}
