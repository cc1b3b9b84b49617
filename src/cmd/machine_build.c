/*
 * machine_build.c - from the configuration and its descriptors to a VM with its
 * board: images, firmware, kernel, disks.
 */
#include "cmd/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cmd/status.h"
#include "host/jail.h"

#define TRACE_BUFFER 65536
#define CDROM_UNIT   3 /* as struct config_disk counts */

/* The whole of a file, which is not empty: *bytes of *len. */
static int map_whole(int fd, int prot, int flags, uint8_t **bytes, size_t *len)
{
	struct stat st;
	void *p;

	if (fstat(fd, &st) || st.st_size <= 0)
		return -EIO;
	p = mmap(NULL, (size_t)st.st_size, prot, flags, fd, 0);
	if (p == MAP_FAILED)
		return -errno;
	*bytes = p;
	*len = (size_t)st.st_size;
	return 0;
}

static int map_image(struct machine *m, int fd, const char *name, uint64_t addr)
{
	uint8_t *bytes;
	size_t len;
	int err = map_whole(fd, PROT_READ, MAP_PRIVATE, &bytes, &len);

	if (!err)
		m->image[m->images++] = (struct board_image){name, bytes, len, addr};
	return err;
}

int machine_map_images(struct machine *m)
{
	unsigned fd = FD_IMAGES;
	int err = 0;

	if (m->config.image && !m->media->has_image)
		err = map_image(m, m->fd[fd++], m->config.image, BOOT_SECTOR_ADDR);
	for (unsigned i = 0; i < m->config.flats && !err; i++)
		err = map_image(m, m->fd[fd++], m->config.flat[i].path, m->config.flat[i].addr);
	return err;
}

/* A file of MSG_START that may be left out: index < 0. */
static int map_given(
	struct machine *m, int index, int prot, int flags, uint8_t **bytes, size_t *len)
{
	if (index < 0)
		return 0;
	return index < (int)m->fds ? map_whole(m->fd[index], prot, flags, bytes, len) : -EIO;
}

/*
 * The user's file of variables gets what is written; a package's own only gives the start. The
 * medium given first is tried first.
 */
static int map_firmware(struct machine *m, struct board_config *bc)
{
	static const char *const first[] = {"c", "d", "a"};
	struct firmware *f = &bc->firmware;
	int vars = m->config.firmware_vars ? MAP_SHARED : MAP_PRIVATE;
	uint8_t *code = NULL, *vgabios = NULL;
	int err = map_given(m, m->firmware_fd, PROT_READ, MAP_PRIVATE, &code, &f->code_len);

	if (!err)
		err = map_given(
			m, m->vgabios_fd, PROT_READ, MAP_PRIVATE, &vgabios, &f->vgabios_len);
	if (!err)
		err = map_given(
			m, m->vars_fd, PROT_READ | PROT_WRITE, vars, &f->vars, &f->vars_len);
	f->code = code;
	f->vgabios = vgabios;
	f->boot = m->config.boot;
	if (!f->boot && m->media->has_image)
		f->boot = first[m->media->item[0].kind];
	return err;
}

/* A copy of the kernel: what was checked in it shall not change any more. */
static int read_kernel(struct machine *m, int fd, struct boot_file *f)
{
	struct stat st;
	uint8_t *p;
	size_t done = 0;

	if (fstat(fd, &st) || st.st_size <= 0)
		return -EIO;
	p = malloc((size_t)st.st_size);
	if (!p)
		return -ENOMEM;
	while (done < (size_t)st.st_size) {
		ssize_t n = pread(fd, p + done, (size_t)st.st_size - done, (off_t)done);

		if (n <= 0) {
			free(p);
			return -EIO;
		}
		done += (size_t)n;
	}
	*f = (struct boot_file){.name = m->config.kernel, .data = p, .len = done};
	return 0;
}

/* An initrd is only copied to the guest, so it may be mapped. */
static int map_module(struct boot_config *c, int fd, const struct config_module *module)
{
	uint8_t *bytes;
	size_t len;
	int err = map_whole(fd, PROT_READ, MAP_PRIVATE, &bytes, &len);

	if (!err)
		c->module[c->modules++] = (struct boot_file){
			.name = module->path, .data = bytes, .len = len, .args = module->args};
	return err;
}

int machine_open_kernel(struct machine *m)
{
	struct boot_config *c = &m->boot_config;
	static const struct config_module initramfs = {.path = "the command's RAM disk"};
	bool add = !m->config.cmdline_as_is && m->config.console != CONSOLE_SCREEN;
	unsigned fd = FD_IMAGES;
	int err;

	if (!m->config.kernel)
		return 0;
	c->cmdline = m->config.cmdline;
	c->rsdp = BOARD_RSDP;
	/* Runs under the instruction clock are all alike. */
	if (m->config.clock == CLOCK_HOST && getrandom(&c->seed, sizeof(c->seed), 0) < 0)
		return -errno;
	c->console = add ? "ttyS0" : NULL;
	m->kernel_fd = m->fd[fd++];
	err = read_kernel(m, m->kernel_fd, &c->kernel);
	for (unsigned i = 0; i < m->config.modules && !err; i++)
		err = map_module(c, m->fd[fd++], &m->config.module[i]);
	if (!err && m->initramfs_fd >= 0 && m->initramfs_fd < (int)m->fds)
		err = map_module(c, m->fd[m->initramfs_fd], &initramfs);
	return err;
}

static int plan_kernel(struct machine *m, char *err, size_t errlen)
{
	if (!m->config.kernel)
		return 0;
	m->boot = boot_new(&m->vm->mem, &m->boot_config, err, errlen);
	if (!m->boot)
		return -EINVAL;
	log_info("%s: %s", m->config.kernel, boot_note(m->boot));
	return 0;
}

void machine_forget_kernel(struct machine *m)
{
	boot_free(m->boot);
	m->boot = NULL;
	free((void *)m->boot_config.kernel.data);
	m->boot_config.kernel.data = NULL;
}

static int load_kernel(void *ctx, struct x86_state *s)
{
	struct machine *m = ctx;
	char why[256] = "it cannot be read any more";
	int err = 0;

	if (!m->boot_config.kernel.data)
		err = read_kernel(m, m->kernel_fd, &m->boot_config.kernel);
	if (!err && !m->boot)
		err = plan_kernel(m, why, sizeof(why));
	if (err)
		log_error("%s: not loaded again: %s", m->config.kernel, why);
	else
		err = boot_load(m->boot, s);
	machine_forget_kernel(m);
	return err;
}

static uint64_t entry_point(const struct config *c)
{
	if (c->has_entry || c->kernel)
		return c->entry;
	return c->flats ? c->flat[0].addr : BOOT_SECTOR_ADDR;
}

static int attach_virtio(struct board_config *bc, struct disk *disk)
{
	for (unsigned n = 0; n < CHIPSET_DISKS; n++)
		if (!bc->virtio_disk[n]) {
			bc->virtio_disk[n] = disk;
			return 0;
		}
	return -EBUSY;
}

static int attach_floppy(struct board_config *bc, struct disk *disk)
{
	unsigned n = bc->floppy[0] ? 1 : 0;

	if (bc->floppy[n])
		return -EBUSY;
	bc->floppy[n] = disk;
	return 0;
}

/* The unit asked for (1 is the first), or the first that is free of those tried in order. */
static int attach_drive(
	struct board_config *bc, enum ide_kind kind, struct disk *disk, int unit, unsigned tried)
{
	static const unsigned order[] = {0, 1, 3, 2};

	for (unsigned i = 0; i < (unit ? 1 : tried); i++) {
		struct chipset_drive *d = &bc->drive[unit ? (unsigned)unit - 1 : order[i]];

		if (d->kind)
			continue;
		*d = (struct chipset_drive){kind, disk};
		return 0;
	}
	return -EBUSY;
}

/* A CD-ROM is the second channel's master, which then is no disk's. */
static int attach(
	struct board_config *bc, enum media_kind kind, struct disk *disk, int unit, bool has_cd)
{
	switch (kind) {
	case MEDIA_FLOPPY:
		return attach_floppy(bc, disk);
	case MEDIA_VIRTIO:
		return attach_virtio(bc, disk);
	case MEDIA_CDROM:
		return attach_drive(bc, IDE_CDROM, disk, unit ? unit : CDROM_UNIT, 1);
	default:
		return attach_drive(bc, IDE_DISK, disk, unit, has_cd ? 3 : 4);
	}
}

static bool has_cdrom(const struct media *media)
{
	for (unsigned i = 0; i < media->count; i++)
		if (media->item[i].kind == MEDIA_CDROM)
			return true;
	return false;
}

static int make_disks(struct machine *m, struct board_config *bc, char *err, size_t errlen)
{
	bool has_cd = has_cdrom(m->media);

	for (unsigned i = 0; i < m->media->count; i++) {
		struct disk *d =
			disk_new(m->media->item[i].files, m->vm->loop, &m->vm->clock, err, errlen);

		if (!d)
			return -EIO;
		m->disk[m->disks++] = d;
		if (attach(bc, m->media->item[i].kind, d, m->media->item[i].unit, has_cd)) {
			snprintf(err, errlen, "%s: no drive is left for it", disk_name(d));
			return -EBUSY;
		}
	}
	if (m->media->has_image && !m->config.kernel)
		bc->boot_disk = m->disk[0];
	return 0;
}

/* The machine keeps its ends, and nothing else of what the front opened. */
static struct share *take_share(struct machine *m, struct share_server *from)
{
	int socket = fcntl(share_socket(from), F_DUPFD_CLOEXEC, 0);
	int arena = fcntl(share_arena(from), F_DUPFD_CLOEXEC, 0);

	share_close(from);
	return share_new(socket, arena, m->vm->loop, m->config.clock == CLOCK_INSTRUCTIONS);
}

static int make_shares(struct machine *m, struct board_config *bc, char *err, size_t errlen)
{
	const struct shares *from = &m->media->shares;

	for (unsigned i = 0; i < from->count; i++) {
		struct share *s = take_share(m, from->item[i]);

		if (!s) {
			snprintf(err, errlen, "no memory for shared folders");
			return -ENOMEM;
		}
		m->share[m->shares++] = s;
		bc->share[i] = (struct chipset_share){s, from->tag[i]};
	}
	return 0;
}

/* The guest's sockets: the machine keeps its end. */
static void make_vsock(struct machine *m, struct board_config *bc)
{
	struct vsock_server *from = m->media->vsock;
	int socket;

	if (!from)
		return;
	socket = fcntl(vsock_server_socket(from), F_DUPFD_CLOEXEC, 0);
	vsock_server_close(from);
	m->vsock = vsock_new(socket, m->config.vsock_cid, m->vm->loop);
	bc->vsock = m->vsock;
}

void machine_free_vsock(struct machine *m)
{
	if (m->vsock)
		vsock_free(m->vsock);
}

void machine_free_shares(struct machine *m)
{
	vm_lock(m->vm);
	for (unsigned i = 0; i < m->shares; i++)
		share_drain(m->share[i]);
	vm_unlock(m->vm);
	for (unsigned i = 0; i < m->shares; i++)
		share_free(m->share[i]);
}

/* Devices wait for nothing any more then. */
void machine_free_disks(struct machine *m)
{
	vm_lock(m->vm);
	for (unsigned i = 0; i < m->disks; i++)
		disk_drain(m->disk[i]);
	vm_unlock(m->vm);
	for (unsigned i = 0; i < m->disks; i++)
		disk_free(m->disk[i]);
}

/* Half a jail is none: without it there is no machine. */
static int confine(enum jail_kind kind)
{
	int err = jail_calls(kind);

	if (!err)
		return 0;
	log_error("the jail cannot be closed: %s; --jail off runs without", strerror(-err));
	_exit(STATUS_HOST);
}

static int confine_thread(bool vcpu)
{
	return confine(vcpu ? JAIL_VCPU : JAIL_MACHINE);
}

static int confine_disk(void)
{
	return confine(JAIL_DISK);
}

/* From here on no file is had by its path; what reads one later has done so before. */
static int close_paths(struct machine *m)
{
	tzset();
	for (unsigned i = 0; i < m->media->count; i++)
		m->media->item[i].files->confine = confine_disk;
	return jail_paths(-1, false);
}

/* A buffer of its own: stdio would ask what kind of file it is when that is forbidden. */
static FILE *open_trace(struct machine *m)
{
	int fd = m->fd[FD_TRACE], mode = isatty(fd) ? _IOLBF : _IOFBF;
	FILE *f = m->config.trace_exits ? fdopen(fd, "w") : NULL;

	if (f)
		setvbuf(f, xcalloc(1, TRACE_BUFFER), mode, TRACE_BUFFER);
	return f;
}

static void make_nets(struct machine *m, struct board_config *bc)
{
	static const char *const name[CONFIG_MAX_NETS] = {"net0", "net1", "net2", "net3"};

	for (unsigned i = 0; i < m->media->nets; i++) {
		const struct net_link *l = &m->media->net[i];

		m->net[i] = net_new(l, name[i], m->vm->loop);
		bc->net[i] = (struct chipset_net){.dev = net_dev(m->net[i]), .mtu = l->mtu};
		memcpy(bc->net[i].mac, l->mac, NET_MAC_LEN);
	}
}

void machine_free_nets(struct machine *m)
{
	for (unsigned i = 0; i < m->media->nets; i++)
		net_free(m->net[i]);
}

/* SeaBIOS's MP table has the first CPU of each package, and some systems know no other. */
static unsigned sockets(const struct machine *m)
{
	if (m->config.sockets)
		return m->config.sockets;
	return m->firmware_fd >= 0 && m->vgabios_fd >= 0 ? m->config.cpus : 1;
}

/* Where perf looks for it; what stands there is another's, and older. */
static int open_map(struct machine *m, char *err, size_t errlen)
{
	char path[64];
	int fd, status;

	if (m->config.symbols) {
		status = symbols_load(m->config.symbols, &m->symbols);
		if (status) {
			snprintf(err, errlen, "--symbols %s: %s", m->config.symbols,
				status == -EINVAL ? "lines are to be ADDRESS TYPE NAME"
						  : strerror(-status));
			return status;
		}
	}
	if (!m->config.perf_map)
		return 0;
	if (!(m->engine->caps & ENGINE_CAP_CHECKS)) {
		snprintf(err, errlen, "engine %s makes no code to name; use --engine translate",
			m->engine->name);
		return -ENOTSUP;
	}
	snprintf(path, sizeof(path), "/tmp/perf-%d.map", (int)getpid());
	unlink(path);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
	m->map = fd < 0 ? NULL : fdopen(fd, "w");
	if (!m->map) {
		snprintf(err, errlen, "--perf-map: %s: %s", path, strerror(errno));
		return -EIO;
	}
	setvbuf(m->map, xcalloc(1, TRACE_BUFFER), _IOFBF, TRACE_BUFFER);
	return 0;
}

int machine_build(struct machine *m, char *err, size_t errlen)
{
	struct vm_config vc = {.engine = m->engine,
		.ram_size = m->config.memory,
		.vcpus = m->config.cpus,
		.sockets = sockets(m),
		.model = &m->config.model,
		.clock = m->config.clock,
		.no_reboot = m->config.no_reboot,
		.triple_fault_resets = m->config.triple_fault_resets,
		.stay_halted = m->config.stay_halted,
		.time_exits = m->config.stats,
		.count_instructions = m->config.stats || m->config.result,
		.check = m->config.check,
		.torture = m->config.torture,
		.confine = m->config.jail ? confine_thread : NULL,
		.trace = open_trace(m)};
	struct board_config bc = {.image = m->image,
		.images = m->images,
		.entry = entry_point(&m->config),
		.epoch = m->config.clock == CLOCK_HOST ? (uint64_t)time(NULL) : 0,
		.serial = m->config.hvc ? NULL : &m->serial,
		.hvc = m->config.hvc ? &m->serial : NULL,
		.debug = &m->debugcon,
		.exit_port = m->config.exit_port,
		.no_exit_port = m->config.no_exit_port,
		.poweroff_stops = m->config.poweroff_stops,
		.entropy = m->config.kernel,
		.balloon = m->config.balloon,
		.testdev = m->config.testdev};

	if (open_map(m, err, errlen))
		return -EIO;
	vc.perf_map = m->map;
	vc.symbols = m->symbols;
	machine_serial_attach(m);
	m->vm = vm_new(&vc, err, errlen);
	if (!m->vm)
		return -EIO;
	if (m->config.jail && close_paths(m)) {
		snprintf(err, errlen, "the jail cannot be closed; --jail off runs without");
		return -EPERM;
	}
	if (m->config.kernel) {
		bc.load = load_kernel;
		bc.load_ctx = m;
	}
	if (map_firmware(m, &bc))
		return -EIO;
	make_nets(m, &bc);
	make_vsock(m, &bc);
	if (make_disks(m, &bc, err, errlen) || make_shares(m, &bc, err, errlen) ||
		machine_make_streams(m, &bc) || board_new(m->vm, &bc, &m->board, err, errlen))
		return -EIO;
	return plan_kernel(m, err, errlen);
}
