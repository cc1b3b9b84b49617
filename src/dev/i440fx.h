/*
 * i440fx.h - the host bridge: which of the memory between 768 KiB and 1 MiB is
 * RAM. vm->lock held.
 */
#ifndef TINAMOU_I440FX_H
#define TINAMOU_I440FX_H

#include "dev/pci.h"

#define I440FX_SHADOW      0xc0000u
#define I440FX_SHADOW_SIZE 0x40000u

struct i440fx;

/*
 * shadow: I440FX_SHADOW_SIZE bytes of RAM that the guest can open under the
 * ROMs from I440FX_SHADOW on, page-aligned, not owned; NULL: there is none.
 */
struct i440fx *i440fx_new(struct bus *memory, uint8_t *shadow);
struct device *i440fx_device(struct i440fx *h);
struct pci_func *i440fx_func(struct i440fx *h);

#endif
