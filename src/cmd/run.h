/*
 * run.h - `tinamou run`: the front process, and the machine process it starts.
 *
 * The front owns the terminal and opens every file; the machine gets what it
 * needs as descriptors (SCM_RIGHTS) and opens nothing by path.
 */
#ifndef TINAMOU_RUN_CMD_H
#define TINAMOU_RUN_CMD_H

#include <stdbool.h>
#include <sys/types.h>

#include "cmd/config.h"
#include "core/display.h"
#include "host/disk.h"
#include "host/net.h"
#include "host/share.h"
#include "host/viewer.h"
#include "host/vsock.h"

#define BOOT_SECTOR_ADDR 0x7c00

#define MACHINE_MAX_FDS     32
#define MACHINE_MESSAGE_MAX 60000

/* First byte of every message between front and machine, one datagram each. */
enum message {
	MSG_START = 'S',  /* to the machine: JSON {config, engine, one_initrd, firmware, vgabios,
			     vars, initramfs, gdb};  descriptors: below */
	MSG_KEYS = 'k',   /* typed bytes for the keyboard */
	MSG_VIEWER = 'v', /* struct viewer_event: a key, or the pointer */
	MSG_SERIAL = 'c', /* typed bytes for the serial line */
	MSG_BREAK = 'b',
	MSG_DUMP = 'd',
	MSG_POWER = 'w',      /* the power button */
	MSG_SCREENSHOT = 'p', /* with a descriptor to write the PNG to; MSG_SAVED follows */
	MSG_ASK = 'a',        /* a request of a client, JSON, and its descriptor if it has one;
				 MSG_ANSWER follows */
	MSG_MONITOR = 'm',    /* a line for the monitor */
	MSG_QUIT = 'q',       /* byte: signal number, 0 for Ctrl-A x */
	MSG_TIMEOUT = 't',
	MSG_SCREEN = 's',  /* to the front: the shared frame changed */
	MSG_STARTED = 'O', /* the guest begins */
	MSG_ENDED = 'Z',   /* it runs no more: what is left is saved and told */
	MSG_SAVED = 'P',   /* to the oldest MSG_SCREENSHOT without one: byte, 1 if all is written */
	MSG_ANSWER = 'A',  /* to the oldest MSG_ASK without one: JSON */
	MSG_REGISTERS = 'D',    /* text of MSG_DUMP, to show at once */
	MSG_MONITOR_SAYS = 'M', /* its answer, in parts; an empty one is the last */
	MSG_TEXT = 'T',         /* text for standard output, after the screen */
	MSG_ERROR = 'E', /* the machine cannot start: byte status, then a line for the user */
	MSG_RESULT = 'R' /* JSON: how it ended; "saved": whether --screenshot is written */
};

/* What the screen looks like, in memory shared by both. An odd count: being written. */
struct shared_screen {
	_Atomic uint32_t sequence;
	struct text_frame frame;
};

/* Descriptors of MSG_START, in this order, then one an image. */
enum { FD_SERIAL, FD_SCREEN, FD_TRACE, FD_DEBUGCON, FD_SCREENSHOT, FD_PICTURE, FD_IMAGES };
/* FD_PICTURE: struct shared_picture, without pixels while the screen is text (a viewer is shown
 * text as a picture, too); empty where nobody would look at it. */

enum media_kind { MEDIA_DISK, MEDIA_CDROM, MEDIA_FLOPPY, MEDIA_VIRTIO };

/* Of a command in the guest (--root). */
enum stream_id { STREAM_IN, STREAM_OUT, STREAM_ERR, STREAM_CONTROL, STREAMS };

/* Folders with their servers. */
struct shares {
	struct share_server *item[CONFIG_MAX_SHARES + 1];
	const char *tag[CONFIG_MAX_SHARES + 1];
	pid_t pid[CONFIG_MAX_SHARES + 1];
	unsigned count;
};

/* Opened by the front; the machine process inherits the descriptors. */
struct media {
	struct shares shares;
	int stream[STREAMS]; /* the machine's ends, with a command */
	bool has_streams;
	struct {
		enum media_kind kind;
		int unit; /* of struct config_disk */
		struct disk_files *files;
	} item[CONFIG_MAX_DISKS + CONFIG_MAX_FLOPPIES + 3];
	unsigned count;
	bool has_image; /* the first one is the command line's IMAGE */
	struct net_link net[CONFIG_MAX_NETS];
	unsigned nets;
	struct vsock_server *vsock; /* NULL: none; the machine takes its end */
	pid_t vsock_pid;
};

int cmd_run(int argc, char **argv);
/* Runs what another command line asked for; takes over what c owns. Returns the exit status. */
int run_config(struct config *c);
bool cmd_file_exists(const char *path);

/* The machine process: talks over ctl until the machine ended; returns its exit status. */
int machine_main(int ctl, struct media *media);

#endif
