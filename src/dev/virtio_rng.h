/* virtio_rng.h - entropy as a virtio device. vm->lock held. */
#ifndef TINAMOU_VIRTIO_RNG_H
#define TINAMOU_VIRTIO_RNG_H

#include "dev/virtio.h"

#define VIRTIO_RNG_CLASS 0x00ff00u

/* seed 0: the host's random numbers; else a sequence that repeats, which is no secret. */
struct virtio *virtio_rng_new(uint64_t seed);

#endif
