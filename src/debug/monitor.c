/*
 * monitor.c - the table of the monitor's commands; see monitor.h. Names and
 * their short forms are QEMU's, as far as there are such.
 */
#include "debug/monitor.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "debug/view.h"
#include "util/util.h"

#define LINE_MAX 512

struct command {
	const char *names; /* separated by bars */
	const char *args;
	void (*run)(struct monitor *m, const char *format, char *args, FILE *out);
	const char *what;
};

/* ---- registers and addresses ---- */

static struct vcpu *vcpu(const struct monitor *m)
{
	return m->vm->vcpu[m->cpu < m->vm->vcpus ? m->cpu : 0];
}

static bool read_state(struct monitor *m, struct x86_state *s, FILE *out)
{
	*s = (struct x86_state){0};
	if (!vcpu_get(vcpu(m), s, X86_GROUP_ALL))
		return true;
	fprintf(out, "cpu%u: its registers cannot be read\n", m->cpu);
	return false;
}

static bool gpr(const struct x86_state *s, const char *name, uint64_t *value)
{
	static const char *const names[] = {"ax", "cx", "dx", "bx", "sp", "bp", "si", "di"};
	bool wide = name[0] == 'r', half = name[0] == 'e';

	if ((wide || half) && isdigit((unsigned char)name[1])) {
		unsigned long n = strtoul(name + 1, NULL, 10);

		if (n >= 8 && n < X86_GPR_COUNT)
			*value = s->gpr[n];
		return n >= 8 && n < X86_GPR_COUNT;
	}
	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		if (strcmp(name + (wide || half), names[i]))
			continue;
		*value = wide ? s->gpr[i] : half ? (uint32_t)s->gpr[i] : (uint16_t)s->gpr[i];
		return true;
	}
	return false;
}

static bool named_register(const struct x86_state *s, const char *name, uint64_t *value)
{
	const struct {
		const char *name;
		uint64_t value;
	} list[] = {{"pc", s->seg[X86_CS].base + s->rip}, {"rip", s->rip},
		{"eip", (uint32_t)s->rip}, {"rflags", s->rflags}, {"eflags", (uint32_t)s->rflags},
		{"cr0", s->cr0}, {"cr2", s->cr2}, {"cr3", s->cr3}, {"cr4", s->cr4},
		{"cs", s->seg[X86_CS].sel}, {"ds", s->seg[X86_DS].sel}, {"es", s->seg[X86_ES].sel},
		{"ss", s->seg[X86_SS].sel}, {"fs", s->seg[X86_FS].sel}, {"gs", s->seg[X86_GS].sel},
		{"cs.base", s->seg[X86_CS].base}, {"ds.base", s->seg[X86_DS].base},
		{"ss.base", s->seg[X86_SS].base}, {"fs.base", s->seg[X86_FS].base},
		{"gs.base", s->seg[X86_GS].base}, {"gdtr", s->gdtr.base}, {"idtr", s->idtr.base}};

	for (unsigned i = 0; i < ARRAY_SIZE(list); i++) {
		if (strcmp(name, list[i].name))
			continue;
		*value = list[i].value;
		return true;
	}
	return gpr(s, name, value);
}

/* A number, or a register behind $; text moves on. */
static bool term(const struct x86_state *s, char **text, uint64_t *value)
{
	char name[16], *end;
	size_t n = 0;

	if (**text != '$') {
		*value = strtoull(*text, &end, 0);
		if (end == *text || !isdigit((unsigned char)**text))
			return false;
		*text = end;
		return true;
	}
	for ((*text)++; n + 1 < sizeof(name) && (isalnum((unsigned char)**text) || **text == '.');)
		name[n++] = *(*text)++;
	name[n] = '\0';
	return named_register(s, name, value);
}

/* Sums and differences: $esp+8, 0x7c00. */
static bool address(const struct x86_state *s, char *text, uint64_t *value)
{
	char sign = '+';

	*value = 0;
	for (;;) {
		uint64_t part;

		while (*text == ' ')
			text++;
		if (!term(s, &text, &part))
			return false;
		*value = sign == '+' ? *value + part : *value - part;
		while (*text == ' ')
			text++;
		if (!*text)
			return true;
		sign = *text++;
		if (sign != '+' && sign != '-')
			return false;
	}
}

/* ---- commands ---- */

static void examine(struct monitor *m, bool physical, const char *format, char *args, FILE *out)
{
	struct x86_state s;
	struct view v = {.mem = &m->vm->mem,
		.state = &s,
		.phys_bits = x86_model_phys_bits(&m->vm->model),
		.physical = physical};
	uint64_t addr;

	if (args[0] == '/') { /* x /4xw is x/4xw */
		format = args + 1;
		args += strcspn(args, " ");
		if (*args)
			*args++ = '\0';
	}
	if (!read_state(m, &s, out))
		return;
	if (!address(&s, args, &addr))
		fputs("no address: write a number, or registers as in $esp+8\n", out);
	else if (view_examine(&v, format, addr, out))
		fputs("unknown format: [count][xduocis][bhwg], as in x/4xw\n", out);
}

static void command_x(struct monitor *m, const char *format, char *args, FILE *out)
{
	examine(m, false, format, args, out);
}

static void command_xp(struct monitor *m, const char *format, char *args, FILE *out)
{
	examine(m, true, format, args, out);
}

static void command_stop(struct monitor *m, const char *format, char *args, FILE *out)
{
	vm_stop(m->vm);
}

static void command_cont(struct monitor *m, const char *format, char *args, FILE *out)
{
	vm_cont(m->vm);
}

static void command_reset(struct monitor *m, const char *format, char *args, FILE *out)
{
	vm_request_reset(m->vm);
	if (m->vm->stopped)
		fputs("it takes effect when the machine continues\n", out);
}

static void command_cpu(struct monitor *m, const char *format, char *args, FILE *out)
{
	unsigned long n = strtoul(args, NULL, 10);

	if (!isdigit((unsigned char)args[0]) || n >= m->vm->vcpus)
		fprintf(out, "a number from 0 to %u\n", m->vm->vcpus - 1);
	else
		m->cpu = (unsigned)n;
}

static void command_help(struct monitor *m, const char *format, char *args, FILE *out);
static void command_info(struct monitor *m, const char *format, char *args, FILE *out);

static const struct command commands[] = {
	{"cont|c", "", command_cont, "let the machine run"},
	{"cpu", "N", command_cpu, "whose registers and addresses are meant"},
	{"help|?", "", command_help, "this list"},
	{"info|i", "[TOPIC]", command_info, "the state of something; alone: of what"},
	{"reset|system_reset", "", command_reset, "reset the machine"},
	{"stop|s", "", command_stop, "let the machine stand still"},
	{"x", "/FMT ADDR", command_x, "linear memory: x/4xw $esp, x/10i $pc"},
	{"xp", "/FMT ADDR", command_xp, "physical memory"},
};

static void command_help(struct monitor *m, const char *format, char *args, FILE *out)
{
	for (unsigned i = 0; i < ARRAY_SIZE(commands); i++)
		fprintf(out, "%-20s %-10s %s\n", commands[i].names, commands[i].args,
			commands[i].what);
	for (unsigned i = 0; i < m->commands; i++)
		fprintf(out, "%-20s %-10s %s\n", m->command[i].name, m->command[i].args,
			m->command[i].what);
}

/* ---- info ---- */

static void info_registers(void *ctx, FILE *out)
{
	struct monitor *m = ctx;
	struct x86_state s;

	fprintf(out, "cpu%u\n", m->cpu);
	if (read_state(m, &s, out))
		x86_state_print(&s, out);
}

static void info_cpus(void *ctx, FILE *out)
{
	static const char *const run[] = {"running", "halted", "waits for SIPI", "shut down"};
	struct monitor *m = ctx;

	for (unsigned n = 0; n < m->vm->vcpus; n++) {
		struct x86_state s = {0};

		if (vcpu_get(m->vm->vcpu[n], &s, X86_GROUP_ALL))
			continue;
		fprintf(out, "%c cpu%u: pc=0x%016" PRIx64 " %s\n", n == m->cpu ? '*' : ' ', n,
			s.seg[X86_CS].base + s.rip, run[m->vm->vcpu[n]->run & 3]);
	}
}

static void info_mem(void *ctx, FILE *out)
{
	struct monitor *m = ctx;
	struct x86_state s;
	const struct view v = {.mem = &m->vm->mem, .state = &s};

	if (read_state(m, &s, out))
		view_mappings(&v, out);
}

static void info_status(void *ctx, FILE *out)
{
	struct monitor *m = ctx;

	fprintf(out, "VM status: %s\n", m->vm->stopped ? "paused" : "running");
}

static void command_info(struct monitor *m, const char *format, char *args, FILE *out)
{
	const struct monitor_topic own[] = {
		{"cpus", "the vCPUs", info_cpus, m},
		{"mem", "linear addresses that are mapped", info_mem, m},
		{"registers", "of the vCPU", info_registers, m},
		{"status", "does the machine run?", info_status, m},
	};
	char *word = args;

	args += strcspn(args, " ");
	*args = '\0';
	for (unsigned i = 0; i < ARRAY_SIZE(own) + m->topics; i++) {
		const struct monitor_topic *t =
			i < ARRAY_SIZE(own) ? &own[i] : &m->topic[i - ARRAY_SIZE(own)];

		if (!*word)
			fprintf(out, "info %-12s %s\n", t->name, t->what);
		else if (!strcmp(word, t->name)) {
			t->run(t->ctx, out);
			return;
		}
	}
	if (*word)
		fprintf(out, "info: unknown topic '%s'; info alone lists them\n", word);
}

/* ---- a line ---- */

static bool is_called(const struct command *c, const char *word, size_t len)
{
	for (const char *name = c->names; *name;) {
		size_t n = strcspn(name, "|");

		if (n == len && !strncmp(name, word, len))
			return true;
		name += n + (name[n] == '|');
	}
	return false;
}

static const struct command *find(const char *word, size_t len)
{
	for (unsigned i = 0; i < ARRAY_SIZE(commands); i++)
		if (is_called(&commands[i], word, len))
			return &commands[i];
	return NULL;
}

static bool run_added(struct monitor *m, const char *word, const char *args, FILE *out)
{
	for (unsigned i = 0; i < m->commands; i++) {
		if (strcmp(m->command[i].name, word))
			continue;
		vm_pause(m->vm);
		m->command[i].run(m->command[i].ctx, args, out);
		vm_resume(m->vm);
		return true;
	}
	return false;
}

/* WORD[/FORMAT] ARGS: cut in place. */
void monitor_execute(struct monitor *m, const char *line, FILE *out)
{
	char copy[LINE_MAX], *word = copy, *args, *end;
	const struct command *c;
	char *format;

	snprintf(copy, sizeof(copy), "%s", line);
	end = copy + strlen(copy);
	while (end > copy && isspace((unsigned char)end[-1]))
		*--end = '\0';
	word += strspn(word, " \t");
	if (!*word)
		return;
	args = word + strcspn(word, " ");
	if (*args)
		*args++ = '\0';
	args += strspn(args, " ");
	format = word + strcspn(word, "/");
	c = find(word, (size_t)(format - word));
	if (!c && run_added(m, word, args, out))
		return;
	if (!c) {
		fprintf(out, "unknown command: '%s'; help lists them\n", word);
		return;
	}
	format += *format == '/';
	vm_pause(m->vm);
	c->run(m, format, args, out);
	vm_resume(m->vm);
}
