/*
 * front_open.c - everything that the machine needs is opened here, by the front:
 * images, firmware, disks, and where its output goes.
 */
#include "cmd/front.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "cmd/cloud_init.h"
#include "cmd/firmware.h"
#include "cmd/helper.h"
#include "cmd/listen.h"
#include "cmd/net.h"
#include "cmd/status.h"
#include "util/util.h"

#define BOOT_SECTOR_SIZE 512

static const char *open_cure(int error)
{
	if (error == ENOENT)
		return "; is the path right?";
	return error == EACCES ? "; it must be readable for you (chmod +r)" : "";
}

static int open_file(struct front *f, const char *path, struct stat *st)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0) {
		log_error("%s: %s%s", path, strerror(errno), open_cure(errno));
		return STATUS_HOST;
	}
	f->fd[f->fds++] = fd;
	if (fstat(fd, st) || !S_ISREG(st->st_mode))
		log_error("%s: %s, not a file with an image", path,
			S_ISDIR(st->st_mode) ? "a directory" : "something else");
	else if (!st->st_size)
		log_error("%s: the file is empty", path);
	else
		return STATUS_OK;
	return STATUS_HOST;
}

/* addr: where it goes in the guest's memory. */
static int open_image(struct front *f, const char *path, uint64_t addr)
{
	uint64_t memory = f->config.memory;
	struct stat st;
	int status = open_file(f, path, &st);

	if (status)
		return status;
	if (!range_in(addr, (uint64_t)st.st_size, memory))
		log_error("%s: its %lld bytes at address %llx do not fit into the guest's memory "
			  "of %llu KiB; give more with --memory",
			path, (long long)st.st_size, (unsigned long long)addr,
			(unsigned long long)(memory / KiB));
	else
		return STATUS_OK;
	return STATUS_HOST;
}

/* It must look like one. */
static int check_boot_sector(struct front *f)
{
	uint8_t sector[BOOT_SECTOR_SIZE];
	const char *path = f->config.image;

	if (pread(f->fd[f->fds - 1], sector, sizeof(sector), 0) != sizeof(sector)) {
		log_error("%s: %s", path, strerror(errno));
		return STATUS_HOST;
	}
	if (sector[510] == 0x55 && sector[511] == 0xaa)
		return STATUS_OK;
	log_error("%s: no boot sector: bytes 510 and 511 are %02X %02X, not 55 AA; "
		  "a raw image is loaded with --flat %s@ADDR",
		path, sector[510], sector[511], path);
	return STATUS_HOST;
}

/* ---- disks ---- */

static int open_medium(struct front *f, enum media_kind kind, const struct config_disk *d)
{
	const struct disk_options o = {.path = d->path,
		.format = d->format,
		.ro = d->ro || kind == MEDIA_CDROM,
		.throwaway = d->throwaway};
	char err[512];
	struct disk_files *files = disk_files_open(&o, err, sizeof(err));

	if (!files) {
		log_error("%s", err);
		return STATUS_HOST;
	}
	f->media.item[f->media.count].kind = kind;
	f->media.item[f->media.count].unit = d->unit;
	f->media.item[f->media.count++].files = files;
	return STATUS_OK;
}

/* Without firmware it lies in memory before the machine starts. */
static bool starts_bare(const struct config *c)
{
	return c->as == AS_SECTOR && c->firmware == FIRMWARE_NONE;
}

static int whole_sectors(const char *path, int64_t size)
{
	if (size % BOOT_SECTOR_SIZE == 0)
		return STATUS_OK;
	log_error("%s: %lld bytes, neither the 512 of a boot sector nor a disk of whole sectors; "
		  "--as disk takes it for one, a raw image is loaded with --flat %s@ADDR",
		path, (long long)size, path);
	return STATUS_HOST;
}

/* The command line's IMAGE: a boot sector, or a medium to boot from. */
static int open_main_image(struct front *f)
{
	static const enum media_kind kind[] = {[AS_DISK] = MEDIA_DISK,
		[AS_CD] = MEDIA_CDROM,
		[AS_FLOPPY] = MEDIA_FLOPPY,
		[AS_SECTOR] = MEDIA_DISK};
	struct config *c = &f->config;
	struct config_disk d = {.path = c->image};
	struct stat st;
	int status = open_file(f, d.path, &st);

	if (!status && c->as == AS_SECTOR)
		status = check_boot_sector(f);
	if (status || starts_bare(c))
		return status;
	if (!f->as_given)
		status = whole_sectors(d.path, st.st_size);
	close(f->fd[--f->fds]);
	f->media.has_image = true;
	return status ? status : open_medium(f, kind[c->as], &d);
}

/* Firmware finds its disks on IDE. */
static enum media_kind disk_kind(const struct config *c, const struct config_disk *d)
{
	bool virtio = d->bus == BUS_VIRTIO || (d->bus == BUS_DEFAULT && c->kernel);

	return virtio ? MEDIA_VIRTIO : MEDIA_DISK;
}

static int open_media(struct front *f)
{
	struct config *c = &f->config;
	int status = STATUS_OK;

	for (unsigned i = 0; i < c->disks && !status; i++)
		status = open_medium(f, disk_kind(c, &c->disk[i]), &c->disk[i]);
	if (!status && c->cdrom.path)
		status = open_medium(f, MEDIA_CDROM, &c->cdrom);
	for (unsigned i = 0; i < c->floppies && !status; i++)
		status = open_medium(f, MEDIA_FLOPPY, &c->floppy[i]);
	return status;
}

/* Beside the other disks: virtio with a kernel, else IDE. */
static int open_cloud_init(struct front *f)
{
	const struct config_disk seed = {.ro = true};
	struct disk_files *files;
	char err[512];

	if (!f->config.cloud.on)
		return STATUS_OK;
	files = cloud_init_seed(&f->config.cloud, err, sizeof(err));
	if (!files) {
		log_error("%s", err);
		return STATUS_HOST;
	}
	f->media.item[f->media.count].kind = disk_kind(&f->config, &seed);
	f->media.item[f->media.count++].files = files;
	return STATUS_OK;
}

/* The kernel, then what --initrd names. Whether they fit is not known yet. */
static int open_kernel(struct front *f)
{
	struct config *c = &f->config;
	struct stat st;
	char err[512];
	int status;

	if (!c->kernel)
		return STATUS_OK;
	f->one_initrd = c->initrd && cmd_file_exists(c->initrd);
	if (config_modules(c, f->one_initrd, err, sizeof(err))) {
		log_error("%s", err);
		return STATUS_USAGE;
	}
	status = f->root_kernel < 0 ? open_file(f, c->kernel, &st) : STATUS_OK;
	if (f->root_kernel >= 0)
		f->fd[f->fds++] = f->root_kernel;
	for (unsigned i = 0; i < c->modules && !status; i++)
		status = open_file(f, c->module[i].path, &st);
	return status;
}

/* ---- firmware ---- */

static bool wants_firmware(const struct front *f)
{
	const struct config *c = &f->config;

	if (c->firmware != FIRMWARE_AUTO)
		return c->firmware != FIRMWARE_NONE;
	return f->media.count && !c->kernel && !c->flats;
}

static int open_found(struct front *f, enum firmware_file which, int *index)
{
	char *path = firmware_find(which);
	struct stat st;
	int status = STATUS_HOST;

	if (path) {
		*index = (int)f->fds;
		status = open_file(f, path, &st);
	} else {
		log_error("firmware: no file of Debian's package %s is there; install it, or start "
			  "the disk's first sector bare with --firmware none",
			firmware_package(which));
	}
	free(path);
	return status;
}

/* The user's file, made from the package's empty one where it does not exist. */
static int open_vars(struct front *f)
{
	const char *path = f->config.firmware_vars;
	struct stat st;
	int from = -1, fd, status;
	char block[4096];
	ssize_t n;

	if (!path)
		return open_found(f, FIRMWARE_FILE_UEFI_VARS, &f->vars);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT) {
		status = open_found(f, FIRMWARE_FILE_UEFI_VARS, &from);
		if (status)
			return status;
		fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
		while (fd >= 0 && (n = read(f->fd[from], block, sizeof(block))) > 0)
			write_all(fd, block, (size_t)n);
		close(f->fd[--f->fds]);
	}
	if (fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode) || !st.st_size) {
		log_error("%s: %s", path, fd < 0 ? strerror(errno) : "no file with variables");
		if (fd >= 0)
			close(fd);
		return STATUS_HOST;
	}
	f->vars = (int)f->fds;
	f->fd[f->fds++] = fd;
	return STATUS_OK;
}

static int open_uefi(struct front *f)
{
	int status = open_found(f, FIRMWARE_FILE_UEFI_CODE, &f->firmware);

	return status ? status : open_vars(f);
}

static int open_bios(struct front *f)
{
	struct stat st;
	int status;

	if (f->config.firmware == FIRMWARE_PATH) {
		f->firmware = (int)f->fds;
		status = open_file(f, f->config.firmware_path, &st);
	} else {
		status = open_found(f, FIRMWARE_FILE_BIOS, &f->firmware);
	}
	if (!status && f->config.firmware_vars)
		return open_vars(f);
	return status ? status : open_found(f, FIRMWARE_FILE_VGABIOS, &f->vgabios);
}

/* A bare guest's characters are those of the VGA BIOS; without it they have no pictures. */
static void open_font(struct front *f)
{
	char *path = firmware_find(FIRMWARE_FILE_VGABIOS);
	struct stat st;

	if (path && !open_file(f, path, &st))
		f->vgabios = (int)f->fds - 1;
	free(path);
}

static int open_firmware(struct front *f)
{
	f->firmware = f->vgabios = f->vars = -1;
	if (!wants_firmware(f)) {
		open_font(f);
		return STATUS_OK;
	}
	return f->config.firmware == FIRMWARE_UEFI ? open_uefi(f) : open_bios(f);
}

static int open_images(struct front *f)
{
	struct config *c = &f->config;
	int status = STATUS_OK;

	if (c->image)
		status = open_main_image(f);
	for (unsigned i = 0; i < c->flats && !status; i++)
		status = open_image(f, c->flat[i].path, c->flat[i].addr);
	if (!status)
		status = front_open_root(f);
	if (!status)
		status = open_kernel(f);
	if (!status && f->root_initramfs >= 0) {
		f->initramfs = (int)f->fds;
		f->fd[f->fds++] = f->root_initramfs;
	}
	if (!status)
		status = open_media(f);
	if (!status)
		status = open_cloud_init(f);
	if (!status)
		status = front_open_shares(f);
	if (!status)
		status = front_open_vsock(f);
	if (!status)
		status = open_firmware(f);
	if (!status)
		status = net_open_all(c, f->media.net, &f->media.nets);
	if (!status && f->image)
		log_info("%s: taken for %s%s", f->image, image_as_name(c->as),
			f->as_given ? "" : "; --as overrules");
	return status;
}

static int open_for_writing(const char *option, const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0666);

	if (fd < 0)
		log_error("--%s %s: %s", option, path, strerror(errno));
	return fd;
}

/*
 * Raw from the start: a line that echoes would send the guest its own output
 * while nobody is connected. Our own slave descriptor keeps it up until then.
 */
static int open_slave(int pty)
{
	struct termios raw;
	int slave = open(ptsname(pty), O_RDWR | O_NOCTTY | O_CLOEXEC);

	if (slave >= 0 && !tcgetattr(slave, &raw)) {
		cfmakeraw(&raw);
		tcsetattr(slave, TCSANOW, &raw);
	}
	return slave;
}

static int open_pty(struct front *f)
{
	f->pty = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (f->pty >= 0 && !grantpt(f->pty) && !unlockpt(f->pty))
		f->slave = open_slave(f->pty);
	if (f->slave < 0) {
		log_error("--serial pty: %s", strerror(errno));
		return -1;
	}
	fcntl(f->pty, F_SETFL, O_NONBLOCK);
	log_info("the serial line is at %s", ptsname(f->pty));
	return fcntl(f->pty, F_DUPFD_CLOEXEC, 3);
}

static int open_serial(struct front *f)
{
	int pair[2];

	f->serial = -1;
	if (f->config.serial == SERIAL_FILE)
		return open_for_writing("serial", f->config.serial_path);
	if (f->config.serial == SERIAL_PTY)
		return open_pty(f);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair)) {
		log_error("a socket pair: %s", strerror(errno));
		return -1;
	}
	f->serial = pair[0];
	return pair[1];
}

static int open_screen(struct front *f)
{
	int fd = memfd_create("tinamou-screen", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, sizeof(struct shared_screen)))
		return -1;
	f->shared = mmap(NULL, sizeof(struct shared_screen), PROT_READ, MAP_SHARED, fd, 0);
	return f->shared == MAP_FAILED ? -1 : fd;
}

/* Where no file is asked for a descriptor takes its place, which nobody writes to. */
static int open_debugcon(struct front *f)
{
	if (f->config.debugcon == DEBUGCON_FILE)
		return open_for_writing("debugcon", f->config.debugcon_path);
	return dup(STDERR_FILENO);
}

static int open_picture(struct front *f)
{
	bool viewer = config_has_viewer(&f->config);
	bool wanted = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) &&
		      front_screen_on_terminal(f) && f->config.display != DISPLAY_TEXT;
	int fd = memfd_create("tinamou-picture", MFD_CLOEXEC);
	void *p;

	if (fd < 0 || (!wanted && !viewer))
		return fd;
	if (ftruncate(fd, sizeof(struct shared_picture)))
		return -1;
	if (viewer)
		return fd;
	p = mmap(NULL, sizeof(struct shared_picture), PROT_READ, MAP_SHARED, fd, 0);
	f->shared_picture = p == MAP_FAILED ? NULL : p;
	return f->shared_picture ? fd : -1;
}

/* With a desktop around, what the guest draws goes there; its text stays in the terminal. */
static bool offers_window(const struct front *f)
{
	char *path = NULL;

	if (f->config.display == DISPLAY_AUTO && f->shared_picture && !f->config.words &&
		!f->config.detach && (getenv("DISPLAY") || getenv("WAYLAND_DISPLAY")))
		path = helper_find("tinamou-window");
	free(path);
	return path;
}

static int open_gdb(struct front *f)
{
	char where[128];
	int fd = f->fds < MACHINE_MAX_FDS ? listen_open(f->config.gdb, 1, where, sizeof(where))
					  : -EMFILE;

	if (fd < 0) {
		log_error("--gdb %s: %s", f->config.gdb, strerror(-fd));
		return STATUS_HOST;
	}
	fcntl(fd, F_SETFL, O_NONBLOCK);
	f->gdb = (int)f->fds;
	f->fd[f->fds++] = fd;
	log_info("waits for GDB: target remote %s", where);
	return STATUS_OK;
}

int front_open_all(struct front *f)
{
	const char *trace = f->config.trace_file ? f->config.trace_file : NULL;

	int status;

	f->fds = FD_IMAGES;
	status = open_images(f); /* first: a run that is refused leaves no file behind */
	if (status)
		return status;
	f->fd[FD_SERIAL] = open_serial(f);
	f->fd[FD_SCREEN] = open_screen(f);
	f->fd[FD_TRACE] = trace ? open_for_writing("trace-file", trace) : dup(STDERR_FILENO);
	f->fd[FD_DEBUGCON] = open_debugcon(f);
	f->fd[FD_SCREENSHOT] = front_open_screenshot(f);
	f->fd[FD_PICTURE] = open_picture(f);
	for (unsigned i = 0; i < FD_IMAGES; i++)
		if (f->fd[i] < 0)
			return STATUS_HOST;
	if (config_has_viewer(&f->config) && viewer_prepare(&f->viewer, &f->config))
		return STATUS_HOST;
	f->viewer.when_drawn = offers_window(f);
	if (f->config.result) {
		f->result_fd = open_for_writing("result", f->config.result);
		if (f->result_fd < 0)
			return STATUS_HOST;
	}
	if (f->config.words && front_open_streams(f))
		return STATUS_HOST;
	return f->config.gdb ? open_gdb(f) : STATUS_OK;
}
