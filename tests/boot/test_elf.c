/*
 * test_elf.c - kernels in ELF files: packed in a bzImage with relocations,
 * alone, and with a PVH entry point.
 */
#include "tests/boot/fixture.h"

#include "boot/vmlinux.h"
#include "tests/boot/pack.h"

#define LINKED  UINT64_C(0x1000000)
#define VIRTUAL UINT64_C(0xffffffff80000000)
#define TEXT    0x1000 /* of the file's segment */
#define TEXT_AT 0x1000 /* in the file */

static uint8_t file[0x4000], kernel[0x8000];

/* One segment of 4 KiB with 12 KiB of memory, then a section table of one entry. */
static size_t make_elf(uint8_t *e, bool is_64)
{
	memset(e, 0, sizeof(file));
	memcpy(e, "\177ELF", 4);
	e[4] = is_64 ? 2 : 1;
	e[5] = e[6] = 1;
	put16(e + 16, 2);
	put16(e + 18, is_64 ? 62 : 3);
	if (is_64) {
		uint8_t *p = e + 64;

		put64(e + 24, LINKED + 0x10);
		put64(e + 32, 64);
		put64(e + 40, TEXT_AT + TEXT);
		put16(e + 54, 56);
		put16(e + 56, 1);
		put16(e + 58, 64);
		put16(e + 60, 1);
		put32(p, 1);
		put64(p + 8, TEXT_AT);
		put64(p + 16, VIRTUAL + LINKED);
		put64(p + 24, LINKED);
		put64(p + 32, TEXT);
		put64(p + 40, 3 * TEXT);
		return TEXT_AT + TEXT + 64;
	}
	put32(e + 24, LINKED + 0x10);
	put32(e + 28, 52);
	put32(e + 32, TEXT_AT + TEXT);
	put16(e + 42, 32);
	put16(e + 44, 1);
	put16(e + 46, 40);
	put16(e + 48, 1);
	put32(e + 52, 1);
	put32(e + 56, TEXT_AT);
	put32(e + 60, (uint32_t)(0xc0000000 + LINKED));
	put32(e + 64, LINKED);
	put32(e + 68, TEXT);
	put32(e + 72, 3 * TEXT);
	return TEXT_AT + TEXT + 40;
}

static size_t add_words(uint8_t *e, size_t at, const uint32_t *word, unsigned n)
{
	memcpy(e + at, word, n * 4);
	return at + n * 4;
}

/* In the file's order: 64-bit fields, 32-bit ones to subtract from, 32-bit ones to add to. */
static const uint32_t table_64[] = {
	0, 0x81000100, 0x81000108, 0, 0x81000200, 0, 0x81000300, 0x81000304};
/* The same of a newer kernel: no list to subtract from. */
static const uint32_t table_64_new[] = {0, 0x81000100, 0, 0x81000300};
static const uint32_t table_32[] = {0, 0xc1000300, 0xc1000308};

static void fill_fields(uint8_t *e)
{
	put64(e + TEXT_AT + 0x100, VIRTUAL + LINKED + 5);
	put64(e + TEXT_AT + 0x108, VIRTUAL + LINKED + 6);
	put32(e + TEXT_AT + 0x200, 1000);
	put32(e + TEXT_AT + 0x300, 7);
	put32(e + TEXT_AT + 0x304, 8);
	put32(e + TEXT_AT + 0x308, 9);
}

static void open_file(struct vmlinux *k, uint8_t *image, size_t len)
{
	const char *why = vmlinux_open(k, file, len, LINKED, image, 4 * TEXT);

	if (why)
		fail_msg("%s", why);
}

static void relocations(void **unused)
{
	uint8_t *image = xcalloc(1, 4 * TEXT);
	size_t len = make_elf(file, true);
	struct vmlinux k;

	fill_fields(file);
	open_file(&k, image, len);
	assert_false(k.relocatable);
	assert_int_equal(k.filled, TEXT);
	assert_int_equal(k.extent, 3 * TEXT);

	open_file(&k, image, add_words(file, len, table_64, ARRAY_SIZE(table_64)));
	assert_true(k.relocatable);
	assert_true(vmlinux_relocate(&k, 0x200000));
	assert_int_equal(get64(image + 0x100), VIRTUAL + LINKED + 0x200005);
	assert_int_equal(get64(image + 0x108), VIRTUAL + LINKED + 0x200006);
	assert_int_equal(get32(image + 0x200), (uint32_t)(1000 - 0x200000));
	assert_int_equal(get32(image + 0x300), 0x200007);
	assert_int_equal(get32(image + 0x304), 0x200008);
	assert_int_equal(get32(image + 0x308), 9);

	open_file(&k, image, add_words(file, len, table_64_new, ARRAY_SIZE(table_64_new)));
	assert_true(vmlinux_relocate(&k, 0x400000));
	assert_int_equal(get64(image + 0x100), VIRTUAL + LINKED + 0x400005);
	assert_int_equal(get32(image + 0x300), 0x400007);
	assert_int_equal(get32(image + 0x200), 1000);

	len = make_elf(file, false);
	fill_fields(file);
	open_file(&k, image, add_words(file, len, table_32, ARRAY_SIZE(table_32)));
	assert_true(vmlinux_relocate(&k, 0x600000));
	assert_int_equal(get32(image + 0x300), 0x600007);
	assert_int_equal(get32(image + 0x308), 0x600009);
	free(image);
}

/* A table may name fields anywhere: none outside of the image is touched. */
static void wild_relocations(void **unused)
{
	static const uint32_t wild[] = {0x80000000, 0x81000ffd, 0x81001000, 0xffffffff, 1};
	uint8_t *image = xcalloc(1, 4 * TEXT);
	size_t len = make_elf(file, true);

	for (unsigned i = 0; i < ARRAY_SIZE(wild); i++) {
		uint32_t table[] = {0, 0, wild[i]};
		struct vmlinux k;

		open_file(&k, image, add_words(file, len, table, 3));
		assert_true(k.relocatable);
		assert_false(vmlinux_relocate(&k, 0x200000));
	}
	free(image);
}

static struct fixture *with_packed(const struct packer *p, bool is_64)
{
	const uint32_t *table = is_64 ? table_64 : table_32;
	size_t words = is_64 ? ARRAY_SIZE(table_64) : ARRAY_SIZE(table_32);
	struct fixture *f = fixture_new(128 * MiB);
	size_t len, packed;

	len = make_elf(file, is_64);
	fill_fields(file);
	len = add_words(file, len, table, (unsigned)words);
	make_bzimage(kernel, is_64);
	packed = p->pack(file, len, kernel + BZ_SETUP + 0x400, sizeof(kernel) - BZ_SETUP - 0x400);
	put32(kernel + BZ_SETUP + 0x400 + packed, (uint32_t)len);
	put32(kernel + HDR_PAYLOAD_OFFSET, 0x400);
	put32(kernel + HDR_PAYLOAD_LENGTH, (uint32_t)packed + 4);
	f->config.kernel = (struct boot_file){
		.name = "k", .data = kernel, .len = BZ_SETUP + 0x400 + packed + 4};
	return f;
}

static void packed(void **unused)
{
	for (unsigned i = 0; i < ARRAY_SIZE(packers); i++) {
		struct fixture *f = with_packed(&packers[i], true);

		fixture_load(f);
		assert_int_equal(f->state.rip, LINKED + 0x10);
		assert_int_equal(guest_field(f, LINKED + 0x100, 8), VIRTUAL + LINKED + 5);
		assert_int_equal(
			guest_field(f, f->state.gpr[X86_RSI] + HDR_LOADFLAGS, 1) & HDR_KASLR, 0);
		fixture_free(f);
	}
}

static void random_64(void **unused)
{
	struct fixture *f = with_packed(&packers[0], true);
	uint64_t delta;

	f->config.seed = 1234567;
	fixture_load(f);
	assert_int_equal(f->state.rip, LINKED + 0x10); /* its physical address stays */
	delta = guest_field(f, LINKED + 0x100, 8) - (VIRTUAL + LINKED + 5);
	assert_in_range(delta, 0x200000, GiB - LINKED);
	assert_int_equal(delta % 0x200000, 0);
	assert_int_equal(guest_field(f, LINKED + 0x200, 4), (uint32_t)(1000 - delta));
	assert_true(guest_field(f, f->state.gpr[X86_RSI] + HDR_LOADFLAGS, 1) & HDR_KASLR);

	f->config.cmdline = "quiet nokaslr";
	fixture_load(f);
	assert_int_equal(guest_field(f, LINKED + 0x100, 8), VIRTUAL + LINKED + 5);
	fixture_free(f);
}

static void random_32(void **unused)
{
	struct fixture *f = with_packed(&packers[0], false);
	uint64_t at;

	f->config.seed = 1234567;
	fixture_load(f);
	at = f->state.rip - 0x10;
	assert_in_range(at, LINKED + 0x200000, 128 * MiB);
	assert_int_equal(guest_field(f, at + 0x300, 4), 7 + at - LINKED);
	fixture_free(f);
}

static void damaged(void **unused)
{
	struct fixture *f = with_packed(&packers[0], true);
	size_t len = f->config.kernel.len;

	f->config.kernel.len = len - 5;
	fixture_refused(f, "cut off");
	f->config.kernel.len = len;
	kernel[BZ_SETUP + 0x400 + 20] ^= 0xff;
	fixture_refused(f, "damaged");
	kernel[BZ_SETUP + 0x400 + 20] ^= 0xff;
	put32(kernel + HDR_INIT_SIZE, 0x1000);
	fixture_refused(f, "unpacks to more");
	put32(kernel + HDR_INIT_SIZE, 0x2000000);
	put32(kernel + HDR_PAYLOAD_OFFSET, 0xfffffff0);
	fixture_refused(f, "cut off");
	/* Not for us: the kernel unpacks itself. */
	put32(kernel + HDR_PAYLOAD_OFFSET, 0x408);
	put32(kernel + HDR_PAYLOAD_LENGTH, 16);
	fixture_load(f);
	assert_int_equal(f->state.rip, 0x100200);
	fixture_free(f);
}

static void vmlinux(void **unused)
{
	struct fixture *f = fixture_new(64 * MiB);

	f->config.kernel =
		(struct boot_file){.name = "k", .data = file, .len = make_elf(file, true)};
	fixture_refused(f, "an ELF file");
	strcpy((char *)file + TEXT_AT + 0x500, "Linux version 9");
	file[0x1fff] = 0x55;
	fixture_load(f);
	assert_int_equal(f->state.rip, LINKED + 0x10);
	assert_int_equal(guest_field(f, LINKED + 0xfff, 1), 0x55);
	assert_int_equal(guest_field(f, f->state.gpr[X86_RSI] + HDR_MAGIC, 4), HDR_MAGIC_VALUE);
	put64(file + 24, 2 * LINKED * 4);
	fixture_refused(f, "entry point");
	fixture_free(f);
}

/* The note's segment is the second one. */
static void add_note(uint32_t entry)
{
	uint8_t *note = file + 0x800, *p = file + 64 + 56;

	put16(file + 56, 2);
	put32(p, 4);
	put64(p + 8, 0x800);
	put64(p + 32, 20);
	put32(note, 4);
	put32(note + 4, 4);
	put32(note + 8, 18);
	memcpy(note + 12, "Xen", 4);
	put32(note + 16, entry);
}

static void pvh(void **unused)
{
	static const uint8_t data[5000] = {0xaa};
	struct fixture *f = fixture_new(5 * GiB);
	char text[64];
	gpa_t info, map, list;

	f->config.kernel =
		(struct boot_file){.name = "k", .data = file, .len = make_elf(file, true)};
	f->config.module[0] = (struct boot_file){"m", data, sizeof(data), "m arg"};
	f->config.modules = 1;
	f->config.cmdline = "a b";
	f->config.rsdp = 0xe0000;
	add_note(LINKED + 0x20);
	fixture_load(f);
	assert_int_equal(f->state.rip, LINKED + 0x20);
	assert_int_equal(f->state.cr0 & (X86_CR0_PE | X86_CR0_PG), X86_CR0_PE);
	info = f->state.gpr[X86_RBX];
	assert_int_equal(guest_field(f, info, 4), 0x336ec578);
	assert_int_equal(guest_field(f, info + 4, 4), 1);
	assert_int_equal(guest_field(f, info + 12, 4), 1);
	assert_int_equal(guest_field(f, info + 32, 8), 0xe0000);
	assert_int_equal(guest_field(f, info + 48, 4), 5);
	map = guest_field(f, info + 40, 8);
	assert_int_equal(guest_field(f, map + 4 * 24, 8), 4 * GiB);
	assert_int_equal(guest_field(f, map + 4 * 24 + 8, 8), 2 * GiB);
	list = guest_field(f, info + 16, 8);
	assert_int_equal(guest_field(f, list + 8, 8), sizeof(data));
	assert_int_equal(guest_field(f, guest_field(f, list, 8), 1), 0xaa);
	assert_int_equal(mem_read(&f->mem, guest_field(f, info + 24, 8), text, 4), 0);
	assert_string_equal(text, "a b");
	assert_int_equal(mem_read(&f->mem, guest_field(f, list + 16, 8), text, 6), 0);
	assert_string_equal(text, "m arg");
	add_note(0xfff00000);
	fixture_refused(f, "entry point");
	fixture_free(f);
}

/* Every field of the headers in turn is made wild: an error or a start, never more. */
static void wild_headers(void **unused)
{
	static const uint64_t wild[] = {0, 1, 0x7fffffff, UINT32_MAX, INT64_MAX, UINT64_MAX};
	struct fixture *f = fixture_new(64 * MiB);
	size_t len = make_elf(file, true);

	for (unsigned at = 0; at < 0x100; at += 2) {
		for (unsigned i = 0; i < ARRAY_SIZE(wild); i++) {
			uint8_t *copy = xcalloc(1, len);
			struct boot *b;

			make_elf(file, true);
			add_note(LINKED + 0x20);
			memcpy(copy, file, len);
			put64(copy + at, wild[i]);
			f->config.kernel =
				(struct boot_file){.name = "k", .data = copy, .len = len};
			b = fixture_boot(f);
			assert_true(b || f->err[0]);
			if (b)
				assert_int_equal(boot_load(b, &f->state), 0);
			boot_free(b);
			free(copy);
		}
	}
	fixture_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(relocations),
		cmocka_unit_test(wild_relocations),
		cmocka_unit_test(packed),
		cmocka_unit_test(random_64),
		cmocka_unit_test(random_32),
		cmocka_unit_test(damaged),
		cmocka_unit_test(vmlinux),
		cmocka_unit_test(pvh),
		cmocka_unit_test(wild_headers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
