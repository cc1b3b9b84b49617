/*
 * bench.c - small programs whose times are compared: natively, in a guest of
 * tinamou, in a guest of QEMU. Static; as init it powers the machine off.
 *
 * Each item is short and runs many times; the shortest time counts, so that
 * what else the host does hardly shows. A line an item: name, nanoseconds.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS 60

static volatile uint64_t sink;

/* What p points to is used. */
static void keep(void *p)
{
	__asm__ volatile("" : : "r"(p) : "memory");
}

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static __attribute__((noinline)) unsigned fib(unsigned n)
{
	return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

static void calls(void)
{
	sink += fib(20);
}

static void integer(void)
{
	uint32_t h[8] = {1, 2, 3, 4, 5, 6, 7, 8};

	for (unsigned n = 0; n < 20000; n++) {
		uint32_t t = h[7] + (h[4] >> 6 ^ h[4] << 7) + (h[4] & h[5]) + n;

		memmove(h + 1, h, 28);
		h[4] += t;
		h[0] = t + (h[1] >> 2 | h[1] << 30);
	}
	sink += h[0];
}

static uint32_t table[65536];
static void hash(void)
{
	for (uint32_t n = 0; n < 30000; n++)
		table[n * 2654435761u >> 16] += n;
	sink += table[7];
}

static void *ring[32768];
static void chase(void)
{
	void **p = (void **)ring;

	for (unsigned n = 0; n < 60000; n++)
		p = *p;
	sink += (uintptr_t)p;
}

static double a[64][64], b[64][64], c[64][64];
static void matmul(void)
{
	for (int i = 0; i < 64; i++)
		for (int j = 0; j < 64; j++) {
			double s = 0;

			for (int k = 0; k < 64; k++)
				s += a[i][k] * b[k][j];
			c[i][j] = s;
		}
	keep(c);
}

static float x[16384], y[16384];
static void vector(void)
{
	for (int r = 0; r < 16; r++)
		for (int i = 0; i < 16384; i++)
			y[i] += x[i] * 1.5f;
}

static uint8_t program[4096];
static void bytecode(void)
{
	uint64_t acc = 1;

	for (int r = 0; r < 8; r++)
		for (unsigned pc = 0; pc < sizeof(program); pc++)
			switch (program[pc]) {
			case 0:
				acc += pc;
				break;
			case 1:
				acc ^= acc << 3;
				break;
			case 2:
				acc -= 7;
				break;
			case 3:
				acc *= 3;
				break;
			case 4:
				acc >>= 1;
				break;
			default:
				acc |= 1;
			}
	sink += acc;
}

static char from[65536], to[65536];
static void copy(void)
{
	for (int n = 0; n < 20; n++) {
		memcpy(to, from, sizeof(to));
		keep(to);
	}
}

static void text(void)
{
	for (int n = 0; n < 20; n++)
		sink += strlen(from);
}

static void sort(void)
{
	static uint32_t v[2000];

	for (uint32_t n = 0; n < 2000; n++)
		v[n] = n * 2654435761u;
	for (uint32_t gap = 1000; gap; gap /= 2)
		for (uint32_t i = gap; i < 2000; i++)
			for (uint32_t j = i; j >= gap && v[j - gap] > v[j]; j -= gap) {
				uint32_t t = v[j];

				v[j] = v[j - gap];
				v[j - gap] = t;
			}
}

static void null_call(void)
{
	for (int n = 0; n < 1000; n++)
		syscall(SYS_getppid);
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

static void on_signal(int sig)
{
	sink++;
}

static void signals(void)
{
	signal(SIGUSR1, on_signal);
	for (int n = 0; n < 100; n++)
		raise(SIGUSR1);
}

/* A function that is written anew and called each time. */
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

static const struct {
	const char *name;
	void (*fn)(void);
} item[] = {{"calls", calls}, {"integer", integer}, {"hash", hash}, {"chase", chase},
	{"sort", sort}, {"bytecode", bytecode}, {"strlen", text}, {"memcpy", copy},
	{"matmul", matmul}, {"vector", vector}, {"syscall", null_call}, {"signal", signals},
	{"fault", faults}, {"mprotect", protect}, {"fork", forks}, {"pipe", pipes},
	{"selfmod", own_code}};

/* Arguments: the items to run (on a kernel's command line behind --), else all. */
static int wanted(const char *name, int argc, char **argv)
{
	for (int n = 1; n < argc; n++)
		if (!strcmp(argv[n], name))
			return 1;
	return argc < 2;
}

int main(int argc, char **argv)
{
	for (unsigned n = 0; n < 32768; n++)
		ring[n] = &ring[(n * 9973 + 1) % 32768];
	for (unsigned n = 0; n < sizeof(program); n++)
		program[n] = (uint8_t)(n * 2654435761u >> 24) % 6;
	memset(from, 'a', sizeof(from) - 1);
	for (unsigned k = 0; k < sizeof(item) / sizeof(*item); k++) {
		uint64_t best = UINT64_MAX;

		if (!wanted(item[k].name, argc, argv))
			continue;
		for (int r = 0; r < ROUNDS; r++) {
			uint64_t t = now();

			item[k].fn();
			t = now() - t;
			if (t < best)
				best = t;
		}
		printf("bench %s %llu\n", item[k].name, (unsigned long long)best);
		fflush(stdout);
	}
	if (getpid() == 1)
		reboot(RB_POWER_OFF);
	return 0;
}
