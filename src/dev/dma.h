/*
 * dma.h - the PC's pair of 8237A DMA controllers, for devices on the ISA bus.
 * vm->lock held.
 */
#ifndef TINAMOU_DMA_H
#define TINAMOU_DMA_H

#include "core/bus.h"
#include "core/device.h"
#include "core/memory.h"

struct dma;

enum dma_region_id {
	DMA_LOW,  /* 16 ports, 00h: channels 0 to 3, bytes */
	DMA_HIGH, /* 32 ports, C0h: channels 4 to 7, words */
	DMA_PAGES /* 15 ports, 81h */
};

struct dma *dma_new(struct guest_memory *memory);
struct device *dma_device(struct dma *d);
struct bus_region *dma_region(struct dma *d, enum dma_region_id id);

/* How many bytes the guest lets channel 0..7 move now; 0: it is masked. */
uint32_t dma_room(const struct dma *d, unsigned channel);
/*
 * Moves up to len bytes between buf and memory; returns how many. *end is set
 * when the count has run out (terminal count). Only in the direction that the
 * guest programmed: other transfers verify, that is move nothing and count.
 */
uint32_t dma_move(
	struct dma *d, unsigned channel, uint8_t *buf, uint32_t len, bool to_memory, bool *end);

#endif
