/*
 * boot.h - starts a kernel as a boot loader would, without firmware.
 *
 * boot_new looks at the files, decides by which protocol the kernel is started
 * and lays everything out; all that can go wrong with a file goes wrong there.
 * boot_load then writes it to guest memory, as often as the machine is reset.
 * Every byte of a kernel is foreign: each offset and size in it is checked.
 * Lock: boot_load with vm->lock held, as for every write to guest memory.
 */
#ifndef TINAMOU_BOOT_H
#define TINAMOU_BOOT_H

#include "core/memory.h"
#include "x86/state.h"

#define BOOT_MAX_MODULES 8

struct boot_file {
	const char *name;    /* for errors */
	const uint8_t *data; /* borrowed for the life of struct boot */
	size_t len;
	const char *args; /* of a multiboot module; NULL: none */
};

struct boot_config {
	struct boot_file kernel;
	struct boot_file module[BOOT_MAX_MODULES]; /* Linux: one after the other, as one initrd */
	unsigned modules;
	const char *cmdline; /* borrowed likewise */
	const char *console; /* Linux: added as console=... if cmdline has none; NULL: never */
	uint64_t seed; /* of random kernel addresses; 0: the kernel stays where it was linked */
	uint64_t rsdp; /* where the board keeps ACPI's root pointer, 0: none */
};

struct boot;

/*
 * NULL if the kernel cannot be started, with one line for the user in err.
 * mem: all RAM is mapped already; its map tells how much there is.
 */
struct boot *boot_new(
	struct guest_memory *mem, const struct boot_config *config, char *err, size_t errlen);
void boot_free(struct boot *b);

/* Writes guest memory and sets the groups GPR, SEG and CR of s. 0 or -EFAULT. */
int boot_load(struct boot *b, struct x86_state *s);

/* How the kernel is started, for people: one line without its end. */
const char *boot_note(const struct boot *b);

#endif
