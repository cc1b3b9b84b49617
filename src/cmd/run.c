/*
 * run.c - the front process: opens everything, starts the machine process,
 * carries bytes between it and the terminal, and tells how it ended.
 *
 * The terminal is given back whatever happens to the machine: only the front
 * touches it, and it notices the machine's death by the end of its socket.
 */
#include "cmd/run.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "cmd/engines.h"
#include "cmd/firmware.h"
#include "cmd/status.h"
#include "cmd/viewer.h"
#include "core/engine.h"
#include "core/vm.h"
#include "host/picture.h"
#include "host/terminal.h"
#include "util/util.h"

#define BOOT_SECTOR_SIZE 512
#define CD_MARK          (16 * 2048 + 1)
#define FLOPPY_720K      737280
#define FLOPPY_1440K     1474560
#define FLOPPY_2880K     2949120
#define BACKLOG_MAX      65536 /* serial bytes kept while the screen is shown */
#define ESCAPE_KEY       1     /* Ctrl-A */
#define GRACE_NS         (2 * NSEC_PER_SEC)
#define DRAIN_MS         5 /* between two looks at what a reader has left */

struct front {
	struct config config;
	const struct engine_ops *engine;
	int fd[MACHINE_MAX_FDS];
	unsigned fds;
	struct media media;
	int firmware, vgabios, vars; /* indices in fd, -1: none */
	bool one_initrd;             /* all of --initrd is one file's name */
	int signals;                 /* signalfd */
	int ctl;                     /* to the machine */
	int serial;                  /* our end of the serial line, -1: none */
	int pty, slave;              /* of --serial pty, -1: none */
	pid_t pid;
	struct shared_screen *shared;
	struct shared_picture *shared_picture; /* NULL: no terminal to show it */
	bool picture_shown;
	struct screen_view *view;
	struct viewer_process viewer;

	bool terminal;      /* both standard input and output are one */
	bool screen_active; /* which side the terminal shows and types to */
	bool told_other;    /* said that the other side has output */
	struct terminal_state saved;
	bool escape;  /* Ctrl-A was typed */
	bool overlay; /* text stands over the screen until the next key */
	char backlog[BACKLOG_MAX];
	size_t backlog_len;

	uint64_t deadline, kill_at; /* host time in ns, 0: none */
	char asked, asked_signal;   /* MSG_QUIT or MSG_TIMEOUT was sent, 0: neither */
	bool killed;                /* by us: it did not answer */
	json_t *result;
	char *text; /* MSG_TEXT so far */
	size_t text_len;
	int failed; /* status of MSG_ERROR */
};

static uint64_t host_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

bool cmd_file_exists(const char *path)
{
	return access(path, F_OK) == 0;
}

static void write_all(int fd, const char *data, size_t len)
{
	while (len) {
		ssize_t n = write(fd, data, len);

		if (n < 0 && errno != EINTR && errno != EAGAIN)
			return;
		if (n > 0) {
			data += n;
			len -= (size_t)n;
		}
	}
}

/* ---- opening what the machine needs ---- */

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

/* A file of 512 bytes is a bare boot sector, and must look like one. */
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
	f->media.item[f->media.count++].files = files;
	return STATUS_OK;
}

/* By content: a CD has its mark in sector 16; a floppy is known by its size. */
static enum media_kind probe_medium(int fd, int64_t size)
{
	char mark[5];

	if (pread(fd, mark, sizeof(mark), CD_MARK) == sizeof(mark) && !memcmp(mark, "CD001", 5))
		return MEDIA_CDROM;
	return size == FLOPPY_720K || size == FLOPPY_1440K || size == FLOPPY_2880K ? MEDIA_FLOPPY
										   : MEDIA_DISK;
}

/* What the command line has beside options: a boot sector, or a medium to boot from. */
static int open_main_image(struct front *f)
{
	static const char *const name[] = {"disk", "CD-ROM", "floppy"};
	struct config_disk d = {.path = f->config.image};
	enum media_kind kind;
	struct stat st;
	int status = open_file(f, d.path, &st);

	if (status)
		return status;
	if (st.st_size == BOOT_SECTOR_SIZE && f->config.firmware <= FIRMWARE_NONE)
		return check_boot_sector(f);
	if (st.st_size % BOOT_SECTOR_SIZE) {
		log_error("%s: %lld bytes, neither the 512 of a boot sector nor a disk of whole "
			  "sectors; a raw image is loaded with --flat %s@ADDR",
			d.path, (long long)st.st_size, d.path);
		return STATUS_HOST;
	}
	kind = probe_medium(f->fd[--f->fds], st.st_size);
	close(f->fd[f->fds]);
	log_info("%s: started as a %s", d.path, name[kind]);
	f->media.has_image = true;
	return open_medium(f, kind, &d);
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
	status = open_file(f, c->kernel, &st);
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
	return f->media.count && !c->kernel && !c->flats && (f->media.has_image || !c->image);
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

static int open_firmware(struct front *f)
{
	f->firmware = f->vgabios = f->vars = -1;
	if (!wants_firmware(f))
		return STATUS_OK;
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
		status = open_kernel(f);
	if (!status)
		status = open_media(f);
	return status ? status : open_firmware(f);
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

static int open_screenshot(struct front *f)
{
	if (f->config.screenshot)
		return open_for_writing("screenshot", f->config.screenshot);
	return dup(STDERR_FILENO);
}

/* Shown by a program of its own, not on the terminal. */
static bool has_viewer(const struct config *c)
{
	return c->display == DISPLAY_WINDOW || c->display == DISPLAY_VNC;
}

static bool screen_on_terminal(const struct config *c)
{
	return c->display != DISPLAY_NONE && !has_viewer(c);
}

static int open_picture(struct front *f)
{
	bool viewer = has_viewer(&f->config);
	bool wanted = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) &&
		      screen_on_terminal(&f->config) && f->config.display != DISPLAY_TEXT;
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

static int open_all(struct front *f)
{
	const char *trace = f->config.trace_file ? f->config.trace_file : NULL;

	int status;

	f->fds = FD_IMAGES;
	if (has_viewer(&f->config) && viewer_prepare(&f->viewer, &f->config))
		return STATUS_HOST;
	status = open_images(f); /* first: a run that is refused leaves no file behind */
	if (status)
		return status;
	f->fd[FD_SERIAL] = open_serial(f);
	f->fd[FD_SCREEN] = open_screen(f);
	f->fd[FD_TRACE] = trace ? open_for_writing("trace-file", trace) : dup(STDERR_FILENO);
	f->fd[FD_DEBUGCON] = open_debugcon(f);
	f->fd[FD_SCREENSHOT] = open_screenshot(f);
	f->fd[FD_PICTURE] = open_picture(f);
	for (unsigned i = 0; i < FD_IMAGES; i++)
		if (f->fd[i] < 0)
			return STATUS_HOST;
	return STATUS_OK;
}

/* ---- starting the machine ---- */

static int send_start(struct front *f)
{
	char control[CMSG_SPACE(sizeof(int) * MACHINE_MAX_FDS)] = {0}, type = MSG_START;
	json_t *start = json_pack("{s:O, s:s, s:b, s:i, s:i, s:i}", "config", f->config.set,
		"engine", f->engine->name, "one_initrd", f->one_initrd, "firmware", f->firmware,
		"vgabios", f->vgabios, "vars", f->vars);
	char *text = json_dumps(start, JSON_COMPACT);
	struct iovec iov[2] = {{&type, 1}, {text, strlen(text)}};
	struct msghdr msg = {.msg_iov = iov,
		.msg_iovlen = 2,
		.msg_control = control,
		.msg_controllen = CMSG_SPACE(sizeof(int) * f->fds)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	ssize_t n;

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int) * f->fds);
	memcpy(CMSG_DATA(c), f->fd, sizeof(int) * f->fds);
	n = sendmsg(f->ctl, &msg, MSG_NOSIGNAL);
	free(text);
	json_decref(start);
	return n < 0 ? -errno : 0;
}

/* The locks on disk images live on with the machine's descriptors. */
static void close_media(struct front *f)
{
	for (unsigned i = 0; i < f->media.count; i++)
		disk_files_free(f->media.item[i].files);
	f->media.count = 0;
}

static void close_all(struct front *f)
{
	for (unsigned i = 0; i < f->fds; i++)
		close(f->fd[i]);
}

/* The child keeps nothing but its end of the control socket. */
static void machine_child(struct front *f, int ctl)
{
	close(f->ctl);
	close_all(f);
	if (f->serial >= 0)
		close(f->serial);
	if (f->pty >= 0)
		close(f->pty);
	if (f->slave >= 0)
		close(f->slave);
	if (f->viewer.socket >= 0)
		close(f->viewer.socket);
	close(f->signals);
	_exit(machine_main(ctl, &f->media));
}

static int start_machine(struct front *f)
{
	int pair[2];

	if (has_viewer(&f->config) && viewer_start(&f->viewer, &f->config, f->fd[FD_PICTURE]))
		goto fail;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		goto fail;
	f->ctl = pair[0];
	fflush(NULL);
	f->pid = fork();
	if (f->pid < 0)
		goto fail;
	if (!f->pid)
		machine_child(f, pair[1]);
	close(pair[1]);
	if (send_start(f))
		goto fail;
	close_all(f);
	close_media(f);
	return STATUS_OK;
fail:
	log_error("cannot start the machine process: %s", strerror(errno));
	return STATUS_HOST;
}

/* ---- what the machine says ---- */

/* The copy is read before the sequence is read again; x86 keeps loads in order, compilers do not.
 */
static inline void loads_in_order(void)
{
	__asm__ volatile("" ::: "memory");
}

static bool read_frame(const struct shared_screen *s, struct text_frame *frame)
{
	for (unsigned tries = 0; tries < 1000; tries++) {
		uint32_t before = atomic_load(&((struct shared_screen *)s)->sequence);

		*frame = s->frame;
		loads_in_order();
		if (!(before & 1) && atomic_load(&((struct shared_screen *)s)->sequence) == before)
			return frame->cols <= TEXT_MAX_COLS && frame->rows <= TEXT_MAX_ROWS;
	}
	return false;
}

/* The picture on the screen, copied; NULL: it is text. */
static uint32_t *read_picture(const struct shared_picture *s, struct picture *p)
{
	for (unsigned tries = 0; s && tries < 100; tries++) {
		uint32_t before = atomic_load(&((struct shared_picture *)s)->sequence);
		uint32_t width = s->width, height = s->height;
		uint64_t pixels = (uint64_t)width * height;

		if (!pixels || pixels > PICTURE_MAX_PIXELS)
			return NULL;
		*p = (struct picture){width, height, xcalloc(pixels, 4)};
		memcpy(p->pixel, s->pixel, pixels * 4);
		loads_in_order();
		if (!(before & 1) && atomic_load(&((struct shared_picture *)s)->sequence) == before)
			return p->pixel;
		free(p->pixel);
	}
	return NULL;
}

/* By the terminals that are known to have them. */
static bool has_sixels(const struct config *c)
{
	static const char *const known[] = {"foot", "mlterm", "yaft", "contour", "sixel"};
	const char *term = getenv("TERM"), *program = getenv("TERM_PROGRAM");
	bool found = c->display == DISPLAY_SIXEL || (program && !strcmp(program, "WezTerm"));

	for (unsigned i = 0; i < ARRAY_SIZE(known) && term; i++)
		found |= strstr(term, known[i]) != NULL;
	return found && c->display != DISPLAY_BLOCKS;
}

static void draw_picture(struct front *f, const struct picture *p, bool clear)
{
	struct winsize w = {0};
	size_t len;
	char *out;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) || !w.ws_col || !w.ws_row)
		w = (struct winsize){.ws_col = 80, .ws_row = 25};
	if (has_sixels(&f->config))
		out = picture_sixels(p, w.ws_col, w.ws_row - 1u, clear,
			w.ws_xpixel ? w.ws_xpixel / w.ws_col : 8,
			w.ws_ypixel ? w.ws_ypixel / w.ws_row : 16, &len);
	else
		out = picture_half_blocks(p, w.ws_col, w.ws_row, clear, &len);
	write_all(STDOUT_FILENO, out, len);
	free(out);
}

/* false: the screen is text. */
static bool show_picture(struct front *f)
{
	bool before = f->picture_shown;
	struct picture p;

	f->picture_shown = read_picture(f->shared_picture, &p) != NULL;
	if (f->picture_shown) {
		draw_picture(f, &p, !before);
		free(p.pixel);
	} else if (before) {
		screen_view_redraw(f->view);
	}
	return f->picture_shown;
}

/* The cursor goes below what is shown. */
static void leave_screen(struct front *f)
{
	static const char below[] = "\033[0m\033[?25h\033[999;1H\r\n";

	if (f->picture_shown)
		write_all(STDOUT_FILENO, below, strlen(below));
	else
		screen_view_leave(f->view);
	f->picture_shown = false;
}

/* Text between the guest's output; over the screen it stays until the next key. */
static void overlay(struct front *f, const char *text, size_t len)
{
	if (f->view && f->screen_active && !f->overlay)
		leave_screen(f);
	f->overlay = f->terminal && f->screen_active;
	fwrite(text, 1, len, stderr);
}

static void notice(struct front *f, const char *text)
{
	if (!f->config.quiet)
		fprintf(stderr, "%stinamou: %s\r\n", f->terminal ? "\r\n" : "", text);
}

static void tell_other_side(struct front *f)
{
	if (f->told_other || !f->terminal || f->config.console != CONSOLE_AUTO)
		return;
	f->told_other = true;
	notice(f, f->screen_active ? "there is output on the serial line; Ctrl-A Tab switches"
				   : "there is output on the screen; Ctrl-A Tab switches");
}

static void show_screen(struct front *f)
{
	struct text_frame frame;

	if (!f->terminal || !screen_on_terminal(&f->config) || !read_frame(f->shared, &frame))
		return;
	if (!f->screen_active)
		tell_other_side(f);
	else if (!f->overlay && !show_picture(f))
		screen_view_show(f->view, &frame);
}

static void add_text(struct front *f, const char *data, size_t len)
{
	f->text = xrealloc(f->text, f->text_len + len);
	memcpy(f->text + f->text_len, data, len);
	f->text_len += len;
}

/* false: the machine is gone. */
static bool machine_says(struct front *f)
{
	char buf[MACHINE_MESSAGE_MAX];
	ssize_t n = recv(f->ctl, buf, sizeof(buf), 0);

	if (n <= 0)
		return n < 0 && errno == EINTR;
	switch (buf[0]) {
	case MSG_SCREEN:
		viewer_changed(&f->viewer);
		show_screen(f);
		break;
	case MSG_TEXT:
		add_text(f, buf + 1, (size_t)n - 1);
		break;
	case MSG_REGISTERS:
		overlay(f, buf + 1, (size_t)n - 1);
		break;
	case MSG_ERROR:
		f->failed = n > 1 ? buf[1] : STATUS_HOST;
		terminal_restore(&f->saved);
		log_error("%.*s", (int)(n - 2), buf + 2);
		break;
	case MSG_RESULT:
		f->result = json_loadb(buf + 1, (size_t)n - 1, 0, NULL);
		break;
	}
	return true;
}

static bool serial_shown(const struct front *f)
{
	return !f->terminal || !f->screen_active;
}

static void serial_says(struct front *f)
{
	char buf[4096];
	ssize_t n = read(f->serial, buf, sizeof(buf));
	size_t keep;

	if (n <= 0) {
		if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
			close(f->serial);
			f->serial = -1;
		}
		return;
	}
	if (serial_shown(f)) {
		write_all(STDOUT_FILENO, buf, (size_t)n);
		return;
	}
	tell_other_side(f);
	keep = MIN((size_t)n, BACKLOG_MAX - f->backlog_len);
	memcpy(f->backlog + f->backlog_len, buf, keep);
	f->backlog_len += keep;
}

/* ---- what the user says ---- */

static void send_message(struct front *f, char type, const char *data, size_t len)
{
	char buf[512];

	buf[0] = type;
	len = MIN(len, sizeof(buf) - 1);
	memcpy(buf + 1, data, len);
	/* A machine that does not read loses keys, but cannot hold the front. */
	send(f->ctl, buf, len + 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void ask_to_quit(struct front *f, char type, char sig)
{
	f->asked = type;
	f->asked_signal = sig;
	send_message(f, type, &sig, 1);
	if (!f->kill_at)
		f->kill_at = host_ns() + GRACE_NS;
}

static void switch_side(struct front *f)
{
	f->screen_active = !f->screen_active;
	if (f->screen_active) {
		screen_view_redraw(f->view);
		show_screen(f);
		return;
	}
	f->overlay = false;
	leave_screen(f);
	write_all(STDOUT_FILENO, f->backlog, f->backlog_len);
	f->backlog_len = 0;
}

static void help(struct front *f)
{
	static const char text[] =
		"\r\nCtrl-A x  end the run        Ctrl-A h  this list\r\n"
		"Ctrl-A d  dump registers     Ctrl-A b  send BREAK\r\n"
		"Ctrl-A s  screenshot         Ctrl-A Tab  screen or serial line\r\n"
		"Ctrl-A Ctrl-A  a Ctrl-A for the guest\r\n";

	overlay(f, text, sizeof(text) - 1);
}

/* The machine writes it, into a file that the front opened: the first free number. */
static void take_screenshot(struct front *f)
{
	char control[CMSG_SPACE(sizeof(int))] = {0}, type = MSG_SCREENSHOT, text[128];
	struct iovec iov = {&type, 1};
	struct msghdr msg = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	char name[32];
	int fd = -1;

	for (unsigned i = 1; i < 1000 && (fd < 0 && (i == 1 || errno == EEXIST)); i++) {
		snprintf(name, sizeof(name), "tinamou-%u.png", i);
		fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	}
	snprintf(text, sizeof(text), "\r\ntinamou: screenshot: %s%s%s\r\n", name,
		fd < 0 ? ": " : "", fd < 0 ? strerror(errno) : "");
	overlay(f, text, strlen(text));
	if (fd < 0)
		return;
	*c = (struct cmsghdr){CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	sendmsg(f->ctl, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	close(fd);
}

static void type_bytes(struct front *f, const char *bytes, size_t len)
{
	send_message(f, f->screen_active ? MSG_KEYS : MSG_SERIAL, bytes, len);
}

static void escape_key(struct front *f, char key)
{
	static const char ctrl_a = ESCAPE_KEY;
	static const char no_monitor[] = "tinamou: the monitor is not available in this version\n";

	switch (key) {
	case 'x':
		ask_to_quit(f, MSG_QUIT, 0);
		break;
	case 'h':
	case '?':
		help(f);
		break;
	case 'b':
		send_message(f, MSG_BREAK, "", 0);
		break;
	case 'd':
		send_message(f, MSG_DUMP, "", 0);
		break;
	case 's':
		take_screenshot(f);
		break;
	case 'c':
		overlay(f, no_monitor, sizeof(no_monitor) - 1);
		break;
	case '\t':
		switch_side(f);
		break;
	case ESCAPE_KEY:
		type_bytes(f, &ctrl_a, 1);
		break;
	}
}

static void user_typed(struct front *f)
{
	char buf[256], plain[256];
	ssize_t n = read(STDIN_FILENO, buf, sizeof(buf));
	size_t len = 0;

	if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN)) {
		f->terminal = false; /* it went away: hang-up */
		ask_to_quit(f, MSG_QUIT, SIGHUP);
		return;
	}
	if (f->overlay) {
		f->overlay = false;
		show_screen(f);
	}
	for (ssize_t i = 0; i < n; i++) {
		if (f->escape)
			escape_key(f, buf[i]);
		else if (buf[i] != ESCAPE_KEY)
			plain[len++] = buf[i];
		f->escape = !f->escape && buf[i] == ESCAPE_KEY;
	}
	if (len)
		type_bytes(f, plain, len);
}

/* Standard input that is no terminal feeds the guest until its end. */
static bool input_typed(struct front *f)
{
	char buf[256];
	ssize_t n = read(STDIN_FILENO, buf, sizeof(buf));

	if (n > 0)
		type_bytes(f, buf, (size_t)n);
	return n > 0;
}

/* What its window's keyboard and mouse do is the guest's; not what closing it means. */
static void viewer_says(struct front *f)
{
	struct viewer_event e;

	if (!viewer_hear(&f->viewer, &e))
		return;
	if (e.kind == VIEWER_CLOSE)
		ask_to_quit(f, MSG_QUIT, 0);
	else
		send_message(f, MSG_VIEWER, (const char *)&e, sizeof(e));
}

/* ---- the loop ---- */

static void redraw(struct front *f)
{
	if (!f->view || !f->screen_active || f->overlay)
		return;
	if (f->picture_shown)
		show_screen(f);
	else
		screen_view_redraw(f->view);
}

/* Stops as other programs do, with the terminal in order; goes on where it was. */
static void suspend(struct front *f)
{
	if (f->view && f->screen_active)
		leave_screen(f);
	terminal_restore(&f->saved);
	raise(SIGSTOP);
	if (f->terminal)
		terminal_raw(&f->saved);
	redraw(f);
}

static void got_signal(struct front *f)
{
	struct signalfd_siginfo info;

	if (read(f->signals, &info, sizeof(info)) != sizeof(info))
		return;
	switch (info.ssi_signo) {
	case SIGTSTP:
		suspend(f);
		break;
	case SIGWINCH:
		redraw(f);
		break;
	default:
		ask_to_quit(f, MSG_QUIT, (char)info.ssi_signo);
	}
}

static int next_timeout(struct front *f)
{
	uint64_t now = host_ns(), at = f->deadline;

	if (f->kill_at && (!at || f->kill_at < at))
		at = f->kill_at;
	if (!at)
		return -1;
	return at > now ? (int)MIN((at - now) / 1000000 + 1, 1000000) : 0;
}

static void check_times(struct front *f)
{
	uint64_t now = host_ns();

	if (f->deadline && now >= f->deadline) {
		f->deadline = 0;
		ask_to_quit(f, MSG_TIMEOUT, 0);
	}
	if (f->kill_at && now >= f->kill_at) {
		f->kill_at = 0;
		log_warn("the machine does not answer; it is killed");
		f->killed = true;
		kill(f->pid, SIGKILL);
	}
}

/* Somebody is connected to --serial pty and has not read all of it. */
static bool pty_unread(int pty)
{
	struct pollfd master = {pty, 0, 0}, slave = {-1, POLLIN, 0};

	poll(&master, 1, 0);
	if (master.revents & POLLHUP)
		return false;
	slave.fd = open(ptsname(pty), O_RDWR | O_NOCTTY | O_CLOEXEC);
	poll(&slave, 1, 0);
	close(slave.fd);
	return slave.revents & POLLIN;
}

/*
 * The kernel drops what is unread when the master is closed, so a reader gets
 * some time for it; a signal ends that.
 */
static void drain_pty(struct front *f)
{
	struct pollfd signals = {f->signals, POLLIN, 0};
	uint64_t end = host_ns() + GRACE_NS;

	if (f->pty < 0 || f->asked == MSG_QUIT)
		return;
	close(f->slave);
	f->slave = -1;
	while (host_ns() < end && pty_unread(f->pty) && poll(&signals, 1, DRAIN_MS) <= 0)
		;
}

/* What was said before the end. */
static void drain_serial(struct front *f)
{
	while (f->serial >= 0) {
		struct pollfd p = {f->serial, POLLIN, 0};

		if (poll(&p, 1, 0) <= 0)
			break;
		serial_says(f);
	}
	drain_pty(f);
}

static void front_loop(struct front *f)
{
	bool input = f->terminal || f->config.console != CONSOLE_NONE;
	bool alive = true;

	while (alive) {
		struct pollfd p[5] = {
			{f->ctl, POLLIN, 0},
			{f->serial, POLLIN, 0},
			{input ? STDIN_FILENO : -1, POLLIN, 0},
			{f->signals, POLLIN, 0},
			{f->viewer.socket, POLLIN, 0},
		};

		if (poll(p, 5, next_timeout(f)) < 0 && errno != EINTR)
			break;
		check_times(f);
		if (p[3].revents)
			got_signal(f);
		if (p[4].revents)
			viewer_says(f);
		if (p[1].revents)
			serial_says(f);
		if (p[0].revents)
			alive = machine_says(f);
		if (p[2].revents && f->terminal)
			user_typed(f);
		else if (p[2].revents)
			input = input_typed(f);
	}
	drain_serial(f);
}

/* ---- the end ---- */

static const struct {
	int end, status;
	bool error; /* the reason is said even with -q */
} ends[] = {
	{VM_END_POWEROFF, STATUS_OK, false},
	{VM_END_HALTED, STATUS_OK, false},
	{VM_END_BIOS_CALL, STATUS_HALTED, true},
	{VM_END_TRIPLE_FAULT, STATUS_TRIPLE_FAULT, true},
	{VM_END_RESET, STATUS_RESET, false},
	{VM_END_PANIC, STATUS_PANIC, true},
	{VM_END_TIMEOUT, STATUS_TIMEOUT, true},
	{VM_END_QUIT, STATUS_OK, false},
	{VM_END_HOST_ERROR, STATUS_HOST, true},
};

static void show_end(struct front *f)
{
	struct text_frame frame;
	char *text;

	if (f->view)
		leave_screen(f);
	terminal_restore(&f->saved);
	if (!f->terminal && screen_on_terminal(&f->config) &&
		json_is_true(json_object_get(f->result, "screen")) &&
		read_frame(f->shared, &frame)) {
		text = screen_text(&frame);
		write_all(STDOUT_FILENO, text, strlen(text));
		free(text);
	}
	if (f->text_len)
		write_all(STDOUT_FILENO, f->text, f->text_len);
}

static void hint_if_silent(struct front *f)
{
	if (json_is_true(json_object_get(f->result, "screen")) ||
		json_is_true(json_object_get(f->result, "serial")) || !f->config.image)
		return;
	log_info("the guest wrote nothing, neither to the screen nor to the serial line; "
		 "was it made to run at address 0? Then try --flat %s@0",
		f->config.image);
}

/* Dies as the sender of the signal expects; returns if there was none. */
static void die_by(int sig)
{
	sigset_t set;

	if (!sig)
		return;
	sigemptyset(&set);
	sigaddset(&set, sig);
	signal(sig, SIG_DFL);
	raise(sig);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
}

static int died(struct front *f)
{
	int status = 0;

	waitpid(f->pid, &status, 0);
	if (f->failed)
		return f->failed;
	if (f->killed) {
		die_by(f->asked_signal);
		return f->asked == MSG_TIMEOUT ? STATUS_TIMEOUT : STATUS_OK;
	}
	if (WIFSIGNALED(status))
		log_error("the machine process was killed by signal %d (%s)", WTERMSIG(status),
			strsignal(WTERMSIG(status)));
	else
		log_error("the machine process ended with status %d and no result",
			WEXITSTATUS(status));
	return STATUS_HOST;
}

static int finish(struct front *f)
{
	int end, value, status = STATUS_HOST;
	bool error = true;
	const char *why;

	show_end(f);
	if (!f->result)
		return died(f);
	waitpid(f->pid, NULL, 0);
	end = (int)json_integer_value(json_object_get(f->result, "end"));
	value = (int)json_integer_value(json_object_get(f->result, "value"));
	why = json_string_value(json_object_get(f->result, "why"));
	for (unsigned i = 0; i < ARRAY_SIZE(ends); i++) {
		if (ends[i].end != end)
			continue;
		status = ends[i].status;
		error = ends[i].error;
	}
	if (end == VM_END_TESTPORT)
		return ((value << 1) | 1) & 0xff;
	if (error)
		log_error("%s", why ? why : "?");
	else
		log_info("%s", why ? why : "?");
	if (end == VM_END_HALTED || end == VM_END_TIMEOUT)
		hint_if_silent(f);
	if (end == VM_END_QUIT)
		die_by(value);
	return status;
}

/* ---- the subcommand ---- */

/* They are read from a descriptor, between other events. The machine inherits the mask. */
static void catch_signals(struct front *f)
{
	static const int list[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH, SIGTSTP};
	sigset_t set;

	sigemptyset(&set);
	for (unsigned i = 0; i < ARRAY_SIZE(list); i++)
		sigaddset(&set, list[i]);
	sigprocmask(SIG_BLOCK, &set, NULL);
	f->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	signal(SIGPIPE, SIG_IGN);
}

static int choose_engine(struct front *f)
{
	char why[512], err[512];

	f->engine = engine_choose(f->config.engine, why, sizeof(why), err, sizeof(err));
	if (!f->engine) {
		log_error("%s", err);
		return STATUS_ENGINE;
	}
	if (why[0])
		log_info("%s", why);
	return STATUS_OK;
}

static void take_terminal(struct front *f)
{
	f->terminal =
		isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) && f->config.console != CONSOLE_NONE;
	f->screen_active = f->config.console != CONSOLE_SERIAL && screen_on_terminal(&f->config) &&
			   !(f->config.console == CONSOLE_AUTO && f->config.kernel);
	if (!f->terminal)
		return;
	f->view = screen_view_new(STDOUT_FILENO);
	if (terminal_raw(&f->saved))
		f->terminal = false;
}

static int run_machine(struct front *f)
{
	int status = choose_engine(f);

	if (!status)
		status = open_all(f);
	if (status)
		return status;
	catch_signals(f);
	status = start_machine(f);
	if (status)
		return status;
	if (f->config.timeout)
		f->deadline = host_ns() + f->config.timeout * NSEC_PER_SEC;
	take_terminal(f);
	front_loop(f);
	viewer_stop(&f->viewer);
	return finish(f);
}

static int print_config(const struct config *c)
{
	char *text = json_dumps(c->set, JSON_INDENT(2));

	puts(text);
	free(text);
	return STATUS_OK;
}

static int run_help(void)
{
	puts("tinamou run [OPTIONS] IMAGE\ntinamou run [OPTIONS] --kernel FILE\n\n"
	     "IMAGE is a disk, CD-ROM or floppy image, or a boot sector of 512 bytes.\n");
	config_print_options();
	puts("\nTINAMOU_ENGINE and TINAMOU_OPTIONS in the environment come before these.");
	return STATUS_OK;
}

static const char *wrong_combination(const struct config *c)
{
	if (!c->image && !c->flats && !c->kernel && !c->disks && !c->cdrom.path && !c->floppies &&
		c->firmware <= FIRMWARE_NONE)
		return "no image; 'tinamou' alone shows examples";
	if (c->image && c->flats)
		return "a boot sector and --flat images do not go together; "
		       "load all of them with --flat FILE@ADDR";
	if (c->kernel && (c->image || c->flats))
		return "--kernel starts by itself; leave the boot sector and --flat away";
	if ((c->initrd || c->cmdline) && !c->kernel)
		return "--initrd, --append and --cmdline are for a --kernel; name one";
	if (c->trace_file && !c->trace_exits)
		return "--trace-file FILE goes with --trace exits";
	if (c->debugcon == DEBUGCON_STDIO && c->serial > SERIAL_NONE)
		return "--debugcon stdio shows its output where --serial stdio does; "
		       "with another --serial use --debugcon file:PATH";
	return NULL;
}

static int usage_error(const char *err)
{
	fprintf(stderr, "tinamou: %s\n", err);
	return STATUS_USAGE;
}

static int run_with(struct front *f, int argc, char **argv)
{
	char err[512];

	if (config_environment(&f->config, err, sizeof(err)) ||
		config_parse(&f->config, argc, argv, err, sizeof(err)))
		return usage_error(err);
	if (f->config.help)
		return run_help();
	if (f->config.print_config)
		return print_config(&f->config);
	if (wrong_combination(&f->config))
		return usage_error(wrong_combination(&f->config));
	log_level = f->config.quiet ? LOG_WARN : f->config.verbose ? LOG_DEBUG : LOG_INFO;
	return run_machine(f);
}

int cmd_run(int argc, char **argv)
{
	struct front f = {
		.serial = -1, .pty = -1, .slave = -1, .signals = -1, .viewer = VIEWER_NONE};
	int status;

	config_init(&f.config);
	status = run_with(&f, argc, argv);
	viewer_stop(&f.viewer);
	if (f.view)
		screen_view_free(f.view);
	json_decref(f.result);
	free(f.text);
	config_free(&f.config);
	return status;
}
