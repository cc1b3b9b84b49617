/*
 * fuzz.c - bad and half-good ioctls for the module, from a seed.
 *
 *   fuzz SECONDS SEED [no-entry]
 *
 * Descriptors are opened, used with random requests and structures, mapped,
 * unmapped and closed in random order, by two threads on the same descriptors:
 * structures change while the module reads them. Passes if it comes to its end;
 * what it did to the kernel is for dmesg to say.
 */
#include <pthread.h>
#include <signal.h>
#include <time.h>

#include "guest.h"

#define FDS     24
#define TICK_NS 2000000

static int fd[FDS];
static void *shared[FDS];
static uint8_t *ram;
static volatile bool stop;
static bool entries = true;
static unsigned long calls, fine;

static uint64_t next(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

/* Small, at an edge, or anything. */
static uint64_t value(uint64_t *seed)
{
	static const uint64_t edges[] = {0, 1, PAGE, PAGE - 1, UINT32_MAX, UINT64_MAX,
		UINT64_C(1) << 47, UINT64_C(1) << 52, UINT64_C(1) << 63, ~UINT64_C(0xfff)};
	uint64_t r = next(seed);

	switch (r & 3) {
	case 0:
		return edges[r / 4 % (sizeof(edges) / sizeof(edges[0]))];
	case 1:
		return r >> 2 & 0xff;
	case 2:
		return (r >> 2 & 0xf) * PAGE;
	default:
		return next(seed);
	}
}

static void make_map(struct tinamou_map *m, uint64_t *seed)
{
	bool good = next(seed) & 1;

	*m = (struct tinamou_map){.size = sizeof(*m), .count = next(seed) % 3};
	for (unsigned n = 0; n < 3; n++)
		m->slot[n] = (struct tinamou_slot){.gpa = good ? n * 2 * PAGE : value(seed),
			.bytes = good ? PAGE * (1 + next(seed) % 2) : value(seed),
			.user = good ? (uintptr_t)ram + next(seed) % 8 * PAGE : value(seed),
			.flags = next(seed) & 1};
	if (!(next(seed) & 15))
		m->count = (uint32_t)value(seed);
	if (!(next(seed) & 15))
		m->size = (uint32_t)value(seed);
}

/* Fresh registers with some of them spoilt; code that may be anything. */
static void make_registers(struct tinamou_page *p, uint64_t *seed)
{
	unsigned spoil = next(seed) % 6;

	real_mode(&p->regs);
	for (unsigned n = 0; n < spoil; n++) {
		uint64_t v = value(seed);
		size_t at = next(seed) % (sizeof(p->regs) - sizeof(v));

		memcpy((uint8_t *)&p->regs + at, &v, sizeof(v));
	}
	p->window = next(seed) & 1;
	p->immediate_exit = !(next(seed) & 7);
	for (unsigned n = 0; n < 16; n++)
		ram[n] = (uint8_t)next(seed);
}

static int random_call(int descriptor, struct tinamou_page *p, uint64_t *seed)
{
	static const unsigned long requests[] = {TINAMOU_INFO, TINAMOU_CREATE_VM, TINAMOU_SET_MAP,
		TINAMOU_CREATE_VCPU, TINAMOU_RUN, TINAMOU_RUN, TINAMOU_RUN};
	unsigned long request = requests[next(seed) % (sizeof(requests) / sizeof(requests[0]))];
	struct tinamou_map m;
	struct tinamou_run r = {.size = sizeof(r),
		.flags = next(seed) & entries,
		.put = (uint32_t)next(seed) & TINAMOU_ALL_GROUPS,
		.get = (uint32_t)next(seed) & TINAMOU_ALL_GROUPS};

	if (!(next(seed) & 31))
		return call(descriptor, next(seed), (void *)(uintptr_t)value(seed));
	if (!(next(seed) & 31))
		return call(descriptor, request, (void *)(uintptr_t)(value(seed) | 1));
	if (request == TINAMOU_CREATE_VM || request == TINAMOU_CREATE_VCPU)
		return call(descriptor, request, NULL);
	if (request == TINAMOU_SET_MAP) {
		make_map(&m, seed);
		return call(descriptor, request, &m);
	}
	if (p)
		make_registers(p, seed);
	if (request == TINAMOU_INFO) {
		m.size = sizeof(struct tinamou_info);
		return call(descriptor, request, &m);
	}
	return call(descriptor, request, &r);
}

static bool makes_descriptor(int rc)
{
	return rc > 2;
}

static void keep(int new, uint64_t *seed)
{
	unsigned n = 1 + next(seed) % (FDS - 1);

	if (shared[n])
		munmap(shared[n], PAGE);
	if (fd[n] > 0)
		close(fd[n]);
	fd[n] = new;
	shared[n] = next(seed) & 7 ? pages(new, 1) : NULL;
}

/* Ends a guest of this thread that runs for ever, again and again. */
static void start_timer(void)
{
	struct sigevent ev = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGALRM};
	struct itimerspec often = {{0, TICK_NS}, {0, TICK_NS}};
	timer_t timer;

	ev._sigev_un._tid = gettid();
	if (timer_create(CLOCK_MONOTONIC, &ev, &timer) || timer_settime(timer, 0, &often, NULL))
		_exit(2);
}

static void *worker(void *arg)
{
	uint64_t seed = *(uint64_t *)arg;

	start_timer();
	while (!stop) {
		unsigned n = next(&seed) % FDS;
		int rc = random_call(fd[n], NULL, &seed);

		__atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED);
		if (makes_descriptor(rc))
			close(rc);
	}
	return NULL;
}

static void nothing(int sig)
{
}

int main(int argc, char **argv)
{
	struct sigaction sa = {.sa_handler = nothing};
	uint64_t seed, other;
	pthread_t thread;
	time_t end;

	if (argc < 3)
		return 2;
	entries = argc == 3;
	end = time(NULL) + atoi(argv[1]);
	seed = strtoull(argv[2], NULL, 0) | 1;
	other = seed * 3 | 1;
	sigaction(SIGALRM, &sa, NULL);
	start_timer();
	ram = pages(-1, 8);
	fd[0] = open("/dev/tinamou", O_RDWR | O_CLOEXEC);
	if (fd[0] < 0 || !ram || pthread_create(&thread, NULL, worker, &other))
		return 2;
	while (time(NULL) < end) {
		unsigned n = next(&seed) % FDS;
		int rc = random_call(fd[n], shared[n], &seed);

		__atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED);
		fine += rc >= 0;
		if (makes_descriptor(rc))
			keep(rc, &seed);
		if (!(next(&seed) & 63))
			madvise(ram, 8 * PAGE, MADV_DONTNEED);
	}
	stop = true;
	printf("fuzz: %lu calls, %lu of the first thread's succeeded\n", calls, fine);
	fflush(stdout);
	_exit(fine ? 0 : 1); /* the descriptors go with the process */
}
