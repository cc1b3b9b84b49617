/* test_cloud_init.c - the NoCloud seed: an image that others read, and what is in its files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "cmd/cloud_init.h"
#include "host/iso9660.h"
#include "util/util.h"

static unsigned get32(const uint8_t *p)
{
	return p[0] | p[1] << 8 | p[2] << 16 | (unsigned)p[3] << 24;
}

/* A file's text by its Rock Ridge name, found as a reader does; the caller frees it. */
static char *find(const uint8_t *image, const char *name)
{
	const uint8_t *root = image + 2048 * get32(image + 16 * 2048 + 156 + 2);
	char *text;

	for (const uint8_t *r = root; *r; r += *r) {
		for (const uint8_t *su = r + ((33 + r[32] + 1) & ~1); su + 4 <= r + *r && su[2];
			su += su[2]) {
			size_t len = strlen(name);

			if (memcmp(su, "NM", 2) || su[2] != 5 + len || memcmp(su + 5, name, len))
				continue;
			text = xcalloc(1, get32(r + 10) + 1);
			memcpy(text, image + 2048 * get32(r + 2), get32(r + 10));
			return text;
		}
	}
	return NULL;
}

static void test_image(void **state)
{
	static char large[5000];
	struct iso_file files[ISO_MAX_FILES];
	char name[ISO_MAX_FILES][32], *text;
	uint8_t *image;
	size_t len;

	memset(large, 'x', sizeof(large) - 1);
	for (unsigned i = 0; i < ISO_MAX_FILES; i++) {
		snprintf(name[i], sizeof(name[i]), "a-name-of-thirty-letters-%05u", i);
		files[i] = (struct iso_file){name[i], large, i == 3 ? 4999 : i};
	}
	image = iso_image("cidata", files, ISO_MAX_FILES, &len);
	assert_int_equal(len % 2048, 0);
	assert_int_equal(get32(image + 16 * 2048 + 80), len / 2048);
	assert_memory_equal(image + 16 * 2048, "\1CD001\1", 7);
	assert_memory_equal(image + 16 * 2048 + 40, "cidata   ", 9);
	for (unsigned i = 0; i < ISO_MAX_FILES; i++) {
		text = find(image, name[i]);
		assert_non_null(text);
		assert_int_equal(strlen(text), files[i].len);
		free(text);
	}
	assert_null(find(image, "another"));
	free(image);
}

static char *write_file(const char *text)
{
	char *path = xstrdup("/tmp/tinamou-test-XXXXXX");
	int fd = mkstemp(path);

	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
	return path;
}

static uint8_t *seed_bytes(const struct config_cloud *c)
{
	char err[512] = "";
	struct disk_files *f = cloud_init_seed(c, err, sizeof(err));
	uint8_t *image = xcalloc(1, 1 << 20);

	assert_string_equal(err, "");
	assert_true(f->file[0].ro);
	assert_true(pread(f->file[0].fd, image, 1 << 20, 0) > 0);
	disk_files_free(f);
	return image;
}

static void test_user(void **state)
{
	char *path = write_file("# mine\nssh-ed25519 AAAA \"me\"\n\nssh-rsa BBBB you\n"), *text;
	struct config_cloud c = {.user = "ana", .ssh_key = path, .hostname = "bird"};
	uint8_t *image = seed_bytes(&c);

	text = find(image, "vendor-data");
	assert_string_equal(text,
		"#cloud-config\nusers:\n  - name: \"ana\"\n    shell: /bin/bash\n"
		"    lock_passwd: true\n    sudo: 'ALL=(ALL) NOPASSWD:ALL'\n    "
		"ssh_authorized_keys:\n"
		"      - \"ssh-ed25519 AAAA \\\"me\\\"\"\n      - \"ssh-rsa BBBB you\"\n");
	free(text);
	text = find(image, "meta-data");
	assert_non_null(strstr(text, "local-hostname: \"bird\"\n"));
	free(text);
	free(image);
	unlink(path);
	free(path);
}

static void test_file(void **state)
{
	char *path = write_file("#!/bin/sh\necho hello\n"), *text;
	struct config_cloud c = {.file = path};
	uint8_t *image = seed_bytes(&c);

	text = find(image, "user-data");
	assert_string_equal(text, "#!/bin/sh\necho hello\n");
	free(text);
	free(image);
	unlink(path);
	free(path);
}

static void refused(const struct config_cloud *c, const char *why)
{
	char err[512] = "";

	assert_null(cloud_init_seed(c, err, sizeof(err)));
	assert_non_null(strstr(err, why));
}

static void test_refused(void **state)
{
	char *path = write_file("-----BEGIN OPENSSH PRIVATE KEY-----\nxxx\n");
	char *empty = write_file("");

	refused(&(struct config_cloud){.user = "a", .ssh_key = path}, "no file of public keys");
	refused(&(struct config_cloud){.user = "a", .ssh_key = empty}, "empty");
	refused(&(struct config_cloud){.user = "a", .ssh_key = "/nowhere/at-all"}, "No such file");
	refused(&(struct config_cloud){.file = "/tmp"}, "directory");
	refused(&(struct config_cloud){.user = "\377"}, "user=");
	unlink(path);
	unlink(empty);
	free(path);
	free(empty);
}

static void test_keys(void **state)
{
	struct config_cloud c = {0};
	char err[512];

	assert_int_equal(config_cloud_key(&c, "user=a", err, sizeof(err)), 0);
	assert_int_equal(config_cloud_key(&c, "user=b", err, sizeof(err)), 0);
	assert_string_equal(c.user, "b");
	assert_int_not_equal(config_cloud_key(&c, "user=", err, sizeof(err)), 0);
	assert_int_not_equal(config_cloud_key(&c, "sshkey=x", err, sizeof(err)), 0);
	config_cloud_free(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_image),
		cmocka_unit_test(test_user),
		cmocka_unit_test(test_file),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_keys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
