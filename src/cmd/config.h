/*
 * config.h - what the command line asks for, and its one table of options.
 *
 * Options come from argv, from TINAMOU_OPTIONS and from --config FILE (JSON with
 * the options' names), all through the same table. What was accepted is kept
 * as JSON too: --print-config shows it, and the machine process is sent it.
 */
#ifndef TINAMOU_CONFIG_H
#define TINAMOU_CONFIG_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "cmd/probe.h"
#include "core/clock.h"
#include "x86/model.h"

#define CONFIG_MAX_FLATS    8
#define CONFIG_MAX_DUMPS    8
#define CONFIG_MAX_MODULES  8
#define CONFIG_MAX_DISKS    4
#define CONFIG_MAX_FLOPPIES 2
#define CONFIG_MAX_NETS     4
#define CONFIG_MAX_FORWARDS 16
#define CONFIG_MAX_SHARES   8

enum console { CONSOLE_AUTO, CONSOLE_SERIAL, CONSOLE_SCREEN, CONSOLE_NONE };
enum serial { SERIAL_STDIO, SERIAL_NONE, SERIAL_FILE, SERIAL_PTY };
enum display {
	DISPLAY_NONE,
	DISPLAY_AUTO,
	DISPLAY_TERMINAL,
	DISPLAY_BLOCKS,
	DISPLAY_SIXEL,
	DISPLAY_TEXT,
	DISPLAY_WINDOW,
	DISPLAY_VNC
};
/* KEYS: by Ctrl-A c; STDIO: what is typed goes to it first. */
enum monitor_way { MONITOR_KEYS, MONITOR_STDIO, MONITOR_NONE };
enum debugcon { DEBUGCON_NONE, DEBUGCON_STDIO, DEBUGCON_FILE };

struct config_flat {
	char *path;
	uint64_t addr;
};

struct config_module {
	char *path;
	char *args; /* the path, and what followed it after a blank */
};

/* What a disk is attached to; DEFAULT: virtio beside --kernel, else ide. */
enum disk_bus { BUS_DEFAULT, BUS_IDE, BUS_VIRTIO };

/* A disk, CD or floppy image: PATH[,format=FORMAT][,ro][,throwaway][,bus=BUS][,unit=N] */
struct config_disk {
	enum disk_bus bus;   /* of disks */
	int unit;            /* IDE: 1 and 2 primary master and slave, 3 and 4 secondary; 0: any */
	char *path, *format; /* format: NULL to probe */
	bool ro, throwaway;
};

/* A folder for the guest: DIR[,tag=TAG][,ro][,owner=root][,steady] */
struct config_share {
	char *path, *tag;
	bool ro, as_root, steady;
};

/* What starts the machine; PATH is a BIOS image or UEFI code with its variables. */
enum firmware_choice { FIRMWARE_AUTO, FIRMWARE_NONE, FIRMWARE_BIOS, FIRMWARE_UEFI, FIRMWARE_PATH };

enum net_choice { NET_USER, NET_WITH_TAP, NET_WITH_SOCKET };

/* A network card: user, tap=NAME or socket=PATH, and [,mac=][,mtu=][,forward=][,hostname=] */
struct config_net {
	enum net_choice kind;
	char *path; /* of the tap device or the socket */
	char *hostname;
	char *forward[CONFIG_MAX_FORWARDS]; /* "tcp:HOSTADDR:PORT:PORT" */
	unsigned forwards;
	bool has_mac, implied; /* implied: --publish made it, --net user may still describe it */
	uint8_t mac[6];
	uint16_t mtu;
};

/* --cloud-init user=NAME[,ssh-key=FILE][,file=USERDATA][,hostname=NAME] */
struct config_cloud {
	char *user, *ssh_key, *file, *hostname; /* NULL: not said */
	bool on;
};

struct config_dump {
	uint64_t addr, len;
};

struct config {
	json_t *set;      /* option name -> string, true, or array of strings */
	char *image;      /* the word that is no option, or NULL */
	enum image_as as; /* what it is */
	char *kernel, *initrd;
	struct config_module module[CONFIG_MAX_MODULES]; /* initrd, by config_modules */
	unsigned modules;
	char *cmdline;      /* of the kernel, NULL: empty */
	bool cmdline_as_is; /* --cmdline: nothing is added to it */
	uint64_t memory;    /* bytes */
	unsigned cpus, sockets;
	struct x86_model model;
	char *engine;     /* "auto" or a list of names */
	unsigned timeout; /* seconds, 0: none */
	enum clock_driver clock;
	struct config_flat flat[CONFIG_MAX_FLATS];
	unsigned flats;
	bool has_entry;
	uint64_t entry;
	struct config_disk disk[CONFIG_MAX_DISKS], floppy[CONFIG_MAX_FLOPPIES], cdrom;
	unsigned disks, floppies;
	struct config_net net[CONFIG_MAX_NETS];
	unsigned nets;
	bool no_net; /* --net none */
	struct config_cloud cloud;
	struct config_share share[CONFIG_MAX_SHARES];
	unsigned shares;
	bool jail;
	char *root;  /* folder to run a command over, or NULL */
	char **word; /* the command, after -- */
	unsigned words;
	char **variable; /* NAME=VALUE, or NAME, for the command */
	unsigned variables;
	char *result; /* JSON file that tells how it ended, or NULL */
	enum firmware_choice firmware;
	char *firmware_path, *firmware_vars; /* vars: where UEFI keeps its variables, or NULL */
	char *boot; /* order, letters of c (disk), d (CD-ROM), a (floppy); NULL: not asked for */
	enum console console;
	enum serial serial;
	char *serial_path;
	enum debugcon debugcon; /* port E9h */
	char *debugcon_path;
	enum display display;
	char *display_address; /* of VNC; NULL: the first port that is free */
	char *screenshot;      /* PNG file, or NULL */
	bool hvc;              /* serial is a virtio console, not COM1 */
	bool testdev, balloon;
	char *vsock; /* the path of its socket, or NULL */
	uint32_t vsock_cid;
	char *name; /* in the registry, or NULL */
	bool detach;
	bool no_reboot, triple_fault_resets, stay_halted, poweroff_stops; /* --on */
	bool paused; /* the machine waits for the monitor's cont */
	bool no_exit_port;
	uint16_t exit_port; /* 0: the board's */
	enum monitor_way monitor;
	char *gdb;        /* where a debugger may come (listen.h), or NULL */
	uint8_t gdb_arch; /* enum gdb_arch */
	/* The front's, of the qemu command alone. */
	bool qemu;         /* exit statuses are QEMU's */
	bool mux;          /* Ctrl-A is a key even where input is no terminal */
	bool keep_signals; /* Ctrl-C ends the run, as it does without a monitor in QEMU */
	bool stats, perf_map, check, trace_exits, quiet, verbose, print_config, help;
	char *trace_file;
	char *symbols; /* of the guest's code, or NULL */
	char *torture; /* of engine translate, or NULL */
	struct config_dump dump[CONFIG_MAX_DUMPS];
	unsigned dumps;
};

void config_init(struct config *c);
void config_free(struct config *c);

/*
 * Options and the image from argv[0..argc-1] (without program and subcommand).
 * 0, or -1 with a line for the user in err.
 */
int config_parse(struct config *c, int argc, char **argv, char *err, size_t errlen);
/* One option of the table by its name; value NULL: a flag. 0, or -1 with a line in err. */
int config_set(struct config *c, const char *name, const char *value, char *err, size_t errlen);
/* TINAMOU_OPTIONS (split at blanks) and TINAMOU_ENGINE; before config_parse. */
int config_environment(struct config *c, char *err, size_t errlen);
/* An object as --print-config writes it. Borrows object. */
int config_from_json(struct config *c, const json_t *object, char *err, size_t errlen);

/*
 * Splits --initrd into c->module: one file, or FILE ARGS,FILE ARGS... The front
 * knows whether there is a file of the whole name. 0, or -1 with a line in err.
 */
int config_modules(struct config *c, bool one_file, char *err, size_t errlen);

/*
 * One part of a --net or one --publish, into n; 0, or -1 with a line in err.
 * config_net.c.
 */
int config_net_kind(struct config_net *n, const char *text, char *err, size_t errlen);
int config_net_key(struct config_net *n, const char *text, char *err, size_t errlen);
int config_net_forward(struct config_net *n, const char *text, char *err, size_t errlen);
void config_net_free(struct config_net *n);
/* What follows in `run` takes the image for a --kernel; there is one, and no kernel. */
void config_image_is_kernel(struct config *c);

/* Cuts the next part of VALUE[,key=value|,flag]... off, in place; ",," is a comma. NULL: no more.
 */
char *config_next_part(char **rest);
/* Is the screen shown by a program of its own (viewer.h)? */
static inline bool config_has_viewer(const struct config *c)
{
	return c->display == DISPLAY_WINDOW || c->display == DISPLAY_VNC;
}

/* Likewise for one key of --cloud-init; cloud_init.c. */
int config_cloud_key(struct config_cloud *c, const char *text, char *err, size_t errlen);
void config_cloud_free(struct config_cloud *c);

/* "64K", "512M", "4G", plain bytes; false: not a size. */
bool config_size(const char *text, uint64_t *bytes);

/* The options, one line each, for `run --help`. */
void config_print_options(void);

#endif
