/* test_linux.c - what a bzImage finds in memory and registers, and what is refused. */
#include "tests/boot/fixture.h"

static uint8_t kernel[BZ_SIZE];

static struct fixture *with_kernel(uint64_t ram, bool is_64)
{
	struct fixture *f = fixture_new(ram);

	make_bzimage(kernel, is_64);
	f->config.kernel = (struct boot_file){.name = "k", .data = kernel, .len = sizeof(kernel)};
	return f;
}

static gpa_t params(struct fixture *f)
{
	return f->state.gpr[X86_RSI];
}

static void entry_32(void **unused)
{
	struct fixture *f = with_kernel(64 * MiB, false);

	fixture_load(f);
	assert_int_equal(f->state.rip, 0x100000);
	assert_int_equal(f->state.cr0 & (X86_CR0_PE | X86_CR0_PG), X86_CR0_PE);
	assert_int_equal(f->state.efer, 0);
	assert_int_equal(f->state.seg[X86_CS].sel, 0x10);
	assert_int_equal(f->state.seg[X86_DS].sel, 0x18);
	assert_true(f->state.seg[X86_CS].attr & X86_ATTR_DB);
	assert_int_equal(f->state.rflags & X86_IF, 0);
	for (unsigned i = 0; i < BZ_CODE; i += 8)
		assert_int_equal(guest_field(f, 0x100000 + i, 8), UINT64_C(0x9090909090909090));
	/* The descriptors agree with the hidden parts. */
	assert_int_equal(guest_field(f, f->state.gdtr.base + 0x10, 8), 0x00cf9b000000ffff);
	assert_int_equal(guest_field(f, f->state.gdtr.base + 0x18, 8), 0x00cf93000000ffff);
	fixture_free(f);
}

/* Walks the four levels as SDM vol. 3A 4.5 does. */
static uint64_t translate(struct fixture *f, uint64_t va)
{
	uint64_t table = f->state.cr3, e;

	for (unsigned shift = 39; shift > 21; shift -= 9) {
		e = guest_field(f, table + ((va >> shift) & 511) * 8, 8);
		assert_int_equal(e & 3, 3);
		table = e & ~UINT64_C(0xfff);
	}
	e = guest_field(f, table + ((va >> 21) & 511) * 8, 8);
	assert_int_equal(e & 0x83, 0x83);
	return (e & ~UINT64_C(0x1fffff)) | (va & 0x1fffff);
}

static void entry_64(void **unused)
{
	struct fixture *f = with_kernel(64 * MiB, true);

	fixture_load(f);
	assert_int_equal(f->state.rip, 0x100200);
	assert_true(f->state.cr0 & X86_CR0_PG);
	assert_int_equal(f->state.cr4, X86_CR4_PAE);
	assert_int_equal(f->state.efer, X86_EFER_LME | X86_EFER_LMA);
	assert_true(f->state.seg[X86_CS].attr & X86_ATTR_L);
	assert_false(f->state.seg[X86_CS].attr & X86_ATTR_DB);
	for (uint64_t va = 0x1234; va < 4 * GiB; va += 97 * MiB)
		assert_int_equal(translate(f, va), va);
	fixture_free(f);
}

static void check_map(uint64_t ram, unsigned n, const uint64_t (*want)[3])
{
	struct fixture *f = with_kernel(ram, true);

	fixture_load(f);
	assert_int_equal(guest_field(f, params(f) + BP_E820_ENTRIES, 1), n);
	for (unsigned i = 0; i < n; i++) {
		gpa_t e = params(f) + BP_E820_TABLE + i * BP_E820_ENTRY_SIZE;

		assert_int_equal(guest_field(f, e, 8), want[i][0]);
		assert_int_equal(guest_field(f, e + 8, 8), want[i][1]);
		assert_int_equal(guest_field(f, e + 16, 4), want[i][2]);
	}
	fixture_free(f);
}

static void memory_map(void **unused)
{
	static const uint64_t small[][3] = {{0, 0x9fc00, 1}, {0x9fc00, 0x400, 2},
		{0xf0000, 0x10000, 2}, {0x100000, 63 * MiB, 1}};
	static const uint64_t large[][3] = {{0, 0x9fc00, 1}, {0x9fc00, 0x400, 2},
		{0xf0000, 0x10000, 2}, {0x100000, 3 * GiB - MiB, 1}, {4 * GiB, 2 * GiB, 1}};

	check_map(64 * MiB, 4, small);
	check_map(5 * GiB, 5, large);
}

static void parameters(void **unused)
{
	struct fixture *f = with_kernel(64 * MiB, true);

	f->config.rsdp = 0xe1234;
	fixture_load(f);
	assert_int_equal(guest_field(f, params(f) + HDR_MAGIC, 4), HDR_MAGIC_VALUE);
	assert_int_equal(guest_field(f, params(f) + HDR_LOADER_TYPE, 1), 0xff);
	assert_int_equal(guest_field(f, params(f) + BP_ACPI_RSDP, 8), 0xe1234);
	assert_int_equal(guest_field(f, params(f) + 0x1ef, 1), 0); /* sentinel */
	assert_int_equal(guest_field(f, params(f) + BP_SCREEN_COLS, 1), 80);
	fixture_free(f);
}

static void check_cmdline(const char *given, const char *console, const char *want)
{
	struct fixture *f = with_kernel(64 * MiB, true);
	char text[256] = "";

	f->config.cmdline = given;
	f->config.console = console;
	fixture_load(f);
	assert_int_equal(mem_read(&f->mem, guest_field(f, params(f) + HDR_CMD_LINE_PTR, 4), text,
				 strlen(want) + 1),
		0);
	assert_string_equal(text, want);
	fixture_free(f);
}

static void command_line(void **unused)
{
	check_cmdline(NULL, NULL, "");
	check_cmdline("quiet", NULL, "quiet");
	check_cmdline("quiet", "ttyS0", "quiet console=ttyS0");
	check_cmdline(NULL, "ttyS0", "console=ttyS0");
	check_cmdline("console=tty0 quiet", "ttyS0", "console=tty0 quiet");
	check_cmdline("quiet console=tty0", "ttyS0", "quiet console=tty0");
	check_cmdline("noconsole=1", "ttyS0", "noconsole=1 console=ttyS0");
}

static void initrd(void **unused)
{
	static const uint8_t one[4097] = {1}, two[3] = {2};
	struct fixture *f = with_kernel(64 * MiB, true);
	gpa_t at;

	f->config.module[0] = (struct boot_file){"one", one, sizeof(one), NULL};
	f->config.modules = 1;
	fixture_load(f);
	at = guest_field(f, params(f) + HDR_RAMDISK_IMAGE, 4);
	assert_int_equal(at, 64 * MiB - 8192); /* as high as it goes, on a page */
	assert_int_equal(guest_field(f, params(f) + HDR_RAMDISK_SIZE, 4), 4097);
	assert_int_equal(guest_field(f, at, 1), 1);

	f->config.module[1] = (struct boot_file){"two", two, sizeof(two), NULL};
	f->config.modules = 2;
	put32(kernel + HDR_INITRD_MAX, 0x37fffff);
	fixture_load(f);
	at = guest_field(f, params(f) + HDR_RAMDISK_IMAGE, 4);
	assert_int_equal(at, 0x3800000 - 8192); /* below the kernel's limit */
	assert_int_equal(guest_field(f, params(f) + HDR_RAMDISK_SIZE, 4), 4103);
	assert_int_equal(guest_field(f, at + 4100, 1), 2); /* on a word of its own */
	fixture_free(f);
}

/* Each case breaks one thing of a good kernel. */
static void refused(void **unused)
{
	struct fixture *f = with_kernel(64 * MiB, true);
	static char words[3000];

	fixture_load(f);
	for (size_t len = 0; len < BZ_SETUP; len += 7) {
		f->config.kernel.len = len;
		assert_null(fixture_boot(f));
		assert_true(f->err[0]);
	}
	f->config.kernel.len = HDR_END - 1;
	fixture_refused(f, "cut off");
	f->config.kernel.len = BZ_SETUP + 100;
	fixture_refused(f, "header says");
	f->config.kernel.len = BZ_SIZE;

	put16(kernel + HDR_VERSION, 0x0205);
	fixture_refused(f, "2.05");
	make_bzimage(kernel, true);
	kernel[HDR_LOADFLAGS] = 0;
	fixture_refused(f, "zImage");
	make_bzimage(kernel, true);
	put32(kernel + HDR_KERNEL_ALIGNMENT, 0x300000);
	fixture_refused(f, "alignment");
	make_bzimage(kernel, true);
	put64(kernel + HDR_PREF_ADDRESS, UINT64_MAX);
	fixture_refused(f, "above 4 GiB");
	make_bzimage(kernel, true);
	put32(kernel + HDR_INIT_SIZE, UINT32_MAX);
	fixture_refused(f, "--memory");
	make_bzimage(kernel, true);
	memset(words, 'a', sizeof(words) - 1);
	f->config.cmdline = words;
	fixture_refused(f, "shorten --append");
	fixture_free(f);
}

static void initrd_too_large(void **unused)
{
	struct fixture *f = with_kernel(64 * MiB, true);
	size_t size = 40 * MiB;
	uint8_t *data = xcalloc(1, size);

	f->config.module[0] = (struct boot_file){"big", data, size, NULL};
	f->config.modules = 1;
	fixture_refused(f, "no room for the initrd");
	put32(kernel + HDR_INITRD_MAX, 0);
	fixture_refused(f, "no room for the initrd");
	free(data);
	fixture_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(entry_32),
		cmocka_unit_test(entry_64),
		cmocka_unit_test(memory_map),
		cmocka_unit_test(parameters),
		cmocka_unit_test(command_line),
		cmocka_unit_test(initrd),
		cmocka_unit_test(refused),
		cmocka_unit_test(initrd_too_large),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
