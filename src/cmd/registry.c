/* registry.c - machines by name; see registry.h. */
#include "cmd/registry.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "util/util.h"

bool registry_name_ok(const char *name)
{
	size_t len = strlen(name);

	if (!len || len > REGISTRY_NAME_MAX || !isalnum((unsigned char)name[0]))
		return false;
	for (; *name; name++)
		if (!isalnum((unsigned char)*name) && !strchr("._-", *name))
			return false;
	return true;
}

static void folder_path(char *path, size_t size)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");

	if (runtime && runtime[0] == '/')
		snprintf(path, size, "%s/tinamou", runtime);
	else
		snprintf(path, size, "/tmp/tinamou-%u", (unsigned)getuid());
}

/* Somebody else's folder in /tmp could hold sockets of theirs. */
static int own_folder(char *path, size_t size, char *err, size_t errlen)
{
	struct stat st;

	folder_path(path, size);
	if (mkdir(path, 0700) && errno != EEXIST) {
		snprintf(err, errlen, "%s: %s; set XDG_RUNTIME_DIR to a folder of yours", path,
			strerror(errno));
		return -1;
	}
	if (lstat(path, &st) || !S_ISDIR(st.st_mode) || st.st_uid != getuid() ||
		(st.st_mode & 077)) {
		snprintf(err, errlen, "%s: must be a folder of yours that nobody else can enter",
			path);
		return -1;
	}
	return 0;
}

int registry_path(const char *name, const char *suffix, char *path, char *err, size_t errlen)
{
	char folder[REGISTRY_PATH_MAX];

	if (!registry_name_ok(name)) {
		snprintf(err, errlen,
			"'%s' is no name for a machine: letters, digits, '.', '_' and '-', at most "
			"%d",
			name, REGISTRY_NAME_MAX);
		return -1;
	}
	if (own_folder(folder, sizeof(folder), err, errlen))
		return -1;
	if (snprintf(path, REGISTRY_PATH_MAX, "%s/%s.%s", folder, name, suffix) >=
		REGISTRY_PATH_MAX) {
		snprintf(err, errlen, "%s: too long a path for a socket; take a shorter name",
			folder);
		return -1;
	}
	return 0;
}

/* The lock may have been removed as stale between open and flock. */
static bool still_there(int fd, const char *path)
{
	struct stat ours, there;

	return !fstat(fd, &ours) && !stat(path, &there) && ours.st_ino == there.st_ino &&
	       ours.st_dev == there.st_dev;
}

int registry_claim(const char *name, char *err, size_t errlen)
{
	char path[REGISTRY_PATH_MAX];
	int fd;

	if (registry_path(name, "lock", path, err, errlen))
		return -1;
	for (;;) {
		fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB))
			break;
		if (still_there(fd, path)) {
			if (ftruncate(fd, 0) || dprintf(fd, "%d\n", (int)getpid()) < 0)
				break;
			return fd;
		}
		close(fd);
	}
	if (fd >= 0 && errno == EWOULDBLOCK)
		snprintf(err, errlen, "a machine called %s runs already; 'tinamou kill %s' ends it",
			name, name);
	else
		snprintf(err, errlen, "%s: %s", path, strerror(errno));
	if (fd >= 0)
		close(fd);
	return -1;
}

static int socket_address(const char *name, struct sockaddr_un *at, char *err, size_t errlen)
{
	at->sun_family = AF_UNIX;
	return registry_path(name, "sock", at->sun_path, err, errlen);
}

int registry_listen(const char *name, char *err, size_t errlen)
{
	struct sockaddr_un at;
	int fd = -1;

	if (socket_address(name, &at, err, errlen))
		return -1;
	unlink(at.sun_path); /* of a dead machine: the name is ours */
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0 && !bind(fd, (struct sockaddr *)&at, sizeof(at)) && !listen(fd, 64))
		return fd;
	snprintf(err, errlen, "%s: %s", at.sun_path, strerror(errno));
	if (fd >= 0)
		close(fd);
	return -1;
}

int registry_connect(const char *name, char *err, size_t errlen)
{
	struct sockaddr_un at;
	int fd;

	if (socket_address(name, &at, err, errlen))
		return -1;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && !connect(fd, (struct sockaddr *)&at, sizeof(at)))
		return fd;
	if (errno == ENOENT || errno == ECONNREFUSED)
		snprintf(err, errlen, "no machine called %s runs; 'tinamou list' shows who does",
			name);
	else
		snprintf(err, errlen, "%s: %s", at.sun_path, strerror(errno));
	if (fd >= 0)
		close(fd);
	return -1;
}

int registry_process(const char *name)
{
	char path[REGISTRY_PATH_MAX], err[256], text[16] = "";
	int fd, pid = 0;

	if (registry_path(name, "lock", path, err, sizeof(err)))
		return 0;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	if (flock(fd, LOCK_SH | LOCK_NB) && read(fd, text, sizeof(text) - 1) > 0)
		pid = atoi(text);
	close(fd);
	return pid;
}

/* The folder was looked at when the name was claimed or found; from its jail the front only
 * unlinks. */
void registry_forget(const char *name)
{
	static const char *const suffix[] = {"sock", "lock"};
	char folder[REGISTRY_PATH_MAX], path[REGISTRY_PATH_MAX + REGISTRY_NAME_MAX + 8];

	folder_path(folder, sizeof(folder));
	for (unsigned i = 0; i < ARRAY_SIZE(suffix); i++) {
		snprintf(path, sizeof(path), "%s/%s.%s", folder, name, suffix[i]);
		unlink(path);
	}
}

/* Its lock can be taken: nobody is there any more. */
static bool is_stale(const char *name)
{
	char path[REGISTRY_PATH_MAX], err[256];
	int fd;
	bool stale;

	if (registry_path(name, "lock", path, err, sizeof(err)))
		return false;
	fd = open(path, O_RDWR | O_CLOEXEC);
	stale = fd >= 0 && !flock(fd, LOCK_EX | LOCK_NB) && still_there(fd, path);
	if (stale)
		registry_forget(name);
	if (fd >= 0)
		close(fd);
	return stale;
}

static int is_lock(const struct dirent *e)
{
	size_t len = strlen(e->d_name);

	return len > 5 && !strcmp(e->d_name + len - 5, ".lock");
}

int registry_each(void (*found)(void *ctx, const char *name), void *ctx, char *err, size_t errlen)
{
	char folder[REGISTRY_PATH_MAX];
	struct dirent **list;
	int n;

	if (own_folder(folder, sizeof(folder), err, errlen))
		return -1;
	n = scandir(folder, &list, is_lock, alphasort);
	if (n < 0) {
		snprintf(err, errlen, "%s: %s", folder, strerror(errno));
		return -1;
	}
	for (int i = 0; i < n; i++) {
		list[i]->d_name[strlen(list[i]->d_name) - 5] = '\0';
		if (registry_name_ok(list[i]->d_name) && !is_stale(list[i]->d_name))
			found(ctx, list[i]->d_name);
		free(list[i]);
	}
	free(list);
	return 0;
}
