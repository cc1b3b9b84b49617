/* virtio_fs.h - a shared folder as a virtio file system device; see virtio_fs.c. */
#ifndef TINAMOU_VIRTIO_FS_H
#define TINAMOU_VIRTIO_FS_H

#include "dev/virtio.h"
#include "host/share.h"

#define VIRTIO_FS_CLASS 0x018000 /* mass storage, other */
#define VIRTIO_FS_TAG   36u      /* bytes of a tag, without an end if it has all of them */

/* tag: what the guest mounts. Neither is owned; the device listens to the share. */
struct virtio *virtio_fs_new(struct share *share, const char *tag);

#endif
