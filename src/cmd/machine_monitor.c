/*
 * machine_monitor.c - the machine's end of the monitor: lines from the front are
 * executed, what they say goes back.
 */
#include "cmd/machine.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static void info_pic(void *ctx, FILE *out)
{
	board_print(ctx, BOARD_PIC, out);
}

static void info_lapic(void *ctx, FILE *out)
{
	board_print(ctx, BOARD_LAPIC, out);
}

static void info_ioapic(void *ctx, FILE *out)
{
	board_print(ctx, BOARD_IOAPIC, out);
}

static void info_pci(void *ctx, FILE *out)
{
	board_print(ctx, BOARD_PCI, out);
}

static void info_block(void *ctx, FILE *out)
{
	static const char *const kind[] = {"ide disk", "cdrom", "floppy", "virtio disk"};
	struct machine *m = ctx;

	for (unsigned n = 0; n < m->disks; n++) {
		const struct disk *d = m->disk[n];
		struct disk_stats s;

		disk_get_stats(d, &s);
		fprintf(out, "%s: %s (%s%s), %" PRIu64 " bytes\n", kind[m->media->item[n].kind],
			disk_name(d), disk_format(d), disk_readonly(d) ? ", read-only" : "",
			disk_size(d));
		fprintf(out,
			"    read %" PRIu64 " bytes in %" PRIu64 ", wrote %" PRIu64 " in %" PRIu64
			", flushes %" PRIu64 "\n",
			s.bytes[DISK_READ], s.requests[DISK_READ], s.bytes[DISK_WRITE],
			s.requests[DISK_WRITE], s.requests[DISK_FLUSH]);
	}
}

static void eject(void *ctx, const char *args, FILE *out)
{
	struct machine *m = ctx;

	if (!board_eject(m->board))
		fputs("there is no CD-ROM drive\n", out);
}

static void info_balloon(void *ctx, FILE *out)
{
	uint64_t target, actual;

	if (board_balloon_state(ctx, &target, &actual))
		fprintf(out, "the guest has %" PRIu64 " KiB and is to have %" PRIu64 " KiB\n",
			actual / KiB, target / KiB);
	else
		fputs("there is no balloon; start the machine with --balloon\n", out);
}

/* Without a size it only tells how things stand. */
static void balloon(void *ctx, const char *args, FILE *out)
{
	uint64_t size;

	if (*args && !config_size(args, &size)) {
		fprintf(out, "%s: not a size; write for example 256M\n", args);
		return;
	}
	if (*args)
		board_balloon(ctx, size);
	info_balloon(ctx, out);
}

void machine_monitor_attach(struct machine *m)
{
	const struct monitor_command command[] = {
		{"balloon", "[SIZE]", "ask the guest to keep no more memory than that", balloon,
			m->board},
		{"eject", "", "take the disc out of the CD-ROM drive", eject, m},
	};
	const struct monitor_topic topic[] = {
		{"pic", "the 8259A pair", info_pic, m->board},
		{"lapic", "the local APICs", info_lapic, m->board},
		{"ioapic", "the I/O APIC", info_ioapic, m->board},
		{"pci", "functions and their base addresses", info_pci, m->board},
		{"block", "disks, and what went through them", info_block, m},
		{"balloon", "memory that the guest has left", info_balloon, m->board},
	};

	_Static_assert(ARRAY_SIZE(topic) == MACHINE_TOPICS, "struct machine has room for all");
	_Static_assert(ARRAY_SIZE(command) == MACHINE_COMMANDS, "likewise");
	memcpy(m->topic, topic, sizeof(topic));
	memcpy(m->command, command, sizeof(command));
	m->monitor = (struct monitor){.vm = m->vm,
		.topic = m->topic,
		.topics = MACHINE_TOPICS,
		.command = m->command,
		.commands = MACHINE_COMMANDS};
}

/* An empty message is the end of an answer. */
void machine_monitor_line(struct machine *m, const char *line)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	monitor_execute(&m->monitor, line, out);
	fclose(out);
	for (size_t at = 0; at < len; at += MACHINE_MESSAGE_MAX - 1)
		machine_send(
			m, MSG_MONITOR_SAYS, text + at, MIN(len - at, MACHINE_MESSAGE_MAX - 1));
	machine_send(m, MSG_MONITOR_SAYS, "", 0);
	free(text);
}
