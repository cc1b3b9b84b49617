/* main.c - which subcommand; usage and version. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "boot/unpack.h"
#include "cmd/cmd.h"
#include "cmd/engines.h"
#include "cmd/qemu.h"
#include "cmd/run.h"
#include "cmd/status.h"
#include "util/util.h"

static int usage(FILE *out)
{
	fputs("tinamou " TINAMOU_VERSION ": a small virtual machine monitor\n"
	      "\n"
	      "  tinamou IMAGE               run a disk, CD-ROM, floppy, kernel or boot sector\n"
	      "  tinamou run [OPTIONS] IMAGE the same, with options ('run --help')\n"
	      "  tinamou engines             what can execute guests on this host\n"
	      "  tinamou list                the machines that have a --name; status, console,\n"
	      "                              stop, kill and others take that name (see man)\n"
	      "  tinamou qemu FLAGS          run, by the flags of qemu-system-x86_64\n"
	      "  tinamou disk info|create    disk images: what they are, new ones\n"
	      "  tinamou version             version and libraries\n"
	      "\n"
	      "  tinamou disk.img                         its screen, in this terminal\n"
	      "  tinamou run --engine kvm --stats x.img   on KVM, and count the exits\n"
	      "  tinamou run --timeout 5 x.img | cat      end after 5 s, final screen as text\n"
	      "\n"
	      "Ctrl-A x ends a run, Ctrl-A h shows the other keys. See also: man tinamou\n",
		out);
	return out == stdout ? STATUS_OK : STATUS_USAGE;
}

static int version(void)
{
	printf("tinamou %s\n", TINAMOU_VERSION);
	printf("jansson %s\n", jansson_version_str());
	unpack_versions(stdout);
	return STATUS_OK;
}

/* By links that `make install-qemu-names` makes. */
static bool is_qemus_name(const char *program)
{
	static const char *const names[] = {"qemu", "qemu-system-x86_64", "qemu-system-i386"};
	const char *slash = program ? strrchr(program, '/') : NULL;

	for (unsigned i = 0; i < ARRAY_SIZE(names) && program; i++)
		if (!strcmp(slash ? slash + 1 : program, names[i]))
			return true;
	return false;
}

int cmd_main(int argc, char **argv)
{
	static const char *const verbs[] = {"run", "qemu", "engines", "disk", "list", "status",
		"console", "monitor", "pause", "resume", "balloon", "reset", "stop", "kill",
		"screenshot", "version", "help", NULL};
	int status;

	if (is_qemus_name(argv[0]))
		return cmd_qemu(argv[0], argc - 1, argv + 1);
	if (argc < 2)
		return usage(stdout);
	if (!strcmp(argv[1], "run"))
		return cmd_run(argc - 2, argv + 2);
	if (!strcmp(argv[1], "qemu"))
		return cmd_qemu("tinamou qemu", argc - 2, argv + 2);
	if (!strcmp(argv[1], "engines"))
		return cmd_engines(argc - 1, argv + 1);
	if (!strcmp(argv[1], "disk"))
		return cmd_disk(argc - 2, argv + 2);
	if (!strcmp(argv[1], "version") || !strcmp(argv[1], "--version"))
		return version();
	if (!strcmp(argv[1], "help") || !strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))
		return usage(stdout);
	status = cmd_verb(argv[1], argc - 2, argv + 2);
	if (status >= 0)
		return status;
	if (argv[1][0] != '-' && !strchr(argv[1], '/') && !strchr(argv[1], '.') &&
		nearest_word(argv[1], verbs) && !cmd_file_exists(argv[1])) {
		fprintf(stderr,
			"tinamou: no file and no command is called '%s'; did you mean '%s'?\n",
			argv[1], nearest_word(argv[1], verbs));
		return STATUS_USAGE;
	}
	return cmd_run(argc - 1, argv + 1);
}
