/*
 * iso9660.c - an ISO 9660 image with one folder; see iso9660.h.
 *
 * Source: ECMA-119 (3rd edition) 6 to 9; the names and modes that Linux shows are
 * in System Use entries, by SUSP 1.12 (5.3) and RRIP 1.12 (4.1). Numbers without a
 * name are byte positions of the standard, less one. Left out: folders within
 * the folder, Joliet, dates. No lock.
 */
#include "host/iso9660.h"

#include <stdio.h>
#include <string.h>

#include "util/util.h"

#define SECTOR 2048u

enum { PRIMARY = 16, TERMINATOR, PATHS_LITTLE, PATHS_BIG, ROOT, FIRST_FILE };

#define RECORD_LEN   33u /* before the name */
#define PATHS_LEN    10u /* a table with the root only */
#define FLAG_FOLDER  2u
#define NAME_MAX_LEN 30u
#define MODE_FILE    0100444u
#define MODE_FOLDER  0040555u

static void little(uint8_t *p, unsigned bytes, uint32_t value)
{
	for (unsigned i = 0; i < bytes; i++)
		p[i] = (uint8_t)(value >> 8 * i);
}

static void big(uint8_t *p, unsigned bytes, uint32_t value)
{
	for (unsigned i = 0; i < bytes; i++)
		p[i] = (uint8_t)(value >> 8 * (bytes - 1 - i));
}

/* A number in both orders (7.2.3, 7.3.3). */
static void both(uint8_t *p, unsigned bytes, uint32_t value)
{
	little(p, bytes, value);
	big(p + bytes, bytes, value);
}

static void text(uint8_t *p, unsigned len, const char *s)
{
	memset(p, ' ', len);
	memcpy(p, s, MIN(strlen(s), len));
}

/* ---- System Use entries: each returns its length ---- */

/* SP: there are such entries. First of all, in the root's record of itself. */
static unsigned add_sp(uint8_t *p)
{
	static const uint8_t sp[7] = {'S', 'P', 7, 1, 0xbe, 0xef, 0};

	memcpy(p, sp, sizeof(sp));
	return sizeof(sp);
}

static unsigned add_px(uint8_t *p, uint32_t mode)
{
	p[0] = 'P';
	p[1] = 'X';
	p[2] = 36;
	p[3] = 1;
	both(p + 4, 4, mode);
	both(p + 12, 4, 1); /* links */
	return 36;
}

static unsigned add_nm(uint8_t *p, const char *name)
{
	unsigned len = (unsigned)MIN(strlen(name), NAME_MAX_LEN);

	p[0] = 'N';
	p[1] = 'M';
	p[2] = (uint8_t)(5 + len);
	p[3] = 1;
	memcpy(p + 5, name, len);
	return 5 + len;
}

/* ---- records ---- */

/* Up to its name (9.1); returns its length, which is even. */
static unsigned add_record(
	uint8_t *p, uint32_t sector, size_t len, unsigned flags, const char *id, unsigned id_len)
{
	unsigned size = (RECORD_LEN + id_len + 1) & ~1u;

	p[0] = (uint8_t)size;
	both(p + 2, 4, sector);
	both(p + 10, 4, (uint32_t)len);
	p[18] = 70; /* 1970-01-01 */
	p[19] = p[20] = 1;
	p[25] = (uint8_t)flags;
	both(p + 28, 2, 1);
	p[32] = (uint8_t)id_len;
	memcpy(p + RECORD_LEN, id, id_len);
	return size;
}

static unsigned end_record(uint8_t *p, unsigned len)
{
	len = (len + 1) & ~1u;
	p[0] = (uint8_t)len;
	return len;
}

static unsigned add_folder(uint8_t *p, const char *id)
{
	unsigned len = add_record(p, ROOT, SECTOR, FLAG_FOLDER, id, 1);

	if (!*id)
		len += add_sp(p + len);
	len += add_px(p + len, MODE_FOLDER);
	return end_record(p, len);
}

static unsigned add_file(uint8_t *p, const struct iso_file *f, unsigned n, uint32_t sector)
{
	char id[16];
	unsigned id_len = (unsigned)snprintf(id, sizeof(id), "FILE%u.;1", n);
	unsigned len = add_record(p, sector, f->len, 0, id, id_len);

	len += add_nm(p + len, f->name);
	len += add_px(p + len, MODE_FILE);
	return end_record(p, len);
}

/* ---- descriptors ---- */

/* The primary volume descriptor (8.4). */
static void add_primary(uint8_t *p, const char *label, uint32_t sectors)
{
	p[0] = 1;
	memcpy(p + 1, "CD001\1", 6);
	text(p + 8, 32, "");
	text(p + 40, 32, label);
	both(p + 80, 4, sectors);
	both(p + 120, 2, 1);
	both(p + 124, 2, 1);
	both(p + 128, 2, SECTOR);
	both(p + 132, 4, PATHS_LEN);
	little(p + 140, 4, PATHS_LITTLE);
	big(p + 148, 4, PATHS_BIG);
	add_record(p + 156, ROOT, SECTOR, FLAG_FOLDER, "", 1);
	text(p + 190, 623, "");
	for (unsigned at = 813; at < 881; at += 17)
		memset(p + at, '0', 16); /* no dates */
	p[881] = 1;
}

static void add_paths(uint8_t *p, void (*put)(uint8_t *, unsigned, uint32_t))
{
	p[0] = 1;
	put(p + 2, 4, ROOT);
	put(p + 6, 2, 1);
}

static uint32_t sectors_of(size_t len)
{
	return (uint32_t)((len + SECTOR - 1) / SECTOR);
}

uint8_t *iso_image(const char *label, const struct iso_file *file, unsigned count, size_t *len)
{
	uint32_t sectors = FIRST_FILE, at = FIRST_FILE;
	uint8_t *image, *record;

	for (unsigned i = 0; i < count; i++)
		sectors += sectors_of(file[i].len);
	image = xcalloc(sectors, SECTOR);
	add_primary(image + PRIMARY * SECTOR, label, sectors);
	memcpy(image + TERMINATOR * SECTOR, "\377CD001\1", 7);
	add_paths(image + PATHS_LITTLE * SECTOR, little);
	add_paths(image + PATHS_BIG * SECTOR, big);
	record = image + ROOT * SECTOR;
	record += add_folder(record, "\0");
	record += add_folder(record, "\1");
	for (unsigned i = 0; i < count; i++) {
		record += add_file(record, &file[i], i, at);
		memcpy(image + (size_t)at * SECTOR, file[i].data, file[i].len);
		at += sectors_of(file[i].len);
	}
	*len = (size_t)sectors * SECTOR;
	return image;
}
