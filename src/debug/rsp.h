/*
 * rsp.h - packets of GDB's remote serial protocol: bytes in, packets out.
 *
 * Source: "Debugging with GDB", appendix E.1. $DATA#SUM with } as escape; the
 * sum is of the bytes between. Pure: no I/O, no lock. Whatever the bytes are,
 * a packet is at most RSP_PACKET_MAX long.
 */
#ifndef TINAMOU_RSP_H
#define TINAMOU_RSP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RSP_PACKET_MAX 8192u

enum rsp_event {
	RSP_MORE,      /* in the middle of something */
	RSP_PACKET,    /* data[0..len-1], and a zero behind it */
	RSP_BROKEN,    /* its sum is wrong, or it is too long: to be sent again */
	RSP_INTERRUPT, /* Ctrl-C */
	RSP_RESEND     /* the last packet to them was lost */
};

struct rsp {
	enum { RSP_IDLE, RSP_DATA, RSP_ESCAPED, RSP_SUM_HIGH, RSP_SUM_LOW } state;
	bool too_long;
	uint8_t sum, told;
	size_t len;
	char data[RSP_PACKET_MAX + 1];
};

/* All zero is the start. */
enum rsp_event rsp_feed(struct rsp *r, char byte);

/* $DATA#SUM into out, which has room for 2 * len + 4 bytes; returns how many. */
size_t rsp_wrap(char *out, const char *data, size_t len);

/* The value of a hex digit, -1: none. */
int rsp_digit(char c);
/* Digits, as many as there are; *text moves behind them. false: there is none, or too many. */
bool rsp_number(const char **text, uint64_t *value);
/* Two digits a byte. The number of bytes. */
size_t rsp_bytes(const char *text, uint8_t *out, size_t max);
/* The other way, with a zero behind. */
void rsp_hex(char *out, const void *bytes, size_t len);

#endif
