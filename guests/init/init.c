/*
 * init.c - first program of a guest that runs one command over a folder of the
 * host (`tinamou run --root DIR -- CMD`), or boots it (`tinamou run --root DIR`).
 *
 * It loads the modules beside it, mounts the folder by virtio-fs with a
 * throwaway overlay, makes that the root, starts the command with pipes or a
 * terminal, and carries its streams to the ports of a virtio console: stdin,
 * stdout, stderr, and control for what is said about them. The file /spec
 * tells what to do: pairs of strings, each ended by a NUL. Without a command it
 * hands over to the folder's own init, and the console is a serial one as ever.
 *
 *   to the host     exit N | signal N | fail TEXT
 *   from the host   size ROWS COLS
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#define SPEC       "/spec"
#define BLOCK      16384
#define PORT_TRIES 5000 /* milliseconds */
#define NEW        "/new"
#define NOT_FOUND  127 /* as a shell says it */
#define NOT_RUN    126

enum { IN, OUT, ERR, CONTROL, PORTS };

static const char *const port_name[PORTS] = {
	"tinamou.stdin", "tinamou.stdout", "tinamou.stderr", "tinamou.control"};

struct spec {
	char *text;
	size_t len;
	char **args, **env;
	size_t nargs, nenv;
	const char *cwd;
	bool tty;
	struct winsize size;
};

/* One direction: what was read and not written yet. */
struct pipe {
	int from, to; /* -1: closed */
	size_t len, at;
	bool ended; /* nothing more comes from `from` */
	char buf[BLOCK];
};

static int port[PORTS] = {-1, -1, -1, -1};

/* ---- saying ---- */

static void say(const char *fmt, ...)
{
	char line[512];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (n >= (int)sizeof(line))
		n = sizeof(line) - 1;
	if (port[CONTROL] < 0 || write(port[CONTROL], line, (size_t)n) != n)
		dprintf(STDERR_FILENO, "init: %s", line); /* the kernel's console */
}

/* The host ends the machine; if it does not, there is nothing left to do here either. */
static void end(void)
{
	for (int i = 0; i < CONTROL; i++)
		close(port[i]);
	sync();
	sleep(10);
	reboot(RB_POWER_OFF);
	for (;;)
		pause();
}

static void fail(const char *what)
{
	say("fail %s: %s\n", what, strerror(errno));
	end();
}

/* ---- the specification ---- */

static char *read_all(const char *path, size_t *len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	char *text;
	ssize_t n;

	*len = 0;
	if (fd < 0 || fstat(fd, &st) || !(text = malloc((size_t)st.st_size + 1)))
		return NULL;
	while ((n = read(fd, text + *len, (size_t)st.st_size - *len)) > 0)
		*len += (size_t)n;
	text[*len] = '\0';
	close(fd);
	return text;
}

static void load_module(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd >= 0 && syscall(SYS_finit_module, fd, "", 0) && errno != EEXIST)
		dprintf(STDERR_FILENO, "init: %s: %s\n", path, strerror(errno));
	close(fd);
}

/* A later one replaces an earlier one. */
static void set_variable(struct spec *s, char *pair)
{
	size_t len = strcspn(pair, "=") + 1;

	for (size_t i = 0; i < s->nenv; i++)
		if (!strncmp(s->env[i], pair, len)) {
			s->env[i] = pair;
			return;
		}
	s->env[s->nenv++] = pair;
}

static void take_pair(struct spec *s, const char *key, char *value)
{
	if (!strcmp(key, "module"))
		load_module(value);
	else if (!strcmp(key, "arg"))
		s->args[s->nargs++] = value;
	else if (!strcmp(key, "env"))
		set_variable(s, value);
	else if (!strcmp(key, "cwd"))
		s->cwd = value;
	else if (!strcmp(key, "host"))
		sethostname(value, strlen(value));
	else if (!strcmp(key, "tty"))
		s->tty = sscanf(value, "%hu %hu", &s->size.ws_row, &s->size.ws_col) == 2;
}

static void read_spec(struct spec *s)
{
	size_t pairs = 1;
	char *key, *value, *stop;

	s->text = read_all(SPEC, &s->len);
	if (!s->text)
		fail(SPEC);
	stop = s->text + s->len;
	for (char *p = s->text; p < stop; p++)
		pairs += !*p;
	s->args = calloc(pairs, sizeof(*s->args));
	s->env = calloc(pairs, sizeof(*s->env));
	for (key = s->text; key < stop; key = value + strlen(value) + 1) {
		value = key + strlen(key) + 1;
		if (value >= stop)
			break;
		take_pair(s, key, value);
	}
}

/* ---- ports ---- */

static int port_called(const char *name)
{
	static const char class[] = "/sys/class/virtio-ports";
	DIR *dir = opendir(class);
	struct dirent *e;
	char path[600], *text;
	size_t len;
	int fd = -1;

	while (dir && fd < 0 && (e = readdir(dir))) {
		snprintf(path, sizeof(path), "%s/%s/name", class, e->d_name);
		text = e->d_name[0] == '.' ? NULL : read_all(path, &len);
		if (text)
			text[strcspn(text, "\n")] = '\0';
		snprintf(path, sizeof(path), "/dev/%s", e->d_name);
		if (text && !strcmp(text, name))
			fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
		free(text);
	}
	if (dir)
		closedir(dir);
	return fd;
}

/* They appear some time after the driver has been loaded. */
static void open_ports(void)
{
	int missing = PORTS;

	for (int tries = 0; missing && tries < PORT_TRIES; tries++) {
		missing = 0;
		for (int i = 0; i < PORTS; i++) {
			if (port[i] < 0)
				port[i] = port_called(port_name[i]);
			missing += port[i] < 0;
		}
		if (missing)
			usleep(1000);
	}
	if (missing)
		fail("the ports of the virtio console");
}

/* ---- the root ---- */

static void must_mount(const char *source, const char *target, const char *type,
	unsigned long flags, const char *data)
{
	char what[300];

	mkdir(target, 0755);
	if (!mount(source, target, type, flags, data))
		return;
	snprintf(what, sizeof(what), "mounting %s at %s%s", type, target,
		errno == ENODEV ? " (does the kernel have it, or a module in lib/modules?)" : "");
	fail(what);
}

static void early_mounts(void)
{
	must_mount("proc", "/proc", "proc", 0, NULL);
	must_mount("sysfs", "/sys", "sysfs", 0, NULL);
	must_mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
}

static void make_root(void)
{
	must_mount("root", "/lower", "virtiofs", MS_RDONLY, NULL);
	must_mount("tmpfs", "/over", "tmpfs", 0, "mode=755");
	mkdir("/over/up", 0755);
	mkdir("/over/work", 0755);
	must_mount("overlay", NEW, "overlay", 0,
		"lowerdir=/lower,upperdir=/over/up,workdir=/over/work");
	must_mount("proc", NEW "/proc", "proc", 0, NULL);
	must_mount("sysfs", NEW "/sys", "sysfs", 0, NULL);
	must_mount("devtmpfs", NEW "/dev", "devtmpfs", 0, NULL);
	must_mount("devpts", NEW "/dev/pts", "devpts", 0, "mode=620,ptmxmode=666");
	must_mount("tmpfs", NEW "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, NULL);
	symlink("/proc/self/fd", NEW "/dev/fd");
	symlink("/proc/self/fd/0", NEW "/dev/stdin");
	symlink("/proc/self/fd/1", NEW "/dev/stdout");
	symlink("/proc/self/fd/2", NEW "/dev/stderr");
	if (chdir(NEW) || mount(".", "/", NULL, MS_MOVE, NULL) || chroot(".") || chdir("/"))
		fail("making the folder the root");
}

static void loopback_up(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq r = {.ifr_flags = IFF_UP};

	strcpy(r.ifr_name, "lo");
	ioctl(fd, SIOCSIFFLAGS, &r);
	close(fd);
}

/* ---- the command ---- */

static void run_child(const struct spec *s, const int fd[3])
{
	sigset_t none;
	int why;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setsid();
	for (int i = 0; i < 3; i++)
		dup2(fd[i], i);
	if (s->tty)
		ioctl(STDIN_FILENO, TIOCSCTTY, 0);
	if (s->cwd && chdir(s->cwd) && chdir("/"))
		_exit(NOT_RUN);
	environ = s->env;
	execvp(s->args[0], s->args);
	why = errno;
	dprintf(STDERR_FILENO, "tinamou: %s: %s\n", s->args[0], strerror(why));
	_exit(why == ENOENT ? NOT_FOUND : NOT_RUN);
}

static int open_terminal(const struct spec *s)
{
	int master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);

	if (master < 0 || grantpt(master) || unlockpt(master))
		fail("a terminal");
	ioctl(master, TIOCSWINSZ, &s->size);
	return master;
}

/* Our ends go to `ours`: where its input is written to, and its outputs are read. */
static pid_t start(const struct spec *s, int ours[3])
{
	int theirs[3], pair[2];
	pid_t pid;

	if (s->tty) {
		ours[IN] = open_terminal(s);
		ours[OUT] = dup(ours[IN]);
		ours[ERR] = -1;
		theirs[IN] = open(ptsname(ours[IN]), O_RDWR | O_NOCTTY | O_CLOEXEC);
		theirs[OUT] = theirs[ERR] = theirs[IN];
	}
	for (int i = 0; !s->tty && i < 3; i++) {
		if (pipe2(pair, O_CLOEXEC))
			fail("a pipe");
		ours[i] = pair[i == IN];
		theirs[i] = pair[i != IN];
		fcntl(ours[i], F_SETFL, O_NONBLOCK);
	}
	pid = fork();
	if (!pid)
		run_child(s, theirs);
	if (pid < 0)
		fail("starting the command");
	for (int i = 0; i < (s->tty ? 1 : 3); i++)
		close(theirs[i]);
	return pid;
}

/* ---- carrying ---- */

static void close_end(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void fill(struct pipe *p)
{
	ssize_t n = read(p->from, p->buf, sizeof(p->buf));

	if (n > 0)
		p->len = (size_t)n;
	else if (n == 0 || (errno != EAGAIN && errno != EINTR))
		p->ended = true; /* a terminal that nobody has open says EIO */
}

static void flush(struct pipe *p)
{
	ssize_t n = write(p->to, p->buf + p->at, p->len - p->at);

	if (n > 0)
		p->at += (size_t)n;
	else if (n < 0 && errno != EAGAIN && errno != EINTR)
		p->at = p->len; /* nobody reads it any more */
	if (p->at == p->len)
		p->at = p->len = 0;
}

/* What to wait for: data, or room for what there is. */
static void interest(const struct pipe *p, struct pollfd q[2])
{
	q[0] = (struct pollfd){p->len || p->ended ? -1 : p->from, POLLIN, 0};
	q[1] = (struct pollfd){p->len ? p->to : -1, POLLOUT, 0};
}

static void carry(struct pipe *p, const struct pollfd q[2])
{
	if (q[0].revents)
		fill(p);
	if (p->len)
		flush(p);
}

static void from_host(int terminal)
{
	struct winsize size = {0};
	char line[64];
	ssize_t n = read(port[CONTROL], line, sizeof(line) - 1);

	if (n <= 0)
		return;
	line[n] = '\0';
	if (terminal >= 0 && sscanf(line, "size %hu %hu", &size.ws_row, &size.ws_col) == 2)
		ioctl(terminal, TIOCSWINSZ, &size);
}

/* Orphans too are ours to take; true: the command was among them. */
static bool reap(pid_t command, int *status)
{
	bool done = false;
	pid_t pid;
	int s;

	while ((pid = waitpid(-1, &s, WNOHANG)) > 0)
		if (pid == command) {
			*status = s;
			done = true;
		}
	return done;
}

/* After the command's end: what is in the pipes still goes out, what others write does not. */
static void drain(struct pipe *p)
{
	while (p->from >= 0 && (p->len || !p->ended)) {
		struct pollfd q = {port[OUT], POLLOUT, 0};

		q.fd = p->to;
		if (p->len) {
			poll(&q, 1, -1);
			flush(p);
			continue;
		}
		fill(p);
		if (!p->len)
			break;
	}
}

static int serve(const struct spec *s, pid_t command, int ours[3], int signals)
{
	static struct pipe p[3];
	struct signalfd_siginfo info;
	struct pollfd q[8];
	int status = 0;
	bool done = false;

	p[IN] = (struct pipe){.from = port[IN], .to = ours[IN]};
	p[OUT] = (struct pipe){.from = ours[OUT], .to = port[OUT]};
	p[ERR] = (struct pipe){.from = ours[ERR], .to = port[ERR], .ended = ours[ERR] < 0};
	while (!done) {
		for (int i = 0; i < 3; i++)
			interest(&p[i], q + 2 * i);
		q[6] = (struct pollfd){signals, POLLIN, 0};
		q[7] = (struct pollfd){port[CONTROL], POLLIN, 0};
		poll(q, 8, -1);
		for (int i = 0; i < 3; i++)
			carry(&p[i], q + 2 * i);
		if (p[IN].ended && !p[IN].len && p[IN].to >= 0 && !s->tty)
			close_end(&p[IN].to);
		if (q[7].revents & POLLIN)
			from_host(s->tty ? ours[IN] : -1);
		if (q[6].revents && read(signals, &info, sizeof(info)) > 0)
			done = reap(command, &status);
	}
	drain(&p[OUT]);
	drain(&p[ERR]);
	return status;
}

static void hand_over(void)
{
	static const char *const path[] = {
		"/sbin/init", "/lib/systemd/systemd", "/init", "/bin/sh"};

	for (size_t i = 0; i < sizeof(path) / sizeof(*path); i++)
		execl(path[i], path[i], NULL);
	fail("the folder's /sbin/init");
}

int main(void)
{
	struct spec s = {0};
	sigset_t child;
	int ours[3], status, signals;
	pid_t command;

	early_mounts();
	read_spec(&s);
	if (s.nargs)
		open_ports();
	make_root();
	if (!s.nargs)
		hand_over();
	loopback_up();
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, NULL);
	signal(SIGPIPE, SIG_IGN);
	signals = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
	command = start(&s, ours);
	status = serve(&s, command, ours, signals);
	if (WIFSIGNALED(status))
		say("signal %d\n", WTERMSIG(status));
	else
		say("exit %d\n", WEXITSTATUS(status));
	end();
}
