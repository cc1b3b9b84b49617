/* helper.c - finds what is installed with tinamou; see helper.h. */
#include "cmd/helper.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "util/util.h"

char *own_folder(void)
{
	char path[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);
	char *slash;

	path[MAX(n, 0)] = '\0';
	slash = strrchr(path, '/');
	if (slash)
		*slash = '\0';
	return xstrdup(slash ? path : "");
}

char *helper_find(const char *name)
{
	static const char *const places[] = {"", "/../libexec/tinamou"};
	char *folder = own_folder(), *path = NULL;

	for (unsigned i = 0; i < ARRAY_SIZE(places) && !path; i++) {
		path = xasprintf("%s%s/%s", folder, places[i], name);
		if (access(path, X_OK)) {
			free(path);
			path = NULL;
		}
	}
	free(folder);
	return path;
}
