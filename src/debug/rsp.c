/* rsp.c - see rsp.h. */
#include "debug/rsp.h"

#include "util/util.h"

static const char digits[] = "0123456789abcdef";

int rsp_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool rsp_number(const char **text, uint64_t *value)
{
	unsigned n = 0;

	*value = 0;
	for (; rsp_digit(**text) >= 0; (*text)++, n++)
		*value = *value << 4 | (unsigned)rsp_digit(**text);
	return n >= 1 && n <= 16;
}

size_t rsp_bytes(const char *text, uint8_t *out, size_t max)
{
	size_t n = 0;

	for (; n < max && rsp_digit(text[0]) >= 0 && rsp_digit(text[1]) >= 0; n++, text += 2)
		out[n] = (uint8_t)(rsp_digit(text[0]) << 4 | rsp_digit(text[1]));
	return n;
}

void rsp_hex(char *out, const void *bytes, size_t len)
{
	const uint8_t *b = bytes;

	for (size_t n = 0; n < len; n++) {
		*out++ = digits[b[n] >> 4];
		*out++ = digits[b[n] & 15];
	}
	*out = '\0';
}

static bool special(char c)
{
	return c == '$' || c == '#' || c == '}' || c == '*';
}

size_t rsp_wrap(char *out, const char *data, size_t len)
{
	char *p = out;
	uint8_t sum = 0;

	*p++ = '$';
	for (size_t n = 0; n < len; n++) {
		if (special(data[n]))
			*p++ = '}';
		*p++ = special(data[n]) ? data[n] ^ 0x20 : data[n];
	}
	for (const char *c = out + 1; c < p; c++)
		sum = (uint8_t)(sum + (uint8_t)*c);
	*p++ = '#';
	*p++ = digits[sum >> 4];
	*p++ = digits[sum & 15];
	return (size_t)(p - out);
}

static enum rsp_event idle(struct rsp *r, char byte)
{
	if (byte == '$') {
		r->state = RSP_DATA;
		r->too_long = false;
		r->sum = 0;
		r->len = 0;
	}
	return byte == 3 ? RSP_INTERRUPT : byte == '-' ? RSP_RESEND : RSP_MORE;
}

static void add(struct rsp *r, char byte)
{
	if (r->len == RSP_PACKET_MAX)
		r->too_long = true;
	else
		r->data[r->len++] = byte;
}

static enum rsp_event data(struct rsp *r, char byte)
{
	bool escaped = r->state == RSP_ESCAPED;

	if (byte == '$' && !escaped) /* the last one never ended */
		return r->state = RSP_IDLE, idle(r, byte);
	if (byte == '#' && !escaped) {
		r->state = RSP_SUM_HIGH;
		return RSP_MORE;
	}
	r->sum = (uint8_t)(r->sum + (uint8_t)byte);
	r->state = byte == '}' && !escaped ? RSP_ESCAPED : RSP_DATA;
	if (r->state == RSP_DATA)
		add(r, escaped ? byte ^ 0x20 : byte);
	return RSP_MORE;
}

static enum rsp_event sum(struct rsp *r, char byte)
{
	int digit = rsp_digit(byte);

	if (digit < 0) {
		r->state = RSP_IDLE;
		return RSP_BROKEN;
	}
	if (r->state == RSP_SUM_HIGH) {
		r->told = (uint8_t)(digit << 4);
		r->state = RSP_SUM_LOW;
		return RSP_MORE;
	}
	r->state = RSP_IDLE;
	r->data[r->len] = '\0';
	return (r->told | digit) == r->sum && !r->too_long ? RSP_PACKET : RSP_BROKEN;
}

enum rsp_event rsp_feed(struct rsp *r, char byte)
{
	switch (r->state) {
	case RSP_IDLE:
		return idle(r, byte);
	case RSP_DATA:
	case RSP_ESCAPED:
		return data(r, byte);
	default:
		return sum(r, byte);
	}
}
