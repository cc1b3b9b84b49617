/* test_multiboot.c - both versions: headers, information, modules, and wild addresses. */
#include "tests/boot/fixture.h"

#include "boot/multiboot.h"

#define SIZE 0x3000
#define LOAD 0x200000u
#define HEAD 0x40 /* of the header in the file */

static uint8_t kernel[SIZE];

static void checksum1(void)
{
	put32(kernel + HEAD + 8, -(get32(kernel + HEAD) + get32(kernel + HEAD + 4)));
}

static void make1(void)
{
	uint8_t *h = kernel + HEAD;

	memset(kernel, 0x90, SIZE);
	put32(h, MB1_MAGIC);
	put32(h + 4, MB1_ADDRESSES | 3);
	checksum1();
	put32(h + 12, LOAD + HEAD);
	put32(h + 16, LOAD);
	put32(h + 20, 0);
	put32(h + 24, LOAD + 0x8000);
	put32(h + 28, LOAD + 0x100);
}

static uint8_t *make2(void)
{
	uint8_t *h = kernel + HEAD, *p = h + MB2_HEADER;

	memset(kernel, 0x90, SIZE);
	memset(h, 0, 96);
	put16(p, MB2_H_REQUEST); /* memory and map */
	put32(p + 4, 16);
	put32(p + 8, MB2_MEMINFO);
	put32(p + 12, MB2_MMAP);
	p += 16;
	put16(p, MB2_H_ADDRESS);
	put32(p + 4, 24);
	put32(p + 8, LOAD + HEAD);
	put32(p + 12, LOAD);
	put32(p + 16, 0);
	put32(p + 20, LOAD + 0x8000);
	p += 24;
	put16(p, MB2_H_ENTRY);
	put32(p + 4, 12);
	put32(p + 8, LOAD + 0x100);
	p += 16;
	put32(p + 4, 8); /* the end */
	put32(h, MB2_MAGIC);
	put32(h + 8, (uint32_t)(p + 8 - h));
	put32(h + 12, -(MB2_MAGIC + (uint32_t)(p + 8 - h)));
	return h;
}

static struct fixture *with_kernel(void)
{
	static const uint8_t one[100] = {0x11}, two[5000] = {0x22};
	struct fixture *f = fixture_new(64 * MiB);

	f->config.kernel = (struct boot_file){.name = "kern", .data = kernel, .len = SIZE};
	f->config.module[0] = (struct boot_file){"one", one, sizeof(one), NULL};
	f->config.module[1] = (struct boot_file){"two", two, sizeof(two), "two x=1"};
	f->config.modules = 2;
	f->config.cmdline = "a b";
	return f;
}

static void text_is(struct fixture *f, gpa_t at, const char *want)
{
	char text[64];

	assert_int_equal(mem_read(&f->mem, at, text, strlen(want) + 1), 0);
	assert_string_equal(text, want);
}

static void version_1(void **unused)
{
	struct fixture *f = with_kernel();
	gpa_t info, list, map;

	make1();
	assert_int_equal(mem_fill(&f->mem, LOAD, 0xff, 0x10000), 0);
	fixture_load(f);
	assert_int_equal(f->state.gpr[X86_RAX], MB1_EAX);
	assert_int_equal(f->state.rip, LOAD + 0x100);
	assert_int_equal(f->state.cr0, X86_CR0_PE | X86_CR0_ET);
	assert_int_equal(guest_field(f, LOAD + HEAD, 4), MB1_MAGIC);
	assert_int_equal(guest_field(f, LOAD + SIZE, 8), 0); /* .bss */
	assert_int_equal(guest_field(f, LOAD + 0x7ff8, 8), 0);
	info = f->state.gpr[X86_RBX];
	assert_int_equal(guest_field(f, info + MB1_MEM_LOWER, 4), 639);
	assert_int_equal(guest_field(f, info + MB1_MEM_UPPER, 4), 63 * 1024);
	text_is(f, guest_field(f, info + MB1_CMDLINE, 4), "kern a b");
	assert_int_equal(guest_field(f, info + MB1_MODS_COUNT, 4), 2);
	list = guest_field(f, info + MB1_MODS_ADDR, 4);
	assert_int_equal(guest_field(f, list, 4), LOAD + 0x8000);
	assert_int_equal(guest_field(f, list + 4, 4), LOAD + 0x8000 + 100);
	assert_int_equal(guest_field(f, LOAD + 0x8000, 1), 0x11);
	assert_int_equal(guest_field(f, list + 16, 4), LOAD + 0x9000);
	assert_int_equal(guest_field(f, list + 20, 4), LOAD + 0x9000 + 5000);
	text_is(f, guest_field(f, list + 8, 4), "one");
	text_is(f, guest_field(f, list + 24, 4), "two x=1");
	assert_int_equal(guest_field(f, info + MB1_MMAP_LENGTH, 4), 4 * 24);
	map = guest_field(f, info + MB1_MMAP_ADDR, 4) + 3 * 24;
	assert_int_equal(guest_field(f, map, 4), 20);
	assert_int_equal(guest_field(f, map + 4, 8), MiB);
	assert_int_equal(guest_field(f, map + 12, 8), 63 * MiB);
	fixture_free(f);
}

/* The address of the n-th tag of a type. */
static gpa_t find_tag(struct fixture *f, uint32_t type, unsigned n)
{
	gpa_t at = f->state.gpr[X86_RBX], end = at + guest_field(f, at, 4);

	for (at += 8; at < end; at = round_up(at + guest_field(f, at + 4, 4), 8))
		if (guest_field(f, at, 4) == type && !n--)
			return at;
	fail_msg("no tag %u", type);
	return 0;
}

static void version_2(void **unused)
{
	struct fixture *f = with_kernel();
	gpa_t t;

	make2();
	fixture_load(f);
	assert_int_equal(f->state.gpr[X86_RAX], MB2_EAX);
	assert_int_equal(f->state.rip, LOAD + 0x100);
	text_is(f, find_tag(f, MB2_CMDLINE, 0) + 8, "kern a b");
	t = find_tag(f, MB2_MODULE, 1);
	assert_int_equal(guest_field(f, t + 8, 4), LOAD + 0x9000);
	assert_int_equal(guest_field(f, t + 12, 4), LOAD + 0x9000 + 5000);
	text_is(f, t + 16, "two x=1");
	t = find_tag(f, MB2_MMAP, 0);
	assert_int_equal(guest_field(f, t + 4, 4), 16 + 4 * 24);
	assert_int_equal(guest_field(f, t + 16 + 3 * 24 + 8, 8), 63 * MiB);
	assert_int_equal(guest_field(f, find_tag(f, MB2_MEMINFO, 0) + 8, 4), 639);
	assert_int_equal(guest_field(f, find_tag(f, MB2_FRAMEBUFFER, 0) + 4, 4), 32);
	assert_int_equal(guest_field(f, find_tag(f, MB2_END, 0) + 4, 4), 8);
	fixture_free(f);
}

static void refused_1(void **unused)
{
	struct fixture *f = with_kernel();

	make1();
	put32(kernel + HEAD + 4, MB1_ADDRESSES | 0x80);
	checksum1();
	fixture_refused(f, "features 0x80");
	make1();
	put32(kernel + HEAD + 16, 0xfff00000);
	fixture_refused(f, "before its load address");
	make1();
	put32(kernel + HEAD + 12, 0xfff00000 + HEAD);
	put32(kernel + HEAD + 16, 0xfff00000);
	fixture_refused(f, "--memory");
	make1();
	put32(kernel + HEAD + 12, 0xa0000 + HEAD);
	put32(kernel + HEAD + 16, 0xa0000);
	fixture_refused(f, "--memory");
	make1();
	put32(kernel + HEAD + 16, LOAD - 0x100000);
	fixture_refused(f, "outside of it");
	make1();
	put32(kernel + HEAD + 20, LOAD + SIZE + 1);
	fixture_refused(f, "cut off");
	make1();
	put32(kernel + HEAD + 20, LOAD - 1);
	fixture_refused(f, "cut off");
	make1();
	put32(kernel + HEAD + 24, 0xffffffff);
	fixture_refused(f, "--memory");
	make1();
	put32(kernel + HEAD + 28, 0xb8000);
	fixture_refused(f, "entry point");
	make1();
	put32(kernel + HEAD + 4, 0);
	checksum1();
	fixture_refused(f, "no ELF file");
	make1();
	f->config.kernel.len = HEAD + 20;
	fixture_refused(f, "cut off");
	fixture_free(f);
}

static void refused_2(void **unused)
{
	struct fixture *f = with_kernel();
	uint8_t *h = make2();

	put32(h + MB2_HEADER + 8, 9); /* section headers */
	fixture_refused(f, "type 9");
	put16(h + MB2_HEADER + 2, 1); /* ... unless optional */
	fixture_load(f);
	h = make2();
	put16(h + MB2_HEADER, 77);
	fixture_refused(f, "tag 77");
	h = make2();
	put32(h + MB2_HEADER + 4, 7);
	fixture_refused(f, "cut off");
	put32(h + MB2_HEADER + 4, UINT32_MAX);
	fixture_refused(f, "cut off");
	h = make2();
	put16(h + MB2_HEADER + 40, MB2_H_ALIGN); /* instead of the entry point */
	fixture_refused(f, "no entry point");
	make2();
	f->config.kernel.len = HEAD + 40;
	fixture_refused(f, "cut off");
	fixture_free(f);
}

static void module_too_large(void **unused)
{
	struct fixture *f = with_kernel();
	size_t size = 64 * MiB;
	uint8_t *data = xcalloc(1, size);

	make1();
	f->config.module[1] = (struct boot_file){"big", data, size, NULL};
	fixture_refused(f, "big");
	free(data);
	fixture_free(f);
}

/* Every word of either header is made wild: an error or a start, never more. */
static void wild_headers(void **unused)
{
	static const uint32_t wild[] = {0, 1, 8, 0x7fffffff, 0x80000000, UINT32_MAX, LOAD};
	struct fixture *f = with_kernel();

	for (unsigned at = 4; at < 96; at += 4) {
		for (unsigned i = 0; i < 2 * ARRAY_SIZE(wild); i++) {
			struct boot *b;

			i & 1 ? make1() : (void)make2();
			put32(kernel + HEAD + at, wild[i / 2]);
			if (i & 1)
				checksum1();
			b = fixture_boot(f);
			assert_true(b || f->err[0]);
			if (b)
				assert_int_equal(boot_load(b, &f->state), 0);
			boot_free(b);
		}
	}
	fixture_free(f);
}

static void strangers(void **unused)
{
	static const struct {
		const char *bytes, *says;
	} list[] = {{"070701000", "--initrd"}, {"#!/bin/sh\n", "script"}, {"hello", "text"},
		{"\x1f\x8b\x08\x01", "gzip"}, {"\x7f\x01\x02\x03", "7f 01 02 03"},
		{"!<arch>\n", "Debian package"}};
	struct fixture *f = with_kernel();

	for (unsigned i = 0; i < ARRAY_SIZE(list); i++) {
		f->config.kernel.data = (const uint8_t *)list[i].bytes;
		f->config.kernel.len = strlen(list[i].bytes);
		fixture_refused(f, list[i].says);
	}
	memset(kernel, 0x90, SIZE);
	kernel[510] = 0x55;
	kernel[511] = 0xaa;
	f->config.kernel = (struct boot_file){.name = "kern", .data = kernel, .len = 512};
	fixture_refused(f, "boot sector");
	f->config.kernel.len = 0;
	fixture_refused(f, "no kernel");
	fixture_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(version_1),
		cmocka_unit_test(version_2),
		cmocka_unit_test(refused_1),
		cmocka_unit_test(refused_2),
		cmocka_unit_test(module_too_large),
		cmocka_unit_test(wild_headers),
		cmocka_unit_test(strangers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
