/*
 * frame.h - what one side of a network left to the other: checksums, and the
 * cutting of a long TCP segment. Pure; nothing in a frame is trusted.
 */
#ifndef TINAMOU_FRAME_H
#define TINAMOU_FRAME_H

#include "core/netdev.h"

/* Do the header's numbers lie within a frame of len bytes, and is its kind one of ours? */
bool frame_header_valid(const struct net_header *h, size_t len);
/*
 * Puts in the checksum that h asks for, and clears the request. h is valid for the
 * frame (frame_header_valid).
 */
void frame_checksum(struct net_header *h, uint8_t *frame, size_t len);

/* Walks through the segments of one long TCP frame. */
struct frame_cut {
	const uint8_t *frame;
	size_t len;
	struct net_header header;
	unsigned ip, tcp, payload; /* where they begin */
	size_t done;               /* bytes of payload */
	unsigned count;            /* segments */
};

/* false: it is no TCP segment of the kind that h says. h and frame stay until the end. */
bool frame_cut_begin(
	struct frame_cut *c, const struct net_header *h, const uint8_t *frame, size_t len);
/* The next one into out (NET_FRAME_MAX bytes), checksums and all; 0: that was all. */
size_t frame_cut_next(struct frame_cut *c, uint8_t *out);

#endif
