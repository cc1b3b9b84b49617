/*
 * board.c - the `pc` board: an AT-compatible PC with a PCI bus (chipset.c).
 *
 *   memory  00000000  RAM up to 000A0000, on from 00100000 to 3 GiB
 *           000B8000  VGA text window
 *           000E0000  ACPI tables   000F0000  bare BIOS
 *           FEC00000  I/O APIC      FED00000  HPET    FEE00000  local APICs
 *           100000000 RAM above 3 GiB continues here
 *   ports   20 A0 4D0 PIC pair   40 PIT     60 64 keyboard controller
 *           61 92 CF9 system control        70 CMOS clock
 *           3B4-3DA VGA          3F8 COM1 (IRQ 4)   600 ACPI
 *           80 POST code         E9 debug console     F4 test exit
 *
 * Everything is made and wired here, in visible order. Lock: vm->lock.
 */
#include "board/board.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "board/acpi.h"
#include "board/barebios.h"
#include "board/chipset.h"
#include "dev/acpi_pm.h"
#include "dev/debugcon.h"
#include "dev/dma.h"
#include "dev/ferr.h"
#include "dev/floppy.h"
#include "dev/fw_cfg.h"
#include "dev/hpet.h"
#include "dev/ioapic.h"
#include "dev/lapic.h"
#include "dev/pic.h"
#include "dev/pit.h"
#include "dev/postcode.h"
#include "dev/ps2.h"
#include "dev/rtc.h"
#include "dev/sysctl.h"
#include "dev/testdev.h"
#include "dev/testport.h"
#include "dev/uart.h"
#include "dev/vga.h"
#include "dev/virtio_balloon.h"
#include "util/util.h"

#define BASE_RAM_END       UINT64_C(0xa0000) /* above: video memory and ROM */
#define EXTENDED_RAM       MiB
#define HIGH_RAM           (4 * GiB)
#define ENTROPY_SEED       0x9e3779b97f4a7c15 /* where runs have to repeat */
#define BOOT_DRIVE         0x80   /* DL at the start of a boot sector: the first hard disk */
#define BOOT_STACK         0x7c00 /* SP: grows down below a boot sector */
#define VECTORS_SIZE       1024
#define LAPIC_PAGE         4096u
#define PAGE_MASK          UINT64_C(0xfffffff000)
#define MSR_APIC_BASE      0x1bu
#define CMOS_FPU_AND_MOUSE 0x06u
#define EXIT_PORT          0xf4u
#define MSI_WINDOW         0xfeeu /* address bits 31:20 */
#define MSI_LOGICAL        4u

enum {
	IRQ_PIT = 0,
	IRQ_KEYBOARD = 1,
	IRQ_COM1 = 4,
	IRQ_FLOPPY = 6,
	IRQ_RTC = 8,
	IRQ_MOUSE = 12,
	IRQ_FERR = 13,
	IRQ_IDE = 14
};

struct board {
	struct device dev; /* last of the machine's devices: frees the board */
	struct vm *vm;
	struct board_config config;
	struct bus_region ram[3]; /* base, extended, above 4 GiB */
	struct bus_region acpi_rom, lapic_page;
	uint8_t *acpi;
	struct acpi_pm *pm;
	struct ioapic *ioapic;
	struct hpet *hpet;
	bool hpet_legacy; /* the HPET has the lines of the PIT and of the CMOS clock */
	struct lapic *lapic[VM_MAX_VCPUS];
	struct lapic_place {
		struct board *board;
		unsigned id;
	} place[VM_MAX_VCPUS];
	struct pic *pic;
	struct pit *pit;
	struct ps2 *ps2;
	struct rtc *rtc;
	struct sysctl *sysctl;
	struct uart *com1;
	struct vga *vga;
	struct debugcon *debugcon;
	struct testport *testport;
	struct testdev *testdev; /* NULL: not asked for; likewise fw_cfg */
	struct fw_cfg *fw_cfg;
	struct postcode *postcode;
	struct ferr *ferr;
	struct dma *dma;
	struct floppy *floppy; /* NULL: no drive */
	struct chipset chipset;
	struct virtio *balloon; /* NULL: not asked for */
	struct firmware_roms roms;
	uint16_t isa_lines, pci_lines; /* who drives a line: both may */
};

/* ---- wires ---- */

static void pic_changed(void *ctx, bool level)
{
	struct board *b = ctx;

	if (b->lapic[0])
		lapic_set_pic(b->lapic[0], level);
}

static int intr_ack(void *ctx, struct vcpu *v)
{
	struct board *b = ctx;
	int vector = lapic_ack(b->lapic[v->id]);

	return vector >= 0 ? vector : pic_ack(b->pic);
}

/* A line goes to the PICs and to the I/O APIC, the PIT's to another pin there. */
static void drive_line(struct board *b, int line)
{
	bool level = (b->isa_lines | b->pci_lines) >> line & 1;

	irq_set(pic_irq(b->pic, line), level);
	irq_set(ioapic_irq(b->ioapic, line == IRQ_PIT ? 2 : line), level);
}

static void set_bit(uint16_t *bits, int n, bool on)
{
	*bits = on ? *bits | (uint16_t)BIT(n) : *bits & (uint16_t)~BIT(n);
}

static void line_changed(void *ctx, int line, bool level)
{
	struct board *b = ctx;

	if (line >= 16) {
		irq_set(ioapic_irq(b->ioapic, line), level);
		return;
	}
	set_bit(&b->isa_lines, line, level);
	drive_line(b, line);
}

static void pci_line_changed(void *ctx, int line, bool level)
{
	struct board *b = ctx;

	set_bit(&b->pci_lines, line, level);
	drive_line(b, line);
}

static struct irq line(struct board *b, int n)
{
	return (struct irq){line_changed, b, n};
}

/* The PIT and the CMOS clock, whose lines the HPET can take over. */
static void yielding_line_changed(void *ctx, int line, bool level)
{
	struct board *b = ctx;

	if (!b->hpet_legacy)
		line_changed(b, line, level);
}

static struct irq yielding_line(struct board *b, int n)
{
	return (struct irq){yielding_line_changed, b, n};
}

static void hpet_takes_lines(void *ctx, bool on)
{
	struct board *b = ctx;

	if (on) {
		line_changed(b, IRQ_PIT, false);
		line_changed(b, IRQ_RTC, false);
	}
	b->hpet_legacy = on;
	pit_set_heard(b->pit, !on);
}

static void ioapic_input(void *ctx, unsigned input, bool level)
{
	struct board *b = ctx;

	irq_set(ioapic_irq(b->ioapic, (int)input), level);
}

/* Of several CPUs only the first has its pin wired. */
static void set_ferr(void *ctx, struct vcpu *v, bool level)
{
	struct board *b = ctx;

	if (v->id == 0)
		ferr_set(b->ferr, level);
}

static void ferr_changed(void *ctx, bool ferr, bool ignne)
{
	struct board *b = ctx;

	atomic_store(&b->vm->vcpu[0]->ferr, ferr);
	atomic_store(&b->vm->vcpu[0]->ignne, ignne);
}

/* ---- local APICs ---- */

static void apic_intr(void *ctx, bool level)
{
	struct lapic_place *p = ctx;

	vcpu_set_intr(p->board->vm->vcpu[p->id], level);
}

static void apic_nmi(void *ctx)
{
	struct lapic_place *p = ctx;

	vcpu_nmi(p->board->vm->vcpu[p->id]);
}

static void apic_init(void *ctx)
{
	struct lapic_place *p = ctx;

	vcpu_init_ipi(p->board->vm->vcpu[p->id]);
}

static void apic_startup(void *ctx, uint8_t vector)
{
	struct lapic_place *p = ctx;

	vcpu_startup_ipi(p->board->vm->vcpu[p->id], vector);
}

static void apic_eoi(void *ctx, uint8_t vector)
{
	struct lapic_place *p = ctx;

	ioapic_eoi(p->board->ioapic, vector);
}

/* Of several that a lowest-priority message names, the idlest one takes it. */
static void send_lowest(struct board *b, const struct apic_message *m)
{
	struct lapic *best = NULL;

	for (unsigned n = 0; n < b->vm->vcpus; n++)
		if (lapic_is_dest(b->lapic[n], m) &&
			(!best || lapic_priority(b->lapic[n]) < lapic_priority(best)))
			best = b->lapic[n];
	if (best)
		lapic_deliver(best, m);
}

static void apic_send(void *ctx, const struct apic_message *m)
{
	struct board *b = ctx;

	if (m->delivery == APIC_LOWEST) {
		send_lowest(b, m);
		return;
	}
	for (unsigned n = 0; n < b->vm->vcpus; n++)
		if (lapic_is_dest(b->lapic[n], m))
			lapic_deliver(b->lapic[n], m);
}

enum { TO_NAMED, TO_SELF, TO_ALL, TO_OTHERS };

static void apic_send_from(void *ctx, const struct apic_message *m)
{
	struct lapic_place *p = ctx;
	struct board *b = p->board;

	if (m->shorthand == TO_NAMED) {
		apic_send(b, m);
		return;
	}
	for (unsigned n = 0; n < b->vm->vcpus; n++)
		if (n == p->id ? m->shorthand != TO_OTHERS : m->shorthand != TO_SELF)
			lapic_deliver(b->lapic[n], m);
}

/* A message signalled interrupt: a write to where the local APICs are (SDM vol. 3A 10.11). */
static void msi_sent(void *ctx, uint64_t addr, uint32_t data)
{
	const struct apic_message m = {.dest = addr >> 12 & 0xff,
		.vector = (uint8_t)data,
		.delivery = data >> 8 & 7,
		.logical = addr & MSI_LOGICAL,
		.level = data >> 14 & 1};

	if (addr >> 20 == MSI_WINDOW)
		apic_send(ctx, &m);
}

/* Every vCPU finds its own APIC there. A device's access finds nothing. */
static uint64_t lapic_page_read(void *ctx, uint64_t off, unsigned size)
{
	struct board *b = ctx;
	struct vcpu *v = b->vm->accessing;

	return v ? lapic_read(b->lapic[v->id], off, size) : UINT64_MAX;
}

static void lapic_page_write(void *ctx, uint64_t off, unsigned size, uint64_t value)
{
	struct board *b = ctx;
	struct vcpu *v = b->vm->accessing;

	if (v)
		lapic_write(b->lapic[v->id], off, size, value);
}

static const struct bus_ops lapic_page_ops = {lapic_page_read, lapic_page_write, 1, 4};

static int apic_rdmsr(void *ctx, struct vcpu *v, uint32_t msr, uint64_t *value)
{
	struct board *b = ctx;

	return lapic_rdmsr(b->lapic[v->id], msr, value);
}

static int apic_wrmsr(void *ctx, struct vcpu *v, uint32_t msr, uint64_t value)
{
	struct board *b = ctx;
	int err = lapic_wrmsr(b->lapic[v->id], msr, value);

	/* All vCPUs have their APICs at the place that the last one chose. */
	if (!err && msr == MSR_APIC_BASE)
		bus_move(&b->vm->mem_bus, &b->lapic_page, value & PAGE_MASK, LAPIC_PAGE);
	return err;
}

static uint8_t apic_cr8(void *ctx, struct vcpu *v)
{
	struct board *b = ctx;

	return lapic_cr8(b->lapic[v->id]);
}

static void apic_set_cr8(void *ctx, struct vcpu *v, uint8_t value)
{
	struct board *b = ctx;

	lapic_set_cr8(b->lapic[v->id], value);
}

static void apic_set_tsc_offset(void *ctx, struct vcpu *v, uint64_t offset)
{
	struct board *b = ctx;

	lapic_set_tsc_offset(b->lapic[v->id], offset);
}

/* APIC IDs are vCPU numbers. */
static unsigned apic_send_ipis(
	void *ctx, uint32_t first, const uint64_t word[2], unsigned width, uint32_t icr)
{
	struct apic_message m = {.vector = (uint8_t)icr, .delivery = icr >> 8 & 7};
	struct board *b = ctx;
	unsigned sent = 0;

	for (unsigned n = 0; n < 2 * width; n++) {
		uint64_t id = (uint64_t)first + n;

		m.dest = (uint32_t)id;
		if (!(word[n / width] >> n % width & 1) || id >= b->vm->vcpus ||
			!lapic_is_dest(b->lapic[id], &m))
			continue;
		lapic_deliver(b->lapic[m.dest], &m);
		sent++;
	}
	return sent;
}

static const struct vm_apic board_apic = {
	apic_rdmsr, apic_wrmsr, apic_cr8, apic_set_cr8, apic_set_tsc_offset, apic_send_ipis};

static void power_off(void *ctx)
{
	struct board *b = ctx;

	if (b->config.poweroff_stops)
		vm_request_stop(b->vm);
	else
		vm_end(b->vm, VM_END_POWEROFF, 0, "the guest powered off");
}

static void a20_changed(void *ctx, bool open)
{
	struct board *b = ctx;

	world_stop(b->vm);
	b->vm->a20_mask = open ? ~UINT64_C(0) : ~BIT(20);
	world_go(b->vm);
}

static void kbc_a20_changed(void *ctx, bool open)
{
	struct board *b = ctx;

	if (b->sysctl)
		sysctl_kbc_a20(b->sysctl, open);
}

static void reset_asked(void *ctx)
{
	struct board *b = ctx;

	vm_request_reset(b->vm);
}

static void test_exit(void *ctx, uint32_t value)
{
	struct board *b = ctx;

	vm_end(b->vm, VM_END_TESTPORT, (int)value, "the guest wrote %#x to the test exit port",
		value);
}

/* ---- memory ---- */

/* One piece of RAM at the same place in host memory, as far as there is RAM at all. */
static int map_ram_piece(
	struct board *b, unsigned n, const char *name, gpa_t base, uint64_t from, uint64_t to)
{
	struct vm *vm = b->vm;

	to = MIN(to, vm->ram.size);
	if (from >= to)
		return 0;
	b->ram[n] = (struct bus_region){.name = name,
		.base = base,
		.size = to - from,
		.kind = BUS_RAM,
		.prio = BUS_PRIO_RAM,
		.host = vm->ram.host + from};
	return bus_map(&vm->mem_bus, &b->ram[n]);
}

static int map_ram(struct board *b)
{
	int err = map_ram_piece(b, 0, "base RAM", 0, 0, BASE_RAM_END);

	if (!err)
		err = map_ram_piece(
			b, 1, "extended RAM", EXTENDED_RAM, EXTENDED_RAM, BOARD_LOW_RAM_END);
	if (!err)
		err = map_ram_piece(b, 2, "high RAM", HIGH_RAM, BOARD_LOW_RAM_END, UINT64_MAX);
	return err;
}

/* CMOS bytes where PC firmware keeps the memory sizes (IBM AT technical reference). */
static void set_cmos_memory(struct board *b)
{
	uint64_t kib = b->vm->ram.size / KiB;
	uint64_t base = MIN(kib, 640);
	uint64_t above_1m = kib > 1024 ? MIN(kib - 1024, 0xffff) : 0;
	uint64_t low = MIN(kib, BOARD_LOW_RAM_END / KiB); /* the rest is told apart */
	uint64_t above_16m = low > 16 * 1024 ? (low - 16 * 1024) / 64 : 0;
	uint64_t above_4g = (kib - low) / 64;

	rtc_set_cmos(b->rtc, 0x15, (uint8_t)base);
	rtc_set_cmos(b->rtc, 0x16, (uint8_t)(base >> 8));
	rtc_set_cmos(b->rtc, 0x17, (uint8_t)above_1m);
	rtc_set_cmos(b->rtc, 0x18, (uint8_t)(above_1m >> 8));
	rtc_set_cmos(b->rtc, 0x30, (uint8_t)above_1m);
	rtc_set_cmos(b->rtc, 0x31, (uint8_t)(above_1m >> 8));
	rtc_set_cmos(b->rtc, 0x34, (uint8_t)above_16m);
	rtc_set_cmos(b->rtc, 0x35, (uint8_t)(above_16m >> 8));
	for (unsigned i = 0; i < 3; i++)
		rtc_set_cmos(b->rtc, (uint8_t)(0x5b + i), (uint8_t)(above_4g >> (8 * i)));
}

/* ---- start ---- */

static void enter_real_mode(struct x86_state *s, gpa_t entry)
{
	uint16_t sel = entry > 0xffff ? (uint16_t)(entry >> 4) : 0;

	for (unsigned i = X86_ES; i <= X86_GS; i++)
		x86_seg_real(&s->seg[i], sel, i == X86_CS);
	s->rip = entry - sel * 16u;
	s->gpr[X86_RDX] = BOOT_DRIVE;
	s->gpr[X86_RSP] = BOOT_STACK;
}

static void sector_read(struct disk_request *r, int error)
{
	*(int *)r->ctx = error;
}

/* The machine stands still: waiting for the disk holds up nobody. */
static int load_boot_sector(struct board *b)
{
	uint8_t sector[SECTOR_SIZE];
	struct iovec iov = {sector, sizeof(sector)};
	int error = -EIO;
	struct disk_request r = {.op = DISK_READ,
		.len = sizeof(sector),
		.iov = &iov,
		.iovcnt = 1,
		.done = sector_read,
		.ctx = &error};

	disk_submit(b->config.boot_disk, &r);
	disk_drain(b->config.boot_disk);
	if (error)
		return error;
	if (sector[510] != 0x55 || sector[511] != 0xaa) {
		vm_end(b->vm, VM_END_HOST_ERROR, 0, "%s: no boot sector",
			disk_name(b->config.boot_disk));
		return 0;
	}
	return mem_write(&b->vm->mem, BOOT_STACK, sector, sizeof(sector));
}

static int boot(void *ctx, struct vm *vm)
{
	struct board *b = ctx;
	unsigned groups = X86_GROUP_GPR | X86_GROUP_SEG | X86_GROUP_CR;
	struct x86_state s;
	int err;

	if (b->config.firmware.code)
		return 0; /* at its reset vector */
	err = mem_fill(&vm->mem, 0, 0, MIN(vm->ram.size, VECTORS_SIZE));
	chipset_setup(&b->chipset);
	barebios_vectors(vm);
	barebios_timer(vm);
	for (unsigned i = 0; i < b->config.images && !err; i++) {
		const struct board_image *im = &b->config.image[i];

		err = mem_write(&vm->mem, im->addr, im->data, im->len);
	}
	if (!err && b->config.boot_disk)
		err = load_boot_sector(b);
	if (!err)
		err = barebios_mtrrs(vm);
	if (!err)
		err = vcpu_get(vm->vcpu[0], &s, groups);
	if (err)
		return err;
	if (b->config.load)
		err = b->config.load(b->config.load_ctx, &s);
	else
		enter_real_mode(&s, b->config.entry);
	return err ? err : vcpu_put(vm->vcpu[0], &s, groups);
}

/* Told at once, before the machine starts: does it all fit? */
static int check_images(struct board *b, char *err, size_t errlen)
{
	for (unsigned i = 0; i < b->config.images; i++) {
		const struct board_image *im = &b->config.image[i];

		if (mem_ptr(&b->vm->mem, im->addr, im->len))
			continue;
		snprintf(err, errlen,
			"%s: %zu bytes at %#llx do not fit into the guest's memory of %llu KiB; "
			"give more with --memory",
			im->name, im->len, (unsigned long long)im->addr,
			(unsigned long long)(b->vm->ram.size / KiB));
		return -E2BIG;
	}
	return 0;
}

/* ---- the wiring ---- */

static void make_lapics(struct board *b)
{
	for (unsigned n = 0; n < b->vm->vcpus; n++) {
		struct lapic_wires wires = {apic_intr, apic_nmi, apic_init, apic_startup,
			apic_send_from, apic_eoi, &b->place[n]};

		b->place[n] = (struct lapic_place){b, n};
		b->lapic[n] = lapic_new(n, &b->vm->clock, b->vm->tsc_hz, &wires);
	}
	b->vm->apic = &board_apic;
	b->vm->apic_ctx = b;
}

static void make_devices(struct board *b)
{
	struct clock *clock = &b->vm->clock;
	struct sysctl_wires wires = {.a20 = a20_changed, .reset = reset_asked, .ctx = b};
	struct hpet_wires hpet = {
		ioapic_input, line(b, IRQ_PIT), line(b, IRQ_RTC), hpet_takes_lines, b};
	struct ps2_wires ps2 = {.a20 = kbc_a20_changed, .reset = reset_asked, .ctx = b};
	struct ferr_wires ferr = {line(b, IRQ_FERR), ferr_changed, b};

	b->pic = pic_new(pic_changed, b);
	b->ioapic = ioapic_new(apic_send, b);
	make_lapics(b);
	b->pm = acpi_pm_new(clock, line(b, ACPI_SCI), power_off, b);
	b->hpet = hpet_new(clock, &hpet);
	b->pit = pit_new(clock, yielding_line(b, IRQ_PIT));
	wires.pit = b->pit;
	b->sysctl = sysctl_new(clock, &wires);
	ps2.keyboard = line(b, IRQ_KEYBOARD);
	ps2.mouse = line(b, IRQ_MOUSE);
	b->ps2 = ps2_new(clock, &ps2);
	b->rtc = rtc_new(clock, yielding_line(b, IRQ_RTC), b->config.epoch);
	b->com1 = uart_new("com1", clock, line(b, IRQ_COM1), b->config.serial);
	b->vga = vga_new(clock);
	if (!b->config.firmware.code)
		vga_set_font(b->vga, b->config.firmware.vgabios, b->config.firmware.vgabios_len);
	b->postcode = postcode_new();
	b->ferr = ferr_new(&ferr);
	b->debugcon = debugcon_new(b->config.debug);
	b->testport = testport_new(test_exit, b);
	b->dma = dma_new(&b->vm->mem);
	set_cmos_memory(b);
}

/* How many CPUs, how much RAM, where it ends. */
static void tell_sizes(struct board *b)
{
	uint64_t ram = b->vm->ram.size;
	uint64_t end = ram > BOARD_LOW_RAM_END ? HIGH_RAM + (ram - BOARD_LOW_RAM_END) : ram;

	fw_cfg_add_number(b->fw_cfg, FW_CFG_NB_CPUS, b->vm->vcpus, 2);
	fw_cfg_add_number(b->fw_cfg, FW_CFG_MAX_CPUS, b->vm->vcpus, 2);
	fw_cfg_add_number(b->fw_cfg, FW_CFG_RAM_SIZE, ram, 8);
	fw_cfg_add_number(b->fw_cfg, FW_CFG_MAX_RAM, end, 8);
}

/* Byte 10h: drive types. Byte 14h: how many, and what is always there. */
static void set_cmos_floppies(struct board *b, unsigned drives)
{
	unsigned type = 0;

	for (unsigned n = 0; b->floppy && n < FLOPPY_DRIVES; n++)
		type |= (unsigned)floppy_type(b->floppy, n) << (n ? 0 : 4);
	rtc_set_cmos(b->rtc, 0x10, (uint8_t)type);
	rtc_set_cmos(
		b->rtc, 0x14, (uint8_t)(CMOS_FPU_AND_MOUSE | (drives ? drives * 0x40 - 0x3f : 0)));
}

static int add_floppies(struct board *b)
{
	unsigned drives = 0;
	int err;

	while (drives < FLOPPY_DRIVES && b->config.floppy[drives])
		drives++;
	if (drives) {
		b->floppy = floppy_new(line(b, IRQ_FLOPPY), b->dma);
		vm_add_device(b->vm, floppy_device(b->floppy));
	}
	for (unsigned n = 0; n < drives; n++)
		floppy_attach(b->floppy, n, b->config.floppy[n]);
	set_cmos_floppies(b, drives);
	if (!drives)
		return 0;
	floppy_region(b->floppy, FLOPPY_PORTS)->base = 0x3f0;
	floppy_region(b->floppy, FLOPPY_DIR)->base = 0x3f7;
	err = bus_map(&b->vm->port_bus, floppy_region(b->floppy, FLOPPY_PORTS));
	return err ? err : bus_map(&b->vm->port_bus, floppy_region(b->floppy, FLOPPY_DIR));
}

static int add_chipset(struct board *b)
{
	struct chipset_wires wires = {.ide = {line(b, IRQ_IDE), line(b, IRQ_IDE + 1)},
		.gsi = ioapic_input,
		.msi = msi_sent,
		.ctx = b,
		.reset_control = sysctl_region(b->sysctl, SYSCTL_RESET),
		.vga = b->vga};

	for (int n = 0; n < 16; n++)
		wires.line[n] = (struct irq){pci_line_changed, b, n};
	int err = chipset_new(&b->chipset, b->vm, &wires, b->config.drive, &b->config.firmware);

	for (unsigned n = 0; n < CHIPSET_DISKS && b->config.virtio_disk[n] && !err; n++)
		err = chipset_add_disk(&b->chipset, b->config.virtio_disk[n]);
	for (unsigned n = 0; n < CHIPSET_NETS && b->config.net[n].dev && !err; n++)
		err = chipset_add_net(&b->chipset, &b->config.net[n]);
	for (unsigned n = 0; n < CHIPSET_SHARES && b->config.share[n].share && !err; n++)
		err = chipset_add_share(&b->chipset, &b->config.share[n]);
	if (!err && b->config.hvc)
		err = chipset_add_console(&b->chipset, b->config.hvc);
	if (!err && b->config.ports)
		err = chipset_add_ports(&b->chipset, b->config.ports);
	if (!err && b->config.entropy)
		err = chipset_add_entropy(
			&b->chipset, b->vm->config.clock == CLOCK_HOST ? 0 : ENTROPY_SEED);
	if (!err && b->config.vsock)
		err = chipset_add_vsock(&b->chipset, b->config.vsock);
	if (!err && b->config.balloon) {
		b->balloon = chipset_add_balloon(&b->chipset);
		err = b->balloon ? 0 : -ENOSPC;
	}
	return err;
}

static int add_testdev(struct board *b)
{
	struct irq lines[TESTDEV_LINES];
	int err;

	if (!b->config.testdev)
		return 0;
	for (int n = 0; n < TESTDEV_LINES; n++)
		lines[n] = line(b, n);
	b->testdev = testdev_new(lines);
	vm_add_device(b->vm, testdev_device(b->testdev));
	testdev_region(b->testdev, TESTDEV_DATA)->base = 0xe0;
	testdev_region(b->testdev, TESTDEV_IRQ)->base = 0x2000;
	testdev_region(b->testdev, TESTDEV_MEMORY)->base = 0xff000000;
	err = bus_map(&b->vm->port_bus, testdev_region(b->testdev, TESTDEV_DATA));
	if (!err)
		err = bus_map(&b->vm->port_bus, testdev_region(b->testdev, TESTDEV_IRQ));
	if (!err)
		err = bus_map(&b->vm->mem_bus, testdev_region(b->testdev, TESTDEV_MEMORY));
	return err;
}

static int add_fw_cfg(struct board *b)
{
	int err;

	b->fw_cfg = fw_cfg_new(&b->vm->mem);
	tell_sizes(b);
	vm_add_device(b->vm, fw_cfg_device(b->fw_cfg));
	fw_cfg_region(b->fw_cfg, FW_CFG_PORTS)->base = 0x510;
	fw_cfg_region(b->fw_cfg, FW_CFG_DMA)->base = 0x514;
	err = bus_map(&b->vm->port_bus, fw_cfg_region(b->fw_cfg, FW_CFG_PORTS));
	return err ? err : bus_map(&b->vm->port_bus, fw_cfg_region(b->fw_cfg, FW_CFG_DMA));
}

static void add_devices(struct board *b)
{
	struct device *const list[] = {
		ioapic_device(b->ioapic),
		acpi_pm_device(b->pm),
		hpet_device(b->hpet),
		pic_device(b->pic),
		pit_device(b->pit),
		sysctl_device(b->sysctl),
		ps2_device(b->ps2),
		rtc_device(b->rtc),
		uart_device(b->com1),
		vga_device(b->vga),
		postcode_device(b->postcode),
		ferr_device(b->ferr),
		debugcon_device(b->debugcon),
		testport_device(b->testport),
		dma_device(b->dma),
		&b->dev,
	};

	for (unsigned i = 0; i < b->vm->vcpus; i++)
		vm_add_device(b->vm, lapic_device(b->lapic[i]));
	for (unsigned i = 0; i < ARRAY_SIZE(list); i++)
		vm_add_device(b->vm, list[i]);
}

struct place {
	struct bus_region *region;
	gpa_t base;
};

static int map_places(struct bus *bus, const struct place *place, unsigned n)
{
	int err = 0;

	for (unsigned i = 0; i < n && !err; i++) {
		place[i].region->base = place[i].base;
		err = bus_map(bus, place[i].region);
	}
	return err;
}

static int map_ports(struct board *b)
{
	const struct place place[] = {
		{dma_region(b->dma, DMA_LOW), 0x00},
		{pic_region(b->pic, PIC_MASTER), 0x20},
		{pit_region(b->pit), 0x40},
		{ps2_region(b->ps2, PS2_DATA), 0x60},
		{sysctl_region(b->sysctl, SYSCTL_PORT_B), 0x61},
		{ps2_region(b->ps2, PS2_COMMAND), 0x64},
		{rtc_region(b->rtc), 0x70},
		{postcode_region(b->postcode), 0x80},
		{dma_region(b->dma, DMA_PAGES), 0x81},
		{sysctl_region(b->sysctl, SYSCTL_PORT_A), 0x92},
		{pic_region(b->pic, PIC_SLAVE), 0xa0},
		{dma_region(b->dma, DMA_HIGH), 0xc0},
		{debugcon_region(b->debugcon), 0xe9},
		{ferr_region(b->ferr), 0xf0},
		{vga_region(b->vga, VGA_VBE), 0x1ce},
		{vga_region(b->vga, VGA_MONO), 0x3b4},
		{vga_region(b->vga, VGA_PORTS), 0x3c0},
		{vga_region(b->vga, VGA_COLOUR), 0x3d4},
		{uart_region(b->com1), 0x3f8},
		{pic_region(b->pic, PIC_ELCR), 0x4d0},
		{acpi_pm_region(b->pm), ACPI_PM_PORTS},
	};

	return map_places(&b->vm->port_bus, place, ARRAY_SIZE(place));
}

static int map_exit_port(struct board *b)
{
	const struct place place = {testport_region(b->testport),
		b->config.exit_port ? b->config.exit_port : EXIT_PORT};

	return b->config.no_exit_port ? 0 : map_places(&b->vm->port_bus, &place, 1);
}

static int map_memory(struct board *b)
{
	const struct place place[] = {
		{vga_region(b->vga, VGA_MEMORY), 0xa0000},
		{ioapic_region(b->ioapic), IOAPIC_ADDR},
		{hpet_region(b->hpet), HPET_ADDR},
		{&b->lapic_page, LAPIC_ADDR},
	};
	int err = map_ram(b);

	b->lapic_page = (struct bus_region){.name = "lapic",
		.size = LAPIC_PAGE,
		.kind = BUS_IO,
		.prio = BUS_PRIO_HOST,
		.ops = &lapic_page_ops,
		.ctx = b};
	return err ? err : map_places(&b->vm->mem_bus, place, ARRAY_SIZE(place));
}

/* What a system finds below 1 MiB that starts without firmware. */
static int map_bare(struct board *b)
{
	int err;

	b->acpi_rom = (struct bus_region){.name = "acpi tables",
		.base = ACPI_ADDR,
		.size = ACPI_SIZE,
		.kind = BUS_ROM,
		.prio = BUS_PRIO_FIXED,
		.host = b->acpi};
	acpi_tables(b->acpi, b->vm->vcpus);
	err = bus_map(&b->vm->mem_bus, &b->acpi_rom);
	if (!err && !barebios_new(b->vm))
		err = -ENOMEM;
	return err;
}

static int map_firmware(struct board *b)
{
	const struct firmware *f = &b->config.firmware;

	if (!f->code)
		return map_bare(b);
	firmware_tell(b->vm, f, b->fw_cfg);
	return firmware_map(b->vm, f, &b->roms);
}

/* Before the chips that the lines lead to. */
static void board_snap(struct device *dev, struct snap *s)
{
	struct board *b = container_of(dev, struct board, dev);

	snap_section(s, dev->name, 1);
	snap_u16(s, "isa_lines", &b->isa_lines);
	snap_u16(s, "pci_lines", &b->pci_lines);
}

static void board_destroy(struct device *dev)
{
	free(container_of(dev, struct board, dev)->acpi);
	free(container_of(dev, struct board, dev));
}

int board_new(struct vm *vm, const struct board_config *config, struct board **out, char *err,
	size_t errlen)
{
	struct board *b = xcalloc(1, sizeof(*b));
	int rc;

	b->vm = vm;
	b->config = *config;
	b->acpi = aligned_alloc(4096, ACPI_SIZE); /* engines map pages */
	if (!b->acpi) {
		free(b);
		snprintf(err, errlen, "out of memory");
		return -ENOMEM;
	}
	b->dev = (struct device){.name = "board", .snap = board_snap, .destroy = board_destroy};
	make_devices(b);
	add_devices(b);
	rc = map_ports(b);
	if (!rc)
		rc = map_exit_port(b);
	if (!rc)
		rc = map_memory(b);
	if (!rc)
		rc = add_chipset(b);
	if (!rc)
		rc = add_floppies(b);
	if (!rc && (config->testdev || config->firmware.code))
		rc = add_fw_cfg(b);
	if (!rc)
		rc = add_testdev(b);
	if (!rc)
		rc = map_firmware(b);
	if (rc) {
		snprintf(err, errlen, "the board cannot be built: %s", strerror(-rc));
		return rc;
	}
	vm->intr_ack = intr_ack;
	vm->intr_ack_ctx = b;
	vm->set_ferr = set_ferr;
	vm->set_ferr_ctx = b;
	vm->boot = boot;
	vm->boot_ctx = b;
	vm->epoch = config->epoch;
	*out = b;
	return check_images(b, err, errlen);
}

void board_screen(struct board *b, struct text_frame *frame)
{
	vga_text_frame(b->vga, frame);
}

bool board_screen_graphics(const struct board *b)
{
	return vga_graphics(b->vga);
}

void board_picture(struct board *b, struct picture *out)
{
	vga_picture(b->vga, out);
}

bool board_screen_touched(const struct board *b)
{
	return vga_touched(b->vga);
}

bool board_eject(struct board *b)
{
	for (unsigned n = 0; n < CHIPSET_DRIVES; n++) {
		if (b->config.drive[n].kind != IDE_CDROM)
			continue;
		ide_change_disc(b->chipset.ide[n / 2], n % 2, NULL);
		return true;
	}
	return false;
}

void board_print(struct board *b, enum board_part which, FILE *out)
{
	switch (which) {
	case BOARD_PIC:
		pic_print(b->pic, out);
		break;
	case BOARD_LAPIC:
		for (unsigned n = 0; n < b->vm->vcpus; n++)
			lapic_print(b->lapic[n], out);
		break;
	case BOARD_IOAPIC:
		ioapic_print(b->ioapic, out);
		break;
	case BOARD_PCI:
		pci_print(b->chipset.pci, out);
		break;
	}
}

void board_power_button(struct board *b)
{
	acpi_pm_button(b->pm);
}

bool board_balloon(struct board *b, uint64_t bytes)
{
	uint64_t all = b->vm->ram.size;

	if (b->balloon)
		virtio_balloon_ask(
			b->balloon, (uint32_t)((all - MIN(bytes, all)) / VIRTIO_BALLOON_PAGE));
	return b->balloon;
}

bool board_balloon_state(const struct board *b, uint64_t *target, uint64_t *actual)
{
	uint64_t all = b->vm->ram.size / VIRTIO_BALLOON_PAGE;

	if (!b->balloon)
		return false;
	*target = (all - MIN(virtio_balloon_asked(b->balloon), all)) * VIRTIO_BALLOON_PAGE;
	*actual = (all - MIN(virtio_balloon_actual(b->balloon), all)) * VIRTIO_BALLOON_PAGE;
	return true;
}

void board_type(struct board *b, const char *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		ps2_type(b->ps2, (uint8_t)bytes[i]);
}

void board_key(struct board *b, uint16_t key, bool down)
{
	ps2_key(b->ps2, key, down);
}

void board_mouse(struct board *b, int dx, int dy, uint8_t buttons)
{
	ps2_mouse(b->ps2, dx, dy, buttons);
}
