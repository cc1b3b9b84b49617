/* describe.c - what a file is that no loader takes: for an error that helps. */
#include <stdio.h>

#include "boot/elf.h"
#include "boot/plan.h"
#include "boot/unpack.h"

static const struct {
	unsigned at;
	const char *bytes, *what;
} known[] = {
	{0, "070701", "a cpio archive, an initramfs; give it with --initrd"},
	{0, "!<arch>\n", "an archive or Debian package; the kernel is in it, under boot/"},
	{0, "#!", "a script"},
	{0, "MZ", "an EFI or DOS program"},
	{0x8001, "CD001", "a CD image"},
	{257, "ustar", "a tar archive"},
};

static const char *by_bytes(const struct boot_file *f)
{
	for (unsigned i = 0; i < ARRAY_SIZE(known); i++) {
		size_t n = strlen(known[i].bytes);

		if (range_in(known[i].at, n, f->len) &&
			!memcmp(f->data + known[i].at, known[i].bytes, n))
			return known[i].what;
	}
	if (f->len >= 512 && get16(f->data + 510) == 0xaa55)
		return "a boot sector or disk image; a boot sector is started without --kernel";
	return NULL;
}

static bool is_text(const struct boot_file *f)
{
	for (size_t i = 0; i < MIN(f->len, 512); i++)
		if (f->data[i] < 0x20 && !strchr("\t\n\r\f", f->data[i] ? f->data[i] : 1))
			return false;
	return f->len > 0;
}

void boot_describe(const struct boot_file *f, char *text, size_t len)
{
	const char *format = unpack_format(f->data, f->len), *why;
	struct elf e;
	int n;

	if (elf_is(f->data, f->len)) {
		why = elf_open(&e, f->data, f->len);
		snprintf(text, len, "an ELF file; %s",
			why ? why : "it has no multiboot header, no PVH note, and is no Linux");
	} else if (format) {
		snprintf(text, len, "it is packed with %s; unpack it first", format);
	} else if (by_bytes(f)) {
		snprintf(text, len, "it is %s", by_bytes(f));
	} else if (is_text(f)) {
		snprintf(text, len, "it is text");
	} else {
		n = snprintf(
			text, len, "no Linux, multiboot or ELF header is in it; it starts with");
		for (size_t i = 0; i < MIN(f->len, 8); i++)
			n += snprintf(text + n, len - (size_t)n, " %02x", f->data[i]);
	}
}
