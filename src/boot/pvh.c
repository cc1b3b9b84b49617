/*
 * pvh.c - starts an ELF file whose note names a 32-bit PVH entry point.
 *
 * Source: Xen's documentation, "x86/HVM direct boot ABI" (struct hvm_start_info
 * version 1) and the ELF note XEN_ELFNOTE_PHYS32_ENTRY. EBX holds the address
 * of the start info; flat segments, paging off.
 */
#include <stdio.h>

#include "boot/elf.h"
#include "boot/plan.h"

#define NOTE_NAME   "Xen"
#define NOTE_PHYS32 18
#define MAGIC       0x336ec578u
#define VERSION     1

enum { /* hvm_start_info, then an entry of its lists */
	SI_MAGIC = 0,
	SI_VERSION = 4,
	SI_MODULES = 12,
	SI_MODULE_LIST = 16,
	SI_CMDLINE = 24,
	SI_RSDP = 32,
	SI_MEMMAP = 40,
	SI_MEMMAP_ENTRIES = 48,
	SI_SIZE = 56,
	MODULE_SIZE = 32,
	MEMMAP_SIZE = 24
};

bool pvh_is(const struct boot_file *f)
{
	struct elf e;
	uint64_t entry;

	return !elf_open(&e, f->data, f->len) && elf_note(&e, NOTE_NAME, NOTE_PHYS32, &entry);
}

static void fill_info(struct boot *b, uint8_t *info, gpa_t at, const struct boot_modules *m)
{
	uint8_t *map = info + SI_SIZE, *list = map + b->areas * MEMMAP_SIZE;

	put32(info + SI_MAGIC, MAGIC);
	put32(info + SI_VERSION, VERSION);
	put32(info + SI_MODULES, b->config.modules);
	put64(info + SI_MODULE_LIST, at + (uint64_t)(list - info));
	put64(info + SI_CMDLINE, m->cmdline);
	put64(info + SI_RSDP, b->config.rsdp);
	put64(info + SI_MEMMAP, at + SI_SIZE);
	put32(info + SI_MEMMAP_ENTRIES, b->areas);
	for (unsigned i = 0; i < b->areas; i++) {
		put64(map + i * MEMMAP_SIZE, b->area[i].base);
		put64(map + i * MEMMAP_SIZE + 8, b->area[i].size);
		put32(map + i * MEMMAP_SIZE + 16, b->area[i].type);
	}
	for (unsigned i = 0; i < b->config.modules; i++) {
		put64(list + i * MODULE_SIZE, m->addr[i]);
		put64(list + i * MODULE_SIZE + 8, b->config.module[i].len);
		put64(list + i * MODULE_SIZE + 16, m->args[i]);
	}
}

static int put_info(struct boot *b, const struct boot_modules *m)
{
	struct boot_piece piece = {.what = "its start info"};
	uint8_t *info;
	int err;

	piece.len = piece.size =
		SI_SIZE + b->areas * MEMMAP_SIZE + (uint64_t)b->config.modules * MODULE_SIZE;
	info = boot_alloc(b, piece.len);
	if (!info)
		return boot_fail(b, "the host has no memory for the start info");
	piece.data = info;
	err = boot_place(b, &piece, BOOT_LOW_DATA, BOOT_LOW_END, 8);
	if (!err)
		fill_info(b, info, piece.addr, m);
	b->gpr[X86_RBX] = piece.addr;
	return err;
}

int pvh_plan(struct boot *b)
{
	const struct boot_file *f = &b->config.kernel;
	struct boot_modules m;
	struct elf e;
	int err;

	if (elf_open(&e, f->data, f->len) || !elf_note(&e, NOTE_NAME, NOTE_PHYS32, &b->rip))
		return boot_fail(b, "%s: no PVH entry point", f->name);
	err = boot_put_elf(b, &e);
	if (!err && !boot_is_ram(b, b->rip, 1))
		err = boot_fail(b, "%s: its entry point %#llx is no RAM; is the file whole?",
			f->name, (unsigned long long)b->rip);
	if (!err)
		err = boot_put_modules(b, boot_cmdline(b, boot_is_linux(f)), &m);
	if (!err)
		err = put_info(b, &m);
	if (err)
		return err;
	snprintf(b->note, sizeof(b->note), "PVH, 32-bit; entry at %#llx%s%s",
		(unsigned long long)b->rip, b->console_added ? "; added console=" : "",
		b->console_added ? b->config.console : "");
	return boot_tables(b);
}
