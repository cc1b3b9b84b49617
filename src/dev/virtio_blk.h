/* virtio_blk.h - a disk as a virtio device. vm->lock held. */
#ifndef TINAMOU_VIRTIO_BLK_H
#define TINAMOU_VIRTIO_BLK_H

#include "dev/virtio.h"
#include "host/disk.h"

#define VIRTIO_BLK_CLASS 0x010000u

/*
 * disk is not owned; name, up to 20 bytes, is what GET_ID tells. One queue a vCPU is enough,
 * 1 to VIRTIO_QUEUES.
 */
struct virtio *virtio_blk_new(struct disk *disk, const char *name, unsigned queues);

#endif
