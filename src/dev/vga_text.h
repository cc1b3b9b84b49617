/*
 * vga_text.h - VGA in text mode. vm->lock held.
 */
#ifndef TINAMOU_VGA_TEXT_H
#define TINAMOU_VGA_TEXT_H

#include "core/bus.h"
#include "core/clock.h"
#include "core/device.h"
#include "core/display.h"

struct vga;

enum vga_region_id {
	VGA_MEMORY, /* 32 KiB, B8000h */
	VGA_MONO,   /* 7 ports, 3B4h: CRTC and status, when MISC selects monochrome */
	VGA_PORTS,  /* 16 ports, 3C0h */
	VGA_COLOUR, /* 7 ports, 3D4h: CRTC and status, when MISC selects colour */
	VGA_REGIONS
};

struct vga *vga_new(struct clock *clock);
struct device *vga_device(struct vga *v);
struct bus_region *vga_region(struct vga *v, enum vga_region_id id);

/* The visible text. A mode larger than the frame is cut; a blanked screen is empty cells. */
void vga_text_frame(struct vga *v, struct text_frame *out);
/* Did the guest write to text memory since power-on? */
bool vga_touched(const struct vga *v);

#endif
