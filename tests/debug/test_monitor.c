/*
 * test_monitor.c - the monitor's lines: memory by both addresses and all formats,
 * page tables of three kinds and of hostile ones, stop and go, what is unknown.
 */
#include "../engine/machine.h"

#include <stdio.h>

#include "debug/monitor.h"

#define TABLES 0x10000u

static void print_topic(void *ctx, FILE *out)
{
	fprintf(out, "topic %s\n", (const char *)ctx);
}

static void print_args(void *ctx, const char *args, FILE *out)
{
	fprintf(out, "command %s(%s)\n", (const char *)ctx, args);
}

/* The answer to a line, until the next one. */
static const char *answer(struct machine *m, const char *line)
{
	static char text[65536];
	static const struct monitor_topic topic = {"chip", "a chip", print_topic, "chip"};
	static const struct monitor_command command = {
		"poke", "[N]", "a command", print_args, "poke"};
	struct monitor monitor = {m->vm, &topic, 1, &command, 1, 0};
	FILE *out = fmemopen(text, sizeof(text) - 1, "w");

	memset(text, 0, sizeof(text));
	vm_lock(m->vm);
	assert_int_equal(interpret_engine.put(m->v, &m->s, X86_GROUP_ALL), 0);
	monitor_execute(&monitor, line, out);
	vm_unlock(m->vm);
	fclose(out);
	return text;
}
#define SAYS(m, line, text) assert_string_equal(answer(m, line), text)

static void poke(struct machine *m, uint32_t gpa, const void *data, size_t len)
{
	memcpy(m->vm->ram.host + gpa, data, len);
}

static void poke32(struct machine *m, uint32_t gpa, uint32_t value)
{
	poke(m, gpa, &value, 4);
}

static void poke64(struct machine *m, uint32_t gpa, uint64_t value)
{
	poke(m, gpa, &value, 8);
}

static void formats(void **state)
{
	struct machine *m = *state;

	poke(m, 0x2000, "\x01\x80\xff\xff\x41\x42\x00\x0a", 8);
	SAYS(m, "xp/2xw 0x2000", "0000000000002000: 0xffff8001 0x0a004241\n");
	SAYS(m, "x/2xw 0x2000", "00002000: 0xffff8001 0x0a004241\n");
	SAYS(m, "xp /1dw 8192", "0000000000002000: -32767\n");
	SAYS(m, "xp/2uh 0x2000", "0000000000002000: 32769 65535\n");
	SAYS(m, "xp/1ob 0x2004", "0000000000002004: 0101\n");
	SAYS(m, "xp/xg 0x2000", "0000000000002000: 0x0a004241ffff8001\n");
	SAYS(m, "xp/3c 0x2004", "0000000000002004: 'A' 'B' '\\x00'\n");
	SAYS(m, "xp/s 0x2004", "0000000000002004: \"AB\"\n");
	SAYS(m, "xp/5xb 0xffffe", "00000000000ffffe: 0x00 0x00 cannot access memory\n");
	SAYS(m, "xp/4z 0", "unknown format: [count][xduocis][bhwg], as in x/4xw\n");
}

static void lines_of_sixteen_bytes(void **state)
{
	struct machine *m = *state;
	const char *text = answer(m, "xp/17xb 0x3000");

	assert_non_null(strstr(text, "\n0000000000003010: 0x00\n"));
	answer(m, "xp/4000000000xb 0xfffff"); /* ends where memory does */
}

static void code(void **state)
{
	struct machine *m = *state;

	poke(m, CODE, "\x31\xc0\xeb\xfe", 4);
	SAYS(m, "x/2i $pc",
		"0x00007c00:  31 c0                   xor ax, ax\n"
		"0x00007c02:  eb fe                   jmp 0x7c02\n");
}

static void addresses(void **state)
{
	struct machine *m = *state;

	m->s.gpr[X86_RSP] = 0x123;
	m->s.gpr[X86_R9] = 0x55;
	SAYS(m, "xp/1xb $esp+0x10-1", "0000000000000132: 0x00\n");
	assert_non_null(strstr(answer(m, "x $r9"), "00000055:"));
	assert_non_null(strstr(answer(m, "x $ax"), "00000000:"));
	for (const char *bad[] = {"x", "x foo", "x $foo", "x 1+", "x 1*2", "x -1", "x $r99"},
			**p = bad;
		p < bad + ARRAY_SIZE(bad); p++)
		assert_non_null(strstr(answer(m, *p), "no address"));
}

/* ---- page tables ---- */

static void paging_32(void **state)
{
	struct machine *m = *state;

	m->s.cr0 |= X86_CR0_PE | X86_CR0_PG;
	m->s.cr4 |= X86_CR4_PSE;
	m->s.cr3 = TABLES;
	poke32(m, TABLES, (TABLES + 0x1000) | 7);
	poke32(m, TABLES + 4 * 0x300, 0x83); /* 4 MiB at C0000000 */
	poke32(m, TABLES + 0x1000, 0x2000 | 7);
	poke32(m, TABLES + 0x1004, 0x3000 | 7);
	poke32(m, TABLES + 0x1010, 0x2000 | 5);
	SAYS(m, "info mem",
		"0000000000000000-0000000000002000 0000000000002000 urw\n"
		"0000000000004000-0000000000005000 0000000000001000 ur-\n"
		"00000000c0000000-00000000c0400000 0000000000400000 -rw\n");
	poke(m, 0x2ffc, "abcdefgh", 8);
	SAYS(m, "x/s 0x0ffc", "00000ffc: \"abcdefgh\"\n"); /* across pages */
	SAYS(m, "x/xw 0xc0002ffc", "c0002ffc: 0x64636261\n");
	SAYS(m, "x/xw 0x2000", "00002000: cannot access memory\n");
	assert_int_equal(
		m->vm->ram.host[TABLES + 0x1000] & 0x60, 0); /* no accessed or dirty flag */
}

static void paging_64(void **state)
{
	struct machine *m = *state;

	m->s.cr0 |= X86_CR0_PE | X86_CR0_PG;
	m->s.cr4 |= X86_CR4_PAE;
	m->s.efer = X86_EFER_LME | X86_EFER_LMA;
	m->s.seg[X86_CS].attr |= X86_ATTR_L;
	m->s.cr3 = TABLES;
	poke64(m, TABLES + 8 * 511, (TABLES + 0x1000) | 3);
	poke64(m, TABLES + 0x1000 + 8 * 510, (TABLES + 0x2000) | 3);
	poke64(m, TABLES + 0x2000, 0x83);
	SAYS(m, "info mem", "ffffffff80000000-ffffffff80200000 0000000000200000 -rw\n");
	SAYS(m, "x/xb 0xffffffff80000001", "ffffffff80000001: 0x06\n");
}

/* A table that names itself 512 times at each level: an answer comes, and says that it is not all.
 */
static void hostile_tables(void **state)
{
	struct machine *m = *state;

	m->s.cr0 |= X86_CR0_PE | X86_CR0_PG;
	m->s.cr4 |= X86_CR4_PAE;
	m->s.efer = X86_EFER_LME | X86_EFER_LMA;
	m->s.cr3 = TABLES;
	for (unsigned n = 0; n < 512; n++)
		poke64(m, TABLES + 8 * n, TABLES | 7);
	assert_non_null(strstr(answer(m, "info mem"), "and more"));
	m->s.cr3 = 0xfffffffff000; /* where nothing is */
	SAYS(m, "info mem", "");
}

/* ---- the machine ---- */

static void stop_and_go(void **state)
{
	struct machine *m = *state;

	SAYS(m, "info status", "VM status: running\n");
	SAYS(m, "stop", "");
	SAYS(m, "s", "");
	SAYS(m, "info status", "VM status: paused\n");
	SAYS(m, "system_reset", "it takes effect when the machine continues\n");
	SAYS(m, "c", "");
	SAYS(m, "info status", "VM status: running\n");
	assert_true(m->vm->reset_asked);
	assert_int_equal(m->vm->pause_count, 0);
}

static void words(void **state)
{
	struct machine *m = *state;

	SAYS(m, "", "");
	SAYS(m, "   ", "");
	SAYS(m, "dance", "unknown command: 'dance'; help lists them\n");
	SAYS(m, "info dance", "info: unknown topic 'dance'; info alone lists them\n");
	SAYS(m, "info chip", "topic chip\n");
	SAYS(m, "poke", "command poke()\n");
	SAYS(m, "poke  1 2 ", "command poke(1 2)\n");
	assert_non_null(strstr(answer(m, "info"), "registers"));
	assert_non_null(strstr(answer(m, "help"), "poke"));
	assert_non_null(strstr(answer(m, "info registers"), "rip 0000000000007c00"));
	SAYS(m, "cpu 1", "a number from 0 to 0\n");
	SAYS(m, "cpu 0", "");
	SAYS(m, "info cpus", "* cpu0: pc=0x0000000000007c00 running\n");
}

static void endless_lines(void **state)
{
	struct machine *m = *state;
	char line[4096];

	for (size_t n = 1; n < sizeof(line); n += 100) {
		memset(line, 'x', n);
		line[n] = '\0';
		answer(m, line);
		memset(line, '/', n);
		answer(m, line);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(formats, setup, teardown),
		cmocka_unit_test_setup_teardown(lines_of_sixteen_bytes, setup, teardown),
		cmocka_unit_test_setup_teardown(code, setup, teardown),
		cmocka_unit_test_setup_teardown(addresses, setup, teardown),
		cmocka_unit_test_setup_teardown(paging_32, setup, teardown),
		cmocka_unit_test_setup_teardown(paging_64, setup, teardown),
		cmocka_unit_test_setup_teardown(hostile_tables, setup, teardown),
		cmocka_unit_test_setup_teardown(stop_and_go, setup, teardown),
		cmocka_unit_test_setup_teardown(words, setup, teardown),
		cmocka_unit_test_setup_teardown(endless_lines, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
