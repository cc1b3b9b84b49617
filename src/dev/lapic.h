/*
 * lapic.h - one local APIC: xAPIC registers and x2APIC MSRs, timer, IPIs.
 * vm->lock held.
 */
#ifndef TINAMOU_LAPIC_H
#define TINAMOU_LAPIC_H

#include <stdio.h>

#include "core/bus.h"
#include "core/clock.h"
#include "core/device.h"

struct lapic;

/* What goes out over the bus between APICs, and how (SDM vol. 3A 10.6.1). */
enum apic_delivery {
	APIC_FIXED,
	APIC_LOWEST,
	APIC_SMI,
	APIC_REMOTE_READ,
	APIC_NMI,
	APIC_INIT,
	APIC_STARTUP,
	APIC_EXTINT
};
struct apic_message {
	uint32_t dest; /* APIC ID, or logical */
	uint8_t vector;
	uint8_t delivery; /* enum apic_delivery */
	bool logical, level;
	uint8_t shorthand; /* 0: none, 1: self, 2: all, 3: all but self */
};

struct lapic_wires {
	/* INTR: an interrupt of the APIC's own waits, or the PIC's if it passes. */
	void (*intr)(void *ctx, bool level);
	void (*nmi)(void *ctx);
	void (*init)(void *ctx);
	void (*startup)(void *ctx, uint8_t vector);
	/* An IPI, to whom it names; self: the sender. */
	void (*send)(void *ctx, const struct apic_message *m);
	/* The end of a level-triggered interrupt, for the I/O APICs. */
	void (*eoi)(void *ctx, uint8_t vector);
	void *ctx;
};

/* id: also of the vCPU; 0 is the boot processor. tsc_hz: for the TSC deadline. */
struct lapic *lapic_new(
	unsigned id, struct clock *clock, uint64_t tsc_hz, const struct lapic_wires *wires);
struct device *lapic_device(struct lapic *a);

/* The register page; off is below 4096. */
uint64_t lapic_read(struct lapic *a, uint64_t off, unsigned size);
void lapic_write(struct lapic *a, uint64_t off, unsigned size, uint64_t value);
/* IA32_APIC_BASE, IA32_TSC_DEADLINE, 800h-8FFh. -ENOENT: not its own; -EINVAL: #GP. */
int lapic_rdmsr(struct lapic *a, uint32_t msr, uint64_t *value);
int lapic_wrmsr(struct lapic *a, uint32_t msr, uint64_t value);
/* The vCPU's TSC is the machine's plus offset, modulo 2^64: the deadline counts in it. */
void lapic_set_tsc_offset(struct lapic *a, uint64_t offset);
/* CR8: bits 7:4 of the task priority. */
uint8_t lapic_cr8(const struct lapic *a);
void lapic_set_cr8(struct lapic *a, uint8_t value);

/* Its registers, for people. */
void lapic_print(struct lapic *a, FILE *out);

/* Is it named by the message's destination? */
bool lapic_is_dest(const struct lapic *a, const struct apic_message *m);
/* Takes a message that names it. */
void lapic_deliver(struct lapic *a, const struct apic_message *m);
/* Vectors in service and pending, by which the lowest-priority receiver is chosen. */
unsigned lapic_priority(const struct lapic *a);
/* The PIC's output, which the boot processor's LINT0 is connected to. */
void lapic_set_pic(struct lapic *a, bool level);
/* INTA: the vector, or -1: ask the PIC. */
int lapic_ack(struct lapic *a);

#endif
