/*
 * firmware.h - firmware on the board: where its ROM lies, and what it is told.
 * Lock: before the machine starts.
 */
#ifndef TINAMOU_BOARD_FIRMWARE_H
#define TINAMOU_BOARD_FIRMWARE_H

#include "core/vm.h"
#include "dev/fw_cfg.h"

/* A BIOS, or UEFI: its last 128 KiB are below 1 MiB too. Bytes are borrowed for the machine's life.
 */
struct firmware {
	const uint8_t *code;    /* page-aligned; NULL: none */
	size_t code_len;        /* a multiple of 4 KiB, at most 16 MiB */
	uint8_t *vars;          /* flash that ends where the code begins; NULL: none */
	size_t vars_len;        /* likewise */
	const uint8_t *vgabios; /* without code: for its font alone */
	size_t vgabios_len;
	const char *boot; /* order, letters of c, d, a; NULL: none is told */
};

struct firmware_roms {
	struct bus_region top, low;
};

/* Maps the code, and the variables as a device of vm's. -EINVAL: their size. */
int firmware_map(struct vm *vm, const struct firmware *f, struct firmware_roms *roms);
/* Memory map, ACPI tables, boot order. */
void firmware_tell(struct vm *vm, const struct firmware *f, struct fw_cfg *cfg);

#endif
