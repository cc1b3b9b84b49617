/*
 * driver.c - device, machine and vCPUs of engine driver; see internal.h.
 *
 * CPUID, MSRs and devices are the machine's own: the module hands over every
 * exit, and what it hands over is finished here or by the interpreter's step.
 */
#include "engine/driver/driver.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engine/driver/internal.h"
#include "util/util.h"

#define DEVICE "/dev/tinamou"

int driver_ioctl(int fd, unsigned long request, void *arg)
{
	int rc = ioctl(fd, request, arg);

	return rc < 0 ? -errno : rc;
}

static void ignore_signal(int sig)
{
}

void driver_catch_kicks(void)
{
	struct sigaction sa = {.sa_handler = ignore_signal};

	sigaction(DRIVER_KICK_SIGNAL, &sa, NULL);
}

int driver_open_device(
	struct tinamou_info *info, char *why, size_t whylen, char *cure, size_t curelen)
{
	int fd = open(DEVICE, O_RDWR | O_CLOEXEC), rc;

	why[0] = cure[0] = '\0';
	if (fd < 0) {
		rc = -errno;
		snprintf(why, whylen, "%s: %s", DEVICE, strerror(-rc));
		if (rc == -ENOENT)
			snprintf(cure, curelen, "load our module: make driver, insmod tinamou.ko");
		else if (rc == -EACCES)
			snprintf(cure, curelen, "it is root's alone");
		return rc;
	}
	*info = (struct tinamou_info){.size = sizeof(*info)};
	rc = driver_ioctl(fd, TINAMOU_INFO, info);
	if (!rc && info->abi == TINAMOU_ABI)
		return fd;
	snprintf(why, whylen, "the loaded module speaks another version of the contract");
	snprintf(cure, curelen, "unload it and load the one of this version");
	close(fd);
	return -ENOTSUP;
}

int driver_create_vm(int device, char *why, size_t whylen, char *cure, size_t curelen)
{
	int rc = driver_ioctl(device, TINAMOU_CREATE_VM, NULL);

	cure[0] = '\0';
	if (rc == -EBUSY) {
		snprintf(why, whylen, "another hypervisor holds the CPU");
		snprintf(cure, curelen,
			"end its machines (KVM: virtual machines that run); from Linux 6.12 on "
			"KVM holds it while kvm_intel or kvm_amd is loaded");
	} else if (rc < 0) {
		snprintf(why, whylen, "the module cannot make a machine: %s", strerror(-rc));
	}
	return rc;
}

/* ---- the machine ---- */

static void driver_close(struct engine *e)
{
	struct driver_machine *m = container_of(e, struct driver_machine, engine);

	if (m->vm >= 0)
		close(m->vm);
	if (m->device >= 0)
		close(m->device);
	free(m);
}

static int driver_open(struct vm *vm, struct engine **out, char *err, size_t errlen)
{
	struct driver_machine *m = xcalloc(1, sizeof(*m));
	char cure[192];
	int rc;

	m->engine = (struct engine){&driver_engine, vm};
	m->vm = -1;
	rc = m->device = driver_open_device(&m->info, err, errlen, cure, sizeof(cure));
	if (rc >= 0)
		rc = m->vm = driver_create_vm(m->device, err, errlen, cure, sizeof(cure));
	if (rc >= 0 && x86_model_has(&vm->model, X86_CPU_AVX) &&
		!(m->info.flags & TINAMOU_HAS_AVX)) {
		snprintf(err, errlen, "this CPU has no AVX, the machine's model has");
		rc = -ENOTSUP;
	}
	if (rc < 0) {
		driver_close(&m->engine);
		return rc;
	}
	driver_catch_kicks();
	*out = &m->engine;
	return 0;
}

static int driver_set_map(struct engine *e, const struct engine_slot *slot, unsigned count)
{
	struct driver_machine *m = container_of(e, struct driver_machine, engine);
	struct tinamou_map map = {.size = sizeof(map), .count = count};

	if (count > TINAMOU_SLOTS)
		return -ENOSPC;
	for (unsigned n = 0; n < count; n++)
		map.slot[n] = (struct tinamou_slot){.gpa = slot[n].base,
			.bytes = slot[n].size,
			.user = (uintptr_t)slot[n].host,
			.flags = slot[n].readonly ? TINAMOU_SLOT_ROM : 0};
	return driver_ioctl(m->vm, TINAMOU_SET_MAP, &map);
}

/* ---- vCPUs ---- */

static void driver_vcpu_close(struct vcpu *v)
{
	struct driver_cpu *c = driver_cpu(v);

	if (c->stepper)
		stepper_free(c->stepper);
	if (c->page)
		munmap(c->page, sysconf(_SC_PAGESIZE));
	if (c->fd >= 0)
		close(c->fd);
	free(c);
	v->priv = NULL;
}

static int map_page(struct driver_cpu *c)
{
	void *page =
		mmap(NULL, sysconf(_SC_PAGESIZE), PROT_READ | PROT_WRITE, MAP_SHARED, c->fd, 0);

	if (page == MAP_FAILED)
		return -errno;
	c->page = page;
	return c->page->size == sizeof(*c->page) ? 0 : -ENOTSUP;
}

static int driver_vcpu_open(struct vcpu *v)
{
	struct driver_cpu *c = xcalloc(1, sizeof(*c));
	int rc;

	v->priv = c;
	c->thread = pthread_self();
	rc = c->fd = driver_ioctl(driver_machine(v)->vm, TINAMOU_CREATE_VCPU, NULL);
	if (rc >= 0)
		rc = map_page(c);
	if (!rc)
		rc = stepper_new(v, &c->stepper);
	if (rc)
		driver_vcpu_close(v);
	return rc;
}

const struct engine_ops driver_engine = {
	.name = "driver",
	.what = "the CPU's own virtualization, through our module at " DEVICE,
	.caps = ENGINE_CAP_NATIVE | ENGINE_CAP_PINS,
	.probe = driver_probe,
	.open = driver_open,
	.close = driver_close,
	.set_map = driver_set_map,
	.vcpu_open = driver_vcpu_open,
	.vcpu_close = driver_vcpu_close,
	.run = driver_run,
	.step = driver_step,
	.kick = driver_kick,
	.get = driver_get,
	.put = driver_put,
};
