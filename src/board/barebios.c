/*
 * barebios.c - the bare boot-sector mode's answer to BIOS calls.
 *
 * Vector n leads to F000:E000 + 8n, where a stub stores n into the ROM at
 * F000:FFF0 and returns by IRET. The ROM hands that store up; after the
 * instruction the vCPU's registers tell who called and what for. Teletype
 * output (INT 10h AH=0Eh) prints, and the timer's tick counts; everything else
 * ends the run with a line that says what was asked and where.
 * PICs and PIT are set up as a PC's firmware leaves them, with the tick alone
 * unmasked; no guest sees it before it sets IF.
 * Source: the IBM PC BIOS interface; SDM vol. 3A 20.1.4 for the frame.
 */
#include "board/barebios.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "board/mptable.h"
#include "util/util.h"
#include "x86/cpuid.h"

#define ROM_BASE   0xf0000u
#define ROM_SEG    0xf000u
#define ROM_SIZE   0x10000u
#define STUBS      0xe000u
#define STUB_SIZE  8u
#define CALL_PORT  0xfff0u /* offset whose write is a call */
#define STUB_STORE 6u      /* length of the store: CS:IP of a call is behind it */

#define BDA_BASE_KIB 0x413u /* word: how much base memory there is */
#define BDA_TICKS    0x46cu /* doubleword: IRQ 0 since midnight */

#define SCREEN_BASE 0xb8000u
#define SCREEN_COLS 80u
#define SCREEN_ROWS 25u
#define TEXT_GREY   0x0700u

#define CRTC_INDEX       0x3d4u
#define CRTC_DATA        0x3d5u
#define CRTC_CURSOR_HIGH 0x0eu
#define CRTC_CURSOR_LOW  0x0fu

struct barebios {
	struct device dev;
	struct vm *vm;
	struct bus_region rom;
	uint8_t *bytes; /* page-aligned: engines map it */
	uint8_t vector;
};

/* mov byte cs:[CALL_PORT], n; iret; nop */
static void make_stubs(uint8_t *rom)
{
	memset(rom, 0xf4, ROM_SIZE); /* hlt */
	for (unsigned n = 0; n < 256; n++) {
		const uint8_t stub[STUB_SIZE] = {
			0x2e, 0xc6, 0x06, CALL_PORT & 0xff, CALL_PORT >> 8, (uint8_t)n, 0xcf, 0x90};

		memcpy(rom + STUBS + n * STUB_SIZE, stub, STUB_SIZE);
	}
}

void barebios_vectors(struct vm *vm)
{
	uint16_t base_kib = (uint16_t)MIN(vm->ram.size / KiB, 640);

	for (unsigned n = 0; n < 256; n++) {
		uint32_t vector = ROM_SEG << 16 | (STUBS + n * STUB_SIZE);

		mem_write(&vm->mem, n * 4, &vector, sizeof(vector));
	}
	mem_write(&vm->mem, BDA_BASE_KIB, &base_kib, sizeof(base_kib));
}

/* ---- teletype ---- */

static unsigned crtc_read(struct vm *vm, uint8_t index)
{
	bus_write(&vm->port_bus, CRTC_INDEX, 1, index);
	return (unsigned)bus_read(&vm->port_bus, CRTC_DATA, 1);
}

static void crtc_write(struct vm *vm, uint8_t index, unsigned value)
{
	bus_write(&vm->port_bus, CRTC_INDEX, 1, index);
	bus_write(&vm->port_bus, CRTC_DATA, 1, value & 0xff);
}

static void scroll(struct vm *vm)
{
	const unsigned row = SCREEN_COLS * 2, end = row * SCREEN_ROWS;

	for (unsigned at = row; at < end; at += 2)
		bus_write(&vm->mem_bus, SCREEN_BASE + at - row, 2,
			bus_read(&vm->mem_bus, SCREEN_BASE + at, 2));
	for (unsigned at = end - row; at < end; at += 2)
		bus_write(&vm->mem_bus, SCREEN_BASE + at, 2, TEXT_GREY | ' ');
}

static unsigned put_char(struct vm *vm, unsigned pos, uint8_t ch)
{
	if (ch == '\r')
		return pos - pos % SCREEN_COLS;
	if (ch == '\n')
		return pos + SCREEN_COLS;
	if (ch == '\b')
		return pos % SCREEN_COLS ? pos - 1 : pos;
	if (ch == '\a')
		return pos;
	bus_write(&vm->mem_bus, SCREEN_BASE + pos * 2, 2, TEXT_GREY | ch);
	return pos + 1;
}

static void teletype(struct vm *vm, uint8_t ch)
{
	unsigned pos = crtc_read(vm, CRTC_CURSOR_HIGH) << 8 | crtc_read(vm, CRTC_CURSOR_LOW);

	if (pos >= SCREEN_COLS * SCREEN_ROWS)
		pos = 0;
	pos = put_char(vm, pos, ch);
	if (pos >= SCREEN_COLS * SCREEN_ROWS) {
		scroll(vm);
		pos -= SCREEN_COLS;
	}
	crtc_write(vm, CRTC_CURSOR_HIGH, pos >> 8);
	crtc_write(vm, CRTC_CURSOR_LOW, pos);
}

/* ---- the tick (8259A and 8254 datasheets) ---- */

#define PIC_MASTER_PORT 0x20u
#define PIC_READ_ISR    0x0bu
#define PIC_EOI         0x20u
#define VECTOR_TICK     0x08u

static void out(struct vm *vm, uint16_t port, uint8_t value)
{
	bus_write(&vm->port_bus, port, 1, value);
}

void barebios_timer(struct vm *vm)
{
	static const uint8_t writes[][2] = {{0x20, 0x11}, {0x21, 0x08}, {0x21, 0x04}, {0x21, 0x01},
		{0xa0, 0x11}, {0xa1, 0x70}, {0xa1, 0x02}, {0xa1, 0x01}, /* vectors 08h, 70h */
		{0x21, 0xfa}, {0xa1, 0xff},                             /* the tick and the slave */
		{0x43, 0x34}, {0x40, 0}, {0x40, 0}};                    /* mode 2, 65536: 18.2 Hz */

	for (unsigned n = 0; n < ARRAY_SIZE(writes); n++)
		out(vm, writes[n][0], writes[n][1]);
}

/* Vector 8 is #DF, too: IRQ 0 it is if the PIC says so. */
static bool serve_tick(struct vm *vm)
{
	uint32_t ticks = 0;

	out(vm, PIC_MASTER_PORT, PIC_READ_ISR);
	if (!(bus_read(&vm->port_bus, PIC_MASTER_PORT, 1) & 1))
		return false;
	mem_read(&vm->mem, BDA_TICKS, &ticks, sizeof(ticks));
	ticks++;
	mem_write(&vm->mem, BDA_TICKS, &ticks, sizeof(ticks));
	out(vm, PIC_MASTER_PORT, PIC_EOI);
	return true;
}

/* ---- calls ---- */

static const char *const exception_name[] = {
	[X86_DE] = "divide error (#DE)",
	[X86_DB] = "debug trap (#DB)",
	[X86_BP] = "breakpoint (#BP)",
	[X86_OFV] = "overflow (#OF)",
	[X86_BR] = "bound range exceeded (#BR)",
	[X86_UD] = "invalid opcode (#UD)",
	[X86_NM] = "no coprocessor (#NM)",
	[X86_DF_VEC] = "double fault (#DF) or IRQ 0",
	[X86_SSV] = "stack fault (#SS) or IRQ 4",
	[X86_GP] = "general protection (#GP) or IRQ 5",
};

struct caller {
	uint16_t ip, cs;
	bool by_int; /* CD nn stands before ip */
};

static bool find_caller(struct vm *vm, const struct x86_state *s, uint8_t vector, struct caller *c)
{
	gpa_t frame = s->seg[X86_SS].base + (s->gpr[X86_RSP] & 0xffff);
	uint16_t words[2];
	uint8_t code[2] = {0};

	if (mem_read(&vm->mem, frame, words, sizeof(words)))
		return false;
	c->ip = words[0];
	c->cs = words[1];
	if (c->ip >= 2)
		mem_read(&vm->mem, (gpa_t)c->cs * 16 + c->ip - 2, code, sizeof(code));
	c->by_int = code[0] == 0xcd && code[1] == vector;
	return true;
}

static void end_run(
	struct vm *vm, uint8_t vector, const struct x86_state *s, const struct caller *c)
{
	const char *name = vector < ARRAY_SIZE(exception_name) ? exception_name[vector] : NULL;

	if (c->by_int)
		vm_end(vm, VM_END_BIOS_CALL, vector,
			"INT %02Xh AH=%02Xh at %04X:%04X, no firmware here", vector,
			(unsigned)(s->gpr[X86_RAX] >> 8) & 0xff, c->cs, (c->ip - 2) & 0xffff);
	else if (name)
		vm_end(vm, VM_END_BIOS_CALL, vector,
			"%s at %04X:%04X, and the guest has no handler for it", name, c->cs, c->ip);
	else
		vm_end(vm, VM_END_BIOS_CALL, vector,
			"interrupt %02Xh at %04X:%04X, and the guest has no handler for it", vector,
			c->cs, c->ip);
}

/* On the vCPU's thread, behind the stub's store. */
static void serve_call(struct vcpu *v, void *ctx)
{
	struct barebios *b = ctx;
	struct caller c = {0};
	struct x86_state s;

	if (vcpu_get(v, &s, X86_GROUP_GPR | X86_GROUP_SEG))
		return;
	if (!find_caller(b->vm, &s, b->vector, &c))
		return;
	if (c.by_int && b->vector == 0x10 && (s.gpr[X86_RAX] >> 8 & 0xff) == 0x0e)
		teletype(b->vm, (uint8_t)s.gpr[X86_RAX]);
	else if (c.by_int || b->vector != VECTOR_TICK || !serve_tick(b->vm))
		end_run(b->vm, b->vector, &s, &c);
}

static void rom_write(void *ctx, uint64_t off, unsigned size, uint64_t value)
{
	struct barebios *b = ctx;

	if (off != CALL_PORT || size != 1)
		return;
	b->vector = (uint8_t)value;
	vcpu_defer(b->vm->vcpu[0], serve_call, b);
}

static void barebios_snap(struct device *dev, struct snap *s)
{
	struct barebios *b = container_of(dev, struct barebios, dev);

	snap_section(s, dev->name, 1);
	snap_u8(s, "vector", &b->vector);
}

/* Where systems without ACPI look for it (MP specification 1.4, chapter 4). */
static void put_mptable(const struct vm *vm, uint8_t *rom)
{
	const struct x86_cpuid_input in = {
		.model = &vm->model, .cores = vm_cores(vm), .tsc_hz = (uint32_t)vm->tsc_hz};
	uint32_t out[4];

	x86_cpuid(&in, 1, 0, out);
	mptable(rom, STUBS, ROM_BASE, vm->vcpus, out[0], out[3]);
}

static void barebios_destroy(struct device *dev)
{
	struct barebios *b = container_of(dev, struct barebios, dev);

	free(b->bytes);
	free(b);
}

struct barebios *barebios_new(struct vm *vm)
{
	static const struct bus_ops ops = {.write = rom_write};
	struct barebios *b = xcalloc(1, sizeof(*b));

	b->vm = vm;
	b->bytes = aligned_alloc(4096, ROM_SIZE);
	if (!b->bytes) {
		free(b);
		return NULL;
	}
	b->dev = (struct device){"barebios", NULL, barebios_snap, barebios_destroy, NULL};
	b->rom = (struct bus_region){.name = "bare BIOS",
		.base = ROM_BASE,
		.size = ROM_SIZE,
		.kind = BUS_ROM,
		.prio = BUS_PRIO_FIXED,
		.ops = &ops,
		.ctx = b,
		.host = b->bytes};
	make_stubs(b->bytes);
	put_mptable(vm, b->bytes);
	vm_add_device(vm, &b->dev);
	if (bus_map(&vm->mem_bus, &b->rom))
		return NULL;
	return b;
}

/*
 * Write-back, but uncached at A0000h and write-protected at C0000h (SDM vol. 3A
 * 12.11.2.2). No variable ranges: devices above are mapped uncached by their drivers.
 */
static void set_mtrrs(uint64_t *msr)
{
	const uint64_t write_back = 0x0606060606060606, write_protected = 0x0505050505050505;
	const uint64_t on = BIT(11) | BIT(10); /* all of them, and the fixed ones */

	msr[X86_MSR_MTRR_FIX64K_00000] = msr[X86_MSR_MTRR_FIX16K_80000] = write_back;
	msr[X86_MSR_MTRR_FIX16K_A0000] = 0;
	for (unsigned n = X86_MSR_MTRR_FIX4K_C0000; n <= X86_MSR_MTRR_FIX4K_F8000; n++)
		msr[n] = write_protected;
	msr[X86_MSR_MTRR_DEF_TYPE] = on | (write_back & 0xff);
}

int barebios_mtrrs(struct vm *vm)
{
	struct x86_state s;
	int err = 0;

	if (!x86_model_has(&vm->model, X86_CPU_MTRR))
		return 0;
	for (unsigned i = 0; i < vm->vcpus && !err; i++) {
		err = vcpu_get(vm->vcpu[i], &s, X86_GROUP_MSR);
		if (err)
			break;
		set_mtrrs(s.msr);
		err = vcpu_put(vm->vcpu[i], &s, X86_GROUP_MSR);
	}
	return err;
}
