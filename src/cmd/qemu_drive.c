/*
 * qemu_drive.c - the qemu command's disks: -drive and its short forms, and the
 * -devices that name one. An IDE index counts units: 0 and 1 are the first
 * channel's, 2 and 3 the second's, where a CD-ROM goes if nothing is said.
 */
#include "cmd/qemu.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/util.h"

#define CDROM_INDEX 2
#define IDE_UNITS   4

static const char *const no_effect[] = {"aio", "cache", "copy-on-read", "detect-zeroes", "discard",
	"rerror", "werror", "serial", "file.locking", "cyls", "heads", "secs", "trans", "addr",
	"bus", "auto-read-only", "l2-cache-size", "boot"};

static bool has_no_effect(const char *key)
{
	for (unsigned i = 0; i < ARRAY_SIZE(no_effect); i++)
		if (!strcmp(key, no_effect[i]))
			return true;
	return false;
}

static void take(char **to, const char *value)
{
	free(*to);
	*to = xstrdup(value);
}

static int take_interface(struct qemu *q, struct qemu_drive *d, const char *value)
{
	static const char *const names[] = {
		[IF_IDE] = "ide",
		[IF_VIRTIO] = "virtio",
		[IF_FLOPPY] = "floppy",
		[IF_PFLASH] = "pflash",
		[IF_NONE] = "none",
	};

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		if (strcmp(value, names[i]))
			continue;
		d->where = (enum qemu_if)i;
		return 0;
	}
	return qemu_fail(q, "if=%s is not there; ide, virtio, floppy, pflash and none are", value);
}

static int take_index(struct qemu *q, struct qemu_drive *d, const char *value)
{
	char *end;
	long n = strtol(value, &end, 10);

	if (*end || end == value || n < 0 || n >= QEMU_MAX_DRIVES)
		return qemu_fail(q, "index=%s is no number of a drive", value);
	d->index = (int)n;
	return 0;
}

static int take_media(struct qemu *q, struct qemu_drive *d, const char *value)
{
	d->cdrom = !strcmp(value, "cdrom");
	if (!d->cdrom && strcmp(value, "disk"))
		return qemu_fail(q, "media=%s: disk or cdrom", value);
	return 0;
}

static int take_option(struct qemu *q, struct qemu_drive *d, const struct qemu_option *o)
{
	if (!strcmp(o->key, "file") || !strcmp(o->key, "file.filename"))
		take(&d->path, o->value);
	else if (!strcmp(o->key, "format") || !strcmp(o->key, "driver"))
		take(&d->format, o->value);
	else if (!strcmp(o->key, "id"))
		take(&d->id, o->value);
	else if (!strcmp(o->key, "if"))
		return take_interface(q, d, o->value);
	else if (!strcmp(o->key, "index") || !strcmp(o->key, "unit"))
		return take_index(q, d, o->value);
	else if (!strcmp(o->key, "media"))
		return take_media(q, d, o->value);
	else if (!strcmp(o->key, "readonly") || !strcmp(o->key, "read-only"))
		d->ro = qemu_on(o->value);
	else if (!strcmp(o->key, "snapshot"))
		d->throwaway = qemu_on(o->value);
	else if (!has_no_effect(o->key))
		return qemu_fail(q, "unknown option %s=", o->key);
	return 0;
}

static struct qemu_drive *new_drive(struct qemu *q)
{
	struct qemu_drive *d = &q->drive[q->drives];

	if (q->drives == QEMU_MAX_DRIVES) {
		qemu_fail(q, "at most %d drives", QEMU_MAX_DRIVES);
		return NULL;
	}
	q->drives++;
	d->index = -1;
	return d;
}

int qemu_drive_add(struct qemu *q, const char *value)
{
	struct qemu_drive *d = new_drive(q);
	char *copy = xstrdup(value), *rest = copy;
	struct qemu_option o;
	int rc = d ? 0 : -1;

	while (!rc && qemu_next_option(&rest, NULL, &o))
		rc = take_option(q, d, &o);
	free(copy);
	return rc;
}

int qemu_drive_path(struct qemu *q, const char *path, enum qemu_if where, int index, bool cdrom)
{
	struct qemu_drive *d = new_drive(q);

	if (!d)
		return -1;
	d->path = xstrdup(path);
	d->where = where;
	d->index = index;
	d->cdrom = cdrom;
	return 0;
}

struct qemu_drive *qemu_drive_find(struct qemu *q, const char *id)
{
	for (unsigned i = 0; i < q->drives; i++)
		if (q->drive[i].id && !strcmp(q->drive[i].id, id))
			return &q->drive[i];
	return NULL;
}

/* ---- all of them together ---- */

/* PATH with its commas doubled, and what else the drive says. */
static char *words(const struct qemu *q, const struct qemu_drive *d)
{
	char *text = xcalloc(2 * strlen(d->path) + 128, 1), *to = text;

	for (const char *from = d->path; *from; from++) {
		if (*from == ',')
			*to++ = ',';
		*to++ = *from;
	}
	if (d->format)
		to += sprintf(to, ",format=%.16s", d->format);
	if (d->ro && !d->cdrom)
		to += sprintf(to, ",ro");
	if (d->throwaway || q->snapshot)
		to += sprintf(to, ",throwaway");
	if (d->where == IF_VIRTIO)
		to += sprintf(to, ",bus=virtio");
	if (d->where == IF_IDE)
		sprintf(to, "%s,unit=%d", d->cdrom ? "" : ",bus=ide", d->index);
	return text;
}

static int set_drive(struct qemu *q, const struct qemu_drive *d)
{
	char *text = words(q, d);
	int rc = qemu_set(q, d->where == IF_FLOPPY ? "floppy" : d->cdrom ? "cdrom" : "disk", text);

	free(text);
	return rc;
}

static bool unit_taken(const struct qemu *q, int index)
{
	for (unsigned i = 0; i < q->drives; i++)
		if (q->drive[i].where == IF_IDE && q->drive[i].index == index)
			return true;
	return false;
}

static int free_unit(const struct qemu *q, bool cdrom)
{
	if (cdrom && !unit_taken(q, CDROM_INDEX))
		return CDROM_INDEX;
	for (int n = 0; n < IDE_UNITS; n++)
		if (!unit_taken(q, n))
			return n;
	return -1;
}

/* Those with an index have their unit; the others get what is left, in order. */
static int place_ide(struct qemu *q)
{
	for (unsigned i = 0; i < q->drives; i++) {
		struct qemu_drive *d = &q->drive[i];

		if (d->where != IF_IDE)
			continue;
		if (d->index < 0)
			d->index = free_unit(q, d->cdrom);
		if (d->index < 0 || d->index >= IDE_UNITS)
			return qemu_fail(q, "%s: there is no such IDE unit, or none is left",
				d->path ? d->path : "cdrom");
	}
	return 0;
}

/* Flash: the first is the firmware's code, the second its variables. */
static int set_firmware(struct qemu *q)
{
	const struct qemu_drive *flash[2] = {NULL, NULL};
	char *text;
	int rc;

	for (unsigned i = 0; i < q->drives; i++) {
		const struct qemu_drive *d = &q->drive[i];

		if (d->where != IF_PFLASH)
			continue;
		if (flash[1] || d->index > 1)
			return qemu_fail(
				q, "%s: there are two flash chips, code and variables", d->path);
		flash[d->index >= 0 ? d->index : flash[0] ? 1 : 0] = d;
	}
	if (!flash[0])
		return flash[1] ? qemu_fail(q, "variables in flash, but no code") : 0;
	text = xasprintf("%s%s%s%s", strpbrk(flash[0]->path, "/.") ? "" : "./", flash[0]->path,
		flash[1] ? ",vars=" : "", flash[1] ? flash[1]->path : "");
	rc = qemu_set(q, "firmware", text);
	free(text);
	return rc;
}

static int by_index(const void *a, const void *b)
{
	const struct qemu_drive *const *x = a, *const *y = b;

	return (*x)->index != (*y)->index ? (*x)->index - (*y)->index : *x < *y ? -1 : 1;
}

int qemu_drives_finish(struct qemu *q)
{
	const struct qemu_drive *order[QEMU_MAX_DRIVES];
	int rc = 0;

	q->flag = "-drive";
	for (unsigned i = 0; i < q->drives && !rc; i++) {
		order[i] = &q->drive[i];
		if (!q->drive[i].path && q->drive[i].where != IF_NONE)
			rc = q->drive[i].cdrom ? 0 : qemu_fail(q, "no file=");
	}
	if (!rc)
		rc = place_ide(q);
	qsort(order, q->drives, sizeof(order[0]), by_index);
	for (unsigned i = 0; i < q->drives && !rc; i++)
		if (order[i]->path && order[i]->where != IF_NONE && order[i]->where != IF_PFLASH)
			rc = set_drive(q, order[i]);
	return rc ? rc : set_firmware(q);
}
