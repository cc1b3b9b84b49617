/*
 * fuzz_devices.c - libFuzzer entry: the input is a script of guest accesses,
 * user input and time for all devices of a PC, with a snapshot at its end that
 * is loaded into a second machine. Each input begins with a snapshot of a
 * machine that was just made, so what a device forgets to save shows as well.
 */
#include "tests/dev/pc.h"

/* One step is six bytes: what, where, and four of data. */
struct step {
	uint8_t what, where;
	uint8_t data[4];
};

static void do_step(struct pc *pc, const struct step *s)
{
	uint32_t v = s->data[0] | s->data[1] << 8 | s->data[2] << 16 | (uint32_t)s->data[3] << 24;
	uint16_t port = pc_ports[s->where % ARRAY_SIZE(pc_ports)];
	unsigned size = 1u << (s->what >> 4) % 3;

	switch (s->what % 16) {
	case 0:
		ps2_key(pc->ps2, v, v >> 16 & 1);
		break;
	case 1:
		ps2_type(pc->ps2, v);
		break;
	case 2:
		ps2_mouse(pc->ps2, (int16_t)v, (int16_t)(v >> 16), s->where);
		break;
	case 3:
		chardev_input(&pc->chr, s->data, 4);
		break;
	case 4:
		pic_ack(pc->pic);
		break;
	case 5:
		bus_write(&pc->memory, 0xb8000 + v % 0x8000, size, v);
		break;
	case 6:
		pc_pass(pc, v);
		break;
	case 7:
		pc->device[v % pc->devices]->reset(pc->device[v % pc->devices]);
		break;
	case 8:
	case 9:
	case 10:
		bus_read(&pc->ports, port, size);
		break;
	default:
		bus_write(&pc->ports, port, size, v);
		break;
	}
}

static struct snap *pristine;
static struct pc pc, other;

static void restore(struct pc *to, const struct snap *from)
{
	size_t len;
	const void *data = snap_data(from, &len);
	struct snap *s = snap_new_load(data, len);

	if (!pc_snap(to, s))
		abort();
	snap_free(s);
}

/* Two machines serve all inputs: to make one takes as long as many inputs. */
static void power_on(void)
{
	if (pristine) {
		clock_set(&pc.clock, 0);
		restore(&pc, pristine);
		return;
	}
	pc_init(&pc);
	pc_init(&other);
	pristine = snap_new_save();
	if (!pc_snap(&pc, pristine))
		abort();
}

static void copy_by_snapshot(void)
{
	struct snap *save = snap_new_save();

	if (!pc_snap(&pc, save))
		abort();
	clock_set(&other.clock, clock_now(&pc.clock));
	restore(&other, save);
	pc_pass(&other, NSEC_PER_SEC);
	snap_free(save);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct text_frame frame;

	power_on();
	for (; len >= sizeof(struct step); data += sizeof(struct step), len -= sizeof(struct step))
		do_step(&pc, (const struct step *)data);
	vga_text_frame(pc.vga, &frame);
	if (len == 1) /* a snapshot takes as long as hundreds of accesses: not always */
		copy_by_snapshot();
	return 0;
}
