/*
 * probe.h - what a file on the command line is, by its content.
 *
 * A kernel by its header (ELF, Linux's boot protocol, Multiboot), a CD-ROM by
 * ISO 9660's mark in sector 16, a floppy by one of the sizes that floppies
 * have, a boot sector by its 512 bytes; all else is a disk.
 */
#ifndef TINAMOU_PROBE_H
#define TINAMOU_PROBE_H

#include <stdint.h>

/* In the order of the words of --as; PROBE: not said. */
enum image_as { AS_PROBE, AS_DISK, AS_CD, AS_FLOPPY, AS_KERNEL, AS_SECTOR };

/* fd: readable, of size bytes. Never AS_PROBE; a file that cannot be read is a disk. */
enum image_as image_probe(int fd, int64_t size);
/* "a disk", "a CD-ROM", ... */
const char *image_as_name(enum image_as as);

#endif
