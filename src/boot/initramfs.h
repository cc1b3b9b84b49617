/*
 * initramfs.h - makes an initial RAM file system: a cpio archive of the format
 * "newc", as the kernel's documentation of the initramfs buffer describes it.
 */
#ifndef TINAMOU_BOOT_INITRAMFS_H
#define TINAMOU_BOOT_INITRAMFS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct initramfs {
	uint8_t *data; /* to be freed by who began it */
	size_t len, room;
	uint32_t inode;
};

/* One entry; mode has its kind. rdev: of device nodes. */
void initramfs_add(struct initramfs *a, const char *name, mode_t mode, dev_t rdev, const void *data,
	size_t len);
void initramfs_end(struct initramfs *a);

#endif
