/*
 * plan.h - what the loaders of this room share: where in guest memory what will
 * be written, and how vCPU 0 enters. A loader fills the plan and writes nothing.
 */
#ifndef TINAMOU_BOOT_PLAN_H
#define TINAMOU_BOOT_PLAN_H

#include <string.h>

#include "boot/boot.h"
#include "util/util.h"

#define BOOT_MAX_AREAS  16
#define BOOT_MAX_PIECES 64

#define BOOT_LOW_DATA UINT64_C(0x10000) /* from here on: what a loader hands over */
#define BOOT_EBDA     UINT64_C(0x9fc00) /* where PC firmware keeps its data: not for the kernel */
#define BOOT_LOW_END  UINT64_C(0x90000) /* Linux puts a trampoline above while it unpacks itself */
#define BOOT_BASE_END UINT64_C(0xa0000)
#define BOOT_ROM      UINT64_C(0xf0000)
#define BOOT_HIGH     MiB /* kernels are loaded from here on */
#define BOOT_4G       (4 * GiB)

#define BOOT_SEL_CODE 0x10 /* in the GDT of every kernel, as the Linux boot protocol has them */
#define BOOT_SEL_DATA 0x18

enum { AREA_RAM = 1, AREA_RESERVED = 2 }; /* the types of ACPI's memory map (e820) */

struct boot_area {
	gpa_t base;
	uint64_t size;
	uint32_t type;
};

/*
 * len bytes of data at addr; [len, size) belongs to it too: zeroed if asked, else left alone.
 * data NULL: they are there already.
 */
struct boot_piece {
	const char *what;
	gpa_t addr;
	const uint8_t *data;
	uint64_t len, size;
	bool zero;
};

struct boot {
	struct guest_memory *mem;
	struct boot_config config;
	struct boot_area area[BOOT_MAX_AREAS]; /* ascending */
	unsigned areas;
	struct boot_piece piece[BOOT_MAX_PIECES];
	unsigned pieces;
	bool console_added;
	bool long_mode; /* else 32-bit protected mode without paging */
	gpa_t gdt, page_tables;
	uint64_t rip, gpr[X86_GPR_COUNT];
	void *owned[BOOT_MAX_PIECES]; /* freed with the plan */
	unsigned owneds;
	char note[200];
	char *err;
	size_t errlen;
};

/* Each returns -EINVAL if it is not so, and has then said why. */
int linux_plan(struct boot *b);
int linux_plan_elf(struct boot *b); /* a vmlinux without a PVH entry point */
int multiboot_plan(struct boot *b);
int pvh_plan(struct boot *b);

/* Does the kernel's file look like one for this loader? */
bool linux_is(const struct boot_file *f);
bool multiboot_is(const struct boot_file *f);
bool pvh_is(const struct boot_file *f);
/* Anywhere in it: the banner that every Linux prints. */
bool boot_is_linux(const struct boot_file *f);

/* What the file is, as far as its first bytes tell: a clause for an error. */
void boot_describe(const struct boot_file *f, char *text, size_t len);

/* Says why the kernel cannot be started. Always -EINVAL. */
__attribute__((format(printf, 2, 3))) int boot_fail(struct boot *b, const char *fmt, ...);

/* Zeroed memory that lives as long as the plan; NULL: the host has not so much. */
void *boot_alloc(struct boot *b, size_t size);

/* Is [addr, addr + size) usable RAM, and all of it one area? */
bool boot_is_ram(const struct boot *b, gpa_t addr, uint64_t size);

/* Puts a piece at a fixed place. Fails if that is no RAM or taken. */
int boot_put(struct boot *b, const struct boot_piece *piece);

/*
 * Puts a piece at the highest free place in [low, high), aligned to align
 * (a power of two); *addr is where. Fails if there is none.
 */
int boot_place(struct boot *b, struct boot_piece *piece, gpa_t low, gpa_t high, uint64_t align);

/* The GDT, and page tables for long mode, below BOOT_LOW_END. */
int boot_tables(struct boot *b);

/* Where things of the same kind went. */
struct boot_modules {
	gpa_t cmdline, addr[BOOT_MAX_MODULES], args[BOOT_MAX_MODULES];
};

/* Puts the loadable segments of e, which lies in memory that outlives the plan. */
struct elf;
int boot_put_elf(struct boot *b, const struct elf *e);

/* Does a word of text start with prefix? */
bool boot_has_word(const char *text, const char *prefix);

/* The command line; with the console of the configuration if asked and it names none. */
const char *boot_cmdline(struct boot *b, bool add_console);

/* Puts the command line into low memory and the modules behind the kernel, on pages. */
int boot_put_modules(struct boot *b, const char *cmdline, struct boot_modules *m);

/* Unaligned little-endian fields of files. The caller has checked that they are there. */
static inline uint16_t get16(const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static inline uint32_t get32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static inline uint64_t get64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static inline void put16(uint8_t *p, uint16_t v)
{
	memcpy(p, &v, sizeof(v));
}

static inline void put32(uint8_t *p, uint32_t v)
{
	memcpy(p, &v, sizeof(v));
}

static inline void put64(uint8_t *p, uint64_t v)
{
	memcpy(p, &v, sizeof(v));
}

static inline uint64_t round_up(uint64_t value, uint64_t align)
{
	return (value + align - 1) & ~(align - 1);
}

#endif
