/*
 * machine.c - the machine process: builds the board from MSG_START, runs it,
 * reports how it ended. Opens nothing by path. See run.h.
 */
#include "cmd/machine.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "cmd/engines.h"
#include "cmd/status.h"
#include "util/passfd.h"

#define SCREEN_INTERVAL_NS 40000000

/* ---- talking to the front ---- */

void machine_send(struct machine *m, char type, const void *data, size_t len)
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
	machine_send(m, MSG_ERROR, buf, strlen(buf + 1) + 1);
	return status;
}

static json_t *receive_start(struct machine *m)
{
	char buf[MACHINE_MESSAGE_MAX];
	ssize_t n = passfd_receive(m->ctl, buf, sizeof(buf), m->fd, MACHINE_MAX_FDS, &m->fds, 0);

	if (n < 1 || buf[0] != MSG_START)
		return NULL;
	return json_loadb(buf + 1, (size_t)n - 1, 0, NULL);
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
		machine_serial_input(m, data, len);
		break;
	case MSG_POWER:
		board_power_button(m->board);
		break;
	case MSG_BREAK:
		if (m->serial.brk)
			m->serial.brk(m->serial.device);
		break;
	case MSG_MONITOR:
		machine_monitor_line(m, data);
		break;
	case MSG_DUMP:
		machine_dump_registers(m);
		break;
	case MSG_QUIT:
		vm_end(m->vm, VM_END_QUIT, len ? data[0] : 0, "ended by the user");
		break;
	case MSG_TIMEOUT:
		vm_end(m->vm, VM_END_TIMEOUT, 0, "no end within %u s", m->config.timeout);
		break;
	}
}

static void send_picture(struct machine *m, int fd)
{
	char saved = fd >= 0 && !machine_save_picture(m, fd);

	machine_send(m, MSG_SAVED, &saved, 1);
}

static void on_control(void *ctx, uint32_t events)
{
	struct machine *m = ctx;
	char buf[4096];
	int fd;
	unsigned fds;
	ssize_t n = passfd_receive(m->ctl, buf, sizeof(buf) - 1, &fd, 1, &fds, MSG_DONTWAIT);

	buf[MAX(n, 0)] = '\0'; /* lines end so */
	if (n > 0 && buf[0] == MSG_SCREENSHOT)
		send_picture(m, fds ? fd : -1);
	else if (n > 0 && buf[0] == MSG_ASK)
		machine_answer(m, buf + 1, (size_t)n - 1, fds ? fd : -1);
	else if (n > 0)
		serve(m, buf[0], buf + 1, (size_t)n - 1);
	else if (n != -EAGAIN && n != -EINTR)
		_exit(STATUS_HOST); /* the front is gone: nobody to run for */
	if (fds)
		close(fd);
}

/* ---- start ---- */

static int watch(struct machine *m)
{
	struct itimerspec every = {{0, SCREEN_INTERVAL_NS}, {0, SCREEN_INTERVAL_NS}};

	m->tick = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (m->tick < 0 || timerfd_settime(m->tick, 0, &every, NULL))
		return -errno;
	loop_add(m->vm->loop, m->tick, EPOLLIN, machine_screen_tick, m);
	loop_add(m->vm->loop, m->ctl, EPOLLIN, on_control, m);
	machine_watch_streams(m);
	/* A regular file cannot be watched and is never busy. */
	if (m->config.serial != SERIAL_FILE)
		m->serial_watch =
			loop_add(m->vm->loop, m->fd[FD_SERIAL], EPOLLIN, machine_serial_ready, m);
	return 0;
}

static void report(struct machine *m, bool saved)
{
	struct vm *vm = m->vm;
	json_t *result = json_pack("{s:i, s:i, s:s, s:b, s:b, s:b, s:I}", "end", vm->end, "value",
		vm->end_value, "why", vm->end_why, "screen", board_screen_touched(m->board),
		"serial", m->serial_touched, "saved", saved, "instructions",
		(json_int_t)machine_instructions(m));
	char *text = json_dumps(result, JSON_COMPACT);

	m->ticks = 0;
	if (m->picture)
		machine_show_picture(m);
	machine_show_screen(m);
	machine_report_text(m);
	if (vm->config.trace)
		fflush(vm->config.trace);
	if (m->map)
		fflush(m->map);
	machine_send(m, MSG_RESULT, text, strlen(text));
	free(text);
	json_decref(result);
}

static int run(struct machine *m)
{
	char err[512] = "the machine cannot be built";
	bool saved = false;

	if (machine_map_screen(m) || machine_map_picture(m) || machine_map_images(m) ||
		machine_open_kernel(m))
		return cannot_start(m, STATUS_HOST, "cannot map an image or the screen");
	if (machine_build(m, err, sizeof(err)))
		return cannot_start(m, STATUS_HOST, err);
	machine_monitor_attach(m);
	vm_lock(m->vm);
	if (m->config.paused)
		vm_stop(m->vm);
	if (m->gdb_fd >= 0 && m->gdb_fd < (int)m->fds)
		m->gdb = gdb_new(m->vm, &m->monitor, m->fd[m->gdb_fd], m->config.gdb_arch);
	vm_unlock(m->vm);
	if (watch(m))
		return cannot_start(m, STATUS_HOST, "cannot watch descriptors");
	if (vm_start(m->vm, err, sizeof(err)))
		return cannot_start(m, STATUS_HOST, err);
	machine_send(m, MSG_STARTED, "", 0);
	vm_run(m->vm);
	machine_send(m, MSG_ENDED, "", 0);
	machine_serial_drain(m);
	if (m->config.screenshot)
		saved = !machine_save_picture(m, m->fd[FD_SCREENSHOT]);
	report(m, saved);
	gdb_free(m->gdb, 0);
	machine_free_shares(m);
	machine_free_disks(m);
	machine_free_nets(m);
	machine_free_vsock(m);
	vm_free(m->vm);
	machine_forget_kernel(m);
	free(m->serial_out);
	symbols_free(m->symbols);
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
	m.initramfs_fd = (int)json_integer_value(json_object_get(start, "initramfs"));
	m.gdb_fd = (int)json_integer_value(json_object_get(start, "gdb"));
	m.engine = engine_by_name(json_string_value(json_object_get(start, "engine")));
	json_decref(start);
	return run(&m);
}
