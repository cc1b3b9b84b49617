/*
 * rounds.c - load, run, kill -9, unload, again and again.
 *
 *   rounds COUNT MODULE.ko PROGRAM ARGUMENT...
 *
 * PROGRAM is a machine that never ends; it is killed after 0 to 40 ms, which is
 * anywhere between its start and the middle of its guest. Each round the module
 * must go at once. Afterwards no page may be pinned that was not before.
 */
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "guest.h"

static int load(const char *path)
{
	int file = open(path, O_RDONLY | O_CLOEXEC), rc;

	if (file < 0)
		return -errno;
	rc = syscall(SYS_finit_module, file, "", 0) ? -errno : 0;
	close(file);
	return rc;
}

static int unload(void)
{
	return syscall(SYS_delete_module, "tinamou", O_NONBLOCK) ? -errno : 0;
}

/* Pages pinned and not let go, as the kernel counts them, once it has summed up all CPUs. */
static long pinned(void)
{
	FILE *refresh = fopen("/proc/sys/vm/stat_refresh", "r");
	FILE *f = fopen("/proc/vmstat", "r");
	long acquired = 0, released = 0;
	char line[128];

	if (refresh) {
		fgetc(refresh);
		fclose(refresh);
	}
	while (f && fgets(line, sizeof(line), f)) {
		sscanf(line, "nr_foll_pin_acquired %ld", &acquired);
		sscanf(line, "nr_foll_pin_released %ld", &released);
	}
	if (f)
		fclose(f);
	return acquired - released;
}

static pid_t start(char **argv)
{
	pid_t child = fork();

	if (child)
		return child;
	close(0);
	close(1);
	execv(argv[0], argv);
	_exit(127);
}

/* The machine is a child of the front: both are of one process group. */
static int run_and_kill(char **argv, unsigned usec)
{
	pid_t child = start(argv);
	int status;

	usleep(usec);
	kill(child, SIGKILL);
	if (waitpid(child, &status, 0) != child)
		return -ECHILD;
	return WIFSIGNALED(status) ? 0 : -EPROTO;
}

static int one_round(unsigned n, const char *module, char **argv)
{
	int rc = load(module), gone;

	if (rc)
		return rc;
	rc = run_and_kill(argv, n * 7919 % 40 * 1000);
	for (unsigned wait = 0; (gone = unload()) && wait < 500; wait++)
		usleep(1000); /* the machine's own process is killed by its front's end */
	return rc ? rc : gone;
}

int main(int argc, char **argv)
{
	unsigned count;
	long before;

	if (argc < 4)
		return 2;
	count = (unsigned)atoi(argv[1]);
	before = pinned();
	for (unsigned n = 0; n < count; n++) {
		int rc = one_round(n, argv[2], argv + 3);

		if (rc) {
			printf("round %u: %s\n", n, strerror(-rc));
			return 1;
		}
	}
	printf("rounds: %u of load, run, kill -9, unload; %ld pages left pinned\n", count,
		pinned() - before);
	return pinned() != before;
}
