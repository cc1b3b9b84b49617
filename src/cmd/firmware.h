/*
 * firmware.h - finds firmware's files on the host.
 *
 * Searched are $TINAMOU_FIRMWARE (a folder), `firmware` beside the folder of
 * the program (where tools/guest puts them), and where Debian's packages have them.
 */
#ifndef TINAMOU_FIRMWARE_CMD_H
#define TINAMOU_FIRMWARE_CMD_H

enum firmware_file {
	FIRMWARE_FILE_BIOS,
	FIRMWARE_FILE_VGABIOS,
	FIRMWARE_FILE_UEFI_CODE,
	FIRMWARE_FILE_UEFI_VARS
};

/* The path, for the caller to free; NULL: not there. */
char *firmware_find(enum firmware_file which);
/* The Debian package that has it. */
const char *firmware_package(enum firmware_file which);

#endif
