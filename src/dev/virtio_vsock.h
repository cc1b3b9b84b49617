/* virtio_vsock.h - the guest's AF_VSOCK as a virtio device. vm->lock held. */
#ifndef TINAMOU_VIRTIO_VSOCK_H
#define TINAMOU_VIRTIO_VSOCK_H

#include "dev/virtio.h"
#include "host/vsock.h"

#define VIRTIO_VSOCK_CLASS 0x028000u

/* link is not owned. */
struct virtio *virtio_vsock_new(struct vsock *link);

#endif
