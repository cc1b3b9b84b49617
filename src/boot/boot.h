/*
 * boot.h - from files to a machine's memory and first instruction.
 *
 * A loader checks what it was given and writes a plan: pieces of memory and
 * the state of the first vCPU. The board carries the plan out at every reset.
 * A loader opens nothing and trusts nothing in the files. No locks: it runs
 * before the machine does.
 */
#ifndef TINAMOU_BOOT_H
#define TINAMOU_BOOT_H

#include <stddef.h>

#include "core/bus.h"
#include "x86/state.h"

#define BOOT_MAX_PIECES 16

struct boot_piece {
	const char *name;
	const uint8_t *data; /* len bytes, followed by zeros up to size */
	size_t len;
	uint64_t size;
	gpa_t addr;
	bool owned; /* by the plan, which frees it */
};

struct boot_plan {
	struct boot_piece piece[BOOT_MAX_PIECES];
	unsigned pieces;
	struct x86_state state; /* general registers, segments, control registers */
};

/* Memory as the board lays it out: [0, low), and `high` bytes from 4 GiB on. */
struct boot_memory {
	uint64_t low, high;
	gpa_t rsdp; /* of the ACPI tables, 0: none */
};

struct boot_file {
	const char *name; /* as the user gave it */
	const uint8_t *data;
	size_t len; /* 0: no such file */
};

/* In the order in which a file is asked what it is. */
enum boot_kind { BOOT_UNKNOWN, BOOT_LINUX };
enum boot_kind boot_probe(const struct boot_file *kernel);

struct boot_request {
	struct boot_file kernel, initrd;
	const char *cmdline;
	struct boot_memory memory;
	uint64_t random; /* for a kernel's base; 0: where it wants to be */
};

/*
 * Linux bzImage or vmlinux by the 64-bit or 32-bit boot protocol (Documentation/arch/x86/
 * boot.rst). The files stay the caller's and must outlive the plan. 0, or
 * -errno and a line for the user that names cause and cure.
 */
int boot_linux(
	const struct boot_request *request, struct boot_plan *plan, char *err, size_t errlen);

void boot_plan_free(struct boot_plan *plan);

/* ---- between the loaders (plan.c) ---- */

/* Borrows data. -ENOSPC if there are too many pieces. */
int plan_add(struct boot_plan *plan, const char *name, gpa_t addr, const void *data, size_t len,
	uint64_t size);
/* The same with a copy. */
int plan_copy(struct boot_plan *plan, const char *name, gpa_t addr, const void *data, size_t len);
/* GDT at addr with flat code (10h) and data (18h), and the state of flat protected mode. */
int plan_flat_state(struct boot_plan *plan, gpa_t gdt, gpa_t entry);
/* Long mode with the first 4 GiB mapped one to one by 2 MiB pages; six pages from tables on. */
int plan_long_state(struct boot_plan *plan, gpa_t gdt, gpa_t tables, gpa_t entry);

#endif
