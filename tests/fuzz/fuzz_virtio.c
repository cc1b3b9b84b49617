/*
 * fuzz_virtio.c - libFuzzer entry: the first byte names a virtio device, the
 * rest is the script of a driver that lies about its rings (tests/dev/hostile.h).
 */
#include "tests/dev/hostile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct hostile h;
	struct hostile_step step;

	if (!len)
		return 0;
	log_level = LOG_ERROR;
	hostile_init(&h, data[0] % HOSTILE_KINDS);
	for (data++, len--; len >= sizeof(step); data += sizeof(step), len -= sizeof(step)) {
		memcpy(&step, data, sizeof(step));
		hostile_do(&h, &step);
	}
	hostile_destroy(&h);
	return 0;
}
