/*
 * verbs.c - tinamou list|status|console|monitor|pause|resume|balloon|stop|kill|reset|
 * screenshot: a client of the machines' sockets (control.h).
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "cmd/config.h"
#include "cmd/control.h"
#include "cmd/registry.h"
#include "cmd/status.h"
#include "host/aside.h"
#include "host/terminal.h"
#include "util/passfd.h"
#include "util/util.h"

#define ANSWER_SECONDS 5
#define STOP_SECONDS   60
#define KILL_SECONDS   5
#define ESCAPE_KEY     1 /* Ctrl-A */

struct verb_args {
	const char *name, *file; /* file: of screenshot */
	const char *line;        /* of monitor, the size of balloon, or NULL */
	bool json;
	unsigned timeout; /* seconds, of stop */
};

/* ---- asking ---- */

static int fail(const char *why)
{
	log_error("%s", why);
	return STATUS_HOST;
}

static int send_request(int socket, const char *request, int fd)
{
	char line[CONTROL_LINE_MAX];
	struct iovec iov = {line, 0};
	ssize_t n;

	iov.iov_len = (size_t)snprintf(line, sizeof(line), "%s\n", request);
	if (iov.iov_len >= sizeof(line))
		return -E2BIG;
	n = passfd_send(socket, &iov, 1, &fd, fd >= 0, 0);
	return n < 0 ? (int)n : 0;
}

/* One line, byte by byte: what follows it belongs to the console. NULL: none came. */
static json_t *receive_answer(int socket)
{
	char *line = xcalloc(1, CONTROL_ANSWER_MAX);
	size_t len = 0;
	json_t *answer;

	while (len < CONTROL_ANSWER_MAX - 1 && recv(socket, line + len, 1, 0) == 1 &&
		line[len] != '\n')
		len++;
	answer = json_loadb(line, len, 0, NULL);
	free(line);
	return answer;
}

/* The answer, which is new, or NULL with a line for the user. The request is taken over. */
static json_t *ask_object(int socket, json_t *request, int fd, char *err, size_t errlen)
{
	const char *command = json_string_value(json_object_get(request, "command"));
	char *text = json_dumps(request, JSON_COMPACT);
	struct timeval limit = {ANSWER_SECONDS, 0};
	json_t *answer;

	setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	answer = !text || send_request(socket, text, fd) ? NULL : receive_answer(socket);
	free(text);
	if (answer && json_is_true(json_object_get(answer, "ok"))) {
		json_decref(request);
		return answer;
	}
	if (answer)
		snprintf(err, errlen, "%s: %s", command,
			json_string_value(json_object_get(answer, "error")));
	else
		snprintf(err, errlen, "%s: the machine does not answer", command);
	json_decref(request);
	json_decref(answer);
	return NULL;
}

static json_t *ask(int socket, const char *command, int fd, char *err, size_t errlen)
{
	return ask_object(socket, json_pack("{s:s}", "command", command), fd, err, errlen);
}

static json_t *ask_machine(const char *name, const char *command, int fd, char *err, size_t errlen)
{
	int socket = registry_connect(name, err, errlen);
	json_t *answer;

	if (socket < 0)
		return NULL;
	answer = ask(socket, command, fd, err, errlen);
	close(socket);
	return answer;
}

static int simple(const struct verb_args *a, const char *command)
{
	char err[512];
	json_t *answer = ask_machine(a->name, command, -1, err, sizeof(err));

	if (!answer)
		return fail(err);
	json_decref(answer);
	return STATUS_OK;
}

/* ---- list and status ---- */

static void print_json(const json_t *object)
{
	char *text = json_dumps(object, JSON_INDENT(2));

	puts(text);
	free(text);
}

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "-";
}

static json_int_t number_of(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

static void add_machine(void *list, const char *name)
{
	char err[512];
	json_t *status = ask_machine(name, "status", -1, err, sizeof(err));

	if (!status)
		status = json_pack("{s:s, s:s}", "name", name, "state", "silent");
	json_object_del(status, "ok");
	json_array_append_new(list, status);
}

static int verb_list(const struct verb_args *a)
{
	json_t *list = json_array(), *machine;
	char err[512];
	size_t i;

	if (registry_each(add_machine, list, err, sizeof(err))) {
		json_decref(list);
		return fail(err);
	}
	if (a->json) {
		print_json(list);
	} else if (json_array_size(list)) {
		printf("%-16s %-8s %-10s %4s %8s %8s %8s  %s\n", "NAME", "STATE", "ENGINE", "CPUS",
			"MEMORY", "UP", "PID", "IMAGE");
		json_array_foreach(list, i, machine)
		{
			printf("%-16s %-8s %-10s %4" PRIi64 " %7" PRIi64 "M %7.0fs %8" PRIi64
			       "  %s\n",
				text_of(machine, "name"), text_of(machine, "state"),
				text_of(machine, "engine"), (int64_t)number_of(machine, "cpus"),
				(int64_t)(number_of(machine, "memory") >> 20),
				json_real_value(json_object_get(machine, "seconds")),
				(int64_t)number_of(machine, "pid"), text_of(machine, "image"));
		}
	}
	json_decref(list);
	return STATUS_OK;
}

static int verb_status(const struct verb_args *a)
{
	char err[512];
	json_t *status = ask_machine(a->name, "status", -1, err, sizeof(err)), *value;
	const char *key;

	if (!status)
		return fail(err);
	json_object_del(status, "ok");
	if (a->json) {
		print_json(status);
	} else {
		json_object_foreach(status, key, value)
		{
			char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(6));

			printf("%-14s %s\n", key,
				json_is_string(value) ? json_string_value(value) : text);
			free(text);
		}
	}
	json_decref(status);
	return STATUS_OK;
}

/* ---- console ---- */

/* true: Ctrl-A x. A Ctrl-A for the guest is typed twice. */
static bool typed(int socket, bool terminal, bool *escape)
{
	char in[256], out[256];
	ssize_t n = read(STDIN_FILENO, in, sizeof(in));
	size_t len = 0;

	if (n <= 0)
		return n == 0 || (errno != EINTR && errno != EAGAIN);
	for (ssize_t i = 0; i < n; i++) {
		if (*escape && in[i] == 'x')
			return true;
		if (!terminal || (*escape && in[i] == ESCAPE_KEY) || in[i] != ESCAPE_KEY)
			out[len++] = in[i];
		*escape = terminal && !*escape && in[i] == ESCAPE_KEY;
	}
	return len && send(socket, out, len, MSG_NOSIGNAL) < 0;
}

static void carry(int socket, bool terminal)
{
	struct pollfd p[2] = {{socket, POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
	bool escape = false;
	char buf[4096];
	ssize_t n;

	while (poll(p, 2, -1) > 0 || errno == EINTR) {
		if (p[0].revents) {
			n = recv(socket, buf, sizeof(buf), 0);
			if (n <= 0 || write(STDOUT_FILENO, buf, (size_t)n) < 0)
				return;
		}
		if (p[1].revents && typed(socket, terminal, &escape)) {
			if (terminal)
				return;
			p[1].fd = -1; /* no more input, but output goes on */
		}
	}
}

static int verb_console(const struct verb_args *a)
{
	struct terminal_state state = {0};
	char err[512];
	int socket = registry_connect(a->name, err, sizeof(err));
	json_t *answer = socket < 0 ? NULL : ask(socket, "console", -1, err, sizeof(err));
	struct timeval none = {0, 0};
	bool terminal;

	if (!answer) {
		if (socket >= 0)
			close(socket);
		return fail(err);
	}
	json_decref(answer);
	setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &none, sizeof(none));
	terminal = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
	if (terminal)
		log_info("the console of %s; Ctrl-A x leaves it, and the machine goes on", a->name);
	if (terminal && terminal_raw(&state))
		terminal = false;
	carry(socket, terminal);
	terminal_restore(&state);
	close(socket);
	if (terminal)
		putchar('\n');
	return STATUS_OK;
}

/* ---- monitor ---- */

static int execute(int socket, const char *line)
{
	char err[512];
	json_t *request = json_pack("{s:s, s:s}", "command", "monitor", "line", line);
	json_t *answer = ask_object(socket, request, -1, err, sizeof(err));

	if (!answer)
		return fail(err);
	fputs(text_of(answer, "text"), stdout);
	fflush(stdout);
	json_decref(answer);
	return STATUS_OK;
}

/* One command, or lines of standard input until its end. */
static int verb_monitor(const struct verb_args *a)
{
	char err[512], line[1024];
	int socket = registry_connect(a->name, err, sizeof(err)), status = STATUS_OK;
	bool terminal = isatty(STDIN_FILENO);

	if (socket < 0)
		return fail(err);
	if (a->line)
		status = execute(socket, a->line);
	while (!a->line && !status) {
		if (terminal)
			fputs("(tinamou) ", stdout), fflush(stdout);
		if (!fgets(line, sizeof(line), stdin))
			break;
		line[strcspn(line, "\n")] = '\0';
		status = execute(socket, line);
	}
	close(socket);
	return status;
}

/* ---- the others ---- */

static int verb_pause(const struct verb_args *a)
{
	return simple(a, "pause");
}

static int verb_resume(const struct verb_args *a)
{
	return simple(a, "resume");
}

static int verb_reset(const struct verb_args *a)
{
	return simple(a, "reset");
}

/* Waits until nobody has the name; says after a second that it waits. */
static bool gone_within(const char *name, unsigned seconds)
{
	uint64_t start = monotonic_ns(), now = start;
	struct timespec nap = {0, 20000000};
	bool told = false;

	while (registry_process(name) && now - start < seconds * NSEC_PER_SEC) {
		nanosleep(&nap, NULL);
		now = monotonic_ns();
		if (!told && now - start > NSEC_PER_SEC) {
			log_info("waiting for %s to end", name);
			told = true;
		}
	}
	return !registry_process(name);
}

static int verb_stop(const struct verb_args *a)
{
	int status = simple(a, "powerdown");

	if (status || gone_within(a->name, a->timeout))
		return status;
	log_error("%s did not switch itself off within %u s; does its system know the power "
		  "button? 'tinamou kill %s' ends it",
		a->name, a->timeout, a->name);
	return STATUS_TIMEOUT;
}

static int verb_kill(const struct verb_args *a)
{
	int pid = registry_process(a->name);
	char err[512];
	json_t *answer;

	if (!pid) {
		snprintf(err, sizeof(err), "no machine called %s runs", a->name);
		return fail(err);
	}
	answer = ask_machine(a->name, "quit", -1, err, sizeof(err));
	json_decref(answer);
	if (answer && gone_within(a->name, KILL_SECONDS))
		return STATUS_OK;
	kill(pid, SIGKILL);
	return gone_within(a->name, KILL_SECONDS) ? STATUS_OK : STATUS_HOST;
}

static int verb_screenshot(const struct verb_args *a)
{
	char err[512];
	struct aside shot;
	int error = aside_open(&shot, a->file);
	json_t *answer;

	if (error) {
		snprintf(err, sizeof(err), "%s: %s", a->file, strerror(-error));
		return fail(err);
	}
	answer = ask_machine(a->name, "screenshot", shot.fd, err, sizeof(err));
	if (!answer) {
		aside_drop(&shot);
		return fail(err);
	}
	json_decref(answer);
	error = aside_keep(&shot);
	if (!error)
		return STATUS_OK;
	snprintf(err, sizeof(err), "%s: %s", a->file, strerror(-error));
	return fail(err);
}

/* With a size the guest is asked; without one it is only told how things stand. */
static int verb_balloon(const struct verb_args *a)
{
	json_t *request = json_pack("{s:s}", "command", "balloon"), *answer;
	char err[512];
	uint64_t size;
	int socket;

	if (a->line && config_size(a->line, &size)) {
		json_object_set_new(request, "size", json_integer((json_int_t)size));
	} else if (a->line) {
		json_decref(request);
		snprintf(err, sizeof(err), "%s: not a size; write for example 256M", a->line);
		return fail(err);
	}
	socket = registry_connect(a->name, err, sizeof(err));
	if (socket < 0)
		json_decref(request);
	answer = socket < 0 ? NULL : ask_object(socket, request, -1, err, sizeof(err));
	if (socket >= 0)
		close(socket);
	if (!answer)
		return fail(err);
	json_object_del(answer, "ok");
	if (a->json)
		print_json(answer);
	else
		printf("the guest has %" PRIi64 "M and is to have %" PRIi64 "M\n",
			(int64_t)(number_of(answer, "memory") >> 20),
			(int64_t)(number_of(answer, "target") >> 20));
	json_decref(answer);
	return STATUS_OK;
}

/* ---- the table ---- */

static const struct {
	const char *verb, *args;
	int (*run)(const struct verb_args *a);
	bool name, file;
} verbs[] = {
	{"list", "[--json]", verb_list, false, false},
	{"status", "NAME [--json]", verb_status, true, false},
	{"console", "NAME", verb_console, true, false},
	{"monitor", "NAME ['COMMAND']", verb_monitor, true, false},
	{"pause", "NAME", verb_pause, true, false},
	{"resume", "NAME", verb_resume, true, false},
	{"reset", "NAME", verb_reset, true, false},
	{"balloon", "NAME [SIZE] [--json]", verb_balloon, true, false},
	{"stop", "NAME [--timeout SECONDS]", verb_stop, true, false},
	{"kill", "NAME", verb_kill, true, false},
	{"screenshot", "NAME FILE.png", verb_screenshot, true, true},
};

static bool parse(
	struct verb_args *a, const char *verb, bool name, bool file, int argc, char **argv)
{
	for (int i = 0; i < argc; i++) {
		if (!strcmp(argv[i], "--json"))
			a->json = true;
		else if (!strcmp(argv[i], "--timeout") && i + 1 < argc && atoi(argv[i + 1]) > 0)
			a->timeout = (unsigned)atoi(argv[++i]);
		else if (argv[i][0] != '-' && name && !a->name)
			a->name = argv[i];
		else if (argv[i][0] != '-' && file && !a->file)
			a->file = argv[i];
		else if (argv[i][0] != '-' && !a->line &&
			 (!strcmp(verb, "monitor") || !strcmp(verb, "balloon")))
			a->line = argv[i];
		else
			return false;
	}
	return !!a->name == name && !!a->file == file;
}

int cmd_verb(const char *verb, int argc, char **argv)
{
	struct verb_args a = {.timeout = STOP_SECONDS};

	for (unsigned i = 0; i < ARRAY_SIZE(verbs); i++) {
		if (strcmp(verb, verbs[i].verb))
			continue;
		if (parse(&a, verb, verbs[i].name, verbs[i].file, argc, argv))
			return verbs[i].run(&a);
		fprintf(stderr, "tinamou: usage: tinamou %s %s\n", verb, verbs[i].args);
		return STATUS_USAGE;
	}
	return -1;
}
