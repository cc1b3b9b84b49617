/*
 * table.c - nested page tables of 4 KiB pages, for SVM and VMX.
 *
 * Sources: AMD APM vol. 2, 15.25; Intel SDM vol. 3C, 28.3. The table is also
 * the only record of what is pinned: each leaf is one page of the process.
 * Left out: large pages, accessed and dirty bits. The host's lock for maps
 * covers changes; an entry becomes visible in one store after what it points to.
 */
#include "table.h"

#define ENTRIES 512u
#define ADDRESS 0x000ffffffffff000ull
#define PRESENT 1ull /* NPT: P; EPT: R */

static unsigned index_at(u64 gpa, int level)
{
	return (unsigned)(gpa >> (12 + 9 * level)) % ENTRIES;
}

int table_new(struct hv_vm *vm)
{
	void *top = vm->hv->host->pages(1);

	if (!top)
		return -HV_ENOMEM;
	vm->root = vm->hv->host->phys(top);
	return 0;
}

static void free_level(struct hv_vm *vm, u64 phys, int level)
{
	const struct hv_host *host = vm->hv->host;
	u64 *table = host->virt(phys);

	for (unsigned n = 0; n < ENTRIES; n++) {
		if (!(table[n] & PRESENT))
			continue;
		if (level)
			free_level(vm, table[n] & ADDRESS, level - 1);
		else
			host->release(vm->ctx, table[n] & ADDRESS);
	}
	host->pages_free(table, 1);
}

void table_free(struct hv_vm *vm)
{
	if (vm->root)
		free_level(vm, vm->root, vm->hv->levels - 1);
	vm->root = 0;
}

/* The entry of gpa's page; NULL if a table on the way is not there, and none is to be made. */
static u64 *find(struct hv_vm *vm, u64 gpa, int make)
{
	const struct hv_host *host = vm->hv->host;
	u64 *table = host->virt(vm->root);

	for (int level = vm->hv->levels - 1; level > 0; level--) {
		volatile u64 *entry = &table[index_at(gpa, level)];

		if (!(*entry & PRESENT)) {
			void *next = make ? host->pages(1) : (void *)0;

			if (!next)
				return (void *)0;
			__atomic_store_n(
				entry, host->phys(next) | vm->format->branch, __ATOMIC_RELEASE);
		}
		table = host->virt(*entry & ADDRESS);
	}
	return &table[index_at(gpa, 0)];
}

int table_map(struct hv_vm *vm, u64 gpa, u64 phys, int writable)
{
	u64 *entry = find(vm, gpa, 1);
	u64 rights = vm->format->page & ~(writable ? 0 : vm->format->write);

	if (!entry)
		return -HV_ENOMEM;
	__atomic_store_n(entry, phys | rights, __ATOMIC_RELEASE);
	return 0;
}

int table_look(struct hv_vm *vm, u64 gpa)
{
	const u64 *entry = find(vm, gpa, 0);

	if (!entry || !(*entry & PRESENT))
		return 0;
	return *entry & vm->format->write ? 2 : 1;
}
