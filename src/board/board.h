/*
 * board.h - the wiring diagram of the `pc` board: who sits at which port,
 * address and interrupt line, and how the machine starts.
 *
 * Lock: board_new before the machine starts; the others with vm->lock held.
 */
#ifndef TINAMOU_BOARD_H
#define TINAMOU_BOARD_H

#include "board/chipset.h"
#include "board/firmware.h"
#include "core/chardev.h"
#include "core/display.h"
#include "core/vm.h"
#include "util/util.h"
#include "x86/state.h"

/* Bytes that are copied into guest memory at every reset. */
struct board_image {
	const char *name; /* for errors */
	const uint8_t *data;
	size_t len;
	gpa_t addr;
};

struct board_config {
	const struct board_image *image; /* borrowed for the board's life */
	unsigned images;
	/* Instead of images and entry: writes the kernel, sets GPR, SEG and CR. May be NULL. */
	int (*load)(void *ctx, struct x86_state *s);
	void *load_ctx;
	gpa_t entry;            /* real mode: 0000:entry below 64 KiB, else (entry>>4):(entry&15) */
	uint64_t epoch;         /* seconds since 1970 UTC at power-on, for the CMOS clock */
	struct chardev *serial; /* COM1; NULL: nobody listens. Not owned. */
	struct chardev *hvc;    /* a virtio console, likewise; NULL: there is none */
	struct chardev *debug;  /* port E9h, likewise */
	struct chipset_drive drive[CHIPSET_DRIVES]; /* of the two IDE channels */
	struct disk *virtio_disk[CHIPSET_DISKS];    /* NULL: no more of them */
	struct chipset_net net[CHIPSET_NETS];       /* .dev NULL: no more of them */
	struct chipset_share share[CHIPSET_SHARES]; /* share NULL: no more of them */
	struct disk *floppy[2];                     /* NULL: none; the first one first */
	struct disk *boot_disk;   /* its first sector is started, at 7C00h; NULL: images are */
	struct firmware firmware; /* starts instead of all of these; .code NULL: none */
	uint16_t exit_port;       /* writing there ends the machine; 0: F4h */
	bool no_exit_port;
	bool poweroff_stops;  /* the machine stands still after it, and does not end */
	struct virtio *ports; /* a console device with streams; the board's from then on */
	bool entropy;         /* a virtio device with random numbers */
	bool balloon;         /* one by which the guest gives memory back */
	bool testdev;         /* the device that test programs for CPUs expect */
};

struct board;

#define BOARD_LOW_RAM_END (3 * GiB) /* RAM beyond continues at 4 GiB */

#define BOARD_RSDP 0xe0000 /* where the ACPI tables begin */

/*
 * Builds the board on vm: RAM, devices, images. Fails with -errno and a line
 * for the user in err, e.g. if an image does not fit into RAM. The board is
 * freed with the machine.
 */
int board_new(struct vm *vm, const struct board_config *config, struct board **out, char *err,
	size_t errlen);

/* The text screen as it is now. */
void board_screen(struct board *b, struct text_frame *frame);
/* Is the screen a picture, not text? */
bool board_screen_graphics(const struct board *b);
/* The screen as a monitor shows it; the caller frees the pixels. */
void board_picture(struct board *b, struct picture *out);
/* Did the guest ever write to the screen? */
bool board_screen_touched(const struct board *b);
/* Takes the disc out of the CD-ROM drive under the guest; false: there is no such drive. */
bool board_eject(struct board *b);
/* The state of a part, for people; `which` is none of a guest's to choose. */
enum board_part { BOARD_PIC, BOARD_LAPIC, BOARD_IOAPIC, BOARD_PCI };
void board_print(struct board *b, enum board_part which, FILE *out);
/* The user presses the power button: an ACPI event. vm->lock held. */
void board_power_button(struct board *b);
/*
 * Bytes of memory that the guest is to keep, rounded to what it can; false: it has no balloon.
 * And what it was asked to keep and says it has.
 */
bool board_balloon(struct board *b, uint64_t bytes);
bool board_balloon_state(const struct board *b, uint64_t *target, uint64_t *actual);
/* Bytes typed by the user, as ASCII; what does not fit into the keyboard's queue is dropped. */
void board_type(struct board *b, const char *bytes, size_t len);
/* A key and the mouse of a keyboard and mouse that the user has: ps2_key, ps2_mouse. */
void board_key(struct board *b, uint16_t key, bool down);
void board_mouse(struct board *b, int dx, int dy, uint8_t buttons);

#endif
