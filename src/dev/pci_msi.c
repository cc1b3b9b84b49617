/*
 * pci_msi.c - message signalled interrupts of a function: MSI with one vector,
 * MSI-X with table (offset 0) and pending bits (offset 2048) in one BAR.
 *
 * Source: PCI Local Bus 3.0, 6.8. Left out: several vectors of MSI, its mask
 * bits. Lock: vm->lock.
 */
#include "dev/pci_msi.h"

#include "dev/devutil.h"
#include "util/util.h"

#define CAP_MSI        0x05
#define CAP_MSIX       0x11
#define MSI_CONTROL    2u
#define MSI_ADDRESS    4u
#define MSI_DATA       12u
#define MSI_LEN        14u
#define MSI_ENABLE     0x0001u
#define MSI_64BIT      0x0080u
#define MSIX_CONTROL   2u
#define MSIX_TABLE     4u
#define MSIX_PENDING   8u
#define MSIX_LEN       12u
#define MSIX_ENABLE    0x8000u
#define MSIX_MASK_ALL  0x4000u
#define MSIX_BAR_SIZE  4096u
#define PENDING_OFFSET 2048u
#define ENTRY_SIZE     16u
#define ENTRY_MASKED   1u
#define MESSAGE_ALIGN  3u

/* ---- MSI ---- */

void pci_func_msi(struct pci_func *f)
{
	uint8_t cap = pci_func_capability(f, CAP_MSI, MSI_LEN);

	pci_func_register(f, cap + MSI_CONTROL, 2, MSI_64BIT, MSI_ENABLE);
	pci_func_register(f, cap + MSI_ADDRESS, 4, 0, ~MESSAGE_ALIGN);
	pci_func_register(f, cap + MSI_ADDRESS + 4, 4, 0, UINT32_MAX);
	pci_func_register(f, cap + MSI_DATA, 2, 0, UINT16_MAX);
	f->msi = cap;
}

bool pci_func_msi_on(const struct pci_func *f)
{
	return f->msi && pci_get(f, f->msi + MSI_CONTROL, 2) & MSI_ENABLE;
}

static void send_msi(struct pci_func *f)
{
	uint64_t addr = pci_get(f, f->msi + MSI_ADDRESS, 4);

	addr |= (uint64_t)pci_get(f, f->msi + MSI_ADDRESS + 4, 4) << 32;
	pci_send_msi(f, addr, pci_get(f, f->msi + MSI_DATA, 2));
}

/* ---- MSI-X ---- */

static uint32_t msix_control(const struct pci_func *f)
{
	return f->msix.cap ? pci_get(f, f->msix.cap + MSIX_CONTROL, 2) : 0;
}

bool pci_func_msix_on(const struct pci_func *f)
{
	return msix_control(f) & MSIX_ENABLE;
}

static bool masked(const struct pci_func *f, unsigned vector)
{
	return msix_control(f) & MSIX_MASK_ALL || f->msix.entry[vector].control & ENTRY_MASKED;
}

static void send_msix(struct pci_func *f, unsigned vector)
{
	const struct pci_msix_entry *e = &f->msix.entry[vector];

	if (masked(f, vector)) {
		f->msix.pending |= BIT(vector);
		return;
	}
	f->msix.pending &= ~BIT(vector);
	pci_send_msi(f, e->addr & ~(uint64_t)MESSAGE_ALIGN, e->data);
}

void pci_msix_settle(struct pci_func *f)
{
	if (!pci_func_msix_on(f))
		return;
	for (unsigned v = 0; v < f->msix.vectors; v++)
		if (f->msix.pending & BIT(v))
			send_msix(f, v);
}

void pci_func_message(struct pci_func *f, unsigned vector)
{
	if (pci_func_msix_on(f) && vector < f->msix.vectors)
		send_msix(f, vector);
	else if (pci_func_msi_on(f) && vector == 0)
		send_msi(f);
}

/* The doubleword of the table at off, or NULL. */
static uint32_t *table_word(struct pci_msix *x, uint64_t off)
{
	struct pci_msix_entry *e = &x->entry[off / ENTRY_SIZE % PCI_MSIX_VECTORS];

	if (off / ENTRY_SIZE >= x->vectors)
		return NULL;
	switch (off % ENTRY_SIZE) {
	case 8:
		return &e->data;
	case 12:
		return &e->control;
	default:
		return (uint32_t *)&e->addr + off % ENTRY_SIZE / 4;
	}
}

static uint64_t msix_read(void *ctx, uint64_t off, unsigned size)
{
	struct pci_func *f = ctx;
	uint32_t *word = table_word(&f->msix, off);

	if (word)
		return *word;
	if (off == PENDING_OFFSET || off == PENDING_OFFSET + 4)
		return f->msix.pending >> (off - PENDING_OFFSET) * 8 & UINT32_MAX;
	return 0;
}

static void msix_write(void *ctx, uint64_t off, unsigned size, uint64_t value)
{
	struct pci_func *f = ctx;
	uint32_t *word = table_word(&f->msix, off);

	if (!word)
		return;
	*word = (uint32_t)value;
	if (off % ENTRY_SIZE == 12)
		*word &= ENTRY_MASKED;
	pci_msix_settle(f);
}

static const struct bus_ops msix_ops = {msix_read, msix_write, 4, 4};

void pci_func_msix(struct pci_func *f, unsigned bar, unsigned vectors)
{
	uint8_t cap = pci_func_capability(f, CAP_MSIX, MSIX_LEN);

	pci_func_register(f, cap + MSIX_CONTROL, 2, vectors - 1, MSIX_ENABLE | MSIX_MASK_ALL);
	pci_func_register(f, cap + MSIX_TABLE, 4, bar, 0);
	pci_func_register(f, cap + MSIX_PENDING, 4, PENDING_OFFSET | bar, 0);
	f->msix.cap = cap;
	f->msix.vectors = (uint16_t)vectors;
	region_init(&f->msix.region, "msi-x", MSIX_BAR_SIZE, &msix_ops, f);
	pci_func_bar(f, bar, PCI_BAR_MEM, &f->msix.region);
	pci_msix_reset(f);
}

void pci_msix_reset(struct pci_func *f)
{
	f->msix.pending = 0;
	for (unsigned v = 0; v < f->msix.vectors; v++)
		f->msix.entry[v] = (struct pci_msix_entry){.control = ENTRY_MASKED};
}

void pci_msix_snap(struct pci_func *f, struct snap *s)
{
	for (unsigned v = 0; v < f->msix.vectors; v++) {
		struct pci_msix_entry *e = &f->msix.entry[v];

		snap_u64(s, "msix_addr", &e->addr);
		snap_u32(s, "msix_data", &e->data);
		snap_u32_max(s, "msix_control", &e->control, ENTRY_MASKED);
	}
	if (f->msix.vectors)
		snap_u64(s, "msix_pending", &f->msix.pending);
}
