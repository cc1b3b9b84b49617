/*
 * aside.c - see aside.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/aside.h"
#include "util/util.h"

#define NAMES 100

static bool replaceable(const char *path)
{
	struct stat st;

	return lstat(path, &st) ? errno == ENOENT : S_ISREG(st.st_mode);
}

/* A name that is left from a run that was killed is somebody else's to remove. */
static int open_other(struct aside *a)
{
	int fd = -1;

	errno = EEXIST;
	for (unsigned i = 1; i <= NAMES && fd < 0 && errno == EEXIST; i++) {
		free(a->other);
		a->other = xasprintf("%s.part-%u", a->path, i);
		fd = open(a->other, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	}
	return fd;
}

static void end(struct aside *a)
{
	if (a->fd >= 0)
		close(a->fd);
	free(a->path);
	free(a->other);
	*a = (struct aside){.fd = -1};
}

int aside_open(struct aside *a, const char *path)
{
	int err;

	*a = (struct aside){.fd = -1, .path = xstrdup(path)};
	if (replaceable(path))
		a->fd = open_other(a);
	if (a->fd >= 0)
		return 0;
	free(a->other);
	a->other = NULL;
	a->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0666);
	if (a->fd >= 0)
		return 0;
	err = errno;
	end(a);
	return -err;
}

int aside_keep(struct aside *a)
{
	int err = a->other && rename(a->other, a->path) ? errno : 0;

	if (err)
		unlink(a->other);
	end(a);
	return -err;
}

void aside_drop(struct aside *a)
{
	if (a->other)
		unlink(a->other);
	end(a);
}
