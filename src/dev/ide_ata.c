/*
 * ide_ata.c - the commands of ATA disks, and of what all IDE drives know.
 *
 * Source: ATA/ATAPI-6 (T13/1410D), chapter 8; the translation of cylinder, head
 * and sector is that of 6.2. Left out: security, SMART, streaming, queued
 * commands, host protected area beyond READ NATIVE MAX. Lock: vm->lock.
 */
#include <stdio.h>
#include <string.h>

#include "dev/ide_drive.h"
#include "util/util.h"

enum command {
	NOP = 0x00,
	DEVICE_RESET = 0x08,
	RECALIBRATE = 0x10,
	READ_SECTORS = 0x20,
	READ_SECTORS_ONCE = 0x21,
	READ_SECTORS_EXT = 0x24,
	READ_DMA_EXT = 0x25,
	READ_NATIVE_MAX_EXT = 0x27,
	READ_MULTIPLE_EXT = 0x29,
	WRITE_SECTORS = 0x30,
	WRITE_SECTORS_ONCE = 0x31,
	WRITE_SECTORS_EXT = 0x34,
	WRITE_DMA_EXT = 0x35,
	WRITE_MULTIPLE_EXT = 0x39,
	READ_VERIFY = 0x40,
	READ_VERIFY_ONCE = 0x41,
	READ_VERIFY_EXT = 0x42,
	SEEK = 0x70,
	EXECUTE_DIAGNOSTIC = 0x90,
	INITIALIZE_PARAMETERS = 0x91,
	PACKET = 0xa0,
	IDENTIFY_PACKET = 0xa1,
	READ_MULTIPLE = 0xc4,
	WRITE_MULTIPLE = 0xc5,
	SET_MULTIPLE = 0xc6,
	READ_DMA = 0xc8,
	READ_DMA_ONCE = 0xc9,
	WRITE_DMA = 0xca,
	WRITE_DMA_ONCE = 0xcb,
	STANDBY_IMMEDIATE = 0xe0,
	IDLE_IMMEDIATE = 0xe1,
	STANDBY = 0xe2,
	IDLE = 0xe3,
	CHECK_POWER = 0xe5,
	SLEEP = 0xe6,
	FLUSH_CACHE = 0xe7,
	FLUSH_CACHE_EXT = 0xea,
	IDENTIFY = 0xec,
	SET_FEATURES = 0xef,
	READ_NATIVE_MAX = 0xf8
};

#define MAX_CYLINDERS 16383u
#define HEADS         16u
#define SPT           63u
#define LBA28_SECTORS 0x0fffffffu
#define POWER_ACTIVE  0xff
#define DIAGNOSTIC_OK 0x01
#define DMA_DEFAULT   0x02 /* multiword mode 2 */

/* ---- reset ---- */

void ata_signature(struct ide_drive *d)
{
	bool packet = d->kind == IDE_CDROM;

	d->device = 0xa0 | (d->unit ? IDE_DEV_UNIT : 0);
	d->count = d->lba[0] = (struct ide_reg){1, 0};
	d->lba[1] = (struct ide_reg){packet ? 0x14 : 0, 0};
	d->lba[2] = (struct ide_reg){packet ? 0xeb : 0, 0};
	d->error = DIAGNOSTIC_OK;
	d->status = packet || d->kind == IDE_NONE ? 0 : IDE_DRDY | IDE_DSC;
}

/* At least one: firmware takes a disk without for unusable. */
static uint16_t default_cylinders(const struct ide_drive *d)
{
	return (uint16_t)MAX(MIN(d->sectors / (HEADS * SPT), MAX_CYLINDERS), 1);
}

void ata_reset(struct ide_drive *d)
{
	d->cylinders = default_cylinders(d);
	d->heads = HEADS;
	d->spt = SPT;
	d->multiple = 0;
	d->dma_mode = DMA_DEFAULT;
	d->write_cache = true;
	d->feature = (struct ide_reg){0, 0};
	d->sense_key = d->asc = d->ascq = 0;
	d->locked = false;
	ata_signature(d);
}

/* ---- IDENTIFY DEVICE ---- */

void ide_put_text(uint16_t *word, unsigned words, const char *text)
{
	size_t len = strlen(text);

	for (size_t i = 0; i < words * 2u; i += 2) {
		uint16_t high = (uint8_t)(i < len ? text[i] : ' ');

		word[i / 2] = (uint16_t)(high << 8 | (uint8_t)(i + 1 < len ? text[i + 1] : ' '));
	}
}

void ide_put_words(struct ide *c, const uint16_t *word)
{
	memcpy(c->buf, word, IDE_ID_WORDS * 2);
	ide_pio_in(c, IDE_ID_WORDS * 2, IDE_ID_WORDS * 2);
}

static void put_geometry(const struct ide_drive *d, uint16_t *w)
{
	uint32_t chs = (uint32_t)d->cylinders * d->heads * d->spt;
	uint32_t lba28 = (uint32_t)MIN(d->sectors, LBA28_SECTORS);

	w[1] = default_cylinders(d);
	w[3] = HEADS;
	w[6] = SPT;
	w[54] = d->cylinders;
	w[55] = d->heads;
	w[56] = d->spt;
	w[57] = (uint16_t)chs;
	w[58] = (uint16_t)(chs >> 16);
	w[60] = (uint16_t)lba28;
	w[61] = (uint16_t)(lba28 >> 16);
	for (unsigned i = 0; i < 4; i++)
		w[100 + i] = (uint16_t)(d->sectors >> (16 * i));
}

static uint16_t selected_mode(const struct ide_drive *d, bool ultra)
{
	bool is_ultra = d->dma_mode & 0x20;

	return is_ultra == ultra ? (uint16_t)(0x100u << (d->dma_mode & 7)) : 0;
}

static void put_abilities(const struct ide_drive *d, uint16_t *w)
{
	w[0] = 0x0040; /* fixed */
	w[47] = 0x8000 | IDE_MULTIPLE;
	w[48] = 0x0001; /* 32-bit accesses to the data port */
	w[49] = 0x0f00; /* standby timer, IORDY, LBA, DMA */
	w[50] = 0x4000;
	w[51] = 0x0200; /* PIO mode 2 and more */
	w[53] = 0x0007; /* words 54-58, 64-70 and 88 are valid */
	w[59] = d->multiple ? 0x100 | d->multiple : 0;
	w[63] = 0x0007 | selected_mode(d, false);
	w[64] = 0x0003; /* PIO modes 3 and 4 */
	w[65] = w[66] = w[67] = w[68] = 120;
	w[80] = 0x007e; /* ATA-1 to ATA/ATAPI-6 */
	w[82] = 0x4020; /* NOP, write cache */
	w[83] = 0x7400; /* FLUSH CACHE, its EXT, 48-bit addresses */
	w[84] = 0x4000;
	w[85] = d->write_cache ? 0x4020 : 0x4000;
	w[86] = 0x3400;
	w[87] = 0x4000;
	w[88] = 0x003f | selected_mode(d, true);
	w[93] = 0x6001; /* 80-wire cable */
}

static void identify(struct ide *c)
{
	const struct ide_drive *d = ide_current(c);
	uint16_t w[IDE_ID_WORDS] = {0};
	char serial[21];

	put_abilities(d, w);
	put_geometry(d, w);
	snprintf(serial, sizeof(serial), "TN-%s-%u", c->dev.name, d->unit);
	ide_put_text(w + 10, 10, serial);
	ide_put_text(w + 23, 4, "1.0");
	ide_put_text(w + 27, 20, "TINAMOU DISK");
	ide_put_words(c, w);
}

/* ---- addresses ---- */

static uint64_t address48(const struct ide_drive *d)
{
	uint64_t a = 0;

	for (unsigned i = 0; i < 3; i++)
		a |= (uint64_t)d->lba[i].now << (8 * i) | (uint64_t)d->lba[i].before
								  << (24 + 8 * i);
	return a;
}

static uint64_t address28(const struct ide_drive *d)
{
	return (uint32_t)(d->device & 0xf) << 24 | (uint32_t)d->lba[2].now << 16 |
	       (uint32_t)d->lba[1].now << 8 | d->lba[0].now;
}

/* UINT64_MAX: there is no such sector. */
static uint64_t address_chs(const struct ide_drive *d)
{
	unsigned cylinder = (unsigned)d->lba[2].now << 8 | d->lba[1].now;
	unsigned head = d->device & 0xf, sector = d->lba[0].now;

	if (!sector || sector > d->spt || head >= d->heads)
		return UINT64_MAX;
	return ((uint64_t)cylinder * d->heads + head) * d->spt + sector - 1;
}

void ata_show_address(struct ide *c, struct ide_drive *d, uint64_t lba)
{
	if (!c->ext && !(d->device & IDE_DEV_LBA)) {
		unsigned track = (unsigned)(lba / d->spt), cylinder = track / d->heads;

		d->lba[0].now = (uint8_t)(lba % d->spt + 1);
		d->lba[1].now = (uint8_t)cylinder;
		d->lba[2].now = (uint8_t)(cylinder >> 8);
		d->device = (uint8_t)((d->device & 0xf0) | track % d->heads);
		return;
	}
	for (unsigned i = 0; i < 3; i++) {
		d->lba[i].now = (uint8_t)(lba >> (8 * i));
		if (c->ext)
			d->lba[i].before = (uint8_t)(lba >> (24 + 8 * i));
	}
	if (!c->ext)
		d->device = (uint8_t)((d->device & 0xf0) | (lba >> 24 & 0xf));
}

/* Sets c->lba and c->left from the registers; false: the command has ended in error. */
static bool take_address(struct ide *c, bool ext)
{
	const struct ide_drive *d = ide_current(c);
	unsigned n = d->count.now;

	c->ext = ext;
	if (ext) {
		n |= (unsigned)d->count.before << 8;
		c->lba = address48(d);
		c->left = n ? n : 65536;
	} else {
		c->lba = d->device & IDE_DEV_LBA ? address28(d) : address_chs(d);
		c->left = n ? n : 256;
	}
	if (range_in(c->lba, c->left, d->sectors))
		return true;
	ide_complete(c, IDE_ERR, IDE_IDNF);
	return false;
}

/* ---- commands ---- */

static void abort_command(struct ide *c)
{
	ide_complete(c, IDE_ERR, IDE_ABRT);
}

static void transfer(struct ide *c, enum ide_phase phase, bool ext, unsigned sectors)
{
	bool out = phase == IDE_PIO_OUT || phase == IDE_DMA_OUT;

	if (!sectors) /* READ MULTIPLE before SET MULTIPLE */
		abort_command(c);
	else if (out && disk_readonly(ide_current(c)->disk))
		abort_command(c);
	else if (take_address(c, ext))
		ide_start_transfer(c, phase, sectors * SECTOR_SIZE);
}

static void verify(struct ide *c, bool ext)
{
	if (take_address(c, ext))
		ide_complete(c, 0, 0);
}

static void native_max(struct ide *c, bool ext)
{
	struct ide_drive *d = ide_current(c);

	c->ext = ext;
	d->device |= IDE_DEV_LBA;
	ata_show_address(c, d, MIN(d->sectors, ext ? UINT64_MAX : LBA28_SECTORS) - 1);
	ide_complete(c, 0, 0);
}

static void set_multiple(struct ide *c)
{
	struct ide_drive *d = ide_current(c);
	unsigned n = d->count.now;

	if (n > IDE_MULTIPLE || (n & (n - 1))) {
		abort_command(c);
		return;
	}
	d->multiple = (uint8_t)n;
	ide_complete(c, 0, 0);
}

static void set_parameters(struct ide *c)
{
	struct ide_drive *d = ide_current(c);

	if (!d->count.now) {
		abort_command(c);
		return;
	}
	d->heads = (d->device & 0xf) + 1;
	d->spt = d->count.now;
	d->cylinders = (uint16_t)MIN(d->sectors / ((unsigned)d->heads * d->spt), 65535);
	ide_complete(c, 0, 0);
}

/* Subcommands that are taken: caches and transfer modes (8.46). */
static void set_features(struct ide *c)
{
	struct ide_drive *d = ide_current(c);
	unsigned kind = d->count.now >> 3;

	switch (d->feature.now) {
	case 0x02:
	case 0x82:
		d->write_cache = d->feature.now == 0x02;
		break;
	case 0x03: /* 0, 1: PIO; 4: multiword DMA; 8: Ultra DMA */
		if (kind == 4 || kind == 8)
			d->dma_mode = (kind == 8 ? 0x20 : 0) | (d->count.now & 7);
		break;
	case 0x55: /* look-ahead and power management: nothing to do */
	case 0xaa:
	case 0x05:
	case 0x85:
	case 0x66:
	case 0xcc:
		break;
	default:
		abort_command(c);
		return;
	}
	ide_complete(c, 0, 0);
}

static void diagnostic(struct ide *c)
{
	ata_signature(&c->drive[0]);
	ata_signature(&c->drive[1]);
	c->selected = 0;
	ide_raise(c);
}

static void device_reset(struct ide *c)
{
	ata_reset(ide_current(c));
}

static void check_power(struct ide *c)
{
	ide_current(c)->count.now = POWER_ACTIVE;
	ide_complete(c, 0, 0);
}

static void disk_command(struct ide *c, uint8_t command);

/* What a CD-ROM drive knows beside packets. A disk's IDENTIFY shows it for what it is. */
static void cdrom_command(struct ide *c, uint8_t command)
{
	switch (command) {
	case PACKET:
		atapi_packet(c);
		break;
	case IDENTIFY_PACKET:
		atapi_identify(c);
		break;
	case DEVICE_RESET:
		device_reset(c);
		break;
	case IDENTIFY:
	case READ_SECTORS:
		ata_signature(ide_current(c));
		abort_command(c);
		break;
	case EXECUTE_DIAGNOSTIC:
		diagnostic(c);
		break;
	case SET_FEATURES:
		set_features(c);
		break;
	case CHECK_POWER:
		check_power(c);
		break;
	case STANDBY_IMMEDIATE:
	case IDLE_IMMEDIATE:
	case STANDBY:
	case IDLE:
	case SLEEP:
		ide_complete(c, 0, 0);
		break;
	default:
		abort_command(c);
		break;
	}
}

static void disk_data_command(struct ide *c, uint8_t command)
{
	unsigned multiple = ide_current(c)->multiple;

	switch (command) {
	case READ_SECTORS:
	case READ_SECTORS_ONCE:
	case READ_SECTORS_EXT:
		transfer(c, IDE_PIO_IN, command == READ_SECTORS_EXT, 1);
		break;
	case WRITE_SECTORS:
	case WRITE_SECTORS_ONCE:
	case WRITE_SECTORS_EXT:
		transfer(c, IDE_PIO_OUT, command == WRITE_SECTORS_EXT, 1);
		break;
	case READ_MULTIPLE:
	case READ_MULTIPLE_EXT:
		transfer(c, IDE_PIO_IN, command == READ_MULTIPLE_EXT, multiple);
		break;
	case WRITE_MULTIPLE:
	case WRITE_MULTIPLE_EXT:
		transfer(c, IDE_PIO_OUT, command == WRITE_MULTIPLE_EXT, multiple);
		break;
	case READ_DMA:
	case READ_DMA_ONCE:
	case READ_DMA_EXT:
		transfer(c, IDE_DMA_IN, command == READ_DMA_EXT, 1);
		break;
	case WRITE_DMA:
	case WRITE_DMA_ONCE:
	case WRITE_DMA_EXT:
		transfer(c, IDE_DMA_OUT, command == WRITE_DMA_EXT, 1);
		break;
	case READ_VERIFY:
	case READ_VERIFY_ONCE:
	case READ_VERIFY_EXT:
		verify(c, command == READ_VERIFY_EXT);
		break;
	default:
		disk_command(c, command);
		break;
	}
}

static void disk_command(struct ide *c, uint8_t command)
{
	switch (command) {
	case IDENTIFY:
		identify(c);
		break;
	case EXECUTE_DIAGNOSTIC:
		diagnostic(c);
		break;
	case INITIALIZE_PARAMETERS:
		set_parameters(c);
		break;
	case SET_MULTIPLE:
		set_multiple(c);
		break;
	case SET_FEATURES:
		set_features(c);
		break;
	case FLUSH_CACHE:
	case FLUSH_CACHE_EXT:
		ide_wait_disk(c, DISK_FLUSH);
		break;
	case READ_NATIVE_MAX:
	case READ_NATIVE_MAX_EXT:
		native_max(c, command == READ_NATIVE_MAX_EXT);
		break;
	case CHECK_POWER:
		check_power(c);
		break;
	case SEEK:
	case STANDBY_IMMEDIATE:
	case IDLE_IMMEDIATE:
	case STANDBY:
	case IDLE:
	case SLEEP:
		ide_complete(c, 0, 0);
		break;
	default:
		if ((command & 0xf0) == RECALIBRATE)
			ide_complete(c, 0, 0);
		else
			abort_command(c);
		break;
	}
}

void ata_command(struct ide *c, uint8_t command)
{
	if (ide_current(c)->kind == IDE_CDROM)
		cdrom_command(c, command);
	else
		disk_data_command(c, command);
}
