/*
 * gdb.c - the table of GDB's packets; see gdb.h. Threads are vCPUs, numbered
 * from 1. Breakpoints of both kinds are the engine's stops: memory stays as the
 * guest wrote it, and they are in linear addresses, whatever they map to.
 */
#include "debug/gdb.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "debug/gdb_regs.h"
#include "debug/rsp.h"
#include "debug/view.h"
#include "util/util.h"

#define OUT_MAX   65536u
#define OUT_BUSY  16384u /* so much waits: nothing more is read */
#define PART_MAX  4000u  /* bytes of memory, or of a description, in an answer */
#define TEXT_MAX  15000u /* of the monitor's answer */
#define TEXT_PART 3000u
#define STOPS_MAX 64u

#define SIGNAL_INT  2
#define SIGNAL_TRAP 5

/* Z and z: what is said when it is met. */
static const struct {
	const char *reason;
	uint8_t kind;
} stop_types[] = {{"swbreak", STOP_EXEC}, {"hwbreak", STOP_EXEC}, {"watch", STOP_WRITE},
	{"rwatch", STOP_ACCESS}, {"awatch", STOP_ACCESS}};

struct hit {
	bool any, stepped;
	unsigned cpu;
	uint64_t addr;
};

struct gdb {
	struct vm *vm;
	struct monitor *monitor;
	int listener, fd; /* fd -1: nobody is connected */
	struct loop_fd *listen_watch, *watch;
	enum gdb_arch arch;
	struct rsp rsp;
	char in[4096], out[OUT_MAX], last[2 * RSP_PACKET_MAX + 4];
	size_t in_at, in_len, out_len, last_len;

	struct gdb_regs regs;
	unsigned cpu; /* whose registers and memory are meant */
	bool no_acks, tells_breaks;
	bool waits; /* for the machine to stop */
	struct hit hit;
	struct debug_stop stop[STOPS_MAX];
	uint8_t type[STOPS_MAX]; /* index of stop_types */
	unsigned stops;
};

/* ---- out ---- */

static void disconnect(struct gdb *g);

static void wait_events(struct gdb *g)
{
	if (g->watch)
		loop_set_events(g->watch, g->out_len ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

static void flush(struct gdb *g)
{
	ssize_t n;

	while (g->fd >= 0 && g->out_len) {
		n = send(g->fd, g->out, g->out_len, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			break;
		g->out_len -= (size_t)n;
		memmove(g->out, g->out + n, g->out_len);
	}
	wait_events(g);
}

/* Who takes nothing and asks for more is left to itself. */
static void put(struct gdb *g, const char *bytes, size_t len)
{
	if (g->fd < 0)
		return;
	if (len > OUT_MAX - g->out_len) {
		disconnect(g);
		return;
	}
	memcpy(g->out + g->out_len, bytes, len);
	g->out_len += len;
	flush(g);
}

/* At most RSP_PACKET_MAX bytes. */
static void answer_bytes(struct gdb *g, const char *data, size_t len)
{
	g->last_len = rsp_wrap(g->last, data, len);
	put(g, g->last, g->last_len);
}

static void answer(struct gdb *g, const char *text)
{
	answer_bytes(g, text, strlen(text));
}

/* ---- the machine ---- */

static struct vcpu *vcpu(const struct gdb *g)
{
	return g->vm->vcpu[g->cpu < g->vm->vcpus ? g->cpu : 0];
}

static bool get_state(const struct gdb *g, struct x86_state *s)
{
	*s = (struct x86_state){0};
	return !vcpu_get(vcpu(g), s, X86_GROUP_ALL);
}

static uint64_t linear_pc(struct vcpu *v)
{
	const struct gdb_regs regs = {true};
	struct x86_state s = {0};
	uint8_t pc[GDB_REG_BYTES];
	uint64_t value;

	vcpu_get(v, &s, X86_GROUP_GPR | X86_GROUP_SEG | X86_GROUP_CR);
	gdb_reg_get(&regs, &s, 16, pc);
	memcpy(&value, pc, sizeof(value));
	return value;
}

/* All engines' vCPUs or none. */
static int set_stops(struct gdb *g, unsigned count)
{
	const struct engine_ops *ops = g->vm->engine->ops;
	int err = ops->set_stops ? 0 : -ENOSYS;

	for (unsigned n = 0; n < g->vm->vcpus && !err; n++)
		err = ops->set_stops(g->vm->vcpu[n], g->stop, count);
	for (unsigned n = 0; n < g->vm->vcpus && err && ops->set_stops; n++)
		ops->set_stops(g->vm->vcpu[n], g->stop, g->stops);
	if (!err)
		g->stops = count;
	return err;
}

static void release_vcpus(struct gdb *g)
{
	for (unsigned n = 0; n < g->vm->vcpus; n++) {
		g->vm->vcpu[n]->held = false;
		g->vm->vcpu[n]->step = STEP_NONE;
	}
}

/* Nothing of the debugger is left in the machine. */
static void let_go(struct gdb *g)
{
	vm_pause(g->vm);
	if (g->stops)
		set_stops(g, 0);
	release_vcpus(g);
	vm_resume(g->vm);
	g->waits = false;
	g->hit.any = false;
}

/* ---- stops ---- */

/* Whose watchpoint or breakpoint was met at addr; STOPS_MAX: nobody's. */
static unsigned find_hit(const struct gdb *g, uint64_t addr)
{
	for (unsigned n = 0; n < g->stops; n++)
		if (g->stop[n].addr == addr)
			return n;
	return STOPS_MAX;
}

static void tell_stop(struct gdb *g, unsigned signal)
{
	unsigned n = g->hit.any && !g->hit.stepped ? find_hit(g, g->hit.addr) : STOPS_MAX;
	char text[96];
	int at = snprintf(text, sizeof(text), "T%02xthread:%x;", signal, g->cpu + 1);

	if (n < STOPS_MAX && g->stop[n].kind != STOP_EXEC)
		snprintf(text + at, sizeof(text) - (size_t)at, "%s:%" PRIx64 ";",
			stop_types[g->type[n]].reason, g->hit.addr);
	else if (n < STOPS_MAX && g->tells_breaks)
		snprintf(text + at, sizeof(text) - (size_t)at, "%s:;",
			stop_types[g->type[n]].reason);
	answer(g, text);
}

static void on_met(void *ctx, struct vcpu *v, const struct run_result *r)
{
	struct gdb *g = ctx;

	if (g->fd < 0 || (g->hit.any && g->vm->stop_asked))
		return;
	g->hit = (struct hit){true, r->exit != RUN_DEBUG, v->id, r->debug_addr};
	vm_request_stop(g->vm);
}

static void on_stopped(void *ctx)
{
	struct gdb *g = ctx;
	bool waits = g->waits;

	release_vcpus(g);
	g->waits = false;
	if (g->hit.any)
		g->cpu = g->hit.cpu;
	if (waits)
		tell_stop(g, g->hit.any ? SIGNAL_TRAP : SIGNAL_INT);
}

static const struct vm_debugger debugger = {on_met, on_stopped};

/* ---- going on ---- */

enum action { ACTION_HOLD, ACTION_GO, ACTION_STEP };

/* Who was just reported to stand at a stop is to get past it; others have yet to be. */
static bool stands_at_stop(const struct gdb *g, struct vcpu *v)
{
	unsigned n = find_hit(g, linear_pc(v));

	return g->hit.any && g->hit.cpu == v->id && n < STOPS_MAX && g->stop[n].kind == STOP_EXEC;
}

static void go_on(struct gdb *g, const enum action action[VM_MAX_VCPUS])
{
	for (unsigned n = 0; n < g->vm->vcpus; n++) {
		struct vcpu *v = g->vm->vcpu[n];

		v->held = action[n] == ACTION_HOLD;
		v->step = STEP_NONE;
		if (action[n] == ACTION_STEP)
			v->step = STEP_ONE;
		else if (action[n] == ACTION_GO && stands_at_stop(g, v))
			v->step = STEP_OVER;
	}
	g->hit.any = false;
	g->waits = true;
	vm_cont(g->vm);
}

static void packet_continue(struct gdb *g, const char *args)
{
	enum action all[VM_MAX_VCPUS];

	for (unsigned n = 0; n < VM_MAX_VCPUS; n++)
		all[n] = ACTION_GO;
	go_on(g, all);
}

static void packet_step(struct gdb *g, const char *args)
{
	enum action one[VM_MAX_VCPUS] = {ACTION_HOLD};

	one[vcpu(g)->id] = ACTION_STEP;
	go_on(g, one);
}

/* A thread's number, 0 for any or -1 for all; false: there is none such. */
static bool thread(const struct gdb *g, const char **text, int *id)
{
	uint64_t value;

	*id = -1;
	if (!strncmp(*text, "-1", 2)) {
		*text += 2;
		return true;
	}
	if (!rsp_number(text, &value) || value > g->vm->vcpus)
		return false;
	*id = (int)value;
	return true;
}

/* One of vCont's actions, for those vCPUs that have none yet. */
static bool add_action(const struct gdb *g, const char **text, enum action action[VM_MAX_VCPUS],
	bool has[VM_MAX_VCPUS])
{
	char letter = *(*text)++;
	uint64_t signal;
	int id = -1;

	if (!letter || !strchr("cCsS", letter))
		return false;
	if (letter == 'C' || letter == 'S')
		rsp_number(text, &signal); /* a machine takes none */
	if (**text == ':' && (++*text, !thread(g, text, &id)))
		return false;
	for (unsigned n = 0; n < g->vm->vcpus; n++) {
		if (has[n] || (id > 0 && n + 1 != (unsigned)id))
			continue;
		has[n] = true;
		action[n] = letter == 's' || letter == 'S' ? ACTION_STEP : ACTION_GO;
		if (id == 0)
			break;
	}
	return true;
}

static void packet_vcont(struct gdb *g, const char *args)
{
	enum action action[VM_MAX_VCPUS] = {ACTION_HOLD};
	bool has[VM_MAX_VCPUS] = {false};

	do {
		if (!add_action(g, &args, action, has)) {
			answer(g, "E16");
			return;
		}
	} while (*args++ == ';');
	go_on(g, action);
}

/* ---- registers ---- */

static void packet_get_all(struct gdb *g, const char *args)
{
	uint8_t bytes[GDB_ALL_BYTES];
	char text[2 * GDB_ALL_BYTES + 1];
	struct x86_state s;
	size_t len = 0;

	if (!get_state(g, &s)) {
		answer(g, "E05");
		return;
	}
	for (unsigned n = 0; n < gdb_regs_count(&g->regs); n++) {
		uint8_t one[GDB_REG_BYTES];
		unsigned size = gdb_reg_size(&g->regs, n);

		gdb_reg_get(&g->regs, &s, n, one);
		memcpy(bytes + len, one, size);
		len += size;
	}
	rsp_hex(text, bytes, len);
	answer(g, text);
}

static void packet_get_one(struct gdb *g, const char *args)
{
	uint8_t one[GDB_REG_BYTES];
	char text[2 * GDB_REG_BYTES + 1];
	struct x86_state s;
	uint64_t n;

	if (!rsp_number(&args, &n) || n >= gdb_regs_count(&g->regs) || !get_state(g, &s)) {
		answer(g, "E16");
		return;
	}
	gdb_reg_get(&g->regs, &s, (unsigned)n, one);
	rsp_hex(text, one, gdb_reg_size(&g->regs, (unsigned)n));
	answer(g, text);
}

static const char *put_state(struct gdb *g, const struct x86_state *s, unsigned groups)
{
	return groups && vcpu_put(vcpu(g), s, groups) ? "E05" : "OK";
}

/* What is only to be read is passed by. */
static void packet_put_all(struct gdb *g, const char *args)
{
	uint8_t bytes[GDB_ALL_BYTES] = {0};
	size_t len = rsp_bytes(args, bytes, sizeof(bytes)), at = 0;
	struct x86_state s;
	unsigned groups = 0;

	if (!get_state(g, &s)) {
		answer(g, "E05");
		return;
	}
	for (unsigned n = 0; n < gdb_regs_count(&g->regs); n++) {
		unsigned size = gdb_reg_size(&g->regs, n);

		if (at + size <= len)
			groups |= gdb_reg_put(&g->regs, &s, n, bytes + at);
		at += size;
	}
	answer(g, put_state(g, &s, groups));
}

static void packet_put_one(struct gdb *g, const char *args)
{
	uint8_t one[GDB_REG_BYTES] = {0};
	struct x86_state s;
	unsigned groups = 0;
	uint64_t n;

	if (rsp_number(&args, &n) && n < gdb_regs_count(&g->regs) && *args == '=' &&
		rsp_bytes(args + 1, one, sizeof(one)) == gdb_reg_size(&g->regs, (unsigned)n) &&
		get_state(g, &s))
		groups = gdb_reg_put(&g->regs, &s, (unsigned)n, one);
	answer(g, groups ? put_state(g, &s, groups) : "E16");
}

/* ---- memory ---- */

static struct view view_of(struct gdb *g, const struct x86_state *s)
{
	return (struct view){
		.mem = &g->vm->mem, .state = s, .phys_bits = x86_model_phys_bits(&g->vm->model)};
}

/* ADDR,LEN */
static bool range(const char **args, uint64_t *addr, uint64_t *len)
{
	return rsp_number(args, addr) && *(*args)++ == ',' && rsp_number(args, len);
}

/* As much as can be read from its beginning. */
static void packet_read(struct gdb *g, const char *args)
{
	uint8_t bytes[PART_MAX];
	char text[2 * PART_MAX + 1];
	struct x86_state s;
	struct view v = view_of(g, &s);
	uint64_t addr, len, n = 0;

	if (!range(&args, &addr, &len) || !get_state(g, &s)) {
		answer(g, "E16");
		return;
	}
	len = MIN(len, PART_MAX);
	if (!view_read(&v, addr, bytes, len))
		n = len;
	while (n < len && !view_read(&v, addr + n, &bytes[n], 1))
		n++;
	rsp_hex(text, bytes, n);
	answer(g, n || !len ? text : "E0e");
}

static void write_memory(struct gdb *g, uint64_t addr, const uint8_t *bytes, uint64_t len)
{
	struct x86_state s;
	struct view v = view_of(g, &s);

	answer(g, get_state(g, &s) && !view_write(&v, addr, bytes, len) ? "OK" : "E0e");
}

static void packet_write(struct gdb *g, const char *args)
{
	uint8_t bytes[RSP_PACKET_MAX / 2];
	uint64_t addr, len;

	if (!range(&args, &addr, &len) || *args != ':' || len > sizeof(bytes) ||
		rsp_bytes(args + 1, bytes, sizeof(bytes)) != len)
		answer(g, "E16");
	else
		write_memory(g, addr, bytes, len);
}

/* The bytes are as they are, behind the colon. */
static void packet_write_binary(struct gdb *g, const char *args)
{
	uint64_t addr, len;

	if (!range(&args, &addr, &len) || *args++ != ':' ||
		len != (uint64_t)(g->rsp.data + g->rsp.len - args))
		answer(g, "E16");
	else
		write_memory(g, addr, (const uint8_t *)args, len);
}

/* ---- breakpoints ---- */

/* TYPE,ADDR,KIND */
static bool stop_of(const char *args, unsigned *type, struct debug_stop *s)
{
	uint64_t kind;

	*type = (unsigned)(*args - '0');
	if (*type >= ARRAY_SIZE(stop_types) || args[1] != ',')
		return false;
	args += 2;
	*s = (struct debug_stop){.kind = stop_types[*type].kind, .len = 1};
	if (!range(&args, &s->addr, &kind))
		return false;
	if (s->kind == STOP_EXEC)
		return true;
	s->len = (uint8_t)kind;
	return (kind == 1 || kind == 2 || kind == 4 || kind == 8) && !(s->addr & (kind - 1));
}

static unsigned find_stop(const struct gdb *g, unsigned type, const struct debug_stop *s)
{
	unsigned n = 0;

	while (n < g->stops &&
		(g->type[n] != type || g->stop[n].addr != s->addr || g->stop[n].len != s->len))
		n++;
	return n;
}

static void packet_insert(struct gdb *g, const char *args)
{
	struct debug_stop s;
	unsigned type, n;
	int err = 0;

	if (!stop_of(args, &type, &s)) {
		answer(g, "E16");
		return;
	}
	n = find_stop(g, type, &s);
	if (n == STOPS_MAX) {
		err = -ENOSPC;
	} else if (n == g->stops) {
		g->stop[n] = s;
		g->type[n] = (uint8_t)type;
		err = set_stops(g, n + 1);
	}
	answer(g, !err             ? "OK"
		  : err == -ENOSPC ? "E.the engine has no room for more"
				   : "E.the engine has no breakpoints");
}

static void packet_remove(struct gdb *g, const char *args)
{
	struct debug_stop s;
	unsigned type, n;

	if (!stop_of(args, &type, &s)) {
		answer(g, "E16");
		return;
	}
	n = find_stop(g, type, &s);
	if (n < g->stops) {
		g->stop[n] = g->stop[g->stops - 1];
		g->type[n] = g->type[g->stops - 1];
		set_stops(g, g->stops - 1);
	}
	answer(g, "OK");
}

/* ---- queries ---- */

/* What GDB takes at the connection, it keeps: by the mode the vCPU is in, or can come to. */
static bool is_wide(const struct gdb *g)
{
	struct x86_state s;

	if (g->arch != GDB_ARCH_AUTO)
		return g->arch == GDB_ARCH_AMD64;
	if (!x86_model_has(&g->vm->model, X86_CPU_LM))
		return false;
	return !get_state(g, &s) || s.efer & X86_EFER_LMA || !(s.cr0 & X86_CR0_PG);
}

static void packet_supported(struct gdb *g, const char *args)
{
	char text[160];

	g->tells_breaks = strstr(args, "swbreak+") && strstr(args, "hwbreak+");
	g->regs.wide = is_wide(g);
	snprintf(text, sizeof(text),
		"PacketSize=%x;qXfer:features:read+;QStartNoAckMode+;vContSupported+;swbreak+;"
		"hwbreak+",
		RSP_PACKET_MAX);
	answer(g, text);
}

/* ANNEX:OFFSET,LENGTH of the description. */
static void packet_description(struct gdb *g, const char *args)
{
	static const char annex[] = "target.xml:";
	char *text = NULL, part[PART_MAX + 1];
	uint64_t at, len;
	size_t size = 0;
	FILE *out;

	if (strncmp(args, annex, strlen(annex)) ||
		(args += strlen(annex), !range(&args, &at, &len))) {
		answer(g, "E00");
		return;
	}
	out = open_memstream(&text, &size);
	gdb_regs_describe(&g->regs, out);
	fclose(out);
	at = MIN(at, size);
	len = MIN(MIN(len, PART_MAX), size - at);
	part[0] = at + len < size ? 'm' : 'l';
	memcpy(part + 1, text + at, len);
	answer_bytes(g, part, len + 1);
	free(text);
}

static void packet_threads(struct gdb *g, const char *args)
{
	char text[4 * VM_MAX_VCPUS + 1];
	int at = 0;

	for (unsigned n = 0; n < g->vm->vcpus; n++)
		at += snprintf(text + at, sizeof(text) - (size_t)at, "%c%x", n ? ',' : 'm', n + 1);
	answer(g, text);
}

static void packet_no_more(struct gdb *g, const char *args)
{
	answer(g, "l");
}

static void packet_thread_info(struct gdb *g, const char *args)
{
	static const char *const run[] = {"running", "halted", "waits for SIPI", "shut down"};
	char text[64], hex[2 * sizeof(text) + 1];
	int id;

	if (!thread(g, &args, &id) || id <= 0) {
		answer(g, "E16");
		return;
	}
	snprintf(text, sizeof(text), "cpu%d: %s", id - 1, run[g->vm->vcpu[id - 1]->run & 3]);
	rsp_hex(hex, text, strlen(text));
	answer(g, hex);
}

static void packet_current(struct gdb *g, const char *args)
{
	char text[16];

	snprintf(text, sizeof(text), "QC%x", vcpu(g)->id + 1);
	answer(g, text);
}

static void packet_choose(struct gdb *g, const char *args)
{
	int id;

	if (!*args || (args++, !thread(g, &args, &id))) {
		answer(g, "E16");
		return;
	}
	if (id > 0)
		g->cpu = (unsigned)id - 1;
	answer(g, "OK");
}

static void packet_alive(struct gdb *g, const char *args)
{
	int id;

	answer(g, thread(g, &args, &id) && id > 0 ? "OK" : "E16");
}

static void say(struct gdb *g, const char *text, size_t len)
{
	char part[2 * TEXT_PART + 2];

	part[0] = 'O';
	for (size_t at = 0; at < len; at += TEXT_PART) {
		rsp_hex(part + 1, text + at, MIN(len - at, TEXT_PART));
		answer(g, part);
	}
}

/* GDB's `monitor LINE`: of the vCPU that it looks at. */
static void packet_monitor(struct gdb *g, const char *args)
{
	static const char cut[] = "\n(cut)\n";
	char line[512] = "", *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	line[rsp_bytes(args, (uint8_t *)line, sizeof(line) - 1)] = '\0';
	g->monitor->cpu = vcpu(g)->id;
	monitor_execute(g->monitor, line, out);
	fclose(out);
	say(g, text, MIN(len, TEXT_MAX));
	if (len > TEXT_MAX)
		say(g, cut, strlen(cut));
	answer(g, "OK");
	free(text);
}

/* ---- the rest ---- */

static void packet_why(struct gdb *g, const char *args)
{
	tell_stop(g, SIGNAL_TRAP);
}

static void packet_no_acks(struct gdb *g, const char *args)
{
	answer(g, "OK");
	g->no_acks = true;
}

static void packet_yes(struct gdb *g, const char *args)
{
	answer(g, "1");
}

static void packet_actions(struct gdb *g, const char *args)
{
	answer(g, "vCont;c;C;s;S");
}

static void packet_detach(struct gdb *g, const char *args)
{
	let_go(g);
	answer(g, "OK");
	vm_cont(g->vm);
}

static void packet_kill(struct gdb *g, const char *args)
{
	answer(g, "OK");
	vm_end(g->vm, VM_END_QUIT, 0, "ended by the debugger");
}

/* By their beginnings: the longer one first. */
static const struct {
	const char *name;
	void (*run)(struct gdb *g, const char *args);
} packets[] = {
	{"?", packet_why},
	{"C", packet_continue},
	{"D", packet_detach},
	{"G", packet_put_all},
	{"H", packet_choose},
	{"M", packet_write},
	{"P", packet_put_one},
	{"QStartNoAckMode", packet_no_acks},
	{"S", packet_step},
	{"T", packet_alive},
	{"X", packet_write_binary},
	{"Z", packet_insert},
	{"c", packet_continue},
	{"g", packet_get_all},
	{"k", packet_kill},
	{"m", packet_read},
	{"p", packet_get_one},
	{"qAttached", packet_yes},
	{"qC", packet_current},
	{"qRcmd,", packet_monitor},
	{"qSupported", packet_supported},
	{"qThreadExtraInfo,", packet_thread_info},
	{"qXfer:features:read:", packet_description},
	{"qfThreadInfo", packet_threads},
	{"qsThreadInfo", packet_no_more},
	{"s", packet_step},
	{"vCont;", packet_vcont},
	{"vCont?", packet_actions},
	{"vKill", packet_kill},
	{"z", packet_remove},
};

/* What is not known has an empty answer. */
static void serve(struct gdb *g)
{
	const char *data = g->rsp.data;

	for (unsigned n = 0; n < ARRAY_SIZE(packets); n++) {
		size_t len = strlen(packets[n].name);

		if (strncmp(data, packets[n].name, len))
			continue;
		vm_pause(g->vm);
		packets[n].run(g, data + len);
		vm_resume(g->vm);
		return;
	}
	answer(g, "");
}

/* ---- in ---- */

static void acknowledge(struct gdb *g, const char *sign)
{
	if (!g->no_acks)
		put(g, sign, 1);
}

static void take(struct gdb *g, enum rsp_event event)
{
	switch (event) {
	case RSP_MORE:
		break;
	case RSP_BROKEN:
		acknowledge(g, "-");
		break;
	case RSP_RESEND:
		if (!g->no_acks)
			put(g, g->last, g->last_len);
		break;
	case RSP_INTERRUPT:
		vm_stop(g->vm);
		break;
	case RSP_PACKET:
		acknowledge(g, "+");
		serve(g);
		break;
	}
}

/* As long as the answers are taken, too. */
static void work(struct gdb *g)
{
	while (g->fd >= 0 && g->in_at < g->in_len && g->out_len < OUT_BUSY)
		take(g, rsp_feed(&g->rsp, g->in[g->in_at++]));
}

void gdb_receive(struct gdb *g, const char *bytes, size_t len)
{
	while (len && g->fd >= 0) {
		size_t part = MIN(len, sizeof(g->in));

		memcpy(g->in, bytes, part);
		g->in_at = 0;
		g->in_len = part;
		work(g);
		bytes += part;
		len -= part;
	}
}

static void on_ready(void *ctx, uint32_t events)
{
	struct gdb *g = ctx;
	ssize_t n;

	flush(g);
	work(g);
	if (g->fd < 0 || g->in_at < g->in_len)
		return;
	n = recv(g->fd, g->in, sizeof(g->in), MSG_DONTWAIT);
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
		disconnect(g);
		return;
	}
	g->in_at = 0;
	g->in_len = (size_t)MAX(n, 0);
	work(g);
}

static void disconnect(struct gdb *g)
{
	if (g->fd < 0)
		return;
	loop_remove(g->watch);
	close(g->fd);
	g->fd = -1;
	g->watch = NULL;
	g->in_len = g->in_at = g->out_len = 0;
	let_go(g);
	if (g->listen_watch)
		loop_set_events(g->listen_watch, EPOLLIN);
}

/* ---- life ---- */

/* Who comes finds the machine standing still. */
void gdb_connect(struct gdb *g, int fd)
{
	g->fd = fd;
	g->rsp = (struct rsp){0};
	g->last_len = 0;
	g->no_acks = g->tells_breaks = g->waits = false;
	g->cpu = 0;
	vm_stop(g->vm);
	g->regs.wide = is_wide(g);
	g->watch = loop_add(g->vm->loop, fd, EPOLLIN, on_ready, g);
}

static void on_listener(void *ctx, uint32_t events)
{
	struct gdb *g = ctx;
	int fd = accept4(g->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	loop_set_events(g->listen_watch, 0); /* the next one waits */
	gdb_connect(g, fd);
}

struct gdb *gdb_new(struct vm *vm, struct monitor *monitor, int listener, enum gdb_arch arch)
{
	struct gdb *g = xcalloc(1, sizeof(*g));

	g->vm = vm;
	g->monitor = monitor;
	g->listener = listener;
	g->arch = arch;
	g->fd = -1;
	vm->debugger = &debugger;
	vm->debugger_ctx = g;
	if (listener >= 0)
		g->listen_watch = loop_add(vm->loop, listener, EPOLLIN, on_listener, g);
	return g;
}

void gdb_free(struct gdb *g, int status)
{
	char text[16];

	if (!g)
		return;
	snprintf(text, sizeof(text), "W%02x", (unsigned)status & 0xff);
	if (g->waits)
		answer(g, text);
	if (g->fd >= 0) {
		loop_remove(g->watch);
		close(g->fd);
	}
	if (g->listen_watch)
		loop_remove(g->listen_watch);
	if (g->listener >= 0)
		close(g->listener);
	g->vm->debugger = NULL;
	free(g);
}
