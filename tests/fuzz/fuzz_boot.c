/*
 * fuzz_boot.c - libFuzzer entry: arbitrary bytes as a kernel.
 *
 * The first byte chooses seed and modules, the rest is the file. Checks the
 * contract of boot.h: either an error with a text, or a plan that can be loaded
 * twice into the same memory.
 */
#include "boot/boot.h"

#include <stdlib.h>
#include <string.h>

#include "util/util.h"

#define RAM (32 * MiB)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
	if (!ok)
		abort();
}

struct machine {
	struct bus bus;
	struct ram ram;
	struct bus_region low, high;
	struct guest_memory mem;
};

static void map(struct machine *m, struct bus_region *r, gpa_t base, uint64_t end)
{
	*r = (struct bus_region){.name = "RAM",
		.base = base,
		.size = end - base,
		.kind = BUS_RAM,
		.host = m->ram.host + base};
	check(!bus_map(&m->bus, r));
}

static struct machine *machine_new(void)
{
	struct machine *m = xcalloc(1, sizeof(*m));

	bus_init(&m->bus, "memory", 8);
	check(!ram_alloc(&m->ram, RAM, RAM_PRIVATE));
	m->mem.bus = &m->bus;
	map(m, &m->low, 0, 0xa0000);
	map(m, &m->high, MiB, RAM);
	return m;
}

static void machine_free(struct machine *m)
{
	bus_destroy(&m->bus);
	ram_free(&m->ram);
	free(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t module[100] = "a module";
	struct boot_config config = {.cmdline = "quiet", .console = "ttyS0"};
	struct machine *m;
	struct x86_state s;
	struct boot *b;
	char err[512] = "";

	if (!size)
		return 0;
	config.seed = data[0] & 1 ? 12345 : 0;
	config.modules = data[0] >> 1 & 3;
	for (unsigned i = 0; i < config.modules; i++)
		config.module[i] = (struct boot_file){"module", module, sizeof(module), NULL};
	config.kernel = (struct boot_file){"kernel", data + 1, size - 1, NULL};
	m = machine_new();
	b = boot_new(&m->mem, &config, err, sizeof(err));
	check(b || err[0]);
	check(!b || (!boot_load(b, &s) && !boot_load(b, &s)));
	boot_free(b);
	machine_free(m);
	return 0;
}
