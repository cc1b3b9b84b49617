/*
 * front.h - the front process of a run, inside: see run.c, front_open.c,
 * front_screen.c and front_loop.c. The front has one thread.
 */
#ifndef TINAMOU_FRONT_H
#define TINAMOU_FRONT_H

#include <poll.h>
#include <sys/types.h>

#include "cmd/control.h"
#include "cmd/run.h"
#include "cmd/viewer.h"
#include "core/engine.h"
#include "host/aside.h"
#include "host/terminal.h"

#define BACKLOG_MAX 65536 /* serial bytes kept while the screen is shown */

/* What is typed while the monitor has the terminal. */
struct front_monitor {
	bool active;
	bool busy; /* the machine has not answered all of the last line */
	bool key;  /* in the middle of a function key's bytes */
	char line[512];
	size_t len;
	char waiting[4096]; /* typed while it was busy */
	size_t waiting_len;
};

#define STREAM_POLLS (2 * STREAM_CONTROL + 1)

/* One direction of a stream: what was read and not written yet. */
struct flow {
	int from, to;
	size_t len, at;
	bool ended, told; /* nothing more comes; the other side knows */
	char buf[4096];   /* a pipe that poll finds writable takes as much */
};

enum streams_end { STREAMS_RUNNING, STREAMS_EXIT, STREAMS_SIGNAL, STREAMS_FAIL };

struct streams {
	bool on;
	int fd[STREAMS]; /* our ends */
	struct flow flow[STREAM_CONTROL];
	char line[300];
	size_t line_len;
	enum streams_end end; /* how the command ended */
	int value;            /* its exit status, or the signal */
	char why[300];        /* STREAMS_FAIL */
	bool asked;           /* the machine, to end */
};

struct front {
	struct config config;
	const struct engine_ops *engine;
	int fd[MACHINE_MAX_FDS];
	unsigned fds;
	struct media media;
	int firmware, vgabios, vars, gdb; /* indices in fd, -1: none */
	const char *image;                /* the word that is no option, borrowed; NULL: none */
	bool as_given;                    /* --as: it was not probed */
	int root_kernel, root_initramfs;  /* descriptors of --root, -1: none */
	int initramfs;                    /* index in fd, -1: none */
	struct streams streams;
	bool one_initrd; /* all of --initrd is one file's name */
	int signals;     /* signalfd */
	int ctl;         /* to the machine */
	int serial;      /* our end of the serial line, -1: none */
	int pty, slave;  /* of --serial pty, -1: none */
	pid_t pid;
	struct control *control; /* of --name, or NULL */
	int told, log;           /* --detach: who waits for the start, and its log; or -1 */
	struct shared_screen *shared;
	struct shared_picture *shared_picture; /* NULL: no terminal to show it */
	bool picture_shown;
	bool asked_terminal;         /* what it can: before the first picture */
	enum terminal_answer sixels; /* its answer */
	struct screen_view *view;
	struct viewer_process viewer;
	bool in_window; /* the picture is, and the terminal says so */

	bool terminal;      /* both standard input and output are one */
	bool screen_active; /* which side the terminal shows and types to */
	bool told_other;    /* said that the other side has output */
	struct terminal_state saved;
	struct front_monitor monitor;
	bool escape;  /* Ctrl-A was typed */
	bool overlay; /* text stands over the screen until the next key */
	char backlog[BACKLOG_MAX];
	size_t backlog_len;

	uint64_t deadline, kill_at; /* host time in ns, 0: none */
	char asked, asked_signal;   /* MSG_QUIT or MSG_TIMEOUT was sent, 0: neither */
	bool killed;                /* by us: it did not answer */
	json_t *result;
	char *text; /* MSG_TEXT so far */
	size_t text_len;
	int failed; /* status of MSG_ERROR */
	uint64_t began;
	int result_fd;          /* --result, -1: none */
	int die_by;             /* signal to end by, 0: none */
	struct aside last_shot; /* --screenshot */
	struct aside shot[4];   /* others that the machine writes, in the order of asking */
	unsigned shots;
};

/* Opens every file that the configuration names; returns a status of status.h. */
int front_open_all(struct front *f);

/*
 * --detach: goes on as a process of its own, without a terminal. Returns 0 in it;
 * the caller's process gets *parent and the status to end with.
 */
int front_detach(struct front *f, bool *parent);

/* Tells who waits how the start went. */
void front_started(struct front *f, int status);

/* --name: the machine's socket. Returns a status. */
int front_open_control(struct front *f);
/* --root: the kernel, unless it is named, and what starts the command. */
int front_open_root(struct front *f);

/* ---- front_streams.c: a command's standard streams ---- */

int front_open_streams(struct front *f); /* 0 or -errno */
void front_close_streams(struct front *f, bool machines);
void front_stream_interest(struct front *f, struct pollfd p[STREAM_POLLS]);
void front_stream_serve(struct front *f, const struct pollfd p[STREAM_POLLS]);
/* After the machine's end: what it said before. */
void front_stream_drain(struct front *f);
/* Keys for the command, if it takes any now. */
bool front_stream_takes(const struct front *f);
void front_stream_type(struct front *f, const char *bytes, size_t len);
/* The terminal has another size. */
void front_stream_size(struct front *f);
/* The serial line's last words, kept and shown if something went wrong. */
void front_keep_log(struct front *f, const char *text, size_t len);
bool front_kernel_panicked(const struct front *f);
void front_show_log(const struct front *f);

void front_ask_to_quit(struct front *f, char type, char sig);

/* Shared folders; front_open_all opens them. 0 or -errno; after the machine has its ends, close. */
int front_open_shares(struct front *f);
int front_start_shares(struct front *f);
void front_close_shares(struct front *f);
void front_wait_shares(struct front *f);
/* The process behind --vsock, likewise. */
int front_open_vsock(struct front *f);

/* Carries bytes between the terminal and the machine until the machine is gone. */
void front_loop(struct front *f);

/* Is the screen, text or not, to be seen on the terminal? */
bool front_screen_on_terminal(const struct front *f);

/* Shows the machine's screen where the terminal shows it at present. */
void front_show_screen(struct front *f);

/* The cursor goes below what is shown. */
void front_leave_screen(struct front *f);

/* The last consistent text screen; false: there is none. */
bool front_read_frame(const struct shared_screen *s, struct text_frame *frame);

/* Text between the guest's output; over the screen it stays until the next key. */
void front_overlay(struct front *f, const char *text, size_t len);

/* Tells once that the side not shown has output. */
void front_tell_other_side(struct front *f);

/* ---- front_shot.c ---- */

/* --screenshot: the machine's descriptor, or one to take its place; -1: told why. */
int front_open_screenshot(struct front *f);
/* It gets its name if the machine's result says so. */
void front_end_screenshot(struct front *f);

/* Has the machine write its screen to a file; path NULL: the first free tinamou-N.png. */
void front_screenshot(struct front *f, const char *path);
/* The oldest of them is written. */
void front_screenshot_saved(struct front *f, bool whole);
/* No more are. */
void front_drop_screenshots(struct front *f);

/* ---- front_monitor.c ---- */

/* The terminal goes to the monitor, or back to the guest. */
void front_monitor_toggle(struct front *f);
void front_monitor_typed(struct front *f, const char *bytes, size_t len);
/* A part of an answer; an empty one is its end. */
void front_monitor_says(struct front *f, const char *text, size_t len);
/* A line to the machine, in front_loop.c; its answer follows. */
void front_monitor_send(struct front *f, const char *line);

/* Asks the machine to end (MSG_QUIT, MSG_TIMEOUT), and kills it if it does not. */
void front_ask_to_quit(struct front *f, char type, char sig);

/* false: the machine does not read at present. */
bool front_send(struct front *f, char type, const void *data, size_t len, int fd);

/* All of it, as far as the descriptor takes it: errors are nobody's to handle. */
void write_all(int fd, const char *data, size_t len);

#endif
