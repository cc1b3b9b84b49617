/* status.h - the exit statuses of `tinamou run`; the man page lists them. */
#ifndef TINAMOU_STATUS_H
#define TINAMOU_STATUS_H

enum exit_status {
	STATUS_OK = 0, /* power-off, or the final halt of a boot sector or flat image */
	STATUS_USAGE = 2,
	STATUS_HOST = 4, /* host or image error */
	STATUS_ENGINE = 6,
	STATUS_TRIPLE_FAULT = 8,
	STATUS_PANIC = 10,
	STATUS_RESET = 12, /* under --no-reboot */
	STATUS_HALTED = 14,
	STATUS_TIMEOUT = 124
};

#endif
