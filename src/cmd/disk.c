/* disk.c - `tinamou disk`: makes images and tells what they are. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "cmd/cmd.h"
#include "cmd/config.h"
#include "cmd/status.h"
#include "host/disk.h"
#include "util/util.h"

static int usage(FILE *out)
{
	fputs("  tinamou disk info FILE                   format, size, backing files\n"
	      "  tinamou disk create [-f FORMAT] [-b BACKING -F FORMAT] FILE [SIZE]\n"
	      "\n"
	      "FORMAT is qcow2 (if not given) or raw. SIZE takes K, M, G or T; the backing\n"
	      "file's size if not given.\n",
		out);
	return out == stdout ? STATUS_OK : STATUS_USAGE;
}

static int wrong(const char *what)
{
	log_error("%s", what);
	return STATUS_USAGE;
}

/* The largest unit that leaves no fraction to speak of. */
static void print_size(uint64_t bytes)
{
	static const char *const unit[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
	double value = (double)bytes;
	unsigned i = 0;

	for (; value >= 1024 && i + 1 < ARRAY_SIZE(unit); i++)
		value /= 1024;
	printf("%.*f %s", value == (double)(uint64_t)value ? 0 : 1, value, unit[i]);
}

static int print_file(const struct disk_file *f, unsigned depth)
{
	char err[512];
	struct stat st;
	uint64_t size;

	if (disk_file_size(f, &size, err, sizeof(err)) || fstat(f->fd, &st)) {
		log_error("%s", err);
		return STATUS_HOST;
	}
	printf("%s%s: %s, ", depth ? "backed by " : "", f->name, f->format);
	print_size(size);
	printf(" (%" PRIu64 " bytes), ", size);
	print_size((uint64_t)st.st_blocks * 512);
	puts(" on the host");
	return STATUS_OK;
}

static int info(const char *path)
{
	struct disk_options o = {.path = path, .ro = true};
	char err[512];
	struct disk_files *f = disk_files_open(&o, err, sizeof(err));
	int status = STATUS_OK;

	if (!f) {
		log_error("%s", err);
		return STATUS_HOST;
	}
	for (unsigned i = 0; i < f->count && status == STATUS_OK; i++)
		status = print_file(&f->file[i], i);
	disk_files_free(f);
	return status;
}

/* Options of `create` that take a value. */
static const char **option_place(struct disk_create *c, const char *arg)
{
	if (!strcmp(arg, "-f"))
		return &c->format;
	if (!strcmp(arg, "-b"))
		return &c->backing;
	if (!strcmp(arg, "-F"))
		return &c->backing_format;
	return NULL;
}

static int create(int argc, char **argv)
{
	struct disk_create c = {.format = "qcow2"};
	const char *size = NULL;
	char err[512];

	for (int i = 0; i < argc; i++) {
		const char **place = option_place(&c, argv[i]);

		if (place && ++i == argc)
			return wrong("-f, -b and -F take a value");
		if (place)
			*place = argv[i];
		else if (argv[i][0] == '-' || (c.path && size))
			return wrong("disk create [-f FORMAT] [-b BACKING -F FORMAT] FILE [SIZE]");
		else if (c.path)
			size = argv[i];
		else
			c.path = argv[i];
	}
	if (!c.path || (!size && !c.backing))
		return wrong("disk create: which file, and how large?");
	if (c.backing && !c.backing_format)
		return wrong("-b BACKING needs -F FORMAT, the backing file's format");
	if (size && !config_size(size, &c.size))
		return wrong("SIZE is a number with K, M, G or T");
	if (!disk_create(&c, err, sizeof(err)))
		return STATUS_OK;
	log_error("%s", err);
	return STATUS_HOST;
}

int cmd_disk(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[0], "info"))
		return info(argv[1]);
	if (argc > 1 && !strcmp(argv[0], "create"))
		return create(argc - 1, argv + 1);
	return usage(argc && !strcmp(argv[0], "--help") ? stdout : stderr);
}
