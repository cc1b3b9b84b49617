/*
 * test_aside - files that are whole or not there.
 */
#include "../core/test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/aside.h"

static char folder[] = "/tmp/tinamou-aside-XXXXXX";

static int enter(void **state)
{
	return mkdtemp(folder) ? chdir(folder) : -1;
}

static int leave(void **state)
{
	return chdir("/") || rmdir(folder);
}

static void put(int fd, const char *text)
{
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

static void is(const char *path, const char *text)
{
	char buf[64] = "";
	int fd = open(path, O_RDONLY);

	assert_true(fd >= 0);
	assert_int_equal(read(fd, buf, sizeof(buf)), (ssize_t)strlen(text));
	assert_string_equal(buf, text);
	close(fd);
}

static void test_kept(void **state)
{
	struct aside a;

	assert_int_equal(aside_open(&a, "new"), 0);
	put(a.fd, "whole");
	assert_int_equal(access("new", F_OK), -1);
	assert_int_equal(aside_keep(&a), 0);
	is("new", "whole");
	assert_int_equal(a.fd, -1);
	unlink("new");
}

static void test_dropped(void **state)
{
	struct aside a, b;

	assert_int_equal(aside_open(&a, "name"), 0);
	put(a.fd, "before");
	assert_int_equal(aside_keep(&a), 0);
	assert_int_equal(aside_open(&a, "name"), 0);
	assert_int_equal(aside_open(&b, "name"), 0); /* two at once do not meet */
	put(a.fd, "cu");
	put(b.fd, "after");
	aside_drop(&a);
	is("name", "before");
	assert_int_equal(aside_keep(&b), 0);
	is("name", "after");
	unlink("name");
}

static void test_written_in_place(void **state)
{
	struct stat st;
	struct aside a;

	put(open("target", O_WRONLY | O_CREAT, 0600), "a longer text");
	assert_int_equal(symlink("target", "link"), 0);
	assert_int_equal(aside_open(&a, "link"), 0);
	put(a.fd, "short");
	aside_keep(&a);
	is("target", "short");
	assert_int_equal(lstat("link", &st), 0);
	assert_true(S_ISLNK(st.st_mode));
	assert_int_equal(aside_open(&a, "/dev/null"), 0);
	put(a.fd, "away");
	assert_int_equal(aside_keep(&a), 0);
	assert_int_equal(lstat("/dev/null", &st), 0);
	assert_true(S_ISCHR(st.st_mode));
	unlink("link");
	unlink("target");
}

static void test_refused(void **state)
{
	struct aside a;

	assert_int_equal(aside_open(&a, "no/such/folder"), -ENOENT);
	assert_int_equal(aside_open(&a, "."), -EISDIR);
	assert_int_equal(aside_open(&a, "gone"), 0);
	unlink(a.other);
	assert_int_equal(aside_keep(&a), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kept),
		cmocka_unit_test(test_dropped),
		cmocka_unit_test(test_written_in_place),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, enter, leave);
}
