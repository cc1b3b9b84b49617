/*
 * piix_ide.h - the IDE function of the PIIX3: bus masters for two channels.
 * vm->lock held.
 */
#ifndef TINAMOU_PIIX_IDE_H
#define TINAMOU_PIIX_IDE_H

#include "dev/ide.h"
#include "dev/pci.h"

struct piix_ide;

/* The channels stay the caller's and outlive it until the machine ends. */
struct piix_ide *piix_ide_new(struct ide *primary, struct ide *secondary);
struct device *piix_ide_device(struct piix_ide *p);
struct pci_func *piix_ide_func(struct piix_ide *p);

#endif
