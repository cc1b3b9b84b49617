/* test_disk.c - the door of the block layer, on raw images. */
#include "disk_fixture.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>

static char dir[] = "/tmp/tinamou-disk-XXXXXX", path[64];
static uint8_t buf[256 * KiB], back[256 * KiB];

static int setup(void **state)
{
	strcpy(dir, "/tmp/tinamou-disk-XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/a.img", dir);
	for (unsigned i = 0; i < sizeof(buf); i++)
		buf[i] = (uint8_t)(i * 7 + (i >> 9));
	return 0;
}

static int teardown(void **state)
{
	unlink(path);
	rmdir(dir);
	return 0;
}

static void test_reads_what_was_written(void **state)
{
	struct rig r;

	sparse_file(path, MiB);
	assert_true(rig_open(&r, path, "raw"));
	assert_int_equal(disk_size(r.disk), MiB);
	assert_false(disk_readonly(r.disk));
	assert_int_equal(rig_do(&r, DISK_WRITE, 4096, buf, sizeof(buf)), 0);
	assert_int_equal(rig_do(&r, DISK_FLUSH, 0, NULL, 0), 0);
	assert_int_equal(rig_do(&r, DISK_READ, 4096, back, sizeof(back)), 0);
	assert_memory_equal(buf, back, sizeof(buf));
	assert_int_equal(rig_do(&r, DISK_ZERO, 8192, NULL, 4096), 0);
	assert_int_equal(rig_do(&r, DISK_DISCARD, 65536, NULL, 4096), 0);
	assert_int_equal(rig_do(&r, DISK_READ, 8192, back, 8192), 0);
	memset(buf + 4096, 0, 4096);
	assert_memory_equal(buf + 4096, back, 8192);
	rig_close(&r);
}

static void test_many_in_flight_with_scatter_lists(void **state)
{
	enum { N = 64 };
	struct disk_request req[N];
	struct iovec iov[N][130];
	struct rig r;

	sparse_file(path, MiB);
	assert_true(rig_open(&r, path, "raw"));
	for (unsigned pass = 0; pass < 2; pass++) {
		uint8_t *data = pass ? back : buf;

		for (unsigned i = 0; i < N; i++) {
			/* 128 pieces of odd sizes: 4096 bytes in all */
			for (unsigned j = 0; j < 128; j++)
				iov[i][j] = (struct iovec){data + i * 4096 + j * 32, 32};
			iov[i][128] = (struct iovec){NULL, 0};
			req[i] = (struct disk_request){.op = pass ? DISK_READ : DISK_WRITE,
				.offset = (uint64_t)i * 8192,
				.len = 4096,
				.iov = iov[i],
				.iovcnt = 129,
				.done = rig_done,
				.ctx = &r};
			disk_submit(r.disk, &req[i]);
		}
		rig_wait(&r, N * (pass + 1));
		assert_int_equal(r.last_error, 0);
	}
	assert_memory_equal(buf, back, sizeof(buf));
	rig_close(&r);
}

static void test_bad_requests(void **state)
{
	struct rig r;
	struct disk_options ro = {.path = path, .format = "raw", .ro = true};

	sparse_file(path, MiB);
	assert_true(rig_open(&r, path, "raw"));
	assert_int_equal(rig_do(&r, DISK_READ, MiB, back, 512), -EINVAL);
	assert_int_equal(rig_do(&r, DISK_READ, UINT64_MAX - 511, back, 1024), -EINVAL);
	assert_int_equal(rig_do(&r, DISK_WRITE, 100, back, 512), -EINVAL);
	assert_int_equal(rig_do(&r, DISK_WRITE, 0, back, 100), -EINVAL);
	assert_int_equal(rig_do(&r, (enum disk_op)77, 0, back, 512), -EINVAL);
	rig_close(&r);
	assert_true(rig_open_as(&r, &ro, CLOCK_HOST));
	assert_true(disk_readonly(r.disk));
	assert_int_equal(rig_do(&r, DISK_WRITE, 0, back, 512), -EROFS);
	assert_int_equal(rig_do(&r, DISK_FLUSH, 0, NULL, 0), 0);
	rig_close(&r);
}

static void test_size_that_is_no_multiple_of_a_sector(void **state)
{
	struct stat st;
	struct rig r;

	write_file(path, buf, 1000);
	assert_true(rig_open(&r, path, "raw"));
	assert_int_equal(disk_size(r.disk), 1024);
	memset(back, 0xff, 1024);
	assert_int_equal(rig_do(&r, DISK_READ, 0, back, 1024), 0);
	assert_memory_equal(back, buf, 1000);
	assert_int_equal(back[1000] | back[1023], 0);
	assert_int_equal(rig_do(&r, DISK_WRITE, 512, buf, 512), 0);
	assert_int_equal(rig_do(&r, DISK_READ, 512, back, 512), 0);
	assert_memory_equal(back, buf, 512);
	rig_close(&r);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, 1024);
}

/* A guessed raw image stays one; a given format is the user's word. */
static void test_guest_cannot_turn_raw_into_qcow2(void **state)
{
	static uint8_t sector[1024] = "QFI\xfb\0\0\0\3";
	struct rig r;

	sparse_file(path, MiB);
	assert_true(rig_open(&r, path, NULL));
	assert_string_equal(disk_format(r.disk), "raw");
	assert_int_equal(rig_do(&r, DISK_WRITE, 0, sector, 1024), -EPERM);
	assert_int_equal(rig_do(&r, DISK_READ, 0, back, 1024), 0);
	assert_int_equal(back[0], 0);
	assert_int_equal(rig_do(&r, DISK_WRITE, 512, sector, 1024), 0);
	assert_int_equal(rig_do(&r, DISK_WRITE, 0, buf, 512), 0);
	rig_close(&r);
	assert_true(rig_open(&r, path, "raw"));
	assert_int_equal(rig_do(&r, DISK_WRITE, 0, sector, 1024), 0);
	rig_close(&r);
}

static void test_second_writer_is_refused(void **state)
{
	struct disk_options ro = {.path = path, .format = "raw", .ro = true};
	struct rig a, b, c;

	sparse_file(path, MiB);
	assert_true(rig_open(&a, path, "raw"));
	assert_false(rig_open(&b, path, "raw"));
	assert_non_null(strstr(b.err, "another program"));
	assert_false(rig_open_as(&b, &ro, CLOCK_HOST));
	rig_close(&a);
	assert_true(rig_open_as(&a, &ro, CLOCK_HOST));
	assert_true(rig_open_as(&b, &ro, CLOCK_HOST));
	assert_false(rig_open(&c, path, "raw"));
	rig_close(&a);
	rig_close(&b);
	assert_true(rig_open(&a, path, "raw"));
	rig_close(&a);
}

static void test_what_is_no_image(void **state)
{
	struct rig r;

	assert_false(rig_open(&r, "/nonexistent/x", NULL));
	assert_non_null(strstr(r.err, "/nonexistent/x: No such file"));
	assert_false(rig_open(&r, dir, NULL));
	assert_false(rig_open(&r, "/dev/null", NULL));
	assert_non_null(strstr(r.err, "neither a file nor a block device"));
	sparse_file(path, 512);
	assert_false(rig_open(&r, path, "vmdk"));
	assert_non_null(strstr(r.err, "raw or qcow2"));
	unlink(path);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_false(rig_open(&r, path, NULL));
}

/* A host that has no room: the file may not grow beyond 64 KiB. */
static void test_full_host_disk_is_an_error(void **state)
{
	struct rlimit old, limit;
	struct rig r;

	sparse_file(path, MiB);
	assert_true(rig_open(&r, path, "raw"));
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &old);
	limit = old;
	limit.rlim_cur = 65536;
	setrlimit(RLIMIT_FSIZE, &limit);
	assert_int_equal(rig_do(&r, DISK_WRITE, 128 * KiB, buf, 4096), -EFBIG);
	assert_int_equal(rig_do(&r, DISK_WRITE, 132 * KiB, buf, 4096), -EFBIG);
	setrlimit(RLIMIT_FSIZE, &old);
	assert_int_equal(rig_do(&r, DISK_WRITE, 128 * KiB, buf, 4096), 0);
	rig_close(&r);
}

static void test_file_that_shrinks_is_an_error(void **state)
{
	struct rig r;

	sparse_file(path, MiB);
	assert_true(rig_open(&r, path, "raw"));
	assert_int_equal(truncate(path, 4096), 0);
	assert_int_equal(rig_do(&r, DISK_READ, 8192, back, 512), -EIO);
	rig_close(&r);
}

static void test_cancel_and_drain(void **state)
{
	enum { N = 200 };
	static struct disk_request req[N];
	struct iovec iov = {buf, 4096};
	struct disk_stats stats;
	struct rig r;

	sparse_file(path, MiB);
	assert_true(rig_open(&r, path, "raw"));
	for (unsigned i = 0; i < N; i++) {
		req[i] = (struct disk_request){
			DISK_WRITE, false, 0, 4096, &iov, 1, rig_done, &r, NULL, 0, 0};
		disk_submit(r.disk, &req[i]);
	}
	for (unsigned i = 0; i < N; i += 2)
		disk_cancel(r.disk, &req[i]);
	disk_drain(r.disk);
	assert_int_equal(r.completed, N / 2);
	loop_poll(r.loop, 0, rig_lock, rig_lock, NULL);
	assert_int_equal(r.completed, N / 2);
	disk_get_stats(r.disk, &stats);
	assert_int_equal(stats.requests[DISK_WRITE], N);
	rig_close(&r);
}

/* Served at once, completed at a fixed guest time. */
static void test_instruction_clock(void **state)
{
	struct iovec iov = {back, 512};
	struct disk_options o = {.path = path, .format = "raw"};
	struct rig r;
	struct disk_request req = {
		.op = DISK_READ, .len = 512, .iov = &iov, .iovcnt = 1, .done = rig_done, .ctx = &r};
	uint64_t due;

	write_file(path, buf, 4096);
	assert_true(rig_open_as(&r, &o, CLOCK_INSTRUCTIONS));
	disk_submit(r.disk, &req);
	due = clock_next_deadline(&r.clock);
	assert_int_equal(due, 100000);
	clock_run_timers(&r.clock);
	assert_int_equal(r.completed, 0);
	clock_go(&r.clock);
	clock_advance(&r.clock, due);
	clock_run_timers(&r.clock);
	assert_int_equal(r.completed, 1);
	assert_memory_equal(back, buf, 512);
	disk_submit(r.disk, &req);
	disk_drain(r.disk);
	assert_int_equal(r.completed, 2);
	rig_close(&r);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_reads_what_was_written, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_many_in_flight_with_scatter_lists, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_requests, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_size_that_is_no_multiple_of_a_sector, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_guest_cannot_turn_raw_into_qcow2, setup, teardown),
		cmocka_unit_test_setup_teardown(test_second_writer_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_is_no_image, setup, teardown),
		cmocka_unit_test_setup_teardown(test_full_host_disk_is_an_error, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_file_that_shrinks_is_an_error, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cancel_and_drain, setup, teardown),
		cmocka_unit_test_setup_teardown(test_instruction_clock, setup, teardown),
	};

	log_level = LOG_ERROR;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
