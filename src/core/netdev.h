/*
 * netdev.h - Ethernet frames between a device and the outside.
 *
 * Both sides may leave checksums and the cutting of long TCP segments to the
 * other, as a frame's header tells. Lock: vm->lock.
 */
#ifndef TINAMOU_NETDEV_H
#define TINAMOU_NETDEV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/* As virtio has it (1.2, 5.1.6), little-endian; tap devices and our sockets carry it too. */
struct net_header {
	uint8_t flags, gso_type;
	uint16_t header_len; /* a hint */
	uint16_t gso_size;   /* payload of a segment */
	uint16_t csum_start, csum_offset;
	uint16_t buffers; /* the device's; 0 or 1 on the way */
};

enum { NET_NEEDS_CSUM = 1, NET_DATA_VALID = 2 };                                   /* flags */
enum { NET_GSO_NONE = 0, NET_GSO_TCP4 = 1, NET_GSO_TCP6 = 4, NET_GSO_ECN = 0x80 }; /* gso_type */

#define NET_ETHERNET  14u    /* bytes of an Ethernet header */
#define NET_FRAME_MAX 65550u /* an IP packet of 64 KiB - 1, and that */
#define NET_MAC_LEN   6u

struct netdev {
	/*
	 * Set by the back end. iov[0] is a checked struct net_header, the rest the frame. false:
	 * no room; the device tries again when writable() is called.
	 */
	bool (*send)(void *backend, const struct iovec *iov, unsigned n);
	/* Set by the back end: the device has room again after receive() had none. */
	void (*room)(void *backend);
	void *backend;
	bool link; /* kept by the back end before it calls link_changed */
	/*
	 * Set by the device. A frame with its header, NET_FRAME_MAX bytes at most, which may be
	 * changed. false: no room, keep it. received() follows after one or several.
	 */
	bool (*receive)(void *device, struct net_header *h, uint8_t *frame, size_t len);
	void (*received)(void *device);
	void (*writable)(void *device);
	void (*link_changed)(void *device);
	void *device;
};

#endif
