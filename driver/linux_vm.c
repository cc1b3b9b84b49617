/*
 * linux_vm.c - a machine: its descriptor, its memory map, its end.
 *
 * It lives until the last of its descriptors is closed, the vCPUs' too, and
 * then lets go of everything; a killed process closes them all.
 */
#include <linux/anon_inodes.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "linux.h"
#include "table.h"

static void machine_free(struct kref *ref)
{
	struct machine *m = container_of(ref, struct machine, ref);
	struct hv *hv = m->vm.hv;

	table_free(&m->vm);
	WARN_ON(m->pinned);
	mmdrop(m->mm);
	kfree(m);
	cpus_unuse(hv);
}

void machine_put(struct machine *m)
{
	kref_put(&m->ref, machine_free);
}

static int machine_release(struct inode *inode, struct file *file)
{
	machine_put(file->private_data);
	return 0;
}

static int install_map(struct machine *m, const struct tinamou_map *map)
{
	int rc = down_write_killable(&m->map);

	if (rc)
		return rc;
	m->slots = 0;
	rc = ram_drop(m);
	if (!rc) {
		memcpy(m->slot, map->slot, map->count * sizeof(map->slot[0]));
		m->slots = map->count;
	}
	up_write(&m->map);
	return rc;
}

static long set_map(struct machine *m, const void __user *arg)
{
	struct tinamou_map *map = memdup_user(arg, sizeof(*map));
	long rc;

	if (IS_ERR(map))
		return PTR_ERR(map);
	rc = ram_check(map, m->vm.hv->phys_bits);
	if (!rc)
		rc = install_map(m, map);
	kfree(map);
	return rc;
}

static long machine_ioctl(struct file *file, unsigned int request, unsigned long arg)
{
	struct machine *m = file->private_data;

	if (current->mm != m->mm)
		return -EIO;
	switch (request) {
	case TINAMOU_SET_MAP:
		return set_map(m, (const void __user *)arg);
	case TINAMOU_CREATE_VCPU:
		return arg ? -EINVAL : vcpu_create(m);
	default:
		return -ENOTTY;
	}
}

static const struct file_operations machine_operations = {
	.owner = THIS_MODULE,
	.release = machine_release,
	.unlocked_ioctl = machine_ioctl,
	.llseek = noop_llseek,
};

static int machine_init(struct machine *m, struct hv *hv)
{
	kref_init(&m->ref);
	init_rwsem(&m->map);
	mutex_init(&m->faults);
	m->vm = (struct hv_vm){.hv = hv, .ctx = m, .generation = 1, .format = hv->ops->format};
	m->mm = current->mm;
	return table_new(&m->vm);
}

int machine_create(struct hv *hv)
{
	struct machine *m;
	int rc = cpus_use(hv);

	if (rc)
		return rc;
	m = kzalloc(sizeof(*m), GFP_KERNEL_ACCOUNT);
	rc = m ? machine_init(m, hv) : -ENOMEM;
	if (rc) {
		kfree(m);
		cpus_unuse(hv);
		return rc;
	}
	mmgrab(m->mm);
	rc = anon_inode_getfd("tinamou-vm", &machine_operations, m, O_RDWR | O_CLOEXEC);
	if (rc < 0)
		machine_put(m);
	return rc;
}
