/*
 * linux_cpus.c - virtualization on and off on every CPU, those that come later too.
 *
 * The kernel's CPU hotplug calls cpu_up on all CPUs when the first machine is
 * made and undoes it if one of them refuses, which is how another hypervisor
 * (KVM with a machine of its own) is noticed. Lock: users_lock.
 */
#include <linux/cpuhotplug.h>
#include <linux/errno.h>
#include <linux/mutex.h>
#include <linux/percpu.h>

#include "linux.h"

static DEFINE_PER_CPU(struct hv_cpu, cpus);
static DEFINE_MUTEX(users_lock);
static unsigned int users;
static int hotplug_state;
static struct hv *hotplug_hv;

struct hv_cpu *cpus_this(void)
{
	return this_cpu_ptr(&cpus);
}

static void free_cpu(struct hv *hv, struct hv_cpu *c)
{
	for (unsigned int n = 0; n < HV_CPU_PAGES; n++) {
		if (c->page[n])
			hv->host->pages_free(c->page[n], 1);
		c->page[n] = NULL;
	}
}

/* On the CPU itself, in its hotplug thread. */
static int cpu_up(unsigned int number)
{
	struct hv_cpu *c = per_cpu_ptr(&cpus, number);
	unsigned long flags;
	int rc = 0;

	for (unsigned int n = 0; n < HV_CPU_PAGES; n++) {
		c->page[n] = hotplug_hv->host->pages(1);
		if (!c->page[n])
			rc = -ENOMEM;
	}
	if (!rc) {
		local_irq_save(flags);
		rc = hotplug_hv->ops->cpu_on(hotplug_hv, c);
		local_irq_restore(flags);
	}
	if (rc)
		free_cpu(hotplug_hv, c);
	c->on = !rc;
	c->last = 0;
	return rc;
}

static int cpu_down(unsigned int number)
{
	struct hv_cpu *c = per_cpu_ptr(&cpus, number);
	unsigned long flags;

	if (!c->on)
		return 0;
	local_irq_save(flags);
	c->on = 0;
	hotplug_hv->ops->cpu_off(hotplug_hv, c);
	local_irq_restore(flags);
	free_cpu(hotplug_hv, c);
	return 0;
}

int cpus_use(struct hv *hv)
{
	int rc = 0;

	mutex_lock(&users_lock);
	if (!users) {
		hotplug_hv = hv;
		rc = cpuhp_setup_state(CPUHP_AP_ONLINE_DYN, "tinamou:on", cpu_up, cpu_down);
		hotplug_state = rc;
	}
	if (rc >= 0)
		users++;
	mutex_unlock(&users_lock);
	return rc < 0 ? rc : 0;
}

void cpus_unuse(struct hv *hv)
{
	mutex_lock(&users_lock);
	if (!--users)
		cpuhp_remove_state(hotplug_state);
	mutex_unlock(&users_lock);
}
