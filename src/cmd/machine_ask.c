/*
 * machine_ask.c - what a machine answers to the clients of its socket: JSON, one
 * object {"command": C, ...} a request. See control.h for how it gets here.
 */
#include "cmd/machine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_MAX 20000 /* of a monitor's answer; JSON may make it longer */

static json_t *ok(void)
{
	return json_pack("{s:b}", "ok", 1);
}

static json_t *answer_status(struct machine *m, const json_t *request)
{
	uint64_t executed = 0;

	for (unsigned i = 0; i < m->vm->vcpus; i++)
		executed += atomic_load(&m->vm->vcpu[i]->executed);
	return json_pack("{s:b, s:s, s:f, s:I}", "ok", 1, "state",
		m->vm->stopped ? "paused" : "running", "seconds",
		(double)clock_now(&m->vm->clock) / 1e9, "instructions", (json_int_t)executed);
}

static json_t *answer_pause(struct machine *m, const json_t *request)
{
	vm_stop(m->vm);
	return ok();
}

static json_t *answer_resume(struct machine *m, const json_t *request)
{
	vm_cont(m->vm);
	return ok();
}

static json_t *answer_reset(struct machine *m, const json_t *request)
{
	vm_request_reset(m->vm);
	return ok();
}

static json_t *answer_powerdown(struct machine *m, const json_t *request)
{
	board_power_button(m->board);
	return ok();
}

/* Bytes, if the request says how many, and how it stands then. */
static json_t *answer_balloon(struct machine *m, const json_t *request)
{
	const json_t *size = json_object_get(request, "size");
	uint64_t target, actual;

	if (size && (!json_is_integer(size) || json_integer_value(size) < 0))
		return json_pack("{s:b, s:s}", "ok", 0, "error", "balloon wants a size in bytes");
	if (size)
		board_balloon(m->board, (uint64_t)json_integer_value(size));
	if (!board_balloon_state(m->board, &target, &actual))
		return json_pack("{s:b, s:s}", "ok", 0, "error",
			"there is no balloon; start the machine with --balloon");
	return json_pack("{s:b, s:I, s:I}", "ok", 1, "target", (json_int_t)target, "memory",
		(json_int_t)actual);
}

/* What is longer than a message is cut, and says so. */
static json_t *answer_monitor(struct machine *m, const json_t *request)
{
	static const char cut[] = "\n(cut)\n";
	const char *line = json_string_value(json_object_get(request, "line"));
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);
	json_t *reply;

	if (line)
		monitor_execute(&m->monitor, line, out);
	fclose(out);
	if (!line)
		reply = json_pack("{s:b, s:s}", "ok", 0, "error", "monitor wants a line");
	else if (len > TEXT_MAX)
		reply = json_pack("{s:b, s:s%+}", "ok", 1, "text", text, TEXT_MAX, cut);
	else
		reply = json_pack("{s:b, s:s}", "ok", 1, "text", text);
	free(text);
	return reply ? reply : json_pack("{s:b, s:s}", "ok", 0, "error", "the answer is no UTF-8");
}

static json_t *answer_screenshot(struct machine *m, int fd)
{
	int error = fd < 0 ? -EBADF : machine_save_picture(m, fd);

	return error ? json_pack("{s:b, s:s}", "ok", 0, "error",
			       fd < 0 ? "no descriptor came with the request" : strerror(-error))
		     : ok();
}

static const struct {
	const char *command;
	json_t *(*answer)(struct machine *m, const json_t *request);
} commands[] = {
	{"status", answer_status},
	{"pause", answer_pause},
	{"resume", answer_resume},
	{"reset", answer_reset},
	{"powerdown", answer_powerdown},
	{"monitor", answer_monitor},
	{"balloon", answer_balloon},
};

static json_t *answer(struct machine *m, const json_t *request, int fd)
{
	const char *command = json_string_value(json_object_get(request, "command"));

	if (command && !strcmp(command, "screenshot"))
		return answer_screenshot(m, fd);
	for (unsigned i = 0; i < ARRAY_SIZE(commands) && command; i++)
		if (!strcmp(command, commands[i].command))
			return commands[i].answer(m, request);
	return json_pack("{s:b, s:s}", "ok", 0, "error",
		"known are status, pause, resume, reset, powerdown, monitor, balloon, console, "
		"screenshot, quit");
}

void machine_answer(struct machine *m, const char *request, size_t len, int fd)
{
	json_t *object = json_loadb(request, len, 0, NULL), *reply = answer(m, object, fd);
	char *text = json_dumps(reply, JSON_COMPACT);

	machine_send(m, MSG_ANSWER, text, strlen(text));
	free(text);
	json_decref(reply);
	json_decref(object);
}
