/* table.h - nested page tables: from guest physical to host physical addresses. */
#ifndef TINAMOU_DRIVER_TABLE_H
#define TINAMOU_DRIVER_TABLE_H

#include "hv.h"

/* What differs between NPT (APM vol. 2, 15.25) and EPT (SDM vol. 3C, 28.3). */
struct table_format {
	u64 branch; /* bits of an entry that points to another table */
	u64 page;   /* bits of a page that may be written */
	u64 write;  /* of these, the one that allows it */
};

/* An empty table. 0 or -HV_ENOMEM. */
int table_new(struct hv_vm *vm);
/* Frees it; each page it maps goes to host->release. */
void table_free(struct hv_vm *vm);
/* One page; the entry must not be there. Several threads may run on the table meanwhile. */
int table_map(struct hv_vm *vm, u64 gpa, u64 phys, int writable);
/* 0: nothing there; 1: read-only; 2: all rights. */
int table_look(struct hv_vm *vm, u64 gpa);

#endif
