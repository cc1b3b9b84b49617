/* test_config.c - the option table: every source, every refusal, JSON round trip. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cmd/config.h"
#include "util/util.h"

#define MAX_WORDS 32

/* Parses words separated by blanks; err[0] is 0 if they were accepted. */
static int parse(struct config *c, const char *words, char *err, size_t errlen)
{
	char *copy = xstrdup(words), *word[MAX_WORDS], *save = NULL;
	int n = 0, rc;

	err[0] = '\0';
	config_init(c);
	for (char *w = strtok_r(copy, " ", &save); w; w = strtok_r(NULL, " ", &save))
		word[n++] = w;
	rc = config_parse(c, n, word, err, errlen);
	free(copy);
	return rc;
}

static void defaults(void **state)
{
	struct config c;
	char err[512];

	assert_int_equal(parse(&c, "x.bin", err, sizeof(err)), 0);
	assert_string_equal(c.image, "x.bin");
	assert_int_equal(c.memory, 512 * MiB);
	assert_int_equal(c.cpus, 1);
	assert_string_equal(c.engine, "auto");
	assert_true(c.display);
	assert_int_equal(c.serial, SERIAL_STDIO);
	config_free(&c);
}

static void long_and_short_forms(void **state)
{
	struct config c;
	char err[512];

	assert_int_equal(parse(&c,
				 "-m 4K -c 2 -e interpret -q -v --timeout=7 --clock instructions "
				 "--serial file:a=b --console none --trace exits --no-reboot x",
				 err, sizeof(err)),
		0);
	assert_int_equal(c.memory, 4096);
	assert_int_equal(c.cpus, 2);
	assert_string_equal(c.engine, "interpret");
	assert_true(c.quiet && c.verbose && c.trace_exits && c.no_reboot);
	assert_int_equal(c.timeout, 7);
	assert_int_equal(c.clock, CLOCK_INSTRUCTIONS);
	assert_int_equal(c.serial, SERIAL_FILE);
	assert_string_equal(c.serial_path, "a=b");
	assert_int_equal(c.console, CONSOLE_NONE);
	config_free(&c);
}

static void flat_images(void **state)
{
	struct config c;
	char err[512];

	assert_int_equal(parse(&c,
				 "--flat a,,b@c@0x7c00,entry=7c05 --flat d@f0000 "
				 "--dump b8000,160",
				 err, sizeof(err)),
		0);
	assert_int_equal(c.flats, 2);
	assert_string_equal(c.flat[0].path, "a,b@c");
	assert_int_equal(c.flat[0].addr, 0x7c00);
	assert_int_equal(c.flat[1].addr, 0xf0000);
	assert_true(c.has_entry);
	assert_int_equal(c.entry, 0x7c05);
	assert_int_equal(c.dump[0].addr, 0xb8000);
	assert_int_equal(c.dump[0].len, 160);
	config_free(&c);
}

static void refusals(void **state)
{
	static const struct {
		const char *words, *says;
	} bad[] = {
		{"--memroy 1G", "did you mean --memory?"},
		{"--memroy=1G", "did you mean --memory?"},
		{"--xyzzy", "lists them"},
		{"-Z", "unknown option -Z"},
		{"--memory", "wants a value"},
		{"--memory lots", "not a size"},
		{"--memory 1K", "4K to 1024G"},
		{"--memory 5000", "multiple of 4K"},
		{"--memory 99999999999999999999G", "not a size"},
		{"--cpus 0", "1 to 16"},
		{"--cpus 17", "1 to 16"},
		{"--timeout -1", "seconds"},
		{"--console tty", "auto, serial, screen, none"},
		{"--serial file:", "file:PATH"},
		{"--display vga", "sixel, text"},
		{"--display vnc=10.0.0.1:5900", "on this host"},
		{"--display vnc=0", "on this host"},
		{"--trace calls", "exits"},
		{"--flat x", "FILE@ADDR"},
		{"--flat x@zz", "hex address"},
		{"--flat x@0,start=5", "known is entry=ADDR"},
		{"--dump 0", "ADDR,LEN"},
		{"--dump 0,0", "ADDR,LEN"},
		{"--stats=1", "takes no value"},
		{"a b", "two images"},
		{"-k", "wants a value"},
		{"--disk ,ro", "no file's name"},
		{"--disk x,format=", "unknown key 'format='"},
		{"--disk a --disk b --disk c --disk d --disk e", "at most 4 disks"},
		{"--boot network", "known are disk, cdrom and floppy"},
		{"--firmware coreboot", "known are none, bios, uefi"},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		struct config c;
		char err[512];

		assert_int_equal(parse(&c, bad[i].words, err, sizeof(err)), -1);
		if (!strstr(err, bad[i].says))
			fail_msg("%s: '%s' does not say '%s'", bad[i].words, err, bad[i].says);
		assert_null(strchr(err, '\n'));
		config_free(&c);
	}
}

static void sizes(void **state)
{
	uint64_t n;

	assert_true(config_size("64k", &n) && n == 64 * KiB);
	assert_true(config_size("4GiB", &n) && n == 4 * GiB);
	assert_true(config_size("0x1000", &n) && n == 4096);
	assert_false(config_size("", &n));
	assert_false(config_size("-1", &n));
	assert_false(config_size("1X", &n));
	assert_false(config_size("1Kx", &n));
}

static void nearest(void **state)
{
	static const char *const list[] = {"memory", "engine", "no-reboot", NULL};

	assert_string_equal(nearest_word("memry", list), "memory");
	assert_string_equal(nearest_word("noreboot", list), "no-reboot");
	assert_null(nearest_word("frobnicate", list));
}

/* What one machine was given, another understands: --print-config and MSG_START. */
static void json_round_trip(void **state)
{
	struct config a, b;
	char err[512];
	json_t *copy;

	assert_int_equal(parse(&a,
				 "-m 8M --flat a,,b@0,entry=10 --flat c@100 --dump 0,10 --stats "
				 "--serial file:s --timeout 3 -q",
				 err, sizeof(err)),
		0);
	copy = json_deep_copy(a.set);
	config_init(&b);
	assert_int_equal(config_from_json(&b, copy, err, sizeof(err)), 0);
	assert_true(json_equal(a.set, b.set));
	assert_int_equal(b.memory, 8 * MiB);
	assert_int_equal(b.flats, 2);
	assert_string_equal(b.flat[0].path, "a,b");
	assert_int_equal(b.entry, 0x10);
	assert_true(b.stats && b.quiet);
	json_decref(copy);
	config_free(&a);
	config_free(&b);
}

static void json_refusals(void **state)
{
	static const char *const bad[] = {"[]", "{\"memroy\": \"1G\"}", "{\"memory\": true}",
		"{\"stats\": \"yes\"}", "{\"memory\": {}}", "{\"config\": \"x\"}", "{\"cpus\": 0}",
		"{\"flat\": [5]}"};

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		struct config c;
		char err[512] = "";
		json_t *object = json_loads(bad[i], 0, NULL);

		config_init(&c);
		assert_non_null(object);
		assert_int_equal(config_from_json(&c, object, err, sizeof(err)), -1);
		assert_true(err[0]);
		json_decref(object);
		config_free(&c);
	}
}

static void environment(void **state)
{
	struct config c;
	char err[512], *argv[] = {"--memory", "2M"};

	setenv("TINAMOU_ENGINE", "interpret", 1);
	setenv("TINAMOU_OPTIONS", "--memory 1M  --stats", 1);
	config_init(&c);
	assert_int_equal(config_environment(&c, err, sizeof(err)), 0);
	assert_int_equal(config_parse(&c, 2, argv, err, sizeof(err)), 0);
	assert_string_equal(c.engine, "interpret");
	assert_int_equal(c.memory, 2 * MiB); /* the command line wins */
	assert_true(c.stats);
	config_free(&c);
	unsetenv("TINAMOU_ENGINE");
	unsetenv("TINAMOU_OPTIONS");
}

static void nets(void **state)
{
	struct config c;
	char err[512];

	assert_int_equal(
		parse(&c,
			"--net user,mac=52:54:00:aa:bb:cc,hostname=a-b,forward=udp:53:5353,"
			"mtu=1500 -p 2222:22 -n tap=t0 -n socket=/tmp/a,,b x",
			err, sizeof(err)),
		0);
	assert_int_equal(c.nets, 3);
	assert_int_equal(c.net[0].mac[5], 0xcc);
	assert_int_equal(c.net[0].mtu, 1500);
	assert_string_equal(c.net[0].hostname, "a-b");
	assert_string_equal(c.net[0].forward[0], "udp:127.0.0.1:53:5353");
	assert_string_equal(c.net[0].forward[1], "tcp:127.0.0.1:2222:22");
	assert_string_equal(c.net[1].path, "t0");
	assert_string_equal(c.net[2].path, "/tmp/a,b");
	config_free(&c);
	assert_int_equal(parse(&c, "-p 0.0.0.0:80:8080 --net user,mtu=576 x", err, sizeof(err)), 0);
	assert_int_equal(c.nets, 1);
	assert_int_equal(c.net[0].mtu, 576);
	assert_string_equal(c.net[0].forward[0], "tcp:0.0.0.0:80:8080");
	config_free(&c);
}

static void nets_refused(void **state)
{
	static const char *const list[] = {
		"--net bridge",
		"--net tap=",
		"--net user,mac=01:00:00:00:00:01",
		"--net user,mac=00:00:00:00:00:00",
		"--net user,mac=52:54:00:12:34",
		"--net user,mac=52:54:00:12:34:567",
		"--net user,mtu=67",
		"--net user,mtu=65521",
		"--net user,hostname=a_b",
		"--net user,hostname=-x",
		"--net user,forward=sctp:1:2",
		"--net tap=a,forward=1:2",
		"--net user --net none",
		"-p 22",
		"-p 0:22",
		"-p 65536:22",
		"-p 1.2.3:4:5",
		"-p 256.0.0.1:4:5",
		"-p 22:22x",
		"-n user -n user -n user -n user -n user",
	};
	struct config c;
	char err[512];

	for (unsigned i = 0; i < ARRAY_SIZE(list); i++) {
		assert_int_not_equal(parse(&c, list[i], err, sizeof(err)), 0);
		assert_true(err[0]);
		config_free(&c);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults),
		cmocka_unit_test(nets),
		cmocka_unit_test(nets_refused),
		cmocka_unit_test(long_and_short_forms),
		cmocka_unit_test(flat_images),
		cmocka_unit_test(refusals),
		cmocka_unit_test(sizes),
		cmocka_unit_test(nearest),
		cmocka_unit_test(json_round_trip),
		cmocka_unit_test(json_refusals),
		cmocka_unit_test(environment),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
