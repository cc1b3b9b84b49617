/* test_vga.c - VGA by register script: text, planes, VBE. */
#include "dev/vga.h"
#include "tests/dev/harness.h"

struct fixture {
	struct clock clock;
	struct vga *v[2];
	struct bus bus; /* v[0] at its places */
	struct text_frame frame;
};

static int setup(void **state)
{
	static const gpa_t base[VGA_REGIONS] = {
		0xa0000, 0x3b4, 0x3c0, 0x3d4, 0x1ce, 0xe0000000, 0xe1000000};
	struct fixture *f = calloc(1, sizeof(*f));

	clock_init(&f->clock, CLOCK_INSTRUCTIONS);
	bus_init(&f->bus, "all", 8);
	for (unsigned i = 0; i < 2; i++)
		f->v[i] = vga_new(&f->clock);
	for (unsigned i = 0; i < VGA_REGIONS; i++) {
		vga_region(f->v[0], i)->base = base[i];
		assert_int_equal(bus_map(&f->bus, vga_region(f->v[0], i)), 0);
	}
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	bus_destroy(&f->bus);
	for (unsigned i = 0; i < 2; i++)
		vga_device(f->v[i])->destroy(vga_device(f->v[i]));
	free(f);
	return 0;
}

static void wr(struct fixture *f, gpa_t addr, uint8_t v)
{
	bus_write(&f->bus, addr, 1, v);
}

static uint8_t rd(struct fixture *f, gpa_t addr)
{
	return bus_read(&f->bus, addr, 1);
}

/* Index and data in one 16-bit write, as drivers do. */
static void indexed(struct fixture *f, gpa_t port, uint8_t index, uint8_t v)
{
	bus_write(&f->bus, port, 2, index | v << 8);
}

static void look(struct fixture *f)
{
	vga_text_frame(f->v[0], &f->frame);
}

static void assert_cell(struct fixture *f, unsigned x, unsigned y, uint8_t ch, uint8_t attr)
{
	struct text_cell *c = &f->frame.cell[y * f->frame.cols + x];

	assert_int_equal(c->ch, ch);
	assert_int_equal(c->attr, attr);
}

static void power_on_screen(void **state)
{
	struct fixture *f = *state;

	look(f);
	assert_int_equal(f->frame.cols, 80);
	assert_int_equal(f->frame.rows, 25);
	for (unsigned i = 0; i < 80 * 25; i++)
		assert_cell(f, i % 80, i / 80, ' ', 7);
	assert_true(f->frame.cursor_on);
	assert_int_equal(f->frame.cursor_x + f->frame.cursor_y, 0);
	assert_false(vga_touched(f->v[0]));
	assert_int_equal(rd(f, 0x3cc), 0x67);
}

static void writes_show(void **state)
{
	struct fixture *f = *state;
	uint64_t before;

	look(f);
	before = f->frame.generation;
	bus_write(&f->bus, 0xb8000, 2, 0x1f41);
	bus_write(&f->bus, 0xb8000 + 160, 8, UINT64_C(0x0744074307420741));
	wr(f, 0xb8000 + 3999, 0x4e);
	look(f);
	assert_true(f->frame.generation != before);
	assert_cell(f, 0, 0, 'A', 0x1f);
	assert_cell(f, 3, 1, 'D', 0x07);
	assert_cell(f, 79, 24, ' ', 0x4e);
	assert_int_equal(bus_read(&f->bus, 0xb8000, 4), 0x07201f41);
	assert_true(vga_touched(f->v[0]));
	assert_false(vga_touched(f->v[1]));
	before = f->frame.generation;
	bus_write(&f->bus, 0xb8000, 2, 0x1f41);
	look(f);
	assert_int_equal(f->frame.generation, before);
}

static void cursor(void **state)
{
	struct fixture *f = *state;

	indexed(f, 0x3d4, 0x0e, (12 * 80 + 34) >> 8);
	indexed(f, 0x3d4, 0x0f, (12 * 80 + 34) & 0xff);
	look(f);
	assert_int_equal(f->frame.cursor_x, 34);
	assert_int_equal(f->frame.cursor_y, 12);
	assert_true(f->frame.cursor_on);
	indexed(f, 0x3d4, 0x0a, 0x20);
	look(f);
	assert_false(f->frame.cursor_on);
	indexed(f, 0x3d4, 0x0a, 0x0f);
	indexed(f, 0x3d4, 0x0b, 0x0e); /* starts below its end */
	look(f);
	assert_false(f->frame.cursor_on);
	indexed(f, 0x3d4, 0x0a, 0x0d);
	indexed(f, 0x3d4, 0x0e, 0x3f); /* off the screen */
	look(f);
	assert_false(f->frame.cursor_on);
	wr(f, 0x3d4, 0x0e);
	assert_int_equal(rd(f, 0x3d5), 0x3f);
}

static void start_address_scrolls(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < 0x4000; i++)
		bus_write(&f->bus, 0xb8000 + 2 * i, 2, 0x0700 | i / 80 % 256);
	indexed(f, 0x3d4, 0x0c, 800 >> 8);
	indexed(f, 0x3d4, 0x0d, 800 & 0xff);
	indexed(f, 0x3d4, 0x0e, 880 >> 8);
	indexed(f, 0x3d4, 0x0f, 880 & 0xff);
	look(f);
	assert_cell(f, 0, 0, 10, 7);
	assert_cell(f, 79, 24, 34, 7);
	assert_int_equal(f->frame.cursor_y, 1);
	indexed(f, 0x3d4, 0x0c, 0xff); /* the counter wraps */
	indexed(f, 0x3d4, 0x0d, 0xff);
	look(f);
	assert_cell(f, 0, 0, 0, 0);
	assert_cell(f, 1, 0, 0, 7);
}

static void sizes(void **state)
{
	struct fixture *f = *state;

	indexed(f, 0x3d4, 0x11, 0x0e); /* unprotect */
	indexed(f, 0x3d4, 0x01, 39);
	indexed(f, 0x3d4, 0x13, 20);
	look(f);
	assert_int_equal(f->frame.cols, 40);
	indexed(f, 0x3d4, 0x01, 79);
	indexed(f, 0x3d4, 0x13, 40);
	indexed(f, 0x3d4, 0x09, 0x47); /* 8 lines a row */
	look(f);
	assert_int_equal(f->frame.rows, 50);
	indexed(f, 0x3d4, 0x01, 131);
	indexed(f, 0x3d4, 0x09, 0x00);
	look(f);
	assert_int_equal(f->frame.cols, TEXT_MAX_COLS);
	assert_int_equal(f->frame.rows, TEXT_MAX_ROWS);
	indexed(f, 0x3d4, 0x12, 0x00);
	indexed(f, 0x3d4, 0x07, 0x00);
	indexed(f, 0x3d4, 0x09, 0x9f);
	indexed(f, 0x3d4, 0x13, 0x00);
	look(f);
	assert_int_equal(f->frame.rows, 1);
}

static void crtc_protection(void **state)
{
	struct fixture *f = *state;

	indexed(f, 0x3d4, 0x11, 0x8e);
	indexed(f, 0x3d4, 0x01, 10);
	wr(f, 0x3d4, 0x01);
	assert_int_equal(rd(f, 0x3d5), 79);
	indexed(f, 0x3d4, 0x07, 0x00); /* but for line compare */
	wr(f, 0x3d4, 0x07);
	assert_int_equal(rd(f, 0x3d5), 0x0f);
	wr(f, 0x3d4, 0x30);
	assert_int_equal(rd(f, 0x3d5), 0);
}

static void mono_alias(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(rd(f, 0x3b5), 0xff);
	indexed(f, 0x3b4, 0x0f, 5);
	wr(f, 0x3c2, 0x66);
	assert_int_equal(rd(f, 0x3d5), 0xff);
	wr(f, 0x3b4, 0x0f);
	assert_int_equal(rd(f, 0x3b5), 0);
	indexed(f, 0x3b4, 0x0f, 5);
	assert_int_equal(rd(f, 0x3b5), 5);
}

static void attribute_flip_flop(void **state)
{
	struct fixture *f = *state;

	rd(f, 0x3da);
	wr(f, 0x3c0, 0x10);
	wr(f, 0x3c0, 0x04);
	assert_int_equal(rd(f, 0x3c0), 0x10);
	assert_int_equal(rd(f, 0x3c1), 0x04);
	look(f);
	assert_int_equal(f->frame.cell[0].ch, 0); /* PAS is off: blank */
	wr(f, 0x3c0, 0x01);
	rd(f, 0x3da); /* forgets that data was due */
	wr(f, 0x3c0, 0x21);
	wr(f, 0x3c0, 0x3f); /* the palette is locked while it shows */
	assert_int_equal(rd(f, 0x3c1), 0x01);
	look(f);
	assert_int_equal(f->frame.cell[0].ch, ' ');
	wr(f, 0x3c4, 1);
	wr(f, 0x3c5, 0x20); /* screen off */
	look(f);
	assert_int_equal(f->frame.cell[0].ch, 0);
}

static void dac(void **state)
{
	struct fixture *f = *state;

	wr(f, 0x3c8, 255);
	for (unsigned i = 0; i < 6; i++)
		wr(f, 0x3c9, 0xc1 + i); /* wraps to colour 0 */
	assert_int_equal(rd(f, 0x3c7), 0);
	assert_int_equal(rd(f, 0x3c8), 1);
	wr(f, 0x3c7, 255);
	assert_int_equal(rd(f, 0x3c7), 3);
	for (unsigned i = 0; i < 6; i++)
		assert_int_equal(rd(f, 0x3c9), 1 + i);
	wr(f, 0x3c7, 0x14); /* brown */
	assert_int_equal(rd(f, 0x3c9), 0x2a);
	assert_int_equal(rd(f, 0x3c9), 0x15);
	assert_int_equal(rd(f, 0x3c9), 0x00);
	wr(f, 0x3c6, 0x0f);
	assert_int_equal(rd(f, 0x3c6), 0x0f);
}

static void retrace_toggles(void **state)
{
	struct fixture *f = *state;
	unsigned frames = 0, blank = 0, last = 8;

	for (unsigned i = 0; i < 100000; i++) {
		unsigned s = rd(f, 0x3da);

		frames += (s & 8) && !last;
		blank += s & 1;
		last = s & 8;
		clock_advance(&f->clock, 10000);
	}
	assert_in_range(frames, 69, 71);
	assert_in_range(blank, 20000, 40000);
}

static void resets(void **state)
{
	struct fixture *f = *state;

	bus_write(&f->bus, 0xb8000, 2, 0x1f41);
	indexed(f, 0x3d4, 0x0c, 1);
	wr(f, 0x3c2, 0);
	vga_device(f->v[0])->reset(vga_device(f->v[0]));
	look(f);
	assert_cell(f, 0, 0, ' ', 7);
	assert_int_equal(rd(f, 0x3cc), 0x67);
	assert_true(vga_touched(f->v[0]));
}

static void snapshot(void **state)
{
	struct fixture *f = *state;
	struct device *a = vga_device(f->v[0]), *b = vga_device(f->v[1]);
	struct text_frame other;

	bus_write(&f->bus, 0xb8000 + 200, 4, 0x1f421f41);
	indexed(f, 0x3d4, 0x0f, 77);
	wr(f, 0x3c8, 20);
	wr(f, 0x3c9, 9);
	assert_round_trip(a, b);
	look(f);
	vga_text_frame(f->v[1], &other);
	other.generation = f->frame.generation;
	assert_memory_equal(&other, &f->frame, sizeof(other));
	assert_true(vga_touched(f->v[1]));
	assert_refused(a, b, "dac_write", 1, 3);
	assert_refused(a, b, "dac_read", 1, 0xff);
	assert_refused(a, b, "seq_index", 0, 8);
	assert_refused(a, b, "crtc_index", 0, 0x40);
}

/* ---- graphics ---- */

static void mode_12h(struct fixture *f)
{
	static const uint8_t gc[9] = {0, 0, 0, 0, 0, 0, 5, 0x0f, 0xff};

	indexed(f, 0x3c4, 2, 0x0f);
	indexed(f, 0x3c4, 4, 0x06);
	for (unsigned i = 0; i < 9; i++)
		indexed(f, 0x3ce, i, gc[i]);
}

static void expect_planes(struct fixture *f, gpa_t addr, uint32_t planes)
{
	for (unsigned p = 0; p < 4; p++) {
		indexed(f, 0x3ce, 4, p);
		assert_int_equal(rd(f, addr), planes >> (24 - 8 * p) & 0xff);
	}
}

/* Expected values are worked out from the technical reference's figures. */
static void write_modes(void **state)
{
	struct fixture *f = *state;

	mode_12h(f);
	wr(f, 0xa0000, 0xa5);
	expect_planes(f, 0xa0000, 0xa5a5a5a5);
	indexed(f, 0x3c4, 2, 0x05); /* map mask */
	wr(f, 0xa0000, 0x12);
	expect_planes(f, 0xa0000, 0x12a512a5);
	indexed(f, 0x3c4, 2, 0x0f);
	indexed(f, 0x3ce, 8, 0xf0); /* bit mask: low half from the latches */
	wr(f, 0xa0000, 0xff);
	expect_planes(f, 0xa0000, 0xf2f5f2f5);
	indexed(f, 0x3ce, 8, 0xff);
	indexed(f, 0x3ce, 3, 0x18 | 4); /* rotate by 4, XOR */
	wr(f, 0xa0000, 0x0f);
	expect_planes(f, 0xa0000, 0x02050205);
	indexed(f, 0x3ce, 3, 0);
	indexed(f, 0x3ce, 0, 0x06); /* set/reset on planes 1 and 3 */
	indexed(f, 0x3ce, 1, 0x0a);
	wr(f, 0xa0000, 0x33);
	expect_planes(f, 0xa0000, 0x33ff3300);
	indexed(f, 0x3ce, 1, 0);
	indexed(f, 0x3ce, 5, 1); /* mode 1: latches to another place */
	wr(f, 0xa1234, 0);
	indexed(f, 0x3ce, 5, 0);
	expect_planes(f, 0xa1234, 0x33ff3300);
	indexed(f, 0x3ce, 5, 2); /* mode 2: a colour */
	wr(f, 0xa0001, 0x09);
	expect_planes(f, 0xa0001, 0xff0000ff);
	indexed(f, 0x3ce, 5, 3); /* mode 3: set/reset under a mask from the CPU */
	wr(f, 0xa0001, 0x3c);
	expect_planes(f, 0xa0001, 0xc33c3cc3);
}

static void read_mode_1_compares(void **state)
{
	struct fixture *f = *state;

	mode_12h(f);
	indexed(f, 0x3ce, 5, 2);
	indexed(f, 0x3ce, 8, 0xf0);
	wr(f, 0xa0000, 5);
	indexed(f, 0x3ce, 8, 0x0f);
	assert_int_equal(rd(f, 0xa0000), 0xf0);
	wr(f, 0xa0000, 4);
	indexed(f, 0x3ce, 5, 8);
	indexed(f, 0x3ce, 2, 5);
	assert_int_equal(rd(f, 0xa0000), 0xf0);
	indexed(f, 0x3ce, 7, 0x0e); /* plane 0 does not count */
	assert_int_equal(rd(f, 0xa0000), 0xff);
}

static void vbe(struct fixture *f, uint16_t index, uint16_t value)
{
	bus_write(&f->bus, 0x1ce, 2, index);
	bus_write(&f->bus, 0x1cf, 2, value);
}

static uint16_t vbe_get(struct fixture *f, uint16_t index)
{
	bus_write(&f->bus, 0x1ce, 2, index);
	return bus_read(&f->bus, 0x1cf, 2);
}

static void vbe_mode(struct fixture *f, uint16_t x, uint16_t y, uint16_t bpp)
{
	vbe(f, 4, 0);
	vbe(f, 1, x);
	vbe(f, 2, y);
	vbe(f, 3, bpp);
	vbe(f, 4, 0x41);
}

static void vbe_linear(void **state)
{
	struct fixture *f = *state;
	struct picture p;

	assert_int_equal(vbe_get(f, 0), 0xb0c5);
	vbe_mode(f, 800, 600, 32);
	assert_int_equal(vbe_get(f, 4), 0x41);
	assert_true(vga_graphics(f->v[0]));
	bus_write(&f->bus, 0xe0000000 + (800 * 5 + 7) * 4, 4, 0x123456);
	vbe(f, 5, 1); /* the same memory through the window, bank 1 */
	bus_write(&f->bus, 0xa0000 + 4, 4, 0xabcdef);
	vga_picture(f->v[0], &p);
	assert_int_equal(p.width, 800);
	assert_int_equal(p.height, 600);
	assert_int_equal(p.pixel[800 * 5 + 7], 0x123456);
	assert_int_equal(p.pixel[0x10004 / 4], 0xabcdef);
	free(p.pixel);
	vbe(f, 6, 1000); /* virtual width, then scrolled */
	vbe(f, 8, 3);
	vbe(f, 9, 2);
	bus_write(&f->bus, 0xe0000000 + (1000 * 2 + 3) * 4, 4, 0x777777);
	vga_picture(f->v[0], &p);
	assert_int_equal(p.pixel[0], 0x777777);
	free(p.pixel);
	assert_int_equal(bus_read(&f->bus, 0xe1000500 + 2 * 6, 2), 1000);
}

/* Whatever a guest writes, the picture lies within the memory. */
static void vbe_bounds(void **state)
{
	static const uint16_t wild[] = {0, 1, 7, 640, 2560, 2561, 0x7fff, 0xffff};
	struct fixture *f = *state;
	struct picture p;

	vbe_mode(f, 2560, 1600, 32);
	assert_int_equal(vbe_get(f, 4) & 1, 1); /* 16,384,000 bytes */
	vbe_mode(f, 2561, 1600, 32);
	assert_int_equal(vbe_get(f, 4) & 1, 0);
	vbe_mode(f, 640, 480, 7);
	assert_int_equal(vbe_get(f, 4) & 1, 0);
	for (unsigned i = 0; i < 512; i++) {
		vbe_mode(f, i & 1 ? 2560 : 640, i & 2 ? 1600 : 480, i & 4 ? 24 : 4);
		for (unsigned r = 5; r < 10; r++)
			vbe(f, r, wild[(i >> 3) * (r + 1) % 8]);
		if (i % 64 == 5) {
			vga_picture(f->v[0], &p);
			free(p.pixel);
		}
		assert_true(vbe_get(f, 8) + (i & 1 ? 2560 : 640) <= vbe_get(f, 6));
	}
}

/* What a reset leaves is drawn with the font of a BIOS, wherever it lies in it. */
static void font_of_a_bios(void **state)
{
	static const uint8_t face[] = {0x7e, 0x81, 0xa5, 0x81, 0x81, 0xbd, 0x99, 0x81, 0x81, 0x7e};
	struct fixture *f = *state;
	uint8_t bios[5000] = {[0 ... 99] = 0xff};
	uint32_t *lit, *dark;
	struct picture p;

	memcpy(bios + 100 + 16 + 2, face, sizeof(face));
	bios[100 + 'A' * 16 + 3] = 0x40; /* line 3, the second dot */
	wr(f, 0xb8000, 'A');
	vga_set_font(f->v[0], bios, 4000); /* cut off */
	vga_picture(f->v[0], &p);
	assert_int_equal(p.pixel[3 * p.width + 1], 0);
	free(p.pixel);
	vga_set_font(f->v[0], bios, sizeof(bios));
	vga_picture(f->v[0], &p);
	lit = &p.pixel[3 * p.width + 1];
	dark = &p.pixel[3 * p.width + 2];
	assert_int_equal(*lit, 0xaaaaaa);
	assert_int_equal(*dark, 0);
	free(p.pixel);
	vga_device(f->v[0])->reset(vga_device(f->v[0]));
	wr(f, 0xb8002, 'A');
	vga_picture(f->v[0], &p);
	assert_int_equal(p.pixel[3 * p.width + 9 + 1], 0xaaaaaa);
	free(p.pixel);
}

static void graphics_snapshot(void **state)
{
	struct fixture *f = *state;
	struct device *a = vga_device(f->v[0]), *b = vga_device(f->v[1]);
	struct picture p, q;

	vbe_mode(f, 640, 480, 16);
	for (unsigned i = 0; i < 640 * 480 * 2; i += 8)
		bus_write(&f->bus, 0xe0000000 + i, 8, i * UINT64_C(0x9e3779b97f4a7c15));
	assert_round_trip(a, b);
	vga_picture(f->v[0], &p);
	vga_picture(f->v[1], &q);
	assert_int_equal(p.width, q.width);
	assert_memory_equal(p.pixel, q.pixel, 640 * 480 * 4);
	free(p.pixel);
	free(q.pixel);
	a->reset(a);
	assert_false(vga_graphics(f->v[0]));
	assert_int_equal(bus_read(&f->bus, 0xe0000000 + 0x50000, 8), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(power_on_screen, setup, teardown),
		cmocka_unit_test_setup_teardown(writes_show, setup, teardown),
		cmocka_unit_test_setup_teardown(cursor, setup, teardown),
		cmocka_unit_test_setup_teardown(start_address_scrolls, setup, teardown),
		cmocka_unit_test_setup_teardown(sizes, setup, teardown),
		cmocka_unit_test_setup_teardown(crtc_protection, setup, teardown),
		cmocka_unit_test_setup_teardown(mono_alias, setup, teardown),
		cmocka_unit_test_setup_teardown(attribute_flip_flop, setup, teardown),
		cmocka_unit_test_setup_teardown(dac, setup, teardown),
		cmocka_unit_test_setup_teardown(retrace_toggles, setup, teardown),
		cmocka_unit_test_setup_teardown(resets, setup, teardown),
		cmocka_unit_test_setup_teardown(snapshot, setup, teardown),
		cmocka_unit_test_setup_teardown(write_modes, setup, teardown),
		cmocka_unit_test_setup_teardown(read_mode_1_compares, setup, teardown),
		cmocka_unit_test_setup_teardown(vbe_linear, setup, teardown),
		cmocka_unit_test_setup_teardown(vbe_bounds, setup, teardown),
		cmocka_unit_test_setup_teardown(font_of_a_bios, setup, teardown),
		cmocka_unit_test_setup_teardown(graphics_snapshot, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
