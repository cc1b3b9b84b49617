/*
 * vga.c - VGA: its registers, and the text on it (IBM VGA technical reference,
 * 1992; FreeVGA names).
 *
 * CRTC, attribute, sequencer, graphics and DAC registers. Reset leaves BIOS
 * mode 3 with a clear screen, since a bare boot sector has no video BIOS to set
 * it. Retrace is derived from the clock at 70 Hz. Stores through the window at
 * A0000h are exits; the linear frame buffer is plain memory.
 * Left out: light pen, interrupt, the CRTC's timing beyond the picture's size.
 * Lock: vm->lock.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "dev/devutil.h"
#include "dev/vga_dev.h"
#include "util/util.h"

enum { MISC_COLOUR = 1, STATUS_BLANK = 1, STATUS_VRETRACE = 8 };
enum { DAC_WRITING = 0, DAC_READING = 3 };

/* Offsets from 3C0h. */
enum {
	PORT_ATTR = 0x0,
	PORT_ATTR_READ = 0x1,
	PORT_MISC = 0x2, /* read: input status 0 */
	PORT_SEQ_INDEX = 0x4,
	PORT_SEQ = 0x5,
	PORT_DAC_MASK = 0x6,
	PORT_DAC_READ = 0x7, /* read: DAC state */
	PORT_DAC_WRITE = 0x8,
	PORT_DAC = 0x9,
	PORT_FEATURE_READ = 0xa,
	PORT_MISC_READ = 0xc,
	PORT_GC_INDEX = 0xe,
	PORT_GC = 0xf
};
/* Offsets from 3B4h and 3D4h. */
enum { PORT_CRTC_INDEX = 0, PORT_CRTC = 1, PORT_STATUS = 6 };

#define FONT_SIZE  (256 * 16u)
#define TEXT_CELLS 0x4000 /* that reset clears: the window at B8000h */

/* 449 lines of 31.778 us, 400 of them visible; 80 of 100 characters of a line are. */
#define LINE_NS       31778
#define LINES         449
#define VISIBLE_NS    25422
#define VISIBLE_LINES 400
#define VRETRACE_LINE 412

/* BIOS mode 3: 80 x 25 characters of 9 x 16. */
static const uint8_t mode3_crtc[CRTC_COUNT] = {0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0x00,
	0x4f, 0x0d, 0x0e, 0x00, 0x00, 0x00, 0x00, 0x9c, 0x8e, 0x8f, 0x28, 0x1f, 0x96, 0xb9, 0xa3,
	0xff};
static const uint8_t mode3_seq[SEQ_COUNT] = {0x03, 0x00, 0x03, 0x00, 0x02};
static const uint8_t mode3_gc[GC_COUNT] = {0, 0, 0, 0, 0, 0x10, 0x0e, 0, 0xff};
static const uint8_t mode3_attr[ATTR_COUNT] = {0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x14, 0x07, 0x38,
	0x39, 0x3a, 0x3b, 0x3c, 0x3d, 0x3e, 0x3f, 0x0c, 0x00, 0x0f, 0x08, 0x00};
#define MODE3_MISC 0x67

/* ---- registers ---- */

static uint8_t indexed_read(const uint8_t *reg, unsigned count, unsigned index)
{
	return index < count ? reg[index] : 0;
}

static void indexed_write(
	struct vga *v, uint8_t *reg, unsigned count, unsigned index, uint8_t value)
{
	if (index >= count || reg[index] == value)
		return;
	reg[index] = value;
	v->generation++;
}

/* Bit 7 of VSYNC_END protects registers 0-7, bit 4 of OVERFLOW excepted. */
static void crtc_write(struct vga *v, uint8_t value)
{
	bool protect = v->crtc[CRTC_VSYNC_END] & VSYNC_PROTECT;

	if (protect && v->crtc_index == CRTC_OVERFLOW)
		value = (v->crtc[CRTC_OVERFLOW] & ~OVERFLOW_LINE_COMPARE) |
			(value & OVERFLOW_LINE_COMPARE);
	else if (protect && v->crtc_index < CRTC_OVERFLOW)
		return;
	indexed_write(v, v->crtc, CRTC_COUNT, v->crtc_index, value);
}

/* Index and data share 3C0h; the palette can only be changed while PAS is 0. */
static void attr_write(struct vga *v, uint8_t value)
{
	unsigned index = v->attr_index & ATTR_INDEX;

	if (!v->attr_data) {
		v->generation += (value ^ v->attr_index) & ATTR_PAS ? 1 : 0;
		v->attr_index = value & (ATTR_PAS | ATTR_INDEX);
	} else if (index >= 16 || !(v->attr_index & ATTR_PAS)) {
		indexed_write(v, v->attr, ATTR_COUNT, index, value);
	}
	v->attr_data = !v->attr_data;
}

static uint8_t dac_data_read(struct vga *v)
{
	uint8_t value = v->dac[v->dac_read];

	v->dac_read = (v->dac_read + 1) % DAC_SIZE;
	return value;
}

static void dac_data_write(struct vga *v, uint8_t value)
{
	v->dac[v->dac_write] = v->vbe[VBE_ENABLE] & VBE_8BIT_DAC ? value : value & 0x3f;
	v->dac_write = (v->dac_write + 1) % DAC_SIZE;
	v->generation++;
}

uint64_t vga_ports_read(void *ctx, uint64_t off, unsigned size)
{
	struct vga *v = ctx;

	switch (off) {
	case PORT_ATTR:
		return v->attr_index;
	case PORT_ATTR_READ:
		return indexed_read(v->attr, ATTR_COUNT, v->attr_index & ATTR_INDEX);
	case PORT_MISC: /* switch sense: a colour display */
		return 0x10;
	case PORT_SEQ_INDEX:
		return v->seq_index;
	case PORT_SEQ:
		return indexed_read(v->seq, SEQ_COUNT, v->seq_index);
	case PORT_DAC_MASK:
		return v->dac_mask;
	case PORT_DAC_READ:
		return v->dac_state;
	case PORT_DAC_WRITE:
		return v->dac_write / 3;
	case PORT_DAC:
		return dac_data_read(v);
	case PORT_FEATURE_READ:
		return v->feature;
	case PORT_MISC_READ:
		return v->misc;
	case PORT_GC_INDEX:
		return v->gc_index;
	case PORT_GC:
		return indexed_read(v->gc, GC_COUNT, v->gc_index);
	default:
		return 0xff;
	}
}

void vga_ports_write(void *ctx, uint64_t off, unsigned size, uint64_t value)
{
	struct vga *v = ctx;
	uint8_t byte = value;

	switch (off) {
	case PORT_ATTR:
		attr_write(v, byte);
		break;
	case PORT_MISC:
		v->misc = byte;
		break;
	case PORT_SEQ_INDEX:
		v->seq_index = byte & 7;
		break;
	case PORT_SEQ:
		indexed_write(v, v->seq, SEQ_COUNT, v->seq_index, byte);
		break;
	case PORT_DAC_MASK:
		v->dac_mask = byte;
		break;
	case PORT_DAC_READ:
		v->dac_read = byte * 3;
		v->dac_state = DAC_READING;
		break;
	case PORT_DAC_WRITE:
		v->dac_write = byte * 3;
		v->dac_state = DAC_WRITING;
		break;
	case PORT_DAC:
		dac_data_write(v, byte);
		break;
	case PORT_GC_INDEX:
		v->gc_index = byte & 0xf;
		break;
	case PORT_GC:
		indexed_write(v, v->gc, GC_COUNT, v->gc_index, byte);
		break;
	default:
		break;
	}
}

/* The real pulse is two lines; here it lasts until the end of the frame, so slow guests see it. */
static uint8_t input_status_1(const struct vga *v)
{
	uint64_t now = clock_now(v->clock);
	unsigned line = now / LINE_NS % LINES;

	if (line >= VRETRACE_LINE)
		return STATUS_BLANK | STATUS_VRETRACE;
	return line >= VISIBLE_LINES || now % LINE_NS >= VISIBLE_NS ? STATUS_BLANK : 0;
}

uint64_t vga_crtc_read(struct vga *v, uint64_t off)
{
	switch (off) {
	case PORT_CRTC_INDEX:
		return v->crtc_index;
	case PORT_CRTC:
		return indexed_read(v->crtc, CRTC_COUNT, v->crtc_index);
	case PORT_STATUS:
		v->attr_data = false;
		return input_status_1(v);
	default:
		return 0xff;
	}
}

void vga_crtc_write(struct vga *v, uint64_t off, uint8_t value)
{
	switch (off) {
	case PORT_CRTC_INDEX:
		v->crtc_index = value & 0x3f;
		break;
	case PORT_CRTC:
		crtc_write(v, value);
		break;
	case PORT_STATUS:
		v->feature = value;
		break;
	default:
		break;
	}
}

/* Only one of the two sets of addresses answers. */
static uint64_t colour_read(void *ctx, uint64_t off, unsigned size)
{
	struct vga *v = ctx;

	return v->misc & MISC_COLOUR ? vga_crtc_read(v, off) : 0xff;
}

static void colour_write(void *ctx, uint64_t off, unsigned size, uint64_t value)
{
	struct vga *v = ctx;

	if (v->misc & MISC_COLOUR)
		vga_crtc_write(v, off, value);
}

static uint64_t mono_read(void *ctx, uint64_t off, unsigned size)
{
	struct vga *v = ctx;

	return v->misc & MISC_COLOUR ? 0xff : vga_crtc_read(v, off);
}

static void mono_write(void *ctx, uint64_t off, unsigned size, uint64_t value)
{
	struct vga *v = ctx;

	if (!(v->misc & MISC_COLOUR))
		vga_crtc_write(v, off, value);
}

static const struct bus_ops mono_ops = {mono_read, mono_write, 1, 1};
static const struct bus_ops ports_ops = {vga_ports_read, vga_ports_write, 1, 1};
static const struct bus_ops colour_ops = {colour_read, colour_write, 1, 1};

static const struct {
	const char *name;
	uint64_t size;
	const struct bus_ops *ops; /* NULL: plain memory */
} vga_regions[VGA_REGIONS] = {
	[VGA_MEMORY] = {"vga-memory", 0x20000, &vga_memory_ops},
	[VGA_MONO] = {"vga-mono", 7, &mono_ops},
	[VGA_PORTS] = {"vga", 16, &ports_ops},
	[VGA_COLOUR] = {"vga-colour", 7, &colour_ops},
	[VGA_VBE] = {"vga-vbe", 4, &vga_vbe_ops},
	[VGA_FRAME_BUFFER] = {"vga-frame-buffer", VGA_FRAME_BUFFER_SIZE, NULL},
	[VGA_MMIO] = {"vga-mmio", 0x1000, &vga_mmio_ops},
};

/* ---- what is on the screen ---- */

static unsigned text_cols(const struct vga *v)
{
	return MIN(v->crtc[CRTC_HDISP_END] + 1, TEXT_MAX_COLS);
}

unsigned vga_lines(const struct vga *v)
{
	uint8_t overflow = v->crtc[CRTC_OVERFLOW];

	return v->crtc[CRTC_VDISP_END] + 1 + (overflow & 0x02 ? 0x100 : 0) +
	       (overflow & 0x40 ? 0x200 : 0);
}

static unsigned text_rows(const struct vga *v)
{
	uint8_t scan = v->crtc[CRTC_MAX_SCAN];
	unsigned lines = vga_lines(v) / (scan & MAX_SCAN_DOUBLE ? 2 : 1);

	return MAX(MIN(lines / ((scan & 0x1f) + 1), (unsigned)TEXT_MAX_ROWS), 1u);
}

bool vga_blanked(const struct vga *v)
{
	return (v->seq[SEQ_CLOCKING] & CLOCKING_SCREEN_OFF) || !(v->attr_index & ATTR_PAS);
}

bool vga_graphics(const struct vga *v)
{
	return vga_vbe_on(v) || (v->gc[GC_MISC] & GC_GRAPHICS);
}

static void frame_cells(const struct vga *v, struct text_frame *f)
{
	unsigned start = vga_crtc_pair(v, CRTC_START_HIGH), row_cells = v->crtc[CRTC_OFFSET] * 2;

	for (unsigned y = 0; y < f->rows; y++)
		for (unsigned x = 0; x < f->cols; x++) {
			unsigned at = (start + y * row_cells + x) & VGA_PLANE_MASK;
			const uint8_t *p = v->ram + (size_t)at * 4;

			f->cell[y * f->cols + x] = (struct text_cell){p[0], p[1]};
		}
}

static void frame_cursor(const struct vga *v, struct text_frame *f)
{
	unsigned row_cells = v->crtc[CRTC_OFFSET] * 2;
	unsigned at = vga_crtc_pair(v, CRTC_CURSOR_HIGH) - vga_crtc_pair(v, CRTC_START_HIGH);
	uint8_t start = v->crtc[CRTC_CURSOR_START], end = v->crtc[CRTC_CURSOR_END] & 0x1f;

	at &= VGA_PLANE_MASK;
	if (!row_cells || (start & CURSOR_OFF) || (start & 0x1f) > end)
		return;
	f->cursor_x = at % row_cells;
	f->cursor_y = at / row_cells;
	f->cursor_on = f->cursor_x < f->cols && f->cursor_y < f->rows;
}

void vga_text_frame(struct vga *v, struct text_frame *out)
{
	*out = (struct text_frame){
		.cols = text_cols(v),
		.rows = text_rows(v),
		.generation = v->generation,
	};
	if (vga_blanked(v) || vga_graphics(v))
		return;
	frame_cells(v, out);
	frame_cursor(v, out);
}

bool vga_touched(const struct vga *v)
{
	return v->touched;
}

/* ---- device ---- */

/* The 64 colours of the EGA: two bits a primary, rgbRGB. */
static void default_dac(uint8_t *dac)
{
	memset(dac, 0, DAC_SIZE);
	for (unsigned i = 0; i < 64; i++) {
		dac[i * 3 + 0] = (i >> 2 & 1) * 0x2a + (i >> 5 & 1) * 0x15;
		dac[i * 3 + 1] = (i >> 1 & 1) * 0x2a + (i >> 4 & 1) * 0x15;
		dac[i * 3 + 2] = (i & 1) * 0x2a + (i >> 3 & 1) * 0x15;
	}
}

/* 256 characters of 16 lines, 32 bytes from one to the next. */
static void load_font(struct vga *v)
{
	for (unsigned i = 0; i < FONT_SIZE && v->font; i++)
		v->ram[(i / 16 * 32 + i % 16) * 4 + 2] = v->font[i];
}

static void vga_reset(struct device *dev)
{
	struct vga *v = container_of(dev, struct vga, dev);

	memcpy(v->crtc, mode3_crtc, sizeof(v->crtc));
	memcpy(v->seq, mode3_seq, sizeof(v->seq));
	memcpy(v->gc, mode3_gc, sizeof(v->gc));
	memcpy(v->attr, mode3_attr, sizeof(v->attr));
	v->crtc_index = v->seq_index = v->gc_index = 0;
	v->attr_index = ATTR_PAS;
	v->attr_data = false;
	v->misc = MODE3_MISC;
	v->feature = 0;
	default_dac(v->dac);
	v->dac_mask = 0xff;
	v->dac_state = DAC_WRITING;
	v->dac_read = v->dac_write = 0;
	memset(v->latch, 0, sizeof(v->latch));
	memset(v->ram, 0, v->vbe_used ? VGA_FRAME_BUFFER_SIZE : VGA_PLANES_SIZE);
	v->vbe_used = false;
	vga_vbe_reset(v);
	for (unsigned i = 0; i < TEXT_CELLS; i++) {
		v->ram[i * 4] = ' ';
		v->ram[i * 4 + 1] = 0x07;
	}
	load_font(v);
	v->generation++;
}

static void vga_snap(struct device *dev, struct snap *s)
{
	struct vga *v = container_of(dev, struct vga, dev);

	snap_section(s, dev->name, 2);
	snap_bytes(s, "crtc", v->crtc, sizeof(v->crtc));
	snap_bytes(s, "seq", v->seq, sizeof(v->seq));
	snap_bytes(s, "gc", v->gc, sizeof(v->gc));
	snap_bytes(s, "attr", v->attr, sizeof(v->attr));
	snap_u8_max(s, "crtc_index", &v->crtc_index, 0x3f);
	snap_u8_max(s, "seq_index", &v->seq_index, 7);
	snap_u8_max(s, "gc_index", &v->gc_index, 0xf);
	snap_u8_max(s, "attr_index", &v->attr_index, ATTR_PAS | ATTR_INDEX);
	snap_bool(s, "attr_data", &v->attr_data);
	snap_u8(s, "misc", &v->misc);
	snap_u8(s, "feature", &v->feature);
	snap_bytes(s, "dac", v->dac, sizeof(v->dac));
	snap_u8(s, "dac_mask", &v->dac_mask);
	snap_u8_max(s, "dac_state", &v->dac_state, DAC_READING);
	snap_u16(s, "dac_read", &v->dac_read);
	snap_u16(s, "dac_write", &v->dac_write);
	snap_bytes(s, "latch", v->latch, sizeof(v->latch));
	vga_vbe_snap(v, s);
	snap_bool(s, "vbe_used", &v->vbe_used);
	snap_bytes(s, "memory", v->ram, VGA_PLANES_SIZE);
	if (v->vbe_used)
		snap_bytes(s, "frame_buffer", v->ram + VGA_PLANES_SIZE,
			VGA_FRAME_BUFFER_SIZE - VGA_PLANES_SIZE);
	snap_bool(s, "touched", &v->touched);
	if (!snap_loading(s))
		return;
	if (v->dac_read >= DAC_SIZE || v->dac_write >= DAC_SIZE)
		snap_fail(s, "dac_read", "out of range");
	v->dac_read %= DAC_SIZE;
	v->dac_write %= DAC_SIZE;
	v->generation++;
}

static void vga_destroy(struct device *dev)
{
	struct vga *v = container_of(dev, struct vga, dev);

	munmap(v->ram, VGA_FRAME_BUFFER_SIZE);
	free(v);
}

struct vga *vga_new(struct clock *clock)
{
	struct vga *v = xcalloc(1, sizeof(*v));

	v->dev = (struct device){"vga", vga_reset, vga_snap, vga_destroy};
	v->clock = clock;
	/* Pages that come when they are used. */
	v->ram = mmap(NULL, VGA_FRAME_BUFFER_SIZE, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (v->ram == MAP_FAILED)
		abort();
	for (unsigned i = 0; i < VGA_REGIONS; i++)
		region_init(&v->region[i], vga_regions[i].name, vga_regions[i].size,
			vga_regions[i].ops, v);
	v->region[VGA_FRAME_BUFFER].kind = BUS_RAM;
	v->region[VGA_FRAME_BUFFER].host = v->ram;
	vga_reset(&v->dev);
	return v;
}

/* By its first two characters, which are the same in all: a blank, and a face in a frame. */
void vga_set_font(struct vga *v, const uint8_t *bios, size_t len)
{
	static const uint8_t first[32] = {
		[18] = 0x7e, 0x81, 0xa5, 0x81, 0x81, 0xbd, 0x99, 0x81, 0x81, 0x7e};
	const uint8_t *font = len > FONT_SIZE ? memmem(bios, len - FONT_SIZE + sizeof(first), first,
							sizeof(first))
					      : NULL;

	v->font = font;
	load_font(v);
}

struct device *vga_device(struct vga *v)
{
	return &v->dev;
}

struct bus_region *vga_region(struct vga *v, enum vga_region_id id)
{
	return &v->region[id];
}
