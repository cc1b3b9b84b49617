/* folder.h - a folder of a fuzz target's own, below $TMPDIR or /tmp. */
#ifndef TINAMOU_FUZZ_FOLDER_H
#define TINAMOU_FUZZ_FOLDER_H

#include <stdio.h>
#include <stdlib.h>

#define FUZZ_FOLDER 128 /* bytes of its path */

static inline void fuzz_folder(char path[FUZZ_FOLDER])
{
	const char *parent = getenv("TMPDIR");

	snprintf(path, FUZZ_FOLDER, "%s/tinamou-fuzz-XXXXXX", parent ? parent : "/tmp");
	if (!mkdtemp(path))
		abort();
}

#endif
