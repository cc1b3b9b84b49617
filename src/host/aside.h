/*
 * aside.h - a file that is whole or not there: written under another name in
 * the same folder, renamed when it is complete.
 *
 * Lock: none; the caller has each alone.
 */
#ifndef TINAMOU_ASIDE_H
#define TINAMOU_ASIDE_H

struct aside {
	int fd;             /* to write to; belongs to this, -1: none */
	char *path, *other; /* other: NULL if path itself is written */
};

/*
 * Devices, pipes and symbolic links are written as they are, and so is a file in
 * a folder that takes no new ones. 0 or -errno; then there is nothing to end.
 */
int aside_open(struct aside *a, const char *path);

/* Complete: it has its name now. 0 or -errno, and then it is gone. Ends a. */
int aside_keep(struct aside *a);

/* Not to be had; what had the name before still has it. Ends a. */
void aside_drop(struct aside *a);

#endif
