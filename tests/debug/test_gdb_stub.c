/*
 * test_gdb_stub.c - packets in pieces and in ruins, registers both ways, and the
 * stub fed with noise.
 */
#include "../engine/machine.h"

#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "debug/gdb.h"
#include "debug/gdb_regs.h"
#include "debug/rsp.h"

static enum rsp_event feed(struct rsp *r, const char *bytes)
{
	enum rsp_event e = RSP_MORE;

	for (; *bytes; bytes++)
		e = rsp_feed(r, *bytes);
	return e;
}

static void packets(void **state)
{
	struct rsp *r = xcalloc(1, sizeof(*r));

	assert_int_equal(feed(r, "+$m0,4#fd"), RSP_PACKET);
	assert_string_equal(r->data, "m0,4");
	assert_int_equal(feed(r, "$m0,4#fe"), RSP_BROKEN);
	assert_int_equal(feed(r, "$m0,4#z"), RSP_BROKEN);
	assert_int_equal(feed(r, "$never ended$g#67"), RSP_PACKET);
	assert_string_equal(r->data, "g");
	assert_int_equal(feed(r, "$}\x03#80"), RSP_PACKET);
	assert_string_equal(r->data, "#");
	assert_int_equal(feed(r, "\x03"), RSP_INTERRUPT);
	assert_int_equal(feed(r, "-"), RSP_RESEND);
	feed(r, "$");
	for (unsigned n = 0; n < RSP_PACKET_MAX + 1; n++)
		assert_int_equal(rsp_feed(r, 'a'), RSP_MORE);
	feed(r, "#");
	assert_int_equal(feed(r, "61"), RSP_BROKEN);
	free(r);
}

static void there_and_back(void **state)
{
	struct rsp *r = xcalloc(1, sizeof(*r));
	char data[256], wire[2 * sizeof(data) + 4];
	enum rsp_event e = RSP_MORE;
	size_t len;

	for (unsigned n = 0; n < sizeof(data); n++)
		data[n] = (char)n;
	len = rsp_wrap(wire, data, sizeof(data));
	for (size_t n = 0; n < len; n++)
		e = rsp_feed(r, wire[n]);
	assert_int_equal(e, RSP_PACKET);
	assert_int_equal(r->len, sizeof(data));
	assert_memory_equal(r->data, data, sizeof(data));
	free(r);
}

/* What can be written comes back; the rest changes nothing. */
static void registers(void **state)
{
	for (unsigned wide = 0; wide < 2; wide++) {
		const struct gdb_regs g = {wide};
		uint8_t in[GDB_REG_BYTES] = {0x11, 0x22, 0x33, 0x04}, out[GDB_REG_BYTES];
		size_t all = 0;

		for (unsigned n = 0; n < gdb_regs_count(&g); n++) {
			struct x86_state s = {.xcr0 = 7, .rflags = 2}, before;
			unsigned size = gdb_reg_size(&g, n), groups;

			assert_in_range(size, 4, GDB_REG_BYTES);
			all += size;
			s.xsave[512] = 1;
			before = s;
			groups = gdb_reg_put(&g, &s, n, in);
			if (!groups)
				assert_memory_equal(&s, &before, sizeof(s));
			gdb_reg_get(&g, &s, n, out);
			if (groups && n != 17 && size != 4)
				assert_memory_equal(in, out, size);
		}
		assert_in_range(all, 1, GDB_ALL_BYTES);
		assert_int_equal(gdb_reg_size(&g, gdb_regs_count(&g)), 0);
	}
}

static void flags_keep_what_is_the_modes(void **state)
{
	const struct gdb_regs g = {true};
	const uint8_t ones[GDB_REG_BYTES] = {0xff, 0xff, 0xff, 0xff};
	struct x86_state s = {.rflags = 2};

	assert_int_equal(gdb_reg_put(&g, &s, 17, ones), X86_GROUP_GPR);
	assert_int_equal(s.rflags & (X86_VM | X86_VIF | 0x8008), 0);
	assert_true(s.rflags & X86_TF);
}

static void counter_is_linear(void **state)
{
	const struct gdb_regs g = {true};
	struct x86_state s = {.rip = 0xfff0};
	uint8_t bytes[GDB_REG_BYTES];
	uint64_t pc;

	x86_seg_real(&s.seg[X86_CS], 0xf000, true);
	gdb_reg_get(&g, &s, 16, bytes);
	memcpy(&pc, bytes, 8);
	assert_int_equal(pc, 0xffff0);
	pc = 0xf1234;
	memcpy(bytes, &pc, 8);
	gdb_reg_put(&g, &s, 16, bytes);
	assert_int_equal(s.rip, 0x1234);
}

/* Random bytes, and packets with right sums and wrong insides. */
static void noise(void **state)
{
	static const char letters[] = "?CDGHMPSTXZcgmpsvzq0123456789abcdef,;:=-$#}*";
	struct machine *m = *state;
	struct monitor monitor = {.vm = m->vm};
	int pair[2];
	struct gdb *g;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	vm_lock(m->vm);
	g = gdb_new(m->vm, &monitor, -1, GDB_ARCH_AUTO);
	gdb_connect(g, pair[0]);
	srandom(6);
	for (unsigned n = 0; n < 20000; n++) {
		char data[64], wire[2 * sizeof(data) + 4], sink[4096];
		size_t len = (size_t)random() % sizeof(data);

		for (size_t i = 0; i < len; i++)
			data[i] = letters[(size_t)random() % (sizeof(letters) - 1)];
		if (n % 16 == 0)
			data[0] = (char)random();
		len = n % 8 ? rsp_wrap(wire, data, len) : (memcpy(wire, data, len), len);
		gdb_receive(g, wire, len);
		while (recv(pair[1], sink, sizeof(sink), 0) > 0)
			;
	}
	gdb_free(g, 0);
	vm_unlock(m->vm);
	close(pair[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(packets),
		cmocka_unit_test(there_and_back),
		cmocka_unit_test(registers),
		cmocka_unit_test(flags_keep_what_is_the_modes),
		cmocka_unit_test(counter_is_linear),
		cmocka_unit_test_setup_teardown(noise, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
