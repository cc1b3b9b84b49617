/*
 * fuzz_qcow2.c - libFuzzer entry: an image that means harm, then requests on it.
 *
 * Bytes 0-15 steer the requests, the rest is the file, which may be followed by
 * a hole. Checks that opening ends with an image or a reason, and that every
 * request ends; the file may not grow beyond what the requests explain.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "host/image.h"
#include "host/qcow2.h"
#include "util/util.h"

#define STEER  16
#define CHUNK  (128 * KiB)
#define ROUNDS 24

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
	if (!ok)
		abort();
}

static uint64_t roll(uint64_t *x)
{
	*x = *x * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return *x >> 16;
}

/* An offset within the disk: near the start, anywhere, or at the end. */
static uint64_t pick_offset(uint64_t size, uint64_t len, uint64_t *x)
{
	uint64_t room = size - len;

	switch (roll(x) % 3) {
	case 0:
		return roll(x) % (MIN(room, 4 * MiB) + 1) & ~UINT64_C(511);
	case 1:
		return roll(x) % (room + 1) & ~UINT64_C(511);
	default:
		return room;
	}
}

static void one_request(struct image *im, uint64_t *x, uint8_t *buf)
{
	struct iovec iov = {buf, CHUNK};
	uint64_t want = (roll(x) % (CHUNK / 512) + 1) * 512, len = MIN(want, im->size);
	uint64_t off = pick_offset(im->size, len, x);
	struct span s = {&iov, 1, 0, len};
	unsigned op = roll(x) % 5;

	if (op == 0 || im->ro)
		im->ops->read(im, off, &s);
	else if (op == 1)
		im->ops->write(im, off, &s);
	else if (op == 2)
		im->ops->zero(im, off, len);
	else if (op == 3)
		im->ops->discard(im, off, len);
	else
		im->ops->flush(im);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t buf[CHUNK];
	struct disk_file f = {.name = (char *)"fuzz", .format = "qcow2", .scratch = true};
	struct qcow2_names names;
	struct image *im;
	char err[256] = "";
	uint64_t x;

	if (size < STEER)
		return 0;
	memcpy(&x, data, sizeof(x));
	f.ro = data[8] & 1;
	f.fd = memfd_create("fuzz", MFD_CLOEXEC);
	check(f.fd >= 0);
	check(!fd_write(f.fd, 0, data + STEER, size - STEER));
	if (data[8] & 2)
		check(!ftruncate(f.fd, (off_t)(data[9] * MiB)));
	check(!qcow2_read_names(f.fd, f.name, &names, err, sizeof(err)) || err[0]);
	im = qcow2_open(&f, NULL, err, sizeof(err));
	check(im || err[0]);
	if (!im) {
		close(f.fd);
		return 0;
	}
	for (unsigned i = 0; i < ROUNDS && im->size; i++)
		one_request(im, &x, buf);
	im->ops->flush(im);
	im->ops->close(im);
	return 0;
}
