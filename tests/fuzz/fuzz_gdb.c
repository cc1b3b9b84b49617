/*
 * fuzz_gdb.c - libFuzzer entry: what a debugger sends to a machine with two vCPUs. The input is
 * lines; a line is a packet's inside, which gets its frame and sum here, unless it begins with
 *
 *   !  bytes as they are: half packets, wrong sums, acknowledgements
 *   @  the machine meets a stop at the address of the digits behind it
 *
 * One machine serves all inputs, and no vCPU of it runs: registers and memory are put back.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/vm.h"
#include "debug/gdb.h"
#include "debug/rsp.h"
#include "engine/interpret/interpret.h"
#include "util/util.h"

#define RAM_SIZE UINT64_C(0x10000)
#define VCPUS    2
#define LINE_MAX 1024u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
const char *__asan_default_options(void);

/* What hangs on a vCPU is reached through mapped memory, where no leak is looked for. */
const char *__asan_default_options(void)
{
	return "detect_leaks=0";
}

static struct vm *vm; /* libFuzzer hands nothing from one input to the next */
static struct bus_region ram;

static void power_on(void)
{
	struct vm_config config = {
		.engine = &interpret_engine, .ram_size = RAM_SIZE, .vcpus = VCPUS};
	char err[512];

	vm = vm_new(&config, err, sizeof(err));
	if (!vm)
		abort();
	ram = (struct bus_region){
		.name = "ram", .size = RAM_SIZE, .kind = BUS_RAM, .host = vm->ram.host};
	vm_lock(vm);
	if (bus_map(&vm->mem_bus, &ram))
		abort();
	for (unsigned n = 0; n < VCPUS; n++)
		if (interpret_engine.vcpu_open(vm->vcpu[n]))
			abort();
}

static void restore(void)
{
	struct x86_state s;

	memset(vm->ram.host, 0, RAM_SIZE);
	x86_state_reset(&s, 0);
	for (unsigned n = 0; n < VCPUS; n++)
		if (interpret_engine.put(vm->vcpu[n], &s, X86_GROUP_ALL))
			abort();
	vm->end = VM_END_NONE;
	vm->stop_asked = false;
	vm_cont(vm);
}

static void meet_stop(const char *digits)
{
	struct run_result r = {.exit = RUN_DEBUG};
	struct vcpu *v;

	rsp_number(&digits, &r.debug_addr);
	v = vm->vcpu[r.debug_addr % VCPUS];
	vm->debugger->met(vm->debugger_ctx, v, &r);
	vm_stop(vm);
}

static void feed_line(struct gdb *g, const char *line, size_t len)
{
	char wire[2 * LINE_MAX + 4];

	if (line[0] == '@')
		meet_stop(line + 1);
	else if (line[0] == '!')
		gdb_receive(g, line + 1, len - 1);
	else
		gdb_receive(g, wire, rsp_wrap(wire, line, len));
}

static void feed(struct gdb *g, const char *data, size_t len, int peer)
{
	char line[LINE_MAX + 1], sink[65536];

	while (len) {
		const char *end = memchr(data, '\n', len);
		size_t n = end ? (size_t)(end - data) : len, part = MIN(n, LINE_MAX);

		memcpy(line, data, part);
		line[part] = '\0';
		if (part)
			feed_line(g, line, part);
		while (recv(peer, sink, sizeof(sink), MSG_DONTWAIT) > 0)
			;
		data += MIN(n + 1, len);
		len -= MIN(n + 1, len);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct monitor monitor = {0};
	struct gdb *g;
	int pair[2];

	if (!vm)
		power_on();
	restore();
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair))
		abort();
	monitor.vm = vm;
	g = gdb_new(vm, &monitor, -1, GDB_ARCH_AUTO);
	gdb_connect(g, pair[0]);
	feed(g, (const char *)data, len, pair[1]);
	gdb_free(g, 0);
	close(pair[1]);
	return 0;
}
