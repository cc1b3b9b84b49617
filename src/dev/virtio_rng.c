/*
 * virtio_rng.c - entropy device: fills buffers with the host's random numbers.
 *
 * Source: OASIS Virtual I/O Device (VIRTIO) 1.2, 5.4. A buffer is filled up to
 * 4 KiB, which the specification allows. Under the instruction clock runs have
 * to repeat, so there the numbers are a sequence from a seed. Lock: vm->lock.
 */
#include "dev/virtio_rng.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define FILL_MAX 4096u

struct virtio_rng {
	struct virtio v;
	uint64_t seed, state; /* 0: the host's */
	uint8_t buf[FILL_MAX];
};

/* xorshift64 */
static uint64_t next(struct virtio_rng *r)
{
	r->state ^= r->state << 13;
	r->state ^= r->state >> 7;
	r->state ^= r->state << 17;
	return r->state;
}

/* How many bytes there are; the host has them all once it has started. */
static size_t fill(struct virtio_rng *r, size_t len)
{
	ssize_t n;

	if (!r->seed) {
		n = getrandom(r->buf, len, GRND_NONBLOCK);
		return n < 0 ? 0 : (size_t)n;
	}
	for (size_t i = 0; i < len; i += sizeof(uint64_t)) {
		uint64_t x = next(r);

		memcpy(r->buf + i, &x, sizeof(x));
	}
	return len;
}

static void rng_notify(struct virtio *v, unsigned queue)
{
	struct virtio_rng *r = container_of(v, struct virtio_rng, v);
	struct virtio_chain c;
	unsigned taken = 0;

	while (virtio_take(v, queue, &c, &taken)) {
		size_t len = fill(r, MIN(c.in_len, FILL_MAX));

		virtio_scatter(c.iov + c.out, c.in, r->buf, len);
		virtio_push(v, &c, (uint32_t)len);
	}
}

/* The sequence goes on: a driver's reset does not bring the same numbers again. */
static void rng_reset(struct virtio *v)
{
}

static void rng_snap(struct virtio *v, struct snap *s)
{
	struct virtio_rng *r = container_of(v, struct virtio_rng, v);

	snap_u64(s, "state", &r->state);
	if (r->seed && !r->state)
		r->state = r->seed;
}

static void rng_destroy(struct virtio *v)
{
	free(container_of(v, struct virtio_rng, v));
}

struct virtio *virtio_rng_new(uint64_t seed)
{
	static const struct virtio_ops ops = {rng_notify, rng_reset, rng_snap, NULL, rng_destroy};
	struct virtio_rng *r = xcalloc(1, sizeof(*r));

	virtio_init(&r->v, &ops, VIRTIO_ENTROPY, 1, 0);
	r->seed = r->state = seed;
	return &r->v;
}
