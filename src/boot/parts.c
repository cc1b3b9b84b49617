/*
 * parts.c - what several protocols hand over in the same way: the segments of
 * an ELF file, a command line, modules.
 */
#include <stdio.h>
#include <stdlib.h>

#include "boot/elf.h"
#include "boot/plan.h"

#define PAGE UINT64_C(4096)

bool boot_is_linux(const struct boot_file *f)
{
	static const char banner[] = "Linux version ";

	return memmem(f->data, f->len, banner, sizeof(banner) - 1);
}

int boot_put_elf(struct boot *b, const struct elf *e)
{
	int err = 0;

	for (unsigned i = 0; i < e->phnum && !err; i++) {
		struct elf_segment s = elf_segment(e, i);
		struct boot_piece piece = {.what = "a segment",
			.addr = s.paddr,
			.len = s.filesz,
			.size = s.memsz,
			.zero = true};

		if (s.type != ELF_LOAD)
			continue; /* nobody has checked where it is */
		piece.data = e->data + s.offset;
		err = boot_put(b, &piece);
	}
	if (!err && !b->pieces)
		err = boot_fail(b, "%s: an ELF file with nothing to load", b->config.kernel.name);
	return err;
}

/* ---- the command line ---- */

bool boot_has_word(const char *text, const char *prefix)
{
	const char *at = text;

	while ((at = strstr(at, prefix))) {
		if (at == text || at[-1] == ' ')
			return true;
		at++;
	}
	return false;
}

const char *boot_cmdline(struct boot *b, bool add_console)
{
	const char *text = b->config.cmdline ? b->config.cmdline : "";
	size_t room;
	char *all;

	if (!b->config.console || !add_console || boot_has_word(text, "console="))
		return text;
	room = strlen(text) + strlen(b->config.console) + sizeof(" console=");
	all = boot_alloc(b, room);
	b->console_added = all;
	if (all)
		snprintf(all, room, "%s%sconsole=%s", text, *text ? " " : "", b->config.console);
	return all ? all : text;
}

/* ---- modules ---- */

static int put_text(struct boot *b, const char *text, gpa_t *addr)
{
	struct boot_piece piece = {.what = "a command line",
		.data = (const uint8_t *)text,
		.len = strlen(text) + 1,
		.size = strlen(text) + 1};
	int err = boot_place(b, &piece, BOOT_LOW_DATA, BOOT_LOW_END, 1);

	*addr = piece.addr;
	return err;
}

static gpa_t kernel_end(const struct boot *b)
{
	gpa_t end = BOOT_HIGH;

	for (unsigned i = 0; i < b->pieces; i++)
		end = MAX(end, b->piece[i].addr + b->piece[i].size);
	return end;
}

int boot_put_modules(struct boot *b, const char *cmdline, struct boot_modules *m)
{
	gpa_t at = round_up(kernel_end(b), PAGE);
	int err = put_text(b, cmdline, &m->cmdline);

	for (unsigned i = 0; i < b->config.modules && !err; i++) {
		const struct boot_file *f = &b->config.module[i];
		struct boot_piece piece = {.what = f->name,
			.addr = at,
			.data = f->data,
			.len = f->len,
			.size = f->len};

		m->addr[i] = at;
		at = round_up(at + f->len, PAGE);
		err = at > BOOT_4G ? boot_fail(b, "%s: ends above 4 GiB", f->name)
				   : boot_put(b, &piece);
		if (!err)
			err = put_text(b, f->args ? f->args : f->name, &m->args[i]);
	}
	return err;
}
