/*
 * initramfs.c - see initramfs.h. Left out: links, owners, times, checksums.
 */
#include "boot/initramfs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "util/util.h"

#define ALIGN        4u
#define HEADER_LEN   110u
#define CPIO_BIGGEST (UINT32_MAX - ALIGN)

static void put(struct initramfs *a, const void *data, size_t len)
{
	size_t padded = (len + ALIGN - 1) & ~(size_t)(ALIGN - 1);

	if (a->len + padded > a->room) {
		a->room = (a->len + padded) * 2;
		a->data = xrealloc(a->data, a->room);
	}
	if (len)
		memcpy(a->data + a->len, data, len);
	memset(a->data + a->len + len, 0, padded - len);
	a->len += padded;
}

void initramfs_add(struct initramfs *a, const char *name, mode_t mode, dev_t rdev, const void *data,
	size_t len)
{
	size_t name_len = strlen(name) + 1;
	char *head = xcalloc(1, HEADER_LEN + name_len + 1);

	snprintf(head, HEADER_LEN + 1, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X",
		++a->inode, (unsigned)mode, 0, 0, 1, 0, (unsigned)MIN(len, CPIO_BIGGEST), 0, 0,
		major(rdev), minor(rdev), (unsigned)name_len, 0);
	memcpy(head + HEADER_LEN, name, name_len);
	put(a, head, HEADER_LEN + name_len);
	put(a, data, MIN(len, CPIO_BIGGEST));
	free(head);
}

void initramfs_end(struct initramfs *a)
{
	initramfs_add(a, "TRAILER!!!", 0, 0, NULL, 0);
}
