/*
 * guest.h - a machine of the module by its bare contract, for the programs beside this.
 *
 * One page of RAM at 0, one vCPU in real mode whose code is at 0. No engine,
 * no library of ours: what they find is the module's own doing.
 */
#ifndef TINAMOU_TESTS_DRIVER_GUEST_H
#define TINAMOU_TESTS_DRIVER_GUEST_H

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "driver/abi.h"

#define PAGE      4096u
#define RAM_PAGES 4u /* the last one is ROM */

struct guest {
	int device, vm, cpu;
	struct tinamou_page *page;
	uint8_t *ram;
};

/* -errno, or what ioctl returned. */
static inline int call(int fd, unsigned long request, void *arg)
{
	int rc = ioctl(fd, request, arg);

	return rc < 0 ? -errno : rc;
}

static inline void *pages(int fd, unsigned count)
{
	int flags = fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
	void *p = mmap(NULL, count * (size_t)PAGE, PROT_READ | PROT_WRITE, flags, fd, 0);

	return p == MAP_FAILED ? NULL : p;
}

static inline int set_ram(struct guest *g)
{
	struct tinamou_map m = {.size = sizeof(m), .count = 2};

	m.slot[0] =
		(struct tinamou_slot){.bytes = (RAM_PAGES - 1) * PAGE, .user = (uintptr_t)g->ram};
	m.slot[1] = (struct tinamou_slot){.gpa = m.slot[0].bytes,
		.bytes = PAGE,
		.user = (uintptr_t)g->ram + m.slot[0].bytes,
		.flags = TINAMOU_SLOT_ROM};
	return call(g->vm, TINAMOU_SET_MAP, &m);
}

static inline void real_mode(struct tinamou_regs *r)
{
	memset(r->gpr, 0, sizeof(r->gpr));
	for (unsigned n = 0; n < TINAMOU_SEGS; n++)
		r->seg[n] = (struct tinamou_seg){.limit = 0xffff, .attr = 0x93};
	r->seg[TINAMOU_CS].attr = 0x9b;
	r->seg[TINAMOU_LDTR].attr = 0x82;
	r->seg[TINAMOU_TR].attr = 0x8b;
	r->gdtr = r->idtr = (struct tinamou_table){0, 0xffff};
	r->cr0 = 0x30; /* ET, NE */
	r->cr2 = r->cr3 = r->cr4 = r->cr8 = r->efer = 0;
	r->xcr0 = 1;
	r->rip = 0;
	r->rflags = 2;
	r->events = (struct tinamou_events){0};
}

/* 0 or -errno. */
static inline int guest_new(struct guest *g)
{
	int rc;

	*g = (struct guest){-1, -1, -1, NULL, NULL};
	rc = g->device = open("/dev/tinamou", O_RDWR | O_CLOEXEC);
	if (rc < 0)
		return -errno;
	rc = g->vm = call(g->device, TINAMOU_CREATE_VM, NULL);
	g->ram = pages(-1, RAM_PAGES);
	if (rc >= 0)
		rc = set_ram(g);
	if (rc >= 0)
		rc = g->cpu = call(g->vm, TINAMOU_CREATE_VCPU, NULL);
	if (rc < 0)
		return rc;
	g->page = pages(g->cpu, 1);
	if (!g->page)
		return -ENOMEM;
	real_mode(&g->page->regs);
	return 0;
}

static inline void guest_free(struct guest *g)
{
	if (g->page)
		munmap(g->page, PAGE);
	if (g->ram)
		munmap(g->ram, RAM_PAGES * PAGE);
	if (g->cpu >= 0)
		close(g->cpu);
	if (g->vm >= 0)
		close(g->vm);
	if (g->device >= 0)
		close(g->device);
}

static inline int run(struct guest *g, uint32_t flags, uint32_t put, uint32_t get)
{
	struct tinamou_run r = {.size = sizeof(r), .flags = flags, .put = put, .get = get};

	return call(g->cpu, TINAMOU_RUN, &r);
}

/* From real mode with this code; everything but the FPU, DR and MSRs is fresh. */
static inline int run_code(struct guest *g, const void *code, unsigned len)
{
	memcpy(g->ram, code, len);
	real_mode(&g->page->regs);
	return run(g, TINAMOU_RUN_ENTER, TINAMOU_GPR | TINAMOU_SEG | TINAMOU_CR | TINAMOU_EVENTS,
		TINAMOU_ALL_GROUPS);
}

#endif
