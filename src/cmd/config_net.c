/* config_net.c - what --net and --publish say; see config.h. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/config.h"
#include "util/util.h"

#define MTU_MIN 68u /* RFC 791 */
#define MTU_MAX 65520u

/* What follows prefix, or NULL. */
static const char *after(const char *text, const char *prefix)
{
	size_t n = strlen(prefix);

	return strncmp(text, prefix, n) ? NULL : text + n;
}

int config_net_kind(struct config_net *n, const char *text, char *err, size_t errlen)
{
	const char *tap = after(text, "tap="), *path = after(text, "socket=");

	n->implied = false;
	if (!strcmp(text, "user")) {
		n->kind = NET_USER;
		return 0;
	}
	if (!(tap && *tap) && !(path && *path))
		return fail_line(
			err, errlen, "--net %s: known are user, tap=NAME, socket=PATH, none", text);
	n->kind = tap ? NET_WITH_TAP : NET_WITH_SOCKET;
	n->path = xstrdup(tap ? tap : path);
	return 0;
}

/* Six bytes in hex with colons, of one card: not a group's address, not zero. */
static bool parse_mac(const char *text, uint8_t mac[6])
{
	unsigned byte[6], any = 0;
	int used = 0;

	if (sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%n", &byte[0], &byte[1], &byte[2], &byte[3],
		    &byte[4], &byte[5], &used) != 6 ||
		text[used])
		return false;
	for (unsigned i = 0; i < 6; i++) {
		mac[i] = (uint8_t)byte[i];
		any |= byte[i];
	}
	return any && !(mac[0] & 1);
}

static bool parse_number(const char *text, unsigned min, unsigned max, unsigned *value)
{
	char *end;
	unsigned long n = isdigit((unsigned char)*text) ? strtoul(text, &end, 10) : 0;

	if (!isdigit((unsigned char)*text) || *end || n < min || n > max)
		return false;
	*value = (unsigned)n;
	return true;
}

/* As RFC 1123 allows names to be; it goes to the helper's command line. */
static bool valid_hostname(const char *text)
{
	size_t n = strlen(text);

	for (const char *p = text; *p; p++)
		if (!isalnum((unsigned char)*p) && *p != '-' && *p != '.')
			return false;
	return n > 0 && n < 64 && *text != '-' && *text != '.';
}

/* [tcp:|udp:][ADDRESS:]PORT:GUESTPORT; what is left out is tcp, and the host itself. */
int config_net_forward(struct config_net *n, const char *text, char *err, size_t errlen)
{
	const char *rest = after(text, "udp:"), *proto = rest ? "udp" : "tcp";
	unsigned a[4], host, guest;
	int used = 0;

	if (!rest)
		rest = after(text, "tcp:") ? after(text, "tcp:") : text;
	if (n->forwards == CONFIG_MAX_FORWARDS)
		return fail_line(
			err, errlen, "at most %d ports lead to the guest", CONFIG_MAX_FORWARDS);
	if (sscanf(rest, "%3u.%3u.%3u.%3u:%n", &a[0], &a[1], &a[2], &a[3], &used) == 4 && used)
		rest += used;
	else
		memcpy(a, (const unsigned[]){127, 0, 0, 1}, sizeof(a));
	used = 0;
	if (sscanf(rest, "%5u:%5u%n", &host, &guest, &used) != 2 || !used || rest[used] || !host ||
		!guest || host > UINT16_MAX || guest > UINT16_MAX ||
		MAX(MAX(a[0], a[1]), MAX(a[2], a[3])) > 255)
		return fail_line(err, errlen,
			"%s: write [tcp:|udp:][ADDRESS:]PORT:GUESTPORT, for example 2222:22", text);
	n->forward[n->forwards++] =
		xasprintf("%s:%u.%u.%u.%u:%u:%u", proto, a[0], a[1], a[2], a[3], host, guest);
	return 0;
}

int config_net_key(struct config_net *n, const char *text, char *err, size_t errlen)
{
	bool user = n->kind == NET_USER;
	const char *value;
	unsigned mtu;

	if ((value = after(text, "mac="))) {
		n->has_mac = parse_mac(value, n->mac);
		return n->has_mac ? 0
				  : fail_line(err, errlen,
					    "--net: mac=%s is no card's address; write for example "
					    "52:54:00:12:34:56",
					    value);
	}
	if ((value = after(text, "mtu="))) {
		if (!parse_number(value, MTU_MIN, MTU_MAX, &mtu))
			return fail_line(err, errlen, "--net: mtu=%s: must be %u to %u", value,
				MTU_MIN, MTU_MAX);
		n->mtu = (uint16_t)mtu;
		return 0;
	}
	if (user && (value = after(text, "forward=")))
		return config_net_forward(n, value, err, errlen);
	if (!user || !(value = after(text, "hostname=")))
		return fail_line(err, errlen, "--net: unknown key '%s'; known are mac=, mtu=%s",
			text, user ? ", forward=, hostname=" : "");
	if (!valid_hostname(value))
		return fail_line(
			err, errlen, "--net: hostname=%s: letters, digits, '-' and '.'", value);
	free(n->hostname);
	n->hostname = xstrdup(value);
	return 0;
}

void config_net_free(struct config_net *n)
{
	for (unsigned i = 0; i < n->forwards; i++)
		free(n->forward[i]);
	free(n->path);
	free(n->hostname);
}
