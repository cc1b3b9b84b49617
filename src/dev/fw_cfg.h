/*
 * fw_cfg.h - numbers and bytes that the machine hands to firmware and test
 * programs: a selector port and a data port. vm->lock held.
 */
#ifndef TINAMOU_FW_CFG_H
#define TINAMOU_FW_CFG_H

#include "core/bus.h"
#include "core/device.h"
#include "core/memory.h"

enum fw_cfg_key {
	FW_CFG_SIGNATURE = 0x00,       /* made here */
	FW_CFG_ID = 0x01,              /* made here */
	FW_CFG_RAM_SIZE = 0x03,        /* 8 bytes */
	FW_CFG_NB_CPUS = 0x05,         /* 2 bytes */
	FW_CFG_MAX_CPUS = 0x0f,        /* 2 bytes */
	FW_CFG_MAX_RAM = 0x11,         /* 8 bytes: where RAM ends; test programs' own */
	FW_CFG_DIRECTORY = 0x19,       /* made here: the files */
	FW_CFG_KEYS = 0x20,            /* files follow */
	FW_CFG_ARCH = 0x8000,          /* items of the architecture */
	FW_CFG_IRQ0_OVERRIDE = 0x8002, /* 1 byte: the PIT is at input 2 of the I/O APIC */
	FW_CFG_ARCH_END = 0x8008
};

#define FW_CFG_FILES     48u
#define FW_CFG_NAME_SIZE 56u

enum fw_cfg_region_id {
	FW_CFG_PORTS, /* 2 ports, 510h */
	FW_CFG_DMA    /* 4 + 4 ports, 514h: high and low half of an address, big-endian */
};

struct fw_cfg;

/* dma: where the guest's requests are; NULL: the two ports only. */
struct fw_cfg *fw_cfg_new(struct guest_memory *dma);
/* Adds or replaces an item; the bytes are copied. Before the machine starts. */
void fw_cfg_add(struct fw_cfg *f, unsigned key, const void *data, uint32_t size);
/* An item of size bytes, 1..8, little-endian. */
void fw_cfg_add_number(struct fw_cfg *f, unsigned key, uint64_t value, unsigned size);
/* Adds a file; the bytes are copied. -ENOSPC: too many, or its name is too long. */
int fw_cfg_add_file(struct fw_cfg *f, const char *name, const void *data, uint32_t size);
struct device *fw_cfg_device(struct fw_cfg *f);
struct bus_region *fw_cfg_region(struct fw_cfg *f, enum fw_cfg_region_id id);

#endif
