/*
 * linux_main.c - the module: insmod's report, /dev/tinamou, rmmod.
 *
 * Documented in docs/driver.md. insmod says what the CPU offers and refuses
 * where that is not enough; virtualization itself is switched on with the first
 * machine only.
 */
#define pr_fmt(fmt) "tinamou: " fmt

#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/uaccess.h>

#include "linux.h"

static struct hv hv;

static long give_info(void __user *arg)
{
	struct tinamou_info info;

	if (copy_from_user(&info, arg, sizeof(info)))
		return -EFAULT;
	if (info.size != sizeof(info))
		return -EINVAL;
	info = (struct tinamou_info){.size = sizeof(info),
		.abi = TINAMOU_ABI,
		.kind = hv.ops->kind,
		.flags = hv.flags,
		.slots = TINAMOU_SLOTS,
		.phys_bits = hv.phys_bits};
	return copy_to_user(arg, &info, sizeof(info)) ? -EFAULT : 0;
}

static long device_ioctl(struct file *file, unsigned int request, unsigned long arg)
{
	switch (request) {
	case TINAMOU_INFO:
		return give_info((void __user *)arg);
	case TINAMOU_CREATE_VM:
		return arg ? -EINVAL : machine_create(&hv);
	default:
		return -ENOTTY;
	}
}

static const struct file_operations device_operations = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = device_ioctl,
	.llseek = noop_llseek,
};

static struct miscdevice device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "tinamou",
	.fops = &device_operations,
	.mode = 0600,
};

static int __init tinamou_init(void)
{
	int rc;

	hv.host = &linux_host;
	hv.ops = hv_detect(&hv);
	if (!hv.ops)
		return -EOPNOTSUPP;
	rc = hv.ops->init(&hv);
	if (rc)
		return rc;
	rc = misc_register(&device);
	if (rc) {
		hv.ops->exit(&hv);
		return rc;
	}
	pr_info("ready: /dev/tinamou, %s\n", hv.ops->name);
	return 0;
}

static void __exit tinamou_exit(void)
{
	misc_deregister(&device);
	hv.ops->exit(&hv);
	pr_info("gone\n");
}

module_init(tinamou_init);
module_exit(tinamou_exit);
MODULE_DESCRIPTION("tinamou: runs virtual machines by SVM and VMX");
MODULE_LICENSE("Dual MIT/GPL");
