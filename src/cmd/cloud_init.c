/*
 * cloud_init.c - the NoCloud seed; see cloud_init.h.
 *
 * Source: cloud-init's documentation of the datasource NoCloud: a file system
 * labelled cidata with meta-data, user-data and vendor-data. The user's own file is
 * the user data as it is; what the other keys ask for is vendor data, which it
 * overrides. Texts are quoted as JSON, which YAML contains.
 */
#include "cmd/cloud_init.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/iso9660.h"
#include "util/util.h"

#define LABEL    "cidata"
#define DATA_MAX (1 << 20)
#define KEYS_MAX 65536
#define HOSTNAME "tinamou"

/* ---- the keys of --cloud-init ---- */

int config_cloud_key(struct config_cloud *c, const char *text, char *err, size_t errlen)
{
	const struct {
		const char *key;
		char **value;
	} keys[] = {{"user=", &c->user}, {"ssh-key=", &c->ssh_key}, {"file=", &c->file},
		{"hostname=", &c->hostname}};

	for (unsigned i = 0; i < ARRAY_SIZE(keys); i++) {
		size_t n = strlen(keys[i].key);

		if (strncmp(text, keys[i].key, n) || !text[n])
			continue;
		free(*keys[i].value);
		*keys[i].value = xstrdup(text + n);
		return 0;
	}
	snprintf(err, errlen,
		"--cloud-init: unknown key '%s'; known are user=NAME, ssh-key=FILE, file=USERDATA, "
		"hostname=NAME",
		text);
	return -1;
}

void config_cloud_free(struct config_cloud *c)
{
	free(c->user);
	free(c->ssh_key);
	free(c->file);
	free(c->hostname);
}

/* ---- files ---- */

/* All of a text file; NULL with the reason in err. The caller frees it. */
static char *read_file(const char *path, size_t max, char *err, size_t errlen)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char *data = xcalloc(1, max + 1);
	ssize_t n = -1;
	size_t len = 0;

	while (fd >= 0 && len <= max && (n = read(fd, data + len, max + 1 - len)) > 0)
		len += (size_t)n;
	if (fd < 0 || n < 0 || len > max || !len) {
		snprintf(err, errlen, "--cloud-init: %s: %s", path,
			fd < 0 || n < 0 ? strerror(errno)
			: len           ? "too long"
					: "empty");
		free(data);
		data = NULL;
	}
	if (fd >= 0)
		close(fd);
	return data;
}

static char *quoted(const char *text)
{
	json_t *s = json_string(text);
	char *out = s ? json_dumps(s, JSON_ENCODE_ANY) : NULL;

	json_decref(s);
	return out;
}

/* One item a line; comments and empty lines are none. */
static bool write_keys(FILE *out, char *keys)
{
	bool any = false;
	char *save = NULL;

	for (char *k = strtok_r(keys, "\r\n", &save); k; k = strtok_r(NULL, "\r\n", &save)) {
		char *text = *k == '#' ? NULL : quoted(k);

		if (text && strstr(k, "PRIVATE KEY")) {
			free(text);
			return false;
		}
		if (text)
			fprintf(out, "%s      - %s\n", any ? "" : "    ssh_authorized_keys:\n",
				text);
		any |= text != NULL;
		free(text);
	}
	return any;
}

static bool write_user(FILE *out, const struct config_cloud *c, char *keys)
{
	char *name = quoted(c->user);
	bool ok = name != NULL;

	fprintf(out,
		"users:\n  - name: %s\n    shell: /bin/bash\n    lock_passwd: true\n"
		"    sudo: 'ALL=(ALL) NOPASSWD:ALL'\n",
		name ? name : "");
	if (ok && keys)
		ok = write_keys(out, keys);
	free(name);
	return ok;
}

/* NULL with the reason in err. */
static char *vendor_data(const struct config_cloud *c, char *err, size_t errlen)
{
	char *text = NULL, *keys = NULL;
	size_t len;
	FILE *out;
	bool ok = true;

	if (c->ssh_key && !(keys = read_file(c->ssh_key, KEYS_MAX, err, errlen)))
		return NULL;
	out = open_memstream(&text, &len);
	fprintf(out, "#cloud-config\n");
	if (c->user)
		ok = write_user(out, c, keys);
	fclose(out);
	free(keys);
	if (ok)
		return text;
	free(text);
	snprintf(err, errlen, "--cloud-init: %s is no file of public keys, one a line",
		c->ssh_key ? c->ssh_key : "user=");
	return NULL;
}

/* Another content is another instance, which cloud-init sets up anew. */
static char *meta_data(const struct config_cloud *c, const char *user, const char *vendor)
{
	char *name = quoted(c->hostname ? c->hostname : HOSTNAME), *text;
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	for (const char *p = user; *p; p++)
		h = (h ^ (uint8_t)*p) * UINT64_C(0x100000001b3); /* FNV-1a */
	for (const char *p = vendor; *p; p++)
		h = (h ^ (uint8_t)*p) * UINT64_C(0x100000001b3);
	text = xasprintf("instance-id: tinamou-%016llx\nlocal-hostname: %s\n",
		(unsigned long long)h, name ? name : HOSTNAME);
	free(name);
	return text;
}

static struct disk_files *memory_disk(const uint8_t *image, size_t len)
{
	int fd = memfd_create("cloud-init", MFD_CLOEXEC);
	struct disk_files *f;

	if (fd < 0 || write(fd, image, len) != (ssize_t)len) {
		if (fd >= 0)
			close(fd);
		return NULL;
	}
	f = xcalloc(1, sizeof(*f));
	f->count = 1;
	f->file[0] = (struct disk_file){
		.fd = fd, .name = xstrdup("cloud-init"), .format = "raw", .ro = true};
	return f;
}

struct disk_files *cloud_init_seed(const struct config_cloud *c, char *err, size_t errlen)
{
	char *user = NULL, *vendor = vendor_data(c, err, errlen), *meta;
	struct disk_files *files;
	uint8_t *image;
	size_t len;

	if (vendor)
		user = c->file ? read_file(c->file, DATA_MAX, err, errlen)
			       : xstrdup("#cloud-config\n{}\n");
	if (!user) {
		free(vendor);
		return NULL;
	}
	meta = meta_data(c, user, vendor);
	const struct iso_file file[] = {{"meta-data", meta, strlen(meta)},
		{"user-data", user, strlen(user)}, {"vendor-data", vendor, strlen(vendor)}};

	image = iso_image(LABEL, file, ARRAY_SIZE(file), &len);
	files = memory_disk(image, len);
	if (!files)
		snprintf(err, errlen, "--cloud-init: %s", strerror(errno));
	free(image);
	free(meta);
	free(user);
	free(vendor);
	return files;
}
