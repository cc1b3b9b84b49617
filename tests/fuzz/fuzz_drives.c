/*
 * fuzz_drives.c - libFuzzer entry: the input is a script of guest accesses to
 * PCI, IDE and its bus masters, CD-ROM, floppy, DMA, flash and fw_cfg, with a
 * snapshot at its end that is loaded into a second machine.
 */
#include "tests/dev/drives.h"

static void copy_by_snapshot(struct drives *d)
{
	struct snap *save = snap_new_save(), *load;
	struct drives other;
	const void *data;
	size_t len;

	if (!drives_snap(d, save))
		abort();
	data = snap_data(save, &len);
	drives_init(&other);
	load = snap_new_load(data, len);
	/* A disc that the guest ejected is in the other machine's drive. */
	if (!drives_snap(&other, load) && !d->ide[0])
		abort();
	settle(&other.bench);
	snap_free(load);
	snap_free(save);
	drives_destroy(&other);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct drives_step step;
	struct drives d;

	drives_init(&d);
	for (; len >= sizeof(step); data += sizeof(step), len -= sizeof(step)) {
		memcpy(&step, data, sizeof(step));
		drives_do(&d, &step);
	}
	if (len) /* a snapshot takes as long as a thousand accesses: not always */
		copy_by_snapshot(&d);
	drives_destroy(&d);
	return 0;
}
