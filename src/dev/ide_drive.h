/*
 * ide_drive.h - what the halves of an IDE channel share: ide.c has registers
 * and transfers, ide_ata.c the commands of disks, ide_atapi.c those of CD-ROMs.
 * vm->lock held.
 */
#ifndef TINAMOU_IDE_DRIVE_H
#define TINAMOU_IDE_DRIVE_H

#include "dev/ide.h"

enum ide_status {
	IDE_ERR = 0x01,
	IDE_DRQ = 0x08,
	IDE_DSC = 0x10,
	IDE_DF = 0x20,
	IDE_DRDY = 0x40,
	IDE_BSY = 0x80
};

enum ide_error { IDE_ABRT = 0x04, IDE_IDNF = 0x10, IDE_UNC = 0x40 };

/* Count register of a packet command: interrupt reason. */
enum ide_reason { IDE_REASON_CD = 0x01, IDE_REASON_IO = 0x02 };

enum ide_device_bits { IDE_DEV_UNIT = 0x10, IDE_DEV_LBA = 0x40 };

#define IDE_BUFFER   (256u * SECTOR_SIZE) /* one piece of a transfer */
#define IDE_MULTIPLE 16u                  /* sectors a block at most */
#define CD_SECTOR    2048u
#define CD_PACKET    12u
#define IDE_ID_WORDS 256u

/* A register and what it held before: 48-bit commands take both. */
struct ide_reg {
	uint8_t now, before;
};

struct ide_drive {
	enum ide_kind kind;
	struct disk *disk;    /* NULL: no disc in the drive */
	struct disk *on_tray; /* the disc that the guest ejected, until it closes the tray */
	uint64_t sectors;     /* of 512 bytes */
	uint8_t unit;
	uint8_t status, error, device;
	struct ide_reg feature, count, lba[3]; /* sector number, cylinder low and high */
	uint16_t cylinders;                    /* as INITIALIZE DEVICE PARAMETERS left them */
	uint8_t heads, spt;
	uint8_t multiple; /* sectors a block, 0: not set */
	uint8_t dma_mode; /* of SET FEATURES: bit 5 Ultra DMA, bit 4 others, number 2:0 */
	bool write_cache;
	/* ATAPI. */
	uint8_t sense_key, asc, ascq;
	bool disc_changed, locked;
};

enum ide_phase {
	IDE_IDLE,
	IDE_PIO_IN,  /* the guest reads the data port */
	IDE_PIO_OUT, /* the guest writes it */
	IDE_DMA_IN,  /* the bus master fills guest memory */
	IDE_DMA_OUT,
	IDE_WAIT /* for the disk, without data */
};

struct ide {
	struct device dev;
	struct bus_region region[2];
	struct irq irq;
	struct ide_master master;
	struct ide_drive drive[2];
	uint8_t selected, control;
	bool irq_on; /* INTRQ before nIEN */

	uint8_t phase;
	bool packet;         /* the data are a command packet */
	bool ext;            /* the command takes 48-bit addresses */
	bool wait_dma;       /* the buffer waits for the bus master */
	uint32_t pos, len;   /* in buf: next byte, end of valid bytes */
	uint32_t block, end; /* bytes an interrupt; where this block ends */
	uint64_t lba, left;  /* next disk sector of 512 bytes, how many are to come */
	uint8_t *buf;        /* IDE_BUFFER bytes */

	struct disk_request request;
	struct iovec iov;
	bool in_flight;
};

static inline struct ide_drive *ide_current(struct ide *c)
{
	return &c->drive[c->selected];
}

/* ---- ide.c ---- */

/* The command is over: with these bits beside DRDY; and with an interrupt. */
void ide_complete(struct ide *c, uint8_t status, uint8_t error);
void ide_raise(struct ide *c);
/* The guest is to read buf[0..len) or to write it, `block` bytes an interrupt. */
void ide_pio_in(struct ide *c, uint32_t len, uint32_t block);
void ide_pio_out(struct ide *c, uint32_t len, uint32_t block, bool interrupt);
/* Moves sectors from c->lba on, c->left of them, by the phase given. */
void ide_start_transfer(struct ide *c, enum ide_phase phase, uint32_t block);
/* buf[0..len) to the guest's memory by the bus master. */
void ide_dma_in(struct ide *c, uint32_t len);
/* One request without data; completes the command. */
void ide_wait_disk(struct ide *c, enum disk_op op);

/* ---- ide_ata.c ---- */

void ata_reset(struct ide_drive *d);
void ata_signature(struct ide_drive *d);
void ata_command(struct ide *c, uint8_t command);
/* The drive's address registers show sector lba. */
void ata_show_address(struct ide *c, struct ide_drive *d, uint64_t lba);

/* ---- ide_atapi.c ---- */

/* Moves the disc onto the tray, or back in. */
void atapi_tray(struct ide_drive *d, bool open);

void atapi_identify(struct ide *c);
void atapi_packet(struct ide *c);  /* the PACKET command: asks for its packet */
void atapi_execute(struct ide *c); /* the packet is in buf */
/* All data have moved, or the disk failed. */
void atapi_finish(struct ide *c, int error);
/* A block of a packet's data begins: the byte count tells its length. */
void atapi_block(struct ide *c, uint32_t bytes);

/* Words as IDENTIFY has them: text with its bytes swapped, padded by blanks. */
void ide_put_text(uint16_t *word, unsigned words, const char *text);
void ide_put_words(struct ide *c, const uint16_t *word);

#endif
