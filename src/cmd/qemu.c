/*
 * qemu.c - `tinamou qemu`, and tinamou called by a qemu's name: the flags that
 * people's Makefiles and scripts use, in one table. See qemu.h.
 *
 * As in QEMU the machine restarts on a reset and on a triple fault, stays on
 * when it halts for good, has no exit port unless it is asked for, and ends with
 * status 0. What is not there is said: by a warning where the guest can do
 * without it, else by an error. Messages of `tinamou run` are left out.
 */
#include "cmd/qemu.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/front.h"
#include "cmd/status.h"
#include "util/util.h"

#define QEMU_VERSION "7.2.0" /* whose flags these are */
#define HELP_COLUMN  16

int qemu_fail(struct qemu *q, const char *fmt, ...)
{
	int n = snprintf(q->err, q->errlen, "%s: ", q->flag);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(q->err + n, q->errlen - (size_t)n, fmt, ap);
	va_end(ap);
	return -1;
}

int qemu_without(struct qemu *q, const char *what)
{
	log_warn("%s: %s; the machine is without it", q->flag, what);
	return 0;
}

int qemu_set(struct qemu *q, const char *name, const char *value)
{
	return config_set(q->c, name, value, q->err, q->errlen);
}

bool qemu_on(const char *value)
{
	return !strcmp(value, "on") || !strcmp(value, "yes") || !strcmp(value, "true");
}

bool qemu_next_option(char **rest, const char *first, struct qemu_option *o)
{
	char *part = config_next_part(rest), *eq = part ? strchr(part, '=') : NULL;

	if (!part)
		return false;
	if (eq)
		*eq = '\0';
	*o = (struct qemu_option){part, eq ? eq + 1 : (char *)"on"};
	if (!eq && first)
		*o = (struct qemu_option){(char *)first, part};
	return true;
}

static void keep(char **to, const char *value)
{
	free(*to);
	*to = xstrdup(value);
}

/* ---- the machine ---- */

/* -m 512, -m 2G, -m size=1G,slots=...: MiB if nothing is said. */
static int flag_memory(struct qemu *q, const char *value)
{
	char *copy = xstrdup(value), *rest = copy, size[40];
	struct qemu_option o;
	int rc = 0;

	while (!rc && qemu_next_option(&rest, "size", &o)) {
		if (strcmp(o.key, "size"))
			continue;
		snprintf(size, sizeof(size), "%.32s%s", o.value,
			isdigit((unsigned char)o.value[strlen(o.value) - 1]) ? "M" : "");
		rc = qemu_set(q, "memory", size);
	}
	free(copy);
	return rc;
}

/*
 * -smp 2, -smp cpus=2, -smp cores=2,threads=2. Where nothing is said of cores every CPU is a
 * socket, as it was in QEMU when the scripts were written that need SeaBIOS's MP table.
 */
static int flag_smp(struct qemu *q, const char *value)
{
	static const char *const levels[] = {"dies", "clusters", "cores", "threads"};
	char *copy = xstrdup(value), *rest = copy, text[48];
	unsigned long cpus = 0, sockets = 0, cores = 0, n;
	struct qemu_option o;

	while (qemu_next_option(&rest, "cpus", &o)) {
		n = strtoul(o.value, NULL, 10);
		if (!strcmp(o.key, "cpus"))
			cpus = n;
		if (!strcmp(o.key, "sockets"))
			sockets = n;
		for (unsigned i = 0; i < ARRAY_SIZE(levels); i++)
			if (!strcmp(o.key, levels[i]))
				cores = (cores ? cores : 1) * n;
	}
	free(copy);
	if (!cpus)
		cpus = (sockets ? sockets : 1) * (cores ? cores : 1);
	if (!sockets)
		sockets = cores ? cpus / cores : cpus;
	snprintf(text, sizeof(text), "%lu,sockets=%lu", cpus, sockets ? sockets : 1);
	return qemu_set(q, "cpus", text);
}

static int flag_accel(struct qemu *q, const char *value)
{
	char *copy, *rest, *all;
	struct qemu_option o;

	if (!strcmp(value, "help") || !strcmp(value, "?")) {
		puts("Accelerators supported in QEMU binary:\ntcg\nkvm");
		q->done = true;
		return 0;
	}
	copy = rest = xstrdup(value);
	qemu_next_option(&rest, "accel", &o);
	all = xasprintf("%s%s%s", q->accel ? q->accel : "", q->accel ? ":" : "", o.value);
	free(q->accel);
	q->accel = all;
	free(copy);
	return 0;
}

static int flag_enable_kvm(struct qemu *q, const char *value)
{
	return flag_accel(q, "kvm");
}

static int machine_type(struct qemu *q, const char *type)
{
	if (!strcmp(type, "help") || !strcmp(type, "?")) {
		puts("Supported machines are:\n"
		     "pc                   Standard PC (i440FX + PIIX, 1996) (default)");
		q->done = true;
		return 0;
	}
	if (!strcmp(type, "pc") || !strncmp(type, "pc-i440fx", 9))
		return 0;
	if (strcmp(type, "q35") && strncmp(type, "pc-q35", 6))
		return qemu_fail(q, "machine %s is not there; pc is", type);
	log_warn("%s: instead of a q35 this is a pc (i440FX and PIIX3)", q->flag);
	return 0;
}

/* Of its properties only accel says something; the others tune QEMU. */
static int flag_machine(struct qemu *q, const char *value)
{
	char *copy = xstrdup(value), *rest = copy;
	struct qemu_option o;
	int rc = 0;

	while (!rc && qemu_next_option(&rest, rest == copy ? "type" : NULL, &o)) {
		if (!strcmp(o.key, "type"))
			rc = machine_type(q, o.value);
		else if (!strcmp(o.key, "accel"))
			rc = flag_accel(q, o.value);
	}
	free(copy);
	return rc;
}

/* The model that is nearest: of those with AVX2 all that this host has. */
static const char *cpu_model(const char *name)
{
	static const struct {
		const char *prefix, *model;
	} models[] = {
		{"486", "486"},
		{"pentium", "pentium3"},
		{"host", "max"},
		{"max", "max"},
		{"Haswell", "max"},
		{"Broadwell", "max"},
		{"Skylake", "max"},
		{"Cascadelake", "max"},
		{"Cooperlake", "max"},
		{"Icelake", "max"},
		{"SapphireRapids", "max"},
		{"EPYC", "max"},
		{"qemu", "baseline"},
		{"kvm", "baseline"},
		{"base", "baseline"},
		{"core2duo", "baseline"},
		{"coreduo", "baseline"},
		{"Conroe", "baseline"},
		{"Penryn", "baseline"},
		{"Nehalem", "baseline"},
		{"Westmere", "baseline"},
		{"SandyBridge", "baseline"},
		{"IvyBridge", "baseline"},
		{"Denverton", "baseline"},
		{"Snowridge", "baseline"},
		{"n270", "baseline"},
		{"athlon", "baseline"},
		{"phenom", "baseline"},
		{"Opteron", "baseline"},
		{"Dhyana", "baseline"},
		{"x86-64-v2", "baseline"},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(models); i++)
		if (!strncmp(name, models[i].prefix, strlen(models[i].prefix)))
			return models[i].model;
	return NULL;
}

/* +feature, -feature, feature=on: those that our models have; the others are said. */
static void add_feature(struct qemu *q, char *text, const struct qemu_option *o)
{
	bool sign = o->key[0] == '+' || o->key[0] == '-';
	bool on = sign ? o->key[0] == '+' : qemu_on(o->value);
	size_t len = strlen(text);
	struct x86_model scratch;
	char err[256], *word = text + len;

	if (!strcmp(o->key, "vendor"))
		sprintf(word, ",vendor=%.12s", o->value);
	else
		sprintf(word, ",%c%.32s", on ? '+' : '-', o->key + sign);
	for (char *p = word; *p; p++)
		if (*p == '_')
			*p = '-';
	if (!x86_model_parse(&scratch, text, false, err, sizeof(err)))
		return;
	*word = '\0';
	if (on && strcmp(o->key, "enforce") && strcmp(o->key, "check") &&
		strcmp(o->key, "migratable"))
		log_warn("%s: there is no CPU feature %s here", q->flag, o->key + sign);
}

static int flag_cpu(struct qemu *q, const char *value)
{
	char *copy = xstrdup(value), *rest = copy;
	char *text = xcalloc(strlen(value) * 2 + 64, 1);
	const char *model;
	struct qemu_option o;
	int rc;

	qemu_next_option(&rest, "model", &o);
	model = cpu_model(o.value);
	if (!strcmp(value, "help") || !strcmp(value, "?")) {
		puts("Available CPUs:\nx86 486\nx86 max\nx86 pentium3\nx86 qemu64\n"
		     "others are taken for the nearest of these");
		q->done = true;
		rc = 0;
	} else if (!model) {
		rc = qemu_fail(q, "unknown CPU %s; -cpu help lists them", o.value);
	} else {
		strcpy(text, model);
		while (qemu_next_option(&rest, NULL, &o))
			add_feature(q, text, &o);
		rc = qemu_set(q, "cpu-model", text);
	}
	free(text);
	free(copy);
	return rc;
}

static int flag_no_reboot(struct qemu *q, const char *value)
{
	return qemu_set(q, "on", "reset=end");
}

static int flag_no_shutdown(struct qemu *q, const char *value)
{
	return qemu_set(q, "on", "poweroff=stop");
}

/* -action reboot=shutdown,shutdown=pause,... */
static int flag_action(struct qemu *q, const char *value)
{
	static const char *const words[][3] = {{"reboot=shutdown", "reset=end"},
		{"reboot=reset", "reset=restart"}, {"shutdown=pause", "poweroff=stop"},
		{"shutdown=poweroff", "poweroff=end"}};
	char *copy = xstrdup(value), *rest = copy, *part;
	int rc = 0;

	while (!rc && (part = config_next_part(&rest)))
		for (unsigned i = 0; i < ARRAY_SIZE(words); i++)
			if (!strcmp(part, words[i][0]))
				rc = qemu_set(q, "on", words[i][1]);
	free(copy);
	return rc;
}

static int flag_paused(struct qemu *q, const char *value)
{
	return qemu_set(q, "paused", NULL);
}

/* tcp:[HOST]:PORT or unix:PATH, and what QEMU says of its own end; tcp listens here alone. */
static int flag_gdb(struct qemu *q, const char *value)
{
	char *copy = xstrdup(value), *rest = copy, *addr = config_next_part(&rest);
	char *path = NULL;
	int rc;

	if (!strcmp(addr, "none"))
		rc = 0;
	else if (!strncmp(addr, "tcp:", 4))
		rc = qemu_set(q, "gdb", addr[4] == ':' ? addr + 5 : addr + 4);
	else if (!strncmp(addr, "unix:", 5))
		rc = qemu_set(q, "gdb",
			path = xasprintf("%s%s", strchr(addr, '/') ? "" : "./", addr + 5));
	else
		rc = qemu_fail(q, "'%s' is not there; tcp::PORT and unix:PATH are", addr);
	free(path);
	free(copy);
	return rc;
}

static int flag_gdb_1234(struct qemu *q, const char *value)
{
	return qemu_set(q, "gdb", "1234");
}

static int flag_icount(struct qemu *q, const char *value)
{
	return qemu_set(q, "clock", "instructions");
}

/* ---- what it starts ---- */

static int flag_kernel(struct qemu *q, const char *value)
{
	if (access(value, R_OK)) /* in words that scripts look for */
		return qemu_fail(q, "could not open kernel file '%s': %s", value, strerror(errno));
	return qemu_set(q, "kernel", value);
}

static int flag_initrd(struct qemu *q, const char *value)
{
	return qemu_set(q, "initrd", value);
}

static int flag_append(struct qemu *q, const char *value)
{
	return qemu_set(q, "cmdline", value);
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* The firmware that does nothing but start -kernel is the start that we have without any. */
static int flag_bios(struct qemu *q, const char *value)
{
	static const char *const ours[] = {
		"qboot.rom", "bios.bin", "bios-256k.bin", "bios-microvm.bin"};
	char *text;
	int rc;

	for (unsigned i = 0; i < ARRAY_SIZE(ours); i++)
		if (!strcmp(base_name(value), ours[i]) && access(value, R_OK))
			return 0;
	if (!strcmp(base_name(value), "qboot.rom"))
		return 0;
	text = xasprintf("%s%s", strpbrk(value, "/.") ? "" : "./", value);
	rc = qemu_set(q, "firmware", text);
	free(text);
	return rc;
}

/* -boot dc, -boot order=d,once=c,menu=on; n, the network, is left out. */
static int flag_boot(struct qemu *q, const char *value)
{
	char *copy = xstrdup(value), *rest = copy, letters[8] = "";
	struct qemu_option o;
	int rc = 0;

	while (qemu_next_option(&rest, "order", &o)) {
		size_t n = 0;

		if (strcmp(o.key, "order") && strcmp(o.key, "once"))
			continue;
		for (const char *p = o.value; *p && n < 4; p++)
			if (strchr("acd", *p))
				letters[n++] = *p;
		letters[n] = '\0';
	}
	if (letters[0])
		rc = qemu_set(q, "boot", letters);
	free(copy);
	return rc;
}

/* ---- disks ---- */

static int flag_hd(struct qemu *q, const char *value)
{
	return qemu_drive_path(q, value, IF_IDE, q->flag[3] - 'a', false);
}

static int flag_cdrom(struct qemu *q, const char *value)
{
	return qemu_drive_path(q, value, IF_IDE, -1, true);
}

static int flag_fd(struct qemu *q, const char *value)
{
	return qemu_drive_path(q, value, IF_FLOPPY, q->flag[3] - 'a', false);
}

static int flag_pflash(struct qemu *q, const char *value)
{
	return qemu_drive_path(q, value, IF_PFLASH, -1, false);
}

static int flag_snapshot(struct qemu *q, const char *value)
{
	q->snapshot = true;
	return 0;
}

/* ---- terminals ---- */

static int flag_nographic(struct qemu *q, const char *value)
{
	q->nographic = true;
	return 0;
}

static int flag_nodefaults(struct qemu *q, const char *value)
{
	q->nodefaults = true;
	return 0;
}

static int flag_serial(struct qemu *q, const char *value)
{
	if (q->serials == QEMU_MAX_SERIALS)
		return qemu_fail(q, "at most %d serial lines", QEMU_MAX_SERIALS);
	q->serial[q->serials++] = xstrdup(value);
	return 0;
}

static int flag_monitor(struct qemu *q, const char *value)
{
	keep(&q->monitor, value);
	return 0;
}

/* -mon chardev=ID: that chardev is the monitor's too. */
static int flag_mon(struct qemu *q, const char *value)
{
	q->c->mux = true;
	return 0;
}

static int flag_debugcon(struct qemu *q, const char *value)
{
	keep(&q->debugcon, value);
	return 0;
}

/* -chardev stdio|file|null|pty,id=ID[,path=PATH][,mux=on], in the words of -serial. */
static int flag_chardev(struct qemu *q, const char *value)
{
	char *copy = xstrdup(value), *rest = copy;
	const char *kind = "", *id = NULL, *path = NULL;
	struct qemu_chardev *c = &q->chardev[q->chardevs];
	struct qemu_option o;
	bool mux = false;
	int rc = 0;

	while (qemu_next_option(&rest, rest == copy ? "backend" : NULL, &o)) {
		if (!strcmp(o.key, "backend"))
			kind = o.value;
		else if (!strcmp(o.key, "id"))
			id = o.value;
		else if (!strcmp(o.key, "path"))
			path = o.value;
		else if (!strcmp(o.key, "mux"))
			mux = qemu_on(o.value);
	}
	if (!id || q->chardevs == QEMU_MAX_CHARDEVS) {
		rc = qemu_fail(q, "it wants an id=, and there are at most %d", QEMU_MAX_CHARDEVS);
	} else {
		c->id = xstrdup(id);
		c->where = xasprintf("%s%s%s%s", mux ? "mon:" : "", kind,
			path && !strcmp(kind, "file") ? ":" : "",
			path && !strcmp(kind, "file") ? path : "");
		q->chardevs++;
	}
	free(copy);
	return rc;
}

/* :N is port 5900 + N, here of 127.0.0.1 alone. */
static int flag_vnc(struct qemu *q, const char *value)
{
	char *copy = xstrdup(value), *rest = copy, *text;
	const char *where = config_next_part(&rest), *colon = where ? strrchr(where, ':') : NULL;
	int rc = 0;

	q->headless = !where || !strcmp(where, "none");
	q->display = !q->headless;
	if (!q->headless) {
		if (!strncmp(where, "unix:", 5))
			text = xasprintf("vnc=%s", where + 5);
		else if (colon)
			text = xasprintf("vnc=%lu", 5900 + strtoul(colon + 1, NULL, 10));
		else
			text = xstrdup("vnc");
		rc = qemu_set(q, "display", text);
		free(text);
	}
	free(copy);
	return rc;
}

static int open_window(struct qemu *q)
{
	if (getenv("DISPLAY") || getenv("WAYLAND_DISPLAY"))
		return qemu_set(q, "display", "window");
	log_warn(
		"%s: there is no desktop; the screen is in the terminal, if there is one", q->flag);
	return 0;
}

static int flag_display(struct qemu *q, const char *value)
{
	char *copy = xstrdup(value), *rest = copy;
	struct qemu_option o;
	int rc = 0;

	qemu_next_option(&rest, "type", &o);
	q->headless = !strcmp(o.value, "none");
	q->display = !q->headless;
	if (!strcmp(o.value, "help") || !strcmp(o.value, "?"))
		q->done = puts("Available display backend types:\nnone\ncurses\nsdl\nvnc") >= 0;
	else if (!strcmp(o.key, "vnc"))
		rc = flag_vnc(q, value + strlen("vnc="));
	else if (!strcmp(o.value, "curses"))
		rc = qemu_set(q, "display", "text");
	else if (!strcmp(o.value, "gtk") || !strcmp(o.value, "sdl") || !strcmp(o.value, "default"))
		rc = open_window(q);
	else if (!q->headless)
		rc = qemu_fail(q, "%s is not there; -display help lists what is", o.value);
	free(copy);
	return rc;
}

static int flag_curses(struct qemu *q, const char *value)
{
	return flag_display(q, "curses");
}

static int flag_vga(struct qemu *q, const char *value)
{
	if (!strcmp(value, "none") || !strcmp(value, "std"))
		return 0;
	log_warn("%s %s: the display is a plain VGA (std)", q->flag, value);
	return 0;
}

/* ---- what has no effect, what is not there, and help ---- */

static int ignore(struct qemu *q, const char *value)
{
	return 0;
}

static int leave_out(struct qemu *q, const char *value)
{
	return qemu_without(q, "it is not there in this version");
}

static int refuse(struct qemu *q, const char *value)
{
	return qemu_fail(q, "it is not there in this version");
}

static int flag_object(struct qemu *q, const char *value)
{
	if (!strncmp(value, "rng-random", 10) || !strncmp(value, "rng-builtin", 11) ||
		!strncmp(value, "memory-backend-", 15))
		return 0; /* the machine has both anyhow */
	return refuse(q, value);
}

static int flag_trace(struct qemu *q, const char *value)
{
	if (!strcmp(value, "help") || !strcmp(value, "?")) {
		puts("Log items (comma separated):\nexits           one line an exit");
		q->done = true;
		return 0;
	}
	if (!strcmp(value, "exits"))
		return qemu_set(q, "trace", "exits");
	log_warn("%s %s: only 'exits' is logged in this version", q->flag, value);
	return 0;
}

static int flag_trace_file(struct qemu *q, const char *value)
{
	return qemu_set(q, "trace-file", value);
}

static int flag_help(struct qemu *q, const char *value);

static int flag_version(struct qemu *q, const char *value)
{
	puts("QEMU emulator version " QEMU_VERSION " (tinamou " TINAMOU_VERSION ")");
	puts("Its command line alone: the machine is tinamou's");
	q->done = true;
	return 0;
}

struct flag {
	const char *name, *arg; /* arg: as -help shows it; NULL: none */
	int (*set)(struct qemu *q, const char *value);
	const char *help; /* NULL: -help does not show it */
};

static const struct flag flags[] = {
	{"h", NULL, flag_help, NULL},
	{"help", NULL, flag_help, "display this help and exit"},
	{"version", NULL, flag_version, "display version information and exit"},
	{"machine", "[type=]name[,prop[=value][,...]]", flag_machine, "the board: pc"},
	{"M", "name", flag_machine, NULL},
	{"cpu", "cpu", flag_cpu, "select CPU ('-cpu help' for list)"},
	{"accel", "[accel=]accelerator[,...]", flag_accel,
		"kvm or tcg; repeated, the first that works"},
	{"smp", "[[cpus=]n][,cores=n][,threads=n][,sockets=n]", flag_smp, "number of CPUs"},
	{"boot", "[order=drives][,once=drives]", flag_boot, "a floppy, c hard disk, d CD-ROM"},
	{"m", "[size=]megs", flag_memory, "configure guest RAM, default 128 MiB"},
	{"name", "string", ignore, "no effect"},
	{"uuid", "uuid", ignore, NULL},
	{"device", "driver[,prop[=value][,...]]", qemu_device_add,
		"add device ('-device help' for list)"},
	{"fda/-fdb", "file", flag_fd, "use 'file' as floppy disk 0/1 image"},
	{"hda/-hdb", "file", flag_hd, "use 'file' as IDE hard disk 0/1 image"},
	{"hdc/-hdd", "file", flag_hd, "use 'file' as IDE hard disk 2/3 image"},
	{"cdrom", "file", flag_cdrom, "use 'file' as IDE cdrom image (cdrom is ide1 master)"},
	{"drive",
		"[file=file][,if=type][,index=i][,media=d][,format=f][,snapshot=on|off][,readonly="
		"on|off]",
		qemu_drive_add, "use 'file' as a drive image"},
	{"snapshot", NULL, flag_snapshot, "write to temporary files instead of disk image files"},
	{"pflash", "file", flag_pflash, "use 'file' as a parallel flash image"},
	{"display", "none|curses|sdl|vnc=display", flag_display, "select display backend type"},
	{"nographic", NULL, flag_nographic,
		"disable graphical output and redirect serial I/Os to console"},
	{"curses", NULL, flag_curses, NULL},
	{"vga", "[std|none]", flag_vga, "select video card type"},
	{"kernel", "bzImage", flag_kernel, "use 'bzImage' as kernel image"},
	{"append", "cmdline", flag_append, "use 'cmdline' as kernel command line"},
	{"initrd", "file", flag_initrd, "use 'file' as initial ram disk"},
	{"bios", "file", flag_bios, "set the filename for the BIOS"},
	{"serial", "dev", flag_serial, "redirect the serial port to char device 'dev'"},
	{"monitor", "dev", flag_monitor, "stdio or none"},
	{"mon", "[chardev=]name", flag_mon, NULL},
	{"chardev", "stdio|file|null|pty,id=id[,mux=on|off][,path=path]", flag_chardev,
		"a char device for -serial chardev:id"},
	{"debugcon", "dev", flag_debugcon,
		"redirect the debug console, port e9h, to char device 'dev'"},
	{"no-reboot", NULL, flag_no_reboot, "exit instead of rebooting"},
	{"no-shutdown", NULL, flag_no_shutdown, "stop before shutdown"},
	{"action", "reboot=reset|shutdown", flag_action, NULL},
	{"S", NULL, flag_paused, "freeze CPU at startup (use 'c' to start execution)"},
	{"gdb", "tcp::port|unix:path", flag_gdb, "wait for a gdb connection, on this host alone"},
	{"s", NULL, flag_gdb_1234, "shorthand for -gdb tcp::1234"},
	{"enable-kvm", NULL, flag_enable_kvm, "enable KVM full virtualization support"},
	{"nodefaults", NULL, flag_nodefaults, "don't create default devices"},
	{"d", "item1,...", flag_trace, "enable logging of specified items ('-d help' for list)"},
	{"D", "logfile", flag_trace_file, "output log to logfile (default stderr)"},
	{"icount", "[shift=N|auto]", flag_icount, "time counts instructions"},
	{"netdev", "user|tap,id=str[,hostfwd=rule][,ifname=name]", qemu_net_flag,
		"a network for -device virtio-net-pci,netdev=str"},
	{"nic", "none|user|tap[,mac=addr][,hostfwd=rule]", qemu_net_flag, "a network and its card"},
	{"net", "nic|user|none[,...]", qemu_net_flag, "the same, as it was written before"},
	{"object", "type,id=id", flag_object, NULL},
	{"rtc", "[base=utc]", ignore, NULL},
	{"k", "language", ignore, NULL},
	{"L", "path", ignore, NULL},
	{"global", "driver.prop=value", ignore, NULL},
	{"no-user-config", NULL, ignore, NULL},
	{"no-acpi", NULL, ignore, NULL},
	{"no-hpet", NULL, ignore, NULL},
	{"no-fd-bootchk", NULL, ignore, NULL},
	{"overcommit", "opt", ignore, NULL},
	{"mem-prealloc", NULL, ignore, NULL},
	{"sandbox", "on", ignore, NULL},
	{"msg", "opt", ignore, NULL},
	{"echr", "chr", ignore, NULL},
	{"full-screen", NULL, ignore, NULL},
	{"parallel", "dev", ignore, NULL},
	{"smbios", "opt", ignore, NULL},
	{"usb", NULL, leave_out, NULL},
	{"usbdevice", "name", leave_out, NULL},
	{"soundhw", "name", leave_out, NULL},
	{"audiodev", "driver,id=id", leave_out, NULL},
	{"audio", "driver", leave_out, NULL},
	{"watchdog", "model", leave_out, NULL},
	{"vnc", "display", flag_vnc, "a VNC server at port 5900 + N for :N, on this host alone"},
	{"spice", "opt", refuse, NULL},
	{"qmp", "dev", refuse, NULL},
	{"daemonize", NULL, refuse, NULL},
	{"pidfile", "file", refuse, NULL},
	{"incoming", "uri", refuse, NULL},
	{"loadvm", "tag", refuse, NULL},
	{"virtfs", "opt", refuse, NULL},
	{"fsdev", "opt", refuse, NULL},
	{"fw_cfg", "opt", refuse, NULL},
	{"dtb", "file", refuse, NULL},
	{"option-rom", "file", refuse, NULL},
	{"numa", "opt", refuse, NULL},
	{"readconfig", "file", refuse, NULL},
	{"chroot", "dir", refuse, NULL},
	{"runas", "user", refuse, NULL},
	{"plugin", "file", refuse, NULL},
};

static int flag_help(struct qemu *q, const char *value)
{
	flag_version(q, value);
	puts("usage: qemu-system-x86_64 [options] [disk_image]\n\n"
	     "'disk_image' is a raw hard disk image for IDE hard disk 0\n\n"
	     "Standard options:");
	for (unsigned i = 0; i < ARRAY_SIZE(flags); i++) {
		const struct flag *f = &flags[i];
		int n;

		if (!f->help)
			continue;
		n = printf("-%s%s%s", f->name, f->arg ? " " : "", f->arg ? f->arg : "");
		printf("%s%*s%s\n", n < HELP_COLUMN ? "" : "\n",
			n < HELP_COLUMN ? HELP_COLUMN - n : HELP_COLUMN, "", f->help);
	}
	return 0;
}

/* ---- reading ---- */

/* A row's name may be two: hda/-hdb. */
static bool is_called(const struct flag *f, const char *word)
{
	size_t len = strcspn(f->name, "/");

	if (strlen(word) == len && !strncmp(f->name, word, len))
		return true;
	return f->name[len] && !strcmp(f->name + len + 2, word);
}

static const struct flag *find_flag(const char *word)
{
	word += word[1] == '-' ? 2 : 1;
	for (unsigned i = 0; i < ARRAY_SIZE(flags); i++)
		if (is_called(&flags[i], word))
			return &flags[i];
	return NULL;
}

static int read_flags(struct qemu *q, int argc, char **argv)
{
	int rc = 0;

	for (int i = 0; i < argc && !rc && !q->done; i++) {
		const struct flag *f;

		q->flag = argv[i];
		if (argv[i][0] != '-') {
			rc = qemu_drive_path(q, argv[i], IF_IDE, 0, false);
			continue;
		}
		f = find_flag(argv[i]);
		if (!f)
			rc = qemu_fail(q, "invalid option; -help lists those that are known");
		else if (f->arg && ++i == argc)
			rc = qemu_fail(q, "requires an argument");
		else
			rc = f->set(q, f->arg ? argv[i] : NULL);
	}
	return rc;
}

/* ---- what flags mean together ---- */

/* tcg among them: the fastest engine that works, which is what such a list asks for. */
static int finish_engine(struct qemu *q)
{
	if (!q->accel)
		return 0;
	if (strstr(q->accel, "tcg") && strstr(q->accel, "kvm"))
		return qemu_set(q, "engine", "auto");
	if (strstr(q->accel, "tcg"))
		return qemu_set(q, "engine", "translate,interpret");
	q->flag = "-accel";
	if (strstr(q->accel, "kvm"))
		return qemu_set(q, "engine", "kvm");
	return qemu_fail(q, "invalid accelerator %s; kvm and tcg are known", q->accel);
}

/* A char device in the words of --serial and --debugcon; NULL: there is no such thing. */
static char *place(const char *where)
{
	if (!strcmp(where, "none") || !strcmp(where, "null") || !strcmp(where, "/dev/null"))
		return xstrdup("none");
	if (!strcmp(where, "stdio") || !strcmp(where, "pty") || !strncmp(where, "file:", 5))
		return xstrdup(where);
	if (!strcmp(where, "/dev/stdout"))
		return xstrdup("stdio");
	if (where[0] == '/')
		return xasprintf("file:%s", where);
	return NULL;
}

static const char *resolve(struct qemu *q, const char *where)
{
	if (strncmp(where, "chardev:", 8))
		return where;
	for (unsigned i = 0; i < q->chardevs; i++)
		if (!strcmp(q->chardev[i].id, where + 8))
			return q->chardev[i].where;
	return where;
}

/* vc is a tab of QEMU's window: here the side of the terminal that Ctrl-A Tab shows. */
static const char *default_serial(const struct qemu *q)
{
	bool none = q->monitor && !strcmp(q->monitor, "none");

	if (q->nographic && !q->nodefaults)
		return none ? "stdio" : "mon:stdio";
	return q->nodefaults || !isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO) ? "none" : "vc";
}

static int finish_serial(struct qemu *q)
{
	const char *where = q->hvc       ? q->hvc
			    : q->serials ? resolve(q, q->serial[0])
					 : default_serial(q);
	bool mon = !strncmp(where, "mon:", 4);
	char *text;
	int rc;

	q->flag = "-serial";
	for (unsigned i = q->hvc ? 0 : 1; i < q->serials; i++)
		if (strcmp(q->serial[i], "none") && strcmp(q->serial[i], "null"))
			log_warn("%s %s: there is one serial line in this version", q->flag,
				q->serial[i]);
	where += mon ? 4 : 0;
	q->c->mux |= mon;
	if (!strncmp(where, "vc", 2))
		return 0;
	text = place(where);
	if (!text)
		return qemu_fail(q, "%s is not there; stdio, file:PATH, pty and none are", where);
	rc = qemu_set(q, "serial", text);
	if (!rc && !strcmp(text, "stdio")) {
		q->c->keep_signals = !mon && !q->nographic;
		rc = qemu_set(q, "console", "serial");
	}
	free(text);
	return rc;
}

/* A screen is shown where there is a terminal; it is no text among the output. */
static int finish_display(struct qemu *q)
{
	bool terminal = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);

	if (q->nographic || q->headless || (!terminal && !q->display))
		return qemu_set(q, "display", "none");
	return 0;
}

static int finish_debugcon(struct qemu *q)
{
	const char *where = q->debugcon ? resolve(q, q->debugcon) : NULL;
	char *text;
	int rc;

	q->flag = "-debugcon";
	if (!where)
		return 0;
	text = place(strncmp(where, "mon:", 4) ? where : where + 4);
	if (!text || !strcmp(text, "pty"))
		rc = qemu_fail(q, "%s is not there; stdio, file:PATH and none are", where);
	else
		rc = qemu_set(q, "debugcon", text);
	free(text);
	return rc;
}

static int finish_monitor(struct qemu *q)
{
	const char *where = q->monitor ? resolve(q, q->monitor) : "keys";

	q->flag = "-monitor";
	if (!strcmp(where, "null") || !strcmp(where, "/dev/null"))
		where = "none";
	if (!strcmp(where, "mon:stdio"))
		where = "stdio";
	if (!strcmp(where, "vc"))
		where = "keys";
	if (strcmp(where, "keys") && strcmp(where, "stdio") && strcmp(where, "none"))
		return qemu_fail(q, "%s is not there; stdio and none are", where);
	return qemu_set(q, "monitor", where);
}

static int finish(struct qemu *q)
{
	int rc = finish_engine(q);

	if (!rc)
		rc = qemu_drives_finish(q);
	if (!rc)
		rc = qemu_net_finish(q);
	if (!rc)
		rc = finish_serial(q);
	if (!rc)
		rc = finish_debugcon(q);
	if (!rc)
		rc = finish_monitor(q);
	if (!rc)
		rc = finish_display(q);
	if (!rc && q->hvc)
		rc = qemu_set(q, "hvc", NULL);
	if (!rc && !q->exit_port)
		rc = qemu_set(q, "exit-port", "none");
	if (!rc && !q->c->trace_exits && q->c->trace_file)
		rc = qemu_set(q, "trace", "exits");
	/* Without anything to start QEMU shows what its firmware says of that. */
	if (!rc && !q->drives && !q->c->kernel && q->c->firmware == FIRMWARE_AUTO)
		rc = qemu_set(q, "firmware", "bios");
	return rc;
}

/* Before any flag: what QEMU does if nothing is said. */
static int defaults(struct qemu *q)
{
	static const char *const set[][2] = {{"memory", "128M"}, {"on", "triple-fault=restart"},
		{"on", "halt=stay"}, {"quiet", NULL}};
	int rc = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(set) && !rc; i++)
		rc = qemu_set(q, set[i][0], set[i][1]);
	return rc;
}

static void free_flags(struct qemu *q)
{
	qemu_net_free(q);
	for (unsigned i = 0; i < q->drives; i++) {
		free(q->drive[i].path);
		free(q->drive[i].format);
		free(q->drive[i].id);
	}
	for (unsigned i = 0; i < q->chardevs; i++) {
		free(q->chardev[i].id);
		free(q->chardev[i].where);
	}
	for (unsigned i = 0; i < q->serials; i++)
		free(q->serial[i]);
	free(q->monitor);
	free(q->debugcon);
	free(q->hvc);
	free(q->accel);
}

int cmd_qemu(const char *name, int argc, char **argv)
{
	struct config c;
	char err[512] = "";
	struct qemu q = {.c = &c, .flag = name, .err = err, .errlen = sizeof(err)};
	int rc, status = STATUS_OK;

	config_init(&c);
	c.qemu = true;
	rc = defaults(&q);
	if (!rc)
		rc = config_environment(&c, err, sizeof(err));
	if (!rc)
		rc = read_flags(&q, argc, argv);
	if (!rc && !q.done)
		rc = finish(&q);
	if (rc) {
		fprintf(stderr, "%s: %s\n", name, err);
		status = 1; /* QEMU's */
	}
	free_flags(&q);
	if (rc || q.done)
		config_free(&c);
	else
		status = run_config(&c);
	return status;
}
