/*
 * linux.h - offsets and bits of the Linux/x86 boot protocol: the setup header in
 * a bzImage and the boot parameters ("zero page") that a kernel is handed.
 *
 * Source: the kernel's own documentation, "The Linux/x86 Boot Protocol" and
 * "Zero Page". A field's offset is the same in the file and in the zero page.
 */
#ifndef TINAMOU_BOOT_LINUX_H
#define TINAMOU_BOOT_LINUX_H

/* The setup header. */
enum {
	HDR_START = 0x1f1,
	HDR_SETUP_SECTS = 0x1f1,
	HDR_BOOT_FLAG = 0x1fe,
	HDR_JUMP = 0x200, /* second byte: the header's length from 0x202 */
	HDR_MAGIC = 0x202,
	HDR_VERSION = 0x206,
	HDR_LOADER_TYPE = 0x210,
	HDR_LOADFLAGS = 0x211,
	HDR_CODE32_START = 0x214,
	HDR_RAMDISK_IMAGE = 0x218,
	HDR_RAMDISK_SIZE = 0x21c,
	HDR_CMD_LINE_PTR = 0x228,
	HDR_INITRD_MAX = 0x22c,       /* 2.03 */
	HDR_KERNEL_ALIGNMENT = 0x230, /* 2.05 */
	HDR_RELOCATABLE = 0x234,      /* 2.05 */
	HDR_XLOADFLAGS = 0x236,       /* 2.12 */
	HDR_CMDLINE_SIZE = 0x238,     /* 2.06 */
	HDR_PAYLOAD_OFFSET = 0x248,   /* 2.08 */
	HDR_PAYLOAD_LENGTH = 0x24c,
	HDR_PREF_ADDRESS = 0x258, /* 2.10 */
	HDR_INIT_SIZE = 0x260,    /* 2.10 */
	HDR_END = 0x290           /* no header goes on beyond */
};

#define HDR_BOOT_FLAG_VALUE 0xaa55
#define HDR_MAGIC_VALUE     0x53726448u /* "HdrS" */
#define HDR_LOADED_HIGH     0x01        /* of loadflags */
#define HDR_KASLR           0x02        /* its addresses are random */
#define XLF_KERNEL_64       0x0001
#define LOADER_UNDEFINED    0xff

/* The zero page, beside the header. */
enum {
	BP_SCREEN_MODE = 0x06,
	BP_SCREEN_COLS = 0x07,
	BP_SCREEN_EGA_BX = 0x0a,
	BP_SCREEN_LINES = 0x0e,
	BP_SCREEN_IS_VGA = 0x0f,
	BP_SCREEN_POINTS = 0x10,
	BP_ACPI_RSDP = 0x070,
	BP_ALT_MEM_K = 0x1e0,
	BP_E820_ENTRIES = 0x1e8,
	BP_E820_TABLE = 0x2d0,
	BP_E820_ENTRY_SIZE = 20,
	BP_SIZE = 4096
};

#endif
