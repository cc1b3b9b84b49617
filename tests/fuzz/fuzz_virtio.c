/*
 * fuzz_virtio.c - libFuzzer entry: the first byte names a virtio device, the
 * rest is the script of a driver that lies about its rings (tests/dev/hostile.h).
 * The devices are made once: to make one takes as long as many inputs.
 */
#include "tests/dev/hostile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct hostile device[HOSTILE_KINDS];
	struct hostile_step step;
	struct hostile *h;

	if (!len)
		return 0;
	log_level = LOG_ERROR;
	h = &device[data[0] % HOSTILE_KINDS];
	if (h->v)
		hostile_renew(h);
	else
		hostile_init(h, data[0] % HOSTILE_KINDS);
	for (data++, len--; len >= sizeof(step); data += sizeof(step), len -= sizeof(step)) {
		memcpy(&step, data, sizeof(step));
		hostile_do(h, &step);
	}
	return 0;
}
