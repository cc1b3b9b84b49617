/*
 * floppy.c - an 82077AA floppy disk controller in AT mode.
 *
 * Source: Intel 82077AA datasheet (290166): 2 (registers), 5 (commands). The
 * mechanics take no time. Left out: transfers without DMA, deleted data, scans
 * and READ TRACK, the tape drive, densities that do not fit the disk (every
 * data rate reads it). Lock: vm->lock.
 */
#include "dev/floppy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dev/devutil.h"
#include "util/util.h"

enum { REG_SRA, REG_SRB, REG_DOR, REG_TDR, REG_MSR, REG_FIFO };
enum { DOR_NRESET = 0x04, DOR_DMA = 0x08, DOR_MOTORS = 0xf0 };
enum { MSR_BUSY = 0x10, MSR_DIO = 0x40, MSR_RQM = 0x80 };
enum { ST0_SEEK_END = 0x20, ST0_ABNORMAL = 0x40, ST0_INVALID = 0x80, ST0_POLLING = 0xc0 };
enum {
	ST1_NO_ADDRESS = 0x01,
	ST1_WRITE_PROTECT = 0x02,
	ST1_NO_DATA = 0x04,
	ST1_CRC = 0x20,
	ST1_END = 0x80
};
enum { ST3_TWO_SIDES = 0x08, ST3_TRACK0 = 0x10, ST3_READY = 0x20, ST3_PROTECTED = 0x40 };

enum command {
	SPECIFY = 0x03,
	SENSE_DRIVE = 0x04,
	WRITE_DATA = 0x05,
	READ_DATA = 0x06,
	RECALIBRATE = 0x07,
	SENSE_INTERRUPT = 0x08,
	READ_ID = 0x0a,
	FORMAT = 0x0d,
	DUMP = 0x0e,
	SEEK = 0x0f,
	VERSION = 0x10,
	PERPENDICULAR = 0x12,
	CONFIGURE = 0x13,
	LOCK = 0x14
};

#define COMMAND_MASK  0x1fu
#define MULTI_TRACK   0x80u
#define LOCK_ON       0x80u
#define DSR_RESET     0x80u
#define DIR_CHANGED   0x80u
#define VERSION_82077 0x90
#define MAX_PARAMS    9u
#define MAX_RESULTS   10u
#define DMA_CHANNEL   2u
#define TRACK_MAX     (2u * 36u * SECTOR_SIZE) /* both sides */
#define SIZE_CODE     2u                       /* N: 512 bytes */

struct geometry {
	uint32_t sectors;
	uint8_t cylinders, heads, spt;
	uint8_t type; /* enum floppy_type */
};

static const struct geometry geometries[] = {
	{320, 40, 1, 8, FLOPPY_360K},
	{360, 40, 1, 9, FLOPPY_360K},
	{640, 40, 2, 8, FLOPPY_360K},
	{720, 40, 2, 9, FLOPPY_360K},
	{1440, 80, 2, 9, FLOPPY_720K},
	{2400, 80, 2, 15, FLOPPY_1200K},
	{2880, 80, 2, 18, FLOPPY_1440K},
	{5760, 80, 2, 36, FLOPPY_2880K},
};

struct drive {
	struct disk *disk;
	const struct geometry *geometry;
	uint8_t cylinder; /* where the heads are */
	bool changed;
};

struct floppy {
	struct device dev;
	struct bus_region region[2];
	struct irq irq;
	struct dma *dma;
	struct drive drive[FLOPPY_DRIVES];
	uint8_t dor, rate, lock;
	uint8_t specify[2], configure[3], perpendicular;
	uint8_t command, param[MAX_PARAMS], params, wanted; /* wanted: with the command */
	uint8_t result[MAX_RESULTS], results, next_result;
	uint8_t st0[4];     /* what SENSE INTERRUPT tells, by drive */
	uint8_t interrupts; /* drives that have something to tell */
	bool busy;          /* a transfer is under way */
	bool raised;

	struct disk_request request;
	struct iovec iov;
	bool in_flight;
	uint32_t len; /* bytes of the transfer */
	uint8_t buf[TRACK_MAX];
};

/* ---- interrupt and results ---- */

static void update_irq(struct floppy *f)
{
	irq_set(f->irq, f->raised && f->dor & DOR_DMA);
}

static void raise(struct floppy *f)
{
	f->raised = true;
	update_irq(f);
}

static void lower(struct floppy *f)
{
	f->raised = false;
	update_irq(f);
}

static void idle(struct floppy *f)
{
	f->params = f->results = f->next_result = 0;
	f->busy = false;
}

static void answer(struct floppy *f, const uint8_t *bytes, unsigned n)
{
	idle(f);
	memcpy(f->result, bytes, n);
	f->results = (uint8_t)n;
}

static void answer_byte(struct floppy *f, uint8_t byte)
{
	answer(f, &byte, 1);
}

static struct drive *selected(struct floppy *f)
{
	unsigned n = f->param[0] & 3;

	return n < FLOPPY_DRIVES ? &f->drive[n] : NULL;
}

static bool has_disk(struct floppy *f)
{
	struct drive *d = selected(f);

	return d && d->disk;
}

/* Status, and the address of the sector after the last one. */
static void finish(struct floppy *f, uint8_t st0, uint8_t st1, uint8_t st2)
{
	const uint8_t result[7] = {(uint8_t)(st0 | (f->param[0] & 7)), st1, st2, f->param[1],
		f->param[2], f->param[3], f->param[4]};

	answer(f, result, sizeof(result));
	raise(f);
}

static void fail(struct floppy *f, uint8_t st1)
{
	finish(f, ST0_ABNORMAL, st1, 0);
}

/* ---- transfers ---- */

static uint64_t sector_number(const struct geometry *g, const uint8_t *p)
{
	return ((uint64_t)p[1] * g->heads + p[2]) * g->spt + p[3] - 1;
}

static bool address_valid(const struct drive *d, const uint8_t *p)
{
	const struct geometry *g = d->geometry;

	return p[1] < g->cylinders && p[2] < g->heads && p[3] >= 1 && p[3] <= g->spt &&
	       p[4] == SIZE_CODE;
}

/* How many sectors from there to the end that the command names. */
static uint32_t sectors_to_end(const struct floppy *f, const struct geometry *g)
{
	const uint8_t *p = f->param;
	uint32_t last = MIN(p[5], g->spt), n;

	if (p[3] > last)
		return 1;
	n = last - p[3] + 1;
	if (f->command & MULTI_TRACK && p[2] == 0 && g->heads == 2)
		n += last;
	return n;
}

/* Moves the address behind n sectors, as the result phase shows it. */
static void advance(struct floppy *f, uint32_t n)
{
	const struct geometry *g = selected(f)->geometry;
	uint8_t *p = f->param;
	uint32_t last = MAX(MIN(p[5], g->spt), 1);

	while (n--) {
		if (p[3] < last) {
			p[3]++;
			continue;
		}
		p[3] = 1;
		if (f->command & MULTI_TRACK && p[2] == 0)
			p[2] = 1;
		else
			p[2] = f->command & MULTI_TRACK ? 0 : p[2], p[1]++;
	}
	f->param[0] = (uint8_t)((f->param[0] & ~4) | (p[2] & 1 ? 4 : 0));
}

static void transfer_done(struct disk_request *r, int error)
{
	struct floppy *f = r->ctx;
	uint32_t moved = f->len;
	bool end = true;

	f->in_flight = false;
	if (error) {
		fail(f, error == -EROFS ? ST1_WRITE_PROTECT : ST1_CRC);
		return;
	}
	if (r->op == DISK_READ)
		moved = dma_move(f->dma, DMA_CHANNEL, f->buf, f->len, true, &end);
	advance(f, (moved + SECTOR_SIZE - 1) / SECTOR_SIZE);
	finish(f, 0, 0, 0);
}

static void submit(struct floppy *f, enum disk_op op, uint64_t sector)
{
	struct drive *d = selected(f);

	f->iov = (struct iovec){f->buf, f->len};
	f->request = (struct disk_request){.op = (uint8_t)op,
		.offset = sector * SECTOR_SIZE,
		.len = f->len,
		.iov = &f->iov,
		.iovcnt = 1,
		.done = transfer_done,
		.ctx = f};
	f->busy = f->in_flight = true;
	disk_submit(d->disk, &f->request);
}

static bool fits(const struct drive *d, uint64_t sector, uint32_t len)
{
	return range_in(sector * SECTOR_SIZE, len, disk_size(d->disk));
}

/* As many whole sectors as DMA takes; the guest's count may end within the last. */
static void transfer(struct floppy *f, bool write)
{
	struct drive *d = selected(f);
	uint32_t room = dma_room(f->dma, DMA_CHANNEL);
	uint64_t sector;
	bool end;

	if (!has_disk(f) || !address_valid(d, f->param)) {
		fail(f, has_disk(f) ? ST1_NO_DATA : ST1_NO_ADDRESS);
		return;
	}
	sector = sector_number(d->geometry, f->param);
	f->len = sectors_to_end(f, d->geometry) * SECTOR_SIZE;
	f->len = MIN(f->len, (room + SECTOR_SIZE - 1) & ~(SECTOR_SIZE - 1u));
	if (!f->len || !fits(d, sector, f->len)) {
		fail(f, ST1_NO_DATA);
	} else if (write && disk_readonly(d->disk)) {
		fail(f, ST1_WRITE_PROTECT);
	} else if (write) {
		memset(f->buf, 0, f->len);
		dma_move(f->dma, DMA_CHANNEL, f->buf, f->len, false, &end);
		submit(f, DISK_WRITE, sector);
	} else {
		submit(f, DISK_READ, sector);
	}
}

/* Fills the sectors of one track; their addresses come by DMA and are believed. */
static void format(struct floppy *f)
{
	struct drive *d = selected(f);
	uint8_t fill = f->param[4], ids[4 * 36];
	const struct geometry *g;
	uint64_t sector;
	bool end;

	if (!has_disk(f) || disk_readonly(d->disk)) {
		fail(f, has_disk(f) ? ST1_WRITE_PROTECT : ST1_NO_ADDRESS);
		return;
	}
	g = d->geometry;
	dma_move(f->dma, DMA_CHANNEL, ids, MIN(f->param[2], g->spt) * 4u, false, &end);
	sector = ((uint64_t)d->cylinder * g->heads + (f->param[0] >> 2 & 1)) * g->spt;
	f->len = g->spt * (uint32_t)SECTOR_SIZE;
	if (d->cylinder >= g->cylinders || !fits(d, sector, f->len)) {
		fail(f, ST1_NO_DATA);
		return;
	}
	memset(f->buf, fill, f->len);
	f->param[1] = d->cylinder; /* for the result */
	f->param[2] = f->param[0] >> 2 & 1;
	f->param[3] = 1;
	f->param[4] = SIZE_CODE;
	f->param[5] = g->spt;
	submit(f, DISK_WRITE, sector);
}

/* ---- commands ---- */

/* The heads are there at once; SENSE INTERRUPT tells. */
static void seek(struct floppy *f, uint8_t cylinder)
{
	unsigned n = f->param[0] & 3;
	struct drive *d = selected(f);

	idle(f);
	f->st0[n] = (uint8_t)(ST0_SEEK_END | (f->param[0] & 7));
	if (d) {
		d->cylinder = cylinder;
		d->changed = d->changed && !d->disk;
	}
	if (!d || !d->geometry)
		f->st0[n] |= ST0_ABNORMAL;
	f->interrupts |= (uint8_t)(1u << n);
	raise(f);
}

static void sense_interrupt(struct floppy *f)
{
	uint8_t result[2] = {ST0_INVALID, 0};

	for (unsigned n = 0; n < 4; n++) {
		if (!(f->interrupts >> n & 1))
			continue;
		f->interrupts &= (uint8_t) ~(1u << n);
		result[0] = f->st0[n];
		result[1] = n < FLOPPY_DRIVES ? f->drive[n].cylinder : 0;
		lower(f);
		answer(f, result, 2);
		return;
	}
	answer(f, result, 1);
}

static void sense_drive(struct floppy *f)
{
	struct drive *d = selected(f);
	uint8_t st3 = (uint8_t)(ST3_TWO_SIDES | ST3_READY | (f->param[0] & 7));

	if (d && d->cylinder == 0)
		st3 |= ST3_TRACK0;
	if (d && d->disk && disk_readonly(d->disk))
		st3 |= ST3_PROTECTED;
	answer_byte(f, st3);
}

/* The first sector that comes by. */
static void read_id(struct floppy *f)
{
	struct drive *d = selected(f);

	f->param[1] = d ? d->cylinder : 0;
	f->param[2] = f->param[0] >> 2 & 1;
	f->param[3] = 1;
	f->param[4] = SIZE_CODE;
	if (!has_disk(f) || !address_valid(d, f->param))
		fail(f, ST1_NO_ADDRESS);
	else
		finish(f, 0, 0, 0);
}

static void dump(struct floppy *f)
{
	const uint8_t result[10] = {f->drive[0].cylinder, f->drive[1].cylinder, 0, 0, f->specify[0],
		f->specify[1], f->param[5], (uint8_t)(f->lock | f->perpendicular), f->configure[1],
		f->configure[2]};

	answer(f, result, sizeof(result));
}

static void execute(struct floppy *f)
{
	switch (f->command & COMMAND_MASK) {
	case READ_DATA:
	case WRITE_DATA:
		transfer(f, (f->command & COMMAND_MASK) == WRITE_DATA);
		break;
	case FORMAT:
		format(f);
		break;
	case READ_ID:
		read_id(f);
		break;
	case RECALIBRATE:
		seek(f, 0);
		break;
	case SEEK:
		seek(f, f->param[1]);
		break;
	case SENSE_INTERRUPT:
		sense_interrupt(f);
		break;
	case SENSE_DRIVE:
		sense_drive(f);
		break;
	case SPECIFY:
		memcpy(f->specify, f->param, 2);
		idle(f);
		break;
	case CONFIGURE:
		memcpy(f->configure, f->param, 3);
		idle(f);
		break;
	case PERPENDICULAR:
		f->perpendicular = f->param[0] & 0x3f;
		idle(f);
		break;
	case LOCK:
		f->lock = f->command & LOCK_ON;
		answer_byte(f, f->lock >> 3);
		break;
	case DUMP:
		dump(f);
		break;
	case VERSION:
		answer_byte(f, VERSION_82077);
		break;
	default:
		answer_byte(f, ST0_INVALID);
		break;
	}
}

static unsigned parameters(uint8_t command)
{
	static const uint8_t count[COMMAND_MASK + 1] = {
		[SPECIFY] = 2,
		[SENSE_DRIVE] = 1,
		[WRITE_DATA] = 8,
		[READ_DATA] = 8,
		[RECALIBRATE] = 1,
		[READ_ID] = 1,
		[FORMAT] = 5,
		[SEEK] = 2,
		[PERPENDICULAR] = 1,
		[CONFIGURE] = 3,
	};

	return count[command & COMMAND_MASK];
}

/* ---- registers ---- */

static void fifo_write(struct floppy *f, uint8_t value)
{
	if (f->busy || f->results || !(f->dor & DOR_NRESET))
		return;
	if (!f->wanted) {
		f->command = value;
		f->params = 0;
		f->wanted = (uint8_t)(1 + parameters(value));
	} else {
		f->param[f->params++] = value;
	}
	if (f->params + 1u < f->wanted)
		return;
	f->wanted = 0;
	execute(f);
}

static uint8_t fifo_read(struct floppy *f)
{
	uint8_t value;

	if (f->next_result >= f->results)
		return 0;
	if (f->results == 7) /* the first read of a transfer's results */
		lower(f);
	value = f->result[f->next_result++];
	if (f->next_result == f->results)
		idle(f);
	return value;
}

static uint8_t main_status(const struct floppy *f)
{
	if (!(f->dor & DOR_NRESET))
		return 0;
	if (f->busy)
		return MSR_BUSY;
	if (f->results)
		return MSR_RQM | MSR_DIO | MSR_BUSY;
	return f->wanted ? MSR_RQM | MSR_BUSY : MSR_RQM;
}

static void cancel(struct floppy *f)
{
	struct drive *d = selected(f);

	if (f->in_flight && d)
		disk_cancel(d->disk, &f->request);
	f->in_flight = false;
	f->wanted = 0;
	idle(f);
}

/* Out of reset all four drives report a change (polling). */
static void controller_reset(struct floppy *f)
{
	cancel(f);
	if (!f->lock)
		memset(f->configure, 0, sizeof(f->configure));
	f->perpendicular = 0;
	f->interrupts = 0xf;
	for (unsigned n = 0; n < 4; n++)
		f->st0[n] = (uint8_t)(ST0_POLLING | n);
	raise(f);
}

static void dor_write(struct floppy *f, uint8_t value)
{
	uint8_t before = f->dor;

	f->dor = value;
	if (!(value & DOR_NRESET)) {
		cancel(f);
		f->interrupts = 0;
		lower(f);
	} else if (!(before & DOR_NRESET)) {
		controller_reset(f);
	}
	update_irq(f);
}

static uint64_t ports_read(void *ctx, uint64_t off, unsigned size)
{
	struct floppy *f = ctx;

	switch (off) {
	case REG_DOR:
		return f->dor;
	case REG_MSR:
		return main_status(f);
	case REG_FIFO:
		return fifo_read(f);
	default:
		return UINT64_MAX; /* status registers A and B are those of a PS/2 */
	}
}

static void ports_write(void *ctx, uint64_t off, unsigned size, uint64_t value)
{
	struct floppy *f = ctx;

	switch (off) {
	case REG_DOR:
		dor_write(f, (uint8_t)value);
		break;
	case REG_MSR: /* data rate select */
		f->rate = value & 3;
		if (value & DSR_RESET)
			controller_reset(f);
		break;
	case REG_FIFO:
		fifo_write(f, (uint8_t)value);
		break;
	default:
		break;
	}
}

static uint64_t dir_read(void *ctx, uint64_t off, unsigned size)
{
	struct floppy *f = ctx;
	unsigned n = f->dor & 3;

	return n < FLOPPY_DRIVES && f->dor >> 4 >> n & 1 && f->drive[n].changed ? DIR_CHANGED : 0;
}

static void ccr_write(void *ctx, uint64_t off, unsigned size, uint64_t value)
{
	((struct floppy *)ctx)->rate = value & 3;
}

static const struct bus_ops floppy_ops[2] = {
	[FLOPPY_PORTS] = {ports_read, ports_write, 1, 1},
	[FLOPPY_DIR] = {dir_read, ccr_write, 1, 1},
};

/* ---- life ---- */

static void floppy_reset(struct device *dev)
{
	struct floppy *f = container_of(dev, struct floppy, dev);

	cancel(f);
	f->dor = f->rate = f->lock = f->interrupts = f->perpendicular = 0;
	memset(f->configure, 0, sizeof(f->configure));
	memset(f->specify, 0, sizeof(f->specify));
	for (unsigned n = 0; n < FLOPPY_DRIVES; n++) {
		f->drive[n].cylinder = 0;
		f->drive[n].changed = true;
	}
	lower(f);
}

static void floppy_quiesce(struct device *dev)
{
	struct floppy *f = container_of(dev, struct floppy, dev);

	if (f->in_flight)
		disk_drain(selected(f)->disk);
}

static void snap_command(struct floppy *f, struct snap *s)
{
	snap_u8(s, "command", &f->command);
	snap_bytes(s, "param", f->param, sizeof(f->param));
	snap_u8_max(s, "params", &f->params, MAX_PARAMS - 1);
	snap_u8_max(s, "wanted", &f->wanted, MAX_PARAMS);
	snap_bytes(s, "result", f->result, sizeof(f->result));
	snap_u8_max(s, "results", &f->results, MAX_RESULTS);
	snap_u8_max(s, "next_result", &f->next_result, MAX_RESULTS);
}

static void floppy_snap(struct device *dev, struct snap *s)
{
	struct floppy *f = container_of(dev, struct floppy, dev);

	snap_section(s, dev->name, 1);
	if (snap_loading(s))
		cancel(f);
	snap_u8(s, "dor", &f->dor);
	snap_u8(s, "rate", &f->rate);
	snap_u8(s, "lock", &f->lock);
	snap_bytes(s, "specify", f->specify, sizeof(f->specify));
	snap_bytes(s, "configure", f->configure, sizeof(f->configure));
	snap_u8(s, "perpendicular", &f->perpendicular);
	snap_bytes(s, "st0", f->st0, sizeof(f->st0));
	snap_u8_max(s, "interrupts", &f->interrupts, 0xf);
	snap_bool(s, "raised", &f->raised);
	for (unsigned n = 0; n < FLOPPY_DRIVES; n++) {
		snap_u8(s, "cylinder", &f->drive[n].cylinder);
		snap_bool(s, "changed", &f->drive[n].changed);
	}
	snap_command(f, s);
	if (snap_loading(s))
		update_irq(f);
}

static void floppy_destroy(struct device *dev)
{
	struct floppy *f = container_of(dev, struct floppy, dev);

	cancel(f);
	free(f);
}

struct floppy *floppy_new(struct irq irq, struct dma *dma)
{
	struct floppy *f = xcalloc(1, sizeof(*f));

	f->dev = (struct device){.name = "floppy",
		.reset = floppy_reset,
		.snap = floppy_snap,
		.destroy = floppy_destroy,
		.quiesce = floppy_quiesce};
	f->irq = irq;
	f->dma = dma;
	region_init(&f->region[FLOPPY_PORTS], "floppy", 6, &floppy_ops[FLOPPY_PORTS], f);
	region_init(&f->region[FLOPPY_DIR], "floppy change", 1, &floppy_ops[FLOPPY_DIR], f);
	return f;
}

/* The smallest format that holds the image; what is beyond its end cannot be read. */
void floppy_attach(struct floppy *f, unsigned drive, struct disk *disk)
{
	uint64_t sectors = disk_size(disk) / SECTOR_SIZE;
	const struct geometry *g = &geometries[ARRAY_SIZE(geometries) - 1];

	for (unsigned i = ARRAY_SIZE(geometries); i-- > 0;)
		if (sectors <= geometries[i].sectors)
			g = &geometries[i];
	for (unsigned i = 0; i < ARRAY_SIZE(geometries); i++)
		if (geometries[i].type == FLOPPY_1440K && sectors < 1440)
			g = sectors == g->sectors ? g : &geometries[i]; /* a piece of one */
	f->drive[drive] = (struct drive){disk, g, 0, true};
}

enum floppy_type floppy_type(const struct floppy *f, unsigned drive)
{
	const struct geometry *g = f->drive[drive].geometry;

	return g ? (enum floppy_type)g->type : FLOPPY_NONE;
}

struct device *floppy_device(struct floppy *f)
{
	return &f->dev;
}

struct bus_region *floppy_region(struct floppy *f, enum floppy_region_id id)
{
	return &f->region[id];
}
