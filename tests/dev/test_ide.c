/* test_ide.c - disks and CD-ROMs on an IDE channel, by PIO and by bus master. */
#include "tests/dev/bench.h"

#include "dev/ide.h"
#include "dev/pci.h"
#include "dev/piix_ide.h"

#define CMD     0x1f0
#define CTL     0x3f6
#define MASTER  0xc000
#define SECTORS 3000u
#define DISCS   400u /* of 512 bytes */
#define PRDS    0x1000u
#define BUFFER  0x10000u

enum { DATA, ERROR, COUNT, LBA0, LBA1, LBA2, DEVICE, STATUS };
enum { ERR = 1, DRQ = 8, DRDY = 0x40, BSY = 0x80 };

struct test {
	struct bench bench;
	struct pci *pci;
	struct ide *ide[2];
	struct piix_ide *master;
	struct disk *disk, *disc;
	struct pin pin;
};

static void no_intx(void *ctx, unsigned devfn, unsigned pin, bool level)
{
}

static void no_msi(void *ctx, uint64_t addr, uint32_t data)
{
}

/* The channel has a disk and a CD-ROM drive; the bus master is on at MASTER. */
static int setup_with(void **state, bool ro)
{
	struct test *t = xcalloc(1, sizeof(*t));
	struct bench *b = &t->bench;
	const struct pci_wires wires = {&b->memory, &b->ports, &b->dma, no_intx, no_msi, t, NULL};

	bench_init(b);
	t->disk = bench_disk(b, SECTORS, ro);
	t->disc = bench_disk(b, DISCS, true);
	t->ide[0] = ide_new("ide0", pin_irq(&t->pin));
	t->ide[1] = ide_new("ide1", (struct irq){0});
	ide_attach(t->ide[0], 0, IDE_DISK, t->disk);
	ide_attach(t->ide[0], 1, IDE_CDROM, t->disc);
	t->pci = pci_new(&wires);
	t->master = piix_ide_new(t->ide[0], t->ide[1]);
	pci_add(t->pci, piix_ide_func(t->master), 1, 1);
	bench_port(b, ide_region(t->ide[0], IDE_COMMAND), CMD);
	bench_port(b, ide_region(t->ide[0], IDE_CONTROL), CTL);
	pci_config_write(t->pci, 9, PCI_BAR0 + 16, 4, MASTER);
	pci_config_write(t->pci, 9, PCI_COMMAND, 2, PCI_COMMAND_IO | PCI_COMMAND_MASTER);
	*state = t;
	return 0;
}

static int setup(void **state)
{
	return setup_with(state, false);
}

static int setup_ro(void **state)
{
	return setup_with(state, true);
}

static int teardown(void **state)
{
	struct test *t = *state;

	for (unsigned i = 0; i < 2; i++)
		ide_device(t->ide[i])->destroy(ide_device(t->ide[i]));
	disk_free(t->disk);
	disk_free(t->disc);
	bench_destroy(&t->bench);
	piix_ide_device(t->master)->destroy(piix_ide_device(t->master));
	pci_device(t->pci)->destroy(pci_device(t->pci));
	free(t);
	return 0;
}

static uint8_t reg(struct test *t, unsigned n)
{
	return (uint8_t)in_port(&t->bench, CMD + n, 1);
}

static void set_reg(struct test *t, unsigned n, uint8_t value)
{
	out_port(&t->bench, CMD + n, 1, value);
}

static void start(struct test *t, uint8_t command, uint32_t lba, uint8_t count)
{
	set_reg(t, DEVICE, 0xe0 | (lba >> 24 & 0xf));
	set_reg(t, COUNT, count);
	for (unsigned i = 0; i < 3; i++)
		set_reg(t, LBA0 + i, (uint8_t)(lba >> (8 * i)));
	set_reg(t, STATUS, command);
	settle(&t->bench);
}

static void start_ext(struct test *t, uint8_t command, uint64_t lba, uint16_t count)
{
	set_reg(t, DEVICE, 0xe0);
	set_reg(t, COUNT, (uint8_t)(count >> 8));
	set_reg(t, COUNT, (uint8_t)count);
	for (unsigned i = 0; i < 3; i++) {
		set_reg(t, LBA0 + i, (uint8_t)(lba >> (24 + 8 * i)));
		set_reg(t, LBA0 + i, (uint8_t)(lba >> (8 * i)));
	}
	set_reg(t, STATUS, command);
	settle(&t->bench);
}

static void read_words(struct test *t, uint16_t *word, unsigned n)
{
	while (n--)
		*word++ = (uint16_t)in_port(&t->bench, CMD, 2);
}

/* One sector by PIO, which must be full of that byte. */
static void expect_sector(struct test *t, uint8_t byte)
{
	uint16_t word[256];

	assert_int_equal(reg(t, STATUS) & (BSY | DRQ | ERR), DRQ);
	read_words(t, word, 256);
	for (unsigned i = 0; i < 256; i++)
		assert_int_equal(word[i], byte * 0x101);
	settle(&t->bench);
}

static void write_sector(struct test *t, uint8_t byte)
{
	assert_int_equal(reg(t, STATUS) & (BSY | DRQ | ERR), DRQ);
	for (unsigned i = 0; i < 128; i++)
		out_port(&t->bench, CMD, 4, byte * 0x01010101u);
	settle(&t->bench);
}

static void expect_idle(struct test *t)
{
	assert_int_equal(reg(t, STATUS) & (BSY | DRQ | ERR | DRDY), DRDY);
}

static void expect_error(struct test *t, uint8_t error)
{
	assert_int_equal(reg(t, STATUS) & (BSY | DRQ | ERR), ERR);
	assert_int_equal(reg(t, ERROR), error);
}

/* ---- disks ---- */

static void test_signatures(void **state)
{
	struct test *t = *state;

	assert_int_equal(reg(t, STATUS), 0x50);
	out_port(&t->bench, CTL, 1, 4);
	assert_int_equal(reg(t, STATUS), BSY);
	out_port(&t->bench, CTL, 1, 0);
	assert_int_equal(reg(t, ERROR), 1);
	assert_int_equal(
		reg(t, COUNT) << 24 | reg(t, LBA0) << 16 | reg(t, LBA1) << 8 | reg(t, LBA2),
		0x01010000);
	set_reg(t, DEVICE, 0x10);
	assert_int_equal(reg(t, LBA1) << 8 | reg(t, LBA2), 0x14eb);
	assert_int_equal(reg(t, STATUS), 0);
	set_reg(t, STATUS, 0x90); /* EXECUTE DEVICE DIAGNOSTIC: both answer */
	assert_int_equal(reg(t, DEVICE) & 0x10, 0);
	assert_int_equal(reg(t, ERROR), 1);
}

static void test_empty_channels(void **state)
{
	struct test *t = *state;
	struct bench *b = &t->bench;

	bench_port(b, ide_region(t->ide[1], IDE_COMMAND), 0x170);
	assert_int_equal(in_port(b, 0x177, 1), 0x7f);
	out_port(b, 0x172, 1, 0x55);
	assert_int_equal(in_port(b, 0x172, 1), 0x7f);
	out_port(b, 0x177, 1, 0xec);
	assert_int_equal(in_port(b, 0x177, 1), 0x7f);
}

static void test_identify(void **state)
{
	struct test *t = *state;
	uint16_t w[256];

	start(t, 0xec, 0, 0);
	assert_true(t->pin.level);
	assert_int_equal(reg(t, STATUS) & DRQ, DRQ);
	assert_false(t->pin.level);
	read_words(t, w, 256);
	expect_idle(t);
	assert_int_equal(w[1] * w[3] * w[6], SECTORS / 1008 * 1008);
	assert_int_equal(w[60] | w[61] << 16, SECTORS);
	assert_int_equal(w[100], SECTORS);
	assert_int_equal(w[49] & 0x300, 0x300);
	assert_int_equal(w[27], 'T' << 8 | 'I');
}

static void test_pio_read(void **state)
{
	struct test *t = *state;

	start(t, 0x20, 5, 3);
	for (unsigned i = 5; i < 8; i++) {
		assert_true(t->pin.level); /* one interrupt a sector */
		expect_sector(t, (uint8_t)i);
	}
	assert_false(t->pin.level);
	expect_idle(t);
	assert_int_equal(t->pin.rises, 3);
	assert_int_equal(reg(t, LBA0), 7);
	start(t, 0x20, 10, 0); /* 256 sectors */
	for (unsigned i = 0; i < 256; i++)
		expect_sector(t, (uint8_t)(10 + i));
	expect_idle(t);
}

static void test_chs(void **state)
{
	struct test *t = *state;

	set_reg(t, DEVICE, 0xa1); /* head 1 */
	set_reg(t, COUNT, 1);
	set_reg(t, LBA0, 2); /* sectors count from 1 */
	set_reg(t, LBA1, 1);
	set_reg(t, LBA2, 0);
	set_reg(t, STATUS, 0x20);
	settle(&t->bench);
	expect_sector(t, (uint8_t)((1 * 16 + 1) * 63 + 1));
	set_reg(t, LBA0, 0);
	set_reg(t, STATUS, 0x20);
	expect_error(t, 0x10);
}

static void test_pio_write(void **state)
{
	struct test *t = *state;

	start(t, 0x30, 100, 2);
	assert_false(t->pin.level); /* the first sector is asked for in silence */
	write_sector(t, 0xaa);
	assert_true(t->pin.level);
	write_sector(t, 0xbb);
	expect_idle(t);
	start(t, 0x20, 99, 4);
	expect_sector(t, 99);
	expect_sector(t, 0xaa);
	expect_sector(t, 0xbb);
	expect_sector(t, 102);
	start(t, 0xe7, 0, 0);
	expect_idle(t);
}

static void test_multiple(void **state)
{
	struct test *t = *state;

	start(t, 0xc4, 0, 4);
	expect_error(t, 4); /* not set yet */
	start(t, 0xc6, 0, 3);
	expect_error(t, 4); /* no power of two */
	start(t, 0xc6, 0, 4);
	expect_idle(t);
	t->pin.rises = 0;
	start(t, 0xc4, 20, 6);
	for (unsigned i = 20; i < 26; i++)
		expect_sector(t, (uint8_t)i);
	expect_idle(t);
	assert_int_equal(t->pin.rises, 2);
	start(t, 0xc5, 40, 6);
	for (unsigned i = 0; i < 6; i++)
		write_sector(t, (uint8_t)(0xc0 + i));
	start(t, 0x20, 44, 2);
	expect_sector(t, 0xc4);
	expect_sector(t, 0xc5);
}

static void test_48_bits(void **state)
{
	struct test *t = *state;

	start_ext(t, 0x24, 2000, 2);
	expect_sector(t, (uint8_t)2000);
	expect_sector(t, (uint8_t)2001);
	start_ext(t, 0x24, UINT64_C(1) << 32 | 5, 1);
	expect_error(t, 0x10);
	start_ext(t, 0x27, 0, 0); /* READ NATIVE MAX ADDRESS EXT */
	assert_int_equal(reg(t, LBA0) | reg(t, LBA1) << 8, SECTORS - 1);
	out_port(&t->bench, CTL, 1, 0x80); /* HOB: the upper bytes */
	assert_int_equal(reg(t, LBA0), 0);
	start_ext(t, 0x34, 3, 1);
	write_sector(t, 0xdd);
	start(t, 0x20, 3, 1);
	expect_sector(t, 0xdd);
}

static void test_beyond_the_end(void **state)
{
	struct test *t = *state;

	start(t, 0x20, SECTORS - 1, 1);
	expect_sector(t, (uint8_t)(SECTORS - 1));
	start(t, 0x20, SECTORS - 1, 2);
	expect_error(t, 0x10);
	start(t, 0x30, 0xfffffff, 1);
	expect_error(t, 0x10);
	start(t, 0xff, 0, 1);
	expect_error(t, 4);
}

static void test_readonly(void **state)
{
	struct test *t = *state;

	start(t, 0x30, 0, 1);
	expect_error(t, 4);
	start(t, 0xca, 0, 1);
	expect_error(t, 4);
	start(t, 0x20, 1, 1);
	expect_sector(t, 1);
}

static void test_interrupts_can_be_off(void **state)
{
	struct test *t = *state;

	out_port(&t->bench, CTL, 1, 2);
	start(t, 0x20, 0, 1);
	assert_false(t->pin.level);
	out_port(&t->bench, CTL, 1, 0);
	assert_true(t->pin.level);
	assert_int_equal(in_port(&t->bench, CTL, 1) & DRQ, DRQ); /* takes nothing back */
	assert_true(t->pin.level);
	expect_sector(t, 0);
}

/* ---- DMA ---- */

static void prd(struct test *t, unsigned n, uint32_t addr, uint32_t len, bool last)
{
	uint32_t entry[2] = {addr, len | (last ? 0x80000000 : 0)};

	memcpy(t->bench.bytes + PRDS + n * 8, entry, 8);
}

static void run_master(struct test *t, bool to_memory)
{
	out_port(&t->bench, MASTER + 4, 4, PRDS);
	out_port(&t->bench, MASTER + 2, 1, 6);
	out_port(&t->bench, MASTER, 1, to_memory ? 9 : 1);
	settle(&t->bench);
}

static uint8_t stop_master(struct test *t)
{
	uint8_t status = (uint8_t)in_port(&t->bench, MASTER + 2, 1);

	out_port(&t->bench, MASTER, 1, 0);
	return status & 7;
}

static void expect_bytes(struct test *t, uint32_t at, uint8_t byte, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++)
		assert_int_equal(t->bench.bytes[at + i], byte);
}

static void test_dma_read(void **state)
{
	struct test *t = *state;

	prd(t, 0, BUFFER, 256, false);
	prd(t, 1, BUFFER + 0x2000, 768, true);
	start(t, 0xc8, 7, 2);
	assert_false(t->pin.level);
	run_master(t, true);
	assert_true(t->pin.level);
	assert_int_equal(stop_master(t), 4); /* interrupt, not active */
	expect_idle(t);
	expect_bytes(t, BUFFER, 7, 256);
	expect_bytes(t, BUFFER + 256, 0, 256);
	expect_bytes(t, BUFFER + 0x2000, 7, 256);
	expect_bytes(t, BUFFER + 0x2100, 8, 512);
}

static void test_dma_write(void **state)
{
	struct test *t = *state;

	memset(t->bench.bytes + BUFFER, 0xee, 65536);
	prd(t, 0, BUFFER, 0, true); /* 64 KiB */
	start(t, 0xca, 500, 128);
	run_master(t, false);
	assert_int_equal(stop_master(t), 4);
	expect_idle(t);
	start(t, 0x20, 627, 2);
	expect_sector(t, 0xee);
	expect_sector(t, (uint8_t)628);
}

static void test_dma_master_first(void **state)
{
	struct test *t = *state;

	prd(t, 0, BUFFER, 512, true);
	run_master(t, true);
	assert_int_equal(in_port(&t->bench, MASTER + 2, 1) & 7, 1);
	start(t, 0xc8, 9, 1);
	assert_int_equal(stop_master(t), 4);
	expect_bytes(t, BUFFER, 9, 512);
}

static void test_dma_lists_that_do_not_fit(void **state)
{
	struct test *t = *state;

	prd(t, 0, BUFFER, 256, true); /* too short: the drive waits */
	start(t, 0xc8, 7, 1);
	run_master(t, true);
	assert_int_equal(stop_master(t), 0);
	assert_int_equal(reg(t, STATUS), BSY);
	assert_false(t->pin.level);
	out_port(&t->bench, CTL, 1, 4);
	out_port(&t->bench, CTL, 1, 0);
	prd(t, 0, BUFFER, 4096, true); /* too long: active stays */
	start(t, 0xc8, 7, 1);
	run_master(t, true);
	assert_int_equal(stop_master(t), 5);
	prd(t, 0, 0xfffff000, 512, true); /* no memory there */
	start(t, 0xc8, 7, 1);
	run_master(t, true);
	assert_int_equal(stop_master(t) & 2, 2);
	assert_int_equal(reg(t, STATUS) & ERR, ERR);
}

/* ---- CD-ROM ---- */

static void packet(struct test *t, const uint8_t *bytes, uint8_t features, uint16_t limit)
{
	uint16_t word[6];

	memcpy(word, bytes, 12);
	set_reg(t, DEVICE, 0x10);
	set_reg(t, ERROR, features);
	set_reg(t, LBA1, (uint8_t)limit);
	set_reg(t, LBA2, (uint8_t)(limit >> 8));
	set_reg(t, STATUS, 0xa0);
	assert_int_equal(reg(t, STATUS) & DRQ, DRQ);
	assert_int_equal(reg(t, COUNT) & 3, 1);
	for (unsigned i = 0; i < 6; i++)
		out_port(&t->bench, CMD, 2, word[i]);
	settle(&t->bench);
}

/* One block of data: what the byte count says. */
static unsigned cd_block(struct test *t, uint8_t *to)
{
	unsigned n;

	assert_int_equal(reg(t, STATUS) & (BSY | DRQ), DRQ);
	assert_int_equal(reg(t, COUNT) & 3, 2);
	n = reg(t, LBA1) | (unsigned)reg(t, LBA2) << 8;
	for (unsigned i = 0; i < n; i += 2) {
		uint16_t w = (uint16_t)in_port(&t->bench, CMD, 2);

		memcpy(to + i, &w, 2);
	}
	settle(&t->bench);
	return n;
}

static void expect_good(struct test *t)
{
	assert_int_equal(reg(t, STATUS) & (BSY | DRQ | ERR), 0);
	assert_int_equal(reg(t, COUNT) & 3, 3);
}

static void expect_sense(struct test *t, uint8_t key, uint8_t asc)
{
	static const uint8_t request[12] = {0x03, 0, 0, 0, 18};
	uint8_t sense[18];

	assert_int_equal(reg(t, STATUS) & ERR, ERR);
	assert_int_equal(reg(t, ERROR) >> 4, key);
	packet(t, request, 0, 18);
	assert_int_equal(cd_block(t, sense), 18);
	assert_int_equal(sense[2], key);
	assert_int_equal(sense[12], asc);
	expect_good(t);
}

static void test_cd_identify(void **state)
{
	struct test *t = *state;
	static const uint8_t inquiry[12] = {0x12, 0, 0, 0, 36};
	uint16_t w[256];
	uint8_t reply[36];

	set_reg(t, DEVICE, 0x10);
	set_reg(t, STATUS, 0xec);
	expect_error(t, 4);
	assert_int_equal(reg(t, LBA1) << 8 | reg(t, LBA2), 0x14eb);
	set_reg(t, STATUS, 0xa1);
	read_words(t, w, 256);
	assert_int_equal(w[0], 0x85c0);
	packet(t, inquiry, 0, 36);
	assert_int_equal(cd_block(t, reply), 36);
	assert_int_equal(reply[0], 5);
	assert_memory_equal(reply + 8, "TINAMOU ", 8);
	expect_good(t);
}

static void test_cd_read(void **state)
{
	struct test *t = *state;
	static const uint8_t capacity[12] = {0x25}, read[12] = {0x28, 0, 0, 0, 0, 10, 0, 0, 2};
	static const uint8_t far[12] = {0x28, 0, 0, 0, 0, 99, 0, 0, 2};
	uint8_t data[4096];

	packet(t, capacity, 0, 8);
	cd_block(t, data);
	assert_int_equal(data[3], DISCS / 4 - 1);
	assert_int_equal(data[6], 8);
	expect_good(t);
	packet(t, read, 0, 2048);
	assert_int_equal(cd_block(t, data), 2048);
	assert_int_equal(cd_block(t, data + 2048), 2048);
	expect_good(t);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(data[i * 512 + 100], 40 + i);
	packet(t, read, 0, 3000); /* blocks need not be sectors */
	assert_int_equal(cd_block(t, data), 3000);
	assert_int_equal(cd_block(t, data), 1096);
	expect_good(t);
	packet(t, far, 0, 2048);
	expect_sense(t, 5, 0x21);
}

static void test_cd_dma(void **state)
{
	struct test *t = *state;
	static const uint8_t read[12] = {0xa8, 0, 0, 0, 0, 3, 0, 0, 0, 2};

	prd(t, 0, BUFFER, 4096, true);
	packet(t, read, 1, 0);
	run_master(t, true);
	assert_int_equal(stop_master(t), 4);
	expect_good(t);
	expect_bytes(t, BUFFER, 12, 512);
	expect_bytes(t, BUFFER + 7 * 512, 19, 512);
}

static void test_cd_contents(void **state)
{
	struct test *t = *state;
	static const uint8_t toc[12] = {0x43, 2, 0, 0, 0, 0, 0, 0, 64};
	static const uint8_t mode[12] = {0x5a, 0, 0x2a, 0, 0, 0, 0, 0, 64};
	static const uint8_t unknown[12] = {0xfe};
	uint8_t data[64];

	packet(t, toc, 0, 64);
	assert_int_equal(cd_block(t, data), 20);
	assert_int_equal(data[1], 18);
	assert_int_equal(data[6], 1);
	assert_int_equal(data[10], 2); /* 00:02:00 */
	assert_int_equal(data[14], 0xaa);
	packet(t, mode, 0, 64);
	assert_int_equal(cd_block(t, data), 28);
	assert_int_equal(data[8], 0x2a);
	packet(t, unknown, 0, 64);
	expect_sense(t, 5, 0x20);
}

static void test_cd_comes_and_goes(void **state)
{
	struct test *t = *state;
	static const uint8_t ready[12] = {0}, eject[12] = {0x1b, 0, 0, 0, 2},
			     load[12] = {0x1b, 0, 0, 0, 3};
	static const uint8_t lock[12] = {0x1e, 0, 0, 0, 1}, unlock[12] = {0x1e};
	static const uint8_t read[12] = {0x28, 0, 0, 0, 0, 0, 0, 0, 1};

	packet(t, ready, 0, 0);
	expect_good(t);
	packet(t, lock, 0, 0);
	packet(t, eject, 0, 0);
	expect_sense(t, 2, 0x53);
	packet(t, unlock, 0, 0);
	packet(t, eject, 0, 0);
	expect_good(t);
	packet(t, ready, 0, 0);
	expect_sense(t, 2, 0x3a);
	packet(t, load, 0, 0); /* the tray closes with what lies on it */
	expect_good(t);
	packet(t, ready, 0, 0);
	expect_sense(t, 6, 0x28);
	packet(t, ready, 0, 0);
	expect_good(t);
	packet(t, eject, 0, 0);
	ide_device(t->ide[0])->reset(ide_device(t->ide[0]));
	packet(t, ready, 0, 0);
	expect_sense(t, 6, 0x28);
	ide_change_disc(t->ide[0], 1, NULL);
	packet(t, load, 0, 0);
	packet(t, ready, 0, 0);
	expect_sense(t, 2, 0x3a);
	ide_change_disc(t->ide[0], 1, t->disc);
	packet(t, ready, 0, 0);
	expect_sense(t, 6, 0x28);
	packet(t, read, 0, 2048);
	ide_change_disc(t->ide[0], 1, NULL); /* in the middle of a transfer */
	expect_sense(t, 3, 0x11);
	packet(t, read, 0, 2048);
	expect_sense(t, 2, 0x3a);
}

/* ---- snapshots ---- */

static void test_snapshot_in_the_middle(void **state)
{
	struct test *t = *state, *other;

	setup((void **)&other);
	start(t, 0x20, 30, 3);
	expect_sector(t, 30);
	assert_round_trip(ide_device(t->ide[0]), ide_device(other->ide[0]));
	assert_true(other->pin.level);
	expect_sector(other, 31);
	expect_sector(other, 32);
	expect_idle(other);
	assert_refused(ide_device(t->ide[0]), ide_device(other->ide[0]), "pos", 2, 4);
	assert_refused(ide_device(t->ide[0]), ide_device(other->ide[0]), "phase", 0, 9);
	prd(t, 0, BUFFER, 512, true);
	run_master(t, true);
	assert_round_trip(piix_ide_device(t->master), piix_ide_device(other->master));
	assert_int_equal(in_port(&other->bench, MASTER + 2, 1) & 1, 1);
	teardown((void **)&other);
}

/* A save waits for what is under way. */
static void test_quiesce(void **state)
{
	struct test *t = *state;

	start(t, 0x20, 0, 1);
	expect_sector(t, 0);
	set_reg(t, LBA0, 77);
	set_reg(t, COUNT, 1);
	set_reg(t, STATUS, 0x20);
	ide_device(t->ide[0])->quiesce(ide_device(t->ide[0]));
	expect_sector(t, 77);
}

static void test_reset_in_the_middle(void **state)
{
	struct test *t = *state;

	set_reg(t, COUNT, 1);
	set_reg(t, STATUS, 0x20);
	ide_device(t->ide[0])->reset(ide_device(t->ide[0]));
	settle(&t->bench);
	assert_int_equal(reg(t, STATUS), 0x50);
	assert_false(t->pin.level);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_signatures),
		TEST(test_empty_channels),
		TEST(test_identify),
		TEST(test_pio_read),
		TEST(test_chs),
		TEST(test_pio_write),
		TEST(test_multiple),
		TEST(test_48_bits),
		TEST(test_beyond_the_end),
		cmocka_unit_test_setup_teardown(test_readonly, setup_ro, teardown),
		TEST(test_interrupts_can_be_off),
		TEST(test_dma_read),
		TEST(test_dma_write),
		TEST(test_dma_master_first),
		TEST(test_dma_lists_that_do_not_fit),
		TEST(test_cd_identify),
		TEST(test_cd_read),
		TEST(test_cd_dma),
		TEST(test_cd_contents),
		TEST(test_cd_comes_and_goes),
		TEST(test_snapshot_in_the_middle),
		TEST(test_quiesce),
		TEST(test_reset_in_the_middle),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
