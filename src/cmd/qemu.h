/*
 * qemu.h - the qemu-system command, inside: qemu.c has the table of flags,
 * qemu_drive.c what concerns disks, qemu_device.c -device, qemu_net.c networks.
 *
 * Flags are only read here. What they mean is said to the table of config.c, so
 * that `tinamou qemu` and `tinamou run` are two ways to write one configuration.
 * Some flags mean something only together; they are kept until all are read.
 */
#ifndef TINAMOU_QEMU_H
#define TINAMOU_QEMU_H

#include <stdbool.h>

#include "cmd/config.h"

#define QEMU_MAX_DRIVES   16
#define QEMU_MAX_CHARDEVS 8
#define QEMU_MAX_SERIALS  4
#define QEMU_MAX_NETS     8

enum qemu_if { IF_IDE, IF_VIRTIO, IF_FLOPPY, IF_PFLASH, IF_NONE };

struct qemu_drive {
	char *path, *format, *id;
	enum qemu_if where;
	int index; /* -1: the next one that is free */
	bool cdrom, ro, throwaway;
};

/* Where bytes go, in the words of -serial: "stdio", "file:PATH", ... */
struct qemu_chardev {
	char *id, *where;
};

/* A network, and whether the machine has a card on it. */
struct qemu_net {
	char *id, *text, *mac; /* text: of --net, NULL: only a card */
	bool card, hub;        /* hub: of -net, which has no names */
};

struct qemu {
	struct config *c;
	const char *flag; /* at hand, with its dash */
	char *err;
	size_t errlen;

	struct qemu_drive drive[QEMU_MAX_DRIVES];
	unsigned drives;
	struct qemu_chardev chardev[QEMU_MAX_CHARDEVS];
	unsigned chardevs;
	struct qemu_net net[QEMU_MAX_NETS];
	unsigned nets;
	char *serial[QEMU_MAX_SERIALS]; /* as given */
	unsigned serials;
	char *monitor, *debugcon, *hvc; /* likewise; NULL: not given */
	char *accel;                    /* a list by colons */
	bool nographic, nodefaults, snapshot, exit_port;
	bool headless; /* -display none */
	bool display;  /* one was asked for */
	bool done;     /* help was printed */
};

/* NAME=VALUE of a list by commas. */
struct qemu_option {
	char *key, *value; /* value: "on" where only the key is written */
};

/*
 * The next option of a list, which is cut in place. first: what a first word
 * without an equals sign is the value of; NULL for the others. false: no more.
 */
bool qemu_next_option(char **rest, const char *first, struct qemu_option *o);
/* -1, with "FLAG: " and the line in q->err. */
__attribute__((format(printf, 2, 3))) int qemu_fail(struct qemu *q, const char *fmt, ...);
/* A warning: the flag is understood, and what it asks for is not there. */
int qemu_without(struct qemu *q, const char *what);
/* An option of config.c's table; 0 or -1 with q->err. */
int qemu_set(struct qemu *q, const char *name, const char *value);
bool qemu_on(const char *value);

int qemu_drive_add(struct qemu *q, const char *value); /* -drive */
/* A drive with nothing but a path; index -1: the next one. */
int qemu_drive_path(struct qemu *q, const char *path, enum qemu_if where, int index, bool cdrom);
struct qemu_drive *qemu_drive_find(struct qemu *q, const char *id);
/* When all flags are read: disks in the order of their units. */
int qemu_drives_finish(struct qemu *q);

int qemu_device_add(struct qemu *q, const char *value); /* -device */
/* Network cards and what they are connected to: -net, -nic, -netdev, and -device by its name. */
int qemu_net_flag(struct qemu *q, const char *value);
bool qemu_net_is_device(const char *name);
int qemu_net_device(struct qemu *q, const char *value);

int qemu_net_finish(struct qemu *q);
void qemu_net_free(struct qemu *q);

/* Without program and subcommand; name: as which QEMU it was called. */
int cmd_qemu(const char *name, int argc, char **argv);

#endif
