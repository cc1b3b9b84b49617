/*
 * qemu_net.c - the qemu command's network flags. All of them come through the
 * two functions below, -device with a network card's name too.
 */
#include "cmd/qemu.h"

#include <string.h>

#include "util/util.h"

static const char *const cards[] = {"e1000", "e1000e", "i82551", "i82557b", "i82559er", "ne2k_isa",
	"ne2k_pci", "pcnet", "rtl8139", "tulip", "virtio-net", "virtio-net-pci",
	"virtio-net-pci-non-transitional", "virtio-net-pci-transitional", "vmxnet3"};

bool qemu_net_is_device(const char *name)
{
	for (unsigned i = 0; i < ARRAY_SIZE(cards); i++)
		if (!strcmp(name, cards[i]))
			return true;
	return false;
}

int qemu_net_device(struct qemu *q, const char *value)
{
	return qemu_without(q, "there is no network card in this version");
}

int qemu_net_flag(struct qemu *q, const char *value)
{
	if (!strcmp(value, "none"))
		return 0;
	return qemu_without(q, "there is no network card in this version");
}
