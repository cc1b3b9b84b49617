/*
 * fuzz_control.c - libFuzzer entry: the input is a script of what clients do at a
 * named machine's socket: they come, say anything, pass descriptors, read or do
 * not, and go. cmd/control.c serves them, and a machine that never runs answers
 * (cmd/machine_ask.c, and the monitor behind it).
 *
 * A step is what, which client, a length, and as many bytes.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cmd/control.h"
#include "cmd/machine.h"
#include "cmd/registry.h"
#include "engine/interpret/interpret.h"
#include "folder.h"
#include "util/passfd.h"

#define CLIENTS (CONTROL_CLIENTS + 2u) /* more than are served */
#define ASKED   8u                     /* requests that wait for the machine */
#define STEPS   300u
#define NAME    "fuzz"

struct fuzz {
	struct control *control;
	struct machine machine;
	int answers; /* what the machine sends comes out here */
	int file;    /* to pass */
	int fd[CLIENTS];
	struct {
		char *text;
		int fd;
	} asked[ASKED];
	unsigned asking;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* ---- what the front does for clients ---- */

static int ask(void *front, const char *request, size_t len, int fd)
{
	struct fuzz *z = front;

	if (z->asking == ASKED)
		return -EAGAIN;
	z->asked[z->asking].text = strndup(request, len);
	z->asked[z->asking++].fd = fd < 0 ? -1 : dup(fd);
	return 0;
}

static void describe(void *front, json_t *status)
{
	json_object_set_new(status, "name", json_string(NAME));
}

static void typed(void *front, const char *bytes, size_t len)
{
	if (memchr(bytes, 0, len) == bytes + len)
		abort();
}

static void quit(void *front)
{
}

/* The machine answers the oldest request, and control.c tells the client. */
static void answer(struct fuzz *z)
{
	char text[MACHINE_MESSAGE_MAX], *request = z->asked[0].text;
	int fd = z->asked[0].fd;
	ssize_t n;

	if (!z->asking)
		return;
	memmove(z->asked, z->asked + 1, --z->asking * sizeof(z->asked[0]));
	vm_lock(z->machine.vm);
	machine_answer(&z->machine, request, strlen(request), fd);
	vm_unlock(z->machine.vm);
	free(request);
	if (fd >= 0)
		close(fd);
	n = recv(z->answers, text, sizeof(text), MSG_DONTWAIT);
	if (n < 1 || text[0] != MSG_ANSWER)
		abort();
	control_answer(z->control, text + 1, (size_t)n - 1);
}

static void serve(struct fuzz *z)
{
	struct pollfd p[CONTROL_DESCRIPTORS];
	unsigned n = control_poll(z->control, p);

	if (n > CONTROL_DESCRIPTORS)
		abort();
	if (poll(p, n, 0) > 0)
		control_ready(z->control, p, n);
}

/* ---- life ---- */

static void make_machine(struct machine *m)
{
	static const struct board_config bc = {.balloon = true, .no_exit_port = true};
	const struct vm_config vc = {
		.engine = &interpret_engine, .ram_size = 2 * MiB, .vcpus = 1, .stay_halted = true};
	char err[512];

	m->engine = &interpret_engine;
	m->vm = vm_new(&vc, err, sizeof(err));
	if (!m->vm || board_new(m->vm, &bc, &m->board, err, sizeof(err)) ||
		interpret_engine.vcpu_open(m->vm->vcpu[0]))
		abort();
	machine_monitor_attach(m);
}

/* The engine keeps pointers where the leak sanitizer does not look. */
static struct vm *made;

static void free_machine(void)
{
	interpret_engine.vcpu_close(made->vcpu[0]);
	vm_free(made);
}

/* The registry's folder is one of our own. */
static void make(struct fuzz *z)
{
	char folder[FUZZ_FOLDER];
	int pair[2];

	fuzz_folder(folder);
	if (setenv("XDG_RUNTIME_DIR", folder, 1) || socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair))
		abort();
	z->file = memfd_create("file", MFD_CLOEXEC);
	z->machine.ctl = pair[0];
	z->answers = pair[1];
	make_machine(&z->machine);
	made = z->machine.vm;
	atexit(free_machine);
}

static void begin(struct fuzz *z)
{
	static const struct control_ops ops = {ask, describe, typed, quit};
	char err[512];

	z->control = control_new(NAME, &ops, z, err, sizeof(err));
	if (!z->control)
		abort();
	for (unsigned i = 0; i < CLIENTS; i++)
		z->fd[i] = -1;
}

static void end(struct fuzz *z)
{
	for (unsigned i = 0; i < CLIENTS; i++)
		if (z->fd[i] >= 0)
			close(z->fd[i]);
	serve(z);
	while (z->asking)
		answer(z);
	control_free(z->control);
}

/* ---- steps ---- */

static void come(struct fuzz *z, unsigned client)
{
	char err[512];
	int fd = registry_connect(NAME, err, sizeof(err));

	if (z->fd[client] >= 0)
		close(z->fd[client]);
	if (fd < 0)
		abort();
	fcntl(fd, F_SETFL, O_NONBLOCK);
	z->fd[client] = fd;
}

static void say(struct fuzz *z, unsigned client, const void *text, size_t len, bool pass)
{
	const struct iovec iov = {(void *)text, len};

	if (z->fd[client] >= 0 && len)
		passfd_send(z->fd[client], &iov, 1, &z->file, pass, MSG_DONTWAIT);
}

/* What a client that knows the language says; `text` is the monitor's line. */
static void say_known(struct fuzz *z, unsigned client, unsigned which, const char *text, size_t len)
{
	static const char *const known[] = {"status", "pause", "resume", "reset", "powerdown",
		"monitor", "balloon", "console", "screenshot", "quit", "nonsense"};
	json_t *request = json_pack("{s:s, s:s%, s:i}", "command", known[which % ARRAY_SIZE(known)],
		"line", text, len, "size", which << 18);
	char *line = request ? json_dumps(request, JSON_COMPACT) : NULL;

	if (line) {
		say(z, client, line, strlen(line), which & 0x80);
		say(z, client, "\n", 1, false);
	}
	free(line);
	json_decref(request);
}

static void hear(struct fuzz *z, unsigned client, size_t len)
{
	char text[256];

	if (z->fd[client] >= 0)
		(void)!recv(z->fd[client], text, MIN(len, sizeof(text)), MSG_DONTWAIT);
}

static void go(struct fuzz *z, unsigned client, bool half)
{
	if (z->fd[client] < 0)
		return;
	if (half) {
		shutdown(z->fd[client], SHUT_WR);
		return;
	}
	close(z->fd[client]);
	z->fd[client] = -1;
}

static void one(struct fuzz *z, uint8_t what, uint8_t which, const uint8_t *data, size_t len)
{
	unsigned client = which % CLIENTS;

	switch (what % 8) {
	case 0:
		come(z, client);
		break;
	case 1:
	case 2:
		say(z, client, data, len, which & 0x80);
		break;
	case 3:
		say_known(z, client, len ? data[0] : 0, (const char *)data, len);
		break;
	case 4:
		hear(z, client, len);
		break;
	case 5:
		go(z, client, which & 0x80);
		break;
	case 6:
		answer(z);
		break;
	case 7:
		control_serial(z->control, (const char *)data, len);
		break;
	}
	serve(z);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct fuzz z;

	log_level = LOG_ERROR;
	if (!z.machine.vm)
		make(&z);
	begin(&z);
	for (unsigned i = 0; i < STEPS && len >= 3; i++) {
		size_t n = MIN(len - 3, data[2]);

		one(&z, data[0], data[1], data + 3, n);
		data += 3 + n;
		len -= 3 + n;
	}
	end(&z);
	return 0;
}
