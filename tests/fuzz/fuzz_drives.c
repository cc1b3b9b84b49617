/*
 * fuzz_drives.c - libFuzzer entry: the input is a script of guest accesses to
 * PCI, IDE and its bus masters, CD-ROM, floppy, DMA, flash and fw_cfg, with a
 * snapshot at its end that is loaded into a second machine. Each input begins
 * with a snapshot of a machine that was just made, so what a device forgets to
 * save shows as well.
 */
#include "tests/dev/drives.h"

/* Two machines serve all inputs: to make one takes as long as many inputs. */
static struct snap *pristine;
static struct drives machine, other;
static uint64_t written[DRIVES_DISKS];

static bool restore(struct drives *to, const struct snap *from)
{
	size_t len;
	const void *data = snap_data(from, &len);
	struct snap *s = snap_new_load(data, len);
	bool done = drives_snap(to, s);

	snap_free(s);
	return done;
}

static uint64_t writes(const struct disk *disk)
{
	struct disk_stats stats;

	disk_get_stats(disk, &stats);
	return stats.requests[DISK_WRITE];
}

static void ignore(struct disk_request *r, int error)
{
}

static void write_back(struct disk *disk)
{
	static uint8_t bytes[DRIVES_SECTORS * SECTOR_SIZE];
	struct iovec iov = {bytes, sizeof(bytes)};
	struct disk_request r = {
		.op = DISK_WRITE, .len = sizeof(bytes), .iov = &iov, .iovcnt = 1, .done = ignore};

	for (unsigned n = 0; n < sizeof(bytes); n++)
		bytes[n] = (uint8_t)(n / SECTOR_SIZE);
	disk_submit(disk, &r);
	disk_drain(disk);
}

/* What no snapshot holds, as drives_init() leaves it. */
static void wipe(struct drives *d)
{
	for (unsigned i = 0; i < d->devices; i++)
		if (d->device[i]->quiesce)
			d->device[i]->quiesce(d->device[i]);
	for (unsigned i = 0; i < DRIVES_DISKS; i++) {
		if (writes(d->disk[i]) == written[i])
			continue;
		write_back(d->disk[i]);
		written[i] = writes(d->disk[i]);
	}
	memset(d->bench.bytes, 0, BENCH_RAM);
	memset(d->shadow, 0, I440FX_SHADOW_SIZE);
	memset(d->flash, 0xff, 8192);
	ide_change_disc(d->ide[0], 1, d->disk[1]);
	d->messages = 0;
}

static void power_on(void)
{
	if (pristine) {
		wipe(&machine);
		if (!restore(&machine, pristine))
			abort();
		return;
	}
	drives_init(&machine);
	drives_init(&other);
	pristine = snap_new_save();
	if (!drives_snap(&machine, pristine))
		abort();
}

/* The other machine has its disc: the snapshot is refused if this one's is out. */
static void copy_by_snapshot(bool ejected)
{
	struct snap *save = snap_new_save();

	if (!drives_snap(&machine, save))
		abort();
	if (!restore(&other, save) && !ejected)
		abort();
	settle(&other.bench);
	snap_free(save);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct drives_step step;
	bool ejected = false;

	power_on();
	for (; len >= sizeof(step); data += sizeof(step), len -= sizeof(step)) {
		memcpy(&step, data, sizeof(step));
		drives_do(&machine, &step);
		ejected |= step.what % 16 == 9;
	}
	if (len == 1) /* a snapshot takes as long as a thousand accesses: not always */
		copy_by_snapshot(ejected);
	return 0;
}
