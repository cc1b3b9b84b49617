/*
 * linux_vcpu.c - a vCPU: its descriptor, the page it shares, RUN.
 *
 * What comes from the shared page is copied once, checked, then used: the
 * process may change the page at any moment.
 */
#include <linux/anon_inodes.h>
#include <linux/atomic.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "linux.h"

struct vcpu {
	struct machine *machine;
	struct mutex lock;
	struct tinamou_page *page;
	struct hv_vcpu *hv;
	struct tinamou_regs incoming; /* under lock: the copy that is checked */
};

/* The CPU's own reset state would do; this is what an entry accepts and no more. */
static void reset(struct hv_vcpu *v)
{
	struct tinamou_regs *r = &v->regs;

	r->msr[TINAMOU_PAT] = 0x0007040600070406ull;
	r->xcr0 = 1;
	r->dr[6] = 0xffff0ff0;
	r->dr[7] = 0x400;
	r->xsave[0] = 0x7f; /* FCW 37Fh */
	r->xsave[1] = 0x03;
	r->xsave[24] = 0x80; /* MXCSR 1F80h */
	r->xsave[25] = 0x1f;
	v->vm->hv->ops->put(v, TINAMOU_ALL_GROUPS);
}

static int take(struct vcpu *c, u32 groups)
{
	struct hv *hv = c->machine->vm.hv;
	int rc;

	hv_copy(&c->incoming, &c->page->regs, groups);
	rc = hv_check(hv, &c->incoming, groups);
	if (rc)
		return rc;
	hv_copy(&c->hv->regs, &c->incoming, groups);
	hv->ops->put(c->hv, groups);
	return 0;
}

static void give(struct vcpu *c, u32 groups)
{
	c->machine->vm.hv->ops->get(c->hv, groups);
	hv_copy(&c->page->regs, &c->hv->regs, groups);
	c->page->exit = c->hv->exit;
}

/* hv_run also comes back when another thread wants the CPU. */
static int enter(struct vcpu *c)
{
	int rc;

	do {
		cond_resched();
		rc = hv_run(c->hv, c->page);
	} while (rc == -EINTR && !signal_pending(current) && !READ_ONCE(c->page->immediate_exit));
	return rc;
}

static long run_locked(struct vcpu *c, const struct tinamou_run *run)
{
	long rc = take(c, run->put);

	if (rc)
		return rc;
	c->hv->exit.reason = TINAMOU_EXIT_NONE;
	if (run->flags & TINAMOU_RUN_ENTER) {
		rc = down_read_killable(&c->machine->map);
		if (rc)
			return rc;
		rc = enter(c);
		up_read(&c->machine->map);
	}
	give(c, run->get);
	return rc;
}

static long run(struct vcpu *c, const void __user *arg)
{
	struct tinamou_run run;
	long rc;

	if (copy_from_user(&run, arg, sizeof(run)))
		return -EFAULT;
	if (run.size != sizeof(run) || run.flags & ~TINAMOU_RUN_ENTER ||
		(run.put | run.get) & ~TINAMOU_ALL_GROUPS)
		return -EINVAL;
	rc = mutex_lock_interruptible(&c->lock);
	if (rc)
		return rc;
	rc = run_locked(c, &run);
	mutex_unlock(&c->lock);
	return rc;
}

static long vcpu_ioctl(struct file *file, unsigned int request, unsigned long arg)
{
	struct vcpu *c = file->private_data;

	if (current->mm != c->machine->mm)
		return -EIO;
	return request == TINAMOU_RUN ? run(c, (const void __user *)arg) : -ENOTTY;
}

static int vcpu_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct vcpu *c = file->private_data;

	if (vma->vm_end - vma->vm_start != PAGE_SIZE || vma->vm_pgoff ||
		!(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	return vm_insert_page(vma, vma->vm_start, virt_to_page(c->page));
}

static void vcpu_free(struct vcpu *c)
{
	if (c->hv)
		c->machine->vm.hv->ops->vcpu_free(c->hv);
	if (c->page)
		free_page((unsigned long)c->page);
	kfree(c);
}

static int vcpu_release(struct inode *inode, struct file *file)
{
	struct vcpu *c = file->private_data;
	struct machine *m = c->machine;

	vcpu_free(c);
	machine_put(m);
	return 0;
}

static const struct file_operations vcpu_operations = {
	.owner = THIS_MODULE,
	.release = vcpu_release,
	.unlocked_ioctl = vcpu_ioctl,
	.mmap = vcpu_mmap,
	.llseek = noop_llseek,
};

static struct vcpu *vcpu_new(struct machine *m)
{
	static atomic64_t next_id = ATOMIC64_INIT(0);
	struct vcpu *c = kzalloc(sizeof(*c), GFP_KERNEL_ACCOUNT);

	BUILD_BUG_ON(sizeof(struct tinamou_page) > PAGE_SIZE);
	if (!c)
		return NULL;
	c->machine = m;
	mutex_init(&c->lock);
	c->page = (struct tinamou_page *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
	c->hv = m->vm.hv->ops->vcpu_new(&m->vm);
	if (!c->page || !c->hv) {
		vcpu_free(c);
		return NULL;
	}
	c->page->size = sizeof(*c->page);
	c->page->abi = TINAMOU_ABI;
	c->hv->id = atomic64_inc_return(&next_id);
	reset(c->hv);
	return c;
}

int vcpu_create(struct machine *m)
{
	struct vcpu *c = vcpu_new(m);
	int fd;

	if (!c)
		return -ENOMEM;
	kref_get(&m->ref);
	fd = anon_inode_getfd("tinamou-vcpu", &vcpu_operations, c, O_RDWR | O_CLOEXEC);
	if (fd < 0) {
		vcpu_free(c);
		machine_put(m);
	}
	return fd;
}
