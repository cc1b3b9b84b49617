/*
 * machine_report.c - what a machine tells about itself: memory, statistics,
 * registers.
 */
#include "cmd/machine.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void dump_line(FILE *out, uint64_t addr, const uint8_t *p, size_t n)
{
	fprintf(out, "%08" PRIx64 " ", addr);
	for (size_t i = 0; i < 16; i++)
		i < n ? fprintf(out, " %02x", p[i]) : fprintf(out, "   ");
	fprintf(out, "  ");
	for (size_t i = 0; i < n; i++)
		fputc(p[i] >= 0x20 && p[i] < 0x7f ? p[i] : '.', out);
	fputc('\n', out);
}

static void dump_memory(struct machine *m, FILE *out, const struct config_dump *d)
{
	uint8_t line[16];

	for (uint64_t done = 0; done < d->len; done += sizeof(line)) {
		size_t n = MIN(sizeof(line), d->len - done);

		if (mem_read(&m->vm->mem, d->addr + done, line, n)) {
			fprintf(out, "%08" PRIx64 "  (no memory)\n", d->addr + done);
			return;
		}
		dump_line(out, d->addr + done, line, n);
	}
}

uint64_t machine_instructions(const struct machine *m)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < m->vm->vcpus; i++)
		n += atomic_load(&m->vm->vcpu[i]->executed);
	return n;
}

static void print_stats(struct machine *m, FILE *out)
{
	struct vm *vm = m->vm;
	uint64_t executed = machine_instructions(m), handled = 0;

	fprintf(out, "\n%-18s %10s %12s\n", "exit", "count", "time");
	for (unsigned r = 0; r < EXIT_REASONS; r++) {
		struct exit_stat sum = {0};

		for (unsigned i = 0; i < vm->vcpus; i++) {
			sum.count += vm->vcpu[i]->stat[r].count;
			sum.nsec += vm->vcpu[i]->stat[r].nsec;
		}
		handled += sum.nsec;
		if (sum.count)
			fprintf(out, "%-18s %10" PRIu64 " %9.3f ms\n", exit_reason_name[r],
				sum.count, (double)sum.nsec / 1e6);
	}
	fprintf(out, "engine %s, run time %.3f ms, of it in devices %.3f ms\n",
		vm->engine->ops->name, (double)vm->run_ns / 1e6, (double)handled / 1e6);
	if (executed)
		fprintf(out, "%" PRIu64 " instructions, %.1f M/s\n", executed,
			(double)executed * 1e3 / (double)vm->run_ns);
	if (vm->engine->ops->report)
		vm->engine->ops->report(vm->engine, out);
}

void machine_report_text(struct machine *m)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	for (unsigned i = 0; i < m->config.dumps; i++)
		dump_memory(m, out, &m->config.dump[i]);
	if (m->config.stats)
		print_stats(m, out);
	fclose(out);
	for (size_t at = 0; at < len; at += MACHINE_MESSAGE_MAX - 1)
		machine_send(m, MSG_TEXT, text + at, MIN(len - at, MACHINE_MESSAGE_MAX - 1));
	free(text);
}

void machine_dump_registers(struct machine *m)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	vm_pause(m->vm);
	for (unsigned i = 0; i < m->vm->vcpus; i++) {
		struct x86_state s = {0};

		fprintf(out, "cpu%u\n", i);
		if (!vcpu_get(m->vm->vcpu[i], &s, X86_GROUP_ALL))
			x86_state_print(&s, out);
	}
	vm_resume(m->vm);
	fclose(out);
	machine_send(m, MSG_REGISTERS, text, len);
	free(text);
}
