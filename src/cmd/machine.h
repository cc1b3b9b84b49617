/*
 * machine.h - the machine process of a run, inside: see machine.c and the files
 * beside it. Its main thread runs the loop and holds vm->lock while it works.
 */
#ifndef TINAMOU_MACHINE_H
#define TINAMOU_MACHINE_H

#include "board/board.h"
#include "boot/boot.h"
#include "cmd/run.h"
#include "core/symbols.h"
#include "core/vm.h"
#include "debug/gdb.h"
#include "debug/monitor.h"
#include "dev/virtio_ports.h"
#include "host/picture.h"
#include "util/util.h"

#define SERIAL_INPUT_MAX 65536
#define MACHINE_TOPICS   6 /* of the monitor's info */
#define MACHINE_COMMANDS 2 /* of the monitor, beside its own */

/* A port of the console device, and the socket behind it. */
struct stream {
	int fd;
	unsigned port;
	struct virtio *device;
	struct loop_fd *watch;
	bool full;        /* the socket took less than all */
	bool ended, told; /* no more input: the front said so, the guest was told */
	uint8_t in[4096]; /* what the guest had no room for */
	size_t in_len;
};

struct machine {
	int ctl;
	int fd[MACHINE_MAX_FDS];
	unsigned fds;
	struct config config;
	const struct engine_ops *engine;
	struct vm *vm;
	struct media *media;
	struct disk *disk[ARRAY_SIZE(((struct media *)0)->item)];
	unsigned disks;
	struct net *net[CONFIG_MAX_NETS];
	struct share *share[CONFIG_MAX_SHARES + 1];
	unsigned shares;
	struct vsock *vsock; /* NULL: none */
	struct stream stream[STREAMS];
	FILE *map; /* --perf-map, or NULL */
	struct symbols *symbols;
	struct board *board;
	struct board_image image[CONFIG_MAX_FLATS + 1];
	unsigned images;
	int firmware_fd, vgabios_fd, vars_fd, initramfs_fd, gdb_fd; /* indices in fd, -1: none */
	struct boot_config boot_config;
	int kernel_fd;
	struct boot *boot; /* NULL: images are started */
	struct shared_screen *screen;
	struct shared_picture *picture; /* NULL: nobody looks */
	unsigned ticks;
	uint64_t generation;
	int tick;

	struct gdb *gdb; /* NULL: no debugger may come */
	struct monitor monitor;
	struct monitor_topic topic[MACHINE_TOPICS];
	struct monitor_command command[MACHINE_COMMANDS];

	struct chardev serial, debugcon;
	struct loop_fd *serial_watch;
	uint8_t *serial_out; /* what the front has not taken yet */
	size_t serial_len, serial_out_room;
	bool serial_touched;
	uint8_t serial_in[SERIAL_INPUT_MAX]; /* what the UART had no room for */
	size_t serial_in_len;
};

/* One message to the front; what is longer than MACHINE_MESSAGE_MAX is cut. */
void machine_send(struct machine *m, char type, const void *data, size_t len);

/* ---- machine_build.c: 0 or -errno ---- */

int machine_map_images(struct machine *m);
int machine_open_kernel(struct machine *m);

/* The VM with its board, disks and kernel; err says why not. */
int machine_build(struct machine *m, char *err, size_t errlen);

/* Unpacked, a kernel is large. A reset reads it again, and checks it again. */
void machine_forget_kernel(struct machine *m);
void machine_free_shares(struct machine *m);
void machine_free_vsock(struct machine *m);
void machine_free_disks(struct machine *m);
void machine_free_nets(struct machine *m);

/* ---- machine_serial.c: where the serial line and the debug console go ---- */

void machine_serial_attach(struct machine *m);

/* Typed faster than the guest reads: kept, as far as there is room. */
void machine_serial_input(struct machine *m, const void *data, size_t len);
void machine_serial_ready(void *machine, uint32_t events);

/* Blocking at the end: everything the guest said gets out. */
void machine_serial_drain(struct machine *m);

/* ---- machine_streams.c ---- */

int machine_make_streams(struct machine *m, struct board_config *bc);
void machine_watch_streams(struct machine *m);

/* ---- machine_screen.c ---- */

int machine_map_screen(struct machine *m);
int machine_map_picture(struct machine *m);
void machine_screen_tick(void *machine, uint32_t events);
void machine_show_screen(struct machine *m);
void machine_show_picture(struct machine *m);
int machine_save_picture(struct machine *m, int fd); /* 0 or -errno, which is logged */

/* ---- machine_monitor.c ---- */

void machine_monitor_attach(struct machine *m);
/* line ends in a zero. */
void machine_monitor_line(struct machine *m, const char *line);

/* ---- machine_report.c ---- */

/* Memory dumps and statistics, to the front. */
void machine_report_text(struct machine *m);

/* Executed by all vCPUs; 0: the engine does not count. */
uint64_t machine_instructions(const struct machine *m);

/* Ctrl-A d: registers of all vCPUs. */
void machine_dump_registers(struct machine *m);

/* ---- machine_ask.c ---- */

/* Answers a request of a client of the machine's socket. fd came with it, or is -1. */
void machine_answer(struct machine *m, const char *request, size_t len, int fd);

#endif
