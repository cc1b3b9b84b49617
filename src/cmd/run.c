/*
 * run.c - the front process: opens everything, starts the machine process,
 * carries bytes between it and the terminal, and tells how it ended.
 *
 * The terminal is given back whatever happens to the machine: only the front
 * touches it, and it notices the machine's death by the end of its socket.
 */
#include "cmd/front.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "cmd/engines.h"
#include "cmd/listen.h"
#include "cmd/status.h"
#include "core/vm.h"
#include "host/jail.h"
#include "util/passfd.h"
#include "util/util.h"

#define SIGNAL_STATUS 128 /* a command ended by a signal, as a shell says it */

bool cmd_file_exists(const char *path)
{
	return access(path, F_OK) == 0;
}

/* ---- starting the machine ---- */

static int send_start(struct front *f)
{
	char type = MSG_START;
	json_t *start = json_pack("{s:O, s:s, s:b, s:i, s:i, s:i, s:i, s:i}", "config",
		f->config.set, "engine", f->engine->name, "one_initrd", f->one_initrd, "firmware",
		f->firmware, "vgabios", f->vgabios, "vars", f->vars, "initramfs", f->initramfs,
		"gdb", f->gdb);
	char *text = json_dumps(start, JSON_COMPACT);
	struct iovec iov[2] = {{&type, 1}, {text, strlen(text)}};
	ssize_t n = passfd_send(f->ctl, iov, 2, f->fd, f->fds, 0);

	free(text);
	json_decref(start);
	return n < 0 ? (int)n : 0;
}

/* The locks on disk images live on with the machine's descriptors. */
static void close_media(struct front *f)
{
	for (unsigned i = 0; i < f->media.count; i++)
		disk_files_free(f->media.item[i].files);
	f->media.count = 0;
	for (unsigned i = 0; i < f->media.nets; i++)
		close(f->media.net[i].fd);
	front_close_shares(f);
	front_close_streams(f, true);
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
	control_close(f->control);
	close_all(f);
	if (f->serial >= 0)
		close(f->serial);
	front_close_streams(f, false);
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

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		goto fail;
	f->ctl = pair[0];
	fflush(NULL);
	if (front_start_shares(f))
		goto fail;
	if ((config_has_viewer(&f->config) || f->viewer.when_drawn) &&
		viewer_start(&f->viewer, &f->config, f->fd[FD_PICTURE]) && !f->viewer.when_drawn)
		goto fail;
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
		front_leave_screen(f);
	terminal_restore(&f->saved);
	if (!f->terminal && front_screen_on_terminal(f) &&
		json_is_true(json_object_get(f->result, "screen")) &&
		front_read_frame(f->shared, &frame)) {
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
		f->die_by = f->asked_signal;
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

/* A command's run ends as the command did; what went wrong before is told by the kernel. */
static int finish_command(struct front *f, int end, int status)
{
	const struct streams *s = &f->streams;

	if (s->end == STREAMS_EXIT)
		return s->value;
	if (s->end == STREAMS_SIGNAL)
		return SIGNAL_STATUS + s->value;
	front_show_log(f);
	if (s->end == STREAMS_FAIL)
		log_error("the guest could not start the command: %s", s->why);
	if (s->end == STREAMS_FAIL)
		return STATUS_HOST;
	if (end != VM_END_RESET || !front_kernel_panicked(f))
		return status;
	log_error("the guest's kernel panicked; its last words are above");
	return STATUS_PANIC;
}

static const struct {
	int end;
	const char *reason;
} reasons[] = {
	{VM_END_POWEROFF, "poweroff"},
	{VM_END_HALTED, "halted"},
	{VM_END_BIOS_CALL, "bios-call"},
	{VM_END_TRIPLE_FAULT, "triple-fault"},
	{VM_END_RESET, "reset"},
	{VM_END_PANIC, "panic"},
	{VM_END_TESTPORT, "testport"},
	{VM_END_TIMEOUT, "timeout"},
	{VM_END_QUIT, "quit"},
	{VM_END_HOST_ERROR, "host-error"},
};

static const char *reason_of(const struct front *f, int status)
{
	int end = (int)json_integer_value(json_object_get(f->result, "end"));

	if (f->streams.end == STREAMS_EXIT)
		return "exit";
	if (f->streams.end == STREAMS_SIGNAL)
		return "signal";
	if (f->streams.end == STREAMS_FAIL)
		return "start-failed";
	if (f->streams.on && status == STATUS_PANIC)
		return "panic";
	if (!f->result)
		return f->asked == MSG_TIMEOUT ? "timeout" : "host-error";
	for (unsigned i = 0; i < ARRAY_SIZE(reasons); i++)
		if (reasons[i].end == end)
			return reasons[i].reason;
	return "?";
}

/* --result: for scripts, which an exit status tells too little. */
static void write_result(struct front *f, int status)
{
	double seconds = (double)(monotonic_ns() - f->began) / NSEC_PER_SEC;
	json_t *o = json_pack("{s:s, s:i, s:s, s:f, s:I}", "reason", reason_of(f, status), "status",
		status, "engine", f->engine ? f->engine->name : "", "seconds", seconds,
		"instructions", json_integer_value(json_object_get(f->result, "instructions")));
	char *text = json_dumps(o, JSON_REAL_PRECISION(6));

	if (f->result_fd >= 0) {
		write_all(f->result_fd, text, strlen(text));
		write_all(f->result_fd, "\n", 1);
		close(f->result_fd);
	}
	f->result_fd = -1;
	free(text);
	json_decref(o);
}

static int finish(struct front *f)
{
	int end, value, status = STATUS_HOST;
	bool error = true;
	const char *why;

	show_end(f);
	front_drop_screenshots(f);
	front_end_screenshot(f);
	if (!f->result)
		return died(f);
	waitpid(f->pid, NULL, 0);
	front_wait_shares(f);
	end = (int)json_integer_value(json_object_get(f->result, "end"));
	value = (int)json_integer_value(json_object_get(f->result, "value"));
	why = json_string_value(json_object_get(f->result, "why"));
	for (unsigned i = 0; i < ARRAY_SIZE(ends); i++) {
		if (ends[i].end != end)
			continue;
		status = ends[i].status;
		error = ends[i].error;
	}
	if (f->streams.on && (f->streams.end || end == VM_END_RESET))
		return finish_command(f, end, status);
	if (f->streams.on && error)
		front_show_log(f);
	if (end == VM_END_TESTPORT)
		return ((value << 1) | 1) & 0xff;
	if (error)
		log_error("%s", why ? why : "?");
	else
		log_info("%s", why ? why : "?");
	if (end == VM_END_HALTED || end == VM_END_TIMEOUT)
		hint_if_silent(f);
	if (end == VM_END_QUIT && !f->config.qemu) /* QEMU ends in order */
		f->die_by = value;
	return f->config.qemu && end != VM_END_HOST_ERROR && end != VM_END_TIMEOUT ? STATUS_OK
										   : status;
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

/* A command's terminal is in the guest, which makes line ends of its own. */
static void pass_output(void)
{
	struct termios t;

	if (tcgetattr(STDOUT_FILENO, &t))
		return;
	t.c_oflag &= ~(tcflag_t)OPOST;
	tcsetattr(STDOUT_FILENO, TCSANOW, &t);
}

static void take_terminal(struct front *f)
{
	f->terminal =
		isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) && f->config.console != CONSOLE_NONE;
	f->screen_active = f->config.console != CONSOLE_SERIAL && front_screen_on_terminal(f) &&
			   !(f->config.console == CONSOLE_AUTO && f->config.kernel);
	if (!f->terminal)
		return;
	f->view = screen_view_new(STDOUT_FILENO);
	f->saved.signals = f->config.keep_signals;
	if (terminal_raw(&f->saved))
		f->terminal = false;
	else if (f->streams.on)
		pass_output();
}

/* From here on bytes of the guest come, and paths go nowhere but to pictures of the screen. */
static int close_jail(const struct front *f)
{
	const pid_t child[] = {f->pid, f->viewer.pid};
	int err;

	if (!f->config.jail)
		return STATUS_OK;
	err = jail_paths_front();
	if (!err)
		err = jail_calls_front(child, ARRAY_SIZE(child));
	if (!err)
		return STATUS_OK;
	log_error("the jail of the front cannot be closed: %s; --jail off leaves it away",
		strerror(-err));
	kill(f->pid, SIGKILL);
	return STATUS_HOST;
}

static int run_here(struct front *f)
{
	int status = front_open_control(f);

	if (!status)
		status = front_open_all(f);
	if (status)
		return status;
	catch_signals(f);
	status = start_machine(f);
	if (status)
		return status;
	f->began = monotonic_ns();
	if (f->config.timeout)
		f->deadline = monotonic_ns() + f->config.timeout * NSEC_PER_SEC;
	if (!f->config.detach)
		take_terminal(f);
	status = close_jail(f);
	if (!status)
		front_loop(f);
	viewer_stop(&f->viewer);
	if (status)
		return status;
	status = finish(f);
	write_result(f, status);
	die_by(f->die_by);
	return status;
}

static int run_machine(struct front *f)
{
	int status = choose_engine(f);
	bool parent = false;

	if (!status && f->config.detach)
		status = front_detach(f, &parent);
	if (status || parent)
		return status;
	status = run_here(f);
	front_started(f, status); /* it may not have come so far */
	return status;
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
	puts("tinamou run [OPTIONS] IMAGE\ntinamou run [OPTIONS] --kernel FILE\n"
	     "tinamou run [OPTIONS] --root DIR [-- COMMAND]\n\n"
	     "IMAGE is a disk, CD-ROM or floppy image, a kernel, or a boot sector of 512 bytes.\n");
	config_print_options();
	puts("\nTINAMOU_ENGINE and TINAMOU_OPTIONS in the environment come before these.");
	return STATUS_OK;
}

/* What a command's machine has that others have not. */
static int prepare_root(struct config *c, char *err, size_t errlen)
{
	const char *begin = c->words ? "console=ttyS0 quiet panic=-1 rdinit=/init"
				     : "console=ttyS0 quiet rdinit=/init";
	const char *added = c->cmdline ? c->cmdline : "";
	char *cmdline;
	int rc;

	if (!c->root)
		return 0;
	if (asprintf(&cmdline, "%s%s%s", begin, *added ? " " : "", added) < 0)
		return -1;
	rc = c->cmdline_as_is ? 0 : config_set(c, "append", cmdline, err, errlen);
	free(cmdline);
	if (!rc && c->words)
		rc = config_set(c, "no-reboot", NULL, err, errlen);
	return rc ? rc : config_set(c, "display", "none", err, errlen);
}

static const char *wrong_combination(const struct config *c)
{
	if (c->words && !c->root)
		return "a command is for --root DIR, the folder that it runs over";
	if (c->root && (c->initrd || c->image || c->flats))
		return "--root brings its own initial RAM disk and no image; leave the other away";
	if (c->root)
		return NULL;
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
	if (c->detach && !c->name)
		return "--detach needs --name NAME, by which the machine is found again";
	if (c->symbols && !c->perf_map)
		return "--symbols FILE goes with --perf-map";
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

/* What the image is; a kernel becomes the --kernel. */
static void take_image(struct front *f)
{
	struct config *c = &f->config;
	int fd = c->image ? open(c->image, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;
	bool file, given = c->as != AS_PROBE;
	struct stat st;

	file = fd >= 0 && !fstat(fd, &st) && S_ISREG(st.st_mode) && st.st_size;
	if (!given) /* of what is no file more is said where it is opened */
		c->as = file ? image_probe(fd, st.st_size) : AS_DISK;
	if (fd >= 0)
		close(fd);
	f->as_given = given;
	f->image = c->image;
	if (c->image && !c->kernel && c->as == AS_KERNEL)
		config_image_is_kernel(c);
}

static int run_checked(struct front *f)
{
	char err[512];

	if (f->config.print_config)
		return print_config(&f->config);
	log_level = f->config.quiet ? LOG_WARN : f->config.verbose ? LOG_DEBUG : LOG_INFO;
	take_image(f);
	if (!wrong_combination(&f->config) && prepare_root(&f->config, err, sizeof(err)))
		return usage_error(err);
	if (wrong_combination(&f->config))
		return usage_error(wrong_combination(&f->config));
	return run_machine(f);
}

static int run_with(struct front *f, int argc, char **argv)
{
	char err[512];

	if (config_environment(&f->config, err, sizeof(err)) ||
		config_parse(&f->config, argc, argv, err, sizeof(err)))
		return usage_error(err);
	return f->config.help ? run_help() : run_checked(f);
}

static void front_free(struct front *f)
{
	if (f->view)
		screen_view_free(f->view);
	viewer_stop(&f->viewer);
	if (f->gdb >= 0 && listen_is_path(f->config.gdb))
		unlink(f->config.gdb);
	control_free(f->control);
	json_decref(f->result);
	free(f->text);
	config_free(&f->config);
}

static void front_init(struct front *f)
{
	*f = (struct front){.serial = -1,
		.viewer = VIEWER_NONE,
		.pty = -1,
		.slave = -1,
		.signals = -1,
		.told = -1,
		.log = -1,
		.root_kernel = -1,
		.root_initramfs = -1,
		.initramfs = -1,
		.gdb = -1,
		.result_fd = -1};
}

int cmd_run(int argc, char **argv)
{
	struct front f;
	int status;

	front_init(&f);
	config_init(&f.config);
	status = run_with(&f, argc, argv);
	front_free(&f);
	return status;
}

int run_config(struct config *c)
{
	struct front f;
	int status;

	front_init(&f);
	f.config = *c;
	status = run_checked(&f);
	front_free(&f);
	return status;
}
