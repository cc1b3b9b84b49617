/*
 * frame.c - checksums and segments of frames; see frame.h.
 *
 * Source: RFC 1071 (checksum), RFC 791 and 8200 (IP), RFC 9293 (TCP); virtio 1.2,
 * 5.1.6.2 for what is left to whom. Left out: VLAN tags and IPv6 extension
 * headers before TCP. No lock.
 */
#include "host/frame.h"

#include <string.h>

#include "util/util.h"

#define IP4_MIN      20u
#define IP6_LEN      40u
#define TCP_MIN      20u
#define PROTO_TCP    6u
#define SEGMENTS_MAX 256u /* 65535 bytes for the smallest packets that IP must carry: 124 */

#define TCP_FIN 0x01
#define TCP_PSH 0x08
#define TCP_CWR 0x80

static unsigned get16(const uint8_t *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

static void put16(uint8_t *p, unsigned value)
{
	p[0] = (uint8_t)(value >> 8);
	p[1] = (uint8_t)value;
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static void put32(uint8_t *p, uint32_t value)
{
	put16(p, value >> 16);
	put16(p + 2, value & 0xffff);
}

/* Ones' complement sum in the machine's byte order, which RFC 1071 (2B) allows. */
static uint64_t sum(const uint8_t *p, size_t len)
{
	uint64_t total = 0;
	uint32_t word;
	uint16_t rest = 0;

	for (; len >= 4; p += 4, len -= 4) {
		memcpy(&word, p, 4);
		total += word;
	}
	if (len >= 2) {
		memcpy(&rest, p, 2);
		total += rest;
		p += 2;
	}
	return len & 1 ? total + *p : total;
}

static uint16_t fold(uint64_t total)
{
	while (total >> 16)
		total = (total & 0xffff) + (total >> 16);
	return (uint16_t)~total;
}

bool frame_header_valid(const struct net_header *h, size_t len)
{
	unsigned type = h->gso_type & ~(unsigned)NET_GSO_ECN;

	if (len < NET_ETHERNET || len > NET_FRAME_MAX)
		return false;
	if (h->flags & NET_NEEDS_CSUM &&
		!range_in((uint64_t)h->csum_start + h->csum_offset, 2, len))
		return false;
	if (type == NET_GSO_NONE)
		return true;
	return (type == NET_GSO_TCP4 || type == NET_GSO_TCP6) && h->gso_size &&
	       h->flags & NET_NEEDS_CSUM;
}

void frame_checksum(struct net_header *h, uint8_t *frame, size_t len)
{
	uint16_t check;

	if (!(h->flags & NET_NEEDS_CSUM))
		return;
	/* The field holds the pseudo header's sum; in UDP, 0 means that there is none. */
	check = fold(sum(frame + h->csum_start, len - h->csum_start));
	if (!check && h->csum_offset == 6)
		check = 0xffff;
	memcpy(frame + h->csum_start + h->csum_offset, &check, 2);
	h->flags &= (uint8_t)~NET_NEEDS_CSUM;
}

/* ---- segments ---- */

/* Where TCP begins; 0: not there. */
static unsigned find_tcp(const uint8_t *frame, size_t len, bool v6)
{
	const uint8_t *ip = frame + NET_ETHERNET;
	unsigned n = v6 ? IP6_LEN : IP4_MIN;

	if (len < NET_ETHERNET + n || get16(frame + 12) != (v6 ? 0x86ddu : 0x0800u) ||
		ip[0] >> 4 != (v6 ? 6 : 4) || ip[v6 ? 6 : 9] != PROTO_TCP)
		return 0;
	if (!v6)
		n = (ip[0] & 15u) * 4;
	return n < IP4_MIN ? 0 : NET_ETHERNET + n;
}

bool frame_cut_begin(
	struct frame_cut *c, const struct net_header *h, const uint8_t *frame, size_t len)
{
	bool v6 = (h->gso_type & ~NET_GSO_ECN) == NET_GSO_TCP6;

	*c = (struct frame_cut){.frame = frame, .len = len, .header = *h, .ip = NET_ETHERNET};
	c->tcp = find_tcp(frame, len, v6);
	if (!c->tcp || len < c->tcp + TCP_MIN)
		return false;
	c->payload = c->tcp + (frame[c->tcp + 12] >> 4) * 4u;
	return c->payload >= c->tcp + TCP_MIN && c->payload <= len && h->gso_size &&
	       (len - c->payload) / h->gso_size < SEGMENTS_MAX;
}

/* Lengths, identification and checksum of the IP header. */
static void fix_ip(const struct frame_cut *c, uint8_t *out, size_t len)
{
	uint8_t *ip = out + c->ip;
	uint16_t check;

	if (c->tcp == c->ip + IP6_LEN && ip[0] >> 4 == 6) {
		put16(ip + 4, (unsigned)(len - c->tcp));
		return;
	}
	put16(ip + 2, (unsigned)(len - c->ip));
	put16(ip + 4, get16(ip + 4) + c->count);
	put16(ip + 10, 0);
	check = fold(sum(ip, c->tcp - c->ip));
	memcpy(ip + 10, &check, 2);
}

static void fix_tcp(const struct frame_cut *c, uint8_t *out, size_t len, bool last)
{
	uint8_t *ip = out + c->ip, *tcp = out + c->tcp;
	bool v6 = ip[0] >> 4 == 6;
	uint64_t total = v6 ? sum(ip + 8, 32) : sum(ip + 12, 8);
	uint8_t pseudo[4] = {0, PROTO_TCP};
	uint16_t check;

	put32(tcp + 4, get32(tcp + 4) + (uint32_t)c->done);
	if (!last)
		tcp[13] &= (uint8_t) ~(TCP_FIN | TCP_PSH);
	if (c->count)
		tcp[13] &= (uint8_t)~TCP_CWR;
	put16(pseudo + 2, (unsigned)(len - c->tcp));
	put16(tcp + 16, 0);
	check = fold(total + sum(pseudo, 4) + sum(tcp, len - c->tcp));
	memcpy(tcp + 16, &check, 2);
}

size_t frame_cut_next(struct frame_cut *c, uint8_t *out)
{
	size_t left = c->len - c->payload - c->done, part = MIN(left, c->header.gso_size);
	size_t len = c->payload + part;

	if (!left && c->count)
		return 0;
	memcpy(out, c->frame, c->payload);
	memcpy(out + c->payload, c->frame + c->payload + c->done, part);
	fix_ip(c, out, len);
	fix_tcp(c, out, len, part == left);
	c->done += part;
	c->count++;
	return len;
}
