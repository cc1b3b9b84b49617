/*
 * machine.c - the machine process: builds the board from MSG_START, runs it,
 * reports how it ended. Opens nothing by path. See run.h.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "board/board.h"
#include "boot/boot.h"
#include "cmd/engines.h"
#include "cmd/run.h"
#include "cmd/status.h"
#include "host/picture.h"
#include "util/util.h"

#define SCREEN_INTERVAL_NS 25000000
#define PICTURE_TICKS      4
#define SERIAL_BUFFER_MAX  (4 * MiB)
#define SERIAL_INPUT_MAX   65536

struct machine {
	int ctl;
	int fd[MACHINE_MAX_FDS];
	unsigned fds;
	struct config config;
	const struct engine_ops *engine;
	struct vm *vm;
	struct media *media;
	struct disk *disk[ARRAY_SIZE(((struct media *)0)->item)];
	unsigned disks;
	struct board *board;
	struct board_image image[CONFIG_MAX_FLATS + 1];
	unsigned images;
	int firmware_fd, vgabios_fd, vars_fd; /* indices in fd, -1: none */
	struct boot_config boot_config;
	int kernel_fd;
	struct boot *boot; /* NULL: images are started */
	struct shared_screen *screen;
	struct shared_picture *picture; /* NULL: nobody looks */
	unsigned ticks;
	uint64_t generation;
	int tick;

	struct chardev serial, debugcon;
	struct loop_fd *serial_watch;
	uint8_t *serial_out; /* what the front has not taken yet */
	size_t serial_len, serial_out_room;
	bool serial_touched;
	uint8_t serial_in[SERIAL_INPUT_MAX]; /* what the UART had no room for */
	size_t serial_in_len;
};

/* ---- talking to the front ---- */

static void send_message(struct machine *m, char type, const void *data, size_t len)
{
	char buf[MACHINE_MESSAGE_MAX];
	ssize_t n;

	len = MIN(len, sizeof(buf) - 1);
	buf[0] = type;
	memcpy(buf + 1, data, len);
	do
		n = send(m->ctl, buf, len + 1, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
}

static int cannot_start(struct machine *m, int status, const char *why)
{
	char buf[1024];

	buf[0] = (char)status;
	snprintf(buf + 1, sizeof(buf) - 1, "%s", why);
	send_message(m, MSG_ERROR, buf, strlen(buf + 1) + 1);
	return status;
}

static void take_descriptors(struct machine *m, struct msghdr *msg)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		m->fds = (unsigned)MIN(n, MACHINE_MAX_FDS);
		memcpy(m->fd, CMSG_DATA(c), m->fds * sizeof(int));
	}
}

static json_t *receive_start(struct machine *m)
{
	char buf[MACHINE_MESSAGE_MAX], control[CMSG_SPACE(sizeof(int) * MACHINE_MAX_FDS)];
	struct iovec iov = {buf, sizeof(buf)};
	struct msghdr msg = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control)};
	ssize_t n = recvmsg(m->ctl, &msg, MSG_CMSG_CLOEXEC);

	if (n < 1 || buf[0] != MSG_START)
		return NULL;
	take_descriptors(m, &msg);
	return json_loadb(buf + 1, (size_t)n - 1, 0, NULL);
}

/* ---- serial line ---- */

/* Waits for output that got stuck, and for input while the last one was taken. */
static void serial_wait(struct machine *m)
{
	if (m->serial_watch)
		loop_set_events(m->serial_watch,
			(m->serial_in_len ? 0 : EPOLLIN) | (m->serial_len ? EPOLLOUT : 0));
}

static void serial_flush(struct machine *m)
{
	size_t done = 0;

	while (done < m->serial_len) {
		ssize_t n = write(m->fd[FD_SERIAL], m->serial_out + done, m->serial_len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n <= 0) {
			vm_end(m->vm, VM_END_HOST_ERROR, 0, "--serial: %s", strerror(errno));
			done = m->serial_len;
			break;
		}
		done += (size_t)n;
	}
	memmove(m->serial_out, m->serial_out + done, m->serial_len - done);
	m->serial_len -= done;
	serial_wait(m);
}

/* The UART has room: it gets what waits for it. */
static void serial_room(void *backend)
{
	struct machine *m = backend;
	size_t taken =
		m->serial_in_len ? chardev_input(&m->serial, m->serial_in, m->serial_in_len) : 0;

	m->serial_in_len -= taken;
	memmove(m->serial_in, m->serial_in + taken, m->serial_in_len);
	serial_wait(m);
}

/* Typed faster than the guest reads: kept, as far as there is room. */
static void serial_input(struct machine *m, const void *data, size_t len)
{
	len = MIN(len, SERIAL_INPUT_MAX - m->serial_in_len);
	memcpy(m->serial_in + m->serial_in_len, data, len);
	m->serial_in_len += len;
	serial_room(m);
}

/* To the front, or into the file: the serial line's output, and port E9h's beside it. */
static void terminal_write(void *backend, const uint8_t *data, size_t len)
{
	struct machine *m = backend;

	if (m->serial_len + len > SERIAL_BUFFER_MAX) /* the reader sleeps: wait, do not lose */
		len = 0,
		vm_end(m->vm, VM_END_HOST_ERROR, 0, "--serial: nobody reads its output any more");
	if (m->serial_len + len > m->serial_out_room) {
		m->serial_out_room = (m->serial_len + len) * 2 + 4096;
		m->serial_out = xrealloc(m->serial_out, m->serial_out_room);
	}
	memcpy(m->serial_out + m->serial_len, data, len);
	m->serial_len += len;
	serial_flush(m);
}

static void serial_write(void *backend, const uint8_t *data, size_t len)
{
	struct machine *m = backend;

	m->serial_touched = true;
	if (m->config.serial != SERIAL_NONE)
		terminal_write(m, data, len);
}

static void debugcon_write_file(void *backend, const uint8_t *data, size_t len)
{
	struct machine *m = backend;

	while (len) {
		ssize_t n = write(m->fd[FD_DEBUGCON], data, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			vm_end(m->vm, VM_END_HOST_ERROR, 0, "--debugcon: %s", strerror(errno));
			return;
		}
		data += n;
		len -= (size_t)n;
	}
}

static void serial_ready(void *ctx, uint32_t events)
{
	struct machine *m = ctx;
	uint8_t buf[256];
	ssize_t n;

	if (events & EPOLLOUT)
		serial_flush(m);
	if (!(events & (EPOLLIN | EPOLLHUP)))
		return;
	n = read(m->fd[FD_SERIAL], buf, sizeof(buf));
	if (n > 0) {
		serial_input(m, buf, (size_t)n);
	} else if (n == 0 || errno != EAGAIN) {
		loop_remove(m->serial_watch);
		m->serial_watch = NULL;
	}
}

/* ---- screen ---- */

static void show_screen(struct machine *m)
{
	static const char screen_message = MSG_SCREEN;
	struct shared_screen *s = m->screen;
	struct text_frame frame;

	board_screen(m->board, &frame);
	if (frame.generation == m->generation)
		return;
	atomic_fetch_add(&s->sequence, 1);
	s->frame = frame;
	atomic_fetch_add(&s->sequence, 1);
	/* A front that is busy is told at the next tick: vm->lock waits for nobody. */
	if (send(m->ctl, &screen_message, 1, MSG_NOSIGNAL | MSG_DONTWAIT) == 1)
		m->generation = frame.generation;
}

static void share_picture(struct machine *m, const struct picture *p)
{
	static const char screen_message = MSG_SCREEN;
	struct shared_picture *s = m->picture;
	size_t pixels = (size_t)p->width * p->height;
	bool same = s->width == p->width && s->height == p->height;

	if (pixels > PICTURE_MAX_PIXELS || (same && !memcmp(s->pixel, p->pixel, pixels * 4)))
		return;
	atomic_fetch_add(&s->sequence, 1);
	s->width = p->width;
	s->height = p->height;
	if (pixels)
		memcpy(s->pixel, p->pixel, pixels * 4);
	atomic_fetch_add(&s->sequence, 1);
	send(m->ctl, &screen_message, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* A viewer is shown text as a picture, a terminal is not. */
static bool picture_wanted(const struct machine *m)
{
	return m->config.display == DISPLAY_VNC || m->config.display == DISPLAY_WINDOW ||
	       board_screen_graphics(m->board);
}

/* Frame buffers are not watched: pictures are drawn and compared, less often than text. */
static void show_picture(struct machine *m)
{
	struct picture p = {0};

	if (picture_wanted(m)) {
		if (m->ticks++ % PICTURE_TICKS)
			return;
		board_picture(m->board, &p);
	}
	if (p.pixel || m->picture->width)
		share_picture(m, &p);
	free(p.pixel);
}

static void on_tick(void *ctx, uint32_t events)
{
	struct machine *m = ctx;
	uint64_t n;

	if (read(m->tick, &n, sizeof(n)) <= 0)
		return;
	if (m->picture)
		show_picture(m);
	show_screen(m);
}

/* ---- memory dumps and statistics ---- */

static void dump_line(FILE *out, uint64_t addr, const uint8_t *p, size_t n)
{
	fprintf(out, "%08" PRIx64 " ", addr);
	for (size_t i = 0; i < 16; i++)
		i < n ? fprintf(out, " %02x", p[i]) : fprintf(out, "   ");
	fprintf(out, "  ");
	for (size_t i = 0; i < n; i++)
		fputc(p[i] >= 0x20 && p[i] < 0x7f ? p[i] : '.', out);
	fputc('\n', out);
}

static void dump_memory(struct machine *m, FILE *out, const struct config_dump *d)
{
	uint8_t line[16];

	for (uint64_t done = 0; done < d->len; done += sizeof(line)) {
		size_t n = MIN(sizeof(line), d->len - done);

		if (mem_read(&m->vm->mem, d->addr + done, line, n)) {
			fprintf(out, "%08" PRIx64 "  (no memory)\n", d->addr + done);
			return;
		}
		dump_line(out, d->addr + done, line, n);
	}
}

static void print_stats(struct machine *m, FILE *out)
{
	struct vm *vm = m->vm;
	uint64_t executed = 0, handled = 0;

	fprintf(out, "\n%-18s %10s %12s\n", "exit", "count", "time");
	for (unsigned r = 0; r < EXIT_REASONS; r++) {
		struct exit_stat sum = {0};

		for (unsigned i = 0; i < vm->vcpus; i++) {
			sum.count += vm->vcpu[i]->stat[r].count;
			sum.nsec += vm->vcpu[i]->stat[r].nsec;
		}
		handled += sum.nsec;
		if (sum.count)
			fprintf(out, "%-18s %10" PRIu64 " %9.3f ms\n", exit_reason_name[r],
				sum.count, (double)sum.nsec / 1e6);
	}
	for (unsigned i = 0; i < vm->vcpus; i++)
		executed += atomic_load(&vm->vcpu[i]->executed);
	fprintf(out, "engine %s, run time %.3f ms, of it in devices %.3f ms\n",
		vm->engine->ops->name, (double)vm->run_ns / 1e6, (double)handled / 1e6);
	if (executed)
		fprintf(out, "%" PRIu64 " instructions, %.1f M/s\n", executed,
			(double)executed * 1e3 / (double)vm->run_ns);
	if (vm->engine->ops->report)
		vm->engine->ops->report(vm->engine, out);
}

static void report_text(struct machine *m)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	for (unsigned i = 0; i < m->config.dumps; i++)
		dump_memory(m, out, &m->config.dump[i]);
	if (m->config.stats)
		print_stats(m, out);
	fclose(out);
	for (size_t at = 0; at < len; at += MACHINE_MESSAGE_MAX - 1)
		send_message(m, MSG_TEXT, text + at, MIN(len - at, MACHINE_MESSAGE_MAX - 1));
	free(text);
}

static void save_picture(struct machine *m, int fd)
{
	struct picture p = {0};
	int error;

	board_picture(m->board, &p);
	error = png_write(fd, &p);
	if (error)
		log_error("the screenshot: %s", strerror(-error));
	free(p.pixel);
}

/* Ctrl-A d: registers of all vCPUs. */
static void dump_registers(struct machine *m)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	vm_pause(m->vm);
	for (unsigned i = 0; i < m->vm->vcpus; i++) {
		struct x86_state s = {0};

		fprintf(out, "cpu%u\n", i);
		if (!vcpu_get(m->vm->vcpu[i], &s, X86_GROUP_ALL))
			x86_state_print(&s, out);
	}
	vm_resume(m->vm);
	fclose(out);
	send_message(m, MSG_REGISTERS, text, len);
	free(text);
}

/* ---- requests ---- */

static void from_viewer(struct machine *m, const void *data, size_t len)
{
	struct viewer_event e;

	if (len != sizeof(e))
		return;
	memcpy(&e, data, sizeof(e));
	if (e.kind == VIEWER_KEY)
		board_key(m->board, e.key, e.down);
	else if (e.kind == VIEWER_POINTER)
		board_mouse(m->board, e.dx, e.dy, e.buttons & 7);
}

static void serve(struct machine *m, char type, const char *data, size_t len)
{
	switch (type) {
	case MSG_KEYS:
		board_type(m->board, data, len);
		break;
	case MSG_VIEWER:
		from_viewer(m, data, len);
		break;
	case MSG_SERIAL:
		serial_input(m, data, len);
		break;
	case MSG_BREAK:
		if (m->serial.brk)
			m->serial.brk(m->serial.device);
		break;
	case MSG_DUMP:
		dump_registers(m);
		break;
	case MSG_QUIT:
		vm_end(m->vm, VM_END_QUIT, len ? data[0] : 0, "ended by the user");
		break;
	case MSG_TIMEOUT:
		vm_end(m->vm, VM_END_TIMEOUT, 0, "no end within %u s", m->config.timeout);
		break;
	}
}

/* The descriptor of a message, or -1. */
static int message_descriptor(struct msghdr *msg)
{
	struct cmsghdr *c = CMSG_FIRSTHDR(msg);
	int fd = -1;

	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
		memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	return fd;
}

static void on_control(void *ctx, uint32_t events)
{
	struct machine *m = ctx;
	char buf[4096], control[CMSG_SPACE(sizeof(int))];
	struct iovec iov = {buf, sizeof(buf)};
	struct msghdr msg = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control)};
	ssize_t n = recvmsg(m->ctl, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	int fd = n > 0 ? message_descriptor(&msg) : -1;

	if (n > 0 && buf[0] == MSG_SCREENSHOT && fd >= 0)
		save_picture(m, fd);
	else if (n > 0)
		serve(m, buf[0], buf + 1, (size_t)n - 1);
	else if (n == 0 || (errno != EAGAIN && errno != EINTR))
		_exit(STATUS_HOST); /* the front is gone: nobody to run for */
	if (fd >= 0)
		close(fd);
}

/* ---- start ---- */

static int map_image(struct machine *m, int fd, const char *name, uint64_t addr)
{
	struct board_image *im = &m->image[m->images];
	struct stat st;
	void *p;

	if (fstat(fd, &st) || st.st_size <= 0)
		return -EIO;
	p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (p == MAP_FAILED)
		return -errno;
	*im = (struct board_image){name, p, (size_t)st.st_size, addr};
	m->images++;
	return 0;
}

static int map_images(struct machine *m)
{
	unsigned fd = FD_IMAGES;
	int err = 0;

	if (m->config.image && !m->media->has_image)
		err = map_image(m, m->fd[fd++], m->config.image, BOOT_SECTOR_ADDR);
	for (unsigned i = 0; i < m->config.flats && !err; i++)
		err = map_image(m, m->fd[fd++], m->config.flat[i].path, m->config.flat[i].addr);
	return err;
}

/* All of a file; its descriptor is at that index. */
static int map_file(struct machine *m, int index, const uint8_t **bytes, size_t *len)
{
	struct stat st;
	void *p;

	if (index < 0)
		return 0;
	if (index >= (int)m->fds || fstat(m->fd[index], &st) || st.st_size <= 0)
		return -EIO;
	p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, m->fd[index], 0);
	if (p == MAP_FAILED)
		return -errno;
	*bytes = p;
	*len = (size_t)st.st_size;
	return 0;
}

/* The user's file gets what is written; a package's own only gives the start. */
static int map_vars(struct machine *m, struct firmware *f)
{
	bool users = m->config.firmware_vars;
	struct stat st;
	void *p;

	if (m->vars_fd < 0)
		return 0;
	if (m->vars_fd >= (int)m->fds || fstat(m->fd[m->vars_fd], &st) || st.st_size <= 0)
		return -EIO;
	p = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, users ? MAP_SHARED : MAP_PRIVATE,
		m->fd[m->vars_fd], 0);
	if (p == MAP_FAILED)
		return -errno;
	f->vars = p;
	f->vars_len = (size_t)st.st_size;
	return 0;
}

/* The medium given first is tried first. */
static int map_firmware(struct machine *m, struct board_config *bc)
{
	static const char *const first[] = {"c", "d", "a"};
	struct firmware *f = &bc->firmware;
	int err = map_file(m, m->firmware_fd, &f->code, &f->code_len);

	if (!err)
		err = map_file(m, m->vgabios_fd, &f->vgabios, &f->vgabios_len);
	if (!err)
		err = map_vars(m, f);
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
	struct stat st;
	void *p;

	if (fstat(fd, &st) || st.st_size <= 0)
		return -EIO;
	p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (p == MAP_FAILED)
		return -errno;
	c->module[c->modules++] = (struct boot_file){
		.name = module->path, .data = p, .len = (size_t)st.st_size, .args = module->args};
	return 0;
}

static int open_kernel(struct machine *m)
{
	struct boot_config *c = &m->boot_config;
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

/* Unpacked, a kernel is large. A reset reads it again, and checks it again. */
static void forget_kernel(struct machine *m)
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
	forget_kernel(m);
	return err;
}

static uint64_t entry_point(const struct config *c)
{
	if (c->has_entry || c->kernel)
		return c->entry;
	return c->flats ? c->flat[0].addr : BOOT_SECTOR_ADDR;
}

static int map_screen(struct machine *m)
{
	void *p = mmap(NULL, sizeof(struct shared_screen), PROT_READ | PROT_WRITE, MAP_SHARED,
		m->fd[FD_SCREEN], 0);

	m->screen = p == MAP_FAILED ? NULL : p;
	return m->screen ? 0 : -errno;
}

static int map_picture(struct machine *m)
{
	struct stat st;
	void *p;

	if (fstat(m->fd[FD_PICTURE], &st) || st.st_size < (off_t)sizeof(*m->picture))
		return 0;
	p = mmap(NULL, sizeof(*m->picture), PROT_READ | PROT_WRITE, MAP_SHARED, m->fd[FD_PICTURE],
		0);
	m->picture = p == MAP_FAILED ? NULL : p;
	return m->picture ? 0 : -errno;
}

static int watch(struct machine *m)
{
	struct itimerspec every = {{0, SCREEN_INTERVAL_NS}, {0, SCREEN_INTERVAL_NS}};

	m->tick = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (m->tick < 0 || timerfd_settime(m->tick, 0, &every, NULL))
		return -errno;
	loop_add(m->vm->loop, m->tick, EPOLLIN, on_tick, m);
	loop_add(m->vm->loop, m->ctl, EPOLLIN, on_control, m);
	/* A regular file cannot be watched and is never busy. */
	if (m->config.serial != SERIAL_FILE)
		m->serial_watch = loop_add(m->vm->loop, m->fd[FD_SERIAL], EPOLLIN, serial_ready, m);
	return 0;
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

/* The first unit of that kind that is free: a CD-ROM is the second channel's master. */
static int attach(struct board_config *bc, enum media_kind kind, struct disk *disk, bool has_cd)
{
	static const unsigned disk_unit[] = {0, 1, 3, 2};
	unsigned units = has_cd ? 3 : 4;

	if (kind == MEDIA_FLOPPY) {
		unsigned n = bc->floppy[0] ? 1 : 0;

		if (bc->floppy[n])
			return -EBUSY;
		bc->floppy[n] = disk;
		return 0;
	}
	if (kind == MEDIA_VIRTIO)
		return attach_virtio(bc, disk);
	if (kind == MEDIA_CDROM) {
		if (bc->drive[2].kind)
			return -EBUSY;
		bc->drive[2] = (struct chipset_drive){IDE_CDROM, disk};
		return 0;
	}
	for (unsigned i = 0; i < units; i++) {
		struct chipset_drive *d = &bc->drive[disk_unit[i]];

		if (d->kind)
			continue;
		*d = (struct chipset_drive){IDE_DISK, disk};
		return 0;
	}
	return -EBUSY;
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
		if (attach(bc, m->media->item[i].kind, d, has_cd)) {
			snprintf(err, errlen, "%s: no drive is left for it", disk_name(d));
			return -EBUSY;
		}
	}
	if (m->media->has_image && !m->config.kernel)
		bc->boot_disk = m->disk[0];
	return 0;
}

/* Devices wait for nothing any more then. */
static void free_disks(struct machine *m)
{
	vm_lock(m->vm);
	for (unsigned i = 0; i < m->disks; i++)
		disk_drain(m->disk[i]);
	vm_unlock(m->vm);
	for (unsigned i = 0; i < m->disks; i++)
		disk_free(m->disk[i]);
}

static int build(struct machine *m, char *err, size_t errlen)
{
	struct vm_config vc = {.engine = m->engine,
		.ram_size = m->config.memory,
		.vcpus = m->config.cpus,
		.model = &m->config.model,
		.clock = m->config.clock,
		.no_reboot = m->config.no_reboot,
		.time_exits = m->config.stats,
		.check = m->config.check,
		.trace = m->config.trace_exits ? fdopen(m->fd[FD_TRACE], "w") : NULL};
	struct board_config bc = {.image = m->image,
		.images = m->images,
		.entry = entry_point(&m->config),
		.epoch = m->config.clock == CLOCK_HOST ? (uint64_t)time(NULL) : 0,
		.serial = m->config.hvc ? NULL : &m->serial,
		.hvc = m->config.hvc ? &m->serial : NULL,
		.debug = &m->debugcon,
		.entropy = m->config.kernel,
		.testdev = m->config.testdev};
	static void (*const debugcon[])(void *, const uint8_t *, size_t) = {
		[DEBUGCON_STDIO] = terminal_write,
		[DEBUGCON_FILE] = debugcon_write_file,
	};

	m->serial.write = serial_write;
	m->serial.room = serial_room;
	m->serial.backend = m;
	m->debugcon.write = debugcon[m->config.debugcon];
	m->debugcon.backend = m;
	m->vm = vm_new(&vc, err, errlen);
	if (!m->vm)
		return -EIO;
	if (m->config.kernel) {
		bc.load = load_kernel;
		bc.load_ctx = m;
	}
	if (map_firmware(m, &bc))
		return -EIO;
	if (make_disks(m, &bc, err, errlen) || board_new(m->vm, &bc, &m->board, err, errlen))
		return -EIO;
	return plan_kernel(m, err, errlen);
}

static void report(struct machine *m)
{
	struct vm *vm = m->vm;
	json_t *result = json_pack("{s:i, s:i, s:s, s:b, s:b}", "end", vm->end, "value",
		vm->end_value, "why", vm->end_why, "screen", board_screen_touched(m->board),
		"serial", m->serial_touched);
	char *text = json_dumps(result, JSON_COMPACT);

	m->ticks = 0;
	if (m->picture)
		show_picture(m);
	show_screen(m);
	report_text(m);
	if (vm->config.trace)
		fflush(vm->config.trace);
	send_message(m, MSG_RESULT, text, strlen(text));
	free(text);
	json_decref(result);
}

/* Blocking at the end: everything the guest said gets out. */
static void drain_serial(struct machine *m)
{
	struct timespec nap = {0, 1000000};

	for (unsigned i = 0; i < 2000 && m->serial_len; i++) {
		serial_flush(m);
		nanosleep(&nap, NULL);
	}
}

static int run(struct machine *m)
{
	char err[512] = "the machine cannot be built";

	if (map_screen(m) || map_picture(m) || map_images(m) || open_kernel(m))
		return cannot_start(m, STATUS_HOST, "cannot map an image or the screen");
	if (build(m, err, sizeof(err)) || vm_start(m->vm, err, sizeof(err)))
		return cannot_start(m, STATUS_HOST, err);
	vm_lock(m->vm);
	if (watch(m))
		vm_end(m->vm, VM_END_HOST_ERROR, 0, "cannot watch descriptors");
	vm_unlock(m->vm);
	vm_run(m->vm);
	drain_serial(m);
	if (m->config.screenshot)
		save_picture(m, m->fd[FD_SCREENSHOT]);
	report(m);
	free_disks(m);
	vm_free(m->vm);
	forget_kernel(m);
	free(m->serial_out);
	config_free(&m->config);
	return STATUS_OK;
}

int machine_main(int ctl, struct media *media)
{
	/* Sent to the whole process group they are the front's, which asks us to end. */
	static const int fronts_signals[] = {
		SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGWINCH, SIGPIPE};
	struct machine m = {.ctl = ctl, .media = media};
	char err[256] = "no start message";
	json_t *start;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (unsigned i = 0; i < ARRAY_SIZE(fronts_signals); i++)
		signal(fronts_signals[i], SIG_IGN);
	config_init(&m.config);
	start = receive_start(&m);
	if (!start || m.fds < FD_IMAGES ||
		config_from_json(&m.config, json_object_get(start, "config"), err, sizeof(err)) ||
		config_modules(&m.config, json_is_true(json_object_get(start, "one_initrd")), err,
			sizeof(err)))
		return cannot_start(&m, STATUS_HOST, err);
	log_level = m.config.quiet ? LOG_WARN : m.config.verbose ? LOG_DEBUG : LOG_INFO;
	m.firmware_fd = (int)json_integer_value(json_object_get(start, "firmware"));
	m.vgabios_fd = (int)json_integer_value(json_object_get(start, "vgabios"));
	m.vars_fd = (int)json_integer_value(json_object_get(start, "vars"));
	m.engine = engine_by_name(json_string_value(json_object_get(start, "engine")));
	json_decref(start);
	return run(&m);
}
