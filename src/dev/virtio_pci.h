/* virtio_pci.h - a virtio device as a PCI function. vm->lock held. */
#ifndef TINAMOU_VIRTIO_PCI_H
#define TINAMOU_VIRTIO_PCI_H

#include "core/device.h"
#include "dev/virtio.h"

struct virtio_pci;

/* Takes v over. name outlives it; class as in struct pci_id. */
struct virtio_pci *virtio_pci_new(
	const char *name, struct virtio *v, uint32_t class, struct clock *clock);
struct device *virtio_pci_device(struct virtio_pci *p);
struct pci_func *virtio_pci_func(struct virtio_pci *p);

#endif
