/*
 * front_root.c - --root DIR: finds the kernel and its modules in the folder,
 * and makes the initial RAM file system that starts the command, or the
 * folder's own init, over it.
 *
 * The folder is as foreign as a disk image: paths are resolved with the folder
 * as their root, so that no link in it leads elsewhere, and what is read is
 * only ever handed to the guest.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "boot/initramfs.h"
#include "boot/unpack.h"
#include "cmd/front.h"
#include "cmd/status.h"
#include "util/util.h"

#define SETUP_MAX   65536
#define VERSION_AT  0x20e /* kernel_version of the boot protocol, from 0x200 */
#define MAGIC_AT    0x202
#define MODULE_MAX  (64 * MiB)
#define FILE_MAX    (256 * MiB)
#define MODULES_MAX 64
#define DEPTH_MAX   16

extern const uint8_t init_start[] __asm__("_binary_guests_init_run_init_start");
extern const uint8_t init_end[] __asm__("_binary_guests_init_run_init_end");

struct root {
	int dir;
	char version[128]; /* of the kernel, and the name of its folder of modules */
	char *order;       /* modules.order: what there is */
	struct initramfs fs;
	char *spec;
	size_t spec_len;
	char *done[MODULES_MAX];
	unsigned modules;
};

/* ---- files of the folder ---- */

static int open_in(const struct root *r, const char *path, int flags)
{
	struct open_how how = {.flags = (uint64_t)(flags | O_RDONLY | O_CLOEXEC | O_NONBLOCK),
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};

	return (int)syscall(SYS_openat2, r->dir, path, &how, sizeof(how));
}

/* All of a regular file, with a NUL behind; NULL: it is not there, or not to be had. */
static uint8_t *read_in(const struct root *r, const char *path, size_t *len)
{
	int fd = open_in(r, path, 0);
	uint8_t *data = NULL;
	struct stat st;
	ssize_t n;

	*len = 0;
	if (fd >= 0 && !fstat(fd, &st) && S_ISREG(st.st_mode) && st.st_size <= (off_t)FILE_MAX)
		data = malloc((size_t)st.st_size + 1);
	while (data && (n = read(fd, data + *len, (size_t)st.st_size - *len)) > 0)
		*len += (size_t)n;
	if (data)
		data[*len] = '\0';
	if (fd >= 0)
		close(fd);
	return data;
}

/* ---- the specification that init reads ---- */

static void specify(struct root *r, const char *key, const char *value)
{
	const char *part[] = {key, value};

	for (unsigned i = 0; i < 2; i++) {
		size_t len = strlen(part[i]) + 1;

		r->spec = xrealloc(r->spec, r->spec_len + len);
		memcpy(r->spec + r->spec_len, part[i], len);
		r->spec_len += len;
	}
}

/* ---- the kernel ---- */

/* The newest by its numbers. */
static void find_kernel(const struct root *r, char *path, size_t len)
{
	int fd = open_in(r, "boot", O_DIRECTORY);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;
	char best[256] = "";

	while (dir && (e = readdir(dir)))
		if (!strncmp(e->d_name, "vmlinuz", 7) && strverscmp(e->d_name, best) > 0)
			snprintf(best, sizeof(best), "%s", e->d_name);
	if (dir)
		closedir(dir);
	snprintf(path, len, "%s%s", best[0] ? "boot/" : "", best);
}

/* A bzImage tells its version; of another kernel we know only what is in lib/modules. */
static void kernel_version(struct root *r, int fd)
{
	char head[SETUP_MAX] = "";
	ssize_t n = pread(fd, head, sizeof(head) - 1, 0);
	size_t at;
	uint16_t word;

	if (n < VERSION_AT + 2 || memcmp(head + MAGIC_AT, "HdrS", 4))
		return;
	memcpy(&word, head + VERSION_AT, sizeof(word));
	at = word + 0x200u;
	if (word && at < (size_t)n)
		snprintf(r->version, sizeof(r->version), "%.*s", (int)strcspn(head + at, " /"),
			head + at);
}

static int open_kernel(struct front *f, struct root *r)
{
	struct config *c = &f->config;
	char path[300] = "", full[4096];
	int fd;

	if (c->kernel) {
		fd = open(c->kernel, O_RDONLY | O_CLOEXEC);
	} else {
		find_kernel(r, path, sizeof(path));
		fd = path[0] ? open_in(r, path, 0) : -1;
		if (fd < 0)
			errno = ENOENT;
		snprintf(full, sizeof(full), "%s/%s", c->root, path[0] ? path : "boot/vmlinuz");
		c->kernel = xstrdup(full);
		json_object_set_new(c->set, "kernel", json_string(full));
	}
	if (fd < 0) {
		log_error("%s: %s; name a kernel with --kernel", c->kernel, strerror(errno));
		return STATUS_HOST;
	}
	f->root_kernel = fd;
	kernel_version(r, fd);
	return STATUS_OK;
}

/* ---- modules ---- */

/* File names have '-' or '_' as it pleased their authors. */
static bool same_name(const char *path, size_t len, const char *name)
{
	const char *base = path + len;
	size_t n = strlen(name);

	while (base > path && base[-1] != '/')
		base--;
	if ((size_t)(path + len - base) <= n + 2 || strncmp(base + n, ".ko", 3))
		return false;
	for (size_t i = 0; i < n; i++)
		if (base[i] != name[i] && !(strchr("-_", base[i]) && strchr("-_", name[i])))
			return false;
	return true;
}

/* The module's line in modules.order, or NULL: built in, or not there. */
static const char *module_line(const struct root *r, const char *name, size_t *len)
{
	for (const char *p = r->order; p && *p; p += *len + (p[*len] == '\n')) {
		*len = strcspn(p, "\n");
		if (same_name(p, *len, name))
			return p;
	}
	return NULL;
}

/* Packed ones are named as they were before: .ko, .ko.xz, .ko.zst, .ko.gz. */
static uint8_t *read_module(const struct root *r, const char *line, size_t line_len, size_t *len)
{
	static const char *const suffix[] = {"", ".xz", ".zst", ".gz"};
	uint8_t *data = NULL, *out;
	char path[600];

	for (unsigned i = 0; !data && i < ARRAY_SIZE(suffix); i++) {
		snprintf(path, sizeof(path), "lib/modules/%s/%.*s%s", r->version, (int)line_len,
			line, suffix[i]);
		data = read_in(r, path, len);
	}
	if (!data || !unpack_format(data, *len))
		return data;
	out = xcalloc(1, MODULE_MAX);
	if (unpack(data, *len, out, MODULE_MAX, len)) {
		free(out);
		out = NULL;
	}
	free(data);
	return out;
}

static void add_module(struct root *r, const char *name, unsigned depth);

/* "depends=a,b" in its section .modinfo: those come first. */
static void add_depends(struct root *r, const uint8_t *data, size_t len, unsigned depth)
{
	static const char key[] = "\0depends=";
	const char *p = memmem(data, len, key, sizeof(key) - 1);
	char list[512], *save = NULL;

	if (!p)
		return;
	p += sizeof(key) - 1;
	snprintf(list, sizeof(list), "%.*s", (int)((const char *)data + len - p), p);
	for (char *s = strtok_r(list, ",", &save); s; s = strtok_r(NULL, ",", &save))
		add_module(r, s, depth + 1);
}

static void add_module(struct root *r, const char *name, unsigned depth)
{
	size_t len, line_len = 0;
	const char *line = module_line(r, name, &line_len);
	uint8_t *data;
	char path[80];

	for (unsigned i = 0; i < r->modules; i++)
		if (!strcmp(r->done[i], name))
			return;
	if (!line || depth == DEPTH_MAX || r->modules == MODULES_MAX)
		return;
	r->done[r->modules++] = xstrdup(name);
	data = read_module(r, line, line_len, &len);
	if (!data)
		return;
	add_depends(r, data, len, depth);
	snprintf(path, sizeof(path), "/modules/%.60s.ko", name);
	initramfs_add(&r->fs, path + 1, S_IFREG | 0600, 0, data, len);
	specify(r, "module", path);
	free(data);
}

static void add_modules(struct root *r)
{
	static const char *const wanted[] = {"virtio_pci", "virtio_console", "virtiofs", "overlay",
		"virtio_rng", "virtio_blk", "virtio_net"};
	char path[200];
	size_t len;

	snprintf(path, sizeof(path), "lib/modules/%s/modules.order", r->version);
	r->order = (char *)read_in(r, path, &len);
	initramfs_add(&r->fs, "modules", S_IFDIR | 0700, 0, NULL, 0);
	if (!r->order)
		log_warn("%s has no modules for the kernel; it works if the kernel has virtio-fs, "
			 "overlay and virtio-console built in",
			path);
	for (unsigned i = 0; r->order && i < ARRAY_SIZE(wanted); i++)
		add_module(r, wanted[i], 0);
}

/* ---- the command ---- */

/* What describes the terminal and the language goes along; the rest is the host's own. */
static bool wanted_variable(const char *v)
{
	static const char *const names[] = {
		"TERM=", "LANG=", "LANGUAGE=", "LC_", "TZ=", "COLORTERM=", "NO_COLOR="};

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
		if (!strncmp(v, names[i], strlen(names[i])))
			return true;
	return false;
}

/* NAME alone: as it is here. */
static void specify_variable(struct root *r, const char *text)
{
	const char *value = strchr(text, '=') ? NULL : getenv(text);
	char *pair;

	if (strchr(text, '=')) {
		specify(r, "env", text);
	} else if (value && asprintf(&pair, "%s=%s", text, value) >= 0) {
		specify(r, "env", pair);
		free(pair);
	}
}

static void specify_environment(const struct config *c, struct root *r)
{
	specify(r, "env", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
	specify(r, "env", "HOME=/root");
	specify(r, "env", "USER=root");
	for (char **v = environ; *v; v++)
		if (wanted_variable(*v))
			specify(r, "env", *v);
	for (unsigned i = 0; i < c->variables; i++)
		specify_variable(r, c->variable[i]);
}

/* Where we are, if that is inside of the folder. */
static void specify_cwd(const struct config *c, struct root *r)
{
	char *root = realpath(c->root, NULL), *cwd = getcwd(NULL, 0);
	size_t len = root ? strlen(root) : 0;

	if (len > 1 && cwd && !strncmp(cwd, root, len) && cwd[len] == '/')
		specify(r, "cwd", cwd + len);
	free(root);
	free(cwd);
}

static void specify_terminal(struct root *r)
{
	struct winsize w = {0};
	char text[32];

	if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO) || ioctl(STDOUT_FILENO, TIOCGWINSZ, &w))
		return;
	snprintf(text, sizeof(text), "%u %u", w.ws_row, w.ws_col);
	specify(r, "tty", text);
}

/* Without one the folder's own init is started, which knows all of that itself. */
static void specify_command(const struct config *c, struct root *r)
{
	if (!c->words)
		return;
	specify(r, "host", "tinamou");
	specify_environment(c, r);
	specify_cwd(c, r);
	specify_terminal(r);
	for (unsigned i = 0; i < c->words; i++)
		specify(r, "arg", c->word[i]);
}

/* ---- all of it ---- */

static int make_initramfs(struct front *f, struct root *r)
{
	static const char *const folders[] = {"proc", "sys", "dev"};
	int fd = memfd_create("tinamou-initramfs", MFD_CLOEXEC);

	for (unsigned i = 0; i < ARRAY_SIZE(folders); i++)
		initramfs_add(&r->fs, folders[i], S_IFDIR | 0755, 0, NULL, 0);
	initramfs_add(&r->fs, "dev/console", S_IFCHR | 0600, makedev(5, 1), NULL, 0);
	initramfs_add(
		&r->fs, "init", S_IFREG | 0755, 0, init_start, (size_t)(init_end - init_start));
	add_modules(r);
	specify_command(&f->config, r);
	initramfs_add(&r->fs, "spec", S_IFREG | 0600, 0, r->spec, r->spec_len);
	initramfs_end(&r->fs);
	if (fd < 0 || write(fd, r->fs.data, r->fs.len) != (ssize_t)r->fs.len) {
		log_error("no memory for the initial RAM file system");
		return STATUS_HOST;
	}
	f->root_initramfs = fd;
	return STATUS_OK;
}

static void free_root(struct root *r)
{
	for (unsigned i = 0; i < r->modules; i++)
		free(r->done[i]);
	free(r->order);
	free(r->spec);
	free(r->fs.data);
	if (r->dir >= 0)
		close(r->dir);
}

int front_open_root(struct front *f)
{
	struct root r = {.dir = -1};
	int status;

	if (!f->config.root)
		return STATUS_OK;
	r.dir = open(f->config.root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (r.dir < 0) {
		log_error("--root %s: %s", f->config.root, strerror(errno));
		return STATUS_HOST;
	}
	status = open_kernel(f, &r);
	if (!status)
		status = make_initramfs(f, &r);
	free_root(&r);
	return status;
}
