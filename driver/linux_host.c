/* linux_host.c - the table of host.h, by Linux. */
#define pr_fmt(fmt) "tinamou: " fmt

#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include <asm/desc.h>
#include <asm/fpu/api.h>
#include <asm/tlbflush.h>

#include "linux.h"

#define VMXE (1ul << 13)

static __printf(1, 2) void host_log(const char *fmt, ...)
{
	struct va_format line;
	va_list args;

	va_start(args, fmt);
	line = (struct va_format){fmt, &args};
	pr_info("%pV\n", &line);
	va_end(args);
}

static void *host_alloc(u64 size)
{
	return kzalloc(size, GFP_KERNEL_ACCOUNT);
}

static void host_free(void *p)
{
	kfree(p);
}

static void *host_pages(unsigned count)
{
	return (void *)__get_free_pages(GFP_KERNEL_ACCOUNT | __GFP_ZERO, ilog2(count));
}

static void host_pages_free(void *p, unsigned count)
{
	free_pages((unsigned long)p, ilog2(count));
}

static u64 host_phys(const void *p)
{
	return virt_to_phys((void *)p);
}

static void *host_virt(u64 phys)
{
	return phys_to_virt(phys);
}

static void host_begin(void)
{
	kernel_fpu_begin();
}

static void host_end(void)
{
	kernel_fpu_end();
}

static int host_must_leave(void)
{
	return need_resched() || signal_pending(current);
}

/* The kernel writes CR4 from a copy of its own, so a bit that it does not know of would be lost. */
#ifndef CR4_IS_FOR_KVM
static void host_vmxe(int on)
{
	if (on)
		cr4_set_bits(VMXE);
	else
		cr4_clear_bits(VMXE);
}
#else
#define host_vmxe NULL
#endif

static void host_tss_limit_lost(void)
{
	invalidate_tss_limit();
}

/* As if they had come now: their handlers look at what the CPU says. */
static void host_nmi(void)
{
	asm volatile("int $2");
}

static void host_machine_check(void)
{
	asm volatile("int $18");
}

const struct hv_host linux_host = {
	.log = host_log,
	.alloc = host_alloc,
	.free = host_free,
	.pages = host_pages,
	.pages_free = host_pages_free,
	.phys = host_phys,
	.virt = host_virt,
	.begin = host_begin,
	.end = host_end,
	.cpu = cpus_this,
	.must_leave = host_must_leave,
	.fault = ram_fault,
	.release = ram_release,
	.vmxe = host_vmxe,
	.tss_limit_lost = host_tss_limit_lost,
	.nmi = host_nmi,
	.machine_check = host_machine_check,
};
