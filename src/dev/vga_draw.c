/*
 * vga_draw.c - from registers and memory to what the monitor shows.
 *
 * As the hardware does: scan line by scan line, character clock by character
 * clock, 8 or 9 dots each, through the palette and the DAC. So text with loaded
 * fonts, 16 and 256 colours, CGA's modes, split screen and panning are one
 * mechanism. What blinks is shown.
 * Left out: overscan, Hercules' addressing (row scan bit 1), skewed displays.
 * Lock: vm->lock.
 */
#include <stdlib.h>
#include <string.h>

#include "dev/vga_dev.h"
#include "util/util.h"

enum { DOTS = 9 };

struct line {
	const struct vga *v;
	uint32_t dac[256];
	uint32_t palette[16];
	unsigned addr, row;   /* CRTC counter of the line's first character, row scan counter */
	bool bottom;          /* below the split */
	unsigned chars, dots; /* character clocks a line, dots each */
};

/* ---- colours ---- */

static uint32_t dac_colour(const struct vga *v, unsigned i)
{
	uint32_t rgb = 0;

	for (unsigned c = 0; c < 3; c++) {
		uint8_t x = v->dac[(i & v->dac_mask) * 3 + c];

		if (!(v->vbe[VBE_ENABLE] & VBE_8BIT_DAC))
			x = (uint8_t)(x << 2 | x >> 4);
		rgb = rgb << 8 | x;
	}
	return rgb;
}

/* The attribute controller: 4 bits to 8, by palette and colour select. */
static unsigned attribute(const struct vga *v, unsigned i)
{
	unsigned colour = v->attr[i & v->attr[ATTR_PLANES] & 0xf] & 0x3f;
	unsigned select = v->attr[ATTR_COLOUR_SELECT];

	if (v->attr[ATTR_MODE] & ATTR_P54)
		colour = (colour & 0xf) | (select & 3) << 4;
	return colour | (select & 0xc) << 4;
}

static void make_colours(struct line *l)
{
	for (unsigned i = 0; i < 256; i++)
		l->dac[i] = dac_colour(l->v, i);
	for (unsigned i = 0; i < 16; i++)
		l->palette[i] = l->dac[attribute(l->v, i)];
}

/* ---- the dots of one character clock ---- */

/* Fonts are 8 KiB each in plane 2; bits 5, 3, 2 choose for attribute bit 3, bits 4, 1, 0 else. */
static uint8_t font_row(const struct line *l, uint8_t ch, uint8_t attr)
{
	unsigned select = l->v->seq[SEQ_FONT], font;

	if (attr & 8)
		font = (select >> 2 & 3) | (select >> 3 & 4);
	else
		font = (select & 3) | (select >> 2 & 4);
	font = (font & 3) * 0x4000 + (font >> 2) * 0x2000;
	return l->v->ram[(size_t)(font + ch * 32 + l->row) * 4 + 2];
}

static bool at_cursor(const struct line *l, unsigned addr)
{
	const struct vga *v = l->v;
	uint8_t start = v->crtc[CRTC_CURSOR_START], end = v->crtc[CRTC_CURSOR_END] & 0x1f;

	return !(start & CURSOR_OFF) && l->row >= (start & 0x1f) && l->row <= end &&
	       (addr & VGA_PLANE_MASK) == vga_crtc_pair(v, CRTC_CURSOR_HIGH);
}

static void text_dots(const struct line *l, unsigned addr, const uint8_t *plane, uint32_t *out)
{
	const struct vga *v = l->v;
	uint8_t ch = plane[0], attr = plane[1], bits = font_row(l, ch, attr);
	unsigned background = attr >> 4 & (v->attr[ATTR_MODE] & ATTR_BLINK ? 7 : 15);
	uint32_t fg = l->palette[attr & 15], bg = l->palette[background];

	if (at_cursor(l, addr))
		bits = 0xff;
	for (unsigned i = 0; i < 8; i++)
		out[i] = bits & 0x80 >> i ? fg : bg;
	out[8] = bits == 0xff && at_cursor(l, addr) ? fg : bg;
	if ((v->attr[ATTR_MODE] & ATTR_LINE_GRAPHICS) && ch >= 0xc0 && ch <= 0xdf)
		out[8] = out[7];
}

static void dots_256(const struct line *l, const uint8_t *plane, uint32_t *out)
{
	for (unsigned i = 0; i < 8; i++)
		out[i] = l->dac[plane[i / 2]];
}

/* CGA: two bits a pixel, four pixels of planes 0 and 2, then four of 1 and 3. */
static void dots_interleaved(const struct line *l, const uint8_t *plane, uint32_t *out)
{
	for (unsigned i = 0; i < 8; i++) {
		unsigned p = i / 4, shift = 6 - i % 4 * 2;

		out[i] = l->palette[(plane[p] >> shift & 3) | (plane[p + 2] >> shift & 3) << 2];
	}
}

static void dots_planar(const struct line *l, const uint8_t *plane, uint32_t *out)
{
	for (unsigned i = 0; i < 8; i++) {
		unsigned index = 0;

		for (unsigned p = 0; p < 4; p++)
			index |= (plane[p] >> (7 - i) & 1u) << p;
		out[i] = l->palette[index];
	}
}

/* CGA's odd lines lie 8 KiB behind; in words where the counter counts words. */
static unsigned fold(const struct line *l, unsigned addr)
{
	unsigned mode = l->v->crtc[CRTC_MODE], bit = mode & MODE_BYTE ? 0x2000 : 0x1000;

	if (mode & MODE_NO_CGA)
		return addr;
	return l->row & 1 ? addr | bit : addr & ~bit;
}

static void character(const struct line *l, unsigned i, uint32_t *out)
{
	const struct vga *v = l->v;
	unsigned addr = fold(l, l->addr + i) & VGA_PLANE_MASK;
	const uint8_t *plane = v->ram + (size_t)addr * 4;

	if (!(v->gc[GC_MISC] & GC_GRAPHICS))
		text_dots(l, addr, plane, out);
	else if (v->gc[GC_MODE] & GC_MODE_256)
		dots_256(l, plane, out);
	else if (v->gc[GC_MODE] & GC_MODE_INTERLEAVE)
		dots_interleaved(l, plane, out);
	else
		dots_planar(l, plane, out);
}

/* ---- lines ---- */

/* In dots; with 9 of them the values count from 8 on. */
static unsigned panning(const struct line *l)
{
	const struct vga *v = l->v;
	unsigned n = v->attr[ATTR_PANNING] & 0xf;

	if (l->bottom && (v->attr[ATTR_MODE] & ATTR_PANNING_COMPATIBLE))
		return 0;
	if (l->dots == 9)
		return n >= 8 ? 0 : n + 1;
	return n & 7;
}

static void draw_line(const struct line *l, uint32_t *out)
{
	unsigned repeat = l->v->seq[SEQ_CLOCKING] & CLOCKING_HALF ? 2 : 1;
	unsigned width = l->chars * l->dots, skip = panning(l), x = 0;

	for (unsigned i = 0; x < width; i++) {
		uint32_t dot[DOTS];

		character(l, i, dot);
		for (unsigned d = i ? 0 : skip; d < l->dots && x < width; d++, x++)
			for (unsigned r = 0; r < repeat; r++)
				out[x * repeat + r] = dot[d];
	}
}

static unsigned line_compare(const struct vga *v)
{
	return v->crtc[CRTC_LINE_COMPARE] | (v->crtc[CRTC_OVERFLOW] & 0x10) << 4 |
	       (v->crtc[CRTC_MAX_SCAN] & MAX_SCAN_LINE_COMPARE) << 3;
}

/* Counters after scan line y. */
static void next_line(struct line *l, unsigned y)
{
	const struct vga *v = l->v;
	unsigned last = v->crtc[CRTC_MAX_SCAN] & 0x1f;

	if (y == line_compare(v)) {
		l->addr = l->row = 0;
		l->bottom = true;
	} else if ((v->crtc[CRTC_MAX_SCAN] & MAX_SCAN_DOUBLE) && !(y & 1)) {
		return;
	} else if (l->row >= last) {
		l->row = 0;
		l->addr += v->crtc[CRTC_OFFSET] * 2;
	} else {
		l->row++;
	}
}

static void draw_vga(const struct vga *v, struct picture *out)
{
	struct line l = {.v = v,
		.addr = vga_crtc_pair(v, CRTC_START_HIGH),
		.row = v->crtc[CRTC_PRESET_SCAN] & 0x1f,
		.chars = v->crtc[CRTC_HDISP_END] + 1,
		.dots = 8};

	if (!(v->gc[GC_MISC] & GC_GRAPHICS) && !(v->seq[SEQ_CLOCKING] & CLOCKING_8_DOTS))
		l.dots = 9;
	out->width = l.chars * l.dots * (v->seq[SEQ_CLOCKING] & CLOCKING_HALF ? 2 : 1);
	out->height = vga_lines(v);
	out->pixel = xcalloc((size_t)out->width * out->height, sizeof(*out->pixel));
	if (vga_blanked(v))
		return;
	make_colours(&l);
	for (unsigned y = 0; y < out->height; y++) {
		draw_line(&l, out->pixel + (size_t)y * out->width);
		next_line(&l, y);
	}
}

/* ---- VBE ---- */

static uint32_t rgb(unsigned r, unsigned g, unsigned b)
{
	return r << 16 | g << 8 | b;
}

static uint32_t pixel_16(uint16_t p)
{
	unsigned r = p >> 11, g = p >> 5 & 0x3f, b = p & 0x1f;

	return rgb(r << 3 | r >> 2, g << 2 | g >> 4, b << 3 | b >> 2);
}

static uint32_t pixel_15(uint16_t p)
{
	unsigned r = p >> 10 & 0x1f, g = p >> 5 & 0x1f, b = p & 0x1f;

	return rgb(r << 3 | r >> 2, g << 3 | g >> 2, b << 3 | b >> 2);
}

/* Pixel x of a line at p. */
static uint32_t vbe_pixel(const struct line *l, const uint8_t *p, unsigned x)
{
	unsigned index = 0;

	switch (l->v->vbe[VBE_BPP]) {
	case 4:
		for (unsigned i = 0; i < 4; i++)
			index |= (p[x / 8 * 4 + i] >> (7 - x % 8) & 1u) << i;
		return l->palette[index];
	case 8:
		return l->dac[p[x]];
	case 15:
		return pixel_15((uint16_t)(p[x * 2] | p[x * 2 + 1] << 8));
	case 16:
		return pixel_16((uint16_t)(p[x * 2] | p[x * 2 + 1] << 8));
	case 24:
		return rgb(p[x * 3 + 2], p[x * 3 + 1], p[x * 3]);
	default:
		return rgb(p[x * 4 + 2], p[x * 4 + 1], p[x * 4]);
	}
}

static void draw_vbe(const struct vga *v, struct picture *out)
{
	struct line l = {.v = v};
	uint64_t pitch = vga_vbe_pitch(v), start = vga_vbe_start(v), bytes;

	out->width = v->vbe[VBE_XRES];
	out->height = v->vbe[VBE_YRES];
	out->pixel = xcalloc((size_t)out->width * out->height, sizeof(*out->pixel));
	bytes = ((uint64_t)out->width * v->vbe[VBE_BPP] + 7) / 8;
	make_colours(&l);
	for (unsigned y = 0; y < out->height; y++) {
		uint64_t at = start + y * pitch;

		if (!range_in(at, bytes, VGA_FRAME_BUFFER_SIZE))
			continue;
		for (unsigned x = 0; x < out->width; x++)
			out->pixel[(size_t)y * out->width + x] = vbe_pixel(&l, v->ram + at, x);
	}
}

void vga_picture(struct vga *v, struct picture *out)
{
	if (vga_vbe_on(v))
		draw_vbe(v, out);
	else
		draw_vga(v, out);
}
