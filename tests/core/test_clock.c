/* test_clock.c - both clock drivers and the timers. */
#include "test.h"

#include <pthread.h>
#include <time.h>

#include "core/clock.h"

static struct clock clk;
static unsigned order[16], fired;

static void note(void *ctx)
{
	order[fired++ % 16] = (unsigned)(uintptr_t)ctx;
}

static void test_timers_fire_in_order(void **state)
{
	struct timer a, b, c;

	fired = 0;
	clock_init(&clk, CLOCK_INSTRUCTIONS);
	timer_init(&a, &clk, note, (void *)1);
	timer_init(&b, &clk, note, (void *)2);
	timer_init(&c, &clk, note, (void *)3);
	timer_arm(&a, 300);
	timer_arm(&b, 100);
	timer_arm(&c, 200);
	assert_int_equal(clock_next_deadline(&clk), 100);
	timer_arm(&b, 400); /* moves */
	timer_cancel(&c);
	assert_false(timer_armed(&c));
	clock_advance(&clk, 350);
	clock_run_timers(&clk);
	assert_int_equal(fired, 1);
	assert_int_equal(order[0], 1);
	clock_advance(&clk, 50);
	clock_run_timers(&clk);
	assert_int_equal(fired, 2);
	assert_true(clock_next_deadline(&clk) == CLOCK_NEVER);
}

static struct timer hog;

static void rearm_in_past(void *ctx)
{
	fired++;
	timer_arm(&hog, 1);
}

static void test_rearm_in_past_does_not_hang(void **state)
{
	fired = 0;
	clock_init(&clk, CLOCK_INSTRUCTIONS);
	clock_advance(&clk, 1000);
	timer_init(&hog, &clk, rearm_in_past, NULL);
	timer_arm(&hog, 1);
	clock_run_timers(&clk);
	assert_true(fired >= 1 && fired < 1000);
}

static void nap(long ns)
{
	nanosleep(&(struct timespec){0, ns}, NULL);
}

static void test_host_clock_stands_still(void **state)
{
	uint64_t a, b;

	clock_init(&clk, CLOCK_HOST);
	assert_int_equal(clock_now(&clk), 0);
	clock_go(&clk);
	nap(2000000);
	clock_stop(&clk);
	a = clock_now(&clk);
	assert_true(a >= 2000000);
	nap(2000000);
	assert_true(clock_now(&clk) == a);
	clock_go(&clk);
	b = clock_now(&clk);
	assert_true(b >= a);
	clock_stop(&clk);
	clock_set(&clk, 12345);
	assert_true(clock_now(&clk) == 12345);
}

/* As Linux compares TSCs: under a lock nobody reads less than another read before. */
static pthread_mutex_t readers = PTHREAD_MUTEX_INITIALIZER;
static uint64_t latest, steps_back;
static _Atomic bool enough;

static void *read_again_and_again(void *arg)
{
	while (!atomic_load(&enough)) {
		uint64_t now;

		pthread_mutex_lock(&readers);
		now = clock_now(&clk);
		steps_back += now < latest;
		latest = now;
		pthread_mutex_unlock(&readers);
	}
	return NULL;
}

/* By the TSC or not, it is CLOCK_MONOTONIC; bends do not show. */
static void test_host_clock_is_the_hosts(void **state)
{
	pthread_t reader[2];
	uint64_t start;

	clock_init(&clk, CLOCK_HOST);
	clock_go(&clk);
	start = monotonic_ns() - clock_now(&clk);
	for (unsigned n = 0; n < 2; n++)
		assert_int_equal(pthread_create(&reader[n], NULL, read_again_and_again, NULL), 0);
	for (unsigned n = 0; n < 60; n++) {
		uint64_t before, now, after;

		nap(10000000);
		clock_run_timers(&clk);
		before = monotonic_ns() - start;
		now = clock_now(&clk);
		after = monotonic_ns() - start;
		assert_true(now + 100000 >= before && now <= after + 100000);
	}
	atomic_store(&enough, true);
	for (unsigned n = 0; n < 2; n++)
		pthread_join(reader[n], NULL);
	assert_int_equal(steps_back, 0);
	assert_true(!clk.invariant || clk.line.seq > 2 * CLOCK_NO_LINE);
}

static void count_wakes(void *ctx)
{
	++*(unsigned *)ctx;
}

static void test_rearmed_tells_of_earlier_deadlines(void **state)
{
	struct timer a, b;
	unsigned wakes = 0;

	clock_init(&clk, CLOCK_INSTRUCTIONS);
	clk.rearmed = count_wakes;
	clk.rearmed_ctx = &wakes;
	timer_init(&a, &clk, note, NULL);
	timer_init(&b, &clk, note, NULL);
	timer_arm(&a, 100);
	timer_arm(&b, 200);
	assert_int_equal(wakes, 1);
	timer_arm(&b, 50);
	assert_int_equal(wakes, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_timers_fire_in_order),
		cmocka_unit_test(test_rearm_in_past_does_not_hang),
		cmocka_unit_test(test_host_clock_stands_still),
		cmocka_unit_test(test_host_clock_is_the_hosts),
		cmocka_unit_test(test_rearmed_tells_of_earlier_deadlines),
	};

	return cmocka_run_group_tests_name("clock", tests, NULL, NULL);
}
