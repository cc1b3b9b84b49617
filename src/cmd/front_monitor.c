/*
 * front_monitor.c - the front's end of the monitor: what is typed becomes lines,
 * lines go to the machine, its answers to standard output. What concerns files
 * and the end of the run is done here. It shares the terminal with the guest:
 * Ctrl-A c goes there and back.
 */
#include "cmd/front.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "util/util.h"

enum { CTRL_C = 3, BACKSPACE = 8, CTRL_U = 21, ESCAPE = 27, DELETE = 127 };

static void say(const char *text)
{
	write_all(STDOUT_FILENO, text, strlen(text));
}

static void prompt(struct front *f)
{
	say(f->config.qemu ? "(qemu) " : "(tinamou) ");
}

static void screenshot(struct front *f, const char *args)
{
	front_screenshot(f, args[0] ? args : NULL);
	prompt(f);
}

static void quit(struct front *f, const char *args)
{
	front_ask_to_quit(f, MSG_QUIT, 0);
}

static void help(struct front *f, const char *args)
{
	static const char text[] = "quit|q                          end the run\n"
				   "screenshot|screendump [FILE]    the screen as a PNG file\n";

	say(text);
	front_monitor_send(f, "help");
}

static const struct {
	const char *name;
	void (*run)(struct front *f, const char *args);
} commands[] = {
	{"help", help},
	{"?", help},
	{"q", quit},
	{"quit", quit},
	{"screendump", screenshot},
	{"screenshot", screenshot},
};

static void execute(struct front *f, const char *line)
{
	size_t len = strcspn(line, " ");

	for (unsigned i = 0; i < ARRAY_SIZE(commands); i++) {
		if (strlen(commands[i].name) != len || strncmp(line, commands[i].name, len))
			continue;
		commands[i].run(f, line + len + strspn(line + len, " "));
		return;
	}
	if (*line)
		front_monitor_send(f, line);
	else
		prompt(f);
}

static void end_line(struct front *f)
{
	struct front_monitor *m = &f->monitor;
	char *line = m->line;

	if (f->terminal)
		say("\n");
	m->line[m->len] = '\0';
	while (m->len && line[m->len - 1] == ' ')
		line[--m->len] = '\0';
	m->len = 0;
	execute(f, line + strspn(line, " "));
}

static void erase(struct front *f, size_t n)
{
	for (; n; n--, f->monitor.len--)
		if (f->terminal)
			say("\b \b");
}

/* An arrow or function key is ESC, perhaps [ or O, and what ends in a letter or ~. */
static bool in_key(struct front_monitor *m, char c)
{
	if (c == ESCAPE)
		m->key = true;
	else if (m->key && (c == '~' || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z' && c != 'O')))
		return m->key = false, true;
	return m->key;
}

static void typed(struct front *f, char c)
{
	struct front_monitor *m = &f->monitor;

	if (in_key(m, c))
		return;
	if (c == '\r' || c == '\n')
		end_line(f);
	else if (c == BACKSPACE || c == DELETE)
		erase(f, m->len ? 1 : 0);
	else if (c == CTRL_U || c == CTRL_C)
		erase(f, m->len);
	else if (c >= ' ' && m->len + 1 < sizeof(m->line)) {
		m->line[m->len++] = c;
		if (f->terminal)
			write_all(STDOUT_FILENO, &c, 1);
	}
}

void front_monitor_typed(struct front *f, const char *bytes, size_t len)
{
	struct front_monitor *m = &f->monitor;

	for (size_t i = 0; i < len; i++)
		if (!m->busy)
			typed(f, bytes[i]);
		else if (m->waiting_len < sizeof(m->waiting))
			m->waiting[m->waiting_len++] = bytes[i];
}

void front_monitor_says(struct front *f, const char *text, size_t len)
{
	struct front_monitor *m = &f->monitor;
	char waiting[sizeof(m->waiting)];
	size_t n = m->waiting_len;

	if (len) {
		write_all(STDOUT_FILENO, text, len);
		return;
	}
	m->busy = false;
	if (!m->active)
		return;
	prompt(f);
	memcpy(waiting, m->waiting, n);
	m->waiting_len = 0;
	front_monitor_typed(f, waiting, n);
}

void front_monitor_toggle(struct front *f)
{
	static const char none[] = "\r\ntinamou: this run has no monitor\r\n";
	struct front_monitor *m = &f->monitor;

	if (f->config.monitor == MONITOR_NONE) {
		front_overlay(f, none, sizeof(none) - 1);
		return;
	}
	m->active = !m->active;
	if (!m->active) {
		say("\n");
		f->overlay = false;
		front_show_screen(f);
		return;
	}
	front_overlay(f, "", 0);
	say(f->config.qemu ? "QEMU's commands by tinamou " TINAMOU_VERSION
			     " monitor - type 'help' for more information\n"
			   : "tinamou " TINAMOU_VERSION
			     " monitor: help lists the commands, Ctrl-A c leaves it\n");
	prompt(f);
}
