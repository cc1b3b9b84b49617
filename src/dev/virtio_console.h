/* virtio_console.h - a console (hvc0) as a virtio device. vm->lock held. */
#ifndef TINAMOU_VIRTIO_CONSOLE_H
#define TINAMOU_VIRTIO_CONSOLE_H

#include "core/chardev.h"
#include "dev/virtio.h"

#define VIRTIO_CONSOLE_CLASS 0x078000u

/* chr is borrowed; its device side is set here. */
struct virtio *virtio_console_new(struct chardev *chr);

#endif
