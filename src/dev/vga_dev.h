/*
 * vga_dev.h - between vga.c (registers), vga_memory.c (the window at A0000h),
 * vga_vbe.c (Bochs VBE) and vga_draw.c (what the monitor shows).
 */
#ifndef TINAMOU_VGA_DEV_H
#define TINAMOU_VGA_DEV_H

#include "dev/vga.h"

/* CRTC registers. */
enum {
	CRTC_HDISP_END = 0x01,
	CRTC_OVERFLOW = 0x07,
	CRTC_PRESET_SCAN = 0x08,
	CRTC_MAX_SCAN = 0x09,
	CRTC_CURSOR_START = 0x0a,
	CRTC_CURSOR_END = 0x0b,
	CRTC_START_HIGH = 0x0c,
	CRTC_START_LOW = 0x0d,
	CRTC_CURSOR_HIGH = 0x0e,
	CRTC_CURSOR_LOW = 0x0f,
	CRTC_VSYNC_END = 0x11,
	CRTC_VDISP_END = 0x12,
	CRTC_OFFSET = 0x13,
	CRTC_MODE = 0x17,
	CRTC_LINE_COMPARE = 0x18,
	CRTC_COUNT = 0x19
};
enum {
	CURSOR_OFF = 0x20,
	VSYNC_PROTECT = 0x80,
	OVERFLOW_LINE_COMPARE = 0x10,
	MAX_SCAN_DOUBLE = 0x80,
	MAX_SCAN_LINE_COMPARE = 0x40,
	MODE_NO_CGA = 0x01, /* address bit 13 is not the row scan counter's bit 0 */
	MODE_BYTE = 0x40
};
enum { SEQ_CLOCKING = 1, SEQ_MAP_MASK = 2, SEQ_FONT = 3, SEQ_MEMORY = 4, SEQ_COUNT = 5 };
enum { CLOCKING_8_DOTS = 1, CLOCKING_HALF = 8, CLOCKING_SCREEN_OFF = 0x20 };
enum { MEMORY_SEQUENTIAL = 4, MEMORY_CHAIN4 = 8 };
enum {
	GC_SET_RESET = 0,
	GC_ENABLE_SET_RESET = 1,
	GC_COLOUR_COMPARE = 2,
	GC_ROTATE = 3,
	GC_READ_MAP = 4,
	GC_MODE = 5,
	GC_MISC = 6,
	GC_DONT_CARE = 7,
	GC_BIT_MASK = 8,
	GC_COUNT = 9
};
enum { GC_MODE_READ = 8, GC_MODE_INTERLEAVE = 0x20, GC_MODE_256 = 0x40, GC_GRAPHICS = 1 };
enum {
	ATTR_MODE = 0x10,
	ATTR_OVERSCAN = 0x11,
	ATTR_PLANES = 0x12,
	ATTR_PANNING = 0x13,
	ATTR_COLOUR_SELECT = 0x14,
	ATTR_COUNT = 0x15
};
enum {
	ATTR_LINE_GRAPHICS = 4,
	ATTR_BLINK = 8,
	ATTR_PANNING_COMPATIBLE = 0x20,
	ATTR_PIXEL_WIDTH = 0x40,
	ATTR_P54 = 0x80
};
enum { ATTR_PAS = 0x20, ATTR_INDEX = 0x1f };
enum { DAC_SIZE = 768 };

/* VBE: registers by index, and bits of VBE_ENABLE. */
enum {
	VBE_ID,
	VBE_XRES,
	VBE_YRES,
	VBE_BPP,
	VBE_ENABLE,
	VBE_BANK,
	VBE_VIRT_WIDTH,
	VBE_VIRT_HEIGHT,
	VBE_X_OFFSET,
	VBE_Y_OFFSET,
	VBE_MEMORY,
	VBE_COUNT
};
enum { VBE_ENABLED = 1, VBE_GETCAPS = 2, VBE_8BIT_DAC = 0x20, VBE_LFB = 0x40, VBE_NOCLEAR = 0x80 };

#define VGA_PLANES_SIZE 0x40000 /* what the VGA registers reach: four planes of 64 KiB */
#define VGA_PLANE_MASK  0xffff

struct vga {
	struct device dev;
	struct bus_region region[VGA_REGIONS];
	struct clock *clock;
	const uint8_t *font; /* that reset loads; NULL: none */

	uint8_t crtc[CRTC_COUNT], seq[SEQ_COUNT], gc[GC_COUNT], attr[ATTR_COUNT];
	uint8_t crtc_index, seq_index, gc_index, attr_index; /* as written */
	bool attr_data;                                      /* the next write to 3C0h is data */
	uint8_t misc, feature;
	uint8_t dac[DAC_SIZE], dac_mask, dac_state;
	uint16_t dac_read, dac_write; /* index * 3 + colour */
	uint8_t latch[4];

	uint16_t vbe[VBE_COUNT], vbe_index;
	bool vbe_used; /* memory behind the planes may be other than 0 */

	/*
	 * Byte a of plane p is ram[a * 4 + p], so that chained modes and the linear
	 * frame buffer are the same bytes. The CRTC's counter is a in all modes.
	 */
	uint8_t *ram;
	bool touched;
	uint64_t generation;
};

/* ---- vga_memory.c ---- */
extern const struct bus_ops vga_memory_ops;

/* ---- vga_vbe.c ---- */
extern const struct bus_ops vga_vbe_ops, vga_mmio_ops;
void vga_vbe_reset(struct vga *v);
void vga_vbe_snap(struct vga *v, struct snap *s);
static inline bool vga_vbe_on(const struct vga *v)
{
	return v->vbe[VBE_ENABLE] & VBE_ENABLED;
}
/* A pixel line in bytes, and the first visible byte; both of checked registers. */
uint32_t vga_vbe_pitch(const struct vga *v);
uint32_t vga_vbe_start(const struct vga *v);

/* ---- vga.c ---- */
uint64_t vga_ports_read(void *ctx, uint64_t off, unsigned size);
void vga_ports_write(void *ctx, uint64_t off, unsigned size, uint64_t value);
uint64_t vga_crtc_read(struct vga *v, uint64_t off);
void vga_crtc_write(struct vga *v, uint64_t off, uint8_t value);
bool vga_blanked(const struct vga *v);
static inline unsigned vga_crtc_pair(const struct vga *v, unsigned high)
{
	return v->crtc[high] << 8 | v->crtc[high + 1];
}
/* Lines of the picture, before doubling is taken out. */
unsigned vga_lines(const struct vga *v);

#endif
