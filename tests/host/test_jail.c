/* test_jail.c - what each kind of thread may not do ends its process; what it needs works. */
#include "host/jail.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "util/util.h"

static void try_exec(void)
{
	execl("/bin/true", "true", NULL);
}

static void try_socket(void)
{
	socket(AF_INET, SOCK_STREAM, 0);
}

static void try_open(void)
{
	open("/etc/passwd", O_RDONLY);
}

static void try_open_old(void)
{
	syscall(SYS_open, "/etc/passwd", O_RDONLY);
}

static void try_ptrace(void)
{
	ptrace(PTRACE_ATTACH, getppid(), NULL, NULL);
}

static void try_fork(void)
{
	syscall(SYS_fork);
}

static void try_code(void)
{
	mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void try_make_code(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	mprotect(p, 4096, PROT_READ | PROT_EXEC);
}

static void try_terminal(void)
{
	ioctl(STDIN_FILENO, TIOCSTI, "x");
}

static void try_kill(void)
{
	kill(getppid(), SIGCONT);
}

static void try_connect(void)
{
	connect(0, NULL, 0);
}

static void try_read_other(void)
{
	syscall(SYS_process_vm_readv, getppid(), NULL, 0, NULL, 0, 0);
}

static const struct {
	const char *name;
	void (*fn)(void);
	bool share_may; /* Landlock keeps it in */
} forbidden[] = {
	{"execve", try_exec, false},
	{"socket", try_socket, false},
	{"openat", try_open, true},
	{"open", try_open_old, false},
	{"ptrace", try_ptrace, false},
	{"fork", try_fork, false},
	{"executable memory", try_code, false},
	{"memory made executable", try_make_code, false},
	{"a terminal's ioctl", try_terminal, false},
	{"kill", try_kill, false},
	{"connect", try_connect, false},
	{"process_vm_readv", try_read_other, false},
};

/* How a child ended that closed the jail and then called fn. */
static int end_of(enum jail_kind kind, void (*fn)(void))
{
	const struct rlimit none = {0, 0};
	int status = 0;
	pid_t pid = fork();

	if (!pid) {
		setrlimit(RLIMIT_CORE, &none);
		if (jail_calls(kind))
			_exit(100);
		fn();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void test_forbidden(void **state)
{
	for (int kind = 0; kind < JAIL_KINDS; kind++)
		for (unsigned i = 0; i < ARRAY_SIZE(forbidden); i++) {
			int status = end_of((enum jail_kind)kind, forbidden[i].fn);

			if (kind == JAIL_SHARE && forbidden[i].share_may)
				continue;
			if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSYS)
				fail_msg(
					"kind %d: %s: status %#x", kind, forbidden[i].name, status);
		}
}

static void use_what_is_allowed(void)
{
	char *p = malloc(1 << 20);
	struct stat st;

	memset(p, 1, 1 << 20);
	free(p);
	fstat(STDERR_FILENO, &st);
	pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
	pthread_mutex_lock(&m);
	if (write(STDERR_FILENO, "", 0))
		_exit(1);
}

static void test_allowed(void **state)
{
	for (int kind = 0; kind < JAIL_KINDS; kind++)
		assert_int_equal(end_of((enum jail_kind)kind, use_what_is_allowed), 0);
}

static void test_counts(void **state)
{
	assert_in_range(jail_count(JAIL_MACHINE), 1, 45);
	assert_in_range(jail_count(JAIL_VCPU), 1, 30);
	assert_in_range(jail_count(JAIL_DISK), 1, 30);
	assert_in_range(jail_count(JAIL_SHARE), 1, 55);
	assert_in_range(jail_count(JAIL_FRONT), 1, 45);
}

/* ---- paths ---- */

static bool reaches(int dir, const char *path, int flags)
{
	int fd = openat(dir, path, flags | O_CLOEXEC, 0600);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/* Bits of what is reachable from a child with that folder. */
static int reach(const char *folder, bool given, bool ro)
{
	int dir = open(folder, O_PATH | O_DIRECTORY), status;
	pid_t pid = fork();

	if (!pid) {
		if (jail_paths(given ? dir : -1, ro))
			_exit(100);
		_exit((reaches(dir, "in", O_RDONLY) ? 1 : 0) |
			(reaches(dir, "made", O_WRONLY | O_CREAT) ? 2 : 0) |
			(reaches(AT_FDCWD, "/etc/passwd", O_RDONLY) ? 4 : 0) |
			(reaches(dir, "../", O_RDONLY | O_DIRECTORY) ? 8 : 0));
	}
	close(dir);
	waitpid(pid, &status, 0);
	return WEXITSTATUS(status);
}

/* The same of a child that has one file, or is the front. */
static int reach_file(const char *file, bool front)
{
	int fd = open(file, O_PATH), status;
	pid_t pid = fork();

	if (!pid) {
		if (front ? jail_paths_front() : jail_paths(fd, true))
			_exit(100);
		_exit((reaches(AT_FDCWD, file, O_RDONLY) ? 1 : 0) |
			(reaches(AT_FDCWD, file, O_WRONLY) ? 2 : 0) |
			(reaches(AT_FDCWD, "/etc/passwd", O_RDONLY) ? 4 : 0) |
			(reaches(AT_FDCWD, "/etc", O_RDONLY | O_DIRECTORY) ? 8 : 0));
	}
	close(fd);
	waitpid(pid, &status, 0);
	return WEXITSTATUS(status);
}

static void test_paths(void **state)
{
	char folder[] = "/tmp/tinamou-jail-XXXXXX", file[64];

	if (syscall(SYS_landlock_create_ruleset, NULL, 0, 1) < 1) {
		print_message("the kernel has no Landlock\n");
		skip();
	}
	assert_non_null(mkdtemp(folder));
	snprintf(file, sizeof(file), "%s/in", folder);
	close(open(file, O_CREAT | O_WRONLY, 0600));
	assert_int_equal(reach(folder, false, false), 0);
	assert_int_equal(reach(folder, true, true), 1);
	assert_int_equal(reach(folder, true, false), 3);
	assert_int_equal(reach_file(file, false), 1);
	assert_int_equal(reach_file(file, true), 2);
	unlink(file);
	snprintf(file, sizeof(file), "%s/made", folder);
	unlink(file);
	rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_forbidden),
		cmocka_unit_test(test_allowed),
		cmocka_unit_test(test_counts),
		cmocka_unit_test(test_paths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
