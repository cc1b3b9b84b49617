/*
 * front_shot.c - screenshots: the machine writes them into files that are opened
 * here, aside, and get their name when all of it is written.
 */
#include "cmd/front.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "util/util.h"

/* ---- at the end of the run ---- */

/* A copy for the machine. Where none is asked for a descriptor takes its place. */
int front_open_screenshot(struct front *f)
{
	int err;

	f->last_shot.fd = -1;
	if (!f->config.screenshot)
		return dup(STDERR_FILENO);
	err = aside_open(&f->last_shot, f->config.screenshot);
	if (!err)
		return fcntl(f->last_shot.fd, F_DUPFD_CLOEXEC, 0);
	log_error("--screenshot %s: %s", f->config.screenshot, strerror(-err));
	return -1;
}

void front_end_screenshot(struct front *f)
{
	bool saved = json_is_true(json_object_get(f->result, "saved"));
	int err = -EIO;

	if (!f->last_shot.path)
		return;
	if (saved)
		err = aside_keep(&f->last_shot);
	else
		aside_drop(&f->last_shot);
	if (err)
		log_error("--screenshot %s is not written", f->config.screenshot);
}

/* ---- while it runs ---- */

/* The first free number, which is taken by it. */
static bool new_name(char *name, size_t size)
{
	int fd = -1;

	for (unsigned i = 1; i < 1000 && (fd < 0 && (i == 1 || errno == EEXIST)); i++) {
		snprintf(name, size, "tinamou-%u.png", i);
		fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	}
	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static void tell(struct front *f, const char *name, int err)
{
	char text[300];

	snprintf(text, sizeof(text), "\r\ntinamou: screenshot: %.200s%s%s\r\n", name,
		err ? ": " : "", err ? strerror(-err) : "");
	front_overlay(f, text, strlen(text));
}

void front_screenshot(struct front *f, const char *path)
{
	struct aside *shot = &f->shot[f->shots];
	char name[32];
	int err = f->shots == ARRAY_SIZE(f->shot) ? -EBUSY : 0;

	if (!path)
		path = name;
	if (!err && path == name && !new_name(name, sizeof(name)))
		err = -errno;
	if (!err)
		err = aside_open(shot, path);
	if (!err && !front_send(f, MSG_SCREENSHOT, "", 0, shot->fd)) {
		aside_drop(shot);
		err = -EAGAIN;
	}
	if (err)
		tell(f, path == name ? "tinamou-N.png" : path, err);
	else
		f->shots++;
}

void front_screenshot_saved(struct front *f, bool whole)
{
	char *name;
	int err = -EIO;

	if (!f->shots)
		return;
	name = xstrdup(f->shot[0].path);
	if (whole)
		err = aside_keep(&f->shot[0]);
	else
		aside_drop(&f->shot[0]);
	memmove(f->shot, f->shot + 1, --f->shots * sizeof(f->shot[0]));
	tell(f, name, err);
	free(name);
}

/* The machine is gone. */
void front_drop_screenshots(struct front *f)
{
	while (f->shots)
		front_screenshot_saved(f, false);
}
