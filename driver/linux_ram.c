/*
 * linux_ram.c - guest RAM is memory of the process, pinned page by page.
 *
 * A page is pinned when the guest first touches it and counts as locked memory
 * of the process. The nested table is the record of what is pinned, so that
 * letting go is one walk through it.
 */
#include <linux/mm.h>
#include <linux/sched.h>

#include "linux.h"
#include "table.h"

static int slot_ok(const struct tinamou_slot *s, u64 limit)
{
	if (!s->bytes || s->zero || s->flags & ~TINAMOU_SLOT_ROM)
		return 0;
	if (!PAGE_ALIGNED(s->gpa) || !PAGE_ALIGNED(s->bytes) || !PAGE_ALIGNED(s->user))
		return 0;
	if (s->gpa >= limit || s->bytes > limit - s->gpa)
		return 0;
	return s->user < TASK_SIZE_MAX && s->bytes <= TASK_SIZE_MAX - s->user;
}

int ram_check(const struct tinamou_map *map, u32 phys_bits)
{
	u64 limit = min_t(u64, TINAMOU_PHYS_LIMIT, 1ull << phys_bits);

	if (map->size != sizeof(*map) || map->count > TINAMOU_SLOTS)
		return -EINVAL;
	for (u32 n = 0; n < map->count; n++) {
		const struct tinamou_slot *s = &map->slot[n];

		if (!slot_ok(s, limit))
			return -EINVAL;
		for (u32 k = 0; k < n; k++)
			if (s->gpa < map->slot[k].gpa + map->slot[k].bytes &&
				map->slot[k].gpa < s->gpa + s->bytes)
				return -EINVAL;
	}
	return 0;
}

static const struct tinamou_slot *find_slot(const struct machine *m, u64 gpa)
{
	for (u32 n = 0; n < m->slots; n++)
		if (gpa - m->slot[n].gpa < m->slot[n].bytes)
			return &m->slot[n];
	return NULL;
}

/*
 * Always for writing, so that the page is the process's own and stays it. ROM may be a private
 * mapping that its process only reads: FOLL_FORCE makes its page an own one, too.
 */
static int pin(struct machine *m, u64 user, int rom, u64 *phys)
{
	unsigned flags = FOLL_WRITE | FOLL_LONGTERM | (rom ? FOLL_FORCE : 0);
	struct page *page;
	int rc = account_locked_vm(m->mm, 1, true);

	if (rc)
		return rc;
	rc = pin_user_pages_fast(user, 1, flags, &page);
	if (rc == 1) {
		m->pinned++;
		*phys = (u64)page_to_pfn(page) << PAGE_SHIFT;
		return 0;
	}
	account_locked_vm(m->mm, 1, false);
	return rc < 0 ? rc : -EFAULT;
}

/* m->faults is held. */
static int map_page(struct machine *m, const struct tinamou_slot *s, u64 gpa)
{
	int rom = s->flags & TINAMOU_SLOT_ROM;
	u64 phys;
	int rc = pin(m, s->user + (gpa - s->gpa), rom, &phys);

	if (rc)
		return rc;
	rc = table_map(&m->vm, gpa, phys, !rom);
	if (rc)
		ram_release(m, phys);
	return rc ? rc : 1;
}

int ram_fault(void *machine, u64 gpa, int write)
{
	struct machine *m = machine;
	const struct tinamou_slot *s = find_slot(m, gpa);
	int there, rc = 1;

	if (!s || (write && s->flags & TINAMOU_SLOT_ROM))
		return 0;
	mutex_lock(&m->faults);
	there = table_look(&m->vm, gpa);
	if (!there)
		rc = map_page(m, s, gpa & PAGE_MASK);
	mutex_unlock(&m->faults);
	return rc;
}

void ram_release(void *machine, u64 phys)
{
	struct machine *m = machine;
	struct page *page = pfn_to_page(phys >> PAGE_SHIFT);

	unpin_user_pages_dirty_lock(&page, 1, true);
	m->pinned--;
	account_locked_vm(m->mm, 1, false);
	cond_resched();
}

int ram_drop(struct machine *m)
{
	table_free(&m->vm);
	m->vm.generation++;
	return table_new(&m->vm);
}
