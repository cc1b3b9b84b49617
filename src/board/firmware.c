/*
 * firmware.c - maps a BIOS at the top of 4 GiB and below 1 MiB, and lays out
 * the files by which it learns of the machine.
 *
 * Source: the names and formats are those that SeaBIOS and OVMF look for, as
 * QEMU's specification of the firmware configuration device and SeaBIOS's
 * documentation of its runtime configuration have them.
 */
#include "board/firmware.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "board/acpi.h"
#include "board/board.h"
#include "dev/pflash.h"
#include "util/util.h"

#define ROM_UNIT      (4 * KiB)
#define ROM_MAX       (16 * MiB)
#define LOW_SIZE      (128 * KiB)
#define E820_RAM      1u
#define BOOTORDER_MAX 512

struct e820_entry {
	uint64_t addr, size;
	uint32_t type;
} __attribute__((packed));

static void make_rom(
	struct bus_region *r, const char *name, gpa_t base, const uint8_t *bytes, size_t size)
{
	*r = (struct bus_region){.name = name,
		.base = base,
		.size = size,
		.kind = BUS_ROM,
		.prio = BUS_PRIO_FIXED,
		.host = (uint8_t *)bytes}; /* a ROM's is only read */
}

static bool bad_size(size_t len)
{
	return !len || len % ROM_UNIT || len > ROM_MAX;
}

static int map_vars(struct vm *vm, const struct firmware *f)
{
	struct pflash *flash =
		pflash_new("variables", &vm->mem_bus, f->vars, (uint32_t)f->vars_len);

	vm_add_device(vm, pflash_device(flash));
	pflash_region(flash)->base = 4 * GiB - f->code_len - f->vars_len;
	return bus_map(&vm->mem_bus, pflash_region(flash));
}

int firmware_map(struct vm *vm, const struct firmware *f, struct firmware_roms *roms)
{
	size_t low = MIN(f->code_len, LOW_SIZE);
	int err;

	if (bad_size(f->code_len) || (f->vars && bad_size(f->vars_len)))
		return -EINVAL;
	make_rom(&roms->top, "BIOS", 4 * GiB - f->code_len, f->code, f->code_len);
	make_rom(&roms->low, "BIOS below 1 MiB", MiB - low, f->code + f->code_len - low, low);
	err = bus_map(&vm->mem_bus, &roms->top);
	if (!err)
		err = bus_map(&vm->mem_bus, &roms->low);
	return err || !f->vars ? err : map_vars(vm, f);
}

/* RAM as the board maps it; what firmware keeps for itself it takes away. */
static void tell_memory(struct vm *vm, struct fw_cfg *cfg)
{
	struct e820_entry map[2] = {
		{0, MIN(vm->ram.size, BOARD_LOW_RAM_END), E820_RAM},
		{4 * GiB, 0, E820_RAM},
	};

	if (vm->ram.size > BOARD_LOW_RAM_END)
		map[1].size = vm->ram.size - BOARD_LOW_RAM_END;
	fw_cfg_add_file(cfg, "etc/e820", map, map[1].size ? sizeof(map) : sizeof(map[0]));
}

/* Device paths, one a line, the first one is tried first. */
static void tell_boot_order(const char *order, struct fw_cfg *cfg)
{
	static const char *const disk = "/pci@i0cf8/ide@1,1/drive@0/disk@0\n"
					"/pci@i0cf8/ide@1,1/drive@0/disk@1\n"
					"/pci@i0cf8/ide@1,1/drive@1/disk@1\n";
	static const char *const cdrom = "/pci@i0cf8/ide@1,1/drive@1/disk@0\n";
	static const char *const floppy = "/pci@i0cf8/isa@1/fdc@03f0/floppy@0\n";
	char text[BOOTORDER_MAX] = "";
	size_t len = 0;

	for (; order && *order; order++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s",
			*order == 'a'   ? floppy
			: *order == 'd' ? cdrom
					: disk);
	if (len)
		fw_cfg_add_file(cfg, "bootorder", text, (uint32_t)len + 1);
}

static void tell_acpi(struct vm *vm, struct fw_cfg *cfg)
{
	struct acpi_blobs *b = acpi_blobs_new(vm->vcpus);

	fw_cfg_add_file(cfg, ACPI_FILE_RSDP, b->rsdp, sizeof(b->rsdp));
	fw_cfg_add_file(cfg, ACPI_FILE_TABLES, b->tables, b->tables_len);
	fw_cfg_add_file(cfg, "etc/table-loader", b->script, b->script_len);
	acpi_blobs_free(b);
}

void firmware_tell(struct vm *vm, const struct firmware *f, struct fw_cfg *cfg)
{
	const uint64_t no_menu = 0;

	tell_memory(vm, cfg);
	tell_acpi(vm, cfg);
	tell_boot_order(f->boot, cfg);
	fw_cfg_add_file(cfg, "etc/show-boot-menu", &no_menu, sizeof(no_menu));
	fw_cfg_add_number(cfg, FW_CFG_IRQ0_OVERRIDE, 1, 1);
}
