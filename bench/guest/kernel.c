/* kernel.c - what an operating system does: and code that is written anew. */
#define _GNU_SOURCE
#include "bench.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void null_call(void)
{
	for (int n = 0; n < 1000; n++)
		syscall(SYS_getppid);
}

static void on_signal(int sig)
{
	sink += (uint64_t)sig;
}

static void signals(void)
{
	signal(SIGUSR1, on_signal);
	for (int n = 0; n < 100; n++)
		raise(SIGUSR1);
}

static void faults(void)
{
	char *p = mmap(NULL, 256 << 12, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	for (int n = 0; n < 256; n++)
		p[n << 12] = 1;
	munmap(p, 256 << 12);
}

static void protect(void)
{
	static char *p;

	if (!p)
		p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (int n = 0; n < 50; n++) {
		mprotect(p, 4096, PROT_READ);
		mprotect(p, 4096, PROT_READ | PROT_WRITE);
		*p = 1;
	}
}

static void forks(void)
{
	for (int n = 0; n < 3; n++) {
		pid_t p = fork();

		if (!p)
			_exit(0);
		waitpid(p, NULL, 0);
	}
}

static const char *self;

static void execs(void)
{
	char *const argv[] = {"bench", "nothing", NULL}, *const envp[] = {NULL};

	for (int n = 0; n < 2; n++) {
		pid_t p = fork();

		if (!p) {
			execve(self, argv, envp);
			_exit(1);
		}
		waitpid(p, NULL, 0);
	}
}

static void pipes(void)
{
	int there[2], back[2];
	char byte = 0;
	pid_t p;

	if (pipe(there) || pipe(back))
		return;
	p = fork();
	for (int n = 0; n < 100; n++)
		if (p ? write(there[1], &byte, 1) + read(back[0], &byte, 1) < 2
		      : read(there[0], &byte, 1) + write(back[1], &byte, 1) < 2)
			break;
	if (!p)
		_exit(0);
	waitpid(p, NULL, 0);
	for (int n = 0; n < 2; n++) {
		close(there[n]);
		close(back[n]);
	}
}

/* ---- threads ---- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t counter;

static void *thread(void *arg)
{
	for (int n = 0; n < 200; n++) {
		pthread_mutex_lock(&lock);
		counter++;
		pthread_mutex_unlock(&lock);
	}
	return arg;
}

static void threads(void)
{
	pthread_t t[4];

	for (int n = 0; n < 4; n++)
		pthread_create(&t[n], NULL, thread, NULL);
	for (int n = 0; n < 4; n++)
		pthread_join(t[n], NULL);
}

static void atomics(void)
{
	static uint64_t word[64];

	for (unsigned n = 0; n < 10000; n++) {
		uint64_t old = 0;

		__atomic_fetch_add(&word[n & 63], n, __ATOMIC_SEQ_CST);
		__atomic_compare_exchange_n(
			&word[n >> 3 & 63], &old, n, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
		__atomic_exchange_n(&word[n >> 6 & 63], n, __ATOMIC_SEQ_CST);
	}
	sink += word[3];
}

/* ---- a function that is written anew and called each time ---- */

static void own_code(void)
{
	static uint8_t *p;

	if (!p)
		p = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (uint32_t n = 0; n < 100; n++) {
		p[0] = 0xb8;
		memcpy(p + 1, &n, 4);
		p[5] = 0xc3;
		sink += ((uint32_t(*)(void))(uintptr_t)p)();
	}
}

const struct item kernel_items[] = {{"syscall", null_call}, {"signal", signals}, {"fault", faults},
	{"mprotect", protect}, {"fork", forks}, {"exec", execs}, {"pipe", pipes},
	{"threads", threads}, {"atomics", atomics}, {"selfmod", own_code}, {0}};

/* ---- busy processes ---- */

static void work(void)
{
	for (int n = 0; n < 40; n++)
		for (const struct item *i = integer_items; i->name; i++)
			i->fn();
}

static void busy(int processes)
{
	for (int n = 0; n < processes; n++)
		if (!fork()) {
			work();
			_exit(0);
		}
	while (wait(NULL) > 0)
		;
}

static void alone(void)
{
	busy(1);
}

static void together(void)
{
	busy(2);
}

const struct item pair_items[] = {{"alone", alone}, {"together", together}, {0}};

void prepare_kernel(const char *path)
{
	self = path;
}
