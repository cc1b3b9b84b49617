/*
 * front_loop.c - bytes between the terminal, the serial line and the machine; the
 * Ctrl-A keys; time limits.
 */
#include "cmd/front.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cmd/status.h"
#include "util/passfd.h"
#include "util/util.h"

#define OWN_POLLS  5 /* of the front's loop, before streams and clients */
#define ESCAPE_KEY 1 /* Ctrl-A */
#define GRACE_NS   (2 * NSEC_PER_SEC)
#define SAVE_NS    (20 * NSEC_PER_SEC)
#define DRAIN_MS   5 /* between two looks at what a reader has left */

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
		front_show_screen(f);
		break;
	case MSG_TEXT:
		add_text(f, buf + 1, (size_t)n - 1);
		break;
	case MSG_MONITOR_SAYS:
		front_monitor_says(f, buf + 1, (size_t)n - 1);
		break;
	case MSG_REGISTERS:
		front_overlay(f, buf + 1, (size_t)n - 1);
		break;
	case MSG_ENDED: /* what is left takes its time, on a busy host or a slow disk */
		if (f->kill_at)
			f->kill_at = monotonic_ns() + SAVE_NS;
		break;
	case MSG_SAVED:
		front_screenshot_saved(f, n > 1 && buf[1]);
		break;
	case MSG_STARTED:
		front_started(f, STATUS_OK);
		break;
	case MSG_ANSWER:
		control_answer(f->control, buf + 1, (size_t)n - 1);
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
	if (f->control)
		control_serial(f->control, buf, (size_t)n);
	if (f->config.detach)
		return;
	if (f->streams.on) {
		front_keep_log(f, buf, (size_t)n);
		return;
	}
	if (serial_shown(f)) {
		write_all(STDOUT_FILENO, buf, (size_t)n);
		return;
	}
	front_tell_other_side(f);
	keep = MIN((size_t)n, BACKLOG_MAX - f->backlog_len);
	memcpy(f->backlog + f->backlog_len, buf, keep);
	f->backlog_len += keep;
}

/* ---- what the user says ---- */

bool front_send(struct front *f, char type, const void *data, size_t len, int fd)
{
	struct iovec iov[2] = {{&type, 1}, {(void *)data, len}};

	/* A machine that does not read loses keys, but cannot hold the front. */
	return passfd_send(f->ctl, iov, 2, &fd, fd >= 0, MSG_DONTWAIT) >= 0;
}

void front_monitor_send(struct front *f, const char *line)
{
	f->monitor.busy = true;
	front_send(f, MSG_MONITOR, line, strlen(line), -1);
}

void front_ask_to_quit(struct front *f, char type, char sig)
{
	f->asked = type;
	f->asked_signal = sig;
	front_send(f, type, &sig, 1, -1);
	if (!f->kill_at)
		f->kill_at = monotonic_ns() + GRACE_NS;
}

static void switch_side(struct front *f)
{
	f->screen_active = !f->screen_active;
	if (f->screen_active) {
		screen_view_redraw(f->view);
		front_show_screen(f);
		return;
	}
	f->overlay = false;
	front_leave_screen(f);
	write_all(STDOUT_FILENO, f->backlog, f->backlog_len);
	f->backlog_len = 0;
}

static void help(struct front *f)
{
	static const char text[] =
		"\r\nCtrl-A x  end the run        Ctrl-A h  this list\r\n"
		"Ctrl-A d  dump registers     Ctrl-A b  send BREAK\r\n"
		"Ctrl-A s  screenshot         Ctrl-A Tab  screen or serial line\r\n"
		"Ctrl-A p  power button       Ctrl-A c  monitor, and back\r\n"
		"Ctrl-A Ctrl-A  a Ctrl-A for the guest\r\n";

	front_overlay(f, text, sizeof(text) - 1);
}

static void type_bytes(struct front *f, const char *bytes, size_t len)
{
	if (f->monitor.active)
		front_monitor_typed(f, bytes, len);
	else if (f->streams.on)
		front_stream_type(f, bytes, len);
	else
		front_send(f, f->screen_active ? MSG_KEYS : MSG_SERIAL, bytes, len, -1);
}

static void escape_key(struct front *f, char key)
{
	static const char ctrl_a = ESCAPE_KEY;

	switch (key) {
	case 'x':
		front_ask_to_quit(f, MSG_QUIT, 0);
		break;
	case 'h':
	case '?':
		help(f);
		break;
	case 'b':
		front_send(f, MSG_BREAK, "", 0, -1);
		break;
	case 'd':
		front_send(f, MSG_DUMP, "", 0, -1);
		break;
	case 'p':
		front_send(f, MSG_POWER, "", 0, -1);
		break;
	case 's':
		front_screenshot(f, NULL);
		break;
	case 'c':
		front_monitor_toggle(f);
		break;
	case '\t':
		switch_side(f);
		break;
	case ESCAPE_KEY:
		type_bytes(f, &ctrl_a, 1);
		break;
	}
}

/* Its answer is not the guest's. */
static size_t without_answer(struct front *f, char *buf, size_t len)
{
	enum terminal_answer answer =
		f->asked_terminal && !f->sixels ? terminal_take_answer(buf, &len) : TERMINAL_SILENT;

	if (!answer)
		return len;
	f->sixels = answer;
	if (f->picture_shown && !f->overlay)
		front_show_screen(f);
	return len;
}

/* Ctrl-A and the key behind it are ours; other bytes go on, many at a time. */
static void take_keys(struct front *f, const char *buf, size_t n)
{
	size_t from = 0;

	for (size_t i = 0; i < n; i++) {
		bool ours = f->escape || buf[i] == ESCAPE_KEY;

		if (ours && i > from)
			type_bytes(f, buf + from, i - from);
		if (ours)
			from = i + 1;
		if (f->escape)
			escape_key(f, buf[i]);
		f->escape = !f->escape && buf[i] == ESCAPE_KEY;
	}
	if (n > from)
		type_bytes(f, buf + from, n - from);
}

static void user_typed(struct front *f)
{
	char buf[256];
	ssize_t n = read(STDIN_FILENO, buf, sizeof(buf));

	if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN)) {
		f->terminal = false; /* it went away: hang-up */
		front_ask_to_quit(f, MSG_QUIT, SIGHUP);
		return;
	}
	if (n > 0)
		n = (ssize_t)without_answer(f, buf, (size_t)n);
	if (n > 0 && f->overlay && !f->monitor.active) {
		f->overlay = false;
		front_show_screen(f);
	}
	take_keys(f, buf, (size_t)MAX(n, 0));
}

/* Standard input that is no terminal feeds the guest, or the monitor, until its end. */
static bool input_typed(struct front *f)
{
	char buf[256];
	ssize_t n = read(STDIN_FILENO, buf, sizeof(buf));

	if (n > 0 && (f->config.mux || f->config.monitor == MONITOR_STDIO))
		take_keys(f, buf, (size_t)n);
	else if (n > 0)
		type_bytes(f, buf, (size_t)n);
	return n > 0;
}

/* What the keyboard and mouse of a viewer do is the guest's; not what closing it means. */
static void viewer_says(struct front *f)
{
	struct viewer_event e;

	if (!viewer_hear(&f->viewer, &e))
		return;
	if (e.kind == VIEWER_CLOSE)
		front_ask_to_quit(f, MSG_QUIT, 0);
	else
		front_send(f, MSG_VIEWER, &e, sizeof(e), -1);
}

/* ---- the loop ---- */

static void redraw(struct front *f)
{
	if (!f->view || !f->screen_active || f->overlay)
		return;
	if (f->picture_shown)
		front_show_screen(f);
	else
		screen_view_redraw(f->view);
}

/* Stops as other programs do, with the terminal in order; goes on where it was. */
static void suspend(struct front *f)
{
	if (f->view && f->screen_active)
		front_leave_screen(f);
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
		front_stream_size(f);
		break;
	default:
		front_ask_to_quit(f, MSG_QUIT, (char)info.ssi_signo);
	}
}

static int next_timeout(struct front *f)
{
	uint64_t now = monotonic_ns(), at = f->deadline;

	if (f->kill_at && (!at || f->kill_at < at))
		at = f->kill_at;
	if (!at)
		return -1;
	return at > now ? (int)MIN((at - now) / 1000000 + 1, 1000000) : 0;
}

static void check_times(struct front *f)
{
	uint64_t now = monotonic_ns();

	if (f->deadline && now >= f->deadline) {
		f->deadline = 0;
		front_ask_to_quit(f, MSG_TIMEOUT, 0);
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
	slave.fd = ioctl(pty, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC); /* no path: jail.h */
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
	uint64_t end = monotonic_ns() + GRACE_NS;

	if (f->pty < 0 || f->asked == MSG_QUIT)
		return;
	close(f->slave);
	f->slave = -1;
	while (monotonic_ns() < end && pty_unread(f->pty) && poll(&signals, 1, DRAIN_MS) <= 0)
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

void front_loop(struct front *f)
{
	bool input = f->terminal || (f->config.console != CONSOLE_NONE && !f->config.detach);
	bool alive = true;

	if (f->config.monitor == MONITOR_STDIO)
		front_monitor_toggle(f);
	while (alive) {
		bool keys = f->streams.on ? f->terminal && front_stream_takes(f) : input;
		struct pollfd p[OWN_POLLS + STREAM_POLLS + CONTROL_DESCRIPTORS] = {
			{f->ctl, POLLIN, 0},
			{f->serial, POLLIN, 0},
			{keys ? STDIN_FILENO : -1, POLLIN, 0},
			{f->signals, POLLIN, 0},
			{f->viewer.socket, POLLIN, 0},
		};
		unsigned clients;

		front_stream_interest(f, p + OWN_POLLS);
		clients = control_poll(f->control, p + OWN_POLLS + STREAM_POLLS);
		if (poll(p, OWN_POLLS + STREAM_POLLS + clients, next_timeout(f)) < 0 &&
			errno != EINTR)
			break;
		check_times(f);
		if (p[3].revents)
			got_signal(f);
		if (p[4].revents)
			viewer_says(f);
		if (p[1].revents)
			serial_says(f);
		front_stream_serve(f, p + OWN_POLLS);
		if (p[0].revents)
			alive = machine_says(f);
		if (p[2].revents && f->terminal)
			user_typed(f);
		else if (p[2].revents)
			input = input_typed(f);
		control_ready(f->control, p + OWN_POLLS + STREAM_POLLS, clients);
	}
	drain_serial(f);
	front_stream_drain(f);
}
