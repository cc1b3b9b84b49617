/*
 * qemu_device.c - the qemu command's -device: a table of those that are there,
 * by the names and buses that -device help prints, and of those that are left
 * out of the machine with a warning.
 */
#include "cmd/qemu.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/util.h"

#define DEBUGCON_PORT 0xe9

struct device {
	const char *name, *bus, *what;
	/* rest: the options behind the name, cut in place; NULL: none. */
	int (*add)(struct qemu *q, const struct device *d, char *rest);
};

/* Part of the machine anyhow, or of what another flag makes. */
static int is_there(struct qemu *q, const struct device *d, char *rest)
{
	return 0;
}

static int leave_out(struct qemu *q, const struct device *d, char *rest)
{
	return qemu_without(q, d->what);
}

/* iosize counts in bytes; the value is what the width of the write says. */
static int debug_exit(struct qemu *q, const struct device *d, char *rest)
{
	const char *port = "501";
	struct qemu_option o;
	char hex[16];

	while (qemu_next_option(&rest, NULL, &o)) {
		if (strcmp(o.key, "iobase"))
			continue;
		snprintf(hex, sizeof(hex), "%lx", strtoul(o.value, NULL, 0));
		port = hex;
	}
	q->exit_port = true;
	return qemu_set(q, "exit-port", port);
}

static int testdev(struct qemu *q, const struct device *d, char *rest)
{
	return qemu_set(q, "testdev", NULL);
}

static int balloon(struct qemu *q, const struct device *d, char *rest)
{
	return qemu_set(q, "balloon", NULL);
}

static const char *chardev_where(struct qemu *q, const char *id)
{
	for (unsigned i = 0; i < q->chardevs; i++)
		if (!strcmp(q->chardev[i].id, id))
			return q->chardev[i].where;
	return NULL;
}

/* The chardev= of the options, in words of -serial; NULL: there is none such. */
static const char *chardev_of(struct qemu *q, char *rest, unsigned long *iobase)
{
	const char *where = NULL;
	struct qemu_option o;

	while (qemu_next_option(&rest, NULL, &o)) {
		if (!strcmp(o.key, "chardev"))
			where = chardev_where(q, o.value);
		if (!strcmp(o.key, "iobase"))
			*iobase = strtoul(o.value, NULL, 0);
	}
	return where;
}

static int debugcon(struct qemu *q, const struct device *d, char *rest)
{
	unsigned long port = DEBUGCON_PORT;
	const char *where = chardev_of(q, rest, &port);

	if (!where)
		return qemu_fail(q, "%s: it wants the chardev= of a -chardev before it", d->name);
	if (port != DEBUGCON_PORT)
		return qemu_without(q, "the debug console is at port e9h alone");
	free(q->debugcon);
	q->debugcon = xstrdup(where);
	return 0;
}

static int virtconsole(struct qemu *q, const struct device *d, char *rest)
{
	unsigned long none;
	const char *where = chardev_of(q, rest, &none);

	if (!where)
		return qemu_fail(q, "%s: it wants the chardev= of a -chardev before it", d->name);
	free(q->hvc);
	q->hvc = xstrdup(where);
	return 0;
}

/* A disk: the -drive that it names goes where the device says. */
static int disk(struct qemu *q, const struct device *d, char *rest)
{
	struct qemu_drive *drive = NULL;
	struct qemu_option o;

	while (qemu_next_option(&rest, NULL, &o))
		if (!strcmp(o.key, "drive"))
			drive = qemu_drive_find(q, o.value);
	if (!drive)
		return qemu_fail(q, "%s: it wants the drive= of a -drive before it", d->name);
	drive->where = strcmp(d->bus, "PCI") ? IF_IDE : IF_VIRTIO;
	drive->cdrom |= !strcmp(d->name, "ide-cd");
	return 0;
}

#define NO_USB   "there is no USB in this version"
#define NO_SOUND "there is no sound in this version"
#define NO_SCSI  "there is no SCSI in this version"

static const struct device devices[] = {
	{"ide-cd", "IDE", "virtual IDE CD-ROM", disk},
	{"ide-hd", "IDE", "virtual IDE disk", disk},
	{"isa-debug-exit", "ISA", "a write ends the machine", debug_exit},
	{"isa-debugcon", "ISA", "debug console, port e9h", debugcon},
	{"pc-testdev", "ISA", "for test programs", testdev},
	{"VGA", "PCI", "the board's", is_there},
	{"virtconsole", "virtio-serial-bus", "instead of the serial line", virtconsole},
	{"virtio-balloon", "PCI", "alias of virtio-balloon-pci", balloon},
	{"virtio-balloon-pci", "PCI", "memory that the guest gives back", balloon},
	{"virtio-blk", "PCI", "alias of virtio-blk-pci", disk},
	{"virtio-blk-pci", "PCI", "disk", disk},
	{"virtio-rng-pci", "PCI", "beside -kernel", is_there},
	{"virtio-serial", "PCI", "alias of virtio-serial-pci", is_there},
	{"virtio-serial-pci", "PCI", "for virtconsole", is_there},
};

static const struct device absent[] = {
	{"AC97", NULL, NO_SOUND, leave_out},
	{"ES1370", NULL, NO_SOUND, leave_out},
	{"ac97", NULL, NO_SOUND, leave_out},
	{"hda-duplex", NULL, NO_SOUND, leave_out},
	{"hda-output", NULL, NO_SOUND, leave_out},
	{"i6300esb", NULL, "there is no watchdog in this version", leave_out},
	{"ich9-intel-hda", NULL, NO_SOUND, leave_out},
	{"intel-hda", NULL, NO_SOUND, leave_out},
	{"intel-iommu", NULL, "there is no IOMMU in this version", leave_out},
	{"lsi53c895a", NULL, NO_SCSI, leave_out},
	{"nec-usb-xhci", NULL, NO_USB, leave_out},
	{"pci-testdev", NULL, "there is no such test device in this version", leave_out},
	{"pvpanic", NULL, "there is no pvpanic in this version", leave_out},
	{"qemu-xhci", NULL, NO_USB, leave_out},
	{"sb16", NULL, NO_SOUND, leave_out},
	{"usb-ehci", NULL, NO_USB, leave_out},
	{"usb-kbd", NULL, NO_USB, leave_out},
	{"usb-mouse", NULL, NO_USB, leave_out},
	{"usb-tablet", NULL, NO_USB, leave_out},
	{"virtio-scsi-pci", NULL, NO_SCSI, leave_out},
	{"virtio-vga", NULL, "the display is a plain VGA", leave_out},
};

static const struct device *find(const char *name)
{
	for (unsigned i = 0; i < ARRAY_SIZE(devices); i++)
		if (!strcmp(devices[i].name, name))
			return &devices[i];
	for (unsigned i = 0; i < ARRAY_SIZE(absent); i++)
		if (!strcmp(absent[i].name, name))
			return &absent[i];
	return NULL;
}

static int list(struct qemu *q)
{
	for (unsigned i = 0; i < ARRAY_SIZE(devices); i++)
		printf("name \"%s\", bus %s, desc \"%s\"\n", devices[i].name, devices[i].bus,
			devices[i].what);
	q->done = true;
	return 0;
}

int qemu_device_add(struct qemu *q, const char *value)
{
	char *copy = xstrdup(value), *rest = copy;
	const struct device *d;
	struct qemu_option o;
	int rc;

	if (!strcmp(value, "help") || !strcmp(value, "?")) {
		rc = list(q);
	} else if (!qemu_next_option(&rest, "driver", &o) || strcmp(o.key, "driver")) {
		rc = qemu_fail(q, "%s: its name comes first", value);
	} else if (qemu_net_is_device(o.value)) {
		rc = qemu_net_device(q, value);
	} else {
		d = find(o.value);
		rc = d ? d->add(q, d, rest)
		       : qemu_fail(q, "%s is not there; -device help lists what is", o.value);
	}
	free(copy);
	return rc;
}
