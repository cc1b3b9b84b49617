/* config.c - the table of options and its sources; see config.h. */
#include "cmd/config.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/listen.h"
#include "core/vm.h"
#include "debug/gdb.h"
#include "host/vsock.h"
#include "util/util.h"

#define MEMORY_DEFAULT (512 * MiB)
#define MEMORY_MIN     (4 * KiB)
#define TAG_MAX        36 /* letters of a share's tag: virtio 1.2, 5.11.4 */
#define MEMORY_MAX     (UINT64_C(1) << 40)

struct context {
	struct config *c;
	const char *name; /* of the option at hand */
	char *err;
	size_t errlen;
};

__attribute__((format(printf, 2, 3))) static int fail(struct context *x, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(x->err, x->errlen, fmt, ap);
	va_end(ap);
	return -1;
}

/* ---- values ---- */

bool config_size(const char *text, uint64_t *bytes)
{
	static const char suffix[] = "KMGT";
	char *end;
	uint64_t n;
	const char *s;

	if (!isdigit((unsigned char)text[0]))
		return false;
	errno = 0;
	n = strtoull(text, &end, 0);
	if (errno)
		return false;
	if (*end) {
		s = strchr(suffix, toupper((unsigned char)*end));
		if (!s || (end[1] && strcasecmp(end + 1, "b") && strcasecmp(end + 1, "ib")))
			return false;
		if (__builtin_mul_overflow(n, UINT64_C(1) << (10 * (s - suffix + 1)), &n))
			return false;
	}
	*bytes = n;
	return true;
}

static bool number(const char *text, uint64_t max, uint64_t *value)
{
	char *end;

	errno = 0;
	*value = strtoull(text, &end, 0);
	return isdigit((unsigned char)text[0]) && !errno && !*end && *value <= max;
}

/* An address is hex, with or without 0x. */
static bool address(const char *text, uint64_t *value)
{
	char *end;

	errno = 0;
	*value = strtoull(text, &end, 16);
	return isxdigit((unsigned char)text[0]) && !errno && !*end;
}

char *config_next_part(char **rest)
{
	char *from = *rest, *to = from, *start = from;

	if (!from)
		return NULL;
	for (; *from; from++, to++) {
		if (*from == ',' && from[1] == ',')
			from++;
		else if (*from == ',')
			break;
		*to = *from;
	}
	*rest = *from ? from + 1 : NULL;
	*to = '\0';
	return start;
}

static void replace(char **s, const char *value)
{
	free(*s);
	*s = xstrdup(value);
}

/* ---- one function an option ---- */

static int choose(struct context *x, const char *option, const char *value, const char *const *list)
{
	char all[256] = "";

	for (int i = 0; list[i]; i++)
		if (!strcmp(value, list[i]))
			return i;
	for (int i = 0; list[i]; i++)
		snprintf(all + strlen(all), sizeof(all) - strlen(all), "%s%s", i ? ", " : "",
			list[i]);
	return fail(x, "--%s %s: known are %s", option, value, all);
}

static int opt_memory(struct context *x, const char *value)
{
	uint64_t n;

	if (!config_size(value, &n))
		return fail(x, "--memory %s: not a size; write for example 512M or 4G", value);
	if (n < MEMORY_MIN || n > MEMORY_MAX || n % 4096)
		return fail(x, "--memory %s: must be 4K to 1024G, a multiple of 4K", value);
	x->c->memory = n;
	return 0;
}

/* A CPU's number is its package's and, in the lowest bits, the core's: so cores are a power of 2.
 */
static bool shared_evenly(uint64_t cpus, uint64_t sockets)
{
	uint64_t cores = cpus / sockets;

	return !(cpus % sockets) && (sockets == 1 || !(cores & (cores - 1)));
}

static int opt_cpus(struct context *x, const char *value)
{
	static const char word[] = ",sockets=";
	uint64_t n, sockets = 0;
	char count[16];
	const char *more = strstr(value, word);

	snprintf(count, sizeof(count), "%.*s", more ? (int)(more - value) : 15, value);
	if (!number(count, VM_MAX_VCPUS, &n) || n < 1)
		return fail(x, "--cpus %s: must be 1 to %d", value, VM_MAX_VCPUS);
	if (more && (!number(more + strlen(word), n, &sockets) || sockets < 1 ||
			    !shared_evenly(n, sockets)))
		return fail(x, "--cpus %s: each socket has the same number of cores, a power of 2",
			value);
	x->c->cpus = (unsigned)n;
	x->c->sockets = (unsigned)sockets;
	return 0;
}

static int opt_engine(struct context *x, const char *value)
{
	replace(&x->c->engine, value);
	return 0;
}

static int opt_timeout(struct context *x, const char *value)
{
	uint64_t n;

	if (!number(value, 10000000, &n) || n < 1)
		return fail(x, "--timeout %s: seconds, 1 or more", value);
	x->c->timeout = (unsigned)n;
	return 0;
}

static int opt_clock(struct context *x, const char *value)
{
	static const char *const names[] = {"host", "instructions", NULL};
	int n = choose(x, "clock", value, names);

	x->c->clock = n == 1 ? CLOCK_INSTRUCTIONS : CLOCK_HOST;
	return n < 0 ? -1 : 0;
}

static int flat_key(struct context *x, const char *key)
{
	if (strncmp(key, "entry=", 6))
		return fail(x, "--flat: unknown key '%s'; known is entry=ADDR", key);
	if (!address(key + 6, &x->c->entry))
		return fail(x, "--flat: entry=%s is no hex address", key + 6);
	x->c->has_entry = true;
	return 0;
}

static int flat_place(struct context *x, char *place)
{
	struct config_flat *f = &x->c->flat[x->c->flats];
	char *at = strrchr(place, '@');

	if (!at || at == place || !address(at + 1, &f->addr))
		return fail(x, "--flat %s: write FILE@ADDR with a hex address", place);
	*at = '\0';
	f->path = xstrdup(place);
	x->c->flats++;
	return 0;
}

static int opt_flat(struct context *x, const char *value)
{
	char *copy = xstrdup(value), *rest = copy, *part;
	int rc;

	if (x->c->flats == CONFIG_MAX_FLATS) {
		free(copy);
		return fail(x, "--flat: at most %d images", CONFIG_MAX_FLATS);
	}
	rc = flat_place(x, config_next_part(&rest));
	while (!rc && (part = config_next_part(&rest)))
		rc = flat_key(x, part);
	free(copy);
	return rc;
}

static int opt_console(struct context *x, const char *value)
{
	static const char *const names[] = {"auto", "serial", "screen", "none", NULL};
	int n = choose(x, "console", value, names);

	x->c->console = (enum console)MAX(n, 0);
	return n < 0 ? -1 : 0;
}

static int opt_serial(struct context *x, const char *value)
{
	static const char *const names[] = {"stdio", "none", "file:PATH", "pty", NULL};
	int n;

	if (!strncmp(value, "file:", 5) && value[5]) {
		x->c->serial = SERIAL_FILE;
		replace(&x->c->serial_path, value + 5);
		return 0;
	}
	n = choose(x, "serial", value, names);
	x->c->serial = (enum serial)MAX(n, 0);
	return n < 0 ? -1 : 0;
}

static int opt_debugcon(struct context *x, const char *value)
{
	static const char *const names[] = {"none", "stdio", "file:PATH", NULL};
	int n;

	if (!strncmp(value, "file:", 5) && value[5]) {
		x->c->debugcon = DEBUGCON_FILE;
		replace(&x->c->debugcon_path, value + 5);
		return 0;
	}
	n = choose(x, "debugcon", value, names);
	x->c->debugcon = (enum debugcon)MAX(n, 0);
	return n < 0 ? -1 : 0;
}

static int opt_display(struct context *x, const char *value)
{
	static const char *const names[] = {"none", "auto", "terminal", "blocks", "sixel", "text",
		"window", "vnc", "vnc=ADDR", NULL};
	int n;

	if (!strncmp(value, "vnc=", 4)) {
		x->c->display = DISPLAY_VNC;
		replace(&x->c->display_address, value + 4);
		return listen_address_ok(value + 4)
			       ? 0
			       : fail(x,
					 "--display %s: ADDR is a path with a slash, or "
					 "[HOST:]PORT on this host",
					 value);
	}
	n = choose(x, "display", value, names);

	x->c->display = (enum display)MAX(n, 0);
	return n < 0 ? -1 : 0;
}

static int opt_monitor(struct context *x, const char *value)
{
	static const char *const names[] = {"keys", "stdio", "none", NULL};
	int n = choose(x, "monitor", value, names);

	x->c->monitor = (enum monitor_way)MAX(n, 0);
	return n < 0 ? -1 : 0;
}

/* What the machine does where it could do two things. */
static int opt_on(struct context *x, const char *value)
{
	static const char *const names[] = {"reset=restart", "reset=end", "triple-fault=end",
		"triple-fault=restart", "halt=end", "halt=stay", "poweroff=end", "poweroff=stop",
		NULL};
	bool *const flag[] = {&x->c->no_reboot, &x->c->triple_fault_resets, &x->c->stay_halted,
		&x->c->poweroff_stops};
	int n = choose(x, "on", value, names);

	if (n >= 0)
		*flag[n / 2] = n % 2;
	return n < 0 ? -1 : 0;
}

static int opt_exit_port(struct context *x, const char *value)
{
	uint64_t port = 0;

	x->c->no_exit_port = !strcmp(value, "none");
	if (!x->c->no_exit_port && (!address(value, &port) || !port || port > 0xfffc))
		return fail(x, "--exit-port %s: a hex port, or none", value);
	x->c->exit_port = (uint16_t)port;
	return 0;
}

static int opt_screenshot(struct context *x, const char *value)
{
	replace(&x->c->screenshot, value);
	return 0;
}

static int opt_trace(struct context *x, const char *value)
{
	static const char *const names[] = {"exits", NULL};
	char *copy = xstrdup(value), *rest = copy, *part;
	int n = 0;

	while (n >= 0 && (part = config_next_part(&rest)))
		n = choose(x, "trace", part, names);
	free(copy);
	x->c->trace_exits = n >= 0;
	return n < 0 ? -1 : 0;
}

static int opt_trace_file(struct context *x, const char *value)
{
	replace(&x->c->trace_file, value);
	return 0;
}

static int opt_dump(struct context *x, const char *value)
{
	struct config_dump *d = &x->c->dump[x->c->dumps];
	char *copy = xstrdup(value), *rest = copy;
	char *addr = config_next_part(&rest), *len = config_next_part(&rest);
	bool ok = x->c->dumps < CONFIG_MAX_DUMPS && len && !rest && address(addr, &d->addr) &&
		  config_size(len, &d->len) && d->len && d->len <= MiB;

	free(copy);
	if (!ok)
		return fail(x,
			"--dump %s: write ADDR,LEN with a hex address and 1 to 1M bytes, %d at "
			"most",
			value, CONFIG_MAX_DUMPS);
	x->c->dumps++;
	return 0;
}

static int opt_image(struct context *x, const char *value)
{
	if (x->c->image)
		return fail(x, "two images: %s and %s; give one (more with --flat FILE@ADDR)",
			x->c->image, value);
	x->c->image = xstrdup(value);
	return 0;
}

static int opt_as(struct context *x, const char *value)
{
	static const char *const names[] = {"disk", "cd", "floppy", "kernel", "sector", NULL};
	int n = choose(x, "as", value, names);

	x->c->as = (enum image_as)(n + AS_DISK);
	return n < 0 ? -1 : 0;
}

static int disk_key(struct context *x, struct config_disk *d, const char *key)
{
	uint64_t n;

	if (!strcmp(key, "ro"))
		d->ro = true;
	else if (!strcmp(key, "throwaway") || !strcmp(key, "snapshot"))
		d->throwaway = true;
	else if (!strncmp(key, "format=", 7) && key[7])
		replace(&d->format, key + 7);
	else if (strcmp(x->name, "floppy") && !strncmp(key, "unit=", 5) && number(key + 5, 3, &n))
		d->unit = (int)n + 1;
	else if (!strcmp(x->name, "disk") && !strcmp(key, "bus=ide"))
		d->bus = BUS_IDE;
	else if (!strcmp(x->name, "disk") && !strcmp(key, "bus=virtio"))
		d->bus = BUS_VIRTIO;
	else
		return fail(x, "--%s: unknown key '%s'; known are format=FORMAT, ro, throwaway%s",
			x->name, key,
			strcmp(x->name, "disk") ? "" : ", bus=ide, bus=virtio, unit=0 to 3");
	return 0;
}

static void free_disk(struct config_disk *d)
{
	free(d->path);
	free(d->format);
	*d = (struct config_disk){0};
}

static int parse_disk(struct context *x, struct config_disk *d, const char *value)
{
	char *copy = xstrdup(value), *rest = copy, *part = config_next_part(&rest);
	int rc = 0;

	free_disk(d);
	if (*part)
		d->path = xstrdup(part);
	else
		rc = fail(x, "--%s %s: no file's name", x->name, value);
	while (!rc && (part = config_next_part(&rest)))
		rc = disk_key(x, d, part);
	free(copy);
	return rc;
}

static int opt_disk(struct context *x, const char *value)
{
	struct config *c = x->c;

	if (c->disks == CONFIG_MAX_DISKS)
		return fail(x, "--disk: at most %d disks", CONFIG_MAX_DISKS);
	return parse_disk(x, &c->disk[c->disks++], value);
}

static int opt_floppy(struct context *x, const char *value)
{
	struct config *c = x->c;

	if (c->floppies == CONFIG_MAX_FLOPPIES)
		return fail(x, "--floppy: at most %d drives", CONFIG_MAX_FLOPPIES);
	return parse_disk(x, &c->floppy[c->floppies++], value);
}

static int opt_cdrom(struct context *x, const char *value)
{
	return parse_disk(x, &x->c->cdrom, value);
}

static int share_key(struct context *x, struct config_share *s, const char *key)
{
	if (!strcmp(key, "ro"))
		s->ro = true;
	else if (!strcmp(key, "owner=root"))
		s->as_root = true;
	else if (!strcmp(key, "steady"))
		s->steady = true;
	else if (!strncmp(key, "tag=", 4) && key[4] && strlen(key + 4) <= TAG_MAX)
		replace(&s->tag, key + 4);
	else
		return fail(x,
			"--share: unknown key '%s'; known are tag=NAME (up to %d letters), "
			"ro, owner=root, steady",
			key, TAG_MAX);
	return 0;
}

static int check_tag(struct context *x, const struct config_share *s)
{
	for (const struct config_share *i = x->c->share; i < s; i++)
		if (!strcmp(i->tag, s->tag))
			return fail(x, "--share: two folders have the tag %s; give one tag=NAME",
				s->tag);
	return 0;
}

static int opt_share(struct context *x, const char *value)
{
	struct config *c = x->c;
	struct config_share *s = &c->share[c->shares];
	char *copy, *rest, *part;
	int rc = 0;

	if (c->shares == CONFIG_MAX_SHARES)
		return fail(x, "--share: at most %d folders", CONFIG_MAX_SHARES);
	copy = rest = xstrdup(value);
	part = config_next_part(&rest);
	c->shares++;
	s->tag = xstrdup("share");
	s->path = xstrdup(part);
	if (!*part)
		rc = fail(x, "--share %s: no folder's name", value);
	while (!rc && (part = config_next_part(&rest)))
		rc = share_key(x, s, part);
	free(copy);
	return rc ? rc : check_tag(x, s);
}

static int opt_root(struct context *x, const char *value)
{
	replace(&x->c->root, value);
	return 0;
}

static void append(char ***list, unsigned *n, const char *value)
{
	*list = xrealloc(*list, (*n + 1) * sizeof(**list));
	(*list)[(*n)++] = xstrdup(value);
}

static int opt_command(struct context *x, const char *value)
{
	append(&x->c->word, &x->c->words, value);
	return 0;
}

static int opt_env(struct context *x, const char *value)
{
	if (!*value || *value == '=')
		return fail(x, "--env %s: write NAME=VALUE, or NAME for the value here", value);
	append(&x->c->variable, &x->c->variables, value);
	return 0;
}

static int opt_result(struct context *x, const char *value)
{
	replace(&x->c->result, value);
	return 0;
}

static int opt_jail(struct context *x, const char *value)
{
	static const char *const names[] = {"off", "on", NULL};
	int n = choose(x, "jail", value, names);

	x->c->jail = n == 1;
	return n < 0 ? -1 : 0;
}

static int firmware_name(struct context *x, const char *name)
{
	static const char *const names[] = {"none", "bios", "uefi"};

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		if (strcmp(name, names[i]))
			continue;
		x->c->firmware = (enum firmware_choice)(FIRMWARE_NONE + i);
		return 0;
	}
	if (!strpbrk(name, "/."))
		return fail(x,
			"--firmware %s: known are none, bios, uefi, and a file with a / or "
			". in its name",
			name);
	x->c->firmware = FIRMWARE_PATH;
	replace(&x->c->firmware_path, name);
	return 0;
}

static int opt_firmware(struct context *x, const char *value)
{
	char *copy = xstrdup(value), *rest = copy, *part = config_next_part(&rest);
	int rc = firmware_name(x, part);

	while (!rc && (part = config_next_part(&rest))) {
		if (strncmp(part, "vars=", 5) || !part[5])
			rc = fail(x, "--firmware: unknown key '%s'; known is vars=FILE", part);
		else
			replace(&x->c->firmware_vars, part + 5);
	}
	free(copy);
	return rc;
}

/* Words, or the letters of DOS's drives. */
static int opt_boot(struct context *x, const char *value)
{
	static const struct {
		const char *word;
		char letter;
	} words[] = {{"disk", 'c'}, {"cdrom", 'd'}, {"cd", 'd'}, {"floppy", 'a'}};
	char *copy = xstrdup(value), *rest = copy, *part, order[8] = "";
	size_t n = 0;
	bool ok = true;

	while (ok && (part = config_next_part(&rest))) {
		unsigned i = 0;

		while (i < ARRAY_SIZE(words) && strcmp(part, words[i].word))
			i++;
		if (i < ARRAY_SIZE(words) && n < 4)
			order[n++] = words[i].letter;
		else if (*part && strspn(part, "acd") == strlen(part) && n + strlen(part) <= 4)
			n += (size_t)sprintf(order + n, "%s", part);
		else
			ok = false;
	}
	free(copy);
	if (!ok || !n)
		return fail(x, "--boot %s: known are disk, cdrom and floppy, in order", value);
	replace(&x->c->boot, order);
	return 0;
}

static int opt_kernel(struct context *x, const char *value)
{
	replace(&x->c->kernel, value);
	return 0;
}

static int opt_initrd(struct context *x, const char *value)
{
	replace(&x->c->initrd, value);
	return 0;
}

static int opt_append(struct context *x, const char *value)
{
	replace(&x->c->cmdline, value);
	x->c->cmdline_as_is = false;
	return 0;
}

static int opt_cmdline(struct context *x, const char *value)
{
	replace(&x->c->cmdline, value);
	x->c->cmdline_as_is = true;
	return 0;
}

static int opt_cpu_model(struct context *x, const char *value)
{
	return x86_model_parse(&x->c->model, value, false, x->err, x->errlen);
}

/* A user mode network that --publish has made is taken over by --net user. */
static struct config_net *find_user_net(struct config *c, bool implied)
{
	for (unsigned i = 0; i < c->nets; i++)
		if (c->net[i].kind == NET_USER && (c->net[i].implied || !implied))
			return &c->net[i];
	return NULL;
}

static struct config_net *new_net(struct context *x)
{
	struct config *c = x->c;

	if (c->nets < CONFIG_MAX_NETS)
		return &c->net[c->nets++];
	fail(x, "--net: at most %d network cards", CONFIG_MAX_NETS);
	return NULL;
}

static int opt_net(struct context *x, const char *value)
{
	char *copy = xstrdup(value), *rest = copy, *part = config_next_part(&rest);
	struct config_net *n = NULL;
	int rc = 0;

	x->c->no_net = !strcmp(value, "none");
	if (x->c->no_net) {
		free(copy);
		return x->c->nets ? fail(x, "--net none: there is a network card already") : 0;
	}
	if (!strcmp(part, "user"))
		n = find_user_net(x->c, true);
	if (!n)
		n = new_net(x);
	rc = n ? config_net_kind(n, part, x->err, x->errlen) : -1;
	while (!rc && (part = config_next_part(&rest)))
		rc = config_net_key(n, part, x->err, x->errlen);
	free(copy);
	return rc;
}

static int opt_publish(struct context *x, const char *value)
{
	struct config_net *n = find_user_net(x->c, false);

	if (!n) {
		n = new_net(x);
		if (!n)
			return -1;
		n->implied = true;
	}
	return config_net_forward(n, value, x->err, x->errlen);
}

static int opt_cloud_init(struct context *x, const char *value)
{
	struct config_cloud *c = &x->c->cloud;
	char *copy = xstrdup(value), *rest = copy, *part;
	int rc = 0;

	c->on = true;
	while (!rc && (part = config_next_part(&rest)))
		rc = config_cloud_key(c, part, x->err, x->errlen);
	free(copy);
	if (!rc && !c->user && !c->file)
		rc = fail(x, "--cloud-init %s: wants user=NAME or file=USERDATA", value);
	if (!rc && c->ssh_key && !c->user)
		rc = fail(x, "--cloud-init %s: ssh-key=FILE is for a user=NAME", value);
	return rc;
}

/* ADDR[,arch=ARCH] */
static int opt_gdb(struct context *x, const char *value)
{
	static const char *const archs[] = {"auto", "i386", "x86-64", NULL};
	char *copy = xstrdup(value), *rest = copy, *addr = config_next_part(&rest), *part;
	int rc = 0, n = GDB_ARCH_AUTO;

	while (!rc && (part = config_next_part(&rest)))
		rc = strncmp(part, "arch=", 5)
			     ? fail(x, "--gdb: unknown key '%s'; known is arch=ARCH", part)
			     : (n = choose(x, "gdb", part + 5, archs));
	if (!rc || n > 0)
		rc = listen_address_ok(addr)
			     ? 0
			     : fail(x, "--gdb %s: a path with a slash, or [HOST:]PORT on this host",
				       value);
	x->c->gdb_arch = (uint8_t)MAX(n, 0);
	replace(&x->c->gdb, addr);
	free(copy);
	return n < 0 ? -1 : rc;
}

static int load_file(struct context *x, const char *path);

static int flag_hvc(struct context *x, const char *value)
{
	x->c->hvc = true;
	return 0;
}

static int flag_testdev(struct context *x, const char *value)
{
	x->c->testdev = true;
	return 0;
}

/* [cid=N,]socket=PATH */
static int opt_vsock(struct context *x, const char *value)
{
	char *copy = xstrdup(value), *rest = copy, *part, *end;
	struct config *c = x->c;
	unsigned long cid;
	int rc = 0;

	c->vsock_cid = VSOCK_CID_MIN;
	while (!rc && (part = config_next_part(&rest))) {
		if (!strncmp(part, "socket=", 7) && part[7]) {
			free(c->vsock);
			c->vsock = xstrdup(part + 7);
		} else if (!strncmp(part, "cid=", 4) && isdigit((unsigned char)part[4])) {
			cid = strtoul(part + 4, &end, 10);
			if (*end || cid < VSOCK_CID_MIN || cid >= UINT32_MAX)
				rc = fail(x, "--vsock: %s: a guest has 3 to 4294967294", part);
			c->vsock_cid = (uint32_t)cid;
		} else {
			rc = fail(
				x, "--vsock: unknown key '%s'; known are cid=N, socket=PATH", part);
		}
	}
	free(copy);
	return rc || c->vsock ? rc : fail(x, "--vsock %s: no socket=PATH", value);
}

static int flag_balloon(struct context *x, const char *value)
{
	x->c->balloon = true;
	return 0;
}

static int opt_name(struct context *x, const char *value)
{
	replace(&x->c->name, value);
	return 0;
}

static int flag_detach(struct context *x, const char *value)
{
	x->c->detach = true;
	return 0;
}

static int flag_stats(struct context *x, const char *value)
{
	x->c->stats = true;
	return 0;
}

static int flag_perf_map(struct context *x, const char *value)
{
	x->c->perf_map = true;
	return 0;
}

static int opt_symbols(struct context *x, const char *value)
{
	replace(&x->c->symbols, value);
	return 0;
}

/* Only under the instruction clock do both see the same time. */
static int flag_check(struct context *x, const char *value)
{
	x->c->check = true;
	x->c->clock = CLOCK_INSTRUCTIONS;
	return 0;
}

static int opt_torture(struct context *x, const char *value)
{
	replace(&x->c->torture, value);
	return 0;
}

static int flag_no_reboot(struct context *x, const char *value)
{
	x->c->no_reboot = true;
	return 0;
}

static int flag_paused(struct context *x, const char *value)
{
	x->c->paused = true;
	return 0;
}

static int flag_quiet(struct context *x, const char *value)
{
	x->c->quiet = true;
	return 0;
}

static int flag_verbose(struct context *x, const char *value)
{
	x->c->verbose = true;
	return 0;
}

static int flag_print_config(struct context *x, const char *value)
{
	x->c->print_config = true;
	return 0;
}

static int flag_help(struct context *x, const char *value)
{
	x->c->help = true;
	return 0;
}

/* ---- the table ---- */

struct option {
	const char *name;
	char letter;
	const char *arg; /* NULL: a flag */
	int (*set)(struct context *x, const char *value);
	bool repeats;     /* values add up instead of replacing each other */
	bool transient;   /* not part of a configuration */
	const char *what; /* NULL: not shown */
};

static const struct option options[] = {
	{"image", 0, "FILE", opt_image, false, false, NULL},
	{"as", 0, "WHAT", opt_as, false, false,
		"IMAGE is a disk, cd, floppy, kernel or sector; probed if not given"},
	{"memory", 'm', "SIZE", opt_memory, false, false, "guest memory (512M)"},
	{"cpus", 'c', "N[,sockets=N]", opt_cpus, false, false,
		"virtual CPUs (1), and how many packages they are in (1)"},
	{"engine", 'e', "LIST", opt_engine, false, false, "auto, or names in order of preference"},
	{"cpu-model", 0, "NAME[,vendor=][,+f][,-f]", opt_cpu_model, false, false,
		"baseline, max, 486 or pentium3; features to add and to take away"},
	{"kernel", 'k', "FILE", opt_kernel, false, false,
		"start a kernel: bzImage, vmlinux, PVH, Multiboot"},
	{"initrd", 'i', "FILE[ ARGS][,...]", opt_initrd, false, false,
		"its initial RAM disk, or modules"},
	{"append", 'a', "TEXT", opt_append, false, false,
		"its command line; Linux gets console=ttyS0 if it names no console"},
	{"cmdline", 0, "TEXT", opt_cmdline, false, false, "the same, with nothing added"},
	{"disk", 'd', "FILE[,format=][,ro][,throwaway][,bus=][,unit=]", opt_disk, true, false,
		"a hard disk; up to four; bus: ide, or virtio (beside --kernel)"},
	{"cdrom", 0, "FILE", opt_cdrom, false, false, "a disc in the CD-ROM drive"},
	{"floppy", 0, "FILE[,ro][,throwaway]", opt_floppy, true, false, "a floppy disk; up to two"},
	{"share", 0, "DIR[,tag=NAME][,ro]", opt_share, true, false,
		"a folder for the guest: mount -t virtiofs NAME /mnt"},
	{"root", 0, "DIR", opt_root, false, false,
		"run the command after -- in the guest, over this folder, which stays as it is"},
	{"command", 0, "WORD", opt_command, true, true, NULL},
	{"env", 0, "NAME[=VALUE]", opt_env, true, true, "a variable for that command"},
	{"result", 0, "FILE", opt_result, false, false, "how it ended, as a JSON object"},
	{"boot", 0, "ORDER", opt_boot, false, false, "disk, cdrom, floppy: which to try, in order"},
	{"net", 'n', "KIND[,mac=][,mtu=][,forward=][,hostname=]", opt_net, true, false,
		"a network card: user, tap=NAME, socket=PATH, or none (none)"},
	{"publish", 'p', "[udp:][ADDR:]PORT:GUESTPORT", opt_publish, true, false,
		"a port of the host leads to the guest; --net user if there is none"},
	{"cloud-init", 0, "user=NAME[,ssh-key=][,file=][,hostname=]", opt_cloud_init, false, false,
		"a read-only disk that tells cloud-init in the guest what to set up"},
	{"firmware", 0, "WHICH[,vars=FILE]", opt_firmware, false, false,
		"bios, uefi, none, or a file; where UEFI keeps its variables"},
	{"flat", 0, "FILE@ADDR[,entry=ADDR]", opt_flat, true, false,
		"load a raw image at a hex address, start there in real mode"},
	{"console", 0, "WHICH", opt_console, false, false, "auto, serial, screen or none"},
	{"serial", 0, "WHERE", opt_serial, false, false, "stdio, none, file:PATH or pty"},
	{"hvc", 0, NULL, flag_hvc, false, false, "--serial is a virtio console, hvc0, not COM1"},
	{"debugcon", 0, "WHERE", opt_debugcon, false, false, "port E9h: none, stdio or file:PATH"},
	{"display", 0, "WHICH", opt_display, false, false,
		"auto, terminal, blocks, sixel, text, window, vnc[=ADDR] or none"},
	{"screenshot", 0, "FILE.png", opt_screenshot, false, false, "the screen at the end"},
	{"timeout", 0, "SECONDS", opt_timeout, false, false, "end with status 124 after so long"},
	{"clock", 0, "WHICH", opt_clock, false, false, "host time, or instructions executed"},
	{"jail", 0, "WHICH", opt_jail, false, false,
		"on (what else), or off: the machine's processes may do what you may"},
	{"testdev", 0, NULL, flag_testdev, false, false,
		"ports, memory and lines for test programs (pc-testdev)"},
	{"vsock", 0, "[cid=N,]socket=PATH", opt_vsock, false, false,
		"AF_VSOCK of the guest, by a unix socket of the host"},
	{"balloon", 0, NULL, flag_balloon, false, false,
		"the guest gives the host memory back: free pages, and on demand"},
	{"no-reboot", 0, NULL, flag_no_reboot, false, false, "end with status 12 on a reset"},
	{"on", 0, "EVENT=ACTION", opt_on, true, false,
		"reset=restart|end, triple-fault=end|restart, halt=end|stay, poweroff=end|stop"},
	{"exit-port", 0, "PORT", opt_exit_port, false, false,
		"where a write ends the run (f4), or none"},
	{"monitor", 0, "WHERE", opt_monitor, false, false,
		"keys: by Ctrl-A c; stdio: at once; none"},
	{"paused", 'S', NULL, flag_paused, false, false, "start by the monitor's or GDB's cont"},
	{"gdb", 0, "ADDR", opt_gdb, false, false,
		"PORT or PATH where GDB may come (target remote)[,arch=i386|x86-64]"},
	{"check", 0, NULL, flag_check, false, false,
		"compare engine translate with interpret, block by block"},
	{"name", 0, "NAME", opt_name, false, false,
		"for list, status, console and the other commands"},
	{"detach", 0, NULL, flag_detach, false, false, "go on without this terminal"},
	{"torture", 0, "LIST", opt_torture, false, false, NULL},
	{"stats", 0, NULL, flag_stats, false, false, "table of exits and times at the end"},
	{"perf-map", 0, NULL, flag_perf_map, false, false,
		"translated code in /tmp/perf-PID.map, for perf"},
	{"symbols", 0, "FILE", opt_symbols, false, false,
		"names of the guest's code for --perf-map: nm, System.map, kallsyms"},
	{"trace", 0, "exits", opt_trace, false, false, "one line an exit"},
	{"trace-file", 0, "FILE", opt_trace_file, false, false, "where --trace writes (stderr)"},
	{"dump", 0, "ADDR,LEN", opt_dump, true, false, "guest memory in hex at the end"},
	{"quiet", 'q', NULL, flag_quiet, false, false, "warnings and errors only"},
	{"verbose", 'v', NULL, flag_verbose, false, false, "say more"},
	{"config", 0, "FILE", load_file, false, true, "options from a JSON file"},
	{"print-config", 0, NULL, flag_print_config, false, true, "print the options as JSON"},
	{"help", 'h', NULL, flag_help, false, true, "this list"},
};

void config_print_options(void)
{
	for (unsigned i = 0; i < ARRAY_SIZE(options); i++) {
		const struct option *o = &options[i];
		char left[64], letter[8] = "    ";

		if (!o->what)
			continue;
		if (o->letter)
			snprintf(letter, sizeof(letter), "-%c, ", o->letter);
		snprintf(left, sizeof(left), "%s--%s%s%s", letter, o->name, o->arg ? " " : "",
			o->arg ? o->arg : "");
		printf("  %-34s %s\n", left, o->what);
	}
}

static const struct option *find_name(const char *name, size_t len)
{
	for (unsigned i = 0; i < ARRAY_SIZE(options); i++)
		if (strlen(options[i].name) == len && !strncmp(options[i].name, name, len))
			return &options[i];
	return NULL;
}

static const struct option *find_letter(char letter)
{
	for (unsigned i = 0; i < ARRAY_SIZE(options); i++)
		if (options[i].letter == letter)
			return &options[i];
	return NULL;
}

/* word may go on with =VALUE. */
static int unknown(struct context *x, const char *word)
{
	const char *list[ARRAY_SIZE(options) + 1] = {NULL};
	const char *near;
	char name[64];

	for (unsigned i = 0; i < ARRAY_SIZE(options); i++)
		list[i] = options[i].name;
	snprintf(name, sizeof(name), "%.*s", (int)strcspn(word, "="), word);
	near = nearest_word(name, list);
	if (near)
		return fail(x, "unknown option --%s; did you mean --%s?", name, near);
	return fail(x, "unknown option --%s; 'tinamou run --help' lists them", name);
}

/* Keeps what was accepted, in the form that config_from_json reads. */
static void remember(struct config *c, const struct option *o, const char *value)
{
	json_t *list;

	if (o->transient)
		return;
	if (!o->repeats) {
		json_object_set_new(c->set, o->name, o->arg ? json_string(value) : json_true());
		return;
	}
	list = json_object_get(c->set, o->name);
	if (!list) {
		list = json_array();
		json_object_set_new(c->set, o->name, list);
	}
	json_array_append_new(list, json_string(value));
}

static int apply(struct context *x, const struct option *o, const char *value)
{
	int rc;

	x->name = o->name;
	rc = o->set(x, value);
	if (!rc)
		remember(x->c, o, value);
	return rc;
}

int config_set(struct config *c, const char *name, const char *value, char *err, size_t errlen)
{
	struct context x = {.c = c, .err = err, .errlen = errlen};

	return apply(&x, find_name(name, strlen(name)), value);
}

/* ---- sources ---- */

void config_init(struct config *c)
{
	*c = (struct config){.set = json_object(),
		.memory = MEMORY_DEFAULT,
		.cpus = 1,
		.engine = xstrdup("auto"),
		.display = DISPLAY_AUTO,
		.jail = true};
	x86_model_baseline(&c->model);
}

void config_free(struct config *c)
{
	for (unsigned i = 0; i < c->flats; i++)
		free(c->flat[i].path);
	for (unsigned i = 0; i < CONFIG_MAX_DISKS; i++)
		free_disk(&c->disk[i]);
	for (unsigned i = 0; i < CONFIG_MAX_FLOPPIES; i++)
		free_disk(&c->floppy[i]);
	config_cloud_free(&c->cloud);
	for (unsigned i = 0; i < CONFIG_MAX_NETS; i++)
		config_net_free(&c->net[i]);
	free_disk(&c->cdrom);
	for (unsigned i = 0; i < c->shares; i++) {
		free(c->share[i].path);
		free(c->share[i].tag);
	}
	for (unsigned i = 0; i < c->words; i++)
		free(c->word[i]);
	for (unsigned i = 0; i < c->variables; i++)
		free(c->variable[i]);
	free(c->word);
	free(c->variable);
	free(c->root);
	free(c->result);
	free(c->vsock);
	free(c->firmware_path);
	free(c->firmware_vars);
	free(c->boot);
	free(c->image);
	free(c->kernel);
	free(c->initrd);
	for (unsigned i = 0; i < c->modules; i++) {
		free(c->module[i].path);
		free(c->module[i].args);
	}
	free(c->cmdline);
	free(c->engine);
	free(c->serial_path);
	free(c->debugcon_path);
	free(c->screenshot);
	free(c->gdb);
	free(c->display_address);
	free(c->trace_file);
	free(c->symbols);
	free(c->name);
	free(c->torture);
	json_decref(c->set);
}

void config_image_is_kernel(struct config *c)
{
	json_object_set_new(c->set, "kernel", json_string(c->image));
	json_object_del(c->set, "image");
	c->kernel = c->image;
	c->image = NULL;
}

static void add_module(struct config *c, const char *text, size_t path_len)
{
	struct config_module *m = &c->module[c->modules++];

	m->args = xstrdup(text);
	m->path = xstrdup(text);
	m->path[path_len] = '\0';
}

int config_modules(struct config *c, bool one_file, char *err, size_t errlen)
{
	struct context x = {.c = c, .err = err, .errlen = errlen};
	char *copy, *rest, *part;
	int rc = 0;

	if (!c->initrd)
		return 0;
	if (one_file) {
		add_module(c, c->initrd, strlen(c->initrd));
		return 0;
	}
	copy = rest = xstrdup(c->initrd);
	while (!rc && (part = config_next_part(&rest))) {
		if (c->modules == CONFIG_MAX_MODULES)
			rc = fail(&x, "--initrd: at most %d files", CONFIG_MAX_MODULES);
		else if (!strcspn(part, " "))
			rc = fail(&x, "--initrd %s: an empty file name", c->initrd);
		else
			add_module(c, part, strcspn(part, " "));
	}
	free(copy);
	return rc;
}

/* --name VALUE, --name=VALUE or -x VALUE; *used is 1 if the next word was taken. */
static int parse_option(struct context *x, char **argv, int left, int *used)
{
	const char *word = argv[0], *eq = strchr(word, '=');
	const struct option *o;
	size_t len;

	if (word[1] != '-') {
		o = word[2] ? NULL : find_letter(word[1]);
		eq = NULL;
		if (!o)
			return fail(x, "unknown option %s; 'tinamou run --help' lists them", word);
	} else {
		len = eq ? (size_t)(eq - word) - 2 : strlen(word) - 2;
		o = find_name(word + 2, len);
		if (!o)
			return unknown(x, word + 2);
	}
	if (!o->arg)
		return eq ? fail(x, "--%s takes no value", o->name) : apply(x, o, NULL);
	if (eq)
		return apply(x, o, eq + 1);
	if (left < 2)
		return fail(x, "%s wants a value: %s", word, o->arg);
	*used = 1;
	return apply(x, o, argv[1]);
}

int config_parse(struct config *c, int argc, char **argv, char *err, size_t errlen)
{
	struct context x = {.c = c, .err = err, .errlen = errlen};

	for (int i = 0; i < argc; i++) {
		int used = 0, rc;

		if (!strcmp(argv[i], "--")) {
			while (++i < argc)
				opt_command(&x, argv[i]);
			break;
		}
		if (argv[i][0] == '-' && argv[i][1])
			rc = parse_option(&x, argv + i, argc - i, &used);
		else
			rc = apply(&x, &options[0], argv[i]);
		if (rc)
			return rc;
		i += used;
	}
	return 0;
}

int config_environment(struct config *c, char *err, size_t errlen)
{
	const char *text = getenv("TINAMOU_OPTIONS"), *engine = getenv("TINAMOU_ENGINE");
	struct context x = {.c = c, .err = err, .errlen = errlen};
	char *copy, *save = NULL, **word;
	int n = 0, rc;

	if (engine && *engine)
		apply(&x, find_name("engine", 6), engine);
	if (!text)
		return 0;
	copy = xstrdup(text);
	word = xcalloc(strlen(text) / 2 + 1, sizeof(*word)); /* a word and a blank: two bytes */
	for (char *w = strtok_r(copy, " \t\n", &save); w; w = strtok_r(NULL, " \t\n", &save))
		word[n++] = w;
	rc = config_parse(c, n, word, err, errlen);
	free(word);
	free(copy);
	return rc;
}

static int apply_json(struct context *x, const struct option *o, const json_t *value)
{
	char text[32];

	if (json_is_boolean(value)) {
		if (o->arg)
			return fail(x, "config: \"%s\" wants a value: %s", o->name, o->arg);
		return json_is_true(value) ? apply(x, o, NULL) : 0;
	}
	if (!o->arg)
		return fail(x, "config: \"%s\" is true or false", o->name);
	if (json_is_string(value))
		return apply(x, o, json_string_value(value));
	if (!json_is_integer(value))
		return fail(x, "config: \"%s\" must be a text or a number", o->name);
	snprintf(text, sizeof(text), "%lld", (long long)json_integer_value(value));
	return apply(x, o, text);
}

int config_from_json(struct config *c, const json_t *object, char *err, size_t errlen)
{
	struct context x = {.c = c, .err = err, .errlen = errlen};
	const char *name;
	json_t *value, *item;
	size_t n;
	int rc = 0;

	if (!json_is_object(object))
		return fail(&x, "config: not a JSON object");
	json_object_foreach((json_t *)object, name, value)
	{
		const struct option *o = find_name(name, strlen(name));

		if (!o || !strcmp(name, "config"))
			return unknown(&x, name);
		if (!json_is_array(value))
			rc = apply_json(&x, o, value);
		else
			json_array_foreach(value, n, item) rc = rc ? rc : apply_json(&x, o, item);
		if (rc)
			return rc;
	}
	return 0;
}

static int load_file(struct context *x, const char *path)
{
	json_error_t error;
	json_t *object = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
	int rc;

	if (!object)
		return fail(x, "--config %s: line %d: %s", path, error.line, error.text);
	rc = config_from_json(x->c, object, x->err, x->errlen);
	json_decref(object);
	return rc;
}
