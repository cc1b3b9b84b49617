/*
 * ide_atapi.c - a CD-ROM drive: the packet commands that firmware and
 * operating systems send.
 *
 * Source: ATA/ATAPI-6, 9.8 (protocol); MMC-3 (T10/1363-D), SPC-2 (T10/1236-D).
 * A disc has one data track of 2048-byte sectors. Left out: audio, writing,
 * raw sectors, changers. Lock: vm->lock.
 */
#include <string.h>

#include "dev/ide_drive.h"
#include "util/util.h"

enum packet_command {
	TEST_UNIT_READY = 0x00,
	REQUEST_SENSE = 0x03,
	INQUIRY = 0x12,
	MODE_SENSE_6 = 0x1a,
	START_STOP = 0x1b,
	PREVENT_REMOVAL = 0x1e,
	READ_CAPACITY = 0x25,
	READ_10 = 0x28,
	SEEK_10 = 0x2b,
	READ_TOC = 0x43,
	GET_CONFIGURATION = 0x46,
	GET_EVENT = 0x4a,
	READ_DISC_INFO = 0x51,
	READ_TRACK_INFO = 0x52,
	MODE_SENSE_10 = 0x5a,
	READ_12 = 0xa8,
	SET_SPEED = 0xbb,
	MECHANISM_STATUS = 0xbd,
	READ_CD = 0xbe
};

enum sense_key { NO_SENSE, NOT_READY = 2, MEDIUM_ERROR, ILLEGAL_REQUEST = 5, UNIT_ATTENTION };

/* Additional sense code and qualifier. */
enum asc {
	ASC_NONE = 0x0000,
	ASC_READ_ERROR = 0x1100,
	ASC_INVALID_COMMAND = 0x2000,
	ASC_LBA_RANGE = 0x2100,
	ASC_INVALID_FIELD = 0x2400,
	ASC_DISC_CHANGED = 0x2800,
	ASC_NO_DISC = 0x3a00,
	ASC_LOCKED = 0x5302
};

#define FEATURE_DMA 1u
#define PER_CD      (CD_SECTOR / SECTOR_SIZE)
#define LEAD_OUT    0xaa
#define MSF_OFFSET  150u /* frames before sector 0 */
#define BLOCK_MAX   65534u
#define REPLY_MAX   512u
#define PROFILE_CD  0x0008
#define DATA_TRACK  0x14 /* ADR 1, control 4 */

static void put16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static void put32(uint8_t *p, uint32_t v)
{
	put16(p, v >> 16);
	put16(p + 2, v);
}

static unsigned get16(const uint8_t *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static uint32_t cd_sectors(const struct ide_drive *d)
{
	return (uint32_t)MIN(d->sectors / PER_CD, UINT32_MAX);
}

/* ---- the protocol ---- */

void atapi_identify(struct ide *c)
{
	uint16_t w[IDE_ID_WORDS] = {0};

	w[0] = 0x85c0; /* packet device, CD-ROM, removable, interrupts within 50 us, 12 bytes */
	w[49] = 0x0b00;
	w[50] = 0x4000;
	w[53] = 0x0007;
	w[63] = 0x0007 | 0x0400;
	w[64] = 0x0003;
	w[65] = w[66] = w[67] = w[68] = 120;
	w[80] = 0x007e;
	w[82] = 0x4010; /* packet commands */
	w[83] = w[84] = w[87] = 0x4000;
	w[85] = 0x4010;
	w[88] = 0x003f;
	w[93] = 0x6001;
	ide_put_text(w + 10, 10, "TN-CD");
	ide_put_text(w + 23, 4, "1.0");
	ide_put_text(w + 27, 20, "TINAMOU CD-ROM");
	ide_put_words(c, w);
}

static void set_sense(struct ide_drive *d, enum sense_key key, enum asc asc)
{
	d->sense_key = (uint8_t)key;
	d->asc = (uint8_t)(asc >> 8);
	d->ascq = (uint8_t)asc;
}

static void end_command(struct ide *c, uint8_t status, uint8_t error)
{
	ide_current(c)->count.now = IDE_REASON_CD | IDE_REASON_IO;
	ide_complete(c, status, error);
}

static void good(struct ide *c)
{
	set_sense(ide_current(c), NO_SENSE, ASC_NONE);
	end_command(c, 0, 0);
}

static void bad(struct ide *c, enum sense_key key, enum asc asc)
{
	set_sense(ide_current(c), key, asc);
	end_command(c, IDE_ERR, (uint8_t)(key << 4 | IDE_ABRT));
}

void atapi_finish(struct ide *c, int error)
{
	if (error)
		bad(c, MEDIUM_ERROR, ASC_READ_ERROR);
	else
		good(c);
}

void atapi_packet(struct ide *c)
{
	struct ide_drive *d = ide_current(c);

	c->packet = true;
	d->count.now = IDE_REASON_CD;
	ide_pio_out(c, CD_PACKET, CD_PACKET, false);
}

void atapi_block(struct ide *c, uint32_t bytes)
{
	struct ide_drive *d = ide_current(c);

	if (c->phase != IDE_PIO_IN)
		return;
	d->count.now = IDE_REASON_IO;
	d->lba[1].now = (uint8_t)bytes;
	d->lba[2].now = (uint8_t)(bytes >> 8);
}

/* How much the guest takes at an interrupt: an even number, as it said. */
static uint32_t block_limit(const struct ide_drive *d)
{
	uint32_t n = (uint32_t)d->lba[2].now << 8 | d->lba[1].now;

	n &= ~1u;
	return n ? n : BLOCK_MAX;
}

/* The first len bytes of buf are the answer, cut to what the guest allows. */
static void reply(struct ide *c, uint32_t len, uint32_t allowed)
{
	const struct ide_drive *d = ide_current(c);

	len = MIN(len, allowed);
	c->left = 0;
	if (!len)
		good(c);
	else if (d->feature.now & FEATURE_DMA)
		ide_dma_in(c, len);
	else
		ide_pio_in(c, len, block_limit(d));
}

/* ---- commands ---- */

static void read_sectors(struct ide *c, uint32_t lba, uint32_t count)
{
	const struct ide_drive *d = ide_current(c);

	if (!range_in(lba, count, cd_sectors(d))) {
		bad(c, ILLEGAL_REQUEST, ASC_LBA_RANGE);
		return;
	}
	c->lba = (uint64_t)lba * PER_CD;
	c->left = (uint64_t)count * PER_CD;
	if (!count)
		good(c);
	else if (d->feature.now & FEATURE_DMA)
		ide_start_transfer(c, IDE_DMA_IN, CD_SECTOR);
	else
		ide_start_transfer(c, IDE_PIO_IN, block_limit(d));
}

/* Only the user data of a sector can be had. */
static void read_cd(struct ide *c, const uint8_t *p)
{
	uint32_t count = (uint32_t)p[6] << 16 | get16(p + 7);
	unsigned what = p[9] & 0xf8;

	if (!what)
		good(c);
	else if (what == 0x10)
		read_sectors(c, get32(p + 2), count);
	else
		bad(c, ILLEGAL_REQUEST, ASC_INVALID_FIELD);
}

static void inquiry(struct ide *c, const uint8_t *p)
{
	memset(c->buf, 0, 36);
	c->buf[0] = 5;    /* CD-ROM */
	c->buf[1] = 0x80; /* removable */
	c->buf[3] = 0x21; /* ATAPI, response format 1 */
	c->buf[4] = 31;
	memcpy(c->buf + 8, "TINAMOU ", 8);
	memcpy(c->buf + 16, "CD-ROM          ", 16);
	memcpy(c->buf + 32, "1.0 ", 4);
	reply(c, 36, p[4]);
}

static void request_sense(struct ide *c, const uint8_t *p)
{
	const struct ide_drive *d = ide_current(c);

	memset(c->buf, 0, 18);
	c->buf[0] = 0x70;
	c->buf[2] = d->sense_key;
	c->buf[7] = 10;
	c->buf[12] = d->asc;
	c->buf[13] = d->ascq;
	reply(c, 18, p[4]);
}

static void read_capacity(struct ide *c)
{
	put32(c->buf, cd_sectors(ide_current(c)) - 1);
	put32(c->buf + 4, CD_SECTOR);
	reply(c, 8, 8);
}

static void put_address(uint8_t *p, uint32_t lba, bool msf)
{
	uint32_t frames = lba + MSF_OFFSET;

	put32(p, lba);
	if (!msf)
		return;
	p[0] = 0;
	p[1] = (uint8_t)(frames / (60 * 75));
	p[2] = (uint8_t)(frames / 75 % 60);
	p[3] = (uint8_t)(frames % 75);
}

static uint8_t *put_track(uint8_t *p, uint8_t track, uint32_t lba, bool msf)
{
	memset(p, 0, 4);
	p[1] = DATA_TRACK;
	p[2] = track;
	put_address(p + 4, lba, msf);
	return p + 8;
}

/* One track and the lead-out; or the one session. */
static void read_toc(struct ide *c, const uint8_t *p)
{
	unsigned format = p[2] & 0xf ? p[2] & 0xf : p[9] >> 6;
	uint8_t *at = c->buf + 4;
	bool msf = p[1] & 2;

	if (format > 1 || (!format && p[6] > 1 && p[6] != LEAD_OUT)) {
		bad(c, ILLEGAL_REQUEST, ASC_INVALID_FIELD);
		return;
	}
	c->buf[2] = c->buf[3] = 1;
	if (format == 1 || p[6] <= 1)
		at = put_track(at, 1, 0, msf);
	if (format == 0)
		at = put_track(at, LEAD_OUT, cd_sectors(ide_current(c)), msf);
	put16(c->buf, (unsigned)(at - c->buf) - 2);
	reply(c, (uint32_t)(at - c->buf), get16(p + 7));
}

/* Features: profile list, core, removable medium (MMC-3, 5.3). */
static void get_configuration(struct ide *c, const uint8_t *p)
{
	static const uint8_t features[] = {
		0x00, 0x00, 0x03, 0x04, PROFILE_CD >> 8, PROFILE_CD, 0x01, 0x00, /* profiles */
		0x00, 0x01, 0x03, 0x04, 0x00, 0x00, 0x00, 0x02,                  /* core: ATAPI */
		0x00, 0x03, 0x03, 0x04, 0x29, 0x00, 0x00, 0x00, /* removable: tray, lock, eject */
	};

	memset(c->buf, 0, 8);
	put32(c->buf, 4 + sizeof(features));
	if (ide_current(c)->disk)
		put16(c->buf + 6, PROFILE_CD);
	memcpy(c->buf + 8, features, sizeof(features));
	reply(c, 8 + sizeof(features), get16(p + 7));
}

/* Polled only; the class that is known is that of the medium. */
static void get_event(struct ide *c, const uint8_t *p)
{
	struct ide_drive *d = ide_current(c);
	const uint8_t media_class = 4;

	if (!(p[1] & 1)) {
		bad(c, ILLEGAL_REQUEST, ASC_INVALID_FIELD);
		return;
	}
	memset(c->buf, 0, 8);
	c->buf[3] = 1u << media_class;
	if (!(p[4] & 1u << media_class)) {
		c->buf[1] = 2;
		c->buf[2] = 0x80; /* no event of what was asked for */
		reply(c, 4, get16(p + 7));
		return;
	}
	c->buf[1] = 6;
	c->buf[2] = media_class;
	if (d->disc_changed)
		c->buf[4] = d->disk ? 2 : 3; /* new medium, or gone */
	c->buf[5] = d->disk ? 2 : 0;
	d->disc_changed = false;
	reply(c, 8, get16(p + 7));
}

static void read_disc_info(struct ide *c, const uint8_t *p)
{
	memset(c->buf, 0, 34);
	c->buf[1] = 32;
	c->buf[2] = 0x0e; /* complete, last session complete */
	c->buf[3] = c->buf[4] = c->buf[5] = c->buf[6] = 1;
	c->buf[7] = 0x20; /* unrestricted */
	reply(c, 34, get16(p + 7));
}

static void read_track_info(struct ide *c, const uint8_t *p)
{
	memset(c->buf, 0, 36);
	c->buf[1] = 34;
	c->buf[2] = c->buf[3] = 1;
	c->buf[5] = 4;
	c->buf[6] = 1;
	put32(c->buf + 24, cd_sectors(ide_current(c)));
	reply(c, 36, get16(p + 7));
}

static void mechanism_status(struct ide *c, const uint8_t *p)
{
	memset(c->buf, 0, 8);
	reply(c, 8, get16(p + 8));
}

/* Pages: error recovery (01h), capabilities (2Ah). Returns the length, 0: no such page. */
static uint32_t put_mode_page(const struct ide_drive *d, uint8_t *p, unsigned page)
{
	uint8_t *at = p;

	if (page == 0x01 || page == 0x3f) {
		memset(at, 0, 8);
		at[0] = 0x01;
		at[1] = 6;
		at += 8;
	}
	if (page == 0x2a || page == 0x3f) {
		memset(at, 0, 20);
		at[0] = 0x2a;
		at[1] = 18;
		at[4] = 0x70;                                  /* multi session, mode 2 */
		at[6] = (uint8_t)(0x29 | (d->locked ? 2 : 0)); /* tray, eject, lock */
		put16(at + 8, 706);                            /* 4x, in KB/s */
		put16(at + 14, 706);
		at += 20;
	}
	return (uint32_t)(at - p);
}

/* The long header has 8 bytes, the short one 4. */
static void mode_sense(struct ide *c, const uint8_t *p, bool ten)
{
	const struct ide_drive *d = ide_current(c);
	unsigned head = ten ? 8 : 4, control = p[2] >> 6;
	uint32_t len;

	memset(c->buf, 0, head);
	len = put_mode_page(d, c->buf + head, p[2] & 0x3f);
	if (!len || control == 3) {
		bad(c, ILLEGAL_REQUEST, ASC_INVALID_FIELD);
		return;
	}
	len += head;
	if (ten)
		put16(c->buf, len - 2);
	else
		c->buf[0] = (uint8_t)(len - 1);
	c->buf[ten ? 2 : 1] = d->disk ? 0x01 : 0x70; /* data disc; tray closed, no disc */
	reply(c, len, ten ? get16(p + 7) : p[4]);
}

void atapi_tray(struct ide_drive *d, bool open)
{
	struct disk **from = open ? &d->disk : &d->on_tray, **to = open ? &d->on_tray : &d->disk;

	if (!*from)
		return;
	*to = *from;
	*from = NULL;
	d->sectors = d->disk ? disk_size(d->disk) / SECTOR_SIZE : 0;
	d->disc_changed = true;
}

/* LoEj: the tray opens, or closes if Start is set too. */
static void start_stop(struct ide *c, const uint8_t *p)
{
	struct ide_drive *d = ide_current(c);
	bool eject = (p[4] & 3) == 2, load = (p[4] & 3) == 3;

	if (eject && d->locked) {
		bad(c, NOT_READY, ASC_LOCKED);
		return;
	}
	if (eject || load)
		atapi_tray(d, eject);
	good(c);
}

static void prevent_removal(struct ide *c, const uint8_t *p)
{
	ide_current(c)->locked = p[4] & 1;
	good(c);
}

static void command_without_disc(struct ide *c, const uint8_t *p)
{
	switch (p[0]) {
	case REQUEST_SENSE:
		request_sense(c, p);
		break;
	case INQUIRY:
		inquiry(c, p);
		break;
	case GET_CONFIGURATION:
		get_configuration(c, p);
		break;
	case GET_EVENT:
		get_event(c, p);
		break;
	case MODE_SENSE_6:
	case MODE_SENSE_10:
		mode_sense(c, p, p[0] == MODE_SENSE_10);
		break;
	case START_STOP:
		start_stop(c, p);
		break;
	case PREVENT_REMOVAL:
		prevent_removal(c, p);
		break;
	case MECHANISM_STATUS:
		mechanism_status(c, p);
		break;
	case SET_SPEED:
		good(c);
		break;
	default:
		bad(c, ILLEGAL_REQUEST, ASC_INVALID_COMMAND);
		break;
	}
}

static void command_with_disc(struct ide *c, const uint8_t *p)
{
	switch (p[0]) {
	case TEST_UNIT_READY:
	case SEEK_10:
		good(c);
		break;
	case READ_CAPACITY:
		read_capacity(c);
		break;
	case READ_10:
		read_sectors(c, get32(p + 2), get16(p + 7));
		break;
	case READ_12:
		read_sectors(c, get32(p + 2), get32(p + 6));
		break;
	case READ_CD:
		read_cd(c, p);
		break;
	case READ_TOC:
		read_toc(c, p);
		break;
	case READ_DISC_INFO:
		read_disc_info(c, p);
		break;
	case READ_TRACK_INFO:
		read_track_info(c, p);
		break;
	default:
		command_without_disc(c, p);
		break;
	}
}

static bool wants_disc(uint8_t command)
{
	switch (command) {
	case TEST_UNIT_READY:
	case SEEK_10:
	case READ_CAPACITY:
	case READ_10:
	case READ_12:
	case READ_CD:
	case READ_TOC:
	case READ_DISC_INFO:
	case READ_TRACK_INFO:
		return true;
	default:
		return false;
	}
}

void atapi_execute(struct ide *c)
{
	struct ide_drive *d = ide_current(c);
	uint8_t p[CD_PACKET];

	memcpy(p, c->buf, sizeof(p));
	if (wants_disc(p[0]) && !d->disk) {
		bad(c, NOT_READY, ASC_NO_DISC);
	} else if (wants_disc(p[0]) && d->disc_changed) {
		d->disc_changed = false;
		bad(c, UNIT_ATTENTION, ASC_DISC_CHANGED);
	} else {
		command_with_disc(c, p);
	}
}
