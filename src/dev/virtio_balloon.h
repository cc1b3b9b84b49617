/* virtio_balloon.h - memory that a guest gives back to the host. vm->lock held. */
#ifndef TINAMOU_VIRTIO_BALLOON_H
#define TINAMOU_VIRTIO_BALLOON_H

#include "dev/virtio.h"

#define VIRTIO_BALLOON_CLASS 0x00ff00u
#define VIRTIO_BALLOON_PAGE  4096u

/* What the guest gives up goes to the host by pci_func_discard. */
struct virtio *virtio_balloon_new(void);
/* Pages that the guest is asked to give up. */
void virtio_balloon_ask(struct virtio *v, uint32_t pages);
uint32_t virtio_balloon_asked(const struct virtio *v);
/* How many it says it has given up: its word only. */
uint32_t virtio_balloon_actual(const struct virtio *v);

#endif
