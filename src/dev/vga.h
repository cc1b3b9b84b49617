/*
 * vga.h - VGA with the Bochs VBE extensions. vm->lock held.
 */
#ifndef TINAMOU_VGA_H
#define TINAMOU_VGA_H

#include "core/bus.h"
#include "core/clock.h"
#include "core/device.h"
#include "core/display.h"

#define VGA_FRAME_BUFFER_SIZE 0x1000000

struct vga;

enum vga_region_id {
	VGA_MEMORY,       /* 128 KiB, A0000h */
	VGA_MONO,         /* 7 ports, 3B4h: CRTC and status, when MISC selects monochrome */
	VGA_PORTS,        /* 16 ports, 3C0h */
	VGA_COLOUR,       /* 7 ports, 3D4h: CRTC and status, when MISC selects colour */
	VGA_VBE,          /* 4 ports, 1CEh: VBE index, VBE data at 1CFh and 1D0h */
	VGA_FRAME_BUFFER, /* VGA_FRAME_BUFFER_SIZE bytes of RAM, a PCI BAR */
	VGA_MMIO,         /* 4 KiB, a PCI BAR: VGA ports at 400h, VBE registers at 500h */
	VGA_REGIONS
};

struct vga *vga_new(struct clock *clock);
/*
 * The font of a VGA BIOS, as that leaves it in plane 2: for a machine that does not run it. The
 * bytes are borrowed for v's life; without a font of 8x16 in them nothing changes.
 */
void vga_set_font(struct vga *v, const uint8_t *bios, size_t len);
struct device *vga_device(struct vga *v);
struct bus_region *vga_region(struct vga *v, enum vga_region_id id);

/*
 * The visible text. A mode larger than the frame is cut; a blanked screen and a
 * graphics mode are empty cells.
 */
void vga_text_frame(struct vga *v, struct text_frame *out);
/* Did the guest write to text memory since power-on? */
bool vga_touched(const struct vga *v);

/* Is the screen a picture, not text? */
bool vga_graphics(const struct vga *v);
/*
 * The screen, text or not, as a monitor shows it. Pixels are allocated by the
 * call and freed by the caller; a mode that is not set up is 0 x 0.
 */
void vga_picture(struct vga *v, struct picture *out);

#endif
