/*
 * fw_cfg.h - numbers and bytes that the machine hands to firmware and test
 * programs: a selector port and a data port. vm->lock held.
 */
#ifndef TINAMOU_FW_CFG_H
#define TINAMOU_FW_CFG_H

#include "core/bus.h"
#include "core/device.h"

enum fw_cfg_key {
	FW_CFG_SIGNATURE = 0x00, /* made here */
	FW_CFG_ID = 0x01,        /* made here */
	FW_CFG_RAM_SIZE = 0x03,  /* 8 bytes */
	FW_CFG_NB_CPUS = 0x05,   /* 2 bytes */
	FW_CFG_MAX_CPUS = 0x0f,  /* 2 bytes */
	FW_CFG_MAX_RAM = 0x11,   /* 8 bytes: where RAM ends; test programs' own */
	FW_CFG_KEYS = 0x20
};

struct fw_cfg;

struct fw_cfg *fw_cfg_new(void);
/* Adds or replaces an item; the bytes are copied. Before the machine starts. */
void fw_cfg_add(struct fw_cfg *f, unsigned key, const void *data, uint32_t size);
/* An item of size bytes, 1..8, little-endian. */
void fw_cfg_add_number(struct fw_cfg *f, unsigned key, uint64_t value, unsigned size);
struct device *fw_cfg_device(struct fw_cfg *f);
struct bus_region *fw_cfg_region(struct fw_cfg *f); /* 2 ports, 510h */

#endif
