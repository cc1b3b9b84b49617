/*
 * kvm.c - VM, memory slots and vCPUs of engine kvm; see internal.h.
 *
 * No in-kernel interrupt controller: interrupts go in by KVM_INTERRUPT, and
 * HLT comes out as an exit. CPUID is what KVM supports on this host.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engine/interpret/step.h"
#include "engine/kvm/internal.h"
#include "util/util.h"

#define DEVICE       "/dev/kvm"
#define CPUID_MAX    256
#define TSS_ADDR     0xfffbd000u /* three pages that Intel's real mode needs, below 4 GiB */
#define IDENTITY_MAP 0xfffbc000u

int kvm_ioctl(int fd, unsigned long request, void *arg)
{
	int rc = ioctl(fd, request, arg);

	return rc < 0 ? -errno : rc;
}

int kvm_open_device(char *why, size_t whylen, char *cure, size_t curelen)
{
	int fd = open(DEVICE, O_RDWR | O_CLOEXEC);
	int err = fd < 0 ? -errno : 0, version;

	why[0] = cure[0] = '\0';
	if (fd < 0) {
		snprintf(why, whylen, "%s: %s", DEVICE, strerror(-err));
		if (err == -EACCES)
			snprintf(
				cure, curelen, "add yourself to its group: sudo adduser $USER kvm");
		else if (err == -ENOENT)
			snprintf(cure, curelen,
				"load the module kvm-intel or kvm-amd, and see that "
				"virtualization is on in the firmware");
		else if (err == -EBUSY)
			snprintf(cure, curelen, "another hypervisor holds the CPU: unload it");
		return err;
	}
	version = kvm_ioctl(fd, KVM_GET_API_VERSION, NULL);
	if (version == KVM_API_VERSION)
		return fd;
	snprintf(
		why, whylen, "%s: version %d of the API, not %d", DEVICE, version, KVM_API_VERSION);
	close(fd);
	return -ENOTSUP;
}

static void ignore_signal(int sig)
{
}

void kvm_catch_kicks(void)
{
	struct sigaction sa = {.sa_handler = ignore_signal};

	sigaction(KVM_KICK_SIGNAL, &sa, NULL);
}

static int get_cpuid(struct kvm_engine *k)
{
	size_t size = sizeof(*k->cpuid) + CPUID_MAX * sizeof(k->cpuid->entries[0]);

	k->cpuid = xcalloc(1, size);
	k->cpuid->nent = CPUID_MAX;
	return kvm_ioctl(k->device, KVM_GET_SUPPORTED_CPUID, k->cpuid);
}

/* What the hardware and the kernel have, less what the model lacks. */
static void restrict_leaf(struct kvm_cpuid_entry2 *e, const struct x86_model *m)
{
	uint32_t *const reg[] = {&e->eax, &e->ebx, &e->ecx, &e->edx};

	for (unsigned n = 0; n < X86_CPU_FEATURES; n++) {
		const struct x86_cpu_feature_info *f = &x86_cpu_features[n];

		if (f->leaf == e->function && f->subleaf == e->index && !x86_model_has(m, n))
			*reg[f->reg] &= ~(uint32_t)BIT(f->bit);
	}
}

static int set_cpuid(struct kvm_engine *k, int vcpu, const struct x86_model *m)
{
	size_t size = sizeof(*k->cpuid) + CPUID_MAX * sizeof(k->cpuid->entries[0]);
	struct kvm_cpuid2 *cpuid = xcalloc(1, size);
	int rc;

	for (uint32_t n = 0; n < k->cpuid->nent; n++) {
		struct kvm_cpuid_entry2 *e = &cpuid->entries[cpuid->nent];

		*e = k->cpuid->entries[n];
		restrict_leaf(e, m);
		if (e->function >> 16 != 0x4000 || x86_model_has(m, X86_CPU_HYPERVISOR))
			cpuid->nent++;
	}
	rc = kvm_ioctl(vcpu, KVM_SET_CPUID2, cpuid);
	free(cpuid);
	return rc;
}

static bool has(const struct kvm_engine *k, int capability)
{
	return kvm_ioctl(k->device, KVM_CHECK_EXTENSION, (void *)(uintptr_t)capability) > 0;
}

static int set_up_vm(struct kvm_engine *k)
{
	uint64_t identity = IDENTITY_MAP;
	int size = kvm_ioctl(k->device, KVM_GET_VCPU_MMAP_SIZE, NULL);

	if (size < (int)sizeof(struct kvm_run))
		return size < 0 ? size : -EIO;
	k->run_size = (size_t)size;
	k->has_xsave = has(k, KVM_CAP_XSAVE);
	k->has_xcrs = has(k, KVM_CAP_XCRS);
	k->has_debugregs = has(k, KVM_CAP_DEBUGREGS);
	/* Both matter to VMX without unrestricted guest only; other hosts may refuse them. */
	kvm_ioctl(k->vm, KVM_SET_IDENTITY_MAP_ADDR, &identity);
	kvm_ioctl(k->vm, KVM_SET_TSS_ADDR, (void *)(uintptr_t)TSS_ADDR);
	return get_cpuid(k);
}

static void kvm_close(struct engine *e)
{
	struct kvm_engine *k = container_of(e, struct kvm_engine, engine);

	if (k->vm >= 0)
		close(k->vm);
	if (k->device >= 0)
		close(k->device);
	free(k->cpuid);
	free(k);
}

static int kvm_open(struct vm *vm, struct engine **out, char *err, size_t errlen)
{
	struct kvm_engine *k = xcalloc(1, sizeof(*k));
	char cure[192];
	int rc;

	k->engine = (struct engine){&kvm_engine, vm};
	k->vm = -1;
	k->device = kvm_open_device(err, errlen, cure, sizeof(cure));
	rc = k->device;
	if (rc >= 0)
		rc = k->vm = kvm_ioctl(k->device, KVM_CREATE_VM, NULL);
	if (rc >= 0)
		rc = set_up_vm(k);
	if (rc < 0) {
		if (k->device >= 0)
			snprintf(err, errlen, "KVM cannot make a VM: %s", strerror(-rc));
		kvm_close(&k->engine);
		return rc;
	}
	kvm_catch_kicks();
	*out = &k->engine;
	return 0;
}

static int set_slot(struct kvm_engine *k, unsigned number, const struct engine_slot *s)
{
	struct kvm_userspace_memory_region region = {.slot = number};

	if (s) {
		region.flags = (s->readonly ? KVM_MEM_READONLY : 0) |
			       (s->log_dirty ? KVM_MEM_LOG_DIRTY_PAGES : 0);
		region.guest_phys_addr = s->base;
		region.memory_size = s->size;
		region.userspace_addr = (uintptr_t)s->host;
	}
	return kvm_ioctl(k->vm, KVM_SET_USER_MEMORY_REGION, &region);
}

/* Replaced whole: maps change rarely, and slots must never overlap on the way. */
static int kvm_set_map(struct engine *e, const struct engine_slot *slot, unsigned count)
{
	struct kvm_engine *k = container_of(e, struct kvm_engine, engine);
	int rc = 0;

	if (count > KVM_SLOTS_MAX)
		return -ENOSPC;
	while (k->slots)
		set_slot(k, --k->slots, NULL);
	for (; k->slots < count && !rc; k->slots++) {
		k->slot[k->slots] = slot[k->slots];
		rc = set_slot(k, k->slots, &slot[k->slots]);
	}
	return rc;
}

static int kvm_dirty(struct engine *e, gpa_t base, uint64_t *bitmap, size_t words)
{
	struct kvm_engine *k = container_of(e, struct kvm_engine, engine);

	for (unsigned n = 0; n < k->slots; n++) {
		struct kvm_dirty_log log = {.slot = n, .dirty_bitmap = bitmap};

		if (k->slot[n].base != base || !k->slot[n].log_dirty)
			continue;
		if (words < (k->slot[n].size / 4096 + 63) / 64)
			return -EINVAL;
		memset(bitmap, 0, words * sizeof(*bitmap));
		return kvm_ioctl(k->vm, KVM_GET_DIRTY_LOG, &log);
	}
	return -ENOENT;
}

static void kvm_vcpu_close(struct vcpu *v)
{
	struct kvm_engine *k = container_of(v->vm->engine, struct kvm_engine, engine);
	struct kvm_cpu *c = kvm_cpu(v);

	if (c->stepper)
		stepper_free(c->stepper);
	if (c->run != MAP_FAILED)
		munmap(c->run, k->run_size);
	if (c->fd >= 0)
		close(c->fd);
	free(c);
	v->priv = NULL;
}

/* The stepper for what KVM's emulator lacks is made here: later it may make no code any more. */
static int kvm_vcpu_open(struct vcpu *v)
{
	struct kvm_engine *k = container_of(v->vm->engine, struct kvm_engine, engine);
	struct kvm_cpu *c = xcalloc(1, sizeof(*c));
	int rc;

	v->priv = c;
	c->run = MAP_FAILED;
	c->thread = pthread_self();
	rc = c->fd = kvm_ioctl(k->vm, KVM_CREATE_VCPU, (void *)(uintptr_t)v->id);
	if (rc >= 0) {
		c->run = mmap(NULL, k->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, c->fd, 0);
		rc = c->run == MAP_FAILED ? -errno : 0;
	}
	if (!rc)
		rc = set_cpuid(k, c->fd, &v->vm->model);
	if (!rc)
		rc = stepper_new(v, &c->stepper);
	if (rc)
		kvm_vcpu_close(v);
	return rc;
}

const struct engine_ops kvm_engine = {
	.name = "kvm",
	.what = "the CPU's own virtualization, through " DEVICE,
	.caps = ENGINE_CAP_NATIVE,
	.probe = kvm_probe,
	.open = kvm_open,
	.close = kvm_close,
	.set_map = kvm_set_map,
	.vcpu_open = kvm_vcpu_open,
	.vcpu_close = kvm_vcpu_close,
	.run = kvm_run,
	.step = kvm_step,
	.kick = kvm_kick,
	.get = kvm_get,
	.put = kvm_put,
	.set_stops = kvm_set_stops,
	.dirty = kvm_dirty,
};
