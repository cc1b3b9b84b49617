/*
 * qemu_net.c - the qemu command's network: what a card is connected to (-netdev,
 * -net user, -nic) and the card (-device, -net nic, -nic). Every card is a virtio
 * one. A hostfwd without an address listens on 127.0.0.1, where QEMU listens on
 * all of the host's.
 */
#include "cmd/qemu.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/util.h"

#define ONLY_VIRTIO "the network card is a virtio one, virtio-net-pci"

static const char *const cards[] = {"e1000", "e1000e", "i82551", "i82557b", "i82559er", "ne2k_isa",
	"ne2k_pci", "pcnet", "rtl8139", "tulip", "virtio", "virtio-net", "virtio-net-pci",
	"virtio-net-pci-non-transitional", "virtio-net-pci-transitional", "vmxnet3"};

bool qemu_net_is_device(const char *name)
{
	for (unsigned i = 0; i < ARRAY_SIZE(cards); i++)
		if (!strcmp(name, cards[i]))
			return true;
	return false;
}

static void append(char **text, const char *key, const char *value)
{
	char *longer = xasprintf("%s%s%s", *text ? *text : "", key, value);

	free(*text);
	*text = longer;
}

/* [tcp|udp]:[ADDRESS]:PORT-[GUEST]:GUESTPORT as forward= wants it. */
static int forward(struct qemu *q, struct qemu_net *n, const char *value)
{
	char *copy = xstrdup(value), *address = strchr(copy, ':');
	char *dash = strrchr(copy, '-'), *guest = dash ? strrchr(dash, ':') : NULL;
	char *port = NULL;
	int rc = 0;

	if (address && dash && address < dash) {
		*address++ = *dash = '\0';
		port = strchr(address, ':');
	}
	if (!port || !guest) {
		rc = qemu_fail(q, "hostfwd=%s: write tcp::5555-:22", value);
	} else {
		*port++ = '\0';
		append(&n->text, ",forward=", *copy ? copy : "tcp");
		append(&n->text, *address ? ":" : "", address);
		append(&n->text, ":", port);
		append(&n->text, ":", guest + 1);
	}
	free(copy);
	return rc;
}

static void take_mac(struct qemu_net *n, const char *value)
{
	free(n->mac);
	n->mac = xstrdup(value);
}

static int take_option(struct qemu *q, struct qemu_net *n, const struct qemu_option *o)
{
	if (!strcmp(o->key, "id")) {
		free(n->id);
		n->id = xstrdup(o->value);
	} else if (!strcmp(o->key, "mac") || !strcmp(o->key, "macaddr")) {
		take_mac(n, o->value);
	} else if (!strcmp(o->key, "hostfwd") && n->text) {
		return forward(q, n, o->value);
	} else if (!strcmp(o->key, "hostname") && n->text) {
		append(&n->text, ",hostname=", o->value);
	} else if (!strcmp(o->key, "ifname") && n->text) {
		append(&n->text, "=", o->value);
	} else if (!strcmp(o->key, "model") && strncmp(o->value, "virtio", 6)) {
		log_warn("%s %s: " ONLY_VIRTIO, q->flag, o->value);
	}
	return 0;
}

static struct qemu_net *new_net(struct qemu *q)
{
	if (q->nets == QEMU_MAX_NETS) {
		qemu_fail(q, "at most %d networks", QEMU_MAX_NETS);
		return NULL;
	}
	return &q->net[q->nets++];
}

/* -device NAME,netdev=ID[,mac=]: the card of that -netdev. */
int qemu_net_device(struct qemu *q, const char *value)
{
	char *copy = xstrdup(value), *rest = copy;
	struct qemu_net *n = NULL;
	char *mac = NULL;
	struct qemu_option o;
	int rc = 0;

	qemu_next_option(&rest, "driver", &o);
	if (strncmp(o.value, "virtio", 6))
		log_warn("%s %s: " ONLY_VIRTIO, q->flag, o.value);
	while (qemu_next_option(&rest, NULL, &o)) {
		for (unsigned i = 0; i < q->nets && !strcmp(o.key, "netdev"); i++)
			if (q->net[i].id && !strcmp(q->net[i].id, o.value))
				n = &q->net[i];
		if (!strcmp(o.key, "mac"))
			mac = o.value;
	}
	if (n) {
		n->card = true;
		if (mac)
			take_mac(n, mac);
	} else {
		rc = qemu_fail(q, "%s: it wants the netdev= of a -netdev before it", value);
	}
	free(copy);
	return rc;
}

/* -netdev, -nic and -net: KIND,option... */
int qemu_net_flag(struct qemu *q, const char *value)
{
	bool old = !strcmp(q->flag + (q->flag[1] == '-'), "-net");
	char *copy = xstrdup(value), *rest = copy;
	struct qemu_option o;
	struct qemu_net *n;
	int rc = 0;

	qemu_next_option(&rest, "type", &o);
	if (!strcmp(o.value, "none"))
		goto out;
	n = new_net(q);
	rc = n ? 0 : -1;
	if (n) {
		n->hub = old;
		n->card = !strcmp(q->flag + (q->flag[1] == '-'), "-nic");
		if (!strcmp(o.value, "user") || !strcmp(o.value, "tap"))
			n->text = xstrdup(o.value);
		else if (strcmp(o.value, "nic"))
			rc = qemu_without(q, "user and tap are the networks that are there");
		else
			n->card = true;
	}
	while (!rc && qemu_next_option(&rest, NULL, &o))
		rc = take_option(q, n, &o);
out:
	free(copy);
	return rc;
}

/* -net connects all its cards and networks; one of each is what scripts have. */
static void join_hub(struct qemu *q)
{
	struct qemu_net *nic = NULL, *host = NULL;

	for (unsigned i = 0; i < q->nets; i++)
		if (q->net[i].hub && q->net[i].text)
			host = &q->net[i];
		else if (q->net[i].hub && q->net[i].card)
			nic = &q->net[i];
	if (!nic || !host)
		return;
	host->card = true;
	if (nic->mac)
		take_mac(host, nic->mac);
}

int qemu_net_finish(struct qemu *q)
{
	int rc = 0;

	join_hub(q);
	for (unsigned i = 0; i < q->nets && !rc; i++) {
		struct qemu_net *n = &q->net[i];

		if (!n->card || !n->text)
			continue;
		if (n->mac)
			append(&n->text, ",mac=", n->mac);
		rc = qemu_set(q, "net", n->text);
	}
	return rc;
}

void qemu_net_free(struct qemu *q)
{
	for (unsigned i = 0; i < q->nets; i++) {
		free(q->net[i].id);
		free(q->net[i].text);
		free(q->net[i].mac);
	}
}
