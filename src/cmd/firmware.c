/* firmware.c - finds firmware's files on the host; see firmware.h. */
#include "cmd/firmware.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/helper.h"
#include "util/util.h"

static const struct {
	const char *name, *package, *folder;
} files[] = {
	[FIRMWARE_FILE_BIOS] = {"bios-256k.bin", "seabios", "/usr/share/seabios"},
	[FIRMWARE_FILE_VGABIOS] = {"vgabios-stdvga.bin", "seabios", "/usr/share/seabios"},
	[FIRMWARE_FILE_UEFI_CODE] = {"OVMF_CODE_4M.fd", "ovmf", "/usr/share/OVMF"},
	[FIRMWARE_FILE_UEFI_VARS] = {"OVMF_VARS_4M.fd", "ovmf", "/usr/share/OVMF"},
};

/* ../firmware as seen from the program */
static char *beside_program(void)
{
	char *own = own_folder(),
	     *folder = *own ? xasprintf("%s/../firmware", own) : xstrdup("firmware");

	free(own);
	return folder;
}

static char *look(const char *folder, const char *name)
{
	char *path = xasprintf("%s/%s", folder, name);

	if (!access(path, R_OK))
		return path;
	free(path);
	return NULL;
}

char *firmware_find(enum firmware_file which)
{
	const char *asked = getenv("TINAMOU_FIRMWARE");
	char *beside = beside_program(), *path = NULL;

	if (asked && *asked)
		path = look(asked, files[which].name);
	if (!path)
		path = look(beside, files[which].name);
	if (!path)
		path = look(files[which].folder, files[which].name);
	free(beside);
	return path;
}

const char *firmware_package(enum firmware_file which)
{
	return files[which].package;
}
