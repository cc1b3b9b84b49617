/* virtio_net.h - a network card as a virtio device. vm->lock held. */
#ifndef TINAMOU_VIRTIO_NET_H
#define TINAMOU_VIRTIO_NET_H

#include "core/netdev.h"
#include "dev/virtio.h"

#define VIRTIO_NET_CLASS 0x020000u

/* net is not owned. mtu: what the driver is told, 0: nothing. */
struct virtio *virtio_net_new(struct netdev *net, const uint8_t mac[NET_MAC_LEN], uint16_t mtu);

#endif
